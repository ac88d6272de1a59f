//! Access tokens of Hugging Face.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("huggingface_token", Group::Secret),
    what: "a Hugging Face access token",
    source: "Hugging Face documentation, user access tokens",
    pattern: r"\bhf_[0-9A-Za-z]{34,40}\b",
    trigger: Trigger::Words(&["hf_"]),
    check: is_random,
    context: Context::Free,
    end: whole,
    examples: &[concat!("key «", "hf_", "9naHVck6pbd4ZRj2SxphvDTwrzqwo72n3w", "» here")],
    others: &["hf_hub_download_the_model_to_this_folder", "hf_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"],
};
