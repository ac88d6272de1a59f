//! Finding the one credential of a request.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};

use super::AuthError;

/// Longest key that is looked at, in bytes: 4_096. Where tokens are accepted, [`LONGEST_TOKEN`](super::LONGEST_TOKEN) is the bound.
///
/// A key made by `causeway keys new` has 46. The bound keeps a caller from having a whole head of
/// 64 KiB digested for each request.
pub const LONGEST_CREDENTIAL: usize = 4_096;

/// What a caller that proves itself with its certificate may show as its key: many clients cannot leave the key out.
pub const NO_CREDENTIAL: &[u8] = b"certificate";

static KEY_HEADERS: [HeaderName; 2] = [HeaderName::from_static("api-key"), HeaderName::from_static("x-api-key")];

/// The credential that `headers` carry, however many times they carry it.
pub(super) fn find(headers: &HeaderMap, longest: usize) -> Result<&[u8], AuthError> {
    let mut found = Found { credential: None, conflicting: false, longest };
    for value in headers.get_all(AUTHORIZATION) {
        found.add(bearer(value.as_bytes()).ok_or(AuthError::Malformed)?)?;
    }
    for name in &KEY_HEADERS {
        for value in headers.get_all(name) {
            found.add(value.as_bytes().trim_ascii())?;
        }
    }
    if found.conflicting {
        return Err(AuthError::Conflicting);
    }
    found.credential.ok_or(AuthError::Missing)
}

struct Found<'a> {
    credential: Option<&'a [u8]>,
    conflicting: bool,
    longest: usize,
}

impl<'a> Found<'a> {
    /// A key is whatever the configuration's digest was made of, so only its length is looked at.
    fn add(&mut self, credential: &'a [u8]) -> Result<(), AuthError> {
        if !(1..=self.longest).contains(&credential.len()) {
            return Err(AuthError::Malformed);
        }
        self.conflicting |= self.credential.is_some_and(|other| other != credential);
        self.credential = Some(credential);
        Ok(())
    }
}

/// What follows `Bearer`, whose case does not matter (RFC 9110, section 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.trim_ascii().split_at_checked(6)?;
    let separated = rest.first().is_some_and(u8::is_ascii_whitespace);
    (scheme.eq_ignore_ascii_case(b"bearer") && separated).then(|| rest.trim_ascii_start())
}
