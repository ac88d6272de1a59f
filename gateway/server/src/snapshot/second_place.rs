//! The server that checkpoints of the audit log are put at, in the words of `egress`.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use egress::{Credential, EndpointSpec, Fleet, Host, Http2, Own, PoolSpec, Reach, Scheme, Secret, Timeouts, TlsSpec};
use http::header::AUTHORIZATION;

use super::{SnapshotError, control, identity, upstream};
use crate::configuration::{
    AwsCredentialConfig, BlobCredentialConfig, Compiled, Secret as Read, WitnessConfig, WitnessKindConfig,
};
use crate::second_place::{Kind, Server};

/// The service, as signatures name it.
const S3: &str = "s3";

/// Its name in reports.
const NAME: &str = "audit.witness";

/// The specification of the server, where there is one.
pub(super) fn spec(compiled: &Compiled) -> Result<Option<EndpointSpec>, SnapshotError> {
    compiled.audit.witness_http.as_ref().map(|config| host(config, compiled)).transpose()
}

fn host(config: &WitnessConfig, compiled: &Compiled) -> Result<EndpointSpec, SnapshotError> {
    let blank = EndpointSpec {
        via: None,
        name: NAME.into(),
        scheme: Scheme::Http,
        host: Host::Address(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        port: config.port,
        authority: String::new(),
        base_path: String::new(),
        reach: Reach::Public,
        tls: TlsSpec::default(),
        credential: credential(config, compiled)?,
        timeouts: Timeouts {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(10),
            idle: Duration::from_secs(5),
            total: Duration::from_secs(10),
        },
        in_flight: None,
        pool: PoolSpec { max_connections: 2, max_idle: 1, ..PoolSpec::default() },
        http2: Http2::Auto,
        page: None,
        probe: None,
        transport: upstream::transport(&config.transport),
        canary: None,
    };
    Ok(EndpointSpec {
        scheme: upstream::scheme(config.scheme),
        host: upstream::host(&config.host),
        authority: upstream::authority(config.scheme, &config.host, config.port),
        reach: upstream::reach(&config.reach, &compiled.resolvers),
        tls: upstream::tls(config.tls.as_ref())?,
        ..blank
    })
}

/// The server that checkpoints are put at.
pub(super) fn build(compiled: &Compiled, fleet: &Fleet) -> Option<Server> {
    let config = compiled.audit.witness_http.as_ref()?;
    Some(Server {
        host: fleet.control(NAME)?.clone(),
        base_path: config.base_path.clone(),
        kind: match &config.kind {
            WitnessKindConfig::Plain { .. } => Kind::Plain,
            WitnessKindConfig::S3(_) => Kind::S3,
            WitnessKindConfig::AzureBlob(Some(BlobCredentialConfig::Sas(shared))) => {
                Kind::AzureBlob(Some(shared.clone()))
            }
            WitnessKindConfig::AzureBlob(_) => Kind::AzureBlob(None),
        },
        read_back: config.read_back,
    })
}

/// What it is shown by `egress`; a shared access signature stands in its URLs.
fn credential(config: &WitnessConfig, compiled: &Compiled) -> Result<Option<Own>, SnapshotError> {
    Ok(match &config.kind {
        WitnessKindConfig::Plain { user, secret } => {
            secret.as_ref().map(|secret| Own::Secret(plain(user.as_deref(), secret)))
        }
        WitnessKindConfig::S3(Some(AwsCredentialConfig::Keys(keys))) => {
            Some(Own::Signature(control::keys_of(keys, S3)))
        }
        WitnessKindConfig::S3(Some(AwsCredentialConfig::Lent { region, keys })) => {
            let keys = identity::token(keys, compiled)?;
            Some(Own::LentSignature { keys, region: region.clone(), service: S3 })
        }
        WitnessKindConfig::S3(None) => None,
        WitnessKindConfig::AzureBlob(Some(BlobCredentialConfig::Token(token))) => {
            Some(Own::Token(identity::token(token, compiled)?))
        }
        WitnessKindConfig::AzureBlob(Some(BlobCredentialConfig::Sas(_)) | None) => None,
    })
}

/// HTTP Basic (RFC 7617) where a user is named, else a bearer token (RFC 6750).
fn plain(user: Option<&str>, secret: &Read) -> Credential {
    let secret = secret.expose();
    let (prefix, secret) = match user {
        Some(user) => ("Basic ", STANDARD.encode(format!("{user}:{secret}"))),
        None => ("Bearer ", secret.to_owned()),
    };
    Credential { header: AUTHORIZATION, prefix, secret: Secret::new(secret) }
}
