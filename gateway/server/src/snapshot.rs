//! The compiled configuration that a request carries from start to end.
//!
//! Built whole from [`Compiled`] and swapped whole. What must outlive a reload (an app's book and limits, a target's
//! health, an endpoint's pool) is taken over by name from the snapshot before.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use accounting::{Book, Day, Flow, Pricing, STALE_AFTER_DAYS, Tier, Tokens};
use egress::{BuildError, Fleet};
use http::HeaderValue;
use ingress::auth::{AppIndex, Callers, DuplicateKey, KeyIndex, KeySetError};
use ingress::body::{BodyBudget, BodyLimits};
use ingress::limits::{Admission, LimitIndex};
use ledger::Shared;
use parking_lot::Mutex;
use policy::{Candidate, Class, Facts, Judge, TargetId, WorldError};
use routing::{Class as Traffic, Expected, Standing, TargetHealth};
use telemetry::audit::Retention;
use telemetry::metrics::{AppMetrics, EndpointMetrics, ModelMetrics};
use telemetry::pseudonym::{NoPseudonymKey, PseudonymKey};
use wire::{Api, Dialect, Outcome};

use crate::configuration::{BreakGlassConfig, DataPack};
use crate::control_planes::Plane;
use crate::endings::Ending;
use crate::export::Collector;
use crate::gateway::PerSecond;
use crate::issuers::KeySource;
use crate::second_place::Server;

mod administrators;
mod books;
mod budgets;
mod build;
mod callers;
mod collector;
mod control;
mod data;
mod grounds;
mod homes;
mod identity;
mod idle;
mod proposed;
mod renewal;
mod second_place;
mod services;
mod steering;
mod store;
mod streams;
mod upstream;
mod users;
mod webhooks;
mod what_if;

pub(crate) use administrators::shown;
pub use administrators::{Administrator, Administrators, Subject};
pub use books::home;
pub use budgets::{BudgetSpendings, MOST_USERS};
pub(crate) use budgets::{Budgets, Payer, Rule};
pub use callers::Used;
pub(crate) use control::name as control_name;
pub use control::specs as control_specs;
pub(crate) use data::{ClaimRule, DataRules, RouteData};
pub(crate) use grounds::{Grounds, PlaceNotes};
pub(crate) use homes::Session;
pub(crate) use identity::name as identity_name;
pub use idle::{Idle, IdleOrder, IdleTarget};
use proposed::Proposed;
use renewal::Renewal;
pub use services::{ControlService, LedgerService, Services, StoreService, services};
use steering::AppHabits;
pub use steering::Steering;
pub(crate) use steering::{ModelState, ModelSteering, WaitingBytes, used_of};
pub(crate) use store::Sharing;
pub use upstream::{Specs, specs};
pub use users::make_users_key;
pub(crate) use webhooks::Hook;
pub use what_if::{Asked, Wanted};

/// The configuration in force for a request.
pub struct Snapshot {
    /// Hash over all files of the configuration.
    pub hash: Arc<str>,
    /// Hash over what decides where data may go.
    pub policy_hash: Arc<str>,
    /// What decisions rest on, for their records.
    pub(crate) grounds: Grounds,
    /// The data pack that facts are from.
    pub(crate) pack: Arc<DataPack>,
    /// When it was put in force; of a last good one that a start serves in place of a broken one, when that was kept.
    pub loaded: SystemTime,
    /// Who may ask, and how they prove who they are.
    pub callers: Callers,
    /// Who may ask the operators' listener, and for what.
    pub administrators: Administrators,
    /// Who may be in flight, and how often an app may ask; its counts are kept over a reload.
    pub admission: Admission,
    /// The sockets.
    pub fleet: Fleet,
    /// Who gets traces, figures and log lines.
    pub(crate) collector: Option<Collector>,
    /// The server that checkpoints of the audit log are put at.
    pub(crate) second_place: Option<Server>,
    /// Whether any endpoint is told which trace a request belongs to.
    pub(crate) tells_traces: bool,
    /// Keeps the keys of issuers that are fetched.
    pub(crate) key_sources: Vec<Arc<KeySource>>,
    /// Ask control planes where targets process.
    pub(crate) planes: Vec<Arc<Plane>>,
    /// The callers' limits on bodies.
    pub body_limits: BodyLimits,
    /// How long a request's body may take in all.
    pub(crate) body_timeout: Duration,
    /// How long audit records are kept; none while nothing may be removed.
    pub(crate) audit_retention: Option<Retention>,
    /// Class from which on requests are refused while the audit log cannot be written; all are where absent.
    pub(crate) refuse_from: Option<Class>,
    /// Makes pseudonyms of users for the audit log; none where users are not recorded.
    pub(crate) pseudonyms: Option<Arc<PseudonymKey>>,
    /// Makes the pseudonyms of users that endpoints beyond one's own sites are shown.
    pub(crate) shown_users: Arc<PseudonymKey>,
    /// What is declared and not enforced yet.
    pub notes: Vec<String>,
    /// Facts and exceptions that run out, the soonest first.
    pub(crate) endings: Box<[Ending]>,
    /// Date and hash of the price catalogue that counts.
    pub prices: Arc<str>,
    prices_taken: Day,
    pub(crate) policy_header: HeaderValue,
    pub(crate) max_buffered_bytes: usize,
    /// How much of that may wait for a place.
    pub(crate) waiting: WaitingBytes,
    /// Silence after which a stream gets a comment.
    pub(crate) stream_comment: Duration,
    /// Books that no snapshot before had: places of apps and of keys.
    new_apps: Vec<usize>,
    new_keys: Vec<(usize, usize)>,
    /// Every key, with its app.
    all_keys: Vec<(usize, usize)>,
    renewal: Renewal,
    /// Money beside the books of apps and keys.
    pub(crate) budgets: Budgets,
    /// Who is told how far budgets have come.
    pub(crate) webhooks: Vec<Hook>,
    /// What several gateways share; none where this one has all of it.
    pub(crate) sharing: Option<Sharing>,
    /// Keeps the counters where there is none.
    beside: Shared,
    /// The database of what is spent; none where that is in the state folder.
    pub(crate) books: Option<ledger::Postgres>,
    key_facts: Vec<Arc<KeyFacts>>,
    apps: Vec<Arc<App>>,
    models: Vec<Model>,
    model_by_name: BTreeMap<Arc<str>, ModelIndex>,
    targets: Vec<Arc<Target>>,
    /// Decides where requests may go; what it remembers ends with this snapshot.
    pub(crate) judge: Judge,
    /// Grants that two people may open.
    pub(crate) break_glass: BreakGlassConfig,
    /// Decides beside it, for the record alone.
    pub(crate) candidate: Option<Proposed>,
    /// Every label there is; a request that names another is refused.
    pub(crate) labels: BTreeSet<Arc<str>>,
    /// What is recognised beside the shipped formats.
    pub(crate) recognisers: Arc<inspection::OwnRecognisers>,
}

/// A model's place in its snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ModelIndex(pub(crate) u32);

/// What the name of a credential stands for: a key's, or that of an app's tokens or certificate.
pub struct KeyFacts {
    /// Its name in the configuration, for records; never the credential.
    pub name: Arc<str>,
    /// What it is revoked by: a key's digest, since the name of one that has none shifts with its list; else its name.
    pub id: Arc<str>,
    /// The models it may use: its app's, or fewer.
    pub models: Box<[ModelIndex]>,
    /// Output tokens that one of its requests may ask for: its own bound, or its app's where that is tighter.
    pub most_output: Option<u64>,
    /// Its own request rate, within its app's.
    pub limit: Option<LimitIndex>,
    /// Its own tokens and money, where it has limits on them; kept over a reload.
    pub book: Option<Arc<Book>>,
    /// Kept over a reload, and by [`LastUsed`](crate::last_used::LastUsed) over a restart.
    last_used: Arc<AtomicU64>,
}

impl KeyFacts {
    /// Remembers that it was shown now: a store in memory, once a second at most.
    pub(crate) fn touch(&self, now: SystemTime) {
        let second = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if self.last_used.load(Ordering::Relaxed) != second {
            self.last_used.store(second, Ordering::Relaxed);
        }
    }

    /// When it was last shown, to the second.
    #[must_use]
    pub fn last_used(&self) -> Option<SystemTime> {
        let seconds = self.last_used.load(Ordering::Relaxed);
        (seconds > 0).then(|| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }
}

/// A book that begins with this snapshot, and whose it is.
pub(crate) struct BookOf<'a> {
    pub(crate) app: &'a str,
    /// The key within the app; the app itself where there is none.
    pub(crate) key: Option<&'a str>,
    pub(crate) book: &'a Arc<Book>,
}

/// A registered caller.
pub struct App {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// The team it belongs to.
    pub team: Arc<str>,
    /// Labels of its data, sorted; a request can only add to them.
    pub labels: Arc<[Arc<str>]>,
    /// How confidential its data is.
    pub class: Class,
    /// Whether the configuration says so; it is the default otherwise.
    pub(crate) is_class_stated: bool,
    /// Purposes of which a request must name one; none binds nothing.
    pub purposes: Box<[Arc<str>]>,
    /// What else is known of its data.
    pub(crate) data: DataRules,
    /// Its tokens; kept over a reload.
    pub book: Arc<Book>,
    /// How many of its refusals are written; kept over a reload.
    pub(crate) refusals: Arc<PerSecond>,
    /// What its requests turn out to use; kept over a reload.
    pub(crate) habits: Arc<AppHabits>,
    /// Bytes of its requests that wait for a place; kept over a reload.
    pub(crate) waiting: BodyBudget,
    /// Whether somebody waits for its answers, where it says so.
    pub(crate) traffic: Option<Traffic>,
    /// It may see in headers why a request went where it went.
    pub(crate) may_explain: bool,
    pub(crate) metrics: AppMetrics,
}

/// A name that callers ask for.
pub struct Model {
    /// The name.
    pub name: Arc<str>,
    /// What is said of whatever is sent to it.
    pub(crate) data: RouteData,
    /// How much all apps together may ask for it.
    pub(crate) limit: LimitIndex,
    /// Their tokens of a minute; kept over a reload.
    pub(crate) tokens: Arc<Flow>,
    /// The targets that speak each API, in declared order.
    by_api: Vec<(Api, Vec<Candidate>)>,
    /// The models that stand in, in order.
    pub(crate) fallbacks: Box<[ModelIndex]>,
    pub(crate) steering: ModelSteering,
    pub(crate) metrics: Arc<ModelMetrics>,
}

impl Model {
    /// The targets that speak `api`; none when no endpoint of the model does.
    #[must_use]
    pub fn candidates_for(&self, api: Api) -> Option<&[Candidate]> {
        self.by_api.iter().find(|(known, _)| *known == api).map(|(_, candidates)| candidates.as_slice())
    }
}

/// One upstream model at one endpoint.
pub struct Target {
    /// `endpoint/upstream-model`.
    pub name: Arc<str>,
    /// The endpoint's name.
    pub endpoint: Arc<str>,
    /// The model's name there.
    pub upstream_model: Arc<str>,
    /// What the endpoint speaks.
    pub dialect: &'static dyn Dialect,
    /// Azure's `api-version`, where the endpoint is set to one.
    pub api_version: Option<Arc<str>>,
    /// What it costs.
    pub pricing: Pricing,
    /// The entry of the price catalogue behind that, where there is one.
    pub price_entry: Option<Arc<str>>,
    /// What the traffic teaches of it; kept over a reload.
    pub steering: Arc<Steering>,
    /// It is asked to say in each answer how busy it is.
    pub(crate) asks_for_load: bool,
    /// Output tokens that a request is sent with there which bounds them nowhere.
    pub(crate) output_tokens: Option<u64>,
    /// It is told which trace a request belongs to.
    pub(crate) trace_context: bool,
    /// What routing remembers of its failures; kept over a reload.
    pub health: Arc<Mutex<TargetHealth>>,
    /// It stands on a site of one's own and is reached locally.
    pub(crate) own_site: bool,
    /// Azure answers there, so that `x-ms-region` is its word.
    pub(crate) in_azure: bool,
    /// The endpoint's URL without the path.
    pub(crate) origin: Arc<str>,
    /// What is declared of where it processes.
    pub(crate) facts: Arc<Facts>,
    /// The same, for the records.
    pub(crate) place: PlaceNotes,
    /// Who changed or extended a row of the data pack that this rests on, and why.
    pub(crate) changed_facts: Option<Arc<str>>,
    /// The endpoint's latest active probe failed.
    pub(crate) probe_failed: AtomicBool,
    pub(crate) endpoint_header: HeaderValue,
    pub(crate) metrics: Arc<EndpointMetrics>,
}

impl Target {
    /// How the target stands: what its requests met, and what its endpoint's probe met. Neither widens what is
    /// permitted, and a target that stands badly is tried last and not left out.
    pub(crate) fn standing(&self, now: Instant) -> Standing {
        let standing = self.health.lock().standing(now);
        if standing == Standing::Healthy && self.probe_failed.load(Ordering::Relaxed) {
            return Standing::Ejected { since: now, until: now };
        }
        standing
    }

    /// What a request is likely to cost there in dollars, by the price of its tier and of an input of its length, where it is
    /// charged by the token. For comparing only: what is charged is counted in whole units.
    pub(crate) fn likely_cost(&self, expected: &Expected, cached: Tokens, tier: Tier) -> Option<f64> {
        let Pricing::PerToken(price) = &self.pricing else { return None };
        Some(price.expected(expected.prompt, cached, expected.output, tier).0 as f64 * 1e-9)
    }

    /// The target's health learns how an attempt ended that began at `began`.
    pub(crate) fn learn(&self, outcome: Outcome, retry_after: Option<Duration>, (began, now): (Instant, Instant)) {
        let mut health = self.health.lock();
        if outcome == Outcome::Status(429) {
            health.block(now, retry_after);
        } else if outcome.counts_for_ejection() {
            health.on_failure(began, now);
        } else if matches!(outcome, Outcome::Success | Outcome::Status(_)) {
            // A 400 as well: the target is there and speaks.
            health.on_success(began, now);
        } else {
            health.give_probe_back(began);
        }
        if let (Outcome::Status(503 | 529), Some(wait)) = (outcome, retry_after) {
            health.block(now, Some(wait));
        }
    }
}

impl Snapshot {
    /// What became of that which decides where data may go, in words for the record of a reload; empty where it is the same.
    #[must_use]
    pub fn what_decides_became(&self, before: &Self) -> String {
        let mut changes = Vec::new();
        if self.policy_hash != before.policy_hash {
            changes.push(format!("policy {} became {}", before.policy_hash, self.policy_hash));
        }
        let pack = |snapshot: &Self| format!("{} ({})", snapshot.pack.version, snapshot.pack.hash());
        let (old, new) = (pack(before), pack(self));
        if old != new {
            changes.push(format!("data pack {old} became {new}"));
        }
        if self.refuse_from != before.refuse_from {
            let written = |from: Option<Class>| from.map_or("absent", Class::name);
            let (old, new) = (written(before.refuse_from), written(self.refuse_from));
            changes.push(format!("refuse_from {old} became {new}"));
        }
        changes.join("; ")
    }

    /// Changes what outlives a snapshot to what this one says; called as it comes into force.
    pub(crate) fn take_effect(&self) {
        self.renewal.apply();
        self.admission.take_effect(self.counters());
        if let Some(sharing) = &self.sharing {
            sharing.take_effect();
        }
        store::enrol(self.counters(), (&self.apps, &self.key_facts), &self.models);
        self.budgets.take_effect(self.counters());
    }

    /// Who keeps the counters of limits and budgets: with the store that gateways share, or for this process.
    pub(crate) fn counters(&self) -> &Shared {
        self.sharing.as_ref().map_or(&self.beside, |sharing| &sharing.counters)
    }

    /// Takes the place of this process in its state folder, and waits for another one that is there to share its limits and
    /// budgets. It blocks its thread.
    ///
    /// # Errors
    ///
    /// When the folder cannot be used, or the other process does not share.
    pub fn join(&self) -> std::io::Result<()> {
        match &self.sharing {
            // Each is an owner of its own in the store.
            Some(_) => Ok(()),
            None => self.beside.join(),
        }
    }

    /// Gives that place up, when nothing is spent any more. It blocks its thread.
    pub(crate) fn part(&self) {
        self.beside.part();
    }

    pub(crate) fn app(&self, index: AppIndex) -> &Arc<App> {
        self.apps.get(index.0 as usize).expect("keys are built with the apps of the same snapshot")
    }

    pub(crate) fn key(&self, index: KeyIndex) -> &Arc<KeyFacts> {
        self.key_facts.get(index.0 as usize).expect("keys are built with their facts")
    }

    pub(crate) fn model(&self, index: ModelIndex) -> &Model {
        self.models.get(index.0 as usize).expect("an index is made by the snapshot that it is used with")
    }

    /// The model of this name, if `allowed` holds it. A model that exists and is not allowed looks like one that does not.
    pub(crate) fn model_named(&self, name: &str, allowed: &[ModelIndex]) -> Option<ModelIndex> {
        let index = *self.model_by_name.get(name)?;
        allowed.contains(&index).then_some(index)
    }

    /// Whether callers can ask for a model of this name.
    pub(crate) fn has_model(&self, name: &str) -> bool {
        self.model_by_name.contains_key(name)
    }

    pub(crate) fn target(&self, id: TargetId) -> &Arc<Target> {
        self.targets.get(id.0 as usize).expect("permits are made from the candidates of the same snapshot")
    }

    /// Whether any endpoint has an active probe.
    pub(crate) fn is_probed(&self) -> bool {
        self.fleet.endpoints().iter().any(|endpoint| endpoint.spec().probe.is_some())
    }

    /// Takes over what the active probes met last.
    pub(crate) fn heed_probes(&self) {
        for status in self.fleet.status() {
            let failed = status.last_probe.as_ref().is_some_and(|probe| !probe.is_healthy());
            for target in self.targets.iter().filter(|target| *target.endpoint == *status.name) {
                target.probe_failed.store(failed, Ordering::Relaxed);
            }
        }
    }

    /// The same, in force since then: a last good one is as old as its copy, whatever the age of the process.
    #[must_use]
    pub fn in_force_since(mut self, at: SystemTime) -> Self {
        self.loaded = at;
        self
    }

    /// The same with another dialect for every target: one that fails, or that no provider needs yet.
    #[cfg(test)]
    pub(crate) fn speaking(mut self, dialect: &'static dyn Dialect) -> Self {
        for target in &mut self.targets {
            Arc::get_mut(target).expect("a fresh snapshot shares its targets with nobody").dialect = dialect;
        }
        self
    }

    /// Whether the page of any endpoint is to be read.
    pub(crate) fn is_scraped(&self) -> bool {
        self.fleet.endpoints().iter().any(|endpoint| endpoint.spec().page.is_some())
    }

    /// Takes over what the endpoints' pages said last.
    pub(crate) fn heed_pages(&self) {
        for endpoint in self.fleet.endpoints() {
            let Some((load, at)) = endpoint.take_load() else { continue };
            for target in self.targets.iter().filter(|target| target.endpoint == *endpoint.name()) {
                target.steering.on_page(load, at);
            }
        }
    }

    /// All models, for the status page.
    pub fn models(&self) -> impl Iterator<Item = &Model> {
        self.models.iter()
    }

    /// All targets, for the status page.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.targets.iter().map(Arc::as_ref)
    }

    /// Whether the price catalogue is so old that somebody should look at it.
    pub(crate) fn prices_are_old(&self, now: SystemTime) -> bool {
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Day::of_seconds(seconds).days() - self.prices_taken.days() > STALE_AFTER_DAYS
    }

    /// The books that no snapshot before had.
    pub(crate) fn new_books(&self) -> impl Iterator<Item = BookOf<'_>> {
        self.books_of(self.new_apps.iter().copied(), &self.new_keys)
    }

    /// All books.
    pub(crate) fn books(&self) -> impl Iterator<Item = BookOf<'_>> {
        self.books_of(0..self.apps.len(), &self.all_keys)
    }

    fn books_of<'a>(
        &'a self,
        apps: impl Iterator<Item = usize> + 'a,
        keys: &'a [(usize, usize)],
    ) -> impl Iterator<Item = BookOf<'a>> {
        let of_app = |index: usize| {
            let app = self.apps.get(index)?;
            Some(BookOf { app: &app.name, key: None, book: &app.book })
        };
        let of_key = |(app, key): &(usize, usize)| {
            let (app, key) = (self.apps.get(*app)?, self.key_facts.get(*key)?);
            Some(BookOf { app: &app.name, key: Some(&key.name), book: key.book.as_ref()? })
        };
        apps.filter_map(of_app).chain(keys.iter().filter_map(of_key))
    }

    /// All keys, in the order of the configuration.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &KeyFacts> {
        self.key_facts.iter().map(Arc::as_ref)
    }

    /// All apps, for the status page.
    pub fn apps(&self) -> impl Iterator<Item = &App> {
        self.apps.iter().map(Arc::as_ref)
    }
}

/// The documents are right, but what they name cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The endpoints cannot be built.
    #[error(transparent)]
    Fleet(#[from] BuildError),
    /// Whether counters are shared is decided at the start, because what was counted alone was never told to the others.
    #[error("`replicas` was changed, which takes effect at a restart; until then the configuration before it stays")]
    Replicas,
    /// Which database the ledger is in is decided at the start, because the sums of this month are in the one that was.
    #[error(
        "`[ledger]` was added, taken away, or names another database or schema, which takes effect at a restart; until then \
         the configuration before it stays"
    )]
    Ledger,
    /// The facts cannot be put to the policies.
    #[error(transparent)]
    World(#[from] WorldError),
    /// The keys cannot be held.
    #[error(transparent)]
    Keys(#[from] DuplicateKey),
    /// An issuer's keys changed between check and use, and cannot be used any more.
    #[error("the keys of issuer `{issuer}`: {source}")]
    IssuerKeys {
        /// The issuer's name.
        issuer: String,
        /// What is wrong.
        source: KeySetError,
    },
    /// The key of pseudonyms changed between check and use, and is none any more.
    #[error("{}: {source}", path.display())]
    Pseudonyms {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: NoPseudonymKey,
    },
    /// An endpoint speaks a dialect that this version does not.
    #[error("endpoint `{endpoint}` names a provider that this version does not speak")]
    Provider {
        /// The endpoint.
        endpoint: String,
    },
    /// A file was there when the configuration was checked and cannot be read now.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file changed between check and use, and is no PEM any more.
    #[error("{}: {source}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: rustls::pki_types::pem::Error,
    },
}
