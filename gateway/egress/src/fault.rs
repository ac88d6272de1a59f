//! The verdict on an endpoint that may not be used: a stable code, what was seen, what it means, and who mends it.
//!
//! The running gateway and `causeway doctor` speak from the same table, so that a code in a log line, in a metric, in the
//! audit log and on a network engineer's screen is the same code with the same words. What looks alike on the wire is one
//! code with several suspects; nothing here guesses which of them it is.

use std::fmt;
use std::sync::Arc;

mod table;

pub use table::Code;

/// What is known of one code, whatever endpoint it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The code.
    pub code: Code,
    /// The failure in a few words.
    pub title: &'static str,
    /// What it means, and the suspects in the order in which to look at them.
    pub means: &'static str,
    /// Who mends it.
    pub who: Who,
    /// How it is mended.
    pub mend: &'static str,
    /// What the entry rests on.
    pub evidence: Evidence,
    /// What the gateway does about it.
    pub act: Act,
}

/// Who mends a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Whoever runs the DNS servers and forwarders.
    Dns,
    /// Whoever runs links, routes and firewalls.
    Network,
    /// Whoever runs the web proxy or the device that opens TLS.
    Inspection,
    /// Whoever owns the resource in the cloud.
    Cloud,
    /// Whoever runs the directory that issues tokens.
    Identity,
    /// Whoever runs this gateway.
    Operator,
}

impl Who {
    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "the DNS team",
            Self::Network => "the network team",
            Self::Inspection => "the team that runs the web proxy",
            Self::Cloud => "the owner of the cloud resource",
            Self::Identity => "the identity team",
            Self::Operator => "whoever runs this gateway",
        }
    }
}

/// What an entry of the table rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The failure was made, and looked like this: in a laboratory of network namespaces, or by a test where it needs none.
    Measured,
    /// A source says so; it was not met here.
    Documented,
    /// It follows from what is known; neither met nor read.
    Inferred,
}

impl Evidence {
    /// The name as reports have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Documented => "documented",
            Self::Inferred => "inferred",
        }
    }
}

/// What the gateway does about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing is sent to the endpoint.
    Deny,
    /// It is said, and the endpoint is used.
    Warn,
}

impl Act {
    /// The name as reports have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Warn => "warn",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why one endpoint may not be used: the first step of the verification that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The endpoint.
    pub endpoint: Arc<str>,
    /// The code.
    pub code: Code,
    /// What was seen, in one sentence with names, servers and addresses; never content.
    pub seen: String,
}

impl Verdict {
    /// What the table says of its code.
    #[must_use]
    pub fn entry(&self) -> &'static Entry {
        self.code.entry()
    }
}

impl std::error::Error for Verdict {}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "endpoint `{}`: {} ({})", self.endpoint, self.seen, self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_an_entry_with_words_of_its_own() {
        for (index, code) in Code::ALL.into_iter().enumerate() {
            let entry = code.entry();

            assert_eq!(entry.code, code);
            assert!(!entry.title.is_empty() && !entry.means.is_empty() && !entry.mend.is_empty(), "{code}");
            let earlier = Code::ALL.into_iter().take(index);
            assert!(earlier.clone().all(|other| other.as_str() != code.as_str()), "{code}");
            assert!(earlier.clone().all(|other| other.entry().title != entry.title), "{code}");
            assert_eq!(Code::from_name(code.as_str()), Some(code));
        }
    }

    #[test]
    fn a_verdict_reads_as_a_sentence_with_its_code() {
        let verdict = Verdict {
            endpoint: "aoai".into(),
            code: Code::Dns04,
            seen: "the chain of `x.openai.azure.com` holds no privatelink name".to_owned(),
        };

        assert_eq!(
            verdict.to_string(),
            "endpoint `aoai`: the chain of `x.openai.azure.com` holds no privatelink name (DNS-04)"
        );
    }
}
