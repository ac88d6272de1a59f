//! The JSON paths of places that were found, made afterwards: most requests need none.

use std::ops::Range;

use super::strings::{MAX_DEPTH, closing_quote};

/// Longest path given, in bytes; paths go into the audit log.
const MAX_PATH: usize = 256;

/// Longest name of a member given, in bytes.
const MAX_NAME: usize = 64;

/// What stands at the end of a path that was cut.
const ELLIPSIS: char = '\u{2026}';

/// One step down from the top of the document.
#[derive(Clone, Debug)]
enum Step {
    Member(Range<usize>),
    Element(usize),
}

/// The paths of the strings and numbers in which `offsets`, in rising order, lie.
///
/// A name that `is_hidden` says holds a finding of its own is shown as `?`: a path is recorded, and what was found is not.
pub(crate) fn of(body: &[u8], offsets: &[usize], is_hidden: impl Fn(&Range<usize>) -> bool) -> Vec<String> {
    let mut paths = Vec::with_capacity(offsets.len());
    let mut steps: Vec<Step> = Vec::new();
    let mut at = 0;
    while paths.len() < offsets.len() && at < body.len() {
        // The end of a string that begins with the last of the places is of no matter: it may be an image.
        while offsets.get(paths.len()).is_some_and(|offset| *offset <= at + 1 && body.get(at) == Some(&b'"')) {
            paths.push(shown(body, &steps, &is_hidden));
        }
        if paths.len() == offsets.len() {
            break;
        }
        let next = match body.get(at) {
            Some(b'"') => string_end(body, at + 1),
            _ => at + 1,
        };
        while offsets.get(paths.len()).is_some_and(|offset| *offset < next) {
            paths.push(shown(body, &steps, &is_hidden));
        }
        match body.get(at) {
            Some(b'{') if steps.len() < MAX_DEPTH => steps.push(Step::Member(0..0)),
            Some(b'[') if steps.len() < MAX_DEPTH => steps.push(Step::Element(0)),
            Some(b'}' | b']') => drop(steps.pop()),
            Some(b',') => match steps.last_mut() {
                Some(Step::Element(number)) => *number += 1,
                Some(Step::Member(name)) => *name = 0..0,
                None => {}
            },
            Some(b'"') if is_key(body, next) => {
                if let Some(Step::Member(name)) = steps.last_mut() {
                    *name = at + 1..next - 1;
                }
            }
            _ => {}
        }
        at = next;
    }
    paths.resize(offsets.len(), String::from("$"));
    paths
}

fn is_key(body: &[u8], behind: usize) -> bool {
    body.get(behind..).unwrap_or_default().iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':')
}

/// The offset behind the closing quote of the string that begins at `start`.
fn string_end(body: &[u8], start: usize) -> usize {
    closing_quote(body, start).map_or(body.len(), |quote| quote + 1)
}

fn shown(body: &[u8], steps: &[Step], is_hidden: &impl Fn(&Range<usize>) -> bool) -> String {
    let mut path = String::from("$");
    for step in steps {
        match step {
            Step::Element(number) => path.push_str(&format!("[{number}]")),
            Step::Member(name) if name.is_empty() => {}
            Step::Member(name) if is_hidden(name) => path.push_str("[\"?\"]"),
            Step::Member(name) => push_name(&mut path, body.get(name.clone()).unwrap_or_default()),
        }
        if path.len() > MAX_PATH {
            path.truncate(path.floor_char_boundary(MAX_PATH - ELLIPSIS.len_utf8()));
            path.push(ELLIPSIS);
            break;
        }
    }
    path
}

fn push_name(path: &mut String, raw: &[u8]) {
    let name = String::from_utf8_lossy(raw.get(..MAX_NAME).unwrap_or(raw));
    let is_plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_plain {
        path.push('.');
        path.push_str(&name);
    } else {
        path.push_str("[\"");
        path.extend(name.chars().map(|letter| if letter.is_control() || letter == '"' { '?' } else { letter }));
        path.push_str("\"]");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_the_string_or_the_key() {
        let body = r#"{"messages":[{"role":"user"},{"content":[{"text":"x"}, 12345678]}],"a b":{"k":"v"}}"#;
        let at = |text: &str| body.find(text).expect("the test's body holds it");
        let offsets = [at("user"), at("x\""), at("123"), at("v\"")];

        let paths = of(body.as_bytes(), &offsets, |_| false);

        assert_eq!(
            paths,
            ["$.messages[0].role", "$.messages[1].content[0].text", "$.messages[1].content[1]", "$[\"a b\"].k"]
        );
    }

    #[test]
    fn a_name_that_holds_a_finding_is_not_shown() {
        let body = br#"{"a":{"x@y.example":"v"}}"#;

        let paths = of(body, &[6, 22], |name| body[name.clone()].contains(&b'@'));

        assert_eq!(paths, ["$.a", "$.a[\"?\"]"]);
    }
}
