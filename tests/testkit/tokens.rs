//! An issuer of tokens, as small as one can be.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// Signs tokens with ES256.
pub(crate) struct TokenSigner {
    kid: String,
    pair: EcdsaKeyPair,
}

impl TokenSigner {
    pub(crate) fn new(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key can be made");
        Self { kid: kid.to_owned(), pair }
    }

    /// The JSON Web Key Set that the issuer publishes.
    pub(crate) fn key_set(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let part = |range| URL_SAFE_NO_PAD.encode(&point[range]);
        let key =
            json!({ "kty": "EC", "crv": "P-256", "use": "sig", "kid": self.kid, "x": part(1..33), "y": part(33..65) });
        json!({ "keys": [key] })
    }

    pub(crate) fn token(&self, claims: &Value) -> String {
        let message = message(&json!({ "alg": "ES256", "typ": "JWT", "kid": self.kid }), claims);
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes()).expect("the key can sign");
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    /// The same with the algorithm `none`.
    pub(crate) fn unsigned(&self, claims: &Value) -> String {
        format!("{}.", message(&json!({ "alg": "none", "typ": "JWT", "kid": self.kid }), claims))
    }
}

fn message(header: &Value, claims: &Value) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()))
}
