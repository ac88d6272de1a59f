//! Replies: their ends, their limits, and what dropping one does.

use std::sync::Arc;
use std::time::Duration;

use egress::BodyError;
use http_body_util::BodyExt;
use tokio::io::AsyncReadExt;
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;

use crate::world::{Upstream, endpoint, fleet, pass, read_request, scripted, send, write};

const HEAD: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

/// A server that begins a chunked reply with "hi", sends each word that it is told, and says when the client is gone.
struct Talking {
    upstream: Upstream,
    say: mpsc::Sender<&'static str>,
    gone: mpsc::Receiver<usize>,
}

async fn talking() -> Talking {
    let (say, said) = mpsc::channel::<&'static str>(8);
    let (tell, gone) = mpsc::channel(8);
    let said = Arc::new(Mutex::new(said));
    let upstream = scripted(move |mut stream, _| {
        let (said, tell) = (Arc::clone(&said), tell.clone());
        async move {
            read_request(&mut stream).await;
            write(&mut stream, &format!("{HEAD}{}", chunk("hi"))).await;
            let mut said = said.lock().await;
            let mut buffer = [0; 16];
            loop {
                tokio::select! {
                    Some(word) = said.recv() => write(&mut stream, &chunk(word)).await,
                    // A reset counts as gone as well.
                    rest = stream.read(&mut buffer) => return tell.send(rest.unwrap_or(0)).await.unwrap(),
                }
            }
        }
    })
    .await;
    Talking { upstream, say, gone }
}

fn chunk(word: &str) -> String {
    format!("{:x}\r\n{word}\r\n", word.len())
}

#[tokio::test]
async fn a_reply_that_pauses_too_long_ends_with_an_idle_timeout() {
    let mut server = talking().await;
    let fleet = fleet(endpoint(server.upstream.address));
    let mut body = send(&fleet).await.unwrap().body;
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "hi");
    tokio::time::pause();

    let started = Instant::now();
    let error = body.frame().await.unwrap().unwrap_err();

    assert!(matches!(error, BodyError::Idle { .. }), "{error:?}");
    assert!((10..12).contains(&started.elapsed().as_secs()));
    assert!(body.frame().await.is_none());
    assert_eq!(server.gone.recv().await, Some(0));
    assert_eq!((fleet.status()[0].in_flight, fleet.status()[0].counts.broken), (0, 1));
}

#[tokio::test]
async fn a_slow_reader_is_not_an_idle_upstream() {
    let server = talking().await;
    let mut body = send(&fleet(endpoint(server.upstream.address))).await.unwrap().body;
    assert!(body.frame().await.unwrap().is_ok());
    // It waits for a while, so the timer is armed; then it is given something and does something else for long.
    let (frame, ()) = tokio::join!(body.frame(), async {
        pass(Duration::from_secs(5)).await;
        server.say.send("more").await.unwrap();
    });
    assert!(frame.unwrap().is_ok());
    pass(Duration::from_secs(30)).await;

    let (frame, ()) = tokio::join!(body.frame(), async {
        pass(Duration::from_secs(9)).await;
        server.say.send("again").await.unwrap();
    });

    assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), "again");
}

#[tokio::test]
async fn each_piece_starts_the_idle_time_anew_until_the_total_limit() {
    let server = talking().await;
    let mut body = send(&fleet(endpoint(server.upstream.address))).await.unwrap().body;
    assert!(body.frame().await.unwrap().is_ok());

    for _ in 0..6 {
        let (frame, ()) = tokio::join!(body.frame(), async {
            pass(Duration::from_secs(9)).await;
            server.say.send("more").await.unwrap();
        });
        assert!(frame.unwrap().is_ok());
    }
    let (frame, ()) = tokio::join!(body.frame(), pass(Duration::from_secs(9)));

    let error = frame.unwrap().unwrap_err();
    assert!(matches!(error, BodyError::Total { after, .. } if after == Duration::from_secs(60)), "{error:?}");
}

#[tokio::test]
async fn a_reply_that_is_cut_short_is_broken_and_not_complete() {
    let upstream = scripted(|mut stream, number| async move {
        read_request(&mut stream).await;
        let reply = if number == 0 {
            format!("{HEAD}2\r\nhi\r\n")
        } else {
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi".into()
        };
        write(&mut stream, &reply).await;
    })
    .await;
    let fleet = fleet(endpoint(upstream.address));

    for _ in 0..2 {
        let error = send(&fleet).await.unwrap().body.collect().await.unwrap_err();
        assert!(matches!(error, BodyError::Broken { .. }), "{error:?}");
    }
    assert_eq!(fleet.status()[0].connections.open, 0);
}

#[tokio::test]
async fn dropping_a_reply_closes_the_connection_at_once() {
    let mut server = talking().await;
    let fleet = fleet(endpoint(server.upstream.address));
    let mut reply = send(&fleet).await.unwrap();
    assert!(reply.body.frame().await.is_some());

    drop(reply);

    assert_eq!(server.gone.recv().await, Some(0));
    let status = &fleet.status()[0];
    assert_eq!((status.in_flight, status.connections.open, status.counts.cancelled), (0, 0, 1));
}

#[tokio::test]
async fn dropping_the_wait_for_the_head_closes_the_connection_at_once() {
    let (tell, mut told) = mpsc::channel(2);
    let upstream = scripted(move |mut stream, _| {
        let tell = tell.clone();
        async move {
            tell.send(read_request(&mut stream).await.len()).await.unwrap();
            tell.send(stream.read(&mut [0; 16]).await.unwrap()).await.unwrap();
        }
    })
    .await;
    let fleet = fleet(endpoint(upstream.address));

    tokio::select! {
        reply = send(&fleet) => assert!(reply.is_err(), "nothing was answered"),
        received = told.recv() => assert!(received.is_some()),
    }

    assert_eq!(told.recv().await, Some(0));
    assert_eq!((fleet.status()[0].in_flight, fleet.status()[0].connections.open), (0, 0));
}
