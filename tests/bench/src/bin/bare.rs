//! The least that a gateway on hyper does: `bare --listen 127.0.0.1:9001 --to 127.0.0.1:9000 --key cw_…`.
//!
//! In Causeway's place it shows what part of a ratio is the price of the HTTP library, and what part is ours. It reads the body
//! whole, compares the key, replaces the credential, sends the request over a kept connection and passes the answer on
//! as it comes. It decides, counts, limits and writes nothing. One thread.

use std::cell::RefCell;
use std::error::Error;
use std::rc::Rc;

use bench::options::Options;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

type Fault = Box<dyn Error + Send + Sync>;
type Reply = Response<Either<Full<Bytes>, Incoming>>;

struct Bare {
    to: String,
    /// What a caller has to show, and what the upstream gets in its place.
    credential: HeaderValue,
    own: HeaderValue,
    idle: RefCell<Vec<SendRequest<Full<Bytes>>>>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fault> {
    let options = Options::read(std::env::args().skip(1))?;
    let listener = TcpListener::bind(options.one::<String>("listen")?).await?;
    let bare = Rc::new(Bare::new(options.one("to")?, &options.one::<String>("key")?)?);

    LocalSet::new().run_until(serve(listener, bare)).await
}

async fn serve(listener: TcpListener, bare: Rc<Bare>) -> Result<(), Fault> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let bare = Rc::clone(&bare);
        tokio::task::spawn_local(async move {
            let service = service_fn(|request| answer(request, Rc::clone(&bare)));
            // A caller that leaves in the middle is part of the benchmark.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer<B>(request: Request<B>, bare: Rc<Bare>) -> Result<Reply, Fault>
where
    B: Body<Error: Into<Fault>>,
{
    if request.method() == Method::GET {
        return Ok(empty(StatusCode::OK));
    }
    let (mut head, body) = request.into_parts();
    if head.headers.get(AUTHORIZATION) != Some(&bare.credential) {
        return Ok(empty(StatusCode::UNAUTHORIZED));
    }
    let body = body.collect().await.map_err(Into::into)?.to_bytes();
    head.headers.insert(AUTHORIZATION, bare.own.clone());
    head.headers.remove(CONTENT_LENGTH);

    let mut upstream = bare.connection().await?;
    let reply = upstream.send_request(Request::from_parts(head, Full::new(body))).await?;
    tokio::task::spawn_local(async move {
        if upstream.ready().await.is_ok() {
            bare.idle.borrow_mut().push(upstream);
        }
    });
    Ok(reply.map(Either::Right))
}

fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Either::Left(Full::default()));
    *reply.status_mut() = status;
    reply
}

impl Bare {
    fn new(to: String, key: &str) -> Result<Self, Fault> {
        let credential = HeaderValue::try_from(format!("Bearer {key}"))?;
        Ok(Self { to, credential, own: HeaderValue::from_static("Bearer upstream-key"), idle: RefCell::default() })
    }

    /// The connection that was used last, or a new one.
    #[expect(clippy::disallowed_methods, reason = "a tool of the benchmark, which is not the gateway")]
    async fn connection(&self) -> Result<SendRequest<Full<Bytes>>, Fault> {
        while let Some(kept) = self.kept() {
            if kept.is_ready() {
                return Ok(kept);
            }
        }
        let stream = TcpStream::connect(&self.to).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::task::spawn_local(connection);
        Ok(sender)
    }

    fn kept(&self) -> Option<SendRequest<Full<Bytes>>> {
        self.idle.borrow_mut().pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_key_is_let_through_and_only_when_there_is_an_upstream() {
        // Port 0 is nobody's.
        let bare = Rc::new(Bare::new("127.0.0.1:0".to_owned(), "cw_key").unwrap());
        let asked = |credential: &str| {
            let request = Request::post("/v1/chat/completions").header(AUTHORIZATION, credential);
            answer(request.body(Full::new(Bytes::from_static(b"{}"))).unwrap(), Rc::clone(&bare))
        };

        assert_eq!(asked("Bearer other").await.unwrap().status(), StatusCode::UNAUTHORIZED);
        assert!(asked("Bearer cw_key").await.is_err());
    }
}
