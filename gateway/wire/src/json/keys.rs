//! Finds a key that comes twice in one object.
//!
//! Small objects are compared as they are read, with a 64-bit filter in front. From 32 members on, an object's keys are
//! sorted when it closes, so that an object with very many keys costs `n log n` and not `n * n`, and no hash seed is
//! needed that an attacker could guess.

use std::borrow::Cow;

use super::{JsonError, JsonFault, MAX_MEMBERS, Text};

/// Members up to which each new key is compared with all earlier ones.
const COMPARED: usize = 32;

/// The keys of all objects that are open, innermost last.
pub(super) struct Keys {
    stack: Vec<Text>,
}

/// Keys for which there is room from the start: most bodies never have more open at once.
const USUAL: usize = 32;

/// The part of the stack that belongs to one object.
pub(crate) struct ObjectKeys {
    base: usize,
    count: usize,
    filter: u64,
}

impl ObjectKeys {
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl Keys {
    pub(super) fn new() -> Self {
        Self { stack: Vec::with_capacity(USUAL) }
    }

    pub(super) fn open(&self) -> ObjectKeys {
        ObjectKeys { base: self.stack.len(), count: 0, filter: 0 }
    }

    pub(super) fn add(&mut self, bytes: &[u8], object: &mut ObjectKeys, key: Text) -> Result<(), JsonError> {
        if object.count == MAX_MEMBERS {
            return Err(JsonError { at: key.start(), fault: JsonFault::TooWide });
        }
        if object.count < COMPARED {
            let bit = filter_bit(&key.unescaped_bytes(bytes));
            if object.filter & bit != 0 {
                let earlier = self.stack.get(object.base..).unwrap_or_default();
                if earlier.iter().any(|other| other.means_same(key, bytes)) {
                    return Err(JsonError { at: key.start(), fault: JsonFault::Duplicate });
                }
            }
            object.filter |= bit;
        }
        self.stack.push(key);
        object.count += 1;
        Ok(())
    }

    pub(super) fn close(&mut self, bytes: &[u8], object: &ObjectKeys) -> Result<(), JsonError> {
        if object.count > COMPARED {
            let mut names: Vec<(Cow<'_, [u8]>, usize)> = self
                .stack
                .get(object.base..)
                .unwrap_or_default()
                .iter()
                .map(|key| (key.unescaped_bytes(bytes), key.start()))
                .collect();
            names.sort_unstable();
            let twice = names.windows(2).find(|pair| pair[0].0 == pair[1].0);
            if let Some(pair) = twice {
                return Err(JsonError { at: pair[1].1, fault: JsonFault::Duplicate });
            }
        }
        self.stack.truncate(object.base);
        Ok(())
    }
}

/// One of 64 bits for a name: equal names give equal bits, and different ones mostly do not.
fn filter_bit(name: &[u8]) -> u64 {
    let first = name.first().copied().unwrap_or_default();
    let last = name.last().copied().unwrap_or_default();
    let middle = name.get(name.len() / 2).copied().unwrap_or_default();
    let mix = usize::from(first) ^ (usize::from(last) << 1) ^ (usize::from(middle) << 2) ^ (name.len() * 5);
    1_u64 << ((mix ^ (mix >> 6)) & 63)
}
