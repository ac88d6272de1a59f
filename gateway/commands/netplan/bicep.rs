//! The plan for an Azure hub, in Bicep.

use super::azure::{self, Language, Rule, one_line};
use super::plan::Plan;

const HEAD: &str = "\
// Printed by `causeway netplan --format bicep`; change the configuration, not this file.
// Deploy it into the resource group of the hub's network.

@description('Resource id of the virtual network in which the DNS Private Resolver lies. The zones are linked to it, not to the spokes.')
param hubNetworkId string

@description('Resource id of the subnet that is delegated to Microsoft.Network/dnsResolvers.')
param inboundSubnetId string

@description('Name of the firewall policy of the hub; empty for none.')
param firewallPolicyName string = ''

@description('Addresses or networks of the gateways, as the firewall sees them.')
param gatewayAddresses array

param location string = resourceGroup().location
";

const RESOLVER: &str = "
resource resolver 'Microsoft.Network/dnsResolvers@2022-07-01' = {
  name: 'causeway'
  location: location
  properties: {
    virtualNetwork: { id: hubNetworkId }
  }
}
";

pub(super) fn print(plan: &Plan) -> String {
    azure::print(plan, &Language { head: HEAD, resolver: RESOLVER, private_zone, inbound_endpoint, rules })
}

fn private_zone(zone: &azure::Zone) -> String {
    let symbol = format!("zone_{}", zone.private.replace(['.', '-'], "_"));
    let name = literal(&zone.private);
    let endpoints = one_line(&zone.endpoints);
    // `Default` is no fallback to the internet: a missing record must not become a public answer.
    format!(
        "
// for {endpoints}
resource {symbol} 'Microsoft.Network/privateDnsZones@2024-06-01' = {{
  name: {name}
  location: 'global'
}}

resource {symbol}_hub 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = {{
  parent: {symbol}
  name: 'hub'
  location: 'global'
  properties: {{
    registrationEnabled: false
    resolutionPolicy: 'Default'
    virtualNetwork: {{ id: hubNetworkId }}
  }}
}}
"
    )
}

fn inbound_endpoint(number: usize, address: &str) -> String {
    let address = literal(address);
    format!(
        "
resource inbound_{number} 'Microsoft.Network/dnsResolvers/inboundEndpoints@2022-07-01' = {{
  parent: resolver
  name: 'inbound-{number}'
  location: location
  properties: {{
    ipConfigurations: [
      {{
        privateIpAllocationMethod: 'Static'
        privateIpAddress: {address}
        subnet: {{ id: inboundSubnetId }}
      }}
    ]
  }}
}}
"
    )
}

fn rules(plan: &Plan) -> String {
    let collections = [
        collection("addresses", 1000, &azure::network_rules(plan), network_rule),
        collection("names", 1100, &azure::name_rules(plan), name_rule),
    ];
    let collections = collections.concat();
    format!(
        "
resource rules 'Microsoft.Network/firewallPolicies/ruleCollectionGroups@2023-11-01' = if (!empty(firewallPolicyName)) {{
  name: '${{firewallPolicyName}}/causeway'
  properties: {{
    priority: 1000
    ruleCollections: [
{collections}    ]
  }}
}}
"
    )
}

fn collection(name: &str, priority: u32, rules: &[Rule], print: fn(&Rule) -> String) -> String {
    if rules.is_empty() {
        return String::new();
    }
    let rules: String = rules.iter().map(print).collect();
    format!(
        "      {{
        ruleCollectionType: 'FirewallPolicyFilterRuleCollection'
        name: 'causeway-{name}'
        priority: {priority}
        action: {{ type: 'Allow' }}
        rules: [
{rules}        ]
      }}
"
    )
}

fn network_rule(rule: &Rule) -> String {
    let Rule { name, protocol, to, port } = rule;
    let (name, to) = (literal(name), list(to));
    format!(
        "          {{
            ruleType: 'NetworkRule'
            name: {name}
            ipProtocols: [ '{protocol}' ]
            sourceAddresses: gatewayAddresses
            destinationAddresses: {to}
            destinationPorts: [ '{port}' ]
          }}
"
    )
}

fn name_rule(rule: &Rule) -> String {
    let Rule { name, protocol, to, port } = rule;
    let (name, to) = (literal(name), list(to));
    format!(
        "          {{
            ruleType: 'ApplicationRule'
            name: {name}
            protocols: [ {{ protocolType: '{protocol}', port: {port} }} ]
            sourceAddresses: gatewayAddresses
            targetFqdns: {to}
            terminateTLS: false
          }}
"
    )
}

fn list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| literal(item)).collect();
    format!("[ {} ]", items.join(", "))
}

/// A string of Bicep: nothing in it can end it or be taken for an expression.
fn literal(text: &str) -> String {
    format!("'{}'", one_line(text).replace('\\', "\\\\").replace('\'', "\\'").replace("${", "\\${"))
}
