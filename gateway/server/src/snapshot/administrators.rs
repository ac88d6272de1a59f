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
use crate::configuration::{AdministratorConfig, Compiled, Role, TokenConfig};

/// The administrators of a configuration.
pub struct Administrators {
    callers: Callers,
    sections: Vec<Section>,
}

/// What the configuration says of an administrator.
struct Section {
    name: Arc<str>,
    role: Role,
    /// Who issues its tokens, and the claim of them that names a person.
    tokens: Option<(Arc<str>, Arc<str>)>,
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
    /// The claim that names the person, as the section said then: by another the same person would be another.
    #[serde(default)]
    pub claim: Arc<str>,
    /// What the claim says that names the person.
    pub user: Arc<str>,
}

impl Administrator {
    /// As records, answers and log lines name it: `NAME`, or `NAME/PERSON` where a token says who. A name of a section has no `/`.
    ///
    /// Whoever may choose its name at the issuer chooses letters as well. Those that nobody sees, or that turn round what stands
    /// beside them, are escaped here; people are told apart by the claim as it is.
    #[must_use]
    pub fn actor(&self) -> Cow<'_, str> {
        match &self.subject {
            Some(subject) => Cow::Owned(format!("{}/{}", self.name, shown(&subject.user))),
            None => Cow::Borrowed(&self.name),
        }
    }
}

/// A text from outside in which each letter is seen: the others as `\u{200b}`, and `\` as `\\`, so that no two texts look the same
/// because of them. Marks that are put onto a letter are escaped as well.
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\'' | '"' => shown.push(letter),
            other => shown.extend(other.escape_debug()),
        }
    }
    shown
}

impl Administrators {
    /// Whether nobody is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sections.is_empty()
    }

    /// Whether a section has this name and at least this role, and where it is a token's person also names people as then.
    pub(crate) fn has(&self, name: &str, role: Role, subject: Option<&Subject>) -> bool {
        let names_so = |one: &Section| {
            subject.is_none_or(|then| {
                one.tokens.as_ref().is_some_and(|(issuer, claim)| (issuer, claim) == (&then.issuer, &then.claim))
            })
        };
        self.sections.iter().any(|one| &*one.name == name && one.role >= role && names_so(one))
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
        let tokens = section.tokens.clone().zip(identified.user);
        let subject = tokens.map(|((issuer, claim), user)| Subject { issuer, claim, user });
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
        let names = |token: &TokenConfig| Some((token.issuer.as_str().into(), token.user.as_deref()?.into()));
        let tokens = one.token.as_ref().and_then(names);
        self.sections.push(Section { name: one.name.as_str().into(), role: one.role, tokens });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(user: &str) -> String {
        let subject = Subject { issuer: "i".into(), claim: "sub".into(), user: user.into() };
        let who = Administrator { name: "oncall".into(), role: Role::Operator, subject: Some(subject) };
        who.actor().into_owned()
    }

    #[test]
    fn who_was_named_by_another_claim_or_issuer_is_not_known_to_be_the_same() {
        let tokens = Some(("i".into(), "oid".into()));
        let section = |name: &str, tokens| Section { name: name.into(), role: Role::Operator, tokens };
        let sections = vec![section("people", tokens), section("robots", None)];
        let all = Administrators {
            callers: Callers::new(Keys::new(Vec::new()).unwrap(), Tokens::default(), Certificates::default()),
            sections,
        };
        let named =
            |issuer: &str, claim: &str| Subject { issuer: issuer.into(), claim: claim.into(), user: "u".into() };

        assert!(all.has("people", Role::Operator, Some(&named("i", "oid"))));
        for other in [named("i", "sub"), named("j", "oid"), named("i", "")] {
            assert!(!all.has("people", Role::Operator, Some(&other)), "{other:?}");
        }
        assert!(!all.has("robots", Role::Operator, Some(&named("i", "oid"))), "it shows no tokens any more");
        assert!(all.has("robots", Role::Operator, None) && !all.has("robots", Role::Security, None));
    }

    #[test]
    fn of_a_person_each_letter_is_seen_and_no_two_look_the_same_for_one_that_is_not() {
        for plain in ["erika", "00000000-0000-0000-66f3-3332eca7ea81", "Erika Müller", "d'Angelo", "李娜", "a=b c"] {
            assert_eq!(actor(plain), format!("oncall/{plain}"));
        }
        // Turned round, invisible, a line of its own to some, a wide space, a mark, and what looks like an escape.
        for (user, expected) in [
            ("bob\u{202e}xam", "oncall/bob\\u{202e}xam"),
            ("bob\u{2066}", "oncall/bob\\u{2066}"),
            ("bob\u{200b}", "oncall/bob\\u{200b}"),
            ("bob\u{fe0f}", "oncall/bob\\u{fe0f}"),
            ("bob\u{2028}", "oncall/bob\\u{2028}"),
            ("bob\u{3000}", "oncall/bob\\u{3000}"),
            ("bob\u{e0041}", "oncall/bob\\u{e0041}"),
            ("bob\\u{200b}", "oncall/bob\\\\u{200b}"),
        ] {
            assert_eq!(actor(user), expected);
        }
    }
}
