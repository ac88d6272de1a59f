//! The connections of one endpoint: kept, bounded, aged, and dropped when their address is no longer verified.
//!
//! HTTP/1 connections without a request lie on a stack: the one used last is used next, so the others can grow old and be
//! closed. That its server closed one is noticed when a request would use it, or by the sweep. HTTP/2 connections are shared up to what the server allows, and another is opened beyond that.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::connection::{Facts, H1, H2, Lease, Slot};
use crate::spec::PoolSpec;
use crate::status::Connections;

/// Time until an expired resolution is tried again, if the refresh fails.
const REFRESH_AGAIN: Duration = Duration::from_secs(5);

/// The connections of one endpoint.
pub(crate) struct Pool {
    bounds: PoolSpec,
    open: Arc<AtomicUsize>,
    opened: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    idle: Vec<Idle>,
    shared: Vec<Shared>,
    /// The addresses that were verified last; `None` while every address will do.
    allowed: Option<Vec<SocketAddr>>,
    valid_until: Option<Instant>,
    /// When `allowed` holds no longer, whatever anybody says.
    ends: Option<Instant>,
    /// How often `allowed` changed.
    generation: u64,
    draining: bool,
}

struct Idle {
    connection: Box<H1>,
    since: Instant,
}

struct Shared {
    connection: Arc<H2>,
    /// When a sweep first found it without a request.
    idle_since: Option<Instant>,
}

/// What the pool has for a request.
pub(crate) struct CheckedOut {
    pub(crate) lease: Option<Lease>,
    /// The resolution has expired, and this request is the one to refresh it.
    pub(crate) refresh: bool,
}

impl State {
    fn allows(&self, facts: &Facts, now: Instant) -> bool {
        let address = facts.proof.address;
        let vouched = self.ends.is_none_or(|ends| now < ends);
        facts.expires > now && vouched && self.allowed.as_ref().is_none_or(|allowed| allowed.contains(&address))
    }

    fn keeps(&self, idle: &Idle, now: Instant) -> bool {
        let connection = &idle.connection;
        now < idle.since + connection.idle_time && self.allows(&connection.facts, now)
    }

    /// A place on a shared connection.
    fn join(&mut self, now: Instant) -> Option<Lease> {
        let usable = |shared: &Shared| !shared.connection.is_closed() && self.allows(&shared.connection.facts, now);
        let joined = self.shared.iter().enumerate().filter(|(_, shared)| usable(shared));
        let (index, stream) = joined.filter_map(|(index, shared)| Some((index, shared.connection.join()?))).next()?;
        self.shared[index].idle_since = None;
        Some(Lease::H2(stream))
    }

    fn keeps_shared(&self, shared: &mut Shared, idle_time: Duration, now: Instant) -> bool {
        if shared.connection.streams() == 0 {
            shared.idle_since.get_or_insert(now);
        } else {
            shared.idle_since = None;
        }
        let fresh = shared.idle_since.is_none_or(|since| now < since + idle_time);
        fresh && !shared.connection.is_closed() && self.allows(&shared.connection.facts, now)
    }

    /// Takes out what may not be used any more. The caller drops it after the lock.
    fn sweep(&mut self, idle_time: Duration, now: Instant) -> (Vec<Idle>, Vec<Shared>) {
        let (idle, shared) = (std::mem::take(&mut self.idle), std::mem::take(&mut self.shared));
        let (mut old_idle, mut old_shared) = (Vec::new(), Vec::new());
        for mut idle in idle {
            if self.keeps(&idle, now) && idle.connection.is_ready() {
                self.idle.push(idle);
            } else {
                old_idle.push(idle);
            }
        }
        for mut shared in shared {
            if self.keeps_shared(&mut shared, idle_time, now) {
                self.shared.push(shared);
            } else {
                old_shared.push(shared);
            }
        }
        (old_idle, old_shared)
    }
}

impl Pool {
    pub(crate) fn new(bounds: PoolSpec) -> Self {
        let open = Arc::new(AtomicUsize::new(0));
        Self { bounds, open, opened: AtomicU64::new(0), state: Mutex::default() }
    }

    /// A connection that may be used now: a shared one with room, or else the idle one that was used last.
    pub(crate) fn check_out(&self, now: Instant) -> CheckedOut {
        let mut dropped = Vec::new();
        let mut state = self.state.lock();
        let refresh = state.valid_until.is_some_and(|valid_until| valid_until <= now);
        if refresh {
            state.valid_until = Some(now + REFRESH_AGAIN);
        }
        let mut lease = state.join(now);
        while lease.is_none() {
            let Some(mut idle) = state.idle.pop() else { break };
            if state.keeps(&idle, now) && idle.connection.is_ready() {
                lease = Some(Lease::H1(idle.connection));
            } else {
                dropped.push(idle);
            }
        }
        drop(state);
        drop(dropped);
        CheckedOut { lease, refresh }
    }

    /// The right to open one more connection.
    pub(crate) fn reserve(&self, now: Instant) -> Option<Slot> {
        Slot::take(&self.open, self.bounds.max_connections).or_else(|| {
            // Old connections that nobody looked at since may hold the slots.
            self.sweep(now);
            Slot::take(&self.open, self.bounds.max_connections)
        })
    }

    /// When a connection that is opened now gets no further request.
    pub(crate) fn expiry(&self, now: Instant) -> Instant {
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        now + jittered(self.bounds.max_lifetime, number)
    }

    pub(crate) fn idle_time(&self) -> Duration {
        self.bounds.idle_time
    }

    pub(crate) fn bounds(&self) -> &PoolSpec {
        &self.bounds
    }

    /// Takes a connection back whose reply ended cleanly.
    pub(crate) fn check_in(&self, lease: Lease, now: Instant) {
        let Lease::H1(connection) = lease else { return };
        let idle = Idle { connection, since: now };
        let mut state = self.state.lock();
        let full = state.draining || state.idle.len() >= self.bounds.max_idle;
        if !full && idle.connection.may_be_kept() && state.keeps(&idle, now) {
            state.idle.push(idle);
            return;
        }
        drop(state);
        drop(idle);
    }

    /// Offers a new HTTP/2 connection to other requests.
    pub(crate) fn share(&self, connection: &Arc<H2>, now: Instant) {
        let mut state = self.state.lock();
        if state.draining {
            return;
        }
        // The one that it replaces is usually closed by now.
        let swept = state.sweep(self.bounds.idle_time, now);
        state.shared.push(Shared { connection: Arc::clone(connection), idle_since: None });
        drop(state);
        drop(swept);
    }

    /// Takes note of a new verification, which is to be renewed at `valid_until` and holds no longer than to `ends`.
    /// Connections to addresses that are not in it are dropped; those in use end with their reply.
    pub(crate) fn verified(
        &self,
        addresses: Vec<SocketAddr>,
        valid_until: Option<Instant>,
        ends: Option<Instant>,
        now: Instant,
    ) {
        let mut state = self.state.lock();
        (state.valid_until, state.ends) = (valid_until, ends);
        if state.allowed.as_ref().is_some_and(|allowed| same_set(allowed, &addresses)) {
            return;
        }
        if state.allowed.is_some() {
            state.generation += 1;
        }
        state.allowed = Some(addresses);
        let swept = state.sweep(self.bounds.idle_time, now);
        drop(state);
        drop(swept);
    }

    /// Drops every connection; those in use end with their reply.
    pub(crate) fn forget(&self) {
        let mut state = self.state.lock();
        state.allowed = Some(Vec::new());
        state.generation += 1;
        let dropped = (std::mem::take(&mut state.idle), std::mem::take(&mut state.shared));
        drop(state);
        drop(dropped);
    }

    /// Closes what is idle and past its time.
    pub(crate) fn sweep(&self, now: Instant) {
        let swept = self.state.lock().sweep(self.bounds.idle_time, now);
        drop(swept);
    }

    /// Keeps no connection from now on: idle ones close now, the others with their replies.
    pub(crate) fn drain(&self) {
        let mut state = self.state.lock();
        state.draining = true;
        let dropped = (std::mem::take(&mut state.idle), std::mem::take(&mut state.shared));
        drop(state);
        drop(dropped);
    }

    pub(crate) fn connections(&self) -> Connections {
        let state = self.state.lock();
        let open = self.open.load(Ordering::Acquire);
        let unused = state.shared.iter().filter(|shared| shared.connection.streams() == 0).count();
        let idle = state.idle.len() + unused;
        Connections {
            open,
            idle,
            in_use: open.saturating_sub(idle),
            opened: self.opened.load(Ordering::Relaxed),
            generation: state.generation,
        }
    }
}

fn same_set(left: &[SocketAddr], right: &[SocketAddr]) -> bool {
    left.len() == right.len() && left.iter().all(|address| right.contains(address))
}

/// Shortens a lifetime by up to a tenth, differently for each connection.
///
/// Connections that were opened in one burst would otherwise be closed in one. The number of the connection is spread by
/// the finaliser of splitmix64, which needs no source of randomness.
fn jittered(lifetime: Duration, number: u64) -> Duration {
    let mut bits = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits ^= bits >> 27;
    let thousandths = u32::try_from(bits % 100).unwrap_or(0);
    lifetime - lifetime * thousandths / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_differ_by_up_to_a_tenth() {
        let all: Vec<Duration> = (0..1000).map(|number| jittered(Duration::from_secs(100), number)).collect();

        assert!(all.iter().all(|lifetime| (Duration::from_secs(90)..=Duration::from_secs(100)).contains(lifetime)));
        assert!(all.iter().max() > all.iter().min());
    }

    #[test]
    fn slots_are_bounded_and_given_back() {
        let pool = Pool::new(PoolSpec { max_connections: 1, ..PoolSpec::default() });
        let now = Instant::now();

        let slot = pool.reserve(now);

        assert!(slot.is_some());
        assert!(pool.reserve(now).is_none());
        drop(slot);
        assert!(pool.reserve(now).is_some());
    }

    #[test]
    fn an_expired_resolution_is_refreshed_by_one_request() {
        let pool = Pool::new(PoolSpec::default());
        let now = Instant::now();
        pool.verified(vec!["10.0.0.1:443".parse().unwrap()], Some(now), None, now);

        assert!(pool.check_out(now).refresh);
        assert!(!pool.check_out(now).refresh);
        assert!(pool.check_out(now + REFRESH_AGAIN).refresh);
    }
}
