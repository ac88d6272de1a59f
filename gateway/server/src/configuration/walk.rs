//! Holds the tree against the shape of the document: unknown settings, wrong types, missing settings, all of them.
//!
//! What comes out is the part of the document that is in order, so that the checks after it can go on where one
//! setting was wrong. Whatever had a mistake is remembered as *damaged*: a check that would conclude something from
//! what is absent there leaves it alone, or one slip of the fingers would be reported five times.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use super::document::{Decimal, Document};
use super::mistakes::{MistakeKind, remedy_for, suggest};
use super::read::Tree;
use super::report::{Report, quote};
use super::shape::{DOCUMENT, Field, Shape, Variant};
use super::tree::{Entry, Node, Table, Value};

/// The part of a document that is in order.
#[derive(Debug, Default)]
pub(super) struct Walked {
    pub(super) document: Document,
    damaged: BTreeSet<(String, String)>,
}

impl Walked {
    /// Whether nothing was wrong with the form of `[section.name]`, or of `[section]` where `name` is empty.
    pub(super) fn is_whole(&self, section: &str, name: &str) -> bool {
        !self.damaged.contains(&(section.to_owned(), name.to_owned()))
    }

    /// Whether nothing was wrong with the form of anything in `[section.*]`.
    pub(super) fn all_whole(&self, section: &str) -> bool {
        !self.damaged.iter().any(|(damaged, _)| damaged == section)
    }
}

/// Reports every mistake of form and gives back the rest.
pub(super) fn walk(tree: &Tree, report: &mut Report) -> Walked {
    let mut walk = Walk { report, damaged: BTreeSet::new(), is_torn: false };
    let value = walk.sections(tree.node());
    let damaged = walk.damaged;
    match serde_json::from_value(Json::Object(value)) {
        Ok(document) => Walked { document, damaged },
        Err(error) => {
            // The shape is made from the very structs, so this is a mistake of ours; refusing is the safe answer to it.
            report.mistake(MistakeKind::Form, tree.node().mark, format!("the document does not fit: {error}"));
            Walked { damaged, ..Walked::default() }
        }
    }
}

struct Walk<'a> {
    report: &'a mut Report,
    damaged: BTreeSet<(String, String)>,
    /// Whether something unreadable was met since this was last asked.
    is_torn: bool,
}

impl Walk<'_> {
    fn sections(&mut self, root: &Node) -> Map<String, Json> {
        let mut whole = Map::new();
        let Value::Table(table) = &root.value else { return whole };
        for (section, entry) in table {
            let Some(field) = DOCUMENT.fields().iter().find(|field| field.name == *section) else {
                self.unknown_section(section, entry);
                continue;
            };
            let value = match (&field.shape, &entry.node.value) {
                (Shape::Named(shape), Value::Table(names)) => Some(self.names(section, names, shape)),
                (shape, _) => {
                    let before = self.report.mistakes.len();
                    let value = self.value(&entry.node, shape, section);
                    self.mark_damage(section, "", before);
                    value
                }
            };
            whole.extend(value.map(|value| (section.clone(), value)));
        }
        whole
    }

    fn unknown_section(&mut self, section: &str, entry: &Entry) {
        let sections = DOCUMENT.fields().iter().map(|field| field.name.as_str());
        let remedy = remedy_for(section, sections.clone(), "the reference of the configuration lists the sections");
        let message = format!("{} is not a section of the document", quote(section));
        self.report.mend(MistakeKind::Form, entry.key, message, remedy);
        // Nothing can be concluded from what is absent in the section that was meant.
        if let Some(meant) = suggest(section, sections) {
            self.damaged.insert((meant.to_owned(), String::new()));
        }
    }

    fn names(&mut self, section: &str, names: &Table, shape: &Shape) -> Json {
        let mut values = Map::new();
        for (name, entry) in names {
            let before = self.report.mistakes.len();
            let value = self.value(&entry.node, shape, &format!("{section}.{name}"));
            self.mark_damage(section, name, before);
            values.extend(value.map(|value| (name.clone(), value)));
        }
        Json::Object(values)
    }

    fn mark_damage(&mut self, section: &str, name: &str, mistakes_before: usize) {
        let is_torn = std::mem::take(&mut self.is_torn);
        if is_torn || self.report.mistakes.len() > mistakes_before {
            self.damaged.insert((section.to_owned(), name.to_owned()));
        }
    }

    fn value(&mut self, node: &Node, shape: &Shape, path: &str) -> Option<Json> {
        match (shape, &node.value) {
            (Shape::Text, Value::Text(text)) => Some(Json::from(text.as_str())),
            (Shape::Moment, Value::Text(text) | Value::Moment(text)) => Some(Json::from(text.as_str())),
            (Shape::Boolean, Value::Boolean(value)) => Some(Json::Bool(*value)),
            (Shape::Integer { least, most }, Value::Integer(number)) => {
                self.integer(node, *number, (*least, *most), path)
            }
            (Shape::Decimal, Value::Text(text) | Value::Decimal(text)) => self.decimal(node, text, path),
            (Shape::Decimal, Value::Integer(Some(number))) => self.decimal(node, &number.to_string(), path),
            (Shape::Word(words), Value::Text(text)) => self.word(node, text, words, path),
            (Shape::List(shape), Value::List(items)) => self.list(items, shape, path),
            (Shape::Named(shape), Value::Table(table)) => self.inner_names(table, shape, path),
            (Shape::Table(fields), Value::Table(table)) => self.table(node, table, fields, path),
            (Shape::Choice(ways), Value::Table(table)) => self.choice(node, table, ways, path),
            (Shape::Choice(ways), Value::Text(text)) => self.bare_choice(node, text, ways, path),
            (_, Value::Torn) => {
                self.is_torn = true;
                None
            }
            (shape, value) => {
                let message = format!("`{path}` is {}", value.describe());
                self.report.mend(MistakeKind::Form, node.mark, message, format!("it takes {}", shape.describe()));
                None
            }
        }
    }

    fn integer(&mut self, node: &Node, number: Option<i128>, (least, most): (i128, i128), path: &str) -> Option<Json> {
        let fitting = number.filter(|number| (least..=most).contains(number));
        if let Some(value) = fitting.and_then(|number| i64::try_from(number).ok()) {
            return Some(Json::from(value));
        }
        let shown = number.map_or("too large a number".to_owned(), |number| number.to_string());
        let remedy = match number {
            Some(number) if number < least => format!("it takes {}", Shape::Integer { least, most }.describe()),
            _ => format!("it takes an integer of at most {most}"),
        };
        self.report.mend(MistakeKind::Form, node.mark, format!("`{path}` is {shown}"), remedy);
        None
    }

    fn decimal(&mut self, node: &Node, text: &str, path: &str) -> Option<Json> {
        if Decimal::parse(text).is_some() {
            return Some(Json::from(text));
        }
        let remedy = format!("it takes digits with at most {} decimals, such as 2.75", Decimal::PLACES);
        self.report.mend(MistakeKind::Form, node.mark, format!("`{path}` is {}", quote(text)), remedy);
        None
    }

    fn word(&mut self, node: &Node, text: &str, words: &[Variant], path: &str) -> Option<Json> {
        if words.iter().any(|word| word.name == text) {
            return Some(Json::from(text));
        }
        let known = words.iter().map(|word| word.name.as_str());
        let remedy = remedy_for(text, known, "");
        self.report.mend(MistakeKind::Form, node.mark, format!("`{path}` does not know {}", quote(text)), remedy);
        None
    }

    /// A list with one bad item is left out whole, so that the places of the others stay right.
    fn list(&mut self, items: &[Node], shape: &Shape, path: &str) -> Option<Json> {
        let values: Vec<Option<Json>> = items
            .iter()
            .enumerate()
            .map(|(index, item)| self.value(item, shape, &format!("{path}[{index}]")))
            .collect();
        values.into_iter().collect::<Option<Vec<Json>>>().map(Json::Array)
    }

    fn inner_names(&mut self, table: &Table, shape: &Shape, path: &str) -> Option<Json> {
        let mut values = Map::new();
        for (name, entry) in table {
            let value = self.value(&entry.node, shape, &format!("{path}.{name}"));
            values.extend(value.map(|value| (name.clone(), value)));
        }
        Some(Json::Object(values))
    }

    fn table(&mut self, node: &Node, table: &Table, fields: &[Field], path: &str) -> Option<Json> {
        for (key, entry) in table {
            if !fields.iter().any(|field| field.name == *key) {
                let remedy =
                    remedy_for(key, fields.iter().map(|field| field.name.as_str()), "the reference lists its settings");
                let message = format!("`{path}` has no setting {}", quote(key));
                self.report.mend(MistakeKind::Form, entry.key, message, remedy);
            }
        }
        let mut values = Map::new();
        let mut is_usable = true;
        for field in fields {
            let value = match table.get(&field.name) {
                Some(entry) => self.value(&entry.node, &field.shape, &format!("{path}.{}", field.name)),
                None => {
                    if field.required {
                        let message = format!("`{path}` lacks `{}`, which is required", field.name);
                        let remedy = format!("it takes {}", field.shape.describe());
                        self.report.mend(MistakeKind::Form, node.mark, message, remedy);
                    }
                    None
                }
            };
            is_usable &= value.is_some() || !field.required;
            values.extend(value.map(|value| (field.name.clone(), value)));
        }
        is_usable.then_some(Json::Object(values))
    }

    fn choice(&mut self, node: &Node, table: &Table, ways: &[Variant], path: &str) -> Option<Json> {
        for (key, entry) in table {
            if !ways.iter().any(|way| way.name == *key) {
                let remedy = remedy_for(key, ways.iter().map(|way| way.name.as_str()), "");
                self.report.mend(
                    MistakeKind::Form,
                    entry.key,
                    format!("`{path}` does not know {}", quote(key)),
                    remedy,
                );
                return None;
            }
        }
        let mut chosen = table.iter();
        let (Some((key, entry)), None) = (chosen.next(), chosen.next()) else {
            let message =
                if table.is_empty() { format!("`{path}` is empty") } else { format!("`{path}` says two things") };
            let remedy = format!("it takes {}", Shape::Choice(ways.to_vec()).describe());
            self.report.mend(MistakeKind::Form, node.mark, message, remedy);
            return None;
        };
        let body = ways.iter().find(|way| way.name == *key)?.body.as_ref()?;
        let value = self.value(&entry.node, body, &format!("{path}.{key}"))?;
        Some(Json::Object(Map::from_iter([(key.clone(), value)])))
    }

    /// A word where a table with that one key belongs is the most likely slip of all.
    fn bare_choice(&mut self, node: &Node, text: &str, ways: &[Variant], path: &str) -> Option<Json> {
        // The string may be a key that somebody wrote where its place belongs, so it is never shown.
        let remedy = match ways.iter().find(|way| way.name == text) {
            Some(way) => match &way.body {
                Some(Shape::Table(fields)) if fields.is_empty() => format!("write `{{ {text} = {{}} }}`"),
                Some(Shape::Table(_)) => format!("write `{{ {text} = {{ … }} }}`"),
                _ => format!("write `{{ {text} = … }}`"),
            },
            None => format!("it takes {}", Shape::Choice(ways.to_vec()).describe()),
        };
        self.report.mend(MistakeKind::Form, node.mark, format!("`{path}` is a string"), remedy);
        None
    }
}
