//! `[administrator.NAME]`: who may ask the operators' listener.

use ingress::auth::CertificateName;

use super::super::administration::AdministratorConfig;
use super::super::compile::{KeyConfig, TokenConfig};
use super::super::document::{Administrator, Document};
use super::super::mistakes::MistakeKind;
use super::super::report::quote;
use super::Check;

/// The claim that names the person behind an administrator's token where the document says nothing.
const PERSON: &str = "sub";

/// Claims that do not stay, or that people may choose themselves: OpenID Connect promises no more of any but `sub` (Core 1.0,
/// section 5.7), and Entra ID warns of the last two.
const SELF_CHOSEN: [&str; 10] = [
    "name",
    "given_name",
    "family_name",
    "middle_name",
    "nickname",
    "preferred_username",
    "email",
    "phone_number",
    "upn",
    "unique_name",
];

impl Check<'_> {
    pub(super) fn administrators(&mut self, document: &Document, keys: &[KeyConfig]) -> Vec<AdministratorConfig> {
        let mut found: Vec<AdministratorConfig> = Vec::new();
        for (name, written) in &document.administrator {
            self.has_a_way_in(name, written);
            let token = self.administrator_token(name, written, document, &found);
            let certificate = self.administrator_certificate(name, written, document, &found);
            let keys = self.administrator_keys(name, written, keys, &found);
            found.push(AdministratorConfig { name: name.clone(), role: written.role, keys, token, certificate });
        }
        if !found.is_empty() && document.admin.is_none() && self.walked.is_whole("admin", "") {
            let mark = self.root.at("administrator").mark();
            self.warn(mark, "there are administrators and no `[admin]` listener that they could ask", "add `[admin]`");
        }
        found
    }

    fn has_a_way_in(&mut self, name: &str, written: &Administrator) {
        let has_keys = written.keys.as_ref().is_some_and(|keys| !keys.is_empty());
        if !has_keys && written.jwt.is_none() && written.certificate.is_none() {
            let message = format!("administrator `{name}` has no key, so nobody can ask as it");
            let remedy = "`causeway keys new` prints a key and the digest to put into `keys`";
            self.wrong(self.place("administrator", name).key(), message, remedy);
        }
    }

    fn administrator_keys(
        &mut self,
        name: &str,
        written: &Administrator,
        of_apps: &[KeyConfig],
        others: &[AdministratorConfig],
    ) -> Vec<[u8; 32]> {
        let list = self.place("administrator", name).at("keys");
        let mut own: Vec<[u8; 32]> = Vec::new();
        for (index, text) in written.keys.iter().flatten().enumerate() {
            let mark = list.item(index).mark();
            let setting = format!("administrator.{name}.keys[{index}]");
            let Some(digest) = self.digest_alone(mark, &setting, text) else { continue };
            let of_app = of_apps.iter().find(|key| key.digest == digest).map(|key| format!("key `{}`", key.name));
            let of_other = others.iter().find(|other| other.keys.contains(&digest));
            let of_other = of_other.map(|other| format!("a key of administrator `{}`", other.name));
            let again = own.contains(&digest).then(|| "listed before".to_owned());
            if let Some(owner) = of_app.or(of_other).or(again) {
                let remedy = "a key stands for one; make another with `causeway keys new`";
                self.report.mend(MistakeKind::Duplicate, mark, format!("`{setting}` is also {owner}"), remedy);
                continue;
            }
            own.push(digest);
        }
        own
    }

    fn administrator_token(
        &mut self,
        name: &str,
        written: &Administrator,
        document: &Document,
        others: &[AdministratorConfig],
    ) -> Option<TokenConfig> {
        let jwt = written.jwt.as_ref()?;
        self.token("administrator", name, jwt, document);
        let token = TokenConfig {
            name: format!("{name}.jwt"),
            app: self.index_of("administrator", name)?,
            issuer: jwt.issuer.clone(),
            audience: jwt.audience.clone(),
            claims: jwt.claims.iter().flatten().map(|(claim, value)| (claim.clone(), value.clone())).collect(),
            user: Some(jwt.user.as_deref().unwrap_or(PERSON).to_owned()),
        };
        let mark = self.place("administrator", name).at("jwt").mark();
        if token.claims.is_empty() {
            let message = format!("`administrator.{name}.jwt` takes every token of the issuer for this audience");
            self.wrong(mark, message, "name a claim that only administrators have, such as `roles`");
        }
        if let Some(claim) = jwt.user.as_deref().filter(|claim| SELF_CHOSEN.contains(claim)) {
            let message = format!(
                "`administrator.{name}.jwt.user` is `{claim}`, which people may change or choose, so that one person could be two"
            );
            let at = self.place("administrator", name).at("jwt").at("user");
            self.warn(at.mark(), message, "name a claim that stays, such as `sub`, or Entra ID's `oid`");
        }
        let same = |other: &&AdministratorConfig| {
            other.token.as_ref().is_some_and(|other| {
                (&other.issuer, &other.audience, &other.claims) == (&token.issuer, &token.audience, &token.claims)
            })
        };
        let names_otherwise = |other: &&TokenConfig| other.issuer == token.issuer && other.user != token.user;
        if let Some(other) = others.iter().filter_map(|other| other.token.as_ref()).find(names_otherwise) {
            let claim = |token: &TokenConfig| token.user.clone().unwrap_or_default();
            let message = format!(
                "the tokens of administrator `{name}` name a person by `{}`, and those of `{}` by `{}`, so that one person would be two",
                claim(&token),
                other.name,
                claim(other)
            );
            self.wrong(mark, message, "name the same claim in `jwt.user` wherever the issuer is the same");
        }
        self.is_said_by_both(name, &token, document, others);
        if let Some(other) = others.iter().find(same) {
            let message = format!("the tokens of administrator `{name}` are also those of `{}`", other.name);
            let remedy = "a token must belong to one: name a claim in which they differ";
            self.report.mend(MistakeKind::Duplicate, mark, message, remedy);
        }
        Some(token)
    }

    /// Some issuers name a person by another `sub` for each audience. Where there are several, each section says which claim
    /// names a person, be it `sub`.
    fn is_said_by_both(
        &mut self,
        name: &str,
        token: &TokenConfig,
        document: &Document,
        others: &[AdministratorConfig],
    ) {
        let says_nothing = |name: &&str| {
            let written = document.administrator.get(*name).and_then(|written| written.jwt.as_ref());
            written.is_some_and(|jwt| jwt.user.is_none())
        };
        let means_otherwise = |other: &&AdministratorConfig| {
            other.token.as_ref().is_some_and(|other| {
                (&other.issuer, &other.user) == (&token.issuer, &token.user) && other.audience != token.audience
            })
        };
        // The order of the sections changes nothing: the one before may be the one that says nothing.
        let found = others.iter().filter(means_otherwise).map(|other| &*other.name).find_map(|other| {
            let silent = [name, other].into_iter().find(says_nothing)?;
            Some((silent, if silent == name { other } else { name }))
        });
        let Some((silent, other)) = found else { return };
        let mark = self.place("administrator", silent).at("jwt").mark();
        let message = format!(
            "the tokens of administrator `{silent}` are for another audience than those of `{other}`, and some issuers name a person by another `{PERSON}` for each, so that one person would be two"
        );
        let remedy = "write `user` in `jwt`: the claim that is one for a person everywhere, such as Entra ID's `oid`";
        self.wrong(mark, message, remedy);
    }

    fn administrator_certificate(
        &mut self,
        name: &str,
        written: &Administrator,
        document: &Document,
        others: &[AdministratorConfig],
    ) -> Option<CertificateName> {
        let text = written.certificate.as_ref()?;
        let mark = self.place("administrator", name).at("certificate").mark();
        let setting = format!("administrator.{name}.certificate");
        let tls = document.admin.as_ref().and_then(|admin| admin.tls.as_ref());
        if tls.is_none_or(|tls| tls.client_ca.is_none()) && self.walked.is_whole("admin", "") {
            let message = format!("`{setting}`: the listener asks nobody for a certificate");
            self.wrong(mark, message, "add `client_ca` to `admin.tls`");
        }
        let Some(certificate) = CertificateName::parse(text) else {
            let message = format!("`{setting}` is {}, which is no name in a certificate", quote(text));
            self.wrong(mark, message, "write it as `spiffe://corp.example/oncall` or `dns:oncall.corp.example`");
            return None;
        };
        if let Some(other) = others.iter().find(|other| other.certificate.as_ref() == Some(&certificate)) {
            let message = format!("`{setting}` is also that of administrator `{}`", other.name);
            self.report.mend(MistakeKind::Duplicate, mark, message, "a certificate stands for one administrator");
        }
        Some(certificate)
    }
}
