//! What must hold for any bytes that a server says, as a plain function: the seeded property test calls it, and so can a fuzzer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Method, Request};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Connection;
use crate::body::UpstreamBody;

/// A server that has heard a request and says these bytes, so many at once, and then closes.
struct Told<'a> {
    left: &'a [u8],
    at_once: usize,
    heard: bool,
    given: usize,
}

impl AsyncRead for Told<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.heard {
            return Poll::Pending;
        }
        let here = self.at_once.min(self.left.len()).min(buffer.remaining());
        let (piece, rest) = self.left.split_at(here);
        buffer.put_slice(piece);
        self.left = rest;
        self.given += here;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Told<'_> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.heard = true;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What was read: the status, the body, and how much of what was said had been read when it ended.
type Read = Option<(u16, Vec<u8>)>;

fn read(bytes: &[u8], at_once: usize, method: Method) -> Read {
    let context = &mut Context::from_waker(Waker::noop());
    let mut connection = Connection::new(Told { left: bytes, at_once, heard: false, given: 0 }, false);
    let mut request = Request::new(UpstreamBody::new(vec![Bytes::from_static(b"{}")]));
    *request.method_mut() = method;
    connection.ask(&request);
    let Poll::Ready(head) = connection.poll_head(context) else {
        unreachable!("a server that closes is waited for no longer")
    };
    let (status, _) = head.ok()?;
    let mut body = Vec::new();
    loop {
        match connection.poll_body(context) {
            Poll::Ready(Some(Ok(piece))) => {
                assert!(!piece.is_empty(), "a piece holds something");
                body.extend_from_slice(&piece);
            }
            Poll::Ready(Some(Err(_))) => return None,
            Poll::Ready(None) => break,
            Poll::Pending => unreachable!("a server that closes is waited for no longer"),
        }
    }
    assert!(body.len() < bytes.len(), "nothing comes that was not said");
    assert!(connection.is_over());
    if connection.may_be_kept() {
        let of_others = bytes.len() - connection.io.given;
        assert!(connection.input.is_empty(), "what is kept owes nothing");
        assert!(of_others == 0 || !connection.is_ready(), "whoever says more than was asked is not asked again");
    }
    Some((status.as_u16(), body))
}

/// A reply means the same however it is cut, holds nothing that was not said, and leaves no byte for the next one.
///
/// # Panics
///
/// When that does not hold.
pub fn reply(bytes: &[u8]) {
    for method in [Method::POST, Method::HEAD] {
        let whole = read(bytes, usize::MAX, method.clone());
        for at_once in [1, 2, 3, 7] {
            assert_eq!(read(bytes, at_once, method.clone()), whole, "{at_once} bytes at once");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEDS: [&str; 5] = [
        "HTTP/1.1 200 OK\r\ncontent-length: 12\r\nconnection: keep-alive\r\n\r\nHTTP/1.1 200",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0a;x=y\r\n0123456789\r\n2\r\n\r\n\r\n0\r\nx: y\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\n\r\nto the end",
        "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    ];
    const WORDS: [&str; 12] = [
        "\r\n",
        "\n",
        "\r",
        "0",
        "f",
        ";",
        ",",
        "content-length: 3\r\n",
        "transfer-encoding: chunked\r\n",
        "HTTP/1.1 ",
        "\r\n\r\n",
        " ",
    ];

    /// Seeds with words put in, bytes taken out and bytes changed.
    fn mangled(mut seed: u64) -> Vec<u8> {
        let mut dice = move |sides: usize| {
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut bits = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            usize::try_from((bits ^ (bits >> 31)) % sides as u64).expect("it is below a usize")
        };
        let mut bytes = SEEDS[dice(SEEDS.len())].as_bytes().to_vec();
        for _ in 0..dice(4) {
            if bytes.is_empty() {
                break;
            }
            let at = dice(bytes.len());
            match dice(4) {
                0 => bytes.truncate(at.max(1)),
                1 => bytes[at] = u8::try_from(dice(256)).expect("it is a byte"),
                2 => drop(bytes.remove(at)),
                _ => drop(bytes.splice(at..at, WORDS[dice(WORDS.len())].bytes())),
            }
        }
        bytes
    }

    #[test]
    fn whatever_a_server_says_a_reply_is_one_reply() {
        for seed in 0..20_000 {
            let bytes = mangled(seed);
            let run = std::panic::catch_unwind(|| reply(&bytes));
            assert!(run.is_ok(), "{seed}: {}", bytes.escape_ascii());
        }
    }

    #[test]
    fn some_of_what_is_tried_is_read() {
        let read = (0..2_000).filter(|seed| read(&mangled(*seed), usize::MAX, Method::POST).is_some()).count();

        assert!((200..1_900).contains(&read), "{read}");
    }
}
