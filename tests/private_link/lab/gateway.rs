//! The real binary on the premises, and a caller at a desk that speaks TLS to it.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::space::mortal;
use super::{Space, until};

/// A running gateway.
pub(crate) struct Gateway {
    log: PathBuf,
    process: Option<Child>,
}

/// The binary that cargo built for this test; `CAUSEWAY_BINARY` names another.
pub(crate) fn binary() -> String {
    std::env::var("CAUSEWAY_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_causeway").to_owned())
}

impl Gateway {
    /// Starts a gateway with this configuration and waits until it is ready.
    pub(crate) fn start(premises: &Space, configuration: PathBuf, environment: &[(&str, &str)]) -> Self {
        let log = configuration.with_extension("log");
        let file = std::fs::File::create(&log).expect("a temporary folder can be written");
        let environment: Vec<(String, String)> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let process = premises.run(move || {
            let mut command = mortal(&binary());
            command.args(["serve", "--log", "line", "--config"]).arg(&configuration).envs(environment);
            let both = file.try_clone().expect("a file has two handles");
            command.stdout(Stdio::from(both)).stderr(file).spawn().expect("cargo built the binary")
        });
        let gateway = Self { log, process: Some(process) };
        until("the gateway to be ready", || {
            let said = gateway.log();
            assert!(!said.contains("error:"), "the gateway did not start:\n{said}");
            let probe = premises.block_on(async { http_get("127.0.0.1:8080", "/readyz").await });
            probe.filter(|answer| answer.starts_with("HTTP/1.1 200")).map(|_| ())
        });
        gateway
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self, premises: &Space) {
        if let Some(mut process) = self.process.take() {
            premises.block_on(async move { process.kill().await.expect("a child can be killed") });
        }
    }
}

/// A plain GET, and everything that came back.
pub(crate) async fn http_get(address: &str, path: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "a client of the test, in a network of its own")]
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: lab\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

/// An answer as it came.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    fn of(head: &str, body: &str) -> Self {
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The stable code of an error.
    pub(crate) fn code(&self) -> String {
        let json: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        json["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// A caller that keeps its connection to the gateway from request to request, as clients do.
pub(crate) struct Caller {
    trust: Arc<rustls::ClientConfig>,
    stream: Option<TlsStream<TcpStream>>,
}

impl Caller {
    pub(crate) fn new(trust: Arc<rustls::ClientConfig>) -> Self {
        Self { trust, stream: None }
    }

    /// Posts a chat and reads the whole answer. A connection that the gateway closed meanwhile is made anew.
    pub(crate) async fn ask(&mut self, body: &str) -> Answer {
        let kept = self.stream.take();
        if let Some(stream) = kept
            && let Some(answer) = self.ask_over(stream, body).await
        {
            return answer;
        }
        let stream = connect(Arc::clone(&self.trust)).await;
        self.ask_over(stream, body).await.expect("the gateway answers on a new connection")
    }

    async fn ask_over(&mut self, mut stream: TlsStream<TcpStream>, body: &str) -> Option<Answer> {
        stream.write_all([head(body, "keep-alive").as_str(), body].concat().as_bytes()).await.ok()?;
        let mut came = Vec::new();
        loop {
            if stream.read_buf(&mut came).await.ok()? == 0 {
                return None;
            }
            let text = String::from_utf8_lossy(&came);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let lower = head.to_ascii_lowercase();
            let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
            let whole = match length.and_then(|length| length.parse::<usize>().ok()) {
                Some(length) => body.len() >= length,
                None => body.ends_with("0\r\n\r\n"),
            };
            if whole {
                let answer = Answer::of(head, body);
                self.stream = Some(stream).filter(|_| !lower.contains("connection: close"));
                return Some(answer);
            }
        }
    }
}

async fn connect(trust: Arc<rustls::ClientConfig>) -> TlsStream<TcpStream> {
    #[expect(clippy::disallowed_methods, reason = "a client of the test, in a network of its own")]
    let stream = TcpStream::connect((super::GATEWAY_FOR_CALLERS, 8443)).await.expect("the gateway listens");
    let name = ServerName::try_from("gateway.corp.example").expect("it is a name");
    TlsConnector::from(trust).connect(name, stream).await.expect("the gateway's certificate is good")
}

fn head(body: &str, connection: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway.corp.example\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: {connection}\r\n\r\n",
        super::KEY,
        body.len()
    )
}

/// A caller's connection to the gateway with one request on it.
pub(crate) struct Call {
    stream: TlsStream<TcpStream>,
    came: Vec<u8>,
}

impl Call {
    /// Connects with TLS and posts a chat.
    pub(crate) async fn post(trust: Arc<rustls::ClientConfig>, body: String) -> Self {
        let mut call = Self { stream: connect(trust).await, came: Vec::new() };
        let head = head(&body, "close");
        call.stream.write_all([head, body].concat().as_bytes()).await.expect("the gateway reads");
        call
    }

    /// Reads until this text has come; false when the answer ends before.
    pub(crate) async fn came(&mut self, text: &str) -> bool {
        while !String::from_utf8_lossy(&self.came).contains(text) {
            if self.stream.read_buf(&mut self.came).await.unwrap_or(0) == 0 {
                return false;
            }
        }
        true
    }

    /// Reads to the end.
    pub(crate) async fn answer(mut self) -> Answer {
        // A gateway that closes without TLS' own goodbye has still answered.
        let _ = self.stream.read_to_end(&mut self.came).await;
        let text = String::from_utf8_lossy(&self.came).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        Answer::of(head, body)
    }
}
