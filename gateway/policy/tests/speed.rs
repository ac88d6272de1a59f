//! What a decision costs. Not a check: run by hand, in release.
//!
//! `cargo test -p policy --release --test speed -- --ignored --nocapture`

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use policy::{
    Asker, Candidate, Class, Countries, Data, Facts, Judge, Names, PolicyFile, Question, Reach, ReadOptions, Rules,
    SHIPPED, Strictness, TargetId, Zones, decide,
};

fn say(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    let (best, median, high) = (times[0], times[times.len() / 2], times[times.len() * 99 / 100]);
    let _ = writeln!(
        std::io::stderr(),
        "{what:<58} best {:>9.2} us  median {:>9.2} us  p99 {:>9.2} us",
        us(best),
        us(median),
        us(high)
    );
}

/// The shipped policies and as many more of their kind as make `count`.
fn texts(count: usize) -> String {
    let mut text: String = SHIPPED.iter().map(|file| file.text).collect();
    let shipped = text.matches("@id(").count();
    for number in shipped..count {
        let condition = match number % 4 {
            0 => format!(r#"context.labels.contains("label{number}")"#),
            1 => format!(r#"context.purpose == "purpose{number}""#),
            2 => format!(r#"context.findings.contains("kind{number}") && context.class >= 1"#),
            _ => format!(r#"principal in Team::"team{number}""#),
        };
        let unless = match number % 3 {
            0 => r#"Zone::"EEA".countries.containsAll(resource.processing)"#,
            1 => r#"Zone::"EEA".countries.containsAll(resource.at_rest) && !resource.training"#,
            _ => "resource.own_site || resource.retention_days <= 30",
        };
        text.push_str(&format!(
            "@id(\"more-{number}\") @owner(\"o\") @basis(\"b\")\nforbid (principal is App, action, resource is Target)\n\
             when {{ {condition} }} unless {{ {unless} }};\n"
        ));
    }
    text
}

fn rules(text: &str) -> Arc<Rules> {
    let names = Names::default();
    let options = ReadOptions { strictness: Strictness::Enforce, off: &BTreeMap::new(), names: &names };
    let (rules, _) = Rules::read(&[PolicyFile { name: "all.cedar", text }], &options).expect("they are valid");
    Arc::new(rules)
}

fn countries(codes: &[&str]) -> Countries {
    codes.iter().map(|code| code.parse().expect("a country")).collect()
}

fn targets(count: u32) -> Vec<Candidate> {
    let facts = Facts {
        processing: countries(&["SE"]),
        at_rest: countries(&["SE", "NL", "IE"]),
        access: countries(&["SE", "NL", "IE"]),
        operator: "US".parse().expect("a country"),
        operator_parent: "US".parse().expect("a country"),
        retention_days: 30,
        training: false,
        ..Facts::unknown()
    };
    let facts = Arc::new(facts);
    let target = |id| Candidate {
        reach: Reach::PrivateLink,
        facts: Arc::clone(&facts),
        ..Candidate::new(TargetId(id), format!("endpoint-{id}/model"))
    };
    (0..count).map(target).collect()
}

/// The same number of targets, no two of which are alike.
fn unlike(count: u32) -> Vec<Candidate> {
    let days = |index: usize| 30 - u32::try_from(index % 30).expect("a small number");
    let other = |(index, target): (usize, Candidate)| {
        let facts = Facts { retention_days: days(index), ..Facts::clone(&target.facts) };
        Candidate { facts: Arc::new(facts), ..target }
    };
    targets(count).into_iter().enumerate().map(other).collect()
}

fn zones() -> Zones {
    let eea = [
        "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IS", "IT", "LI",
        "LT", "LU", "LV", "MT", "NL", "NO", "PL", "PT", "RO", "SE", "SI", "SK",
    ];
    Zones::from([("EEA".to_owned(), countries(&eea).into())])
}

fn judge(rules: &Arc<Rules>, targets: &[Candidate]) -> Judge {
    let app = Asker { name: "claims".into(), team: "insurance".into(), purposes: Vec::new() };
    Judge::new(Arc::clone(rules), &zones(), &[app], targets).expect("the facts fit the schema")
}

/// One decision, timed; every target is permitted, so that all of the policies are gone through.
fn one(judge: &Judge, targets: &[Candidate], label: &Arc<str>) -> Duration {
    let labels: [Arc<str>; 2] = ["eu_personal".into(), Arc::clone(label)];
    let data = Data { labels: &labels, labelled: true, class: Class::Confidential, purpose: None };
    let question = Question { data, now: SystemTime::now(), ..Question::about("claims", "chat", targets) };
    let began = Instant::now();
    let permit = black_box(decide(judge, black_box(&question)));
    let took = began.elapsed();
    assert_eq!(permit.expect("every target is permitted").targets().len(), targets.len());
    took
}

#[test]
#[ignore = "a measurement: by hand, in release"]
fn what_a_decision_costs() {
    for (policies, count) in [(18, 10), (50, 1), (50, 10), (1_000, 10)] {
        let rules = rules(&texts(policies));
        let rounds = if policies > 100 { 100 } else { 500 };
        let other = unlike(count);
        let apart = judge(&rules, &other);
        let mut fresh: Vec<Duration> =
            (0..rounds).map(|round| one(&apart, &other, &format!("new-{round}").into())).collect();
        say(&format!("{policies} policies, {count} targets, all unlike, a new class"), &mut fresh);
        let targets = targets(count);
        let judge = judge(&rules, &targets);
        let known: Arc<str> = "known".into();
        one(&judge, &targets, &known);
        let mut cached: Vec<Duration> = (0..20_000).map(|_| one(&judge, &targets, &known)).collect();
        say(&format!("{policies} policies, {count} targets, a class seen before"), &mut cached);
        let mut fresh: Vec<Duration> =
            (0..rounds).map(|round| one(&judge, &targets, &format!("new-{round}").into())).collect();
        say(&format!("{policies} policies, {count} targets, a new class"), &mut fresh);
    }
}

#[test]
#[ignore = "a measurement: by hand, in release"]
fn what_loading_costs() {
    for policies in [18, 50, 1_000] {
        let (text, targets) = (texts(policies), targets(10));
        let mut times: Vec<Duration> = (0..10)
            .map(|_| {
                let began = Instant::now();
                let rules = rules(black_box(&text));
                black_box(judge(&rules, &targets));
                began.elapsed()
            })
            .collect();
        say(&format!("{policies} policies read, validated and made a judge"), &mut times);
    }
}
