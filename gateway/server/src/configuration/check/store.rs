//! `replicas` and `[store]`: what several gateways share, and where.

use super::super::compile::{StoreConfig, StoreLoss};
use super::super::document::{Document, OnLoss, Store};
use super::super::mistakes::MistakeKind;
use super::super::report::quote;
use super::super::url::Url;
use super::resolvers::Zones;
use super::service::Services;
use super::{Check, Owner};

/// Where Valkey and Redis listen.
const USUAL_PORT: u16 = 6379;

/// What its keys begin with where nothing is said.
const PREFIX: &str = "causeway";

/// The section itself has no name: its settings are `store.url` and so on.
const OWNER: Owner<'static> = Owner { section: "store", name: "" };

impl Check<'_> {
    pub(super) fn store(&mut self, document: &Document, network: (&Zones, &Services)) -> Option<StoreConfig> {
        let is_shared = document.replicas == Some(true);
        let Some(store) = &document.store else {
            if is_shared && self.walked.is_whole("store", "") {
                let message = "`replicas = true` needs a `[store]`: without one each gateway would allow the whole of every limit";
                let remedy = "name a Valkey or Redis that all of them reach";
                self.report.mend(MistakeKind::Form, self.root.at("replicas").mark(), message, remedy);
            }
            return None;
        };
        if !is_shared && self.walked.is_whole("replicas", "") {
            let message = "`[store]` has no effect without `replicas = true`";
            self.wrong(self.root.at("store").key(), message, "add it, or leave the section out");
        }
        let url = self.store_url(store);
        let host = url.as_ref().map(|url| &url.host);
        let reach = self.reach(OWNER, &store.reach, host, network);
        let tls = url.as_ref().map(|url| self.endpoint_tls(OWNER, url, store.tls.as_ref()));
        let transport = self.transport(OWNER, store.transport.as_ref(), &store.reach);
        let at = self.root.at("store");
        let password = store.password.as_ref().map(|source| self.key_of(at.at("password"), "store.password", source));
        if store.user.is_some() && store.password.is_none() {
            self.wrong(at.at("user").mark(), "`store.user` has no password", "add `password = { file = … }`");
        }
        let prefix = store.prefix.as_deref().unwrap_or(PREFIX);
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if prefix.is_empty() || prefix.len() > 64 || !prefix.bytes().all(is_plain) {
            let message = format!("`store.prefix` is {}", quote(prefix));
            self.wrong(at.at("prefix").mark(), message, "it has 1 to 64 letters, digits, `.`, `_` and `-`");
        }
        let url = url?;
        Some(StoreConfig {
            scheme: url.scheme,
            host: url.host,
            port: url.port,
            reach: reach?,
            tls: tls.flatten(),
            transport: transport?,
            user: store.user.clone(),
            // Without secrets being read there is none.
            password: password.flatten(),
            prefix: prefix.to_owned(),
            on_loss: match &store.on_loss {
                None | Some(OnLoss::Deny(_)) => StoreLoss::Deny,
                Some(OnLoss::LocalShare(share)) => StoreLoss::LocalShare { of: share.of },
            },
        })
    }

    /// The URL, read as strictly as an endpoint's: only the names of the schemes and the usual port are others.
    fn store_url(&mut self, store: &Store) -> Option<Url> {
        let mark = self.root.at("store").at("url").mark();
        let (scheme, rest) = store.url.split_once("://").unwrap_or(("", &store.url));
        let stands_for = match scheme {
            "valkey" | "redis" => "http",
            "valkeys" | "rediss" => "https",
            _ => {
                let message = format!("`store.url` has the scheme {}", quote(scheme));
                self.wrong(mark, message, "write it as `valkeys://host:6379`, or `valkey://` without TLS");
                return None;
            }
        };
        let names_a_port = rest.rsplit(']').next().is_some_and(|tail| tail.contains(':'));
        let rest = if names_a_port { rest.to_owned() } else { format!("{}:{USUAL_PORT}", rest.trim_end_matches('/')) };
        let url = self.url(OWNER, &format!("{stands_for}://{rest}"), &store.reach)?;
        if !url.path.is_empty() {
            self.wrong(
                mark,
                "`store.url` has a path",
                "write scheme, host and port alone; keys are told apart by `prefix`",
            );
        }
        Some(url)
    }
}
