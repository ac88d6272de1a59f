//! Receivers of notices, in the words of `egress`.

use std::sync::Arc;

use aws_lc_rs::hmac;
use egress::{ControlHost, EndpointSpec, Fleet, Http2, PoolSpec};

use super::collector::blank;
use super::{SnapshotError, upstream};
use crate::configuration::{Compiled, WebhookConfig, signing_key};

/// One receiver.
pub(crate) struct Hook {
    pub(crate) name: Arc<str>,
    pub(crate) host: ControlHost,
    /// Where notices are posted to.
    pub(crate) path: Arc<str>,
    pub(crate) key: hmac::Key,
}

fn name(webhook: &WebhookConfig) -> String {
    format!("webhook.{}", webhook.name)
}

pub(super) fn specs(compiled: &Compiled) -> Result<Vec<EndpointSpec>, SnapshotError> {
    let spec = |webhook: &WebhookConfig| {
        Ok(EndpointSpec {
            scheme: upstream::scheme(webhook.scheme),
            host: upstream::host(&webhook.host),
            port: webhook.port,
            authority: upstream::authority(webhook.scheme, &webhook.host, webhook.port),
            reach: upstream::reach(&webhook.reach, &compiled.resolvers),
            tls: upstream::tls(webhook.tls.as_ref())?,
            // A few notices a month: each over a connection that is made for it.
            pool: PoolSpec { max_connections: 1, max_idle: 0, ..PoolSpec::default() },
            http2: Http2::Off,
            ..blank(&name(webhook), &webhook.transport)
        })
    };
    compiled.webhooks.iter().map(spec).collect()
}

/// Those whose secret was read.
pub(super) fn build(compiled: &Compiled, fleet: &Fleet) -> Vec<Hook> {
    let hook = |webhook: &WebhookConfig| {
        let key = signing_key(webhook.secret.as_ref()?.expose())?;
        Some(Hook {
            name: webhook.name.as_str().into(),
            host: fleet.control(&name(webhook))?.clone(),
            path: if webhook.path.is_empty() { "/".into() } else { webhook.path.as_str().into() },
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
        })
    };
    compiled.webhooks.iter().filter_map(hook).collect()
}
