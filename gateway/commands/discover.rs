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
use http::{HeaderMap, Method, StatusCode};
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

/// What a usual port has to say.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// Nobody is there, or it is no such server.
    Nothing,
    /// It refused, with this status: it wants a key, and none is guessed.
    WantsKey(u16),
    /// It serves these models.
    Models(Vec<String>),
}

/// Looks around and makes a configuration of what is there.
pub(super) async fn configuration(approved: &[String]) -> Result<Compiled, StartError> {
    println!("No --config was given; looking at what is here.");
    let mut found = Vec::new();
    for usual in &USUAL {
        let answer = ask(usual).await;
        println!("{}", said_of(usual, &answer));
        if let Answer::Models(models) = answer
            && !models.is_empty()
        {
            found.push(local(usual, models));
        }
    }
    for cloud in clouds(&|name| std::env::var(name).ok()) {
        let (said, place) = judged(cloud, approved);
        println!("{said}");
        found.extend(place);
    }
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

/// What the operator is told of a usual port.
fn said_of(usual: &Usual, answer: &Answer) -> String {
    let Usual { endpoint, product, port } = usual;
    match answer {
        Answer::Nothing => format!("  nothing  on 127.0.0.1:{port} ({product})"),
        Answer::Models(models) => format!("  found    {product} on 127.0.0.1:{port} with {}", list(models)),
        Answer::WantsKey(status) => format!(
            "  refused  by what answers on 127.0.0.1:{port} ({product}): {status}, so it wants a key;\n\
             \x20          write a configuration with `auth` in `[endpoint.{endpoint}]` and name it with --config"
        ),
    }
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

/// A cloud whose key stands in the environment.
struct Cloud {
    endpoint: &'static str,
    section: String,
    /// The variable that names its models, and those that it names.
    models_in: &'static str,
    models: Vec<String>,
}

/// The clouds that `environment` has the keys of.
fn clouds(environment: &dyn Fn(&str) -> Option<String>) -> Vec<Cloud> {
    let openai = environment("OPENAI_API_KEY").map(|_| Cloud {
        endpoint: "openai",
        section:
            "[endpoint.openai]\nprovider = \"openai\"\nurl = \"https://api.openai.com/v1\"\nreach = { public = {} }\n\
                  auth = { key = { env = \"OPENAI_API_KEY\" } }\n"
                .to_owned(),
        models_in: "OPENAI_MODELS",
        models: named_in(environment, "OPENAI_MODELS"),
    });
    let azure = environment("AZURE_OPENAI_ENDPOINT").zip(environment("AZURE_OPENAI_API_KEY")).map(|(url, _)| Cloud {
        endpoint: "azure-openai",
        section: format!(
            "[endpoint.azure-openai]\nprovider = \"azure-openai\"\nurl = {}\nreach = {{ public = {{}} }}\n\
             auth = {{ key = {{ env = \"AZURE_OPENAI_API_KEY\" }} }}\n",
            toml_text(url.trim_end_matches('/'))
        ),
        models_in: "AZURE_OPENAI_DEPLOYMENTS",
        models: named_in(environment, "AZURE_OPENAI_DEPLOYMENTS"),
    });
    openai.into_iter().chain(azure).collect()
}

/// What a variable names, separated by commas.
fn named_in(environment: &dyn Fn(&str) -> Option<String>, variable: &str) -> Vec<String> {
    let text = environment(variable).unwrap_or_default();
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// What becomes of a cloud, in words: used when it is approved and its models are named, refused otherwise.
fn judged(cloud: Cloud, approved: &[String]) -> (String, Option<Found>) {
    let Cloud { endpoint, section, models_in, models } = cloud;
    if !approved.iter().any(|name| name == endpoint) {
        let said = format!(
            "  refused  {endpoint}: its key is in the environment, and nothing approves sending data there;\n\
             \x20          start with `--approve {endpoint}` if that is wanted"
        );
        return (said, None);
    }
    if models.is_empty() {
        return (format!("  refused  {endpoint}: name its models in {models_in}, separated by commas"), None);
    }
    let said = format!("  approved {endpoint} with {}", list(&models));
    (said, Some(Found { endpoint: endpoint.to_owned(), section, models }))
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

/// Asks a local server for its models, through the same door as any request.
async fn ask(usual: &Usual) -> Answer {
    models_at(usual).await.unwrap_or(Answer::Nothing)
}

async fn models_at(usual: &Usual) -> Option<Answer> {
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
    if matches!(reply.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Some(Answer::WantsKey(reply.status.as_u16()));
    }
    if !reply.status.is_success() {
        return None;
    }
    let body = Limited::new(reply.body, LONGEST_LIST).collect().await.ok()?.to_bytes();
    let answer: Value = serde_json::from_slice(&body).ok()?;
    let ids = answer["data"].as_array()?.iter().filter_map(|model| model["id"].as_str());
    Some(Answer::Models(ids.map(str::to_owned).collect()))
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

#[cfg(test)]
mod tests {
    use server::configuration::ReachConfig;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn environment(name: &str) -> Option<String> {
        let value = match name {
            "OPENAI_API_KEY" | "AZURE_OPENAI_API_KEY" => "sk-of-the-test",
            "OPENAI_MODELS" => "gpt-4o, gpt-4o-mini,",
            "AZURE_OPENAI_ENDPOINT" => "https://contoso.openai.azure.com/",
            "AZURE_OPENAI_DEPLOYMENTS" => "chat",
            _ => return None,
        };
        Some(value.to_owned())
    }

    fn text(list: &[&str]) -> Vec<String> {
        list.iter().map(|item| (*item).to_owned()).collect()
    }

    /// The document of what was found, as `serve` would load it.
    fn loaded(found: &[Found], approved: &[&str]) -> Compiled {
        let text = document(found, &text(approved), DIGEST);
        let mut options = load::options(SystemTime::now());
        options.environment = environment;
        let loaded = configuration::load_text([(PathBuf::from("(discovered)"), text.clone())], &options);
        loaded.unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}"))
    }

    fn cloud_found(endpoint: &str) -> Found {
        let cloud = clouds(&environment).into_iter().find(|cloud| cloud.endpoint == endpoint).unwrap();
        judged(cloud, &text(&[endpoint])).1.unwrap()
    }

    /// Each target with the dialect and the address of its endpoint, by model.
    fn served(compiled: &Compiled) -> Vec<String> {
        let target = |index: &usize| {
            let target = &compiled.targets[*index];
            let endpoint = &compiled.endpoints[target.endpoint];
            let reach = match &endpoint.reach {
                ReachConfig::Local { .. } => "local",
                ReachConfig::Public => "public",
                ReachConfig::PrivateLink { .. } => "private",
            };
            format!(
                "{} {} {:?}:{}{} {reach}",
                target.name, endpoint.provider, endpoint.host, endpoint.port, endpoint.base_path
            )
        };
        let of_model = |model: &configuration::ModelConfig| {
            let targets: Vec<String> = model.targets.iter().map(target).collect();
            format!("{}: {}", model.name, targets.join(", "))
        };
        compiled.models.iter().map(of_model).collect()
    }

    #[test]
    fn each_local_server_that_answers_is_served_under_its_models_on_loopback_only() {
        for (usual, port) in USUAL.iter().zip([8080, 8000, 11434]) {
            let compiled = loaded(&[local(usual, text(&["Qwen/Qwen2.5-0.5B:q4"]))], &[]);

            let name = usual.endpoint;
            let expected =
                format!("Qwen/Qwen2.5-0.5B:q4: {name}/Qwen/Qwen2.5-0.5B:q4 openai Address(127.0.0.1):{port}/v1 local");
            assert_eq!(served(&compiled), [expected]);
            assert!(compiled.listen.address.ip().is_loopback());
            assert!(compiled.admin.is_some_and(|admin| admin.ip().is_loopback()));
            assert_eq!(compiled.apps.len(), 1);
        }
    }

    #[test]
    fn a_model_that_two_servers_have_is_one_model_with_two_targets() {
        let both = [local(&USUAL[0], text(&["m"])), local(&USUAL[1], text(&["m", "n"]))];

        let compiled = loaded(&both, &[]);

        let names: Vec<_> = compiled.models.iter().map(|model| (model.name.as_str(), model.targets.len())).collect();
        assert_eq!(names, [("m", 2), ("n", 1)]);
    }

    #[test]
    fn openai_is_served_under_the_models_that_the_environment_names() {
        let compiled = loaded(&[cloud_found("openai")], &["openai"]);

        let expected = ["gpt-4o", "gpt-4o-mini"]
            .map(|model| format!("{model}: openai/{model} openai Name(\"api.openai.com\"):443/v1 public"));
        assert_eq!(served(&compiled), expected);
        assert!(compiled.endpoints[0].credential.is_some());
    }

    #[test]
    fn azure_is_served_under_its_deployments_at_the_url_of_the_environment() {
        let compiled = loaded(&[cloud_found("azure-openai")], &["azure-openai"]);

        let expected = "chat: azure-openai/chat azure-openai Name(\"contoso.openai.azure.com\"):443 public";
        assert_eq!(served(&compiled), [expected]);
        assert!(compiled.endpoints[0].credential.is_some());
    }

    #[test]
    fn a_cloud_is_approved_only_by_its_name_and_only_with_models() {
        let approve = |found: &[Found], approved: &[&str]| {
            let text = document(found, &text(approved), DIGEST);
            text.rsplit_once("approve = ").unwrap().1.trim().to_owned()
        };
        let clouds_of = || clouds(&environment).into_iter();
        let nameless =
            |name: &str| environment(name).filter(|_| !name.contains("MODELS") && !name.contains("DEPLOYMENTS"));

        for (cloud, other) in clouds_of().zip(["azure-openai", "openai"]) {
            let endpoint = cloud.endpoint;
            let (said, found) = judged(cloud, &text(&[other]));
            assert!(found.is_none() && said.contains(&format!("`--approve {endpoint}`")), "{said}");
        }
        for cloud in clouds(&nameless) {
            let (variable, endpoint) = (cloud.models_in, cloud.endpoint);
            let (said, found) = judged(cloud, &text(&[endpoint]));
            assert!(found.is_none() && said.contains(variable), "{said}");
        }
        assert!(clouds(&|_| None).is_empty());
        assert_eq!(approve(&[cloud_found("openai")], &["openai", "azure-openai"]), r#"["openai"]"#);
        assert_eq!(approve(&[local(&USUAL[1], text(&["m"]))], &["openai"]), "[]");
    }

    /// A server at a usual place that answers one request with this.
    async fn answering(answer: &'static str) -> Usual {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 1024];
            assert_ne!(stream.read(&mut asked).await.unwrap(), 0);
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        Usual { endpoint: "vllm", product: "vLLM", port }
    }

    #[tokio::test]
    async fn a_server_that_wants_a_key_is_said_to_and_not_taken_for_nothing() {
        let usual = answering("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n").await;

        let answer = ask(&usual).await;

        assert_eq!(answer, Answer::WantsKey(401));
        let said = said_of(&usual, &answer);
        assert!(
            said.contains("401") && said.contains("`auth` in `[endpoint.vllm]`") && said.contains("--config"),
            "{said}"
        );
    }

    #[tokio::test]
    async fn a_server_that_lists_models_is_found_and_one_that_knows_no_models_is_nothing() {
        let list = "HTTP/1.1 200 OK\r\ncontent-length: 32\r\n\r\n{\"data\":[{\"id\":\"a\"},{\"id\":\"b\"}]}";
        let lists = answering(list).await;
        let other = answering("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;

        let (found, nothing) = (ask(&lists).await, ask(&other).await);

        assert_eq!(found, Answer::Models(text(&["a", "b"])));
        assert!(said_of(&lists, &found).ends_with("with `a`, `b`"));
        assert_eq!(nothing, Answer::Nothing);
        assert!(said_of(&other, &nothing).contains("nothing"));
    }
}
