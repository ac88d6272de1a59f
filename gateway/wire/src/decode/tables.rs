//! What the names in a request mean, as tables.
//!
//! The tables that lead to a finding are compared without regard to case: servers written in Go match keys that way, and
//! a caller must not be able to say `Image_URL` to one parser and nothing to another. The tables that lead to *no*
//! finding are compared exactly.

use std::borrow::Cow;

use super::address::Check;
use crate::Api;

/// Members of the top level that the gateway itself reads. A key that differs from one of them in case only is refused.
pub(super) const READ: [&str; 23] = [
    "model",
    "stream",
    "stream_options",
    "store",
    "background",
    "previous_response_id",
    "conversation",
    "container",
    "prompt",
    "prompt_cache_retention",
    "messages",
    "input",
    "system",
    "instructions",
    "tools",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "n",
    "best_of",
    "service_tier",
    "metadata",
    "documents",
];

/// Members of the top level by which a provider, or a server, does something itself; with the tool's type they stand for.
///
/// Azure's `data_sources` and `enhancements`, xAI's `search_parameters`, OpenRouter's `plugins`, Cohere's `connectors`;
/// `kv_transfer_params` and the two behind it let a caller name a host for vLLM's, TensorRT-LLM's and SGLang's transfer of
/// key-value caches. `enable_search` is Alibaba's, `compound_custom` Groq's, `google` what Gemini's compatible API takes.
/// The last five make a server run a program of the caller's, or load what the caller names.
pub(super) const HOSTED_MEMBERS: [(&str, &str); 23] = [
    ("web_search_options", "web_search"),
    ("search_parameters", "web_search"),
    ("mcp_servers", "mcp"),
    ("plugins", "plugins"),
    ("connectors", "connectors"),
    ("data_sources", "data_sources"),
    ("datasources", "data_sources"),
    ("enhancements", "enhancements"),
    ("tool_resources", "tool_resources"),
    ("skills", "skills"),
    ("kv_transfer_params", "kv_transfer"),
    ("disaggregated_params", "kv_transfer"),
    ("bootstrap_host", "kv_transfer"),
    ("enable_search", "web_search"),
    ("web_search", "web_search"),
    ("search_options", "web_search"),
    ("google", "google"),
    ("compound_custom", "compound_custom"),
    ("custom_logit_processor", "custom_logit_processor"),
    ("logits_processors", "logits_processors"),
    ("lora_path", "lora_path"),
    ("lora_request", "lora_request"),
    ("chat_template", "chat_template"),
];

/// Members of a tool that are a hosted tool by themselves, whatever else the tool says: Gemini's form, which servers with
/// an OpenAI-shaped front look for beside `type`.
const HOSTED_TOOL_KEYS: [&str; 10] = [
    "google_search",
    "googlesearch",
    "google_search_retrieval",
    "googlesearchretrieval",
    "enterprise_web_search",
    "enterprisewebsearch",
    "url_context",
    "urlcontext",
    "code_execution",
    "codeexecution",
];

/// Types of Anthropic's parts whose `url` is a note on what was read before, and not an address to read.
///
/// Other notes of that kind (`url_citation`) stand in `annotations` and `citations`, which are not looked into.
const CITING_TYPES: [&str; 2] = ["web_search_result", "web_fetch_result"];

/// How the types of parts begin whose `source`, given as a string, is where the media lies.
const MEDIA_TYPES: [&str; 7] = ["image", "video", "audio", "input_", "file", "document", "media"];

/// Tools that the caller runs itself, of the OpenAI APIs.
///
/// `custom` and `namespace` (a named group of function and custom tools, whose members are judged one by one) are plain
/// declarations. `local_shell`, `apply_patch`, `computer` and `computer_use_preview` make the model emit a call that
/// the *client* executes and answers with an output item, so no data goes anywhere new. `shell` and `tool_search` exist
/// in both forms: see [`tool`].
const CLIENT_TOOLS: [&str; 7] =
    ["function", "custom", "namespace", "local_shell", "apply_patch", "computer", "computer_use_preview"];

/// Tools that the caller runs itself, of Anthropic's API; each comes with a date behind it.
const CLIENT_TOOLS_DATED: [&str; 4] = ["bash_", "text_editor_", "computer_", "memory_"];

/// Who runs a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runs {
    Caller,
    Provider,
}

/// What one element of `tools` says about itself.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ToolClaims<'a> {
    /// `type`, where it is a string.
    pub(super) kind: Option<&'a str>,
    /// `execution` is `client`.
    pub(super) client_execution: bool,
    /// `environment.type` is `local`.
    pub(super) local_environment: bool,
    /// It is declared as a caller declares its own: `function`, or `name` with a schema.
    pub(super) declared: bool,
}

/// Who runs a tool. A type that is not known counts as the provider's.
///
/// `shell` without a stated environment is refused as well: the API does not say which form is meant.
pub(super) fn tool(api: Api, claims: ToolClaims<'_>) -> Runs {
    let Some(kind) = claims.kind else {
        // Anthropic's own form of a client tool has no type; elsewhere servers take it for a function.
        return if claims.declared { Runs::Caller } else { Runs::Provider };
    };
    let callers = if api.is_anthropic() {
        kind == "custom" || is_dated(kind)
    } else {
        CLIENT_TOOLS.contains(&kind)
            || (kind == "shell" && claims.local_environment)
            || (kind == "tool_search" && claims.client_execution)
    };
    if callers { Runs::Caller } else { Runs::Provider }
}

fn is_dated(kind: &str) -> bool {
    CLIENT_TOOLS_DATED
        .iter()
        .filter_map(|prefix| kind.strip_prefix(prefix))
        .any(|date| date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether the top-level member `name` holds the caller's own names, or JSON Schema: nothing in it is acted on.
pub(super) fn opaque_at_top(name: &[u8]) -> bool {
    matches!(
        name,
        b"metadata"
            | b"client_metadata"
            | b"response_format"
            | b"text"
            | b"logit_bias"
            | b"functions"
            | b"function_call"
            | b"tool_choice"
            | b"output_format"
            | b"output_config"
            | b"guided_json"
            | b"structured_outputs"
    )
}

/// The same below the top level: schemas, what a model called, what a provider noted on its own output.
pub(super) fn opaque_below(api: Api, name: &[u8]) -> bool {
    match name {
        b"arguments" | b"parameters" | b"input_schema" | b"output_schema" | b"input_examples" | b"json_schema"
        | b"schema" | b"annotations" | b"citations" | b"metadata" | b"logprobs" | b"cache_control" => true,
        // The input of a `tool_use` block is what the model wrote for the caller's tool.
        b"input" => api.is_anthropic(),
        // What tools did in earlier turns, sent back as history.
        b"action" | b"actions" | b"operation" | b"results" | b"outputs" => api == Api::Responses,
        _ => false,
    }
}

/// Whether a part of this type only cites its `url`.
pub(super) fn cites(api: Api, kind: &[u8]) -> bool {
    api.is_anthropic() && CITING_TYPES.iter().any(|citing| citing.as_bytes() == kind)
}

/// Whether a part of this type is media, so that a string in its `source` says where from.
pub(super) fn is_media(kind: &[u8]) -> bool {
    MEDIA_TYPES.iter().any(|media| kind.starts_with(media.as_bytes()))
}

/// Whether the member with this (folded) name refers to something that the provider has stored.
pub(super) fn is_state(folded: &[u8]) -> bool {
    matches!(folded, b"container_id" | b"cached_content" | b"cachedcontent" | b"approval_request_id")
}

/// Whether the top-level member with this (folded) name chooses where a provider runs the model: Anthropic's
/// `inference_geo`, with `null` for the place that the account is set to.
///
/// Policy has judged the place that is declared of the endpoint, so no value of a caller's may stand beside it.
pub(super) fn names_a_place(folded: &[u8]) -> bool {
    matches!(folded, b"inference_geo" | b"inferencegeo")
}

/// Whether the member with this (folded) name holds more members of the top level, for some server.
///
/// `chat_template_kwargs` is among them because vLLM has taken a `chat_template` from it.
pub(super) fn extends_top(folded: &[u8]) -> bool {
    matches!(folded, b"extra_body" | b"chat_template_kwargs" | b"vllm_xargs" | b"nvext")
}

/// Whether the string member with this name (as it is written) is words even within media.
pub(super) fn is_words(name: &[u8]) -> bool {
    matches!(name, b"text" | b"title" | b"filename" | b"caption" | b"transcript" | b"prompt_string")
}

/// The type that a member of a tool stands for.
pub(super) fn hosted_tool_key(folded: &[u8]) -> Option<&'static str> {
    HOSTED_TOOL_KEYS.into_iter().find(|key| key.as_bytes() == folded)
}

/// The type that a top-level member stands for, where a provider would act on it.
pub(super) fn hosted_member(folded: &[u8]) -> Option<&'static str> {
    HOSTED_MEMBERS.iter().find(|(name, _)| name.as_bytes() == folded).map(|(_, kind)| *kind)
}

/// How the strings of the member with this (folded) name are looked at.
pub(super) fn check_of(folded: &[u8]) -> Check {
    match folded {
        b"image" | b"images" | b"video" | b"videos" | b"audio" | b"audios" | b"input_audio" | b"input_image"
        | b"input_video" | b"file" | b"files" | b"media" | b"endpoint" | b"src" | b"path" | b"image_path"
        | b"video_path" | b"audio_path" | b"href" | b"link" | b"multimodal_data" | b"multi_modal_data" => Check::Media,
        b"api_base" | b"apibase" | b"webhook" | b"webhooks" => Check::Url,
        [.., b'u', b'r', b'l' | b'i'] | [.., b'u', b'r', b'l' | b'i', b's'] => Check::Url,
        _ => Check::No,
    }
}

/// `name` as Go's JSON decoder compares keys: lower case, with the long s and the Kelvin sign folded as well.
pub(super) fn folded(name: &[u8]) -> Cow<'_, [u8]> {
    let is_folded = name.iter().fold(true, |folded, &byte| folded & byte.is_ascii() & !byte.is_ascii_uppercase());
    if is_folded {
        return Cow::Borrowed(name);
    }
    let fold = |letter| match letter {
        '\u{17F}' => 's',
        '\u{212A}' => 'k',
        _ => letter.to_ascii_lowercase(),
    };
    let text = String::from_utf8_lossy(name); // A key is UTF-8, as the whole body is.
    Cow::Owned(text.chars().map(fold).collect::<String>().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(api: Api, kind: &str) -> Runs {
        tool(api, ToolClaims { kind: Some(kind), ..ToolClaims::default() })
    }

    #[test]
    fn tools_the_caller_runs_are_no_finding() {
        for kind in CLIENT_TOOLS {
            assert_eq!(runs(Api::Responses, kind), Runs::Caller, "{kind}");
        }
        let dated = ["custom", "bash_20250124", "text_editor_20250728", "computer_20251124", "memory_20250818"];
        for kind in dated {
            assert_eq!(runs(Api::Messages, kind), Runs::Caller, "{kind}");
        }
    }

    #[test]
    fn tools_the_provider_runs_and_unknown_ones_are_findings() {
        let openai = [
            "web_search",
            "web_search_preview",
            "web_search_preview_2025_03_11",
            "file_search",
            "code_interpreter",
            "image_generation",
            "mcp",
            "shell",
            "tool_search",
            "programmatic_tool_calling",
            "",
            "Function",
            "brand_new",
        ];
        for kind in openai {
            assert_eq!(runs(Api::Responses, kind), Runs::Provider, "{kind}");
            assert_eq!(runs(Api::Chat, kind), Runs::Provider, "{kind}");
        }
        let anthropic = [
            "web_search_20250305",
            "web_fetch_20250910",
            "code_execution_20250825",
            "tool_search_tool_regex_20251119",
            "mcp_toolset",
            "advisor_20260301",
            "function",
            "bash_",
            "bash_2025",
            "bash_20250124x",
            "memory",
            "local_shell",
        ];
        for kind in anthropic {
            assert_eq!(runs(Api::Messages, kind), Runs::Provider, "{kind}");
        }
    }

    #[test]
    fn shell_and_tool_search_are_the_callers_only_where_they_say_so() {
        let local = ToolClaims { kind: Some("shell"), local_environment: true, ..ToolClaims::default() };
        assert_eq!(tool(Api::Responses, local), Runs::Caller);
        let client = ToolClaims { kind: Some("tool_search"), client_execution: true, ..ToolClaims::default() };
        assert_eq!(tool(Api::Responses, client), Runs::Caller);
        let crossed = ToolClaims { kind: Some("shell"), client_execution: true, ..ToolClaims::default() };
        assert_eq!(tool(Api::Responses, crossed), Runs::Provider);
    }

    #[test]
    fn names_are_folded_as_go_folds_them() {
        assert_eq!(&*folded(b"Image_URL"), b"image_url");
        assert_eq!(&*folded("\u{17F}tore".as_bytes()), b"store");
        assert_eq!(&*folded("too\u{17F}".as_bytes()), b"toos");
        assert_eq!(check_of(&folded(b"fileURL")), Check::Url);
        assert_eq!(check_of(b"image"), Check::Media);
        assert_eq!(check_of(b"text"), Check::No);
    }
}
