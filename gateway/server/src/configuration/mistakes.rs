//! What is wrong with a document, and what is worth knowing about it: always with file, line and column.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::ser::{Serialize, SerializeStruct as _, Serializer};

use super::stamps::Stamps;

/// A place in a file. Lines and columns count from 1, columns in characters; line 0 is the file as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The file, as its path was given.
    pub file: Arc<Path>,
    /// Line, from 1; 0 for the file as a whole.
    pub line: u32,
    /// Column in characters, from 1; 0 for the file as a whole.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(formatter, "{}", self.file.display()),
            line => write!(formatter, "{}:{line}:{}", self.file.display(), self.column),
        }
    }
}

/// What sort of thing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MistakeKind {
    /// A file cannot be read.
    Unreadable,
    /// A file is not TOML.
    Syntax,
    /// An unknown setting or section, a wrong type, a missing setting.
    Form,
    /// The same thing is said twice.
    Duplicate,
    /// A section stands in a file whose author may not write it.
    Author,
    /// A name that is not defined.
    Reference,
    /// A value that cannot be right, or a rule that can match nothing.
    Value,
    /// A key, a certificate or another file that the document names is missing or broken.
    Material,
}

/// One thing that is wrong, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where it stands.
    pub at: Position,
    /// What sort of thing it is.
    pub kind: MistakeKind,
    /// What was found.
    pub message: String,
    /// What would be right.
    pub remedy: Option<String>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_line(formatter, &self.at, &self.message, self.remedy.as_deref())
    }
}

impl Serialize for Mistake {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entry = Entry { at: &self.at, kind: &self.kind, message: &self.message, remedy: self.remedy.as_deref() };
        entry.serialize(serializer)
    }
}

/// Everything that is wrong with a document, sorted by file, line and column. Never empty when it is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, thiserror::Error)]
#[serde(transparent)]
pub struct Mistakes {
    list: Vec<Mistake>,
    #[serde(skip)]
    material: Stamps,
}

impl Mistakes {
    /// The mistakes in order.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.list.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The files and folders that were read, or looked for, until the mistakes were found, documents among them: to mend one of them
    /// may be to mend the document.
    pub fn material(&self) -> &Stamps {
        &self.material
    }

    pub(super) fn with_material(self, material: Stamps) -> Self {
        Self { material, ..self }
    }

    pub(super) fn push(&mut self, mistake: Mistake) {
        self.list.push(mistake);
    }

    pub(super) fn sort(&mut self) {
        self.list.sort_by(|a, b| (&a.at, a.kind, &a.message).cmp(&(&b.at, b.kind, &b.message)));
        self.list.dedup();
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.list.iter().enumerate() {
            let line_end = if index == 0 { "" } else { "\n" };
            write!(formatter, "{line_end}{mistake}")?;
        }
        Ok(())
    }
}

/// What sort of note it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoteKind {
    /// The setting is understood and checked, and has no effect in this version.
    NotEnforced,
    /// Probably not what was meant.
    Warning,
    /// Ends soon, or has ended.
    RunsOut,
}

/// Something worth knowing about a document that is accepted all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Where it stands; the first place, where several are meant.
    pub at: Position,
    /// What sort of note it is.
    pub kind: NoteKind,
    /// What was found.
    pub message: String,
    /// What can be done about it.
    pub remedy: Option<String>,
}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_line(formatter, &self.at, &self.message, self.remedy.as_deref())
    }
}

impl Serialize for Note {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entry = Entry { at: &self.at, kind: &self.kind, message: &self.message, remedy: self.remedy.as_deref() };
        entry.serialize(serializer)
    }
}

/// The shape that mistakes and notes have in JSON.
struct Entry<'a, K> {
    at: &'a Position,
    kind: &'a K,
    message: &'a str,
    remedy: Option<&'a str>,
}

impl<K: Serialize> Serialize for Entry<'_, K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entry = serializer.serialize_struct("Entry", 6)?;
        entry.serialize_field("file", &self.at.file.to_string_lossy())?;
        entry.serialize_field("line", &self.at.line)?;
        entry.serialize_field("column", &self.at.column)?;
        entry.serialize_field("kind", self.kind)?;
        entry.serialize_field("message", self.message)?;
        entry.serialize_field("remedy", &self.remedy)?;
        entry.end()
    }
}

fn write_line(formatter: &mut fmt::Formatter<'_>, at: &Position, message: &str, remedy: Option<&str>) -> fmt::Result {
    match remedy {
        Some(remedy) => write!(formatter, "{at}: {message}; {remedy}"),
        None => write!(formatter, "{at}: {message}"),
    }
}

/// A mistake about a file as a whole.
pub(super) fn about_file(file: &Path, kind: MistakeKind, message: String) -> Mistake {
    let at = Position { file: PathBuf::from(file).into(), line: 0, column: 0 };
    Mistake { at, kind, message, remedy: None }
}

/// The one of `candidates` that `word` was probably meant to be.
///
/// At most a third of the letters may differ, so that a short name is not answered with a foreign one.
pub(super) fn suggest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let bound = (lower.chars().count() / 3).clamp(1, 4);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= bound)
        .min()
        .map(|(_, candidate)| candidate)
}

/// The remedy for an unknown name: what was probably meant, else what there is to choose from.
pub(super) fn remedy_for<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
    otherwise: impl Into<String>,
) -> String {
    if let Some(meant) = suggest(word, known.clone()) {
        return format!("did you mean `{meant}`?");
    }
    let names: Vec<String> = known.into_iter().take(13).map(|name| format!("`{name}`")).collect();
    if names.is_empty() || names.len() > 12 { otherwise.into() } else { format!("known: {}", names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_fingers_is_recognised() {
        let known = ["gpu-01", "gpu-02", "aoai-sweden"];

        assert_eq!(suggest("gpu-2", known), Some("gpu-02"));
        assert_eq!(suggest("aoai-swedne", known), Some("aoai-sweden"));
        assert_eq!(suggest("GPU-01", known), Some("gpu-01"));
        assert_eq!(suggest("mistral", known), None);
    }

    #[test]
    fn mistakes_are_json_for_machines() {
        let at = Position { file: Path::new("a.toml").into(), line: 3, column: 7 };
        let mut mistakes = Mistakes::default();
        mistakes.push(Mistake { at, kind: MistakeKind::Reference, message: "m".into(), remedy: None });

        let json = serde_json::to_string(&mistakes).unwrap();

        assert_eq!(json, r#"[{"file":"a.toml","line":3,"column":7,"kind":"reference","message":"m","remedy":null}]"#);
    }
}
