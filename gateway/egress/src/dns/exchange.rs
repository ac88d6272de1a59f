//! One question to one server: over UDP with TCP behind it, over TLS, or over HTTPS.
//!
//! A datagram counts only if it comes from the server's address and port (the socket is connected, which also shows an
//! ICMP refusal at once), carries our random id, and repeats the question in the very letters in which it was asked
//! (0x20). Anything else is dropped, and the wait goes on.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hickory_resolver::proto::op::Message;
use http::{Method, Request, StatusCode, Version, header};
use http_body::Body as _;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::answer::{Question, Told, belongs, distil};
use crate::body::UpstreamBody;
use crate::tls;

/// Until an unanswered datagram is sent again.
const RESEND: Duration = Duration::from_millis(450);
/// Until an unanswered question is taken to TCP, because UDP may be blocked.
const UDP_LIMIT: Duration = Duration::from_millis(1_000);
/// For one question over a stream, connecting included.
const STREAM_LIMIT: Duration = Duration::from_millis(1_500);
/// Datagrams that may be dropped before the question is taken to TCP: somebody is guessing.
const MOST_STRAYS: usize = 32;
/// Longest answer: what the length of a stream's message can say.
const LONGEST: usize = u16::MAX as usize;
/// Longest datagram that is read; what was asked for is 1,232 bytes.
const LONGEST_DATAGRAM: usize = 4096;
/// Streams that are kept to one server: for A and for AAAA.
const KEPT: usize = 2;

/// Why one server gave no usable answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing came in time.
    Silent,
    /// The machine or a device on the way refuses.
    Refused(String),
    /// A response code that says nothing about the name, such as SERVFAIL.
    Answered(String),
    /// The answer was cut short, and TCP does not get through.
    Cut(String),
    /// The bytes are no DNS, or not in a form that is taken.
    Malformed(String),
    /// The server could not show who it is.
    Tls(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("does not answer"),
            Self::Refused(why) => write!(f, "cannot be reached: {why}"),
            Self::Answered(code) => write!(f, "answered {code}"),
            Self::Cut(why) => write!(f, "cut its answer short over UDP, and TCP {why}"),
            Self::Malformed(why) => write!(f, "gave an answer that cannot be used: {why}"),
            Self::Tls(why) => write!(f, "could not be verified over TLS: {why}"),
        }
    }
}

/// One server's failure to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The server.
    pub server: SocketAddr,
    /// What went wrong.
    pub trouble: Trouble,
    /// How long it took to find out.
    pub took: Duration,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} after {} ms", self.server, self.trouble, self.took.as_millis())
    }
}

/// How a server is asked.
#[derive(Clone)]
pub(crate) enum Via {
    /// UDP, and TCP where an answer was cut short or does not come.
    Datagram,
    /// DNS over TLS (RFC 7858).
    Tls(Arc<ClientConfig>, ServerName<'static>),
    /// DNS over HTTPS (RFC 8484), with the authority of its URL.
    Https(Arc<ClientConfig>, ServerName<'static>),
    /// A server in this process, for tests: datagrams or (`true`) the one message of a stream.
    #[cfg(any(test, feature = "lies"))]
    Scripted(Script),
}

/// What a server in this process sends back for the bytes of a question.
#[cfg(any(test, feature = "lies"))]
pub(crate) type Script = Arc<dyn Fn(&[u8], bool) -> Vec<Vec<u8>> + Send + Sync>;

/// One DNS server, with the streams that are kept to it.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    via: Via,
    kept: Mutex<Vec<TlsStream<TcpStream>>>,
    shared: Mutex<Option<http2::SendRequest<UpstreamBody>>>,
}

impl Server {
    pub(crate) fn new(address: SocketAddr, via: Via) -> Self {
        Self { address, via, kept: Mutex::default(), shared: Mutex::default() }
    }

    /// Asks once.
    pub(crate) async fn ask(&self, question: &Question) -> Result<Told, Failure> {
        let began = Instant::now();
        let asked = match &self.via {
            Via::Datagram => self.by_datagram(question).await,
            Via::Tls(config, name) => within(STREAM_LIMIT, self.by_tls(question, (config, name))).await,
            Via::Https(config, name) => {
                let told = within(STREAM_LIMIT, self.by_https(question, (config, name))).await;
                if matches!(told, Err(Trouble::Silent | Trouble::Refused(_))) {
                    // The way of this connection may be lost without a word; the next question gets one of its own.
                    *self.shared.lock() = None;
                }
                told
            }
            #[cfg(any(test, feature = "lies"))]
            Via::Scripted(script) => self.by_script(question, script),
        };
        asked.map_err(|trouble| Failure { server: self.address, trouble, took: began.elapsed() })
    }

    async fn by_datagram(&self, question: &Question) -> Result<Told, Trouble> {
        let cut = match self.udp(question).await {
            Ok(message) if !message.truncation => return distil(message, question, (self.address, "udp")),
            Ok(_) => true,
            Err(Trouble::Silent) => false,
            Err(other) => return Err(other),
        };
        match within(STREAM_LIMIT, self.by_tcp(question)).await {
            Err(trouble @ (Trouble::Silent | Trouble::Refused(_))) if cut => Err(Trouble::Cut(trouble.to_string())),
            // UDP was silent: whether TCP is refused or silent as well, nobody answered.
            Err(Trouble::Refused(_)) => Err(Trouble::Silent),
            told => told,
        }
    }

    /// Sends the question, once more if nothing comes, and takes the first datagram that belongs to it.
    async fn udp(&self, question: &Question) -> Result<Message, Trouble> {
        let sent = in_random_case(question);
        let bytes = encoded(&sent)?;
        let socket = bound(self.address).await.map_err(|error| refused(&error))?;
        let mut buffer = vec![0; LONGEST_DATAGRAM];
        let mut strays = 0;
        let give_up = Instant::now() + UDP_LIMIT;
        let mut resend = Instant::now();
        loop {
            if Instant::now() >= resend {
                socket.send(&bytes).await.map_err(|error| refused(&error))?;
                resend = if resend + RESEND < give_up { Instant::now() + RESEND } else { give_up };
            }
            let received = timeout_at(resend.min(give_up), socket.recv(&mut buffer)).await;
            let count = match received {
                Ok(received) => received.map_err(|error| refused(&error))?,
                Err(_) if Instant::now() >= give_up => return Err(Trouble::Silent),
                Err(_) => continue,
            };
            if let Some(message) = believed(buffer.get(..count).unwrap_or_default(), &sent) {
                return Ok(message);
            }
            strays += 1;
            if strays > MOST_STRAYS {
                return Err(Trouble::Silent);
            }
        }
    }

    /// The same without sockets and without waiting.
    #[cfg(any(test, feature = "lies"))]
    fn by_script(&self, question: &Question, script: &Script) -> Result<Told, Trouble> {
        let sent = in_random_case(question);
        let datagrams = script(&encoded(&sent)?, false);
        let message = datagrams.iter().take(MOST_STRAYS).find_map(|datagram| believed(datagram, &sent));
        if let Some(message) = message.filter(|message| !message.truncation) {
            return distil(message, question, (self.address, "udp"));
        }
        let sent = question.message();
        let answer = script(&encoded(&sent)?, true).into_iter().next().ok_or(Trouble::Silent)?;
        distil(answer_to(&sent, &answer)?, question, (self.address, "tcp"))
    }

    async fn by_tcp(&self, question: &Question) -> Result<Told, Trouble> {
        let mut stream = connected(self.address).await.map_err(|error| refused(&error))?;
        let message = over_stream(&mut stream, question).await?;
        distil(message, question, (self.address, "tcp"))
    }

    async fn by_tls(
        &self,
        question: &Question,
        (config, name): (&Arc<ClientConfig>, &ServerName<'static>),
    ) -> Result<Told, Trouble> {
        let kept = self.kept.lock().pop();
        if let Some(mut stream) = kept
            && let Ok(message) = over_stream(&mut stream, question).await
        {
            self.keep(stream);
            return distil(message, question, (self.address, "tls"));
        }
        // There was none, or the server had closed it.
        let mut stream = self.secured(config, name).await?;
        let message = over_stream(&mut stream, question).await?;
        self.keep(stream);
        distil(message, question, (self.address, "tls"))
    }

    fn keep(&self, stream: TlsStream<TcpStream>) {
        let mut kept = self.kept.lock();
        if kept.len() < KEPT {
            kept.push(stream);
        }
    }

    async fn secured(
        &self,
        config: &Arc<ClientConfig>,
        name: &ServerName<'static>,
    ) -> Result<TlsStream<TcpStream>, Trouble> {
        let tcp = connected(self.address).await.map_err(|error| refused(&error))?;
        let connector = TlsConnector::from(Arc::clone(config));
        let connected = connector.connect(name.clone(), tcp).await;
        connected.map_err(|error| Trouble::Tls(tls::readable(error).to_string()))
    }

    async fn by_https(
        &self,
        question: &Question,
        (config, name): (&Arc<ClientConfig>, &ServerName<'static>),
    ) -> Result<Told, Trouble> {
        let kept = self.shared.lock().clone().filter(|sender| !sender.is_closed());
        let mut sender = match kept {
            Some(sender) => sender,
            None => {
                let stream = self.secured(config, name).await?;
                let handshake = http2::Builder::new(TokioExecutor::new()).handshake(TokioIo::new(stream));
                let (sender, connection) = handshake.await.map_err(|error| Trouble::Tls(error.to_string()))?;
                tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "a connection to a DNS server ended with an error");
                    }
                });
                *self.shared.lock() = Some(sender.clone());
                sender
            }
        };
        let mut sent = question.message();
        // So that a cache on the way sees equal questions as equal (RFC 8484 section 4.1).
        sent.metadata.id = 0;
        let request = doh_request(encoded(&sent)?, name)?;
        let response = sender.send_request(request).await.map_err(|error| Trouble::Refused(error.to_string()))?;
        if response.status() != StatusCode::OK {
            return Err(Trouble::Answered(format!("HTTP status {}", response.status())));
        }
        let message = answer_to(&sent, &read_whole(response.into_body()).await?)?;
        distil(message, question, (self.address, "https"))
    }
}

async fn within<T>(limit: Duration, asked: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    timeout(limit, asked).await.unwrap_or(Err(Trouble::Silent))
}

fn refused(error: &io::Error) -> Trouble {
    Trouble::Refused(error.to_string())
}

fn encoded(message: &Message) -> Result<Vec<u8>, Trouble> {
    message.to_vec().map_err(|error| Trouble::Malformed(error.to_string()))
}

fn decoded(bytes: &[u8]) -> Result<Message, Trouble> {
    Message::from_vec(bytes).map_err(|error| Trouble::Malformed(error.to_string()))
}

/// One question and its answer over a stream (RFC 1035 section 4.2.2).
async fn over_stream<S>(stream: &mut S, question: &Question) -> Result<Message, Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let sent = question.message();
    let bytes = encoded(&sent)?;
    let length = u16::try_from(bytes.len()).map_err(|error| Trouble::Malformed(error.to_string()))?;
    // In one write, so that it leaves in one segment.
    let framed = [length.to_be_bytes().as_slice(), &bytes].concat();
    stream.write_all(&framed).await.map_err(|error| refused(&error))?;
    let length = stream.read_u16().await.map_err(|error| refused(&error))?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await.map_err(|error| refused(&error))?;
    answer_to(&sent, &answer)
}

/// The question in letters that nobody can guess (0x20).
fn in_random_case(question: &Question) -> Message {
    let mut sent = question.message();
    sent.queries.iter_mut().for_each(|query| query.name.randomize_label_case());
    sent
}

/// The datagram as a message, if it belongs to what was sent, letter by letter.
fn believed(datagram: &[u8], sent: &Message) -> Option<Message> {
    Message::from_vec(datagram).ok().filter(|message| belongs(message, sent, true))
}

/// The message of a stream, which must answer what was asked on it.
fn answer_to(sent: &Message, bytes: &[u8]) -> Result<Message, Trouble> {
    let message = decoded(bytes)?;
    if belongs(&message, sent, false) {
        Ok(message)
    } else {
        Err(Trouble::Malformed("it answers another question".to_owned()))
    }
}

fn doh_request(body: Vec<u8>, name: &ServerName<'_>) -> Result<Request<UpstreamBody>, Trouble> {
    const TYPE: &str = "application/dns-message";
    Request::builder()
        .method(Method::POST)
        .version(Version::HTTP_2)
        .uri(format!("https://{}/dns-query", name.to_str()))
        .header(header::ACCEPT, TYPE)
        .header(header::CONTENT_TYPE, TYPE)
        .body(UpstreamBody::new(vec![Bytes::from(body)]))
        .map_err(|error| Trouble::Malformed(error.to_string()))
}

async fn read_whole(mut body: hyper::body::Incoming) -> Result<Vec<u8>, Trouble> {
    let mut whole = Vec::new();
    loop {
        let frame = std::future::poll_fn(|context| std::pin::Pin::new(&mut body).poll_frame(context)).await;
        let Some(frame) = frame else { return Ok(whole) };
        let frame = frame.map_err(|error| Trouble::Refused(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > LONGEST {
            return Err(Trouble::Malformed("it is longer than DNS can be".to_owned()));
        }
        whole.extend_from_slice(&data);
    }
}

#[expect(clippy::disallowed_methods, reason = "a DNS server's address stands in the configuration")]
async fn bound(server: SocketAddr) -> io::Result<UdpSocket> {
    let any = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    Ok(socket)
}

#[expect(clippy::disallowed_methods, reason = "a DNS server's address stands in the configuration")]
async fn connected(server: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
