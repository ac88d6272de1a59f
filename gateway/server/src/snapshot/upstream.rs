//! Endpoints and resolvers in the words of `egress`.

use std::sync::Arc;

use egress::{
    CanarySpec, ClientCertificate, Credential, EndpointSpec, Host, Http2, Own, PoolSpec, ProbeSpec, Reach,
    ResolverSpec, Scheme, Secret, Servers, Timeouts, TlsSpec, Transport, TransportSpec, ViaConnect, ViaSpec,
};
use http::HeaderName;
use ipnet::IpNet;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use wire::CredentialForm;

use super::build::read;
use super::{SnapshotError, identity};
use crate::configuration::{
    self, Compiled, CredentialConfig, EndpointConfig, EndpointTlsConfig, Network, ReachConfig, ResolverConfig,
    ResolverServers, ResolverTls, ResolverTransport, TransportConfig, ViaConfig,
};

/// Requests to an endpoint are bounded by its connections as well: there are at most this many idle.
const MAX_IDLE: usize = 256;

/// The endpoints and resolvers of a configuration as `egress` takes them.
#[derive(Clone, Debug)]
pub struct Specs {
    /// The endpoints, in the order of the configuration.
    pub endpoints: Vec<EndpointSpec>,
    /// The resolvers.
    pub resolvers: Vec<ResolverSpec>,
}

/// Reads the files that the configuration names, and puts its endpoints and resolvers into the words of `egress`.
///
/// # Errors
///
/// [`SnapshotError`] when a file cannot be used.
pub fn specs(compiled: &Compiled) -> Result<Specs, SnapshotError> {
    let endpoint = |one| endpoint(one, compiled);
    Ok(Specs {
        endpoints: compiled.endpoints.iter().map(endpoint).collect::<Result<_, _>>()?,
        resolvers: compiled.resolvers.iter().map(resolver).collect::<Result<_, _>>()?,
    })
}

fn endpoint(endpoint: &EndpointConfig, compiled: &Compiled) -> Result<EndpointSpec, SnapshotError> {
    Ok(EndpointSpec {
        name: endpoint.name.as_str().into(),
        scheme: scheme(endpoint.scheme),
        host: host(&endpoint.host),
        port: endpoint.port,
        authority: authority(endpoint.scheme, &endpoint.host, endpoint.port),
        base_path: endpoint.base_path.clone(),
        reach: reach(&endpoint.reach, &compiled.resolvers),
        tls: tls(endpoint.tls.as_ref())?,
        credential: credential(endpoint, compiled)?,
        timeouts: Timeouts {
            connect: endpoint.timeouts.connect,
            first_byte: endpoint.timeouts.first_byte,
            idle: endpoint.timeouts.idle,
            total: endpoint.timeouts.total,
        },
        in_flight: endpoint.in_flight.map(|bound| bound as usize),
        pool: PoolSpec {
            max_connections: endpoint.pool.max_connections as usize,
            max_idle: MAX_IDLE.min(endpoint.pool.max_connections as usize),
            max_lifetime: endpoint.pool.lifetime,
            idle_time: endpoint.pool.idle,
            warm: endpoint.pool.warm as usize,
        },
        http2: match endpoint.http2 {
            configuration::Http2::Auto => Http2::Auto,
            configuration::Http2::Off => Http2::Off,
            configuration::Http2::PriorKnowledge => Http2::PriorKnowledge,
        },
        page: endpoint.page.clone(),
        probe: endpoint.health.as_ref().map(|probe| ProbeSpec { path: probe.path.clone(), interval: probe.interval }),
        transport: transport(&endpoint.transport),
        via: endpoint.via.as_ref().map(via).transpose()?,
        canary: endpoint.canary.as_ref().map(|canary| CanarySpec {
            resolver: compiled.resolvers[canary.resolver].name.as_str().into(),
            within: nets(&canary.within),
            path: canary.path.clone(),
            interval: canary.interval,
        }),
    })
}

pub(super) fn via(via: &ViaConfig) -> Result<ViaSpec, SnapshotError> {
    let connect = if via.by_name { ViaConnect::Name } else { ViaConnect::Address };
    let ca = via.ca.as_deref().map(certificates).transpose()?;
    let tls = via.is_tls.then(|| TlsSpec { ca, ..TlsSpec::default() });
    Ok(ViaSpec { host: host(&via.host), port: via.port, tls, within: nets(&via.within), connect })
}

pub(super) fn scheme(scheme: configuration::Scheme) -> Scheme {
    match scheme {
        configuration::Scheme::Http => Scheme::Http,
        configuration::Scheme::Https => Scheme::Https,
    }
}

pub(super) fn host(host: &configuration::Host) -> Host {
    match host {
        configuration::Host::Name(name) => Host::Name(name.clone()),
        configuration::Host::Address(address) => Host::Address(*address),
    }
}

pub(super) fn transport(transport: &TransportConfig) -> TransportSpec {
    TransportSpec {
        keepalive_idle: transport.keepalive_idle,
        keepalive_interval: transport.keepalive_interval,
        keepalive_count: transport.keepalive_count,
        user_timeout: Some(transport.user_timeout),
        mss: transport.mss,
        device: transport.device.clone(),
        source: transport.source,
        leaves_from: nets(&transport.leaves_from),
        ipv6: transport.ipv6,
    }
}

/// `Host` as the upstream reads it: with the port where it is not the scheme's own.
pub(super) fn authority(scheme: configuration::Scheme, host: &configuration::Host, port: u16) -> String {
    let usual = match scheme {
        configuration::Scheme::Http => 80,
        configuration::Scheme::Https => 443,
    };
    if port == usual { host.to_string() } else { format!("{host}:{port}") }
}

pub(super) fn reach(reach: &ReachConfig, resolvers: &[ResolverConfig]) -> Reach {
    match reach {
        ReachConfig::Local { within } => Reach::Local { within: nets(within) },
        ReachConfig::PrivateLink { service, within, resolver, expect } => Reach::PrivateLink {
            service: Arc::clone(service),
            expect: expect.clone(),
            within: nets(within),
            resolver: resolver.and_then(|index| resolvers.get(index)).map(|resolver| resolver.name.clone()),
        },
        ReachConfig::Public => Reach::Public,
    }
}

fn nets(within: &[Network]) -> Vec<IpNet> {
    let net = |network: &Network| {
        IpNet::new(network.address, network.prefix).expect("a network was parsed with a prefix that its family has")
    };
    within.iter().map(net).collect()
}

pub(super) fn tls(tls: Option<&EndpointTlsConfig>) -> Result<TlsSpec, SnapshotError> {
    let Some(tls) = tls else { return Ok(TlsSpec::default()) };
    let ca = match &tls.ca {
        Some(path) => Some(certificates(path)?),
        None => None,
    };
    let client_certificate = match &tls.client {
        Some(client) => Some(client_certificate(client)?),
        None => None,
    };
    Ok(TlsSpec {
        ca,
        pin: tls.pin.into_iter().collect(),
        issuers: tls.issuers.clone(),
        client_certificate,
        post_quantum: tls.post_quantum,
    })
}

pub(super) fn client_certificate(files: &configuration::ClientCertificate) -> Result<ClientCertificate, SnapshotError> {
    let pem = read(&files.key)?;
    let key =
        PrivateKeyDer::from_pem_slice(&pem).map_err(|source| SnapshotError::Pem { path: files.key.clone(), source })?;
    Ok(ClientCertificate { chain: certificates(&files.certificate)?, key: Arc::new(key) })
}

fn certificates(path: &std::path::Path) -> Result<Vec<CertificateDer<'static>>, SnapshotError> {
    let pem = read(path)?;
    CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|source| SnapshotError::Pem { path: path.to_owned(), source })
}

fn credential(endpoint: &EndpointConfig, compiled: &Compiled) -> Result<Option<Own>, SnapshotError> {
    let secret = match &endpoint.credential {
        None => return Ok(None),
        Some(CredentialConfig::Token(token)) => return Ok(Some(Own::Token(identity::token(token, compiled)?))),
        Some(CredentialConfig::Key(secret)) => secret,
    };
    let dialect =
        wire::dialect(&endpoint.provider).ok_or_else(|| SnapshotError::Provider { endpoint: endpoint.name.clone() })?;
    let CredentialForm::Header { name, prefix } = dialect.credential();
    let header = HeaderName::from_static(name);
    Ok(Some(Own::Secret(Credential { header, prefix, secret: Secret::new(secret.expose().to_owned()) })))
}

pub(super) fn resolver(resolver: &ResolverConfig) -> Result<ResolverSpec, SnapshotError> {
    let (servers, transport) = match &resolver.servers {
        ResolverServers::System => (Servers::System, Transport::UdpTcp),
        ResolverServers::Addresses { servers, transport } => (Servers::Listed(servers.clone()), asked(transport)?),
    };
    Ok(ResolverSpec {
        name: resolver.name.as_str().into(),
        zones: resolver.zones.clone(),
        servers,
        transport,
        stale_grace: resolver.stale_grace,
    })
}

fn asked(transport: &ResolverTransport) -> Result<Transport, SnapshotError> {
    let identity = |tls: &ResolverTls| {
        let ca = tls.ca.as_deref().map(certificates).transpose()?;
        Ok::<_, SnapshotError>((tls.server_name.clone(), ca))
    };
    Ok(match transport {
        ResolverTransport::UdpTcp => Transport::UdpTcp,
        ResolverTransport::Tls(tls) => {
            let (server_name, ca) = identity(tls)?;
            Transport::Tls { server_name, ca }
        }
        ResolverTransport::Https(tls) => {
            let (server_name, ca) = identity(tls)?;
            Transport::Https { server_name, ca }
        }
    })
}
