//! `[ledger]`: the database of what was spent.

use super::super::compile::{LedgerConfig, Secrets};
use super::super::document::{Document, Ledger};
use super::super::mistakes::MistakeKind;
use super::super::report::quote;
use super::super::url::Url;
use super::resolvers::Zones;
use super::service::Services;
use super::{Check, Owner};

/// Where PostgreSQL listens.
const USUAL_PORT: u16 = 5432;

/// The schema where nothing is said.
const SCHEMA: &str = "causeway";

/// The longest name that PostgreSQL keeps whole, in bytes.
const LONGEST_NAME: usize = 63;

/// The section itself has no name: its settings are `ledger.url` and so on.
const OWNER: Owner<'static> = Owner { section: "ledger", name: "" };

const EXAMPLE: &str = "write it as `postgresql://host:5432/database`";

impl Check<'_> {
    pub(super) fn ledger(&mut self, document: &Document, network: (&Zones, &Services)) -> Option<LedgerConfig> {
        let Some(ledger) = &document.ledger else {
            if document.replicas == Some(true) && self.walked.is_whole("ledger", "") {
                let message = "`replicas = true` needs a `[ledger]`: without one each gateway would keep what it spent to itself, and \
                               what is lost with one is lost to all";
                let remedy = "name a PostgreSQL that all of them reach";
                self.report.mend(MistakeKind::Form, self.root.at("replicas").mark(), message, remedy);
            }
            return None;
        };
        let before = self.secrets;
        if before == Secrets::ReadOfLedger {
            self.secrets = Secrets::Read;
        }
        let config = self.database(ledger, network);
        self.secrets = before;
        config
    }

    fn database(&mut self, ledger: &Ledger, network: (&Zones, &Services)) -> Option<LedgerConfig> {
        let at = self.root.at("ledger");
        let url = self.ledger_url(ledger);
        let host = url.as_ref().map(|(url, _)| &url.host);
        let reach = self.reach(OWNER, &ledger.reach, host, network);
        let tls = url.as_ref().map(|(url, _)| self.endpoint_tls(OWNER, url, ledger.tls.as_ref()));
        let transport = self.transport(OWNER, ledger.transport.as_ref(), &ledger.reach);
        let password = ledger.password.as_ref().map(|source| self.key_of(at.at("password"), "ledger.password", source));
        if ledger.user.is_empty() || ledger.user.len() > LONGEST_NAME {
            let message = format!("`ledger.user` is {}", quote(&ledger.user));
            self.wrong(at.at("user").mark(), message, "it is the name of a role, of 1 to 63 bytes");
        }
        let schema = ledger.schema.as_deref().unwrap_or(SCHEMA);
        if !is_plain(schema) {
            let message = format!("`ledger.schema` is {}", quote(schema));
            let remedy =
                "it has 1 to 63 of `a` to `z`, `0` to `9` and `_`, begins with none of the digits, and not with `pg_`";
            self.wrong(at.at("schema").mark(), message, remedy);
        }
        let (url, database) = url?;
        Some(LedgerConfig {
            scheme: url.scheme,
            host: url.host,
            port: url.port,
            reach: reach?,
            tls: tls.flatten(),
            transport: transport?,
            user: ledger.user.clone(),
            // Without secrets being read there is none.
            password: password.flatten(),
            database,
            schema: schema.to_owned(),
        })
    }

    /// The URL and the database that it names, read as strictly as an endpoint's.
    ///
    /// Of what PostgreSQL calls `sslmode` two are known: to check everything, which is what happens anyway, and nothing. What
    /// lies between looks like TLS and lets anybody answer.
    fn ledger_url(&mut self, ledger: &Ledger) -> Option<(Url, String)> {
        let mark = self.root.at("ledger").at("url").mark();
        // Before anything of it is quoted.
        if ledger.url.contains('@') || ledger.url.contains("password") {
            self.wrong(mark, "`ledger.url` holds a credential", "put it into `user` and `password = { file = … }`");
            return None;
        }
        let (scheme, rest) = ledger.url.split_once("://").unwrap_or(("", &ledger.url));
        if !matches!(scheme, "postgresql" | "postgres") {
            self.wrong(mark, format!("`ledger.url` has the scheme {}", quote(scheme)), EXAMPLE);
            return None;
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, "sslmode=verify-full"));
        let stands_for = match query {
            "sslmode=verify-full" => "https",
            "sslmode=disable" => "http",
            _ => {
                let message = format!("`ledger.url` ends in {}", quote(&format!("?{query}")));
                let remedy = "leave it out for TLS that is checked, or write `?sslmode=disable` for none";
                self.wrong(mark, message, remedy);
                return None;
            }
        };
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        if database.is_empty() || database.len() > LONGEST_NAME || !database.bytes().all(is_of_a_database) {
            let message = format!("`ledger.url` names the database {}", quote(database));
            self.wrong(mark, message, EXAMPLE);
            return None;
        }
        let names_a_port = authority.rsplit(']').next().is_some_and(|tail| tail.contains(':'));
        let authority = if names_a_port { authority.to_owned() } else { format!("{authority}:{USUAL_PORT}") };
        let url = self.url(OWNER, &format!("{stands_for}://{authority}"), &ledger.reach)?;
        Some((url, database.to_owned()))
    }
}

fn is_of_a_database(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)
}

fn is_plain(name: &str) -> bool {
    let begins_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    begins_well && name.len() <= LONGEST_NAME && name.bytes().all(known) && !name.starts_with("pg_")
}
