use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use super::{World, exchange, get, http2_over, read_to_end, read_until, text_of};

const HELLO: &str = "GET / HTTP/1.1\r\nhost: gateway.example\r\n\r\n";
const STREAM: &[u8] = b"GET /stream HTTP/1.1\r\nhost: gateway.example\r\n\r\n";

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[tokio::test(start_paused = true)]
async fn an_http1_stream_in_flight_is_finished_and_then_the_connection_ends() {
    let mut world = World::plain();
    let (mut io, served) = world.connect();
    io.write_all(STREAM).await.unwrap();
    let mut events = world.streams.recv().await.unwrap();
    events.send_data(bytes("before")).await.unwrap();
    read_until(&mut io, "before\r\n").await;

    world.switch.begin();
    tokio::time::sleep(Duration::from_secs(600)).await;
    events.send_data(bytes("after")).await.unwrap();
    drop(events);
    let rest = read_to_end(&mut io).await;

    assert_eq!(rest, "5\r\nafter\r\n0\r\n\r\n");
    served.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn http2_streams_in_flight_are_finished_and_no_new_one_is_begun() {
    let mut world = World::plain();
    let (io, served) = world.connect();
    let (mut requests, connection) = http2_over(io).await;
    let answer = requests.send_request(get("/stream")).await.unwrap();
    let mut events = world.streams.recv().await.unwrap();

    world.switch.begin();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let refused = requests.send_request(get("/")).await;
    events.send_data(bytes("after")).await.unwrap();
    drop(events);

    assert!(refused.is_err());
    assert_eq!(text_of(answer).await, "after");
    connection.await.unwrap().unwrap();
    served.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_answer_begun_after_the_drain_says_that_the_connection_ends() {
    let world = World::plain();
    let (mut quiet, _served) = world.connect();
    quiet.write_all(HELLO.as_bytes()).await.unwrap();
    let before = read_until(&mut quiet, "hello").await;
    let (mut fresh, _served2) = world.connect();

    world.switch.begin();
    tokio::task::yield_now().await;
    let late = exchange(&mut quiet, HELLO).await;
    let first = exchange(&mut fresh, HELLO).await;

    assert!(!before.contains("connection: close"), "{before}");
    for answer in [late, first] {
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("connection: close") && answer.ends_with("hello"), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_comes_during_the_drain_is_answered_once() {
    let world = World::plain();
    world.switch.begin();

    let (mut io, served) = world.connect();
    let first = exchange(&mut io, HELLO).await;
    let (io, served2) = world.connect();
    let (mut requests, _connection) = http2_over(io).await;
    let second = requests.send_request(get("/")).await.unwrap();

    assert!(first.contains("connection: close"), "{first}");
    assert_eq!(text_of(second).await, "hello");
    served.await.unwrap().unwrap();
    served2.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn quiet_connections_end_soon_after_the_drain_began() {
    let world = World::plain();
    let (mut quiet, served) = world.connect();
    quiet.write_all(HELLO.as_bytes()).await.unwrap();
    read_until(&mut quiet, "hello").await;
    let (io, served2) = world.connect();
    let (mut requests, connection) = http2_over(io).await;
    text_of(requests.send_request(get("/")).await.unwrap()).await;
    let (_silent, served3) = world.connect();
    tokio::task::yield_now().await;
    let began = Instant::now();

    world.switch.begin();
    for served in [served, served2, served3] {
        served.await.unwrap().unwrap();
    }

    assert_eq!(began.elapsed().as_secs(), 1);
    connection.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn two_hundred_streams_in_flight_all_end_whole() {
    let mut world = World::plain();
    let mut callers = Vec::new();
    for number in 0..200 {
        let (mut io, served) = world.connect();
        if number % 2 == 0 {
            callers.push(tokio::spawn(async move {
                let answer = exchange(&mut io, std::str::from_utf8(STREAM).unwrap()).await;
                served.await.unwrap().unwrap();
                answer.ends_with("4\r\nlast\r\n0\r\n\r\n")
            }));
        } else {
            let (mut requests, _connection) = http2_over(io).await;
            callers.push(tokio::spawn(async move {
                let answer = requests.send_request(get("/stream")).await.unwrap();
                let whole = text_of(answer).await == "last";
                drop(requests);
                served.await.unwrap().unwrap();
                whole
            }));
        }
    }
    let mut events = Vec::new();
    for _ in 0..200 {
        events.push(world.streams.recv().await.unwrap());
    }

    world.switch.begin();
    tokio::task::yield_now().await;
    for mut events in events {
        events.send_data(bytes("last")).await.unwrap();
    }

    for caller in callers {
        assert!(caller.await.unwrap());
    }
}
