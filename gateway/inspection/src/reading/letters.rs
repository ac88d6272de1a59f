//! One letter at a time: escapes undone, digits of all scripts made ASCII, what nobody sees left out.
//!
//! | written | read as |
//! |---|---|
//! | `\u0040`, `\n`, `\"` (JSON) | what it means; a surrogate that stands alone is U+FFFD |
//! | `\\u0040`, `\\n`, `\\\"`, `\\/` (JSON within a JSON string, or a backslash and a word) | by the [`Reading`] |
//! | decimal digits of any script, full-width forms, superscript and subscript digits | ASCII |
//! | spaces of any width, hyphens and minus signs of any length | a space, `-` |
//! | soft hyphens, zero-width and direction marks, variation selectors | nothing |
//! | control characters, which may stand between two values or within one | by the [`Reading`]: a line break, nothing |
//! | tags, which nobody sees and language models read | by the [`Reading`]: the ASCII letter, nothing |
//!
//! Read as itself: the control character U+007F where it is written so; all others are escapes there, or begin with C2. To look
//! for it made text beyond ASCII three to four in a hundred slower to inspect.
//! Not folded: letters of other scripts that look like Latin ones (Cyrillic `А`), percent encoding, HTML entities.

/// The bytes that one letter is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    bytes: [u8; 4],
    count: u8,
    /// How many bytes it was written with; at least one.
    pub(crate) written: usize,
    /// A control character or a tag, of which the readings differ.
    pub(crate) is_unseen: bool,
}

impl Letter {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.count)).unwrap_or_default()
    }

    fn byte(byte: u8, written: usize) -> Self {
        Self { bytes: [byte, 0, 0, 0], count: 1, written, is_unseen: false }
    }

    fn of(letter: char, written: usize, reading: Reading) -> Self {
        let mut bytes = [0; 4];
        let count = match fold(letter) {
            Some(folded) => folded.encode_utf8(&mut bytes).len() as u8,
            None => return Self::left_out(letter, written, reading),
        };
        Self { bytes, count, written, is_unseen: false }
    }

    /// What nobody sees, which may be read as something in the one reading and is nothing in the other.
    fn left_out(letter: char, written: usize, reading: Reading) -> Self {
        let seen = match u32::from(letter) {
            code @ 0xE0020..=0xE007E => (code - 0xE0000) as u8,
            _ if letter.is_control() => b'\n',
            _ => return Self { bytes: [0; 4], count: 0, written, is_unseen: false },
        };
        let count = u8::from(reading == Reading::Literal);
        Self { bytes: [seen, 0, 0, 0], count, written, is_unseen: true }
    }
}

/// Whether a letter that begins with this byte may be read as something else than it is written as.
///
/// U+00A0 to U+00BF, U+0340 and beyond, and from U+0660 on; not the letters of Latin, Greek, Cyrillic and Hebrew.
pub(crate) const fn is_special(byte: u8) -> bool {
    byte == b'\\' || byte == 0xC2 || byte == 0xCD || byte >= 0xD9
}

/// Bytes that are looked at together, by vector instructions that the compiler makes of the loop over them.
const BLOCK: usize = 64;

/// Whether some byte of `raw` is special.
pub(crate) fn has_special(raw: &[u8]) -> bool {
    let (blocks, rest) = raw.as_chunks::<BLOCK>();
    !blocks.iter().all(is_plain_block) || plain_words(rest) < rest.len()
}

/// Bytes from `raw`'s beginning that are read as they are written.
pub(crate) fn plain_run(raw: &[u8]) -> usize {
    let (blocks, _) = raw.as_chunks::<BLOCK>();
    let clear = blocks.iter().take_while(|block| is_plain_block(block)).count() * BLOCK;
    clear + plain_words(raw.get(clear..).unwrap_or_default())
}

/// Nearly all text is ASCII without a backslash, which takes half the instructions to see.
fn is_plain_block(block: &[u8; BLOCK]) -> bool {
    // The highest bit says it: of the byte itself, or of all bits where it is a backslash.
    let of_byte = |byte: u8| byte | u8::from(byte == b'\\').wrapping_neg();
    let is_plain_ascii = block.iter().fold(0, |seen, byte| seen | of_byte(*byte)) < 0x80;
    is_plain_ascii || !block.iter().fold(false, |found, byte| found | is_special(*byte))
}

/// The same as [`plain_run`] for what is shorter than a block, as most strings are: eight bytes at once.
fn plain_words(raw: &[u8]) -> usize {
    let (words, _) = raw.as_chunks::<8>();
    let is_plain = |word: &&[u8; 8]| is_plain_ascii(**word) || !word.iter().any(|byte| is_special(*byte));
    let clear = words.iter().take_while(is_plain).count() * 8;
    let rest = raw.get(clear..).unwrap_or_default();
    // What is less than a word is seen with the bytes before it, a second time.
    if rest.len() < 8 && raw.last_chunk().is_some_and(|last| is_plain_ascii(*last)) {
        return raw.len();
    }
    clear + rest.iter().position(|byte| is_special(*byte)).unwrap_or(rest.len())
}

/// Whether every byte of a word is ASCII and none a backslash.
fn is_plain_ascii(word: [u8; 8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const BACKSLASHES: u64 = u64::from_ne_bytes([b'\\'; 8]);
    const HIGHEST_BITS: u64 = u64::from_ne_bytes([0x80; 8]);
    let word = u64::from_ne_bytes(word);
    // Of bytes below 0x80, one less has the highest bit only where it was zero, or where a lower one was.
    (word | (word ^ BACKSLASHES).wrapping_sub(ONES)) & HIGHEST_BITS == 0
}

/// How a backslash is read that is a letter of the text itself: nothing tells `C:\new` from a line break in JSON within the
/// string, so such a text is read in both ways. So is one with control characters or tags: nothing tells one that ends a field
/// from one within a number.
///
// INVARIANT: a text is never longer unfolded than literally.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reading {
    /// As a backslash; a control character as a line break, a tag as its letter.
    #[default]
    Literal,
    /// As the beginning of an escape, wherever it can be one; a control character and a tag as nothing.
    Unfolded,
}

/// The letter at the beginning of `raw`, which is not empty and ends where its string does.
pub(crate) fn letter(raw: &[u8], reading: Reading) -> Letter {
    match reading {
        Reading::Literal => twice_escaped_unseen(raw).unwrap_or_else(|| literal(raw, reading)),
        Reading::Unfolded => unfolded(raw, reading).unwrap_or_else(|| literal(raw, reading)),
    }
}

/// A control character or tag as an escape of JSON within the string: it is read as one of the body is.
fn twice_escaped_unseen(raw: &[u8]) -> Option<Letter> {
    let escape = match raw {
        [b'\\', b'\\', rest @ ..] | [b'\\', b'u', b'0', b'0', b'5', b'c' | b'C', rest @ ..] => rest,
        _ => return None,
    };
    // Few letters behind a backslash are an `u`, and most are written as themselves.
    let may_be_one = matches!(escape, [b'u', ..] | [b'\\', b'u', ..]);
    if may_be_one { unfolded(raw, Reading::Literal).filter(|letter| letter.is_unseen) } else { None }
}

/// Whether the readings differ at the beginning of `raw`, where a backslash is a letter of the text.
pub(crate) fn is_ambiguous(raw: &[u8]) -> bool {
    unfolded(raw, Reading::Unfolded).is_some()
}

/// A letter as the JSON of the body means it.
fn literal(raw: &[u8], reading: Reading) -> Letter {
    match *raw {
        [b'\\', b'u', ..] if hex4(raw, 2).is_some() => unicode(raw, reading),
        [b'\\', b'n' | b'r' | b't' | b'b' | b'f', ..] => Letter::byte(b'\n', 2),
        [b'\\', escaped @ (b'"' | b'/' | b'\\'), ..] => Letter::byte(escaped, 2),
        [byte, ..] if byte < 0x80 => Letter::byte(byte, 1),
        [byte, ..] => match wide(raw) {
            Some((letter, written)) => Letter::of(letter, written, reading),
            // No UTF-8, which no body is that `wire` let through: passed on as it is.
            None => Letter::byte(byte, 1),
        },
        [] => Letter { bytes: [0; 4], count: 0, written: 1, is_unseen: false },
    }
}

/// `\uXXXX`, or two of them that are the halves of one letter.
fn unicode(raw: &[u8], reading: Reading) -> Letter {
    let first = hex4(raw, 2).unwrap_or(0xFFFD);
    let second = || hex4(raw, 8).filter(|_| raw.get(6..8) == Some(b"\\u"));
    of_units(first, 6, reading, || second().map(|second| (second, 6)))
}

/// The letter of one unit of UTF-16, or of two where the next is the other half; each with how it was written.
fn of_units(first: u32, written: usize, reading: Reading, next: impl FnOnce() -> Option<(u32, usize)>) -> Letter {
    match first {
        // Tabs and the like are read as line breaks, however they are written.
        0x08 | 0x09 | 0x0C | 0x0D => Letter::byte(b'\n', written),
        0xD800..=0xDBFF => match next().filter(|(second, _)| (0xDC00..=0xDFFF).contains(second)) {
            Some((second, more)) => {
                let joined = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                Letter::of(char::from_u32(joined).unwrap_or('\u{FFFD}'), written + more, reading)
            }
            None => Letter::of('\u{FFFD}', written, reading),
        },
        _ => Letter::of(char::from_u32(first).unwrap_or('\u{FFFD}'), written, reading),
    }
}

/// An escape of JSON within the string, where one begins at the beginning of `raw`.
///
/// Two backslashes are left as they are, so that JSON within JSON within the string is unfolded as well.
fn unfolded(raw: &[u8], reading: Reading) -> Option<Letter> {
    let (b'\\', slash) = inner(raw, 0)? else { return None };
    let (escaped, behind) = inner(raw, slash)?;
    match escaped {
        b'u' => {
            let (first, written) = inner_hex4(raw, behind)?;
            let second = || {
                let (b'\\', slash) = inner(raw, written)? else { return None };
                let (b'u', behind) = inner(raw, slash)? else { return None };
                inner_hex4(raw, behind).map(|(second, end)| (second, end - written))
            };
            Some(of_units(first, written, reading, second))
        }
        b'n' | b'r' | b't' | b'b' | b'f' => Some(Letter::byte(b'\n', behind)),
        b'"' | b'/' => Some(Letter::byte(escaped, behind)),
        _ => None,
    }
}

/// The ASCII letter that the JSON of the body means at `at`, and where the next one begins.
fn inner(raw: &[u8], at: usize) -> Option<(u8, usize)> {
    let raw = raw.get(at..)?;
    match *raw {
        [b'\\', b'u', ..] => {
            let code = hex4(raw, 2).and_then(|code| u8::try_from(code).ok()).filter(u8::is_ascii)?;
            Some((code, at + 6))
        }
        [b'\\', escaped @ (b'"' | b'/' | b'\\'), ..] => Some((escaped, at + 2)),
        [b'\\', ..] | [] => None,
        [byte, ..] => byte.is_ascii().then_some((byte, at + 1)),
    }
}

/// Four hexadecimal digits at `at`, each of which may be escaped, and where what follows begins.
fn inner_hex4(raw: &[u8], at: usize) -> Option<(u32, usize)> {
    (0..4).try_fold((0, at), |(number, at), _| {
        let (digit, behind) = inner(raw, at)?;
        Some((number * 16 + char::from(digit).to_digit(16)?, behind))
    })
}

pub(super) fn hex4(raw: &[u8], at: usize) -> Option<u32> {
    let digits = raw.get(at..at + 4)?;
    digits.iter().try_fold(0, |number, byte| Some(number * 16 + char::from(*byte).to_digit(16)?))
}

/// The letter of several bytes at the beginning of `raw`, and how many.
fn wide(raw: &[u8]) -> Option<(char, usize)> {
    let length = match raw.first()? {
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => return None,
    };
    let letter = std::str::from_utf8(raw.get(..length)?).ok()?.chars().next()?;
    Some((letter, length))
}

/// What a letter is read as; `None` where nobody sees it.
fn fold(letter: char) -> Option<char> {
    let code = u32::from(letter);
    // Most letters beyond ASCII: Latin with marks, Greek, Cyrillic, Chinese, Korean.
    if matches!(code, 0xC0..=0x33F | 0x350..=0x65F | 0x3100..=0xA61F | 0xAC00..=0xD7FF) {
        return Some(letter);
    }
    match code {
        0x0B | 0x85 => Some('\n'),
        0..=0x09 | 0x0C..=0x1F | 0x7F..=0x9F | 0xE0000..=0xE007F | 0xE0100..=0xE01EF => None,
        0xAD | 0x34F | 0x180E | 0x200B..=0x200F | 0x202A..=0x202E | 0x2060..=0x2069 | 0xFE00..=0xFE0F | 0xFEFF => None,
        0xA0 | 0x1680 | 0x2000..=0x200A | 0x2028..=0x2029 | 0x202F | 0x205F | 0x3000 => Some(' '),
        0x2010..=0x2015 | 0x2043 | 0x2212 | 0xFE58 | 0xFE63 => Some('-'),
        0x2024 | 0x3002 | 0xFE52 | 0xFF61 => Some('.'),
        0xFE6B => Some('@'),
        0xFF01..=0xFF5E => char::from_u32(code - 0xFEE0),
        0xB2 | 0xB3 => char::from_u32(code - 0xB2 + u32::from(b'2')),
        0xB9 => Some('1'),
        0x2070 | 0x2074..=0x2079 => char::from_u32(code - 0x2070 + u32::from(b'0')),
        0x2080..=0x2089 => char::from_u32(code - 0x2080 + u32::from(b'0')),
        0x1D7CE..=0x1D7FF => char::from_u32((code - 0x1D7CE) % 10 + u32::from(b'0')),
        _ => Some(digit(code).unwrap_or(letter)),
    }
}

/// The ASCII digit for a decimal digit of another script.
fn digit(code: u32) -> Option<char> {
    let at = ZEROS.partition_point(|zero| *zero <= code).checked_sub(1)?;
    let value = code - ZEROS.get(at)?;
    if value < 10 { char::from_u32(value + u32::from(b'0')) } else { None }
}

/// The zero of every script with decimal digits in a row: Unicode 16, general category Nd.
const ZEROS: [u32; 66] = [
    0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66, 0x0DE6, 0x0E50,
    0x0ED0, 0x0F20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0, 0x1C40, 0x1C50,
    0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0xFF10, 0x104A0, 0x10D30, 0x10D40, 0x11066, 0x110F0,
    0x11136, 0x111D0, 0x112F0, 0x11450, 0x114D0, 0x11650, 0x116C0, 0x116D0, 0x116DA, 0x11730, 0x118E0, 0x11950,
    0x11BF0, 0x11C50, 0x11D50, 0x11DA0, 0x11F50, 0x16130, 0x16A60, 0x16AC0, 0x16B50, 0x16D70, 0x1E140, 0x1E2F0,
    0x1E4F0,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn read_as(raw: &str, reading: Reading) -> String {
        let mut rest = raw.as_bytes();
        let mut out = Vec::new();
        while !rest.is_empty() {
            let next = letter(rest, reading);
            let (literal, unfolded) = (letter(rest, Reading::Literal), letter(rest, Reading::Unfolded));
            assert_eq!(is_ambiguous(rest) || literal.is_unseen, literal != unfolded, "{raw}");
            if literal.written == unfolded.written {
                assert!(unfolded.bytes().len() <= literal.bytes().len(), "{raw} is not longer");
            }
            out.extend_from_slice(next.bytes());
            rest = rest.get(next.written..).expect("a letter is not longer than the text");
        }
        String::from_utf8(out).expect("letters are read as letters")
    }

    fn read(raw: &str) -> String {
        let text = read_as(raw, Reading::Literal);
        assert_eq!(text, read_as(raw, Reading::Unfolded), "{raw} is read in one way");
        text
    }

    #[test]
    fn escapes_are_undone_once_and_in_the_other_reading_twice() {
        let table = [
            (r"a\\u0040b", r"a\u0040b", "a@b"),
            (r"a\u005c\u0075\u0030040b", r"a\u0040b", "a@b"),
            (r"\ud835\udfd8\\ud835\\udfd9", r"0\ud835\udfd9", "01"),
            (r"\\u005C\\n", r"\u005C\n", "\\\n"),
            (r#"x\nDE\\nDE\"q\" \\\"r\\\""#, "x\nDE\\nDE\"q\" \\\"r\\\"", "x\nDE\nDE\"q\" \"r\""),
            (r"C:\\new\\dir\/x\\/y\\\\t", r"C:\new\dir/x\/y\\t", "C:\new\\dir/x/y\\\n"),
        ];
        for (raw, literal, unfolded) in table {
            assert_eq!(read_as(raw, Reading::Literal), literal, "{raw}");
            assert_eq!(read_as(raw, Reading::Unfolded), unfolded, "{raw}");
        }
        assert_eq!(read(r"a\u0040b\t\u0009\\dir\\"), "a@b\n\n\\dir\\");
    }

    #[test]
    fn half_a_surrogate_pair_is_read_as_a_replacement() {
        assert_eq!(read(r"\ud800x\udc00"), "\u{FFFD}x\u{FFFD}");
        assert_eq!(read(r"\ud800\u0041"), "\u{FFFD}A");
        assert_eq!(read(r"\u12"), r"\u12");
        assert_eq!(read_as(r"\\ud800\\u0041", Reading::Unfolded), "\u{FFFD}A");
        assert_eq!(read_as(r"\\u12", Reading::Unfolded), r"\u12");
    }

    #[test]
    fn digits_of_all_scripts_are_digits() {
        assert_eq!(read("١٢٣ ۴۵۶ ७८९ ０１２ ²³¹ ₀₉ 𝟘𝟙 𝟿"), "123 456 789 012 231 09 01 9");
        assert_eq!(read("Ⅷ ½ 十"), "Ⅷ ½ 十", "no decimal digits");
    }

    #[test]
    fn what_nobody_sees_is_left_out_and_what_looks_the_same_is_the_same() {
        assert_eq!(read("DE89\u{a0}3704\u{202f}0044\u{2011}05\u{ad}32\u{200b}0"), "DE89 3704 0044-05320");
        assert_eq!(read("ａ＠ｂ．ｃｏ"), "a@b.co");
        assert_eq!(read("größe Ωμέγα имя 漢字 é"), "größe Ωμέγα имя 漢字 é");
    }

    #[test]
    fn control_characters_are_read_as_line_breaks_and_as_nothing_but_for_those_that_end_a_line() {
        for (raw, literal, unfolded) in [
            ("x\u{e0044}\u{e0045}\u{e0038}\u{e007f}\u{e0001}9", "xDE89", "x9"),
            (r"\udb40\udc5c\\udb40\\udc20x", "\\ x", "x"),
            (r"DE\u000089\u001b 3\u0007704\u007f\u00800\u009f044", "DE\n89\n 3\n704\n\n0\n044", "DE89 37040044"),
            ("DE\u{80}89\u{9f}\u{e001f}\u{e01ef}", "DE\n89\n", "DE89"),
            (r"DE\\u000089", "DE\n89", "DE89"),
            (r"DE\u005cu\u00300\u0030189", "DE\n89", "DE89"),
            (r"DE\\\\u000089", "DE\\\n89", r"DE\89"),
            (r"DE\\u00ad89", r"DE\u00ad89", "DE89"),
        ] {
            assert_eq!(read_as(raw, Reading::Literal), literal, "{raw}");
            assert_eq!(read_as(raw, Reading::Unfolded), unfolded, "{raw}");
        }
        assert_eq!(read("DE\u{7f}89"), "DE\u{7f}89", "as itself it is not looked for");
        assert_eq!(read(r"a\u000bb\u0085c\u000ad\u000ce"), "a\nb\nc\nd\ne");
    }

    #[test]
    fn bytes_that_are_no_text_are_passed_over_one_by_one() {
        for raw in [&b"\xff"[..], b"\xc3", b"\xe2\x80", b"\xed\xa0\x80", b"\xf8\x88"] {
            let letter = letter(raw, Reading::Literal);

            assert_eq!((letter.bytes(), letter.written), (&raw[..1], 1));
        }
    }

    #[test]
    fn every_letter_that_is_read_otherwise_begins_with_a_special_byte() {
        // Below a space JSON has escapes alone.
        let all = (0..=0x10_FFFF).filter_map(char::from_u32).filter(|letter| *letter >= ' ' && *letter != '\u{7f}');
        for letter in all.filter(|letter| fold(*letter) != Some(*letter)) {
            let mut bytes = [0; 4];
            let first = letter.encode_utf8(&mut bytes).as_bytes()[0];
            assert!(is_special(first), "U+{:04X}", u32::from(letter));
        }
    }

    #[test]
    fn a_plain_run_ends_at_the_first_special_byte() {
        for at in 0..140 {
            let text = format!("{}\\n{}", "é".repeat(at), "x".repeat(80));
            assert_eq!(plain_run(text.as_bytes()), at * 2);
            assert!(has_special(text.as_bytes()));
        }
        assert!(!has_special("größe ".repeat(40).as_bytes()));
    }

    #[test]
    fn a_special_byte_is_seen_wherever_it_stands_and_no_other_is_taken_for_one() {
        for length in 0..=150 {
            for at in 0..length {
                for byte in 0..=255 {
                    let mut text = vec![if length % 2 == 0 { b'a' } else { b']' }; length];
                    text[at] = byte;
                    assert_eq!(has_special(&text), is_special(byte), "{byte:#x} at {at} of {length}");
                    assert_eq!(plain_run(&text), if is_special(byte) { at } else { length });
                }
            }
        }
    }
}
