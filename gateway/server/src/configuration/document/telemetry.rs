//! Where traces, metrics and log lines go.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{EndpointTls, EndpointTransport, Reach};

/// Where traces, metrics and log lines go.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// A collector of OpenTelemetry. Absent: none.
    pub otlp: Option<Otlp>,
}

/// A collector of OpenTelemetry. It gets names of the configuration, codes, numbers and times: never a prompt, an answer, a
/// credential or the name of a user.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Otlp {
    /// Scheme, host and port, such as `"https://otel.corp.example:4317"`. Required. With `protocol = "http"` a path may stand
    /// behind it, below which `/v1/traces`, `/v1/metrics` and `/v1/logs` lie.
    pub url: String,
    /// How it is reached. Required.
    pub reach: Reach,
    /// How it is spoken to; default `"grpc"`.
    pub protocol: Option<OtlpProtocol>,
    /// How its certificate is checked, and which one it is shown. Only with `https`.
    pub tls: Option<EndpointTls>,
    /// How connections to it are made.
    pub transport: Option<EndpointTransport>,
    /// What goes there; default `["traces", "metrics", "logs"]`.
    pub signals: Option<Vec<OtlpSignal>>,
    /// How many of a hundred requests are traced, where the caller does not say it in `traceparent`; default 100.
    #[schemars(range(max = 100))]
    pub sample_percent: Option<u64>,
    /// Whether the span of a request bears the pseudonym of its user, the one of the audit log, as `enduser.pseudo.id`;
    /// default false. Needs `audit.pseudonyms`.
    pub users: Option<bool>,
    /// Time between two deliveries of the metrics, in seconds; default 15.
    #[schemars(range(min = 1, max = 3_600))]
    pub metrics_every_s: Option<u64>,
}

/// How a collector is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OtlpProtocol {
    /// OTLP over gRPC, which is HTTP/2.
    #[default]
    Grpc,
    /// OTLP over HTTP with protobuf.
    Http,
}

/// What a collector gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OtlpSignal {
    /// A span for each request, its stages and its attempts.
    Traces,
    /// The figures of `/metrics`.
    Metrics,
    /// The lines of the log.
    Logs,
}
