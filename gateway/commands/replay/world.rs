//! What is played: the trace, the servers behind the targets, and what policy says to each kind of request.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use accounting::{Pricing, Rate};
use policy::{Denial, Permit};
use replay::{CloudSpec, EngineSpec, Scenario, ScenarioError, Target, Trace, TraceError, Wants};
use server::configuration::{self, EndpointConfig, Mistakes, QuotaConfig, ReachConfig, Secrets, TargetConfig};
use server::load;
use server::snapshot::{Asked, Snapshot, SnapshotError, Wanted};
use telemetry::audit::read::scan;
use telemetry::metrics::Metrics;

use super::carried;

/// Why there is nothing to play.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorldError {
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}:{}: {}", path.display(), source.line, source.what)]
    Trace { path: PathBuf, source: TraceError },
    #[error("the trace holds no request that can be replayed{0}")]
    Empty(String),
    #[error("{}: {source}", path.display())]
    Scenario { path: PathBuf, source: Box<ScenarioError> },
    #[error("{0}")]
    Mistakes(#[from] Mistakes),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("{0}")]
    Runtime(#[from] std::io::Error),
    #[error("the configuration has no model `{0}`")]
    Model(String),
    #[error("the configuration has no app `{app}`; name the one that asks with `--app`, of {known}")]
    App { app: String, known: String },
    #[error("there is neither a scenario nor a configuration")]
    Nothing,
}

/// Everything that a run needs.
pub(super) struct World {
    pub(super) scenario: Scenario,
    pub(super) trace: Trace,
    pub(super) permits: Vec<Result<Arc<Permit>, Denial>>,
    /// What the models want of routing, for each profile of the trace; none where no configuration was given.
    pub(super) wants: Vec<Wants>,
    /// What was assumed, for the reader.
    pub(super) notes: Vec<String>,
}

/// What a world is made of.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    pub(super) config: Option<&'a Path>,
    pub(super) scenario: Option<&'a Path>,
}

impl World {
    /// The world in which the trace was recorded, as far as there is one.
    ///
    /// Requests of a public trace get the app's purpose and `model`. From recorded ones the labels are taken that are their
    /// app's anyway: what is left is what the request itself said, and it says that under another configuration as well.
    pub(super) fn of(mut trace: Trace, sources: Sources<'_>, model: Option<&str>) -> Result<Self, WorldError> {
        let Some(config) = sources.config else { return Self::without_policy(trace, sources.scenario) };
        let fleet = Configured::load(config)?;
        fleet.settle(&mut trace, model)?;
        Self::with(&fleet, trace, sources.scenario)
    }

    /// The same requests in another world.
    pub(super) fn beside(&self, sources: Sources<'_>) -> Result<Self, WorldError> {
        let trace = self.trace.clone();
        let Some(config) = sources.config else { return Self::without_policy(trace, sources.scenario) };
        Self::with(&Configured::load(config)?, trace, sources.scenario)
    }

    fn without_policy(trace: Trace, scenario: Option<&Path>) -> Result<Self, WorldError> {
        let scenario = read_scenario(scenario.ok_or(WorldError::Nothing)?)?;
        let permits = replay::permit_all(&scenario, &trace);
        let notes = vec!["No configuration was given: policy permits every target of the scenario.".to_owned()];
        Ok(Self { scenario, trace, permits, wants: Vec::new(), notes })
    }

    fn with(fleet: &Configured, trace: Trace, scenario: Option<&Path>) -> Result<Self, WorldError> {
        let scenario = scenario.map(read_scenario).transpose()?;
        let (scenario, mut notes) = fleet.stand_behind(scenario)?;
        let (permits, wants) = fleet.decide(&trace, &scenario);
        let untimed = |wants: &&Wants| wants.knobs.first_token.is_none();
        let untimed: BTreeSet<u16> = wants.iter().filter(untimed).map(|wants| wants.model).collect();
        let untimed: Vec<&str> =
            untimed.iter().filter_map(|index| fleet.models.get(usize::from(*index))).map(String::as_str).collect();
        if !untimed.is_empty() {
            notes.push(format!(
                "No `first_token` is set for {}: nothing is too slow there, and in time counts what is within the \
                 scenario's {:.0} ms.",
                untimed.join(", "),
                scenario.first_token_ms
            ));
        }
        notes.extend(fleet.not_carried.iter().cloned());
        Ok(Self { scenario, trace, permits, wants, notes })
    }

    /// Seconds to the first token that a plot marks: what all models want alike, else the scenario's.
    pub(super) fn first_token_s(&self) -> f64 {
        let mut targets = self.wants.iter().map(|wants| wants.knobs.first_token);
        let first = targets.next().flatten().filter(|first| targets.all(|other| other == Some(*first)));
        first.map_or(self.scenario.first_token_ms / 1e3, |first| first.as_secs_f64())
    }

    pub(super) fn is_own(&self, target: u16) -> bool {
        self.scenario.targets.get(usize::from(target)).is_some_and(|target| target.engine.is_some())
    }
}

/// A target, as the configuration knows it.
struct Declared {
    name: String,
    /// How it is paid.
    pricing: Pricing,
    /// Whether it is taken for a server of one's own: it is paid for by the hour, or it stands on a site and nobody said
    /// what it costs.
    is_own: bool,
    in_flight: Option<u32>,
    quota: QuotaConfig,
}

impl Declared {
    fn of(target: &TargetConfig, endpoint: &EndpointConfig) -> Self {
        let pricing = endpoint.cost.pricing.clone();
        let is_own = match pricing {
            Pricing::Sunk { is_provisioned, .. } => !is_provisioned,
            Pricing::PerToken(_) => false,
            Pricing::Unknown => matches!(endpoint.reach, ReachConfig::Local { .. }),
        };
        Self { name: target.name.clone(), pricing, is_own, in_flight: endpoint.in_flight, quota: endpoint.quota }
    }

    fn is_provisioned(&self) -> bool {
        matches!(self.pricing, Pricing::Sunk { is_provisioned: true, .. })
    }

    /// Dollars a million tokens of the prompt and of the answer. A provisioned throughput is paid for in any case.
    fn prices(&self) -> (Option<f64>, Option<f64>) {
        let dollars = |rate: Rate| rate.0 as f64 / RATE_PER_USD_PER_MILLION;
        match &self.pricing {
            Pricing::Sunk { .. } => (Some(0.0), Some(0.0)),
            Pricing::PerToken(price) => {
                (Some(dollars(price.standard.base.input)), Some(dollars(price.standard.base.output)))
            }
            Pricing::Unknown => (None, None),
        }
    }

    /// What is assumed to stand behind it.
    fn assumed(&self) -> Target {
        let (input_usd_per_million, output_usd_per_million) = self.prices();
        let usual = CloudSpec::default();
        let tokens_per_minute = self.quota.tokens_per_minute.map_or(usual.tokens_per_minute, |tokens| tokens as f64);
        Target {
            name: self.name.clone(),
            engine: self.is_own.then(EngineSpec::default),
            cloud: (!self.is_own).then_some(CloudSpec { tokens_per_minute, ..usual }),
            input_usd_per_million,
            output_usd_per_million,
            provisioned: self.is_provisioned(),
            in_flight: self.in_flight,
            tokens_per_minute: self.quota.tokens_per_minute,
            requests_per_minute: self.quota.requests_per_minute,
        }
    }

    /// The scenario's target, with what the scenario leaves open.
    fn complete(&self, mut known: Target) -> Target {
        if known.input_usd_per_million.is_none() && known.output_usd_per_million.is_none() {
            (known.input_usd_per_million, known.output_usd_per_million) = self.prices();
        }
        known.provisioned |= self.is_provisioned();
        known.in_flight = known.in_flight.or(self.in_flight);
        known.tokens_per_minute = known.tokens_per_minute.or(self.quota.tokens_per_minute);
        known.requests_per_minute = known.requests_per_minute.or(self.quota.requests_per_minute);
        known
    }
}

/// The unit of [`Rate`] in a dollar a million tokens.
const RATE_PER_USD_PER_MILLION: f64 = 1e9;

/// The unit of [`Money`](accounting::Money) in a dollar.
const MONEY_PER_USD: f64 = 1e9;

/// A configuration, as far as a replay goes by it.
struct Configured {
    snapshot: Snapshot,
    /// Names of the models, in declared order.
    models: Vec<String>,
    apps: Vec<String>,
    /// The target of each id.
    targets: Vec<Declared>,
    /// Dollars an hour of the endpoints that are paid for by the hour.
    fixed_usd_per_hour: f64,
    /// What of it a replay does not go by, for the reader.
    not_carried: Vec<String>,
}

impl Configured {
    /// Reads it without its secrets: nothing is dialled.
    fn load(path: &Path) -> Result<Self, WorldError> {
        let mut options = load::options(SystemTime::now());
        options.secrets = Secrets::Skip;
        let mut compiled = configuration::load(path, &options)?;
        // What several gateways share belongs to those that serve, and so does their state folder.
        compiled.store = None;
        compiled.ledger = None;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (snapshot, unread) = runtime.block_on(async { Snapshot::build_to_look(&compiled, &Metrics::new()) })?;
        let targets = compiled.targets.iter().map(|target| Declared::of(target, &compiled.endpoints[target.endpoint]));
        let targets = targets.collect();
        let paid = compiled.endpoints.iter().map(|endpoint| match endpoint.cost.pricing {
            Pricing::Sunk { usd_per_hour, .. } => usd_per_hour.map_or(0.0, |money| money.0 as f64 / MONEY_PER_USD),
            Pricing::PerToken(_) | Pricing::Unknown => 0.0,
        });
        let fixed_usd_per_hour = paid.sum();
        let models = compiled.models.iter().map(|model| model.name.clone()).collect();
        let apps = compiled.apps.iter().map(|app| app.name.clone()).collect();
        let mut not_carried = carried::not_carried(&compiled);
        not_carried.extend(unread);
        Ok(Self { snapshot, models, apps, targets, fixed_usd_per_hour, not_carried })
    }

    /// The scenario's server behind each target of the configuration, or an assumed one. Prices that the scenario does not
    /// give are the configuration's.
    ///
    /// The ids of targets are their places in this list, so that the configuration's permits name the scenario's targets.
    fn stand_behind(&self, scenario: Option<Scenario>) -> Result<(Scenario, Vec<String>), WorldError> {
        let mut scenario = scenario.map_or_else(empty, Ok)?;
        let mut assumed = Vec::new();
        let targets = self.targets.iter().map(|declared| {
            let known = scenario.index_of(&declared.name).and_then(|index| scenario.targets.get(index).cloned());
            let Some(known) = known else {
                assumed.push(declared.name.as_str());
                return declared.assumed();
            };
            declared.complete(known)
        });
        let targets: Vec<Target> = targets.collect();
        let mut notes = Vec::new();
        if !assumed.is_empty() {
            notes.push(format!(
                "The scenario says nothing of {}: taken for a server with the usual constants where it is paid for by the \
                 hour, or local and without a price, else for a cloud with the usual constants.",
                assumed.join(", ")
            ));
        }
        let unpriced = targets.iter().filter(|target| target.cloud.is_some() && target.usd(1, 1).is_none());
        let unpriced: Vec<&str> = unpriced.map(|target| target.name.as_str()).collect();
        if !unpriced.is_empty() {
            notes.push(format!(
                "Nobody says what {} costs: it counts as nothing and is asked last.",
                unpriced.join(", ")
            ));
        }
        if scenario.fixed_usd_per_hour == 0.0 {
            scenario.fixed_usd_per_hour = self.fixed_usd_per_hour;
        }
        scenario.faults.retain(|fault| targets.iter().any(|target| target.name == fault.target));
        scenario.targets = targets;
        scenario
            .check()
            .map_err(|source| WorldError::Scenario { path: PathBuf::from("scenario"), source: Box::new(source) })?;
        Ok((scenario, notes))
    }

    /// Says of the requests what their trace leaves open, and takes from them what the configuration says anyway.
    fn settle(&self, trace: &mut Trace, model: Option<&str>) -> Result<(), WorldError> {
        let first = self.models.first().map_or("", String::as_str);
        let named = model.unwrap_or(first);
        if !self.models.iter().any(|known| known == named) {
            return Err(WorldError::Model(named.to_owned()));
        }
        for profile in &mut trace.profiles {
            let app = self.snapshot.app_named(&profile.app);
            if profile.model.is_some() {
                profile.labels.retain(|label| app.is_none_or(|app| !app.labels.contains(label)));
                continue;
            }
            let app =
                app.ok_or_else(|| WorldError::App { app: profile.app.to_string(), known: self.apps.join(", ") })?;
            profile.model = Some(named.into());
            profile.purpose = app.purposes.first().cloned();
        }
        Ok(())
    }

    /// What policy says to each profile, and what its model wants of routing. What a denied one wants asks nobody.
    fn decide(&self, trace: &Trace, scenario: &Scenario) -> (Vec<Result<Arc<Permit>, Denial>>, Vec<Wants>) {
        let now = SystemTime::now();
        let asked = trace.profiles.iter().map(|profile| Asked {
            app: &profile.app,
            model: profile.model.as_deref().unwrap_or_default(),
            api: profile.api.as_deref(),
            labels: &profile.labels,
            class: profile.class,
            purpose: profile.purpose.as_deref(),
            findings: &profile.findings,
            now,
        });
        let decided = asked.map(|asked| {
            let permit = self.snapshot.decide(&asked);
            let wanted = permit.as_ref().ok().and_then(|permit| self.snapshot.wanted(&asked, permit));
            let wants = wanted.map_or_else(|| Wants::of(scenario), of_configuration);
            (permit, wants)
        });
        decided.unzip()
    }
}

fn of_configuration(wanted: Wanted) -> Wants {
    let Wanted { model, knobs, class, shares } = wanted;
    Wants { model: u16::try_from(model).unwrap_or(u16::MAX), knobs, class, shares }
}

/// A scenario without targets, which the configuration's take the place of.
fn empty() -> Result<Scenario, WorldError> {
    let text = "[[target]]\nname = \"none\"\nengine = {}\n";
    Scenario::from_toml(text)
        .map_err(|source| WorldError::Scenario { path: PathBuf::from("scenario"), source: Box::new(source) })
}

fn read_scenario(path: &Path) -> Result<Scenario, WorldError> {
    let text = std::fs::read_to_string(path).map_err(|source| WorldError::Read { path: path.to_owned(), source })?;
    Scenario::from_toml(&text)
        .map_err(|source| WorldError::Scenario { path: path.to_owned(), source: Box::new(source) })
}

/// The traces together, on one clock, `load` times as fast.
pub(super) fn trace(paths: &[PathBuf], app: Option<&str>, load: f64) -> Result<Trace, WorldError> {
    let mut all: Option<Trace> = None;
    for path in paths {
        let text = read(path)?;
        let stem = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split('.').next());
        let read = replay::read_any(&text, app.or(stem).unwrap_or("trace"))
            .map_err(|source| WorldError::Trace { path: path.clone(), source })?;
        all = Some(match all {
            Some(before) => before.merged(read),
            None => read,
        });
    }
    let trace = all.unwrap_or_default();
    if trace.rows.is_empty() {
        let left_out: Vec<String> = trace.left_out.iter().map(|(why, count)| format!("{count} {why}")).collect();
        let left_out = if left_out.is_empty() { String::new() } else { format!(": {}", left_out.join(", ")) };
        return Err(WorldError::Empty(left_out));
    }
    Ok(trace.at_load(load))
}

/// The text of a file, unpacked where it is gzip; of a folder, the entries of the audit log in it.
fn read(path: &Path) -> Result<String, WorldError> {
    let wrong = |source| WorldError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    if path.is_dir() {
        let take = |entry: &[u8]| {
            bytes.extend_from_slice(entry.trim_ascii_end());
            bytes.push(b'\n');
        };
        entries(path, take).map_err(wrong)?;
    } else {
        bytes = std::fs::read(path).map_err(wrong)?;
    }
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut text = String::new();
        flate2::read::GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).map_err(wrong)?;
        return Ok(text);
    }
    String::from_utf8(bytes).map_err(|error| wrong(std::io::Error::new(std::io::ErrorKind::InvalidData, error)))
}

fn entries(folder: &Path, mut take: impl FnMut(&[u8])) -> std::io::Result<()> {
    scan(
        folder,
        |_| true,
        |_, entry| {
            take(entry);
            Ok(())
        },
    )
}
