//! Endpoints that take no keys: the gateway asks for a token, shows it, and goes elsewhere when there is none.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::testkit::{Config, Endpoint, Gateway, UPSTREAM_KEY, Upstream, chat, until};

const SECRET: &str = "the-secret-of-an-application";

/// An identity host that gives the one token which upstreams take, to who shows the secret.
struct Identity {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    refusing: Arc<AtomicBool>,
}

impl Identity {
    async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let (asked, refusing): (Arc<AtomicUsize>, Arc<AtomicBool>) = Default::default();
        let own = (Arc::clone(&asked), Arc::clone(&refusing));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (asked, refusing) = own.clone();
                tokio::spawn(async move {
                    let mut text = String::new();
                    while !is_whole(&text) {
                        let mut buffer = [0; 4096];
                        let Ok(count @ 1..) = stream.read(&mut buffer).await else { return };
                        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
                    }
                    asked.fetch_add(1, Ordering::SeqCst);
                    let good = text.starts_with("POST /contoso.example/oauth2/v2.0/token HTTP/1.1\r\n")
                        && text.contains(&format!("client_secret={SECRET}"))
                        && !refusing.load(Ordering::SeqCst);
                    let (status, body) = if good {
                        let token = format!(
                            "{{\"token_type\":\"Bearer\",\"expires_in\":3600,\"access_token\":\"{UPSTREAM_KEY}\"}}"
                        );
                        ("200 OK", token)
                    } else {
                        let why = "AADSTS7000222: The provided client secret keys are expired.";
                        (
                            "401 Unauthorized",
                            format!("{{\"error\":\"invalid_client\",\"error_description\":\"{why}\"}}"),
                        )
                    };
                    let length = body.len();
                    let answer =
                        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        Self { address, asked, refusing }
    }

    /// Two endpoints, the first of which takes tokens only.
    fn config(&self, wanting: &Upstream, spare: &Upstream) -> Config {
        let section = format!(
            "[identity.entra]\nurl = \"http://{}\"\nreach = {{ local = {{ within = [\"127.0.0.0/8\"] }} }}\n\n\
             [endpoint.cloud]\nprovider = \"openai\"\nurl = \"http://{}/v1\"\n\
             reach = {{ local = {{ within = [\"127.0.0.0/8\"] }} }}\nplace = {{ site = \"lab\" }}\n\
             auth = {{ client-secret = {{ identity = \"entra\", tenant = \"contoso.example\", client = \"6a5b2c1d\", \
             secret = {{ file = \"entra.secret\" }}, scope = \"https://models.example/.default\" }} }}\n",
            self.address, wanting.address
        );
        Config::new()
            .file("entra.secret", SECRET)
            .section(&section)
            .endpoint("spare", Endpoint::of(spare))
            .model("assistant", &["cloud/m", "spare/m"])
    }
}

fn is_whole(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |text| text.parse().expect("a number"));
    body.len() >= length
}

async fn tokens(gateway: &Gateway) -> Value {
    gateway.operator("/api/status").await.json().await["tokens"].clone()
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_shown_to_the_endpoint() {
    let (cloud, spare) = (Upstream::start("cloud").await, Upstream::start("spare").await);
    let identity = Identity::start().await;
    let gateway = Gateway::start(&identity.config(&cloud, &spare)).await;

    for _ in 0..3 {
        // The upstream refuses whoever does not show it the token.
        let answer = gateway.chat(&chat("assistant")).await;
        assert_eq!((answer.status, answer.text().await.contains("cloud")), (200, true));
    }

    assert_eq!(identity.asked.load(Ordering::SeqCst), 1);
    let tokens = tokens(&gateway).await;
    assert_eq!((&tokens[0]["identity"], &tokens[0]["grant"]), (&"identity.entra".into(), &"client-secret".into()));
    assert!(tokens[0]["expires_at"].is_string() && tokens[0]["failed"].is_null(), "{tokens}");
    assert!(!format!("{tokens}{}", gateway.log()).contains(SECRET));
}

#[tokio::test]
async fn without_a_token_nothing_is_sent_and_the_next_target_answers() {
    let (cloud, spare) = (Upstream::start("cloud").await, Upstream::start("spare").await);
    let identity = Identity::start().await;
    identity.refusing.store(true, Ordering::SeqCst);
    let gateway = Gateway::start(&identity.config(&cloud, &spare)).await;

    let answer = gateway.chat(&chat("assistant")).await;

    let decision = answer.headers["x-causeway-decision"].to_str().unwrap().to_owned();
    assert_eq!((answer.status, answer.text().await.contains("spare")), (200, true));
    let record = gateway.audit().record(&decision).await;
    assert_eq!(record.attempts(), ["cloud/m no_credential", "spare/m success"]);
    assert_eq!(record.outcome["attempts"][0]["verdict"], "ID-02");
    assert_eq!(cloud.connections(), 0);
    let failed = tokens(&gateway).await[0]["failed"].clone();
    assert!(failed["seen"].as_str().unwrap().contains("401 invalid_client (AADSTS7000222)"), "{failed}");
    assert!(!gateway.log().contains(SECRET));

    identity.refusing.store(false, Ordering::SeqCst);
    let back = async || gateway.chat(&chat("assistant")).await.text().await.contains("cloud").then_some(());
    until("a token to be had again", back).await;
}
