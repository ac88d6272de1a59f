//! A counterexample as a request to the gateway, put to the one function that decides for callers.
//!
//! The authorizer says what the text of the policies allows. The gateway asks more: the operation and each action behind a
//! finding, the request as it is and then redacted, exceptions until their end. Where a counterexample is a request that can
//! come, that decision is the last word on it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cedar_policy::{Entity, EntityUid, EvalResult};
use policy::{
    Action, Asker, Candidate, Class, Countries, Country, Data, Facts, Finding, FindingKind, Findings, Grants, Judge,
    Operation, Question, Reach, Rules, Ruling, TargetId, Zones, decide,
};

use super::solver::Found;
use super::table;

/// What the gateway decides for `found` under `rules`.
///
/// # Errors
///
/// Why it is no request that can come to a gateway.
pub(super) fn decided(found: &Found, rules: &Arc<Rules>) -> Result<Ruling, String> {
    let read = Read { found };
    if read.context("labelled") == Some(EvalResult::Bool(false)) {
        return Err("of every request somebody has said what its data is".to_owned());
    }
    let (app, target) = (read.app()?, read.target()?);
    let judge =
        Judge::new(Arc::clone(rules), &read.zones()?, std::slice::from_ref(&app), std::slice::from_ref(&target))
            .map_err(|error| error.to_string())?;
    let (operation, findings) = read.asked()?;
    let labels: Vec<Arc<str>> = read.texts("labels")?.iter().map(|label| label.as_str().into()).collect();
    let purpose = Some(read.text("purpose")?).filter(|purpose| !purpose.is_empty());
    let data = Data { labels: &labels, labelled: true, class: read.class()?, purpose: purpose.as_deref() };
    let about = Question::about(&app.name, "any", std::slice::from_ref(&target));
    let verdicts = match decide(&judge, &Question { operation, data, findings: &findings, now: read.now(), ..about }) {
        Ok(permit) => permit.verdicts().to_vec(),
        Err(denial) => denial.verdicts().to_vec(),
    };
    verdicts.into_iter().next().map(|verdict| verdict.ruling).ok_or_else(|| "it has no target".to_owned())
}

/// A counterexample, read in the words of the gateway.
struct Read<'a> {
    found: &'a Found,
}

impl Read<'_> {
    fn context(&self, name: &str) -> Option<EvalResult> {
        self.found.request.context()?.get(name)
    }

    fn text(&self, name: &str) -> Result<String, String> {
        match self.context(name) {
            Some(EvalResult::String(text)) => Ok(text),
            _ => Err(format!("it has no `{name}`")),
        }
    }

    fn texts(&self, name: &str) -> Result<BTreeSet<String>, String> {
        self.context(name).and_then(|value| texts(&value)).ok_or_else(|| format!("it has no `{name}`"))
    }

    fn class(&self) -> Result<Class, String> {
        let level = if let Some(EvalResult::Long(level)) = self.context("class") { level } else { -1 };
        Class::ALL.into_iter().find(|class| class.level() == level).ok_or_else(|| format!("there is no class {level}"))
    }

    /// The instant, as far as it can be read out of the value.
    fn now(&self) -> SystemTime {
        let Some(EvalResult::ExtensionValue(text)) = self.context("now") else { return UNIX_EPOCH };
        let written = text.split('"').nth(1).unwrap_or_default();
        let moment = time::OffsetDateTime::parse(written, &time::format_description::well_known::Rfc3339).ok();
        let day = || policy::day_of(written);
        moment.map(SystemTime::from).or_else(day).unwrap_or(UNIX_EPOCH + Duration::from_secs(1))
    }

    /// What is asked, and what was found: an action that only a finding brings about is asked for by its finding.
    fn asked(&self) -> Result<(Operation, Findings), String> {
        let action = self.found.request.action().map(|uid| uid.id().unescaped().to_owned()).unwrap_or_default();
        let mut kinds: Vec<FindingKind> = Vec::new();
        for name in self.texts("findings")? {
            kinds.push(table::kind(&name, &[])?);
        }
        let operation = match (Operation::named(&action), Action::named(&action)) {
            (Some(operation), _) => operation,
            (None, Some(needed)) => {
                kinds.push(match needed {
                    Action::KeepState => FindingKind::StoredState,
                    Action::FetchRemote => FindingKind::RemoteUrl,
                    Action::UseHostedTool => FindingKind::HostedTool("any".to_owned()),
                });
                Operation::Chat
            }
            (None, None) => return Err(format!("`{action}` is no action")),
        };
        let finding = |kind: FindingKind| Finding { kind, path: "$".to_owned() };
        Ok((operation, kinds.into_iter().map(finding).collect()))
    }

    fn entity(&self, uid: Option<&EntityUid>) -> Result<&Entity, String> {
        uid.and_then(|uid| self.found.entities.get(uid)).ok_or_else(|| "an entity of it is not there".to_owned())
    }

    fn app(&self) -> Result<Asker, String> {
        let app = self.entity(self.found.request.principal())?;
        let team = self.parent(&app.uid(), "Team").unwrap_or_default();
        let purposes = attribute(app, "purposes").and_then(|value| texts(&value)).unwrap_or_default();
        Ok(Asker { name: id(&app.uid()).into(), team: team.into(), purposes: purposes.into_iter().collect() })
    }

    fn parent(&self, of: &EntityUid, kind: &str) -> Option<String> {
        let mut parents = self.found.entities.ancestors(of)?;
        parents.find(|parent| parent.type_name().basename() == kind).map(id)
    }

    fn target(&self) -> Result<Candidate, String> {
        let target = self.entity(self.found.request.resource())?;
        let yes = |name: &str| attribute(target, name) == Some(EvalResult::Bool(true));
        let reach =
            if let Some(EvalResult::String(reach)) = attribute(target, "reach") { reach } else { String::new() };
        let reach = Reach::ALL.into_iter().find(|known| known.name() == reach);
        let granted = attribute(target, "grants").and_then(|value| texts(&value)).unwrap_or_default();
        let granted = Action::ALL.into_iter().filter(|action| granted.contains(action.name()));
        let days = if let Some(EvalResult::Long(days)) = attribute(target, "retention_days") { days } else { -1 };
        let facts = Facts {
            processing: countries(target, "processing")?,
            at_rest: countries(target, "at_rest")?,
            access: countries(target, "access")?,
            operator: country(target, "operator")?,
            operator_parent: country(target, "operator_parent")?,
            retention_days: u32::try_from(days).map_err(|_| format!("nothing is kept for {days} days"))?,
            training: yes("training"),
            certifications: attribute(target, "certifications").and_then(|value| texts(&value)).unwrap_or_default(),
            ..Facts::unknown()
        };
        let name = id(&target.uid());
        let endpoint = self.parent(&target.uid(), "Endpoint").unwrap_or_else(|| name.clone());
        let name = if name.starts_with(&format!("{endpoint}/")) { name } else { format!("{endpoint}/{name}") };
        Ok(Candidate {
            approved: yes("approved"),
            grants: granted.fold(Grants::default(), Grants::with),
            reach: reach.ok_or("it is reached in no known way")?,
            own_site: yes("own_site"),
            preview: yes("preview"),
            facts: Arc::new(facts),
            ..Candidate::new(TargetId(0), name)
        })
    }

    fn zones(&self) -> Result<Zones, String> {
        let zones = self.found.entities.iter().filter(|entity| entity.uid().type_name().basename() == "Zone");
        zones.map(|zone| Ok((id(&zone.uid()), countries(zone, "countries")?.into()))).collect()
    }
}

fn id(uid: &EntityUid) -> String {
    uid.id().unescaped().to_owned()
}

fn attribute(entity: &Entity, name: &str) -> Option<EvalResult> {
    entity.attr(name)?.ok()
}

fn texts(value: &EvalResult) -> Option<BTreeSet<String>> {
    let EvalResult::Set(set) = value else { return None };
    let text = |one: &EvalResult| if let EvalResult::String(text) = one { Some(text.clone()) } else { None };
    set.iter().map(text).collect()
}

fn code(value: &EvalResult) -> Option<Country> {
    let EvalResult::EntityUid(uid) = value else { return None };
    uid.id().unescaped().parse().ok()
}

fn countries(entity: &Entity, name: &str) -> Result<Countries, String> {
    let codes = match attribute(entity, name) {
        Some(EvalResult::Set(set)) => set.iter().map(code).collect::<Option<Countries>>(),
        _ => None,
    };
    codes.ok_or_else(|| format!("its `{name}` are no countries"))
}

fn country(entity: &Entity, name: &str) -> Result<Country, String> {
    attribute(entity, name).as_ref().and_then(code).ok_or_else(|| format!("its `{name}` is no country"))
}
