//! The data pack in force: the one that comes with this version, or that of `[policy] data`.

use std::ops::Deref;
use std::sync::{Arc, LazyLock};

use policy::{Pack, PackError, PackFiles};

use super::sources::hash_of;

/// The names of a pack's files, the manifest first.
pub(super) const PACK_FILES: [&str; 4] = ["pack.json", "regions.json", "groups.json", "places.json"];

/// A data pack that was read whole, with the texts that it was read from.
#[derive(Clone, Debug)]
pub struct DataPack {
    pack: Pack,
    manifest: String,
    /// Names and texts of its files, as they were read; none where it is the one that comes with this version.
    pub files: Vec<(String, String)>,
}

/// The pack that comes with this version, for tools that look at policies without a configuration.
#[must_use]
pub fn pack() -> &'static DataPack {
    DataPack::shipped()
}

impl DataPack {
    /// The pack that comes with this version, read once for the process.
    ///
    /// # Panics
    ///
    /// Never in a build that was tested.
    #[must_use]
    pub fn shipped() -> &'static Arc<Self> {
        /// Constant for the life of the process: what was compiled in.
        static PACK: LazyLock<Arc<DataPack>> = LazyLock::new(|| {
            let pack = Pack::read(&PackFiles::SHIPPED, hash_of).expect("the shipped pack is read by a test");
            let manifest = PackFiles::SHIPPED.manifest.to_owned();
            Arc::new(DataPack { pack, manifest, files: Vec::new() })
        });
        &PACK
    }

    /// The pack of these files, names and texts in the order of [`PACK_FILES`].
    ///
    /// # Errors
    ///
    /// [`PackError`] for the first fault, such as a file that is not the one that the manifest names: half of a pack is none.
    pub fn of(files: Vec<(String, String)>) -> Result<Self, PackError> {
        let text = |place: usize| files.get(place).map_or("", |(_, text)| text.as_str());
        let read = PackFiles { manifest: text(0), regions: text(1), groups: text(2), places: text(3) };
        let pack = Pack::read(&read, hash_of)?;
        Ok(Self { pack, manifest: text(0).to_owned(), files })
    }

    /// Its manifest: version and hash of every other file, so that it stands for the whole.
    #[must_use]
    pub fn manifest(&self) -> &str {
        &self.manifest
    }

    /// SHA-256 of the manifest, in hex.
    #[must_use]
    pub fn hash(&self) -> String {
        hash_of(&self.manifest)
    }

    /// Whether it comes from a folder.
    #[must_use]
    pub fn is_own(&self) -> bool {
        !self.files.is_empty()
    }
}

impl Deref for DataPack {
    type Target = Pack;

    fn deref(&self) -> &Pack {
        &self.pack
    }
}
