//! Whether a string in a request names something that the upstream would have to fetch.

use crate::json::Text;

/// How a member's strings are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// Text: a URL in it is words, nobody fetches it.
    No,
    /// Media by its name (`image`, `file`, ...): a finding where the string begins as a URL or a path does.
    Media,
    /// An address by its name (`url`, `file_url`, ...): a finding unless it is a `data:` URL or plainly base64.
    Url,
}

/// Schemes that a server might fetch even where no `//` follows.
const FETCHED: [&[u8]; 14] = [
    b"http", b"https", b"ftp", b"ftps", b"sftp", b"file", b"s3", b"gs", b"gcs", b"az", b"abfs", b"abfss", b"oss",
    b"hdfs",
];

/// How much of a string is looked at to find its scheme; no scheme is this long.
const LOOKED_AT: usize = 128;

/// Shortest string that is taken for bare base64 without a known beginning, if few of its letters are slashes.
///
/// A path of that length is either made of many short names (`/proc/self/root/proc/self/root/...`), which the slashes
/// show, or of long ones that few machines have.
const BARE_BASE64: usize = 256;

/// Base64 has one slash in 64 letters, paths have one in eight or so.
const LETTERS_PER_SLASH: usize = 16;

/// Length from which nothing is a path any more: Linux's `PATH_MAX`.
const LONGEST_PATH: usize = 4096;

/// How base64 of JPEG, PNG, GIF, RIFF (WebP and WAV) and PDF begins.
const KNOWN_MEDIA: [&[u8]; 5] = [b"/9j/", b"iVBOR", b"R0lGOD", b"UklGR", b"JVBER"];

/// How a path begins, or a URL that leaves its scheme out.
const PATHS: [&[u8]; 5] = [b"/", b"\\", b"./", b"../", b"~/"];

/// Whether `text`, under a member with this check, is an address outside the request.
///
/// The text is unescaped first, and read the way URL libraries read it: leading spaces and control characters (and what
/// is not ASCII, which holds the other spaces) are dropped, and tabs and line breaks are dropped anywhere.
pub(super) fn is_remote(check: Check, text: Text, bytes: &[u8]) -> bool {
    if check == Check::No || text.raw(bytes).starts_with(b"data:") {
        return false;
    }
    // However much is dropped in front, what is looked at begins behind it.
    let head: Vec<u8> = text
        .meant(bytes)
        .filter(|byte| !matches!(byte, b'\t' | b'\r' | b'\n'))
        .skip_while(|byte| *byte <= b' ' || *byte >= 0x7F)
        .map(|byte| byte.to_ascii_lowercase())
        .take(LOOKED_AT)
        .collect();
    match (scheme(&head), check) {
        (Some(b"data"), _) => false,
        (Some(_), Check::Url) => true,
        (Some(scheme), _) => {
            let rest = head.get(scheme.len() + 1..).unwrap_or_default();
            // `note: hello` is words.
            FETCHED.contains(&scheme) || rest.first().is_some_and(|byte| *byte != b' ')
        }
        (None, Check::Url) => !head.is_empty() && !is_bare_base64(text, bytes),
        (None, _) => PATHS.iter().any(|path| head.starts_with(path)) && !is_bare_base64(text, bytes),
    }
}

/// The scheme in front of the first colon, where there is one.
fn scheme(head: &[u8]) -> Option<&[u8]> {
    let scheme = head.get(..memchr::memchr(b':', head)?)?;
    let (first, rest) = scheme.split_first()?;
    let rest_fits = rest.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    (first.is_ascii_alphabetic() && rest_fits).then_some(scheme)
}

/// Media given bare, as some local servers take it. A path would show itself by a dot, by its slashes or by being short.
fn is_bare_base64(text: Text, bytes: &[u8]) -> bool {
    let raw = text.raw(bytes);
    if !raw.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_' | b'\\'))
    {
        return false;
    }
    let mut escapes = 0;
    for at in memchr::memchr_iter(b'\\', raw) {
        // A slash may be written `\/`, and base64 may come in lines.
        if !matches!(raw.get(at + 1), Some(b'/' | b'n' | b'r')) {
            return false;
        }
        escapes += 1;
    }
    let length = raw.len() - escapes;
    let slashes = memchr::memchr_iter(b'/', raw).count();
    length >= LONGEST_PATH
        || (length >= BARE_BASE64 && slashes * LETTERS_PER_SLASH <= length)
        || KNOWN_MEDIA
            .iter()
            .any(|known| raw.starts_with(known) || text.meant(bytes).take(known.len()).eq(known.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Scanner;

    fn remote(check: Check, json_string: &str) -> bool {
        let body = format!("\"{json_string}\"");
        let mut scanner = Scanner::new(body.as_bytes()).expect("the test's body is UTF-8");
        scanner.peek();
        let text = scanner.string().expect("the test's string is well formed");
        is_remote(check, text, body.as_bytes())
    }

    #[test]
    fn an_address_is_a_finding_however_it_is_written() {
        let addresses = [
            "http://a/b",
            "https://a/b",
            "HTTPS://A",
            "ftp://a",
            "gs://bucket/x",
            "s3://bucket/x",
            "file:///etc/passwd",
            r"http\u003a//a",
            r"\u0068ttp://a",
            r"\/\/host/x",
            r" \thttp://a",
            r"ht\ttp://a",
            r"\u0001http://a",
            "//host/x",
            r"http:\/\/a",
            "blob:abc",
            "javascript:1",
            "/etc/passwd",
            "C:\\\\x",
            "images/cat.png",
            "a.b/c",
        ];
        for address in addresses {
            assert!(remote(Check::Url, address), "{address}");
        }
        for space in [" ", r"\t", "\u{a0}", r"\u2003", "\u{feff}"] {
            let address = format!("{}http://a", space.repeat(500));
            assert!(remote(Check::Url, &address) && remote(Check::Media, &address), "{space:?}");
        }
    }

    #[test]
    fn data_urls_and_bare_base64_pass() {
        let long = "QUJD".repeat(400);
        let data = format!("data:image/png;base64,{long}");
        let jpeg = format!("/9j/{long}");
        for address in ["data:image/png;base64,AAAA", "DATA:,x", r"dat\u0061:,x", "", " ", &data, &long, &jpeg] {
            assert!(!remote(Check::Url, address), "{address}");
        }
    }

    #[test]
    fn media_by_name_is_a_finding_where_it_begins_as_an_address() {
        let addresses = [
            "http://a",
            "file:/etc/passwd",
            "s3:bucket",
            "weird://x",
            "blob:abc",
            r"C:\\x",
            "//host/x",
            r"\\\\host\\share",
            "/etc/passwd",
            r"\/etc\/passwd",
            r"\u002fetc/passwd",
            "../x",
            "~/.ssh/id_rsa",
        ];
        for address in addresses {
            assert!(remote(Check::Media, address), "{address}");
        }
        for text in ["note: hello", "high", "photo.png", "QUJD", "data:,x", "wav", "/9j/QUJD", r"\/9j\/QUJD"] {
            assert!(!remote(Check::Media, text), "{text}");
        }
    }

    #[test]
    fn a_long_path_is_not_taken_for_base64() {
        let loops = format!("{}etc/passwd", "/proc/self/root/".repeat(40));
        let slashes = format!("/etc{}passwd", "/".repeat(400));
        let letters = format!("/{}", "a".repeat(100));
        for path in [&loops, &slashes, &letters] {
            assert!(remote(Check::Media, path), "{path}");
            assert!(remote(Check::Url, path), "{path}");
            assert!(remote(Check::Url, path.trim_start_matches('/')), "{path}");
        }
        let mp3 = format!("//uQ{}", "QUJDRA+/".repeat(600));
        let lines = format!("iVBOR{}", r"QUJD\n".repeat(20));
        for media in [&mp3, &lines] {
            assert!(!remote(Check::Media, media) && !remote(Check::Url, media), "{media}");
        }
    }

    #[test]
    fn text_is_never_an_address() {
        assert!(!remote(Check::No, "http://a"));
    }
}
