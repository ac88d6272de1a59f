//! Break-glass grants: what two people may open for a few hours, approved and signed beforehand.
//!
//! A grant is a signed note (C2SP signed-note): lines of `name: value`, an empty line, and the signature of somebody whom
//! `policy.break_glass.approved_by` names.

use std::time::{Duration, SystemTime};

use telemetry::audit::{VerifierKey, open_note};

use super::check::parse_moment;

/// Longest time for which a grant can be opened.
pub const MOST_HOURS: u64 = 4;

/// The first line of a grant.
const HEAD: &str = "causeway break-glass 1";

/// What `[policy] break_glass` comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BreakGlassConfig {
    /// The grants, by name.
    pub grants: Vec<Grant>,
    /// Labels whose data no grant permits anything.
    pub never_labels: Vec<String>,
    /// The lowest class whose data no grant permits anything.
    pub never_from: Option<super::Class>,
}

/// One grant, whose signature was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its name.
    pub name: String,
    /// The apps whose requests it permits.
    pub apps: Vec<String>,
    /// The endpoints that it permits them.
    pub endpoints: Vec<String>,
    /// How long it stays open.
    pub open_for: Duration,
    /// From then on it cannot be opened, and what is open closes.
    pub until: SystemTime,
    /// What it is for.
    pub because: String,
    /// Names this text among all: an open grant whose text changed is closed.
    pub hash: String,
}

/// What a file of a grant is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantFault {
    /// The signature.
    #[error("its signature does not hold: {0}")]
    Signature(#[from] telemetry::audit::NoteError),
    /// The first line.
    #[error("its first line is not `{HEAD}`")]
    Head,
    /// A line that is none of those there are, or stands twice.
    #[error(
        "line {0} is not one of `grant`, `apps`, `endpoints`, `hours`, `until` and `because`, each once, as `name: value`"
    )]
    Line(usize),
    /// A line that is missing or says nothing.
    #[error("`{0}` is missing or says nothing")]
    Missing(&'static str),
    /// The hours.
    #[error("`hours` is not a whole number from 1 to {MOST_HOURS}")]
    Hours,
    /// The date.
    #[error("`until` is no date; write it as 2027-01-31")]
    Until,
}

impl Grant {
    /// Reads a signed grant.
    ///
    /// # Errors
    ///
    /// [`GrantFault`].
    pub fn open(note: &str, approved_by: &[VerifierKey]) -> Result<Self, GrantFault> {
        Self::parse(open_note(note, approved_by)?)
    }

    /// Reads the text of a grant, whoever signs it.
    ///
    /// # Errors
    ///
    /// [`GrantFault`].
    pub fn parse(text: &str) -> Result<Self, GrantFault> {
        let mut lines = text.lines().enumerate();
        if lines.next().is_none_or(|(_, line)| line != HEAD) {
            return Err(GrantFault::Head);
        }
        let mut written = Written::default();
        for (index, line) in lines {
            let fault = GrantFault::Line(index + 1);
            let (name, value) = line.split_once(": ").ok_or_else(|| fault.clone())?;
            let place = written.place(name).ok_or_else(|| fault.clone())?;
            if place.replace(value.trim().to_owned()).is_some() {
                return Err(fault);
            }
        }
        written.grant(text)
    }
}

#[derive(Default)]
struct Written {
    grant: Option<String>,
    apps: Option<String>,
    endpoints: Option<String>,
    hours: Option<String>,
    until: Option<String>,
    because: Option<String>,
}

impl Written {
    fn place(&mut self, name: &str) -> Option<&mut Option<String>> {
        match name {
            "grant" => Some(&mut self.grant),
            "apps" => Some(&mut self.apps),
            "endpoints" => Some(&mut self.endpoints),
            "hours" => Some(&mut self.hours),
            "until" => Some(&mut self.until),
            "because" => Some(&mut self.because),
            _ => None,
        }
    }

    fn grant(self, text: &str) -> Result<Grant, GrantFault> {
        let said =
            |value: Option<String>, name| value.filter(|value| !value.is_empty()).ok_or(GrantFault::Missing(name));
        let list = |value: Option<String>, name| {
            let names: Vec<String> = said(value, name)?.split(',').map(|one| one.trim().to_owned()).collect();
            if names.iter().all(|one| !one.is_empty()) { Ok(names) } else { Err(GrantFault::Missing(name)) }
        };
        let hours = said(self.hours, "hours")?.parse::<u64>().ok().filter(|hours| (1..=MOST_HOURS).contains(hours));
        Ok(Grant {
            name: said(self.grant, "grant")?,
            apps: list(self.apps, "apps")?,
            endpoints: list(self.endpoints, "endpoints")?,
            open_for: Duration::from_secs(hours.ok_or(GrantFault::Hours)? * 3_600),
            until: parse_moment(&said(self.until, "until")?).ok_or(GrantFault::Until)?,
            because: said(self.because, "because")?,
            hash: ingress::auth::hex_of(&ingress::auth::digest_of(text)),
        })
    }
}

#[cfg(test)]
mod tests {
    use telemetry::audit::{SigningKey, sign_note};

    use super::*;

    const TEXT: &str = "causeway break-glass 1\ngrant: sweden\napps: claims, search\nendpoints: aoai-sweden\nhours: 4\n\
                        until: 2027-03-31\nbecause: the own site may fail\n";

    fn key(seed: u8) -> SigningKey {
        SigningKey::new("security", &[seed; 32]).unwrap()
    }

    #[test]
    fn a_grant_is_read_when_somebody_named_has_signed_just_this_text() {
        let note = sign_note(TEXT, [&key(1)]);
        let trusted = [key(1).public().clone()];

        let grant = Grant::open(&note, &trusted).unwrap();

        assert_eq!((grant.name.as_str(), grant.open_for), ("sweden", Duration::from_secs(4 * 3_600)));
        assert_eq!((grant.apps, grant.endpoints), (vec!["claims".into(), "search".into()], vec!["aoai-sweden".into()]));
        for (what, note, keys) in [
            ("by a stranger", sign_note(TEXT, [&key(2)]), &trusted[..]),
            ("by nobody", TEXT.to_owned(), &trusted[..]),
            ("changed", note.replace("hours: 4", "hours: 3"), &trusted[..]),
            ("trusted by nobody", note, &[]),
        ] {
            assert!(matches!(Grant::open(&note, keys), Err(GrantFault::Signature(_))), "{what}");
        }
    }

    #[test]
    fn a_text_that_leaves_something_open_is_no_grant() {
        for (from, to, expected) in [
            ("glass 1", "glass 2", GrantFault::Head),
            ("hours: 4", "hours: 5", GrantFault::Hours),
            ("hours: 4", "hours: 0", GrantFault::Hours),
            ("hours: 4\n", "", GrantFault::Missing("hours")),
            ("apps: claims, search", "apps: claims,", GrantFault::Missing("apps")),
            ("endpoints: aoai-sweden", "endpoints:  ", GrantFault::Missing("endpoints")),
            ("until: 2027-03-31", "until: soon", GrantFault::Until),
            ("hours: 4", "hours: 4\nhours: 1", GrantFault::Line(6)),
            ("hours: 4", "minutes: 4", GrantFault::Line(5)),
        ] {
            assert_eq!(Grant::parse(&TEXT.replace(from, to)), Err(expected), "{to}");
        }
    }
}
