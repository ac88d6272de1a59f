//! Names to addresses: one resolver per set of zones, longest suffix first, and nobody else.
//!
//! Addresses in a URL need no resolver. `localhost` is loopback without asking anyone (RFC 6761 section 6.3). Every other
//! name must lie in a zone that the configuration gives to a resolver. There are no search domains and no hosts file: both
//! would let a machine's own files decide where a caller's data goes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts, ServerOrderingStrategy,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Resolver, TokioResolver, system_conf};
use tokio::time::Instant;

use crate::error::BuildProblem;
use crate::spec::{EndpointSpec, Host, Reach, ResolverSpec, Servers};

/// Time for one try at one name server. Two tries at two servers fit into the default `connect` timeout.
const SERVER_TIMEOUT: Duration = Duration::from_millis(1_200);
/// How long a positive answer counts. Private records often live for 10 s; an hour would hide a moved endpoint.
const POSITIVE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// How long a negative answer counts: a name that was just created must not stay dark.
const NEGATIVE_MOST: Duration = Duration::from_secs(5);
/// Answers kept per resolver.
const CACHE_ENTRIES: u64 = 256;

/// What a name resolved to.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) addresses: Vec<IpAddr>,
    /// `None` for an address that stands in the URL.
    pub(crate) valid_until: Option<Instant>,
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(crate) enum Unresolved {
    /// The resolver says that there is no such name or address.
    NoAddress,
    /// The resolver failed.
    Failed(String),
}

/// Where one endpoint's addresses come from.
#[derive(Clone)]
pub(crate) enum Source {
    /// They stand in the URL, or in RFC 6761.
    Fixed(Vec<IpAddr>, &'static str),
    /// This resolver is asked for this name.
    Zone(Arc<ZoneResolver>, Name),
}

impl Source {
    /// Who answers, for the record.
    pub(crate) fn name(&self) -> Arc<str> {
        match self {
            Self::Fixed(_, why) => (*why).into(),
            Self::Zone(resolver, _) => Arc::clone(&resolver.name),
        }
    }

    /// Forgets the kept answer, so that the next question is really asked.
    pub(crate) fn forget(&self) {
        if let Self::Zone(resolver, name) = self {
            for kind in [RecordType::A, RecordType::AAAA] {
                resolver.inner.clear_lookup_cache(name.clone(), kind);
            }
        }
    }

    pub(crate) async fn ask(&self) -> Result<Answer, Unresolved> {
        match self {
            Self::Fixed(addresses, _) => Ok(Answer { addresses: addresses.clone(), valid_until: None }),
            Self::Zone(resolver, name) => resolver.ask(name).await,
        }
    }
}

/// The resolvers of a configuration.
pub(crate) struct Resolvers {
    specs: Vec<ResolverSpec>,
    zones: Vec<(Name, Arc<ZoneResolver>)>,
}

/// One resolver, with hickory's cache.
pub(crate) struct ZoneResolver {
    name: Arc<str>,
    system: bool,
    inner: TokioResolver,
}

impl Resolvers {
    /// Sets the resolvers up; nothing is asked yet.
    pub(crate) fn build(specs: Vec<ResolverSpec>) -> Result<Self, Vec<BuildProblem>> {
        let mut zones: Vec<(Name, Arc<ZoneResolver>)> = Vec::new();
        let mut problems = Vec::new();
        for (index, spec) in specs.iter().enumerate() {
            if specs.iter().take(index).any(|earlier| earlier.name == spec.name) {
                problems.push(BuildProblem::Duplicate { name: Arc::clone(&spec.name) });
            }
            match ZoneResolver::build(spec) {
                Ok((resolver, names)) => {
                    let resolver = Arc::new(resolver);
                    zones.extend(names.into_iter().map(|name| (name, Arc::clone(&resolver))));
                }
                Err(reason) => problems.push(BuildProblem::Resolver { resolver: Arc::clone(&spec.name), reason }),
            }
        }
        // Longest zone first, so that the first match is the closest one.
        zones.sort_by_key(|(zone, _)| std::cmp::Reverse(zone.num_labels()));
        if problems.is_empty() { Ok(Self { specs, zones }) } else { Err(problems) }
    }

    /// What they were built from.
    pub(crate) fn specs(&self) -> &[ResolverSpec] {
        &self.specs
    }

    /// Says where an endpoint's addresses come from, or what is missing in the configuration.
    pub(crate) fn source(&self, spec: &EndpointSpec) -> Result<Source, BuildProblem> {
        let host = match &spec.host {
            Host::Address(address) => return Ok(Source::Fixed(vec![*address], "literal")),
            Host::Name(name) => name,
        };
        let name = absolute(host).map_err(|_| BuildProblem::Url {
            endpoint: Arc::clone(&spec.name),
            what: "the host",
            value: host.clone(),
        })?;
        if is_localhost(&name) {
            return Ok(Source::Fixed(loopback(&spec.reach), "localhost"));
        }
        let chosen = match &spec.reach {
            Reach::PrivateLink { resolver: Some(wanted), .. } => self.named(wanted, &name).ok_or_else(|| {
                let (endpoint, host, resolver) = (Arc::clone(&spec.name), host.clone(), wanted.clone());
                BuildProblem::WrongResolver { endpoint, host, resolver }
            })?,
            _ => self
                .closest(&name)
                .ok_or_else(|| BuildProblem::NoZone { endpoint: Arc::clone(&spec.name), host: host.clone() })?,
        };
        if chosen.system && spec.reach != Reach::Public {
            let (endpoint, resolver) = (Arc::clone(&spec.name), Arc::clone(&chosen.name));
            return Err(BuildProblem::SystemResolver { endpoint, resolver });
        }
        Ok(Source::Zone(chosen, name))
    }

    fn closest(&self, name: &Name) -> Option<Arc<ZoneResolver>> {
        self.zones.iter().find(|(zone, _)| zone.zone_of(name)).map(|(_, resolver)| Arc::clone(resolver))
    }

    fn named(&self, wanted: &str, name: &Name) -> Option<Arc<ZoneResolver>> {
        let found = self.zones.iter().find(|(zone, resolver)| &*resolver.name == wanted && zone.zone_of(name));
        found.map(|(_, resolver)| Arc::clone(resolver))
    }
}

impl ZoneResolver {
    fn build(spec: &ResolverSpec) -> Result<(Self, Vec<Name>), String> {
        let mut zones = Vec::with_capacity(spec.zones.len());
        for zone in &spec.zones {
            zones.push(absolute(zone).map_err(|error| format!("`{zone}` is not a zone: {error}"))?);
        }
        let servers = match &spec.servers {
            Servers::Listed(servers) if servers.is_empty() => return Err("it lists no server".to_owned()),
            Servers::Listed(servers) => servers.iter().map(|server| udp_and_tcp(*server)).collect(),
            Servers::System => {
                let (config, _) = system_conf::read_system_conf()
                    .map_err(|error| format!("the system's name servers could not be read: {error}"))?;
                // Only the servers: the search list and the options of the machine do not count here.
                config.into_parts().2
            }
        };
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options();
        let inner = builder.build().map_err(|error| error.to_string())?;
        Ok((Self { name: Arc::clone(&spec.name), system: spec.servers == Servers::System, inner }, zones))
    }

    /// Asks for both families at once. All addresses of both count in the judgement.
    ///
    /// A family that fails is left out when the other one answers: a forwarder that drops AAAA questions is common, and
    /// an address that was never given cannot be dialled.
    async fn ask(&self, name: &Name) -> Result<Answer, Unresolved> {
        let (v4, v6) = tokio::join!(self.ask_for(name, RecordType::A), self.ask_for(name, RecordType::AAAA));
        match (v4, v6) {
            (Ok(mut v4), Ok(v6)) => {
                v4.addresses.extend(v6.addresses);
                v4.valid_until = v4.valid_until.min(v6.valid_until);
                Ok(v4)
            }
            (Ok(only), Err(error)) | (Err(error), Ok(only)) => {
                if let Unresolved::Failed(reason) = error {
                    tracing::debug!(resolver = %self.name, %name, reason, "one address family did not resolve");
                }
                Ok(only)
            }
            (Err(Unresolved::NoAddress), Err(Unresolved::NoAddress)) => Err(Unresolved::NoAddress),
            (Err(failed @ Unresolved::Failed(_)), Err(_)) | (Err(_), Err(failed)) => Err(failed),
        }
    }

    async fn ask_for(&self, name: &Name, kind: RecordType) -> Result<Answer, Unresolved> {
        let lookup = self.inner.lookup(name.clone(), kind).await.map_err(|error| unresolved(&error))?;
        let addresses: Vec<IpAddr> = lookup
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::A(address) => Some(IpAddr::V4(address.0)),
                RData::AAAA(address) => Some(IpAddr::V6(address.0)),
                _ => None,
            })
            .collect();
        if addresses.is_empty() {
            return Err(Unresolved::NoAddress);
        }
        // hickory counts on the real clock, the rest of this crate on tokio's.
        let left = lookup.valid_until().saturating_duration_since(std::time::Instant::now());
        Ok(Answer { addresses, valid_until: Some(Instant::now() + left.clamp(POSITIVE.0, POSITIVE.1)) })
    }
}

fn unresolved(error: &NetError) -> Unresolved {
    use hickory_resolver::net::{DnsError, NoRecords};
    use hickory_resolver::proto::op::ResponseCode;
    match error {
        NetError::Dns(DnsError::NoRecordsFound(NoRecords { response_code, .. })) => match *response_code {
            ResponseCode::NXDomain | ResponseCode::NoError => Unresolved::NoAddress,
            code => Unresolved::Failed(format!("it answered {code}")),
        },
        other => Unresolved::Failed(other.to_string()),
    }
}

fn options() -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.ndots = 0;
    options.timeout = SERVER_TIMEOUT;
    options.attempts = 1;
    options.cache_size = CACHE_ENTRIES;
    options.use_hosts_file = ResolveHosts::Never;
    options.positive_min_ttl = Some(POSITIVE.0);
    options.positive_max_ttl = Some(POSITIVE.1);
    options.negative_max_ttl = Some(NEGATIVE_MOST);
    // In the order that was written down: racing servers would make the answer depend on the weather.
    options.num_concurrent_reqs = 1;
    options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
    options.try_tcp_on_error = true;
    options
}

fn udp_and_tcp(server: std::net::SocketAddr) -> NameServerConfig {
    let on_port = |mut connection: ConnectionConfig| {
        connection.port = server.port();
        connection
    };
    let connections = vec![on_port(ConnectionConfig::udp()), on_port(ConnectionConfig::tcp())];
    NameServerConfig::new(server.ip(), true, connections)
}

fn absolute(text: &str) -> Result<Name, String> {
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
