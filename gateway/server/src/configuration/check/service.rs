//! `[service.NAME]` and the services that endpoints name: what their hosts look like, and what is wrong with one that does not fit.

use std::collections::BTreeMap;
use std::sync::Arc;

use egress::{HostFault, Service};

use super::super::document::{self, ChainKind, Document};
use super::super::mistakes::{MistakeKind, remedy_for};
use super::super::report::quote;
use super::super::url::Host;
use super::{Check, Owner};

/// The services of the document, by name.
#[derive(Debug, Default)]
pub(super) struct Services(BTreeMap<String, Arc<Service>>);

impl Check<'_> {
    pub(super) fn services(&mut self, document: &Document) -> Services {
        let mut services = Services::default();
        for (name, service) in &document.service {
            if egress::service(name).is_some() {
                let mark = self.place("service", name).key();
                let message = format!("service `{name}` is a shipped one");
                self.report.mend(MistakeKind::Duplicate, mark, message, "give yours a name of its own");
            }
            services.0.insert(name.clone(), Arc::new(self.service(name, service)));
        }
        services
    }

    fn service(&mut self, name: &str, service: &document::Service) -> Service {
        let at = self.place("service", name);
        let lists =
            [("hosts", Some(&service.hosts)), ("zones", service.zones.as_ref()), ("fronts", service.fronts.as_ref())];
        for (key, list) in lists {
            let setting = format!("service.{name}.{key}");
            let Some(list) = list else { continue };
            self.is_empty_list(at.at(key), &setting, list.len(), "name at least one");
            for (index, text) in list.iter().enumerate() {
                if !is_pattern(text) {
                    let message = format!("`{setting}`: {} is no name", quote(text));
                    let remedy = "write whole labels with dots between, as `*.llm.example`";
                    self.wrong(at.at(key).item(index).mark(), message, remedy);
                }
            }
        }
        if service.kind == ChainKind::AzureCname && service.zones.is_none() {
            let message = format!("service `{name}` has no `zones`, so no chain could be a private one");
            self.wrong(at.at("kind").mark(), message, "name the privatelink zone");
        }
        Service {
            name: name.to_owned(),
            title: name.to_owned(),
            kind: match service.kind {
                ChainKind::AzureCname => egress::ChainKind::AzureCname,
                ChainKind::SameName => egress::ChainKind::SameName,
                ChainKind::VipCname => egress::ChainKind::VipCname,
                ChainKind::VendorName => egress::ChainKind::VendorName,
            },
            hosts: service.hosts.clone(),
            wrong: Vec::new(),
            zones: service.zones.clone().unwrap_or_default(),
            fronts: service.fronts.clone().unwrap_or_default(),
            forward: Vec::new(),
            issuers: service.issuers.clone().unwrap_or_default(),
            ipv6: service.ipv6.unwrap_or(false),
            evidence: String::new(),
            sources: Vec::new(),
        }
    }

    /// The service that an endpoint names, with a host that can be one of it.
    pub(super) fn named_service(
        &mut self,
        owner: Owner<'_>,
        service: &str,
        host: Option<&Host>,
        services: &Services,
    ) -> Option<Arc<Service>> {
        let at = self.of(owner);
        let Some(found) = services.0.get(service).or_else(|| egress::service(service)) else {
            let mark = at.at("reach").at("private-link").at("service").mark();
            let known = egress::services().iter().map(|service| service.name.as_str());
            let known = known.chain(services.0.keys().map(String::as_str));
            let remedy = remedy_for(service, known, "the reference lists the services; `own` is any of your own");
            let message = format!("{owner}: {} is no service with a private link", quote(service));
            self.report.mend(MistakeKind::Reference, mark, message, remedy);
            return None;
        };
        let found = Arc::clone(found);
        if let Some(Host::Name(host)) = host
            && let Err(fault) = found.check_host(host)
        {
            let (message, remedy) = said_of(owner, &found, host, &fault);
            self.wrong(at.at("url").mark(), message, remedy);
        }
        Some(found)
    }
}

/// What is wrong with a host, and the right name where it can be told.
fn said_of(owner: Owner<'_>, service: &Service, host: &str, fault: &HostFault) -> (String, String) {
    let name = &service.name;
    match fault {
        HostFault::NoPrivateLink => (
            format!("{owner}: `{name}` ({}) has no private link", service.title),
            "declare it `reach = { public = {} }`, or choose a service that has one".to_owned(),
        ),
        HostFault::PrivateName { right } => (
            format!("{owner}: `{host}` is the private name, which no certificate carries (NET-07)"),
            match right {
                Some(right) => format!("write `https://{right}`; the chain of names leads there by itself"),
                None => format!("write the public name, which looks like `{}`", service.hosts.join("`, `")),
            },
        ),
        HostFault::Wrong(because) => {
            (format!("{owner}: `{host}` cannot be reached over a private link"), because.clone())
        }
        HostFault::Foreign { expected, other } => (
            format!("{owner}: `{host}` is no host of service `{name}`, which looks like `{expected}`"),
            match other {
                Some(other) => format!("did you mean `service = \"{other}\"`?"),
                None => "correct the url or the service; `service = \"own\"` takes every host".to_owned(),
            },
        ),
    }
}

fn is_pattern(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_*".contains(&byte);
    !text.is_empty() && text.split('.').all(|label| !label.is_empty() && label.bytes().all(plain))
}
