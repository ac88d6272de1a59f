//! A real PostgreSQL as a process of its own: Debian's, on a free port, in a temporary folder, behind TLS and a password.
//!
//! `initdb` and the server refuse to run as root, so under root both run as `nobody`.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::socket::free_port;
use super::{Issued, not_tested, until, within};

/// The password of the role `causeway`, which owns the database `causeway`.
pub(crate) const PASSWORD: &str = "hush-hush";

/// `nobody` and `nogroup` of Debian.
const NOBODY: u32 = 65_534;

/// A running server; it is killed when this is dropped.
pub(crate) struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
    child: Child,
}

impl Postgres {
    /// Starts one that shows this certificate, or speaks no TLS where there is none; none, loudly, where the machine has no
    /// PostgreSQL.
    pub(crate) async fn start(what: &str, certificate: Option<&Issued>) -> Option<Self> {
        let Some(programs) = programs() else {
            not_tested(&format!("{what}: there is no PostgreSQL"));
            return None;
        };
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mode = std::fs::Permissions::from_mode(0o711);
        std::fs::set_permissions(folder.path(), mode).expect("the folder is ours");
        let data = folder.path().join("data");
        std::fs::create_dir(&data).expect("the folder can be written");
        give_away(&data);
        let mut initdb = own(Command::new(programs.join("initdb")));
        initdb
            .args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(&data);
        let made = initdb.output().await.expect("initdb was found a moment ago");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let port = free_port();
        configure(&data, port, certificate);
        let child = spawn(&programs, &data);
        let server = Self { folder, programs, port, child };
        server.answers().await;
        server.tell(&format!("CREATE ROLE causeway LOGIN PASSWORD '{PASSWORD}'")).await;
        server.tell("CREATE DATABASE causeway OWNER causeway").await;
        Some(server)
    }

    /// A second server that follows this one and answers questions: a hot standby, made as its administrator makes it.
    pub(crate) async fn standby(&self) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mode = std::fs::Permissions::from_mode(0o711);
        std::fs::set_permissions(folder.path(), mode).expect("the folder is ours");
        let data = folder.path().join("data");
        std::fs::create_dir(&data).expect("the folder can be written");
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).expect("the folder is ours");
        give_away(&data);
        let copied = own(Command::new(self.programs.join("pg_basebackup")))
            .args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "-h", "127.0.0.1", "-U", "postgres"])
            .args(["-p", &self.port.to_string(), "-D"])
            .arg(&data)
            .output()
            .await
            .expect("pg_basebackup comes with the server");
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        let port = free_port();
        let settings = data.join("postgresql.conf");
        let mut text = std::fs::read_to_string(&settings).expect("the settings were copied");
        writeln!(text, "port = {port}").expect("writing to a string does not fail");
        std::fs::write(&settings, text).expect("the folder can be written");
        let child = spawn(&self.programs, &data);
        let server = Self { folder, programs: self.programs.clone(), port, child };
        server.answers().await;
        server
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Asks the database as its superuser; the rows, a line each, columns between `|`.
    pub(crate) async fn tell(&self, sql: &str) -> Vec<String> {
        let asked = self.try_tell(sql).await;
        assert!(asked.is_ok(), "{sql}: {asked:?}");
        asked.unwrap_or_default()
    }

    /// The same, or what the server says against it.
    pub(crate) async fn try_tell(&self, sql: &str) -> Result<Vec<String>, String> {
        let database = if sql.starts_with("CREATE ROLE") || sql.starts_with("CREATE DATABASE") || sql == "SELECT 1" {
            "postgres"
        } else {
            "causeway"
        };
        let done = Command::new(self.programs.join("psql"))
            .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "postgres", "-d", database])
            .args(["-p", &self.port.to_string(), "-c", sql])
            .env_clear()
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .expect("psql comes with the server");
        if !done.status.success() {
            return Err(String::from_utf8_lossy(&done.stderr).into_owned());
        }
        Ok(String::from_utf8_lossy(&done.stdout).lines().map(str::to_owned).collect())
    }

    /// A number that the database knows.
    pub(crate) async fn number(&self, sql: &str) -> u64 {
        let rows = self.tell(sql).await;
        rows.first().and_then(|row| row.parse().ok()).unwrap_or_else(|| unreachable!("{sql}: {rows:?}"))
    }

    /// Sends the server a signal and waits until it is gone: `INT` ends it in order, `KILL` does not.
    pub(crate) async fn end(&mut self, signal: &str) {
        let pid = self.child.id().expect("the process has not been waited for");
        signal_to(signal, &pid.to_string());
        self.child.wait().await.expect("a child can be waited for");
    }

    /// Sends the server's processes that serve gateways a signal.
    pub(crate) async fn signal_those_of_gateways(&self, signal: &str) {
        for pid in self.tell("SELECT pid FROM pg_stat_activity WHERE application_name = 'causeway'").await {
            signal_to(signal, &pid);
        }
    }

    /// Starts it again on the same folder and port.
    pub(crate) async fn come_back(&mut self) {
        let data = self.folder.path().join("data");
        // The processes of one that was killed leave a moment after it, and until then it refuses to start.
        within("the server to start again", async {
            loop {
                self.child = spawn(&self.programs, &data);
                if self.answers_or_leaves().await {
                    return;
                }
            }
        })
        .await;
    }

    /// Whether it answers; it does not where it left instead.
    async fn answers_or_leaves(&mut self) -> bool {
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        loop {
            pace.tick().await;
            if let Ok(Some(_)) = self.child.try_wait() {
                return false;
            }
            if self.try_tell("SELECT 1").await.is_ok() {
                return true;
            }
        }
    }

    async fn answers(&self) {
        until("the server to answer", async || self.try_tell("SELECT 1").await.ok()).await;
    }
}

impl Drop for Postgres {
    /// Its processes see that it is gone and leave as well; the folder goes after them.
    fn drop(&mut self) {
        if let Some(pid) = self.child.id() {
            signal_to("QUIT", &pid.to_string());
        }
    }
}

/// The folder of the newest version that is installed.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let mut found: Vec<(u32, PathBuf)> =
        versions.filter_map(|entry| Some((version(&entry.path())?, entry.path().join("bin")))).collect();
    found.retain(|(_, programs)| programs.join("initdb").exists());
    found.into_iter().max().map(|(_, programs)| programs)
}

fn configure(data: &Path, port: u16, certificate: Option<&Issued>) {
    let write = |name: &str, text: &str| {
        let path = data.join(name);
        std::fs::write(&path, text).expect("the folder can be written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("the file is ours");
        give_away(&path);
    };
    let ssl = if certificate.is_some() { "on" } else { "off" };
    write(
        "postgresql.conf",
        &format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\nssl = {ssl}\n\
             ssl_cert_file = 'server.pem'\nssl_key_file = 'server.key'\npassword_encryption = 'scram-sha-256'\n\
             shared_buffers = '16MB'\nmax_connections = 40\n"
        ),
    );
    // The superuser is the test itself; gateways show the password, and over TLS where there is any.
    let kind = if certificate.is_some() { "hostssl" } else { "host" };
    write(
        "pg_hba.conf",
        &format!(
            "host all postgres 127.0.0.1/32 trust\nhost replication postgres 127.0.0.1/32 trust\n\
             {kind} all all 127.0.0.1/32 scram-sha-256\n"
        ),
    );
    if let Some(issued) = certificate {
        write("server.pem", &issued.certificate);
        write("server.key", &issued.key);
    }
}

fn spawn(programs: &Path, data: &Path) -> Child {
    own(Command::new(programs.join("postgres")))
        .arg("-D")
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("it was found a moment ago")
}

/// As somebody who is not root.
fn own(mut command: Command) -> Command {
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.env_clear().env("LC_ALL", "C").current_dir("/");
    command
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").expect("it is there").uid() == 0
}

fn give_away(path: &Path) {
    if is_root() {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).expect("root may give files away");
    }
}

fn signal_to(signal: &str, pid: &str) {
    let sent = std::process::Command::new("sh").args(["-c", &format!("kill -{signal} {pid}")]).status();
    assert!(sent.is_ok_and(|status| status.success()), "signal {signal} could not be sent to {pid}");
}
