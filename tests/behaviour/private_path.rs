//! A private endpoint is reached where its names lead and nowhere else, whatever a resolver, a network or a front says.
//!
//! The private endpoint listens at 127.0.0.1, the public front of the same name at 127.77.0.1 on the same port, with the same
//! certificate: only what was verified keeps them apart.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_rustls::TlsAcceptor;

use crate::testkit::{
    Act, Authority, Client, Config, Dns, Endpoint, Expect, Gateway, Request, Says, Upstream, chat, until,
};

const HOST: &str = "contoso.openai.azure.com";
const LINK: &str = "contoso.privatelink.openai.azure.com";
const TRAFFIC: &str = "weu.prod.vnet.cog.trafficmanager.net";
const CLOUD: &str = "vnetproxyv1-weu.westeurope.cloudapp.azure.com";
const PRIVATE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const PUBLIC: Ipv4Addr = Ipv4Addr::new(127, 77, 0, 1);
/// An address that nobody has, for answers that are never dialled.
const INTERNET: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

fn private(addresses: &[Ipv4Addr]) -> Says {
    Says::Chain(vec![LINK], addresses.to_vec(), 5)
}

fn public() -> Says {
    Says::Chain(vec![LINK, TRAFFIC, CLOUD], vec![PUBLIC], 5)
}

/// The hub's resolver, the private endpoint, and the public front of the same name.
struct World {
    dns: Dns,
    authority: Authority,
    port: u16,
    endpoint: Upstream,
    front: Upstream,
}

impl World {
    async fn new(says: Says) -> Self {
        let authority = Authority::new();
        let acceptor = || TlsAcceptor::from(Authority::showing(&authority.issue_for(&[HOST, "*.openai.azure.com"])));
        let endpoint = Upstream::at((PRIVATE, 0).into(), Expect::Azure, "private", Some(acceptor())).await;
        let port = endpoint.address.port();
        let front = Upstream::at((PUBLIC, port).into(), Expect::Azure, "public", Some(acceptor())).await;
        Self { dns: Dns::saying(says).await, authority, port, endpoint, front }
    }

    /// A model with the private endpoint alone.
    fn config(&self) -> Config {
        self.endpoint_of(&self.authority).model("assistant", &["cloud/gpt-4o"])
    }

    fn endpoint_of(&self, authority: &Authority) -> Config {
        let resolver =
            format!("[resolver.hub]\nzones = [\"openai.azure.com\"]\nservers = [\"{}\"]\n", self.dns.address);
        Config::new()
            .file("ca.pem", &authority.pem())
            .section(&resolver)
            .section(&self.section_of("cloud", HOST, "hub"))
            .section("[policy]\napprove = [\"cloud\"]\n")
    }

    /// An `[endpoint.NAME]` behind the private link, which trusts the authority in `ca.pem`.
    fn section_of(&self, name: &str, host: &str, resolver: &str) -> String {
        format!(
            "[endpoint.{name}]\nprovider = \"azure-openai\"\nurl = \"https://{host}:{}\"\n\
             reach = {{ private-link = {{ service = \"azure-openai\", within = [\"127.0.0.0/30\"], resolver = \"{resolver}\" }} }}\n\
             auth = {{ key = {{ file = \"upstream.key\" }} }}\ntls = {{ ca = \"ca.pem\" }}\n\
             cost = {{ per_token = {{ input_usd_per_million = 0.5, output_usd_per_million = 0.5 }} }}\n",
            self.port
        )
    }

    /// The bytes of no caller came to the front.
    fn nothing_leaked(&self) {
        assert_eq!((self.front.connections(), self.front.requests().len()), (0, 0));
    }
}

async fn status(gateway: &Gateway) -> Value {
    let status = gateway.operator("/api/status").await.json().await;
    status["endpoints"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|one| one["endpoint"] == "cloud")
        .cloned()
        .unwrap_or_default()
}

#[tokio::test]
async fn an_answer_over_the_private_path_comes_with_its_proof() {
    let world = World::new(private(&[PRIVATE])).await;
    let gateway = Gateway::start(&world.config()).await;

    let answer = gateway.chat(&chat("assistant")).await;

    assert_eq!(answer.status, 200);
    let record = gateway.audit().record(answer.headers["x-causeway-decision"].to_str().unwrap()).await;
    let attempt = &record.outcome["attempts"][0];
    assert_eq!((attempt["evidence"].as_str(), attempt["verdict"].as_str()), (Some("address"), None));
    let path = &attempt["path"];
    assert_eq!(path["chain"], format!("{HOST} -> {LINK} -> {PRIVATE}"));
    assert_eq!((path["resolver"].as_str(), path["stale"].as_bool()), (Some("hub"), Some(false)));
    assert_eq!(path["servers"][0], world.dns.address.to_string());
    assert_eq!(path["peer"], world.endpoint.address.to_string());
    assert_eq!(path["tls"]["version"], "TLSv1.3");
    assert_eq!(path["tls"]["certificate_sha256"].as_str().map(str::len), Some(64));
    let status = status(&gateway).await;
    assert_eq!(status["resolution"]["chain"][0]["data"], LINK);
    assert_eq!(status["connection"]["peer"], world.endpoint.address.to_string());
    assert_eq!(status["verdict"], Value::Null);
    world.nothing_leaked();
}

/// What a resolver may say, and the code by which it is refused.
fn lies() -> Vec<(Says, &'static str)> {
    let many: Vec<&'static str> = vec![LINK; 3];
    vec![
        (public(), "DNS-01"),
        (private(&[INTERNET]), "DNS-01"),
        (Says::NoSuchName(vec![LINK]), "DNS-02"),
        (Says::Chain(vec![LINK], Vec::new(), 5), "DNS-02"),
        (Says::Chain(vec![TRAFFIC, CLOUD], vec![PUBLIC], 5), "DNS-04"),
        (Says::Chain(Vec::new(), vec![PRIVATE], 5), "DNS-04"),
        (Says::NoSuchName(Vec::new()), "DNS-04"),
        (Says::Failure, "DNS-07"),
        (Says::Nothing, "DNS-07"),
        (Says::Chain(vec!["gw.attacker.test"], vec![PRIVATE], 5), "DNS-10"),
        (Says::Chain(vec!["contoso.privatelink.openai.azure.com.attacker.test"], vec![PRIVATE], 5), "DNS-10"),
        (Says::Chain(vec![LINK, "gw.attacker.test"], vec![PRIVATE], 5), "DNS-10"),
        (Says::Chain(many, vec![PRIVATE], 5), "DNS-10"),
        (private(&[Ipv4Addr::new(169, 254, 169, 254)]), "DNS-10"),
        (private(&[PUBLIC]), "DNS-10"),
        (private(&[PRIVATE, INTERNET]), "DNS-12"),
    ]
}

/// Each lie is told about an endpoint of its own, `lie-0` and on, by a server of its own.
#[tokio::test]
async fn every_lie_of_a_resolver_is_refused_with_its_code_and_nothing_is_sent() {
    let world = World::new(private(&[PRIVATE])).await;
    let mut config = Config::new().file("ca.pem", &world.authority.pem());
    let mut servers = Vec::new();
    let mut approved = Vec::new();
    for (number, (lie, _)) in lies().into_iter().enumerate() {
        let dns = Dns::saying(lie).await;
        let name = format!("lie-{number}");
        // A resolver's name is the operator's choice, and proves nothing.
        let resolver = match number {
            5 => "localhost".to_owned(),
            9 => "literal".to_owned(),
            _ => format!("r{number}"),
        };
        let host = format!("{name}.openai.azure.com");
        let resolving = format!("[resolver.{resolver}]\nzones = [\"{host}\"]\nservers = [\"{}\"]\n", dns.address);
        config = config
            .section(&resolving)
            .section(&world.section_of(&name, &host, &resolver))
            .model(&name, &[&format!("{name}/gpt-4o")]);
        servers.push(dns);
        approved.push(name);
    }
    let gateway = Gateway::start(&config.section(&format!("[policy]\napprove = {approved:?}\n"))).await;

    let asking: Vec<_> = approved
        .iter()
        .map(|model| {
            let (client, body) = (gateway.client(), chat(model));
            tokio::spawn(async move {
                let answer = client.send(Request::post("/v1/chat/completions", &body)).await;
                let decision = answer.headers["x-causeway-decision"].to_str().unwrap().to_owned();
                (answer.status, decision, answer.json().await)
            })
        })
        .collect();

    for ((asked, (lie, code)), endpoint) in asking.into_iter().zip(lies()).zip(&approved) {
        let (status, decision, error) = asked.await.expect("the caller is answered");
        assert_eq!((status, error["error"]["code"].as_str()), (503, Some("no_private_path")), "{lie:?}");
        assert!(error["error"]["message"].as_str().unwrap().contains(code), "{lie:?}: {error}");
        let attempt = &gateway.audit().record(&decision).await.outcome["attempts"][0];
        assert_eq!((attempt["outcome"].as_str(), attempt["verdict"].as_str()), (Some("no_private_path"), Some(code)));
        let metrics = gateway.operator("/metrics").await.text().await;
        let labels = format!("{{endpoint=\"{endpoint}\",code=\"{code}\"}}");
        assert!(metrics.contains(&format!("causeway_endpoint_verdict{labels} 1")), "{lie:?}: {labels}");
        assert!(metrics.contains(&format!("causeway_path_refusals_total{labels}")), "{lie:?}: {labels}");
    }
    assert_eq!(world.endpoint.connections(), 0);
    world.nothing_leaked();
}

#[tokio::test]
async fn what_cannot_be_reached_privately_is_answered_by_the_next_target() {
    let world = World::new(public()).await;
    let spare = Upstream::start("spare").await;
    let config = world.endpoint_of(&world.authority).endpoint("spare", Endpoint::of(&spare));
    let gateway = Gateway::start(&config.model("assistant", &["cloud/gpt-4o", "spare/m"])).await;

    let answer = gateway.chat(&chat("assistant")).await;

    let decision = answer.headers["x-causeway-decision"].to_str().unwrap().to_owned();
    assert_eq!((answer.status, answer.text().await.contains("spare")), (200, true));
    let record = gateway.audit().record(&decision).await;
    assert_eq!(record.attempts(), ["cloud/gpt-4o no_private_path", "spare/m success"]);
    world.nothing_leaked();
}

#[tokio::test]
async fn a_certificate_of_another_issuer_is_not_the_endpoints() {
    let world = World::new(private(&[PRIVATE])).await;
    let gateway = Gateway::start(&world.endpoint_of(&Authority::new()).model("assistant", &["cloud/gpt-4o"])).await;

    let answer = gateway.chat(&chat("assistant")).await;

    let (status, error) = (answer.status, answer.json().await);
    assert_eq!((status, error["error"]["code"].as_str()), (503, Some("no_private_path")));
    assert!(error["error"]["message"].as_str().unwrap().contains("NET-06"), "{error}");
    assert!(world.endpoint.requests().is_empty());
    world.nothing_leaked();
}

#[tokio::test]
async fn verified_addresses_stand_in_for_a_resolver_that_falls_silent() {
    let world = World::new(private(&[PRIVATE])).await;
    let gateway = Gateway::start(&world.config()).await;
    assert_eq!(gateway.chat(&chat("assistant")).await.status, 200);

    world.dns.now_says(Says::Nothing);
    let stale = until("the silence to be noticed", async || {
        Some(status(&gateway).await).filter(|status| status["stale_since"] != Value::Null)
    });
    stale.await;
    let answers = futures_of(&gateway, 4).await;

    assert_eq!(answers, [200; 4]);
    assert!(gateway.log().contains("stand in for an answer"), "the first use is an alarm");
    world.nothing_leaked();
}

/// Calls at the same time, so that some need a connection of their own.
async fn futures_of(gateway: &Gateway, calls: usize) -> Vec<u16> {
    let client = gateway.client();
    let asking: Vec<_> = (0..calls).map(|_| tokio::spawn(ask(client.clone()))).collect();
    let mut answers = Vec::new();
    for answer in asking {
        answers.push(answer.await.expect("the caller is answered").0);
    }
    answers
}

async fn ask(client: Client) -> (u16, String) {
    let answer = client.send(Request::post("/v1/chat/completions", &chat("assistant"))).await;
    (answer.status, answer.text().await)
}

#[tokio::test]
async fn an_endpoint_that_was_made_anew_is_found_at_its_new_address() {
    let world = World::new(private(&[PRIVATE])).await;
    let acceptor = TlsAcceptor::from(Authority::showing(&world.authority.issue_for(&[HOST])));
    let anew = Upstream::at((ELSEWHERE, world.port).into(), Expect::Azure, "anew", Some(acceptor)).await;
    let gateway = Gateway::start(&world.config()).await;
    assert!(ask(gateway.client()).await.1.contains("private"));

    world.dns.now_says(private(&[ELSEWHERE]));
    let moved =
        async || Some(ask(gateway.client()).await).filter(|(status, text)| *status == 200 && text.contains("anew"));
    until("the new address to be used", moved).await;

    assert!(ask(gateway.client()).await.1.contains("anew"), "no kept connection leads back");
    assert!(!anew.requests().is_empty());
    world.nothing_leaked();
}

#[tokio::test]
async fn a_front_behind_a_private_address_gets_one_request_and_no_more_until_it_is_gone() {
    let world = World::new(private(&[PRIVATE])).await;
    let gateway = Gateway::start(&world.config()).await;
    let words = r#"{"error":{"code":"403","message":"Public access is disabled. Please configure private endpoint."}}"#;
    world.endpoint.script([Act::bytes(403, words)]);
    world.endpoint.answer_probes(Act::bytes(403, "").and_later(words));

    let first = gateway.chat(&chat("assistant")).await;

    let (status_, error) = (first.status, first.json().await);
    assert_eq!((status_, error["error"]["code"].as_str()), (503, Some("no_private_path")));
    assert!(error["error"]["message"].as_str().unwrap().contains("HTTP-01"), "{error}");
    assert_eq!(status(&gateway).await["verdict"]["code"], "HTTP-01");
    let (second, _) = ask(gateway.client()).await;
    assert_eq!((second, world.endpoint.requests().len()), (503, 1), "nothing is sent to the front");
    until("a request without content", async || (world.endpoint.probes() > 0).then_some(())).await;
    let (length, seen) = (words.len().to_string(), world.endpoint.probes());
    world.endpoint.answer_probes(Act::bytes(403, "{").header("content-length", &length).closing());
    until("an answer that breaks off, taken in", async || (world.endpoint.probes() > seen + 1).then_some(())).await;
    assert_eq!((ask(gateway.client()).await.0, world.endpoint.requests().len()), (503, 1), "the front is still there");
    world.endpoint.answer_probes_with(200);
    let back = async || (ask(gateway.client()).await.0 == 200).then_some(());
    until("a request without content to show that the front is gone", back).await;
}

/// Each way in which a public front says that it is one, with its status, its code, and whether nothing more is sent.
const FRONTS: [(u16, &str, &str, bool); 8] = [
    (403, "Public access is disabled. Please configure private endpoint.", "HTTP-01", true),
    (403, "Access denied due to Virtual Network/Firewall rules.", "HTTP-02", true),
    (403, "A Virtual Network is configured for this resource. Please use the correct endpoint.", "HTTP-03", true),
    (404, "Subdomain does not map to a resource.", "HTTP-03", true),
    (403, "Traffic is not from an approved private endpoint.", "HTTP-04", true),
    (403, "caller is not allowed, nor via an approved private link", "HTTP-04", true),
    (403, "not authorized because no VPC endpoint policy allows the bedrock:InvokeModel action", "HTTP-05", false),
    (400, "Invalid AzureCognitiveSearch configuration detected", "HTTP-06", false),
];

#[tokio::test]
async fn what_a_front_says_is_a_verdict_and_the_next_target_answers() {
    let world = World::new(private(&[PRIVATE])).await;
    let spare = Upstream::start("spare").await;
    let hub = format!("[resolver.hub]\nzones = [\"openai.azure.com\"]\nservers = [\"{}\"]\n", world.dns.address);
    let mut config = Config::new().file("ca.pem", &world.authority.pem()).section(&hub);
    config = config.endpoint("spare", Endpoint::of(&spare));
    let names: Vec<String> = (0..FRONTS.len()).map(|number| format!("front-{number}")).collect();
    for name in &names {
        let section = world.section_of(name, &format!("{name}.openai.azure.com"), "hub");
        config = config.section(&section).model(name, &[&format!("{name}/gpt-4o"), "spare/m"]);
    }
    let gateway = Gateway::start(&config.section(&format!("[policy]\napprove = {names:?}\n"))).await;

    for ((status, words, code, closed), name) in FRONTS.into_iter().zip(&names) {
        let body = serde_json::json!({ "error": { "code": status.to_string(), "message": words } }).to_string();
        world.endpoint.script([Act::bytes(status, body)]);

        let answer = gateway.chat(&chat(name)).await;

        let decision = answer.headers["x-causeway-decision"].to_str().unwrap().to_owned();
        let (met, text) = (answer.status, answer.text().await);
        let record = gateway.audit().record(&decision).await;
        assert_eq!(record.outcome["attempts"][0]["verdict"], code, "{words}");
        if code == "HTTP-06" {
            // A hop behind the service failed: the answer is the endpoint's own, and elsewhere it would be no better.
            assert_eq!((met, text.contains(words)), (400, true), "{text}");
        } else {
            assert_eq!((met, text.contains("spare")), (200, true), "{words}: {text}");
            assert_eq!(record.attempts(), [format!("{name}/gpt-4o no_private_path"), "spare/m success".to_owned()]);
        }
        let status = gateway.operator("/api/status").await.json().await;
        let endpoints = status["endpoints"].as_array().unwrap();
        let shown = endpoints.iter().find(|one| one["endpoint"] == name.as_str()).unwrap();
        // Whoever asks late may find the endpoint open again, because a request without content was answered well.
        assert!(shown["verdict"].is_null() || (closed && shown["verdict"]["code"] == code), "{shown}");
    }
    world.nothing_leaked();
}

#[tokio::test]
async fn a_closed_public_front_lifts_the_evidence_and_one_that_answers_is_an_alarm() {
    let closed =
        r#"{"error":{"code":"403","message":"Public access is disabled. Please configure private endpoint."}}"#;
    let world = World::new(private(&[PRIVATE])).await;
    let internet = Dns::saying(public()).await;
    let resolver = format!("[resolver.internet]\nzones = [\".\"]\nservers = [\"{}\"]\n", internet.address);
    let config = |within: &str| {
        let canary = format!("canary = {{ resolver = \"internet\", within = [\"{within}\"] }}\n");
        let hub = format!("[resolver.hub]\nzones = [\"openai.azure.com\"]\nservers = [\"{}\"]\n", world.dns.address);
        Config::new()
            .file("ca.pem", &world.authority.pem())
            .section(&hub)
            .section(&resolver)
            .section(&(world.section_of("cloud", HOST, "hub") + &canary))
            .section("[policy]\napprove = [\"cloud\"]\n")
            .model("assistant", &["cloud/gpt-4o"])
    };
    let looks: [(u16, &'static str, &str, &str, &str); 4] = [
        (403, closed, "127.77.0.0/16", "closed", "cloud"),
        (401, "{}", "127.77.0.0/16", "open", "address"),
        (403, "{}", "127.77.0.0/16", "open", "address"),
        (403, closed, "127.78.0.0/16", "unknown", "address"),
    ];
    for (said, words, within, front, evidence) in looks {
        world.front.answer_probes(Act::bytes(said, words));
        let gateway = Gateway::start(&config(within)).await;
        let looked = async || Some(status(&gateway).await).filter(|status| !status["canary"].is_null());
        let shown = until("a look at the public front", looked).await;

        let answer = gateway.chat(&chat("assistant")).await;

        assert_eq!((answer.status, &shown["canary"]["public_front"]), (200, &front.into()), "{shown}");
        let record = gateway.audit().record(answer.headers["x-causeway-decision"].to_str().unwrap()).await;
        assert_eq!(record.outcome["attempts"][0]["evidence"], evidence, "{said} {words}");
        let metrics = gateway.operator("/metrics").await.text().await;
        let alarm = "causeway_endpoint_verdict{endpoint=\"cloud\",code=\"CANARY-01\"} 1";
        assert_eq!(metrics.contains(alarm), front == "open", "{metrics}");
        assert_eq!(gateway.log().contains("public access is still enabled"), front == "open");
        assert!(shown["verdict"].is_null(), "an open front ends nothing: {shown}");
    }
    assert!(world.front.requests().is_empty(), "nothing but a request without content went there");
}

/// A resolver that turns public while requests run leaks nothing, and the way back needs
/// no restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resolver_that_turns_public_under_load_leaks_nothing_and_recovers() {
    let world = World::new(private(&[PRIVATE])).await;
    let gateway = Gateway::start(&world.config()).await;
    assert_eq!(ask(gateway.client()).await.0, 200);
    let (stop, well, refused, odd) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
    );
    let load = {
        let (client, stop, well, refused, odd) =
            (gateway.client(), Arc::clone(&stop), Arc::clone(&well), Arc::clone(&refused), Arc::clone(&odd));
        tokio::spawn(async move {
            let mut pace = tokio::time::interval(Duration::from_millis(5));
            let mut asking = tokio::task::JoinSet::new();
            while !stop.load(Ordering::Relaxed) {
                pace.tick().await;
                // A machine that is too slow for the pace asks more slowly.
                while asking.len() >= 64 {
                    asking.join_next().await;
                }
                let (client, well, refused, odd) =
                    (client.clone(), Arc::clone(&well), Arc::clone(&refused), Arc::clone(&odd));
                asking.spawn(async move {
                    let counter = match ask(client).await {
                        (200, text) if text.contains("private") => well,
                        (503, text) if text.contains("no_private_path") => refused,
                        _ => odd,
                    };
                    counter.fetch_add(1, Ordering::Relaxed);
                });
            }
            while asking.join_next().await.is_some() {}
        })
    };

    world.dns.now_says(public());
    until("the flip to be noticed", async || (refused.load(Ordering::Relaxed) >= 200).then_some(())).await;
    world.dns.now_says(private(&[PRIVATE]));
    let (flipped_back, before) = (Instant::now(), well.load(Ordering::Relaxed));
    until("the way back", async || (well.load(Ordering::Relaxed) > before).then_some(())).await;
    let recovered = flipped_back.elapsed();
    stop.store(true, Ordering::Relaxed);
    load.await.expect("every call is answered");

    assert_eq!(odd.load(Ordering::Relaxed), 0, "every answer is the endpoint's or a refusal");
    world.nothing_leaked();
    note(&format!("recovered {} ms after the flip back, with records of 5 s", recovered.as_millis()));
}

#[expect(clippy::print_stderr, reason = "a measurement that decides nothing")]
fn note(text: &str) {
    eprintln!("{text}");
}

/// A proxy on loopback that connects to where CONNECT asks it to, or refuses; and what it was asked for.
async fn proxy(refuses: bool) -> (u16, Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a port");
    let port = listener.local_addr().expect("a bound socket has an address").port();
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let list = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(tunnel(stream, Arc::clone(&list), refuses));
        }
    });
    (port, asked)
}

async fn tunnel(
    mut stream: tokio::net::TcpStream,
    asked: Arc<std::sync::Mutex<Vec<String>>>,
    refuses: bool,
) -> std::io::Result<()> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};

    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let wanted = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).unwrap_or_default().to_owned();
    asked.lock().expect("nobody panics while it is held").push(wanted.clone());
    if refuses {
        return stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await;
    }
    #[expect(clippy::disallowed_methods, reason = "a proxy of the test, which connects for somebody else")]
    let mut beyond = tokio::net::TcpStream::connect(wanted).await?;
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    copy_bidirectional(&mut stream, &mut beyond).await.map(|_| ())
}

/// The world's endpoint behind a proxy.
fn behind(world: &World, proxy: u16) -> Config {
    let via = format!("via = {{ proxy = \"http://127.0.0.1:{proxy}\", within = [\"127.0.0.1/32\"] }}\n");
    let section = world.section_of("cloud", HOST, "hub") + &via;
    let resolver = format!("[resolver.hub]\nzones = [\"openai.azure.com\"]\nservers = [\"{}\"]\n", world.dns.address);
    Config::new()
        .file("ca.pem", &world.authority.pem())
        .section(&resolver)
        .section(&section)
        .section("[policy]\napprove = [\"cloud\"]\n")
        .model("assistant", &["cloud/gpt-4o"])
}

#[tokio::test]
async fn a_declared_proxy_is_told_the_verified_address_and_stands_in_the_record() {
    let world = World::new(private(&[PRIVATE])).await;
    let (port, asked) = proxy(false).await;
    let gateway = Gateway::start(&behind(&world, port)).await;

    let answer = gateway.chat(&chat("assistant")).await;

    assert_eq!(answer.status, 200);
    assert_eq!(*asked.lock().unwrap(), [format!("127.0.0.1:{}", world.port)]);
    let record = gateway.audit().record(answer.headers["x-causeway-decision"].to_str().unwrap()).await;
    let attempt = &record.outcome["attempts"][0];
    assert_eq!(attempt["evidence"], "proxied");
    assert_eq!(attempt["path"]["via"], format!("127.0.0.1:{port}"));
    assert_eq!(status(&gateway).await["connection"]["via"], format!("127.0.0.1:{port}"));
}

#[tokio::test]
async fn a_proxy_that_refuses_is_a_verdict_and_nobody_goes_around_it() {
    let world = World::new(private(&[PRIVATE])).await;
    let (port, _) = proxy(true).await;
    let gateway = Gateway::start(&behind(&world, port)).await;

    let answer = gateway.chat(&chat("assistant")).await;

    assert_eq!(answer.status, 503);
    let error = answer.json().await;
    assert_eq!(error["error"]["code"], "no_private_path");
    assert!(error["error"]["message"].as_str().unwrap().contains("NET-12"), "{error}");
    assert_eq!(world.endpoint.connections(), 0);
    world.nothing_leaked();
}
