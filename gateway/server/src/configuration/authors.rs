//! `[authors]`: who may write what.
//!
//! It holds inside a folder, where each file has an author of its own. A section that is listed for some files may
//! stand in no other. A section that is listed for none belongs to the file that holds `[authors]`: whoever divides
//! the document keeps what was not given away. The file system, not the gateway, says who may write that file.

use super::mistakes::{MistakeKind, NoteKind, remedy_for};
use super::read::Tree;
use super::report::{Report, quote};
use super::shape::DOCUMENT;
use super::sources::Sources;
use super::tree::{Cursor, Mark};
use super::walk::Walked;

/// Reports every section that stands in a file whose author may not write it.
pub(super) fn check(sources: &Sources, tree: &Tree, walked: &Walked, report: &mut Report) {
    let authors = tree.root().at("authors");
    if !authors.exists() {
        return;
    }
    if !sources.is_folder {
        let message = "`[authors]` has no effect: the document is one file";
        let remedy = "give each author a file, and `--config` the folder";
        report.note(NoteKind::Warning, authors.mark(), message, Some(remedy.to_owned()));
        return;
    }
    check_lists(sources, walked, authors, report);
    if walked.all_whole("authors") {
        let known = |section: &str| DOCUMENT.fields().iter().any(|field| field.name == section);
        for (section, mark) in tree.sections.iter().filter(|(section, _)| known(section)) {
            check_section(sources, walked, authors, (section, *mark), report);
        }
    }
}

/// What `[authors]` lists must be there: a rule that can match nothing is a mistake.
fn check_lists(sources: &Sources, walked: &Walked, authors: Cursor<'_>, report: &mut Report) {
    let files: Vec<String> = sources.files.iter().map(super::sources::Source::name).collect();
    let sections = DOCUMENT.fields().iter().map(|field| field.name.as_str());
    for (file, listed) in &walked.document.authors {
        let at = authors.at(file);
        if !files.contains(file) {
            let remedy = remedy_for(file, files.iter().map(String::as_str), "create it, or leave it out");
            report.mend(MistakeKind::Reference, at.key(), format!("the folder holds no file {}", quote(file)), remedy);
        }
        for (index, section) in listed.iter().enumerate() {
            if !sections.clone().any(|known| known == section) {
                let remedy = remedy_for(section, sections.clone(), "the reference lists the sections");
                let message = format!("{} is not a section of the document", quote(section));
                report.mend(MistakeKind::Reference, at.item(index).mark(), message, remedy);
            }
        }
    }
}

fn check_section(
    sources: &Sources,
    walked: &Walked,
    authors: Cursor<'_>,
    (section, mark): (&str, Mark),
    report: &mut Report,
) {
    let Some(file) = sources.files.get(mark.file).map(super::sources::Source::name) else { return };
    let lists = |listed: &Vec<String>| listed.iter().any(|name| name == section);
    let owners: Vec<&str> =
        walked.document.authors.iter().filter(|(_, listed)| lists(listed)).map(|(file, _)| file.as_str()).collect();
    let keeper = sources.files.get(authors.mark().file).map(super::sources::Source::name).unwrap_or_default();
    if owners.contains(&file.as_str()) || (owners.is_empty() && file == keeper) {
        return;
    }
    let owner = if owners.is_empty() { format!("`{keeper}`") } else { format!("`{}`", owners.join("`, `")) };
    let message = format!("`{section}` may not be written in `{file}`");
    let remedy = format!("move it to {owner}, or list it for `{file}` in `[authors]`");
    report.mend(MistakeKind::Author, mark, message, remedy);
}
