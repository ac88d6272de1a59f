//! What a pattern may be, and what is made of it.
//!
//! Text is searched as bytes, with several strings of a request behind one another and control characters between them. A
//! pattern is therefore changed so that it stays within one string and takes whole letters only: a class of bytes, such as
//! `[^,]` or `.`, keeps what is ASCII and no control character but tab and line breaks.

use regex_automata::util::syntax;
use regex_syntax::hir::{Class, ClassBytes, ClassBytesRange, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Look};

use super::{LARGEST, LONGEST_PATTERN, SHORTEST_MATCH};

/// Why a pattern cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// It is longer than patterns may be.
    #[error("it is {0} bytes long, and may be {LONGEST_PATTERN}")]
    TooLong(usize),
    /// It is no regular expression, or one with what would not be linear.
    #[error("it cannot be read as a regular expression: {0}")]
    Syntax(String),
    /// Its matches have no bound, or one that is too high.
    #[error("a match of it can be longer than {0} bytes")]
    Unbounded(usize),
    /// It can match next to nothing.
    #[error("a match of it can be shorter than {SHORTEST_MATCH} bytes")]
    TooShort,
    /// It matches nothing at all.
    #[error("nothing can match it")]
    Nothing,
    /// It asks where a text or a line begins or ends.
    #[error("it asks where a text or a line begins or ends, of which a request's strings have none")]
    Anchored,
    /// It holds bytes that are no text.
    #[error("it names bytes that are no text")]
    NoText,
    /// It needs too much memory.
    #[error("it needs more than {} KiB of memory", LARGEST >> 10)]
    TooLarge,
    /// It would find what redaction writes.
    #[error("it matches `{0}`, which redaction would write")]
    Placeholder(String),
}

/// Why `\b` may not ask for the letters of all scripts.
const NO_UNICODE_WORDS: &str = "`\\b` knows words of ASCII alone; write it without `(?u)`";

/// The shape of `pattern`, all of whose matches are at most `longest` bytes long.
pub(super) fn of(pattern: &str, longest: usize) -> Result<Hir, ShapeError> {
    if pattern.len() > LONGEST_PATTERN {
        return Err(ShapeError::TooLong(pattern.len()));
    }
    let syntax = syntax::Config::new().unicode(false).utf8(false);
    let parsed = syntax::parse_with(pattern, &syntax).map_err(|error| ShapeError::Syntax(reason(&error)))?;
    let shape = within_a_string(&parsed)?;
    let properties = shape.properties();
    match (properties.minimum_len(), properties.maximum_len()) {
        (None, _) => Err(ShapeError::Nothing),
        (Some(shortest), _) if shortest < SHORTEST_MATCH => Err(ShapeError::TooShort),
        (Some(_), Some(most)) if most <= longest => Ok(shape),
        _ => Err(ShapeError::Unbounded(longest)),
    }
}

/// The last line of the message, which says what is wrong without the drawing above it.
fn reason(error: &regex_syntax::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// `shape` without whatever could reach beyond one string or take a letter apart.
///
/// It calls itself as deep as groups are nested, which the parser bounds.
fn within_a_string(shape: &Hir) -> Result<Hir, ShapeError> {
    let all = |parts: &[Hir]| parts.iter().map(within_a_string).collect::<Result<Vec<_>, _>>();
    Ok(match shape.kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) => {
            let is_text = std::str::from_utf8(&literal.0).is_ok() && literal.0.iter().all(|byte| *byte >= b'\t');
            if !is_text {
                return Err(ShapeError::NoText);
            }
            literal_of(&literal.0)
        }
        HirKind::Class(Class::Bytes(class)) => {
            let mut class = class.clone();
            let has = |byte: u8| class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&byte));
            if lacks_line_break(has) {
                class.push(ClassBytesRange::new(b'\n', b'\n'));
            }
            class.intersect(&ClassBytes::new([ClassBytesRange::new(b'\t', 0x7F)]));
            Hir::class(Class::Bytes(class))
        }
        HirKind::Class(Class::Unicode(class)) => {
            let mut class = class.clone();
            let has =
                |byte: u8| class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&char::from(byte)));
            if lacks_line_break(has) {
                class.push(ClassUnicodeRange::new('\n', '\n'));
            }
            class.intersect(&ClassUnicode::new([ClassUnicodeRange::new('\t', char::MAX)]));
            Hir::class(Class::Unicode(class))
        }
        HirKind::Look(look) => match look {
            Look::WordAscii
            | Look::WordAsciiNegate
            | Look::WordStartAscii
            | Look::WordEndAscii
            | Look::WordStartHalfAscii
            | Look::WordEndHalfAscii => Hir::look(*look),
            Look::WordUnicode
            | Look::WordUnicodeNegate
            | Look::WordStartUnicode
            | Look::WordEndUnicode
            | Look::WordStartHalfUnicode
            | Look::WordEndHalfUnicode => return Err(ShapeError::Syntax(NO_UNICODE_WORDS.to_owned())),
            Look::Start | Look::End | Look::StartLF | Look::EndLF | Look::StartCRLF | Look::EndCRLF => {
                return Err(ShapeError::Anchored);
            }
        },
        HirKind::Repetition(repetition) => {
            let sub = Box::new(within_a_string(&repetition.sub)?);
            Hir::repetition(regex_syntax::hir::Repetition { sub, ..repetition.clone() })
        }
        HirKind::Capture(capture) => within_a_string(&capture.sub)?,
        HirKind::Concat(parts) => Hir::concat(all(parts)?),
        HirKind::Alternation(parts) => Hir::alternation(all(parts)?),
    })
}

/// Letters that are read as a line break where the JSON has them as escapes, and as themselves elsewhere.
const READ_AS_LINE_BREAKS: [u8; 3] = [b'\t', b'\r', 0x0C];

/// Whether a class means one of these letters and would miss it. One with a control character that no text has is one of all
/// that something else is not, such as `.`: it takes line breaks where it says so.
fn lacks_line_break(has: impl Fn(u8) -> bool) -> bool {
    READ_AS_LINE_BREAKS.into_iter().any(&has) && !has(b'\n') && !has(1)
}

/// A text as it stands, but for these letters.
fn literal_of(text: &[u8]) -> Hir {
    let is_plain = |byte: &u8| !READ_AS_LINE_BREAKS.contains(byte);
    let parts = text.chunk_by(|one, next| is_plain(one) && is_plain(next));
    let part = |part: &[u8]| match part {
        [byte] if !is_plain(byte) => {
            let either = [ClassBytesRange::new(*byte, *byte), ClassBytesRange::new(b'\n', b'\n')];
            Hir::class(Class::Bytes(ClassBytes::new(either)))
        }
        part => Hir::literal(part.to_vec()),
    };
    Hir::concat(parts.map(part).collect())
}
