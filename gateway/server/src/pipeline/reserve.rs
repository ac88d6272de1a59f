//! Stage 8: the tokens and the money of the dearest attempt are held, or the caller is told when they can be.
//!
//! [`Charge`] is what is held, until it is settled by what the upstream reported, by the reservation where it reported
//! nothing, or at zero where nothing was sent. A charge that is dropped settles at the reservation once something may have
//! been sent, and at zero before. What is held is in the
//! ledger's journal before anything is sent, so that it is settled even when this process dies.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use accounting::{Ask, Day, Estimate, HeldTokens, Moment, Money, Reservation, Settlement, Tier, Tokens, Used};
use ledger::{Closing, Ledger, Opening};
use routing::Plan;
use wire::{Api, Call, ServiceTier, Usage};

use super::budgets::{self, NoRoom, user};
use super::plan::{self, Planned};
use super::refusal::{Refusal, Refused};
use super::sharing;
use crate::snapshot::Target;

/// What a request holds.
#[must_use = "a charge that is dropped is settled at what it holds, once something may have been sent"]
pub(super) struct Charge {
    // INVARIANT: there until it is settled; `finish` is the only place that takes it.
    reservation: Option<Reservation>,
    tier: Tier,
    /// Counting tokens uses none, whoever answers and whether it says so or not.
    is_free: bool,
    /// Something may have been sent: before that, a request whose caller left costs nothing.
    may_be_sent: bool,
    ledger: Ledger,
    request: Arc<str>,
    /// A target that is paid for already would have met the request's time, as far as is known by now.
    avoidable: bool,
}

/// Stage 8: the dearest attempt of the plan can be paid.
pub(super) struct Reserved {
    pub(super) planned: Box<Planned>,
    pub(super) charge: Charge,
}

pub(super) async fn reserve(planned: Box<Planned>) -> Result<Reserved, Box<Refused>> {
    let most_output = planned.decoded.caller.output_of(&planned.decoded.call);
    let (estimate, tier) = (estimate(&planned.decoded.call, most_output), planned.decoded.exchange.tier);
    let snapshot = &planned.decoded.exchange.snapshot;
    let most = |target: &Target| target.pricing.most(estimate, tier);
    let tried = planned.plan.parts().flat_map(Plan::explain).filter(|ranked| ranked.is_tried());
    let dearest = tried.map(|ranked| most(snapshot.target(ranked.target))).max();
    let ask = Ask { estimate, money: dearest.unwrap_or_default() };
    let app = &planned.decoded.caller.app.book;
    let user = user(&planned);
    let tokens = &snapshot.model(planned.decoded.model).tokens;
    // A body may take long to come, and a request may wait for a place or for the store: what counts is when it is let in.
    // Budgets and the model first: what they hold is given back where the books have no room.
    let take = || -> Result<(Reservation, SystemTime), NoRoom> {
        let calendar = SystemTime::now();
        let now = moment(Instant::now(), calendar);
        let held = budgets::of(&planned, user.as_deref(), (now, calendar)).hold(ask.money)?;
        let of_model = HeldTokens::of(tokens, estimate, now.at).map_err(NoRoom::Book)?;
        let reserved = match &planned.decoded.caller.key.book {
            Some(key) => key.reserve(Some(app), ask, now),
            None => app.reserve(None, ask, now),
        };
        let mut reservation = reserved.map_err(NoRoom::Book)?.paying(held);
        reservation.move_to(of_model);
        Ok((reservation, calendar))
    };
    let taken = sharing::ask(planned.decoded.exchange.snapshot.counters(), take).await;
    let (reservation, at) = match taken {
        Ok(taken) => taken,
        Err(no_room) => return Err(planned.decoded.exchange.refuse(no_room.refusal())),
    };
    let opening = opening(&planned, (&reservation, at), user);
    let ledger = planned.decoded.exchange.gateway.ledger.clone();
    if let Err(error) = ledger.begin(&opening) {
        // Nothing was sent, so nothing is owed.
        let _ = reservation.not_sent();
        tracing::error!(%error, "the reservation could not be written; the request is refused");
        return Err(planned.decoded.exchange.refuse(Refusal::LedgerUnavailable));
    }
    let request = opening.request;
    let avoidable = plan::own_would_do(&planned.plan);
    let is_free = planned.decoded.call.api() == Api::CountTokens;
    let charge =
        Charge { reservation: Some(reservation), tier, is_free, may_be_sent: false, ledger, request, avoidable };
    Ok(Reserved { planned, charge })
}

fn opening(planned: &Planned, (reservation, at): (&Reservation, SystemTime), user: Option<Arc<str>>) -> Opening {
    let (exchange, caller) = (&planned.decoded.exchange, &planned.decoded.caller);
    Opening {
        request: exchange.decision.as_str().into(),
        // The stretch that it counts in must be the one in which its budget was asked.
        at_ms: milliseconds(at),
        app: Arc::clone(&caller.app.name),
        team: Arc::clone(&caller.app.team),
        key: Arc::clone(&caller.key.name),
        model: model_name(planned),
        user,
        estimate: reservation.estimate(),
        money: reservation.money(),
    }
}

/// The model that was asked for, as the configuration has its name already.
fn model_name(planned: &Planned) -> Arc<str> {
    let known = plan::model_of(&planned.decoded.exchange).map(|model| &model.name);
    let asked = planned.decoded.call.model();
    known.filter(|name| ***name == *asked).map_or_else(|| asked.into(), Arc::clone)
}

/// What an upstream says that it used, as the books count it.
fn used_of(usage: &Usage) -> Used {
    Used {
        input: Tokens(usage.input),
        output: Tokens(usage.output),
        cached_input: Tokens(usage.cached_input),
        cache_write: Tokens(usage.cache_write),
    }
}

/// Since 1970.
fn milliseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// What a request may use: each answer that it asks for may be as long as it allows. Counting tokens uses none.
fn estimate(call: &Call, most_output: Option<u64>) -> Estimate {
    if call.api() == Api::CountTokens {
        return Estimate::default();
    }
    let one = accounting::estimate(call.input_bytes(), most_output);
    Estimate { output: Tokens(one.output.0.saturating_mul(call.choices())), ..one }.bounded()
}

/// The tier that the provider will charge, as far as the request says it.
pub(super) fn tier(call: &Call) -> Tier {
    tier_of(call.service_tier())
}

/// The same of what a request says of itself.
pub(crate) fn tier_of(said: ServiceTier) -> Tier {
    match said {
        ServiceTier::Default => Tier::Standard,
        ServiceTier::Flex => Tier::Flex,
        ServiceTier::Priority => Tier::Priority,
    }
}

/// Both clocks at the arrival of a request: one for rates, and the calendar (UTC) for budgets.
pub(super) fn moment(at: Instant, calendar: SystemTime) -> Moment {
    let since = calendar.duration_since(UNIX_EPOCH).unwrap_or_default();
    let month = Day::of_seconds(since.as_secs()).month();
    let next = Day::first_of(month + 1).days().unsigned_abs() * 86_400;
    Moment { at, month, month_left: Duration::from_secs(next).saturating_sub(since) }
}

/// The calendar month, UTC, as budgets count it.
pub(crate) fn month_of(calendar: SystemTime) -> u32 {
    Day::of_seconds(calendar.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()).month()
}

impl Charge {
    /// Tokens that are held.
    pub(super) fn estimate(&self) -> Estimate {
        self.reservation.as_ref().map(Reservation::estimate).unwrap_or_default()
    }

    /// Money that is held.
    pub(super) fn held(&self) -> Money {
        self.reservation.as_ref().map(Reservation::money).unwrap_or_default()
    }

    /// From here on a model that stands in is to answer, of which these tokens are held.
    pub(super) fn move_to(&mut self, model: HeldTokens) {
        if let Some(reservation) = &mut self.reservation {
            reservation.move_to(model);
        }
    }

    /// From here on the request may be sent.
    pub(super) fn may_be_sent(&mut self) {
        self.may_be_sent = true;
    }

    /// `target` was tried and failed, or is held back by now. Where it is paid for already, what is charged elsewhere stands
    /// in for own capacity that did not serve, and could not have been avoided.
    pub(super) fn did_without(&mut self, target: &Target) {
        self.avoidable &= !target.pricing.is_sunk();
    }

    /// An attempt at `target` failed that may have been executed: it is charged at what it stated, and at the reservation
    /// where it stated nothing.
    pub(super) fn failed_attempt(&mut self, target: &Target, usage: Option<&Usage>) {
        if self.is_free {
            return;
        }
        let most = target.pricing.most(self.estimate(), self.tier);
        match (&mut self.reservation, usage.map(used_of)) {
            (Some(reservation), Some(used)) => {
                reservation.failed_attempt(used, target.pricing.cost(used, self.tier), most);
            }
            (Some(reservation), None) => reservation.lost_attempt(most),
            (None, _) => {}
        }
    }

    /// The answer came from `target` and says what it used.
    pub(super) fn settle(mut self, target: Option<&Target>, usage: &Usage) -> Settlement {
        let used = used_of(usage);
        let cost = target.and_then(|target| target.pricing.cost(used, self.tier));
        self.finish(target, |reservation| reservation.settle(used, cost))
    }

    /// The request was sent to `target`, and its usage is unknown.
    pub(super) fn settle_unknown(mut self, target: Option<&Target>) -> Settlement {
        if self.is_free {
            return self.finish(target, |reservation| reservation.settle(Used::default(), Some(Money::ZERO)));
        }
        let most = |target: &Target| target.pricing.most(self.estimate(), self.tier);
        let most = target.filter(|target| target.pricing.is_known()).map(most);
        self.finish(target, |reservation| reservation.settle_unknown(most))
    }

    /// Nothing was sent, or nothing was done.
    pub(super) fn not_sent(mut self) -> Settlement {
        self.finish(None, Reservation::not_sent)
    }

    /// Settles and writes the settlement into the books.
    fn finish(&mut self, target: Option<&Target>, settle: impl FnOnce(Reservation) -> Settlement) -> Settlement {
        let reservation =
            self.reservation.take().expect("each way to settle consumes the charge, and its drop looks first");
        let settlement = settle(reservation);
        self.ledger.settle(&Closing {
            request: Arc::clone(&self.request),
            at_ms: milliseconds(SystemTime::now()),
            target: target.map(|target| Arc::clone(&target.name)),
            settlement,
            tier: self.tier.name(),
            price: target.and_then(|target| target.price_entry.clone()),
            paid: target.map_or("unknown", |target| target.pricing.name()),
            avoidable: self.avoidable && target.is_some_and(|target| !target.pricing.is_sunk()),
        });
        settlement
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.reservation.is_none() {
            return;
        }
        if self.may_be_sent {
            self.finish(None, |reservation| reservation.settle_unknown(None));
        } else {
            self.finish(None, Reservation::not_sent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_the_tokens_of_a_message_reserves_none_and_sending_it_does() {
        let body = br#"{"model":"assistant","max_tokens":500,"messages":[{"role":"user","content":"12345678"}]}"#;
        let reserved = |api| {
            let call = wire::decode(api, None, body.as_slice().into()).expect("it is a message");
            estimate(&call, call.max_output_tokens())
        };

        assert_eq!(reserved(Api::CountTokens), Estimate::default());
        assert_eq!(reserved(Api::Messages).output, Tokens(500));
        assert!(reserved(Api::Messages).input > Tokens::ZERO);
    }

    #[test]
    fn a_request_reserves_two_million_output_tokens_at_most_for_all_its_answers() {
        let reserved = |answers: u64, each: u64| {
            let body = format!(
                r#"{{"model":"assistant","n":{answers},"max_tokens":{each},"messages":[{{"role":"user","content":"hi"}}]}}"#
            );
            let call = wire::decode(Api::Chat, None, body.into()).expect("it is a chat");
            estimate(&call, call.max_output_tokens()).output
        };

        assert_eq!(reserved(2, 999_999), Tokens(1_999_998));
        assert_eq!(reserved(2, 1_000_000), accounting::MOST_OUTPUT);
        assert_eq!(reserved(2, 1_000_001), accounting::MOST_OUTPUT);
        assert_eq!(reserved(1, 1 << 40), accounting::MOST_OUTPUT);
    }

    #[test]
    fn a_budget_begins_anew_with_the_month_in_utc() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let january = moment(Instant::now(), at(1_798_761_599)); // 2026-12-31T23:59:59Z
        let february = moment(Instant::now(), at(1_798_761_600));

        assert_eq!((january.month + 1, january.month_left), (february.month, Duration::from_secs(1)));
        assert_eq!(february.month_left, Duration::from_secs(31 * 86_400));
    }
}
