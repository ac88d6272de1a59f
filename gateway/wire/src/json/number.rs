//! Numbers as JSON writes them.

use super::{JsonError, JsonFault};

/// Longest run of digits that cannot overflow a double without an exponent.
const SURELY_FINITE: usize = 308;

/// Reads the number that begins at `start` and returns the offset behind it.
pub(super) fn scan(bytes: &[u8], start: usize) -> Result<usize, JsonError> {
    let mut at = start;
    if bytes.get(at) == Some(&b'-') {
        at += 1;
    }
    let whole = at;
    match bytes.get(at) {
        Some(b'0') => at += 1,
        Some(b'1'..=b'9') => at = digits(bytes, at)?,
        _ => return Err(bad(bytes, at)),
    }
    // A digit after a leading zero is the one form that other parsers read in another base.
    if bytes.get(at).is_some_and(u8::is_ascii_digit) {
        return Err(bad(bytes, at));
    }
    let mut suspicious = at - whole > SURELY_FINITE;
    if bytes.get(at) == Some(&b'.') {
        at = digits(bytes, at + 1)?;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        suspicious = true;
        at += 1;
        if matches!(bytes.get(at), Some(b'+' | b'-')) {
            at += 1;
        }
        at = digits(bytes, at)?;
    }
    if suspicious && !is_finite(bytes.get(start..at).unwrap_or_default()) {
        return Err(JsonError { at: start, fault: JsonFault::Range });
    }
    Ok(at)
}

/// Skips one or more digits.
fn digits(bytes: &[u8], start: usize) -> Result<usize, JsonError> {
    let rest = bytes.get(start..).unwrap_or_default();
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 { Err(bad(bytes, start)) } else { Ok(start + count) }
}

fn is_finite(digits: &[u8]) -> bool {
    std::str::from_utf8(digits).ok().and_then(|text| text.parse::<f64>().ok()).is_some_and(f64::is_finite)
}

fn bad(bytes: &[u8], at: usize) -> JsonError {
    let fault = if at >= bytes.len() { JsonFault::EndsEarly } else { JsonFault::Number };
    JsonError { at, fault }
}
