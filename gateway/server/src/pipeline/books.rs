//! The books of one request: its reservation, its open record, its place among those in flight. They are closed exactly
//! once, on every way out: an answer, an error, a stream's end, a caller that goes away, a task that is dropped.

mod held_back;
mod lessons;
mod probe;
mod stand_in;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use accounting::{SettledBy, Settlement, Tokens};
use egress::{ConnectionProof, Level};
use http::{HeaderMap, StatusCode, Uri};
use ingress::body::BodyPermit;
use ingress::limits::Admitted as AdmittedGuard;
use policy::{Permit, TargetId, Warrant};
use routing::{Ask, Plan, Sent};
use telemetry::audit::{self, AttemptNote, OpenRecord, SeenNote, UsageNote};
use telemetry::metrics::{Direction, InFlight};
use wire::{Code, Outcome, TimeoutKind, Usage};

use super::arrive::{DecisionId, Exchange};
use super::capture;
use super::fallback::StandIn;
use super::plan::Turn;
use super::refusal::{Refusal, Refused};
use super::reserve::Charge;
use crate::gateway::Gateway;
use crate::snapshot::{ModelIndex, Session, Snapshot, Target};
use lessons::Pace;
use probe::Probe;

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The upstream said that it was done.
    Complete,
    /// The upstream sent an error event.
    UpstreamError,
    /// The upstream stopped in the middle.
    Truncated,
    /// The upstream was silent for too long, or took too long in all.
    TimedOut(TimeoutKind),
    /// The caller went away.
    Disconnected,
    /// The gateway itself failed.
    Fault,
}

impl End {
    /// What the attempt met; nothing where the caller left, or the gateway failed, before it met anything.
    fn met(self) -> Option<Outcome> {
        match self {
            Self::Complete => Some(Outcome::Success),
            Self::UpstreamError => Some(Outcome::ErrorEvent { retryable: true }),
            Self::Truncated => Some(Outcome::BrokenBody),
            Self::TimedOut(kind) => Some(Outcome::Timeout(kind)),
            Self::Disconnected | Self::Fault => None,
        }
    }
}

/// What a request carries beside its money and its record.
pub(super) struct Carried {
    pub(super) held: Held,
    /// The request as routing sees it.
    pub(super) ask: Ask,
    pub(super) session: Option<Session>,
    pub(super) stand_ins: Vec<StandIn>,
    pub(super) turn: Option<Turn>,
    pub(super) input_bytes: usize,
}

/// The place in flight and the share of buffered bytes.
pub(super) type Held = (AdmittedGuard, BodyPermit);

/// The books, open. Dropping them closes them.
pub(super) struct Books {
    exchange: Option<Box<Exchange>>,
    permit: Arc<Permit>,
    charge: Option<Charge>,
    record: Option<OpenRecord>,
    /// Released with the books, or with the last byte of a large whole reply.
    held: Option<Held>,
    ask: Ask,
    session: Option<Session>,
    /// The models that stand in, and the one of them that it has a place of.
    stand_ins: Vec<StandIn>,
    placed: Option<ModelIndex>,
    /// Its place in the queue, where it waited; given up once its first attempt counts.
    turn: Option<Turn>,
    input_bytes: usize,
    pace: Pace,
    _in_flight: Option<InFlight>,
    attempt: Option<Attempt>,
    status: Option<StatusCode>,
    first_byte: Option<Duration>,
    answer: capture::Answer,
}

/// The attempt that is running.
struct Attempt {
    id: TargetId,
    target: Arc<Target>,
    begun: Instant,
    /// And how much was shown about its path when the answer came.
    connection: Option<(Arc<ConnectionProof>, Level)>,
    verdict: Option<egress::Code>,
    seen: SeenNote,
    /// What routing assumed for it. INVARIANT: handed back exactly once, when the attempt ends.
    sent: Option<Sent>,
    sent_at: Instant,
    answered: bool,
    /// Its answer said how many tokens are left, what it reserved taken off already.
    told_quota: bool,
    _in_flight: InFlight,
}

impl Books {
    pub(super) fn open(
        exchange: Box<Exchange>,
        permit: Arc<Permit>,
        mut charge: Charge,
        record: OpenRecord,
        carried: Carried,
    ) -> Box<Self> {
        charge.may_be_sent();
        let answer = capture::Answer::of(&exchange);
        let in_flight = exchange.caller.as_ref().map(|caller| caller.app.metrics.enter());
        Box::new(Self {
            exchange: Some(exchange),
            permit,
            charge: Some(charge),
            record: Some(record),
            held: Some(carried.held),
            ask: carried.ask,
            session: carried.session,
            stand_ins: carried.stand_ins,
            placed: None,
            turn: carried.turn,
            input_bytes: carried.input_bytes,
            pace: Pace::default(),
            _in_flight: in_flight,
            attempt: None,
            status: None,
            first_byte: None,
            answer,
        })
    }

    /// Bytes go down, or are about to: they belong to what is kept of the answer.
    pub(super) fn going_down(&mut self, bytes: &[u8]) {
        self.answer.push(bytes);
    }

    pub(super) fn exchange(&self) -> &Exchange {
        self.exchange.as_deref().expect("the exchange is taken only by `refuse`, which consumes the books")
    }

    /// Lets go of the request's head, whose headers hold the buffer that they came in: nothing asks for it any more, and a
    /// stream goes on for long.
    pub(super) fn forget_the_head(&mut self) {
        if let Some(exchange) = &mut self.exchange {
            exchange.head.headers = HeaderMap::new();
            exchange.head.uri = Uri::default();
        }
    }

    pub(super) fn gateway(&self) -> Arc<Gateway> {
        Arc::clone(&self.exchange().gateway)
    }

    pub(super) fn snapshot(&self) -> &Snapshot {
        &self.exchange().snapshot
    }

    pub(super) fn decision(&self) -> &DecisionId {
        &self.exchange().decision
    }

    pub(super) fn target(&self, id: TargetId) -> Arc<Target> {
        Arc::clone(self.snapshot().target(id))
    }

    /// The plan's next warrant; a half-open target gives it to one request only, as its probe. What an administrator has
    /// held back since the request was permitted it is passed over.
    pub(super) async fn next_warrant(&mut self, plan: &mut Plan, begun: Instant) -> Option<Warrant> {
        loop {
            let next = plan.next_probing(|target| self.snapshot().target(target).health.lock().take_probe(begun))?;
            let target = self.target(next.target());
            let probe = Probe::taken(&target, begun);
            if !self.is_withheld(next.target()) && self.has_a_place(next.target()).await {
                probe.keep();
                return Some(next);
            }
            drop(probe);
            self.did_without(&target);
        }
    }

    pub(super) fn begin_attempt(&mut self, (id, target): (TargetId, &Arc<Target>), begun: Instant) {
        let in_flight = target.metrics.enter();
        let sent_at = Instant::now();
        let sent = Some(target.steering.on_send(&self.ask, id, sent_at));
        self.turn = None;
        let target = Arc::clone(target);
        self.attempt = Some(Attempt {
            id,
            target,
            begun,
            connection: None,
            verdict: None,
            seen: SeenNote::default(),
            sent,
            sent_at,
            answered: false,
            told_quota: false,
            _in_flight: in_flight,
        });
    }

    pub(super) fn connected(&mut self, connection: &Arc<ConnectionProof>, level: Level) {
        if let Some(attempt) = &mut self.attempt {
            attempt.connection = Some((Arc::clone(connection), level));
        }
    }

    /// What goes to the running attempt's endpoint in place of people, and comes back of places.
    pub(super) fn seen(&mut self) -> Option<&mut SeenNote> {
        self.attempt.as_mut().map(|attempt| &mut attempt.seen)
    }

    /// The path to the running attempt's endpoint is to blame.
    pub(super) fn path_failed(&mut self, code: egress::Code) {
        if let Some(attempt) = &mut self.attempt {
            attempt.verdict = Some(code);
            attempt.target.metrics.path_refused(code.as_str());
        }
    }

    /// The head of an answer came: it says how its endpoint stands.
    pub(super) fn heard(&mut self, headers: &HeaderMap) {
        let Some(Attempt { target, sent: Some(sent), told_quota, .. }) = &mut self.attempt else { return };
        let said = wire::said_by(headers);
        if said.is_anything() {
            target.steering.on_head(&said, sent, Instant::now());
            *told_quota = said.remaining_tokens.is_some();
        }
    }

    /// The running attempt failed: it is noted with the usage that it stated, its target's health learns of it, and what it
    /// may have cost is kept: what it stated, or all that was reserved.
    pub(super) fn failed(&mut self, outcome: Outcome, blocked_for: Option<Duration>, usage: Option<&Usage>) {
        let Some(mut attempt) = self.attempt.take() else { return };
        let now = Instant::now();
        attempt.target.learn(outcome, blocked_for, (attempt.begun, now));
        if let Some(sent) = attempt.sent.take() {
            match outcome {
                Outcome::Status(429) | Outcome::ThrottledEvent => attempt.target.steering.on_refused(sent, now),
                _ => attempt.target.steering.on_gone(sent, now),
            }
        }
        self.did_without(&attempt.target);
        // Whoever says that he has worked has, although the outcome alone would not show it.
        let may_have_executed =
            cost_something(outcome) || (outcome.may_have_executed() && usage.is_some_and(has_worked));
        if may_have_executed && let Some(charge) = &mut self.charge {
            charge.failed_attempt(&attempt.target, believed(usage));
        }
        let status = if let Outcome::Status(status) = outcome { Some(status) } else { None };
        let usage = usage.map(note_of);
        self.note(&attempt, &Met { name: name_of(outcome), status, may_have_executed, usage }, now);
    }

    fn did_without(&mut self, target: &Target) {
        if let Some(charge) = &mut self.charge {
            charge.did_without(target);
        }
    }

    /// The running attempt was answered with this status. Its note is written, and its target's health told, when its
    /// end is known: a stream that begins well may still break.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
        if let Some(attempt) = &mut self.attempt {
            attempt.answered = true;
        }
    }

    /// The first bytes of a stream go down.
    pub(super) fn first_byte(&mut self) {
        if self.first_byte.is_none() {
            let elapsed = self.exchange().started.elapsed();
            self.first_byte = Some(elapsed);
            if let Some(model) = self.exchange().model_index {
                self.snapshot().model(model).metrics.first_token(elapsed, self.exchange().spans.trace_id());
            }
            self.first_token(elapsed);
        }
    }

    /// A whole reply goes down: an answer, or (`failed`) the upstream's own error.
    pub(super) fn close_whole(
        mut self: Box<Self>,
        status: StatusCode,
        usage: Option<&Usage>,
        failed: bool,
    ) -> (Box<Exchange>, Held) {
        self.status = Some(status);
        let now = Instant::now();
        self.first_byte = Some(now.saturating_duration_since(self.exchange().started));
        let how = if failed { Close::UpstreamError } else { Close::Answered(audit::End::Complete) };
        self.close(how, Some(Outcome::Success), usage, now);
        let exchange = self.exchange.take().expect("the books are closed once, and consumed by it");
        let held = self.held.take().expect("what is held is given away once, with the exchange");
        (exchange, held)
    }

    /// A stream ended.
    pub(super) fn close_stream(&mut self, end: End, usage: Option<&Usage>) {
        let how = match end {
            End::Complete => Close::Answered(audit::End::Complete),
            End::UpstreamError => Close::Answered(audit::End::Error),
            End::Truncated | End::TimedOut(_) => Close::Answered(audit::End::Truncated),
            End::Disconnected => Close::Answered(audit::End::Disconnected),
            End::Fault => Close::Fault,
        };
        self.close(how, end.met(), usage, Instant::now());
    }

    /// No attempt was answered, and the caller gets our error.
    pub(super) fn refuse(mut self: Box<Self>, refusal: Refusal) -> Box<Refused> {
        self.status = Some(refusal.code().status());
        self.close(Close::Refused(refusal.code().as_str()), None, None, Instant::now());
        let exchange = self.exchange.take().expect("the books are closed once, and consumed by it");
        exchange.refuse_recorded(refusal)
    }

    /// Closes once; `met` is how the running attempt ended, if it came to an end. Its note says what was `stated`, also where
    /// that is not believed. All that is closed ends at the same moment, `now`.
    fn close(&mut self, how: Close, met: Option<Outcome>, stated: Option<&Usage>, now: Instant) {
        let Some(charge) = self.charge.take() else { return };
        let target = self.attempt.as_ref().map(|attempt| Arc::clone(&attempt.target));
        let usage = believed(stated);
        let settlement = settle(charge, how, target.as_deref(), usage);
        self.teach(usage, now);
        let (usage, stated) = (usage.map(note_of), stated.map(note_of));
        if let Some(attempt) = self.attempt.take() {
            match met {
                Some(outcome) => attempt.target.learn(outcome, None, (attempt.begun, now)),
                None => attempt.target.health.lock().give_probe_back(attempt.begun),
            }
            let unmet = if how == Close::Fault { "abandoned" } else { "disconnected" };
            let name = met.map_or(unmet, name_of);
            let status = self.status.map(|status| status.as_u16());
            self.note(&attempt, &Met { name, status, may_have_executed: true, usage: stated }, now);
        }
        if let Some(mut record) = self.record.take() {
            if let Some(exchange) = self.exchange.as_deref()
                && let Some(kept) = self.answer.keep(exchange)
            {
                record.captured(kept);
            }
            self.finish(record, how, (&settlement, usage), now);
        }
    }

    fn finish(
        &self,
        record: OpenRecord,
        how: Close,
        (settlement, usage): (&Settlement, Option<UsageNote>),
        now: Instant,
    ) {
        let exchange = self.exchange();
        let total = now.saturating_duration_since(exchange.started);
        let charged = usage.unwrap_or(UsageNote {
            input: settlement.used.input.0,
            output: settlement.used.output.0,
            ..UsageNote::default()
        });
        record.close(audit::Outcome {
            at: SystemTime::now(),
            status: self.status.map(|status| status.as_u16()),
            code: how.code(),
            usage: Some(charged),
            settled_by: settled_by(settlement).name(),
            lost_tokens: settlement.lost.0,
            charged: settlement.charged().0,
            priced: settlement.priced,
            to_first_byte: self.first_byte,
            total,
            end: how.end(),
        });
        exchange.spans.answered(self.status, usage);
        exchange.count(how.counted_as(self.status), total);
        if let Some(model) = exchange.model_index {
            let metrics = &exchange.snapshot.model(model).metrics;
            metrics.tokens(Direction::Input, charged.input);
            metrics.tokens(Direction::CachedInput, charged.cached_input);
            metrics.tokens(Direction::Output, charged.output);
            metrics.tokens(Direction::Reasoning, charged.reasoning);
        }
    }

    fn note(&mut self, attempt: &Attempt, met: &Met, now: Instant) {
        let took = now.saturating_duration_since(attempt.begun);
        attempt.target.metrics.attempt(met.name, took);
        let Some(record) = &mut self.record else { return };
        let connection = attempt.connection.as_ref().map(|(proof, _)| &**proof);
        let note = AttemptNote {
            target: Arc::clone(&attempt.target.name),
            endpoint: Arc::clone(&attempt.target.endpoint),
            place: self.exchange.as_deref().map(|exchange| attempt.target.place.at(exchange.asked_at).clone()),
            outcome: met.name,
            status: met.status,
            address: connection.map(|proof| proof.address),
            evidence: attempt.connection.as_ref().map(|(_, level)| level.as_str()),
            verdict: attempt.verdict.map(egress::Code::as_str),
            path: connection.map(|proof| proof.note.clone()),
            took,
            usage: met.usage,
            may_have_executed: met.may_have_executed,
            seen: attempt.seen.clone(),
        };
        if let Some(exchange) = self.exchange.as_deref() {
            exchange.spans.attempt(&note, &attempt.target, (exchange.api, attempt.begun));
        }
        record.attempt(note);
    }
}

/// A handler that is dropped leaves its books closed as well: because its caller went away, or because a stage panicked and
/// the caller gets a 500.
impl Drop for Books {
    fn drop(&mut self) {
        let failed =
            std::thread::panicking() || self.exchange.as_ref().is_some_and(|exchange| exchange.fault.happened());
        let how = match (failed, self.attempt.is_some()) {
            (true, true) => Close::Fault,
            (true, false) => Close::FaultUnsent,
            (false, true) => Close::Left,
            (false, false) => Close::LeftUnsent,
        };
        if matches!(how, Close::Fault | Close::FaultUnsent) {
            self.status.get_or_insert(Code::InternalError.status());
        }
        self.close(how, None, None, Instant::now());
    }
}

/// What one attempt met, for its note.
struct Met {
    name: &'static str,
    status: Option<u16>,
    may_have_executed: bool,
    usage: Option<UsageNote>,
}

/// On which way the request ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Close {
    /// An upstream answered, and the answer ended so.
    Answered(audit::End),
    /// The upstream's own error was passed on.
    UpstreamError,
    /// Ours, with its code.
    Refused(&'static str),
    /// The caller left while an attempt ran.
    Left,
    /// The caller left before or between attempts.
    LeftUnsent,
    /// The gateway itself failed while an attempt ran, or its answer was passed on.
    Fault,
    /// The gateway itself failed before or between attempts.
    FaultUnsent,
}

impl Close {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Refused(code) => Some(code),
            Self::Fault | Self::FaultUnsent => Some(Code::InternalError.as_str()),
            Self::Answered(_) | Self::UpstreamError | Self::Left | Self::LeftUnsent => None,
        }
    }

    /// The label under which the request is counted.
    fn counted_as(self, status: Option<StatusCode>) -> &'static str {
        match self {
            Self::Answered(audit::End::Complete) => "ok",
            Self::Answered(audit::End::Disconnected) | Self::Left | Self::LeftUnsent => "disconnected",
            Self::Answered(audit::End::Truncated | audit::End::Error | audit::End::Abandoned) => "truncated",
            Self::UpstreamError if status.is_some_and(|status| status.is_client_error()) => "upstream_4xx",
            Self::UpstreamError => "upstream_5xx",
            Self::Refused(code) => code,
            Self::Fault | Self::FaultUnsent => Code::InternalError.as_str(),
        }
    }

    fn end(self) -> audit::End {
        match self {
            Self::Answered(end) => end,
            Self::UpstreamError | Self::Refused(_) | Self::Fault | Self::FaultUnsent => audit::End::Error,
            Self::Left | Self::LeftUnsent => audit::End::Disconnected,
        }
    }
}

/// Known usage settles at what was reported. An answer without one settles at the reservation; an upstream that said no
/// before it did any work settles at zero, and attempts that may have been executed are charged beside either.
fn settle(charge: Charge, how: Close, target: Option<&Target>, usage: Option<&Usage>) -> Settlement {
    match (how, usage) {
        (_, Some(usage)) => charge.settle(target, usage),
        (Close::Answered(_) | Close::Left | Close::Fault, None) => charge.settle_unknown(target),
        (Close::UpstreamError | Close::Refused(_) | Close::LeftUnsent | Close::FaultUnsent, None) => charge.not_sent(),
    }
}

/// What the record says of where its numbers come from: a request that was executed somewhere on its way and answered
/// nowhere is settled by what its attempts were.
fn settled_by(settlement: &Settlement) -> SettledBy {
    match settlement.by {
        SettledBy::NotSent if settlement.lost_attempts > 0 => SettledBy::Reservation,
        SettledBy::NotSent if settlement.lost > Tokens::ZERO => SettledBy::Reported,
        by => by,
    }
}

/// Zero is what is written where nothing is known: nobody works for nothing, and it is as if nothing were stated.
fn believed(stated: Option<&Usage>) -> Option<&Usage> {
    stated.filter(|usage| usage.is_plausible)
}

fn has_worked(usage: &Usage) -> bool {
    usage.input > 0 || usage.output > 0
}

fn note_of(usage: &Usage) -> UsageNote {
    UsageNote { input: usage.input, output: usage.output, cached_input: usage.cached_input, reasoning: usage.reasoning }
}

/// Whether a failed attempt is charged whatever it says. An upstream that refused the request itself (a 4xx) has done no
/// work for it, although it was sent, unless it says otherwise.
fn cost_something(outcome: Outcome) -> bool {
    let refused = matches!(outcome, Outcome::Status(300..=407 | 409..=499) | Outcome::ErrorEvent { retryable: false });
    outcome.may_have_executed() && !refused
}

/// The outcome in records and metrics.
fn name_of(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "success",
        Outcome::NotSent => "not_sent",
        Outcome::Refused => "refused",
        Outcome::ConnectFailed => "connect_failed",
        Outcome::TlsFailed => "tls_failed",
        Outcome::NoPrivatePath => "no_private_path",
        Outcome::NoCredential => "no_credential",
        Outcome::Saturated => "saturated",
        Outcome::Timeout(TimeoutKind::Connect) => "timeout_connect",
        Outcome::Timeout(TimeoutKind::FirstByte) => "timeout_first_byte",
        Outcome::Timeout(TimeoutKind::Idle) => "timeout_idle",
        Outcome::Timeout(TimeoutKind::Total) => "timeout_total",
        Outcome::Status(408) => "status_408",
        Outcome::Status(429) => "status_429",
        Outcome::Status(503) => "status_503",
        Outcome::Status(529) => "status_529",
        Outcome::Status(500..=599) => "status_5xx",
        Outcome::Status(_) => "status_4xx",
        Outcome::BrokenHead => "broken_head",
        Outcome::BrokenBody => "broken_body",
        Outcome::ErrorEvent { .. } | Outcome::ThrottledEvent => "error_event",
    }
}
