//! The judgement of a whole resolution: where the chain may lead, what it may end at, and which code says why not.
//!
//! The order is that of the verification: somebody answered, the chain stayed where the service lives, it ended at
//! addresses, and every one of them lies inside. One bad address refuses them all. A chain that left the service was
//! answered, whoever is silent beside it.

use std::net::IpAddr;

use crate::address::{self, AddressFault, Verified};
use crate::catalogue::{ChainKind, Service, lies_in};
use crate::dns::{Chain, End, Failure, Hop, Trouble};
use crate::error::Listed;
use crate::fault::Code;
use crate::resolve::Resolution;
use crate::spec::{Host, Reach};

/// Why a resolution was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) code: Code,
    pub(crate) seen: String,
}

impl Refused {
    fn new(code: Code, seen: String) -> Self {
        Self { code, seen }
    }

    /// Whether it says nothing about the endpoint: nobody could be asked.
    pub(crate) fn is_unanswered(&self) -> bool {
        matches!(self.code, Code::Dns07 | Code::Dns08 | Code::Dns16)
    }
}

/// What of a resolution may be dialled.
pub(crate) struct Wanted<'a> {
    pub(crate) host: &'a Host,
    pub(crate) port: u16,
    pub(crate) ipv6: bool,
}

/// Judges a resolution and gives what of it may be dialled.
///
/// IPv6 is judged always, and dialled only where that is wanted. Where it is not, silence about it hides nothing: a name
/// without an IPv4 address has none that counts.
pub(crate) fn dialled(reach: &Reach, resolution: &Resolution, wanted: &Wanted<'_>) -> Result<Vec<Verified>, Refused> {
    let mut verified = judge(reach, resolution, wanted.port).map_err(|refused| {
        let of_ipv4 = without_ipv4(reach, resolution);
        of_ipv4.filter(|_| refused.is_unanswered() && !wanted.ipv6).unwrap_or(refused)
    })?;
    if !wanted.ipv6 {
        verified.retain(|address| address.socket().is_ipv4());
    }
    if verified.is_empty() {
        let seen = format!("`{}` has IPv6 addresses only, and `transport.ipv6` does not allow them", wanted.host);
        return Err(Refused::new(Code::Dns11, seen));
    }
    Ok(verified)
}

/// Judges a resolution; every address that comes out has its proof.
pub(crate) fn judge(reach: &Reach, resolution: &Resolution, port: u16) -> Result<Vec<Verified>, Refused> {
    if resolution.asked {
        // A name that leads elsewhere is an answer, whoever is silent about the other family or about the names after it.
        chain(reach, resolution)?;
        answered(resolution)?;
        ended(reach, resolution)?;
    }
    addresses(reach, resolution, port)
}

/// Why a name that is dialled over IPv4 alone is refused though nobody answers for IPv6: it has no IPv4 address.
fn without_ipv4(reach: &Reach, resolution: &Resolution) -> Option<Refused> {
    let ipv4 = resolution.chains.first().filter(|_| resolution.asked)?;
    if matches!(ipv4.end, End::Nothing { .. }) { ended(reach, resolution).err() } else { None }
}

/// Somebody answered. A family that nobody answers for is left out when the other one has addresses: a forwarder that
/// drops AAAA questions is common, and an address that was never given cannot be dialled. It is left out as well when the
/// other one's chain ends at a name that does not exist or that no resolver has, which holds for both families. That a
/// name has no address of one kind says nothing of the other.
fn answered(resolution: &Resolution) -> Result<(), Refused> {
    let name = &resolution.name;
    let for_both = |chain: &Chain| {
        matches!(chain.end, End::Addresses(_) | End::NoZone | End::Nothing { exists: false, .. } | End::Broken(_))
    };
    let chains = &resolution.chains;
    if chains.iter().any(for_both) || (!chains.is_empty() && !chains.iter().any(is_silent)) {
        return Ok(());
    }
    let failures = resolution.failures();
    let by = resolution.chains.iter().find_map(|chain| match &chain.end {
        End::Unanswered { resolver, .. } => Some(resolver),
        _ => None,
    });
    let by = by.unwrap_or(&resolution.by);
    let all = |kind: fn(&Trouble) -> bool| !failures.is_empty() && failures.iter().all(|one| kind(&one.trouble));
    let code = if all(|trouble| matches!(trouble, Trouble::Cut(_))) {
        Code::Dns08
    } else if all(|trouble| matches!(trouble, Trouble::Tls(_))) {
        Code::Dns16
    } else {
        Code::Dns07
    };
    Err(Refused::new(code, format!("resolver `{by}` could not resolve `{name}`: {}", each_once(&failures))))
}

fn is_silent(chain: &Chain) -> bool {
    matches!(chain.end, End::Unanswered { .. })
}

fn each_once(failures: &[Failure]) -> String {
    let mut told: Vec<(std::net::SocketAddr, String)> = Vec::new();
    for failure in failures {
        if !told.iter().any(|(server, _)| *server == failure.server) {
            told.push((failure.server, failure.to_string()));
        }
    }
    if told.is_empty() {
        return "the look-up was given up".to_owned();
    }
    told.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("; ")
}

/// The chain has an end, and no name of it lies elsewhere.
fn chain(reach: &Reach, resolution: &Resolution) -> Result<(), Refused> {
    for chain in &resolution.chains {
        if let End::Broken(why) = chain.end {
            let seen = format!("the chain of `{}` cannot be followed at `{}`: {why}", resolution.name, chain.last);
            return Err(Refused::new(Code::Dns10, seen));
        }
        if let Reach::PrivateLink { service, expect, .. } = reach {
            private_chain((service, expect), resolution, chain)?;
        } else if chain.end == End::NoZone {
            let seen = format!(
                "the chain of `{}` leads to `{}`, for which no resolver may be asked",
                resolution.name, chain.last
            );
            return Err(Refused::new(Code::Dns10, seen));
        }
    }
    Ok(())
}

/// Every name that the chain leads to is one of the service's, and the last one owns the addresses as the service's do.
///
/// A privatelink name in the chain proves nothing by itself: the public answer passes it as well. It must be the last.
fn private_chain(
    (service, expect): (&Service, &[String]),
    resolution: &Resolution,
    chain: &Chain,
) -> Result<(), Refused> {
    let allowed = if expect.is_empty() { &service.zones } else { expect };
    let name = &resolution.name;
    let mut passed: Option<&Hop> = None;
    for hop in chain.hops.iter().filter(|hop| hop.kind == "CNAME") {
        if lies_in(allowed, &hop.data) {
            passed = Some(hop);
            continue;
        }
        let server = hop.server;
        if !leads_to_front(service, chain, hop) {
            let seen = format!(
                "the chain of `{name}` leaves the names of service `{}` at `{}`, which points to `{}`, says {server}",
                service.name, hop.owner, hop.data
            );
            return Err(Refused::new(Code::Dns10, seen));
        }
        return Err(match passed {
            Some(private) => {
                let seen =
                    format!("`{name}` leads past `{}` to the public front `{}`, says {server}", private.data, hop.data);
                Refused::new(Code::Dns01, seen)
            }
            None => {
                let seen =
                    format!("`{name}` leads to the public front `{}` without a private name, says {server}", hop.data);
                Refused::new(Code::Dns04, seen)
            }
        });
    }
    let owns_itself = service.kind == ChainKind::AzureCname && !lies_in(allowed, name);
    if owns_itself && passed.is_none() && matches!(chain.end, End::Addresses(_)) {
        let seen = format!("`{name}` has an address of its own and leads to no name of {}", Listed(&quoted(allowed)));
        return Err(Refused::new(Code::Dns04, seen));
    }
    Ok(())
}

/// Whether the hop is one of the public front's, or leads there in a few more hops of the front's own.
fn leads_to_front(service: &Service, chain: &Chain, hop: &Hop) -> bool {
    service.is_front(&hop.data) && {
        let after = chain.hops.iter().skip_while(|other| *other != hop).skip(1);
        after.filter(|hop| hop.kind == "CNAME").all(|hop| service.is_front(&hop.data))
    }
}

/// It ended at addresses, in one family at least.
fn ended(reach: &Reach, resolution: &Resolution) -> Result<(), Refused> {
    if !resolution.addresses.is_empty() {
        return Ok(());
    }
    let name = &resolution.name;
    let Some(chain) = resolution.chains.iter().find(|chain| !is_silent(chain)) else {
        return Err(Refused::new(Code::Dns07, format!("`{name}` was not asked for")));
    };
    let what = match &chain.end {
        End::Nothing { exists: false, .. } => "does not exist",
        _ => "has no address",
    };
    let zone = match &chain.end {
        End::Nothing { zone: Some(zone), .. } => format!(", says the zone `{zone}`"),
        _ => String::new(),
    };
    let last = &chain.last;
    let led = if last == name { String::new() } else { format!("`{name}` leads to `{last}`, which {what}{zone}") };
    match reach {
        Reach::PrivateLink { service, expect, .. } => {
            let allowed = if expect.is_empty() { &service.zones } else { expect };
            if last != name && lies_in(allowed, last) {
                return Err(Refused::new(Code::Dns02, led));
            }
            let by = &resolution.by;
            Err(Refused::new(Code::Dns04, format!("resolver `{by}` says that `{name}` {what}{zone}")))
        }
        Reach::Local { .. } | Reach::Public | Reach::Metadata => {
            let by = &resolution.by;
            Err(Refused::new(Code::Addr03, format!("resolver `{by}` knows no address of `{name}`")))
        }
    }
}

/// Every address lies inside.
fn addresses(reach: &Reach, resolution: &Resolution, port: u16) -> Result<Vec<Verified>, Refused> {
    let name = &resolution.name;
    let (good, bad) = address::judge(reach, &resolution.addresses, port);
    let seen_of = |fault: AddressFault| {
        let blamed: Vec<IpAddr> =
            bad.iter().filter(|(_, other)| *other == fault).map(|(address, _)| *address).collect();
        sentence(name, fault, &blamed, reach)
    };
    if let Some((_, fault)) = bad.iter().find(|(_, fault)| fault.is_special()) {
        return Err(Refused::new(Code::Dns10, seen_of(*fault)));
    }
    if let Some((_, fault)) = bad.first() {
        let code = match reach {
            Reach::Public => Code::Addr02,
            // Outside of every network, and nobody's private endpoint: somebody turned the name against this machine.
            Reach::PrivateLink { .. } if bad.iter().any(|(address, _)| is_of_this_machine(*address)) => Code::Dns10,
            _ if bad.iter().all(|(address, _)| address.is_ipv6()) && matches!(reach, Reach::PrivateLink { .. }) => {
                Code::Dns11
            }
            _ if !good.is_empty() => Code::Dns12,
            Reach::PrivateLink { .. } => Code::Dns01,
            Reach::Local { .. } | Reach::Metadata => Code::Addr01,
        };
        return Err(Refused::new(code, seen_of(*fault)));
    }
    if let Reach::PrivateLink { service, .. } = reach
        && !service.ipv6
        && let Some(leak) = good.iter().find(|address| address.socket().is_ipv6())
    {
        let seen = format!("`{name}` resolved to {}, and service `{}` has no IPv6", leak.socket().ip(), service.name);
        return Err(Refused::new(Code::Dns11, seen));
    }
    if good.is_empty() {
        return Err(Refused::new(Code::Addr03, format!("`{name}` has no address")));
    }
    Ok(good)
}

/// Loopback and link-local addresses.
fn is_of_this_machine(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local(),
    }
}

fn sentence(name: &str, fault: AddressFault, addresses: &[IpAddr], reach: &Reach) -> String {
    let (addresses, ranges) = (Listed(addresses), Listed(reach.within()));
    match fault {
        AddressFault::Outside => {
            format!("`{name}` resolved to {addresses}, which is outside the declared ranges {ranges}")
        }
        AddressFault::Metadata => {
            format!("`{name}` resolved to {addresses}, a cloud metadata address, which is never dialled")
        }
        AddressFault::NotNamed => format!(
            "`{name}` resolved to {addresses}, a loopback or link-local address that none of the ranges {ranges} names"
        ),
        AddressFault::Unusable => {
            format!("`{name}` resolved to {addresses}, an address that nothing can be reached at")
        }
        AddressFault::NotPublic => {
            format!("`{name}` resolved to {addresses}, which is not public although its reach says so")
        }
    }
}

fn quoted(names: &[String]) -> Vec<String> {
    names.iter().map(|name| format!("`{name}`")).collect()
}

#[cfg(test)]
mod tests;
