//! Who may ask, in the words of `ingress`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use accounting::Limits;
use ingress::auth::{AppIndex, Callers, Certificates, Issuer, KeyEntry, KeyIndex, Keys, TokenRule, Tokens};
use ingress::limits::LimitIndex;

use super::build::{book, kept_book, model_index};
use super::{KeyFacts, Snapshot, SnapshotError};
use crate::configuration::{Compiled, RequestLimits};

/// The callers, and what each credential stands for. Keys come first, so that a key has the index that its digest gives;
/// the tokens and certificates of apps follow, one entry for each.
pub(super) fn build(
    compiled: &Compiled,
    before: Option<&Snapshot>,
    issuers: Vec<Arc<Issuer>>,
) -> Result<(Callers, Vec<Arc<KeyFacts>>), SnapshotError> {
    let used = before.map(Snapshot::used).unwrap_or_default();
    let (keys, mut facts) = keys(compiled, before, &used)?;
    let rules = compiled.tokens.iter().map(|token| TokenRule {
        issuer: token.issuer.as_str().into(),
        audience: token.audience.as_str().into(),
        claims: token.claims.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect(),
        marks: marks(compiled, token.app),
        user: token.user.as_deref().map(Into::into),
        app: app(token.app),
        key: stand_in(&mut facts, compiled, (&token.name, token.app), &used),
    });
    let tokens = Tokens::new(issuers, rules.collect());
    let names = compiled.certificates.iter().map(|named| {
        (named.certificate.clone(), app(named.app), stand_in(&mut facts, compiled, (&named.name, named.app), &used))
    });
    let certificates = Certificates::new(names.collect::<Vec<_>>());
    let forwarders = compiled.listen.forwarded_client_cert_from.clone();
    Ok((Callers::new(keys, tokens, certificates).believing(forwarders), facts))
}

/// When each credential was last shown, in seconds since 1970 and 0 for never, by what it is revoked by.
pub type Used = HashMap<Arc<str>, Arc<AtomicU64>>;

impl Snapshot {
    /// When each credential was last shown.
    pub fn used(&self) -> Used {
        self.keys().map(|key| (Arc::clone(&key.id), Arc::clone(&key.last_used))).collect()
    }
}

/// The claims that say something of the app's data, in the order in which the app knows what.
fn marks(compiled: &Compiled, app: usize) -> Box<[(Box<str>, Box<str>)]> {
    let claims = &compiled.apps[app].data.claims;
    claims.iter().map(|one| (one.claim.as_str().into(), one.value.as_str().into())).collect()
}

fn app(index: usize) -> AppIndex {
    AppIndex(model_index(index).0)
}

/// An entry for a credential that is no key: it may use the models of its app, and has no limit of its own.
fn stand_in(facts: &mut Vec<Arc<KeyFacts>>, compiled: &Compiled, (name, app): (&str, usize), used: &Used) -> KeyIndex {
    let index = KeyIndex(model_index(facts.len()).0);
    let models = compiled.apps[app].models.iter().map(|model| model_index(*model)).collect();
    let most_output = compiled.apps[app].requests.output_tokens;
    let last_used = used.get(name).map(Arc::clone).unwrap_or_default();
    let (name, id) = (name.into(), name.into());
    facts.push(Arc::new(KeyFacts { name, id, models, most_output, limit: None, book: None, last_used }));
    index
}

fn keys(
    compiled: &Compiled,
    before: Option<&Snapshot>,
    used: &Used,
) -> Result<(Keys, Vec<Arc<KeyFacts>>), SnapshotError> {
    let mut entries = Vec::with_capacity(compiled.keys.len());
    let mut facts = Vec::with_capacity(compiled.keys.len());
    for (index, key) in compiled.keys.iter().enumerate() {
        let models = key.models.as_ref().unwrap_or(&compiled.apps[key.app].models);
        let limit =
            (key.requests != RequestLimits::default()).then(|| LimitIndex(model_index(compiled.apps.len() + index).0));
        entries.push(KeyEntry { digest: key.digest, app: app(key.app), expires: key.expires, models: None, limit });
        let id: Arc<str> = format!("sha256:{}", ingress::auth::hex_of(&key.digest)).into();
        facts.push(Arc::new(KeyFacts {
            name: key.name.as_str().into(),
            last_used: used.get(&id).map(Arc::clone).unwrap_or_default(),
            id,
            models: models.iter().map(|model| model_index(*model)).collect(),
            most_output: [key.requests.output_tokens, compiled.apps[key.app].requests.output_tokens]
                .into_iter()
                .flatten()
                .min(),
            limit,
            book: (key.limits != Limits::default())
                .then(|| book(kept_book(before, &key.name), key.limits, compiled.store.is_some())),
        }));
    }
    Ok((Keys::new(entries)?, facts))
}
