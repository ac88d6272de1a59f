//! A client that hides nothing: HTTP/1.1 or HTTP/2, with TLS or without, and every byte of the answer.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;

use super::socket::Socket;
use super::{KEY, within, within_of};

/// Where and how to connect.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
    /// HTTP/2 without asking; with TLS, ALPN decides.
    pub(crate) prior_knowledge: bool,
    /// Bytes sent before anything else: a PROXY protocol header.
    pub(crate) preamble: Vec<u8>,
}

/// One request. It carries the tests' key unless told otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    method: http::Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Request {
    pub(crate) fn get(path: &str) -> Self {
        let headers = vec![("authorization".to_owned(), format!("Bearer {KEY}"))];
        Self { method: http::Method::GET, path: path.to_owned(), headers, body: Bytes::new() }
    }

    pub(crate) fn post(path: &str, body: &Value) -> Self {
        Self::bytes(path, body.to_string())
    }

    /// A POST of exactly these bytes.
    pub(crate) fn bytes(path: &str, body: impl Into<Bytes>) -> Self {
        let mut request = Self { method: http::Method::POST, body: body.into(), ..Self::get(path) };
        request.headers.push(("content-type".to_owned(), "application/json".to_owned()));
        request
    }

    pub(crate) fn method(mut self, method: &str) -> Self {
        self.method = method.parse().expect("tests use methods that exist");
        self
    }

    /// Adds a header, beside those of the same name.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without a credential.
    pub(crate) fn anonymous(mut self) -> Self {
        self.headers.retain(|(name, _)| name != "authorization");
        self
    }

    /// With this key instead of the tests' own.
    pub(crate) fn key(self, key: &str) -> Self {
        self.anonymous().header("authorization", &format!("Bearer {key}"))
    }
}

/// An open connection.
pub(crate) struct Connection {
    sender: Sender,
    /// The connection lives as long as this; dropping it closes the socket at once.
    driver: tokio::task::JoinHandle<()>,
}

enum Sender {
    Http1(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Http2(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

/// The head of an answer, and the body as it comes. Dropping it closes the connection.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) version: http::Version,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    unread: BytesMut,
    connection: Option<Connection>,
}

impl Client {
    pub(crate) fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None, prior_knowledge: false, preamble: Vec::new() }
    }

    /// Sends one request over a connection of its own.
    pub(crate) async fn send(&self, request: Request) -> Answer {
        self.try_send(request).await.expect("the gateway answers")
    }

    /// The same, where it may be that nobody answers.
    pub(crate) async fn try_send(&self, request: Request) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        let mut connection = self.connect().await?;
        let mut answer = connection.send(request).await?;
        answer.connection = Some(connection);
        Ok(answer)
    }

    /// Opens a connection to send several requests over.
    pub(crate) async fn connect(&self) -> Result<Connection, Box<dyn std::error::Error + Send + Sync>> {
        let socket = self.dial().await?;
        let negotiated = matches!(&socket, Socket::Dialled(tls) if tls.get_ref().1.alpn_protocol() == Some(b"h2"));
        let io = TokioIo::new(socket);
        if negotiated || self.prior_knowledge {
            let (sender, driver) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
            let driver = tokio::spawn(async move { drop(driver.await) });
            return Ok(Connection { sender: Sender::Http2(sender), driver });
        }
        let (sender, driver) = hyper::client::conn::http1::handshake(io).await?;
        let driver = tokio::spawn(async move { drop(driver.await) });
        Ok(Connection { sender: Sender::Http1(sender), driver })
    }

    /// The bare connection, for bytes that no client library would send.
    #[expect(clippy::disallowed_methods, reason = "a test is a caller, and callers dial the gateway")]
    pub(crate) async fn dial(&self) -> Result<Socket, std::io::Error> {
        let mut tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        tokio::io::AsyncWriteExt::write_all(&mut tcp, &self.preamble).await?;
        let Some(config) = &self.tls else { return Ok(Socket::Plain(tcp)) };
        let name = ServerName::from(self.address.ip());
        let tls = tokio_rustls::TlsConnector::from(Arc::clone(config)).connect(name, tcp).await?;
        Ok(Socket::Dialled(Box::new(tls)))
    }
}

impl Connection {
    pub(crate) async fn send(&mut self, request: Request) -> Result<Answer, hyper::Error> {
        let bytes = request.body.len();
        let response = match &mut self.sender {
            Sender::Http1(sender) => {
                within("a connection that is free", sender.ready()).await?;
                let request = build(request, |path| path.to_owned());
                within_of(bytes, "the head of an answer", sender.send_request(request)).await?
            }
            Sender::Http2(sender) => {
                let request = build(request, |path| format!("https://gateway.test{path}"));
                within_of(bytes, "the head of an answer", sender.send_request(request)).await?
            }
        };
        let (head, body) = response.into_parts();
        let (status, version, headers) = (head.status.as_u16(), head.version, head.headers);
        Ok(Answer { status, version, headers, body, unread: BytesMut::new(), connection: None })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

fn build(request: Request, uri: impl Fn(&str) -> String) -> http::Request<Full<Bytes>> {
    let mut built = http::Request::builder().method(request.method).uri(uri(&request.path));
    if request.path.starts_with('/') {
        built = built.header("host", "127.0.0.1");
    }
    for (name, value) in request.headers {
        built = built.header(name, value);
    }
    built.body(Full::new(request.body)).expect("tests write headers that exist")
}

impl Answer {
    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("the gateway's headers are ASCII"))
    }

    /// The id of the decision, by which the record is found.
    pub(crate) fn decision(&self) -> String {
        self.header("x-causeway-decision").expect("every answer names its decision").to_owned()
    }

    /// The next bytes as they come; none at the end. A body that breaks off is an error.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, hyper::Error> {
        loop {
            match within("the next bytes of an answer", self.body.frame()).await {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// The next event with the blank line that ends it; whatever is left at the end, or nothing.
    pub(crate) async fn event(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.unread.windows(2).position(|window| window == b"\n\n") {
                return Some(String::from_utf8_lossy(&self.unread.split_to(at + 2)).into_owned());
            }
            match self.piece().await.expect("the body does not break off") {
                Some(bytes) => self.unread.extend_from_slice(&bytes),
                None if self.unread.is_empty() => return None,
                None => return Some(String::from_utf8_lossy(&self.unread.split()).into_owned()),
            }
        }
    }

    /// The whole body, or how it broke off.
    pub(crate) async fn try_bytes(mut self) -> Result<Bytes, hyper::Error> {
        while let Some(bytes) = self.piece().await? {
            self.unread.extend_from_slice(&bytes);
        }
        Ok(self.unread.freeze())
    }

    /// The whole body, which ends cleanly.
    pub(crate) async fn bytes(self) -> Bytes {
        self.try_bytes().await.expect("the body does not break off")
    }

    pub(crate) async fn text(self) -> String {
        String::from_utf8(self.bytes().await.to_vec()).expect("the body is UTF-8")
    }

    /// The whole body of an answer with this status; any other fails the test and shows what came instead.
    pub(crate) async fn of_status(self, status: u16, what: &str) -> String {
        let got = self.status;
        let text = self.text().await;
        assert_eq!(got, status, "{what}: {text}");
        text
    }

    pub(crate) async fn json(self) -> Value {
        let bytes = self.bytes().await;
        let parsed = serde_json::from_slice(&bytes);
        assert!(parsed.is_ok(), "not JSON: {}", String::from_utf8_lossy(&bytes));
        parsed.expect("checked on the line above")
    }

    /// The code of an error in OpenAI's or Anthropic's shape.
    pub(crate) async fn code(self) -> String {
        let body = self.json().await;
        body["error"]["code"]
            .as_str()
            .unwrap_or_else(|| body["error"]["message"].as_str().unwrap_or("no error"))
            .to_owned()
    }
}
