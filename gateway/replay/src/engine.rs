//! A model of an inference server with continuous batching and chunked prefill, as vLLM runs by default.
//!
//! The server works in steps. In each, every running sequence gets one token, and what is left of the budget reads
//! waiting prompts in the order of their arrival. A step takes a base time, plus a part for each prompt token, each
//! sequence, and each token of context. The constants are assumptions for an eight-GPU node in four replicas serving a
//! 70-billion model in FP8; they are stated in the scenario and can be fitted to a server.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use serde::Deserialize;

/// The constants of one server.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EngineSpec {
    /// Milliseconds of an empty step.
    pub step_ms: f64,
    /// Microseconds a prompt token that is read in a step.
    pub prompt_token_us: f64,
    /// Milliseconds a running sequence.
    pub sequence_ms: f64,
    /// Nanoseconds a token of context of the running sequences.
    pub context_token_ns: f64,
    /// Prompt tokens read in one step at most.
    pub chunk: u32,
    /// Sequences at a time.
    pub sequences: u32,
    /// Tokens that the KV cache holds.
    pub kv_tokens: u64,
    /// Milliseconds to the server and back.
    pub round_trip_ms: f64,
}

impl Default for EngineSpec {
    fn default() -> Self {
        Self {
            step_ms: 18.0,
            prompt_token_us: 90.0,
            sequence_ms: 0.12,
            context_token_ns: 70.0,
            chunk: 512,
            sequences: 256,
            kv_tokens: 240_000,
            round_trip_ms: 5.0,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Prompt {
    request: u32,
    prompt: u32,
    output: u32,
    unread: u32,
    admitted: bool,
}

/// One server at work.
#[derive(Debug)]
pub(crate) struct Engine {
    spec: EngineSpec,
    /// Factor on the time of a step: a fault makes it larger than 1.
    pub(crate) slower: f64,
    waiting: VecDeque<Prompt>,
    /// Prompts whose reading ends with the step that runs now.
    reading_ends: Vec<Prompt>,
    /// Running sequences by the step in which they end.
    running: BinaryHeap<Reverse<(u64, u32, u32)>>,
    step: u64,
    /// When the step that runs now ends; infinite while there is nothing to do.
    pub(crate) step_ends: f64,
    step_took: f64,
    context: u64,
    reserved: u64,
    admitted: u32,
    /// Prompt tokens read in its life, each prompt counted when it is read whole: `vllm:prompt_tokens_total`.
    pub(crate) read_total: u64,
    /// Prompt tokens on their way here, which only one who knows everything knows.
    pub(crate) coming: u64,
}

/// What the end of a step gave.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// Requests that got their first token.
    pub(crate) first: Vec<u32>,
    /// Requests that got their last token.
    pub(crate) last: Vec<u32>,
    /// Seconds that the sequences which ran already waited for this token; nothing when none did.
    pub(crate) gap: Option<f64>,
}

impl Engine {
    pub(crate) fn new(spec: EngineSpec) -> Self {
        Self {
            spec,
            slower: 1.0,
            waiting: VecDeque::new(),
            reading_ends: Vec::new(),
            running: BinaryHeap::new(),
            step: 0,
            step_ends: f64::INFINITY,
            step_took: 0.0,
            context: 0,
            reserved: 0,
            admitted: 0,
            read_total: 0,
            coming: 0,
        }
    }

    pub(crate) fn round_trip(&self) -> f64 {
        self.spec.round_trip_ms / 1_000.0
    }

    /// Requests whose reading has not begun: what the server's own metrics call waiting.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.iter().filter(|prompt| !prompt.admitted).count() as u32
    }

    pub(crate) fn arrive(&mut self, request: u32, (prompt, output): (u32, u32), now: f64) {
        let (prompt, output) = (prompt.max(1), output.max(1));
        self.waiting.push_back(Prompt { request, prompt, output, unread: prompt, admitted: false });
        if self.step_ends.is_infinite() {
            self.begin(now);
        }
    }

    /// Ends the running step at its time and begins the next one.
    pub(crate) fn end_step(&mut self, ended: &mut Ended) {
        let now = self.step_ends;
        ended.first.clear();
        ended.last.clear();
        ended.gap = (!self.running.is_empty()).then_some(self.step_took);
        self.step += 1;
        self.context += self.running.len() as u64;
        while let Some(Reverse((step, request, size))) = self.running.peek().copied()
            && step <= self.step
        {
            self.running.pop();
            ended.last.push(request);
            self.leave(size);
        }
        for prompt in std::mem::take(&mut self.reading_ends) {
            ended.first.push(prompt.request);
            self.read_total += u64::from(prompt.prompt);
            let size = prompt.prompt + prompt.output;
            self.context += u64::from(prompt.prompt) + 1;
            if prompt.output <= 1 {
                ended.last.push(prompt.request);
                self.leave(size);
            } else {
                self.running.push(Reverse((self.step + u64::from(prompt.output) - 1, prompt.request, size)));
            }
        }
        self.begin(now);
    }

    fn leave(&mut self, size: u32) {
        self.context = self.context.saturating_sub(u64::from(size));
        self.reserved -= u64::from(size);
        self.admitted -= 1;
    }

    fn begin(&mut self, now: f64) {
        let mut budget = self.spec.chunk;
        while budget > 0
            && let Some(prompt) = self.waiting.front_mut()
        {
            if !prompt.admitted {
                let size = u64::from(prompt.prompt + prompt.output);
                let fits = self.admitted < self.spec.sequences && self.reserved + size <= self.spec.kv_tokens;
                if !fits && self.admitted > 0 {
                    break;
                }
                prompt.admitted = true;
                self.admitted += 1;
                self.reserved += size;
            }
            let chunk = prompt.unread.min(budget);
            prompt.unread -= chunk;
            budget -= chunk;
            if prompt.unread == 0 {
                self.reading_ends.extend(self.waiting.pop_front());
            }
        }
        let read = self.spec.chunk - budget;
        if read == 0 && self.running.is_empty() {
            self.step_ends = f64::INFINITY;
            return;
        }
        self.step_took = self.step_time(f64::from(read), self.running.len() as f64, self.context as f64);
        self.step_ends = now + self.step_took;
    }

    fn step_time(&self, read: f64, sequences: f64, context: f64) -> f64 {
        let spec = &self.spec;
        let ms = spec.step_ms
            + spec.prompt_token_us * read / 1e3
            + spec.sequence_ms * sequences
            + spec.context_token_ns * context / 1e6;
        ms / 1e3 * self.slower
    }

    /// Seconds from `now` to the first token of a prompt that arrives then, by what the server itself knows.
    ///
    /// Exact as long as no sequence ends on the way; each that does makes it a tenth of a millisecond a step too long.
    pub(crate) fn foresee(&self, prompt: u32, now: f64) -> f64 {
        let (mut at, mut running, mut context) = (now, self.running.len() as f64, self.context as f64);
        if self.step_ends.is_finite() {
            at = self.step_ends;
            context += running;
            running += self.reading_ends.len() as f64;
            context += self.reading_ends.iter().map(|prompt| f64::from(prompt.prompt)).sum::<f64>();
        }
        let mut budget = f64::from(self.spec.chunk);
        let one = |prompt| Prompt { request: 0, prompt, output: 1, unread: prompt, admitted: false };
        let (coming, own) = (one(self.coming as u32), one(prompt.max(1)));
        let mut joining = (0.0, 0.0);
        for waiting in self.waiting.iter().chain([&coming, &own]).filter(|waiting| waiting.unread > 0) {
            let mut unread = f64::from(waiting.unread);
            while unread > budget {
                unread -= budget;
                at += self.step_time(f64::from(self.spec.chunk), running, context);
                (running, context) = (running + joining.0, context + running + joining.1);
                joining = (0.0, 0.0);
                budget = f64::from(self.spec.chunk);
            }
            budget -= unread;
            joining = (joining.0 + 1.0, joining.1 + f64::from(waiting.prompt));
        }
        at + self.step_time(f64::from(self.spec.chunk) - budget, running, context) - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the server until it is idle and gives what happened: (time, request, first or last).
    fn drain(engine: &mut Engine) -> Vec<(f64, u32, bool)> {
        let mut events = Vec::new();
        let mut ended = Ended::default();
        while engine.step_ends.is_finite() {
            let at = engine.step_ends;
            engine.end_step(&mut ended);
            events.extend(ended.first.iter().map(|request| (at, *request, true)));
            events.extend(ended.last.iter().map(|request| (at, *request, false)));
        }
        events
    }

    fn close(left: f64, right: f64) -> bool {
        (left - right).abs() < 1e-6
    }

    #[test]
    fn a_prompt_is_read_in_chunks_and_then_gets_a_token_a_step() {
        let mut engine = Engine::new(EngineSpec::default());
        engine.arrive(0, (1_000, 3), 10.0);

        let events = drain(&mut engine);

        let read = (18.0 + 0.09 * 512.0) + (18.0 + 0.09 * 488.0);
        let written = 2.0 * (18.0 + 0.12) + 0.07e-3 * (1_001.0 + 1_002.0);
        assert_eq!(events.len(), 2);
        assert!(events[0].2 && close(events[0].0, 10.0 + read / 1e3), "{events:?}");
        assert!(!events[1].2 && close(events[1].0, 10.0 + (read + written) / 1e3), "{events:?}");
        assert_eq!((engine.context, engine.reserved, engine.admitted, engine.read_total), (0, 0, 0, 1_000));
    }

    #[test]
    fn what_it_foresees_for_a_prompt_is_what_happens() {
        let mut engine = Engine::new(EngineSpec::default());
        for request in 0..9 {
            engine.arrive(request, (400 * (request + 1), 500), 0.0);
        }
        let mut ended = Ended::default();
        engine.end_step(&mut ended);
        let now = engine.step_ends - 0.01;

        let foreseen = engine.foresee(2_000, now);
        engine.arrive(9, (2_000, 5), now);

        let (at, ..) = drain(&mut engine).into_iter().find(|(_, request, first)| *first && *request == 9).unwrap();
        assert!((now + foreseen - at).abs() < 1e-4, "{} {at}", now + foreseen);
    }

    #[test]
    fn a_full_cache_makes_prompts_wait_and_loses_none() {
        let mut engine = Engine::new(EngineSpec { kv_tokens: 3_000, ..EngineSpec::default() });
        for request in 0..5 {
            engine.arrive(request, (900, 100), 0.0);
        }

        let mut ended = Ended::default();
        for _ in 0..10 {
            engine.end_step(&mut ended);
        }
        assert_eq!(engine.waiting(), 2);

        assert_eq!(drain(&mut engine).iter().filter(|(.., first)| !first).count(), 5);
    }
}
