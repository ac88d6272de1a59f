//! `causeway explain` and `policy matrix`: what a lawyer and an auditor read. The texts in `explanations/` are reviewed by hand;
//! a change of facts or words shows in them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};

use crate::testkit::{Config, Endpoint, Gateway, Request, Upstream, chat, run};

const TODAY: &str = "2026-12-01";

fn fleet() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/tests/fleet.toml").display().to_string()
}

fn reviewed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/behaviour/explanations").join(name)
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The same fleet with two of its apps: a row for each app, label and target takes its time.
fn smaller_fleet(folder: &Path) -> String {
    let text = fs::read_to_string(fleet()).expect("it is part of the repository");
    let mut whole = text.parse::<toml::Table>().expect("it is TOML");
    for section in ["app", "data"] {
        let apps = whole[section].as_table_mut().expect("a section");
        apps.retain(|app, _| ["plain", "claims"].contains(&app));
    }
    let path = folder.join("smaller.toml");
    fs::write(&path, toml::to_string(&whole).expect("a table is TOML")).expect("the folder takes a file");
    path.display().to_string()
}

async fn explain(app: &str, model: &str, more: &[&str]) -> Output {
    let fleet = fleet();
    let arguments = ["explain", "--config", &fleet, "--app", app, "--model", model, "--at", TODAY];
    run(&[&arguments[..], more].concat(), scratch().path()).await
}

#[track_caller]
fn is_the_reviewed(name: &str, said: &str) {
    let expected = fs::read_to_string(reviewed(name)).unwrap_or_default();
    assert!(expected == said, "{name} is another; if it is right, write it there:\n{said}");
}

#[tokio::test]
async fn personal_data_on_three_deployments_in_sweden_is_explained_as_reviewed() {
    let output = explain("claims", "azure", &[]).await;

    assert_eq!(output.status.code(), Some(0));
    is_the_reviewed("personal-data-on-azure.txt", &text_of(&output));
}

#[tokio::test]
async fn personal_data_that_no_target_of_a_model_may_have_is_explained_as_reviewed() {
    let output = explain("claims", "abroad", &[]).await;

    assert_eq!(output.status.code(), Some(1));
    is_the_reviewed("personal-data-abroad.txt", &text_of(&output));
}

#[tokio::test]
async fn special_categories_and_a_parent_company_abroad_are_explained_as_reviewed() {
    let output = explain("hr", "sovereign", &[]).await;

    assert_eq!(output.status.code(), Some(0));
    is_the_reviewed("special-categories-and-the-parent-company.txt", &text_of(&output));
}

#[tokio::test]
async fn what_inspection_finds_in_a_request_counts_in_its_explanation() {
    let folder = scratch();
    let request = json!({
        "model": "any",
        "metadata": { "x-causeway-labels": "health", "x-causeway-class": "confidential" },
        "messages": [{ "role": "user", "content": [
            { "type": "text", "text": "card 4111 1111 1111 1111" },
            { "type": "image_url", "image_url": { "url": "https://example.com/a.png" } },
        ] }],
    });
    let file = folder.path().join("request.json");
    fs::write(&file, request.to_string()).expect("it can be written");

    let output = explain("plain", "any", &["--json", "--request", &file.display().to_string()]).await;

    let answer: Value = serde_json::from_str(&text_of(&output)).expect("JSON");
    let of = |name: &str| {
        let targets = answer["targets"].as_array().expect("a list");
        targets.iter().find(|target| target["target"] == name).cloned().unwrap_or_default()
    };
    assert_eq!((&answer["labels"], &answer["class"]), (&json!(["health"]), &json!("confidential")));
    assert_eq!(of("gpu-01/m")["permitted"], true, "{answer:#}");
    let sweden = &of("aoai-sweden/m");
    let policies: Vec<&str> =
        sweden["why"].as_array().into_iter().flatten().filter_map(|why| why["policy"].as_str()).collect();
    assert_eq!(policies, ["cards-only-redacted", "health-data-needs-the-certificate"], "{sweden:#}");
    assert_eq!(sweden["why"][0]["because"], json!(["inspection found card"]));
    assert_eq!(
        sweden["why"][1]["one_of_these_would_be_enough"],
        json!(["it held one of the certificates C5, HDS, HIPAA_BAA", "it were a site of one's own"])
    );
}

#[tokio::test]
async fn a_purpose_that_a_request_names_in_its_metadata_is_the_one_that_is_explained() {
    let folder = scratch();
    let text = fs::read_to_string(fleet()).expect("it is part of the repository");
    let text = text.replace("purposes = [\"answering\"]", "purposes = [\"answering\", \"fraud\"]");
    let config = folder.path().join("fleet.toml");
    fs::write(&config, &text).expect("the folder takes a file");
    let app =
        text.split("[data.").find(|section| section.contains("\"fraud\"")).and_then(|data| data.split(']').next());
    let explained = async |purpose: &str, more: &[&str]| {
        let request = json!({ "model": "any", "messages": [], "metadata": { "x-causeway-purpose": purpose } });
        let file = folder.path().join("request.json");
        fs::write(&file, request.to_string()).expect("the folder takes a file");
        let (config, file) = (config.display().to_string(), file.display().to_string());
        let app = app.expect("an app of the fleet has purposes");
        let arguments = ["explain", "--config", &config, "--app", app, "--model", "any", "--at", TODAY, "--json"];
        let output = run(&[&arguments[..], &["--request", &file], more].concat(), folder.path()).await;
        (output.status.code(), text_of(&output), String::from_utf8_lossy(&output.stderr).into_owned())
    };

    for (purpose, more) in [("fraud", &[][..]), ("answering", &["--purpose", "answering"])] {
        let (code, said, error) = explained(purpose, more).await;
        let answer: Value = serde_json::from_str(&said).unwrap_or_default();
        assert_eq!((code, &answer["purpose"]), (Some(0), &json!(purpose)), "{error}");
    }
    let (code, _, error) = explained("fraud", &["--purpose", "answering"]).await;
    assert_eq!((code, error.trim()), (Some(2), "two purposes are named, `answering` and `fraud`; name one"));
    let (code, _, error) = explained("marketing", &[]).await;
    assert!(code == Some(2) && error.contains("its purposes are answering, fraud"), "{error}");
}

#[tokio::test]
async fn a_class_that_a_request_names_raises_that_of_its_app_in_an_explanation() {
    let folder = scratch();
    let text = fs::read_to_string(fleet()).expect("it is part of the repository");
    let mut whole = text.parse::<toml::Table>().expect("it is TOML");
    let raise = |whole: &mut toml::Table| {
        let model = whole["model"]["azure"].as_table_mut().expect("a section");
        model.insert("class".to_owned(), "secret".into());
    };
    let class_of = async |whole: &toml::Table, more: &[&str]| {
        let path = folder.path().join("fleet.toml");
        fs::write(&path, toml::to_string(whole).expect("a table is TOML")).expect("the folder takes a file");
        let path = path.display().to_string();
        let arguments = ["explain", "--config", &path, "--app", "claims", "--model", "azure", "--at", TODAY, "--json"];
        let output = run(&[&arguments[..], more].concat(), folder.path()).await;
        let answer: Value = serde_json::from_str(&text_of(&output)).expect("JSON");
        (output.status.code(), answer["class"].as_str().unwrap_or_default().to_owned())
    };

    let plain = class_of(&whole, &["--class", "public"]).await;
    let raised = class_of(&whole, &["--class", "secret"]).await;
    raise(&mut whole);
    let of_the_model = class_of(&whole, &[]).await;

    assert_eq!(plain, (Some(0), "internal".to_owned()), "nothing lowers it");
    assert_eq!(raised, (Some(1), "secret".to_owned()));
    assert_eq!(of_the_model, (Some(1), "secret".to_owned()));
}

#[tokio::test]
async fn a_group_of_countries_that_has_run_out_is_why_a_policy_denies() {
    let fleet = fleet();
    let at = async |day: &str| {
        let arguments = ["explain", "--config", &fleet, "--app", "claims", "--model", "sovereign", "--at", day];
        let output = run(&arguments, scratch().path()).await;
        (output.status.code(), text_of(&output).split_whitespace().collect::<Vec<_>>().join(" "))
    };

    let (before, known) = at("2027-11-22").await;
    let (after, unknown) = at("2027-11-23").await;

    // The own site is in Germany on both days; the offers of the clouds have run out before.
    assert_eq!((before, after), (Some(0), Some(1)), "{unknown}");
    assert!(!known.contains("has run out: a policy"), "{known}");
    assert!(
        unknown.contains("The group of countries EEA has run out: a policy that asks about it cannot be evaluated"),
        "{unknown}"
    );
    assert!(unknown.contains("could not be evaluated"), "{unknown}");
}

#[tokio::test]
async fn names_that_nobody_has_are_wrong_usage_and_a_broken_configuration_cannot_be_found_out() {
    let folder = scratch();
    fs::write(folder.path().join("broken.toml"), "[listen]\nadress = \"x\"\n").expect("it can be written");

    let app = explain("nobody", "azure", &[]).await;
    let label = explain("claims", "azure", &["--label", "helth"]).await;
    let class = explain("claims", "azure", &["--class", "Secret"]).await;
    let broken = run(&["explain", "--config", "broken.toml", "--app", "a", "--model", "m"], folder.path()).await;

    assert_eq!((app.status.code(), label.status.code(), broken.status.code()), (Some(2), Some(2), Some(3)));
    assert!(String::from_utf8_lossy(&label.stderr).contains("`helth` is no label; the labels are ch_bank"));
    assert_eq!(class.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&class.stderr).contains("`Secret` is no class; the classes are public, internal"));
}

/// A dear and a cheap cloud and an own server, declared in that order, behind a model with these settings.
async fn priced(settings: &str) -> (Upstream, Gateway) {
    let upstream = Upstream::start("all").await;
    let by_the_token = |usd: u32| {
        format!("cost = {{ per_token = {{ input_usd_per_million = {usd}, output_usd_per_million = {usd} }} }}")
    };
    let config = Config::new()
        .endpoint("dear", Endpoint::of(&upstream).with(&by_the_token(9)))
        .endpoint("cheap", Endpoint::of(&upstream).with(&by_the_token(1)))
        .endpoint("own", Endpoint::of(&upstream).with("cost = { fixed = { usd_per_hour = 20 } }"))
        .model_with("assistant", &["dear/m", "cheap/m", "own/m"], settings)
        .app("asking", "cw_test_asking", &["assistant"], "explain = true");
    let gateway = Gateway::start(&config).await;
    (upstream, gateway)
}

const OF_ASKING: [&str; 7] = ["explain", "--config", "causeway.toml", "--app", "asking", "--model", "assistant"];

#[tokio::test]
async fn the_order_of_an_explanation_is_the_one_that_an_idle_gateway_takes() {
    let (_upstream, gateway) = priced("first_token = { p95_ms = 1500 }").await;
    let request = Request::post("/v1/chat/completions", &chat("assistant"));

    let answer = gateway.send(request.key("cw_test_asking").header("x-causeway-explain", "1")).await;
    let output = run(&[&OF_ASKING[..], &["--json"]].concat(), gateway.folder()).await;

    let explained: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let order = explained["order"]["targets"].as_array().cloned().unwrap_or_default();
    let names: Vec<&str> = order.iter().filter_map(|entry| entry["target"].as_str()).collect();
    let plan = answer.header("x-causeway-plan").expect("the app may see the plan");
    let taken: Vec<&str> = plan.split("; ").filter_map(|entry| entry.split_once(": ")).map(|(name, _)| name).collect();
    assert_eq!((&names, &names), (&taken, &vec!["own/m", "cheap/m", "dear/m"]), "{explained:#}");
    let [own, cheap, dear] = &order[..] else { panic!("three targets") };
    assert_eq!((&own["rank"], &cheap["rank"], &dear["rank"]), (&json!(1), &json!(2), &json!(3)));
    assert_eq!((&own["paid"], &own["usd"], own["first_token_ms"].is_u64()), (&json!("sunk"), &Value::Null, true));
    assert_eq!((&dear["paid"], &dear["first_token_ms"]), (&json!("per_token"), &Value::Null));
    assert!(cheap["usd"].as_f64() > Some(0.0) && cheap["usd"].as_f64() < dear["usd"].as_f64(), "{explained:#}");
    assert!(own["why"].as_str().is_some_and(|why| why.ends_with("within 1.50 s")), "{own}");
}

#[tokio::test]
async fn an_explanation_says_of_a_target_that_is_never_tried_why_and_what_it_would_cost() {
    let (_upstream, gateway) = priced("burst = \"never\"").await;

    let output = run(&OF_ASKING, gateway.folder()).await;

    let text = text_of(&output).split_whitespace().collect::<Vec<_>>().join(" ");
    for said in [
        "would be tried, as if nothing else were running:",
        "the running gateway says in its answer to the header x-causeway-explain",
        "1. own/m: in, first token in 0.17 s; it is paid for already.",
        "- cheap/m: out, it charges by the token, and `burst` is `never`; it would cost $0.0020.",
        "- dear/m: out, it charges by the token, and `burst` is `never`; it would cost $0.0182.",
    ] {
        assert!(text.contains(said), "no `{said}` in: {text}");
    }
}

#[tokio::test]
async fn the_matrix_says_for_every_app_label_and_target_what_an_explanation_says() {
    let folder = scratch();
    let fleet = smaller_fleet(folder.path());
    let matrix = async |format: &str| {
        let arguments = ["policy", "matrix", "--config", &fleet, "--at", TODAY, "--format", format];
        text_of(&run(&arguments, folder.path()).await)
    };

    let (table, csv, html, again) =
        (matrix("table").await, matrix("csv").await, matrix("html").await, matrix("csv").await);

    assert_eq!(csv, again);
    for row in [
        "claims,(own),aoai-sweden/m,allow,permitted by approved-targets\n",
        "claims,(own),aoai-zone/m,deny,forbidden by personal-data-processed-in-the-eea\n",
        "claims,+special_category,aoai-sweden/m,deny,forbidden by special-categories-under-no-third-country-law\n",
        "plain,+ch_bank,swiss/m,allow,permitted by approved-targets\n",
        "plain,(own),unapproved/m,deny,the endpoint is not approved\n",
    ] {
        assert!(csv.contains(row), "no `{row}` in:\n{csv}");
    }
    // Every app beside every label, its own ones together, for every target, of which there are 20.
    assert_eq!(csv.lines().filter(|line| line.starts_with("plain,")).count(), 7 * 20);
    assert!(table.contains("app claims (label eu_personal; class internal)"), "{table}");
    assert!(html.contains("<td class=\"deny\">deny<span class=\"why\">forbidden by personal-data"), "{html}");
    assert!(
        !html.contains("://") && !html.contains("<script") && !html.contains("<link"),
        "a page without outside parts"
    );
    for text in [&table.replace('\n', " "), &csv, &html] {
        assert!(text.contains("Text inspection does not find names or free-text health data."), "{text}");
    }
}

#[tokio::test]
async fn the_matrix_shows_what_else_changes_a_verdict_where_it_is_asked_for_and_says_so_where_not() {
    let folder = scratch();
    let fleet = smaller_fleet(folder.path());
    let matrix = async |more: &[&str]| {
        let arguments = ["policy", "matrix", "--config", &fleet, "--at", TODAY];
        text_of(&run(&[&arguments[..], more].concat(), folder.path()).await)
    };
    let by = ["--by", "action,class,purpose,finding"];

    let usual = matrix(&["--format", "csv"]).await;
    let csv = matrix(&[&by[..], &["--format", "csv"]].concat()).await;
    let again = matrix(&[&["--by", "finding,purpose,class,action", "--format", "csv"][..]].concat()).await;
    let (table, html) = (matrix(&by).await, matrix(&[&by[..], &["--format", "html"]].concat()).await);

    assert_eq!(csv, again, "the order is not the caller's");
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("app,label,action,class,purpose,finding,target,verdict,why"));
    for row in [
        "claims,(own),chat,internal,,,aoai-sweden/m,allow,permitted by approved-targets",
        "claims,(own),chat,internal,,card,aoai-sweden/m,redact,",
        "claims,(own),chat,internal,,secret,aoai-sweden/m,deny,forbidden by secrets-stay-on-own-sites",
        "claims,(own),keep_state,internal,,,aoai-sweden/m,deny,",
        "plain,(own),chat,secret,,,aoai-sweden/m,deny,forbidden by secrets-stay-on-own-sites",
    ] {
        assert!(csv.lines().any(|line| line.starts_with(row)), "no `{row}` in:\n{csv}");
    }
    assert!(!csv.contains(",embed,"), "no shipped policy tells a chat from vectors");
    let unchanged = ["claims,(own),chat,internal,,card,gpu-01/m,", "claims,(own),chat,internal,,card,aoai-zone/m,"];
    for row in unchanged {
        assert!(!csv.contains(row), "`{row}` is decided as without the finding");
    }
    // The rows of the table without `--by` are there, each once.
    let of_plain = csv.lines().filter(|line| line.starts_with("plain,") && line.contains(",chat,internal,,,"));
    assert_eq!(of_plain.count(), 7 * 20);
    assert!(usual.contains("--by action,class,finding` shows them"), "{}", usual.lines().last().unwrap_or_default());
    assert!(usual.starts_with("app,label,target,verdict,why\n") && !csv.contains("Not shown"), "{usual}");
    let is_of_cards =
        |line: &str| ["  (own) ", "  finding card  ", "  redact  "].iter().all(|part| line.contains(part));
    assert!(table.lines().any(is_of_cards), "{table}");
    let about = "<tr><th scope=\"row\">personal-data-processed-in-the-eea</th><td>forbids</td><td>data-protection</td>\
                 <td>GDPR Art. 44</td><td></td></tr>";
    assert!(html.contains(about), "each policy is explained on the page:\n{html}");
    let place = "<tr><th scope=\"row\">aoai-zone/m</th><td>Azure OpenAI, Data Zone Standard, European zone, resource in \
                 swedencentral</td><td>every country of the EEA and Switzerland</td><td>Sweden, for up to 30 days</td>";
    assert!(html.contains(place), "and each place:\n{html}");
    assert!(html.contains("<td>as for the label</td>"), "{html}");
    assert!(html.contains("<th scope=\"row\">(own)<span class=\"why\">finding card</span></th>"), "{html}");
}
