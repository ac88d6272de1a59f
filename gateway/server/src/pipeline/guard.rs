//! The guard against the gateway's own faults: a panic in a stage is an answer, and not a connection that breaks.
//!
//! What the request held is dropped with its stages; open books close themselves on that way and, as they are told of the
//! fault, say `internal_error`. What is left to do here is to answer the caller in its own dialect, and to say in the log
//! which decision it was. The process and the other requests go on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use http::Response;
use wire::ErrorShape;

use super::arrive::{Arrived, DecisionId};
use super::headers;
use super::refusal::Refusal;
use super::respond::ReplyBody;
use crate::gateway::Gateway;
use crate::snapshot::Snapshot;

/// Whether a stage of this request panicked. What is dropped after that asks it.
#[derive(Clone, Default)]
pub(super) struct Fault(Arc<AtomicBool>);

impl Fault {
    pub(super) fn happened(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn happens(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What an answer needs to know when the request itself is lost.
pub(super) struct Witness {
    gateway: Arc<Gateway>,
    snapshot: Arc<Snapshot>,
    decision: DecisionId,
    shape: ErrorShape,
    fault: Fault,
}

impl Witness {
    pub(super) fn of(arrived: &Arrived) -> Self {
        let exchange = arrived.exchange();
        Self {
            gateway: Arc::clone(&exchange.gateway),
            snapshot: Arc::clone(&exchange.snapshot),
            decision: exchange.decision.clone(),
            shape: exchange.shape,
            fault: exchange.fault.clone(),
        }
    }

    /// Runs the stages to an answer, whatever becomes of them.
    pub(super) async fn watch(self, stages: impl Future<Output = Response<ReplyBody>>) -> Response<ReplyBody> {
        match caught(stages, &self.fault).await {
            Some(response) => response,
            None => self.answer(),
        }
    }

    fn answer(self) -> Response<ReplyBody> {
        self.gateway.metrics.process().panics().inc();
        tracing::error!(decision = %self.decision, "a fault of the gateway: a stage panicked, and its caller gets a 500");
        let mut response = Refusal::Internal.response(self.shape);
        headers::name(response.headers_mut(), &self.decision, self.shape, &self.snapshot);
        response
    }
}

/// The future's output, or nothing when it panicked, which `fault` knows before the future is dropped.
async fn caught<T>(future: impl Future<Output = T>, fault: &Fault) -> Option<T> {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        // Nothing of the future is looked at after a panic, so nothing half done can be seen.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(polled) => polled.map(Some),
            Err(_) => {
                fault.happens();
                Poll::Ready(None)
            }
        }
    })
    .await
}

/// The same for one step of a stream.
pub(super) fn caught_step<T>(step: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(step)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panics() -> u8 {
        panic!("this test wants a panic")
    }

    #[tokio::test]
    async fn a_panic_is_caught_and_known_to_what_is_dropped_after_it() {
        struct Asks(Fault, Arc<AtomicBool>);
        impl Drop for Asks {
            fn drop(&mut self) {
                self.1.store(self.0.happened() || std::thread::panicking(), Ordering::Relaxed);
            }
        }
        let (fault, known) = (Fault::default(), Arc::new(AtomicBool::new(false)));
        let asks = Asks(fault.clone(), Arc::clone(&known));
        let panics_later = async move {
            let _asks = asks;
            tokio::task::yield_now().await;
            panics()
        };

        assert_eq!(caught(panics_later, &fault).await, None);
        assert!(known.load(Ordering::Relaxed));
        assert_eq!(caught(async { 7 }, &Fault::default()).await, Some(7));
    }
}
