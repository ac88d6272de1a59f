//! Serving one accepted stream.
//!
//! [`serve`] takes a byte stream and the address it came from, and answers its requests with a
//! [`Handler`] until the stream ends. The [`Door`] says how: which limits hold, whether TLS is
//! spoken, and which load balancers may speak for others.
//!
//! The caller of [`serve`] accepts the socket and sets `TCP_NODELAY` on it: an answer is written as
//! head and first body byte together, and Nagle's algorithm would only delay the next event.

mod connection;
mod drain;
mod gather;
mod net;
mod proxy;
mod pulse;
mod quiet;
mod stall;
mod standing;
mod tls;
mod unreadable;

#[cfg(test)]
mod tests;

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http_body::Body;

use crate::auth::ShownCertificate;

pub use connection::{Door, ServeError, serve};
pub use drain::{Drain, DrainSwitch, drain};
pub use net::{Net, NetError};
pub use proxy::ProxyError;
pub use quiet::RequestBody;
pub use tls::{ClientTrust, PreparedTls, TlsError, TlsMaterial, TlsServer};
pub use unreadable::Unreadable;

/// The limits of a listener.
#[derive(Debug, Clone)]
pub struct ListenSettings {
    /// How long the head of a request may take from its first byte on; default 10 s.
    ///
    /// A connection that was just accepted is taken to have begun its first head, so one that stays
    /// silent is closed after this time as well. HTTP/2 has no head of its own to time: there
    /// [`idle_timeout`](Self::idle_timeout) holds.
    pub header_timeout: Duration,
    /// How long a connection with no request in flight is kept; default 75 s.
    pub idle_timeout: Duration,
    /// How long PROXY protocol and TLS handshake may take together; default 10 s.
    pub handshake_timeout: Duration,
    /// How long the peer may take nothing of what is being written to it; default 60 s.
    ///
    /// Without it a caller that stops reading holds its place among the requests in flight for ever.
    pub write_timeout: Duration,
    /// How long a quiet HTTP/1.1 connection is kept after a drain began; default 1 s.
    ///
    /// A request that was already on its way is then answered with `connection: close`, rather than
    /// met with a closed socket. HTTP/2 needs no such time: its GOAWAY says what was not served.
    pub drain_linger: Duration,
    /// Largest head of a request in bytes; default 65_536, at least 8_192. [`Unreadable`] says what a larger one is answered.
    pub max_header_bytes: usize,
    /// Most header fields of an HTTP/1.1 request; default 100. HTTP/2 is bounded by bytes alone.
    pub max_headers: usize,
    /// Most requests at once on one HTTP/2 connection; default 256.
    pub max_h2_streams: u32,
    /// How often a silent HTTP/2 peer is asked whether it is still there; default 30 s. It is taken
    /// for gone when it does not answer within 20 s.
    pub h2_ping: Duration,
    /// Sources that must begin each connection with a PROXY protocol v2 header; default none.
    ///
    /// From these, a connection without the header is refused. From anyone else the header is not
    /// looked for, and fails as a malformed request.
    pub proxy_protocol_from: Vec<Net>,
}

impl Default for ListenSettings {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            handshake_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(60),
            drain_linger: Duration::from_secs(1),
            max_header_bytes: 65_536,
            max_headers: 100,
            max_h2_streams: 256,
            h2_ping: Duration::from_secs(30),
            proxy_protocol_from: Vec::new(),
        }
    }
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The caller's address: the socket's, or the one a trusted load balancer named.
    pub address: SocketAddr,
    /// The load balancer that named `address` by PROXY protocol; `None` when it is the socket's own.
    pub via: Option<SocketAddr>,
    /// What the TLS handshake showed; `None` on a plaintext listener.
    pub tls: Option<TlsFacts>,
}

/// What a TLS handshake showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFacts {
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
    /// The cipher suite by rustls' name for it, such as `TLS13_AES_256_GCM_SHA384`.
    pub cipher: &'static str,
    /// The protocol agreed on by ALPN, `h2` or `http/1.1`; `None` when the caller offered none.
    pub alpn: Option<&'static str>,
    /// The caller's certificate, verified against the client CA. It is verified again before a request, so that the one which
    /// is served stands.
    pub client_certificate: Option<ShownCertificate>,
}

/// A request whose body was not read yet.
#[derive(Debug)]
pub struct Incoming {
    /// Method, target, version and header fields, within the listener's bounds.
    pub head: Parts,
    /// The body, unread: [`crate::body::read`] reads it within bounds.
    pub body: RequestBody,
    /// Who sent it; shared by all requests of the connection.
    pub peer: Arc<Peer>,
}

/// Answers requests.
///
/// The future is dropped when the caller goes away, at whatever point it waits; so is the body of
/// the answer. What must happen in any case belongs into a `Drop`.
pub trait Handler: Send + Sync + 'static {
    /// The body of an answer.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static;

    /// Answers one request.
    ///
    /// hyper keeps the room of this future for as long as the connection lives, so what is large in it belongs into a box:
    /// neither an idle connection nor an open stream needs it.
    fn handle(self: Arc<Self>, incoming: Incoming) -> impl Future<Output = Response<Self::Body>> + Send + 'static;

    /// Answers a request whose head could not be read; a line of text, unless the handler has a form of its own.
    ///
    /// Its status is that of `unreadable`. `content-length`, `connection: close` and `date` come with it, and the connection ends.
    /// On HTTP/2 there is no such answer: a head over the bound gets a bare 431, and a malformed one has its stream reset.
    fn unreadable(&self, unreadable: &Unreadable) -> Response<Bytes> {
        let mut response = Response::new(format!("{unreadable}\n").into());
        *response.status_mut() = unreadable.status();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        response
    }
}
