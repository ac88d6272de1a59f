//! The assertion by which an application proves that it has the key of its certificate (RFC 7523, section 2.2).
//!
//! Entra ID finds the certificate by its SHA-256 thumbprint in the header and takes PS256. The assertion is for its
//! token URL alone, lives for ten minutes and has an id of its own, so that a copy is of little use.

use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PSS_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;

use super::Application;
use crate::spec::ClientCertificate;

/// How long an assertion is good.
const LIFETIME: Duration = Duration::from_secs(600);

/// Why no assertion can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AssertionError {
    #[error("the key of the certificate is no RSA key")]
    NotRsa,
    #[error("there is no certificate")]
    NoCertificate,
    #[error("the key does not sign")]
    Unsigned,
}

/// Whether a certificate's key can sign assertions.
pub(crate) fn check(certificate: &ClientCertificate) -> Result<(), AssertionError> {
    key_pair(&certificate.key).map(drop)
}

/// An assertion of `app` for the token URL `audience`, made at `now`.
pub(crate) fn assertion(
    app: &Application,
    certificate: &ClientCertificate,
    audience: &str,
    now: SystemTime,
) -> Result<String, AssertionError> {
    let key = key_pair(&certificate.key)?;
    let own = certificate.chain.first().ok_or(AssertionError::NoCertificate)?;
    let header = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": URL_SAFE_NO_PAD.encode(digest(&SHA256, own)) });
    let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut id = [0; 16];
    aws_lc_rs::rand::fill(&mut id).map_err(|_| AssertionError::Unsigned)?;
    let claims = json!({
        "aud": audience,
        "iss": app.client,
        "sub": app.client,
        "jti": URL_SAFE_NO_PAD.encode(id),
        "iat": seconds(now),
        "nbf": seconds(now),
        "exp": seconds(now + LIFETIME),
    });
    let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PSS_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
        .map_err(|_| AssertionError::Unsigned)?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

fn key_pair(key: &PrivateKeyDer<'_>) -> Result<RsaKeyPair, AssertionError> {
    let read = match key {
        PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
        _ => return Err(AssertionError::NotRsa),
    };
    read.map_err(|_| AssertionError::NotRsa)
}
