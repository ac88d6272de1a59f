//! Chunks that differ from one before in a text alone.
//!
//! A model's answer comes in hundreds of chunks that are the same but for a word. A chunk that differs from one in which
//! nothing was seen in one text alone needs no look of its own: a text has no quote, so that a key that matters would have
//! to be that text, and behind that text stands no colon.

use crate::Frame;

/// Longest chunk that is kept to compare others with, in bytes.
const LONGEST: usize = 1024;

/// Chunks in a row that are kept in vain before no more are: of some servers each chunk differs in more than its text.
const PATIENCE: u8 = 8;

/// A chunk in which nothing was seen, and where in it the text lies that changes from chunk to chunk.
#[derive(Debug, Default)]
pub(super) struct Shape {
    chunk: Vec<u8>,
    /// Offset behind the text's opening quote; zero where it is not known which text changes.
    start: usize,
    /// Offset of the text's closing quote.
    end: usize,
    in_vain: u8,
}

impl Shape {
    /// Whether `frame` is the chunk with another text.
    pub(super) fn fits(&mut self, frame: &Frame) -> bool {
        if self.start == 0 || !frame.is_lone_data() {
            return false;
        }
        let (until, rest) = self.chunk.split_at(self.end);
        let head = until.get(..self.start).unwrap_or_default();
        let fits = frame.raw.strip_prefix(head).is_some_and(|other| {
            memchr::memchr(b'"', other).and_then(|end| other.get(end..)).is_some_and(|behind| behind == rest)
        });
        if fits {
            self.in_vain = 0;
        }
        fits
    }

    /// Keeps a chunk in which nothing was seen, and learns by what is different from the last one which text changes.
    pub(super) fn learn(&mut self, frame: &Frame) {
        if self.in_vain == PATIENCE || !frame.is_lone_data() || frame.raw.len() > LONGEST {
            return;
        }
        self.in_vain += 1;
        let same = self.chunk.iter().zip(&frame.raw).take_while(|(one, other)| one == other).count();
        self.chunk.clear();
        self.chunk.extend_from_slice(&frame.raw);
        (self.start, self.end) = text_at(&self.chunk, same).unwrap_or_default();
    }
}

/// The offsets of the text in which `at` lies, where it is the value of a member.
fn text_at(chunk: &[u8], at: usize) -> Option<(usize, usize)> {
    let start = chunk.get(..at)?.windows(2).rposition(|pair| pair == b":\"")? + 2;
    let end = start + memchr::memchr(b'"', chunk.get(start..)?)?;
    // INVARIANT: no colon behind the text, which is then no key. Backslashes do not matter: keys are looked for as bytes.
    matches!(chunk.get(end + 1), Some(b',' | b'}')).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::SseFramer;

    fn frame(raw: &str) -> Frame {
        let mut framer = SseFramer::new();
        framer.push(Bytes::copy_from_slice(raw.as_bytes()));
        framer.next_frame().expect("small").expect("whole")
    }

    fn chunk(text: &str) -> Frame {
        frame(&format!("data: {{\"id\":\"x\",\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}},\"index\":0}}]}}\n\n"))
    }

    #[test]
    fn a_chunk_with_another_text_fits_once_two_were_seen() {
        let mut shape = Shape::default();
        assert!(!shape.fits(&chunk("one")));
        shape.learn(&chunk("one"));
        assert!(!shape.fits(&chunk("two")));
        shape.learn(&chunk("two"));

        for text in ["three", "", "usage", "error:", "{", "a\\n", "two"] {
            assert!(shape.fits(&chunk(text)), "{text}");
        }
        for text in ["\\\"usage\\\":{", "\",\"usage\":{\"x\":\"", "\n", "\r"] {
            let raw = format!(
                "data: {{\"id\":\"x\",\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}},\"index\":0}}]}}\n\n"
            );
            assert!(!shape.fits(&frame(&raw)), "{text}");
        }
        let other = frame("data: {\"id\":\"x\",\"choices\":[{\"delta\":{\"content\":\"a\"},\"index\":1}]}\n\n");
        assert!(!shape.fits(&other));
    }

    #[test]
    fn what_stands_where_a_key_does_is_no_text() {
        let named = |name: &str| frame(&format!("data: {{\"x\":\"{name}\":{{}}}}\n\n"));
        let mut shape = Shape::default();
        shape.learn(&named("a"));
        shape.learn(&named("b"));

        assert!(!shape.fits(&named("usage")));
    }

    #[test]
    fn what_never_fits_is_soon_no_longer_kept_and_nothing_long_ever_is() {
        let mut shape = Shape::default();
        let other = |number: u8| frame(&format!("data: {{\"created\":{number},\"text\":\"a\"}}\n\n"));
        for number in 0..PATIENCE {
            shape.learn(&other(number));
        }
        shape.learn(&chunk("one"));
        shape.learn(&chunk("two"));
        assert!(!shape.fits(&chunk("three")));

        let overhead = chunk("").raw.len();
        for (length, fits) in [(LONGEST - overhead, true), (LONGEST - overhead + 1, false)] {
            let mut shape = Shape::default();
            shape.learn(&chunk(&"a".repeat(length)));
            shape.learn(&chunk(&"b".repeat(length)));
            assert_eq!(shape.fits(&chunk("c")), fits, "{length}");
        }
    }
}
