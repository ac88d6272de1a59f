//! What the policies are asked about: zones, apps and targets as Cedar entities, built once and not for each request.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cedar_policy::{
    AuthorizationError, Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicyId,
    PolicySet, Request, Response, RestrictedExpression,
};
use parking_lot::Mutex;

use super::ask::Ask;
use super::slice::Slices;
use super::{Held, Touch};
use crate::decision::PolicyIds;
use crate::facts::{Countries, Country, Facts, Zone, Zones};
use crate::proof::Obligations;
use crate::question::{Action, Asker, Candidate, Question, TargetId};
use crate::rules::{About, Mention, Rules, View};

/// The facts do not fit the schema: a fault of this crate, found when the configuration is loaded.
#[derive(Debug, thiserror::Error)]
#[error("the facts do not fit the policies' schema: {0}")]
pub struct WorldError(String);

/// Zones, apps and targets.
#[derive(Debug)]
pub(super) struct World {
    zones: Zones,
    apps: Vec<Asker>,
    targets: Vec<Candidate>,
    uids: HashMap<TargetId, EntityUid>,
    /// Targets that policies can tell apart only by their names have one number here.
    alike: HashMap<TargetId, usize>,
    /// Policies read no target's and no endpoint's name.
    is_nameless: bool,
    slices: Slices,
    /// Instants at which any answer may change, sorted: facts, groups and exceptions that run out, dates in policies.
    changes: Vec<SystemTime>,
    /// The entities of the epoch that was asked about last; what they hold depends on the epoch alone.
    current: Mutex<Option<(u32, Arc<Entities>)>>,
    types: Types,
}

/// Names of the schema that are used for each request.
#[derive(Debug)]
struct Types {
    app: EntityTypeName,
    action: EntityTypeName,
    target: EntityTypeName,
}

impl World {
    pub(super) fn new(rules: &Rules, zones: &Zones, apps: &[Asker], targets: &[Candidate]) -> Result<Self, WorldError> {
        let types = Types { app: type_name("App")?, action: type_name("Action")?, target: type_name("Target")? };
        let mut changes: BTreeSet<SystemTime> = rules.reads().dates.clone();
        changes.extend(rules.policies().filter_map(|about| about.expires));
        changes.extend(targets.iter().filter_map(|target| target.facts.provenance.valid_until));
        changes.extend(zones.values().filter_map(|zone| zone.valid_until));
        let uid = |target: &Candidate| uid(&types.target, &target.name);
        let world = Self {
            uids: targets.iter().map(|target| (target.target, uid(target))).collect(),
            alike: alike(targets),
            is_nameless: is_nameless(rules),
            slices: Slices::default(),
            zones: zones.clone(),
            apps: apps.to_vec(),
            targets: targets.to_vec(),
            changes: changes.into_iter().collect(),
            current: Mutex::new(None),
            types,
        };
        // What holds at the start of time holds for every epoch, because only values change.
        world.entities(UNIX_EPOCH)?;
        Ok(world)
    }

    #[cfg(test)]
    pub(super) fn slices(&self) -> &Slices {
        &self.slices
    }

    /// How many instants have passed at which an answer may change.
    pub(super) fn epoch(&self, now: SystemTime) -> u32 {
        let passed = self.changes.partition_point(|change| *change <= now);
        u32::try_from(passed).unwrap_or(u32::MAX)
    }

    fn entities_of(&self, now: SystemTime) -> Result<Arc<Entities>, WorldError> {
        let epoch = self.epoch(now);
        let mut current = self.current.lock();
        if let Some((known, entities)) = &*current
            && *known == epoch
        {
            return Ok(Arc::clone(entities));
        }
        let entities = Arc::new(self.entities(now)?);
        *current = Some((epoch, Arc::clone(&entities)));
        Ok(entities)
    }

    fn entities(&self, now: SystemTime) -> Result<Entities, WorldError> {
        let mut all = Vec::new();
        // INVARIANT: a group whose members nobody knows any more is not there, so that a policy which asks about it cannot be
        // evaluated, and that denies. Without members it would let through whatever is forbidden for a country inside of it.
        let holds = |zone: &Zone| zone.valid_until.is_none_or(|end| end > now);
        for (name, zone) in self.zones.iter().filter(|(_, zone)| holds(zone)) {
            let attributes = HashMap::from([("countries".to_owned(), set(&zone.countries)?)]);
            all.push(entity(uid(&type_name("Zone")?, name), attributes, HashSet::new())?);
        }
        let team = type_name("Team")?;
        for app in &self.apps {
            let purposes = app.purposes.iter().cloned();
            let attributes = HashMap::from([("purposes".to_owned(), texts(purposes))]);
            all.push(entity(uid(&self.types.app, &app.name), attributes, HashSet::from([uid(&team, &app.team)]))?);
        }
        let endpoint = type_name("Endpoint")?;
        for target in &self.targets {
            let attributes = attributes(target, &target.facts.at(now))?;
            let parent = HashSet::from([uid(&endpoint, target.endpoint())]);
            all.push(entity(uid(&self.types.target, &target.name), attributes, parent)?);
        }
        let teams: BTreeSet<&str> = self.apps.iter().map(|app| &*app.team).collect();
        let endpoints: BTreeSet<&str> = self.targets.iter().map(Candidate::endpoint).collect();
        all.extend(teams.into_iter().map(|name| Entity::with_uid(uid(&team, name))));
        all.extend(endpoints.into_iter().map(|name| Entity::with_uid(uid(&endpoint, name))));
        Entities::from_entities(all, Some(Rules::schema())).map_err(|error| WorldError(error.to_string()))
    }

    /// What the policies hold of each candidate, in order. Whatever cannot be asked is denied.
    pub(super) fn hold(&self, rules: &Rules, question: &Question<'_>, ask: &Ask) -> Vec<Held> {
        let Ok(entities) = self.entities_of(question.now) else {
            return question.candidates.iter().map(|_| Held::Failed(PolicyIds::default())).collect();
        };
        let Some(plain) = self.context(question, ask, &BTreeSet::new()) else {
            return question.candidates.iter().map(|_| Held::Failed(PolicyIds::default())).collect();
        };
        let set = self.slices.of(rules, &view(question, ask, &BTreeSet::new()));
        let asking = Asking { world: self, rules, question, ask, entities: &entities };
        let mut known: Vec<(usize, Held)> = Vec::new();
        let mut of = |candidate: &Candidate| {
            // A target that the judge does not know has no facts, so nothing can be said for it, and no grant lifts that.
            let Some(target) = self.uids.get(&candidate.target) else { return Held::Failed(PolicyIds::default()) };
            let kind = self.alike.get(&candidate.target).copied().filter(|_| self.is_nameless);
            if let Some((_, held)) = known.iter().find(|(other, _)| Some(*other) == kind) {
                return held.clone();
            }
            let held = asking.judge(target, (&set, &plain));
            known.extend(kind.map(|kind| (kind, held.clone())));
            held
        };
        question.candidates.iter().map(&mut of).collect()
    }

    /// For each candidate, whether any policy matches, or cannot be evaluated. Where nothing can be asked, all do.
    pub(super) fn touches(&self, rules: &Rules, question: &Question<'_>, ask: &Ask) -> Vec<Touch> {
        let context = self.context(question, ask, &BTreeSet::new());
        let (Ok(entities), Some(context)) = (self.entities_of(question.now), context) else {
            return question.candidates.iter().map(|_| Touch::Unclear).collect();
        };
        let asking = Asking { world: self, rules, question, ask, entities: &entities };
        let touch = |candidate: &Candidate| {
            self.uids.get(&candidate.target).map_or(Touch::Unclear, |target| asking.touch(target, &context))
        };
        question.candidates.iter().map(touch).collect()
    }

    fn context(&self, question: &Question<'_>, ask: &Ask, redacted: &BTreeSet<&str>) -> Option<Context> {
        let data = &question.data;
        let since = question.now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let labels = data.labels.iter().map(|label| label.to_string());
        let redacted = redacted.iter().map(|kind| (*kind).to_owned());
        let pairs = [
            ("labels", texts(labels)),
            ("labelled", RestrictedExpression::new_bool(data.labelled)),
            ("class", RestrictedExpression::new_long(data.class.level())),
            ("purpose", RestrictedExpression::new_string(data.purpose.unwrap_or_default().to_owned())),
            ("findings", texts(ask.findings.iter().cloned())),
            ("redacted", texts(redacted)),
            ("now", moment(since)?),
        ];
        Context::from_pairs(pairs.map(|(name, value)| (name.to_owned(), value))).ok()
    }
}

/// One question while it is being decided.
struct Asking<'a> {
    world: &'a World,
    rules: &'a Rules,
    question: &'a Question<'a>,
    ask: &'a Ask,
    entities: &'a Entities,
}

impl Asking<'_> {
    /// As it is; and where that is denied and a permit obliges to redact, as it would be afterwards.
    fn judge(&self, target: &EntityUid, plain: Asked<'_>) -> Held {
        let held = self.all_actions(target, plain, &Obligations::none());
        if self.rules.obliging.is_empty() || matches!(held, Held::Permitted { .. }) {
            return held;
        }
        let matched = self.ask_set(&self.rules.obliging, self.question.operation.name(), target, plain.1);
        let obliging = self.unexpired(&matched);
        let kinds: BTreeSet<&str> = obliging.iter().flat_map(|(_, about)| &about.redact).map(String::as_str).collect();
        if kinds.is_empty() {
            return held;
        }
        let Some(redacted) = self.world.context(self.question, self.ask, &kinds) else { return held };
        let obligations = Obligations::to_redact(kinds.iter().map(|kind| (*kind).into()));
        let set = self.world.slices.of(self.rules, &view(self.question, self.ask, &kinds));
        match self.all_actions(target, (&set, &redacted), &obligations) {
            permitted @ Held::Permitted { .. } => permitted,
            _ => held,
        }
    }

    fn touch(&self, target: &EntityUid, context: &Context) -> Touch {
        let actions = self.ask.actions.iter().map(|action| action.name());
        let mut touch = Touch::Nothing;
        for action in std::iter::once(self.question.operation.name()).chain(actions) {
            let response = self.ask_set(&self.rules.set, action, target, context);
            let diagnostics = response.diagnostics();
            let matches = diagnostics.reason().next().is_some();
            // Where it is no, the reasons are the forbids.
            if matches && response.decision() == Decision::Deny {
                return Touch::Denies;
            }
            if matches || diagnostics.errors().next().is_some() {
                touch = Touch::Unclear;
            }
        }
        touch
    }

    /// The operation and every action that a finding needs.
    fn all_actions(&self, target: &EntityUid, asked: Asked<'_>, obligations: &Obligations) -> Held {
        let held = self.one(self.question.operation.name(), target, asked, obligations);
        let Held::Permitted { by: first, .. } = &held else { return held };
        let mut permitting = vec![first.clone()];
        for action in &self.ask.actions {
            match self.one(action.name(), target, asked, obligations) {
                Held::Permitted { by, .. } => permitting.push(by),
                Held::Failed(by) => return Held::Failed(by),
                Held::Forbidden(by) => return Held::NotGranted { action: *action, by },
                Held::NotPermitted | Held::NotGranted { .. } => {
                    return Held::NotGranted { action: *action, by: PolicyIds::default() };
                }
            }
        }
        let by = permitting.iter().flat_map(|by| by.ids().iter().cloned()).collect();
        Held::Permitted { by, obligations: obligations.clone() }
    }

    fn one(&self, action: &str, target: &EntityUid, (set, context): Asked<'_>, obligations: &Obligations) -> Held {
        let response = self.ask_set(set, action, target, context);
        let diagnostics = response.diagnostics();
        // A policy that fails to evaluate denies, whatever the others say.
        let mut failed = diagnostics.errors().map(policy_of).peekable();
        if failed.peek().is_some() {
            return Held::Failed(
                failed.filter_map(|id| self.rules.about.get(id)).map(|about| about.id.clone()).collect(),
            );
        }
        if response.decision() == Decision::Deny {
            let by: PolicyIds =
                diagnostics.reason().filter_map(|id| self.rules.about.get(id)).map(|about| about.id.clone()).collect();
            return if by.is_empty() { Held::NotPermitted } else { Held::Forbidden(by) };
        }
        // A permit with an obligation permits nothing as long as the obligation is not done.
        let done =
            |about: &About| about.redact.iter().all(|kind| obligations.redact().any(|redacted| redacted == kind));
        let by: PolicyIds =
            self.unexpired(&response).into_iter().filter(|(_, about)| done(about)).map(|(id, _)| id).collect();
        if by.is_empty() { Held::NotPermitted } else { Held::Permitted { by, obligations: obligations.clone() } }
    }

    /// The permits of an answer that have not run out.
    fn unexpired(&self, response: &Response) -> Vec<(Arc<str>, Arc<About>)> {
        let now = self.question.now;
        response
            .diagnostics()
            .reason()
            .filter_map(|id| self.rules.about.get(id))
            .filter(|about| about.permits && about.expires.is_none_or(|end| end > now))
            .map(|about| (Arc::clone(&about.id), Arc::clone(about)))
            .collect()
    }

    fn ask_set(&self, set: &PolicySet, action: &str, target: &EntityUid, context: &Context) -> Response {
        let principal = uid(&self.world.types.app, self.question.app);
        let action = uid(&self.world.types.action, action);
        let request = Request::new(principal, action, target.clone(), context.clone(), None);
        match request {
            Ok(request) => Authorizer::new().is_authorized(&request, set, self.entities),
            // Without a schema a request is never refused; if it were, nothing would be permitted.
            Err(_) => Response::new(Decision::Deny, HashSet::new(), Vec::new()),
        }
    }
}

/// The policies that are in question, and what they are asked about.
type Asked<'a> = (&'a PolicySet, &'a Context);

/// What is known without a target.
fn view<'a>(question: &'a Question<'_>, ask: &'a Ask, redacted: &'a BTreeSet<&'a str>) -> View<'a> {
    let data = &question.data;
    View {
        labels: data.labels,
        labelled: data.labelled,
        class: data.class.level(),
        purpose: data.purpose.unwrap_or_default(),
        findings: &ask.findings,
        redacted,
    }
}

/// Targets of which everything but the name is the same get the same number: the policies' attributes are made of this.
fn alike(targets: &[Candidate]) -> HashMap<TargetId, usize> {
    let mut kinds: HashMap<String, usize> = HashMap::new();
    let mut number = |target: &Candidate| {
        let Candidate { approved, grants, reach, own_site, preview, facts, target: _, name: _ } = target;
        let next = kinds.len();
        *kinds.entry(format!("{:?}", (approved, grants, reach, own_site, preview, facts))).or_insert(next)
    };
    targets.iter().map(|target| (target.target, number(target))).collect()
}

/// Whether no policy names a target or an endpoint. What could not be read out of a policy may.
fn is_nameless(rules: &Rules) -> bool {
    let reads = rules.reads();
    let names = |mention: &Mention| matches!(mention, Mention::Target(_) | Mention::Endpoint(_));
    !reads.context.contains("*") && !reads.mentions.iter().any(names)
}

fn policy_of(error: &AuthorizationError) -> &PolicyId {
    match error {
        AuthorizationError::PolicyEvaluationError(error) => error.policy_id(),
    }
}

fn attributes(target: &Candidate, facts: &Facts) -> Result<HashMap<String, RestrictedExpression>, WorldError> {
    let grants = Action::ALL.into_iter().filter(|action| target.grants.allow(*action));
    let pairs = [
        ("reach", RestrictedExpression::new_string(target.reach.name().to_owned())),
        ("own_site", RestrictedExpression::new_bool(target.own_site)),
        ("approved", RestrictedExpression::new_bool(target.approved)),
        ("preview", RestrictedExpression::new_bool(target.preview)),
        ("grants", texts(grants.map(|action| action.name().to_owned()))),
        ("processing", set(&facts.processing)?),
        ("at_rest", set(&facts.at_rest)?),
        ("access", set(&facts.access)?),
        ("operator", country(facts.operator)?),
        ("operator_parent", country(facts.operator_parent)?),
        ("retention_days", RestrictedExpression::new_long(i64::from(facts.retention_days))),
        ("training", RestrictedExpression::new_bool(facts.training)),
        ("certifications", texts(facts.certifications.iter().cloned())),
    ];
    Ok(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn entity(
    uid: EntityUid,
    attributes: HashMap<String, RestrictedExpression>,
    parents: HashSet<EntityUid>,
) -> Result<Entity, WorldError> {
    Entity::new(uid, attributes, parents).map_err(|error| WorldError(error.to_string()))
}

fn type_name(name: &str) -> Result<EntityTypeName, WorldError> {
    name.parse().map_err(|_| WorldError(format!("`{name}` is no type")))
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn country(country: Country) -> Result<RestrictedExpression, WorldError> {
    Ok(RestrictedExpression::new_entity_uid(uid(&type_name("Country")?, country.code())))
}

fn set(countries: &Countries) -> Result<RestrictedExpression, WorldError> {
    let codes = countries.0.iter().map(|one| country(*one)).collect::<Result<Vec<_>, _>>()?;
    Ok(RestrictedExpression::new_set(codes))
}

fn texts(texts: impl Iterator<Item = String>) -> RestrictedExpression {
    RestrictedExpression::new_set(texts.map(RestrictedExpression::new_string))
}

/// The instant as Cedar writes it, to the millisecond.
fn moment(since: Duration) -> Option<RestrictedExpression> {
    let whole = time::OffsetDateTime::from_unix_timestamp(i64::try_from(since.as_secs()).ok()?).ok()?;
    let text = format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        whole.year(),
        u8::from(whole.month()),
        whole.day(),
        whole.hour(),
        whole.minute(),
        whole.second(),
        since.subsec_millis()
    );
    Some(RestrictedExpression::new_datetime(text))
}
