//! `place`, `[site.NAME]` and `[fact.ROW]`: where targets process, keep and show data.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use policy::{
    Adjustment, Adjustments, Change, Countries, Country, Declared, Extension, PlaceError, Row, Site, UnknownCountry,
};

use super::super::compile::TargetConfig;
use super::super::document::{DeclaredPlace, Document, Fact, Place};
use super::super::mistakes::{MistakeKind, NoteKind, remedy_for};
use super::super::report::quote;
use super::fact_regions::asked_regions;
use super::keys::{ANNOUNCED, parse_moment};
use super::policy::Permissions;
use super::{Check, Cursor};

/// Fewest characters of a reason to change a fact or to switch off a policy: a word is none.
pub(super) const LEAST_REASON: usize = 10;

impl Check<'_> {
    /// Reads `[fact.ROW]`.
    pub(super) fn facts(&mut self, document: &Document, targets: &[TargetConfig]) -> Adjustments {
        let section = (self.root.at("fact"), "fact");
        let mut adjustments = self.adjustments(&document.fact, section);
        self.bind_regions(document, section, &mut adjustments, targets);
        adjustments
    }

    /// Reads `[policy.candidate_facts.ROW]`, on top of what is in force; nothing where there are none.
    pub(super) fn candidate_facts(
        &mut self,
        document: &Document,
        in_force: &Adjustments,
        targets: &[TargetConfig],
    ) -> Option<Adjustments> {
        let written = document.policy.as_ref()?.candidate_facts.as_ref()?;
        let section = (self.root.at("policy").at("candidate_facts"), "policy.candidate_facts");
        let mut proposed = self.adjustments(written, section);
        self.bind_regions(document, section, &mut proposed, targets);
        let mut all = in_force.clone();
        all.extend(proposed);
        Some(all)
    }

    fn adjustments(&mut self, written: &BTreeMap<String, Fact>, (section, named): (Cursor<'_>, &str)) -> Adjustments {
        let (mut adjustments, pack) = (Adjustments::new(), Arc::clone(&self.pack));
        for (id, fact) in written {
            let at = section.at(id);
            let named = format!("{named}.{id}");
            let Some(row) = pack.rows().iter().find(|row| row.id == *id) else {
                let known = pack.rows().iter().map(|row| row.id.as_str());
                let remedy = remedy_for(id, known, "the reference of places lists the rows");
                let message = format!("{} is no row of the data pack", quote(id));
                self.report.mend(MistakeKind::Reference, at.key(), message, remedy);
                continue;
            };
            self.reason(at.at("because").mark(), &format!("{named}.because"), &fact.because);
            let extension = self.extension((at, &named), fact);
            let everywhere = Change {
                processing: self.countries((at, &named), "processing", fact.processing.as_deref()),
                at_rest: self.countries((at, &named), "at_rest", fact.at_rest.as_deref()),
                access: self.countries((at, &named), "access_from", fact.access_from.as_deref()),
                retention_days: fact.retention_days,
                training: fact.training,
                operator: self.country_of_law((at, &named), "operator", fact.operator.as_deref()),
                operator_parent: self.country_of_law((at, &named), "operator_parent", fact.operator_parent.as_deref()),
                certifications: self.certificates_of((at, &named), fact.certifications.as_deref()),
                because: fact.because.clone(),
            };
            self.law_by_region((at, &named), row, &everywhere);
            let regions = self.regions((at, &named), row, fact);
            if everywhere.is_nothing() && fact.regions.is_none() && fact.extended_until.is_none() {
                self.wrong(at.key(), format!("`[{named}]` changes nothing"), "say what is otherwise, or leave it out");
            }
            adjustments.insert(id.clone(), Adjustment { everywhere, regions, extension });
        }
        adjustments
    }

    /// Whose law an operator, or its parent, is said to answer to.
    pub(super) fn country_of_law(
        &mut self,
        (at, named): (Cursor<'_>, &str),
        key: &str,
        code: Option<&str>,
    ) -> Option<Country> {
        let code = code?;
        let country = code.parse();
        if country.is_err() {
            let message = format!("`{named}.{key}`: {} is no country", quote(code));
            self.wrong(at.at(key).mark(), message, "write an ISO 3166-1 code of two capital letters");
        }
        country.ok()
    }

    /// Certificates, each by a name.
    pub(super) fn certificates_of(
        &mut self,
        (at, named): (Cursor<'_>, &str),
        names: Option<&[String]>,
    ) -> Option<BTreeSet<String>> {
        let (names, list) = (names?, at.at("certifications"));
        let setting = format!("{named}.certifications");
        self.no_repeats(list, &setting, names, |name| quote(name));
        for (index, name) in names.iter().enumerate().filter(|(_, name)| name.trim().is_empty()) {
            let message = format!("`{setting}`: {} names no certificate", quote(name));
            self.wrong(list.item(index).mark(), message, "leave it out");
        }
        Some(names.iter().cloned().collect())
    }

    /// What a row says of each region is known otherwise of one region, not of all there are and will be.
    fn law_by_region(&mut self, (at, named): (Cursor<'_>, &str), row: &Row, change: &Change) {
        if !self.pack.is_operator_by_region(row) {
            return;
        }
        let said = [("operator", change.operator), ("operator_parent", change.operator_parent)];
        for (key, _) in said.into_iter().filter(|(_, said)| said.is_some()) {
            let message = format!("`{named}.{key}`: the row says something else of each region");
            let remedy = format!("say it of the region that it holds for, in `[{named}.regions.REGION]`");
            self.wrong(at.at(key).key(), message, remedy);
        }
    }

    /// A reason that an auditor could do something with.
    pub(super) fn reason(&mut self, mark: super::Mark, setting: &str, because: &str) {
        if because.trim().chars().count() < LEAST_REASON {
            let message = format!("`{setting}` is {}, which is no reason", quote(because));
            self.wrong(mark, message, "say what it rests on: a contract, a document, a measurement, and who read it");
        }
    }

    /// Countries and groups of them, each of which must be one.
    pub(super) fn countries(
        &mut self,
        (at, named): (Cursor<'_>, &str),
        key: &str,
        names: Option<&[String]>,
    ) -> Option<Countries> {
        let names = names?;
        let list = at.at(key);
        let (setting, pack) = (format!("{named}.{key}"), Arc::clone(&self.pack));
        self.is_empty_list(list, &setting, names.len(), "an empty set is unknown, never harmless");
        for (index, name) in names.iter().enumerate() {
            if let Err(UnknownCountry(_)) = pack.countries_of(std::slice::from_ref(name)) {
                let groups: Vec<String> = pack.groups().keys().map(|group| format!("`{group}`")).collect();
                let message = format!("`{setting}`: {} is neither a country nor a group of them", quote(name));
                self.wrong(list.item(index).mark(), message, format!("the groups are {}", groups.join(", ")));
            }
        }
        pack.countries_of(names).ok()
    }

    fn extension(&mut self, (at, named): (Cursor<'_>, &str), fact: &Fact) -> Option<Extension> {
        let by = fact.by.as_deref().filter(|by| !by.trim().is_empty());
        let Some(until) = &fact.extended_until else {
            if fact.by.is_some() {
                let message = format!("`{named}.by` has no effect without `extended_until`");
                self.wrong(at.at("by").mark(), message, "leave it out");
            }
            return None;
        };
        let mark = at.at("extended_until").mark();
        let Some(end) = parse_moment(until.as_str()) else {
            let message = format!("`{named}.extended_until` is {}, which is no date", quote(until.as_str()));
            self.wrong(mark, message, "write it as 2027-01-31");
            return None;
        };
        let Some(by) = by else {
            let message = format!("`{named}.extended_until` needs `by`");
            self.wrong(mark, message, "name the person who answers for the row until then");
            return None;
        };
        Some(Extension { until: end, written: until.as_str().to_owned(), by: by.to_owned() })
    }

    /// Looks up the place of every target, and says what runs out.
    pub(super) fn target_facts(
        &mut self,
        document: &Document,
        (adjustments, candidate): (&Adjustments, Option<&Adjustments>),
        permissions: &Permissions,
        targets: &mut [TargetConfig],
    ) {
        let pack = Arc::clone(&self.pack);
        for (name, endpoint) in &document.endpoint {
            let Some(place) = endpoint.place.as_ref().and_then(|place| self.stated(document, place)) else { continue };
            if let Err(error) = pack.facts(&place, "", adjustments) {
                self.place_fault(name, &error);
                continue;
            }
            for target in targets.iter_mut().filter(|target| endpoint_of(target) == name) {
                if let Ok(mut facts) = pack.facts(&place, &target.upstream_model, adjustments) {
                    facts.certifications.extend(permissions.certified(name));
                    target.facts = Arc::new(facts);
                }
                let proposed = candidate.and_then(|proposed| pack.facts(&place, &target.upstream_model, proposed).ok());
                target.candidate_facts = proposed.map(|mut facts| {
                    facts.certifications.extend(permissions.certified(name));
                    Arc::new(facts)
                });
            }
        }
        self.rows_run_out(targets);
        let asked = asked_regions(document);
        for (id, adjustment) in adjustments {
            // What a control plane tells may be of a row that no target uses.
            let is_told = adjustment.regions.keys().any(|region| asked.contains(region.as_str()))
                && pack.rows().iter().any(|row| row.id == *id && row.provider == "azure");
            if !is_told && !targets.iter().any(|target| target.facts.provenance.rows.contains(id)) {
                let mark = self.place("fact", id).key();
                self.warn(mark, format!("`[fact.{id}]` is used by no target"), "leave it out");
            }
        }
    }

    fn place_fault(&mut self, name: &str, error: &PlaceError) {
        let mark = self.place("endpoint", name).at("place").mark();
        let (found, known) = match error {
            PlaceError::Region { found, known, .. } | PlaceError::Offer { found, known, .. } => (found.as_str(), known),
            PlaceError::Country(_) => ("", &Vec::new()),
        };
        let remedy = remedy_for(found, known.iter().map(String::as_str), "the reference of places lists what is known");
        self.report.mend(MistakeKind::Reference, mark, format!("endpoint `{name}`: {error}"), remedy);
    }

    /// Announced while there is time to read the sources again.
    fn rows_run_out(&mut self, targets: &[TargetConfig]) {
        let now = self.options.now;
        let mut said = BTreeSet::new();
        for target in targets {
            let Some(end) = target.facts.provenance.valid_until.filter(|end| *end <= now + ANNOUNCED) else { continue };
            for row in &target.facts.provenance.rows {
                if said.insert(row.clone()) {
                    let mark = self.place("endpoint", endpoint_of(target)).at("place").mark();
                    let message = format!("row `{row}` of the data pack {}", runs_out(end, now));
                    let remedy = format!("install a newer pack, or extend it in `[fact.{row}]`");
                    self.report.note(NoteKind::RunsOut, mark, message, Some(remedy));
                }
            }
        }
    }

    /// What was written, as policy understands it; nothing where a mistake in it has been reported.
    pub(super) fn stated(&self, document: &Document, place: &Place) -> Option<policy::Place> {
        Some(match place {
            Place::Site(name) => {
                let site = document.site.get(name)?;
                let country: Country = site.country.parse().ok()?;
                let operator = match &site.operator {
                    Some(operator) => operator.parse().ok()?,
                    None => country,
                };
                policy::Place::Site(Site { name: name.clone(), country, operator })
            }
            Place::Azure(azure) => policy::Place::Azure { region: azure.region.clone(), sku: azure.sku.clone() },
            Place::Bedrock(bedrock) => {
                policy::Place::Bedrock { region: bedrock.region.clone(), profile: bedrock.profile.clone() }
            }
            Place::Vertex(vertex) => {
                policy::Place::Vertex { location: vertex.location.clone(), model: vertex.model.clone() }
            }
            Place::Openai(openai) => policy::Place::OpenAi { project_region: openai.project_region.clone() },
            Place::Anthropic(anthropic) => policy::Place::Anthropic { inference_geo: anthropic.inference_geo.clone() },
            Place::Mistral(mistral) => policy::Place::Mistral { region: mistral.region.clone() },
            Place::Declared(declared) => policy::Place::Declared(as_declared(declared)?),
        })
    }
}

fn as_declared(declared: &DeclaredPlace) -> Option<Declared> {
    let set = |codes: &[String]| codes.iter().map(|code| code.parse().ok()).collect::<Option<Countries>>();
    let operator: Country = declared.operator.parse().ok()?;
    let processing = set(&declared.processing)?;
    Some(Declared {
        at_rest: set(&declared.at_rest)?,
        access: match &declared.access_from {
            Some(codes) => set(codes)?,
            None => processing.clone(),
        },
        processing,
        operator,
        operator_parent: match &declared.operator_parent {
            Some(parent) => parent.parse().ok()?,
            None => operator,
        },
        retention_days: declared.retention_days.unwrap_or_default(),
        training: declared.training.unwrap_or_default(),
        because: declared.because.clone(),
    })
}

pub(super) fn endpoint_of(target: &TargetConfig) -> &str {
    target.name.split_once('/').map_or(&target.name, |(endpoint, _)| endpoint)
}

/// `has run out …` or `runs out in N days …`.
pub(super) fn runs_out(end: SystemTime, now: SystemTime) -> String {
    match end.duration_since(now) {
        Ok(left) if !left.is_zero() => {
            let days = left.as_secs().div_ceil(86_400);
            let urgency = if days <= 3 {
                ", very soon"
            } else if days <= 14 {
                ", soon"
            } else {
                ""
            };
            format!("runs out in {days} days{urgency}, and counts as unknown from then on")
        }
        _ => "has run out and counts as unknown".to_owned(),
    }
}
