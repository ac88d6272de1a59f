//! `causeway serve` without a configuration: what is on this machine, said aloud, and served on loopback only.
//!
//! A local server is used when it answers. A cloud is never used by itself: its key in the environment makes it known,
//! and `--approve` makes it permitted, as `[policy] approve` does in a configuration.

#![expect(clippy::print_stdout, reason = "a command's answer goes to the terminal")]

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use egress::{
    EndpointSpec, Fleet, Host, Http2, PoolSpec, Reach, Scheme, Timeouts, TlsSpec, TransportSpec, UpstreamRequest,
};
use http::{HeaderMap, Method};
use http_body_util::{BodyExt as _, Limited};
use ipnet::IpNet;
use policy::{Candidate, Judge, Question, TargetId};
use serde_json::Value;
use server::configuration::{self, Compiled};
use server::load;

use super::start::StartError;

/// A server that may run on this machine, with the port that it takes by default.
struct Usual {
    endpoint: &'static str,
    product: &'static str,
    port: u16,
}

const USUAL: [Usual; 3] = [
    Usual { endpoint: "llama-cpp", product: "llama.cpp", port: 8080 },
    Usual { endpoint: "vllm", product: "vLLM", port: 8000 },
    Usual { endpoint: "ollama", product: "Ollama", port: 11434 },
];

/// Longest list of models that is read, in bytes.
const LONGEST_LIST: usize = 1 << 20;

/// A place that answers or could.
struct Found {
    endpoint: String,
    section: String,
    models: Vec<String>,
}

/// Looks around and makes a configuration of what is there.
pub(super) async fn configuration(approved: &[String]) -> Result<Compiled, StartError> {
    println!("No --config was given; looking at what is here.");
    let mut found = Vec::new();
    for usual in &USUAL {
        let models = models_at(usual).await;
        match &models {
            Some(models) => println!("  found    {} on 127.0.0.1:{} with {}", usual.product, usual.port, list(models)),
            None => println!("  nothing  on 127.0.0.1:{} ({})", usual.port, usual.product),
        }
        found.extend(models.filter(|models| !models.is_empty()).map(|models| local(usual, models)));
    }
    found.extend(cloud("openai", openai(), "OPENAI_MODELS", approved));
    found.extend(cloud("azure-openai", azure(), "AZURE_OPENAI_DEPLOYMENTS", approved));
    if found.is_empty() {
        return Err(StartError::NothingFound);
    }
    let (key, digest) = ingress::auth::new_key(&rand::random());
    let text = document(&found, approved, &digest);
    let path = PathBuf::from("(discovered)");
    let compiled = configuration::load_text([(path, text)], &load::options(SystemTime::now()))?;
    println!();
    println!("  key      {key}");
    println!("  serving  http://{}/v1 on loopback only, until a configuration says otherwise", compiled.listen.address);
    println!();
    Ok(compiled)
}

fn list(models: &[String]) -> String {
    if models.is_empty() { "no model loaded".to_owned() } else { format!("`{}`", models.join("`, `")) }
}

fn local(usual: &Usual, models: Vec<String>) -> Found {
    let section = format!(
        "[endpoint.{}]\nprovider = \"openai\"\nurl = \"http://127.0.0.1:{}/v1\"\n\
         reach = {{ local = {{ within = [\"127.0.0.1/32\"] }} }}\n         cost = {{ fixed = {{ usd_per_hour = 0 }} }}\n",
        usual.endpoint, usual.port
    );
    Found { endpoint: usual.endpoint.to_owned(), section, models }
}

/// The section of a cloud whose key stands in the environment.
fn openai() -> Option<String> {
    std::env::var_os("OPENAI_API_KEY")?;
    Some(
        "[endpoint.openai]\nprovider = \"openai\"\nurl = \"https://api.openai.com/v1\"\nreach = { public = {} }\n\
         auth = { key = { env = \"OPENAI_API_KEY\" } }\n"
            .to_owned(),
    )
}

fn azure() -> Option<String> {
    let url = std::env::var("AZURE_OPENAI_ENDPOINT").ok()?;
    std::env::var_os("AZURE_OPENAI_API_KEY")?;
    let url = toml_text(url.trim_end_matches('/'));
    Some(format!(
        "[endpoint.azure-openai]\nprovider = \"azure-openai\"\nurl = {url}\nreach = {{ public = {{}} }}\n\
         auth = {{ key = {{ env = \"AZURE_OPENAI_API_KEY\" }} }}\n"
    ))
}

/// Says what becomes of a cloud: used when it is approved and its models are named, refused otherwise.
fn cloud(endpoint: &str, section: Option<String>, models: &str, approved: &[String]) -> Option<Found> {
    let section = section?;
    if !approved.iter().any(|name| name == endpoint) {
        println!("  refused  {endpoint}: its key is in the environment, and nothing approves sending data there;");
        println!("           start with `--approve {endpoint}` if that is wanted");
        return None;
    }
    let named: Vec<String> = std::env::var(models)
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|m| !m.is_empty())
        .map(str::to_owned)
        .collect();
    if named.is_empty() {
        println!("  refused  {endpoint}: name its models in {models}, separated by commas");
        return None;
    }
    println!("  approved {endpoint} with {}", list(&named));
    Some(Found { endpoint: endpoint.to_owned(), section, models: named })
}

fn document(found: &[Found], approved: &[String], digest: &str) -> String {
    let mut text = format!(
        "[listen]\naddress = \"127.0.0.1:8443\"\n[admin]\naddress = \"127.0.0.1:9443\"\n[state]\nfolder = {}\n",
        toml_text(&state_folder().to_string_lossy())
    );
    text.push_str("[resolver.system]\nzones = [\".\"]\nservers = [\"system\"]\n");
    let mut models: Vec<(String, Vec<String>)> = Vec::new();
    for place in found {
        text.push_str(&place.section);
        for model in &place.models {
            let target = format!("{}/{model}", place.endpoint);
            match models.iter_mut().find(|(name, _)| name == model) {
                Some((_, targets)) => targets.push(target),
                None => models.push((model.clone(), vec![target])),
            }
        }
    }
    for (model, targets) in &models {
        let targets: Vec<String> = targets.iter().map(|target| toml_text(target)).collect();
        text.push_str(&format!("[model.{}]\ntargets = [{}]\n", toml_text(model), targets.join(", ")));
    }
    let names: Vec<String> = models.iter().map(|(model, _)| toml_text(model)).collect();
    text.push_str(&format!(
        "[app.here]\nteam = \"here\"\nkeys = [\"sha256:{digest}\"]\nmodels = [{}]\n[data.here]\nlabels = []\n",
        names.join(", ")
    ));
    let approved: Vec<String> = approved
        .iter()
        .filter(|name| found.iter().any(|place| place.endpoint == **name))
        .map(|name| toml_text(name))
        .collect();
    text.push_str(&format!("[policy]\napprove = [{}]\n", approved.join(", ")));
    text
}

/// A TOML basic string; JSON's escapes are a part of TOML's.
fn toml_text(text: &str) -> String {
    Value::from(text).to_string()
}

fn state_folder() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let base = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).or_else(home);
    base.unwrap_or_else(std::env::temp_dir).join("causeway")
}

/// The models that a local server lists; nothing when none answers. It is asked through the same door as any request.
async fn models_at(usual: &Usual) -> Option<Vec<String>> {
    let target = TargetId(0);
    let fleet = Fleet::build(vec![spec(usual)], Vec::new(), &[(target, 0)], None).ok()?;
    let candidates = [Candidate::new(target, usual.endpoint)];
    let judge = Judge::of_grants(&candidates);
    let permit = policy::decide(&judge, &Question::about("discover", "(list)", &candidates)).ok()?;
    let warrant = permit.warrant(target)?;
    let request = UpstreamRequest {
        method: Method::GET,
        path_and_query: "/models".to_owned(),
        headers: HeaderMap::new(),
        body: Vec::new(),
        body_len: 0,
    };
    let cleared = warrant.clear(request).ok()?;
    let reply = fleet.send(warrant, cleared).await.ok()?;
    if !reply.status.is_success() {
        return None;
    }
    let body = Limited::new(reply.body, LONGEST_LIST).collect().await.ok()?.to_bytes();
    let answer: Value = serde_json::from_slice(&body).ok()?;
    let ids = answer["data"].as_array()?.iter().filter_map(|model| model["id"].as_str());
    Some(ids.map(str::to_owned).collect())
}

fn spec(usual: &Usual) -> EndpointSpec {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    EndpointSpec {
        name: Arc::from(usual.endpoint),
        scheme: Scheme::Http,
        host: Host::Address(loopback),
        port: usual.port,
        authority: format!("127.0.0.1:{}", usual.port),
        base_path: "/v1".to_owned(),
        reach: Reach::Local { within: vec![IpNet::from(loopback)] },
        tls: TlsSpec::default(),
        credential: None,
        via: None,
        canary: None,
        timeouts: Timeouts {
            connect: Duration::from_millis(500),
            first_byte: Duration::from_secs(2),
            idle: Duration::from_secs(2),
            total: Duration::from_secs(3),
        },
        in_flight: None,
        pool: PoolSpec::default(),
        http2: Http2::Off,
        page: None,
        probe: None,
        transport: TransportSpec::default(),
    }
}
