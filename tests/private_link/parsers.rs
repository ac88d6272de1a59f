//! What `causeway netplan` prints, read by the programs that it is printed for.

use std::process::Command;

use crate::lab::{Lab, Settings};
use crate::{asked_for, not_tested};

fn printed(lab: &Lab, format: &str) -> String {
    let configuration = lab.configure(&Settings::default());
    let path = configuration.to_string_lossy();
    let all = ["netplan", "--format", format, "--callers", "192.168.8.0/24", "--ntp", "10.10.0.123", "--config", &path];
    let (code, text, errors) = lab.causeway(&all);
    assert_eq!((code, errors.as_str()), (0, ""), "{text}");
    text
}

#[test]
fn nft_takes_the_rules_and_says_so_when_it_does_not() {
    let Some(lab) = crate::build() else { return };
    let rules = printed(&lab, "nft");

    lab.premises.must("nft", &["-c", "-f", "-"], &rules);

    let broken = rules.replacen("accept", "acept", 1);
    assert_ne!(lab.premises.feed("nft", &["-c", "-f", "-"], &broken).0, 0, "the check can fail");
}

#[test]
fn systemd_takes_the_drop_in_and_says_so_when_it_does_not() {
    let Some(lab) = crate::build() else { return };
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return not_tested("the systemd drop-in of netplan: there is no systemd-analyze");
    }
    let drop_in = printed(&lab, "systemd");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let unit = folder.path().join("causeway.service");
    std::fs::write(&unit, "[Service]\nExecStart=/bin/true\n").expect("the folder can be written");
    let parts = folder.path().join("causeway.service.d");
    std::fs::create_dir(&parts).expect("the folder can be written");
    let verified = |text: &str| {
        std::fs::write(parts.join("netplan.conf"), text).expect("the folder can be written");
        let run = Command::new("systemd-analyze").args(["--man=no", "verify"]).arg(&unit).output();
        String::from_utf8_lossy(&run.expect("it is installed").stderr).into_owned()
    };

    let complaints = verified(&drop_in);

    assert!(!complaints.contains("netplan.conf"), "{complaints}");
    let broken = verified(&drop_in.replace("IPAddressAllow=10.20.0.0/16", "IPAddressAllow=10.20.0.0/160"));
    assert!(broken.contains("netplan.conf"), "the check can fail: {broken}");
}

#[test]
fn kubernetes_schema_takes_the_network_policy_and_says_so_when_it_does_not() {
    if !asked_for() {
        return;
    }
    let Some(python) = std::env::var("CAUSEWAY_LAB_PYTHON").ok().filter(|python| !python.is_empty()) else {
        return not_tested(
            "the network policy against Kubernetes' schema: CAUSEWAY_LAB_PYTHON names no Python that has it",
        );
    };
    let lab = Lab::build();
    let policy = printed(&lab, "networkpolicy");
    let program = "import sys, yaml, kubernetes_validate\n\
                   kubernetes_validate.validate(yaml.safe_load(sys.stdin), '1.29', strict=True)\n";

    lab.premises.must(&python, &["-c", program], &policy);

    let broken = policy.replacen("\"cidr\"", "\"cider\"", 1);
    assert_ne!(lab.premises.feed(&python, &["-c", program], &broken).0, 0, "the check can fail");
    let ranges = lab.premises.must(
        &python,
        &["-c", "import sys, yaml\nfor rule in yaml.safe_load(sys.stdin)['spec']['egress']: print(rule['to'][0]['ipBlock']['cidr'], rule['ports'][0]['port'])\n"],
        &policy,
    );
    assert_eq!(
        ranges,
        "10.10.0.4/32 53\n10.10.0.4/32 53\n10.20.0.0/16 443\n192.168.0.40/32 8000\n10.10.0.123/32 123\n"
    );
}

#[test]
fn terraforms_language_takes_the_hub_and_says_so_when_it_does_not() {
    if !asked_for() {
        return;
    }
    let Some(python) = std::env::var("CAUSEWAY_LAB_PYTHON").ok().filter(|python| !python.is_empty()) else {
        return not_tested("Terraform's language: CAUSEWAY_LAB_PYTHON names no Python that reads it");
    };
    let lab = Lab::build();
    let hub = printed(&lab, "terraform");
    let program =
        "import sys, hcl2\nfor block in hcl2.load(sys.stdin)['resource']: print(*[k.strip('\"') for k in block])\n";

    let kinds = lab.premises.must(&python, &["-c", program], &hub);

    let mut kinds: Vec<&str> = kinds.lines().collect();
    kinds.sort_unstable();
    assert_eq!(
        kinds,
        [
            "azurerm_firewall_policy_rule_collection_group",
            "azurerm_private_dns_resolver",
            "azurerm_private_dns_resolver_inbound_endpoint",
            "azurerm_private_dns_zone",
            "azurerm_private_dns_zone_virtual_network_link",
        ]
    );
    let broken = hub.replacen("{", "(", 1);
    assert_ne!(lab.premises.feed(&python, &["-c", program], &broken).0, 0, "the check can fail");
}
