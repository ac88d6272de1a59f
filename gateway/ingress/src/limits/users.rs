//! The rate of each user that an app names: as many buckets as there are users who asked lately, within a bound.

use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use super::{Refusal, Standing, Watch};

/// Most users of one app whose requests are counted apart. When more ask within a minute or so, they share buckets.
pub const MOST_USERS: usize = 65_536;

/// The buckets that are shared then.
pub(super) const SHARED: u64 = 64;

/// The users of one app or key.
#[derive(Debug)]
pub(super) struct Users {
    rate: RateLimiter<u64, HashMapStateStore<u64>, Watch, NoOpMiddleware<Nanos>>,
    /// Keyed at random, so that nobody can choose names that share a bucket.
    hasher: RandomState,
    watch: Watch,
    /// The second in which idle users were last forgotten: that goes through all of them.
    forgotten: AtomicU64,
    most: usize,
}

impl Users {
    pub(super) fn new(per_minute: NonZeroU32) -> Self {
        Self::bounded(per_minute, MOST_USERS)
    }

    pub(super) fn bounded(per_minute: NonZeroU32, most: usize) -> Self {
        let watch = Watch::start();
        let rate = RateLimiter::hashmap_with_clock(Quota::per_minute(per_minute), watch.clone());
        Self { rate, hasher: RandomState::new(), watch, forgotten: AtomicU64::new(0), most }
    }

    pub(super) fn pace(&self, user: &str) -> Result<(), Refusal> {
        let own = self.hasher.hash_one(user);
        let bucket = if self.has_room() { own } else { own % SHARED };
        self.rate.check_key(&bucket).map_err(|early| Refusal::TooFast {
            retry_after: early.wait_time_from(self.rate.clock().now()),
            standing: Standing::used_up(early.quota()),
        })
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
