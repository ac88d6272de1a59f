//! Plain tokio listeners on loopback: what `demo` and the tests run on. No hand-over, no signals.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ingress::listen::{self, Door, Drain, DrainSwitch, Handler};
use telemetry::metrics::{Gauge, InFlight};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::{Callers, upkeep};
use crate::admin::Admin;
use crate::gateway::{Gateway, Phase};

/// How long a listener that cannot accept (no file descriptor is left) waits before it tries again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A gateway on ports of its own choosing.
pub struct Plain;

/// A running gateway; dropping it stops the listeners.
pub struct PlainHandle {
    /// Where callers connect.
    pub data: SocketAddr,
    /// Where operators connect.
    pub admin: SocketAddr,
    drain: DrainSwitch,
    tasks: Vec<JoinHandle<()>>,
}

impl Plain {
    /// Opens the listeners and serves in the background of the current runtime.
    ///
    /// # Errors
    ///
    /// When an address cannot be bound.
    pub async fn start(gateway: Arc<Gateway>, data: SocketAddr, admin: SocketAddr) -> std::io::Result<PlainHandle> {
        let (switch, drain) = listen::drain();
        let callers = TcpListener::bind(data).await?;
        let operators = TcpListener::bind(admin).await?;
        let (data, admin) = (callers.local_addr()?, operators.local_addr()?);
        let door = Arc::new(Door::new(listen::ListenSettings::default(), None));
        let console = Arc::new(Admin::new(Arc::clone(&gateway), None));
        gateway.enter(Phase::Ready);
        let tasks = vec![
            tokio::spawn({
                let connections = gateway.metrics.process().connections().clone();
                let pipeline = Arc::new(Callers(Arc::clone(&gateway)));
                accept((callers, Some(connections)), Arc::clone(&door), pipeline, drain.clone())
            }),
            tokio::spawn(accept((operators, None), door, console, drain)),
            tokio::spawn(async move {
                let _flusher = upkeep::Flusher::start(&gateway);
                upkeep::run(&gateway, None).await;
            }),
        ];
        Ok(PlainHandle { data, admin, drain: switch, tasks })
    }
}

impl Drop for PlainHandle {
    fn drop(&mut self) {
        self.drain.begin();
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Accepts until it is dropped; the gauge counts the connections.
async fn accept<H: Handler>(
    (listener, connections): (TcpListener, Option<Gauge>),
    door: Arc<Door>,
    handler: Arc<H>,
    drain: Drain,
) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Nagle's algorithm would hold small events back for 40 ms.
        let _ = stream.set_nodelay(true);
        let (door, handler, drain) = (Arc::clone(&door), Arc::clone(&handler), drain.clone());
        let counted = connections.as_ref().map(InFlight::enter);
        tokio::spawn(async move {
            let _counted = counted;
            let _ = listen::serve(stream, peer, &door, handler, drain).await;
        });
    }
}
