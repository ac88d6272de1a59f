//! `[listen]`, `[admin]`, `[health]` and `[state]`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ingress::auth::CertificateName;

use super::super::compile::{ListenConfig, ListenTlsConfig};
use super::super::document::{Admin, Document, Listen, ListenTls};
use super::super::mistakes::MistakeKind;
use super::super::network::Network;
use super::super::report::quote;
use super::super::tree::{Cursor, Mark};
use super::Check;

/// The listeners and the state folder.
pub(super) struct Listeners {
    pub(super) listen: ListenConfig,
    pub(super) admin: Option<SocketAddr>,
    pub(super) admin_tls: Option<ListenTlsConfig>,
    pub(super) health: Option<SocketAddr>,
    pub(super) state_folder: PathBuf,
}

impl Check<'_> {
    pub(super) fn listeners(&mut self, document: &Document) -> Option<Listeners> {
        let listen = self.required("listen", document.listen.as_ref()).and_then(|listen| self.listen(listen));
        let state = self.required("state", document.state.as_ref());
        let state_folder = state.and_then(|state| self.state_folder(&state.folder));
        let admin = document.admin.as_ref().and_then(|admin| self.admin(admin, document));
        let admin_tls = document.admin.as_ref().and_then(|admin| admin.tls.as_ref());
        let admin_tls = admin_tls.map_or(Some(None), |tls| self.listen_tls("admin", tls).map(Some));
        let health_at = self.root.at("health").at("address");
        let health =
            document.health.as_ref().and_then(|health| self.address(health_at, "health.address", &health.address));
        let taken = [("listen", listen.as_ref().map(|listen| listen.address)), ("admin", admin), ("health", health)];
        self.distinct(taken);
        Some(Listeners { listen: listen?, admin, admin_tls: admin_tls?, health, state_folder: state_folder? })
    }

    fn required<'d, T>(&mut self, section: &str, found: Option<&'d T>) -> Option<&'d T> {
        if found.is_none() && self.walked.is_whole(section, "") && !self.root.at(section).exists() {
            let message = format!("the document has no `[{section}]`, which is required");
            self.report.mistake(MistakeKind::Form, self.root.mark(), message);
        }
        found
    }

    fn state_folder(&mut self, folder: &str) -> Option<PathBuf> {
        let at = self.root.at("state").at("folder");
        if folder.is_empty() {
            self.wrong(at.mark(), "`state.folder` is empty", "name a folder that the gateway may write to");
            return None;
        }
        Some(self.path(at.mark(), folder))
    }

    fn admin(&mut self, admin: &Admin, document: &Document) -> Option<SocketAddr> {
        let at = self.root.at("admin").at("address");
        let address = self.address(at, "admin.address", &admin.address)?;
        let reachable = !address.ip().is_loopback();
        let remedy = || format!("or write `127.0.0.1:{}`; `[health]` serves probes to others", address.port());
        if reachable && admin.tls.is_none() && !self.root.at("admin").at("tls").exists() {
            let message =
                format!("`admin.address` {address} is reachable from other machines, and `[admin]` has no `tls`");
            self.wrong(at.mark(), message, format!("add `tls`, {}", remedy()));
        }
        if reachable && document.administrator.is_empty() && self.walked.all_whole("administrator") {
            let message =
                format!("`admin.address` {address} is reachable from other machines, and there is no administrator");
            self.wrong(at.mark(), message, format!("add an `[administrator.NAME]`, {}", remedy()));
        }
        Some(address)
    }

    fn address(&mut self, at: Cursor<'_>, setting: &str, text: &str) -> Option<SocketAddr> {
        let address = text.parse::<SocketAddr>().ok();
        if address.is_none() {
            let message = format!("`{setting}` is {}, which is no address with a port", quote(text));
            self.wrong(at.mark(), message, "write it as `127.0.0.1:8443` or `[::1]:8443`");
        }
        address
    }

    /// Two listeners on one port would refuse to start, and one of them might be found where the other belongs.
    fn distinct(&mut self, listeners: [(&str, Option<SocketAddr>); 3]) {
        let overlap = |a: SocketAddr, b: SocketAddr| {
            let meets = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
            a.port() == b.port() && a.port() != 0 && meets
        };
        for (index, (later, address)) in listeners.iter().enumerate() {
            let earlier = listeners
                .iter()
                .take(index)
                .find(|(_, other)| address.zip(*other).is_some_and(|(address, other)| overlap(address, other)));
            if let Some((earlier, _)) = earlier {
                let mark = self.root.at(later).at("address").mark();
                let message = format!("`{later}.address` meets `{earlier}.address`");
                self.wrong(mark, message, "give each listener a port of its own");
            }
        }
    }

    fn listen(&mut self, listen: &Listen) -> Option<ListenConfig> {
        let at = self.root.at("listen");
        let address = self.address(at.at("address"), "listen.address", &listen.address);
        if let Some(address) = address.filter(|address| !address.ip().is_loopback() && !at.at("tls").exists()) {
            let message =
                format!("`listen.address` {address} is reachable from other machines, and `[listen]` has no `tls`");
            self.wrong(at.at("address").mark(), message, "add `tls`, or write a loopback address");
        }
        let tls = listen.tls.as_ref().map(|tls| self.listen_tls("listen", tls));
        let proxy_protocol_from = self.networks(
            at.at("proxy_protocol_from"),
            "listen.proxy_protocol_from",
            listen.proxy_protocol_from.as_deref().unwrap_or_default(),
        );
        let forwarders = self.forwarders(listen);
        let max_body_bytes = listen.max_body_bytes.unwrap_or(33_554_432);
        let max_buffered_bytes = listen.max_buffered_bytes.unwrap_or(536_870_912);
        if max_buffered_bytes < max_body_bytes {
            let place = if listen.max_buffered_bytes.is_some() { "max_buffered_bytes" } else { "max_body_bytes" };
            let message = format!(
                "`listen.max_body_bytes` {max_body_bytes} is more than `listen.max_buffered_bytes` {max_buffered_bytes}"
            );
            self.wrong(at.at(place).mark(), message, "a body must fit into what may be held at once");
        }
        let timeouts = listen.timeouts.clone().unwrap_or_default();
        let time = |value: Option<u64>, default: u64| Duration::from_millis(value.unwrap_or(default));
        Some(ListenConfig {
            address: address?,
            tls: tls.flatten(),
            proxy_protocol_from: proxy_protocol_from?,
            forwarded_client_cert_from: forwarders,
            handshake_timeout: time(timeouts.handshake_ms, 10_000),
            header_timeout: time(timeouts.header_ms, 10_000),
            body_timeout: time(timeouts.body_ms, 60_000),
            idle_timeout: time(timeouts.idle_ms, 75_000),
            drain_timeout: time(timeouts.drain_ms, 900_000),
            stream_comment: time(listen.stream_comment_ms, 15_000),
            max_body_bytes,
            max_buffered_bytes,
            max_in_flight: listen.max_in_flight.unwrap_or(4_096),
            max_connections: listen.max_connections.unwrap_or(16_384),
        })
    }

    fn forwarders(&mut self, listen: &Listen) -> Vec<CertificateName> {
        let at = self.root.at("listen").at("forwarded_client_cert_from");
        let written = listen.forwarded_client_cert_from.as_deref().unwrap_or_default();
        if !written.is_empty() && listen.tls.as_ref().is_none_or(|tls| tls.client_ca.is_none()) {
            let message = "`listen.forwarded_client_cert_from`: the listener asks nobody for a certificate, so nobody can be one of them";
            self.wrong(at.mark(), message, "add `client_ca` to `listen.tls`");
        }
        self.no_repeats(at, "listen.forwarded_client_cert_from", written, |name| quote(name));
        self.names_in_certificates(at, "listen.forwarded_client_cert_from", written)
    }

    /// Names in the certificates of those who are trusted with something.
    pub(super) fn names_in_certificates(
        &mut self,
        at: Cursor<'_>,
        setting: &str,
        written: &[String],
    ) -> Vec<CertificateName> {
        let mut found = Vec::new();
        for (index, text) in written.iter().enumerate() {
            match CertificateName::parse(text) {
                Some(name) => found.push(name),
                None => {
                    let message = format!("`{setting}`: {} is no name in a certificate", quote(text));
                    let remedy = "write it as `spiffe://corp.example/f5` or `dns:f5.corp.example`";
                    self.wrong(at.item(index).mark(), message, remedy);
                }
            }
        }
        found
    }

    fn listen_tls(&mut self, section: &str, tls: &ListenTls) -> Option<ListenTlsConfig> {
        let at = self.root.at(section).at("tls");
        let named = |setting: &str| format!("{section}.tls.{setting}");
        let (certificate, key) = self.identity(
            (at.at("certificate"), &named("certificate"), &tls.certificate),
            (at.at("key"), &named("key"), &tls.key),
        );
        let client_ca = tls.client_ca.as_ref().map(|ca| self.authorities(at.at("client_ca"), &named("client_ca"), ca));
        let crl = tls.crl.as_ref().map(|crl| self.revocations(at.at("crl"), &named("crl"), crl));
        if crl.is_some() && client_ca.is_none() {
            let message = format!("`{}` has no effect without `client_ca`", named("crl"));
            self.wrong(at.at("crl").mark(), message, "add `client_ca`, or leave it out");
        }
        let client_ca = client_ca.map_or(Some(None), |found| found.map(Some))?;
        let crl = crl.map_or(Some(None), |found| found.map(Some))?;
        Some(ListenTlsConfig { certificate: certificate?, key: key?, client_ca, crl })
    }

    /// Reads a list of networks; `None` where one of them is wrong.
    pub(super) fn networks(&mut self, at: Cursor<'_>, setting: &str, texts: &[String]) -> Option<Vec<Network>> {
        let mut networks = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let mark = at.item(index).mark();
            match Network::parse(text) {
                Ok(network) => {
                    self.not_everything(mark, setting, network);
                    networks.push(network);
                }
                Err((message, remedy)) => self.wrong(mark, format!("`{setting}`: {} {message}", quote(text)), remedy),
            }
        }
        self.no_repeats(at, setting, texts, |text| quote(text));
        (networks.len() == texts.len()).then_some(networks)
    }

    /// A range of all addresses would turn a check into a word.
    fn not_everything(&mut self, mark: Mark, setting: &str, network: Network) {
        let least = if network.address.is_ipv4() { 8 } else { 7 };
        if network.prefix == 0 {
            let message = format!("`{setting}`: `{network}` holds every address there is, so nothing would be checked");
            self.wrong(mark, message, "name the networks that are meant");
        } else if network.prefix < least {
            let message = format!("`{setting}`: `{network}` is wider than any private network");
            self.warn(mark, message, "name the networks that are meant");
        }
    }
}
