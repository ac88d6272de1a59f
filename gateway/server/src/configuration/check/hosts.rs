//! `[identity.NAME]`: where the gateway asks for the tokens that it shows.

use super::super::compile::IdentityConfig;
use super::super::document::{Document, Identity};
use super::resolvers::Zones;
use super::service::Services;
use super::{Check, Owner, via};

impl Check<'_> {
    pub(super) fn identity_hosts(&mut self, document: &Document, network: (&Zones, &Services)) -> Vec<IdentityConfig> {
        let hosts = document.identity.iter();
        hosts.filter_map(|(name, identity)| self.identity_host(name, identity, network)).collect()
    }

    fn identity_host(
        &mut self,
        name: &str,
        identity: &Identity,
        network: (&Zones, &Services),
    ) -> Option<IdentityConfig> {
        let owner = Owner { section: "identity", name };
        let url = self.url(owner, &identity.url, &identity.reach);
        if url.as_ref().is_some_and(|url| !url.path.is_empty()) {
            let message = format!("`{}` has a path", owner.setting("url"));
            self.wrong(self.of(owner).at("url").mark(), message, "write the host alone; the tenant stands in `auth`");
        }
        let host = url.as_ref().map(|url| &url.host).filter(|_| !via::resolves(identity.via.as_ref()));
        let reach = self.reach(owner, &identity.reach, host, network);
        let tls = url.as_ref().map(|url| self.endpoint_tls(owner, url, identity.tls.as_ref()));
        let transport = self.transport(owner, identity.transport.as_ref(), &identity.reach);
        let via = identity
            .via
            .as_ref()
            .map(|via| self.via(owner, via, (url.as_ref().map(|url| url.scheme), &identity.reach), network.0));
        let url = url?;
        Some(IdentityConfig {
            name: name.to_owned(),
            scheme: url.scheme,
            host: url.host,
            port: url.port,
            reach: reach?,
            tls: tls.flatten(),
            transport: transport?,
            via: via.map_or(Some(None), |found| found.map(Some))?,
        })
    }
}
