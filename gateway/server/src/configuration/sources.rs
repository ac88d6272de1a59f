//! The files of a document as they were found, with their hashes.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};

use super::mistakes::{Mistake, MistakeKind, Mistakes, about_file};
use super::stamps::Stamps;

/// Largest file accepted, in bytes: 4 MiB, far above any real one. A mistyped path must not fill the memory.
pub const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// Most files of a folder.
pub const MAX_FILES: usize = 256;

/// The files of a document, sorted by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// The file or folder that was given.
    pub root: PathBuf,
    /// Whether `root` is a folder: only then do `[authors]` count.
    pub is_folder: bool,
    /// The files, sorted by name.
    pub files: Vec<Source>,
    /// The policies that were in force with these files, name and text, where the document is the last good one. Absent: the
    /// folder that the document names is read.
    pub policies: Option<Vec<(String, String)>>,
    /// The data pack of `policy.data` that was in force with them, in the same case.
    pub data: Option<Vec<(String, String)>>,
    /// How the files stood before they were read; empty where they were read from nowhere.
    pub stamps: Stamps,
}

/// One file of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The path as mistakes show it.
    pub path: PathBuf,
    /// The absolute folder at which the file's relative paths start.
    pub base: PathBuf,
    /// What stands in it.
    pub text: String,
}

impl Source {
    /// The file's name without its folder, as `[authors]` writes it.
    pub fn name(&self) -> String {
        self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// SHA-256 of the text, in hex.
    pub fn hash(&self) -> String {
        hash_of(&self.text)
    }
}

/// SHA-256 of a text, in hex.
pub(super) fn hash_of(text: &str) -> String {
    hex(digest(&SHA256, text.as_bytes()).as_ref())
}

impl Sources {
    /// Reads the file `path`, or every `*.toml` of the folder `path`.
    ///
    /// # Errors
    ///
    /// Every file that cannot be read, is too large or is not UTF-8.
    pub fn read(path: &Path) -> Result<Self, Mistakes> {
        let stamps = Stamps::of_documents(path);
        let mut mistakes = Mistakes::default();
        let is_folder = path.is_dir();
        let paths = if is_folder { list(path, &mut mistakes) } else { vec![path.to_owned()] };
        let mut files = Vec::new();
        for path in paths {
            match read_one(&path) {
                Ok(source) => files.push(source),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        mistakes.sort();
        if !mistakes.is_empty() {
            return Err(mistakes.with_material(stamps));
        }
        Ok(Self { root: path.to_owned(), is_folder, files, policies: None, data: None, stamps })
    }

    /// Takes texts that are at hand, such as those of a generated document. Relative paths start at each file's folder.
    pub fn from_texts(root: &Path, is_folder: bool, texts: impl IntoIterator<Item = (PathBuf, String)>) -> Self {
        let file = |(path, text): (PathBuf, String)| Source { base: base_of(&path), path, text };
        let mut files: Vec<Source> = texts.into_iter().map(file).collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self { root: root.to_owned(), is_folder, files, policies: None, data: None, stamps: Stamps::default() }
    }

    /// SHA-256 over the names and texts of all files, in hex.
    ///
    /// Names come without their folder: the same files elsewhere have the same hash. What they point to (keys,
    /// certificates) is not part of it.
    pub fn hash(&self) -> String {
        let mut bytes = b"causeway configuration 1\0".to_vec();
        for file in &self.files {
            for part in [file.name().as_str(), file.text.as_str()] {
                bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
                bytes.extend_from_slice(part.as_bytes());
            }
        }
        hex(digest(&SHA256, &bytes).as_ref())
    }
}

/// The documents of a folder, those that cannot be read among them; none where `root` is no folder.
pub(super) fn documents(root: &Path) -> Option<Vec<PathBuf>> {
    if !root.is_dir() {
        return None;
    }
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    Some(entries.map(|entry| entry.path()).filter(|path| belongs(path)).collect())
}

fn list(folder: &Path, mistakes: &mut Mistakes) -> Vec<PathBuf> {
    let unreadable = |error: std::io::Error| {
        about_file(folder, MistakeKind::Unreadable, format!("the folder cannot be read: {error}"))
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            mistakes.push(unreadable(error));
            return Vec::new();
        }
    };
    let mut paths = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) if belongs(&entry.path()) => paths.push(entry.path()),
            Ok(_) => {}
            Err(error) => mistakes.push(unreadable(error)),
        }
    }
    paths.sort();
    if paths.is_empty() && mistakes.is_empty() {
        let message = "the folder holds no `*.toml` file".to_owned();
        mistakes.push(about_file(folder, MistakeKind::Unreadable, message));
    }
    if paths.len() > MAX_FILES {
        let message = format!("the folder holds {} files, more than {MAX_FILES}", paths.len());
        mistakes.push(about_file(folder, MistakeKind::Unreadable, message));
        paths.clear();
    }
    paths
}

/// Editors and Kubernetes leave files and folders with a leading dot beside the real ones.
fn belongs(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    path.extension().is_some_and(|extension| extension == "toml") && !hidden && !path.is_dir()
}

fn read_one(path: &Path) -> Result<Source, Mistake> {
    let unreadable = |message: String| about_file(path, MistakeKind::Unreadable, message);
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(|error| unreadable(format!("cannot be read: {error}")))?;
    let read = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| unreadable(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(unreadable(format!("is larger than {MAX_FILE_BYTES} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let line =
            error.as_bytes().iter().take(error.utf8_error().valid_up_to()).filter(|byte| **byte == b'\n').count();
        unreadable(format!("is not UTF-8 at line {}", line + 1))
    })?;
    Ok(Source { base: base_of(path), path: path.to_owned(), text })
}

fn base_of(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.parent().map(Path::to_owned).unwrap_or_default()
}

/// Lower-case hex of `bytes`.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 0x0f)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// The bytes of exactly 64 lower-case hex digits.
pub(super) fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0_u8; 32];
    if text.len() != 64 || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(bytes)
}
