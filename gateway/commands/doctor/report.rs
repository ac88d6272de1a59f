//! What was found, for a person and for a program.

use std::fmt::Write as _;

use egress::{Code, Step};
use serde_json::{Value, json};

use super::Found;
use super::examine::{Examination, Finding};
use super::services::{Visit, Wrong};

const INTO_STRING: &str = "writing into a String cannot fail";

/// For a person.
pub(super) fn text(found: &Found) -> String {
    let mut text = String::new();
    for one in &found.endpoints {
        endpoint(&mut text, one).expect(INTO_STRING);
    }
    for one in &found.services {
        service(&mut text, one).expect(INTO_STRING);
    }
    if !found.endpoints.is_empty() || found.services.is_empty() {
        let ill = found.endpoints.iter().filter(|one| !one.is_well()).count();
        sum(&mut text, (ill, found.endpoints.len()), "endpoints").expect(INTO_STRING);
    }
    if !found.services.is_empty() {
        let ill = found.services.iter().filter(|one| !one.is_well()).count();
        sum(&mut text, (ill, found.services.len()), "services").expect(INTO_STRING);
    }
    text
}

fn sum(text: &mut String, (ill, all): (usize, usize), what: &str) -> std::fmt::Result {
    match ill {
        0 => writeln!(text, "fine: {all} of {all} {what} can be used"),
        ill => writeln!(text, "wrong: {ill} of {all} {what} cannot be used"),
    }
}

fn service(text: &mut String, one: &Visit) -> std::fmt::Result {
    let Visit { name, url, reach, .. } = one;
    writeln!(text, "service {name}  {url}  {reach}")?;
    for step in &one.steps {
        let mark = if step.code.is_some() { "WRONG" } else { "ok" };
        writeln!(text, "  {mark:<6}{:<9}{:>6} ms  {}", step.what, step.took.as_millis(), step.seen)?;
    }
    match &one.verdict {
        Some(Wrong::Way(finding)) => told(text, finding)?,
        Some(Wrong::Service { code, seen }) => {
            let entry = code.entry();
            writeln!(text, "  {}  {}", entry.code, entry.title)?;
            writeln!(text, "    seen   {seen}")?;
            writeln!(text, "    means  {}", entry.means)?;
            writeln!(text, "    mend   {}: {}", entry.who, entry.mend)?;
        }
        None => {}
    }
    writeln!(text)
}

fn endpoint(text: &mut String, one: &Examination) -> std::fmt::Result {
    let Examination { name, url, reach, inspection, .. } = one;
    writeln!(text, "endpoint {name}  {url}  {reach}")?;
    for Step { kind, took, seen, code } in &inspection.steps {
        let mark = if code.is_some() { "WRONG" } else { "ok" };
        writeln!(text, "  {mark:<6}{:<9}{:>6} ms  {seen}", kind.as_str(), took.as_millis())?;
    }
    if let Some(finding) = &one.verdict {
        told(text, finding)?;
    }
    for finding in &one.warnings {
        told(text, finding)?;
    }
    for view in &one.servers {
        let refused = view.refused.as_ref().map_or_else(String::new, |refused| format!("  ({})", refused.code));
        writeln!(text, "  server {}  {}{refused}", view.server, view.chain)?;
    }
    for sibling in &one.siblings {
        let state = match (&sibling.not_asked, &sibling.wrong) {
            (Some(why), _) => format!("not asked: {why}"),
            (None, Some(wrong)) => format!("{}: {}", wrong.code, wrong.seen),
            (None, None) => "private as well".to_owned(),
        };
        writeln!(text, "  also   {}  {state}", sibling.host)?;
    }
    for hop in &one.trace {
        writeln!(text, "  hop {:<4}{hop}", hop.ttl)?;
    }
    for one in &one.idle {
        writeln!(text, "  silent {:>5} s  {}", one.silence.as_secs(), one.outcome)?;
    }
    writeln!(text)
}

fn told(text: &mut String, Finding { code, seen }: &Finding) -> std::fmt::Result {
    let entry = code.entry();
    writeln!(
        text,
        "  {code}  {} ({})",
        entry.title,
        if entry.act == egress::Act::Deny { "refused" } else { "warning" }
    )?;
    writeln!(text, "    seen   {seen}")?;
    writeln!(text, "    means  {}", entry.means)?;
    writeln!(text, "    mend   {}: {}", entry.who.as_str(), entry.mend)?;
    writeln!(text, "    known  {}", entry.evidence.as_str())
}

/// For a program.
pub(super) fn json(found: &Found) -> String {
    let endpoints: Vec<Value> = found.endpoints.iter().map(endpoint_json).collect();
    let services: Vec<Value> = found.services.iter().map(service_json).collect();
    let all = json!({ "format": 1, "ok": found.is_well(), "endpoints": endpoints, "services": services });
    format!("{all:#}\n")
}

fn service_json(one: &Visit) -> Value {
    let step = |step: &super::services::Step| json!({ "step": step.what, "ms": milliseconds(step.took), "seen": step.seen, "code": step.code });
    let verdict = one.verdict.as_ref().map(|wrong| match wrong {
        Wrong::Way(finding) => finding_json(finding),
        Wrong::Service { code, seen } => {
            let entry = code.entry();
            json!({
                "code": entry.code, "title": entry.title, "seen": seen, "means": entry.means, "who": entry.who,
                "mend": entry.mend,
            })
        }
    });
    json!({
        "name": one.name, "url": one.url, "reach": one.reach, "ok": one.is_well(), "verdict": verdict,
        "steps": one.steps.iter().map(step).collect::<Vec<_>>(),
    })
}

fn endpoint_json(one: &Examination) -> Value {
    let steps: Vec<Value> = one.inspection.steps.iter().map(step_json).collect();
    let server = |view: &super::servers::View| {
        let refused = view.refused.as_ref().map(finding_json);
        json!({ "server": view.server, "chain": view.chain, "addresses": view.addresses, "refused": refused })
    };
    let sibling = |sibling: &super::siblings::Sibling| {
        let wrong = sibling.wrong.as_ref().map(finding_json);
        json!({ "host": sibling.host, "wrong": wrong, "not_asked": sibling.not_asked })
    };
    let silent = |one: &super::idle::Try| json!({ "seconds": one.silence.as_secs(), "seen": one.outcome.to_string() });
    let hop = |hop: &egress::TraceHop| json!({ "ttl": hop.ttl, "seen": hop.to_string() });
    json!({
        "name": one.name,
        "url": one.url,
        "reach": one.reach,
        "ok": one.is_well(),
        "verdict": one.verdict.as_ref().map(finding_json),
        "warnings": one.warnings.iter().map(finding_json).collect::<Vec<_>>(),
        "steps": steps,
        "servers": one.servers.iter().map(server).collect::<Vec<_>>(),
        "names": one.siblings.iter().map(sibling).collect::<Vec<_>>(),
        "trace": one.trace.iter().map(hop).collect::<Vec<_>>(),
        "idle": one.idle.iter().map(silent).collect::<Vec<_>>(),
        "connection": connection_json(one),
    })
}

fn connection_json(one: &Examination) -> Value {
    let Some(proof) = &one.inspection.connection else { return Value::Null };
    let tls = proof.tls.as_ref().map(|tls| {
        json!({ "version": tls.version, "group": tls.group, "issuer": tls.issuer, "certificate_sha256": tls.certificate_sha256 })
    });
    json!({ "peer": proof.peer, "source": proof.source, "evidence": proof.level.as_str(), "via": proof.via, "tls": tls })
}

fn milliseconds(took: std::time::Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

fn step_json(step: &Step) -> Value {
    json!({ "step": step.kind.as_str(), "ms": milliseconds(step.took), "seen": step.seen, "code": step.code.map(Code::as_str) })
}

fn finding_json(Finding { code, seen }: &Finding) -> Value {
    let entry = code.entry();
    json!({
        "code": code.as_str(),
        "title": entry.title,
        "seen": seen,
        "means": entry.means,
        "who": entry.who.as_str(),
        "mend": entry.mend,
        "evidence": entry.evidence.as_str(),
        "act": entry.act.as_str(),
    })
}
