//! The gateway as a process: started, told things by signals, and ended by its own process id.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::socket::free_port;
use super::{Answer, Audit, Client, Config, Request, until, within};

/// Where the configuration is written, within the folder of the process: a file that `--config` names, or one of a folder.
const FILE: &str = "causeway.toml";
const IN_A_FOLDER: &str = "causeway.d/main.toml";

/// And that of a second process on the same folder.
const SECOND: &str = "second.toml";
const NOTHING: [&str; 0] = [];

/// A running gateway. It is killed when this is dropped; its log is shown when the test failed.
pub(crate) struct Gateway {
    folder: Arc<TempDir>,
    document: &'static str,
    ports: [u16; 3],
    log: PathBuf,
    child: Child,
}

impl Gateway {
    /// Starts a gateway and waits until it is ready.
    pub(crate) async fn start(config: &Config) -> Self {
        Self::start_with(config, &[]).await
    }

    /// The same with further arguments of `causeway serve`.
    pub(crate) async fn start_with(config: &Config, arguments: &[&str]) -> Self {
        Self::launch(FILE, config, |command| command.args(arguments)).await
    }

    /// The same with `--config` naming a folder, in which the configuration is `main.toml`.
    pub(crate) async fn start_from_folder(config: &Config) -> Self {
        Self::launch(IN_A_FOLDER, config, |command| command).await
    }

    /// The same after a shell has run `prelude`, which sets the limits of the process; its log is lost.
    pub(crate) async fn start_under(config: &Config, prelude: &str) -> Self {
        let script = format!("{prelude}; exec \"$0\" \"$@\" >/dev/null 2>&1");
        Self::launch(FILE, config, |command| {
            let program = command.as_std().get_program().to_owned();
            let arguments: Vec<_> = command.as_std().get_args().map(ToOwned::to_owned).collect();
            *command = Command::new("sh");
            command.arg("-c").arg(&script).arg(program).args(arguments)
        })
        .await
    }

    async fn launch(document: &'static str, config: &Config, dress: impl Fn(&mut Command) -> &mut Command) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a temporary folder can be made"));
        for (name, content) in &config.files {
            write_private(&folder.path().join(document).with_file_name(name), content);
        }
        // Another process may take a port between the look and the start; then others are tried.
        for _ in 0..3 {
            let ports = [free_port(), free_port(), free_port()];
            write_private(&folder.path().join(document), &config.text(ports));
            let mut gateway = Self::spawn((Arc::clone(&folder), document), ports, "gateway.log", &dress);
            if gateway.is_ready().await {
                return gateway;
            }
            assert!(gateway.log().contains("cannot listen"), "the gateway did not start:\n{}", gateway.log());
        }
        unreachable!("no ports were free three times in a row")
    }

    /// Starts the binary again on the same folder and ports, without waiting for it.
    pub(crate) fn again(&self, log: &str, arguments: &[&str]) -> Self {
        Self::spawn((Arc::clone(&self.folder), self.document), self.ports, log, |command| command.args(arguments))
    }

    /// Starts another process on the same folder with ports of its own, and waits until it is ready.
    pub(crate) async fn second(&self, config: &Config) -> Self {
        let ports = [free_port(), free_port(), free_port()];
        write_private(&self.folder.path().join(SECOND), &config.text(ports));
        let mut second =
            Self::spawn((Arc::clone(&self.folder), SECOND), ports, "second.log", |command| command.args(NOTHING));
        assert!(second.is_ready().await, "the second process did not start:\n{}", second.log());
        second
    }

    fn spawn(
        (folder, document): (Arc<TempDir>, &'static str),
        ports: [u16; 3],
        log: &str,
        dress: impl Fn(&mut Command) -> &mut Command,
    ) -> Self {
        let log = folder.path().join(log);
        let file = std::fs::File::create(&log).expect("the log can be made");
        let mut command = Command::new(binary());
        let named = document.split_once('/').map_or(document, |(folder, _)| folder);
        // No load balancer looks at these gateways, so none waits for one; a later value wins over this.
        command.args(["serve", "--config", named, "--readiness-lead", "0"]);
        let child = dress(&mut command)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a file has two handles"))
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .expect("cargo built the binary");
        Self { folder, document, ports, log, child }
    }

    /// The names of its threads, cut to 15 letters by the system.
    pub(crate) fn threads(&self) -> Vec<String> {
        let folder = format!("/proc/{}/task", self.child.id().expect("it runs"));
        let threads = std::fs::read_dir(folder).expect("a running process has threads");
        threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("comm")).ok()).collect()
    }

    /// Waits until it is ready, or until it has left.
    pub(crate) async fn is_ready(&mut self) -> bool {
        let probes = Client::plain(self.health());
        until("the gateway to be ready or to leave", async || {
            if let Ok(Some(_)) = self.child.try_wait() {
                return Some(false);
            }
            let answer = probes.try_send(Request::get("/readyz").anonymous()).await.ok()?;
            (answer.status == 200).then_some(true)
        })
        .await
    }

    pub(crate) fn data(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports[0]).into()
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports[1]).into()
    }

    pub(crate) fn health(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports[2]).into()
    }

    pub(crate) fn client(&self) -> Client {
        Client::plain(self.data())
    }

    /// Sends one request to the callers' listener.
    pub(crate) async fn send(&self, request: Request) -> Answer {
        self.client().send(request).await
    }

    /// Posts a body to the callers' listener.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Request::post(path, body)).await
    }

    /// Posts a chat.
    pub(crate) async fn chat(&self, body: &Value) -> Answer {
        self.post("/v1/chat/completions", body).await
    }

    /// Fetches from the operators' listener.
    pub(crate) async fn operator(&self, path: &str) -> Answer {
        Client::plain(self.admin()).send(Request::get(path).anonymous()).await
    }

    pub(crate) fn audit(&self) -> Audit {
        Audit::at(&self.state())
    }

    /// The folder that the process runs in, where its configuration lies.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.beside("state")
    }

    /// What the process has said so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Writes the configuration anew; the process learns of it by [`Self::signal`] `HUP`, or by looking.
    pub(crate) fn configure(&self, config: &Config) {
        self.configure_text(&config.text(self.ports));
    }

    /// Writes any text where the configuration was.
    pub(crate) fn configure_text(&self, text: &str) {
        write_private(&self.folder.path().join(self.document), text);
    }

    pub(crate) fn configuration_text(&self) -> String {
        std::fs::read_to_string(self.folder.path().join(self.document)).expect("written at the start")
    }

    pub(crate) fn replace_file(&self, name: &str, content: &str) {
        write_private(&self.beside(name), content);
    }

    /// Where a file of this name lies beside the configuration.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(self.document).with_file_name(name)
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("the process has not been waited for")
    }

    /// Sends a signal by name, as an operator's shell does.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.id();
        let sent = std::process::Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status();
        assert!(sent.is_ok_and(|status| status.success()), "signal {name} could not be sent");
    }

    /// Waits until the process has left by itself.
    pub(crate) async fn left(&mut self) -> ExitStatus {
        within("the gateway to leave", self.child.wait()).await.expect("a child can be waited for")
    }

    /// Kills it, as a machine that loses power would.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.expect("a child can be killed");
    }
}

/// The binary that cargo built for this test; `CAUSEWAY_BINARY` names another, such as one that was installed.
pub(crate) fn binary() -> std::ffi::OsString {
    std::env::var_os("CAUSEWAY_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_causeway").into())
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            show(&self.log());
        }
    }
}

#[expect(clippy::print_stderr, reason = "a test that fails shows what the gateway said")]
fn show(log: &str) {
    let lines: Vec<&str> = log.lines().collect();
    eprintln!("--- the gateway's log\n{}\n---", lines[lines.len().saturating_sub(60)..].join("\n"));
}

/// Written beside and renamed, so that a gateway that looks now and then never reads half a file.
fn write_private(path: &Path, content: &str) {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    std::fs::create_dir_all(path.parent().expect("a file lies in a folder"))
        .expect("a temporary folder can be written");
    let unfinished = path.with_extension("unfinished");
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished);
    let written = file.and_then(|mut file| file.write_all(content.as_bytes()));
    written.and_then(|()| std::fs::rename(&unfinished, path)).expect("a temporary folder can be written");
}
