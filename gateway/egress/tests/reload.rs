//! A new configuration, and the probes.

use std::time::Duration;

use bytes::Bytes;
use egress::{BuildProblem, EndpointSpec, Fleet, ProbeSpec};
use http::{Response, StatusCode};
use http_body_util::Full;
use policy::TargetId;

use crate::world::{TARGET, answering, endpoint, fleet, ok, pass, read, send, until};

#[tokio::test]
async fn an_unchanged_endpoint_keeps_its_connections_over_a_reload() {
    let upstream = answering(ok).await;
    let before = fleet(endpoint(upstream.address));
    read(send(&before).await.unwrap()).await;

    let after = Fleet::build(vec![endpoint(upstream.address)], Vec::new(), &[(TARGET, 0)], Some(&before)).unwrap();
    drop(before);
    read(send(&after).await.unwrap()).await;

    assert_eq!(upstream.accepted(), 1);
}

#[tokio::test]
async fn a_changed_endpoint_starts_afresh_and_the_old_one_goes_with_its_fleet() {
    let upstream = answering(ok).await;
    let before = fleet(endpoint(upstream.address));
    read(send(&before).await.unwrap()).await;
    let old = std::sync::Arc::downgrade(&before.endpoints()[0]);
    let changed = EndpointSpec { in_flight: Some(7), ..endpoint(upstream.address) };

    let after = Fleet::build(vec![changed], Vec::new(), &[(TARGET, 0)], Some(&before)).unwrap();
    drop(before);
    read(send(&after).await.unwrap()).await;

    assert_eq!(upstream.accepted(), 2);
    assert!(old.upgrade().is_none());
}

#[tokio::test]
async fn every_problem_is_reported_at_once() {
    let address = "127.0.0.1:80".parse().unwrap();
    let bad_path = EndpointSpec { base_path: "v1/".to_owned(), ..endpoint(address) };
    let specs = vec![bad_path, endpoint(address)];

    let error = Fleet::build(specs, Vec::new(), &[(TARGET, 5), (TargetId(1), 1)], None).unwrap_err();

    let problems = error.0.as_slice();
    assert!(
        matches!(
            problems,
            [BuildProblem::Url { .. }, BuildProblem::Duplicate { .. }, BuildProblem::Target { target: TARGET }]
        ),
        "{problems:?}"
    );
}

#[tokio::test]
async fn a_probe_asks_the_root_of_the_host_and_its_answer_is_shown() {
    let upstream = answering(|request| async move {
        let status = if request.uri().path() == "/health" { StatusCode::OK } else { StatusCode::NOT_FOUND };
        Response::builder().status(status).body(Full::new(Bytes::from_static(b"fine"))).unwrap()
    })
    .await;
    let probe = ProbeSpec { path: "/health".to_owned(), interval: Duration::from_secs(5) };
    let fleet = fleet(EndpointSpec { probe: Some(probe), ..endpoint(upstream.address) });

    fleet.start();
    for probes in 1..4 {
        let done = || fleet.status()[0].counts.requests == probes && fleet.status()[0].in_flight == 0;
        until(done).await;
        pass(Duration::from_secs(5)).await;
    }

    assert!(fleet.status()[0].last_probe.as_ref().unwrap().is_healthy());
    assert_eq!(upstream.accepted(), 1);
}

#[tokio::test]
async fn a_probe_of_a_dead_endpoint_says_why() {
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let probe = ProbeSpec { path: "/health".to_owned(), interval: Duration::from_secs(5) };
    let fleet = fleet(EndpointSpec { probe: Some(probe), ..endpoint(gone) });

    fleet.start();
    until(|| fleet.status()[0].last_probe.is_some()).await;

    let report = fleet.status()[0].last_probe.clone().unwrap();
    assert!(!report.is_healthy());
    assert!(report.result.unwrap_err().contains("refused the connection"));
}
