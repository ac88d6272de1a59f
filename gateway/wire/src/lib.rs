//! What the words mean: the API dialects that callers and upstreams speak, and the framing of their streams.
//!
//! The crate reads a request once ([`decode`]), shapes it for a target by splicing a few bytes ([`Dialect::encode`]), cuts
//! and relays streams without rewriting them ([`SseFramer`], [`StreamRelay`]), reads what a reply cost ([`Usage`]) and says
//! what a failed attempt means ([`outcome()`]).
//!
//! # Promises
//!
//! - What goes upstream is the caller's bytes, but for stated splices; what comes back is the upstream's bytes, but for a
//!   usage chunk that nobody asked for.
//! - JSON is read strictly: whatever two parsers could read differently (a key that comes twice, a key that differs from
//!   one that matters in case only) is refused and not guessed at.
//! - A model name never chooses a path, and a caller's header never carries a credential upstream.
//! - Every list that a request or a stream can make longer has a bound.
//!
//! # What it does not do
//!
//! No I/O, no clock, no task: time comes in as an argument. It holds no secret, translates no dialect into another, and
//! does not judge a finding; that is policy's.

mod answer;
mod api;
mod decode;
mod errors;
#[doc(hidden)]
pub mod fuzz;
mod headers;
pub mod json;
mod outcome;
mod providers;
mod relay;
mod route;
mod signals;
mod sse;
mod usage;

pub use api::{Api, ErrorShape};
pub use decode::{Call, DecodeError, Feature, FeatureKind, ServiceTier, decode};
pub use errors::{ApiError, Code, error_body, error_event};
pub use headers::{forward_request_headers, forward_response_headers, retry_after};
pub use outcome::{Outcome, Retry, TimeoutKind, outcome};
pub use providers::{CredentialForm, Dialect, EncodeTarget, EncodedBody, OnDisconnect, dialect, dialects, with_query};
pub use relay::{ErrorKind, RelayOptions, Relayed, StreamEnd, StreamRelay, UpstreamErrorEvent};
pub use route::{Route, RouteError, route, shape_of};
pub use signals::{
    ASK_FOR_LOAD, DEPLOYMENT_HEADER, GEO_MEMBER, REGION_HEADER, Said, deployment_said, geo_said, geo_said_first,
    region_said, said_by,
};
pub use sse::{DEFAULT_MAX_FRAME, Frame, SseError, SseFramer};
pub use usage::{Usage, usage_of_reply};
