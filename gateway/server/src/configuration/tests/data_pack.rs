//! `[policy] data`: a data pack of one's own, whole or not at all.

use std::path::Path;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::super::sources::hash_of;
use super::super::{Compiled, Mistakes, Sources, load, load_sources, read_last_good, save_last_good};
use super::{NOW, changed, options, write};

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + NOW
}

/// The shipped pack, changed, in the folder `data`, with the hashes that fit it.
fn pack(folder: &Path, change: impl Fn(&str, &mut Value)) {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies/data");
    std::fs::create_dir_all(folder.join("data")).unwrap();
    let read = |name: &str| -> Value {
        let mut value = serde_json::from_str(&std::fs::read_to_string(shipped.join(name)).unwrap()).unwrap();
        change(name, &mut value);
        value
    };
    let mut manifest = read("pack.json");
    for name in ["regions.json", "groups.json", "places.json"] {
        let text = read(name).to_string();
        manifest["files"][name] = json!(hash_of(&text));
        write(folder, &format!("data/{name}"), &text);
    }
    write(folder, "data/pack.json", &manifest.to_string());
}

fn austria(name: &str, file: &mut Value) {
    if name == "regions.json" {
        let regions = file["regions"].as_array_mut().unwrap();
        let found = regions.iter_mut().find(|one| one["region"] == "eu-central-1").unwrap();
        found["country"] = json!("AT");
        found["geography"] = json!(["AT"]);
    }
}

/// An endpoint of Bedrock in Frankfurt, with facts of the pack in `data`.
fn document() -> String {
    let endpoint = "[endpoint.bedrock]\nprovider = \"openai\"\nurl = \"http://b.corp.example:8000/v1\"\n\
        reach = { local = { within = [\"192.168.40.0/24\"] } }\nplace = { bedrock = { region = \"eu-central-1\" } }\n\
        [model.at-bedrock]\ntargets = [\"bedrock/m\"]\n\n[data.claims]";
    changed("[data.claims]", endpoint).replace("[policy]\n", "[policy]\ndata = \"data\"\n")
}

fn processed(compiled: &Compiled) -> String {
    let target = compiled.targets.iter().find(|target| target.name == "bedrock/m").unwrap();
    target.facts.processing.to_string()
}

fn refused(folder: &Path) -> String {
    let read: Result<Compiled, Mistakes> = load(&folder.join("gateway.toml"), &options());
    read.map(|_| String::new()).unwrap_or_else(|mistakes| mistakes.to_string())
}

#[test]
fn facts_are_from_the_pack_of_the_folder_and_a_change_of_any_file_is_noticed() {
    let conf = tempfile::tempdir().unwrap();
    let path = write(conf.path(), "gateway.toml", &document());
    pack(conf.path(), |_, _| ());
    let same = load(&path, &options()).unwrap();
    pack(conf.path(), austria);

    let own = load(&path, &options()).unwrap();

    assert_eq!((processed(&same).as_str(), processed(&own).as_str()), ("DE, GR, PL, TR", "AT"));
    assert!(own.policy.pack.is_own() && own.policy.pack.hash() != same.policy.pack.hash());
    for file in ["data", "data/pack.json", "data/regions.json", "data/groups.json", "data/places.json"] {
        assert!(own.material.paths().any(|path| path == conf.path().join(file)), "{file}: {:?}", own.material);
    }
}

#[test]
fn half_of_a_pack_a_wrong_hash_an_unknown_country_and_another_form_are_none() {
    let conf = tempfile::tempdir().unwrap();
    write(conf.path(), "gateway.toml", &document());

    let absent = refused(conf.path());
    pack(conf.path(), |_, _| ());
    let good = std::fs::read_to_string(conf.path().join("data/regions.json")).unwrap();
    write(conf.path(), "data/regions.json", good.split_at(good.len() / 2).0);
    let half = refused(conf.path());
    write(conf.path(), "data/regions.json", &good.replace("\"DE\"", "\"FR\""));
    let hash = refused(conf.path());
    pack(conf.path(), |name, file| {
        if name == "groups.json" {
            file["groups"]["EEA"]["countries"][0] = json!("XX");
        }
    });
    let country = refused(conf.path());
    pack(conf.path(), |name, file| {
        if name == "places.json" {
            file["more"] = json!(true);
        }
    });
    let form = refused(conf.path());
    pack(conf.path(), |name, file| {
        if name == "places.json" {
            file["format"] = json!(2);
        }
    });
    let newer = refused(conf.path());

    for (said, word) in [
        (absent, "pack.json` cannot be read"),
        (half, "regions.json is not what `pack.json` names"),
        (hash, "regions.json is not what `pack.json` names"),
        (country, "groups.json: EEA: `XX` is no country"),
        (form, "unknown field `more`"),
        (newer, "places.json has format 2, this version reads format 1"),
    ] {
        assert!(said.contains(word) && said.contains("`policy.data`"), "{word}: {said}");
    }
}

#[test]
fn a_pack_older_than_the_shipped_one_is_a_warning_and_its_rows_run_out_by_their_own_dates() {
    let conf = tempfile::tempdir().unwrap();
    let path = write(conf.path(), "gateway.toml", &document());
    pack(conf.path(), |name, file| {
        if name == "pack.json" {
            file["version"] = json!("2025-01-31");
        } else if name == "regions.json" {
            file["valid_until"] = json!("2025-06-30");
        }
    });

    let compiled = load(&path, &options()).unwrap();

    let notes: Vec<String> = compiled.notes.iter().map(ToString::to_string).collect();
    assert!(
        notes.iter().any(|note| note.contains("data pack of 2025-01-31 is older than that of this version")),
        "{notes:?}"
    );
    assert!(notes.iter().any(|note| note.contains("has run out and counts as unknown")), "{notes:?}");
    let target = compiled.targets.iter().find(|target| target.name == "bedrock/m").unwrap();
    assert!(target.facts.at(now()).processing.is_unknown());
}

#[test]
fn the_pack_that_was_in_force_is_kept_with_the_last_good_document() {
    let (conf, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = write(conf.path(), "gateway.toml", &document());
    pack(conf.path(), austria);
    let sources = Sources::read(&path).unwrap();
    let before = load_sources(&sources, &options()).unwrap();
    save_last_good(state.path(), &sources, (&before.policy.files, &before.policy.pack.files), now()).unwrap();
    std::fs::remove_dir_all(conf.path().join("data")).unwrap();

    let last_good = read_last_good(state.path()).unwrap().unwrap();
    let after = load_sources(&last_good.sources, &options()).unwrap();

    assert_eq!(processed(&after), "AT");
    assert_eq!(after.policy.pack.manifest(), before.policy.pack.manifest());
}
