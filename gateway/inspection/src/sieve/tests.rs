use proptest::prelude::*;

use super::*;
use crate::engine::{ENGINE, Effort, Hit, WITHOUT_SIEVE};
use crate::inspect;
use crate::recognisers::LIST;

/// The text of an example, and what is found in it.
fn parts_of(example: &str) -> (String, &str) {
    let value = example.split_once('«').and_then(|(_, rest)| rest.split_once('»')).map_or("", |(value, _)| value);
    (example.replace(['«', '»'], ""), value)
}

fn hits(text: &str) -> Vec<Hit> {
    let mut hits = Vec::new();
    ENGINE.search(text.as_bytes(), &mut Effort::new(), |hit| hits.push(hit));
    hits
}

/// What `read` gives where the sieve lets everything through.
fn without_the_sieve<T>(read: impl FnOnce() -> T) -> T {
    WITHOUT_SIEVE.set(true);
    let read = read();
    WITHOUT_SIEVE.set(false);
    read
}

/// Prose without a sign in it, `length` bytes of it.
fn quiet(length: usize) -> String {
    "the letter came late, and nobody read it. ".chars().cycle().take(length).collect()
}

// ---- what is taken for quiet

#[test]
fn whatever_a_word_or_a_number_is_told_by_is_loud_wherever_in_a_block_it_stands() {
    for (byte, next) in (0..=255).flat_map(|byte: u8| (0..=255).map(move |next: u8| (byte, next))) {
        let is_told = byte.is_ascii_digit() || matches!(byte, b':' | b'@') || is_sign(byte) || is_capital(byte, next);
        for at in [0, 15, 16, 62, 63] {
            let mut window = [b' '; BLOCK + 2];
            window[at] = byte;
            window[at + 1] = next;
            assert!(!is_told || !is_quiet(&window), "{byte:#x} {next:#x} at {at}");
        }
    }
    let mut window = [b' '; BLOCK + 2];
    window[BLOCK - 1..].copy_from_slice(b"a:b");
    assert!(!is_quiet(&window), "a sign of three bytes begins with the last of the block");
}

#[test]
fn prose_is_quiet() {
    let prose =
        ["The roof leaks; \"again\", she wrote,\nand it's not (quite) new! Is it? Well.  ", "Größe für die Öffnung, "];
    for text in prose {
        let text = text.repeat(4);
        let window = text.as_bytes().iter().filter(|byte| **byte != b';').copied().collect::<Vec<u8>>();
        assert!(is_quiet(window.first_chunk().expect("it is long enough")), "{text}");
    }
}

// ---- what triggers say

#[test]
fn what_a_trigger_says_beside_its_words_holds_for_every_example() {
    let has_capital = |text: &str| {
        let nexts = text.bytes().skip(1).chain([b' ']);
        text.bytes().zip(nexts).any(|(byte, next)| is_capital(byte, next))
    };
    for recogniser in LIST {
        let name = recogniser.kind.name();
        for (text, value) in recogniser.examples.iter().map(|example| parts_of(example)) {
            match recogniser.trigger {
                Trigger::Words(_) | Trigger::Near(_) => {
                    let bare: String =
                        value.chars().map(|letter| if letter.is_ascii_digit() { 'h' } else { letter }).collect();
                    let bare = text.replace(value, &bare);
                    let found = without_the_sieve(|| hits(&bare));
                    assert!(found.iter().all(|hit| hit.kind.name() != name), "{name} is found without a digit: {bare}");
                }
                Trigger::BareWords(words) => assert!(words.iter().all(|word| has_capital(word)), "{name}"),
                Trigger::NearCapitals(_) => assert!(has_capital(value), "{name}: {value}"),
                Trigger::Digits | Trigger::DottedDigits | Trigger::At | Trigger::Colons => {}
            }
        }
    }
}

// ---- the sieve changes nothing but the time

#[test]
fn an_example_is_found_wherever_it_stands_from_the_beginning_of_a_block() {
    for recogniser in LIST {
        for (text, _) in recogniser.examples.iter().map(|example| parts_of(example)) {
            for before in 0..=BLOCK {
                let text = format!("{} {text} {}", quiet(before), quiet(700));
                let found = hits(&text);
                assert!(!found.is_empty(), "{} behind {before}", recogniser.kind);
                assert_eq!(found, without_the_sieve(|| hits(&text)), "{text}");
            }
        }
    }
}

/// Texts of what recognisers look for, whole, broken and in other digits, among prose of any length.
fn text() -> impl Strategy<Value = String> {
    let examples: Vec<String> = LIST
        .iter()
        .flat_map(|recogniser| recogniser.examples.iter().chain(recogniser.others))
        .map(|example| parts_of(example).0)
        .collect();
    let other_digits = |text: String| {
        text.chars()
            .map(|letter| letter.to_digit(10).and_then(|digit| char::from_u32(0xFF10 + digit)).unwrap_or(letter))
            .collect()
    };
    let words: Vec<&'static str> = LIST
        .iter()
        .flat_map(|recogniser| match recogniser.trigger {
            Trigger::Words(list) | Trigger::BareWords(list) | Trigger::Near(list) | Trigger::NearCapitals(list) => list,
            Trigger::Digits | Trigger::DottedDigits | Trigger::At | Trigger::Colons => &[],
        })
        .copied()
        .collect();
    let piece = prop_oneof![
        3 => (0_usize..200).prop_map(quiet),
        3 => prop::sample::select(examples.clone()),
        1 => prop::sample::select(examples).prop_map(other_digits),
        2 => prop::sample::select(words).prop_map(str::to_owned),
        2 => "[-/:=@_~.0-9A-Fa-f]{1,20}",
        1 => "[0-9A-Za-z]{1,40}",
        1 => "[\\\\\"\n\u{e9}\u{200b}\u{663}]{1,3}",
    ];
    proptest::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(crate::seeded::seeded(Some(384), 0x0051_E7E0))]

    #[test]
    fn a_text_is_searched_as_without_the_sieve(text in text()) {
        prop_assert_eq!(hits(&text), without_the_sieve(|| hits(&text)));
    }

    #[test]
    fn a_body_is_read_as_without_the_sieve(texts in proptest::collection::vec(text(), 1..5), escaped in any::<bool>()) {
        let parts: Vec<_> = texts.iter().map(|text| serde_json::json!({"type": "text", "text": text})).collect();
        let name = texts.first().cloned().unwrap_or_default();
        let body = serde_json::json!({"messages": [{"role": "user", "content": parts}], "metadata": {(name): "x"}});
        let mut body = body.to_string();
        if escaped {
            body = body.replace('@', "\\u0040").replace('4', "\\u0034");
        }

        prop_assert_eq!(inspect(body.as_bytes()), without_the_sieve(|| inspect(body.as_bytes())));
    }
}
