//! What is found in text that was packed as base64, and what redaction makes of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::reading::media::tests::AS_IT_STANDS;
use crate::reading::packing::pack;
use crate::recognisers::LIST;
use crate::{OwnRecogniser, redact};

const IBAN: &str = "DE89370400440532013000";

fn found(body: &str) -> Vec<String> {
    let findings = inspect(body.as_bytes());
    findings.iter().map(|finding| format!("{} {}", finding.kind, finding.path)).collect()
}

/// A body with this string of JSON as it is written.
fn message(raw: &str) -> String {
    format!(r#"{{"messages":[{{"role":"user","content":"{raw}"}}]}}"#)
}

/// How often each kind is found where strings are read as they stand alone.
fn counts_as_it_stands(body: &str) -> BTreeMap<String, u64> {
    AS_IT_STANDS.set(true);
    let counts = counts(body);
    AS_IT_STANDS.set(false);
    counts
}

fn counts(body: &str) -> BTreeMap<String, u64> {
    inspect(body.as_bytes()).counts().map(|(kind, count)| (kind.to_string(), count)).collect()
}

// ---- where it stands

#[test]
fn a_short_string_of_base64_is_read_wherever_it_stands() {
    let packed = pack(IBAN.as_bytes());
    assert_eq!(packed.len(), 32);
    let body = format!(
        r#"{{"input":"{packed}","{packed}":["{packed}"],"messages":[{{"content":[{{"text":"{packed}"}},{{"text":"x"}}]}}]}}"#
    );

    let expected = ["iban $.input", "iban $", "iban $[\"?\"][0]", "iban $.messages[0].content[0].text"];
    assert_eq!(found(&body), expected);
    assert_eq!(found(&message(&format!("see {packed}"))), [""; 0], "among other text it is not looked for");
}

#[test]
fn a_packed_text_is_read_as_any_other() {
    let table = [
        ("٤١١١ ١١١١ ١١١١ ١١١١", "card"),
        ("DE89\u{a0}3704\u{202f}0044\u{a0}0532 0130 00", "iban"),
        (r"anna\u0040example.org", "email"),
        (r#"{"mail": "anna@example.org"}"#, "email"),
        (r"C:\rssmra85t10a562s", "it_codice_fiscale"),
        ("line\nDE89370400440532013000\r\n\tline", "iban"),
        ("\u{feff}DE89370400440532013000", "iban"),
        ("größe \u{1f600} DE89370400440532013000", "iban"),
        ("the bsn is 111222333", "nl_bsn"),
        ("DE89\u{0}3704\u{1b}0044\u{7f}0532\u{80}013000", "iban"),
    ];
    for (text, kind) in table {
        assert_eq!(found(&message(&pack(text.as_bytes()))), [format!("{kind} $.messages[0].content")], "{text}");
    }
}

#[test]
fn control_characters_hide_nothing() {
    let wide: Vec<u8> = IBAN.bytes().flat_map(|byte| [byte, 0]).collect();
    for raw in [r"DE89\u00073704\u00000044\u001b0532013000", "DE89\u{86}3704 0044 0532 0130 00", &pack(&wide)] {
        // What a part of it would be behind a line break counts as well.
        assert!(counts(&message(raw)).contains_key("iban"), "{raw}");
    }
    assert_eq!(
        redacted(&json!({"input": pack(b"pay DE89\x073704\x000044\x7f0532013000 now")}).to_string())["input"],
        pack(b"pay [IBAN_1] now")
    );
    assert_eq!(
        found(&message(&pack(&[wide, b" \0".repeat(80)].concat()))),
        ["uninspected_media $.messages[0].content", "iban $.messages[0].content"],
        "what may be no text is both"
    );
}

#[test]
fn a_control_character_ends_a_value_as_well_as_standing_within_one() {
    let counted = |raw: &str| -> Vec<(String, u64)> { counts(&message(raw)).into_iter().collect() };
    let is = |kinds: &[(&str, u64)]| -> Vec<(String, u64)> {
        kinds.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect()
    };
    let own = OwnRecogniser {
        kind: TextKind::own("matter", None).expect("it is a name"),
        pattern: r"\b[0-9]{4}x\b".into(),
        words: Vec::new(),
        checksum: None,
        is_tried: false,
    };
    let own = OwnRecognisers::new(vec![own]).expect("it fits");

    for control in [r"\u0000", r"\u0001", r"\u001f", r"\u007F", "\u{80}", r"\u009f", r"\\u0000", r"\u005cu001F"] {
        assert_eq!(counted(&format!("x{control}4111111111111111")), is(&[("card", 1)]), "{control}");
        assert_eq!(counted(&format!("4111111111111111{control}5555555555554444")), is(&[("card", 2)]), "{control}");
        let named = format!(r#"{{"bsn":"111222333{control}{IBAN}"}}"#);
        assert_eq!(counts(&named).into_iter().collect::<Vec<_>>(), is(&[("iban", 1), ("nl_bsn", 1)]), "{control}");
        let mixed = format!("4111111111111111{control}anna@example.org{control}bob@example.org");
        assert!(counts(&message(&mixed)).contains_key("card"), "{control}");
        let after = redacted(&message(&mixed)).to_string();
        assert!(!after.contains("4111") && !after.contains("example"), "{after}");
        assert_eq!(inspect_with(message(&format!("a{control}1234x{control}b")).as_bytes(), &own).len(), 1, "{control}");
        assert_eq!(inspect_with(message(&format!("12{control}34x")).as_bytes(), &own).len(), 1, "{control}");
    }
    let in_tags =
        |text: &str| -> String { text.bytes().filter_map(|byte| char::from_u32(0xE0000 + u32::from(byte))).collect() };
    for tagged in [
        in_tags(IBAN),
        format!("hello{}", in_tags(&format!(" {IBAN}"))),
        pack(in_tags(IBAN).as_bytes()),
        format!("DE89{}370400440532013000", in_tags("x")),
    ] {
        assert_eq!(counted(&tagged), is(&[("iban", 1)]), "{tagged}");
    }
    let flag = format!("\u{1f3f4}{}\u{e007f}4111111111111111", in_tags("gbeng"));
    assert_eq!(counted(&flag), is(&[("card", 1)]), "{flag}");
    assert_eq!(found(&format!(r#"{{"b\u0000sn":"{}"}}"#, pack(b"is 111222333"))).len(), 1, "in a name");
}

#[test]
fn the_name_of_a_member_says_what_its_packed_value_is_however_it_is_written() {
    let packed = pack(b"is 111222333");
    for name in [
        "bsn",
        "userBsn",
        r"\u0062s\u006e",
        r"the\nbsn",
        r"the\\nbsn",
        "bs\u{ad}n",
        &format!("{}_bsn", "n".repeat(300)),
    ] {
        let body = format!(r#"{{"x":{{"{name}":["{packed}","{packed}"]}}}}"#);
        assert_eq!(counts(&body).get("nl_bsn"), Some(&2), "{name}");
    }
    let far = format!(r#"{{"x":{{"bsn_{}":"{packed}"}}}}"#, "n".repeat(64));
    assert_eq!(found(&far), [""; 0]);
    assert_eq!(found(&format!(r#"{{"x":{{"bsn":"y","other":"{packed}"}}}}"#)), [""; 0], "another member's does not");
    assert_eq!(found(&format!(r#"{{"bsn":"y","{packed}":1}}"#)), [""; 0], "nor for a name");
}

#[test]
fn a_name_that_packs_a_text_is_not_shown() {
    let body = format!(r#"{{"{}":{{"card":"4111111111111111"}}}}"#, pack(b"ab@example.co"));

    assert_eq!(found(&body), ["email $", "card $[\"?\"].card"]);
}

#[test]
fn recognisers_of_ones_own_read_packed_texts_too() {
    let own = OwnRecogniser {
        kind: TextKind::own("matter", None).expect("it is a name"),
        pattern: r"\bM-[0-9]{4}-[0-9]{2}\b".into(),
        words: Vec::new(),
        checksum: None,
        is_tried: false,
    };
    let own = OwnRecognisers::new(vec![own]).expect("it fits");
    let packed = pack(pack(b"on M-2044-17").as_bytes());

    assert_eq!(inspect_with(message(&packed).as_bytes(), &own).len(), 1);
    let kind = own.all().next().expect("there is one");
    assert_eq!(own.values_in(&packed, kind), ["M-2044-17"]);
}

// ---- how often it is packed

#[test]
fn a_text_that_was_packed_three_times_is_read_and_one_packed_once_more_is_media() {
    let mut packed = IBAN.to_owned();
    for layers in 1..=5 {
        packed = pack(packed.as_bytes());
        let kind = if layers <= 3 { "iban" } else { "uninspected_media" };
        assert_eq!(found(&message(&packed)), [format!("{kind} $.messages[0].content")], "{layers} layers");
        let url = format!("data:text/plain;base64,{packed}");
        let kind = if layers <= 2 { "iban" } else { "uninspected_media" };
        assert_eq!(
            found(&message(&pack(url.as_bytes()))),
            [format!("{kind} $.messages[0].content")],
            "{layers} layers"
        );
    }
}

#[test]
fn media_within_a_packed_text_is_media() {
    let image = pack(b"data:image/png;base64,AAAA");

    assert_eq!(found(&message(&image)), ["uninspected_media $.messages[0].content"]);
    assert_eq!(found(&message(&pack(image.as_bytes()))), ["uninspected_media $.messages[0].content"]);
}

#[test]
fn a_sign_of_padding_where_it_cannot_be_padding_hides_nothing() {
    for (raw, kind) in [
        ("Y2=FyZCA1NTU1NTU1NTU1NTU0NDQ0", "card"),
        ("Y2=FyZCA1NTU1NTU1NTU1NTU0NDQ0IA==eHh4eHh4", "card"),
        ("SUJBTiBERTg5Mz=cwNDAwNDQwNTMyMDEzMDAw", "iban"),
        ("SUJBTiBERTg5MzcwNDAwNDQwNTMyMDEzMDA=w", "iban"),
        ("eHh4eHg==eHggREU4OTM3MDQwMDQ0MDUzMjAxMzAwMA====", "iban"),
    ] {
        assert!(counts(&message(raw)).contains_key(kind), "{raw}: {:?}", found(&message(raw)));
    }
}

#[test]
fn no_number_of_control_characters_hides_a_short_packed_text() {
    for text in [format!("{IBAN}{}", "\0".repeat(23)), format!("{}{IBAN}{0}", "\u{1}".repeat(60))] {
        assert!(pack(text.as_bytes()).len() < 256);
        assert!(counts(&message(&pack(text.as_bytes()))).contains_key("iban"), "{text:?}");
    }
}

// ---- what looks like base64 and is not

#[test]
fn a_column_of_account_numbers_is_read_whatever_stands_between_them() {
    for between in [r"\n", r"\r\n", r"\t", r"\u000a", r"\u0009", r"\\n", "/", r"\/", "="] {
        for rows in [1, 2, 12, 200, 500] {
            let column = [IBAN].repeat(rows).join(between);
            let counts = counts(&message(&column));
            assert_eq!(counts.get("iban"), Some(&(rows as u64)), "{rows} with {between} between: {counts:?}");
        }
    }
}

#[test]
fn a_table_with_long_tokens_is_read() {
    let token = "k3Zp9QmTx7Lw".repeat(30);
    for between in [r"\t", r"\u0009", r"\u0020", " ", ";"] {
        let table = format!("{token}{between}{IBAN}{between}{token}");
        assert_eq!(found(&message(&table)), ["iban $.messages[0].content"], "{between}");
    }
}

// ---- redaction

fn redacted(body: &str) -> Value {
    let names = ["contact", "financial", "national_id", "secret", "network_address"];
    let (after, _) = redact(body.as_bytes(), names).expect("the body is read whole").into_parts();
    serde_json::from_slice(&after).expect("what is redacted is JSON")
}

#[test]
fn a_finding_is_replaced_within_the_packed_text() {
    let text = format!("pay {IBAN} and \"anna@example.org\"\\\n");
    let body = json!({"input": pack(text.as_bytes()), "again": IBAN});

    let (after, restorer) = redact(body.to_string().as_bytes(), ["financial"]).expect("it is read").into_parts();

    let after: Value = serde_json::from_slice(&after).expect("what is redacted is JSON");
    assert_eq!(after["input"], pack(b"pay [IBAN_1] and \"anna@example.org\"\\\n"));
    assert_eq!(after["again"], "[IBAN_1]", "the same value has the same placeholder");
    let answer = restorer.whole(br#"{"a":"paid to [IBAN_1]"}"#);
    assert_eq!(String::from_utf8_lossy(&answer), format!(r#"{{"a":"paid to {IBAN}"}}"#));
}

#[test]
fn a_finding_is_replaced_however_often_it_was_packed() {
    let twice = pack(pack(format!("pay {IBAN} now").as_bytes()).as_bytes());
    let url = pack(format!("data:text/plain;base64,{}", pack(format!("pay {IBAN} now").as_bytes())).as_bytes());

    let after = redacted(&json!({"input": twice, "url": url, twice: 1}).to_string());

    let expected = pack(b"pay [IBAN_1] now");
    assert_eq!(after["input"], pack(expected.as_bytes()));
    assert_eq!(after["url"], pack(format!("data:text/plain;base64,{expected}").as_bytes()));
    assert_eq!(after[pack(expected.as_bytes())], 1);
}

#[test]
fn a_placeholder_that_the_caller_packed_is_not_given_out() {
    let packed = |text: &str| pack(text.as_bytes());
    for input in
        [packed("keep [IBAN_7], [IBAN_x"), packed(&packed("keep [IBAN_7], [CARD_9]")), packed("[[[IBAN_[IBAN_7]")]
    {
        let after = redacted(&json!({"input": input, "again": IBAN}).to_string());

        assert_eq!(after, json!({"input": input, "again": "[IBAN_8]"}));
    }
}

#[test]
fn a_value_split_across_strings_takes_a_packed_text_with_it() {
    // The second string ends the number and is base64 of text as well.
    let rest = format!("0532013000/{}", pack(b"?x and DE89 3704 0044 0532 0130 00"));
    let body = json!({"messages": [{"content": [{"text": "DE8937040044"}, {"text": rest}]}]}).to_string();

    let after = redacted(&body);

    assert!(counts(&after.to_string()).is_empty(), "{after}");
    assert_eq!(after["messages"][0]["content"][0]["text"], "[IBAN_1]");
}

#[test]
fn a_long_packed_text_in_which_something_is_found_as_it_stands_is_replaced_in_bounded_pieces() {
    let own = OwnRecogniser {
        kind: TextKind::own("matter", None).expect("it is a name"),
        pattern: r"\bY2FyIGN".into(),
        words: Vec::new(),
        checksum: None,
        is_tried: false,
    };
    let own = OwnRecognisers::new(vec![own]).expect("it fits");
    let packed = pack(format!("{}{IBAN}", "car ".repeat(30_000)).as_bytes());
    // In lines as no program writes them it is read as it stands as well.
    let lines: Vec<_> = packed.as_bytes().chunks(22).map(String::from_utf8_lossy).collect();
    let content = lines.join("\n");
    let body = json!({"input": content, "again": IBAN}).to_string();

    let redacted = crate::redact_with(body.as_bytes(), ["custom:matter", "iban"], &own).expect("it is read");
    let (after, restorer) = redacted.into_parts();

    let placeholders = "[CUSTOM_MATTER_1][CUSTOM_MATTER_2][CUSTOM_MATTER_3]";
    let after: Value = serde_json::from_slice(&after).expect("what is redacted is JSON");
    assert!(after == json!({"input": placeholders, "again": "[IBAN_1]"}), "{} bytes", after.to_string().len());
    let answer = restorer.whole(json!({"a": placeholders}).to_string().as_bytes());
    let answer: Value = serde_json::from_slice(&answer).expect("it stays JSON");
    assert!(answer == json!({"a": content}), "{} bytes", answer.to_string().len());
}

#[test]
fn a_number_too_long_for_one_value_is_refused_and_not_replaced_in_pieces() {
    let own = OwnRecogniser {
        kind: TextKind::own("matter", None).expect("it is a name"),
        pattern: r"7{12}".into(),
        words: Vec::new(),
        checksum: None,
        is_tried: false,
    };
    let own = OwnRecognisers::new(vec![own]).expect("it fits");
    let body = |digits: usize| format!(r#"{{"x":{{"n":1{}7}}}}"#, "7".repeat(digits - 2));
    let redacted = |digits| {
        let redacted = crate::redact_with(body(digits).as_bytes(), ["custom:matter"], &own);
        redacted.map(|redacted| String::from_utf8(redacted.into_parts().0).expect("it is text"))
    };

    assert_eq!(redacted(64 << 10).as_deref(), Ok(r#"{"x":{"n":"[CUSTOM_MATTER_1]"}}"#));
    assert_eq!(redacted((64 << 10) + 1), Err(crate::RedactError::TooMany));
}

// ---- what nobody would send in earnest

#[test]
fn thirty_two_mebibytes_of_short_base64_are_read() {
    let unit = format!("\"{}\",", pack(b"x DE89370400440532013000"));
    let count = (32 << 20) / unit.len();
    let body = format!(r#"{{"input":[{}""]}}"#, unit.repeat(count));

    let findings = inspect(body.as_bytes());

    let counts: BTreeMap<String, u64> = findings.counts().map(|(kind, count)| (kind.to_string(), count)).collect();
    assert_eq!(counts, BTreeMap::from([("iban".to_owned(), count as u64)]));
}

#[test]
fn when_the_work_in_packed_texts_is_too_much_the_rest_is_uninspected() {
    let unit = format!("\"{}\",", pack("1111 2222 ".repeat(20).as_bytes()));
    let body = format!(r#"{{"input":[{}""]}}"#, unit.repeat(60_000));

    assert!(inspect(body.as_bytes()).names().contains("uninspected"));
    assert_eq!(redact(body.as_bytes(), ["iban"]).map(|_| ()), Err(crate::RedactError::Uninspected));
}

// ---- however it is packed

/// A way to write base64 in a JSON string.
#[derive(Clone, Debug)]
struct Way {
    layers: usize,
    for_urls: bool,
    padded: bool,
    /// Bytes that are packed at once, where each piece ends with its padding.
    piece: usize,
    width: usize,
    line_break: &'static str,
    ends_with_one: bool,
    escaped: Vec<bool>,
}

impl Way {
    fn write(&self, text: &str) -> String {
        let mut packed = (1..self.layers).fold(text.to_owned(), |text, _| pack(text.as_bytes()));
        let piece = if self.padded { self.piece } else { usize::MAX };
        packed = packed.as_bytes().chunks(piece).map(pack).collect();
        if self.for_urls {
            packed = packed.replace('+', "-").replace('/', "_");
        }
        if !self.padded {
            packed = packed.trim_end_matches('=').to_owned();
        }
        let mut out = String::new();
        for (at, (letter, is_escaped)) in packed.bytes().zip(self.escaped.iter().cycle()).enumerate() {
            if at > 0 && at % self.width == 0 {
                out.push_str(self.line_break);
            }
            let _ = match is_escaped {
                true => write!(out, r"\u{letter:04x}"),
                false => write!(out, "{}", char::from(letter)),
            };
        }
        if self.ends_with_one {
            out.push_str(self.line_break);
        }
        out
    }
}

fn way() -> impl Strategy<Value = Way> {
    let breaks = vec![r"\n", r"\r\n", r"\r", r"\u000a", r"\u000D\u000A", r"\\n", r"\\r\\n", r"\n\n"];
    let escaped = prop_oneof![Just(vec![false]), Just(vec![true]), proptest::collection::vec(any::<bool>(), 7)];
    let part = || prop_oneof![Just(usize::MAX), 1_usize..90];
    let shape = (1_usize..=3, any::<bool>(), any::<bool>(), part(), part(), any::<bool>());
    (shape, prop::sample::select(breaks), escaped).prop_map(
        |((layers, for_urls, padded, piece, width, ends_with_one), line_break, escaped)| Way {
            layers,
            for_urls,
            padded,
            piece,
            width,
            line_break,
            ends_with_one,
            escaped,
        },
    )
}

/// An example of a recogniser long enough to be unpacked, and the kind that is found in it.
fn example() -> impl Strategy<Value = (String, &'static str)> {
    let examples: Vec<(String, &'static str)> = LIST
        .iter()
        .flat_map(|recogniser| recogniser.examples.iter().map(|example| (*example, recogniser.kind)))
        .map(|(example, kind)| (example.replace(['«', '»'], ""), kind.shipped_name().expect("these are shipped")))
        .map(|(text, kind)| (if text.len() < 12 { format!("it is {text}") } else { text }, kind))
        .collect();
    prop::sample::select(examples)
}

/// Text of all sorts, packed or not.
fn any_text() -> impl Strategy<Value = String> {
    let packed = (example(), way())
        .prop_map(|((text, _), way)| serde_json::from_str(&format!("\"{}\"", way.write(&text))).expect("it is JSON"));
    prop_oneof![
        3 => packed,
        2 => example().prop_map(|(text, _)| text),
        1 => "[A-Za-z0-9+/=_-]{0,400}",
        1 => "[A-Za-z0-9+/=\n\r\t\\\\-]{0,80}",
        1 => "[ -~]{0,40}".prop_map(|text| pack(text.as_bytes())),
        1 => proptest::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| pack(&bytes)),
    ]
}

proptest! {
    #![proptest_config(crate::seeded::seeded(Some(512), 0xBA5E_0064))]

    #[test]
    fn an_example_is_found_however_it_is_packed((text, kind) in example(), way in way()) {
        let raw = way.write(&text);

        prop_assert!(counts(&message(&raw)).contains_key(kind), "{text} as {raw}");
    }

    #[test]
    fn a_control_character_hides_no_example(
        (text, kind) in example(),
        at in any::<prop::sample::Index>(),
        control in prop::sample::select(vec!['\0', '\u{7}', '\u{1b}', '\u{80}', '\u{9f}']),
        is_packed in any::<bool>(),
    ) {
        let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        let mut hidden = text.clone();
        hidden.insert(places[at.index(places.len())], control);
        let content = if is_packed { pack(hidden.as_bytes()) } else { hidden };

        let body = json!({"messages": [{"content": content}]}).to_string();

        prop_assert!(counts(&body).contains_key(kind), "{body}");
    }

    #[test]
    fn a_control_character_parts_values_as_a_line_break_does(
        ((one, _), (other, _)) in (example(), example()),
        (before, behind) in ("[a-z0-9]{0,3}", "[a-z0-9]{0,3}"),
        control in prop::sample::select(vec!['\0', '\u{1}', '\u{7}', '\u{1f}', '\u{80}', '\u{9f}']),
        is_packed in any::<bool>(),
    ) {
        let text = |between: char| [&*before, &*one, &*other, &*behind].join(&between.to_string());
        let counted = |text: String| {
            let content = if is_packed { pack(text.as_bytes()) } else { text };
            counts(&json!({"messages": [{"content": content}]}).to_string())
        };

        let parted = counted(text(control));

        for (kind, count) in counted(text('\n')) {
            prop_assert!(parted.get(&kind).is_some_and(|parted| *parted >= count), "{kind} in {:?}", text(control));
        }
    }

    #[test]
    fn an_example_is_replaced_however_it_is_packed((text, kind) in example(), way in way()) {
        let raw = way.write(&text);
        let body = message(&raw);

        let after = redacted(&body);

        let content = after["messages"][0]["content"].as_str().expect("it is a string").to_owned();
        prop_assert!(!counts(&after.to_string()).contains_key(kind), "{content}");
        if !counts_as_it_stands(&body).is_empty() {
            return Ok(());
        }
        // What is unpacked holds the placeholders in clear, and is written as the other was.
        let lines: Vec<&str> = content.split(['\r', '\n']).filter(|line| !line.is_empty()).collect();
        let mut unpacked: String = lines.concat().replace("\\r", "").replace("\\n", "");
        prop_assert_eq!(unpacked.contains(['-', '_']) && !way.for_urls, false);
        for _ in 0..way.layers {
            let packed = unpacked.replace('-', "+").replace('_', "/").replace('=', "");
            let engine = base64::engine::general_purpose::STANDARD_NO_PAD;
            unpacked = String::from_utf8(base64::Engine::decode(&engine, packed).expect("it is base64")).expect("it is text");
        }
        prop_assert!(unpacked.contains("_1]"), "{unpacked}");
    }

    #[test]
    fn what_is_found_in_a_string_as_it_stands_is_found(texts in proptest::collection::vec(any_text(), 1..5)) {
        let parts: Vec<_> = texts.iter().map(|text| json!({"text": text, (text.as_str()): 1})).collect();
        let body = json!({"messages": [{"content": parts}]}).to_string();

        let (all, standing) = (counts(&body), counts_as_it_stands(&body));

        for (kind, count) in standing {
            prop_assert!(all.get(&kind).is_some_and(|all| *all >= count), "{kind}: {count} in {body}");
        }
    }

    #[test]
    fn any_packed_text_is_inspected_and_redacted(texts in proptest::collection::vec(any_text(), 1..5)) {
        let parts: Vec<_> = texts.iter().map(|text| json!({"text": text, (text.as_str()): text})).collect();
        let body = json!({"messages": [{"content": parts}]}).to_string();

        crate::fuzz::any_bytes(body.as_bytes());
    }

    #[test]
    fn what_is_found_in_a_packed_text_does_not_depend_on_how_the_base64_is_escaped(text in any_text(), escaped in proptest::collection::vec(any::<bool>(), 16)) {
        let mut choice = escaped.into_iter().cycle();
        let written: String = text
            .encode_utf16()
            .map(|unit| match char::from_u32(u32::from(unit)) {
                Some(letter) if letter.is_ascii_graphic() && letter != '"' && letter != '\\' && choice.next() == Some(false) => letter.to_string(),
                _ => format!("\\u{unit:04x}"),
            })
            .collect();

        prop_assert_eq!(inspect(json!({"input": text}).to_string().as_bytes()), inspect(format!(r#"{{"input":"{written}"}}"#).as_bytes()));
    }
}
