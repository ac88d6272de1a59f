//! What comes back, what gateways hear, and what goes wrong: told to the signals that decide the next request.

use std::time::Duration;

use accounting::{Money, Tokens};
use routing::{Class, QuotaHeaders, Used};

use super::{Server, Simulation, What};
use crate::outcome::End;

impl Simulation<'_> {
    pub(super) fn first(&mut self, id: u32) {
        let (instant, now) = (self.instant(), self.now);
        let (arrived, prompt) = (self.row_of(id).at, u64::from(self.row_of(id).prompt));
        let wants = self.wants(self.flight(id)).0;
        let (model, budget, within) = (usize::from(wants.model), wants.knobs.miss_budget, wants.knobs.first_token);
        let flight = self.flights[id as usize].as_mut().expect("a first byte comes before the end");
        flight.first = now;
        let took = now - flight.sent_at;
        let gateway = &mut self.gateways[flight.gateway];
        gateway.memory[flight.target].on_first_token(took, now);
        gateway.memory[flight.target].read += prompt;
        let Some(sent) = &mut flight.sent else { return };
        let signals = &mut gateway.signals[flight.target];
        signals.on_first_byte(sent, instant);
        match &self.servers[flight.target] {
            Server::Engine(_) => {
                if let Some(within) = within.filter(|_| flight.class == Class::Interactive) {
                    let missed = now - arrived > within.as_secs_f64();
                    gateway.models[model].calibration.on_first_token(missed, budget, instant);
                }
                if let Some(foretold) = flight.foretold {
                    self.run.errors.push(((took - foretold).abs() / took.max(1e-3)) as f32);
                }
            }
            Server::Cloud(_) => {
                let headers =
                    QuotaHeaders { remaining_tokens: Some(flight.remaining as u64), ..QuotaHeaders::default() };
                if self.job.scenario.gateways == 1 {
                    signals.on_quota_headers(&headers, sent, instant);
                }
            }
        }
        self.serve_queue(id);
    }

    pub(super) fn last(&mut self, id: u32) {
        let (instant, now, row) = (self.instant(), self.now, self.row_of(id));
        let used = Used { input: Tokens(row.prompt.into()), cached: Tokens::ZERO, output: Tokens(row.output.into()) };
        let wants = self.wants(self.flight(id)).0;
        let (model, budget) = (usize::from(wants.model), wants.knobs.miss_budget);
        let within = wants.knobs.first_token.map(|_| wants.whole_s(self.job.scenario, row.output));
        let flight = self.flights[id as usize].as_mut().expect("a request ends once");
        let gateway = &mut self.gateways[flight.gateway];
        gateway.memory[flight.target].in_flight -= 1;
        if let Some(sent) = flight.sent.take() {
            gateway.signals[flight.target].on_end(sent, Some(used), instant);
            gateway.habits[usize::from(row.profile)].on_usage(flight.bytes, &used, instant);
        }
        if let Some(reservation) = flight.reservation.take() {
            let used = accounting::Used { input: used.input, output: used.output, ..accounting::Used::default() };
            reservation.settle(used, Some(Money::ZERO));
        }
        let (target, total) = (flight.target as u16, now - row.at);
        let is_own = matches!(self.servers.get(flight.target), Some(Server::Engine(_)));
        if let Some(within) = within.filter(|_| is_own && flight.class == Class::Interactive) {
            gateway.models[model].calibration.on_end(total > within, budget, instant);
        }
        self.serve_queue(id);
        self.close_flight(id, End::Answered(target));
    }

    pub(super) fn refused(&mut self, id: u32, wait_ms: u32) {
        self.run.refusals += 1;
        let (instant, now) = (self.instant(), self.now);
        let wait = Duration::from_millis(wait_ms.into());
        let flight = self.flights[id as usize].as_mut().expect("a refused request has not ended");
        let gateway = &mut self.gateways[flight.gateway];
        let memory = &mut gateway.memory[flight.target];
        memory.in_flight -= 1;
        memory.blocked_until = memory.blocked_until.max(now + wait.as_secs_f64());
        if let Some(sent) = flight.sent.take() {
            gateway.signals[flight.target].on_refused(sent, instant);
            gateway.health[flight.target].block(instant, Some(wait));
        }
        self.next_attempt(id);
    }

    pub(super) fn failed(&mut self, id: u32) {
        let instant = self.instant();
        let start = self.job.start;
        let flight = self.flights[id as usize].as_mut().expect("a failed request has not ended");
        let began = start + Duration::from_secs_f64(flight.sent_at);
        let gateway = &mut self.gateways[flight.gateway];
        gateway.memory[flight.target].in_flight -= 1;
        if let Some(sent) = flight.sent.take() {
            gateway.signals[flight.target].on_gone(sent, instant);
            gateway.health[flight.target].on_failure(began, instant);
        }
        self.next_attempt(id);
    }

    /// Own servers are looked at by every gateway at once: the worst case for herding.
    pub(super) fn scrape(&mut self) {
        let instant = self.instant();
        for (target, server) in self.servers.iter().enumerate() {
            if let Server::Engine(engine) = server {
                let (waiting, read) = (engine.waiting(), Tokens(engine.read_total));
                for gateway in &mut self.gateways {
                    gateway.signals[target].on_waiting(waiting, instant);
                    gateway.signals[target].on_read_total(read, instant);
                }
            }
        }
        self.at(self.now + self.job.scenario.scrape_ms / 1e3, What::Scrape);
    }

    pub(super) fn gossip(&mut self) {
        let instant = self.instant();
        for target in 0..self.servers.len() {
            let own: Vec<Tokens> = self.gateways.iter().map(|g| g.signals[target].outstanding(instant)).collect();
            let all: Tokens = own.iter().copied().sum();
            let read: u64 = self.gateways.iter().map(|gateway| gateway.memory[target].read).sum();
            for (gateway, own) in self.gateways.iter_mut().zip(&own) {
                gateway.signals[target].on_peers(Tokens(all.0 - own.0), instant);
                gateway.signals[target].on_read_total(Tokens(read), instant);
            }
        }
        let every = self.job.scenario.gossip_ms.unwrap_or(100.0);
        self.at(self.now + every / 1e3, What::Gossip);
    }

    pub(super) fn fault(&mut self, index: u16, begins: bool) {
        let Some(fault) = self.job.scenario.faults.get(usize::from(index)) else { return };
        let Some(target) = self.job.scenario.index_of(&fault.target) else { return };
        let (slower, quota) = if begins { (fault.slower, fault.quota) } else { (1.0, 1.0) };
        self.down[target] = begins && fault.down;
        match &mut self.servers[target] {
            Server::Engine(engine) => engine.slower = slower,
            Server::Cloud(cloud) => (cloud.slower, cloud.quota) = (slower, quota),
        }
    }
}
