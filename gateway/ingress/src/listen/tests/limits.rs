use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep, timeout};

use super::super::proxy::tests::proxied;
use super::{Door, ListenSettings, ServeError, World, exchange, get, http2_over, read_to_end, read_until, text_of};

const HELLO: &[u8] = b"GET / HTTP/1.1\r\nhost: gateway.example\r\n\r\n";

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_stays_silent_is_closed() {
    let world = World::plain();
    let (mut io, served) = world.connect();
    let began = Instant::now();

    let answer = read_to_end(&mut io).await;

    assert_eq!(answer, "");
    assert_eq!(began.elapsed(), seconds(10));
    assert!(matches!(served.await.unwrap(), Err(ServeError::HeaderTimeout(_))));
}

#[tokio::test(start_paused = true)]
async fn a_head_that_trickles_is_cut_off_however_it_trickles() {
    let world = World::plain();
    let (mut io, served) = world.connect();
    let began = Instant::now();

    for byte in HELLO {
        if io.write_all(&[*byte]).await.is_err() {
            break;
        }
        sleep(seconds(1)).await;
    }

    assert_eq!(began.elapsed(), seconds(11));
    assert!(matches!(served.await.unwrap(), Err(ServeError::HeaderTimeout(_))));
}

#[tokio::test(start_paused = true)]
async fn a_quiet_connection_is_kept_for_the_idle_time_and_a_late_head_has_its_own() {
    let world = World::plain();
    let (mut idle, idle_served) = world.connect();
    let (mut late, late_served) = world.connect();
    for io in [&mut idle, &mut late] {
        io.write_all(HELLO).await.unwrap();
        read_until(io, "hello").await;
    }
    let began = Instant::now();

    sleep(seconds(70)).await;
    late.write_all(&HELLO[..20]).await.unwrap();
    let closed = read_to_end(&mut idle).await;
    let idle_for = began.elapsed();
    let cut = read_to_end(&mut late).await;

    assert_eq!((closed.as_str(), cut.as_str()), ("", ""));
    assert_eq!(idle_for, seconds(75));
    assert_eq!(began.elapsed(), seconds(80));
    idle_served.await.unwrap().unwrap();
    assert!(matches!(late_served.await.unwrap(), Err(ServeError::HeaderTimeout(_))));
}

#[tokio::test(start_paused = true)]
async fn each_request_begins_the_idle_time_anew() {
    let world = World::plain();
    let (mut io, _served) = world.connect();

    for _ in 0..5 {
        io.write_all(HELLO).await.unwrap();
        read_until(&mut io, "hello").await;
        sleep(seconds(60)).await;
    }
    let began = Instant::now();
    read_to_end(&mut io).await;

    assert_eq!(began.elapsed(), seconds(15));
}

#[tokio::test(start_paused = true)]
async fn a_quiet_http2_connection_is_closed_after_the_idle_time() {
    let world = World::plain();
    let (io, served) = world.connect();
    let (mut requests, connection) = http2_over(io).await;
    let answer = requests.send_request(get("/")).await.unwrap();
    assert_eq!(text_of(answer).await, "hello");
    let began = Instant::now();

    connection.await.unwrap().unwrap();

    assert_eq!(began.elapsed().as_secs(), 75);
    assert!(requests.is_closed());
    served.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_silent_for_long_is_not_cut() {
    let mut world = World::plain();
    let (mut io, served) = world.connect();
    let (io2, _served2) = world.connect();
    let (mut requests, _connection) = http2_over(io2).await;
    io.write_all(b"GET /stream HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut first = world.streams.recv().await.unwrap();
    let answer = requests.send_request(get("/stream")).await.unwrap();
    let mut second = world.streams.recv().await.unwrap();

    sleep(seconds(3_600)).await;
    for events in [&mut first, &mut second] {
        events.send_data(Bytes::from_static(b"at last")).await.unwrap();
    }
    drop((first, second));

    assert!(read_to_end(&mut io).await.contains("at last"));
    assert_eq!(text_of(answer).await, "at last");
    served.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_stops_reading_is_cut_off() {
    let world = World::plain();
    let (mut io, served) = world.connect();
    io.write_all(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let began = Instant::now();

    let cut = served.await.unwrap();

    assert!(matches!(cut, Err(ServeError::WriteTimeout(_))), "{cut:?}");
    assert_eq!(began.elapsed(), seconds(60));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_reads_slowly_gets_all_of_it() {
    let world = World::plain();
    let (mut io, served) = world.connect();
    io.write_all(b"GET /large HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut received = 0;
    let mut chunk = vec![0; 32 * 1024];

    loop {
        let read = tokio::io::AsyncReadExt::read(&mut io, &mut chunk).await.unwrap();
        if read == 0 {
            break;
        }
        received += read;
        sleep(seconds(10)).await;
    }

    assert!(received > 8 << 20, "{received}");
    served.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_coming_is_answered_with_a_timeout() {
    let world = World::plain();
    let (mut io, _served) = world.connect();
    let began = Instant::now();

    let head = "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf";
    let answer = exchange(&mut io, head).await;

    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(began.elapsed() < seconds(45), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_body_declared_too_large_is_refused_before_it_is_sent() {
    let world = World::plain();
    let (mut io, _served) = world.connect();

    let head = "POST /echo HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 33554433\r\n\r\n";
    let answer = exchange(&mut io, head).await;

    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn an_http2_peer_that_is_gone_without_a_word_is_noticed() {
    let mut world = World::plain();
    let (near, served) = world.connect();
    let (io, mut relayed) = tokio::io::duplex(64 * 1024);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        let mut near = near;
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut relayed, &mut near) => {}
            _ = stopped => std::future::pending().await,
        }
    });
    let (mut requests, _connection) = http2_over(io).await;
    let lost = tokio::spawn(async move { requests.send_request(get("/never")).await });
    world.asked.recv().await.unwrap();
    let began = Instant::now();

    // From here on nobody answers, as if the caller's machine had lost power.
    stop.send(()).unwrap();
    world.gone.recv().await.unwrap();

    assert!(began.elapsed() <= seconds(50), "{:?}", began.elapsed());
    assert!(served.await.unwrap().is_err());
    lost.abort();
}

#[tokio::test(start_paused = true)]
async fn a_proxy_header_that_does_not_come_is_waited_for_no_longer_than_a_handshake() {
    let world = World::with(Door::new(
        ListenSettings { proxy_protocol_from: vec!["192.0.2.9".parse().unwrap()], ..ListenSettings::default() },
        None,
    ));
    let (mut io, served) = world.connect();
    let began = Instant::now();
    let header = proxied("198.51.100.7:1".parse().unwrap(), &[]);

    io.write_all(&header[..20]).await.unwrap();
    let answer = read_to_end(&mut io).await;

    assert_eq!(answer, "");
    assert_eq!(began.elapsed(), seconds(10));
    assert!(matches!(served.await.unwrap(), Err(ServeError::HandshakeTimeout(_))));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_takes_nothing_of_one_http2_answer_loses_that_stream_and_no_other() {
    let mut world = World::plain();
    let (io, _served) = world.connect();
    let mut builder = http2::Builder::new(TokioExecutor::new());
    let builder = builder.timer(TokioTimer::new()).initial_stream_window_size(65_535);
    let (mut requests, connection) = builder.handshake(TokioIo::new(io)).await.unwrap();
    tokio::spawn(connection);
    let answer = requests.send_request(get("/stream")).await.unwrap();
    let mut events = world.streams.recv().await.unwrap();
    let began = Instant::now();

    // The answer is held and never read, so its window is never widened.
    let piece = Bytes::from(vec![b'x'; 16 * 1024]);
    let cut = timeout(seconds(3_600), async { while events.send_data(piece.clone()).await.is_ok() {} }).await;

    cut.expect("the answer is given up");
    assert_eq!(began.elapsed(), ListenSettings::default().write_timeout);
    assert_eq!(text_of(requests.send_request(get("/")).await.unwrap()).await, "hello");
    drop(answer);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_takes_its_http2_answer_slowly_keeps_it() {
    let mut world = World::plain();
    let (io, _served) = world.connect();
    let mut builder = http2::Builder::new(TokioExecutor::new());
    let builder = builder.timer(TokioTimer::new()).initial_stream_window_size(65_535);
    let (mut requests, connection) = builder.handshake(TokioIo::new(io)).await.unwrap();
    tokio::spawn(connection);
    let mut answer = requests.send_request(get("/stream")).await.unwrap().into_body();
    let mut events = world.streams.recv().await.unwrap();
    let sender = tokio::spawn(async move {
        for _ in 0..40 {
            events.send_data(Bytes::from(vec![b'x'; 16 * 1024])).await.unwrap();
        }
    });

    let mut bytes = 0;
    while let Some(frame) = answer.frame().await {
        bytes += frame.unwrap().into_data().unwrap().len();
        sleep(seconds(5)).await;
    }

    assert_eq!(bytes, 40 * 16 * 1024);
    sender.await.unwrap();
}
