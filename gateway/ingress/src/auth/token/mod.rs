//! Callers that prove who they are with a token (a JWT, RFC 7519) of an issuer that the configuration names.
//!
//! The order of the checks: the form, the issuer, where the token may come from, the header's algorithm against the pinned ones, the key, the signature,
//! the times, the audience, and last which app the claims belong to. Nothing of a token is believed before its signature
//! was verified, but for the claim `iss` and the header's `kid` and `alg`, which only choose the key that is tried. What a header offers beyond that
//! (`jku`, `jwk`, `x5u`, `x5c`) is never looked at, and a header with `crit` is refused (RFC 7515, section 4.1.11).
//!
//! A verified token is remembered by the SHA-256 of all its bytes until it expires or the issuer's keys change, so that a
//! signature is verified once and not for each request.

mod cache;
mod claims;
mod keys;
mod marks;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::Notify;

use super::{AuthError, CertificateName, Identified, ShownCertificate};
use cache::Cache;
pub use claims::{LONGEST_USER, TokenRule};
pub use keys::{Algorithm, KeySet, KeySetError, MOST_KEYS};
pub use marks::{MOST_MARKS, Marks};

/// Longest token that is looked at, in bytes: 16_384. A token of Entra ID with all the groups it may carry has about 12,000.
pub const LONGEST_TOKEN: usize = 16_384;

/// Who issues tokens, and how they are checked.
#[derive(Debug)]
pub struct Issuer {
    /// The name in the configuration.
    pub name: Arc<str>,
    /// The claim `iss`, compared byte by byte.
    pub issuer: Box<str>,
    /// The algorithms that are accepted; there is no symmetric one.
    pub algorithms: Box<[Algorithm]>,
    /// How far the issuer's clock may be off: a token is accepted so long after `exp` and before `nbf`.
    pub skew: Duration,
    /// Its tokens count only on connections whose client certificate has one of these names; on every one where there is none.
    pub only_from: Box<[CertificateName]>,
    keys: ArcSwap<KeySet>,
    unknown_key: Notify,
}

impl Issuer {
    /// An issuer with the keys that are known of it now.
    #[must_use]
    pub fn new(name: Arc<str>, issuer: &str, algorithms: Box<[Algorithm]>, skew: Duration, keys: KeySet) -> Self {
        let keys = ArcSwap::from_pointee(keys);
        let only_from = Box::default();
        Self { name, issuer: issuer.into(), algorithms, skew, only_from, keys, unknown_key: Notify::new() }
    }

    /// Whoever got one of its tokens elsewhere cannot show it: it comes from one of these, or counts for nothing.
    #[must_use]
    pub fn only_from(self, sources: Box<[CertificateName]>) -> Self {
        Self { only_from: sources, ..self }
    }

    fn may_come_by(&self, certificate: Option<&ShownCertificate>) -> Result<(), AuthError> {
        let is_listed = self.only_from.is_empty() || certificate.is_some_and(|shown| shown.has_any(&self.only_from));
        if is_listed { Ok(()) } else { Err(AuthError::Elsewhere) }
    }

    /// Puts a newer key set in force. Tokens that were verified with the one before are verified again.
    pub fn renew(&self, keys: KeySet) {
        self.keys.store(Arc::new(keys));
    }

    /// Takes over the keys of the same issuer before a reload.
    pub fn adopt(&self, keys: Arc<KeySet>) {
        self.keys.store(keys);
    }

    /// The keys in force.
    #[must_use]
    pub fn keys(&self) -> Arc<KeySet> {
        self.keys.load_full()
    }

    /// Waits until a token names a key that is not in the set: a reason to fetch the set again, at a bounded rate.
    pub async fn key_was_unknown(&self) {
        self.unknown_key.notified().await;
    }
}

/// The issuers of a snapshot, and the apps that their tokens belong to.
#[derive(Debug, Default)]
pub struct Tokens {
    issuers: Vec<Arc<Issuer>>,
    by_issuer: HashMap<Box<str>, usize>,
    /// The rules of each issuer, in the order of `issuers`.
    rules: Vec<Vec<TokenRule>>,
    verified: Cache,
}

/// What is known of a verified token.
#[derive(Debug, Clone)]
struct Verified {
    identified: Identified,
    issuer: usize,
    /// The generation of the issuer's keys that verified it.
    keys: u64,
    /// Accepted before this moment, the skew included.
    until: SystemTime,
    /// Accepted from this moment on.
    from: SystemTime,
}

impl Tokens {
    /// The look-up; each rule names its issuer by the claim `iss`. A rule of an issuer that is not listed matches nothing.
    #[must_use]
    pub fn new(issuers: Vec<Arc<Issuer>>, rules: Vec<TokenRule>) -> Self {
        let by_issuer: HashMap<Box<str>, usize> =
            issuers.iter().enumerate().map(|(index, issuer)| (issuer.issuer.clone(), index)).collect();
        let mut of_issuers: Vec<Vec<TokenRule>> = issuers.iter().map(|_| Vec::new()).collect();
        for rule in rules {
            if let Some(index) = by_issuer.get(&rule.issuer) {
                of_issuers[*index].push(rule);
            }
        }
        Self { issuers, by_issuer, rules: of_issuers, verified: Cache::default() }
    }

    /// Whether there is no issuer, so that nothing is a token.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.issuers.is_empty()
    }

    /// The issuers, for whoever keeps their keys fresh.
    #[must_use]
    pub fn issuers(&self) -> &[Arc<Issuer>] {
        &self.issuers
    }

    /// Whose token this is, on a connection with this certificate. `digest` is the SHA-256 of the whole token.
    ///
    /// # Errors
    ///
    /// [`AuthError`]: what is no token at all is [`AuthError::Unknown`], like a key that nobody has.
    pub(super) fn identify(
        &self,
        (token, digest): (&[u8], &[u8; 32]),
        certificate: Option<&ShownCertificate>,
        now: SystemTime,
    ) -> Result<Identified, AuthError> {
        if let Some(known) = self.verified.find(digest)
            && let issuer = &self.issuers[known.issuer]
            && known.keys == issuer.keys.load().generation()
        {
            // INVARIANT: that a token was verified on one connection lets it in on no other.
            issuer.may_come_by(certificate)?;
            return known.at(now);
        }
        let verified = self.verify(token, certificate)?;
        let identified = verified.at(now)?;
        self.verified.remember(*digest, verified);
        Ok(identified)
    }

    fn verify(&self, token: &[u8], certificate: Option<&ShownCertificate>) -> Result<Verified, AuthError> {
        let text = token_text(token).ok_or(AuthError::Unknown)?;
        let index = self.issuer_of(text)?;
        let issuer = &self.issuers[index];
        // Before the key is looked for: nobody else can have the issuer's keys fetched.
        issuer.may_come_by(certificate)?;
        let keys = issuer.keys.load();
        let claims = signed_claims(text, issuer, &keys)?;
        let (from, until) = times(&claims, issuer.skew)?;
        let identified = claims::owner(&self.rules[index], &claims)?;
        Ok(Verified { identified, issuer: index, keys: keys.generation(), until, from })
    }

    fn issuer_of(&self, token: &str) -> Result<usize, AuthError> {
        #[derive(Deserialize)]
        struct Claimed {
            iss: String,
        }
        let payload = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let claimed: Option<Claimed> = payload.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let claimed = claimed.ok_or(AuthError::Unknown)?;
        self.by_issuer.get(claimed.iss.as_str()).copied().ok_or(AuthError::UnknownIssuer)
    }
}

impl Verified {
    fn at(&self, now: SystemTime) -> Result<Identified, AuthError> {
        if now >= self.until {
            return Err(AuthError::Expired);
        }
        if now < self.from {
            return Err(AuthError::NotYetValid);
        }
        Ok(self.identified.clone())
    }
}

/// `token` as text, if it has the form of one: three parts of base64url with dots between.
fn token_text(token: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(token).ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let dots = text.bytes().filter(|byte| *byte == b'.').count();
    (dots == 2 && text.bytes().all(plain)).then_some(text)
}

/// The claims of a token whose signature one of the issuer's keys made, with one of the pinned algorithms.
fn signed_claims(token: &str, issuer: &Issuer, keys: &KeySet) -> Result<Map<String, Value>, AuthError> {
    // An algorithm that jsonwebtoken does not know, `none` among them, is an error here already.
    let header = decode_header(token).map_err(|_| AuthError::Algorithm)?;
    let named = Algorithm::of(header.alg).filter(|algorithm| issuer.algorithms.contains(algorithm));
    let algorithm = named.ok_or(AuthError::Algorithm)?;
    let is_plain = header.typ.as_deref().is_none_or(is_access_token) && header.crit.is_none() && header.enc.is_none();
    if !is_plain {
        return Err(AuthError::Malformed);
    }
    let Some(key) = keys.find(header.kid.as_deref(), algorithm) else {
        issuer.unknown_key.notify_one();
        return Err(AuthError::UnknownSigner);
    };
    let mut validation = Validation::new(algorithm.into());
    // Only the signature: times are held against the request's own clock below, the audience by the rules.
    validation.set_required_spec_claims::<&str>(&[]);
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    let decoded = decode::<Map<String, Value>>(token, key, &validation).map_err(|_| AuthError::BadSignature)?;
    Ok(decoded.claims)
}

/// `typ` of a token that grants access (RFC 9068, section 2.1) or says nothing in particular.
fn is_access_token(typ: &str) -> bool {
    ["JWT", "at+jwt", "application/at+jwt"].iter().any(|plain| typ.eq_ignore_ascii_case(plain))
}

/// From when and until when the token is accepted. `exp` is required: a token without an end could never be taken back.
fn times(claims: &Map<String, Value>, skew: Duration) -> Result<(SystemTime, SystemTime), AuthError> {
    let end = moment(claims, "exp")?.ok_or(AuthError::Malformed)?;
    let start = moment(claims, "nbf")?;
    let until = end.checked_add(skew).ok_or(AuthError::Malformed)?;
    let from = start.map_or(UNIX_EPOCH, |start| start.checked_sub(skew).unwrap_or(UNIX_EPOCH));
    Ok((from, until))
}

/// A `NumericDate` (RFC 7519, section 2): seconds since 1970, perhaps with a fraction, which is cut off.
fn moment(claims: &Map<String, Value>, name: &str) -> Result<Option<SystemTime>, AuthError> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let whole =
        value.as_u64().or_else(|| value.as_f64().filter(|seconds| *seconds >= 0.0).map(|seconds| seconds as u64));
    let seconds = whole.ok_or(AuthError::Malformed)?;
    let moment = UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).ok_or(AuthError::Malformed)?;
    Ok(Some(moment))
}
