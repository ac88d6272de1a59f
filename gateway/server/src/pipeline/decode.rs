//! Stage 4: the body is read under its bounds, only now, and the call is read out of it.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use ingress::auth::AppIndex;
use ingress::body::{self, BodyError, BodyPermit};
use ingress::limits::{self, Admitted as AdmittedGuard};
use tokio::time::timeout;
use wire::{Call, DecodeError, Route};

use super::arrive::{self, Admitted, Caller, Exchange};
use super::refusal::{Refusal, Refused};
use super::sharing;
use crate::snapshot::ModelIndex;

/// When to come back when the bytes of all bodies together are at their bound.
const RETRY_WHEN_FULL: Duration = Duration::from_secs(1);

/// A call whose model exists and may be used by this app.
pub(super) struct Decoded {
    pub(super) exchange: Box<Exchange>,
    pub(super) caller: Caller,
    pub(super) guard: AdmittedGuard,
    pub(super) call: Call,
    pub(super) model: ModelIndex,
    /// Holds the bytes' share of the global bound until the request ends.
    pub(super) held: BodyPermit,
}

pub(super) async fn decode(admitted: Box<Admitted>) -> Result<Box<Decoded>, Box<Refused>> {
    let Admitted { mut exchange, caller, index, route, guard, body } = *admitted;
    let limits = &exchange.snapshot.body_limits;
    let read = body::read(body, &exchange.head.headers, limits, &exchange.gateway.body_budget);
    let (bytes, held) = match within(exchange.snapshot.body_timeout, read).await {
        Some(Ok(read)) => read.into_parts(),
        Some(Err(error)) => return Err(exchange.refuse(refusal_of(&error))),
        None => return Err(exchange.refuse(Refusal::SlowBody)),
    };
    let Route::Call { api, model: path_model } = route else {
        let path = exchange.head.uri.path().to_owned();
        return Err(exchange.refuse(Refusal::UnknownPath { path }));
    };
    exchange.api = Some(api);
    let call = match wire::decode(api, path_model.as_deref(), bytes) {
        Ok(call) => call,
        Err(error) => return Err(exchange.refuse(invalid(&error))),
    };
    exchange.stream = call.stream();
    exchange.model = Some(call.model().to_owned());
    let Some(model) = exchange.snapshot.model_named(call.model(), &caller.key.models) else {
        let model = call.model().to_owned();
        return Err(exchange.refuse(Refusal::ModelNotFound { model }));
    };
    exchange.model_index = Some(model);
    let guard = match admit_further(&exchange, guard, (index, &caller), &call, model).await {
        Ok(guard) => guard,
        Err(early) => {
            exchange.rate = arrive::standing_of(early).or(exchange.rate);
            return Err(exchange.refuse(arrive::refusal_of(early)));
        }
    };
    exchange.rate = guard.standing();
    Ok(Box::new(Decoded { exchange, caller, guard, call, model, held }))
}

/// What could not be asked before the body was read: the rate of the user that it names, and the bounds of its model.
async fn admit_further(
    exchange: &Exchange,
    guard: AdmittedGuard,
    (app, caller): (AppIndex, &Caller),
    call: &Call,
    model: ModelIndex,
) -> Result<AdmittedGuard, limits::Refusal> {
    let snapshot = &exchange.snapshot;
    let counters = snapshot.counters();
    if let Some(user) = caller.user_of(call) {
        sharing::ask(counters, || snapshot.admission.admit_user(app, caller.key.limit, &user)).await?;
    }
    let further = sharing::ask(counters, || snapshot.admission.model(snapshot.model(model).limit)).await?;
    Ok(guard.and(further))
}

/// What comes of `future`, or nothing where it takes longer than `limit`. A timer is made for what has to be waited for alone:
/// nearly every body has come whole with its head.
async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    if let Poll::Ready(at_once) = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await {
        return Some(at_once);
    }
    timeout(limit, future).await.ok()
}

fn invalid(error: &DecodeError) -> Refusal {
    Refusal::InvalidRequest { message: error.to_string(), param: error.param().map(str::to_owned) }
}

fn refusal_of(error: &BodyError) -> Refusal {
    match error {
        BodyError::TooLarge { limit } => Refusal::TooLarge { limit: *limit },
        BodyError::Overloaded(_) => Refusal::Overloaded { retry_after: RETRY_WHEN_FULL },
        BodyError::Slow { .. } => Refusal::SlowBody,
        BodyError::UnsupportedEncoding => Refusal::UnsupportedEncoding,
        BodyError::Disconnected(_) | BodyError::BadEncoding { .. } => {
            Refusal::InvalidRequest { message: error.to_string(), param: None }
        }
    }
}
