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

    /// A field of the outcome.
    pub(crate) fn end(&self, field: &str) -> &Value {
        &self.outcome["outcome"][field]
    }
}

impl Audit {
    pub(crate) fn at(state: &Path) -> Self {
        Self { folder: state.join("audit") }
    }

    /// The files of all epochs, oldest first.
    pub(crate) fn epochs(&self) -> Vec<PathBuf> {
        let children = |folder: &Path| -> Vec<PathBuf> {
            let mut found: Vec<PathBuf> =
                std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
            found.sort();
            found
        };
        let epochs = children(&self.folder).into_iter().flat_map(|origin| children(&origin));
        epochs.map(|epoch| epoch.join("records.jsonl")).filter(|file| file.exists()).collect()
    }

    /// Every whole line of every epoch; a line that is still being written is not there yet.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let texts = self.epochs().into_iter().filter_map(|file| std::fs::read_to_string(file).ok());
        texts
            .flat_map(|text| {
                text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(read_line).collect::<Vec<_>>()
            })
            .collect()
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

fn read_line(line: &str) -> Value {
    serde_json::from_str(line).expect("every whole line of the audit log is JSON")
}
