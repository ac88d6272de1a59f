//! `/api/status`: what runs, since when, on which configuration, and what is wrong.

use std::time::{Instant, SystemTime};

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use egress::{CanaryReport, CanarySeen, ConnectionProof, ControlHost, EndpointStatus, Hop, TokenStatus, Verdict};
use routing::Standing;

use super::{budgets, issuers};
use crate::export;
use crate::gateway::Gateway;
use crate::pipeline::month_of;
use crate::run::Reloader;
use crate::snapshot::{Model, ModelSteering, Snapshot};

/// Takes over the figures that are not counted where they arise; called before the metrics are rendered.
pub(crate) fn gauge(gateway: &Gateway) {
    let snapshot = gateway.snapshot();
    gateway.metrics.set_audit(&gateway.audit.status());
    let process = gateway.metrics.process();
    process.in_flight().set(i64::from(snapshot.admission.in_flight()));
    process.restrictions().set(i64::try_from(gateway.restrictions.current().len()).unwrap_or(i64::MAX));
    process.open_grants().set(gateway.break_glass.open_count(SystemTime::now()));
    process.buffered_bytes().set(i64::try_from(gateway.body_budget.held()).unwrap_or(i64::MAX));
    issuers::gauge(gateway, &snapshot);
    budgets::gauge(gateway, &snapshot, month_of(SystemTime::now()));
    export::gauge(gateway);
    gateway.metrics.set_captures(&gateway.captures.status());
    gauge_spending(gateway, &snapshot);
    let now = Instant::now();
    let mut ejected = std::collections::BTreeMap::<&str, i64>::new();
    for target in snapshot.targets() {
        let out = matches!(target.standing(now), Standing::Ejected { .. } | Standing::Probing { .. });
        *ejected.entry(&target.endpoint).or_default() += i64::from(out);
    }
    for target in snapshot.targets() {
        target.metrics.ejected().set(ejected.get(&*target.endpoint).copied().unwrap_or_default());
        target.metrics.cache_hits().set(target.steering.cache_ratio().unwrap_or(f64::NAN));
    }
    let ledger = gateway.ledger.status();
    process.ledger_behind_bytes().set(i64::try_from(ledger.behind_bytes).unwrap_or(i64::MAX));
    process.ledger_failing().set(i64::from(ledger.failing.is_some()));
    let is_lost = snapshot.sharing.as_ref().is_some_and(|sharing| sharing.counters.status().lost.is_some());
    process.store_lost().set(i64::from(is_lost));
    for model in snapshot.models() {
        let mut burst = model.steering.state.burst.lock();
        let turn = burst.on_tick(now);
        ModelSteering::announce(&model.name, turn);
        model.metrics.burst_open().set(i64::from(burst.open_since().is_some()));
        model.metrics.pressure().set(burst.pressure(now).unwrap_or_default());
        drop(burst);
        model.metrics.waiting().set(i64::try_from(model.steering.state.queue().lock().len()).unwrap_or(i64::MAX));
    }
    let statuses = snapshot.fleet.status();
    let verdicts = statuses.iter().flat_map(|status| {
        let open = match status.canary.as_ref().map(|report| &report.seen) {
            Some(CanarySeen::Open(verdict)) => Some(verdict),
            Some(CanarySeen::Closed(_) | CanarySeen::Unknown(_)) | None => None,
        };
        let codes = [status.verdict.as_ref(), open].into_iter().flatten().map(|verdict| verdict.code.as_str());
        codes.map(|code| (&*status.name, code))
    });
    gateway.metrics.set_verdicts(verdicts);
    let today = SystemTime::now();
    gateway.metrics.set_stale(statuses.iter().filter_map(|status| {
        let since = today.duration_since(status.stale_since?).unwrap_or_default();
        Some((&*status.name, since))
    }));
    let tokens = snapshot.fleet.tokens();
    gateway.metrics.set_token_lives(tokens.iter().map(|token| {
        let life = token.expires.and_then(|until| until.duration_since(today).ok()).unwrap_or_default();
        ([&*token.host, token.grant, &token.scope], life)
    }));
    for status in statuses {
        if let Some(target) = snapshot.targets().find(|target| *target.endpoint == *status.name) {
            let (open, idle) = (status.connections.open, status.connections.idle);
            target.metrics.open_connections().set(i64::try_from(open).unwrap_or(i64::MAX));
            target.metrics.idle_connections().set(i64::try_from(idle).unwrap_or(i64::MAX));
        }
    }
}

/// Dollars are for people and pictures here; the ledger counts in whole billionths.
fn gauge_spending(gateway: &Gateway, snapshot: &Snapshot) {
    let month = month_of(SystemTime::now());
    let dollars = |nano: u64| nano as f64 / 1e9;
    gateway.metrics.set_spending(snapshot.apps().map(|app| {
        let budget = app.book.budget(month);
        let used = budget.spent.0.saturating_add(budget.held.0);
        (&*app.name, dollars(used), budget.limit.map(|limit| dollars(limit.0)))
    }));
}

pub(super) fn report(gateway: &Gateway, reloader: Option<&Reloader>) -> Value {
    let snapshot = gateway.snapshot();
    let audit = gateway.audit.status();
    let ledger = gateway.ledger.status();
    let last = reloader.map(Reloader::last);
    let now = SystemTime::now();
    let now_instant = Instant::now();
    let month = month_of(now);
    let targets: Vec<Value> = snapshot
        .targets()
        .map(|target| {
            let standing = target.standing(now_instant);
            let (in_flight, rate, page) = target.steering.reading(now_instant);
            json!({
                "target": target.name,
                "provider": target.dialect.name(),
                "standing": standing.name(),
                "in_flight": in_flight,
                "prompt_tokens_per_second": rate.round(),
                "paid": target.pricing.name(),
                "session_cache_hits": target.steering.cache_ratio(),
                "page": page.map(|load| json!({ "engine": load.engine, "running": load.running, "waiting": load.waiting,
                                                "cache_usage": load.cache_usage })),
            })
        })
        .collect();
    let models: Vec<Value> = snapshot.models().map(|model| model_report(model, now_instant)).collect();
    let apps: Vec<Value> = snapshot
        .apps()
        .map(|app| {
            let totals = app.book.totals();
            let budget = app.book.budget(month);
            json!({
                "app": app.name,
                "team": app.team,
                "requests": totals.requests,
                "open": totals.open,
                "tokens": { "input": totals.settled_input.0, "output": totals.settled_output.0,
                            "unknown": totals.settled_unknown.0, "reserved": totals.reserved.0 },
                "usd": { "settled": totals.settled_money.to_string(), "flagged": totals.flagged_money.to_string(),
                         "held": totals.held_money.to_string() },
                "budget": { "usd_per_month": budget.limit.map(|limit| limit.to_string()),
                            "spent": budget.spent.to_string(), "held": budget.held.to_string() },
                "denied": totals.denied,
            })
        })
        .collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "phase": format!("{:?}", gateway.phase()).to_lowercase(),
        "configuration": {
            "hash": snapshot.hash,
            "policy": snapshot.policy_hash,
            "data_pack": {
                "version": snapshot.pack.version, "hash": snapshot.pack.hash(), "is_own": snapshot.pack.is_own(),
            },
            "loaded_at": stamp(snapshot.loaded),
            "age_seconds": now.duration_since(snapshot.loaded).map_or(0, |age| age.as_secs()),
            "degraded": last.as_ref().is_some_and(|last| last.refused.is_some()),
            "from_last_good": last.as_ref().is_some_and(|last| last.from_last_good),
            "last_reload": last.as_ref().map(|last| json!({ "at": stamp(last.at), "refused": last.refused })),
            "not_enforced_yet": snapshot.notes,
        },
        "prices": { "catalogue": snapshot.prices, "are_old": snapshot.prices_are_old(now) },
        "audit": {
            "folder": gateway.audit.folder(),
            "epoch": gateway.audit.epoch(),
            "entries": audit.entries,
            "open": audit.open,
            "errors": audit.errors,
            "lost": audit.lost,
            "actions_lost": audit.actions_lost,
            "refusals_lost": audit.refusals_lost,
            "passed": audit.passed,
            "unrecorded": audit.unrecorded,
            "refuse_from": snapshot.refuse_from.map(policy::Class::name),
            "failing": audit.failing,
            "signed": audit.signed,
            "checkpoint_failing": audit.checkpoint_failing,
            "witness": match audit.witnessed {
                None => json!("none: nothing outside would show a log that was written anew"),
                Some(entries) => json!({ "entries": entries, "failing": audit.witness_failing }),
            },
        },
        "break_glass": &*gateway.break_glass.current(),
        "restrictions": &*gateway.restrictions.current(),
        "ledger": {
            "kept_in": match snapshot.home() { ::ledger::Home::Folder => "sqlite", ::ledger::Home::Postgres(_) => "postgresql" },
            "behind_bytes": ledger.behind_bytes,
            "most_behind_bytes": ::ledger::MOST_JOURNAL,
            "open": ledger.open,
            "entries": ledger.entries,
            "recovered": ledger.recovered,
            "damaged": ledger.damaged,
            "lost": ledger.lost,
            "failing": ledger.failing,
        },
        "store": snapshot.sharing.as_ref().map(|sharing| store(&sharing.counters.status())),
        "in_flight": snapshot.admission.in_flight(),
        "endpoints": snapshot.fleet.status().iter().map(endpoint).collect::<Vec<_>>(),
        "identities": identities(&snapshot),
        "issuers": issuers::report(&snapshot),
        "tokens": snapshot.fleet.tokens().iter().map(token).collect::<Vec<_>>(),
        "targets": targets,
        "models": models,
        "apps": apps,
        "budgets": budgets::report(&snapshot),
        "keys": snapshot.keys().map(|key| json!({
            "key": key.name, "last_used": key.last_used().map(stamp),
        })).collect::<Vec<_>>(),
    })
}

/// How it stands with what several gateways share.
fn store(status: &ledger::StoreStatus) -> Value {
    let ledger::StoreStatus { connected, lost, losses, rounds, counters } = status;
    json!({ "connected": connected, "lost": lost, "losses": losses, "rounds": rounds, "counters": counters })
}

/// Whether a model's own capacity is saturated, as people and what scales its servers ask.
fn model_report(model: &Model, now: Instant) -> Value {
    let steering = &model.steering;
    let tightness = steering.state.calibration.lock().at(now);
    let burst = steering.state.burst.lock();
    json!({
        "model": model.name,
        "burst": { "open": burst.open_since().is_some(), "share": burst.share(now), "pressure": burst.pressure(now),
                   "open_for_seconds": burst.open_since().map(|since| now.saturating_duration_since(since).as_secs()) },
        "tightness": { "first_token": tightness.first_token, "per_token": tightness.per_token },
        "waiting": steering.state.queue().lock().len(),
    })
}

pub(super) fn stamp(at: SystemTime) -> String {
    OffsetDateTime::from(at).format(&Rfc3339).unwrap_or_default()
}

fn endpoint(status: &EndpointStatus) -> Value {
    json!({
        "endpoint": status.name,
        "reach": status.reach,
        "in_flight": status.in_flight,
        "connections": { "open": status.connections.open, "idle": status.connections.idle },
        "last_error": status.last_error.as_ref().map(|error| json!({ "at": stamp(error.at), "message": error.message })),
        "resolution": status.last_resolution.as_ref().map(|resolution| json!({
            "at": stamp(resolution.at),
            "by": resolution.by,
            "addresses": resolution.addresses,
            "valid_for_seconds": resolution.valid_for.map(|valid| valid.as_secs()),
            "refused": resolution.refused.as_ref().map(ToString::to_string),
            "chain": resolution.resolution.hops.iter().map(hop).collect::<Vec<_>>(),
        })),
        "verdict": status.verdict.as_ref().map(verdict),
        "canary": status.canary.as_ref().map(canary),
        "stale_since": status.stale_since.map(stamp),
        "connection": status.last_connection.as_ref().map(|proof| connection(proof)),
        "probe": status.last_probe.as_ref().map(|probe| json!({
            "at": stamp(probe.at),
            "healthy": probe.is_healthy(),
            "status": probe.result.as_ref().ok(),
            "error": probe.result.as_ref().err(),
        })),
    })
}

/// The hosts that give tokens, and those that have keys of issuers, take telemetry, or are control planes.
fn identities(snapshot: &Snapshot) -> Vec<Value> {
    let of_tokens = snapshot.fleet.identities();
    let of_tokens = of_tokens.iter().map(|host| host.status());
    of_tokens.chain(snapshot.fleet.controls().iter().map(ControlHost::status)).map(|status| endpoint(&status)).collect()
}

/// How the gateway identifies itself; the token itself is nowhere in it.
fn token(token: &TokenStatus) -> Value {
    json!({
        "identity": token.host,
        "grant": token.grant,
        "scope": token.scope,
        "expires_at": token.expires.map(stamp),
        "failed": token.failed.as_ref().map(verdict),
        "clock_ahead_seconds": token.clock_ahead_s,
    })
}

fn hop(hop: &Hop) -> Value {
    json!({
        "owner": hop.owner,
        "kind": hop.kind,
        "data": hop.data,
        "ttl": hop.ttl,
        "server": hop.server,
        "transport": hop.transport,
        "resolver": hop.resolver,
    })
}

/// Why an endpoint may not be used, in the words that `doctor` uses as well.
fn verdict(verdict: &Verdict) -> Value {
    let entry = verdict.entry();
    json!({
        "code": verdict.code.as_str(),
        "seen": verdict.seen,
        "title": entry.title,
        "means": entry.means,
        "who": entry.who.as_str(),
        "mend": entry.mend,
        "rests_on": entry.evidence.as_str(),
    })
}

/// What the look at the public front showed: `closed`, `open` or `unknown`.
fn canary(report: &CanaryReport) -> Value {
    let at = stamp(report.at);
    match &report.seen {
        CanarySeen::Closed(code) => json!({ "at": at, "public_front": "closed", "code": code.as_str() }),
        CanarySeen::Open(open) => json!({ "at": at, "public_front": "open", "verdict": verdict(open) }),
        CanarySeen::Unknown(why) => json!({ "at": at, "public_front": "unknown", "why": why }),
    }
}

/// What is known of the connection that was opened last.
fn connection(proof: &ConnectionProof) -> Value {
    json!({
        "evidence": proof.level.as_str(),
        "resolved_by": proof.resolved_by,
        "chain": proof.resolution.chain(),
        "servers": proof.resolution.servers(),
        "stale": proof.stale,
        "address": proof.address,
        "peer": proof.peer,
        "via": proof.via,
        "source": proof.source,
        "tls": proof.tls.as_ref().map(|tls| json!({
            "version": tls.version,
            "group": tls.group,
            "certificate_sha256": tls.certificate_sha256,
            "issuer": tls.issuer,
        })),
    })
}
