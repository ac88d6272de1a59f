//! `[resolver.NAME]`: who is asked for which zone.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::super::compile::{ResolverConfig, ResolverServers, ResolverTls, ResolverTransport};
use super::super::document::{Document, Resolver, Transport};
use super::super::mistakes::MistakeKind;
use super::super::report::quote;
use super::super::tree::{Cursor, Mark};
use super::super::url::dns_name;
use super::Check;

/// The resolvers with an index from zone to resolver.
#[derive(Debug, Default)]
pub(super) struct Zones {
    pub(super) resolvers: Vec<ResolverConfig>,
    by_zone: BTreeMap<String, (String, Mark)>,
    /// Whether a zone was left out because something is wrong with it.
    pub(super) is_partial: bool,
}

impl Zones {
    /// The name of the resolver whose zone holds `host`: the longest zone wins.
    pub(super) fn resolver_of(&self, host: &str) -> Option<&str> {
        let mut rest = Some(host);
        while let Some(suffix) = rest {
            if let Some((resolver, _)) = self.by_zone.get(suffix) {
                return Some(resolver);
            }
            rest = suffix.split_once('.').map(|(_, parent)| parent);
        }
        self.by_zone.get(".").map(|(resolver, _)| resolver.as_str())
    }

    /// Whether a zone of `resolver` holds `host`.
    pub(super) fn holds(&self, resolver: &str, host: &str) -> bool {
        let zones = self.by_zone.iter().filter(|(_, (name, _))| name == resolver).map(|(zone, _)| zone.as_str());
        zones
            .into_iter()
            .any(|zone| zone == "." || host == zone || host.strip_suffix(zone).is_some_and(|head| head.ends_with('.')))
    }

    /// Whether `resolver` is that of the operating system.
    pub(super) fn is_system(&self, resolver: &str) -> bool {
        let found = self.resolvers.iter().find(|config| config.name == resolver);
        found.is_some_and(|config| config.servers == ResolverServers::System)
    }
}

impl Check<'_> {
    pub(super) fn resolvers(&mut self, document: &Document) -> Zones {
        let mut zones = Zones::default();
        for (name, resolver) in &document.resolver {
            let at = self.place("resolver", name);
            let own_zones = self.zones(at.at("zones"), name, &resolver.zones, &mut zones);
            let servers = self.servers(at, name, resolver);
            let stale_grace = self.stale_grace(at.at("stale_grace"), name, resolver.stale_grace.as_deref());
            if let Some(servers) = servers {
                zones.resolvers.push(ResolverConfig { name: name.clone(), zones: own_zones, servers, stale_grace });
            }
        }
        zones
    }

    fn zones(&mut self, at: Cursor<'_>, resolver: &str, texts: &[String], zones: &mut Zones) -> Vec<String> {
        let setting = format!("resolver.{resolver}.zones");
        self.is_empty_list(
            at,
            &setting,
            texts.len(),
            "a resolver without a zone is never asked; `\".\"` is every name",
        );
        let mut own = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let mark = at.item(index).mark();
            let name = text.trim_start_matches('.');
            let Some(zone) = (if text == "." { Some(".".to_owned()) } else { dns_name(name).filter(|_| name == text) })
            else {
                let remedy = "write it as `corp.example`, without a star or a dot before it";
                self.wrong(mark, format!("`{setting}`: {} is no DNS zone", quote(text)), remedy);
                zones.is_partial = true;
                continue;
            };
            if let Some((other, earlier)) = zones.by_zone.get(&zone) {
                let earlier = self.report.position(*earlier);
                let message = format!("zone `{zone}` is also listed by resolver `{other}` at {earlier}");
                self.report.mend(
                    MistakeKind::Duplicate,
                    mark,
                    message,
                    "a zone has one resolver; list its servers there",
                );
                continue;
            }
            zones.by_zone.insert(zone.clone(), (resolver.to_owned(), mark));
            own.push(zone);
        }
        own
    }

    fn servers(&mut self, at: Cursor<'_>, name: &str, resolver: &Resolver) -> Option<ResolverServers> {
        let setting = format!("resolver.{name}.servers");
        let list = at.at("servers");
        if self.is_empty_list(list, &setting, resolver.servers.len(), "name at least one server, as `\"10.10.0.4:53\"`")
        {
            return None;
        }
        let transport = self.resolver_transport(at, name, resolver);
        if resolver.servers.iter().any(|server| server == "system") {
            return self.system(at, name, resolver);
        }
        let mut servers = Vec::new();
        for (index, text) in resolver.servers.iter().enumerate() {
            match text.parse::<SocketAddr>() {
                Ok(address) if address.port() != 0 => servers.push(address),
                _ => {
                    let remedy = "write it as `10.10.0.4:53`, or `system`";
                    let message = format!("`{setting}`: {} is no address with a port", quote(text));
                    self.wrong(list.item(index).mark(), message, remedy);
                }
            }
        }
        self.no_repeats(list, &setting, &resolver.servers, |text| quote(text));
        (servers.len() == resolver.servers.len())
            .then_some(ResolverServers::Addresses { servers, transport: transport? })
    }

    fn system(&mut self, at: Cursor<'_>, name: &str, resolver: &Resolver) -> Option<ResolverServers> {
        if resolver.servers.len() > 1 {
            let message = format!("`resolver.{name}.servers` mixes `system` with other servers");
            self.wrong(
                at.at("servers").mark(),
                message,
                "`system` stands alone; give the others a resolver of their own",
            );
            return None;
        }
        if resolver.transport.is_some() || resolver.server_name.is_some() || resolver.ca.is_some() {
            let message = format!("`resolver.{name}` says how `system` is asked, which the operating system decides");
            self.wrong(at.mark(), message, "leave `transport`, `server_name` and `ca` out");
        }
        Some(ResolverServers::System)
    }

    fn resolver_transport(&mut self, at: Cursor<'_>, name: &str, resolver: &Resolver) -> Option<ResolverTransport> {
        let transport = resolver.transport.unwrap_or(Transport::UdpTcp);
        let ca = resolver.ca.as_ref().map(|ca| self.authorities(at.at("ca"), &format!("resolver.{name}.ca"), ca));
        if transport == Transport::UdpTcp {
            for setting in ["server_name", "ca"].into_iter().filter(|setting| at.at(setting).exists()) {
                let message = format!("`resolver.{name}.{setting}` has no effect without TLS");
                self.wrong(
                    at.at(setting).mark(),
                    message,
                    "set `transport` to `\"tls\"` or `\"https\"`, or leave it out",
                );
            }
            return Some(ResolverTransport::UdpTcp);
        }
        let Some(server_name) = resolver.server_name.as_deref().and_then(dns_name) else {
            let message = format!("`resolver.{name}.server_name` is needed to check the servers' certificates");
            self.wrong(at.at("server_name").mark(), message, "write the DNS name that stands in them");
            return None;
        };
        let tls = ResolverTls { server_name, ca: ca.map_or(Some(None), |found| found.map(Some))? };
        Some(if transport == Transport::Tls { ResolverTransport::Tls(tls) } else { ResolverTransport::Https(tls) })
    }
}
