//! The JSON Schema of the document, for editors.

use std::collections::BTreeMap;

use serde_json::Value;

use super::document::Document;

/// JSON Schema (draft 2020-12) of the document.
///
/// It fits one file of a folder as well as a whole document, so it requires no section; `causeway check` does.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(Document).to_value();
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), Value::from("Causeway configuration"));
    }
    sorted(schema)
}

/// The same text every time, whatever other crates switch on in `serde_json`.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let ordered: BTreeMap<String, Value> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(ordered.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_refuses_what_the_document_does_not_know() {
        let schema = schema();

        assert_eq!(schema["title"], "Causeway configuration");
        assert_eq!(schema["additionalProperties"], false);
        assert!(schema["properties"]["endpoint"]["additionalProperties"]["$ref"].is_string());
        assert_eq!(schema["$defs"]["Endpoint"]["additionalProperties"], false);
        let required = schema["$defs"]["Endpoint"]["required"].as_array().unwrap();
        assert_eq!(required, &["provider", "url", "reach"]);
        assert!(!schema.to_string().contains("\"number\",\"null\""), "money is never a bare float");
    }

    #[test]
    fn the_schema_is_the_same_every_time() {
        assert_eq!(schema().to_string(), schema().to_string());
    }
}
