//! `[evidence]`: in which countries everything must lie that the gateway writes about requests.

use policy::{Countries, Country};

use super::super::data_pack::DataPack;
use super::super::document::{Document, Witness, WitnessS3Auth};
use super::super::mistakes::{MistakeKind, remedy_for};
use super::super::report::quote;
use super::super::tree::Cursor;
use super::Check;

impl Check<'_> {
    pub(super) fn evidence(&mut self, document: &Document) {
        let Some(evidence) = &document.evidence else { return };
        let at = self.root.at("evidence");
        let within = self.countries((at, "evidence"), "within", Some(&evidence.within));
        let sinks = self.sinks();
        for sink in sinks.iter().filter(|sink| !evidence.sites.contains_key(*sink)) {
            let message = format!("`[evidence]` does not say where {} lies", quote(sink));
            self.wrong(at.key(), message, format!("add it to `evidence.sites`, as `{}`", example(sink)));
        }
        for (sink, site) in &evidence.sites {
            let at = at.at("sites").at(sink);
            if !sinks.contains(sink) {
                let message = format!("`evidence.sites` names {}, and nothing is written there", quote(sink));
                let remedy = remedy_for(sink, sinks.iter().map(String::as_str), "leave it out".to_owned());
                self.report.mend(MistakeKind::Reference, at.key(), message, remedy);
                continue;
            }
            self.lies_within(at, (sink, site), document, within.as_ref());
        }
    }

    /// Everywhere that something about requests is written to, by the names that `[evidence]` has for them. What is written with
    /// a mistake is written.
    fn sinks(&self) -> Vec<String> {
        let mut sinks = vec!["state".to_owned()];
        let there = [
            ("witness", self.root.at("audit").at("witness")),
            ("ledger", self.root.at("ledger")),
            ("store", self.root.at("store")),
            ("otlp", self.root.at("telemetry").at("otlp")),
        ];
        sinks.extend(there.iter().filter(|(_, at)| at.exists()).map(|(sink, _)| (*sink).to_owned()));
        sinks.extend(self.defined("webhook").map(|name| format!("webhook.{name}")));
        sinks
    }

    fn lies_within(
        &mut self,
        at: Cursor<'_>,
        (sink, site): (&str, &str),
        document: &Document,
        within: Option<&Countries>,
    ) {
        let setting = format!("`evidence.sites.{sink}`");
        if !self.is_defined("site", site) {
            self.dangling(at.mark(), &setting, "site", site);
            return;
        }
        // A site with a mistake in it is reported where it stands.
        let Some(country) = document.site.get(site).and_then(|site| site.country.parse::<Country>().ok()) else {
            return;
        };
        if within.is_some_and(|within| !within.0.contains(&country)) {
            let message =
                format!("{setting}: site {} lies in {country}, which is outside of `evidence.within`", quote(site));
            self.wrong(
                at.mark(),
                message,
                "keep it elsewhere, or have those who write `[evidence]` permit the country",
            );
        }
        let Some(said) = (sink == "witness").then(|| region_of(&self.pack, document)).flatten() else { return };
        if said != country {
            let message =
                format!("{setting}: site {} lies in {country}, and the region of the bucket in {said}", quote(site));
            self.wrong(at.mark(), message, "name a site in the country of the region");
        }
    }
}

/// The country of the region that requests to a bucket of Amazon's are signed for, where the data pack knows it. Another store
/// may call its regions as it likes.
fn region_of(pack: &DataPack, document: &Document) -> Option<Country> {
    let Some(Witness::S3(bucket)) = document.audit.as_ref()?.witness.as_ref() else { return None };
    let host = bucket.url.split("://").nth(1)?.split(['/', ':']).next()?;
    let region = match &bucket.auth {
        WitnessS3Auth::Aws(own) => &own.region,
        WitnessS3Auth::AwsWebIdentity(own) => &own.region,
        WitnessS3Auth::AwsMachine(own) => &own.region,
        WitnessS3Auth::AwsContainer(own) => &own.region,
    };
    host.ends_with(".amazonaws.com").then(|| pack.country_of("aws", region)).flatten()
}

/// How a sink is written as a key.
fn example(sink: &str) -> String {
    if sink.contains('.') { format!("\"{sink}\" = \"SITE\"") } else { format!("{sink} = \"SITE\"") }
}
