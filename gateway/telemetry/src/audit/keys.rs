//! The file of the key that signs checkpoints.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::files;
use super::note::{KeyError, SigningKey};

/// Why the file of a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read or made.
    #[error("the audit key `{}` cannot be read or made: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It holds something else.
    #[error("the audit key `{}` is {source}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What it is not.
        source: KeyError,
    },
    /// It is the key of another log.
    #[error("the audit key `{}` belongs to the origin `{found}`, and this log's is `{origin}`", path.display())]
    Name {
        /// The file.
        path: PathBuf,
        /// The name in it.
        found: String,
        /// The name of this log.
        origin: String,
    },
}

/// Reads the key of `origin` from `path`, or makes one there.
///
/// The public half lies beside it with the ending `.pub`: that is what an auditor needs.
///
/// # Errors
/// [`KeyFileError`].
pub fn load_or_make(path: &Path, origin: &str) -> Result<SigningKey, KeyFileError> {
    let file = |source| KeyFileError::File { path: path.to_owned(), source };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => make(path, origin).map_err(file)?,
        Err(error) => return Err(file(error)),
    };
    let key = SigningKey::parse(&text).map_err(|source| KeyFileError::Key { path: path.to_owned(), source })?;
    let found = key.public().name();
    if found != origin {
        let (found, origin) = (found.to_owned(), origin.to_owned());
        return Err(KeyFileError::Name { path: path.to_owned(), found, origin });
    }
    Ok(key)
}

fn make(path: &Path, origin: &str) -> io::Result<String> {
    let mut seed = [0; 32];
    aws_lc_rs::rand::fill(&mut seed).map_err(io::Error::other)?;
    let text = SigningKey::text(origin, &seed).ok_or(ErrorKind::InvalidInput)?;
    let kept = make_private(path, &text)?;
    if kept == text
        && let Ok(key) = SigningKey::parse(&text)
    {
        std::fs::write(path.with_added_extension("pub"), format!("{}\n", key.public()))?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        files::sync_up_to(folder, folder)?;
    }
    Ok(kept)
}

/// Puts a secret at `path`, readable for its owner alone, and gives what stands there: another's, where one was quicker.
///
/// # Errors
/// What the operating system said.
pub fn make_private(path: &Path, text: &str) -> io::Result<String> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    files::make_folder(folder)?;
    // Put in its place whole, and never over one that is there: another process may be as quick, and its key is the one.
    let unfinished = path.with_added_extension(std::process::id().to_string());
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&unfinished, path);
    std::fs::remove_file(&unfinished)?;
    match linked {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return std::fs::read_to_string(path),
        Err(error) => return Err(error),
    }
    files::sync_up_to(folder, folder)?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_user_only_and_its_public_half_lies_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/gw-1");

        let made = load_or_make(&path, "gw-1").unwrap();
        let read = load_or_make(&path, "gw-1").unwrap();

        assert_eq!(made.public(), read.public());
        assert_eq!(
            std::fs::read_to_string(folder.path().join("keys/gw-1.pub")).unwrap(),
            format!("{}\n", made.public())
        );
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 2);
    }

    #[test]
    fn the_key_of_another_log_and_what_is_no_key_are_refused_without_being_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        load_or_make(&path, "gw-1").unwrap();
        assert!(matches!(load_or_make(&path, "gw-2"), Err(KeyFileError::Name { .. })));

        std::fs::write(&path, "swordfish").unwrap();
        let error = load_or_make(&path, "gw-1").unwrap_err();

        assert!(!error.to_string().contains("swordfish"), "{error}");
    }
}
