//! What the lines say. No field here holds a prompt, a reply, a key or a token, and none may be added.
//!
//! Times are RFC 3339 in UTC with microseconds. Durations are milliseconds with up to three decimals. A field that
//! does not apply is left out.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use super::stamp;

/// The decision on one request, written before anything of it is sent.
#[derive(Clone, Debug, Serialize)]
pub struct Intent<'a> {
    /// The decision's id, which the answer carries as `x-causeway-decision`.
    pub decision: &'a str,
    /// When it was decided.
    #[serde(serialize_with = "stamp::serialize")]
    pub at: SystemTime,
    /// The app that asked.
    pub app: &'a str,
    /// The team it belongs to.
    pub team: &'a str,
    /// The name of the key that was used, never the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<&'a str>,
    /// The model that was asked for.
    pub model: &'a str,
    /// The surface: `chat`, `responses`, ….
    pub api: &'a str,
    /// Whether the reply is to be streamed.
    pub stream: bool,
    /// The caller's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<IpAddr>,
    /// Hash of the policy set that decided.
    pub policy: &'a str,
    /// Hash of the configuration that was in force.
    pub configuration: &'a str,
    /// Every target of the model, in or out, and why.
    pub candidates: &'a [CandidateNote<'a>],
    /// The targets in the order in which they are to be tried.
    pub plan: &'a [&'a str],
    /// What was reserved for it.
    pub estimate: EstimateNote,
    /// What in the request asks for more than an answer.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub features: &'a [FeatureNote<'a>],
}

/// One target that was considered.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CandidateNote<'a> {
    /// `endpoint/upstream-model`.
    pub target: &'a str,
    /// `in` or `out`.
    pub verdict: &'a str,
    /// The reason, in the words of the decision; empty when there is nothing to say.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub why: &'a str,
}

/// Tokens that were reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EstimateNote {
    /// Input tokens, estimated.
    pub input: u64,
    /// Output tokens, the most that the request may cause.
    pub output: u64,
}

/// One thing in the request that a policy has to grant.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct FeatureNote<'a> {
    /// The finding: `remote_url`, `hosted_tool:…`, `stored_state`.
    pub kind: &'a str,
    /// Where in the request it stands, as a JSON path; a place, never a value.
    pub path: &'a str,
}

/// One attempt at one target.
#[derive(Clone, Debug, Serialize)]
pub struct AttemptNote {
    /// `endpoint/upstream-model`.
    pub target: Arc<str>,
    /// The endpoint.
    pub endpoint: Arc<str>,
    /// The class of what happened: `success`, `refused`, `timeout_first_byte`, ….
    pub outcome: &'static str,
    /// The status of the reply, where one came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The address that was dialled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// How much is known of the path: `address`, `route` or `cloud`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<&'static str>,
    /// How long the attempt took.
    #[serde(rename = "ms", serialize_with = "milliseconds")]
    pub took: Duration,
    /// What this attempt used, where the reply says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageNote>,
    /// Whether the upstream may have done (and may bill) the work.
    pub may_have_executed: bool,
}

/// Tokens as the upstream counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UsageNote {
    /// Input tokens, cached ones included.
    pub input: u64,
    /// Output tokens, reasoning included.
    pub output: u64,
    /// Input tokens that came from the upstream's cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub cached_input: u64,
    /// Output tokens that were reasoning.
    #[serde(skip_serializing_if = "is_zero")]
    pub reasoning: u64,
}

/// How the answer to the caller ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The whole reply was delivered.
    Complete,
    /// The caller got an error.
    Error,
    /// The caller left before the end.
    Disconnected,
    /// Nobody said how it ended: the task was dropped.
    Abandoned,
    /// The upstream stopped in the middle of a stream.
    Truncated,
}

/// How a request ended. The attempts are added by [`OpenRecord::attempt`](super::OpenRecord::attempt).
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Outcome<'a> {
    /// When it ended.
    #[serde(serialize_with = "stamp::serialize")]
    pub at: SystemTime,
    /// The status that the caller got; none when no head was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Our stable error code, when the answer was ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'a str>,
    /// What was settled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageNote>,
    /// What the settlement rests on: `reported`, `reservation` or `not_sent`.
    pub settled_by: &'a str,
    /// Time to the first byte of the body towards the caller.
    #[serde(
        rename = "ms_to_first_byte",
        serialize_with = "optional_milliseconds",
        skip_serializing_if = "Option::is_none"
    )]
    pub to_first_byte: Option<Duration>,
    /// Time from the arrival of the request to its end.
    #[serde(rename = "ms_total", serialize_with = "milliseconds")]
    pub total: Duration,
    /// How the answer ended.
    pub end: End,
}

/// A request that was refused after its caller was known; nothing of it was sent.
#[derive(Clone, Debug, Serialize)]
pub struct Refused<'a> {
    /// The decision's id.
    pub decision: &'a str,
    /// When it was refused.
    #[serde(serialize_with = "stamp::serialize")]
    pub at: SystemTime,
    /// The app that asked.
    pub app: &'a str,
    /// The team it belongs to.
    pub team: &'a str,
    /// The name of the key that was used, never the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<&'a str>,
    /// The model that was asked for, as far as the request was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<&'a str>,
    /// The surface, where it was known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<&'a str>,
    /// The caller's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<IpAddr>,
    /// Hash of the policy set that was in force.
    pub policy: &'a str,
    /// Hash of the configuration that was in force.
    pub configuration: &'a str,
    /// The status of the answer.
    pub status: u16,
    /// The stable code of the answer.
    pub code: &'a str,
    /// Every target that was considered, and why it was out; empty when it did not come to that.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub candidates: &'a [CandidateNote<'a>],
    /// What in the request asked for more than an answer.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub features: &'a [FeatureNote<'a>],
}

/// An administrative action.
#[derive(Clone, Debug, Serialize)]
pub struct AdminEvent<'a> {
    /// When it happened.
    #[serde(serialize_with = "stamp::serialize")]
    pub at: SystemTime,
    /// What was done: `start`, `reload`, `reload_refused`, `drain`, ….
    pub action: &'a str,
    /// Who asked for it: `signal`, `file`, or the name of an administrator.
    pub actor: &'a str,
    /// Whether it took effect.
    pub done: bool,
    /// Hash of the configuration that is in force afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configuration: Option<&'a str>,
    /// More in words: names and places, no values.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub detail: &'a str,
}

/// The line of an outcome: whose it is, the attempts, and how it ended.
#[derive(Debug)]
pub(super) struct OutcomeLine<'a> {
    pub(super) decision: &'a str,
    pub(super) attempts: &'a [AttemptNote],
    pub(super) outcome: Outcome<'a>,
}

impl Serialize for OutcomeLine<'_> {
    // By hand, because `flatten` would go through a map and costs a third more on the hot path.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;

        let mut line = serializer.serialize_struct("OutcomeLine", 3)?;
        line.serialize_field("decision", self.decision)?;
        line.serialize_field("outcome", &self.outcome)?;
        line.serialize_field("attempts", self.attempts)?;
        line.end()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    // Exact up to 2^53 microseconds, which is 285 years.
    serializer.serialize_f64(duration.as_micros() as f64 / 1000.0)
}

fn optional_milliseconds<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => milliseconds(duration, serializer),
        None => serializer.serialize_none(),
    }
}
