//! What stands beside or within something else is found all the same.

use proptest::prelude::*;

use super::tests::{hits, message};
use super::*;
use crate::recognisers::LIST;

#[test]
fn what_goes_by_its_shape_hides_nothing_that_begins_within_it() {
    let table: [(&str, &[(&str, &str)]); 20] = [
        (
            "card=4111111111111111&email=anna@example.org",
            &[("email", "card=4111111111111111&email=anna@example.org"), ("card", "4111111111111111")],
        ),
        (
            "card=4111-1111-1111-1111&email=anna@example.org",
            &[("email", "card=4111-1111-1111-1111&email=anna@example.org"), ("card", "4111-1111-1111-1111")],
        ),
        (
            "https://shop.example/pay?card=4111111111111111&mail=a@b.co",
            &[("email", "shop.example/pay?card=4111111111111111&mail=a@b.co"), ("card", "4111111111111111")],
        ),
        ("x@4111111111111111.example", &[("email", "x@4111111111111111.example"), ("card", "4111111111111111")]),
        ("+378282246310005", &[("phone", "+378282246310005"), ("card", "378282246310005")]),
        ("00 4222222222222", &[("phone", "00 4222222222222"), ("card", "4222222222222")]),
        ("SSN +536-90-4399", &[("phone", "+536-90-4399"), ("us_ssn", "536-90-4399")]),
        (
            "ssn=536-90-4399&mail=anna@example.org",
            &[("email", "ssn=536-90-4399&mail=anna@example.org"), ("us_ssn", "536-90-4399")],
        ),
        (
            "ip=10.20.30.40&mail=a@b.example",
            &[("email", "ip=10.20.30.40&mail=a@b.example"), ("ipv4_address", "10.20.30.40")],
        ),
        (
            "user/4111111111111111/anna@example.org",
            &[("email", "user/4111111111111111/anna@example.org"), ("card", "4111111111111111")],
        ),
        // A password in an address, or what looks like one.
        (
            "https://shop.example:8080?card=4111111111111111&email=anna@example.org",
            &[
                ("basic_auth_url", "https://shop.example:8080?card=4111111111111111&email=anna@"),
                ("email", "8080?card=4111111111111111&email=anna@example.org"),
                ("card", "4111111111111111"),
            ],
        ),
        (
            concat!("https://oauth2:glpat", "-Zx9fK2mQ7vLpR4tWbN3s@git.example"),
            &[
                ("basic_auth_url", concat!("https://oauth2:glpat", "-Zx9fK2mQ7vLpR4tWbN3s@")),
                ("email", concat!("glpat", "-Zx9fK2mQ7vLpR4tWbN3s@git.example")),
                ("gitlab_token", concat!("glpat", "-Zx9fK2mQ7vLpR4tWbN3s")),
            ],
        ),
        // Two addresses are two, and no address is found again within itself.
        ("a@b.co=c@d.org", &[("email", "a@b.co"), ("email", "c@d.org")]),
        ("anna.b.c.meier@mail.example.org", &[("email", "anna.b.c.meier@mail.example.org")]),
        ("tel +49 30 901820", &[("phone", "+49 30 901820")]),
        // What lies within a number is a part of it, and what goes on behind its end is none.
        ("::ffff:192.0.2.128", &[("ipv6_address", "::ffff:192.0.2.128")]),
        ("tel DE89 3704 0044 0532 0130 00", &[("iban", "DE89 3704 0044 0532 0130 00")]),
        ("5555 5555 5555 4444 1111 1111 1119", &[("card", "5555 5555 5555 4444"), ("card", "4444 1111 1111 1119")]),
        // Nor does what goes on behind it hide what follows, whatever the end of the one makes of the other.
        (
            "5105 1056 0510 4009 2341 2341 2346",
            &[("card", "5105 1056 0510 4009"), ("card", "4009 2341 2341 2346"), ("in_aadhaar", "2341 2341 2346")],
        ),
        ("DE43 5001 0517 0012 3456 78 1.250,00 EUR", &[("iban", "DE43 5001 0517 0012 3456 78")]),
    ];
    for (text, expected) in table {
        assert_eq!(hits(text), expected, "{text}");
    }
}

#[test]
fn what_overlaps_is_replaced_by_one_placeholder_or_each_by_its_own() {
    let text = "pay card=4111111111111111&email=anna@example.org now";
    let body = message(text);
    for (names, expected) in [
        (&["card"][..], "pay card=[CARD_1]&email=anna@example.org now"),
        (&["email"], "pay [EMAIL_1] now"),
        (&["card", "email"], "pay [EMAIL_1] now"),
    ] {
        let (after, restorer) = crate::redact(body.as_bytes(), names.iter().copied()).expect("it can be").into_parts();

        assert_eq!(String::from_utf8_lossy(&after), message(expected), "{names:?}");
        let restored = restorer.whole(&after);
        let restored: serde_json::Value = serde_json::from_slice(&restored).expect("it is JSON");
        assert_eq!(restored["messages"][0]["content"], text, "{names:?}");
    }
}

#[test]
fn no_tag_that_nobody_sees_makes_a_number_a_part_of_something() {
    let tags =
        |text: &str| text.chars().filter_map(|letter| char::from_u32(0xE0000 + u32::from(letter))).collect::<String>();
    let table: [(String, &[&str]); 3] = [
        (format!("{}4111111111111111{}", tags("a"), tags("@b.co")), &["card"]),
        (format!("{}378282246310005", tags("+")), &["card"]),
        // As one reads it there is an IBAN, and as another does a telephone number.
        (format!("{}89 3704 0044 0532 0130 00", tags("DE")), &["iban", "phone"]),
    ];
    for (text, kinds) in table {
        let body = message(&text);
        let names = inspect(body.as_bytes()).names();
        for kind in kinds {
            assert!(names.contains(*kind), "{kind} in {text:?}: {names:?}");
        }
        let (after, _) = crate::redact(body.as_bytes(), kinds.iter().copied()).expect("it can be").into_parts();
        assert!(!String::from_utf8_lossy(&after).contains("0005") && !String::from_utf8_lossy(&after).contains("1111"));
    }
}

#[test]
fn what_two_readings_find_is_replaced_up_to_where_the_longer_one_ends() {
    let files = crate::OwnRecogniser {
        kind: TextKind::own("acc", None).expect("it is a name"),
        pattern: r"\bFILE-[0-9]{2}(\\[a-z0-9]{2,10}){0,3}".into(),
        words: Vec::new(),
        checksum: None,
        is_tried: false,
    };
    let own = OwnRecognisers::new(vec![files]).expect("it fits");
    let body = message(r"see FILE-17\north\nadia end");

    let redacted = crate::redact_with(body.as_bytes(), ["custom:acc"], &own).expect("it can be");

    let (after, _) = redacted.into_parts();
    assert_eq!(String::from_utf8_lossy(&after), message("see [CUSTOM_ACC_1] end"));
}

#[test]
fn what_both_readings_find_is_not_lost_to_what_one_of_them_finds_about_it() {
    let names = inspect(message(r"bsn x\/001202947 10.2.3.4").as_bytes()).names();

    assert!(names.contains("ipv4_address") && names.contains("nl_bsn"), "{names:?}");
}

// ---- how much work it is

/// Beyond the bound the rest is not read: nothing that people send may use it up.
#[test]
fn an_address_counts_a_few_times_however_many_begin_within_it() {
    for (text, most) in [
        ("anna.meier@example.org ".to_owned(), 2),
        (format!("{}a@b.co ", "a=".repeat(31)), 2),
        (format!("{}@{}example.org ", "a".repeat(64), "a.".repeat(4)), 2),
        ("a@b.co,".to_owned(), 2),
        ("4111 1111 1111 1111 ".to_owned(), 16),
        ("2001:db8::8a2e:370:7334 ".to_owned(), 8),
        ("2001:0db8:85a3:0000:0000:8a2e:0370:7334 ".to_owned(), 8),
    ] {
        let mut effort = Effort::new();
        let mut count = 0;
        let before = effort.candidates();

        ENGINE.search(text.repeat(100).as_bytes(), &mut effort, |_| count += 1);

        let spent = before - effort.candidates();
        assert!(count >= 100 && spent <= 100 * most, "{spent} for {text:?}, {count} found");
    }
}

// ---- two values side by side

/// Values with what stands before them in an example, and values with what stands behind them.
fn halves() -> (Vec<String>, Vec<String>) {
    let examples = LIST.iter().flat_map(|recogniser| recogniser.examples);
    let parts = examples.filter_map(|example| {
        let (before, rest) = example.split_once('«')?;
        let (value, behind) = rest.split_once('»')?;
        Some((format!("{before}{value}"), format!("{value}{behind}")))
    });
    parts.unzip()
}

fn a_first_half() -> impl Strategy<Value = String> {
    prop::sample::select(halves().0)
}

fn a_second_half() -> impl Strategy<Value = String> {
    prop::sample::select(halves().1)
}

/// Whether something of this kind goes on over `joint`, by its rule, and so is another one or none.
///
/// Over `-`, `.`, `/` and `_` all numbers do, so these are no joints here.
fn goes_on_over(kind: &str, joint: &str) -> bool {
    match joint {
        // An address of a machine has colons.
        ":" => matches!(kind, "ipv4_address" | "ipv6_address" | "mac_address"),
        // A telephone number takes in the digits of the next number, and is too long then.
        " " => kind == "phone",
        _ => false,
    }
}

proptest! {
    #![proptest_config(crate::seeded::seeded(Some(2048), 0x0B5E))]

    #[test]
    fn what_is_found_alone_is_found_beside_something_else(
        (one, other) in (a_first_half(), a_second_half()),
        joint in prop::sample::select(vec!["=", "&", "?", "+", ",", ";", ":", " ", "&mail=", " and ", "?card=", "\n"]),
    ) {
        let text = format!("{one}{joint}{other}");
        let found = hits(&text);

        for (kind, _) in hits(&one).into_iter().chain(hits(&other)) {
            let is_found = found.iter().any(|(found, _)| *found == kind);
            prop_assert!(is_found || goes_on_over(kind, joint), "{} in {:?}: {:?}", kind, text, found);
        }
    }

    #[test]
    fn what_overlaps_is_replaced_whole_and_put_back(
        (one, other) in (a_first_half(), a_second_half()),
        joint in "[=&/?+ ,;:._-]|&mail=",
    ) {
        let text = format!("{one}{joint}{other}");
        let names = crate::Group::ALL.map(crate::Group::name);
        let body = message(&text);

        let (after, restorer) = crate::redact(body.as_bytes(), names).expect("it can be").into_parts();

        prop_assert!(inspect(&after).counts().next().is_none(), "{}", String::from_utf8_lossy(&after));
        let restored = restorer.whole(&after);
        let restored: serde_json::Value = serde_json::from_slice(&restored).expect("it is JSON");
        prop_assert_eq!(&restored["messages"][0]["content"], &text);
    }
}
