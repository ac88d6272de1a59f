//! `causeway doctor` where nothing is wrong, and what it shows beyond a verdict.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::link::Condition;
use crate::lab::{Lab, Settings};

fn doctor(lab: &Lab, arguments: &[&str]) -> (i32, Value) {
    let configuration = lab.configure(&Settings::default());
    let path = configuration.to_string_lossy();
    let all = [&["doctor", "--json", "--config", &path], arguments].concat();
    let (code, said, errors) = lab.causeway(&all);
    (code, serde_json::from_str(&said).unwrap_or_else(|error| unreachable!("{error}: {said}{errors}")))
}

/// Texts of one field over a list.
fn each<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    list.as_array().into_iter().flatten().filter_map(|one| one[field].as_str()).collect()
}

/// Longest time of the doctor where nothing is wrong. It takes a fraction of the two seconds that it is meant to take, which
/// the run prints; a shared machine may be many times slower, and no wait for something that is silent fits in here
/// more than once.
const LONGEST: Duration = Duration::from_secs(10);

#[test]
fn a_healthy_endpoint_passes_every_step_without_a_running_gateway() {
    let Some(lab) = crate::build() else { return };
    let began = Instant::now();

    let (code, said) = doctor(&lab, &[]);

    let took = began.elapsed();
    crate::measured(&format!("doctor over two healthy endpoints, one of them private: {} ms", took.as_millis()));
    assert!(took <= LONGEST, "the doctor took {took:?}");
    let aoai = &said["endpoints"][0];
    assert_eq!((code, &aoai["name"], &aoai["verdict"]), (0, &"aoai".into(), &Value::Null), "{said:#}");
    assert_eq!(each(&aoai["steps"], "step"), ["resolve", "judge", "connect", "tls", "http"]);
    assert_eq!(aoai["warnings"], Value::Array(Vec::new()));
    assert_eq!(lab.service.posts(), 0, "it sends no content");
    assert_eq!(lab.strayed(None), (0, 0));
}

#[test]
fn a_trace_names_the_routers_on_the_way() {
    let Some(lab) = crate::build() else { return };

    let (_, said) = doctor(&lab, &["--trace", "aoai"]);

    let hops = each(&said["endpoints"][0]["trace"], "seen");
    assert_eq!(hops.len(), 2, "{hops:?}");
    assert!(hops[0].starts_with("172.16.0.2, "), "{hops:?}");
    assert!(hops[1].starts_with("the endpoint, connected"), "{hops:?}");
}

#[test]
fn the_other_names_of_the_resource_are_told_with_why_nobody_was_asked() {
    let Some(lab) = crate::build() else { return };

    let (_, said) = doctor(&lab, &["aoai"]);

    let names = &said["endpoints"][0]["names"];
    assert_eq!(each(names, "host"), ["contoso.cognitiveservices.azure.com", "contoso.services.ai.azure.com"]);
    assert_eq!(each(names, "not_asked").len(), 2, "the lab's resolver has one zone: {names}");
}

#[test]
fn it_waits_until_the_fault_is_gone() {
    let Some(lab) = crate::build() else { return };
    lab.link.set(Condition { cut: true, ..Condition::default() });
    let configuration = lab.configure(&Settings::default());
    let path = configuration.to_string_lossy().into_owned();
    let program = crate::lab::gateway::binary();
    let waiting = lab.premises.start(&program, &["doctor", "--wait", "120", "--config", &path, "aoai"]);
    let waiting = waiting.said("still wrong: aoai");

    lab.link.set(Condition::default());

    assert_eq!(waiting.ended(), 0);
}

#[test]
fn an_endpoint_that_does_not_exist_is_wrong_usage() {
    let Some(lab) = crate::build() else { return };
    let configuration = lab.configure(&Settings::default());

    let (code, _, errors) = lab.causeway(&["doctor", "--config", &configuration.to_string_lossy(), "aaoi"]);

    assert_eq!(code, 2);
    assert!(errors.contains("there is no endpoint `aaoi`; the configuration has `aoai`, `gpu`"), "{errors}");
}

#[test]
fn the_script_for_an_own_tenant_compares_what_the_doctor_says_with_the_book() {
    let Some(mut lab) = crate::build() else { return };
    let configuration = lab.configure(&Settings::default());
    let report = lab.folder().join("report.csv");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/verify-private-link");
    let say = |lab: &Lab, only: &str| {
        let causeway = format!("CAUSEWAY={}", crate::lab::gateway::binary());
        let (path, to) = (configuration.to_string_lossy(), report.to_string_lossy());
        let all = [&causeway, script, "--config", &path, "--endpoint", "aoai", "--report", &to, "--only", only];
        let (code, said, errors) = lab.premises.feed("env", &all, "\n");
        assert!(said.contains("seen:"), "{said}{errors}");
        (code, std::fs::read_to_string(&report).unwrap())
    };

    let in_order = say(&lab, "-");
    let other = "other 10 IN A 10.20.1.6";
    let views = crate::lab::usual_views(crate::lab::HUB_DNS).zone("privatelink.openai.azure.com", other);
    lab.say(crate::lab::HUB_DNS, &views);
    let missing = say(&lab, "DNS-02");
    let mistaken = say(&lab, "-");

    assert_eq!(in_order, (0, "expected,seen,what,result\n-,-,\"everything in order\",confirmed\n".to_owned()));
    assert_eq!(
        missing,
        (0, "expected,seen,what,result\nDNS-02,DNS-02,\"the record is missing\",confirmed\n".to_owned())
    );
    assert_eq!(mistaken.0, 1, "{}", mistaken.1);
}

#[test]
fn an_idle_cut_is_found_by_waiting_for_it_and_survived_by_probes() {
    let Some(lab) = crate::build() else { return };
    let probes = "transport = { keepalive = { idle_ms = 1000, interval_ms = 1000, count = 2 } }";
    let settings = Settings { lines: probes.to_owned(), ..Settings::default() };
    lab.link.set(Condition { forgets_after: Some(Duration::from_secs(6)), ..Condition::default() });
    let _gateway = lab.gateway(&settings);
    assert_eq!(lab.chat("private").status, 200);
    let before = lab.service.connections();

    // It takes sixteen seconds in which nothing else is asked of the gateway.
    let configuration = lab.folder().join("causeway.toml");
    let path = configuration.to_string_lossy();
    let (code, said, errors) = lab.causeway(&["doctor", "--json", "--idle", "16", "--config", &path, "aoai"]);
    let of_the_doctor = lab.service.connections() - before;
    let after = lab.chat("private");

    let said: Value = serde_json::from_str(&said).unwrap_or_else(|error| unreachable!("{error}: {said}{errors}"));
    let one = &said["endpoints"][0];
    assert_eq!((code, &one["warnings"][0]["code"]), (0, &"NET-08".into()), "{one:#}");
    let seen = each(&one["idle"], "seen");
    assert_eq!(seen[..2], ["still there", "still there"], "{seen:?}");
    assert!(seen[2..].iter().all(|seen| seen.starts_with("cut: ")), "{seen:?}");
    assert!(
        one["warnings"][0]["seen"].as_str().is_some_and(|seen| seen.ends_with("after 1 s, which keeps it")),
        "{one:#}"
    );
    assert_eq!(after.status, 200, "{after:?}");
    assert_eq!(
        lab.service.connections(),
        before + of_the_doctor,
        "the gateway's own connection lived through the silence"
    );
}
