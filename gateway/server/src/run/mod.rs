//! The life of the process: listeners, readiness, reload, drain, hand-over of the sockets to a new binary.
//!
//! Everything that a request meets is behind [`Lifecycle`], so tests and `demo` run it on plain tokio listeners, and
//! `serve` on pingora-core, which owns signals and the hand-over.

mod doors;
mod drain;
mod evidence;
mod housekeeping;
mod notify;
mod pingora;
mod plain;
mod reload;
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use ingress::listen::{Handler, Incoming, Unreadable};
use wire::ErrorShape;

use crate::gateway::Gateway;
use crate::pipeline::{self, Refusal};

pub use doors::{DoorError, Doors, Listener, doors};
pub use drain::InFlight;
pub use evidence::{audit_folder, audit_origin, audit_settings, signing_key};
pub use pingora::{LifecycleError, Pingora};
pub use plain::{Plain, PlainHandle};
pub use reload::{LastReload, ReloadError, Reloader, persist};

/// Owns the listeners and decides when the process leaves.
pub trait Lifecycle {
    /// What it could not do.
    type Error;

    /// Serves until the process is told to leave and the last stream has ended, or the drain bound is reached.
    ///
    /// # Errors
    ///
    /// When a listener cannot be opened.
    fn run(self, service: Service) -> Result<(), Self::Error>;
}

/// What a lifecycle serves, and where.
pub struct Service {
    /// The shared owners.
    pub gateway: Arc<Gateway>,
    /// The listeners.
    pub doors: Doors,
    /// Rereads the configuration; none where it came from no file.
    pub reloader: Option<Arc<Reloader>>,
    /// How long requests may still run after the process was told to leave; then they are cut.
    pub drain: Duration,
}

/// The callers' requests, into the pipeline.
struct Callers(Arc<Gateway>);

impl Handler for Callers {
    type Body = pipeline::ReplyBody;

    fn handle(self: Arc<Self>, incoming: Incoming) -> impl Future<Output = Response<Self::Body>> + Send + 'static {
        pipeline::handle(Arc::clone(&self.0), incoming)
    }

    /// Nobody knows which API was meant, so it is answered as most of them are.
    fn unreadable(&self, unreadable: &Unreadable) -> Response<Bytes> {
        Refusal::from(*unreadable).answer(ErrorShape::OpenAi)
    }
}
