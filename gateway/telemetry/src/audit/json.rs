//! The few forms of JSON that an entry is made of, written straight into the buffer of waiting lines.
//!
//! Every request writes two lines. Through serde_json they were a sixth of all the instructions that a small request
//! costs: it looks at each byte of a name on its own, where nearly all names hold nothing to escape.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use super::stamp;

/// Writes `text` as a JSON string (RFC 8259, section 7).
pub(super) fn text(line: &mut Vec<u8>, text: &str) {
    named(line, "", text);
}

/// Whether a byte of it has to be escaped.
fn must_be_escaped(text: &[u8]) -> bool {
    let must = |byte: &u8| (*byte < 0x20) | (*byte == b'"') | (*byte == b'\\');
    // The compiler looks at sixteen at once where it is told that there are as many: the last of a text are looked at twice
    // rather than one by one.
    let any_must = |piece: &[u8; 16]| piece.iter().fold(false, |any, byte| any | must(byte));
    match text.last_chunk() {
        Some(last) => any_must(last) || text.as_chunks().0.iter().any(any_must),
        None => text.iter().any(must),
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Writes bytes as lower-case digits, without quotes.
pub(super) fn hex(line: &mut Vec<u8>, bytes: &[u8]) {
    line.extend(bytes.iter().flat_map(|byte| [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]));
}

#[cold]
fn escape(line: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => line.extend_from_slice(&[b'\\', byte]),
            0..0x20 => {
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                line.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
            _ => line.push(byte),
        }
    }
}

/// Writes `,"name":` and a string; `name` comes with its comma, quotes and colon.
pub(super) fn named(line: &mut Vec<u8>, name: &'static str, value: &str) {
    line.reserve(name.len() + value.len() + 2);
    line.extend_from_slice(name.as_bytes());
    line.push(b'"');
    if must_be_escaped(value.as_bytes()) {
        escape(line, value);
    } else {
        line.extend_from_slice(value.as_bytes());
    }
    line.push(b'"');
}

/// As [`named`], or nothing at all.
pub(super) fn named_if(line: &mut Vec<u8>, name: &'static str, value: Option<&str>) {
    if let Some(value) = value {
        named(line, name, value);
    }
}

/// Writes a number.
pub(super) fn number(line: &mut Vec<u8>, mut value: u64) {
    // Most are a part of an address, a status, a few milliseconds or a few tokens.
    if value < 1_000 {
        return small(line, value as u16);
    }
    // The longest is 18446744073709551615.
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    line.extend_from_slice(&digits[first..]);
}

fn small(line: &mut Vec<u8>, value: u16) {
    let digit = |value: u16| b'0' + (value % 10) as u8;
    if value >= 100 {
        line.push(digit(value / 100));
    }
    if value >= 10 {
        line.push(digit(value / 10));
    }
    line.push(digit(value));
}

/// Writes `true` or `false`.
pub(super) fn flag(line: &mut Vec<u8>, value: bool) {
    line.extend_from_slice(if value { b"true" } else { b"false" });
}

/// Writes a time as a JSON string, RFC 3339 in UTC with microseconds.
pub(super) fn time(line: &mut Vec<u8>, at: SystemTime) {
    line.push(b'"');
    line.extend_from_slice(&stamp::digits(at));
    line.push(b'"');
}

/// Writes milliseconds with one to three decimals.
pub(super) fn milliseconds(line: &mut Vec<u8>, duration: Duration) {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    number(line, micros / 1000);
    let rest = (micros % 1000) as u16;
    let digit = |value: u16| b'0' + (value % 10) as u8;
    let decimals = [b'.', digit(rest / 100), digit(rest / 10), digit(rest)];
    let used = match decimals {
        [.., b'0', b'0'] => 2,
        [.., b'0'] => 3,
        _ => 4,
    };
    line.extend_from_slice(&decimals[..used]);
}

/// Writes an address as a JSON string.
pub(super) fn ip(line: &mut Vec<u8>, address: IpAddr) {
    line.push(b'"');
    bare_ip(line, address);
    line.push(b'"');
}

/// Writes an address and its port as a JSON string, `10.0.0.1:443` or `[fd00::1]:443`.
pub(super) fn socket(line: &mut Vec<u8>, address: SocketAddr) {
    line.push(b'"');
    match address {
        SocketAddr::V4(v4) => {
            bare_ip(line, IpAddr::V4(*v4.ip()));
            line.push(b':');
            number(line, v4.port().into());
        }
        // It may have a scope, and is rare enough for the formatter.
        SocketAddr::V6(v6) => write!(line, "{v6}").expect("a Vec takes every byte"),
    }
    line.push(b'"');
}

fn bare_ip(line: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => {
            for (index, part) in v4.octets().into_iter().enumerate() {
                if index > 0 {
                    line.push(b'.');
                }
                number(line, part.into());
            }
        }
        IpAddr::V6(v6) => write!(line, "{v6}").expect("a Vec takes every byte"),
    }
}

/// Writes a list: `[`, what `each` writes for every item, with commas between, and `]`.
pub(super) fn list<T>(line: &mut Vec<u8>, items: &[T], each: impl Fn(&mut Vec<u8>, &T)) {
    line.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            line.push(b',');
        }
        each(line, item);
    }
    line.push(b']');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut line = Vec::new();
        write(&mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn milliseconds_have_one_to_three_decimals() {
        let text = |micros| written(|line| milliseconds(line, Duration::from_micros(micros)));

        assert_eq!(text(0), "0.0");
        assert_eq!(text(80_000), "80.0");
        assert_eq!(text(12_300), "12.3");
        assert_eq!(text(12_340), "12.34");
        assert_eq!(text(12_345), "12.345");
        assert_eq!(text(1_007), "1.007");
        assert_eq!(text(10), "0.01");
    }

    #[test]
    fn addresses_read_as_everywhere() {
        for address in ["10.0.0.1:443", "255.255.255.255:65535", "[fd00::1]:443", "[::ffff:10.0.0.1]:1"] {
            let address: SocketAddr = address.parse().unwrap();

            assert_eq!(written(|line| socket(line, address)), format!("\"{address}\""));
            assert_eq!(written(|line| ip(line, address.ip())), format!("\"{}\"", address.ip()));
        }
    }

    #[test]
    fn bytes_are_two_digits_each() {
        assert_eq!(written(|line| hex(line, &[0, 1, 0x9a, 0xff])), "00019aff");
    }

    #[test]
    fn one_byte_that_must_be_escaped_is_seen_wherever_it_stands_in_a_text_of_any_length() {
        for length in 0..60 {
            let plain = vec![b'a'; length];
            assert!(!must_be_escaped(&plain), "{length}");
            for (at, byte) in (0..length).flat_map(|at| [b'"', b'\\', 0, 0x1f].map(|byte| (at, byte))) {
                let mut text = plain.clone();
                text[at] = byte;
                assert!(must_be_escaped(&text), "{byte} at {at} of {length}");
            }
            for byte in [0x20, 0x7f, 0x80, 0xff] {
                assert!(!must_be_escaped(&vec![byte; length]), "{byte}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_back_as_it_was(value in ".*|[\\x00-\\x7f]*") {
            let line = written(|line| text(line, &value));

            prop_assert!(!line.bytes().any(|byte| byte < 0x20));
            prop_assert_eq!(serde_json::from_str::<String>(&line).unwrap(), value);
        }

        #[test]
        fn any_number_is_read_back_as_it_was(value: u64, less in 0_u64..2_000, micros in 0_u64..1 << 53, stream: bool) {
            prop_assert_eq!(written(|line| number(line, less)), less.to_string());
            prop_assert_eq!(written(|line| number(line, value)), value.to_string());
            prop_assert_eq!(written(|line| flag(line, stream)), stream.to_string());
            let line = written(|line| milliseconds(line, Duration::from_micros(micros)));
            prop_assert_eq!(line.parse::<f64>().unwrap(), micros as f64 / 1000.0);
        }
    }
}
