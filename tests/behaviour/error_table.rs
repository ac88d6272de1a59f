//! The page of errors in the book against the binary: every code that it lists is answered as it says, and none is
//! answered that it does not list.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::testkit::{
    Act, Answer, Config, Dns, Endpoint, Gate, Gateway, KEY, Refusing, Request, Upstream, chat, completion, within,
};

const PAGE: &str = include_str!("../../docs/src/reference/errors.md");

/// What cannot be brought about from outside: the audit log meets a full disk first, and there is no known fault to provoke.
const RESERVED: [(&str, u16); 3] = [("ledger_unavailable", 503), ("internal_error", 500), ("redaction_failed", 403)];

/// Each code of the table with its status. A row is `| code in backticks | status | when | again? |`.
fn listed() -> BTreeMap<String, u16> {
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let mut cells = row.split('|').map(str::trim);
        let code = cells.next().expect("a first cell").trim_end_matches('`').to_owned();
        let status = cells.next().expect("a second cell").parse();
        (code, status.expect("the second cell is one status"))
    })
    .collect()
}

/// What was answered, so far.
#[derive(Default)]
struct Met(BTreeMap<String, u16>);

impl Met {
    async fn answer(&mut self, answer: Answer) {
        self.note(answer.status, &answer.json().await);
    }

    /// A body that is announced and does not come.
    async fn slow_body(&mut self, gateway: &Gateway) {
        let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 100\r\n";
        self.raw(gateway, &format!("{head}authorization: Bearer {KEY}\r\n\r\n{{")).await;
    }

    /// More fields than a head may have.
    async fn large_head(&mut self, gateway: &Gateway) {
        let fields = "a: b\r\n".repeat(100);
        self.raw(gateway, &format!("GET /v1/models HTTP/1.1\r\nhost: x\r\n{fields}\r\n")).await;
    }

    /// What no client library would send, answered with the end of its connection.
    async fn raw(&mut self, gateway: &Gateway, sent: &str) {
        let mut socket = gateway.client().dial().await.expect("the port is open");
        socket.write_all(sent.as_bytes()).await.expect("it is taken");
        let mut text = String::new();
        within("an answer and the end", socket.read_to_string(&mut text)).await.expect("the answer is text");
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let body = text.split_once("\r\n\r\n").expect("a head and a body").1;
        self.note(status, &serde_json::from_str(body).expect("JSON"));
    }

    fn note(&mut self, status: u16, body: &Value) {
        let code = body["error"]["code"].as_str().expect("an error of ours has a code").to_owned();
        assert_eq!(listed().get(&code), Some(&status), "`{code}` is not in the table with {status}: {body}");
        self.0.insert(code, status);
    }
}

#[tokio::test]
async fn the_table_of_errors_in_the_book_is_what_the_gateway_answers() {
    let mut met = Met::default();
    callers_mistakes(&mut met).await;
    what_is_denied(&mut met).await;
    what_the_endpoints_meet(&mut met).await;
    bounds(&mut met).await;

    let met: BTreeSet<(String, u16)> = met.0.into_iter().collect();
    let reserved = RESERVED.iter().map(|(code, status)| ((*code).to_owned(), *status));
    let expected: BTreeSet<(String, u16)> = met.into_iter().chain(reserved).collect();
    assert_eq!(listed().into_iter().collect::<BTreeSet<_>>(), expected);
}

async fn callers_mistakes(met: &mut Met) {
    let upstream = Upstream::start("only").await;
    let limits = "max_body_bytes = 2048\ntimeouts = { body_ms = 300 }";
    let gateway = Gateway::start(&Config::serving(&upstream).listen(limits)).await;
    let ask = || Request::post("/v1/chat/completions", &chat("assistant"));
    let dear = "cost = { per_token = { input_usd_per_million = 1000, output_usd_per_million = 1000 } }";
    let poor = Config::new().endpoint("only", Endpoint::of(&upstream).with(dear)).model("assistant", &["only/m"]).app(
        "poor",
        "cw_poor",
        &["assistant"],
        "limits = { usd_per_month = 0.01 }",
    );
    let poor = Gateway::start(&poor).await;
    met.answer(poor.send(ask().key("cw_poor")).await).await;

    met.answer(gateway.send(ask().anonymous()).await).await;
    met.answer(gateway.chat(&chat("nobody")).await).await;
    met.answer(gateway.send(Request::post("/v1/nowhere", &json!({}))).await).await;
    met.answer(gateway.send(Request::get("/v1/chat/completions")).await).await;
    met.answer(gateway.send(Request::bytes("/v1/chat/completions", "{\"model\": 1}")).await).await;
    met.answer(gateway.send(ask().header("content-encoding", "compress")).await).await;
    met.answer(gateway.send(ask().header("x-causeway-labels", "no_label")).await).await;
    let large = "x".repeat(4096);
    met.answer(gateway.post("/v1/completions", &json!({"model": "assistant", "prompt": large})).await).await;
    met.slow_body(&gateway).await;
    met.large_head(&gateway).await;
}

async fn what_is_denied(met: &mut Met) {
    let (upstream, dns) = (Upstream::start("only").await, Dns::start().await);
    // Nobody approves it, and it alone speaks the API of embeddings.
    let far = "[endpoint.far]\nprovider = \"openai\"\nurl = \"https://far.example/v1\"\nreach = { public = {} }\n\
               auth = { key = { file = \"upstream.key\" } }\n";
    let config = Config::new()
        .resolving(&dns)
        .endpoint("near", Endpoint::of(&upstream).with("apis = [\"chat\", \"responses\"]"))
        .section(far)
        .model("assistant", &["near/m", "far/m"]);
    let gateway = Gateway::start(&config).await;

    met.answer(gateway.post("/v1/responses", &json!({"model": "assistant", "input": "x", "store": true})).await).await;
    met.answer(gateway.post("/v1/embeddings", &json!({"model": "assistant", "input": "x"})).await).await;
}

async fn what_the_endpoints_meet(met: &mut Met) {
    let (refusing, slow, dns) = (Refusing::new(), Upstream::start("slow").await, Dns::start().await);
    slow.script([Act::error(500).after(&Gate::closed())]);
    let config = Config::new()
        .resolving(&dns)
        .endpoint("refusing", Endpoint::at(refusing.address))
        .endpoint("slow", Endpoint::of(&slow).with("timeouts = { first_byte_ms = 200 }"))
        .endpoint("astray", Endpoint::outside_its_ranges())
        .model("refusing", &["refusing/m"])
        .model("slow", &["slow/m"])
        .model("astray", &["astray/m"]);
    let gateway = Gateway::start(&config).await;

    for model in ["refusing", "slow", "astray"] {
        met.answer(gateway.chat(&chat(model)).await).await;
    }
}

async fn bounds(met: &mut Met) {
    let upstream = Upstream::start("only").await;
    let config = Config::new()
        .endpoint("only", Endpoint::of(&upstream).with("capacity = { in_flight = 1 }"))
        .model("assistant", &["only/m"])
        .app("slow", "cw_slow", &["assistant"], "limits = { requests_per_minute = 1 }");
    let gateway = Gateway::start(&config).await;
    let ask = || Request::post("/v1/chat/completions", &chat("assistant"));

    assert_eq!(gateway.send(ask().key("cw_slow")).await.status, 200);
    met.answer(gateway.send(ask().key("cw_slow")).await).await;

    let gate = Gate::closed();
    upstream.script([Act::reply(200, &completion("late")).after(&gate)]);
    let client = gateway.client();
    let running = tokio::spawn(async move { client.try_send(ask()).await.is_ok() });
    upstream.request(1).await;
    met.answer(gateway.chat(&chat("assistant")).await).await;
    gate.open();
    assert!(running.await.expect("no panic"));

    // No file may grow beyond 256 blocks of 512 bytes, as on a full disk.
    let full = Gateway::start_under(&Config::serving(&upstream), "trap '' XFSZ; ulimit -f 256").await;
    let refusal = loop {
        let answer = full.chat(&chat("assistant")).await;
        if answer.status != 200 {
            break answer;
        }
    };
    met.answer(refusal).await;
}
