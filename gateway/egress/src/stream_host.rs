//! Streams to what the gateway itself needs: stores, databases. Nothing of a caller's content goes there, and they are reached
//! like an endpoint: by the declared resolver, inside the declared ranges, over the declared route, with the declared issuers.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::connect::Connector;
use crate::dns::Freshness;
use crate::endpoint::Endpoint;
use crate::error::{BuildError, BuildProblem, SendError};
use crate::fleet::Fleet;
use crate::spec::{EndpointSpec, Reach, Scheme};
use crate::tls::{self, SystemRoots};
use crate::via::Via;

/// A host whose protocol is not HTTP.
pub struct StreamHost {
    endpoint: Arc<Endpoint>,
    connector: Connector,
    limit: Duration,
}

impl std::fmt::Debug for StreamHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamHost").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Fleet {
    /// A host that is reached by the resolvers of this fleet; nothing is dialled yet. `scheme` says whether TLS is spoken,
    /// from the first byte on and without ALPN.
    ///
    /// # Errors
    ///
    /// What is wrong with its specification.
    pub fn stream_host(&self, spec: EndpointSpec) -> Result<StreamHost, BuildError> {
        if spec.reach == Reach::Metadata {
            return Err(BuildError(vec![BuildProblem::Metadata { endpoint: Arc::clone(&spec.name) }]));
        }
        self.build_stream_host(spec).map_err(|problem| BuildError(vec![problem]))
    }

    fn build_stream_host(&self, spec: EndpointSpec) -> Result<StreamHost, BuildProblem> {
        let roots = SystemRoots::default();
        let tls = match spec.scheme {
            Scheme::Http => None,
            Scheme::Https => {
                let settings = |reason| BuildProblem::Tls { endpoint: Arc::clone(&spec.name), reason };
                let config = tls::stream_config(&spec.tls, &roots).map_err(settings)?;
                Some((TlsConnector::from(config), tls::server_name(&spec).map_err(settings)?))
            }
        };
        let via = Via::build(&spec, (self.resolvers(), &roots))?;
        let (connector, limit) = (Connector::new(&spec, tls, via), spec.timeouts.connect);
        let endpoint = Arc::new(Endpoint::build(spec, None, (self.resolvers(), &roots))?);
        Ok(StreamHost { endpoint, connector, limit })
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
        let (stream, proof) = self.connector.connect(&vouched, deadline).await?;
        tracing::info!(host = %proof.endpoint, address = %proof.address, level = proof.level.as_str(), tls = proof.tls.is_some(), "connected to a host that the gateway itself needs");
        Ok(stream)
    }
}
