//! Control planes of clouds, in the words of `egress`.

use egress::{AwsKeys, EndpointSpec, Own, Secret};

use super::{SnapshotError, identity, upstream};
use crate::configuration::{AwsKeysConfig, Compiled, ControlConfig, ControlCredentialConfig, Secret as Read};

/// The service, as signatures name it.
const BEDROCK: &str = "bedrock";

/// The name of a control plane in reports.
pub(crate) fn name(control: &ControlConfig) -> String {
    format!("control.{}", control.name)
}

/// Each control plane that some endpoint names.
///
/// # Errors
///
/// [`SnapshotError`] when a file that it names cannot be used.
pub fn specs(compiled: &Compiled) -> Result<Vec<EndpointSpec>, SnapshotError> {
    let named = |index: usize| {
        let mut controls = compiled.endpoints.iter().filter_map(|endpoint| endpoint.control.as_ref());
        controls.any(|control| control.host() == index)
    };
    let controls = compiled.controls.iter().enumerate().filter(|(index, _)| named(*index));
    controls.map(|(_, control)| spec(control, compiled)).collect()
}

fn spec(control: &ControlConfig, compiled: &Compiled) -> Result<EndpointSpec, SnapshotError> {
    Ok(EndpointSpec {
        name: name(control).into(),
        scheme: upstream::scheme(control.scheme),
        host: upstream::host(&control.host),
        port: control.port,
        authority: upstream::authority(control.scheme, &control.host, control.port),
        reach: upstream::reach(&control.reach, &compiled.resolvers),
        tls: upstream::tls(control.tls.as_ref())?,
        transport: upstream::transport(&control.transport),
        via: control.via.as_ref().map(upstream::via).transpose()?,
        credential: match &control.credential {
            Some(ControlCredentialConfig::Token(token)) => Some(Own::Token(identity::token(token, compiled)?)),
            Some(ControlCredentialConfig::Aws(keys)) => Some(Own::Signature(keys_of(keys, BEDROCK))),
            None => None,
        },
        ..identity::blank()
    })
}

/// Keys for a service, as signatures name it.
pub(super) fn keys_of(keys: &AwsKeysConfig, service: &'static str) -> AwsKeys {
    let secret = |read: &Read| Secret::new(read.expose().to_owned());
    AwsKeys {
        region: keys.region.clone(),
        service,
        access_key: secret(&keys.access_key),
        secret_key: secret(&keys.secret_key),
        session_token: keys.session_token.as_ref().map(secret),
    }
}
