//! Bad documents, each with exactly what is said of it. The cases stand in `mistakes.txt`.

use super::{GOOD, changed, load_one, said_of};

struct Case {
    name: String,
    old: String,
    new: String,
    says: Vec<String>,
}

fn cases() -> Vec<Case> {
    let blocks = include_str!("mistakes.txt").split("\n## ").skip(1);
    let case = |block: &str| {
        let lines = |sign: char| {
            let marked = block.lines().skip(1).filter_map(move |line| line.strip_prefix(sign));
            marked.map(|line| line.strip_prefix(' ').unwrap_or(line).to_owned()).collect::<Vec<_>>()
        };
        let name = block.lines().next().unwrap().to_owned();
        Case { name, old: lines('-').join("\n"), new: lines('+').join("\n"), says: lines('=') }
    };
    blocks.map(case).collect()
}

#[test]
fn every_mistake_is_reported_with_its_place_and_what_would_be_right() {
    let cases = cases();

    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let said = said_of(&changed(&case.old, &case.new));
            (said != case.says).then(|| format!("## {}\n= {}", case.name, said.join("\n= ")))
        })
        .collect();

    assert!(cases.len() >= 100, "{}", cases.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn the_document_that_the_cases_change_is_in_order() {
    assert_eq!(said_of(GOOD), [""; 0]);
}

#[test]
fn every_mistake_of_a_document_is_reported_in_one_run() {
    let text = GOOD
        .replace("127.0.0.1:8443", "0.0.0.0:8443")
        .replace("capacity", "capcity")
        .replace("gpu-01/llama", "gpu-02/llama")
        .replace("[data.claims]", "[data.clams]")
        .replace("requests_per_minute = 600", "requests_per_minute = 0")
        .replace("approve = [\"cloud\"]", "approve = [\"clowd\"");

    let said = said_of(&text);

    let lines: Vec<&str> = said.iter().map(|line| line.split(": ").next().unwrap()).collect();
    let expected = [
        "gateway.toml:2:11",  // not loopback, no TLS
        "gateway.toml:19:1",  // unknown setting
        "gateway.toml:28:12", // dangling reference
        "gateway.toml:30:6",  // no data
        "gateway.toml:34:34", // a limit of nothing
        "gateway.toml:36:7",  // data of no app
        "gateway.toml:40:19", // not TOML
    ];
    assert_eq!(lines, expected, "{}", said.join("\n"));
}

#[test]
fn no_mistake_shows_a_key_that_stands_in_the_wrong_place() {
    let places = [
        ("\"CLOUD_KEY\"", "\"sk-very-secret\""),
        ("{ key = { env = \"CLOUD_KEY\" } }", "\"sk-very-secret\""),
        ("{ env = \"CLOUD_KEY\" }", "\"sk-very-secret\""),
        ("{ env = \"CLOUD_KEY\" }", "sk-very-secret"),
        ("{ env = \"CLOUD_KEY\" }", "{ file = \"sk-very-secret\" }"),
        ("\"sha256:1111111111111111111111111111111111111111111111111111111111111111\"", "\"sk-very-secret\""),
        ("https://contoso", "https://sk-very-secret@contoso"),
    ];

    for (old, new) in places {
        let said = said_of(&changed(old, new));

        assert!(!said.is_empty(), "{new}");
        assert!(!said.concat().contains("sk-very"), "{}", said.concat());
    }
}

#[test]
fn hostile_files_are_answered_and_not_followed() {
    let deep = format!("{}x = 1\n", "a.".repeat(20_000));
    let nested = format!("a = {}\n", "[".repeat(20_000));
    let wide = format!("[endpoint]\n{}", "x.y = 1\n".repeat(5_000));

    for text in [deep.as_str(), &nested, &wide, "\u{feff}", "\0", "", "[", "]", "=", "[[listen]]", "listen = 1"] {
        assert!(load_one(text).is_err());
    }
}

#[test]
fn a_document_cut_anywhere_is_answered() {
    let example = include_str!("../example.toml");

    for text in [GOOD, example] {
        for (end, _) in text.char_indices() {
            let cut = text.get(..end).unwrap();
            if let Ok(compiled) = load_one(cut) {
                assert!(compiled.keys.iter().all(|key| key.app < compiled.apps.len()));
            }
        }
    }
}
