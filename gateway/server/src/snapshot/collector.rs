//! The collector of traces, figures and log lines, in the words of `egress`.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use egress::{EndpointSpec, Fleet, Host, Http2, PoolSpec, Reach, Scheme, Timeouts, TlsSpec};

use super::{SnapshotError, upstream};
use crate::configuration::{Compiled, OtlpConfig, OtlpProtocol, TransportConfig};
use crate::export::Collector;

/// Its name in reports.
const NAME: &str = "telemetry.otlp";

/// The specification of the collector, where there is one.
pub(super) fn spec(compiled: &Compiled) -> Result<Option<EndpointSpec>, SnapshotError> {
    compiled.otlp.as_ref().map(|otlp| host(otlp, compiled)).transpose()
}

/// What all hosts that are told something have in common.
pub(super) fn blank(name: &str, transport: &TransportConfig) -> EndpointSpec {
    EndpointSpec {
        via: None,
        name: name.into(),
        scheme: Scheme::Http,
        host: Host::Address(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        port: 0,
        authority: String::new(),
        base_path: String::new(),
        reach: Reach::Public,
        tls: TlsSpec::default(),
        credential: None,
        timeouts: Timeouts {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(10),
            idle: Duration::from_secs(5),
            total: Duration::from_secs(10),
        },
        in_flight: None,
        pool: PoolSpec { max_connections: 8, max_idle: 3, ..PoolSpec::default() },
        http2: Http2::Auto,
        page: None,
        probe: None,
        transport: upstream::transport(transport),
        canary: None,
    }
}

fn host(otlp: &OtlpConfig, compiled: &Compiled) -> Result<EndpointSpec, SnapshotError> {
    Ok(EndpointSpec {
        http2: match otlp.protocol {
            OtlpProtocol::Grpc => Http2::PriorKnowledge,
            OtlpProtocol::Http => Http2::Auto,
        },
        port: otlp.port,
        scheme: upstream::scheme(otlp.scheme),
        host: upstream::host(&otlp.host),
        authority: upstream::authority(otlp.scheme, &otlp.host, otlp.port),
        reach: upstream::reach(&otlp.reach, &compiled.resolvers),
        tls: upstream::tls(otlp.tls.as_ref())?,
        ..blank(NAME, &otlp.transport)
    })
}

/// Who gets traces, figures and log lines.
pub(super) fn build(compiled: &Compiled, fleet: &Fleet) -> Option<Collector> {
    let otlp = compiled.otlp.as_ref()?;
    Some(Collector {
        host: fleet.control(NAME)?.clone(),
        protocol: otlp.protocol,
        base_path: otlp.base_path.clone(),
        traces: otlp.traces,
        metrics: otlp.metrics,
        logs: otlp.logs,
        sample_percent: otlp.sample_percent,
        users: otlp.users,
        metrics_every: otlp.metrics_every,
    })
}
