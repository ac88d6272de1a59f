//! How much may be asked for: an app's requests per minute, requests at once, calls in flight at an endpoint.

use crate::testkit::{Act, Config, Endpoint, Gate, Gateway, Request, Upstream, chat, completion, until};

const PATH: &str = "/v1/chat/completions";

#[tokio::test]
async fn so_many_requests_per_minute_pass_at_once_and_the_next_is_429() {
    let upstream = Upstream::start("only").await;
    let config =
        Config::serving(&upstream).app("slow", "cw_test_slow", &["assistant"], "limits = { requests_per_minute = 3 }");
    let gateway = Gateway::start(&config).await;
    let ask = || gateway.send(Request::post(PATH, &chat("assistant")).key("cw_test_slow"));

    for _ in 0..3 {
        assert_eq!(ask().await.status, 200);
    }
    let refused = ask().await;

    assert_eq!(refused.status, 429);
    let number = |name| refused.header(name).and_then(|value| value.parse::<u64>().ok()).unwrap_or_default();
    assert!((1..=20).contains(&number("retry-after")), "a third of a minute at most");
    assert!((1..=20_000).contains(&number("retry-after-ms")));
    assert_eq!(refused.code().await, "rate_limit_exceeded");
    assert_eq!(upstream.requests().len(), 3);
}

#[tokio::test]
async fn the_rate_of_one_app_is_not_that_of_another() {
    let upstream = Upstream::start("only").await;
    let config =
        Config::serving(&upstream).app("slow", "cw_test_slow", &["assistant"], "limits = { requests_per_minute = 1 }");
    let gateway = Gateway::start(&config).await;

    for _ in 0..2 {
        gateway.send(Request::post(PATH, &chat("assistant")).key("cw_test_slow")).await;
    }

    assert_eq!(gateway.chat(&chat("assistant")).await.status, 200);
}

#[tokio::test]
async fn more_requests_at_once_than_the_bound_are_shed_before_work_is_done() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&Config::serving(&upstream).listen("max_in_flight = 1")).await;
    let gate = Gate::closed();
    upstream.script([Act::reply(200, &completion("late")).after(&gate)]);

    let client = gateway.client();
    let running = tokio::spawn(async move { client.send(Request::post(PATH, &chat("assistant"))).await.status });
    upstream.request(0).await;
    let shed = gateway.chat(&chat("assistant")).await;
    gate.open();

    assert_eq!(shed.status, 503);
    assert!(shed.header("retry-after").is_some());
    assert_eq!(shed.code().await, "overloaded");
    assert_eq!(running.await.expect("no panic"), 200);
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn an_endpoint_that_is_full_is_passed_over() {
    let (small, large) = (Upstream::start("small").await, Upstream::start("large").await);
    let config = Config::new()
        .endpoint("small", Endpoint::of(&small).with("capacity = { in_flight = 1 }"))
        .endpoint("large", Endpoint::of(&large))
        .model("assistant", &["small/m", "large/m"]);
    let gateway = Gateway::start(&config).await;
    let gate = Gate::closed();
    small.script([Act::reply(200, &completion("late")).after(&gate)]);

    let client = gateway.client();
    let running = tokio::spawn(async move { client.send(Request::post(PATH, &chat("assistant"))).await.status });
    small.request(0).await;
    let second = gateway.chat(&chat("assistant")).await;
    gate.open();

    assert_eq!(second.header("x-causeway-endpoint"), Some("large"));
    let record = gateway.audit().record(&second.decision()).await;
    assert_eq!(record.attempts(), ["large/m success"], "the plan knows that it is full");
    let why = &record.intent["candidates"][0]["why"];
    assert!(why.as_str().is_some_and(|why| why.ends_with("it serves as many requests as it may")), "{why}");
    assert_eq!(running.await.expect("no panic"), 200);
    assert_eq!(small.requests().len(), 1);
}

#[tokio::test]
async fn a_stream_keeps_its_place_at_an_endpoint_until_it_ends() {
    let upstream = Upstream::start("only").await;
    let endpoint = Endpoint::of(&upstream).with("capacity = { in_flight = 1 }");
    let gateway = Gateway::start(&Config::new().endpoint("only", endpoint).model("assistant", &["only/m"])).await;
    let gate = Gate::closed();
    let steps = [
        crate::testkit::Step::Send(crate::testkit::chunk("ferry").into()),
        crate::testkit::Step::Wait(gate.clone()),
        crate::testkit::Step::Send((crate::testkit::finish() + crate::testkit::DONE).into()),
    ];
    upstream.script([Act::steps(steps)]);

    let mut stream = gateway.chat(&crate::testkit::chat_stream("assistant")).await;
    stream.event().await;
    let refused = gateway.chat(&chat("assistant")).await;
    gate.open();
    stream.bytes().await;

    assert_eq!(refused.status, 503);
    assert_eq!(refused.code().await, "overloaded");
    assert_eq!(gateway.chat(&chat("assistant")).await.status, 200);
}

#[tokio::test]
async fn a_stream_keeps_the_place_of_its_app_and_its_model_until_its_last_byte() {
    for (of_app, of_model) in [("limits = { in_flight = 1 }", ""), ("", "limits = { in_flight = 1 }")] {
        let upstream = Upstream::start("only").await;
        let config = Config::new()
            .endpoint("only", Endpoint::of(&upstream))
            .model_with("assistant", &["only/m"], of_model)
            .app("narrow", "cw_test_narrow", &["assistant"], of_app);
        let gateway = Gateway::start(&config).await;
        let gate = Gate::closed();
        let steps = [
            crate::testkit::Step::Send(crate::testkit::chunk("ferry").into()),
            crate::testkit::Step::Wait(gate.clone()),
            crate::testkit::Step::Send((crate::testkit::finish() + crate::testkit::DONE).into()),
        ];
        upstream.script([Act::steps(steps)]);
        let ask = |body| gateway.send(Request::post(PATH, &body).key("cw_test_narrow"));

        let mut stream = ask(crate::testkit::chat_stream("assistant")).await;
        stream.event().await;
        let refused = ask(chat("assistant")).await;
        gate.open();
        stream.bytes().await;

        assert_eq!(refused.status, 429, "{of_app}{of_model}");
        assert!(refused.header("retry-after").is_some());
        assert_eq!(refused.code().await, "rate_limit_exceeded");
        until("the place to be free", async || (ask(chat("assistant")).await.status == 200).then_some(())).await;
        assert_eq!(upstream.requests().len(), 2);
    }
}

#[tokio::test]
async fn a_model_and_each_user_have_rates_of_their_own_and_the_headers_say_what_is_left() {
    let upstream = Upstream::start("only").await;
    let config = Config::new()
        .endpoint("only", Endpoint::of(&upstream))
        .model_with("scarce", &["only/m"], "limits = { requests_per_minute = 2 }")
        .model("plenty", &["only/m"])
        .app("first", "cw_test_first", &["scarce", "plenty"], "limits = { requests_per_minute = 50 }")
        .app("second", "cw_test_second", &["scarce", "plenty"], "limits = { user_requests_per_minute = 1 }");
    let gateway = Gateway::start(&config).await;
    let ask = |key: &str, model: &str, user: &str| {
        let mut body = chat(model);
        body["user"] = user.into();
        gateway.send(Request::post(PATH, &body).key(key))
    };

    let first = ask("cw_test_first", "plenty", "erika").await;
    let scarce = ask("cw_test_first", "scarce", "erika").await;
    let of_another = ask("cw_test_second", "scarce", "erika").await;
    let used_up = ask("cw_test_first", "scarce", "erika").await;
    let again = ask("cw_test_second", "plenty", "erika").await;
    let somebody_else = ask("cw_test_second", "plenty", "max").await;

    let left = |answer: &crate::testkit::Answer| {
        let header = |name: &str| answer.header(&format!("x-ratelimit-{name}-requests")).unwrap_or("none").to_owned();
        (header("limit"), header("remaining"), header("reset"))
    };
    assert_eq!(left(&first), ("50".to_owned(), "49".to_owned(), "1.2s".to_owned()));
    assert_eq!(left(&scarce), ("2".to_owned(), "1".to_owned(), "30s".to_owned()));
    assert_eq!(left(&used_up), ("2".to_owned(), "0".to_owned(), "1m0s".to_owned()));
    assert_eq!(left(&again), ("1".to_owned(), "0".to_owned(), "1m0s".to_owned()));
    let statuses = [&first, &scarce, &of_another, &used_up, &again, &somebody_else].map(|answer| answer.status);
    assert_eq!(statuses, [200, 200, 200, 429, 429, 200]);
    assert_eq!(upstream.requests().len(), 4);
}
