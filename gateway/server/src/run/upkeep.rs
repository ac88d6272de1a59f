//! What runs beside requests: the timer of audit log and ledger, the service manager's watchdog, reloads.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::{Reloader, housekeeping, notify};
use crate::admin::emergency;
use crate::export;
use crate::gateway::Gateway;
use crate::known_spending;
use crate::notices;
use crate::restrictions::fleet;
use crate::second_place;

/// How long an outcome may wait for the audit log's next write, and a settlement for that of the ledger's journal.
const FLUSH_EVERY: Duration = Duration::from_millis(50);

/// How often the configuration's files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Runs until it is dropped.
pub(super) async fn run(gateway: &Arc<Gateway>, reloader: Option<&Arc<Reloader>>) {
    tokio::join!(
        watchdog(),
        reload(gateway, reloader),
        gateway.tend(),
        housekeeping::run(gateway),
        restrictions(gateway),
        break_glass(gateway),
        shared_counters(gateway),
        known_spending::follow(gateway),
        fleet::follow(gateway),
        // Boxed: what it holds while it delivers would be room in every future around it.
        Box::pin(export::run(gateway)),
        Box::pin(notices::run(gateway)),
        Box::pin(second_place::run(gateway)),
    );
}

/// The thread that writes what waits for the ledger's journal and for the audit log, until this is dropped. Whoever serves has one
/// from before the first request until it leaves.
///
/// A thread and no task: a timer of the runtime costs two turns of its loop and a write to itself each time, which twenty
/// times a second was most of what runs beside requests. One for both: each time that a thread wakes up costs 30 us.
pub(super) struct Flusher {
    /// Nothing is sent: that it is gone ends the thread.
    _end: Sender<()>,
}

impl Flusher {
    pub(super) fn start(gateway: &Arc<Gateway>) -> Option<Self> {
        let (end, ended) = channel();
        let owner = Arc::downgrade(gateway);
        let thread = std::thread::Builder::new().name("flusher".to_owned());
        match thread.spawn(move || flush(&owner, &ended)) {
            Ok(_) => Some(Self { _end: end }),
            Err(error) => {
                tracing::error!(%error, "outcomes and settlements wait for the next request: no thread could be started");
                None
            }
        }
    }
}

fn flush(gateway: &Weak<Gateway>, ended: &Receiver<()>) {
    let mut failing = false;
    while ended.recv_timeout(FLUSH_EVERY) == Err(RecvTimeoutError::Timeout) {
        let Some(gateway) = gateway.upgrade() else { return };
        // The audit log's disk may be another one and hang: then the ledger's keeper still writes once a second.
        gateway.ledger.flush();
        match gateway.audit.flush() {
            Ok(()) => failing = false,
            // Said once and not twenty times a second; the metric and the status page go on saying it.
            Err(error) if !failing => {
                failing = true;
                tracing::error!(%error, "outcomes wait for the audit log; new requests are refused");
            }
            Err(_) => {}
        }
    }
}

/// Takes over what another process of the same state folder has held back, within a second: during an upgrade there are two.
async fn restrictions(gateway: &Arc<Gateway>) {
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        look.tick().await;
        let owner = Arc::clone(gateway);
        // A disk that hangs must not hang the timers beside this one.
        let Ok(looked) = tokio::task::spawn_blocking(move || owner.restrictions.look()).await else { continue };
        match looked {
            Ok(news) => {
                failing = false;
                if news {
                    let held = gateway.restrictions.current().len();
                    tracing::warn!(held, "what administrators hold back was changed by another process");
                }
            }
            Err(error) if !failing => {
                failing = true;
                tracing::error!(%error, "what is held back stays as it was; it is tried again every second");
            }
            Err(_) => {}
        }
    }
}

/// Closes grants whose time is over.
async fn break_glass(gateway: &Arc<Gateway>) {
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        emergency::sweep(gateway).await;
    }
}

/// Asks the store of what several gateways share, where there is one. Whether there is does not change while the process runs.
async fn shared_counters(gateway: &Gateway) {
    let sharing = gateway.snapshot().sharing.clone();
    if let Some(sharing) = sharing {
        sharing.counters.run().await;
    }
}

async fn watchdog() {
    let Some(every) = notify::watchdog_interval() else {
        return std::future::pending().await;
    };
    let mut tick = interval(every);
    loop {
        tick.tick().await;
        notify::alive();
    }
}

/// SIGHUP reloads at once, a change of the files within about a second: they are read when they have stood still from one
/// look to the next, so that what is still being written is not read.
async fn reload(gateway: &Arc<Gateway>, reloader: Option<&Arc<Reloader>>) {
    let Some(reloader) = reloader else {
        return std::future::pending().await;
    };
    let mut hang_up = signal(SignalKind::hangup()).expect("a signal handler can be installed once, at start");
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let actor = tokio::select! {
            _ = hang_up.recv() => "signal",
            _ = look.tick() => {
                // A mount that hangs must not hang the timers beside this one.
                let watching = Arc::clone(reloader);
                if !tokio::task::spawn_blocking(move || watching.changed_and_settled()).await.unwrap_or(false) {
                    continue;
                }
                "file"
            }
        };
        // The outcome is in the log, the audit log, the status page and the metrics.
        let _ = reloader.reload(gateway, actor).await;
    }
}
