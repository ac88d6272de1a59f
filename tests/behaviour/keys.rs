//! Keys of one app: what each may ask for, how often, until when, and how one takes the place of another.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::testkit::{Config, Endpoint, Gateway, Request, Upstream, chat, digest_of, until};

const PATH: &str = "/v1/chat/completions";
const FIRST: &str = "cw_key_that_the_app_began_with";
const SECOND: &str = "cw_key_that_takes_its_place";

/// The app `several` with its first key, and these sections.
fn world(upstream: &Upstream, sections: &str) -> Config {
    Config::new()
        .endpoint("only", Endpoint::of(upstream))
        .model("assistant", &["only/served-model"])
        .model("other", &["only/other-model"])
        .app("several", FIRST, &["assistant", "other"], "limits = { requests_per_minute = 100_000 }")
        .section(sections)
}

fn key(name: &str, key: &str, lines: &str) -> String {
    format!("[key.{name}]\napp = \"several\"\ndigest = \"{}\"\n{lines}\n", digest_of(key))
}

async fn ask(gateway: &Gateway, key: &str, model: &str) -> u16 {
    let answer = gateway.send(Request::post(PATH, &chat(model)).key(key)).await;
    let status = answer.status;
    answer.text().await;
    status
}

#[tokio::test]
async fn a_key_with_models_of_its_own_may_ask_for_those_and_learns_of_no_other() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&world(&upstream, &key("narrow", SECOND, "models = [\"assistant\"]"))).await;

    let listed = gateway.send(Request::get("/v1/models").key(SECOND)).await.json().await;

    assert_eq!(ask(&gateway, SECOND, "assistant").await, 200);
    assert_eq!((ask(&gateway, SECOND, "other").await, ask(&gateway, FIRST, "other").await), (404, 200));
    let names: Vec<&Value> = listed["data"].as_array().expect("a list").iter().map(|model| &model["id"]).collect();
    assert_eq!(names, ["assistant"]);
    assert_eq!(upstream.requests().len(), 2);
}

#[tokio::test]
async fn a_key_s_own_rates_lie_within_its_app_s_and_the_headers_tell_the_tighter_one() {
    let upstream = Upstream::start("only").await;
    let sections = key("slow", SECOND, "limits = { requests_per_minute = 2 }");
    let gateway = Gateway::start(&world(&upstream, &sections)).await;

    let of_the_app = gateway.send(Request::post(PATH, &chat("assistant")).key(FIRST)).await;
    let of_the_key = gateway.send(Request::post(PATH, &chat("assistant")).key(SECOND)).await;
    let statuses = [ask(&gateway, SECOND, "assistant").await, ask(&gateway, SECOND, "assistant").await];

    assert_eq!(of_the_app.header("x-ratelimit-limit-requests"), Some("100000"));
    assert_eq!(of_the_key.header("x-ratelimit-limit-requests"), Some("2"));
    assert_eq!(of_the_key.header("x-ratelimit-remaining-requests"), Some("1"));
    assert!(of_the_key.header("x-ratelimit-reset-requests").is_some_and(|reset| reset.ends_with('s')));
    assert_eq!(statuses, [200, 429]);
    assert_eq!(ask(&gateway, FIRST, "assistant").await, 200, "the app has more");
}

#[tokio::test]
async fn a_key_is_refused_from_its_end_on_and_nothing_needs_to_be_loaded_for_that() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&world(&upstream, "")).await;
    // Once the gateway runs, so that a slow start does not outlive it; waited for, since nothing else ends it.
    let end = time_of(SystemTime::now() + Duration::from_secs(4));
    gateway.configure(&world(&upstream, &key("short", SECOND, &format!("expires = {end}"))));
    gateway.signal("HUP");

    let counts = async || ask(&gateway, SECOND, "assistant").await == 200;
    let is_over = || time_of(SystemTime::now()) >= end;
    until("the key to count", async || (counts().await || is_over()).then_some(())).await;
    until("the key to end", async || (ask(&gateway, SECOND, "assistant").await == 401).then_some(())).await;

    assert!(time_of(SystemTime::now()) >= end, "it was refused before its end");
    assert_eq!(ask(&gateway, FIRST, "assistant").await, 200);
}

/// As TOML writes it, to the second; texts of two moments are in the order of the moments.
fn time_of(at: SystemTime) -> String {
    let date = httpdate::HttpDate::from(at).to_string();
    let parts: Vec<&str> = date.split(' ').collect();
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|month| *month == parts[2]).expect("a month") + 1;
    format!("{}-{month:02}-{}T{}Z", parts[3], parts[1], parts[4])
}

#[tokio::test]
async fn a_key_is_replaced_with_an_overlap_and_no_request_is_refused_meanwhile() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&world(&upstream, "")).await;
    assert_eq!((ask(&gateway, FIRST, "assistant").await, ask(&gateway, SECOND, "assistant").await), (200, 401));

    gateway.configure(&world(&upstream, &key("next", SECOND, "")));
    gateway.signal("HUP");
    until("the second key", async || (ask(&gateway, SECOND, "assistant").await == 200).then_some(())).await;
    assert_eq!(ask(&gateway, FIRST, "assistant").await, 200, "both count");

    let without = gateway.configuration_text().replace(&format!("keys = [\"{}\"]", digest_of(FIRST)), "keys = []");
    gateway.configure_text(&without);
    gateway.signal("HUP");
    until("the first key to be gone", async || (ask(&gateway, FIRST, "assistant").await == 401).then_some(())).await;

    assert_eq!(ask(&gateway, SECOND, "assistant").await, 200);
}

#[tokio::test]
async fn a_rate_by_the_second_lets_so_many_through_and_one_more_each_second() {
    for setting in ["requests_per_second", "user_requests_per_second"] {
        let upstream = Upstream::start("only").await;
        let limits = format!("limits = {{ {setting} = 1 }}");
        let gateway = Gateway::start(&world(&upstream, &key("second", SECOND, &limits))).await;

        let begun = std::time::Instant::now();
        let asked: Vec<_> = (0..40)
            .map(|_| {
                let client = gateway.client();
                let mut body = chat("assistant");
                body["user"] = "erika".into();
                tokio::spawn(async move { client.send(Request::post(PATH, &body).key(SECOND)).await })
            })
            .collect();
        let mut let_in = 0;
        for one in asked {
            let answer = one.await.expect("no panic");
            match answer.status {
                200 => let_in += 1,
                status => {
                    // A second, or a little more, which is told as two: of two threads one may look at the clock first and ask last.
                    let after = answer.header("retry-after");
                    assert!(status == 429 && matches!(after, Some("1" | "2")), "{setting}: {status} {after:?}");
                    assert_eq!(answer.header("x-ratelimit-limit-requests"), Some("1"), "{setting}");
                    assert_eq!(answer.code().await, "rate_limit_exceeded");
                }
            }
        }

        // What comes back is counted from before the first to after the last, so that a busy machine changes nothing.
        let most = 1 + begun.elapsed().as_secs() + 1;
        assert!((1..=most).contains(&let_in), "{setting}: {let_in} were let in, and at most {most} may be");
        assert!(let_in < 40, "{setting}: forty came within {:?}", begun.elapsed());
    }
}
