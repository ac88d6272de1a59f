//! What ships in `policies/`, embedded, so that the gateway is safe without a folder.

use std::sync::LazyLock;

use cedar_policy::Schema;

use super::PolicyFile;

/// Constant for the life of the process: what was compiled in.
static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let (schema, _) = Schema::from_cedarschema_str(SCHEMA_TEXT).expect("the shipped schema is read by a test");
    schema
});

/// The text of `policies/schema.cedarschema`.
pub(super) const SCHEMA_TEXT: &str = include_str!("../../../../policies/schema.cedarschema");

/// The schema that every policy is valid against: it says what the gateway fills in.
#[must_use]
pub(super) fn shipped_schema() -> &'static Schema {
    &SCHEMA
}

macro_rules! file {
    ($name:literal) => {
        PolicyFile { name: $name, text: include_str!(concat!("../../../../policies/", $name)) }
    };
}

/// The shipped policies. The first file holds the grants, the others take away from them.
pub const SHIPPED: &[PolicyFile<'static>] =
    &[file!("10-grants.cedar"), file!("20-residency.cedar"), file!("30-confidentiality.cedar")];

/// The schema, to be written beside policies of one's own.
pub const SHIPPED_SCHEMA: PolicyFile<'static> = PolicyFile { name: "schema.cedarschema", text: SCHEMA_TEXT };

/// The shipped goals: what is proved of the shipped policies.
pub const SHIPPED_GOALS: &[PolicyFile<'static>] = &[
    file!("goals/card-numbers-leave-redacted.cedar"),
    file!("goals/confidential-data-never-crosses-the-internet.cedar"),
    file!("goals/features-only-where-granted.cedar"),
    file!("goals/labelled-data-goes-to-known-places.cedar"),
    file!("goals/labelled-data-trains-nothing.cedar"),
    file!("goals/only-approved-targets.cedar"),
    file!("goals/personal-data-is-kept-in-the-eea.cedar"),
    file!("goals/personal-data-is-processed-in-the-eea.cedar"),
    file!("goals/personal-data-is-read-from-the-eea.cedar"),
    file!("goals/secrets-stay-at-home.cedar"),
    file!("goals/special-categories-answer-to-no-third-country.cedar"),
    file!("goals/unlabelled-data-goes-nowhere.cedar"),
];

/// The shipped decision tables, and the fleet that they are about.
pub const SHIPPED_TESTS: &[PolicyFile<'static>] = &[file!("tests/decisions.csv"), file!("tests/fleet.toml")];
