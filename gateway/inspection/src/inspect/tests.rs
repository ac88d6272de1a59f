use proptest::prelude::*;

use super::*;
use crate::engine::MOST_CANDIDATES;
use crate::recognisers::LIST;

/// What is found in a body, as `kind at path`, in the order of the document.
fn found(body: &str) -> Vec<String> {
    let findings = inspect(body.as_bytes());
    findings.iter().map(|finding| format!("{} {}", finding.kind, finding.path)).collect()
}

pub(super) fn message(content: &str) -> String {
    let content = serde_json::Value::from(content);
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":{content}}}]}}"#)
}

pub(super) fn hits(text: &str) -> Vec<(&'static str, &str)> {
    let mut hits = Vec::new();
    ENGINE.search(text.as_bytes(), &mut Effort::new(), |hit| {
        hits.push((
            hit.kind.shipped_name().expect("these are shipped"),
            text.get(hit.place).expect("places are whole letters"),
        ));
    });
    hits
}

// ---- the recognisers

#[test]
fn every_recogniser_finds_its_examples_and_only_what_is_marked_in_them() {
    let mut faults = Vec::new();
    for recogniser in LIST {
        let name = recogniser.kind.shipped_name().expect("these are shipped");
        assert!(!recogniser.examples.is_empty() && !recogniser.others.is_empty(), "{name} has examples and others");
        for example in recogniser.examples {
            let (before, rest) = example.split_once('«').expect("an example marks what is found");
            let (value, behind) = rest.split_once('»').expect("an example marks what is found");
            let text = format!("{before}{value}{behind}");
            if hits(&text) != [(name, value)] {
                faults.push(format!("{name}: in {text:?} found {:?}", hits(&text)));
            }
        }
        for other in recogniser.others {
            if hits(other).iter().any(|(kind, _)| *kind == name) {
                faults.push(format!("{name}: in {other:?} found {:?}", hits(other)));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_number_that_two_countries_may_have_given_is_found_and_replaced_as_either() {
    let kinds = |text: &str| hits(text).into_iter().map(|(kind, _)| kind).collect::<Vec<_>>();

    // Made by an independent generator for the country that is named first; the other's check digits happen to fit.
    for (text, both) in [
        ("PESEL: 73072422357", ["be_national_number", "pl_pesel"]),
        ("fødselsnummer: 28064515456", ["gr_amka", "no_birth_number"]),
        ("OIB: 04629375180", ["br_cpf", "hr_oib"]),
        ("CNP-ul meu este 4190922122325.", ["card", "ro_cnp"]),
    ] {
        assert_eq!(kinds(text), both, "{text}");
    }

    // A backslash that may be one or begin an escape: with `tel` for a word it is a telephone number too, without none.
    let body = message(r"dial\tel 212 34 5678 90");
    assert_eq!(found(&body), ["us_ssn $.messages[0].content", "phone $.messages[0].content"]);
    let (redacted, _) = crate::redact(body.as_bytes(), ["us_ssn"]).expect("it can be").into_parts();
    assert!(String::from_utf8(redacted).expect("it is text").contains("[US_SSN_1]"));

    for (name, other) in [("pl_pesel", "be_national_number"), ("be_national_number", "pl_pesel")] {
        let body = message("PESEL: 73072422357, again 73072422357");
        let (redacted, _) = crate::redact(body.as_bytes(), [name]).expect("it can be").into_parts();
        let redacted = String::from_utf8(redacted).expect("it is text");
        assert!(!redacted.contains("7307") && redacted.contains(&name.to_uppercase()), "{redacted}");
        assert!(!redacted.contains(&other.to_uppercase()), "{redacted}");
    }
}

#[test]
fn the_list_holds_what_the_reference_promises() {
    let count = |group: crate::Group| LIST.iter().filter(|recogniser| recogniser.kind.group() == Some(group)).count();

    assert!(count(crate::Group::NationalId) >= 20, "{}", count(crate::Group::NationalId));
    assert!(count(crate::Group::Secret) >= 25, "{}", count(crate::Group::Secret));
    let mut names: Vec<&str> = crate::names().collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), crate::names().count(), "no name is given twice");
}

// ---- where and how it is written

#[test]
fn a_finding_is_found_wherever_it_stands() {
    let iban = "DE89 3704 0044 0532 0130 00";
    let body = format!(
        r#"{{"model":"m","{iban}":1,"x":{{"unknown":["{iban}"]}},"messages":[{{"role":"user","content":"a {iban}."}},
        {{"role":"tool","tool_calls":[{{"function":{{"arguments":"{{\"to\":\"{iban}\"}}"}}}}]}}],"metadata":{{"k":"{iban}"}}}}"#
    );

    let expected = [
        "iban $",
        "iban $.x.unknown[0]",
        "iban $.messages[0].content",
        "iban $.messages[1].tool_calls[0].function.arguments",
        "iban $.metadata.k",
    ];
    assert_eq!(found(&body), expected);
}

#[test]
fn escapes_and_other_digits_hide_nothing() {
    let written = [
        r"anna\u0040example.org",
        r"\u0061nna@example.org",
        r#"{\"mail\":\"anna\\u0040example.org\"}"#,
        "anna＠example．org",
        "an\u{ad}na@exam\u{200b}ple.org",
        r"line\nanna@example.org\nline",
    ];
    for text in written {
        let body = format!(r#"{{"messages":[{{"content":"{text}"}}]}}"#);
        assert_eq!(found(&body), ["email $.messages[0].content"], "{text}");
    }
    for card in ["４１１１ １１１１ １１１１ １１１１", "٤١١١١١١١١١١١١١١١", "4111\u{a0}1111\u{202f}1111\u{2009}1111"]
    {
        assert_eq!(found(&message(card)), ["card $.messages[0].content"], "{card}");
    }
}

#[test]
fn a_word_behind_a_backslash_is_read_as_it_stands_and_as_json_within_the_string_would_mean_it() {
    // What stands in the text of a message, and what is found there.
    let table: [(&str, &[&str]); 12] = [
        (r"C:\rssmra85t10a562s", &["it_codice_fiscale"]),
        (r"C:\Users\rssmra85t10a562s\notes", &["it_codice_fiscale"]),
        (r"C:\tmp\nina@example.org", &["email"]),
        (r"\\server\bob@example.org", &["email"]),
        (r#"{"to":"first line\nDE89 3704 0044 0532 0130 00"}"#, &["iban"]),
        (r"row\tDE89370400440532013000\r\n", &["iban"]),
        (r"\\nDE89370400440532013000", &["iban"]),
        (r"\rssmra85t10a562s\nDE89370400440532013000", &["it_codice_fiscale", "iban"]),
        (r"anna\u0040example.org", &["email"]),
        (r"\ud83d\ude00 \ud835\udfdc111 1111 1111 1111", &["card"]),
        (r"https:\/\/anna:s3cret-pw@db.example\/x", &["basic_auth_url", "email"]),
        (r"\fbsn: 111222333\n", &["nl_bsn"]),
    ];
    for (text, kinds) in table {
        let expected: Vec<String> = kinds.iter().map(|kind| format!("{kind} $.messages[0].content")).collect();
        assert_eq!(found(&message(text)), expected, "{text}");
        let all: String = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
        let all = format!(r#"{{"messages":[{{"content":"{all}"}}]}}"#);
        assert_eq!(found(&all), expected, "{text}, every letter of it escaped");
    }
}

#[test]
fn the_name_of_a_member_says_what_its_value_is() {
    assert_eq!(found(r#"{"x":{"bsn":"111222333"}}"#), ["nl_bsn $.x.bsn"]);
    assert_eq!(found(r#"{"x":{"userBsn":"111222333"}}"#), ["nl_bsn $.x.userBsn"]);
    assert_eq!(found(r#"{"x":{"other":"bsn","number":"111222333"}}"#), [""; 0], "another member's value does not");
    let twice = r#"{"messages":[{"content":[{"bsn":"111222333"},{"bsn":"123456782"}]}]}"#;
    assert_eq!(found(twice), ["nl_bsn $.messages[0].content[0].bsn", "nl_bsn $.messages[0].content[1].bsn"]);
}

#[test]
fn long_numbers_are_read_as_text_and_settings_of_the_call_are_not() {
    assert_eq!(found(r#"{"messages":[{"card":4111111111111111}]}"#), ["card $.messages[0].card"]);
    assert_eq!(found(r#"{"seed":4111111111111111}"#), [""; 0]);
}

#[test]
fn a_value_split_across_the_strings_of_one_message_is_found() {
    let parts = |texts: &[&str]| {
        let parts: Vec<String> = texts.iter().map(|text| format!(r#"{{"type":"text","text":"{text}"}}"#)).collect();
        format!(r#"{{"messages":[{{"role":"user","content":[{}]}}]}}"#, parts.join(","))
    };

    assert_eq!(found(&parts(&["pay DE89 3704 0044", " 0532 0130 00 now"])), ["iban $.messages[0].content[0].text"]);
    let letters: Vec<String> = "DE89370400440532013000".chars().map(String::from).collect();
    let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
    assert_eq!(found(&parts(&letters)), ["iban $.messages[0].content[0].text"]);
    assert_eq!(found(&parts(&["DE89 3704 0044 0532 0130 00", "and so on"])), ["iban $.messages[0].content[0].text"]);
    assert_eq!(
        found(r#"{"system":[{"type":"text","text":"anna@exam"},{"type":"text","text":"ple.org"}]}"#),
        ["email $.system[0].text"]
    );
    assert_eq!(found(r#"{"input":["DE89 3704 0044 0532"," 0130 00"]}"#), [""; 0], "two inputs are not one text");
    assert_eq!(
        found(r#"{"messages":[{"content":"DE89 3704 0044 0532"},{"content":" 0130 00"}]}"#),
        [""; 0],
        "nor are two messages"
    );
}

/// What is kept of a long string's end is a few bytes short where the cut would have fallen within a letter.
#[test]
fn the_middle_of_a_string_is_not_put_behind_the_end_of_another() {
    let parts = |texts: &[&str]| {
        let parts: Vec<String> = texts.iter().map(|text| format!(r#"{{"type":"text","text":"{text}"}}"#)).collect();
        format!(r#"{{"messages":[{{"role":"user","content":[{}]}}]}}"#, parts.join(","))
    };
    let number = crate::OwnRecogniser {
        kind: TextKind::own("number", None).expect("it is a name"),
        pattern: "[0-9]{4}[a-z]{2}".into(),
        words: Vec::new(),
        checksum: None,
        is_tried: false,
    };
    let own = OwnRecognisers::new(vec![number]).expect("it fits");
    for letter in ["ä", "€", "𝄞", r"\u00e4", r"\ud834\udd1e"] {
        for more in 0..letter.len() {
            // The cut falls somewhere within a letter; right behind that letter come `xy` and the rest of the string.
            let rest = format!("xy{}", "z".repeat(61 - more));
            let long = format!("{}{letter}{rest}", "-".repeat(90));
            let body = parts(&["1234", &long, "end"]);

            let found = inspect_with(body.as_bytes(), &own);

            assert!(found.is_empty(), "{letter} {more}: {found:?}");
        }
    }
    let whole = parts(&["1234", "xyz"]);
    assert_eq!(inspect_with(whole.as_bytes(), &own).len(), 1, "whole strings are joined");
}

#[test]
fn the_name_of_a_member_counts_by_its_letters_however_they_are_written() {
    let escaped = |text: &str| text.bytes().map(|byte| format!(r"\u00{byte:02x}")).collect::<String>();
    for name in ["burgerservicenummer_of_the_person", &escaped("bsn_of_the_person_who_asks_for_this_one")] {
        let body = format!(r#"{{"messages":[{{"{name}":["about","no 111222333"]}}]}}"#);
        assert_eq!(found(&body).len(), 1, "{name}");
    }
    let far = escaped(&format!("bsn_{}", "of_the_person_".repeat(5)));
    assert_eq!(found(&format!(r#"{{"messages":[{{"{far}":["about","no 111222333"]}}]}}"#)), [""; 0]);
}

#[test]
fn packed_text_is_read_and_media_is_said_to_be_unread() {
    let text = crate::reading::packing::pack(b"my card is 4111 1111 1111 1111");
    let noise: Vec<u8> = (0..900_u32).map(|n| (n * 37 % 251) as u8).collect();
    let image = crate::reading::packing::pack(&noise);

    let part = |url: &str| format!(r#"{{"messages":[{{"content":[{{"image_url":{{"url":"{url}"}}}}]}}]}}"#);

    let path = "$.messages[0].content[0].image_url.url";
    assert_eq!(found(&part(&format!("data:text/plain;base64,{text}"))), [format!("card {path}")]);
    assert_eq!(found(&part(&format!("data:image/png;base64,{image}"))), [format!("uninspected_media {path}")]);
    assert_eq!(found(&part(&image)), [format!("uninspected_media {path}")]);
}

#[test]
fn identifiers_of_users_are_findings() {
    let body = r#"{"user":"u-1","safety_identifier":"s-1","metadata":{"user_id":"m-1"},"x":{"user":"no"}}"#;

    let expected =
        ["user_identifier $.user", "user_identifier $.safety_identifier", "user_identifier $.metadata.user_id"];
    assert_eq!(found(body), expected);
    assert_eq!(found(r#"{"user":"","messages":[]}"#), [""; 0]);
}

#[test]
fn no_path_shows_what_was_found() {
    let body = r#"{"x":{"anna@example.org":{"card":"4111111111111111"}}}"#;

    assert_eq!(found(body), ["email $.x", "card $.x[\"?\"].card"]);
    for name in [r"anna\u0040example.org", r"C:\\rssmra85t10a562s", r"x\\u0040y.example"] {
        let body = format!(r#"{{"x":{{"{name}":{{"card":"4111111111111111"}}}}}}"#);
        assert_eq!(found(&body)[1], "card $.x[\"?\"].card", "{name}");
    }
    let by_a_word = r#"{"bsn":{"111222333":{"card":"4111111111111111"}}}"#;
    assert_eq!(found(by_a_word), ["nl_bsn $.bsn", "card $.bsn[\"?\"].card"]);
    let long = format!(r#"{{"{}":{{"a_name_that_says_nothing":"4111111111111111"}}}}"#, "n".repeat(33));
    assert_eq!(found(&long), ["card $[\"?\"].a_name_that_says_nothing"]);
}

#[test]
fn a_long_string_is_read_to_its_end_however_it_is_cut() {
    for filler in ["word ", "größe ", r"a\n", "“x” "] {
        let at = |n: usize| filler.repeat(n / filler.len());
        for before in [131_000, 131_072, 140_000, 300_000] {
            let body = format!(r#"{{"input":"{}DE89 3704 0044 0532 0130 00 {}x@y.example"}}"#, at(before), at(200_000));
            assert_eq!(found(&body), ["iban $.input", "email $.input"], "{filler:?} {before}");
        }
    }
}

// ---- what nobody would send in earnest

#[test]
fn thirty_two_mebibytes_of_findings_end_and_are_not_taken_for_clean() {
    let unit = "anna.meier@example.org 4111 1111 1111 1111 ";
    let body = format!(r#"{{"input":"{}"}}"#, unit.repeat((32 << 20) / unit.len()));

    let findings = inspect(body.as_bytes());

    assert!(findings.len() <= crate::MAX_LISTED);
    let names = findings.names();
    assert!(names.contains("email") && names.contains("card"), "{names:?}");
    let counted: u64 = findings.counts().map(|(_, count)| count).sum();
    assert!(names.contains("uninspected") || counted as usize >= 2 * ((32 << 20) / unit.len()));
}

#[test]
fn when_the_work_is_too_much_the_rest_is_uninspected() {
    // Every group begins a candidate for several recognisers, and none is one.
    let body = format!(r#"{{"input":"{}"}}"#, "1111 2222 ".repeat(MOST_CANDIDATES as usize / 2));

    let names = inspect(body.as_bytes()).names();

    assert!(names.contains("uninspected"), "{names:?}");
}

#[test]
fn bodies_that_are_no_json_are_read_and_never_taken_for_clean() {
    let deep = format!("{}\"anna@example.org\"{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(inspect(deep.as_bytes()).names().contains("uninspected"));

    let twice = r#"{"a":"anna@example.org","a":"4111 1111 1111 1111"}"#;
    assert_eq!(found(twice), ["email $.a", "card $.a"]);

    let open = inspect(br#"{"a":"anna@example.org"#).names();
    assert!(open.contains("email") && open.contains("uninspected"), "{open:?}");

    let lone = r#"{"a":"\ud800 anna@example.org \udc00"}"#;
    assert_eq!(found(lone), ["email $.a"]);

    let mut invalid = br#"{"a":"xx anna@example.org"}"#.to_vec();
    invalid[6] = 0xFF;
    invalid[7] = 0xC0;
    assert!(inspect(&invalid).names().contains("email"));
}

// ---- the sieve lets nothing through that the patterns would find

/// Texts made of what recognisers look for, whole and broken, among words.
fn text() -> impl Strategy<Value = String> {
    let examples: Vec<String> = LIST
        .iter()
        .flat_map(|recogniser| recogniser.examples.iter().chain(recogniser.others))
        .map(|example| example.replace(['«', '»'], ""))
        .collect();
    let piece = prop_oneof![
        4 => "[a-z ]{1,90}",
        2 => prop::sample::select(examples),
        1 => "[0-9 .:@-]{1,40}",
        1 => "[a-f0-9:]{1,20}",
        1 => "\\PC{1,20}",
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(crate::seeded::seeded(Some(512), 0x5EED))]

    #[test]
    fn the_sieve_lets_through_whatever_the_patterns_would_find(text in text()) {
        let mut with = Vec::new();
        ENGINE.search(text.as_bytes(), &mut Effort::new(), |hit| with.push(hit));
        let mut without = Vec::new();
        ENGINE.search_all(text.as_bytes(), &mut Effort::new(), |hit| without.push(hit));

        prop_assert_eq!(with, without);
    }

    #[test]
    fn any_bytes_are_inspected_and_redacted(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        crate::fuzz::any_bytes(&bytes);
    }

    #[test]
    fn any_body_is_inspected_and_redacted(text in text(), split in any::<prop::sample::Index>()) {
        let cut = text.floor_char_boundary(split.index(text.len() + 1));
        let (before, behind) = text.split_at(cut);
        let body = serde_json::json!({"messages": [{"content": [{"text": before}, {"text": behind}]}, {"content": {text.as_str(): 1}}]});
        crate::fuzz::any_bytes(body.to_string().as_bytes());
    }

    #[test]
    fn what_is_found_does_not_depend_on_how_it_is_escaped(text in text(), escape in proptest::collection::vec(any::<bool>(), 64)) {
        let plain = message(&text);
        let mut choice = escape.into_iter().cycle();
        let escaped: String = text
            .encode_utf16()
            .map(|unit| match char::from_u32(u32::from(unit)) {
                Some(letter) if letter.is_ascii_alphanumeric() && !choice.next().unwrap_or_default() => letter.to_string(),
                _ => format!("\\u{unit:04x}"),
            })
            .collect();
        let escaped = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{escaped}"}}]}}"#);

        prop_assert_eq!(inspect(plain.as_bytes()), inspect(escaped.as_bytes()));
    }
}
