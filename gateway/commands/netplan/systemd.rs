//! The plan as a drop-in for the systemd unit.
//!
//! The filter sits on the unit's sockets, whatever the machine's firewall says. It knows addresses and no ports, and it
//! works in both directions: callers must be named as well.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use ipnet::IpNet;

use super::plan::{Destination, Plan};

pub(super) fn print(plan: &Plan) -> String {
    let mut text = String::from(
        "# Printed by `causeway netplan --format systemd`; change the configuration, not this file.\n\
         # /etc/systemd/system/causeway.service.d/netplan.conf, then: systemctl daemon-reload, systemctl restart causeway\n",
    );
    let mut line = |words: &str| writeln!(text, "{words}").expect("writing into a String cannot fail");
    for flow in &plan.flows {
        match &flow.destination {
            Destination::Internet(host) => {
                line(&format!(
                    "# endpoint {}: {host} is on the internet, and its addresses are not known; blocked",
                    flow.name
                ));
            }
            Destination::System => {
                line(&format!("# resolver {}: the system's servers are not known; blocked", flow.name));
            }
            Destination::Networks(_) => {}
        }
    }
    line("[Service]");
    line("IPAddressDeny=any");
    line("IPAddressAllow=localhost");
    let out = plan.flows.iter().flat_map(|flow| flow.networks());
    let allowed: BTreeSet<IpNet> = out.chain(plan.surroundings.callers.iter().copied()).collect();
    for network in allowed {
        line(&format!("IPAddressAllow={network}"));
    }
    text
}
