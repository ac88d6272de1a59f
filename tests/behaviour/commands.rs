//! The commands beside `serve --config`: what they print can be pasted, and their exit codes can be believed.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::testkit::{
    Client, Config, Request, Running, Upstream, causeway, chat, chat_stream, digest_of, not_tested, run,
    run_with_input, until, within,
};

/// The last line that the demonstration prints.
const DEMO_IS_UP: &str = "Ctrl-C ends it";

/// What stands between two marks of a text.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| unreachable!("no `{before}` in:\n{text}"));
    rest.split_once(after).map_or(rest, |(found, _)| found)
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

/// A demonstration that runs, with what it printed.
struct Demo {
    folder: tempfile::TempDir,
    running: Running,
    said: String,
}

impl Demo {
    async fn start(arguments: &[&str]) -> Self {
        let folder = scratch();
        let arguments = [&["demo", "--port", "0", "--admin-port", "0"], arguments].concat();
        let mut running = Running::start(causeway(&arguments, folder.path()));
        let said = running.until(DEMO_IS_UP).await;
        Self { folder, running, said }
    }

    /// Sends what the printed `curl` line sends.
    async fn paste_curl(&self) -> crate::testkit::Answer {
        let curl = between(&self.said, "  curl ", "\n\n");
        self.send(Request::bytes("/v1/chat/completions", between(curl, "-d '", "'").to_owned())).await
    }

    /// Sends a request where the `curl` line goes, with its key.
    async fn send(&self, request: Request) -> crate::testkit::Answer {
        let address = between(&self.said, "curl -i http://", "/v1/chat/completions");
        let key = between(&self.said, "authorization: Bearer ", "'");
        Client::plain(address.parse().expect("the printed URL names an address")).send(request.key(key)).await
    }

    /// The demonstration's own folder.
    fn own_folder(&self) -> PathBuf {
        let configuration = Path::new(between(&self.said, "configuration  ", "\n"));
        configuration.parent().expect("a file lies in a folder").to_owned()
    }
}

#[tokio::test]
async fn the_curl_line_of_the_demo_works_as_printed() {
    let demo = Demo::start(&[]).await;

    let answer = demo.paste_curl().await;

    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("x-causeway-endpoint"), Some("gpu-01"));
    let body = answer.json().await;
    assert!(body["choices"][0]["message"]["content"].as_str().is_some_and(|text| text.contains("`gpu-01`")), "{body}");
}

#[tokio::test]
async fn the_python_line_of_the_demo_compiles() {
    let demo = Demo::start(&[]).await;
    let program = between(&demo.said, "python3 -c '", "'\n");

    let compile = "import sys; compile(sys.stdin.read(), 'printed', 'exec')";
    let spawned = tokio::process::Command::new("python3")
        .args(["-c", compile])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut python) = spawned else {
        return not_tested("that the demo's Python line compiles: there is no python3");
    };
    let mut stdin = python.stdin.take().expect("piped above");
    stdin.write_all(program.as_bytes()).await.expect("python reads its input");
    drop(stdin);
    let output = within("python", python.wait_with_output()).await.expect("a child can be waited for");

    assert!(output.status.success(), "{}\n{program}", text_of(&output.stderr));
}

#[tokio::test]
async fn the_demo_answers_every_api_that_it_names_whole_and_streaming() {
    let demo = Demo::start(&[]).await;
    let calls = [
        ("/v1/chat/completions", chat("chat"), "[DONE]"),
        ("/v1/completions", json!({"model": "chat", "prompt": "the"}), "[DONE]"),
        ("/v1/responses", json!({"model": "chat", "input": "the"}), "response.completed"),
    ];

    for (path, mut body, end) in calls {
        let whole = demo.send(Request::post(path, &body)).await.of_status(200, path).await;
        body["stream"] = true.into();
        let streamed = demo.send(Request::post(path, &body)).await.of_status(200, path).await;

        assert!(whole.contains("stand-in") && whole.contains("usage"), "{path}: {whole}");
        assert!(streamed.contains("stand-in") && streamed.contains(end), "{path}: {streamed}");
        assert!(!streamed.contains("\"error\":{"), "{path}: {streamed}");
    }
    let embeddings = Request::post("/v1/embeddings", &json!({"model": "embed", "input": ["a", "b"]}));
    let answer: Value =
        serde_json::from_str(&demo.send(embeddings).await.of_status(200, "embeddings").await).expect("JSON");
    assert_eq!(answer["data"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn with_its_local_server_failing_the_demo_moves_to_a_cloud_and_past_its_quota_to_the_next() {
    let demo = Demo::start(&["--fail-local"]).await;

    let mut answered_by = Vec::new();
    for _ in 0..5 {
        let answer = demo.paste_curl().await;
        assert_eq!(answer.status, 200);
        answered_by.push(answer.header("x-causeway-endpoint").unwrap_or("?").to_owned());
    }

    // "Three short questions. The next one it answers 429", the demo says.
    assert_eq!(answered_by, ["aoai-sweden", "aoai-sweden", "aoai-sweden", "aoai-france", "aoai-france"]);
    let admin = between(&demo.said, "admin          http://", "/api/status").parse().expect("an address");
    let metrics = Client::plain(admin).send(Request::get("/metrics").anonymous()).await.text().await;
    let met = "causeway_attempts_total{endpoint=\"aoai-sweden\",outcome=\"status_429\"}";
    assert!(metrics.contains(met), "the 429 can be seen where the text says");
}

#[tokio::test]
async fn the_demo_keeps_its_secrets_to_itself_and_its_folder_goes_with_it() {
    let mut demo = Demo::start(&[]).await;
    let folder = demo.own_folder();
    let mode = |path: &Path| path.metadata().expect("it is there").permissions().mode() & 0o777;

    assert!(folder.starts_with(demo.folder.path()));
    assert_eq!((mode(&folder), mode(&folder.join("cloud.key"))), (0o700, 0o600));
    let left = demo.running.end("TERM").await;

    assert!(left.success(), "{left}");
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_the_option_that_chooses_another() {
    let folder = scratch();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("port 0 is always free");
    let address = taken.local_addr().expect("a listener has an address");
    let port = address.port().to_string();

    let data = run(&["demo", "--port", &port, "--admin-port", "0"], folder.path()).await;
    let admin = run(&["demo", "--port", "0", "--admin-port", &port], folder.path()).await;

    for (output, flag) in [(data, "--port"), (admin, "--admin-port")] {
        let said = text_of(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&address.to_string()) && said.contains(&format!("with {flag},")), "{said}");
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("a folder can be read").collect();
    assert!(left.is_empty(), "nothing is left behind: {left:?}");
}

#[tokio::test]
async fn a_good_configuration_is_checked_with_exit_code_0_and_its_hash() {
    let upstream = Upstream::start("only").await;
    let folder = scratch();
    write(folder.path(), &Config::serving(&upstream).text([8443, 9443, 9444]));

    let plain = run(&["check", "--config", "causeway.toml", "--without-secrets"], folder.path()).await;
    let as_json = run(&["check", "--config", "causeway.toml", "--without-secrets", "--json"], folder.path()).await;

    assert_eq!(plain.status.code(), Some(0), "{}", text_of(&plain.stderr));
    let answer: Value = serde_json::from_slice(&as_json.stdout).expect("JSON");
    assert_eq!(answer["ok"], true);
    let hash = answer["hash"].as_str().expect("a hash");
    assert!(text_of(&plain.stdout).contains(hash));
}

#[tokio::test]
async fn every_mistake_is_reported_in_one_run_with_its_place_for_people_and_for_programs() {
    let upstream = Upstream::start("only").await;
    let folder = scratch();
    let good = Config::serving(&upstream).text([8443, 9443, 9444]);
    let broken = good.replace("targets =", "targts =").replace("country = \"DE\"", "country = \"Germany\"");
    assert_eq!(broken.lines().zip(good.lines()).filter(|(a, b)| a != b).count(), 2, "two lines are wrong");
    write(folder.path(), &broken);
    let line_of = |mark: &str| broken.lines().position(|line| line.contains(mark)).map(|line| line + 1);

    let plain = run(&["check", "--config", "causeway.toml", "--without-secrets"], folder.path()).await;
    let as_json = run(&["check", "--config", "causeway.toml", "--without-secrets", "--json"], folder.path()).await;

    assert_eq!((plain.status.code(), as_json.status.code()), (Some(1), Some(1)));
    let said = text_of(&plain.stderr);
    let answer: Value = serde_json::from_slice(&as_json.stdout).expect("JSON");
    assert_eq!(answer["ok"], false);
    let mistakes = answer["mistakes"].as_array().expect("a list");
    assert_eq!(said.lines().count(), mistakes.len(), "{said}\n{answer}");
    for mark in ["targts", "Germany"] {
        let line = line_of(mark).expect("the line is there");
        assert!(said.contains(&format!("causeway.toml:{line}:")), "{mark}: {said}");
        assert!(mistakes.iter().any(|mistake| mistake["line"] == line), "{mark}: {answer}");
    }
    assert!(said.contains("did you mean `targets`?"), "{said}");
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_understood_have_exit_codes_of_their_own() {
    let folder = scratch();

    let missing = run(&["check", "--config", "nothing.toml"], folder.path()).await;
    let usage = run(&["check"], folder.path()).await;

    assert_eq!(missing.status.code(), Some(1), "{}", text_of(&missing.stderr));
    assert!(text_of(&missing.stderr).contains("nothing.toml"));
    assert_eq!(usage.status.code(), Some(2));
}

#[tokio::test]
async fn the_digest_of_a_new_key_is_the_one_that_hashing_it_gives() {
    let folder = scratch();

    let made = run(&["keys", "new", "--json"], folder.path()).await;
    let made: Value = serde_json::from_slice(&made.stdout).expect("JSON");
    let key = made["key"].as_str().expect("a key");
    let hashed = run_with_input(&["keys", "hash"], folder.path(), &format!("{key}\n")).await;
    let nothing = run(&["keys", "hash"], folder.path()).await;

    assert!(key.starts_with("cw_") && key.len() >= 3 + 43, "256 bits behind a prefix: {key}");
    assert_eq!(text_of(&hashed.stdout).trim(), made["digest"].as_str().expect("a digest"));
    assert_eq!(made["digest"], digest_of(key).as_str(), "as anybody would hash it");
    assert_eq!(nothing.status.code(), Some(2));
}

#[tokio::test]
async fn the_schema_is_json_and_may_be_read_in_part() {
    let folder = scratch();

    let whole = run(&["schema"], folder.path()).await;
    let mut part = causeway(&["schema"], folder.path());
    let mut part = part.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("cargo built the binary");
    // The reader closes before a line is written, which is what `head` does sooner or later.
    drop(part.stdout.take());
    let part = within("the command to end", part.wait_with_output()).await.expect("a child can be waited for");

    let schema: Value = serde_json::from_slice(&whole.stdout).expect("the schema is JSON");
    assert!(schema["properties"]["endpoint"].is_object());
    assert!(part.status.success(), "{}", text_of(&part.stderr));
    assert_eq!(text_of(&part.stderr), "");
}

/// The ports at which `serve` looks for servers, and those on which it serves.
const USUAL: [u16; 3] = [8080, 8000, 11434];
const OWN: [u16; 2] = [8443, 9443];

#[tokio::test]
async fn without_a_configuration_it_serves_what_it_finds_and_says_what_is_missing() {
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    if let Some(port) = USUAL.iter().chain(&OWN).find(|port| !free(port)) {
        return not_tested(&format!("`causeway serve` without a configuration: port {port} is taken on this machine"));
    }
    let folder = scratch();

    let nothing = run(&["serve"], folder.path()).await;
    let said = text_of(&nothing.stderr);
    assert_eq!(nothing.status.code(), Some(1), "{said}");
    assert!(said.contains("--config") && said.contains("causeway demo"), "{said}");

    let mut refusing = causeway(&["serve"], folder.path());
    let refusing = refusing.env("OPENAI_API_KEY", "sk-never-used").output();
    let refusing = within("the command to end", refusing).await.expect("cargo built the binary");
    assert_eq!(refusing.status.code(), Some(1));
    let said = text_of(&refusing.stdout);
    assert!(said.contains("refused  openai") && said.contains("--approve openai"), "{said}");
    assert!(!said.contains("sk-never-used"));

    let _server = local_server((Ipv4Addr::LOCALHOST, USUAL[0]).into());
    let mut serving = Running::start(causeway(&["serve"], folder.path()));
    let said = serving.until("serving  http://").await;
    assert!(said.contains("found    llama.cpp on 127.0.0.1:8080 with `tiny`"), "{said}");
    let client = Client::plain((Ipv4Addr::LOCALHOST, OWN[0]).into());
    let ask = Request::post("/v1/chat/completions", &chat("tiny")).key(between(&said, "key      ", "\n"));
    let answer = until("the port to open", async || client.try_send(ask.clone()).await.ok()).await;
    assert!(answer.of_status(200, "the server that was found").await.contains("found"));
    let stranger = Request::post("/v1/chat/completions", &chat_stream("tiny")).key("cw_nobody");
    assert_eq!(client.send(stranger).await.status, 401);
    assert!(serving.end("TERM").await.success());
}

/// A local server as a person runs it: one model, no key. It lives as long as what this gives.
fn local_server(address: SocketAddr) -> tokio::task::JoinSet<()> {
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let listener = tokio::net::TcpListener::bind(address).await.expect("the port was free a moment ago");
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = vec![0; 64 << 10];
                while let Ok(count @ 1..) = socket.read(&mut asked).await {
                    let models = asked[..count].starts_with(b"GET /v1/models ");
                    let body = if models {
                        json!({"object": "list", "data": [{"id": "tiny", "object": "model"}]})
                    } else {
                        crate::testkit::completion("found")
                    };
                    let body = body.to_string();
                    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json";
                    let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                    if socket.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    tasks
}

fn write(folder: &Path, text: &str) {
    std::fs::write(folder.join("causeway.toml"), text).expect("a temporary folder can be written");
}

/// As with `| head`: the other end of the pipe is closed already, so that no command gets a line out.
#[tokio::test]
async fn a_command_whose_reader_has_left_ends_quietly() {
    let folder = scratch();
    let upstream = Upstream::start("only").await;
    let text = Config::serving(&upstream).text([0, 0, 0]);
    std::fs::write(folder.path().join("causeway.toml"), text).expect("the folder takes a file");
    std::fs::write(folder.path().join("upstream.key"), "secret").expect("the folder takes a file");

    for arguments in [
        &["policy", "matrix", "--config", "causeway.toml"][..],
        &["policy", "matrix", "--config", "causeway.toml", "--format", "html"],
        &["policy", "check"],
        &["explain", "--config", "causeway.toml", "--app", "tests", "--model", "assistant"],
        &["check", "--config", "causeway.toml"],
        &["keys", "new"],
        &["schema"],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe can be had");
        drop(reader);
        let mut command = causeway(arguments, folder.path());
        command.stdout(writer).stderr(Stdio::piped());
        let child = command.spawn().expect("cargo built the binary");
        drop(command);

        let output = within("the command to end", child.wait_with_output()).await.expect("a child can be waited for");

        let said = text_of(&output.stderr);
        assert!(!said.contains("panicked") && !said.contains("Broken pipe"), "{arguments:?}: {said}");
        assert!(matches!(output.status.code(), Some(0 | 3)), "{arguments:?}: {:?}", output.status);
    }
}
