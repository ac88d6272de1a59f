use std::convert::Infallible;
use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http_body_util::{Channel, Full};
use proptest::prelude::*;
use tokio::time::{Instant, advance};

use super::{BodyBudget, BodyError, BodyLimits, Coding, Gathered, ReadBody, SHARE, drain, read};

const LIMIT: usize = 256 * 1024;

fn limits() -> BodyLimits {
    BodyLimits { bytes: LIMIT, ..BodyLimits::default() }
}

fn encoded(encodings: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in encodings {
        headers.append(CONTENT_ENCODING, value.parse().unwrap());
    }
    headers
}

async fn read_whole(bytes: &[u8], encodings: &[&str]) -> Result<ReadBody, BodyError> {
    let body = Full::new(Bytes::copy_from_slice(bytes));
    read(body, &encoded(encodings), &limits(), &BodyBudget::default()).await
}

/// A body without a declared length, as chunked or HTTP/2 bodies are.
async fn read_chunks(chunks: &[&[u8]], budget: &BodyBudget) -> Result<ReadBody, BodyError> {
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(chunks.len().max(1));
    for chunk in chunks {
        let chunk = Bytes::copy_from_slice(chunk);
        sender.send_data(chunk).await.unwrap();
    }
    drop(sender);
    read(body, &HeaderMap::new(), &limits(), budget).await
}

fn fold(coding: &str, bytes: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "deflate" => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "br" => {
            let mut folded = Vec::new();
            brotli::CompressorWriter::new(&mut folded, 4096, 5, 22).write_all(bytes).unwrap();
            folded
        }
        "zstd" => zstd::encode_all(bytes, 3).unwrap(),
        other => panic!("no coding {other}"),
    }
}

const CODINGS: [&str; 4] = ["gzip", "deflate", "br", "zstd"];

/// Text that neither shrinks to nothing nor stays as it is.
fn text(length: usize) -> Vec<u8> {
    let words = (0_u32..).flat_map(|n| format!("{} ", n.wrapping_mul(2_654_435_761)).into_bytes());
    words.take(length).collect()
}

#[tokio::test]
async fn a_body_in_one_piece_is_not_copied() {
    let sent = Bytes::from(text(10_000));
    let address = sent.as_ptr();
    let body = Full::new(sent);

    let received = read(body, &HeaderMap::new(), &limits(), &BodyBudget::default()).await.unwrap();

    assert_eq!(received.bytes().as_ptr(), address);
}

#[tokio::test]
async fn pieces_are_put_together_in_order_and_the_budget_holds_what_they_take() {
    let budget = BodyBudget::default();

    let received = read_chunks(&[b"", b"ab", b"", b"c", b"defg"], &budget).await.unwrap();

    assert_eq!(received.bytes(), "abcdefg");
    assert!(budget.held() >= 7);
    drop(received.into_parts());
    assert_eq!(budget.held(), 0);
}

#[tokio::test]
async fn a_body_may_have_as_many_bytes_as_the_limit_and_not_one_more() {
    let (at, over) = (text(LIMIT), text(LIMIT + 1));
    let budget = BodyBudget::default();
    let too_large = |result: Result<ReadBody, BodyError>| matches!(result, Err(BodyError::TooLarge { limit: LIMIT }));

    assert_eq!(read_whole(&at, &[]).await.unwrap().bytes(), &at);
    assert!(too_large(read_whole(&over, &[]).await));
    let halves: [&[u8]; 2] = [&at[..LIMIT / 2], &at[LIMIT / 2..]];
    assert_eq!(read_chunks(&halves, &budget).await.unwrap().bytes(), &at);
    assert!(too_large(read_chunks(&[&at, b"x"], &budget).await));
    assert!(too_large(read_chunks(&[&over], &budget).await));
    assert_eq!(budget.held(), 0, "a refused body holds nothing");
}

#[tokio::test]
async fn an_unfolded_body_may_have_as_many_bytes_as_the_limit_and_not_one_more() {
    let (at, over) = (text(LIMIT), text(LIMIT + 1));

    for coding in CODINGS {
        let fits = read_whole(&fold(coding, &at), &[coding]).await;
        let too_large = read_whole(&fold(coding, &over), &[coding]).await;

        assert_eq!(fits.unwrap().bytes(), &at, "{coding}");
        assert!(matches!(too_large, Err(BodyError::TooLarge { .. })), "{coding}");
    }
}

#[tokio::test]
async fn a_bomb_is_refused_and_never_holds_more_than_the_limit() {
    let zeros = vec![0; 64 << 20];

    for coding in CODINGS {
        let bomb = fold(coding, &zeros);
        assert!(bomb.len() < LIMIT, "{coding}: {}", bomb.len());
        let body = Full::new(Bytes::from(bomb.clone()));
        let budget = BodyBudget::new(LIMIT + bomb.len());

        let refused = read(body, &encoded(&[coding]), &limits(), &budget).await;

        // Had it asked for more than the limit, the budget would have refused it instead.
        assert!(matches!(refused, Err(BodyError::TooLarge { .. })), "{coding}");
        assert_eq!(budget.held(), 0);
    }
}

#[tokio::test]
async fn a_bomb_within_a_bomb_is_refused() {
    let bomb = fold("gzip", &fold("gzip", &vec![0; 64 << 20]));

    let refused = read_whole(&bomb, &["gzip, gzip"]).await;

    assert!(matches!(refused, Err(BodyError::TooLarge { .. })));
}

#[tokio::test]
async fn codings_are_undone_in_the_reverse_of_their_order() {
    let plain = text(5_000);
    for (outer, inner) in [("br", "gzip"), ("zstd", "deflate"), ("gzip", "br")] {
        let folded = fold(outer, &fold(inner, &plain));
        let list = format!("{inner}, {outer}");

        let in_one_field = read_whole(&folded, &[&list]).await.unwrap();
        let in_two_fields = read_whole(&folded, &[inner, outer]).await.unwrap();
        let wrong_way = read_whole(&folded, &[outer, inner]).await;

        assert_eq!(in_one_field.bytes(), &plain);
        assert_eq!(in_two_fields.bytes(), &plain);
        assert!(matches!(wrong_way, Err(BodyError::BadEncoding { .. })), "{list}");
    }
}

#[tokio::test]
async fn encodings_are_known_by_every_name_and_unknown_ones_are_refused() {
    let folded = fold("gzip", b"text");
    for encodings in [&["x-gzip"][..], &["GZip"], &[" gzip , identity"], &["identity", ",gzip,"]] {
        assert_eq!(read_whole(&folded, encodings).await.unwrap().bytes(), "text");
    }
    assert_eq!(read_whole(b"text", &["identity"]).await.unwrap().bytes(), "text");
    for encodings in [&["compress"][..], &["gzip;q=1"], &["gzip", "br, zstd"], &["gzip,x"]] {
        let refused = read_whole(&folded, encodings).await;
        assert!(matches!(refused, Err(BodyError::UnsupportedEncoding)), "{encodings:?}");
    }
}

#[tokio::test]
async fn a_stream_that_is_cut_spoilt_or_followed_by_anything_is_refused() {
    let plain = text(100_000);
    for coding in CODINGS {
        let whole = fold(coding, &plain);
        let refused = async |bytes: &[u8]| match read_whole(bytes, &[coding]).await {
            Err(BodyError::BadEncoding { coding, .. }) => coding.to_string(),
            Err(other) => panic!("{coding}: {other}"),
            Ok(read) => panic!("{coding}: {} bytes", read.bytes().len()),
        };

        for cut in [0, 1, whole.len() / 2, whole.len() - 1] {
            assert_eq!(refused(&whole[..cut]).await, coding, "cut at {cut}");
        }
        assert_eq!(refused(&plain).await, coding);
        assert_eq!(refused(&[whole.as_slice(), b"x"].concat()).await, coding);
        assert_eq!(refused(&[whole.as_slice(), &whole].concat()).await, coding);
    }
}

#[tokio::test]
async fn a_zstd_stream_that_asks_for_a_huge_window_is_refused() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(b"small").unwrap();
    let folded = encoder.finish().unwrap();

    let refused = read_whole(&folded, &["zstd"]).await;

    let zstd = Coding::Zstd;
    assert!(matches!(refused, Err(BodyError::BadEncoding { coding, .. }) if coding == zstd));
}

#[tokio::test]
async fn a_brotli_stream_that_asks_for_a_huge_window_is_refused() {
    let parameters = brotli::enc::BrotliEncoderParams { large_window: true, lgwin: 28, ..Default::default() };
    let mut folded = Vec::new();
    brotli::CompressorWriter::with_params(&mut folded, 4096, &parameters).write_all(&text(1_000)).unwrap();

    let refused = read_whole(&folded, &["br"]).await;

    let br = Coding::Brotli;
    assert!(matches!(refused, Err(BodyError::BadEncoding { coding, .. }) if coding == br));
}

#[tokio::test]
async fn a_body_that_is_held_leaves_no_room_for_one_that_does_not_fit_beside_it() {
    let budget = BodyBudget::new(10_000);
    let first = Full::new(Bytes::from(text(6_000)));
    let second = Full::new(Bytes::from(text(4_001)));
    let headers = HeaderMap::new();

    let held = read(first, &headers, &limits(), &budget).await.unwrap();
    let refused = read(second.clone(), &headers, &limits(), &budget).await;
    drop(held);
    let accepted = read(second, &headers, &limits(), &budget).await;

    assert!(matches!(refused, Err(BodyError::Overloaded(_))));
    assert!(accepted.is_ok());
}

/// A body that declares a length and sends nothing.
struct Promised(u64);

impl http_body::Body for Promised {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        std::task::Poll::Pending
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.0)
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_declares_much_and_sends_nothing_holds_nothing() {
    let budget = BodyBudget::new(10_000);
    let (headers, limits) = (HeaderMap::new(), limits());

    let mut silent = std::pin::pin!(read(Promised(9_999), &headers, &limits, &budget));
    assert!(futures_are_pending(silent.as_mut()).await);

    assert_eq!(budget.held(), 0);
    let other = read(Full::new(Bytes::from(text(10_000))), &headers, &limits, &budget).await;
    assert!(other.is_ok());
}

/// A buffer that is moved costs as much again as the body: all of it is copied, into memory that was never touched.
#[test]
fn a_body_of_declared_length_is_never_moved() {
    let piece = Bytes::from(text(SHARE / 4));
    let mut gathered = Gathered::new(&BodyBudget::default(), LIMIT);
    gathered.declared = LIMIT;
    gathered.push(piece.clone()).unwrap();
    gathered.push(piece.clone()).unwrap();
    let (at, room) = (gathered.all.as_ptr(), gathered.all.capacity());

    while gathered.len() < LIMIT {
        gathered.push(piece.clone()).unwrap();
    }

    assert_eq!((gathered.all.as_ptr(), gathered.all.capacity()), (at, room));
    assert_eq!(gathered.permit.bytes(), LIMIT);
}

/// Polls once.
async fn futures_are_pending<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}

#[tokio::test]
async fn a_body_of_unknown_length_takes_its_budget_as_it_grows() {
    let budget = BodyBudget::new(10_000);

    let fits = read_chunks(&[&text(5_000), &text(5_000)], &budget).await;
    let held = budget.held();
    let refused = read_chunks(&[b"x"], &budget).await;

    assert_eq!(fits.unwrap().bytes().len(), 10_000);
    assert_eq!(held, 10_000);
    assert!(matches!(refused, Err(BodyError::Overloaded(_))));
    let over = read_chunks(&[&text(5_000), &text(5_001)], &budget).await;
    assert!(matches!(over, Err(BodyError::Overloaded(_))));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_is_given_up_after_the_idle_time() {
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
    sender.send_data(Bytes::from_static(b"begun")).await.unwrap();
    let began = Instant::now();

    let slow = read(body, &HeaderMap::new(), &limits(), &BodyBudget::default()).await;

    assert!(matches!(slow, Err(BodyError::Slow { received: 5, .. })));
    assert_eq!(began.elapsed(), Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_keeps_a_fair_pace_is_read_however_long_it_takes() {
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
    let caller = async move {
        for _ in 0..10 {
            advance(Duration::from_secs(4)).await;
            sender.send_data(Bytes::from(vec![b'x'; 4 * 4_096])).await.unwrap();
        }
    };
    let headers = HeaderMap::new();
    let (limits, budget) = (limits(), BodyBudget::default());

    let (received, ()) = tokio::join!(read(body, &headers, &limits, &budget), caller);

    assert_eq!(received.unwrap().bytes().len(), 10 * 4 * 4_096);
}

#[tokio::test(start_paused = true)]
async fn a_byte_now_and_then_does_not_keep_a_body_alive() {
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
    let began = Instant::now();
    let caller = async move {
        while sender.send_data(Bytes::from_static(b"x")).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(9)).await;
        }
    };
    let headers = HeaderMap::new();
    let (limits, budget) = (limits(), BodyBudget::default());
    let reading = async {
        let read = read(body, &headers, &limits, &budget).await;
        (read, began.elapsed())
    };

    let ((slow, took), ()) = tokio::join!(reading, caller);

    assert!(matches!(slow, Err(BodyError::Slow { received: 4, .. })));
    assert!(took < Duration::from_secs(31), "{took:?}");
}

#[tokio::test]
async fn a_caller_that_goes_away_within_the_body_is_told_apart() {
    let (mut sender, body) = Channel::<Bytes, std::io::Error>::new(2);
    sender.send_data(Bytes::from_static(b"begun")).await.unwrap();
    sender.abort(std::io::ErrorKind::ConnectionReset.into());

    let gone = read(body, &HeaderMap::new(), &limits(), &BodyBudget::default()).await;

    assert!(matches!(gone, Err(BodyError::Disconnected(_))));
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_refused_body_is_drained_up_to_a_bound() {
    let second = Duration::from_secs(1);
    let (at, over) = (text(1_000), text(1_001));
    let chunked = async |bytes: Vec<u8>| {
        let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
        sender.send_data(Bytes::from(bytes)).await.unwrap();
        body
    };
    let (_open, endless) = Channel::<Bytes, Infallible>::new(1);

    assert!(drain(Full::new(Bytes::from(at.clone())), 1_000, second).await);
    assert!(!drain(Full::new(Bytes::from(over.clone())), 1_000, second).await);
    assert!(drain(chunked(at).await, 1_000, second).await);
    assert!(!drain(chunked(over).await, 1_000, second).await);
    assert!(!drain(endless, 1_000, second).await);
}

proptest! {
    #[test]
    fn a_folded_body_comes_out_as_it_was(
        bytes in proptest::collection::vec(any::<u8>(), 0..4_000),
        codings in proptest::collection::vec(prop::sample::select(&CODINGS[..]), 0..=2),
    ) {
        let folded = codings.iter().fold(bytes.clone(), |bytes, coding| fold(coding, &bytes));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();

        let read = runtime.block_on(read_whole(&folded, &codings)).unwrap();

        prop_assert_eq!(read.bytes(), &bytes);
    }

    #[test]
    fn no_bytes_make_a_decoder_fail(
        bytes in proptest::collection::vec(any::<u8>(), 0..2_000),
        coding in prop::sample::select(&CODINGS[..]),
        flip in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let mut folded = fold(coding, &bytes);
        let index = flip.index(folded.len());
        folded[index] ^= 1 << bit;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();

        let _ = runtime.block_on(read_whole(&folded, &[coding]));
        let _ = runtime.block_on(read_whole(&bytes, &[coding]));
    }
}
