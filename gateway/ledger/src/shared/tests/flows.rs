//! The script of a flow in a real Valkey or Redis, over connections that break.

use std::io;
use std::path::PathBuf;
use std::task::{Context, Poll, ready};

use accounting::Question;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

use super::super::resp::{Link, Reply};
use super::levels::{Server, connected};
use super::*;

/// What is given back, and how it is written to the store.
const BACK: i64 = -20;
const BACK_WRITTEN: &[u8] = b"$3\r\n-20\r\n";

/// A connection that ends when the store answers the first question that gives something back: it was carried out, and nobody
/// hears of it.
struct Breaks {
    stream: UnixStream,
    /// How often something was given back, over all connections.
    given_back: Arc<AtomicU64>,
    ends: bool,
}

impl AsyncWrite for Breaks {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        assert_eq!(written, bytes.len(), "so little is written whole");
        if bytes.windows(BACK_WRITTEN.len()).any(|window| window == BACK_WRITTEN) {
            self.ends = self.given_back.fetch_add(1, Ordering::AcqRel) == 0;
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for Breaks {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, into))?;
        if self.ends {
            into.set_filled(before);
        }
        Poll::Ready(Ok(()))
    }
}

fn breaks_once(socket: PathBuf, given_back: &Arc<AtomicU64>) -> Dial {
    let given_back = Arc::clone(given_back);
    Arc::new(move || {
        let (socket, given_back) = (socket.clone(), Arc::clone(&given_back));
        Box::pin(async move {
            let wire: Box<dyn Wire> = Box::new(Breaks { stream: connected(&socket).await, given_back, ends: false });
            Ok(wire)
        })
    })
}

/// What the store counts as used of the flow.
async fn used(link: &mut Link, key: &[u8]) -> f64 {
    let replies = link.ask(&Commands::of(&[b"HGET", key, b"used"])).await.expect("the store answers");
    let [Reply::Bulk(used)] = &replies[..] else { unreachable!("{replies:?}") };
    std::str::from_utf8(used).expect("it is text").parse().expect("it is a number")
}

#[tokio::test]
async fn what_is_given_back_is_given_back_once_where_the_connection_breaks_before_the_answer() {
    let Some(server) = Server::start("a connection that breaks behind a question") else { return };
    let mut link = server.link().await;
    let (key, period) = (&b"test:1:flow:a"[..], Duration::from_secs(10_000_000));
    // Sixty of a hundred are used, and as good as nothing comes back by itself; at a time to come, so that the clock is no matter.
    let full = Commands::of(&[b"HSET", key, b"used", b"60", b"at", b"9000000000000000"]);
    assert_eq!(link.ask(&full).await.expect("the store answers"), [Reply::Integer(2)]);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let shared = Shared::open(folder.path(), folder.path(), settings(OnLoss::Deny)).expect("the folder can be used");
    let given_back = Arc::new(AtomicU64::new(0));
    shared.reach_by(breaks_once(server.socket(), &given_back));
    let counter = Arc::new(Wants::default());
    shared.enrol("a", &counter);
    let keeper = shared.clone();
    let running = tokio::spawn(async move { keeper.run().await });
    while !shared.status().connected {
        let _ = shared.round(shared.latest()).await;
    }

    let before = shared.latest();
    counter.questions.lock().push(Question::Flow { limit: 100, period, owed: BACK, least: 0, most: 0 });
    shared.serve();
    while counter.learned.lock().is_empty() {
        let _ = shared.round(before).await;
    }

    running.abort();
    let used = used(&mut link, key).await;
    assert!((39.0..=40.0).contains(&used), "{used} are used");
    assert_eq!(given_back.load(Ordering::Acquire), 1);
}
