//! Where else a request could go that is refused where it asked.

use policy::{Candidate, Judge};
use server::configuration::{Compiled, ModelConfig};
use server::outlook;

use super::{Asked, verdicts};

/// Targets of other models that the same request could go to; those of models that the app has come first.
pub(super) fn elsewhere(compiled: &Compiled, judge: &Judge, asked: &Asked<'_>) -> Vec<(String, Vec<String>)> {
    let all: Vec<Candidate> = (0..compiled.targets.len()).map(|index| outlook::candidate(compiled, index)).collect();
    let mut found = Vec::new();
    for (index, verdict) in verdicts(judge, &asked.question(&all)).into_iter().enumerate() {
        if !verdict.ruling.is_in() {
            continue;
        }
        let leads = |(_, model): &(usize, &ModelConfig)| model.targets.contains(&index);
        let models = compiled.models.iter().enumerate().filter(leads);
        let models: Vec<String> = models
            .map(|(at, model)| match asked.app.models.contains(&at) {
                true => model.name.clone(),
                false => format!("{}, which the app may not use", model.name),
            })
            .collect();
        found.push((verdict.name.to_string(), models));
    }
    found.sort_by_key(|(name, models)| (models.iter().all(|model| model.contains(", which")), name.clone()));
    found
}
