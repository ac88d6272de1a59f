//! The gateway is killed at seeded moments under load: what an upstream got was written before, and everything is settled
//! once, at what it used or at what it held.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use crate::testkit::{Client, Config, Endpoint, Gateway, Request, Upstream, chat, chat_stream, full, run};

/// A thousand dollars per million tokens, so a millionth of a dollar is a thousandth of a token.
const DEAR: &str = "cost = { per_token = { input_usd_per_million = 1000, output_usd_per_million = 1000 } }";

const NANO_PER_TOKEN: u64 = 1_000_000;

/// Callers that ask at the same time.
const CALLERS: usize = 8;

/// Numbers that look like chance and are the same in every run.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Asks until nobody answers. Each request is known by its `max_tokens`; a third is whole, a third is a stream, and of a
/// third the caller leaves.
pub(super) async fn keep_asking(client: Client, numbers: Arc<AtomicU64>, ask: fn(&Value) -> Request) {
    loop {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let mut body = if number.is_multiple_of(3) { chat("assistant") } else { chat_stream("assistant") };
        body["max_tokens"] = number.into();
        let Ok(mut answer) = client.try_send(ask(&body)).await else { return };
        let went_on = match number % 3 {
            2 => answer.piece().await.is_ok(),
            _ => answer.try_bytes().await.is_ok(),
        };
        if !went_on {
            return;
        }
    }
}

/// What the books say of one request.
pub(super) struct Line {
    pub(super) held: u64,
    pub(super) charged: u64,
    pub(super) settled_by: String,
    pub(super) recovered: bool,
    pub(super) flagged: bool,
}

fn books(ledger: &Path) -> HashMap<String, Line> {
    let mut lines = HashMap::new();
    ::ledger::read_in(ledger, &::ledger::Home::Folder, (0, i64::MAX as u64), |entry| {
        let line = Line {
            held: entry.opening.money.0,
            charged: entry.charged().0,
            settled_by: entry.closing.settlement.by.name().to_owned(),
            recovered: entry.recovered,
            flagged: entry.flagged(),
        };
        let before = lines.insert(entry.opening.request.to_string(), line);
        assert!(before.is_none(), "{} is in the books twice", entry.opening.request);
    })
    .expect("the books can be read");
    lines
}

fn ask(body: &Value) -> Request {
    Request::post("/v1/chat/completions", body)
}

#[tokio::test]
async fn whenever_a_gateway_is_killed_what_it_sent_is_written_and_everything_is_settled_once() {
    let kills = if full() { 200 } else { 6 };
    let upstream = Upstream::reading("only", 1_000).await;
    let config =
        Config::new().endpoint("only", Endpoint::of(&upstream).with(DEAR)).model("assistant", &["only/served-model"]);
    let mut gateway = Gateway::start(&config).await;
    let (numbers, mut chance, mut recovered) = (Arc::new(AtomicU64::new(1)), Chance(20), 0);

    for kill in 0..kills {
        let seen = upstream.requests().len();
        let callers = || tokio::spawn(keep_asking(gateway.client(), Arc::clone(&numbers), ask));
        let callers: Vec<_> = (0..CALLERS).map(|_| callers()).collect();
        upstream.request(seen + chance.below(40) as usize).await;
        gateway.kill().await;
        for caller in callers {
            caller.await.expect("no panic");
        }
        gateway = gateway.again(&format!("again-{kill}.log"), &[]);
        assert!(gateway.is_ready().await, "{}", gateway.log());
        let ledger = gateway.operator("/api/status").await.json().await["ledger"].clone();
        assert_eq!(ledger["damaged"], 0, "kill {kill}: {ledger}");
        recovered += ledger["recovered"].as_u64().expect("a number");
    }
    gateway.signal("TERM");
    gateway.left().await;

    let ledger = gateway.state().join("ledger");
    let books = books(&ledger);
    let reached = agrees_with_the_upstream(&gateway.audit().of_kind("intent"), &upstream, &books);
    agrees_with_the_audit_log(&gateway, &books);
    assert_eq!(recovered, books.values().filter(|line| line.recovered).count() as u64, "each is recovered once");
    assert!(recovered > 0, "a kill under load leaves requests open");
    pays_what_it_held(&books);
    let left: Vec<_> =
        std::fs::read_dir(&ledger).expect("it is there").flatten().map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("journal")), "{left:?}");
    adds_up(&gateway, &books).await;
    println!(
        "killed {kills} times: {} requests in the books, {reached} reached the upstream, {recovered} were open and pay what \
         they held",
        books.len()
    );
}

/// What was recovered is flagged, and charged what was reserved.
pub(super) fn pays_what_it_held(books: &HashMap<String, Line>) {
    for (request, line) in books.iter().filter(|(_, line)| line.recovered) {
        assert!(line.flagged && line.charged == line.held, "{request} pays what it held, and is flagged");
    }
}

/// What an upstream got has an intent that was written before, and is not settled at nothing; how many it got.
pub(super) fn agrees_with_the_upstream(intents: &[Value], upstream: &Upstream, books: &HashMap<String, Line>) -> usize {
    let by_number: BTreeMap<u64, &str> = intents
        .iter()
        .filter_map(|intent| Some((intent["estimate"]["output"].as_u64()?, intent["decision"].as_str()?)))
        .collect();
    let reached: BTreeSet<u64> =
        upstream.requests().iter().map(|seen| seen.json()["max_tokens"].as_u64().expect("a number")).collect();
    assert!(reached.len() > 20, "{} requests are no load", reached.len());
    for number in &reached {
        let Some(decision) = by_number.get(number) else { unreachable!("request {number} was sent without an intent") };
        let line = books.get(*decision).unwrap_or_else(|| unreachable!("request {number} is not in the books"));
        assert!(line.charged > 0 && line.settled_by != "not_sent", "request {number} was settled at nothing");
        assert!(line.charged <= line.held, "request {number} pays more than it held");
    }
    reached.len()
}

/// Every intent is in the books, and where its outcome was written both say the same.
///
/// A settlement is in memory for up to 50 ms, like an outcome. One that died there was recovered at what it held.
pub(super) fn agrees_with_the_audit_log(gateway: &Gateway, books: &HashMap<String, Line>) {
    let lines = gateway.audit().lines();
    let of_kind = |kind: &'static str| lines.iter().filter(move |line| line["kind"] == kind);
    for intent in of_kind("intent") {
        let decision = intent["decision"].as_str().expect("a decision");
        assert!(books.contains_key(decision), "{decision} has an intent, and is not in the books");
    }
    let mut agreed = 0;
    for outcome in of_kind("outcome") {
        let decision = outcome["decision"].as_str().expect("a decision");
        let line = &books[decision];
        let charged = outcome["outcome"]["charged_nano_usd"].as_u64().unwrap_or(0);
        assert!(
            line.charged == charged || line.recovered,
            "{decision}: {charged} in the log, {} in the books",
            line.charged
        );
        agreed += usize::from(line.charged == charged);
    }
    assert!(agreed > 0, "some were settled before the kill");
}

/// The report is the sum of the books, to the last unit.
pub(super) async fn adds_up(gateway: &Gateway, books: &HashMap<String, Line>) {
    let arguments = ["cost", "report", "--config", "causeway.toml", "--form", "json"];
    let done = run(&arguments, gateway.folder()).await;
    let report: Value = serde_json::from_slice(&done.stdout).expect("JSON");
    let usd = report["total"]["usd"].as_str().expect("an amount");
    let (whole, fraction) = usd.split_once('.').unwrap_or((usd, ""));
    let nano = whole.parse::<u64>().expect("dollars") * 1_000_000_000
        + format!("{fraction:0<9}").parse::<u64>().expect("a fraction");
    assert_eq!(report["total"]["requests"], books.len());
    assert_eq!(nano, books.values().map(|line| line.charged).sum::<u64>());
    assert!(nano.is_multiple_of(NANO_PER_TOKEN), "every token has the same price: {usd}");
}
