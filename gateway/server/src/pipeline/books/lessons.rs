//! What an attempt teaches: the target's clock and pace, the model's calibration, the app's habits, and where a session is.

use std::time::{Duration, Instant};

use routing::Class;
use wire::{Call, Usage};

use super::{Attempt, Books};
use crate::pipeline::arrive::lesser;
use crate::snapshot::{Target, used_of};

/// Time between the parts of a stream, told in groups so that a token costs no lock.
#[derive(Default)]
pub(super) struct Pace {
    since: Option<Instant>,
    parts: u32,
}

/// So many parts are told as one.
const GROUP: u32 = 8;

impl Books {
    /// The most output tokens that the request is sent with to a target: no more than its app may ask for, and where neither
    /// says anything, what the endpoint's quota is to be charged with.
    pub(in crate::pipeline) fn most_output(&self, call: &Call, target: &Target) -> Option<u64> {
        let own = self.exchange().caller.as_ref().and_then(|caller| caller.key.most_output);
        let other = target.output_tokens.filter(|_| call.max_output_tokens().is_none());
        lesser(own, other)
    }

    /// The first token of a stream came: the target's clock and the model's calibration learn of it.
    pub(super) fn first_token(&mut self, elapsed: Duration) {
        let now = Instant::now();
        if let Some(Attempt { target, sent: Some(sent), .. }) = &mut self.attempt {
            target.steering.on_first_byte(sent, now);
        }
        self.pace = Pace { since: Some(now), parts: 0 };
        let steering = self.exchange().model_index.map(|model| &self.snapshot().model(model).steering);
        if let Some(steering) = steering
            && let Some(target) = steering.knobs.first_token
            && self.ask.class == Class::Interactive
            && self.attempt.as_ref().is_none_or(|attempt| self.stand_in(attempt.id).is_none())
        {
            let missed = elapsed > target;
            steering.state.calibration.lock().on_first_token(missed, steering.knobs.miss_budget, now);
        }
    }

    /// A further part of a stream goes down.
    pub(in crate::pipeline) fn part(&mut self) {
        self.pace.parts += 1;
        if self.pace.parts < GROUP {
            return;
        }
        let now = Instant::now();
        if let (Some(since), Some(attempt)) = (self.pace.since, &self.attempt) {
            attempt.target.steering.on_token(now.saturating_duration_since(since) / GROUP, now);
        }
        self.pace = Pace { since: Some(now), parts: 0 };
    }

    /// What the end of the running attempt teaches routing; whoever waits for a place may look again.
    pub(super) fn teach(&mut self, usage: Option<&Usage>, now: Instant) {
        let used = usage.map(used_of);
        let served = self.attempt.as_ref().filter(|attempt| attempt.answered).map(|attempt| attempt.id);
        if let Some(attempt) = &mut self.attempt
            && let Some(mut sent) = attempt.sent.take()
        {
            let steering = &attempt.target.steering;
            // What the provider said is left is left: nothing of what was assumed before is given back to it.
            let settled = used.filter(|_| !attempt.told_quota);
            if let Some(used) = used.filter(|_| attempt.told_quota) {
                steering.on_cached(&sent, &used);
            }
            let is_whole = !self.exchange.as_deref().is_some_and(|exchange| exchange.stream);
            match (attempt.answered, used) {
                (true, Some(used)) if is_whole => {
                    steering.on_whole(&mut sent, (attempt.sent_at, now), used.output.0);
                    steering.on_end(sent, settled, now);
                }
                (true, _) if !is_whole => steering.on_end(sent, settled, now),
                _ => steering.on_gone(sent, now),
            }
        }
        let Some(exchange) = self.exchange.as_deref() else { return };
        let Some(model) = exchange.model_index.map(|model| exchange.snapshot.model(model)) else { return };
        let answered = served.and_then(|target| self.model_of(target)).unwrap_or(model);
        if let (Some(used), Some(caller)) = (&used, &exchange.caller) {
            caller.app.habits.on_usage(&answered.name, self.input_bytes, used, now);
        }
        if let (Some(session), Some(target), Some(used)) = (&self.session, served, &used)
            && let Some(kept) = model.steering.homes.remember(session, target, used.input, now)
        {
            model.metrics.session(kept.name());
        }
        model.steering.state.wake();
    }
}
