//! `causeway explain` and `policy matrix`: what a lawyer and an auditor read. The texts in `explanations/` are reviewed by hand;
//! a change of facts or words shows in them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};

use crate::testkit::run;

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
        "metadata": { "x-causeway-labels": "health" },
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
    assert_eq!(answer["labels"], json!(["health"]));
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
async fn names_that_nobody_has_are_wrong_usage_and_a_broken_configuration_cannot_be_found_out() {
    let folder = scratch();
    fs::write(folder.path().join("broken.toml"), "[listen]\nadress = \"x\"\n").expect("it can be written");

    let app = explain("nobody", "azure", &[]).await;
    let label = explain("claims", "azure", &["--label", "helth"]).await;
    let broken = run(&["explain", "--config", "broken.toml", "--app", "a", "--model", "m"], folder.path()).await;

    assert_eq!((app.status.code(), label.status.code(), broken.status.code()), (Some(2), Some(2), Some(3)));
    assert!(String::from_utf8_lossy(&label.stderr).contains("`helth` is no label; the labels are ch_bank"));
}

#[tokio::test]
async fn the_matrix_says_for_every_app_label_and_target_what_an_explanation_says() {
    let fleet = fleet();
    let folder = scratch();
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
    // Every app beside every label, its own ones together, for every target: 10 apps, 19 targets.
    assert_eq!(csv.lines().filter(|line| line.starts_with("plain,")).count(), 7 * 19);
    assert!(table.contains("app claims (eu_personal; internal)"), "{table}");
    assert!(html.contains("<td class=\"deny\">deny<span class=\"why\">forbidden by personal-data"), "{html}");
    assert!(
        !html.contains("://") && !html.contains("<script") && !html.contains("<link"),
        "a page without outside parts"
    );
    for text in [&table.replace('\n', " "), &csv, &html] {
        assert!(text.contains("Text inspection does not find names or free-text health data."), "{text}");
    }
}
