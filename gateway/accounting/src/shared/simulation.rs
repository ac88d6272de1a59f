//! A gateway under load, with the limits of one app leased from a store that has enough: how often it asks.
//!
//! It is what `ledger` does around the counters, in steps of a quarter of a millisecond: whoever rang is asked for in the next
//! exchange, one exchange after the other, and twice a second whoever holds a part. Whoever is short waits for an exchange that
//! began after it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Answer, Counter, Flow, Question, Seats};
use crate::book::{Ask, Book, Reservation};
use crate::limits::{Limits, Moment};
use crate::money::Money;
use crate::price::Used;
use crate::tokens::{Estimate, Tokens};

const STEP: Duration = Duration::from_micros(250);

/// How long an exchange takes, in steps, and how far the looks are apart.
const EXCHANGE: u64 = 3;
const LOOK: u64 = 2_000;

/// Numbers by chance, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn within(&mut self, from: u64, to: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        from + (self.0 >> 33) % (to - from)
    }
}

enum Caller {
    /// Comes at this step.
    Comes(u64),
    /// Waits for an exchange after this one.
    Waits(u64),
    /// Its answer ends at this step.
    Runs(u64, Box<Reservation>),
}

/// A counter, and whether it rang.
type Rung = (Arc<dyn Counter>, Arc<AtomicBool>);

struct Gateway {
    begun: Instant,
    requests: Arc<Flow>,
    seats: Arc<Seats>,
    book: Arc<Book>,
    counters: Vec<Rung>,
    callers: Vec<Caller>,
    /// What is on its way, and when the answers come.
    asked: Option<(u64, Vec<(usize, Question)>)>,
    exchanges: u64,
    by_itself: u64,
    let_in: u64,
    waited: u64,
}

impl Gateway {
    fn new(callers: u64) -> Self {
        let begun = Instant::now();
        let (requests, seats) = (Arc::new(Flow::new(600_000, Duration::from_secs(60))), Arc::new(Seats::new(3_200)));
        let book = Arc::new(Book::shared(begun));
        let limits = Limits { tokens_per_minute: Some(60_000_000), per_month: Some(Money(100_000_000_000_000)) };
        book.set_limits(limits);
        let tokens = book.flow();
        let counters: Vec<Arc<dyn Counter>> =
            vec![requests.clone(), seats.clone(), tokens.clone(), book.purse().clone()];
        let counters = counters.into_iter().map(|counter| {
            let bell = Arc::new(AtomicBool::new(false));
            let rings = Arc::clone(&bell);
            counter.ring_by(Box::new(move || rings.store(true, Ordering::Relaxed)));
            (counter, bell)
        });
        Self {
            begun,
            counters: counters.collect(),
            requests,
            seats,
            book,
            callers: (0..callers).map(Caller::Comes).collect(),
            asked: None,
            exchanges: 0,
            by_itself: 0,
            let_in: 0,
            waited: 0,
        }
    }

    fn at(&self, step: u64) -> Instant {
        self.begun + STEP * u32::try_from(step).expect("a test does not run for ages")
    }

    /// All four or none.
    fn let_in(&self, money: u64, now: Instant) -> Option<Reservation> {
        let taken = self.requests.take(1, now).ok()?;
        if self.seats.enter(now).is_err() {
            self.requests.give_back(taken);
            return None;
        }
        let ask = Ask { estimate: Estimate { input: Tokens(20), output: Tokens(20) }, money: Money(money) };
        let moment = Moment { at: now, month: 9, month_left: Duration::from_secs(1_000) };
        let reserved = self.book.reserve(None, ask, moment).ok();
        if reserved.is_none() {
            self.requests.give_back(taken);
            self.seats.leave();
        }
        reserved
    }

    fn step(&mut self, step: u64, dice: &mut Dice) {
        if self.asked.as_ref().is_some_and(|(until, _)| *until <= step) {
            self.learn();
        }
        let mut callers = std::mem::take(&mut self.callers);
        for caller in &mut callers {
            *caller = self.next(std::mem::replace(caller, Caller::Comes(0)), step, dice);
        }
        self.callers = callers;
        if self.asked.is_none() {
            self.ask(step);
        }
    }

    fn next(&mut self, caller: Caller, step: u64, dice: &mut Dice) -> Caller {
        let is_over =
            |exchange| self.exchanges > exchange + 1 || (self.exchanges == exchange + 1 && self.asked.is_none());
        match caller {
            Caller::Comes(at) if at > step => caller,
            Caller::Waits(exchange) if !is_over(exchange) => caller,
            Caller::Comes(_) | Caller::Waits(_) => {
                let waited = matches!(caller, Caller::Waits(_));
                match self.let_in(30_000_000, self.at(step)) {
                    Some(reserved) => {
                        self.let_in += 1;
                        self.waited += u64::from(waited);
                        Caller::Runs(step + dice.within(20, 240), Box::new(reserved))
                    }
                    None => Caller::Waits(self.exchanges),
                }
            }
            Caller::Runs(until, reserved) if until <= step => {
                let used = Used { input: Tokens(9), output: Tokens(9), ..Used::default() };
                let _ = reserved.settle(used, Some(Money(18_000_000)));
                self.seats.leave();
                Caller::Comes(step + dice.within(1, 8))
            }
            runs @ Caller::Runs(..) => runs,
        }
    }

    fn ask(&mut self, step: u64) {
        let (now, looks) = (self.at(step), step.is_multiple_of(LOOK));
        let mut questions = Vec::new();
        let mut rang = false;
        for (number, (counter, bell)) in self.counters.iter().enumerate() {
            let rung = bell.swap(false, Ordering::Relaxed);
            rang |= rung;
            if rung || (looks && counter.is_busy()) {
                questions.extend(counter.questions(now).into_iter().map(|question| (number, question)));
            }
        }
        if !rang && !looks {
            return;
        }
        self.exchanges += 1;
        self.by_itself += u64::from(!looks && !questions.is_empty());
        let takes = if questions.is_empty() { 1 } else { EXCHANGE };
        self.asked = Some((step + takes, questions));
    }

    fn learn(&mut self) {
        let Some((until, questions)) = self.asked.take() else { return };
        let sent_at = self.at(until.saturating_sub(EXCHANGE));
        for (number, question) in questions {
            let answer = match question {
                Question::Flow { limit, most, .. } => Answer::Flow { granted: most, left: limit, wait: Duration::ZERO },
                Question::Level { want, .. } => Answer::Level { ceiling: want, others: 0, spent: 0 },
            };
            self.counters[number].0.learn(&question, Some(answer), sent_at);
        }
    }
}

#[test]
fn a_gateway_far_from_its_limits_asks_for_fewer_than_one_request_in_fifty_beyond_its_looks() {
    let (mut all, mut most) = ((0, 0, 0), 0);
    for seed in 0..24 {
        let mut dice = Dice(seed);
        let mut gateway = Gateway::new(dice.within(1, 33));
        // Two seconds in which its parts grow, then five that are counted.
        for step in 0..8_000 {
            gateway.step(step, &mut dice);
        }
        let before = (gateway.by_itself, gateway.let_in, gateway.waited);
        for step in 8_000..28_000 {
            gateway.step(step, &mut dice);
        }
        let (asked, came, waited) =
            (gateway.by_itself - before.0, gateway.let_in - before.1, gateway.waited - before.2);

        assert!(came > 100, "seed {seed}: {came} came");
        assert!(asked * 50 <= came, "seed {seed}: asked {asked} times for {came} requests");
        most = most.max(asked * 1_000 / came);
        all = (all.0 + asked, all.1 + came, all.2 + waited);
    }
    println!("{} exchanges beyond looks for {} requests, at most {most} for 1,000; {} waited", all.0, all.1, all.2);
}
