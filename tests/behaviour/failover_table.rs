//! Every way in which an attempt can fail, and what follows: the next target, or the end.
//!
//! Each row has endpoints of its own, so that no row spoils the standing of another's.

use serde_json::{Value, json};

use crate::testkit::{
    Act, Authority, Config, DONE, Dns, Endpoint, Gate, Gateway, Hanging, Refusing, Request, Step, Upstream, chat,
    chat_stream, event,
};

/// What is wrong with the first endpoint that can be reached.
enum Trouble {
    /// It answers like this.
    Answers(Act),
    /// Nothing listens there.
    Refuses,
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
    then: Then,
}

fn row(what: &'static str, trouble: Trouble, then: Then) -> Row {
    Row { what, trouble, then }
}

fn raw(text: &'static str, end: Step) -> Trouble {
    Trouble::Answers(Act::raw([Step::Send(text.into()), end]))
}

/// What can happen to any call.
fn rows_of_any_call() -> Vec<Row> {
    let status = |what, status| row(what, Trouble::Answers(Act::error(status)), Then::Next);
    let ends = |what, status, seen| row(what, Trouble::Answers(Act::error(status)), Then::Ends(seen));
    vec![
        row("connection refused", Trouble::Refuses, Then::Next),
        row("no connection in time", Trouble::Hangs, Then::Next),
        row("certificate not trusted", Trouble::Untrusted, Then::Next),
        row("no address within its ranges", Trouble::OutsideItsRanges, Then::Next),
        row("at its in-flight bound", Trouble::Full, Then::Next),
        row("connections closed at once", Trouble::Slams, Then::Next),
        row(
            "whole call out of time",
            Trouble::Slow(Act::error(500).after(&Gate::closed()), "total_ms = 600"),
            Then::Ends(504),
        ),
        row("no first byte in time", Trouble::Answers(Act::error(500).after(&Gate::closed())), Then::Next),
        row("closed before the head", Trouble::Answers(Act::raw([Step::Close])), Then::Next),
        row("reset before the head", Trouble::Answers(Act::raw([Step::Reset])), Then::Next),
        row("half a head", raw("HTTP/1.1 200 OK\r\ncontent-le", Step::Close), Then::Next),
        row("no HTTP", raw("SSH-2.0-OpenSSH_9.2\r\n\r\n", Step::Close), Then::Next),
        status("408", 408),
        status("429", 429),
        status("500", 500),
        status("502", 502),
        status("503", 503),
        status("504", 504),
        status("529", 529),
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
    let compressed = Act::reply(200, &json!({"choices": []})).header("content-encoding", "gzip");
    vec![
        row("a compressed answer", Trouble::Answers(compressed), Then::Next),
        row("half a body", Trouble::Answers(cut), Then::Next),
        row("half a body and silence", Trouble::Slow(stalled.clone(), "idle_ms = 300"), Then::Next),
        row("half a body out of time", Trouble::Slow(stalled, "total_ms = 600"), Then::Ends(504)),
    ]
}

/// What can happen to a stream only.
fn rows_of_a_stream() -> Vec<Row> {
    let first = |error: Value| Trouble::Answers(Act::stream([event(&json!({ "error": error })), DONE.to_owned()]));
    let silent = Act::steps([Step::Send(": processing\n\n".into()), Step::Wait(Gate::closed())]);
    vec![
        row("no first event", Trouble::Answers(Act::steps([Step::Close])), Then::Next),
        row("a head, a comment and silence", Trouble::Slow(silent.clone(), "idle_ms = 300"), Then::Next),
        row("a head, a comment and then out of time", Trouble::Slow(silent, "total_ms = 600"), Then::Ends(504)),
        row("first event a server error", first(json!({"type": "server_error", "code": 500})), Then::Next),
        row("first event a rate limit", first(json!({"code": "rate_limit_exceeded"})), Then::Next),
        row(
            "first event an invalid request",
            first(json!({"type": "invalid_request_error", "code": 400})),
            Then::Ends(200),
        ),
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

    for (number, Row { what, trouble, then }) in rows.iter().enumerate() {
        let answer = gateway.chat(&body(&format!("model-{number}"))).await;

        let (status, decision) = (answer.status, answer.decision());
        let text = answer.text().await;
        let mut tried = gateway.audit().record(&decision).await.tried();
        // What was given back unsent goes to the same target once more, and whether a close is seen in time for that
        // is the kernel's affair.
        tried.dedup();
        // One that serves as many as it may is behind the others in the plan, so it is not tried at all.
        let mut expected = match trouble {
            Trouble::Full => Vec::new(),
            _ => vec![format!("bad-{number}/m")],
        };
        if later {
            expected.insert(0, format!("down-{number}/m"));
        }
        match then {
            Then::Next => {
                expected.push(format!("good-{number}/m"));
                assert_eq!((status, text.contains("good")), (200, true), "{what}: {text}");
            }
            Then::Ends(seen) => assert_eq!((status, text.contains("good")), (*seen, false), "{what}: {text}"),
        }
        assert_eq!(tried, expected, "{what}");
    }
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
