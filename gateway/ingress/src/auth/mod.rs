//! Which app a request belongs to.
//!
//! A caller proves itself with a key, of which the gateway knows only the SHA-256 digest, with a token of an issuer that
//! the configuration names, or with the client certificate of its connection. A key or token may come as
//! `Authorization: Bearer`, `api-key` or `x-api-key`, because clients of the three dialects send it so, and some send it
//! twice. [`Callers`] is the one place where it is decided.

mod certificate;
mod credential;
mod forwarded;
#[doc(hidden)]
pub mod fuzz;
mod subject;
mod token;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::digest;
use foldhash::fast::RandomState;
use http::HeaderMap;
use subtle::ConstantTimeEq;

use crate::limits::LimitIndex;

pub use certificate::{CertificateName, Certificates, ShownCertificate};
pub use credential::{LONGEST_CREDENTIAL, NO_CREDENTIAL};
pub use token::{
    Algorithm, Issuer, KeySet, KeySetError, LONGEST_TOKEN, LONGEST_USER, MOST_KEYS, MOST_MARKS, Marks, TokenRule,
    Tokens,
};

/// An app, by its place in the snapshot's list of apps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppIndex(pub u32);

/// A credential, by its place in the snapshot's list of them: the keys in the order that [`Keys::new`] was given, and behind
/// them what rules of tokens and names of certificates were given as theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyIndex(pub u32);

/// A key as the configuration knows it.
#[derive(Debug, Clone)]
pub struct KeyEntry {
    /// SHA-256 of the key.
    pub digest: [u8; 32],
    /// The app that the key belongs to.
    pub app: AppIndex,
    /// The first moment at which the key is no longer accepted; `None` for no end.
    pub expires: Option<SystemTime>,
    /// The models that the key may ask for, of those its app may; `None` for all of them.
    pub models: Option<Box<[Arc<str>]>>,
    /// A limit of the key's own, besides its app's.
    pub limit: Option<LimitIndex>,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identified {
    /// The app that the credential belongs to.
    pub app: AppIndex,
    /// The credential that was presented.
    pub key: KeyIndex,
    /// What the claims of a token say beside that.
    pub marks: Marks,
    /// The user that a token names, where its rule says by which claim.
    pub user: Option<Arc<str>>,
}

/// Why a request has no known caller. All of these are a 401 `invalid_api_key` to the caller, who
/// is not told which; the gateway counts them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No header carries a credential.
    #[error("the request has no credential")]
    Missing,
    /// A credential is empty, too long, or of another scheme.
    #[error("the credential is malformed")]
    Malformed,
    /// No key has this digest.
    #[error("the key is not known")]
    Unknown,
    /// The key or token has run out.
    #[error("the key or token has expired")]
    Expired,
    /// The request carries credentials of two callers, or one that belongs to two apps, so that it is not clear who asks.
    #[error("the request carries credentials of two callers")]
    Conflicting,
    /// The token is of an issuer that the configuration does not name.
    #[error("the token is of an issuer that is not known")]
    UnknownIssuer,
    /// The token came over a connection that is not one of its issuer's sources.
    #[error(
        "the token's issuer is accepted from listed sources only (`only_from`), and this connection is none of them"
    )]
    Elsewhere,
    /// The token is signed with an algorithm that its issuer does not use.
    #[error("the token is signed with an algorithm that is not accepted")]
    Algorithm,
    /// The token is signed with a key that its issuer does not publish.
    #[error("the token is signed with a key that its issuer does not publish")]
    UnknownSigner,
    /// The signature is not that of the token, or the token's claims cannot be read.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// The token is not valid yet.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// The token is valid and for none of the apps: another audience, or other claims.
    #[error("the token has the audience and claims of no app")]
    NoApp,
    /// The token would be an app's by its groups, which it had no room for.
    #[error("the token leaves its groups out because there are too many; ask for app roles instead")]
    GroupsOverage,
    /// The token would be an app's, and its user is not there or cannot be one.
    #[error(
        "the token's claim that names the user is not there, or is no text of 1 to {LONGEST_USER} bytes without control characters"
    )]
    NoUser,
}

/// Two entries have the same digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("keys {} and {} have the same digest", first.0, second.0)]
pub struct DuplicateKey {
    /// The entry that came first.
    pub first: KeyIndex,
    /// The entry that repeats it.
    pub second: KeyIndex,
}

/// The keys of a snapshot.
#[derive(Debug)]
pub struct Keys {
    // The map's hash is keyed at random, so that nobody can choose keys that fall into one bucket.
    by_digest: HashMap<Digest, KeyIndex, RandomState>,
    entries: Vec<KeyEntry>,
}

/// A digest that is compared in constant time.
///
/// By words, because subtle keeps the compiler from seeing through each step of a comparison by bytes.
#[derive(Debug, Clone, Copy, Eq)]
struct Digest([u64; 4]);

impl Digest {
    fn new(digest: [u8; 32]) -> Self {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(digest.as_chunks().0) {
            *word = u64::from_ne_bytes(*bytes);
        }
        Self(words)
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        let [a, b, c, d] = self.0;
        let [e, f, g, h] = other.0;
        let differing = (a ^ e) | (b ^ f) | (c ^ g) | (d ^ h);
        differing.ct_eq(&0).into()
    }
}

impl Hash for Digest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // A part of a SHA-256 digest is spread as evenly as all of it.
        state.write_u64(self.0[0]);
    }
}

/// What an unknown key is compared with, so that it takes as long as a known one.
const NO_KEY: Digest = Digest([0; 4]);

impl Keys {
    /// Builds the look-up. A digest that comes twice is a mistake in the configuration: it would
    /// not be clear whose key it is.
    pub fn new(entries: Vec<KeyEntry>) -> Result<Self, DuplicateKey> {
        let mut by_digest = HashMap::with_capacity_and_hasher(entries.len(), RandomState::default());
        for (second, entry) in (0..).map(KeyIndex).zip(&entries) {
            if let Some(first) = by_digest.insert(Digest::new(entry.digest), second) {
                return Err(DuplicateKey { first, second });
            }
        }
        Ok(Self { by_digest, entries })
    }

    /// Says whose key has this digest.
    ///
    /// Each look-up makes the same steps whether the key is known or not: one look-up, one comparison in constant time.
    fn look_up(&self, digest: [u8; 32], now: SystemTime) -> Result<Identified, AuthError> {
        let presented = Digest::new(digest);
        let found = self.by_digest.get_key_value(&presented);
        let (digest, key) = found.map_or((&NO_KEY, KeyIndex(u32::MAX)), |(digest, key)| (digest, *key));
        if *digest != presented {
            return Err(AuthError::Unknown);
        }
        let entry = self.entry(key).ok_or(AuthError::Unknown)?;
        if entry.expires.is_some_and(|expires| now >= expires) {
            return Err(AuthError::Expired);
        }
        Ok(Identified { app: entry.app, key, marks: Marks::NONE, user: None })
    }

    /// The entry of a key; `None` for an index of another list.
    pub fn entry(&self, key: KeyIndex) -> Option<&KeyEntry> {
        self.entries.get(usize::try_from(key.0).ok()?)
    }
}

/// All the ways in which a caller can prove who it is.
#[derive(Debug)]
pub struct Callers {
    keys: Keys,
    tokens: Tokens,
    certificates: Certificates,
    /// Proxies that say whose certificate they saw.
    forwarders: Vec<CertificateName>,
}

impl Callers {
    /// Brings the three ways together.
    #[must_use]
    pub fn new(keys: Keys, tokens: Tokens, certificates: Certificates) -> Self {
        Self { keys, tokens, certificates, forwarders: Vec::new() }
    }

    /// Believes the header `x-forwarded-client-cert` of whoever has one of these names in the certificate of its own
    /// connection.
    #[must_use]
    pub fn believing(mut self, forwarders: Vec<CertificateName>) -> Self {
        self.forwarders = forwarders;
        self
    }

    /// The issuers of tokens, for whoever keeps their keys fresh.
    #[must_use]
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Says who asks, by the credential in `headers` and by the `certificate` of the connection.
    ///
    /// A credential that is shown must be good, whatever the certificate says; where both name an app, it must be the same.
    /// A client that cannot leave its key out shows [`NO_CREDENTIAL`].
    ///
    /// # Errors
    ///
    /// [`AuthError`].
    pub fn authenticate(
        &self,
        headers: &HeaderMap,
        certificate: Option<&ShownCertificate>,
        now: SystemTime,
    ) -> Result<Identified, AuthError> {
        let named = match certificate {
            Some(certificate) if certificate.has_any(&self.forwarders) => {
                self.certificates.identify(&forwarded::names(headers)?)?
            }
            Some(certificate) => self.certificates.identify(certificate.names())?,
            None => None,
        };
        let longest = if self.tokens.is_empty() { LONGEST_CREDENTIAL } else { LONGEST_TOKEN };
        let shown = match credential::find(headers, longest) {
            Ok(NO_CREDENTIAL) if named.is_some() => None,
            Ok(credential) => Some(self.shown(credential, certificate, now)?),
            Err(AuthError::Missing) => None,
            Err(error) => return Err(error),
        };
        match (shown, named) {
            (Some(shown), Some(named)) if shown.app != named.app => Err(AuthError::Conflicting),
            (Some(one), _) | (None, Some(one)) => Ok(one),
            (None, None) => Err(AuthError::Missing),
        }
    }

    /// A key's form is never looked at, so a credential is a key first, and a token when no key has its digest.
    fn shown(
        &self,
        credential: &[u8],
        certificate: Option<&ShownCertificate>,
        now: SystemTime,
    ) -> Result<Identified, AuthError> {
        let digest = sha256(credential);
        match self.keys.look_up(digest, now) {
            Err(AuthError::Unknown) if !self.tokens.is_empty() => {
                self.tokens.identify((credential, &digest), certificate, now)
            }
            found => found,
        }
    }
}

/// The digest by which the gateway knows `key`.
pub fn digest_of(key: &str) -> [u8; 32] {
    sha256(key.as_bytes())
}

/// `digest` in the form of the configuration: 64 lower-case hexadecimal digits.
pub fn hex_of(digest: &[u8; 32]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value & 15)]);
    digest.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// Makes a key of 256 random bits: the key itself, `cw_` and 43 characters of base64url, and its
/// digest as [`hex_of`] writes it.
///
/// The randomness comes in as an argument; it must be fresh, and from the system's source.
pub fn new_key(random: &[u8; 32]) -> (String, String) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut key = String::from("cw_");
    for group in random.chunks(3) {
        let mut bytes = [0; 4];
        bytes[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(bytes);
        // Each character takes six bits; a group cut short at the end needs one character fewer for
        // each byte that it lacks (RFC 4648, section 5, without padding).
        for shift in [18, 12, 6, 0].into_iter().take(group.len() + 1) {
            let index = bits >> shift & 63;
            key.push(char::from(ALPHABET[index as usize]));
        }
    }
    let digest = hex_of(&digest_of(&key));
    (key, digest)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest.as_ref().try_into().expect("a SHA-256 digest has 32 bytes")
}
