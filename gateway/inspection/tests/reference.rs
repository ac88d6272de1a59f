//! The reference page names every recogniser, in a table that is made from them.
//!
//! `CAUSEWAY_WRITE_REFERENCE=1 cargo test -p inspection --test reference` writes the table into the page.

use std::fmt::Write as _;
use std::path::PathBuf;

use inspection::{Group, catalogue};

const BEGIN: &str = "<!-- begin: made by gateway/inspection/tests/reference.rs -->\n";
const END: &str = "<!-- end -->\n";

fn table() -> String {
    let mut out = String::new();
    for group in Group::ALL {
        let _ = write!(
            out,
            "\n### `{}`\n\n| kind | finds | only beside a word | after |\n|---|---|---|---|\n",
            group.name()
        );
        let mut entries: Vec<_> = catalogue().filter(|entry| entry.kind.group() == Some(group)).collect();
        entries.sort_by(|one, other| one.kind.name().cmp(other.kind.name()));
        for entry in entries {
            let word = if entry.needs_word { "yes" } else { "" };
            let _ = writeln!(out, "| `{}` | {} | {word} | {} |", entry.kind, entry.what, entry.source);
        }
    }
    out.push('\n');
    out
}

#[test]
fn the_reference_page_has_every_recogniser_as_it_is() {
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/reference/recognisers.md");
    let text = std::fs::read_to_string(&page).expect("the page is in the repository");
    let (before, rest) = text.split_once(BEGIN).expect("the page marks where the table begins");
    let (written, behind) = rest.split_once(END).expect("the page marks where the table ends");

    let expected = table();

    if std::env::var_os("CAUSEWAY_WRITE_REFERENCE").is_some() && written != expected {
        std::fs::write(&page, format!("{before}{BEGIN}{expected}{END}{behind}")).expect("the page can be written");
        return;
    }
    assert!(written == expected, "the table is out of date; CAUSEWAY_WRITE_REFERENCE=1 writes it");
}
