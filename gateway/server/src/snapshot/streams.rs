//! Hosts whose protocol is not HTTP, which the gateway itself has to do with.

use egress::{EndpointSpec, Http2, PoolSpec, Timeouts};

use super::{SnapshotError, upstream};
use crate::configuration::{Compiled, EndpointTlsConfig, Host, ReachConfig, Scheme, TransportConfig};

/// Where one is, and how it is reached.
pub(super) struct StreamTo<'a> {
    pub(super) name: &'a str,
    pub(super) scheme: Scheme,
    pub(super) host: &'a Host,
    pub(super) port: u16,
    pub(super) reach: &'a ReachConfig,
    pub(super) tls: Option<&'a EndpointTlsConfig>,
    pub(super) transport: &'a TransportConfig,
}

impl StreamTo<'_> {
    pub(super) fn spec(&self, compiled: &Compiled) -> Result<EndpointSpec, SnapshotError> {
        Ok(EndpointSpec {
            via: None,
            name: self.name.into(),
            scheme: upstream::scheme(self.scheme),
            host: upstream::host(self.host),
            port: self.port,
            authority: upstream::authority(self.scheme, self.host, self.port),
            base_path: String::new(),
            reach: upstream::reach(self.reach, &compiled.resolvers),
            tls: upstream::tls(self.tls)?,
            credential: None,
            timeouts: Timeouts::default(),
            in_flight: None,
            pool: PoolSpec::default(),
            http2: Http2::Off,
            page: None,
            probe: None,
            transport: upstream::transport(self.transport),
            canary: None,
        })
    }
}
