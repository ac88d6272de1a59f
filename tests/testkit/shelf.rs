//! A server that takes files by HTTP and is strict about how they come: the second place of an audit log.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::Authority;

/// How it behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShelfMood {
    /// It keeps what it takes.
    Honest,
    /// It takes nothing.
    Refusing,
    /// It never answers.
    Hanging,
    /// It says that it took a file, and has none.
    Forgetting,
    /// It gives other bytes than it took.
    Changing,
}

struct Shared {
    authorization: String,
    mood: Mutex<ShelfMood>,
    files: Mutex<BTreeMap<String, Bytes>>,
    puts: Mutex<u64>,
    faults: Mutex<Vec<String>>,
}

/// The server.
pub(crate) struct Shelf {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Shelf {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shelf {
    /// Behind a certificate of `authority`, for who shows this in `authorization`.
    pub(crate) async fn start(authority: &Authority, authorization: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("port 0 is always free");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared {
            authorization: authorization.to_owned(),
            mood: Mutex::new(ShelfMood::Honest),
            files: Mutex::default(),
            puts: Mutex::default(),
            faults: Mutex::default(),
        });
        let task = tokio::spawn(accept(listener, TlsAcceptor::from(authority.server()), Arc::clone(&shared)));
        Self { address, shared, task }
    }

    pub(crate) fn becomes(&self, mood: ShelfMood) {
        *self.shared.mood.lock().expect("no test panics while it holds the lock") = mood;
    }

    /// The names of the files that it has.
    pub(crate) fn names(&self) -> Vec<String> {
        self.shared.files.lock().expect("no test panics while it holds the lock").keys().cloned().collect()
    }

    /// How often something was put.
    pub(crate) fn puts(&self) -> u64 {
        *self.shared.puts.lock().expect("no test panics while it holds the lock")
    }

    /// What came that no gateway of ours may send.
    pub(crate) fn faults(&self) -> Vec<String> {
        self.shared.faults.lock().expect("no test panics while it holds the lock").clone()
    }

    /// Writes its files into a folder, as an auditor would download them.
    pub(crate) fn download(&self, folder: &Path) {
        std::fs::create_dir_all(folder).expect("a folder can be made");
        for (name, bytes) in &*self.shared.files.lock().expect("no test panics while it holds the lock") {
            std::fs::write(folder.join(name), bytes).expect("a file can be written");
        }
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let serve = hyper::service::service_fn(|request| answer(request, &shared));
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), serve).await;
        });
    }
}

async fn answer(request: Request<Incoming>, shared: &Shared) -> Result<Response<Full<Bytes>>, Infallible> {
    let mood = *shared.mood.lock().expect("no test panics while it holds the lock");
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    if head.method == Method::PUT {
        *shared.puts.lock().expect("no test panics while it holds the lock") += 1;
    }
    let plain = |status: StatusCode| {
        let mut response = Response::new(Full::default());
        *response.status_mut() = status;
        Ok(response)
    };
    if let Some(fault) = fault(&head.method, head.uri.path(), &head.headers, (&body, &shared.authorization)) {
        shared.faults.lock().expect("no test panics while it holds the lock").push(fault);
        return plain(StatusCode::BAD_REQUEST);
    }
    let name = head.uri.path().trim_start_matches("/below/it/").to_owned();
    match mood {
        ShelfMood::Honest | ShelfMood::Changing => {}
        ShelfMood::Refusing => return plain(StatusCode::SERVICE_UNAVAILABLE),
        ShelfMood::Hanging => return std::future::pending().await,
        ShelfMood::Forgetting if head.method == Method::PUT => return plain(StatusCode::CREATED),
        ShelfMood::Forgetting => {}
    }
    let mut files = shared.files.lock().expect("no test panics while it holds the lock");
    if head.method == Method::GET {
        let Some(bytes) = files.get(&name) else { return plain(StatusCode::NOT_FOUND) };
        let bytes = if mood == ShelfMood::Changing { Bytes::from_static(b"something else") } else { bytes.clone() };
        return Ok(Response::new(Full::new(bytes)));
    }
    if files.contains_key(&name) {
        return plain(StatusCode::PRECONDITION_FAILED);
    }
    files.insert(name, body);
    plain(StatusCode::CREATED)
}

/// What in this request no gateway of ours may send.
fn fault(method: &Method, path: &str, headers: &HeaderMap, (body, authorization): (&Bytes, &str)) -> Option<String> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if header("authorization") != Some(authorization) {
        return Some(format!("`authorization` is {:?}", header("authorization")));
    }
    let Some(name) = path.strip_prefix("/below/it/") else { return Some(format!("{path} is elsewhere")) };
    if name.contains('/') || !name.ends_with(".checkpoint") {
        return Some(format!("{name} is no name of a checkpoint"));
    }
    match *method {
        Method::GET => None,
        Method::PUT if header("if-none-match") != Some("*") => Some("a file could be put over another".to_owned()),
        Method::PUT if header("content-length") != Some(body.len().to_string().as_str()) => {
            Some("`content-length` is not there".to_owned())
        }
        Method::PUT if !body.starts_with(b"gw-1/") => Some("it is no checkpoint of `gw-1`".to_owned()),
        Method::PUT => None,
        _ => Some(format!("{method} is not served")),
    }
}
