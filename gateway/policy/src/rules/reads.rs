//! What policies read: the cache keeps decisions apart by exactly that, and `explain` shows it.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use cedar_policy::Policy;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Iso8601;

use crate::facts::day_of;

/// What a policy, or a set of them, reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// Attributes of the context, by name. `*` stands for the context as a whole.
    pub context: BTreeSet<String>,
    /// Attributes of the target, by name.
    pub target: BTreeSet<String>,
    /// Names that the policy mentions.
    pub mentions: BTreeSet<Mention>,
    /// Certificates that it asks the target for, by name.
    pub certifications: BTreeSet<String>,
    /// Purposes that `context.purpose` or the app's are compared with.
    pub purposes: BTreeSet<String>,
    /// Kinds of finding are asked for by name only, so that other kinds change nothing.
    pub findings_by_name: bool,
    /// Labels are asked for by name only, so that other labels change nothing.
    pub labels_by_name: bool,
    /// Instants at which a comparison with `context.now` changes its answer.
    pub dates: BTreeSet<SystemTime>,
    /// `context.now` is compared with a written date and read in no other way.
    pub time_is_plain: bool,
    /// Sets of countries that `containsAny` is asked of.
    pub any_of: BTreeSet<String>,
}

/// A name that a policy mentions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mention {
    /// `Zone::"…"`
    Zone(String),
    /// `Country::"…"`
    Country(String),
    /// `App::"…"`
    App(String),
    /// `Team::"…"`
    Team(String),
    /// `Endpoint::"…"`
    Endpoint(String),
    /// `Target::"…"`
    Target(String),
    /// A label that `context.labels` is asked for.
    Label(String),
    /// A kind of finding that `context.findings` or `context.redacted` is asked for.
    Finding(String),
}

impl Mention {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Zone(name)
            | Self::Country(name)
            | Self::App(name)
            | Self::Team(name)
            | Self::Endpoint(name)
            | Self::Target(name)
            | Self::Label(name)
            | Self::Finding(name) => name,
        }
    }
}

/// Sets of countries of a target or a zone.
const RESIDENCY: [&str; 4] = ["processing", "at_rest", "access", "countries"];

impl Reads {
    /// What `policy` reads. What cannot be read out of it counts as everything.
    pub(crate) fn of(policy: &Policy) -> Self {
        let mut reads = Self { findings_by_name: true, labels_by_name: true, time_is_plain: true, ..Self::default() };
        match policy.to_json() {
            Ok(json) => reads.visit(&json),
            Err(_) => reads.everything(),
        }
        reads
    }

    /// Both together.
    #[must_use]
    pub fn with(mut self, other: &Self) -> Self {
        let first = self == Self::default();
        self.context.extend(other.context.iter().cloned());
        self.target.extend(other.target.iter().cloned());
        self.mentions.extend(other.mentions.iter().cloned());
        self.certifications.extend(other.certifications.iter().cloned());
        self.purposes.extend(other.purposes.iter().cloned());
        self.dates.extend(other.dates.iter().copied());
        self.any_of.extend(other.any_of.iter().cloned());
        self.findings_by_name = (first || self.findings_by_name) && other.findings_by_name;
        self.labels_by_name = (first || self.labels_by_name) && other.labels_by_name;
        self.time_is_plain = (first || self.time_is_plain) && other.time_is_plain;
        self
    }

    /// Whether the context's attribute is read.
    #[must_use]
    pub fn context_has(&self, attribute: &str) -> bool {
        self.context.contains(attribute) || self.context.contains("*")
    }

    fn everything(&mut self) {
        self.context.insert("*".to_owned());
        self.findings_by_name = false;
        self.labels_by_name = false;
        self.time_is_plain = false;
    }

    fn visit(&mut self, node: &Value) {
        match node {
            Value::Object(fields) => self.object(fields),
            Value::Array(items) => items.iter().for_each(|item| self.visit(item)),
            _ => {}
        }
    }

    fn object(&mut self, fields: &Map<String, Value>) {
        if let (Some(kind), Some(id)) = (text(fields, "type"), text(fields, "id")) {
            self.entity(kind, id);
        }
        for (operator, operands) in fields {
            self.names_purposes(operator, operands);
            if self.asks_a_set(operator, operands) || self.compares_time(operator, operands) {
                continue;
            }
            if let (true, Some((variable, attribute))) = (operator == "." || operator == "has", attribute_of(operands))
            {
                self.attribute(variable, attribute);
                continue;
            }
            if operator == "Var" && operands == "context" {
                self.everything();
            }
            self.visit(operands);
        }
    }

    fn entity(&mut self, kind: &str, id: &str) {
        let id = id.to_owned();
        let mention = match kind {
            "Zone" => Mention::Zone(id),
            "Country" => Mention::Country(id),
            "App" => Mention::App(id),
            "Team" => Mention::Team(id),
            "Endpoint" => Mention::Endpoint(id),
            "Target" => Mention::Target(id),
            _ => return,
        };
        self.mentions.insert(mention);
    }

    /// An attribute that is read in a way that was not looked at more closely.
    fn attribute(&mut self, variable: &str, attribute: &str) {
        match variable {
            "context" => {
                self.context.insert(attribute.to_owned());
                self.findings_by_name &= attribute != "findings" && attribute != "redacted";
                self.labels_by_name &= attribute != "labels";
                self.time_is_plain &= attribute != "now";
            }
            "resource" => {
                self.target.insert(attribute.to_owned());
            }
            _ => {}
        }
    }

    /// `context.purpose == "a"`, `["a", "b"].contains(context.purpose)`, `principal.purposes.contains("a")`.
    fn names_purposes(&mut self, operator: &str, operands: &Value) {
        if !["==", "!=", "contains", "containsAny", "containsAll"].contains(&operator) {
            return;
        }
        let (left, right) = (&operands["left"], &operands["right"]);
        for (purpose, names) in [(left, right), (right, left)] {
            let is_purpose = |read| matches!(read, ("context", "purpose") | ("principal", "purposes"));
            if purpose.get(".").and_then(attribute_of).is_some_and(is_purpose) {
                self.purposes.extend(literals(names).into_iter().flatten().filter(|name| !name.is_empty()));
            }
        }
    }

    /// `set.contains("a")`, `set.containsAny(["a", "b"])`, `set.isEmpty()`: which set, and for which names.
    fn asks_a_set(&mut self, operator: &str, operands: &Value) -> bool {
        if !["contains", "containsAny", "containsAll"].contains(&operator) {
            return false;
        }
        let (left, right) = (&operands["left"], &operands["right"]);
        if operator == "containsAny" {
            for side in [left, right] {
                let attribute = side.get(".").and_then(|operands| operands["attr"].as_str());
                self.any_of.extend(attribute.filter(|name| RESIDENCY.contains(name)).map(str::to_owned));
            }
        }
        for (set, names) in [(left, right), (right, left)] {
            if set.get(".").and_then(attribute_of) == Some(("resource", "certifications")) {
                self.certifications.extend(literals(names).into_iter().flatten());
            }
        }
        let (Some(("context", attribute)), Some(names)) =
            (left.get(".").and_then(|operands| attribute_of(operands)), literals(right))
        else {
            return false;
        };
        for name in names {
            match attribute {
                "labels" => self.mentions.insert(Mention::Label(name)),
                "findings" | "redacted" => self.mentions.insert(Mention::Finding(name)),
                _ => false,
            };
        }
        self.context.insert(attribute.to_owned());
        true
    }

    /// `context.now >= datetime("2027-01-01")` and its like, either way about.
    fn compares_time(&mut self, operator: &str, operands: &Value) -> bool {
        if !["<", "<=", ">", ">=", "==", "!="].contains(&operator) {
            return false;
        }
        let is_now = |side: &Value| side.get(".").and_then(attribute_of) == Some(("context", "now"));
        let (left, right) = (&operands["left"], &operands["right"]);
        let date = if is_now(left) {
            date_of(right)
        } else if is_now(right) {
            date_of(left)
        } else {
            return false;
        };
        let Some(date) = date else { return false };
        self.context.insert("now".to_owned());
        // The answer may change at the date and, for `<=` and `==`, one millisecond after it.
        self.dates.extend([Some(date), date.checked_add(Duration::from_millis(1))].into_iter().flatten());
        true
    }
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    fields.get(name).and_then(Value::as_str)
}

/// Variable and attribute of `{left: {Var: …}, attr: …}`.
fn attribute_of(operands: &Value) -> Option<(&str, &str)> {
    Some((operands.get("left")?.get("Var")?.as_str()?, operands.get("attr")?.as_str()?))
}

/// The texts of a literal, or of a set of literals and nothing else.
fn literals(node: &Value) -> Option<Vec<String>> {
    match node.get("Value") {
        Some(Value::String(text)) => return Some(vec![text.clone()]),
        Some(Value::Array(items)) => {
            return items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
        }
        _ => {}
    }
    let items = node.get("Set")?.as_array()?;
    items.iter().map(|item| item.get("Value")?.as_str().map(str::to_owned)).collect()
}

/// The instant of `datetime("…")`.
fn date_of(node: &Value) -> Option<SystemTime> {
    let written = node.get("datetime")?.get(0)?.get("Value")?.as_str()?;
    day_of(written).or_else(|| OffsetDateTime::parse(written, &Iso8601::DEFAULT).ok().map(SystemTime::from))
}
