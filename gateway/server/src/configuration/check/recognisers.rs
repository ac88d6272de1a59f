//! `[recogniser.NAME]`: recognisers of one's own, each held against its examples.

use std::sync::Arc;

use inspection::{
    Checksum, Group, LONGEST_MATCH, MOST_OWN, MOST_OWN_NAME, MOST_WORDS, OWN, OwnRecogniser, OwnRecognisers,
    ShapeError, TextKind, TogetherError,
};

use super::super::document::{Document, FindingGroup, Recogniser, RecogniserChecksum};
use super::super::report::quote;
use super::super::tree::Cursor;
use super::Check;

/// Most examples of one recogniser, and as many texts in which it finds nothing.
const MOST_EXAMPLES: usize = 32;

/// Longest of these texts, in bytes.
const LONGEST_EXAMPLE: usize = 1024;

/// Longest word, in bytes.
const LONGEST_WORD: usize = 32;

impl Check<'_> {
    /// Every recogniser of one's own that can be used.
    pub(super) fn recognisers(&mut self, document: &Document) -> Arc<OwnRecognisers> {
        let written = document.recogniser.iter();
        let list: Vec<OwnRecogniser> = written.filter_map(|(name, one)| self.recogniser(name, one)).collect();
        match OwnRecognisers::new(list) {
            Ok(own) => Arc::new(own),
            Err(error) => {
                let remedy = match error {
                    TogetherError::TooMany(_) | TogetherError::TooLarge => {
                        format!("keep at most {MOST_OWN}, or put several shapes into one pattern with `|`")
                    }
                    TogetherError::Placeholder(..) => {
                        "make the first narrower, or name the second differently".to_owned()
                    }
                };
                self.wrong(self.root.at("recogniser").mark(), format!("recognisers of your own: {error}"), remedy);
                Arc::default()
            }
        }
    }

    /// The kind `custom:NAME` that the document defines.
    pub(super) fn own_kind(&self, kind: &str) -> Option<TextKind> {
        let name = kind.strip_prefix(OWN)?;
        TextKind::own(name, group(self.walked.document.recogniser.get(name)?.group))
    }

    /// The names that policies have for what those in force find, or those that are only tried.
    pub(super) fn own_kinds(&self, is_tried: bool) -> impl Iterator<Item = String> {
        let all = self.walked.document.recogniser.iter();
        all.filter(move |(_, one)| one.tried.unwrap_or_default() == is_tried).map(|(name, _)| format!("{OWN}{name}"))
    }

    fn recogniser(&mut self, name: &str, written: &Recogniser) -> Option<OwnRecogniser> {
        let at = self.place("recogniser", name);
        let Some(kind) = TextKind::own(name, group(written.group)) else {
            let message = format!("{} is no name for `[recogniser.NAME]`", quote(name));
            let remedy = format!("a name has 1 to {MOST_OWN_NAME} of a-z, 0-9 and `_`, and begins with a letter");
            self.wrong(at.key(), message, remedy);
            return None;
        };
        if written.description.trim().is_empty() {
            let message = format!("`recogniser.{name}.description` is blank");
            self.wrong(at.at("description").mark(), message, "say what it finds");
        }
        self.words(at.at("words"), name, written.words.as_deref());
        let checksum = written.checksum.map(checksum);
        let words = written.words.clone().unwrap_or_default();
        let is_tried = written.tried.unwrap_or_default();
        let one = OwnRecogniser { kind, pattern: written.pattern.clone(), words, checksum, is_tried };
        if let Err(error) = one.check() {
            let message = format!("`recogniser.{name}.pattern`: {error}");
            self.wrong(at.at("pattern").mark(), message, remedy_of(&error));
            return None;
        }
        self.examples((at, name), written, &one);
        Some(one)
    }

    fn words(&mut self, at: Cursor<'_>, name: &str, words: Option<&[String]>) {
        let setting = format!("recogniser.{name}.words");
        let Some(words) = words else { return };
        let remedy = format!("it takes 1 to {MOST_WORDS} words; leave it out where the shape is enough");
        if words.is_empty() || words.len() > MOST_WORDS {
            self.wrong(at.mark(), format!("`{setting}` holds {} words", words.len()), remedy);
        }
        for (index, word) in words.iter().enumerate() {
            let is_one = word.trim() == word && word.len() > 1 && word.len() <= LONGEST_WORD;
            if !is_one || word.chars().any(|letter| letter.is_uppercase() || letter.is_control()) {
                let message = format!("`{setting}`: {} is no word to look for", quote(word));
                let remedy =
                    format!("write it in lower case, 2 to {LONGEST_WORD} bytes long; capitals are found as well");
                self.wrong(at.item(index).mark(), message, remedy);
            }
        }
        self.no_repeats(at, &setting, words, |word| quote(word));
    }

    /// Reports each example in which it finds anything but what is marked, and each counterexample in which it finds anything.
    fn examples(&mut self, (at, name): (Cursor<'_>, &str), written: &Recogniser, one: &OwnRecogniser) {
        let Ok(alone) = OwnRecognisers::new(vec![one.clone()]) else { return };
        let lists = [("examples", &written.examples, true), ("counterexamples", &written.counterexamples, false)];
        for (list, texts, is_marked) in lists {
            let setting = format!("recogniser.{name}.{list}");
            let at = at.at(list);
            if texts.is_empty() || texts.len() > MOST_EXAMPLES {
                let message = format!("`{setting}` holds {} texts", texts.len());
                self.wrong(at.mark(), message, format!("it takes 1 to {MOST_EXAMPLES}"));
            }
            for (index, text) in texts.iter().enumerate().take(MOST_EXAMPLES) {
                let at = at.item(index).mark();
                let (plain, expected) = unmarked(text);
                if text.len() > LONGEST_EXAMPLE {
                    let message = format!("`{setting}`: a text is {} bytes long", text.len());
                    self.wrong(at, message, format!("it takes at most {LONGEST_EXAMPLE}"));
                } else if is_marked && expected.is_empty() {
                    let remedy = "put `«` before what it must find, and `»` behind";
                    self.wrong(at, format!("`{setting}`: {} marks nothing", quote(text)), remedy);
                } else {
                    let found = alone.values_in(if is_marked { &plain } else { text }, one.kind);
                    let expected = if is_marked { expected } else { Vec::new() };
                    if found != expected {
                        let message = format!("`{setting}`: in {} it finds {}", quote(text), listed(&found));
                        self.wrong(at, message, format!("it should find {}", listed(&expected)));
                    }
                }
            }
        }
    }
}

/// A text without its marks, and what stands between them.
fn unmarked(text: &str) -> (String, Vec<String>) {
    let mut plain = String::new();
    let mut marked = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('«')
        && let Some((value, after)) = behind.split_once('»')
    {
        plain.push_str(before);
        plain.push_str(value);
        marked.push(value.to_owned());
        rest = after;
    }
    plain.push_str(rest);
    (plain, marked)
}

fn listed(values: &[String]) -> String {
    match values {
        [] => "nothing".to_owned(),
        values => values.iter().map(|value| quote(value)).collect::<Vec<_>>().join(", "),
    }
}

fn remedy_of(error: &ShapeError) -> String {
    match error {
        ShapeError::TooLong(_) | ShapeError::TooLarge => "divide it among several recognisers".to_owned(),
        ShapeError::Syntax(_) => "write it without look-around and back references".to_owned(),
        ShapeError::Unbounded(most) => format!("write how often each part may repeat, `{{1,20}}`, {most} bytes in all"),
        ShapeError::TooShort => format!("name a shape of 3 to {LONGEST_MATCH} bytes"),
        ShapeError::Nothing => "classes match ASCII alone; write other letters as they are, `(?:ä|ö)`".to_owned(),
        ShapeError::Anchored => "write `\\b` where a word begins or ends".to_owned(),
        ShapeError::NoText => "write the letters themselves".to_owned(),
        ShapeError::Placeholder(_) => "make it narrower, or it would find again what redaction has replaced".to_owned(),
    }
}

const fn checksum(written: RecogniserChecksum) -> Checksum {
    match written {
        RecogniserChecksum::Luhn => Checksum::Luhn,
        RecogniserChecksum::Mod11And10 => Checksum::Mod11And10,
        RecogniserChecksum::Mod97 => Checksum::Mod97,
        RecogniserChecksum::Verhoeff => Checksum::Verhoeff,
        RecogniserChecksum::Ean13 => Checksum::Ean13,
    }
}

fn group(written: Option<FindingGroup>) -> Option<Group> {
    written.map(|group| match group {
        FindingGroup::Contact => Group::Contact,
        FindingGroup::NetworkAddress => Group::NetworkAddress,
        FindingGroup::Financial => Group::Financial,
        FindingGroup::NationalId => Group::NationalId,
        FindingGroup::Secret => Group::Secret,
    })
}
