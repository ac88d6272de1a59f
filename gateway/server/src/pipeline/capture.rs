//! What is kept of a request and its answer, where its app's owner and the security team both want it.

use telemetry::audit::{CaptureNote, Captured};
use telemetry::capture::{Cut, Held, Subject};
use wire::Call;

use super::arrive::{Caller, Exchange};

/// What became of keeping a request.
pub(super) struct Kept(Option<Result<String, &'static str>>);

impl Kept {
    pub(super) fn note(&self) -> Option<CaptureNote<'_>> {
        self.0.as_ref().map(|kept| match kept {
            Ok(digest) => CaptureNote::Kept(digest),
            Err(why) => CaptureNote::Failed(why),
        })
    }
}

/// Keeps the request as it came, before anything of it is sent; nothing where it cannot be kept and must be.
pub(super) async fn request(exchange: &Exchange, caller: &Caller, call: &Call) -> Option<Kept> {
    let Some(capture) = &caller.app.data.capture else { return Some(Kept(None)) };
    let kept = exchange.gateway.captures.request(subject(exchange, caller), &capture.rules, call.body()).await;
    match kept {
        Ok(digest) => Some(Kept(Some(Ok(digest)))),
        Err(error) if capture.refuses => {
            tracing::error!(decision = %exchange.decision, %error, "the request cannot be kept, and is refused");
            None
        }
        Err(error) => {
            tracing::warn!(decision = %exchange.decision, %error, "the request is not kept; its record says so");
            Some(Kept(Some(Err(error.word()))))
        }
    }
}

fn subject<'a>(exchange: &'a Exchange, caller: &'a Caller) -> Subject<'a> {
    Subject { app: &caller.app.name, decision: exchange.decision.as_str(), at: exchange.at }
}

/// What a caller got so far, as far as there is room for it; nothing where it is not kept.
#[derive(Default)]
pub(super) struct Answer(Option<Held>);

impl Answer {
    pub(super) fn of(exchange: &Exchange) -> Self {
        let is_kept = exchange.caller.as_ref().is_some_and(|caller| caller.app.data.capture.is_some());
        Self(is_kept.then(|| exchange.gateway.captures.hold()))
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if let Some(held) = &mut self.0 {
            held.push(bytes);
        }
    }

    /// Hands it to be written; says what became of it. Nothing where nothing was answered.
    pub(super) fn keep(&mut self, exchange: &Exchange) -> Option<Captured> {
        let held = self.0.take().filter(|held| !held.is_empty())?;
        let caller = exchange.caller.as_ref()?;
        let rules = &caller.app.data.capture.as_ref()?.rules;
        let kept = exchange.gateway.captures.answer(subject(exchange, caller), rules, &held);
        Some(match kept {
            Ok(sha256) => Captured::Kept { sha256, cut: held.cut().map(Cut::word) },
            Err(error) => {
                tracing::warn!(decision = %exchange.decision, %error, "the answer is not kept; its record says so");
                Captured::Failed(error.word())
            }
        })
    }
}
