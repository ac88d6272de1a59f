//! What a provider says of where an answer was made, held against what is declared of the place.
//!
//! **Promises.** A word that the pack does not know is anywhere, so it contradicts every place that is not anywhere itself.
//! Silence contradicts nothing.
//!
//! **Does not do.** It does not make a place good: a provider that says what is declared may still be wrong.

use super::{Countries, Facts, Pack, Rule, Where};

/// A provider's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo<'a> {
    /// A region of Azure, as its own name (`swedencentral`) or as people write it (`Sweden Central`).
    AzureRegion(&'a str),
    /// Anthropic's `inference_geo`.
    InferenceGeo(&'a str),
}

/// A provider's word is not what is declared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it says `{word}`, which is {said}, and the place is declared to process in {declared}")]
pub struct Drift {
    /// The word.
    pub word: String,
    /// The countries that it stands for.
    pub said: Countries,
    /// Where prompts were to be processed.
    pub declared: Countries,
}

/// What Anthropic says of models that have no choice of place: nothing.
const NOT_SAID: &str = "not_available";

impl Pack {
    /// The countries that a provider's word stands for, worst case; none where it says nothing.
    #[must_use]
    pub fn countries_said(&self, echo: Echo<'_>) -> Option<Countries> {
        match echo {
            Echo::AzureRegion(word) => {
                let name: String =
                    word.chars().filter(|letter| *letter != ' ').collect::<String>().to_ascii_lowercase();
                let region = self.regions.get(&("azure".to_owned(), name));
                let country = region.and_then(|region| region.country.parse().ok());
                Some(country.map_or_else(Countries::anywhere, |country| [country].into_iter().collect()))
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
    /// [`Drift`] when the word stands for a country in which nothing was to be processed.
    pub fn compare(&self, declared: &Facts, echo: Echo<'_>) -> Result<(), Drift> {
        let Some(said) = self.countries_said(echo) else { return Ok(()) };
        // Nothing narrower was declared, so nothing rests on it.
        if declared.processing.is_unknown() || said.0.is_subset(&declared.processing.0) {
            return Ok(());
        }
        let (Echo::AzureRegion(word) | Echo::InferenceGeo(word)) = echo;
        Err(Drift { word: word.to_owned(), said, declared: declared.processing.clone() })
    }
}
