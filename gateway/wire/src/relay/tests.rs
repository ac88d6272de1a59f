use proptest::prelude::*;

use super::*;
use crate::SseFramer;

/// Relays a whole stream and returns what the caller gets, with the relay.
fn relayed(api: Api, options: RelayOptions, stream: &str, end: StreamEnd<'_>) -> (String, StreamRelay) {
    let mut framer = SseFramer::new();
    let mut relay = StreamRelay::new(api, options);
    let mut out = Vec::new();
    framer.push(Bytes::copy_from_slice(stream.as_bytes()));
    let mut frames = Vec::new();
    while let Some(frame) = framer.next_frame().expect("small") {
        frames.push(frame);
    }
    frames.extend(framer.finish());
    for frame in frames {
        match relay.frame(frame) {
            Relayed::Forward(bytes) => out.extend_from_slice(&bytes),
            Relayed::Error(error) => out.extend_from_slice(&error.raw),
            Relayed::Drop => {}
        }
    }
    out.extend_from_slice(&relay.finish(end).unwrap_or_default());
    (String::from_utf8(out).expect("the test's stream is text"), relay)
}

fn clean(api: Api, stream: &str) -> (String, StreamRelay) {
    relayed(api, RelayOptions::default(), stream, StreamEnd::Clean)
}

fn tokens(relay: &StreamRelay) -> Option<(u64, u64)> {
    relay.usage().map(|usage| (usage.input, usage.output))
}

const DONE: &str = "data: [DONE]\n\n";
const HELLO: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hello\"},\"finish_reason\":null}],\"usage\":null}\n\n";
const STOP: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n";
const INJECTED: RelayOptions = RelayOptions { usage_asked: false, injected_usage: true };
const ASKED: RelayOptions = RelayOptions { usage_asked: true, injected_usage: false };

#[test]
fn a_complete_stream_passes_byte_for_byte() {
    let azure_first = "data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n";
    let stream = format!(": ping\n\n{azure_first}{HELLO}{STOP}{USAGE}{DONE}");

    let (out, relay) = relayed(Api::Chat, ASKED, &stream, StreamEnd::Clean);

    assert_eq!(out, stream);
    assert_eq!(tokens(&relay), Some((3, 2)));
    assert!(relay.saw_terminal());
}

#[test]
fn the_usage_chunk_that_only_the_gateway_asked_for_is_taken_out() {
    let (out, relay) = relayed(Api::Chat, INJECTED, &format!("{HELLO}{STOP}{USAGE}{DONE}"), StreamEnd::Clean);

    assert_eq!(out, format!("{HELLO}{STOP}{DONE}"));
    assert_eq!(tokens(&relay), Some((3, 2)));
}

#[test]
fn usage_in_a_choice_chunk_stays_and_the_last_report_wins() {
    let early =
        "data: {\"choices\":[{\"index\":0,\"delta\":{}}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n\n";
    let last = "data: {\"choices\":[{\"index\":0,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":9}}\n\n";

    let (out, relay) = relayed(Api::Chat, INJECTED, &format!("{early}{last}"), StreamEnd::Clean);

    assert_eq!(out, format!("{early}{last}{DONE}"));
    assert_eq!(tokens(&relay), Some((3, 9)));
}

#[test]
fn a_forgotten_done_is_added_when_every_choice_was_finished() {
    for api in [Api::Chat, Api::Completions] {
        let (out, relay) = clean(api, &format!("{HELLO}{STOP}"));
        assert_eq!(out, format!("{HELLO}{STOP}{DONE}"));
        assert!(relay.saw_terminal() && !relay.failed());
    }
    let (out, _) = relayed(Api::Chat, INJECTED, &format!("{HELLO}{STOP}{USAGE}"), StreamEnd::Clean);
    assert_eq!(out, format!("{HELLO}{STOP}{DONE}"));
}

#[test]
fn a_stream_with_an_unfinished_choice_is_truncated() {
    let second = "data: {\"choices\":[{\"delta\":{},\"index\": 1,\"finish_reason\":null}]}\n\n";
    let second_stop = "data: {\"choices\":[{\"index\":1,\"finish_reason\":\"length\"}]}\n\n";
    let table = [
        ("", false),
        (HELLO, false),
        (": ping\n\n", false),
        (USAGE, false),
        (&format!("{HELLO}{second}{STOP}"), false),
        (&format!("{HELLO}{second}{second_stop}"), false),
        (&format!("{HELLO}{second}{second_stop}{STOP}"), true),
        (&format!("{HELLO}data: {{\"choices\":[{{\"index\":0,\"finish_reason\":\"\"}}]}}\n\n"), false),
    ];
    for (stream, complete) in table {
        let (out, relay) = clean(Api::Chat, stream);
        assert_eq!(out.contains("[DONE]"), complete, "{stream}");
        assert_eq!(out.contains("upstream_unavailable"), !complete, "{stream}");
        assert_eq!(relay.failed(), !complete);
    }
}

#[test]
fn a_second_tool_call_is_not_a_second_choice() {
    let tools = "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":1}]}}]}\n\n";
    let (out, _) = clean(Api::Chat, &format!("{tools}{STOP}"));
    assert!(out.ends_with(DONE), "{out}");
}

#[test]
fn a_broken_stream_ends_in_an_error_event_and_never_in_done() {
    let end = StreamEnd::Failed { code: "upstream_timeout", message: "no byte for 60 s" };
    for stream in [HELLO.to_owned(), format!("{HELLO}{STOP}")] {
        let (out, relay) = relayed(Api::Chat, RelayOptions::default(), &stream, end);
        assert!(out.ends_with("}\n\n") && out.contains("upstream_timeout") && !out.contains("[DONE]"), "{out}");
        assert!(relay.failed());
    }
    let whole = format!("{HELLO}{STOP}{DONE}");
    let (out, relay) = relayed(Api::Chat, RelayOptions::default(), &whole, end);
    assert_eq!(out, whole, "what breaks after the last word is complete");
    assert!(!relay.failed());
}

#[test]
fn an_upstream_error_event_is_the_last_that_is_passed_on() {
    let error = "data: {\"error\":{\"message\":\"m\",\"type\":\"server_error\",\"code\":500}}\n\n";
    let (out, relay) = clean(Api::Chat, &format!("{HELLO}{error}{HELLO}{DONE}"));
    assert_eq!(out, format!("{HELLO}{error}"));
    assert!(relay.failed());

    let (out, _) = clean(Api::Chat, "error: {\"code\":500,\"message\":\"m\"}\n\n");
    assert_eq!(out, "data: {\"error\":{\"code\":500,\"message\":\"m\"}}\n\n");
}

#[test]
fn words_in_the_text_are_not_mistaken_for_members() {
    let text = r#"{\"error\":{\"usage\":{}},\"finish_reason\":\"stop\"} [DONE]"#;
    let chunk = format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n");

    let (out, relay) = clean(Api::Chat, &format!("{chunk}{STOP}{DONE}"));

    assert_eq!(out, format!("{chunk}{STOP}{DONE}"));
    assert!(!relay.failed());
    assert_eq!(relay.usage(), None);
}

#[test]
fn a_last_event_without_its_blank_line_is_ended_or_withheld() {
    let (out, _) = clean(Api::Chat, &format!("{HELLO}{STOP}data: [DONE]"));
    assert_eq!(out, format!("{HELLO}{STOP}{DONE}"));

    let (out, _) = clean(Api::Chat, &format!("{HELLO}data: {{\"choices\":[{{\"ind"));
    assert!(out.starts_with(HELLO) && !out.contains("\"ind\n") && out.contains("upstream_unavailable"), "{out}");
    assert_eq!(out.matches("data:").count(), 2, "{out}");
}

const RESPONSE_CREATED: &str =
    "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"usage\":null,\"error\":null}}\n\n";

#[test]
fn a_responses_stream_ends_with_its_terminal_event() {
    for kind in ["completed", "incomplete"] {
        for event_line in [true, false] {
            let line = if event_line { format!("event: response.{kind}\n") } else { String::new() };
            let last = format!(
                "{line}data: {{\"type\":\"response.{kind}\",\"response\":{{\"usage\":{{\"input_tokens\":4,\"output_tokens\":2}}}}}}\n\n"
            );
            let stream = format!("{RESPONSE_CREATED}{last}");
            let (out, relay) = clean(Api::Responses, &stream);
            assert_eq!(out, stream);
            assert_eq!(tokens(&relay), Some((4, 2)));
        }
    }
    let (out, _) = clean(Api::Responses, RESPONSE_CREATED);
    let tail = out.strip_prefix(RESPONSE_CREATED).expect("what came is passed on");
    assert!(tail.starts_with("event: error\ndata: {\"type\":\"error\",\"sequence_number\":1,"), "{tail}");
}

#[test]
fn a_failed_response_is_an_error_with_its_usage() {
    let failed = "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"server_error\"},\"usage\":{\"input_tokens\":4,\"output_tokens\":0}}}\n\n";
    let (out, relay) = clean(Api::Responses, &format!("{RESPONSE_CREATED}{failed}"));
    assert_eq!(out, format!("{RESPONSE_CREATED}{failed}"));
    assert!(relay.failed());
    assert_eq!(tokens(&relay), Some((4, 0)));
}

#[test]
fn a_stream_of_some_text_that_states_no_output_is_not_believed_and_an_empty_one_is() {
    let chat = |text: &str| format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n");
    let completions = |text: &str| format!("data: {{\"choices\":[{{\"index\":0,\"text\":\"{text}\"}}]}}\n\n");
    let responses = |text: &str| {
        format!(
            "event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\"delta\":\"{text}\"}}\n\n"
        )
    };
    let messages = |text: &str| {
        format!(
            "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"delta\":{{\"type\":\"text_delta\",\"text\":\"{text}\"}}}}\n\n"
        )
    };
    let openai = |input: u64, output: u64| {
        format!(
            "data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":{input},\"completion_tokens\":{output}}}}}\n\n{DONE}"
        )
    };
    let response = |input: u64, output: u64| {
        format!(
            "event: response.incomplete\ndata: {{\"type\":\"response.incomplete\",\"response\":{{\"output\":[],\"usage\":{{\"input_tokens\":{input},\"output_tokens\":{output}}}}}}}\n\n"
        )
    };
    let message = |input: u64, output: u64| {
        format!(
            "event: message_delta\ndata: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"end_turn\"}},\"usage\":{{\"input_tokens\":{input},\"output_tokens\":{output}}}}}\n\nevent: message_stop\ndata: {{\"type\":\"message_stop\"}}\n\n"
        )
    };
    type Part<'a> = &'a dyn Fn(&str) -> String;
    type Stated<'a> = &'a dyn Fn(u64, u64) -> String;
    let table: [(Api, Part<'_>, Stated<'_>); 4] = [
        (Api::Chat, &chat, &openai),
        (Api::Completions, &completions, &openai),
        (Api::Responses, &responses, &response),
        (Api::Messages, &messages, &message),
    ];
    for (api, part, stated) in table {
        for (text, input, output, is_plausible) in [
            ("a", 0, 0, false),
            ("a", 5, 0, false),
            ("a", 0, 3, false),
            ("a", 5, 3, true),
            ("", 5, 0, true),
            ("", 0, 0, false),
        ] {
            let (_, relay) = clean(api, &format!("{}{}", part(text), stated(input, output)));
            let usage = relay.usage().expect("it states usage");
            assert_eq!(usage.is_plausible, is_plausible, "{api:?} {text:?} {input} {output}");
        }
    }
    // A count that stands on a part before the first word is none of what follows it.
    let early = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"}}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":0}}\n\n";
    let (_, relay) = clean(Api::Chat, &format!("{early}{HELLO}"));
    assert_eq!(relay.usage().map(|usage| usage.is_plausible), Some(false));
    // A response whose text stands in its last event alone.
    let whole = "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"output\":[{\"type\":\"message\",\"content\":[{\"text\":\"a\"}]}],\"usage\":{\"input_tokens\":5,\"output_tokens\":0}}}\n\n";
    let (_, relay) = clean(Api::Responses, whole);
    assert_eq!(relay.usage().map(|usage| usage.is_plausible), Some(false));
}

#[test]
fn a_messages_stream_merges_its_usage_and_ends_with_message_stop() {
    let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":10,\"cache_read_input_tokens\":5,\"output_tokens\":1}}}\n\n";
    let delta = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":7}}\n\n";
    let stop = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

    let (out, relay) = clean(Api::Messages, &format!("{start}{delta}{stop}"));

    assert_eq!(out, format!("{start}{delta}{stop}"));
    let usage = relay.usage().expect("usage was reported");
    assert_eq!((usage.input, usage.output, usage.cached_input), (15, 7, 5));

    let (out, relay) = clean(Api::Messages, &format!("{start}{delta}"));
    assert!(out.contains("event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\""), "{out}");
    assert!(relay.failed());
    assert_eq!(tokens(&relay), Some((15, 7)), "what was reported before the cut still counts");

    let error =
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"m\"}}\n\n";
    let (out, _) = clean(Api::Messages, &format!("{start}{error}{stop}"));
    assert_eq!(out, format!("{start}{error}"));
}

#[test]
fn an_error_event_tells_its_kind_and_label_and_not_its_message() {
    let mut framer = SseFramer::new();
    framer.push(Bytes::from_static(
        b"data: {\"error\":{\"message\":\"the prompt\",\"code\":\"rate_limit_exceeded\"}}\n\n",
    ));
    let frame = framer.next_frame().expect("small").expect("whole");

    let Relayed::Error(error) = StreamRelay::new(Api::Chat, RelayOptions::default()).frame(frame) else {
        unreachable!("it is an error event");
    };

    assert_eq!(error.kind, ErrorKind::RateLimited);
    assert_eq!(error.label.as_deref(), Some("rate_limit_exceeded"));
}

#[test]
fn what_an_upstream_says_about_our_credential_is_not_passed_on() {
    let table = [
        (Api::Chat, "data: {\"error\":{\"message\":\"SECRET\",\"type\":\"x\",\"code\":\"invalid_api_key\"}}\n\n"),
        (Api::Chat, "error: {\"code\":401,\"message\":\"SECRET\"}\n\n"),
        (
            Api::Messages,
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"authentication_error\",\"message\":\"SECRET\"}}\n\n",
        ),
        (
            Api::Responses,
            "event: error\ndata: {\"type\":\"error\",\"code\":\"permission_error\",\"message\":\"SECRET\"}\n\n",
        ),
        (
            Api::Responses,
            "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"invalid_api_key\",\"message\":\"SECRET\"}}}\n\n",
        ),
    ];
    for (api, event) in table {
        let begun = if api == Api::Responses { RESPONSE_CREATED } else { ": ping\n\n" };
        let (out, relay) = clean(api, &format!("{begun}{event}"));

        let last = out.strip_prefix(begun).expect("what came before is passed on");
        assert!(!last.contains("SECRET") && last.contains("upstream_unavailable"), "{last}");
        assert_eq!(last.matches("data:").count(), 1, "{last}");
        assert!(relay.failed());
    }
}

#[test]
fn an_error_event_may_say_what_was_used() {
    let usage = r#""usage":{"prompt_tokens":4,"completion_tokens":2}"#;
    let first = format!("data: {{\"error\":{{\"code\":500,\"message\":\"m\"}},{usage}}}\n\n");
    let named = format!("event: error\ndata: {{\"message\":\"m\",{usage}}}\n\n");
    for (api, events) in [(Api::Chat, &first), (Api::Completions, &first), (Api::Chat, &named)] {
        let (_, relay) = clean(api, events);
        assert_eq!((relay.failed(), tokens(&relay)), (true, Some((4, 2))), "{api:?} {events}");
    }
    let (_, relay) = clean(Api::Chat, &format!("{HELLO}{first}"));
    assert_eq!(tokens(&relay), Some((4, 2)), "in the middle as well");

    let message = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\"},\"usage\":{\"input_tokens\":4,\"output_tokens\":2}}\n\n";
    let (_, relay) = clean(Api::Messages, message);
    assert_eq!((relay.failed(), tokens(&relay)), (true, Some((4, 2))));
}

#[test]
fn a_stream_that_does_not_say_how_much_it_wrote_has_no_usage_and_its_chunk_is_taken_out_all_the_same() {
    let stop = "data: {\"choices\":[{\"index\":0,\"finish_reason\":\"stop\"}]}\n\n";
    let half = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3}}\n\n";

    let (out, relay) = relayed(Api::Chat, INJECTED, &format!("{stop}{half}{DONE}"), StreamEnd::Clean);

    assert_eq!((out, tokens(&relay)), (format!("{stop}{DONE}"), None));
}

#[test]
fn a_messages_stream_whose_parts_only_together_say_its_usage_is_read() {
    let start =
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":10}}}\n\n";
    let delta = "event: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":7}}\n\n";
    let stop = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

    let (_, relay) = clean(Api::Messages, &format!("{start}{delta}{stop}"));
    assert_eq!(tokens(&relay), Some((10, 7)));

    let (_, relay) = clean(Api::Messages, &format!("{start}{stop}"));
    assert_eq!(tokens(&relay), None, "what it wrote was never said");
}

#[test]
fn huge_token_counts_do_not_overflow() {
    let max = u64::MAX;
    let start = format!(
        "event: message_start\ndata: {{\"type\":\"message_start\",\"message\":{{\"usage\":{{\"input_tokens\":{max},\"cache_read_input_tokens\":{max},\"cache_creation_input_tokens\":{max}}}}}}}\n\n"
    );
    let delta =
        format!("event: message_delta\ndata: {{\"type\":\"message_delta\",\"usage\":{{\"output_tokens\":{max}}}}}\n\n");
    let (_, relay) = clean(Api::Messages, &format!("{start}{delta}"));
    assert_eq!(tokens(&relay), Some((max, max)));

    let choice = format!("data: {{\"choices\":[{{\"index\":{max},\"finish_reason\":\"stop\"}}]}}\n\n");
    let (out, _) = clean(Api::Chat, &format!("{choice}{DONE}"));
    assert_eq!(out, format!("{choice}{DONE}"));
}

/// Whether `"word"` stands somewhere as a key of a value that begins as wanted, looked for at every byte.
fn is_key(data: &[u8], word: &str, wanted: impl Fn(u8) -> bool) -> bool {
    let key = format!("\"{word}\"").into_bytes();
    (0..data.len()).filter_map(|at| data[at..].strip_prefix(&key[..])).any(|behind| {
        let value = behind.trim_ascii_start().strip_prefix(b":").unwrap_or_default().trim_ascii_start();
        value.first().is_some_and(|first| wanted(*first))
    })
}

/// Pieces of which chunks are made, in any order.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "\"usage\"",
        "\"finish_reason\"",
        "\"error\"",
        "\"index\"",
        "finish_reason\"",
        "\\\"usage\\\"",
        "usage",
        "\"",
        ":",
        " ",
        "\t",
        "{",
        "}",
        "1",
        "0",
        "null",
        ",",
        "x",
    ]);
    prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat().into_bytes())
}

/// Events of a stream of which many differ in a text alone.
fn events() -> impl Strategy<Value = Vec<String>> {
    let text = prop::sample::select(vec![
        "a",
        " b",
        "",
        "usage",
        "error",
        "\\n",
        ":",
        "\\\"usage\\\":{",
        "\",\"finish_reason\":\"stop",
        "\",\"usage\":{\"prompt_tokens\":1},\"x\":\"",
        "\n",
    ]);
    let event = prop_oneof![
        12 => (text.clone(), prop::sample::select(vec![0, 0, 0, 0, 0, 1])).prop_map(|(text, index)| {
            format!("data: {{\"choices\":[{{\"index\":{index},\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}],\"usage\":null}}\n\n")
        }),
        4 => text.clone().prop_map(|text| format!("data: {{\"choices\":[{{\"finish_reason\":\"{text}\"}}]}}\n\n")),
        4 => text.prop_map(|text| format!("data: {{\"{text}\":{{\"prompt_tokens\":3,\"completion_tokens\":2}},\"x\":\"a\"}}\n\n")),
        1 => Just(STOP.to_owned()),
        1 => Just(USAGE.to_owned()),
        1 => Just(DONE.to_owned()),
        1 => Just("data: {\"error\":{\"code\":500}}\n\n".to_owned()),
    ];
    prop::collection::vec(event, 0..24)
}

proptest! {
    #[test]
    fn a_glance_sees_what_a_look_at_every_byte_sees(data in pieces()) {
        let mut many = false;

        let sight = events::glance(&data, &mut many);

        prop_assert_eq!(sight.shows_usage(), is_key(&data, "usage", |first| first == b'{'));
        prop_assert_eq!(sight.error, is_key(&data, "error", |first| matches!(first, b'{' | b'"')));
        let finished = is_key(&data, "finish_reason", |first| first == b'"');
        prop_assert_eq!(sight.worth_parsing(), sight.shows_usage() || finished);
        prop_assert_eq!(many, is_key(&data, "index", |first| matches!(first, b'1'..=b'9')));
    }

    #[test]
    fn a_stream_is_relayed_alike_whether_its_shape_is_remembered_or_not(events in events()) {
        let mut remembering = StreamRelay::new(Api::Chat, INJECTED);
        let mut forgetful = StreamRelay::new(Api::Chat, INJECTED);
        let mut framer = SseFramer::new();
        framer.push(events.concat().into());
        while let Some(frame) = framer.next_frame().expect("small") {
            prop_assert_eq!(remembering.frame(frame.clone()), forgetful.frame(frame));
            prop_assert_eq!(remembering.usage(), forgetful.usage());
            forgetful.shape = Shape::default();
        }
        prop_assert_eq!(remembering.finish(StreamEnd::Clean), forgetful.finish(StreamEnd::Clean));
    }
}
