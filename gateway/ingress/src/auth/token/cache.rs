//! Verified tokens, by their digest, in bounded space.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::Verified;

/// Tokens that are remembered in each of two generations: 8_192. An entry takes about 140 bytes, and up to 272 more where a token
/// names its user, so both together stay below 7 MiB.
const GENERATION: usize = 8_192;

/// Two generations of tokens: a full one becomes the old one, and what is asked for again moves into the young one.
///
/// Whoever sends ever new tokens can push others out, which costs those one verification each and nothing else. The digest
/// is of the whole token, never of a part of it: two tokens that differ anywhere are two tokens.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<[u8; 32], Verified>,
    old: HashMap<[u8; 32], Verified>,
}

impl Cache {
    pub(super) fn find(&self, digest: &[u8; 32]) -> Option<Verified> {
        let mut generations = self.0.lock();
        if let Some(found) = generations.young.get(digest) {
            return Some(found.clone());
        }
        let found = generations.old.remove(digest)?;
        generations.add(*digest, found.clone());
        Some(found)
    }

    pub(super) fn remember(&self, digest: [u8; 32], verified: Verified) {
        self.0.lock().add(digest, verified);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let generations = self.0.lock();
        generations.young.len() + generations.old.len()
    }
}

impl Generations {
    fn add(&mut self, digest: [u8; 32], verified: Verified) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(digest, verified);
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::super::super::{AppIndex, Identified, KeyIndex, Marks};
    use super::*;

    fn verified(app: u32) -> Verified {
        let identified = Identified { app: AppIndex(app), key: KeyIndex(app), marks: Marks::NONE, user: None };
        Verified { identified, issuer: 0, keys: 0, until: UNIX_EPOCH, from: UNIX_EPOCH }
    }

    fn digest(number: usize) -> [u8; 32] {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&number.to_be_bytes());
        digest
    }

    #[test]
    fn a_token_is_remembered_while_two_generations_of_others_come() {
        let cache = Cache::default();

        (0..2 * GENERATION).for_each(|number| cache.remember(digest(number), verified(1)));

        assert_eq!(cache.len(), 2 * GENERATION);
        assert!(cache.find(&digest(0)).is_some());
    }

    #[test]
    fn a_flood_of_tokens_never_holds_more_than_two_generations() {
        let cache = Cache::default();

        (0..5 * GENERATION).for_each(|number| cache.remember(digest(number), verified(1)));

        assert!(cache.len() <= 2 * GENERATION);
        assert!(cache.find(&digest(0)).is_none());
    }

    #[test]
    fn a_token_that_is_asked_for_again_outlives_a_flood() {
        let cache = Cache::default();
        cache.remember(digest(usize::MAX), verified(7));

        for number in 0..4 * GENERATION {
            cache.remember(digest(number), verified(1));
            if number % GENERATION == 0 {
                assert!(cache.find(&digest(usize::MAX)).is_some(), "{number}");
            }
        }

        assert_eq!(cache.find(&digest(usize::MAX)).map(|found| found.identified.app), Some(AppIndex(7)));
    }
}
