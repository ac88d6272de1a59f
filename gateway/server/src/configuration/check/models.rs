//! `[model.NAME]`: what callers ask for, and where it is served.

use std::sync::Arc;
use std::time::Duration;

use policy::Facts;
use routing::{Burst, Class, Knobs, Prefer};

use super::super::compile::{ModelConfig, RoutingConfig, TargetConfig};
use super::super::document::{self, Document, Endpoint, Model, Traffic};
use super::super::mistakes::{MistakeKind, remedy_for};
use super::super::report::quote;
use super::super::tree::Mark;
use super::Check;
use super::endpoints::DEFAULT_TOTAL_MS;
use super::policy::Permissions;

/// Most models that stand in for one.
const MOST_FALLBACKS: usize = 4;

pub(super) fn class_of(traffic: Traffic) -> Class {
    match traffic {
        Traffic::Interactive => Class::Interactive,
        Traffic::Batch => Class::Batch,
    }
}

impl Check<'_> {
    pub(super) fn models(
        &mut self,
        document: &Document,
        permissions: &Permissions,
    ) -> (Vec<TargetConfig>, Vec<ModelConfig>) {
        let mut targets = Vec::new();
        let mut models = Vec::new();
        for (name, model) in &document.model {
            let own = self.targets(name, model, &mut targets);
            self.permitted(name, model, document, permissions);
            let routing = self.routing(name, model, &targets);
            self.deadline(name, model, document);
            models.push(ModelConfig {
                name: name.clone(),
                targets: own,
                routing,
                requests: model.limits.as_ref().into(),
                tokens_per_minute: model.limits.as_ref().and_then(|limits| limits.tokens_per_minute),
                labels: self.model_labels(name, model),
                class: model.class,
            });
        }
        self.unasked(document);
        self.unused_fallbacks(document);
        (targets, models)
    }

    fn targets(&mut self, name: &str, model: &Model, targets: &mut Vec<TargetConfig>) -> Vec<usize> {
        let at = self.place("model", name).at("targets");
        let setting = format!("model.{name}.targets");
        self.is_empty_list(at, &setting, model.targets.len(), "name at least one, as `\"endpoint/upstream-model\"`");
        self.no_repeats(at, &setting, &model.targets, |text| quote(text));
        let mut own = Vec::new();
        for (index, text) in model.targets.iter().enumerate() {
            let Some(target) = self.target(name, at.item(index).mark(), text) else { continue };
            let known = targets.iter().position(|known| known.name == target.name);
            own.push(known.unwrap_or(targets.len()));
            if known.is_none() {
                targets.push(target);
            }
        }
        own
    }

    fn target(&mut self, model: &str, mark: Mark, text: &str) -> Option<TargetConfig> {
        let Some((endpoint, upstream)) = text.split_once('/').filter(|(_, upstream)| !upstream.is_empty()) else {
            let endpoint = text.trim_end_matches('/');
            let remedy = match self.is_defined("endpoint", endpoint) {
                true => format!("write `{endpoint}/…` with the model's name there"),
                false => "write it as `endpoint/upstream-model`".to_owned(),
            };
            self.wrong(mark, format!("model `{model}`: target {} names no upstream model", quote(text)), remedy);
            return None;
        };
        if !self.is_defined("endpoint", endpoint) {
            self.dangling(mark, &format!("model `{model}`"), "endpoint", endpoint);
            return None;
        }
        if upstream.len() > 256 || upstream.chars().any(|letter| letter.is_whitespace() || letter.is_control()) {
            let message = format!("model `{model}`: {} is no name of an upstream model", quote(upstream));
            self.wrong(mark, message, "write it as the endpoint calls it, without spaces");
            return None;
        }
        let index = self.index_of("endpoint", endpoint)?;
        let facts = Arc::new(Facts::unknown());
        Some(TargetConfig {
            name: text.to_owned(),
            endpoint: index,
            upstream_model: upstream.to_owned(),
            facts,
            candidate_facts: None,
        })
    }

    fn routing(&mut self, name: &str, model: &Model, targets: &[TargetConfig]) -> RoutingConfig {
        let traffic = model.traffic.map(class_of).unwrap_or_default();
        let first_token = model.first_token.as_ref().map(|target| Duration::from_millis(target.p95_ms));
        let deadline = model.deadline_ms.map(Duration::from_millis);
        if let (Some(target), Some(deadline)) = (first_token, deadline)
            && deadline < target
        {
            let mark = self.place("model", name).at("deadline_ms").mark();
            let message =
                format!("`model.{name}.deadline_ms` is before the first token is due, after {} ms", target.as_millis());
            self.wrong(mark, message, "give it more time, or the first token less");
        }
        let knobs = Knobs {
            first_token,
            // 95 of 100 requests are to stay below it.
            miss_budget: 0.05,
            deadline,
            prefer: match model.prefer {
                None | Some(document::Prefer::Cost) => Prefer::Cost,
                Some(document::Prefer::Latency) => Prefer::Latency,
            },
            burst: match model.burst {
                None | Some(document::Burst::Allowed) => Burst::Allowed,
                Some(document::Burst::Never) => Burst::Never,
            },
            ..Knobs::default()
        };
        let fallbacks = self.fallbacks(name, model);
        RoutingConfig { knobs, traffic, shares: self.shares(name, model, targets), fallbacks }
    }

    fn fallbacks(&mut self, name: &str, model: &Model) -> Vec<usize> {
        let Some(fallbacks) = &model.fallbacks else { return Vec::new() };
        let at = self.place("model", name).at("fallbacks");
        let setting = format!("model.{name}.fallbacks");
        self.is_empty_list(at, &setting, fallbacks.len(), "name a model, or leave it out");
        self.no_repeats(at, &setting, fallbacks, |text| quote(text));
        if fallbacks.len() > MOST_FALLBACKS {
            let message = format!("`{setting}` names {} models", fallbacks.len());
            self.wrong(
                at.mark(),
                message,
                format!("name at most {MOST_FALLBACKS}: each is decided about with every request"),
            );
        }
        let mut found = Vec::new();
        for (index, text) in fallbacks.iter().enumerate() {
            let mark = at.item(index).mark();
            match self.index_of("model", text) {
                Some(_) if text == name => {
                    self.wrong(mark, format!("`{setting}` names the model itself"), "name another, or leave it out");
                }
                Some(index) => found.push(index),
                None => self.dangling(mark, &format!("`{setting}`"), "model", text),
            }
        }
        found
    }

    /// Only apps that may use a model fall back to it.
    pub(super) fn unused_fallbacks(&mut self, document: &Document) {
        for (name, app) in &document.app {
            for (model, fallback) in app.models.iter().flat_map(|model| {
                let fallbacks = document.model.get(model).and_then(|model| model.fallbacks.as_ref());
                fallbacks.into_iter().flatten().map(move |fallback| (model, fallback))
            }) {
                if document.model.contains_key(fallback) && !app.models.contains(fallback) {
                    let message = format!(
                        "app `{name}` may not use model {}, so {} does not fall back to it for this app",
                        quote(fallback),
                        quote(model)
                    );
                    let mark = self.place("app", name).at("models").mark();
                    self.warn(mark, message, format!("add {} to its `models`, if that is meant", quote(fallback)));
                }
            }
        }
    }

    /// A request holds its bytes while it waits, so it waits no longer than a call may take.
    fn deadline(&mut self, name: &str, model: &Model, document: &Document) {
        let endpoint = |text: &String| document.endpoint.get_key_value(text.split_once('/')?.0);
        let total = |endpoint: &Endpoint| endpoint.timeouts.as_ref().and_then(|timeouts| timeouts.total_ms);
        let calls = model.targets.iter().filter_map(endpoint);
        let calls = calls.map(|(name, endpoint)| (total(endpoint).unwrap_or(DEFAULT_TOTAL_MS), name));
        if let (Some((total, endpoint)), Some(deadline)) = (calls.min(), model.deadline_ms)
            && deadline > total
        {
            let mark = self.place("model", name).at("deadline_ms").mark();
            let message = format!(
                "`model.{name}.deadline_ms` is {deadline} ms, and a call to endpoint `{endpoint}` may take {total} ms in all"
            );
            let remedy = format!("shorten it, or give `endpoint.{endpoint}.timeouts.total_ms` more");
            self.wrong(mark, message, remedy);
        }
    }

    fn shares(&mut self, name: &str, model: &Model, targets: &[TargetConfig]) -> Vec<(usize, u8)> {
        let Some(shares) = &model.shares else { return Vec::new() };
        let at = self.place("model", name).at("shares");
        let mut built = Vec::new();
        for (target, share) in shares {
            let mark = at.at(target).mark();
            if !model.targets.contains(target) {
                let known: Vec<&str> = model.targets.iter().map(String::as_str).collect();
                let message = format!("`model.{name}.shares` names {}, which is no target of it", quote(target));
                let remedy = remedy_for(target, known.iter().copied(), "name one of its targets");
                self.report.mend(MistakeKind::Reference, mark, message, remedy);
            } else if !(1..=100).contains(share) {
                let message = format!("`model.{name}.shares` gives {} {share} percent", quote(target));
                self.wrong(mark, message, "a share is 1 to 100; leave it out for none");
            } else if let Some(index) = targets.iter().position(|known| known.name == *target) {
                built.push((index, *share));
            }
        }
        let sum: u32 = built.iter().map(|(_, share)| u32::from(*share)).sum();
        if sum > 100 {
            self.wrong(at.mark(), format!("`model.{name}.shares` are {sum} percent together"), "they are at most 100");
        }
        built
    }

    /// A target whose endpoint is not approved is never used; a model with no other could never be answered.
    fn permitted(&mut self, name: &str, model: &Model, document: &Document, permissions: &Permissions) {
        if !self.walked.is_whole("policy", "") {
            return;
        }
        let mut refused = Vec::new();
        for (index, text) in model.targets.iter().enumerate() {
            let endpoint = text.split_once('/').and_then(|(endpoint, _)| document.endpoint.get_key_value(endpoint));
            // What is unknown or damaged has been reported, and may well be permitted once it is right.
            let Some((endpoint, written)) = endpoint else { return };
            if !permissions.covers(endpoint, &written.reach) {
                refused.push((index, endpoint));
            }
        }
        let at = self.place("model", name).at("targets");
        let remedy = |endpoint: &str| format!("the security team can add `{endpoint}` to `[policy] approve`");
        if let Some((_, endpoint)) = refused.first().filter(|_| refused.len() == model.targets.len()) {
            let message = format!("model `{name}` has no target that may be used: none is `local` or approved");
            self.wrong(at.mark(), message, remedy(endpoint));
            return;
        }
        for (index, endpoint) in refused {
            let message =
                format!("model `{name}`: endpoint `{endpoint}` is not approved, so this target is never used");
            self.warn(at.item(index).mark(), message, remedy(endpoint));
        }
    }

    fn unasked(&mut self, document: &Document) {
        if !self.walked.all_whole("app") {
            return;
        }
        for name in document.model.keys() {
            if !document.app.values().any(|app| app.models.contains(name)) {
                let mark = self.place("model", name).key();
                self.warn(mark, format!("no app may use model {}", quote(name)), "name it in an app, or leave it out");
            }
        }
    }
}
