//! The document as a tree of values that know where they stand.

use std::borrow::Cow;
use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

/// Where a value begins: the number of its file in the sources, line and column from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    pub(super) file: usize,
    pub(super) line: u32,
    pub(super) column: u32,
}

/// A value and where it begins.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) mark: Mark,
    pub(super) value: Value,
}

/// A value of TOML. Numbers keep their digits: nothing passes through a float.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    /// `None` where it does not fit; nothing in the document comes near.
    Integer(Option<i128>),
    Decimal(String),
    Boolean(bool),
    Moment(String),
    List(Vec<Node>),
    Table(Table),
    /// Something stands here that could not be read.
    Torn,
}

/// A table, by key.
pub(super) type Table = BTreeMap<String, Entry>;

/// A key of a table with its value. The key's place is kept for what is wrong with the key itself.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: Mark,
    pub(super) node: Node,
}

impl Value {
    /// What a person calls such a value.
    pub(super) fn describe(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Decimal(_) => "a decimal number",
            Self::Boolean(_) => "a boolean",
            Self::Moment(_) => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Torn => "unreadable",
        }
    }
}

/// A place in the tree that a check has walked to. A step to something absent stays where it is.
///
/// So a check can name the setting it is about, and the reader is led to it or to the table that lacks it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    node: Option<&'a Node>,
    mark: Mark,
    key: Mark,
}

impl<'a> Cursor<'a> {
    pub(super) fn root(node: &'a Node) -> Self {
        Self { node: Some(node), mark: node.mark, key: node.mark }
    }

    /// Steps into the table to `key`.
    pub(super) fn at(self, key: &str) -> Self {
        match self.node.map(|node| &node.value) {
            Some(Value::Table(table)) => match table.get(key) {
                Some(entry) => Self { node: Some(&entry.node), mark: entry.node.mark, key: entry.key },
                None => Self { node: None, ..self },
            },
            _ => Self { node: None, ..self },
        }
    }

    /// Steps into the list to the value at `index`.
    pub(super) fn item(self, index: usize) -> Self {
        match self.node.map(|node| &node.value) {
            Some(Value::List(items)) => match items.get(index) {
                Some(node) => Self { node: Some(node), mark: node.mark, key: node.mark },
                None => Self { node: None, ..self },
            },
            _ => Self { node: None, ..self },
        }
    }

    /// Where the value begins.
    pub(super) fn mark(self) -> Mark {
        self.mark
    }

    /// Where the key of the value begins.
    pub(super) fn key(self) -> Mark {
        self.key
    }

    /// Whether the document holds this place.
    pub(super) fn exists(self) -> bool {
        self.node.is_some()
    }

    /// The keys of the table at this place.
    pub(super) fn keys(self) -> impl Iterator<Item = &'a str> + Clone {
        let table = match self.node.map(|node| &node.value) {
            Some(Value::Table(table)) => Some(table),
            _ => None,
        };
        table.into_iter().flat_map(|table| table.keys().map(String::as_str))
    }
}

/// Turns byte offsets into lines and columns.
pub(super) struct Lines<'a> {
    file: usize,
    text: &'a str,
    starts: Cow<'a, [usize]>,
    /// Where in the file the offsets begin that are asked for.
    base: usize,
}

impl<'a> Lines<'a> {
    pub(super) fn new(file: usize, text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(index, _)| index + 1);
        Self { file, text, starts: std::iter::once(0).chain(ends).collect(), base: 0 }
    }

    /// The same lines for a reader that begins at `base` of the file.
    pub(super) fn from(&self, base: usize) -> Lines<'_> {
        Lines { file: self.file, text: self.text, starts: Cow::Borrowed(&self.starts), base }
    }

    pub(super) fn mark(&self, offset: usize) -> Mark {
        let offset = self.base + offset;
        let line = self.starts.partition_point(|start| *start <= offset).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        let before = self.text.get(start..offset.min(self.text.len())).unwrap_or("");
        let column = before.chars().count() + 1;
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        Mark { file: self.file, line: number(line), column: number(column) }
    }
}

/// Takes over what the parser read. Its own bound on nesting bounds the recursion here.
pub(super) fn from_toml(table: &DeTable<'_>, lines: &Lines<'_>) -> Table {
    let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
        let key: &toml::Spanned<Cow<'_, str>> = key;
        let mark = lines.mark(value.span().start);
        let node = Node { mark, value: from_value(value.get_ref(), lines) };
        (key.get_ref().to_string(), Entry { key: lines.mark(key.span().start), node })
    };
    table.iter().map(entry).collect()
}

fn from_value(value: &DeValue<'_>, lines: &Lines<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => Value::Integer(i128::from_str_radix(number.as_str(), number.radix()).ok()),
        DeValue::Float(number) => Value::Decimal(number.as_str().to_owned()),
        DeValue::Boolean(value) => Value::Boolean(*value),
        DeValue::Datetime(moment) => Value::Moment(moment.to_string()),
        DeValue::Array(items) => {
            let node = |item: &toml::Spanned<DeValue<'_>>| Node {
                mark: lines.mark(item.span().start),
                value: from_value(item.get_ref(), lines),
            };
            Value::List(items.iter().map(node).collect())
        }
        DeValue::Table(table) => Value::Table(from_toml(table, lines)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_not_bytes() {
        let lines = Lines::new(0, "a = \"é\" # x\nb = 1\n");

        assert_eq!(lines.mark(4), Mark { file: 0, line: 1, column: 5 });
        assert_eq!(lines.mark(9), Mark { file: 0, line: 1, column: 9 });
        assert_eq!(lines.mark(13), Mark { file: 0, line: 2, column: 1 });
    }

    #[test]
    fn a_decimal_keeps_its_digits() {
        let text = "a = 2.50\nb = 1_000.5\n";

        let table = from_toml(DeTable::parse(text).unwrap().get_ref(), &Lines::new(0, text));

        assert!(matches!(&table["a"].node.value, Value::Decimal(digits) if digits == "2.50"));
        assert!(matches!(&table["b"].node.value, Value::Decimal(digits) if digits == "1000.5"));
    }
}
