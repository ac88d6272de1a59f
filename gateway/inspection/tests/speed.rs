//! How fast text is inspected. Not a check: run by hand, in release.
//!
//! `cargo test -p inspection --release --test speed -- --ignored --nocapture`

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::time::Instant;

use base64::Engine as _;
use inspection::inspect;

/// Prints the best and the median of many runs.
fn measure(what: &str, body: &str) {
    let mut times: Vec<f64> = (0..300)
        .map(|_| {
            let start = Instant::now();
            black_box(inspect(black_box(body.as_bytes())));
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let found: u64 = inspect(body.as_bytes()).counts().map(|(_, count)| count).sum();
    let rate = |us: f64| body.len() as f64 / us;
    let (best, median) = (times[0], times[150]);
    let _ = writeln!(
        std::io::stderr(),
        "{what:<34} {:>8} bytes {found:>5} found  best {best:>8.1} us {:>6.0} MB/s  median {median:>8.1} us {:>6.0} MB/s",
        body.len(),
        rate(best),
        rate(median)
    );
}

fn chat(text: &str) -> String {
    let text = serde_json::Value::from(text);
    format!(
        r#"{{"model":"m","messages":[{{"role":"system","content":"be brief"}},{{"role":"user","content":{text}}}],"stream":true}}"#
    )
}

/// Sentences until there are `size` bytes.
fn prose(sentences: &[&str], size: usize) -> String {
    let mut text: String = sentences
        .iter()
        .cycle()
        .scan(0, |sum, sentence| {
            *sum += sentence.len();
            (*sum - sentence.len() < size).then_some(*sentence)
        })
        .collect();
    text.truncate(text.floor_char_boundary(size));
    text
}

const ENGLISH: &[&str] = &[
    "The committee met again in the afternoon, and this time nobody left before the vote was taken. ",
    "What had been a quarrel about the roof had become a quarrel about who pays for it, as such things do. ",
    "She read the letter twice, put it back into its envelope and asked whether the trains were still running. ",
    "Prices rose by 3 percent in the year, which is less than in 2019 and more than anybody had promised.\n",
    "Please summarise the following report for a reader who knows the business but not the technology. ",
    "It says \"no change\" on the first page and lists eleven changes on the second; both are meant seriously.\n",
    "Nothing in the contract forbids it, so the supplier did it, and the customer found out from a newspaper. ",
    "In the end the model answered in two seconds, and the answer was right except for the name of the river. ",
];

const GERMAN: &[&str] = &[
    "Die Größe der Flächen überraschte die Prüfer nicht, wohl aber die Höhe der Gebühren für die Öffnung. ",
    "Während der Sitzung wurde über die Änderungen gestritten, und am Ende blieb alles, wie es gewesen war.\n",
    "Bitte fasse den folgenden Bericht für einen Leser zusammen, der das Geschäft kennt, aber nicht die Technik. ",
];

#[test]
#[ignore = "measures, and says nothing in a debug build"]
fn bodies() {
    let english = prose(ENGLISH, 65_536);
    let mut dense: Vec<&str> = ENGLISH.iter().flat_map(|sentence| [*sentence]).collect();
    for (at, found) in [
        "Write to anna.meier@example.org. ",
        "IBAN DE89 3704 0044 0532 0130 00. ",
        "Call +49 30 901820. ",
        "Card 4111 1111 1111 1111. ",
    ]
    .iter()
    .enumerate()
    {
        dense.insert(at * 3, found);
    }
    let mut agent = String::from(r#"{"model":"m","messages":["#);
    for n in 0..150 {
        let _ = write!(
            agent,
            r#"{{"role":"assistant","content":[{{"type":"text","text":"step {n}: now read the file and say what \"it\" does\nthen go on"}},{{"type":"tool_use","id":"toolu_{n}","name":"Read","input":{{"file_path":"/src/{n}.rs","limit":100}}}}]}},"#
        );
    }
    agent.push_str(r#"{"role":"user","content":"go on"}]}"#);
    let noise: Vec<u8> = (0..786_432_u32).map(|n| (n * 37 % 251) as u8).collect();
    let image = format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{}"}}}}]}}]}}"#,
        base64::engine::general_purpose::STANDARD.encode(noise)
    );

    measure("1 KiB of English prose", &chat(&prose(ENGLISH, 1024)));
    measure("64 KiB of English prose", &chat(&english));
    measure("64 KiB of English, one line", &chat(&english.replace(['\n', '"'], " ")));
    let within = serde_json::Value::from(english.as_str()).to_string();
    measure("64 KiB, JSON within the string", &chat(&within));
    measure("64 KiB of German prose", &chat(&prose(GERMAN, 65_536)));
    measure("64 KiB, a finding every 40 words", &chat(&prose(&dense, 65_536)));
    measure("64 KiB of nothing but findings", &chat(&prose(&["anna.meier@example.org 4111 1111 1111 1111 "], 65_536)));
    measure("64 KiB of figures", &chat(&prose(&["17.5 200 31 4,120.00 "], 65_536)));
    measure("an agent's history, short strings", &agent);
    // Every string has a backslash that may be one or begin an escape, so all of it is read in both ways.
    measure("the same, read in both ways", &agent.replace("then go on", r"then\\ngo on"));
    measure("a 1 MiB image", &image);
}
