//! What happens while many requests run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::lab::gateway::{Answer, Caller};
use crate::lab::{self, Lab, Settings, until};
use crate::measured;

/// Callers, each with a connection that it keeps.
const CALLERS: u32 = 64;
/// Requests a second of all callers together. A machine that is too slow for them is asked more slowly, which is told.
const RATE: u32 = 200;
/// Lifetime of the private record, which is the time that the way back may take.
const TTL: Duration = Duration::from_secs(10);
/// What a busy machine may add to it.
const SLACK: Duration = Duration::from_secs(10);

/// Callers at the desk, until it is stopped.
#[derive(Clone, Default)]
struct Load(Arc<Counts>);

#[derive(Default)]
struct Counts {
    stop: AtomicBool,
    stopped: AtomicBool,
    well: AtomicUsize,
    refused: AtomicUsize,
    /// What nobody should get.
    odd: std::sync::Mutex<Vec<Answer>>,
}

impl Load {
    fn start(lab: &Lab) -> Self {
        let load = Self::default();
        let (counts, trust) = (Arc::clone(&load.0), lab.trust());
        lab.desk.spawn(async move {
            let between = Duration::from_secs(1) * CALLERS / RATE;
            let callers: Vec<_> = (0..CALLERS)
                .map(|number| {
                    let (counts, trust) = (Arc::clone(&counts), Arc::clone(&trust));
                    let first = tokio::time::Instant::now() + between * number / CALLERS;
                    tokio::spawn(async move {
                        counts.call(Caller::new(trust), tokio::time::interval_at(first, between)).await;
                    })
                })
                .collect();
            for caller in callers {
                caller.await.expect("a caller does not panic");
            }
            counts.stopped.store(true, Ordering::Relaxed);
        });
        load
    }

    fn well(&self) -> usize {
        self.0.well.load(Ordering::Relaxed)
    }

    fn refused(&self) -> usize {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// Waits for the last answers, and gives those that nobody should have got.
    fn stop(self) -> Vec<Answer> {
        self.0.stop.store(true, Ordering::Relaxed);
        until("the last answers", || self.0.stopped.load(Ordering::Relaxed).then_some(()));
        std::mem::take(&mut *self.0.odd.lock().expect("no test panics while it holds this"))
    }
}

impl Counts {
    async fn call(&self, mut caller: Caller, mut pace: tokio::time::Interval) {
        let body = lab::chat("private", false);
        while !self.stop.load(Ordering::Relaxed) {
            pace.tick().await;
            self.note(caller.ask(&body).await);
        }
    }

    fn note(&self, answer: Answer) {
        if answer.status == 200 && answer.body.contains("answered by the private endpoint") {
            self.well.fetch_add(1, Ordering::Relaxed);
        } else if answer.code() == "no_private_path" {
            self.refused.fetch_add(1, Ordering::Relaxed);
        } else {
            self.odd.lock().expect("no test panics while it holds this").push(answer);
        }
    }
}

#[test]
fn a_resolver_that_turns_public_under_two_hundred_requests_a_second_leaks_nothing_and_is_followed_back() {
    let Some(mut lab) = crate::build() else { return };
    let _gateway = lab.gateway(&Settings::default());
    assert_eq!(lab.chat("private").status, 200);
    lab.forget();
    let (load, began) = (Load::start(&lab), Instant::now());
    until("requests to run", || (load.well() >= 200).then_some(()));

    let public = lab::usual_views(lab::HUB_DNS).without_zone("privatelink.openai.azure.com");
    lab.say(lab::HUB_DNS, &public);
    until("the public answer to be refused", || (load.refused() >= 400).then_some(()));
    lab.heal(&[lab::HUB_DNS]);
    let (back, before) = (Instant::now(), load.well());
    until("the private answer to be used", || (load.well() > before).then_some(()));
    let recovered = back.elapsed();
    until("requests to run again", || (load.well() >= before + 200).then_some(()));

    let (answers, lasted) = (load.well() + load.refused(), began.elapsed());
    let odd = load.stop();
    assert!(odd.is_empty(), "{} answers were neither the endpoint's nor a refusal: {:?}", odd.len(), odd.first());
    assert_eq!(lab.strayed(None), (0, 0));
    assert_eq!((lab.public.connections(), lab.somebody.connections()), (0, 0));
    let rate = f64::from(u32::try_from(answers).unwrap_or(u32::MAX)) / lasted.as_secs_f64();
    measured(&format!(
        "{answers} answers in {:.1} s, {rate:.0} a second of {RATE} asked for; the private endpoint used again {} ms after the \
         resolver was right again (TTL {} s)",
        lasted.as_secs_f64(),
        recovered.as_millis(),
        TTL.as_secs()
    ));
    assert!(recovered <= TTL + SLACK, "the way back took {recovered:?}, more than {TTL:?} and {SLACK:?}");
}
