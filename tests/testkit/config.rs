//! A configuration as an operator writes it.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::certificates::Issued;
use super::{Dns, KEY, Upstream};

/// The text of `causeway.toml`, and the files beside it. Ports are filled in when the gateway starts.
#[derive(Clone, Default)]
pub(crate) struct Config {
    top: String,
    listen: String,
    admin: String,
    sections: String,
    models: Vec<String>,
    apps: String,
    pub(crate) files: Vec<(String, String)>,
    endpoints: u32,
    is_divided: bool,
}

/// An `[endpoint.NAME]`.
pub(crate) struct Endpoint {
    provider: &'static str,
    url: String,
    within: &'static str,
    place: Option<&'static str>,
    lines: String,
}

/// The ranges of an endpoint on this machine.
const LOOPBACK: &str = "127.0.0.0/8";

impl Endpoint {
    /// A local endpoint of OpenAI's dialect at this upstream.
    pub(crate) fn of(upstream: &Upstream) -> Self {
        let scheme = if upstream.secure { "https" } else { "http" };
        Self::with_url(format!("{scheme}://{}/v1", upstream.address))
    }

    /// The same at an address where nobody needs to listen.
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self::with_url(format!("http://{address}/v1"))
    }

    /// An endpoint whose name leads to an address outside its ranges; it needs [`Config::resolving`].
    pub(crate) fn outside_its_ranges() -> Self {
        Self { within: "10.0.0.0/8", ..Self::with_url("http://astray.test:9/v1".to_owned()) }
    }

    fn with_url(url: String) -> Self {
        Self { provider: "openai", url, within: LOOPBACK, place: Some("{ site = \"lab\" }"), lines: String::new() }
    }

    /// Another dialect; Azure's and Anthropic's URLs have no path.
    pub(crate) fn provider(mut self, provider: &'static str) -> Self {
        self.provider = provider;
        self.url = self.url.trim_end_matches("/v1").to_owned();
        self
    }

    /// Another place than the site `lab`, or none.
    pub(crate) fn place(mut self, place: Option<&'static str>) -> Self {
        self.place = place;
        self
    }

    /// One more line of the section.
    pub(crate) fn with(mut self, line: &str) -> Self {
        self.lines.push_str(line);
        self.lines.push('\n');
        self
    }
}

impl Config {
    pub(crate) fn new() -> Self {
        Self { files: vec![("upstream.key".to_owned(), super::UPSTREAM_KEY.to_owned())], ..Self::default() }
    }

    /// The smallest: the model `assistant`, served as `served-model` by one endpoint, `only`.
    pub(crate) fn serving(upstream: &Upstream) -> Self {
        Self::new().endpoint("only", Endpoint::of(upstream)).model("assistant", &["only/served-model"])
    }

    /// Adds an endpoint on the site `lab`, with the upstream's credential where it names no other.
    pub(crate) fn endpoint(mut self, name: &str, endpoint: Endpoint) -> Self {
        let Endpoint { provider, url, within, place, mut lines } = endpoint;
        let place = place.map(|place| format!("place = {place}\n")).unwrap_or_default();
        // Routing takes the cheapest that will do, so that with rising prices the declared order is the order of the plan.
        self.endpoints += 1;
        if !lines.contains("cost = ") {
            let price = self.endpoints;
            writeln!(
                lines,
                "cost = {{ per_token = {{ input_usd_per_million = {price}, output_usd_per_million = {price} }} }}"
            )
            .expect("writing to a string does not fail");
        }
        if !lines.contains("auth = ") {
            lines.push_str("auth = { key = { file = \"upstream.key\" } }\n");
        }
        write!(
            self.sections,
            "[endpoint.{name}]\nprovider = \"{provider}\"\nurl = \"{url}\"\n\
             reach = {{ local = {{ within = [\"{within}\"] }} }}\n{place}{lines}\n"
        )
        .expect("writing to a string does not fail");
        self
    }

    /// Adds a model; the app `tests` may use every one.
    pub(crate) fn model(self, name: &str, targets: &[&str]) -> Self {
        self.model_with(name, targets, "")
    }

    /// The same with further lines of the section.
    pub(crate) fn model_with(mut self, name: &str, targets: &[&str], lines: &str) -> Self {
        write!(self.sections, "[model.\"{name}\"]\ntargets = {targets:?}\n{lines}\n\n")
            .expect("writing to a string does not fail");
        self.models.push(name.to_owned());
        self
    }

    /// Adds an app of its own, with its `[data]`.
    pub(crate) fn app(mut self, name: &str, key: &str, models: &[&str], lines: &str) -> Self {
        self.apps.push_str(&app(name, key, &format!("{models:?}"), lines));
        self
    }

    /// Adds an app whose data is this: the lines of its `[data]`.
    pub(crate) fn app_with_data(mut self, name: &str, key: &str, models: &[&str], data: &str) -> Self {
        let digest = digest_of(key);
        write!(
            self.apps,
            "[app.{name}]\nteam = \"testers\"\nkeys = [\"{digest}\"]\nmodels = {models:?}\n\n[data.{name}]\n{data}\n\n"
        )
        .expect("writing to a string does not fail");
        self
    }

    /// Adds a line to `[listen]`.
    pub(crate) fn listen(mut self, line: &str) -> Self {
        self.listen.push_str(line);
        self.listen.push('\n');
        self
    }

    /// Shares the limits with every gateway that has this store; it needs [`Config::keeping_books`] as well.
    pub(crate) fn sharing(mut self, store: &super::Store, lines: &str) -> Self {
        self.top.push_str("replicas = true\n\n");
        let (scheme, address) = (store.scheme(), store.address());
        self.section(&format!(
            "[store]\nurl = \"{scheme}://{address}\"\nreach = {{ local = {{ within = [\"{LOOPBACK}\"] }} }}\n{lines}\n"
        ))
    }

    /// Acts as one with every gateway that has this store and this ledger.
    pub(crate) fn acting_as_one(self, shared: &super::Shared, lines: &str) -> Self {
        self.sharing(&shared.store, lines).keeping_books(&shared.database, &shared.authority)
    }

    /// Keeps what is spent in this PostgreSQL, over TLS with a certificate of this authority.
    pub(crate) fn keeping_books(self, database: &super::Postgres, authority: &super::Authority) -> Self {
        let address = database.address();
        self.file("ledger-ca.pem", &authority.pem()).file("ledger.key", super::PASSWORD).section(&format!(
            "[ledger]\nurl = \"postgresql://{address}/causeway\"\nreach = {{ local = {{ within = [\"{LOOPBACK}\"] }} }}\n\
             tls = {{ ca = \"ledger-ca.pem\" }}\nuser = \"causeway\"\npassword = {{ file = \"ledger.key\" }}\n"
        ))
    }

    /// Adds a line to `[admin]`.
    pub(crate) fn admin(mut self, line: &str) -> Self {
        self.admin.push_str(line);
        self.admin.push('\n');
        self
    }

    /// Adds an administrator with this key.
    pub(crate) fn administrator(self, name: &str, role: &str, key: &str) -> Self {
        let digest = digest_of(key);
        self.section(&format!("[administrator.{name}]\nrole = \"{role}\"\nkeys = [\"{digest}\"]\n"))
    }

    /// Serves TLS with this certificate.
    pub(crate) fn tls(self, issued: &Issued) -> Self {
        self.file("gateway.pem", &issued.certificate)
            .file("gateway.key", &issued.key)
            .listen("tls = { certificate = \"gateway.pem\", key = \"gateway.key\" }")
    }

    /// The same, and asks callers for a certificate of this authority that no list has revoked.
    pub(crate) fn tls_asking(self, issued: &Issued, callers: &str, revoked: Option<&str>) -> Self {
        let config =
            self.file("gateway.pem", &issued.certificate).file("gateway.key", &issued.key).file("callers.pem", callers);
        let tls = "certificate = \"gateway.pem\", key = \"gateway.key\", client_ca = \"callers.pem\"";
        match revoked {
            None => config.listen(&format!("tls = {{ {tls} }}")),
            Some(list) => config.file("revoked.pem", list).listen(&format!("tls = {{ {tls}, crl = \"revoked.pem\" }}")),
        }
    }

    /// Resolves every name by this server.
    pub(crate) fn resolving(self, dns: &Dns) -> Self {
        self.section(&format!("[resolver.tests]\nzones = [\".\"]\nservers = [\"{}\"]\n", dns.address))
    }

    /// Writes something else in its sections, such as another address.
    pub(crate) fn replacing(mut self, text: &str, by: &str) -> Self {
        assert!(self.sections.contains(text), "{text} is not there");
        self.sections = self.sections.replace(text, by);
        self
    }

    /// Adds whole sections.
    pub(crate) fn section(mut self, text: &str) -> Self {
        self.sections.push_str(text);
        self.sections.push('\n');
        self
    }

    /// Puts a file beside the configuration.
    pub(crate) fn file(mut self, name: &str, content: &str) -> Self {
        self.files.push((name.to_owned(), content.to_owned()));
        self
    }

    /// Puts every `[data]` into a file of its own, of another author, for a gateway that starts from a folder. It comes last.
    pub(crate) fn divided(mut self) -> Self {
        let (_, data) = apart(&self.text([0; 3]));
        self.is_divided = true;
        self.file("security.toml", &data)
    }

    /// The document, for these ports of data, admin and health.
    pub(crate) fn text(&self, [data, admin, health]: [u16; 3]) -> String {
        let Self { top, listen, admin: of_admin, sections, models, apps, .. } = self;
        let tests = app("tests", KEY, &format!("{models:?}"), "");
        let text = format!(
            "{top}[listen]\naddress = \"127.0.0.1:{data}\"\n{listen}\n\
             [admin]\naddress = \"127.0.0.1:{admin}\"\n{of_admin}\n[health]\naddress = \"127.0.0.1:{health}\"\n\n\
             [state]\nfolder = \"state\"\n\n[site.lab]\ncountry = \"DE\"\noperator = \"DE\"\n\n{sections}\n{tests}\n{apps}"
        );
        if self.is_divided {
            return format!("{}\n[authors]\n\"security.toml\" = [\"data\"]\n", apart(&text).0);
        }
        text
    }
}

/// A document without its `[data]`, and these.
fn apart(text: &str) -> (String, String) {
    let (mut rest, mut data, mut is_data) = (String::new(), String::new(), false);
    for line in text.lines() {
        if line.starts_with('[') {
            is_data = line.starts_with("[data.");
        }
        let to = if is_data { &mut data } else { &mut rest };
        to.push_str(line);
        to.push('\n');
    }
    (rest, data)
}

fn app(name: &str, key: &str, models: &str, lines: &str) -> String {
    let digest = digest_of(key);
    format!(
        "[app.{name}]\nteam = \"testers\"\nkeys = [\"{digest}\"]\nmodels = {models}\n{lines}\n[data.{name}]\nlabels = []\n\n"
    )
}

/// How the configuration names a key.
pub(crate) fn digest_of(key: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes());
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
