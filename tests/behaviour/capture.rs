//! Prompts and answers that two people want kept: sealed for whoever has the private key, and for nobody else. They are opened
//! with `age` itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::testkit::{
    Act, Answer, Client, Config, Gate, Gateway, Request, Step, Upstream, chat, chat_stream, chunk, digest_of, finish,
    not_tested, run, until,
};

const KEY: &str = "cw_key_of_the_app_that_is_kept";

/// What stands in the prompts, and, as the name of the upstream, in the answers.
const PROMPT: &str = "planted-in-the-prompt-4711";
const ANSWER: &str = "planted-in-the-answer-0815";

/// A pair of keys: the file of the private one, which lies outside of everything of the gateway, and the public one.
struct Keys {
    _folder: tempfile::TempDir,
    private: PathBuf,
    public: String,
}

impl Keys {
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let private = folder.path().join("key.txt");
        let Ok(made) = Command::new("age-keygen").arg("-o").arg(&private).output() else {
            not_tested("prompts and answers that are kept: there is no age (Debian: age)");
            return None;
        };
        let said = String::from_utf8_lossy(&made.stderr).into_owned();
        let public = said.trim().strip_prefix("Public key: ").expect("age-keygen says the public key").to_owned();
        Some(Self { _folder: folder, private, public })
    }

    fn open(&self, sealed: &Path) -> Vec<u8> {
        let opened = Command::new("age").arg("--decrypt").arg("--identity").arg(&self.private).arg(sealed).output();
        let opened = opened.expect("it was there a moment ago");
        assert!(opened.status.success(), "{}: {}", sealed.display(), String::from_utf8_lossy(&opened.stderr));
        opened.stdout
    }
}

fn keeping(upstream: &Upstream, keys: &[&Keys], lines: &str) -> Config {
    let to: Vec<&str> = keys.iter().map(|keys| keys.public.as_str()).collect();
    Config::serving(upstream)
        .section(&format!(
            "[app.kept]\nteam = \"testers\"\nkeys = [\"{}\"]\nmodels = [\"assistant\"]\ncapture = true\n\n\
         [data.kept]\nlabels = []\ncapture = {{ to = {to:?}, days = 30{lines} }}\n",
            digest_of(KEY)
        ))
        .divided()
}

async fn ask(gateway: &Gateway, mut body: serde_json::Value) -> Answer {
    body["messages"][0]["content"] = PROMPT.into();
    gateway.send(Request::post("/v1/chat/completions", &body).key(KEY)).await
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| if entry.path().is_dir() { files_below(&entry.path()) } else { vec![entry.path()] })
        .collect()
}

/// The file of a capture, once it is there.
async fn kept(gateway: &Gateway, decision: &str, what: &str) -> PathBuf {
    until("a capture to be written", async || {
        let named = format!("{decision}.{what}.age");
        files_below(&gateway.state().join("captures")).into_iter().find(|file| file.ends_with(&named))
    })
    .await
}

fn sha256(file: &Path) -> String {
    let bytes = std::fs::read(file).expect("a file can be read");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn what_is_kept_is_opened_with_each_key_and_no_byte_of_it_is_on_the_disk_in_plain() {
    let (Some(keys), Some(others)) = (Keys::new(), Keys::new()) else { return };
    let upstream = Upstream::start(ANSWER).await;
    let mut gateway = Gateway::start_from_folder(&keeping(&upstream, &[&keys, &others], "")).await;

    for body in [chat("assistant"), chat_stream("assistant")] {
        let answer = ask(&gateway, body).await;
        let (status, decision) = (answer.status, answer.decision());
        let got = answer.bytes().await;
        assert_eq!(status, 200);
        let record = gateway.audit().record(&decision).await;
        let (request, reply) = (kept(&gateway, &decision, "request").await, kept(&gateway, &decision, "answer").await);
        assert_eq!(record.intent["capture"]["sha256"], sha256(&request));
        assert_eq!(record.outcome["capture"]["sha256"], sha256(&reply));
        let sent: serde_json::Value = serde_json::from_slice(&keys.open(&request)).expect("the request is JSON");
        assert_eq!(sent["messages"][0]["content"], PROMPT);
        assert_eq!(keys.open(&reply), got, "what the caller got, byte by byte");
        assert_eq!(others.open(&reply), got);
        assert!(String::from_utf8_lossy(&got).contains(ANSWER));
    }
    // An app beside it, of which nothing is kept.
    gateway.chat(&chat("assistant")).await;
    gateway.signal("TERM");
    gateway.left().await;

    assert_eq!(files_below(&gateway.state().join("captures")).len(), 4);
    for file in files_below(gateway.folder()) {
        let bytes = std::fs::read(&file).expect("a file can be read");
        for planted in [PROMPT, ANSWER] {
            let found = bytes.windows(planted.len()).any(|window| window == planted.as_bytes());
            assert!(!found, "`{planted}` stands in {}", file.display());
        }
    }
    let (code, said) = {
        let arguments = ["audit", "verify", "--config", "causeway.d"];
        let output = run(&arguments, gateway.folder()).await;
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    assert_eq!(code, Some(3), "captures are no part of the log: {said}");
}

#[tokio::test]
async fn a_request_that_cannot_be_kept_is_refused_before_anything_of_it_is_sent() {
    let Some(keys) = Keys::new() else { return };
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start_from_folder(&keeping(&upstream, &[&keys], "")).await;
    std::fs::write(gateway.state().join("captures"), "a file where the folder should be").expect("room");

    let answer = ask(&gateway, chat("assistant")).await;
    let (status, code) = (answer.status, answer.code().await);
    let metrics = gateway.operator("/metrics").await.text().await;
    let beside = gateway.chat(&chat("assistant")).await.status;

    assert_eq!((status, code.as_str()), (503, "audit_unavailable"));
    assert_eq!(beside, 200, "who keeps nothing is not held up");
    assert_eq!(upstream.requests().len(), 1);
    assert!(metrics.contains("causeway_capture_failing 1"), "{metrics}");
    assert!(gateway.log().contains("ALARM capture"), "{}", gateway.log());
}

#[tokio::test]
async fn where_it_is_only_flagged_the_request_is_answered_and_its_record_says_that_nothing_is_kept() {
    let Some(keys) = Keys::new() else { return };
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start_from_folder(&keeping(&upstream, &[&keys], ", on_failure = \"flag\"")).await;
    std::fs::write(gateway.state().join("captures"), "a file where the folder should be").expect("room");

    let answer = ask(&gateway, chat("assistant")).await;

    assert_eq!(answer.status, 200);
    let record = gateway.audit().record(&answer.decision()).await;
    assert_eq!(record.intent["capture"]["failed"], "disk");
}

#[tokio::test]
async fn an_app_that_has_kept_as_much_of_a_day_as_it_may_is_refused() {
    let Some(keys) = Keys::new() else { return };
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start_from_folder(&keeping(&upstream, &[&keys], ", mib_per_day = 1")).await;
    let mut large = chat("assistant");
    large["metadata"] = json!({ "padding": "x".repeat(700_000) });

    let (first, second) = (ask(&gateway, large.clone()).await.status, ask(&gateway, large).await.status);

    assert_eq!((first, second), (200, 503));
}

#[tokio::test]
async fn of_an_answer_that_is_too_long_the_beginning_is_kept_the_record_says_so_and_the_caller_gets_all_of_it() {
    let Some(keys) = Keys::new() else { return };
    let upstream = Upstream::start(&"x".repeat(5 << 20)).await;
    let gateway = Gateway::start_from_folder(&keeping(&upstream, &[&keys], "")).await;

    let answer = ask(&gateway, chat("assistant")).await;
    let (status, decision) = (answer.status, answer.decision());
    let got = answer.bytes().await;
    let record = gateway.audit().record(&decision).await;
    let reply = kept(&gateway, &decision, "answer").await;

    assert_eq!(status, 200);
    assert!(got.len() > 5 << 20, "{}", got.len());
    assert_eq!(record.outcome["capture"], json!({ "sha256": sha256(&reply), "cut": "long" }));
    assert!(keys.open(&reply) == got[..4 << 20], "the first 4 MiB");
    let metrics = gateway.operator("/metrics").await.text().await;
    assert!(metrics.contains("causeway_captures_cut_total 1"), "{metrics}");
    assert!(metrics.contains("causeway_capture_held_bytes 0"), "{metrics}");
}

/// Sixty-four answers of more than 4 MiB each, which all run until the gate is opened: together they hold all that there is.
fn long_streams(gate: &Gate) -> impl Iterator<Item = Act> {
    let piece = chunk(&"x".repeat(900_000));
    (0..64).map(move |_| {
        let pieces = std::iter::repeat_n(Step::Send(piece.clone().into()), 5);
        Act::steps(pieces.chain([Step::Wait(gate.clone()), Step::Send(finish().into())]))
    })
}

#[tokio::test]
async fn answers_that_run_hold_no_more_together_than_is_stated_and_what_finds_no_room_is_answered_and_flagged() {
    let Some(keys) = Keys::new() else { return };
    let (upstream, gate) = (Upstream::start("only").await, Gate::closed());
    let gateway = Gateway::start_from_folder(&keeping(&upstream, &[&keys], "")).await;
    upstream.script(long_streams(&gate));

    let data = gateway.data();
    let running: Vec<_> = (0..64)
        .map(|_| {
            let request = Request::post("/v1/chat/completions", &chat_stream("assistant")).key(KEY);
            tokio::spawn(async move { Client::plain(data).send(request).await.bytes().await.len() })
        })
        .collect();
    let metrics = async || gateway.operator("/metrics").await.text().await;
    until("all that there is to be held", async || {
        metrics().await.contains("causeway_capture_held_bytes 268435456\n").then_some(())
    })
    .await;
    let answer = ask(&gateway, chat("assistant")).await;
    let (status, decision) = (answer.status, answer.decision());
    let got = answer.text().await;
    let record = gateway.audit().record(&decision).await;
    gate.open();

    assert_eq!(status, 200);
    assert!(got.contains("only"), "{got}");
    assert_eq!(record.outcome["capture"], json!({ "failed": "memory" }));
    for answer in running {
        assert!(answer.await.expect("no task panics") > 4_500_000, "a caller gets all of it");
    }
    until("all of it to be given back", async || {
        let metrics = metrics().await;
        let all = metrics.contains("causeway_captures_cut_total 65\n");
        (all && metrics.contains("causeway_capture_held_bytes 0\n")).then_some(())
    })
    .await;
}
