//! Whether a request may come in now.
//!
//! [`Admission`] bounds the requests in flight, over all and for each app, key and model, and the rates at which an
//! app, a key, a user of theirs may ask, and a model be asked for. Whoever is let in holds an [`Admitted`] until the last byte of the answer is gone;
//! whoever is not is told when to come back. Nobody waits inside: a queue would only hide overload.

mod shared_users;
#[cfg(test)]
mod tests;
mod users;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use accounting::{Flow, Seats, Short, Taken};
use governor::Quota;
use governor::clock::Clock;
use governor::nanos::Nanos;
use ledger::Shared;
use tokio::time::Instant;

use crate::auth::AppIndex;
use shared_users::SharedUsers;
pub use users::MOST_USERS;
use users::Users;

/// When a caller that met too many requests in flight should come back.
///
/// Nobody knows when one of them ends. A second is short beside a model's answer, and long enough
/// that callers who obey it do not become a load of their own.
const RETRY_WHEN_BUSY: Duration = Duration::from_secs(1);

/// A limit, by its place in the list that [`Admission::new`] was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LimitIndex(pub u32);

/// What one app, one key or one model may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limit {
    /// Whose limit it is; with it, requests in flight and the rate so far outlive a reload.
    pub name: Arc<str>,
    /// Most requests in flight; `None` for no bound but the global one.
    pub in_flight: Option<NonZeroU32>,
    /// Requests per minute; `None` for no bound.
    ///
    /// So many may come at once. From then on, one more is let in each time a minute's Nth part has
    /// passed (the generic cell rate algorithm).
    pub requests_per_minute: Option<NonZeroU32>,
    /// Requests per second, in the same way; `None` for no bound.
    pub requests_per_second: Option<NonZeroU32>,
    /// Requests per minute of each user that the app names; `None` for no bound.
    pub user_requests_per_minute: Option<NonZeroU32>,
    /// Requests per second of each of them; `None` for no bound.
    pub user_requests_per_second: Option<NonZeroU32>,
}

impl Limit {
    fn most(&self) -> Option<u64> {
        self.in_flight.map(|most| u64::from(most.get()))
    }
}

/// How the rate that leaves least stands after a request took from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// So many may come at once.
    pub limit: u32,
    /// So many more may come now.
    pub remaining: u32,
    /// After this time, if none comes, all of them may.
    pub full_in: Duration,
}

impl Standing {
    /// Nothing is left.
    fn used_up(quota: Quota) -> Self {
        let limit = quota.burst_size().get();
        Self { limit, remaining: 0, full_in: quota.replenish_interval().saturating_mul(limit) }
    }

    fn of(flow: &Flow, now: std::time::Instant) -> Option<Self> {
        let accounting::RateStanding { limit, remaining, .. } = flow.standing(now)?;
        let number = |units: u64| u32::try_from(units).unwrap_or(u32::MAX);
        let (limit, remaining) = (number(limit), number(remaining));
        // In whole requests, as the two numbers beside it.
        let full_in = (flow.period() / limit.max(1)).saturating_mul(limit - remaining.min(limit));
        Some(Self { limit, remaining, full_in })
    }
}

/// Why a request is not let in, and when to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The gateway has as many requests in flight as it takes: 503 `overloaded`.
    #[error("the gateway has as many requests in flight as it takes")]
    Shed {
        /// When to come back.
        retry_after: Duration,
    },
    /// The app, or the key, has as many requests in flight as it may: 429 `rate_limit_exceeded`.
    #[error("the app has as many requests in flight as it may")]
    Busy {
        /// When to come back.
        retry_after: Duration,
    },
    /// The app, or the key, asks too often: 429 `rate_limit_exceeded`.
    #[error("the app asks more often than it may")]
    TooFast {
        /// The time after which the next request is let in, if no other comes before it.
        retry_after: Duration,
        /// How the rate stands that refused it.
        standing: Standing,
    },
    /// The part of a limit that several gateways share is used up here: after a round of the store it can be tried again.
    #[error("the part of a shared limit that lies here is used up")]
    Unleased,
}

impl Refusal {
    /// When to come back, whatever the reason.
    pub fn retry_after(self) -> Duration {
        match self {
            Self::Shed { retry_after } | Self::Busy { retry_after } | Self::TooFast { retry_after, .. } => retry_after,
            Self::Unleased => RETRY_WHEN_BUSY,
        }
    }
}

/// Lets requests in.
#[derive(Debug)]
pub struct Admission {
    /// Each gateway has its own bound on all that is in flight in it.
    global: Arc<Seats>,
    most: Option<u64>,
    places: Vec<Place>,
    /// Where several gateways share the limits.
    shared: Option<Shared>,
}

impl Admission {
    /// At most `in_flight` requests at once, over all. The first of `limits` are the apps', by
    /// their [`AppIndex`]; behind them come the limits that keys have of their own.
    pub fn new(in_flight: NonZeroU32, limits: Vec<Limit>) -> Self {
        Self::build(in_flight, limits, (None, None))
    }

    /// The same, with limits that several gateways share.
    pub fn shared(in_flight: NonZeroU32, limits: Vec<Limit>, shared: Shared) -> Self {
        Self::build(in_flight, limits, (None, Some(shared)))
    }

    /// The same gateway under new limits, for a reload.
    ///
    /// Requests in flight stay counted. A rate that is unchanged goes on where it was; one that
    /// changed begins anew.
    pub fn renewed(&self, in_flight: NonZeroU32, limits: Vec<Limit>) -> Self {
        Self::build(in_flight, limits, (Some(self), self.shared.clone()))
    }

    fn build(in_flight: NonZeroU32, limits: Vec<Limit>, (before, shared): (Option<&Self>, Option<Shared>)) -> Self {
        let most = Some(u64::from(in_flight.get()));
        let global = before.map_or_else(|| own_seats(most), |before| Arc::clone(&before.global));
        let places = limits.into_iter().map(|limit| {
            let kept = before.and_then(|before| before.place_of(&limit.name));
            Place::new(limit, kept, shared.as_ref())
        });
        Self { places: places.collect(), global, most, shared }
    }

    /// The limits come into force: from now on these counters are kept by whoever asks for the parts of those that are shared.
    pub fn take_effect(&self, counters: &Shared) {
        self.global.set(self.most);
        self.places.iter().for_each(|place| place.take_effect(counters));
    }

    /// A place among all that are in flight, for [`Admission::admit_entered`]: whoever waits for the store has one.
    pub fn enter(&self) -> Result<Entered, Refusal> {
        let retry_after = RETRY_WHEN_BUSY;
        let global = enter(&self.global).map_err(|_| Refusal::Shed { retry_after })?;
        Ok(Entered(Some(global)))
    }

    /// Lets one request of `app` in, and of the key with the limit `key` if it has one.
    ///
    /// A request that is refused for the requests in flight does not count towards the rate.
    pub fn admit(&self, app: AppIndex, key: Option<LimitIndex>) -> Result<Admitted, Refusal> {
        self.admit_entered(&mut self.enter()?, app, key)
    }

    /// The same for a request that has its place among all. One that is refused keeps that place, to try again with it.
    pub fn admit_entered(
        &self,
        entered: &mut Entered,
        app: AppIndex,
        key: Option<LimitIndex>,
    ) -> Result<Admitted, Refusal> {
        let key = key.and_then(|key| self.place(key.0));
        let app = self.place(app.0);
        let key_seat = key.map(|key| enter(&key.seats));
        let app_seat = app.map(|app| enter(&app.seats));
        let seats = [key_seat.transpose()?, app_seat.transpose()?, None];
        let standing = pace([key, app])?;
        Ok(Admitted { _global: entered.0.take(), seats, standing })
    }

    /// A place of the model with the limit `model`, for [`Admitted::and`].
    pub fn model(&self, model: LimitIndex) -> Result<OfModel, Refusal> {
        let Some(place) = self.place(model.0) else { return Ok(OfModel { seat: None, standing: None }) };
        let seat = enter(&place.seats)?;
        let standing = pace([Some(place), None])?;
        Ok(OfModel { seat: Some(seat), standing })
    }

    /// The same for a request that goes on to another model, whose place it takes in exchange for the one that it had. One that
    /// is refused keeps what it had.
    pub fn move_to(&self, admitted: &mut Admitted, model: LimitIndex) -> Result<(), Refusal> {
        let OfModel { seat, standing } = self.model(model)?;
        admitted.seats[2] = seat;
        admitted.standing = tighter(admitted.standing, standing);
        Ok(())
    }

    /// Lets one request for `user` in, as the app names its users.
    pub fn admit_user(&self, app: AppIndex, key: Option<LimitIndex>, user: &str) -> Result<(), Refusal> {
        let places = [key.and_then(|key| self.place(key.0)), self.place(app.0)];
        let rates = places.into_iter().flatten().flat_map(|place| place.users.iter().flatten());
        let mut refilled = Duration::ZERO;
        for (taken, rate) in rates.clone().enumerate() {
            rate.pace(user, &mut refilled).inspect_err(|refusal| {
                if *refusal == Refusal::Unleased {
                    rates.clone().take(taken).for_each(|rate| rate.give_back(user));
                }
            })?;
        }
        Ok(())
    }

    /// Requests in flight, over all.
    pub fn in_flight(&self) -> u32 {
        self.global.taken()
    }

    /// Requests in flight of one app; zero for an unknown one.
    pub fn in_flight_of(&self, app: AppIndex) -> u32 {
        self.place(app.0).map_or(0, |place| place.seats.taken())
    }

    fn place(&self, index: u32) -> Option<&Place> {
        self.places.get(usize::try_from(index).ok()?)
    }

    fn place_of(&self, name: &str) -> Option<&Place> {
        self.places.iter().find(|place| &*place.limit.name == name)
    }
}

/// A place among all that are in flight, of a request that nothing else has let in yet.
#[derive(Debug)]
#[must_use = "the place is given up when this is dropped"]
pub struct Entered(Option<Seat>);

/// The proof that a request was let in, and its place among those in flight.
///
/// It must be kept until the last byte of the answer is gone: a stream whose head was sent is still
/// a request in flight. Only [`Admission::admit`] makes one:
///
/// ```
/// # use std::num::NonZeroU32;
/// use ingress::auth::AppIndex;
/// use ingress::limits::{Admission, Admitted};
///
/// let admission = Admission::new(NonZeroU32::MIN, Vec::new());
/// let admitted: Admitted = admission.admit(AppIndex(0), None).expect("it is the first");
/// ```
///
/// Nobody else can, not even from its parts:
///
/// ```compile_fail,E0451
/// use ingress::limits::Admitted;
///
/// fn forge(admitted: Admitted) -> Admitted {
///     Admitted { ..admitted }
/// }
/// ```
#[derive(Debug)]
#[must_use = "the place is given up when this is dropped"]
pub struct Admitted {
    _global: Option<Seat>,
    /// Of the key, the app and the model.
    seats: [Option<Seat>; 3],
    standing: Option<Standing>,
}

/// A place among those that ask for a model.
#[derive(Debug)]
#[must_use = "the place is given up when this is dropped"]
pub struct OfModel {
    seat: Option<Seat>,
    standing: Option<Standing>,
}

impl Admitted {
    /// The same request, let in to a model as well.
    pub fn and(mut self, model: OfModel) -> Self {
        self.seats[2] = model.seat;
        self.standing = tighter(self.standing, model.standing);
        self
    }

    /// How the rate that leaves least stands; `None` where there is none.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        self.standing
    }
}

/// One request in flight.
#[derive(Debug)]
struct Seat {
    of: Arc<Seats>,
}

fn own_seats(most: Option<u64>) -> Arc<Seats> {
    let seats = Seats::own();
    seats.set(most);
    Arc::new(seats)
}

fn enter(seats: &Arc<Seats>) -> Result<Seat, Refusal> {
    match seats.enter(Instant::now().into_std()) {
        Ok(()) => Ok(Seat { of: Arc::clone(seats) }),
        Err(Short::Unleased) => Err(Refusal::Unleased),
        Err(Short::Refused { retry_after }) => Err(Refusal::Busy { retry_after }),
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.of.leave();
    }
}

/// What is counted for one limit.
#[derive(Debug)]
struct Place {
    limit: Limit,
    seats: Arc<Seats>,
    per_minute: Option<Arc<Flow>>,
    per_second: Option<Arc<Flow>>,
    /// By the second, and by the minute.
    users: [Option<UserRates>; 2],
}

/// The rates of users, of this gateway or of several.
#[derive(Debug, Clone)]
enum UserRates {
    Own(Arc<Users>),
    Shared(Arc<SharedUsers>),
}

impl UserRates {
    fn pace(&self, user: &str, refilled: &mut Duration) -> Result<(), Refusal> {
        match self {
            Self::Own(users) => users.pace(user, refilled),
            Self::Shared(users) => users.pace(user, refilled),
        }
    }

    /// Gives one request back that was taken a moment ago, for the same reason as in [`pace`].
    fn give_back(&self, user: &str) {
        if let Self::Shared(users) = self {
            users.give_back(user);
        }
    }
}

impl Place {
    /// Where several gateways share it, its counters have the name of the limit, and so the same in each of them.
    fn new(limit: Limit, kept: Option<&Self>, shared: Option<&Shared>) -> Self {
        let flow = |kept: Option<&Option<Arc<Flow>>>, count: Option<NonZeroU32>, period| {
            // A rate that is unchanged goes on where it was.
            let new = || if shared.is_some() { Flow::default() } else { Flow::own(Instant::now().into_std()) };
            let flow = kept.cloned().flatten().or_else(|| Some(Arc::new(new())).filter(|_| count.is_some()))?;
            flow.set(count.map(|count| u64::from(count.get())), period);
            Some(flow)
        };
        let minute = kept.filter(|kept| kept.limit.requests_per_minute == limit.requests_per_minute);
        let second = kept.filter(|kept| kept.limit.requests_per_second == limit.requests_per_second);
        let users = |place: usize, of: fn(&Limit) -> Option<NonZeroU32>, period| {
            let kept = kept.filter(|kept| of(&kept.limit) == of(&limit));
            let new = |count| match shared {
                Some(shared) => {
                    UserRates::Shared(Arc::new(SharedUsers::new((count, period), &limit.name, shared.clone())))
                }
                None => UserRates::Own(Arc::new(Users::new(count, period))),
            };
            kept.map_or_else(|| of(&limit).map(new), |kept| kept.users[place].clone())
        };
        let users = [
            users(0, |limit| limit.user_requests_per_second, SECOND),
            users(1, |limit| limit.user_requests_per_minute, MINUTE),
        ];
        let most = limit.most();
        let new_seats = || if shared.is_some() { Arc::new(Seats::default()) } else { own_seats(most) };
        Self {
            per_minute: flow(minute.map(|kept| &kept.per_minute), limit.requests_per_minute, MINUTE),
            per_second: flow(second.map(|kept| &kept.per_second), limit.requests_per_second, SECOND),
            users,
            seats: kept.map_or_else(new_seats, |kept| Arc::clone(&kept.seats)),
            limit,
        }
    }

    fn rates(&self) -> (Option<&Arc<Flow>>, Option<&Arc<Flow>>) {
        (self.per_second.as_ref(), self.per_minute.as_ref())
    }

    fn take_effect(&self, counters: &Shared) {
        let name = &self.limit.name;
        self.seats.set(self.limit.most());
        counters.enrol(&format!("in flight {name}"), &self.seats);
        for (what, flow) in [("minute", &self.per_minute), ("second", &self.per_second)] {
            if let Some(flow) = flow {
                counters.enrol(&format!("requests {what} {name}"), flow);
            }
        }
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// Takes one request from every rate of these places, and says how the tightest stands then.
///
/// What was taken before a rate that refuses is not given back, so the time to come back counts what those need as well: `refilled`
/// is when each of them has one again.
/// What was taken before a shared rate that must be asked for is: the same request comes again.
fn pace(places: [Option<&Place>; 2]) -> Result<Option<Standing>, Refusal> {
    let [first, second] = places.map(|place| place.map(Place::rates).unwrap_or_default());
    let (mut tightest, mut refilled) = (None, Duration::ZERO);
    let now = Instant::now().into_std();
    let mut taken: [Option<(&Flow, Taken)>; 4] = [None; 4];
    for (flow, taken_of) in [first.0, first.1, second.0, second.1].into_iter().zip(0..) {
        let Some(flow) = flow else { continue };
        let (units, after) = take(flow, &mut refilled, now).inspect_err(|refusal| {
            if *refusal == Refusal::Unleased {
                taken.into_iter().flatten().for_each(|(flow, units)| flow.give_back(units));
            }
        })?;
        taken[taken_of] = Some((flow, units));
        tightest = tighter(tightest, after);
    }
    Ok(tightest)
}

fn take(flow: &Flow, refilled: &mut Duration, now: std::time::Instant) -> Result<(Taken, Option<Standing>), Refusal> {
    match flow.take(1, now) {
        Ok(taken) => {
            let after = Standing::of(flow, now);
            // Of a shared one the rest may be with others.
            if let Some(Standing { limit, remaining: 0, .. }) = after
                && flow.is_own()
            {
                *refilled = (*refilled).max(flow.period() / limit.max(1));
            }
            Ok((taken, after))
        }
        Err(Short::Unleased) => Err(Refusal::Unleased),
        Err(Short::Refused { retry_after }) => {
            let standing = Standing::of(flow, now).unwrap_or(Standing { limit: 0, remaining: 0, full_in: retry_after });
            Err(Refusal::TooFast {
                retry_after: retry_after.max(*refilled),
                standing: Standing { remaining: 0, ..standing },
            })
        }
    }
}

fn tighter(one: Option<Standing>, other: Option<Standing>) -> Option<Standing> {
    match (one, other) {
        (Some(one), Some(other)) if other.remaining < one.remaining => Some(other),
        (Some(one), _) => Some(one),
        (None, other) => other,
    }
}

/// tokio's clock, so that tests can pause it and one clock times all.
#[derive(Debug, Clone)]
struct Watch {
    started: Instant,
}

impl Watch {
    fn start() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock for Watch {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.started.elapsed())
    }
}
