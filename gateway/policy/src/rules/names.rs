//! The names that a policy may use.

use std::collections::BTreeSet;

/// The labels that come with the gateway.
pub const SHIPPED_LABELS: [&str; 6] =
    ["eu_personal", "special_category", "health", "payment", "ch_bank", "source_code"];

/// The certificates that the shipped policies ask for, whether or not any endpoint has one.
pub const SHIPPED_CERTIFICATES: [&str; 3] = ["HDS", "HIPAA_BAA", "C5"];

/// The names that exist. What is `None` is not checked, because whoever reads the policies does not know it.
///
/// A misspelt name is not an error of the language: the zone has no members, the label never comes, and a `forbid` that
/// asks for it never fires.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Groups of countries.
    pub zones: Option<BTreeSet<String>>,
    /// Labels, shipped and defined.
    pub labels: Option<BTreeSet<String>>,
    /// Kinds of finding.
    pub findings: Option<BTreeSet<String>>,
    /// Apps.
    pub apps: Option<BTreeSet<String>>,
    /// Teams.
    pub teams: Option<BTreeSet<String>>,
    /// Endpoints.
    pub endpoints: Option<BTreeSet<String>>,
    /// Targets, `endpoint/upstream-model`.
    pub targets: Option<BTreeSet<String>>,
    /// Purposes that apps have registered.
    pub purposes: Option<BTreeSet<String>>,
    /// Certificates of endpoints and of offers in the data pack, and those that the shipped policies ask for.
    pub certifications: Option<BTreeSet<String>>,
}

impl Names {
    /// What is known without a configuration: zones of a pack, shipped labels, and what inspection can find.
    #[must_use]
    pub fn of_pack(zones: impl IntoIterator<Item = String>) -> Self {
        Self {
            zones: Some(zones.into_iter().collect()),
            labels: Some(SHIPPED_LABELS.into_iter().map(str::to_owned).collect()),
            findings: Some(inspection::names().chain(["hosted_tool"]).map(str::to_owned).collect()),
            ..Self::default()
        }
    }

    /// With these certificates, and those that the shipped policies ask for.
    #[must_use]
    pub fn with_certificates(mut self, names: impl IntoIterator<Item = String>) -> Self {
        let shipped = SHIPPED_CERTIFICATES.into_iter().map(str::to_owned);
        self.certifications = Some(names.into_iter().chain(shipped).collect());
        self
    }

    /// With these kinds of finding as well; `custom` alone stands for any that recognisers of one's own find.
    #[must_use]
    pub fn with_findings(mut self, kinds: impl IntoIterator<Item = String>) -> Self {
        self.findings.get_or_insert_default().extend(kinds);
        self
    }
}
