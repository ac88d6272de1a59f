//! The key of the pseudonyms that endpoints are shown, where the configuration names none.
//!
//! A gateway that serves makes one in its state folder, once, so that a user has the same pseudonym after a restart. What only
//! looks at a configuration, as a replay does, makes nothing and takes a key for the moment.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use telemetry::pseudonym::PseudonymKey;

use super::SnapshotError;

/// Its name in the state folder.
const FILE: &str = "users.key";

/// Makes the key, where there is none.
///
/// # Errors
///
/// When the file cannot be made.
pub fn make_users_key(state_folder: &Path) -> std::io::Result<()> {
    let path = state_folder.join(FILE);
    if path.exists() {
        return Ok(());
    }
    telemetry::audit::make_private(&path, &PseudonymKey::text(&rand::random())).map(drop)
}

/// The key in the state folder, or one for the moment.
pub(super) fn key_of(state_folder: &Path) -> Result<Arc<PseudonymKey>, SnapshotError> {
    let path = state_folder.join(FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => PseudonymKey::text(&rand::random()),
        Err(source) => return Err(SnapshotError::File { path, source }),
    };
    let key = PseudonymKey::parse(&text).map_err(|source| SnapshotError::Pseudonyms { path, source })?;
    Ok(Arc::new(key))
}

/// The same for somebody who may not read the file: then one for the moment, and what is to be said of it.
pub(super) fn key_or_one_for_the_moment(
    state_folder: &Path,
) -> Result<(Arc<PseudonymKey>, Option<String>), SnapshotError> {
    match key_of(state_folder) {
        Err(SnapshotError::File { path, source }) if source.kind() == ErrorKind::PermissionDenied => {
            let key = PseudonymKey::parse(&PseudonymKey::text(&rand::random()))
                .map_err(|source| SnapshotError::Pseudonyms { path: path.clone(), source })?;
            let path = path.display();
            Ok((Arc::new(key), Some(format!("{path} may not be read ({source}): users have other pseudonyms here"))))
        }
        other => other.map(|key| (key, None)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");

        make_users_key(&state).unwrap();
        let first = key_of(&state).unwrap();
        make_users_key(&state).unwrap();

        assert_eq!(first.id(), key_of(&state).unwrap().id());
        let mode = std::fs::metadata(state.join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_only_looks_makes_no_file_and_no_two_looks_have_one_key() {
        let folder = tempfile::tempdir().unwrap();

        assert_ne!(key_of(folder.path()).unwrap().id(), key_of(folder.path()).unwrap().id());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_is_no_key_is_an_error_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "nonsense").unwrap();

        make_users_key(folder.path()).unwrap();
        let error = key_of(folder.path()).err().unwrap();

        assert!(error.to_string().contains("users.key"), "{error}");
        assert_eq!(std::fs::read_to_string(folder.path().join(FILE)).unwrap(), "nonsense");
    }
}
