//! The services that can stand behind a private link: what their names look like, where a private answer may lead, and
//! what the public front looks like.
//!
//! "Private" is never "not a public address": Google's private addresses are public ones, and a forged answer can carry
//! an address of one's own network. So each service says where its chain of names may go, and the operator says in which
//! networks its addresses lie. The entries are data (`data/services.toml`), each with its sources; a configuration may
//! bring entries of its own.

use std::sync::{Arc, LazyLock};

use serde::Deserialize;

const SHIPPED: &str = include_str!("../data/services.toml");

/// How the public name of a service leads to a private address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChainKind {
    /// The public name points to a name in a privatelink zone, which owns the address.
    AzureCname,
    /// The private address stands on the public name itself.
    SameName,
    /// The public name points to a name of the provider's with fixed addresses.
    VipCname,
    /// The vendor's private name is dialled.
    VendorName,
    /// There is no private link.
    None,
}

impl ChainKind {
    /// The name as the data and the configuration have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AzureCname => "azure-cname",
            Self::SameName => "same-name",
            Self::VipCname => "vip-cname",
            Self::VendorName => "vendor-name",
            Self::None => "none",
        }
    }
}

/// One service: its rules, by which an answer is judged.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The name that `service = "…"` gives.
    pub name: String,
    /// What it is, in words.
    pub title: String,
    /// How its public name leads to a private address.
    pub kind: ChainKind,
    /// What a host of it looks like: labels in which `*` stands for any part; `**` alone is every host.
    pub hosts: Vec<String>,
    /// Hosts that name it and cannot work.
    #[serde(default)]
    pub wrong: Vec<WrongHost>,
    /// Names to which its chain may lead, themselves or below.
    #[serde(default)]
    pub zones: Vec<String>,
    /// Names of its public front, themselves or below.
    #[serde(default)]
    pub fronts: Vec<String>,
    /// Public zones to be forwarded to the private resolver.
    #[serde(default)]
    pub forward: Vec<String>,
    /// Organisations or common names of the issuers of its certificates; any where empty.
    #[serde(default)]
    pub issuers: Vec<String>,
    /// Whether a private address of it may be an IPv6 one.
    #[serde(default)]
    pub ipv6: bool,
    /// `documented` or `inferred`.
    #[serde(default)]
    pub evidence: String,
    /// Where this was read.
    #[serde(default)]
    pub sources: Vec<String>,
}

/// A host that names a service and cannot work.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrongHost {
    /// What it looks like.
    pub host: String,
    /// Why it cannot work, and what would.
    pub because: String,
}

/// What is wrong with the host of an endpoint that names a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostFault {
    /// The service has no private link.
    NoPrivateLink,
    /// The privatelink name is dialled, whose certificate carries the public name (NET-07).
    PrivateName {
        /// The public name, where it can be told.
        right: Option<String>,
    },
    /// A host that cannot work, with the reason.
    Wrong(String),
    /// The host looks like no host of the service.
    Foreign {
        /// What one looks like.
        expected: String,
        /// The service that the host looks like, where there is one.
        other: Option<&'static str>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shipped {
    service: Vec<Service>,
}

/// The services that are shipped.
#[must_use]
pub fn services() -> &'static [Arc<Service>] {
    static SERVICES: LazyLock<Vec<Arc<Service>>> = LazyLock::new(|| {
        let shipped: Shipped = toml::from_str(SHIPPED).expect("a test reads the shipped entries");
        shipped.service.into_iter().map(Arc::new).collect()
    });
    &SERVICES
}

/// The shipped service of this name.
#[must_use]
pub fn service(name: &str) -> Option<&'static Arc<Service>> {
    services().iter().find(|service| service.name == name)
}

impl Service {
    /// Whether the host can be one of this service, dialled over a private link.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and the right name where it can be told.
    pub fn check_host(&self, host: &str) -> Result<(), HostFault> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        if self.kind == ChainKind::None {
            return Err(HostFault::NoPrivateLink);
        }
        if self.hosts.iter().any(|pattern| fits(pattern, &host)) {
            return Ok(());
        }
        if self.kind == ChainKind::AzureCname
            && let Some(rest) = self.zones.iter().find_map(|zone| below(zone, &host))
        {
            let right = self.hosts.iter().find_map(|pattern| filled(pattern, &rest));
            return Err(HostFault::PrivateName { right });
        }
        if let Some(wrong) = self.wrong.iter().find(|wrong| fits(&wrong.host, &host)) {
            return Err(HostFault::Wrong(wrong.because.clone()));
        }
        let other = services().iter().find(|other| {
            other.hosts.iter().any(|pattern| pattern != "**" && fits(pattern, &host)) && other.name != self.name
        });
        let other = other.map(|other| other.name.as_str());
        Err(HostFault::Foreign { expected: self.hosts.join("`, `"), other })
    }

    /// Whether the name is one of the public front's.
    #[must_use]
    pub fn is_front(&self, name: &str) -> bool {
        lies_in(&self.fronts, name)
    }
}

/// Whether the name is one of `zones`, or lies below one.
pub(crate) fn lies_in(zones: &[String], name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    zones.iter().any(|zone| below(zone, &name).is_some())
}

/// The labels before the zone, where the name lies in it: empty for the zone itself.
fn below(zone: &str, name: &str) -> Option<String> {
    let (zone_labels, labels) = (labels(zone), labels(name));
    let head = labels.len().checked_sub(zone_labels.len())?;
    let same = zone_labels.iter().zip(labels.iter().skip(head)).all(|(pattern, label)| label_fits(pattern, label));
    same.then(|| labels.iter().take(head).copied().collect::<Vec<_>>().join("."))
}

fn labels(name: &str) -> Vec<&str> {
    name.trim_end_matches('.').split('.').collect()
}

fn fits(pattern: &str, host: &str) -> bool {
    let (patterns, hosts) = (labels(pattern), labels(host));
    pattern == "**"
        || patterns.len() == hosts.len()
            && patterns.iter().zip(hosts).all(|(pattern, label)| label_fits(pattern, label))
}

/// `*` stands for any part of a label that is not empty; the parts between stars come in their order.
fn label_fits(pattern: &str, label: &str) -> bool {
    let pattern = pattern.to_ascii_lowercase();
    let Some((head, rest)) = pattern.split_once('*') else { return pattern.eq_ignore_ascii_case(label) };
    let Some(mut label) = label.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let tail = parts.pop().unwrap_or_default();
    for part in parts {
        let Some((before, after)) = label.split_once(part) else { return false };
        if before.is_empty() {
            return false;
        }
        label = after;
    }
    label.strip_suffix(tail).is_some_and(|star| !star.is_empty())
}

/// The pattern with `rest` in the place of its leading stars, where there are as many labels of them.
fn filled(pattern: &str, rest: &str) -> Option<String> {
    let patterns = labels(pattern);
    let stars = patterns.iter().take_while(|label| **label == "*").count();
    let fixed = patterns.iter().skip(stars).copied().collect::<Vec<_>>().join(".");
    (stars == labels(rest).len() && !fixed.contains('*')).then(|| format!("{rest}.{fixed}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(name: &str, host: &str) -> Option<HostFault> {
        service(name).unwrap().check_host(host).err()
    }

    #[test]
    fn every_shipped_entry_is_whole() {
        for service in services() {
            let same = services().iter().filter(|other| other.name == service.name).count();
            assert_eq!(same, 1, "{}", service.name);
            assert!(!service.hosts.is_empty() && !service.title.is_empty(), "{}", service.name);
            assert!(["documented", "inferred"].contains(&service.evidence.as_str()), "{}", service.name);
            let plain = ["own"].contains(&service.name.as_str());
            assert!(plain || service.kind == ChainKind::None || !service.forward.is_empty(), "{}", service.name);
            assert!(plain || !service.sources.is_empty(), "{}", service.name);
            assert!(service.kind != ChainKind::AzureCname || !service.zones.is_empty(), "{}", service.name);
        }
    }

    #[test]
    fn a_host_of_the_service_is_taken() {
        for (name, host) in [
            ("azure-openai", "contoso-swc.openai.azure.com"),
            ("azure-openai", "Contoso.OpenAI.Azure.com."),
            ("bedrock-runtime", "bedrock-runtime.eu-central-1.amazonaws.com"),
            ("bedrock-runtime", "vpce-0a1b-c2d3.bedrock-runtime.eu-central-1.vpce.amazonaws.com"),
            ("vertex", "europe-west4-aiplatform.googleapis.com"),
            ("openai", "spaincentral.privatelink.api.openai.com"),
            ("own", "gpu.anything.example"),
        ] {
            assert_eq!(fault(name, host), None, "{name} {host}");
        }
    }

    #[test]
    fn the_privatelink_name_is_answered_with_the_public_one() {
        let right = |name: &str| Some(HostFault::PrivateName { right: Some(name.to_owned()) });

        assert_eq!(fault("azure-openai", "x.privatelink.openai.azure.com"), right("x.openai.azure.com"));
        assert_eq!(fault("azure-key-vault", "kv.privatelink.vaultcore.azure.net"), right("kv.vault.azure.net"));
    }

    #[test]
    fn a_host_of_another_service_is_told_apart() {
        let Some(HostFault::Foreign { other, .. }) = fault("azure-openai", "x.services.ai.azure.com") else { panic!() };
        assert_eq!(other, Some("azure-foundry"));
        assert!(matches!(
            fault("azure-openai", "swedencentral.api.cognitive.microsoft.com"),
            Some(HostFault::Wrong(_))
        ));
        assert!(matches!(fault("azure-openai", "openai.azure.com.evil.test"), Some(HostFault::Foreign { .. })));
        assert!(matches!(fault("azure-openai", "evilopenai.azure.com"), Some(HostFault::Foreign { .. })));
        assert_eq!(fault("anthropic", "api.anthropic.com"), Some(HostFault::NoPrivateLink));
    }

    #[test]
    fn a_zone_holds_itself_and_what_lies_below() {
        let zones = ["privatelink.openai.azure.com".to_owned(), "privatelink.*.azurecontainerapps.io".to_owned()];

        assert!(lies_in(&zones, "privatelink.openai.azure.com."));
        assert!(lies_in(&zones, "a.b.PrivateLink.openai.azure.com"));
        assert!(lies_in(&zones, "app.privatelink.westeurope.azurecontainerapps.io"));
        assert!(!lies_in(&zones, "xprivatelink.openai.azure.com"));
        assert!(!lies_in(&zones, "privatelink.openai.azure.com.evil.test"));
        assert!(!lies_in(&zones, ""));
    }
}
