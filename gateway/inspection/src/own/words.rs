//! Words of which one must stand beside a match, looked for all at once.

use std::ops::Range;

use aho_corasick::AhoCorasick;

use crate::recogniser::stands_alone;

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

    /// Whether one stands as a word of its own in `text`.
    pub(super) fn stand_in(&self, text: &[u8]) -> bool {
        count(text);
        self.0.find_overlapping_iter(text).any(|word| stands_alone(text, word.start()..word.end()))
    }

    /// Whether one occurs in `text` at all, be it within another word.
    pub(super) fn occur_in(&self, text: &[u8]) -> bool {
        count(text);
        self.0.is_match(text)
    }

    /// The last place in `text` where one stands as a word of its own.
    pub(super) fn last_in(&self, text: &[u8]) -> Option<Range<usize>> {
        let all = self.0.find_overlapping_iter(text).map(|word| word.start()..word.end());
        all.filter(|word| stands_alone(text, word.clone())).max_by_key(|word| (word.start, word.end))
    }
}

#[cfg(not(test))]
const fn count(_: &[u8]) {}

#[cfg(test)]
fn count(text: &[u8]) {
    SEARCHED.set(SEARCHED.get() + text.len());
}

#[cfg(test)]
thread_local! {
    /// Bytes that were searched for words in this thread.
    pub(super) static SEARCHED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// The word with its letters beyond ASCII as they are, as capitals, with the first one alone as a capital, and with that of
/// every part behind a space or a sign. Those of ASCII are found in either form.
fn forms(word: &str) -> [String; 4] {
    let mut letters = word.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    let mut parts = String::with_capacity(word.len());
    let mut begins = true;
    for letter in word.chars() {
        if begins {
            parts.extend(letter.to_uppercase());
        } else {
            parts.push(letter);
        }
        begins = !letter.is_alphanumeric();
    }
    [word.to_owned(), word.to_uppercase(), first + letters.as_str(), parts]
}
