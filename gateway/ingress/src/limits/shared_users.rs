//! The rate of each user that an app names, where several gateways share it.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use accounting::{Counter as _, Flow, Taken};
use ledger::Shared;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::users::{MOST_USERS, SHARED};
use super::{Refusal, SECOND, take};

/// The users of one app or key. One that nothing is held for is forgotten when there is no room; the store remembers.
#[derive(Debug)]
pub(super) struct SharedUsers {
    requests: NonZeroU32,
    period: Duration,
    name: Arc<str>,
    shared: Shared,
    flows: Mutex<Flows>,
    most: usize,
}

#[derive(Debug, Default)]
struct Flows {
    of: HashMap<u128, Arc<Flow>>,
    /// When those that hold nothing were last forgotten: that goes through all of them.
    forgotten: Option<Instant>,
}

impl SharedUsers {
    pub(super) fn new((requests, period): (NonZeroU32, Duration), name: &Arc<str>, shared: Shared) -> Self {
        Self { requests, period, name: Arc::clone(name), shared, flows: Mutex::default(), most: MOST_USERS }
    }

    pub(super) fn pace(&self, user: &str, refilled: &mut Duration) -> Result<(), Refusal> {
        take(&self.flow(user), refilled, Instant::now().into_std()).map(drop)
    }

    pub(super) fn give_back(&self, user: &str) {
        self.flow(user).give_back(Taken::of(1));
    }

    /// The same user has the same bucket in every gateway. The store holds a digest in place of the name, made without a key: who
    /// reads the store can find out whether a name that is known is among them.
    fn flow(&self, user: &str) -> Arc<Flow> {
        let digest = crate::auth::digest_of(&format!("{}\n{user}", self.name));
        let own = digest.iter().take(16).fold(0_u128, |sum, byte| sum << 8 | u128::from(*byte));
        let mut flows = self.flows.lock();
        if let Some(flow) = flows.of.get(&own) {
            return Arc::clone(flow);
        }
        if flows.of.len() >= self.most && flows.forgotten.is_none_or(|at| at.elapsed() >= SECOND) {
            flows.of.retain(|_, flow| flow.is_busy());
            flows.forgotten = Some(Instant::now());
        }
        let bucket = if flows.of.len() < self.most { own } else { own % u128::from(SHARED) };
        let new = || Arc::new(Flow::new(u64::from(self.requests.get()), self.period));
        let flow = Arc::clone(flows.of.entry(bucket).or_insert_with(new));
        drop(flows);
        // Gateways of the releases before have the rate by the minute alone, under a name that says no period.
        let of_period = if self.period == SECOND { "second " } else { "" };
        self.shared.enrol(&format!("user {of_period}{bucket:032x} {}", self.name), &flow);
        flow
    }
}
