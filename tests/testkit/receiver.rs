//! A strict receiver of webhooks: it takes a notice only when its signature and its time are right, as the Standard Webhooks
//! specification has a receiver do.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::socket::Socket;
use super::{Authority, within};

/// The secret that both sides have.
pub(crate) const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// What is done with the next notice instead of taking it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mood {
    /// It is answered with this status.
    Status(u16),
    /// It is never answered.
    Silent,
}

/// A notice that was taken.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) id: String,
    pub(crate) body: Value,
    pub(crate) text: String,
}

/// A server on loopback, for as long as it is held.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    moods: Mutex<VecDeque<Mood>>,
    taken: watch::Sender<Vec<Taken>>,
    /// Why a notice was not taken.
    faults: Mutex<Vec<String>>,
    came: watch::Sender<usize>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0).into(), None).await
    }

    /// Behind a certificate of this authority.
    pub(crate) async fn secure(authority: &Authority) -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0).into(), Some(authority)).await
    }

    pub(crate) async fn at(address: SocketAddr, authority: Option<&Authority>) -> Self {
        let listener = TcpListener::bind(address).await.expect("the address is free");
        let address = listener.local_addr().expect("a listener has an address");
        let acceptor = authority.map(|authority| TlsAcceptor::from(authority.server()));
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let shared = Arc::new(Shared {
            moods: Mutex::default(),
            taken: watch::Sender::new(Vec::new()),
            faults: Mutex::default(),
            came: watch::Sender::new(0),
        });
        let task = tokio::spawn(accept(listener, acceptor, Arc::clone(&shared)));
        Self { address, scheme, shared, task }
    }

    /// The section `[webhook.NAME]` for it; `webhook.secret` must hold the secret.
    pub(crate) fn section(&self, name: &str, lines: &str) -> String {
        section(name, &format!("{}://{}/hooks/causeway", self.scheme, self.address), lines)
    }

    pub(crate) fn in_moods(&self, moods: impl IntoIterator<Item = Mood>) {
        self.shared.moods.lock().expect("no panic while held").extend(moods);
    }

    /// Waits until so many were taken, and gives all that were.
    pub(crate) async fn taken(&self, count: usize) -> Vec<Taken> {
        let mut taken = self.shared.taken.subscribe();
        let what = format!("{count} notices to be taken");
        let taken = within(&what, taken.wait_for(|taken| taken.len() >= count)).await.expect("held by self");
        assert_eq!(*self.shared.faults.lock().expect("no panic while held"), Vec::<String>::new());
        taken.clone()
    }

    /// Waits until so many came, taken or not.
    pub(crate) async fn came(&self, count: usize) {
        let mut came = self.shared.came.subscribe();
        within("notices to come", came.wait_for(|came| *came >= count)).await.expect("held by self");
    }
}

/// The section of a receiver at this URL, whether anybody listens there or not.
pub(crate) fn section(name: &str, url: &str, lines: &str) -> String {
    format!(
        "[webhook.{name}]\nurl = \"{url}\"\nreach = {{ local = {{ within = [\"127.0.0.0/8\"] }} }}\n\
         secret = {{ file = \"webhook.secret\" }}\n{lines}\n"
    )
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, shared: Arc<Shared>) {
    while let Ok((tcp, _)) = listener.accept().await {
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            let socket = match acceptor {
                None => Socket::Plain(tcp),
                Some(acceptor) => match acceptor.accept(tcp).await {
                    Ok(tls) => Socket::Accepted(Box::new(tls)),
                    Err(_) => return,
                },
            };
            serve(socket, &shared).await;
        });
    }
}

async fn serve(mut socket: Socket, shared: &Shared) {
    let Some((head, body)) = read(&mut socket).await else { return };
    let mood = shared.moods.lock().expect("no panic while held").pop_front();
    let checked = check(&head, &body);
    shared.came.send_modify(|came| *came += 1);
    let status = match (checked, mood) {
        (Err(fault), _) => {
            shared.faults.lock().expect("no panic while held").push(fault);
            400
        }
        (Ok(_), Some(Mood::Silent)) => return std::future::pending().await,
        (Ok(_), Some(Mood::Status(status))) => status,
        (Ok(taken), None) => {
            shared.taken.send_modify(|all| all.push(taken));
            204
        }
    };
    let answer = format!("HTTP/1.1 {status} Said\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let _ = socket.write_all(answer.as_bytes()).await;
    let _ = socket.shutdown().await;
}

async fn read(socket: &mut Socket) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        let mut piece = [0; 4_096];
        match socket.read(&mut piece).await {
            Ok(count) if count > 0 => bytes.extend_from_slice(&piece[..count]),
            _ => return None,
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let mut body = bytes.split_off(end + 4);
    let length: usize = header(&head, "content-length").ok()?.parse().ok()?;
    while body.len() < length {
        let mut piece = [0; 4_096];
        match socket.read(&mut piece).await {
            Ok(count) if count > 0 => body.extend_from_slice(&piece[..count]),
            _ => return None,
        }
    }
    (body.len() == length).then_some((head, body))
}

/// The value of a header that came once.
fn header<'a>(head: &'a str, name: &str) -> Result<&'a str, String> {
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let values: Vec<&str> =
        lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect();
    if let [value] = values[..] { Ok(value) } else { Err(format!("`{name}` came {} times", values.len())) }
}

fn check(head: &str, body: &[u8]) -> Result<Taken, String> {
    let first = head.lines().next().unwrap_or_default();
    if first != "POST /hooks/causeway HTTP/1.1" {
        return Err(format!("the request is `{first}`"));
    }
    if header(head, "content-type")? != "application/json" {
        return Err("the body is not announced as JSON".to_owned());
    }
    let (id, time) = (header(head, "webhook-id")?, header(head, "webhook-timestamp")?);
    let sent: u64 = time.parse().map_err(|_| format!("the time is `{time}`"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    // Five minutes, as the specification's own libraries have it.
    if now.abs_diff(sent) > 300 {
        return Err(format!("sent at {sent}, and it is {now}"));
    }
    let signature = header(head, "webhook-signature")?;
    let signature = signature.strip_prefix("v1,").and_then(|text| STANDARD.decode(text).ok()).ok_or("no signature")?;
    let secret = WEBHOOK_SECRET.strip_prefix("whsec_").and_then(|text| STANDARD.decode(text).ok()).expect("Base64");
    let signed = [format!("{id}.{time}.").as_bytes(), body].concat();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    hmac::verify(&key, &signed, &signature).map_err(|_| "the signature is wrong".to_owned())?;
    let text = String::from_utf8(body.to_vec()).map_err(|_| "the body is no text".to_owned())?;
    let body = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    Ok(Taken { id: id.to_owned(), body, text })
}
