//! What routing knows, and what the traffic teaches it: one value a target, one a model, one an app and model.
//!
//! All of it outlives a reload, by name. Each has a small lock of its own, held for a few instructions and never across
//! an await.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use accounting::{Pricing, Rate, Tokens};
use egress::scrape::Load;
use parking_lot::Mutex;
use policy::TargetId;
use routing::{
    Ask, Bounds, BurstState, Calibration, Class, Expected, Habits, Knobs, Outlook, Place, Prices, Queue, QuotaHeaders,
    Sent, Signals, Standing, Terms, Tier, TokenPrices, Turn, Used,
};
use tokio::sync::Notify;
use wire::Said;

use super::homes::Homes;

/// What is known of one target.
#[derive(Debug)]
pub struct Steering(Mutex<Known>);

#[derive(Debug)]
struct Known {
    signals: Signals,
    whole: WholePace,
    /// Who has read the page last, and when.
    page: Option<(Load, Instant)>,
}

/// A page that was read longer ago than this says nothing any more.
const STALE: Duration = Duration::from_secs(5);

impl Steering {
    pub(super) fn new(terms: Terms, now: Instant) -> Self {
        Self(Mutex::new(Known { signals: Signals::new(terms, now), whole: WholePace::default(), page: None }))
    }

    /// The same knowledge under the terms of a configuration, and with so many gateways.
    pub(super) fn under(&self, terms: Terms, gateways: u32) {
        let mut known = self.0.lock();
        known.signals.under(terms);
        known.signals.set_gateways(gateways);
    }

    pub(crate) fn outlook(&self, ask: &Ask, target: TargetId, standing: Standing, now: Instant) -> Outlook {
        self.0.lock().signals.outlook(ask, target, standing, now)
    }

    pub(crate) fn on_send(&self, ask: &Ask, target: TargetId, now: Instant) -> Sent {
        self.0.lock().signals.on_send(ask, target, now)
    }

    pub(crate) fn on_first_byte(&self, sent: &mut Sent, now: Instant) {
        self.0.lock().signals.on_first_byte(sent, now);
    }

    pub(crate) fn on_token(&self, gap: Duration, now: Instant) {
        self.0.lock().signals.on_token(gap, now);
    }

    /// The head of an answer says how its endpoint stands.
    pub(crate) fn on_head(&self, said: &Said, sent: &Sent, now: Instant) {
        let mut known = self.0.lock();
        let quota = QuotaHeaders {
            limit_tokens: said.limit_tokens,
            remaining_tokens: said.remaining_tokens,
            limit_requests: said.limit_requests,
            remaining_requests: said.remaining_requests,
        };
        if quota != QuotaHeaders::default() {
            known.signals.on_quota_headers(&quota, sent, now);
        }
        if let Some(percent) = said.utilisation {
            known.signals.on_utilisation(percent, now);
        }
        if let Some(waiting) = said.waiting {
            known.signals.on_waiting(waiting, now);
        }
    }

    /// The endpoint's own page was read.
    pub(crate) fn on_page(&self, load: Load, now: Instant) {
        let mut known = self.0.lock();
        known.page = Some((load, now));
        if let Some(waiting) = load.waiting {
            known.signals.on_waiting(waiting, now);
            // Told after what is waiting, as the clock wants it.
            if let Some(read) = load.read {
                known.signals.on_read_total(Tokens(read), now);
            }
        }
    }

    /// A whole answer came: when its first token came can only be guessed, from how long each token takes there.
    pub(crate) fn on_whole(&self, sent: &mut Sent, (sent_at, now): (Instant, Instant), output: u64) {
        let mut known = self.0.lock();
        let took = now.saturating_duration_since(sent_at);
        let writing = known.whole.on_answer(took, output).mul_f64(output as f64).min(took);
        known.signals.on_first_byte(sent, now.checked_sub(writing).unwrap_or(now));
    }

    pub(crate) fn on_end(&self, sent: Sent, used: Option<Used>, now: Instant) {
        self.0.lock().signals.on_end(sent, used, now);
    }

    /// The answer reported what came from the cache, and its usage is told to nobody else.
    pub(crate) fn on_cached(&self, sent: &Sent, used: &Used) {
        self.0.lock().signals.on_cached(sent, used);
    }

    /// Requests of this gateway that are under way there.
    pub(crate) fn in_flight(&self) -> u32 {
        self.0.lock().signals.in_flight()
    }

    /// How much of the cache hits that were expected for sessions came true there, once there are enough to tell.
    pub(crate) fn cache_ratio(&self) -> Option<f64> {
        self.0.lock().signals.cache_ratio()
    }

    pub(crate) fn on_gone(&self, sent: Sent, now: Instant) {
        self.0.lock().signals.on_gone(sent, now);
    }

    pub(crate) fn on_refused(&self, sent: Sent, now: Instant) {
        self.0.lock().signals.on_refused(sent, now);
    }

    /// Calls of this gateway that are under way there, the tokens a second that it is believed to read, and what its page
    /// said, while that is not stale.
    pub(crate) fn reading(&self, now: Instant) -> (u32, f64, Option<Load>) {
        let known = self.0.lock();
        let page = known.page.filter(|(_, at)| now.saturating_duration_since(*at) < STALE).map(|(load, _)| load);
        (known.signals.in_flight(), known.signals.rate(now), page)
    }
}

/// How long a token of a whole answer takes: the lowest that was seen lately.
///
/// Time over tokens is an upper bound of it, since waiting and reading are in it; the lowest of many comes close. It
/// rises again by a hundredth with each answer, so that a server that became slower is seen.
#[derive(Clone, Copy, Debug, Default)]
struct WholePace(Option<Duration>);

/// Answers that are shorter say little of the time a token takes.
const LONG_ENOUGH: u64 = 4;

impl WholePace {
    fn on_answer(&mut self, took: Duration, output: u64) -> Duration {
        if output >= LONG_ENOUGH {
            let bound = took.div_f64(output as f64);
            let risen = self.0.map_or(bound, |pace| pace.mul_f64(1.01));
            self.0 = Some(bound.min(risen));
        }
        self.0.unwrap_or_default()
    }
}

/// What routing calls how a target is paid.
pub(super) fn tier_of(pricing: &Pricing) -> Tier {
    let dollars = |rate: Rate| rate.0 as f64 * 1e-15;
    match pricing {
        Pricing::Sunk { is_provisioned: false, .. } => Tier::Sunk,
        Pricing::Sunk { is_provisioned: true, .. } => Tier::Provisioned,
        Pricing::PerToken(price) => {
            let base = price.standard.base;
            let interactive = TokenPrices {
                input: dollars(base.input),
                cached_input: dollars(base.cached_input),
                output: dollars(base.output),
            };
            // A batch request is sold at the same price unless its caller asks the provider for another tier.
            Tier::PerToken(Prices { interactive, batch: None })
        }
        Pricing::Unknown => Tier::Unpriced,
    }
}

/// What is known of one model's traffic; kept over a reload.
#[derive(Debug)]
pub(crate) struct ModelState {
    pub(crate) calibration: Mutex<Calibration>,
    pub(crate) burst: Mutex<BurstState>,
    queue: Mutex<Queue<Arc<str>, Arc<Notify>>>,
}

impl ModelState {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            calibration: Mutex::default(),
            burst: Mutex::new(BurstState::new(now)),
            queue: Mutex::new(Queue::new(Bounds::default())),
        }
    }

    pub(crate) fn queue(&self) -> &Mutex<Queue<Arc<str>, Arc<Notify>>> {
        &self.queue
    }

    /// Something ended, so that whoever is next may look again.
    pub(crate) fn wake(&self) {
        if let Some((_, waiter)) = self.queue.lock().first() {
            waiter.notify_one();
        }
    }

    /// Whoever was woken here could not use what became free: the next may.
    pub(crate) fn wake_after(&self, place: Place) {
        if let Some((_, waiter)) = self.queue.lock().after(place) {
            waiter.notify_one();
        }
    }
}

/// Bytes of requests that may wait for a place: a part of the bytes that all bodies may hold, so that whoever waits leaves
/// room for whoever does not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitingBytes {
    /// Of all apps together.
    pub(crate) all: usize,
    /// Of one app.
    pub(crate) of_one_app: usize,
    /// What a request counts as at least: with it, those that wait take no larger part of the places in flight.
    least: usize,
}

impl WaitingBytes {
    pub(super) fn of(buffered: usize, in_flight: u32) -> Self {
        let places = usize::try_from(in_flight).unwrap_or(usize::MAX).max(1);
        Self { all: buffered / 4, of_one_app: buffered / 16, least: buffered / places }
    }

    /// What a request with so many bytes counts as.
    pub(crate) fn counted(&self, bytes: usize) -> usize {
        bytes.max(self.least)
    }
}

/// What the configuration wants of a model's routing, and what is known of its traffic.
#[derive(Debug)]
pub(crate) struct ModelSteering {
    pub(crate) knobs: Knobs,
    /// Whether somebody waits for its answers, where neither app nor request says so.
    pub(crate) traffic: Class,
    /// Percent of the traffic that a target takes, where it has a share.
    pub(crate) shares: Box<[(TargetId, u8)]>,
    /// Where its sessions are kept.
    pub(crate) homes: Homes,
    pub(crate) state: Arc<ModelState>,
}

impl ModelSteering {
    /// Says a change of the burst state in the log, where people and machines look for it.
    pub(crate) fn announce(model: &str, turn: Option<Turn>) {
        match turn {
            Some(Turn::Opened { share }) => {
                let percent = share * 100.0;
                tracing::warn!(
                    model,
                    "burst opened: {percent:.0} % of the last ten seconds went to targets that charge by the token"
                );
            }
            Some(Turn::Closed { lasted }) => {
                tracing::info!(model, seconds = lasted.as_secs(), "burst closed: own capacity suffices again");
            }
            None => {}
        }
    }
}

/// What an app's requests turn out to use, by model; kept over a reload.
#[derive(Debug, Default)]
pub(crate) struct AppHabits(Mutex<BTreeMap<Arc<str>, Habits>>);

impl AppHabits {
    pub(crate) fn expect(&self, model: &str, input_bytes: usize, max_output: Option<u64>, now: Instant) -> Expected {
        let habits = self.0.lock();
        let unknown = Habits::new();
        habits.get(model).unwrap_or(&unknown).expect(input_bytes, max_output, now)
    }

    pub(crate) fn on_usage(&self, model: &Arc<str>, input_bytes: usize, used: &Used, now: Instant) {
        let mut habits = self.0.lock();
        if let Some(known) = habits.get_mut(model) {
            known.on_usage(input_bytes, used, now);
        } else {
            let mut new = Habits::new();
            new.on_usage(input_bytes, used, now);
            habits.insert(Arc::clone(model), new);
        }
    }

    /// Forgets models that are no longer there, so that the map is no larger than the configuration.
    pub(super) fn keep(&self, is_there: impl Fn(&str) -> bool) {
        self.0.lock().retain(|model, _| is_there(model));
    }
}

/// Tokens of an answer, as routing counts them.
pub(crate) fn used_of(usage: &wire::Usage) -> Used {
    Used { input: Tokens(usage.input), cached: Tokens(usage.cached_input), output: Tokens(usage.output) }
}

#[cfg(test)]
mod tests {
    use routing::Waiting;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[tokio::test]
    async fn whoever_cannot_use_what_became_free_passes_it_on() {
        let now = Instant::now();
        let state = ModelState::new(now);
        let wait = |app: &str, seconds| {
            let latest = now + Duration::from_secs(seconds);
            let waiting = Waiting { app: Arc::from(app), priority: routing::Priority::Normal, latest, work: Tokens(1) };
            let waiter = Arc::new(Notify::new());
            (state.queue().lock().push(waiting, Arc::clone(&waiter)).unwrap(), waiter)
        };
        let ((first, head), (_, second)) = (wait("a", 1), wait("b", 2));

        state.wake();
        head.notified().await;
        state.wake_after(first);
        second.notified().await;

        state.queue().lock().take(first);
        state.wake_after(first);
        second.notified().await;
    }

    #[test]
    fn those_that_wait_leave_three_quarters_of_bytes_and_places() {
        let bounds = WaitingBytes::of(64 << 20, 1_024);

        assert_eq!((bounds.all, bounds.of_one_app), (16 << 20, 4 << 20));
        assert_eq!((bounds.counted(1 << 20), bounds.all / bounds.counted(0)), (1 << 20, 256));
    }

    #[test]
    fn the_time_of_a_token_is_the_lowest_that_whole_answers_allow() {
        let mut pace = WholePace::default();

        pace.on_answer(ms(1_000), 10); // alone: 100 ms at most
        pace.on_answer(ms(5_000), 10); // behind others
        let learnt = pace.on_answer(ms(2_000), 100); // long, so that waiting weighs little

        assert_eq!(learnt, ms(20));
    }

    #[test]
    fn a_server_that_became_slower_is_seen_after_some_answers() {
        let mut pace = WholePace::default();
        pace.on_answer(ms(1_000), 100);

        let slow = (0..200).map(|_| pace.on_answer(ms(4_000), 100)).last();

        assert_eq!(slow, Some(ms(40)));
    }

    #[test]
    fn an_answer_too_short_to_say_anything_changes_nothing() {
        let mut pace = WholePace::default();

        assert_eq!(pace.on_answer(ms(900), 1), Duration::ZERO);
    }
}
