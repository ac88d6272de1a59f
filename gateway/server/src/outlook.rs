//! From a compiled configuration, or a request in a file, to what policies are asked about: used by the snapshot, by `check`,
//! and by the commands that ask without serving.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use policy::{
    Asker, Candidate, Class, Drift, Echo, Facts, Findings, Grants, Judge, Names, Operation, Reach, TargetId, WorldError,
};
use wire::{Api, ServiceTier};

use crate::configuration::{self, AppConfig, Compiled, ReachConfig, TargetConfig};
use crate::pipeline;

/// A judge over everything that the configuration names.
///
/// # Errors
///
/// [`WorldError`] when the facts do not fit the policies' schema, which is a fault of the gateway.
pub fn judge(compiled: &Compiled) -> Result<Judge, WorldError> {
    judge_with(compiled, &compiled.policy.rules)
}

/// The same over other rules.
///
/// # Errors
///
/// As [`judge`].
pub fn judge_with(compiled: &Compiled, rules: &Arc<policy::Rules>) -> Result<Judge, WorldError> {
    let apps: Vec<Asker> = compiled.apps.iter().map(asker).collect();
    let targets: Vec<Candidate> = (0..compiled.targets.len()).map(|index| candidate(compiled, index)).collect();
    Judge::new(Arc::clone(rules), &compiled.policy.zones, &apps, &targets)
}

/// A judge over what is only proposed, policies, facts and recognisers, where anything is.
///
/// # Errors
///
/// As [`judge`].
pub fn candidate_judge(compiled: &Compiled) -> Result<Option<Judge>, WorldError> {
    let is_proposed = |target: &TargetConfig| target.candidate_facts.is_some();
    let is_tried = compiled.policy.candidate.is_some()
        || !compiled.policy.candidate_recognisers.is_empty()
        || compiled.recognisers.tried().next().is_some();
    if !is_tried && !compiled.targets.iter().any(is_proposed) {
        return Ok(None);
    }
    let rules = compiled.policy.candidate.as_ref().unwrap_or(&compiled.policy.rules);
    let apps: Vec<Asker> = compiled.apps.iter().map(asker).collect();
    let proposed = |index: usize| {
        let target = candidate(compiled, index);
        let facts = compiled.targets[index].candidate_facts.as_ref();
        facts.map_or_else(|| target.clone(), |facts| Candidate { facts: Arc::clone(facts), ..target.clone() })
    };
    let targets: Vec<Candidate> = (0..compiled.targets.len()).map(proposed).collect();
    Judge::new(Arc::clone(rules), &compiled.policy.zones, &apps, &targets).map(Some)
}

/// Holds what a provider said of where a target's answer was made against what is declared, by who says it: a header, or a member
/// of the answer.
///
/// # Errors
///
/// [`Drift`] when it contradicts.
pub fn compare(compiled: &Compiled, target: &TargetConfig, (by, word): (&str, &str)) -> Result<(), Drift> {
    let known = declared_of(compiled, target, word);
    let echo = match by {
        wire::REGION_HEADER => Echo::AzureRegion(word),
        wire::DEPLOYMENT_HEADER => Echo::AzureServedBy { deployment: word, facts: known.as_ref() },
        wire::GEO_MEMBER => Echo::InferenceGeo(word),
        _ => return Ok(()),
    };
    compiled.policy.pack.compare(&target.facts, echo)
}

/// What is declared of a deployment at the URL of a target, at its worst.
fn declared_of(compiled: &Compiled, target: &TargetConfig, deployment: &str) -> Option<Facts> {
    let origin = compiled.endpoints[target.endpoint].origin();
    let is_it = |other: &&TargetConfig| {
        let endpoint = &compiled.endpoints[other.endpoint];
        other.upstream_model.eq_ignore_ascii_case(deployment) && endpoint.in_azure() && endpoint.origin() == origin
    };
    compiled.targets.iter().filter(is_it).map(|other| Facts::clone(&other.facts)).reduce(Facts::worst_of)
}

/// What the head of an answer says of where it was made, and who says it.
#[must_use]
pub fn place_said(headers: &http::HeaderMap) -> Option<(&'static str, &str)> {
    wire::region_said(headers).map(|said| (wire::REGION_HEADER, said))
}

/// The names that policies for this configuration may use.
#[must_use]
pub fn names(compiled: &Compiled) -> Names {
    let Compiled { apps, endpoints, targets, policy, .. } = compiled;
    let certified = targets.iter().flat_map(|target| &target.facts.certifications).cloned();
    Names {
        labels: Some(policy.labels.iter().map(ToString::to_string).collect()),
        apps: Some(apps.iter().map(|app| app.name.clone()).collect()),
        teams: Some(apps.iter().map(|app| app.team.clone()).collect()),
        endpoints: Some(endpoints.iter().map(|endpoint| endpoint.name.clone()).collect()),
        targets: Some(targets.iter().map(|target| target.name.clone()).collect()),
        purposes: Some(apps.iter().flat_map(|app| &app.purposes).cloned().collect()),
        ..Names::of_pack(policy.pack.groups().keys().cloned())
            .with_findings(compiled.recognisers.kinds().map(|kind| kind.to_string()))
            .with_certificates(policy.pack.certificates().map(str::to_owned).chain(certified))
    }
}

/// The groups of countries that policies in force ask about, each with the instant from which nobody knows who is in it.
#[must_use]
pub fn groups_that_end(compiled: &Compiled) -> BTreeSet<(&str, SystemTime)> {
    configuration::asked_about(&compiled.policy.rules, &compiled.policy.zones)
}

/// An app as policies see it.
#[must_use]
pub fn asker(app: &AppConfig) -> Asker {
    Asker { name: app.name.as_str().into(), team: app.team.as_str().into(), purposes: app.purposes.clone() }
}

/// A target as policies see it.
///
/// # Panics
///
/// When there is no target of this index.
#[must_use]
pub fn candidate(compiled: &Compiled, index: usize) -> Candidate {
    let target = &compiled.targets[index];
    let endpoint = &compiled.endpoints[target.endpoint];
    Candidate {
        target: TargetId(u32::try_from(index).expect("the file size bounds keep targets far below 2^32")),
        name: target.name.as_str().into(),
        approved: endpoint.approved,
        grants: Grants {
            keep_state: endpoint.grants.keep_state,
            fetch_remote: endpoint.grants.fetch_remote,
            use_hosted_tool: endpoint.grants.use_hosted_tool,
        },
        reach: match endpoint.reach {
            ReachConfig::Local { .. } => Reach::Local,
            ReachConfig::PrivateLink { .. } => Reach::PrivateLink,
            ReachConfig::Public => Reach::Public,
        },
        own_site: endpoint.own_site,
        preview: endpoint.preview,
        facts: Arc::clone(&target.facts),
    }
}

/// What a request in a file comes down to.
#[derive(Clone, Debug, Default)]
pub struct ReadRequest {
    /// What it asks a model to do.
    pub operation: Operation,
    /// Labels that its `metadata` adds; whether they exist is not looked at.
    pub labels: Vec<String>,
    /// Classes that its `metadata` names; whether they exist is not looked at.
    pub classes: Vec<String>,
    /// Purposes that its `metadata` names; whether the app has registered them is not looked at.
    pub purposes: Vec<String>,
    /// What inspection finds in it, features included.
    pub findings: Findings,
    /// What routing goes by.
    pub size: RequestSize,
}

/// How large a request is, and what it says of when it wants its answer.
#[derive(Clone, Copy, Debug)]
pub struct RequestSize {
    pub(crate) input_bytes: usize,
    pub(crate) most_output: Option<u64>,
    pub(crate) choices: u64,
    pub(crate) service_tier: ServiceTier,
}

impl Default for RequestSize {
    /// Of a request that nobody has written: a thousand tokens, and one answer that is bounded nowhere.
    fn default() -> Self {
        Self { input_bytes: 4_000, most_output: None, choices: 1, service_tier: ServiceTier::Default }
    }
}

/// Reads a request as the gateway would, for the API of this name, with these recognisers beside the shipped ones.
///
/// # Errors
///
/// What is wrong with it, in words.
pub fn read_request(api: &str, body: Vec<u8>, own: &inspection::OwnRecognisers) -> Result<ReadRequest, String> {
    let api = Api::ALL.into_iter().find(|known| known.config_name() == api);
    let api = api.ok_or_else(|| "there is no such API".to_owned())?;
    let call = wire::decode(api, None, body.into()).map_err(|error| error.to_string())?;
    let said = pipeline::SaidInMetadata::of(&call);
    Ok(ReadRequest {
        operation: pipeline::operation_of(api),
        labels: said.labels,
        classes: said.classes,
        purposes: said.purposes,
        findings: pipeline::findings_of(&call, own),
        size: RequestSize {
            input_bytes: call.input_bytes(),
            most_output: call.max_output_tokens(),
            choices: call.choices(),
            service_tier: call.service_tier(),
        },
    })
}

/// What the API of this name asks a model to do.
#[must_use]
pub fn operation_named(api: &str) -> Operation {
    Api::ALL.into_iter().find(|known| known.config_name() == api).map_or(Operation::Chat, pipeline::operation_of)
}

/// The day of an instant, UTC, as people write it.
#[must_use]
pub fn day(at: SystemTime) -> String {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let day = accounting::Day::of_seconds(since.as_secs());
    day.to_string()
}

/// A class in the words of policy.
#[must_use]
pub const fn class(class: configuration::Class) -> Class {
    match class {
        configuration::Class::Public => Class::Public,
        configuration::Class::Internal => Class::Internal,
        configuration::Class::Confidential => Class::Confidential,
        configuration::Class::Secret => Class::Secret,
    }
}

/// Labels as a question takes them: sorted, each once.
#[must_use]
pub fn labels<T: AsRef<str>>(labels: &[T]) -> Arc<[Arc<str>]> {
    let mut sorted: Vec<Arc<str>> = labels.iter().map(|label| Arc::from(label.as_ref())).collect();
    sorted.sort_unstable();
    sorted.dedup();
    sorted.into()
}
