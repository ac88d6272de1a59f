//! The line between the premises and the hub: two TUN devices and what happens to packets between them.
//!
//! It is the only mechanism for delay, loss, rate and black holes, since the kernel's own (netem) is missing on many
//! machines; so the results are the same everywhere.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};
use tun_rs::{DeviceBuilder, SyncDevice};

use super::Space;
use super::packet;

/// What the line does to packets. The usual is 2 ms each way and nothing else.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub(crate) delay: Duration,
    /// Up to this is added to each packet's delay, so that packets may overtake one another.
    pub(crate) jitter: Duration,
    /// How many of a hundred packets are lost.
    pub(crate) loss: u32,
    /// Bytes per second; no bound if absent.
    pub(crate) rate: Option<u32>,
    /// Nothing passes.
    pub(crate) cut: bool,
    /// Longer packets than this vanish.
    pub(crate) hole: Option<usize>,
    /// Whether the sender of a packet that vanished in the hole is told (ICMP "fragmentation needed").
    pub(crate) told: bool,
    /// A flow of TCP that was silent for this long is forgotten, and its packets vanish, as in many firewalls.
    pub(crate) forgets_after: Option<Duration>,
    /// A first TLS message that does not fit into its packet vanishes, as in some firewalls.
    pub(crate) eats_split_hello: bool,
}

impl Default for Condition {
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(2),
            jitter: Duration::ZERO,
            loss: 0,
            rate: None,
            cut: false,
            hole: None,
            told: false,
            forgets_after: None,
            eats_split_hello: false,
        }
    }
}

/// The line, for as long as it is held.
pub(crate) struct Link {
    condition: Arc<Mutex<Condition>>,
}

/// The name of the device at both ends.
pub(crate) const DEVICE: &str = "er0";

impl Link {
    /// Lays the line; the devices still need addresses.
    pub(crate) fn between(one: &Space, other: &Space) -> Self {
        let condition = Arc::new(Mutex::new(Condition::default()));
        let ends = [one, other].map(|space| space.run(device));
        let shared = Arc::clone(&condition);
        // On the runtime of one end: a device is bound to where it was made, not to who reads it.
        one.spawn(async move {
            #[expect(deprecated, reason = "its successor is no safe code; the device is owned and stays open")]
            let ends = ends.map(|end| AsyncFd::new(end).expect("a TUN device can be waited for"));
            carry(&ends, &shared).await;
        });
        Self { condition }
    }

    /// Changes what the line does, from the next packet on.
    pub(crate) fn set(&self, condition: Condition) {
        *self.condition.lock().expect("nobody panics while it is held") = condition;
    }
}

fn device() -> SyncDevice {
    let device = DeviceBuilder::new().name(DEVICE).mtu(1400).build_sync().expect("root may make a TUN device");
    device.set_nonblocking(true).expect("a TUN device can be read without waiting");
    device
}

/// A packet on its way, ordered by the time of its arrival.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Flying {
    due: Instant,
    number: u64,
    to: usize,
    bytes: Vec<u8>,
}

/// The state of the line beside its condition.
struct Carrier {
    flying: BinaryHeap<Reverse<Flying>>,
    number: u64,
    /// When each direction has sent what it was given, for the rate.
    free: [Instant; 2],
    random: StdRng,
    /// When each flow was last heard of, by its two ends in order.
    flows: HashMap<[SocketAddr; 2], Instant>,
}

async fn carry(ends: &[AsyncFd<SyncDevice>; 2], condition: &Mutex<Condition>) {
    let now = Instant::now();
    let (flying, flows, random) = (BinaryHeap::new(), HashMap::new(), StdRng::seed_from_u64(20));
    let mut carrier = Carrier { flying, number: 0, free: [now, now], random, flows };
    let mut buffer = vec![0; 65_536];
    loop {
        let next =
            carrier.flying.peek().map_or_else(|| Instant::now() + Duration::from_secs(3600), |first| first.0.due);
        let from = tokio::select! {
            biased;
            () = sleep_until(next) => {
                carrier.land(ends);
                continue;
            }
            Ok(guard) = ends[0].readable() => { let mut guard = guard; guard.clear_ready(); 0 }
            Ok(guard) = ends[1].readable() => { let mut guard = guard; guard.clear_ready(); 1 }
        };
        while let Ok(length) = ends[from].get_ref().recv(&mut buffer) {
            let condition = condition.lock().expect("nobody panics while it is held").clone();
            if let Some(error) = carrier.take(from, &buffer[..length], &condition) {
                let _ = ends[from].get_ref().send(&error);
            }
        }
    }
}

impl Carrier {
    /// Takes a packet in, or loses it; gives the error that its sender is told, if any.
    fn take(&mut self, from: usize, packet: &[u8], condition: &Condition) -> Option<Vec<u8>> {
        if condition.cut || self.random.random_range(0..100) < condition.loss {
            return None;
        }
        if condition.forgets_after.is_some_and(|limit| self.has_forgotten(packet, limit)) {
            return None;
        }
        if condition.eats_split_hello && packet::is_split_hello(packet) {
            return None;
        }
        if let Some(most) = condition.hole.filter(|most| packet.len() > *most) {
            return condition.told.then(|| packet::fragmentation_needed(packet, most)).flatten();
        }
        let mut due = Instant::now();
        if let Some(rate) = condition.rate {
            let takes = Duration::from_secs_f64(packet.len() as f64 / f64::from(rate));
            self.free[from] = self.free[from].max(due) + takes;
            due = self.free[from];
        }
        let jitter = condition.jitter.mul_f64(self.random.random_range(0.0..1.0));
        self.number += 1;
        let flying =
            Flying { due: due + condition.delay + jitter, number: self.number, to: 1 - from, bytes: packet.to_vec() };
        self.flying.push(Reverse(flying));
        None
    }

    /// Whether the packet belongs to a flow that is not known any more. A flow begins with its first SYN.
    fn has_forgotten(&mut self, packet: &[u8], limit: Duration) -> bool {
        let Some((ends, opens)) = packet::flow(packet) else { return false };
        let now = Instant::now();
        let is_known = opens || self.flows.get(&ends).is_some_and(|heard| now < *heard + limit);
        if is_known {
            self.flows.insert(ends, now);
        } else {
            self.flows.remove(&ends);
        }
        !is_known
    }

    fn land(&mut self, ends: &[AsyncFd<SyncDevice>; 2]) {
        let now = Instant::now();
        while self.flying.peek().is_some_and(|first| first.0.due <= now) {
            let Some(Reverse(flying)) = self.flying.pop() else { return };
            // A device whose queue is full loses packets, as any line does.
            let _ = ends[flying.to].get_ref().send(&flying.bytes);
        }
    }
}
