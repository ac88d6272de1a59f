//! The reference page of the configuration, made from the comments on the document's structs.

use std::fmt::Write as _;

use super::enforcement;
use super::shape::{DOCUMENT, Field, Shape};

const HEAD: &str = "\
# Configuration

<!-- Generated from the code. Do not edit. -->

A configuration is one TOML file, or a folder of `*.toml` files that are read together as one document (names that
begin with a dot are left out). Sections of names, such as `[endpoint.NAME]`, may be spread over files; every other
section stands once. Relative paths start at the folder of the file that names them. Money is an integer or a decimal
and never a float inside. Every mistake is reported in one run, with file, line and column.
";

/// The words of the last column, in the order in which the page explains those that it has.
const WORDS: [(&str, &str); 2] = [
    ("yes", "*yes*, it has its effect"),
    ("not yet", "*not yet*, it is read and checked, and `causeway check` lists it as not enforced"),
];

/// The reference page, in Markdown. The same text every time.
pub fn reference() -> String {
    let mut sections = String::new();
    for field in DOCUMENT.fields() {
        section(&mut sections, field);
    }
    let is_there = |word: &str| sections.contains(&format!("| {word} |\n"));
    let words: Vec<_> = WORDS.iter().filter(|(word, _)| is_there(word)).map(|(_, meaning)| *meaning).collect();
    format!("{HEAD}\nThe last column says what a setting does in this version: {}.\n{sections}", words.join("; "))
}

fn section(page: &mut String, field: &Field) {
    let (title, shape, pattern) = match &field.shape {
        Shape::Named(inner) if matches!(**inner, Shape::Table(_)) => {
            (format!("[{}.NAME]", field.name), &**inner, format!("{}.*", field.name))
        }
        shape @ Shape::Table(_) => (format!("[{}]", field.name), shape, field.name.clone()),
        Shape::Named(_) => (format!("[{}]", field.name), &field.shape, field.name.clone()),
        shape => (field.name.clone(), shape, field.name.clone()),
    };
    // Writing to a string cannot fail.
    let about =
        if field.about.is_empty() || field.about == field.doc { String::new() } else { format!("\n{}\n", field.about) };
    let _ = write!(page, "\n## `{title}`\n\n{}\n{about}", field.doc);
    let mut rows = Vec::new();
    match shape {
        Shape::Table(fields) => fields.iter().for_each(|field| rows_of(field, "", &pattern, &mut rows)),
        shape => rows.push(row(&field.name, shape, "", enforcement::remark(&pattern))),
    }
    let _ = write!(page, "\n| setting | takes | meaning | in effect |\n|---|---|---|---|\n{}", rows.concat());
}

fn rows_of(field: &Field, outer: &str, pattern: &str, rows: &mut Vec<String>) {
    let name = format!("{outer}{}", field.name);
    let pattern = format!("{pattern}.{}", field.name);
    match &field.shape {
        Shape::Table(inner) => {
            rows.push(row(&name, &field.shape, &field.doc, ""));
            inner.iter().for_each(|field| rows_of(field, &format!("{name}."), &pattern, rows));
        }
        Shape::Choice(ways) => {
            rows.push(row(&name, &field.shape, &field.doc, ""));
            for way in ways {
                let Some(body) = &way.body else { continue };
                let name = format!("{name}.{}", way.name);
                let pattern = format!("{pattern}.{}", way.name);
                way_rows(&name, &pattern, &way.doc, body, rows);
            }
        }
        shape => rows.push(row(&name, shape, &documented(field), enforcement::remark(&pattern))),
    }
}

fn way_rows(name: &str, pattern: &str, doc: &str, body: &Shape, rows: &mut Vec<String>) {
    let remark =
        if matches!(body, Shape::Table(fields) if !fields.is_empty()) { "" } else { enforcement::remark(pattern) };
    rows.push(row(name, body, doc, remark));
    if let Shape::Choice(ways) = body {
        for way in ways {
            let inner = way.body.as_ref().unwrap_or(&Shape::Text);
            way_rows(&format!("{name}.{}", way.name), &format!("{pattern}.{}", way.name), &way.doc, inner, rows);
        }
    }
    body.fields().iter().for_each(|field| rows_of(field, &format!("{name}."), pattern, rows));
}

/// The comment of a setting, with what each of its words means.
fn documented(field: &Field) -> String {
    let words = match &field.shape {
        Shape::Word(words) => words,
        Shape::List(inner) => match &**inner {
            Shape::Word(words) => words,
            _ => return field.doc.clone(),
        },
        _ => return field.doc.clone(),
    };
    words.iter().fold(field.doc.clone(), |text, word| format!("{text}\n\n`\"{}\"`: {}", word.name, word.doc))
}

fn row(name: &str, shape: &Shape, doc: &str, remark: &str) -> String {
    let takes = match shape {
        Shape::List(inner) => format!("a list of: {}", inner.describe()),
        Shape::Named(inner) => format!("names with: {}", inner.describe()),
        shape => shape.describe(),
    };
    let cell = |text: &str| text.replace('|', "\\|").replace("\n\n", "<br>").replace('\n', " ");
    format!("| `{name}` | {} | {} | {remark} |\n", cell(&takes), cell(doc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_every_section_and_what_is_in_effect() {
        let page = reference();

        for field in DOCUMENT.fields() {
            assert!(page.contains(&format!("## `[{}", field.name)) || page.contains(&format!("## `{}`", field.name)));
        }
        let line = |start: &str| page.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic_free(start));
        assert!(line("| `max_body_bytes`").contains("33_554_432") && line("| `max_body_bytes`").ends_with("| yes |"));
        assert!(line("| `within`").ends_with("| yes |"));
        assert!(line("| `class`").ends_with("| yes |"));
        assert_eq!(page, reference());
    }

    fn panic_free(start: &str) -> &'static str {
        assert_eq!(start, "", "no such line");
        ""
    }
}
