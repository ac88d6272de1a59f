//! The life of a request, one stage a line.
//!
//! Each stage takes the type that the stage before it returned and gives the next, so a stage that is left out is a
//! type error and not a leak. Its fields go on in a box: each `async fn` keeps room for what it is given and for what it
//! gives, and both were moved with every request. A refusal at any stage carries what was known by then, and is recorded
//! and answered in one place ([`refusal`]). A panic in a stage ends that request alone, with a 500 ([`guard`]).
//!
//! | stage | file | proof it needs | proof it gives |
//! |---|---|---|---|
//! | arrive, identify, admit | [`arrive`] | a connection | `ingress::limits::Admitted` |
//! | decode | [`decode`] | `Admitted` | `wire::Call` |
//! | inspect, authorize | [`authorize`] | `Call` | `policy::Permit` |
//! | plan, reserve, record | [`plan`], [`reserve`], [`record`] | `Permit` | `routing::Plan`, `accounting::Reservation`, an open audit record |
//! | clear, resolve, send | [`clear`], [`attempt`] | `policy::Warrant`, `policy::Cleared` | the upstream's reply |
//! | respond, settle, close | [`respond`], [`relay`], [`books`] | the reply | the caller's bytes, closed books |

mod arrive;
mod attempt;
mod authorize;
mod books;
mod budgets;
mod capture;
mod clear;
mod data;
mod decode;
mod drift;
mod examine;
mod fallback;
mod guard;
mod headers;
mod listing;
mod plan;
mod record;
mod refusal;
mod relay;
mod reserve;
mod respond;
mod sharing;
mod spans;
mod users;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use http::Response;
use ingress::listen::Incoming;

use crate::gateway::Gateway;
pub use arrive::DecisionId;
pub(crate) use authorize::{findings_of, operation_of};
pub(crate) use data::SaidInMetadata;
pub(crate) use drift::hold_back;
pub(crate) use plan::knobs_of;
pub(crate) use plan::{class_of, knobs_within, of_choices, order};
pub use refusal::Refusal;
pub(crate) use reserve::{month_of, tier_of};
pub use respond::ReplyBody;

/// Answers one request. It never fails: whatever goes wrong is an answer with a stable `code`.
///
/// The request is taken in at once, so that what is left to be waited for holds it in a box, and is small: it is moved several
/// times before it is begun.
pub fn handle(gateway: Arc<Gateway>, incoming: Incoming) -> impl Future<Output = Response<ReplyBody>> + Send + 'static {
    let arrived = arrive::arrive(gateway, incoming);
    guard::Witness::of(&arrived).watch(Box::pin(answer(arrived)))
}

async fn answer(arrived: arrive::Arrived) -> Response<ReplyBody> {
    match serve(arrived).await {
        Ok(response) => response,
        Err(refused) => refused.respond().await,
    }
}

async fn serve(arrived: arrive::Arrived) -> Result<Response<ReplyBody>, Box<refusal::Refused>> {
    let spans = arrived.exchange().spans.clone();
    let identified = arrive::identify(arrived)?;
    spans.stage("authenticate");
    let admitted = arrive::admit(identified).await?;
    spans.stage("admit");
    if admitted.asks_for_models() {
        // Boxed: the room of a future is that of its largest stage, and nearly every request is no listing.
        return Box::pin(listing::answer(admitted)).await;
    }
    let decoded = decode::decode(admitted).await?;
    spans.stage("decode");
    let inspected = authorize::inspect(decoded).await;
    spans.stage("inspect");
    let authorized = authorize::authorize(inspected)?;
    spans.stage("authorize");
    let planned = plan::plan(authorized).await?;
    spans.stage("plan");
    let reserved = reserve::reserve(planned).await?;
    spans.stage("reserve");
    let recorded = record::record(reserved).await?;
    spans.stage("record");
    // The longest stage by far is kept outside: the others need not carry room for it.
    let answered = Box::pin(attempt::run(recorded)).await?;
    Ok(respond::respond(answered))
}
