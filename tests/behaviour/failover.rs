//! When an endpoint fails the caller does not notice; when it fails too late to hide, the caller is told and the books
//! close.

use serde_json::{Value, json};

use crate::testkit::{
    Act, Client, Config, Endpoint, Expect, Gate, Gateway, Record, Refusing, Request, Step, Upstream, chat, chat_stream,
    chunk, full, message, named_event, until,
};

const PATH: &str = "/v1/chat/completions";

/// Asks once, streamed or not, and gives what the caller read.
async fn ask(client: Client, streamed: bool) -> (u16, String) {
    let body = if streamed { chat_stream("assistant") } else { chat("assistant") };
    let answer = client.send(Request::post(PATH, &body)).await;
    (answer.status, answer.text().await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_at_once_all_succeed_while_one_target_refuses_and_one_is_busy() {
    let calls = if full() { 1000 } else { 200 };
    let (refusing, busy, works) = (Refusing::new(), Upstream::start("busy").await, Upstream::start("works").await);
    busy.script((0..calls).map(|_| Act::error(429).header("retry-after-ms", "20")));
    let config = Config::new()
        .endpoint("refusing", Endpoint::at(refusing.address))
        .endpoint("busy", Endpoint::of(&busy))
        .endpoint("works", Endpoint::of(&works))
        .model("assistant", &["refusing/m", "busy/m", "works/m"]);
    let gateway = Gateway::start(&config).await;

    let asking: Vec<_> = (0..calls).map(|number| tokio::spawn(ask(gateway.client(), number % 2 == 0))).collect();
    for (number, answer) in asking.into_iter().enumerate() {
        let (status, text) = answer.await.expect("the caller is answered");
        assert_eq!((status, text.contains("works")), (200, true), "call {number}: {text}");
        assert_eq!((text.contains("[DONE]"), text.contains("\"error\"")), (number % 2 == 0, false), "{text}");
    }

    let audit = gateway.audit();
    let records =
        until("every record to be closed", async || Some(audit.records()).filter(|all| all.len() == calls)).await;
    for record in &records {
        let tried = record.tried();
        assert_eq!(tried.last().map(String::as_str), Some("works/m"), "{tried:?}");
        let mut once = tried.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), tried.len(), "no target is tried twice: {tried:?}");
        assert_eq!(record.end("end"), "complete");
        assert_eq!(record.end("settled_by"), "reported");
    }
    assert!(
        records.iter().any(|record| record.tried() == ["refusing/m", "busy/m", "works/m"]),
        "the record shows each attempt"
    );
    assert_eq!(works.requests().len(), calls, "each call is answered once");
}

#[tokio::test]
async fn when_the_serving_endpoint_is_killed_every_caller_is_told_and_the_books_close() {
    let streams = 20;
    let (killed, spare) = (Upstream::start("killed").await, Upstream::start("spare").await);
    killed.script((0..streams).map(|_| Act::steps([Step::Send(chunk("ferry").into()), Step::Wait(Gate::closed())])));
    let config = Config::new()
        .endpoint("killed", Endpoint::of(&killed))
        .endpoint("spare", Endpoint::of(&spare))
        .model("assistant", &["killed/m", "spare/m"]);
    let gateway = Gateway::start(&config).await;
    let mut answers = Vec::new();
    for _ in 0..streams {
        let mut answer = gateway.chat(&chat_stream("assistant")).await;
        assert_eq!(answer.event().await, Some(chunk("ferry")));
        answers.push(answer);
    }

    drop(killed);

    for answer in answers {
        let text = answer.text().await;
        assert!(text.contains("upstream_unavailable"), "{text}");
        assert!(!text.contains("[DONE]"), "{text}");
    }
    let audit = gateway.audit();
    let records =
        until("every record to be closed", async || Some(audit.records()).filter(|all| all.len() == streams)).await;
    for record in records {
        assert_eq!(record.end("end"), "truncated");
        assert_eq!(record.end("settled_by"), "reservation", "what is not known is not counted as nothing");
    }
    assert!(spare.requests().is_empty(), "nothing is tried again after the first byte");
    assert!(gateway.chat(&chat("assistant")).await.text().await.contains("spare"));
}

#[tokio::test]
async fn every_api_fails_over() {
    let (refusing, works) = (Refusing::new(), Upstream::start("works").await);
    let calls = [
        (PATH, chat("assistant")),
        ("/v1/completions", json!({"model": "assistant", "prompt": "the"})),
        ("/v1/responses", json!({"model": "assistant", "input": "the"})),
        ("/v1/embeddings", json!({"model": "assistant", "input": "the"})),
        ("/v1/rerank", json!({"model": "assistant", "query": "q", "documents": ["a"]})),
        ("/v1/messages", message("assistant")),
        ("/v1/messages/count_tokens", message("assistant")),
        ("/openai/deployments/assistant/chat/completions?api-version=2024-10-21", chat("assistant")),
    ];

    for (path, body) in calls {
        let config = Config::new()
            .endpoint("refusing", Endpoint::at(refusing.address))
            .endpoint("works", Endpoint::of(&works))
            .model("assistant", &["refusing/m", "works/m"]);
        let gateway = Gateway::start(&config).await;
        let answer = gateway.post(path, &body).await;

        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("x-causeway-endpoint"), Some("works"), "{path}");
    }
}

#[tokio::test]
async fn a_call_moves_from_one_dialect_to_another() {
    let (azure, local) = (Upstream::playing(Expect::Azure, "azure", None).await, Upstream::start("local").await);
    azure.script([Act::error(503)]);
    let config = Config::new()
        .endpoint("azure", Endpoint::of(&azure).provider("azure-openai").with("api_version = \"2024-10-21\""))
        .endpoint("local", Endpoint::of(&local))
        .model("assistant", &["azure/gpt-4o", "local/llama"]);
    let gateway = Gateway::start(&config).await;

    let answer = gateway.chat(&chat("assistant")).await;

    assert_eq!(answer.header("x-causeway-endpoint"), Some("local"));
    assert!(azure.only_request().path.starts_with("/openai/deployments/gpt-4o/"));
    assert_eq!(local.only_request().json()["model"], "llama");
}

#[tokio::test]
async fn when_all_fail_the_last_ones_own_error_is_what_the_caller_gets() {
    let (refusing, broken) = (Refusing::new(), Upstream::start("broken").await);
    broken.script([Act::error(500)]);
    let config = Config::new()
        .endpoint("refusing", Endpoint::at(refusing.address))
        .endpoint("broken", Endpoint::of(&broken))
        .model("assistant", &["refusing/m", "broken/m"]);
    let gateway = Gateway::start(&config).await;

    let answer = gateway.chat(&chat("assistant")).await;

    assert_eq!(answer.status, 500);
    assert_eq!(answer.json().await["error"]["message"], "the upstream's own words");
}

/// Asks once, with this answer from the first target and the usual one from the second. Gives the record.
async fn after_a_first_answer(act: Act) -> Record {
    let (first, second) = (Upstream::start("first").await, Upstream::start("second").await);
    first.script([act]);
    let config = Config::new()
        .endpoint("first", Endpoint::of(&first))
        .endpoint("second", Endpoint::of(&second))
        .model("assistant", &["first/m", "second/m"]);
    let gateway = Gateway::start(&config).await;
    let answer = gateway.chat(&chat("assistant")).await;
    let decision = answer.decision();
    assert!(answer.of_status(200, "the answer").await.contains("second"));
    gateway.audit().record(&decision).await
}

#[tokio::test]
async fn an_attempt_that_may_have_been_executed_is_flagged_and_charged_beside_the_answer() {
    let record = after_a_first_answer(Act::error(500)).await;

    assert_eq!(record.attempts(), ["first/m status_5xx", "second/m success"]);
    assert_eq!(record.attempt(0)["may_have_executed"], true);
    assert_eq!(record.attempt(0)["usage"], Value::Null, "it stated none");
    assert!(record.end("lost_tokens").as_u64().is_some_and(|lost| lost > 0), "{:?}", record.outcome);
    assert_eq!(record.end("settled_by"), "reported");
    assert_eq!((&record.end("usage")["input"], &record.end("usage")["output"]), (&11.into(), &7.into()));
    assert_eq!(record.attempt(1)["usage"], *record.end("usage"));
}

#[tokio::test]
async fn an_attempt_that_was_turned_away_is_neither_flagged_nor_charged() {
    for status in [429, 503, 529] {
        let record = after_a_first_answer(Act::error(status)).await;

        assert_eq!(record.attempt(0)["may_have_executed"], false, "{status}");
        assert_eq!(record.end("lost_tokens").as_u64().unwrap_or(0), 0, "{status}: {:?}", record.outcome);
        assert_eq!(record.end("settled_by"), "reported", "{status}");
    }
}

#[tokio::test]
async fn a_failed_attempt_is_recorded_with_the_usage_that_it_stated() {
    let usage = json!({"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8});
    let failed = json!({"error": {"message": "lost its mind", "code": 500}, "usage": usage});

    let record = after_a_first_answer(Act::reply(500, &failed)).await;

    assert_eq!(record.attempts(), ["first/m status_5xx", "second/m success"]);
    let stated = &record.attempt(0)["usage"];
    assert_eq!((&stated["input"], &stated["output"]), (&5.into(), &3.into()), "{:?}", record.outcome);
    let answered = record.end("usage");
    assert_eq!((&answered["input"], &answered["output"]), (&11.into(), &7.into()), "the answer's own stays its own");
    assert_eq!(record.end("lost_tokens"), 8, "what it stated is charged, and no more: {:?}", record.outcome);
}

#[tokio::test]
async fn a_stream_that_begins_with_an_error_is_charged_at_the_usage_that_the_event_states() {
    let usage = json!({"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8});
    let failed = json!({"error": {"message": "lost its mind", "code": 500}, "usage": usage});
    let (first, second) = (Upstream::start("first").await, Upstream::start("second").await);
    first.script([Act::stream([format!("data: {failed}\n\n")])]);
    let config = Config::new()
        .endpoint("first", Endpoint::of(&first))
        .endpoint("second", Endpoint::of(&second))
        .model("assistant", &["first/m", "second/m"]);
    let gateway = Gateway::start(&config).await;

    let answer = gateway.chat(&chat_stream("assistant")).await;

    let decision = answer.decision();
    assert!(answer.of_status(200, "the answer").await.contains("second"));
    let record = gateway.audit().record(&decision).await;
    assert_eq!(record.attempts(), ["first/m error_event", "second/m success"]);
    let stated = &record.attempt(0)["usage"];
    assert_eq!((&stated["input"], &stated["output"]), (&5.into(), &3.into()), "{:?}", record.outcome);
    assert_eq!(record.end("lost_tokens"), 8, "{:?}", record.outcome);
    assert_eq!(record.end("settled_by"), "reported");
}

#[tokio::test]
async fn a_request_that_no_one_answered_is_settled_at_what_its_failure_stated() {
    let upstream = Upstream::start("only").await;
    let usage = json!({"prompt_tokens": 5, "completion_tokens": 3});
    upstream.script([Act::reply(500, &json!({"error": {"message": "lost its mind"}, "usage": usage}))]);
    let priced = Endpoint::of(&upstream)
        .with("cost = { per_token = { input_usd_per_million = 2, output_usd_per_million = 10 } }");
    let gateway = Gateway::start(&Config::new().endpoint("only", priced).model("assistant", &["only/m"])).await;

    let answer = gateway.chat(&chat("assistant")).await;

    let decision = answer.decision();
    answer.of_status(500, "the upstream's own error").await;
    let record = gateway.audit().record(&decision).await;
    assert_eq!((record.end("settled_by"), record.end("lost_tokens")), (&"reported".into(), &8.into()));
    assert_eq!(record.end("charged_nano_usd"), 5 * 2_000 + 3 * 10_000, "{:?}", record.outcome);
}

/// What an upstream writes that knows nothing, or would rather not say: nobody works for nothing.
#[tokio::test]
async fn a_failed_attempt_that_states_zero_is_charged_what_was_reserved() {
    let usage = json!({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0});
    let failed = json!({"error": {"message": "lost its mind", "code": 500}, "usage": usage});
    let held = after_a_first_answer(Act::error(500)).await.end("lost_tokens").clone();

    let stated = after_a_first_answer(Act::reply(500, &failed)).await;
    let upstream = Upstream::start("only").await;
    let piece = json!({"choices": [{"index": 0, "delta": {"content": "much"}}], "usage": usage});
    upstream.script([
        Act::reply(500, &failed),
        // One that breaks off after its words, with the count that some servers put on each of them.
        Act::steps([Step::Send(format!("data: {piece}\n\n").into()), Step::Reset]),
    ]);
    let gateway = Gateway::start(&Config::serving(&upstream)).await;
    let whole = gateway.chat(&chat("assistant")).await;
    let alone = whole.decision();
    assert_eq!(whole.status, 500);
    let stream = gateway.chat(&chat_stream("assistant")).await;
    let cut = stream.decision();
    stream.text().await;

    assert!(held.as_u64().is_some_and(|held| held > 0), "{held}");
    assert_eq!(*stated.end("lost_tokens"), held, "{:?}", stated.outcome);
    for decision in [alone, cut] {
        let record = gateway.audit().record(&decision).await;
        assert_eq!(record.end("settled_by"), "reservation", "{:?}", record.outcome);
        assert!(record.end("charged_nano_usd").as_u64().is_some_and(|charged| charged > 0), "{:?}", record.outcome);
    }
}

#[tokio::test]
async fn an_answer_that_does_not_say_how_much_it_wrote_is_settled_at_the_reservation() {
    let upstream = Upstream::start("only").await;
    let usage = json!({"prompt_tokens": 5});
    let choices = json!([{"index": 0, "message": {"role": "assistant", "content": "much"}, "finish_reason": "stop"}]);
    let last = json!({"choices": [], "usage": usage});
    let finish = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
    upstream.script([
        Act::reply(200, &json!({"object": "chat.completion", "choices": choices, "usage": usage})),
        Act::stream([
            chunk("much"),
            format!("data: {finish}\n\n"),
            format!("data: {last}\n\n"),
            "data: [DONE]\n\n".into(),
        ]),
    ]);
    let gateway = Gateway::start(&Config::serving(&upstream)).await;

    for body in [chat("assistant"), chat_stream("assistant")] {
        let answer = gateway.chat(&body).await;
        let decision = answer.decision();
        let text = answer.of_status(200, "the answer").await;
        let record = gateway.audit().record(&decision).await;
        assert_eq!(record.end("settled_by"), "reservation", "{text}: {:?}", record.outcome);
        assert!(record.end("usage")["output"].as_u64().is_some_and(|output| output > 0), "{:?}", record.outcome);
    }
}

#[tokio::test]
async fn a_response_that_fails_at_once_is_recorded_with_the_usage_that_it_stated() {
    let (first, second) = (Upstream::start("first").await, Upstream::start("second").await);
    let failed = json!({"type": "response.failed", "sequence_number": 0, "response": {
        "id": "resp_1", "status": "failed", "error": {"code": "server_error", "message": "lost its mind"},
        "usage": {"input_tokens": 5, "output_tokens": 3, "total_tokens": 8},
    }});
    first.script([Act::stream([named_event(&failed)])]);
    let config = Config::new()
        .endpoint("first", Endpoint::of(&first))
        .endpoint("second", Endpoint::of(&second))
        .model("assistant", &["first/m", "second/m"]);
    let gateway = Gateway::start(&config).await;

    let body = json!({"model": "assistant", "input": "the", "stream": true});
    let answer = gateway.post("/v1/responses", &body).await;

    let decision = answer.decision();
    assert!(answer.of_status(200, "the answer").await.contains("second"));
    let record = gateway.audit().record(&decision).await;
    assert_eq!(record.attempts(), ["first/m error_event", "second/m success"]);
    let stated = &record.attempt(0)["usage"];
    assert_eq!((&stated["input"], &stated["output"]), (&5.into(), &3.into()), "{:?}", record.outcome);
}

#[tokio::test]
async fn a_lone_server_error_is_settled_at_the_reservation() {
    let upstream = Upstream::start("only").await;
    upstream.script([Act::error(500)]);
    let gateway = Gateway::start(&Config::serving(&upstream)).await;

    let answer = gateway.chat(&chat("assistant")).await;

    let decision = answer.decision();
    answer.of_status(500, "the upstream's own error").await;
    let record = gateway.audit().record(&decision).await;
    assert_eq!(record.attempts(), ["only/served-model status_5xx"]);
    assert_eq!(record.attempt(0)["may_have_executed"], true);
    assert_eq!(record.end("settled_by"), "reservation");
    assert!(record.end("lost_tokens").as_u64().is_some_and(|lost| lost > 0), "{:?}", record.outcome);
}

#[tokio::test]
async fn when_none_can_be_reached_the_caller_gets_502_and_nothing_is_charged() {
    let refusing = Refusing::new();
    let config = Config::new()
        .endpoint("one", Endpoint::at(refusing.address))
        .endpoint("two", Endpoint::at(refusing.address))
        .model("assistant", &["one/m", "two/m"]);
    let gateway = Gateway::start(&config).await;

    let answer = gateway.chat(&chat("assistant")).await;

    assert_eq!(answer.status, 502);
    let record = gateway.audit().record(&answer.decision()).await;
    assert_eq!(record.tried(), ["one/m", "two/m"]);
    assert_eq!(record.end("settled_by"), "not_sent");
    assert_eq!(answer.code().await, "upstream_unavailable");
}

#[tokio::test]
async fn a_kept_connection_that_the_endpoint_has_closed_costs_the_caller_nothing() {
    let upstream = Upstream::start("only").await;
    let closing = |text: &str| {
        let mut act = Act::reply(200, &crate::testkit::completion(text));
        act.steps.push(Step::Close);
        act
    };
    upstream.script((0..20).map(|_| closing("hello")));
    let gateway = Gateway::start(&Config::serving(&upstream)).await;

    for _ in 0..20 {
        assert_eq!(gateway.chat(&chat("assistant")).await.status, 200);
    }
    assert_eq!(upstream.requests().len(), 20, "no call is executed twice");
}

/// Asks 600 times while every other answer of the first target has this status. Gives how many callers met it, and how
/// many calls the second target got.
async fn asked_of_a_target_that_fails_half_the_time(status: u16) -> (usize, usize) {
    const CALLS: usize = 600;
    let (first, second) = (Upstream::start("first").await, Upstream::start("second").await);
    // Never five failures in a row, so that the endpoint stays in.
    let good = || Act::reply(200, &crate::testkit::completion("first"));
    first.script((0..CALLS).map(|number| if number % 2 == 0 { Act::error(status) } else { good() }));
    let config = Config::new()
        .endpoint("first", Endpoint::of(&first))
        .endpoint("second", Endpoint::of(&second))
        .model("assistant", &["first/m", "second/m"]);
    let gateway = Gateway::start(&config).await;
    let mut connection = gateway.client().connect().await.expect("the port is open");

    let mut met = 0;
    for _ in 0..CALLS {
        let answer = connection.send(Request::post(PATH, &chat("assistant"))).await.expect("an answer");
        met += usize::from(answer.status == status);
        answer.bytes().await;
    }
    (met, second.requests().len())
}

#[tokio::test]
async fn calls_that_may_have_been_executed_are_sent_again_within_a_budget() {
    let began = std::time::Instant::now();
    let (met, sent_again) = asked_of_a_target_that_fails_half_the_time(500).await;

    // One in five of 600 calls, and the hundred that ten seconds allow. What was taken is forgotten after five seconds at the
    // earliest, so that a machine which is slow may take another hundred in as many more. How many it is where no time
    // passes is counted beside the pipeline.
    let forgotten = usize::try_from(began.elapsed().as_secs()).unwrap_or(usize::MAX / 40).saturating_sub(4);
    let most = (230 + 20 * forgotten).min(300);
    assert!((1..=most).contains(&sent_again), "{sent_again} calls were sent again, of at most {most}");
    assert_eq!(met + sent_again, 300, "a call that is not sent again ends with the upstream's own error");
}

#[tokio::test]
async fn calls_that_were_turned_away_are_sent_on_for_free() {
    assert_eq!(asked_of_a_target_that_fails_half_the_time(503).await, (0, 300));
}
