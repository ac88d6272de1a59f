//! Anthropic's own dialect.

use super::{CredentialForm, Dialect, EncodeTarget, EncodedBody, OnDisconnect, splice};
use crate::{Api, Call};

/// `provider = "anthropic"`; the endpoint's URL has no path.
pub(super) struct Anthropic;

impl Dialect for Anthropic {
    fn name(&self) -> &'static str {
        "anthropic"
    }

    fn default_apis(&self) -> &'static [Api] {
        &[Api::Messages, Api::CountTokens]
    }

    fn credential(&self) -> CredentialForm {
        CredentialForm::Header { name: "x-api-key", prefix: "" }
    }

    /// Cancel. The input's usage came with `message_start`; the output is charged as far as it was generated and is not
    /// reported for a stream that was cut, so the call is settled at its reservation.
    fn on_disconnect(&self) -> OnDisconnect {
        OnDisconnect::Cancel
    }

    fn path(&self, api: Api, _upstream_model: &str, _api_version: Option<&str>) -> String {
        String::from("/v1/") + api.tail()
    }

    /// The version that every current client sends; the API refuses a call without one.
    fn required_headers(&self) -> &'static [(&'static str, &'static str)] {
        &[("anthropic-version", "2023-06-01")]
    }

    fn encode(&self, call: &Call, target: &EncodeTarget<'_>) -> EncodedBody {
        splice::encode(call, target, self.bounds_chats_by())
    }
}
