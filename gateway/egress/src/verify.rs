//! An endpoint's addresses over time: looked up, judged, kept while they are true, and given up when they are not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::address::Verified;
use crate::connect::Vouched;
use crate::dns::Freshness;
use crate::endpoint::Endpoint;
use crate::error::{Phase, SendError};
use crate::fault::{Code, Verdict};
use crate::judge::{self, Refused, Wanted};
use crate::resolve::Resolution;
use crate::spec::Reach;
use crate::status::ResolutionReport;

/// Time that a look-up in the background may take.
const BACKGROUND: Duration = Duration::from_secs(10);
/// Until the addresses are looked at again that could not be verified, or that nobody is asked for.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// What was verified last.
#[derive(Default)]
pub(crate) struct Verification(Mutex<State>);

#[derive(Default)]
struct State {
    good: Option<Vouched>,
    /// Since when no server has answered.
    silent_since: Option<(Instant, SystemTime)>,
    /// An answer showed that the address leads to a public front, and no later one that it does not.
    front: Option<Verdict>,
}

impl State {
    /// What was verified before, while it may stand in for an answer that does not come.
    fn stand_in(&self, grace: Duration, now: Instant) -> Option<Vouched> {
        let good = self.good.as_ref()?;
        let until = good.resolution.until?;
        (now < until + grace).then(|| Vouched { stale: now >= until, ..good.clone() })
    }
}

impl Verification {
    pub(crate) fn silent_since(&self) -> Option<SystemTime> {
        self.0.lock().silent_since.map(|(_, since)| since)
    }
}

impl Endpoint {
    /// Asks the resolver again, whatever it has kept, and drops the connections whose address is no longer verified.
    ///
    /// Nothing needs to call this: each new connection resolves, and so does the upkeep before an answer's lifetime is
    /// over. It is for those who know that a record changed. What was found stands in the status.
    pub async fn look_again(self: &Arc<Self>) {
        let deadline = Instant::now() + BACKGROUND;
        let vouched = match self.vouch(deadline, Freshness::Asked).await {
            Ok(vouched) => vouched,
            Err(error) => {
                tracing::debug!(endpoint = %self.name(), %error, "the endpoint's addresses are in doubt");
                return;
            }
        };
        let Some(verdict) = self.verification().0.lock().front.clone() else { return };
        if self.front_is_gone(&vouched, deadline).await {
            tracing::info!(endpoint = %self.name(), code = verdict.code.as_str(), "the public front does not answer any more");
            self.verification().0.lock().front = None;
            *self.last().verdict.lock() = None;
        }
    }

    /// Looks ahead of the end of what is known, and says when to look again.
    pub(crate) async fn look_ahead(self: &Arc<Self>) -> Instant {
        self.look_again().await;
        let now = Instant::now();
        let report = self.last().resolution.lock().clone();
        let left = report.and_then(|report| report.valid_for).unwrap_or(AGAIN.1);
        let failing = self.last().verdict.lock().is_some() || self.verification().silent_since().is_some();
        // A fifth of the lifetime is left for an answer that is late.
        let wait = if failing { left.min(AGAIN.1) } else { left.mul_f32(0.8) };
        now + wait.max(AGAIN.0)
    }

    /// Looks at the addresses again without holding a request up. A connection whose address is no longer verified is
    /// dropped when the answer is here.
    pub(crate) fn refresh(self: &Arc<Self>) {
        let endpoint = Arc::clone(self);
        tokio::spawn(async move { endpoint.look_again().await });
    }

    /// Resolves and judges, and lets the pool know.
    pub(crate) async fn vouch(&self, deadline: Instant, freshness: Freshness) -> Result<Vouched, SendError> {
        if freshness == Freshness::Kept
            && let Some(verdict) = self.verification().0.lock().front.clone()
        {
            return Err(SendError::NoPrivatePath(Box::new(verdict)));
        }
        // While no server answers, what was verified before is used at once; the upkeep goes on asking.
        if freshness == Freshness::Kept
            && let Some(stand_in) = self.while_silent(Instant::now())
        {
            return Ok(stand_in);
        }
        let resolved = timeout_at(deadline, self.source().resolve(freshness)).await;
        let Ok(resolution) = resolved else {
            let stand_in = self.verification().0.lock().stand_in(self.source().stale_grace(), Instant::now());
            return stand_in.ok_or_else(|| self.connector().too_slow(Phase::Resolve, None));
        };
        self.take_note(Arc::new(resolution))
    }

    fn while_silent(&self, now: Instant) -> Option<Vouched> {
        let state = self.verification().0.lock();
        state.silent_since?;
        state.stand_in(self.source().stale_grace(), now)
    }

    fn take_note(&self, resolution: Arc<Resolution>) -> Result<Vouched, SendError> {
        let now = Instant::now();
        let outcome = match self.proved(&resolution) {
            Ok(addresses) => {
                Ok(self.found_good(Vouched { addresses, resolution: Arc::clone(&resolution), stale: false }))
            }
            Err(refused) if refused.is_unanswered() => self.found_silent(refused, now),
            Err(refused) => Err(self.found_bad(refused)),
        };
        let (vouched, verdict) = match outcome {
            Ok(vouched) => (Some(vouched), None),
            Err(verdict) => (None, Some(verdict)),
        };
        let addresses: Vec<SocketAddr> =
            vouched.iter().flat_map(|vouched| &vouched.addresses).map(Verified::socket).collect();
        self.tell_pool(&addresses, &resolution, vouched.as_ref(), now);
        self.report(&addresses, resolution, verdict.as_ref(), now);
        match (vouched, verdict) {
            (Some(vouched), _) => Ok(vouched),
            (None, Some(verdict)) => Err(SendError::NoPrivatePath(Box::new(verdict))),
            (None, None) => Err(self.connector().too_slow(Phase::Resolve, None)),
        }
    }

    /// The judgement alone, of which nothing is kept.
    pub(crate) fn judge(&self, resolution: &Arc<Resolution>) -> Result<Vouched, SendError> {
        match self.proved(resolution) {
            Ok(addresses) => Ok(Vouched { addresses, resolution: Arc::clone(resolution), stale: false }),
            Err(refused) => Err(SendError::NoPrivatePath(Box::new(self.verdict(refused)))),
        }
    }

    fn proved(&self, resolution: &Resolution) -> Result<Vec<Verified>, Refused> {
        let (reach, port) = self.judged_by();
        let spec = self.spec();
        judge::dialled(reach, resolution, &Wanted { host: &spec.host, port, ipv6: spec.transport.ipv6 })
    }

    fn found_good(&self, vouched: Vouched) -> Vouched {
        let mut state = self.verification().0.lock();
        if let Some((since, _)) = state.silent_since.take() {
            tracing::info!(endpoint = %self.name(), silent_for = ?since.elapsed(), "a DNS server answers again");
        }
        state.good = Some(vouched.clone());
        vouched
    }

    /// Nobody answers: what was verified before holds for its grace, with an alarm when it first does.
    fn found_silent(&self, refused: Refused, now: Instant) -> Result<Vouched, Verdict> {
        let grace = self.source().stale_grace();
        let mut state = self.verification().0.lock();
        let first = state.silent_since.is_none();
        state.silent_since.get_or_insert_with(|| (now, SystemTime::now()));
        let stand_in = state.stand_in(grace, now);
        if stand_in.is_none() {
            state.good = None;
        }
        drop(state);
        let verdict = self.verdict(refused);
        match stand_in {
            Some(stand_in) => {
                if first {
                    let code = verdict.code.as_str();
                    tracing::error!(endpoint = %self.name(), %verdict, code, ?grace, "verified addresses stand in for an answer");
                }
                Ok(stand_in)
            }
            None => {
                self.say(&verdict);
                Err(verdict)
            }
        }
    }

    /// Somebody answered, and the answer is bad: it ends what was verified before at once.
    fn found_bad(&self, refused: Refused) -> Verdict {
        let mut state = self.verification().0.lock();
        state.good = None;
        state.silent_since = None;
        drop(state);
        let verdict = self.verdict(refused);
        self.say(&verdict);
        verdict
    }

    fn verdict(&self, refused: Refused) -> Verdict {
        Verdict { endpoint: Arc::clone(self.name()), code: refused.code, seen: refused.seen }
    }

    /// Says it once, and again when it changes.
    fn say(&self, verdict: &Verdict) {
        if self.last().verdict.lock().as_ref() != Some(verdict) {
            let entry = verdict.entry();
            tracing::warn!(code = verdict.code.as_str(), who = entry.who.as_str(), "{verdict}");
        }
    }

    /// Public names are often answered with another few of many addresses each time, and their connections end with
    /// their lifetime.
    fn tell_pool(&self, addresses: &[SocketAddr], resolution: &Resolution, vouched: Option<&Vouched>, now: Instant) {
        if *self.judged_by().0 == Reach::Public {
            return;
        }
        // A connection to a front must not come back into the pool while the front is there.
        let addresses = if self.verification().0.lock().front.is_some() { &[] } else { addresses };
        let known = vouched.map_or(resolution, |vouched| &vouched.resolution);
        let ends = known.until.and_then(|until| until.checked_add(self.source().stale_grace()));
        self.pool().verified(addresses.to_vec(), resolution.until, ends, now);
    }

    fn report(&self, addresses: &[SocketAddr], resolution: Arc<Resolution>, verdict: Option<&Verdict>, now: Instant) {
        let front = self.verification().0.lock().front.clone();
        *self.last().verdict.lock() = verdict.cloned().or(front);
        *self.last().resolution.lock() = Some(ResolutionReport {
            at: SystemTime::now(),
            by: Arc::clone(&resolution.by),
            addresses: addresses.iter().map(SocketAddr::ip).collect(),
            valid_for: resolution.until.map(|until| until.saturating_duration_since(now)),
            refused: verdict.cloned(),
            resolution,
        });
    }

    /// An answer showed how the request came. Where it came to a public front, nothing more is sent until a request
    /// without content shows that it is gone, and kept connections are closed.
    ///
    /// What depends on the single request (the policy of a VPC endpoint, a hop behind the service) ends nothing.
    pub fn met_front(self: &Arc<Self>, code: Code) -> Verdict {
        let seen = match self.last().connection.lock().as_ref() {
            Some(proof) => format!("the answer from {} says: {}", proof.address, code.entry().title),
            None => code.entry().title.to_owned(),
        };
        let verdict = Verdict { endpoint: Arc::clone(self.name()), code, seen };
        if matches!(code, Code::Http01 | Code::Http02 | Code::Http03 | Code::Http04) {
            self.say(&verdict);
            self.verification().0.lock().front = Some(verdict.clone());
            *self.last().verdict.lock() = Some(verdict.clone());
            self.pool().forget();
        }
        verdict
    }
}
