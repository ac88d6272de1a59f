//! Documents, good and bad, and what is said of them.

mod accepted;
mod budgets;
mod data_pack;
mod facts;
mod folders;
mod last_good;
mod mistakes;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Compiled, Known, LoadOptions, Mistakes, Provider, Secrets, load_text};

/// The providers of this version.
const PROVIDERS: &[Provider<'static>] = &[
    Provider {
        name: "openai",
        default_apis: &["chat", "completions", "responses", "embeddings", "rerank", "messages"],
        has_api_version: false,
    },
    Provider {
        name: "azure-openai",
        default_apis: &["chat", "completions", "responses", "embeddings"],
        has_api_version: true,
    },
    Provider { name: "anthropic", default_apis: &["messages"], has_api_version: false },
];

/// 2027-01-15T08:00:00Z.
const NOW: Duration = Duration::from_secs(1_800_000_000);

/// A small document that is in order; the tests change a word of it. Its lines are numbered in `mistakes`.
const GOOD: &str = include_str!("tests/good.toml");

fn options() -> LoadOptions<'static> {
    LoadOptions {
        known: Known { providers: PROVIDERS, enforced: &[] },
        secrets: Secrets::Read,
        now: SystemTime::UNIX_EPOCH + NOW,
        environment: |name| match name {
            "CLOUD_KEY" | "OPENAI_API_KEY" | "AZURE_OPENAI_API_KEY" | "ANTHROPIC_API_KEY" => Some("k-123".to_owned()),
            "HOOK" => Some("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()),
            "EMPTY" => Some(String::new()),
            "TWO_LINES" => Some("k\n123".to_owned()),
            _ => None,
        },
    }
}

fn load_one(text: &str) -> Result<Compiled, Mistakes> {
    load_text([(PathBuf::from("/etc/causeway/gateway.toml"), text.to_owned())], &options())
}

/// The lines that a broken document is answered with, without the folder.
fn said_of(text: &str) -> Vec<String> {
    match load_one(text) {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes.iter().map(|mistake| mistake.to_string().replace("/etc/causeway/", "")).collect(),
    }
}

/// The notes on a document that is accepted, without the folder.
fn noted_of(text: &str) -> Vec<String> {
    let compiled = load_one(text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    compiled.notes.iter().map(|note| note.to_string().replace("/etc/causeway/", "")).collect()
}

/// `GOOD` with `old` replaced by `new`, once.
fn changed(old: &str, new: &str) -> String {
    assert_eq!(GOOD.matches(old).count(), 1, "`{old}` must stand once in the document");
    GOOD.replacen(old, new, 1)
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path
}
