//! Puts checkpoints of the audit log at the server that the configuration names as its second place.
//!
//! **Promises.** A server that is down, slow or lying costs no request and a bounded memory: only the latest checkpoint waits,
//! and it says all that the ones before said. A copy counts when the server took it with 200, 201 or 204 and, unless
//! `read_back` is off, gives the same bytes again. No redirection is followed and no file is put in the place of another
//! (`if-none-match: *`, RFC 9110 section 13.1.2).

use std::time::Duration;

use bytes::Bytes;
use egress::ControlHost;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, IF_NONE_MATCH};
use telemetry::audit::Copy;
use tokio::time::{sleep, timeout};

use crate::gateway::Gateway;

/// Time for one copy, both ways.
const LIMIT: Duration = Duration::from_secs(10);
/// After this time a copy that failed is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// Most bytes of an answer: a checkpoint has a few hundred.
const LONGEST_ANSWER: usize = 64 * 1024;
/// Time for the last copy when the process leaves.
const AT_LAST: Duration = Duration::from_secs(5);

/// A server that takes files by HTTP.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) host: ControlHost,
    pub(crate) base_path: String,
    pub(crate) read_back: bool,
}

/// Runs until it is dropped.
pub(crate) async fn run(gateway: &Gateway) {
    loop {
        let copy = gateway.audit.next_copy().await;
        if !carry(gateway, &copy).await {
            sleep(RETRY).await;
        }
    }
}

/// The closing checkpoint, when the process leaves.
pub(crate) async fn last(gateway: &Gateway) {
    let Some(copy) = gateway.audit.waiting_copy() else { return };
    let carried = timeout(AT_LAST, carry(gateway, &copy)).await;
    if carried != Ok(true) {
        tracing::error!("the last checkpoint could not be copied to the second place");
    }
}

async fn carry(gateway: &Gateway, copy: &Copy) -> bool {
    // A reload may have taken the server out of the configuration; that such a change takes a restart was said then.
    let result = match gateway.snapshot().second_place.clone() {
        None => Err("the configuration names no server any more".to_owned()),
        Some(server) => match timeout(LIMIT, server.keep(copy)).await {
            Ok(result) => result,
            Err(_) => Err(format!("there was no answer within {} s", LIMIT.as_secs())),
        },
    };
    gateway.audit.copied(copy.size, &result);
    result.is_ok()
}

impl Server {
    async fn keep(&self, copy: &Copy) -> Result<(), String> {
        let path = format!("{}/{}", self.base_path, copy.name);
        let note = Bytes::copy_from_slice(copy.note.as_bytes());
        let mut headers = HeaderMap::new();
        headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        let put = self.host.put(&path, headers, note.clone(), LONGEST_ANSWER).await;
        let status = put.map_err(|error| error.to_string())?.status.as_u16();
        match status {
            200 | 201 | 204 => {}
            // It is there already: an answer to an earlier try was lost, or somebody else put something there.
            412 if self.read_back => {}
            _ => return Err(format!("it answers {status}")),
        }
        if !self.read_back {
            return Ok(());
        }
        let fetched = self.host.get(&path, HeaderMap::new(), LONGEST_ANSWER).await;
        let fetched = fetched.map_err(|error| error.to_string())?;
        match fetched.status.as_u16() {
            200 if fetched.body == note => Ok(()),
            200 => Err("it gives something else than what it took".to_owned()),
            status => Err(format!("it took a checkpoint, and answers {status} when asked for it")),
        }
    }
}
