//! A new binary takes the listening sockets over: no connection is refused, no stream is cut, and each process keeps its
//! own books.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::testkit::{
    Act, Config, DONE, Gate, Gateway, Request, Step, Upstream, chat, chat_stream, chunk, finish, until,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_binary_takes_over_under_load_without_a_refused_connection_or_a_cut_stream() {
    let upstream = Upstream::start("only").await;
    let mut old = Gateway::start(&Config::serving(&upstream)).await;
    let gate = Gate::closed();
    let waiting = || {
        Act::steps([Step::Send(chunk("ferry").into()), Step::Wait(gate.clone()), Step::Send((finish() + DONE).into())])
    };
    upstream.script((0..20).map(|_| waiting()));
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = old.chat(&chat_stream("assistant")).await;
        assert_eq!(stream.event().await, Some(chunk("ferry")));
        streams.push(stream);
    }
    // Four callers who open a new connection for every call, all the while.
    let (over, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (client, over, calls) = (old.client(), Arc::clone(&over), Arc::clone(&calls));
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let answer = client.try_send(Request::post("/v1/chat/completions", &chat("assistant"))).await;
                    let answer = answer.expect("no connection is refused");
                    assert_eq!(answer.status, 200);
                    answer.bytes().await;
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();

    let mut new = old.again("new.log", &["--upgrade"]);
    until("the new process to wait for the sockets", async || old.state().join("upgrade.sock").exists().then_some(()))
        .await;
    old.signal("QUIT");
    until("the new process to serve", async || {
        let lines = new.audit().lines();
        let opened = lines.iter().rposition(|line| line["kind"] == "open")?;
        let served = lines[opened..].iter().any(|line| line["kind"] == "outcome");
        (new.audit().epochs().len() == 2 && served).then_some(())
    })
    .await;
    gate.open();

    for stream in streams {
        assert_eq!(stream.text().await, finish() + DONE);
    }
    assert!(old.left().await.success());
    let before = calls.load(Ordering::Relaxed);
    until("calls after the old process has left", async || (calls.load(Ordering::Relaxed) > before + 20).then_some(()))
        .await;
    over.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.expect("every call is answered");
    }

    new.signal("TERM");
    assert!(new.left().await.success());
    let audit = new.audit();
    assert_eq!(audit.of_kind("open").len(), 2);
    assert_eq!(audit.of_kind("seal").len(), 2);
    assert_eq!(audit.records().len(), 20 + calls.load(Ordering::Relaxed), "every call is in one of the two books");
}
