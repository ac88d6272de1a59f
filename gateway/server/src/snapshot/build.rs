//! From plain values to what requests use.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

use accounting::{Book, Limits};
use egress::Fleet;
use http::HeaderValue;
use ingress::body::BodyBudget;
use ingress::limits::{Admission, Limit, LimitIndex};
use policy::{Candidate, Facts, Provenance, TargetId};
use routing::{Terms, Tier};
use telemetry::metrics::Metrics;
use telemetry::pseudonym::PseudonymKey;
use wire::Api;

use super::budgets::Budgets;
use super::data::DataRules;
use super::grounds::{Grounds, PlaceNotes};
use super::homes::Homes;
use super::proposed::Proposed;
use super::renewal::Renewal;
use super::steering::tier_of;
use super::{
    App, Model, ModelIndex, ModelState, ModelSteering, RouteData, Snapshot, SnapshotError, Specs, Steering, Target,
    WaitingBytes, administrators, books, callers, collector, control, identity, second_place, store, upstream, users,
    webhooks,
};
use crate::configuration::{self, Compiled, EndpointConfig};
use crate::control_planes;
use crate::endings::endings;
use crate::issuers::{self, Issuers};
use crate::outlook;

impl Snapshot {
    /// Builds a snapshot. What must outlive a reload is taken over by name from `before`. It must be called on a tokio
    /// runtime.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`] when what the documents name cannot be used; `before` is untouched.
    pub fn build(compiled: &Compiled, before: Option<&Self>, metrics: &Metrics) -> Result<Self, SnapshotError> {
        let users = users::key_of(&compiled.state_folder)?;
        Self::with_users(compiled, before, metrics, users)
    }

    /// The same for what only looks at a configuration and sends nothing, by somebody who may not read what the gateway may: the
    /// second value says of what that is.
    ///
    /// # Errors
    ///
    /// As [`Self::build`].
    pub fn build_to_look(compiled: &Compiled, metrics: &Metrics) -> Result<(Self, Option<String>), SnapshotError> {
        let (users, unread) = users::key_or_one_for_the_moment(&compiled.state_folder)?;
        Ok((Self::with_users(compiled, None, metrics, users)?, unread))
    }

    fn with_users(
        compiled: &Compiled,
        before: Option<&Self>,
        metrics: &Metrics,
        users: Arc<PseudonymKey>,
    ) -> Result<Self, SnapshotError> {
        let targets = targets(compiled, before, metrics)?;
        let ids: Vec<(TargetId, usize)> =
            compiled.targets.iter().enumerate().map(|(index, target)| (id(index), target.endpoint)).collect();
        let Specs { endpoints, resolvers } = upstream::specs(compiled)?;
        let known = before.map(|before| &before.fleet);
        let fleet = Fleet::build(endpoints, resolvers, &ids, known)?;
        let mut hosts = identity::key_hosts(compiled)?;
        hosts.extend(collector::spec(compiled)?);
        hosts.extend(control::specs(compiled)?);
        hosts.extend(webhooks::specs(compiled)?);
        hosts.extend(second_place::spec(compiled)?);
        let fleet = fleet.with_control(hosts, known)?;
        let known = before.map_or(&[][..], |before| &before.key_sources);
        let Issuers { all: issuers, sources: key_sources } = issuers::build(compiled, &fleet, known)?;
        let models = models(compiled, before, metrics);
        let planes = control_planes::build(compiled, &fleet, &targets);
        let judge = outlook::judge(compiled)?;
        let candidate = Proposed::build(compiled)?;
        let sharing = store::build(compiled, &fleet, before)?;
        let beside = store::beside(compiled, before);
        let books = books::build(compiled, &fleet, before)?;
        let apps = apps(compiled, before, metrics);
        let new_apps = new_apps(compiled, before);
        let (new_keys, all_keys) = (new_keys(compiled, before), new_keys(compiled, None));
        let (callers, key_facts) = callers::build(compiled, before, issuers)?;
        let administrators = administrators::build(compiled, callers.tokens().issuers())?;
        let in_flight = NonZeroU32::new(compiled.listen.max_in_flight).unwrap_or(NonZeroU32::MIN);
        let limits = limits(compiled);
        let admission = match before {
            Some(before) => before.admission.renewed(in_flight, limits),
            None => match &sharing {
                Some(sharing) => Admission::shared(in_flight, limits, sharing.counters.clone()),
                None => Admission::new(in_flight, limits),
            },
        };
        let counters = (sharing.as_ref().map_or(&beside, |sharing| &sharing.counters), sharing.is_some());
        let renewal = Renewal::of(compiled, (&targets, &models), (&apps, &key_facts));
        let policy_hash: Arc<str> = policy_hash(compiled).into();
        let pseudonyms = pseudonyms(compiled)?;
        let shown_users = pseudonyms.clone().unwrap_or(users);
        Ok(Self {
            hash: compiled.hash.as_str().into(),
            policy_header: header(&policy_hash),
            policy_hash,
            grounds: Grounds::of(&compiled.policy.rules, &compiled.policy.pack),
            pack: Arc::clone(&compiled.policy.pack),
            loaded: SystemTime::now(),
            callers,
            administrators,
            admission,
            collector: collector::build(compiled, &fleet),
            webhooks: webhooks::build(compiled, &fleet),
            second_place: second_place::build(compiled, &fleet),
            tells_traces: compiled.endpoints.iter().any(|endpoint| endpoint.trace_context),
            fleet,
            key_sources,
            planes,
            body_limits: ingress::body::BodyLimits {
                bytes: usize::try_from(compiled.listen.max_body_bytes).unwrap_or(usize::MAX),
                ..ingress::body::BodyLimits::default()
            },
            body_timeout: compiled.listen.body_timeout,
            stream_comment: compiled.listen.stream_comment,
            audit_retention: compiled.audit.retention.clone(),
            refuse_from: compiled.audit.refuse_from.map(outlook::class),
            pseudonyms,
            shown_users,
            notes: compiled.notes.iter().map(ToString::to_string).collect(),
            endings: endings(compiled),
            prices: compiled.prices.name().into(),
            prices_taken: compiled.prices.catalogue.taken,
            max_buffered_bytes: buffered(compiled),
            waiting: WaitingBytes::of(buffered(compiled), compiled.listen.max_in_flight),
            new_apps,
            new_keys,
            all_keys,
            renewal,
            budgets: Budgets::build(compiled, before, counters),
            sharing,
            beside,
            books,
            key_facts,
            apps,
            model_by_name: by_name(&models),
            models,
            targets,
            judge,
            break_glass: compiled.break_glass.clone(),
            candidate,
            labels: compiled.policy.labels.clone(),
            recognisers: Arc::clone(&compiled.recognisers),
        })
    }
}

fn buffered(compiled: &Compiled) -> usize {
    usize::try_from(compiled.listen.max_buffered_bytes).unwrap_or(usize::MAX)
}

fn id(index: usize) -> TargetId {
    TargetId(u32::try_from(index).expect("the file size bounds keep a configuration far below 2^32 targets"))
}

pub(super) fn model_index(index: usize) -> ModelIndex {
    ModelIndex(u32::try_from(index).expect("the file size bounds keep a configuration far below 2^32 models"))
}

/// A name as a header's value. Names are checked to be printable ASCII; anything else would be left out, not mangled.
fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

pub(super) fn targets(
    compiled: &Compiled,
    before: Option<&Snapshot>,
    metrics: &Metrics,
) -> Result<Vec<Arc<Target>>, SnapshotError> {
    let endpoints: Vec<_> =
        compiled.endpoints.iter().map(|endpoint| Arc::new(metrics.endpoint(&endpoint.name))).collect();
    let build = |target: &configuration::TargetConfig| {
        let endpoint = endpoint_of(compiled, target);
        let kept = before.and_then(|before| before.targets().find(|kept| *kept.name == *target.name));
        let dialect = wire::dialect(&endpoint.provider)
            .ok_or_else(|| SnapshotError::Provider { endpoint: endpoint.name.clone() })?;
        Ok(Arc::new(Target {
            name: target.name.as_str().into(),
            endpoint: endpoint.name.as_str().into(),
            endpoint_header: header(&endpoint.name),
            upstream_model: target.upstream_model.as_str().into(),
            dialect,
            api_version: endpoint.api_version.as_deref().map(Into::into),
            own_site: endpoint.own_site,
            in_azure: endpoint.in_azure(),
            origin: endpoint.origin().into(),
            facts: Arc::clone(&target.facts),
            place: PlaceNotes::of(&target.facts),
            changed_facts: changed(&target.facts),
            pricing: endpoint.cost.pricing.clone(),
            price_entry: endpoint.cost.entry.as_deref().map(Into::into),
            steering: steering(kept, endpoint),
            asks_for_load: endpoint.asks_for_load,
            output_tokens: endpoint.quota.output_tokens,
            trace_context: endpoint.trace_context,
            health: kept.map_or_else(Arc::default, |kept| Arc::clone(&kept.health)),
            probe_failed: AtomicBool::new(kept.is_some_and(|kept| kept.probe_failed.load(Ordering::Relaxed))),
            metrics: Arc::clone(&endpoints[target.endpoint]),
        }))
    };
    compiled.targets.iter().map(build).collect()
}

/// A place that is stated by hand rests on no row, and is the configuration's own word.
fn changed(facts: &Facts) -> Option<Arc<str>> {
    let Provenance { rows, statements, .. } = &facts.provenance;
    (!rows.is_empty() && !statements.is_empty()).then(|| statements.join("; ").into())
}

fn endpoint_of<'a>(compiled: &'a Compiled, target: &configuration::TargetConfig) -> &'a EndpointConfig {
    &compiled.endpoints[target.endpoint]
}

/// What is known of a target, kept or new.
/// A kept one gets its new terms when the snapshot comes into force.
fn steering(kept: Option<&Target>, endpoint: &EndpointConfig) -> Arc<Steering> {
    kept.map(|kept| Arc::clone(&kept.steering)).unwrap_or_else(|| {
        let steering = Steering::new(terms(endpoint), Instant::now());
        steering.under(terms(endpoint), endpoint.gateways);
        Arc::new(steering)
    })
}

/// Several gateways share out what the provider allows; the answers' headers say how it really stands.
pub(super) fn terms(endpoint: &EndpointConfig) -> Terms {
    let part = |amount: Option<u64>| amount.map(|amount| (amount / u64::from(endpoint.gateways.max(1))).max(1));
    Terms {
        tier: tier_of(&endpoint.cost.pricing),
        in_flight: endpoint.in_flight,
        tokens_per_minute: part(endpoint.quota.tokens_per_minute),
        requests_per_minute: part(endpoint.quota.requests_per_minute),
    }
}

pub(super) fn models(compiled: &Compiled, before: Option<&Snapshot>, metrics: &Metrics) -> Vec<Model> {
    let kept = |model: &configuration::ModelConfig| {
        let mut models = before.into_iter().flat_map(Snapshot::models);
        models.find(|kept| *kept.name == *model.name)
    };
    let steering_of = |model: &configuration::ModelConfig| kept(model).map(|kept| &kept.steering);
    let new_tokens =
        |model: &configuration::ModelConfig| store::new_tokens(model.tokens_per_minute, compiled.store.is_some());
    let build = |(index, model): (usize, &configuration::ModelConfig)| Model {
        name: model.name.as_str().into(),
        data: RouteData { labels: outlook::labels(&model.labels), class: model.class.map(outlook::class) },
        limit: model_limit(compiled, index),
        tokens: kept(model).map_or_else(|| new_tokens(model), |kept| Arc::clone(&kept.tokens)),
        by_api: Api::ALL.into_iter().filter_map(|api| candidates(compiled, model, api)).collect(),
        fallbacks: model.routing.fallbacks.iter().map(|index| model_index(*index)).collect(),
        steering: ModelSteering {
            knobs: model.routing.knobs,
            traffic: model.routing.traffic,
            shares: model.routing.shares.iter().map(|(index, share)| (id(*index), *share)).collect(),
            homes: homes(compiled, model, steering_of(model)),
            state: steering_of(model)
                .map_or_else(|| Arc::new(ModelState::new(Instant::now())), |kept| Arc::clone(&kept.state)),
        },
        metrics: Arc::new(metrics.model(&model.name)),
    };
    compiled.models.iter().enumerate().map(build).collect()
}

fn homes(compiled: &Compiled, model: &configuration::ModelConfig, kept: Option<&ModelSteering>) -> Homes {
    let target = |index: &usize| {
        let target = &compiled.targets[*index];
        let is_own = tier_of(&endpoint_of(compiled, target).cost.pricing) == Tier::Sunk;
        (id(*index), target.name.as_str().into(), is_own)
    };
    Homes::new(model.targets.iter().map(target).collect(), kept.map(|kept| &kept.homes))
}

/// The model's targets whose endpoints speak `api`, in declared order.
fn candidates(compiled: &Compiled, model: &configuration::ModelConfig, api: Api) -> Option<(Api, Vec<Candidate>)> {
    let speaks = |index: &&usize| {
        let endpoint = endpoint_of(compiled, &compiled.targets[**index]);
        endpoint.apis.iter().any(|spoken| spoken.name() == api.config_name())
    };
    let found: Vec<Candidate> =
        model.targets.iter().filter(speaks).map(|index| outlook::candidate(compiled, *index)).collect();
    (!found.is_empty()).then_some((api, found))
}

fn pseudonyms(compiled: &Compiled) -> Result<Option<Arc<PseudonymKey>>, SnapshotError> {
    let Some(path) = &compiled.audit.pseudonyms else { return Ok(None) };
    let text = String::from_utf8_lossy(&read(path)?).into_owned();
    let key = PseudonymKey::parse(&text).map_err(|source| SnapshotError::Pseudonyms { path: path.clone(), source })?;
    Ok(Some(Arc::new(key)))
}

fn by_name(models: &[Model]) -> BTreeMap<Arc<str>, ModelIndex> {
    models.iter().enumerate().map(|(index, model)| (Arc::clone(&model.name), model_index(index))).collect()
}

fn apps(compiled: &Compiled, before: Option<&Snapshot>, metrics: &Metrics) -> Vec<Arc<App>> {
    let waiting = WaitingBytes::of(buffered(compiled), compiled.listen.max_in_flight);
    let build = |app: &configuration::AppConfig| {
        let kept = before.and_then(|before| before.apps().find(|kept| *kept.name == *app.name));
        Arc::new(App {
            name: app.name.as_str().into(),
            team: app.team.as_str().into(),
            labels: outlook::labels(&app.labels),
            class: outlook::class(app.class),
            is_class_stated: app.is_class_stated,
            purposes: app.purposes.iter().map(|purpose| purpose.as_str().into()).collect(),
            data: DataRules::of(&app.data, &compiled.recognisers),
            book: book(kept.map(|kept| &kept.book), app.limits, compiled.store.is_some()),
            refusals: kept.map_or_else(Arc::default, |kept| Arc::clone(&kept.refusals)),
            habits: kept.map_or_else(Arc::default, |kept| Arc::clone(&kept.habits)),
            waiting: kept.map_or_else(|| BodyBudget::new(waiting.of_one_app), |kept| kept.waiting.clone()),
            traffic: app.traffic,
            may_explain: app.may_explain,
            metrics: metrics.app(&app.name),
        })
    };
    compiled.apps.iter().map(build).collect()
}

/// The book that an app or key had before, or a new one under these limits. One that is kept gets its new limits when the
/// snapshot comes into force.
pub(super) fn book(kept: Option<&Arc<Book>>, limits: Limits, is_shared: bool) -> Arc<Book> {
    kept.map_or_else(|| store::new_book(limits, is_shared), Arc::clone)
}

fn new_apps(compiled: &Compiled, before: Option<&Snapshot>) -> Vec<usize> {
    let is_new = |name: &str| before.is_none_or(|before| !before.apps().any(|kept| *kept.name == *name));
    (0..compiled.apps.len()).filter(|index| is_new(&compiled.apps[*index].name)).collect()
}

/// Each with its app, by their places.
fn new_keys(compiled: &Compiled, before: Option<&Snapshot>) -> Vec<(usize, usize)> {
    let keys = compiled.keys.iter().enumerate();
    let new = keys.filter(|(_, key)| key.limits != Limits::default() && kept_book(before, &key.name).is_none());
    new.map(|(index, key)| (key.app, index)).collect()
}

pub(super) fn kept_book<'a>(before: Option<&'a Snapshot>, key: &str) -> Option<&'a Arc<Book>> {
    before?.keys().find(|kept| *kept.name == *key)?.book.as_ref()
}

/// The apps' limits come first, so that an app's limit has the app's index; those of keys follow, and those of models.
fn limits(compiled: &Compiled) -> Vec<Limit> {
    let of_apps = compiled.apps.iter().map(|app| (app.name.clone(), app.requests));
    let of_keys = compiled.keys.iter().map(|key| (format!("key {}", key.name), key.requests));
    let of_models = compiled.models.iter().map(|model| (format!("model {}", model.name), model.requests));
    let bound = |bound: Option<u32>| bound.and_then(NonZeroU32::new);
    of_apps
        .chain(of_keys)
        .chain(of_models)
        .map(|(name, requests)| Limit {
            name: name.into(),
            in_flight: bound(requests.in_flight),
            requests_per_minute: bound(requests.per_minute),
            requests_per_second: bound(requests.per_second),
            user_requests_per_minute: bound(requests.per_minute_of_a_user),
            user_requests_per_second: bound(requests.per_second_of_a_user),
        })
        .collect()
}

/// Where the limit of a model stands among them.
fn model_limit(compiled: &Compiled, index: usize) -> LimitIndex {
    LimitIndex(model_index(compiled.apps.len() + compiled.keys.len() + index).0)
}

/// Everything that decides where data may go: policies, facts, approvals, grants, and what each app's data is.
fn policy_hash(compiled: &Compiled) -> String {
    let mut text = String::from("causeway policy 5\n");
    text.push_str(compiled.policy.rules.canonical());
    // It names the version and the hash of each file of the pack, the countries of groups among them.
    text.push_str(compiled.policy.pack.manifest());
    for (index, target) in compiled.targets.iter().enumerate() {
        text.push_str(&format!("{} {:?}\n", target.name, outlook::candidate(compiled, index)));
    }
    for model in &compiled.models {
        text.push_str(&format!("{} {:?} {:?} {:?}\n", model.name, model.targets, model.labels, model.class));
    }
    for app in &compiled.apps {
        text.push_str(&format!("{} {} {:?} {:?} {:?}\n", app.name, app.team, app.labels, app.class, app.purposes));
        text.push_str(&format!("{:?}\n", app.data));
    }
    for model in compiled.models.iter().filter(|model| !model.routing.fallbacks.is_empty()) {
        text.push_str(&format!("{} falls back to {:?}\n", model.name, model.routing.fallbacks));
    }
    if !compiled.recognisers.is_empty() {
        text.push_str(&format!("{:?}\n", compiled.recognisers));
    }
    // Not the policies' own text alone: a grant that may be opened decides as well.
    for grant in &compiled.break_glass.grants {
        text.push_str(&format!("grant {} {}\n", grant.name, grant.hash));
    }
    if !compiled.break_glass.grants.is_empty() {
        let never = (&compiled.break_glass.never_labels, compiled.break_glass.never_from);
        text.push_str(&format!("no grant for {never:?}\n"));
    }
    ingress::auth::hex_of(&ingress::auth::digest_of(&text))
}

/// Reads a file that the configuration was checked to name.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, SnapshotError> {
    std::fs::read(path).map_err(|source| SnapshotError::File { path: path.to_owned(), source })
}
