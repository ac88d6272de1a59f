//! A caller that leaves, at every point at which its request waits.
//!
//! A future can be dropped only where it waited, so each case is run again and again: the first time what answers is dropped before
//! it begins, then where it waits first, then where it waits second, until it comes to its end undisturbed. Each time everything
//! must be as if nobody had left, but for what an upstream may have been paid for.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Instant;

use accounting::Money;
use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame};
use ingress::auth::AppIndex;
use ingress::listen::{Handler, Incoming};
use ledger::{Shared, Whose};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::yield_now;
use wire::Dialect;

use super::{IS_READ_TO_ITS_END, World, all, openai, served};
use crate::gateway::Gateway;
use crate::pipeline::{ReplyBody, handle};

/// Everything that can be held is held by a request, and there is room for one: what is leaked is missed by the next.
fn narrow(text: &str) -> String {
    let cost = "cost = { per_token = { input_usd_per_million = 1000, output_usd_per_million = 1000 } }\n\
                capacity = { in_flight = 1 }\nplace = ";
    let limits = "[app.a]\nlimits = { in_flight = 1, requests_per_minute = 1000, requests_per_second = 1000, \
                  user_requests_per_minute = 1000, user_requests_per_second = 1000, tokens_per_minute = 1000000, \
                  usd_per_month = 1000 }";
    let model = |name: &str| {
        format!("[model.{name}]\nlimits = {{ in_flight = 1, requests_per_minute = 1000, tokens_per_minute = 1000 }}")
    };
    let text = text.replace("place = ", cost).replace("[app.a]", limits);
    let text = text.replace("[model.m]", &model("m")).replace("[model.both]", &model("both"));
    text.replace("[listen]", "[budget.all]\nusd = 1000\n[budget.each]\neach_user = true\nusd = 1000\n[listen]")
}

/// How an upstream meets a request that it has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meets {
    /// With a whole answer.
    Whole,
    /// With a stream.
    Stream,
    /// With a stream that breaks off.
    BrokenStream,
    /// It closes the connection, and may have done what was asked.
    Silence,
    /// It turns the request away.
    Busy,
}

/// What each case is: the model that is asked for, and how the two upstreams meet what comes to them.
struct Case {
    model: &'static str,
    stream: bool,
    dialect: &'static dyn Dialect,
    meets: [Meets; 2],
    /// Another process has the state folder, so that limits and budgets are leased.
    is_beside: bool,
}

/// In pieces, so that whoever reads waits between them.
async fn slowly(stream: &mut TcpStream, pieces: &[&str]) {
    for piece in pieces {
        for _ in 0..4 {
            yield_now().await;
        }
        if stream.write_all(piece.as_bytes()).await.is_err() {
            return;
        }
    }
}

const WHOLE: &str = r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#;
const EVENTS: [&str; 4] = [
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n",
];

/// What upstreams have seen.
#[derive(Default)]
struct Seen {
    /// Requests that may have been carried out.
    carried_out: AtomicUsize,
    /// Connections that stand.
    open: AtomicUsize,
}

impl Seen {
    /// How many requests may have been carried out, when all that the gateway has begun has come to its end.
    async fn at_last(&self) -> usize {
        for _ in 0..50 {
            yield_now().await;
        }
        while self.open.load(Ordering::SeqCst) > 0 {
            yield_now().await;
        }
        self.carried_out.load(Ordering::SeqCst)
    }
}

/// Plays an upstream.
fn play(listener: TcpListener, meets: Meets, seen: &Arc<Seen>) {
    let seen = Arc::clone(seen);
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            seen.open.fetch_add(1, Ordering::SeqCst);
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                meet(stream, meets, &seen.carried_out).await;
                seen.open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
}

async fn meet(mut stream: TcpStream, meets: Meets, counted: &AtomicUsize) {
    let (mut text, mut piece) = (String::new(), [0; 4096]);
    while !text.contains("\"max_tokens\":9") {
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(count) => text.push_str(&String::from_utf8_lossy(&piece[..count])),
        }
    }
    if meets != Meets::Busy {
        counted.fetch_add(1, Ordering::SeqCst);
    }
    let head = |status: &str, body: &str| {
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    match meets {
        Meets::Whole => {
            let (first, second) = WHOLE.split_at(20);
            slowly(&mut stream, &[&head("200 OK", WHOLE), first, second]).await;
        }
        Meets::Stream => slowly(&mut stream, &EVENTS).await,
        Meets::BrokenStream => slowly(&mut stream, &EVENTS[..2]).await,
        Meets::Silence => slowly(&mut stream, &[""; 4]).await,
        Meets::Busy => slowly(&mut stream, &[&head("503 Busy", "{}"), "{}"]).await,
    }
    let _ = stream.shutdown().await;
    // Until the gateway has closed as well.
    while stream.read(&mut piece).await.is_ok_and(|count| count > 0) {}
}

/// After how many waits the caller leaves.
#[derive(Clone)]
struct Leaves {
    waits: Arc<AtomicUsize>,
    after: usize,
    has_left: Arc<AtomicBool>,
}

impl Leaves {
    fn after(waits: usize) -> Self {
        Self { waits: Arc::default(), after: waits, has_left: Arc::default() }
    }

    /// One wait more, or before the first; whether it is the last.
    fn is_over(&self, more: usize) -> bool {
        let is_over = self.waits.fetch_add(more, Ordering::SeqCst) + more >= self.after;
        self.has_left.fetch_or(is_over, Ordering::SeqCst);
        is_over
    }
}

/// The pipeline, for a caller that leaves.
struct Cut(Arc<Gateway>, Leaves);

/// An answer, for a caller that leaves; nothing once it has left.
struct CutBody(Option<ReplyBody>, Leaves);

impl Handler for Cut {
    type Body = CutBody;

    async fn handle(self: Arc<Self>, incoming: Incoming) -> Response<CutBody> {
        let leaves = self.1.clone();
        let mut answers = Some(Box::pin(handle(Arc::clone(&self.0), incoming)));
        let answer = std::future::poll_fn(|context| {
            if leaves.is_over(0) {
                answers = None;
            }
            let Some(answer) = &mut answers else { return Poll::Ready(None) };
            match answer.as_mut().poll(context) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                Poll::Pending if leaves.is_over(1) => {
                    answers = None;
                    Poll::Ready(None)
                }
                Poll::Pending => Poll::Pending,
            }
        });
        match answer.await {
            Some(answer) => answer.map(|body| CutBody(Some(body), leaves)),
            None => Response::new(CutBody(None, leaves)),
        }
    }
}

impl Body for CutBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        if polled.is_pending() && self.1.is_over(1) {
            self.0 = None;
            return Poll::Ready(None);
        }
        polled
    }
}

/// A request of a user, whose body comes behind its head.
async fn ask<H: Handler>(handler: H, model: &str, stream: bool) -> String {
    let mut caller = served(handler);
    let body = format!(r#"{{"model":"{model}","messages":[],"user":"erika","stream":{stream},"max_tokens":9}}"#);
    let head = "host: gateway\r\nauthorization: Bearer cw_key\r\nconnection: close";
    let head = format!("POST /v1/chat/completions HTTP/1.1\r\n{head}\r\ncontent-length: {}\r\n\r\n", body.len());
    for piece in [head.as_str(), body.as_str()] {
        // Where the caller is said to have left already, nobody reads on.
        let _ = caller.write_all(piece.as_bytes()).await;
        for _ in 0..8 {
            yield_now().await;
        }
    }
    all(caller).await
}

/// Everything that the audit log holds of requests, by their decisions: intents, and outcomes of each.
fn records(world: &World) -> BTreeMap<String, (usize, Vec<Value>)> {
    let of = Mutex::new(BTreeMap::<String, (usize, Vec<Value>)>::new());
    let logs = world.gateway.audit.folder().ancestors().nth(2).unwrap();
    let read = telemetry::audit::read::scan(
        logs,
        |_| true,
        |_, entry| {
            let entry: Value = serde_json::from_slice(entry).unwrap();
            let mut of = of.lock().unwrap();
            let (Some(kind), Some(decision)) = (entry["kind"].as_str(), entry["decision"].as_str()) else {
                return Ok(());
            };
            let (intents, outcomes) = of.entry(decision.to_owned()).or_default();
            match kind {
                "intent" => *intents += 1,
                "outcome" => outcomes.push(entry["outcome"].clone()),
                _ => {}
            }
            Ok(())
        },
    );
    read.unwrap();
    of.into_inner().unwrap()
}

/// Nothing is held any more, all that was begun is settled once, and nothing at zero that an upstream may have carried out.
async fn all_is_settled(world: &World, carried_out: usize, what: &str) {
    let gateway = &world.gateway;
    while gateway.audit.status().open > 0 {
        yield_now().await;
    }
    gateway.audit.flush().unwrap();
    gateway.ledger.carry_over().unwrap();

    let mut charged = 0;
    let mut paying = 0;
    let records = records(world);
    for (decision, (intents, outcomes)) in &records {
        assert_eq!((*intents, outcomes.len()), (1, 1), "{what}: {decision} has one intent and one outcome");
        let of_request = outcomes[0]["charged_nano_usd"].as_u64().expect("it is charged");
        paying += usize::from(of_request > 0);
        charged += of_request;
    }
    assert!(paying > 0 || carried_out == 0, "{what}: an upstream was reached and nothing is charged: {records:?}");

    let snapshot = gateway.snapshot();
    let app = snapshot.app(AppIndex(0));
    let totals = app.book.totals();
    assert_eq!((totals.open, totals.reserved.0, totals.held_money), (0, 0, Money::ZERO), "{what}");
    assert_eq!((totals.requests, totals.settled_money), (records.len() as u64, Money(charged)), "{what}");
    assert_eq!((gateway.ledger.status().open, gateway.ledger.status().lost), (0, 0), "{what}");
    let in_ledger: Money = gateway.ledger.spent((0, 100_000), Whose::OfAll).unwrap().iter().map(|of| of.money).sum();
    assert_eq!(in_ledger, Money(charged), "{what}: the ledger says what the records say");
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    for budget in snapshot.budgets.rules().iter().flat_map(|rule| rule.all()).map(|(_, budget)| budget) {
        let standing = budget.standing(seconds);
        assert_eq!((standing.held, standing.spent), (Money::ZERO, Money(charged)), "{what}: {}", budget.name());
    }
    let rate = app.book.rate(Instant::now()).expect("it has a limit");
    assert!(rate.limit - rate.remaining <= totals.settled().0 + 1, "{what}: {rate:?} and {totals:?}");
    for (model, rate) in
        snapshot.models().filter_map(|model| Some((&model.name, model.tokens.standing(Instant::now())?)))
    {
        assert!(rate.limit - rate.remaining <= totals.settled().0 + 1, "{what}, {model}: {rate:?} and {totals:?}");
    }
    let admission = &snapshot.admission;
    assert_eq!((admission.in_flight(), admission.in_flight_of(AppIndex(0))), (0, 0), "{what}");
}

async fn new_world(case: &Case) -> (World, Arc<Seen>, Shared) {
    let mut world = World::changed("openai", case.dialect, narrow).await;
    let blank = || TcpListener::bind("127.0.0.1:0");
    let first = std::mem::replace(&mut world.upstream, blank().await.unwrap());
    let second = std::mem::replace(&mut world.second, blank().await.unwrap());
    let seen = Arc::default();
    play(first, case.meets[0], &seen);
    play(second, case.meets[1], &seen);
    let other = Shared::beside(world.folder.path());
    if case.is_beside {
        let (snapshot, joins) = (world.gateway.snapshot(), other.clone());
        let joined = tokio::task::spawn_blocking(move || snapshot.join().and_then(|()| joins.join())).await;
        joined.unwrap().unwrap();
    }
    (world, seen, other)
}

/// So often in a row nobody was there to be disturbed: what comes in two pieces once may come in one the next time.
const UNDISTURBED: usize = 3;

/// Runs a case for a caller that leaves at each wait.
async fn left_at_every_wait(case: Case) {
    let (mut left_behind, mut undisturbed) = (0, 0);
    for waits in 0.. {
        let (world, seen, _other) = new_world(&case).await;
        let leaves = Leaves::after(waits);
        let what = format!("`{}` {:?}, left at wait {waits}", case.model, case.meets);

        let answer = ask(Cut(Arc::clone(&world.gateway), leaves.clone()), case.model, case.stream).await;
        let carried_out = seen.at_last().await;
        let has_left = leaves.has_left.load(Ordering::SeqCst);
        all_is_settled(&world, carried_out, &what).await;

        if !has_left {
            assert!(carried_out > 0 && answer.starts_with("HTTP/1.1 "), "{what}: {answer}");
            undisturbed += 1;
            if undisturbed < UNDISTURBED {
                continue;
            }
            // How often a lease is waited for is for another thread to say.
            assert!(left_behind > 0 || case.is_beside, "{what}: nobody left while an upstream was at work");
            return;
        }
        undisturbed = 0;
        left_behind += usize::from(carried_out > 0);
        // There is room for one: had anything been kept, this one would be refused, or sent elsewhere.
        let next = ask(Cut(Arc::clone(&world.gateway), Leaves::after(usize::MAX)), case.model, case.stream).await;
        assert!(!next.starts_with("HTTP/1.1 429") && !next.contains("overloaded"), "{what}: {next}");
        all_is_settled(&world, seen.at_last().await, &what).await;
        assert!(waits < 500, "{what}: it never ends");
    }
}

fn case(model: &'static str, stream: bool, meets: [Meets; 2]) -> Case {
    Case { model, stream, dialect: openai(), meets, is_beside: false }
}

#[tokio::test]
async fn a_whole_answer() {
    left_at_every_wait(case("m", false, [Meets::Whole; 2])).await;
}

#[tokio::test]
async fn a_stream() {
    left_at_every_wait(case("m", true, [Meets::Stream; 2])).await;
}

#[tokio::test]
async fn a_stream_that_is_read_to_its_end_for_nobody() {
    left_at_every_wait(Case { dialect: &IS_READ_TO_ITS_END, ..case("m", true, [Meets::Stream; 2]) }).await;
}

#[tokio::test]
async fn a_stream_that_breaks_off() {
    left_at_every_wait(case("m", true, [Meets::BrokenStream; 2])).await;
}

#[tokio::test]
async fn a_request_that_was_turned_away_and_goes_on_to_another_target() {
    left_at_every_wait(case("both", false, [Meets::Busy, Meets::Whole])).await;
}

#[tokio::test]
async fn a_request_that_may_have_been_executed_and_is_sent_again() {
    left_at_every_wait(case("both", false, [Meets::Silence, Meets::Whole])).await;
}

#[tokio::test]
async fn a_stream_behind_a_target_that_turned_it_away() {
    left_at_every_wait(case("both", true, [Meets::Busy, Meets::Stream])).await;
}

#[tokio::test]
async fn a_request_whose_limits_and_budgets_are_leased() {
    left_at_every_wait(Case { is_beside: true, ..case("m", false, [Meets::Whole; 2]) }).await;
}

#[tokio::test]
async fn a_request_that_nobody_answers() {
    left_at_every_wait(case("both", false, [Meets::Silence; 2])).await;
}
