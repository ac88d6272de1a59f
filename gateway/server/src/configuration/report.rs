//! Collects mistakes and notes while a document is read and checked.

use std::path::Path;
use std::sync::Arc;

use super::mistakes::{Mistake, MistakeKind, Mistakes, Note, NoteKind, Position};
use super::sources::Sources;
use super::stamps::Stamps;
use super::tree::Mark;

/// What has been found so far.
#[derive(Debug)]
pub(super) struct Report {
    files: Vec<Arc<Path>>,
    pub(super) mistakes: Mistakes,
    pub(super) notes: Vec<Note>,
    /// The files and folders that were read, or looked for, documents among them. Each is noted before it is read.
    pub(super) material: Stamps,
}

impl Report {
    pub(super) fn new(sources: &Sources) -> Self {
        let files = sources.files.iter().map(|file| Arc::from(file.path.as_path())).collect();
        Self { files, mistakes: Mistakes::default(), notes: Vec::new(), material: sources.stamps.clone() }
    }

    pub(super) fn position(&self, mark: Mark) -> Position {
        let file = self.files.get(mark.file).cloned().unwrap_or_else(|| Path::new("").into());
        Position { file, line: mark.line, column: mark.column }
    }

    /// A mistake that speaks for itself.
    pub(super) fn mistake(&mut self, kind: MistakeKind, mark: Mark, message: impl Into<String>) {
        let at = self.position(mark);
        self.mistakes.push(Mistake { at, kind, message: message.into(), remedy: None });
    }

    /// A mistake, and what would be right.
    pub(super) fn mend(
        &mut self,
        kind: MistakeKind,
        mark: Mark,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let at = self.position(mark);
        self.mistakes.push(Mistake { at, kind, message: message.into(), remedy: Some(remedy.into()) });
    }

    /// A mistake in a file that the document names.
    pub(super) fn elsewhere(&mut self, at: Position, message: String, remedy: Option<String>) {
        self.mistakes.push(Mistake { at, kind: MistakeKind::Material, message, remedy });
    }

    /// Something worth knowing, and what can be done about it.
    pub(super) fn note(&mut self, kind: NoteKind, mark: Mark, message: impl Into<String>, remedy: Option<String>) {
        let at = self.position(mark);
        self.notes.push(Note { at, kind, message: message.into(), remedy });
    }
}

/// User input as a message shows it: in backticks, without control characters, and not longer than a line.
pub(super) fn quote(text: &str) -> String {
    const LONGEST: usize = 80;
    let shown: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    let more = if text.chars().nth(LONGEST).is_some() { "…" } else { "" };
    // `escape_debug` also escapes quotes, which need it nowhere between backticks.
    format!("`{}{more}`", shown.replace("\\\"", "\"").replace("\\'", "'"))
}
