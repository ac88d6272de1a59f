//! What a request asks for beyond an answer to its own bytes.

use super::walk::Step;
use crate::json::Text;

/// Something in a request that policy must grant before it may leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// What it is.
    pub kind: FeatureKind,
    /// Where it is, as a JSON path: `$.messages[0].content[1].image_url.url`.
    ///
    /// At most 256 bytes, with an ellipsis at the end where it was longer; a control character in a key is shown as `?`.
    pub path: String,
}

/// The kinds of [`Feature`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FeatureKind {
    /// The provider is to keep, or to use, state beyond this call.
    ///
    /// `store`, `background`, `previous_response_id`, `conversation`, a stored `prompt`, `container`, a `container_id`, a
    /// `cached_content`, the approval of a stored request, an `item_reference`, an item with an id and nothing of what
    /// makes such an item, an earlier audio reply by id, and a prompt cache that outlives memory
    /// (`prompt_cache_retention` other than `in_memory`). `prompt_cache_key` is none: it only groups requests.
    KeepState,
    /// The upstream is to fetch an address that the caller names, or to open a file of its own by a path.
    RemoteUrl,
    /// The provider, and not the caller, runs a tool of this type; `file_id` stands for a file kept at the provider.
    ///
    /// What makes a server run or load something is one too, named for its member: `custom_logit_processor`,
    /// `logits_processors`, `lora_path`, `lora_request`, and `chat_template`, which is a program (in Jinja) that vLLM
    /// and others execute, in a sandbox that has been broken before and without a bound on time.
    HostedTool(String),
}

/// Most kinds told apart in one request; each tool type is one.
const MAX_KINDS: usize = 64;

/// Most places reported of one kind.
const MAX_PLACES: usize = 8;

/// Places reported of all kinds together, beyond which only the first place of a kind is added.
const MAX_FEATURES: usize = 64;

/// Longest path reported, in bytes. Paths go into the audit log, and a body must not write more there than it weighs.
const MAX_PATH: usize = 256;

/// What stands at the end of a path that was cut.
const ELLIPSIS: char = '\u{2026}';

/// Longest tool type and longest key kept, in bytes.
const MAX_NAME: usize = 64;

/// Findings, bounded so that a body made of findings costs no more than another.
///
/// INVARIANT: no kind is ever lost to a bound; a request with too many kinds is refused instead.
#[derive(Debug, Default)]
pub(super) struct Features {
    list: Vec<Feature>,
    kinds: Vec<(FeatureKind, usize)>,
}

/// More kinds of findings than one request may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooManyKinds;

impl Features {
    pub(super) fn add(&mut self, kind: FeatureKind, path: &[Step], bytes: &[u8]) -> Result<(), TooManyKinds> {
        match self.kinds.iter().position(|(other, _)| *other == kind) {
            Some(known) => {
                let (_, places) = &mut self.kinds[known];
                if *places == MAX_PLACES || self.list.len() >= MAX_FEATURES {
                    return Ok(());
                }
                *places += 1;
            }
            None if self.kinds.len() == MAX_KINDS => return Err(TooManyKinds),
            None => self.kinds.push((kind.clone(), 1)),
        }
        self.list.push(Feature { kind, path: rendered(path, bytes) });
        Ok(())
    }

    pub(super) fn into_list(self) -> Vec<Feature> {
        self.list
    }
}

impl FeatureKind {
    /// A hosted tool of this type, which is cut where a caller made it very long.
    pub(super) fn hosted(kind: &str) -> Self {
        Self::HostedTool(shown(shortened(kind)))
    }
}

fn shortened(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_NAME)).unwrap_or(text)
}

/// `text` with each control character as one `?`: escaped in a log it would be six times as long.
fn shown(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

fn rendered(path: &[Step], bytes: &[u8]) -> String {
    let mut out = String::from("$");
    for step in path {
        match step {
            Step::Index(index) => {
                out.push('[');
                out.push_str(&index.to_string());
                out.push(']');
            }
            Step::Key(key) => push_key(&mut out, *key, bytes),
        }
        if out.len() > MAX_PATH {
            out.truncate(out.floor_char_boundary(MAX_PATH - ELLIPSIS.len_utf8()));
            out.push(ELLIPSIS);
            break;
        }
    }
    out
}

fn push_key(out: &mut String, key: Text, bytes: &[u8]) {
    // Three bytes more than are shown, so that no letter that is shown can be cut.
    let name: Vec<u8> = key.meant(bytes).take(MAX_NAME + 3).collect();
    let name = shown(shortened(&String::from_utf8_lossy(&name)));
    if is_plain(&name) {
        out.push('.');
        out.push_str(&name);
    } else {
        out.push('[');
        out.push_str(&serde_json::Value::from(name).to_string());
        out.push(']');
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
