//! Findings out of a request's body.

use std::collections::HashSet;
use std::ops::Range;

use crate::engine::{ENGINE, Effort};
use crate::findings::{Finding, Findings};
use crate::kind::{FindingKind, TextKind};
use crate::own::OwnRecognisers;
use crate::reading::paths;
use crate::reading::reader::{self, Listener};
use crate::reading::unpacked::Unpacked;

/// Reads every string of `body`, known member or not, keys included, and says what is in it.
///
/// The cost is linear in the length of the body, and bounded: beyond a million matches that need a closer look the rest is
/// not read, and `uninspected` is found.
///
/// ```
/// let body = br#"{"messages":[{"role":"user","content":"pay to DE89 3704 0044 0532 0130 00"}]}"#;
///
/// let findings = inspection::inspect(body);
///
/// let found: Vec<String> = findings.iter().map(ToString::to_string).collect();
/// assert_eq!(found, ["`iban` at `$.messages[0].content`"]);
/// ```
#[must_use]
pub fn inspect(body: &[u8]) -> Findings {
    inspect_with(body, &OwnRecognisers::default())
}

/// As [`inspect`], with recognisers of one's own beside the shipped ones.
///
/// These have a bound of their own: beyond a quarter of a million matches of their patterns the rest is `uninspected`.
#[must_use]
pub fn inspect_with(body: &[u8], own: &OwnRecognisers) -> Findings {
    let mut collector = Collector { tried: own.tried().collect(), ..Collector::default() };
    reader::read(body, own, &mut collector);
    collector.named(body, own)
}

/// Makes the compiled recognisers ready, so that the first request does not wait for them.
pub fn prepare() {
    ENGINE.search(b"", &mut Effort::new(), |_| {});
}

#[derive(Default)]
struct Collector {
    findings: Findings,
    /// Findings to be listed, with the offset of each.
    listed: Vec<(usize, FindingKind)>,
    /// Kinds whose recognisers are only tried, and what is found of them: it takes no place in the list from the rest.
    tried: HashSet<TextKind>,
    aside: Findings,
}

impl Collector {
    fn add(&mut self, kind: FindingKind, at: usize) {
        let findings = if self.is_tried(&kind) { &mut self.aside } else { &mut self.findings };
        if findings.count(&kind) {
            self.listed.push((at, kind));
        }
    }

    fn is_tried(&self, kind: &FindingKind) -> bool {
        !self.tried.is_empty() && matches!(kind, FindingKind::Text(kind) if self.tried.contains(kind))
    }

    /// The findings with their paths.
    fn named(mut self, body: &[u8], own: &OwnRecognisers) -> Findings {
        if self.listed.is_empty() {
            return self.findings;
        }
        self.listed.sort_by_key(|(at, _)| *at);
        let offsets: Vec<usize> = self.listed.iter().map(|(at, _)| *at).collect();
        let paths = paths::of(body, &offsets, |name| reader::is_telling(body, name, own));
        for ((_, kind), path) in std::mem::take(&mut self.listed).into_iter().zip(paths) {
            let findings = if self.is_tried(&kind) { &mut self.aside } else { &mut self.findings };
            findings.list_counted(Finding { kind, path });
        }
        self.findings.extend_with(self.aside);
        self.findings
    }
}

impl Listener for Collector {
    fn wants_place(&self, kind: TextKind) -> bool {
        let kind = FindingKind::Text(kind);
        if self.is_tried(&kind) { self.aside.lists(&kind) } else { self.findings.lists(&kind) }
    }

    fn found(&mut self, kind: TextKind, places: Vec<Range<usize>>) {
        self.add(FindingKind::Text(kind), places.first().map_or(0, |place| place.start));
    }

    fn found_packed(&mut self, unpacked: Unpacked<'_>) {
        for find in unpacked.layers().into_iter().flat_map(|layer| &layer.finds) {
            self.add(FindingKind::Text(find.kind), unpacked.place.start);
        }
    }

    fn media(&mut self, place: Range<usize>) {
        self.add(FindingKind::UninspectedMedia, place.start);
    }

    fn user(&mut self, place: Range<usize>) {
        self.add(FindingKind::UserIdentifier, place.start);
    }

    fn uninspected(&mut self, at: usize) {
        self.add(FindingKind::Uninspected, at);
    }
}

#[cfg(test)]
mod overlaps;
#[cfg(test)]
mod packed;
#[cfg(test)]
mod tests;
