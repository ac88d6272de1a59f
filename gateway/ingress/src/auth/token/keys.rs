//! The public keys of an issuer: a JSON Web Key Set (RFC 7517).

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use serde::Deserialize;
use serde_json::Value;

/// Keys that are read of one set: 64. Issuers publish two to six; the bound keeps a set that ran wild from costing memory.
pub const MOST_KEYS: usize = 64;

/// How tokens are signed. There is no symmetric algorithm: with one, whoever knows the key that verifies can sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RSA with PKCS #1 v1.5 and SHA-256.
    Rs256,
    /// The same with SHA-384.
    Rs384,
    /// The same with SHA-512.
    Rs512,
    /// RSA-PSS with SHA-256.
    Ps256,
    /// The same with SHA-384.
    Ps384,
    /// The same with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// Every algorithm that there is.
    pub const ALL: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// The name in a token's header (RFC 7518, section 3.1; RFC 8037).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm that a header names, `None` for a symmetric one.
    pub(super) fn of(named: jsonwebtoken::Algorithm) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| jsonwebtoken::Algorithm::from(*algorithm) == named)
    }

    /// Whether a key of this kind signs with it. A key that names its algorithm signs with that one alone.
    fn fits(self, key: &Jwk) -> bool {
        let is_of_kind = match (self, &key.algorithm) {
            (
                Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512,
                AlgorithmParameters::RSA(_),
            ) => true,
            (Self::Es256, AlgorithmParameters::EllipticCurve(key)) => key.curve == EllipticCurve::P256,
            (Self::Es384, AlgorithmParameters::EllipticCurve(key)) => key.curve == EllipticCurve::P384,
            (Self::EdDsa, AlgorithmParameters::OctetKeyPair(key)) => key.curve == EllipticCurve::Ed25519,
            _ => false,
        };
        let named: Option<KeyAlgorithm> = key.common.key_algorithm;
        is_of_kind && named.is_none_or(|named| named.to_string() == self.name())
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name).ok_or(())
    }
}

impl From<Algorithm> for jsonwebtoken::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Rs256 => Self::RS256,
            Algorithm::Rs384 => Self::RS384,
            Algorithm::Rs512 => Self::RS512,
            Algorithm::Ps256 => Self::PS256,
            Algorithm::Ps384 => Self::PS384,
            Algorithm::Ps512 => Self::PS512,
            Algorithm::Es256 => Self::ES256,
            Algorithm::Es384 => Self::ES384,
            Algorithm::EdDsa => Self::EdDSA,
        }
    }
}

/// Why a text is no key set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// It is not a JSON object with a list `keys`.
    #[error("it is no JSON Web Key Set: {0}")]
    Form(String),
    /// It has no key that could verify a token.
    #[error("it has no RSA, P-256, P-384 or Ed25519 key for signatures")]
    Empty,
    /// It has more than [`MOST_KEYS`].
    #[error("it has {0} keys, more than {MOST_KEYS}")]
    TooMany(usize),
    /// Two keys have the same `kid`.
    #[error("two of its keys have the same `kid`")]
    Repeated,
}

/// The keys of an issuer that verify signatures.
pub struct KeySet {
    keys: Vec<(Jwk, DecodingKey)>,
    generation: u64,
}

/// Counts every key set that this process has read, so that no two are taken for one.
static GENERATIONS: AtomicU64 = AtomicU64::new(1);

/// Public keys, but a key set says nothing in a log.
impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet").field("keys", &self.keys.len()).field("generation", &self.generation).finish()
    }
}

impl KeySet {
    /// A set without a key: every token is refused until a better one is known.
    #[must_use]
    pub fn empty() -> Self {
        Self { keys: Vec::new(), generation: 0 }
    }

    /// Reads a JSON Web Key Set. Keys of other kinds and for other uses are passed over, as RFC 7517, section 5, asks.
    ///
    /// # Errors
    ///
    /// [`KeySetError`].
    pub fn read(text: &[u8]) -> Result<Self, KeySetError> {
        #[derive(Deserialize)]
        struct Written {
            keys: Vec<Value>,
        }
        let written: Written = serde_json::from_slice(text).map_err(|error| KeySetError::Form(error.to_string()))?;
        if written.keys.len() > MOST_KEYS {
            return Err(KeySetError::TooMany(written.keys.len()));
        }
        let mut keys: Vec<(Jwk, DecodingKey)> = Vec::new();
        for value in written.keys {
            let Ok(key) = serde_json::from_value::<Jwk>(value) else { continue };
            let Some(public) = verifying(&key) else { continue };
            let kid = key.common.key_id.as_deref();
            if kid.is_some() && keys.iter().any(|(other, _)| other.common.key_id.as_deref() == kid) {
                return Err(KeySetError::Repeated);
            }
            keys.push((key, public));
        }
        if keys.is_empty() {
            return Err(KeySetError::Empty);
        }
        Ok(Self { keys, generation: GENERATIONS.fetch_add(1, Ordering::Relaxed) })
    }

    /// The key that a token names. A token that names none is verified only where a single key signs with its algorithm.
    pub(super) fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<&DecodingKey> {
        let mut fitting = self.keys.iter().filter(|(key, _)| algorithm.fits(key));
        match kid {
            Some(kid) => fitting.find(|(key, _)| key.common.key_id.as_deref() == Some(kid)).map(|(_, public)| public),
            None => match (fitting.next(), fitting.next()) {
                (Some((_, public)), None) => Some(public),
                _ => None,
            },
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no token can be verified.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// The key as it verifies, `None` for one of another kind or use.
fn verifying(key: &Jwk) -> Option<DecodingKey> {
    let is_for_signatures = key.common.public_key_use.as_ref().is_none_or(|used| *used == PublicKeyUse::Signature);
    let is_usable = Algorithm::ALL.into_iter().any(|algorithm| algorithm.fits(key));
    if !is_for_signatures || !is_usable {
        return None;
    }
    DecodingKey::from_jwk(key).ok()
}
