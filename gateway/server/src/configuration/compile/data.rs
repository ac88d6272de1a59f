//! What is known of an app's data beyond its labels.

use std::time::SystemTime;

use inspection::TextKind;
use telemetry::capture::Rules;

use super::super::document::Class;

/// What is known of an app's data beyond its labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataConfig {
    /// What claims of its tokens say, at most 64.
    pub claims: Vec<ClaimConfig>,
    /// Names of users go to other sites as they came, and not as pseudonyms.
    pub users_as_sent: bool,
    /// Kinds of finding that policies do not see for a while, at most 32.
    pub suppressed: Vec<SuppressionConfig>,
    /// How its prompts and answers are kept; they are not where absent.
    pub capture: Option<CaptureConfig>,
}

/// How prompts and answers are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureConfig {
    /// For whom, how long and how much.
    pub rules: Rules,
    /// Whether a request that cannot be kept is refused.
    pub refuses: bool,
}

/// What one value of a claim says of the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimConfig {
    /// The claim.
    pub claim: String,
    /// Its value, or one of them.
    pub value: String,
    /// Labels that it adds.
    pub labels: Vec<String>,
    /// How confidential the data is at least.
    pub class: Option<Class>,
    /// The purpose.
    pub purpose: Option<String>,
}

/// A kind of finding that policies do not see for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuppressionConfig {
    /// The kind.
    pub kind: TextKind,
    /// From this instant on policies see it again.
    pub until: SystemTime,
    /// Who answers for it.
    pub owner: String,
    /// Why it is false.
    pub because: String,
}

impl DataConfig {
    /// The suppression of `kind` that holds at `now`.
    #[must_use]
    pub fn suppression(&self, kind: TextKind, now: SystemTime) -> Option<&SuppressionConfig> {
        self.suppressed.iter().find(|one| one.kind == kind && now < one.until)
    }
}
