//! `[endpoint.NAME]`: one place that serves models.

use std::time::Duration;

use super::super::compile::{
    ClientCertificate, CostConfig, EndpointConfig, EndpointTlsConfig, PoolConfig, ProbeConfig, QuotaConfig,
    TimeoutsConfig,
};
use super::super::document::{Api, Document, Endpoint, EndpointTls, Place, Pool, Probe, Reach};
use super::super::mistakes::{MistakeKind, remedy_for};
use super::super::report::quote;
use super::super::sources::unhex;
use super::super::tree::Cursor;
use super::super::url::{Scheme, Url};
use super::policy::Permissions;
use super::resolvers::Zones;
use super::service::Services;
use super::{Check, Owner, via};

/// How long a call may take in all where its endpoint does not say.
pub(super) const DEFAULT_TOTAL_MS: u64 = 900_000;

impl Check<'_> {
    pub(super) fn endpoints(
        &mut self,
        document: &Document,
        network: (&Zones, &Services),
        permissions: &Permissions,
    ) -> Vec<EndpointConfig> {
        for (name, site) in &document.site {
            self.site(name, site);
        }
        let endpoints = document.endpoint.iter();
        let built: Vec<_> = endpoints
            .filter_map(|(name, endpoint)| {
                let control = self.endpoint_control(name, endpoint, document);
                Some(EndpointConfig { control, ..self.endpoint(name, endpoint, network, permissions)? })
            })
            .collect();
        self.unused(document);
        built
    }

    fn endpoint(
        &mut self,
        name: &str,
        endpoint: &Endpoint,
        network: (&Zones, &Services),
        permissions: &Permissions,
    ) -> Option<EndpointConfig> {
        let owner = Owner::endpoint(name);
        self.provider(name, endpoint);
        let url = self.url(owner, &endpoint.url, &endpoint.reach);
        let host = url.as_ref().map(|url| &url.host).filter(|_| !via::resolves(endpoint.via.as_ref()));
        let reach = self.reach(owner, &endpoint.reach, host, network);
        let tls = url.as_ref().map(|url| self.endpoint_tls(owner, url, endpoint.tls.as_ref()));
        if let Some(place) = &endpoint.place {
            self.endpoint_place(name, place);
        }
        let credential = endpoint.auth.as_ref().and_then(|auth| self.credential(name, endpoint, auth));
        let apis = self.apis(name, endpoint);
        self.credential_is_missing(name, endpoint);
        let timeouts = self.timeouts(name, endpoint);
        let pool = self.pool(name, endpoint.pool.as_ref());
        let transport = self.transport(owner, endpoint.transport.as_ref(), &endpoint.reach);
        let health = endpoint.health.as_ref().and_then(|probe| self.probe(name, probe));
        let scheme = url.as_ref().map(|url| url.scheme);
        let via = endpoint.via.as_ref().map(|via| self.via(owner, via, (scheme, &endpoint.reach), network.0));
        let canary = endpoint.canary.as_ref().map(|canary| self.canary(owner, endpoint, canary));
        let url = url?;
        let page = self.page(name, endpoint, &url);
        let quota = endpoint.quota.as_ref();
        Some(EndpointConfig {
            name: name.to_owned(),
            provider: endpoint.provider.clone(),
            scheme: url.scheme,
            host: url.host,
            port: url.port,
            base_path: url.path,
            reach: reach?,
            place: endpoint.place.clone(),
            control: None,
            tls: tls.flatten(),
            credential,
            timeouts,
            in_flight: endpoint.capacity.as_ref().map(|capacity| capacity.in_flight),
            pool,
            http2: endpoint.http2.unwrap_or_default(),
            transport: transport?,
            health,
            via: via.map_or(Some(None), |found| found.map(Some))?,
            canary: canary.map_or(Some(None), |found| found.map(Some))?,
            apis,
            api_version: endpoint.api_version.clone(),
            own_site: matches!(endpoint.place, Some(Place::Site(_))) && matches!(endpoint.reach, Reach::Local { .. }),
            preview: endpoint.preview.unwrap_or_default(),
            approved: permissions.covers(name, &endpoint.reach),
            grants: permissions.grants(name),
            cost: CostConfig::default(),
            quota: QuotaConfig {
                tokens_per_minute: quota.and_then(|quota| quota.tokens_per_minute),
                requests_per_minute: quota.and_then(|quota| quota.requests_per_minute),
                output_tokens: quota.and_then(|quota| quota.output_tokens),
            },
            page,
            gateways: endpoint.signals.as_ref().and_then(|signals| signals.gateways).unwrap_or(1),
            trace_context: endpoint.trace_context == Some(true),
            asks_for_load: endpoint.signals.as_ref().is_some_and(|signals| signals.load_header == Some(true)),
        })
    }

    fn provider(&mut self, name: &str, endpoint: &Endpoint) {
        let at = self.place("endpoint", name);
        let providers = self.options.known.providers;
        let Some(provider) = providers.iter().find(|provider| provider.name == endpoint.provider) else {
            let known = providers.iter().map(|provider| provider.name);
            let remedy = remedy_for(&endpoint.provider, known, "the reference lists the providers");
            let message = format!("endpoint `{name}`: {} is no provider", quote(&endpoint.provider));
            self.report.mend(MistakeKind::Reference, at.at("provider").mark(), message, remedy);
            return;
        };
        let Some(version) = &endpoint.api_version else { return };
        let mark = at.at("api_version").mark();
        if !provider.has_api_version {
            let message =
                format!("`endpoint.{name}.api_version` has no effect: provider `{}` has no versions", provider.name);
            self.wrong(mark, message, "leave it out");
        } else if version.is_empty()
            || !version.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
        {
            let message = format!("`endpoint.{name}.api_version` is {}, which is no version", quote(version));
            self.wrong(mark, message, "write it as `2024-10-21`, or leave it out");
        }
    }

    fn apis(&mut self, name: &str, endpoint: &Endpoint) -> Vec<Api> {
        let at = self.place("endpoint", name).at("apis");
        let mut apis = match &endpoint.apis {
            Some(apis) => {
                let setting = format!("endpoint.{name}.apis");
                self.is_empty_list(at, &setting, apis.len(), "name at least one, or leave it out");
                self.no_repeats(at, &setting, apis, |api| format!("`{}`", api.name()));
                apis.clone()
            }
            None => {
                let provider = self.options.known.providers.iter().find(|provider| provider.name == endpoint.provider);
                let names = provider.map(|provider| provider.default_apis).unwrap_or_default();
                Api::ALL.into_iter().filter(|api| names.contains(&api.name())).collect()
            }
        };
        apis.sort_unstable();
        apis
    }

    pub(super) fn endpoint_tls(
        &mut self,
        owner: Owner<'_>,
        url: &Url,
        tls: Option<&EndpointTls>,
    ) -> Option<EndpointTlsConfig> {
        let at = self.of(owner).at("tls");
        let setting = |key: &str| owner.setting(&format!("tls.{key}"));
        if url.scheme == Scheme::Http {
            if tls.is_some() {
                let (plain, secure) = match owner.section {
                    "ledger" => ("ends in `?sslmode=disable`", "leave one of the two out"),
                    _ => ("is `http`", "write `https://…`, or leave it out"),
                };
                let message = format!("`{}` has no effect: the url {plain}", owner.setting("tls"));
                self.wrong(at.mark(), message, secure);
            }
            return None;
        }
        let Some(tls) = tls else {
            return Some(EndpointTlsConfig {
                ca: None,
                pin: None,
                issuers: Vec::new(),
                client: None,
                post_quantum: true,
            });
        };
        let ca = tls.ca.as_ref().map(|ca| self.authorities(at.at("ca"), &setting("ca"), ca));
        let pin = tls.pin.as_ref().map(|pin| self.pin(at.at("pin"), &setting("pin"), pin));
        if let Some(issuers) = &tls.issuers {
            self.is_empty_list(
                at.at("issuers"),
                &setting("issuers"),
                issuers.len(),
                "no certificate would fit; leave it out",
            );
        }
        let client = self.client_certificate(at, owner, tls);
        Some(EndpointTlsConfig {
            ca: ca.map_or(Some(None), |found| found.map(Some))?,
            pin: pin.map_or(Some(None), |found| found.map(Some))?,
            issuers: tls.issuers.clone().unwrap_or_default(),
            client,
            post_quantum: tls.post_quantum.unwrap_or(true),
        })
    }

    fn pin(&mut self, at: Cursor<'_>, setting: &str, pin: &str) -> Option<[u8; 32]> {
        let digest = pin.strip_prefix("sha256:").and_then(unhex);
        if digest.is_none() {
            self.wrong(at.mark(), format!("`{setting}` is no pin"), "it takes `sha256:` and 64 lower-case hex digits");
        }
        digest
    }

    fn client_certificate(&mut self, at: Cursor<'_>, owner: Owner<'_>, tls: &EndpointTls) -> Option<ClientCertificate> {
        let (certificate, key) = match (&tls.client_certificate, &tls.client_key) {
            (None, None) => return None,
            (Some(certificate), Some(key)) => (certificate, key),
            (Some(_), None) | (None, Some(_)) => {
                let (found, lacking) = match tls.client_key {
                    None => ("client_certificate", "client_key"),
                    Some(_) => ("client_key", "client_certificate"),
                };
                let message = format!("`{}` has `{found}` and no `{lacking}`", owner.setting("tls"));
                // Where the other one was there and wrong, that has been reported.
                if !at.at(lacking).exists() {
                    self.wrong(at.at(found).mark(), message, "write both, or neither");
                }
                return None;
            }
        };
        let certificate_setting = owner.setting("tls.client_certificate");
        let key_setting = owner.setting("tls.client_key");
        let (certificate, key) = self.identity(
            (at.at("client_certificate"), &certificate_setting, certificate),
            (at.at("client_key"), &key_setting, key),
        );
        Some(ClientCertificate { certificate: certificate?, key: key? })
    }

    /// A limit that is longer than the whole call could never be reached.
    fn timeouts(&mut self, name: &str, endpoint: &Endpoint) -> TimeoutsConfig {
        let timeouts = endpoint.timeouts.clone().unwrap_or_default();
        let total = timeouts.total_ms.unwrap_or(DEFAULT_TOTAL_MS);
        let at = self.place("endpoint", name).at("timeouts");
        let given = [
            ("connect_ms", timeouts.connect_ms),
            ("first_byte_ms", timeouts.first_byte_ms),
            ("idle_ms", timeouts.idle_ms),
        ];
        for (key, value) in given {
            if value.is_some_and(|value| value > total) {
                let message = format!(
                    "`endpoint.{name}.timeouts.{key}` is longer than the whole call, {total} ms, so it can never be reached"
                );
                self.wrong(at.at(key).mark(), message, "shorten it, or give `total_ms` more");
            }
        }
        let time = |value: Option<u64>, default: u64| Duration::from_millis(value.unwrap_or(default).min(total));
        TimeoutsConfig {
            connect: time(timeouts.connect_ms, 5_000),
            first_byte: time(timeouts.first_byte_ms, 300_000),
            idle: time(timeouts.idle_ms, 120_000),
            total: Duration::from_millis(total),
        }
    }

    fn pool(&mut self, name: &str, pool: Option<&Pool>) -> PoolConfig {
        let pool = pool.cloned().unwrap_or_default();
        let max_connections = pool.max_connections.unwrap_or(4_096);
        let warm = pool.warm.unwrap_or(0);
        if warm > max_connections {
            let mark = self.place("endpoint", name).at("pool").at("warm").mark();
            let message =
                format!("`endpoint.{name}.pool.warm` {warm} is more than `max_connections` {max_connections}");
            self.wrong(mark, message, "keep fewer warm, or allow more");
        }
        PoolConfig {
            max_connections,
            idle: Duration::from_millis(pool.idle_ms.unwrap_or(60_000)),
            lifetime: Duration::from_millis(pool.lifetime_ms.unwrap_or(600_000)),
            warm,
        }
    }

    fn probe(&mut self, name: &str, probe: &Probe) -> Option<ProbeConfig> {
        let good =
            probe.path.starts_with('/') && probe.path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        if !good {
            let mark = self.place("endpoint", name).at("health").at("path").mark();
            let message = format!("`endpoint.{name}.health.path` is {}, which is no path", quote(&probe.path));
            self.wrong(mark, message, "write it as `/health`");
        }
        let interval = Duration::from_millis(probe.interval_ms.unwrap_or(10_000));
        good.then(|| ProbeConfig { path: probe.path.clone(), interval })
    }

    /// The page that says how busy an endpoint is lies where the endpoint is: it is read over verified connections.
    fn page(&mut self, name: &str, endpoint: &Endpoint, url: &Url) -> Option<String> {
        let metrics = endpoint.signals.as_ref()?.metrics.as_ref()?;
        let mark = self.place("endpoint", name).at("signals").at("metrics").mark();
        let page = match Url::parse(metrics) {
            Ok(page) => page,
            Err(fault) => {
                self.report.mistake(MistakeKind::Value, mark, format!("`endpoint.{name}.signals.metrics` {fault}"));
                return None;
            }
        };
        if (page.scheme, &page.host, page.port) != (url.scheme, &url.host, url.port) {
            let message = format!("`endpoint.{name}.signals.metrics` is on another host or port than `url`");
            self.wrong(mark, message, "name the page on the server itself; nothing else is verified");
            return None;
        }
        Some(if page.path.is_empty() { "/".to_owned() } else { page.path })
    }

    fn credential_is_missing(&mut self, name: &str, endpoint: &Endpoint) {
        let at = self.place("endpoint", name);
        let is_own = matches!(endpoint.reach, Reach::Local { .. });
        if endpoint.auth.is_none() && !is_own && self.walked.is_whole("endpoint", name) {
            let message = format!("endpoint `{name}` has no `auth`, so it is called without a credential");
            self.warn(at.key(), message, "add `auth = { key = { env = \"…\" } }`");
        }
    }

    /// Endpoints and resolvers that nothing uses were probably meant to be used.
    fn unused(&mut self, document: &Document) {
        if !["model", "endpoint", "resolver"].iter().all(|section| self.walked.all_whole(section)) {
            return;
        }
        let is_used = |name: &str| {
            let targets = document.model.values().flat_map(|model| &model.targets);
            targets.into_iter().any(|target| target.split_once('/').is_some_and(|(endpoint, _)| endpoint == name))
        };
        for name in document.endpoint.keys().filter(|name| !is_used(name)) {
            let mark = self.place("endpoint", name).key();
            self.warn(
                mark,
                format!("endpoint `{name}` is the target of no model"),
                "name it in a model, or leave it out",
            );
        }
    }
}
