//! What is sent again although it may have been executed, counted on a clock that stands still: the budget depends on time, and
//! no machine is quick enough to make that nothing.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{World, all, openai, read_until};

const CALL: &str = r#"{"model":"both","messages":[],"max_tokens":9}"#;
const ANSWER: &str = r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#;

/// From now on time passes only where the test says so: while this is held, waiting for a socket is no reason to go on to the
/// next timer.
fn stand_still() -> mpsc::Sender<()> {
    let (held, over) = mpsc::channel();
    tokio::time::pause();
    tokio::task::spawn_blocking(move || over.recv());
    held
}

/// Answers every request, the first with `even`, the second with 200, and so on; gives how many came.
fn answer(listener: TcpListener, even: u16) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_until(&mut stream, "\"max_tokens\":9}").await;
            let number = counted.fetch_add(1, Ordering::SeqCst);
            let status = if number.is_multiple_of(2) { even } else { 200 };
            let head = format!("HTTP/1.1 {status} Said\r\nconnection: close\r\ncontent-type: application/json");
            let reply = format!("{head}\r\ncontent-length: {}\r\n\r\n{ANSWER}", ANSWER.len());
            stream.write_all(reply.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            // Until the gateway has closed as well, which leaves no socket to wait for.
            let _ = stream.read(&mut [0]).await;
        }
    });
    count
}

/// Asks so often, and gives how many callers met the error.
async fn met(world: &World, calls: usize, status: u16) -> usize {
    let mut met = 0;
    for _ in 0..calls {
        let answer = all(world.ask("/v1/chat/completions", CALL).await).await;
        let is_error = answer.starts_with(&format!("HTTP/1.1 {status} "));
        assert!(is_error || answer.starts_with("HTTP/1.1 200 "), "{answer}");
        met += usize::from(is_error);
    }
    met
}

/// Of a first target that answers every other call with this status, after so many calls and again after ten seconds more.
async fn sent_again(status: u16, calls: usize) -> [(usize, usize); 2] {
    let mut world = World::new("openai", openai()).await;
    let blank = || TcpListener::bind("127.0.0.1:0");
    let first = std::mem::replace(&mut world.upstream, blank().await.unwrap());
    let second = std::mem::replace(&mut world.second, blank().await.unwrap());
    let _held = stand_still();
    answer(first, status);
    let second = answer(second, 200);

    let before = (met(&world, calls, status).await, second.load(Ordering::SeqCst));
    tokio::time::advance(Duration::from_secs(11)).await;
    let after = (met(&world, 2, status).await, second.load(Ordering::SeqCst) - before.1);

    let denied = world.gateway.metrics.render();
    assert!(denied.contains(&format!("causeway_retries_denied_total {}", before.0 + after.0)), "{denied}");
    [before, after]
}

#[tokio::test]
async fn one_call_in_five_may_be_sent_again_and_a_hundred_more_in_ten_seconds() {
    // The last of 600 that fails is the 599th: a fifth of those and the hundred are 219.
    assert_eq!(sent_again(500, 600).await, [(300 - 219, 219), (0, 1)]);
}

#[tokio::test]
async fn what_was_turned_away_is_sent_on_however_often() {
    assert_eq!(sent_again(503, 600).await, [(0, 300), (0, 1)]);
}
