//! How apps prove who they are other than by keys: `[issuer.NAME]`, `app.NAME.jwt` and `app.NAME.certificate`.

use std::collections::BTreeMap;
use std::time::Duration;

use ingress::auth::{Algorithm, CertificateName};

use super::super::compile::{CertificateConfig, IssuerConfig, IssuerKeysConfig, TokenConfig};
use super::super::document::{Document, Issuer, IssuerKeys, Jwt, ListenTls, TokenAlgorithm};
use super::super::mistakes::{MistakeKind, remedy_for};
use super::super::report::quote;
use super::Check;

/// Seconds that an issuer's clock may be off where the document says nothing.
const DEFAULT_SKEW_S: u64 = 60;

impl Check<'_> {
    pub(super) fn issuers(&mut self, document: &Document) -> Vec<IssuerConfig> {
        let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
        let mut issuers = Vec::new();
        for (name, issuer) in &document.issuer {
            let mark = self.place("issuer", name).at("issuer").mark();
            if issuer.issuer.is_empty() {
                let remedy = "write what the claim `iss` of its tokens says";
                self.wrong(mark, format!("`issuer.{name}.issuer` is empty"), remedy);
            }
            if let Some(earlier) = seen.insert(&issuer.issuer, name) {
                let message = format!("`issuer.{name}.issuer` is also that of `[issuer.{earlier}]`");
                self.report.mend(
                    MistakeKind::Duplicate,
                    mark,
                    message,
                    "an issuer stands once, with all its algorithms",
                );
            }
            let sources = self.sources(name, issuer, document);
            issuers.extend(self.issuer(name, issuer, sources));
        }
        issuers
    }

    /// By whom the tokens of an issuer may come.
    fn sources(&mut self, name: &str, issuer: &Issuer, document: &Document) -> Vec<CertificateName> {
        let Some(written) = issuer.only_from.as_deref() else { return Vec::new() };
        let (at, setting) = (self.place("issuer", name).at("only_from"), format!("issuer.{name}.only_from"));
        self.is_empty_list(at, &setting, written.len(), "leave it out where its tokens may come by anybody");
        self.no_repeats(at, &setting, written, |name| quote(name));
        let is_ours = |jwt: &Option<Jwt>| jwt.as_ref().is_some_and(|jwt| jwt.issuer == issuer.issuer);
        let asks = |tls: Option<&ListenTls>| tls.is_some_and(|tls| tls.client_ca.is_some());
        let callers = document.app.values().any(|app| is_ours(&app.jwt));
        let administrators = document.administrator.values().any(|one| is_ours(&one.jwt));
        let asked_here = asks(document.listen.as_ref().and_then(|listen| listen.tls.as_ref()));
        let asked_there = asks(document.admin.as_ref().and_then(|admin| admin.tls.as_ref()));
        for (section, shows, asks) in [("listen", callers, asked_here), ("admin", administrators, asked_there)] {
            if shows && !asks && self.walked.is_whole(section, "") {
                let message =
                    format!("`{setting}`: `[{section}]` asks nobody for a certificate, so nobody can be one of them");
                self.wrong(at.mark(), message, format!("add `client_ca` to `{section}.tls`"));
            }
        }
        self.names_in_certificates(at, &setting, written)
    }

    fn issuer(&mut self, name: &str, issuer: &Issuer, only_from: Vec<CertificateName>) -> Option<IssuerConfig> {
        let at = self.place("issuer", name);
        let keys = match &issuer.keys {
            IssuerKeys::File(file) => self.keys_in_file(name, file).map(IssuerKeysConfig::File),
            IssuerKeys::Discovery(way) => self.discovery(name, &issuer.issuer, way).map(IssuerKeysConfig::Fetched),
            IssuerKeys::Jwks(way) => self.jwks(name, way).map(IssuerKeysConfig::Fetched),
        };
        let written = issuer.algorithms.as_deref();
        if let Some(written) = written {
            let setting = format!("issuer.{name}.algorithms");
            self.is_empty_list(at.at("algorithms"), &setting, written.len(), "leave it out for `RS256`");
            self.no_repeats(at.at("algorithms"), &setting, written, |algorithm| algorithm_of(*algorithm).to_string());
        }
        let algorithms = written.unwrap_or(&[TokenAlgorithm::RS256]).iter().copied().map(algorithm_of).collect();
        let skew = Duration::from_secs(issuer.clock_skew_s.unwrap_or(DEFAULT_SKEW_S));
        let (name, issuer) = (name.to_owned(), issuer.issuer.clone());
        Some(IssuerConfig { name, issuer, keys: keys?, algorithms, skew, only_from })
    }

    pub(super) fn tokens(&mut self, document: &Document) -> Vec<TokenConfig> {
        let mut tokens: Vec<TokenConfig> = Vec::new();
        for (name, app) in &document.app {
            let (Some(jwt), Some(index)) = (&app.jwt, self.index_of("app", name)) else { continue };
            self.token("app", name, jwt, document);
            let claims = jwt.claims.iter().flatten().map(|(claim, value)| (claim.clone(), value.clone())).collect();
            let token = TokenConfig {
                name: format!("{name}.jwt"),
                app: index,
                issuer: jwt.issuer.clone(),
                audience: jwt.audience.clone(),
                claims,
                user: jwt.user.clone(),
            };
            self.user_by_tokens_alone(name, document);
            let same = |other: &&TokenConfig| {
                (&other.issuer, &other.audience, &other.claims) == (&token.issuer, &token.audience, &token.claims)
            };
            if let Some(other) = tokens.iter().find(same) {
                let message = format!("the tokens of app `{name}` are also those of `{}`", other.name);
                let remedy = "a token must belong to one app: name a claim in which they differ";
                self.report.mend(MistakeKind::Duplicate, self.place("app", name).at("jwt").mark(), message, remedy);
            }
            tokens.push(token);
        }
        tokens
    }

    /// What is said of the tokens of an app or an administrator, the `section`.
    pub(super) fn token(&mut self, section: &str, name: &str, jwt: &Jwt, document: &Document) {
        let at = self.place(section, name).at("jwt");
        let known = || document.issuer.values().map(|issuer| issuer.issuer.as_str());
        if !known().any(|issuer| issuer == jwt.issuer) && self.walked.is_whole("issuer", "") {
            let remedy = remedy_for(&jwt.issuer, known(), "define an `[issuer.NAME]` with it".to_owned());
            let message =
                format!("{section} `{name}` names issuer {}, which no `[issuer.NAME]` has", quote(&jwt.issuer));
            self.report.mend(MistakeKind::Reference, at.at("issuer").mark(), message, remedy);
        }
        if jwt.audience.is_empty() {
            let remedy = "write the gateway's own name at the issuer: a token for somebody else must not be good here";
            self.wrong(at.at("audience").mark(), format!("`{section}.{name}.jwt.audience` is empty"), remedy);
        }
        if jwt.user.as_deref() == Some("") {
            let remedy = "name a claim, such as `sub`, or leave it out";
            self.wrong(at.at("user").mark(), format!("`{section}.{name}.jwt.user` is empty"), remedy);
        }
        for (claim, value) in jwt.claims.iter().flatten() {
            if claim.is_empty() || value.is_empty() {
                let message = format!("`{section}.{name}.jwt.claims` has a claim without a name or value");
                self.wrong(at.at("claims").mark(), message, "write it as `azp = \"claims-ui\"`");
            }
        }
    }

    /// A user that a token names says nothing where the token can be left out.
    fn user_by_tokens_alone(&mut self, name: &str, document: &Document) {
        let Some(app) = document.app.get(name).filter(|app| app.jwt.as_ref().is_some_and(|jwt| jwt.user.is_some()))
        else {
            return;
        };
        let has_keys = app.keys.is_some() || document.key.values().any(|key| key.app == *name);
        if has_keys || app.certificate.is_some() {
            let message = format!(
                "`app.{name}.jwt.user`: app `{name}` may show a key or a certificate as well, which names no user; who leaves the \
                 token out is bound by no user's limits"
            );
            let mark = self.place("app", name).at("jwt").at("user").mark();
            self.wrong(mark, message, "give keys and the certificate to an app of their own");
        }
    }

    pub(super) fn certificate_names(&mut self, document: &Document) -> Vec<CertificateConfig> {
        let asks_for_one =
            document.listen.as_ref().and_then(|listen| listen.tls.as_ref()).is_some_and(|tls| tls.client_ca.is_some());
        let mut found: Vec<CertificateConfig> = Vec::new();
        for (name, app) in &document.app {
            let Some(written) = &app.certificate else { continue };
            let mark = self.place("app", name).at("certificate").mark();
            if !asks_for_one && self.walked.is_whole("listen", "") {
                let message = format!("`app.{name}.certificate`: the listener asks nobody for a certificate");
                self.wrong(mark, message, "add `client_ca` to `listen.tls`");
            }
            let Some(certificate) = CertificateName::parse(written) else {
                let message =
                    format!("`app.{name}.certificate` is {}, which is no name in a certificate", quote(written));
                self.wrong(mark, message, "write it as `spiffe://corp.example/claims`, `dns:claims.corp.example` or `subject:CN=claims,O=Corp`");
                continue;
            };
            if let Some(other) = found.iter().find(|other| other.certificate == certificate) {
                let message = format!("`app.{name}.certificate` is also `{}`", other.name);
                self.report.mend(MistakeKind::Duplicate, mark, message, "a certificate stands for one app");
                continue;
            }
            let Some(app) = self.index_of("app", name) else { continue };
            found.push(CertificateConfig { name: format!("{name}.certificate"), app, certificate });
        }
        found
    }
}

fn algorithm_of(written: TokenAlgorithm) -> Algorithm {
    match written {
        TokenAlgorithm::RS256 => Algorithm::Rs256,
        TokenAlgorithm::RS384 => Algorithm::Rs384,
        TokenAlgorithm::RS512 => Algorithm::Rs512,
        TokenAlgorithm::PS256 => Algorithm::Ps256,
        TokenAlgorithm::PS384 => Algorithm::Ps384,
        TokenAlgorithm::PS512 => Algorithm::Ps512,
        TokenAlgorithm::ES256 => Algorithm::Es256,
        TokenAlgorithm::ES384 => Algorithm::Es384,
        TokenAlgorithm::EdDSA => Algorithm::EdDsa,
    }
}
