//! The plan for an Azure hub, for Terraform's `azurerm` provider.

use super::azure::{self, Language, Rule, one_line};
use super::plan::Plan;

const HEAD: &str = "\
# Printed by `causeway netplan --format terraform`; change the configuration, not this file.

terraform {
  required_providers {
    azurerm = {
      source  = \"hashicorp/azurerm\"
      version = \">= 4.0\"
    }
  }
}

variable \"resource_group_name\" {
  type = string
}

variable \"location\" {
  type = string
}

variable \"hub_network_id\" {
  description = \"The virtual network in which the DNS Private Resolver lies. The zones are linked to it, not to the spokes.\"
  type        = string
}

variable \"inbound_subnet_id\" {
  description = \"The subnet that is delegated to Microsoft.Network/dnsResolvers.\"
  type        = string
}

variable \"firewall_policy_id\" {
  description = \"The firewall policy of the hub; empty for none.\"
  type        = string
  default     = \"\"
}

variable \"gateway_addresses\" {
  description = \"Addresses or networks of the gateways, as the firewall sees them.\"
  type        = list(string)
}
";

const RESOLVER: &str = "
resource \"azurerm_private_dns_resolver\" \"causeway\" {
  name                = \"causeway\"
  resource_group_name = var.resource_group_name
  location            = var.location
  virtual_network_id  = var.hub_network_id
}
";

pub(super) fn print(plan: &Plan) -> String {
    azure::print(plan, &Language { head: HEAD, resolver: RESOLVER, private_zone, inbound_endpoint, rules })
}

fn private_zone(zone: &azure::Zone) -> String {
    let symbol = azure::symbol(&zone.private);
    let (name, endpoints) = (literal(&zone.private), one_line(&zone.endpoints));
    format!(
        "
# for {endpoints}
resource \"azurerm_private_dns_zone\" \"{symbol}\" {{
  name                = {name}
  resource_group_name = var.resource_group_name
}}

resource \"azurerm_private_dns_zone_virtual_network_link\" \"{symbol}\" {{
  name                  = \"hub\"
  resource_group_name   = var.resource_group_name
  private_dns_zone_name = azurerm_private_dns_zone.{symbol}.name
  virtual_network_id    = var.hub_network_id
  registration_enabled  = false
  resolution_policy     = \"Default\"
}}
"
    )
}

fn inbound_endpoint(number: usize, address: &str) -> String {
    let address = literal(address);
    format!(
        "
resource \"azurerm_private_dns_resolver_inbound_endpoint\" \"inbound-{number}\" {{
  name                    = \"inbound-{number}\"
  private_dns_resolver_id = azurerm_private_dns_resolver.causeway.id
  location                = var.location

  ip_configurations {{
    private_ip_allocation_method = \"Static\"
    private_ip_address           = {address}
    subnet_id                    = var.inbound_subnet_id
  }}
}}
"
    )
}

fn rules(plan: &Plan) -> String {
    let network = collection("network", 1000, &azure::network_rules(plan), network_rule);
    let names = collection("application", 1100, &azure::name_rules(plan), name_rule);
    format!(
        "
resource \"azurerm_firewall_policy_rule_collection_group\" \"causeway\" {{
  count              = var.firewall_policy_id == \"\" ? 0 : 1
  name               = \"causeway\"
  firewall_policy_id = var.firewall_policy_id
  priority           = 1000
{network}{names}}}
"
    )
}

fn collection(kind: &str, priority: u32, rules: &[Rule], print: fn(&Rule) -> String) -> String {
    if rules.is_empty() {
        return String::new();
    }
    let rules: String = rules.iter().map(print).collect();
    format!(
        "
  {kind}_rule_collection {{
    name     = \"causeway-{kind}\"
    priority = {priority}
    action   = \"Allow\"
{rules}  }}
"
    )
}

fn network_rule(rule: &Rule) -> String {
    let Rule { name, protocol, to, port } = rule;
    let (name, to) = (literal(name), list(to));
    format!(
        "
    rule {{
      name                  = {name}
      protocols             = [\"{protocol}\"]
      source_addresses      = var.gateway_addresses
      destination_addresses = {to}
      destination_ports     = [\"{port}\"]
    }}
"
    )
}

fn name_rule(rule: &Rule) -> String {
    let Rule { name, protocol, to, port } = rule;
    let (name, to) = (literal(name), list(to));
    format!(
        "
    rule {{
      name              = {name}
      source_addresses  = var.gateway_addresses
      destination_fqdns = {to}

      protocols {{
        type = \"{protocol}\"
        port = {port}
      }}
    }}
"
    )
}

fn list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| literal(item)).collect();
    format!("[{}]", items.join(", "))
}

/// A string of HCL: nothing in it can end it or be taken for a template.
fn literal(text: &str) -> String {
    let text = one_line(text).replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace("${", "$${").replace("%{", "%%{"))
}
