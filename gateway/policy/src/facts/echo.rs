//! What a provider says of where an answer was made, held against what is declared of the place.
//!
//! **Promises.** A word that the pack does not know is anywhere, so it contradicts every place that is not anywhere itself.
//! Silence contradicts nothing.
//!
//! **Does not do.** It does not make a place good: a provider that says what is declared may still be wrong.

use super::{Adjustments, Countries, Country, Facts, Pack, Place, Rule, Where};

/// A provider's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo<'a> {
    /// A region of Azure, as its own name (`swedencentral`) or as people write it (`Sweden Central`).
    AzureRegion(&'a str),
    /// Azure's name of the deployment that answered, where it is another than was asked.
    AzureServedBy {
        /// The deployment.
        deployment: &'a str,
        /// What is declared of it, at its worst where several targets may be it; nobody declared anything of one that has no
        /// target.
        facts: Option<&'a Facts>,
    },
    /// Anthropic's `inference_geo`.
    InferenceGeo(&'a str),
    /// A deployment, as Azure Resource Manager describes it.
    AzureDeployment {
        /// Its deployment type, `sku.name`.
        sku: &'a str,
        /// The region of its account.
        location: &'a str,
        /// Its name, which is the upstream model.
        model: &'a str,
        /// What the security team changed of the rows.
        adjustments: &'a Adjustments,
    },
    /// The regions to which a Bedrock inference profile may send, each as its own name; an empty one is a model of no region.
    BedrockRegions(&'a [String]),
}

/// A provider's word is not what is declared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it says `{word}`, which is {said}, and the place is declared to {what} in {declared}")]
pub struct Drift {
    /// The word.
    pub word: String,
    /// The countries that it stands for.
    pub said: Countries,
    /// Where it was to be.
    pub declared: Countries,
    /// What was to be there, as in `to process`.
    pub what: &'static str,
}

/// What Anthropic says of models that have no choice of place: nothing.
const NOT_SAID: &str = "not_available";

impl Pack {
    /// The countries that a provider's word stands for, worst case; none where it says nothing.
    #[must_use]
    pub fn countries_said(&self, echo: Echo<'_>) -> Option<Countries> {
        match echo {
            Echo::AzureRegion(word) => {
                Some([self.country_of("azure", &plain(word)).unwrap_or(Country::ANYWHERE)].into_iter().collect())
            }
            Echo::AzureDeployment { .. } | Echo::AzureServedBy { .. } => {
                self.deployment_said(echo).map(|facts| facts.processing)
            }
            Echo::BedrockRegions([]) => Some(Countries::anywhere()),
            Echo::BedrockRegions(regions) => {
                let country = |region: &String| self.country_of("aws", region).unwrap_or(Country::ANYWHERE);
                Some(regions.iter().map(country).collect())
            }
            Echo::InferenceGeo(NOT_SAID) => None,
            Echo::InferenceGeo(word) => {
                let row = self.rows.iter().find(|row| row.when.inference_geo.as_deref() == Some(word));
                Some(match row.map(|row| &row.processing.is) {
                    Some(Where::Listed(names)) => self.countries_of(names).unwrap_or_else(|_| Countries::anywhere()),
                    Some(Where::Rule(Rule::Anywhere | Rule::Region | Rule::Geography | Rule::EeaStaff)) | None => {
                        Countries::anywhere()
                    }
                })
            }
        }
    }

    /// Holds a provider's word against what is declared.
    ///
    /// # Errors
    ///
    /// [`Drift`] when the word stands for a country in which nothing was to be processed, or kept.
    pub fn compare(&self, declared: &Facts, echo: Echo<'_>) -> Result<(), Drift> {
        let drift = |said: Countries, declared: &Countries, what| {
            // Where nothing narrower was declared, nothing rests on it.
            let holds = declared.is_unknown() || said.0.is_subset(&declared.0);
            if holds { Ok(()) } else { Err(Drift { word: echo.word(), said, declared: declared.clone(), what }) }
        };
        if let Some(said) = self.countries_said(echo) {
            drift(said, &declared.processing, "process")?;
        }
        match self.deployment_said(echo) {
            Some(said) => drift(said.at_rest, &declared.at_rest, "keep data"),
            None => Ok(()),
        }
    }

    /// What the pack says of a deployment. One that it does not know is at its worst.
    fn deployment_said(&self, echo: Echo<'_>) -> Option<Facts> {
        match echo {
            Echo::AzureDeployment { sku, location, model, adjustments } => {
                let place = Place::Azure { region: plain(location), sku: sku.to_owned() };
                Some(self.facts(&place, model, adjustments).unwrap_or_else(|_| Facts::unknown()))
            }
            Echo::AzureServedBy { facts, .. } => Some(facts.cloned().unwrap_or_else(Facts::unknown)),
            Echo::AzureRegion(_) | Echo::InferenceGeo(_) | Echo::BedrockRegions(_) => None,
        }
    }

    /// The country of a region of `azure`, `aws` or `gcp`, where the pack knows it.
    #[must_use]
    pub fn country_of(&self, cloud: &str, region: &str) -> Option<Country> {
        self.regions.get(&(cloud.to_owned(), region.to_owned()))?.country.parse().ok()
    }
}

impl Echo<'_> {
    /// As a person reads it.
    #[must_use]
    pub fn word(&self) -> String {
        match self {
            Self::AzureRegion(word) | Self::InferenceGeo(word) => (*word).to_owned(),
            Self::AzureDeployment { sku, location, .. } => format!("{sku} in {location}"),
            Self::AzureServedBy { deployment, facts: Some(_) } => (*deployment).to_owned(),
            Self::AzureServedBy { deployment, facts: None } => {
                format!("{deployment}, a deployment that no target at its URL names")
            }
            Self::BedrockRegions(regions) => {
                let name = |region: &String| if region.is_empty() { "no region".to_owned() } else { region.clone() };
                regions.iter().map(name).collect::<Vec<_>>().join(", ")
            }
        }
    }
}

/// `swedencentral` of `Sweden Central`.
fn plain(region: &str) -> String {
    region.chars().filter(|letter| *letter != ' ').collect::<String>().to_ascii_lowercase()
}
