//! What a request asks for beyond an answer to its own bytes.

use super::walk::Step;

/// Something in a request that policy must grant before it may leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// What it is.
    pub kind: FeatureKind,
    /// Where it is, as a JSON path: `$.messages[0].content[1].image_url.url`.
    pub path: String,
}

/// The kinds of [`Feature`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FeatureKind {
    /// The provider is to keep, or to use, state beyond this call.
    ///
    /// `store`, `background`, `previous_response_id`, `conversation`, a stored `prompt`, `container`, an
    /// `item_reference`, an earlier audio reply by id, and a prompt cache that outlives memory
    /// (`prompt_cache_retention` other than `in_memory`). `prompt_cache_key` is none: it only groups requests.
    KeepState,
    /// The upstream is to fetch an address that the caller names.
    RemoteUrl,
    /// The provider, and not the caller, runs a tool of this type; `file_id` stands for a file kept at the provider.
    HostedTool(String),
}

/// Most kinds told apart in one request; each tool type is one.
const MAX_KINDS: usize = 64;

/// Most places reported of one kind.
const MAX_PLACES: usize = 8;

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
                if *places == MAX_PLACES {
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
        Self::HostedTool(shortened(kind).to_owned())
    }
}

fn shortened(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_NAME)).unwrap_or(text)
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
            Step::Key(key) => {
                let name = key.unescaped(bytes);
                let name = shortened(&name);
                if is_plain(name) {
                    out.push('.');
                    out.push_str(name);
                } else {
                    out.push('[');
                    out.push_str(&serde_json::Value::from(name).to_string());
                    out.push(']');
                }
            }
        }
    }
    out
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
