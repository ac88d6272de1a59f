//! Reads the text of all files into one tree.
//!
//! Of a file that is not TOML, `salvage` reads what can be read. Where even the names that it defines are unknown,
//! nothing that looks from one place to another is judged in that run; the form of everything readable still is.

use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::mistakes::MistakeKind;
use super::report::{Report, quote};
use super::salvage::{self, Salvaged};
use super::shape::{DOCUMENT, Shape};
use super::sources::Sources;
use super::stamps::Stamps;
use super::tree::{Cursor, Entry, Lines, Mark, Node, Table, Value};

/// The text of a document as one tree.
#[derive(Debug)]
pub(super) struct Tree {
    root: Node,
    /// Each section of each file, where it is first named there.
    pub(super) sections: Vec<(String, Mark)>,
    /// Whether every name that the files define is known.
    pub(super) is_complete: bool,
}

impl Tree {
    pub(super) fn root(&self) -> Cursor<'_> {
        Cursor::root(&self.root)
    }

    pub(super) fn node(&self) -> &Node {
        &self.root
    }
}

/// Reads all files into one tree and reports what is said twice.
pub(super) fn read(sources: &Sources, report: &mut Report) -> Tree {
    let mut whole = Table::new();
    let mut sections = Vec::new();
    let mut is_complete = true;
    for (index, file) in sources.files.iter().enumerate() {
        let lines = Lines::new(index, &file.text);
        let Salvaged { table, is_complete: is_whole } = salvage::read(&file.text, &lines, report);
        is_complete &= is_whole;
        sections.extend(table.iter().map(|(name, entry)| (name.clone(), entry.key)));
        merge(&mut whole, table, report);
    }
    let root = Node { mark: Mark { file: 0, line: 1, column: 1 }, value: Value::Table(whole) };
    Tree { root, sections, is_complete }
}

/// Adds the sections of one file to those of the files before it.
fn merge(whole: &mut Table, file: Table, report: &mut Report) {
    for (name, entry) in file {
        match whole.get_mut(&name) {
            None => {
                whole.insert(name, entry);
            }
            Some(earlier) => merge_section(&name, earlier, entry, report),
        }
    }
}

fn merge_section(section: &str, earlier: &mut Entry, later: Entry, report: &mut Report) {
    let both = match (&mut earlier.node.value, later.node.value) {
        (Value::Table(earlier), Value::Table(later)) if holds_names(section) => Some((earlier, later)),
        _ => None,
    };
    let Some((names, later_names)) = both else {
        let message = format!("`{section}` stands here as well as at {}", report.position(earlier.key));
        report.mend(MistakeKind::Duplicate, later.key, message, "keep one of the two");
        return;
    };
    for (name, entry) in later_names {
        if let Some(earlier) = names.get(&name) {
            let message = format!("{section} {} is also defined at {}", quote(&name), report.position(earlier.key));
            report.mend(MistakeKind::Duplicate, entry.key, message, "rename or remove one of the two");
        } else {
            names.insert(name, entry);
        }
    }
}

/// Whether a section holds names, so that several files may add to it. `[authors]` has one author.
pub(super) fn holds_names(section: &str) -> bool {
    let field = DOCUMENT.fields().iter().find(|field| field.name == section);
    section != "authors" && field.is_some_and(|field| matches!(field.shape, Shape::Named(_)))
}

/// The state folder that a document names, as far as it can be made out in a broken one.
///
/// With it a start with a broken document finds the last good one.
pub fn state_folder_of(path: &Path) -> Option<PathBuf> {
    let sources = Sources::read(path).ok().or_else(|| readable_part(path))?;
    sources.files.iter().find_map(|file| {
        let (table, _) = DeTable::parse_recoverable(&file.text);
        let state = table.get_ref().get("state")?.get_ref().as_table()?;
        let folder = state.get("folder")?.get_ref().as_str()?;
        (!folder.is_empty()).then(|| file.base.join(folder))
    })
}

/// The files of a folder that can be read, where others cannot.
fn readable_part(folder: &Path) -> Option<Sources> {
    let paths = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let mut files: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .filter_map(|path| Sources::read(&path).ok())
        .flat_map(|sources| sources.files)
        .collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Some(Sources {
        root: folder.to_owned(),
        is_folder: true,
        files,
        policies: None,
        data: None,
        stamps: Stamps::default(),
    })
}
