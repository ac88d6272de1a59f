//! `audit.witness.http`: a server that checkpoints are put at.

use super::super::compile::{Secrets, WitnessConfig};
use super::super::document::WitnessHttp;
use super::resolvers::Zones;
use super::service::Services;
use super::{Check, Owner};

const OWNER: Owner<'static> = Owner { section: "audit.witness", name: "http" };

impl Check<'_> {
    pub(super) fn witness_http(
        &mut self,
        written: &WitnessHttp,
        network: (&Zones, &Services),
    ) -> Option<WitnessConfig> {
        let at = self.of(OWNER);
        let url = self.url(OWNER, &written.url, &written.reach);
        let reach = self.reach(OWNER, &written.reach, url.as_ref().map(|url| &url.host), network);
        let tls = url.as_ref().map(|url| self.endpoint_tls(OWNER, url, written.tls.as_ref()));
        let transport = self.transport(OWNER, written.transport.as_ref(), &written.reach);
        let is_read = self.options.secrets == Secrets::Read;
        let secret = written.secret.as_ref().map(|source| {
            let secret = self.key_of(at.at("secret"), "audit.witness.http.secret", source);
            // Where secrets are not read there is none, and that is no mistake.
            if is_read { secret.map(Some) } else { Some(None) }
        });
        match (&written.user, &written.secret) {
            (Some(_), None) => {
                let message = "`audit.witness.http.user` has no password";
                self.wrong(at.at("user").mark(), message, "add `secret = { file = … }`");
            }
            // RFC 7617, section 2: the first colon ends the name.
            (Some(user), Some(_)) if user.contains(':') || user.chars().any(char::is_control) => {
                let message = "`audit.witness.http.user` has a colon or a control character";
                self.wrong(at.at("user").mark(), message, "HTTP Basic cannot carry it; log in with another name");
            }
            _ => {}
        }
        let url = url?;
        Some(WitnessConfig {
            scheme: url.scheme,
            host: url.host,
            port: url.port,
            base_path: url.path,
            reach: reach?,
            tls: tls.flatten(),
            transport: transport?,
            user: written.user.clone(),
            secret: secret.unwrap_or(Some(None))?,
            read_back: written.read_back.unwrap_or(true),
        })
    }
}
