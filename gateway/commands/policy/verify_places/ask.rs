//! `--ask`: what control planes tell of the targets, and what endpoints of Azure say of where they answer.
//!
//! An endpoint is asked for its list of models, and only where the answer can say anything: Azure names the region in a header.
//! Whoever does not answer says nothing, and standard error says why.

#![expect(clippy::print_stderr, reason = "a command's answer goes to the terminal")]

use std::collections::BTreeMap;

use egress::{ControlHost, EndpointSpec, Fleet, Inspect, ResolverSpec};
use server::configuration::{Compiled, TargetConfig};
use server::control_planes::{Answer, AskError, Question, Told};
use server::outlook;
use server::snapshot::{self, Specs};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Heard, Word};
use crate::commands::doctor::examine::only;
use crate::commands::policy::containment;

/// Time for each step of an asking, and for the whole answer of a control plane.
const STEP: std::time::Duration = std::time::Duration::from_secs(5);
const LIMIT: std::time::Duration = std::time::Duration::from_secs(30);

/// Asks everybody who can say anything.
pub(super) fn ask(compiled: &Compiled, heard: &mut Heard) -> Result<(), String> {
    let Specs { endpoints, resolvers } = snapshot::specs(compiled).map_err(|error| error.to_string())?;
    let controls = snapshot::control_specs(compiled).map_err(|error| error.to_string())?;
    let runtime = containment::runtime().map_err(|error| error.to_string())?;
    let now = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
    runtime.block_on(async {
        let fleet = Fleet::build(Vec::new(), resolvers.clone(), &[], None);
        let fleet = fleet.and_then(|fleet| fleet.with_control(controls, None)).map_err(|error| error.to_string())?;
        planes(compiled, &fleet, &mut |target, told| {
            let word = entry(heard, target, told.by(), &told.word(), &now);
            word.told = Some(told);
        })
        .await;
        let says = |spec: &EndpointSpec| compiled.endpoints.iter().any(|one| one.name == *spec.name && one.in_azure());
        for spec in endpoints.into_iter().filter(says) {
            let name = spec.name.to_string();
            if let Some((by, said)) = region(spec, &resolvers).await {
                let of_endpoint = |target: &&TargetConfig| compiled.endpoints[target.endpoint].name == name;
                for target in compiled.targets.iter().filter(of_endpoint) {
                    entry(heard, target, by, &said, &now);
                }
            }
        }
        Ok(())
    })
}

fn entry<'a>(heard: &'a mut Heard, target: &TargetConfig, by: &str, said: &str, now: &str) -> &'a mut Word {
    let words = heard.entry(target.name.clone()).or_default();
    let word = words.entry((by.to_owned(), said.to_owned())).or_default();
    word.count += 1;
    now.clone_into(&mut word.last);
    word
}

/// The control planes side by side, each with one question after the other.
async fn planes(compiled: &Compiled, fleet: &Fleet, heard: &mut impl FnMut(&TargetConfig, Told)) {
    let mut about: BTreeMap<usize, Vec<(usize, Question)>> = BTreeMap::new();
    for target in 0..compiled.targets.len() {
        if let Some((control, question)) = Question::about(compiled, target) {
            about.entry(control).or_default().push((target, question));
        }
    }
    let mut asking = Vec::new();
    for (control, questions) in about {
        let name = format!("control.{}", compiled.controls[control].name);
        let Some(host) = fleet.control(&name).cloned() else { continue };
        asking.push(tokio::spawn(asked(host, questions)));
    }
    for asked in asking {
        for (target, answer) in asked.await.unwrap_or_default() {
            let target = &compiled.targets[target];
            match answer {
                Ok(Answer { told, gap: None }) => heard(target, told),
                Ok(Answer { told, gap: Some(why) }) => {
                    eprintln!(
                        "target `{}`: its control plane was asked and does not tell to what it spills over: {why}",
                        target.name
                    );
                    // What is missing could contradict, so that the rest confirms nothing.
                    if told
                        .compare(
                            &target.facts,
                            &target.upstream_model,
                            (&compiled.policy.pack, &compiled.policy.adjustments),
                        )
                        .is_err()
                    {
                        heard(target, told);
                    }
                }
                Err(why) => eprintln!("target `{}`: its control plane was asked and tells nothing: {why}", target.name),
            }
        }
    }
}

async fn asked(host: ControlHost, questions: Vec<(usize, Question)>) -> Vec<(usize, Result<Answer, AskError>)> {
    let mut told = Vec::new();
    for (target, question) in questions {
        let late = AskError::Unusable("it did not come in time");
        told.push((target, tokio::time::timeout(LIMIT, question.ask(&host)).await.unwrap_or(Err(late))));
    }
    told
}

/// What an endpoint of Azure says of its region, with its list of models.
async fn region(spec: EndpointSpec, resolvers: &[ResolverSpec]) -> Option<(&'static str, String)> {
    let name = spec.name.to_string();
    let inspect = Inspect { path: Some(spec.harmless_path()), with_credential: true, limit: STEP };
    let answer = match only(spec, resolvers) {
        Ok(endpoint) => {
            let found = endpoint.inspect(&inspect).await;
            let why = || found.verdict.as_ref().map_or_else(|| "no answer".to_owned(), ToString::to_string);
            found.answer.as_ref().ok_or_else(why).map(|answer| answer.headers.clone())
        }
        Err(error) => Err(error.to_string()),
    };
    match answer {
        Ok(headers) => outlook::place_said(&headers).map(|(by, said)| (by, said.to_owned())),
        Err(why) => {
            eprintln!("endpoint `{name}` was asked and did not answer: {why}");
            None
        }
    }
}
