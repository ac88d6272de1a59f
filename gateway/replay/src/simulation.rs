//! The simulation: a trace, the very code that decides, and models of what stands behind the targets, in virtual time.
//!
//! Nothing here decides. A request gets its permit, `routing::route` makes a plan of it, the plan's warrants are sent one
//! after the other, and every answer is told to the same signals that the gateway keeps.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use accounting::{Moment, Money, Reservation, estimate};
use policy::{Denial, Permit, Warrant};
use routing::{Class, DEFAULT_DEADLINE, Knobs, Place, Plan, Priority, Sent};

use crate::baseline::{Router, Seen, pick};
use crate::cloud::{Cloud, Taken};
use crate::engine::{Ended, Engine};
use crate::gateway::Gateway;
use crate::outcome::{End, Outcome, Run};
use crate::random::Random;
use crate::scenario::Scenario;
use crate::trace::{Row, Trace};
use crate::wants::Wants;

mod answers;
mod decide;

/// What is to be run.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// What stands behind the targets.
    pub scenario: &'a Scenario,
    /// Who asks for what.
    pub trace: &'a Trace,
    /// What policy says to each profile of the trace. A target of a permit is an index of the scenario's targets.
    pub permits: &'a [Result<Arc<Permit>, Denial>],
    /// What is asked of routing for each profile of the trace; where it says nothing, what the scenario wants of all.
    pub wants: &'a [Wants],
    /// Who decides.
    pub router: Router,
    /// Of the random numbers.
    pub seed: u64,
    /// The moment the run begins at; any will do.
    pub start: Instant,
}

/// Bytes that stand for a token of the trace, whose requests have no text.
const BYTES: f64 = 4.0;

/// Requests between two reports of progress.
const REPORTS: usize = 4_096;

/// Runs a job. `progress` hears now and then how many requests have come.
pub fn run(job: &Job<'_>, mut progress: impl FnMut(u64)) -> Run {
    let mut simulation = Simulation::new(job);
    let rows = &job.trace.rows;
    let mut next = 0;
    loop {
        let arrival = rows.get(next).map_or(f64::INFINITY, |row| row.at);
        let event = simulation.events.peek().map_or(f64::INFINITY, |Reverse(event)| event.at());
        let (step, engine) = simulation.next_step();
        if arrival.is_infinite() && simulation.is_over() {
            break;
        }
        if arrival <= event && arrival <= step {
            simulation.now = arrival;
            simulation.arrive(next);
            next += 1;
            if next.is_multiple_of(REPORTS) {
                progress(next as u64);
            }
        } else if event <= step {
            simulation.pop();
        } else {
            simulation.end_step(engine);
        }
    }
    progress(rows.len() as u64);
    simulation.finish()
}

/// What stands behind a target.
#[derive(Debug)]
enum Server {
    Engine(Engine),
    Cloud(Cloud),
}

impl Server {
    fn round_trip(&self) -> f64 {
        match self {
            Self::Engine(engine) => engine.round_trip(),
            Self::Cloud(cloud) => cloud.round_trip(),
        }
    }
}

/// Something that happens at a time, to a request or to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    /// The bits of a time that is never negative sort as the time does.
    at: u64,
    number: u32,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// A request reaches its target.
    Reaches(u32),
    /// Its first byte is back.
    First(u32),
    /// Its last byte is back.
    Last(u32),
    /// Its 429 is back, with a waiting time in milliseconds.
    Refused(u32, u32),
    /// Its connection was refused.
    Failed(u32),
    /// A request that waits is to be looked at, if it still waits at this count of its.
    Look(u32, u32),
    /// Gateways look at the servers' metrics, or tell one another what they have unanswered.
    Scrape,
    Gossip,
    /// A fault begins or ends.
    Fault(u16, bool),
}

impl Event {
    fn at(&self) -> f64 {
        f64::from_bits(self.at)
    }
}

/// A request between its arrival and its end.
#[derive(Debug)]
struct Flight {
    row: usize,
    gateway: usize,
    target: usize,
    class: Class,
    priority: Priority,
    /// The scenario drew it as one that nobody waits for.
    is_drawn: bool,
    draw: u32,
    bytes: usize,
    sent_at: f64,
    first: f64,
    /// Where it waits, and how often it was told to.
    place: Option<Place>,
    looks: u32,
    plan: Option<Plan>,
    sent: Option<Sent>,
    /// The predicted seconds to the first byte.
    foretold: Option<f64>,
    tried: u64,
    remaining: f64,
    reservation: Option<Reservation>,
    burst: bool,
}

struct Simulation<'a> {
    job: &'a Job<'a>,
    /// Of each profile: what is asked for its requests, and what for those that the scenario draws as batch.
    wants: Vec<(Wants, Knobs)>,
    now: f64,
    random: Random,
    servers: Vec<Server>,
    down: Vec<bool>,
    gateways: Vec<Gateway>,
    flights: Vec<Option<Flight>>,
    free: Vec<u32>,
    events: BinaryHeap<Reverse<Event>>,
    numbered: u32,
    /// Events that come back for ever and keep no run alive.
    periodic: usize,
    run: Run,
    ended: Ended,
}

impl<'a> Simulation<'a> {
    fn new(job: &'a Job<'a>) -> Self {
        let scenario = job.scenario;
        let mut random = Random::new(job.seed);
        let servers: Vec<Server> = scenario
            .targets
            .iter()
            .map(|target| match (&target.engine, &target.cloud) {
                (Some(engine), _) => Server::Engine(Engine::new(*engine)),
                (None, cloud) => Server::Cloud(Cloud::new(cloud.unwrap_or_default(), Random::new(random.next()))),
            })
            .collect();
        let profiles = job.trace.profiles.len();
        let wants: Vec<(Wants, Knobs)> = (0..profiles)
            .map(|profile| job.wants.get(profile).cloned().unwrap_or_else(|| Wants::of(scenario)))
            .map(|wants| {
                let drawn = wants.drawn(scenario);
                (wants, drawn)
            })
            .collect();
        let models = wants.iter().map(|(wants, _)| usize::from(wants.model) + 1).max().unwrap_or_default();
        let gateways = (0..scenario.gateways)
            .map(|_| Gateway::new(scenario, (models, profiles), Random::new(random.next()), job.start))
            .collect();
        let blank = Outcome {
            at: 0.0,
            profile: 0,
            end: End::Refused,
            first: 0.0,
            total: 0.0,
            usd: 0.0,
            batch: false,
            in_time: false,
            burst: false,
        };
        let mut simulation = Self {
            job,
            wants,
            now: 0.0,
            random,
            down: vec![false; servers.len()],
            servers,
            gateways,
            flights: Vec::new(),
            free: Vec::new(),
            events: BinaryHeap::new(),
            numbered: 0,
            periodic: 0,
            run: Run { outcomes: vec![blank; job.trace.rows.len()], ..Run::default() },
            ended: Ended::default(),
        };
        simulation.plan_faults();
        simulation.plan_reports();
        simulation
    }

    fn plan_faults(&mut self) {
        let seconds = self.job.trace.seconds();
        for (index, fault) in self.job.scenario.faults.iter().enumerate() {
            let index = index as u16;
            self.at(fault.from * seconds, What::Fault(index, true));
            self.at(fault.to * seconds, What::Fault(index, false));
        }
    }

    /// A single gateway knows all that was sent without asking.
    fn plan_reports(&mut self) {
        if self.gateways.len() < 2 || self.job.router != Router::Causeway {
            return;
        }
        if self.job.scenario.gossip_ms.is_some() {
            self.at(0.0, What::Gossip);
        } else {
            self.at(0.0, What::Scrape);
        }
        self.periodic = 1;
    }

    fn at(&mut self, at: f64, what: What) {
        self.numbered = self.numbered.wrapping_add(1);
        self.events.push(Reverse(Event { at: at.max(0.0).to_bits(), number: self.numbered, what }));
    }

    fn instant(&self) -> Instant {
        self.job.start + Duration::from_secs_f64(self.now)
    }

    /// When the next step of a server ends, and whose it is.
    fn next_step(&self) -> (f64, usize) {
        let mut next = (f64::INFINITY, 0);
        for (index, server) in self.servers.iter().enumerate() {
            if let Server::Engine(engine) = server
                && engine.step_ends < next.0
            {
                next = (engine.step_ends, index);
            }
        }
        next
    }

    fn is_over(&self) -> bool {
        self.flights.len() == self.free.len()
    }

    fn arrive(&mut self, index: usize) {
        let Some(row) = self.job.trace.rows.get(index).copied() else { return };
        if let Some(outcome) = self.run.outcomes.get_mut(index) {
            (outcome.at, outcome.profile) = (row.at, row.profile);
        }
        // Drawn for every request, so that a denial changes nothing for those behind it.
        let (draw, is_drawn) = (self.random.draw(), self.random.unit() < self.job.scenario.batch_share);
        let (at_gateway, error) = (self.random.draw(), self.counting_error());
        if !matches!(self.job.permits.get(usize::from(row.profile)), Some(Ok(_))) {
            self.close(index, End::Denied);
            return;
        }
        let bytes = (f64::from(row.prompt) * BYTES * error).ceil() as usize;
        let gateway = at_gateway as usize % self.gateways.len();
        // The books hold tokens; what clouds charge is the scenario's price of what was used, and no app has a limit.
        let ask = accounting::Ask { estimate: estimate(bytes, None), money: Money::ZERO };
        let moment = Moment { at: self.instant(), month: 0, month_left: Duration::ZERO };
        let book = self.gateways[gateway].books[usize::from(row.profile)].clone();
        let flight = Flight {
            row: index,
            gateway,
            target: 0,
            class: if is_drawn { Class::Batch } else { self.wants[usize::from(row.profile)].0.class },
            priority: if is_drawn { Priority::Low } else { Priority::Normal },
            is_drawn,
            draw,
            bytes,
            sent_at: 0.0,
            first: 0.0,
            place: None,
            looks: 0,
            plan: None,
            sent: None,
            foretold: None,
            tried: 0,
            remaining: 0.0,
            reservation: book.reserve(None, ask, moment).ok(),
            burst: false,
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.flights[id as usize] = Some(flight);
                id
            }
            None => {
                self.flights.push(Some(flight));
                (self.flights.len() - 1) as u32
            }
        };
        self.decide(id);
    }

    fn counting_error(&mut self) -> f64 {
        let spread = self.job.scenario.token_error;
        if spread == 0.0 { 1.0 } else { (spread * self.random.normal()).exp() }
    }

    fn row_of(&self, id: u32) -> Row {
        self.job.trace.rows[self.flight(id).row]
    }

    /// What is asked of routing for requests like this one.
    fn wants(&self, flight: &Flight) -> (&Wants, &Knobs) {
        let profile = self.job.trace.rows[flight.row].profile;
        let (wants, drawn) = &self.wants[usize::from(profile)];
        (wants, if flight.is_drawn { drawn } else { &wants.knobs })
    }

    fn model_of(&self, id: u32) -> usize {
        usize::from(self.wants(self.flight(id)).0.model)
    }

    fn flight(&self, id: u32) -> &Flight {
        self.flights[id as usize].as_ref().expect("an event of a request comes before its end")
    }

    fn flight_mut(&mut self, id: u32) -> &mut Flight {
        self.flights[id as usize].as_mut().expect("an event of a request comes before its end")
    }

    /// Sends the request to the target of a warrant, which this uses up.
    #[expect(clippy::needless_pass_by_value, reason = "sending uses a warrant up, here as in the gateway")]
    fn send(&mut self, id: u32, warrant: Warrant) {
        let target = warrant.target().0 as usize;
        let row = self.row_of(id);
        self.run.sent.push((row.profile, target as u16));
        let instant = self.instant();
        let (now, down) = (self.now, self.down[target]);
        let round_trip = self.servers[target].round_trip();
        let ask = self.ask(id);
        let flight = self.flights[id as usize].as_mut().expect("a request that is sent has not ended");
        (flight.target, flight.sent_at, flight.tried) = (target, now, flight.tried | 1 << target);
        let gateway = &mut self.gateways[flight.gateway];
        gateway.memory[target].in_flight += 1;
        if self.job.router == Router::Causeway {
            flight.sent = Some(gateway.signals[target].on_send(&ask, warrant.target(), instant));
        }
        if down {
            self.at(now + round_trip, What::Failed(id));
        } else {
            if let Server::Engine(engine) = &mut self.servers[target] {
                engine.coming += u64::from(row.prompt);
            }
            self.at(now + round_trip / 2.0, What::Reaches(id));
        }
    }

    fn pop(&mut self) {
        let Some(Reverse(event)) = self.events.pop() else { return };
        self.now = event.at();
        match event.what {
            What::Reaches(id) => self.reaches(id),
            What::First(id) => self.first(id),
            What::Last(id) => self.last(id),
            What::Refused(id, wait_ms) => self.refused(id, wait_ms),
            What::Failed(id) => self.failed(id),
            What::Look(id, look) => {
                if self.flights[id as usize].as_ref().is_some_and(|f| f.place.is_some() && f.looks == look) {
                    self.decide(id);
                }
            }
            What::Scrape => self.scrape(),
            What::Gossip => self.gossip(),
            What::Fault(index, begins) => self.fault(index, begins),
        }
    }

    fn reaches(&mut self, id: u32) {
        let row = self.row_of(id);
        let (now, target) = (self.now, self.flight(id).target);
        match &mut self.servers[target] {
            Server::Engine(engine) => {
                engine.coming -= u64::from(row.prompt);
                engine.arrive(id, (row.prompt, row.output), now);
            }
            Server::Cloud(cloud) => {
                let back = now + cloud.round_trip() / 2.0;
                match cloud.arrive((row.prompt, row.output), now) {
                    Taken::Answers { first, last, remaining } => {
                        self.flight_mut(id).remaining = remaining;
                        self.at(back + first, What::First(id));
                        self.at(back + last, What::Last(id));
                    }
                    Taken::Refused { retry_after } => {
                        self.at(back, What::Refused(id, (retry_after * 1e3).ceil() as u32));
                    }
                }
            }
        }
    }

    fn end_step(&mut self, target: usize) {
        let mut ended = std::mem::take(&mut self.ended);
        if let Some(Server::Engine(engine)) = self.servers.get_mut(target) {
            self.now = engine.step_ends;
            engine.end_step(&mut ended);
            let back = self.now + engine.round_trip() / 2.0;
            for id in &ended.first {
                self.at(back, What::First(*id));
            }
            for id in &ended.last {
                self.at(back, What::Last(*id));
            }
        }
        if let Some(gap) = ended.gap
            && self.job.router == Router::Causeway
        {
            let (gap, instant) = (Duration::from_secs_f64(gap), self.instant());
            for gateway in &mut self.gateways {
                if gateway.memory[target].in_flight > 0 {
                    gateway.signals[target].on_token(gap, instant);
                }
            }
        }
        self.ended = ended;
    }

    fn close_flight(&mut self, id: u32, end: End) {
        let Some(flight) = self.flights[id as usize].take() else { return };
        self.free.push(id);
        let Some(row) = self.job.trace.rows.get(flight.row).copied() else { return };
        let scenario = self.job.scenario;
        let answered = end.target().and_then(|target| scenario.targets.get(usize::from(target)));
        let (first, total) = (flight.first - row.at, self.now - row.at);
        let (wants, knobs) = self.wants(&flight);
        let batch = flight.class == Class::Batch;
        let in_time = if batch {
            total <= knobs.deadline.unwrap_or(DEFAULT_DEADLINE).as_secs_f64()
        } else {
            first <= wants.first_token_s(scenario) && total <= wants.whole_s(scenario, row.output)
        };
        if let Some(outcome) = self.run.outcomes.get_mut(flight.row) {
            *outcome = Outcome {
                at: row.at,
                profile: row.profile,
                end,
                first: first.max(0.0) as f32,
                total: total as f32,
                usd: answered.and_then(|target| target.usd(row.prompt, row.output)).unwrap_or_default(),
                batch,
                in_time: in_time && answered.is_some(),
                burst: flight.burst,
            };
        }
    }

    fn close(&mut self, index: usize, end: End) {
        if let Some(outcome) = self.run.outcomes.get_mut(index) {
            outcome.end = end;
        }
    }

    fn finish(mut self) -> Run {
        let books = self.gateways.iter().flat_map(|gateway| &gateway.books);
        self.run.still_reserved = books.map(|book| book.totals().reserved.0).sum();
        self.run
    }
}
