//! Evidence first: the decision is in the log before the first byte leaves, its outcome afterwards, and never a word of
//! what was said.

use serde_json::json;

use crate::testkit::{
    Act, Config, Gate, Gateway, KEY, Request, UPSTREAM_KEY, Upstream, chat, chat_stream, completion, until,
};

const PATH: &str = "/v1/chat/completions";

async fn gateway() -> (Upstream, Gateway) {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&Config::serving(&upstream)).await;
    (upstream, gateway)
}

#[tokio::test]
async fn the_decision_is_written_before_the_upstream_hears_of_the_request() {
    let (upstream, gateway) = gateway().await;
    let gate = Gate::closed();
    upstream.script([Act::reply(200, &completion("hello")).after(&gate)]);
    let client = gateway.client();
    let asking = tokio::spawn(async move { client.send(Request::post(PATH, &chat("assistant"))).await.status });

    upstream.request(0).await;
    let (intents, outcomes) = (gateway.audit().of_kind("intent"), gateway.audit().of_kind("outcome"));
    gate.open();

    assert_eq!((intents.len(), outcomes.len()), (1, 0));
    assert_eq!(asking.await.expect("no panic"), 200);
    until("the outcome", async || (gateway.audit().of_kind("outcome").len() == 1).then_some(())).await;
}

#[tokio::test]
async fn a_record_says_who_asked_for_what_and_where_it_went() {
    let (_upstream, gateway) = gateway().await;

    let answer = gateway.chat(&chat("assistant")).await;

    let record = gateway.audit().record(&answer.decision()).await;
    for (field, value) in
        [("app", "tests"), ("team", "testers"), ("model", "assistant"), ("api", "chat"), ("peer", "127.0.0.1")]
    {
        assert_eq!(record.intent[field], value, "{field}");
    }
    assert_eq!(record.intent["stream"], false);
    assert_eq!(record.intent["plan"], json!(["only/served-model"]));
    assert_eq!(record.intent["candidates"][0]["verdict"], "in");
    assert_eq!(record.end("status"), 200);
    assert_eq!(record.end("end"), "complete");
    assert_eq!(record.end("settled_by"), "reported");
    assert_eq!(record.end("usage"), &json!({"input": 11, "output": 7}));
    let attempt = &record.outcome["attempts"][0];
    assert_eq!(attempt["target"], "only/served-model");
    assert_eq!(attempt["status"], 200);
    assert!(attempt["address"].as_str().is_some_and(|address| address.starts_with("127.0.0.1:")), "{attempt}");
    assert_eq!(attempt["evidence"], "address");
}

#[tokio::test]
async fn nothing_that_was_said_and_no_key_is_ever_on_disk() {
    let (upstream, gateway) = gateway().await;
    let mut body = chat_stream("assistant");
    body["messages"][0]["content"] = "a question about swordfish".into();
    upstream.script([Act::stream(crate::testkit::spoken(&["an answer about halibut"])), Act::error(500)]);

    gateway.chat(&body).await.bytes().await;
    gateway.chat(&body).await;
    let refused = gateway.send(Request::bytes(PATH, "{\"model\": \"assistant\", \"messages\": \"swordfish")).await;
    gateway.audit().refusal(&refused.decision()).await;
    until("both outcomes", async || (gateway.audit().records().len() == 2).then_some(())).await;

    let mut written = gateway.log();
    for file in gateway.audit().files() {
        written += &String::from_utf8_lossy(&std::fs::read(file).expect("the log can be read"));
    }
    for word in ["swordfish", "halibut", KEY, UPSTREAM_KEY] {
        assert!(!written.contains(word), "`{word}` was written");
    }
}

#[tokio::test]
async fn a_refusal_leaves_one_line_with_its_code() {
    let (_upstream, gateway) = gateway().await;

    let unknown = gateway.chat(&chat("of-nobody")).await;
    let denied = gateway.post("/v1/responses", &json!({"model": "assistant", "input": "x", "store": true})).await;

    let unknown = gateway.audit().refusal(&unknown.decision()).await;
    assert_eq!(
        (&unknown["status"], &unknown["code"], &unknown["app"]),
        (&json!(404), &json!("model_not_found"), &json!("tests"))
    );
    let denied = gateway.audit().refusal(&denied.decision()).await;
    assert_eq!((&denied["status"], &denied["code"]), (&json!(403), &json!("feature_denied")));
    assert_eq!(denied["features"][0]["path"], "$.store");
    assert!(gateway.audit().of_kind("intent").is_empty());
}

#[tokio::test]
async fn a_request_that_cannot_be_recorded_is_refused_and_not_sent() {
    let upstream = Upstream::start("only").await;
    // No file may grow beyond 256 blocks of 512 bytes, as on a full disk; the program lives to hear of it.
    let gateway = Gateway::start_under(&Config::serving(&upstream), "trap '' XFSZ; ulimit -f 256").await;

    let mut answered = 0;
    let refusal = loop {
        let answer = gateway.chat(&chat("assistant")).await;
        if answer.status != 200 {
            break answer;
        }
        answered += 1;
        assert!(answered < 1000, "the disk never fills");
    };

    assert_eq!(refusal.status, 503);
    assert_eq!(upstream.requests().len(), answered, "nothing left without its record");
}

#[tokio::test]
async fn an_epoch_opens_by_naming_the_one_before_and_is_sealed_on_leaving() {
    let (_upstream, mut first) = gateway().await;
    first.chat(&chat("assistant")).await;
    first.signal("TERM");
    first.left().await;

    let mut second = first.again("second.log", &[]);
    assert!(second.is_ready().await);

    let audit = second.audit();
    assert_eq!(audit.epochs().len(), 2);
    let kinds: Vec<String> = audit.lines().iter().map(|line| line["kind"].as_str().unwrap_or("?").to_owned()).collect();
    let sealed = kinds.iter().position(|kind| kind == "seal").expect("the first epoch is sealed");
    assert_eq!((kinds[0].as_str(), kinds[sealed + 1].as_str()), ("open", "open"), "a seal is the last line: {kinds:?}");
    let [first, second] = &audit.of_kind("open")[..] else { unreachable!("two epochs were opened") };
    assert_eq!(second["predecessor"]["epoch"], first["epoch"]);
    assert_eq!(second["predecessor"]["end"], "sealed");
}

#[tokio::test]
async fn after_a_kill_the_intents_are_there_and_the_next_epoch_says_that_the_last_was_not_sealed() {
    let (upstream, mut first) = gateway().await;
    upstream.script([Act::error(500).after(&Gate::closed())]);
    let client = first.client();
    let asking = tokio::spawn(async move { client.try_send(Request::post(PATH, &chat("assistant"))).await.is_ok() });
    upstream.request(0).await;
    first.kill().await;
    assert!(!asking.await.expect("no panic"));

    let mut second = first.again("second.log", &[]);
    assert!(second.is_ready().await);

    assert_eq!(second.audit().of_kind("intent").len(), 1);
    assert!(second.audit().of_kind("seal").is_empty());
    assert_eq!(second.audit().of_kind("open")[1]["predecessor"]["end"], "open");
}
