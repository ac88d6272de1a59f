//! HTTP/2: sharing, bounds, resets.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use egress::{EndpointSpec, Fleet, Http2, Protocol, SendError};
use http::{Request, Response};
use http_body_util::BodyExt;
use http_body_util::channel::Channel;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::tls::{Authority, dns, secure, server, tls_upstream};
use crate::world::{Upstream, answering, endpoint, fleet, fleet_with, ok, pass, read, scripted, send, until};

/// A server that begins every reply with "hi", waits for the word, and says how many of its replies were cut off.
struct Waiting {
    upstream: Upstream,
    go_on: tokio::sync::watch::Sender<bool>,
    cut_off: Arc<AtomicUsize>,
    told: tokio::sync::mpsc::Receiver<()>,
}

async fn waiting(most_streams: u32) -> Waiting {
    let (go_on, may_go_on) = tokio::sync::watch::channel(false);
    let (tell, told) = tokio::sync::mpsc::channel(8);
    let cut_off = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&cut_off);
    let upstream = scripted(move |stream, _| {
        let (may_go_on, count, tell) = (may_go_on.clone(), Arc::clone(&count), tell.clone());
        let answer = move |_: Request<Incoming>| {
            let (mut may_go_on, count, tell) = (may_go_on.clone(), Arc::clone(&count), tell.clone());
            async move {
                let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
                tokio::spawn(async move {
                    sender.send_data(Bytes::from_static(b"hi")).await.unwrap();
                    // Small pieces until the word comes, or the reader is gone.
                    while !*may_go_on.borrow() {
                        let pause = tokio::time::timeout(std::time::Duration::from_millis(5), may_go_on.changed());
                        if pause.await.is_err() && sender.send_data(Bytes::from_static(b".")).await.is_err() {
                            count.fetch_add(1, Ordering::SeqCst);
                            tell.send(()).await.unwrap();
                            return;
                        }
                    }
                });
                Ok::<_, Infallible>(Response::new(body))
            }
        };
        async move {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.max_concurrent_streams(most_streams);
            let _ = builder.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
        }
    })
    .await;
    Waiting { upstream, go_on, cut_off, told }
}

fn prior_knowledge(upstream: &Upstream) -> Fleet {
    fleet(EndpointSpec { http2: Http2::PriorKnowledge, ..endpoint(upstream.address) })
}

#[tokio::test]
async fn a_burst_at_a_cold_endpoint_shares_one_connection() {
    let authority = Authority::new("Corp CA");
    let upstream = tls_upstream(server(&authority.issue("gpu-1.internal"), &["h2"])).await;
    let fleet = fleet_with(secure(upstream.address, &authority), dns().await.resolver());

    let replies = tokio::join!(send(&fleet), send(&fleet), send(&fleet));

    for reply in [replies.0, replies.1, replies.2] {
        assert_eq!(read(reply.unwrap()).await, "ok");
    }
    assert_eq!(upstream.accepted(), 1);
}

#[tokio::test]
async fn prior_knowledge_speaks_http2_without_tls() {
    let upstream = answering(ok).await;
    let fleet = prior_knowledge(&upstream);

    let reply = send(&fleet).await.unwrap();

    assert_eq!(reply.connection.protocol, Protocol::Http2);
    assert_eq!(read(reply).await, "ok");
    let connections = fleet.status()[0].connections;
    assert_eq!((connections.open, connections.idle), (1, 1));
}

#[tokio::test]
async fn dropping_a_reply_resets_its_stream_and_leaves_the_others_alone() {
    let mut server = waiting(100).await;
    let fleet = prior_knowledge(&server.upstream);
    let (dropped, mut kept) = (send(&fleet).await.unwrap(), send(&fleet).await.unwrap());
    assert!(kept.body.frame().await.is_some());

    drop(dropped);

    assert_eq!(server.told.recv().await, Some(()));
    assert_eq!(fleet.status()[0].in_flight, 1);
    server.go_on.send(true).unwrap();
    assert!(kept.body.collect().await.is_ok());
    assert_eq!((server.cut_off.load(Ordering::SeqCst), server.upstream.accepted()), (1, 1));
}

#[tokio::test]
async fn a_second_connection_is_opened_when_the_server_allows_no_more_streams() {
    let server = waiting(1).await;
    let fleet = prior_knowledge(&server.upstream);
    // The first reply has told the client what the server allows.
    let mut first = send(&fleet).await.unwrap();
    assert!(first.body.frame().await.is_some());

    let second = send(&fleet).await.unwrap();

    assert_eq!(server.upstream.accepted(), 2);
    server.go_on.send(true).unwrap();
    assert!(first.body.collect().await.is_ok() && second.body.collect().await.is_ok());
}

#[tokio::test]
async fn a_refused_stream_was_not_sent_and_a_failed_one_was() {
    let upstream = scripted(|stream, number| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (_request, mut respond) = connection.accept().await.unwrap().unwrap();
        if number == 0 {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
        } else {
            respond.send_reset(h2::Reason::INTERNAL_ERROR);
        }
        while connection.accept().await.is_some() {}
    })
    .await;
    let refused = prior_knowledge(&upstream);
    let failed = prior_knowledge(&upstream);

    let not_sent = send(&refused).await.unwrap_err();
    let broken = send(&failed).await.unwrap_err();

    assert!(matches!(not_sent, SendError::NotSent { .. }), "{not_sent:?}");
    assert!(matches!(broken, SendError::BrokenHead { .. }), "{broken:?}");
}

#[tokio::test]
async fn a_shared_connection_is_closed_when_it_was_idle_for_long() {
    let upstream = answering(ok).await;
    let fleet = prior_knowledge(&upstream);
    fleet.start();
    read(send(&fleet).await.unwrap()).await;
    assert_eq!(fleet.status()[0].connections.open, 1);

    // The upkeep first finds it idle, and then still idle.
    for _ in 0..6 {
        pass(std::time::Duration::from_secs(16)).await;
        let looked = fleet.status()[0].connections.open;
        assert!(looked <= 1);
    }

    until(|| fleet.status()[0].connections.open == 0).await;
}
