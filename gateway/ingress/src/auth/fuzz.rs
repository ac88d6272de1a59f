//! What must hold for any bytes at all, as plain functions: seeded property tests call them, and so can a fuzzer.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::credential::find;
use super::{
    Algorithm, AppIndex, AuthError, Callers, CertificateName, Certificates, Issuer, KeyEntry, KeyIndex, KeySet, Keys,
    LONGEST_CREDENTIAL, ShownCertificate, TokenRule, Tokens, digest_of, forwarded, sha256,
};

const ISSUER: &str = "https://login.corp.example/apps";
const AUDIENCE: &str = "gateway";
const NOW: u64 = 1_800_000_000;
const SKEW: u64 = 30;
const HEADER: &[u8] = br#"{"alg":"EdDSA","kid":"one","typ":"JWT"}"#;
const CLAIMS: &[u8] =
    br#"{"iss":"https://login.corp.example/apps","aud":"gateway","sub":"erika","roles":["ask"],"exp":1800000600}"#;

/// An issuer whose key only this module has.
struct Signer {
    pair: Ed25519KeyPair,
    keys: Vec<u8>,
}

static SIGNER: LazyLock<Signer> = LazyLock::new(|| {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).expect("32 bytes are a seed");
    let x = URL_SAFE_NO_PAD.encode(pair.public_key());
    let keys = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "one", "use": "sig", "x": x }] });
    Signer { pair, keys: keys.to_string().into_bytes() }
});

impl Signer {
    fn token(&self, header: &[u8], claims: &[u8]) -> Vec<u8> {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(signed.as_bytes()));
        format!("{signed}.{signature}").into_bytes()
    }
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn tokens() -> Tokens {
    let keys = KeySet::read(&SIGNER.keys).expect("the set was made above");
    let skew = Duration::from_secs(SKEW);
    let issuer = Issuer::new("corp".into(), ISSUER, [Algorithm::EdDsa].into(), skew, keys);
    let rule = TokenRule {
        issuer: ISSUER.into(),
        audience: AUDIENCE.into(),
        claims: [("roles".into(), "ask".into())].into(),
        marks: [].into(),
        user: Some("sub".into()),
        app: AppIndex(1),
        key: KeyIndex(1),
    };
    Tokens::new(vec![issuer.into()], vec![rule])
}

/// Any bytes are shown as a token, as the claims of one that is signed, as its header, and as a change to one that is good.
///
/// Nobody is let in by what nobody signed; by what is signed only where issuer, audience, role, user and times say so, and
/// only with the algorithm and the key of the issuer; and one changed byte keeps out whom it let in.
pub fn token(bytes: &[u8]) {
    let tokens = tokens();
    let identify = |token: &[u8]| tokens.identify((token, &sha256(token)), None, now());
    let honest = SIGNER.token(HEADER, CLAIMS);
    assert!(identify(&honest).is_ok(), "the good token is let in");
    if bytes != honest {
        assert!(identify(bytes).is_err(), "nobody signed {}", String::from_utf8_lossy(bytes));
    }
    if identify(&SIGNER.token(HEADER, bytes)).is_ok() {
        assert!(may_enter(bytes), "let in by {}", String::from_utf8_lossy(bytes));
    }
    if identify(&SIGNER.token(bytes, CLAIMS)).is_ok() {
        let header: Value = serde_json::from_slice(bytes).expect("a header that is believed is JSON");
        let kid = &header["kid"];
        assert!(header["alg"] == "EdDSA" && (kid.is_null() || kid == "one") && header["crit"].is_null(), "{header}");
    }
    if let Some(([low, high, with], _)) = bytes.split_first_chunk::<3>() {
        let mut changed = honest;
        let at = usize::from(u16::from_le_bytes([*low, *high])) % changed.len();
        changed[at] ^= (*with).max(1);
        assert!(identify(&changed).is_err(), "byte {at}: {}", String::from_utf8_lossy(&changed));
    }
    if let Ok(keys) = KeySet::read(bytes) {
        assert!(!keys.is_empty(), "a set without a key is an error");
    }
}

/// The rule of [`tokens`] over claims, in plain words.
fn may_enter(claims: &[u8]) -> bool {
    let Ok(claims) = serde_json::from_slice::<Value>(claims) else { return false };
    let holds = |claim: &Value, wanted: &str| {
        claim == wanted || claim.as_array().is_some_and(|items| items.iter().any(|item| item == wanted))
    };
    let is_named = claims["sub"].as_str().is_some_and(|user| !user.is_empty() && !user.chars().any(char::is_control));
    let before = |limit: u64, name: &str| claims[name].as_f64().is_some_and(|seconds| seconds < limit as f64);
    let is_over = before(NOW - SKEW, "exp") || claims["exp"].as_f64().is_none();
    let is_early = !claims["nbf"].is_null() && !before(NOW + SKEW + 1, "nbf");
    claims["iss"] == ISSUER
        && holds(&claims["aud"], AUDIENCE)
        && holds(&claims["roles"], "ask")
        && is_named
        && !is_over
        && !is_early
}

const KNOWN_KEY: &str = "cw_of_claims";
const FORWARDED: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

fn callers() -> Callers {
    let digest = digest_of(KNOWN_KEY);
    let entry = KeyEntry { digest, app: AppIndex(1), expires: None, models: None, limit: None };
    let name = CertificateName::parse("spiffe://corp.example/claims").expect("it is a name");
    let proxy = CertificateName::parse("dns:proxy.corp.example").expect("it is a name");
    let certificates = Certificates::new([(name, AppIndex(1), KeyIndex(2))]);
    Callers::new(Keys::new(vec![entry]).expect("one key is no repeated one"), Tokens::default(), certificates)
        .believing(vec![proxy])
}

/// Any bytes are the headers that say who asks: a line for each, whose first byte chooses which.
///
/// Who shows a key is let in by that key alone, in whatever headers and however often it stands there, and a header about a
/// certificate says nothing to whom no listed proxy sent it. From one, two certificates are nobody, and names that are
/// read are written as they are read again.
pub fn headers(bytes: &[u8]) {
    let names = ["authorization", "api-key", "x-api-key"].map(HeaderName::from_static);
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(64) {
        let Some((which, value)) = line.split_first() else { continue };
        let Ok(value) = HeaderValue::from_bytes(value) else { continue };
        headers.append(names.get(usize::from(which & 3)).unwrap_or(&FORWARDED).clone(), value);
    }
    let callers = callers();
    let asked = |headers: &HeaderMap, certificate: Option<&ShownCertificate>| {
        callers.authenticate(headers, certificate, now()).map(|found| (found.app, found.key))
    };
    let mut without = headers.clone();
    without.remove(&FORWARDED);
    let alone = asked(&headers, None);
    assert_eq!(alone, asked(&without, None), "a header about a certificate was believed");
    let stranger = ShownCertificate::of(CertificateName::parse("dns:other.corp.example"));
    assert_eq!(alone, asked(&headers, Some(&stranger)), "a header of somebody who is no proxy was believed");
    if alone.is_ok() {
        assert_eq!(find(&headers, LONGEST_CREDENTIAL), Ok(KNOWN_KEY.as_bytes()));
    }
    let proxy = ShownCertificate::of(CertificateName::parse("dns:proxy.corp.example"));
    let forwarded = forwarded::names(&headers);
    let by_proxy = asked(&headers, Some(&proxy));
    match &forwarded {
        Ok(names) => written_are_read_again(names),
        Err(error) => assert_eq!(by_proxy, Err(*error), "a certificate that is none says who asks"),
    }
    match headers.get_all(&FORWARDED).iter().count() {
        0 => assert_eq!(by_proxy, alone),
        1 => {}
        _ => assert_eq!(forwarded, Err(AuthError::Conflicting)),
    }
}

/// As Envoy writes them.
fn written_are_read_again(names: &[CertificateName]) {
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let pairs: Vec<String> = names
        .iter()
        .map(|name| match name {
            CertificateName::Uri(uri) => format!("URI=\"{}\"", escaped(uri)),
            CertificateName::Dns(host) => format!("DNS={host}"),
            // It bears its own escapes, which Envoy leaves as they are.
            CertificateName::Subject(subject) => format!("Subject=\"{subject}\""),
        })
        .collect();
    if pairs.is_empty() {
        return;
    }
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(&pairs.join(";")) {
        headers.append(FORWARDED, value);
        let read = forwarded::names(&headers);
        // Written with all its escapes it may pass the bound.
        assert!(
            read.as_deref() == Ok(names) || read == Err(AuthError::Malformed) && pairs.join(";").len() > 8_192,
            "{read:?}"
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn piece(texts: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            4 => proptest::sample::select(texts).prop_map(|text| text.as_bytes().to_vec()),
            1 => proptest::collection::vec(any::<u8>(), 0..12),
        ]
    }

    const OF_TOKENS: &[&str] = &[
        "{",
        "}",
        ",",
        ":",
        r#""iss":"https://login.corp.example/apps","#,
        r#""aud":"gateway","#,
        r#""aud":["gateway"],"#,
        r#""roles":"ask","#,
        r#""sub":"erika","#,
        r#""exp":1800000600"#,
        r#""exp":1799999970"#,
        r#""nbf":1800000030,"#,
        r#""alg":"EdDSA""#,
        r#""alg":"none","#,
        r#""kid":"one","#,
        r#""crit":[]"#,
        "eyJhbGciOiJub25lIn0",
        ".",
    ];

    const OF_HEADERS: &[&str] = &[
        "\n",
        "\0Bearer ",
        "\x01",
        "\x02",
        "\x03",
        KNOWN_KEY,
        "URI=",
        "DNS=",
        "Subject=",
        "\"",
        ";",
        ",",
        "\\",
        "CN=claims",
        "spiffe://corp.example/claims",
        "proxy.corp.example",
        "By=x;Hash=a;",
        "=",
        " ",
    ];

    proptest! {
        #[test]
        fn any_bytes_are_a_token(pieces in proptest::collection::vec(piece(OF_TOKENS), 0..12)) {
            token(&pieces.concat());
        }

        #[test]
        fn any_bytes_are_headers(pieces in proptest::collection::vec(piece(OF_HEADERS), 0..12)) {
            headers(&pieces.concat());
        }
    }

    #[test]
    fn what_is_good_is_let_in_by_the_same_rule_in_plain_words() {
        assert!(may_enter(CLAIMS));
        let mut headers = HeaderMap::new();
        headers.append(FORWARDED, HeaderValue::from_static("Hash=a;URI=spiffe://corp.example/claims"));
        let proxy = ShownCertificate::of(CertificateName::parse("dns:proxy.corp.example"));
        assert!(callers().authenticate(&headers, Some(&proxy), now()).is_ok());
    }
}
