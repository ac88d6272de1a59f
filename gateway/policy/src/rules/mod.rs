//! The rules: a set of Cedar policies that was read whole, validated against the schema, and held to the house's own
//! requirements.

mod annotations;
mod guard;
mod lint;
mod names;
mod reads;
mod script;
mod shipped;
mod text;
mod vocabulary;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use cedar_policy::{Effect, Policy, PolicyId, PolicySet, Schema};

pub(crate) use guard::{Guard, View};
pub use lint::{Fault, Severity};
pub use names::{Names, SHIPPED_CERTIFICATES, SHIPPED_LABELS};
pub use reads::{Mention, Reads};
use shipped::shipped_schema;
pub use shipped::{SHIPPED, SHIPPED_GOALS, SHIPPED_SCHEMA, SHIPPED_TESTS};

/// One file of policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyFile<'a> {
    /// Its name, for messages.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
}

/// How strictly a set is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// To be enforced: whatever the house forbids is a fault.
    Enforce,
    /// To be studied (proved, compared, tested): what parses and is valid is taken, the rest is remarked.
    Study,
}

/// What the set is read against.
#[derive(Clone, Copy, Debug)]
pub struct ReadOptions<'a> {
    /// How strictly.
    pub strictness: Strictness,
    /// Policies that are switched off, each with its reason.
    pub off: &'a BTreeMap<String, String>,
    /// The names that policies may use.
    pub names: &'a Names,
}

/// What one policy says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Its `@id`.
    pub id: Arc<str>,
    /// Whether it permits.
    pub permits: bool,
    /// Who answers for it: `@owner`.
    pub owner: String,
    /// The rule or transfer instrument that it serves: `@basis`.
    pub basis: String,
    /// A permit without `@grant("base")` is an exception, which ends here.
    pub expires: Option<SystemTime>,
    /// `@expires` as it was written.
    pub expires_written: Option<String>,
    /// When somebody should look at it again: `@review_by`. It never changes a decision.
    pub review_by: Option<SystemTime>,
    /// `@review_by` as it was written.
    pub review_written: Option<String>,
    /// Kinds of finding that it obliges to replace: `@obligation("redact:…")`.
    pub redact: BTreeSet<String>,
    /// What it reads of the target and the request.
    pub reads: Reads,
    /// What it asks of the request before it asks anything of the target.
    pub(crate) guard: Guard,
    /// File and line.
    pub file: String,
    /// Line in the file, from 1.
    pub line: usize,
}

/// A set of policies that can decide.
#[derive(Clone, Debug)]
pub struct Rules {
    pub(crate) set: Arc<PolicySet>,
    /// The permits with an obligation, to know which of them matched where a `forbid` decided.
    pub(crate) obliging: PolicySet,
    pub(crate) about: BTreeMap<PolicyId, Arc<About>>,
    pub(crate) reads: Reads,
    off: BTreeMap<String, String>,
    canonical: String,
}

impl Rules {
    /// Reads `files` whole. What comes beside the rules is worth a look and stops nothing.
    ///
    /// # Errors
    ///
    /// Every fault there is, in the order of the files.
    pub fn read(files: &[PolicyFile<'_>], options: &ReadOptions<'_>) -> Result<(Self, Vec<Fault>), Vec<Fault>> {
        let mut report = lint::Report::new(options.strictness);
        let parsed = text::parse(files, &mut report);
        let mut kept: Vec<(Policy, Arc<About>)> = Vec::with_capacity(parsed.len());
        let mut ids: BTreeMap<String, (String, usize)> = BTreeMap::new();
        for one in parsed {
            let Some(about) = annotations::read(&one, &mut report) else { continue };
            if let Some((file, line)) = ids.get(&*about.id) {
                let message = format!("the id `{}` stands twice: also at {file}:{line}", about.id);
                report.fault(one.place(), message, "give each policy an id of its own");
                continue;
            }
            ids.insert(about.id.to_string(), (about.file.clone(), about.line));
            if !options.off.contains_key(&*about.id) {
                kept.push((one.policy.new_id(PolicyId::new(&*about.id)), Arc::new(about)));
            }
        }
        for id in options.off.keys().filter(|id| !ids.contains_key(*id)) {
            let known: Vec<&str> = ids.keys().map(String::as_str).collect();
            report.stray_switch(id, &known);
        }
        lint::validate(&kept, &mut report);
        lint::names(&kept, options.names, &mut report);
        if !kept.iter().any(|(_, about)| about.permits) && !report.has_faults() {
            report.nothing_is_permitted(files);
        }
        let (faults, remarks) = report.into_parts();
        if faults.is_empty() { Ok((Self::of(kept, files, options), remarks)) } else { Err(faults) }
    }

    fn of(kept: Vec<(Policy, Arc<About>)>, files: &[PolicyFile<'_>], options: &ReadOptions<'_>) -> Self {
        let mut canonical = String::from("causeway rules 1\n");
        for file in files {
            canonical.push_str(&format!("{} {}\n{}\n", file.name, file.text.len(), file.text));
        }
        for (id, why) in options.off {
            canonical.push_str(&format!("off {id}: {why}\n"));
        }
        let reads = kept.iter().fold(Reads::default(), |all, (_, about)| all.with(&about.reads));
        let obliging = kept.iter().filter(|(_, about)| !about.redact.is_empty()).map(|(policy, _)| policy.clone());
        Self {
            obliging: PolicySet::from_policies(obliging).expect("ids stand once"),
            about: kept.iter().map(|(policy, about)| (policy.id().clone(), Arc::clone(about))).collect(),
            set: Arc::new(
                PolicySet::from_policies(kept.into_iter().map(|(policy, _)| policy)).expect("ids stand once"),
            ),
            reads,
            off: options.off.clone(),
            canonical,
        }
    }

    /// What keeps `files` from being parsed at all, each with its place; empty where the grammar holds.
    #[must_use]
    pub fn syntax(files: &[PolicyFile<'_>]) -> Vec<Fault> {
        let mut report = lint::Report::new(Strictness::Study);
        text::parse(files, &mut report);
        report.into_parts().0
    }

    /// The policies of these rules that `other` does not have, or has otherwise; how they are written does not matter.
    ///
    /// Two sets that have none beyond each other are the same.
    #[must_use]
    pub fn beyond(&self, other: &Self) -> Self {
        let said = |rules: &Self, id: &PolicyId| rules.set.policy(id).and_then(|policy| policy.to_json().ok());
        self.only(|id| {
            let id = PolicyId::new(id);
            let mine = said(self, &id);
            mine.is_none() || mine != said(other, &id)
        })
    }

    /// The same rules without the policy of this id, for tools that ask what it is good for.
    #[must_use]
    pub fn without(&self, id: &str) -> Self {
        self.only(|other| other != id)
    }

    pub(crate) fn only(&self, keep: impl Fn(&str) -> bool) -> Self {
        let about: BTreeMap<PolicyId, Arc<About>> = self
            .about
            .iter()
            .filter(|(_, about)| keep(&about.id))
            .map(|(id, about)| (id.clone(), Arc::clone(about)))
            .collect();
        let of = |set: &PolicySet| {
            let kept = set.policies().filter(|policy| about.contains_key(policy.id())).cloned();
            PolicySet::from_policies(kept).expect("ids stand once")
        };
        Self {
            set: Arc::new(of(&self.set)),
            obliging: of(&self.obliging),
            reads: about.values().fold(Reads::default(), |all, about| all.with(&about.reads)),
            off: self.off.clone(),
            canonical: format!("{}only {:?}\n", self.canonical, about.keys().collect::<Vec<_>>()),
            about,
        }
    }

    /// The shipped rules, none of them switched off.
    ///
    /// # Errors
    ///
    /// Never in a build that was tested: the shipped files are read by a test.
    pub fn shipped(names: &Names) -> Result<Self, Vec<Fault>> {
        let options = ReadOptions { strictness: Strictness::Enforce, off: &BTreeMap::new(), names };
        Self::read(SHIPPED, &options).map(|(rules, _)| rules)
    }

    /// The shipped rules with nothing switched off, read once for the process: they name only what ships with them.
    #[must_use]
    pub fn shipped_whole() -> Arc<Self> {
        /// Constant for the life of the process: what was compiled in.
        static WHOLE: LazyLock<Arc<Rules>> = LazyLock::new(|| {
            Arc::new(Rules::shipped(&Names::default()).expect("the shipped policies are read by a test"))
        });
        Arc::clone(&WHOLE)
    }

    /// The base grants alone: a target is permitted when it is approved, and a feature when it is granted. No place, label
    /// or class matters, so this is for tests and tools that ask about something else.
    #[must_use]
    pub fn grants_alone() -> Arc<Self> {
        /// Constant for the life of the process: what was compiled in.
        static GRANTS: LazyLock<Arc<Rules>> = LazyLock::new(|| {
            let names = Names::default();
            let options = ReadOptions { strictness: Strictness::Enforce, off: &BTreeMap::new(), names: &names };
            let grants = SHIPPED.first().map(std::slice::from_ref).unwrap_or_default();
            let (rules, _) = Rules::read(grants, &options).expect("the shipped grants are read by a test");
            Arc::new(rules)
        });
        Arc::clone(&GRANTS)
    }

    /// What each policy says of itself, by id.
    pub fn policies(&self) -> impl Iterator<Item = &About> {
        self.about.values().map(Arc::as_ref)
    }

    /// Policies that are switched off, with the reason.
    #[must_use]
    pub fn off(&self) -> &BTreeMap<String, String> {
        &self.off
    }

    /// What all policies together read.
    #[must_use]
    pub fn reads(&self) -> &Reads {
        &self.reads
    }

    /// The text that the hash of the set is made of: every file with its name, and what is switched off.
    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// The Cedar policies, for the solver.
    #[must_use]
    pub fn set(&self) -> &PolicySet {
        &self.set
    }

    /// The Cedar schema that they are valid against.
    #[must_use]
    pub fn schema() -> &'static Schema {
        shipped_schema()
    }
}

/// Whether the policy permits.
fn permits(policy: &Policy) -> bool {
    policy.effect() == Effect::Permit
}

#[cfg(test)]
mod tests;
