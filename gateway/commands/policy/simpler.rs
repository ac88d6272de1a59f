//! A counterexample with nothing in it that does not matter.
//!
//! What a solver finds is true and crowded: findings, certificates and countries that change nothing. Each value is replaced
//! by a plain one, one after the other, as long as the authorizer still decides as before. No solver is asked.

use std::collections::{BTreeMap, HashMap, HashSet};

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityUid, EvalResult, PolicySet, Request, RestrictedExpression,
};

use super::solver::Found;

/// A set, a request of the one set and not of the other, and what is still to be tried.
pub(super) struct Simplifier<'a> {
    pub(super) inner: &'a PolicySet,
    pub(super) outer: &'a PolicySet,
}

/// Request and entities, taken apart.
#[derive(Clone)]
struct Parts {
    context: BTreeMap<String, EvalResult>,
    app: BTreeMap<String, EvalResult>,
    target: BTreeMap<String, EvalResult>,
}

/// Which of the three an attribute belongs to.
#[derive(Clone, Copy)]
enum Part {
    Context,
    App,
    Target,
}

impl Parts {
    fn of(found: &Found) -> Option<Self> {
        let entity = |uid: Option<&EntityUid>| -> Option<BTreeMap<String, EvalResult>> {
            let entity = found.entities.get(uid?)?;
            let names = match entity.uid().type_name().basename() {
                "App" => APP,
                _ => TARGET,
            };
            names.iter().map(|name| Some(((*name).to_owned(), entity.attr(name)?.ok()?))).collect()
        };
        let context = found.request.context()?;
        Some(Self {
            context: CONTEXT
                .iter()
                .map(|name| Some(((*name).to_owned(), context.get(name)?)))
                .collect::<Option<_>>()?,
            app: entity(found.request.principal())?,
            target: entity(found.request.resource())?,
        })
    }

    fn of_part(&mut self, part: Part) -> &mut BTreeMap<String, EvalResult> {
        match part {
            Part::Context => &mut self.context,
            Part::App => &mut self.app,
            Part::Target => &mut self.target,
        }
    }
}

/// The attributes of the schema, which a solver fills in all of.
const CONTEXT: &[&str] = &["labels", "labelled", "class", "purpose", "redacted", "findings", "now"];
const APP: &[&str] = &["purposes"];
const TARGET: &[&str] = &[
    "reach",
    "own_site",
    "approved",
    "preview",
    "grants",
    "processing",
    "at_rest",
    "access",
    "operator",
    "operator_parent",
    "retention_days",
    "training",
    "certifications",
];

impl Simplifier<'_> {
    /// `found`, with as many plain values as it can bear.
    pub(super) fn simpler(&self, found: Box<Found>) -> Box<Found> {
        let Some(mut parts) = Parts::of(&found) else { return found };
        let mut best = found;
        for (part, name) in Self::attributes() {
            for plain in plain_values(name, parts.of_part(part).get(name)) {
                let mut tried = parts.clone();
                tried.of_part(part).insert(name.to_owned(), plain);
                if let Some(simpler) = rebuilt(&best, &tried).filter(|simpler| self.still_holds(simpler)) {
                    best = Box::new(simpler);
                    parts = tried;
                    break;
                }
            }
        }
        best
    }

    fn attributes() -> impl Iterator<Item = (Part, &'static str)> {
        let of = |part: Part, names: &'static [&'static str]| names.iter().map(move |name| (part, *name));
        of(Part::Context, CONTEXT).chain(of(Part::App, APP)).chain(of(Part::Target, TARGET))
    }

    fn still_holds(&self, found: &Found) -> bool {
        let decide = |set: &PolicySet| Authorizer::new().is_authorized(&found.request, set, &found.entities);
        let permitted = decide(self.inner);
        permitted.decision() == Decision::Allow
            && permitted.diagnostics().errors().next().is_none()
            && decide(self.outer).decision() == Decision::Deny
    }
}

/// What an attribute would be if it did not matter, the plainest first; then the parts of what it is.
fn plain_values(name: &str, now: Option<&EvalResult>) -> Vec<EvalResult> {
    let text = |text: &str| EvalResult::String(text.to_owned());
    let mut plain = match name {
        "labelled" | "approved" => vec![EvalResult::Bool(true)],
        "class" => vec![EvalResult::Long(1)],
        "purpose" => vec![text("")],
        "reach" => vec![text("private-link")],
        "own_site" | "preview" | "training" => vec![EvalResult::Bool(false)],
        "retention_days" => vec![EvalResult::Long(0)],
        "operator" | "operator_parent" => germany().into_iter().collect(),
        _ => Vec::new(),
    };
    let members: Vec<&EvalResult> =
        if let Some(EvalResult::Set(set)) = now { set.iter().collect() } else { Vec::new() };
    let is_place = ["processing", "at_rest", "access"].contains(&name);
    if let (false, Some(empty)) = (is_place, no_members()) {
        plain.extend(now.filter(|now| matches!(now, EvalResult::Set(_))).map(|_| empty));
    }
    plain.extend(members.into_iter().filter_map(alone));
    // Only a value of the same type takes the place of another.
    plain.retain(|value| now.is_some_and(|now| std::mem::discriminant(now) == std::mem::discriminant(value)));
    plain
}

fn germany() -> Option<EvalResult> {
    Some(EvalResult::EntityUid("Country::\"DE\"".parse().ok()?))
}

/// The empty set, and the set of one: sets of values are made by evaluating them.
fn no_members() -> Option<EvalResult> {
    Context::from_pairs([("set".to_owned(), RestrictedExpression::new_set([]))]).ok()?.get("set")
}

fn alone(member: &EvalResult) -> Option<EvalResult> {
    Context::from_pairs([("set".to_owned(), RestrictedExpression::new_set([written(member)?]))]).ok()?.get("set")
}

fn rebuilt(found: &Found, parts: &Parts) -> Option<Found> {
    let pairs = |values: &BTreeMap<String, EvalResult>| -> Option<HashMap<String, RestrictedExpression>> {
        values.iter().map(|(name, value)| Some((name.clone(), written(value)?))).collect()
    };
    let (app, target) = (found.request.principal()?, found.request.resource()?);
    let mut entities = Vec::new();
    for entity in found.entities.iter() {
        let uid = entity.uid();
        let values = if uid == *app {
            &parts.app
        } else if uid == *target {
            &parts.target
        } else {
            entities.push(entity.clone());
            continue;
        };
        let parents: HashSet<EntityUid> = found.entities.ancestors(&uid)?.cloned().collect();
        entities.push(Entity::new(uid, pairs(values)?, parents).ok()?);
    }
    let context = Context::from_pairs(pairs(&parts.context)?).ok()?;
    let request = Request::new(app.clone(), found.request.action()?.clone(), target.clone(), context, None).ok()?;
    Some(Found { request, entities: Entities::from_entities(entities, None).ok()? })
}

/// A value as it is written.
fn written(value: &EvalResult) -> Option<RestrictedExpression> {
    Some(match value {
        EvalResult::Bool(yes) => RestrictedExpression::new_bool(*yes),
        EvalResult::Long(number) => RestrictedExpression::new_long(*number),
        EvalResult::String(text) => RestrictedExpression::new_string(text.clone()),
        EvalResult::EntityUid(uid) => RestrictedExpression::new_entity_uid(uid.clone()),
        EvalResult::Set(set) => RestrictedExpression::new_set(set.iter().map(written).collect::<Option<Vec<_>>>()?),
        // The one extension that the schema uses. Where the time matters, another one shows at once.
        EvalResult::ExtensionValue(text) => match text.parse() {
            Ok(moment) => moment,
            Err(_) => RestrictedExpression::new_datetime("2026-01-01"),
        },
        EvalResult::Record(_) => return None,
    })
}
