//! Who may ask the operators' listener: the same three ways to prove who one is as callers have, and a role.

use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderMap;
use ingress::auth::{
    AppIndex, AuthError, Callers, Certificates, Issuer, KeyEntry, KeyIndex, Keys, ShownCertificate, TokenRule, Tokens,
};

use super::SnapshotError;
use super::build::model_index;
use crate::configuration::{AdministratorConfig, Compiled, Role};

/// The administrators of a configuration.
pub struct Administrators {
    callers: Callers,
    people: Vec<Arc<Administrator>>,
}

/// One administrator: a person, or a program that acts for some.
#[derive(Debug)]
pub struct Administrator {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// What it may do.
    pub role: Role,
}

impl Administrators {
    /// Whether nobody is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.people.is_empty()
    }

    /// Whether somebody of this name is named, with at least this role.
    pub(crate) fn has(&self, name: &str, role: Role) -> bool {
        self.people.iter().any(|one| &*one.name == name && one.role >= role)
    }

    /// Who asks. Keys and tokens of apps are nobody's here.
    pub(crate) fn authenticate(
        &self,
        headers: &HeaderMap,
        certificate: Option<&ShownCertificate>,
        now: SystemTime,
    ) -> Result<Arc<Administrator>, AuthError> {
        let identified = self.callers.authenticate(headers, certificate, now)?;
        let found = usize::try_from(identified.app.0).ok().and_then(|index| self.people.get(index));
        found.map(Arc::clone).ok_or(AuthError::Unknown)
    }
}

/// The issuers are those of the callers, so that keys which are fetched anew count here as well.
pub(super) fn build(compiled: &Compiled, issuers: &[Arc<Issuer>]) -> Result<Administrators, SnapshotError> {
    let mut builder = Builder::default();
    for (index, one) in compiled.administration.administrators.iter().enumerate() {
        builder.add(one, AppIndex(model_index(index).0));
    }
    let Builder { keys, rules, certificates, people } = builder;
    let tokens = if rules.is_empty() { Tokens::default() } else { Tokens::new(issuers.to_vec(), rules) };
    Ok(Administrators { callers: Callers::new(Keys::new(keys)?, tokens, Certificates::new(certificates)), people })
}

#[derive(Default)]
struct Builder {
    keys: Vec<KeyEntry>,
    rules: Vec<TokenRule>,
    certificates: Vec<(ingress::auth::CertificateName, AppIndex, KeyIndex)>,
    people: Vec<Arc<Administrator>>,
}

impl Builder {
    fn add(&mut self, one: &AdministratorConfig, app: AppIndex) {
        // Which of its credentials an administrator shows does not matter, so all of them stand for one entry.
        let key = KeyIndex(app.0);
        let entry = |digest: &[u8; 32]| KeyEntry { digest: *digest, app, expires: None, models: None, limit: None };
        self.keys.extend(one.keys.iter().map(entry));
        self.rules.extend(one.token.iter().map(|token| TokenRule {
            issuer: token.issuer.as_str().into(),
            audience: token.audience.as_str().into(),
            claims: token.claims.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect(),
            marks: Box::default(),
            user: token.user.as_deref().map(Into::into),
            app,
            key,
        }));
        self.certificates.extend(one.certificate.iter().map(|name| (name.clone(), app, key)));
        self.people.push(Arc::new(Administrator { name: one.name.as_str().into(), role: one.role }));
    }
}
