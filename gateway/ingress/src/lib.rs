//! Who asks, and may they ask now.
//!
//! `ingress` takes an accepted byte stream and turns it into requests with a known peer, an
//! identified app and a place among the requests in flight:
//!
//! - [`listen`] serves one stream: PROXY protocol, TLS, HTTP/1.1 and HTTP/2, and the time limits
//!   that keep slow and silent callers from holding a connection.
//! - [`auth`] turns the credential of a request into the app it belongs to.
//! - [`limits`] lets a request in, or says when to come back.
//! - [`body`] reads a request body within bounds, and unfolds it when it was compressed.
//!
//! It promises that nothing a caller sends makes it hold more memory, or a connection for longer,
//! than the settings say.
//!
//! It deliberately opens no listening socket (`server` hands it accepted streams, so tests hand it
//! an in-memory pipe), looks at no path and reads no JSON.

pub mod auth;
pub mod body;
pub mod limits;
pub mod listen;
