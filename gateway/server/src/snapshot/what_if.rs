//! What policy would say, outside of a request: for a replay.

use std::sync::Arc;
use std::time::SystemTime;

use policy::{Class, Data, Denial, Findings, Permit, Question};
use routing::Knobs;
use wire::Api;

use super::{App, Snapshot};
use crate::outlook;
use crate::pipeline::{knobs_of, operation_of};

/// A request that nobody sends.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The app that asks.
    pub app: &'a str,
    /// The model that it names.
    pub model: &'a str,
    /// The API, in the word of the configuration; where it is not known, the one that most targets of the model speak.
    pub api: Option<&'a str>,
    /// Labels that it adds to those of its app.
    pub labels: &'a [Arc<str>],
    /// The class that anybody beside its app and its model says; the highest of these counts.
    pub class: Option<Class>,
    /// The purpose that it names.
    pub purpose: Option<&'a str>,
    /// What inspection found.
    pub findings: &'a Findings,
    /// When it is asked.
    pub now: SystemTime,
}

/// What is asked of routing for a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The place of its model in the configuration.
    pub model: usize,
    /// What the model wants; the deadline is the one that holds for the targets of the permit.
    pub knobs: Knobs,
    /// Whether somebody waits for the answer, where the request itself does not say so.
    pub class: routing::Class,
    /// Percent of the traffic that a target takes, where it has a share, by the target's id.
    pub shares: Vec<Option<u8>>,
}

impl Snapshot {
    /// The app of this name.
    #[must_use]
    pub fn app_named(&self, name: &str) -> Option<&Arc<App>> {
        self.apps.iter().find(|app| *app.name == *name)
    }

    /// What is asked of routing for such a request once it is permitted; nothing where the configuration does not have its
    /// model.
    #[must_use]
    pub fn wanted(&self, asked: &Asked<'_>, permit: &Permit) -> Option<Wanted> {
        let index = *self.model_by_name.get(asked.model)?;
        let steering = &self.model(index).steering;
        let class = self.app_named(asked.app).and_then(|app| app.traffic).unwrap_or(steering.traffic);
        let share = |target: usize| {
            let mut shares = steering.shares.iter();
            shares.find(|(id, _)| id.0 as usize == target).map(|(_, share)| *share)
        };
        Some(Wanted {
            model: index.0 as usize,
            knobs: knobs_of(self, permit, (steering, class)),
            class,
            shares: (0..self.targets.len()).map(share).collect(),
        })
    }

    /// What policy says to such a request.
    ///
    /// What the gateway would refuse before it asks its policies (an app or a model that the configuration does not have, an
    /// API that no target of the model speaks, a label that nobody defined, a purpose that the app has not registered) is
    /// denied as having no target.
    /// Whether a key of the app may ask for the model is not looked at.
    ///
    /// # Errors
    ///
    /// The [`Denial`], as a caller's request would meet it.
    pub fn decide(&self, asked: &Asked<'_>) -> Result<Arc<Permit>, Denial> {
        let api = asked.api.and_then(|name| Api::ALL.into_iter().find(|api| api.config_name() == name));
        let model = self.model_by_name.get(asked.model).map(|index| self.model(*index));
        let lists = model.map_or(&[][..], |model| model.by_api.as_slice());
        let fitting = lists.iter().filter(|(known, _)| asked.api.is_none() || Some(*known) == api);
        // Of lists that are equally long the first counts, which is the one for chats.
        let list = fitting.rev().max_by_key(|(_, candidates)| candidates.len());
        let known = asked.labels.iter().all(|label| self.labels.contains(label));
        let app = self.app_named(asked.app).filter(|app| known && accepts(app, asked.purpose));
        let (Some((api, candidates)), Some(app)) = (list, app) else {
            return policy::decide(&self.judge, &Question::about(asked.app, asked.model, &[]));
        };
        let of_route = model.map_or(&[][..], |model| &*model.data.labels);
        let labels = outlook::labels(&[&*app.labels, of_route, asked.labels].concat());
        let class =
            [asked.class, model.and_then(|model| model.data.class)].into_iter().flatten().fold(app.class, Class::max);
        let data = Data { labels: &labels, labelled: true, class, purpose: asked.purpose };
        let (operation, now) = (operation_of(*api), asked.now);
        // A record tells the names of kinds; what their groups are, the configuration does.
        let found = asked.findings.with_known(|kind| self.recognisers.known(kind));
        let seen = app.data.seen_of(&found, now);
        let findings = seen.as_ref().unwrap_or(&found);
        let about = Question::about(asked.app, asked.model, candidates);
        policy::decide(&self.judge, &Question { operation, data, findings, now, ..about })
    }
}

/// Purposes bind only apps that have registered some; for these one is required.
fn accepts(app: &App, purpose: Option<&str>) -> bool {
    app.purposes.is_empty() || purpose.is_some_and(|named| app.purposes.iter().any(|known| **known == *named))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use inspection::{Finding, FindingKind, TextKind};
    use telemetry::metrics::Metrics;

    use super::*;

    const POLICIES: &str = "@id(\"all\") @owner(\"o\") @basis(\"b\") @grant(\"base\")\n\
        permit (principal is App, action in Action::\"infer\", resource is Target);\n\
        @id(\"no-secrets\") @owner(\"o\") @basis(\"b\")\n\
        forbid (principal, action, resource is Target) when { context.findings.contains(\"secret\") };\n";

    /// 2027-01-01.
    fn new_year() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_798_761_600)
    }

    /// A configuration with `[recogniser.token]` of the group `secret`, and more lines of it and of its app's data.
    fn snapshot(recogniser: &str, data: &str) -> Snapshot {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let policies = folder.path().join("policies");
        std::fs::create_dir(&policies).expect("the folder can be made");
        std::fs::write(policies.join("10.cedar"), POLICIES).expect("the file can be written");
        let text = format!(
            r#"
[listen]
address = "127.0.0.1:0"
[state]
folder = "{}"
[policy]
folder = "{}"
[site.here]
country = "DE"
operator = "DE"
[endpoint.gpu]
provider = "openai"
url = "http://127.0.0.1:9/v1"
reach = {{ local = {{ within = ["127.0.0.0/8"] }} }}
place = {{ site = "here" }}
[model.m]
targets = ["gpu/m"]
[app.a]
team = "t"
keys = ["sha256:{}"]
models = ["m"]
[data.a]
labels = []
{data}
[recogniser.token]
description = "our tokens"
pattern = 'acme_[a-z]{{8}}'
group = "secret"
examples = ["use «acme_abcdefgh»"]
counterexamples = ["acme_abc"]
{recogniser}
"#,
            folder.path().display(),
            policies.display(),
            "ab".repeat(32),
        );
        let options = crate::load::options(new_year());
        let compiled = crate::configuration::load_text([("causeway.toml".into(), text)], &options);
        let compiled = compiled.unwrap_or_else(|mistakes| panic!("{mistakes}"));
        Snapshot::build(&compiled, None, &Metrics::new()).expect("it can be built")
    }

    /// A record holds the names of kinds and not their groups, nor whether their recognisers are only tried.
    #[test]
    fn a_finding_of_ones_own_that_is_read_from_a_record_decides_as_it_did() {
        let hidden = "suppress = { \"custom:token\" = { until = 2027-01-30, owner = \"o\", because = \"policy numbers look like it\" } }";
        let table = [("", "", false), ("tried = true", "", true), ("", hidden, true)];
        let kind = TextKind::own_named("custom:token").expect("it is a name");
        let findings: Findings = [Finding { kind: FindingKind::Text(kind), path: "$".into() }].into_iter().collect();
        for (recogniser, data, is_permitted) in table {
            let snapshot = snapshot(recogniser, data);
            let none = Findings::none();
            let asked = |findings| Asked {
                app: "a",
                model: "m",
                api: None,
                labels: &[],
                class: None,
                purpose: None,
                findings,
                now: new_year(),
            };

            assert!(snapshot.decide(&asked(&none)).is_ok(), "without it all is well");
            assert_eq!(snapshot.decide(&asked(&findings)).is_ok(), is_permitted, "{recogniser}{data}");
        }
    }
}
