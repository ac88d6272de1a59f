//! Sessions stick to the server that holds their beginning in its cache.
//!
//! A new session gets its home from a consistent-hash ring (pingora-ketama), so that every gateway replica picks the same
//! one and a target that comes or goes moves few sessions. A home that has more than its share of the load is passed over
//! (bounded load). Where a session was served last is remembered, with the length of its prompt.
//!
//! A home is a tie-break and no more, until the target's own answers report enough cached tokens to pay for it:
//! in the simulation, affinity to caches that are too small cost up to 80 % more.

use std::collections::HashMap;
use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use accounting::Tokens;
use pingora_ketama::{Bucket, Continuum};
use policy::TargetId;

use crate::ask::Prefix;

/// How far above the mean a home's load may be: the c of consistent hashing with bounded loads.
pub const BOUND: f64 = 1.25;

/// After so long the beginning of a session is taken to be gone from the cache.
pub const FORGOTTEN: Duration = Duration::from_secs(600);

/// The number of a session, from what tells it from others: the same in every gateway, and no secret.
///
/// Of a part that is longer than 4 KiB its first and its last 2 KiB and its length count, so that a long prompt costs no more.
#[must_use]
pub fn session_of(parts: &[&[u8]]) -> u64 {
    let mut hash = parts.len() as u64;
    for part in parts {
        hash = mix(hash, part.len() as u64);
        let (head, tail) = match part.len() {
            0..=COUNTED => (*part, &part[part.len()..]),
            length => (&part[..COUNTED / 2], &part[length - COUNTED / 2..]),
        };
        for piece in [head, tail] {
            let (words, rest) = piece.as_chunks::<8>();
            hash = words.iter().fold(hash, |hash, word| mix(hash, u64::from_le_bytes(*word)));
            if !rest.is_empty() {
                let mut word = [0; 8];
                word[..rest.len()].copy_from_slice(rest);
                hash = mix(hash, u64::from_le_bytes(word));
            }
        }
    }
    hash ^ (hash >> 32)
}

/// Bytes of a part that count at most.
const COUNTED: usize = 4_096;

fn mix(hash: u64, word: u64) -> u64 {
    let mixed = (hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

/// The ring of one model's own servers.
pub struct Ring {
    continuum: Option<Continuum>,
    /// The ring speaks of addresses; each stands for a target.
    targets: HashMap<SocketAddr, TargetId>,
}

impl Ring {
    /// A ring of these targets, each by its name: names place them, so every gateway has the same ring.
    #[must_use]
    pub fn new<'a>(targets: impl IntoIterator<Item = (TargetId, &'a str)>) -> Self {
        let targets: HashMap<SocketAddr, TargetId> =
            targets.into_iter().map(|(id, name)| (address_of(name), id)).collect();
        let buckets: Vec<Bucket> = targets.keys().map(|address| Bucket::new(*address, 1)).collect();
        let continuum = (buckets.len() > 1).then(|| Continuum::new(&buckets));
        Self { continuum, targets }
    }

    /// The home of a session: the first target on the ring behind its hash whose load is within the bound.
    ///
    /// `load` gives the requests in flight at a target, or nothing for one that this request may not go to.
    pub fn home(&self, session: u64, mut load: impl FnMut(TargetId) -> Option<u32>) -> Option<TargetId> {
        let continuum = self.continuum.as_ref()?;
        let (mut sum, mut count) = (0_u32, 0_u32);
        for id in self.targets.values() {
            if let Some(load) = load(*id) {
                sum = sum.saturating_add(load);
                count += 1;
            }
        }
        // The request itself is part of the load that is shared out.
        let bound = (BOUND * f64::from(sum.saturating_add(1)) / f64::from(count.max(1))).ceil();
        let fits = |load: u32| f64::from(load) < bound;
        let on_ring = continuum.node_iter(&session.to_be_bytes()).take(self.targets.len() * 200);
        let mut ids = on_ring.filter_map(|address| self.targets.get(address).copied());
        ids.find(|id| load(*id).is_some_and(fits))
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("targets", &self.targets).finish_non_exhaustive()
    }
}

/// An address that stands for a name: 128 bits of a hash, in the range that RFC 3849 keeps for documentation.
fn address_of(name: &str) -> SocketAddr {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64; // FNV-1a
    for byte in name.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    SocketAddr::from((Ipv6Addr::from((0x2001_0db8_u128 << 96) | u128::from(hash)), 0))
}

/// Where sessions were served last; as many as it has room for, the newest of each place in the table.
#[derive(Debug)]
pub struct Sessions {
    room: usize,
    /// Made with the first session, since many a model has none.
    slots: Vec<Option<Seen>>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    session: u64,
    target: TargetId,
    tokens: Tokens,
    at: Instant,
}

impl Sessions {
    /// A table for about `room` sessions, 48 bytes each.
    #[must_use]
    pub fn new(room: usize) -> Self {
        Self { room: room.max(1), slots: Vec::new() }
    }

    /// Notes that `target` has read a prompt of `tokens` for this session. A session in the same slot is forgotten.
    pub fn remember(&mut self, session: u64, target: TargetId, tokens: Tokens, now: Instant) {
        self.slots.resize(self.room, None);
        let slot = self.slot(session);
        self.slots[slot] = Some(Seen { session, target, tokens, at: now });
    }

    /// Where the session was served last and how much was read there; nothing after [`FORGOTTEN`].
    #[must_use]
    pub fn recall(&self, session: u64, now: Instant) -> Option<Prefix> {
        let seen = (*self.slots.get(self.slot(session))?)?;
        let fresh = seen.session == session && now.saturating_duration_since(seen.at) < FORGOTTEN;
        fresh.then_some(Prefix { target: seen.target, tokens: seen.tokens })
    }

    fn slot(&self, session: u64) -> usize {
        (session % self.room as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(names: &[&str]) -> Ring {
        Ring::new((0_u32..).map(TargetId).zip(names.iter().copied()))
    }

    fn homes(ring: &Ring) -> Vec<TargetId> {
        (0..1_000_u64).map(|session| ring.home(session.wrapping_mul(0x9e37_79b9), |_| Some(0)).unwrap()).collect()
    }

    #[test]
    fn sessions_spread_over_all_targets_and_each_keeps_its_home() {
        let ring = ring(&["gpu-1/llama", "gpu-2/llama", "gpu-3/llama", "gpu-4/llama"]);

        let homes = homes(&ring);

        for id in 0..4 {
            let count = homes.iter().filter(|home| **home == TargetId(id)).count();
            assert!((125..400).contains(&count), "{count} of 1000 at target {id}");
        }
        assert_eq!(homes, self::homes(&ring));
    }

    #[test]
    fn a_target_that_leaves_moves_only_its_own_sessions() {
        let four = homes(&ring(&["gpu-1/llama", "gpu-2/llama", "gpu-3/llama", "gpu-4/llama"]));
        let three = homes(&ring(&["gpu-1/llama", "gpu-2/llama", "gpu-3/llama"]));

        assert!(four.iter().zip(&three).all(|(before, after)| *before == TargetId(3) || before == after));
    }

    #[test]
    fn a_home_with_more_than_its_share_of_the_load_is_passed_over() {
        let ring = ring(&["gpu-1/llama", "gpu-2/llama", "gpu-3/llama"]);
        let home = ring.home(7, |_| Some(4)).unwrap();

        let loaded = |id| Some(if id == home { 9 } else { 4 });

        assert_ne!(ring.home(7, loaded), Some(home));
        assert_eq!(ring.home(7, |id| (id == home).then_some(9)), Some(home), "a home that is the only one stays");
        assert_eq!(ring.home(7, |_| None), None, "a session has no home where it may not go");
    }

    #[test]
    fn the_number_of_a_session_depends_on_every_part_of_it() {
        let long: Vec<u8> = (0..9_000_u32).map(|n| (n % 251) as u8).collect();
        let mut other = long.clone();
        other[8_999] ^= 1;
        let numbers = [
            session_of(&[b"claims", b"hello"]),
            session_of(&[b"claimsh", b"ello"]),
            session_of(&[b"claims", b"hellp"]),
            session_of(&[b"claims", b"hello\0"]),
            session_of(&[b"claims"]),
            session_of(&[&long]),
            session_of(&[&other]),
            session_of(&[&long[1..]]),
        ];

        assert_eq!(numbers.iter().collect::<std::collections::HashSet<_>>().len(), numbers.len());
        assert_eq!(numbers[0], 5_725_402_658_126_974_960, "the same in every gateway of this version");
    }

    #[test]
    fn a_session_is_remembered_until_it_is_old_or_another_needs_its_place() {
        let now = Instant::now();
        let mut sessions = Sessions::new(8);
        sessions.remember(3, TargetId(1), Tokens(500), now);

        assert_eq!(sessions.recall(3, now), Some(Prefix { target: TargetId(1), tokens: Tokens(500) }));
        assert_eq!(sessions.recall(11, now), None, "another session in the same place");
        assert_eq!(sessions.recall(3, now + FORGOTTEN), None);
        sessions.remember(11, TargetId(2), Tokens(9), now);
        assert_eq!(sessions.recall(3, now), None);
    }
}
