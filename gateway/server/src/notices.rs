//! Tells receivers how far budgets have come.
//!
//! **Promises.** Nothing of it is on a request's path: budgets are looked at once a second, and a receiver that is down, slow or
//! lying costs one connection and a queue that is bounded. A notice is delivered once for each threshold and stretch, over a
//! restart by what the ledger remembers, and by several gateways through their store; where one of these cannot be asked, or a
//! receiver takes a notice and its answer is lost, it comes again under the same `webhook-id`. What was not delivered is tried
//! for a day, and again by the next process as long as the stretch lasts.
//!
//! **Does not do.** No notice holds a prompt, a credential or the name of a user.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use accounting::{Mode, Reached, SLOT_SECONDS};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use egress::ControlHost;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use ledger::Undertaken;
use serde_json::json;
use telemetry::metrics::Delivery;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::gateway::Gateway;
use crate::snapshot::{Hook, Rule};

/// How often budgets are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Time for one delivery.
const LIMIT: Duration = Duration::from_secs(10);
/// The wait after a failure, doubled with each to the longest.
const AGAIN: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// When a notice is looked at again that another gateway is about to deliver.
const ELSEWHERE: Duration = Duration::from_secs(60);
/// How long a notice is tried.
const TRIED_FOR: Duration = Duration::from_secs(24 * 3_600);
/// Most notices that wait for one receiver.
pub const MOST_WAITING: usize = 4_096;
/// Most bytes of an answer, which nobody reads.
const LONGEST_ANSWER: usize = 16 * 1024;
/// Failures in a row after which somebody is called.
const ALARMS_AFTER: u32 = 3;
/// How long a delivery is remembered after its stretch, in seconds.
const REMEMBERED_FOR: u64 = 45 * 24 * 3_600;

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// What a receiver is to be told.
#[derive(Clone, Debug)]
struct Notice {
    /// The same in every process and gateway that would tell it.
    id: Arc<str>,
    body: Bytes,
    since: Instant,
    /// Another gateway is about to deliver it until then.
    not_before: Option<Instant>,
    /// Until when it is remembered that it was told, in seconds since 1970.
    remembered: u64,
}

/// What waits for one receiver.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Notice>,
    is_busy: bool,
    failures: u32,
    next: Option<Instant>,
}

/// How a try ended.
enum Tried {
    /// The receiver has it, or had it before.
    Told {
        now: bool,
    },
    Elsewhere,
    Failed(String),
}

struct Over {
    hook: Arc<str>,
    notice: Notice,
    tried: Tried,
}

#[derive(Default)]
struct Desk {
    queues: HashMap<Arc<str>, Queue>,
    running: JoinSet<Over>,
}

/// Runs until it is dropped.
pub(crate) async fn run(gateway: &Arc<Gateway>) {
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut desk = Desk::default();
    loop {
        tokio::select! {
            _ = look.tick() => desk.look(gateway),
            Some(over) = desk.running.join_next(), if !desk.running.is_empty() => match over {
                Ok(over) => desk.over(gateway, over),
                // Its queue would wait for ever: a delivery does not panic, and one that did is found by this line.
                Err(error) => tracing::error!(%error, "a delivery of a notice ended in a fault"),
            },
        }
        desk.send(gateway);
        let waiting =
            desk.queues.iter().map(|(hook, queue)| (&**hook, queue.waiting.len() + usize::from(queue.is_busy)));
        gateway.metrics.set_waiting_notices(waiting);
    }
}

impl Desk {
    /// Finds what is to be told.
    fn look(&mut self, gateway: &Gateway) {
        let snapshot = gateway.snapshot();
        self.queues.retain(|name, queue| queue.is_busy || snapshot.webhooks.iter().any(|hook| hook.name == *name));
        for hook in &snapshot.webhooks {
            self.queues.entry(Arc::clone(&hook.name)).or_default();
        }
        for rule in snapshot.budgets.rules() {
            for (user, budget) in rule.all() {
                let waiting =
                    rule.webhook.as_ref().and_then(|hook| self.queues.get(hook)).map(|queue| queue.waiting.len());
                if waiting.is_some_and(|waiting| waiting + rule.thresholds.len() > MOST_WAITING) {
                    // The next look finds them, when there is room.
                    continue;
                }
                for (percent, reached) in budget.crossed(&rule.thresholds) {
                    announce(gateway, rule, (percent, reached));
                    let Some(hook) = &rule.webhook else { continue };
                    let notice = notice(rule, user.as_deref(), (percent, reached));
                    let Some(queue) = self.queues.get_mut(hook) else { continue };
                    if queue.waiting.len() < MOST_WAITING {
                        queue.waiting.push_back(notice);
                    } else {
                        gateway.metrics.delivery(hook, Delivery::Dropped);
                    }
                }
            }
        }
    }

    /// Begins what can be begun: one delivery at a time to each receiver.
    fn send(&mut self, gateway: &Arc<Gateway>) {
        let (snapshot, now) = (gateway.snapshot(), Instant::now());
        for hook in &snapshot.webhooks {
            let Some(queue) = self.queues.get_mut(&hook.name) else { continue };
            if queue.is_busy || queue.next.is_some_and(|next| now < next) {
                continue;
            }
            let is_due = |notice: &Notice| notice.not_before.is_none_or(|at| now >= at);
            let Some(notice) = queue.waiting.iter().position(is_due).and_then(|at| queue.waiting.remove(at)) else {
                continue;
            };
            queue.is_busy = true;
            let (gateway, target) = (Arc::clone(gateway), Target::of(hook));
            self.running.spawn(async move {
                let tried = deliver(&gateway, &target, &notice).await;
                Over { hook: target.name, notice, tried }
            });
        }
    }

    fn over(&mut self, gateway: &Gateway, over: Over) {
        let Over { hook, mut notice, tried } = over;
        let Some(queue) = self.queues.get_mut(&hook) else { return };
        queue.is_busy = false;
        match tried {
            Tried::Told { now } => {
                if now {
                    gateway.metrics.delivery(&hook, Delivery::Delivered);
                    if queue.failures >= ALARMS_AFTER {
                        tracing::info!(webhook = %hook, "the receiver takes notices again");
                    }
                }
                (queue.failures, queue.next) = (0, None);
            }
            Tried::Elsewhere => {
                notice.not_before = Some(Instant::now() + ELSEWHERE);
                queue.waiting.push_back(notice);
            }
            Tried::Failed(why) => {
                queue.failures = queue.failures.saturating_add(1);
                queue.next = Some(Instant::now() + wait_after(queue.failures));
                gateway.metrics.delivery(&hook, Delivery::Failed);
                if queue.failures == ALARMS_AFTER {
                    let waiting = queue.waiting.len() + 1;
                    tracing::error!(webhook = %hook, %why, waiting, "ALARM webhook_failing: a receiver of notices takes none");
                } else {
                    tracing::warn!(webhook = %hook, %why, "a notice was not delivered, and is tried again");
                }
                if notice.since.elapsed() < TRIED_FOR {
                    // Behind the others, so that one which is never taken does not hold them up.
                    queue.waiting.push_back(notice);
                } else {
                    gateway.metrics.delivery(&hook, Delivery::GivenUp);
                    tracing::error!(webhook = %hook, id = %notice.id, "ALARM webhook_failing: a notice was tried for a day and is given up");
                }
            }
        }
    }
}

fn wait_after(failures: u32) -> Duration {
    let factor = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    AGAIN.saturating_mul(factor).min(LONGEST_WAIT)
}

/// Says it in the log and the figures. Of users it says no more than that one has come so far.
fn announce(gateway: &Gateway, rule: &Rule, (percent, reached): (u32, Reached)) {
    gateway.metrics.threshold(&rule.name, percent);
    let (budget, limit, spent) = (&rule.name, reached.limit, reached.spent);
    if rule.counts_users() {
        tracing::info!(%budget, percent, "a user has reached a threshold of a budget");
    } else {
        tracing::warn!(%budget, percent, %spent, %limit, "ALARM budget_threshold: a budget has reached a threshold");
    }
}

fn notice(rule: &Rule, user: Option<&str>, (percent, reached): (u32, Reached)) -> Notice {
    let begins = u64::from(reached.stretch) * SLOT_SECONDS;
    let stretch = rule.calendar.at(begins);
    let named = format!("{}\n{}\n{}\n{percent}", rule.key(), user.unwrap_or("-"), reached.stretch);
    let id = ingress::auth::hex_of(&ingress::auth::digest_of(&named));
    let body = json!({
        "type": "budget.threshold_reached",
        "timestamp": stamp(seconds(SystemTime::now())),
        "data": {
            "budget": rule.name,
            "percent": percent,
            "spent_usd": reached.spent.to_string(),
            "limit_usd": reached.limit.to_string(),
            "mode": match rule.terms.mode { Mode::Hard => "hard", Mode::Warning => "warning" },
            "period": rule.calendar.period().name(),
            "time_zone": rule.calendar.zone(),
            "begins": stamp(stretch.begins),
            "ends": stamp(stretch.ends),
            "user": user.filter(|user| !user.is_empty()),
        },
    });
    Notice {
        id: format!("msg_{}", id.get(..32).unwrap_or(&id)).into(),
        body: body.to_string().into(),
        since: Instant::now(),
        not_before: None,
        remembered: stretch.ends + REMEMBERED_FOR,
    }
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn stamp(seconds: u64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).unwrap_or(0));
    at.ok().and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
}

/// A receiver, for the task that delivers.
struct Target {
    name: Arc<str>,
    host: ControlHost,
    path: Arc<str>,
    key: hmac::Key,
}

impl Target {
    fn of(hook: &Hook) -> Self {
        let Hook { name, host, path, key } = hook;
        Self { name: Arc::clone(name), host: host.clone(), path: Arc::clone(path), key: key.clone() }
    }
}

async fn deliver(gateway: &Arc<Gateway>, target: &Target, notice: &Notice) -> Tried {
    let (ledger, id) = (gateway.ledger.clone(), Arc::clone(&notice.id));
    // What the ledger cannot say is taken for a no: the receiver knows the id.
    if let Ok(Ok(true)) = tokio::task::spawn_blocking(move || ledger.was_told(&id)).await {
        return Tried::Told { now: false };
    }
    let mut board = gateway.snapshot().sharing.as_ref().map(|sharing| sharing.counters.board());
    if let Some(board) = &mut board {
        match board.undertake(&notice.id).await {
            Ok(Undertaken::Here) => {}
            Ok(Undertaken::Elsewhere) => return Tried::Elsewhere,
            Ok(Undertaken::Done) => return Tried::Told { now: false },
            Err(error) => tracing::warn!(%error, "a notice may be delivered by another gateway as well"),
        }
    }
    if let Err(why) = post(target, notice, SystemTime::now()).await {
        return Tried::Failed(why);
    }
    let (ledger, id) = (gateway.ledger.clone(), Arc::clone(&notice.id));
    let times = (seconds(SystemTime::now()), notice.remembered);
    let kept = tokio::task::spawn_blocking(move || ledger.tell(&id, times)).await;
    if !matches!(kept, Ok(Ok(()))) {
        tracing::warn!(id = %notice.id, "the ledger did not take that a notice was delivered; it may come again after a restart");
    }
    if let Some(board) = &mut board
        && let Err(error) = board.done(&notice.id).await
    {
        tracing::warn!(%error, id = %notice.id, "the store did not take that a notice was delivered; it may come again");
    }
    Tried::Told { now: true }
}

async fn post(target: &Target, notice: &Notice, now: SystemTime) -> Result<(), String> {
    let headers = signed(&target.key, notice, seconds(now));
    let posted = target.host.post(&target.path, headers, notice.body.clone(), LONGEST_ANSWER);
    match timeout(LIMIT, posted).await {
        Err(_) => Err(format!("there was no answer within {} s", LIMIT.as_secs())),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(answer)) if answer.status.is_success() => Ok(()),
        Ok(Ok(answer)) => Err(format!("it answers {}", answer.status.as_u16())),
    }
}

/// The headers of Standard Webhooks: id, time and body are signed together, so that no part fits another.
fn signed(key: &hmac::Key, notice: &Notice, seconds: u64) -> HeaderMap {
    let mut context = hmac::Context::with_key(key);
    context.update(format!("{}.{seconds}.", notice.id).as_bytes());
    context.update(&notice.body);
    let signature = format!("v1,{}", STANDARD.encode(context.sign()));
    let value = |text: &str| HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""));
    HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (ID, value(&notice.id)),
        (TIMESTAMP, HeaderValue::from(seconds)),
        (SIGNATURE, value(&signature)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification's own libraries.
    #[test]
    fn a_notice_is_signed_as_standard_webhooks_sign() {
        let secret = crate::configuration::signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("24 bytes");
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let notice = Notice {
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek".into(),
            body: Bytes::from_static(br#"{"test": 2432232314}"#),
            since: Instant::now(),
            not_before: None,
            remembered: 0,
        };

        let headers = signed(&key, &notice, 1_614_265_330);

        assert_eq!(headers["webhook-signature"], "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(headers["webhook-timestamp"], "1614265330");
    }

    #[test]
    fn the_wait_doubles_to_five_minutes() {
        let waits: Vec<u64> = [1, 2, 3, 9, 10, 40, u32::MAX].map(|failures| wait_after(failures).as_secs()).into();

        assert_eq!(waits, [1, 2, 4, 256, 300, 300, 300]);
    }
}
