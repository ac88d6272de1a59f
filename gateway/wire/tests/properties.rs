//! What must hold for any input, driven by seeded generators; the properties themselves live in `wire::fuzz`.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use wire::fuzz;

/// JSON, as text, with the freedom that JSON leaves: white space, escapes, odd numbers, keys that come twice.
fn json_text() -> impl Strategy<Value = String> {
    let string = prop_oneof![
        "[a-z]{0,3}".prop_map(|text| format!("\"{text}\"")),
        Just(r#""\u0061""#.to_owned()),
        Just(r#""\ud83d\ude00\n\/""#.to_owned()),
        Just("\"http://a\"".to_owned()),
        Just("\"data:,x\"".to_owned()),
        "[ -!#-\\[\\]-~\u{e9}\u{1F600}]{0,40}".prop_map(|text| format!("\"{text}\"")),
    ];
    let number = prop_oneof![
        Just("0"),
        Just("-0"),
        Just("1.5e3"),
        Just("1E-2"),
        Just("123456789012345678901234567890"),
        Just("1e400"),
        Just("-1e308"),
        Just("01"),
        Just("+1"),
        Just(".5"),
    ]
    .prop_map(str::to_owned);
    let word = prop_oneof![Just("null"), Just("true"), Just("false"), Just("nul")].prop_map(str::to_owned);
    let leaf = prop_oneof![8 => string, 2 => number, 2 => word];
    leaf.prop_recursive(5, 40, 6, |inner| {
        let space = prop_oneof![Just(""), Just(" "), Just("\n\t"), Just("\r")];
        let key = prop_oneof![
            Just("\"a\""),
            Just("\"b\""),
            Just("\"\\u0061\""),
            Just("\"type\""),
            Just("\"url\""),
            Just("\"tools\""),
            Just("\"content\""),
            Just("\"id\""),
            Just("\"\""),
            Just("\"Image_URL\""),
        ];
        let member =
            (key, space.clone(), inner.clone()).prop_map(|(key, space, value)| format!("{key}{space}:{space}{value}"));
        prop_oneof![
            (proptest::collection::vec(inner, 0..5), space.clone())
                .prop_map(|(items, space)| format!("[{space}{}{space}]", items.join(","))),
            (proptest::collection::vec(member, 0..5), space)
                .prop_map(|(members, space)| format!("{{{space}{}{space}}}", members.join(","))),
        ]
    })
}

/// A request body with the members that are spliced, in any order.
fn body() -> impl Strategy<Value = String> {
    let member = prop_oneof![
        Just("\"model\":\"m\"".to_owned()),
        Just("\"model\" : \"\\u006d\"".to_owned()),
        Just("\"model\":null".to_owned()),
        Just("\"stream\":true".to_owned()),
        Just("\"stream\":false".to_owned()),
        Just("\"stream_options\":{}".to_owned()),
        Just("\"stream_options\":null".to_owned()),
        Just("\"stream_options\": {\"include_usage\": false , \"x\":[1]}".to_owned()),
        Just("\"stream_options\":{\"y\":1,\"include_usage\":true}".to_owned()),
        Just("\"store\":null".to_owned()),
        Just("\"store\":true".to_owned()),
        json_text().prop_map(|value| format!("\"messages\":{value}")),
        json_text().prop_map(|value| format!("\"input\" :{value}")),
        json_text().prop_map(|value| format!("\"tools\":{value}")),
    ];
    proptest::collection::vec(member, 0..7).prop_map(|members| format!(" {{ {} }} ", members.join(" ,")))
}

/// Pieces of streams, whole and broken.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("data: "),
        Just("event: error\n"),
        Just("event: response.completed\n"),
        Just("event: message_delta\r\n"),
        Just("{\"choices\":[{\"index\":0,\"finish_reason\":\"stop\"}]}"),
        Just("{\"choices\":[],\"usage\":{\"prompt_tokens\":1}}"),
        Just("{\"error\":{\"code\":500}}"),
        Just("[DONE]"),
        Just("\n"),
        Just("\n\n"),
        Just("\r"),
        Just("\r\n\r\n"),
        Just(": ping\n\n"),
        Just("\u{FEFF}"),
        Just("error: {}"),
        Just("{\"type\":\"message_stop\"}"),
        Just("\u{e9}"),
        Just("{\"usage\":"),
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat().into_bytes())
}

/// Text with one place changed, which is how most bodies go wrong.
fn damaged(text: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<u8>> {
    (text, any::<prop::sample::Index>(), any::<u8>(), 0..4_u8).prop_map(|(text, place, byte, how)| {
        let mut bytes = text.into_bytes();
        if !bytes.is_empty() {
            let at = place.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, byte),
                _ => bytes.truncate(at),
            }
        }
        bytes
    })
}

/// The same cases on every run, unless `PROPTEST_CASES` or `PROPTEST_RNG_SEED` asks for others.
fn config() -> ProptestConfig {
    let mut config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 512;
    }
    if std::env::var_os("PROPTEST_RNG_SEED").is_none() {
        config.rng_seed = RngSeed::Fixed(0x0CA0_5E3A);
    }
    config.failure_persistence = None; // The seed is fixed, so a failure comes again by itself.
    config
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_scanner_judges_json_as_serde_json_does(text in json_text()) {
        fuzz::scanner(text.as_bytes());
    }

    #[test]
    fn the_scanner_judges_damaged_json_as_serde_json_does(bytes in damaged(json_text())) {
        fuzz::scanner(&bytes);
    }

    #[test]
    fn the_scanner_judges_any_bytes_as_serde_json_does(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        fuzz::scanner(&bytes);
    }

    #[test]
    fn a_spliced_body_is_the_same_json_with_only_the_stated_changes(text in body()) {
        fuzz::splice(text.as_bytes());
    }

    #[test]
    fn a_damaged_body_is_refused_or_spliced_right(bytes in damaged(body())) {
        fuzz::splice(&bytes);
    }

    #[test]
    fn a_stream_means_the_same_however_it_is_cut(bytes in stream()) {
        fuzz::framer(&bytes);
    }

    #[test]
    fn a_relay_ends_any_stream_once(bytes in stream()) {
        fuzz::relay(&bytes);
    }

    #[test]
    fn other_readers_take_any_bytes(bytes in prop_oneof![stream(), body().prop_map(String::into_bytes), "\\PC{0,20}".prop_map(String::into_bytes)]) {
        fuzz::other_readers(&bytes);
    }
}
