//! What things cost, on the command line: own hardware against the cloud, and prices by the token.

use serde_json::Value;

use crate::testkit::run;

async fn breakeven(arguments: &[&str]) -> (Option<i32>, Value) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let done = run(&[&["cost", "breakeven", "--json"], arguments].concat(), folder.path()).await;
    (done.status.code(), serde_json::from_slice(&done.stdout).unwrap_or_default())
}

#[tokio::test]
async fn the_published_table_of_break_even_hours_is_reproduced() {
    for (cloud, hours, months) in [("98.32", 8_556, "11.9"), ("77.43", 10_891, "15.1"), ("53.95", 15_709, "21.8")] {
        let arguments = ["--capex", "833806", "--opex-per-hour", "0.87", "--cloud-per-hour", cloud];

        let (code, found) = breakeven(&arguments).await;

        assert_eq!((code, &found["hours"], &found["months_of_720_hours"]), (Some(0), &hours.into(), &months.into()));
        assert!(found["left_out"].as_array().is_some_and(|left_out| left_out.len() >= 4));
    }
}

#[tokio::test]
async fn the_break_even_is_shown_to_people_with_what_it_leaves_out() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let arguments = ["cost", "breakeven", "--capex", "833806", "--opex-per-hour", "0.87", "--cloud-per-hour", "98.32"];

    let done = run(&arguments, folder.path()).await;

    let (said, warned) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(said.contains("8,556 h = 11.9 months of 720 h"), "{said}");
    assert!(warned.contains("what this formula leaves out"), "{warned}");
}

#[tokio::test]
async fn a_break_even_by_the_token_is_that_by_the_hour() {
    let tokens = ["--input-tokens-per-hour", "4000000", "--output-tokens-per-hour", "500000"];
    let prices = ["--cloud-input-per-million", "2.75", "--cloud-output-per-million", "11"];
    let own = ["--capex", "100000", "--opex-per-hour", "1"];

    let (code, by_token) = breakeven(&[&own[..], &tokens, &prices].concat()).await;
    let (_, by_hour) = breakeven(&[&own[..], &["--cloud-per-hour", "16.5"]].concat()).await;

    assert_eq!((code, &by_token["hours"]), (Some(0), &by_hour["hours"]));
    assert_eq!(by_token["cloud_usd_per_hour"], "16.5");
}

#[tokio::test]
async fn hardware_that_never_pays_is_a_no_and_nonsense_is_wrong_usage() {
    let own = ["--capex", "1", "--opex-per-hour", "2", "--cloud-per-hour", "3"];

    let (never, found) = breakeven(&[&own[..], &["--utilisation", "60"]].concat()).await;
    let (nonsense, _) = breakeven(&[&own[..], &["--utilisation", "0"]].concat()).await;

    assert_eq!((never, &found["hours"]), (Some(1), &Value::Null));
    assert_eq!(nonsense, Some(2));
}

#[tokio::test]
async fn an_imported_table_is_a_catalogue_that_can_be_imported_and_listed() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let table = r#"{"m": {"litellm_provider": "azure", "mode": "chat", "input_cost_per_token": 2.75e-06, "output_cost_per_token": 1.1e-05}}"#;
    std::fs::write(folder.path().join("table.json"), table).expect("the folder can be written");

    let import =
        ["prices", "import", "table.json", "--taken", "2026-11-01", "--source", "a test", "--out", "prices.txt"];
    let imported = run(&import, folder.path()).await;
    let again = run(&["prices", "import", "prices.txt"], folder.path()).await;
    let listed = run(&["prices", "list", "--file", "prices.txt", "--json"], folder.path()).await;

    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    let text = std::fs::read(folder.path().join("prices.txt")).expect("it was written");
    assert_eq!(again.stdout, text);
    assert_eq!(String::from_utf8_lossy(&text).lines().last(), Some("m input=2.75 output=11"));
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("it is JSON");
    assert_eq!((&listed["taken"], &listed["usd_per_million"][0]["output"]), (&"2026-11-01".into(), &"11".into()));
}

#[tokio::test]
async fn what_is_no_table_of_prices_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    std::fs::write(folder.path().join("table.json"), "[]").expect("the folder can be written");

    let refused = run(&["prices", "import", "table.json"], folder.path()).await;
    let missing = run(&["prices", "import", "none.json"], folder.path()).await;

    assert_eq!((refused.status.code(), missing.status.code()), (Some(1), Some(3)));
}
