//! What no caller and no provider can bring about from outside: faults of the gateway's own, and the billing contract that
//! reads a stream to its end for nobody. The pipeline is the real one, with a dialect of the test's own.

mod cancelled;
mod retries;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Response;
use ingress::listen::{self, Door, Handler, Incoming, ListenSettings};
use telemetry::audit::{AuditLog, read};
use telemetry::metrics::Metrics;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use wire::{Api, Call, CredentialForm, Dialect, EncodeTarget, EncodedBody, OnDisconnect};

use super::{ReplyBody, handle};
use crate::gateway::Gateway;
use crate::snapshot::Snapshot;

/// The OpenAI dialect, but for what a test changes.
struct Changed {
    encode: fn(&Call, &EncodeTarget<'_>) -> EncodedBody,
    on_disconnect: OnDisconnect,
}

impl Dialect for Changed {
    fn name(&self) -> &'static str {
        "changed"
    }

    fn default_apis(&self) -> &'static [Api] {
        &[Api::Chat]
    }

    fn credential(&self) -> CredentialForm {
        CredentialForm::Header { name: "authorization", prefix: "Bearer " }
    }

    fn on_disconnect(&self) -> OnDisconnect {
        self.on_disconnect
    }

    fn path(&self, api: Api, upstream_model: &str, api_version: Option<&str>) -> String {
        openai().path(api, upstream_model, api_version)
    }

    fn required_headers(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    fn encode(&self, call: &Call, target: &EncodeTarget<'_>) -> EncodedBody {
        (self.encode)(call, target)
    }
}

pub(super) fn openai() -> &'static dyn Dialect {
    wire::dialect("openai").unwrap()
}

fn as_openai(call: &Call, target: &EncodeTarget<'_>) -> EncodedBody {
    openai().encode(call, target)
}

static PANICS: Changed =
    Changed { encode: |_, _| panic!("this test wants a panic in a stage"), on_disconnect: OnDisconnect::Cancel };

static IS_READ_TO_ITS_END: Changed =
    Changed { encode: as_openai, on_disconnect: OnDisconnect::Drain { at_most: Duration::from_secs(60) } };

static IS_HARDLY_READ_ON: Changed =
    Changed { encode: as_openai, on_disconnect: OnDisconnect::Drain { at_most: Duration::ZERO } };

/// A gateway with one endpoint, whose upstream the test plays; and a second one, for a test that wants two targets.
pub(super) struct World {
    pub(super) gateway: Arc<Gateway>,
    upstream: TcpListener,
    second: TcpListener,
    folder: tempfile::TempDir,
}

impl World {
    pub(super) async fn new(provider: &str, dialect: &'static dyn Dialect) -> Self {
        Self::changed(provider, dialect, str::to_owned).await
    }

    /// The same under a document that was changed.
    pub(super) async fn changed(
        provider: &str,
        dialect: &'static dyn Dialect,
        change: impl Fn(&str) -> String,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let second = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"cw_key");
        let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let text = format!(
            r#"
[listen]
address = "127.0.0.1:0"
[state]
folder = "{}"
[site.here]
country = "DE"
operator = "DE"
[endpoint.gpu]
provider = "{provider}"
url = "http://{}"
reach = {{ local = {{ within = ["127.0.0.0/8"] }} }}
place = {{ site = "here" }}
[endpoint.other]
provider = "{provider}"
url = "http://{}"
reach = {{ local = {{ within = ["127.0.0.0/8"] }} }}
place = {{ declared = {{ processing = ["DE"], at_rest = ["DE"], operator = "DE", because = "comes after own servers" }} }}
[model.m]
targets = ["gpu/m"]
[model.both]
targets = ["gpu/m", "other/m"]
[app.a]
team = "t"
keys = ["sha256:{digest}"]
models = ["m", "both"]
[data.a]
labels = []
"#,
            folder.path().display(),
            upstream.local_addr().unwrap(),
            second.local_addr().unwrap(),
        );
        let text = change(&text);
        let options = crate::load::options(SystemTime::now());
        let compiled = crate::configuration::load_text([("causeway.toml".into(), text)], &options).unwrap();
        let metrics = Metrics::new();
        let snapshot = Snapshot::build(&compiled, None, &metrics).unwrap().speaking(dialect);
        let audit = AuditLog::open(crate::run::audit_settings(&compiled).unwrap(), SystemTime::now()).unwrap();
        let books = ledger::Ledger::open(&folder.path().join("ledger"), "test", ledger::Home::Folder)
            .expect("the folder can be written");
        let gateway = Gateway::new(snapshot, audit, books, metrics).expect("the books can be read");
        Self { gateway, upstream, second, folder }
    }

    /// Sends a call and gives the connection on which its answer comes.
    async fn ask(&self, path: &str, body: &str) -> DuplexStream {
        self.ask_of(Pipeline(Arc::clone(&self.gateway)), path, body).await
    }

    async fn ask_of<H: Handler>(&self, handler: H, path: &str, body: &str) -> DuplexStream {
        let mut caller = served(handler);
        let length = body.len();
        let head = "host: gateway\r\nauthorization: Bearer cw_key\r\nconnection: close";
        let request = format!("POST {path} HTTP/1.1\r\n{head}\r\ncontent-length: {length}\r\n\r\n{body}");
        caller.write_all(request.as_bytes()).await.unwrap();
        caller
    }

    /// Plays the upstream up to the first event of its stream.
    async fn begin_stream(&self) -> TcpStream {
        let (mut stream, _) = self.upstream.accept().await.unwrap();
        read_until(&mut stream, "\"include_usage\":true").await;
        stream.write_all(BEGIN.as_bytes()).await.unwrap();
        stream
    }

    /// Waits until nothing is open any more; gives the last outcome of the audit log.
    async fn outcome(&self) -> serde_json::Value {
        while self.gateway.audit.status().open > 0 {
            tokio::task::yield_now().await;
        }
        self.gateway.audit.flush().unwrap();
        let mut last = serde_json::Value::Null;
        let logs = self.gateway.audit.folder().ancestors().nth(2).unwrap();
        read::scan(
            logs,
            |_| true,
            |_, entry| {
                last = serde_json::from_slice(entry).unwrap();
                Ok(())
            },
        )
        .unwrap();
        last["outcome"].take()
    }
}

const CALL: &str = r#"{"model":"m","messages":[],"max_tokens":9,"stream":true}"#;

const BEGIN: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n";

const REST: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n";

/// The caller's end of a connection that this serves.
fn served<H: Handler>(handler: H) -> DuplexStream {
    let (caller, accepted) = tokio::io::duplex(64 << 10);
    tokio::spawn(async move {
        let door = Door::new(ListenSettings::default(), None);
        let (_switch, drain) = listen::drain();
        let peer = "192.0.2.1:40000".parse().unwrap();
        let _ = listen::serve(accepted, peer, &door, Arc::new(handler), drain).await;
    });
    caller
}

/// The pipeline as every listener has it.
struct Pipeline(Arc<Gateway>);

impl Handler for Pipeline {
    type Body = ReplyBody;

    async fn handle(self: Arc<Self>, incoming: Incoming) -> Response<ReplyBody> {
        handle(Arc::clone(&self.0), incoming).await
    }
}

/// The pipeline, whose streams panic at their first step.
struct FailsInItsStream(Arc<Gateway>);

impl Handler for FailsInItsStream {
    type Body = ReplyBody;

    async fn handle(self: Arc<Self>, incoming: Incoming) -> Response<ReplyBody> {
        let mut response = handle(Arc::clone(&self.0), incoming).await;
        let last = response.body_mut().after_a_panic().unwrap();
        *response.body_mut() = ReplyBody::whole(last);
        response
    }
}

async fn read_until<S: tokio::io::AsyncRead + Unpin>(stream: &mut S, end: &str) -> String {
    let mut text = String::new();
    let mut piece = [0; 4096];
    while !text.contains(end) {
        let count = stream.read(&mut piece).await.unwrap();
        assert_ne!(count, 0, "it ended before `{end}` came: {text}");
        text.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
    text
}

async fn all(mut answer: DuplexStream) -> String {
    let mut text = String::new();
    answer.read_to_string(&mut text).await.unwrap();
    text
}

#[test]
fn every_code_and_every_api_has_its_own_series_in_the_metrics() {
    for code in wire::Code::ALL {
        assert!(telemetry::metrics::CODES.contains(&code.as_str()), "{code:?}");
    }
    for api in Api::ALL {
        assert!(telemetry::metrics::APIS.contains(&api.config_name()), "{api:?}");
    }
}

#[tokio::test]
async fn a_panic_in_a_stage_is_a_500_in_the_callers_dialect() {
    for (provider, path, begin) in [
        ("openai", "/v1/chat/completions", r#"{"error":{"message":"#),
        ("anthropic", "/v1/messages", r#"{"type":"error","error":{"type":"api_error","#),
    ] {
        let world = World::new(provider, &PANICS).await;

        let answer = all(world.ask(path, CALL).await).await;

        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 500 "), "{answer}");
        assert!(head.contains("x-causeway-decision: cwd_"), "{answer}");
        assert!(body.starts_with(begin) && body.contains(r#""code":"internal_error""#), "{answer}");
    }
}

#[tokio::test]
async fn a_panic_in_a_stage_closes_the_books_and_ends_nothing_else() {
    let world = World::new("openai", &PANICS).await;

    for _ in 0..2 {
        all(world.ask("/v1/chat/completions", CALL).await).await;
    }

    let outcome = world.outcome().await;
    assert_eq!((&outcome["status"], &outcome["code"]), (&500.into(), &"internal_error".into()));
    assert_eq!((&outcome["end"], &outcome["settled_by"]), (&"error".into(), &"reservation".into()));
    assert_eq!(world.gateway.snapshot().admission.in_flight(), 0);
    let metrics = world.gateway.metrics.render();
    assert!(metrics.contains("causeway_panics_total 2"), "{metrics}");
    assert!(metrics.contains(r#"code="internal_error"} 2"#), "{metrics}");
}

#[tokio::test]
async fn a_panic_in_the_middle_of_a_stream_is_an_error_event_and_closes_the_books() {
    let world = World::new("openai", &IS_READ_TO_ITS_END).await;
    let handler = FailsInItsStream(Arc::clone(&world.gateway));

    let answer = world.ask_of(handler, "/v1/chat/completions", CALL).await;
    let _upstream = world.begin_stream().await;
    let answer = all(answer).await;

    assert!(answer.contains("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains(r#"data: {"error":{"#) && answer.contains(r#""code":"internal_error""#), "{answer}");
    assert!(!answer.contains("[DONE]"), "{answer}");
    let outcome = world.outcome().await;
    assert_eq!((&outcome["code"], &outcome["settled_by"]), (&"internal_error".into(), &"reservation".into()));
}

#[tokio::test]
async fn a_stream_whose_first_event_is_long_in_coming_gives_its_head_after_ten_seconds_and_then_comments() {
    let world = World::new("openai", openai()).await;
    let mut answer = world.ask("/v1/chat/completions", CALL).await;
    let (mut upstream, _) = world.upstream.accept().await.unwrap();
    read_until(&mut upstream, "\"include_usage\":true").await;
    let (head, event) = BEGIN.split_once("\r\n\r\n").unwrap();
    // From here on time passes only while everybody waits.
    tokio::time::pause();
    let began = tokio::time::Instant::now();

    upstream.write_all(format!("{head}\r\n\r\n").as_bytes()).await.unwrap();
    let head = read_until(&mut answer, "\r\n\r\n").await;
    let to_the_head = began.elapsed();
    let comment = read_until(&mut answer, "\n\n").await;
    let to_the_comment = began.elapsed();
    upstream.write_all(format!("{event}{REST}").as_bytes()).await.unwrap();
    let rest = all(answer).await;

    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    // A busy kernel may hand bytes over late, and meanwhile time passes.
    assert!((10..13).contains(&to_the_head.as_secs()), "{to_the_head:?}");
    assert!(comment.contains("\n:") && !comment.contains("data:"), "{comment}");
    assert!((10 + 15..10 + 15 + 6).contains(&to_the_comment.as_secs()), "{to_the_comment:?}");
    assert!(rest.contains("\"hi\"") && rest.contains("[DONE]") && !rest.contains("error"), "{rest}");
    assert_eq!(world.outcome().await["settled_by"], "reported");
}

#[tokio::test]
async fn a_stream_that_is_billed_whole_is_read_to_its_end_after_the_caller_left() {
    let world = World::new("openai", &IS_READ_TO_ITS_END).await;
    let mut answer = world.ask("/v1/chat/completions", CALL).await;
    let mut upstream = world.begin_stream().await;
    read_until(&mut answer, "\"hi\"").await;

    drop(answer);
    upstream.write_all(REST.as_bytes()).await.unwrap();

    let outcome = world.outcome().await;
    assert_eq!(outcome["settled_by"], "reported");
    assert_eq!((&outcome["usage"]["input"], &outcome["usage"]["output"]), (&3.into(), &4.into()));
}

#[tokio::test]
async fn a_stream_that_is_read_on_for_nobody_is_cut_at_its_bound() {
    let world = World::new("openai", &IS_HARDLY_READ_ON).await;
    let mut answer = world.ask("/v1/chat/completions", CALL).await;
    let mut upstream = world.begin_stream().await;
    read_until(&mut answer, "\"hi\"").await;

    drop(answer);

    // The end of its connection is how the upstream learns of it.
    let mut rest = [0; 16];
    assert!(matches!(upstream.read(&mut rest).await, Ok(0) | Err(_)));
    let outcome = world.outcome().await;
    assert_eq!((&outcome["end"], &outcome["settled_by"]), (&"disconnected".into(), &"reservation".into()));
}
