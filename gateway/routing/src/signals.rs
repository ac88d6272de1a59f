//! What routing knows of one target, and what tells it.
//!
//! One value a target, a few hundred bytes, every update in constant time. Its owner keeps it behind a small lock of its
//! own, tells it what happens (`on_…`) and asks for an [`Outlook`]. All estimates carry their age, and an old one is
//! unknown: neither full nor free.

use std::time::{Duration, Instant};

use accounting::Tokens;
use policy::TargetId;

use crate::ask::{Ask, Class};
use crate::clock::{Clock, Dispatch};
use crate::health::Standing;
use crate::latency::Latency;
use crate::outlook::{Left, Outlook};
use crate::pace::Pace;
use crate::quota::{Bucket, Said};

/// How a target is paid for; it decides what routing watches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tier {
    /// Paid for whether used or not: own servers. Their queue is followed by tokens.
    Sunk,
    /// Provisioned throughput at a provider: paid by the hour, used up to its utilisation.
    Provisioned,
    /// Charged by the token.
    PerToken(Prices),
    /// Elsewhere, and nobody said what it costs: after all that have a price, and no saving is claimed for it.
    Unpriced,
}

impl Tier {
    /// The same without prices.
    #[must_use]
    pub const fn paid(self) -> Paid {
        match self {
            Self::Sunk => Paid::Sunk,
            Self::Provisioned => Paid::Provisioned,
            Self::PerToken(_) => Paid::PerToken,
            Self::Unpriced => Paid::Unpriced,
        }
    }
}

/// How a target is paid for, where its prices do not matter: each decision moves this about for each target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paid {
    /// As [`Tier::Sunk`].
    Sunk,
    /// As [`Tier::Provisioned`].
    Provisioned,
    /// As [`Tier::PerToken`].
    PerToken,
    /// As [`Tier::Unpriced`].
    Unpriced,
}

impl Paid {
    /// Whether it costs nothing more to use it.
    #[must_use]
    pub const fn is_sunk(self) -> bool {
        matches!(self, Self::Sunk | Self::Provisioned)
    }

    /// The name used in records and explanations.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sunk => "sunk",
            Self::Provisioned => "provisioned",
            Self::PerToken => "per_token",
            Self::Unpriced => "unpriced",
        }
    }
}

/// Dollars a token, for comparing: what is charged is counted elsewhere, in whole units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prices {
    /// For a request that somebody waits for.
    pub interactive: TokenPrices,
    /// For one that nobody waits for, where the provider makes it cheaper.
    pub batch: Option<TokenPrices>,
}

/// Dollars a token, premiums included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenPrices {
    /// A token read.
    pub input: f64,
    /// A token read from the provider's cache.
    pub cached_input: f64,
    /// A token written.
    pub output: f64,
}

impl Prices {
    /// One price for both classes, and none for cached input.
    #[must_use]
    pub const fn flat(input: f64, output: f64) -> Self {
        Self { interactive: TokenPrices { input, cached_input: input, output }, batch: None }
    }

    fn of(&self, ask: &Ask, cached: f64) -> f64 {
        let prices = match ask.class {
            Class::Interactive => self.interactive,
            Class::Batch => self.batch.unwrap_or(self.interactive),
        };
        let prompt = ask.expected.prompt.0 as f64;
        (prompt - cached) * prices.input + cached * prices.cached_input + ask.expected.output.0 as f64 * prices.output
    }
}

/// What the configuration says of a target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// How it is paid for.
    pub tier: Tier,
    /// Requests that it takes at a time.
    pub in_flight: Option<u32>,
    /// Its quota of tokens a minute.
    pub tokens_per_minute: Option<u64>,
    /// Its quota of requests a minute.
    pub requests_per_minute: Option<u64>,
}

impl Terms {
    /// A target of this tier without bounds.
    #[must_use]
    pub const fn of(tier: Tier) -> Self {
        Self { tier, in_flight: None, tokens_per_minute: None, requests_per_minute: None }
    }
}

/// What routing knows of one target.
#[derive(Clone, Debug)]
pub struct Signals {
    terms: Terms,
    epoch: Instant,
    in_flight: u32,
    clock: Clock,
    pace: Pace,
    latency: Latency,
    tokens: Bucket,
    requests: Bucket,
    /// Percent of the provisioned throughput in use, and when it was said.
    utilisation: Option<(f64, f64)>,
    cache: CacheRatio,
}

/// A request on its way, with what was assumed for it. It is handed back exactly once, to one of
/// [`Signals::on_end`], [`Signals::on_gone`] and [`Signals::on_refused`].
#[derive(Debug)]
#[must_use = "a target that is not told how its request ended counts it as in flight"]
pub struct Sent {
    at: f64,
    dispatch: Dispatch,
    answered: bool,
    reserved: f64,
    taken_tokens: f64,
    taken_requests: f64,
    prefix: f64,
}

/// Tokens that an answer reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Tokens read, cached ones included.
    pub input: Tokens,
    /// Tokens read from the cache.
    pub cached: Tokens,
    /// Tokens written.
    pub output: Tokens,
}

/// What an answer's rate-limit headers said; what they did not say is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaHeaders {
    /// Tokens a minute.
    pub limit_tokens: Option<u64>,
    /// Tokens left.
    pub remaining_tokens: Option<u64>,
    /// Requests a minute.
    pub limit_requests: Option<u64>,
    /// Requests left.
    pub remaining_requests: Option<u64>,
}

/// A percentage of provisioned throughput is unknown after so many seconds.
const UTILISATION_AGE: f64 = 10.0;

/// The least share of the expected cache hits that must have been reported for a prefix to count.
pub(crate) const PAYING_RATIO: f64 = 0.5;

impl Signals {
    /// A target of which nothing is known but its terms.
    #[must_use]
    pub fn new(terms: Terms, now: Instant) -> Self {
        let bucket = |amount: Option<u64>| amount.map_or_else(Bucket::unknown, |n| Bucket::per_minute(n as f64));
        Self {
            terms,
            epoch: now,
            in_flight: 0,
            clock: Clock::new(),
            pace: Pace::default(),
            latency: Latency::default(),
            tokens: bucket(terms.tokens_per_minute),
            requests: bucket(terms.requests_per_minute),
            utilisation: None,
            cache: CacheRatio::default(),
        }
    }

    /// The same knowledge under new terms, after a reload. A quota that changed starts anew.
    pub fn under(&mut self, terms: Terms) {
        if self.terms.tokens_per_minute != terms.tokens_per_minute
            || self.terms.requests_per_minute != terms.requests_per_minute
        {
            // A bucket that was full at the epoch is full now.
            let fresh = Self::new(terms, self.epoch);
            (self.tokens, self.requests) = (fresh.tokens, fresh.requests);
        }
        self.terms = terms;
    }

    /// What the target is to this request at `now`: `standing` is what its health says, `target` what the permit calls it.
    #[must_use]
    pub fn outlook(&self, ask: &Ask, target: TargetId, standing: Standing, now: Instant) -> Outlook {
        let at = self.seconds(now);
        let prefix = ask.session.filter(|prefix| prefix.target == target);
        let cached = prefix.map_or(0.0, |prefix| self.cache.expected(prefix.tokens.0 as f64, ask));
        let mut outlook = Outlook {
            paid: self.terms.tier.paid(),
            per_token: self.pace_at(at),
            full: self.terms.in_flight.is_some_and(|most| self.in_flight >= most) || self.is_used_up(at),
            home: prefix.is_some() && self.cache.may_pay(),
            cached: Tokens(cached as u64),
            ..Outlook::of(standing)
        };
        match self.terms.tier {
            Tier::Sunk => {
                let first = seconds(self.clock.predict(ask.expected.prompt.0 as f64 - cached, at));
                outlook.first_token = Some(first);
                outlook.typical = Some(first);
                outlook.doubt = seconds(self.clock.doubt(at));
            }
            Tier::Provisioned | Tier::PerToken(_) | Tier::Unpriced => {
                let quantiles = self.latency.at(at);
                outlook.first_token = quantiles.map(|quantiles| seconds(quantiles.p95));
                outlook.typical = quantiles.map(|quantiles| seconds(quantiles.p50));
                outlook.quota = self.quota_for(ask, at);
            }
        }
        if let Tier::PerToken(prices) = self.terms.tier {
            outlook.price = Some(prices.of(ask, cached));
        }
        outlook
    }

    /// The request leaves for the target at `now`; `target` is what its permit calls it.
    pub fn on_send(&mut self, ask: &Ask, target: TargetId, now: Instant) -> Sent {
        let at = self.seconds(now);
        let prefix = ask.session.filter(|prefix| prefix.target == target).map_or(0.0, |prefix| prefix.tokens.0 as f64);
        let cached = self.cache.expected(prefix, ask);
        let reserved = (ask.expected.prompt + ask.expected.output).0 as f64;
        self.in_flight = self.in_flight.saturating_add(1);
        self.latency.on_send(at);
        self.tokens.take(reserved, at);
        self.requests.take(1.0, at);
        Sent {
            at,
            dispatch: self.clock.on_send(ask.expected.prompt.0 as f64 - cached, at),
            answered: false,
            reserved,
            taken_tokens: self.tokens.taken(),
            taken_requests: self.requests.taken(),
            prefix: prefix.min(ask.expected.prompt.0 as f64),
        }
    }

    /// The first byte of the answer came; gives the time that it took. A second call changes nothing.
    pub fn on_first_byte(&mut self, sent: &mut Sent, now: Instant) -> Duration {
        let at = self.seconds(now);
        let took = (at - sent.at).max(0.0);
        if !sent.answered {
            sent.answered = true;
            self.clock.on_first_byte(&sent.dispatch, at);
            self.latency.on_first_byte(took, at);
        }
        seconds(took)
    }

    /// A further token came, `gap` after the one before it in its stream. For a chunk of several tokens: `gap` a token.
    pub fn on_token(&mut self, gap: Duration, now: Instant) {
        let at = self.seconds(now);
        self.pace.on_token(gap.as_secs_f64(), at);
    }

    /// The answer ended, well or not; `used` is what it reported.
    ///
    /// Not for what ended before its first byte ([`Signals::on_gone`]) and not for a 429 ([`Signals::on_refused`]).
    pub fn on_end(&mut self, mut sent: Sent, used: Option<Used>, now: Instant) {
        self.on_first_byte(&mut sent, now);
        self.in_flight = self.in_flight.saturating_sub(1);
        let Some(used) = used else { return };
        self.tokens.give_back(sent.reserved - (used.input + used.output).0 as f64);
        self.on_cached(&sent, &used);
    }

    /// An answer reported what came from the cache. [`Signals::on_end`] tells it; this is for an answer whose usage it is not
    /// to be told, because the provider has said itself what is left of the quota.
    pub fn on_cached(&mut self, sent: &Sent, used: &Used) {
        if sent.prefix > 0.0 {
            self.cache.on_reported(sent.prefix, used.cached.0 as f64);
        }
    }

    /// The request ended before its first byte: it failed, was cancelled, or was never sent.
    #[expect(clippy::needless_pass_by_value, reason = "a request ends once, so its end takes it")]
    pub fn on_gone(&mut self, sent: Sent, now: Instant) {
        let at = self.seconds(now);
        self.in_flight = self.in_flight.saturating_sub(1);
        if !sent.answered {
            self.clock.on_gone(&sent.dispatch, at);
        }
    }

    /// The provider answered 429: nothing of its quota is left. Its `retry-after` is told to the target's health.
    pub fn on_refused(&mut self, sent: Sent, now: Instant) {
        let at = self.seconds(now);
        self.tokens.give_back(sent.reserved);
        self.tokens.on_refused(at);
        self.on_gone(sent, now);
    }

    /// An answer's head had rate-limit headers; `sent` is its request.
    pub fn on_quota_headers(&mut self, headers: &QuotaHeaders, sent: &Sent, now: Instant) {
        let times = (sent.at, self.seconds(now));
        let said = |limit: Option<u64>, remaining: Option<u64>| Said {
            limit: limit.map(|n| n as f64),
            remaining: remaining.map(|n| n as f64),
        };
        self.tokens.on_header(&said(headers.limit_tokens, headers.remaining_tokens), sent.taken_tokens, times);
        self.requests.on_header(&said(headers.limit_requests, headers.remaining_requests), sent.taken_requests, times);
    }

    /// A provider said how much of the provisioned throughput is in use, in percent.
    pub fn on_utilisation(&mut self, percent: f64, now: Instant) {
        self.utilisation = Some((percent, self.seconds(now)));
    }

    /// The server's own page or its `endpoint-load-metrics` header said how many requests it has not begun.
    ///
    /// What this gateway has unanswered is part of them; the rest are other gateways', and count with this gateway's mean
    /// prompt. The report is unknown again after five seconds.
    pub fn on_waiting(&mut self, waiting: u32, now: Instant) {
        let at = self.seconds(now);
        self.clock.on_waiting(f64::from(waiting), at);
    }

    /// Other gateways said how many prompt tokens they have unanswered there.
    pub fn on_peers(&mut self, tokens: Tokens, now: Instant) {
        let at = self.seconds(now);
        self.clock.on_others(tokens.0 as f64, at);
    }

    /// The server's own page, or all gateways together, said how many prompt tokens it has read in its life. Tell it after
    /// what is waiting there: the rate is learned from it while prompts wait.
    ///
    /// Without it, the rate is learned from this gateway's own requests, which are not all where others send as well.
    pub fn on_read_total(&mut self, total: Tokens, now: Instant) {
        let at = self.seconds(now);
        self.clock.on_read(total.0 as f64, at);
    }

    /// So many gateways send to the target, this one included; at first one.
    ///
    /// Between two reports of what is waiting there, each of the others is taken to send as much as this one.
    pub fn set_gateways(&mut self, gateways: u32) {
        self.clock.set_others(gateways.saturating_sub(1));
    }

    /// Prompt tokens that this gateway has unanswered there, to be told to the others.
    #[must_use]
    pub fn outstanding(&self, now: Instant) -> Tokens {
        Tokens(self.clock.outstanding(self.seconds(now)) as u64)
    }

    /// Requests of this gateway that are on their way or being answered there.
    #[must_use]
    pub const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// How much of the cache hits that were expected came true, once there are enough to tell.
    #[must_use]
    pub fn cache_ratio(&self) -> Option<f64> {
        self.cache.measured()
    }

    /// The prompt tokens a second that the target is believed to read.
    #[must_use]
    pub fn rate(&self, now: Instant) -> f64 {
        self.clock.rate(self.seconds(now))
    }

    fn seconds(&self, now: Instant) -> f64 {
        now.saturating_duration_since(self.epoch).as_secs_f64()
    }

    fn pace_at(&self, at: f64) -> Option<Duration> {
        self.pace.at(at).filter(|_| self.in_flight > 0).map(seconds)
    }

    fn is_used_up(&self, at: f64) -> bool {
        self.utilisation.is_some_and(|(percent, said)| percent >= 100.0 && at - said <= UTILISATION_AGE)
    }

    fn quota_for(&self, ask: &Ask, at: f64) -> Left {
        let needed = (ask.expected.prompt + ask.expected.output).0 as f64;
        let tokens = self.tokens.left(at);
        let wait = match (self.tokens.wait_for(needed, at), self.requests.wait_for(1.0, at)) {
            (Some(tokens), Some(requests)) => Some(tokens.max(requests)),
            (one, other) => one.or(other),
        };
        let short = self.tokens.is_short(needed, at) || self.requests.is_short(1.0, at);
        let left = tokens.map(|left| Tokens(left.max(0.0) as u64));
        if short {
            Left::Short { tokens: left, wait: wait.map(seconds) }
        } else {
            left.map_or(Left::Unknown, Left::Enough)
        }
    }
}

fn seconds(seconds: f64) -> Duration {
    // A prediction of a year is as good as one of ten thousand.
    Duration::from_secs_f64(seconds.clamp(0.0, 31_536_000.0))
}

/// How much of an expected cache hit comes true, by what the answers report.
#[derive(Clone, Debug, Default)]
struct CacheRatio {
    expected: f64,
    reported: f64,
    answers: u32,
}

/// Answers after which the ratio says something.
const ENOUGH: u32 = 10;

impl CacheRatio {
    fn on_reported(&mut self, expected: f64, reported: f64) {
        // Fades over about fifty answers, so that a smaller cache or a restart shows.
        self.expected = self.expected * 0.98 + expected;
        self.reported = self.reported * 0.98 + reported.min(expected);
        self.answers = self.answers.saturating_add(1);
    }

    fn measured(&self) -> Option<f64> {
        (self.answers >= ENOUGH && self.expected > 0.0).then(|| self.reported / self.expected)
    }

    /// Whether a home is worth anything there: until enough answers have told, and while enough came true.
    fn may_pay(&self) -> bool {
        self.measured().is_none_or(|ratio| ratio >= PAYING_RATIO)
    }

    /// Tokens that need not be read again; none unless enough of them came true so far.
    fn expected(&self, prefix: f64, ask: &Ask) -> f64 {
        match self.measured() {
            Some(ratio) if ratio >= PAYING_RATIO => prefix.min(ask.expected.prompt.0 as f64) * ratio,
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests;
