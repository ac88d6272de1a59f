//! `causeway serve`: the gateway.

#![expect(clippy::print_stderr, reason = "a command's answer goes to the terminal")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use server::configuration::{self, Compiled, Mistakes, Sources};
use server::load;
use server::run::{self, Lifecycle as _, Pingora, Reloader, Service};
use telemetry::otlp::LogTap;

use super::start::{self, StartError};
use super::{LogFormat, NO, discover};

/// How the gateway is run.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A TOML file, or a folder of `*.toml` files. Without it the usual loopback ports and the environment are looked
    /// at, and the gateway serves on loopback only.
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Take the listening sockets over from the running process; then send that process SIGQUIT.
    #[arg(long)]
    upgrade: bool,
    /// Without `--config`: a cloud that may be used, `openai` or `azure-openai`; its key is taken from the environment.
    #[arg(long, value_name = "NAME", conflicts_with = "config", value_parser = ["openai", "azure-openai"])]
    approve: Vec<String>,
    /// Refuse to start on a broken configuration, even where a last good one is kept.
    #[arg(long)]
    strict_start: bool,
    /// Where the last good configuration is looked for when the broken one does not say (`state.folder`).
    #[arg(long, value_name = "FOLDER")]
    state_folder: Option<PathBuf>,
    /// Worker threads; by default one a core.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// How long requests may still run after SIGTERM, in seconds; by default what `[listen]` says.
    #[arg(long, value_name = "SECONDS")]
    drain: Option<u64>,
    /// How long `/readyz` fails after SIGTERM before the listeners close, in seconds, so that load balancers look elsewhere
    /// first; by default 5 where there is a `[health]` for them to look at, and 0 where there is none.
    #[arg(long, value_name = "SECONDS", overrides_with = "readiness_lead")]
    readiness_lead: Option<u64>,
    /// How the log is written.
    #[arg(long, value_enum, default_value = "line")]
    log: LogFormat,
    /// Which events are logged: `error`, `warn`, `info`, `debug`, or `target=level,…`. With `access=debug` among them each
    /// request of a known caller leaves a line.
    #[arg(long, value_name = "FILTER", default_value = "info,pingora_core=warn")]
    log_filter: String,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let tap = match telemetry::log::init(arguments.log.into(), &arguments.log_filter) {
        Ok(tap) => tap,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    match serve(arguments, &tap) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(NO)
        }
    }
}

fn serve(arguments: &Arguments, tap: &LogTap) -> Result<(), StartError> {
    let Some(path) = &arguments.config else {
        let looking = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let compiled = looking.block_on(discover::configuration(&arguments.approve))?;
        return run_service((arguments, tap), &compiled, Origin::Discovered);
    };
    let options = load::options(SystemTime::now());
    let read = Sources::read(path).and_then(|sources| {
        let compiled = configuration::load_sources(&sources, &options)?;
        Ok((sources, compiled))
    });
    match read {
        Ok((sources, compiled)) => {
            run_service((arguments, tap), &compiled, Origin::Files { path, sources: Some(&sources), broken: None })
        }
        Err(mistakes) => {
            let Some((compiled, kept)) = last_good_instead(arguments, path, &mistakes) else {
                return Err(mistakes.into());
            };
            let broken = Some(Broken { mistakes, kept });
            run_service((arguments, tap), &compiled, Origin::Files { path, sources: None, broken })
        }
    }
}

/// Where a configuration comes from.
enum Origin<'a> {
    /// Nobody wrote one.
    Discovered,
    /// These files, or the last good ones instead because they are broken.
    Files { path: &'a Path, sources: Option<&'a Sources>, broken: Option<Broken> },
}

/// Files that cannot be served, and what is served instead.
struct Broken {
    mistakes: Mistakes,
    /// When the last good configuration was kept.
    kept: SystemTime,
}

/// The persisted last good configuration, loudly, and when it was kept; nothing when there is none or it is not wanted.
fn last_good_instead(arguments: &Arguments, path: &Path, mistakes: &Mistakes) -> Option<(Compiled, SystemTime)> {
    if arguments.strict_start {
        return None;
    }
    let folder = arguments.state_folder.clone().or_else(|| configuration::state_folder_of(path))?;
    let last_good = match configuration::read_last_good(&folder) {
        Ok(last_good) => last_good?,
        Err(error) => {
            tracing::error!(%error, "the last good configuration cannot be used either");
            return None;
        }
    };
    match configuration::load_sources(&last_good.sources, &load::options(SystemTime::now())) {
        Ok(compiled) => {
            tracing::error!(
                %mistakes,
                hash = last_good.hash,
                age_seconds = last_good.saved_at.elapsed().unwrap_or_default().as_secs(),
                "ALARM config_degraded: the configuration is broken; serving the last good one"
            );
            Some((compiled, last_good.saved_at))
        }
        Err(mistakes) => {
            tracing::error!(%mistakes, "the last good configuration is not good any more");
            None
        }
    }
}

fn run_service(
    (arguments, tap): (&Arguments, &LogTap),
    compiled: &Compiled,
    origin: Origin<'_>,
) -> Result<(), StartError> {
    for note in &compiled.notes {
        tracing::warn!("{note}");
    }
    let doors = run::doors(compiled)?;
    let lifecycle = Pingora {
        upgrade: arguments.upgrade,
        upgrade_socket: compiled.state_folder.join("upgrade.sock"),
        threads: arguments.threads.unwrap_or_else(cores),
        readiness_lead: readiness_lead(arguments.readiness_lead, doors.health.is_some()),
    };
    // Before the audit log is opened: a start that fails leaves no epoch behind.
    lifecycle.claim(&doors)?;
    // pingora makes its own runtimes, later; this one only builds.
    let building = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let action = if arguments.upgrade { "upgrade" } else { "start" };
    let since = match &origin {
        Origin::Files { broken: Some(broken), .. } => broken.kept,
        Origin::Files { broken: None, .. } | Origin::Discovered => SystemTime::now(),
    };
    let gateway = building.block_on(start::build(compiled, action, since))?;
    gateway.export.attach(tap.clone());
    if let Origin::Files { broken: Some(_), .. } = &origin {
        let snapshot = gateway.snapshot();
        gateway.metrics.set_configuration(&snapshot.hash, snapshot.loaded, true);
    }
    let reloader = match origin {
        Origin::Discovered => None,
        Origin::Files { path, sources, broken } => {
            if let Some(sources) = sources {
                run::persist(compiled, sources);
            }
            let mistakes = broken.map(|broken| broken.mistakes);
            Some(Arc::new(Reloader::new(path.to_owned(), doors.clone(), compiled, mistakes)))
        }
    };
    let drain = arguments.drain.map_or(compiled.listen.drain_timeout, Duration::from_secs);
    Ok(lifecycle.run(Service { gateway, doors, reloader, drain })?)
}

/// How long load balancers get to notice that the process leaves, where there are some to notice: they look every few
/// seconds, and Kubernetes takes a second or two to tell its nodes. A listener that closed before that refuses connections.
const LEAD: Duration = Duration::from_secs(5);

fn readiness_lead(asked: Option<u64>, is_probed: bool) -> Duration {
    asked.map_or(if is_probed { LEAD } else { Duration::ZERO }, Duration::from_secs)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_load_balancers_look_they_get_time_to_look_elsewhere_unless_told_otherwise() {
        assert_eq!(readiness_lead(None, true), Duration::from_secs(5));
        assert_eq!(readiness_lead(None, false), Duration::ZERO);
        assert_eq!(readiness_lead(Some(0), true), Duration::ZERO);
        assert_eq!(readiness_lead(Some(35), false), Duration::from_secs(35));
    }
}
