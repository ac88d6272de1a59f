//! What the lines say. No field here holds a prompt, a reply, a key or a token, and none may be added.
//!
//! Times are RFC 3339 in UTC with microseconds. Durations are milliseconds with up to three decimals. A field that
//! does not apply is left out.

mod lines;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use super::{BasisNote, PathNote, PlaceNote, stamp};
pub(super) use lines::{Entry, OutcomeLine, Seldom};

/// The decision on one request, written before anything of it is sent.
#[derive(Clone, Debug)]
pub struct Intent<'a> {
    /// The decision's id, which the answer carries as `x-causeway-decision`.
    pub decision: &'a str,
    /// When it arrived.
    pub at: SystemTime,
    /// How long it waited for a place: it was authorised again after that, and this is what was decided then.
    pub waited: Option<Duration>,
    /// The app that asked.
    pub app: &'a str,
    /// The team it belongs to.
    pub team: &'a str,
    /// The name of the key that was used, never the key.
    pub key: Option<&'a str>,
    /// The pseudonym of the user that the app asks for, where it names one and a key makes pseudonyms.
    pub user: Option<&'a str>,
    /// The model that was asked for.
    pub model: &'a str,
    /// The surface: `chat`, `responses`, ….
    pub api: &'a str,
    /// Whether the reply is to be streamed.
    pub stream: bool,
    /// The caller's address.
    pub peer: Option<IpAddr>,
    /// The W3C trace that it belongs to.
    pub trace: Option<[u8; 16]>,
    /// Hash of the policy set that decided.
    pub policy: &'a str,
    /// Version and hash of the data pack that its facts are from.
    pub pack: &'a str,
    /// Hash of the configuration that was in force.
    pub configuration: &'a str,
    /// Every target of the model, in or out, and why.
    pub candidates: &'a [CandidateNote<'a>],
    /// What the policies serve by which targets are in.
    pub basis: &'a [&'a BasisNote],
    /// The targets in the order in which they are to be tried.
    pub plan: &'a [&'a str],
    /// Why the first of them is the first.
    pub reason: &'a str,
    /// What was reserved for it.
    pub estimate: EstimateNote,
    /// The money that was reserved for it, in billionths of a dollar.
    pub money: u64,
    /// Date and hash of the price catalogue.
    pub prices: &'a str,
    /// What in the request asks for more than an answer.
    pub features: &'a [FeatureNote<'a>],
    /// What the data is.
    pub data: Option<DataNote<'a>>,
    /// What inspection found in the text, by kind.
    pub findings: &'a [FindingNote<'a>],
    /// The grant that two people opened and by which a target is permitted that policies do not permit.
    pub break_glass: Option<&'a str>,
    /// What was kept of the request, where its app's are.
    pub capture: Option<CaptureNote<'a>>,
}

/// What became of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureNote<'a> {
    /// It is kept; the SHA-256 of its file, in hex.
    Kept(&'a str),
    /// Only its beginning is; the SHA-256 of its file, and the reason in one word.
    Cut(&'a str, &'static str),
    /// It is not; the reason in one word.
    Failed(&'a str),
}

/// What the data of a request is: names that the configuration defines, never a value.
#[derive(Clone, Copy, Debug)]
pub struct DataNote<'a> {
    /// Labels, the app's own and those that the request added.
    pub labels: &'a [Arc<str>],
    /// Who says so, for each label in order: `registration`, `claims`, `route`, `header` or `metadata`, the first that does.
    /// Where there are fewer, the rest are of the registration.
    pub from: &'a [&'static str],
    /// How confidential it is.
    pub class: &'a str,
    /// Who says so, where it is not the registration.
    pub class_from: Option<&'static str>,
    /// The purpose that the request chose.
    pub purpose: Option<&'a str>,
    /// Who says so.
    pub purpose_from: Option<&'static str>,
}

/// One target that was considered.
#[derive(Clone, Copy, Debug, Default)]
pub struct CandidateNote<'a> {
    /// `endpoint/upstream-model`.
    pub target: &'a str,
    /// `in` or `out`.
    pub verdict: &'a str,
    /// The reason, in the words of the decision; empty when there is nothing to say.
    pub why: &'a str,
    /// What policies that are only proposed say of it, where that is something else: `in` or `out`, and why.
    pub proposed: Option<&'a str>,
    /// The model that it serves, where it stands behind the targets of the model that was asked for.
    pub fallback: Option<&'a str>,
    /// Who changed or extended a row of the data pack that it rests on, and why.
    pub facts: Option<&'a str>,
}

/// Tokens that were reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EstimateNote {
    /// Input tokens, estimated.
    pub input: u64,
    /// Output tokens, the most that the request may cause.
    pub output: u64,
}

/// One thing in the request that a policy has to grant.
#[derive(Clone, Copy, Debug)]
pub struct FeatureNote<'a> {
    /// The finding: `remote_url`, `hosted_tool:…`, `stored_state`.
    pub kind: &'a str,
    /// Where in the request it stands, as a JSON path; a place, never a value.
    pub path: &'a str,
}

/// How often one kind of thing was found in the text of a request.
#[derive(Clone, Copy, Debug)]
pub struct FindingNote<'a> {
    /// The finding: `iban`, `uninspected_media`, ….
    pub kind: &'a str,
    /// How often; never what or where exactly.
    pub count: u64,
    /// Policies did not see it, because it is suppressed for the app.
    pub suppressed: bool,
}

/// One attempt at one target.
#[derive(Clone, Debug)]
pub struct AttemptNote {
    /// `endpoint/upstream-model`.
    pub target: Arc<str>,
    /// The endpoint.
    pub endpoint: Arc<str>,
    /// Where it processes, as policy was told when it permitted the target.
    pub place: Option<PlaceNote>,
    /// The class of what happened: `success`, `refused`, `timeout_first_byte`, ….
    pub outcome: &'static str,
    /// The status of the reply, where one came.
    pub status: Option<u16>,
    /// The address that was dialled.
    pub address: Option<SocketAddr>,
    /// How much is known of the path: `address`, `route` or `cloud`.
    pub evidence: Option<&'static str>,
    /// The code of the failure catalogue, where the path to the endpoint was to blame.
    pub verdict: Option<&'static str>,
    /// What is known of the connection.
    pub path: Option<PathNote>,
    /// How long the attempt took.
    pub took: Duration,
    /// What this attempt used, where the reply says.
    pub usage: Option<UsageNote>,
    /// Whether the upstream may have done (and may bill) the work.
    pub may_have_executed: bool,
    /// What went there in place of people, and came back of places.
    pub seen: SeenNote,
}

/// What went to an endpoint in place of people, and what came back of places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenNote {
    /// Whether the name of the user went as a `pseudonym` or `as_sent`; none where the request names nobody.
    pub user: Option<&'static str>,
    /// Where the answer says it was made, each with what says so: a header, or `usage.inference_geo`.
    pub places: Vec<(&'static str, Arc<str>)>,
}

/// Tokens as the upstream counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageNote {
    /// Input tokens, cached ones included.
    pub input: u64,
    /// Output tokens, reasoning included.
    pub output: u64,
    /// Input tokens that came from the upstream's cache.
    pub cached_input: u64,
    /// Output tokens that were reasoning.
    pub reasoning: u64,
}

/// How the answer to the caller ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

impl End {
    fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Error => "error",
            Self::Disconnected => "disconnected",
            Self::Abandoned => "abandoned",
            Self::Truncated => "truncated",
        }
    }
}

/// How a request ended. The attempts are added by [`OpenRecord::attempt`](super::OpenRecord::attempt).
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// When it ended.
    pub at: SystemTime,
    /// The status that the caller got; none when no head was sent.
    pub status: Option<u16>,
    /// Our stable error code, when the answer was ours.
    pub code: Option<&'a str>,
    /// What was settled.
    pub usage: Option<UsageNote>,
    /// What the settlement rests on: `reported`, `reservation` or `not_sent`.
    pub settled_by: &'a str,
    /// Tokens charged beside `usage` for attempts that may have been executed and failed: what each stated, or its reservation.
    pub lost_tokens: u64,
    /// What the request is charged with, in billionths of a dollar, lost attempts included.
    pub charged: u64,
    /// Whether that follows from a known price; otherwise it is what was reserved.
    pub priced: bool,
    /// Time to the first byte of the body towards the caller.
    pub to_first_byte: Option<Duration>,
    /// Time from the arrival of the request to its end.
    pub total: Duration,
    /// How the answer ended.
    pub end: End,
}

/// A request that was refused after its caller was known; nothing of it was sent.
#[derive(Clone, Debug)]
pub struct Refused<'a> {
    /// The decision's id.
    pub decision: &'a str,
    /// When it was refused.
    pub at: SystemTime,
    /// The app that asked.
    pub app: &'a str,
    /// The team it belongs to.
    pub team: &'a str,
    /// The name of the key that was used, never the key.
    pub key: Option<&'a str>,
    /// The model that was asked for, as far as the request was read.
    pub model: Option<&'a str>,
    /// The surface, where it was known.
    pub api: Option<&'a str>,
    /// The caller's address.
    pub peer: Option<IpAddr>,
    /// The W3C trace that it belongs to.
    pub trace: Option<[u8; 16]>,
    /// Hash of the policy set that was in force.
    pub policy: &'a str,
    /// Version and hash of the data pack that its facts are from.
    pub pack: &'a str,
    /// Hash of the configuration that was in force.
    pub configuration: &'a str,
    /// The status of the answer.
    pub status: u16,
    /// The stable code of the answer.
    pub code: &'a str,
    /// Every target that was considered, and why it was out; empty when it did not come to that.
    pub candidates: &'a [CandidateNote<'a>],
    /// What the policies serve that decided on them.
    pub basis: &'a [&'a BasisNote],
    /// What in the request asked for more than an answer.
    pub features: &'a [FeatureNote<'a>],
    /// What the data is, as far as it came to that.
    pub data: Option<DataNote<'a>>,
    /// What inspection found in the text, by kind.
    pub findings: &'a [FindingNote<'a>],
}

/// An administrative action.
#[derive(Clone, Debug, Serialize)]
pub struct AdminEvent<'a> {
    /// When it happened.
    #[serde(serialize_with = "stamp::serialize")]
    pub at: SystemTime,
    /// What was done: `start`, `reload`, `reload_refused`, `drain`, ….
    pub action: &'a str,
    /// Who asked for it: `signal`, `file`, or the name of an administrator, with `/` and the person where its token names one.
    pub actor: &'a str,
    /// Whether it took effect.
    pub done: bool,
    /// Hash of the configuration that is in force afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configuration: Option<&'a str>,
    /// More in words: names and places, no values.
    #[serde(skip_serializing_if = "str::is_empty", serialize_with = "clipped")]
    pub detail: &'a str,
}

/// Most bytes of a detail: a configuration may have more mistakes than an entry can hold.
const MOST_DETAIL: usize = 8 * 1024;

fn clipped<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    match text.get(..text.floor_char_boundary(MOST_DETAIL)) {
        Some(start) if start.len() < text.len() => serializer.serialize_str(&format!("{start}…")),
        _ => serializer.serialize_str(text),
    }
}

#[cfg(test)]
mod tests;
