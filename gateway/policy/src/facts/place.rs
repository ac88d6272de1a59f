//! From what an operator states of a place to the facts of one target there.

use std::collections::BTreeSet;

use super::adjust::Adjustments;
use super::pack::{Days, Pack, Region, Row, Rule, When, Where};
use super::{Countries, Country, Facts, Provenance, UNKNOWN_RETENTION_DAYS, UnknownCountry};

/// What is stated of a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A deployment of Azure OpenAI or Foundry.
    Azure {
        /// Region of the resource.
        region: String,
        /// Deployment type, Azure's `sku.name`.
        sku: String,
    },
    /// A model of Amazon Bedrock.
    Bedrock {
        /// Region that is called.
        region: String,
        /// Inference profile, its prefix or its ARN.
        profile: Option<String>,
    },
    /// A model of Vertex AI.
    Vertex {
        /// Location that is called.
        location: String,
        /// Model whose residency row counts; the upstream model where absent.
        model: Option<String>,
    },
    /// A project of OpenAI.
    OpenAi {
        /// Region of the project.
        project_region: String,
    },
    /// A workspace of Anthropic.
    Anthropic {
        /// Where inference runs.
        inference_geo: String,
    },
    /// An endpoint of Mistral.
    Mistral {
        /// Region that is called.
        region: String,
    },
    /// A site of one's own.
    Site(Site),
    /// Stated by hand.
    Declared(Declared),
}

/// A site of one's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Its name.
    pub name: String,
    /// Where it lies.
    pub country: Country,
    /// Whose law its operator answers to.
    pub operator: Country,
}

/// A place that is stated by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Where prompts are processed.
    pub processing: Countries,
    /// Where they are kept.
    pub at_rest: Countries,
    /// From where people may read them.
    pub access: Countries,
    /// Whose law the operator answers to.
    pub operator: Country,
    /// Whose law its parent company answers to.
    pub operator_parent: Country,
    /// Days that prompts are kept.
    pub retention_days: u32,
    /// Whether prompts may train models.
    pub training: bool,
    /// Why this is so.
    pub because: String,
}

/// A place that the pack does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// No such region of this cloud.
    #[error("`{found}` is no {cloud} region of the data pack")]
    Region {
        /// The cloud, as places name it.
        cloud: &'static str,
        /// What was written.
        found: String,
        /// All that there are.
        known: Vec<String>,
    },
    /// No offer of this name.
    #[error("`{found}` is no {what} of the data pack")]
    Offer {
        /// What was looked for: `sku`, `profile`, `project_region`, `inference_geo`, `region`.
        what: &'static str,
        /// What was written.
        found: String,
        /// All that there are.
        known: Vec<String>,
    },
    /// A country of a row does not exist.
    #[error(transparent)]
    Country(#[from] UnknownCountry),
}

impl Place {
    /// The region of a cloud that is called, where one is stated.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        match self {
            Self::Azure { region, .. } | Self::Bedrock { region, .. } | Self::Vertex { location: region, .. } => {
                Some(region)
            }
            Self::OpenAi { .. } | Self::Anthropic { .. } | Self::Mistral { .. } | Self::Site(_) | Self::Declared(_) => {
                None
            }
        }
    }
}

impl Pack {
    /// Whether a model's id at Bedrock is that of an inference profile, which may send to other regions; also one of a
    /// geography that the pack does not know.
    #[must_use]
    pub fn is_inference_profile(&self, model: &str) -> bool {
        let prefix = prefix_of(model);
        (prefix != model && self.is_bedrock_profile(prefix)) || is_of_no_maker(model)
    }

    fn is_bedrock_profile(&self, prefix: &str) -> bool {
        self.rows.iter().any(|row| row.provider == "bedrock" && row.when.profile.as_deref() == Some(prefix))
    }

    /// The facts of the target `upstream_model` at `place`, worst case.
    ///
    /// # Errors
    ///
    /// [`PlaceError`] with all that would have been known.
    pub fn facts(&self, place: &Place, upstream_model: &str, adjustments: &Adjustments) -> Result<Facts, PlaceError> {
        let look = Look { pack: self, adjustments };
        match place {
            Place::Azure { region, sku } => look.azure(region, sku, upstream_model),
            Place::Bedrock { region, profile } => look.bedrock(region, profile.as_deref(), upstream_model),
            Place::Vertex { location, model } => look.vertex(location, model.as_deref().unwrap_or(upstream_model)),
            Place::OpenAi { project_region } => {
                look.named("openai", "project_region", project_region, |when| when.project_region.as_ref())
            }
            Place::Anthropic { inference_geo } => {
                look.named("anthropic", "inference_geo", inference_geo, |when| when.inference_geo.as_ref())
            }
            Place::Mistral { region } => look.named("mistral", "region", region, |when| when.region.as_ref()),
            Place::Site(site) => Ok(of_site(site)),
            Place::Declared(declared) => Ok(of_declared(declared)),
        }
    }
}

fn of_site(site: &Site) -> Facts {
    let here: Countries = [site.country].into_iter().collect();
    Facts {
        processing: here.clone(),
        at_rest: here.clone(),
        access: here,
        operator: site.operator,
        operator_parent: site.operator,
        retention_days: 0,
        training: false,
        certifications: BTreeSet::new(),
        provenance: Provenance {
            words: format!("own site `{}` in {}", site.name, site.country),
            ..Provenance::default()
        },
    }
}

fn of_declared(declared: &Declared) -> Facts {
    Facts {
        processing: declared.processing.clone(),
        at_rest: declared.at_rest.clone(),
        access: declared.access.clone(),
        operator: declared.operator,
        operator_parent: declared.operator_parent,
        retention_days: declared.retention_days,
        training: declared.training,
        certifications: BTreeSet::new(),
        provenance: Provenance {
            words: "a declared place".to_owned(),
            statements: vec![format!("declared, because {}", declared.because)],
            ..Provenance::default()
        },
    }
}

/// One look into the pack.
pub(super) struct Look<'a> {
    pub(super) pack: &'a Pack,
    pub(super) adjustments: &'a Adjustments,
}

impl Look<'_> {
    fn azure(&self, region: &str, sku: &str, model: &str) -> Result<Facts, PlaceError> {
        let region = self.region("azure", region)?;
        // A deployment's name is free, so this only tightens: what calls itself Claude is held to Anthropic's rows.
        let publisher = model.to_ascii_lowercase().starts_with("claude").then_some("anthropic");
        let rows = || self.pack.rows.iter().filter(|row| row.provider == "azure");
        let fits = |row: &&Row| {
            fits(row.when.partition.as_ref(), Some(&region.partition))
                && fits(row.when.sku.as_ref(), Some(sku))
                && fits(row.when.zone.as_ref(), region.zone.as_deref())
                && row.when.publisher.as_deref() == publisher
        };
        if let Some(row) = rows().find(fits) {
            return self.facts(row, Some(region), &format!("{}, resource in {}", row.words, region.region));
        }
        let mut known: Vec<String> = rows().filter_map(|row| row.when.sku.clone()).collect();
        known.dedup();
        if !known.iter().any(|known| known == sku) {
            return Err(PlaceError::Offer { what: "sku", found: sku.to_owned(), known });
        }
        let words =
            format!("Azure OpenAI, {sku}, of a zone that the pack does not know, resource in {}", region.region);
        Ok(Facts { provenance: Provenance { words, ..Provenance::default() }, ..Facts::unknown() })
    }

    /// The profile that is stated and the one that the model's id begins with must both be survived.
    fn bedrock(&self, region: &str, profile: Option<&str>, model: &str) -> Result<Facts, PlaceError> {
        let region = self.region("aws", region)?;
        let known = || {
            let rows = self.pack.rows.iter().filter(|row| row.provider == "bedrock");
            rows.filter_map(|row| row.when.profile.clone())
        };
        let stated = match profile {
            Some(profile) => {
                let prefix = prefix_of(profile);
                if !known().any(|known| known == prefix) {
                    let found = profile.to_owned();
                    return Err(PlaceError::Offer { what: "profile", found, known: known().collect() });
                }
                Some(prefix)
            }
            None => None,
        };
        let in_model = match prefix_of(model) {
            prefix if self.pack.is_bedrock_profile(prefix) => Some(prefix),
            // A geography that is newer than the pack is nowhere, and not the region that is called.
            _ if is_of_no_maker(model) => Some(HIDDEN),
            _ => None,
        };
        let profiles: BTreeSet<Option<&str>> = match (stated, in_model) {
            (Some(one), Some(two)) => BTreeSet::from([Some(one), Some(two)]),
            (one, two) => BTreeSet::from([one.or(two)]),
        };
        let mut worst: Option<Facts> = None;
        for profile in profiles {
            let facts = self.bedrock_row(region, profile)?;
            worst = Some(match worst {
                Some(other) => other.worst_of(facts),
                None => facts,
            });
        }
        Ok(worst.unwrap_or_else(Facts::unknown))
    }

    fn bedrock_row(&self, region: &Region, profile: Option<&str>) -> Result<Facts, PlaceError> {
        let fits = |row: &&Row| match profile {
            Some(profile) => row.when.profile.as_deref() == Some(profile),
            None => row.when.profile.is_none() && row.when.partition.as_ref() == Some(&region.partition),
        };
        let row = self.pack.rows.iter().filter(|row| row.provider == "bedrock").find(fits);
        match row {
            Some(row) => self.facts(row, Some(region), &format!("{}, called in {}", row.words, region.region)),
            None => Ok(Facts::unknown()),
        }
    }

    fn vertex(&self, location: &str, model: &str) -> Result<Facts, PlaceError> {
        let multi = ["global", "eu", "us"].contains(&location);
        let region = if multi { None } else { Some(self.region("gcp", location)?) };
        let listed = self.pack.vertex_models.contains(&(model.to_owned(), location.to_owned()));
        let kind = if multi { location } else { "region" };
        let fits = |row: &&Row| match location {
            "global" => row.when.location.as_deref() == Some("global"),
            _ if listed => row.when.listed == Some(true) && row.when.location.as_deref() == Some(kind),
            _ => row.when.listed == Some(false),
        };
        match self.pack.rows.iter().filter(|row| row.provider == "vertex").find(fits) {
            Some(row) => self.facts(row, region, &format!("{}, location {location}", row.words)),
            None => Ok(Facts::unknown()),
        }
    }

    /// An offer that one word names.
    fn named(
        &self,
        provider: &str,
        what: &'static str,
        found: &str,
        word: impl Fn(&When) -> Option<&String>,
    ) -> Result<Facts, PlaceError> {
        let rows = || self.pack.rows.iter().filter(|row| row.provider == provider);
        match rows().find(|row| word(&row.when).is_some_and(|known| known == found)) {
            Some(row) => self.facts(row, None, &row.words.clone()),
            None => Err(PlaceError::Offer {
                what,
                found: found.to_owned(),
                known: rows().filter_map(|row| word(&row.when).cloned()).collect(),
            }),
        }
    }

    fn region(&self, cloud: &'static str, found: &str) -> Result<&Region, PlaceError> {
        let key = (cloud.to_owned(), found.to_owned());
        self.pack.regions.get(&key).ok_or_else(|| PlaceError::Region {
            cloud,
            found: found.to_owned(),
            known: self.pack.regions.values().filter(|one| one.cloud == cloud).map(|one| one.region.clone()).collect(),
        })
    }

    fn facts(&self, row: &Row, region: Option<&Region>, words: &str) -> Result<Facts, PlaceError> {
        let adjustment = self.adjustments.get(&row.id);
        let mut facts = Facts {
            processing: self.countries(&row.processing.is, region)?,
            at_rest: self.countries(&row.at_rest.is, region)?,
            access: self.countries(&row.access.is, region)?,
            operator: operator(&row.operator.is, region.map(|region| &region.operator))?,
            operator_parent: match &row.parent {
                Some(parent) => operator(&parent.is, region.map(|region| &region.parent))?,
                None if row.operator.is == "region" => operator("region", region.map(|region| &region.parent))?,
                None => operator(&row.operator.is, None)?,
            },
            retention_days: match row.retention_days.is {
                Days::Known(days) => days,
                Days::Unknown(_) => UNKNOWN_RETENTION_DAYS,
            },
            training: row.training.is,
            certifications: row.certifications.is.iter().cloned().collect(),
            provenance: self.provenance(row, region, words),
        };
        if let Some(adjustment) = adjustment {
            adjustment.apply(row, region, &mut facts);
        }
        Ok(facts)
    }

    fn provenance(&self, row: &Row, region: Option<&Region>, words: &str) -> Provenance {
        let mut sources: Vec<String> = Vec::new();
        for source in row.sources().filter_map(|source| self.pack.sources.get(source)) {
            let line = format!("{} ({})", source.title, source.date);
            if !sources.contains(&line) {
                sources.push(line);
            }
        }
        let mut doubts: Vec<String> = row.doubtful.iter().cloned().collect();
        if let Some(region) = region.filter(|region| region.doubtful) {
            doubts.push(format!("whether the region `{}` is open is in doubt", region.region));
        }
        Provenance {
            words: words.to_owned(),
            rows: vec![row.id.clone()],
            doubts,
            sources,
            statements: Vec::new(),
            valid_until: Some(row.valid_until().min(self.pack.base_valid_until)),
        }
    }

    pub(super) fn countries(&self, place: &Where, region: Option<&Region>) -> Result<Countries, PlaceError> {
        let Where::Listed(names) = place else {
            let Where::Rule(rule) = place else { return Ok(Countries::anywhere()) };
            return self.by_rule(*rule, region);
        };
        Ok(self.pack.countries_of(names)?)
    }

    fn by_rule(&self, rule: Rule, region: Option<&Region>) -> Result<Countries, PlaceError> {
        let Some(region) = region else { return Ok(Countries::anywhere()) };
        let own: Country = region.country.parse()?;
        Ok(match rule {
            Rule::Anywhere => Countries::anywhere(),
            Rule::Region => [own].into_iter().collect(),
            Rule::Geography => match &region.geography {
                Some(names) => self.pack.countries_of(names)?,
                None => [own].into_iter().collect(),
            },
            Rule::EeaStaff if self.pack.is_in(own, "EEA") => {
                self.pack.groups().get("EEA").cloned().unwrap_or_else(Countries::anywhere)
            }
            Rule::EeaStaff => Countries::anywhere(),
        })
    }
}

/// A condition that is absent fits; one that is there must be met.
fn fits(condition: Option<&String>, found: Option<&str>) -> bool {
    condition.is_none_or(|condition| found == Some(condition.as_str()))
}

/// The profile of what hides where it goes.
const HIDDEN: &str = "application";

/// The makers of the models that Bedrock serves, as the ids of models begin with them.
const MAKERS: [&str; 22] = [
    "ai21",
    "amazon",
    "anthropic",
    "cohere",
    "deepseek",
    "google",
    "huggingface",
    "luma",
    "meta",
    "minimax",
    "mistral",
    "moonshot",
    "moonshotai",
    "nvidia",
    "openai",
    "qwen",
    "stability",
    "twelvelabs",
    "upstage",
    "writer",
    "xai",
    "zai",
];

/// Whether a model's id begins with no known maker, as `ca.anthropic.claude-…` does; one whose geography is known begins so as
/// well. What has no dot is a name of one's own, and an ARN says itself whether it is that of a profile.
fn is_of_no_maker(model: &str) -> bool {
    let first = model.split_once('.').map(|(first, _)| first);
    let is_maker = |first: &str| MAKERS.contains(&first.to_ascii_lowercase().as_str());
    model.contains("inference-profile/") || first.is_some_and(|first| !first.contains(':') && !is_maker(first))
}

/// `eu` of `eu`, `eu.` and `eu.anthropic.claude-…`. An application profile hides its prefix, and a prompt router sends to
/// profiles of its own choice.
fn prefix_of(profile: &str) -> &str {
    if profile.contains("application-inference-profile/") || profile.contains("prompt-router/") {
        return HIDDEN;
    }
    let id = profile.rsplit_once("inference-profile/").map_or(profile, |(_, id)| id);
    id.split_once('.').map_or(id, |(prefix, _)| prefix)
}

fn operator(code: &str, of_region: Option<&String>) -> Result<Country, PlaceError> {
    match (code, of_region) {
        ("region", Some(code)) => Ok(code.parse()?),
        ("region", None) => Ok(Country::ANYWHERE),
        (code, _) => Ok(code.parse()?),
    }
}
