//! Secrets, and the header that identifies the gateway to an endpoint.

use std::fmt;
use std::sync::Arc;

use http::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION};
use zeroize::Zeroizing;

use crate::identity::TokenSpec;
use crate::signature::AwsKeys;

/// A key or token. It never prints itself, and its memory is wiped when the last copy is dropped.
///
/// The wiping is housekeeping, not a promise: the bytes also pass through the header map and the socket's buffers.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// Takes the text as it is; the caller trims what an editor left at the end of a file.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Arc::new(Zeroizing::new(text)))
    }

    /// The secret itself, for the one request that carries it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redacted")
    }
}

/// How the gateway identifies itself to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Own {
    /// By a secret that stands in the configuration.
    Secret(Credential),
    /// By a token that is asked for elsewhere and runs out.
    Token(Arc<TokenSpec>),
    /// By a signature of each request.
    Signature(AwsKeys),
    /// By a signature with keys that are asked for elsewhere and run out.
    LentSignature {
        /// How the keys are asked for.
        keys: Arc<TokenSpec>,
        /// Region of the service.
        region: String,
        /// The service, as [`AwsKeys::service`].
        service: &'static str,
    },
}

impl Own {
    /// What is asked for elsewhere and runs out.
    pub(crate) fn lent(&self) -> Option<&Arc<TokenSpec>> {
        match self {
            Self::Token(token) | Self::LentSignature { keys: token, .. } => Some(token),
            Self::Secret(_) | Self::Signature(_) => None,
        }
    }
}

/// The header that carries a secret to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The header, for example `authorization` or `api-key`.
    pub header: HeaderName,
    /// What stands before the secret, for example `"Bearer "`.
    pub prefix: &'static str,
    /// The secret itself.
    pub secret: Secret,
}

/// The secret cannot stand in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret is empty or holds a character that a header cannot carry")]
pub struct InvalidCredential;

impl Credential {
    /// The header's value, marked sensitive so that neither logs nor HPACK's table keep it.
    pub(crate) fn value(&self) -> Result<HeaderValue, InvalidCredential> {
        if self.secret.0.is_empty() {
            return Err(InvalidCredential);
        }
        let text = Zeroizing::new(format!("{}{}", self.prefix, self.secret.0.as_str()));
        let mut value = HeaderValue::from_str(&text).map_err(|_| InvalidCredential)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// Headers by which a caller could identify itself upstream. They were removed when the request was received; they are
/// removed here again, because a slip there would hand one party's key to another.
const CALLERS: [HeaderName; 5] = [
    AUTHORIZATION,
    PROXY_AUTHORIZATION,
    COOKIE,
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-api-key"),
];

/// Removes every credential that a caller may have sent and puts the endpoint's own in.
pub(crate) fn replace(headers: &mut HeaderMap, own: Option<(HeaderName, HeaderValue)>) {
    for name in &CALLERS {
        headers.remove(name);
    }
    if let Some((name, value)) = own {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(secret: &str) -> Credential {
        Credential { header: AUTHORIZATION, prefix: "Bearer ", secret: Secret::new(secret.to_owned()) }
    }

    #[test]
    fn a_secret_never_prints_itself() {
        let credential = credential("sk-very-secret");

        let value = credential.value().unwrap();

        assert!(!format!("{credential:?} {value:?} {}", credential.secret).contains("very"));
        assert_eq!(value.as_bytes(), b"Bearer sk-very-secret");
    }

    #[test]
    fn a_secret_with_a_line_break_is_refused() {
        assert_eq!(credential("sk-x\r\nx-admin: 1").value(), Err(InvalidCredential));
        assert_eq!(credential("").value(), Err(InvalidCredential));
    }

    #[test]
    fn the_callers_credentials_are_replaced_by_the_endpoints() {
        let mut headers = HeaderMap::new();
        headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer caller"));
        headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer other"));
        headers.append("x-api-key", HeaderValue::from_static("caller"));
        let own = (AUTHORIZATION, credential("own").value().unwrap());

        replace(&mut headers, Some(own));

        assert_eq!(headers.len(), 1);
        assert_eq!(headers[AUTHORIZATION].as_bytes(), b"Bearer own");
    }
}
