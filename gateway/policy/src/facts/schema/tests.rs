use serde_json::json;

use super::super::PackFiles;
use super::*;

const SHIPPED: &str = include_str!("../../../../../policies/data/schema.json");

/// What is wrong with `value` by `schema`. Knows the words that the schema uses, and fails at any other: a word that nobody
/// looks at would make the test say more than it has seen.
fn faults(value: &Value, schema: &Value, root: &Value, at: &str) -> Vec<String> {
    let words = match schema {
        Value::Object(words) => words,
        Value::Bool(true) => return Vec::new(),
        _ => return vec![format!("{at}: nothing is allowed here")],
    };
    let mut all = Vec::new();
    for (word, says) in words {
        match word.as_str() {
            "$schema" | "$defs" | "title" | "description" | "default" | "format" | "minimum" => {}
            // Said by the members' own words below.
            "patternProperties" | "additionalProperties" => {}
            "$ref" => {
                let pointer = says.as_str().and_then(|says| says.strip_prefix('#')).expect("references stay within");
                all.extend(faults(value, root.pointer(pointer).expect("it is defined"), root, at));
            }
            "type" => all.extend((!is_of(value, says)).then(|| format!("{at}: {value} is no {says}"))),
            "const" => all.extend((value != says).then(|| format!("{at}: {value} is not {says}"))),
            "enum" => {
                let known = says.as_array().is_some_and(|known| known.contains(value));
                all.extend((!known).then(|| format!("{at}: {value} is none of {says}")));
            }
            "oneOf" | "anyOf" => {
                let fitting =
                    says.as_array().into_iter().flatten().filter(|one| faults(value, one, root, at).is_empty());
                let count = fitting.count();
                let fits = if word == "oneOf" { count == 1 } else { count > 0 };
                all.extend((!fits).then(|| format!("{at}: {count} of the choices fit")));
            }
            "required" => {
                let names = says.as_array().into_iter().flatten().filter_map(Value::as_str);
                all.extend(names.filter(|name| value.get(name).is_none()).map(|name| format!("{at}: no `{name}`")));
            }
            "properties" => all.extend(members(value, words, root, at)),
            "items" => {
                let items = value.as_array().into_iter().flatten().enumerate();
                all.extend(items.flat_map(|(index, item)| faults(item, says, root, &format!("{at}[{index}]"))));
            }
            "uniqueItems" => {
                let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
                let twice = items.iter().enumerate().find(|(index, item)| items[..*index].contains(item));
                all.extend(twice.map(|(_, item)| format!("{at}: {item} stands twice")));
            }
            "pattern" => {
                all.extend((!matches(value, says)).then(|| format!("{at}: {value} is not of the form {says}")));
            }
            other => panic!("{at}: the test does not know `{other}`"),
        }
    }
    if !words.contains_key("properties") && words.contains_key("additionalProperties") {
        all.extend(members(value, words, root, at));
    }
    all
}

fn members(value: &Value, words: &Map<String, Value>, root: &Value, at: &str) -> Vec<String> {
    let others = words.get("additionalProperties").unwrap_or(&Value::Bool(true));
    let known = |name: &str| {
        let by_name = words.get("properties").and_then(|known| known.get(name));
        let mut by_form = words.get("patternProperties").and_then(Value::as_object).into_iter().flatten();
        let fits = |form: &String| matches(&name.into(), &form.as_str().into());
        by_name.or_else(|| by_form.find(|(form, _)| fits(form)).map(|(_, one)| one))
    };
    let all = value.as_object().into_iter().flatten();
    all.flat_map(|(name, one)| faults(one, known(name).unwrap_or(others), root, &format!("{at}.{name}"))).collect()
}

fn is_of(value: &Value, types: &Value) -> bool {
    let one = |name: &Value| match name.as_str().expect("a type is a name") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "null" => value.is_null(),
        other => panic!("the test does not know the type `{other}`"),
    };
    types.as_array().map_or_else(|| one(types), |types| types.iter().any(one))
}

/// The four forms that the schema has; any other fails.
fn matches(value: &Value, form: &Value) -> bool {
    let Some(text) = value.as_str() else { return true };
    match form.as_str().expect("a form is a text") {
        "^[0-9]{4}-[0-9]{2}-[0-9]{2}$" => {
            text.len() == 10
                && text.bytes().enumerate().all(
                    |(at, byte)| {
                        if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() }
                    },
                )
        }
        "^[A-Z]{2}$" => text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase()),
        "^[0-9a-f]{64}$" => text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
        "^(regions|groups|places)\\.json$" => ["regions.json", "groups.json", "places.json"].contains(&text),
        other => panic!("the test does not know the form `{other}`"),
    }
}

fn of_pack(value: &Value) -> Vec<String> {
    let schema = pack_schema();
    faults(value, &schema, &schema, "$")
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("the shipped files are JSON")
}

#[test]
fn the_shipped_schema_is_the_one_that_the_types_give() {
    // Made anew by: causeway schema --data-pack > policies/data/schema.json
    assert_eq!(SHIPPED, format!("{:#}\n", pack_schema()));
}

#[test]
fn every_file_of_the_shipped_pack_fits_the_schema() {
    let PackFiles { manifest, regions, groups, places } = PackFiles::SHIPPED;

    for text in [manifest, regions, groups, places] {
        assert_eq!(of_pack(&parsed(text)), [""; 0]);
    }
}

#[test]
fn what_the_pack_s_reader_refuses_fits_none_of_the_four() {
    let PackFiles { manifest, regions, groups, places } = PackFiles::SHIPPED;
    let changed = |text: &str, pointer: &str, to: Value| {
        let mut value = parsed(text);
        *value.pointer_mut(pointer).expect("the file has it") = to;
        value
    };
    let wrong = [
        changed(manifest, "/format", json!(2)),
        changed(manifest, "/files/places.json", json!("abc")),
        changed(manifest, "/files", json!({ "places.json": "0".repeat(64) })),
        changed(regions, "/regions/0/country", json!("se")),
        changed(regions, "/regions/0", json!({ "cloud": "azure" })),
        changed(regions, "/valid_until", json!("next year")),
        changed(groups, "/groups/EEA/countries/0", json!("Austria")),
        changed(places, "/rows/0/processing/is", json!("somewhere")),
        changed(places, "/rows/0/retention_days/is", json!("a month")),
        changed(places, "/rows/0/training/is", json!("no")),
        changed(places, "/rows/0/when", json!({ "skuu": "Standard" })),
        changed(places, "/rows/0/access", json!({ "is": "region" })),
    ];

    for value in wrong {
        assert_eq!(of_pack(&value), ["$: 0 of the choices fit"]);
    }
}
