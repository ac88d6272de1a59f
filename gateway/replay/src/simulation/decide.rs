//! Where the simulation asks the code that decides, and does what it says.

use std::time::Duration;

use routing::{Advice, Ask, Demand, Plan, Turn, Waiting, route};

use super::{Seen, Server, Simulation, What, pick};
use crate::baseline::{Memory, Router};
use crate::outcome::End;

impl Simulation<'_> {
    pub(super) fn ask(&self, id: u32) -> Ask {
        let flight = self.flight(id);
        let row = self.job.trace.rows[flight.row];
        let habits = &self.gateways[flight.gateway].habits[usize::from(row.profile)];
        Ask {
            expected: habits.expect(flight.bytes, None, self.instant()),
            class: flight.class,
            waited: Duration::from_secs_f64((self.now - row.at).max(0.0)),
            session: None,
            draw: flight.draw,
        }
    }

    /// Decides over a request that came, or that waits and is looked at again.
    pub(super) fn decide(&mut self, id: u32) {
        if self.job.router != Router::Causeway {
            self.next_attempt(id);
            return;
        }
        let Some(plan) = self.plan(id) else { return };
        match plan.advice() {
            Advice::Wait { at_most } => self.wait(id, at_most),
            Advice::Nothing => self.give_up(id),
            Advice::Send | Advice::LeastBad => self.go(id, plan),
        }
    }

    fn plan(&self, id: u32) -> Option<Plan> {
        let flight = self.flight(id);
        let row = self.job.trace.rows[flight.row];
        let Some(Ok(permit)) = self.job.permits.get(usize::from(row.profile)) else { return None };
        let (ask, now) = (self.ask(id), self.instant());
        let gateway = &self.gateways[flight.gateway];
        let (wants, knobs) = self.wants(flight);
        let tightness = gateway.models[usize::from(wants.model)].calibration.at(now);
        let demand = Demand { ask: &ask, knobs, tightness, now };
        Some(route(permit, &demand, |target| {
            let index = target.0 as usize;
            let standing = gateway.health[index].standing(now);
            gateway.signals[index].outlook(&ask, target, standing, now).with_share(wants.share(index))
        }))
    }

    /// The plan's first target gets the request; the rest of the plan is kept for what may follow.
    fn go(&mut self, id: u32, plan: Plan) {
        let now = self.instant();
        let burst = plan.is_burst();
        let (wants, knobs) = self.wants(self.flight(id));
        let model = usize::from(wants.model);
        let used = plan.own_first_token().zip(knobs.first_token);
        let used = used.map(|(own, target)| own.as_secs_f64() / target.as_secs_f64().max(0.001));
        let foretold = plan.explain().first().and_then(|first| first.outlook.first_token);
        let flight = self.flight_mut(id);
        (flight.burst, flight.foretold) = (burst, foretold.map(|first| first.as_secs_f64()));
        let place = flight.place.take();
        flight.plan = Some(plan);
        let gateway = flight.gateway;
        let state = &mut self.gateways[gateway].models[model];
        if let Some(place) = place {
            state.queue.take(place);
        }
        if let Some(Turn::Opened { .. }) = state.burst.on_decision(burst, used, now) {
            self.run.bursts_opened += 1;
        }
        self.next_attempt(id);
    }

    fn wait(&mut self, id: u32, at_most: Duration) {
        let (now, ask, model) = (self.instant(), self.ask(id), self.model_of(id));
        let flight = self.flights[id as usize].as_mut().expect("a request that waits has not ended");
        flight.looks += 1;
        let look = What::Look(id, flight.looks);
        if flight.place.is_none() {
            let profile = self.job.trace.rows[flight.row].profile;
            let request =
                Waiting { app: profile, priority: flight.priority, latest: now + at_most, work: ask.expected.prompt };
            match self.gateways[flight.gateway].models[model].queue.push(request, id) {
                Ok(place) => flight.place = Some(place),
                Err(_) => return self.give_up(id),
            }
        }
        self.at(self.now + at_most.as_secs_f64(), look);
    }

    /// A place may have become free: those that wait go out in their order, until one has to go on waiting.
    pub(super) fn serve_queue(&mut self, ended: u32) {
        let (gateway, model) = (self.flight(ended).gateway, self.model_of(ended));
        while let Some((_, id)) = self.gateways[gateway].models[model].queue.first() {
            let id = *id;
            let Some(plan) = self.plan(id) else { return };
            if plan.advice() != Advice::Send {
                return;
            }
            self.go(id, plan);
        }
    }

    /// The next target of the plan, or of the baseline; without one the request has failed.
    pub(super) fn next_attempt(&mut self, id: u32) {
        let warrant = if self.job.router == Router::Causeway {
            let now = self.instant();
            let flight = self.flights[id as usize].as_mut().expect("a request that is tried has not ended");
            let gateway = &mut self.gateways[flight.gateway];
            let mut take_probe = |target: policy::TargetId| gateway.health[target.0 as usize].take_probe(now);
            // Above its bound on requests in flight the next target is tried.
            let is_full = |target: policy::TargetId| {
                let index = target.0 as usize;
                let most = self.job.scenario.targets.get(index).and_then(|target| target.in_flight);
                most.is_some_and(|most| gateway.memory[index].in_flight >= most)
            };
            flight.plan.as_mut().and_then(|plan| {
                let mut warrants = std::iter::from_fn(|| plan.next_probing(&mut take_probe));
                warrants.find(|warrant| !is_full(warrant.target()))
            })
        } else {
            let row = self.row_of(id);
            let picked = self.pick_baseline(id);
            let permit = self.job.permits.get(usize::from(row.profile)).and_then(|permit| permit.as_ref().ok());
            permit.zip(picked).and_then(|(permit, target)| permit.warrant(policy::TargetId(target as u32)))
        };
        match warrant {
            Some(warrant) => self.send(id, warrant),
            None => self.give_up(id),
        }
    }

    fn pick_baseline(&mut self, id: u32) -> Option<usize> {
        let flight = self.flight(id);
        let (row, tried, gateway) = (self.row_of(id), flight.tried, flight.gateway);
        let permit = self.job.permits.get(usize::from(row.profile))?.as_ref().ok()?;
        let (now, router) = (self.now, self.job.router);
        let mut seen: Vec<Seen> = Vec::with_capacity(self.servers.len());
        for (index, server) in self.servers.iter().enumerate() {
            let permitted = permit.targets().iter().any(|target| target.0 as usize == index);
            let open =
                permitted && tried & (1 << index) == 0 && self.gateways[gateway].memory[index].blocked_until <= now;
            let usd = self.job.scenario.targets[index].usd(row.prompt, row.output).unwrap_or(f64::MAX);
            let mut one = Seen { own: false, open, usd, foreseen: 0.0, quota: true };
            match server {
                Server::Engine(engine) => {
                    one.own = true;
                    if router == Router::Perfect {
                        one.foreseen = engine.foresee(row.prompt, now) + engine.round_trip();
                    }
                }
                Server::Cloud(cloud) => one.quota = cloud.left_at(now) >= f64::from(row.prompt + row.output),
            }
            seen.push(one);
        }
        let within = self.wants(self.flight(id)).0.first_token_s(self.job.scenario) - (now - row.at);
        let Self { gateways, .. } = self;
        let gateway = &mut gateways[gateway];
        let targets: Vec<(Seen, &Memory)> = seen.into_iter().zip(&gateway.memory).collect();
        let picked = pick(router, &targets, within, &mut gateway.chance);
        // What asked for time is still better than no answer at all.
        let lasting = || targets.iter().position(|(seen, memory)| !seen.open && memory.blocked_until > now && seen.own);
        picked.or_else(lasting)
    }

    fn give_up(&mut self, id: u32) {
        let model = self.model_of(id);
        let flight = self.flight_mut(id);
        let (place, gateway) = (flight.place.take(), flight.gateway);
        if let Some(reservation) = flight.reservation.take() {
            reservation.not_sent();
        }
        if let Some(place) = place {
            self.gateways[gateway].models[model].queue.take(place);
        }
        self.close_flight(id, End::Refused);
    }
}
