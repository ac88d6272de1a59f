//! `causeway netplan`: what a network team has to set up for a configuration, in the form that its tools take.
//!
//! The plan is read out of the configuration and nothing else, so that a change of the one shows as a change of the
//! other. Nothing is asked of the network, and the same configuration always prints the same bytes.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's answer goes to the terminal")]

mod azure;
mod bicep;
mod bypass;
mod csv;
mod networkpolicy;
mod nft;
mod plan;
mod systemd;
mod terraform;

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::ValueEnum;
use ipnet::IpNet;
use server::configuration::{self, Secrets};
use server::load;

use self::plan::{Plan, Surroundings};
use super::{ConfigPath, NO};

/// What to print, and what the configuration cannot know.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    at: ConfigPath,
    /// The form.
    #[arg(long, value_enum)]
    format: Format,
    /// A network from which callers and their load balancers come, in CIDR form; may be repeated. Without it: any.
    #[arg(long, value_name = "NET")]
    callers: Vec<IpNet>,
    /// A time server of this machine; may be repeated.
    #[arg(long, value_name = "ADDRESS")]
    ntp: Vec<IpAddr>,
    /// A network from which this machine is managed over SSH, in CIDR form; may be repeated. For `nft`.
    #[arg(long, value_name = "NET")]
    manage_from: Vec<IpNet>,
    /// Restrict only the processes of this user, by name or number, and nothing else on the machine. For `nft`.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
}

/// The form in which a plan is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Every forwarder, private zone, flow and TLS-inspection exception, one a line, for tickets and spreadsheets.
    Csv,
    /// Azure: private zones with their links, the resolver's inbound endpoint, firewall rules.
    Bicep,
    /// The same for Terraform's `azurerm` provider.
    Terraform,
    /// An nftables table for the gateway's machine, with default drop.
    Nft,
    /// A Kubernetes `NetworkPolicy`.
    Networkpolicy,
    /// A drop-in for the systemd unit: `IPAddressDeny=any` and what is allowed.
    Systemd,
    /// The names that a TLS-inspecting proxy must leave alone, one a line.
    Bypass,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let mut options = load::options(SystemTime::now());
    // Where packets may go does not depend on keys, and a network team's machine must not hold them.
    options.secrets = Secrets::Skip;
    let compiled = match configuration::load(&arguments.at.config, &options) {
        Ok(compiled) => compiled,
        Err(mistakes) => {
            eprintln!("{mistakes}");
            return ExitCode::from(NO);
        }
    };
    let surroundings = Surroundings {
        callers: arguments.callers.clone(),
        time_servers: arguments.ntp.clone(),
        managers: arguments.manage_from.clone(),
        user: arguments.user.clone(),
    };
    let plan = Plan::of(&compiled, surroundings);
    for warning in plan.warnings(arguments.format == Format::Systemd) {
        eprintln!("causeway netplan: {warning}");
    }
    print!("{}", printed(&plan, arguments.format));
    ExitCode::SUCCESS
}

fn printed(plan: &Plan, format: Format) -> String {
    match format {
        Format::Csv => csv::print(plan),
        Format::Bicep => bicep::print(plan),
        Format::Terraform => terraform::print(plan),
        Format::Nft => nft::print(plan),
        Format::Networkpolicy => networkpolicy::print(plan),
        Format::Systemd => systemd::print(plan),
        Format::Bypass => bypass::print(plan),
    }
}

#[cfg(test)]
mod tests;
