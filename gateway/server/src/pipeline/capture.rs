//! What is kept of a request and its answer, where its app's owner and the security team both want it.

use telemetry::audit::CaptureNote;
use telemetry::capture::{MOST_ANSWER, Subject};
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

/// What a caller got so far, up to the bound; nothing where it is not kept.
#[derive(Default)]
pub(super) struct Answer(Option<Vec<u8>>);

impl Answer {
    pub(super) fn of(exchange: &Exchange) -> Self {
        let is_kept = exchange.caller.as_ref().is_some_and(|caller| caller.app.data.capture.is_some());
        Self(is_kept.then(Vec::new))
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if let Some(answer) = &mut self.0 {
            let room = MOST_ANSWER - answer.len();
            answer.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        }
    }

    /// Hands it to be written; gives the digest of its file, or why there is none. Nothing where nothing was answered.
    pub(super) fn keep(&mut self, exchange: &Exchange) -> Option<Result<String, &'static str>> {
        let answer = self.0.take().filter(|answer| !answer.is_empty())?;
        let caller = exchange.caller.as_ref()?;
        let rules = &caller.app.data.capture.as_ref()?.rules;
        let kept = exchange.gateway.captures.answer(subject(exchange, caller), rules, &answer);
        Some(kept.map_err(|error| {
            tracing::warn!(decision = %exchange.decision, %error, "the answer is not kept; its record says so");
            error.word()
        }))
    }
}
