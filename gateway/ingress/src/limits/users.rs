//! The rate of each user that an app names: as many buckets as there are users who asked lately, within a bound.

use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock as _;
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use super::{Refusal, Standing, Watch};

/// Most users of one app whose requests are counted apart, in each of their rates. When more ask within its period or so, they share
/// buckets.
pub const MOST_USERS: usize = 65_536;

/// The buckets that are shared then.
pub(super) const SHARED: u64 = 64;

/// The users of one app or key, by one of its rates.
#[derive(Debug)]
pub(super) struct Users {
    rate: RateLimiter<u64, HashMapStateStore<u64>, Watch, StateInformationMiddleware>,
    /// Keyed at random, so that nobody can choose names that share a bucket.
    hasher: RandomState,
    watch: Watch,
    /// The second in which idle users were last forgotten: that goes through all of them.
    forgotten: AtomicU64,
    most: usize,
}

impl Users {
    /// So many requests in a period of each user.
    pub(super) fn new(requests: NonZeroU32, period: Duration) -> Self {
        Self::bounded((requests, period), MOST_USERS)
    }

    pub(super) fn bounded((requests, period): (NonZeroU32, Duration), most: usize) -> Self {
        let watch = Watch::start();
        // One each nanosecond is more than anybody can ask, and with less time between them it is no rate.
        let each = (period / requests.get()).max(Duration::from_nanos(1));
        let quota = Quota::with_period(each).expect("it is a nanosecond at least").allow_burst(requests);
        let rate = RateLimiter::hashmap_with_clock(quota, watch.clone()).with_middleware();
        Self { rate, hasher: RandomState::new(), watch, forgotten: AtomicU64::new(0), most }
    }

    /// Takes one request; `refilled` is that of [`super::pace`].
    pub(super) fn pace(&self, user: &str, refilled: &mut Duration) -> Result<(), Refusal> {
        let own = self.hasher.hash_one(user);
        let bucket = if self.has_room() { own } else { own % SHARED };
        let left = self.rate.check_key(&bucket).map_err(|early| Refusal::TooFast {
            retry_after: early.wait_time_from(self.rate.clock().now()).max(*refilled),
            standing: Standing::used_up(early.quota()),
        })?;
        if left.remaining_burst_capacity() == 0 {
            *refilled = (*refilled).max(left.quota().replenish_interval());
        }
        Ok(())
    }

    /// Whether one more user can have a bucket; users whose bucket is full again are forgotten, once a second at most.
    fn has_room(&self) -> bool {
        let room = || self.rate.len() + (SHARED as usize) < self.most;
        if room() {
            return true;
        }
        let second = self.watch.now().as_u64() / 1_000_000_000 + 1;
        if self.forgotten.swap(second, Ordering::Relaxed) != second {
            self.rate.retain_recent();
        }
        room()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.rate.len()
    }
}
