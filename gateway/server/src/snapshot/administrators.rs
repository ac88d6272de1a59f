//! Who may ask the operators' listener: the same three ways to prove who one is as callers have, and a role.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderMap;
use ingress::auth::{
    AppIndex, AuthError, Callers, Certificates, Issuer, KeyEntry, KeyIndex, Keys, ShownCertificate, TokenRule, Tokens,
};
use serde::{Deserialize, Serialize};

use super::SnapshotError;
use super::build::model_index;
use crate::configuration::{AdministratorConfig, Compiled, Role};

/// The administrators of a configuration.
pub struct Administrators {
    callers: Callers,
    sections: Vec<Section>,
}

/// What the configuration says of an administrator.
struct Section {
    name: Arc<str>,
    role: Role,
    /// Who issues its tokens.
    issuer: Option<Arc<str>>,
}

/// One administrator: a person, or a program that acts for some.
#[derive(Clone, Debug)]
pub struct Administrator {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// What it may do.
    pub role: Role,
    /// Who it is among all who have the name, where its token says so.
    pub subject: Option<Subject>,
}

/// A person, as an issuer of tokens knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// The claim `iss`.
    pub issuer: Arc<str>,
    /// What the claim says that names the person.
    pub user: Arc<str>,
}

impl Administrator {
    /// As records name it: `NAME`, or `NAME/PERSON` where a token says who. A name of a section has no `/`.
    #[must_use]
    pub fn actor(&self) -> Cow<'_, str> {
        match &self.subject {
            Some(subject) => Cow::Owned(format!("{}/{}", self.name, subject.user)),
            None => Cow::Borrowed(&self.name),
        }
    }
}

impl Administrators {
    /// Whether nobody is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sections.is_empty()
    }

    /// Whether somebody of this name is named, with at least this role.
    pub(crate) fn has(&self, name: &str, role: Role) -> bool {
        self.sections.iter().any(|one| &*one.name == name && one.role >= role)
    }

    /// Who asks. Keys and tokens of apps are nobody's here.
    pub(crate) fn authenticate(
        &self,
        headers: &HeaderMap,
        certificate: Option<&ShownCertificate>,
        now: SystemTime,
    ) -> Result<Administrator, AuthError> {
        let identified = self.callers.authenticate(headers, certificate, now)?;
        let found = usize::try_from(identified.app.0).ok().and_then(|index| self.sections.get(index));
        let section = found.ok_or(AuthError::Unknown)?;
        let subject = section.issuer.clone().zip(identified.user).map(|(issuer, user)| Subject { issuer, user });
        Ok(Administrator { name: Arc::clone(&section.name), role: section.role, subject })
    }
}

/// The issuers are those of the callers, so that keys which are fetched anew count here as well.
pub(super) fn build(compiled: &Compiled, issuers: &[Arc<Issuer>]) -> Result<Administrators, SnapshotError> {
    let mut builder = Builder::default();
    for (index, one) in compiled.administration.administrators.iter().enumerate() {
        builder.add(one, AppIndex(model_index(index).0));
    }
    let Builder { keys, rules, certificates, sections } = builder;
    let tokens = if rules.is_empty() { Tokens::default() } else { Tokens::new(issuers.to_vec(), rules) };
    Ok(Administrators { callers: Callers::new(Keys::new(keys)?, tokens, Certificates::new(certificates)), sections })
}

#[derive(Default)]
struct Builder {
    keys: Vec<KeyEntry>,
    rules: Vec<TokenRule>,
    certificates: Vec<(ingress::auth::CertificateName, AppIndex, KeyIndex)>,
    sections: Vec<Section>,
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
        let issuer = one.token.as_ref().map(|token| token.issuer.as_str().into());
        self.sections.push(Section { name: one.name.as_str().into(), role: one.role, issuer });
    }
}
