//! `regions` of `[fact.ROW]`, and which region a change is about that names none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use policy::{Adjustment, Adjustments, Change, Column, Row};

use super::super::compile::TargetConfig;
use super::super::document::{Document, Fact, Place};
use super::super::mistakes::{MistakeKind, remedy_for};
use super::super::report::quote;
use super::facts::endpoint_of;
use super::{Check, Cursor};

/// The regions in which a row is used, each with the first target that uses it there.
type Used = BTreeMap<String, String>;

impl Check<'_> {
    /// Reads `[fact.ROW.regions]`.
    pub(super) fn regions(
        &mut self,
        (at, named): (Cursor<'_>, &str),
        row: &Row,
        fact: &Fact,
    ) -> BTreeMap<String, Change> {
        let (mut regions, pack) = (BTreeMap::new(), Arc::clone(&self.pack));
        let known = pack.regions_of(row);
        for (region, written) in fact.regions.iter().flatten() {
            let at = at.at("regions").at(region);
            let named = format!("{named}.regions.{region}");
            if known.is_empty() {
                let message = format!("`{named}`: no region plays a part in the row {}", quote(&row.id));
                self.wrong(at.key(), message, "say it of the row itself");
                continue;
            }
            if !known.contains(&region.as_str()) {
                let remedy = remedy_for(region, known.iter().copied(), "name a region as the cloud does");
                let message = format!("`{named}`: {} is no region in which the row can be used", quote(region));
                self.report.mend(MistakeKind::Reference, at.key(), message, remedy);
                continue;
            }
            if let Some(because) = &written.because {
                self.reason(at.at("because").mark(), &format!("{named}.because"), because);
            }
            let change = Change {
                processing: self.countries((at, &named), "processing", written.processing.as_deref()),
                at_rest: self.countries((at, &named), "at_rest", written.at_rest.as_deref()),
                access: self.countries((at, &named), "access_from", written.access_from.as_deref()),
                retention_days: written.retention_days,
                training: written.training,
                operator: self.country_of_law((at, &named), "operator", written.operator.as_deref()),
                operator_parent: self.country_of_law(
                    (at, &named),
                    "operator_parent",
                    written.operator_parent.as_deref(),
                ),
                certifications: self.certificates_of((at, &named), written.certifications.as_deref()),
                because: written.because.as_ref().unwrap_or(&fact.because).clone(),
            };
            if change.is_nothing() {
                self.wrong(at.key(), format!("`[{named}]` changes nothing"), "say what is otherwise, or leave it out");
            }
            regions.insert(region.clone(), change);
        }
        regions
    }

    /// Gives what rows say otherwise of countries to the region that it was said of, so that it counts for no other: not for one
    /// that comes later, nor for one that a control plane tells of. Where there are several and none is named, it is refused.
    pub(super) fn bind_regions(
        &mut self,
        document: &Document,
        (section, named): (Cursor<'_>, &str),
        adjustments: &mut Adjustments,
        targets: &[TargetConfig],
    ) {
        let (used, asked) = (self.used(document, targets), asked_regions(document));
        let pack = Arc::clone(&self.pack);
        for (id, adjustment) in adjustments {
            let Some(row) = pack.rows().iter().find(|row| row.id == *id) else { continue };
            let used = used.get(id).cloned().unwrap_or_default();
            let (at, named) = (section.at(id), format!("{named}.{id}"));
            let is_told = |region: &str| row.provider == "azure" && asked.contains(region);
            let is_idle = |region: &&String| !used.contains_key(*region) && !is_told(region);
            for region in adjustment.regions.keys().filter(is_idle) {
                let mark = at.at("regions").at(region).key();
                self.warn(mark, format!("`[{named}.regions.{region}]` is used by no target"), "leave it out");
            }
            for column in Column::ALL.into_iter().filter(|column| pack.is_by_region(row, *column)) {
                self.bind((at, &named), row, (column, &used), adjustment);
            }
        }
    }

    fn bind(
        &mut self,
        (at, named): (Cursor<'_>, &str),
        row: &Row,
        (column, used): (Column, &Used),
        adjustment: &mut Adjustment,
    ) {
        let Some(countries) = adjustment.everywhere.countries_mut(column).take() else { return };
        let own = |region: &str| adjustment.regions.get(region).and_then(|change| change.countries(column));
        let meant: Vec<(&String, &String)> = used.iter().filter(|(region, _)| own(region).is_none()).collect();
        let key = key_of(column);
        let pack = Arc::clone(&self.pack);
        let narrower = |region: &str| pack.is_narrower(row, column, (region, &countries));
        if meant.len() > 1 && meant.iter().any(|(region, _)| narrower(region)) {
            let listed: Vec<String> = meant.iter().map(|(region, target)| format!("`{region}` (`{target}`)")).collect();
            let message = format!(
                "`{named}.{key}`: the row says something else of each region, and targets of {} use it: {}",
                meant.len(),
                listed.join(", ")
            );
            let first = meant[0].0;
            let remedy = format!("say it of the region that it holds for, in `[{named}.regions.{first}]`");
            self.wrong(at.at(key).key(), message, remedy);
            return;
        }
        if used.is_empty() {
            let message = format!("`{named}.{key}` is used by no target");
            self.warn(at.at(key).key(), message, "name its region in `regions`, or leave it out");
        } else if meant.is_empty() {
            let message =
                format!("`{named}.{key}` has no effect: each region that is used has its own below `regions`");
            self.warn(at.at(key).key(), message, "leave it out");
        }
        let meant: Vec<String> = meant.into_iter().map(|(region, _)| region.clone()).collect();
        for region in meant {
            let because = adjustment.everywhere.because.clone();
            let change = adjustment
                .regions
                .entry(region)
                .or_insert_with(|| Change { because: because.clone(), ..Change::default() });
            add_reason(&mut change.because, &because);
            *change.countries_mut(column) = Some(countries.clone());
        }
    }

    /// By row, where it is used.
    fn used(&self, document: &Document, targets: &[TargetConfig]) -> BTreeMap<String, Used> {
        let mut used: BTreeMap<String, Used> = BTreeMap::new();
        let none = Adjustments::new();
        for target in targets {
            let place = document.endpoint.get(endpoint_of(target)).and_then(|endpoint| endpoint.place.as_ref());
            let Some(place) = place.and_then(|place| self.stated(document, place)) else { continue };
            let (Some(region), Ok(facts)) = (place.region(), self.pack.facts(&place, &target.upstream_model, &none))
            else {
                continue;
            };
            for row in facts.provenance.rows {
                used.entry(row).or_default().entry(region.to_owned()).or_insert_with(|| target.name.clone());
            }
        }
        used
    }
}

/// The regions of Azure about whose deployments a control plane is asked. It may tell of a row that no target uses: where it is
/// of another type than was declared, and of the deployment to which it sends what it cannot take.
pub(super) fn asked_regions(document: &Document) -> BTreeSet<&str> {
    let mut regions = BTreeSet::new();
    for endpoint in document.endpoint.values().filter(|endpoint| endpoint.control.is_some()) {
        if let Some(Place::Azure(azure)) = &endpoint.place {
            regions.insert(azure.region.as_str());
        }
    }
    regions
}

/// A region that has a reason of its own shows that of what it takes over as well, once.
fn add_reason(because: &mut String, other: &str) {
    if *because != other && !because.ends_with(&format!("; {other}")) {
        *because = format!("{because}; {other}");
    }
}

fn key_of(column: Column) -> &'static str {
    match column {
        Column::Processing => "processing",
        Column::AtRest => "at_rest",
        Column::Access => "access_from",
    }
}
