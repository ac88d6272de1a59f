//! What a scripted upstream does with one request.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::Semaphore;

/// One answer, or what happens instead of one.
#[derive(Clone, Debug)]
pub(crate) struct Act {
    /// `None`: the steps are the raw bytes of the connection, head included.
    pub(crate) head: Option<Head>,
    pub(crate) steps: Vec<Step>,
    /// The steps are one body of known length, not a stream of chunks.
    pub(crate) whole: bool,
}

/// Status and headers of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
}

/// One step of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Sends these bytes, in one piece.
    Send(Bytes),
    /// Waits until the test opens the gate; notices a caller that leaves meanwhile.
    Wait(Gate),
    /// Takes so long, as a model does that writes.
    Pause(Duration),
    /// Closes the connection, wherever it stands.
    Close,
    /// Resets the connection, wherever it stands.
    Reset,
}

impl Act {
    /// A whole answer in JSON.
    pub(crate) fn reply(status: u16, body: &Value) -> Self {
        Self::bytes(status, body.to_string()).header("content-type", "application/json")
    }

    /// A whole answer of exactly these bytes, without a content type.
    pub(crate) fn bytes(status: u16, body: impl Into<Bytes>) -> Self {
        let head = Head { status, headers: Vec::new() };
        Self { head: Some(head), steps: vec![Step::Send(body.into())], whole: true }
    }

    /// An error in OpenAI's shape.
    pub(crate) fn error(status: u16) -> Self {
        let error = serde_json::json!({"message": "the upstream's own words", "type": "upstream_error", "param": null, "code": status});
        Self::reply(status, &serde_json::json!({ "error": error }))
    }

    /// A stream of events; each piece is sent by itself.
    pub(crate) fn stream<B: Into<Bytes>>(pieces: impl IntoIterator<Item = B>) -> Self {
        Self::steps(pieces.into_iter().map(|piece| Step::Send(piece.into())))
    }

    /// A stream of events with gates and mishaps between.
    pub(crate) fn steps(steps: impl IntoIterator<Item = Step>) -> Self {
        let head = Head { status: 200, headers: vec![("content-type".into(), "text/event-stream".into())] };
        Self { head: Some(head), steps: steps.into_iter().collect(), whole: false }
    }

    /// Raw bytes of the connection: for heads that are broken or never come.
    pub(crate) fn raw(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { head: None, steps: steps.into_iter().collect(), whole: false }
    }

    /// The same answer, once the gate is open: nothing is sent before, not even the head.
    pub(crate) fn after(mut self, gate: &Gate) -> Self {
        self.steps.insert(0, Step::Wait(gate.clone()));
        self
    }

    /// The same answer with more of its body, which comes so much later that nobody reads both at once.
    pub(crate) fn and_later(mut self, bytes: impl Into<Bytes>) -> Self {
        self.steps.extend([Step::Pause(Duration::from_millis(20)), Step::Send(bytes.into())]);
        self
    }

    /// The same answer; the connection is closed after it.
    pub(crate) fn closing(mut self) -> Self {
        self.steps.push(Step::Close);
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let head = self.head.as_mut().expect("an answer with a head takes headers");
        head.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// Holds an upstream back until the test lets it go on.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<Semaphore>);

impl Gate {
    pub(crate) fn closed() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Lets one wait pass.
    pub(crate) fn open_once(&self) {
        self.0.add_permits(1);
    }

    /// Lets every wait pass from now on.
    pub(crate) fn open(&self) {
        self.0.close();
    }

    pub(crate) async fn passed(&self) {
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }
}
