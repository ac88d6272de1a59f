//! The faults: each breaks one thing as it breaks in the field.

use std::net::Ipv4Addr;

use crate::lab::certificates::server;
use crate::lab::front::{Greeting, Manner, REFUSAL};
use crate::lab::link::Condition;
use crate::lab::{
    CORPORATE_DNS, HUB_DNS, Lab, OTHER_RESOURCE, PUBLIC_DNS, SECOND_DNS, Settings, public_views, usual_views,
};

use super::Outcome::{self, Refused, Works};

/// One fault.
pub(super) struct Fault {
    /// What was done, for the table in the book.
    pub(super) what: &'static str,
    /// The code that `causeway doctor` must give.
    pub(super) code: &'static str,
    /// The codes by which a request may be refused, where a single attempt does not see enough to give the doctor's.
    pub(super) met_as: &'static [&'static str],
    /// What becomes of a request.
    pub(super) outcome: Outcome,
    /// The configuration in which it is met.
    pub(super) settings: fn() -> Settings,
    /// Breaks it.
    pub(super) inject: fn(&mut Lab),
    /// An address inside the declared networks that the names lead to because of it: handshakes may reach it, and no content.
    pub(super) named: Option<Ipv4Addr>,
    /// The name servers that say something else because of it.
    pub(super) servers: &'static [Ipv4Addr],
}

const fn fault(code: &'static str, what: &'static str, servers: &'static [Ipv4Addr], inject: fn(&mut Lab)) -> Fault {
    Fault { what, code, met_as: &[], outcome: Refused, settings: Settings::default, inject, named: None, servers }
}

impl Fault {
    const fn works(mut self) -> Self {
        self.outcome = Works;
        self
    }

    const fn met_as(mut self, codes: &'static [&'static str]) -> Self {
        self.met_as = codes;
        self
    }

    /// The same for the table in the book.
    pub(super) fn met_as_told(&self) -> String {
        let codes: Vec<String> = self.met_as.iter().map(|code| format!("`{code}`")).collect();
        if codes.is_empty() { String::new() } else { format!(" with {}", codes.join(" or ")) }
    }

    const fn named(mut self, address: Ipv4Addr) -> Self {
        self.named = Some(address);
        self
    }

    const fn with(mut self, settings: fn() -> Settings) -> Self {
        self.settings = settings;
        self
    }
}

/// Makes the hub's server answer for the private zone with these records alone.
fn private_zone(lab: &mut Lab, records: &str) {
    lab.say(HUB_DNS, &usual_views(HUB_DNS).zone("privatelink.openai.azure.com", records));
}

/// Makes the public zone say something else about the resource.
fn public_zone(lab: &mut Lab, records: &str) {
    let rest = "vnetproxyv1-eus-prod.eastus.cloudapp 60 IN A 203.0.113.10\n";
    lab.say(PUBLIC_DNS, &public_views().zone("azure.com", &format!("{records}\n{rest}")));
    // Its forwarder must not remember what was said before.
    lab.say(HUB_DNS, &usual_views(HUB_DNS));
}

/// What a firewall in the hub does to packets for the endpoint.
fn hub_firewall(lab: &mut Lab, verdict: &str) {
    lab.hub.nft(&format!(
        "table inet fault {{\n chain forward {{\n type filter hook forward priority 0; policy accept;\n ip daddr 10.20.1.5 tcp dport 443 {verdict}\n }}\n}}\n"
    ));
}

/// What the hub's own firewall does to questions.
fn dns_firewall(lab: &mut Lab, rule: &str) {
    lab.hub.nft(&format!(
        "table inet fault {{\n chain input {{\n type filter hook input priority 0; policy accept;\n {rule} drop\n }}\n}}\n"
    ));
}

fn says(lab: &mut Lab, status: u16, text: &str) {
    lab.service.behave(Manner::Says(status, text.to_owned()));
}

fn two_servers() -> Settings {
    Settings::asking(&[HUB_DNS, SECOND_DNS])
}

const HUB: &[Ipv4Addr] = &[HUB_DNS];
const PUBLIC: &[Ipv4Addr] = &[PUBLIC_DNS, HUB_DNS];

pub(super) const NAMES: &[Fault] = &[
    fault("DNS-01", "the corporate server has no forwarder for the public zone", &[CORPORATE_DNS], |lab| {
        lab.say(CORPORATE_DNS, &crate::lab::named::Views::default().otherwise(PUBLIC_DNS));
    })
    .with(|| Settings::asking(&[CORPORATE_DNS])),
    fault("DNS-01", "the private zone is not linked to the resolver's network", HUB, |lab| {
        lab.say(HUB_DNS, &usual_views(HUB_DNS).without_zone("privatelink.openai.azure.com"));
    }),
    fault("DNS-01", "the private zone's record holds the public address", HUB, |lab| {
        private_zone(lab, "contoso 10 IN A 203.0.113.10");
    }),
    fault("DNS-01", "the private zone's record holds an address of another network", HUB, |lab| {
        private_zone(lab, "contoso 10 IN A 10.99.0.5");
    }),
    fault("DNS-02", "the private zone has no record for the resource", HUB, |lab| {
        private_zone(lab, "other 10 IN A 10.20.1.6");
    }),
    fault("DNS-04", "the resource has no private endpoint", PUBLIC, |lab| {
        public_zone(lab, "contoso.openai 60 IN CNAME eastus.prod.vnet.cog.trafficmanager.net.");
    }),
    fault("DNS-04", "the name has an address of its own, without a private name", PUBLIC, |lab| {
        public_zone(lab, "contoso.openai 60 IN A 10.20.1.5");
    }),
    fault("DNS-05", "two servers give different private addresses", &[SECOND_DNS], |lab| {
        let stale = usual_views(SECOND_DNS).zone("privatelink.openai.azure.com", "contoso 10 IN A 10.20.1.6");
        lab.say(SECOND_DNS, &stale);
    })
    .with(two_servers)
    .works(),
    fault("DNS-06", "the address was given to another resource", HUB, |lab| {
        private_zone(lab, "contoso 10 IN A 10.20.1.6");
    })
    .named(OTHER_RESOURCE),
    fault("DNS-07", "the resolver is down", HUB, |lab| lab.silence(HUB_DNS)),
    fault("DNS-07", "a firewall drops questions and their TCP", &[], |lab| {
        dns_firewall(lab, "meta l4proto { tcp, udp } th dport 53");
    }),
    fault("DNS-07", "the resolver's zone is broken and it answers SERVFAIL", HUB, |lab| {
        private_zone(lab, "contoso 10 IN NONSENSE 1");
    }),
    fault("DNS-07", "a firewall drops questions over TLS", &[], |lab| dns_firewall(lab, "tcp dport 853"))
        .with(|| Settings::resolving_over("tls")),
    fault("DNS-16", "the resolver shows a certificate for another name over TLS", HUB, |lab| {
        let other = lab.corporate.issue(&["dns.other.example"]);
        lab.say(HUB_DNS, &usual_views(HUB_DNS).showing(other));
    })
    .with(|| Settings::resolving_over("tls")),
    fault("DNS-16", "the resolver shows a certificate of another issuer over HTTPS", HUB, |lab| {
        let other = lab.authority.issue(&["dns.lab.example"]);
        lab.say(HUB_DNS, &usual_views(HUB_DNS).showing(other));
    })
    .with(|| Settings::resolving_over("https")),
    fault("DNS-08", "the answer is cut short and TCP is blocked", HUB, |lab| {
        let many: Vec<String> = (1..=90).map(|last| format!("contoso 10 IN A 10.20.2.{last}")).collect();
        private_zone(lab, &many.join("\n"));
        dns_firewall(lab, "tcp dport 53");
    }),
    fault("DNS-09", "the second server answers publicly", &[SECOND_DNS], |lab| {
        lab.say(SECOND_DNS, &usual_views(SECOND_DNS).without_zone("privatelink.openai.azure.com"));
    })
    .with(two_servers)
    .works(),
    fault("DNS-01", "the first server answers publicly, the second privately", HUB, |lab| {
        lab.say(HUB_DNS, &usual_views(HUB_DNS).without_zone("privatelink.openai.azure.com"));
    })
    .with(two_servers),
    fault("DNS-10", "the chain leads to somebody else's name with an address inside the network", PUBLIC, |lab| {
        public_zone(lab, "contoso.openai 60 IN CNAME gw.attacker.test.");
    }),
    fault("DNS-10", "the chain leads to somebody else's name with the endpoint's own address", PUBLIC, |lab| {
        public_zone(lab, "contoso.openai 60 IN CNAME real.attacker.test.");
    }),
    fault("DNS-10", "the private record is rebound to loopback", HUB, |lab| {
        private_zone(lab, "contoso 1 IN A 127.0.0.1");
    }),
    fault("DNS-10", "the private record is rebound to the metadata service", HUB, |lab| {
        private_zone(lab, "contoso 1 IN A 169.254.169.254");
    }),
    fault("DNS-07", "the chain is a loop, for which the server says SERVFAIL", PUBLIC, |lab| {
        public_zone(
            lab,
            "contoso.openai 60 IN CNAME again.openai.azure.com.\nagain.openai 60 IN CNAME contoso.openai.azure.com.",
        );
    }),
    fault("DNS-11", "the private zone has an IPv6 address as well", HUB, |lab| {
        private_zone(lab, "contoso 10 IN A 10.20.1.5\ncontoso 10 IN AAAA 2001:db8::10");
    }),
    fault("DNS-12", "a public address stands beside the private one", HUB, |lab| {
        private_zone(lab, "contoso 10 IN A 10.20.1.5\ncontoso 10 IN A 203.0.113.10");
    }),
    fault("DNS-13", "the private record lives for a week", HUB, |lab| {
        private_zone(lab, "contoso 604800 IN A 10.20.1.5");
    })
    .works(),
];

pub(super) const WAY: &[Fault] = &[
    fault("NET-01", "a firewall in the hub drops the packets", &[], |lab| hub_firewall(lab, "drop")),
    fault("NET-01", "the spoke has no route back", &[], |lab| lab.spoke.ip("route del default")),
    fault("NET-01", "the endpoint takes no packets, as one that is not approved", &[], |lab| {
        lab.spoke.nft("table inet fault {\n chain input {\n type filter hook input priority 0; policy drop;\n }\n}\n");
    }),
    fault("DNS-06", "the record names an address that nobody has any more", HUB, |lab| {
        private_zone(lab, "contoso 10 IN A 10.20.1.77");
    })
    // The hub says so after three seconds, which are all that the attempt has.
    .met_as(&["DNS-06", "NET-01"])
    .named(Ipv4Addr::new(10, 20, 1, 77)),
    fault("NET-02", "a firewall rejects the connection with a reset", &[], |lab| {
        hub_firewall(lab, "reject with tcp reset");
    }),
    fault("NET-02", "a firewall rejects the connection with ICMP", &[], |lab| {
        hub_firewall(lab, "reject with icmp type admin-prohibited");
    })
    // The system gives the same error for an address that nobody has, later.
    .met_as(&["DNS-06"]),
    fault("NET-02", "nothing listens at the address", HUB, |lab| private_zone(lab, "contoso 10 IN A 10.20.1.1")),
    fault("NET-04", "packets over 700 bytes vanish without a word", &[], |lab| {
        lab.link.set(Condition { hole: Some(700), ..Condition::default() });
    }),
    fault("NET-05", "a firewall drops a first TLS message that takes two packets", &[], |lab| {
        lab.link.set(Condition { eats_split_hello: true, ..Condition::default() });
    })
    // A handshake that hangs; which of the two it is, only another try shows.
    .met_as(&["NET-04"]),
    fault("NET-06", "a device opens TLS and shows a certificate of its own", &[], |lab| {
        let forged = lab.corporate.issue(&["*.openai.azure.com"]);
        lab.service.greet_with(Greeting::Tls(server(&forged)));
    }),
    fault("NET-11", "the route to the endpoint leads out by the internet breakout", &[], |lab| {
        lab.premises.ip("route replace 10.20.0.0/16 via 100.64.1.2");
    })
    .with(|| Settings {
        lines: "transport = { leaves_from = [\"192.168.0.0/24\"] }".to_owned(),
        ..Settings::default()
    }),
    fault("DNS-07", "the line to the hub is cut", &[], |lab| {
        lab.link.set(Condition { cut: true, ..Condition::default() });
    }),
];

pub(super) const SERVICE: &[Fault] = &[
    fault("DNS-06", "the certificate is for another name", &[], |lab| {
        let other = lab.authority.issue(&["*.cognitiveservices.azure.com"]);
        lab.service.greet_with(Greeting::Tls(server(&other)));
    }),
    fault("TLS-02", "the certificate has run out", &[], |lab| {
        let old = lab.authority.issue_expired(&["*.openai.azure.com"]);
        lab.service.greet_with(Greeting::Tls(server(&old)));
    }),
    fault("TLS-03", "the address speaks no TLS", &[], |lab| lab.service.greet_with(Greeting::Plain)),
    fault("HTTP-01", "a translation brings the packets to the public front", &[], |lab| {
        says(lab, 403, REFUSAL);
    }),
    fault("HTTP-02", "the resource's network rules deny", &[], |lab| {
        says(
            lab,
            403,
            r#"{"error":{"code":"AccessDenied","message":"Access denied due to Virtual Network/Firewall rules."}}"#,
        );
    }),
    fault("HTTP-03", "the resource asks for its own subdomain", &[], |lab| {
        says(lab, 404, r#"{"error":{"code":"404","message":"Subdomain does not map to a resource."}}"#);
    }),
    fault("HTTP-04", "the private endpoint is another resource's", &[], |lab| {
        says(lab, 403, r#"{"error":{"code":"403","message":"Traffic is not from an approved private endpoint."}}"#);
    }),
    fault("HTTP-05", "the policy of the VPC endpoint denies", &[], |lab| {
        let text = r#"{"message":"User is not authorized because no VPC endpoint policy allows the bedrock:InvokeModel action"}"#;
        says(lab, 403, text);
    }),
    fault("ID-01", "the clocks differ by ten minutes", &[], |lab| lab.service.behave(Manner::HasClockAhead(600)))
        .works(),
];
