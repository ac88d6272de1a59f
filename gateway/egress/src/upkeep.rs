//! What an endpoint needs when nobody calls it: old connections closed, some kept warm, its health probed.

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method};
use http_body::Body as _;
use tokio::time::{Instant, sleep_until};

use crate::canary;
use crate::endpoint::{Endpoint, UpstreamRequest};
use crate::error::SendError;
use crate::scrape::{self, INTERVAL, Load, MOST_PAGE};
use crate::spec::{ProbeSpec, Reach};
use crate::status::ProbeReport;

/// Longest and shortest time between two looks at the connections.
const LOOK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// Longest that a probe may take: what answers it later is not well, and the connections are kept by the same task.
const PROBE_WITHIN: Duration = Duration::from_secs(10);
/// Most of a probe's answer that is read. A connection with a longer answer is closed.
const PROBE_BODY: usize = 64 * 1024;

/// Begins the upkeep of an endpoint, once.
pub(crate) fn start(endpoint: &Arc<Endpoint>) {
    if endpoint.start_once() {
        tokio::spawn(keep_up(Arc::downgrade(endpoint)));
        // One written as an address needs no look-up, but a public front that was met there is looked at again.
        if endpoint.source().is_asked() || matches!(endpoint.spec().reach, Reach::PrivateLink { .. }) {
            tokio::spawn(keep_verified(Arc::downgrade(endpoint)));
        }
        if endpoint.spec().page.is_some() {
            tokio::spawn(read_pages(Arc::downgrade(endpoint)));
        }
        if endpoint.canary().is_some() {
            tokio::spawn(canary::watch(Arc::downgrade(endpoint)));
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

/// Reads the endpoint's page again and again: often while requests go there, seldom while none do.
async fn read_pages(endpoint: Weak<Endpoint>) {
    let mut failing = false;
    loop {
        let Some(endpoint) = endpoint.upgrade() else { return };
        let began = Instant::now();
        match load(&endpoint).await {
            Ok(load) => {
                failing = false;
                *endpoint.last().load.lock() = Some((load, std::time::Instant::now()));
            }
            // Said once; a page that is not read says nothing, which is neither full nor free.
            Err(why) if !failing => {
                failing = true;
                tracing::warn!(endpoint = %endpoint.name(), why, "the page that says how busy it is cannot be read");
            }
            Err(_) => {}
        }
        let is_busy = endpoint.status().in_flight > 0;
        // A page that takes long is asked for less often: reading it must not become the load.
        let pause = if is_busy && !failing { INTERVAL.max(began.elapsed() * 4) } else { SELDOM };
        drop(endpoint);
        tokio::time::sleep(pause).await;
    }
}

/// Time between two readings while no request of ours is there, and after one that failed.
const SELDOM: Duration = Duration::from_secs(2);

/// How long the page of a server may take; a busy server has other things to do.
const PAGE_WITHIN: Duration = Duration::from_secs(2);

async fn load(endpoint: &Arc<Endpoint>) -> Result<Load, String> {
    let path = endpoint.spec().page.clone().unwrap_or_default();
    let request = UpstreamRequest {
        method: Method::GET,
        path_and_query: path,
        headers: HeaderMap::new(),
        body: Vec::new(),
        body_len: 0,
    };
    let read = async {
        let mut reply = endpoint.send_aside(request).await.map_err(|error| error.to_string())?;
        if !reply.status.is_success() {
            return Err(format!("it answered {}", reply.status.as_u16()));
        }
        let mut page = Vec::new();
        while let Some(frame) =
            std::future::poll_fn(|context| std::pin::Pin::new(&mut reply.body).poll_frame(context)).await
        {
            let frame = frame.map_err(|error| error.to_string())?;
            page.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            if page.len() > MOST_PAGE {
                return Err(format!("it is larger than {MOST_PAGE} bytes"));
            }
        }
        let page = String::from_utf8_lossy(&page);
        scrape::read(&page).ok_or_else(|| "it is no page of an engine that is known here".to_owned())
    };
    tokio::time::timeout(PAGE_WITHIN, read).await.unwrap_or_else(|_| Err("it does not come in time".to_owned()))
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
    let asked = async {
        let own = endpoint.identified().await?;
        let mut reply = endpoint.send_from_root(request, own).await?;
        read_away(&mut reply.body).await;
        Ok::<_, SendError>(reply.status.as_u16())
    };
    let result = match tokio::time::timeout(PROBE_WITHIN, asked).await {
        Ok(Ok(status)) => Ok(status),
        Ok(Err(SendError::Saturated { .. })) => return None,
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("it did not answer within {} s", PROBE_WITHIN.as_secs())),
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
