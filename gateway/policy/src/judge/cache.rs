//! Decisions made before, by class of request.
//!
//! The key holds exactly what the policies read and nothing else: requests that no policy can tell apart share an entry.
//! Time is in it as the number of instants passed at which any answer may change, so an entry never needs an end.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::RwLock;

use super::Held;
use super::ask::Ask;
use crate::question::Question;
use crate::rules::{Mention, Reads};

/// Most decisions that are kept. A class takes some hundred bytes and about as much again for ten targets, so this is a
/// few megabytes.
pub(super) const MOST_KEPT: usize = 8_192;

/// Longest key that is kept, in bytes. A caller can name ten thousand labels; such a class is decided each time.
const LONGEST_KEY: usize = 4_096;

/// Two generations: when the young one is full it becomes the old one, and what is still asked for moves back.
#[derive(Debug, Default)]
pub(super) struct Cache(RwLock<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: Classes,
    old: Classes,
}

/// By a hash that is quick and keyed at random, not one that withstands every attack. A class is mostly of names that the
/// configuration gives, but the labels and purposes that a caller names are in it where a policy reads them. Whoever made all of them
/// meet in one place would have a request look at [`MOST_KEPT`] entries of [`LONGEST_KEY`] bytes at most.
type Classes = HashMap<Box<[u8]>, Arc<[Held]>, RandomState>;

impl Cache {
    pub(super) fn find(&self, key: &[u8]) -> Option<Arc<[Held]>> {
        {
            let generations = self.0.read();
            if let Some(held) = generations.young.get(key) {
                return Some(Arc::clone(held));
            }
            if !generations.old.contains_key(key) {
                return None;
            }
        }
        let mut generations = self.0.write();
        let (key, held) = generations.old.remove_entry(key)?;
        generations.insert(key, Arc::clone(&held));
        Some(held)
    }

    pub(super) fn keep(&self, key: Vec<u8>, held: Arc<[Held]>) {
        if key.len() <= LONGEST_KEY {
            self.0.write().insert(key.into_boxed_slice(), held);
        }
    }

    pub(super) fn len(&self) -> usize {
        let generations = self.0.read();
        generations.young.len() + generations.old.len()
    }
}

impl Generations {
    fn insert(&mut self, key: Box<[u8]>, held: Arc<[Held]>) {
        // INVARIANT: neither generation grows beyond half of the bound.
        if self.young.len() >= MOST_KEPT / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, held);
    }
}

/// What of a request its class is made of: what the rules read of it, looked up among their names once and not for each
/// request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Makings {
    class: bool,
    labels: bool,
    purpose: bool,
    findings: bool,
}

impl Makings {
    /// Nothing where decisions cannot be kept: a policy that calculates with the time can answer differently at any instant.
    pub(super) fn of(reads: &Reads) -> Option<Self> {
        let any = |names: &[&str]| names.iter().any(|name| reads.context_has(name));
        let is_kept = !any(&["now"]) || reads.time_is_plain;
        is_kept.then(|| Self {
            class: any(&["class", "labelled"]),
            labels: any(&["labels"]),
            purpose: any(&["purpose"]),
            findings: any(&["findings", "redacted"]),
        })
    }
}

/// The class of a request, as bytes. Every text stands behind its length, so that no two classes look alike.
pub(super) fn key(question: &Question<'_>, ask: &Ask, (reads, made_of): (&Reads, Makings), epoch: u32) -> Vec<u8> {
    let mut key = Vec::with_capacity(192);
    key.extend_from_slice(&epoch.to_le_bytes());
    key.push(question.operation as u8);
    key.push(ask.actions.iter().fold(0, |bits, action| bits | 1 << (*action as u8)));
    text(&mut key, question.app);
    if made_of.class {
        key.push(question.data.class as u8 | u8::from(question.data.labelled) << 4);
    }
    if made_of.labels {
        number(&mut key, question.data.labels.len());
        question.data.labels.iter().for_each(|label| text(&mut key, label));
    }
    if made_of.purpose {
        text(&mut key, question.data.purpose.unwrap_or_default());
    }
    if made_of.findings {
        for finding in ask.findings.iter().filter(|finding| matters(finding, reads)) {
            text(&mut key, finding);
        }
        number(&mut key, usize::MAX);
    }
    for candidate in question.candidates {
        key.extend_from_slice(&candidate.target.0.to_le_bytes());
    }
    key
}

/// Whether a kind of finding can change an answer.
fn matters(finding: &str, reads: &Reads) -> bool {
    let named = |mention: &Mention| matches!(mention, Mention::Finding(name) if name == finding);
    !reads.findings_by_name || reads.mentions.iter().any(named)
}

fn text(key: &mut Vec<u8>, text: &str) {
    number(key, text.len());
    key.extend_from_slice(text.as_bytes());
}

fn number(key: &mut Vec<u8>, number: usize) {
    key.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
}
