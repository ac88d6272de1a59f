//! What in a string is not text: media, and text that was packed as base64.
//!
//! | a string that | is |
//! |---|---|
//! | is a `data:` URL of a text type in base64 | unpacked and read |
//! | is any other `data:` URL in base64 | media, and passed over |
//! | has at least 16 letters, all of them base64 | unpacked and read where that gives UTF-8 text |
//! | has at least 256 such letters that give none | media |
//! | holds base64 among other text | read as it stands |
//!
//! What is no `data:` URL is read as it stands as well, since nothing tells base64 from other text for certain: a column of
//! account numbers has no other letters either. Only what is long and written as programs write base64 is not.

use super::packing::Written;

/// What a string is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Substance {
    /// Text as it stands.
    Text,
    /// Text that was packed: what it says, how many bytes stand in front of the base64, and whether it is read as it stands
    /// as well.
    Packed { text: Vec<u8>, head: usize, stands: bool },
    /// Nothing that can be read here, but perhaps as it stands.
    Media { stands: bool },
}

/// Fewest letters of base64 that is unpacked, its padding among them.
const FEWEST: usize = 16;

/// Fewest letters of base64 that is media where it packs no text.
const MEDIA: usize = 256;

/// Most letters of base64 that is read as it stands in any case.
const MOST_STANDING: usize = 4096;

/// Judges a string as it was written, without its quotes.
pub(crate) fn judge(raw: &[u8]) -> Substance {
    if raw.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"data:")) {
        return data_url(raw);
    }
    let written = if raw.len() < FEWEST { None } else { Written::of(raw) };
    let Some(written) = written.filter(|written| written.count() >= FEWEST) else { return Substance::Text };
    let is_long = written.count() >= MEDIA;
    let stands = written.count() <= MOST_STANDING || !written.is_as_programs_write();
    match written.text() {
        Some(text) => Substance::Packed { text, head: 0, stands },
        None if is_long => Substance::Media { stands },
        None => Substance::Text,
    }
}

fn data_url(raw: &[u8]) -> Substance {
    let Some(comma) = memchr::memchr(b',', raw.get(..512).unwrap_or(raw)) else { return Substance::Text };
    let (head, payload) = (raw.get(..comma).unwrap_or_default(), raw.get(comma + 1..).unwrap_or_default());
    let head = head.to_ascii_lowercase();
    if !head.ends_with(b"base64") {
        return Substance::Text;
    }
    let is_text = |kind: &[u8]| memchr::memmem::find(&head, kind).is_some();
    let types: [&[u8]; 7] = [b"text\\/", b"text/", b"json", b"xml", b"yaml", b"csv", b"javascript"];
    let unpacked = types.into_iter().any(is_text).then(|| Written::of(payload)?.text()).flatten();
    match unpacked {
        Some(text) => Substance::Packed { text, head: comma + 1, stands: false },
        None => Substance::Media { stands: false },
    }
}
