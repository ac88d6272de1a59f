//! Base64 as a JSON string holds it: its letters, what they say, and the same writing for another text.
//!
//! | written | is |
//! |---|---|
//! | `A` to `Z`, `a` to `z`, `0` to `9`, `+`, `/`, or `-`, `_` | letters, those of one alphabet |
//! | `=`, at the end, of the whole or of pieces that were put together | padding, which may be missing |
//! | `=` anywhere else | nothing |
//! | `\n`, `\r`, `\u000a`, `\\n` (JSON within the JSON string) | a line break, anywhere |
//! | `\/`, `\u002b`, `\\/`, `\\u002b` | the letter that is meant |
//! | anything else, a tab and a space among it | no base64 |
//!
//! A backslash is no letter of base64, so here nothing is ambiguous that [`letters`](super::letters) reads in two ways.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::letters::hex4;

/// Most bytes that are unpacked from one string.
pub(crate) const MOST_UNPACKED: usize = 4 << 20;

/// Bytes that are no control characters which make a text however many there are. Most values that are looked for have more.
const ENOUGH: usize = 8;

/// Letters that tell an image from a text without unpacking all of it; they pack whole bytes.
const BEGINNING: usize = 64;

/// Letters in a line of MIME (RFC 2045 section 6.8) and of PEM (RFC 7468 section 2).
const USUAL_WIDTHS: [usize; 2] = [76, 64];

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const USUAL: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const FOR_URLS: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);
const BARE: GeneralPurposeConfig = LENIENT.with_encode_padding(false);
const USUAL_BARE: GeneralPurpose = GeneralPurpose::new(&STANDARD, BARE);
const FOR_URLS_BARE: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, BARE);

/// What may stand between letters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spaces {
    LineBreaks,
    TabsToo,
}

/// A string that is base64 from its first letter to its last, without saying what it packs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Written<'a> {
    /// Without line breaks, and without the padding at the end.
    letters: Cow<'a, [u8]>,
    padding: usize,
    lines: Lines,
    /// Escapes that hardly any writer of base64 needs, so that the string may be something else.
    has_odd_escapes: bool,
}

impl<'a> Written<'a> {
    /// Nothing where some letter of `raw` is none of base64. Text shows that by its first space, a word or two into it.
    pub(crate) fn of(raw: &'a [u8]) -> Option<Self> {
        Self::with(raw, Spaces::LineBreaks)
    }

    /// The same for what is said to be base64, as in a URL: there a tab tells nothing.
    pub(crate) fn of_said(raw: &'a [u8]) -> Option<Self> {
        Self::with(raw, Spaces::TabsToo)
    }

    fn with(raw: &'a [u8], spaces: Spaces) -> Option<Self> {
        let (blocks, rest) = raw.as_chunks::<16>();
        if !blocks.iter().all(|block| fits(block)) || !fits(rest) {
            return None;
        }
        match memchr::memchr(b'\\', raw) {
            None => Some(Self::trimmed(Cow::Borrowed(raw), Lines::default(), false)),
            Some(first) => Self::of_escaped(raw, first, spaces),
        }
    }

    fn of_escaped(raw: &[u8], first: usize, spaces: Spaces) -> Option<Written<'static>> {
        let mut letters = Vec::with_capacity(raw.len());
        let (mut lines, mut has_odd_escapes) = (Lines::default(), false);
        let (mut at, mut until) = (0, first);
        loop {
            letters.extend_from_slice(raw.get(at..until).unwrap_or_default());
            let Some(escape) = raw.get(until..).filter(|rest| !rest.is_empty()) else { break };
            let (letter, written) = letter(escape)?;
            match letter {
                b'\n' | b'\r' => lines.end(letters.len()),
                b'\t' if spaces == Spaces::TabsToo => lines.end(letters.len()),
                _ if fits(&[letter]) && letter != b'\\' => letters.push(letter),
                _ => return None,
            }
            has_odd_escapes |= written > 2;
            at = until + written;
            until = memchr::memchr(b'\\', raw.get(at..)?).map_or(raw.len(), |next| at + next);
        }
        lines.end(letters.len());
        Some(Written::trimmed(Cow::Owned(letters), lines, has_odd_escapes))
    }

    fn trimmed(mut letters: Cow<'a, [u8]>, lines: Lines, has_odd_escapes: bool) -> Self {
        let padding = letters.iter().rev().take_while(|letter| **letter == b'=').count();
        let count = letters.len() - padding;
        match &mut letters {
            Cow::Borrowed(all) => *all = all.get(..count).unwrap_or_default(),
            Cow::Owned(all) => all.truncate(count),
        }
        Self { letters, padding, lines, has_odd_escapes }
    }

    /// Its letters and its padding; line breaks do not count, and an escape is one letter.
    pub(crate) fn count(&self) -> usize {
        self.letters.len() + self.padding
    }

    /// Whether nobody writes like this but a program that packs: in one run, or in lines as long as MIME's or PEM's, with small
    /// letters and capitals, of which figures and most identifiers lack one.
    pub(crate) fn is_as_programs_write(&self) -> bool {
        let has_both =
            || self.letters.iter().any(u8::is_ascii_lowercase) && self.letters.iter().any(u8::is_ascii_uppercase);
        !self.has_odd_escapes && self.lines.are_usual() && has_both()
    }

    /// What was packed, where it is UTF-8 of which at most half are control characters other than tabs and line breaks, or all
    /// but eight bytes.
    ///
    /// By chance that is so of one in eight hundred identifiers of 16 letters, and of one in sixteen thousand of 24.
    pub(crate) fn text(&self) -> Option<Vec<u8>> {
        if !may_begin_a_text(self.letters.first()) || self.letters.len() * 3 / 4 > MOST_UNPACKED {
            return None;
        }
        if memchr::memchr(b'=', &self.letters).is_none() {
            return text_of([&*self.letters]);
        }
        // A piece with padding ends where it says. Where that gives no text somebody may have put `=` between letters.
        let mut letters = in_pieces(&self.letters);
        text_of(letters.split(|letter| *letter == b'=')).or_else(|| {
            letters.retain(|letter| *letter != b'=');
            text_of([&*letters])
        })
    }
}

/// The letters with one `=` behind each piece that ends: one whose last letters and the `=` behind them are four or more.
/// Any other `=` cannot be padding, and is passed over as lenient decoders do.
fn in_pieces(letters: &[u8]) -> Vec<u8> {
    let mut pieces = Vec::with_capacity(letters.len());
    let mut begin = 0;
    for run in letters.chunk_by(|one, next| (*one == b'=') == (*next == b'=')) {
        let last = (pieces.len() - begin) % 4;
        if run.first() != Some(&b'=') {
            pieces.extend_from_slice(run);
        } else if last >= 2 && last + run.len() >= 4 {
            pieces.push(b'=');
            begin = pieces.len();
        }
    }
    pieces
}

/// The text that these pieces pack together.
fn text_of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    for piece in pieces {
        if let Some(beginning) = piece.get(..BEGINNING).filter(|_| text.is_empty() && piece.len() > BEGINNING)
            && !is_utf8(&decode(beginning)?)
        {
            return None;
        }
        let unpacked = decode(piece)?;
        if text.is_empty() {
            text = unpacked;
        } else {
            text.extend(unpacked);
        }
    }
    let controls = controls_in(&text);
    let is_enough = controls * 2 <= text.len() || text.len() - controls >= ENOUGH;
    let is_text = is_enough && std::str::from_utf8(&text).is_ok();
    is_text.then_some(text)
}

/// Control characters that no text has: all but tabs and line breaks.
pub(crate) fn controls_in(text: &[u8]) -> usize {
    text.iter().filter(|byte| (**byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r')) || **byte == 0x7F).count()
}

/// Whether base64 with this letter first can pack a text: no byte that begins a letter of UTF-8 is from 0x80 to 0xBF, or above
/// 0xF7. It tells most words and identifiers from what is packed, and costs nothing.
fn may_begin_a_text(letter: Option<&u8>) -> bool {
    !matches!(letter, None | Some(b'g'..=b'v' | b'+' | b'/' | b'-' | b'_'))
}

/// Whether all of these bytes are letters or padding of base64, or a backslash. Without a branch, so that the loop becomes
/// vector instructions.
fn fits(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |fits, &byte| {
        let is_word = ((byte | 0x20).wrapping_sub(b'a') < 26) | (byte.wrapping_sub(b'0') < 10);
        let is_sign = (byte == b'+') | (byte == b'/') | (byte == b'-') | (byte == b'_');
        fits & (is_word | is_sign | (byte == b'=') | (byte == b'\\'))
    })
}

/// The lines in which base64 is written, by their letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Lines {
    /// Where the line that is being read begins.
    from: usize,
    count: usize,
    first: usize,
    longest: usize,
    last: usize,
    /// Some line that is not the last is not as long as the first.
    are_uneven: bool,
}

impl Lines {
    /// Ends a line at so many letters; an empty one is none.
    fn end(&mut self, letters: usize) {
        if letters == self.from {
            return;
        }
        self.are_uneven |= self.count > 0 && self.last != self.first;
        self.last = letters - self.from;
        self.longest = self.longest.max(self.last);
        if self.count == 0 {
            self.first = self.last;
        }
        self.count += 1;
        self.from = letters;
    }

    fn are_usual(&self) -> bool {
        self.count < 2 || (!self.are_uneven && self.last <= self.first && USUAL_WIDTHS.contains(&self.first))
    }
}

/// The letter at the beginning of `raw` and how many bytes it is written with, escapes undone once or twice.
fn letter(raw: &[u8]) -> Option<(u8, usize)> {
    let (first, slash) = unescaped(raw)?;
    if first != b'\\' {
        return Some((first, slash));
    }
    let next = |at: usize| unescaped(raw.get(at..)?).map(|(letter, written)| (letter, at + written));
    let (escaped, behind) = next(slash)?;
    match escaped {
        b'n' => Some((b'\n', behind)),
        b'r' => Some((b'\r', behind)),
        b't' | b'b' | b'f' => Some((b'\t', behind)),
        b'/' => Some((b'/', behind)),
        b'u' => {
            let (code, behind) = (0..4).try_fold((0, behind), |(code, at), _| {
                let (digit, behind) = next(at)?;
                Some((code * 16 + char::from(digit).to_digit(16)?, behind))
            })?;
            Some((ascii(code)?, behind))
        }
        _ => None,
    }
}

/// The same with escapes undone once.
fn unescaped(raw: &[u8]) -> Option<(u8, usize)> {
    match *raw {
        [b'\\', b'u', ..] => Some((ascii(hex4(raw, 2)?)?, 6)),
        [b'\\', b'n', ..] => Some((b'\n', 2)),
        [b'\\', b'r', ..] => Some((b'\r', 2)),
        [b'\\', b't' | b'b' | b'f', ..] => Some((b'\t', 2)),
        [b'\\', escaped @ (b'/' | b'\\'), ..] => Some((escaped, 2)),
        [b'\\', ..] | [] => None,
        [byte, ..] => Some((byte, 1)),
    }
}

fn ascii(code: u32) -> Option<u8> {
    u8::try_from(code).ok().filter(u8::is_ascii)
}

fn decode(letters: &[u8]) -> Option<Vec<u8>> {
    if is_for_urls(letters) { FOR_URLS.decode(letters).ok() } else { USUAL.decode(letters).ok() }
}

fn is_for_urls(letters: &[u8]) -> bool {
    memchr::memchr2(b'-', b'_', letters).is_some()
}

/// Whether it is UTF-8; a letter cut at the end is no matter.
fn is_utf8(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).err().is_none_or(|error| error.error_len().is_none())
}

/// `text` packed as base64, written as `like` is, which stands in a JSON string: in the same alphabet, with padding or without,
/// in lines of the same length with the same breaks, behind the last as well.
///
/// Where `like` does not show it, as it is most often: the usual alphabet with padding, the one for URLs without. `None` where
/// `like` is no base64.
pub(crate) fn pack_like(like: &[u8], text: &[u8]) -> Option<Vec<u8>> {
    let written = Written::of_said(like)?;
    let letters = &written.letters;
    let lacks_padding = written.padding == 0 && !letters.len().is_multiple_of(4);
    let is_usual = memchr::memchr2(b'+', b'/', letters).is_some();
    let is_for_urls = is_for_urls(letters) || (lacks_padding && !is_usual);
    let is_padded = written.padding > 0 || !(lacks_padding || is_for_urls);
    let engine = match (is_for_urls, is_padded) {
        (false, true) => USUAL,
        (false, false) => USUAL_BARE,
        (true, true) => FOR_URLS,
        (true, false) => FOR_URLS_BARE,
    };
    let packed = engine.encode(text).into_bytes();
    let breaks = Breaks::of(like);
    let width = if written.lines.count < 2 { usize::MAX } else { written.lines.longest };
    let mut out = breaks.before.to_vec();
    for (line, letters) in packed.chunks(width).enumerate() {
        if line > 0 {
            out.extend_from_slice(breaks.between.as_bytes());
        }
        out.extend_from_slice(letters);
    }
    out.extend_from_slice(breaks.behind);
    Some(out)
}

/// The line breaks of base64: before the first letter and behind the last as they are written, and what the first one between
/// lines means. That one is written anew, since an escape can be many times as long as what it means, and new lines are more.
#[derive(Default)]
struct Breaks<'a> {
    before: &'a [u8],
    between: &'static str,
    behind: &'a [u8],
}

impl<'a> Breaks<'a> {
    fn of(raw: &'a [u8]) -> Self {
        let mut breaks = Self::default();
        let (mut at, mut has_letters) = (0, false);
        while at < raw.len() {
            let rest = raw.get(at..).unwrap_or_default();
            let run = rest.get(..break_at(rest)).unwrap_or_default();
            at += run.len();
            if run.is_empty() {
                has_letters = true;
                at += letter(rest).map_or(1, |(_, written)| written);
            } else if !has_letters {
                breaks.before = run;
            } else if at == raw.len() {
                breaks.behind = run;
            } else if breaks.between.is_empty() {
                breaks.between = meaning(run);
            }
        }
        breaks
    }
}

/// How many bytes of line breaks `raw` begins with.
fn break_at(raw: &[u8]) -> usize {
    let mut at = 0;
    while let Some((b'\n' | b'\r' | b'\t', written)) = raw.get(at..).and_then(letter) {
        at += written;
    }
    at
}

/// The first line break of `run`, in the shortest escapes of the JSON of the body or of that within its string.
fn meaning(run: &[u8]) -> &'static str {
    let first = letter(run);
    let second = first.and_then(|(_, written)| letter(run.get(written..)?));
    let is_within = unescaped(run).is_some_and(|(letter, _)| letter == b'\\');
    match (first.map(|(letter, _)| letter), second.map(|(letter, _)| letter), is_within) {
        (Some(b'\r'), Some(b'\n'), false) => r"\r\n",
        (Some(b'\r'), Some(b'\n'), true) => r"\\r\\n",
        (Some(b'\r'), _, false) => r"\r",
        (Some(b'\r'), _, true) => r"\\r",
        (_, _, false) => r"\n",
        (_, _, true) => r"\\n",
    }
}

/// `text` packed as most programs do.
#[cfg(test)]
pub(crate) fn pack(text: &[u8]) -> String {
    USUAL.encode(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "subjects?_d: DE89 3704 0044 0532 0130 00, thank you!";

    #[test]
    fn however_it_is_written_the_same_text_is_unpacked() {
        let packed = pack(TEXT.as_bytes());
        assert!(packed.contains('/') && packed.ends_with("=="), "{packed}");
        let lines = |end: &str| packed.as_bytes().chunks(20).map(String::from_utf8_lossy).collect::<Vec<_>>().join(end);
        let written = [
            packed.clone(),
            packed.replace('=', ""),
            packed.replace('/', "_"),
            packed.replace('/', r"\/"),
            packed.replace('/', r"\u002f").replace('=', r"\u003D"),
            packed.replace('/', r"\\/"),
            packed.replace('/', r"\u005c/"),
            packed.replace('/', r"\\u002F"),
            packed.replace('/', r"\u005c\u0075\u0030\u0030\u0032\u0066"),
            lines(r"\n"),
            lines(r"\r\n"),
            lines(r"\u000d\u000a") + r"\u000a",
            lines(r"\\n"),
            lines(r"\\r\\n"),
            format!(r"\n\n{}\n", lines(r"\n\n")),
            packed.bytes().map(|byte| format!(r"\u{byte:04x}")).collect(),
        ];
        for raw in written {
            let written = Written::of(raw.as_bytes()).expect("it is base64");
            assert_eq!(written.text().as_deref(), Some(TEXT.as_bytes()), "{raw}");
        }
    }

    #[test]
    fn pieces_that_were_padded_one_by_one_and_put_together_are_read_as_their_texts() {
        for width in 1..TEXT.len() {
            for between in ["", r"\n", r"\r\n"] {
                let pieces: Vec<String> = TEXT.as_bytes().chunks(width).map(pack).collect();
                let raw = pieces.join(between);
                let text = Written::of(raw.as_bytes()).and_then(|written| written.text());
                assert_eq!(text.as_deref(), Some(TEXT.as_bytes()), "{raw}");
            }
        }
        // A letter of several bytes may be cut by the pieces.
        let euro = "€".as_bytes();
        let raw = [pack(b"it costs 20 "), pack(&euro[..1]), pack(&euro[1..])].concat();
        assert_eq!(Written::of(raw.as_bytes()).and_then(|written| written.text()), Some("it costs 20 €".into()));
        // What is no padding is passed over, here and in front of what is some.
        for at in 4..8 {
            let mut raw = pack(TEXT.as_bytes());
            raw.insert(at, '=');
            assert_eq!(
                Written::of(raw.as_bytes()).and_then(|written| written.text()).as_deref(),
                Some(TEXT.as_bytes()),
                "{raw}"
            );
        }
    }

    #[test]
    fn a_piece_ends_where_its_letters_and_its_padding_are_four() {
        for (raw, parted) in [
            ("QQ==QUI=QUJDQQ==Q", "QQ=QUI=QUJDQQ=Q"),
            ("Q=QUI==QUI=Q", "QQUIQUI=Q"),
            ("=QQ=Q====QUJD==QUJD=Q", "QQQ=QUJDQUJDQ"),
        ] {
            assert_eq!(String::from_utf8_lossy(&in_pieces(raw.as_bytes())), parted, "{raw}");
        }
    }

    #[test]
    fn a_text_is_half_other_letters_than_control_characters_or_has_eight_of_them() {
        let text = |bytes: &[u8]| Written::of(pack(bytes).as_bytes()).and_then(|written| written.text());
        let wide: Vec<u8> = TEXT.bytes().flat_map(|byte| [byte, 0]).collect();

        let few = |letters: usize| [&b"abcdefgh"[..letters], &[0; 40]].concat();
        for good in [&b"DE\x0789\x1b 3704"[..], b"\x7fDE89", b"\x01a\x02b", &wide, &few(8)] {
            assert_eq!(text(good).as_deref(), Some(good));
        }
        for wrong in [&b"\x01a\x02\x03b"[..], &[0; 30], b"a\xff", &few(7)] {
            assert_eq!(text(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn what_holds_another_letter_is_no_base64() {
        let packed = pack(TEXT.as_bytes());
        for letter in
            [" ", ".", "%", ":", r"\t", r"\b", r"\\t", r"\u0020", r"\u00e4", "ä", r"\\\\n", r"\u12", r"\x", "\n"]
        {
            for at in [0, 1, 20, packed.len()] {
                let (before, behind) = packed.split_at(at);
                assert_eq!(Written::of(format!("{before}{letter}{behind}").as_bytes()), None, "{letter:?} at {at}");
            }
        }
        assert_eq!(Written::of(br"QUJD\"), None);
        let mixed = format!("{}-", packed.trim_end_matches('='));
        assert_eq!(Written::of(mixed.as_bytes()).and_then(|written| written.text()), None, "two alphabets");
    }

    #[test]
    fn a_text_is_packed_again_as_the_other_was_written() {
        let (long, short) = ("subjects?_d ".repeat(9), "subjects?");
        let packed = |text: &str| pack(text.as_bytes());
        let in_lines = |text: &str, width: usize, end: &str| {
            let packed = packed(text);
            let lines: Vec<_> = packed.as_bytes().chunks(width).map(String::from_utf8_lossy).collect();
            lines.join(end)
        };
        let other = "and what? stands? instead";
        let both = packed(other);
        assert!(both.ends_with("==") && both.contains('/'), "{both}");
        let bare = both.trim_end_matches('=');
        let table = [
            (packed(short), both.clone()),
            (packed(short).replace('/', "_"), bare.replace('/', "_")),
            (packed("subjects?1").replace('/', "_"), both.replace('/', "_")),
            (packed("subjects?1").replace('=', ""), bare.to_owned()),
            (packed("plainly").replace('=', ""), bare.replace('/', "_")),
            (packed("plainly1"), both.clone()),
            (packed(&long).replace('/', r"\u002f"), both.clone()),
            (in_lines(&long, 12, r"\n"), in_lines(other, 12, r"\n")),
            (in_lines(&long, 12, r"\r\n") + r"\r\n", in_lines(other, 12, r"\r\n") + r"\r\n"),
            (in_lines(&long, 12, r"\u000a"), in_lines(other, 12, r"\n")),
            (in_lines(&long, 16, r"\\n"), in_lines(other, 16, r"\\n")),
            (in_lines(&long, 16, r"\\r\\n") + r"\\r\\n", in_lines(other, 16, r"\\r\\n") + r"\\r\\n"),
            (format!(r"\n{}\n", packed(&long)), format!(r"\n{both}\n")),
            (format!(r"\t{}\t", packed(&long)), format!(r"\t{both}\t")),
        ];
        for (like, expected) in table {
            let again = pack_like(like.as_bytes(), other.as_bytes()).expect("it is base64");
            assert_eq!(String::from_utf8_lossy(&again), expected, "like {like}");
            assert_eq!(Written::of_said(&again).and_then(|written| written.text()).as_deref(), Some(other.as_bytes()));
        }
        assert_eq!(pack_like(b"no base64", b"x"), None);
    }

    /// What is written once may not stand between all lines.
    #[test]
    fn a_text_is_not_many_times_as_long_when_it_is_packed_again() {
        let text = "text ".repeat(2_000);
        let packed = pack(text.as_bytes());
        let (first, rest) = packed.split_at(1);
        let odd = format!("{first}{}{rest}", r"\u005c\u0075\u0030\u0030\u0030\u0061".repeat(1_000));

        let again = pack_like(odd.as_bytes(), text.as_bytes()).expect("it is base64");

        assert!(again.len() < packed.len() + 100, "{} for {}", again.len(), packed.len());
    }
}
