use super::*;

mod refused;

fn call(api: Api, body: &str) -> Call {
    match decode(api, None, Bytes::copy_from_slice(body.as_bytes())) {
        Ok(call) => call,
        Err(error) => unreachable!("{error}: {body}"),
    }
}

fn refused(api: Api, body: &str) -> DecodeError {
    decode(api, None, Bytes::copy_from_slice(body.as_bytes())).expect_err("the test's body is no call")
}

/// The findings in a body whose members besides `model` are given, as words.
fn findings(api: Api, members: &str) -> Vec<String> {
    let call = call(api, &format!("{{\"model\":\"m\",{members}}}"));
    let word = |feature: &Feature| match &feature.kind {
        FeatureKind::KeepState => format!("keep_state {}", feature.path),
        FeatureKind::RemoteUrl => format!("remote_url {}", feature.path),
        FeatureKind::HostedTool(kind) => format!("hosted:{kind} {}", feature.path),
    };
    call.features().iter().map(word).collect()
}

fn assert_findings(table: &[(Api, &str, &[&str])]) {
    for (api, members, expected) in table {
        assert_eq!(findings(*api, members), *expected, "{api:?} {members}");
    }
}

#[test]
fn what_the_gateway_needs_is_read_in_one_walk() {
    let body = r#"{"messages":[{"role":"user","content":"hello"}],"max_tokens":5,"max_completion_tokens":9,
        "model":"m\u002d1","stream":true,"stream_options":{"x":1,"include_usage":true},"n":2}"#;

    let call = call(Api::Chat, body);

    assert_eq!(call.model(), "m-1");
    assert!(call.stream());
    assert!(call.usage_asked());
    assert_eq!(call.max_output_tokens(), Some(9));
    assert_eq!(call.input_bytes(), "userhello".len());
    assert_eq!(call.features(), []);
    assert_eq!(call.body(), body.as_bytes());
}

#[test]
fn only_the_names_that_an_api_heeds_bound_its_output() {
    let all = r#"{"model":"m","max_tokens":5,"max_completion_tokens":7,"max_output_tokens":9}"#;
    let table = [
        (Api::Chat, Some(7)),
        (Api::Completions, Some(5)),
        (Api::Messages, Some(5)),
        (Api::Responses, Some(9)),
        (Api::CountTokens, None),
        (Api::Embeddings, None),
        (Api::Rerank, None),
    ];

    for (api, expected) in table {
        assert_eq!(call(api, all).max_output_tokens(), expected, "{api:?}");
    }
    assert_eq!(call(Api::Responses, r#"{"model":"m","max_tokens":1}"#).max_output_tokens(), None);
}

#[test]
fn a_body_that_is_no_call_says_which_member_is_wrong() {
    let table = [
        ("[]", DecodeError::NotAnObject, None),
        ("\"x\"", DecodeError::NotAnObject, None),
        ("{}", DecodeError::NoModel, Some("model")),
        (r#"{"model":null}"#, DecodeError::NoModel, Some("model")),
        (r#"{"model":""}"#, DecodeError::ModelEmpty, Some("model")),
        (r#"{"model":5}"#, DecodeError::ModelNotText, Some("model")),
        (r#"{"model":["a"]}"#, DecodeError::ModelNotText, Some("model")),
        (r#"{"model":"m","stream":1}"#, DecodeError::StreamNotBool, Some("stream")),
        (r#"{"model":"m","stream_options":[]}"#, DecodeError::StreamOptionsNotObject, Some("stream_options")),
        (r#"{"model":"m","Model":"n"}"#, DecodeError::LookAlike { expected: "model" }, Some("model")),
        (r#"{"model":"m","\u017ftream":true}"#, DecodeError::LookAlike { expected: "stream" }, Some("stream")),
        (r#"{"model":"m","Store":true}"#, DecodeError::LookAlike { expected: "store" }, Some("store")),
    ];
    for (body, expected, param) in table {
        let error = refused(Api::Chat, body);
        assert_eq!((&error, error.param()), (&expected, param), "{body}");
    }
    let long = format!(r#"{{"model":"{}"}}"#, "m".repeat(513));
    assert_eq!(refused(Api::Chat, &long), DecodeError::ModelTooLong);
    for bad in ["[1", "{\"model\":\"m\",\"model\":\"m\"}", "{\"model\":\"m\",\"a\":{\"b\":1,\"\\u0062\":2}}"] {
        assert!(matches!(refused(Api::Chat, bad), DecodeError::Json(_)), "{bad}");
    }
}

#[test]
fn the_model_in_the_path_wins() {
    for body in ["{}", r#"{"model":null}"#, r#"{"model":""}"#, r#"{"model":"other"}"#] {
        let call = decode(Api::Chat, Some("deployment"), Bytes::copy_from_slice(body.as_bytes())).expect("a call");
        assert_eq!(call.model(), "deployment", "{body}");
    }
    let wrong = decode(Api::Chat, Some("deployment"), Bytes::from_static(br#"{"model":5}"#));
    assert_eq!(wrong.expect_err("a number is no name"), DecodeError::ModelNotText);
}

#[test]
fn a_clone_shares_the_body_and_debug_shows_none_of_it() {
    let call = call(Api::Chat, r#"{"model":"m","messages":[{"content":"secret words"}]}"#);

    assert_eq!(call.clone().body().as_ptr(), call.body().as_ptr());
    assert!(!format!("{call:?}").contains("secret"));
}

#[test]
fn asking_a_provider_to_keep_state_is_found() {
    use Api::{Chat, Messages, Responses};
    assert_findings(&[
        (Responses, r#""store":true"#, &["keep_state $.store"]),
        (Chat, r#""store":true"#, &["keep_state $.store"]),
        (Chat, r#""store":"true""#, &["keep_state $.store"]),
        (Chat, r#""store":1"#, &["keep_state $.store"]),
        (Responses, r#""store":false"#, &[]),
        (Responses, r#""store":null"#, &[]),
        (Responses, r#""background":true"#, &["keep_state $.background"]),
        (Responses, r#""background":false"#, &[]),
        (Responses, r#""previous_response_id":"resp_1""#, &["keep_state $.previous_response_id"]),
        (Responses, r#""previous_response_id":null"#, &[]),
        (Responses, r#""conversation":"conv_1""#, &["keep_state $.conversation"]),
        (Responses, r#""conversation":{"id":"conv_1"}"#, &["keep_state $.conversation"]),
        (Responses, r#""conversation":null"#, &[]),
        (Responses, r#""prompt":{"id":"pmpt_1","variables":{"a":"b"}}"#, &["keep_state $.prompt"]),
        (Responses, r#""prompt":null"#, &[]),
        (Api::Completions, r#""prompt":"once upon a time""#, &[]),
        (Messages, r#""container":"container_1""#, &["keep_state $.container"]),
        (Messages, r#""container":{"id":"c","skills":[]}"#, &["keep_state $.container"]),
        (Messages, r#""container":null"#, &[]),
        (Responses, r#""prompt_cache_retention":"24h""#, &["keep_state $.prompt_cache_retention"]),
        (Responses, r#""prompt_cache_retention":"in_memory""#, &[]),
        (Responses, r#""prompt_cache_key":"k","safety_identifier":"u","service_tier":"auto""#, &[]),
        (Responses, r#""input":[{"type":"item_reference","id":"msg_1"}]"#, &["keep_state $.input[0]"]),
        (Responses, r#""input":[{"id":"msg_1"}]"#, &["keep_state $.input[0]"]),
        (Responses, r#""input":[{"id":"msg_1","type":null}]"#, &["keep_state $.input[0]"]),
        (
            Responses,
            r#""input":[{"id":"m","role":"user","content":"x"},{"id":"f","type":"reasoning","encrypted_content":"x"}]"#,
            &[],
        ),
        (Chat, r#""messages":[{"role":"assistant","audio":{"id":"audio_1"}}]"#, &["keep_state $.messages[0].audio"]),
        (Chat, r#""audio":{"voice":"alloy","format":"wav"},"modalities":["audio"]"#, &[]),
    ]);
}

#[test]
fn remote_addresses_are_found_wherever_content_can_hold_them() {
    use Api::{Chat, Embeddings, Messages, Rerank, Responses};
    assert_findings(&[
        (
            Chat,
            r#""messages":[{"role":"user","content":[{"type":"text","text":"see http://a"},
                {"type":"image_url","image_url":{"url":"https://a/b.png","detail":"high"}}]}]"#,
            &["remote_url $.messages[0].content[1].image_url.url"],
        ),
        (
            Chat,
            r#""messages":[{"content":[{"image_url":"http://a"}]}]"#,
            &["remote_url $.messages[0].content[0].image_url"],
        ),
        (
            Chat,
            r#""messages":[{"content":[{"type":"image_url","image_url":{"url":"http\u003a//a"}}]}]"#,
            &["remote_url $.messages[0].content[0].image_url.url"],
        ),
        (
            Chat,
            r#""messages":[{"content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}]"#,
            &[],
        ),
        (
            Chat,
            r#""messages":[{"content":[{"type":"video_url","video_url":{"url":"file:///etc/passwd"}}]}]"#,
            &["remote_url $.messages[0].content[0].video_url.url"],
        ),
        (
            Chat,
            r#""messages":[{"content":[{"type":"input_audio","input_audio":{"data":"https://a/x.wav","format":"wav"}}]}]"#,
            &["remote_url $.messages[0].content[0].input_audio.data"],
        ),
        (
            Chat,
            r#""messages":[{"content":[{"type":"image_url","Image_URL":{"URL":"gs://b/x"}}]}]"#,
            &["remote_url $.messages[0].content[0].Image_URL.URL"],
        ),
        (Chat, r#""messages":[{"content":"https://a/b is a page"}]"#, &[]),
        (
            Responses,
            r#""input":[{"role":"user","content":[{"type":"input_image","image_url":"https://a"},
                {"type":"input_file","file_url":"s3://b/x"}]}]"#,
            &["remote_url $.input[0].content[0].image_url", "remote_url $.input[0].content[1].file_url"],
        ),
        (
            Responses,
            r#""input":[{"type":"function_call_output","call_id":"c","output":[{"type":"input_image","image_url":"http://a"}]},
                {"type":"computer_call_output","output":{"type":"computer_screenshot","image_url":"http://b"}}]"#,
            &["remote_url $.input[0].output[0].image_url", "remote_url $.input[1].output.image_url"],
        ),
        (
            Messages,
            r#""messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"https://a"}},
                {"type":"document","source":{"url":"http://b","type":"url"}},
                {"type":"tool_result","content":[{"type":"image","source":{"type":"url","url":"http://c"}}]}]}]"#,
            &[
                "remote_url $.messages[0].content[0].source.url",
                "remote_url $.messages[0].content[1].source.url",
                "remote_url $.messages[0].content[2].content[0].source.url",
            ],
        ),
        (
            Messages,
            r#""messages":[{"content":[{"type":"document","source":{"type":"text","data":"http://a is a page"}},
                {"type":"search_result","source":"https://a","title":"t","content":[{"type":"text","text":"x"}]}]}]"#,
            &[],
        ),
        (Embeddings, r#""input":[{"image":"https://a"},"https://b"]"#, &["remote_url $.input[0].image"]),
        (Rerank, r#""query":"q","documents":[{"image":"http://a"},"http://b"]"#, &["remote_url $.documents[0].image"]),
        (
            Chat,
            r#""some_new_member":{"x":[{"avatar_uri":"ftp://a"}]}"#,
            &["remote_url $.some_new_member.x[0].avatar_uri"],
        ),
        (Chat, r#""image_urls":["data:,x","http://a"]"#, &["remote_url $.image_urls[1]"]),
        (Chat, r#""odd key":{"a.b":{"url":"http://a"}}"#, &[r#"remote_url $["odd key"]["a.b"].url"#]),
    ]);
}

#[test]
fn what_a_model_called_or_cited_before_is_no_address_to_fetch() {
    use Api::{Chat, Messages, Responses};
    assert_findings(&[
        (
            Messages,
            r#""messages":[{"content":[{"type":"tool_use","id":"t","name":"fetch","input":{"url":"https://a","file_id":"x"}}]}]"#,
            &[],
        ),
        (
            Messages,
            r#""messages":[{"content":[{"type":"web_search_tool_result","content":[{"type":"web_search_result","url":"https://a"},
                {"url":"https://b","type":"web_search_result"}]},
                {"type":"text","text":"t","citations":[{"type":"web_search_result_location","url":"https://a"}]}]}]"#,
            &[],
        ),
        (
            Chat,
            r#""messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{\"url\":\"http://a\"}"}}],
                "annotations":[{"type":"url_citation","url_citation":{"url":"https://a"}}]}]"#,
            &[],
        ),
        (
            Responses,
            r#""input":[{"type":"web_search_call","id":"w","action":{"type":"open_page","url":"https://a"}},
                {"type":"message","role":"assistant","content":[{"type":"output_text","text":"x",
                "annotations":[{"type":"url_citation","url":"https://a"}]}]}]"#,
            &[],
        ),
        (
            Messages,
            r#""messages":[{"content":[{"type":"image","url":"https://a"}]}]"#,
            &["remote_url $.messages[0].content[0].url"],
        ),
    ]);
}

#[test]
fn schemas_and_the_callers_own_names_are_not_judged() {
    let schema = r#"{"type":"object","properties":{"url":{"type":"string","default":"http://a"},"file_id":{"type":"string"},
        "tools":{"type":"array","default":[{"type":"web_search"}]}}}"#;
    let members = [
        (Api::Chat, format!(r#""tools":[{{"type":"function","function":{{"name":"f","parameters":{schema}}}}}]"#)),
        (Api::Chat, format!(r#""functions":[{{"name":"f","parameters":{schema}}}]"#)),
        (Api::Chat, format!(r#""response_format":{{"type":"json_schema","json_schema":{{"schema":{schema}}}}}"#)),
        (Api::Responses, format!(r#""tools":[{{"type":"function","name":"f","parameters":{schema}}}]"#)),
        (Api::Responses, format!(r#""text":{{"format":{{"type":"json_schema","schema":{schema}}}}}"#)),
        (
            Api::Messages,
            format!(r#""tools":[{{"name":"f","input_schema":{schema},"input_examples":[{{"url":"http://a"}}]}}]"#),
        ),
        (Api::Messages, format!(r#""output_config":{{"format":{{"type":"json_schema","schema":{schema}}}}}"#)),
        (Api::Chat, r#""metadata":{"url":"http://a","file_id":"f"}"#.to_owned()),
    ];
    for (api, members) in members {
        assert_eq!(findings(api, &members), Vec::<String>::new(), "{members}");
    }
}

#[test]
fn tools_that_a_provider_runs_are_found() {
    use Api::{Chat, Messages, Responses};
    assert_findings(&[
        (
            Responses,
            r#""tools":[{"type":"function","name":"f"},{"type":"web_search"}]"#,
            &["hosted:web_search $.tools[1]"],
        ),
        (
            Responses,
            r#""tools":[{"type":"code_interpreter","container":{"type":"auto"}}]"#,
            &["hosted:code_interpreter $.tools[0]"],
        ),
        (
            Responses,
            r#""tools":[{"type":"mcp","server_label":"l","server_url":"https://a/mcp"}]"#,
            &["remote_url $.tools[0].server_url", "hosted:mcp $.tools[0]"],
        ),
        (Responses, r#""tools":[{"type":"shell"}]"#, &["hosted:shell $.tools[0]"]),
        (
            Responses,
            r#""tools":[{"type":"shell","environment":{"type":"container_auto"}}]"#,
            &["hosted:shell $.tools[0]"],
        ),
        (Responses, r#""tools":[{"environment":{"type":"local"},"type":"shell"}]"#, &[]),
        (
            Responses,
            r#""tools":[{"type":"tool_search","execution":"client"},{"type":"local_shell"},{"type":"apply_patch"}]"#,
            &[],
        ),
        (Responses, r#""tools":[{"type":"tool_search","execution":"server"}]"#, &["hosted:tool_search $.tools[0]"]),
        (
            Responses,
            r#""tools":[{"type":"namespace","name":"n","tools":[{"type":"function"},{"type":"file_search"}]}]"#,
            &["hosted:file_search $.tools[0].tools[1]"],
        ),
        (Responses, r#""tools":[{"type":"custom","name":"c","format":{"type":"grammar","definition":"x"}}]"#, &[]),
        (Responses, r#""tools":[{"type":["web_search"]}]"#, &["hosted:unknown $.tools[0]"]),
        (Chat, r#""tools":[{"Type":"web_search"}]"#, &["hosted:unknown $.tools[0]"]),
        (Chat, r#""tools":[{"type":null,"function":{}}]"#, &[]),
        (
            Responses,
            r#""input":[{"type":"additional_tools","tools":[{"type":"mcp"}]}]"#,
            &["hosted:mcp $.input[0].tools[0]"],
        ),
        (Responses, r#""input":[{"type":"mcp_list_tools","tools":[{"name":"a","input_schema":{}}]}]"#, &[]),
        (
            Messages,
            r#""tools":[{"type":"web_search_20250305","name":"web_search"}]"#,
            &["hosted:web_search_20250305 $.tools[0]"],
        ),
        (Messages, r#""tools":[{"type":"bash_20250124","name":"bash"},{"name":"f","input_schema":{}}]"#, &[]),
        (Chat, r#""web_search_options":{}"#, &["hosted:web_search $.web_search_options"]),
        (Chat, r#""web_search_options":null"#, &[]),
        (
            Messages,
            r#""mcp_servers":[{"type":"url","url":"https://a","name":"n"}]"#,
            &["remote_url $.mcp_servers[0].url", "hosted:mcp $.mcp_servers"],
        ),
        (Messages, r#""mcp_servers":[]"#, &[]),
        (Chat, r#""data_sources":[{"type":"azure_search"}]"#, &["hosted:data_sources $.data_sources"]),
        (Chat, r#""dataSources":[{"type":"AzureCognitiveSearch"}]"#, &["hosted:data_sources $.dataSources"]),
        (Chat, r#""kv_transfer_params":{"remote_host":"h"}"#, &["hosted:kv_transfer $.kv_transfer_params"]),
        (
            Chat,
            r#""messages":[{"content":[{"type":"file","file":{"file_id":"f"}}]}]"#,
            &["hosted:file_id $.messages[0].content[0].file.file_id"],
        ),
        (
            Responses,
            r#""input":[{"content":[{"type":"input_file","file_id":"f"}]}]"#,
            &["hosted:file_id $.input[0].content[0].file_id"],
        ),
        (
            Messages,
            r#""messages":[{"content":[{"type":"image","source":{"type":"file","file_id":"f"}}]}]"#,
            &["hosted:file_id $.messages[0].content[0].source.file_id"],
        ),
        (Responses, r#""input":[{"content":[{"type":"input_file","file_id":null,"file_data":"data:,x"}]}]"#, &[]),
    ]);
}

#[test]
fn findings_are_bounded_and_no_kind_is_lost() {
    let many: Vec<String> = (0..1000).map(|_| r#"{"image_url":"http://a"}"#.to_owned()).collect();
    let members = format!(r#""messages":[{}],"store":true"#, many.join(","));
    let found = findings(Api::Chat, &members);
    assert_eq!(found.len(), 9);
    assert_eq!(found.last().map(String::as_str), Some("keep_state $.store"));

    let kinds: Vec<String> = (0..65).map(|n| format!(r#"{{"type":"tool{n}"}}"#)).collect();
    let body = format!(r#"{{"model":"m","tools":[{}]}}"#, kinds.join(","));
    assert_eq!(refused(Api::Chat, &body), DecodeError::TooManyFeatures);

    let long = "t".repeat(10_000);
    let found = findings(Api::Chat, &format!(r#""tools":[{{"type":"{long}"}}],"{long}":{{"url":"http://a"}}"#));
    assert!(found.iter().all(|finding| finding.len() < 200), "{found:?}");
}

#[test]
fn agents_with_only_client_tools_pass() {
    let codex = r#"{"model":"gpt-5-codex","instructions":"You are Codex","input":[{"type":"message","role":"user","content":[
        {"type":"input_text","text":"fetch https://example.com"}]},{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"x"},
        {"type":"function_call","id":"fc_1","name":"shell","arguments":"{\"url\":\"http://a\"}","call_id":"c"},
        {"type":"function_call_output","call_id":"c","output":"done"},
        {"type":"custom_tool_call","call_id":"d","name":"apply_patch","input":"*** Begin Patch"}],
        "tools":[{"type":"function","name":"exec","strict":false,"parameters":{"type":"object","properties":{"url":{"type":"string"}}}},
        {"type":"custom","name":"apply_patch","format":{"type":"grammar","syntax":"lark","definition":"start: x"}},
        {"type":"local_shell"}],"tool_choice":"auto","parallel_tool_calls":false,"reasoning":{"effort":"medium"},"store":false,
        "stream":true,"include":["reasoning.encrypted_content"],"prompt_cache_key":"019a","client_metadata":{"url":"http://x"}}"#;
    assert_eq!(call(Api::Responses, codex).features(), []);

    let claude = r#"{"model":"claude","max_tokens":32000,"stream":true,"system":[{"type":"text","text":"You are Claude Code",
        "cache_control":{"type":"ephemeral","ttl":"1h"}}],"messages":[{"role":"user","content":[{"type":"text","text":"read http://a"}]},
        {"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"s"},
        {"type":"tool_use","id":"toolu_1","name":"WebFetch","input":{"url":"https://a","prompt":"p"}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"text"}]}],
        "tools":[{"name":"WebFetch","description":"d","input_schema":{"type":"object","properties":{"url":{"type":"string","format":"uri"}}}},
        {"name":"Bash","input_schema":{"type":"object"}}],"metadata":{"user_id":"u"},"thinking":{"type":"enabled","budget_tokens":1000},
        "context_management":{"edits":[{"type":"clear_thinking_20251015","keep":"all"}]},"output_config":{"effort":"high"}}"#;
    let claude = call(Api::Messages, claude);
    assert_eq!(claude.features(), []);
    assert_eq!(claude.max_output_tokens(), Some(32000));
}

#[test]
fn what_providers_charge_for_beside_the_length_is_read() {
    let read = |members: &str| {
        let call = call(Api::Completions, &format!("{{\"model\":\"m\",{members}}}"));
        (call.choices(), call.service_tier())
    };

    assert_eq!(read(r#""x":1"#), (1, ServiceTier::Default));
    assert_eq!(read(r#""n":3,"best_of":5,"service_tier":"flex""#), (5, ServiceTier::Flex));
    assert_eq!(read(r#""n":0,"service_tier":"priority""#), (1, ServiceTier::Priority));
    assert_eq!(read(r#""n":"many","service_tier":"auto""#), (1, ServiceTier::Default));
}

#[test]
fn media_is_not_counted_as_text_and_tokens_are() {
    let media = "A".repeat(10_000);
    let table = [
        (
            Api::Chat,
            format!(r#""messages":[{{"content":[{{"image_url":{{"url":"data:image/png;base64,{media}"}}}}]}}]"#),
            0,
        ),
        (Api::Messages, format!(r#""messages":[{{"content":[{{"source":{{"data":"{media}"}}}}]}}]"#), 0),
        (
            Api::Chat,
            format!(r#""messages":[{{"content":[{{"input_audio":{{"data":"{media}","format":"wav"}}}}]}}]"#),
            3,
        ),
        (Api::Chat, r#""messages":[{"content":"h\u00e9llo"}]"#.to_owned(), 10),
        (Api::Embeddings, r#""input":[[1,2,3],[4,5]]"#.to_owned(), 20),
        (Api::Completions, r#""prompt":[1,2,3]"#.to_owned(), 12),
        (
            Api::Messages,
            r#""messages":[{"content":[{"source":{"type":"t","data":"plain words here"}}]}]"#.to_owned(),
            17,
        ),
    ];
    for (api, members, expected) in table {
        let call = call(api, &format!("{{\"model\":\"m\",{members}}}"));
        assert_eq!(call.input_bytes(), expected, "{}", members.get(..60).unwrap_or(&members));
    }
}

#[test]
fn the_user_is_read_from_the_member_that_names_one() {
    use Api::{Chat, Messages};
    let user = |api, members: &str| {
        let body = format!(r#"{{"model":"m","messages":[]{members}}}"#);
        decode(api, None, body.into()).unwrap().user().map(Cow::into_owned)
    };
    let table = [
        (Chat, r#","user":"u-1""#, Some("u-1")),
        (Chat, r#","user":"u\u002d1""#, Some("u-1")),
        (Chat, r#","user":"u-1","safety_identifier":"s-1""#, Some("s-1")),
        (Chat, r#","safety_identifier":"s-1","user":"u-1""#, Some("s-1")),
        (Messages, r#","metadata":{"user_id":"m-1"}"#, Some("m-1")),
        (Chat, r#","metadata":{"user_id":"m-1"}"#, None),
        (Chat, r#","user":"""#, None),
        (Chat, r#","user":7"#, None),
        (Chat, r#","x":{"user":"u-1"}"#, None),
        (Chat, "", None),
    ];
    for (api, members, expected) in table {
        assert_eq!(user(api, members).as_deref(), expected, "{members}");
    }
}

#[test]
fn the_turns_of_a_conversation_are_one_session_and_another_beginning_is_another() {
    let session = |api: Api, body: &str| {
        let call = decode(api, None, Bytes::copy_from_slice(body.as_bytes())).expect("the test's body is a call");
        call.session().map(|session| String::from_utf8_lossy(session).into_owned())
    };
    let chat = |messages: &str| session(Api::Chat, &format!(r#"{{"model":"m","messages":[{messages}]}}"#));
    let (system, hello) = (r#"{"role":"system","content":"be kind"}"#, r#"{"role":"user","content":"hello"}"#);
    let answer = r#"{"role":"assistant","content":"yes?"},{"role":"user","content":"more"}"#;

    let first = chat(&format!("{system},{hello}"));

    assert_eq!(first.as_deref(), Some(format!("[{system},{hello}").as_str()));
    assert_eq!(chat(&format!("{system},{hello},{answer}")), first);
    assert_ne!(chat(&format!(r#"{system},{{"role":"user","content":"good day"}}"#)), first);
    assert_eq!(chat(system), None, "nobody has asked for anything yet");
    assert_eq!(
        session(
            Api::Responses,
            r#"{"model":"m","input":[{"role":"user","content":"a"},{"type":"reasoning","summary":[]}]}"#
        ),
        Some(r#"[{"role":"user","content":"a"}"#.to_owned())
    );
    assert_eq!(session(Api::Responses, r#"{"model":"m","input":"a text"}"#), Some(r#""a text""#.to_owned()));
    assert_eq!(session(Api::Embeddings, r#"{"model":"m","input":"a text"}"#), None);
}

#[test]
fn a_cache_key_names_the_session_before_its_beginning_does() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"hello"}],"prompt_cache_key":"case-7"}"#;
    let call = decode(Api::Chat, None, Bytes::from_static(body.as_bytes())).expect("the test's body is a call");

    assert_eq!(call.session(), Some(&b"case-7"[..]));
}
