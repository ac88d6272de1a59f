//! The audit log, read as an auditor would: from the files.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::until;

/// The audit folder of one gateway.
pub(crate) struct Audit {
    folder: PathBuf,
}

/// What the log says of one request: the decision before, and how it ended.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) intent: Value,
    pub(crate) outcome: Value,
}

impl Record {
    /// The attempts, each as `target outcome`.
    pub(crate) fn attempts(&self) -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
        let attempts = self.outcome["attempts"].as_array().cloned().unwrap_or_default();
        attempts.iter().map(|attempt| format!("{} {}", text(&attempt["target"]), text(&attempt["outcome"]))).collect()
    }

    /// The targets that were tried, in order.
    pub(crate) fn tried(&self) -> Vec<String> {
        self.attempts().iter().map(|attempt| attempt.split(' ').next().unwrap_or_default().to_owned()).collect()
    }

    /// The attempt with this number, counted from 0.
    pub(crate) fn attempt(&self, number: usize) -> &Value {
        &self.outcome["attempts"][number]
    }

    /// A field of the outcome.
    pub(crate) fn end(&self, field: &str) -> &Value {
        &self.outcome["outcome"][field]
    }
}

impl Audit {
    pub(crate) fn at(state: &Path) -> Self {
        Self { folder: state.join("audit") }
    }

    /// The folders of all epochs, oldest first.
    pub(crate) fn epochs(&self) -> Vec<PathBuf> {
        children(&self.folder).into_iter().flat_map(|origin| children(&origin)).collect()
    }

    /// Every file of the log.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        fn below(folder: &Path, files: &mut Vec<PathBuf>) {
            for path in children(folder) {
                if path.is_dir() { below(&path, files) } else { files.push(path) }
            }
        }
        let mut files = Vec::new();
        below(&self.folder, &mut files);
        files
    }

    /// Every whole entry of every epoch; one that is still being written is not there yet.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.epochs().iter().flat_map(|epoch| lines_of(epoch)).collect()
    }

    /// The lines of one kind: `open`, `intent`, `outcome`, `refused`, `admin`, `seal`.
    pub(crate) fn of_kind(&self, kind: &str) -> Vec<Value> {
        self.lines().into_iter().filter(|line| line["kind"] == kind).collect()
    }

    /// Every request whose end is written.
    pub(crate) fn records(&self) -> Vec<Record> {
        let lines = self.lines();
        let of_kind = |kind: &'static str| lines.iter().filter(move |line| line["kind"] == kind);
        let pair = |outcome: &Value| {
            let intent = of_kind("intent").find(|intent| intent["decision"] == outcome["decision"])?;
            Some(Record { intent: intent.clone(), outcome: outcome.clone() })
        };
        of_kind("outcome").filter_map(pair).collect()
    }

    /// The record of one decision, as soon as its end is written.
    pub(crate) async fn record(&self, decision: &str) -> Record {
        let find = async || self.records().into_iter().find(|record| record.intent["decision"] == decision);
        until("the outcome in the audit log", find).await
    }

    /// The line of a refusal, as soon as it is written.
    pub(crate) async fn refusal(&self, decision: &str) -> Value {
        let find = async || self.of_kind("refused").into_iter().find(|line| line["decision"] == decision);
        until("the refusal in the audit log", find).await
    }
}

/// The entries of an epoch: bundles of 256, each entry behind its length in two bytes.
fn lines_of(epoch: &Path) -> Vec<Value> {
    let mut bundles = Vec::new();
    let mut folders = vec![epoch.join("tile/entries")];
    while let Some(folder) = folders.pop() {
        for path in children(&folder) {
            if path.is_dir() { folders.push(path) } else { bundles.push(path) }
        }
    }
    // `000`, `001.p/17`: the folder of a partial bundle stands for its number.
    bundles.sort_by_key(|path| path.to_string_lossy().replace(".p/", "/"));
    let mut lines = Vec::new();
    for bytes in bundles.iter().filter_map(|path| std::fs::read(path).ok()) {
        let mut rest = &bytes[..];
        while let Some((length, after)) = rest.split_first_chunk::<2>() {
            let Some((entry, after)) = after.split_at_checked(usize::from(u16::from_be_bytes(*length))) else { break };
            lines.push(serde_json::from_slice(entry).expect("every whole entry of the audit log is JSON"));
            rest = after;
        }
    }
    lines
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    found.sort();
    found
}
