//! `[app.NAME]` and `[data.NAME]`: who calls, and what data they bring.

use policy::SHIPPED_LABELS;

use super::super::compile::AppConfig;
use super::super::document::{App, Document};
use super::super::mistakes::{MistakeKind, remedy_for};
use super::super::report::quote;
use super::Check;
use super::models::class_of;

/// Most bytes of a team's name, which is a part of keys in the ledger's database.
const LONGEST_TEAM: usize = 128;

impl Check<'_> {
    pub(super) fn apps(&mut self, document: &Document) -> Vec<AppConfig> {
        if document.app.is_empty() && self.walked.all_whole("app") {
            let remedy = "add an `[app.NAME]` with its `[data.NAME]`";
            self.warn(self.root.mark(), "the document has no app, so nobody may call", remedy);
        }
        let mut apps = Vec::new();
        for (name, app) in &document.app {
            self.app(name, app, document);
            let models = self.app_models(name, app);
            let data = document.data.get(name);
            apps.push(AppConfig {
                name: name.clone(),
                team: app.team.clone(),
                models,
                requests: app.limits.as_ref().into(),
                limits: self.limits("app", name, app.limits.as_ref()),
                traffic: app.traffic.map(class_of),
                may_explain: app.explain.unwrap_or(false),
                labels: data.map(|data| data.labels.clone()).unwrap_or_default(),
                class: data.and_then(|data| data.class).unwrap_or_default(),
                is_class_stated: data.is_some_and(|data| data.class.is_some()),
                purposes: data.and_then(|data| data.purposes.clone()).unwrap_or_default(),
                data: self.data_rules(name, document),
            });
        }
        apps
    }

    fn app(&mut self, name: &str, app: &App, document: &Document) {
        let at = self.place("app", name);
        if app.team.trim().is_empty() {
            self.wrong(at.at("team").mark(), format!("`app.{name}.team` is blank"), "name the team that owns the app");
        }
        if app.team.len() > LONGEST_TEAM || app.team.chars().any(char::is_control) {
            let message = format!("`app.{name}.team` is longer than {LONGEST_TEAM} bytes, or has a control character");
            self.wrong(at.at("team").mark(), message, "write a short name: it stands in every entry of the ledger");
        }
        if !self.is_defined("data", name) && self.walked.is_whole("data", "") {
            let remedy = "the security team says there what data the app handles";
            self.report.mend(MistakeKind::Reference, at.key(), format!("app `{name}` has no `[data.{name}]`"), remedy);
        }
        let has_own =
            app.keys.as_ref().is_some_and(|keys| !keys.is_empty()) || app.jwt.is_some() || app.certificate.is_some();
        let has_named = document.key.values().any(|key| key.app == name);
        let is_certain = self.walked.is_whole("app", name) && self.walked.all_whole("key");
        if !has_own && !has_named && is_certain {
            let message = format!("app `{name}` has no key, so nobody can call as it");
            self.wrong(at.key(), message, "`causeway keys new` prints a key and the digest to put into `keys`");
        }
    }

    fn app_models(&mut self, name: &str, app: &App) -> Vec<usize> {
        let at = self.place("app", name).at("models");
        let setting = format!("app.{name}.models");
        self.is_empty_list(at, &setting, app.models.len(), "an app without a model can ask for nothing");
        self.no_repeats(at, &setting, &app.models, |model| quote(model));
        let mut models = Vec::new();
        for (index, model) in app.models.iter().enumerate() {
            match self.index_of("model", model) {
                Some(found) => models.push(found),
                None => self.dangling(at.item(index).mark(), &format!("app `{name}`"), "model", model),
            }
        }
        models
    }

    /// Labels, purposes and apps of `[data.NAME]`.
    pub(super) fn data(&mut self, document: &Document) {
        for name in self.defined("data") {
            if !self.is_defined("app", name) && self.walked.is_whole("app", "") {
                let remedy = remedy_for(name, self.defined("app"), format!("define `[app.{name}]`"));
                let message = format!("`[data.{name}]` is about no app");
                self.report.mend(MistakeKind::Reference, self.place("data", name).key(), message, remedy);
            }
        }
        let known: Vec<&str> = SHIPPED_LABELS.into_iter().chain(self.defined("label")).collect();
        for (name, data) in &document.data {
            let at = self.place("data", name);
            let setting = format!("data.{name}.labels");
            self.no_repeats(at.at("labels"), &setting, &data.labels, |label| quote(label));
            for (index, label) in data.labels.iter().enumerate() {
                if !known.contains(&label.as_str()) {
                    let remedy = remedy_for(label, known.iter().copied(), format!("define `[label.{label}]`"));
                    let message = format!("`{setting}`: {} is no label", quote(label));
                    self.report.mend(MistakeKind::Reference, at.at("labels").item(index).mark(), message, remedy);
                }
            }
            if let Some(purposes) = &data.purposes {
                let setting = format!("data.{name}.purposes");
                let remedy = "no request could name one; leave it out where the app needs none";
                self.is_empty_list(at.at("purposes"), &setting, purposes.len(), remedy);
                self.no_repeats(at.at("purposes"), &setting, purposes, |purpose| quote(purpose));
                for (index, purpose) in purposes.iter().enumerate() {
                    if purpose.is_empty() || purpose.len() > 64 || !purpose.bytes().all(|byte| byte.is_ascii_graphic())
                    {
                        let message = format!("`{setting}`: {} is no purpose", quote(purpose));
                        let remedy = "a purpose has at most 64 visible ASCII characters, because it stands in a header";
                        self.wrong(at.at("purposes").item(index).mark(), message, remedy);
                    }
                }
            }
        }
    }
}
