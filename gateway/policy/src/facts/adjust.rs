//! What the security team says otherwise of rows of the pack, and of which regions.
//!
//! **Promises.** What is said of one region is used for no other. A row whose countries depend on the region that is called says
//! something else of each: an override of such a column is about one region, and whoever reads the configuration gives it there.
//!
//! **Does not do.** It does not judge whether the reason is a good one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use super::pack::{Pack, Region, Row, Rule, Where};
use super::place::Look;
use super::{Countries, Country, Facts};

/// Changes that the security team made to rows of the pack, by the row's id.
pub type Adjustments = BTreeMap<String, Adjustment>;

/// What is said otherwise of one row. It shows wherever the row is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adjustment {
    /// Wherever the row is used. What it says of countries that depend on the region is to be moved to `regions` by whoever
    /// knows which one was meant.
    pub everywhere: Change,
    /// Where this region is called, on top of `everywhere`.
    pub regions: BTreeMap<String, Change>,
    /// The row holds beyond its date.
    pub extension: Option<Extension>,
}

/// Columns of a row, and what holds in their place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Instead of the row's countries of processing.
    pub processing: Option<Countries>,
    /// Instead of the row's countries of storage.
    pub at_rest: Option<Countries>,
    /// Instead of the countries from which people may read.
    pub access: Option<Countries>,
    /// Instead of the row's days.
    pub retention_days: Option<u32>,
    /// Instead of what the row says on training.
    pub training: Option<bool>,
    /// Instead of the country whose law the row's operator answers to.
    pub operator: Option<Country>,
    /// Instead of the country whose law its parent company answers to.
    pub operator_parent: Option<Country>,
    /// Instead of the row's certificates.
    pub certifications: Option<BTreeSet<String>>,
    /// Why.
    pub because: String,
}

/// A column of countries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Where prompts may be processed.
    Processing,
    /// Where they may be kept.
    AtRest,
    /// From where people may read them.
    Access,
}

impl Column {
    /// Each once.
    pub const ALL: [Self; 3] = [Self::Processing, Self::AtRest, Self::Access];
}

impl Change {
    /// Whether nothing is said otherwise.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self { because: self.because.clone(), ..Self::default() }
    }

    /// What it says of a column of countries.
    #[must_use]
    pub fn countries(&self, column: Column) -> Option<&Countries> {
        match column {
            Column::Processing => self.processing.as_ref(),
            Column::AtRest => self.at_rest.as_ref(),
            Column::Access => self.access.as_ref(),
        }
    }

    /// The same, to be changed.
    pub fn countries_mut(&mut self, column: Column) -> &mut Option<Countries> {
        match column {
            Column::Processing => &mut self.processing,
            Column::AtRest => &mut self.at_rest,
            Column::Access => &mut self.access,
        }
    }

    fn apply(&self, facts: &mut Facts) {
        let places = [
            (&self.processing, &mut facts.processing),
            (&self.at_rest, &mut facts.at_rest),
            (&self.access, &mut facts.access),
        ];
        for (new, old) in places {
            if let Some(new) = new {
                *old = new.clone();
            }
        }
        facts.retention_days = self.retention_days.unwrap_or(facts.retention_days);
        facts.training = self.training.unwrap_or(facts.training);
        // Another operator says nothing of its parent: that one stays as the row says it.
        facts.operator = self.operator.unwrap_or(facts.operator);
        facts.operator_parent = self.operator_parent.unwrap_or(facts.operator_parent);
        if let Some(certifications) = &self.certifications {
            facts.certifications.clone_from(certifications);
        }
    }
}

/// A row, or a group of countries, that holds beyond its date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// The new end.
    pub until: SystemTime,
    /// The new end as it was written.
    pub written: String,
    /// Who says so.
    pub by: String,
}

impl Pack {
    /// The regions by which a row is looked up, by name; none where no region plays a part.
    #[must_use]
    pub fn regions_of(&self, row: &Row) -> Vec<&str> {
        let cloud = match row.provider.as_str() {
            "azure" => "azure",
            "bedrock" => "aws",
            // Of the locations of Vertex AI these are no regions, and have rows of their own.
            "vertex" if !["global", "eu", "us"].map(Some).contains(&row.when.location.as_deref()) => "gcp",
            _ => return Vec::new(),
        };
        self.regions.values().filter(|one| one.cloud == cloud).map(|one| one.region.as_str()).collect()
    }

    /// Whether what a row says in this column is not the same for all regions.
    #[must_use]
    pub fn is_by_region(&self, row: &Row, column: Column) -> bool {
        matches!(row.column(column), Where::Rule(Rule::Region | Rule::Geography | Rule::EeaStaff))
    }

    /// Whether the row says of each region whose law the operator, or its parent, answers to.
    #[must_use]
    pub fn is_operator_by_region(&self, row: &Row) -> bool {
        row.operator.is == "region" || row.parent.as_ref().is_some_and(|parent| parent.is == "region")
    }

    /// Whether `countries` leave out one that the row names for this region.
    #[must_use]
    pub fn is_narrower(&self, row: &Row, column: Column, (region, countries): (&str, &Countries)) -> bool {
        let mut found = self.regions.values().filter(|one| one.region == region);
        let region = found.find(|one| self.regions_of(row).contains(&one.region.as_str()));
        let look = Look { pack: self, adjustments: &Adjustments::new() };
        let own = look.countries(row.column(column), region).unwrap_or_else(|_| Countries::anywhere());
        own.is_unknown() || !own.0.is_subset(&countries.0)
    }
}

impl Adjustment {
    pub(super) fn apply(&self, row: &Row, region: Option<&Region>, facts: &mut Facts) {
        self.everywhere.apply(facts);
        let because = &self.everywhere.because;
        if let Some(extension) = &self.extension {
            facts.provenance.valid_until = Some(extension.until);
            facts.provenance.statements.push(format!(
                "row `{}` extended to {} by {}, because {because}",
                row.id, extension.written, extension.by
            ));
        } else if !self.everywhere.is_nothing() {
            facts.provenance.statements.push(format!("row `{}` overridden, because {because}", row.id));
        }
        if let Some((region, change)) = region.and_then(|region| self.regions.get_key_value(&region.region)) {
            change.apply(facts);
            let because = &change.because;
            let statement = format!("row `{}` overridden for {region}, because {because}", row.id);
            facts.provenance.statements.push(statement);
        }
    }
}
