//! The last good document, from disk and back.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::super::{LastGoodError, Sources, load, load_sources, read_last_good, save_last_good};
use super::{GOOD, options, write};

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn saved(state: &tempfile::TempDir) -> PathBuf {
    let sources =
        Sources::from_texts("/etc/causeway".as_ref(), false, [("/etc/causeway/a.toml".into(), GOOD.to_owned())]);
    save_last_good(state.path(), &sources, (&[], &[]), now()).unwrap();
    state.path().join("last-good/configuration.json")
}

#[test]
fn the_last_good_document_compiles_to_the_same_values_after_its_files_are_gone() {
    let (conf, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = write(conf.path(), "gateway.toml", GOOD);
    let before = load(&path, &options()).unwrap();
    save_last_good(state.path(), &Sources::read(&path).unwrap(), (&[], &[]), now()).unwrap();
    std::fs::remove_file(&path).unwrap();

    let last_good = read_last_good(state.path()).unwrap().unwrap();
    let after = load_sources(&last_good.sources, &options()).unwrap();

    assert_eq!(last_good.saved_at, now());
    assert_eq!(last_good.hash, before.hash);
    assert_eq!(after.hash, before.hash);
    assert_eq!(after.state_folder, conf.path().join("state"));
    assert_eq!((after.targets, after.models, after.keys), (before.targets, before.models, before.keys));
}

#[test]
fn no_key_is_kept_and_nobody_else_can_read_it() {
    let state = tempfile::tempdir().unwrap();
    let path = saved(&state);

    let text = std::fs::read_to_string(&path).unwrap();

    assert!(text.contains("CLOUD_KEY") && !text.contains("k-123"));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no leftover");
}

#[test]
fn an_edited_or_torn_copy_is_refused() {
    let state = tempfile::tempdir().unwrap();
    let path = saved(&state);
    let good = std::fs::read_to_string(&path).unwrap();

    for (old, new) in [
        ("requests_per_minute = 600", "requests_per_minute = 900"),
        ("a.toml", "b.toml"),
        ("\"is_folder\"", "\"is_file\""),
    ] {
        std::fs::write(&path, good.replace(old, new)).unwrap();
        assert!(matches!(read_last_good(state.path()), Err(LastGoodError::Damaged { .. })), "{old}");
    }
    std::fs::write(&path, good.get(..good.len() / 2).unwrap()).unwrap();
    let torn = read_last_good(state.path()).unwrap_err().to_string();
    assert!(torn.contains("is not whole") && torn.contains("configuration.json"), "{torn}");
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let state = tempfile::tempdir().unwrap();
    let path = saved(&state);
    std::fs::write(&path, r#"{"format_version": 4, "anything": "else"}"#).unwrap();

    let refused = read_last_good(state.path()).unwrap_err();

    assert!(
        refused
            .to_string()
            .ends_with("has format version 4, and this release reads 3 and below; it was written by a newer causeway")
    );
}

#[test]
fn where_there_has_never_been_one_there_is_none() {
    let state = tempfile::tempdir().unwrap();

    assert_eq!(read_last_good(state.path()).unwrap(), None);
}

#[test]
fn the_policies_that_were_in_force_are_kept_with_the_document() {
    let (conf, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::create_dir(conf.path().join("policies")).unwrap();
    let grant = "@id(\"all\") @owner(\"me\") @basis(\"b\") @grant(\"base\") permit (principal, action, resource);\n";
    write(conf.path(), "policies/10.cedar", grant);
    let path = write(conf.path(), "gateway.toml", &with_a_folder());
    let sources = Sources::read(&path).unwrap();
    let before = load_sources(&sources, &options()).unwrap();
    save_last_good(state.path(), &sources, (&before.policy.files, &[]), now()).unwrap();
    write(conf.path(), "policies/10.cedar", "permit (principal, action");

    let broken = load(&path, &options());
    let last_good = read_last_good(state.path()).unwrap().unwrap();
    let after = load_sources(&last_good.sources, &options()).unwrap();

    assert!(broken.is_err());
    assert_eq!(before.policy.files.len(), 1);
    assert_eq!(after.policy.files, before.policy.files);
    assert_eq!(after.policy.rules.canonical(), before.policy.rules.canonical());
}

#[test]
fn an_edited_policy_of_the_last_good_document_is_refused() {
    let state = tempfile::tempdir().unwrap();
    let path = saved(&state);
    let sources =
        Sources::from_texts("/etc/causeway".as_ref(), false, [("/etc/causeway/a.toml".into(), GOOD.to_owned())]);
    let policies = [("policies/10.cedar".to_owned(), "forbid (principal, action, resource);".to_owned())];
    save_last_good(state.path(), &sources, (&policies, &[]), now()).unwrap();
    let good = std::fs::read_to_string(&path).unwrap();

    std::fs::write(&path, good.replace("forbid (", "permit (")).unwrap();

    let refused = read_last_good(state.path()).unwrap_err().to_string();
    assert!(refused.contains("`policies/10.cedar` does not fit its hash"), "{refused}");
}

#[test]
fn a_document_that_the_release_before_kept_is_read() {
    let state = tempfile::tempdir().unwrap();
    let path = saved(&state);
    let good = std::fs::read_to_string(&path).unwrap();
    let before = good.replace("\"format_version\": 3", "\"format_version\": 1").replace(",\n  \"policies\": []", "");

    std::fs::write(&path, &before).unwrap();

    assert!(before.contains("\"format_version\": 1") && !before.contains("policies"), "{before}");
    assert!(read_last_good(state.path()).unwrap().is_some_and(|kept| kept.sources.policies.is_none()));
}

/// [`GOOD`] with policies of one's own.
fn with_a_folder() -> String {
    GOOD.replace("[policy]\n", "[policy]\nfolder = \"policies\"\n")
}
