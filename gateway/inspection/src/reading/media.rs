//! What in a string is not text: media, and text that was packed as base64.
//!
//! | a string that | is |
//! |---|---|
//! | is a `data:` URL of a text type in base64 | unpacked and read |
//! | is any other `data:` URL in base64 | media, and passed over |
//! | has at least 16 letters, all of them base64 | unpacked and read where that gives UTF-8 text |
//! | has at least 256 such letters that give none | media |
//! | gives text with control characters, in a `data:` URL or from 256 letters on | read, and media as well |
//! | holds base64 among other text | read as it stands |
//!
//! What is no `data:` URL is read as it stands as well, since nothing tells base64 from other text for certain: a column of
//! account numbers has no other letters either. Only what is long and written as programs write base64 is not.

use super::packing::{Written, controls_in};

/// What a string is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Substance {
    /// Text as it stands.
    Text,
    /// Text that was packed: what it says, how many bytes stand in front of the base64, whether it is read as it stands as
    /// well, and whether it may be something else than text, and counts as media too.
    Packed { text: Vec<u8>, head: usize, stands: bool, is_doubtful: bool },
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
    #[cfg(test)]
    if tests::AS_IT_STANDS.get() {
        return Substance::Text;
    }
    let written = if raw.len() < FEWEST { None } else { Written::of(raw) };
    let Some(written) = written.filter(|written| written.count() >= FEWEST) else { return Substance::Text };
    let is_long = written.count() >= MEDIA;
    let stands = written.count() <= MOST_STANDING || !written.is_as_programs_write();
    match written.text() {
        Some(text) => {
            let is_doubtful = is_long && controls_in(&text) > 0;
            Substance::Packed { text, head: 0, stands, is_doubtful }
        }
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
    let unpacked = types.into_iter().any(is_text).then(|| Written::of_said(payload)?.text()).flatten();
    match unpacked {
        Some(text) => {
            let is_doubtful = controls_in(&text) > 0;
            Substance::Packed { text, head: comma + 1, stands: false, is_doubtful }
        }
        None => Substance::Media { stands: false },
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    use super::super::packing::{MOST_UNPACKED, pack};
    use super::*;

    thread_local! {
        /// Whether this thread reads strings as they stand only: what a test holds its answers against.
        pub(crate) static AS_IT_STANDS: Cell<bool> = const { Cell::new(false) };
    }

    fn noise(bytes: u32) -> Vec<u8> {
        (0..bytes).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8 | 0x80).collect()
    }

    fn packed(text: &[u8], head: usize, stands: bool) -> Substance {
        Substance::Packed { text: text.to_vec(), head, stands, is_doubtful: false }
    }

    #[test]
    fn text_that_was_packed_is_unpacked() {
        let text = b"my IBAN is DE89 3704 0044 0532 0130 00";
        let bare = pack(text);
        let url = format!("data:text/plain;charset=utf-8;base64,{bare}");
        let long = pack("ä line of text\n".repeat(30).as_bytes());

        assert_eq!(judge(url.as_bytes()), packed(text, url.len() - bare.len(), false));
        assert_eq!(judge(url.replace("BERT", r"BE\tRT").as_bytes()), packed(text, url.len() - bare.len(), false));
        assert_eq!(judge(bare.as_bytes()), packed(text, 0, true));
        for bare in [long.replace('/', "\\/").replace('A', "A\\n"), long] {
            assert_eq!(judge(bare.as_bytes()), packed("ä line of text\n".repeat(30).as_bytes(), 0, true));
        }
    }

    #[test]
    fn what_cannot_be_read_is_media() {
        let bare = pack(&noise(900));
        let png = format!("data:image/png;base64,{bare}");
        let said_to_be_text = format!("data:text/plain;base64,{bare}");

        assert_eq!(judge(bare.as_bytes()), Substance::Media { stands: true });
        for media in [&png, &said_to_be_text, &"DATA:Image/PNG;BASE64,AAAA".to_owned()] {
            assert_eq!(judge(media.as_bytes()), Substance::Media { stands: false }, "{media}");
        }
    }

    #[test]
    fn text_with_control_characters_is_read_and_media_too_where_media_would_be_seen() {
        let judged = |text: &[u8], head: &str| match judge(format!("{head}{}", pack(text)).as_bytes()) {
            Substance::Packed { text: read, is_doubtful, .. } => (read == text, is_doubtful),
            _ => (false, false),
        };

        assert_eq!(judged(&b"line\x07 of text ".repeat(11), ""), (true, false));
        assert_eq!(judged(&b"line\x07 of text ".repeat(14), ""), (true, true));
        assert_eq!(judged(&b"line of text ".repeat(30), ""), (true, false));
        assert_eq!(judged(b"\x07 of text", "data:text/plain;base64,"), (true, true));
    }

    #[test]
    fn other_text_is_text() {
        let (words, table) = ("word ".repeat(100), r"DE89370400440532013000\tDE89370400440532013000\n".repeat(50));
        let spaced = r"QUJDREVGR0hJSktMTU5P\u0020".repeat(50);
        for text in ["data:,hello", "data: is a word", "QUJDREVG", "", "================", &words, &table, &spaced] {
            assert_eq!(judge(text.as_bytes()), Substance::Text, "{text}");
        }
    }

    #[test]
    fn words_and_identifiers_are_text() {
        for text in [
            "internationalization",
            "max_completion_tokens",
            "toolu_01A09q90qw90lq917835lq9",
            "chatcmpl-9vQ4x3b8Zk1sD7uLmN2oP5rT",
            "gateway/inspection/src/reading/media",
            "d41d8cd98f00b204e9800998ecf8427e",
            "D41D8CD98F00B204E9800998ECF8427E",
            "123e4567-e89b-12d3-a456-426614174000",
            "01ARZ3NDEKTSV4RRFFQ69G5FAV",
            "DE89370400440532013000",
            "4111111111111111",
            "AAAAAAAAAAAAAAAAAAAAAAAA",
            "AKIAIOSFODNN7EXAMPLE",
            "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        ] {
            assert_eq!(judge(text.as_bytes()), Substance::Text, "{text}");
        }
    }

    #[test]
    fn base64_is_unpacked_from_sixteen_letters_on_its_padding_among_them() {
        assert_eq!(judge(b"YWJjZGVmZ2hpamts"), packed(b"abcdefghijkl", 0, true));
        assert_eq!(judge(b"YWJjZGVmZ2hpams="), packed(b"abcdefghijk", 0, true));
        assert_eq!(judge(b"YWJjZGVmZ2hpams"), Substance::Text);
        assert_eq!(judge(br"YWJjZGVm\u005a2hpams"), Substance::Text, "an escape is one letter");
        assert_eq!(judge(br"YWJjZGVmZ2hpams\n\n"), Substance::Text, "a line break is none");
    }

    #[test]
    fn base64_that_is_no_text_is_media_from_256_letters_on() {
        let bare = pack(&noise(192));
        assert_eq!(judge(bare.as_bytes()), Substance::Media { stands: true });
        assert_eq!(judge(&bare.as_bytes()[1..]), Substance::Text);
        let escaped = bare.split_at(1).1.replace('7', r"\u0037").replace('/', r"\/") + r"\n\r\n";
        assert!(escaped.len() > 300);
        assert_eq!(judge(escaped.as_bytes()), Substance::Text, "letters count, however they are written");
        assert_eq!(judge((escaped + r"\u0041").as_bytes()), Substance::Media { stands: true });
    }

    #[test]
    fn base64_is_read_as_it_stands_as_well_up_to_4096_letters_and_beyond_where_no_program_writes_so() {
        for (what, stands) in [(&b"text, "[..], true), (&noise(6), false)] {
            let judged = |raw: &str| match judge(raw.as_bytes()) {
                Substance::Packed { stands, .. } if what.is_ascii() => stands,
                Substance::Media { stands } if !what.is_ascii() => stands,
                other => panic!("{stands}: {other:?}"),
            };
            let bare = pack(&what.repeat(513));
            let in_lines = |width: usize, end: &str| {
                let lines: Vec<_> = bare.as_bytes().chunks(width).map(String::from_utf8_lossy).collect();
                lines.join(end) + end
            };
            assert_eq!(bare.len(), 4104);

            assert!(judged(bare.split_at(4096).0));
            assert!(!judged(&bare));
            for usual in [in_lines(76, r"\n"), in_lines(64, r"\r\n"), bare.replace('/', r"\/")] {
                assert!(!judged(&usual), "{usual}");
            }
            let odd = [
                in_lines(22, r"\n"),
                in_lines(76, r"\u000a"),
                in_lines(76, r"\\n"),
                format!("{}\\n{bare}", bare.split_at(8).0),
            ];
            let figures = pack(&noise(6)).to_lowercase().repeat(600);
            assert!(what.is_ascii() || judged(&figures));
            for odd in odd.into_iter().chain([format!(r"\u{:04x}{}", bare.as_bytes()[0], bare.split_at(1).1)]) {
                assert!(judged(&odd), "{odd}");
            }
        }
    }

    #[test]
    fn at_most_four_mebibytes_are_unpacked() {
        let text = vec![b'x'; MOST_UNPACKED + 1];
        for (bytes, is_unpacked) in [(MOST_UNPACKED, true), (MOST_UNPACKED + 1, false)] {
            let bare = pack(&text[..bytes]);
            assert_eq!(matches!(judge(bare.as_bytes()), Substance::Packed { .. }), is_unpacked, "{bytes}");
            let url = format!("data:text/plain;base64,{}", bare.trim_end_matches('='));
            assert_eq!(matches!(judge(url.as_bytes()), Substance::Packed { .. }), is_unpacked, "{bytes}");
        }
    }
}
