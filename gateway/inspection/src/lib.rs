//! What is in a request that policy must know about.
//!
//! **For.** [`Findings`] is the list that `policy` decides over: each [`Finding`] names its kind and the JSON path where
//! it stands, never the content itself.
//!
//! **Promises.** This crate is pure: it does no I/O, reads no clock and spawns no task. A finding holds no prompt text;
//! a hosted tool's `type` is the one word it takes over from the request.
//!
//! **Does not do.** It does not read text yet. Today every finding comes from the structure that `wire` saw while it
//! decoded the request (a remote URL, a tool that the provider runs, state that the provider would keep), and `server`
//! hands it over. An empty list therefore says "none of these three", and nothing about names, health data or account
//! numbers in the prompt.

use std::fmt;

/// Everything that was found in one request, in the order in which it stands in the document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    list: Vec<Finding>,
}

impl Findings {
    /// No finding at all: what most requests have.
    #[must_use]
    pub const fn none() -> Self {
        Self { list: Vec::new() }
    }

    /// Adds a finding behind those already there.
    pub fn push(&mut self, finding: Finding) {
        self.list.push(finding);
    }

    /// The findings in document order.
    pub fn iter(&self) -> std::slice::Iter<'_, Finding> {
        self.list.iter()
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many findings there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }
}

impl FromIterator<Finding> for Findings {
    fn from_iter<I: IntoIterator<Item = Finding>>(findings: I) -> Self {
        Self { list: findings.into_iter().collect() }
    }
}

impl Extend<Finding> for Findings {
    fn extend<I: IntoIterator<Item = Finding>>(&mut self, findings: I) {
        self.list.extend(findings);
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

/// The kinds of finding there are today; [`fmt::Display`] gives the name that records and policies use.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FindingKind {
    /// A URL in the content that the upstream would fetch: `remote_url`.
    RemoteUrl,
    /// A tool that the provider would run, with its `type`: `hosted_tool:web_search`. An unknown type counts as hosted.
    HostedTool(String),
    /// State that the provider would keep or has kept (`store`, `previous_response_id`, …): `stored_state`.
    StoredState,
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RemoteUrl => f.write_str("remote_url"),
            Self::HostedTool(tool) => write!(f, "hosted_tool:{tool}"),
            Self::StoredState => f.write_str("stored_state"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_the_name_that_records_and_policies_use() {
        let kinds = [FindingKind::RemoteUrl, FindingKind::HostedTool("web_search".into()), FindingKind::StoredState];

        let names = kinds.map(|kind| kind.to_string());

        assert_eq!(names, ["remote_url", "hosted_tool:web_search", "stored_state"]);
    }

    #[test]
    fn findings_keep_the_order_of_the_document() {
        let second = Finding { kind: FindingKind::RemoteUrl, path: "$.messages[0]".into() };
        let first = Finding { kind: FindingKind::StoredState, path: "$.store".into() };

        let mut findings: Findings = [first.clone()].into_iter().collect();
        findings.push(second.clone());

        assert_eq!(findings.iter().collect::<Vec<_>>(), [&first, &second]);
        assert_eq!((findings.len(), findings.is_empty()), (2, false));
    }

    #[test]
    fn a_finding_says_what_and_where() {
        let finding = Finding { kind: FindingKind::StoredState, path: "$.store".into() };

        assert_eq!(finding.to_string(), "`stored_state` at `$.store`");
    }
}
