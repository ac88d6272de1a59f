//! `causeway doctor`: looks at endpoints from their name to their answer, and at what the gateway itself needs; says what is
//! wrong, and who mends it.
//!
//! It walks the way of a request with the gateway's own code: the same look-ups, the same judgement, the same words. It
//! needs no running gateway, changes nothing, and sends no content. What a failure leaves open it tries out: a smaller
//! segment, a key exchange that fits into one packet, each server of the resolver alone.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's answer goes to the terminal")]

pub(super) mod examine;
mod idle;
mod report;
mod servers;
mod service_codes;
mod services;
mod siblings;

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use server::configuration::{self, Compiled, Secrets};
use server::load;
use server::snapshot::{self, Services, Specs};

use self::examine::{Examination, Manner, examine};
use self::services::Visit;
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
    /// An endpoint, `store`, `ledger` or `control.NAME`; all of them without it.
    name: Option<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// Look again until nothing is wrong, for at most this many seconds; a record that a policy creates may take ten
    /// minutes.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1800")]
    wait: Option<u64>,
    /// Send the endpoint's key along with the one request, to see whether it is accepted; log in at the store and the ledger, and
    /// ask control planes what the gateway asks them.
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
    match chosen(&compiled, arguments.name.as_deref()) {
        Ok(chosen) => look(&chosen, arguments),
        Err(Unready::Name(message)) => {
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
    /// There is nothing of that name.
    Name(String),
    /// A file that the configuration names cannot be used.
    Material(String),
}

/// What is looked at.
struct Chosen {
    endpoints: Specs,
    services: Services,
    /// The one service; all of them without it, or none where one endpoint was chosen.
    service: Wanted,
}

enum Wanted {
    All,
    One(String),
    None,
}

impl Chosen {
    fn wants(&self, service: &str) -> bool {
        match &self.service {
            Wanted::All => true,
            Wanted::One(name) => name == service,
            Wanted::None => false,
        }
    }
}

fn chosen(compiled: &Compiled, name: Option<&str>) -> Result<Chosen, Unready> {
    let unready = |error: snapshot::SnapshotError| Unready::Material(error.to_string());
    let mut endpoints = snapshot::specs(compiled).map_err(unready)?;
    let services = snapshot::services(compiled).map_err(unready)?;
    let Some(name) = name else { return Ok(Chosen { endpoints, services, service: Wanted::All }) };
    let known: Vec<String> = endpoints.endpoints.iter().map(|spec| format!("`{}`", spec.name)).collect();
    endpoints.endpoints.retain(|spec| &*spec.name == name);
    if !endpoints.endpoints.is_empty() {
        return Ok(Chosen { endpoints, services, service: Wanted::None });
    }
    let of_services = services::names(&services);
    if of_services.contains(&name) {
        return Ok(Chosen { endpoints, services, service: Wanted::One(name.to_owned()) });
    }
    let known: Vec<String> = known.into_iter().chain(of_services.iter().map(|name| format!("`{name}`"))).collect();
    Err(Unready::Name(format!("there is no endpoint `{name}`; the configuration has {}", known.join(", "))))
}

/// What was found.
struct Found {
    endpoints: Vec<Examination>,
    services: Vec<Visit>,
}

impl Found {
    fn is_well(&self) -> bool {
        self.ill().is_empty()
    }

    fn ill(&self) -> Vec<&str> {
        let endpoints = self.endpoints.iter().filter(|one| !one.is_well()).map(|one| one.name.as_str());
        let services = self.services.iter().filter(|one| !one.is_well()).map(|one| one.name.as_str());
        endpoints.chain(services).collect()
    }
}

fn look(chosen: &Chosen, arguments: &Arguments) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else {
        eprintln!("causeway doctor: the system gives no event loop");
        return ExitCode::from(UNKNOWN);
    };
    let idle = arguments.idle.map(Duration::from_secs);
    let manner = Manner { with_key: arguments.with_key, trace: arguments.trace, idle, step: STEP };
    let found = runtime.block_on(looked(chosen, manner, arguments.wait.map(Duration::from_secs), arguments.json));
    match found {
        Err(problem) => {
            eprintln!("causeway doctor: {problem}");
            ExitCode::from(UNKNOWN)
        }
        Ok(found) => {
            print!("{}", if arguments.json { report::json(&found) } else { report::text(&found) });
            if found.is_well() { ExitCode::SUCCESS } else { ExitCode::from(NO) }
        }
    }
}

/// Looks once, or until everything is well or the time is over.
async fn looked(
    chosen: &Chosen,
    manner: Manner,
    wait: Option<Duration>,
    quiet: bool,
) -> Result<Found, egress::BuildError> {
    let until = wait.map(|wait| tokio::time::Instant::now() + wait);
    loop {
        let wanted = |name: &str| chosen.wants(name);
        let (endpoints, services) =
            tokio::join!(endpoints(&chosen.endpoints, manner), services::visit(&chosen.services, manner, &wanted));
        let found = Found { endpoints: endpoints?, services };
        let ill = found.ill();
        if ill.is_empty() || until.is_none_or(|until| tokio::time::Instant::now() >= until) {
            return Ok(found);
        }
        if !quiet {
            eprintln!("causeway doctor: still wrong: {}", ill.join(", "));
        }
        tokio::time::sleep(PACE).await;
    }
}

/// Side by side: one endpoint that does not answer must not hold the others up.
async fn endpoints(specs: &Specs, manner: Manner) -> Result<Vec<Examination>, egress::BuildError> {
    let mut looks = Vec::with_capacity(specs.endpoints.len());
    for spec in &specs.endpoints {
        let (spec, resolvers) = (spec.clone(), specs.resolvers.clone());
        looks.push(tokio::spawn(async move { examine(&spec, &resolvers, manner).await }));
    }
    let mut found = Vec::with_capacity(looks.len());
    for look in looks {
        found.push(look.await.expect("a look does not panic, and nobody aborts it")?);
    }
    Ok(found)
}
