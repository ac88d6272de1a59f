//! A token while it is good: kept, asked for anew in time, and shared by everybody who shows it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::ask::{self, Heard, Issued, Lent, Refused};
use super::{LentKeys, TokenSpec, TokenStatus};
use crate::endpoint::Endpoint;
use crate::error::SendError;
use crate::fault::{Code, Verdict};

/// A token that ends within this time is not sent any more while a new one can be had: it must outlive its journey.
const MARGIN: Duration = Duration::from_secs(60);
/// Until a failure is looked at again; doubled each time, so that a host that refuses us is not pestered.
const AGAIN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));
/// Time for one request.
const LIMIT: Duration = Duration::from_secs(20);
/// Clocks may differ by this before it is said. Beyond five minutes an issuer refuses assertions.
const SKEW_S: u64 = 60;
/// A token that an endpoint refuses is asked for anew at most this often: where the identity has no right at the endpoint,
/// a new token is refused as well.
const DOUBT: Duration = Duration::from_secs(60);

/// Holds one token.
pub(crate) struct Keeper {
    spec: Arc<TokenSpec>,
    host: Arc<Endpoint>,
    kept: Mutex<Kept>,
    /// One request at a time: the others wait for its answer and take it.
    asking: tokio::sync::Mutex<()>,
    started: AtomicBool,
}

#[derive(Default)]
struct Kept {
    token: Option<Token>,
    failed: Option<Failed>,
    ahead_s: Option<i64>,
    /// Until when a refusal of an endpoint changes nothing.
    doubted_until: Option<Instant>,
}

struct Token {
    lent: Lent,
    since: Instant,
    /// By this machine's steady clock, so that a wrong calendar harms nothing.
    ends: Instant,
    ends_at: SystemTime,
    /// When to ask again, and until when it is taken without asking.
    refresh: Instant,
    fresh: Instant,
}

struct Failed {
    verdict: Verdict,
    /// Nobody asks before.
    until: Instant,
    times: u32,
}

impl Keeper {
    pub(crate) fn new(spec: Arc<TokenSpec>, host: Arc<Endpoint>) -> Self {
        Self {
            spec,
            host,
            kept: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
            started: AtomicBool::new(false),
        }
    }

    pub(crate) fn spec(&self) -> &Arc<TokenSpec> {
        &self.spec
    }

    pub(crate) fn host(&self) -> &Arc<Endpoint> {
        &self.host
    }

    /// True for the first caller only.
    pub(crate) fn start_once(&self) -> bool {
        !self.started.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn status(&self) -> TokenStatus {
        let kept = self.kept.lock();
        let now = Instant::now();
        TokenStatus {
            host: Arc::clone(self.host.name()),
            grant: self.spec.grant.as_str(),
            scope: self.spec.scope.clone(),
            expires: kept.token.as_ref().filter(|token| now < token.ends).map(|token| token.ends_at),
            failed: kept.failed.as_ref().map(|failed| failed.verdict.clone()),
            clock_ahead_s: kept.ahead_s,
        }
    }

    /// The token, where it is at hand.
    pub(crate) fn at_hand(&self, now: Instant) -> Option<Lent> {
        let kept = self.kept.lock();
        kept.token.as_ref().filter(|token| now < token.fresh).map(|token| token.lent.clone())
    }

    /// The keys to sign with, where there are some that have not run out.
    pub(crate) fn keys(&self, now: Instant) -> Option<LentKeys> {
        let kept = self.kept.lock();
        match &kept.token.as_ref().filter(|token| now < token.ends)?.lent {
            Lent::Keys(keys) => Some(keys.clone()),
            Lent::Token(_) => None,
        }
    }

    /// The token, asked for if need be.
    ///
    /// # Errors
    ///
    /// [`SendError::NoCredential`] when there is none, and at once when one was refused a moment ago.
    pub(crate) async fn token(&self, deadline: Instant) -> Result<Lent, SendError> {
        let asked = async {
            let _asking = self.asking.lock().await;
            let now = Instant::now();
            if self.at_hand(now).is_none() && !self.is_failing(now) {
                self.ask().await;
            }
        };
        let in_time = timeout_at(deadline, asked).await.is_ok();
        let kept = self.kept.lock();
        // An old token is better than none for as long as it is good at all.
        if let Some(token) = kept.token.as_ref().filter(|token| Instant::now() < token.ends) {
            return Ok(token.lent.clone());
        }
        let verdict = match &kept.failed {
            Some(failed) if in_time => failed.verdict.clone(),
            _ => self.verdict(Code::Id02, "the identity host did not answer in time".to_owned()),
        };
        Err(SendError::NoCredential(Box::new(verdict)))
    }

    /// An endpoint refused the token (401) of a request that began at `sent`, or a store the keys: the next request asks for a
    /// new one. The old one is used until there is, because it may not be what was refused.
    pub(crate) fn is_doubted(&self, sent: Instant, now: Instant) {
        let mut kept = self.kept.lock();
        if kept.doubted_until.is_some_and(|until| now < until) {
            return;
        }
        // A refusal that comes late says nothing of a token that is newer.
        let Some(token) = kept.token.as_mut().filter(|token| token.since <= sent && now < token.fresh) else { return };
        token.fresh = now;
        token.refresh = now;
        kept.doubted_until = Some(now + DOUBT);
        drop(kept);
        tracing::warn!(identity = %self.host.name(), scope = %self.spec.scope, "an endpoint refuses the token; a new one is asked for");
    }

    fn is_failing(&self, now: Instant) -> bool {
        self.kept.lock().failed.as_ref().is_some_and(|failed| now < failed.until)
    }

    /// Asks, and keeps what comes of it. The caller holds `asking`.
    async fn ask(&self) {
        let limit = Instant::now() + LIMIT;
        let heard = timeout_at(limit, ask::ask(&self.spec, &self.host)).await;
        let Heard { token, ahead_s } =
            heard.unwrap_or(Heard { token: Err(Refused::Unusable("it took too long")), ahead_s: None });
        self.keep(token, ahead_s, Instant::now());
    }

    fn keep(&self, token: Result<Issued, Refused>, ahead_s: Option<i64>, now: Instant) {
        let mut kept = self.kept.lock();
        self.look_at_clocks(kept.ahead_s, ahead_s);
        kept.ahead_s = ahead_s.or(kept.ahead_s);
        match token {
            Ok(issued) => {
                if kept.failed.take().is_some() {
                    tracing::info!(identity = %self.host.name(), "a token is to be had again");
                }
                kept.token = Some(Token::new(issued, now));
            }
            Err(refused) => {
                let code = if ahead_s.is_some_and(is_skewed) { Code::Id01 } else { Code::Id02 };
                let verdict = self.verdict(code, refused.to_string());
                let times = kept.failed.as_ref().map_or(0, |failed| failed.times);
                let left = kept.token.as_ref().map(|token| token.ends.saturating_duration_since(now));
                if times == 0 {
                    let who = verdict.entry().who.as_str();
                    tracing::error!(code = code.as_str(), who, good_for = ?left.unwrap_or_default(), "{verdict}");
                }
                let wait = AGAIN.0.saturating_mul(1 << times.min(6)).min(AGAIN.1);
                kept.failed = Some(Failed { verdict, until: now + wait, times: times + 1 });
            }
        }
    }

    fn look_at_clocks(&self, before: Option<i64>, ahead_s: Option<i64>) {
        let Some(ahead) = ahead_s.filter(|ahead| is_skewed(*ahead)) else { return };
        if !before.is_some_and(is_skewed) {
            let seen = format!("this machine's clock is {ahead} s ahead of the identity host's");
            let verdict = self.verdict(Code::Id01, seen);
            tracing::warn!(code = "ID-01", who = verdict.entry().who.as_str(), "{verdict}");
        }
    }

    fn verdict(&self, code: Code, seen: String) -> Verdict {
        Verdict { endpoint: Arc::clone(self.host.name()), code, seen }
    }

    /// When somebody should ask again without being asked to.
    fn next(&self, now: Instant) -> Instant {
        let kept = self.kept.lock();
        match (&kept.token, &kept.failed) {
            (_, Some(failed)) => failed.until,
            (Some(token), None) => token.refresh,
            (None, None) => now,
        }
    }
}

impl Token {
    fn new(issued: Issued, now: Instant) -> Self {
        let life = issued.lifetime;
        let half = life / 2;
        let refresh = issued.refresh_in.map_or(half, |wish| wish.min(half.max(life.saturating_sub(MARGIN * 5))));
        Self {
            lent: issued.lent,
            since: now,
            ends: now + life,
            ends_at: SystemTime::now() + life,
            refresh: now + refresh,
            fresh: now + life.saturating_sub(MARGIN.min(life / 10)),
        }
    }
}

fn is_skewed(ahead_s: i64) -> bool {
    ahead_s.unsigned_abs() > SKEW_S
}

/// Keeps the token fresh for as long as somebody holds the keeper.
pub(crate) async fn keep_fresh(keeper: Weak<Keeper>) {
    loop {
        let Some(next) = keeper.upgrade().map(|keeper| keeper.next(Instant::now())) else { return };
        sleep_until(next).await;
        let Some(keeper) = keeper.upgrade() else { return };
        let _asking = keeper.asking.lock().await;
        // A request may have asked meanwhile.
        if keeper.next(Instant::now()) <= Instant::now() {
            keeper.ask().await;
        }
    }
}
