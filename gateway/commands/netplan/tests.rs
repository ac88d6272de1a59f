use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use super::plan::{Plan, Surroundings};
use super::*;

const DOCUMENT: &str = r#"
[listen]
address = "127.0.0.1:8443"

[health]
address = "0.0.0.0:8080"

[state]
folder = "/var/lib/causeway"

[resolver.hub]
zones   = ["openai.azure.com", "privatelink.openai.azure.com"]
servers = ["10.10.0.4:53", "10.10.0.5:53"]

[resolver.machine]
zones   = ["api.openai.com"]
servers = ["system"]

[endpoint.aoai]
provider = "azure-openai"
url      = "https://contoso.openai.azure.com"
reach    = { private-link = { service = "azure-openai", within = ["10.20.0.0/16", "10.20.1.0/24"], resolver = "hub" } }

[endpoint.gpu-01]
provider = "openai"
url      = "http://192.168.40.7:8000/v1"
reach    = { local = { within = ["192.168.40.0/24"] } }
signals  = { metrics = "http://192.168.40.7:8000/metrics" }

[endpoint.here]
provider = "openai"
url      = "http://127.0.0.1:8000/v1"
reach    = { local = { within = ["127.0.0.0/8"] } }

[endpoint.openai]
provider = "openai"
url      = "https://api.openai.com/v1"
reach    = { public = {} }

[model.chat]
targets = ["aoai/gpt-4o"]

[app.claims]
team   = "insurance"
keys   = ["sha256:63e6b9b5bf5e5f0c4d2a3d3f2e8dbb0b25d2a1f6d2e30c1a7e9f0a4b5c6d7e8f"]
models = ["chat"]

[policy]
approve = ["aoai", "openai"]

[data.claims]
labels = []
"#;

fn plan(document: &str, surroundings: Surroundings) -> Plan {
    let mut options = load::options(UNIX_EPOCH);
    options.secrets = Secrets::Skip;
    let compiled = configuration::load_text([(PathBuf::from("causeway.toml"), document.to_owned())], &options);
    Plan::of(&compiled.unwrap_or_else(|mistakes| panic!("{mistakes}")), surroundings)
}

fn surrounded() -> Plan {
    let surroundings = Surroundings {
        callers: vec!["10.8.0.0/16".parse().unwrap()],
        time_servers: vec!["10.10.0.123".parse().unwrap()],
        managers: vec!["10.9.0.0/24".parse().unwrap()],
        user: None,
    };
    plan(DOCUMENT, surroundings)
}

#[test]
fn the_table_names_every_forwarder_flow_door_and_exception() {
    let text = printed(&surrounded(), Format::Csv);

    for line in [
        "forwarder,hub,,10.10.0.4,,53,openai.azure.com,",
        "forwarder,hub,,10.10.0.5,,53,privatelink.openai.azure.com,",
        "egress-resolver,hub,gateway,10.10.0.4/32,udp,53,,",
        "egress-resolver,hub,gateway,10.10.0.5/32,tcp,53,,",
        "egress-resolver,machine,gateway,system,udp,53,,",
        "egress-endpoint,aoai,gateway,10.20.0.0/16 10.20.1.0/24,tcp,443,contoso.openai.azure.com,",
        "egress-endpoint,openai,gateway,api.openai.com,tcp,443,api.openai.com,",
        "egress-endpoint,here,gateway,127.0.0.1/32,tcp,8000,127.0.0.1,stays on the machine",
        "egress-time,ntp,gateway,10.10.0.123/32,udp,123,,",
        "ingress,probes,10.8.0.0/16,gateway,tcp,8080,,",
        "tls-inspection-bypass,aoai,,,,,contoso.openai.azure.com,",
    ] {
        assert!(text.lines().any(|found| found.starts_with(line)), "no `{line}` in\n{text}");
    }
    assert!(text.contains("egress-endpoint,gpu-01,gateway,192.168.40.7/32,tcp,8000"), "{text}");
    assert!(!text.contains("ingress,callers"), "a listener on loopback needs no rule: {text}");
}

#[test]
fn the_same_configuration_prints_the_same_bytes_in_whatever_order_it_is_written() {
    let (head, endpoints) = DOCUMENT.split_once("[endpoint.aoai]").unwrap();
    let (endpoints, rest) = endpoints.split_once("[model.chat]").unwrap();
    let (first, others) = endpoints.split_once("[endpoint.here]").unwrap();
    let turned = format!("{head}[endpoint.here]{others}[endpoint.aoai]{first}[model.chat]{rest}");

    for format in Format::value_variants() {
        let one = printed(&plan(DOCUMENT, Surroundings::default()), *format);
        let other = printed(&plan(&turned, Surroundings::default()), *format);

        assert_eq!(one, other, "{format:?}");
        assert!(!one.is_empty(), "{format:?}");
    }
}

#[test]
fn nftables_let_through_what_is_listed_and_merge_what_overlaps() {
    let text = printed(&surrounded(), Format::Nft);

    assert!(text.contains("policy drop"), "{text}");
    assert!(text.contains("ip daddr { 10.20.0.0/16 } tcp dport 443 accept comment \"endpoint aoai\""), "{text}");
    assert!(text.contains("ip daddr { 10.10.0.4/32 } udp dport 53 accept"), "{text}");
    assert!(text.contains("ip saddr { 10.8.0.0/16 } tcp dport 8080 accept comment \"probes\""), "{text}");
    assert!(text.contains("ip saddr { 10.9.0.0/24 } tcp dport 22 accept"), "{text}");
    assert!(text.contains("# endpoint openai: api.openai.com is on the internet"), "{text}");
    assert!(!text.contains("127.0.0.1"), "what stays on the machine needs no rule: {text}");
}

#[test]
fn only_one_user_is_restricted_when_asked() {
    let surroundings = Surroundings { user: Some("causeway".to_owned()), ..Surroundings::default() };

    let text = printed(&plan(DOCUMENT, surroundings), Format::Nft);

    assert!(text.contains("meta skuid != \"causeway\" accept"), "{text}");
    assert!(!text.contains("hook input") && !text.contains("hook forward"), "{text}");
    assert!(text.contains("counter drop"), "{text}");
}

#[test]
fn a_user_cannot_become_a_rule() {
    let surroundings = Surroundings { user: Some("x\" accept\naccept #".to_owned()), ..Surroundings::default() };

    let text = printed(&plan(DOCUMENT, surroundings), Format::Nft);

    assert!(text.contains("meta skuid != \"x acceptaccept #\" accept\n"), "{text}");
}

#[test]
fn systemd_hears_of_callers_since_its_filter_works_both_ways() {
    let text = printed(&surrounded(), Format::Systemd);

    assert!(text.contains("IPAddressDeny=any\nIPAddressAllow=localhost\n"), "{text}");
    for network in ["10.8.0.0/16", "10.10.0.4/32", "10.10.0.123/32", "10.20.0.0/16", "192.168.40.7/32"] {
        assert!(text.contains(&format!("IPAddressAllow={network}\n")), "{network}: {text}");
    }
    let alone = plan(DOCUMENT, Surroundings::default());
    assert!(alone.warnings(true).iter().any(|warning| warning.contains("--callers")));
    assert!(!surrounded().warnings(true).iter().any(|warning| warning.contains("--callers")));
}

#[test]
fn what_no_rule_for_addresses_can_hold_is_said() {
    let warnings = surrounded().warnings(false);

    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings.iter().any(|warning| warning.contains("`api.openai.com` has no addresses")), "{warnings:?}");
    assert!(warnings.iter().any(|warning| warning.contains("/etc/resolv.conf")), "{warnings:?}");
}

#[test]
fn a_proxy_is_told_each_name_behind_tls_once() {
    assert_eq!(printed(&surrounded(), Format::Bypass), "api.openai.com\ncontoso.openai.azure.com\n");
}

#[test]
fn an_azure_hub_gets_each_private_zone_once_the_resolvers_addresses_and_the_rules() {
    let plan = surrounded();

    for text in [printed(&plan, Format::Bicep), printed(&plan, Format::Terraform)] {
        for part in [
            "privatelink.openai.azure.com",
            "10.10.0.4",
            "10.10.0.5",
            "endpoint-aoai-tcp-443",
            "resolver-hub-udp-53-2",
            "10.20.0.0/16",
            "api.openai.com",
        ] {
            assert!(text.contains(part), "no {part} in\n{text}");
        }
        // A missing record must stay an error.
        assert!(text.contains("Default") && !text.contains("NxDomainRedirect"), "{text}");
        assert!(!text.contains("127.0.0.1"), "{text}");
        assert_eq!(text.matches('{').count(), text.matches('}').count(), "{text}");
    }
    let table = printed(&plan, Format::Csv);
    assert!(table.contains("private-zone,aoai,,,,,privatelink.openai.azure.com,"), "{table}");
}

#[test]
fn an_endpoint_behind_a_proxy_is_listed_with_the_proxy_and_its_own_way_is_not_opened() {
    let over = r#"reach    = { public = {} }
via      = { proxy = "http://192.168.9.9:3128", within = ["192.168.9.0/24"], connect = "name" }"#;
    let plan = plan(&DOCUMENT.replace("reach    = { public = {} }", over), Surroundings::default());

    let (table, rules) = (printed(&plan, Format::Csv), printed(&plan, Format::Nft));

    let line = "egress-endpoint,openai,gateway,192.168.9.9/32,tcp,3128,api.openai.com,\"over the proxy 192.168.9.9:3128, by CONNECT\"\n";
    assert!(table.contains(line), "{table}");
    assert!(table.contains("tls-inspection-bypass,openai,,,,,api.openai.com,"), "{table}");
    assert!(rules.contains("ip daddr { 192.168.9.9/32 } tcp dport 3128 accept comment \"endpoint openai\""), "{rules}");
    assert!(!rules.contains("on the internet"), "{rules}");
}

#[test]
fn a_plan_without_azure_has_no_zones_to_make() {
    let document = DOCUMENT.replace("azure-openai\", within", "own\", within");

    let text = printed(&plan(&document, Surroundings::default()), Format::Bicep);

    assert!(!text.contains("privateDnsZones@") && !text.contains("dnsResolvers@"), "{text}");
}
