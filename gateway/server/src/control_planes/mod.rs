//! Control planes of clouds: asked, beside the requests, where the deployments of targets process.
//!
//! **Promises.** Each is asked at the start, after a reload and then in its own interval, one question after the other. A
//! contradiction of what is declared holds the endpoint back as one in an answer does. A control plane that cannot be asked, or
//! says what cannot be used, contradicts nothing: it is said in the log and counted, and asked again, later each time. One that is
//! throttled or gone is not asked for every target: the first such answer ends the round.
//!
//! **Does not do.** It only reads. It makes no place good: it can show that one is wrong.

mod ask;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use egress::{ControlHost, Fleet};
use parking_lot::Mutex;
use policy::Adjustments;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

pub use ask::{Answer, AskError, Overflow, Question, Told};

use crate::configuration::{Compiled, DataPack};
use crate::gateway::Gateway;
use crate::pipeline::hold_back;
use crate::snapshot::{Target, control_name};

/// Until a failure is looked at again; doubled each time, up to the plane's own interval.
const AGAIN: Duration = Duration::from_secs(60);
/// Time for one question.
const LIMIT: Duration = Duration::from_secs(30);

/// One control plane, and what it is asked.
pub(crate) struct Plane {
    host: ControlHost,
    every: Duration,
    about: Vec<(Arc<Target>, Question)>,
    adjustments: Adjustments,
    pack: Arc<DataPack>,
    /// What was last said of each target, to say it once.
    failing: Mutex<BTreeMap<Arc<str>, String>>,
    started: AtomicBool,
    /// Dropped with the plane, which ends its task.
    alive: Mutex<Option<oneshot::Sender<()>>>,
}

/// The control planes of a configuration that are asked about anything. The targets are in the order of the configuration's.
pub(crate) fn build(compiled: &Compiled, fleet: &Fleet, targets: &[Arc<Target>]) -> Vec<Arc<Plane>> {
    let mut about: BTreeMap<usize, Vec<(Arc<Target>, Question)>> = BTreeMap::new();
    for (index, target) in targets.iter().enumerate() {
        if let Some((host, question)) = Question::about(compiled, index) {
            about.entry(host).or_default().push((Arc::clone(target), question));
        }
    }
    let plane = |(host, about): (usize, Vec<_>)| {
        let config = &compiled.controls[host];
        Some(Arc::new(Plane {
            host: fleet.control(&control_name(config))?.clone(),
            every: config.every,
            about,
            adjustments: compiled.policy.adjustments.clone(),
            pack: Arc::clone(&compiled.policy.pack),
            failing: Mutex::default(),
            started: AtomicBool::new(false),
            alive: Mutex::default(),
        }))
    };
    about.into_iter().filter_map(plane).collect()
}

impl Plane {
    /// Begins to ask, once.
    pub(crate) fn start(self: &Arc<Self>, gateway: &Arc<Gateway>) {
        if !self.started.swap(true, Ordering::AcqRel) {
            let (alive, ended) = oneshot::channel();
            *self.alive.lock() = Some(alive);
            tokio::spawn(watch(Arc::downgrade(self), Arc::downgrade(gateway), ended));
        }
    }

    /// Asks everything; how long to wait because of a failure, where there was one.
    async fn sweep(self: &Arc<Self>, gateway: &Arc<Gateway>) -> Option<Duration> {
        let mut wait = None;
        for (target, question) in &self.about {
            let answer = match timeout(LIMIT, question.ask(&self.host)).await {
                Ok(answer) => answer,
                Err(_) => Err(AskError::Unusable("it did not come in time")),
            };
            // Another configuration may declare something else by now, and asks for itself.
            if !gateway.snapshot().planes.iter().any(|plane| Arc::ptr_eq(plane, self)) {
                return None;
            }
            let failure = match answer {
                Ok(answer) => self.heard(gateway, target, answer),
                Err(error) => Some(error),
            };
            let Some(error) = failure else { continue };
            let after = match &error {
                AskError::Refused { after, .. } => *after,
                AskError::Unreached(_) | AskError::Unusable(_) => None,
            };
            wait = wait.max(Some(after.unwrap_or_default()));
            self.failed(target, &error);
            if error.is_of_the_host() {
                return wait;
            }
        }
        wait
    }

    /// Compares what is told, and gives back what was not.
    fn heard(&self, gateway: &Arc<Gateway>, target: &Target, answer: Answer) -> Option<AskError> {
        let Answer { told, gap } = answer;
        if gap.is_none() && self.failing.lock().remove(&target.name).is_some() {
            tracing::info!(target = &*target.name, "its control plane tells of it again");
        }
        match told.compare(&target.facts, &target.upstream_model, (&self.pack, &self.adjustments)) {
            Ok(()) if gap.is_some() => {}
            Ok(()) => target.metrics.place_check("agrees"),
            Err(drift) => {
                target.metrics.place_check("drift");
                hold_back(gateway, target, format!("{} of `{}`: {drift}", told.by(), target.name), None);
            }
        }
        gap
    }

    fn failed(&self, target: &Target, error: &AskError) {
        target.metrics.place_check("failed");
        let why = error.to_string();
        let before = self.failing.lock().insert(Arc::clone(&target.name), why.clone());
        if before.is_none_or(|before| before != why) {
            let control = self.host.name();
            tracing::warn!(target = &*target.name, %control, "where it processes cannot be asked: {why}");
        }
    }
}

async fn watch(plane: Weak<Plane>, gateway: Weak<Gateway>, mut ended: oneshot::Receiver<()>) {
    let mut again = AGAIN;
    loop {
        let (Some(plane), Some(gateway)) = (plane.upgrade(), gateway.upgrade()) else { return };
        let every = plane.every;
        let wait = match plane.sweep(&gateway).await {
            None => {
                again = AGAIN;
                every
            }
            Some(wanted) => {
                let wait = again.max(wanted).min(every);
                again = (again * 2).min(every);
                wait
            }
        };
        drop((plane, gateway));
        tokio::select! {
            () = sleep(wait) => {}
            _ = &mut ended => return,
        }
    }
}
