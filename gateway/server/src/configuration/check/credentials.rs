//! `endpoint.NAME.auth`: what the gateway shows an endpoint. Without keys being read there is no key and no secret.
//!
//! No message here holds what stands in a file or variable, nor the name of one: somebody may have written the credential
//! itself where its place belongs.

use std::path::Path;

use super::super::compile::{
    ApplicationConfig, ClientCertificate, CredentialConfig, GrantConfig, IdentityHostConfig, Secret, Secrets,
    TokenAuthConfig,
};
use super::super::document::{Auth, CertificateAuth, Endpoint, KeySource, ManagedIdentity, ManagedSource};
use super::super::report::quote;
use super::super::tree::{Cursor, Mark};
use super::material::read_bounded;
use super::{Check, Owner};

/// Where the Arc agent puts its challenges.
const CHALLENGES: &str = "/var/opt/azcmagent/tokens";

impl Check<'_> {
    /// The credential that an endpoint is shown.
    pub(super) fn credential(&mut self, name: &str, endpoint: &Endpoint, auth: &Auth) -> Option<CredentialConfig> {
        let owner = Owner::endpoint(name);
        let at = self.of(owner).at("auth");
        if let Auth::Key(source) = auth {
            let key = self.key_of(at.at("key"), &owner.setting("auth.key"), source);
            return key.map(CredentialConfig::Key);
        }
        self.token_credential(owner, usual_scope(endpoint), auth).map(CredentialConfig::Token)
    }

    /// A token; for `usual` where the document does not say what it is for.
    pub(super) fn token_credential(
        &mut self,
        owner: Owner<'_>,
        usual: Option<String>,
        auth: &Auth,
    ) -> Option<TokenAuthConfig> {
        let at = self.of(owner).at("auth");
        let (way, identity, scope) = match auth {
            Auth::Key(_) => return None,
            Auth::ManagedIdentity(own) => ("managed-identity", own.identity.as_deref(), own.scope.as_deref()),
            Auth::WorkloadIdentity(own) => ("workload-identity", Some(own.identity.as_str()), own.scope.as_deref()),
            Auth::ClientCertificate(own) => ("client-certificate", Some(own.identity.as_str()), own.scope.as_deref()),
            Auth::ClientSecret(own) => ("client-secret", Some(own.identity.as_str()), own.scope.as_deref()),
        };
        let at = at.at(way);
        let setting = |key: &str| owner.setting(&format!("auth.{way}.{key}"));
        let host = match identity {
            Some(identity) => self.identity_named(at, owner, identity).map(IdentityHostConfig::Named),
            None => Some(match auth {
                Auth::ManagedIdentity(ManagedIdentity { source: Some(ManagedSource::Arc), .. }) => {
                    IdentityHostConfig::ArcAgent
                }
                _ => IdentityHostConfig::Machine,
            }),
        };
        let scope = self.scope(at, owner, usual, scope);
        let grant = self.shown_for(at, owner, auth);
        if let Auth::WorkloadIdentity(own) = auth
            && own.token_file.is_empty()
        {
            self.wrong(at.at("token_file").mark(), format!("`{}` is empty", setting("token_file")), "name the file");
        }
        Some(TokenAuthConfig { host: host?, scope: scope?, grant: grant? })
    }

    pub(super) fn identity_named(&mut self, at: Cursor<'_>, owner: Owner<'_>, identity: &str) -> Option<usize> {
        if !self.is_defined("identity", identity) {
            self.dangling(at.at("identity").mark(), &owner.to_string(), "identity", identity);
            return None;
        }
        self.index_of("identity", identity)
    }

    /// What a token is for. For Azure's own services it follows from the cloud.
    fn scope(
        &mut self,
        at: Cursor<'_>,
        owner: Owner<'_>,
        usual: Option<String>,
        scope: Option<&str>,
    ) -> Option<String> {
        if let Some(scope) = scope {
            let good = !scope.is_empty() && scope.bytes().all(|byte| byte.is_ascii_graphic());
            if !good {
                let message = format!("{owner}: {} is no scope", quote(scope));
                self.wrong(
                    at.at("scope").mark(),
                    message,
                    "write it as `https://cognitiveservices.azure.com/.default`",
                );
            }
            return good.then(|| scope.to_owned());
        }
        if usual.is_none() {
            let message = format!("{owner}: what its token is for is not said");
            self.wrong(at.mark(), message, "add `scope = \"https://…/.default\"`");
        }
        usual
    }

    fn shown_for(&mut self, at: Cursor<'_>, owner: Owner<'_>, auth: &Auth) -> Option<GrantConfig> {
        match auth {
            Auth::Key(_) => None,
            Auth::ManagedIdentity(own) => self.managed(at, owner, own),
            Auth::WorkloadIdentity(own) => {
                let app = self.application(at, owner, (&own.tenant, &own.client));
                let file = self.path(at.at("token_file").mark(), &own.token_file);
                Some(GrantConfig::Federated { app: app?, file })
            }
            Auth::ClientCertificate(own) => {
                let app = self.application(at, owner, (&own.tenant, &own.client));
                let certificate = self.app_certificate(at, owner, own);
                Some(GrantConfig::Certificate { app: app?, certificate: certificate? })
            }
            Auth::ClientSecret(own) => {
                let app = self.application(at, owner, (&own.tenant, &own.client));
                let secret = self.key_of(at.at("secret"), &owner.setting("auth.client-secret.secret"), &own.secret);
                Some(GrantConfig::Secret { app: app?, secret: secret? })
            }
        }
    }

    fn managed(&mut self, at: Cursor<'_>, owner: Owner<'_>, own: &ManagedIdentity) -> Option<GrantConfig> {
        let setting = |key: &str| owner.setting(&format!("auth.managed-identity.{key}"));
        let source = own.source.unwrap_or_default();
        let misplaced = match source {
            ManagedSource::Machine => own.challenges.as_ref().map(|_| "challenges"),
            ManagedSource::Arc => own.client.as_ref().map(|_| "client"),
        };
        if let Some(key) = misplaced {
            let message = format!("`{}` has no effect with this `source`", setting(key));
            self.wrong(at.at(key).mark(), message, "leave it out");
        }
        if let Some(client) = &own.client {
            self.is_id(at.at("client").mark(), &setting("client"), client);
        }
        Some(match source {
            ManagedSource::Machine => GrantConfig::Machine { client: own.client.clone() },
            ManagedSource::Arc => {
                let folder = own.challenges.as_deref().unwrap_or(CHALLENGES);
                GrantConfig::Arc { folder: self.path(at.at("challenges").mark(), folder) }
            }
        })
    }

    fn application(
        &mut self,
        at: Cursor<'_>,
        owner: Owner<'_>,
        (tenant, client): (&str, &str),
    ) -> Option<ApplicationConfig> {
        let mut good = true;
        for (key, value) in [("tenant", tenant), ("client", client)] {
            good &= self.is_id(at.at(key).mark(), &owner.setting(&format!("auth.{key}")), value);
        }
        good.then(|| ApplicationConfig { tenant: tenant.to_owned(), client: client.to_owned() })
    }

    /// It stands in a path, so it is plain.
    fn is_id(&mut self, mark: Mark, setting: &str, value: &str) -> bool {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
        let good = !value.is_empty() && value.len() <= 128 && value.bytes().all(plain) && !value.starts_with('.');
        if !good {
            let message = format!("`{setting}` is {}, which is no id", quote(value));
            self.wrong(mark, message, "write it as `00000000-0000-0000-0000-000000000000`");
        }
        good
    }

    fn app_certificate(
        &mut self,
        at: Cursor<'_>,
        owner: Owner<'_>,
        own: &CertificateAuth,
    ) -> Option<ClientCertificate> {
        let setting = |key: &str| owner.setting(&format!("auth.client-certificate.{key}"));
        let (certificate_setting, key_setting) = (setting("certificate"), setting("key"));
        let (certificate, key) = self.identity(
            (at.at("certificate"), &certificate_setting, &own.certificate),
            (at.at("key"), &key_setting, &own.key),
        );
        if self.secrets == Secrets::Read
            && let Some(path) = &key
            && !is_rsa(path)
        {
            let message =
                format!("`{key_setting}`: {} holds no RSA key, which is all that Entra ID takes", quote(&own.key));
            self.material(at.at("key").mark(), message);
        }
        Some(ClientCertificate { certificate: certificate?, key: key? })
    }

    pub(super) fn key_of(&mut self, at: Cursor<'_>, setting: &str, source: &KeySource) -> Option<Secret> {
        match source {
            KeySource::Env(name) => self.key_of_environment(at.at("env").mark(), &format!("{setting}.env"), name),
            KeySource::File(path) => self.key_of_file(at.at("file").mark(), &format!("{setting}.file"), path),
        }
    }

    fn key_of_environment(&mut self, mark: Mark, setting: &str, name: &str) -> Option<Secret> {
        let mut bytes = name.bytes();
        let starts_well = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        if !starts_well || !bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            let remedy = "it takes the name of the variable that holds the key, never the key itself";
            self.wrong(mark, format!("`{setting}` is no name of an environment variable"), remedy);
            return None;
        }
        if self.secrets != Secrets::Read {
            return None;
        }
        match (self.options.environment)(name) {
            Some(text) => self.secret(mark, setting, &text),
            None => {
                self.material(mark, format!("`{setting}` names an environment variable that is not set"));
                None
            }
        }
    }

    fn key_of_file(&mut self, mark: Mark, setting: &str, text: &str) -> Option<Secret> {
        if self.secrets != Secrets::Read {
            return None;
        }
        let path = self.path(mark, text);
        self.report.material.note(&path);
        let text = match read_bounded(&path).map(String::from_utf8) {
            Ok(Ok(text)) => text,
            Ok(Err(_)) => {
                self.material(mark, format!("`{setting}` names a file that is not text"));
                return None;
            }
            Err(error) => {
                self.material(mark, format!("`{setting}` names a file that cannot be read: {error}"));
                return None;
            }
        };
        self.readable_by_others(mark, setting, &path);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        self.secret(mark, setting, text.strip_suffix('\r').unwrap_or(text))
    }
}

/// What Azure's own services want, by the cloud of the url.
fn usual_scope(endpoint: &Endpoint) -> Option<String> {
    if endpoint.provider != "azure-openai" {
        return None;
    }
    let host = endpoint.url.split("://").nth(1).and_then(|rest| rest.split(['/', ':']).next()).unwrap_or_default();
    let cloud = ["azure.us", "azure.cn"].into_iter().find(|cloud| host.ends_with(&format!(".{cloud}")));
    Some(format!("https://cognitiveservices.{}/.default", cloud.unwrap_or("azure.com")))
}

fn is_rsa(path: &Path) -> bool {
    use rustls::pki_types::PrivateKeyDer;
    use rustls::pki_types::pem::PemObject as _;
    let key = read_bounded(path).ok().and_then(|pem| PrivateKeyDer::from_pem_slice(&pem).ok());
    let signer = key.and_then(|key| rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).ok());
    // What cannot be read has been reported.
    signer.is_none_or(|signer| signer.algorithm() == rustls::SignatureAlgorithm::RSA)
}
