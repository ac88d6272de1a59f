//! The house holds: which crate may import which, and the rules that no lint can state.
//!
//! The arrows are those of the architecture page. Each failure names the fault and what mends it; a new arrow is a
//! decision record first. Rules that a lint can hold live in `clippy.toml` and in the lints of the root manifest.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The arrows between the members: normal dependencies, exactly these.
const ARROWS: &[(&str, &[&str])] = &[
    ("accounting", &[]),
    ("bench", &[]),
    ("egress", &["policy", "telemetry"]),
    ("ingress", &["accounting", "ledger", "telemetry"]),
    ("inspection", &[]),
    ("ledger", &["accounting"]),
    ("policy", &["inspection"]),
    ("replay", &["accounting", "policy", "routing"]),
    ("routing", &["accounting", "policy"]),
    ("server", &["accounting", "egress", "ingress", "inspection", "ledger", "policy", "routing", "telemetry", "wire"]),
    ("telemetry", &[]),
    ("wire", &[]),
];

/// The binary and its commands may use every crate, and use at least these two.
const BINARY: &str = "causeway";
const BINARY_USES: &[&str] = &["replay", "server"];

/// Crates that do no I/O, read no clock, spawn no task and draw no lots: time and randomness come in as arguments.
const PURE: &[&str] = &["accounting", "inspection", "policy", "replay", "routing", "wire"];

/// What a pure crate's code may not mention.
const IMPURE: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "std::env",
    "std::fs",
    "std::io::std",
    "std::net::Tcp",
    "std::net::Udp",
    "std::os::unix::net",
    "std::process",
    "std::thread",
    "thread::spawn",
    "tokio::",
    "rand::",
];

/// Crates from outside that a pure crate may not depend on.
const IMPURE_CRATES: &[&str] =
    &["aws-lc-rs", "hickory-resolver", "hyper", "hyper-util", "mio", "rand", "socket2", "tokio"];

/// Ways to open an outgoing connection or to ask a resolver. `clippy.toml` bans the functions; this catches an `expect`.
const DIALS: &[&str] = &[
    "TcpStream::connect",
    "TcpSocket::new",
    "UdpSocket::bind",
    "UnixStream::connect",
    "HttpConnector",
    // Sockets of the crates below tokio, whatever is then done with them.
    "socket2",
    "nix::sys::socket",
    "rustix::net",
    "lookup_host",
    "to_socket_addrs",
];

/// A second crypto provider or TLS stack.
const BANNED: &[&str] = &["native-tls", "openssl", "openssl-sys", "ring"];

/// Names that say nothing of what is in a module.
const EMPTY_NAMES: &[&str] = &["common", "helpers", "types", "utils"];

const MOST_LINES: usize = 600;

// ---- the arrows

#[test]
fn the_members_import_one_another_exactly_as_the_house_is_drawn() {
    let drawn = ARROWS.iter().map(|(from, to)| ((*from).to_owned(), set(to))).collect();
    let mut found = members();
    let binary = found.remove(BINARY).unwrap_or_default();

    let mut faults = compare(&drawn, &found);

    for needed in set(BINARY_USES).difference(&binary) {
        faults.push(missing_arrow(BINARY, needed));
    }
    report(&faults);
}

#[test]
fn a_pure_crate_depends_on_nothing_that_does_io() {
    let metadata = metadata();
    let mut faults = Vec::new();
    for package in packages(&metadata).filter(|package| PURE.contains(&name_of(package))) {
        for dependency in normal_dependencies(package).filter(|dependency| IMPURE_CRATES.contains(&name_of(dependency)))
        {
            faults.push(format!(
                "`{}` is pure and depends on `{}`; take what it needs as an argument, or put the code into a crate that does I/O",
                name_of(package),
                name_of(dependency),
            ));
        }
    }
    report(&faults);
}

#[test]
fn every_member_takes_the_lints_of_the_workspace() {
    let metadata = metadata();
    let mut faults = Vec::new();
    for manifest in packages(&metadata).filter_map(|package| package["manifest_path"].as_str()) {
        if !read(Path::new(manifest)).contains("[lints]\nworkspace = true") {
            faults.push(format!(
                "{manifest} has no `[lints] workspace = true`; add it, or its code is not held to any lint"
            ));
        }
    }
    report(&faults);
}

#[test]
fn the_tree_holds_one_crypto_provider_and_one_tls_stack() {
    // Not Cargo.lock: that also lists optional dependencies which nobody turns on.
    let tree =
        cargo(&["tree", "--workspace", "--edges", "normal,build", "--prefix", "none", "--format", "{p}", "--offline"]);
    let packages: BTreeSet<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(packages.contains("rustls"), "`cargo tree` shows no tree:\n{tree}");

    let faults: Vec<String> = BANNED
        .iter()
        .filter(|banned| packages.contains(*banned))
        .map(|banned| {
            format!("the tree holds `{banned}`; `cargo tree -i {banned}` shows who asks for it: turn that feature off")
        })
        .collect();

    report(&faults);
}

// ---- the book

#[test]
fn every_error_code_and_every_alarm_has_a_runbook_that_says_what_to_check_what_to_do_and_who_does_it() {
    let codes = read(&root().join("docs/src/reference/errors.md"));
    let codes =
        codes.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`')).map(|(code, _)| code.to_owned());
    let mut pages: BTreeSet<String> = codes.collect();
    // The codes of the administrators' listener stand where they are given.
    let gate = read(&root().join("gateway/server/src/admin/gate.rs"));
    let codes = gate.split("fn code(").nth(1).and_then(|rest| rest.split("\n    }\n").next()).unwrap_or_default();
    let before = pages.len();
    pages.extend(codes.split('"').skip(1).step_by(2).map(str::to_owned));
    assert!(pages.len() >= before + 3, "the administrators' codes are not where they were: {pages:?}");
    assert!(pages.len() >= 17, "the table of codes is not where it was: {pages:?}");
    for source in serving(None) {
        let text = read(&source);
        let alarms = text.split("\"ALARM ").skip(1).filter_map(|rest| rest.split_once(':'));
        pages.extend(alarms.map(|(name, _)| format!("alarm_{name}")));
    }
    assert!(pages.contains("alarm_config_degraded"), "the alarms are not where they were: {pages:?}");
    let index = read(&root().join("docs/src/runbooks/index.md"));

    let mut faults = Vec::new();
    for name in pages {
        let page = root().join("docs/src/runbooks").join(format!("{name}.md"));
        let text = fs::read_to_string(&page).unwrap_or_default();
        for part in ["\n## Check\n", "\n## Do\n", "\n## Who\n"] {
            if !text.contains(part) {
                faults.push(format!(
                    "{} lacks `{}`; write what helps at three in the morning",
                    shown(&page),
                    part.trim()
                ));
            }
        }
        if !index.contains(&format!("({name}.md)")) {
            faults.push(format!("docs/src/runbooks/index.md does not name {name}.md; add it"));
        }
    }
    report(&faults);
}

// ---- the code

#[test]
fn no_file_is_longer_than_six_hundred_lines() {
    let faults: Vec<String> = sources()
        .into_iter()
        .map(|path| (read(&path).lines().count(), path))
        .filter(|(lines, _)| *lines > MOST_LINES)
        .map(|(lines, path)| format!("{} has {lines} lines; look for the second idea in it", shown(&path)))
        .collect();

    report(&faults);
}

#[test]
fn no_code_is_unsafe() {
    let word = concat!("un", "safe");
    let openings = ["{", "fn", "impl", "trait", "extern", "("];
    let faults = lines_with(sources(), |line| {
        line.match_indices(word).any(|(at, _)| {
            let before = line.get(..at).and_then(|text| text.chars().next_back());
            let after = line.get(at + word.len()..).unwrap_or_default();
            let whole = before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != '"');
            whole && openings.iter().any(|opening| after.trim_start().starts_with(opening))
        })
    });

    report(&explain(faults, "is not safe code; find a safe way, or a crate whose business it is"));
}

#[test]
fn code_that_serves_requests_does_not_unwrap() {
    let faults = lines_with(serving(None), |line| line.contains(".unwrap()"));

    report(&explain(
        faults,
        "unwraps; return an error, or `expect` with the reason where it stands on the same screen",
    ));
}

#[test]
fn a_pure_crate_reads_no_clock_opens_no_socket_and_spawns_no_task() {
    let mut faults = Vec::new();
    for name in PURE {
        faults.extend(lines_with(serving(Some(name)), |line| IMPURE.iter().any(|word| line.contains(word))));
    }

    report(&explain(faults, "is not pure; time, randomness and I/O come in as arguments"));
}

#[test]
fn only_egress_opens_outgoing_sockets() {
    let others = serving(None).into_iter().filter(|path| !path.starts_with(root().join("gateway/egress"))).collect();
    let faults = lines_with(others, |line| DIALS.iter().any(|word| line.contains(word)));

    report(&explain(
        faults,
        "dials or resolves outside `egress`; have `server` hand over a `Dial` with `egress` behind it",
    ));
}

#[test]
fn every_module_is_named_for_what_is_in_it() {
    let empty = |path: &Path| {
        let parts = path.strip_prefix(root()).unwrap_or(path).iter().filter_map(|part| part.to_str());
        parts.map(|part| part.trim_end_matches(".rs")).any(|part| EMPTY_NAMES.contains(&part))
    };

    let faults: Vec<String> = sources()
        .into_iter()
        .filter(|path| empty(path))
        .map(|path| format!("{} has a name that says nothing; name the module for what is in it", shown(&path)))
        .collect();

    report(&faults);
}

// ---- the checks themselves

#[test]
fn each_difference_from_the_drawing_names_its_remedy() {
    let drawn = BTreeMap::from([("routing".to_owned(), set(&["policy"])), ("wire".to_owned(), set(&[]))]);
    let found = BTreeMap::from([("routing".to_owned(), set(&["egress"])), ("cache".to_owned(), set(&[]))]);

    let faults = compare(&drawn, &found);

    assert_eq!(
        faults,
        [
            "`cache` is a member that the house does not have; write a decision record, then draw it into ARROWS and the architecture page",
            "`routing` imports `egress`, an arrow that the house does not have; let `server` hand the value over, or write a decision record first",
            "`routing` does not import `policy`; add `policy.workspace = true` to its manifest, or take the arrow out of ARROWS and the architecture page",
            "`wire` is missing; add it to `members` in Cargo.toml",
        ]
    );
}

#[test]
fn tests_and_comments_are_not_taken_for_code_that_serves_requests() {
    let source = "//! a.unwrap()\nfn a() {}\n#[cfg(test)]\nfn double() {}\n// b.unwrap()\n\n#[cfg(test)]\nmod tests {\n    c.unwrap();\n}\n";

    let code: Vec<(usize, &str)> = code_lines(source).collect();

    assert_eq!(code, [(2, "fn a() {}"), (3, "#[cfg(test)]"), (4, "fn double() {}"), (6, ""), (7, "#[cfg(test)]")]);
    assert_eq!(test_modules("#[cfg(test)]\npub(crate) mod double;\n\nmod book;\n"), ["double"]);
    let attributed = "#[cfg(test)]\n#[expect(\n    dead_code,\n)]\npub(super) mod tests {\n    d.unwrap();\n}\n";
    assert!(code_lines(attributed).all(|(_, line)| !line.contains("unwrap")));
}

// ---- how it is found out

/// What differs between the drawing and the manifests, each with its remedy.
fn compare(drawn: &BTreeMap<String, BTreeSet<String>>, found: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut faults = Vec::new();
    for from in found.keys().filter(|from| !drawn.contains_key(*from)) {
        faults.push(format!(
            "`{from}` is a member that the house does not have; write a decision record, then draw it into ARROWS and the \
             architecture page"
        ));
    }
    for (from, allowed) in drawn {
        let Some(arrows) = found.get(from) else {
            faults.push(format!("`{from}` is missing; add it to `members` in Cargo.toml"));
            continue;
        };
        for to in arrows.difference(allowed) {
            faults.push(format!(
                "`{from}` imports `{to}`, an arrow that the house does not have; let `server` hand the value over, or write a \
                 decision record first"
            ));
        }
        faults.extend(allowed.difference(arrows).map(|to| missing_arrow(from, to)));
    }
    faults
}

fn missing_arrow(from: &str, to: &str) -> String {
    format!(
        "`{from}` does not import `{to}`; add `{to}.workspace = true` to its manifest, or take the arrow out of ARROWS and the \
         architecture page"
    )
}

/// Each member with the members that its manifest names as normal or build dependencies.
fn members() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = metadata();
    let names: BTreeSet<&str> = packages(&metadata).map(name_of).collect();
    let arrows = |package| {
        let ours = normal_dependencies(package).map(name_of).filter(|name| names.contains(name));
        ours.map(str::to_owned).collect()
    };
    packages(&metadata).map(|package| (name_of(package).to_owned(), arrows(package))).collect()
}

fn metadata() -> Value {
    let printed = cargo(&["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    serde_json::from_str(&printed).expect("cargo metadata prints JSON")
}

fn cargo(arguments: &[&str]) -> String {
    let run = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output();
    let output = run.expect("cargo runs this test, so it can be run");
    assert!(output.status.success(), "cargo {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata["packages"].as_array().into_iter().flatten()
}

fn normal_dependencies(package: &Value) -> impl Iterator<Item = &Value> {
    package["dependencies"].as_array().into_iter().flatten().filter(|dependency| dependency["kind"] != "dev")
}

fn name_of(package: &Value) -> &str {
    package["name"].as_str().expect("every package and every dependency has a name")
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file of the house, tests too.
fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for folder in ["gateway", "tests"] {
        collect(&root().join(folder), &mut files);
    }
    assert!(files.len() > 10, "the sources are not where this test looks for them");
    files.sort();
    files
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        // What a build or a client's installer leaves behind is not ours.
        let foreign = name == "target" || name == "node_modules" || name.to_string_lossy().starts_with('.');
        if path.is_dir() && !path.is_symlink() && !foreign {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The files of `gateway/`, or of one crate there, that are more than test code.
fn serving(name: Option<&str>) -> Vec<PathBuf> {
    let folder = name.map_or_else(|| root().join("gateway"), |name| root().join("gateway").join(name));
    let all: Vec<PathBuf> = sources().into_iter().filter(|path| path.starts_with(&folder)).collect();
    assert!(!all.is_empty(), "{} holds no sources", folder.display());
    let mut tests = BTreeSet::new();
    for path in &all {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let parent = path.parent().unwrap_or(root());
        let owns_folder = matches!(stem, "lib" | "main" | "mod");
        let folder = if owns_folder { parent.to_owned() } else { parent.join(stem) };
        for module in test_modules(&read(path)) {
            tests.insert(folder.join(&module).with_extension("rs"));
            tests.insert(folder.join(&module));
        }
    }
    all.into_iter()
        .filter(|path| !path.ancestors().any(|part| tests.contains(part)))
        .filter(|path| !path.iter().any(|part| part == "tests" || part == "tests.rs" || part == "benches"))
        .collect()
}

/// The modules of a file that exist only under test: `#[cfg(test)]` before `mod name;`.
fn test_modules(source: &str) -> Vec<String> {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let under_test = lines.windows(2).filter(|pair| matches!(pair, ["#[cfg(test)]", _])).filter_map(|pair| pair.get(1));
    under_test.filter_map(|line| module_name(line)?.strip_suffix(';')).map(str::to_owned).collect()
}

/// What follows `mod` in a line that opens a module, whatever its visibility.
fn module_name(line: &str) -> Option<&str> {
    let (visibility, name) = line.split_once("mod ")?;
    (visibility.is_empty() || visibility.starts_with("pub")).then_some(name)
}

/// The lines that are code and serve requests, numbered from 1: no comments, nothing from `#[cfg(test)] mod … {` on.
fn code_lines(source: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut under_test = false;
    let mut serves = move |line: &str| {
        let foot = under_test && module_name(line).is_some_and(|name| name.ends_with('{'));
        // Further attributes may stand between the first one and the module, over several lines.
        under_test = line == "#[cfg(test)]" || (under_test && line.starts_with(['#', ' ', ')']));
        !foot
    };
    let body = source.lines().enumerate().take_while(move |(_, line)| serves(line));
    body.filter(|(_, line)| !line.trim_start().starts_with("//")).map(|(index, line)| (index + 1, line))
}

fn lines_with(files: Vec<PathBuf>, at_fault: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for path in files {
        let source = read(&path);
        let lines = code_lines(&source).filter(|(_, line)| at_fault(line));
        found.extend(lines.map(|(number, line)| format!("{}:{number}: `{}`", shown(&path), line.trim())));
    }
    found
}

fn explain(found: Vec<String>, why: &str) -> Vec<String> {
    found.into_iter().map(|place| format!("{place} {why}")).collect()
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| format!("{}: {error}", path.display()))
}

#[track_caller]
fn report(faults: &[String]) {
    assert!(faults.is_empty(), "{} fault(s):\n  {}\n", faults.len(), faults.join("\n  "));
}
