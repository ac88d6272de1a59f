//! What is said to a head that could not be read, and to nothing else.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::Instant;

use super::super::Unreadable;
use super::{ListenSettings, ServeError, World, exchange, read_to_end, read_until};

const MALFORMED: &str = "GET / HTTP/1.1\r\nhost : gateway.example\r\n\r\n";

fn with_fields(count: usize) -> String {
    let fields: String = (0..count).map(|number| format!("field-{number}: x\r\n")).collect();
    format!("GET / HTTP/1.1\r\n{fields}\r\n")
}

fn with_a_field_of(bytes: usize) -> String {
    format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "x".repeat(bytes))
}

fn too_large() -> Unreadable {
    let ListenSettings { max_header_bytes: bytes, max_headers: fields, .. } = ListenSettings::default();
    Unreadable::TooLarge { bytes, fields }
}

/// Whether `answer` is the whole answer that says so.
fn says(answer: &str, unreadable: &Unreadable) -> bool {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return false };
    let words = format!("{unreadable}\n");
    let fields = [
        "\r\ncontent-type: text/plain; charset=utf-8",
        &format!("\r\ncontent-length: {}", words.len()),
        "\r\nconnection: close",
        "\r\ndate: ",
    ];
    head.starts_with(&format!("HTTP/1.1 {}\r\n", unreadable.status()))
        && fields.iter().all(|field| head.matches(field).count() == 1)
        && body == words
}

/// Writes and reads at once, as whoever does not wait for the last byte to be taken.
async fn both_ways<I: AsyncRead + AsyncWrite + Unpin>(io: &mut I, text: &str) -> (std::io::Result<()>, String) {
    let (mut reading, mut writing) = tokio::io::split(io);
    tokio::join!(writing.write_all(text.as_bytes()), read_to_end(&mut reading))
}

#[tokio::test]
async fn a_head_that_is_too_large_or_malformed_is_answered_in_words() {
    let world = World::plain();
    for (head, why) in [
        (with_fields(101), too_large()),
        (with_a_field_of(70_000), too_large()),
        (MALFORMED.to_owned(), Unreadable::Malformed),
        ("hello\r\n\r\n".to_owned(), Unreadable::Malformed),
        ("POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_owned(), Unreadable::Malformed),
    ] {
        let (mut io, served) = world.connect();

        let (sent, answer) = both_ways(&mut io, &head).await;
        drop(io);

        assert!(sent.is_ok() && says(&answer, &why), "{why:?}: {sent:?} {answer}");
        assert!(matches!(served.await.unwrap(), Err(ServeError::Http(_))));
    }
    let bounds = too_large().to_string();
    assert!(bounds.contains("65536 bytes") && bounds.contains("100 fields"), "{bounds}");
}

#[tokio::test]
async fn it_arrives_whole_however_little_is_taken_at_once() {
    let world = World::plain();
    for room in [1, 7, 100] {
        let (mut io, far) = tokio::io::duplex(room);
        let _served = world.serve(far, "192.0.2.9:50000");

        let (sent, answer) = both_ways(&mut io, MALFORMED).await;

        assert!(sent.is_ok() && says(&answer, &Unreadable::Malformed), "{room}: {answer}");
    }
}

#[tokio::test]
async fn it_comes_behind_the_answers_that_are_owed() {
    let world = World::plain();
    let (mut io, _served) = world.connect();
    let hello = "GET / HTTP/1.1\r\nhost: gateway.example\r\n\r\n";

    let answer = exchange(&mut io, &[hello, hello, MALFORMED].concat()).await;

    let parts: Vec<&str> = answer.split("hello").collect();
    assert_eq!(parts.len(), 3, "{answer}");
    assert!(parts[..2].iter().all(|part| part.starts_with("HTTP/1.1 200 OK\r\n")), "{answer}");
    assert!(says(parts[2], &Unreadable::Malformed), "{answer}");
}

/// It is as empty as what hyper says of itself, and written when nothing is in flight any more.
#[tokio::test]
async fn a_handlers_own_400_stays_as_it_is() {
    let world = World::plain();
    let request = "POST /echo HTTP/1.1\r\ncontent-encoding: none-such\r\ncontent-length: 0\r\n\r\n";
    for room in [7, 64 << 10] {
        let (mut io, far) = tokio::io::duplex(room);
        let _served = world.serve(far, "192.0.2.9:50000");

        io.write_all(request.as_bytes()).await.unwrap();
        let first = read_until(&mut io, "\r\n\r\n").await;
        io.write_all(request.as_bytes()).await.unwrap();
        let second = read_until(&mut io, "\r\n\r\n").await;
        let (_, last) = both_ways(&mut io, MALFORMED).await;

        for answer in [first, second] {
            assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("\r\ncontent-length: 0\r\n"), "{answer}");
        }
        assert!(says(&last, &Unreadable::Malformed), "{last}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_stays_after_it_is_left_after_a_second() {
    let world = World::plain();
    let (mut io, served) = world.connect();
    let began = Instant::now();

    let answer = exchange(&mut io, MALFORMED).await;
    assert!(served.await.unwrap().is_err());

    assert!(says(&answer, &Unreadable::Malformed), "{answer}");
    assert_eq!(began.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn of_what_goes_on_coming_after_it_a_mebibyte_is_read() {
    let world = World::plain();
    let sent = async |bytes: usize| {
        let (mut io, served) = world.connect();
        let answer = both_ways(&mut io, &[MALFORMED, &"x".repeat(bytes)].concat()).await;
        (answer, io, served)
    };

    let ((taken, answer), io, served) = sent((1 << 20) - 1).await;
    assert!(taken.is_ok() && says(&answer, &Unreadable::Malformed), "{taken:?} {answer}");
    assert!(!served.is_finished());
    drop(io);
    let ((cut, answer), ..) = sent(2 << 20).await;
    assert!(cut.is_err() && says(&answer, &Unreadable::Malformed), "{answer}");
}
