//! `causeway doctor`: looks at endpoints from their name to their answer, says what is wrong, and who mends it.
//!
//! It walks the way of a request with the gateway's own code: the same look-ups, the same judgement, the same words. It
//! needs no running gateway, changes nothing, and sends no content. What a failure leaves open it tries out: a smaller
//! segment, a key exchange that fits into one packet, each server of the resolver alone.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's answer goes to the terminal")]

pub(super) mod examine;
mod idle;
mod report;
mod servers;
mod siblings;

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use server::configuration::{self, Compiled, Secrets};
use server::load;
use server::snapshot::{self, Specs};

use self::examine::{Examination, Manner, examine};
use super::{ConfigPath, NO, UNKNOWN};

/// Wrong usage.
const USAGE: u8 = 2;
/// Time between two looks of `--wait`.
const PACE: Duration = Duration::from_secs(2);
/// Time for each step of a look.
const STEP: Duration = Duration::from_secs(5);

/// What to look at.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    at: ConfigPath,
    /// The endpoint; all of them without it.
    endpoint: Option<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// Look again until nothing is wrong, for at most this many seconds; a record that a policy creates may take ten
    /// minutes.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1800")]
    wait: Option<u64>,
    /// Send the endpoint's key along with the one request, to see whether it is accepted.
    #[arg(long)]
    with_key: bool,
    /// Show where packets for the endpoint's address pass. Needs no more rights than a connection.
    #[arg(long)]
    trace: bool,
    /// Try out how long a silent connection lives on the way: opens four and says nothing on them for up to this many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=7200))]
    idle: Option<u64>,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let mut options = load::options(SystemTime::now());
    if !arguments.with_key {
        options.secrets = Secrets::Skip;
    }
    let compiled = match configuration::load(&arguments.at.config, &options) {
        Ok(compiled) => compiled,
        Err(mistakes) => {
            eprintln!("{mistakes}");
            return ExitCode::from(UNKNOWN);
        }
    };
    match chosen(&compiled, arguments.endpoint.as_deref()) {
        Ok(specs) => look(&specs, arguments),
        Err(Unready::Endpoint(message)) => {
            eprintln!("causeway doctor: {message}");
            ExitCode::from(USAGE)
        }
        Err(Unready::Material(message)) => {
            eprintln!("causeway doctor: {message}");
            ExitCode::from(UNKNOWN)
        }
    }
}

/// Why nothing can be looked at.
enum Unready {
    /// There is no such endpoint.
    Endpoint(String),
    /// A file that the configuration names cannot be used.
    Material(String),
}

fn chosen(compiled: &Compiled, endpoint: Option<&str>) -> Result<Specs, Unready> {
    let mut specs = snapshot::specs(compiled).map_err(|error| Unready::Material(error.to_string()))?;
    if let Some(name) = endpoint {
        let names: Vec<String> = specs.endpoints.iter().map(|spec| format!("`{}`", spec.name)).collect();
        specs.endpoints.retain(|spec| &*spec.name == name);
        if specs.endpoints.is_empty() {
            let message = format!("there is no endpoint `{name}`; the configuration has {}", names.join(", "));
            return Err(Unready::Endpoint(message));
        }
    }
    Ok(specs)
}

fn look(specs: &Specs, arguments: &Arguments) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else {
        eprintln!("causeway doctor: the system gives no event loop");
        return ExitCode::from(UNKNOWN);
    };
    let idle = arguments.idle.map(Duration::from_secs);
    let manner = Manner { with_key: arguments.with_key, trace: arguments.trace, idle, step: STEP };
    let found = runtime.block_on(looked(specs, manner, arguments.wait.map(Duration::from_secs), arguments.json));
    match found {
        Err(problem) => {
            eprintln!("causeway doctor: {problem}");
            ExitCode::from(UNKNOWN)
        }
        Ok(found) => {
            print!("{}", if arguments.json { report::json(&found) } else { report::text(&found) });
            if found.iter().all(Examination::is_well) { ExitCode::SUCCESS } else { ExitCode::from(NO) }
        }
    }
}

/// Looks once, or until everything is well or the time is over.
async fn looked(
    specs: &Specs,
    manner: Manner,
    wait: Option<Duration>,
    quiet: bool,
) -> Result<Vec<Examination>, egress::BuildError> {
    let until = wait.map(|wait| tokio::time::Instant::now() + wait);
    loop {
        let mut found = Vec::with_capacity(specs.endpoints.len());
        let mut looks = Vec::with_capacity(specs.endpoints.len());
        for spec in &specs.endpoints {
            // Side by side: one endpoint that does not answer must not hold the others up.
            let (spec, resolvers) = (spec.clone(), specs.resolvers.clone());
            looks.push(tokio::spawn(async move { examine(&spec, &resolvers, manner).await }));
        }
        for look in looks {
            found.push(look.await.expect("a look does not panic, and nobody aborts it")?);
        }
        let ill: Vec<&str> = found.iter().filter(|one| !one.is_well()).map(|one| one.name.as_str()).collect();
        if ill.is_empty() || until.is_none_or(|until| tokio::time::Instant::now() >= until) {
            return Ok(found);
        }
        if !quiet {
            eprintln!("causeway doctor: still wrong: {}", ill.join(", "));
        }
        tokio::time::sleep(PACE).await;
    }
}
