//! The plan itself: who must be able to reach what, read out of a checked configuration.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use server::configuration::{
    Compiled, ControlConfig, ControlCredentialConfig, CredentialConfig, EndpointConfig, Host, IdentityConfig,
    IdentityHostConfig, LedgerConfig, Network, OtlpConfig, ReachConfig, ResolverConfig, ResolverServers,
    ResolverTransport, Scheme, StoreConfig, ViaConfig, WebhookConfig, WitnessConfig,
};

/// What the configuration cannot know, from the command line.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    /// Where callers come from; anywhere if empty.
    pub(super) callers: Vec<IpNet>,
    /// The machine's time servers.
    pub(super) time_servers: Vec<IpAddr>,
    /// From where the machine is managed.
    pub(super) managers: Vec<IpNet>,
    /// The only user whose packets are restricted; everybody's if absent.
    pub(super) user: Option<String>,
}

/// What a network team has to set up. Every list is sorted.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Which servers answer for which zones.
    pub(super) forwarders: Vec<Forwarder>,
    /// The private endpoints of Azure, whose names run through private zones.
    pub(super) private: Vec<PrivateName>,
    /// What may leave the gateway; nothing else needs to.
    pub(super) flows: Vec<Flow>,
    /// Where the gateway listens for others than itself.
    pub(super) doors: Vec<Door>,
    /// What the configuration cannot know.
    pub(super) surroundings: Surroundings,
}

/// A zone and the server that answers for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Forwarder {
    pub(super) zone: String,
    pub(super) server: SocketAddr,
    /// The name of the `[resolver]`.
    pub(super) resolver: String,
}

/// The name of a private endpoint of Azure.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PrivateName {
    /// The name of the `[endpoint]`.
    pub(super) endpoint: String,
    pub(super) host: String,
    /// The private zones that its name runs through.
    pub(super) private_zones: Vec<String>,
}

/// Why a flow is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Purpose {
    /// Names are asked for.
    Resolver,
    /// Requests go there, and probes.
    Endpoint,
    /// The public front of a private endpoint's name is asked whether it is closed.
    Canary,
    /// The gateway asks for the tokens by which it identifies itself.
    Identity,
    /// A control plane is asked where deployments process.
    Control,
    /// What several gateways share is kept there.
    Store,
    /// What was spent is kept there.
    Ledger,
    /// Traces, metrics and log lines go there.
    Telemetry,
    /// Who is told how far a budget has come.
    Webhook,
    /// Checkpoints of the audit log are copied there.
    Evidence,
    /// The machine's clock: certificates and tokens depend on it.
    Time,
}

impl Purpose {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Resolver => "resolver",
            Self::Endpoint => "endpoint",
            Self::Canary => "canary",
            Self::Identity => "identity",
            Self::Control => "control",
            Self::Store => "store",
            Self::Ledger => "ledger",
            Self::Telemetry => "telemetry",
            Self::Webhook => "webhook",
            Self::Evidence => "evidence",
            Self::Time => "time",
        }
    }
}

/// The transport of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    /// In lower case, as nftables and Terraform's rules have it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    /// In capitals, as Kubernetes and Azure have it.
    pub(super) fn as_capitals(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// Where a flow goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Destination {
    /// To one of these networks.
    Networks(Vec<IpNet>),
    /// To a name on the internet, whose addresses nobody can list.
    Internet(String),
    /// To the operating system's own name servers.
    System,
}

/// Packets that must be let through.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Flow {
    pub(super) purpose: Purpose,
    /// The name of the resolver or endpoint.
    pub(super) name: String,
    pub(super) destination: Destination,
    pub(super) protocol: Protocol,
    pub(super) port: u16,
    /// The host of an endpoint; empty for every other purpose.
    pub(super) host: String,
    /// Whether TLS is spoken to an endpoint.
    pub(super) is_tls: bool,
    /// The proxy to which its packets go in the host's place.
    pub(super) over: Option<String>,
}

impl Flow {
    /// The networks that it goes to beyond this machine; none where they are not known.
    pub(super) fn networks(&self) -> impl Iterator<Item = IpNet> {
        let networks = match &self.destination {
            Destination::Networks(networks) => networks.as_slice(),
            Destination::Internet(_) | Destination::System => &[],
        };
        networks.iter().copied().filter(|network| !is_loopback(*network))
    }

    /// Whether it never leaves this machine.
    pub(super) fn stays_here(&self) -> bool {
        matches!(&self.destination, Destination::Networks(networks) if networks.iter().copied().all(is_loopback))
    }
}

/// Where the gateway listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Door {
    /// `callers`, `probes` or `operators`.
    pub(super) who: &'static str,
    pub(super) port: u16,
}

impl Plan {
    /// Reads a plan out of a configuration.
    pub(super) fn of(compiled: &Compiled, surroundings: Surroundings) -> Self {
        let mut flows: BTreeSet<Flow> = compiled.resolvers.iter().flat_map(resolver_flows).collect();
        flows.extend(compiled.endpoints.iter().map(endpoint_flow));
        flows.extend(compiled.endpoints.iter().filter_map(canary_flow));
        flows.extend(compiled.identities.iter().map(identity_flow));
        flows.extend(compiled.controls.iter().map(control_flow));
        flows.extend(compiled.otlp.iter().map(collector_flow));
        flows.extend(compiled.audit.witness_http.iter().map(witness_flow));
        flows.extend(compiled.webhooks.iter().map(webhook_flow));
        flows.extend(machine_flow(compiled));
        flows.extend(compiled.store.iter().map(store_flow));
        flows.extend(compiled.ledger.iter().map(ledger_flow));
        flows.extend(surroundings.time_servers.iter().map(|server| time_flow(*server)));
        let mut private: Vec<PrivateName> = compiled.endpoints.iter().filter_map(private_name).collect();
        private.sort();
        let mut forwarders: Vec<Forwarder> = compiled.resolvers.iter().flat_map(forwarders).collect();
        forwarders.sort();
        Self { forwarders, private, flows: flows.into_iter().collect(), doors: doors(compiled), surroundings }
    }

    /// What the plan cannot say in addresses, for the person who prints it.
    pub(super) fn warnings(&self, callers_needed: bool) -> Vec<String> {
        let unknown = self.flows.iter().filter_map(|flow| match &flow.destination {
            Destination::Internet(host) => Some(format!(
                "{} `{}` is public: `{host}` has no addresses that a plan could list, so no rule for addresses lets it through",
                flow.purpose.as_str(),
                flow.name
            )),
            Destination::System => Some(format!(
                "resolver `{}` is the operating system's: its servers stand in /etc/resolv.conf and not in this plan",
                flow.name
            )),
            Destination::Networks(_) => None,
        });
        let mut warnings: Vec<String> = unknown.collect::<BTreeSet<_>>().into_iter().collect();
        if callers_needed && self.surroundings.callers.is_empty() && !self.doors.is_empty() {
            warnings.push(
                "systemd filters both directions and no `--callers` are named: nobody beyond this machine will reach the gateway"
                    .to_owned(),
            );
        }
        warnings
    }
}

pub(super) fn is_loopback(network: IpNet) -> bool {
    network.network().is_loopback()
}

/// One address as a network.
pub(super) fn single(address: IpAddr) -> IpNet {
    IpNet::from(address.to_canonical())
}

fn networks(within: &[Network]) -> Vec<IpNet> {
    let net = |network: &Network| IpNet::new(network.address, network.prefix);
    let mut nets: Vec<IpNet> = within.iter().filter_map(|network| net(network).ok()).collect();
    nets.sort();
    nets.dedup();
    nets
}

fn resolver_flows(resolver: &ResolverConfig) -> Vec<Flow> {
    let flow = |destination, protocol, port| Flow {
        purpose: Purpose::Resolver,
        name: resolver.name.clone(),
        destination,
        protocol,
        port,
        host: String::new(),
        is_tls: false,
        over: None,
    };
    match &resolver.servers {
        ResolverServers::System => {
            [Protocol::Udp, Protocol::Tcp].map(|protocol| flow(Destination::System, protocol, 53)).to_vec()
        }
        ResolverServers::Addresses { servers, transport } => {
            let protocols: &[Protocol] = match transport {
                ResolverTransport::UdpTcp => &[Protocol::Udp, Protocol::Tcp],
                ResolverTransport::Tls(_) | ResolverTransport::Https(_) => &[Protocol::Tcp],
            };
            let to = |server: &SocketAddr| Destination::Networks(vec![single(server.ip())]);
            let each = |server| protocols.iter().map(move |protocol| (server, *protocol));
            servers.iter().flat_map(each).map(|(server, protocol)| flow(to(server), protocol, server.port())).collect()
        }
    }
}

fn forwarders(resolver: &ResolverConfig) -> Vec<Forwarder> {
    let ResolverServers::Addresses { servers, .. } = &resolver.servers else { return Vec::new() };
    let each = |zone: &String| {
        let zone = zone.clone();
        servers.iter().map(move |server| Forwarder {
            zone: zone.clone(),
            server: *server,
            resolver: resolver.name.clone(),
        })
    };
    resolver.zones.iter().flat_map(each).collect()
}

fn endpoint_flow(endpoint: &EndpointConfig) -> Flow {
    let flow = Flow {
        purpose: Purpose::Endpoint,
        name: endpoint.name.clone(),
        destination: destination(&endpoint.host, &endpoint.reach),
        protocol: Protocol::Tcp,
        port: endpoint.port,
        host: endpoint.host.to_string(),
        is_tls: endpoint.scheme == Scheme::Https,
        over: None,
    };
    over(endpoint.via.as_ref(), flow)
}

/// Where packets go that pass a proxy: to the proxy.
fn over(via: Option<&ViaConfig>, flow: Flow) -> Flow {
    match via {
        None => flow,
        Some(via) => Flow {
            destination: destination(&via.host, &ReachConfig::Local { within: via.within.clone() }),
            port: via.port,
            over: Some(format!("{}:{}", via.host, via.port)),
            ..flow
        },
    }
}

/// An address in the URL is narrower than any range; a name may be any address of its ranges.
fn destination(host: &Host, reach: &ReachConfig) -> Destination {
    match (host, reach) {
        (Host::Address(address), _) => Destination::Networks(vec![single(*address)]),
        (Host::Name(_), ReachConfig::Local { within } | ReachConfig::PrivateLink { within, .. }) => {
            Destination::Networks(networks(within))
        }
        (Host::Name(host), ReachConfig::Public) => Destination::Internet(host.clone()),
    }
}

fn canary_flow(endpoint: &EndpointConfig) -> Option<Flow> {
    let canary = endpoint.canary.as_ref()?;
    let destination = match canary.within.as_slice() {
        [] => Destination::Internet(endpoint.host.to_string()),
        within => Destination::Networks(networks(within)),
    };
    // The look at the front is made without the proxy, at the endpoint's own port.
    Some(Flow { purpose: Purpose::Canary, destination, port: endpoint.port, over: None, ..endpoint_flow(endpoint) })
}

fn identity_flow(identity: &IdentityConfig) -> Flow {
    let flow = Flow {
        purpose: Purpose::Identity,
        name: identity.name.clone(),
        destination: destination(&identity.host, &identity.reach),
        protocol: Protocol::Tcp,
        port: identity.port,
        host: identity.host.to_string(),
        is_tls: identity.scheme == Scheme::Https,
        over: None,
    };
    over(identity.via.as_ref(), flow)
}

fn control_flow(control: &ControlConfig) -> Flow {
    let flow =
        own_flow((Purpose::Control, &control.name), (&control.host, control.port), &control.reach, control.scheme);
    over(control.via.as_ref(), flow)
}

fn store_flow(store: &StoreConfig) -> Flow {
    own_flow((Purpose::Store, "store"), (&store.host, store.port), &store.reach, store.scheme)
}

fn ledger_flow(ledger: &LedgerConfig) -> Flow {
    own_flow((Purpose::Ledger, "ledger"), (&ledger.host, ledger.port), &ledger.reach, ledger.scheme)
}

fn collector_flow(otlp: &OtlpConfig) -> Flow {
    own_flow((Purpose::Telemetry, "otlp"), (&otlp.host, otlp.port), &otlp.reach, otlp.scheme)
}

fn webhook_flow(webhook: &WebhookConfig) -> Flow {
    own_flow((Purpose::Webhook, &webhook.name), (&webhook.host, webhook.port), &webhook.reach, webhook.scheme)
}

fn witness_flow(witness: &WitnessConfig) -> Flow {
    own_flow((Purpose::Evidence, "witness"), (&witness.host, witness.port), &witness.reach, witness.scheme)
}

/// To a host of which there is one, without a proxy on the way.
fn own_flow((purpose, name): (Purpose, &str), (host, port): (&Host, u16), reach: &ReachConfig, scheme: Scheme) -> Flow {
    Flow {
        purpose,
        name: name.to_owned(),
        destination: destination(host, reach),
        protocol: Protocol::Tcp,
        port,
        host: host.to_string(),
        is_tls: scheme == Scheme::Https,
        over: None,
    }
}

/// The metadata service of the machine, for a managed identity that names no host. The agent of Arc is on the machine.
fn machine_flow(compiled: &Compiled) -> Option<Flow> {
    let of_endpoints = compiled.endpoints.iter().filter_map(|endpoint| match &endpoint.credential {
        Some(CredentialConfig::Token(token)) => Some(token),
        Some(CredentialConfig::Key(_)) | None => None,
    });
    let of_controls = compiled.controls.iter().filter_map(|control| match &control.credential {
        Some(ControlCredentialConfig::Token(token)) => Some(token),
        Some(ControlCredentialConfig::Aws(_)) | None => None,
    });
    let address = IpAddr::from([169, 254, 169, 254]);
    let of_witness = compiled.audit.witness_http.iter().filter_map(WitnessConfig::token);
    let asked =
        of_endpoints.chain(of_controls).chain(of_witness).any(|token| token.host == IdentityHostConfig::Machine);
    asked.then(|| Flow {
        purpose: Purpose::Identity,
        name: "managed-identity".to_owned(),
        destination: Destination::Networks(vec![single(address)]),
        protocol: Protocol::Tcp,
        port: 80,
        host: address.to_string(),
        is_tls: false,
        over: None,
    })
}

fn time_flow(server: IpAddr) -> Flow {
    Flow {
        purpose: Purpose::Time,
        name: "ntp".to_owned(),
        destination: Destination::Networks(vec![single(server)]),
        protocol: Protocol::Udp,
        port: 123,
        host: String::new(),
        is_tls: false,
        over: None,
    }
}

/// A chain through a privatelink zone is Azure's way; other services make their names private differently.
fn private_name(endpoint: &EndpointConfig) -> Option<PrivateName> {
    let ReachConfig::PrivateLink { service, .. } = &endpoint.reach else { return None };
    // A `*` in a zone stands for the region, which the host has as its label before the service's own.
    let region = |zone: &String| match zone.split_once('*') {
        None => zone.clone(),
        Some((before, after)) => {
            let host = endpoint.host.to_string();
            let label = host.strip_suffix(after).and_then(|rest| rest.rsplit('.').next()).unwrap_or("*").to_owned();
            format!("{before}{label}{after}")
        }
    };
    (service.kind == egress::ChainKind::AzureCname).then(|| PrivateName {
        endpoint: endpoint.name.clone(),
        host: endpoint.host.to_string(),
        private_zones: service.zones.iter().map(region).collect(),
    })
}

fn doors(compiled: &Compiled) -> Vec<Door> {
    let all = [("callers", Some(compiled.listen.address)), ("operators", compiled.admin), ("probes", compiled.health)];
    let open = all.into_iter().filter_map(|(who, address)| Some((who, address?)));
    open.filter(|(_, address)| !address.ip().is_loopback())
        .map(|(who, address)| Door { who, port: address.port() })
        .collect()
}
