//! The schema of the document in the form in which the walk and the reference page read it.
//!
//! It is made from the JSON Schema that `schemars` derives from the structs, so that there is one description of the
//! document and not three. Only what those structs use is understood; anything else is a mistake of ours that the tests
//! find, for every document goes through here.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::document::Document;

/// What a value may be.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    Text,
    Decimal,
    Moment,
    Boolean,
    Integer {
        least: i128,
        most: i128,
    },
    /// One of some words.
    Word(Vec<Variant>),
    List(Box<Shape>),
    /// A table whose keys are names.
    Named(Box<Shape>),
    Table(Vec<Field>),
    /// A table with exactly one of some keys.
    Choice(Vec<Variant>),
}

/// A setting of a table.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) doc: String,
    pub(super) required: bool,
    pub(super) shape: Shape,
    /// What the shape says of itself, where it is a type with a comment.
    pub(super) about: String,
}

/// One way of a choice.
#[derive(Clone, Debug)]
pub(super) struct Variant {
    pub(super) name: String,
    pub(super) doc: String,
    /// What stands behind the name; nothing behind a word.
    pub(super) body: Option<Shape>,
}

/// The whole document: a table of sections.
pub(super) static DOCUMENT: LazyLock<Shape> = LazyLock::new(|| {
    let schema = schemars::schema_for!(Document).to_value();
    let definitions = schema.get("$defs").and_then(Value::as_object).cloned().unwrap_or_default();
    Reader { definitions: &definitions }.shape(&schema)
});

impl Shape {
    /// The settings, where this is a table.
    pub(super) fn fields(&self) -> &[Field] {
        match self {
            Self::Table(fields) => fields,
            _ => &[],
        }
    }

    /// What a person is told that belongs here.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Text => "a string".to_owned(),
            Self::Decimal => "an integer or a decimal number".to_owned(),
            Self::Moment => "a date".to_owned(),
            Self::Boolean => "`true` or `false`".to_owned(),
            Self::Integer { least, most } if *most >= i128::from(u32::MAX) => format!("an integer of at least {least}"),
            Self::Integer { least, most } => format!("an integer from {least} to {most}"),
            Self::Word(variants) => {
                let words: Vec<String> = variants.iter().map(|variant| format!("`\"{}\"`", variant.name)).collect();
                one_of(&words)
            }
            Self::List(_) => "a list".to_owned(),
            Self::Named(_) | Self::Table(_) => "a table".to_owned(),
            Self::Choice(variants) => {
                let ways: Vec<String> =
                    variants.iter().map(|variant| format!("`{{ {} = … }}`", variant.name)).collect();
                one_of(&ways)
            }
        }
    }
}

fn one_of(ways: &[String]) -> String {
    match ways {
        [only] => only.clone(),
        [first, second] => format!("{first} or {second}"),
        _ => format!("one of {}", ways.join(", ")),
    }
}

struct Reader<'a> {
    definitions: &'a Map<String, Value>,
}

impl<'a> Reader<'a> {
    fn shape(&self, schema: &'a Value) -> Shape {
        let schema = self.follow(schema);
        if let Some(ways) = schema.get("oneOf").and_then(Value::as_array) {
            return self.choice(ways);
        }
        if let Some(words) = schema.get("enum").and_then(Value::as_array) {
            let word = |word: &Value| Variant { name: text(word), doc: String::new(), body: None };
            return Shape::Word(words.iter().map(word).collect());
        }
        match schema.get("format").and_then(Value::as_str) {
            Some("decimal") => return Shape::Decimal,
            Some("date-time") => return Shape::Moment,
            _ => {}
        }
        match self.kind(schema) {
            "boolean" => Shape::Boolean,
            "integer" => integer(schema),
            "array" => Shape::List(Box::new(self.shape(schema.get("items").unwrap_or(&Value::Null)))),
            "object" => self.table(schema),
            _ => Shape::Text,
        }
    }

    /// Goes through references, and through the `null` that an optional setting also has in JSON and not in TOML.
    fn follow(&self, mut schema: &'a Value) -> &'a Value {
        loop {
            let reference = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix("#/$defs/"));
            if let Some(target) = reference.and_then(|name| self.definitions.get(name)) {
                schema = target;
            } else if let Some(real) = schema
                .get("anyOf")
                .and_then(Value::as_array)
                .and_then(|ways| ways.iter().find(|way| way.get("type").and_then(Value::as_str) != Some("null")))
            {
                schema = real;
            } else {
                return schema;
            }
        }
    }

    fn kind(&self, schema: &'a Value) -> &'a str {
        match schema.get("type") {
            Some(Value::String(kind)) => kind,
            Some(Value::Array(kinds)) => {
                kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or("")
            }
            _ => "",
        }
    }

    fn table(&self, schema: &'a Value) -> Shape {
        if let Some(values @ Value::Object(_)) = schema.get("additionalProperties") {
            return Shape::Named(Box::new(self.shape(values)));
        }
        let required: Vec<&str> = match schema.get("required").and_then(Value::as_array) {
            Some(names) => names.iter().filter_map(Value::as_str).collect(),
            None => Vec::new(),
        };
        let properties = schema.get("properties").and_then(Value::as_object);
        let field = |(name, schema): (&String, &'a Value)| Field {
            name: name.clone(),
            doc: description(schema),
            required: required.contains(&name.as_str()),
            shape: self.shape(schema),
            about: self.about(schema),
        };
        let mut fields: Vec<Field> = properties.into_iter().flatten().map(field).collect();
        // The order must not hang on the features that other crates switch on in `serde_json`.
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        Shape::Table(fields)
    }

    /// The comment on the type of a setting, or on the type of what a table of names holds.
    fn about(&self, schema: &'a Value) -> String {
        let schema = self.follow(schema);
        match schema.get("additionalProperties") {
            Some(values @ Value::Object(_)) => description(self.follow(values)),
            _ => description(schema),
        }
    }

    fn choice(&self, ways: &'a [Value]) -> Shape {
        let mut words = true;
        let mut variants = Vec::new();
        for way in ways {
            let doc = description(way);
            if let Some(word) = way.get("const") {
                variants.push(Variant { name: text(word), doc, body: None });
                continue;
            }
            words = false;
            for (name, body) in way.get("properties").and_then(Value::as_object).into_iter().flatten() {
                variants.push(Variant { name: name.clone(), doc: doc.clone(), body: Some(self.shape(body)) });
            }
        }
        if words { Shape::Word(variants) } else { Shape::Choice(variants) }
    }
}

fn integer(schema: &Value) -> Shape {
    let bound = |name: &str| schema.get(name).and_then(Value::as_i64).map(i128::from);
    let format_most = match schema.get("format").and_then(Value::as_str) {
        Some("uint32") => i128::from(u32::MAX),
        _ => i128::from(i64::MAX),
    };
    Shape::Integer { least: bound("minimum").unwrap_or(0), most: bound("maximum").unwrap_or(format_most) }
}

fn description(schema: &Value) -> String {
    schema.get("description").map(text).unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each(shape: &Shape, path: &str, visit: &mut dyn FnMut(&str, &Field)) {
        match shape {
            Shape::List(inner) | Shape::Named(inner) => each(inner, &format!("{path}.*"), visit),
            Shape::Table(fields) => {
                for field in fields {
                    let path = format!("{path}.{}", field.name);
                    visit(&path, field);
                    each(&field.shape, &path, visit);
                }
            }
            Shape::Choice(variants) => {
                for variant in variants {
                    each(variant.body.as_ref().unwrap(), &format!("{path}.{}", variant.name), visit);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn every_setting_says_what_it_does_and_what_holds_without_it() {
        let mut lacking = Vec::new();

        each(&DOCUMENT, "", &mut |path, field| {
            let says = field.required
                || ["default", "Absent", "Required", "Needs", "Only"].iter().any(|word| field.doc.contains(word));
            let is_group = field.about.len() > 1 && !matches!(field.shape, Shape::Word(_));
            if field.doc.is_empty() || !(says || is_group || path.ends_with("_per_million")) {
                lacking.push(path.to_owned());
            }
        });

        assert_eq!(lacking, [""; 0]);
    }

    #[test]
    fn a_millisecond_says_so_in_its_text() {
        each(&DOCUMENT, "", &mut |path, field| {
            if path.ends_with("_ms") {
                assert!(field.doc.to_lowercase().contains("millisecond"), "{path}");
            }
        });
    }
}
