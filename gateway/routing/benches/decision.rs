//! What a decision costs: ten candidates, five own servers and five clouds, all of them with a history.
//!
//! `cargo bench -p routing`. It prints nanoseconds; the figure to hold is 2,000 for ten candidates.

#![expect(clippy::print_stdout, reason = "a measurement is printed")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use policy::{Candidate, Judge, Permit, Question, TargetId, decide};
use routing::{Ask, Class, Demand, Habits, Knobs, Prices, Sent, Signals, TargetHealth, Terms, Tier, Tightness, route};

const ROUNDS: u32 = 300_000;

fn main() {
    for count in [1, 10, 30] {
        let mut best = f64::MAX;
        for _ in 0..5 {
            best = best.min(nanoseconds(count));
        }
        println!("a decision over {count:>2} candidates: {best:.0} ns");
    }
}

fn nanoseconds(count: u32) -> f64 {
    let start = Instant::now();
    let permit = permit(count);
    let knobs = Knobs { first_token: Some(Duration::from_millis(1_500)), ..Knobs::default() };
    let expected = Habits::new().expect(4_000, Some(200), start);
    let ask = Ask { expected, class: Class::Interactive, waited: Duration::ZERO, session: None, draw: 1 };
    let health = TargetHealth::new();
    let (signals, _sent): (Vec<Signals>, Vec<Sent>) = (0..count).map(|id| with_history(id, &ask, start)).unzip();
    let began = Instant::now();
    for round in 0..ROUNDS {
        let now = start + Duration::from_micros(u64::from(round));
        let demand = Demand { ask: &ask, knobs: &knobs, tightness: Tightness::NONE, now };
        let plan = route(&permit, &demand, |target| {
            signals[target.0 as usize].outlook(&ask, target, health.standing(now), now)
        });
        let _ = black_box(plan);
    }
    began.elapsed().as_nanos() as f64 / f64::from(ROUNDS)
}

fn permit(count: u32) -> Arc<Permit> {
    let candidates: Vec<Candidate> =
        (0..count).map(|id| Candidate::new(TargetId(id), format!("endpoint-{id}/llama"))).collect();
    decide(&Judge::of_grants(&candidates), &Question::about("claims", "chat", &candidates))
        .expect("all candidates are approved")
}

/// Own servers and clouds in turn, each with answers behind it and one request on its way.
fn with_history(id: u32, ask: &Ask, start: Instant) -> (Signals, Sent) {
    let price = f64::from(id + 1) * 1e-6;
    let tier = if id.is_multiple_of(2) { Tier::Sunk } else { Tier::PerToken(Prices::flat(price, price)) };
    let mut signals = Signals::new(Terms { tokens_per_minute: Some(600_000), ..Terms::of(tier) }, start);
    for _ in 0..20 {
        let mut sent = signals.on_send(ask, TargetId(id), start);
        signals.on_first_byte(&mut sent, start + Duration::from_millis(200));
        signals.on_end(sent, None, start + Duration::from_millis(900));
    }
    let sent = signals.on_send(ask, TargetId(id), start);
    (signals, sent)
}
