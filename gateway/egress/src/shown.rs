//! What identifies the gateway to an endpoint, at the moment of a request.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::Request;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::body::UpstreamBody;
use crate::credentials::{InvalidCredential, Own};
use crate::endpoint::Endpoint;
use crate::error::{BuildProblem, SendError};
use crate::identity::{Keeper, Lent, LentKeys};
use crate::signature::{AwsKeys, Signed};
use crate::spec::EndpointSpec;

/// A header that identifies the gateway, or none.
pub(crate) type Shown = Option<(HeaderName, HeaderValue)>;

/// What identifies the gateway to the endpoint.
pub(crate) enum Shows {
    Nothing,
    /// The same header each time.
    Header(HeaderName, HeaderValue),
    /// The token of the moment.
    Token(Arc<Keeper>),
    /// A signature, which is made when the request is.
    Signature(AwsKeys),
    /// The same with the keys of the moment.
    LentSignature {
        keeper: Arc<Keeper>,
        region: String,
        service: &'static str,
    },
}

impl Shows {
    /// What `spec` says. The keeper is that of its token, where it has one.
    pub(crate) fn of(spec: &EndpointSpec, keeper: Option<Arc<Keeper>>) -> Result<Self, BuildProblem> {
        let wrong = |source| BuildProblem::Credential { endpoint: Arc::clone(&spec.name), source };
        Ok(match (&spec.credential, keeper) {
            (Some(Own::Secret(own)), _) => Self::Header(own.header.clone(), own.value().map_err(wrong)?),
            (Some(Own::Signature(keys)), _) => {
                keys.check().map_err(wrong)?;
                Self::Signature(keys.clone())
            }
            (Some(Own::Token(_)), Some(keeper)) => Self::Token(keeper),
            (Some(Own::LentSignature { region, service, .. }), Some(keeper)) => {
                Self::LentSignature { keeper, region: region.clone(), service }
            }
            (Some(Own::Token(_) | Own::LentSignature { .. }), None) | (None, _) => Self::Nothing,
        })
    }
}

impl Endpoint {
    /// What identifies the gateway, where it need not be asked for first.
    pub(crate) fn at_hand(&self) -> Option<Shown> {
        match self.shows() {
            Shows::Nothing | Shows::Signature(_) => Some(None),
            Shows::Header(name, value) => Some(Some((name.clone(), value.clone()))),
            Shows::Token(keeper) | Shows::LentSignature { keeper, .. } => keeper.at_hand(Instant::now()).map(header),
        }
    }

    /// What identifies the gateway, asked for where it is not at hand.
    pub(crate) async fn token(&self, arrived: Instant) -> Result<Shown, SendError> {
        let Some(keeper) = self.keeper() else { return Ok(None) };
        let timeouts = &self.spec().timeouts;
        let deadline = (Instant::now() + timeouts.connect).min(arrived + timeouts.total);
        Ok(header(keeper.token(deadline).await?))
    }

    /// What identifies the gateway, for a request without content.
    pub(crate) async fn identified(&self) -> Result<Shown, SendError> {
        match self.at_hand() {
            Some(own) => Ok(own),
            None => Box::pin(self.token(Instant::now())).await,
        }
    }

    /// What a request with this body is signed with, where it is.
    pub(crate) fn signing(&self, body: &[Bytes]) -> Option<Signing<'_>> {
        let keys = match self.shows() {
            Shows::Signature(keys) => Some(Cow::Borrowed(keys)),
            // Without keys it is not sent at all.
            Shows::LentSignature { keeper, region, service } => keeper.keys(Instant::now()).map(|keys| {
                let service = *service;
                let LentKeys { access_key, secret_key, session_token } = keys;
                let (region, session_token) = (region.clone(), Some(session_token));
                Cow::Owned(AwsKeys { region, service, access_key, secret_key, session_token })
            }),
            Shows::Nothing | Shows::Header(..) | Shows::Token(_) => return None,
        };
        Some(Signing { keys, body: body.to_vec() })
    }

    /// Who keeps its token, where it shows one.
    pub(crate) fn keeper(&self) -> Option<&Arc<Keeper>> {
        match self.shows() {
            Shows::Token(keeper) | Shows::LentSignature { keeper, .. } => Some(keeper),
            Shows::Nothing | Shows::Header(..) | Shows::Signature(_) => None,
        }
    }
}

/// What is lent as a header; keys make theirs with the request.
fn header(lent: Lent) -> Shown {
    match lent {
        Lent::Token(token) => Some((AUTHORIZATION, token)),
        Lent::Keys(_) => None,
    }
}

/// Keys, and the body that they are to sign with its request.
pub(crate) struct Signing<'a> {
    keys: Option<Cow<'a, AwsKeys>>,
    body: Vec<Bytes>,
}

impl Signing<'_> {
    /// Puts the signature into the request, which must be as it is sent but for the host.
    pub(crate) fn sign(self, request: &mut Request<UpstreamBody>, host: &HeaderValue) -> Result<(), InvalidCredential> {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let signed = Signed { method: &method, uri: &uri, host, body: &self.body };
        let keys = self.keys.ok_or(InvalidCredential)?;
        keys.sign(&signed, SystemTime::now(), request.headers_mut())
    }
}
