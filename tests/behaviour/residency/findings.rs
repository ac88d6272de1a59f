//! What inspection finds decides like a label: an account number keeps a request at home wherever in the body it stands, and a
//! card leaves only as a placeholder.

use serde_json::{Value, json};

use super::{PLACES, World, ask};
use crate::testkit::chat;

const IBAN: &str = "DE89 3704 0044 0532 0130 00";
const CARD: &str = "4111 1111 1111 1111";

/// A base grant, and that account numbers stay on own sites.
const POLICIES: &str = r#"
@id("all") @owner("me") @basis("a test") @grant("base")
permit (principal, action, resource is Target);

@id("account-numbers-stay-at-home") @owner("me") @basis("a test")
forbid (principal, action, resource is Target)
when { context.findings.contains("iban") }
unless { resource.own_site };
"#;

fn to(model: &str, more: &Value) -> Value {
    let mut body = chat(model);
    body.as_object_mut().expect("a chat is an object").extend(more.as_object().expect("an object").clone());
    body
}

/// The same finding, in each of the ways in which a request can hold it.
fn ways() -> Vec<(&'static str, Value)> {
    let message = |content: Value| json!({"messages": [{"role": "user", "content": content}]});
    let (begin, end) = IBAN.split_at(10);
    let spread = [begin, end].map(|part| json!({"type": "text", "text": part}));
    vec![
        ("in the text", message(json!(format!("please pay to {IBAN} today")))),
        ("split across parts", message(json!(spread))),
        (
            "in a system message",
            json!({"messages": [{"role": "system", "content": IBAN}, {"role": "user", "content": "x"}]}),
        ),
        (
            "in the arguments of a tool call",
            json!({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [{
                "id": "1", "type": "function",
                "function": {"name": "pay", "arguments": json!({"to": IBAN}).to_string()},
            }]}, {"role": "tool", "tool_call_id": "1", "content": "done"}]}),
        ),
        (
            "in the description of a tool",
            json!({"tools": [{"type": "function", "function": {"name": "pay", "description": IBAN}}]}),
        ),
        ("in a member that no API knows", json!({"something_new": {"deep": [IBAN]}})),
        ("as a key", json!({"something_new": {IBAN: 1}})),
    ]
}

#[tokio::test]
async fn a_finding_keeps_a_request_at_home_wherever_in_the_body_it_stands() {
    let world = World::start().await;
    let text = world.gateway.configuration_text().replace("[policy]\n", "[policy]\nfolder = \"policies\"\n");
    world.gateway.replace_file("policies/10.cedar", POLICIES);
    world.gateway.configure_text(&text);
    world.gateway.signal("HUP");
    let probe = || world.gateway.send(ask("plain", &to("at-nowhere", &ways()[0].1)));
    crate::testkit::until("the policies", async || (probe().await.status == 403).then_some(())).await;
    // What the rows below count begins here: the policies before this permitted the probe.
    let mut tally = world.begin("a label by finding");

    for (what, body) in ways() {
        for (place, _) in PLACES {
            let allowed: &[&'static str] = if *place == "site" { &["site"] } else { &[] };
            let request = ask("plain", &to(&format!("at-{place}"), &body));
            world.row(&mut tally, &format!("{what}, at {place}"), request, allowed).await;
        }
        world
            .row(&mut tally, &format!("{what}, with a choice"), ask("plain", &to("everywhere", &body)), &["site"])
            .await;
    }

    world.conclude(tally);
}

/// The shipped policies let cards leave as placeholders alone, and only to where the data may go anyway.
#[tokio::test]
async fn a_card_reaches_permitted_clouds_as_a_placeholder_and_others_not_at_all() {
    let world = World::start().await;
    let mut tally = world.begin("cards");

    for (place, _) in PLACES {
        let allowed: &[&'static str] = if ["site", "aoai-standard", "eusc"].contains(place) { &[place] } else { &[] };
        let body = to(&format!("at-{place}"), &json!({"messages": [{"role": "user", "content": CARD}]}));
        world.row(&mut tally, &format!("a card at {place}"), ask("personal", &body), allowed).await;
    }

    for (name, upstream) in &world.upstreams {
        for request in upstream.requests() {
            if *name != "site" && request.text().contains("4111") {
                tally.leaks.push(format!("the card itself reached `{name}`"));
            }
        }
    }
    world.conclude(tally);
}
