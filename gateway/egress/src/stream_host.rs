//! Streams to what the gateway itself needs: stores, databases. Nothing of a caller's content goes there, and they are reached
//! like an endpoint: by the declared resolver, inside the declared ranges, over the declared route, with the declared issuers.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout_at};

use crate::connect::Connector;
use crate::dns::Freshness;
use crate::endpoint::Endpoint;
use crate::error::{BuildError, BuildProblem, Phase, SendError, TlsFault};
use crate::fleet::Fleet;
use crate::inspect::Inspection;
use crate::spec::{EndpointSpec, Http2, Reach, Scheme};
use crate::tls::SystemRoots;
use crate::via::Carrier;

/// How TLS begins, where it is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsBegins {
    /// With the first byte.
    AtOnce,
    /// When the server has agreed to it, as PostgreSQL has it. A server that does not is refused: nothing is said to it in
    /// the clear.
    OnceAskedOfPostgres,
}

/// PostgreSQL's `SSLRequest`: eight bytes long, and a code where a version would stand
/// (<https://www.postgresql.org/docs/15/protocol-message-formats.html>).
const POSTGRES_ASKS_FOR_TLS: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// What both sides have to agree on before TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agreement {
    /// Nothing: it begins with the first byte, or is not spoken.
    Needless,
    /// PostgreSQL's server has to say that it will.
    OfPostgres,
}

impl Agreement {
    /// Comes to it, where there is one.
    pub(crate) async fn agree(
        self,
        connector: &Connector,
        (carrier, address): (&mut Carrier, SocketAddr),
        deadline: Instant,
    ) -> Result<(), SendError> {
        if self == Self::Needless {
            return Ok(());
        }
        let asked = timeout_at(deadline, ask_for_tls(carrier)).await;
        let asked = asked.map_err(|_| connector.too_slow(Phase::Tls, Some(address)))?;
        asked.map_err(|source| connector.tls_failed(address, TlsFault::Protocol, source))
    }
}

/// A host whose protocol is not HTTP.
pub struct StreamHost {
    endpoint: Arc<Endpoint>,
    limit: Duration,
    begins: Agreement,
}

impl std::fmt::Debug for StreamHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamHost").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Fleet {
    /// A host that is reached by the resolvers of this fleet; nothing is dialled yet. `scheme` says whether TLS is spoken,
    /// without ALPN.
    ///
    /// # Errors
    ///
    /// What is wrong with its specification.
    pub fn stream_host(&self, spec: EndpointSpec, begins: TlsBegins) -> Result<StreamHost, BuildError> {
        if spec.reach == Reach::Metadata {
            return Err(BuildError(vec![BuildProblem::Metadata { endpoint: Arc::clone(&spec.name) }]));
        }
        let begins = match (spec.scheme, begins) {
            (Scheme::Https, TlsBegins::OnceAskedOfPostgres) => Agreement::OfPostgres,
            (Scheme::Http, _) | (Scheme::Https, TlsBegins::AtOnce) => Agreement::Needless,
        };
        let (limit, spec) = (spec.timeouts.connect, EndpointSpec { http2: Http2::NoHttp, ..spec });
        let roots = SystemRoots::default();
        let endpoint = Endpoint::build(spec, None, (self.resolvers(), &roots));
        let endpoint = endpoint.map_err(|problem| BuildError(vec![problem]))?;
        Ok(StreamHost { endpoint: Arc::new(endpoint), limit, begins })
    }
}

impl StreamHost {
    /// Opens a stream: resolve, judge, connect, TLS.
    ///
    /// # Errors
    ///
    /// As for an endpoint.
    pub async fn dial(&self) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>, SendError> {
        let deadline = Instant::now() + self.limit;
        let vouched = self.endpoint.vouch(deadline, Freshness::Kept).await?;
        let connector = self.endpoint.connector();
        let (mut carrier, proof) = connector.connect_tcp(&vouched, deadline).await?;
        self.begins.agree(connector, (&mut carrier, proof.address), deadline).await?;
        let (stream, proof) = connector.handshake(carrier, proof, deadline).await?;
        tracing::info!(host = %proof.endpoint, address = %proof.address, level = proof.level.as_str(), tls = proof.tls.is_some(), "connected to a host that the gateway itself needs");
        Ok(stream)
    }

    /// Looks at it step by step, up to TLS, over a connection that is not kept and without a kept answer.
    pub async fn inspect(&self, limit: Duration) -> Inspection {
        self.endpoint.inspect_stream(limit, self.begins).await
    }

    /// How it is reached, as reports have it.
    #[must_use]
    pub fn reach(&self) -> &'static str {
        self.endpoint.spec().reach.as_str()
    }
}

/// Nothing but the one byte of the answer is read, so that what follows it is TLS or nothing.
async fn ask_for_tls(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    stream.write_all(&POSTGRES_ASKS_FOR_TLS).await?;
    match stream.read_u8().await? {
        b'S' => Ok(()),
        b'N' => Err(io::Error::other("the server does not speak TLS (`ssl = on` in postgresql.conf)")),
        _ => Err(io::Error::other("the server answers like no PostgreSQL when it is asked for TLS")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answered(answer: &[u8]) -> (io::Result<()>, Vec<u8>, Vec<u8>) {
        let (mut near, mut far) = tokio::io::duplex(64);
        far.write_all(answer).await.expect("there is room");
        let asked = ask_for_tls(&mut near).await;
        let mut sent = [0; 8];
        far.read_exact(&mut sent).await.expect("the request is sent whole");
        drop(far);
        let mut rest = Vec::new();
        near.read_to_end(&mut rest).await.expect("it is in memory");
        (asked, sent.to_vec(), rest)
    }

    #[tokio::test]
    async fn tls_is_asked_for_and_what_follows_the_answer_is_left_to_tls() {
        let (asked, sent, rest) = answered(b"Sinjected").await;

        assert!(asked.is_ok());
        assert_eq!((sent.as_slice(), rest.as_slice()), (POSTGRES_ASKS_FOR_TLS.as_slice(), b"injected".as_slice()));
    }

    #[tokio::test]
    async fn a_server_that_declines_tls_is_spoken_to_no_further() {
        for answer in [b"N", b"E", b"H"] {
            let (asked, _, _) = answered(answer).await;

            assert!(asked.is_err(), "{answer:?}");
        }
    }
}
