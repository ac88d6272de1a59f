//! The page on which a server says how busy it is: read over the endpoint's own connections, and believed only whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use egress::EndpointSpec;
use http::Response;
use http_body_util::Full;

use crate::world::{answering, endpoint, fleet, until};

fn with_page(spec: EndpointSpec) -> EndpointSpec {
    EndpointSpec { page: Some("/metrics".to_owned()), in_flight: Some(1), ..spec }
}

#[tokio::test]
async fn a_page_is_read_and_takes_no_place_among_the_calls_in_flight() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let upstream = answering(move |request| {
        let count = Arc::clone(&count);
        async move {
            assert_eq!((request.method().as_str(), request.uri().path()), ("GET", "/metrics"));
            count.fetch_add(1, Ordering::SeqCst);
            let page = "llamacpp:requests_processing 1\nllamacpp:requests_deferred 4\n";
            Response::new(Full::new(Bytes::from_static(page.as_bytes())))
        }
    })
    .await;
    let fleet = fleet(with_page(endpoint(upstream.address)));

    fleet.start();
    until(|| asked.load(Ordering::SeqCst) > 0).await;
    let endpoint = Arc::clone(&fleet.endpoints()[0]);
    let mut load = None;
    until(|| endpoint.status().counts.requests > 0).await;
    let read = async {
        while load.is_none() {
            load = endpoint.take_load();
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), read).await.expect("it was read");

    let (load, _) = load.expect("it was read");
    assert_eq!((load.engine, load.running, load.waiting), ("llama.cpp", Some(1), Some(4)));
    assert!(endpoint.take_load().is_none_or(|(load, _)| load.waiting == Some(4)));
}

#[tokio::test]
async fn a_page_that_is_too_long_says_nothing() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    // What it says would be understood, were it not too long.
    let mut page = b"llamacpp:requests_processing 1\nllamacpp:requests_deferred 4\n".to_vec();
    page.resize(egress::scrape::MOST_PAGE + 1, b'\n');
    let page = Bytes::from(page);
    let upstream = answering(move |_| {
        let (count, page) = (Arc::clone(&count), page.clone());
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            Response::new(Full::new(page))
        }
    })
    .await;
    let fleet = fleet(with_page(endpoint(upstream.address)));

    fleet.start();
    // The second reading begins when the first has ended.
    until(|| asked.load(Ordering::SeqCst) > 1).await;
    let endpoint = Arc::clone(&fleet.endpoints()[0]);

    assert_eq!(endpoint.take_load(), None);
}
