//! The issuer of a certificate as a line of text, for the record of a connection.
//!
//! Seeing `CN=Zscaler Root` where `O=Microsoft Corporation` was expected is how TLS inspection is found.

/// Whether one of `wanted` is the issuer's common name, its organisation, or the whole name as [`readable`] writes it.
pub(crate) fn is_one_of(name: &[u8], wanted: &[String]) -> bool {
    let whole = readable(name);
    let mut parts = attributes(name).into_iter().filter(|(key, _)| matches!(*key, "CN" | "O")).map(|(_, value)| value);
    wanted.contains(&whole) || parts.any(|part| wanted.contains(&part))
}

/// Renders a DER-encoded `Name` (RFC 5280 section 4.1.2.4, without the outer tag) as `CN=…, O=…`; attributes other than
/// the usual ones are left out, and text that is not UTF-8 is replaced.
pub(crate) fn readable(name: &[u8]) -> String {
    let parts: Vec<String> = attributes(name).iter().map(|(key, value)| format!("{key}={value}")).collect();
    parts.join(", ")
}

fn attributes(name: &[u8]) -> Vec<(&'static str, String)> {
    let mut parts = Vec::new();
    let mut sets = Reader(name);
    while let Some((SET, set)) = sets.next_element() {
        let mut attributes = Reader(set);
        while let Some((SEQUENCE, attribute)) = attributes.next_element() {
            let mut fields = Reader(attribute);
            let (Some((OBJECT_ID, id)), Some((_, value))) = (fields.next_element(), fields.next_element()) else {
                continue;
            };
            if let Some(key) = key(id) {
                let value = String::from_utf8_lossy(value);
                let printable: String = value.chars().filter(|character| !character.is_control()).take(128).collect();
                parts.push((key, printable));
            }
        }
    }
    parts
}

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_ID: u8 = 0x06;

/// Attribute types below `2.5.4`.
fn key(id: &[u8]) -> Option<&'static str> {
    match id {
        [0x55, 0x04, 3] => Some("CN"),
        [0x55, 0x04, 6] => Some("C"),
        [0x55, 0x04, 10] => Some("O"),
        [0x55, 0x04, 11] => Some("OU"),
        _ => None,
    }
}

/// Reads DER elements one after the other; ends at the first one that is cut short.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn next_element(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81 | 0x82 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `CN=Corp CA, O=Example` as the DER of its two sets.
    const NAME: &[u8] =
        b"\x31\x10\x30\x0e\x06\x03\x55\x04\x03\x0c\x07Corp CA\x31\x10\x30\x0e\x06\x03\x55\x04\x0a\x0c\x07Example";

    #[test]
    fn an_issuer_reads_as_a_line() {
        assert_eq!(readable(NAME), "CN=Corp CA, O=Example");
    }

    #[test]
    fn an_issuer_is_known_by_its_common_name_its_organisation_or_its_whole_name() {
        let one_of = |wanted: &str| is_one_of(NAME, &[wanted.to_owned()]);

        assert!(one_of("Corp CA") && one_of("Example") && one_of("CN=Corp CA, O=Example"));
        assert!(!one_of("Corp") && !one_of("example") && !one_of("CN=Corp CA") && !one_of(""));
    }

    #[test]
    fn a_name_cut_anywhere_does_no_harm() {
        for end in 0..NAME.len() {
            let _ = readable(&NAME[..end]);
        }
    }
}
