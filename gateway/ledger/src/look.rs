//! A look at a store or a database as a gateway would meet it, for whoever sets one up: each step with its time, up to the first
//! that fails. It changes nothing there.

use std::time::{Duration, Instant};

use tokio::time::timeout;

/// One step of a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookStep {
    /// What was looked at, in a word.
    pub what: &'static str,
    /// How long it took.
    pub took: Duration,
    /// What was seen, in one sentence, or what is wrong.
    pub seen: Result<String, LookFault>,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookFault {
    /// Of which kind.
    pub kind: LookKind,
    /// What the other side said or did; no credential.
    pub said: String,
}

/// What kind of thing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookKind {
    /// It does not let the name in with this password or certificate.
    Login,
    /// It lets the name in, and not do what gateways do.
    Rights,
    /// The database is not there.
    Missing,
    /// It takes no writes.
    ReadOnly,
    /// A newer release wrote what is there.
    Format,
    /// It does not speak as what it should be, or not in time.
    Other,
}

impl LookFault {
    pub(crate) fn of(kind: LookKind, said: impl Into<String>) -> Self {
        Self { kind, said: said.into() }
    }
}

/// The steps of a look so far.
#[derive(Debug)]
pub(crate) struct Look {
    steps: Vec<LookStep>,
    began: Instant,
}

impl Look {
    pub(crate) fn new() -> Self {
        Self { steps: Vec::new(), began: Instant::now() }
    }

    /// Notes a step; what was found where it did not fail.
    pub(crate) fn step<T>(&mut self, what: &'static str, found: Result<(T, String), LookFault>) -> Option<T> {
        let took = self.began.elapsed();
        self.began = Instant::now();
        let (found, seen) = match found {
            Ok((found, seen)) => (Some(found), Ok(seen)),
            Err(fault) => (None, Err(fault)),
        };
        self.steps.push(LookStep { what, took, seen });
        found
    }

    pub(crate) fn steps(self) -> Vec<LookStep> {
        self.steps
    }
}

/// The step, or that it took too long.
pub(crate) async fn in_time<T>(
    limit: Duration,
    step: impl Future<Output = Result<T, LookFault>>,
) -> Result<T, LookFault> {
    let late = |_| LookFault::of(LookKind::Other, format!("it does not answer within {} s", limit.as_secs()));
    timeout(limit, step).await.map_err(late)?
}
