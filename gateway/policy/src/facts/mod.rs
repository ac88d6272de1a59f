//! Facts about places: countries, and what is known of where a target processes, keeps and shows data.

mod adjust;
mod country;
mod echo;
mod pack;
mod place;
mod schema;

use std::collections::BTreeSet;
use std::fmt;
use std::time::SystemTime;

pub use adjust::{Adjustment, Adjustments, Change, Column, Extension};
pub use country::{Country, UnknownCountry};
pub use echo::{Drift, Echo};
pub use pack::{Pack, PackError, PackFiles, Row, Zone, Zones, day_of};
use pack::{Rule, Where};
pub use place::{Declared, Place, PlaceError, Site};
pub use schema::pack_schema;

/// A set of countries, worst case. Empty means that nobody knows, and is never harmless.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Countries(pub BTreeSet<Country>);

impl Countries {
    /// Anywhere, or nobody knows.
    #[must_use]
    pub fn anywhere() -> Self {
        Self(BTreeSet::from([Country::ANYWHERE]))
    }

    /// Whether the set says nothing: it is empty, or holds `ZZ`.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.0.is_empty() || self.0.contains(&Country::ANYWHERE)
    }

    /// Both sets together: the worst of two cases.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).copied().collect())
    }
}

impl FromIterator<Country> for Countries {
    fn from_iter<I: IntoIterator<Item = Country>>(countries: I) -> Self {
        Self(countries.into_iter().collect())
    }
}

/// `DE, SE`; `anywhere` for `ZZ`; `unknown` for the empty set.
impl fmt::Display for Countries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("unknown");
        }
        for (index, country) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            match *country {
                Country::ANYWHERE => write!(f, "{comma}anywhere")?,
                country => write!(f, "{comma}{country}")?,
            }
        }
        Ok(())
    }
}

/// Days that unknown retention counts as: longer than any rule asks for.
pub const UNKNOWN_RETENTION_DAYS: u32 = 36_500;

/// What is known of where a target processes, keeps and shows data, worst case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Where prompts may be processed.
    pub processing: Countries,
    /// Where they may be kept.
    pub at_rest: Countries,
    /// From where people may read them.
    pub access: Countries,
    /// Whose law the operator answers to.
    pub operator: Country,
    /// Whose law the operator's parent company answers to.
    pub operator_parent: Country,
    /// Longest time that prompts are kept, in days.
    pub retention_days: u32,
    /// Whether prompts may train models.
    pub training: bool,
    /// Certificates and contracts that hold for it, by name.
    pub certifications: BTreeSet<String>,
    /// Where all this is from.
    pub provenance: Provenance,
}

impl Facts {
    /// What counts where nobody said anything, or where what was said has run out: everything is at its worst.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            processing: Countries::anywhere(),
            at_rest: Countries::anywhere(),
            access: Countries::anywhere(),
            operator: Country::ANYWHERE,
            operator_parent: Country::ANYWHERE,
            retention_days: UNKNOWN_RETENTION_DAYS,
            training: true,
            certifications: BTreeSet::new(),
            provenance: Provenance { words: "no place is stated".to_owned(), ..Provenance::default() },
        }
    }

    /// What counts at `now`: these facts, or nothing known once they have run out.
    #[must_use]
    pub fn at(&self, now: SystemTime) -> Self {
        match self.provenance.valid_until {
            Some(end) if end <= now => {
                let words = format!("{}; the facts have run out", self.provenance.words);
                Self { provenance: Provenance { words, ..self.provenance.clone() }, ..Self::unknown() }
            }
            _ => self.clone(),
        }
    }

    /// The worst of two cases, for a target of which two rows may be true.
    #[must_use]
    pub fn worst_of(self, other: Self) -> Self {
        let operator = if self.operator == other.operator { self.operator } else { Country::ANYWHERE };
        let parent =
            if self.operator_parent == other.operator_parent { self.operator_parent } else { Country::ANYWHERE };
        Self {
            processing: self.processing.union(&other.processing),
            at_rest: self.at_rest.union(&other.at_rest),
            access: self.access.union(&other.access),
            operator,
            operator_parent: parent,
            retention_days: self.retention_days.max(other.retention_days),
            training: self.training || other.training,
            certifications: self.certifications.intersection(&other.certifications).cloned().collect(),
            provenance: self.provenance.joined(other.provenance),
        }
    }
}

/// Where facts are from, for every decision and for an auditor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// What the place is, in words: `Azure OpenAI, Standard, in swedencentral`.
    pub words: String,
    /// Rows of the data pack that were used.
    pub rows: Vec<String>,
    /// What the sources leave in doubt; the worst case was taken.
    pub doubts: Vec<String>,
    /// Sources with their dates.
    pub sources: Vec<String>,
    /// Who changed or extended a row, and why; the reason of a declared place.
    pub statements: Vec<String>,
    /// From this instant on the facts count as unknown; never where absent.
    pub valid_until: Option<SystemTime>,
}

impl Provenance {
    fn joined(mut self, other: Self) -> Self {
        self.words = format!("{} or {}", self.words, other.words);
        let sooner = match (self.valid_until, other.valid_until) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        for (mine, theirs) in [
            (&mut self.rows, other.rows),
            (&mut self.doubts, other.doubts),
            (&mut self.sources, other.sources),
            (&mut self.statements, other.statements),
        ] {
            for entry in theirs {
                if !mine.contains(&entry) {
                    mine.push(entry);
                }
            }
        }
        self.valid_until = sooner;
        self
    }
}

#[cfg(test)]
mod tests;
