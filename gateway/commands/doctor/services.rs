//! What the gateway itself needs beside its endpoints: the store, the ledger's database, control planes. Each is reached by the
//! gateway's own code, up to TLS like an endpoint, and then in its own protocol; nothing is changed there.

use std::time::{Duration, Instant};

use egress::{ControlError, Inspect, Inspection, StreamHost};
use ledger::{LookFault, LookKind, LookStep};
use server::control_planes::{Answer, AskError};
use server::snapshot::{ControlService, LedgerService, Services, StoreService};

use super::examine::{Finding, Manner};
use super::service_codes::ServiceCode;

/// What was found at one service.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) name: String,
    pub(super) url: String,
    pub(super) reach: &'static str,
    pub(super) steps: Vec<Step>,
    /// Why it cannot be used; the last step met it.
    pub(super) verdict: Option<Wrong>,
}

/// One step, and how long it took.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) what: &'static str,
    pub(super) took: Duration,
    pub(super) seen: String,
    /// The code, where it failed.
    pub(super) code: Option<&'static str>,
}

/// What is wrong with a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// On the way to it, as at an endpoint.
    Way(Finding),
    /// With the service itself.
    Service { code: ServiceCode, seen: String },
}

impl Wrong {
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Way(finding) => finding.code.as_str(),
            Self::Service { code, .. } => code.entry().code,
        }
    }

    pub(super) fn seen(&self) -> &str {
        match self {
            Self::Way(finding) => &finding.seen,
            Self::Service { seen, .. } => seen,
        }
    }
}

impl Visit {
    /// What was seen up to TLS, or up to the answer of an HTTP host.
    fn of(name: &str, url: &str, (reach, inspection): (&'static str, Inspection)) -> Self {
        let step = |step: egress::Step| Step {
            what: step.kind.as_str(),
            took: step.took,
            seen: step.seen,
            code: step.code.map(egress::Code::as_str),
        };
        let verdict = inspection.verdict.map(|verdict| Wrong::Way(Finding { code: verdict.code, seen: verdict.seen }));
        let steps = inspection.steps.into_iter().map(step).collect();
        Self { name: name.to_owned(), url: url.to_owned(), reach, steps, verdict }
    }

    /// Whether the gateway can use it.
    pub(super) fn is_well(&self) -> bool {
        self.verdict.is_none()
    }

    /// Adds what was seen in the service's own protocol. Where no key goes along, being asked for one is as far as it goes.
    fn spoken(mut self, looked: Vec<LookStep>, with_key: bool, code: fn(LookKind) -> ServiceCode) -> Self {
        for LookStep { what, took, seen } in looked {
            let (seen, wrong) = match seen {
                Ok(seen) => (seen, None),
                Err(LookFault { kind: LookKind::Login, .. }) if !with_key => {
                    ("it asks for a password; `--with-key` shows it".to_owned(), None)
                }
                Err(LookFault { kind, said }) => (said.clone(), Some(Wrong::Service { code: code(kind), seen: said })),
            };
            self.steps.push(Step { what, took, seen, code: wrong.as_ref().map(Wrong::code) });
            self.verdict = wrong;
        }
        self
    }
}

/// Looks at the services that are `wanted`, side by side: one that does not answer must not hold the others up.
pub(super) async fn visit(services: &Services, manner: Manner, wanted: &(dyn Fn(&str) -> bool + Sync)) -> Vec<Visit> {
    let store = async {
        match services.store.as_ref().filter(|_| wanted("store")) {
            Some(service) => Some(store(service, manner).await),
            None => None,
        }
    };
    let ledger = async {
        match services.ledger.as_ref().filter(|_| wanted("ledger")) {
            Some(service) => Some(ledger_of(service, manner).await),
            None => None,
        }
    };
    let controls = async {
        let mut found = Vec::new();
        for service in services.controls.iter().filter(|service| wanted(&service.name)) {
            found.push(control(service, manner).await);
        }
        found
    };
    let (store, ledger, controls) = tokio::join!(store, ledger, controls);
    store.into_iter().chain(ledger).chain(controls).collect()
}

/// The names of the services.
pub(super) fn names(services: &Services) -> Vec<&str> {
    let store = services.store.as_ref().map(|_| "store");
    let ledger = services.ledger.as_ref().map(|_| "ledger");
    let controls = services.controls.iter().map(|service| service.name.as_str());
    store.into_iter().chain(ledger).chain(controls).collect()
}

async fn way(host: &StreamHost, manner: Manner) -> (&'static str, Inspection) {
    (host.reach(), host.inspect(manner.step).await)
}

async fn store(service: &StoreService, manner: Manner) -> Visit {
    let visit = Visit::of("store", &service.url, way(&service.host, manner).await);
    if !visit.is_well() {
        return visit;
    }
    let looked = service.settings.look(&service.dial, manner.step).await;
    visit.spoken(looked, manner.with_key, |kind| match kind {
        LookKind::Login => ServiceCode::Store01,
        LookKind::Rights => ServiceCode::Store02,
        LookKind::ReadOnly => ServiceCode::Store03,
        LookKind::Missing | LookKind::Format | LookKind::Other => ServiceCode::Store04,
    })
}

async fn ledger_of(service: &LedgerService, manner: Manner) -> Visit {
    let visit = Visit::of("ledger", &service.url, way(&service.host, manner).await);
    if !visit.is_well() {
        return visit;
    }
    let looked = service.postgres.look(manner.step).await;
    visit.spoken(looked, manner.with_key, |kind| match kind {
        LookKind::Login => ServiceCode::Ledger01,
        LookKind::Missing => ServiceCode::Ledger02,
        LookKind::Rights => ServiceCode::Ledger03,
        LookKind::Format => ServiceCode::Ledger04,
        LookKind::ReadOnly => ServiceCode::Ledger05,
        LookKind::Other => ServiceCode::Ledger06,
    })
}

/// Without the key it is shown that somebody answers; with it each question is asked that the gateway asks.
async fn control(service: &ControlService, manner: Manner) -> Visit {
    let spec = service.host.spec();
    let url = format!("{}://{}", spec.scheme.as_str(), spec.authority);
    let path = (!manner.with_key).then(|| "/".to_owned());
    let inspect = Inspect { path, with_credential: false, limit: manner.step };
    let found = service.host.inspect(&inspect).await;
    let mut visit = Visit::of(&service.name, &url, (spec.reach.as_str(), found));
    if !visit.is_well() || !manner.with_key {
        return visit;
    }
    for (target, question) in &service.questions {
        let began = Instant::now();
        let answer = tokio::time::timeout(manner.step, question.ask(&service.host)).await;
        let answer = answer.unwrap_or(Err(AskError::Unusable("it did not come in time")));
        let (seen, wrong) = match answer.and_then(Answer::whole) {
            Ok(told) => (format!("`{target}`: {} says {}", told.by(), told.word()), None),
            Err(error) => {
                let wrong = refused(target, &error);
                (wrong.seen().to_owned(), Some(wrong))
            }
        };
        visit.steps.push(Step { what: "ask", took: began.elapsed(), seen, code: wrong.as_ref().map(Wrong::code) });
        // Each is told; the first is the verdict.
        visit.verdict = visit.verdict.or(wrong);
    }
    visit
}

fn refused(target: &str, error: &AskError) -> Wrong {
    let seen = format!("`{target}`: {error}");
    let code = match error {
        AskError::Unreached(ControlError::Unreached(error)) => {
            if let Some(code) = error.code() {
                return Wrong::Way(Finding { code, seen });
            }
            ServiceCode::Control04
        }
        AskError::Unreached(ControlError::Broken(_) | ControlError::TooLong { .. }) | AskError::Unusable(_) => {
            ServiceCode::Control04
        }
        AskError::Refused { status, .. } => match status.as_u16() {
            401 => ServiceCode::Control01,
            403 => ServiceCode::Control02,
            404 => ServiceCode::Control03,
            _ => ServiceCode::Control04,
        },
    };
    Wrong::Service { code, seen }
}
