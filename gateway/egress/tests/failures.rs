//! How far a request came, told apart.

use std::net::Ipv4Addr;
use std::time::Duration;

use egress::{Bound, Phase, SendError};
use http::HeaderValue;
use http::header::AUTHORIZATION;
use policy::TargetId;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use crate::world::{
    TARGET, Upstream, answering, cleared, endpoint, fleet, ok, permit, post, read, read_request, scripted, send,
    send_this, write,
};

#[tokio::test]
async fn a_request_reaches_the_endpoint_below_its_base_path_with_its_credential_only() {
    let upstream = scripted(|mut stream, _| async move {
        let seen = read_request(&mut stream).await;
        let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{seen}", seen.len());
        write(&mut stream, &reply).await;
    })
    .await;
    let mut spec = endpoint(upstream.address);
    spec.credential = Some(egress::Own::Secret(egress::Credential {
        header: AUTHORIZATION,
        prefix: "Bearer ",
        secret: egress::Secret::new("own".to_owned()),
    }));
    let mut request = post(&["{\"a\":", "", "1}"]);
    request.headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer callers"));
    request.headers.insert("x-stainless-lang", HeaderValue::from_static("python"));
    request.headers.insert("content-length", HeaderValue::from_static("999"));

    let reply = send_this(&fleet(spec), request).await.unwrap();

    let proof = std::sync::Arc::clone(&reply.connection);
    let seen = String::from_utf8(read(reply).await.to_vec()).unwrap();
    assert!(seen.starts_with("POST /v1/chat/completions?x=1 HTTP/1.1\r\n"), "{seen}");
    assert!(seen.ends_with("\r\n\r\n{\"a\":1}"), "{seen}");
    assert!(seen.contains("x-stainless-lang: python\r\n"), "{seen}");
    assert!(seen.contains("authorization: Bearer own\r\n") && !seen.contains("callers"), "{seen}");
    assert!(seen.contains("content-length: 7\r\n") && !seen.contains("999"), "{seen}");
    assert!(seen.contains(&format!("host: {}\r\n", upstream.address)), "{seen}");
    assert_eq!((proof.address, proof.peer), (upstream.address, upstream.address));
    assert_eq!(&*proof.resolved_by, "literal");
}

#[tokio::test]
async fn a_refused_connection_says_so() {
    let gone = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    let fleet = fleet(endpoint(gone));

    let error = send(&fleet).await.unwrap_err();

    assert!(matches!(error, SendError::Connect { refused: true, .. }), "{error:?}");
    assert!(!error.may_have_executed());
    assert_eq!(error.to_string(), format!("endpoint `gpu-1`: {gone} refused the connection"));
    assert_eq!(fleet.status()[0].last_error.as_ref().unwrap().message, error.to_string());
    assert_eq!(fleet.status()[0].connections.open, 0);
}

#[tokio::test]
async fn a_server_that_does_not_accept_is_a_connect_timeout() {
    // Linux drops SYNs for a listener whose queue is full.
    let listener = tokio::net::TcpSocket::new_v4().unwrap();
    listener.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let listener = listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut filling = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(50)) {
        filling.push(stream);
    }
    tokio::time::pause();

    let error = send(&fleet(endpoint(address))).await.unwrap_err();

    assert!(matches!(error, SendError::ConnectTimeout { phase: Phase::Tcp, .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("endpoint `gpu-1`: no TCP connection within 5s at {address}"));
}

#[tokio::test]
async fn a_server_that_answers_no_http_is_a_broken_head() {
    let upstream = scripted(|mut stream, _| async move {
        read_request(&mut stream).await;
        write(&mut stream, "SSH-2.0-OpenSSH_9.2\r\n\r\n").await;
    })
    .await;

    let error = send(&fleet(endpoint(upstream.address))).await.unwrap_err();

    assert!(matches!(error, SendError::BrokenHead { .. }), "{error:?}");
    assert!(error.may_have_executed());
}

#[tokio::test]
async fn a_server_that_reads_the_request_and_closes_is_a_broken_head_and_not_tried_again() {
    let upstream = scripted(|mut stream, _| async move {
        read_request(&mut stream).await;
    })
    .await;

    let error = send(&fleet(endpoint(upstream.address))).await.unwrap_err();

    assert!(matches!(error, SendError::BrokenHead { .. }), "{error:?}");
    assert_eq!(upstream.accepted(), 1);
}

/// A server that says when it has read a request, answers nothing, and says when the client is gone.
async fn silent() -> (Upstream, mpsc::Receiver<usize>) {
    let (tell, told) = mpsc::channel(2);
    let upstream = scripted(move |mut stream, _| {
        let tell = tell.clone();
        async move {
            tell.send(read_request(&mut stream).await.len()).await.unwrap();
            tell.send(stream.read(&mut [0; 16]).await.unwrap()).await.unwrap();
        }
    })
    .await;
    (upstream, told)
}

#[tokio::test]
async fn a_silent_server_is_a_first_byte_timeout_and_its_connection_is_closed() {
    let (upstream, mut told) = silent().await;
    let fleet = fleet(endpoint(upstream.address));
    let received = async {
        told.recv().await.unwrap();
        tokio::time::pause();
    };

    let (reply, ()) = tokio::join!(send(&fleet), received);

    let error = reply.unwrap_err();
    assert!(
        matches!(error, SendError::FirstByteTimeout { after, .. } if after == Duration::from_secs(20)),
        "{error:?}"
    );
    assert!(error.may_have_executed());
    assert_eq!(told.recv().await, Some(0));
    assert_eq!(fleet.status()[0].in_flight, 0);
}

#[tokio::test]
async fn the_total_limit_ends_the_wait_for_the_head_too() {
    let (upstream, mut told) = silent().await;
    let mut spec = endpoint(upstream.address);
    spec.timeouts.total = Duration::from_secs(15);
    let fleet = fleet(spec);
    let received = async {
        told.recv().await.unwrap();
        tokio::time::pause();
    };

    let (reply, ()) = tokio::join!(send(&fleet), received);

    let error = reply.unwrap_err();
    assert!(matches!(error, SendError::TotalTimeout { after, .. } if after == Duration::from_secs(15)), "{error:?}");
}

#[tokio::test]
async fn requests_beyond_the_in_flight_bound_are_refused_until_a_reply_has_ended() {
    let upstream = answering(ok).await;
    let mut spec = endpoint(upstream.address);
    spec.in_flight = Some(1);
    let fleet = fleet(spec);
    let first = send(&fleet).await.unwrap();

    let error = send(&fleet).await.unwrap_err();

    assert!(matches!(error, SendError::Saturated { bound: Bound::InFlight, limit: 1, .. }), "{error:?}");
    assert_eq!(read(first).await, "ok");
    assert!(send(&fleet).await.is_ok());
}

#[tokio::test]
async fn a_warrant_opens_only_the_request_of_its_own_permit() {
    let upstream = answering(ok).await;
    let fleet = fleet(endpoint(upstream.address));
    let (_, request) = cleared(post(&["x"]));
    let other = permit().warrant(TARGET).unwrap();

    let error = fleet.send(other, request).await.unwrap_err();

    assert!(matches!(error, SendError::WrongWarrant(_)), "{error:?}");
    assert_eq!(upstream.accepted(), 0);
}

#[tokio::test]
async fn a_warrant_for_a_target_of_another_configuration_is_refused() {
    let upstream = answering(ok).await;
    let fleet = fleet(endpoint(upstream.address));
    let permit = permit();
    let warrant = permit.warrant(TargetId(1)).unwrap();
    let request = warrant.clear(post(&["x"])).unwrap();

    let error = fleet.send(warrant, request).await.unwrap_err();

    assert!(matches!(error, SendError::UnknownTarget { target: TargetId(1) }), "{error:?}");
}

#[tokio::test]
async fn a_request_that_is_no_http_is_not_sent() {
    let upstream = answering(ok).await;
    let fleet = fleet(endpoint(upstream.address));
    let mut short = post(&["x"]);
    short.body_len = 2;
    let mut spaced = post(&["x"]);
    spaced.path_and_query = "/chat completions".to_owned();

    for request in [short, spaced] {
        let error = send_this(&fleet, request).await.unwrap_err();
        assert!(matches!(error, SendError::Unsendable { .. }), "{error:?}");
    }
    assert_eq!(upstream.accepted(), 0);
    assert_eq!(fleet.status()[0].in_flight, 0);
}
