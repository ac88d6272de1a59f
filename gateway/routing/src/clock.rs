//! The virtual finish clock of a target that serves one queue: when would a prompt that is sent now be read?
//!
//! Counting requests says little, because a prompt of 14,000 tokens takes a thousand times the work of one of 14. The
//! clock counts prompt tokens that were sent and not yet answered, and turns them into seconds by a rate that it learns.
//! Each first byte is compared with what was foretold for it, and half of the error moves the clock: dead reckoning,
//! corrected at every landmark.
//!
//! All times here are seconds since the epoch of the target's [`Signals`](crate::Signals).

/// Tokens a second that an unknown server is taken to read.
///
/// The order of an eight-GPU node with a 70-billion model; a wrong guess is mended in about twenty requests.
pub(crate) const FIRST_RATE: f64 = 8_000.0;

/// Seconds to a first byte beyond reading the prompt, before any was measured.
const FIRST_BASE: f64 = 0.05;

/// How much the first guess of the rate weighs, in tokens.
const FIRST_WEIGHT: f64 = 20_000.0;

/// Tokens after which a sample of the rate has lost 63 % of its weight.
const MEMORY: f64 = 60_000.0;

/// After so long without a first byte, a rate below the first guess is unknown again. A slow spell must not lock a target
/// out for ever: while nothing is sent to it, nothing is learned either.
const OLD: f64 = 60.0;

/// Requests that were unanswered for so long count no more; somebody forgot to say how they ended.
const LOST: f64 = 120.0;

/// A report of what others sent is unknown after so long.
const REPORT_AGE: f64 = 5.0;

/// A prompt of so many tokens tells how fast a server reads, and not only how far away it is.
const TELLING: f64 = 250.0;

/// So many times what was foretold is no accident of one answer.
const FAR_SLOWER: f64 = 1.5;

/// How far an error of one prediction moves the clock.
const CORRECTION: f64 = 0.5;

#[derive(Clone, Debug)]
pub(crate) struct Clock {
    /// When the prompts that were sent will have been read.
    finish: f64,
    /// Sum of all corrections, so that a prediction made before one can still be compared.
    offset: f64,
    /// Tokens read in busy periods, and the seconds that took, both fading with [`MEMORY`].
    read: f64,
    reading: f64,
    base: f64,
    last_first: Option<f64>,
    /// Since when something is unanswered and nothing was heard.
    silent_since: f64,
    unanswered: u32,
    outstanding: f64,
    /// The longest prompt since nothing was unanswered: one of those that are.
    longest: f64,
    mean_prompt: f64,
    /// When the server last said that requests wait there, if it did not say since that none does.
    said_waiting: Option<f64>,
    others: Others,
}

/// What is known of requests that did not come through this gateway.
///
/// A report is a moment; between two of them others go on sending. They are taken to send what this gateway sends, each,
/// and what was sent here meanwhile is counted exactly.
#[derive(Clone, Debug)]
struct Others {
    /// Gateways beside this one.
    gateways: f64,
    /// Prompt tokens of others that were waiting at the last report, and all that were, ours included.
    waiting: f64,
    all: f64,
    at: f64,
    /// Tokens sent from here since then.
    ours_since: f64,
    /// Tokens a second sent from here, fading over [`SENDING`].
    sending: f64,
    sent_at: f64,
    /// Prompt tokens that the server has read in its life, when that was said, and how many waited then.
    read: Option<(f64, f64, f64)>,
}

/// Seconds over which the rate of sending fades.
const SENDING: f64 = 1.5;

/// One prompt on its way, with what was foretold for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dispatch {
    at: f64,
    tokens: f64,
    foretold: f64,
    offset: f64,
    found_idle: bool,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self {
            finish: 0.0,
            offset: 0.0,
            read: FIRST_WEIGHT,
            reading: FIRST_WEIGHT / FIRST_RATE,
            base: FIRST_BASE,
            last_first: None,
            silent_since: 0.0,
            unanswered: 0,
            outstanding: 0.0,
            longest: 0.0,
            mean_prompt: 1_000.0,
            said_waiting: None,
            others: Others {
                gateways: 0.0,
                waiting: 0.0,
                all: 0.0,
                at: f64::NEG_INFINITY,
                ours_since: 0.0,
                sending: 0.0,
                sent_at: 0.0,
                read: None,
            },
        }
    }

    /// Seconds from `now` to the first byte of a prompt of `tokens`.
    pub(crate) fn predict(&self, tokens: f64, now: f64) -> f64 {
        let rate = self.rate(now);
        self.queue(rate, now) + self.base(now) + tokens / rate
    }

    pub(crate) fn on_send(&mut self, tokens: f64, now: f64) -> Dispatch {
        if self.unanswered(now) == 0 {
            self.unanswered = 0;
            self.outstanding = 0.0;
            self.longest = 0.0;
            self.silent_since = now;
            self.finish = now;
        }
        let rate = self.rate(now);
        let others = self.queue_of_others(rate, now);
        let found_idle = self.unanswered == 0 && others == 0.0;
        self.finish = self.finish.max(now + others) + tokens / rate;
        self.unanswered += 1;
        self.others.on_send(tokens, now);
        self.outstanding += tokens;
        self.longest = self.longest.max(tokens);
        self.mean_prompt += 0.02 * (tokens - self.mean_prompt);
        Dispatch { at: now, tokens, foretold: self.finish + self.base(now), offset: self.offset, found_idle }
    }

    pub(crate) fn on_first_byte(&mut self, sent: &Dispatch, now: f64) {
        self.answered(sent, now);
        let error = now - (sent.foretold + self.offset - sent.offset);
        self.offset += CORRECTION * error;
        self.finish += CORRECTION * error;
        let last = self.last_first.replace(now);
        match last {
            // Something was read between the last first byte and this one, so the server was busy all the while. Where it
            // says itself what it reads, that counts, for it reads others' prompts as well.
            Some(last) if sent.at < last && (!self.others.counts(now) || self.others.waiting == 0.0) => {
                self.learn(sent.tokens, (now - last).max(0.0));
            }
            Some(last) if sent.at < last => {}
            _ if sent.found_idle => self.read_alone(sent.tokens, now - sent.at, now),
            _ => {}
        }
    }

    /// The prompt was given up before its first byte: what it would have taken is free again.
    pub(crate) fn on_gone(&mut self, sent: &Dispatch, now: f64) {
        self.answered(sent, now);
        self.finish = (self.finish - sent.tokens / self.rate(now)).max(now);
    }

    /// So many gateways send to the server beside this one.
    pub(crate) fn set_others(&mut self, gateways: u32) {
        self.others.gateways = f64::from(gateways);
    }

    /// The server was reported to hold `waiting` prompts that it has not begun; what is not ours is others'.
    pub(crate) fn on_waiting(&mut self, waiting: f64, now: f64) {
        let ours = f64::from(self.unanswered(now));
        self.said_waiting = (waiting > 0.0).then_some(now);
        // While some wait, another one is being read, half of it on the average.
        let all = if waiting > 0.0 { waiting + 0.5 } else { 0.0 };
        self.on_others((all - ours).max(0.0) * self.mean_prompt, now);
    }

    /// Others were reported to have `tokens` of prompts unanswered there.
    pub(crate) fn on_others(&mut self, tokens: f64, now: f64) {
        let ours = self.outstanding(now);
        self.others.waiting = tokens.max(0.0);
        (self.others.all, self.others.at, self.others.ours_since) = (self.others.waiting + ours, now, 0.0);
    }

    /// The server was reported to have read `total` prompt tokens in its life. Told after what is waiting there.
    pub(crate) fn on_read(&mut self, total: f64, now: f64) {
        let waiting = self.others.all;
        if let Some((before, at, waited)) = self.others.read.replace((total, now, waiting))
            && waiting > 0.0
            && waited >= self.rate(now) * (now - at)
        {
            // Enough was waiting for the whole interval, and something still is: the server was busy all the while. An
            // interval in which nothing was read whole counts as well; left out, the rate would seem too high.
            self.learn((total - before).max(0.0), now - at);
        }
    }

    /// A prompt that found the server idle was answered after `took`.
    fn read_alone(&mut self, tokens: f64, took: f64, now: f64) {
        let reading = tokens / self.rate(now);
        // Where others send as well, what looked idle from here may have been busy with theirs.
        let is_certain = self.others.gateways == 0.0 && tokens >= TELLING;
        if is_certain && took > FAR_SLOWER * (self.base(now) + reading) {
            // So far off is no matter of the base. A server that is never busy would be taken for quick for dozens of requests,
            // each of which waits for it; what was believed counts no more than two such prompts.
            let kept = (2.0 * tokens / self.read).min(1.0);
            (self.read, self.reading) = (self.read * kept, self.reading * kept);
            self.learn(tokens, took - self.base(now));
        } else {
            self.base = (self.base + 0.05 * (took - reading - self.base)).max(0.0);
        }
    }

    fn learn(&mut self, tokens: f64, seconds: f64) {
        let kept = (-tokens / MEMORY).exp();
        self.read = self.read * kept + tokens;
        self.reading = self.reading * kept + seconds;
    }

    /// Seconds that others may have added to the queue since the last report: what nobody here can know.
    pub(crate) fn doubt(&self, now: f64) -> f64 {
        self.others.unseen(now) / self.rate(now)
    }

    /// Prompt tokens sent and unanswered, for other gateways to know.
    pub(crate) fn outstanding(&self, now: f64) -> f64 {
        if self.unanswered(now) == 0 { 0.0 } else { self.outstanding }
    }

    /// The rate as it is believed at `now`, tokens a second.
    pub(crate) fn rate(&self, now: f64) -> f64 {
        let learned = (self.read / self.reading.max(1e-6)).clamp(1.0, 1e7);
        if self.is_old(now) { learned.max(FIRST_RATE) } else { learned }
    }

    fn base(&self, now: f64) -> f64 {
        if self.is_old(now) { self.base.min(FIRST_BASE) } else { self.base }
    }

    fn is_old(&self, now: f64) -> bool {
        self.last_first.is_none_or(|last| now - last > OLD)
    }

    fn unanswered(&self, now: f64) -> u32 {
        if now - self.silent_since > LOST { 0 } else { self.unanswered }
    }

    fn queue(&self, rate: f64, now: f64) -> f64 {
        let others = self.queue_of_others(rate, now);
        if self.unanswered(now) == 0 {
            return others;
        }
        // All that is outstanding should have been heard of by then. Silence beyond it is lateness, and grows: without
        // this a server that hangs looks idle as soon as its clock has run out.
        // A server that says that requests wait reads one of them at a time, so there it begins with the longest; a server
        // whose places are all taken by long answers begins none, however fast it would read them.
        let waits = self.said_waiting.is_some_and(|at| now - at <= REPORT_AGE);
        let unread = if waits { self.longest } else { self.outstanding };
        let late = now - self.silent_since - unread / rate - self.base(now);
        (self.finish - now).max(others).max(0.0) + late.max(0.0)
    }

    fn queue_of_others(&self, rate: f64, now: f64) -> f64 {
        let others = &self.others;
        let age = now - others.at;
        if age > REPORT_AGE || (others.waiting == 0.0 && others.gateways == 0.0) {
            return 0.0;
        }
        ((others.all + others.ours_since + others.unseen(now)) / rate - age).max(0.0)
    }

    fn answered(&mut self, sent: &Dispatch, now: f64) {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.outstanding = if self.unanswered == 0 { 0.0 } else { (self.outstanding - sent.tokens).max(0.0) };
        self.silent_since = now;
    }
}

impl Others {
    fn on_send(&mut self, tokens: f64, now: f64) {
        self.ours_since += tokens;
        self.sending = self.sending_at(now) + tokens / SENDING;
        self.sent_at = now;
    }

    fn sending_at(&self, now: f64) -> f64 {
        self.sending * (-(now - self.sent_at).max(0.0) / SENDING).exp()
    }

    /// Tokens that the other gateways are taken to have sent since the last report.
    fn unseen(&self, now: f64) -> f64 {
        let age = now - self.at;
        if age > REPORT_AGE { 0.0 } else { self.gateways * self.sending_at(now) * age }
    }

    /// Whether the server says itself what it reads.
    fn counts(&self, now: f64) -> bool {
        self.read.is_some_and(|(_, at, _)| now - at <= REPORT_AGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that reads `rate` tokens a second, one prompt after the other, and answers 20 ms after each.
    struct Server {
        rate: f64,
        free: f64,
    }

    impl Server {
        fn answer_at(&mut self, tokens: f64, now: f64) -> f64 {
            self.free = self.free.max(now) + tokens / self.rate;
            self.free + 0.02
        }
    }

    /// Sends prompts of 500 tokens every `gap` seconds and gives the error of each prediction, in seconds.
    fn errors(clock: &mut Clock, server: &mut Server, from: f64, gap: f64, count: usize) -> Vec<f64> {
        let mut waiting: Vec<(f64, Dispatch)> = Vec::new();
        let mut errors = Vec::new();
        for step in 0..count {
            let now = from + gap * step as f64;
            waiting.sort_by(|a, b| a.0.total_cmp(&b.0));
            while waiting.first().is_some_and(|(at, _)| *at <= now) {
                let (at, sent) = waiting.remove(0);
                clock.on_first_byte(&sent, at);
            }
            let foretold = now + clock.predict(500.0, now);
            let answer = server.answer_at(500.0, now);
            errors.push((answer - foretold).abs());
            waiting.push((answer, clock.on_send(500.0, now)));
        }
        errors
    }

    #[test]
    fn the_rate_of_a_server_that_is_four_times_slower_than_guessed_is_learned_within_forty_requests() {
        let mut clock = Clock::new();
        let mut server = Server { rate: 2_000.0, free: 0.0 };

        let errors = errors(&mut clock, &mut server, 0.0, 0.26, 80);

        assert!(errors[40..].iter().all(|error| *error < 0.1), "{errors:?}");
    }

    #[test]
    fn a_server_that_is_slow_and_never_busy_is_known_after_four_prompts() {
        let mut clock = Clock::new();
        let mut server = Server { rate: 1_000.0, free: 0.0 };

        let errors = errors(&mut clock, &mut server, 0.0, 5.0, 8);

        assert!(errors[0] > 0.3, "nobody knew: {errors:?}");
        assert!(errors[4..].iter().all(|error| *error < 0.15), "{errors:?}");
    }

    #[test]
    fn a_prompt_waits_for_the_tokens_before_it_and_not_for_the_requests() {
        let mut one_large = Clock::new();
        one_large.on_send(8_000.0, 0.0);
        let mut ten_small = Clock::new();
        for _ in 0..10 {
            ten_small.on_send(10.0, 0.0);
        }

        assert!(one_large.predict(100.0, 0.0) > 1.0);
        assert!(ten_small.predict(100.0, 0.0) < 0.1);
    }

    #[test]
    fn a_server_that_hangs_looks_later_and_later_and_not_idle() {
        let mut clock = Clock::new();
        let sent = clock.on_send(100.0, 0.0);
        clock.on_first_byte(&sent, 0.06);
        clock.on_send(100.0, 1.0);

        assert!(clock.predict(100.0, 1.05) < 0.2);
        assert!(clock.predict(100.0, 4.0) > 2.5);
    }

    /// Measured before vLLM 0.26 with four places: 48 requests went there within 2.4 s, and waited for up to 25 s, although
    /// its page had said all the while how many were waiting.
    #[test]
    fn a_server_that_says_that_requests_wait_and_begins_none_is_late_before_all_of_them_would_have_been_read() {
        let (mut told, mut untold) = (Clock::new(), Clock::new());
        for clock in [&mut told, &mut untold] {
            for step in 0..30 {
                clock.on_send(250.0, 0.02 * f64::from(step));
            }
        }
        told.on_waiting(26.0, 0.6);

        assert!(untold.predict(250.0, 1.0) < 0.6, "{}", untold.predict(250.0, 1.0));
        assert!(told.predict(250.0, 1.0) > 0.8, "{}", told.predict(250.0, 1.0));
        told.on_waiting(0.0, 1.0);
        assert!(told.predict(250.0, 1.0) < 0.6, "{}", told.predict(250.0, 1.0));
    }

    #[test]
    fn a_slow_spell_does_not_lock_a_server_out_for_ever() {
        let mut clock = Clock::new();
        let mut server = Server { rate: 50.0, free: 0.0 };
        errors(&mut clock, &mut server, 0.0, 10.0, 20);
        let end = clock.last_first.unwrap();
        assert!(clock.rate(end) < 200.0, "the slow spell was learned: {}", clock.rate(end));

        assert!(clock.predict(500.0, end + 200.0) < 0.2);
    }

    #[test]
    fn requests_whose_end_nobody_told_are_forgotten() {
        let mut clock = Clock::new();
        for _ in 0..100 {
            clock.on_send(8_000.0, 0.0);
        }

        assert!(clock.predict(100.0, 1.0) > 50.0);
        assert!(clock.predict(100.0, LOST + 1.0) < 0.2);
    }

    #[test]
    fn what_others_sent_counts_while_its_report_is_fresh_and_drains_meanwhile() {
        let mut clock = Clock::new();
        clock.on_others(16_000.0, 10.0);

        let fresh = clock.predict(100.0, 10.0);
        let later = clock.predict(100.0, 11.0);
        let stale = clock.predict(100.0, 20.0);

        assert!(fresh > 2.0 && later > 1.0 && later < fresh && stale < 0.2, "{fresh} {later} {stale}");
    }

    #[test]
    fn other_gateways_are_taken_to_send_what_this_one_does_until_they_are_heard_of_again() {
        let mut alone = Clock::new();
        let mut among_eight = Clock::new();
        among_eight.set_others(7);
        for clock in [&mut alone, &mut among_eight] {
            clock.on_others(0.0, 10.0);
            clock.on_send(1_000.0, 10.0);
        }

        assert!(alone.doubt(10.2) == 0.0 && among_eight.doubt(10.2) > 0.05);
        assert!(among_eight.predict(100.0, 10.2) > alone.predict(100.0, 10.2));
        among_eight.on_others(0.0, 10.2);
        assert!(among_eight.doubt(10.2) == 0.0);
    }

    #[test]
    fn where_others_send_as_well_the_rate_is_what_the_server_says_it_reads() {
        let mut clock = Clock::new();
        clock.set_others(7);
        let mut now = 0.0;
        for step in 0..600 {
            now = 0.2 * f64::from(step);
            let sent = clock.on_send(200.0, now);
            clock.on_others(10_000.0, now);
            clock.on_read(800.0 * f64::from(step), now);
            clock.on_first_byte(&sent, now + 0.1);
        }

        let rate = clock.rate(now);
        assert!((3_500.0..4_500.0).contains(&rate), "{rate}, where 4000 are read and 1000 of them are ours");
    }

    #[test]
    fn a_prompt_that_was_given_up_frees_its_time() {
        let mut clock = Clock::new();
        clock.on_send(800.0, 0.0);
        let gone = clock.on_send(8_000.0, 0.0);

        clock.on_gone(&gone, 0.01);

        assert!(clock.predict(100.0, 0.01) < 0.2);
    }
}
