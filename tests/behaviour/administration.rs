//! Who may ask which door for what: every route of both listeners, with every kind of credential.

use serde_json::json;

use crate::testkit::{
    Authority, Client, Config, Gateway, KEY, Request, Upstream, chat, digest_of, make_example_certificates, until,
};

const VIEWER: &str = "cw_key_of_a_viewer";
const OPERATOR: &str = "cw_key_of_an_operator";
const SECURITY: &str = "cw_key_of_security";

/// Every route of the operators' listener, with its method and the least role: none for the probes.
const ADMIN_ROUTES: [(&str, &str, Option<&str>); 16] = [
    ("GET", "/livez", None),
    ("GET", "/readyz", None),
    ("GET", "/", Some("viewer")),
    ("GET", "/metrics", Some("viewer")),
    ("GET", "/api/status", Some("viewer")),
    ("GET", "/api/restrictions", Some("viewer")),
    ("POST", "/api/reload", Some("operator")),
    ("POST", "/api/revoke", Some("operator")),
    ("POST", "/api/quarantine", Some("operator")),
    ("POST", "/api/local-only/on", Some("operator")),
    ("GET", "/api/break-glass", Some("viewer")),
    ("POST", "/api/break-glass/open", Some("operator")),
    ("POST", "/api/break-glass/close", Some("operator")),
    ("POST", "/api/reinstate", Some("security")),
    ("POST", "/api/release", Some("security")),
    ("POST", "/api/local-only/off", Some("security")),
];

/// Every route of the callers' listener.
const CALLER_ROUTES: [(&str, &str); 22] = [
    ("GET", "/"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/assistant"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/responses"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/rerank"),
    ("POST", "/v1/messages"),
    ("POST", "/v1/messages/count_tokens"),
    ("GET", "/openai/models"),
    ("POST", "/openai/responses"),
    ("GET", "/openai/v1/models"),
    ("GET", "/openai/v1/models/assistant"),
    ("POST", "/openai/v1/chat/completions"),
    ("POST", "/openai/v1/completions"),
    ("POST", "/openai/v1/responses"),
    ("POST", "/openai/v1/embeddings"),
    ("POST", "/openai/v1/rerank"),
    ("POST", "/openai/deployments/assistant/chat/completions"),
    ("POST", "/openai/deployments/assistant/completions"),
    ("POST", "/openai/deployments/assistant/embeddings"),
];

async fn gateway() -> (Upstream, Gateway) {
    let upstream = Upstream::start("only").await;
    let config = Config::serving(&upstream)
        .administrator("vera", "viewer", VIEWER)
        .administrator("oscar", "operator", OPERATOR)
        .administrator("sam", "security", SECURITY);
    let gateway = Gateway::start(&config).await;
    (upstream, gateway)
}

fn rank(role: &str) -> usize {
    ["viewer", "operator", "security"].iter().position(|known| *known == role).expect("a role that exists")
}

#[tokio::test]
async fn every_route_of_the_operators_door_asks_for_its_role_and_gives_it_to_nobody_else() {
    let (_upstream, gateway) = gateway().await;
    let mut admin = Client::plain(gateway.admin()).connect().await.expect("the port is open");

    for (method, path, needed) in ADMIN_ROUTES {
        // Without a body an action that is let through does nothing: it answers 400, and a reload finds nothing new.
        let request = || Request::get(path).method(method).anonymous();
        for (who, key) in [("nobody", None), ("an app", Some(KEY)), ("a stranger", Some("cw_unknown"))] {
            let asked = key.map_or_else(request, |key| request().key(key));
            let answer = admin.send(asked).await.expect("an answer");
            let expected = if needed.is_none() { 200 } else { 401 };
            assert_eq!(answer.status, expected, "{method} {path} by {who}");
            answer.bytes().await;
        }
        let Some(needed) = needed else { continue };
        for (role, key) in [("viewer", VIEWER), ("operator", OPERATOR), ("security", SECURITY)] {
            let answer = admin.send(request().key(key)).await.expect("an answer");
            let is_in = rank(role) >= rank(needed);
            let expected = match (is_in, method) {
                (false, _) => 403,
                (true, "GET") => 200,
                (true, _) => 400,
            };
            assert_eq!(answer.status, expected, "{method} {path} by a {role}");
            answer.bytes().await;
        }
        for other in ["PUT", "DELETE", "PATCH", "OPTIONS", if method == "GET" { "POST" } else { "GET" }] {
            let answer = admin.send(Request::get(path).method(other).key(SECURITY)).await.expect("an answer");
            assert_eq!(answer.status, 405, "{other} {path}");
            answer.bytes().await;
        }
    }
    let refused = gateway.audit().of_kind("admin").into_iter().filter(|entry| entry["action"] == "refused");
    assert!(refused.clone().count() > 5, "whoever tries what its role does not allow leaves a record");
    assert!(refused.clone().all(|entry| entry["done"] == false && entry["actor"] != "sam"));
}

#[tokio::test]
async fn every_route_of_the_callers_door_asks_for_a_credential_of_an_app() {
    let (upstream, gateway) = gateway().await;
    let mut callers = gateway.client().connect().await.expect("the port is open");
    let body =
        json!({ "model": "assistant", "messages": [], "input": "a", "prompt": "a", "query": "a", "documents": ["a"] });

    for (method, path) in CALLER_ROUTES {
        let request = || match method {
            "GET" => Request::get(path).anonymous(),
            _ => Request::post(path, &body).anonymous(),
        };
        let known = callers.send(request().key(KEY)).await.expect("an answer");
        assert!(![401, 404, 405].contains(&known.status), "{method} {path} is a route: {}", known.status);
        known.bytes().await;
        let before = upstream.requests().len();

        let disguised = request().header("host", "127.0.0.1:9443").header("x-forwarded-host", "localhost");
        for (who, asked) in [
            ("nobody", request()),
            ("an administrator", request().key(SECURITY)),
            ("a stranger", request().key("cw_unknown")),
            ("somebody with another scheme", request().header("authorization", "Basic dGVzdHM6dGVzdHM=")),
            ("two callers", request().key(KEY).header("api-key", "cw_unknown")),
            ("somebody in disguise", disguised),
        ] {
            let answer = callers.send(asked).await.expect("an answer");
            assert_eq!(answer.status, 401, "{method} {path} by {who}");
            answer.bytes().await;
        }
        assert_eq!(upstream.requests().len(), before, "{method} {path}");
    }
}

#[tokio::test]
async fn without_administrators_everybody_on_this_machine_may_read_and_nobody_may_act() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&Config::serving(&upstream)).await;
    let admin = Client::plain(gateway.admin());

    for (method, path, needed) in ADMIN_ROUTES {
        let body = json!({ "endpoint": "only", "because": "a test" });
        let request = if method == "GET" { Request::get(path) } else { Request::post(path, &body) };
        let answer = admin.send(request.anonymous()).await;
        let expected = if method == "GET" { 200 } else { 403 };
        assert_eq!(answer.status, expected, "{method} {path} {needed:?}");
    }

    assert_eq!(gateway.chat(&chat("assistant")).await.status, 200);
}

#[tokio::test]
async fn other_machines_reach_it_over_tls_only_and_a_certificate_can_be_the_credential() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    make_example_certificates(folder.path());
    let file = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("make-certs made it");
    let upstream = Upstream::start("only").await;
    let tls = "tls = { certificate = \"admin.pem\", key = \"admin.key\", client_ca = \"people.pem\" }";
    let people = "[administrator.claims]\nrole = \"operator\"\ncertificate = \"spiffe://example.org/app/claims\"\n";
    let config = Config::serving(&upstream)
        .file("admin.pem", &file("server.pem"))
        .file("admin.key", &file("server-key.pem"))
        .file("people.pem", &file("app-ca.pem"))
        .admin(tls)
        .section(people);
    let gateway = Gateway::start(&config).await;
    let trust = |shown: &str| {
        let shown = crate::testkit::Issued::example(folder.path(), shown);
        crate::testkit::client_trusting(&folder.path().join("server-ca.pem"), Some(&shown))
    };
    let with = Client { tls: Some(trust("client-claims")), ..Client::plain(gateway.admin()) };
    let without = crate::testkit::client_trusting(&folder.path().join("server-ca.pem"), None);
    let without = Client { tls: Some(without), ..Client::plain(gateway.admin()) };

    let read = with.send(Request::get("/api/status").anonymous()).await;
    let lifted = with.send(Request::post("/api/release", &json!({})).anonymous()).await;

    assert_eq!((read.status, lifted.status), (200, 403), "an operator reads, and lets nothing go again");
    assert!(without.try_send(Request::get("/api/status").anonymous()).await.is_err(), "no certificate, no listener");
    assert!(Client::plain(gateway.admin()).try_send(Request::get("/livez").anonymous()).await.is_err());
}

#[tokio::test]
async fn a_key_of_an_administrator_is_replaced_with_an_overlap_and_without_a_restart() {
    let upstream = Upstream::start("only").await;
    let with_keys = |keys: &[&str]| {
        let digests: Vec<String> = keys.iter().map(|key| digest_of(key)).collect();
        Config::serving(&upstream).section(&format!("[administrator.vera]\nrole = \"viewer\"\nkeys = {digests:?}\n"))
    };
    let gateway = Gateway::start(&with_keys(&["cw_old"])).await;
    let admin = Client::plain(gateway.admin());
    let ask = async |key: &str| admin.send(Request::get("/api/status").key(key)).await.status;

    gateway.configure(&with_keys(&["cw_old", "cw_new"]));
    gateway.signal("HUP");
    until("the new key", async || (ask("cw_new").await == 200).then_some(())).await;
    assert_eq!(ask("cw_old").await, 200);
    gateway.configure(&with_keys(&["cw_new"]));
    gateway.signal("HUP");

    until("the end of the old key", async || (ask("cw_old").await == 401).then_some(())).await;
    assert_eq!(ask("cw_new").await, 200);
}

#[tokio::test]
async fn a_reload_leaves_no_listener_that_others_reach_to_everybody() {
    let upstream = Upstream::start("only").await;
    let issued = Authority::new().issue();
    let config = Config::serving(&upstream)
        .file("admin.pem", &issued.certificate)
        .file("admin.key", &issued.key)
        .admin("tls = { certificate = \"admin.pem\", key = \"admin.key\" }")
        .administrator("vera", "viewer", VIEWER);
    let mut first = Gateway::start(&config).await;
    let on_loopback = format!("[admin]\naddress = \"{}\"", first.admin());
    let everywhere = on_loopback.replace("127.0.0.1", "0.0.0.0");
    let text = first.configuration_text();
    assert!(text.contains(&on_loopback));
    first.configure_text(&text.replace(&on_loopback, &everywhere));
    first.kill().await;
    let mut second = first.again("second.log", &[]);
    assert!(second.is_ready().await, "{}", second.log());

    // The document by itself is right: on loopback nobody need be named. The socket is not there.
    second.configure(&Config::serving(&upstream));
    second.signal("HUP");

    until("the refusal", async || second.log().contains("configuration not reloaded").then_some(())).await;
    assert!(second.log().contains("names no administrator any more"), "{}", second.log());
}

/// What a document must not say, and a word of what is said about it.
#[tokio::test]
async fn a_listener_that_others_reach_needs_tls_and_somebody_who_may_ask_it() {
    let upstream = Upstream::start("only").await;
    let authority = Authority::new();
    let issued = authority.issue();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    std::fs::write(folder.path().join("gateway.pem"), &issued.certificate).expect("a file can be written");
    std::fs::write(folder.path().join("gateway.key"), &issued.key).expect("a file can be written");
    std::fs::write(folder.path().join("upstream.key"), "a").expect("a file can be written");
    let tls = "tls = { certificate = \"gateway.pem\", key = \"gateway.key\" }\n";
    let someone = format!("[administrator.vera]\nrole = \"viewer\"\nkeys = [\"{}\"]\n", digest_of(VIEWER));
    let of_an_app = format!("[administrator.vera]\nrole = \"viewer\"\nkeys = [\"{}\"]\n", digest_of(KEY));
    let no_way_in = "[administrator.vera]\nrole = \"viewer\"\n".to_owned();
    let no_role = format!("[administrator.vera]\nrole = \"root\"\nkeys = [\"{}\"]\n", digest_of(VIEWER));
    let certificate = "[administrator.vera]\nrole = \"viewer\"\ncertificate = \"dns:vera.corp.example\"\n".to_owned();
    let any_token = "[issuer.corp]\nissuer = \"https://corp\"\nkeys = { file = \"keys.json\" }\n\
                     [administrator.vera]\nrole = \"viewer\"\njwt = { issuer = \"https://corp\", audience = \"causeway\" }\n";
    let everywhere = "0.0.0.0:9443";
    for (address, tls, section, expected) in [
        (everywhere, "", someone.clone(), "`[admin]` has no `tls`"),
        (everywhere, tls, String::new(), "there is no administrator"),
        (everywhere, tls, someone.clone(), ""),
        ("127.0.0.1:9443", "", someone, ""),
        ("127.0.0.1:9443", "", of_an_app, "is also key `tests.keys[0]`"),
        ("127.0.0.1:9443", "", no_way_in, "administrator `vera` has no key"),
        ("127.0.0.1:9443", "", no_role, "root"),
        ("127.0.0.1:9443", "", certificate, "the listener asks nobody for a certificate"),
        ("127.0.0.1:9443", "", any_token.to_owned(), "takes every token of the issuer"),
    ] {
        let text = Config::serving(&upstream).admin(tls).section(&section).text([8443, 9443, 8080]);
        let text = text.replace("address = \"127.0.0.1:9443\"", &format!("address = \"{address}\""));
        std::fs::write(folder.path().join("causeway.toml"), text).expect("a file can be written");

        let output = crate::testkit::run(&["check", "--config", "causeway.toml"], folder.path()).await;

        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.success(), expected.is_empty(), "{expected}: {said}");
        assert!(said.contains(expected), "{expected}: {said}");
    }
}
