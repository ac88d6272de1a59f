//! What the model of a request wants of routing, and whether somebody waits for the answer.

use std::time::Duration;

use routing::{Class, Knobs};

use crate::scenario::Scenario;

/// What is asked of routing for the requests of one profile.
#[derive(Clone, Debug, PartialEq)]
pub struct Wants {
    /// The model's number. What requests for one model teach (its queue, its calibration, its burst state) is kept apart
    /// from what those for another do.
    pub model: u16,
    /// What the model wants.
    pub knobs: Knobs,
    /// Whether somebody waits for the answers.
    pub class: Class,
    /// Percent of the traffic that a target takes, by its index in the scenario; shorter where the last ones have no share.
    pub shares: Vec<Option<u8>>,
}

impl Wants {
    /// What a scenario wants of all requests alike.
    #[must_use]
    pub fn of(scenario: &Scenario) -> Self {
        let deadline = Some(Duration::from_secs_f64(scenario.batch_deadline_s));
        let knobs = Knobs { deadline, ..scenario.knobs() };
        Self { model: 0, knobs, class: Class::Interactive, shares: Vec::new() }
    }

    /// Seconds in which the first token should come. Where the model has no target nothing is too slow for routing, and the
    /// scenario's is what figures are held against.
    pub(crate) fn first_token_s(&self, scenario: &Scenario) -> f64 {
        self.knobs.first_token.map_or(scenario.first_token_ms / 1e3, |target| target.as_secs_f64())
    }

    /// Seconds in which an answer of so many tokens should be whole.
    pub(crate) fn whole_s(&self, scenario: &Scenario, output: u32) -> f64 {
        self.first_token_s(scenario) + f64::from(output) * self.knobs.per_token.as_secs_f64()
    }

    /// The percent of the traffic that a target takes, where it has a share.
    pub(crate) fn share(&self, target: usize) -> Option<u8> {
        self.shares.get(target).copied().flatten()
    }

    /// The same for requests that a scenario draws as those nobody waits for.
    pub(crate) fn drawn(&self, scenario: &Scenario) -> Knobs {
        match self.class {
            Class::Batch => self.knobs,
            Class::Interactive => Self::of(scenario)
                .knobs
                .deadline
                .map_or(self.knobs, |deadline| Knobs { deadline: Some(deadline), ..self.knobs }),
        }
    }
}
