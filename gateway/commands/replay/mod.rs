//! `causeway replay`: what would have happened, played in virtual time by the code that decides.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's answer goes to the terminal")]

mod carried;
mod show;
mod world;

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use replay::{Job, Played, Router, Run, Summary};

use super::UNKNOWN;
use world::{Sources, World, WorldError};

/// What to play.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Causeway's own records (the folder of an audit log, or what `audit export` writes), an Azure LLM inference trace (CSV)
    /// or a Mooncake trace (JSON lines). Files may be compressed with gzip. Several are played together, on one clock.
    #[arg(required = true, value_name = "TRACE")]
    traces: Vec<PathBuf>,
    /// What stands behind the targets: servers, clouds, prices, faults. Without it, the configuration's local targets are
    /// servers and the others clouds, with the constants that the book states.
    #[arg(long, value_name = "FILE", required_unless_present = "config")]
    scenario: Option<PathBuf>,
    /// The configuration whose models, targets and policy decide. Without it, policy permits every target of the scenario.
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// What if: another configuration, and what would be denied, moved, slower, dearer or cheaper under it.
    #[arg(long, value_name = "PATH", requires = "config")]
    against: Option<PathBuf>,
    /// What if: another scenario, with other prices, servers or targets.
    #[arg(long, value_name = "FILE")]
    against_scenario: Option<PathBuf>,
    /// The model that the requests of a public trace name; the first one of the configuration.
    #[arg(long, value_name = "MODEL", requires = "config")]
    model: Option<String>,
    /// The app that they come from; the name of the file.
    #[arg(long, value_name = "APP")]
    app: Option<String>,
    /// How much faster than it was recorded the trace is played.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    load: f64,
    /// How many seeds are played; figures are the means.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seeds: u64,
    /// Another router beside Causeway's: all-cloud, static-priority, lowest-latency, peak-ewma, least-request,
    /// request-cap-N, perfect-information, or `all`. May be repeated.
    #[arg(long = "router", value_name = "NAME")]
    routers: Vec<String>,
    /// Write a report with plots, one page that needs nothing else.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Why it could not be found out.
#[derive(Debug, thiserror::Error)]
enum ReplayError {
    #[error(transparent)]
    World(#[from] WorldError),
    #[error(
        "there is no router `{0}`; there are all-cloud, static-priority, lowest-latency, peak-ewma, least-request, request-cap-N, perfect-information and all"
    )]
    Router(String),
    #[error("`--load` is {0}; it must be more than 0")]
    Load(f64),
    #[error("`--seeds` is {0}; it must be between 1 and 1000")]
    Seeds(u64),
    #[error("{}: {source}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    match play(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(UNKNOWN)
        }
    }
}

/// The runs of one router, or of one side of a what-if.
pub(super) struct Series {
    pub(super) name: String,
    /// The run of the first seed; the others leave only their sums.
    pub(super) run: Run,
    pub(super) summary: Summary,
    /// Requests that were played in a second.
    pub(super) speed: f64,
}

fn play(arguments: &Arguments) -> Result<(), ReplayError> {
    if !(arguments.load.is_finite() && arguments.load > 0.0) {
        return Err(ReplayError::Load(arguments.load));
    }
    if !(1..=1_000).contains(&arguments.seeds) {
        return Err(ReplayError::Seeds(arguments.seeds));
    }
    let what_if = arguments.against.is_some() || arguments.against_scenario.is_some();
    let (before, now) = worlds(arguments, what_if)?;
    let mut all: Vec<(&World, Router, String)> = vec![(&before, Router::Causeway, "causeway".to_owned())];
    if let Some(now) = &now {
        all = vec![(&before, Router::Causeway, "before".to_owned()), (now, Router::Causeway, "what if".to_owned())];
    }
    for router in routers(&arguments.routers)? {
        all.push((&before, router, router.name()));
    }
    let mut progress = Progress::new(all.len() as u64 * arguments.seeds * before.trace.rows.len() as u64);
    let series: Vec<Series> =
        all.iter().map(|(world, router, name)| series(world, *router, name, arguments.seeds, &mut progress)).collect();
    progress.end();
    let names = |world: &World| world.scenario.targets.iter().map(|target| target.name.clone()).collect::<Vec<_>>();
    let targets: Vec<Vec<String>> = all.iter().map(|(world, ..)| names(world)).collect();
    let comparison = now.is_some().then(|| {
        let name = |index: usize| {
            let targets = &targets[index];
            move |target: u16| targets.get(usize::from(target)).map_or("", String::as_str)
        };
        replay::compare(&before.trace, (&series[0].run, &name(0)), (&series[1].run, &name(1)))
    });
    let shown = show::Shown { world: &before, what_if: now.as_ref(), series: &series, targets: &targets, comparison };
    if let Some(path) = &arguments.html {
        write_html(path, &shown)?;
    }
    println!("{}", if arguments.json { shown.json().to_string() } else { shown.table() });
    Ok(())
}

fn worlds(arguments: &Arguments, what_if: bool) -> Result<(World, Option<World>), ReplayError> {
    let trace = world::trace(&arguments.traces, arguments.app.as_deref(), arguments.load)?;
    let sources = Sources { config: arguments.config.as_deref(), scenario: arguments.scenario.as_deref() };
    let before = World::of(trace, sources, arguments.model.as_deref())?;
    let other = Sources {
        config: arguments.against.as_deref().or(sources.config),
        scenario: arguments.against_scenario.as_deref().or(sources.scenario),
    };
    let now = what_if.then(|| before.beside(other)).transpose()?;
    Ok((before, now))
}

fn routers(names: &[String]) -> Result<Vec<Router>, ReplayError> {
    let mut routers = Vec::new();
    for name in names {
        if name == "all" {
            routers.extend(Router::ALL);
        } else {
            routers.push(Router::named(name).ok_or_else(|| ReplayError::Router(name.clone()))?);
        }
    }
    routers.retain(|router| *router != Router::Causeway);
    routers.dedup();
    Ok(routers)
}

fn series(world: &World, router: Router, name: &str, seeds: u64, progress: &mut Progress) -> Series {
    let began = Instant::now();
    let (mut first, mut summaries) = (None, Vec::new());
    for seed in 1..=seeds {
        let World { scenario, trace, permits, wants, .. } = world;
        let job = Job { scenario, trace, permits, wants, router, seed, start: began };
        let run = replay::run(&job, |requests| progress.show(requests));
        progress.finished(world.trace.rows.len() as u64);
        summaries
            .push(run.summary(world.trace.seconds(), world.scenario.fixed_usd_per_hour, |target| world.is_own(target)));
        first.get_or_insert(run);
    }
    Series {
        name: name.to_owned(),
        run: first.unwrap_or_default(),
        summary: Summary::mean(&summaries),
        speed: (seeds * world.trace.rows.len() as u64) as f64 / began.elapsed().as_secs_f64().max(1e-9),
    }
}

fn write_html(path: &Path, shown: &show::Shown<'_>) -> Result<(), ReplayError> {
    let targets: Vec<Vec<&str>> =
        shown.targets.iter().map(|names| names.iter().map(String::as_str).collect()).collect();
    let played: Vec<Played<'_>> = shown
        .series
        .iter()
        .zip(&targets)
        .map(|(series, targets)| Played { name: &series.name, run: &series.run, summary: &series.summary, targets })
        .collect();
    let page = replay::Page {
        title: &shown.title(),
        notes: &shown.notes(),
        seconds: shown.world.trace.seconds(),
        first_token: shown.world.first_token_s(),
        played: &played,
        comparison: shown.comparison.as_ref(),
    };
    std::fs::write(path, replay::html(&page)).map_err(|source| ReplayError::Write { path: path.to_owned(), source })
}

/// A line on the terminal that says how far it is; nothing where standard error is no terminal.
struct Progress {
    all: u64,
    done: u64,
    terminal: bool,
    shown: u64,
}

impl Progress {
    fn new(all: u64) -> Self {
        Self { all: all.max(1), done: 0, terminal: std::io::stderr().is_terminal(), shown: 0 }
    }

    fn show(&mut self, requests: u64) {
        let percent = (self.done + requests) * 100 / self.all;
        if self.terminal && percent > self.shown {
            self.shown = percent;
            eprint!("\rplayed {} of {} requests ({percent} %)", self.done + requests, self.all);
            // A terminal that is gone takes nothing, and that is no reason to stop.
            std::io::stderr().flush().ok();
        }
    }

    fn finished(&mut self, requests: u64) {
        self.done += requests;
    }

    fn end(&self) {
        if self.terminal {
            eprint!("\r{:60}\r", "");
        }
    }
}
