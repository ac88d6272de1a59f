//! A connection that is asked only when it was woken: no wake is missing, and none is for nothing.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::unconstrained;

use super::super::serve;
use super::{ServeError, World, read_until};

/// How often it was woken since it was looked at.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Woken {
    fn take(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }
}

/// A connection, and who drives it.
struct Driven<F> {
    connection: Pin<Box<F>>,
    woken: Arc<Woken>,
}

impl<F: Future<Output = Result<(), ServeError>>> Driven<F> {
    fn new(connection: F) -> Self {
        let woken = Arc::<Woken>::default();
        woken.0.store(1, Ordering::Relaxed);
        Self { connection: Box::pin(connection), woken }
    }

    /// Asks it while it was woken; how often that was, and whether it has ended.
    fn run(&mut self) -> (usize, bool) {
        let waker = Waker::from(Arc::clone(&self.woken));
        let mut asked = 0;
        while self.woken.take() > 0 {
            asked += 1;
            if let Poll::Ready(ended) = self.connection.as_mut().poll(&mut Context::from_waker(&waker)) {
                ended.unwrap();
                return (asked, true);
            }
        }
        (asked, false)
    }
}

/// A connection that was asked as often as it was woken by itself, and its peer.
fn connected(world: &World) -> (DuplexStream, Driven<impl Future<Output = Result<(), ServeError>>>) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let sender = "192.0.2.9:50000".parse().unwrap();
    let mut driven = Driven::new(serve(far, sender, &world.door, Arc::clone(&world.answers), world.drain.clone()));
    driven.run();
    (near, driven)
}

/// What comes of it without waiting.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}

const DECLARED: &str = "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 26\r\n\r\nabcdefghijklmnopqrstuvwxyz";
const CHUNKED: &str = "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
    5\r\nabcde\r\n14\r\nfghijklmnopqrstuvwxy\r\n1\r\nz\r\n0\r\n\r\n";

#[tokio::test]
async fn a_request_that_came_whole_is_answered_in_the_turn_that_reads_it_and_there_is_no_other() {
    let world = World::plain();
    let (mut io, mut driven) = connected(&world);

    for request in [DECLARED, "GET / HTTP/1.1\r\nhost: a\r\n\r\n"] {
        io.write_all(request.as_bytes()).await.unwrap();

        assert_eq!(driven.run(), (1, false), "{request}");
        let mut answer = [0; 1024];
        let length = io.read(&mut answer).await.unwrap();
        assert!(answer[..length].starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
}

#[tokio::test]
async fn wherever_a_request_is_cut_its_wakes_alone_bring_the_answer() {
    // Nothing here goes back to the runtime, which would give it a new budget.
    unconstrained(cut_everywhere()).await;
}

async fn cut_everywhere() {
    for request in [DECLARED, CHUNKED] {
        for cut in 0..request.len() {
            let world = World::plain();
            let (mut io, mut driven) = connected(&world);

            for piece in <[&str; 2]>::from(request.split_at(cut)) {
                io.write_all(piece.as_bytes()).await.unwrap();
                assert!(!driven.run().1);
            }

            let answer = at_once(read_until(&mut io, "abcdefghijklmnopqrstuvwxyz"));
            let answer = answer.unwrap_or_else(|| panic!("cut at {cut}: no answer to {request:?}"));
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "cut at {cut}: {answer}");
            drop(io);
            assert!(driven.run().1, "cut at {cut}: it was not told that its peer has gone");
        }
    }
}
