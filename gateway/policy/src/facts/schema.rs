//! The JSON Schema of the data pack's files, for whoever edits or audits them.
//!
//! It is made from the types that read the pack, so that it can say neither more nor less than they take; beyond that it
//! knows the forms of days, countries and hashes. `policies/data/schema.json` is a copy, held to it by a test. What ties one row
//! to another (a source that exists, an id that stands once) no schema can say: `Pack::read` checks it.

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::pack::{FORMAT, GroupsFile, ManifestFile, PlacesFile, RegionsFile};

/// JSON Schema (draft 2020-12) of `pack.json`, `regions.json`, `groups.json` and `places.json`: each file is one of the four.
#[must_use]
pub fn pack_schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let files = [
        generator.subschema_for::<ManifestFile>(),
        generator.subschema_for::<RegionsFile>(),
        generator.subschema_for::<GroupsFile>(),
        generator.subschema_for::<PlacesFile>(),
    ];
    sorted(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Causeway data pack",
        "description": "Each file of policies/data is one of these four.",
        "oneOf": files,
        "$defs": generator.take_definitions(true),
    }))
}

/// The same text every time, whatever other crates switch on in `serde_json`.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<(String, Value)> =
                members.into_iter().map(|(name, value)| (name, sorted(value))).collect();
            members.sort_by(|(one, _), (other, _)| one.cmp(other));
            Value::Object(members.into_iter().collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// The format that this version reads.
pub(super) fn format(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "const": FORMAT })
}

/// A day, `2027-05-08`.
pub(super) fn day(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$" })
}

/// A country by its ISO 3166-1 code of two letters; `ZZ` is anywhere.
pub(super) fn country(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": "^[A-Z]{2}$" })
}

/// Countries by their codes.
pub(super) fn countries(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": country(generator), "uniqueItems": true })
}

/// Files and their SHA-256 in hex.
pub(super) fn hashes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": false,
        "required": ["regions.json", "groups.json", "places.json"],
        "patternProperties": { "^(regions|groups|places)\\.json$": { "type": "string", "pattern": "^[0-9a-f]{64}$" } },
    })
}

#[cfg(test)]
mod tests;
