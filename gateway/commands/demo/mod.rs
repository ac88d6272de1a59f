//! `causeway demo`: a gateway with a stand-in GPU server and two stand-in clouds, all in this process.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's answer goes to the terminal")]

mod answers;
mod standin;

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use server::run::{Plain, PlainHandle};
use tokio::signal::unix::{SignalKind, signal};

use super::start::{self, StartError};
use super::{NO, UNKNOWN};
use standin::StandIn;

/// What the demonstration does.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The stand-in GPU server answers 503 to everything, so that failover to the clouds can be watched.
    #[arg(long)]
    fail_local: bool,
    /// Port for callers on loopback; 0 takes any free one.
    #[arg(long, default_value_t = 8443)]
    port: u16,
    /// Port for operators on loopback; 0 takes any free one.
    #[arg(long, default_value_t = 9443)]
    admin_port: u16,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("the runtime could not be started: {error}");
            return ExitCode::from(UNKNOWN);
        }
    };
    match runtime.block_on(demonstrate(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(NO)
        }
    }
}

async fn demonstrate(arguments: &Arguments) -> Result<(), StartError> {
    let _ = telemetry::log::init(telemetry::log::Format::Line, "warn");
    let data = SocketAddr::from(([127, 0, 0, 1], arguments.port));
    let admin = SocketAddr::from(([127, 0, 0, 1], arguments.admin_port));
    claim(data, admin)?;
    let folder = TemporaryFolder::new()?;
    let (key, digest) = ingress::auth::new_key(&rand::random());
    let upstream_key = ingress::auth::new_key(&rand::random()).0;
    let upstreams = Upstreams::start(arguments.fail_local, &upstream_key).await?;
    folder.write("cloud.key", &upstream_key)?;
    let path = folder.write("demo.toml", &upstreams.configuration(&folder.0, &digest))?;
    let gateway = start::gateway(&path).await?;
    let handle = Plain::start(std::sync::Arc::clone(&gateway), data, admin).await?;
    // Before anything is said: whoever reads the text may end the demonstration at once.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    introduce(&handle, &key, &path, arguments.fail_local);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    gateway.enter(server::gateway::Phase::Draining);
    drop(handle);
    gateway.ledger.leave();
    if let Err(error) = gateway.audit.seal("demo ended", std::time::SystemTime::now()).await {
        eprintln!("{error}");
    }
    Ok(())
}

/// Sees that both ports can be had before anything is made, so that a person is told which one is taken.
fn claim(data: SocketAddr, admin: SocketAddr) -> Result<(), StartError> {
    let bind =
        |address, flag| TcpListener::bind(address).map_err(|source| StartError::DemoPort { address, flag, source });
    let callers = bind(data, "--port")?;
    // While the first is held: the same port twice is a mistake as well.
    let operators = bind(admin, "--admin-port")?;
    drop((callers, operators));
    Ok(())
}

/// Tokens a minute of the first cloud: enough for three times the question of the `curl` line and not for four, so that a 429 can
/// be seen without waiting.
const SMALL_QUOTA: u64 = 120;

/// The three places that can answer.
struct Upstreams {
    gpu: SocketAddr,
    sweden: SocketAddr,
    france: SocketAddr,
}

impl Upstreams {
    async fn start(fail_local: bool, key: &str) -> std::io::Result<Self> {
        let gpu = StandIn::new("gpu-01", "/v1", 120, 18);
        gpu.failing.store(fail_local, Ordering::Relaxed);
        let mut sweden = StandIn::new("aoai-sweden", "/openai/v1", 350, 12);
        sweden.key = Some(key.to_owned());
        sweden.region = Some("Sweden Central");
        sweden.quota = SMALL_QUOTA;
        let mut france = StandIn::new("aoai-france", "/openai/v1", 450, 14);
        france.key = Some(key.to_owned());
        france.region = Some("France Central");
        Ok(Self { gpu: gpu.start().await?, sweden: sweden.start().await?, france: france.start().await? })
    }

    /// The configuration that the gateway of the demonstration reads, as anyone could have written it.
    fn configuration(&self, folder: &Path, digest: &str) -> String {
        let template = include_str!("demo.toml");
        template
            .replace("{{state}}", &folder.join("state").to_string_lossy())
            .replace("{{gpu}}", &self.gpu.to_string())
            .replace("{{sweden}}", &self.sweden.to_string())
            .replace("{{france}}", &self.france.to_string())
            .replace("{{digest}}", digest)
    }
}

fn introduce(handle: &PlainHandle, key: &str, configuration: &Path, fail_local: bool) {
    let url = format!("http://{}", handle.data);
    let admin = handle.admin;
    println!("Causeway is running with a stand-in GPU server and two stand-in clouds, all in this process. They");
    println!("serve chat, completions, responses and embeddings, whole or streaming; no model runs.");
    println!();
    println!("  curl -i {url}/v1/chat/completions -H 'authorization: Bearer {key}' \\");
    println!("       -H 'content-type: application/json' \\");
    println!("       -d '{{\"model\":\"chat\",\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'");
    println!();
    println!("  python3 -c 'import openai; c = openai.OpenAI(base_url=\"{url}/v1\", api_key=\"{key}\")");
    println!(
        "print(c.chat.completions.create(model=\"chat\", messages=[{{\"role\":\"user\",\"content\":\"Hello\"}}]).choices[0].message.content)'"
    );
    println!();
    println!("  admin          http://{admin}/api/status   (also /metrics, /readyz)");
    println!("  configuration  {}", configuration.display());
    println!();
    if fail_local {
        println!("The stand-in GPU server answers 503 to every request: watch `x-causeway-endpoint` name a cloud.");
        println!(
            "aoai-sweden has {SMALL_QUOTA} tokens a minute, three short questions. The next one it answers 429, and"
        );
        println!("aoai-france answers instead; `causeway_attempts_total` in /metrics counts it as `status_429`.");
    } else {
        println!(
            "With --fail-local the stand-in GPU server fails, and the clouds answer instead: aoai-sweden until its"
        );
        println!("{SMALL_QUOTA} tokens a minute are used up and it answers 429, then aoai-france.");
    }
    println!();
    println!("Ctrl-C ends it and removes its folder.");
}

/// A folder that nobody else can read, and that goes when the demonstration does.
struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    fn new() -> std::io::Result<Self> {
        let name = format!("causeway-demo-{}-{:08x}", std::process::id(), rand::random::<u32>());
        let path = std::env::temp_dir().join(name);
        // One that is already there is somebody else's, and an error.
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    fn write(&self, name: &str, content: &str) -> std::io::Result<PathBuf> {
        let path = self.0.join(name);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(content.as_bytes())?;
        Ok(path)
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
