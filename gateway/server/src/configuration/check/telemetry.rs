//! `[telemetry]`: where traces, metrics and log lines go.

use std::time::Duration;

use super::super::compile::OtlpConfig;
use super::super::document::{Document, Otlp, OtlpProtocol, OtlpSignal};
use super::resolvers::Zones;
use super::service::Services;
use super::{Check, Owner};

/// Seconds between two deliveries of figures where the document says nothing.
const METRICS_EVERY_S: u64 = 15;

impl Check<'_> {
    pub(super) fn telemetry(&mut self, document: &Document, network: (&Zones, &Services)) -> Option<OtlpConfig> {
        let otlp = document.telemetry.as_ref()?.otlp.as_ref()?;
        let owner = Owner { section: "telemetry", name: "otlp" };
        let url = self.url(owner, &otlp.url, &otlp.reach);
        let protocol = otlp.protocol.unwrap_or_default();
        if protocol == OtlpProtocol::Grpc && url.as_ref().is_some_and(|url| !url.path.is_empty()) {
            let message = "`telemetry.otlp.url` has a path, and gRPC has none";
            self.wrong(self.of(owner).at("url").mark(), message, "leave the path out, or write `protocol = \"http\"`");
        }
        let reach = self.reach(owner, &otlp.reach, url.as_ref().map(|url| &url.host), network);
        let tls = url.as_ref().map(|url| self.endpoint_tls(owner, url, otlp.tls.as_ref()));
        let transport = self.transport(owner, otlp.transport.as_ref(), &otlp.reach);
        let [traces, metrics, logs] = self.signals(owner, otlp);
        let users = self.shown_users(owner, otlp, document);
        let url = url?;
        Some(OtlpConfig {
            scheme: url.scheme,
            host: url.host,
            port: url.port,
            base_path: url.path,
            reach: reach?,
            tls: tls.flatten(),
            transport: transport?,
            protocol,
            traces,
            metrics,
            logs,
            sample_percent: otlp.sample_percent.and_then(|percent| u8::try_from(percent).ok()).unwrap_or(100),
            users,
            metrics_every: Duration::from_secs(otlp.metrics_every_s.unwrap_or(METRICS_EVERY_S)),
        })
    }

    /// Whether spans bear the pseudonyms of users, for which there must be a key and spans.
    fn shown_users(&mut self, owner: Owner<'_>, otlp: &Otlp, document: &Document) -> bool {
        let users = otlp.users == Some(true);
        let mark = self.of(owner).at("users").mark();
        let is_keyed = document.audit.as_ref().is_some_and(|audit| audit.pseudonyms.is_some());
        if users && !is_keyed && self.walked.is_whole("audit", "") {
            let remedy = "name the key of the pseudonyms there, or leave `users` out";
            self.wrong(mark, "`telemetry.otlp.users` needs `audit.pseudonyms`", remedy);
        }
        let traces = otlp.signals.as_ref().is_none_or(|signals| signals.contains(&OtlpSignal::Traces));
        if users && !traces {
            let message = "`telemetry.otlp.users` is of spans, and `signals` leaves the traces out";
            self.wrong(mark, message, "add \"traces\" to `signals`, or leave `users` out");
        }
        users
    }

    fn signals(&mut self, owner: Owner<'_>, otlp: &Otlp) -> [bool; 3] {
        let Some(written) = &otlp.signals else { return [true; 3] };
        let at = self.of(owner).at("signals");
        self.is_empty_list(at, "telemetry.otlp.signals", written.len(), "leave it out for all three");
        self.no_repeats(at, "telemetry.otlp.signals", written, |signal| format!("`{signal:?}`").to_lowercase());
        [OtlpSignal::Traces, OtlpSignal::Metrics, OtlpSignal::Logs].map(|signal| written.contains(&signal))
    }
}
