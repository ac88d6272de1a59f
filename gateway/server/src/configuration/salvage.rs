//! Reads what can be read of a file that is not TOML.
//!
//! After one slip, such as a bracket that is never closed, a parser finds fault with every line that follows. So the
//! file is cut where a line begins with `[`, each piece is read by itself, and a piece that is not TOML reports its
//! first fault alone. What its header defines is remembered as *torn*: it exists, and nothing is known of it.

use std::ops::Range;

use toml::de::{DeTable, Error};

use super::mistakes::MistakeKind;
use super::report::Report;
use super::tree::{Entry, Lines, Node, Table, Value, from_toml};

/// What was read of one file.
pub(super) struct Salvaged {
    pub(super) table: Table,
    /// Whether every name that the file defines is known.
    pub(super) is_complete: bool,
}

/// Reads `text` and reports what is not TOML in it.
pub(super) fn read(text: &str, lines: &Lines<'_>, report: &mut Report) -> Salvaged {
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.iter().all(is_repeat) {
        report_repeats(&errors, text, lines, report);
        return Salvaged { table: from_toml(table.get_ref(), lines), is_complete: true };
    }
    let mut salvaged = Salvaged { table: Table::new(), is_complete: true };
    for piece in pieces(text) {
        read_piece(piece, text, lines, report, &mut salvaged);
    }
    salvaged
}

/// A header that stands twice repeats all that stands under it, so what follows it is not worth a line of its own.
fn report_repeats(errors: &[Error], text: &str, lines: &Lines<'_>, report: &mut Report) {
    for piece in pieces(text) {
        let start = |error: &Error| error.span().map_or(0, |span| span.start);
        let first_line =
            text.get(piece.clone()).and_then(|own| own.find('\n')).map_or(piece.end, |end| piece.start + end);
        let here = errors.iter().filter(|error| piece.contains(&start(error)));
        let of_header = here.clone().any(|error| start(error) < first_line && piece.start > 0);
        for error in here.take(if of_header { 1 } else { usize::MAX }) {
            report_error(error, 0, text, lines, report);
        }
    }
}

/// A name that stands twice leaves everything else readable.
fn is_repeat(error: &Error) -> bool {
    error.message() == "duplicate key"
}

/// The pieces of a file: what stands before the first header, then each header with what follows it.
fn pieces(text: &str) -> Vec<Range<usize>> {
    let line_starts = text.match_indices('\n').map(|(end, _)| end + 1);
    let headers = line_starts.filter(|start| text.get(*start..).is_some_and(|rest| rest.starts_with('[')));
    let mut starts: Vec<usize> = std::iter::once(0).chain(headers).collect();
    starts.push(text.len());
    starts.windows(2).filter_map(|pair| Some(*pair.first()?..*pair.get(1)?)).collect()
}

fn read_piece(piece: Range<usize>, text: &str, lines: &Lines<'_>, report: &mut Report, salvaged: &mut Salvaged) {
    let Some(own) = text.get(piece.clone()) else { return };
    let lines_here = lines.from(piece.start);
    let (table, errors) = DeTable::parse_recoverable(own);
    let Some(first) = errors.iter().min_by_key(|error| error.span().map_or(0, |span| span.start)) else {
        join(&mut salvaged.table, from_toml(table.get_ref(), &lines_here));
        return;
    };
    report_error(first, piece.start, text, lines, report);
    let header = own.split_inclusive('\n').next().unwrap_or("");
    match DeTable::parse(header) {
        Ok(table) if header.starts_with('[') => {
            let mut table = from_toml(table.get_ref(), &lines_here);
            tear(&mut table);
            join(&mut salvaged.table, table);
        }
        _ => salvaged.is_complete = false,
    }
}

/// Marks the innermost table of a header as torn.
fn tear(table: &mut Table) {
    for entry in table.values_mut() {
        match &mut entry.node.value {
            Value::Table(inner) if !inner.is_empty() => tear(inner),
            value => *value = Value::Torn,
        }
    }
}

/// Joins the tables of two pieces of one file. What stands in both is kept as it was read first.
fn join(whole: &mut Table, piece: Table) {
    for (key, Entry { key: mark, node }) in piece {
        match whole.get_mut(&key) {
            None => {
                whole.insert(key, Entry { key: mark, node });
            }
            Some(Entry { node: Node { value: Value::Table(whole), .. }, .. }) => {
                if let Value::Table(piece) = node.value {
                    join(whole, piece);
                }
            }
            Some(_) => {}
        }
    }
}

fn report_error(error: &Error, start: usize, text: &str, lines: &Lines<'_>, report: &mut Report) {
    let offset = start + error.span().map_or(0, |span| span.start);
    let mark = lines.mark(offset);
    let rest = text.get(offset..).unwrap_or("");
    let is_word = rest.bytes().take(2).filter(u8::is_ascii_alphabetic).count() == 2;
    let about_value = ["string values must be quoted", "invalid float", "invalid boolean", "invalid number"];
    // What stands there may be a key, so it is not shown.
    if is_word && about_value.iter().any(|start| error.message().starts_with(start)) {
        report.mend(MistakeKind::Syntax, mark, "not TOML: a string without quotes", "write it as `\"…\"`");
    } else if about_value.iter().any(|start| error.message().starts_with(start)) {
        let message = format!("not TOML: {}", error.message());
        report.mend(MistakeKind::Syntax, mark, message, "a string stands in quotes");
    } else {
        report.mistake(MistakeKind::Syntax, mark, format!("not TOML: {}", error.message()));
    }
}
