//! Every way in which an attempt can fail, and what follows: the next target, or the end.
//!
//! Each row has endpoints of its own, so that no row spoils the standing of another's.

use serde_json::{Value, json};

use crate::testkit::{
    Act, Authority, Config, DONE, Dns, Endpoint, Gate, Gateway, Hanging, Record, Refusing, Request, Step, Upstream,
    chat, chat_stream, event,
};

/// What is wrong with the first endpoint that can be reached.
enum Trouble {
    /// It answers like this.
    Answers(Act),
    /// Nothing listens there.
    Refuses,
    /// No way leads there: nobody can connect to an address that stands for a whole network.
    Unreachable,
    /// It takes no connection.
    Hangs,
    /// Nobody vouches for its certificate.
    Untrusted,
    /// Its name leads to an address outside its ranges.
    OutsideItsRanges,
    /// It has as many calls as it may.
    Full,
    /// It takes every connection and closes it before anything can be said.
    Slams,
    /// It answers like this under time limits of its own.
    Slow(Act, &'static str),
}

/// What follows.
#[derive(Clone, Copy)]
enum Then {
    /// The next target answers.
    Next,
    /// The caller gets this status, and nobody else is asked.
    Ends(u16),
}

struct Row {
    what: &'static str,
    trouble: Trouble,
    /// The outcome under which the record has it; several where the kernel decides between them.
    met: &'static [&'static str],
    then: Then,
}

fn row(what: &'static str, trouble: Trouble, met: &'static [&'static str], then: Then) -> Row {
    Row { what, trouble, met, then }
}

fn raw(text: &'static str, end: Step) -> Trouble {
    Trouble::Answers(Act::raw([Step::Send(text.into()), end]))
}

/// What can happen to any call.
fn rows_of_any_call() -> Vec<Row> {
    let status = |what, status, met| row(what, Trouble::Answers(Act::error(status)), met, Then::Next);
    let ends = |what, status, seen| row(what, Trouble::Answers(Act::error(status)), &["status_4xx"], Then::Ends(seen));
    let out_of_time = Trouble::Slow(Act::error(500).after(&Gate::closed()), "total_ms = 600");
    let silent = Trouble::Answers(Act::error(500).after(&Gate::closed()));
    let half_a_head = raw("HTTP/1.1 200 OK\r\ncontent-le", Step::Close);
    let no_http = raw("SSH-2.0-OpenSSH_9.2\r\n\r\n", Step::Close);
    vec![
        row("connection refused", Trouble::Refuses, &["refused"], Then::Next),
        row("address unreachable", Trouble::Unreachable, &["connect_failed"], Then::Next),
        row("no connection in time", Trouble::Hangs, &["timeout_connect"], Then::Next),
        row("certificate not trusted", Trouble::Untrusted, &["tls_failed"], Then::Next),
        row("no address within its ranges", Trouble::OutsideItsRanges, &["no_private_path"], Then::Next),
        row("at its in-flight bound", Trouble::Full, &[], Then::Next),
        row("connections closed at once", Trouble::Slams, &["not_sent", "broken_head"], Then::Next),
        row("whole call out of time", out_of_time, &["timeout_total"], Then::Ends(504)),
        row("no first byte in time", silent, &["timeout_first_byte"], Then::Next),
        row("closed before the head", Trouble::Answers(Act::raw([Step::Close])), &["broken_head"], Then::Next),
        row("reset before the head", Trouble::Answers(Act::raw([Step::Reset])), &["broken_head"], Then::Next),
        row("half a head", half_a_head, &["broken_head"], Then::Next),
        row("no HTTP", no_http, &["broken_head"], Then::Next),
        status("408", 408, &["status_408"]),
        status("429", 429, &["status_429"]),
        status("500", 500, &["status_5xx"]),
        status("502", 502, &["status_5xx"]),
        status("503", 503, &["status_503"]),
        status("504", 504, &["status_5xx"]),
        status("529", 529, &["status_529"]),
        ends("307", 307, 502),
        ends("400", 400, 400),
        ends("401", 401, 502),
        ends("403", 403, 502),
        ends("404", 404, 404),
        ends("413", 413, 413),
        ends("422", 422, 422),
    ]
}

/// What can happen to a whole answer only.
fn rows_of_a_whole_call() -> Vec<Row> {
    let mut cut =
        Act::bytes(200, "{\"choices\":").header("content-length", "1000").header("content-type", "application/json");
    let mut stalled = cut.clone();
    cut.steps.push(Step::Close);
    stalled.steps.push(Step::Wait(Gate::closed()));
    let falls_silent = Trouble::Slow(stalled.clone(), "idle_ms = 300");
    let out_of_time = Trouble::Slow(stalled, "total_ms = 600");
    let compressed = Act::reply(200, &json!({"choices": []})).header("content-encoding", "gzip");
    vec![
        row("a compressed answer", Trouble::Answers(compressed), &["broken_body"], Then::Next),
        row("half a body", Trouble::Answers(cut), &["broken_body"], Then::Next),
        row("half a body and silence", falls_silent, &["timeout_idle"], Then::Next),
        row("half a body out of time", out_of_time, &["timeout_total"], Then::Ends(504)),
    ]
}

/// What can happen to a stream only.
fn rows_of_a_stream() -> Vec<Row> {
    let first = |error: Value| Trouble::Answers(Act::stream([event(&json!({ "error": error })), DONE.to_owned()]));
    let silent = Act::steps([Step::Send(": processing\n\n".into()), Step::Wait(Gate::closed())]);
    let falls_silent = Trouble::Slow(silent.clone(), "idle_ms = 300");
    let out_of_time = Trouble::Slow(silent, "total_ms = 600");
    let server_error = first(json!({"type": "server_error", "code": 500}));
    let rate_limit = first(json!({"code": "rate_limit_exceeded"}));
    let invalid = first(json!({"type": "invalid_request_error", "code": 400}));
    let credential = first(json!({"type": "invalid_request_error", "code": "invalid_api_key"}));
    vec![
        row("no first event", Trouble::Answers(Act::steps([Step::Close])), &["broken_body"], Then::Next),
        row("a head, a comment and silence", falls_silent, &["timeout_idle"], Then::Next),
        row("a head, a comment and then out of time", out_of_time, &["timeout_total"], Then::Ends(504)),
        row("first event a server error", server_error, &["error_event"], Then::Next),
        row("first event a rate limit", rate_limit, &["error_event"], Then::Next),
        row("first event an invalid request", invalid, &["error_event"], Then::Ends(200)),
        row("first event a refused credential", credential, &["status_4xx"], Then::Ends(502)),
    ]
}

/// The troubled endpoints, for as long as they are needed.
struct Troubled {
    refusing: Refusing,
    hanging: Hanging,
    upstreams: Vec<Upstream>,
    /// Rows whose endpoint is to be full, each with its place in `upstreams`.
    full: Vec<(usize, usize)>,
    slamming: tokio::task::JoinSet<()>,
}

impl Troubled {
    async fn new() -> Self {
        let (refusing, hanging) = (Refusing::new(), Hanging::new().await);
        Self { refusing, hanging, upstreams: Vec::new(), full: Vec::new(), slamming: tokio::task::JoinSet::new() }
    }

    async fn upstream(&mut self, act: &Act) -> Endpoint {
        let upstream = Upstream::start("bad").await;
        upstream.script([act.clone()]);
        let endpoint = Endpoint::of(&upstream);
        self.upstreams.push(upstream);
        endpoint
    }

    async fn slams(&mut self) -> Endpoint {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("port 0 is always free");
        let address = listener.local_addr().expect("a listener has an address");
        self.slamming.spawn(async move { while listener.accept().await.is_ok() {} });
        Endpoint::at(address)
    }

    async fn endpoint(&mut self, number: usize, trouble: &Trouble) -> Endpoint {
        const LIMITS: &str = "timeouts = { connect_ms = 300, first_byte_ms = 1000 }";
        match trouble {
            Trouble::Refuses => Endpoint::at(self.refusing.address).with(LIMITS),
            // The broadcast address of the loopback network: the kernel says so at once, and nothing is sent.
            Trouble::Unreachable => Endpoint::at(([127, 255, 255, 255], 9).into()).with(LIMITS),
            Trouble::Hangs => Endpoint::at(self.hanging.address).with(LIMITS),
            Trouble::Untrusted => {
                let upstream = Upstream::secure("untrusted", &Authority::new()).await;
                let endpoint = Endpoint::of(&upstream);
                self.upstreams.push(upstream);
                endpoint.with(LIMITS)
            }
            Trouble::OutsideItsRanges => Endpoint::outside_its_ranges(),
            Trouble::Full => {
                self.full.push((number, self.upstreams.len()));
                let held = Act::error(500).after(&Gate::closed());
                self.upstream(&held).await.with("capacity = { in_flight = 1 }")
            }
            Trouble::Slams => self.slams().await,
            Trouble::Answers(act) => self.upstream(act).await.with(LIMITS),
            Trouble::Slow(act, limit) => self.upstream(act).await.with(&format!("timeouts = {{ {limit} }}")),
        }
    }

    /// Gives every endpoint that is to be full the one call that it may have.
    async fn fill(&self, gateway: &Gateway) -> tokio::task::JoinSet<()> {
        let mut calls = tokio::task::JoinSet::new();
        for (number, upstream) in &self.full {
            let (client, body) = (gateway.client(), chat(&format!("busy-{number}")));
            calls.spawn(async move { drop(client.try_send(Request::post("/v1/chat/completions", &body)).await) });
            self.upstreams[*upstream].request(0).await;
        }
        calls
    }
}

/// Runs each row: one model a row, its troubled endpoint in front of one that works. In a `later` attempt there is one
/// more before them, which refuses connections.
async fn run(rows: Vec<Row>, later: bool, body: fn(&str) -> Value) {
    let (good, dns) = (Upstream::start("good").await, Dns::start().await);
    let mut config = Config::new().resolving(&dns);
    let mut troubled = Troubled::new().await;
    for (number, Row { trouble, .. }) in rows.iter().enumerate() {
        let endpoint = troubled.endpoint(number, trouble).await;
        let (down, bad, working) = (format!("down-{number}/m"), format!("bad-{number}/m"), format!("good-{number}/m"));
        let targets: Vec<&str> = if later { vec![&down, &bad, &working] } else { vec![&bad, &working] };
        config = config
            .endpoint(&format!("down-{number}"), Endpoint::at(troubled.refusing.address))
            .endpoint(&format!("bad-{number}"), endpoint)
            .endpoint(&format!("good-{number}"), Endpoint::of(&good))
            .model(&format!("model-{number}"), &targets)
            .model(&format!("busy-{number}"), &[&bad]);
    }
    let gateway = Gateway::start(&config).await;
    let _held = troubled.fill(&gateway).await;

    for (number, row) in rows.iter().enumerate() {
        let answer = gateway.chat(&body(&format!("model-{number}"))).await;

        let (status, decision) = (answer.status, answer.decision());
        let text = answer.text().await;
        let what = row.what;
        match row.then {
            Then::Next => assert_eq!((status, text.contains("good")), (200, true), "{what}: {text}"),
            Then::Ends(seen) => assert_eq!((status, text.contains("good")), (seen, false), "{what}: {text}"),
        }
        compare(row, number, later, &gateway.audit().record(&decision).await);
    }
}

/// The targets that were tried, in order, and what each met.
fn compare(Row { what, trouble, met, then }: &Row, number: usize, later: bool, record: &Record) {
    let [down, bad, good] = ["down", "bad", "good"].map(|name| format!("{name}-{number}/m"));
    let mut expected: Vec<(&str, &[&str])> = Vec::new();
    if later {
        expected.push((&down, &["refused"]));
    }
    // One that serves as many as it may is behind the others in the plan, so it is not tried at all.
    if !matches!(trouble, Trouble::Full) {
        expected.push((&bad, met));
    }
    if matches!(then, Then::Next) {
        expected.push((&good, &["success"]));
    }

    let attempts = record.attempts();
    let mut tried: Vec<(&str, &str)> = attempts.iter().filter_map(|attempt| attempt.split_once(' ')).collect();
    // What was given back unsent goes to the same target once more, and whether a close is seen in time for that is the
    // kernel's affair.
    tried.dedup_by(|next, before| {
        let again = next.0 == before.0 && before.1 == "not_sent";
        if again {
            *before = *next;
        }
        again
    });
    let same = tried.len() == expected.len()
        && tried
            .iter()
            .zip(&expected)
            .all(|((target, outcome), (expected, met))| target == expected && met.contains(outcome));
    assert!(same, "{what}: tried {attempts:?}, expected {expected:?}");
}

fn whole() -> Vec<Row> {
    rows_of_any_call().into_iter().chain(rows_of_a_whole_call()).collect()
}

fn streamed() -> Vec<Row> {
    rows_of_any_call().into_iter().chain(rows_of_a_stream()).collect()
}

#[tokio::test]
async fn each_outcome_of_a_whole_call_at_the_first_attempt() {
    run(whole(), false, chat).await;
}

#[tokio::test]
async fn each_outcome_of_a_whole_call_at_a_later_attempt() {
    run(whole(), true, chat).await;
}

#[tokio::test]
async fn each_outcome_of_a_stream_at_the_first_attempt() {
    run(streamed(), false, chat_stream).await;
}

#[tokio::test]
async fn each_outcome_of_a_stream_at_a_later_attempt() {
    run(streamed(), true, chat_stream).await;
}
