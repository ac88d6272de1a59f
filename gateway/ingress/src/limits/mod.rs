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
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use accounting::{Flow, Seats, Short};
use governor::clock::Clock;
use governor::middleware::{StateInformationMiddleware, StateSnapshot};
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
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

    /// Of a rate that several gateways share.
    fn shared(flow: &Flow) -> Option<Self> {
        let accounting::RateStanding { limit, remaining, full_in } = flow.standing()?;
        let number = |units: u64| u32::try_from(units).unwrap_or(u32::MAX);
        Some(Self { limit: number(limit), remaining: number(remaining), full_in })
    }

    fn of(after: &StateSnapshot) -> Self {
        let quota = after.quota();
        let (limit, remaining) = (quota.burst_size().get(), after.remaining_burst_capacity());
        Self { limit, remaining, full_in: quota.replenish_interval().saturating_mul(limit.saturating_sub(remaining)) }
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
    global: Arc<Room>,
    places: Vec<Place>,
    /// Where several gateways share the limits; each has its own bound on all that is in flight in it.
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
        let taken = before.map(|before| Arc::clone(&before.global.taken));
        let places = limits.into_iter().map(|limit| {
            let kept = before.and_then(|before| before.place_of(&limit.name));
            match &shared {
                Some(shared) => Place::shared(limit, kept, shared),
                None => Place::new(limit, kept),
            }
        });
        Self { global: Arc::new(Room::new(Some(in_flight), taken)), places: places.collect(), shared }
    }

    /// The limits come into force: from now on the store is asked for those that several gateways share.
    pub fn take_effect(&self) {
        if let Some(shared) = &self.shared {
            self.places.iter().for_each(|place| place.take_effect(shared));
        }
    }

    /// A place among all that are in flight, for [`Admission::admit_entered`]: whoever waits for the store has one.
    pub fn enter(&self) -> Result<Entered, Refusal> {
        let retry_after = RETRY_WHEN_BUSY;
        let global = Room::enter(&self.global).map_err(|_| Refusal::Shed { retry_after })?;
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
        let key_seat = key.map(|key| Room::enter(&key.room));
        let app_seat = app.map(|app| Room::enter(&app.room));
        let seats = [key_seat.transpose()?, app_seat.transpose()?, None];
        let standing = pace([key, app])?;
        Ok(Admitted { _global: entered.0.take(), seats, standing })
    }

    /// A place of the model with the limit `model`, for [`Admitted::and`].
    pub fn model(&self, model: LimitIndex) -> Result<OfModel, Refusal> {
        let Some(place) = self.place(model.0) else { return Ok(OfModel { seat: None, standing: None }) };
        let seat = Room::enter(&place.room)?;
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
        let rates = places.into_iter().flatten().filter_map(|place| place.users.as_ref());
        for (taken, rate) in rates.clone().enumerate() {
            rate.pace(user).inspect_err(|refusal| {
                if *refusal == Refusal::Unleased {
                    rates.clone().take(taken).for_each(|rate| rate.give_back(user));
                }
            })?;
        }
        Ok(())
    }

    /// Requests in flight, over all.
    pub fn in_flight(&self) -> u32 {
        self.global.taken.load(Ordering::Relaxed)
    }

    /// Requests in flight of one app; zero for an unknown one.
    pub fn in_flight_of(&self, app: AppIndex) -> u32 {
        self.place(app.0).map_or(0, |place| place.room.taken.load(Ordering::Relaxed))
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

/// A bound on requests in flight, and how many there are.
#[derive(Debug)]
struct Room {
    most: u32,
    taken: Arc<AtomicU32>,
    /// In place of `most` where several gateways share the bound.
    seats: Option<Arc<Seats>>,
}

/// One request in flight.
#[derive(Debug)]
struct Seat {
    room: Arc<Room>,
}

impl Room {
    fn new(most: Option<NonZeroU32>, taken: Option<Arc<AtomicU32>>) -> Self {
        Self { most: most.map_or(u32::MAX, NonZeroU32::get), taken: taken.unwrap_or_default(), seats: None }
    }

    fn enter(room: &Arc<Self>) -> Result<Seat, Refusal> {
        if let Some(seats) = &room.seats {
            seats.enter(Instant::now().into_std()).map_err(|short| match short {
                Short::Unleased => Refusal::Unleased,
                Short::Refused { retry_after } => Refusal::Busy { retry_after },
            })?;
        }
        let more = |taken: u32| (taken < room.most).then_some(taken + 1);
        let entered = room.taken.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more);
        entered.map(|_| Seat { room: Arc::clone(room) }).map_err(|_| Refusal::Busy { retry_after: RETRY_WHEN_BUSY })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.taken.fetch_sub(1, Ordering::AcqRel);
        if let Some(seats) = &self.room.seats {
            seats.leave();
        }
    }
}

/// What is counted for one limit.
#[derive(Debug)]
struct Place {
    limit: Limit,
    room: Arc<Room>,
    per_minute: Option<Pace>,
    per_second: Option<Pace>,
    users: Option<UserRates>,
}

/// A rate of requests.
#[derive(Debug, Clone)]
enum Pace {
    /// This gateway has all of it.
    Own(Arc<Rate>),
    /// Several gateways share it.
    Shared(Arc<Flow>),
}

/// The rates of users, each in the same two ways.
#[derive(Debug, Clone)]
enum UserRates {
    Own(Arc<Users>),
    Shared(Arc<SharedUsers>),
}

impl UserRates {
    fn pace(&self, user: &str) -> Result<(), Refusal> {
        match self {
            Self::Own(users) => users.pace(user),
            Self::Shared(users) => users.pace(user),
        }
    }

    /// Gives one request back that was taken a moment ago, for the same reason as [`Pace::give_back`].
    fn give_back(&self, user: &str) {
        if let Self::Shared(users) = self {
            users.give_back(user);
        }
    }
}

type Rate = RateLimiter<NotKeyed, InMemoryState, Watch, StateInformationMiddleware>;

impl Place {
    fn new(limit: Limit, kept: Option<&Self>) -> Self {
        let taken = kept.map(|kept| Arc::clone(&kept.room.taken));
        // A rate that is unchanged goes on where it was.
        let minute = kept.filter(|kept| kept.limit.requests_per_minute == limit.requests_per_minute);
        let second = kept.filter(|kept| kept.limit.requests_per_second == limit.requests_per_second);
        let users = kept.filter(|kept| kept.limit.user_requests_per_minute == limit.user_requests_per_minute);
        let rate = |quota| Pace::Own(Arc::new(RateLimiter::direct_with_clock(quota, Watch::start()).with_middleware()));
        Self {
            per_minute: match minute {
                Some(kept) => kept.per_minute.clone(),
                None => limit.requests_per_minute.map(|count| rate(Quota::per_minute(count))),
            },
            per_second: match second {
                Some(kept) => kept.per_second.clone(),
                None => limit.requests_per_second.map(|count| rate(Quota::per_second(count))),
            },
            users: match users {
                Some(kept) => kept.users.clone(),
                None => limit.user_requests_per_minute.map(|count| UserRates::Own(Arc::new(Users::new(count)))),
            },
            room: Arc::new(Room::new(limit.in_flight, taken)),
            limit,
        }
    }

    /// The same place in several gateways: its counters have the name of the limit, and so the same in each of them.
    fn shared(limit: Limit, kept: Option<&Self>, shared: &Shared) -> Self {
        let name = &limit.name;
        let flow = |kept: Option<&Option<Pace>>, count: Option<NonZeroU32>, period| {
            let flow = match kept {
                Some(Some(Pace::Shared(flow))) => Arc::clone(flow),
                _ => Arc::new(Flow::new(u64::from(count?.get()), period)),
            };
            Some(Pace::Shared(flow))
        };
        let minute = kept.filter(|kept| kept.limit.requests_per_minute == limit.requests_per_minute);
        let second = kept.filter(|kept| kept.limit.requests_per_second == limit.requests_per_second);
        let users = kept.filter(|kept| kept.limit.user_requests_per_minute == limit.user_requests_per_minute);
        let seats = kept.and_then(|kept| kept.room.seats.clone()).unwrap_or_default();
        let taken = kept.map(|kept| Arc::clone(&kept.room.taken));
        Self {
            per_minute: flow(minute.map(|kept| &kept.per_minute), limit.requests_per_minute, MINUTE),
            per_second: flow(second.map(|kept| &kept.per_second), limit.requests_per_second, SECOND),
            users: match users {
                Some(kept) => kept.users.clone(),
                None => limit
                    .user_requests_per_minute
                    .map(|count| UserRates::Shared(Arc::new(SharedUsers::new(count, name, shared.clone())))),
            },
            room: Arc::new(Room { seats: Some(seats), ..Room::new(None, taken) }),
            limit,
        }
    }

    fn rates(&self) -> (Option<&Pace>, Option<&Pace>) {
        (self.per_second.as_ref(), self.per_minute.as_ref())
    }

    /// From now on the store is asked for it.
    fn take_effect(&self, shared: &Shared) {
        let Limit { name, in_flight, .. } = &self.limit;
        if let Some(seats) = &self.room.seats {
            seats.set(in_flight.map(|most| u64::from(most.get())));
            shared.enrol(&format!("in flight {name}"), seats);
        }
        for (what, pace) in [("minute", &self.per_minute), ("second", &self.per_second)] {
            if let Some(Pace::Shared(flow)) = pace {
                shared.enrol(&format!("requests {what} {name}"), flow);
            }
        }
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// Takes one request from every rate of these places, and says how the tightest stands then.
///
/// What was taken before a rate that refuses is not given back, so the time to come back counts what those need as well.
/// What was taken before a shared rate that must be asked for is: the same request comes again.
fn pace(places: [Option<&Place>; 2]) -> Result<Option<Standing>, Refusal> {
    let [first, second] = places.map(|place| place.map(Place::rates).unwrap_or_default());
    let rates = [first.0, first.1, second.0, second.1];
    let (mut tightest, mut refilled) = (None, Duration::ZERO);
    for (taken, rate) in rates.iter().enumerate() {
        let after = match rate {
            None => continue,
            Some(Pace::Own(rate)) => take(rate, &mut refilled)?,
            Some(Pace::Shared(flow)) => take_shared(flow, refilled).inspect_err(|refusal| {
                if *refusal == Refusal::Unleased {
                    rates.iter().take(taken).flatten().for_each(|rate| rate.give_back());
                }
            })?,
        };
        tightest = tighter(tightest, after);
    }
    Ok(tightest)
}

fn take(rate: &Rate, refilled: &mut Duration) -> Result<Option<Standing>, Refusal> {
    match rate.check() {
        Ok(after) => {
            if after.remaining_burst_capacity() == 0 {
                *refilled = (*refilled).max(after.quota().replenish_interval());
            }
            Ok(Some(Standing::of(&after)))
        }
        Err(early) => {
            let retry_after = early.wait_time_from(rate.clock().now()).max(*refilled);
            Err(Refusal::TooFast { retry_after, standing: Standing::used_up(early.quota()) })
        }
    }
}

fn take_shared(flow: &Flow, refilled: Duration) -> Result<Option<Standing>, Refusal> {
    match flow.take(1, Instant::now().into_std()) {
        Ok(_) => Ok(Standing::shared(flow)),
        Err(Short::Unleased) => Err(Refusal::Unleased),
        Err(Short::Refused { retry_after }) => {
            let standing = Standing::shared(flow).unwrap_or(Standing { limit: 0, remaining: 0, full_in: retry_after });
            Err(Refusal::TooFast {
                retry_after: retry_after.max(refilled),
                standing: Standing { remaining: 0, ..standing },
            })
        }
    }
}

impl Pace {
    /// Gives one request back that was taken a moment ago. Own and shared rates never stand beside each other.
    fn give_back(&self) {
        if let Self::Shared(flow) = self {
            flow.correct(1, 0);
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
