//! Stage 7: which permitted target, in what order, and whether to wait for a better moment.
//!
//! The choice itself is `routing`'s, on what the traffic has taught. A request for which nothing will do now, and whose
//! time allows it, waits in its model's queue: bounded in number and in bytes, in the order of deadlines, and until
//! something ended or its time came. It looks again each time it is woken, and wakes the next where it waits on. What was
//! held back meanwhile counts: after its wait a request is authorised again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use accounting::{Tier, Tokens};
use http::{HeaderName, HeaderValue};
use inspection::Findings;
use policy::{Permit, TargetId};
use routing::{
    Advice, Ask, Class, DEFAULT_DEADLINE, Demand, Expected, Knobs, LONGEST_BLOCK, Place, Plan, Prefix, Priority,
    Waiting, Why,
};
use tokio::sync::Notify;
use wire::{Api, Call, ServiceTier};

use super::arrive::{Caller, Exchange};
use super::authorize::{self, Asking, Authorized};
use super::decode::Decoded;
use super::fallback::{self, StandIn};
use super::refusal::{Refusal, Refused};
use super::reserve;
use crate::snapshot::{Model, ModelState, ModelSteering, Session, Snapshot, Target};

/// Stage 7: the attempts in order, each with its warrant.
pub(super) struct Planned {
    pub(super) decoded: Box<Decoded>,
    pub(super) findings: Findings,
    pub(super) permit: Arc<Permit>,
    /// With a part behind it for each model that stands in and has a permitted target.
    pub(super) plan: Plan,
    pub(super) stand_ins: Vec<StandIn>,
    pub(super) ask: Ask,
    pub(super) session: Option<Session>,
    /// Its place at the head of the queue, where it waited, until it is sent.
    pub(super) turn: Option<Turn>,
}

pub(super) async fn plan(authorized: Authorized) -> Result<Box<Planned>, Box<Refused>> {
    let Authorized { mut decoded, findings, mut permit } = authorized;
    decoded.exchange.tier = reserve::tier(&decoded.call);
    let (mut ask, priority) = ask(&decoded);
    let session;
    (session, ask.session) = session_of(&decoded, &permit);
    let mut plan = decide(&decoded.exchange, model_of(&decoded.exchange), &permit, &ask);
    let mut turn = None;
    if let Advice::Wait { .. } = plan.advice() {
        // Boxed, because few wait, and all would carry its room.
        turn = Box::pin(wait(&decoded, &permit, (&mut ask, priority, &mut plan))).await;
        if turn.is_some() {
            let asked = (&decoded.call, &findings);
            (decoded.exchange, permit) = authorize::again(decoded.exchange, &decoded.caller, asked)?;
            decoded.exchange.ready = Instant::now();
            plan = decide(&decoded.exchange, model_of(&decoded.exchange), &permit, &ask);
        }
    }
    let Decoded { exchange, caller, call, .. } = &mut *decoded;
    let asking = Asking { caller, call, findings: &findings, now: exchange.asked_at };
    let (plan, stand_ins) = fallback::stand_ins(exchange, asking, &ask, plan);
    if plan.advice() == Advice::Nothing {
        return Err(decoded.exchange.refuse(Refusal::Overloaded { retry_after: retry_after(&plan) }));
    }
    note_decision(exchange, &plan, &ask);
    exchange.explanation = explanation(exchange, caller, (&plan, &stand_ins));
    Ok(Box::new(Planned { decoded, findings, permit, plan, stand_ins, ask, session, turn }))
}

/// What a caller is told where its targets have no room, at least.
const SOONEST: Duration = Duration::from_secs(1);

/// When a caller whose targets have no room may come again: when the first of them is expected to have some, at most as
/// late as a target can be blocked, beyond which clients do not wait either.
pub(super) fn retry_after(plan: &Plan) -> Duration {
    bounded(plan.free_in(Instant::now()))
}

fn bounded(free_in: Option<Duration>) -> Duration {
    free_in.unwrap_or_default().clamp(SOONEST, LONGEST_BLOCK)
}

/// The request in numbers.
fn ask(Decoded { exchange, caller, call, .. }: &Decoded) -> (Ask, Priority) {
    let expected = expected(exchange, caller, (call, call.model()));
    let configured = caller.app.traffic.or_else(|| model_of(exchange).map(|model| model.steering.traffic));
    let (class, priority) = class_of(call.service_tier(), configured);
    (Ask { expected, class, waited: Duration::ZERO, session: None, draw: rand::random() }, priority)
}

/// Whether somebody waits for a request that says this of itself, and who goes first.
pub(crate) fn class_of(said: ServiceTier, configured: Option<Class>) -> (Class, Priority) {
    match said {
        ServiceTier::Flex => (Class::Batch, Priority::Low),
        ServiceTier::Priority => (Class::Interactive, Priority::High),
        ServiceTier::Default => (configured.unwrap_or_default(), Priority::Normal),
    }
}

/// What such calls of the app turn out to use of a model.
pub(super) fn expected(exchange: &Exchange, caller: &Caller, (call, model): (&Call, &str)) -> Expected {
    let (most, now) = (caller.output_of(call), exchange.started);
    of_choices(caller.app.habits.expect(model, call.input_bytes(), most, now), call.choices())
}

/// The same for a request that asks for so many answers.
pub(crate) fn of_choices(expected: Expected, choices: u64) -> Expected {
    let all = |tokens: Tokens| Tokens(tokens.0.saturating_mul(choices)).bounded();
    Expected { output: all(expected.output), at_most: all(expected.at_most), ..expected }
}

/// The session of the call, where it has one and there is a choice, and where it is at home.
fn session_of(Decoded { exchange, caller, call, .. }: &Decoded, permit: &Permit) -> (Option<Session>, Option<Prefix>) {
    // Counting the tokens of a conversation reads none of it.
    let counts = call.api() != Api::CountTokens;
    let homes = model_of(exchange).map(|model| &model.steering.homes).filter(|homes| counts && homes.matter());
    let Some((homes, session)) = homes.zip(call.session()) else { return (None, None) };
    // Those of one app are nobody else's, whatever they are called.
    let number = routing::session_of(&[caller.app.name.as_bytes(), call.model().as_bytes(), session]);
    let in_flight = |target: TargetId| exchange.snapshot.target(target).steering.in_flight();
    let load = |target: TargetId| permit.targets().contains(&target).then(|| in_flight(target));
    let (session, prefix) = homes.find(number, exchange.started, load);
    (Some(session), prefix)
}

pub(super) fn model_of(exchange: &Exchange) -> Option<&Model> {
    exchange.model_index.map(|index| exchange.snapshot.model(index))
}

/// One decision about the targets of a model, on what is known now.
pub(super) fn decide(exchange: &Exchange, model: Option<&Model>, permit: &Arc<Permit>, ask: &Ask) -> Plan {
    let now = Instant::now();
    let snapshot = &exchange.snapshot;
    let Some(steering) = model.map(|model| &model.steering) else {
        return routing::plan(permit, |target| snapshot.target(target).standing(now));
    };
    let ModelSteering { shares, state, .. } = steering;
    let knobs = &knobs_of(snapshot, permit, (steering, ask.class));
    let tightness = state.calibration.lock().at(now);
    let demand = Demand { ask, knobs, tightness, now };
    order(permit, &demand, (shares, exchange.tier), |id| snapshot.target(id))
}

/// The choice itself, the same for requests and for explanations: what is known of each target, its price and its share.
pub(crate) fn order<'a>(
    permit: &Arc<Permit>,
    demand: &Demand<'_>,
    (shares, tier): (&[(TargetId, u8)], Tier),
    target: impl Fn(TargetId) -> &'a Arc<Target>,
) -> Plan {
    let Demand { ask, now, .. } = *demand;
    routing::route(permit, demand, |id| {
        let target = target(id);
        let outlook = target.steering.outlook(ask, id, target.standing(now), now);
        let price = target.likely_cost(&ask.expected, outlook.cached, tier);
        let share = shares.iter().find(|(shared, _)| *shared == id);
        outlook.with_price(price).with_share(share.map(|(_, percent)| *percent))
    })
}

/// What the model wants of a request that has this permit.
pub(crate) fn knobs_of(snapshot: &Snapshot, permit: &Permit, (steering, class): (&ModelSteering, Class)) -> Knobs {
    let endpoints = permit.targets().iter().filter_map(|target| snapshot.fleet.endpoint(*target));
    knobs_within(steering.knobs, class, endpoints.map(|endpoint| endpoint.spec().timeouts.total))
}

/// What the model wants, where a request waits no longer than the shortest call to a target that it is permitted may take:
/// it holds its bytes and its place in flight meanwhile.
pub(crate) fn knobs_within(mut knobs: Knobs, class: Class, totals: impl Iterator<Item = Duration>) -> Knobs {
    let deadline = match class {
        Class::Batch => Some(knobs.deadline.unwrap_or(DEFAULT_DEADLINE)),
        Class::Interactive => knobs.deadline,
    };
    knobs.deadline = deadline.map(|deadline| totals.fold(deadline, Duration::min));
    knobs
}

/// Waits until the plan says send or the time is over. A request for which there is no room to wait does not.
async fn wait(
    Decoded { exchange, caller, held, .. }: &Decoded,
    permit: &Arc<Permit>,
    (ask, priority, plan): (&mut Ask, Priority, &mut Plan),
) -> Option<Turn> {
    let steering = &model_of(exchange)?.steering;
    let bytes = exchange.snapshot.waiting.counted(held.bytes());
    let _of_app = caller.app.waiting.take(bytes).ok()?;
    let _of_all = exchange.gateway.waiting_budget.take(bytes).ok()?;
    let latest = exchange.started + most_wait(&knobs_of(&exchange.snapshot, permit, (steering, ask.class)), ask.class);
    let waiting = Waiting { app: Arc::clone(&caller.app.name), priority, latest, work: ask.expected.prompt };
    let waiter = Arc::new(Notify::new());
    let place = steering.state.queue().lock().push(waiting, Arc::clone(&waiter)).ok()?;
    let turn = Turn { state: Arc::clone(&steering.state), place };
    while let Advice::Wait { at_most } = plan.advice() {
        let now = Instant::now();
        if now >= latest {
            break;
        }
        let until = (now + at_most).min(latest);
        let was_woken = tokio::select! {
            () = waiter.notified() => true,
            () = tokio::time::sleep_until(until.into()) => false,
        };
        ask.waited = exchange.started.elapsed();
        *plan = decide(exchange, model_of(exchange), permit, ask);
        // INVARIANT: what became free is passed on until somebody uses it or all that wait have looked.
        if was_woken && matches!(plan.advice(), Advice::Wait { .. }) {
            steering.state.wake_after(turn.place);
        }
    }
    Some(turn)
}

/// How long a request may wait at all; `routing` asks for less where less will do.
fn most_wait(knobs: &Knobs, class: Class) -> Duration {
    match class {
        Class::Batch => knobs.deadline.unwrap_or(DEFAULT_DEADLINE),
        Class::Interactive => knobs.deadline.or(knobs.first_token).unwrap_or_default(),
    }
}

/// A place in the queue, given up on every way out, a caller that leaves among them; then the next one looks.
///
/// Whose turn it is keeps the place until its request is on its way, so that the next one sees what it takes.
pub(super) struct Turn {
    state: Arc<ModelState>,
    place: Place,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.state.queue().lock().take(self.place);
        self.state.wake();
    }
}

/// The model's burst state learns of the decision.
fn note_decision(exchange: &Exchange, plan: &Plan, ask: &Ask) {
    let Some(model) = model_of(exchange) else { return };
    if ask.class == Class::Batch {
        return;
    }
    let used = plan.own_first_token().zip(model.steering.knobs.first_token);
    let used = used.map(|(own, target)| own.as_secs_f64() / target.as_secs_f64().max(0.001));
    let turn = model.steering.state.burst.lock().on_decision(plan.is_burst(), used, Instant::now());
    ModelSteering::announce(&model.name, turn);
}

const EXPLAIN: HeaderName = HeaderName::from_static("x-causeway-explain");

/// The sentence and the plan, for an app that may see them and asks.
fn explanation(
    exchange: &Exchange,
    caller: &Caller,
    (plan, stand_ins): (&Plan, &[StandIn]),
) -> Option<[HeaderValue; 2]> {
    let asked = exchange.head.headers.get(&EXPLAIN).is_some_and(|value| value == "1");
    if !asked || !caller.app.may_explain {
        return None;
    }
    let names = stand_ins.iter().filter(|stand_in| stand_in.is_planned()).map(|stand_in| Some(&stand_in.name));
    let of_part = |(part, name): (&Plan, Option<&Arc<str>>)| {
        let entries = part.explain().iter();
        let entries = entries.map(|ranked| format!("{}: {}", exchange.snapshot.target(ranked.target).name, ranked.why));
        let entries = entries.collect::<Vec<_>>().join("; ");
        name.map_or(entries.clone(), |name| format!("then model {name}: {entries}"))
    };
    let parts = plan.parts().zip(std::iter::once(None).chain(names));
    let plan_text = parts.map(of_part).collect::<Vec<_>>().join("; ");
    let header = |text: &str| {
        let visible: String =
            text.chars().map(|letter| if matches!(letter, ' '..='~') { letter } else { '?' }).collect();
        HeaderValue::from_str(&visible).ok()
    };
    Some([header(&plan.reason().to_string())?, header(&plan_text)?])
}

/// Whether a target that is paid for already would have met the request's time, although another goes first.
pub(super) fn own_would_do(plan: &Plan) -> bool {
    plan.explain().iter().any(|ranked| ranked.outlook.paid.is_sunk() && matches!(ranked.why, Why::InTime { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_may_come_again_when_a_target_has_room_but_not_at_once_and_not_in_an_hour() {
        let seconds = Duration::from_secs;

        assert_eq!(bounded(Some(Duration::from_millis(7_250))), Duration::from_millis(7_250));
        assert_eq!(bounded(Some(Duration::from_millis(20))), seconds(1));
        assert_eq!(bounded(Some(seconds(3_600))), seconds(120));
        assert_eq!(bounded(None), seconds(1));
    }
}
