//! Every fault of the catalogue that can be made here: what becomes of a request, what passes on the wire, what
//! `causeway doctor` says, and that it needs no restart to be used again.
//!
//! The page of the book that lists them is written from this run: `CAUSEWAY_RENEW=1` writes it, and without that the run
//! fails where the page says something else.

mod table;

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use crate::lab::gateway::Answer;
use crate::lab::{Lab, until};

use self::table::Fault;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/src/reference/private-link-faults.md");

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It is refused with the verdict's code, or goes on to the next target.
    Refused,
    /// It is answered: the fault is something to be told, not to stop for.
    Works,
}

#[test]
fn faults_of_names_are_refused_named_and_survived() {
    survive("names", table::NAMES);
}

#[test]
fn faults_of_the_way_are_refused_named_and_survived() {
    survive("way", table::WAY);
}

#[test]
fn faults_of_the_service_are_refused_named_and_survived() {
    survive("service", table::SERVICE);
}

fn survive(section: &str, faults: &[Fault]) {
    let Some(mut lab) = crate::build() else { return };
    let (mut wrong, mut rows) = (Vec::new(), String::new());
    for fault in faults {
        let (seen, met) = meet(&mut lab, fault);
        wrong.extend(met.into_iter().map(|wrong| format!("{} ({}): {wrong}", fault.what, fault.code)));
        let outcome = match fault.outcome {
            Outcome::Refused => format!("refused{}, or the next target", fault.met_as_told()),
            Outcome::Works => "answered".to_owned(),
        };
        writeln!(rows, "| {} | `{}` | {} | {outcome} |", fault.what, fault.code, seen.replace('|', "\\|"))
            .expect("writing into a String cannot fail");
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    the_page_says(section, &rows);
}

/// Breaks one thing, looks at everything, and mends it; gives the doctor's sentence, and what was not as it must be.
fn meet(lab: &mut Lab, fault: &Fault) -> (String, Vec<String>) {
    let mut wrong = Vec::new();
    let others = lab.other.posts();
    (fault.inject)(lab);
    lab.forget();
    let mut gateway = lab.gateway(&(fault.settings)());

    let private = lab.chat("private");
    let either = lab.chat("either");
    let seen = diagnose(lab, fault, &mut wrong);
    let (bytes, packets) = lab.strayed(fault.named);

    match fault.outcome {
        Outcome::Refused => {
            wrong.extend(refusal_wrong(&private, fault));
            if either.header("x-causeway-endpoint") != Some("gpu") || either.status != 200 {
                wrong.push(format!("the next target does not answer: {either:?}"));
            }
        }
        Outcome::Works if private.status != 200 => wrong.push(format!("it is not answered: {private:?}")),
        Outcome::Works => {}
    }
    if (bytes, packets) != (0, 0) {
        wrong.push(format!("{bytes} bytes in {packets} packets of TCP went to foreign addresses"));
    }
    if (lab.public.connections(), lab.somebody.connections(), lab.other.posts()) != (0, 0, others) {
        wrong.push("somebody else was reached".to_owned());
    }
    lab.heal(fault.servers);
    let healed = format!("recovery without a restart from: {}", fault.what);
    until(&healed, || (lab.chat("private").status == 200).then_some(()));
    gateway.kill(&lab.premises);
    (seen, wrong)
}

/// The caller is told that no private path was found, and by which code.
fn refusal_wrong(answer: &Answer, fault: &Fault) -> Option<String> {
    let codes = if fault.met_as.is_empty() { std::slice::from_ref(&fault.code) } else { fault.met_as };
    let named = codes.iter().any(|code| answer.body.contains(&format!("failed by {code}")));
    let refused = answer.status == 503 && answer.code() == "no_private_path" && named;
    (!refused).then(|| format!("the request is not refused by {codes:?}: {answer:?}"))
}

/// What the doctor says of the endpoint: the sentence of the fault's code.
fn diagnose(lab: &Lab, fault: &Fault, wrong: &mut Vec<String>) -> String {
    let configuration = lab.folder().join("causeway.toml");
    let path = configuration.to_string_lossy();
    let (code, said, errors) = lab.causeway(&["doctor", "--json", "--config", &path, "aoai"]);
    let said: Value = serde_json::from_str(&said).unwrap_or_default();
    let one = &said["endpoints"][0];
    let (expected, findings) = match fault.outcome {
        Outcome::Refused => (1, vec![one["verdict"].clone()]),
        Outcome::Works => (0, one["warnings"].as_array().cloned().unwrap_or_default()),
    };
    if code != expected {
        wrong.push(format!("the doctor leaves with {code}, not {expected}: {errors}"));
    }
    let Some(found) = findings.iter().find(|finding| finding["code"] == fault.code) else {
        wrong.push(format!("the doctor says {findings:?} {} {errors}", one["steps"]));
        return String::new();
    };
    without_times(found["seen"].as_str().unwrap_or_default())
}

/// The sentence without what differs from run to run: how long something took, and what time it was.
fn without_times(sentence: &str) -> String {
    let words: Vec<&str> = sentence.split(' ').collect();
    let is_time = |at: usize| {
        let number = words[at].trim_start_matches('(').bytes().all(|byte| byte.is_ascii_digit());
        let unit = words.get(at + 1).map(|unit| unit.trim_matches([';', ',']));
        number && matches!(unit, Some("ms" | "s" | "seconds" | "(UNIX)"))
    };
    let told = (0..words.len()).map(|at| match is_time(at) {
        true if words[at].starts_with('(') => "(…",
        true => "…",
        false => words[at],
    });
    told.collect::<Vec<_>>().join(" ")
}

/// Compares a section of the page with this run, or writes it.
fn the_page_says(section: &str, rows: &str) {
    let (begin, end) = (format!("<!-- {section} -->\n"), format!("<!-- end of {section} -->"));
    let page = std::fs::read_to_string(Path::new(PAGE)).expect("the page lies in the book");
    let (before, rest) = page.split_once(&begin).expect("the page has a place for the section");
    let (written, after) = rest.split_once(&end).expect("the section has an end");
    let head = "\n| what was broken | code | what the doctor saw | a request |\n|---|---|---|---|\n";
    let text = format!("{head}{rows}\n");
    if std::env::var_os("CAUSEWAY_RENEW").is_some() {
        std::fs::write(PAGE, format!("{before}{begin}{text}{end}{after}")).expect("the page can be written");
        return;
    }
    assert!(written == text, "{PAGE} is old; its second line says how to renew it. This run says:\n{text}");
}
