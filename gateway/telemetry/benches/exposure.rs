//! How long it takes to say who was touched, in a log of ten million entries.
//!
//! `cargo bench -p telemetry --bench exposure [-- ENTRIES]` writes such a log below the system's temporary folder (9 GB), asks it three
//! questions, prints the seconds of each, and removes it. The figure to hold is 60 s.

#![expect(clippy::print_stdout, reason = "a measurement is printed")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use telemetry::audit::read::{Question, exposure};

const ENTRIES: u64 = 10_000_000;
/// Entries of a file.
const BUNDLE: u64 = 256;
/// Requests that are in flight at once: an outcome comes so many entries after its intent.
const BETWEEN: u64 = 64;

fn main() {
    let asked = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let entries: u64 = asked.unwrap_or(ENTRIES);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let began = Instant::now();
    let bytes = write(folder.path(), entries);
    println!("{entries} entries, {} MB, written in {:.1} s", bytes / 1_000_000, began.elapsed().as_secs_f64());
    let endpoint = Some(BTreeSet::from(["aoai-sweden".to_owned()]));
    for (what, question) in [
        ("everything", Question::default()),
        ("one endpoint of three", Question { endpoints: endpoint.clone(), ..Question::default() }),
        (
            "one endpoint in the last tenth",
            Question { endpoints: endpoint, since: Some(at(entries / 10 * 9)), ..Question::default() },
        ),
    ] {
        let began = Instant::now();
        let found = exposure(folder.path(), &question).expect("the log can be read");
        println!("{what}: {} requests in {:.1} s", found.requests(), began.elapsed().as_secs_f64());
        assert_eq!(found.entries, entries);
    }
}

/// Writes the log of a gateway as tiles lie on disk, and gives its size.
fn write(folder: &Path, entries: u64) -> u64 {
    let epoch = folder.join("gw-1/0000000001/tile/entries");
    let mut bytes = 0;
    for bundle in 0..entries.div_ceil(BUNDLE) {
        let mut content = Vec::with_capacity(256 * 1024);
        for index in bundle * BUNDLE..((bundle + 1) * BUNDLE).min(entries) {
            let entry = entry(index);
            let length = u16::try_from(entry.len()).expect("an entry has a kilobyte");
            content.extend_from_slice(&length.to_be_bytes());
            content.extend_from_slice(entry.as_bytes());
        }
        let path = epoch.join(numbered(bundle));
        fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("folders can be made");
        let mut file = fs::File::create(path).expect("files can be made");
        file.write_all(&content).expect("there is room on the disk");
        bytes += content.len() as u64;
    }
    bytes
}

/// Intents and outcomes by turns, in the form and size of real ones.
fn entry(index: u64) -> String {
    let (pair, is_outcome) = (index / 2, index % 2 == 1);
    if is_outcome && pair >= BETWEEN / 2 {
        return outcome(pair - BETWEEN / 2, index);
    }
    if is_outcome {
        // The first outcomes have no intent, as in a log whose beginning was retired.
        return outcome(u64::MAX - pair, index);
    }
    intent(pair, index)
}

fn at(index: u64) -> String {
    let second = index / 2_000;
    format!(
        "2026-11-{:02}T{:02}:{:02}:{:02}.{:06}Z",
        1 + second / 86_400 % 30,
        second / 3_600 % 24,
        second / 60 % 60,
        second % 60,
        index % 2_000 * 500
    )
}

const TARGETS: [&str; 3] = ["gpu-01", "aoai-sweden", "aoai-france"];

fn intent(number: u64, index: u64) -> String {
    let (app, user) = (number % 40, number % 5_000);
    format!(
        concat!(
            r#"{{"kind":"intent","decision":"cwd_{:032x}","at":"{}","app":"app-{}","team":"team-{}","key":"app-{}-1","#,
            r#""user":"u_{:032x}","model":"chat-large","api":"chat","stream":true,"peer":"192.168.1.9","#,
            r#""policy":"63e6b9b5bf5e5f0c4d2a3d3f2e8dbb0b25d2a1f6d2e30c1a7e9f0a4b5c6d7e8f","#,
            r#""configuration":"0d2a3d3f2e8dbb0b25d2a1f6d2e30c1a7e9f0a4b5c6d7e8f63e6b9b5bf5e5f0c","#,
            r#""candidates":[{{"target":"gpu-01/llama-3.3-70b","verdict":"in","why":"permit-local"}},"#,
            r#"{{"target":"aoai-sweden/gpt-4o","verdict":"in","why":"permit-eu"}},"#,
            r#"{{"target":"aoai-france/gpt-4o","verdict":"in","why":"permit-eu"}}],"#,
            r#""plan":["gpu-01/llama-3.3-70b","aoai-sweden/gpt-4o","aoai-france/gpt-4o"],"reason":"the cheapest that is in time","#,
            r#""estimate":{{"input":1200,"output":800,"nano_usd":21000000}},"prices":"2026-11-01 9f3c","#,
            r#""data":{{"labels":["eu_personal"],"class":"confidential"}},"findings":[{{"kind":"email","count":2}}]}}"#,
            "\n"
        ),
        number,
        at(index),
        app,
        app % 7,
        app,
        user,
    )
}

fn outcome(number: u64, index: u64) -> String {
    let endpoint = TARGETS[(number % 3) as usize];
    format!(
        concat!(
            r#"{{"kind":"outcome","decision":"cwd_{:032x}","at":"{}","status":200,"end":"complete","#,
            r#""attempts":[{{"target":"{}/gpt-4o","endpoint":"{}","outcome":"success","status":200,"address":"10.20.1.4:443","#,
            r#""evidence":"address","path":{{"resolver":"hub","chain":["contoso.openai.azure.com","contoso.privatelink.openai.azure.com"],"#,
            r#""source":"10.10.0.9:51234","certificate_sha256":"25d2a1f6d2e30c1a7e9f0a4b5c6d7e8f63e6b9b5bf5e5f0c0d2a3d3f2e8dbb0b"}},"#,
            r#""took_ms":1812.402,"usage":{{"input":1180,"output":512}},"may_have_executed":true}}],"#,
            r#""usage":{{"input":1180,"output":512}},"settled_by":"reported","nano_usd":14870000,"priced":true,"#,
            r#""to_first_byte_ms":402.118,"total_ms":1815.001}}"#,
            "\n"
        ),
        number,
        at(index),
        endpoint,
        endpoint,
    )
}

/// 1234067 is `x001/x234/067`.
fn numbered(number: u64) -> PathBuf {
    let last = format!("{:03}", number % 1_000);
    let (thousands, millions) = (number / 1_000 % 1_000, number / 1_000_000);
    match (millions, thousands) {
        (0, 0) => last.into(),
        (0, _) => [format!("x{thousands:03}"), last].iter().collect(),
        _ => [format!("x{millions:03}"), format!("x{thousands:03}"), last].iter().collect(),
    }
}
