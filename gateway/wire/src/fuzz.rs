//! What must hold for any bytes at all, as plain functions: seeded property tests call them, and so can a fuzzer.

use bytes::Bytes;
use serde_json::Value;

use crate::json::{self, JsonFault};
use crate::{
    Api, DecodeError, EncodeTarget, Frame, RelayOptions, Relayed, SseFramer, StreamEnd, StreamRelay, decode, dialects,
    outcome, route, usage_of_reply,
};

/// The scanner accepts what `serde_json` accepts, except keys that come twice.
pub fn scanner(bytes: &[u8]) {
    let theirs = serde_json::from_slice::<Value>(bytes);
    match json::check(bytes) {
        Ok(()) => assert!(theirs.is_ok(), "accepted what serde_json refuses: {theirs:?}"),
        Err(error) if error.fault == JsonFault::Duplicate => {}
        Err(error) => assert!(theirs.is_err(), "refused what serde_json accepts: {error}"),
    }
}

/// A body that decodes is re-encoded by every dialect to the same JSON but for the stated splices.
pub fn splice(bytes: &[u8]) {
    let body = Bytes::copy_from_slice(bytes);
    for api in Api::ALL {
        match decode(api, None, body.clone()) {
            Ok(call) => {
                let before: Value = serde_json::from_slice(bytes).expect("what decodes is JSON");
                for dialect in dialects() {
                    let target = EncodeTarget { upstream_model: "up\"stream", keep_state: true, most_output: None };
                    let encoded = dialect.encode(&call, &target);
                    let after: Value =
                        serde_json::from_slice(&encoded.to_bytes()).expect("what was spliced is still JSON");
                    assert_eq!(encoded.len, encoded.to_bytes().len());
                    assert_eq!(after, expected(before.clone(), encoded.injected_usage));
                }
            }
            Err(DecodeError::Json(error)) => assert!(error.at <= bytes.len()),
            Err(_) => {}
        }
    }
}

/// The caller's JSON with the splices made the slow way.
fn expected(mut value: Value, injected_usage: bool) -> Value {
    let object = value.as_object_mut().expect("what decodes is an object");
    object.insert("model".to_owned(), Value::from("up\"stream"));
    if injected_usage {
        let options = object.entry("stream_options").or_insert(Value::Null);
        if options.is_null() {
            *options = Value::Object(serde_json::Map::new());
        }
        let options = options.as_object_mut().expect("decode refuses other stream options");
        options.insert("include_usage".to_owned(), Value::Bool(true));
    }
    value
}

/// However a stream is cut, its frames hold its bytes, in order, and mean the same.
pub fn framer(bytes: &[u8]) {
    let whole = frames(bytes, bytes.len().max(1));
    let meaning = meanings(&whole);
    for size in [1, 2, 3, 7] {
        let cut = frames(bytes, size);
        assert_eq!(cut.iter().flat_map(|frame| frame.raw.to_vec()).collect::<Vec<_>>(), bytes);
        assert_eq!(meanings(&cut), meaning);
    }
}

/// A relay takes any stream, whatever was asked, ends it once, and never adds `[DONE]` to one that failed.
pub fn relay(bytes: &[u8]) {
    const OPTIONS: [RelayOptions; 4] = [
        RelayOptions { usage_asked: false, injected_usage: false },
        RelayOptions { usage_asked: false, injected_usage: true },
        RelayOptions { usage_asked: true, injected_usage: false },
        RelayOptions { usage_asked: true, injected_usage: true },
    ];
    for api in Api::ALL {
        for options in OPTIONS {
            relay_of(api, options, bytes);
        }
    }
}

fn relay_of(api: Api, options: RelayOptions, bytes: &[u8]) {
    let mut relay = StreamRelay::new(api, options);
    let withholds = options.injected_usage && !options.usage_asked;
    for frame in frames(bytes, 11) {
        let _ = outcome(http::StatusCode::OK, Some(&frame), api);
        let (raw, is_whole, ended) = (frame.raw.clone(), frame.is_terminated(), relay.failed());
        match relay.frame(frame) {
            Relayed::Forward(sent) => assert!(sent.starts_with(&raw), "a frame is passed on as it came"),
            Relayed::Drop => assert!(
                withholds || ended || !is_whole,
                "a whole frame is withheld only where it carries the usage that the gateway asked for"
            ),
            Relayed::Error(_) => assert!(relay.failed(), "an error ends the stream"),
        }
    }
    let failed = relay.failed();
    let last = relay.finish(StreamEnd::Clean);
    if failed {
        assert_eq!(last, None);
    }
    assert_eq!(relay.finish(StreamEnd::Clean), None, "a stream ends once");
}

/// Paths and replies of any bytes are read without a panic.
pub fn other_readers(bytes: &[u8]) {
    for api in Api::ALL {
        let _ = usage_of_reply(api, bytes);
    }
    if let Ok(path) = std::str::from_utf8(bytes) {
        let _ = route(&http::Method::POST, path);
        for dialect in dialects() {
            let path = dialect.path(Api::Chat, path, Some("v"));
            assert!(path.bytes().all(|byte| byte.is_ascii_graphic()));
            assert!(path.split(['/', '?']).all(|segment| !matches!(segment, "." | "..")), "{path}");
            assert!(path.split('/').count() == 6 || !path.contains("deployments"), "{path}");
        }
    }
}

fn frames(bytes: &[u8], size: usize) -> Vec<Frame> {
    let mut framer = SseFramer::new();
    let mut frames = Vec::new();
    for chunk in bytes.chunks(size) {
        framer.push(Bytes::copy_from_slice(chunk));
        while let Some(frame) = framer.next_frame().expect("the input is smaller than the bound") {
            frames.push(frame);
        }
    }
    frames.extend(framer.finish());
    frames
}

fn meanings(frames: &[Frame]) -> Vec<(Option<Vec<u8>>, Vec<u8>)> {
    let events = frames.iter().filter(|frame| !frame.is_comment());
    events.map(|frame| (frame.event().map(<[u8]>::to_vec), frame.data().into_owned())).collect()
}
