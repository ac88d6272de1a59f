//! `endpoint.NAME.canary`: the look at the public front of a private endpoint's name.

use std::time::Duration;

use super::super::compile::CanaryConfig;
use super::super::document::{Canary, Endpoint, Reach};
use super::super::report::quote;
use super::{Check, Owner};

impl Check<'_> {
    pub(super) fn canary(&mut self, owner: Owner<'_>, endpoint: &Endpoint, canary: &Canary) -> Option<CanaryConfig> {
        let at = self.of(owner).at("canary");
        let setting = |key: &str| owner.setting(&format!("canary.{key}"));
        let Reach::PrivateLink { resolver: own, .. } = &endpoint.reach else {
            let message =
                format!("`{}` has no effect: only a private endpoint has another front", owner.setting("canary"));
            self.wrong(at.mark(), message, "leave it out");
            return None;
        };
        if own.as_ref() == Some(&canary.resolver) {
            let message = format!("`{}` is the resolver that gives the private address", setting("resolver"));
            self.wrong(at.at("resolver").mark(), message, "name one that answers as the internet does");
        }
        let resolver = self.index_of("resolver", &canary.resolver);
        if resolver.is_none() {
            self.dangling(at.at("resolver").mark(), &owner.to_string(), "resolver", &canary.resolver);
        }
        let within = match &canary.within {
            None => Some(Vec::new()),
            Some(within) => {
                let list = at.at("within");
                let empty =
                    self.is_empty_list(list, &setting("within"), within.len(), "leave it out for any public address");
                (!empty).then(|| self.networks(list, &setting("within"), within)).flatten()
            }
        };
        let usual = if endpoint.provider == "azure-openai" { "/openai/models?api-version=2024-10-21" } else { "/" };
        let path = canary.path.as_deref().unwrap_or(usual);
        if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            let message = format!("`{}` is {}, which is no path", setting("path"), quote(path));
            self.wrong(at.at("path").mark(), message, "write it as `/openai/models`");
        }
        let interval = Duration::from_secs(canary.interval_s.unwrap_or(3_600));
        Some(CanaryConfig { resolver: resolver?, within: within?, path: path.to_owned(), interval })
    }
}
