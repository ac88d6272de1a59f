//! In which order a model's permitted targets would be tried, as if nothing else were running: for an explanation.
//!
//! The choice is the one of requests, on what is known of targets that have never been asked. Nothing is dialled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use policy::{Permit, TargetId};
use routing::{Ask, Class, Demand, Habits, Ranked, Tightness};
use telemetry::metrics::Metrics;

use super::{Model, SnapshotError, Target, build};
use crate::configuration::{AppConfig, Compiled, ModelConfig};
use crate::outlook::ReadRequest;
use crate::pipeline;

/// The targets and models of a configuration that has served nothing yet.
pub struct Idle<'a> {
    compiled: &'a Compiled,
    targets: Vec<Arc<Target>>,
    models: Vec<Model>,
}

/// The order for one request, and what it was assumed to be.
#[derive(Clone, Debug)]
pub struct IdleOrder {
    /// Tokens that it is taken to read.
    pub prompt: u64,
    /// Tokens that its answer is taken to have.
    pub output: u64,
    /// Whether somebody waits for it: `interactive` or `batch`.
    pub class: &'static str,
    /// Why the first is the first.
    pub why: String,
    /// The targets of the permit, best first.
    pub targets: Vec<IdleTarget>,
}

/// One target of the order.
#[derive(Clone, Debug)]
pub struct IdleTarget {
    /// Which.
    pub target: TargetId,
    /// Its place, counted from 1.
    pub rank: usize,
    /// Whether it is tried at all.
    pub is_tried: bool,
    /// When its first token is expected; none where only traffic can tell.
    pub first_token: Option<Duration>,
    /// How it is paid for: `sunk`, `provisioned`, `per_token` or `unpriced`.
    pub paid: &'static str,
    /// What the request would cost in dollars, where it is charged by the token.
    pub usd: Option<f64>,
    /// Percent of the traffic that it takes whatever the rest says.
    pub share: Option<u8>,
    /// The sentence why it has that place.
    pub why: String,
}

impl<'a> Idle<'a> {
    /// Of a configuration, without its secrets.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`] when an endpoint speaks a dialect that this version does not.
    pub fn build(compiled: &'a Compiled) -> Result<Self, SnapshotError> {
        let metrics = Metrics::new();
        let targets = build::targets(compiled, None, &metrics)?;
        Ok(Self { compiled, targets, models: build::models(compiled, None, &metrics) })
    }

    /// The order of the targets that `permit` covers, for a request of the app for the model; none where the configuration
    /// has no such model.
    ///
    /// Of targets with a share, the request falls into that of the first.
    #[must_use]
    pub fn order(
        &self,
        app: &AppConfig,
        model: &ModelConfig,
        request: &ReadRequest,
        permit: &Arc<Permit>,
    ) -> Option<IdleOrder> {
        let steering = &self.models.iter().find(|known| *known.name == *model.name)?.steering;
        let now = Instant::now();
        let size = request.size;
        let expected = Habits::new().expect(size.input_bytes, size.most_output, now);
        let expected = pipeline::of_choices(expected, size.choices);
        let (class, _) = pipeline::class_of(size.service_tier, Some(app.traffic.unwrap_or(steering.traffic)));
        let ask = Ask { expected, class, waited: Duration::ZERO, session: None, draw: 0 };
        let totals = permit.targets().iter().filter_map(|target| self.total_of(*target));
        let knobs = pipeline::knobs_within(steering.knobs, class, totals);
        let demand = Demand { ask: &ask, knobs: &knobs, tightness: Tightness::NONE, now };
        let tier = pipeline::tier_of(size.service_tier);
        let target =
            |id: TargetId| self.targets.get(id.0 as usize).expect("permits are made from the same configuration");
        let plan = pipeline::order(permit, &demand, (&steering.shares, tier), |id| target(id));
        Some(IdleOrder {
            prompt: expected.prompt.0,
            output: expected.output.0,
            class: class.name(),
            why: plan.reason().to_string(),
            targets: plan.explain().iter().map(IdleTarget::of).collect(),
        })
    }

    /// How long a call to the target may take in all.
    fn total_of(&self, target: TargetId) -> Option<Duration> {
        let target = self.compiled.targets.get(target.0 as usize)?;
        self.compiled.endpoints.get(target.endpoint).map(|endpoint| endpoint.timeouts.total)
    }
}

impl IdleOrder {
    /// Whether somebody waits for the answer.
    #[must_use]
    pub fn is_interactive(&self) -> bool {
        self.class == Class::Interactive.name()
    }
}

impl IdleTarget {
    fn of(ranked: &Ranked) -> Self {
        let outlook = &ranked.outlook;
        Self {
            target: ranked.target,
            rank: ranked.place,
            is_tried: ranked.is_tried(),
            first_token: outlook.first_token,
            paid: outlook.paid.name(),
            usd: outlook.price,
            share: outlook.share,
            why: ranked.why.to_string(),
        }
    }
}
