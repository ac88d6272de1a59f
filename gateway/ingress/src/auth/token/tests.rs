//! The attack table, and what must go on working beside it.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256};
use aws_lc_rs::{digest, hmac};
use serde_json::json;

use super::super::{AppIndex, KeyIndex};
use super::*;

const ISSUER: &str = "https://login.corp.example/realms/apps";
const NOW: u64 = 1_800_000_000;
const CLAIMS: Identified = Identified { app: AppIndex(3), key: KeyIndex(30), marks: Marks::NONE, user: None };

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A key pair with which the tests sign whatever they like.
enum Signer {
    P256(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

static EC: LazyLock<Signer> =
    LazyLock::new(|| Signer::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()));
static OTHER_EC: LazyLock<Signer> =
    LazyLock::new(|| Signer::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()));
static RSA: LazyLock<Signer> = LazyLock::new(|| Signer::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()));

impl Signer {
    fn jwk(&self, kid: &str) -> Value {
        match self {
            Self::P256(pair) => {
                let point = pair.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "kid": kid, "use": "sig",
                        "x": base64(&point[1..33]), "y": base64(&point[33..]) })
            }
            Self::Rsa(pair) => {
                let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                json!({ "kty": "RSA", "kid": kid, "alg": "RS256", "n": base64(n), "e": base64(e) })
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::P256(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }
        }
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
        let signature = self.sign(message.as_bytes());
        format!("{message}.{}", base64(signature))
    }
}

fn header() -> Value {
    json!({ "alg": "ES256", "typ": "JWT", "kid": "ec-1" })
}

fn claims() -> Value {
    json!({ "iss": ISSUER, "aud": "causeway", "sub": "u-1", "exp": NOW + 600, "nbf": NOW - 10, "azp": "claims-ui" })
}

/// `base` with the fields of `change` put over it; `null` takes a field away.
fn with(mut base: Value, change: &Value) -> Value {
    for (name, value) in change.as_object().unwrap() {
        if value.is_null() {
            base.as_object_mut().unwrap().remove(name);
        } else {
            base[name] = value.clone();
        }
    }
    base
}

fn key_set(keys: &[Value]) -> KeySet {
    KeySet::read(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn tokens() -> Tokens {
    tokens_from(&[])
}

/// Of an issuer whose tokens come from these alone.
fn tokens_from(sources: &[&str]) -> Tokens {
    let sources = sources.iter().map(|name| CertificateName::parse(name).unwrap());
    let keys = key_set(&[EC.jwk("ec-1"), RSA.jwk("rsa-1")]);
    let algorithms = Box::new([Algorithm::Es256, Algorithm::Rs256]);
    let issuer = Issuer::new("corp".into(), ISSUER, algorithms, Duration::from_secs(60), keys);
    let rule = TokenRule {
        issuer: ISSUER.into(),
        audience: "causeway".into(),
        claims: Box::new([("azp".into(), "claims-ui".into())]),
        marks: Box::default(),
        user: None,
        app: CLAIMS.app,
        key: CLAIMS.key,
    };
    Tokens::new(vec![Arc::new(issuer.only_from(sources.collect()))], vec![rule])
}

fn ask_at(tokens: &Tokens, token: &str, at: u64) -> Result<Identified, AuthError> {
    let digest: [u8; 32] = digest::digest(&digest::SHA256, token.as_bytes()).as_ref().try_into().unwrap();
    tokens.identify((token.as_bytes(), &digest), None, UNIX_EPOCH + Duration::from_secs(at))
}

fn ask(token: &str) -> Result<Identified, AuthError> {
    ask_at(&tokens(), token, NOW)
}

#[test]
fn a_signed_token_of_a_named_issuer_says_which_app_asks() {
    assert_eq!(ask(&EC.token(&header(), &claims())), Ok(CLAIMS));
    assert_eq!(ask(&RSA.token(&json!({ "alg": "RS256", "kid": "rsa-1" }), &claims())), Ok(CLAIMS));
    assert_eq!(ask(&EC.token(&with(header(), &json!({ "typ": "at+jwt" })), &claims())), Ok(CLAIMS));
}

#[test]
fn no_signature_is_no_token_however_the_algorithm_is_written() {
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let header = with(header(), &json!({ "alg": alg }));
        let message = format!("{}.{}", base64(header.to_string()), base64(claims().to_string()));

        assert_eq!(ask(&format!("{message}.")), Err(AuthError::Algorithm), "{alg}");
    }
}

#[test]
fn a_public_key_is_never_taken_for_a_shared_secret() {
    let jwk = RSA.jwk("rsa-1");
    let modulus = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    for secret in [modulus.as_slice(), jwk["n"].as_str().unwrap().as_bytes(), jwk.to_string().as_bytes()] {
        let header = json!({ "alg": "HS256", "kid": "rsa-1" });
        let message = format!("{}.{}", base64(header.to_string()), base64(claims().to_string()));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());

        assert_eq!(ask(&format!("{message}.{}", base64(tag.as_ref()))), Err(AuthError::Algorithm));
    }
}

#[test]
fn an_algorithm_that_the_issuer_does_not_use_is_refused_though_its_key_would_fit() {
    let token = RSA.token(&json!({ "alg": "PS256", "kid": "rsa-1" }), &claims());

    assert_eq!(ask(&token), Err(AuthError::Algorithm));
}

#[test]
fn a_key_signs_with_its_own_kind_of_algorithm_only() {
    assert_eq!(ask(&EC.token(&json!({ "alg": "RS256", "kid": "ec-1" }), &claims())), Err(AuthError::UnknownSigner));
    assert_eq!(ask(&RSA.token(&json!({ "alg": "ES256", "kid": "rsa-1" }), &claims())), Err(AuthError::UnknownSigner));
}

#[test]
fn a_key_id_is_a_name_and_never_a_place() {
    for kid in ["../../../../dev/null", "https://evil.example/keys", "' or 1=1 --", "ec-1\u{0}", "EC-1", ""] {
        let token = EC.token(&with(header(), &json!({ "kid": kid })), &claims());

        assert_eq!(ask(&token), Err(AuthError::UnknownSigner), "{kid}");
    }
}

#[test]
fn keys_that_a_token_brings_along_are_not_looked_at() {
    let foreign = OTHER_EC.jwk("ec-1");
    let header =
        with(header(), &json!({ "jwk": foreign, "jku": "https://evil.example/keys", "x5u": "https://evil.example/c" }));

    assert_eq!(ask(&OTHER_EC.token(&header, &claims())), Err(AuthError::BadSignature));
}

#[test]
fn a_token_without_a_key_id_is_verified_only_where_one_key_could_have_signed_it() {
    let token = EC.token(&with(header(), &json!({ "kid": null })), &claims());
    let of_two = tokens();
    of_two.issuers()[0].renew(key_set(&[EC.jwk("ec-1"), OTHER_EC.jwk("ec-2")]));

    assert_eq!(ask(&token), Ok(CLAIMS));
    assert_eq!(ask_at(&of_two, &token, NOW), Err(AuthError::UnknownSigner));
}

#[test]
fn a_token_of_another_key_another_text_or_a_cut_signature_is_refused() {
    let good = EC.token(&header(), &claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (head, _) = message.split_once('.').unwrap();
    let raised = base64(with(claims(), &json!({ "azp": "claims-ui", "exp": NOW + 60_000 })).to_string());

    assert_eq!(ask(&OTHER_EC.token(&header(), &claims())), Err(AuthError::BadSignature));
    assert_eq!(ask(&format!("{head}.{raised}.{signature}")), Err(AuthError::BadSignature));
    assert_eq!(ask(&format!("{message}.{}", base64([0_u8; 64]))), Err(AuthError::BadSignature));
    assert_eq!(ask(&format!("{message}.")), Err(AuthError::BadSignature));
    let cut: String = good.chars().take(good.len() - 4).collect();
    assert_eq!(ask(&cut), Err(AuthError::BadSignature));
}

#[test]
fn a_token_ends_at_its_second_and_begins_at_its_second_with_the_skew_and_no_more() {
    let tokens = tokens();
    let token = EC.token(&header(), &with(claims(), &json!({ "exp": NOW + 600, "nbf": NOW })));

    assert_eq!(ask_at(&tokens, &token, NOW - 61), Err(AuthError::NotYetValid));
    assert_eq!(ask_at(&tokens, &token, NOW - 60), Ok(CLAIMS));
    assert_eq!(ask_at(&tokens, &token, NOW + 659), Ok(CLAIMS));
    assert_eq!(ask_at(&tokens, &token, NOW + 660), Err(AuthError::Expired));
}

#[test]
fn a_token_without_an_end_or_with_one_that_is_no_time_is_refused() {
    for exp in [json!(null), json!("never"), json!(-1), json!([NOW + 600]), json!(1e300), json!({ "at": 1 })] {
        let token = EC.token(&header(), &with(claims(), &json!({ "exp": exp })));

        // A list of times is refused where the claims are read, and so is the signature with it.
        let refused = ask(&token).unwrap_err();
        assert!(matches!(refused, AuthError::Malformed | AuthError::BadSignature), "{exp}: {refused:?}");
    }
}

#[test]
fn a_header_that_asks_for_more_than_a_signature_is_refused() {
    for change in [json!({ "crit": ["exp"] }), json!({ "typ": "logout+jwt" }), json!({ "typ": "dpop+jwt" })] {
        let token = EC.token(&with(header(), &change), &claims());

        assert_eq!(ask(&token), Err(AuthError::Malformed), "{change}");
    }
}

#[test]
fn an_issuer_is_compared_byte_by_byte() {
    for iss in
        ["https://login.corp.example/realms/apps/", "https://LOGIN.corp.example/realms/apps", "https://evil.example"]
    {
        let token = EC.token(&header(), &with(claims(), &json!({ "iss": iss })));

        assert_eq!(ask(&token), Err(AuthError::UnknownIssuer), "{iss}");
    }
}

#[test]
fn another_audience_or_other_claims_are_no_app() {
    for change in
        [json!({ "aud": "other" }), json!({ "aud": null }), json!({ "azp": "search-ui" }), json!({ "azp": null })]
    {
        let token = EC.token(&header(), &with(claims(), &change));

        assert_eq!(ask(&token), Err(AuthError::NoApp), "{change}");
    }
}

#[test]
fn what_has_not_the_form_of_a_token_is_an_unknown_key() {
    let good = EC.token(&header(), &claims());
    for text in [
        "cw_unknown",
        "a.b",
        "a.b.c",
        "..",
        "a.b.c.d",
        &format!("{good} "),
        &format!("{good}="),
        &good.replace('.', ".\u{e9}"),
    ] {
        let answer = ask(text);

        assert_eq!(answer, Err(AuthError::Unknown), "{text}");
    }
}

#[test]
fn a_key_that_was_withdrawn_is_refused_though_its_token_was_verified_before() {
    let tokens = tokens();
    let token = EC.token(&header(), &claims());
    assert_eq!(ask_at(&tokens, &token, NOW), Ok(CLAIMS));

    tokens.issuers()[0].renew(key_set(&[OTHER_EC.jwk("ec-2")]));

    assert_eq!(ask_at(&tokens, &token, NOW), Err(AuthError::UnknownSigner));
}

#[test]
fn tokens_that_differ_in_their_last_byte_are_two_tokens() {
    let tokens = tokens();
    let good = EC.token(&header(), &claims());
    assert_eq!(ask_at(&tokens, &good, NOW), Ok(CLAIMS));
    let mut bad = good.into_bytes();
    let middle = bad.len() - 40;
    bad[middle] = if bad[middle] == b'A' { b'B' } else { b'A' };

    assert_eq!(ask_at(&tokens, std::str::from_utf8(&bad).unwrap(), NOW), Err(AuthError::BadSignature));
}

#[tokio::test]
async fn an_unknown_key_is_a_reason_to_fetch_the_set_again() {
    let tokens = tokens();
    let rotated = OTHER_EC.token(&with(header(), &json!({ "kid": "ec-2" })), &claims());

    assert_eq!(ask_at(&tokens, &rotated, NOW), Err(AuthError::UnknownSigner));
    tokens.issuers()[0].key_was_unknown().await;
    tokens.issuers()[0].renew(key_set(&[EC.jwk("ec-1"), OTHER_EC.jwk("ec-2")]));

    assert_eq!(ask_at(&tokens, &rotated, NOW), Ok(CLAIMS));
}

#[test]
fn a_key_set_keeps_what_verifies_and_passes_over_the_rest() {
    let secret = json!({ "kty": "oct", "kid": "s", "k": base64("secret") });
    let for_encryption = with(OTHER_EC.jwk("enc"), &json!({ "use": "enc" }));
    let unknown = json!({ "kty": "AKP", "kid": "pq", "pub": "AA" });

    let set = key_set(&[EC.jwk("ec-1"), secret.clone(), for_encryption, unknown]);

    assert_eq!(set.len(), 1);
    assert_eq!(KeySet::read(json!({ "keys": [secret] }).to_string().as_bytes()).unwrap_err(), KeySetError::Empty);
}

#[test]
fn a_key_set_has_a_bound_and_no_name_twice() {
    let many: Vec<Value> = (0..=MOST_KEYS).map(|number| EC.jwk(&number.to_string())).collect();
    let read = |keys: &[Value]| KeySet::read(json!({ "keys": keys }).to_string().as_bytes()).map(|set| set.len());

    assert_eq!(read(&many[..MOST_KEYS]), Ok(MOST_KEYS));
    assert_eq!(read(&many), Err(KeySetError::TooMany(MOST_KEYS + 1)));
    assert_eq!(read(&[EC.jwk("a"), OTHER_EC.jwk("a")]), Err(KeySetError::Repeated));
    assert!(matches!(KeySet::read(b"[]"), Err(KeySetError::Form(_))));
    assert!(matches!(KeySet::read(b"<html>"), Err(KeySetError::Form(_))));
}

#[test]
fn a_token_of_an_issuer_with_sources_counts_on_their_connections_and_on_no_other_also_when_it_is_remembered() {
    let tokens = tokens_from(&["spiffe://corp.example/f5", "dns:apim.corp.example"]);
    let token = EC.token(&header(), &claims());
    let digest: [u8; 32] = digest::digest(&digest::SHA256, token.as_bytes()).as_ref().try_into().unwrap();
    let by = |names: Option<&[&str]>| {
        let shown = names.map(ShownCertificate::naming);
        tokens.identify((token.as_bytes(), &digest), shown.as_ref(), UNIX_EPOCH + Duration::from_secs(NOW))
    };
    let elsewhere = || {
        let others: [Option<&[&str]>; 6] = [
            None,
            Some(&[]),
            Some(&["spiffe://corp.example/f"]),
            Some(&["spiffe://corp.example/f5/"]),
            Some(&["dns:f5.corp.example"]),
            Some(&["dns:corp.example"]),
        ];
        others.map(by)
    };

    assert_eq!(elsewhere(), [const { Err(AuthError::Elsewhere) }; 6]);
    assert_eq!(by(Some(&["dns:APIM.corp.example"])), Ok(CLAIMS));
    assert_eq!(by(Some(&["dns:other.example", "spiffe://corp.example/f5"])), Ok(CLAIMS));
    assert_eq!(tokens.verified.len(), 1);
    assert_eq!(elsewhere(), [const { Err(AuthError::Elsewhere) }; 6]);
}

#[test]
fn whoever_is_none_of_its_sources_learns_nothing_of_a_token_and_has_no_keys_fetched() {
    let tokens = tokens_from(&["spiffe://corp.example/f5"]);
    let unknown = with(header(), &json!({ "kid": "ec-9" }));

    for token in [EC.token(&unknown, &claims()), EC.token(&header(), &json!({ "iss": ISSUER })), "a.b.c".to_owned()] {
        let expected = if token == "a.b.c" { AuthError::Unknown } else { AuthError::Elsewhere };
        assert_eq!(ask_at(&tokens, &token, NOW), Err(expected));
    }
    let mut asked = Box::pin(tokens.issuers()[0].key_was_unknown());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(asked.as_mut().poll(&mut context).is_pending());
}
