use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::{
    AppIndex, AuthError, Callers, Certificates, DuplicateKey, Identified, KeyEntry, KeyIndex, Keys, LONGEST_CREDENTIAL,
    Marks, Tokens, digest_of, hex_of, new_key,
};

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fn entry(key: &str, app: u32) -> KeyEntry {
    KeyEntry { digest: digest_of(key), app: AppIndex(app), expires: None, models: None, limit: None }
}

fn headers(fields: &[(&str, &[u8])]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(value).unwrap());
    }
    headers
}

fn with_keys(keys: Vec<KeyEntry>) -> Callers {
    Callers::new(Keys::new(keys).unwrap(), Tokens::default(), Certificates::default())
}

fn ask(fields: &[(&str, &[u8])]) -> Result<Identified, AuthError> {
    let longest = "l".repeat(LONGEST_CREDENTIAL);
    let keys = vec![entry("cw_one", 7), entry("cw_two", 8), entry(&longest, 9)];
    with_keys(keys).authenticate(&headers(fields), None, NOW)
}

const ONE: Identified = Identified { app: AppIndex(7), key: KeyIndex(0), marks: Marks::NONE, user: None };

#[test]
fn a_key_is_found_in_each_header_that_clients_send_it_in() {
    for fields in [
        &[("authorization", b"Bearer cw_one".as_slice())][..],
        &[("authorization", b"bearer cw_one")],
        &[("authorization", b"BEARER cw_one")],
        &[("authorization", b"Bearer   cw_one")],
        &[("authorization", b"Bearer\tcw_one")],
        &[("authorization", b"  Bearer cw_one  ")],
        &[("api-key", b"cw_one")],
        &[("API-Key", b" cw_one ")],
        &[("x-api-key", b"cw_one")],
    ] {
        assert_eq!(ask(fields), Ok(ONE), "{fields:?}");
    }
}

#[test]
fn a_key_sent_several_times_is_one_key() {
    let all: &[(&str, &[u8])] = &[
        ("authorization", b"Bearer cw_one"),
        ("authorization", b"bearer  cw_one"),
        ("api-key", b"cw_one"),
        ("x-api-key", b"cw_one"),
        ("x-api-key", b"cw_one"),
    ];

    assert_eq!(ask(all), Ok(ONE));
}

#[test]
fn two_different_credentials_are_refused_whether_known_or_not() {
    for fields in [
        &[("authorization", b"Bearer cw_one".as_slice()), ("api-key", b"cw_two")][..],
        &[("authorization", b"Bearer cw_one"), ("x-api-key", b"cw_unknown")],
        &[("authorization", b"Bearer cw_unknown"), ("x-api-key", b"cw_one")],
        &[("api-key", b"cw_one"), ("api-key", b"cw_two")],
        &[("api-key", b"cw_one"), ("x-api-key", b"cw_two"), ("api-key", b"cw_one")],
        &[("authorization", b"Bearer cw_one"), ("authorization", b"Bearer cw_ONE")],
    ] {
        assert_eq!(ask(fields), Err(AuthError::Conflicting), "{fields:?}");
    }
}

#[test]
fn what_carries_no_key_is_malformed() {
    for value in [b"".as_slice(), b"Bearer", b"Bearer ", b"Bearercw_one", b"Basic Y3dfb25l", b"cw_one", b"Bear"] {
        assert_eq!(ask(&[("authorization", value)]), Err(AuthError::Malformed), "{value:?}");
    }
    for value in [b"".as_slice(), b"  "] {
        assert_eq!(ask(&[("api-key", value)]), Err(AuthError::Malformed), "{value:?}");
    }
}

#[test]
fn a_key_may_look_like_anything() {
    // The first is what openai-python's own tests use.
    for key in ["My API Key", "cw_one,", "c2VjcmV0+/==", "a\tb", "schlüssel"] {
        let keys = with_keys(vec![entry(key, 3)]);
        let bearer = format!("Bearer {key}");
        let ask = |name, value: &str| keys.authenticate(&headers(&[(name, value.as_bytes())]), None, NOW);

        assert_eq!(ask("authorization", &bearer).unwrap().app, AppIndex(3), "{key}");
        assert_eq!(ask("api-key", key).unwrap().app, AppIndex(3), "{key}");
        assert_eq!(ask("api-key", "cw_one"), Err(AuthError::Unknown), "{key}");
    }
    assert_eq!(ask(&[("authorization", b"Bearer cw_one cw_one")]), Err(AuthError::Unknown));
    assert_eq!(ask(&[("authorization", b"Bearer cw_one\xff")]), Err(AuthError::Unknown));
}

#[test]
fn a_malformed_credential_is_not_saved_by_a_good_one() {
    let mixed: &[(&str, &[u8])] = &[("authorization", b"Basic Zm9v"), ("api-key", b"cw_one")];

    assert_eq!(ask(mixed), Err(AuthError::Malformed));
}

#[test]
fn a_request_without_a_credential_is_told_apart_from_an_unknown_one() {
    assert_eq!(ask(&[]), Err(AuthError::Missing));
    assert_eq!(ask(&[("cookie", b"cw_one")]), Err(AuthError::Missing));
    assert_eq!(ask(&[("api-key", b"cw_three")]), Err(AuthError::Unknown));
    assert_eq!(ask(&[("api-key", b"CW_ONE")]), Err(AuthError::Unknown));
    assert_eq!(ask(&[("api-key", b"cw_on")]), Err(AuthError::Unknown));
    assert_eq!(ask(&[("api-key", b"cw_onee")]), Err(AuthError::Unknown));
}

#[test]
fn a_digest_is_not_a_key() {
    let digest = hex_of(&digest_of("cw_one"));

    assert_eq!(ask(&[("api-key", digest.as_bytes())]), Err(AuthError::Unknown));
}

#[test]
fn a_credential_may_be_as_long_as_the_bound_and_not_longer() {
    let at = "l".repeat(LONGEST_CREDENTIAL);
    let over = "l".repeat(LONGEST_CREDENTIAL + 1);
    let bearer = |key: &str| format!("Bearer {key}").into_bytes();

    assert_eq!(ask(&[("api-key", at.as_bytes())]).unwrap().app, AppIndex(9));
    assert_eq!(ask(&[("authorization", &bearer(&at))]).unwrap().app, AppIndex(9));
    assert_eq!(ask(&[("api-key", over.as_bytes())]), Err(AuthError::Malformed));
    assert_eq!(ask(&[("authorization", &bearer(&over))]), Err(AuthError::Malformed));
}

#[test]
fn a_key_is_good_until_the_moment_it_expires() {
    let end = NOW + Duration::from_secs(1000);
    let key = KeyEntry { expires: Some(end), ..entry("cw_one", 7) };
    let keys = with_keys(vec![key]);
    let headers = headers(&[("api-key", b"cw_one")]);

    let before = keys.authenticate(&headers, None, end - Duration::from_nanos(1));
    let after = keys.authenticate(&headers, None, end);

    assert_eq!(before, Ok(ONE));
    assert_eq!(after, Err(AuthError::Expired));
}

#[test]
fn a_digest_that_comes_twice_is_refused_with_both_places() {
    let twice = vec![entry("cw_one", 0), entry("cw_two", 1), entry("cw_one", 2)];

    let error = Keys::new(twice).unwrap_err();

    let (first, second) = (KeyIndex(0), KeyIndex(2));
    assert_eq!(error, DuplicateKey { first, second });
}

#[test]
fn without_keys_nobody_is_known() {
    let keys = with_keys(Vec::new());

    let answer = keys.authenticate(&headers(&[("api-key", b"cw_one")]), None, NOW);

    assert_eq!(answer, Err(AuthError::Unknown));
}

#[test]
fn a_digest_is_written_as_sha256sum_writes_it() {
    // printf abc | sha256sum
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    assert_eq!(hex_of(&digest_of("abc")), expected);
}

#[test]
fn a_new_key_holds_all_of_its_randomness_in_base64url() {
    let ascending: [u8; 32] = std::array::from_fn(|index| u8::try_from(index).unwrap());

    let (key, digest) = new_key(&ascending);

    // python3 -c 'import base64;print(base64.urlsafe_b64encode(bytes(range(32))))'
    assert_eq!(key, "cw_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8");
    assert_eq!(digest, hex_of(&digest_of(&key)));
    assert_eq!(new_key(&[0xff; 32]).0, format!("cw_{}8", "_".repeat(42)));
}

proptest! {
    #[test]
    fn a_new_key_is_accepted_as_it_is(random: [u8; 32]) {
        let (key, _) = new_key(&random);
        let keys = with_keys(vec![entry(&key, 7)]);
        let bearer = format!("Bearer {key}");

        let answer = keys.authenticate(&headers(&[("authorization", bearer.as_bytes())]), None, NOW);

        prop_assert_eq!(key.len(), 46);
        prop_assert_eq!(answer, Ok(ONE));
    }

    #[test]
    fn no_header_bytes_make_authentication_fail_or_succeed(
        value in proptest::collection::vec(any::<u8>(), 0..64),
        name in prop_oneof![Just("authorization"), Just("api-key"), Just("x-api-key")],
    ) {
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            prop_assert!(ask(&[(name, value.as_bytes())]).is_err());
        }
    }
}
