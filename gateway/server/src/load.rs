//! What a document may name in this version: the dialects that `wire` speaks, and what other parts enforce already.

use std::sync::LazyLock;
use std::time::SystemTime;

use wire::Api;

use crate::configuration::{Known, LoadOptions, Provider};

/// Settings that `egress` enforces, so that the configuration need not refuse them.
const ENFORCED: &[&str] = &["endpoint.*.tls.pin"];

/// How documents are read by this version, against the clock at `now`.
#[must_use]
pub fn options(now: SystemTime) -> LoadOptions<'static> {
    /// Constant for the life of the process: what was compiled in.
    static APIS: LazyLock<Vec<(&'static str, Vec<&'static str>)>> =
        LazyLock::new(|| wire::dialects().map(|dialect| (dialect.name(), names(dialect.default_apis()))).collect());
    static PROVIDERS: LazyLock<Vec<Provider<'static>>> = LazyLock::new(|| {
        let provider = |(name, apis): &'static (&'static str, Vec<&'static str>)| Provider {
            name,
            default_apis: apis,
            has_api_version: *name == "azure-openai",
        };
        APIS.iter().map(provider).collect()
    });
    LoadOptions::new(Known { providers: &PROVIDERS, enforced: ENFORCED }, now)
}

/// The APIs by the names that documents use, each once: counting tokens is part of `messages`.
fn names(apis: &[Api]) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = Vec::new();
    for api in apis {
        if !names.contains(&api.config_name()) {
            names.push(api.config_name());
        }
    }
    names
}
