//! A document spread over a folder, and who may write what in it.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::super::{Compiled, LoadOptions, Mistakes, load, state_folder_of};
use super::{GOOD, options, write};

const NETWORK: &str = r#"
[listen]
address = "127.0.0.1:8443"

[endpoint.gpu-01]
provider = "openai"
url = "http://127.0.0.1:8000/v1"
reach = { local = { within = ["127.0.0.1/32"] } }
"#;

const APPS: &str = r#"
[model.chat]
targets = ["gpu-01/llama"]

[app.claims]
team = "insurance"
keys = ["sha256:1111111111111111111111111111111111111111111111111111111111111111"]
models = ["chat"]
"#;

const SECURITY: &str = r#"
[data.claims]
labels = []
"#;

const AUTHORS: &str = r#"
[authors]
"network.toml" = ["listen", "endpoint"]
"apps.toml" = ["model", "app"]
"security.toml" = ["policy", "data"]

[state]
folder = "state"
"#;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in
        [("network.toml", NETWORK), ("apps.toml", APPS), ("security.toml", SECURITY), ("00-authors.toml", AUTHORS)]
    {
        write(folder.path(), name, text);
    }
    folder
}

fn load_folder(folder: &Path) -> Result<Compiled, Mistakes> {
    load(folder, &options())
}

/// What is said of a folder, without its path.
fn said_of(folder: &Path) -> Vec<String> {
    let prefix = format!("{}/", folder.display());
    match load_folder(folder) {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes.to_string().replace(&prefix, "").lines().map(str::to_owned).collect(),
    }
}

#[test]
fn each_team_writes_its_own_file() {
    let folder = folder();
    write(folder.path(), ".hidden.toml", "not = toml = at all");
    write(folder.path(), "notes.txt", "not toml at all");

    let compiled = load_folder(folder.path()).unwrap_or_else(|all| panic!("{all}"));

    assert_eq!(compiled.sources.len(), 4);
    assert_eq!(compiled.state_folder, folder.path().join("state"));
    assert_eq!(compiled.targets[0].name, "gpu-01/llama");
}

#[test]
fn a_section_in_the_wrong_file_is_a_mistake() {
    let folder = folder();
    write(
        folder.path(),
        "apps.toml",
        &format!(
            "{APPS}\n[policy]\napprove = []\n\n[key.k]\napp = \"claims\"\ndigest = \"sha256:2222222222222222222222222222222222222222222222222222222222222222\"\n"
        ),
    );

    assert_eq!(
        said_of(folder.path()),
        [
            "apps.toml:10:2: `policy` may not be written in `apps.toml`; move it to `security.toml`, or list it for \
             `apps.toml` in `[authors]`",
            "apps.toml:13:2: `key` may not be written in `apps.toml`; move it to `00-authors.toml`, or list it for \
             `apps.toml` in `[authors]`",
        ]
    );
}

#[test]
fn prompts_are_kept_only_where_no_file_may_say_so_for_the_owner_and_for_the_security_team() {
    let folder = folder();
    let capture = "capture = { to = [\"age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj\"], days = 30 }";
    write(folder.path(), "apps.toml", &format!("{APPS}capture = true\n"));
    write(folder.path(), "security.toml", &format!("{SECURITY}{capture}\n"));
    let with = |authors: &str| {
        write(folder.path(), "00-authors.toml", authors);
        said_of(folder.path())
    };

    let divided = with(AUTHORS);
    let shared = with(&AUTHORS.replace("\"data\"", "\"data\", \"app\""));
    let undivided = with("[state]\nfolder = \"state\"\n");

    assert_eq!(divided, [""; 0]);
    assert_eq!(
        shared,
        [
            "security.toml:4:11: `security.toml` may hold both `app.claims.capture` and `data.claims.capture`: one author \
             could switch it on alone; divide `app` and `data` in `[authors]`"
        ]
    );
    assert_eq!(
        undivided,
        ["security.toml:4:11: without `[authors]` any file may hold both `app.claims.capture` and \
          `data.claims.capture`: one author could switch it on alone; divide `app` and `data` in `[authors]`"]
    );
}

#[test]
fn nobody_makes_oneself_an_author() {
    let folder = folder();
    write(folder.path(), "apps.toml", &format!("{APPS}\n[authors]\n\"apps.toml\" = [\"policy\"]\n"));

    assert_eq!(
        said_of(folder.path()),
        [
            "apps.toml:10:2: `authors` stands here as well as at 00-authors.toml:2:2; keep one of the two",
            "apps.toml:10:2: `authors` may not be written in `apps.toml`; move it to `00-authors.toml`, or list it for \
             `apps.toml` in `[authors]`",
        ]
    );
}

#[test]
fn a_file_that_no_author_writes_is_a_mistake_and_so_is_an_author_without_a_file() {
    let folder = folder();
    write(folder.path(), "extra.toml", "[health]\naddress = \"127.0.0.1:8080\"\n");
    write(
        folder.path(),
        "00-authors.toml",
        &AUTHORS.replace("\"security.toml\"", "\"securty.toml\"").replace("\"model\"", "\"models\""),
    );

    assert_eq!(
        said_of(folder.path()),
        [
            "00-authors.toml:4:16: `models` is not a section of the document; did you mean `model`?",
            "00-authors.toml:5:1: the folder holds no file `securty.toml`; did you mean `security.toml`?",
            "apps.toml:2:2: `model` may not be written in `apps.toml`; move it to `00-authors.toml`, or list it for \
             `apps.toml` in `[authors]`",
            "extra.toml:1:2: `health` may not be written in `extra.toml`; move it to `00-authors.toml`, or list it for \
             `extra.toml` in `[authors]`",
            "security.toml:2:2: `data` may not be written in `security.toml`; move it to `securty.toml`, or list it for \
             `security.toml` in `[authors]`",
        ]
    );
}

#[test]
fn a_name_that_two_files_define_names_both_places() {
    let folder = folder();
    let endpoint = NETWORK.split_once("[endpoint").unwrap().1;
    write(folder.path(), "apps.toml", &format!("[endpoint{endpoint}\n{APPS}"));
    write(folder.path(), "security.toml", &format!("{SECURITY}\n[listen]\naddress = \"127.0.0.1:1\"\n"));
    let authors = AUTHORS.replace("\"model\"", "\"model\", \"endpoint\"").replace("\"data\"", "\"data\", \"listen\"");
    write(folder.path(), "00-authors.toml", &authors);

    assert_eq!(
        said_of(folder.path()),
        [
            "network.toml:5:11: endpoint `gpu-01` is also defined at apps.toml:1:11; rename or remove one of the two",
            "security.toml:5:2: `listen` stands here as well as at network.toml:2:2; keep one of the two",
        ]
    );
}

#[test]
fn relative_paths_start_at_the_file_that_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "deep/gateway.toml", GOOD);

    let compiled = load(&path, &options()).unwrap();

    assert_eq!(compiled.state_folder, folder.path().join("deep/state"));
}

#[test]
fn a_path_that_is_not_there_is_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let missing = load(&folder.path().join("nowhere.toml"), &options()).unwrap_err().to_string();
    let empty = load(folder.path(), &options()).unwrap_err().to_string();
    std::fs::write(folder.path().join("latin1.toml"), b"# caf\xe9\n").unwrap();
    let latin1 = load(folder.path(), &options()).unwrap_err().to_string();

    assert!(missing.ends_with("nowhere.toml: cannot be read: No such file or directory (os error 2)"), "{missing}");
    assert!(empty.ends_with(": the folder holds no `*.toml` file"), "{empty}");
    assert!(latin1.ends_with("latin1.toml: is not UTF-8 at line 1"), "{latin1}");
}

#[test]
fn the_state_folder_of_a_broken_document_is_found() {
    let folder = folder();
    write(folder.path(), "apps.toml", "[app.claims\nteam = \n");

    assert!(load_folder(folder.path()).is_err());
    assert_eq!(state_folder_of(folder.path()), Some(folder.path().join("state")));
    assert_eq!(state_folder_of(&folder.path().join("apps.toml")), None);
}

#[test]
fn what_comes_while_the_document_is_checked_differs_from_what_was_read() {
    static FACTS: OnceLock<PathBuf> = OnceLock::new();
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "gateway.toml", &GOOD.replace("[policy]", "[policy]\ndata = \"facts\""));
    let facts = FACTS.get_or_init(|| folder.path().join("facts"));
    let comes_with_the_key = |_: &str| {
        // The key of an endpoint is asked for after the data pack.
        std::fs::create_dir(FACTS.get().unwrap()).unwrap();
        Some("k-123".to_owned())
    };

    let mistakes = load(&path, &LoadOptions { environment: comes_with_the_key, ..options() }).unwrap_err();

    assert!(mistakes.to_string().contains("cannot be read"), "{mistakes}");
    assert_eq!(mistakes.material().changed(&path).paths().collect::<Vec<_>>(), [facts]);
}

#[test]
fn documents_that_cannot_be_read_are_told_apart_from_what_mends_them() {
    let folder = folder();
    std::fs::write(folder.path().join("apps.toml"), b"\xff").unwrap();
    let mistakes = load_folder(folder.path()).unwrap_err();
    assert!(mistakes.material().changed(folder.path()).is_empty());

    let apps = write(folder.path(), "apps.toml", APPS);

    assert_eq!(mistakes.material().changed(folder.path()).paths().collect::<Vec<_>>(), [apps]);
}
