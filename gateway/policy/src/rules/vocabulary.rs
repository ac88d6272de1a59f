//! Words and numbers that a policy compares with what comes from a list.
//!
//! `resource.reach == "publc"` is valid and never true: a `forbid` that asks for it never fires, and a permit permits nothing.
//! Strict validation knows the types of attributes and not the lists, so each word, number and pattern that stands beside
//! such an attribute is held against its list here.
//!
//! **Does not do.** It follows no arithmetic and no entity's attributes but those of the request and its target. What is made of
//! several conditions together is for the solver: `causeway policy check`.

use std::collections::BTreeSet;

use cedar_policy::Policy;
use serde_json::Value;

use super::About;
use super::lint::Report;
use super::names::{Names, SHIPPED_CERTIFICATES, SHIPPED_LABELS};
use super::script::Script;
use crate::question::{Action, Class, Reach};

/// Operators with two sides, of which one may be an attribute and the other what it is compared with.
const TWO_SIDED: [&str; 9] = ["==", "!=", "<", "<=", ">", ">=", "contains", "containsAny", "containsAll"];

/// An attribute whose values come from a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listed {
    Reach,
    Grants,
    Certifications,
    Labels,
    Findings,
    Purpose,
    Class,
    Days,
}

impl Listed {
    fn of(variable: &str, attribute: &str) -> Option<Self> {
        Some(match (variable, attribute) {
            ("resource", "reach") => Self::Reach,
            ("resource", "grants") => Self::Grants,
            ("resource", "certifications") => Self::Certifications,
            ("resource", "retention_days") => Self::Days,
            ("context", "labels") => Self::Labels,
            ("context", "findings" | "redacted") => Self::Findings,
            ("context", "purpose") | ("principal", "purposes") => Self::Purpose,
            ("context", "class") => Self::Class,
            _ => return None,
        })
    }

    /// What one word of the list is.
    const fn is_a(self) -> &'static str {
        match self {
            Self::Reach => "a reach",
            Self::Grants => "a grant of `[policy] allow`",
            Self::Certifications => "a certificate of any endpoint",
            Self::Labels => "a label",
            Self::Findings => "a kind of finding",
            Self::Purpose => "a purpose of any app",
            Self::Class => "a class",
            Self::Days => "a number of days",
        }
    }

    /// The words of the list; `None` where whoever reads the policies does not know them all.
    fn words(self, names: &Names) -> Option<BTreeSet<&str>> {
        let known = match self {
            Self::Reach => return Some(Reach::ALL.map(Reach::name).into()),
            Self::Grants => return Some(Action::ALL.map(Action::name).into()),
            Self::Class | Self::Days => return None,
            Self::Labels => &names.labels,
            Self::Findings => &names.findings,
            Self::Purpose => &names.purposes,
            Self::Certifications => &names.certifications,
        };
        known.as_ref().map(|known| known.iter().map(String::as_str).collect())
    }

    /// Words of the list that everybody knows, to ask about one that is nearly one of them.
    fn shipped(self) -> &'static [&'static str] {
        match self {
            Self::Labels => &SHIPPED_LABELS,
            Self::Certifications => &SHIPPED_CERTIFICATES,
            _ => &[],
        }
    }
}

/// What an attribute is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Literal {
    Text(String),
    Number(i64),
    /// The pieces of `like`, `None` for `*`.
    Pattern(Vec<Option<char>>),
}

/// A literal beside an attribute.
#[derive(Debug)]
struct Compared {
    with: Listed,
    attribute: String,
    /// As if the attribute stood on the left.
    operator: String,
    literal: Literal,
}

/// Reports what is compared with a word, a number or a pattern that is none of the list.
pub(super) fn check(policy: &Policy, about: &About, names: &Names, report: &mut Report) {
    let Ok(json) = policy.to_json() else { return };
    let mut compared = Vec::new();
    visit(&json["conditions"], &mut compared);
    let mut checking = Checking { about, names, report, script: Script::of(policy, about) };
    for one in compared {
        match &one.literal {
            Literal::Text(word) => checking.word(&one, word),
            Literal::Number(number) => checking.number(&one, *number),
            Literal::Pattern(pieces) => checking.pattern(&one, pieces),
        }
    }
}

fn visit(node: &Value, found: &mut Vec<Compared>) {
    match node {
        Value::Object(fields) => {
            for (operator, operands) in fields {
                compared(operator, operands, found);
                visit(operands, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| visit(item, found)),
        _ => {}
    }
}

fn compared(operator: &str, operands: &Value, found: &mut Vec<Compared>) {
    let mut add = |side: &Value, operator: &str, literals: Vec<Literal>| {
        let Some((with, attribute)) = attribute(side) else { return };
        found.extend(literals.into_iter().map(|literal| Compared {
            with,
            attribute: attribute.to_owned(),
            operator: operator.to_owned(),
            literal,
        }));
    };
    let (left, right) = (&operands["left"], &operands["right"]);
    if operator == "like" {
        add(left, operator, pattern(&operands["pattern"]).into_iter().collect());
    } else if TWO_SIDED.contains(&operator) {
        add(left, operator, literals(right));
        add(right, turned(operator), literals(left));
    }
}

/// The operator with its sides exchanged.
fn turned(operator: &str) -> &str {
    match operator {
        "<" => ">",
        "<=" => ">=",
        ">" => "<",
        ">=" => "<=",
        other => other,
    }
}

fn attribute(node: &Value) -> Option<(Listed, &str)> {
    let read = node.get(".")?;
    let (variable, attribute) = (read["left"]["Var"].as_str()?, read["attr"].as_str()?);
    Some((Listed::of(variable, attribute)?, attribute))
}

/// Every literal that the node can be, or hold as a set.
fn literals(node: &Value) -> Vec<Literal> {
    if let Some(value) = node.get("Value") {
        return match value {
            Value::String(text) => vec![Literal::Text(text.clone())],
            Value::Number(number) => number.as_i64().map(Literal::Number).into_iter().collect(),
            Value::Array(items) => {
                items.iter().flat_map(|item| literals(&serde_json::json!({ "Value": item }))).collect()
            }
            _ => Vec::new(),
        };
    }
    if let Some(items) = node.get("Set").and_then(Value::as_array) {
        return items.iter().flat_map(literals).collect();
    }
    if let Some(choice) = node.get("if-then-else") {
        return ["then", "else"].into_iter().flat_map(|branch| literals(&choice[branch])).collect();
    }
    match node.get("neg").map(|neg| literals(&neg["arg"])).unwrap_or_default()[..] {
        [Literal::Number(number)] => number.checked_neg().map(Literal::Number).into_iter().collect(),
        _ => Vec::new(),
    }
}

fn pattern(node: &Value) -> Option<Literal> {
    let mut pieces = Vec::new();
    for piece in node.as_array()? {
        match piece["Literal"].as_str() {
            Some(text) => pieces.extend(text.chars().map(Some)),
            None => pieces.push(None),
        }
    }
    Some(Literal::Pattern(pieces))
}

struct Checking<'a> {
    about: &'a About,
    names: &'a Names,
    report: &'a mut Report,
    script: Script,
}

impl Checking<'_> {
    fn word(&mut self, compared: &Compared, word: &str) {
        let (list, id) = (compared.with, &self.about.id);
        // An empty purpose is that of a request which names none.
        if list == Listed::Purpose && word.is_empty() {
            return;
        }
        let Some(known) = list.words(self.names) else {
            self.near_miss(compared, word);
            return;
        };
        // `hosted_tool:…` is an open family, and `custom:…` where nobody knows the recognisers of one's own.
        let family = word.split_once(':').map_or(word, |(family, _)| family);
        if known.contains(word) || list == Listed::Findings && known.contains(family) {
            return;
        }
        let message = format!("policy `{id}` names `{word}`, which is not {}", list.is_a());
        let remedy = remedy(word, &known);
        let place = self.script.place(self.about, &compared.attribute, &Literal::Text(word.to_owned()).written());
        // A certificate that nobody has yet may be asked for beforehand: that only denies more.
        if list == Listed::Certifications {
            self.report.remark(place, message, &remedy);
        } else {
            self.report.fault(place, message, &remedy);
        }
    }

    /// Where the list is not known whole, a word that is nearly one of it is worth a look and no more.
    fn near_miss(&mut self, compared: &Compared, word: &str) {
        let shipped = compared.with.shipped();
        let near = shipped.iter().find(|known| strsim::damerau_levenshtein(known, word) == 1);
        let Some(near) = near.filter(|_| !shipped.contains(&word)) else { return };
        let message = format!(
            "policy `{}` names `{word}`, which is not {} that ships with the gateway",
            self.about.id,
            compared.with.is_a().split(" of ").next().unwrap_or_default()
        );
        let place = self.script.place(self.about, &compared.attribute, &compared.literal.written());
        let remedy = format!("did you mean `{near}`? where a configuration defines it, check with `--config`");
        self.report.remark(place, message, &remedy);
    }

    fn number(&mut self, compared: &Compared, number: i64) {
        let (least, most, words) = match compared.with {
            Listed::Class => {
                (0, Class::Secret.level(), "the classes are 0 public, 1 internal, 2 confidential, 3 secret")
            }
            Listed::Days => (0, i64::MAX, "days are counted from 0"),
            _ => return,
        };
        let (attribute, operator) = (&compared.attribute, compared.operator.as_str());
        let is_above = number > most || number == most && operator == ">";
        let is_below = number < least || number == least && operator == "<";
        if !is_above && !is_below {
            return;
        }
        let message = match operator {
            "<" | "<=" | ">" | ">=" => {
                format!(
                    "policy `{}` asks for `{attribute} {operator} {number}`, which is the same for every request",
                    self.about.id
                )
            }
            _ => format!("policy `{}` names {number}, which is not {}", self.about.id, compared.with.is_a()),
        };
        let place = self.script.place(self.about, attribute, &compared.literal.written());
        self.report.fault(place, message, words);
    }

    fn pattern(&mut self, compared: &Compared, pieces: &[Option<char>]) {
        let Some(mut known) = compared.with.words(self.names) else { return };
        if compared.with == Listed::Purpose {
            known.insert("");
        }
        if known.iter().any(|word| fits(pieces, word)) {
            return;
        }
        let written = compared.literal.written();
        let message = format!(
            "policy `{}` asks for {written}, which fits nothing that is {}",
            self.about.id,
            compared.with.is_a()
        );
        let place = self.script.place(self.about, &compared.attribute, &written);
        known.remove("");
        self.report.fault(place, message, &there_are(&known));
    }
}

impl Literal {
    /// As the token of a policy's text.
    fn written(&self) -> String {
        match self {
            Self::Text(text) => format!("\"{text}\""),
            Self::Number(number) => number.unsigned_abs().to_string(),
            Self::Pattern(pieces) => {
                let text: String = pieces.iter().map(|piece| piece.unwrap_or('*')).collect();
                format!("\"{text}\"")
            }
        }
    }
}

/// Whether a pattern of `like` fits the word.
fn fits(pieces: &[Option<char>], word: &str) -> bool {
    let word: Vec<char> = word.chars().collect();
    // Places of the word that the pieces so far can end at.
    let mut ends = vec![false; word.len() + 1];
    ends[0] = true;
    for piece in pieces {
        let mut next = vec![false; ends.len()];
        let mut is_behind = false;
        for place in 0..ends.len() {
            is_behind |= ends[place];
            next[place] = match piece {
                None => is_behind,
                Some(letter) => place.checked_sub(1).is_some_and(|before| ends[before] && word[before] == *letter),
            };
        }
        ends = next;
    }
    ends[word.len()]
}

/// What was probably meant, and what there is to choose from.
pub(super) fn remedy(word: &str, known: &BTreeSet<&str>) -> String {
    let lower = word.to_lowercase();
    let bound = (lower.chars().count() / 3).clamp(1, 4);
    let meant = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= bound)
        .min();
    match meant {
        Some((_, meant)) => format!("did you mean `{meant}`? {}", there_are(known)),
        None => there_are(known),
    }
}

fn there_are(known: &BTreeSet<&str>) -> String {
    let all: Vec<&str> = known.iter().copied().take(40).collect();
    if all.is_empty() { "there are none".to_owned() } else { format!("there are {}", all.join(", ")) }
}
