//! A request that is permitted and should not be: replayed by the authorizer that the gateway uses, put to the function that
//! decides for callers, and shown with what the policies read of it.

use std::collections::BTreeMap;

use cedar_policy::{Authorizer, Decision, Entity, EvalResult};
use policy::{Mention, Reads};
use serde_json::{Value, json};

use super::containment::Side;
use super::decided;
use super::solver::Found;

/// A counterexample that the authorizer has confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Counterexample {
    /// What the policies and the goal read of it, name by name.
    pub(super) facts: BTreeMap<String, String>,
    /// The policies that permit it.
    pub(super) permitted_by: Vec<String>,
    /// What the gateway decides for it, or why it is no request that can come.
    pub(super) decision: Result<Ruled, String>,
    /// It is one that the gateway can make; others show what the text says and no request can bring about.
    pub(super) is_usual: bool,
}

/// What the gateway decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ruled {
    /// Whether the target is in.
    pub(super) permits: bool,
    /// By which policies.
    pub(super) words: String,
}

/// The words of the classes, for those who do not think in numbers.
const CLASSES: [&str; 4] = ["public", "internal", "confidential", "secret"];

impl Counterexample {
    /// `found` as the authorizer sees it: permitted by `inner`, not by `outer`.
    ///
    /// # Errors
    ///
    /// Why it is no counterexample: then the solver, or what lies between it and the authorizer, is wrong.
    pub(super) fn replay(found: &Found, inner: &Side, outer: &Side, is_usual: bool) -> Result<Self, String> {
        let permitted = Authorizer::new().is_authorized(&found.request, &inner.set, &found.entities);
        let wanted = Authorizer::new().is_authorized(&found.request, &outer.set, &found.entities);
        if permitted.diagnostics().errors().next().is_some() {
            return Err("a policy cannot be evaluated for it, and then the gateway denies".to_owned());
        }
        if permitted.decision() != Decision::Allow || wanted.decision() != Decision::Deny {
            return Err("the authorizer does not decide as the solver says".to_owned());
        }
        let mut permitted_by: Vec<String> = permitted.diagnostics().reason().map(ToString::to_string).collect();
        permitted_by.sort_unstable();
        let ruling = decided::decided(found, &inner.rules);
        let decision = ruling.map(|ruling| Ruled { permits: ruling.is_in(), words: ruling.to_string() });
        Ok(Self { facts: facts(found, &inner.reads().with(&outer.reads())), permitted_by, decision, is_usual })
    }

    /// One fact a line.
    pub(super) fn lines(&self) -> String {
        let width = self.facts.keys().map(String::len).max().unwrap_or_default();
        let mut text: String = self.facts.iter().map(|(name, value)| format!("    {name:width$}  {value}\n")).collect();
        text.push_str(&format!("  replayed: the authorizer allows it, by {}", self.permitted_by.join(", ")));
        match &self.decision {
            Ok(ruled) if ruled.permits => text.push_str(&format!("\n  decided as for a caller: {}", ruled.words)),
            Ok(ruled) => text.push_str(&format!(
                "\n  decided as for a caller: {}; the text of the policies allows it all the same",
                ruled.words
            )),
            Err(_) => {}
        }
        if !self.is_usual {
            text.push_str(
                "\n  no request to a gateway looks like this one; the text of the policies allows it all the same",
            );
        }
        text
    }

    pub(super) fn value(&self) -> Value {
        let decision = match &self.decision {
            Ok(ruled) => json!({ "permitted": ruled.permits, "why": ruled.words }),
            Err(why) => json!({ "permitted": null, "why": why }),
        };
        json!({
            "request": self.facts, "permitted_by": self.permitted_by, "usual": self.is_usual, "decision": decision,
        })
    }
}

fn facts(found: &Found, reads: &Reads) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    if let Some(action) = found.request.action() {
        facts.insert("action".to_owned(), action.id().unescaped().to_owned());
    }
    if let Some(context) = found.request.context() {
        for name in reads.context.iter() {
            if let Some(value) = context.get(name) {
                facts.insert(name.clone(), in_words(name, &value));
            }
        }
    }
    if let Some(target) = found.request.resource().and_then(|uid| found.entities.get(uid)) {
        for name in &reads.target {
            attribute(&mut facts, &format!("target.{name}"), target, name);
        }
    }
    if let Some(app) = found.request.principal().and_then(|uid| found.entities.get(uid)) {
        attribute(&mut facts, "app.purposes", app, "purposes");
    }
    let zones: Vec<&str> = reads
        .mentions
        .iter()
        .filter_map(|mention| if let Mention::Zone(name) = mention { Some(name.as_str()) } else { None })
        .collect();
    for entity in found.entities.iter().filter(|entity| zones.contains(&entity.uid().id().unescaped())) {
        if entity.uid().type_name().basename() == "Zone" {
            attribute(&mut facts, &format!("zone {}", entity.uid().id().unescaped()), entity, "countries");
        }
    }
    facts
}

fn attribute(facts: &mut BTreeMap<String, String>, shown: &str, entity: &Entity, name: &str) {
    if let Some(Ok(value)) = entity.attr(name) {
        facts.insert(shown.to_owned(), in_words(name, &value));
    }
}

fn in_words(name: &str, value: &EvalResult) -> String {
    match value {
        EvalResult::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        EvalResult::Long(level) if name == "class" => {
            let word = usize::try_from(*level).ok().and_then(|level| CLASSES.get(level));
            word.map_or_else(|| level.to_string(), |word| format!("{word} ({level})"))
        }
        EvalResult::Long(number) => number.to_string(),
        EvalResult::String(text) if text.is_empty() => "none".to_owned(),
        EvalResult::String(text) => text.escape_debug().to_string(),
        EvalResult::EntityUid(uid) => uid.id().unescaped().escape_debug().to_string(),
        EvalResult::Set(set) => {
            let all: Vec<String> = set.iter().map(|one| in_words(name, one)).collect();
            if all.is_empty() { "none".to_owned() } else { all.join(", ") }
        }
        EvalResult::Record(_) => "a record".to_owned(),
        EvalResult::ExtensionValue(text) => text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_in_the_words_of_the_people_who_write_policies() {
        let set = EvalResult::String(String::new());

        assert_eq!(in_words("class", &EvalResult::Long(2)), "confidential (2)");
        assert_eq!(in_words("class", &EvalResult::Long(-7)), "-7");
        assert_eq!(in_words("retention_days", &EvalResult::Long(2)), "2");
        assert_eq!(in_words("approved", &EvalResult::Bool(true)), "yes");
        assert_eq!(in_words("purpose", &set), "none");
        assert_eq!(in_words("purpose", &EvalResult::String("a\u{0}\n".to_owned())), "a\\0\\n");
    }
}
