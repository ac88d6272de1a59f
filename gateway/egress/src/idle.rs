//! Whether a connection that says nothing is still there later: the look for devices that forget silent flows (NET-08).
//!
//! Some forget without a word after four minutes, some with a reset. Requests then hang or break on a connection that looked
//! good. Nobody sees it but who waits; so this is a look that a person asks for, and it takes as long as it says.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, timeout};

use crate::connect::{Protocol, Stream};
use crate::dns::Freshness;
use crate::endpoint::Endpoint;
use crate::fault::Verdict;

/// What became of a connection that was silent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silence {
    /// It answers as if nothing had been.
    Survived,
    /// It was cut: what was met when it was used again.
    Cut(String),
    /// It was closed properly, as endpoints close connections that nobody uses; of the way nothing is known.
    Closed,
    /// There was no connection to be silent on.
    Unknown(Verdict),
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Survived => f.write_str("still there"),
            Self::Cut(how) => write!(f, "cut: {how}"),
            Self::Closed => f.write_str("closed by the endpoint"),
            Self::Unknown(verdict) => write!(f, "not tried: {verdict}"),
        }
    }
}

impl Endpoint {
    /// Opens a connection, says nothing on it for `silence`, and then asks for something. Each step may take `limit`.
    ///
    /// Only TCP's own probes pass meanwhile, as the specification's transport has them.
    pub async fn silent_for(self: &Arc<Self>, silence: Duration, limit: Duration) -> Silence {
        let deadline = || Instant::now() + limit;
        let connected = match self.vouch(deadline(), Freshness::Kept).await {
            Ok(vouched) => self.connector().connect(&vouched, deadline()).await,
            Err(error) => Err(error),
        };
        let (mut stream, proof) = match connected {
            Ok(connected) => connected,
            Err(error) => return Silence::Unknown(self.verdict_of(&error)),
        };
        tokio::time::sleep(silence).await;
        // A server of HTTP/2 speaks first, so that there is something to read, which is not ours to take.
        if proof.protocol == Protocol::Http1
            && let Some(ended) = ended(&mut stream).await
        {
            return ended;
        }
        let path = self.spec().harmless_path();
        match self.ask(stream, proof, (&path, false), deadline()).await {
            Ok(_) => Silence::Survived,
            Err(error) => Silence::Cut(self.verdict_of(&error).seen),
        }
    }
}

/// How the connection ended already, if it did.
async fn ended(stream: &mut Stream) -> Option<Silence> {
    match timeout(Duration::ZERO, stream.read_u8()).await {
        Err(_) => None,
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => Some(Silence::Cut(error.to_string())),
        Ok(_) => Some(Silence::Closed),
    }
}
