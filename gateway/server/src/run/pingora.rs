//! pingora-core as the owner of the process: listeners, worker runtimes, signals, hand-over of the listening sockets.
//!
//! No TLS and no HTTP of pingora's runs here. It accepts a connection and gives us a byte stream.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use ingress::listen::{self, Drain, Handler};
use pingora_core::apps::ServerApp;
use pingora_core::listeners::ListenerConfig;
use pingora_core::protocols::Stream;
use pingora_core::protocols::l4::stream::L4BufferSettings;
use pingora_core::server::configuration::{Opt, ServerConf};
use pingora_core::server::{ListenFds, RunArgs, Server, ShutdownSignal, ShutdownSignalWatch, ShutdownWatch};
use pingora_core::services::background::{BackgroundService, background_service};
use pingora_core::services::listening::Service as Listening;
use pingora_core::services::{ServiceReadyNotifier, ServiceWithDependents};
use telemetry::audit::AdminEvent;
use telemetry::metrics::{Gauge, InFlight as Counted};
use tokio::signal::unix::{SignalKind, signal};

use super::{Callers, Doors, InFlight, Lifecycle, Listener, Service, housekeeping, notify, upkeep};
use crate::admin;
use crate::export;
use crate::gateway::{Gateway, Phase};
use crate::second_place;

/// The production lifecycle.
pub struct Pingora {
    /// Take the listening sockets over from a running process instead of opening them.
    pub upgrade: bool,
    /// Unix socket over which they are handed.
    pub upgrade_socket: PathBuf,
    /// Worker threads of the data listener; the machine's cores by default.
    pub threads: usize,
    /// How long `/readyz` fails before the listeners close, so that load balancers look elsewhere first.
    pub readiness_lead: Duration,
}

/// A listener could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    /// Another process holds the address, or it is not one of this machine's.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// How long pingora waits for runtimes after the drain; by then nothing is left.
const RUNTIME_TIMEOUT_SECONDS: u64 = 1;

/// Seconds by which pingora's grace period is longer than the drain bound.
const GRACE_BEHIND_DRAIN: u64 = 10;

/// Bytes that are read ahead on a TLS connection: the largest record (RFC 8446, section 5.1).
const TLS_READ_AHEAD: usize = 16 << 10;

/// Attempts, one a second, to reach a new process that has opened its end of the hand-over socket.
const HAND_OVER_RETRIES: usize = 30;

impl Lifecycle for Pingora {
    type Error = LifecycleError;

    fn run(self, service: Service) -> Result<(), LifecycleError> {
        let mut server = Server::new_with_opt_and_conf(
            Opt { upgrade: self.upgrade, ..Opt::default() },
            ServerConf {
                threads: self.threads.max(1),
                // A thread alone has nobody to share its work with, and goes round faster without looking for somebody.
                work_stealing: self.threads > 1,
                upgrade_sock: self.upgrade_socket.to_string_lossy().into_owned(),
                upgrade_sock_connect_accept_max_retries: Some(HAND_OVER_RETRIES),
                // Our own bound ends the drain; pingora's stands behind it and must not come first.
                grace_period_seconds: Some(service.drain.as_secs() + GRACE_BEHIND_DRAIN),
                graceful_shutdown_timeout_seconds: Some(RUNTIME_TIMEOUT_SECONDS),
                // tokio's timers for all of pingora's own, which are one that no handshake here ever waits for. Its other
                // kind has a thread that looks at the clock a hundred times a second for as long as the process lives, and
                // forgets no timer before its time: 60 s for each connection.
                fast_timeout_to_tokio_threshold_seconds: Some(0),
                ..ServerConf::default()
            },
        );
        server.bootstrap();
        let gateway = &service.gateway;
        let in_flight = InFlight::default();
        let data = Entrance::new("data", &service.doors.data, Callers(Arc::clone(gateway)), gateway)
            .counting(in_flight.clone())
            .on(self.threads);
        let data = server.add_service(data);
        let mut behind = Vec::new();
        if let Some(listener) = &service.doors.admin {
            let console = admin::Admin::new(Arc::clone(gateway), service.reloader.clone());
            behind.push(server.add_service(Entrance::new("admin", listener, console, gateway)));
        }
        if let Some(listener) = &service.doors.health {
            let probes = admin::Probes(Arc::clone(gateway));
            behind.push(server.add_service(Entrance::new("health", listener, probes, gateway)));
        }
        let signals = Signals { gateway: Arc::clone(gateway), lead: self.readiness_lead };
        let mut upkeep = background_service("upkeep", Upkeep { service, in_flight });
        upkeep.threads = Some(1);
        let upkeep = server.add_service(upkeep);
        for listener in behind {
            upkeep.add_dependency(&listener);
        }
        upkeep.add_dependency(&data);
        server.run(RunArgs { shutdown_signal: Box::new(signals) });
        Ok(())
    }
}

impl Pingora {
    /// Finds out early, and in our own words, that an address is taken; pingora would panic in a worker thread.
    ///
    /// # Errors
    ///
    /// When an address cannot be bound. A process that takes sockets over binds none.
    pub fn claim(&self, doors: &Doors) -> Result<(), LifecycleError> {
        let listeners = [Some(&doors.data), doors.admin.as_ref(), doors.health.as_ref()];
        for address in listeners.into_iter().flatten().map(|listener| listener.address).filter(|_| !self.upgrade) {
            let claimed = std::net::TcpListener::bind(address);
            drop(claimed.map_err(|source| LifecycleError::Listen { address, source })?);
        }
        Ok(())
    }
}

/// One listener: pingora's accept loop in front of our own door.
struct Entrance<H: Handler> {
    address: SocketAddr,
    inner: Listening<Accept<H>>,
}

impl<H: Handler> Entrance<H> {
    fn new(name: &str, listener: &Listener, handler: H, gateway: &Arc<Gateway>) -> Self {
        let accept = Accept {
            listener: listener.clone(),
            handler: Arc::new(handler),
            in_flight: InFlight::default(),
            callers: None,
            gateway: Arc::clone(gateway),
        };
        let mut inner = Listening::new(name.to_owned(), accept);
        // Operators and probes need one thread; callers get what the lifecycle says.
        inner.threads = Some(1);
        let socket = ListenerConfig::tcp(listener.address.to_string());
        inner.add_listener(socket.l4_buffer(L4BufferSettings::new(read_ahead(listener), 0)));
        Self { address: listener.address, inner }
    }

    /// Counts its connections where the drain looks, and as those of callers.
    fn counting(mut self, in_flight: InFlight) -> Self {
        if let Some(accept) = self.inner.app_logic_mut() {
            accept.in_flight = in_flight;
            accept.callers = Some(accept.gateway.metrics.process().connections().clone());
        }
        self
    }

    fn on(mut self, threads: usize) -> Self {
        self.inner.threads = Some(threads.max(1));
        self
    }
}

/// Bytes that are read ahead of what is asked for.
///
/// pingora's own buffers are 64 KiB for each connection and one more copy of all that is read. hyper has a buffer and asks
/// for much at once; rustls asks for 4 KiB at a time, which a buffer of one record joins.
fn read_ahead(listener: &Listener) -> usize {
    if listener.door.tls().is_some() { TLS_READ_AHEAD } else { 0 }
}

#[async_trait]
impl<H: Handler> ServiceWithDependents for Entrance<H> {
    /// Signals readiness when the socket is open, and not before as pingora's own services do.
    async fn start_service(
        &mut self,
        fds: Option<ListenFds>,
        shutdown: ShutdownWatch,
        listeners_per_fd: usize,
        ready: ServiceReadyNotifier,
    ) {
        let table = fds.clone();
        let address = self.address.to_string();
        let serve = pingora_core::services::Service::start_service(&mut self.inner, fds, shutdown, listeners_per_fd);
        let announce = async move {
            // pingora enters a socket into its table when it is bound, and tells nobody.
            let mut look = tokio::time::interval(Duration::from_millis(1));
            while table.as_ref().is_some_and(|table| table.lock().get(&address).is_none()) {
                look.tick().await;
            }
            ready.notify_ready();
        };
        tokio::join!(serve, announce);
    }

    fn name(&self) -> &str {
        pingora_core::services::Service::name(&self.inner)
    }

    fn threads(&self) -> Option<usize> {
        self.inner.threads
    }

    fn listen_addresses(&self) -> Option<Vec<String>> {
        pingora_core::services::Service::listen_addresses(&self.inner)
    }
}

/// Hands each accepted stream to `ingress`.
struct Accept<H> {
    listener: Listener,
    handler: Arc<H>,
    in_flight: InFlight,
    /// What counts its connections in the metrics; none on the listeners of operators and probes.
    callers: Option<Gauge>,
    gateway: Arc<Gateway>,
}

#[async_trait]
impl<H: Handler> ServerApp for Accept<H> {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let _serving = self.in_flight.enter();
        if self.in_flight.count() > self.listener.most_connections {
            // Nothing can be said to a caller before its handshake; it sees the connection close and comes back.
            self.gateway.metrics.process().refused_connections().inc();
            return None;
        }
        let _counted = self.callers.as_ref().map(Counted::enter);
        let digest = stream.get_socket_digest()?;
        let peer = *digest.peer_addr()?.as_inet()?;
        let drain = Drain::from(shutdown.clone());
        if let Err(error) = listen::serve(stream, peer, &self.listener.door, Arc::clone(&self.handler), drain).await {
            tracing::debug!(%error, %peer, "a connection ended badly");
        }
        None
    }
}

/// SIGTERM and SIGINT drain, SIGQUIT hands the sockets over; a second SIGINT leaves at once.
struct Signals {
    gateway: Arc<Gateway>,
    lead: Duration,
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let install = "a signal handler can be installed once, at start";
        let mut terminate = signal(SignalKind::terminate()).expect(install);
        let mut interrupt = signal(SignalKind::interrupt()).expect(install);
        let mut quit = signal(SignalKind::quit()).expect(install);
        tokio::select! {
            _ = quit.recv() => {
                tracing::info!("SIGQUIT: handing the listening sockets to the new process");
                ShutdownSignal::GracefulUpgrade
            }
            _ = terminate.recv() => self.drain("SIGTERM").await,
            _ = interrupt.recv() => {
                tokio::spawn(async move {
                    interrupt.recv().await;
                    exit(130);
                });
                self.drain("SIGINT").await
            }
        }
    }
}

impl Signals {
    async fn drain(&self, name: &str) -> ShutdownSignal {
        tracing::info!(signal = name, "draining");
        self.gateway.enter(Phase::Draining);
        notify::stopping();
        self.record(name).await;
        tokio::time::sleep(self.lead).await;
        ShutdownSignal::GracefulTerminate
    }
}

impl Signals {
    async fn record(&self, signal: &str) {
        let snapshot = self.gateway.snapshot();
        let event = AdminEvent {
            at: SystemTime::now(),
            action: "drain",
            actor: "signal",
            done: true,
            configuration: Some(&snapshot.hash),
            detail: signal,
        };
        if let Err(error) = self.gateway.audit.admin_or_late(&event).await {
            tracing::error!(%error, "the drain could not be recorded");
        }
    }
}

/// Everything that runs beside requests, and the last to leave.
struct Upkeep {
    service: Service,
    in_flight: InFlight,
}

#[async_trait]
impl BackgroundService for Upkeep {
    /// Runs once all listeners are open (see the dependencies in [`Pingora::run`]).
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let gateway = &self.service.gateway;
        let _flusher = upkeep::Flusher::start(gateway);
        gateway.enter(Phase::Ready);
        notify::ready();
        let doors = &self.service.doors;
        let admin = doors.admin.as_ref().map(|listener| listener.address.to_string());
        tracing::info!(address = %doors.data.address, admin, configuration = %gateway.snapshot().hash, "serving");
        tokio::select! {
            () = upkeep::run(gateway, self.service.reloader.as_ref()) => {}
            _ = shutdown.wait_for(|leave| *leave) => {}
        }
        gateway.enter(Phase::Draining);
        tracing::info!(left = self.in_flight.count(), "nothing new is let in; what runs is waited for");
        tokio::select! {
            () = self.in_flight.empty() => tracing::info!("the last request has ended"),
            () = upkeep::run(gateway, None) => {}
            () = tokio::time::sleep(self.service.drain) => {
                tracing::warn!(left = self.in_flight.count(), "the drain bound is reached; what still runs is cut");
            }
        }
        leave(gateway).await;
    }
}

/// Seals the log and leaves at once: pingora would sleep its whole grace period even with nothing in flight.
async fn leave(gateway: &Gateway) {
    export::last(gateway).await;
    match gateway.audit.seal("drained", SystemTime::now()).await {
        Ok(()) => {
            second_place::last(gateway).await;
            leave_the_books(gateway).await;
            exit(0)
        }
        Err(error) => {
            tracing::error!(%error, "the audit log could not be sealed");
            leave_the_books(gateway).await;
            exit(1);
        }
    }
}

/// The longest that leaving waits for the ledger's database. The evidence is sealed before; what the database does not take in
/// that time is in the journal, which the next process reads.
const LEDGER_LEAVES_IN: Duration = Duration::from_secs(5);

async fn leave_the_books(gateway: &Gateway) {
    housekeeping::keep_last_used_once_more(gateway).await;
    let ledger = gateway.ledger.clone();
    let left = tokio::task::spawn_blocking(move || ledger.leave());
    if tokio::time::timeout(LEDGER_LEAVES_IN, left).await.is_err() {
        tracing::warn!("the ledger's database is slow; the next process brings it the rest of the journal");
    }
    // INVARIANT: after the ledger. Whoever starts from then on finds nobody here and asks the ledger alone; another process that
    // is there is told four times a second until then.
    let snapshot = gateway.snapshot();
    let parted = tokio::task::spawn_blocking(move || snapshot.part());
    if tokio::time::timeout(PARTS_IN, parted).await.is_err() {
        tracing::warn!(
            "the database in the state folder is slow; what was told before counts for the other process there"
        );
    }
}

/// The longest that leaving waits until another process of the state folder is told what was spent last.
const PARTS_IN: Duration = Duration::from_secs(5);

/// Ends the process. The main thread is asleep in pingora by then and has nothing left to run.
#[expect(clippy::disallowed_methods, reason = "pingora's main thread sleeps its whole grace period before it returns")]
fn exit(code: i32) -> ! {
    std::process::exit(code)
}
