//! Paths and queries that a model's name cannot bend.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Query parameters that never go upstream: the version is the endpoint's to choose, the others are credentials.
const DROPPED: [&str; 8] =
    ["api-version", "api-key", "api_key", "subscription-key", "subscription_key", "key", "sig", "code"];

/// `path` with the caller's query behind it.
///
/// The caller's parameters pass as they are written, except `api-version` (an endpoint states its own) and those that
/// carry credentials. `path` may have a query already, which comes first.
#[must_use]
pub fn with_query(path: String, callers: Option<&str>) -> String {
    let mut out = path;
    let kept = callers.unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !is_dropped(pair));
    for pair in kept {
        out.push(if out.contains('?') { '&' } else { '?' });
        out.push_str(pair);
    }
    out
}

fn is_dropped(pair: &str) -> bool {
    let name = pair.split('=').next().unwrap_or_default();
    let name = plain(name);
    DROPPED.iter().any(|dropped| name.eq_ignore_ascii_case(dropped))
}

/// `name` without percent-encoding; bytes that are no text do not matter to the comparison.
fn plain(name: &str) -> Cow<'_, str> {
    if !name.contains('%') {
        return Cow::Borrowed(name);
    }
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name.bytes();
    while let Some(byte) = rest.next() {
        let mut ahead = rest.clone();
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        match (byte, digit(ahead.next()), digit(ahead.next())) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or_default());
                rest = ahead;
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned().into()
}

/// `text` as one path segment or one query value.
///
/// A name that holds a slash or a backslash, or that is nothing but dots, is encoded twice: a server that decodes once
/// and then resolves `..` still finds no separator. No provider has such a deployment, so it answers 404, as it should.
pub(super) fn segment(text: &str) -> String {
    let once = encoded(text);
    let bends = text.contains(['/', '\\']) || text.bytes().all(|byte| byte == b'.');
    if bends { encoded(&once.replace('.', "%2E")) } else { once }
}

fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing into a String cannot fail");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_name_cannot_choose_the_path() {
        let table = [
            ("gpt-4o", "gpt-4o"),
            ("gpt 4.1_x~", "gpt%204.1_x~"),
            ("a?b#c", "a%3Fb%23c"),
            ("..", "%252E%252E"),
            (".", "%252E"),
            ("../x", "%252E%252E%252Fx"),
            ("a/../../b", "a%252F%252E%252E%252F%252E%252E%252Fb"),
            ("%2e%2e", "%252e%252e"),
            ("\u{e9}", "%C3%A9"),
        ];
        for (name, expected) in table {
            assert_eq!(segment(name), expected, "{name}");
        }
    }

    #[test]
    fn the_callers_query_passes_without_version_and_credentials() {
        let table = [
            ("/v1/messages", Some("beta=true"), "/v1/messages?beta=true"),
            ("/p?api-version=1", Some("a=1&api-version=2&b=%20"), "/p?api-version=1&a=1&b=%20"),
            ("/p", Some("API-Version=2"), "/p"),
            ("/p", Some("api%2Dversion=2&x"), "/p?x"),
            ("/p", Some("api-key=s&subscription-key=t&key=u&monkey=1"), "/p?monkey=1"),
            ("/p", Some("sig=s&Code=c&subscription_key=t&codec=1"), "/p?codec=1"),
            ("/p", Some("&&"), "/p"),
            ("/p", None, "/p"),
            ("/p", Some("%"), "/p?%"),
        ];
        for (path, query, expected) in table {
            assert_eq!(with_query(path.to_owned(), query), expected, "{query:?}");
        }
    }
}
