//! What the reader understands of an entry. Everything else in it is kept and passed on.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::epoch::Predecessor;

/// The fields of an entry that counts and searches look at.
#[derive(Clone, Debug, Deserialize)]
pub struct Line<'a> {
    /// What the entry is: `open`, `intent`, `outcome`, `refused`, `admin`, `key`, `retired`, `lost`, `seal`.
    #[serde(borrow)]
    pub kind: Cow<'a, str>,
    /// The decision it belongs to.
    #[serde(borrow, default)]
    pub decision: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    at: Option<Cow<'a, str>>,
    #[serde(default)]
    waited_ms: Option<f64>,
    /// It, or the intent that it closes, was written after its request was sent, and its time says nothing of when it was.
    #[serde(default)]
    late: bool,
    #[serde(borrow, default)]
    outcome: Option<Ended<'a>>,
    #[serde(borrow, default)]
    data: Option<Classed<'a>>,
}

/// How confidential the data of a request is.
#[derive(Clone, Debug, Deserialize)]
struct Classed<'a> {
    #[serde(borrow, default)]
    class: Option<Cow<'a, str>>,
}

/// The time of an outcome stands inside it.
#[derive(Clone, Debug, Deserialize)]
struct Ended<'a> {
    #[serde(borrow, default)]
    at: Option<Cow<'a, str>>,
}

impl<'a> Line<'a> {
    /// Reads an entry; the whole of it must be JSON.
    pub fn parse(entry: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(entry).ok()
    }

    /// When it was written, RFC 3339 in UTC with microseconds.
    pub fn time(&self) -> Option<&str> {
        let ended = self.outcome.as_ref().and_then(|outcome| outcome.at.as_deref());
        self.at.as_deref().or(ended)
    }

    /// When it was put into the log: an intent that waited for a place bears the time before that.
    pub(in super::super) fn written(&self) -> Option<OffsetDateTime> {
        if self.late {
            return None;
        }
        let at = OffsetDateTime::parse(self.time()?, &Rfc3339).ok()?;
        let waited = self.waited_ms.and_then(|waited| Duration::try_from_secs_f64(waited / 1_000.0).ok());
        at.checked_add(waited.unwrap_or_default().try_into().ok()?)
    }

    /// The class of the request's data, where the entry names it.
    pub fn class(&self) -> Option<&str> {
        self.data.as_ref()?.class.as_deref()
    }
}

/// The opening entry.
#[derive(Deserialize)]
pub(super) struct Opening {
    pub(super) format_version: u32,
    pub(super) origin: String,
    pub(super) epoch: String,
    pub(super) predecessor: Option<Predecessor>,
}

/// The closing entry.
#[derive(Deserialize)]
pub(super) struct Seal {
    pub(super) count: u64,
}

/// A key that signs as well from here on.
#[derive(Deserialize)]
pub(super) struct NewKey {
    pub(super) key: String,
}

/// Entries that were removed because their time was over.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Retired {
    pub(super) epoch: String,
    /// The first of them.
    pub(super) from: u64,
    /// One past the last of them.
    pub(super) to: u64,
    /// Whether the epoch has none left, its last and shorter bundle included.
    #[serde(default)]
    pub(super) whole: bool,
}
