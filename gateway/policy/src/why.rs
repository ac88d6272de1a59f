//! Why a policy matches a request, found out by asking it and not by reading it: each fact of the target is exchanged for a
//! good one, and each statement about the data taken away, and what the policy then says tells which of them it is about.

use std::sync::Arc;

use inspection::{Finding, Findings};

use crate::facts::{Countries, Country, Facts, Zones};
use crate::judge::{Judge, Touch, WorldError};
use crate::question::{Asker, Candidate, Class, Data, Question, Reach, TargetId};
use crate::rules::{About, Mention, Rules};

/// Why one policy matches one target.
#[derive(Clone, Debug)]
pub struct Why {
    /// What the policy says of itself.
    pub about: About,
    /// What it objects to of the target: all of it would have to change.
    pub objections: Vec<Objection>,
    /// Where no single fact is to blame: one of these changes would be enough.
    pub remedies: Vec<Objection>,
    /// What of the request brings the policy into play.
    pub because: Vec<Because>,
}

/// A fact of a target that a policy does not accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Objection {
    /// Prompts may be processed there. No country: nobody knows where.
    Processing(Countries),
    /// Prompts may be kept there.
    AtRest(Countries),
    /// People may read prompts from there.
    Access(Countries),
    /// The operator answers to its law.
    Operator(Country),
    /// The operator's parent company answers to its law.
    OperatorParent(Country),
    /// Prompts are kept for so many days.
    Retention(u32),
    /// Prompts may train models.
    Training,
    /// None of the certificates that the policy names holds.
    Certifications(Vec<String>),
    /// It is no site of one's own.
    NotOwnSite,
    /// It is reached this way.
    Reach(Reach),
    /// It is a preview.
    Preview,
    /// Nobody approved it.
    NotApproved,
}

/// A statement about the request without which the policy would not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Because {
    /// The data carries a label.
    Labelled(Arc<str>),
    /// The data is of this class.
    Class(Class),
    /// This was found in the request.
    Found(String),
    /// The purpose: another would be accepted.
    Purpose(Option<String>),
}

/// Asks why each of the policies `ids` matches `candidate`; those that are not in `rules` are left out.
///
/// # Errors
///
/// [`WorldError`] when the facts do not fit the schema, which is a fault of this crate.
pub fn why(
    rules: &Rules,
    (zones, asker): (&Zones, &Asker),
    question: &Question<'_>,
    candidate: &Candidate,
    ids: &[&str],
) -> Result<Vec<Why>, WorldError> {
    let of = |about: &&About| ids.contains(&&*about.id);
    rules.policies().filter(of).map(|about| Asking { rules, zones, asker, question, candidate, about }.why()).collect()
}

/// One policy and one target.
struct Asking<'a> {
    rules: &'a Rules,
    zones: &'a Zones,
    asker: &'a Asker,
    question: &'a Question<'a>,
    candidate: &'a Candidate,
    about: &'a About,
}

/// Facts one by one, as a policy reads them.
const ATTRIBUTES: [&str; 12] = [
    "processing",
    "at_rest",
    "access",
    "operator",
    "operator_parent",
    "retention_days",
    "training",
    "certifications",
    "own_site",
    "reach",
    "preview",
    "approved",
];

impl Asking<'_> {
    fn why(&self) -> Result<Why, WorldError> {
        let read = ATTRIBUTES.into_iter().filter(|attribute| self.about.reads.target.contains(*attribute));
        let read: Vec<&str> = read.collect();
        let mut why =
            Why { about: self.about.clone(), objections: Vec::new(), remedies: Vec::new(), because: self.because()? };
        let Some(good) = self.good()? else { return Ok(why) };
        let with_one_bad: Vec<Candidate> = read.iter().map(|one| exchanged(&good, self.candidate, one)).collect();
        let with_one_good: Vec<Candidate> = read.iter().map(|one| exchanged(self.candidate, &good, one)).collect();
        let (bad, enough) = (self.matches(&with_one_bad)?, self.matches(&with_one_good)?);
        for (attribute, _) in read.iter().zip(&bad).filter(|(_, matches)| **matches) {
            why.objections.extend(self.objection(attribute, &good)?);
        }
        if why.objections.is_empty() {
            for (attribute, _) in read.iter().zip(&enough).filter(|(_, matches)| !**matches) {
                why.remedies.extend(self.objection(attribute, &good)?);
            }
        }
        Ok(why)
    }

    /// A target that the policy does not match for this request, as like this one as can be; none where nothing helps.
    fn good(&self) -> Result<Option<Candidate>, WorldError> {
        let mentioned = self.about.reads.mentions.iter().filter_map(|mention| match mention {
            Mention::Country(code) => code.parse().ok(),
            Mention::Zone(name) => self.zones.get(name).and_then(|zone| zone.countries.0.iter().next().copied()),
            _ => None,
        });
        let countries = mentioned.chain("DE".parse().ok());
        let all: Vec<Candidate> = countries.map(|country| self.at_its_best(country)).collect();
        let matches = self.matches(&all)?;
        Ok(all.into_iter().zip(matches).find(|(_, matches)| !matches).map(|(good, _)| good))
    }

    fn at_its_best(&self, country: Country) -> Candidate {
        let here: Countries = [country].into_iter().collect();
        let facts = Facts {
            processing: here.clone(),
            at_rest: here.clone(),
            access: here,
            operator: country,
            operator_parent: country,
            retention_days: 0,
            training: false,
            certifications: self.about.reads.certifications.clone(),
            ..(*self.candidate.facts).clone()
        };
        let facts = Arc::new(facts);
        let reach = Reach::Local;
        Candidate { facts, reach, own_site: true, approved: true, preview: false, ..self.candidate.clone() }
    }

    /// The fact itself; of a set of countries those that the policy does not accept one by one.
    fn objection(&self, attribute: &str, good: &Candidate) -> Result<Option<Objection>, WorldError> {
        let Candidate { facts, reach, .. } = self.candidate;
        Ok(Some(match attribute {
            "processing" => Objection::Processing(self.outside(attribute, &facts.processing, good)?),
            "at_rest" => Objection::AtRest(self.outside(attribute, &facts.at_rest, good)?),
            "access" => Objection::Access(self.outside(attribute, &facts.access, good)?),
            "operator" => Objection::Operator(facts.operator),
            "operator_parent" => Objection::OperatorParent(facts.operator_parent),
            "retention_days" => Objection::Retention(facts.retention_days),
            "training" => Objection::Training,
            "certifications" => Objection::Certifications(self.about.reads.certifications.iter().cloned().collect()),
            "own_site" => Objection::NotOwnSite,
            "reach" => Objection::Reach(*reach),
            "preview" => Objection::Preview,
            "approved" => Objection::NotApproved,
            _ => return Ok(None),
        }))
    }

    fn outside(&self, attribute: &str, countries: &Countries, good: &Candidate) -> Result<Countries, WorldError> {
        let alone = |country: &Country| {
            let alone: Countries = [*country].into_iter().collect();
            let mut facts = (*self.candidate.facts).clone();
            match attribute {
                "processing" => facts.processing = alone,
                "at_rest" => facts.at_rest = alone,
                _ => facts.access = alone,
            }
            let bad = Candidate { facts: Arc::new(facts), ..self.candidate.clone() };
            exchanged(good, &bad, attribute)
        };
        let all: Vec<Candidate> = countries.0.iter().map(alone).collect();
        let matches = self.matches(&all)?;
        let outside: Countries =
            countries.0.iter().zip(matches).filter(|(_, matches)| *matches).map(|(country, _)| *country).collect();
        // The policy may object to the set as a whole.
        Ok(if outside.0.is_empty() { countries.clone() } else { outside })
    }

    /// Whether the policy matches each of these, for the request as it is.
    fn matches(&self, candidates: &[Candidate]) -> Result<Vec<bool>, WorldError> {
        self.matches_for(self.question, candidates)
    }

    fn matches_for(&self, question: &Question<'_>, candidates: &[Candidate]) -> Result<Vec<bool>, WorldError> {
        let named = |(index, candidate): (usize, &Candidate)| Candidate {
            target: TargetId(u32::try_from(index).unwrap_or(u32::MAX)),
            // The endpoint's name stays, so that a policy about an endpoint is still about it.
            name: if index == 0 { Arc::clone(&candidate.name) } else { format!("{}#{index}", candidate.name).into() },
            ..candidate.clone()
        };
        let candidates: Vec<Candidate> = candidates.iter().enumerate().map(named).collect();
        let rules = Arc::new(self.rules.only(|id| id == &*self.about.id));
        let judge = Judge::new(rules, self.zones, std::slice::from_ref(self.asker), &candidates)?;
        let touches = judge.touches(&Question { candidates: &candidates, ..*question });
        Ok(touches.into_iter().map(|touch| touch != Touch::Nothing).collect())
    }

    /// What of the request has to be there for the policy to match.
    fn because(&self) -> Result<Vec<Because>, WorldError> {
        let data = self.question.data;
        let mut found = Vec::new();
        let mentions = |name: &str| self.about.reads.mentions.iter().any(|mention| mention.name() == name);
        let named: Vec<&Arc<str>> = data.labels.iter().filter(|label| mentions(label)).collect();
        let labels = if named.is_empty() { data.labels.iter().collect() } else { named };
        let others: Vec<Arc<str>> = data.labels.iter().filter(|label| !labels.contains(label)).cloned().collect();
        if !labels.is_empty() && !self.still(&Question { data: Data { labels: &others, ..data }, ..*self.question })? {
            found.extend(labels.into_iter().cloned().map(Because::Labelled));
        }
        for class in Class::ALL.into_iter().filter(|class| *class < data.class) {
            if !self.still(&Question { data: Data { class, ..data }, ..*self.question })? {
                found.push(Because::Class(data.class));
                break;
            }
        }
        for (kind, _) in self.question.findings.counts() {
            let others: Findings = self
                .question
                .findings
                .iter()
                .filter(|finding| finding.kind != *kind)
                .cloned()
                .collect::<Vec<Finding>>()
                .into_iter()
                .collect();
            if !self.still(&Question { findings: &others, ..*self.question })? {
                found.push(Because::Found(kind.to_string()));
            }
        }
        for purpose in &self.asker.purposes {
            if !self.still(&Question { data: Data { purpose: Some(purpose), ..data }, ..*self.question })? {
                found.push(Because::Purpose(data.purpose.map(str::to_owned)));
                break;
            }
        }
        // Two statements may each be enough: then both bring it into play.
        if found.is_empty() {
            let plain = Data { labels: &[], class: Class::Public, ..data };
            if !self.still(&Question { data: plain, ..*self.question })? {
                found.extend(data.labels.iter().cloned().map(Because::Labelled));
                found.push(Because::Class(data.class));
            }
        }
        Ok(found)
    }

    fn still(&self, question: &Question<'_>) -> Result<bool, WorldError> {
        let matches = self.matches_for(question, std::slice::from_ref(self.candidate))?;
        Ok(matches.first().copied().unwrap_or(true))
    }
}

/// `into` with one fact of `from`.
fn exchanged(into: &Candidate, from: &Candidate, attribute: &str) -> Candidate {
    let mut exchanged = into.clone();
    let facts = Arc::make_mut(&mut exchanged.facts);
    match attribute {
        "processing" => facts.processing = from.facts.processing.clone(),
        "at_rest" => facts.at_rest = from.facts.at_rest.clone(),
        "access" => facts.access = from.facts.access.clone(),
        "operator" => facts.operator = from.facts.operator,
        "operator_parent" => facts.operator_parent = from.facts.operator_parent,
        "retention_days" => facts.retention_days = from.facts.retention_days,
        "training" => facts.training = from.facts.training,
        "certifications" => facts.certifications = from.facts.certifications.clone(),
        "own_site" => exchanged.own_site = from.own_site,
        "reach" => exchanged.reach = from.reach,
        "preview" => exchanged.preview = from.preview,
        _ => exchanged.approved = from.approved,
    }
    exchanged
}

#[cfg(test)]
mod tests;
