//! Tokens and identity hosts in the words of `egress`.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use egress::{
    Application, EndpointSpec, Grant, Host, Http2, PoolSpec, Reach, Scheme, Secret, Timeouts, TlsSpec, TokenSpec,
    TransportSpec,
};
use ipnet::IpNet;

use super::{SnapshotError, upstream};
use crate::configuration::{
    ApplicationConfig, Compiled, GrantConfig, IdentityConfig, IdentityHostConfig, IssuerKeysConfig, KeysPathConfig,
    TokenAuthConfig,
};

/// The port of the Arc agent.
const ARC_PORT: u16 = 40342;
/// A token is a small answer of a host that does nothing else.
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    first_byte: Duration::from_secs(15),
    idle: Duration::from_secs(5),
    total: Duration::from_secs(20),
};
/// One request at a time is made for each token.
const POOL: PoolSpec = PoolSpec {
    max_connections: 16,
    max_idle: 1,
    max_lifetime: Duration::from_secs(60),
    idle_time: Duration::from_secs(15),
    warm: 0,
};

pub(super) fn token(token: &TokenAuthConfig, compiled: &Compiled) -> Result<Arc<TokenSpec>, SnapshotError> {
    let host = match token.host {
        IdentityHostConfig::Named(index) => named(&compiled.identities[index], compiled)?,
        IdentityHostConfig::Machine => {
            plain(("managed-identity", Reach::Metadata), (IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), 80))
        }
        IdentityHostConfig::ArcAgent => {
            let within = vec![IpNet::from(IpAddr::V4(Ipv4Addr::LOCALHOST))];
            plain(("managed-identity.arc", Reach::Local { within }), (IpAddr::V4(Ipv4Addr::LOCALHOST), ARC_PORT))
        }
    };
    Ok(Arc::new(TokenSpec { host: Arc::new(host), scope: token.scope.clone(), grant: grant(&token.grant)? }))
}

fn grant(grant: &GrantConfig) -> Result<Grant, SnapshotError> {
    Ok(match grant {
        GrantConfig::Secret { app, secret } => {
            Grant::ClientSecret { app: application(app), secret: Secret::new(secret.expose().to_owned()) }
        }
        GrantConfig::Certificate { app, certificate } => {
            let certificate = upstream::client_certificate(certificate)?;
            Grant::ClientCertificate { app: application(app), certificate }
        }
        GrantConfig::Federated { app, file } => Grant::Federated { app: application(app), file: file.clone() },
        GrantConfig::Machine { client } => Grant::Machine { client: client.clone() },
        GrantConfig::Arc { folder } => Grant::Arc { folder: folder.clone() },
        GrantConfig::AwsWebIdentity { role, session, file } => {
            Grant::AwsWebIdentity { role: role.clone(), session: session.clone(), file: file.clone() }
        }
        GrantConfig::AwsMachine { role } => Grant::AwsMachine { role: role.clone() },
        GrantConfig::AwsContainer { path, file } => Grant::AwsContainer { path: path.clone(), file: file.clone() },
    })
}

fn application(app: &ApplicationConfig) -> Application {
    Application { tenant: app.tenant.clone(), client: app.client.clone() }
}

fn named(identity: &IdentityConfig, compiled: &Compiled) -> Result<EndpointSpec, SnapshotError> {
    Ok(EndpointSpec {
        name: name(identity).into(),
        scheme: upstream::scheme(identity.scheme),
        host: upstream::host(&identity.host),
        port: identity.port,
        authority: upstream::authority(identity.scheme, &identity.host, identity.port),
        reach: upstream::reach(&identity.reach, &compiled.resolvers),
        tls: upstream::tls(identity.tls.as_ref())?,
        transport: upstream::transport(&identity.transport),
        via: identity.via.as_ref().map(upstream::via).transpose()?,
        ..blank()
    })
}

/// The name of an identity host in reports.
pub(crate) fn name(identity: &IdentityConfig) -> String {
    format!("identity.{}", identity.name)
}

/// The identity hosts that have the keys of issuers, each once.
pub(super) fn key_hosts(compiled: &Compiled) -> Result<Vec<EndpointSpec>, SnapshotError> {
    let mut hosts = BTreeSet::new();
    for issuer in &compiled.issuers {
        let IssuerKeysConfig::Fetched(keys) = &issuer.keys else { continue };
        hosts.insert(keys.host);
        if let KeysPathConfig::Discovered { host, .. } = &keys.path {
            hosts.insert(*host);
        }
    }
    hosts.into_iter().map(|host| named(&compiled.identities[host], compiled)).collect()
}

/// A host of small answers, of which nothing is said yet.
pub(super) fn blank() -> EndpointSpec {
    plain(("", Reach::Public), (IpAddr::V4(Ipv4Addr::LOCALHOST), 80))
}

/// A host without TLS at an address.
fn plain((name, reach): (&str, Reach), (address, port): (IpAddr, u16)) -> EndpointSpec {
    EndpointSpec {
        name: name.into(),
        scheme: Scheme::Http,
        host: Host::Address(address),
        port,
        authority: if port == 80 { address.to_string() } else { format!("{address}:{port}") },
        base_path: String::new(),
        reach,
        tls: TlsSpec::default(),
        credential: None,
        timeouts: TIMEOUTS,
        in_flight: None,
        pool: POOL,
        http2: Http2::Off,
        page: None,
        probe: None,
        transport: TransportSpec::default(),
        via: None,
        canary: None,
    }
}
