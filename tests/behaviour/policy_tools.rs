//! `causeway policy …` and `check --at`: what they find, where they say it stands, and what their exit codes mean.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::testkit::run;

/// A day on which every row of the shipped data pack holds.
const TODAY: &str = "2026-12-01";

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

fn shipped(file: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").join(file).display().to_string()
}

/// What a command said, and its exit code.
struct Said {
    text: String,
    code: Option<i32>,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        Self { text, code: output.status.code() }
    }
}

impl Said {
    #[track_caller]
    fn and(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.text);
        for word in words {
            assert!(self.text.contains(word), "no `{word}` in:\n{}", self.text);
        }
    }
}

/// Runs `causeway policy …` in this folder.
async fn policy(folder: &Path, arguments: &[&str]) -> Said {
    run(&[&["policy"], arguments].concat(), folder).await.into()
}

/// The shipped policies in a folder of one's own.
async fn exported() -> (tempfile::TempDir, PathBuf) {
    let folder = scratch();
    policy(folder.path(), &["export", "mine"]).await.and(0, &["files in mine"]);
    let mine = folder.path().join("mine");
    (folder, mine)
}

fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).expect("the file is there");
    assert!(text.contains(from), "no `{from}` in {}", file.display());
    fs::write(file, text.replace(from, to)).expect("it can be written");
}

const A_PERMIT: &str = "@id(\"mine\")\n@owner(\"security\")\n@basis(\"a rule\")\n";

#[tokio::test]
async fn every_mistake_of_a_policy_folder_is_said_in_one_run_with_line_and_column() {
    let folder = scratch();
    let mine = folder.path().join("mine");
    fs::create_dir(&mine).expect("a folder can be made");
    let forbid = |id: &str, when: &str| {
        format!(
            "@id(\"{id}\") @owner(\"o\") @basis(\"b\")\nforbid (principal, action, resource is Target)\nwhen {{ {when} }};\n"
        )
    };
    let files = [
        ("a.cedar", "permit (principal action, resource);\n".to_owned()),
        ("b.cedar", forbid("typo", "resource.procesing.isEmpty()")),
        ("c.cedar", forbid("any", "!(Zone::\"EEA\".countries.containsAny(resource.processing))")),
        ("d.cedar", forbid("label", "context.labels.contains(\"helth\")")),
        ("e.cedar", forbid("zone", "Zone::\"EAA\".countries.containsAll(resource.at_rest)")),
        ("f.cedar", format!("{A_PERMIT}permit (principal, action, resource);\n")),
        ("h.cedar", forbid("reach", "resource.reach == \"publc\"")),
        ("i.cedar", forbid("purpose", "context.purpose == \"anwsering\"")),
        ("j.cedar", forbid("class", "context.class == 7")),
        ("g.cedar", "@id(\"endless\")\npermit (principal, action, resource);\n".to_owned()),
    ];
    for (name, text) in &files {
        fs::write(mine.join(name), text).expect("it can be written");
    }

    let said = policy(folder.path(), &["check", "mine", "--config", &shipped("tests/fleet.toml")]).await;

    said.and(
        1,
        &[
            "mine/a.cedar:1:19: ",
            "mine/b.cedar:3:8: ",
            "mine/c.cedar:3:32: policy `any` asks `containsAny` of `processing`",
            "mine/d.cedar:3:32: policy `label` names `helth`, which is not a label",
            "mine/e.cedar:3:14: policy `zone` names `EAA`, which is not a group",
            "mine/f.cedar:1:1: permit `mine` is an exception without an end",
            "mine/g.cedar:1:1: policy `endless` has no `@owner`",
            "mine/h.cedar:3:26: policy `reach` names `publc`, which is not a reach; did you mean `public`?",
            "mine/i.cedar:3:27: policy `purpose` names `anwsering`, which is not a purpose of any app; did you mean `answering`?",
            "mine/j.cedar:3:25: policy `class` names 7, which is not a class",
        ],
    );
}

#[tokio::test]
async fn a_word_that_may_be_of_one_s_own_is_only_looked_at_and_what_was_not_asked_is_said() {
    let (_folder, mine) = exported().await;
    let forbid = "@id(\"mine\") @owner(\"o\") @basis(\"b\")\nforbid (principal, action, resource is Target)\n\
                  when { context.purpose == \"anwsering\" }\nunless { resource.certifications.contains(\"HSD\") };\n";
    fs::write(mine.join("40-mine.cedar"), forbid).expect("it can be written");
    let folder = mine.parent().expect("it lies in one");

    let alone = policy(folder, &["check", "mine", "--without-solver"]).await;
    let json = policy(folder, &["check", "mine", "--json", "--without-solver"]).await;
    let absent = policy(folder, &["check", "mine", "--solver", "/nowhere/cvc5"]).await;

    alone.and(
        0,
        &[
            "fine: 21 policies",
            "mine/40-mine.cedar:4:43: policy `mine` names `HSD`, which is not a certificate that ships with the gateway; \
             did you mean `HDS`?",
            "not checked without `--config`: that labels, apps, teams, endpoints, purposes and certificates",
            "not asked, as wished: whether each policy can match anything at all",
        ],
    );
    assert!(!alone.text.contains("anwsering"), "{}", alone.text);
    json.and(0, &["\"not_asked\":\"not wanted\""]);
    absent.and(3, &["the solver does not work", "/nowhere/cvc5"]);
}

#[tokio::test]
async fn an_exception_that_has_ended_or_will_is_announced_for_the_day_that_is_asked_about() {
    let folder = scratch();
    let mine = folder.path().join("mine");
    fs::create_dir(&mine).expect("a folder can be made");
    let text = format!(
        "{A_PERMIT}@expires(\"2027-06-30\")\npermit (principal, action, resource);\n\
         @id(\"again\") @owner(\"o\") @basis(\"b\") @review_by(\"2027-06-30\")\n\
         forbid (principal, action, resource is Target) when {{ resource.preview }};\n\
         @id(\"base\") @owner(\"o\") @basis(\"b\") @grant(\"base\") @review_by(\"2027-06-30\")\n\
         permit (principal, action, resource is Target) when {{ resource.own_site }};\n"
    );
    fs::write(mine.join("a.cedar"), text).expect("it can be written");
    let at = async |day: &str| policy(folder.path(), &["check", "mine", "--at", day]).await;

    let (early, late, after) = (at("2027-01-01").await, at("2027-06-20").await, at("2027-07-01").await);

    assert!(!early.text.contains("runs out") && !early.text.contains("reviewed"), "{}", early.text);
    late.and(
        0,
        &[
            "mine/a.cedar:1: exception `mine` runs out in 10 days, soon",
            "`again` is to be reviewed by 2027-06-30; it goes on forbidding until then and after",
            "`base` is to be reviewed by 2027-06-30; it goes on permitting until then and after",
        ],
    );
    after.and(0, &["exception `mine` has run out and permits nothing"]);
}

#[tokio::test]
async fn check_at_a_day_says_which_facts_and_exceptions_have_run_out_by_then() {
    let folder = scratch();
    let fleet = shipped("tests/fleet.toml");
    let at = async |day: &str| {
        Said::from(run(&["check", "--without-secrets", "--config", &fleet, "--at", day], folder.path()).await)
    };

    let (now, before, after, nonsense) =
        (at(TODAY).await, at("2027-05-06").await, at("2027-06-01").await, at("tomorrow").await);

    assert!(!now.text.contains("run out") && !now.text.contains("runs out"), "{}", now.text);
    before.and(0, &["aoai-sweden/m", "runs out in 2 days, very soon", "bedrock-eu/m", "runs out in 17 days"]);
    after.and(0, &["aoai-sweden/m", "has run out and counts as unknown"]);
    nonsense.and(2, &["write the day as `2027-06-30`"]);
}

#[tokio::test]
async fn formatting_keeps_comments_and_meaning_and_changes_nothing_twice() {
    let (folder, mine) = exported().await;
    let file = mine.join("20-residency.cedar");
    let original = fs::read_to_string(&file).expect("the file is there");
    fs::write(&file, original.replace(",\n  ", ", ").replace("(\n  ", "(  ")).expect("it can be written");

    let looked = policy(folder.path(), &["format", "--check", "mine"]).await;
    let untouched = fs::read_to_string(&file).expect("the file is there");
    let formatted = policy(folder.path(), &["format", "mine"]).await;
    let again = policy(folder.path(), &["format", "--check", "mine"]).await;

    looked.and(1, &["mine/20-residency.cedar"]);
    assert_ne!(untouched, original);
    formatted.and(0, &["mine/20-residency.cedar"]);
    again.and(0, &[]);
    assert_eq!(fs::read_to_string(&file).expect("the file is there"), original);
    policy(folder.path(), &["diff", "shipped", "mine"]).await.and(0, &["equal: both are the same policies"]);
}

#[tokio::test]
async fn a_file_that_cannot_be_parsed_is_not_formatted_and_neither_are_the_others() {
    let (folder, mine) = exported().await;
    edit(&mine.join("10-grants.cedar"), "permit (\n  principal is App,", "permit (principal is App,");
    fs::write(mine.join("30-confidentiality.cedar"), "permit (principal, action\n").expect("it can be written");
    let before = fs::read_to_string(mine.join("10-grants.cedar")).expect("the file is there");

    let said = policy(folder.path(), &["format", "mine"]).await;

    said.and(1, &["mine/30-confidentiality.cedar:1:26: "]);
    assert_eq!(fs::read_to_string(mine.join("10-grants.cedar")).expect("the file is there"), before);
}

#[tokio::test]
async fn nothing_that_is_there_is_written_over_by_an_export() {
    let (folder, mine) = exported().await;

    let said = policy(folder.path(), &["export", "mine"]).await;

    said.and(3, &["mine: "]);
    assert!(mine.join("schema.cedarschema").is_file() && mine.join("tests/decisions.csv").is_file());
}

#[tokio::test]
async fn the_shipped_tables_hold_and_would_miss_every_shipped_policy() {
    let (fleet, tables) = (shipped("tests/fleet.toml"), shipped("tests/decisions.csv"));
    let arguments = ["test", "--config", &fleet, &tables, "--cover", "--at", TODAY, "--json"];

    let said = policy(scratch().path(), &arguments).await;

    said.and(0, &[]);
    let outcome: Value = serde_json::from_str(&said.text).expect("JSON");
    assert!(outcome["rows"].as_u64().is_some_and(|rows| rows >= 50), "{outcome}");
    assert_eq!(outcome["decide_no_row"], Value::Array(Vec::new()));
    assert_eq!(outcome["missed_by_no_row"], Value::Array(Vec::new()));
}

#[tokio::test]
async fn a_row_that_turns_out_otherwise_is_named_with_its_line_and_what_decided() {
    let folder = scratch();
    let table = "app,labels,target,expected,policy\n\
                 claims,,aoai-zone/m,allow,\n\
                 claims,,aoai-zone/m,deny,no-long-retention\n\
                 claim,helth,aoai/m,perhaps,no-such-policy\n\
                 claims,,aoai-sweden/m,allow,approved-targets\n";
    fs::write(folder.path().join("t.csv"), table).expect("it can be written");

    let said = policy(folder.path(), &["test", "--config", &shipped("tests/fleet.toml"), "t.csv", "--at", TODAY]).await;

    said.and(
        1,
        &[
            "t.csv:2: app `claims` at `aoai-zone/m` was to be allowed as it is, and is forbidden by \
             `personal-data-processed-in-the-eea`",
            "t.csv:3: `no-long-retention` was to decide",
            "t.csv:4: `claim` is no app",
            "t.csv:4: `helth` is no label",
            "t.csv:4: `aoai/m` is no target",
            "t.csv:4: `perhaps` is nothing to expect",
            "t.csv:4: `no-such-policy` is no policy",
            "decide no row: ",
        ],
    );
}

#[tokio::test]
async fn a_sovereign_cloud_takes_special_categories_once_its_operator_s_parent_is_known_to_answer_to_no_third_country()
{
    let folder = scratch();
    let fleet = fs::read_to_string(shipped("tests/fleet.toml")).expect("it is part of the repository");
    let fact = "\n[fact.bedrock-eusc]\nbecause = \"audit report 2026-77, section 4\"\n\
                [fact.bedrock-eusc.regions.eusc-de-east-1]\noperator_parent = \"DE\"\n";
    fs::write(folder.path().join("fleet.toml"), format!("{fleet}{fact}")).expect("it can be written");
    let table = "[[case]]\napp = \"hr\"\ntarget = \"eusc/m\"\nexpected = \"allow\"\n";
    fs::write(folder.path().join("t.toml"), table).expect("it can be written");
    let held = async |fleet: &str| policy(folder.path(), &["test", "--config", fleet, "t.toml", "--at", TODAY]).await;

    let said = held("fleet.toml").await;
    let without = held(&shipped("tests/fleet.toml")).await;

    said.and(0, &["1 rows, 0 wrong"]);
    without.and(1, &["special-categories-under-no-third-country-law"]);
}

#[tokio::test]
async fn a_table_that_would_not_miss_a_policy_says_so() {
    let folder = scratch();
    let table = "[[case]]\napp = \"hr\"\ntarget = \"aoai-global/m\"\nexpected = \"deny\"\n";
    fs::write(folder.path().join("t.toml"), table).expect("it can be written");
    let arguments = ["test", "--config", &shipped("tests/fleet.toml"), "t.toml", "--at", TODAY];

    let told = policy(folder.path(), &arguments).await;
    let held_to_it = policy(folder.path(), &[&arguments[..], &["--cover"]].concat()).await;

    let words = ["1 rows, 0 wrong", "could be left out without a row noticing: ", "unknown-place-is-no-place"];
    told.and(0, &words);
    held_to_it.and(1, &words);
}

#[tokio::test]
async fn a_policy_that_is_taken_out_is_missed_by_the_tables() {
    let (folder, mine) = exported().await;
    edit(&mine.join("20-residency.cedar"), "contains(resource.operator_parent)", "contains(resource.operator)");
    let (fleet, tables) = (shipped("tests/fleet.toml"), shipped("tests/decisions.csv"));

    let said = policy(folder.path(), &["test", "--config", &fleet, &tables, "--policies", "mine", "--at", TODAY]).await;

    said.and(1, &["decisions.csv:32: app `hr` at `eusc/m` was to be denied, and is permitted"]);
}

/// Small sets of policies, so that going through the whole world takes no time.
const GRANT: &str = "@id(\"grant\") permit (principal, action in Action::\"infer\", resource is Target);\n";
const PERSONAL: &str = "@id(\"personal\") forbid (principal, action, resource is Target)\n\
    when { context.labels.contains(\"eu_personal\") } unless { Zone::\"EEA\".countries.containsAll(resource.processing) };\n";
const SECRETS: &str = "@id(\"secrets\") forbid (principal, action, resource is Target)\n\
    when { context.class >= 3 } unless { resource.own_site };\n";

/// A folder with these policies in one file.
fn folder_of(folder: &Path, name: &str, policies: &[&str]) {
    fs::create_dir(folder.join(name)).expect("a folder can be made");
    fs::write(folder.join(name).join("10.cedar"), policies.concat()).expect("it can be written");
}

#[tokio::test]
async fn a_change_is_tighter_wider_both_or_equal_and_a_wider_one_can_be_refused() {
    let folder = scratch();
    folder_of(folder.path(), "all", &[GRANT, PERSONAL, SECRETS]);
    folder_of(folder.path(), "fewer", &[GRANT, SECRETS]);
    folder_of(folder.path(), "others", &[GRANT, PERSONAL]);
    let config = shipped("tests/fleet.toml");
    let diff = async |old: &str, new: &str| {
        let arguments = ["diff", old, new, "--config", &config, "--at", TODAY, "--forbid-wider"];
        policy(folder.path(), &arguments).await
    };

    let (wider, tighter, both) =
        (diff("all", "fewer").await, diff("fewer", "all").await, diff("fewer", "others").await);

    wider.and(
        1,
        &[
            "wider: something is permitted that was not",
            "labels eu_personal, class public, findings none",
            "bedrock-eu/m: processed in CH, DE, DK, ES, FI, FR, GB, GR, IE, IT, MA, PL, SE, TR",
            "forbidden by `personal`",
            "is no proof",
        ],
    );
    tighter.and(0, &["tighter: nothing new is permitted, and something is not any more", "permitted before:"]);
    both.and(1, &["both: ", "permitted now:", "permitted before:"]);
}

#[tokio::test]
async fn without_a_configuration_a_change_is_looked_at_over_places_of_the_data_pack() {
    let folder = scratch();
    folder_of(folder.path(), "old", &[GRANT, SECRETS]);
    let looser = SECRETS.replace("resource.own_site", "resource.own_site || resource.reach == \"private-link\"");
    folder_of(folder.path(), "new", &[GRANT, &looser]);

    let said = policy(folder.path(), &["diff", "old", "new", "--enumerate", "--forbid-wider", "--json"]).await;

    said.and(1, &[]);
    let answer: Value = serde_json::from_str(&said.text).expect("JSON");
    assert_eq!((&answer["verdict"], &answer["proof"]), (&"wider".into(), &false.into()), "{answer}");
    assert_eq!(answer["permitted_now"]["otherwise"], "forbidden by `secrets`", "{answer}");
    assert_eq!(answer["permitted_before"], Value::Null);
}
