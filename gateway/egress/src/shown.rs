//! What identifies the gateway to an endpoint, at the moment of a request.

use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::endpoint::Endpoint;
use crate::error::SendError;
use crate::identity::Keeper;

/// A header that identifies the gateway, or none.
pub(crate) type Shown = Option<(HeaderName, HeaderValue)>;

/// What identifies the gateway to the endpoint.
pub(crate) enum Shows {
    Nothing,
    /// The same header each time.
    Header(HeaderName, HeaderValue),
    /// The token of the moment.
    Token(Arc<Keeper>),
}

impl Endpoint {
    /// What identifies the gateway, where it need not be asked for first.
    pub(crate) fn at_hand(&self) -> Option<Shown> {
        match self.shows() {
            Shows::Nothing => Some(None),
            Shows::Header(name, value) => Some(Some((name.clone(), value.clone()))),
            Shows::Token(keeper) => keeper.at_hand(Instant::now()).map(|token| Some((AUTHORIZATION, token))),
        }
    }

    /// What identifies the gateway, asked for where it is not at hand.
    pub(crate) async fn token(&self, arrived: Instant) -> Result<Shown, SendError> {
        let Shows::Token(keeper) = self.shows() else { return Ok(None) };
        let timeouts = &self.spec().timeouts;
        let deadline = (Instant::now() + timeouts.connect).min(arrived + timeouts.total);
        Ok(Some((AUTHORIZATION, keeper.token(deadline).await?)))
    }

    /// What identifies the gateway, for a request without content.
    pub(crate) async fn identified(&self) -> Result<Shown, SendError> {
        match self.at_hand() {
            Some(own) => Ok(own),
            None => Box::pin(self.token(Instant::now())).await,
        }
    }

    /// Who keeps its token, where it shows one.
    pub(crate) fn keeper(&self) -> Option<&Arc<Keeper>> {
        match self.shows() {
            Shows::Token(keeper) => Some(keeper),
            Shows::Nothing | Shows::Header(..) => None,
        }
    }
}
