//! The ways around: labels by header and metadata, stateful features, addresses, hosted tools, duplicate keys, a stream that
//! fails, a reload in the middle, bodies that cannot be read.

use serde_json::{Value, json};

use super::{PLACES, World, ask, key};
use crate::testkit::{Act, Gate, Request, Step, chat, chat_stream, chunk, until};

/// Where an app without labels may go once the request says that it is confidential.
const CONFIDENTIAL: &[&str] = &["site", "aoai-standard", "aoai-zone", "eusc", "swiss"];

/// Where an app without labels may go once the request says that it holds personal data.
const PERSONAL: &[&str] = &["site", "aoai-standard", "eusc"];

fn with(extra: &Value) -> Value {
    let mut body = chat("everywhere");
    body.as_object_mut().expect("a chat is an object").extend(extra.as_object().expect("an object").clone());
    body
}

/// A request can add labels in three ways, and can take none away.
#[tokio::test]
async fn labels_of_a_request_narrow_where_it_may_go_and_never_widen() {
    let world = World::start().await;
    let mut tally = world.begin("labels by header and metadata");
    let header = |labels: &str| ask("plain", &chat("everywhere")).header("x-causeway-labels", labels);
    let rows: Vec<(&str, Request, &[&'static str])> = vec![
        ("one label", header("eu_personal"), PERSONAL),
        ("spaces and a repetition", header(" eu_personal ,eu_personal"), PERSONAL),
        ("two labels", header("eu_personal, special_category"), &["site"]),
        ("labels that exclude one another", header("eu_personal, ch_bank"), &[]),
        ("two headers", header("eu_personal").header("x-causeway-labels", "special_category"), &["site"]),
        ("metadata", ask("plain", &with(&json!({"metadata": {"x-causeway-labels": "eu_personal"}}))), PERSONAL),
        (
            "metadata in other letters",
            ask("plain", &with(&json!({"metadata": {"X-Causeway-Labels": "special_category"}}))),
            &["site"],
        ),
        (
            "header and metadata",
            ask("plain", &with(&json!({"metadata": {"x-causeway-labels": "special_category"}})))
                .header("x-causeway-labels", "eu_personal"),
            &["site"],
        ),
        ("no labels take none away", ask("personal", &chat("everywhere")).header("x-causeway-labels", ""), PERSONAL),
    ];

    let of_a_purpose = || Request::post("/v1/chat/completions", &chat("everywhere")).key(&key("purposeful"));
    let unreadable: [(&str, Request); 7] = [
        ("a wrong case", header("EU_PERSONAL")),
        ("an unknown label", header("eu_personal, nonsense")),
        ("an unknown label in metadata", ask("plain", &with(&json!({"metadata": {"x-causeway-labels": "x"}})))),
        ("labels that are no text", ask("plain", &with(&json!({"metadata": {"x-causeway-labels": ["health"]}})))),
        ("very many labels", header(&["health"; 1_000].join(","))),
        ("no purpose", of_a_purpose()),
        ("an unregistered purpose", of_a_purpose().header("x-causeway-purpose", "marketing")),
    ];

    for (what, request, allowed) in rows {
        world.row(&mut tally, what, request, allowed).await;
    }
    for (what, request) in unreadable {
        world.unreadable(&mut tally, what, request).await;
    }

    world.conclude(tally);
}

/// A request can raise its class in two ways, and can lower it in none.
#[tokio::test]
async fn the_class_of_a_request_narrows_where_it_may_go_and_never_widens() {
    let world = World::start().await;
    let mut tally = world.begin("classes by header and metadata");
    let of = |app: &str, class: &str| ask(app, &chat("everywhere")).header("x-causeway-class", class);
    let metadata = |name: &str, class: Value| ask("plain", &with(&json!({"metadata": {name: class}})));
    let member = "x-causeway-class";
    let rows: Vec<(&str, Request, &[&'static str])> = vec![
        ("confidential", of("plain", "confidential"), CONFIDENTIAL),
        ("secret, with spaces", of("plain", " secret "), &["site"]),
        ("two headers", of("plain", "secret").header(member, "internal"), &["site"]),
        ("two in one", of("plain", "internal, secret"), &["site"]),
        ("metadata", metadata(member, json!("confidential")), CONFIDENTIAL),
        ("metadata in other letters", metadata("X-Causeway-Class", json!("secret")), &["site"]),
        ("header and metadata", metadata(member, json!("secret")).header(member, "public"), &["site"]),
        ("a lower one lowers nothing", of("secret", "public"), &["site"]),
        ("it takes no label away", of("personal", "public"), PERSONAL),
    ];
    let unreadable = [
        ("a wrong case", of("plain", "Secret")),
        ("an unknown class", of("plain", "cosmic")),
        ("a number", of("plain", "3")),
        ("an empty one", of("plain", "")),
        ("an unknown class in metadata", metadata(member, json!("cosmic"))),
        ("a class that is no text", metadata(member, json!(3))),
    ];

    for (what, request, allowed) in rows {
        world.row(&mut tally, what, request, allowed).await;
    }
    for (what, request) in unreadable {
        world.unreadable(&mut tally, what, request).await;
    }

    world.conclude(tally);
}

#[tokio::test]
async fn ten_thousand_labels_are_answered_and_reach_nobody() {
    let world = World::start().await;
    let mut tally = world.begin("10,000 labels");
    let many = (0..10_000).map(|label| format!("label-{label}")).collect::<Vec<_>>().join(",");

    let in_metadata = ask("plain", &with(&json!({"metadata": {"x-causeway-labels": many}})));
    world.unreadable(&mut tally, "10,000 labels", in_metadata).await;

    world.conclude(tally);
}

/// Nobody is granted anything here, so each of these reaches nobody, own site or cloud.
#[tokio::test]
async fn state_addresses_and_hosted_tools_reach_nobody_without_a_grant() {
    let world = World::start().await;
    let mut tally = world.begin("features");
    let part = |part: Value| json!({"messages": [{"role": "user", "content": [part]}]});
    let features = [
        ("stored", json!({"store": true})),
        ("remote image", part(json!({"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}))),
        ("remote file", part(json!({"type": "input_file", "file_url": "https://example.org/a.pdf"}))),
        ("file id", part(json!({"type": "file", "file": {"file_id": "file-1"}}))),
        ("web search", json!({"web_search_options": {}})),
        ("hosted tool", json!({"tools": [{"type": "web_search"}]})),
        ("remote MCP", json!({"tools": [{"type": "mcp", "server_url": "https://example.org/mcp"}]})),
        ("unknown tool", json!({"tools": [{"type": "something_new"}]})),
    ];

    for (what, feature) in features {
        for app in ["plain", "personal"] {
            world.row(&mut tally, &format!("{what} of {app}"), ask(app, &with(&feature)), &[]).await;
        }
    }
    let all: Vec<&str> = PLACES.iter().map(|(name, _)| *name).collect();
    world.undialled(&mut tally, &all);

    world.conclude(tally);
}

/// Two readers of a document with a key twice can see two documents.
#[tokio::test]
async fn keys_that_stand_twice_reach_nobody() {
    let world = World::start().await;
    let mut tally = world.begin("duplicate keys");
    let bodies = [
        r#"{"model":"at-site","model":"at-aoai-global","messages":[{"role":"user","content":"x"}]}"#,
        r#"{"model":"at-site","messages":[{"role":"user","content":"x"}],"messages":[]}"#,
        r#"{"model":"everywhere","metadata":{"x-causeway-labels":"health","x-causeway-labels":""},"messages":[]}"#,
        r#"{"model":"everywhere","metadata":{"x-causeway-labels":"health"},"metadata":{},"messages":[]}"#,
    ];

    for body in bodies {
        let request = Request::bytes("/v1/chat/completions", body).key(&key("personal"));
        world.unreadable(&mut tally, body, request).await;
    }

    world.conclude(tally);
}

/// What one reader takes for text and another does not, and what no reader goes to the end of.
#[tokio::test]
async fn bodies_that_are_too_deep_or_no_text_reach_nobody() {
    let world = World::start().await;
    let mut tally = world.begin("bodies that cannot be read");
    let around = |content: &[u8]| {
        let head = br#"{"model":"everywhere","messages":[{"role":"user","content":"#;
        [head.as_slice(), content, b"}]}"].concat()
    };
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let bodies: [(&str, Vec<u8>); 5] = [
        ("10,000 lists in one another", around(deep.as_bytes())),
        (
            "10,000 objects in one another",
            around(format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000)).as_bytes()),
        ),
        ("bytes that are no UTF-8", around(b"\"a\xff\xc0b\"")),
        ("half of a surrogate pair", around(br#""a\ud800b""#)),
        ("the other half", around(br#""a\udc00b""#)),
    ];

    for (what, body) in bodies {
        let request = Request::bytes("/v1/chat/completions", body).key(&key("plain"));
        world.unreadable(&mut tally, what, request).await;
    }
    let all: Vec<&str> = PLACES.iter().map(|(name, _)| *name).collect();
    world.undialled(&mut tally, &all);

    world.conclude(tally);
}

/// Of an ordinary length, and as long as a body may be: some 750,000 addresses and as many cards.
#[tokio::test]
async fn a_prompt_of_nothing_but_findings_goes_only_where_it_may() {
    let world = World::start().await;
    let mut tally = world.begin("a body of findings");
    let unit = "anna.meier@example.org 4111 1111 1111 1111 ";

    for bytes in [1 << 20, (32 << 20) - 1024] {
        let content = unit.repeat(bytes / unit.len());
        let body = json!({"model": "everywhere", "messages": [{"role": "user", "content": content}]});
        let what = format!("{bytes} bytes of nothing but findings");
        world.row(&mut tally, &what, ask("personal", &body), PERSONAL).await;
    }

    world.conclude(tally);
}

/// The stream of the only permitted place breaks, first before and then after its first byte.
#[tokio::test]
async fn a_stream_that_fails_is_tried_at_no_place_that_is_not_permitted() {
    let world = World::start().await;
    let mut tally = world.begin("streams that fail");
    let broken_at_once = Act::steps([Step::Close]);
    let broken_later = Act::steps([Step::Send(chunk("half").into()), Step::Close]);
    for (what, act) in [("before its first byte", broken_at_once), ("after it", broken_later)] {
        world.upstreams["site"].script([act]);
        tally.faults += 1;
        let request = ask("special", &chat_stream("everywhere"));
        let (_, reached, _) = world.case(&mut tally, what, request, &["site"]).await;
        assert_eq!(reached, ["site"], "{what}");
    }

    world.conclude(tally);
}

/// A reload makes the policy stricter while a request is under way and others come.
#[tokio::test]
async fn a_reload_narrows_the_next_request_and_leaves_the_running_one_its_permit() {
    let world = World::start().await;
    let mut tally = world.begin("a reload in the middle");
    let gate = Gate::closed();
    world.upstreams["aoai-standard"].script([Act::steps([Step::Send(chunk("one").into())]).after(&gate)]);
    let client = world.gateway.client();
    let running =
        tokio::spawn(async move { client.send(ask("personal", &chat_stream("at-aoai-standard"))).await.status });
    tally.rows += 1;
    tally.permitted.insert("aoai-standard");
    world.upstreams["aoai-standard"].request(0).await;

    // From now on the data of `personal` is of a special category, which only the own site may see.
    let text = world.gateway.configuration_text();
    let stricter =
        text.replace("[data.personal]\nlabels = [\"eu_personal\"]", "[data.personal]\nlabels = [\"special_category\"]");
    assert_ne!(stricter, text);
    world.gateway.configure_text(&stricter);
    world.gateway.signal("HUP");
    tally.faults += 1;
    until("the stricter policy", async || {
        let answer = world.gateway.send(ask("personal", &chat("at-aoai-standard"))).await;
        (answer.status == 403).then_some(())
    })
    .await;
    for place in ["aoai-standard", "eusc", "aoai-zone"] {
        world
            .row(
                &mut tally,
                &format!("after the reload at {place}"),
                ask("personal", &chat(&format!("at-{place}"))),
                &[],
            )
            .await;
    }
    gate.open();

    assert_eq!(running.await.expect("the client does not panic"), 200, "what was permitted when it was asked goes on");
    world.conclude(tally);
}

/// A folder of policies that is broken or half written changes nothing, and a whole one takes effect.
#[tokio::test]
async fn a_broken_folder_of_policies_keeps_the_old_ones_in_force() {
    let world = World::start().await;
    let strict = "@id(\"only-the-site\") @owner(\"me\") @basis(\"a test\") @grant(\"base\")\n\
                  permit (principal, action, resource) when { resource.own_site };\n";
    let text = world.gateway.configuration_text().replace("[policy]\n", "[policy]\nfolder = \"policies\"\n");
    let hash = |answer: crate::testkit::Answer| answer.header("x-causeway-policy").map(str::to_owned);
    let ask_plain = || world.gateway.send(ask("plain", &chat("at-nowhere")));
    let shipped = hash(ask_plain().await);

    world.gateway.replace_file("policies/10-mine.cedar", "permit (principal, act");
    world.gateway.configure_text(&text);
    world.gateway.signal("HUP");
    until("the fault in the log", async || world.gateway.log().contains("10-mine.cedar:1:").then_some(())).await;
    assert_eq!(hash(ask_plain().await), shipped, "the old policies are in force");

    world.gateway.replace_file("policies/10-mine.cedar", strict);
    world.gateway.signal("HUP");
    until("the new policies", async || (ask_plain().await.status == 403).then_some(())).await;
    assert_eq!(world.gateway.send(ask("plain", &chat("at-site"))).await.status, 200);
}

/// Each of these is what a copy that is under way, or broke off, can look like.
#[tokio::test]
async fn no_half_of_a_folder_of_policies_is_ever_in_force() {
    let world = World::start().await;
    let permit =
        "@id(\"all\") @owner(\"me\") @basis(\"a test\") @grant(\"base\")\npermit (principal, action, resource);\n";
    let forbid = "@id(\"only-the-site\") @owner(\"me\") @basis(\"a test\")\n\
                  forbid (principal, action, resource is Target) unless { resource.own_site };\n";
    let text = world.gateway.configuration_text().replace("[policy]\n", "[policy]\nfolder = \"policies\"\n");
    let folder = world.gateway.folder().join("policies");
    let hash = async || {
        let answer = world.gateway.send(ask("plain", &chat("at-site"))).await;
        answer.header("x-causeway-policy").map(str::to_owned)
    };
    world.gateway.replace_file("policies/10.cedar", permit);
    world.gateway.replace_file("policies/20.cedar", forbid);
    world.gateway.configure_text(&text);
    world.gateway.signal("HUP");
    until("the folder", async || {
        let status = world.gateway.send(ask("plain", &chat("at-nowhere"))).await.status;
        (status == 403).then_some(())
    })
    .await;
    let whole = hash().await;

    let cut = &forbid.as_bytes()[..forbid.len() / 2];
    let halves: [(&str, &[u8]); 4] = [
        ("cut in the middle of a policy", cut),
        ("cut in the middle of a letter", b"// caf\xc3"),
        ("a block of zeros where the data is not written yet", &[0; 512]),
        ("not a word", b"."),
    ];
    for (what, bytes) in halves {
        let refused = world.gateway.log().matches("not reloaded").count();
        std::fs::write(folder.join("20.cedar"), bytes).expect("the folder takes a file");
        world.gateway.signal("HUP");
        until(what, async || (world.gateway.log().matches("not reloaded").count() > refused).then_some(())).await;
        assert_eq!(hash().await, whole, "{what}");
        assert_eq!(world.gateway.send(ask("plain", &chat("at-nowhere"))).await.status, 403, "{what}");
    }

    // A file that is not there yet, as its link is.
    let refused = world.gateway.log().matches("not reloaded").count();
    std::fs::remove_file(folder.join("20.cedar")).expect("it is there");
    std::os::unix::fs::symlink(folder.join("later"), folder.join("20.cedar")).expect("a link can be made");
    world.gateway.signal("HUP");
    until("a dangling link", async || (world.gateway.log().matches("not reloaded").count() > refused).then_some(()))
        .await;
    assert_eq!(hash().await, whole);
}

/// The reading stands still in the middle of the folder, at a pipe, while a file that was read already is exchanged.
#[tokio::test]
async fn a_folder_that_changes_while_it_is_read_is_not_taken_and_read_again() {
    let world = World::start().await;
    let permit =
        "@id(\"all\") @owner(\"me\") @basis(\"a test\") @grant(\"base\")\npermit (principal, action, resource)";
    let strict = format!("{permit} when {{ resource.own_site }};\n");
    let text = world.gateway.configuration_text().replace("[policy]\n", "[policy]\nfolder = \"policies\"\n");
    let folder = world.gateway.folder().join("policies");
    world.gateway.replace_file("policies/10.cedar", &strict);
    world.gateway.configure_text(&text);
    world.gateway.signal("HUP");
    let status = async || world.gateway.send(ask("plain", &chat("at-nowhere"))).await.status;
    until("the folder", async || (status().await == 403).then_some(())).await;

    let pipe = folder.join("99.cedar");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo is part of every system");
    assert!(made.success());
    world.gateway.signal("HUP");
    // Opening waits for the reader, who has read the first file by then.
    let opened = tokio::task::spawn_blocking(move || std::fs::OpenOptions::new().write(true).open(&pipe));
    let writer = opened.await.expect("no panic").expect("the gateway reads it");
    std::fs::remove_file(folder.join("99.cedar")).expect("it is there");
    world.gateway.replace_file("policies/10.cedar", &format!("{permit};\n"));
    drop(writer);

    until("the refusal", async || {
        world.gateway.log().contains("changed while the configuration was read").then_some(())
    })
    .await;
    until("the second reading", async || (status().await == 200).then_some(())).await;
}
