//! Names to chains of names and addresses: one resolver per set of zones, longest suffix first, and nobody else.
//!
//! Addresses in a URL need no resolver. `localhost` is loopback without asking anyone (RFC 6761 section 6.3). Every other
//! name must lie in a zone that the configuration gives to a resolver. There are no search domains and no hosts file: both
//! would let a machine's own files decide where a caller's data goes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf;
use rustls::pki_types::ServerName;
use tokio::time::Instant;

use crate::catalogue::lies_in;
use crate::dns::{Asker, Chain, End, Failure, Freshness, Hop, Route, Server, Via, readable, walk};
use crate::error::BuildProblem;
use crate::spec::{EndpointSpec, Host, Reach, ResolverSpec, Servers, Transport};
use crate::tls::{self, SystemRoots};

/// What one name resolved to, in both families, with everything that was said on the way.
#[derive(Clone, Debug)]
pub struct Resolution {
    /// The name that was asked for, or the address in the URL.
    pub name: String,
    /// Who answers: the name of a resolver, `literal` or `localhost`.
    pub by: Arc<str>,
    /// Every record that led on, the chain first, in the order in which it was followed.
    pub hops: Vec<Hop>,
    /// Every address that it ends at.
    pub addresses: Vec<IpAddr>,
    /// How long it took.
    pub took: Duration,
    /// Until when it counts; `None` for an address in the URL.
    pub(crate) until: Option<Instant>,
    /// The chain of each family; empty where nobody was asked.
    pub(crate) chains: Vec<Chain>,
    /// Whether somebody was to be asked. A resolver may be called `localhost`, so `by` does not say it.
    pub(crate) asked: bool,
}

impl Resolution {
    /// For how much longer it counts; `None` for an address in the URL.
    #[must_use]
    pub fn valid_for(&self) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(Instant::now()))
    }

    fn counts(&self, now: Instant) -> bool {
        !self.addresses.is_empty() && self.until.is_some_and(|until| now < until)
    }

    /// The servers that gave a record, each once.
    #[must_use]
    pub fn servers(&self) -> Vec<SocketAddr> {
        let mut servers: Vec<SocketAddr> = Vec::new();
        for hop in &self.hops {
            if !servers.contains(&hop.server) {
                servers.push(hop.server);
            }
        }
        servers
    }

    /// The failures of servers, where some name could not be resolved for them.
    #[must_use]
    pub fn failures(&self) -> Vec<Failure> {
        let failures = self.chains.iter().filter_map(|chain| match &chain.end {
            End::Unanswered { failures, .. } => Some(failures),
            _ => None,
        });
        failures.flat_map(|failures| failures.iter().cloned()).collect()
    }

    /// The chain as one line: `a -> b -> 10.20.1.5`.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut names = vec![self.name.clone()];
        names.extend(self.hops.iter().filter(|hop| hop.kind == "CNAME").map(|hop| hop.data.clone()));
        names.dedup();
        if !self.addresses.is_empty() {
            let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
            names.push(addresses.join(", "));
        }
        names.join(" -> ")
    }

    pub(crate) fn fixed(name: &str, by: &str, addresses: Vec<IpAddr>) -> Self {
        let (name, by) = (name.to_owned(), by.into());
        let (hops, chains, took) = (Vec::new(), Vec::new(), Duration::ZERO);
        Self { name, by, hops, addresses, took, until: None, chains, asked: false }
    }

    fn of(name: &Name, by: Arc<str>, chains: Vec<Chain>, took: Duration) -> Self {
        let mut hops: Vec<Hop> = Vec::new();
        // Both families pass the same names; one telling of them is enough.
        let same = |a: &Hop, b: &Hop| a.owner == b.owner && a.kind == b.kind && a.data == b.data;
        for hop in chains.iter().flat_map(|chain| &chain.hops) {
            if !hops.iter().any(|known| same(known, hop)) {
                hops.push(hop.clone());
            }
        }
        hops.sort_by_key(|hop| hop.kind != "CNAME");
        let ends = chains.iter().filter_map(|chain| match &chain.end {
            End::Addresses(addresses) => Some((addresses.as_slice(), chain.until)),
            _ => None,
        });
        let addresses = ends.clone().flat_map(|(addresses, _)| addresses.iter().copied()).collect();
        // A family without an address says so for a few seconds only; it must not hurry the one that has some.
        let until = ends.filter_map(|(_, until)| until).min();
        let until = until.or_else(|| chains.iter().filter_map(|chain| chain.until).min());
        Self { name: readable(name), by, hops, addresses, took, until, chains, asked: true }
    }
}

/// Where one endpoint's addresses come from.
#[derive(Clone)]
pub(crate) enum Source {
    /// They stand in the URL, or in RFC 6761.
    Fixed { name: String, addresses: Vec<IpAddr>, why: &'static str },
    /// This resolver is asked for this name, and whoever is next for the names that follow.
    Zone(Arc<Zone>),
}

/// A name, and whom to ask for it.
pub(crate) struct Zone {
    name: Name,
    first: Arc<Asker>,
    router: Router,
    stale_grace: Duration,
    /// One look-up at a time: the others wait for its answer and take it. And the last answer, which is taken for as long as
    /// its addresses count: a family that has none says so for a few seconds only, and no new connection waits for that.
    last: tokio::sync::Mutex<Option<Resolution>>,
}

impl Source {
    /// How long what was verified counts while no server answers.
    pub(crate) fn stale_grace(&self) -> Duration {
        match self {
            Self::Fixed { .. } => Duration::MAX,
            Self::Zone(zone) => zone.stale_grace,
        }
    }

    pub(crate) fn is_asked(&self) -> bool {
        matches!(self, Self::Zone(_))
    }

    /// Resolves. The look-up goes on when the caller gives up, so that the next one finds its answer.
    pub(crate) async fn resolve(&self, freshness: Freshness) -> Resolution {
        match self {
            Self::Fixed { name, addresses, why } => Resolution::fixed(name, why, addresses.clone()),
            Self::Zone(zone) => {
                let own = Arc::clone(zone);
                let asked = tokio::spawn(async move { own.resolve(freshness).await });
                match asked.await {
                    Ok(resolution) => resolution,
                    // The runtime is going down, or the walk panicked, which its fuzzing looks for.
                    Err(_) => Resolution::of(&zone.name, Arc::clone(&zone.first.name), Vec::new(), Duration::ZERO),
                }
            }
        }
    }

    /// How many servers the name's resolver has.
    pub(crate) fn servers(&self) -> usize {
        match self {
            Self::Fixed { .. } => 0,
            Self::Zone(zone) => zone.first.servers().count(),
        }
    }

    /// What each server of the name's resolver says when it alone is asked.
    pub(crate) async fn each_server(&self) -> Vec<(SocketAddr, Resolution)> {
        let Self::Zone(zone) = self else { return Vec::new() };
        let mut views = Vec::new();
        for server in zone.first.servers() {
            let alone = Arc::new(Asker::alone(Arc::clone(&zone.first.name), Arc::clone(server)));
            let router = Alone { first: &zone.first, alone: &alone, router: &zone.router };
            views.push((server.address, both(&router, &zone.name, &alone, Freshness::Asked).await));
        }
        views
    }
}

impl Zone {
    async fn resolve(&self, freshness: Freshness) -> Resolution {
        let mut last = self.last.lock().await;
        if freshness == Freshness::Kept
            && let Some(kept) = last.as_ref().filter(|kept| kept.counts(Instant::now()))
        {
            return kept.clone();
        }
        let resolution = both(&self.router, &self.name, &self.first, freshness).await;
        *last = Some(resolution.clone());
        resolution
    }
}

/// Asks for both families at once. All addresses of both count in the judgement.
pub(crate) async fn both(route: &impl Route, name: &Name, first: &Arc<Asker>, freshness: Freshness) -> Resolution {
    let began = Instant::now();
    let (v4, v6) =
        tokio::join!(walk(route, name, RecordType::A, freshness), walk(route, name, RecordType::AAAA, freshness));
    Resolution::of(name, Arc::clone(&first.name), vec![v4, v6], began.elapsed())
}

/// Who is asked for a name.
struct Router {
    zones: Arc<[(Name, Arc<Asker>)]>,
    /// The resolver that the endpoint names: it is asked wherever it has a zone.
    wanted: Option<Arc<str>>,
    /// Names that belong to the endpoint's service: without a zone of their own, they are asked where the name before was.
    service: Vec<String>,
}

impl Route for Router {
    fn to(&self, name: &Name, before: Option<&Arc<Asker>>) -> Option<Arc<Asker>> {
        let holding = || self.zones.iter().filter(|(zone, _)| zone.zone_of(name)).map(|(_, asker)| asker);
        let wanted = self.wanted.as_ref().and_then(|wanted| holding().find(|asker| asker.name == *wanted));
        let found = wanted.or_else(|| holding().next());
        found.or_else(|| before.filter(|_| lies_in(&self.service, &readable(name)))).cloned()
    }
}

/// The same with one server alone in the place of its resolver.
struct Alone<'a> {
    first: &'a Arc<Asker>,
    alone: &'a Arc<Asker>,
    router: &'a Router,
}

impl Route for Alone<'_> {
    fn to(&self, name: &Name, before: Option<&Arc<Asker>>) -> Option<Arc<Asker>> {
        let found = self.router.to(name, before)?;
        Some(if Arc::ptr_eq(&found, self.first) { Arc::clone(self.alone) } else { found })
    }
}

/// The resolvers of a configuration.
pub(crate) struct Resolvers {
    specs: Vec<ResolverSpec>,
    /// Longest zone first, so that the first match is the closest one.
    zones: Arc<[(Name, Arc<Asker>)]>,
}

impl Resolvers {
    /// Sets the resolvers up; nothing is asked yet.
    pub(crate) fn build(specs: Vec<ResolverSpec>, roots: &SystemRoots) -> Result<Self, Vec<BuildProblem>> {
        let mut zones: Vec<(Name, Arc<Asker>)> = Vec::new();
        let mut problems = Vec::new();
        for (index, spec) in specs.iter().enumerate() {
            if specs.iter().take(index).any(|earlier| earlier.name == spec.name) {
                problems.push(BuildProblem::Duplicate { name: Arc::clone(&spec.name) });
            }
            match asker(spec, roots) {
                Ok((asker, names)) => {
                    let asker = Arc::new(asker);
                    zones.extend(names.into_iter().map(|name| (name, Arc::clone(&asker))));
                }
                Err(reason) => problems.push(BuildProblem::Resolver { resolver: Arc::clone(&spec.name), reason }),
            }
        }
        zones.sort_by_key(|(zone, _)| std::cmp::Reverse(zone.num_labels()));
        if problems.is_empty() { Ok(Self { specs, zones: zones.into() }) } else { Err(problems) }
    }

    /// The servers of the resolver with this name, whatever its zones.
    pub(crate) fn named(&self, name: &str) -> Option<Arc<Asker>> {
        self.zones.iter().map(|(_, asker)| asker).find(|asker| &*asker.name == name).cloned()
    }

    /// What they were built from.
    pub(crate) fn specs(&self) -> &[ResolverSpec] {
        &self.specs
    }

    /// Says where an endpoint's addresses come from, or what is missing in the configuration.
    pub(crate) fn source(&self, spec: &EndpointSpec) -> Result<Source, BuildProblem> {
        let host = match &spec.host {
            Host::Address(address) => {
                return Ok(Source::Fixed { name: address.to_string(), addresses: vec![*address], why: "literal" });
            }
            Host::Name(name) => name,
        };
        let name = absolute(host).map_err(|_| BuildProblem::Url {
            endpoint: Arc::clone(&spec.name),
            what: "the host",
            value: host.clone(),
        })?;
        if is_localhost(&name) {
            return Ok(Source::Fixed { name: host.clone(), addresses: loopback(&spec.reach), why: "localhost" });
        }
        let wanted = match &spec.reach {
            Reach::PrivateLink { resolver: Some(wanted), .. } => Some(Arc::from(wanted.as_str())),
            _ => None,
        };
        let router = Router { zones: Arc::clone(&self.zones), wanted, service: spec.reach.leads_to() };
        let first = router.to(&name, None).ok_or_else(|| no_zone(spec, host))?;
        if router.wanted.as_ref().is_some_and(|wanted| first.name != *wanted) {
            let (endpoint, host) = (Arc::clone(&spec.name), host.clone());
            let resolver = router.wanted.as_deref().unwrap_or_default().to_owned();
            return Err(BuildProblem::WrongResolver { endpoint, host, resolver });
        }
        let own = self.specs.iter().find(|own| own.name == first.name);
        if own.is_some_and(|own| own.servers == Servers::System) && spec.reach != Reach::Public {
            let (endpoint, resolver) = (Arc::clone(&spec.name), Arc::clone(&first.name));
            return Err(BuildProblem::SystemResolver { endpoint, resolver });
        }
        let stale_grace = own.map_or(Duration::ZERO, |own| own.stale_grace);
        Ok(Source::Zone(Arc::new(Zone { name, first, router, stale_grace, last: tokio::sync::Mutex::default() })))
    }
}

fn no_zone(spec: &EndpointSpec, host: &str) -> BuildProblem {
    match &spec.reach {
        Reach::PrivateLink { resolver: Some(wanted), .. } => BuildProblem::WrongResolver {
            endpoint: Arc::clone(&spec.name),
            host: host.to_owned(),
            resolver: wanted.clone(),
        },
        _ => BuildProblem::NoZone { endpoint: Arc::clone(&spec.name), host: host.to_owned() },
    }
}

fn asker(spec: &ResolverSpec, roots: &SystemRoots) -> Result<(Asker, Vec<Name>), String> {
    let mut zones = Vec::with_capacity(spec.zones.len());
    for zone in &spec.zones {
        zones.push(absolute(zone).map_err(|error| format!("`{zone}` is not a zone: {error}"))?);
    }
    let addresses = match &spec.servers {
        Servers::Listed(servers) if servers.is_empty() => return Err("it lists no server".to_owned()),
        Servers::Listed(servers) => servers.clone(),
        Servers::System => system_servers()?,
    };
    let via = via(&spec.transport, roots)?;
    let servers = addresses.into_iter().map(|address| Server::new(address, via.clone())).collect();
    Ok((Asker::new(Arc::clone(&spec.name), servers), zones))
}

fn via(transport: &Transport, roots: &SystemRoots) -> Result<Via, String> {
    let name = |text: &str| {
        ServerName::try_from(text.to_owned()).map_err(|_| format!("`{text}` is not a name for a certificate"))
    };
    Ok(match transport {
        Transport::UdpTcp => Via::Datagram,
        Transport::Tls { server_name, ca } => {
            Via::Tls(tls::resolver_config(ca.as_deref(), b"dot", roots)?, name(server_name)?)
        }
        Transport::Https { server_name, ca } => {
            Via::Https(tls::resolver_config(ca.as_deref(), b"h2", roots)?, name(server_name)?)
        }
    })
}

/// Only the servers: the search list and the options of the machine do not count here.
fn system_servers() -> Result<Vec<SocketAddr>, String> {
    let (config, _) = system_conf::read_system_conf()
        .map_err(|error| format!("the system's name servers could not be read: {error}"))?;
    let servers = config.name_servers().iter().map(|server| SocketAddr::new(server.ip, 53));
    let servers: Vec<SocketAddr> = servers.collect();
    if servers.is_empty() { Err("the system lists no name server".to_owned()) } else { Ok(servers) }
}

pub(crate) fn absolute(text: &str) -> Result<Name, String> {
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    let mut name = Name::from_ascii(text).map_err(|error| error.to_string())?;
    name.set_fqdn(true);
    Ok(name)
}

fn is_localhost(name: &Name) -> bool {
    name.iter().next_back().is_some_and(|label| label.eq_ignore_ascii_case(b"localhost"))
}

/// Both loopback addresses, or only those that the ranges name: this answer comes from nobody who could be wrong.
fn loopback(reach: &Reach) -> Vec<IpAddr> {
    let both = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let named: Vec<IpAddr> =
        both.into_iter().filter(|address| reach.within().iter().any(|net| net.contains(address))).collect();
    if named.is_empty() { both.to_vec() } else { named }
}
