//! Ways to get stored state, addresses and hosted tools past a reader that looks only at the usual places.

use super::*;

#[test]
fn an_item_that_is_only_an_id_is_state_whatever_it_calls_itself() {
    let bare = [
        r#"{"type":"image_generation_call","id":"ig_123"}"#,
        r#"{"type":"image_generation_call","id":"ig_123","result":null,"status":"completed"}"#,
        r#"{"type":"reasoning","id":"rs_1","summary":[]}"#,
        r#"{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":null,"content":[ ]}"#,
        r#"{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":""}]}"#,
        r#"{"type":"reasoning","id":"rs_1","summary":[],"arguments":"x","output":"x"}"#,
        r#"{"type":"message","id":"msg_1"}"#,
        r#"{"type":"message","id":"msg_1","role":"assistant","content":[]}"#,
        r#"{"id":"msg_1","role":null}"#,
        r#"{"id":"msg_1","content":null}"#,
        r#"{"id":"msg_1","content":"","arguments":"x"}"#,
        r#"{"ID":"msg_1"}"#,
        r#"{"\u0069d":"msg_1"}"#,
        r#"{"type":"function_call","id":"fc_1"}"#,
        r#"{"type":"web_search_call","id":"ws_1","status":"completed"}"#,
        r#"{"type":"file_search_call","id":"fs_1","results":null}"#,
        r#"{"type":"function_call_output","id":"fco_1","output":""}"#,
        r#"{"type":"brand_new_call","id":"n_1","arguments":"x"}"#,
        r#"{"type":"item_reference","id":"msg_1","content":"x"}"#,
    ];
    for item in bare {
        assert_eq!(findings(Api::Responses, &format!("\"input\":[{item}]")), ["keep_state $.input[0]"], "{item}");
        assert_eq!(findings(Api::Responses, &format!("\"input\":{item}")), ["keep_state $.input"], "{item}");
    }
}

#[test]
fn an_item_that_is_written_out_may_keep_its_id() {
    let whole = [
        r#"{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAAA"}"#,
        r#"{"type":"reasoning","id":"rs_1","summary":[],"content":[{"type":"reasoning_text","text":"hm"}]}"#,
        r#"{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"hm"}]}"#,
        r#"{"type":"message","id":"msg_1","role":"assistant","content":[{"type":"output_text","text":"x","annotations":[
            {"type":"container_file_citation","container_id":"cntr_1","file_id":"cfile_1"},
            {"type":"url_citation","url":"https://a"}]}]}"#,
        r#"{"id":"m","role":"user","content":"x"}"#,
        r#"{"type":"function_call","id":"fc_1","call_id":"c","name":"f","arguments":""}"#,
        r#"{"type":"custom_tool_call","id":"ctc_1","call_id":"c","name":"f","input":""}"#,
        r#"{"type":"local_shell_call","id":"lsh_1","action":{"type":"exec","command":["ls","/x"],"working_directory":"/y"}}"#,
        r#"{"type":"apply_patch_call","id":"apc_1","operation":{"type":"update_file","path":"/src/x.rs","diff":"@@"}}"#,
        r#"{"type":"image_generation_call","id":"ig_1","result":"iVBORw0KGgo="}"#,
        r#"{"type":"web_search_call","id":"ws_1","action":{"type":"search","query":"q"}}"#,
        r#"{"type":"function_call_output","id":"fco_1","call_id":"c","output":"/etc/passwd was read from http://a"}"#,
        r#"{"type":"compaction","id":"cmp_1","encrypted_content":"x"}"#,
        r#"{"type":"message","role":"user","content":""}"#,
    ];
    for item in whole {
        assert_eq!(findings(Api::Responses, &format!("\"input\":[{item}]")), Vec::<String>::new(), "{item}");
    }
}

#[test]
fn what_a_provider_has_stored_is_found_by_every_name() {
    use Api::{Chat, Responses};
    assert_findings(&[
        (
            Responses,
            r#""input":[{"type":"code_interpreter_call","id":"ci_1","code":"1","container_id":"cntr_1"}]"#,
            &["keep_state $.input[0].container_id"],
        ),
        (
            Responses,
            r#""input":[{"type":"mcp_approval_response","approve":true,"approval_request_id":"mcpr_1"}]"#,
            &["keep_state $.input[0].approval_request_id"],
        ),
        (Chat, r#""container_id":"c""#, &["keep_state $.container_id"]),
        (Chat, r#""cached_content":"cachedContents/1","cachedContent":null"#, &["keep_state $.cached_content"]),
        (
            Chat,
            r#""extra_body":{"store":true,"google":{"cached_content":"c"}}"#,
            &[
                "keep_state $.extra_body.store",
                "keep_state $.extra_body.google.cached_content",
                "hosted:google $.extra_body.google",
            ],
        ),
        (Chat, r#""messages":[{"audio":[{"id":"audio_1"}]}]"#, &["keep_state $.messages[0].audio"]),
        (Chat, r#""messages":[{"audio":[[{"id":"audio_1"}]]}]"#, &["keep_state $.messages[0].audio"]),
        (Chat, r#""messages":[{"audio":[]},{"audio":null},{"audio":[{"id":null}]}]"#, &[]),
    ]);
}

#[test]
fn addresses_and_local_paths_are_found_in_media_of_every_form() {
    use Api::{Chat, Completions, Embeddings, Messages, Responses};
    let part = |part: &str| format!(r#""messages":[{{"role":"user","content":[{part}]}}]"#);
    let parts = [
        (r#"{"type":"image","image":"/etc/passwd"}"#, ".image"),
        (r#"{"type":"image","image":"\/etc\/passwd"}"#, ".image"),
        (r#"{"type":"video","video":["/data/x"]}"#, ".video[0]"),
        (r#"{"type":"image","path":"/data/x"}"#, ".path"),
        (r#"{"type":"image","href":"http://a"}"#, ".href"),
        (r#"{"type":"image","link":"gopher://a"}"#, ".link"),
        (r#"{"type":"image","source":"/data/x"}"#, ".source"),
        (r#"{"source":"https://a","type":"video_file"}"#, ".source"),
        (r#"{"type":"image","multimodal_data":["\\\\host\\x"]}"#, ".multimodal_data[0]"),
        (r#"{"type":"image_url","image_url":{"metadata":{"url":"http://a"}}}"#, ".image_url.metadata.url"),
        (r#"{"type":"image_url","image_url":{"schema":["http://a"]}}"#, ".image_url.schema[0]"),
        (r#"{"type":"url_citation","url":"https://a"}"#, ".url"),
        (r#"{"type":"web_search_result","url":"https://a"}"#, ".url"),
        (r#"{"type":"file","file":{"file_data":"https://a"}}"#, ".file.file_data"),
        (r#"{"type":"image","b64_json":"file:///x"}"#, ".b64_json"),
        (r#"{"type":"audio","audio":{"bytes":"/x/y.wav"}}"#, ".audio.bytes"),
    ];
    for (media, place) in parts {
        let found = findings(Chat, &part(media));
        assert_eq!(found, [format!("remote_url $.messages[0].content[0]{place}")], "{media}");
    }
    assert_findings(&[
        (
            Responses,
            r#""input":[{"type":"input_file","file_data":"https://a"},{"role":"user","content":[
                {"type":"input_file","file_data":"http:\/\/b"}]}]"#,
            &["remote_url $.input[0].file_data", "remote_url $.input[1].content[0].file_data"],
        ),
        (
            Completions,
            r#""prompt":{"prompt_string":"see http://a","multimodal_data":["http://b"]}"#,
            &["remote_url $.prompt.multimodal_data[0]"],
        ),
        (Completions, r#""prompt":[{"unheard_of":{"x":"/etc/passwd"}}]"#, &["remote_url $.prompt[0].unheard_of.x"]),
        (Completions, r#""prompt":["/etc/passwd is a file","http://a"]"#, &[]),
        (Embeddings, r#""input":[{"text":"/etc/passwd"},{"content":"http://a"}]"#, &[]),
        (Chat, r#""api_base":"evil.example/v1""#, &["remote_url $.api_base"]),
        (
            Chat,
            r#""base_url":"http://a","webhook":{"url":"b"}"#,
            &["remote_url $.base_url", "remote_url $.webhook.url"],
        ),
        (Chat, r#""extra_body":{"callback_url":"http://a"}"#, &["remote_url $.extra_body.callback_url"]),
        (Messages, r#""messages":[{"content":[{"type":"search_result","source":"https://a","title":"t"}]}]"#, &[]),
        (Messages, r#""documents":[{"text":"see http://a","source":"https://a"}]"#, &[]),
    ]);
}

#[test]
fn a_tool_is_the_callers_only_where_it_is_declared_as_one() {
    use Api::{Chat, Messages, Responses};
    assert_findings(&[
        (Chat, r#""tools":[{"google_search":{}}]"#, &["hosted:google_search $.tools[0].google_search"]),
        (Responses, r#""tools":[{"googleSearch":{}}]"#, &["hosted:googlesearch $.tools[0].googleSearch"]),
        (
            Chat,
            r#""tools":[{"type":"function","function":{"name":"f"},"googleSearch":{}}]"#,
            &["hosted:googlesearch $.tools[0].googleSearch"],
        ),
        (Messages, r#""tools":[{"name":"web_search","max_uses":3}]"#, &["hosted:unknown $.tools[0]"]),
        (Messages, r#""tools":[{"type":null,"name":"web_search"}]"#, &["hosted:unknown $.tools[0]"]),
        (Messages, r#""tools":[{"name":"web_search","input_schema":null}]"#, &["hosted:unknown $.tools[0]"]),
        (Messages, r#""tools":[{"function":{"name":"web_search"}}]"#, &["hosted:unknown $.tools[0]"]),
        (Chat, r#""tools":[{"function":null}]"#, &["hosted:unknown $.tools[0]"]),
        (Chat, r#""tools":[{"parameters":{}}]"#, &["hosted:unknown $.tools[0]"]),
        (Chat, r#""tools":["web_search"]"#, &["hosted:web_search $.tools[0]"]),
        (Chat, r#""tools":{"web_search":{}}"#, &["hosted:unknown $.tools"]),
        (Chat, r#""extra_body":{"tools":[{"type":"mcp"}]}"#, &["hosted:mcp $.extra_body.tools[0]"]),
        (Chat, r#""tools":[{"function":{"name":"f"}},{"name":"f","parameters":{}}]"#, &[]),
        (Messages, r#""tools":[{"input_schema":{},"name":"f"},{"type":null,"name":"g","input_schema":{}}]"#, &[]),
        (
            Responses,
            r#""tools":[{"type":"shell","environment":{"skills":[{"name":"s","path":"/home/me/s"}],"type":"local"}}]"#,
            &[],
        ),
    ]);
}

#[test]
fn members_by_which_a_server_searches_runs_or_loads_something_are_found() {
    let hosted = [
        ("enable_search", "true", "web_search"),
        ("web_search", "{}", "web_search"),
        ("search_options", "{\"forced_search\":true}", "web_search"),
        ("web_search_options", "{}", "web_search"),
        ("google", "{\"x\":1}", "google"),
        ("compound_custom", "{\"tools\":{\"enabled_tools\":[]}}", "compound_custom"),
        ("custom_logit_processor", "\"80049\"", "custom_logit_processor"),
        ("logits_processors", "[\"os.system\"]", "logits_processors"),
        ("lora_path", "\"adapter\"", "lora_path"),
        ("lora_request", "{\"lora_name\":\"a\"}", "lora_request"),
        ("chat_template", "\"{{ 1 }}\"", "chat_template"),
        ("Chat_Template", "\"{{ 1 }}\"", "chat_template"),
    ];
    for (member, value, kind) in hosted {
        let hits = |members: String, place: &str| {
            let expected = format!("hosted:{kind} $.{place}{member}");
            assert!(findings(Api::Chat, &members).contains(&expected), "{members}");
        };
        hits(format!("\"{member}\":{value}"), "");
        hits(format!("\"extra_body\":{{\"{member}\":{value}}}"), "extra_body.");
        for nothing in ["null", "false"] {
            let members = format!("\"{member}\":{nothing},\"extra_body\":{{\"{member}\":{nothing}}}");
            assert_eq!(findings(Api::Chat, &members), Vec::<String>::new(), "{members}");
        }
    }
    assert_findings(&[
        (Api::Chat, r#""chat_template_kwargs":{"enable_thinking":false},"enable_thinking":true"#, &[]),
        (
            Api::Chat,
            r#""chat_template_kwargs":{"chat_template":"{{ 1 }}"}"#,
            &["hosted:chat_template $.chat_template_kwargs.chat_template"],
        ),
    ]);
}

#[test]
fn text_that_speaks_of_urls_and_paths_passes() {
    use Api::{Chat, Messages, Responses};
    assert_findings(&[
        (
            Chat,
            r#""messages":[{"role":"system","content":"/etc/passwd"},{"role":"user","name":"n","content":[
                {"type":"text","text":"http://a"},{"type":"text","text":"/data/x"},
                {"type":"file","file":{"filename":"/home/me/x.pdf","file_data":"data:application/pdf;base64,JVBER"}},
                {"type":"input_audio","input_audio":{"data":"UklGRgAA","format":"wav"}},
                {"type":"image_url","image_url":{"url":"data:image/png;base64,AA","detail":"high"}}]},
                {"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":
                {"name":"read","arguments":"{\"path\":\"/etc/passwd\"}"}}]},
                {"role":"tool","tool_call_id":"c","content":"https://a /b"}]"#,
            &[],
        ),
        (
            Messages,
            r#""system":"/src","messages":[{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"Read",
                "input":{"path":"/etc/passwd","source":"http://a","tools":["x"],"container_id":"c"}}]},
                {"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"/x"}]},
                {"type":"document","title":"/x","context":"http://a","source":{"type":"text","media_type":"text/plain",
                "data":"/etc/hosts says http://a"}},
                {"type":"image","source":{"type":"base64","media_type":"image/jpeg","data":"/9j/4AAQ"}}]}]"#,
            &[],
        ),
        (
            Responses,
            r#""instructions":"/x","input":[{"role":"user","content":[{"type":"input_text","text":"/etc/passwd"},
                {"type":"input_file","filename":"/a/b.pdf","file_data":"data:application/pdf;base64,JVBER"}]},
                {"type":"function_call","call_id":"c","name":"f","arguments":"{}"},
                {"type":"function_call_output","call_id":"c","output":"/x/y"},
                {"type":"custom_tool_call","call_id":"d","name":"apply_patch","input":"/x"}],
                "reasoning":{"effort":"high","summary":"auto"},"text":{"verbosity":"low"}"#,
            &[],
        ),
    ]);
}

#[test]
fn paths_of_findings_are_bounded_however_deep_and_long_the_keys_are() {
    let key = r"\u0001".repeat(64);
    let mut members = String::from("\"x\":");
    for _ in 0..120 {
        members.push_str(&format!("{{\"{key}\":"));
    }
    let entries: Vec<String> =
        (0..63).flat_map(|kind| (0..8).map(move |_| format!(r#"{{"tools":[{{"type":"tool{kind}"}}]}}"#))).collect();
    members.push_str(&format!("[{}]", entries.join(",")));
    members.push_str(&"}".repeat(120));

    let call = call(Api::Chat, &format!("{{\"model\":\"m\",{members},\"store\":true}}"));

    let features = call.features();
    assert!(features.iter().map(|feature| feature.path.len()).sum::<usize>() < 64 * 1024);
    assert!(features.iter().all(|feature| feature.path.len() <= 256), "{features:?}");
    assert!(features.iter().take(504).any(|feature| feature.path.ends_with('\u{2026}')));
    assert!(!features.iter().any(|feature| feature.path.contains(char::is_control) || feature.path.contains("u0001")));
    for kind in 0..63 {
        let kind = FeatureKind::HostedTool(format!("tool{kind}"));
        assert!(features.iter().any(|feature| feature.kind == kind), "{kind:?}");
    }
    assert!(features.iter().any(|feature| feature.kind == FeatureKind::KeepState));
}

#[test]
fn a_caller_that_names_where_inference_runs_is_refused_in_every_api_and_however_it_is_written() {
    let naming = [
        r#""inference_geo":"global""#,
        r#""inference_geo":null"#,
        r#""inference_geo":{}"#,
        r#""Inference_Geo":"global""#,
        r#""INFERENCE_GEO":"us""#,
        r#""inference\u005fgeo":"us""#,
        r#""inferenceGeo":"us""#,
        r#""extra_body":{"inference_geo":"global"}"#,
        r#""Extra_Body":{"Inference_geo":"global"}"#,
        r#""extra_body":{"extra_body":{"inference_geo":"global"}}"#,
        r#""nvext":{"inference_geo":null}"#,
    ];
    for api in [Api::Chat, Api::Completions, Api::Responses, Api::Embeddings, Api::Messages, Api::CountTokens] {
        for members in naming {
            let error = refused(api, &format!(r#"{{"model":"m",{members}}}"#));
            assert_eq!((&error, error.param()), (&DecodeError::PlaceNamed, Some("inference_geo")), "{api:?} {members}");
        }
        // The caller's own names, and words about it, are no choice of a place.
        let members = r#""metadata":{"inference_geo":"us"},"messages":[{"role":"user","content":"inference_geo: us"}]"#;
        assert_eq!(findings(api, members), Vec::<String>::new(), "{api:?}");
    }
}
