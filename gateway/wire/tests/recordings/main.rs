//! Recorded exchanges of real clients with OpenAI, Azure OpenAI and Anthropic: requests and replies must survive.
//!
//! The recordings lie outside the project, under their own licences. `CAUSEWAY_RECORDINGS` names their folder; without
//! it, `shared/data/recordings` beside the project is tried. Where neither exists the tests say so and pass.

mod cassette;
mod naive;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;

use bytes::Bytes;
use cassette::Exchange;
use serde_json::Value;
use wire::{
    Api, EncodeTarget, RelayOptions, Relayed, Route, SseFramer, StreamEnd, StreamRelay, decode, dialect, route,
    usage_of_reply,
};

const PROVIDERS: [&str; 3] = ["openai", "azure-openai", "anthropic"];

fn folder() -> Option<PathBuf> {
    let named = std::env::var_os("CAUSEWAY_RECORDINGS").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/recordings");
    let folder = named.unwrap_or(beside);
    if folder.is_dir() {
        return Some(folder);
    }
    say(&format!("SKIPPED: no recordings at {}; set CAUSEWAY_RECORDINGS to their folder", folder.display()));
    not_tested("recorded exchanges of real clients: their folder is not here (CAUSEWAY_RECORDINGS names it)");
    None
}

/// Puts a line into the list that `tests/run` prints at its end: what a test that passes says, its runner keeps to itself.
fn not_tested(what: &str) {
    static SAID: std::sync::Once = std::sync::Once::new();
    let Some(list) = std::env::var_os("CAUSEWAY_NOT_TESTED") else { return };
    SAID.call_once(|| {
        let list = std::fs::OpenOptions::new().append(true).create(true).open(list);
        let told = list.and_then(|mut list| writeln!(list, "{what}"));
        told.expect("the list of what was not tested can be written");
    });
}

/// A line on standard error: what was skipped and what was counted is the point of these tests.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Exchanges of one provider's folder, with the call that each path means.
fn calls(provider: &str) -> Option<Vec<(Exchange, Api, Option<String>)>> {
    let exchanges = cassette::read_all(&folder()?.join(provider));
    let routed = exchanges.into_iter().filter_map(|exchange| match route(&http::Method::POST, &exchange.path) {
        Ok(Route::Call { api, model }) if exchange.method.eq_ignore_ascii_case("post") => Some((exchange, api, model)),
        _ => None,
    });
    Some(routed.collect())
}

fn summary(what: &str, counts: &BTreeMap<(&str, &str), usize>) {
    for ((provider, kind), count) in counts {
        say(&format!("{what}: {provider} {kind}: {count}"));
    }
}

#[test]
fn recorded_requests_are_sent_on_with_only_the_stated_splices() {
    let mut counts = BTreeMap::new();
    for provider in PROVIDERS {
        let Some(calls) = calls(provider) else { return };
        for (exchange, api, path_model) in calls {
            let Some(body) = &exchange.request else { continue };
            let Ok(before) = serde_json::from_slice::<Value>(body) else { continue };
            let call = match decode(api, path_model.as_deref(), Bytes::copy_from_slice(body)) {
                Ok(call) => call,
                Err(error) => {
                    assert!(before.get("model").is_none(), "{}: {error}", exchange.file);
                    *counts.entry((provider, "without a model")).or_insert(0) += 1;
                    continue;
                }
            };
            for keep_state in [true, false] {
                let target = EncodeTarget { upstream_model: "elsewhere", keep_state, most_output: None };
                let dialect = dialect(provider).expect("every folder is named for a dialect");
                let encoded = dialect.encode(&call, &target);
                let after: Value = serde_json::from_slice(&encoded.to_bytes()).expect("what was spliced is JSON");
                assert_eq!(after, naive::spliced(before.clone(), api, &target), "{}", exchange.file);
            }
            *counts.entry((provider, "requests")).or_insert(0) += 1;
            if !call.features().is_empty() {
                *counts.entry((provider, "requests with findings")).or_insert(0) += 1;
            }
        }
        assert!(counts.get(&(provider, "requests")).is_some_and(|count| *count > 0), "{provider}");
    }
    summary("requests", &counts);
}

#[test]
fn recorded_replies_give_the_usage_that_they_state() {
    let mut counts = BTreeMap::new();
    for provider in PROVIDERS {
        let Some(calls) = calls(provider) else { return };
        for (exchange, api, _) in calls {
            let Ok(reply) = serde_json::from_slice::<Value>(&exchange.reply) else { continue };
            let found = usage_of_reply(api, &exchange.reply).map(|usage| naive::numbers_of(&usage));
            assert_eq!(found, naive::usage_of(api, &reply), "{}", exchange.file);
            let kind = if found.is_some() { "replies with usage" } else { "replies without usage" };
            *counts.entry((provider, kind)).or_insert(0) += 1;
        }
        assert!(counts.get(&(provider, "replies with usage")).is_some_and(|count| *count > 0), "{provider}");
    }
    summary("replies", &counts);
}

#[test]
fn recorded_streams_survive_byte_for_byte_with_their_usage() {
    let mut counts = BTreeMap::new();
    for provider in PROVIDERS {
        let Some(calls) = calls(provider) else { return };
        for (exchange, api, _) in calls.iter().filter(|(exchange, ..)| exchange.is_stream()) {
            let complete = check_stream(&exchange.file, *api, &exchange.reply);
            let kind = if complete { "streams" } else { "streams cut or failed" };
            *counts.entry((provider, kind)).or_insert(0) += 1;
        }
        assert!(counts.get(&(provider, "streams")).is_some_and(|count| *count > 0), "{provider}");
    }
    summary("streams", &counts);
}

#[test]
fn recorded_chunks_and_replies_of_other_fixtures_survive_too() {
    let Some(folder) = folder() else { return };
    let mut counts = BTreeMap::new();
    for (file, text) in cassette::read_fixtures(&folder.join("vercel-ai-fixtures")) {
        let Some((provider, api)) = fixture_api(&file) else { continue };
        if file.ends_with(".chunks.txt") {
            // One event's data on each line; of a messages stream, some lines hold no JSON but a comment of the recorder.
            let stream: String = text.lines().map(|line| format!("data: {line}\n\n")).collect();
            check_stream(&file, api, stream.as_bytes());
            *counts.entry((provider, "streams")).or_insert(0) += 1;
        } else if let Ok(reply) = serde_json::from_str::<Value>(&text) {
            let found = usage_of_reply(api, text.as_bytes()).map(|usage| naive::numbers_of(&usage));
            assert_eq!(found, naive::usage_of(api, &reply), "{file}");
            *counts.entry((provider, "replies")).or_insert(0) += 1;
        }
    }
    for (provider, kind) in [("openai", "streams"), ("anthropic", "streams"), ("azure", "replies")] {
        assert!(counts.get(&(provider, kind)).is_some_and(|count| *count > 0), "{provider} {kind}");
    }
    summary("fixtures", &counts);
}

fn fixture_api(file: &str) -> Option<(&'static str, Api)> {
    let table = [
        ("anthropic__src____fixtures", "anthropic", Api::Messages),
        ("openai__src__responses", "openai", Api::Responses),
        ("openai__src__chat", "openai", Api::Chat),
        ("open-responses__src__responses", "openai", Api::Responses),
        ("azure__src____fixtures", "azure", Api::Responses),
    ];
    let found = table.into_iter().find(|(prefix, ..)| file.starts_with(prefix));
    found.map(|(_, provider, api)| (provider, api))
}

/// Relays a stream in chunks of several sizes; says whether it was complete.
fn check_stream(file: &str, api: Api, stream: &[u8]) -> bool {
    let expected = naive::stream_usage(api, stream);
    let mut complete = true;
    for size in [1, 97, stream.len().max(1)] {
        let mut framer = SseFramer::new();
        let options = RelayOptions { usage_asked: true, injected_usage: false };
        let mut relay = StreamRelay::new(api, options);
        let mut out = Vec::new();
        let mut frames = Vec::new();
        for chunk in stream.chunks(size) {
            framer.push(Bytes::copy_from_slice(chunk));
            while let Some(frame) = framer.next_frame().expect("no recorded event is over the bound") {
                frames.push(frame);
            }
        }
        frames.extend(framer.finish());
        for frame in frames {
            match relay.frame(frame) {
                Relayed::Forward(bytes) => out.extend_from_slice(&bytes),
                Relayed::Error(error) => out.extend_from_slice(&error.raw),
                Relayed::Drop => {}
            }
        }
        let usage = relay.usage().map(naive::numbers_of);
        assert_eq!(usage, expected, "{file} in chunks of {size}");
        let added = relay.finish(StreamEnd::Clean).is_some();
        complete = !relay.failed();
        // Recorders trim what ends a file, so a last blank line may have been put back.
        let shared = out.len().min(stream.len());
        assert_eq!(out.get(..shared), stream.get(..shared), "{file} in chunks of {size}");
        assert!(shared == stream.len() || !complete, "{file}: lost the end");
        if complete && !added {
            assert!(out.len() <= stream.len() + 2, "{file}: something was added");
        }
    }
    if !complete {
        say(&format!("not complete: {file}"));
    }
    complete
}
