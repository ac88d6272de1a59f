//! What the reference page says about each recogniser.

use crate::kind::TextKind;
use crate::recogniser::Context;
use crate::recognisers::LIST;

/// One recogniser, for a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its kind.
    pub kind: TextKind,
    /// What it finds, in words.
    pub what: &'static str,
    /// Where the format is described.
    pub source: &'static str,
    /// Whether a word nearby, or the name of the JSON member, must say what it is.
    pub needs_word: bool,
}

/// Every recogniser, in the order in which one text that fits several is judged.
pub fn catalogue() -> impl Iterator<Item = Entry> {
    LIST.iter().map(|recogniser| Entry {
        kind: recogniser.kind,
        what: recogniser.what,
        source: recogniser.source,
        needs_word: recogniser.context != Context::Free,
    })
}
