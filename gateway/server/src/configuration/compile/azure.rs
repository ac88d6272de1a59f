//! Which endpoints are Azure's, and which of them are one resource there.

use super::super::document::Place;
use super::EndpointConfig;

impl EndpointConfig {
    /// Whether Azure answers there, by what it speaks or by where it is declared to be.
    #[must_use]
    pub fn in_azure(&self) -> bool {
        self.provider == "azure-openai" || matches!(self.place, Some(Place::Azure(_)))
    }

    /// Its URL without the path. Endpoints of one origin lead to the same deployments, whatever they declare of them.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("{}://{}:{}", self.scheme.as_str(), self.host, self.port)
    }
}
