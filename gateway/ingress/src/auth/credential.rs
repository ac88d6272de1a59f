//! Finding the one credential of a request.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};

use super::AuthError;

/// Longest credential that is looked at, in bytes: 4_096.
///
/// A key made by `causeway keys new` has 46. The bound keeps a caller from having a whole head of
/// 64 KiB digested for each request.
pub const LONGEST_CREDENTIAL: usize = 4_096;

static KEY_HEADERS: [HeaderName; 2] = [HeaderName::from_static("api-key"), HeaderName::from_static("x-api-key")];

/// The credential that `headers` carry, however many times they carry it.
pub(super) fn find(headers: &HeaderMap) -> Result<&[u8], AuthError> {
    let bearers = headers.get_all(AUTHORIZATION).iter().map(|value| bearer(value.as_bytes()));
    let keys =
        KEY_HEADERS.iter().flat_map(|name| headers.get_all(name)).map(|value| Some(value.as_bytes().trim_ascii()));
    let mut found: Option<&[u8]> = None;
    let mut conflicting = false;
    for credential in bearers.chain(keys) {
        let credential = credential.filter(|credential| is_well_formed(credential)).ok_or(AuthError::Malformed)?;
        conflicting |= found.is_some_and(|other| other != credential);
        found = Some(credential);
    }
    if conflicting {
        return Err(AuthError::Conflicting);
    }
    found.ok_or(AuthError::Missing)
}

/// What follows `Bearer`, whose case does not matter (RFC 9110, section 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.trim_ascii().split_at_checked(6)?;
    let separated = rest.first().is_some_and(u8::is_ascii_whitespace);
    (scheme.eq_ignore_ascii_case(b"bearer") && separated).then(|| rest.trim_ascii_start())
}

fn is_well_formed(credential: &[u8]) -> bool {
    (1..=LONGEST_CREDENTIAL).contains(&credential.len()) && credential.iter().all(u8::is_ascii_graphic)
}
