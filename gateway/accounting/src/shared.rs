//! What several gateways share: each leases a part of every limit from one store, so that a request rarely waits for it.
//!
//! There are two kinds. A *flow* is a rate: what is taken comes back by itself with time, so the store keeps one bucket and
//! hands out units of it ([`Flow`]). A *level* is something that is held and given back, requests in flight, or used up
//! within a month, money: the store keeps what each gateway may go up to, and until when ([`Seats`], and [`crate::Purse`], of
//! every book and budget).
//!
//! **Promises.** What is let in here was taken out of the store before. A part is good for a bounded time, counted from
//! before it was asked for, so that it ends here before it ends in the store. At most [`part_of`] a limit lies here unused, and of
//! a level at most twice what came lately; of a flow at most twice what came lately is asked for, and what lies here stays, up to
//! a part, while requests come. Where little is left of a level, nothing lies here. What an answer used beyond its reservation is
//! owed to the store until it was told.
//!
//! A counter may change: a gateway that is alone has all of it, and asks nobody; beside another one it [shares](Counter::share) it,
//! and has it for itself again ([`Counter::own`]) when the other is gone.
//!
//! **Does not do.** No I/O and no clock: whoever keeps a [`Counter`] asks its questions and tells it the answers.

mod flow;
mod lease;
mod pace;
#[cfg(test)]
mod simulation;

use std::fmt::Debug;
use std::time::{Duration, Instant};

pub use flow::Flow;
pub use lease::Seats;
pub(crate) use lease::{Lease, Wanted};
use pace::Pace;

/// How long a part of a level is good here; in the store it lives half a second longer.
pub const GOOD_FOR: Duration = Duration::from_millis(2_500);

/// How long the store's refusal is believed without asking again. Others give back earlier than they said.
const BELIEVED: Duration = Duration::from_millis(100);

/// The most of a limit that one gateway holds ahead of need: a thirty-second, and one at least.
#[must_use]
pub const fn part_of(limit: u64) -> u64 {
    if limit < 64 { 1 } else { limit / 32 }
}

/// Ahead of need: twice what came lately, and at most a part. Of a limit that is too small for parts nothing is.
fn ahead_of(limit: u64, lately: u64) -> u64 {
    match part_of(limit) {
        1 => 0,
        part => part.min(lately.saturating_mul(2)),
    }
}

/// Rings when a counter wants the store to be asked. It is called from wherever a request is.
pub type Bell = Box<dyn Fn() + Send + Sync>;

/// Something that is leased from the store.
pub trait Counter: Debug + Send + Sync {
    /// From now on this bell is rung. Only the first one counts.
    fn ring_by(&self, bell: Bell);

    /// What the store is to be asked at this moment; nothing where there is nothing to ask.
    fn questions(&self, now: Instant) -> Vec<Question>;

    /// What came of one question that was sent at `sent_at`; no answer where the store did not say.
    fn learn(&self, question: &Question, answer: Option<Answer>, sent_at: Instant);

    /// The store has lost its memory: what it was told is to be told again.
    fn tell_again(&self);

    /// Whether it is to be looked at again soon, because it holds a part.
    fn is_busy(&self) -> bool;

    /// Somebody shares it from now on: only what is leased is used, and what was used before is told with the next question.
    fn share(&self);

    /// Nobody shares it any more: all of it is this gateway's, but for what the others have left used.
    fn own(&self, left: &Left, now: Instant);

    /// What the others have used as far as it is known here, where the store cannot say any more.
    fn last_known(&self) -> Left;
}

/// What others have used of a counter who are gone, for the one that has it for itself from then on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Of a flow: how long it takes until all that is used of its bucket, by this gateway too, has come back; nothing where nobody
    /// has asked for it. A time and no units, since the others may have had another limit.
    pub flow: Option<Duration>,
    /// Of a level that is used up for good, by the number of the month: what it is to be taken for.
    pub levels: Vec<(u32, u64)>,
}

impl Left {
    /// Takes over what somebody else said of those months of which this says that nothing is used.
    ///
    /// Whoever says that something is has begun from the same ledger: the two are not added.
    pub fn add_months_of(&mut self, other: Self) {
        for (month, used) in other.levels {
            match self.levels.iter_mut().find(|(known, _)| *known == month) {
                Some((_, known)) if *known == 0 => *known = used,
                Some(_) => {}
                None => self.levels.push((month, used)),
            }
        }
    }
}

/// What the store is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Of a flow.
    Flow {
        /// Units that fit at once, and that come back within `period`.
        limit: u64,
        /// The time in which all of them come back.
        period: Duration,
        /// Units that were used beyond what was taken; negative for what was taken and not used.
        owed: i64,
        /// Fewer than these are of no use.
        least: u64,
        /// More than these are not wanted.
        most: u64,
    },
    /// Of a level.
    Level {
        /// The month that it counts; none where it is no matter of months.
        month: Option<u32>,
        /// The most that all together may come to.
        limit: u64,
        /// What is taken here now. The store does not argue with it.
        used: u64,
        /// The part of it that stays when this gateway is gone.
        kept: u64,
        /// The part of that which is used up for good.
        spent: u64,
        /// What is gone up to until the answer is there: the store gives nothing of it to others meanwhile.
        holds: u64,
        /// What is wanted to go up to for the smallest request that waits: less is of no use to anybody here.
        least: u64,
        /// And for all requests that wait.
        need: u64,
        /// And ahead of need.
        want: u64,
    },
}

/// What the store says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Of a flow.
    Flow {
        /// Units that may be used.
        granted: u64,
        /// Units that are left in the store.
        left: u64,
        /// When the least that was asked for will be there, if it was not.
        wait: Duration,
    },
    /// Of a level.
    Level {
        /// What may be gone up to.
        ceiling: u64,
        /// What the others may come to.
        others: u64,
        /// What of that is used up for good.
        spent: u64,
    },
}

/// Why nothing was let in here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Short {
    /// The part that lies here is used up, or its time is over: the store is asked, and then it can be tried again.
    Unleased,
    /// The store said no.
    Refused {
        /// When it may say yes.
        retry_after: Duration,
    },
}
