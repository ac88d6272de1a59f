//! The text of one policy as tokens, to say where in it something stands.

use std::sync::Arc;

use cedar_policy::Policy;

use super::lint::Place;
use super::{About, PolicyFile};

/// Words and literals of a policy behind its annotations, each with its place in the file.
pub(super) struct Script {
    text: Arc<str>,
    tokens: Vec<(usize, String)>,
    /// Places that were given out: what stands twice is reported twice, each with its own.
    used: Vec<usize>,
}

impl Script {
    pub(super) fn of(policy: &Policy, about: &About) -> Self {
        let inner = policy.as_ref();
        let Some(loc) = inner.loc() else {
            return Self { text: about.file.as_str().into(), tokens: Vec::new(), used: Vec::new() };
        };
        let text = Arc::clone(&loc.src);
        let within = text.get(loc.start()..loc.end()).unwrap_or_default();
        let tokens = tokens(within).into_iter().map(|(at, token)| (loc.start() + at, token)).collect();
        Self { text, tokens, used: Vec::new() }
    }

    /// Where `literal` stands nearest to `word`, or else where the policy begins.
    pub(super) fn place(&mut self, about: &About, word: &str, literal: &str) -> Place {
        let places = |wanted: &str| -> Vec<usize> {
            self.tokens.iter().enumerate().filter(|(_, (_, token))| token == wanted).map(|(place, _)| place).collect()
        };
        let words = places(word);
        let free = places(literal).into_iter().filter(|place| !self.used.contains(place));
        let nearest =
            free.min_by_key(|place| words.iter().map(|word| word.abs_diff(*place)).min().unwrap_or(usize::MAX));
        match nearest {
            Some(place) => {
                self.used.push(place);
                Place::at(&PolicyFile { name: &about.file, text: &self.text }, self.tokens[place].0)
            }
            None => Place::of(about),
        }
    }
}

/// Words, numbers and texts in quotes, without comments and without annotations; the rest token by token.
fn tokens(text: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let at = text.len() - rest.len();
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '"' => quoted(rest),
            _ if first.is_alphanumeric() || first == '_' => {
                rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len())
            }
            _ => first.len_utf8(),
        };
        let (token, behind) = rest.split_at(length);
        if !first.is_whitespace() && !token.starts_with("//") {
            found.push((at, token.to_owned()));
        }
        rest = behind;
    }
    without_annotations(found)
}

/// The length of a text in quotes, both of them included.
fn quoted(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            '"' if !is_escaped => return at + 1,
            _ => is_escaped = letter == '\\' && !is_escaped,
        }
    }
    text.len()
}

/// Annotations stand before the effect, and may say the same words.
fn without_annotations(mut tokens: Vec<(usize, String)>) -> Vec<(usize, String)> {
    let is = |place: usize, words: &[&str]| tokens.get(place).is_some_and(|(_, token)| words.contains(&token.as_str()));
    let is_head = |place: &usize| {
        is(*place, &["permit", "forbid"])
            && is(place + 1, &["("])
            && !place.checked_sub(1).is_some_and(|at| is(at, &["@"]))
    };
    match (0..tokens.len()).find(is_head) {
        Some(head) => tokens.split_off(head),
        None => tokens,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_cut_into_words_and_literals_without_comments_and_annotations() {
        let text = "@permit(\"a\")\n@id(\"x\") permit (principal) // \"a\"\nwhen { context.class == 7 && \"\\\"a\" };";

        let found: Vec<String> = tokens(text).into_iter().map(|(_, token)| token).collect();

        let expected = [
            "permit",
            "(",
            "principal",
            ")",
            "when",
            "{",
            "context",
            ".",
            "class",
            "=",
            "=",
            "7",
            "&",
            "&",
            "\"\\\"a\"",
            "}",
            ";",
        ];
        assert_eq!(found, expected);
    }
}
