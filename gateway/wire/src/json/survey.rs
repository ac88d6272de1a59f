//! One pass over a whole body before it is read: is it UTF-8, and can its strings hold raw control characters at all?
//!
//! The loops are written over blocks of fixed size without an early exit, which the compiler turns into vector
//! instructions; a loop that may stop at every byte it does not. On text of two-byte letters this is many times faster
//! than `str::from_utf8`, which goes letter by letter and is asked here only where a body is wrong, for the offset.

/// What a look at all bytes has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Survey {
    /// Some byte is below 0x20. Most bodies have none; in those no string needs to be searched for one.
    pub(super) has_control: bool,
}

/// Bytes judged at once.
const BLOCK: usize = 64;

/// Bytes passed at once where all are plain ASCII.
const STRIDE: usize = 256;

/// A byte that starts nothing, ends nothing and is no control character.
const FILLER: u8 = b' ';

/// Looks at all of `bytes`; the error is the offset behind the last good character.
pub(super) fn survey(bytes: &[u8]) -> Result<Survey, usize> {
    let mut has_control = false;
    // Three bytes more than a block, because a letter may have begun three bytes before it.
    let mut window;
    let mut at = 0;
    let mut goes_on = false;
    while at < bytes.len() {
        let rest = bytes.get(at..).unwrap_or_default();
        // What is shorter than a stride is seen with the bytes before it, a second time.
        let stride = rest.first_chunk::<STRIDE>().or_else(|| bytes.last_chunk());
        if !goes_on && stride.is_some_and(is_plain) {
            at += STRIDE;
            continue;
        }
        let ahead = at.checked_sub(3).and_then(|from| bytes.get(from..)?.first_chunk());
        let here = match ahead {
            Some(whole) => whole,
            // The beginning and the end of the body, with filler around: letters begun before stay in sight.
            None => {
                window = [FILLER; BLOCK + 3];
                let from = at.saturating_sub(3);
                let shown = bytes.get(from..bytes.len().min(at + BLOCK)).unwrap_or_default();
                for (slot, byte) in window.iter_mut().skip(3 - (at - from)).zip(shown) {
                    *slot = *byte;
                }
                &window
            }
        };
        let [_, _, _, block @ ..] = here;
        has_control |= any(block, |byte| byte < 0x20);
        let is_wide = any(block, |byte| byte >= 0x80);
        if (is_wide || goes_on) && is_broken(here) {
            // The standard library has the last word; not all bytes were seen, so a body it accepts is one to search.
            return std::str::from_utf8(bytes)
                .map(|_| Survey { has_control: true })
                .map_err(|error| error.valid_up_to());
        }
        goes_on = is_wide;
        at += BLOCK;
    }
    // A letter that the last byte of the body leaves open has no byte behind it that could be found wrong.
    let ends_with = |back: usize, least: u8| {
        let byte = bytes.len().checked_sub(back).and_then(|at| bytes.get(at));
        byte.is_some_and(|&byte| byte >= least)
    };
    if ends_with(1, 0xC0) || ends_with(2, 0xE0) || ends_with(3, 0xF0) {
        std::str::from_utf8(bytes).map_err(|error| error.valid_up_to())?;
    }
    Ok(Survey { has_control })
}

/// Offset of the first control character in `bytes`.
pub(super) fn first_control(bytes: &[u8]) -> Option<usize> {
    let (blocks, _) = bytes.as_chunks::<BLOCK>();
    let clean = blocks.iter().take_while(|block| !any(block, |byte| byte < 0x20)).count() * BLOCK;
    let rest = bytes.get(clean..).unwrap_or_default();
    rest.iter().position(|&byte| byte < 0x20).map(|found| clean + found)
}

/// Neither beyond ASCII nor a control character: both are low as signed numbers.
fn is_plain(stride: &[u8; STRIDE]) -> bool {
    !any(stride, |byte| byte.cast_signed() < 0x20)
}

fn any<const N: usize>(block: &[u8; N], judge: impl Fn(u8) -> bool) -> bool {
    block.iter().fold(false, |found, &byte| found | judge(byte))
}

/// Whether a byte of the window, from its fourth on, does not follow from the three before it.
fn is_broken(window: &[u8; BLOCK + 3]) -> bool {
    if any(window, |byte| byte >= 0xE0) { is_broken_anyhow(window) } else { is_broken_in_pairs(window) }
}

/// The same where letters are of at most two bytes.
fn is_broken_in_pairs(window: &[u8; BLOCK + 3]) -> bool {
    let mut broken = false;
    for at in 3..BLOCK + 3 {
        let (first, byte) = (window[at - 1], window[at]);
        broken |= continues(byte) != (first >= 0xC0);
        broken |= byte & 0xFE == 0xC0;
    }
    broken
}

/// The table of well-formed sequences, Unicode section 3.9, as conditions on a byte and what stands before it.
fn is_broken_anyhow(window: &[u8; BLOCK + 3]) -> bool {
    let mut broken = false;
    for at in 3..BLOCK + 3 {
        let (third, second, first, byte) = (window[at - 3], window[at - 2], window[at - 1], window[at]);
        let must_continue = (first >= 0xC0) | (second >= 0xE0) | (third >= 0xF0);
        broken |= continues(byte) != must_continue;
        // Leads of overlong forms, and of what lies beyond the last code point.
        broken |= (byte & 0xFE == 0xC0) | (byte >= 0xF5);
        // Overlong forms, surrogates and the rest of what lies beyond show themselves in the second byte.
        broken |= (first == 0xE0) & (byte < 0xA0);
        broken |= (first == 0xED) & (byte >= 0xA0);
        broken |= (first == 0xF0) & (byte < 0x90);
        broken |= (first == 0xF4) & (byte >= 0x90);
    }
    broken
}

/// Whether `byte` can only stand within a letter: 0x80 to 0xBF.
const fn continues(byte: u8) -> bool {
    byte.cast_signed() < -64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn as_the_standard_library(bytes: &[u8]) {
        let has_control = bytes.iter().any(|&byte| byte < 0x20);
        let theirs = std::str::from_utf8(bytes).map(|_| Survey { has_control }).map_err(|error| error.valid_up_to());
        assert_eq!(survey(bytes), theirs, "{bytes:x?}");
    }

    /// `piece` at every place of bodies around the size of blocks, among ASCII and among wide letters.
    fn everywhere(piece: &[u8]) {
        for length in [0, 1, 2, 3, 30, 61, 62, 63, 64, 65, 66, 67, 125, 130, 320, 323] {
            for around in ["a", "\u{e9}", "\u{20ac}", "\u{1F600}"] {
                let mut bytes = around.repeat(length / around.len()).into_bytes();
                bytes.extend_from_slice(piece);
                as_the_standard_library(&bytes);
                bytes.extend_from_slice(around.repeat(70).as_bytes());
                as_the_standard_library(&bytes);
            }
        }
    }

    #[test]
    fn every_pair_of_bytes_is_judged_as_the_standard_library_judges_it() {
        for first in 0..=u8::MAX {
            for second in 0..=u8::MAX {
                for tail in [&b""[..], b"\x80", b"\x80\x80", b"\xbf\xbf\xbf", b"a"] {
                    as_the_standard_library(&[&[first, second], tail].concat());
                }
            }
        }
    }

    #[test]
    fn letters_whole_and_broken_are_judged_alike_wherever_they_lie() {
        let pieces: [&[u8]; 22] = [
            b"",
            b"\n",
            b"\x1f",
            b"\x7f",
            b"\x80",
            b"\xc2",
            b"\xc2\x80",
            b"\xc1\xbf",
            b"\xdf\xbf\xbf",
            b"\xe0\x9f\xbf",
            b"\xe0\xa0\x80",
            b"\xe1\x80",
            b"\xed\x9f\xbf",
            b"\xed\xa0\x80",
            b"\xef\xbf\xbf",
            b"\xf0\x8f\xbf\xbf",
            b"\xf0\x90\x80\x80",
            b"\xf0\x90\x80",
            b"\xf4\x8f\xbf\xbf",
            b"\xf4\x90\x80\x80",
            b"\xf5\x80\x80\x80",
            b"\xff",
        ];
        for piece in pieces {
            everywhere(piece);
        }
    }

    #[test]
    fn the_first_control_character_is_found_wherever_it_lies() {
        for length in 0..140 {
            assert_eq!(first_control(&vec![0xC3; length]), None);
            for at in 0..length {
                let mut bytes = vec![b' '; length];
                bytes[at..].fill(0x1F);
                assert_eq!(first_control(&bytes), Some(at));
            }
        }
    }
}
