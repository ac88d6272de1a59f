//! Words of which one must stand beside a match, looked for all at once.

use aho_corasick::AhoCorasick;

use crate::recogniser::{Found, stands_alone};

/// The search for the words of one recogniser, in small letters or capitals.
pub(super) struct Words(AhoCorasick);

impl Words {
    /// None where no word is needed.
    pub(super) fn of(words: &[String]) -> Option<Self> {
        // A word of nothing would stand everywhere.
        let forms: Vec<String> = words.iter().filter(|word| !word.is_empty()).flat_map(|word| forms(word)).collect();
        let search = || AhoCorasick::builder().ascii_case_insensitive(true).build(forms).ok();
        if words.is_empty() { None } else { search().map(Self) }
    }

    pub(super) fn stand_beside(&self, found: &Found<'_>) -> bool {
        self.stand_in(found.shortly_before()) || self.stand_in(found.right_behind())
    }

    fn stand_in(&self, text: &[u8]) -> bool {
        self.0.find_overlapping_iter(text).any(|word| stands_alone(text, word.start()..word.end()))
    }
}

/// The word with its letters beyond ASCII as they are, as capitals, and with the first one alone as a capital. Those of ASCII
/// are found in either form.
fn forms(word: &str) -> [String; 3] {
    let mut letters = word.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    [word.to_owned(), word.to_uppercase(), first + letters.as_str()]
}
