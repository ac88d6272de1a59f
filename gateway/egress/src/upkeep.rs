//! What an endpoint needs when nobody calls it: old connections closed, some kept warm, its health probed.

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method};
use http_body::Body as _;
use tokio::time::{Instant, sleep_until};

use crate::endpoint::{Endpoint, UpstreamRequest};
use crate::error::SendError;
use crate::spec::ProbeSpec;
use crate::status::ProbeReport;

/// Longest and shortest time between two looks at the connections.
const LOOK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// Most of a probe's answer that is read. A connection with a longer answer is closed.
const PROBE_BODY: usize = 64 * 1024;

/// Begins the upkeep of an endpoint, once.
pub(crate) fn start(endpoint: &Arc<Endpoint>) {
    if endpoint.start_once() {
        tokio::spawn(keep_up(Arc::downgrade(endpoint)));
        if endpoint.source().is_asked() {
            tokio::spawn(keep_verified(Arc::downgrade(endpoint)));
        }
    }
}

async fn keep_up(endpoint: Weak<Endpoint>) {
    let mut probe_at = Instant::now();
    loop {
        // Held only while there is something to do: a reload drops the endpoint, and its task ends.
        let Some(endpoint) = endpoint.upgrade() else { return };
        let now = Instant::now();
        endpoint.pool().sweep(now);
        warm_up(&endpoint).await;
        let mut next = now + (endpoint.pool().idle_time() / 2).clamp(LOOK.0, LOOK.1);
        if let Some(spec) = &endpoint.spec().probe {
            if now >= probe_at {
                if let Some(report) = probe(&endpoint, spec).await {
                    *endpoint.last().probe.lock() = Some(report);
                }
                probe_at = now + spec.interval;
            }
            next = next.min(probe_at.max(now + LOOK.0.min(spec.interval)));
        }
        drop(endpoint);
        sleep_until(next).await;
    }
}

/// Looks at the endpoint's addresses before what is known of them runs out, so that a request hardly ever waits for it and
/// a name that turned public is noticed while nobody asks.
async fn keep_verified(endpoint: Weak<Endpoint>) {
    loop {
        let Some(endpoint) = endpoint.upgrade() else { return };
        let next = endpoint.look_ahead().await;
        drop(endpoint);
        sleep_until(next).await;
    }
}

/// Opens connections until as many are idle as the specification asks for; a failure waits for the next look.
async fn warm_up(endpoint: &Arc<Endpoint>) {
    let bounds = endpoint.pool().bounds();
    for _ in endpoint.pool().connections().idle..bounds.warm.min(bounds.max_idle) {
        let deadline = Instant::now() + endpoint.spec().timeouts.connect;
        match endpoint.dial(deadline).await {
            Ok(lease) => {
                let shared = matches!(lease, crate::connection::Lease::H2(_));
                endpoint.give_back(lease);
                if shared {
                    return;
                }
            }
            Err(error) => {
                tracing::debug!(endpoint = %endpoint.name(), %error, "no connection could be opened in advance");
                return;
            }
        }
    }
}

/// Asks once. It goes through the same door as every request, and counts as one in flight.
///
/// An endpoint that is full gives no report: it is busy, which is not to be taken for ill.
async fn probe(endpoint: &Arc<Endpoint>, spec: &ProbeSpec) -> Option<ProbeReport> {
    let started = Instant::now();
    let request = UpstreamRequest {
        method: Method::GET,
        path_and_query: spec.path.clone(),
        headers: HeaderMap::new(),
        body: Vec::new(),
        body_len: 0,
    };
    let result = match endpoint.send_from_root(request).await {
        Ok(mut reply) => {
            read_away(&mut reply.body).await;
            Ok(reply.status.as_u16())
        }
        Err(SendError::Saturated { .. }) => return None,
        Err(error) => Err(error.to_string()),
    };
    Some(ProbeReport { at: SystemTime::now(), took: started.elapsed(), result })
}

/// Reads a short body to its end, so that the connection can be kept.
async fn read_away(body: &mut crate::body::ReplyBody) {
    let mut read = 0;
    while read < PROBE_BODY {
        let frame = std::future::poll_fn(|context| std::pin::Pin::new(&mut *body).poll_frame(context)).await;
        match frame {
            Some(Ok(frame)) => read += frame.data_ref().map_or(0, bytes::Bytes::len),
            Some(Err(_)) | None => return,
        }
    }
}
