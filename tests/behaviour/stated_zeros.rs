//! An endpoint that answers and states that it used nothing: nobody works for nothing, so what was reserved is settled.

use serde_json::{Value, json};

use crate::testkit::{
    Act, Config, DONE, Endpoint, Expect, Gateway, Upstream, chat, chat_stream, chunk, event, finish, message,
    named_event,
};

/// What one request was asked by, and an answer that states how much it used.
struct Case {
    path: &'static str,
    body: Value,
    act: Act,
}

fn case(path: &'static str, body: Value, act: Act) -> Case {
    Case { path, body, act }
}

fn openai(input: u64, output: u64) -> Value {
    json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output})
}

fn newer(input: u64, output: u64) -> Value {
    json!({"input_tokens": input, "output_tokens": output, "total_tokens": input + output})
}

/// Every form in which an answer of text comes, stating this usage.
fn answers(input: u64, output: u64, text: &str) -> Vec<Case> {
    let (usage, response) = (openai(input, output), newer(input, output));
    let said = json!([{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]);
    let completed = json!([{"index": 0, "text": text, "finish_reason": "stop"}]);
    let parts = if text.is_empty() { json!([]) } else { json!([{"type": "output_text", "text": text}]) };
    let item = json!([{"type": "message", "id": "m", "status": "completed", "role": "assistant", "content": parts}]);
    let asked = json!({"model": "assistant", "input": "the"});
    let streamed = json!({"model": "assistant", "input": "the", "stream": true});
    let delta = json!({"type": "response.output_text.delta", "sequence_number": 1, "item_id": "m", "delta": text});
    // As OpenAI has ended a response that it cut off at its bound.
    let ended = json!({"type": "response.incomplete", "sequence_number": 2, "response": {"status": "incomplete", "usage": response}});
    vec![
        case("/v1/chat/completions", chat("assistant"), Act::reply(200, &json!({"choices": said, "usage": usage}))),
        case(
            "/v1/chat/completions",
            chat_stream("assistant"),
            Act::stream([chunk(text), finish(), event(&json!({"choices": [], "usage": usage})), DONE.to_owned()]),
        ),
        case(
            "/v1/completions",
            json!({"model": "assistant", "prompt": "the"}),
            Act::reply(200, &json!({"choices": completed, "usage": usage})),
        ),
        case("/v1/responses", asked, Act::reply(200, &json!({"output": item, "usage": response}))),
        case("/v1/responses", streamed, Act::stream([named_event(&delta), named_event(&ended)])),
    ]
}

/// What each of these was settled by, its money, and what the attempt's own note says that was stated.
async fn settled(config: &Config, upstream: &Upstream, cases: Vec<Case>) -> Vec<(String, u64, Value)> {
    let gateway = Gateway::start(config).await;
    let mut settled = Vec::new();
    for Case { path, body, act } in cases {
        upstream.script([act]);
        let answer = gateway.post(path, &body).await;
        let decision = answer.decision();
        answer.of_status(200, "the answer").await;
        let record = gateway.audit().record(&decision).await;
        let by = record.end("settled_by").as_str().unwrap_or_default().to_owned();
        let charged = record.end("charged_nano_usd").as_u64().unwrap_or_default();
        settled.push((by, charged, record.attempt(0)["usage"].clone()));
    }
    settled
}

fn all_at_the_reservation(settled: &[(String, u64, Value)], stated: (u64, u64)) {
    for (number, (by, charged, usage)) in settled.iter().enumerate() {
        assert_eq!(by, "reservation", "{number}: {settled:?}");
        assert!(*charged > 0, "{number}: {settled:?}");
        assert_eq!((&usage["input"], &usage["output"]), (&stated.0.into(), &stated.1.into()), "{number}: {settled:?}");
    }
}

#[tokio::test]
async fn an_answer_that_states_zero_is_settled_at_the_reservation_and_its_attempt_says_what_was_stated() {
    let upstream = Upstream::start("only").await;
    let mut cases = answers(0, 0, "much");
    let embedding =
        json!({"data": [{"index": 0, "embedding": [0.25]}], "usage": {"prompt_tokens": 0, "total_tokens": 0}});
    let ranked = json!({"results": [{"index": 0, "relevance_score": 0.5}], "usage": {"total_tokens": 0}});
    cases.push(case("/v1/embeddings", json!({"model": "assistant", "input": "the"}), Act::reply(200, &embedding)));
    let rerank = json!({"model": "assistant", "query": "the", "documents": ["a"]});
    cases.push(case("/v1/rerank", rerank, Act::reply(200, &ranked)));
    // Empty answers as well: a prompt has a token at least.
    cases.extend(answers(0, 0, ""));

    let settled = settled(&Config::serving(&upstream), &upstream, cases).await;

    assert_eq!(settled.len(), 12);
    all_at_the_reservation(&settled, (0, 0));
}

#[tokio::test]
async fn an_answer_of_some_text_that_states_no_output_is_settled_at_the_reservation_and_an_empty_one_as_it_states() {
    let upstream = Upstream::start("only").await;
    let config = Config::new()
        .endpoint(
            "only",
            Endpoint::of(&upstream)
                .with("cost = { per_token = { input_usd_per_million = 2, output_usd_per_million = 10 } }"),
        )
        .model("assistant", &["only/m"]);

    let full = settled(&config, &upstream, answers(5, 0, "much")).await;
    let empty = settled(&config, &upstream, answers(5, 0, "")).await;

    all_at_the_reservation(&full, (5, 0));
    for (by, charged, _) in &empty {
        assert_eq!((&**by, *charged), ("reported", 10_000), "{empty:?}");
    }
}

#[tokio::test]
async fn a_message_may_read_all_of_its_input_from_a_cache_and_one_that_read_nothing_anywhere_is_not_believed() {
    let upstream = Upstream::playing(Expect::Anthropic, "only", None).await;
    let endpoint = Endpoint::of(&upstream).provider("anthropic");
    let config = Config::new().endpoint("only", endpoint).model("assistant", &["only/m"]);
    let mut streamed = message("assistant");
    streamed["stream"] = true.into();
    let whole = |usage: &Value| {
        Act::reply(200, &json!({"type": "message", "content": [{"type": "text", "text": "much"}], "usage": usage}))
    };
    let stream = |input: &Value, output: &Value| {
        let events = [
            json!({"type": "message_start", "message": {"role": "assistant", "content": [], "usage": input}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "much"}}),
            json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": output}),
            json!({"type": "message_stop"}),
        ];
        Act::stream(events.iter().map(named_event).collect::<Vec<_>>())
    };
    let (nothing, cached) = (
        json!({"input_tokens": 0, "output_tokens": 0}),
        json!({"input_tokens": 0, "cache_read_input_tokens": 9, "output_tokens": 3}),
    );
    let path = "/v1/messages";

    let zero = [whole(&nothing), stream(&nothing, &json!({"output_tokens": 0}))];
    let zero = zero.into_iter().zip([message("assistant"), streamed.clone()]).map(|(act, body)| case(path, body, act));
    let zero = settled(&config, &upstream, zero.collect()).await;
    let read = [whole(&cached), stream(&cached, &json!({"output_tokens": 3}))];
    let read = read.into_iter().zip([message("assistant"), streamed]).map(|(act, body)| case(path, body, act));
    let read = settled(&config, &upstream, read.collect()).await;

    all_at_the_reservation(&zero, (0, 0));
    for (by, _, usage) in &read {
        assert_eq!((&**by, &usage["input"], &usage["cached_input"]), ("reported", &9.into(), &9.into()), "{read:?}");
    }
}
