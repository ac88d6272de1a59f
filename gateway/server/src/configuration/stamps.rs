//! How files and folders stood just before they were read, so that a later change to one of them is found.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::sources;

/// A file's modification time, length and inode, and when anything of it changed, who may read it among that, in seconds and
/// nanoseconds since 1970; none where there is no file.
type Stamp = Option<(SystemTime, u64, u64, (i64, i64))>;

/// The files and folders that a document was read from, documents among them, each as it stood before it was read.
///
/// What a document is read to depends on nothing else on the disk: as long as none of them changes, reading it again comes to the
/// same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamps(BTreeMap<PathBuf, Stamp>);

impl Stamps {
    /// The documents that lie at `root` now.
    pub(super) fn of_documents(root: &Path) -> Self {
        let mut stamps = Self::default();
        // Of a folder it matters which documents there are, and not what else comes and goes.
        match sources::documents(root) {
            Some(documents) => documents.iter().for_each(|document| stamps.note(document)),
            None => stamps.note(root),
        }
        stamps
    }

    /// Looks at what is about to be read, or looked for.
    pub(super) fn note(&mut self, path: &Path) {
        // INVARIANT: the first look stays. What is read twice counts as it stood before the first time.
        if !self.0.contains_key(path) {
            self.0.insert(path.to_owned(), stamp(path));
        }
    }

    /// How those stand now that stand otherwise than they did, and documents at `root` that were not there.
    #[must_use]
    pub fn changed(&self, root: &Path) -> Self {
        let mut now = Self::of_documents(root);
        self.0.keys().for_each(|path| now.note(path));
        now.0.retain(|path, stamp| self.0.get(path) != Some(stamp));
        now
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any of them stood the same in `other`.
    #[must_use]
    pub fn share_any(&self, other: &Self) -> bool {
        self.0.iter().any(|(path, stamp)| other.0.get(path) == Some(stamp))
    }

    /// The files and folders.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }
}

/// A ConfigMap swaps links, so links are followed; one that leads nowhere counts itself.
fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).or_else(|_| fs::symlink_metadata(path)).ok()?;
    let changed = (metadata.ctime(), metadata.ctime_nsec());
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino(), changed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(stamps: &Stamps) -> Vec<String> {
        let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
        stamps.paths().map(name).collect()
    }

    #[test]
    fn documents_of_a_folder_that_come_change_and_go_are_found_and_what_else_lies_there_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("a.toml", "");
        write("b.toml", "");
        let read = Stamps::of_documents(folder.path());
        assert!(read.changed(folder.path()).is_empty());

        write(".a.toml.swp", "");
        write(".c.toml", "");
        write("notes.txt", "");
        fs::create_dir(folder.path().join("d.toml")).unwrap();
        assert!(read.changed(folder.path()).is_empty());

        write("a.toml", "# longer");
        fs::remove_file(folder.path().join("b.toml")).unwrap();
        write("e.toml", "");
        assert_eq!(names(&read.changed(folder.path())), ["a.toml", "b.toml", "e.toml"]);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found_to_be_mended_and_to_be_gone() {
        let folder = tempfile::tempdir().unwrap();
        let (link, target) = (folder.path().join("a.toml"), folder.path().join("target"));
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let read = Stamps::of_documents(folder.path());
        assert!(read.changed(folder.path()).is_empty());

        fs::write(&target, "").unwrap();
        assert_eq!(names(&read.changed(folder.path())), ["a.toml"]);

        fs::remove_file(&target).unwrap();
        assert!(read.changed(folder.path()).is_empty());
        fs::remove_file(&link).unwrap();
        assert_eq!(names(&read.changed(folder.path())), ["a.toml"]);
    }

    #[test]
    fn a_folder_in_the_place_of_a_file_and_a_document_in_the_place_of_none_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("conf");
        let read = Stamps::of_documents(&root);
        assert!(read.changed(&root).is_empty());

        fs::create_dir(&root).unwrap();
        fs::write(root.join("a.toml"), "").unwrap();

        assert_eq!(names(&read.changed(&root)), ["conf", "a.toml"]);
    }

    #[test]
    fn who_may_read_a_file_is_a_part_of_how_it_stands() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("a.toml");
        fs::write(&root, "").unwrap();
        let read = Stamps::of_documents(&root);
        assert!(read.changed(&root).is_empty());

        fs::set_permissions(&root, fs::Permissions::from_mode(0o400)).unwrap();

        assert_eq!(names(&read.changed(&root)), ["a.toml"]);
    }
}
