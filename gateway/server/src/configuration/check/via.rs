//! `endpoint.NAME.via` and `identity.NAME.via`: a proxy on the way.

use super::super::compile::{ReachConfig, ViaConfig};
use super::super::document::{Reach, Via, ViaConnect};
use super::super::url::{Host, Scheme, Url};
use super::resolvers::Zones;
use super::{Check, MistakeKind, Owner};

/// Whether a proxy is told the name, and resolves it in the gateway's place.
pub(super) fn resolves(via: Option<&Via>) -> bool {
    via.is_some_and(|via| via.connect == Some(ViaConnect::Name))
}

impl Check<'_> {
    pub(super) fn via(
        &mut self,
        owner: Owner<'_>,
        via: &Via,
        (scheme, reach): (Option<Scheme>, &Reach),
        zones: &Zones,
    ) -> Option<ViaConfig> {
        let at = self.of(owner).at("via");
        let setting = |key: &str| owner.setting(&format!("via.{key}"));
        if scheme == Some(Scheme::Http) {
            let message =
                format!("`{}`: without TLS nothing would show what is met beyond the proxy", owner.setting("via"));
            self.wrong(at.mark(), message, "write `https://…` into `url`, or leave `via` out");
        }
        let url = self.proxy(owner, via);
        let remedy = "name the networks in which the proxy's addresses lie";
        let empty = self.is_empty_list(at.at("within"), &setting("within"), via.within.len(), remedy);
        let within = (!empty).then(|| self.networks(at.at("within"), &setting("within"), &via.within)).flatten();
        let by_name = resolves(Some(via));
        if by_name && !matches!(reach, Reach::Public {}) {
            let message =
                format!("`{}`: the proxy would resolve a name that only the gateway may resolve", setting("connect"));
            let remedy = "write `\"address\"`; `\"name\"` is for what is reached with `{ public = {} }`";
            self.wrong(at.at("connect").mark(), message, remedy);
        }
        let ca = via.ca.as_ref().map(|ca| self.authorities(at.at("ca"), &setting("ca"), ca));
        let (url, within) = (url?, within?);
        let is_tls = url.scheme == Scheme::Https;
        if via.ca.is_some() && !is_tls {
            let message = format!("`{}` has no effect without TLS to the proxy", setting("ca"));
            self.wrong(at.at("ca").mark(), message, "write `https://…` into `proxy`, or leave it out");
        }
        let of_proxy = (owner, at.at("proxy").mark());
        let own = ReachConfig::Local { within: within.clone() };
        match &url.host {
            Host::Address(address) => self.inside(of_proxy, *address, &own),
            Host::Name(host) => self.resolvable(of_proxy, host, &own, zones),
        }
        let ca = ca.map_or(Some(None), |found| found.map(Some))?;
        Some(ViaConfig { host: url.host, port: url.port, is_tls, ca, within, by_name })
    }

    fn proxy(&mut self, owner: Owner<'_>, via: &Via) -> Option<Url> {
        let mark = self.of(owner).at("via").at("proxy").mark();
        let setting = owner.setting("via.proxy");
        match Url::parse(&via.proxy) {
            Ok(url) if url.path.is_empty() => Some(url),
            Ok(_) => {
                let remedy = "write it as `http://proxy.corp.example:3128`";
                self.wrong(mark, format!("`{setting}` has a path, for which no proxy is asked"), remedy);
                None
            }
            Err(fault) => {
                self.report.mistake(MistakeKind::Value, mark, format!("`{setting}` {fault}"));
                None
            }
        }
    }
}
