//! What is asked of routing: the request in numbers, and what its model's configuration wants.

use std::time::Duration;

use accounting::Tokens;
use policy::TargetId;

/// A request, as far as routing is concerned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ask {
    /// What it is expected to use.
    pub expected: Expected,
    /// Whether somebody waits for it.
    pub class: Class,
    /// How long it has waited since it arrived.
    pub waited: Duration,
    /// Where its session was served last, and how much of its prompt may lie in that target's cache.
    pub session: Option<Prefix>,
    /// A number drawn evenly from all `u32`, for targets that take a share; the same request keeps its number.
    pub draw: u32,
}

/// Tokens that a request is expected to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Tokens read by the model.
    pub prompt: Tokens,
    /// Tokens written by the model, on the average of such requests: what a call is likely to cost.
    pub output: Tokens,
    /// Tokens written by the model at most: what a provider holds against its quota.
    pub at_most: Tokens,
}

/// What a target may already hold of a request's prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The target that served the session, or that would serve a new one.
    pub target: TargetId,
    /// Tokens of the prompt that it has seen before.
    pub tokens: Tokens,
}

/// Whether somebody waits for the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Class {
    /// Somebody waits: the first token should come within the model's target.
    #[default]
    Interactive,
    /// Nobody waits: it takes what the others leave over, and must be on its way at 90 % of its deadline.
    Batch,
}

impl Class {
    /// The name used in the configuration and in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Batch => "batch",
        }
    }
}

/// Who goes first where requests wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Before all others.
    High,
    /// As most are.
    #[default]
    Normal,
    /// After all others.
    Low,
}

impl Priority {
    /// Class and priority behind an `OpenAI` `service_tier`; nothing for a word that it does not know.
    ///
    /// The four words are those of the API reference: `auto`, `default`, `flex` (slower and cheaper), `priority`.
    #[must_use]
    pub fn of_service_tier(tier: &str) -> Option<(Class, Self)> {
        match tier {
            "auto" | "default" => Some((Class::Interactive, Self::Normal)),
            "priority" => Some((Class::Interactive, Self::High)),
            "flex" => Some((Class::Batch, Self::Low)),
            _ => None,
        }
    }
}

/// What the configuration of a model wants of its routing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Knobs {
    /// Time in which the first token should come. Without it nothing is too slow, and saturation sends nothing elsewhere.
    pub first_token: Option<Duration>,
    /// Time that each further token should take at most; [`DEFAULT_PER_TOKEN`].
    pub per_token: Duration,
    /// Share of the requests that may miss these times: 0.05 for a 95th percentile, at least 0.001.
    pub miss_budget: f64,
    /// When a batch request must have an answer at the latest, counted from its arrival. Without it, it waits for
    /// [`DEFAULT_DEADLINE`]. For an interactive request: how long it may wait for a place, at first its first-token time.
    pub deadline: Option<Duration>,
    /// What decides among the targets that are fast enough.
    pub prefer: Prefer,
    /// Whether saturation may send requests to targets that charge by the token.
    pub burst: Burst,
}

/// 100 ms: ten tokens a second, faster than people read.
pub const DEFAULT_PER_TOKEN: Duration = Duration::from_millis(100);

/// How long a batch request may take where its deadline is not set.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(3_600);

impl Default for Knobs {
    /// No first-token target, a miss budget of 1 %, cost before latency, burst allowed.
    fn default() -> Self {
        Self {
            first_token: None,
            per_token: DEFAULT_PER_TOKEN,
            miss_budget: 0.01,
            deadline: None,
            prefer: Prefer::Cost,
            burst: Burst::Allowed,
        }
    }
}

/// What decides among the targets that are fast enough: `prefer`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Prefer {
    /// Own capacity first, then the cheapest.
    #[default]
    Cost,
    /// The one whose first token is expected soonest.
    Latency,
}

/// Whether saturation may cost money: `burst`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Burst {
    /// What own capacity cannot serve in time goes to the cheapest target that can.
    #[default]
    Allowed,
    /// Targets that charge by the token stay out wherever the permit covers own capacity, also when that fails.
    Never,
}
