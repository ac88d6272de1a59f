//! `issuer.NAME.keys`: in a file, or at an identity host.

use std::path::PathBuf;
use std::time::Duration;

use http::uri::PathAndQuery;
use ingress::auth::KeySet;

use super::super::compile::{FetchedKeysConfig, KeysPathConfig};
use super::super::document::{KeysByDiscovery, KeysByPath};
use super::super::mistakes::MistakeKind;
use super::super::report::quote;
use super::super::tree::{Cursor, Mark};
use super::super::url::{Host, Scheme, Url};
use super::Check;

/// Seconds after which keys are fetched again where the document says nothing.
const REFRESH_S: u64 = 3_600;
/// Seconds for which keys count that cannot be fetched again.
const KEEP_S: u64 = 86_400;
/// Where the discovery document lies below an issuer (OpenID Connect Discovery 1.0, section 4).
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

impl Check<'_> {
    pub(super) fn keys_in_file(&mut self, name: &str, file: &str) -> Option<PathBuf> {
        let at = self.place("issuer", name).at("keys").at("file");
        let setting = format!("issuer.{name}.keys.file");
        let (path, text) = self.read_file((at, &setting, file))?;
        match KeySet::read(&text) {
            Ok(_) => Some(path),
            Err(error) => {
                let message = format!("`{setting}`: {} cannot be used: {error}", quote(file));
                self.report.mistake(MistakeKind::Material, at.mark(), message);
                None
            }
        }
    }

    pub(super) fn discovery(&mut self, name: &str, issuer: &str, way: &KeysByDiscovery) -> Option<FetchedKeysConfig> {
        let at = self.place("issuer", name).at("keys").at("discovery");
        let setting = |key: &str| format!("issuer.{name}.keys.discovery.{key}");
        let document = self.keys_host(at.at("identity"), name, &way.identity);
        let host = match &way.keys_identity {
            Some(other) => self.keys_host(at.at("keys_identity"), name, other),
            None => document,
        };
        let path = match &way.path {
            Some(path) => self.path_at_host(at.at("path").mark(), &setting("path"), path),
            None => self.well_known(at.mark(), name, issuer),
        };
        let (refresh, keep) = self.times(at, name, (way.refresh_s, way.keep_s));
        let path = KeysPathConfig::Discovered { host: document?, path: path? };
        Some(FetchedKeysConfig { host: host?, path, refresh, keep })
    }

    pub(super) fn jwks(&mut self, name: &str, way: &KeysByPath) -> Option<FetchedKeysConfig> {
        let at = self.place("issuer", name).at("keys").at("jwks");
        let host = self.keys_host(at.at("identity"), name, &way.identity);
        let path = self.path_at_host(at.at("path").mark(), &format!("issuer.{name}.keys.jwks.path"), &way.path);
        let (refresh, keep) = self.times(at, name, (way.refresh_s, way.keep_s));
        Some(FetchedKeysConfig { host: host?, path: KeysPathConfig::Known(path?), refresh, keep })
    }

    /// An identity host from which keys may come: whoever stands on the way to one without TLS could put keys of its own there,
    /// and sign for everybody.
    fn keys_host(&mut self, at: Cursor<'_>, name: &str, identity: &str) -> Option<usize> {
        if !self.is_defined("identity", identity) {
            self.dangling(at.mark(), &format!("issuer `{name}`"), "identity", identity);
            return None;
        }
        let written = self.walked.document.identity.get(identity).map(|identity| Url::parse(&identity.url));
        if let Some(Ok(url)) = written
            && url.scheme == Scheme::Http
            && !matches!(url.host, Host::Address(address) if address.is_loopback())
        {
            let message = format!("issuer `{name}`: keys from identity {} would come without TLS", quote(identity));
            let remedy = "give the identity an `https://…` url: who stands on the way could sign for every app";
            self.wrong(at.mark(), message, remedy);
        }
        self.index_of("identity", identity)
    }

    fn well_known(&mut self, mark: Mark, name: &str, issuer: &str) -> Option<String> {
        match Url::parse(issuer) {
            Ok(url) => Some(format!("{}{WELL_KNOWN}", url.path.trim_end_matches('/'))),
            Err(_) => {
                let message = format!(
                    "issuer `{name}`: where its discovery document lies does not follow from {}",
                    quote(issuer)
                );
                self.wrong(mark, message, format!("add `path = \"/…{WELL_KNOWN}\"`"));
                None
            }
        }
    }

    fn path_at_host(&mut self, mark: Mark, setting: &str, path: &str) -> Option<String> {
        let good = path.starts_with('/') && path.is_ascii() && path.parse::<PathAndQuery>().is_ok();
        if !good {
            let message = format!("`{setting}` is {}, which is no path", quote(path));
            self.wrong(mark, message, "write it as `/openid/v1/jwks`; the host stands in `[identity]`");
        }
        good.then(|| path.to_owned())
    }

    fn times(&mut self, at: Cursor<'_>, name: &str, written: (Option<u64>, Option<u64>)) -> (Duration, Duration) {
        let (refresh, keep) = (written.0.unwrap_or(REFRESH_S), written.1.unwrap_or(KEEP_S));
        if keep < refresh {
            let message = format!("issuer `{name}`: its keys count for {keep} s and are fetched every {refresh} s");
            self.wrong(at.mark(), message, "let `keep_s` be several times `refresh_s`");
        }
        (Duration::from_secs(refresh), Duration::from_secs(keep))
    }
}
