//! What is known of places now, against what was known: `causeway audit exposure --place-changed`.

use std::fmt;
use std::path::Path;
use std::time::SystemTime;

use policy::Facts;
use server::configuration::{self, Compiled, Secrets, Source, Sources};
use server::load;

use super::{AuditCommandError, Where};

/// One target of which something else is known.
pub(super) struct Change {
    pub(super) endpoint: String,
    target: String,
    differences: Vec<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.target, self.differences.join("; "))
    }
}

/// The targets whose facts differ once the `[fact.ROW]` sections of `facts` are added to the configuration.
pub(super) fn changed(at: &Where, before: &Compiled, facts: &Path) -> Result<Vec<Change>, AuditCommandError> {
    let config = at.config.as_deref().ok_or(AuditCommandError::NoLog)?;
    let text =
        std::fs::read_to_string(facts).map_err(|source| AuditCommandError::Read { path: facts.to_owned(), source })?;
    let mut sources = Sources::read(config)?;
    let base = facts.parent().unwrap_or(Path::new("")).to_owned();
    sources.files.push(Source { path: facts.to_owned(), base, text });
    // Who may write what is about the folder, and this file is in none.
    sources.is_folder = false;
    let mut options = load::options(SystemTime::now());
    options.secrets = Secrets::Skip;
    let after = configuration::load_sources(&sources, &options)?;
    let changes: Vec<Change> = before
        .targets
        .iter()
        .zip(&after.targets)
        .filter_map(|(old, new)| {
            Some(Change {
                endpoint: before.endpoints.get(old.endpoint)?.name.clone(),
                target: old.name.clone(),
                differences: Some(differences(&old.facts, &new.facts)).filter(|found| !found.is_empty())?,
            })
        })
        .collect();
    if changes.is_empty() { Err(AuditCommandError::NothingChanged(facts.to_owned())) } else { Ok(changes) }
}

/// What is said otherwise, in words; where it is from does not count.
fn differences(old: &Facts, new: &Facts) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |what: &str, old: String, new: String| {
        if old != new {
            found.push(format!("{what} was {old}, is {new}"));
        }
    };
    compare("processing", old.processing.to_string(), new.processing.to_string());
    compare("at rest", old.at_rest.to_string(), new.at_rest.to_string());
    compare("access from", old.access.to_string(), new.access.to_string());
    compare("operator", old.operator.to_string(), new.operator.to_string());
    compare("operator's parent", old.operator_parent.to_string(), new.operator_parent.to_string());
    compare("kept for days", old.retention_days.to_string(), new.retention_days.to_string());
    compare("training", old.training.to_string(), new.training.to_string());
    found
}
