//! Hosts that the gateway itself has to do with: identity providers whose keys it reads, collectors, places for evidence.
//!
//! They are reached through the same door as endpoints, each under a reach of its own. What goes there is the gateway's own
//! and never a caller's content, so no warrant is asked for; and nobody but the configuration can name one.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body::Body as _;
use tokio::time::Instant;

use crate::endpoint::{Endpoint, Reply, UpstreamRequest};
use crate::error::{BodyError, SendError};
use crate::identity::blames_keys;
use crate::inspect::{Inspect, Inspection};
use crate::spec::EndpointSpec;
use crate::status::EndpointStatus;
use crate::upkeep;

/// One host of control traffic, with its connections.
#[derive(Clone, Debug)]
pub struct ControlHost(Arc<Endpoint>);

/// A whole answer.
#[derive(Debug)]
pub struct Fetched {
    /// The status.
    pub status: StatusCode,
    /// The headers as they came.
    pub headers: HeaderMap,
    /// The body, within the bound that was asked for.
    pub body: Bytes,
    /// What came behind the body, as gRPC has it.
    pub trailers: HeaderMap,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The host was not reached, or said nothing that is HTTP.
    #[error("it was not reached: {0}")]
    Unreached(#[from] SendError),
    /// The answer broke off.
    #[error("its answer broke off: {0}")]
    Broken(#[from] BodyError),
    /// The answer is longer than was asked for.
    #[error("its answer is longer than {longest} bytes")]
    TooLong {
        /// The bound.
        longest: usize,
    },
}

impl ControlHost {
    pub(crate) fn new(endpoint: Arc<Endpoint>) -> Self {
        Self(endpoint)
    }

    /// The name that it has in reports.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        self.0.name()
    }

    /// What it was built from.
    #[must_use]
    pub fn spec(&self) -> &EndpointSpec {
        self.0.spec()
    }

    /// Looks at it step by step, over a connection that is not kept and without a kept answer.
    pub async fn inspect(&self, inspect: &Inspect) -> Inspection {
        self.0.inspect(inspect).await
    }

    /// What it looks like now.
    #[must_use]
    pub fn status(&self) -> EndpointStatus {
        self.0.status()
    }

    /// Fetches what lies at `path`, at most `longest` bytes. No redirection is followed.
    ///
    /// # Errors
    ///
    /// [`ControlError`]; an answer with any status is an answer.
    pub async fn get(&self, path: &str, headers: HeaderMap, longest: usize) -> Result<Fetched, ControlError> {
        let path_and_query = path.to_owned();
        let request = UpstreamRequest { method: Method::GET, path_and_query, headers, body: Vec::new(), body_len: 0 };
        self.ask(request, longest).await
    }

    /// Sends `body` to `path` and reads at most `longest` bytes of the answer.
    ///
    /// # Errors
    ///
    /// [`ControlError`]; an answer with any status is an answer.
    pub async fn post(
        &self,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
        longest: usize,
    ) -> Result<Fetched, ControlError> {
        self.ask(sending(Method::POST, path, headers, body), longest).await
    }

    /// Puts `body` at `path` and reads at most `longest` bytes of the answer.
    ///
    /// # Errors
    ///
    /// [`ControlError`]; an answer with any status is an answer.
    pub async fn put(
        &self,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
        longest: usize,
    ) -> Result<Fetched, ControlError> {
        self.ask(sending(Method::PUT, path, headers, body), longest).await
    }

    async fn ask(&self, request: UpstreamRequest, longest: usize) -> Result<Fetched, ControlError> {
        let own = self.0.identified().await?;
        let sent = Instant::now();
        let reply = self.0.send_from_root(request, own).await?;
        let fetched = read(reply, longest).await?;
        if blames_keys(fetched.status, &fetched.body) {
            self.0.doubt_keys(sent);
        }
        Ok(fetched)
    }

    /// Whether it is the same host with the same connections.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn start(&self) {
        upkeep::start(&self.0);
    }

    pub(crate) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0
    }
}

fn sending(method: Method, path: &str, headers: HeaderMap, body: Bytes) -> UpstreamRequest {
    let body_len = body.len() as u64;
    UpstreamRequest { method, path_and_query: path.to_owned(), headers, body: vec![body], body_len }
}

async fn read(mut reply: Reply, longest: usize) -> Result<Fetched, ControlError> {
    let (mut body, mut trailers) = (Vec::new(), HeaderMap::new());
    while let Some(frame) =
        std::future::poll_fn(|context| std::pin::Pin::new(&mut reply.body).poll_frame(context)).await
    {
        match frame?.into_data() {
            Ok(data) if body.len() + data.len() > longest => return Err(ControlError::TooLong { longest }),
            Ok(data) => body.extend_from_slice(&data),
            Err(frame) => trailers.extend(frame.into_trailers().unwrap_or_default()),
        }
    }
    Ok(Fetched { status: reply.status, headers: reply.headers, body: body.into(), trailers })
}
