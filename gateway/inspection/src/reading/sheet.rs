//! Strings gathered into one text to be searched, and the way back to where each byte was written.

use std::ops::Range;

use super::letters::{self, Reading};
use crate::recogniser::{KEY_END, VALUE_END};

/// Bytes of text that are searched at once: enough that a search costs nothing, and little enough to stay in the cache.
pub(crate) const FULL: usize = 128 << 10;

/// Bytes of a long string that are searched again with its next part, so that nothing is lost where it was cut.
///
/// More than the longest thing that is found, which is a private key.
pub(crate) const OVERLAP: usize = 20 << 10;

/// Text before a match that is kept for it to be judged by.
const AHEAD: usize = 128;

/// A run of text and where it was written.
#[derive(Clone, Copy, Debug)]
struct Piece {
    at: usize,
    raw: usize,
    raw_end: usize,
    /// Every byte is read as it was written.
    plain: bool,
    /// A copy of the end of one string in front of the beginning of another: only what spans both counts.
    seam: bool,
    /// The two readings of it differ.
    ambiguous: bool,
    /// What ends behind it.
    end: Option<End>,
}

/// What a string was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Key,
    Value,
}

/// One text, made of pieces.
#[derive(Debug, Default)]
pub(crate) struct Sheet {
    pub(crate) text: Vec<u8>,
    pieces: Vec<Piece>,
    reading: Reading,
    is_ambiguous: bool,
}

/// How far on the way back through a sheet one is; places must be asked for in the order of their beginnings.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cursor {
    piece: usize,
    text: usize,
    raw: usize,
    begun: bool,
}

impl Sheet {
    /// Room for the strings of a body of so many bytes, which does not grow then: text is seldom longer than it was written.
    pub(crate) fn for_body(bytes: usize) -> Self {
        let text = Vec::with_capacity(bytes.min(FULL + OVERLAP));
        Self { text, pieces: Vec::with_capacity(bytes.div_ceil(64).min(256)), ..Self::default() }
    }

    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.pieces.clear();
        self.is_ambiguous = false;
    }

    pub(crate) fn is_full(&self) -> bool {
        self.text.len() >= FULL
    }

    /// Adds what stands at `place`, as far as there is room; gives where the rest begins.
    pub(crate) fn add(&mut self, body: &[u8], place: Range<usize>, seam: bool) -> usize {
        let room = FULL.saturating_sub(self.text.len()).max(1024);
        let raw = body.get(place.clone()).unwrap_or_default();
        #[cfg(test)]
        tests::ADDED.set(tests::ADDED.get() + raw.len().min(room));
        let plain = !letters::has_special(raw.get(..room).unwrap_or(raw));
        let mut piece = Piece {
            at: self.text.len(),
            raw: place.start,
            raw_end: place.start + raw.len().min(room),
            plain,
            seam,
            ambiguous: false,
            end: None,
        };
        if plain {
            self.text.extend_from_slice(raw.get(..room).unwrap_or(raw));
        } else {
            let rest = self.read(raw, self.text.len() + room, &mut piece.ambiguous);
            piece.raw_end = place.end - rest;
        }
        self.is_ambiguous |= piece.ambiguous;
        self.pieces.push(piece);
        piece.raw_end
    }

    /// Adds the letters of `raw` until there are `until` bytes of text; gives how many bytes of it are left.
    fn read(&mut self, raw: &[u8], until: usize, ambiguous: &mut bool) -> usize {
        let mut rest = raw;
        while !rest.is_empty() && self.text.len() < until {
            let run = letters::plain_run(rest.get(..until - self.text.len()).unwrap_or(rest));
            let (plain, behind) = rest.split_at(run);
            self.text.extend_from_slice(plain);
            rest = behind;
            // One special letter is seldom alone: text in escapes has one after the other.
            while rest.first().is_some_and(|byte| letters::is_special(*byte)) && self.text.len() < until {
                let letter = letters::letter(rest, self.reading);
                if self.reading == Reading::Literal {
                    let is_backslash = letter.bytes() == b"\\";
                    *ambiguous = *ambiguous || letter.is_unseen || (is_backslash && letters::is_ambiguous(rest));
                }
                self.text.extend_from_slice(letter.bytes());
                rest = rest.get(letter.written..).unwrap_or_default();
            }
        }
        rest.len()
    }

    /// Ends a string.
    pub(crate) fn end(&mut self, end: End) {
        self.text.push(match end {
            End::Key => KEY_END,
            End::Value => VALUE_END,
        });
        if let Some(last) = self.pieces.last_mut() {
            last.end = Some(end);
        }
    }

    /// The strings of which the other reading differs, and the names that belong to them, in that reading. Nothing where
    /// there are none, as on nearly all sheets.
    pub(crate) fn unfolded(&self, body: &[u8]) -> Option<Self> {
        if !self.is_ambiguous {
            return None;
        }
        let mut sheet = Self { reading: Reading::Unfolded, ..Self::default() };
        // A value stays with its names: they say what it is.
        let groups = self.pieces.split_inclusive(|piece| piece.end == Some(End::Value));
        for piece in groups.filter(|group| group.iter().any(|piece| piece.ambiguous)).flatten() {
            // Unfolded it is no longer than before, so there is room for all of it.
            sheet.add(body, piece.raw..piece.raw_end, piece.seam);
            if let Some(end) = piece.end {
                sheet.end(end);
            }
        }
        Some(sheet)
    }

    /// Where in the last string a next sheet has to begin, and from where on it is to report: nothing is found twice.
    pub(crate) fn carry(&self, body: &[u8]) -> (usize, usize, usize) {
        let last = self.pieces.last().map_or(0, |piece| piece.at);
        let threshold = self.text.len().saturating_sub(OVERLAP).max(last);
        let begin = threshold.saturating_sub(AHEAD).max(last);
        let mut cursor = Cursor::default();
        let begin = self.locate(body, begin, &mut cursor);
        (begin, self.locate(body, threshold, &mut cursor), threshold)
    }

    /// Where the text of `place` was written: one range for each piece that it touches. Nothing for what lies within one
    /// half of a seam.
    pub(crate) fn written(&self, body: &[u8], place: &Range<usize>, cursor: &mut Cursor) -> Vec<Range<usize>> {
        let first = self.pieces.partition_point(|piece| piece.at <= place.start).saturating_sub(1);
        let mut ranges = Vec::with_capacity(1);
        let mut from = place.start;
        // The next place may begin within this one: what comes behind its beginning is walked apart.
        self.locate(body, from, cursor);
        let mut cursor = *cursor;
        for at in first..self.pieces.len() {
            let next = self.pieces.get(at + 1).map_or(self.text.len(), |piece| piece.at);
            let until = place.end.min(next);
            if from >= until {
                break;
            }
            let start = self.locate(body, from, &mut cursor);
            // The end is behind the last letter, and not before the first letter of what follows.
            let end = self.locate(body, until - 1, &mut cursor);
            let last = match self.pieces.get(at) {
                Some(piece) if !piece.plain && end < piece.raw_end => {
                    letters::letter(body.get(end..piece.raw_end).unwrap_or_default(), self.reading).written
                }
                _ => 1,
            };
            ranges.push(start..end + last);
            from = until;
        }
        ranges
    }

    /// Whether `place` lies within one half of a seam, where it was or will be found anyway.
    pub(crate) fn is_half_of_a_seam(&self, place: &Range<usize>) -> bool {
        let at = self.pieces.partition_point(|piece| piece.at <= place.start).saturating_sub(1);
        let next = self.pieces.get(at + 1).map_or(self.text.len(), |piece| piece.at);
        self.pieces.get(at).is_some_and(|piece| piece.seam) && place.end <= next
    }

    /// Where the byte at `text` was written: the first byte of its letter.
    fn locate(&self, body: &[u8], text: usize, cursor: &mut Cursor) -> usize {
        let at = self.pieces.partition_point(|piece| piece.at <= text).saturating_sub(1);
        let Some(piece) = self.pieces.get(at) else { return 0 };
        if piece.plain {
            return piece.raw + (text - piece.at);
        }
        if !cursor.begun || cursor.piece != at || cursor.text > text {
            *cursor = Cursor { piece: at, text: piece.at, raw: piece.raw, begun: true };
        }
        loop {
            #[cfg(test)]
            tests::WALKED.set(tests::WALKED.get() + 1);
            let rest = body.get(cursor.raw..piece.raw_end).unwrap_or_default();
            let run = letters::plain_run(rest.get(..text - cursor.text).unwrap_or(rest));
            cursor.text += run;
            cursor.raw += run;
            let rest = body.get(cursor.raw..piece.raw_end).unwrap_or_default();
            if cursor.text >= text && !rest.first().is_some_and(|byte| letters::is_special(*byte)) || rest.is_empty() {
                return cursor.raw;
            }
            let letter = letters::letter(rest, self.reading);
            if cursor.text + letter.bytes().len() > text {
                return cursor.raw;
            }
            cursor.text += letter.bytes().len();
            cursor.raw += letter.written;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// Steps that the way back took in this thread.
        pub(super) static WALKED: Cell<usize> = const { Cell::new(0) };
        /// Bytes put onto sheets in this thread.
        pub(super) static ADDED: Cell<usize> = const { Cell::new(0) };
    }

    #[test]
    fn every_byte_of_the_text_leads_back_to_its_letter() {
        let body = r"ab\u0040cé d\nＥ１\ud835\udfd8zx".as_bytes();
        let mut sheet = Sheet::default();

        let rest = sheet.add(body, 0..body.len(), false);

        assert_eq!(rest, body.len());
        assert_eq!(String::from_utf8_lossy(&sheet.text), "ab@cé d\nE10zx");
        let mut cursor = Cursor::default();
        let written = |place: Range<usize>, cursor: &mut Cursor| {
            let ranges = sheet.written(body, &place, cursor);
            String::from_utf8_lossy(&body[ranges[0].clone()]).into_owned()
        };
        let table =
            [(0..3, r"ab\u0040"), (2..4, r"\u0040c"), (8..10, r"\nＥ"), (10..12, r"１\ud835\udfd8"), (12..13, "z")];
        for (place, expected) in table {
            assert_eq!(written(place, &mut cursor), expected);
        }
        assert_eq!(written(0..1, &mut cursor), "a", "the cursor goes back when it must");
    }

    /// A list of short strings may stand under a long name.
    #[test]
    fn what_is_read_for_a_body_is_not_many_times_its_length() {
        // What packs a text is read as it stands and as what it packs, each beside the end of the name.
        for (name, list, most) in [
            ("n".repeat(60_000), "\"a\",".repeat(4_000), 12),
            (r"\\n".repeat(20_000), "123,".repeat(4_000), 12),
            ("n".repeat(60_000), "\"aGVsbG8sIGRlYXJz\",".repeat(4_000), 24),
            (r"\\n".repeat(20_000), "\"aGVsbG8sIGRlYXJz\",".repeat(4_000), 24),
        ] {
            let body = format!(r#"{{"messages":[{{"{name}":[{list}0]}}]}}"#);
            let own = crate::OwnRecogniser {
                kind: crate::TextKind::own("n", None).expect("it is a name"),
                pattern: "[0-9]{3}x".into(),
                words: Vec::new(),
                checksum: None,
                is_tried: false,
            };
            let own = crate::OwnRecognisers::new(vec![own]).expect("it fits");
            ADDED.set(0);

            let _ = crate::inspect_with(body.as_bytes(), &own);

            // Beside each short string or number the ends of the name and of what stood before it.
            assert!(ADDED.get() < most * body.len(), "{} bytes for {}", ADDED.get(), body.len());
        }
    }

    #[test]
    fn a_long_name_is_not_read_again_for_each_of_many_short_numbers() {
        let body = format!(r#"{{"x":{{"{}":[{}0]}}}}"#, "n".repeat(100), "123,".repeat(100_000));
        for words in [Vec::new(), vec!["depot".to_owned()]] {
            let own = crate::OwnRecogniser {
                kind: crate::TextKind::own("n", None).expect("it is a name"),
                pattern: r"\b[0-9]{3}\b".into(),
                words,
                checksum: None,
                is_tried: true,
            };
            let own = crate::OwnRecognisers::new(vec![own]).expect("it fits");
            ADDED.set(0);

            let _ = crate::inspect_with(body.as_bytes(), &own);

            assert!(ADDED.get() < 2 * body.len(), "{} bytes for {}", ADDED.get(), body.len());
        }
    }

    /// Two recognisers may find the same, so that the same place is asked for twice.
    #[test]
    fn places_that_overlap_are_found_in_one_walk() {
        let body = r"0123456\n9".repeat(4_000).into_bytes();
        let mut sheet = Sheet::default();
        sheet.add(&body, 0..body.len(), false);
        let mut cursor = Cursor::default();

        for at in (0..sheet.text.len() - 20).step_by(10) {
            for place in [at..at + 20, at..at + 20, at + 1..at + 15] {
                assert!(!sheet.written(&body, &place, &mut cursor).is_empty());
            }
        }

        assert!(WALKED.get() < 4 * body.len(), "{} steps for {} bytes", WALKED.get(), body.len());
    }

    #[test]
    fn letters_that_nobody_sees_belong_to_what_is_around_them() {
        let body = "1\u{200b}2\u{200b}3".as_bytes();
        let mut sheet = Sheet::default();
        sheet.add(body, 0..body.len(), false);

        let ranges = sheet.written(body, &(0..2), &mut Cursor::default());

        assert_eq!(sheet.text, b"123");
        assert_eq!(&body[ranges[0].clone()], "1\u{200b}2".as_bytes());
    }

    #[test]
    fn the_other_reading_holds_the_values_that_differ_with_their_names_and_leads_back_as_well() {
        let body = r#"{"plain":"a\nb","name":"c\\nd\\u0041","other":"e"}"#.as_bytes();
        let mut sheet = Sheet::default();
        let place = |text: &str| {
            let at = body.windows(text.len()).position(|here| here == text.as_bytes()).expect("the body holds it");
            at..at + text.len()
        };
        for (text, end) in [
            ("plain", End::Key),
            (r"a\nb", End::Value),
            ("name", End::Key),
            (r"c\\nd\\u0041", End::Value),
            ("other", End::Key),
        ] {
            sheet.add(body, place(text), false);
            sheet.end(end);
        }

        let unfolded = sheet.unfolded(body).expect("one value is ambiguous");

        assert_eq!(sheet.text, b"plain\x01a\nb\x00name\x01c\\nd\\u0041\x00other\x01");
        assert_eq!(unfolded.text, b"name\x01c\ndA\x00");
        let written = unfolded.written(body, &(6..9), &mut Cursor::default());
        assert_eq!(&body[written[0].clone()], br"\\nd\\u0041");
        assert!(unfolded.unfolded(body).is_none() && Sheet::default().unfolded(body).is_none());
    }
}
