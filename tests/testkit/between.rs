//! Something between a gateway and a server that can hold back what the gateway says, as a network or a machine that hangs does.
//! What is held back is not lost: it comes to the server when it is let go, also when the gateway has hung up meanwhile.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::within;

/// A relay of bytes that is there while this is held.
pub(crate) struct Between {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    connections: Mutex<Vec<Arc<Connection>>>,
    /// New connections are held back from their first byte.
    holds: watch::Sender<bool>,
}

/// One connection of the gateway.
pub(crate) struct Connection {
    held: watch::Sender<bool>,
    /// Bytes that wait to be let go, and those that the server has answered.
    waiting: watch::Sender<usize>,
    answered: watch::Sender<usize>,
}

impl Between {
    /// Stands before the server at this address.
    pub(crate) async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared::default());
        let kept = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let held = watch::Sender::new(*kept.holds.borrow());
                let connection =
                    Arc::new(Connection { held, waiting: watch::Sender::new(0), answered: watch::Sender::new(0) });
                kept.connections.lock().expect("no panic").push(Arc::clone(&connection));
                tokio::spawn(relay(stream, server, connection));
            }
        });
        Self { address, shared, accepting }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on holds back what comes over the connections that there are; new ones pass.
    pub(crate) fn hold_those_there_are(&self) -> Vec<Arc<Connection>> {
        let connections = self.shared.connections.lock().expect("no panic").clone();
        for connection in &connections {
            connection.held.send_replace(true);
        }
        connections
    }

    /// From now on holds back everything.
    pub(crate) fn hold_all(&self) {
        self.shared.holds.send_replace(true);
        self.hold_those_there_are();
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Connection {
    /// Whether something is held back here.
    pub(crate) fn has_something(&self) -> bool {
        *self.waiting.borrow() > 0
    }

    /// Lets go what was held back, and waits until the server has answered it.
    pub(crate) async fn let_go(&self) {
        let before = *self.answered.borrow();
        self.held.send_replace(false);
        let mut answered = self.answered.subscribe();
        within("the server to answer what was let go", answered.wait_for(|bytes| *bytes > before))
            .await
            .expect("the connection is there");
    }
}

#[expect(clippy::disallowed_methods, reason = "the test speaks to a server that it started itself")]
async fn relay(client: TcpStream, server: SocketAddr, connection: Arc<Connection>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let of_server = Arc::clone(&connection);
    let answers = tokio::spawn(async move {
        let mut bytes = [0; 16 * 1024];
        while let Ok(read @ 1..) = from_server.read(&mut bytes).await {
            of_server.answered.send_modify(|answered| *answered += read);
            // Whoever asked may have hung up.
            let _ = to_client.write_all(&bytes[..read]).await;
        }
    });
    let mut held = connection.held.subscribe();
    let mut bytes = [0; 16 * 1024];
    while let Ok(read @ 1..) = from_client.read(&mut bytes).await {
        connection.waiting.send_modify(|waiting| *waiting += read);
        if held.wait_for(|held| !held).await.is_err() || to_server.write_all(&bytes[..read]).await.is_err() {
            break;
        }
        connection.waiting.send_modify(|waiting| *waiting -= read);
    }
    // The answers to what was sent are waited for.
    let _ = answers.await;
}
