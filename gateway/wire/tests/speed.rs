//! How fast bodies are read and chunks are relayed. Not a check: run by hand, in release.
//!
//! `cargo test -p wire --release --test speed -- --ignored --nocapture`

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::time::Instant;

use bytes::Bytes;
use wire::{Api, EncodeTarget, RelayOptions, SseFramer, StreamRelay, decode, dialect};

/// Prints the best and the median of many runs, in microseconds.
fn measure(what: &str, mut act: impl FnMut()) {
    let mut times: Vec<f64> = (0..400)
        .map(|_| {
            let start = Instant::now();
            act();
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let _ = writeln!(std::io::stderr(), "{what}: best {:.2} us, median {:.2} us", times[0], times[200]);
}

fn chat(text: &str) -> Bytes {
    let text = serde_json::to_string(text).expect("a string has a JSON form");
    format!(r#"{{"model":"m","messages":[{{"role":"system","content":"be brief"}},{{"role":"user","content":{text}}}],"stream":true}}"#).into()
}

fn agent() -> Bytes {
    let mut body = String::from(r#"{"model":"m","max_tokens":1000,"messages":["#);
    for n in 0..120 {
        let _ = write!(
            body,
            r#"{{"role":"assistant","content":[{{"type":"text","text":"step {n}: now read the file and say what \"it\" does\nthen go on"}},{{"type":"tool_use","id":"toolu_{n}","name":"Read","input":{{"file_path":"/src/{n}.rs","limit":100}}}}]}},"#
        );
    }
    body.push_str(r#"{"role":"user","content":"go on"}],"tools":["#);
    for n in 0..80 {
        let comma = if n == 0 { "" } else { "," };
        let _ = write!(
            body,
            r#"{comma}{{"name":"tool{n}","description":"reads a file and gives its lines, from the offset to the limit","input_schema":{{"type":"object","properties":{{"file_path":{{"type":"string","description":"absolute path"}},"offset":{{"type":"integer","minimum":0}},"limit":{{"type":"integer"}}}},"required":["file_path"],"additionalProperties":false}}}}"#
        );
    }
    body.push_str("]}");
    body.into()
}

#[test]
#[ignore = "measures, and says nothing in a debug build"]
fn bodies_and_chunks() {
    let prose = "The quick brown fox jumps over the lazy dog, and it says \"hello\" to everyone it meets.\n";
    let image = format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{}"}}}}]}}]}}"#,
        "QUJDREVGR0hJSktM".repeat(1024 * 64)
    );
    let bodies = [
        ("1 KiB prose", Api::Chat, chat(&prose.repeat(11))),
        ("64 KiB prose", Api::Chat, chat(&prose.repeat(760))),
        ("64 KiB plain letters", Api::Chat, chat(&"abcdefgh".repeat(8192))),
        ("64 KiB of two-byte letters", Api::Chat, chat(&"\u{e9}\u{e8}".repeat(16384))),
        ("1 MiB image", Api::Chat, Bytes::from(image)),
        ("agent with 80 tools", Api::Messages, agent()),
    ];
    for (name, api, body) in bodies {
        let what = format!("decode {name} ({} bytes)", body.len());
        measure(&what, || drop(black_box(decode(api, None, black_box(body.clone())))));
        let call = decode(api, None, body).expect("the body is a call");
        let openai = dialect("openai").expect("the dialect is listed");
        let target = EncodeTarget { upstream_model: "upstream", keep_state: false, most_output: None };
        measure(&format!("encode {name}"), || drop(black_box(openai.encode(&call, &target))));
    }

    let chunk = Bytes::from_static(
        b"data: {\"id\":\"chatcmpl-123456789\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"},\"finish_reason\":null}],\"usage\":null}\n\n",
    );
    measure(&format!("frame and relay 1000 chunks of {} bytes", chunk.len()), || {
        let mut framer = SseFramer::new();
        let mut relay = StreamRelay::new(Api::Chat, RelayOptions::default());
        for _ in 0..1000 {
            framer.push(chunk.clone());
            while let Ok(Some(frame)) = framer.next_frame() {
                drop(black_box(relay.frame(frame)));
            }
        }
    });
}
