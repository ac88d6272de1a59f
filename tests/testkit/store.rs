//! A real Valkey or Redis as a process, with nothing on disk: one that is killed has forgotten everything when it comes back.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::socket::free_port;
use super::{not_tested, until};

/// A running store; it is killed when this is dropped.
pub(crate) struct Store {
    folder: TempDir,
    port: u16,
    program: &'static str,
    child: Child,
}

/// What a distribution calls it.
const PROGRAMS: [&str; 2] = ["valkey-server", "redis-server"];

impl Store {
    /// Starts one; none, loudly, where the machine has none.
    pub(crate) async fn start(what: &str) -> Option<Self> {
        let is_there = |program: &&str| std::process::Command::new(program).arg("--version").output().is_ok();
        let Some(program) = PROGRAMS.into_iter().find(is_there) else {
            not_tested(&format!("{what}: there is neither valkey-server nor redis-server"));
            return None;
        };
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let port = free_port();
        let child = spawn(program, &folder, port);
        let store = Self { folder, port, program, child };
        store.answers().await;
        Some(store)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Kills it, with all that it knows.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.expect("a child can be killed");
    }

    /// Starts it again at the same address.
    pub(crate) async fn come_back(&mut self) {
        self.child = spawn(self.program, &self.folder, self.port);
        self.answers().await;
    }

    async fn answers(&self) {
        until("the store to answer", async || self.ping().await.ok()).await;
    }

    #[expect(clippy::disallowed_methods, reason = "the test speaks to a server that it started itself")]
    async fn ping(&self) -> std::io::Result<()> {
        let mut stream = tokio::net::TcpStream::connect(self.address()).await?;
        stream.write_all(b"PING\r\n").await?;
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).await?;
        if &answer == b"+PONG\r\n" { Ok(()) } else { Err(std::io::ErrorKind::WouldBlock.into()) }
    }
}

fn spawn(program: &str, folder: &TempDir, port: u16) -> Child {
    Command::new(program)
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no", "--dir"])
        .arg(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("it was found a moment ago")
}
