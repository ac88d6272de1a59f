//! Real BIND 9: one process a server, made anew whenever what it says changes.
//!
//! A restart is the surest way to an empty cache, and takes a tenth of a second.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Child;

use super::space::mortal;
use super::{Space, until};

/// What a server says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Views {
    /// Zones that it has itself: the name, and the records below it, one a line.
    pub(crate) zones: Vec<(String, String)>,
    /// Zones that it asks another server for.
    pub(crate) forwards: Vec<(String, Ipv4Addr)>,
    /// Whom it asks for everything else; nobody if absent.
    pub(crate) otherwise: Option<Ipv4Addr>,
    /// Further lines of its `options`.
    pub(crate) options: String,
    /// The certificate that it shows over TLS and HTTPS, with its key; its own if absent.
    pub(crate) certificate: Option<(String, String)>,
}

impl Views {
    pub(crate) fn zone(mut self, name: &str, records: &str) -> Self {
        self.zones.retain(|(zone, _)| zone != name);
        self.zones.push((name.to_owned(), records.to_owned()));
        self
    }

    pub(crate) fn without_zone(mut self, name: &str) -> Self {
        self.zones.retain(|(zone, _)| zone != name);
        self
    }

    pub(crate) fn forward(mut self, zone: &str, to: Ipv4Addr) -> Self {
        self.forwards.push((zone.to_owned(), to));
        self
    }

    pub(crate) fn otherwise(mut self, to: Ipv4Addr) -> Self {
        self.otherwise = Some(to);
        self
    }

    pub(crate) fn showing(mut self, certificate: (String, String)) -> Self {
        self.certificate = Some(certificate);
        self
    }
}

/// A name server at an address of a space.
pub(crate) struct Named {
    address: Ipv4Addr,
    folder: PathBuf,
    certificate: (String, String),
    process: Option<Child>,
}

impl Named {
    /// A server that does not run yet. It answers on port 53, over TLS on 853 and over HTTPS on 443.
    pub(crate) fn at(address: Ipv4Addr, folder: &Path, certificate: (String, String)) -> Self {
        let folder = folder.join(format!("named-{address}"));
        std::fs::create_dir_all(&folder).expect("a temporary folder can be written");
        // Some systems let the packaged binary read its own folders only; a copy is not held to that.
        std::fs::copy("/usr/sbin/named", folder.join("named")).expect("bind9 is installed");
        Self { address, folder, certificate, process: None }
    }

    /// Stops it, if it runs.
    pub(crate) fn stop(&mut self, space: &Space) {
        if let Some(mut process) = self.process.take() {
            space.block_on(async move { process.kill().await.expect("a child can be killed") });
        }
    }

    /// Starts it, with these views and an empty cache.
    pub(crate) fn say(&mut self, space: &Space, views: &Views) {
        self.stop(space);
        for (number, (name, records)) in views.zones.iter().enumerate() {
            let text = format!(
                "$TTL 60\n@ IN SOA ns.{name}. host.{name}. 1 3600 600 86400 10\n@ IN NS ns.{name}.\nns IN A 203.0.113.53\n{records}\n"
            );
            std::fs::write(self.folder.join(format!("zone-{number}")), text).expect("the folder can be written");
        }
        let (certificate, key) = views.certificate.as_ref().unwrap_or(&self.certificate);
        for (name, text) in [("own.pem", certificate), ("own.key", key)] {
            std::fs::write(self.folder.join(name), text).expect("the folder can be written");
        }
        let configuration = self.folder.join("named.conf");
        std::fs::write(&configuration, self.configuration(views)).expect("the folder can be written");
        let log = self.folder.join("log");
        let file = std::fs::File::create(&log).expect("the folder can be written");
        let program = self.folder.join("named");
        self.process = Some(space.run(move || {
            let mut command = mortal(&program.to_string_lossy());
            command.args(["-g", "-4", "-c"]).arg(&configuration).stdout(Stdio::null()).stderr(file);
            command.spawn().expect("bind9 is installed")
        }));
        until("bind9 to run", || {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            assert!(!said.contains("exiting (due to"), "{said}"); // It names its mistake before.
            said.lines().any(|line| line.ends_with(" running")).then_some(())
        });
    }

    fn configuration(&self, views: &Views) -> String {
        let (folder, address) = (self.folder.display(), self.address);
        let mut text = format!(
            "tls own {{ cert-file \"{folder}/own.pem\"; key-file \"{folder}/own.key\"; }};\n\
             options {{\n directory \"{folder}\"; pid-file none; session-keyfile none; listen-on port 53 {{ {address}; }};\n \
             listen-on port 853 tls own {{ {address}; }}; listen-on port 443 tls own http default {{ {address}; }};\n \
             listen-on-v6 {{ none; }}; recursion yes; allow-query {{ any; }}; allow-recursion {{ any; }};\n \
             max-cache-size 16m; dnssec-validation no; empty-zones-enable no; qname-minimization off; minimal-responses yes; rrset-order {{ order none; }};\n {}\n",
            views.options
        );
        let say = "writing into a String cannot fail";
        if let Some(other) = views.otherwise {
            writeln!(text, " forwarders {{ {other}; }}; forward only;").expect(say);
        }
        text.push_str("};\ncontrols { };\n");
        for (number, (name, _)) in views.zones.iter().enumerate() {
            writeln!(text, "zone \"{name}\" {{ type primary; file \"zone-{number}\"; }};").expect(say);
        }
        for (zone, to) in &views.forwards {
            writeln!(text, "zone \"{zone}\" {{ type forward; forward only; forwarders {{ {to}; }}; }};").expect(say);
        }
        text
    }
}
