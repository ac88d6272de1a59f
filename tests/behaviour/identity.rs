//! Who asks: tokens of an issuer and client certificates, beside keys.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::testkit::{
    Authority, Client, Config, DnType, Gateway, Issued, KEY, Request, TokenSigner, Upstream, chat, client_trusting,
    make_example_certificates, until,
};

const PATH: &str = "/v1/chat/completions";
const ISSUER: &str = "https://login.corp.example/realms/apps";

fn claims() -> Value {
    let end = SystemTime::now() + Duration::from_secs(600);
    let seconds = end.duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_secs();
    json!({ "iss": ISSUER, "aud": ["causeway"], "azp": "claims-ui", "exp": seconds })
}

fn of(azp: &str) -> Value {
    let mut claims = claims();
    claims["azp"] = azp.into();
    claims
}

fn identity(config: Config, keys: &Value) -> Config {
    let app = |name: &str| {
        format!(
            "[app.{name}]\nteam = \"testers\"\nmodels = [\"assistant\"]\n\
             jwt = {{ issuer = \"{ISSUER}\", audience = \"causeway\", claims = {{ azp = \"{name}-ui\" }} }}\n\n\
             [data.{name}]\nlabels = []\n"
        )
    };
    config
        .file("issuer.json", &keys.to_string())
        .section(&format!(
            "[issuer.corp]\nissuer = \"{ISSUER}\"\nkeys = {{ file = \"issuer.json\" }}\nalgorithms = [\"ES256\"]\n"
        ))
        .section(&app("claims"))
        .section(&app("search"))
}

fn showing(token: &str) -> Request {
    Request::post(PATH, &chat("assistant")).key(token)
}

#[tokio::test]
async fn a_token_of_the_issuer_is_as_good_as_a_key_and_the_record_names_the_app() {
    let signer = TokenSigner::new("k-1");
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&identity(Config::serving(&upstream), &signer.key_set())).await;

    let of_claims = gateway.send(showing(&signer.token(&of("claims-ui")))).await;
    let of_search = gateway
        .send(Request::post(PATH, &chat("assistant")).anonymous().header("api-key", &signer.token(&of("search-ui"))))
        .await;
    let by_key = gateway.send(Request::post(PATH, &chat("assistant"))).await;

    assert_eq!((of_claims.status, of_search.status, by_key.status), (200, 200, 200));
    let mut apps = Vec::new();
    for answer in [&of_claims, &of_search, &by_key] {
        let decision = answer.headers["x-causeway-decision"].to_str().expect("a decision is plain text");
        apps.push(gateway.audit().record(decision).await.intent["app"].clone());
    }
    assert_eq!(apps, ["claims", "search", "tests"]);
}

#[tokio::test]
async fn a_token_that_is_not_good_sends_nothing_and_tells_the_caller_nothing() {
    let (signer, stranger) = (TokenSigner::new("k-1"), TokenSigner::new("k-1"));
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&identity(Config::serving(&upstream), &signer.key_set())).await;
    let mut expired = claims();
    expired["exp"] = 1_600_000_000.into();
    let mut for_others = claims();
    for_others["aud"] = "somebody".into();
    let unsigned = signer.unsigned(&claims());

    for (what, token) in [
        ("of a stranger", stranger.token(&claims())),
        ("expired", signer.token(&expired)),
        ("for others", signer.token(&for_others)),
        ("of no app", signer.token(&of("unknown-ui"))),
        ("unsigned", unsigned.clone()),
        ("too long", "a".repeat(16_385)),
    ] {
        let answer = gateway.send(showing(&token)).await;

        assert_eq!(answer.status, 401, "{what}");
        assert_eq!(answer.json().await["error"]["code"], "invalid_api_key", "{what}");
    }
    assert!(upstream.requests().is_empty());
    let claimed = unsigned.split('.').nth(1).expect("a token has claims");
    assert!(!gateway.log().contains(claimed), "no part of a token is in the log");
}

#[tokio::test]
async fn two_credentials_of_two_callers_are_nobody() {
    let signer = TokenSigner::new("k-1");
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&identity(Config::serving(&upstream), &signer.key_set())).await;

    let both = Request::post(PATH, &chat("assistant")).header("api-key", &signer.token(&claims()));

    assert_eq!(gateway.send(both).await.status, 401);
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn a_key_that_the_issuer_took_back_is_refused_once_its_file_changed() {
    let (before, after) = (TokenSigner::new("k-1"), TokenSigner::new("k-2"));
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&identity(Config::serving(&upstream), &before.key_set())).await;
    let old = before.token(&claims());
    assert_eq!(gateway.send(showing(&old)).await.status, 200);

    gateway.replace_file("issuer.json", &after.key_set().to_string());
    gateway.signal("HUP");

    let new = after.token(&claims());
    until("the new key", async || (gateway.send(showing(&new)).await.status == 200).then_some(())).await;
    assert_eq!(gateway.send(showing(&old)).await.status, 401);
}

#[tokio::test]
async fn a_certificate_with_the_name_of_an_app_needs_no_key_and_agrees_with_the_one_shown() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    make_example_certificates(folder.path());
    let file = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("make-certs made it");
    let upstream = Upstream::start("only").await;
    let server = Issued::example(folder.path(), "server");
    let config = Config::serving(&upstream)
        .tls_asking(&server, &file("app-ca.pem"), Some(&file("app-ca-crl.pem")))
        .app("claims", "cw_of_claims", &["assistant"], "certificate = \"spiffe://example.org/app/claims\"");
    let gateway = Gateway::start(&config).await;
    let tls =
        client_trusting(&folder.path().join("server-ca.pem"), Some(&Issued::example(folder.path(), "client-claims")));
    let client = Client { tls: Some(tls), ..gateway.client() };
    let ask = async |request: Request| client.send(request).await.status;
    let request = Request::post(PATH, &chat("assistant"));

    assert_eq!(ask(request.clone().anonymous()).await, 200);
    assert_eq!(ask(request.clone().key("certificate")).await, 200);
    assert_eq!(ask(request.clone().key("cw_of_claims")).await, 200);
    assert_eq!(ask(request.clone()).await, 401, "the key of another app");
    assert_eq!(ask(request.key("cw_unknown")).await, 401);
}

#[tokio::test]
async fn the_word_certificate_is_no_key_where_no_certificate_names_an_app() {
    let authority = Authority::new();
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start(&Config::serving(&upstream).tls(&authority.issue())).await;
    let client = Client { tls: Some(authority.client(&[])), ..gateway.client() };

    assert_eq!(client.send(Request::post(PATH, &chat("assistant")).key("certificate")).await.status, 401);
}

#[tokio::test]
async fn a_listed_proxy_says_whose_certificate_it_saw_and_nobody_else_does() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    make_example_certificates(folder.path());
    let file = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("make-certs made it");
    let upstream = Upstream::start("only").await;
    let server = Issued::example(folder.path(), "server");
    let tls =
        client_trusting(&folder.path().join("server-ca.pem"), Some(&Issued::example(folder.path(), "client-claims")));
    let named = "x-forwarded-client-cert";
    let saw_search = "Hash=468ed33b;Subject=\"CN=search\";URI=spiffe://example.org/app/search";
    let ask = Request::post(PATH, &chat("assistant")).anonymous();
    for is_listed in [true, false] {
        let mut config = Config::serving(&upstream).tls_asking(&server, &file("app-ca.pem"), None).app(
            "search",
            "cw_of_search",
            &["assistant"],
            "certificate = \"spiffe://example.org/app/search\"",
        );
        if is_listed {
            config = config.listen("forwarded_client_cert_from = [\"spiffe://example.org/app/claims\"]");
        }
        let gateway = Gateway::start(&config).await;
        let client = Client { tls: Some(Arc::clone(&tls)), ..gateway.client() };

        let forwarded = client.send(ask.clone().header(named, saw_search)).await;
        let two = client.send(ask.clone().header(named, &format!("{saw_search},URI=spiffe://example.org/app/x"))).await;
        let stranger = client.send(ask.clone().header(named, "URI=spiffe://example.org/app/nobody")).await;
        let by_key = client.send(ask.clone().key("cw_of_search").header(named, "not one at all")).await;

        let expected = if is_listed { [200, 401, 401, 401] } else { [401, 401, 401, 200] };
        let statuses = [&forwarded, &two, &stranger, &by_key].map(|answer| answer.status);
        assert_eq!(statuses, expected, "listed: {is_listed}");
        if is_listed {
            assert_eq!(gateway.audit().record(&forwarded.decision()).await.intent["app"], "search");
        }
    }
    for request in upstream.requests() {
        assert!(request.header(named).is_none(), "the header goes to nobody");
    }
}

/// Two apps that are known by the subjects of their certificates, behind TLS that asks for one.
async fn known_by_subject(upstream: &Upstream, lines: &str) -> (Authority, Authority, Gateway) {
    let (authority, callers) = (Authority::new(), Authority::new());
    let subject = |name: &str| format!("certificate = \"subject:CN={name},OU=Apps,O=Corp\"");
    let mut config = Config::serving(upstream)
        .tls_asking(&authority.issue(), &callers.pem(), None)
        .app("claims", "cw_of_claims", &["assistant"], &subject("claims"))
        .app("search", "cw_of_search", &["assistant"], &subject("search"));
    if !lines.is_empty() {
        config = config.listen(lines);
    }
    let gateway = Gateway::start(&config).await;
    (authority, callers, gateway)
}

#[tokio::test]
async fn a_caller_is_the_app_that_has_the_whole_subject_of_its_certificate_and_nobody_by_any_other() {
    let upstream = Upstream::start("only").await;
    let (authority, callers, gateway) = known_by_subject(&upstream, "").await;
    let [o, ou, cn] = [DnType::OrganizationName, DnType::OrganizationalUnitName, DnType::CommonName];
    let ask = Request::post(PATH, &chat("assistant")).anonymous();
    let showing = |of: &Authority, subject: &[(DnType, &str)]| {
        let tls = authority.client_showing(&of.issue_caller_with(subject));
        Client { tls: Some(tls), ..gateway.client() }
    };

    for name in ["claims", "search"] {
        let subject = [(o.clone(), "Corp"), (ou.clone(), "Apps"), (cn.clone(), name)];
        let answer = showing(&callers, &subject).send(ask.clone()).await;
        assert_eq!(answer.status, 200, "{name}");
        assert_eq!(gateway.audit().record(&answer.decision()).await.intent["app"], name);
        // The certificate of one app with the key of another is nobody's.
        let other = if name == "claims" { "cw_of_search" } else { "cw_of_claims" };
        assert_eq!(showing(&callers, &subject).send(ask.clone().key(other)).await.status, 401, "{name} and {other}");
    }
    let sent = upstream.requests().len();
    for subject in [
        vec![(o.clone(), "Corp"), (ou.clone(), "Apps"), (cn.clone(), "nobody")],
        vec![(o.clone(), "Corp"), (ou.clone(), "Apps"), (cn.clone(), "Claims")],
        vec![(o.clone(), "Corp"), (cn.clone(), "claims")],
        vec![(cn.clone(), "claims")],
        vec![(cn.clone(), "claims"), (ou.clone(), "Apps"), (o.clone(), "Corp")],
        vec![(o.clone(), "Corp"), (ou.clone(), "Apps"), (cn.clone(), "claims"), (DnType::CountryName, "DE")],
        vec![(o.clone(), "Corp"), (cn.clone(), "claims,OU=Apps")],
        vec![(cn.clone(), "subject:CN=claims,OU=Apps,O=Corp")],
    ] {
        let answer = showing(&callers, &subject).send(ask.clone()).await;
        assert_eq!(answer.status, 401, "{subject:?}");
    }
    let of_a_stranger = [(o, "Corp"), (ou, "Apps"), (cn, "claims")];
    let stranger = showing(&Authority::new(), &of_a_stranger).try_send(ask).await;

    assert!(stranger.is_err(), "an authority that is not asked for issues nobody");
    assert_eq!(upstream.requests().len(), sent, "nothing of a caller that is nobody is sent");
}

#[tokio::test]
async fn a_forwarded_subject_counts_from_a_listed_proxy_alone_and_no_forwarded_uri_makes_one() {
    let upstream = Upstream::start("only").await;
    let named = "x-forwarded-client-cert";
    let subject = "Hash=468ed33b;Subject=\"CN=search,OU=Apps,O=Corp\"";
    let uri = "Hash=468ed33b;URI=\"subject:CN=search,OU=Apps,O=Corp\"";
    let ask = Request::post(PATH, &chat("assistant")).anonymous();
    let [o, ou, cn] = [DnType::OrganizationName, DnType::OrganizationalUnitName, DnType::CommonName];
    let proxy = [(o.clone(), "Corp"), (cn.clone(), "proxy")];
    let caller = [(o, "Corp"), (ou, "Apps"), (cn, "claims")];
    let listed = "forwarded_client_cert_from = [\"subject:CN=proxy,O=Corp\"]";

    for is_listed in [true, false] {
        let (authority, callers, gateway) = known_by_subject(&upstream, if is_listed { listed } else { "" }).await;
        let showing = |subject: &[(DnType, &str)]| {
            let tls = authority.client_showing(&callers.issue_caller_with(subject));
            Client { tls: Some(tls), ..gateway.client() }
        };
        let (by_proxy, by_caller) = (showing(&proxy), showing(&caller));

        let forwarded = by_proxy.send(ask.clone().header(named, subject)).await;
        let of_uri = by_proxy.send(ask.clone().header(named, uri)).await;
        let nothing = by_proxy.send(ask.clone()).await;
        // An app that is not listed stays itself, whatever it says that it saw.
        let own = by_caller.send(ask.clone().header(named, subject)).await;

        assert_eq!(forwarded.status, if is_listed { 200 } else { 401 }, "listed: {is_listed}");
        assert_eq!([of_uri.status, nothing.status, own.status], [401, 401, 200], "listed: {is_listed}");
        assert_eq!(gateway.audit().record(&own.decision()).await.intent["app"], "claims");
        if is_listed {
            assert_eq!(gateway.audit().record(&forwarded.decision()).await.intent["app"], "search");
        }
    }
    assert_eq!(upstream.requests().len(), 3);
    for request in upstream.requests() {
        assert!(request.header(named).is_none(), "the header goes to nobody");
    }
}

/// An F5 or an API Management mints tokens for those it knows: whoever else has got hold of one cannot show it.
#[tokio::test]
async fn a_token_of_an_issuer_with_sources_counts_over_their_connections_alone() {
    let (signer, authority, callers) = (TokenSigner::new("k-1"), Authority::new(), Authority::new());
    let upstream = Upstream::start("only").await;
    let config = Config::serving(&upstream).tls_asking(&authority.issue(), &callers.pem(), None);
    let sources = "algorithms = [\"ES256\"]\nonly_from = [\"subject:CN=apim,O=Corp\"]";
    let config = identity(config, &signer.key_set());
    let anywhere = Gateway::start(&config).await;
    let bound = Gateway::start(&config.clone().replacing("algorithms = [\"ES256\"]", sources)).await;
    let of = |gateway: &Gateway, name: &str| {
        let shown = callers.issue_caller_with(&[(DnType::OrganizationName, "Corp"), (DnType::CommonName, name)]);
        Client { tls: Some(authority.client_showing(&shown)), ..gateway.client() }
    };
    let token = signer.token(&claims());
    let forwarded = showing(&token).header("x-forwarded-client-cert", "Subject=\"CN=apim,O=Corp\"");

    let mut statuses = Vec::new();
    // The source first: what is remembered of a token lets nobody else in.
    for name in ["apim", "app", "apim2", "apim"] {
        statuses.push(of(&bound, name).send(showing(&token)).await.status);
    }
    let claims_to_be = of(&bound, "app").send(forwarded).await;
    let by_key = of(&bound, "app").send(Request::post(PATH, &chat("assistant"))).await.status;
    let unbound = of(&anywhere, "app").send(showing(&token)).await.status;

    assert_eq!(statuses, [200, 401, 401, 200]);
    assert_eq!((claims_to_be.status, by_key, unbound), (401, 200, 200));
    assert_eq!(claims_to_be.json().await["error"]["code"], "invalid_api_key");
    until("the reason in the log", async || bound.log().contains("only_from").then_some(())).await;
    assert_eq!(upstream.requests().len(), 4);
}

#[tokio::test]
async fn the_status_page_says_when_each_credential_was_last_shown_also_after_a_reload() {
    let upstream = Upstream::start("only").await;
    let config = Config::serving(&upstream).app("idle", "cw_of_nobody", &["assistant"], "");
    let gateway = Gateway::start(&config).await;
    assert_eq!(gateway.send(Request::post(PATH, &chat("assistant"))).await.status, 200);
    let last = async || {
        let status = gateway.operator("/api/status").await.json().await;
        let keys = status["keys"].as_array().cloned().unwrap_or_default();
        let of = |name: &str| keys.iter().find(|key| key["key"] == name).map(|key| key["last_used"].clone());
        (
            of("tests.keys[0]").expect("it is listed"),
            of("idle.keys[0]").expect("it is listed"),
            status["configuration"]["hash"].clone(),
        )
    };
    let (used, never, before) = last().await;

    gateway.configure(&config.clone().app("third", "cw_of_a_third", &["assistant"], ""));
    gateway.signal("HUP");
    let kept = until("the reload", async || {
        let (kept, _, hash) = last().await;
        (hash != before).then_some(kept)
    })
    .await;

    assert!(used.is_string() && never.is_null(), "{used} {never}");
    assert_eq!(kept, used);
}

#[tokio::test]
async fn when_a_credential_was_last_shown_is_told_after_a_restart_and_a_damaged_file_of_it_stops_nobody() {
    let upstream = Upstream::start("only").await;
    let mut gateway = Gateway::start(&Config::serving(&upstream)).await;
    assert_eq!(gateway.send(Request::post(PATH, &chat("assistant"))).await.status, 200);
    let used = last_used(&gateway).await;

    gateway.signal("TERM");
    assert!(gateway.left().await.success(), "{}", gateway.log());
    let kept = gateway.state().join("last_used/last_used.json");
    let text = std::fs::read_to_string(&kept).expect("it was kept");
    let mut again = gateway.again("again.log", &[]);
    assert!(again.is_ready().await, "{}", again.log());

    assert!(used.is_string());
    assert_eq!(last_used(&again).await, used);
    assert!(!text.contains(KEY) && text.contains("sha256:"), "{text}");

    again.kill().await;
    std::fs::write(&kept, "{\"format_ver").expect("it can be damaged");
    let mut damaged = gateway.again("damaged.log", &[]);
    assert!(damaged.is_ready().await, "{}", damaged.log());
    assert!(last_used(&damaged).await.is_null());
    assert!(damaged.log().contains("when keys were last used before this start is not known"), "{}", damaged.log());
}

async fn last_used(gateway: &Gateway) -> Value {
    let status = gateway.operator("/api/status").await.json().await;
    status["keys"][0]["last_used"].clone()
}
