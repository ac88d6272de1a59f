//! Which connections are kept, and for how long.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use crate::world::{
    Upstream, answering, endpoint, fleet, next_request, ok, pass, post, read, read_request, scripted, send, send_this,
    until, write,
};
use bytes::Bytes;
use egress::{Bound, Fleet, PoolSpec, SendError};
use http::Response;
use http_body_util::Full;

async fn pooled(bounds: PoolSpec) -> (Upstream, Fleet) {
    let upstream = answering(ok).await;
    let mut spec = endpoint(upstream.address);
    spec.pool = bounds;
    let fleet = fleet(spec);
    (upstream, fleet)
}

async fn round_trip(fleet: &Fleet) {
    assert_eq!(read(send(fleet).await.unwrap()).await, "ok");
}

#[tokio::test]
async fn requests_after_each_other_share_one_connection() {
    let (upstream, fleet) = pooled(PoolSpec::default()).await;

    for _ in 0..5 {
        round_trip(&fleet).await;
    }

    assert_eq!(upstream.accepted(), 1);
    let status = &fleet.status()[0];
    assert_eq!((status.counts.requests, status.counts.reused), (5, 4));
    assert_eq!((status.connections.open, status.connections.idle, status.connections.in_use), (1, 1, 0));
}

#[tokio::test]
async fn requests_at_the_same_time_have_a_connection_each_up_to_the_bound() {
    let (upstream, fleet) = pooled(PoolSpec { max_connections: 2, ..PoolSpec::default() }).await;
    let first = send(&fleet).await.unwrap();
    let second = send(&fleet).await.unwrap();

    let error = send(&fleet).await.unwrap_err();

    assert!(matches!(error, SendError::Saturated { bound: Bound::Connections, limit: 2, .. }), "{error:?}");
    read(first).await;
    round_trip(&fleet).await;
    read(second).await;
    assert_eq!(upstream.accepted(), 2);
}

#[tokio::test]
async fn only_so_many_connections_are_kept() {
    let (_upstream, fleet) = pooled(PoolSpec { max_idle: 1, ..PoolSpec::default() }).await;
    let replies = [send(&fleet).await.unwrap(), send(&fleet).await.unwrap(), send(&fleet).await.unwrap()];
    assert_eq!(fleet.status()[0].connections.in_use, 3);

    for reply in replies {
        read(reply).await;
    }

    let connections = fleet.status()[0].connections;
    assert_eq!((connections.open, connections.idle), (1, 1));
}

#[tokio::test]
async fn a_connection_gets_no_request_after_its_lifetime() {
    let lifetime = Duration::from_secs(30);
    let (upstream, fleet) = pooled(PoolSpec { max_lifetime: lifetime, ..PoolSpec::default() }).await;
    round_trip(&fleet).await;
    pass(Duration::from_secs(20)).await;
    round_trip(&fleet).await;
    assert_eq!(upstream.accepted(), 1);

    pass(Duration::from_secs(11)).await;
    round_trip(&fleet).await;

    assert_eq!(upstream.accepted(), 2);
    assert_eq!(fleet.status()[0].connections.open, 1);
}

#[tokio::test]
async fn an_idle_connection_is_closed_by_the_upkeep() {
    let (upstream, fleet) = pooled(PoolSpec { idle_time: Duration::from_secs(10), ..PoolSpec::default() }).await;
    fleet.start();
    round_trip(&fleet).await;
    assert_eq!(fleet.status()[0].connections.open, 1);

    pass(Duration::from_secs(16)).await;

    until(|| fleet.status()[0].connections.open == 0).await;
    round_trip(&fleet).await;
    assert_eq!(upstream.accepted(), 2);
}

#[tokio::test]
async fn an_announced_idle_time_is_kept_to() {
    let upstream = answering(|_| async {
        Response::builder().header("keep-alive", "timeout=5").body(Full::new(Bytes::from_static(b"ok"))).unwrap()
    })
    .await;
    let fleet = fleet(endpoint(upstream.address));
    round_trip(&fleet).await;
    pass(Duration::from_secs(3)).await;
    round_trip(&fleet).await;
    assert_eq!(upstream.accepted(), 1);

    pass(Duration::from_secs(4)).await;
    round_trip(&fleet).await;

    assert_eq!(upstream.accepted(), 2);
}

#[tokio::test]
async fn connections_are_opened_in_advance() {
    let (upstream, fleet) = pooled(PoolSpec { warm: 3, ..PoolSpec::default() }).await;
    fleet.start();
    until(|| fleet.status()[0].connections.idle == 3).await;

    round_trip(&fleet).await;

    assert_eq!(upstream.accepted(), 3);
}

#[tokio::test]
async fn a_server_that_says_close_is_dialled_again() {
    let upstream = scripted(|mut stream, _| async move {
        read_request(&mut stream).await;
        write(&mut stream, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok").await;
    })
    .await;
    let fleet = fleet(endpoint(upstream.address));

    round_trip(&fleet).await;
    round_trip(&fleet).await;

    assert_eq!(upstream.accepted(), 2);
    assert_eq!(fleet.status()[0].counts.failed, 0);
}

#[tokio::test]
async fn a_reply_without_a_body_gives_its_connection_back_without_being_read() {
    let upstream = answering(|_| async { Response::new(Full::new(Bytes::new())) }).await;
    let fleet = fleet(endpoint(upstream.address));

    drop(send(&fleet).await.unwrap());

    let status = &fleet.status()[0];
    assert_eq!((status.in_flight, status.connections.idle, status.counts.cancelled), (0, 1, 0));
}

#[tokio::test]
async fn a_drained_fleet_keeps_no_connection() {
    let (upstream, fleet) = pooled(PoolSpec::default()).await;
    round_trip(&fleet).await;
    let in_flight = send(&fleet).await.unwrap();

    fleet.drain();

    assert_eq!(read(in_flight).await, "ok");
    assert_eq!(fleet.status()[0].connections.open, 0);
    round_trip(&fleet).await;
    assert_eq!(fleet.status()[0].connections.open, 0);
    assert_eq!(upstream.accepted(), 2);
}

/// A server on its own thread, so that it can close a kept connection while this thread has not looked at it yet.
#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_gets_no_request() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (close, may_close) = std::sync::mpsc::channel::<()>();
    let (closed, is_closed) = std::sync::mpsc::channel::<()>();
    let (received, seen) = std::sync::mpsc::channel::<usize>();
    std::thread::spawn(move || {
        for connection in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 4096];
            assert_ne!(stream.read(&mut buffer).unwrap(), 0);
            received.send(connection).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
            if connection == 0 {
                may_close.recv().unwrap();
                drop(stream);
                closed.send(()).unwrap();
            }
        }
    });
    let fleet = fleet(endpoint(address));
    round_trip(&fleet).await;
    close.send(()).unwrap();
    is_closed.recv().unwrap();
    // Now the runtime learns of the end; nobody drives the connection, so it is this request that finds out.
    tokio::task::yield_now().await;

    round_trip(&fleet).await;

    let counts = fleet.status()[0].counts;
    assert_eq!((counts.requests, counts.reused, counts.sent_again, counts.failed), (2, 0, 0, 0));
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [0, 1]);
}

#[tokio::test]
async fn an_idle_connection_that_its_server_closed_is_given_up_by_the_upkeep() {
    let upstream = scripted(|mut stream, _| async move {
        read_request(&mut stream).await;
        write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    })
    .await;
    let fleet = fleet(endpoint(upstream.address));
    round_trip(&fleet).await;

    fleet.start();

    until(|| fleet.status()[0].connections.open == 0).await;
    assert_eq!(fleet.status()[0].counts.failed, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_calls_at_once_half_of_them_streamed_leave_nothing_behind() {
    let upstream = scripted(|mut stream, _| async move {
        while let Some(request) = next_request(&mut stream).await {
            let streamed = request.starts_with("POST /v1/stream");
            let reply = if streamed { STREAMED } else { "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok" };
            write(&mut stream, reply).await;
        }
    })
    .await;
    let mut spec = endpoint(upstream.address);
    // A thousand at once can overflow what waits to be accepted; a busy machine's kernel then tries again after seconds.
    spec.timeouts.connect = Duration::from_secs(60);
    let fleet = Arc::new(fleet(spec));

    let calls: Vec<_> = (0..1000)
        .map(|number| {
            let fleet = Arc::clone(&fleet);
            tokio::spawn(async move {
                let mut request = post(&["{}"]);
                request.path_and_query = if number % 2 == 0 { "/stream" } else { "/whole" }.to_owned();
                let reply = send_this(&fleet, request).await.unwrap();
                assert_eq!(read(reply).await, "ok");
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }

    let status = &fleet.status()[0];
    assert_eq!((status.in_flight, status.counts.requests, status.counts.failed), (0, 1000, 0));
    assert_eq!((status.connections.in_use, status.counts.broken, status.counts.cancelled), (0, 0, 0));
    assert!(status.connections.idle <= 256, "{}", status.connections.idle);
}

const STREAMED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n";
