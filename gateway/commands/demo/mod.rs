//! `causeway demo`: a gateway with a stand-in GPU server and two stand-in clouds, all in this process.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's answer goes to the terminal")]

mod standin;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use server::run::{Plain, PlainHandle};
use tokio::signal::ctrl_c;
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

pub(super) fn run(arguments: Arguments) -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("the runtime could not be started: {error}");
            return ExitCode::from(UNKNOWN);
        }
    };
    match runtime.block_on(demonstrate(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(NO)
        }
    }
}

async fn demonstrate(arguments: &Arguments) -> Result<(), StartError> {
    let _ = telemetry::log::init(telemetry::log::Format::Line, "warn");
    let folder = TemporaryFolder::new()?;
    let (key, digest) = ingress::auth::new_key(&rand::random());
    let upstream_key = ingress::auth::new_key(&rand::random()).0;
    let upstreams = Upstreams::start(arguments.fail_local, &upstream_key).await?;
    std::fs::write(folder.0.join("cloud.key"), &upstream_key)?;
    let text = upstreams.configuration(&folder.0, &digest);
    let path = folder.0.join("demo.toml");
    std::fs::write(&path, &text)?;
    let gateway = start::gateway(&path).await?;
    let data = SocketAddr::from(([127, 0, 0, 1], arguments.port));
    let admin = SocketAddr::from(([127, 0, 0, 1], arguments.admin_port));
    let handle = Plain::start(std::sync::Arc::clone(&gateway), data, admin).await?;
    introduce(&handle, &key, &path, arguments.fail_local);
    told_to_end().await;
    gateway.enter(server::gateway::Phase::Draining);
    drop(handle);
    if let Err(error) = gateway.audit.seal("demo ended", std::time::SystemTime::now()).await {
        eprintln!("{error}");
    }
    Ok(())
}

/// Ctrl-C or SIGTERM, so that the temporary folder goes either way.
async fn told_to_end() {
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => {
            let _ = ctrl_c().await;
        }
    }
}

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
        let mut france = StandIn::new("aoai-france", "/openai/v1", 450, 14);
        france.key = Some(key.to_owned());
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
    println!("Causeway is running with a stand-in GPU server and two stand-in clouds, all in this process.");
    if fail_local {
        println!("The stand-in GPU server fails every request; watch `x-causeway-endpoint` name a cloud.");
    }
    println!();
    println!("  curl -i {url}/v1/chat/completions -H 'authorization: Bearer {key}' \\");
    println!("       -H 'content-type: application/json' \\");
    println!("       -d '{{\"model\":\"chat\",\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'");
    println!();
    println!("  python3 -c 'import openai; c = openai.OpenAI(base_url=\"{url}/v1\", api_key=\"{key}\")");
    println!(
        "  print(c.chat.completions.create(model=\"chat\", messages=[{{\"role\":\"user\",\"content\":\"Hello\"}}]).choices[0].message.content)'"
    );
    println!();
    println!("  admin          http://{}/api/status   (also /metrics, /readyz)", handle.admin);
    println!("  configuration  {}", configuration.display());
    println!();
    println!("Ctrl-C ends it and removes its folder.");
}

/// A folder that goes when the demonstration does.
struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("causeway-demo-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
