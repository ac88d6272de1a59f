//! How the entries are written: each field straight into the buffer of waiting lines, see [`json`].

use std::net::IpAddr;

use serde::Serialize;

use super::super::json;
use super::{
    AttemptNote, BasisNote, CandidateNote, CaptureNote, DataNote, FeatureNote, FindingNote, Intent, Outcome, Refused,
    UsageNote,
};

/// What stands on a line behind its kind.
pub(in super::super) trait Entry {
    /// Writes the fields, each with a comma before it.
    fn write(&self, line: &mut Vec<u8>);
}

/// An entry that is written too seldom to be worth a writer of its own. It is an object with at least one field.
#[derive(Debug)]
pub(in super::super) struct Seldom<'a, T>(pub(in super::super) &'a T);

impl<T: Serialize> Entry for Seldom<'_, T> {
    fn write(&self, line: &mut Vec<u8>) {
        let brace = line.len();
        serde_json::to_writer(&mut *line, self.0)
            .expect("the entries have no maps and a Vec takes every byte, so serialising cannot fail");
        // The opening brace becomes the comma, and the line closes the object.
        line[brace] = b',';
        line.pop();
    }
}

impl Entry for Intent<'_> {
    fn write(&self, line: &mut Vec<u8>) {
        json::named(line, ",\"decision\":", self.decision);
        line.extend_from_slice(b",\"at\":");
        json::time(line, self.at);
        if let Some(waited) = self.waited {
            line.extend_from_slice(b",\"waited_ms\":");
            json::milliseconds(line, waited);
        }
        json::named(line, ",\"app\":", self.app);
        json::named(line, ",\"team\":", self.team);
        json::named_if(line, ",\"key\":", self.key);
        json::named_if(line, ",\"user\":", self.user);
        json::named(line, ",\"model\":", self.model);
        json::named(line, ",\"api\":", self.api);
        line.extend_from_slice(b",\"stream\":");
        json::flag(line, self.stream);
        write_peer(line, self.peer);
        write_trace(line, self.trace);
        json::named(line, ",\"policy\":", self.policy);
        json::named(line, ",\"pack\":", self.pack);
        json::named(line, ",\"configuration\":", self.configuration);
        write_candidates(line, self.candidates);
        write_basis(line, self.basis);
        line.extend_from_slice(b",\"plan\":");
        json::list(line, self.plan, |line, target| json::text(line, target));
        json::named_if(line, ",\"reason\":", Some(self.reason).filter(|reason| !reason.is_empty()));
        line.extend_from_slice(b",\"estimate\":{\"input\":");
        json::number(line, self.estimate.input);
        line.extend_from_slice(b",\"output\":");
        json::number(line, self.estimate.output);
        line.extend_from_slice(b",\"nano_usd\":");
        json::number(line, self.money);
        line.push(b'}');
        json::named(line, ",\"prices\":", self.prices);
        write_features(line, self.features);
        write_data(line, self.data);
        write_findings(line, self.findings);
        json::named_if(line, ",\"break_glass\":", self.break_glass);
        write_capture(line, self.capture);
    }
}

fn write_capture(line: &mut Vec<u8>, capture: Option<CaptureNote<'_>>) {
    match capture {
        None => return,
        Some(CaptureNote::Kept(digest)) => json::named(line, ",\"capture\":{\"sha256\":", digest),
        Some(CaptureNote::Cut(digest, why)) => {
            json::named(line, ",\"capture\":{\"sha256\":", digest);
            json::named(line, ",\"cut\":", why);
        }
        Some(CaptureNote::Failed(why)) => json::named(line, ",\"capture\":{\"failed\":", why),
    }
    line.push(b'}');
}

impl Entry for Refused<'_> {
    fn write(&self, line: &mut Vec<u8>) {
        json::named(line, ",\"decision\":", self.decision);
        line.extend_from_slice(b",\"at\":");
        json::time(line, self.at);
        json::named(line, ",\"app\":", self.app);
        json::named(line, ",\"team\":", self.team);
        json::named_if(line, ",\"key\":", self.key);
        json::named_if(line, ",\"model\":", self.model);
        json::named_if(line, ",\"api\":", self.api);
        write_peer(line, self.peer);
        write_trace(line, self.trace);
        json::named(line, ",\"policy\":", self.policy);
        json::named(line, ",\"pack\":", self.pack);
        json::named(line, ",\"configuration\":", self.configuration);
        line.extend_from_slice(b",\"status\":");
        json::number(line, self.status.into());
        json::named(line, ",\"code\":", self.code);
        if !self.candidates.is_empty() {
            write_candidates(line, self.candidates);
        }
        write_basis(line, self.basis);
        write_features(line, self.features);
        write_data(line, self.data);
        write_findings(line, self.findings);
    }
}

/// The line of an outcome: whose it is, the attempts, and how it ended.
#[derive(Debug)]
pub(in super::super) struct OutcomeLine<'a> {
    pub(in super::super) decision: &'a str,
    pub(in super::super) attempts: &'a [AttemptNote],
    pub(in super::super) outcome: Outcome<'a>,
    pub(in super::super) capture: Option<CaptureNote<'a>>,
    /// Whether the request was let through before its intent was known to be in the file.
    pub(in super::super) is_late: bool,
}

impl Entry for OutcomeLine<'_> {
    fn write(&self, line: &mut Vec<u8>) {
        let outcome = &self.outcome;
        json::named(line, ",\"decision\":", self.decision);
        line.extend_from_slice(b",\"outcome\":{\"at\":");
        json::time(line, outcome.at);
        write_status(line, outcome.status);
        json::named_if(line, ",\"code\":", outcome.code);
        write_usage(line, outcome.usage);
        json::named(line, ",\"settled_by\":", outcome.settled_by);
        if outcome.lost_tokens > 0 {
            line.extend_from_slice(b",\"lost_tokens\":");
            json::number(line, outcome.lost_tokens);
        }
        line.extend_from_slice(b",\"charged_nano_usd\":");
        json::number(line, outcome.charged);
        if !outcome.priced {
            line.extend_from_slice(b",\"price_unknown\":true");
        }
        if let Some(after) = outcome.to_first_byte {
            line.extend_from_slice(b",\"ms_to_first_byte\":");
            json::milliseconds(line, after);
        }
        line.extend_from_slice(b",\"ms_total\":");
        json::milliseconds(line, outcome.total);
        json::named(line, ",\"end\":", outcome.end.name());
        line.extend_from_slice(b"},\"attempts\":");
        json::list(line, self.attempts, write_attempt);
        write_capture(line, self.capture);
        if self.is_late {
            line.extend_from_slice(b",\"late\":true");
        }
    }
}

fn write_attempt(line: &mut Vec<u8>, attempt: &AttemptNote) {
    json::named(line, "{\"target\":", &attempt.target);
    json::named(line, ",\"endpoint\":", &attempt.endpoint);
    if let Some(place) = &attempt.place {
        line.extend_from_slice(b",\"place\":");
        line.extend_from_slice(place.json());
    }
    json::named(line, ",\"outcome\":", attempt.outcome);
    write_status(line, attempt.status);
    if let Some(address) = attempt.address {
        line.extend_from_slice(b",\"address\":");
        json::socket(line, address);
    }
    json::named_if(line, ",\"evidence\":", attempt.evidence);
    json::named_if(line, ",\"verdict\":", attempt.verdict);
    if let Some(path) = &attempt.path {
        line.extend_from_slice(b",\"path\":");
        line.extend_from_slice(path.json());
    }
    line.extend_from_slice(b",\"ms\":");
    json::milliseconds(line, attempt.took);
    write_usage(line, attempt.usage);
    line.extend_from_slice(b",\"may_have_executed\":");
    json::flag(line, attempt.may_have_executed);
    json::named_if(line, ",\"user\":", attempt.seen.user);
    if !attempt.seen.places.is_empty() {
        line.extend_from_slice(b",\"place_said\":");
        json::list(line, &attempt.seen.places, |line, (by, said)| {
            json::named(line, "{\"by\":", by);
            json::named(line, ",\"said\":", said);
            line.push(b'}');
        });
    }
    line.push(b'}');
}

fn write_status(line: &mut Vec<u8>, status: Option<u16>) {
    if let Some(status) = status {
        line.extend_from_slice(b",\"status\":");
        json::number(line, status.into());
    }
}

fn write_usage(line: &mut Vec<u8>, usage: Option<UsageNote>) {
    let Some(usage) = usage else { return };
    line.extend_from_slice(b",\"usage\":{\"input\":");
    json::number(line, usage.input);
    line.extend_from_slice(b",\"output\":");
    json::number(line, usage.output);
    if usage.cached_input > 0 {
        line.extend_from_slice(b",\"cached_input\":");
        json::number(line, usage.cached_input);
    }
    if usage.reasoning > 0 {
        line.extend_from_slice(b",\"reasoning\":");
        json::number(line, usage.reasoning);
    }
    line.push(b'}');
}

fn write_peer(line: &mut Vec<u8>, peer: Option<IpAddr>) {
    if let Some(peer) = peer {
        line.extend_from_slice(b",\"peer\":");
        json::ip(line, peer);
    }
}

fn write_trace(line: &mut Vec<u8>, trace: Option<[u8; 16]>) {
    if let Some(trace) = trace {
        line.extend_from_slice(b",\"trace_id\":\"");
        json::hex(line, &trace);
        line.push(b'"');
    }
}

fn write_basis(line: &mut Vec<u8>, basis: &[&BasisNote]) {
    if basis.is_empty() {
        return;
    }
    line.extend_from_slice(b",\"basis\":{");
    for (index, basis) in basis.iter().enumerate() {
        if index > 0 {
            line.push(b',');
        }
        line.extend_from_slice(basis.member());
    }
    line.push(b'}');
}

fn write_candidates(line: &mut Vec<u8>, candidates: &[CandidateNote<'_>]) {
    line.extend_from_slice(b",\"candidates\":");
    json::list(line, candidates, |line, candidate| {
        json::named(line, "{\"target\":", candidate.target);
        json::named(line, ",\"verdict\":", candidate.verdict);
        json::named_if(line, ",\"why\":", Some(candidate.why).filter(|why| !why.is_empty()));
        json::named_if(line, ",\"proposed\":", candidate.proposed);
        json::named_if(line, ",\"fallback\":", candidate.fallback);
        json::named_if(line, ",\"facts\":", candidate.facts);
        line.push(b'}');
    });
}

fn write_data(line: &mut Vec<u8>, data: Option<DataNote<'_>>) {
    let Some(data) = data else { return };
    line.extend_from_slice(b",\"data\":{\"labels\":");
    json::list(line, data.labels, |line, label| json::text(line, label));
    if !data.labels.is_empty() {
        line.extend_from_slice(b",\"from\":");
        let registered = std::iter::repeat_n(&"registration", data.labels.len().saturating_sub(data.from.len()));
        let from: Vec<&str> = data.from.iter().chain(registered).copied().collect();
        json::list(line, &from, |line, from| json::text(line, from));
    }
    json::named(line, ",\"class\":", data.class);
    json::named_if(line, ",\"class_from\":", data.class_from);
    json::named_if(line, ",\"purpose\":", data.purpose);
    json::named_if(line, ",\"purpose_from\":", data.purpose_from);
    line.push(b'}');
}

fn write_findings(line: &mut Vec<u8>, findings: &[FindingNote<'_>]) {
    if findings.is_empty() {
        return;
    }
    line.extend_from_slice(b",\"findings\":");
    json::list(line, findings, |line, finding| {
        json::named(line, "{\"kind\":", finding.kind);
        line.extend_from_slice(b",\"count\":");
        json::number(line, finding.count);
        if finding.suppressed {
            line.extend_from_slice(b",\"suppressed\":true");
        }
        line.push(b'}');
    });
}

fn write_features(line: &mut Vec<u8>, features: &[FeatureNote<'_>]) {
    if features.is_empty() {
        return;
    }
    line.extend_from_slice(b",\"features\":");
    json::list(line, features, |line, feature| {
        json::named(line, "{\"kind\":", feature.kind);
        json::named(line, ",\"path\":", feature.path);
        line.push(b'}');
    });
}
