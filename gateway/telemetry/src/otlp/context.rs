//! W3C Trace Context: who a request belongs to in the traces of others.
//!
//! What a caller sends is believed only as far as its form goes, and a list of states that is longer than the recommendation
//! has others carry is left out: it would be sent on.

use std::fmt::Write as _;

/// Longest `tracestate` that is carried on (Trace Context, section 3.3.1.5).
const LONGEST_STATE: usize = 512;

/// A place in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: [u8; 16],
    /// The span in it.
    pub span: [u8; 8],
    /// Whether whoever began it keeps it.
    pub sampled: bool,
    /// What others put beside it.
    pub state: Option<Box<str>>,
}

impl TraceContext {
    /// Reads the headers `traceparent` and `tracestate`; `None` for what is no trace (Trace Context, section 3.2).
    #[must_use]
    pub fn parse(parent: &str, state: Option<&str>) -> Option<Self> {
        let mut parts = parent.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let [version] = hex(version)?;
        // A later version may say more behind; this one may not, and 255 is none.
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return None;
        }
        let (trace, span): ([u8; 16], [u8; 8]) = (hex(trace)?, hex(span)?);
        let [flags] = hex(flags)?;
        if trace == [0; 16] || span == [0; 8] {
            return None;
        }
        let plain = |state: &&str| {
            state.len() <= LONGEST_STATE && state.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
        };
        let state = state.filter(plain).filter(|state| !state.is_empty()).map(Into::into);
        Some(Self { trace, span, sampled: flags & 1 == 1, state })
    }

    /// The header `traceparent`.
    #[must_use]
    pub fn parent(&self) -> String {
        let mut text = String::with_capacity(55);
        text.push_str("00-");
        push_hex(&mut text, &self.trace);
        text.push('-');
        push_hex(&mut text, &self.span);
        text.push_str(if self.sampled { "-01" } else { "-00" });
        text
    }
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a String takes every letter");
    }
}

/// Lower-case digits of exactly so many bytes.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N || digits.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_was_read_is_written_again() {
        let context = TraceContext::parse(GOOD, Some("congo=t61rcWkgMzE")).unwrap();

        assert_eq!(context.parent(), GOOD);
        assert_eq!(context.state.as_deref(), Some("congo=t61rcWkgMzE"));
        assert!(!TraceContext::parse(&GOOD.replace("-01", "-00"), None).unwrap().sampled);
        assert!(TraceContext::parse(&format!("{}-more", GOOD.replacen("00", "01", 1)), None).is_some());
    }

    #[test]
    fn what_is_no_trace_is_none() {
        for wrong in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319cé-b7ad6b7169203331-01",
        ] {
            assert_eq!(TraceContext::parse(wrong, None), None, "{wrong}");
        }
    }

    #[test]
    fn a_state_that_is_too_long_or_no_text_is_left_out() {
        for state in ["x".repeat(513), "a=\u{7f}".to_owned(), "a=é".to_owned(), String::new()] {
            assert_eq!(TraceContext::parse(GOOD, Some(&state)).unwrap().state, None, "{state}");
        }
    }
}
