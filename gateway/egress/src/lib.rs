//! Where bytes may go: resolve, verify, dial, TLS, pools, probes and credentials.
//!
//! **For.** [`Fleet::send`] takes a warrant and the request that was cleared for it, and gives the head and the byte
//! stream of the upstream's answer, or a [`SendError`] that says how far the request came. This is the only crate of the
//! gateway that opens outgoing sockets.
//!
//! **Promises.**
//! - A socket is opened only to a [`Verified`] address. Only the judgement in `address.rs` makes one, out of what this
//!   endpoint's own resolver answered; one address outside the declared ranges refuses the whole answer. What the
//!   kernel then says it is connected to is compared again.
//! - A request that was handed to a connection and came back unsent is tried once more on a fresh connection. Nothing
//!   else is ever sent twice: after that the caller decides.
//! - A reply's body holds its endpoint's in-flight permit. When it ends cleanly the connection is kept; when it is
//!   dropped before, the upstream is told at once (HTTP/1 closes the connection, HTTP/2 resets the stream).
//! - Connections, idle connections, their age, waiting times and requests in flight are bounded. Nothing queues: a full
//!   endpoint answers [`SendError::Saturated`] so that the caller can go elsewhere.
//! - Environment variables that name proxies, the hosts file and search domains are not read. A proxy that an endpoint declares
//!   ([`ViaSpec`]) is resolved, judged and dialled like every other address, and asked for a tunnel.
//! - What the gateway itself needs, it reaches in the same way: [`ControlHost`] speaks HTTP to a collector or an issuer of keys, and
//!   [`StreamHost`] gives the bytes of a connection to the client of a store or a database.
//! - What an endpoint fails by has one [`Code`] with one set of words, in logs, metrics, records and `causeway doctor`.
//!
//! **Does not do.** It does not retry elsewhere or classify statuses. Of all dialects only control planes of AWS are signed for (SigV4).
//!
//! **Tasks.** An HTTP/1.1 connection is driven by whoever waits for its reply (`http1`); nobody drives an idle one. An
//! HTTP/2 connection, which requests share, is driven by a task that [`tokio::spawn`] puts on the runtime which dialled it;
//! so are the refresh of an expired resolution (one per lifetime of the answer) and the upkeep that [`Fleet::start`]
//! begins. No task is spawned per request.

mod address;
mod alarm;
mod body;
mod canary;
mod catalogue;
mod connect;
mod connection;
mod control;
mod credentials;
mod dns;
mod endpoint;
mod error;
mod fault;
mod fleet;
mod front;
#[cfg(any(test, feature = "lies"))]
pub mod fuzz;
mod http1;
mod identity;
mod idle;
mod inspect;
mod issuer;
mod judge;
mod pool;
mod resolve;
pub mod scrape;
mod shown;
mod signature;
mod spec;
mod status;
mod stream_host;
mod tls;
mod trace;
mod upkeep;
mod verify;
mod via;

pub use address::{LocalAddr, PrivateAddr, PublicAddr, Verified};
pub use alarm::Alarm;
pub use body::ReplyBody;
pub use canary::{CanaryReport, CanarySeen, CanarySpec};
pub use catalogue::{ChainKind, HostFault, Service, WrongHost, service, services};
pub use connect::{ConnectionProof, Level, Protocol, TlsProof};
pub use control::{ControlError, ControlHost, Fetched};
pub use credentials::{Credential, InvalidCredential, Own, Secret};
pub use dns::{Failure, Hop, Trouble};
pub use endpoint::{Endpoint, Reply, UpstreamRequest};
pub use error::{BodyError, Bound, BuildError, BuildProblem, ExchangeError, Phase, SendError, TlsFault};
pub use fault::{Act, Code, Entry, Evidence, Verdict, Who};
pub use fleet::Fleet;
pub use front::{FRONT_BYTES, front_of};
pub use http1::Fault as Http1Fault;
pub use identity::{Application, Grant, TokenSpec, TokenStatus};
pub use idle::Silence;
pub use inspect::{Answer, Inspect, Inspection, Step, StepKind};
pub use resolve::Resolution;
pub use signature::AwsKeys;
pub use spec::{
    ClientCertificate, EndpointSpec, Host, Http2, PoolSpec, ProbeSpec, Reach, ResolverSpec, STALE_GRACE, Scheme,
    Servers, Timeouts, TlsSpec, Transport, TransportSpec,
};
pub use status::{Connections, Counts, EndpointStatus, LastError, ProbeReport, ResolutionReport};
pub use stream_host::{StreamHost, TlsBegins};
pub use trace::{TraceHop, TraceSeen};
pub use via::{ViaConnect, ViaSpec};
