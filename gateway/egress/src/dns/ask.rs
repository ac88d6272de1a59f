//! The servers of one resolver: asked in their order, the next one when the one before is slow, and with what they said
//! kept for as long as it may be.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::answer::{Question, Told};
use super::exchange::{Failure, Server};

/// Until the next server is asked as well.
const HEDGE: Duration = Duration::from_millis(200);
/// Answers and failures that are kept for one resolver.
const MOST_KEPT: usize = 1024;
/// How long a failure counts, so that a dead server is not asked by every connection.
const FAILURE: Duration = Duration::from_millis(1_500);

/// Whether a kept answer will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// It will.
    Kept,
    /// The servers are asked; what they say is kept.
    Asked,
}

type Outcome = Result<Arc<Told>, Arc<[Failure]>>;

/// The servers of one resolver.
pub(crate) struct Asker {
    pub(crate) name: Arc<str>,
    servers: Vec<Arc<Server>>,
    kept: Mutex<HashMap<Question, (Outcome, Instant)>>,
}

impl Asker {
    pub(crate) fn new(name: Arc<str>, servers: Vec<Server>) -> Self {
        Self { name, servers: servers.into_iter().map(Arc::new).collect(), kept: Mutex::default() }
    }

    /// One of another's servers, with nothing kept yet.
    pub(crate) fn alone(name: Arc<str>, server: Arc<Server>) -> Self {
        Self { name, servers: vec![server], kept: Mutex::default() }
    }

    pub(crate) fn servers(&self) -> impl Iterator<Item = &Arc<Server>> {
        self.servers.iter()
    }

    /// What the servers say; the first that can answer decides, and its word stands whatever the others would say.
    ///
    /// # Errors
    ///
    /// Each server's failure, where none could answer.
    pub(crate) async fn ask(&self, question: &Question, freshness: Freshness) -> Outcome {
        if freshness == Freshness::Kept
            && let Some(kept) = self.kept(question)
        {
            return kept;
        }
        let outcome = self.ask_servers(question).await;
        self.keep(question, &outcome);
        outcome
    }

    fn kept(&self, question: &Question) -> Option<Outcome> {
        let kept = self.kept.lock();
        let (outcome, until) = kept.get(question)?;
        (Instant::now() < *until).then(|| outcome.clone())
    }

    fn keep(&self, question: &Question, outcome: &Outcome) {
        let now = Instant::now();
        let until = outcome.as_ref().map_or(now + FAILURE, |told| told.until);
        let mut kept = self.kept.lock();
        if kept.len() >= MOST_KEPT {
            kept.retain(|_, (_, until)| now < *until);
        }
        // Names come from the configuration and from chains that are bounded, so a full map is one that somebody fills.
        if kept.len() < MOST_KEPT || kept.contains_key(question) {
            kept.insert(question.clone(), (outcome.clone(), until));
        }
    }

    async fn ask_servers(&self, question: &Question) -> Outcome {
        let mut asked = JoinSet::new();
        let mut failures: Vec<Failure> = Vec::new();
        let mut waiting = self.servers.iter();
        loop {
            if let Some(server) = waiting.next() {
                let (server, question) = (Arc::clone(server), question.clone());
                asked.spawn(async move { server.ask(&question).await });
            }
            // Until the next server's turn, or for as long as it takes when there is none left.
            let turn = async { if waiting.len() == 0 { std::future::pending().await } else { sleep(HEDGE).await } };
            tokio::pin!(turn);
            loop {
                tokio::select! {
                    biased;
                    joined = asked.join_next() => match joined {
                        Some(Ok(Ok(told))) => return Ok(Arc::new(told)),
                        Some(Ok(Err(failure))) => {
                            failures.push(failure);
                            if waiting.len() > 0 { break; }
                        }
                        Some(Err(error)) => tracing::error!(%error, "asking a DNS server ended in a panic"),
                        None => {
                            if waiting.len() > 0 { break; }
                            return Err(self.in_order(failures));
                        }
                    },
                    () = &mut turn => break,
                }
            }
        }
    }

    /// The failures in the order of the servers, so that a report reads the same each time.
    fn in_order(&self, mut failures: Vec<Failure>) -> Arc<[Failure]> {
        let place = |failure: &Failure| self.servers.iter().position(|server| server.address == failure.server);
        failures.sort_by_key(place);
        failures.into()
    }
}
