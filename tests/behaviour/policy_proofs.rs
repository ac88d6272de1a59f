//! `causeway policy prove`: what is said to be proved is proved, and what is wrong is refuted with a request.
//!
//! The solver is the real one: the library in the Python package `cvc5`. `tests/run --only policy-proofs` installs it and
//! names its Python in `CAUSEWAY_SOLVER`; where that is not set, these tests say that they were not run. What a broken or
//! lying solver can do is tried with programs that a test writes, everywhere.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::testkit::{causeway, not_tested};

/// The solver's Python, or nothing where the proofs cannot be made.
fn solver(what: &str) -> Option<String> {
    let solver = std::env::var("CAUSEWAY_SOLVER").ok();
    if solver.is_none() {
        not_tested(&format!("{what}: needs a solver, see `tests/run --only policy-proofs`"));
    }
    solver
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn goals() -> String {
    root().join("policies/goals").display().to_string()
}

/// Exit code, standard output and standard error. Only the solver's own limit bounds the time.
async fn prove(arguments: &[&str]) -> (Option<i32>, String, String) {
    policy(&[&["prove"], arguments].concat()).await
}

async fn policy(arguments: &[&str]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let arguments = [&["policy"], arguments].concat();
    let mut command = causeway(&arguments, folder.path());
    // A solver that happens to be installed here is none that a test has named.
    let said = command.env("PATH", "/nowhere").output().await.expect("cargo built the binary");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (said.status.code(), text(&said.stdout), text(&said.stderr))
}

/// The shipped policies with `from` replaced by `to` in one file.
fn weakened(file: &str, from: &str, to: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let policies = fs::read_dir(root().join("policies")).expect("the repository has them");
    for path in policies.filter_map(Result::ok).map(|entry| entry.path()) {
        if path.extension().is_some_and(|extension| extension == "cedar") {
            let mut text = fs::read_to_string(&path).expect("a policy can be read");
            let name = path.file_name().expect("a file has a name");
            if name == file {
                assert!(text.contains(from), "{file} does not hold `{from}`");
                text = text.replacen(from, to, 1);
            }
            fs::write(folder.path().join(name), text).expect("a temporary file can be written");
        }
    }
    folder
}

#[tokio::test]
async fn every_shipped_goal_is_proved_of_the_shipped_policies() {
    let Some(solver) = solver("the shipped goals") else { return };

    let (code, said, error) = prove(&["--json", "--solver", &solver]).await;

    assert_eq!(code, Some(0), "{said}{error}");
    let said: Value = serde_json::from_str(&said).expect("it prints JSON");
    let goals = said["goals"].as_array().expect("it lists the goals");
    let shipped = fs::read_dir(goals_folder()).expect("the repository has goals").count();
    assert_eq!(goals.len(), shipped);
    for goal in goals {
        assert_eq!(goal["verdict"], "PROVED", "{goal}");
    }
    assert!(said["meaning"].as_str().is_some_and(|meaning| meaning.contains("text of the policies")), "{said}");
}

fn goals_folder() -> PathBuf {
    root().join("policies/goals")
}

/// What is weakened, and what the counterexample must show of it.
struct Weakening {
    what: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
    goal: &'static str,
    shows: fn(&Value) -> bool,
}

const IN_THE_EEA: &str = r#"unless { Zone::"EEA".countries.containsAll(resource.processing) };"#;

const WEAKENINGS: [Weakening; 4] = [
    Weakening {
        what: "an exception for support",
        file: "20-residency.cedar",
        from: IN_THE_EEA,
        to: r#"unless { Zone::"EEA".countries.containsAll(resource.processing) || context.purpose == "support" };"#,
        goal: "personal-data-is-processed-in-the-eea",
        shows: |request| request["purpose"] == "support" && labels(request).contains("eu_personal"),
    },
    Weakening {
        what: "`containsAny` where `containsAll` is meant",
        file: "20-residency.cedar",
        from: IN_THE_EEA,
        to: r#"unless { Zone::"EEA".countries.containsAny(resource.processing) };"#,
        goal: "personal-data-is-processed-in-the-eea",
        shows: |request| labels(request).contains("eu_personal") && request["target.processing"] != "none",
    },
    Weakening {
        what: "a place that is the empty set",
        file: "20-residency.cedar",
        from: "!resource.processing.isEmpty() &&",
        to: "",
        goal: "labelled-data-goes-to-known-places",
        shows: |request| request["target.processing"] == "none" && request["labels"] != "none",
    },
    Weakening {
        what: "a feature that needs no grant",
        file: "10-grants.cedar",
        from: r#" && resource.grants.contains("keep_state")"#,
        to: "",
        goal: "features-only-where-granted",
        shows: |request| request["action"] == "keep_state" && request["target.grants"] == "none",
    },
];

fn labels(request: &Value) -> &str {
    request["labels"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn what_was_weakened_is_refuted_by_a_request_that_the_authorizer_allows() {
    let Some(solver) = solver("weakened policies") else { return };
    for Weakening { what, file, from, to, goal, shows } in WEAKENINGS {
        let folder = weakened(file, from, to);
        let policies = folder.path().display().to_string();
        let goal_file = format!("{}/{goal}.cedar", goals());

        let (code, said, error) = prove(&[&policies, "--goals", &goal_file, "--json", "--solver", &solver]).await;

        assert_eq!(code, Some(1), "{what}: {said}{error}");
        let said: Value = serde_json::from_str(&said).expect("it prints JSON");
        let found = &said["goals"][0];
        assert_eq!(found["verdict"], "REFUTED", "{what}: {found}");
        let counterexample = &found["counterexample"];
        assert_eq!(counterexample["usual"], true, "{what}: a gateway can meet such a request: {found}");
        assert!(shows(&counterexample["request"]), "{what}: {found}");
        assert_eq!(counterexample["decision"]["permitted"], true, "{what}: the gateway decides so: {found}");
        let by = counterexample["permitted_by"].as_array().expect("it says which policies permit it");
        assert!(!by.is_empty(), "{what}: {found}");
    }
}

#[tokio::test]
async fn the_tutorial_s_first_policies_have_the_hole_that_it_tells_of_and_its_second_ones_do_not() {
    let Some(solver) = solver("the tutorial") else { return };
    let folder = root().join("docs/examples/empty-set");
    let [before, after, goals] = ["before", "after", "goals"].map(|part| folder.join(part).display().to_string());

    let (code, said, _) = prove(&[&before, "--goals", &goals, "--solver", &solver]).await;
    assert_eq!(code, Some(1), "{said}");
    for told in [
        "REFUTED",
        "target.processing",
        "none",
        "replayed: the authorizer allows it, by approved-targets",
        "decided as for a caller: permitted by `approved-targets`",
    ] {
        assert!(said.contains(told), "`{told}` is not in:\n{said}");
    }

    let (code, said, _) = prove(&[&after, "--goals", &goals, "--solver", &solver]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("PROVED   personal-data-goes-to-known-places-in-the-eea"), "{said}");
}

#[tokio::test]
async fn a_policy_that_can_match_nothing_is_a_mistake_wherever_its_conditions_say_so() {
    let Some(solver) = solver("policies that match nothing") else { return };
    let with = |when: &str| {
        let folder = weakened("", "", "");
        let text = format!(
            "@id(\"mine\") @owner(\"o\") @basis(\"b\")\nforbid (principal, action == Action::\"keep_state\", resource is Target)\nwhen {{ {when} }};\n"
        );
        fs::write(folder.path().join("40-mine.cedar"), text).expect("a temporary file can be written");
        folder
    };

    for dead in [
        "context.class >= 2 && context.class < 2",
        "!context.labelled && context.labels.contains(\"health\")",
        "resource.own_site && resource.reach != \"local\"",
        "resource.processing.isEmpty() && resource.processing.contains(Country::\"DE\")",
    ] {
        let folder = with(dead);
        let path = folder.path().display().to_string();
        let (code, said, error) = policy(&["check", &path, "--solver", &solver]).await;

        assert_eq!(code, Some(1), "{dead}: {said}{error}");
        assert!(
            error.contains("40-mine.cedar:1:1: policy `mine` matches no request and no endpoint"),
            "{dead}: {error}"
        );
    }
    let folder = with("context.class >= 2 && context.labels.contains(\"of our own\")");
    let path = folder.path().display().to_string();
    let (code, said, error) = policy(&["check", &path, "--solver", &solver]).await;
    assert_eq!(code, Some(0), "{said}{error}");
    assert!(said.contains("each policy can match something"), "{said}");
}

/// A permit for a target of the set beside it, and forbids, each on the lines of its own.
fn permit_among(forbids: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let permit = "@id(\"mine\")\n@owner(\"o\")\n@basis(\"b\")\n@grant(\"base\")\n\
                  permit (principal, action, resource is Target)\nwhen { resource.approved && context.class >= 2 };\n";
    fs::write(folder.path().join("10-permit.cedar"), permit).expect("a temporary file can be written");
    let forbid = |(index, conditions): (usize, &&str)| {
        format!(
            "@id(\"no-{index}\") @owner(\"o\") @basis(\"b\")\nforbid (principal, action, resource is Target)\n{conditions};\n"
        )
    };
    let forbids: String = forbids.iter().enumerate().map(forbid).collect();
    fs::write(folder.path().join("20-forbids.cedar"), forbids).expect("a temporary file can be written");
    folder
}

#[tokio::test]
async fn a_permit_that_forbids_always_overrule_is_remarked_with_those_that_do_so_alone() {
    let Some(solver) = solver("permits that permit nothing") else { return };
    let wide = "when { context.class >= 1 }";
    let halves = ["when { resource.own_site }", "unless { resource.own_site }"];
    let narrow = "when { context.labels.contains(\"health\") }";
    for (forbids, alone, told) in [
        (vec![narrow, wide], Some(vec!["no-1"]), "`no-1` (FOLDER/20-forbids.cedar:4) forbids all that it permits;"),
        (vec![wide, wide], Some(vec!["no-0", "no-1"]), "forbids all that it permits, each of them alone;"),
        (halves.to_vec(), Some(vec![]), "take all of it together, and none of them alone;"),
        // No obligation of the set replaces anything, so this way out is none.
        (
            vec!["unless { context.redacted.contains(\"iban\") }"],
            Some(vec!["no-0"]),
            "`no-0` (FOLDER/20-forbids.cedar:1)",
        ),
        // One way out is enough.
        (vec![narrow], None, ""),
        (vec!["when { context.class >= 1 && !resource.own_site }"], None, ""),
        (vec!["unless { context.purpose == \"audit\" && resource.reach == \"private-link\" }"], None, ""),
    ] {
        let folder = permit_among(&forbids);
        let path = folder.path().display().to_string();

        let (code, said, error) = policy(&["check", &path, "--solver", &solver]).await;
        let (_, as_json, _) = policy(&["check", &path, "--json", "--solver", &solver]).await;

        assert_eq!(code, Some(0), "it is no mistake: {forbids:?}: {said}{error}");
        let remark =
            format!("{path}/10-permit.cedar:1:1: permit `mine` matches something and never permits anything: ");
        assert_eq!(said.contains(&remark), alone.is_some(), "{forbids:?}: {said}");
        assert!(said.contains(&told.replace("FOLDER", &path)), "{forbids:?}: {said}");
        assert_eq!(said.contains("or take the permit out"), alone.is_some(), "{said}");
        let as_json: Value = serde_json::from_str(&as_json).expect("it prints JSON");
        let overruled: Vec<Value> =
            alone.into_iter().map(|alone| serde_json::json!({ "policy": "mine", "alone": alone })).collect();
        assert_eq!(as_json["never"]["overruled"], serde_json::json!(overruled), "{forbids:?}");
    }
}

/// The solver, except that it says `unknown` to questions for which `hard` is true; it writes down which policies each question
/// is of: `m` where the permit is among them, `t` where the forbid is.
fn unsure(solver: &str, folder: &Path, hard: &str) -> (String, PathBuf) {
    let (path, asked) = (folder.join("unsure"), folder.join("asked"));
    let bridge = root().join("gateway/commands/policy/solver/cvc5_bridge.py");
    let script = format!(
        r##"#!{solver}
import sys
if "--version" in sys.argv:
    print("This is cvc5 version 9.9.9")
    sys.exit()

class Lines:
    real, text = sys.stdin, ""
    def readline(self):
        while True:
            line = self.real.readline()
            self.text = "" if line.strip() == "(reset)" else self.text + line
            if line.strip() != "(check-sat)":
                return line
            mine, theirs = '"mine"' in self.text, '"theirs"' in self.text
            with open({asked:?}, "a") as asked:
                asked.write("m" * mine + "t" * theirs + "\n")
            if not ({hard}):
                return line
            print("unknown", flush=True)

sys.stdin = Lines()
exec(open({bridge:?}).read())
"##
    );
    fs::write(&path, script).expect("a temporary file can be written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a temporary file can be made a program");
    (path.display().to_string(), asked)
}

/// A permit for one purpose, and a forbid.
fn permit_for_mine(forbid: &str) -> tempfile::TempDir {
    let folder = permit_among(&[forbid]);
    let path = folder.path().join("10-permit.cedar");
    let permit = fs::read_to_string(&path).expect("just written");
    fs::write(path, permit.replace("context.class >= 2", "context.purpose == \"mine\"")).expect("as it was");
    folder
}

const ALL_BUT_THEIRS: &str = "unless { context.purpose == \"theirs\" }";
const THEIRS: &str = "when { context.purpose == \"theirs\" }";

#[tokio::test]
async fn what_was_not_found_out_of_a_permit_is_told_and_what_was_found_out_beside_it_is_kept() {
    let Some(solver) = solver("a permit of which not everything is known") else { return };
    let unknown = |question: &str| serde_json::json!({ "policy": "mine", "question": question, "why": "" });
    let overruled = |alone: Value| vec![serde_json::json!({ "policy": "mine", "alone": alone })];
    let (matches, permits) = ("mine and not theirs", "mine and theirs");
    for (forbid, hard, is_overruled, are_unknown) in [
        (ALL_BUT_THEIRS, "False", overruled(serde_json::json!(["no-0"])), vec![]),
        (ALL_BUT_THEIRS, matches, overruled(Value::Null), vec![unknown("matches")]),
        (ALL_BUT_THEIRS, permits, vec![], vec![unknown("permits")]),
        (ALL_BUT_THEIRS, "mine", vec![], vec![unknown("matches"), unknown("permits")]),
        (THEIRS, "False", vec![], vec![]),
        // What permits something matches something.
        (THEIRS, matches, vec![], vec![]),
        (THEIRS, permits, vec![], vec![unknown("permits")]),
        (THEIRS, "mine", vec![], vec![unknown("matches"), unknown("permits")]),
    ] {
        let (folder, what) = (permit_for_mine(forbid), format!("{forbid}, {hard}"));
        let (solver, _) = unsure(&solver, folder.path(), hard);
        let path = folder.path().display().to_string();

        let (code, said, error) = policy(&["check", &path, "--solver", &solver]).await;
        let (_, as_json, _) = policy(&["check", &path, "--json", "--solver", &solver]).await;

        assert_eq!(code, Some(0), "{what}: {said}{error}");
        let mut never = serde_json::from_str::<Value>(&as_json).expect("it prints JSON")["never"].take();
        for one in never["unknown"].as_array_mut().expect("a list") {
            assert!(one["why"].take().as_str().is_some_and(|why| !why.is_empty()), "{what}: it says why");
            one["why"] = "".into();
        }
        assert_eq!(never["overruled"], serde_json::json!(is_overruled), "{what}");
        assert_eq!(never["unknown"], serde_json::json!(are_unknown), "{what}");
        for (question, each) in [("matches", "each policy can match"), ("permits", "each permit permits")] {
            let is_named =
                are_unknown.contains(&unknown(question)) || question == "permits" && !is_overruled.is_empty();
            let but = if is_named { ", but for those named here" } else { "" };
            let said = said.replace("\n", ";");
            assert!(said.contains(&format!("{each} something{but};")), "{what}: {said}");
        }
        let is_known = !are_unknown.contains(&unknown("matches"));
        let remark = format!("permit `mine` {}never permits", if is_known { "matches something and " } else { "" });
        assert_eq!(said.contains(&remark), !is_overruled.is_empty(), "{what}: {said}");
    }
}

#[tokio::test]
async fn whether_policies_match_anything_is_asked_of_all_before_the_first_is_asked_for_what_it_permits() {
    let Some(solver) = solver("the order of the questions") else { return };
    let folder = permit_for_mine(ALL_BUT_THEIRS);
    let (solver, asked) = unsure(&solver, folder.path(), "False");

    let (code, said, error) = policy(&["check", &folder.path().display().to_string(), "--solver", &solver]).await;

    assert_eq!(code, Some(0), "{said}{error}");
    let asked = fs::read_to_string(asked).expect("it was asked");
    // Of neither were those by which the solver was tried.
    let asked: Vec<&str> = asked.lines().filter(|of| !of.is_empty()).collect();
    let alone = asked.iter().take_while(|of| of.len() == 1).count();
    assert!(["m", "t"].iter().all(|of| asked[..alone].contains(of)), "{asked:?}");
    assert!(alone < asked.len() && asked[alone..].iter().all(|of| *of == "mt"), "{asked:?}");
}

#[tokio::test]
async fn without_a_solver_nothing_is_said_of_permits_that_permit_nothing() {
    let folder = permit_among(&["when { context.class >= 1 }"]);

    let (code, said, error) = policy(&["check", &folder.path().display().to_string()]).await;

    assert_eq!(code, Some(0), "{said}{error}");
    assert!(!said.contains("permit `mine`") && said.contains("not asked: whether"), "{said}");
}

#[tokio::test]
async fn each_shipped_policy_can_match_something() {
    let Some(solver) = solver("that each shipped policy matches something") else { return };

    let (code, said, error) = policy(&["check", "--json", "--solver", &solver]).await;

    assert_eq!(code, Some(0), "{said}{error}");
    let said: Value = serde_json::from_str(&said).expect("it prints JSON");
    assert_eq!(said["never"]["unknown"], serde_json::json!([]), "{said}");
    assert_eq!(said["never"]["overruled"], serde_json::json!([]), "{said}");
    assert_eq!(said["remarks"], serde_json::json!([]), "{said}");
    assert!(said["never"]["by"].as_str().is_some_and(|by| by.contains("cvc5")), "{said}");
}

#[tokio::test]
async fn a_goal_that_excludes_nothing_or_cannot_be_read_proves_nothing() {
    let Some(solver) = solver("goals that say nothing") else { return };
    for (goal, why) in [
        ("@id(\"all\") permit (principal, action, resource);", "excludes no request"),
        ("@id(\"typo\") permit (principal, action, resource) when { resource.aproved };", "`aproved`"),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        fs::write(folder.path().join("goal.cedar"), goal).expect("a temporary file can be written");
        let goals = folder.path().display().to_string();

        let (code, said, _) = prove(&["--goals", &goals, "--solver", &solver]).await;

        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains("UNKNOWN  goal: ") && said.contains(why), "{said}");
    }
}

/// A program that speaks as a solver, with one answer to every question.
fn pretender(folder: &Path, name: &str, answer: &str) -> String {
    let path = folder.join(name);
    let script = format!(
        "#!/bin/sh\ncase \"$1\" in --version) echo 'This is cvc5 version 9.9.9'; exit;; esac\n\
         while read -r line; do case \"$line\" in '(check-sat)') {answer};; esac; done\n"
    );
    fs::write(&path, script).expect("a temporary file can be written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a temporary file can be made a program");
    path.display().to_string()
}

#[tokio::test]
async fn a_solver_that_is_not_there_lies_or_fails_proves_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let absent = folder.path().join("absent").display().to_string();
    for (solver, why) in [
        (absent, "No such file"),
        (pretender(folder.path(), "always-yes", "echo unsat"), "wrong answers to questions whose answers are known"),
        (pretender(folder.path(), "never-sure", "echo unknown"), "unknown"),
        (pretender(folder.path(), "failing", "echo '(error \"out of memory\")'"), "out of memory"),
        (pretender(folder.path(), "leaving", "exit 1"), "terminated"),
        (pretender(folder.path(), "always-no", "echo sat; exit"), "no solver works"),
    ] {
        let (code, said, error) = prove(&["--solver", &solver]).await;

        assert_eq!(code, Some(3), "{why}: {said}{error}");
        assert!(error.contains(why), "`{why}` is not in: {error}");
        assert!(!said.contains("PROVED"), "{said}");
    }
}

#[tokio::test]
async fn policies_with_a_mistake_are_not_proved_and_the_place_is_named() {
    let folder =
        weakened("20-residency.cedar", IN_THE_EEA, "unless { Zone::\"EEA\".countries.containsAll(resource.proc) };");
    let policies = folder.path().display().to_string();

    let (code, said, error) = prove(&[&policies, "--goals", &goals()]).await;

    assert_eq!(code, Some(1), "{said}{error}");
    assert!(error.contains("20-residency.cedar:12:") && error.contains("`proc`"), "{error}");
}

// ---- what two sets permit

#[tokio::test]
async fn a_change_is_proved_to_be_tighter_wider_both_or_nothing() {
    let Some(solver) = solver("the difference of two sets") else { return };
    let wider = weakened("20-residency.cedar", "!resource.processing.isEmpty() &&", "");
    let reworded = weakened(
        "20-residency.cedar",
        "context.class >= 2 || !context.labels.isEmpty()",
        "!context.labels.isEmpty() || context.class > 1",
    );
    let (wider, reworded) = (wider.path().display().to_string(), reworded.path().display().to_string());
    let diff =
        async |old: &str, new: &str| policy(&["diff", old, new, "--forbid-wider", "--json", "--solver", &solver]).await;

    for (old, new, code, verdict) in
        [("shipped", &*wider, 1, "wider"), (&wider, "shipped", 0, "tighter"), ("shipped", &reworded, 0, "equal")]
    {
        let (said_code, said, error) = diff(old, new).await;

        assert_eq!(said_code, Some(code), "{verdict}: {said}{error}");
        let said: Value = serde_json::from_str(&said).expect("it prints JSON");
        assert_eq!((&said["verdict"], &said["proof"]), (&verdict.into(), &true.into()), "{said}");
        assert_eq!(said["permitted_now"].is_null(), verdict != "wider", "{said}");
        assert_eq!(said["permitted_before"].is_null(), verdict != "tighter", "{said}");
    }
}

/// The conditions are the same text in both; what an annotation means to the gateway is not.
#[tokio::test]
async fn an_obligation_that_is_dropped_and_an_end_that_is_put_off_are_wider() {
    let Some(solver) = solver("annotations") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let write = |name: &str, annotations: &str| {
        let set = folder.path().join(name);
        fs::create_dir(&set).expect("a temporary folder can be made");
        let text =
            format!("@id(\"p\") @owner(\"o\") @basis(\"b\") {annotations}\npermit (principal, action, resource);\n");
        fs::write(set.join("all.cedar"), text).expect("a temporary file can be written");
        set.display().to_string()
    };
    let (bound, free) =
        (write("bound", "@grant(\"base\") @obligation(\"redact:card\")"), write("free", "@grant(\"base\")"));
    let (short, long) = (write("short", "@expires(\"2027-01-01\")"), write("long", "@expires(\"2028-01-01\")"));

    for (old, new) in [(&bound, &free), (&short, &long)] {
        let (code, said, error) = policy(&["diff", old, new, "--forbid-wider", "--solver", &solver]).await;
        assert_eq!(code, Some(1), "{said}{error}");
        assert!(said.starts_with("wider: "), "{said}");

        let (code, said, _) = policy(&["diff", new, old, "--forbid-wider", "--solver", &solver]).await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.starts_with("tighter: "), "{said}");
    }
}

// ---- without a solver

#[tokio::test]
async fn without_a_solver_a_finite_world_is_gone_through_and_that_is_not_called_a_proof() {
    let folder = root().join("docs/examples/empty-set");
    let [after, goals] = ["after", "goals"].map(|part| folder.join(part).display().to_string());

    let (code, said, _) = prove(&[&after, "--goals", &goals]).await;
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("NOT REFUTED personal-data-goes-to-known-places-in-the-eea"), "{said}");
    assert!(said.contains("is no proof") && !said.contains("PROVED "), "{said}");

    let (code, said, _) = prove(&[&after, "--goals", &goals, "--enumerate"]).await;
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test]
async fn without_a_solver_a_request_that_breaks_a_goal_is_found_where_it_is_among_those_gone_through() {
    let exception = weakened(
        "20-residency.cedar",
        IN_THE_EEA,
        "unless { Zone::\"EEA\".countries.containsAny(resource.processing) };",
    );
    let policies = exception.path().display().to_string();
    let goal = format!("{}/personal-data-is-processed-in-the-eea.cedar", goals());

    let (code, said, error) = prove(&[&policies, "--goals", &goal, "--json"]).await;

    assert_eq!(code, Some(1), "{said}{error}");
    let said: Value = serde_json::from_str(&said).expect("it prints JSON");
    assert_eq!(said["goals"][0]["verdict"], "REFUTED", "{said}");
    let target = said["goals"][0]["counterexample"]["target"].as_str().unwrap_or_default();
    assert!(target.contains("processed in"), "{said}");
}

#[tokio::test]
async fn a_hole_for_a_purpose_is_found_without_a_solver_and_no_gate_is_passed_by_a_weaker_answer() {
    let eea = "unless { Zone::\"EEA\".countries.containsAll(resource.processing) };";
    let hole = "unless { Zone::\"EEA\".countries.containsAll(resource.processing) || context.purpose == \"support\" };";
    let (old, wider) = (weakened("20-residency.cedar", eea, eea), weakened("20-residency.cedar", eea, hole));
    let stricter =
        "unless { Zone::\"EEA\".countries.containsAll(resource.processing) && resource.reach != \"public\" };";
    let tighter = weakened("20-residency.cedar", eea, stricter);
    let diff = async |new: &Path, more: &[&str]| {
        let [old, new] = [old.path(), new].map(|path| path.display().to_string());
        policy(&[&["diff", &old, &new, "--forbid-wider"], more].concat()).await
    };

    let (code, said, error) = diff(wider.path(), &["--enumerate"]).await;
    assert_eq!(code, Some(1), "{said}{error}");
    assert!(said.starts_with("wider: ") && said.contains("purpose support"), "{said}");

    // Without being told to be content with that, what went through a finite world and found nothing is no answer.
    let (code, said, error) = diff(tighter.path(), &[]).await;
    assert_eq!(code, Some(3), "{said}{error}");
    assert!(error.contains("`pip install cvc5`") && error.contains("`--enumerate`"), "{error}");
    assert_eq!(diff(tighter.path(), &["--enumerate"]).await.0, Some(0));
    assert_eq!(diff(wider.path(), &[]).await.0, Some(1));
    // The same policies need no solver.
    assert_eq!(diff(old.path(), &[]).await.0, Some(0));
}
