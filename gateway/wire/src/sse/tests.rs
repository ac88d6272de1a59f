use proptest::prelude::*;

use super::*;

/// What an event means, apart from how it was written and cut.
type Meaning = (Option<Vec<u8>>, Vec<u8>);

fn frames_of(chunks: &[&[u8]]) -> Vec<Frame> {
    let mut framer = SseFramer::new();
    let mut frames = Vec::new();
    for chunk in chunks {
        framer.push(Bytes::copy_from_slice(chunk));
        while let Some(frame) = framer.next_frame().expect("no frame is too large") {
            frames.push(frame);
        }
    }
    frames.extend(framer.finish());
    frames
}

fn meanings(frames: &[Frame]) -> Vec<Meaning> {
    let with_fields = frames.iter().filter(|frame| !frame.is_comment());
    with_fields.map(|frame| (frame.event().map(<[u8]>::to_vec), frame.data().into_owned())).collect()
}

fn rejoined(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(|frame| frame.raw.to_vec()).collect()
}

/// Cuts a stream at every byte, and into single bytes, and expects the same events and the same bytes.
fn check_all_cuts(stream: &[u8]) {
    let whole = frames_of(&[stream]);
    let expected = meanings(&whole);
    assert_eq!(rejoined(&whole), stream);
    for at in 0..=stream.len() {
        let (left, right) = stream.split_at(at);
        let cut = frames_of(&[left, right]);
        assert_eq!(meanings(&cut), expected, "cut at {at}");
        assert_eq!(rejoined(&cut), stream, "cut at {at}");
    }
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    let single = frames_of(&bytes);
    assert_eq!(meanings(&single), expected);
    assert_eq!(rejoined(&single), stream);
}

#[test]
fn line_ends_may_be_cr_lf_or_crlf_and_mixed() {
    for stream in [
        &b"data: a\n\ndata: b\n\n"[..],
        b"data: a\r\rdata: b\r\r",
        b"data: a\r\n\r\ndata: b\r\n\r\n",
        b"data: a\n\r\ndata: b\r\n\n",
        b"data: a\r\n\rdata: b\n\r",
        b"\n\ndata: a\n\n\n\ndata: b\n\n",
        b"\r\n\r\ndata: a\r\n\r\n\r\ndata: b\r\n\r\n",
    ] {
        let meant = meanings(&frames_of(&[stream]));
        assert_eq!(meant, [(None, b"a".to_vec()), (None, b"b".to_vec())], "{:?}", String::from_utf8_lossy(stream));
        check_all_cuts(stream);
    }
}

#[test]
fn a_stream_cut_anywhere_gives_the_same_events() {
    for stream in [
        "event: a\ndata: {\"x\":\"\u{e9}\u{1F600}\"}\n\n: ping\n\ndata: [DONE]\n\n".as_bytes(),
        b"\xEF\xBB\xBFdata: first\r\n\r\ndata:second\rdata: line\r\rid: 7\n\n",
        b"\xEF\xBBdata: no mark\n\ndata: b\n\n",
        b"data: a\n\ndata: unterminated",
        b"data: a\n\ndata: unterminated\n",
        b"data: a\n\ndata: unterminated\r",
        b"\xEF\xBB\xBF\n\n: only a comment\r\n\r\n",
        b"\n",
        b"",
    ] {
        check_all_cuts(stream);
    }
}

#[test]
fn a_frame_within_one_chunk_is_a_slice_of_it() {
    let chunk = Bytes::from_static(b"data: one\n\ndata: two\n\n");
    let mut framer = SseFramer::new();
    framer.push(chunk.clone());

    let one = framer.next_frame().expect("small").expect("whole");
    let two = framer.next_frame().expect("small").expect("whole");

    assert_eq!(one.raw.as_ptr(), chunk.as_ptr());
    assert_eq!(two.raw.as_ptr(), chunk[11..].as_ptr());
    assert_eq!(framer.next_frame(), Ok(None));
    assert_eq!(framer.finish(), None);
}

#[test]
fn a_frame_is_handed_out_when_its_last_byte_comes_even_a_cr() {
    let mut framer = SseFramer::new();
    framer.push(Bytes::from_static(b"data: a\r\r"));
    assert_eq!(framer.next_frame().expect("small").map(|frame| frame.raw), Some(Bytes::from_static(b"data: a\r\r")));
}

#[test]
fn several_chunks_may_wait() {
    let mut framer = SseFramer::new();
    for chunk in [&b"data: "[..], b"a", b"\n", b"\ndata: b\n\nda", b"ta: c\n\n"] {
        framer.push(Bytes::from_static(chunk));
    }

    let mut data = Vec::new();
    while let Some(frame) = framer.next_frame().expect("small") {
        data.push(frame.data().into_owned());
    }

    assert_eq!(data, [b"a".to_vec(), b"b".to_vec(), b"c".to_vec()]);
}

#[test]
fn fields_are_read_as_the_standard_says() {
    let frames = frames_of(&[b": comment\nevent: x\ndata:a\ndata:  b\nretry: 5\nevent:y\ndata\n\n"]);
    let [frame] = &frames[..] else { unreachable!("one event was sent") };
    assert_eq!(frame.event(), Some(&b"y"[..]));
    assert_eq!(&frame.data()[..], b"a\n b\n");
    assert_eq!(frame.field(b"retry"), Some(&b"5"[..]));
    assert!(!frame.is_comment());
    assert!(frames_of(&[b": ping\n\n"])[0].is_comment());
}

#[test]
fn a_frame_over_the_bound_is_an_error_whether_it_ends_or_not() {
    for stream in [&b"data: 0123456789"[..], b"data: 0123456789\n\n", b"\n\n\n\n\n\n\n\n\n\n\n\n\n"] {
        let mut framer = SseFramer::with_max_frame(12);
        framer.push(Bytes::copy_from_slice(stream));
        assert_eq!(framer.next_frame(), Err(SseError::FrameTooLarge { limit: 12 }));
        assert_eq!(framer.next_frame(), Err(SseError::FrameTooLarge { limit: 12 }));
    }
    let mut framer = SseFramer::with_max_frame(12);
    framer.push(Bytes::from_static(b"data: 0123\n\ndata: 4567\n\n"));
    assert!(framer.next_frame().expect("twelve bytes fit").is_some());
}

#[test]
fn an_unterminated_tail_says_so() {
    let frames = frames_of(&[b"data: a\n\ndata: b"]);
    assert!(frames[0].is_terminated());
    assert!(!frames[1].is_terminated());
    assert_eq!(&frames[1].data()[..], b"b");
}

proptest! {
    #[test]
    fn a_frame_of_one_line_is_read_like_any_other(
        pieces in proptest::collection::vec(
            proptest::sample::select(
                vec!["data:", "data", " ", "a", ":", "\n", "\n\n", "\r", "\r\n", "event: e\n", "error:", "\u{feff}"]
            ),
            0..24,
        ),
        cut in 0_usize..64,
    ) {
        let stream = pieces.concat();
        let (left, right) = stream.as_bytes().split_at(cut.min(stream.len()));
        for frame in frames_of(&[left, right]) {
            let fields: Vec<_> = frame.fields().collect();
            let of = |wanted: &[u8]| -> Vec<&[u8]> {
                fields.iter().filter(|(name, _)| *name == wanted).map(|(_, value)| *value).collect()
            };

            prop_assert_eq!(frame.is_comment(), fields.is_empty());
            prop_assert_eq!(frame.event(), of(b"event").last().copied());
            prop_assert_eq!(frame.field(b"error"), of(b"error").first().copied());
            prop_assert_eq!(frame.field(b"data"), of(b"data").first().copied());
            prop_assert_eq!(&frame.data()[..], of(b"data").join(&b'\n'));
        }
    }

    #[test]
    fn any_bytes_come_out_as_they_went_in_however_cut(
        stream in proptest::collection::vec(
            prop_oneof![Just(b'\n'), Just(b'\r'), Just(b':'), Just(b'd'), Just(0xEF), Just(0xBB), Just(0xBF), any::<u8>()],
            0..60,
        ),
    ) {
        check_all_cuts(&stream);
    }
}
