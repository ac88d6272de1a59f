//! What can go wrong, in kinds that a caller can tell apart.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use policy::TargetId;

use crate::credentials::InvalidCredential;
use crate::fault::{Code, Verdict};
use crate::http1::Fault as Http1Fault;

/// Why a request got no reply.
///
/// [`SendError::may_have_executed`] says whether the upstream may have acted on it all the same.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The request was cleared for another target, or under another permit.
    #[error("the request and the warrant do not belong together")]
    WrongWarrant(#[source] policy::WrongWarrant),
    /// The warrant names a target that this fleet does not have.
    #[error("target {target} is not part of this configuration")]
    UnknownTarget {
        /// The target that the warrant names.
        target: TargetId,
    },
    /// The request cannot be put into HTTP; the gateway itself is at fault.
    #[error("endpoint `{endpoint}`: the request cannot be sent: {reason}")]
    Unsendable {
        /// The endpoint.
        endpoint: Arc<str>,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The endpoint has no address that it may be dialled at, or not over a path that it may be reached by.
    #[error(transparent)]
    NoPrivatePath(#[from] Box<Verdict>),
    /// There is no token that would identify the gateway; nothing was sent.
    #[error("no token to show: {0}")]
    NoCredential(Box<Verdict>),
    /// A bound of the endpoint is reached; nothing was sent.
    #[error("endpoint `{endpoint}`: all {limit} {bound} are in use")]
    Saturated {
        /// The endpoint.
        endpoint: Arc<str>,
        /// Which bound.
        bound: Bound,
        /// Its value.
        limit: usize,
    },
    /// No TCP connection came about.
    #[error("endpoint `{endpoint}`: {}", not_connected(*.refused, *.address))]
    Connect {
        /// The endpoint.
        endpoint: Arc<str>,
        /// The last address that was tried.
        address: SocketAddr,
        /// Whether it answered "no" (RST), rather than not at all.
        refused: bool,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// Connecting took longer than the `connect` timeout.
    #[error("endpoint `{endpoint}`: no {phase} within {after:?}{}", at(*.address))]
    ConnectTimeout {
        /// The endpoint.
        endpoint: Arc<str>,
        /// What was under way.
        phase: Phase,
        /// With whom, where it was known yet.
        address: Option<SocketAddr>,
        /// The limit.
        after: Duration,
    },
    /// The TLS (or HTTP/2) handshake failed.
    #[error("endpoint `{endpoint}`: TLS with {address} failed: {fault}")]
    Tls {
        /// The endpoint.
        endpoint: Arc<str>,
        /// With whom.
        address: SocketAddr,
        /// What kind of failure.
        fault: TlsFault,
        /// What the library said.
        #[source]
        source: io::Error,
    },
    /// The request was given back unsent, twice on HTTP/1; the upstream has not acted on it.
    #[error("endpoint `{endpoint}`: {address} closed the connection before the request was sent")]
    NotSent {
        /// The endpoint.
        endpoint: Arc<str>,
        /// With whom.
        address: SocketAddr,
        /// What the connection said.
        #[source]
        source: ExchangeError,
    },
    /// No head of an answer within the `first_byte` timeout.
    #[error("endpoint `{endpoint}`: no answer within {after:?}")]
    FirstByteTimeout {
        /// The endpoint.
        endpoint: Arc<str>,
        /// The limit.
        after: Duration,
    },
    /// No head of an answer within the `total` timeout.
    #[error("endpoint `{endpoint}`: no answer within the {after:?} allowed for the whole call")]
    TotalTimeout {
        /// The endpoint.
        endpoint: Arc<str>,
        /// The limit.
        after: Duration,
    },
    /// The connection broke, or spoke no HTTP, after the request was sent and before a head was read.
    #[error("endpoint `{endpoint}`: {address} closed the connection or broke HTTP before it answered")]
    BrokenHead {
        /// The endpoint.
        endpoint: Arc<str>,
        /// With whom.
        address: SocketAddr,
        /// What the connection said.
        #[source]
        source: ExchangeError,
    },
}

impl SendError {
    /// Whether the upstream may have acted on the request, so that another attempt may be a second execution.
    #[must_use]
    pub fn may_have_executed(&self) -> bool {
        match self {
            Self::FirstByteTimeout { .. } | Self::TotalTimeout { .. } | Self::BrokenHead { .. } => true,
            Self::WrongWarrant(_)
            | Self::UnknownTarget { .. }
            | Self::Unsendable { .. }
            | Self::NoPrivatePath(_)
            | Self::NoCredential(_)
            | Self::Saturated { .. }
            | Self::Connect { .. }
            | Self::ConnectTimeout { .. }
            | Self::Tls { .. }
            | Self::NotSent { .. } => false,
        }
    }
}

impl SendError {
    /// The code of the failure catalogue, where the path to the endpoint is to blame, or the gateway's identity.
    ///
    /// A handshake that hangs may be a lost large packet or a dropped first message; they look alike, and the entry of
    /// the first names both.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::NoPrivatePath(verdict) | Self::NoCredential(verdict) => Some(verdict.code),
            Self::Connect { refused: true, .. } => Some(Code::Net02),
            Self::Connect { source, .. } => Some(match source.kind() {
                // After the seconds in which nobody says whose address it is; a device that refuses answers at once, and
                // both are told to us by the same error.
                io::ErrorKind::HostUnreachable => Code::Dns06,
                io::ErrorKind::AddrNotAvailable => Code::Net09,
                io::ErrorKind::TimedOut => Code::Net01,
                _ => Code::Net02,
            }),
            Self::ConnectTimeout { phase, .. } => match phase {
                Phase::Waiting => None,
                Phase::Resolve => Some(Code::Dns07),
                Phase::Tcp => Some(Code::Net01),
                Phase::Tls => Some(Code::Net04),
            },
            Self::Tls { fault, .. } => Some(match fault {
                TlsFault::UnknownIssuer | TlsFault::OtherIssuer => Code::Net06,
                TlsFault::WrongName => Code::Dns06,
                TlsFault::PinMismatch => Code::Tls01,
                TlsFault::NotValidNow | TlsFault::Revoked => Code::Tls02,
                TlsFault::BadCertificate
                | TlsFault::Alert
                | TlsFault::NoCommonProtocol
                | TlsFault::Closed
                | TlsFault::Protocol => Code::Tls03,
            }),
            Self::WrongWarrant(_)
            | Self::UnknownTarget { .. }
            | Self::Unsendable { .. }
            | Self::Saturated { .. }
            | Self::NotSent { .. }
            | Self::FirstByteTimeout { .. }
            | Self::TotalTimeout { .. }
            | Self::BrokenHead { .. } => None,
        }
    }
}

fn not_connected(refused: bool, address: SocketAddr) -> String {
    if refused { format!("{address} refused the connection") } else { format!("could not connect to {address}") }
}

fn at(address: Option<SocketAddr>) -> String {
    address.map_or_else(String::new, |address| format!(" at {address}"))
}

/// Which bound of an endpoint is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// `in_flight`: requests whose replies have not ended.
    InFlight,
    /// `pool.max_connections`.
    Connections,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InFlight => "requests in flight",
            Self::Connections => "connections",
        })
    }
}

/// What was under way when connecting took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for another request's connection to be established.
    Waiting,
    /// Asking the resolver.
    Resolve,
    /// The TCP handshake.
    Tcp,
    /// The TLS handshake.
    Tls,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "shared connection",
            Self::Resolve => "answer from the resolver",
            Self::Tcp => "TCP connection",
            Self::Tls => "TLS handshake",
        })
    }
}

/// How a TLS handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// The certificate comes from nobody who is trusted here; TLS inspection looks like this.
    UnknownIssuer,
    /// The certificate is trusted, but its issuer is none of those that were declared.
    OtherIssuer,
    /// The certificate is for another name.
    WrongName,
    /// The certificate has run out, or is not valid yet.
    NotValidNow,
    /// The certificate was revoked.
    Revoked,
    /// The certificate is trusted, but its key is not one of the pinned ones.
    PinMismatch,
    /// The certificate is bad in another way.
    BadCertificate,
    /// The peer sent an alert, for example because it wants a client certificate.
    Alert,
    /// The peer does not speak the application protocol that is configured.
    NoCommonProtocol,
    /// The peer closed the connection during the handshake.
    Closed,
    /// Anything else, for example a peer that speaks no TLS.
    Protocol,
}

impl TlsFault {
    /// A stable name for metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownIssuer => "unknown_issuer",
            Self::OtherIssuer => "other_issuer",
            Self::WrongName => "wrong_name",
            Self::NotValidNow => "not_valid_now",
            Self::Revoked => "revoked",
            Self::PinMismatch => "pin_mismatch",
            Self::BadCertificate => "bad_certificate",
            Self::Alert => "alert",
            Self::NoCommonProtocol => "no_common_protocol",
            Self::Closed => "closed",
            Self::Protocol => "protocol",
        }
    }
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownIssuer => "its certificate comes from an issuer that is not trusted",
            Self::OtherIssuer => "the issuer of its certificate is none of those that it may have",
            Self::WrongName => "its certificate is for another name",
            Self::NotValidNow => "its certificate is not valid at this time",
            Self::Revoked => "its certificate was revoked",
            Self::PinMismatch => "its key is not one of the pinned keys",
            Self::BadCertificate => "its certificate is not acceptable",
            Self::Alert => "it sent an alert",
            Self::NoCommonProtocol => "it does not speak the configured application protocol",
            Self::Closed => "it closed the connection",
            Self::Protocol => "it broke the protocol",
        })
    }
}

/// Items with commas between.
pub(crate) struct Listed<'a, T>(pub(crate) &'a [T]);

impl<T: fmt::Display> fmt::Display for Listed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, item) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            item.fmt(f)?;
        }
        Ok(())
    }
}

/// What an exchange over a connection failed by.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// On a connection of HTTP/1.1.
    #[error(transparent)]
    Http1(#[from] Http1Fault),
    /// On one of HTTP/2.
    #[error(transparent)]
    Http2(#[from] hyper::Error),
}

/// Why the body of a reply ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Nothing came for as long as the `idle` timeout.
    #[error("endpoint `{endpoint}`: the reply paused for longer than {after:?}")]
    Idle {
        /// The endpoint.
        endpoint: Arc<str>,
        /// The limit.
        after: Duration,
    },
    /// The whole call took longer than the `total` timeout.
    #[error("endpoint `{endpoint}`: the call took longer than {after:?}")]
    Total {
        /// The endpoint.
        endpoint: Arc<str>,
        /// The limit.
        after: Duration,
    },
    /// The connection broke, or spoke no HTTP.
    #[error("endpoint `{endpoint}`: the connection broke in the middle of the reply")]
    Broken {
        /// The endpoint.
        endpoint: Arc<str>,
        /// What the connection said.
        #[source]
        source: ExchangeError,
    },
}

/// Why a fleet cannot be built; every problem is listed.
#[derive(Debug, thiserror::Error)]
#[error("{}", Problems(.0))]
pub struct BuildError(pub Vec<BuildProblem>);

/// One reason why a fleet cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildProblem {
    /// Two endpoints or two resolvers have the same name.
    #[error("the name `{name}` is used twice")]
    Duplicate {
        /// The name.
        name: Arc<str>,
    },
    /// A target points at an endpoint that is not there, or is listed twice.
    #[error("target {target} names no endpoint, or is listed twice")]
    Target {
        /// The target.
        target: TargetId,
    },
    /// No resolver has a zone that holds the host's name.
    #[error(
        "endpoint `{endpoint}`: `{host}` lies in no resolver's zone; add a zone that holds it to a `[resolver.NAME]` \
         section, or give an address"
    )]
    NoZone {
        /// The endpoint.
        endpoint: Arc<str>,
        /// The host of its URL.
        host: String,
    },
    /// The resolver that the endpoint names does not exist or does not have the zone.
    #[error("endpoint `{endpoint}`: resolver `{resolver}` is not defined, or none of its zones holds `{host}`")]
    WrongResolver {
        /// The endpoint.
        endpoint: Arc<str>,
        /// The host of its URL.
        host: String,
        /// The resolver that it names.
        resolver: String,
    },
    /// The system's resolver may serve public endpoints only.
    #[error(
        "endpoint `{endpoint}`: resolver `{resolver}` asks the system's name servers, which may decide for public \
         endpoints only; list its servers"
    )]
    SystemResolver {
        /// The endpoint.
        endpoint: Arc<str>,
        /// The resolver.
        resolver: Arc<str>,
    },
    /// An endpoint is reached as only identity hosts may be.
    #[error("endpoint `{endpoint}`: the metadata service of a cloud serves no models")]
    Metadata {
        /// The endpoint.
        endpoint: Arc<str>,
    },
    /// The look at the public front cannot be made.
    #[error("endpoint `{endpoint}`: its canary: {reason}")]
    Canary {
        /// The endpoint.
        endpoint: Arc<str>,
        /// Why.
        reason: String,
    },
    /// The declared proxy cannot be used.
    #[error("endpoint `{endpoint}`: its proxy: {reason}")]
    Via {
        /// The endpoint.
        endpoint: Arc<str>,
        /// Why.
        reason: String,
    },
    /// What is shown for a token cannot be used.
    #[error("endpoint `{endpoint}`: {reason}")]
    Identity {
        /// The endpoint.
        endpoint: Arc<str>,
        /// Why.
        reason: String,
    },
    /// The resolver cannot be set up.
    #[error("resolver `{resolver}`: {reason}")]
    Resolver {
        /// The resolver.
        resolver: Arc<str>,
        /// What is wrong.
        reason: String,
    },
    /// The host, authority or a path cannot stand in a URL.
    #[error("endpoint `{endpoint}`: {what} `{value}` cannot stand in a URL")]
    Url {
        /// The endpoint.
        endpoint: Arc<str>,
        /// Which part.
        what: &'static str,
        /// What it is.
        value: String,
    },
    /// The credential cannot be sent.
    #[error("endpoint `{endpoint}`: the credential cannot be used")]
    Credential {
        /// The endpoint.
        endpoint: Arc<str>,
        /// Why.
        #[source]
        source: InvalidCredential,
    },
    /// The TLS settings cannot be used.
    #[error("endpoint `{endpoint}`: the TLS settings cannot be used: {reason}")]
    Tls {
        /// The endpoint.
        endpoint: Arc<str>,
        /// Why.
        reason: String,
    },
}

struct Problems<'a>(&'a [BuildProblem]);

impl fmt::Display for Problems<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}
