//! Which endpoints are Azure's.

use super::super::document::Place;
use super::EndpointConfig;

impl EndpointConfig {
    /// Whether Azure answers there, by what it speaks or by where it is declared to be.
    #[must_use]
    pub fn in_azure(&self) -> bool {
        self.provider == "azure-openai" || matches!(self.place, Some(Place::Azure(_)))
    }
}
