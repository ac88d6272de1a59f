//! Keys of apps: `app.NAME.keys` and `[key.NAME]`.
//!
//! No message shows what stands where a digest belongs: it may be the key itself.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use accounting::Limits;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use super::super::compile::KeyConfig;
use super::super::document::{Decimal, Document, Key, Moment};
use super::super::limits::RequestLimits;
use super::super::mistakes::{MistakeKind, NoteKind};
use super::super::report::quote;
use super::super::sources::unhex;
use super::super::tree::Mark;
use super::Check;

/// SHA-256 of nothing: the digest of an empty key, which a script makes when its variable is not set.
const OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// How far ahead the end of a key is announced.
pub(super) const ANNOUNCED: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Where each digest stands first.
type Seen = BTreeMap<[u8; 32], Mark>;

impl Check<'_> {
    pub(super) fn keys(&mut self, document: &Document) -> Vec<KeyConfig> {
        let mut seen = Seen::new();
        let mut keys = Vec::new();
        for (name, app) in &document.app {
            let list = self.place("app", name).at("keys");
            for (index, text) in app.keys.iter().flatten().enumerate() {
                let own_name = format!("app.{name}.keys[{index}]");
                let digest = self.digest(list.item(index).mark(), &own_name, text, &mut seen);
                if let (Some(digest), Some(app)) = (digest, self.index_of("app", name)) {
                    let name = format!("{name}.keys[{index}]");
                    keys.push(KeyConfig {
                        name,
                        digest,
                        app,
                        expires: None,
                        models: None,
                        requests: RequestLimits::default(),
                        limits: Limits::default(),
                    });
                }
            }
        }
        for (name, key) in &document.key {
            keys.extend(self.named_key(name, key, document, &mut seen));
        }
        keys
    }

    fn named_key(&mut self, name: &str, key: &Key, document: &Document, seen: &mut Seen) -> Option<KeyConfig> {
        let at = self.place("key", name);
        let digest = self.digest(at.at("digest").mark(), &format!("key.{name}.digest"), &key.digest, seen);
        let expires = key.expires.as_ref().map(|expires| self.expires(name, at.at("expires").mark(), expires));
        if !self.is_defined("app", &key.app) {
            self.dangling(at.at("app").mark(), &format!("key `{name}`"), "app", &key.app);
        }
        let models = key.models.as_ref().map(|models| self.key_models(name, key, models, document));
        self.key_limit(name, key, document);
        Some(KeyConfig {
            name: name.to_owned(),
            digest: digest?,
            app: self.index_of("app", &key.app)?,
            expires: expires.map_or(Some(None), |found| found.map(Some))?,
            models,
            requests: key.limits.as_ref().into(),
            limits: self.limits("key", name, key.limits.as_ref()),
        })
    }

    fn digest(&mut self, mark: Mark, setting: &str, text: &str, seen: &mut Seen) -> Option<[u8; 32]> {
        let digest = self.digest_alone(mark, setting, text)?;
        if let Some(earlier) = seen.get(&digest) {
            let message = format!("`{setting}`: the same key is also listed at {}", self.report.position(*earlier));
            self.report.mend(MistakeKind::Duplicate, mark, message, "a key stands for one app; make another");
            return None;
        }
        seen.insert(digest, mark);
        Some(digest)
    }

    /// The digest itself, whoever else has it.
    pub(super) fn digest_alone(&mut self, mark: Mark, setting: &str, text: &str) -> Option<[u8; 32]> {
        let digits = text.strip_prefix("sha256:");
        let Some(digest) = digits.and_then(unhex) else {
            let lower = text.to_ascii_lowercase();
            let remedy = if unhex(text).is_some() {
                "write `sha256:` before it"
            } else if lower.strip_prefix("sha256:").and_then(unhex).is_some() {
                "write it in lower case"
            } else {
                "it takes `sha256:` and 64 lower-case hex digits; `causeway keys hash` makes them from a key"
            };
            self.wrong(mark, format!("`{setting}` is no digest of a key"), remedy);
            return None;
        };
        if digits == Some(OF_NOTHING) {
            self.wrong(mark, format!("`{setting}` is the digest of an empty key"), "hash the key, without a line end");
            return None;
        }
        Some(digest)
    }

    fn expires(&mut self, name: &str, mark: Mark, expires: &Moment) -> Option<SystemTime> {
        let Some(moment) = parse_moment(expires.as_str()) else {
            let message = format!("`key.{name}.expires` is {}, which is no date", quote(expires.as_str()));
            self.wrong(mark, message, "write it as 2027-01-31, or as 2027-01-31T12:00:00Z");
            return None;
        };
        if moment <= self.options.now {
            // Not a mistake: a document that was good yesterday must still load today.
            let message = format!("key `{name}` has expired and is refused");
            self.report.note(NoteKind::RunsOut, mark, message, Some("remove it".to_owned()));
        } else if moment <= self.options.now + ANNOUNCED {
            let message = format!("key `{name}` expires in less than 30 days, on {}", expires.as_str());
            self.report.note(NoteKind::RunsOut, mark, message, Some("`causeway keys new` makes another".to_owned()));
        }
        Some(moment)
    }

    fn key_models(&mut self, name: &str, key: &Key, models: &[String], document: &Document) -> Vec<usize> {
        let at = self.place("key", name).at("models");
        let setting = format!("key.{name}.models");
        self.is_empty_list(
            at,
            &setting,
            models.len(),
            "a key without a model can ask for nothing; leave it out for all",
        );
        self.no_repeats(at, &setting, models, |model| quote(model));
        let mut indices = Vec::new();
        for (index, model) in models.iter().enumerate() {
            let mark = at.item(index).mark();
            let Some(found) = self.index_of("model", model) else {
                self.dangling(mark, &format!("key `{name}`"), "model", model);
                continue;
            };
            indices.push(found);
            if document.app.get(&key.app).is_some_and(|app| !app.models.contains(model)) {
                let message = format!("key `{name}` names model {}, which app `{}` may not use", quote(model), key.app);
                self.wrong(mark, message, format!("add it to `app.{}.models`, or leave it out", key.app));
            }
        }
        indices
    }

    /// A limit above the app's own could never be reached.
    fn key_limit(&mut self, name: &str, key: &Key, document: &Document) {
        let app = document.app.get(&key.app).and_then(|app| app.limits.as_ref());
        let (Some(own), Some(app)) = (&key.limits, app) else { return };
        let whole = |limit: Option<u64>| limit.map(|limit| (u128::from(limit), limit.to_string()));
        let money =
            |limit: &Option<Decimal>| limit.as_ref().map(|limit| (limit.billionths(), limit.as_str().to_owned()));
        let count = |limit: Option<u32>| whole(limit.map(u64::from));
        let limits = [
            ("requests_per_minute", count(own.requests_per_minute), count(app.requests_per_minute)),
            ("requests_per_second", count(own.requests_per_second), count(app.requests_per_second)),
            ("in_flight", count(own.in_flight), count(app.in_flight)),
            ("user_requests_per_minute", count(own.user_requests_per_minute), count(app.user_requests_per_minute)),
            ("user_requests_per_second", count(own.user_requests_per_second), count(app.user_requests_per_second)),
            ("output_tokens", whole(own.output_tokens), whole(app.output_tokens)),
            ("tokens_per_minute", whole(own.tokens_per_minute), whole(app.tokens_per_minute)),
            ("usd_per_month", money(&own.usd_per_month), money(&app.usd_per_month)),
        ];
        for (setting, own, app) in limits {
            let (Some((own, own_text)), Some((app, app_text))) = (own, app) else { continue };
            if own > app {
                let mark = self.place("key", name).at("limits").at(setting).mark();
                let message = format!(
                    "`key.{name}.limits.{setting}` {own_text} is above the app's {app_text}, so it can never be reached"
                );
                self.wrong(mark, message, "lower it, or leave it out");
            }
        }
    }
}

/// A date means its first instant in UTC: what ends, ends rather too early than too late.
pub(in super::super) fn parse_moment(text: &str) -> Option<SystemTime> {
    let moment = match OffsetDateTime::parse(text, &Rfc3339) {
        Ok(moment) => moment,
        Err(_) => Date::parse(text, format_description!("[year]-[month]-[day]")).ok()?.midnight().assume_utc(),
    };
    Some(moment.into())
}
