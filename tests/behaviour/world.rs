//! The world of these tests itself: a strict upstream that let everything pass would prove nothing.

use crate::testkit::{Act, Client, DONE, KEY, Request, Step, UPSTREAM_KEY, Upstream, chat, chunk};

/// A request as the gateway should send it.
fn proper() -> Request {
    Request::post("/v1/chat/completions", &chat("served-model")).key(UPSTREAM_KEY)
}

#[tokio::test]
async fn a_proper_request_is_answered() {
    let upstream = Upstream::start("only").await;

    let answer = Client::plain(upstream.address).send(proper()).await;

    assert!(answer.of_status(200, "a proper request").await.contains("only"));
}

#[tokio::test]
async fn whatever_must_not_reach_an_upstream_is_refused() {
    let upstream = Upstream::start("only").await;
    let improper = [
        ("no credential", proper().anonymous()),
        ("the caller's key", proper().key(KEY)),
        ("the caller's key beside", proper().header("x-forwarded-key", KEY)),
        ("a second credential", proper().header("api-key", UPSTREAM_KEY)),
        ("a header of ours", proper().header("x-causeway-labels", "health")),
        ("where it came from", proper().header("x-forwarded-for", "10.0.0.1")),
        ("a header of one hop", proper().header("te", "trailers")),
        ("a path of nobody", Request::post("/chat/completions", &chat("served-model")).key(UPSTREAM_KEY)),
        ("no JSON", Request::bytes("/v1/chat/completions", "{\"model\":").key(UPSTREAM_KEY)),
    ];

    for (what, request) in improper {
        let answer = Client::plain(upstream.address).send(request).await;

        assert!(answer.of_status(400, what).await.contains("strict upstream"), "{what}");
    }
}

#[tokio::test]
async fn a_stream_can_be_cut_where_the_script_says() {
    let upstream = Upstream::start("only").await;
    upstream.script([Act::steps([Step::Send(chunk("ferry").into()), Step::Close])]);

    let mut answer = Client::plain(upstream.address).send(proper()).await;

    assert_eq!(answer.event().await, Some(chunk("ferry")));
    assert!(answer.try_bytes().await.is_err(), "a body that is cut is not a whole one");
}

#[tokio::test]
async fn without_a_script_it_answers_as_it_was_asked() {
    let upstream = Upstream::start("only").await;
    let stream = Request::post("/v1/chat/completions", &crate::testkit::chat_stream("m")).key(UPSTREAM_KEY);

    let text = Client::plain(upstream.address).send(stream).await.text().await;

    assert!(text.ends_with(DONE), "{text}");
}
