//! A real Valkey or Redis as a process, with nothing on disk: one that is killed has forgotten everything when it comes back.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::socket::free_port;
use super::{Authority, not_tested, until};

/// A running store; it is killed when this is dropped.
pub(crate) struct Store {
    folder: TempDir,
    port: u16,
    program: &'static str,
    secure: bool,
    /// Settings beside the usual ones.
    settings: Vec<String>,
    child: Child,
}

/// What a distribution calls it.
const PROGRAMS: [&str; 2] = ["valkey-server", "redis-server"];

impl Store {
    /// Starts one; none, loudly, where the machine has none.
    pub(crate) async fn start(what: &str) -> Option<Self> {
        Self::launch(what, None, &[]).await
    }

    /// The same as one that gateways have met long ago: it does not wait for them to tell it what they hold.
    pub(crate) async fn met_before(what: &str) -> Option<Self> {
        let store = Self::start(what).await?;
        store.does("SET causeway:1:memory long-ago").await;
        Some(store)
    }

    /// The same as a node of a cluster, which has no slots yet.
    pub(crate) async fn of_a_cluster(what: &str) -> Option<Self> {
        // The port on which its nodes would speak, which is otherwise ten thousand above the first, whoever has that.
        let between_nodes = free_port().to_string();
        Self::launch(what, None, &["--cluster-enabled", "yes", "--cluster-port", &between_nodes]).await
    }

    /// The same over TLS, with a certificate of this authority and this password.
    pub(crate) async fn secure(what: &str, authority: &Authority, password: &str) -> Option<Self> {
        Self::launch(what, Some((authority, password)), &[]).await
    }

    async fn launch(what: &str, secure: Option<(&Authority, &str)>, settings: &[&str]) -> Option<Self> {
        let is_there = |program: &&str| std::process::Command::new(program).arg("--version").output().is_ok();
        let Some(program) = PROGRAMS.into_iter().find(is_there) else {
            not_tested(&format!("{what}: there is neither valkey-server nor redis-server"));
            return None;
        };
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let port = free_port();
        if let Some((authority, password)) = secure {
            let issued = authority.issue();
            let files =
                [("key.pem", &issued.key), ("certificate.pem", &issued.certificate), ("ca.pem", &authority.pem())];
            for (name, text) in files {
                std::fs::write(folder.path().join(name), text).expect("the folder can be written");
            }
            std::fs::write(folder.path().join("store.conf"), configured(&folder, port, password)).expect("as well");
        }
        let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
        let child = spawn(program, &folder, (port, secure.is_some()), &settings);
        let store = Self { folder, port, program, secure: secure.is_some(), settings, child };
        store.answers().await;
        Some(store)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub(crate) fn scheme(&self) -> &'static str {
        if self.secure { "rediss" } else { "redis" }
    }

    /// Kills it, with all that it knows.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.expect("a child can be killed");
    }

    /// Makes it forget all that it knows while it runs on and keeps its connections.
    pub(crate) async fn forget(&self) {
        self.tell(b"FLUSHALL\r\n", b"+OK\r\n").await.expect("a store that runs can be emptied");
    }

    /// Whether nobody has written anything into it.
    pub(crate) async fn is_empty(&self) -> bool {
        self.tell(b"DBSIZE\r\n", b":0\r\n").await.is_ok()
    }

    /// How often it has done a command of this name, by its own count; those that scripts do are counted as well.
    #[expect(clippy::disallowed_methods, reason = "the test speaks to a server that it started itself")]
    pub(crate) async fn count_of(&self, command: &str) -> u64 {
        let mut stream = tokio::net::TcpStream::connect(self.address()).await.expect("it listens");
        stream.write_all(b"INFO commandstats\r\nQUIT\r\n").await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers and closes");
        let line = format!("cmdstat_{command}:calls=");
        let count = answer.lines().find_map(|known| known.strip_prefix(line.as_str()));
        count.map_or(0, |rest| rest.split(',').next().and_then(|digits| digits.parse().ok()).expect("it is a number"))
    }

    /// Has it do something that is answered with `OK`.
    pub(crate) async fn does(&self, command: &str) {
        self.tell(format!("{command}\r\n").as_bytes(), b"+OK\r\n").await.expect("it does what it is told");
    }

    /// Stops it where it is, or lets it go on, by the signal of this name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().expect("the process has not been waited for");
        let sent = std::process::Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status();
        assert!(sent.is_ok_and(|status| status.success()), "signal {name} could not be sent");
    }

    /// Starts it again at the same address.
    pub(crate) async fn come_back(&mut self) {
        self.child = spawn(self.program, &self.folder, (self.port, self.secure), &self.settings);
        self.answers().await;
    }

    async fn answers(&self) {
        until("the store to answer", async || self.ping().await.ok()).await;
    }

    async fn ping(&self) -> std::io::Result<()> {
        self.tell(b"PING\r\n", b"+PONG\r\n").await
    }

    /// Sends one command over a connection of its own, and expects this answer.
    #[expect(clippy::disallowed_methods, reason = "the test speaks to a server that it started itself")]
    async fn tell(&self, command: &[u8], expected: &[u8]) -> std::io::Result<()> {
        let mut stream = tokio::net::TcpStream::connect(self.address()).await?;
        if self.secure {
            // Who speaks to it says whether it speaks TLS.
            return Ok(());
        }
        stream.write_all(command).await?;
        let mut answer = vec![0; expected.len()];
        stream.read_exact(&mut answer).await?;
        if answer == expected { Ok(()) } else { Err(std::io::ErrorKind::WouldBlock.into()) }
    }
}

/// TLS and nothing else, and a password.
fn configured(folder: &TempDir, port: u16, password: &str) -> String {
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (certificate, key, ca) = (file("certificate.pem"), file("key.pem"), file("ca.pem"));
    format!(
        "port 0\ntls-port {port}\ntls-cert-file {certificate}\ntls-key-file {key}\ntls-ca-cert-file {ca}\n\
         tls-auth-clients no\nrequirepass {password}\n"
    )
}

fn spawn(program: &str, folder: &TempDir, (port, secure): (u16, bool), settings: &[String]) -> Child {
    let mut command = Command::new(program);
    if secure {
        command.arg(folder.path().join("store.conf"));
    } else {
        command.args(["--port", &port.to_string()]);
    }
    command
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
        .arg(folder.path())
        .args(settings)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("it was found a moment ago")
}
