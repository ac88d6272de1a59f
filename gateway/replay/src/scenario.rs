//! The scenario: what stands behind each target, what is asked of routing, and what goes wrong when.

use std::time::Duration;

use routing::{Knobs, Prices, Terms, Tier};
use serde::Deserialize;

use crate::cloud::CloudSpec;
use crate::engine::EngineSpec;

/// A scenario, as it is written in TOML.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Milliseconds in which the first token should come.
    #[serde(default = "first_token_ms")]
    pub first_token_ms: f64,
    /// Milliseconds that each further token may take.
    #[serde(default = "per_token_ms")]
    pub per_token_ms: f64,
    /// Share of the requests that may miss these times.
    #[serde(default = "miss_budget")]
    pub miss_budget: f64,
    /// Dollars an hour of own capacity. It stands in the totals and never in a decision.
    #[serde(default)]
    pub fixed_usd_per_hour: f64,
    /// Gateways that share the targets without knowing of one another.
    #[serde(default = "one")]
    pub gateways: usize,
    /// Milliseconds between two looks at the metrics of own servers, where there is more than one gateway.
    #[serde(default = "scrape_ms")]
    pub scrape_ms: f64,
    /// Milliseconds between two messages in which gateways tell one another what they have unanswered. Absent: none.
    #[serde(default)]
    pub gossip_ms: Option<f64>,
    /// Share of the requests that nobody waits for.
    #[serde(default)]
    pub batch_share: f64,
    /// Seconds that those may take.
    #[serde(default = "batch_deadline_s")]
    pub batch_deadline_s: f64,
    /// Standard deviation of the logarithm of the error in counting prompt tokens.
    #[serde(default)]
    pub token_error: f64,
    /// The targets, in declared order.
    #[serde(rename = "target")]
    pub targets: Vec<Target>,
    /// What goes wrong.
    #[serde(default, rename = "fault")]
    pub faults: Vec<Fault>,
}

/// A target and what stands behind it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// `endpoint/upstream-model`.
    pub name: String,
    /// An own server with these constants.
    #[serde(default)]
    pub engine: Option<EngineSpec>,
    /// A cloud with these constants.
    #[serde(default)]
    pub cloud: Option<CloudSpec>,
    /// Dollars a million prompt tokens; a cloud without a price sorts last.
    #[serde(default)]
    pub input_usd_per_million: Option<f64>,
    /// Dollars a million tokens of the answer.
    #[serde(default)]
    pub output_usd_per_million: Option<f64>,
    /// A cloud that is paid for by the hour: it costs nothing more, and serves after own servers and before what charges.
    #[serde(default)]
    pub provisioned: bool,
    /// Requests that a gateway has there at a time. Absent: no bound.
    #[serde(default)]
    pub in_flight: Option<u32>,
    /// Tokens a minute that gateways take a cloud's quota for. Absent: what it really is.
    #[serde(default)]
    pub tokens_per_minute: Option<u64>,
    /// Requests a minute that gateways take a cloud's quota for. Absent: no bound.
    #[serde(default)]
    pub requests_per_minute: Option<u64>,
}

/// What goes wrong at a target for a part of the run.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The target.
    pub target: String,
    /// When it begins, as a part of the run: 0.35.
    pub from: f64,
    /// When it ends.
    pub to: f64,
    /// Factor on all its times.
    #[serde(default = "unchanged")]
    pub slower: f64,
    /// Factor on its quota.
    #[serde(default = "unchanged")]
    pub quota: f64,
    /// It refuses connections.
    #[serde(default)]
    pub down: bool,
}

fn first_token_ms() -> f64 {
    1_500.0
}
fn per_token_ms() -> f64 {
    100.0
}
fn miss_budget() -> f64 {
    0.01
}
fn one() -> usize {
    1
}
fn scrape_ms() -> f64 {
    200.0
}
fn batch_deadline_s() -> f64 {
    600.0
}
fn unchanged() -> f64 {
    1.0
}

/// What is wrong with a scenario.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ScenarioError {
    /// It is no TOML, or no scenario.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// A target has neither `engine` nor `cloud`, or both.
    #[error("target `{0}` needs either `engine` or `cloud`")]
    Server(String),
    /// Two targets have the same name.
    #[error("two targets are named `{0}`")]
    Twice(String),
    /// A fault is of a target that there is not.
    #[error("a fault names target `{0}`, which the scenario does not have")]
    Fault(String),
    /// A number cannot be.
    #[error("`{name}` is {found}; {right}")]
    Number {
        /// The setting.
        name: &'static str,
        /// What stands there.
        found: f64,
        /// What would be right.
        right: &'static str,
    },
}

/// The most targets and gateways that a replay takes.
const MOST: usize = 64;

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    ///
    /// The first [`ScenarioError`].
    pub fn from_toml(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text)?;
        scenario.check()?;
        Ok(scenario)
    }

    /// Checks a scenario that was made or changed by hand.
    ///
    /// # Errors
    ///
    /// The first [`ScenarioError`].
    pub fn check(&self) -> Result<(), ScenarioError> {
        let positive = "it must be more than 0";
        self.number("first_token_ms", self.first_token_ms, self.first_token_ms > 0.0, positive)?;
        self.number("per_token_ms", self.per_token_ms, self.per_token_ms > 0.0, positive)?;
        self.number("scrape_ms", self.scrape_ms, self.scrape_ms >= 1.0, "it must be at least 1")?;
        let gossip = self.gossip_ms.unwrap_or(1.0);
        self.number("gossip_ms", gossip, gossip >= 1.0, "it must be at least 1")?;
        let part = "it must be between 0 and 1";
        self.number("miss_budget", self.miss_budget, (0.0..=1.0).contains(&self.miss_budget), part)?;
        self.number("batch_share", self.batch_share, (0.0..=1.0).contains(&self.batch_share), part)?;
        let few = "it must be between 1 and 64";
        self.number("gateways", self.gateways as f64, (1..=MOST).contains(&self.gateways), few)?;
        self.number("target", self.targets.len() as f64, (1..=MOST).contains(&self.targets.len()), few)?;
        for (index, target) in self.targets.iter().enumerate() {
            if target.engine.is_some() == target.cloud.is_some() {
                return Err(ScenarioError::Server(target.name.clone()));
            }
            if self.targets[..index].iter().any(|other| other.name == target.name) {
                return Err(ScenarioError::Twice(target.name.clone()));
            }
            if let Some(engine) = &target.engine {
                self.number("chunk", f64::from(engine.chunk), engine.chunk > 0, positive)?;
                self.number("sequences", f64::from(engine.sequences), engine.sequences > 0, positive)?;
                self.number("step_ms", engine.step_ms, engine.step_ms > 0.0, positive)?;
            }
        }
        for fault in &self.faults {
            if !self.targets.iter().any(|target| target.name == fault.target) {
                return Err(ScenarioError::Fault(fault.target.clone()));
            }
            self.number("slower", fault.slower, fault.slower > 0.0, positive)?;
            self.number("quota", fault.quota, fault.quota > 0.0, positive)?;
        }
        Ok(())
    }

    #[expect(clippy::unused_self, reason = "reads as a sentence where it is called")]
    fn number(&self, name: &'static str, found: f64, holds: bool, right: &'static str) -> Result<(), ScenarioError> {
        if holds && found.is_finite() { Ok(()) } else { Err(ScenarioError::Number { name, found, right }) }
    }

    /// What is asked of routing.
    #[must_use]
    pub fn knobs(&self) -> Knobs {
        Knobs {
            first_token: Some(Duration::from_secs_f64(self.first_token_ms / 1e3)),
            per_token: Duration::from_secs_f64(self.per_token_ms / 1e3),
            miss_budget: self.miss_budget,
            deadline: None,
            ..Knobs::default()
        }
    }

    /// The index of a target.
    #[must_use]
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.targets.iter().position(|target| *target.name == *name)
    }
}

impl Target {
    /// Dollars that a request costs there; none where nobody said so, zero on own servers.
    #[must_use]
    pub fn usd(&self, prompt: u32, output: u32) -> Option<f64> {
        if self.engine.is_some() || self.provisioned {
            return Some(0.0);
        }
        let (input, written) = (self.input_usd_per_million?, self.output_usd_per_million?);
        Some((f64::from(prompt) * input + f64::from(output) * written) / 1e6)
    }

    /// What routing is told of it; each of `gateways` gateways takes its part of the quota.
    #[must_use]
    pub fn terms(&self, gateways: usize) -> Terms {
        let in_flight = self.in_flight;
        let Some(cloud) = &self.cloud else { return Terms { in_flight, ..Terms::of(Tier::Sunk) } };
        let tier = match (self.input_usd_per_million, self.output_usd_per_million) {
            _ if self.provisioned => Tier::Provisioned,
            (Some(input), Some(output)) => Tier::PerToken(Prices::flat(input / 1e6, output / 1e6)),
            _ => Tier::Unpriced,
        };
        let tokens = self.tokens_per_minute.map_or(cloud.tokens_per_minute, |tokens| tokens as f64);
        let part = |amount: f64| (amount / gateways.max(1) as f64) as u64;
        let requests_per_minute = self.requests_per_minute.map(|requests| part(requests as f64).max(1));
        Terms { tier, in_flight, tokens_per_minute: Some(part(tokens)), requests_per_minute }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
        [[target]]
        name = "gpu-1/llama"
        engine = { chunk = 2048 }

        [[target]]
        name = "cloud/llama"
        cloud = {}
        input_usd_per_million = 2.0
        output_usd_per_million = 8.0
    "#;

    #[test]
    fn a_scenario_needs_only_its_targets() {
        let scenario = Scenario::from_toml(SMALL).unwrap();

        assert_eq!((scenario.gateways, scenario.first_token_ms), (1, 1_500.0));
        assert_eq!(scenario.targets[0].engine.map(|engine| (engine.chunk, engine.sequences)), Some((2_048, 256)));
        assert_eq!(scenario.targets[1].usd(1_000_000, 1_000_000), Some(10.0));
        assert_eq!(scenario.targets[0].terms(1).tier, Tier::Sunk);
    }

    #[test]
    fn a_target_may_be_provisioned_and_bounded_and_gateways_share_its_quota() {
        let bounds = "provisioned = true\nin_flight = 8\ntokens_per_minute = 6000\nrequests_per_minute = 60\n";
        let scenario = Scenario::from_toml(&format!("{SMALL}\n{bounds}")).unwrap();

        let terms = scenario.targets[1].terms(2);

        assert_eq!((terms.tier, terms.in_flight), (Tier::Provisioned, Some(8)));
        assert_eq!((terms.tokens_per_minute, terms.requests_per_minute), (Some(3_000), Some(30)));
        assert_eq!(scenario.targets[1].usd(1_000_000, 1_000_000), Some(0.0));
    }

    #[test]
    fn mistakes_say_what_would_be_right() {
        let said = |text: &str| Scenario::from_toml(text).unwrap_err().to_string();

        assert_eq!(said("[[target]]\nname = \"x\"\n"), "target `x` needs either `engine` or `cloud`");
        assert_eq!(said(&format!("gateways = 0\n{SMALL}")), "`gateways` is 0; it must be between 1 and 64");
        let fault = format!("{SMALL}\n[[fault]]\ntarget = \"gpu-9\"\nfrom = 0.1\nto = 0.2\n");
        assert_eq!(said(&fault), "a fault names target `gpu-9`, which the scenario does not have");
        assert!(said(&format!("speed = 1\n{SMALL}")).contains("speed"));
    }
}
