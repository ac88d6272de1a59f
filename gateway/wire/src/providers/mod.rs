//! The dialects that upstreams speak. A provider is one folder and one line in [`DIALECTS`].
//!
//! Nobody outside this crate can tell one dialect from another: what differs is stated as data (paths, headers, the form
//! of the credential, what to do on a disconnect), and requests are shaped here.

mod anthropic;
mod azure_openai;
mod openai;
mod paths;
mod splice;

use std::time::Duration;

use bytes::Bytes;

use crate::{Api, Call};

pub use paths::with_query;

/// Every dialect. The order is the one in which lists show them.
static DIALECTS: [&'static dyn Dialect; 3] = [&openai::OpenAi, &azure_openai::AzureOpenAi, &anthropic::Anthropic];

/// How one kind of provider wants to be spoken to.
pub trait Dialect: Sync + Send {
    /// The word behind `provider =` in the configuration.
    fn name(&self) -> &'static str;

    /// The APIs that an endpoint of this provider speaks where its configuration does not say.
    fn default_apis(&self) -> &'static [Api];

    /// Where the credential goes. The secret itself never comes to this crate.
    fn credential(&self) -> CredentialForm;

    /// What to do with the upstream call when the caller leaves; the implementation's comment says what it costs.
    fn on_disconnect(&self) -> OnDisconnect;

    /// Path and query below the endpoint's base URL, beginning with a slash.
    ///
    /// The model is percent-encoded and cannot add a path segment or a query.
    fn path(&self, api: Api, upstream_model: &str, api_version: Option<&str>) -> String;

    /// Headers that the provider demands, sent where the caller gave none of that name.
    fn required_headers(&self) -> &'static [(&'static str, &'static str)];

    /// The member that bounds the output of a chat, where the caller has written none.
    fn bounds_chats_by(&self) -> &'static str {
        "max_tokens"
    }

    /// The request's body for one target: the caller's bytes with the few splices that the target needs.
    fn encode(&self, call: &Call, target: &EncodeTarget<'_>) -> EncodedBody;
}

/// The dialect with this name in the configuration.
#[must_use]
pub fn dialect(name: &str) -> Option<&'static dyn Dialect> {
    dialects().find(|dialect| dialect.name() == name)
}

/// All dialects.
pub fn dialects() -> impl Iterator<Item = &'static dyn Dialect> {
    DIALECTS.iter().copied()
}

/// A credential, stated as data; the sender fills in the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialForm {
    /// A header with `prefix` in front of the secret.
    Header {
        /// The header's name, in lower case.
        name: &'static str,
        /// What stands before the secret, for example `Bearer ` with its space.
        prefix: &'static str,
    },
}

/// What becomes of a running upstream call when the caller has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDisconnect {
    /// Close the upstream stream at once.
    Cancel,
    /// Read on to the end, to learn the usage.
    Drain {
        /// Then give up all the same.
        at_most: Duration,
    },
}

/// What encoding needs to know of the target.
#[derive(Debug, Clone, Copy)]
pub struct EncodeTarget<'a> {
    /// The model's name at this endpoint.
    pub upstream_model: &'a str,
    /// Whether policy grants `keep_state` here.
    pub keep_state: bool,
    /// The most output tokens that the request may ask for here. A bound of the caller's that is tighter stands.
    pub most_output: Option<u64>,
}

/// A body for the wire, in pieces: slices of what the caller sent, with splices between.
#[derive(Debug, Clone)]
pub struct EncodedBody {
    /// The pieces in order; none is empty.
    pub parts: Vec<Bytes>,
    /// Sum of their lengths, in bytes.
    pub len: usize,
    /// A usage chunk was asked for that the caller did not ask for.
    pub injected_usage: bool,
}

impl EncodedBody {
    /// All pieces in one buffer; a copy only where there are several.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self.parts.as_slice() {
            [whole] => whole.clone(),
            parts => parts.concat().into(),
        }
    }
}

#[cfg(test)]
mod tests;
