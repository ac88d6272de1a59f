//! What must hold for any bytes at all, as plain functions: seeded property tests call them, and so can a fuzzer.

use crate::entry::{Closing, Opening};
use crate::journal::{Read, Reader};
use crate::line::{self, Line};

/// Any bytes are read as a journal: what is read is written as it is read again, what is cut off at its end does not change what
/// stands before it, and a line with a changed byte is not believed.
pub fn journal(bytes: &[u8]) {
    let read = read(bytes);
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
    assert!(2 * read.entries.len() as u64 + read.damaged <= lines, "each line counts once: {read:?}");
    for entry in &read.entries {
        written_is_read_again(&Line::Opening(entry.opening.clone()));
        written_is_read_again(&Line::Closing(entry.closing.clone()));
    }
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let torn = self::read(bytes.get(..whole).unwrap_or_default());
    assert_eq!((torn.entries, torn.damaged), (read.entries, read.damaged), "a torn line was acted upon");
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Some(read) = std::str::from_utf8(line).ok().and_then(line::read_alone) {
            written_is_read_again(&read);
            no_changed_byte_is_believed(line);
        }
    }
}

/// The texts and numbers of a request are taken from the bytes: what is written of them is read again.
pub fn written(bytes: &[u8]) {
    let (numbers, texts) = bytes.split_at(bytes.len().min(16));
    let number = |at: usize| numbers.iter().skip(at).take(8).fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
    let texts = String::from_utf8_lossy(texts);
    let middle = texts.floor_char_boundary(texts.len() / 2);
    let (one, other) = texts.split_at_checked(middle).unwrap_or_default();
    let journal = request([one, other], [number(0), number(8)]);
    let read = read(&journal);
    assert_eq!((read.entries.len(), read.damaged), (1, 0), "{}", String::from_utf8_lossy(&journal));
    self::journal(&journal);
}

fn read(bytes: &[u8]) -> Read {
    let mut read = Read::default();
    Reader::default().take(bytes, &mut read);
    read
}

fn written_is_read_again(line: &Line) {
    let mut written = Vec::new();
    match line {
        Line::Opening(opening) => line::write_opening(&mut written, opening),
        Line::Closing(closing) => line::write_closing(&mut written, closing),
    }
    let text = String::from_utf8(written).expect("texts are UTF-8");
    let again = text.strip_suffix('\n').and_then(line::read_alone);
    assert_eq!(again.as_ref(), Some(line), "{text:?}");
}

/// Each byte of a line that is believed, changed in its lowest bit, in the one that makes a capital of a letter, and in its highest.
fn no_changed_byte_is_believed(line: &[u8]) {
    for at in 0..line.len() {
        for bit in [0x01, 0x20, 0x80] {
            let mut changed = line.to_vec();
            changed[at] ^= bit;
            let read = std::str::from_utf8(&changed).ok().and_then(line::read_alone);
            assert_eq!(read, None, "{:?} with byte {at} changed", String::from_utf8_lossy(line));
        }
    }
}

/// A journal of one request with these texts and numbers: any bytes are hardly ever a line with its checksum.
fn request(texts: [&str; 2], numbers: [u64; 2]) -> Vec<u8> {
    use accounting::{Estimate, Money, SettledBy, Settlement, Tokens, Used};

    let [name, other] = texts;
    let [tokens, money] = numbers;
    let opening = Opening {
        request: name.into(),
        at_ms: tokens,
        app: other.into(),
        team: name.into(),
        key: other.into(),
        model: name.into(),
        user: Some(other).filter(|user| !user.is_empty()).map(Into::into),
        estimate: Estimate { input: Tokens(tokens), output: Tokens(money) },
        money: Money(money),
    };
    let settlement = Settlement {
        used: Used { input: Tokens(tokens), output: Tokens(money), ..Used::default() },
        by: SettledBy::Reported,
        money: Money(money),
        priced: true,
        lost_attempts: 0,
        lost: Tokens::ZERO,
        lost_money: Money::ZERO,
    };
    let closing = Closing {
        request: name.into(),
        at_ms: money,
        target: Some(other).filter(|target| !target.is_empty()).map(Into::into),
        settlement,
        tier: "standard",
        price: None,
        paid: "sunk",
        avoidable: false,
    };
    let mut written = line::HEAD.as_bytes().to_vec();
    line::write_opening(&mut written, &opening);
    line::write_closing(&mut written, &closing);
    written
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        // Each tries every byte of every line.
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn any_bytes_are_a_journal(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            journal(&bytes);
            written(&bytes);
        }

        #[test]
        fn a_journal_that_was_written_and_then_changed_is_one_as_well(
            texts: [String; 2], numbers: [u64; 2], at: prop::sample::Index, byte: u8,
        ) {
            let mut bytes = request(texts.each_ref().map(String::as_str), numbers);
            journal(&bytes);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            journal(&bytes);
        }
    }
}
