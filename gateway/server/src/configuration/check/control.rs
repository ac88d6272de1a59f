//! `[control.NAME]` and `endpoint.NAME.control`: who is asked where the deployments of endpoints process, and what about.

use std::time::Duration;

use super::super::compile::{AwsKeysConfig, ControlConfig, ControlCredentialConfig, EndpointControlConfig};
use super::super::document::{Auth, AwsAuth, Control, ControlAuth, Document, Endpoint, EndpointControl, Place};
use super::super::mistakes::MistakeKind;
use super::super::report::quote;
use super::super::tree::Cursor;
use super::super::url::{Host, Scheme, Url};
use super::resolvers::Zones;
use super::service::Services;
use super::{Check, Owner, via};

/// Seconds between two askings where the document says nothing.
const EVERY_S: u64 = 3_600;
/// Where the path of an account stands.
const ACCOUNT: [&str; 4] = ["subscriptions", "resourceGroups", "providers", "accounts"];

impl Check<'_> {
    pub(super) fn controls(&mut self, document: &Document, network: (&Zones, &Services)) -> Vec<ControlConfig> {
        for name in document.control.keys() {
            let named = |endpoint: &Endpoint| endpoint.control.as_ref().is_some_and(|own| host_of(own) == name);
            if !document.endpoint.values().any(named) && self.walked.is_whole("endpoint", "") {
                let message = format!("control `{name}` is named by no endpoint and is never asked");
                self.warn(self.place("control", name).key(), message, "name it in `endpoint.NAME.control`");
            }
        }
        document.control.iter().filter_map(|(name, control)| self.control(name, control, network)).collect()
    }

    fn control(&mut self, name: &str, control: &Control, network: (&Zones, &Services)) -> Option<ControlConfig> {
        let owner = Owner { section: "control", name };
        let url = self.url(owner, &control.url, &control.reach);
        let mark = self.of(owner).at("url").mark();
        if let Some(url) = &url {
            if !url.path.is_empty() {
                let message = format!("`{}` has a path", owner.setting("url"));
                self.wrong(mark, message, "write the host alone; the account stands in `endpoint.NAME.control`");
            }
            if url.scheme == Scheme::Http {
                let message =
                    format!("`{}`: who stands on the way could say what it likes of places", owner.setting("url"));
                self.wrong(mark, message, "write `https://…`");
            }
        }
        let host = url.as_ref().map(|url| &url.host).filter(|_| !via::resolves(control.via.as_ref()));
        let reach = self.reach(owner, &control.reach, host, network);
        let tls = url.as_ref().map(|url| self.endpoint_tls(owner, url, control.tls.as_ref()));
        let transport = self.transport(owner, control.transport.as_ref(), &control.reach);
        let scheme = url.as_ref().map(|url| url.scheme);
        let via = control.via.as_ref().map(|via| self.via(owner, via, (scheme, &control.reach), network.0));
        let credential = self.control_credential(owner, url.as_ref(), &control.auth);
        let url = url?;
        Some(ControlConfig {
            name: name.to_owned(),
            scheme: url.scheme,
            host: url.host,
            port: url.port,
            reach: reach?,
            tls: tls.flatten(),
            transport: transport?,
            via: via.map_or(Some(None), |found| found.map(Some))?,
            credential,
            every: Duration::from_secs(control.every_s.unwrap_or(EVERY_S)),
        })
    }

    fn control_credential(
        &mut self,
        owner: Owner<'_>,
        url: Option<&Url>,
        auth: &ControlAuth,
    ) -> Option<ControlCredentialConfig> {
        let auth = match auth {
            ControlAuth::Aws(keys) => return self.aws_keys(owner, keys).map(ControlCredentialConfig::Aws),
            ControlAuth::ManagedIdentity(own) => Auth::ManagedIdentity(own.clone()),
            ControlAuth::WorkloadIdentity(own) => Auth::WorkloadIdentity(own.clone()),
            ControlAuth::ClientCertificate(own) => Auth::ClientCertificate(own.clone()),
            ControlAuth::ClientSecret(own) => Auth::ClientSecret(own.clone()),
        };
        // The scope of each cloud's manager is its own host.
        let usual = match url.map(|url| &url.host) {
            Some(Host::Name(host)) if host.starts_with("management.") => Some(format!("https://{host}/.default")),
            _ => None,
        };
        self.token_credential(owner, usual, &auth).map(ControlCredentialConfig::Token)
    }

    /// A region as signatures name it.
    pub(super) fn aws_region(&mut self, at: Cursor<'_>, setting: &str, region: &str) -> Option<String> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_region = !region.is_empty() && region.bytes().all(plain);
        if !is_region {
            let message = format!("`{setting}` is {}, which is no region", quote(region));
            self.wrong(at.at("region").mark(), message, "write it as `eu-central-1`");
        }
        is_region.then(|| region.to_owned())
    }

    /// The keys in `auth.aws`, by which requests are signed.
    pub(super) fn aws_keys(&mut self, owner: Owner<'_>, keys: &AwsAuth) -> Option<AwsKeysConfig> {
        let at = self.of(owner).at("auth").at("aws");
        let setting = |key: &str| owner.setting(&format!("auth.aws.{key}"));
        let region = self.aws_region(at, &setting("region"), &keys.region);
        let access_key = self.key_of(at.at("access_key"), &setting("access_key"), &keys.access_key);
        let secret_key = self.key_of(at.at("secret_key"), &setting("secret_key"), &keys.secret_key);
        let token = keys.session_token.as_ref();
        let token = token.map(|source| self.key_of(at.at("session_token"), &setting("session_token"), source));
        Some(AwsKeysConfig {
            region: region?,
            access_key: access_key?,
            secret_key: secret_key?,
            session_token: token.map_or(Some(None), |found| found.map(Some))?,
        })
    }

    /// Where a control plane tells of an endpoint.
    pub(super) fn endpoint_control(
        &mut self,
        name: &str,
        endpoint: &Endpoint,
        document: &Document,
    ) -> Option<EndpointControlConfig> {
        let control = endpoint.control.as_ref()?;
        let owner = Owner::endpoint(name);
        let (kind, named) = match control {
            EndpointControl::Azure(_) => ("azure", host_of(control)),
            EndpointControl::Bedrock(_) => ("bedrock", host_of(control)),
        };
        let at = self.of(owner).at("control").at(kind);
        let host = if self.is_defined("control", named) {
            self.index_of("control", named)
        } else {
            self.dangling(at.at("host").mark(), &owner.to_string(), "control", named);
            None
        };
        let auth = document.control.get(named).map(|control| &control.auth);
        match (control, &endpoint.place) {
            (EndpointControl::Azure(azure), Some(Place::Azure(_))) => {
                if let Some(ControlAuth::Aws(_)) = auth {
                    let message = format!("{owner}: control `{named}` is one of AWS");
                    self.wrong(at.at("host").mark(), message, "name one whose `auth` is a token of Entra ID");
                }
                let account = self.account(at.at("account"), owner, &azure.account);
                Some(EndpointControlConfig::Azure { host: host?, account: account? })
            }
            (EndpointControl::Bedrock(_), Some(Place::Bedrock(place))) => {
                self.fits_region((at.at("host"), owner), named, (auth, &place.region));
                let profile = place.profile.clone().filter(|profile| is_whole(profile));
                Some(EndpointControlConfig::Bedrock { host: host?, profile })
            }
            (EndpointControl::Azure(_) | EndpointControl::Bedrock(_), _) => {
                let message = format!("`{}` has nothing to compare with", owner.setting(&format!("control.{kind}")));
                let remedy = format!("write `place = {{ {kind} = … }}`, or leave it out");
                self.report.mend(MistakeKind::Value, at.mark(), message, remedy);
                None
            }
        }
    }

    /// A profile names other regions where it is called from another one.
    fn fits_region(
        &mut self,
        (at, owner): (Cursor<'_>, Owner<'_>),
        named: &str,
        (auth, region): (Option<&ControlAuth>, &str),
    ) {
        match auth {
            Some(ControlAuth::Aws(keys)) if keys.region == region => {}
            Some(ControlAuth::Aws(keys)) => {
                let message = format!(
                    "{owner} is called in {}, and control `{named}` is of {}",
                    quote(region),
                    quote(&keys.region)
                );
                self.wrong(at.mark(), message, "name the control plane of the region that is called");
            }
            Some(_) => {
                let message = format!("{owner}: control `{named}` is none of AWS");
                self.wrong(at.mark(), message, "name one with `auth = { aws = … }`");
            }
            None => {}
        }
    }

    /// It is a path that is sent, so it is plain.
    fn account(&mut self, at: Cursor<'_>, owner: Owner<'_>, account: &str) -> Option<String> {
        let parts: Vec<&str> = account.split('/').collect();
        let plain = |part: &str| {
            let more = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.()".contains(&byte);
            !part.is_empty() && part.len() <= 90 && part.bytes().all(more) && part != "." && part != ".."
        };
        let [first, subscriptions, _, groups, _, providers, provider, accounts, _] = parts.as_slice() else {
            return self.no_account(at, owner, account);
        };
        let names = [subscriptions, groups, providers, accounts];
        let good = first.is_empty()
            && parts.iter().skip(1).all(|part| plain(part))
            && names.iter().zip(ACCOUNT).all(|(found, name)| found.eq_ignore_ascii_case(name))
            && provider.eq_ignore_ascii_case("Microsoft.CognitiveServices");
        if good { Some(account.to_owned()) } else { self.no_account(at, owner, account) }
    }

    fn no_account(&mut self, at: Cursor<'_>, owner: Owner<'_>, account: &str) -> Option<String> {
        let message =
            format!("`{}` is {}, which is no id of an account", owner.setting("control.azure.account"), quote(account));
        let remedy = "copy it from `az cognitiveservices account show --query id`: \
                      `/subscriptions/…/resourceGroups/…/providers/Microsoft.CognitiveServices/accounts/…`";
        self.wrong(at.mark(), message, remedy);
        None
    }
}

/// A prefix such as `eu` or `eu.` names no profile.
fn is_whole(profile: &str) -> bool {
    profile.contains('/') || profile.split_once('.').is_some_and(|(_, rest)| !rest.is_empty())
}

fn host_of(control: &EndpointControl) -> &str {
    match control {
        EndpointControl::Azure(azure) => &azure.host,
        EndpointControl::Bedrock(bedrock) => &bedrock.host,
    }
}
