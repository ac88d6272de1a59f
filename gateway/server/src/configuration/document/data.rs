//! What the security team says of an app's data beyond its labels.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Class, Moment};

/// What a claim of a verified token says of the data: at least one of these. It only adds.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimMeaning {
    /// Labels of the data. Absent: none.
    pub labels: Option<Vec<String>>,
    /// How confidential the data is at least. Absent: nothing is said.
    pub class: Option<Class>,
    /// The purpose, one of the app's `purposes`; `x-causeway-purpose` may be left out then and must not name another. Absent:
    /// nothing is said.
    pub purpose: Option<String>,
}

/// What endpoints beyond one's own sites are shown where a request names a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Users {
    /// A pseudonym, the same for the same user of this app as long as the key is the same.
    #[default]
    Pseudonym,
    /// The name as the app sent it.
    AsSent,
}

/// A kind of finding that policies do not see for a while, because it is known to be false in this app's requests.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Suppression {
    /// When policies see it again: at most 366 days ahead. Required.
    pub until: Moment,
    /// Who answers for it. Required.
    pub owner: String,
    /// Why it is false, in at least ten characters. Required.
    pub because: String,
}

/// Prompts and answers that are kept for whoever holds a private key.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Capture {
    /// Public keys of `age`, each `"age1…"`; whoever has the private half of one of them can read what is kept. Required, at
    /// most 8. `age-keygen` makes a pair.
    pub to: Vec<String>,
    /// Days for which it is kept; whole days are removed then. Required.
    #[schemars(range(min = 1, max = 3_650))]
    pub days: u32,
    /// What becomes of a request that cannot be kept; default `"refuse"`.
    pub on_failure: Option<OnCaptureFailure>,
    /// Most that is kept of one day, in MiB; default 1024. What would pass it cannot be kept.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub mib_per_day: Option<u32>,
}

/// What becomes of a request that cannot be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnCaptureFailure {
    /// It is refused with 503 `audit_unavailable`, before anything of it is sent. An answer that cannot be kept is flagged.
    #[default]
    Refuse,
    /// It is answered, and its record says that it was not kept and why.
    Flag,
}
