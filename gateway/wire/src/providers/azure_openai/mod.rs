//! Azure OpenAI: OpenAI's bodies under Azure's paths.

use super::{CredentialForm, Dialect, EncodeTarget, EncodedBody, OnDisconnect, paths, splice};
use crate::{Api, Call};

/// `provider = "azure-openai"`; the endpoint's URL has no path.
pub(super) struct AzureOpenAi;

impl Dialect for AzureOpenAi {
    fn name(&self) -> &'static str {
        "azure-openai"
    }

    fn default_apis(&self) -> &'static [Api] {
        &[Api::Chat, Api::Completions, Api::Responses, Api::Embeddings]
    }

    fn credential(&self) -> CredentialForm {
        CredentialForm::Header { name: "api-key", prefix: "" }
    }

    /// Cancel. Azure charges the prompt and what was generated until the service notices, and reports no usage for a
    /// stream that was cut, so the call is settled at its reservation. To read on would cost the whole answer.
    fn on_disconnect(&self) -> OnDisconnect {
        OnDisconnect::Cancel
    }

    /// With an API version: the deployment's path, or `/openai/responses`, which has no deployment in it. Without one:
    /// `/openai/v1/`, where the body names the deployment.
    fn path(&self, api: Api, upstream_model: &str, api_version: Option<&str>) -> String {
        let tail = api.tail();
        let Some(version) = api_version else {
            return format!("/openai/v1/{tail}");
        };
        let version = paths::segment(version);
        match api {
            Api::Chat | Api::Completions | Api::Embeddings => {
                let deployment = paths::segment(upstream_model);
                format!("/openai/deployments/{deployment}/{tail}?api-version={version}")
            }
            Api::Responses | Api::Rerank | Api::Messages | Api::CountTokens => {
                format!("/openai/{tail}?api-version={version}")
            }
        }
    }

    fn required_headers(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// Every chat deployment takes it; those that reason take no `max_tokens`.
    fn bounds_chats_by(&self) -> &'static str {
        "max_completion_tokens"
    }

    fn encode(&self, call: &Call, target: &EncodeTarget<'_>) -> EncodedBody {
        splice::encode(call, target, self.bounds_chats_by())
    }
}
