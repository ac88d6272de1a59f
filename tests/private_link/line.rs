//! Bad weather on the line: slow, lossy, narrow, cut. What it does to requests, and what it never does.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::lab;
use crate::lab::gateway::Call;
use crate::lab::link::Condition;
use crate::lab::{Settings, until};

#[test]
fn a_slow_lossy_narrow_line_carries_answers_all_the_same() {
    let Some(lab) = crate::build() else { return };
    let timeouts = "health = { path = \"/\", interval_ms = 600000 }";
    let _gateway = lab.gateway(&Settings { lines: timeouts.to_owned(), ..Settings::default() });
    let usual = Condition::default();
    let weather = [
        Condition { delay: Duration::from_millis(80), jitter: Duration::from_millis(30), ..usual.clone() },
        Condition { rate: Some(60_000), ..usual.clone() },
        Condition { hole: Some(700), told: true, ..usual },
    ];

    for condition in weather {
        let shown = format!("{condition:?}");
        lab.link.set(condition);

        let answer = lab.chat("private");

        assert_eq!(answer.status, 200, "{shown}: {answer:?}");
    }
    assert_eq!(lab.strayed(None), (0, 0));
}

#[test]
fn a_stream_that_the_line_cuts_ends_with_an_error_and_goes_nowhere_else() {
    let Some(lab) = crate::build() else { return };
    let _gateway = lab.gateway(&Settings::default());
    lab.service.behave(lab::front::Manner::Pauses);
    let (trust, body) = (lab.trust(), lab::chat("either", true));
    let (call, came) = lab.desk.block_on(async move {
        let mut call = Call::post(trust, body).await;
        let came = call.came("\"one\"").await;
        (call, came)
    });
    assert!(came, "the first event comes through");

    lab.link.set(Condition { cut: true, ..Condition::default() });
    let answer = lab.desk.block_on(call.answer());

    assert!(answer.body.contains("\"error\""), "{answer:?}");
    assert!(!answer.body.contains("[DONE]") && !answer.body.contains("\"two\""), "{answer:?}");
    assert_eq!(lab.gpu.posts(), 0, "after the first byte nothing is tried elsewhere");
    assert_eq!(lab.strayed(None), (0, 0));
    lab.service.go_on();
}

#[test]
fn a_line_that_comes_back_is_used_again_without_a_restart() {
    let Some(lab) = crate::build() else { return };
    let _gateway = lab.gateway(&Settings::default());
    assert_eq!(lab.chat("private").status, 200);

    lab.link.set(Condition { cut: true, ..Condition::default() });
    let meanwhile = lab.chat("either");
    lab.link.set(Condition::default());

    assert_eq!(meanwhile.header("x-causeway-endpoint"), Some("gpu"), "{meanwhile:?}");
    until("the private endpoint to be used again", || (lab.chat("private").status == 200).then_some(()));
    assert_eq!(lab.strayed(None), (0, 0));
}

#[test]
fn a_resolver_that_turns_public_and_back_is_followed_without_a_restart_and_nothing_leaks() {
    let Some(mut lab) = crate::build() else { return };
    let _gateway = lab.gateway(&Settings::default());
    assert_eq!(lab.chat("private").status, 200);

    let public = lab::usual_views(lab::HUB_DNS).without_zone("privatelink.openai.azure.com");
    lab.say(lab::HUB_DNS, &public);
    let refused =
        until("the public answer to be refused", || Some(lab.chat("private")).filter(|one| one.status != 200));
    assert_eq!(refused.code(), "no_private_path", "{refused:?}");
    assert!(lab.chat("either").body.contains("answered by the GPU"));
    lab.heal(&[lab::HUB_DNS]);
    until("the private answer to be used", || (lab.chat("private").status == 200).then_some(()));

    assert_eq!(lab.strayed(None), (0, 0));
}

#[test]
fn an_endpoint_that_moves_to_another_address_is_followed_without_a_restart() {
    let Some(mut lab) = crate::build() else { return };
    let _gateway = lab.gateway(&Settings::default());
    assert_eq!(lab.chat("private").status, 200);

    lab.spoke.ip("addr add 10.20.1.8/24 dev eth0");
    let moved = lab.serve_at(Ipv4Addr::new(10, 20, 1, 8));
    let record = "contoso 10 IN A 10.20.1.8";
    lab.say(lab::HUB_DNS, &lab::usual_views(lab::HUB_DNS).zone("privatelink.openai.azure.com", record));

    until("the new address to be used", || {
        lab.chat("private");
        (moved.posts() > 0).then_some(())
    });
}
