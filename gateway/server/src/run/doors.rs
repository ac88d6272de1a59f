//! The three listeners: where they listen and how their connections are accepted.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ingress::listen::{ClientTrust, Door, ListenSettings, Net, PreparedTls, TlsError, TlsMaterial, TlsServer};

use crate::configuration::{Compiled, ListenTlsConfig, Network};

/// Most connections of operators, and of load balancers that probe, at once.
const OPERATORS: usize = 256;

/// The callers', the operators' and the probes' listeners.
#[derive(Clone)]
pub struct Doors {
    /// Where callers connect.
    pub data: Listener,
    /// Where operators connect; none where the configuration names none.
    pub admin: Option<Listener>,
    /// Where load balancers probe in plaintext.
    pub health: Option<Listener>,
}

/// An address, and how its connections are accepted.
#[derive(Clone)]
pub struct Listener {
    /// Where to listen.
    pub address: SocketAddr,
    /// TLS, PROXY protocol and limits.
    pub door: Arc<Door>,
    /// Most connections at once; the next is closed as soon as it is accepted.
    pub most_connections: usize,
}

/// A listener's certificate or key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The files were read and do not fit.
    #[error("[{section}] tls: {source}")]
    Tls {
        /// The section of the listener.
        section: &'static str,
        /// What does not fit.
        source: TlsError,
    },
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// The listeners of a configuration.
///
/// # Errors
///
/// When a certificate or a key cannot be used.
pub fn doors(compiled: &Compiled) -> Result<Doors, DoorError> {
    let listen = &compiled.listen;
    let settings = ListenSettings {
        handshake_timeout: listen.handshake_timeout,
        header_timeout: listen.header_timeout,
        idle_timeout: listen.idle_timeout,
        proxy_protocol_from: listen.proxy_protocol_from.iter().map(net).collect(),
        ..ListenSettings::default()
    };
    let small = |address, tls| Listener {
        address,
        door: Arc::new(Door::new(ListenSettings::default(), tls)),
        most_connections: OPERATORS,
    };
    let tls = server("listen", listen.tls.as_ref())?;
    let admin_tls = server("admin", compiled.administration.tls.as_ref())?;
    Ok(Doors {
        data: Listener {
            address: listen.address,
            door: Arc::new(Door::new(settings, tls)),
            most_connections: listen.max_connections as usize,
        },
        admin: compiled.admin.map(|address| small(address, admin_tls)),
        health: compiled.health.map(|address| small(address, None)),
    })
}

/// Certificates for listeners that are open, read and checked, and not in force yet.
pub struct DoorRenewal<'a> {
    prepared: Vec<(&'a TlsServer, PreparedTls)>,
}

impl Doors {
    /// Reads the certificates of a configuration for the listeners that are open. Nothing is changed before all of them are
    /// known to be good: one listener with new certificates beside another with old ones is what nobody wrote.
    ///
    /// # Errors
    ///
    /// When a certificate or a key cannot be used.
    pub fn prepare(&self, compiled: &Compiled) -> Result<DoorRenewal<'_>, DoorError> {
        let admin = self.admin.as_ref().and_then(|listener| listener.door.tls());
        let pairs = [
            ("admin", admin, compiled.administration.tls.as_ref()),
            ("listen", self.data.door.tls(), compiled.listen.tls.as_ref()),
        ];
        let mut prepared = Vec::new();
        for (section, server, tls) in pairs {
            let (Some(server), Some(tls)) = (server, tls) else { continue };
            let fault = |source| DoorError::Tls { section, source };
            prepared.push((server, PreparedTls::of(&material(tls)?).map_err(fault)?));
        }
        Ok(DoorRenewal { prepared })
    }
}

impl DoorRenewal<'_> {
    /// Takes the certificates into the listeners; connections that run keep theirs. Callers' certificates are held to the new
    /// authorities and revocation lists from the next request on.
    pub fn take(self) {
        for (server, prepared) in self.prepared {
            server.take(prepared);
        }
    }
}

fn server(section: &'static str, tls: Option<&ListenTlsConfig>) -> Result<Option<TlsServer>, DoorError> {
    let fault = |source| DoorError::Tls { section, source };
    tls.map(|tls| TlsServer::new(&material(tls)?).map_err(fault)).transpose()
}

fn material(tls: &ListenTlsConfig) -> Result<TlsMaterial, DoorError> {
    let clients = match &tls.client_ca {
        Some(path) => {
            let revocation_lists = tls.crl.iter().map(|path| read(path)).collect::<Result<_, _>>()?;
            Some(ClientTrust { authorities: read(path)?, revocation_lists, required: true })
        }
        None => None,
    };
    Ok(TlsMaterial { certificate: read(&tls.certificate)?, key: read(&tls.key)?, clients })
}

fn read(path: &Path) -> Result<Vec<u8>, DoorError> {
    std::fs::read(path).map_err(|source| DoorError::File { path: path.to_owned(), source })
}

fn net(network: &Network) -> Net {
    network.to_string().parse().expect("a network of the configuration is one of the listener's, in the same form")
}
