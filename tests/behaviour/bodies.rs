//! Request bodies: compressed ones are read within a bound on what they unfold to, large ones are refused, and what is
//! held in memory at once has a bound of its own.

use std::io::Write as _;

use bytes::Bytes;

use crate::testkit::{Act, Config, Gate, Gateway, Request, Upstream, chat};

const PATH: &str = "/v1/chat/completions";

fn packed(encoding: &str, text: &[u8]) -> Bytes {
    let packed = match encoding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(text).and_then(|()| encoder.finish())
        }
        "br" => {
            let mut out = Vec::new();
            let mut encoder = brotli::CompressorWriter::new(&mut out, 4096, 5, 22);
            let written = encoder.write_all(text);
            drop(encoder);
            written.map(|()| out)
        }
        _ => zstd::encode_all(text, 3),
    };
    packed.expect("memory takes what is written").into()
}

#[tokio::test]
async fn a_compressed_body_is_read_and_goes_on_unfolded() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&Config::serving(&upstream)).await;
    let text = chat("assistant").to_string();

    for (number, encoding) in ["gzip", "br", "zstd"].into_iter().enumerate() {
        let request = Request::bytes(PATH, packed(encoding, text.as_bytes())).header("content-encoding", encoding);
        let answer = gateway.send(request).await;

        answer.of_status(200, encoding).await;
        assert_eq!(upstream.request(number).await.body, text.replace("assistant", "served-model"), "{encoding}");
    }
}

#[tokio::test]
async fn a_small_body_that_unfolds_into_a_large_one_is_refused() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&Config::serving(&upstream)).await;
    let mut bomb = chat("assistant").to_string().into_bytes();
    bomb.resize(33 << 20, b' ');

    for encoding in ["gzip", "br", "zstd"] {
        let small = packed(encoding, &bomb);
        assert!(small.len() < 64 << 10, "{encoding}");
        let answer = gateway.send(Request::bytes(PATH, small).header("content-encoding", encoding)).await;

        assert_eq!(answer.status, 413, "{encoding}");
        assert_eq!(answer.code().await, "request_too_large", "{encoding}");
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&Config::serving(&upstream).listen("max_body_bytes = 4096")).await;
    let fitting = |size: usize| {
        let mut body = chat("assistant").to_string().into_bytes();
        body.resize(size, b' ');
        body
    };

    assert_eq!(gateway.send(Request::bytes(PATH, fitting(4096))).await.status, 200);
    let over = gateway.send(Request::bytes(PATH, fitting(4097))).await;

    assert_eq!(over.status, 413);
    assert_eq!(over.code().await, "request_too_large");
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn a_coding_that_nobody_reads_is_refused() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&Config::serving(&upstream)).await;

    let answer = gateway.send(Request::post(PATH, &chat("assistant")).header("content-encoding", "compress")).await;

    assert_eq!(answer.status, 400);
    assert_eq!(answer.code().await, "invalid_request");
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn a_compressed_body_that_is_broken_is_400() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&Config::serving(&upstream)).await;

    let answer = gateway.send(Request::bytes(PATH, "not gzip at all").header("content-encoding", "gzip")).await;

    assert_eq!(answer.status, 400);
    assert_eq!(answer.code().await, "invalid_request");
}

#[tokio::test]
async fn when_the_bodies_in_memory_are_full_more_is_503_and_room_comes_back() {
    let upstream = Upstream::start("only").await;
    let config = Config::serving(&upstream).listen("max_body_bytes = 65536\nmax_buffered_bytes = 65536");
    let gateway = Gateway::start(&config).await;
    let mut large = chat("assistant");
    large["messages"][0]["content"] = "ferry ".repeat(9_000).into();
    let gate = Gate::closed();
    upstream.script([Act::reply(200, &crate::testkit::completion("late")).after(&gate)]);

    let client = gateway.client();
    let holder = tokio::spawn({
        let body = large.clone();
        async move { client.send(Request::post(PATH, &body)).await.status }
    });
    upstream.request(0).await;
    let shed = gateway.chat(&large).await;
    gate.open();

    assert_eq!(shed.status, 503);
    assert!(shed.header("retry-after").is_some());
    assert_eq!(shed.code().await, "overloaded");
    assert_eq!(holder.await.expect("no panic"), 200);
    assert_eq!(gateway.chat(&large).await.status, 200);
}
