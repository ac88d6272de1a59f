//! One file a verb.

mod audit;
mod break_glass;
mod check;
mod cost;
mod demo;
mod discover;
mod doctor;
mod explain;
mod keys;
mod netplan;
mod onboard;
mod operator;
mod policy;
mod prices;
mod replay;
mod restrict;
mod schema;
mod serve;
mod start;
mod support_bundle;
mod words;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Parser, Subcommand, ValueEnum};

/// One OpenAI-compatible front for local inference servers and Azure-style endpoints: failover between them, and an
/// audit log that says where each request went.
#[derive(Parser)]
#[command(name = "causeway", version, about, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway.
    Serve(serve::Arguments),
    /// Run everything on this machine, no account needed: a gateway, a stand-in GPU server and two stand-in clouds.
    Demo(demo::Arguments),
    /// Read and check a configuration offline; exit 1 with every mistake.
    Check(check::Arguments),
    /// Verify, show and export the audit log, offline.
    #[command(subcommand)]
    Audit(audit::Command),
    /// What things cost: own hardware against the cloud, and what was spent.
    #[command(subcommand)]
    Cost(cost::Command),
    /// Import and list prices by the token.
    #[command(subcommand)]
    Prices(prices::Command),
    /// Look at endpoints from their name to their answer; say what is wrong and who mends it.
    Doctor(doctor::Arguments),
    /// Say why each target of a model is in or out for an app, in words.
    Explain(explain::Arguments),
    /// Say what apps use and what policies say of it, before more is enforced.
    #[command(subcommand)]
    Onboard(onboard::Command),
    /// Check, format, test, explain, prove and compare residency policies.
    #[command(subcommand)]
    Policy(policy::Command),
    /// Make API keys and digests.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Refuse a key or an app from now on, at a running gateway; kept over a restart and recorded.
    Revoke(restrict::Revoke),
    /// Send nothing more to an endpoint, or for a model.
    Quarantine(restrict::Quarantine),
    /// Use own sites only, whatever the policies permit.
    LocalOnly(restrict::LocalOnly),
    /// Approve, open and close grants for an emergency.
    #[command(subcommand)]
    BreakGlass(break_glass::Command),
    /// Put together what somebody who helps needs to see, without a secret and without a prompt.
    SupportBundle(support_bundle::Arguments),
    /// Print what the network team has to set up: forwarders, private zones, firewall rules.
    Netplan(netplan::Arguments),
    /// Play a trace in virtual time with the code that decides: what would have happened, and what if.
    Replay(replay::Arguments),
    /// Print the JSON Schema of the configuration, for editors.
    Schema(schema::Arguments),
}

/// Where the configuration is.
#[derive(clap::Args)]
struct ConfigPath {
    /// A TOML file, or a folder of `*.toml` files.
    #[arg(long, value_name = "PATH")]
    config: PathBuf,
}

/// The day that dates are held against.
#[derive(clap::Args)]
struct Day {
    /// The day that dates are held against, such as 2027-06-30: its first instant, UTC. Absent: now.
    #[arg(long = "at", value_name = "DATE", value_parser = day_of)]
    day: Option<SystemTime>,
}

impl Day {
    fn or_now(&self) -> SystemTime {
        self.day.unwrap_or_else(SystemTime::now)
    }
}

fn day_of(text: &str) -> Result<SystemTime, String> {
    ::policy::day_of(text).ok_or_else(|| "write the day as `2027-06-30`".to_owned())
}

/// How the log is written to standard error.
#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    /// One JSON object a line, for collectors.
    Json,
    /// A readable line.
    Line,
}

impl From<LogFormat> for telemetry::log::Format {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Json => Self::Json,
            LogFormat::Line => Self::Line,
        }
    }
}

/// Runs the command and gives the process's exit code.
pub(crate) fn run(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Audit(command) => audit::run(&command),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Onboard(command) => onboard::run(&command),
        Command::Policy(command) => policy::run(&command),
        Command::Cost(command) => cost::run(&command),
        Command::Prices(command) => prices::run(&command),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Keys(command) => keys::run(&command),
        Command::Revoke(arguments) => restrict::revoke(&arguments),
        Command::Quarantine(arguments) => restrict::quarantine(&arguments),
        Command::LocalOnly(arguments) => restrict::local_only(&arguments),
        Command::BreakGlass(command) => break_glass::run(&command),
        Command::SupportBundle(arguments) => support_bundle::run(&arguments),
        Command::Netplan(arguments) => netplan::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Schema(arguments) => schema::run(&arguments),
    }
}

/// The answer is no.
const NO: u8 = 1;

/// It was asked wrongly.
const USAGE: u8 = 2;

/// It could not be found out.
const UNKNOWN: u8 = 3;
