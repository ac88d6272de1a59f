//! A line of the journal: a checksum and fields with tabs between, so that damage is seen and `less` is enough to read it.
//!
//! ```text
//! 5d41402a O cwd_0193… 1798761600000 claims insurance claims.keys[0] chat 11 1024 0
//! ```

use std::io::Write as _;
use std::sync::Arc;

use accounting::{Estimate, Money, SettledBy, Settlement, Tier, Tokens, Used};

use crate::entry::{Closing, Open, Opening};
use crate::texts::Texts;

/// The first line of every journal.
pub(crate) const HEAD: &str = "causeway-journal 1\n";

/// How many digits a checksum has.
const SUM: usize = 8;

/// One line, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Opening(Opening),
    Closing(Closing),
}

pub(crate) fn write_opening(out: &mut Vec<u8>, opening: &Opening) {
    line(out, |out| {
        out.push(b'O');
        text(out, &opening.request);
        number(out, opening.at_ms);
        text(out, &opening.app);
        text(out, &opening.team);
        text(out, &opening.key);
        text(out, &opening.model);
        number(out, opening.estimate.input.0);
        number(out, opening.estimate.output.0);
        number(out, opening.money.0);
        // Only where there is one: an older release reads every other line.
        if let Some(user) = &opening.user {
            text(out, user);
        }
    });
}

pub(crate) fn write_closing(out: &mut Vec<u8>, closing: &Closing) {
    line(out, |out| {
        let settlement = &closing.settlement;
        out.push(b'C');
        text(out, &closing.request);
        number(out, closing.at_ms);
        text(out, closing.target.as_deref().unwrap_or_default());
        text(out, settlement.by.name());
        number(out, settlement.used.input.0);
        number(out, settlement.used.cached_input.0);
        number(out, settlement.used.cache_write.0);
        number(out, settlement.used.output.0);
        number(out, settlement.money.0);
        number(out, settlement.priced.into());
        number(out, settlement.lost_attempts.into());
        number(out, settlement.lost.0);
        number(out, settlement.lost_money.0);
        text(out, closing.tier);
        text(out, closing.price.as_deref().unwrap_or_default());
        text(out, closing.paid);
        number(out, closing.avoidable.into());
    });
}

fn line(out: &mut Vec<u8>, fields: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    out.extend_from_slice(b"00000000 ");
    let body = out.len();
    fields(out);
    let sum = digits(crc32fast::hash(&out[body..]));
    out[begin..begin + SUM].copy_from_slice(&sum);
    out.push(b'\n');
}

/// A checksum as it stands before a line: one way to write it, so that a capital is a changed byte.
fn digits(sum: u32) -> [u8; SUM] {
    let mut digits = [0; SUM];
    for (place, digit) in digits.iter_mut().rev().enumerate() {
        *digit = b"0123456789abcdef"[(sum >> (4 * place)) as usize & 15];
    }
    digits
}

fn number(out: &mut Vec<u8>, number: u64) {
    out.push(b'\t');
    // Fifteen of them stand in the two lines of a request, most of them zero or one, and the general way to write a number
    // takes many times as long.
    match number {
        0..10 => out.push(b'0' + number as u8),
        _ => out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'\t');
    if is_plain(text.as_bytes()) {
        out.extend_from_slice(text.as_bytes());
    } else {
        escape(out, text);
    }
}

/// Whether nothing of it would break the line: control characters, and `%`, which marks what stands for one.
fn is_plain(text: &[u8]) -> bool {
    let breaks = |byte: &u8| (*byte == b'%') | byte.is_ascii_control();
    // The compiler looks at sixteen at once where it is told that there are as many: the last of a text are looked at twice
    // rather than one by one.
    let any_breaks = |piece: &[u8; 16]| piece.iter().fold(false, |any, byte| any | breaks(byte));
    match text.last_chunk() {
        Some(last) => !any_breaks(last) && !text.as_chunks().0.iter().any(any_breaks),
        None => !text.iter().any(breaks),
    }
}

#[cold]
fn escape(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        if is_plain(&[byte]) {
            out.push(byte);
        } else {
            write!(out, "%{byte:02x}").expect("a Vec takes every byte");
        }
    }
}

/// Reads one line without its end; `None` where it is damaged. It shares its texts with lines before, and its request with what is
/// open.
pub(crate) fn read(line: &str, texts: &mut Texts, open: &Open) -> Option<Line> {
    let (sum, body) = line.split_at_checked(SUM)?;
    let body = body.strip_prefix(' ')?;
    if sum.as_bytes() != digits(crc32fast::hash(body.as_bytes())) {
        return None;
    }
    let mut fields = Fields { rest: Some(body), texts };
    let read = match fields.plain()? {
        "O" => Line::Opening(opening(&mut fields)?),
        "C" => Line::Closing(closing(&mut fields, open)?),
        _ => return None,
    };
    fields.rest.is_none().then_some(read)
}

/// Reads a line that shares nothing.
pub(crate) fn read_alone(line: &str) -> Option<Line> {
    read(line, &mut Texts::default(), &Open::default())
}

/// What is left of a line, its next field first.
struct Fields<'a, 't> {
    rest: Option<&'a str>,
    texts: &'t mut Texts,
}

impl<'a> Fields<'a, '_> {
    /// A field as it stands.
    fn plain(&mut self) -> Option<&'a str> {
        let rest = self.rest?;
        // Most are a few bytes long, and a search made for long texts takes longer to begin than this to end.
        let end = rest.bytes().position(|byte| byte == b'\t').unwrap_or(rest.len());
        self.take(end)
    }

    /// The next so many bytes, which are a field.
    fn take(&mut self, end: usize) -> Option<&'a str> {
        let (field, rest) = self.rest?.split_at_checked(end)?;
        self.rest = rest.get(1..);
        Some(field)
    }

    /// Digits and nothing else. In one go: a search for its end and the general way to read a number take three times as long.
    fn number(&mut self) -> Option<u64> {
        let (mut number, mut end) = (0_u64, 0);
        for byte in self.rest?.bytes().take_while(|byte| *byte != b'\t') {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            number = number.checked_mul(10)?.checked_add(digit.into())?;
            end += 1;
        }
        self.take(end).filter(|digits| !digits.is_empty())?;
        Some(number)
    }

    fn flag(&mut self) -> Option<bool> {
        Some(self.number()? != 0)
    }

    /// A text that many lines have.
    fn text(&mut self) -> Option<Arc<str>> {
        let field = self.plain()?;
        self.texts.share(field, text_of)
    }

    /// A last field that need not be there.
    fn last(&mut self) -> Option<Option<Arc<str>>> {
        if self.rest.is_none() { Some(None) } else { self.text().map(Some) }
    }

    /// An empty field is nothing.
    fn perhaps(&mut self) -> Option<Option<Arc<str>>> {
        let field = self.plain()?;
        if field.is_empty() { Some(None) } else { self.texts.share(field, text_of).map(Some) }
    }
}

/// The text that a field stands for.
fn text_of(field: &str) -> Option<Arc<str>> {
    if !field.bytes().any(|byte| byte == b'%') {
        return Some(field.into());
    }
    let mut parts = field.split('%');
    let mut text = parts.next()?.to_owned();
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        text.push(char::from(u8::from_str_radix(code, 16).ok()?));
        text.push_str(rest);
    }
    Some(text.into())
}

fn opening(fields: &mut Fields<'_, '_>) -> Option<Opening> {
    Some(Opening {
        request: text_of(fields.plain()?)?,
        at_ms: fields.number()?,
        app: fields.text()?,
        team: fields.text()?,
        key: fields.text()?,
        model: fields.text()?,
        estimate: Estimate { input: Tokens(fields.number()?), output: Tokens(fields.number()?) },
        money: Money(fields.number()?),
        user: fields.last()?,
    })
}

fn closing(fields: &mut Fields<'_, '_>, open: &Open) -> Option<Closing> {
    let request = fields.plain()?;
    let request = match open.get_key_value(request) {
        // What is a text as it stands; what only stands for one is found when it is made.
        Some((opened, _)) if !request.contains('%') => Arc::clone(opened),
        _ => text_of(request)?,
    };
    let (at_ms, target) = (fields.number()?, fields.perhaps()?);
    let by = settled_by(fields.plain()?)?;
    let (input, cached_input) = (Tokens(fields.number()?), Tokens(fields.number()?));
    let (cache_write, output) = (Tokens(fields.number()?), Tokens(fields.number()?));
    let settlement = Settlement {
        used: Used { input, cached_input, cache_write, output },
        by,
        money: Money(fields.number()?),
        priced: fields.flag()?,
        lost_attempts: u32::try_from(fields.number()?).ok()?,
        lost: Tokens(fields.number()?),
        lost_money: Money(fields.number()?),
    };
    Some(Closing {
        request,
        at_ms,
        target,
        settlement,
        tier: tier(fields.plain()?)?,
        price: fields.perhaps()?,
        paid: paid(fields.plain()?)?,
        avoidable: fields.flag()?,
    })
}

pub(crate) fn tier(name: &str) -> Option<&'static str> {
    Tier::ALL.into_iter().map(Tier::name).find(|known| *known == name)
}

/// The names of how a target is paid.
const PAID: [&str; 4] = ["sunk", "provisioned", "per_token", "unknown"];

pub(crate) fn paid(name: &str) -> Option<&'static str> {
    PAID.into_iter().find(|known| *known == name)
}

pub(crate) fn settled_by(name: &str) -> Option<SettledBy> {
    [SettledBy::Reported, SettledBy::Reservation, SettledBy::NotSent].into_iter().find(|by| by.name() == name)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn opening_of(request: &str, money: u64) -> Opening {
        Opening {
            request: request.into(),
            at_ms: 1_798_761_600_000,
            app: "claims".into(),
            team: "insurance".into(),
            key: "claims.keys[0]".into(),
            model: "chat".into(),
            user: None,
            estimate: Estimate { input: Tokens(11), output: Tokens(1_024) },
            money: Money(money),
        }
    }

    pub(crate) fn closing_of(request: &str, money: u64) -> Closing {
        let used = Used { input: Tokens(11), output: Tokens(7), ..Used::default() };
        let settlement = Settlement {
            used,
            by: SettledBy::Reported,
            money: Money(money),
            priced: true,
            lost_attempts: 0,
            lost: Tokens::ZERO,
            lost_money: Money::ZERO,
        };
        Closing {
            request: request.into(),
            at_ms: 1_798_761_601_000,
            target: Some("gpu-01/llama".into()),
            settlement,
            tier: "standard",
            price: None,
            paid: "sunk",
            avoidable: false,
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_back(
            texts: [String; 6], numbers in any::<[u64; 8]>(), lost: u32, flags: [bool; 3], user: Option<String>,
        ) {
            let [request, app, team, key, model, target] = texts.map(Arc::<str>::from);
            let opening = Opening {
                app, team, key, model, user: user.map(Into::into), request: Arc::clone(&request), at_ms: numbers[0],
                estimate: Estimate { input: Tokens(numbers[1]), output: Tokens(numbers[2]) }, money: Money(numbers[3]),
            };
            let mut closing = closing_of("", numbers[4]);
            closing.request = request;
            closing.target = Some(target).filter(|target| !target.is_empty());
            closing.settlement.lost_attempts = lost;
            closing.settlement.lost_money = Money(numbers[5]);
            closing.settlement.used.cached_input = Tokens(numbers[6]);
            (closing.settlement.priced, closing.avoidable) = (flags[0], flags[1]);
            let mut written = Vec::new();

            write_opening(&mut written, &opening);
            write_closing(&mut written, &closing);

            let written = String::from_utf8(written).expect("texts are UTF-8");
            let read: Vec<_> = written.split_terminator('\n').map(read_alone).collect();
            prop_assert_eq!(read, [Some(Line::Opening(opening)), Some(Line::Closing(closing))]);
        }
    }

    #[test]
    fn one_byte_that_would_break_the_line_is_seen_wherever_it_stands_in_a_text_of_any_length() {
        for length in 0..60 {
            let plain = vec![b'a'; length];
            assert!(is_plain(&plain), "{length}");
            for (at, byte) in (0..length).flat_map(|at| [b'%', b'\t', 0, 0x1f, 0x7f].map(|byte| (at, byte))) {
                let mut text = plain.clone();
                text[at] = byte;
                assert!(!is_plain(&text), "{byte} at {at} of {length}");
            }
            for byte in [b' ', b'~', 0x80, 0xff] {
                assert!(is_plain(&vec![byte; length]), "{byte}");
            }
        }
    }

    #[test]
    fn the_two_lines_of_a_request_are_these() {
        let mut written = Vec::new();
        let mut closing = closing_of("cwd_1", 10);
        (closing.settlement.lost_attempts, closing.settlement.lost) = (2, Tokens(u64::MAX));

        write_opening(&mut written, &opening_of("cwd_1", 900));
        write_opening(&mut written, &Opening { user: Some("a%b\u{7f}\tü".into()), ..opening_of("cwd_2", 0) });
        write_closing(&mut written, &closing);

        let lines = concat!(
            "af29db09 O\tcwd_1\t1798761600000\tclaims\tinsurance\tclaims.keys[0]\tchat\t11\t1024\t900\n",
            "529b3968 O\tcwd_2\t1798761600000\tclaims\tinsurance\tclaims.keys[0]\tchat\t11\t1024\t0\ta%25b%7f%09ü\n",
            "d91e879f C\tcwd_1\t1798761601000\tgpu-01/llama\treported\t11\t0\t0\t7\t10\t1\t2\t18446744073709551615\t0\tstandard\t\tsunk\t0\n",
        );
        assert_eq!(String::from_utf8(written).expect("texts are UTF-8"), lines);
    }

    #[test]
    fn a_line_with_any_byte_changed_is_not_believed() {
        let mut written = Vec::new();
        write_opening(&mut written, &opening_of("cwd_1", 900));
        let line = String::from_utf8(written).expect("texts are UTF-8").trim_end().to_owned();
        assert!(read_alone(&line).is_some());

        for at in 0..line.len() {
            // The second makes a capital of a letter.
            for bit in [0x01, 0x20] {
                let mut changed = line.clone().into_bytes();
                changed[at] ^= bit;
                let changed = String::from_utf8(changed).expect("still ASCII");
                assert_eq!(read_alone(&changed), None, "{changed}");
            }
            assert_eq!(read_alone(line.get(..at).expect("ASCII")), None);
        }
    }
}
