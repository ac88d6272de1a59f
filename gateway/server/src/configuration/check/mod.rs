//! What the values of a document mean, and whether they fit together.
//!
//! Each file here checks one topic and builds its plain values as it goes. A value that is wrong is reported and left
//! out; the document is then refused, so the rest is only looked at to report it in the same run.

mod administration;
mod apps;
mod audit;
mod break_glass;
pub(crate) mod budgets;
mod canary;
mod capture;
mod control;
mod credentials;
mod data;
mod data_pack;
mod endpoints;
mod evidence;
mod fact_regions;
mod facts;
mod groups;
mod hosts;
mod identity;
mod issuer_keys;
mod keys;
mod ledger;
mod lent_keys;
mod listeners;
mod material;
mod models;
mod outlook;
mod policy;
pub(super) mod prices;
mod reach;
mod recognisers;
mod resolvers;
mod rules;
mod service;
mod store;
mod telemetry;
mod transport;
mod via;
mod witness;

use std::sync::Arc;

use super::administration::AdministrationConfig;
use super::compile::{Compiled, LoadOptions, Secrets};
use super::data_pack::DataPack;

use super::mistakes::{MistakeKind, NoteKind, remedy_for};
use super::read::Tree;
use super::report::{Report, quote};
use super::sources::Sources;
use super::tree::{Cursor, Mark};
use super::walk::Walked;

/// Checks what the values mean; `None` where something is wrong.
pub(super) fn check(
    sources: &Sources,
    tree: &Tree,
    walked: &Walked,
    options: &LoadOptions<'_>,
    report: &mut Report,
) -> Option<Compiled> {
    let root = tree.root();
    let mut check = Check {
        sources,
        root,
        walked,
        options,
        report,
        secrets: options.secrets,
        pack: Arc::clone(DataPack::shipped()),
    };
    let document = &walked.document;
    check.names();
    check.pack = check.data_pack(document);
    let listeners = check.listeners(document);
    let zones = check.resolvers(document);
    let services = check.services(document);
    let permissions = check.policy(document);
    let prices = check.prices(document);
    let identities = check.identity_hosts(document, (&zones, &services));
    let controls = check.controls(document, (&zones, &services));
    let store = check.store(document, (&zones, &services));
    let ledger = check.ledger(document, (&zones, &services));
    let otlp = check.telemetry(document, (&zones, &services));
    let mut endpoints = check.endpoints(document, (&zones, &services), &permissions);
    check.costs(document, &prices, &mut endpoints);
    let (mut targets, models) = check.models(document, &permissions);
    let adjustments = check.facts(document, &targets);
    let proposed = check.candidate_facts(document, &adjustments, &targets);
    check.target_facts(document, (&adjustments, proposed.as_ref()), &permissions, &mut targets);
    let extended = check.groups(document, &mut targets);
    let apps = check.apps(document);
    check.data(document);
    let keys = check.keys(document);
    let budgets = check.budgets(document);
    let webhooks = check.webhooks(document, (&zones, &services));
    let audit = check.audit(document, (&zones, &services));
    check.evidence(document);
    let issuers = check.issuers(document);
    let tokens = check.tokens(document);
    let certificates = check.certificate_names(document);
    let break_glass = check.break_glass(document);
    let administrators = check.administrators(document, &keys);
    let recognisers = check.recognisers(document);
    let policy = check.rules(document, &targets, (adjustments, &extended));
    let material = check.report.material.clone();
    let (listeners, policy) = (listeners?, policy?);
    let file = |file: &super::sources::Source| (file.path.clone(), file.hash());
    Some(Compiled {
        listen: listeners.listen,
        admin: listeners.admin,
        administration: AdministrationConfig { tls: listeners.admin_tls, administrators },
        health: listeners.health,
        state_folder: listeners.state_folder,
        store,
        ledger,
        audit: audit?,
        resolvers: zones.resolvers,
        identities,
        controls,
        otlp,
        endpoints,
        targets,
        models,
        apps,
        policy,
        recognisers,
        break_glass,
        keys,
        budgets,
        webhooks,
        prices,
        issuers,
        tokens,
        certificates,
        hash: sources.hash(),
        sources: sources.files.iter().map(file).collect(),
        material,
        notes: Vec::new(),
        document: document.clone(),
    })
}

pub(crate) use groups::asked_about;
pub(super) use keys::parse_moment;
pub(super) use outlook::look_ahead;
pub use rules::{PolicyConfig, due};

/// Whose settings are looked at: an endpoint's, or those of an identity host, which is reached in the same ways.
#[derive(Clone, Copy)]
struct Owner<'a> {
    /// `endpoint`, `identity`, `control` or `webhook`; or `store` or `ledger`, of which there is one without a name; or sections in
    /// sections, with dots between.
    section: &'static str,
    name: &'a str,
}

impl<'a> Owner<'a> {
    fn endpoint(name: &'a str) -> Self {
        Self { section: "endpoint", name }
    }

    /// A setting by its whole name.
    fn setting(self, key: &str) -> String {
        if self.name.is_empty() {
            return format!("{}.{key}", self.section);
        }
        format!("{}.{}.{key}", self.section, self.name)
    }
}

impl std::fmt::Display for Owner<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.name.is_empty() {
            return write!(f, "the {}", self.section);
        }
        write!(f, "{} `{}`", self.section, self.name)
    }
}

/// What the checks look at and report to.
struct Check<'a> {
    sources: &'a Sources,
    root: Cursor<'a>,
    walked: &'a Walked,
    options: &'a LoadOptions<'a>,
    /// Whether keys are read where the check stands.
    secrets: Secrets,
    report: &'a mut Report,
    /// The data pack in force.
    pack: Arc<DataPack>,
}

impl<'a> Check<'a> {
    /// The place of `[section.name]`.
    fn place(&self, section: &str, name: &str) -> Cursor<'a> {
        section.split('.').fold(self.root, |at, section| at.at(section)).at(name)
    }

    /// The place of the section of `owner`.
    fn of(&self, owner: Owner<'_>) -> Cursor<'a> {
        if owner.name.is_empty() { self.root.at(owner.section) } else { self.place(owner.section, owner.name) }
    }

    /// Every name that a section defines, also where its definition has a mistake.
    fn defined(&self, section: &str) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        self.root.at(section).keys()
    }

    fn is_defined(&self, section: &str, name: &str) -> bool {
        self.defined(section).any(|defined| defined == name)
    }

    /// The index that `name` has in the compiled list of its section, which is sorted by name as the tree is.
    fn index_of(&self, section: &str, name: &str) -> Option<usize> {
        self.defined(section).position(|defined| defined == name)
    }

    /// A name that is not defined: `who` names it, as in "model `chat`".
    fn dangling(&mut self, mark: Mark, who: &str, section: &str, name: &str) {
        if !self.walked.is_whole(section, "") {
            return;
        }
        let remedy = remedy_for(name, self.defined(section), format!("define `[{section}.{name}]`"));
        let message = format!("{who} names {section} {}, which is not defined", quote(name));
        self.report.mend(MistakeKind::Reference, mark, message, remedy);
    }

    fn wrong(&mut self, mark: Mark, message: impl Into<String>, remedy: impl Into<String>) {
        self.report.mend(MistakeKind::Value, mark, message, remedy);
    }

    fn warn(&mut self, mark: Mark, message: impl Into<String>, remedy: impl Into<String>) {
        self.report.note(NoteKind::Warning, mark, message, Some(remedy.into()));
    }

    /// Reports each item of a list that stands in it twice.
    fn no_repeats<T: PartialEq>(&mut self, list: Cursor<'_>, setting: &str, items: &[T], show: impl Fn(&T) -> String) {
        for (index, item) in items.iter().enumerate() {
            if items.iter().take(index).any(|earlier| earlier == item) {
                let message = format!("`{setting}` lists {} twice", show(item));
                self.report.mistake(MistakeKind::Duplicate, list.item(index).mark(), message);
            }
        }
    }

    /// Names stand in headers, in metrics and in paths, so they are plain.
    fn names(&mut self) {
        for section in [
            "resolver",
            "service",
            "site",
            "identity",
            "control",
            "endpoint",
            "issuer",
            "app",
            "key",
            "label",
            "fact",
            "administrator",
            "budget",
            "webhook",
        ] {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            for name in self.defined(section) {
                let starts_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
                if !(starts_well && name.len() <= 64 && name.bytes().all(plain)) {
                    let message = format!("{} is no name for `[{section}.NAME]`", quote(name));
                    let remedy =
                        "a name has at most 64 letters, digits, `.`, `_` and `-`, and begins with a letter or digit";
                    self.wrong(self.place(section, name).key(), message, remedy);
                }
            }
        }
        for name in self.defined("model") {
            if name.is_empty() || name.len() > 128 || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
                let message = format!("{} is no name for `[model.NAME]`", quote(name));
                self.wrong(self.place("model", name).key(), message, "a name has at most 128 visible ASCII characters");
            }
        }
    }

    fn is_empty_list(&mut self, at: Cursor<'_>, setting: &str, length: usize, remedy: &str) -> bool {
        if length == 0 {
            self.wrong(at.mark(), format!("`{setting}` is empty"), remedy);
        }
        length == 0
    }
}
