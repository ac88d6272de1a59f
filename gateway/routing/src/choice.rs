//! The choice: for each permitted target whether it would do, and why, and in which order they are tried.
//!
//! There are no weights. Own capacity is paid for whether used or not, so it serves whatever it can serve in time; what
//! it cannot goes to the cheapest target that can. One group comes before the other, and within a group one number
//! decides.

use std::cmp::Ordering;
use std::fmt;
use std::time::{Duration, Instant};

use accounting::Tokens;

use crate::ask::{Ask, Burst, Class, DEFAULT_DEADLINE, Knobs, Prefer};
use crate::calibration::Tightness;
use crate::health::Standing;
use crate::outlook::{Left, Outlook};
use crate::signals::Paid;

/// What is wanted for one request.
#[derive(Clone, Copy, Debug)]
pub struct Demand<'a> {
    /// The request.
    pub ask: &'a Ask,
    /// What its model's configuration wants.
    pub knobs: &'a Knobs,
    /// How tight the model's targets are held at present.
    pub tightness: Tightness,
    /// The time of the decision.
    pub now: Instant,
}

/// The part of a batch request's deadline after which it goes out, wherever that may be.
pub const BATCH_LATEST: f64 = 0.9;

/// Batch requests go to own capacity while the first token would come within this part of the interactive target: the
/// rest is kept for those who wait.
pub const BATCH_SLACK: f64 = 0.35;

/// How much sooner another server must be before a session leaves its home, as a part of the first-token target.
const HOME: f64 = 0.05;

/// How often what other gateways may have sent meanwhile counts against a server: their requests come in bunches, and
/// all of them choose by the same report. In the simulation with eight gateways this gains 0.3 % of the requests for 1 %
/// more money.
const DOUBTS: u32 = 3;

/// The first-token target that slack and homes are measured by where the model has none.
const NOMINAL: Duration = Duration::from_secs(1);

/// The reason for a place in the plan; [`fmt::Display`] says it to a person.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Why {
    /// Healthy, at its declared place: nothing else is known.
    Declared,
    /// It has a share of the traffic, and this request falls into it.
    Share {
        /// Percent.
        percent: u8,
    },
    /// It costs nothing more, and its first token comes in time.
    InTime {
        /// When it is expected.
        first_token: Duration,
        /// What remains of the target; nothing where there is none.
        within: Option<Duration>,
        /// It is the session's home, and so much of the prompt need not be read there again.
        home: Option<Tokens>,
    },
    /// It costs money and would do.
    Affordable {
        /// Dollars; nothing where the price is unknown.
        price: Option<f64>,
        /// When the first token comes, in 95 of 100 cases; nothing where nobody knows yet.
        first_token: Option<Duration>,
        /// What its quota leaves.
        quota: Option<Tokens>,
        /// It is the session's home, and so much of the prompt is cached there.
        home: Option<Tokens>,
    },
    /// Its first token would come too late.
    TooSlow {
        /// When it is expected.
        first_token: Duration,
        /// What remains of the target.
        within: Duration,
    },
    /// Its streams are too slow now.
    SlowPace {
        /// Time that they take for a token.
        per_token: Duration,
        /// What they may take.
        within: Duration,
    },
    /// Nobody waits for this request, and it can wait for something better.
    CanWait {
        /// For so long.
        at_most: Duration,
    },
    /// It takes a share of the traffic, and this request does not fall into it.
    OutOfShare,
    /// Its quota does not suffice.
    QuotaShort {
        /// Tokens left, where that is known.
        left: Option<Tokens>,
        /// When it will suffice, where that is known.
        wait: Option<Duration>,
    },
    /// It serves as many requests as it may, or its provisioned throughput is used up.
    Full,
    /// Half-open: this request may be its probe.
    Probe,
    /// Ejected, but more than half of the targets are, and this one for longest.
    Spared,
    /// Behind the others: it asked for time.
    Blocked,
    /// Last: it failed too often in a row.
    Ejected,
    /// Last: its probe was on its way when the plan was made.
    Probing,
    /// Last: its probe was taken by another request before this one came to it.
    ProbeTaken,
    /// Never tried: it charges by the token, and the model's `burst` is `never`.
    NoBurst,
}

/// Where a target stands in the order; the smaller goes first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rank {
    pub(crate) group: Group,
    number: f64,
    time: Option<Instant>,
    declared: usize,
}

/// One comes before the other, whatever the numbers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    Share,
    Own,
    Provisioned,
    Paid,
    CanWait,
    LeastBad,
    OutOfShare,
    WouldRefuse,
    Blocked,
    Ejected,
    Never,
}

impl Group {
    /// A target of this group would do.
    pub(crate) fn would_do(self) -> bool {
        self <= Self::Paid
    }
}

impl Rank {
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        (self.group.cmp(&other.group))
            .then(self.number.total_cmp(&other.number))
            .then(self.time.cmp(&other.time))
            .then(self.declared.cmp(&other.declared))
    }

    pub(crate) fn last(declared: usize) -> Self {
        Self { group: Group::Ejected, number: f64::MAX, time: None, declared }
    }
}

/// What holds for all targets of one request.
pub(crate) struct Judge<'a> {
    demand: Option<&'a Demand<'a>>,
    /// Own capacity is among the permitted targets.
    has_own: bool,
    /// What remains of the first-token target, for own capacity and for others.
    own_within: Option<Duration>,
    within: Option<Duration>,
    /// How long the request may still wait for a better moment, where nobody waits for it.
    can_wait: Duration,
    /// Where in the shares this request falls, in percent.
    drawn: f64,
    shared: f64,
}

impl<'a> Judge<'a> {
    /// Without a demand nothing but health and the declared order counts.
    pub(crate) fn new(demand: Option<&'a Demand<'a>>, has_own: bool) -> Self {
        let mut judge =
            Self { demand, has_own, own_within: None, within: None, can_wait: Duration::ZERO, drawn: 0.0, shared: 0.0 };
        let Some(Demand { ask, knobs, tightness, .. }) = demand else { return judge };
        judge.drawn = f64::from(ask.draw) / (f64::from(u32::MAX) + 1.0) * 100.0;
        // A batch request has waited because it could, and not because somebody was slow.
        let waited = if ask.class == Class::Batch { Duration::ZERO } else { ask.waited };
        judge.within = knobs.first_token.map(|target| target.saturating_sub(waited));
        judge.own_within = knobs.first_token.map(|target| target.mul_f64(tightness.first_token).saturating_sub(waited));
        // Without own capacity there is none to become free: waiting would only hold the request.
        if ask.class == Class::Batch && has_own {
            judge.can_wait = batch_latest(knobs).saturating_sub(ask.waited);
            if !judge.can_wait.is_zero() {
                judge.own_within = judge.own_within.map(|within| within.mul_f64(BATCH_SLACK));
            }
        }
        judge
    }

    /// The reason and the rank of one target; `spared` says that its ejection does not count. Call it in declared order.
    pub(crate) fn rule(&mut self, outlook: &Outlook, declared: usize, spared: bool) -> (Why, Rank) {
        let (why, group, number, time) = self.verdict(outlook, declared, spared);
        (why, Rank { group, number, time, declared })
    }

    fn verdict(&mut self, outlook: &Outlook, declared: usize, spared: bool) -> (Why, Group, f64, Option<Instant>) {
        let in_share = self.draws(outlook.share);
        if self.is_barred(outlook) {
            return (Why::NoBurst, Group::Never, 0.0, None);
        }
        match outlook.standing {
            Standing::Blocked { until } => return (Why::Blocked, Group::Blocked, 0.0, Some(until)),
            Standing::Ejected { since, .. } if !spared => return (Why::Ejected, Group::Ejected, 0.0, Some(since)),
            Standing::Probing { since } if !spared => return (Why::Probing, Group::Ejected, 0.0, Some(since)),
            _ => {}
        }
        let (mut why, mut group, number) = self.fit(outlook, declared);
        match (outlook.share, in_share) {
            (Some(percent), true) if group != Group::WouldRefuse => {
                (why, group) = (Why::Share { percent }, Group::Share);
            }
            (Some(_), false) if group < Group::OutOfShare => (why, group) = (Why::OutOfShare, Group::OutOfShare),
            _ => {}
        }
        if group.would_do() {
            match outlook.standing {
                Standing::HalfOpen => why = Why::Probe,
                Standing::Ejected { .. } | Standing::Probing { .. } => why = Why::Spared,
                Standing::Healthy | Standing::Blocked { .. } => {}
            }
        }
        (why, group, number, None)
    }

    /// Whether this request falls into the share of a target; the shares lie beside one another in declared order.
    fn draws(&mut self, share: Option<u8>) -> bool {
        let Some(share) = share else { return false };
        let from = self.shared;
        self.shared += f64::from(share.min(100));
        (from..self.shared).contains(&self.drawn)
    }

    /// With `burst = "never"` only own capacity serves, where the permit covers any. A permit without any is no burst.
    fn is_barred(&self, outlook: &Outlook) -> bool {
        let never = self.demand.is_some_and(|demand| demand.knobs.burst == Burst::Never);
        never && self.has_own && !outlook.paid.is_sunk()
    }

    /// Whether the target would do, health aside, and its number within its group.
    fn fit(&self, outlook: &Outlook, declared: usize) -> (Why, Group, f64) {
        let Some(demand) = self.demand else { return (Why::Declared, Group::Own, 0.0) };
        let first = outlook.first_token.unwrap_or_default();
        if outlook.full {
            return (Why::Full, Group::WouldRefuse, 0.0);
        }
        if let Left::Short { tokens, wait } = outlook.quota {
            let number = wait.map_or(f64::MAX, |wait| wait.as_secs_f64());
            return (Why::QuotaShort { left: tokens, wait }, Group::WouldRefuse, number);
        }
        let own = outlook.paid == Paid::Sunk;
        let within = if own { self.own_within } else { self.within };
        let late = within.filter(|within| first + outlook.doubt * DOUBTS > *within);
        let slow = self.slow_pace(outlook, demand).filter(|_| own);
        let waits = !self.can_wait.is_zero() && (late.is_some() || slow.is_some() || !outlook.paid.is_sunk());
        if waits {
            return (Why::CanWait { at_most: self.can_wait }, Group::CanWait, first.as_secs_f64());
        }
        if let Some(within) = late {
            return (Why::TooSlow { first_token: first, within }, Group::LeastBad, first.as_secs_f64());
        }
        if let Some((per_token, within)) = slow {
            return (Why::SlowPace { per_token, within }, Group::LeastBad, first.as_secs_f64());
        }
        self.fits(outlook, within, (demand, declared))
    }

    fn fits(
        &self,
        outlook: &Outlook,
        within: Option<Duration>,
        (demand, declared): (&Demand<'_>, usize),
    ) -> (Why, Group, f64) {
        let soonest = outlook.typical.or(outlook.first_token).unwrap_or_default().as_secs_f64();
        let sooner = demand.knobs.first_token.unwrap_or(NOMINAL).as_secs_f64() * HOME;
        let soonest = if outlook.home { soonest - sooner } else { soonest };
        let soonest = soonest + outlook.doubt.as_secs_f64() * scatter(demand.ask.draw, declared);
        let home = outlook.as_home();
        let (why, group, number) = match (outlook.paid, outlook.first_token) {
            (Paid::Sunk, Some(first_token)) => (Why::InTime { first_token, within, home }, Group::Own, soonest),
            (Paid::Sunk, None) => (Why::Declared, Group::Own, 0.0),
            (Paid::Provisioned, first) => {
                let first_token = first.unwrap_or_default();
                (Why::InTime { first_token, within, home }, Group::Provisioned, soonest)
            }
            (Paid::PerToken | Paid::Unpriced, first_token) => {
                let (price, quota) = (outlook.price, outlook.quota.tokens());
                (Why::Affordable { price, first_token, quota, home }, Group::Paid, price.unwrap_or(f64::MAX))
            }
        };
        match demand.knobs.prefer {
            Prefer::Cost => (why, group, number),
            Prefer::Latency => (why, Group::Own, soonest),
        }
    }

    /// The pace of a server that is slower than it may be. A pace that is not known is not slow.
    fn slow_pace(&self, outlook: &Outlook, demand: &Demand<'_>) -> Option<(Duration, Duration)> {
        demand.knobs.first_token?;
        let within = demand.knobs.per_token.mul_f64(demand.tightness.per_token);
        outlook.per_token.filter(|per_token| *per_token > within).map(|per_token| (per_token, within))
    }
}

/// A number from 0 to 2 that differs between gateways, requests and targets.
///
/// Gateways that hear the same report would all send to the same server until the next one. What each adds at random, as
/// much as it does not know, spreads them.
fn scatter(draw: u32, declared: usize) -> f64 {
    let mixed = (u64::from(draw) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_mul(2 * declared as u64 + 3);
    (mixed >> 40) as f64 / f64::from(1_u32 << 23)
}

/// How long a batch request may wait in all.
pub(crate) fn batch_latest(knobs: &Knobs) -> Duration {
    knobs.deadline.unwrap_or(DEFAULT_DEADLINE).mul_f64(BATCH_LATEST)
}

impl Why {
    /// Writes it as a person reads it, into a string without the machinery of formats: every record has it for every target.
    ///
    /// # Errors
    ///
    /// Those of `out`; a string has none.
    pub fn write(&self, out: &mut impl fmt::Write) -> fmt::Result {
        match *self {
            Self::Declared => out.write_str("healthy, in declared order"),
            Self::Share { percent } => write!(out, "this request falls into its share of {percent} %"),
            Self::InTime { first_token, within, home } => {
                write_time(out, "first token in ", first_token)?;
                if let Some(within) = within {
                    write_time(out, ", within ", within)?;
                }
                write_home(out, home)
            }
            Self::Affordable { price, first_token, quota, home } => {
                write_affordable(out, price, first_token)?;
                if let Some(quota) = quota {
                    write_tokens(out, ", quota ", quota)?;
                    out.write_str(" tokens left")?;
                }
                write_home(out, home)
            }
            Self::TooSlow { first_token, within } => {
                write_time(out, "first token in ", first_token)?;
                write_time(out, ", over ", within)
            }
            Self::SlowPace { per_token, within } => {
                write_time(out, "its streams take ", per_token)?;
                write_time(out, " a token, over ", within)
            }
            Self::CanWait { at_most } => write_time(out, "nobody waits, and there is time for ", at_most),
            Self::OutOfShare => out.write_str("this request does not fall into its share"),
            Self::QuotaShort { left, wait } => write_quota_short(out, left, wait),
            Self::Full => out.write_str("it serves as many requests as it may"),
            Self::Probe => out.write_str("half-open, this request may be the probe"),
            Self::Spared => out.write_str("ejected, but more than half of the targets are"),
            Self::Blocked => out.write_str("blocked after a 429"),
            Self::Ejected => out.write_str("ejected after failures in a row"),
            Self::Probing => out.write_str("ejected, a probe is on its way"),
            Self::ProbeTaken => out.write_str("ejected, another request took the probe"),
            Self::NoBurst => out.write_str("it charges by the token, and `burst` is `never`"),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f)
    }
}

fn write_affordable(out: &mut impl fmt::Write, price: Option<f64>, first_token: Option<Duration>) -> fmt::Result {
    match price {
        Some(price) => write_price(out, "", price)?,
        None => out.write_str("at an unknown price")?,
    }
    match first_token {
        Some(first_token) => {
            write_time(out, ", first token in ", first_token)?;
            out.write_str(" (p95)")
        }
        None => out.write_str(", first token not known yet"),
    }
}

/// Where the session is kept, and what for.
fn write_home(out: &mut impl fmt::Write, home: Option<Tokens>) -> fmt::Result {
    match home {
        None => Ok(()),
        Some(Tokens::ZERO) => out.write_str("; the session's home"),
        Some(cached) => {
            write_tokens(out, "; the session's home, with about ", cached)?;
            out.write_str(" tokens of its prompt cached")
        }
    }
}

fn write_quota_short(out: &mut impl fmt::Write, left: Option<Tokens>, wait: Option<Duration>) -> fmt::Result {
    out.write_str("its quota does not suffice")?;
    if let Some(left) = left {
        write_tokens(out, ", ", left)?;
        out.write_str(" tokens left")?;
    }
    wait.map_or(Ok(()), |wait| write_time(out, ", enough in ", wait))
}

/// Writes `before` and a time as people read it: `0.41 s`.
pub(crate) fn write_time(out: &mut impl fmt::Write, before: &str, time: Duration) -> fmt::Result {
    out.write_str(before)?;
    // In whole numbers: it is written for every target of every request, and a float takes several times as long.
    // Half a hundredth is rounded down.
    let of_second = u64::from((time.subsec_nanos() + 4_999_999) / 10_000_000);
    match time.as_secs().checked_mul(100).and_then(|whole| whole.checked_add(of_second)) {
        Some(hundredths) => write_decimal::<2>(out, hundredths)?,
        None => {
            let hundredths = (time.as_nanos() + 4_999_999) / 10_000_000;
            write!(out, "{}.{:02}", hundredths / 100, hundredths % 100)?;
        }
    }
    out.write_str(" s")
}

/// Writes `before` and a price as people read it: `$0.0013`.
pub(crate) fn write_price(out: &mut impl fmt::Write, before: &str, price: f64) -> fmt::Result {
    out.write_str(before)?;
    if price >= 1.0 {
        return write!(out, "${price:.2}");
    }
    let scaled = price * 10_000.0;
    let rest = scaled - scaled.floor();
    // Which way a half is rounded is seen in digits that the product has lost; such a price, and what is none, is left to
    // the formatter, which takes several times as long.
    if price.is_sign_negative() || !(0.0..1.0).contains(&price) || (rest - 0.5).abs() < 1e-6 {
        return write!(out, "${price:.4}");
    }
    out.write_str("$")?;
    write_decimal::<4>(out, scaled.floor() as u64 + u64::from(rest > 0.5))
}

/// Writes `before` and a number of tokens.
pub(crate) fn write_tokens(out: &mut impl fmt::Write, before: &str, tokens: Tokens) -> fmt::Result {
    out.write_str(before)?;
    write_decimal::<0>(out, tokens.0)
}

/// Writes a number of parts of ten to the power of `PLACES`, with so many digits behind the point.
fn write_decimal<const PLACES: usize>(out: &mut impl fmt::Write, mut parts: u64) -> fmt::Result {
    // The longest is 18446744073709551615 with a point.
    let mut text = [b'0'; 21];
    let mut first = text.len();
    for place in 0.. {
        if place > PLACES && parts == 0 {
            break;
        }
        if PLACES > 0 && place == PLACES {
            first -= 1;
            text[first] = b'.';
        }
        first -= 1;
        text[first] = b'0' + (parts % 10) as u8;
        parts /= 10;
    }
    out.write_str(str::from_utf8(&text[first..]).unwrap_or_default())
}

#[cfg(test)]
mod tests;
