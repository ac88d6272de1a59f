use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::header::{HeaderName, HeaderValue};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex};

use super::*;

fn request(method: Method, parts: &[&'static str]) -> Request<UpstreamBody> {
    let body = UpstreamBody::new(parts.iter().map(|part| Bytes::from_static(part.as_bytes())).collect());
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = "/v1/chat/completions?api-version=1".parse().unwrap();
    request.headers_mut().insert("host", HeaderValue::from_static("gpu-1"));
    request
}

fn post() -> Request<UpstreamBody> {
    request(Method::POST, &["{", "}"])
}

fn connected() -> (Connection<DuplexStream>, DuplexStream) {
    let (client, server) = duplex(1 << 16);
    (Connection::new(client, false), server)
}

/// What came of a reply: its status and body, and whether the connection may be used again.
type Read = Result<(u16, String, bool), Fault>;

async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
    asked: &Request<UpstreamBody>,
) -> Read {
    connection.ask(asked);
    let (status, _) = poll_fn(|context| connection.poll_head(context)).await?;
    let mut body = Vec::new();
    while let Some(piece) = poll_fn(|context| connection.poll_body(context)).await {
        body.extend_from_slice(&piece?);
    }
    Ok((status.as_u16(), String::from_utf8(body).unwrap(), connection.is_ready()))
}

/// What is read of a server that says this, in these pieces, and then closes if `ends`.
async fn read(pieces: &[&[u8]], ends: bool) -> Read {
    let (mut connection, mut server) = connected();
    let said: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
    let talk = async move {
        for piece in said {
            server.write_all(&piece).await.unwrap();
            // The reader gets to see this piece by itself.
            tokio::task::yield_now().await;
        }
        (!ends).then_some(server)
    };
    let asked = post();
    let (read, _server) = tokio::join!(exchange(&mut connection, &asked), talk);
    // By now all of it has come.
    read.map(|(status, body, _)| (status, body, connection.is_ready()))
}

fn shown(read: &Read) -> String {
    match read {
        Ok((status, body, again)) => format!("{status} {body:?} {}", if *again { "again" } else { "closed" }),
        Err(fault) => format!("{fault:?}"),
    }
}

const REPLIES: [(&str, bool, &str); 27] = [
    ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", false, r#"200 "hi" again"#),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\ncontent-length: 2\r\n\r\nhi", false, r#"200 "hi" again"#),
    ("HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n", false, r#"200 "" again"#),
    ("\r\nHTTP/1.1 200 OK\ncontent-length: 2\n\nhi", false, r#"200 "hi" again"#),
    ("HTTP/1.1 204 No Content\r\n\r\n", false, r#"204 "" again"#),
    ("HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", false, r#"304 "" again"#),
    ("HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n", false, r#"204 "" again"#),
    // A body that may come later, where none can be.
    ("HTTP/1.1 204 No Content\r\ncontent-length: 9\r\n\r\n", false, r#"204 "" closed"#),
    ("HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n", false, r#"304 "" closed"#),
    (
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        false,
        r#"200 "hi" again"#,
    ),
    ("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", false, "Unasked"),
    (
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0A;x=\"y\"\r\n, you there\r\n0\r\n\r\n",
        false,
        r#"200 "hi, you ther" broken"#,
    ),
    (
        "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n2\r\nhi\r\n0B ;x=\"y\"\r\n, you there\r\n0\r\nx: y\r\n\r\n",
        false,
        r#"200 "hi, you there" again"#,
    ),
    ("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi", false, r#"200 "hi" closed"#),
    ("HTTP/1.1 200 OK\r\nconnection: keep-alive, Close\r\ncontent-length: 2\r\n\r\nhi", false, r#"200 "hi" closed"#),
    ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", false, r#"200 "hi" closed"#),
    ("HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\ncontent-length: 2\r\n\r\nhi", false, r#"200 "hi" again"#),
    ("HTTP/1.1 200 OK\r\n\r\nhi", true, r#"200 "hi" closed"#),
    // Two that could be taken for one, or one for two.
    ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n\r\n", false, r#"200 "hi" closed"#),
    (
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 9\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        false,
        r#"200 "hi" closed"#,
    ),
    ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nhi", false, "Length"),
    ("HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nhi", false, "Length"),
    ("HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551616\r\n\r\nhi", false, "Length"),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", false, "TransferEncoding"),
    (
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        false,
        "TransferEncoding",
    ),
    ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", false, "TransferEncoding"),
    ("SSH-2.0-OpenSSH_9.2\r\n\r\n", false, "Head(Version)"),
];

#[tokio::test]
async fn replies_are_read_as_they_are_meant() {
    for (reply, ends, expected) in REPLIES {
        let seen = read(&[reply.as_bytes()], ends).await;
        if expected.ends_with("broken") {
            assert!(matches!(seen, Err(Fault::Chunk(_))), "{reply:?}: {}", shown(&seen));
        } else {
            assert_eq!(shown(&seen), expected, "{reply:?}");
        }
    }
}

#[tokio::test]
async fn a_reply_means_the_same_however_it_is_cut() {
    for (reply, ends, _) in REPLIES {
        let reply = reply.as_bytes();
        let whole = shown(&read(&[reply], ends).await);
        for at in 1..reply.len() {
            let (left, right) = reply.split_at(at);
            assert_eq!(
                shown(&read(&[left, right], ends).await),
                whole,
                "{:?} | {:?}",
                left.escape_ascii(),
                right.escape_ascii()
            );
        }
        let single: Vec<&[u8]> = reply.chunks(1).collect();
        assert_eq!(shown(&read(&single, ends).await), whole);
    }
}

/// A read between two cuts may be one piece and nothing else, or look like it.
#[tokio::test]
async fn chunks_mean_the_same_between_any_two_cuts() {
    for (reply, ends, _) in
        REPLIES.iter().filter(|(reply, ..)| reply.to_ascii_lowercase().contains(": chunked\r\n\r\n2"))
    {
        let reply = reply.as_bytes();
        let whole = shown(&read(&[reply], *ends).await);
        for to in 2..reply.len() {
            for from in 1..to {
                let pieces = [&reply[..from], &reply[from..to], &reply[to..]];
                let seen = shown(&read(&pieces, *ends).await);
                assert_eq!(seen, whole, "{from} and {to} of {:?}", reply.escape_ascii());
            }
        }
    }
}

#[test]
fn a_read_that_is_one_chunk_is_told_from_all_others() {
    for (read, data) in [
        ("5\r\nhello\r\n", Some("hello")),
        ("05 ;x=y\r\nhello\r\n", Some("hello")),
        ("7\r\nhel\r\nlo\r\n", Some("hel\r\nlo")),
        ("5\r\nhello\r\n0\r\n\r\n", None),
        ("5\r\nhello\r", None),
        ("4\r\nhello\r\n", None),
        ("6\r\nhello\r\n", None),
        ("5\nhello\r\n", None),
        ("5 x\r\nhello\r\n", None),
        ("\r\n\r\n", None),
        ("", None),
    ] {
        let seen = chunked::lone(read.as_bytes());
        assert_eq!(seen, data.map(str::as_bytes), "{read:?}");
    }
}

#[tokio::test]
async fn a_reply_that_is_cut_short_is_never_whole() {
    for (reply, _, expected) in REPLIES {
        let is_read = expected.ends_with("again");
        for at in (0..reply.len()).filter(|_| is_read) {
            let seen = read(&[&reply.as_bytes()[..at]], true).await;
            assert!(matches!(seen, Err(Fault::Closed | Fault::CutShort)), "{reply:?} at {at}: {}", shown(&seen));
        }
    }
}

#[tokio::test]
async fn a_head_has_bounds() {
    let head = |filling: usize| format!("HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n", "y".repeat(filling));
    let around = head(0).len();
    let many = |headers: usize| format!("HTTP/1.1 204 No\r\n{}\r\n", "x: y\r\n".repeat(headers));

    assert!(read(&[head(head::MOST_HEAD - around).as_bytes()], false).await.is_ok());
    let beyond = read(&[head(head::MOST_HEAD - around + 1).as_bytes()], false).await;
    assert!(matches!(beyond, Err(Fault::HeadTooLarge)), "{}", shown(&beyond));
    let endless = read(&[b"HTTP/1.1 200 OK\r\nx: ", "y".repeat(head::MOST_HEAD).as_bytes()], false).await;
    assert!(matches!(endless, Err(Fault::HeadTooLarge)), "{}", shown(&endless));
    assert!(read(&[many(head::MOST_HEADERS).as_bytes()], false).await.is_ok());
    assert!(matches!(read(&[many(head::MOST_HEADERS + 1).as_bytes()], false).await, Err(Fault::Head(_))));
}

#[tokio::test]
async fn the_lines_of_a_chunked_body_have_bounds() {
    let reply = |size: &str, trailers: &str| {
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{size}\r\nhi\r\n0\r\n{trailers}\r\n")
    };
    let ok = |reply: String| async move { read(&[reply.as_bytes()], false).await.is_ok() };
    let extension = |length: usize| format!("2;{}", "x".repeat(length - 2));
    let trailers = |length: usize| format!("x: {}\r\n", "y".repeat(length - 5));

    // The line end counts from its first byte.
    assert!(ok(reply(&extension(4095), "")).await);
    assert!(!ok(reply(&extension(4096), "")).await);
    // The empty line that ends them counts from its first byte as well.
    assert!(ok(reply("2", &trailers((16 << 10) - 1))).await);
    for beyond in [16 << 10, (16 << 10) + 1, (16 << 10) + 2] {
        assert!(!ok(reply("2", &trailers(beyond))).await);
        assert!(!ok(reply("2", &[trailers(100), trailers(beyond - 100)].concat())).await);
    }
    assert!(ok(reply("0000000000000002", "")).await);
    for size in ["00000000000000002", "", "2\r", "2;x\ry", "2 \r", "2x", "-2", "0x2", " 2", "2\n", "3", "1"] {
        assert!(!ok(reply(size, "")).await, "{size:?}");
    }
}

#[tokio::test]
async fn a_request_leaves_with_one_length_and_nothing_of_another_framing() {
    let (mut connection, mut server) = connected();
    let mut asked = post();
    for (name, value) in [("content-length", "9"), ("transfer-encoding", "chunked"), ("x-key", "\u{e9}")] {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        asked.headers_mut().insert(HeaderName::from_static(name), value);
    }
    connection.ask(&asked);
    assert!(poll_fn(|context| Poll::Ready(connection.poll_head(context).is_pending())).await);
    drop(connection);

    let mut written = String::new();
    server.read_to_string(&mut written).await.unwrap();
    assert_eq!(
        written,
        "POST /v1/chat/completions?api-version=1 HTTP/1.1\r\nhost: gpu-1\r\nx-key: \u{e9}\r\ncontent-length: 2\r\n\r\n{}"
    );
}

#[tokio::test]
async fn a_request_without_a_body_says_so_where_one_is_expected() {
    for (method, expected) in [(Method::POST, true), (Method::GET, false), (Method::HEAD, false)] {
        let (mut connection, mut server) = connected();
        connection.ask(&request(method.clone(), &[]));
        assert!(poll_fn(|context| Poll::Ready(connection.poll_head(context).is_pending())).await);
        drop(connection);

        let mut written = String::new();
        server.read_to_string(&mut written).await.unwrap();
        assert_eq!(written.contains("content-length: 0\r\n"), expected, "{method}");
    }
}

#[tokio::test]
async fn a_reply_to_head_has_no_body_whatever_it_says() {
    let (mut connection, mut server) = connected();
    server.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").await.unwrap();
    // It was not silent before it was asked, so it would be closed: the reply comes behind the question.
    let mut early = [0; 38];
    drop(
        poll_fn(|context| Poll::Ready(Pin::new(&mut connection.io).poll_read(context, &mut ReadBuf::new(&mut early))))
            .await,
    );

    let asked = request(Method::HEAD, &[]);
    let (read, ()) = tokio::join!(exchange(&mut connection, &asked), async {
        server.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n").await.unwrap();
    });
    assert_eq!(shown(&read), r#"200 "" again"#);
}

#[tokio::test]
async fn a_connection_is_used_again_and_its_bytes_are_not_mixed() {
    let (mut connection, mut server) = connected();
    for word in ["one", "two", "three"] {
        let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{word}", word.len());
        let asked = post();
        let (read, ()) = tokio::join!(exchange(&mut connection, &asked), async {
            let mut heard = vec![0; 512];
            assert!(server.read(&mut heard).await.unwrap() > 0);
            server.write_all(reply.as_bytes()).await.unwrap();
        });
        assert_eq!(shown(&read), format!("200 {word:?} again"));
    }
}

#[tokio::test]
async fn a_connection_that_speaks_unasked_takes_no_request() {
    let (mut connection, mut server) = connected();
    assert!(connection.is_ready());
    server.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();

    assert!(!connection.is_ready());
    assert!(matches!(exchange(&mut connection, &post()).await, Err(Fault::Closed)));
    assert!(connection.is_untouched());
}

/// A reply may come before the request has left: a server that will not read it says so and closes.
#[tokio::test]
async fn a_reply_is_read_while_the_request_still_waits_to_be_written_and_ends_the_connection() {
    let (client, mut server) = duplex(64);
    let mut connection = Connection::new(client, false);
    let asked = request(Method::POST, &["0123456789"; 32]);
    let (read, ()) = tokio::join!(exchange(&mut connection, &asked), async {
        server.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno").await.unwrap();
    });

    assert_eq!(shown(&read), r#"413 "no" closed"#);
    assert!(!connection.is_untouched());
}

/// Takes a few bytes at a time and remembers them, and fails where it is told to.
#[derive(Clone, Default)]
struct Narrow {
    taken: Arc<Mutex<Vec<u8>>>,
    writes: Arc<AtomicUsize>,
    at_once: usize,
    fails_at: Option<usize>,
    says: &'static [u8],
}

impl AsyncRead for Narrow {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // It says nothing before it was asked.
        if self.taken.lock().is_empty() || self.says.is_empty() {
            return Poll::Pending;
        }
        buffer.put_slice(std::mem::take(&mut self.says));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Narrow {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut taken = self.taken.lock();
        self.writes.fetch_add(1, Ordering::Relaxed);
        if self.fails_at.is_some_and(|at| taken.len() >= at) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let here = bytes.len().min(self.at_once);
        taken.extend_from_slice(&bytes[..here]);
        Poll::Ready(Ok(here))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

const MANY_PARTS: [&str; 19] =
    ["one", "", "two", "three", "x", "y", "z", "x", "y", "z", "x", "y", "z", "x", "y", "z", "x", "y", "z"];

#[tokio::test]
async fn head_and_parts_leave_in_order_however_little_goes_at_once() {
    let long = vec![b'l'; TOGETHER].leak();
    let long: &'static str = std::str::from_utf8(long).unwrap();
    // The head and what is put together with it, that and parts by themselves, and a head and nothing but parts.
    for before in [&[][..], &["a", long], &[long]] {
        let asked = request(Method::POST, &[before, &MANY_PARTS].concat());
        let whole = Narrow { at_once: usize::MAX, says: OK, ..Narrow::default() };
        assert!(exchange(&mut Connection::new(whole.clone(), false), &asked).await.is_ok());

        for at_once in (1..40).chain([TOGETHER - 1, TOGETHER, TOGETHER + 1]) {
            let narrow = Narrow { at_once, says: OK, ..Narrow::default() };
            let read = exchange(&mut Connection::new(narrow.clone(), false), &asked).await;
            assert_eq!(shown(&read), r#"200 "hi" again"#);
            assert_eq!(*narrow.taken.lock(), *whole.taken.lock());
        }
        let body = [before, &MANY_PARTS].concat().concat();
        assert!(whole.taken.lock().ends_with(format!("\r\n\r\n{body}").as_bytes()));
    }
}

#[tokio::test]
async fn head_and_body_leave_as_one_piece_up_to_a_size() {
    let writes = |body: usize| async move {
        let body: &'static str = std::str::from_utf8(vec![b'a'; body].leak()).unwrap();
        let narrow = Narrow { at_once: usize::MAX, says: OK, ..Narrow::default() };
        exchange(&mut Connection::new(narrow.clone(), false), &request(Method::POST, &[body])).await.unwrap();
        let taken = narrow.taken.lock().len();
        (narrow.writes.load(Ordering::Relaxed), taken, taken - body.len())
    };
    let (_, _, head) = writes(1_000).await;

    let (most, one_more) = (TOGETHER - head, TOGETHER - head + 1);
    // `Narrow` takes the first of several pieces, and is asked again for the next.
    assert_eq!((writes(most).await, writes(one_more).await), ((1, TOGETHER, head), (2, TOGETHER + 1, head)));
}

#[tokio::test]
async fn what_fails_before_its_first_byte_may_be_sent_elsewhere_and_nothing_later() {
    for (fails_at, untouched) in [(0, true), (1, false), (40, false)] {
        let narrow = Narrow { at_once: 1, fails_at: Some(fails_at), ..Narrow::default() };
        let mut connection = Connection::new(narrow, false);
        connection.ask(&post());
        let polled = poll_fn(|context| Poll::Ready(connection.poll_head(context))).await;
        assert_eq!(connection.is_untouched(), untouched, "{fails_at}");
        // Where something has left, the server may still answer, or close.
        assert_eq!(matches!(polled, Poll::Ready(Err(Fault::Io(_)))), untouched);
    }
}

/// TLS hands on what it was given piece by piece, and says nothing of what has left when a later piece does not go.
#[tokio::test]
async fn of_what_fails_within_tls_something_may_have_left() {
    let narrow = Narrow { at_once: 1, fails_at: Some(0), ..Narrow::default() };
    let mut connection = Connection::new(narrow, true);
    connection.ask(&post());

    drop(poll_fn(|context| Poll::Ready(connection.poll_head(context))).await);

    assert!(!connection.is_untouched());
}

#[tokio::test]
async fn a_server_that_answers_and_does_not_read_on_is_heard() {
    let narrow = Narrow { at_once: 1, fails_at: Some(9), says: OK, ..Narrow::default() };
    let mut connection = Connection::new(narrow, false);

    assert_eq!(shown(&exchange(&mut connection, &post()).await), r#"200 "hi" closed"#);
}

#[tokio::test]
async fn a_long_reply_is_read_in_larger_and_larger_pieces_and_the_room_is_given_back() {
    let (client, mut server) = duplex(1 << 20);
    let mut connection = Connection::new(client, false);
    let body = "x".repeat(1 << 20);
    let asked = post();
    let (read, ()) = tokio::join!(exchange(&mut connection, &asked), async {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        server.write_all(head.as_bytes()).await.unwrap();
        server.write_all(body.as_bytes()).await.unwrap();
    });

    assert_eq!(read.unwrap(), (200, body, true));
    assert_eq!((connection.room, connection.input.capacity() <= LEAST_ROOM), (LEAST_ROOM, true));
}

/// The same replies through hyper's client, wherever it has an opinion on them that is no matter of strictness.
#[tokio::test]
async fn replies_mean_what_they_mean_to_another_client() {
    for (reply, ends, expected) in REPLIES.into_iter().filter(|(_, _, expected)| expected.starts_with("20")) {
        let (client, mut server) = duplex(1 << 16);
        let handshake = hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(client)).await;
        let (mut sender, connection) = handshake.unwrap();
        let driver = tokio::spawn(connection);
        let answer = sender.send_request(post());
        let talk = async {
            let mut heard = vec![0; 512];
            assert!(server.read(&mut heard).await.unwrap() > 0);
            server.write_all(reply.as_bytes()).await.unwrap();
            if ends {
                server.shutdown().await.unwrap();
            }
        };
        let (answer, ()) = tokio::join!(answer, talk);
        let read = async {
            let (head, body) = answer.ok()?.into_parts();
            let body = http_body_util::BodyExt::collect(body).await.ok()?.to_bytes();
            Some(format!("{} {:?}", head.status.as_u16(), String::from_utf8_lossy(&body)))
        };
        match read.await {
            Some(theirs) => assert!(expected.starts_with(&theirs), "{reply:?}: {theirs}"),
            None => assert!(expected.ends_with("broken"), "{reply:?}"),
        }
        driver.abort();
    }
}
