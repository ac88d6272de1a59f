//! `causeway support-bundle`: what somebody who helps needs to see, in one file, without a secret and without a prompt.
//!
//! It is put together from values that were chosen one by one; no file of the configuration, no line of the log and no text that
//! a person wrote freely is copied. As a second guard the file is not written if it holds one of the credentials that the
//! configuration names.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's answer goes to the terminal")]

use std::collections::{BTreeMap, VecDeque};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use server::configuration::{self, Compiled, ReachConfig, Secrets};
use server::{load, run};
use telemetry::audit::read;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::operator::Operator;
use super::{NO, UNKNOWN};

/// What to put together.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    at: Operator,
    /// The file to write; by default `causeway-support-` and the time, here.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How far back the audit log is summed up, in hours.
    #[arg(long, value_name = "HOURS", default_value_t = 24)]
    hours: u64,
}

/// Most administrative actions that are listed.
const MOST_ACTIONS: usize = 200;

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let Some(config) = arguments.at.config() else {
        eprintln!("name the gateway's configuration with --config");
        return ExitCode::from(2);
    };
    let now = SystemTime::now();
    let options = load::options(now);
    // Where its credentials can be read they are looked for in the bundle; where they cannot, it is made without.
    let compiled = configuration::load(config, &options).or_else(|_| {
        let mut options = options;
        options.secrets = Secrets::Skip;
        configuration::load(config, &options)
    });
    let compiled = match compiled {
        Ok(compiled) => Some(compiled),
        Err(mistakes) => {
            eprintln!("the configuration has {} mistakes; the bundle goes without it", mistakes.len());
            None
        }
    };
    let bundle = bundle(arguments, compiled.as_ref(), now);
    let text = serde_json::to_string_pretty(&bundle).unwrap_or_default();
    if let Some(endpoint) = compiled.as_ref().and_then(|compiled| leaks(&text, compiled)) {
        eprintln!("not written: it would hold the credential of endpoint `{endpoint}`; please report this");
        return ExitCode::from(NO);
    }
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let path = arguments.out.clone().unwrap_or_else(|| format!("causeway-support-{seconds}.json").into());
    match write(&path, &text) {
        Ok(()) => {
            println!("{}", path.display());
            println!(
                "It names hosts, addresses, apps and administrators of yours; look through it before you send it."
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            ExitCode::from(UNKNOWN)
        }
    }
}

fn bundle(arguments: &Arguments, compiled: Option<&Compiled>, now: SystemTime) -> Value {
    let status = arguments.at.get("/api/status").map(|answered| answered.body);
    let metrics = arguments.at.get("/metrics").map(|answered| answered.body);
    json!({
        "format": 1,
        "made_at": stamp(now),
        "version": env!("CARGO_PKG_VERSION"),
        "machine": machine(),
        "configuration": compiled.map(configuration_of),
        "last_good": compiled.map(last_good),
        "audit": compiled.map(|compiled| audit(compiled, now, Duration::from_secs(arguments.hours * 3_600))),
        "status": status.map_or_else(|error| json!({ "unreachable": error.kind() }), quiet),
        "metrics": metrics.unwrap_or_else(|error| json!({ "unreachable": error.kind() })),
    })
}

fn machine() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let memory = read("/proc/meminfo").lines().next().unwrap_or_default().to_owned();
    let limits = read("/proc/self/limits").lines().find(|line| line.starts_with("Max open files")).map(str::to_owned);
    json!({
        "kernel": read("/proc/sys/kernel/osrelease"),
        "cores": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        "memory": memory,
        "limits": limits,
    })
}

/// Names, addresses and numbers; no path, no digest, no text that a person wrote.
fn configuration_of(compiled: &Compiled) -> Value {
    let endpoints = compiled.endpoints.iter().map(|endpoint| {
        json!({
            "name": endpoint.name, "provider": endpoint.provider, "scheme": format!("{:?}", endpoint.scheme),
            "host": endpoint.host.to_string(), "port": endpoint.port, "reach": reach(&endpoint.reach),
            "approved": endpoint.approved, "own_site": endpoint.own_site, "has_credential": endpoint.credential.is_some(),
            "in_flight": endpoint.in_flight, "is_probed": endpoint.health.is_some(),
            "apis": endpoint.apis.iter().map(|api| api.name()).collect::<Vec<_>>(),
        })
    });
    let apps = compiled.apps.iter().enumerate().map(|(index, app)| {
        json!({
            "name": app.name, "team": app.team, "class": format!("{:?}", app.class), "labels": app.labels,
            "models": app.models.len(), "requests_per_minute": app.requests.per_minute, "in_flight": app.requests.in_flight,
            "keys": compiled.keys.iter().filter(|key| key.app == index).count(),
        })
    });
    let models = compiled.models.iter().map(|model| {
        let targets: Vec<&str> = model.targets.iter().map(|index| compiled.targets[*index].name.as_str()).collect();
        json!({ "name": model.name, "targets": targets })
    });
    let resolvers = compiled.resolvers.iter().map(|resolver| json!({ "name": resolver.name, "zones": resolver.zones }));
    let administrators = compiled.administration.administrators.iter();
    let mut notes: BTreeMap<String, usize> = BTreeMap::new();
    for note in &compiled.notes {
        *notes.entry(format!("{:?}", note.kind)).or_default() += 1;
    }
    json!({
        "hash": compiled.hash,
        "files": compiled.sources.iter().map(|(_, hash)| hash).collect::<Vec<_>>(),
        "notes": notes,
        "listen": {
            "address": compiled.listen.address.to_string(), "tls": compiled.listen.tls.is_some(),
            "asks_for_certificates": compiled.listen.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some()),
            "max_in_flight": compiled.listen.max_in_flight, "max_connections": compiled.listen.max_connections,
            "max_body_bytes": compiled.listen.max_body_bytes, "max_buffered_bytes": compiled.listen.max_buffered_bytes,
        },
        "admin": compiled.admin.map(|address| address.to_string()),
        "health": compiled.health.map(|address| address.to_string()),
        "administrators": administrators.map(|one| json!({ "name": one.name, "role": one.role.name() })).collect::<Vec<_>>(),
        "endpoints": endpoints.collect::<Vec<_>>(),
        "models": models.collect::<Vec<_>>(),
        "apps": apps.collect::<Vec<_>>(),
        "resolvers": resolvers.collect::<Vec<_>>(),
        "labels": compiled.policy.labels,
        "grants": compiled.break_glass.grants.iter().map(|grant| &grant.name).collect::<Vec<_>>(),
        "audit": {
            "on_disk": compiled.audit.on_disk, "witness": compiled.audit.witness.is_some() || compiled.audit.witness_http.is_some(),
            "days": compiled.audit.retention.as_ref().map(|kept| kept.all.as_secs() / 86_400),
            "pseudonyms": compiled.audit.pseudonyms.is_some(),
        },
        "prices": compiled.prices.name(),
    })
}

fn reach(reach: &ReachConfig) -> Value {
    let nets = |within: &[configuration::Network]| within.iter().map(ToString::to_string).collect::<Vec<_>>();
    match reach {
        ReachConfig::Local { within } => json!({ "local": nets(within) }),
        ReachConfig::PrivateLink { within, expect, .. } => json!({ "private-link": nets(within), "expect": expect }),
        ReachConfig::Public => json!("public"),
    }
}

fn last_good(compiled: &Compiled) -> Value {
    match configuration::read_last_good(&compiled.state_folder) {
        Ok(Some(kept)) => json!({ "hash": kept.hash, "saved_at": stamp(kept.saved_at) }),
        Ok(None) => Value::Null,
        Err(_) => json!("cannot be read"),
    }
}

#[derive(Default)]
struct Sums {
    kinds: BTreeMap<String, u64>,
    codes: BTreeMap<String, u64>,
    ends: BTreeMap<String, u64>,
    attempts: BTreeMap<String, u64>,
    actions: VecDeque<Value>,
    unread: u64,
}

impl Sums {
    /// Only these fields are looked at, and none of them can hold a text of a caller's.
    fn count(&mut self, since: &str, entry: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let outcome = &entry["outcome"];
        let at = if outcome.is_null() { text(&entry["at"]) } else { text(&outcome["at"]) };
        if at.as_str() < since {
            return;
        }
        let add = |sums: &mut BTreeMap<String, u64>, name: String| {
            if !name.is_empty() {
                *sums.entry(name).or_default() += 1;
            }
        };
        add(&mut self.kinds, text(&entry["kind"]));
        add(&mut self.codes, text(if outcome.is_null() { &entry["code"] } else { &outcome["code"] }));
        add(&mut self.ends, text(&outcome["end"]));
        for attempt in entry["attempts"].as_array().into_iter().flatten() {
            add(&mut self.attempts, format!("{} {}", text(&attempt["endpoint"]), text(&attempt["outcome"])));
        }
        if entry["kind"] == "admin" {
            // Never the detail: it may quote a file or a person.
            let action = json!({
                "at": at, "action": entry["action"], "actor": entry["actor"], "done": entry["done"],
            });
            self.actions.push_back(action);
            if self.actions.len() > MOST_ACTIONS {
                self.actions.pop_front();
            }
        }
    }
}

fn audit(compiled: &Compiled, now: SystemTime, span: Duration) -> Value {
    let since = now.checked_sub(span).map(stamp).unwrap_or_default();
    let mut sums = Sums::default();
    let scanned = read::scan(
        &run::audit_folder(compiled),
        |_| true,
        |_, bytes| {
            match serde_json::from_slice::<Value>(bytes) {
                Ok(entry) => sums.count(&since, &entry),
                Err(_) => sums.unread += 1,
            }
            Ok(())
        },
    );
    json!({
        "since": since, "is_whole": scanned.is_ok(), "not_read": sums.unread, "kinds": sums.kinds, "codes": sums.codes,
        "ends": sums.ends, "attempts": sums.attempts, "actions": sums.actions,
    })
}

/// The status page without what a person wrote freely: reasons, and mistakes that quote a file.
fn quiet(mut status: Value) -> Value {
    if let Some(refused) = status.pointer_mut("/configuration/last_reload/refused") {
        *refused = json!(!refused.is_null());
    }
    for held in ["/restrictions", "/break_glass"] {
        if let Some(held) = status.pointer_mut(held) {
            without_reasons(held);
        }
    }
    status
}

fn without_reasons(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.remove("because");
        fields.values_mut().for_each(without_reasons);
    }
}

/// The endpoint whose credential stands in the text, if one does.
fn leaks<'c>(text: &str, compiled: &'c Compiled) -> Option<&'c str> {
    let holds = |endpoint: &&configuration::EndpointConfig| {
        let secret = endpoint.credential.as_ref().and_then(|credential| credential.secret());
        secret.is_some_and(|secret| secret.expose().len() >= 8 && text.contains(secret.expose()))
    };
    compiled.endpoints.iter().find(holds).map(|endpoint| endpoint.name.as_str())
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

fn stamp(at: SystemTime) -> String {
    OffsetDateTime::from(at).format(&Rfc3339).unwrap_or_default()
}
