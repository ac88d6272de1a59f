//! A request body, read once and kept whole.
//!
//! [`decode`] walks the bytes a single time. It checks that they are strict JSON, reads the few members that the gateway
//! acts on, and notes as [`Feature`]s what policy must grant. Nothing is built from the body: what goes upstream later
//! is the body itself, with splices.
//!
//! What the walk does *not* see: a bare URL among texts to embed (`input: ["https://..."]`), which some servers take for
//! an image and most for text; and what a URL inside a `text` part makes a model say.

mod address;
mod feature;
mod item;
mod tables;
mod top;
mod users;
mod walk;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

pub use feature::{Feature, FeatureKind};
pub use top::ServiceTier;
pub(crate) use top::{BOUNDS, Controls, StoreValue, StreamOptions, bounds_of};

use crate::Api;
use crate::json::{JsonError, Scanner};
use feature::TooManyKinds;
use top::MAX_MODEL;
use walk::Walker;

/// Why a body is no call. The message is meant for the caller; the stable code is `invalid_request`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not strict JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// JSON, but not an object.
    #[error("the body must be a JSON object")]
    NotAnObject,
    /// Nobody named a model.
    #[error("`model` is missing; name the model to use")]
    NoModel,
    /// `model` is no string.
    #[error("`model` must be a string")]
    ModelNotText,
    /// `model` is an empty string.
    #[error("`model` is empty; name the model to use")]
    ModelEmpty,
    /// `model` is longer than any name.
    #[error("`model` is longer than 512 bytes")]
    ModelTooLong,
    /// `stream` is neither a boolean nor null.
    #[error("`stream` must be true or false")]
    StreamNotBool,
    /// `stream_options` is neither an object nor null.
    #[error("`stream_options` must be an object")]
    StreamOptionsNotObject,
    /// A key that some servers would take for one that the gateway reads.
    #[error("a key differs from `{expected}` only in upper and lower case; write `{expected}`")]
    LookAlike {
        /// The key as it must be written.
        expected: &'static str,
    },
    /// The caller names where inference is to run, which is declared of the endpoint and was judged as it is declared.
    #[error("`inference_geo` is not for a caller: the operator's configuration decides the place; leave it out")]
    PlaceNamed,
    /// More kinds of tools than can be judged.
    #[error("the request names more than 64 kinds of tools that a provider runs; name fewer")]
    TooManyFeatures,
}

impl DecodeError {
    /// The member at fault, for an error's `param`.
    #[must_use]
    pub const fn param(&self) -> Option<&'static str> {
        match self {
            Self::Json(_) | Self::NotAnObject => None,
            Self::NoModel | Self::ModelNotText | Self::ModelEmpty | Self::ModelTooLong => Some("model"),
            Self::StreamNotBool => Some("stream"),
            Self::StreamOptionsNotObject => Some("stream_options"),
            Self::LookAlike { expected } => Some(expected),
            Self::PlaceNamed => Some("inference_geo"),
            Self::TooManyFeatures => Some("tools"),
        }
    }
}

impl From<TooManyKinds> for DecodeError {
    fn from(_: TooManyKinds) -> Self {
        Self::TooManyFeatures
    }
}

/// A request, decoded: the body as it came, and what was read in it. A clone copies no body.
#[derive(Clone)]
pub struct Call {
    api: Api,
    body: Bytes,
    read: Arc<Read>,
}

struct Read {
    model: String,
    controls: Controls,
    features: Vec<Feature>,
    input_bytes: usize,
}

/// Reads `body` as a call to `api`.
///
/// `path_model` is the deployment that an Azure-style path names. Where the body names another model, the path wins, as
/// it does at Azure.
///
/// # Errors
///
/// [`DecodeError`] says what is wrong and which member is at fault.
pub fn decode(api: Api, path_model: Option<&str>, body: Bytes) -> Result<Call, DecodeError> {
    let mut walker = Walker::new(api, Scanner::new(&body)?);
    let mut controls = Controls::default();
    walker.top(&mut controls)?;
    let in_body = controls.model_text.take();
    let model = match (path_model, in_body) {
        (Some(model), _) => model.to_owned(),
        (None, Some(model)) => model,
        (None, None) => return Err(no_model(&controls, &body)),
    };
    if model.is_empty() {
        return Err(DecodeError::ModelEmpty);
    }
    if model.len() > MAX_MODEL {
        return Err(DecodeError::ModelTooLong);
    }
    let input_bytes = walker.input_bytes();
    let features = walker.features.into_list();
    Ok(Call { api, body, read: Arc::new(Read { model, controls, features, input_bytes }) })
}

fn no_model(controls: &Controls, body: &[u8]) -> DecodeError {
    let written = controls.model.clone().and_then(|place| body.get(place));
    match written {
        Some(b"\"\"") => DecodeError::ModelEmpty,
        _ => DecodeError::NoModel,
    }
}

/// `user_id` of Anthropic's `metadata`.
fn user_id(metadata: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Metadata {
        user_id: Option<String>,
    }
    serde_json::from_slice::<Metadata>(metadata).ok()?.user_id
}

impl Call {
    /// The API that was called.
    #[must_use]
    pub fn api(&self) -> Api {
        self.api
    }

    /// The JSON of the member `metadata`, where it is an object: the caller's own, of which the gateway reads one name.
    #[must_use]
    pub fn metadata(&self) -> Option<&[u8]> {
        self.body.get(self.read.controls.metadata.clone()?)
    }

    /// Who the caller asks for: `safety_identifier`, or else `user`, or in Anthropic's API `metadata.user_id`; none where
    /// it is absent, empty or no text.
    #[must_use]
    pub fn user(&self) -> Option<Cow<'_, str>> {
        let named = match &self.read.controls.user {
            Some(text) => Some(text.unescaped(&self.body)),
            None if matches!(self.api, Api::Messages | Api::CountTokens) => user_id(self.metadata()?).map(Cow::Owned),
            None => None,
        };
        named.filter(|user| !user.is_empty())
    }

    /// The model that the caller asks for.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.read.model
    }

    /// Whether the answer is to come as a stream of events.
    #[must_use]
    pub fn stream(&self) -> bool {
        self.read.controls.stream
    }

    /// Whether the caller asked for a usage chunk at the end of a stream (`stream_options.include_usage`).
    #[must_use]
    pub fn usage_asked(&self) -> bool {
        self.read.controls.stream_options == StreamOptions::Asked
    }

    /// The body as it came.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The largest number of output tokens that the caller allows, where one is given.
    ///
    /// The largest of `max_tokens` and `max_completion_tokens` in a chat, `max_tokens` of completions and messages, and
    /// `max_output_tokens` of responses: a name that the API does not heed bounds nothing. A limit that is no whole number
    /// counts as none.
    #[must_use]
    pub fn max_output_tokens(&self) -> Option<u64> {
        self.read.controls.max_output
    }

    /// What tells the session of this request from others, where that can be told: `prompt_cache_key`, or else how the
    /// conversation begins, up to the first message of a user. Later requests of the session send the same.
    #[must_use]
    pub fn session(&self) -> Option<&[u8]> {
        let controls = &self.read.controls;
        let key = controls.cache_key.map(|key| key.raw(&self.body)).filter(|key| !key.is_empty());
        key.or_else(|| self.body.get(controls.opening.clone()?))
    }

    /// How many answers are asked for, each of which is charged: the larger of `n` and `best_of`, at least one.
    #[must_use]
    pub fn choices(&self) -> u64 {
        self.read.controls.choices.unwrap_or(1).max(1)
    }

    /// How soon the answer is wanted.
    #[must_use]
    pub fn service_tier(&self) -> ServiceTier {
        self.read.controls.service_tier
    }

    /// Bytes of text in the body, for an estimate of the input: all string values as written, without media (`data:`
    /// URLs and base64 payloads); an input given as token numbers counts four bytes for each.
    #[must_use]
    pub fn input_bytes(&self) -> usize {
        self.read.input_bytes
    }

    /// What policy must grant. At most eight places are listed of each kind and about sixty-four of all, and no kind is
    /// left out.
    #[must_use]
    pub fn features(&self) -> &[Feature] {
        &self.read.features
    }

    pub(crate) fn controls(&self) -> &Controls {
        &self.read.controls
    }
}

/// Shows no byte of the body: calls end up in logs.
impl fmt::Debug for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Call")
            .field("api", &self.api)
            .field("model", &self.model())
            .field("stream", &self.stream())
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
