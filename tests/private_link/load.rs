//! What happens while many requests run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::lab::gateway::{Answer, Call};
use crate::lab::{self, Lab, Settings, until};
use crate::measured;

/// Between two requests: 200 a second.
const PACE: Duration = Duration::from_millis(5);
/// Requests at once. A machine that is too slow for the pace asks more slowly.
const AT_ONCE: usize = 128;

/// Callers at the desk, each with a connection of its own, until it is stopped.
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
            let at_once = Arc::new(Semaphore::new(AT_ONCE));
            let mut pace = tokio::time::interval(PACE);
            while !counts.stop.load(Ordering::Relaxed) {
                pace.tick().await;
                let permit = Arc::clone(&at_once).acquire_owned().await.expect("nobody closes it");
                let (counts, trust) = (Arc::clone(&counts), Arc::clone(&trust));
                tokio::spawn(async move {
                    let answer = Call::post(trust, lab::chat("private", false)).await.answer().await;
                    counts.note(answer);
                    drop(permit);
                });
            }
            let all = u32::try_from(AT_ONCE).expect("it is a small number");
            let _all = at_once.acquire_many(all).await.expect("nobody closes it");
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
    measured(&format!(
        "{answers} answers in {} s, the private endpoint used again {} ms after the resolver was right again (TTL 10 s)",
        lasted.as_secs(),
        recovered.as_millis()
    ));
}
