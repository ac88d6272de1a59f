//! Configuration: read whole, checked whole, swapped whole. A mistake changes nothing and says where it is; the last
//! good one outlives the process.

use crate::testkit::{
    Act, Config, DONE, Endpoint, Gate, Gateway, KEY, Request, Step, Upstream, chat, chat_stream, chunk, digest_of,
    finish, run, until,
};

async fn gateway() -> (Upstream, Config, Gateway) {
    let upstream = Upstream::start("only").await;
    let config = Config::serving(&upstream);
    let gateway = Gateway::start(&config).await;
    (upstream, config, gateway)
}

/// The text with a mistake in the line that names the endpoint's provider; and that line's number.
fn broken(text: &str) -> (String, usize) {
    let broken = text.replace("provider = \"openai\"", "provider = \"opnai\"");
    assert_ne!(broken, text);
    let line = broken.lines().position(|line| line.contains("opnai")).expect("just written");
    (broken, line + 1)
}

async fn model_appears(gateway: &Gateway, name: &str) {
    until(&format!("the model `{name}`"), async || {
        let answer = gateway.send(Request::get(&format!("/v1/models/{name}"))).await;
        (answer.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_new_model_is_served_after_hup() {
    let (upstream, config, gateway) = gateway().await;

    gateway.configure(&config.model("second", &["only/second-model"]));
    gateway.signal("HUP");

    model_appears(&gateway, "second").await;
    assert_eq!(gateway.chat(&chat("second")).await.status, 200);
    assert_eq!(upstream.only_request().json()["model"], "second-model");
}

#[tokio::test]
async fn the_hash_of_what_runs_is_the_one_that_check_prints_in_status_and_metrics_before_and_after_a_reload() {
    let (_upstream, config, gateway) = gateway().await;
    let checked = async || {
        let output = run(&["check", "--json", "--config", "causeway.toml"], gateway.folder()).await;
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        answer["hash"].as_str().expect("a hash").to_owned()
    };
    let runs = async |hash: &str| {
        let status = gateway.operator("/api/status").await.json().await;
        let metrics = gateway.operator("/metrics").await.text().await;
        let (fresh, info) = (status["configuration"]["age_seconds"].is_u64(), format!("hash=\"{hash}\""));
        (fresh && status["configuration"]["hash"] == hash && metrics.contains(&info)).then_some(())
    };

    let first = checked().await;
    assert!(runs(&first).await.is_some(), "{first}");
    gateway.configure(&config.model("second", &["only/second-model"]));
    gateway.signal("HUP");
    let second = checked().await;

    assert_ne!(first, second);
    until("the hash of the new configuration", async || runs(&second).await).await;
    assert!(runs(&first).await.is_none(), "what was replaced is not shown any more");
}

#[tokio::test]
async fn a_changed_file_is_noticed_without_a_signal() {
    let (_upstream, config, gateway) = gateway().await;

    gateway.configure(&config.model("second", &["only/second-model"]));

    model_appears(&gateway, "second").await;
}

#[tokio::test]
async fn a_key_that_was_taken_out_is_no_key_any_more() {
    let upstream = Upstream::start("only").await;
    let with = Config::serving(&upstream).app("guest", "cw_test_guest", &["assistant"], "");
    let gateway = Gateway::start(&with).await;
    let ask = || gateway.send(Request::post("/v1/chat/completions", &chat("assistant")).key("cw_test_guest"));
    assert_eq!(ask().await.status, 200);

    gateway.configure(&Config::serving(&upstream));
    gateway.signal("HUP");

    until("the key to be refused", async || (ask().await.status == 401).then_some(())).await;
    assert_eq!(gateway.chat(&chat("assistant")).await.status, 200);
}

#[tokio::test]
async fn a_broken_configuration_changes_nothing_and_the_log_says_where_the_mistake_is() {
    let (_upstream, _config, gateway) = gateway().await;
    let (text, line) = broken(&gateway.configuration_text());

    gateway.configure_text(&text);
    gateway.signal("HUP");

    let place = format!("causeway.toml:{line}:");
    until("the mistake in the log", async || gateway.log().contains(&place).then_some(())).await;
    assert!(gateway.log().contains("openai"), "what would be right is said too");
    assert_eq!(gateway.chat(&chat("assistant")).await.status, 200);
    let refused = until("the refusal in the audit log", async || {
        gateway.audit().of_kind("admin").into_iter().find(|line| line["action"] == "reload_refused")
    })
    .await;
    assert_eq!(refused["done"], false);
}

/// Writes the shipped data pack with another version, and another hash in its manifest where it is to be half of one.
fn data_pack(folder: &std::path::Path, version: &str, is_whole: bool) {
    let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/data");
    std::fs::create_dir_all(folder).expect("the folder can be made");
    for name in ["regions.json", "groups.json", "places.json", "pack.json"] {
        let text = std::fs::read_to_string(shipped.join(name)).expect("the repository has it");
        let mut value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        if name == "pack.json" {
            value["version"] = version.into();
            if !is_whole {
                value["files"]["groups.json"] = "0".repeat(64).into();
            }
        }
        let text = if name == "pack.json" { value.to_string() } else { text };
        std::fs::write(folder.join(name), text).expect("the file can be written");
    }
}

#[tokio::test]
async fn a_data_pack_is_exchanged_by_a_reload_which_is_recorded_and_half_of_one_changes_nothing() {
    let (_upstream, _config, gateway) = gateway().await;
    let folder = gateway.folder().join("facts");
    let text = gateway.configuration_text();
    let pack = async || gateway.operator("/api/status").await.json().await["configuration"]["data_pack"].clone();
    let of_kind = async |action: &str, word: &str| {
        until(&format!("{action} in the audit log"), async || {
            let entries = gateway.audit().of_kind("admin").into_iter();
            entries.filter(|entry| entry["action"] == action).find(|entry| entry.to_string().contains(word))
        })
        .await
    };
    let shipped = pack().await;

    data_pack(&folder, "2031-01-01", false);
    gateway.configure_text(&format!("{text}\n[policy]\ndata = \"facts\"\n"));
    gateway.signal("HUP");
    let refused = of_kind("reload_refused", "groups.json is not what").await;
    let kept = pack().await;
    data_pack(&folder, "2031-01-01", true);
    gateway.signal("HUP");
    let taken = of_kind("reload", "data pack").await;

    assert_eq!((&refused["done"], &shipped["is_own"], &kept), (&false.into(), &false.into(), &shipped));
    let now = pack().await;
    assert_eq!((&now["version"], &now["is_own"]), (&"2031-01-01".into(), &true.into()));
    let detail = taken["detail"].as_str().unwrap_or_default();
    let words = format!(
        "data pack {} ({}) became 2031-01-01 ({})",
        shipped["version"].as_str().unwrap_or_default(),
        shipped["hash"].as_str().unwrap_or_default(),
        now["hash"].as_str().unwrap_or_default(),
    );
    assert!(detail.starts_with("policy ") && detail.ends_with(&words), "{detail}");
}

#[tokio::test]
async fn what_is_mended_beside_a_configuration_that_was_refused_is_found_without_a_signal() {
    let (_upstream, _config, gateway) = gateway().await;
    let folder = gateway.folder().join("facts");
    let text = gateway.configuration_text();
    let entry_of = async |action: &str| {
        until(&format!("{action} in the audit log"), async || {
            gateway.audit().of_kind("admin").into_iter().find(|entry| entry["action"] == action)
        })
        .await
    };

    // Nothing that runs names the folder.
    data_pack(&folder, "2031-01-01", false);
    gateway.configure_text(&format!("{text}\n[policy]\ndata = \"facts\"\n"));
    let refused = entry_of("reload_refused").await;
    data_pack(&folder, "2031-01-01", true);
    let taken = entry_of("reload").await;

    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("groups.json")), "{refused}");
    assert!(taken["detail"].as_str().is_some_and(|detail| detail.contains("became 2031-01-01")), "{taken}");
}

/// The reading stands still at a pipe, after a folder was looked for that is not there, while all of it is mended.
#[tokio::test]
async fn what_is_mended_while_the_configuration_is_checked_is_found_without_a_signal() {
    let (_upstream, _config, gateway) = gateway().await;
    let (folder, pipe) = (gateway.folder().join("facts"), gateway.folder().join("pipe"));
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo is part of every system");
    assert!(made.success());
    let text = gateway.configuration_text().replace("file = \"upstream.key\"", "file = \"pipe\"");

    gateway.configure_text(&format!("{text}\n[policy]\ndata = \"facts\"\n"));
    // Opening waits for the reader.
    let opened = tokio::task::spawn_blocking(move || std::fs::OpenOptions::new().write(true).open(pipe));
    let writer = opened.await.expect("no panic").expect("the gateway reads it");
    data_pack(&folder, "2031-01-01", true);
    gateway.replace_file("pipe", "k-123");
    drop(writer);

    let taken = until("the reload in the audit log", async || {
        gateway.audit().of_kind("admin").into_iter().find(|entry| entry["action"] == "reload")
    })
    .await;
    assert!(taken["detail"].as_str().is_some_and(|detail| detail.contains("became 2031-01-01")), "{taken}");
}

#[tokio::test]
async fn a_broken_configuration_is_visible_to_the_operator_until_it_is_mended() {
    let (_upstream, config, gateway) = gateway().await;
    let good = gateway.configuration_text();
    let (text, line) = broken(&good);

    gateway.configure_text(&text);
    gateway.signal("HUP");
    let place = format!("causeway.toml:{line}:");
    until("the mistake on the status page", async || {
        gateway.operator("/api/status").await.text().await.contains(&place).then_some(())
    })
    .await;
    gateway.configure(&config);
    gateway.signal("HUP");

    until("the mistake to be gone", async || {
        (!gateway.operator("/api/status").await.text().await.contains(&place)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_restart_with_a_broken_file_serves_the_last_good_configuration_loudly() {
    let (_upstream, _config, mut first) = gateway().await;
    let good = first.configuration_text();
    let (text, line) = broken(&good);
    first.configure_text(&text);
    first.kill().await;
    let kept = set_back_by_a_day(&first.state());

    let mut second = first.again("second.log", &[]);
    assert!(second.is_ready().await, "{}", second.log());

    assert_eq!(second.chat(&chat("assistant")).await.status, 200);
    assert!(second.log().contains("config_degraded"), "{}", second.log());
    assert!(second.log().contains(&format!("causeway.toml:{line}:")), "{}", second.log());
    says_that_it_is_degraded(&second, kept).await;

    // Refused once more, with another mistake: what is served is the last good one still.
    second.configure_text(&text.replace("opnai", "openay"));
    second.signal("HUP");
    until("the second refusal", async || {
        second.operator("/api/status").await.text().await.contains("openay").then_some(())
    })
    .await;
    says_that_it_is_degraded(&second, kept).await;

    second.configure_text(&good);
    second.signal("HUP");
    let mended = until("the mended configuration", async || {
        let configuration = second.operator("/api/status").await.json().await["configuration"].take();
        (configuration["degraded"] == false).then_some(configuration)
    })
    .await;
    assert_eq!(mended["from_last_good"], false, "{mended}");
    assert!(mended["age_seconds"].as_u64().is_some_and(|age| age < DAY), "{mended}");
}

const DAY: u64 = 24 * 60 * 60;

/// Makes the copy of the last good configuration a day old; gives the second at which it was kept then.
fn set_back_by_a_day(state: &std::path::Path) -> u64 {
    let path = state.join("last-good/configuration.json");
    let text = std::fs::read_to_string(&path).expect("a start keeps its configuration");
    let mut kept: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let at = kept["saved_at"].as_u64().expect("it is dated") - DAY;
    kept["saved_at"] = at.into();
    std::fs::write(&path, kept.to_string()).expect("it can be written");
    at
}

/// On its operators' listener: the last good configuration is served, and has been kept at this second.
async fn says_that_it_is_degraded(gateway: &Gateway, kept: u64) {
    let status = gateway.operator("/api/status").await.json().await["configuration"].take();
    assert_eq!((&status["degraded"], &status["from_last_good"]), (&true.into(), &true.into()), "{status}");
    assert!(status["age_seconds"].as_u64().is_some_and(|age| age >= DAY), "{status}");
    let metrics = gateway.operator("/metrics").await.text().await;
    let value = |name: &str| metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    assert_eq!(value("causeway_configuration_degraded"), Some(1), "{metrics}");
    assert_eq!(value("causeway_configuration_loaded_timestamp_seconds"), Some(kept), "{metrics}");
}

#[tokio::test]
async fn a_strict_start_refuses_a_broken_file_although_a_last_good_one_is_kept() {
    let (_upstream, _config, mut first) = gateway().await;
    let (text, line) = broken(&first.configuration_text());
    first.configure_text(&text);
    first.kill().await;

    let mut second = first.again("second.log", &["--strict-start"]);

    assert_eq!(second.left().await.code(), Some(1));
    assert!(second.log().contains(&format!("causeway.toml:{line}:")), "{}", second.log());
}

#[tokio::test]
async fn after_a_rollback_the_older_binary_names_what_it_cannot_read_and_a_good_file_serves() {
    let (_upstream, _config, mut first) = gateway().await;
    let good = first.configuration_text();
    first.kill().await;
    // What a release of the future leaves behind.
    let kept = first.state().join("last-good/configuration.json");
    let text = std::fs::read_to_string(&kept).expect("a start keeps its configuration");
    std::fs::write(&kept, text.replace("\"format_version\": 3", "\"format_version\": 4")).expect("it can be written");

    first.configure_text(&broken(&good).0);
    let mut refused = first.again("refused.log", &[]);
    assert_eq!(refused.left().await.code(), Some(1));
    assert!(refused.log().contains("newer causeway"), "{}", refused.log());

    first.configure_text(&good);
    let mut served = first.again("served.log", &[]);
    assert!(served.is_ready().await, "{}", served.log());
    assert_eq!(served.chat(&chat("assistant")).await.status, 200);
}

#[tokio::test]
async fn a_first_start_with_a_broken_file_refuses_and_names_every_mistake() {
    let (_upstream, _config, mut first) = gateway().await;
    first.kill().await;
    std::fs::remove_dir_all(first.state()).expect("the state folder can be removed");
    let (text, line) = broken(&first.configuration_text());
    let text = text.replace("[model.\"assistant\"]\ntargets = [\"only/", "[model.\"assistant\"]\ntargets = [\"olny/");
    let second_line = text.lines().position(|line| line.contains("olny/")).expect("just written") + 1;
    first.configure_text(&text);

    let mut second = first.again("second.log", &[]);

    assert_eq!(second.left().await.code(), Some(1));
    for line in [line, second_line] {
        assert!(second.log().contains(&format!("causeway.toml:{line}:")), "line {line}:\n{}", second.log());
    }
    assert!(second.log().contains("did you mean `only`"), "{}", second.log());
}

const GUEST: &str = "cw_test_guest";

/// A file of its own: a model, and an app of another team that may use it.
fn of_the_guests(model: &str) -> String {
    let digest = digest_of(GUEST);
    format!(
        "[model.{model}]\ntargets = [\"only/{model}-served\"]\n\n[app.guest]\nteam = \"guests\"\n\
         keys = [\"{digest}\"]\nmodels = [\"{model}\"]\n\n[data.guest]\nlabels = []\n"
    )
}

/// Waits until a guest who asks for this model gets this status.
async fn a_guest_meets(gateway: &Gateway, model: &str, status: u16) {
    until(&format!("{status} for a guest who asks for `{model}`"), async || {
        let answer = gateway.send(Request::post("/v1/chat/completions", &chat(model)).key(GUEST)).await;
        (answer.status == status).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_folder_is_one_document_in_which_files_come_change_and_go() {
    let upstream = Upstream::start("only").await;
    let gateway = Gateway::start_from_folder(&Config::serving(&upstream)).await;
    assert_eq!(gateway.chat(&chat("assistant")).await.status, 200);

    // One that comes is noticed without a signal.
    gateway.replace_file("guests.toml", &of_the_guests("second"));
    a_guest_meets(&gateway, "second", 200).await;
    assert_eq!(upstream.requests().last().expect("just answered").json()["model"], "second-served");

    gateway.replace_file("guests.toml", &of_the_guests("third"));
    gateway.signal("HUP");
    a_guest_meets(&gateway, "third", 200).await;
    a_guest_meets(&gateway, "second", 404).await;

    std::fs::remove_file(gateway.beside("guests.toml")).expect("it is there");
    a_guest_meets(&gateway, "third", 401).await;
    assert_eq!(gateway.chat(&chat("assistant")).await.status, 200);
}

#[tokio::test]
async fn a_section_in_a_file_whose_author_may_not_write_it_changes_nothing() {
    let upstream = Upstream::start("only").await;
    let authors =
        "[authors]\n\"main.toml\" = [\"model\", \"app\", \"data\"]\n\"guests.toml\" = [\"model\", \"app\", \"data\"]\n";
    let config = Config::serving(&upstream).section(authors).file("guests.toml", "# Nothing yet.\n");
    let gateway = Gateway::start_from_folder(&config).await;

    let with_more = of_the_guests("second") + "\n[policy]\napprove = [\"only\"]\n";
    let line = with_more.lines().position(|line| line == "[policy]").expect("just written") + 1;
    gateway.replace_file("guests.toml", &with_more);
    gateway.signal("HUP");

    let mistake = format!("guests.toml:{line}:2: `policy` may not be written in `guests.toml`; move it to `main.toml`");
    until("the mistake on the status page", async || {
        gateway.operator("/api/status").await.text().await.contains(&mistake).then_some(())
    })
    .await;
    a_guest_meets(&gateway, "second", 401).await;
    assert_eq!(gateway.chat(&chat("assistant")).await.status, 200);

    gateway.replace_file("guests.toml", &of_the_guests("second"));
    gateway.signal("HUP");
    a_guest_meets(&gateway, "second", 200).await;
}

#[tokio::test]
async fn a_request_in_flight_keeps_the_configuration_it_started_with() {
    let (upstream, _config, gateway) = gateway().await;
    let gate = Gate::closed();
    upstream.script([Act::steps([
        Step::Send(chunk("ferry").into()),
        Step::Wait(gate.clone()),
        Step::Send((finish() + DONE).into()),
    ])]);
    let mut stream = gateway.chat(&chat_stream("assistant")).await;
    assert_eq!(stream.event().await, Some(chunk("ferry")));

    let other = Upstream::start("other").await;
    gateway.configure(&Config::new().endpoint("other", Endpoint::of(&other)).model("another", &["other/m"]));
    gateway.signal("HUP");
    model_appears(&gateway, "another").await;
    gate.open();

    assert_eq!(stream.text().await, finish() + DONE);
    assert_eq!(gateway.chat(&chat("assistant")).await.status, 404);
}

#[tokio::test]
async fn the_documents_key_is_a_digest_and_the_key_itself_is_nowhere() {
    let (_upstream, _config, gateway) = gateway().await;

    assert!(!gateway.configuration_text().contains(KEY));
    let status = gateway.operator("/api/status").await.text().await;
    assert!(!status.contains(KEY));
}
