//! The findings of one request: counted all, listed up to a bound.

use std::collections::BTreeSet;
use std::fmt;

use crate::kind::{FindingKind, TextKind};

/// Most places listed of one kind.
pub const MAX_PLACES: usize = 8;

/// Most places listed of all kinds together, beyond which only the first place of a kind is added.
pub const MAX_LISTED: usize = 96;

/// Everything that was found in one request: every kind with its number, and the first places of each.
///
/// A body made of nothing but findings costs no more memory here than another: places beyond the bounds are counted and
/// not listed.
///
/// INVARIANT: a kind that was found once is in `counts` and has at least one place in `list`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    list: Vec<Finding>,
    counts: Vec<(FindingKind, u64)>,
    /// Places that are listed, or will be once their paths are known.
    places: usize,
}

impl Findings {
    /// No finding at all: what most requests have.
    #[must_use]
    pub const fn none() -> Self {
        Self { list: Vec::new(), counts: Vec::new(), places: 0 }
    }

    /// Adds a finding behind those already there.
    pub fn push(&mut self, finding: Finding) {
        if self.count(&finding.kind) {
            self.list.push(finding);
        }
    }

    /// Adds a finding that [`Self::count`] has counted and said to list.
    pub(crate) fn list_counted(&mut self, finding: Finding) {
        self.list.push(finding);
    }

    /// Whether a further place of this kind would be listed.
    pub(crate) fn lists(&self, kind: &FindingKind) -> bool {
        let count = self.counts.iter().find(|(known, _)| known == kind).map_or(0, |(_, count)| *count);
        count == 0 || (count < MAX_PLACES as u64 && self.places < MAX_LISTED)
    }

    /// Counts a finding of this kind; says whether its place is still to be listed.
    pub(crate) fn count(&mut self, kind: &FindingKind) -> bool {
        let lists = self.lists(kind);
        self.places += usize::from(lists);
        match self.counts.iter_mut().find(|(known, _)| known == kind) {
            Some((_, count)) => *count += 1,
            None => self.counts.push((kind.clone(), 1)),
        }
        lists
    }

    /// Adds the findings of `others`, with their numbers, behind those already there.
    pub fn extend_with(&mut self, others: Self) {
        for finding in others.list {
            self.push(finding);
        }
        for (kind, count) in others.counts {
            match self.counts.iter_mut().find(|(known, _)| *known == kind) {
                // The listed places were counted one by one; those beyond the list were not.
                Some((_, known)) => *known = (*known).max(count),
                None => self.counts.push((kind, count)),
            }
        }
    }

    /// The listed findings, in the order in which they were found.
    pub fn iter(&self) -> std::slice::Iter<'_, Finding> {
        self.list.iter()
    }

    /// Every kind that was found, and how often.
    pub fn counts(&self) -> impl Iterator<Item = (&FindingKind, u64)> {
        self.counts.iter().map(|(kind, count)| (kind, *count))
    }

    /// What a policy sees: the names of all kinds found, and of their groups.
    ///
    /// ```
    /// # use inspection::{Finding, FindingKind, Findings, TextKind};
    /// let kind = FindingKind::Text(TextKind::named("iban")[0]);
    /// let findings: Findings = [Finding { kind, path: "$.input".into() }].into_iter().collect();
    ///
    /// assert!(findings.names().contains("iban") && findings.names().contains("financial"));
    /// ```
    #[must_use]
    pub fn names(&self) -> BTreeSet<String> {
        let names = self.counts.iter().map(|(kind, _)| kind.to_string());
        let groups = self.counts.iter().filter_map(|(kind, _)| kind.group()).map(str::to_owned);
        names.chain(groups).collect()
    }

    /// These findings without the kinds of text that `is_left_out` names.
    #[must_use]
    pub fn without(&self, is_left_out: impl Fn(TextKind) -> bool) -> Self {
        let is_kept = |kind: &FindingKind| !matches!(kind, FindingKind::Text(kind) if is_left_out(*kind));
        let list: Vec<Finding> = self.list.iter().filter(|finding| is_kept(&finding.kind)).cloned().collect();
        let counts = self.counts.iter().filter(|(kind, _)| is_kept(kind)).cloned().collect();
        Self { places: list.len(), list, counts }
    }

    /// These findings with what `known` makes of each kind of text, which has to be the same kind with what more is known of it.
    #[must_use]
    pub fn with_known(&self, known: impl Fn(TextKind) -> TextKind) -> Self {
        let known = |kind: &FindingKind| match kind {
            FindingKind::Text(kind) => FindingKind::Text(known(*kind)),
            other => other.clone(),
        };
        let list = self.list.iter().map(|one| Finding { kind: known(&one.kind), path: one.path.clone() });
        let counts = self.counts.iter().map(|(kind, count)| (known(kind), *count));
        Self { list: list.collect(), counts: counts.collect(), places: self.places }
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many findings are listed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }
}

impl FromIterator<Finding> for Findings {
    fn from_iter<I: IntoIterator<Item = Finding>>(findings: I) -> Self {
        let mut all = Self::none();
        all.extend(findings);
        all
    }
}

impl Extend<Finding> for Findings {
    fn extend<I: IntoIterator<Item = Finding>>(&mut self, findings: I) {
        for finding in findings {
            self.push(finding);
        }
    }
}

impl<'a> IntoIterator for &'a Findings {
    type Item = &'a Finding;
    type IntoIter = std::slice::Iter<'a, Finding>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

/// One thing that was found, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was found.
    pub kind: FindingKind,
    /// JSON path of the place, for example `$.messages[0].content[1].image_url.url`.
    pub path: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` at `{}`", self.kind, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(kind: FindingKind, path: &str) -> Finding {
        Finding { kind, path: path.into() }
    }

    #[test]
    fn each_kind_has_the_name_that_records_and_policies_use() {
        let kinds = [
            FindingKind::RemoteUrl,
            FindingKind::HostedTool("web_search".into()),
            FindingKind::StoredState,
            FindingKind::UninspectedMedia,
            FindingKind::Uninspected,
            FindingKind::UserIdentifier,
        ];

        let names = kinds.map(|kind| kind.to_string());

        let expected = [
            "remote_url",
            "hosted_tool:web_search",
            "stored_state",
            "uninspected_media",
            "uninspected",
            "user_identifier",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn findings_keep_the_order_of_the_document() {
        let second = at(FindingKind::RemoteUrl, "$.messages[0]");
        let first = at(FindingKind::StoredState, "$.store");

        let mut findings: Findings = [first.clone()].into_iter().collect();
        findings.push(second.clone());

        assert_eq!(findings.iter().collect::<Vec<_>>(), [&first, &second]);
        assert_eq!((findings.len(), findings.is_empty()), (2, false));
    }

    #[test]
    fn a_finding_says_what_and_where() {
        let finding = at(FindingKind::StoredState, "$.store");

        assert_eq!(finding.to_string(), "`stored_state` at `$.store`");
    }

    #[test]
    fn places_beyond_the_bound_are_counted_and_not_listed() {
        let mut findings = Findings::none();
        for tool in 0..MAX_LISTED {
            findings.push(at(FindingKind::HostedTool(tool.to_string()), "$.tools"));
        }
        for _ in 0..MAX_PLACES + 5 {
            findings.push(at(FindingKind::RemoteUrl, "$.x"));
        }

        assert_eq!(findings.len(), MAX_LISTED + 1, "no kind is lost to the bound");
        assert_eq!(findings.counts().last(), Some((&FindingKind::RemoteUrl, MAX_PLACES as u64 + 5)));
        assert!(findings.names().contains("remote_url"));
    }
}
