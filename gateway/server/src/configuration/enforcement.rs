//! Which settings have an effect in this version, and which are read ahead of the part that gives them one.
//!
//! What narrows where data may go or who somebody is comes into the schema together with the part that enforces it, so that
//! until then it is an unknown setting and a mistake: a promise must never be silently unkept. What only steers cost, speed or
//! bookkeeping may be declared before, and is listed. A test holds this table against the schema, so that a new setting cannot
//! be forgotten here.

use std::collections::BTreeMap;

use super::compile::Known;
use super::mistakes::NoteKind;
use super::read::Tree;
use super::report::Report;
use super::shape::{DOCUMENT, Shape};
use super::tree::{Mark, Node, Value};

/// What becomes of a setting in this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has its effect.
    Enforced,
    /// It has none, and the document says so in a note.
    #[expect(
        dead_code,
        reason = "whatever is accepted has its effect today; what is declared ahead of its part stands here"
    )]
    Noted(&'static str),
}

use Standing::{Enforced, Noted};

/// Every setting by its path: `*` is a name, `=x` one value of it. The longest entry that fits decides.
const TABLE: &[(&str, Standing)] = &[
    ("listen", Enforced),
    ("admin", Enforced),
    ("administrator", Enforced),
    ("health", Enforced),
    ("state", Enforced),
    ("replicas=false", Enforced),
    ("replicas=true", Enforced),
    ("store", Enforced),
    ("ledger", Enforced),
    ("resolver", Enforced),
    ("service", Enforced),
    ("site", Enforced),
    ("identity", Enforced),
    ("control", Enforced),
    ("endpoint.*.provider", Enforced),
    ("endpoint.*.url", Enforced),
    ("endpoint.*.reach.local", Enforced),
    ("endpoint.*.reach.public", Enforced),
    ("endpoint.*.reach.private-link", Enforced),
    ("endpoint.*.place", Enforced),
    ("endpoint.*.control", Enforced),
    ("endpoint.*.preview", Enforced),
    ("endpoint.*.capacity", Enforced),
    ("endpoint.*.cost", Enforced),
    ("endpoint.*.signals", Enforced),
    ("endpoint.*.auth.key", Enforced),
    ("endpoint.*.auth.managed-identity", Enforced),
    ("endpoint.*.auth.workload-identity", Enforced),
    ("endpoint.*.auth.client-certificate", Enforced),
    ("endpoint.*.auth.client-secret", Enforced),
    ("endpoint.*.tls", Enforced),
    ("endpoint.*.transport", Enforced),
    ("endpoint.*.quota", Enforced),
    ("endpoint.*.apis", Enforced),
    ("endpoint.*.api_version", Enforced),
    ("endpoint.*.timeouts", Enforced),
    ("endpoint.*.pool", Enforced),
    ("endpoint.*.http2", Enforced),
    ("endpoint.*.health", Enforced),
    ("endpoint.*.canary", Enforced),
    ("endpoint.*.via", Enforced),
    ("endpoint.*.trace_context", Enforced),
    ("telemetry", Enforced),
    ("model.*.targets", Enforced),
    ("model.*.first_token", Enforced),
    ("model.*.deadline_ms", Enforced),
    ("model.*.prefer", Enforced),
    ("model.*.burst", Enforced),
    ("model.*.traffic", Enforced),
    ("model.*.shares", Enforced),
    ("model.*.fallbacks", Enforced),
    ("model.*.limits", Enforced),
    ("model.*.labels", Enforced),
    ("model.*.class", Enforced),
    ("issuer", Enforced),
    ("app.*.team", Enforced),
    ("app.*.keys", Enforced),
    ("app.*.jwt", Enforced),
    ("app.*.certificate", Enforced),
    ("app.*.models", Enforced),
    ("app.*.traffic", Enforced),
    ("app.*.explain", Enforced),
    ("app.*.capture", Enforced),
    ("app.*.limits.requests_per_minute", Enforced),
    ("app.*.limits.requests_per_second", Enforced),
    ("app.*.limits.in_flight", Enforced),
    ("app.*.limits.user_requests_per_minute", Enforced),
    ("app.*.limits.user_requests_per_second", Enforced),
    ("app.*.limits.output_tokens", Enforced),
    ("app.*.limits.tokens_per_minute", Enforced),
    ("app.*.limits.usd_per_month", Enforced),
    ("key.*.app", Enforced),
    ("key.*.digest", Enforced),
    ("key.*.expires", Enforced),
    ("key.*.models", Enforced),
    ("key.*.limits.requests_per_minute", Enforced),
    ("key.*.limits.requests_per_second", Enforced),
    ("key.*.limits.in_flight", Enforced),
    ("key.*.limits.user_requests_per_minute", Enforced),
    ("key.*.limits.user_requests_per_second", Enforced),
    ("key.*.limits.output_tokens", Enforced),
    ("key.*.limits.tokens_per_minute", Enforced),
    ("key.*.limits.usd_per_month", Enforced),
    ("budget", Enforced),
    ("webhook", Enforced),
    ("policy", Enforced),
    ("fact", Enforced),
    ("group", Enforced),
    ("label", Enforced),
    ("recogniser", Enforced),
    ("data", Enforced),
    ("prices", Enforced),
    ("audit.durability=os", Enforced),
    ("audit.durability=disk", Enforced),
    ("audit.refuse_from=public", Enforced),
    ("audit.refuse_from=internal", Enforced),
    ("audit.refuse_from=confidential", Enforced),
    ("audit.refuse_from=secret", Enforced),
    ("audit.witness.folder", Enforced),
    ("audit.witness.http", Enforced),
    ("audit.witness.s3", Enforced),
    ("audit.witness.azure-blob", Enforced),
    ("audit.origin", Enforced),
    ("audit.origins", Enforced),
    ("audit.signing_key", Enforced),
    ("audit.pseudonyms", Enforced),
    ("audit.retention", Enforced),
    ("evidence", Enforced),
    ("authors", Enforced),
];

/// The standing of the setting at `path`, whose value is `word` where that can matter.
pub(super) fn standing(path: &str, word: Option<&str>, known: &Known<'_>) -> Option<Standing> {
    let valued = word.map(|word| format!("{path}={word}"));
    let mut next = Some(path);
    let mut ways: Vec<&str> = valued.as_deref().into_iter().collect();
    while let Some(path) = next {
        ways.push(path);
        next = path.rsplit_once('.').map(|(parent, _)| parent);
    }
    if ways.iter().any(|way| known.enforced.contains(way)) {
        return Some(Enforced);
    }
    ways.iter().find_map(|way| TABLE.iter().find(|(pattern, _)| pattern == way)).map(|(_, standing)| *standing)
}

/// Reports every setting of the document that has no effect yet.
pub(super) fn check(tree: &Tree, known: &Known<'_>, report: &mut Report) {
    let mut survey = Survey { known, noted: BTreeMap::new() };
    survey.visit(tree.node(), &DOCUMENT, &Path::default());
    for (setting, Places { mark, why, names }) in survey.noted {
        let where_ = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
        report.note(NoteKind::NotEnforced, mark, format!("`{setting}`{where_} is not enforced yet: {why}"), None);
    }
}

/// Where a setting without effect was seen.
struct Places {
    mark: Mark,
    why: &'static str,
    names: Vec<String>,
}

/// A path with `*` for names, as the table has it, and the first of the names, for people.
#[derive(Clone, Default)]
struct Path {
    pattern: String,
    name: Option<String>,
}

impl Path {
    fn key(&self, key: &str) -> Self {
        Self { pattern: join(&self.pattern, key), name: self.name.clone() }
    }

    fn name(&self, name: &str) -> Self {
        let outer = self.name.clone().unwrap_or_else(|| name.to_owned());
        Self { pattern: join(&self.pattern, "*"), name: Some(outer) }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

struct Survey<'a, 'b> {
    known: &'a Known<'b>,
    noted: BTreeMap<String, Places>,
}

impl Survey<'_, '_> {
    /// Goes to the leaves. Mistakes of form are reported elsewhere; what does not fit is passed over.
    fn visit(&mut self, node: &Node, shape: &Shape, path: &Path) {
        match (shape, &node.value) {
            (Shape::Table(fields), Value::Table(table)) if !fields.is_empty() => {
                for field in fields {
                    if let Some(entry) = table.get(&field.name) {
                        self.visit(&entry.node, &field.shape, &path.key(&field.name));
                    }
                }
            }
            (Shape::Choice(ways), Value::Table(table)) => {
                for way in ways {
                    if let (Some(entry), Some(body)) = (table.get(&way.name), &way.body) {
                        self.visit(&entry.node, body, &path.key(&way.name));
                    }
                }
            }
            (Shape::Named(shape), Value::Table(table)) => {
                for (name, entry) in table {
                    self.visit(&entry.node, shape, &path.name(name));
                }
            }
            // An empty list asks for nothing.
            (Shape::List(_), Value::List(items)) if items.is_empty() => {}
            (_, Value::Torn) => {}
            (_, Value::Text(word)) => self.leaf(node.mark, path, Some(word)),
            (_, Value::Boolean(value)) => self.leaf(node.mark, path, Some(if *value { "true" } else { "false" })),
            _ => self.leaf(node.mark, path, None),
        }
    }

    fn leaf(&mut self, mark: Mark, path: &Path, word: Option<&str>) {
        match standing(&path.pattern, word, self.known) {
            None | Some(Enforced) => {}
            Some(Noted(why)) => {
                let setting = TABLE
                    .iter()
                    .map(|(pattern, _)| *pattern)
                    .filter(|pattern| path.pattern == *pattern || path.pattern.starts_with(&format!("{pattern}.")))
                    .max_by_key(|pattern| pattern.len())
                    .unwrap_or(&path.pattern);
                let places = self.noted.entry(setting.to_owned()).or_insert(Places { mark, why, names: Vec::new() });
                places.mark = places.mark.min(mark);
                places.names.extend(path.name.clone().filter(|name| !places.names.contains(name)));
            }
        }
    }
}

/// What the reference page says of a setting.
pub(super) fn remark(path: &str) -> &'static str {
    match standing(path, None, &Known::default()) {
        Some(Noted(_)) => "not yet",
        Some(Enforced) | None => "yes",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every leaf of the schema, with each of its words where it takes words.
    fn leaves(shape: &Shape, path: &str, found: &mut Vec<(String, Option<String>)>) {
        match shape {
            Shape::Table(fields) if !fields.is_empty() => {
                fields.iter().for_each(|field| leaves(&field.shape, &join(path, &field.name), found));
            }
            Shape::Choice(ways) => {
                ways.iter().for_each(|way| leaves(way.body.as_ref().unwrap(), &join(path, &way.name), found));
            }
            Shape::Named(inner) => leaves(inner, &join(path, "*"), found),
            Shape::Word(words) => {
                found.extend(words.iter().map(|word| (path.to_owned(), Some(word.name.clone()))));
            }
            Shape::Boolean => found.extend(["true", "false"].map(|word| (path.to_owned(), Some(word.to_owned())))),
            _ => found.push((path.to_owned(), None)),
        }
    }

    #[test]
    fn every_setting_has_a_standing() {
        let mut found = Vec::new();
        leaves(&DOCUMENT, "", &mut found);

        let known = Known::default();
        let lacking: Vec<_> =
            found.iter().filter(|(path, word)| standing(path, word.as_deref(), &known).is_none()).collect();

        assert!(found.len() > 90, "{}", found.len());
        assert!(lacking.is_empty(), "{lacking:?}");
    }

    #[test]
    fn every_line_of_the_table_is_a_setting() {
        let mut found = Vec::new();
        leaves(&DOCUMENT, "", &mut found);

        for (pattern, _) in TABLE {
            let fits = |(path, word): &(String, Option<String>)| {
                let valued = word.as_ref().map(|word| format!("{path}={word}"));
                path == pattern || path.starts_with(&format!("{pattern}.")) || valued.as_deref() == Some(pattern)
            };
            assert!(found.iter().any(fits), "{pattern}");
        }
    }
}
