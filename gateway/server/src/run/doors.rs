//! The three listeners: where they listen and how their connections are accepted.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ingress::listen::{ClientTrust, Door, ListenSettings, Net, TlsError, TlsMaterial, TlsServer};

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

impl Doors {
    /// Takes new certificates into listeners that are open; connections that run keep theirs. Callers' certificates are
    /// held to the new authorities and revocation lists from the next request on.
    ///
    /// # Errors
    ///
    /// When a certificate or a key cannot be used. The one before stays.
    pub fn renew(&self, compiled: &Compiled) -> Result<(), DoorError> {
        let admin = self.admin.as_ref().and_then(|listener| listener.door.tls());
        renew("admin", admin, compiled.administration.tls.as_ref())?;
        renew("listen", self.data.door.tls(), compiled.listen.tls.as_ref())
    }
}

fn server(section: &'static str, tls: Option<&ListenTlsConfig>) -> Result<Option<TlsServer>, DoorError> {
    let fault = |source| DoorError::Tls { section, source };
    tls.map(|tls| TlsServer::new(&material(tls)?).map_err(fault)).transpose()
}

fn renew(section: &'static str, server: Option<&TlsServer>, tls: Option<&ListenTlsConfig>) -> Result<(), DoorError> {
    let (Some(server), Some(tls)) = (server, tls) else { return Ok(()) };
    server.reload(&material(tls)?).map_err(|source| DoorError::Tls { section, source })
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
