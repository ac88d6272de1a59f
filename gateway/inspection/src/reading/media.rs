//! What in a string is not text: media, and text that was packed as base64.
//!
//! | a string that | is |
//! |---|---|
//! | is a `data:` URL of a text type in base64 | unpacked and read |
//! | is any other `data:` URL in base64 | media, and passed over |
//! | has at least 256 letters, all of them base64 | unpacked and read where that gives UTF-8 text, else media |
//! | holds base64 among other text | read as it stands |

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// What a string is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Substance {
    /// Text as it stands.
    Text,
    /// Text that was packed: what it says, and how many bytes stand in front of the base64.
    Packed { text: Vec<u8>, head: usize },
    /// Nothing that can be read here.
    Media,
}

/// Shortest bare base64 that is taken for it; anything shorter is looked at as the word that it may be.
const BARE: usize = 256;

/// Most bytes that are unpacked from one string; a larger one is media that was not inspected.
pub(crate) const MOST_UNPACKED: usize = 4 << 20;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const USUAL: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const FOR_URLS: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

/// Judges a string as it was written, without its quotes.
pub(crate) fn judge(raw: &[u8]) -> Substance {
    if raw.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"data:")) {
        return data_url(raw);
    }
    if raw.len() < BARE || !is_base64(raw) {
        return Substance::Text;
    }
    match unpack(raw) {
        Some(text) => Substance::Packed { text, head: 0 },
        None => Substance::Media,
    }
}

fn data_url(raw: &[u8]) -> Substance {
    let Some(comma) = memchr::memchr(b',', raw.get(..512).unwrap_or(raw)) else { return Substance::Text };
    let (head, payload) = (raw.get(..comma).unwrap_or_default(), raw.get(comma + 1..).unwrap_or_default());
    let head = head.to_ascii_lowercase();
    if !head.ends_with(b"base64") {
        return Substance::Text;
    }
    let is_text = |kind: &[u8]| memchr::memmem::find(&head, kind).is_some();
    let types: [&[u8]; 7] = [b"text\\/", b"text/", b"json", b"xml", b"yaml", b"csv", b"javascript"];
    match types.into_iter().any(is_text).then(|| unpack(payload)).flatten() {
        Some(text) => Substance::Packed { text, head: comma + 1 },
        None => Substance::Media,
    }
}

/// Whether all letters are base64's, or the escapes that base64 can have in JSON. Text shows itself by its first space.
fn is_base64(raw: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_' | b'\\');
    let escapes_fit = || memchr::memchr_iter(b'\\', raw).all(|at| matches!(raw.get(at + 1), Some(b'/' | b'n' | b'r')));
    raw.iter().take(64).all(fits) && raw.iter().all(fits) && escapes_fit()
}

/// What was packed, where it is UTF-8 without control characters.
fn unpack(raw: &[u8]) -> Option<Vec<u8>> {
    if raw.len() / 4 * 3 > MOST_UNPACKED {
        return None;
    }
    // The beginning tells an image from a text without unpacking all of it.
    let beginning = decode(&compact(raw.get(..64).unwrap_or(raw)))?;
    if !is_text(beginning.get(..beginning.len().saturating_sub(4)).unwrap_or_default()) {
        return None;
    }
    let text = decode(&compact(raw))?;
    (is_text(&text) && std::str::from_utf8(&text).is_ok()).then_some(text)
}

fn decode(compact: &[u8]) -> Option<Vec<u8>> {
    let is_for_urls = compact.iter().any(|byte| matches!(byte, b'-' | b'_'));
    if is_for_urls { FOR_URLS.decode(compact).ok() } else { USUAL.decode(compact).ok() }
}

/// Base64 without line breaks and escapes.
fn compact(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                if bytes.next() == Some(&b'/') {
                    out.push(b'/');
                }
            }
            b'=' => {}
            _ => out.push(*byte),
        }
    }
    out
}

/// No control characters but those of text; a letter cut at the end is no matter.
fn is_text(bytes: &[u8]) -> bool {
    let controls = bytes.iter().any(|byte| *byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r'));
    let is_utf8 = match std::str::from_utf8(bytes) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    };
    !controls && is_utf8
}

/// `text` packed again.
pub(crate) fn pack(text: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_was_packed_is_unpacked() {
        let packed = pack(b"my IBAN is DE89 3704 0044 0532 0130 00");
        let url = format!("data:text/plain;charset=utf-8;base64,{packed}");
        let long = pack("ä line of text\n".repeat(30).as_bytes());
        let broken = long.replace('/', "\\/").replace('A', "A\\n");

        let text = b"my IBAN is DE89 3704 0044 0532 0130 00".to_vec();
        let expected = Substance::Packed { text, head: url.len() - packed.len() };
        assert_eq!(judge(url.as_bytes()), expected);
        for bare in [&long, &broken] {
            let Substance::Packed { text, .. } = judge(bare.as_bytes()) else { panic!("{bare} is text") };
            assert!(text.starts_with("ä line".as_bytes()));
        }
    }

    #[test]
    fn what_cannot_be_read_is_media() {
        let noise: Vec<u8> = (0..900_u32).map(|n| (n * 37 % 251) as u8).collect();
        let bare = pack(&noise);
        let png = format!("data:image/png;base64,{bare}");
        let said_to_be_text = format!("data:text/plain;base64,{bare}");

        for media in [&bare, &png, &said_to_be_text, &"DATA:Image/PNG;BASE64,AAAA".to_owned()] {
            assert_eq!(judge(media.as_bytes()), Substance::Media, "{media}");
        }
    }

    #[test]
    fn other_text_is_text() {
        let words = "word ".repeat(100);
        for text in ["data:,hello", "data: is a word", "QUJDREVG", "", &words] {
            assert_eq!(judge(text.as_bytes()), Substance::Text, "{text}");
        }
    }
}
