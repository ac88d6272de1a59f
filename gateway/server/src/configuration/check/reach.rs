//! How an endpoint is reached: its URL, its networks, the resolver that may be asked for it, and its place.

use std::net::IpAddr;

use policy::Country;

use super::super::compile::ReachConfig;
use super::super::document::{DeclaredPlace, Place, Reach, Site};
use super::super::network::Network;
use super::super::report::quote;
use super::super::tree::{Cursor, Mark};
use super::super::url::{Host, Scheme, Url};
use super::resolvers::Zones;
use super::service::Services;
use super::{Check, Owner};

/// Where clouds answer for the machine itself. Nothing that serves a model lives there.
const METADATA: [&str; 2] = ["169.254.169.254", "fd00:ec2::254"];

impl Check<'_> {
    /// Reads the URL of an endpoint and sees that its reach allows it.
    pub(super) fn url(&mut self, owner: Owner<'_>, url: &str, reach: &Reach) -> Option<Url> {
        let mark = self.of(owner).at("url").mark();
        let setting = owner.setting("url");
        let url = match Url::parse(url) {
            Ok(url) => url,
            Err(fault) => {
                self.report.mistake(super::MistakeKind::Value, mark, format!("`{setting}` {fault}"));
                return None;
            }
        };
        let address = match &url.host {
            Host::Address(address) => Some(address.to_canonical()),
            Host::Name(_) => None,
        };
        if address.is_some_and(|address| address.is_unspecified() || address.is_multicast()) {
            self.wrong(
                mark,
                format!("`{setting}`: nothing can be reached at {}", url.host),
                "write the address of the server",
            );
        }
        if address.is_some_and(|address| METADATA.contains(&address.to_string().as_str())) {
            let message = format!("`{setting}`: {} is the metadata service of a cloud", url.host);
            self.wrong(mark, message, "it is never dialled");
        }
        let is_private = matches!(reach, Reach::Local { .. }) || address.is_some_and(|address| address.is_loopback());
        if url.scheme == Scheme::Http && !is_private {
            let message =
                format!("`{setting}` is plaintext, which only `reach = {{ local = … }}` and loopback addresses may be");
            let remedy = match owner.section {
                "store" => "write `valkeys://…`",
                "ledger" => "leave `?sslmode=disable` out",
                _ => "write `https://…`",
            };
            self.wrong(mark, message, remedy);
        }
        Some(url)
    }

    /// Checks how an endpoint is reached. The host is absent where the URL was wrong, and where a proxy resolves it.
    pub(super) fn reach(
        &mut self,
        owner: Owner<'_>,
        reach: &Reach,
        host: Option<&Host>,
        (zones, services): (&Zones, &Services),
    ) -> Option<ReachConfig> {
        let at = self.of(owner).at("reach");
        let config = match reach {
            Reach::Local { within } => {
                let within = self.within(at.at("local").at("within"), &owner.setting("reach.local.within"), within);
                ReachConfig::Local { within: within? }
            }
            Reach::PrivateLink { service, within, resolver, expect } => {
                let at = at.at("private-link");
                let setting = owner.setting("reach.private-link");
                let service = self.named_service(owner, service, host, services);
                let within = self.within(at.at("within"), &format!("{setting}.within"), within);
                if let Some(expect) = expect {
                    let remedy = "no chain would fit; leave it out for those of the service";
                    self.is_empty_list(at.at("expect"), &format!("{setting}.expect"), expect.len(), remedy);
                }
                let resolver = resolver.as_ref().map(|resolver| self.named_resolver(owner, resolver, host, zones));
                ReachConfig::PrivateLink {
                    service: service?,
                    within: within?,
                    resolver: resolver.map_or(Some(None), |found| found.map(Some))?,
                    expect: expect.clone().unwrap_or_default(),
                }
            }
            Reach::Public {} => ReachConfig::Public,
        };
        match host {
            Some(Host::Address(address)) => self.inside((owner, self.of(owner).at("url").mark()), *address, &config),
            Some(Host::Name(host)) => {
                self.resolvable((owner, self.of(owner).at("url").mark()), host, &config, zones);
            }
            None => {}
        }
        Some(config)
    }

    fn within(&mut self, at: Cursor<'_>, setting: &str, within: &[String]) -> Option<Vec<Network>> {
        let remedy = "name the networks in which its addresses lie, as `\"10.20.0.0/16\"`";
        if self.is_empty_list(at, setting, within.len(), remedy) {
            return None;
        }
        self.networks(at, setting, within)
    }

    /// The resolver that a private link names: it must exist and have a zone that holds the host.
    fn named_resolver(
        &mut self,
        owner: Owner<'_>,
        resolver: &str,
        host: Option<&Host>,
        zones: &Zones,
    ) -> Option<usize> {
        let mark = self.of(owner).at("reach").at("private-link").at("resolver").mark();
        if !self.is_defined("resolver", resolver) {
            self.dangling(mark, &owner.to_string(), "resolver", resolver);
            return None;
        }
        if let Some(Host::Name(host)) = host
            && self.walked.is_whole("resolver", resolver)
            && !zones.is_partial
            && !zones.holds(resolver, host)
        {
            let message = format!("resolver `{resolver}` has no zone that holds `{host}`");
            let remedy = format!("add one to `resolver.{resolver}.zones`, such as `\"{}\"`", parent(host));
            self.wrong(mark, message, remedy);
        }
        self.index_of("resolver", resolver)
    }

    /// An address is known now, so a range that does not hold it can be reported now.
    pub(super) fn inside(&mut self, (owner, mark): (Owner<'_>, Mark), address: IpAddr, config: &ReachConfig) {
        let (ReachConfig::Local { within } | ReachConfig::PrivateLink { within, .. }) = config else { return };
        if !within.iter().any(|network| network.contains(address)) {
            let ranges: Vec<String> = within.iter().map(ToString::to_string).collect();
            let message = format!("{owner}: {address} is outside its `within`, {}", ranges.join(", "));
            self.wrong(mark, message, "correct the address, or the networks");
        }
    }

    /// A name in no zone is asked of no one, so the endpoint could never be reached.
    pub(super) fn resolvable(
        &mut self,
        (owner, mark): (Owner<'_>, Mark),
        host: &str,
        config: &ReachConfig,
        zones: &Zones,
    ) {
        if host == "localhost" {
            let message = format!("{owner}: `localhost` is a name, and may be another address for every resolver");
            self.wrong(mark, message, "write `127.0.0.1`");
            return;
        }
        if matches!(config, ReachConfig::PrivateLink { resolver: Some(_), .. })
            || zones.is_partial
            || !self.walked.all_whole("resolver")
        {
            return;
        }
        let Some(resolver) = zones.resolver_of(host) else {
            let message = format!("{owner}: no resolver may be asked for `{host}`");
            let remedy = format!("add its zone to a `[resolver.NAME]`, such as `zones = [\"{}\"]`", parent(host));
            self.wrong(mark, message, remedy);
            return;
        };
        if zones.is_system(resolver) && *config != ReachConfig::Public {
            let message = format!(
                "{owner}: `{host}` would be asked of the system resolver, which serves only `reach = {{ public = {{}} }}`"
            );
            self.wrong(mark, message, "name the servers that answer for it in a `[resolver.NAME]`");
        }
    }

    pub(super) fn endpoint_place(&mut self, name: &str, place: &Place) {
        let at = self.place("endpoint", name).at("place");
        match place {
            Place::Site(site) => {
                if !self.is_defined("site", site) {
                    self.dangling(at.at("site").mark(), &format!("endpoint `{name}`"), "site", site);
                }
            }
            Place::Declared(declared) => self.declared(name, at.at("declared"), declared),
            Place::Azure(_)
            | Place::Bedrock(_)
            | Place::Vertex(_)
            | Place::Openai(_)
            | Place::Anthropic(_)
            | Place::Mistral(_) => {}
        }
    }

    fn declared(&mut self, name: &str, at: Cursor<'_>, declared: &DeclaredPlace) {
        let setting = |key: &str| format!("endpoint.{name}.place.declared.{key}");
        let lists = [
            ("processing", Some(&declared.processing)),
            ("at_rest", Some(&declared.at_rest)),
            ("access_from", declared.access_from.as_ref()),
        ];
        for (key, countries) in lists {
            let Some(countries) = countries else { continue };
            let list = at.at(key);
            self.is_empty_list(list, &setting(key), countries.len(), "an empty set is unknown, never harmless");
            for (index, country) in countries.iter().enumerate() {
                self.country(list.item(index), &setting(key), country);
            }
        }
        self.country(at.at("operator"), &setting("operator"), &declared.operator);
        if let Some(parent) = &declared.operator_parent {
            self.country(at.at("operator_parent"), &setting("operator_parent"), parent);
        }
        if declared.because.trim().is_empty() {
            let message = format!("`{}` is blank", setting("because"));
            self.wrong(at.at("because").mark(), message, "name the contract or document that it rests on");
        }
    }

    pub(super) fn site(&mut self, name: &str, site: &Site) {
        let at = self.place("site", name);
        self.country(at.at("country"), &format!("site.{name}.country"), &site.country);
        if let Some(operator) = &site.operator {
            self.country(at.at("operator"), &format!("site.{name}.operator"), operator);
        }
    }

    fn country(&mut self, at: Cursor<'_>, setting: &str, country: &str) {
        if country.parse::<Country>().is_ok() {
            return;
        }
        let upper = country.to_ascii_uppercase();
        let remedy = if upper != country && upper.parse::<Country>().is_ok() {
            format!("write `{upper}`")
        } else {
            "write two capital letters of ISO 3166-1, such as `DE`".to_owned()
        };
        self.wrong(at.mark(), format!("`{setting}`: {} is no country code", quote(country)), remedy);
    }
}

fn parent(host: &str) -> &str {
    host.split_once('.').map_or(host, |(_, parent)| parent)
}
