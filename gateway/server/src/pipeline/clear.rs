//! Stage 10: what a warrant obliges to is done before the request leaves, and undone in the answer.
//!
//! A warrant that obliges clears nothing but the proof of `inspection` that it was done. The call that goes on is decoded
//! anew from that body: nothing that was read out of the first one (offsets, the model's place) is used for bytes that it was
//! not read from. What was replaced is known to the attempt alone, and goes with its answer.

use std::sync::Arc;

use bytes::Bytes;
use inspection::{OwnRecognisers, RedactError, Redacted, Restorer, StreamRestorer};
use policy::{Cleared, Owed, Warrant};
use wire::{Call, DecodeError};

use super::attempt::{Reply, Tried};

/// Bodies above this many bytes are redacted on a thread of their own.
const LONG: usize = 256 << 10;

/// Why an obligation could not be fulfilled; nothing is sent then.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClearError {
    #[error(transparent)]
    Redact(#[from] RedactError),
    #[error("the redacted request is no call any more: {0}")]
    Decode(#[from] DecodeError),
    #[error("the redaction was broken off")]
    BrokenOff,
    #[error(transparent)]
    Owed(#[from] Owed),
}

/// The call as this warrant lets it go, and what puts the answer right.
pub(super) async fn fulfil(
    warrant: &Warrant,
    call: &Call,
    own: &Arc<OwnRecognisers>,
) -> Result<(Cleared<Call>, Restorer), ClearError> {
    if warrant.obligations().is_empty() {
        return Ok((warrant.clear(call.clone())?, Restorer::default()));
    }
    let names: Vec<String> = warrant.obligations().redact().map(str::to_owned).collect();
    let (body, restorer) = warrant.clear_redacted(redact(call.body().clone(), names, Arc::clone(own)).await?)?;
    // The model was read from the path or the body before; it stays what it was.
    let redacted = body.try_encode(|body| wire::decode(call.api(), Some(call.model()), Bytes::from(body)))?;
    Ok((redacted, restorer))
}

async fn redact(body: Bytes, names: Vec<String>, own: Arc<OwnRecognisers>) -> Result<Redacted, ClearError> {
    let is_long = body.len() > LONG;
    let act = move || inspection::redact_with(&body, names.iter().map(String::as_str), &own);
    let done = if is_long { tokio::task::spawn_blocking(act).await.map_err(|_| ClearError::BrokenOff)? } else { act() };
    Ok(done?)
}

/// An answer with the placeholders replaced by what they stand for.
pub(super) fn restore(tried: Tried, restorer: Restorer) -> Tried {
    if restorer.is_empty() {
        return tried;
    }
    let Tried::Answered { status, headers, reply } = tried else { return tried };
    let reply = match reply {
        Reply::Whole { body, usage, failed, share } => {
            Reply::Whole { body: Bytes::from(restorer.whole(&body)), usage, failed, share }
        }
        Reply::Stream(mut stream) => {
            stream.restorer = Some(StreamRestorer::new(restorer));
            Reply::Stream(stream)
        }
    };
    Tried::Answered { status, headers, reply }
}
