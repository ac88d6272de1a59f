use super::*;
use crate::{FindingKind, Group, MAX_PLACES, inspect_with, redact_with};

pub(super) fn one(name: &str, pattern: &str) -> OwnRecogniser {
    let kind = TextKind::own(name, None).expect("it is a name");
    OwnRecogniser { kind, pattern: pattern.into(), words: Vec::new(), checksum: None, is_tried: false }
}

pub(super) fn set(list: Vec<OwnRecogniser>) -> OwnRecognisers {
    for one in &list {
        one.check().unwrap_or_else(|error| panic!("{}: {error}", one.pattern));
    }
    OwnRecognisers::new(list).expect("they fit")
}

pub(super) fn found(body: &str, own: &OwnRecognisers) -> Vec<String> {
    inspect_with(body.as_bytes(), own).iter().map(|finding| format!("{} {}", finding.kind, finding.path)).collect()
}

pub(super) fn message(text: &str) -> String {
    format!(r#"{{"messages":[{{"role":"user","content":{}}}]}}"#, serde_json::Value::from(text))
}

fn matters() -> OwnRecognisers {
    set(vec![one("matter", r"\bM-[0-9]{4}-[0-9]{2}\b")])
}

#[test]
fn what_one_of_ones_own_finds_has_its_name_and_its_place() {
    let own = matters();
    let body = message("M-2044-17 and again M-2044-18, to anna@example.org");

    let all = found(&body, &own);

    let (matter, mail) = ("custom:matter $.messages[0].content", "email $.messages[0].content");
    assert_eq!(all, [matter, matter, mail]);
    assert_eq!(found(&message("M-2044-175, AM-2044-17"), &own), [""; 0]);
    assert_eq!(found(&body, &OwnRecognisers::default()), [mail]);
}

#[test]
fn findings_count_for_the_group_that_is_stated() {
    let token =
        OwnRecogniser { kind: TextKind::own("token", Some(Group::Secret)).unwrap(), ..one("token", "acme_[a-z]{8}") };
    let own = set(vec![token]);

    let findings = inspect_with(message("acme_abcdefgh").as_bytes(), &own);

    assert_eq!(Vec::from_iter(findings.names()), ["custom:token", "secret"]);
    assert_eq!(own.named("secret").len(), TextKind::named("secret").len() + 1);
    assert_eq!(Vec::from_iter(inspect_with(message("M-2044-17").as_bytes(), &matters()).names()), ["custom:matter"]);
}

#[test]
fn words_and_checksums_hold_for_them_as_for_the_shipped_ones() {
    let own = set(vec![OwnRecogniser {
        words: vec!["depot".into(), "depotnummer".into()],
        checksum: Some(Checksum::Luhn),
        ..one("depot", r"\b[0-9]{10}\b")
    }]);
    let number = "4992739872";
    assert!(checksum::luhn(&crate::recogniser::Digits::of(number.as_bytes())), "the world of the test");

    let at = "custom:depot $.messages[0].content";
    assert_eq!(found(&message(&format!("Depotnummer: {number}")), &own), [at]);
    assert_eq!(found(&message(&format!("number {number}")), &own), [""; 0]);
    assert_eq!(found(&message("Depot 4992739873"), &own), [""; 0]);
    assert_eq!(found(&format!(r#"{{"depot":"{number}"}}"#), &own), ["custom:depot $.depot"]);
}

#[test]
fn every_checksum_is_the_one_it_is_named_for() {
    let table = [
        (Checksum::Luhn, "49927398716"),
        (Checksum::Mod11And10, "86095742719"),
        (Checksum::Mod97, "3214282912345698765432161182"),
        (Checksum::Verhoeff, "2363"),
        (Checksum::Ean13, "7501031311309"),
    ];
    for (checksum, number) in table {
        let own = set(vec![OwnRecogniser { checksum: Some(checksum), ..one("n", r"\b[0-9]{4,30}\b") }]);
        let kind = TextKind::own("n", None).unwrap();

        assert_eq!(own.values_in(number, kind), [number], "{checksum:?}");
        let (front, last) = number.split_at(number.len() - 1);
        for digit in ('0'..='9').filter(|digit| !last.starts_with(*digit)) {
            let other = format!("{front}{digit}");
            assert_eq!(own.values_in(&other, kind), [""; 0], "{checksum:?} {other}");
        }
    }
}

#[test]
fn several_that_fit_the_same_text_all_find_it() {
    let own = set(vec![one("file", "F-[0-9]{4}"), one("secret_file", "F-[0-9]{4}-S"), one("tail", "[0-9]{4}-S")]);

    let kinds: Vec<String> = inspect_with(message("F-1234-S").as_bytes(), &own).names().into_iter().collect();

    assert_eq!(kinds, ["custom:file", "custom:secret_file", "custom:tail"]);
    let mail = set(vec![one("staff", r"[a-z]{3,20}@acme\.example")]);
    let kinds: Vec<String> = inspect_with(message("anna@acme.example").as_bytes(), &mail).names().into_iter().collect();
    assert_eq!(kinds, ["contact", "custom:staff", "email"], "nor does one hide what is shipped");
}

#[test]
fn they_read_what_the_shipped_ones_read() {
    let own = matters();
    let at = "custom:matter $.messages[0].content";
    let packed = crate::reading::packing::pack(b"the matter M-2044-17 is closed");
    assert_eq!(found(&message(&format!("data:text/plain;base64,{packed}")), &own), [at]);
    assert_eq!(found(r#"{"messages":[{"content":"\u004d-2044-\u0031\u0037"}]}"#, &own), [at]);
    assert_eq!(found(&message(r#"{"note":"one\nM-2044-17"}"#), &own), [at]);
    assert_eq!(found(&message("M-２０４４-17"), &own), [at], "digits of other scripts");
    assert_eq!(found(r#"{"x":{"M-2044-17":1}}"#, &own).len(), 1, "names of members");
    let split = r#"{"messages":[{"content":[{"type":"text","text":"M-20"},{"type":"text","text":"44-17"}]}]}"#;
    assert_eq!(found(split, &own).len(), 1, "across the strings of one message");
    let long = format!("{}M-2044-17", "word and ".repeat(60_000));
    assert_eq!(found(&message(&long), &own), [at], "wherever a long text is cut");
}

/// A path says where; the name of a member that is itself what was found is left out of it.
#[test]
fn a_path_does_not_show_what_was_found() {
    let shown = found(r#"{"x":{"M-2044-17":"anna@example.org"}}"#, &matters());

    assert_eq!(shown.len(), 2);
    assert!(shown.iter().all(|finding| !finding.contains("2044")), "{shown:?}");
}

#[test]
fn what_stands_in_two_strings_of_a_request_is_not_one_match() {
    let own = set(vec![one("wide", "a[^,a]{3,100}z"), one("wider", "b[^b]{3,100}z")]);
    let kind = TextKind::own("wide", None).unwrap();

    assert_eq!(found(r#"{"first":"ab","second":"yz"}"#, &own), [""; 0]);
    assert_eq!(own.values_in("a b\nc z", kind), ["a b\nc z"]);
    assert_eq!(own.values_in("aäääz", kind), [""; 0], "classes of bytes keep to ASCII, so no letter is taken apart");
}

#[test]
fn redaction_replaces_what_they_find_and_puts_it_back() {
    let own = matters();
    let body = message("about M-2044-17 and M-2044-18, M-2044-17");

    let done = redact_with(body.as_bytes(), ["custom:matter", "iban"], &own).unwrap();

    assert!(done.covers("custom:matter") && done.covers("iban") && !done.covers("custom:other"));
    let (redacted, restorer) = done.into_parts();
    let text = String::from_utf8(redacted.clone()).unwrap();
    assert!(text.contains("about [CUSTOM_MATTER_1] and [CUSTOM_MATTER_2], [CUSTOM_MATTER_1]"), "{text}");
    assert!(inspect_with(&redacted, &own).is_empty());
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&restorer.whole(&redacted)).unwrap(),
        serde_json::from_str::<serde_json::Value>(&body).unwrap()
    );
}

/// `redact:secret` must take out what counts as a secret, or it would leave under an obligation that says it was.
#[test]
fn a_group_is_covered_only_with_what_belongs_to_it_of_ones_own() {
    let token =
        OwnRecogniser { kind: TextKind::own("token", Some(Group::Secret)).unwrap(), ..one("token", "acme_[a-z]{8}") };
    let own = set(vec![token]);
    let body = message("acme_abcdefgh");

    let whole = redact_with(body.as_bytes(), ["secret"], &own).unwrap();
    let shipped: Vec<String> = TextKind::named("secret").iter().map(ToString::to_string).collect();
    let part = redact_with(body.as_bytes(), shipped.iter().map(String::as_str), &own).unwrap();

    assert!(whole.covers("secret") && !String::from_utf8_lossy(&whole.into_parts().0).contains("acme_"));
    assert!(!part.covers("secret"));
}

#[test]
fn finds_that_overlap_leave_nothing_behind_packed_or_not() {
    let own = set(vec![
        one("file", "F-[0-9]{4}"),
        one("long_file", "F-[0-9]{4}-[A-Z]{2}"),
        one("tail", "[0-9]{2}-[A-Z]{2}-x"),
    ]);
    let names = ["custom:file", "custom:long_file", "custom:tail"];
    let packed = crate::reading::packing::pack("see F-1234-AB-x there".as_bytes());
    for text in ["see F-1234-AB-x there".to_owned(), format!("data:text/plain;base64,{packed}")] {
        let (redacted, restorer) = redact_with(message(&text).as_bytes(), names, &own).unwrap().into_parts();

        assert!(inspect_with(&redacted, &own).is_empty(), "{}", String::from_utf8_lossy(&redacted));
        assert!(serde_json::from_slice::<serde_json::Value>(&redacted).is_ok());
        assert!(!restorer.is_empty());
    }
}

#[test]
fn a_pattern_that_could_not_be_used_says_why() {
    let table: [(&str, &str); 16] = [
        ("(abc", "it cannot be read as a regular expression: unclosed group"),
        (r"(a)\1bc", "it cannot be read as a regular expression: backreferences are not supported"),
        (
            "(?=abc)abc",
            "it cannot be read as a regular expression: look-around, including look-ahead and look-behind, is not supported",
        ),
        ("abc+", "a match of it can be longer than 128 bytes"),
        ("[a-z]{3,129}", "a match of it can be longer than 128 bytes"),
        ("ab?c?", "a match of it can be shorter than 3 bytes"),
        ("", "a match of it can be shorter than 3 bytes"),
        ("[a-z]{2}", "a match of it can be shorter than 3 bytes"),
        ("^abc", "it asks where a text or a line begins or ends, of which a request's strings have none"),
        ("abc$", "it asks where a text or a line begins or ends, of which a request's strings have none"),
        (r"(?m:^abc)", "it asks where a text or a line begins or ends, of which a request's strings have none"),
        (r"abc[^\x00-\x7F]", "nothing can match it"),
        (
            r"(?u)\babc",
            r"it cannot be read as a regular expression: `\b` knows words of ASCII alone; write it without `(?u)`",
        ),
        (r"abc\x00", "it names bytes that are no text"),
        (r"abc\xE4", "it names bytes that are no text"),
        (r"[A-Z]{3,4}_[0-9]{1,4}", "it matches `[IPV4_ADDRESS_1]`, which redaction would write"),
    ];
    for (pattern, why) in table {
        let said = one("n", pattern).check().map_err(|error| error.to_string());
        let said = said.expect_err(pattern);
        // Which placeholder is met first is no matter.
        let is_placeholder =
            why.contains("redaction") && said.starts_with("it matches `[") && said.contains("redaction");
        assert!(said == why || is_placeholder, "{pattern}: {said}");
    }
    for pattern in
        ["[a-z]{3}", "[a-z]{3,128}x{0}", "Akte [0-9]{4}", "größe [0-9]{2}", r"\b(?i:acme)-[0-9]{3}\b", "ab[cä]?"]
    {
        let said = one("n", pattern).check();
        assert!(said.is_ok() || pattern == "ab[cä]?", "{pattern}: {said:?}");
    }
}

#[test]
fn bounds_hold_at_their_edges() {
    let long = |length: usize| one("n", &format!("abc{}", "(?:)".repeat((length - 3) / 4)));
    assert_eq!(long(LONGEST_PATTERN - 1).check(), Ok(()));
    assert!(matches!(long(LONGEST_PATTERN + 7).check(), Err(ShapeError::TooLong(_))));

    let checked =
        |length| OwnRecogniser { checksum: Some(Checksum::Luhn), ..one("n", &format!("[0-9]{{8,{length}}}")) };
    assert_eq!(checked(LONGEST_CHECKED).check(), Ok(()));
    assert_eq!(checked(LONGEST_CHECKED + 1).check(), Err(ShapeError::Unbounded(LONGEST_CHECKED)));

    let several = |count: usize| (0..count).map(|n| one(&format!("n{n}"), &format!("acme{n:02}"))).collect::<Vec<_>>();
    assert!(OwnRecognisers::new(several(MOST_OWN)).is_ok());
    assert_eq!(OwnRecognisers::new(several(MOST_OWN + 1)).unwrap_err(), TogetherError::TooMany(MOST_OWN + 1));

    let name = "n".repeat(crate::MOST_OWN_NAME);
    assert_eq!(TextKind::own(&name, None).unwrap().to_string(), format!("custom:{name}"));
    for wrong in [format!("{name}n"), String::new(), "1a".into(), "a-b".into(), "A".into(), "ä".into()] {
        assert_eq!(TextKind::own(&wrong, None), None, "{wrong}");
    }
    // The longest placeholder is still put right.
    let own = set(vec![one(&name, "M-[0-9]{4}")]);
    let body = format!(r#"{{"x":"[CUSTOM_{}_999999998] M-1234"}}"#, name.to_uppercase());
    let (redacted, restorer) =
        redact_with(body.as_bytes(), [format!("custom:{name}").as_str()], &own).unwrap().into_parts();
    assert!(String::from_utf8_lossy(&redacted).contains("_999999999]"));
    assert!(String::from_utf8_lossy(&restorer.whole(&redacted)).contains("M-1234"));
}

/// Strings of a kilobyte, which are never cut: what is read twice there costs twice.
fn full_of_matches(count: usize) -> String {
    let strings = (0..count.div_ceil(256)).map(|n| format!("\"{}\"", "abc ".repeat(256.min(count - n * 256))));
    format!("{{\"x\":[{}]}}", strings.collect::<Vec<_>>().join(","))
}

#[test]
fn a_text_of_nothing_but_matches_is_counted_and_beyond_the_bound_uninspected() {
    let own = set(vec![one("words", "[a-c]{3} ")]);
    let most = MOST_CANDIDATES as usize;

    let within = inspect_with(full_of_matches(most - 1).as_bytes(), &own);
    let beyond = inspect_with(full_of_matches(most).as_bytes(), &own);

    assert!(!within.names().contains("uninspected") && beyond.names().contains("uninspected"));
    assert!(within.iter().filter(|finding| finding.kind != FindingKind::Uninspected).count() <= MAX_PLACES);
    assert!(redact_with(full_of_matches(most).as_bytes(), ["custom:words"], &own).is_err());
}

/// What is only tried takes nothing away, neither from the others nor from what is read.
#[test]
fn one_that_is_only_tried_is_told_and_changes_nothing_else() {
    let tried = |one: OwnRecogniser| OwnRecogniser { is_tried: true, ..one };
    let group = Some(Group::Secret);
    let token = OwnRecogniser { kind: TextKind::own("token", group).unwrap(), ..one("token", "acme_[a-z]{8}") };
    let own = set(vec![tried(token), one("matter", "M-[0-9]{4}"), tried(one("words", "[a-c]{3} "))]);
    let body = message("acme_abcdefgh about M-1234");

    assert_eq!(Vec::from_iter(own.kinds().map(|kind| kind.to_string())), ["custom:matter"]);
    assert_eq!(Vec::from_iter(own.tried().map(|kind| kind.to_string())), ["custom:token", "custom:words"]);
    assert!(inspect_with(body.as_bytes(), &own).names().contains("custom:token"));
    let (redacted, _) = redact_with(body.as_bytes(), ["secret", "custom:token", "custom:matter"], &own)
        .map(|done| {
            assert!(done.covers("secret") && done.covers("custom:matter") && !done.covers("custom:token"));
            done.into_parts()
        })
        .unwrap();
    assert_eq!(String::from_utf8(redacted).unwrap(), message("acme_abcdefgh about [CUSTOM_MATTER_1]"));
    let beyond = inspect_with(full_of_matches(MOST_CANDIDATES as usize + 300).as_bytes(), &own);
    assert!(beyond.names().contains("custom:words") && !beyond.names().contains("uninspected"));
}

/// The sizes are of the automata, and so of the work for each byte: what would need more states than fit is refused, and
/// what is taken needs one step for each byte.
#[test]
fn a_pattern_whose_automaton_would_be_large_is_refused() {
    for pattern in ["[ab]{1,60}a[ab]{16}c", "(?:a.{10,60}b){1,2}", r"\b(?:[a-z]+[a-z]{0,9}){1,9}xyz"] {
        let error = one("n", pattern).check().expect_err(pattern);
        assert!(matches!(error, ShapeError::TooLarge | ShapeError::Unbounded(_)), "{pattern}: {error}");
    }
    let usual = [
        r"\bM-[0-9]{4}-[0-9]{2}\b",
        r"[a-z0-9]{3,30}@acme\.example",
        r"(?i)\bacme[ -]?(?:id|nr|no)[ .:]{1,3}[0-9]{6,12}\b",
        "[A-Za-z][a-z]{2,30} [A-Z][a-z]{2,30}",
    ];
    for pattern in usual {
        assert_eq!(one("n", pattern).check(), Ok(()), "{pattern}");
    }
}

#[test]
fn many_are_searched_together_and_each_finds_its_own() {
    let list: Vec<_> = (0..MOST_OWN).map(|n| one(&format!("n{n}"), &format!("acme{n:02}-[0-9a-f]{{4,12}}"))).collect();
    let own = set(list);
    let text: String = (0..MOST_OWN).rev().map(|n| format!("acme{n:02}-00ff{n:02x} ")).collect();

    let names = inspect_with(message(&text).as_bytes(), &own).names();

    assert_eq!(names.len(), MOST_OWN);
    assert!(own.memory() <= LARGEST_TOGETHER, "{}", own.memory());
}
