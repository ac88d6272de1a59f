//! What is known of the connection that an attempt used, written once for all requests that it carries.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::json;

/// The proof of one connection: who gave its address, and whom it met there.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionPath<'a> {
    /// The names that led to the address, as `a -> b -> 10.20.1.5`.
    pub chain: &'a str,
    /// Who answered: the name of a resolver, `literal` or `localhost`.
    pub resolver: &'a str,
    /// The DNS servers that gave a record of the chain.
    pub servers: &'a [SocketAddr],
    /// How long the answer counted from when the connection was opened; none for an address in the configuration.
    pub lifetime: Option<Duration>,
    /// Whether the answer had outlived its lifetime, because no server answered.
    pub stale: bool,
    /// The address that the system said was met.
    pub peer: SocketAddr,
    /// The proxy that the connection passes; it is the peer then.
    pub via: Option<SocketAddr>,
    /// Our own address.
    pub source: SocketAddr,
    /// What TLS agreed on and showed.
    pub tls: Option<TlsPath<'a>>,
}

/// What TLS agreed on and showed.
#[derive(Clone, Copy, Debug)]
pub struct TlsPath<'a> {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'a str,
    /// The key exchange group.
    pub group: Option<&'a str>,
    /// SHA-256 of the end-entity certificate, in hex.
    pub certificate_sha256: &'a str,
    /// Who issued it.
    pub issuer: &'a str,
}

/// A [`ConnectionPath`] in the form in which records carry it. Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathNote(Arc<[u8]>);

impl PathNote {
    /// Writes it.
    pub fn new(path: &ConnectionPath<'_>) -> Self {
        let mut line = Vec::with_capacity(512);
        json::named(&mut line, "{\"chain\":", path.chain);
        json::named(&mut line, ",\"resolver\":", path.resolver);
        if !path.servers.is_empty() {
            line.extend_from_slice(b",\"servers\":");
            json::list(&mut line, path.servers, |line, server| json::socket(line, *server));
        }
        if let Some(lifetime) = path.lifetime {
            line.extend_from_slice(b",\"ms_lifetime\":");
            json::milliseconds(&mut line, lifetime);
        }
        line.extend_from_slice(b",\"stale\":");
        json::flag(&mut line, path.stale);
        line.extend_from_slice(b",\"peer\":");
        json::socket(&mut line, path.peer);
        if let Some(via) = path.via {
            line.extend_from_slice(b",\"via\":");
            json::socket(&mut line, via);
        }
        line.extend_from_slice(b",\"source\":");
        json::socket(&mut line, path.source);
        if let Some(tls) = &path.tls {
            json::named(&mut line, ",\"tls\":{\"version\":", tls.version);
            json::named_if(&mut line, ",\"group\":", tls.group);
            json::named(&mut line, ",\"certificate_sha256\":", tls.certificate_sha256);
            json::named(&mut line, ",\"issuer\":", tls.issuer);
            line.push(b'}');
        }
        line.push(b'}');
        Self(line.into())
    }

    /// The JSON object.
    pub fn json(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_path_is_one_json_object() {
        let servers = ["10.10.0.4:53".parse().unwrap()];
        let path = ConnectionPath {
            chain: "x.openai.azure.com -> x.privatelink.openai.azure.com -> 10.20.1.5",
            resolver: "hub",
            servers: &servers,
            lifetime: Some(Duration::from_secs(10)),
            stale: false,
            peer: "10.20.1.5:443".parse().unwrap(),
            via: None,
            source: "192.168.0.10:40000".parse().unwrap(),
            tls: Some(TlsPath { version: "TLSv1.3", group: None, certificate_sha256: "ab", issuer: "CN=\"Corp\" CA" }),
        };

        let written: Value = serde_json::from_slice(PathNote::new(&path).json()).unwrap();

        assert_eq!(
            written,
            json!({
                "chain": "x.openai.azure.com -> x.privatelink.openai.azure.com -> 10.20.1.5",
                "resolver": "hub",
                "servers": ["10.10.0.4:53"],
                "ms_lifetime": 10_000.0,
                "stale": false,
                "peer": "10.20.1.5:443",
                "source": "192.168.0.10:40000",
                "tls": { "version": "TLSv1.3", "certificate_sha256": "ab", "issuer": "CN=\"Corp\" CA" },
            })
        );
    }
}
