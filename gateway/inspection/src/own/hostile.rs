//! What a caller or an operator may write to hide something, to break something or to make reading slow.

use proptest::prelude::*;
use serde_json::Value;

use super::tests::{found, message, one, set};
use super::*;
use crate::{FindingKind, Group, MAX_LISTED, inspect_with, redact_with};

fn tried(one: OwnRecogniser) -> OwnRecogniser {
    OwnRecogniser { is_tried: true, ..one }
}

/// The body without what is found of `names`, and the same with everything put back.
fn there_and_back(body: &str, names: &[&str], own: &OwnRecognisers) -> (String, Value) {
    let done = redact_with(body.as_bytes(), names.iter().copied(), own).expect("it can be redacted");
    let (redacted, restorer) = done.into_parts();
    let back = serde_json::from_slice(&restorer.whole(&redacted)).expect("what is put back is JSON");
    serde_json::from_slice::<Value>(&redacted).expect("what is redacted is JSON");
    (String::from_utf8(redacted).expect("it is text"), back)
}

fn json(body: &str) -> Value {
    serde_json::from_str(body).expect("the test's body is JSON")
}

// ---- nothing hides another

#[test]
fn one_that_is_only_tried_hides_nothing_of_one_in_force() {
    let file = || one("file", r"\b[0-9]{8}\b");
    let reference = || one("ref", r"\b[a-z]{1,3}[0-9]{6,8}\b");
    // In one reading a word, in the other a line break and a number.
    let body = r#"{"messages":[{"role":"user","content":"see\\n12345678"}]}"#;
    for own in [set(vec![file(), tried(reference())]), set(vec![file(), reference()])] {
        let names = inspect_with(body.as_bytes(), &own).names();
        let (redacted, back) = there_and_back(body, &["custom:file"], &own);

        assert!(names.contains("custom:file") && names.contains("custom:ref"), "{names:?}");
        assert!(!redacted.contains("12345678"), "{redacted}");
        assert_eq!(back, json(body));
    }
}

#[test]
fn what_is_only_tried_takes_no_place_in_the_list_from_the_rest() {
    let many = (0..40).map(|n| tried(one(&format!("t{n}"), &format!("t{n:02}-[0-9]{{2}}"))));
    let own = set(many.chain([one("matter", "M-[0-9]{4}")]).collect());
    let text: String = (0..40).map(|n| format!("t{n:02}-11 t{n:02}-12 t{n:02}-13 ")).collect();
    let body = message(&format!("{text} {}", "M-1234 ".repeat(8)));

    let findings = inspect_with(body.as_bytes(), &own);

    let matter = TextKind::own("matter", None).expect("it is a name");
    let listed = findings.iter().filter(|finding| finding.kind == FindingKind::Text(matter)).count();
    assert_eq!(listed, crate::MAX_PLACES);
    assert_eq!(findings.counts().count(), 41, "and each that is tried is counted");
    assert!(findings.len() <= MAX_LISTED + 40);
}

// ---- nothing panics

#[test]
fn a_word_of_nothing_finds_nothing() {
    for words in [vec![String::new()], vec![String::new(), "depot".into()]] {
        let own = OwnRecognisers::new(vec![OwnRecogniser { words, ..one("n", "[0-9]{6}") }]).expect("they fit");

        assert_eq!(found(&message("number 123456"), &own), [""; 0]);
    }
}

// ---- nothing is missed for how it is written

#[test]
fn of_several_ends_the_one_with_the_right_check_digit_counts() {
    let luhn = |pattern: &str| set(vec![OwnRecogniser { checksum: Some(Checksum::Luhn), ..one("n", pattern) }]);
    let kind = TextKind::own("n", None).expect("it is a name");
    let table = [
        (r"\b[0-9]{8,11}(?: [0-9])?", "no 49927398716 5 apples", "49927398716"),
        (r"\b[0-9]{8,12}", "no 499273987165 apples", "49927398716"),
        (r"\b(?:[0-9]{8}|[0-9]{11})\b", "49927398716", "49927398716"),
        ("(?:[0-9]{8}|[0-9]{11})", "49927398716", "49927398716"),
        ("[0-9]{8,20}?", "49927398716", "49927398716"),
    ];
    for (pattern, text, value) in table {
        assert_eq!(luhn(pattern).values_in(text, kind), [value], "{pattern}");
    }
    assert_eq!(luhn(r"\b[0-9]{8,11}(?: [0-9])?").values_in("49927398715 x", kind), [""; 0]);
    let words = OwnRecogniser { words: vec!["depot".into()], ..one("n", "[0-9]{6}(?: depot)?") };
    assert_eq!(set(vec![words]).values_in("123456 depot", kind), ["123456"], "the word is not a part of the number");
}

#[test]
fn a_tab_in_a_pattern_matches_a_tab_however_it_is_written() {
    for pattern in
        [r"acme[ \t]{1,3}[0-9]{6}", "acme\t{1,3}[0-9]{6}", r"acme(?:\t| ){1,3}[0-9]{6}", r"acme[\r\t][0-9]{6}"]
    {
        let own = set(vec![one("n", pattern)]);
        for body in [r#"{"a":"acme\t123456"}"#, r#"{"a":"acme\u0009123456"}"#, r#"{"a":"say \"acme\\t123456\""}"#] {
            assert_eq!(found(body, &own), ["custom:n $.a"], "{pattern} in {body}");
        }
    }
    let dot = set(vec![one("n", "acme.[0-9]{6}"), one("m", r"acme[^\n,][0-9]{6}")]);
    assert_eq!(found(r#"{"a":"acme\n123456"}"#, &dot), [""; 0], "a class without line breaks gets none");
}

#[test]
fn words_are_found_in_capitals_of_other_letters_too() {
    let own = set(vec![OwnRecogniser { words: vec!["gerät".into(), "ärzte-nr".into()], ..one("n", "[0-9]{6}") }]);
    for text in ["Gerät 123456", "GERÄT 123456", "Ärzte-Nr 123456", "ÄRZTE-NR: 123456", "ärzte-nr 123456"] {
        assert_eq!(found(&message(text), &own).len(), 1, "{text}");
    }
    assert_eq!(found(&message("Geräte 123456"), &own), [""; 0]);
    let own =
        set(vec![OwnRecogniser { words: vec!["haus-ärzte".into(), "neue öfen".into()], ..one("n", "[0-9]{6}") }]);
    for text in ["Haus-Ärzte 123456", "haus-ärzte 123456", "HAUS-ÄRZTE 123456", "Neue Öfen 123456", "Neue öfen 123456"]
    {
        assert_eq!(found(&message(text), &own).len(), 1, "{text}");
    }
}

/// Each end of a match may have a word behind it; what stands before is the same for all of them.
#[test]
fn words_are_not_looked_for_again_with_every_end() {
    let own = set(vec![OwnRecogniser { words: vec!["depot".into()], ..one("n", "[a-z]{3,128}") }]);
    let searched = |text: &str| {
        let before = words::SEARCHED.get();
        let names = inspect_with(message(text).as_bytes(), &own).names();
        (words::SEARCHED.get() - before, names)
    };

    // Not one word, which would be taken for base64.
    let plain = format!("{}. ", "a".repeat(1000)).repeat(16);
    let (bytes, names) = searched(&plain);
    assert!(names.is_empty() && bytes < 256 * plain.len(), "{bytes} {names:?}");

    // Words that are only parts of others are looked at closely; that is counted, and comes to an end.
    let (bytes, names) = searched(&format!("{}. ", "aadepota".repeat(100)).repeat(80));
    assert!(names.contains("uninspected") && bytes < 64 * MOST_CANDIDATES as usize, "{bytes} {names:?}");

    let (_, names) = searched(&format!("{} depot", "a".repeat(100)));
    assert!(names.contains("custom:n"), "a word behind the last end is seen");
}

/// Only what the words of a long name say is read again with each of many numbers under it, and that finds the same.
#[test]
fn a_number_far_down_a_list_is_found_by_the_words_of_its_name() {
    let worded = |name: &str, words: &[&str]| {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        OwnRecogniser { words, ..one(name, r"\b[0-9]{3}\b") }
    };
    let own = set(vec![worded("depot", &["depot", "depotnr"]), worded("file", &["akte"]), worded("no", &["other"])]);
    let list = vec!["123"; 20].join(",");
    let all = |name: &str| {
        let findings = inspect_with(format!(r#"{{"x":{{"{name}":[{list}]}}}}"#).as_bytes(), &own);
        findings.counts().map(|(kind, count)| format!("{kind} {count}")).collect::<Vec<_>>()
    };

    assert_eq!(all("the_depot_of_the_customer"), ["custom:depot 20"]);
    assert_eq!(all("theDepotOfTheAkteAndMore"), ["custom:depot 20", "custom:file 20"]);
    assert_eq!(all("depots_of_the_takten_there"), [""; 0]);
    assert_eq!(all(r"the_\u0064epot_of_the_customer"), ["custom:depot 20"]);
    assert_eq!(all(&format!("depot_{}", "x".repeat(57))), ["custom:depot 20"], "as far as a word may stand before");
    assert_eq!(all(&format!("depot_{}", "x".repeat(58))), [""; 0]);
}

#[test]
fn short_numbers_of_the_json_are_read_for_ones_own() {
    let own = set(vec![
        one("file", r"\b[0-9]{6}\b"),
        OwnRecogniser { words: vec!["depot".into()], ..one("depot", r"\b[0-9]{3}\b") },
    ]);
    let body = r#"{"seed":123456,"x":{"file":123456,"depot":[123,456],"n":123,"f":1.123456,"e":1e123456,"m":-654321}}"#;

    let found = found(body, &own);

    let expected =
        ["custom:file $.x.file", "custom:depot $.x.depot[0]", "custom:depot $.x.depot[1]", "custom:file $.x.m"];
    assert_eq!(found, expected);
    let shipped = inspect_with(br#"{"x":{"tel":4515986}}"#, &own);
    assert!(shipped.is_empty(), "what is shipped reads what it read: {shipped:?}");
}

// ---- what is taken out leaves JSON, and comes back

#[test]
fn a_find_within_a_number_of_the_json_takes_the_whole_number() {
    let own = set(vec![one("file", "2044[0-9]{2}")]);
    let table = [
        (r#"{"x":[1204417999,3]}"#, r#"{"x":["[CUSTOM_FILE_1]",3]}"#, "1204417999"),
        (r#"{"x":{"n":-204417 }}"#, r#"{"x":{"n":"[CUSTOM_FILE_1]" }}"#, "-204417"),
        (r#"{"x":[99204417.5e1]}"#, r#"{"x":[99204417.5e1]}"#, ""),
        (r#"{"x":[0.12204417]}"#, r#"{"x":["[CUSTOM_FILE_1]"]}"#, "0.12204417"),
    ];
    for (body, expected, value) in table {
        let (redacted, back) = there_and_back(body, &["custom:file"], &own);

        assert_eq!(redacted, expected);
        assert!(value.is_empty() || back.to_string().contains(&format!("\"{value}\"")), "{back}");
    }
    for body in [r#"{"x":[-4111111111111111]}"#, r#"{"x":[0.4111111111111111]}"#] {
        let (redacted, _) = there_and_back(body, &["card"], &OwnRecognisers::default());
        assert_eq!(redacted, r#"{"x":["[CARD_1]"]}"#, "{body}");
    }
}

#[test]
fn text_that_looks_like_a_number_of_the_json_stays_text_however_often() {
    let body = message(&"a: 4111111111111111, b ".repeat(20_000));

    let (redacted, back) = there_and_back(&body, &["card"], &OwnRecognisers::default());

    assert_eq!(redacted, message(&"a: [CARD_1], b ".repeat(20_000)));
    assert_eq!(back, json(&body));
}

#[test]
fn finds_that_overlap_come_back_whole() {
    let own = set(vec![one("left", "F-[0-9]{4}"), one("right", "[0-9]{2}-[A-Z]{2}"), one("far", "[A-Z]{2}-x[0-9]")]);
    let names = ["custom:left", "custom:right", "custom:far"];
    for text in ["see F-1234-AB-x9 there", "F-1234-AB", "F-1234 and 56-AB", r"C:\F-1234-AB\n12-CD-x1"] {
        let body = message(text);
        let (redacted, back) = there_and_back(&body, &names, &own);

        assert!(inspect_with(redacted.as_bytes(), &own).is_empty(), "{redacted}");
        assert_eq!(back, json(&body), "{redacted}");
    }
    let split = r#"{"messages":[{"content":[{"text":"see F-12"},{"text":"34-AB"},{"text":"-x9 there"}]}]}"#;
    let (_, back) = there_and_back(split, &names, &own);
    let texts: Vec<&str> = (0..3).filter_map(|n| back["messages"][0]["content"][n]["text"].as_str()).collect();
    assert_eq!(texts.concat(), "see F-1234-AB-x9 there");
}

#[test]
fn what_is_found_around_a_placeholder_takes_it_whole_and_brings_it_back() {
    let own = set(vec![one("file", "F-[0-9]{4}"), one("reference", r"ref ?\[[A-Z]{2,5}")]);
    let body = message("the ref F-1234 is closed");

    let (redacted, back) = there_and_back(&body, &["custom:file", "custom:reference"], &own);

    assert!(redacted.contains("the [CUSTOM_REFERENCE_1] is closed"), "{redacted}");
    // The value of one holds the value of the other.
    assert_eq!(back, json(&body));
}

#[test]
fn what_would_find_any_placeholder_is_refused() {
    for pattern in [r"_1[0-9]{2}\]", r"_77\]", r"[A-Z]_10000", r"\[CUSTOM_N_[0-9]{2}", r"N_[0-9]{4}", "[0-9]{4}"] {
        let said = one("n", pattern).check();
        assert!(matches!(said, Err(ShapeError::Placeholder(_))), "{pattern}: {said:?}");
    }
    for pattern in [r"\b[0-9]{3,9}\b", "[0-9]{6}", r"N-[0-9]{4}", "n_[0-9]{4}"] {
        assert_eq!(one("n", pattern).check(), Ok(()), "{pattern}");
    }
    let both = vec![one("first", r"ON?D_[0-9]{1,3}\]"), one("second", "xyz[0-9]{2}")];
    assert!(OwnRecognisers::new(both).is_err(), "the placeholder of another");
    let group = OwnRecogniser { kind: TextKind::own("second", Some(Group::Secret)).unwrap(), ..one("second", "xyz") };
    assert!(OwnRecognisers::new(vec![group]).is_ok());
}

// ---- for any text

proptest! {
    #![proptest_config(crate::seeded::seeded(None, 0x5EED))]

    #[test]
    fn what_is_tried_changes_nothing_and_what_is_replaced_comes_back(
        pieces in proptest::collection::vec(prop::sample::select(vec![
            "F-1234", "-AB", "-CD-x1", "12345678", "see", "\\n", "\\", "n", "t", "r", " ", "\n", "x9", "[", "]", "\\u0031",
            "4111 1111 1111 1111", "anna@example.org", "[CUSTOM_FILE_1]", "größe", "\"",
        ]), 0..24),
        number in any::<i32>(),
    ) {
        let in_force = || vec![one("file", r"\b[0-9]{8}\b"), one("left", "F-[0-9]{4}"), one("right", "[0-9]{2}-[A-Z]{2}")];
        let others = [one("ref", r"\b[a-z]{1,3}[0-9]{6,8}\b"), one("wide", "[a-z0-9@.]{6,40}"), one("n", "[0-9]{2}-")];
        let alone = set(in_force());
        let both = set(others.into_iter().map(tried).chain(in_force()).collect());
        let text = pieces.concat();
        let body = serde_json::json!({"messages": [{"content": text}], "x": [number, {text.as_str(): number}]}).to_string();
        let groups = Group::ALL.map(Group::name);
        let names = [["custom:file", "custom:left", "custom:right"].as_slice(), &groups].concat();

        let without = inspect_with(body.as_bytes(), &alone);
        let with = inspect_with(body.as_bytes(), &both).without(|kind| both.tried().any(|tried| tried == kind));
        let (redacted, back) = there_and_back(&body, &names, &both);

        prop_assert_eq!(with.counts().collect::<Vec<_>>(), without.counts().collect::<Vec<_>>());
        // Paths may differ: a name in which one that is tried finds something is not shown.
        let kinds = |findings: &crate::Findings| findings.iter().map(|finding| finding.kind.clone()).collect::<Vec<_>>();
        prop_assert_eq!(kinds(&with), kinds(&without));
        prop_assert_eq!(&redacted, &there_and_back(&body, &names, &alone).0);
        for one in in_force() {
            let kind = FindingKind::Text(one.kind);
            let count = |findings: &crate::Findings| findings.counts().find(|(of, _)| **of == kind).map(|(_, count)| count);
            prop_assert_eq!(count(&inspect_with(body.as_bytes(), &set(vec![one]))), count(&without));
        }
        let left = inspect_with(redacted.as_bytes(), &alone);
        prop_assert!(left.is_empty(), "{} of {}", redacted, body);
        prop_assert_eq!(back["messages"][0]["content"].as_str(), Some(text.as_str()), "{}", redacted);
        let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        prop_assert_eq!(shown(&back["x"][0]), number.to_string());
    }
}
