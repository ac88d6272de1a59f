//! The failure catalogue: every code with its words. The order is that of the verification.

use super::Act::{Deny, Warn};
use super::Evidence::{Documented, Inferred, Measured};
use super::Who::{Cloud, Dns, Identity, Inspection, Network, Operator};
use super::{Act, Entry, Evidence, Who};

macro_rules! table {
    ($($code:ident = $name:literal, $act:ident, $evidence:ident, $who:ident, $title:literal, $means:literal, $mend:literal;)*) => {
        /// A stable code for one kind of failure.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $title] $code,)*
        }

        impl Code {
            /// All of them, in the order of the catalogue.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$code),*];

            /// The name in records, metrics and reports.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$code => $name,)*
                }
            }

            /// What is known of it.
            #[must_use]
            pub fn entry(self) -> &'static Entry {
                match self {
                    $(Self::$code => {
                        const ACT: Act = $act;
                        const EVIDENCE: Evidence = $evidence;
                        const WHO: Who = $who;
                        &Entry { code: Code::$code, title: $title, means: $means, who: WHO, mend: $mend, evidence: EVIDENCE, act: ACT }
                    })*
                }
            }
        }
    };
}

impl Code {
    /// The code of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == name)
    }
}

table! {
    Dns01 = "DNS-01", Deny, Measured, Dns,
        "the name resolves to the public front",
        "a private endpoint exists, but the server that was asked gives its public front. In this order: it has no forwarder for the public zone; it forwards only the privatelink zone (DNS-14); it answers for another network; the record is missing, and the link of the zone falls back to the internet (DNS-03)",
        "forward the public zone (not the privatelink zone) to the inbound endpoint of the private resolver, and link the private zone to that resolver's network";
    Dns02 = "DNS-02", Deny, Measured, Cloud,
        "the private zone is there, and holds no record for the name",
        "the private endpoint has no DNS zone group, its record lies in another copy of the zone, or the record was deleted; records that a policy creates come about ten minutes late",
        "add a DNS zone group to the private endpoint, in the copy of the zone that is linked to the resolver's network";
    Dns03 = "DNS-03", Deny, Documented, Cloud,
        "the hub's own resolver answers publicly",
        "the private zone has no record for the name, and fallback to the internet is switched on for its link to the network",
        "add the record; switch `NxDomainRedirect` off on the link, so that a missing record is seen";
    Dns04 = "DNS-04", Deny, Measured, Cloud,
        "the name has no private endpoint",
        "no name of the chain is a private link's: the resource has no private endpoint, or the name belongs to another resource or cloud",
        "create a private endpoint for the resource, or correct the endpoint's url";
    Dns05 = "DNS-05", Warn, Measured, Dns,
        "two servers give different private addresses",
        "there is more than one copy of the private zone, and one of them may be stale",
        "keep one copy of the zone, and link it to every network that resolves";
    Dns06 = "DNS-06", Deny, Measured, Dns,
        "another machine answers at the private address",
        "the private endpoint was made anew at another address, or its address was given to another resource, and the record still names the old one",
        "correct or remove the old record; a record does not follow its endpoint unless a zone group keeps it";
    Dns07 = "DNS-07", Deny, Measured, Network,
        "no configured server answers",
        "port 53 or 853 is blocked on the way, the server is down, or it refuses to answer this client",
        "let the gateway reach the servers of the resolver, over UDP and TCP";
    Dns08 = "DNS-08", Deny, Measured, Network,
        "the answer does not fit into UDP, and TCP does not get through",
        "the server cut its answer short, which asks for TCP, and TCP to it is blocked",
        "open TCP port 53 to the server";
    Dns09 = "DNS-09", Warn, Measured, Dns,
        "the configured servers disagree",
        "they have different views of the zone, so that it depends on the server which answer is given",
        "give all servers the same forwarders and zones";
    Dns10 = "DNS-10", Deny, Measured, Dns,
        "the answer leads to where this service never is",
        "a name outside the service's zones, a loop, or a loopback, link-local or metadata address: a wrong record, or somebody who answers in the server's place",
        "find the record on the server that gave it; if nobody made it, treat it as an attack";
    Dns11 = "DNS-11", Deny, Measured, Dns,
        "an IPv6 address outside the declared networks",
        "the IPv6 side of the name is public although its IPv4 side is private, so some clients would leave over the internet",
        "remove the AAAA record from the private view, or declare the private IPv6 network in `within`";
    Dns12 = "DNS-12", Deny, Measured, Dns,
        "addresses inside and outside the declared networks are mixed",
        "somebody added a public or foreign address to the private name; it would depend on chance which one is used",
        "remove the addresses that do not belong, or declare their network in `within`";
    Dns13 = "DNS-13", Warn, Measured, Dns,
        "a record lives for no time at all or for very long",
        "the gateway keeps every answer for 5 to 60 seconds, whatever its record says",
        "give the record a lifetime between 10 seconds and an hour";
    Dns14 = "DNS-14", Warn, Documented, Dns,
        "the corporate servers forward only the privatelink zone",
        "the hub answers privately and the corporate servers publicly: Windows DNS takes the public address that its forwarder sends along",
        "forward the public zone to the hub";
    Dns15 = "DNS-15", Warn, Documented, Operator,
        "a search domain was tried",
        "some client appended a search domain; the gateway itself asks for whole names only",
        "write the whole name";
    Dns16 = "DNS-16", Deny, Measured, Dns,
        "the resolver does not show who it is",
        "its certificate is for another name, of another issuer or out of date, or it speaks no TLS: something else answers in its place, or `server_name` or `ca` of the resolver is wrong",
        "compare the certificate of the resolver with `resolver.NAME.server_name` and `ca`; do not fall back to port 53";
    Addr01 = "ADDR-01", Deny, Measured, Operator,
        "an address outside the declared networks",
        "the name of a local endpoint leads to a network that was not declared for it",
        "correct the record, or the networks in `within`";
    Addr02 = "ADDR-02", Deny, Measured, Operator,
        "an address that is not public",
        "an endpoint that is declared public resolves to an address of a private or special network",
        "declare how it is really reached, or correct the record";
    Addr03 = "ADDR-03", Deny, Measured, Dns,
        "the name has no address",
        "the server says that there is no such name, or that it has no address",
        "create the record, or correct the url";
    Net01 = "NET-01", Deny, Measured, Network,
        "nothing answers at the private address",
        "in this order: a firewall or network security group drops the packets; there is no route back, or another one (NET-10); the private endpoint is not approved (NET-03)",
        "open TCP to the private endpoint's network, see to the way back, and look at the endpoint's connection state";
    Net02 = "NET-02", Deny, Measured, Network,
        "a device on the way refuses the connection",
        "a firewall rejects it, or nothing listens on the port",
        "open TCP to the private endpoint's network";
    Net03 = "NET-03", Deny, Documented, Cloud,
        "the private endpoint is not approved",
        "only approved endpoints carry traffic; a pending one looks like a dropped packet",
        "approve the connection on the resource";
    Net04 = "NET-04", Warn, Measured, Network,
        "large packets are lost on the way",
        "the path carries less than the interface says, and the messages that would tell so are filtered; handshakes hang",
        "clamp the segment size on the tunnel, or set `transport.mss` of the endpoint";
    Net05 = "NET-05", Warn, Measured, Network,
        "a first TLS message in two packets is dropped",
        "a device on the way does not expect the post-quantum key exchange, which does not fit into one packet",
        "update the device, or set `tls.post_quantum = false` for the endpoint";
    Net06 = "NET-06", Deny, Measured, Inspection,
        "the certificate comes from an unexpected issuer",
        "a device opens TLS on the way and shows a certificate of its own, or the address belongs to another service",
        "exempt the endpoint's name from TLS inspection; if the issuer is right, name it in `tls.issuers` or `tls.ca`";
    Net07 = "NET-07", Deny, Measured, Operator,
        "the privatelink name is dialled",
        "certificates carry the public name only",
        "write the public name into the url";
    Net08 = "NET-08", Warn, Measured, Network,
        "a quiet connection was cut",
        "a device forgets flows that are silent, some after four minutes and without a word",
        "raise its idle time, or keep `transport.keepalive` below it";
    Net09 = "NET-09", Warn, Documented, Network,
        "the gateway has no local port left",
        "too many connections to one address through one source address",
        "allow HTTP/2, raise `pool.idle_ms`, or give the translation more addresses";
    Net10 = "NET-10", Deny, Documented, Network,
        "answers take another way back",
        "the private endpoint installs a route of its own past the firewall that saw the request",
        "enable network policies for private endpoints, or translate the source on the firewall";
    Net11 = "NET-11", Deny, Measured, Network,
        "the route leaves by another way than declared",
        "the address is right, but this machine would reach it over another interface or from another source address, perhaps over the internet",
        "correct the routing table, or `transport.leaves_from` of the endpoint";
    Net12 = "NET-12", Deny, Measured, Inspection,
        "the proxy does not connect",
        "the declared proxy refused, failed or answered something else; proxies of the environment are never used",
        "allow CONNECT to the endpoint on the proxy, or leave `via` out";
    Net13 = "NET-13", Warn, Documented, Network,
        "the path has changed",
        "round trip and segment size jumped, as when a leased line fails over to a tunnel",
        "look at the links";
    Peer01 = "PEER-01", Deny, Inferred, Operator,
        "the connection goes to another address than the one that was dialled",
        "something on this machine rewrites connections",
        "look for rules of the local firewall that redirect";
    Tls01 = "TLS-01", Deny, Measured, Cloud,
        "the key of the certificate is not one of the pinned keys",
        "the endpoint has a new certificate, or somebody else's",
        "compare the certificate with its owner, and correct `tls.pin`";
    Tls02 = "TLS-02", Deny, Measured, Operator,
        "the certificate is not valid now",
        "it has run out or was revoked, or a clock is wrong",
        "look at this machine's clock, then renew the certificate";
    Tls03 = "TLS-03", Deny, Measured, Operator,
        "the TLS handshake fails",
        "the peer wants a client certificate, speaks another protocol or none, or closes the connection",
        "compare `url`, `http2` and `tls` with what the endpoint speaks";
    Http01 = "HTTP-01", Deny, Documented, Network,
        "the public front answers: public access is disabled",
        "the address was right, and the request came out at the public front all the same: a proxy or translation stands between",
        "take the endpoint's address out of the translation or proxy";
    Http02 = "HTTP-02", Deny, Documented, Cloud,
        "the resource's network rules deny the caller",
        "the request came to a front with network rules, which a private endpoint would not meet",
        "look at the networking page of the resource; if private access is allowed there, look for a proxy between";
    Http03 = "HTTP-03", Deny, Documented, Operator,
        "the resource asks for its own subdomain",
        "the url names a regional or wrong host",
        "write the resource's custom subdomain into the url";
    Http04 = "HTTP-04", Deny, Documented, Cloud,
        "the private endpoint is not one that the resource approves",
        "the request came over a private endpoint, but another resource's",
        "approve the connection on this resource, or correct the record";
    Http05 = "HTTP-05", Deny, Documented, Cloud,
        "the policy of the VPC endpoint denies the call",
        "the path is private, and its endpoint policy does not allow the action",
        "allow the action in the endpoint policy";
    Http06 = "HTTP-06", Warn, Documented, Cloud,
        "the service cannot reach a second service",
        "a hop of the provider's own failed; this gateway's path is not to blame",
        "give the service a private path to the second one";
    Canary01 = "CANARY-01", Warn, Inferred, Cloud,
        "public access is still enabled",
        "the public front of the name did not refuse a request from here, so the private path is not the only one",
        "disable public network access on the resource";
    Id01 = "ID-01", Warn, Measured, Operator,
        "the clocks differ",
        "this machine's clock and the peer's differ by more than a minute; tokens and signatures fail beyond five",
        "synchronise this machine's clock";
    Id02 = "ID-02", Deny, Inferred, Identity,
        "no token was to be had",
        "the identity host cannot be reached, or refuses; it has no private link, so it needs a way of its own",
        "open the identity host, and look at the identity's rights";
}
