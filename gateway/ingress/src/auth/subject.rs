//! The subject of a certificate as a name: the whole of it, in one way to write it.
//!
//! **Promises.** Two subjects are the same when they have the same attributes with the same values in the same order, letter by
//! letter; how the letters are encoded (`PrintableString` or `UTF8String`) makes no difference. What could be read in two ways
//! is no name: an RDN of several attributes, an encoding that is neither of the two or `IA5String`, a control character, a value
//! that is empty. There is no part of a subject that stands for it: an authority gives one common name to many.

use std::fmt::Write as _;

/// The attribute types that have a name (RFC 4514, section 3, and `emailAddress`, which authorities still use).
const NAMED: [(&str, &[u8]); 10] = [
    ("CN", &[0x55, 4, 3]),
    ("L", &[0x55, 4, 7]),
    ("ST", &[0x55, 4, 8]),
    ("O", &[0x55, 4, 10]),
    ("OU", &[0x55, 4, 11]),
    ("C", &[0x55, 4, 6]),
    ("STREET", &[0x55, 4, 9]),
    ("DC", &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25]),
    ("UID", &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1]),
    ("EMAILADDRESS", &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1]),
];

/// Most attributes of a subject that is a name.
const MOST: usize = 32;

/// Longest value, in bytes.
const LONGEST: usize = 1_024;

/// Reads a subject as RFC 4514 writes it, the most particular attribute first: `CN=claims,OU=apps,O=Corp`. It is given back in the
/// one way to write it.
///
/// `None` for a type that is not one of [`NAMED`], several attributes in one RDN, a value in hex (`#…`) and whatever RFC 4514
/// wants escaped and is not.
pub(super) fn parse(text: &str) -> Option<Box<str>> {
    let mut attributes = Vec::new();
    let mut rest = text.trim_matches(' ');
    loop {
        let (kind, after) = rest.split_once('=')?;
        let kind = kind.trim_matches(' ');
        let (kind, _) = NAMED.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(kind))?;
        let (value, after) = value(after.trim_start_matches(' '))?;
        attributes.push((kind, value));
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return after.is_empty().then(|| written(&attributes)).flatten(),
        }
    }
}

/// One value and what follows it: nothing, or a comma.
fn value(text: &str) -> Option<(String, &str)> {
    let mut value = Vec::new();
    // Spaces at the end belong to it only where they are escaped.
    let mut kept = 0;
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            ',' => return finished(value, kept).map(|value| (value, text.get(at..).unwrap_or_default())),
            '\\' => {
                let (_, next) = letters.next()?;
                if let Some(high) = next.to_digit(16) {
                    let (_, low) = letters.next()?;
                    value.push(u8::try_from(high * 16 + low.to_digit(16)?).ok()?);
                } else if " \"#+,;<=>\\".contains(next) {
                    value.extend(next.to_string().bytes());
                } else {
                    return None;
                }
                kept = value.len();
            }
            '"' | '+' | ';' | '<' | '>' => return None,
            '#' if value.is_empty() => return None,
            ' ' => value.push(b' '),
            letter => {
                value.extend(letter.to_string().bytes());
                kept = value.len();
            }
        }
    }
    finished(value, kept).map(|value| (value, ""))
}

fn finished(mut value: Vec<u8>, kept: usize) -> Option<String> {
    value.truncate(kept);
    String::from_utf8(value).ok()
}

/// Reads the subject of a certificate: the content of its `Name` (RFC 5280, section 4.1.2.4), whose order is the other way about.
pub(super) fn read(name: &[u8]) -> Option<Box<str>> {
    let mut attributes = Vec::new();
    let mut sets = Der(name);
    while !sets.0.is_empty() {
        let mut set = Der(sets.take(SET)?);
        let mut attribute = Der(set.take(SEQUENCE)?);
        let id = attribute.take(OBJECT_ID)?;
        let (kind, _) = NAMED.into_iter().find(|(_, known)| *known == id)?;
        let (tag, value) = attribute.next()?;
        // Two attributes in one RDN have no order; something behind the value is no attribute.
        if !set.0.is_empty() || !attribute.0.is_empty() {
            return None;
        }
        let value = match tag {
            UTF8_STRING => std::str::from_utf8(value).ok()?,
            PRINTABLE_STRING => std::str::from_utf8(value).ok().filter(|value| value.bytes().all(is_printable))?,
            IA5_STRING => std::str::from_utf8(value).ok().filter(|value| value.is_ascii())?,
            _ => return None,
        };
        attributes.push((kind, value.to_owned()));
    }
    attributes.reverse();
    written(&attributes)
}

/// The letters of a `PrintableString` (X.680, section 41.4).
fn is_printable(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte)
}

/// The one way to write it: what is no letter, digit or `.-_@ ` in the middle stands as `\` and two hex digits for each byte, so
/// that no value can look like two attributes.
fn written(attributes: &[(&str, String)]) -> Option<Box<str>> {
    if attributes.is_empty() || attributes.len() > MOST {
        return None;
    }
    let mut text = String::new();
    for (kind, value) in attributes {
        if value.is_empty() || value.len() > LONGEST || value.chars().any(char::is_control) {
            return None;
        }
        let separator = if text.is_empty() { "" } else { "," };
        let _ = write!(text, "{separator}{kind}=");
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b".-_@ ".contains(&byte) {
                text.push(char::from(byte));
            } else {
                let _ = write!(text, "\\{byte:02x}");
            }
        }
    }
    Some(text.into())
}

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_ID: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;

/// Reads DER elements one after the other, and nothing that has a shorter way to be written.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81 => {
                let (&length, rest) = rest.split_first()?;
                (usize::from(length).checked_sub(0x80)? + 0x80, rest)
            }
            0x82 => {
                let (length, rest) = rest.split_first_chunk::<2>()?;
                let length = usize::from(u16::from_be_bytes(*length));
                (length.checked_sub(0x100)? + 0x100, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut der = vec![tag];
        match u8::try_from(content.len()).expect("short") {
            length @ 0..=0x7f => der.push(length),
            length => der.extend([0x81, length]),
        }
        der.extend_from_slice(content);
        der
    }

    fn attribute(kind: &str, tag: u8, value: &[u8]) -> Vec<u8> {
        let (_, id) = NAMED.into_iter().find(|(name, _)| *name == kind).expect("a known type");
        element(SEQUENCE, &[element(OBJECT_ID, id), element(tag, value)].concat())
    }

    /// In the order of a certificate: the country first.
    fn name(attributes: &[(&str, u8, &[u8])]) -> Vec<u8> {
        let sets = attributes.iter().map(|(kind, tag, value)| element(SET, &attribute(kind, *tag, value)));
        sets.collect::<Vec<_>>().concat()
    }

    #[test]
    fn a_certificate_s_subject_is_what_rfc_4514_writes_of_it_whatever_its_strings_are() {
        let written = parse("CN=claims,OU=Apps,O=Müller \\& Söhne".replace("\\&", "and").as_str());
        let with = |tag| {
            name(&[("O", UTF8_STRING, "Müller and Söhne".as_bytes()), ("OU", tag, b"Apps"), ("CN", tag, b"claims")])
        };

        assert!(written.is_some());
        for tag in [UTF8_STRING, PRINTABLE_STRING, IA5_STRING] {
            assert_eq!(read(&with(tag)), written, "{tag:x}");
        }
    }

    #[test]
    fn a_subject_is_compared_whole_in_order_and_letter_by_letter() {
        let wanted = parse("CN=claims,OU=Apps,O=Corp").expect("it is a name");
        let subject = |attributes: &[(&str, &str)]| {
            let all: Vec<_> = attributes.iter().map(|(kind, value)| (*kind, UTF8_STRING, value.as_bytes())).collect();
            read(&name(&all))
        };
        assert_eq!(subject(&[("O", "Corp"), ("OU", "Apps"), ("CN", "claims")]).as_ref(), Some(&wanted));

        for other in [
            &[("CN", "claims")][..],
            &[("O", "Corp"), ("CN", "claims")],
            &[("OU", "Apps"), ("O", "Corp"), ("CN", "claims")],
            &[("CN", "claims"), ("OU", "Apps"), ("O", "Corp")],
            &[("C", "DE"), ("O", "Corp"), ("OU", "Apps"), ("CN", "claims")],
            &[("O", "Corp"), ("OU", "Apps"), ("CN", "claims"), ("CN", "claims")],
            &[("O", "Corp"), ("OU", "Apps"), ("CN", "Claims")],
            &[("O", "Corp"), ("OU", "Apps"), ("CN", "claims ")],
            &[("O", "Corp"), ("OU", "Apps"), ("UID", "claims")],
            // A Cyrillic letter that looks like its Latin sister.
            &[("O", "Corp"), ("OU", "Apps"), ("CN", "clаims")],
        ] {
            assert_ne!(subject(other).as_ref(), Some(&wanted), "{other:?}");
        }
    }

    #[test]
    fn a_comma_in_a_common_name_is_no_attribute() {
        let forged = read(&name(&[("CN", UTF8_STRING, b"claims,OU=Apps,O=Corp")]));

        assert!(forged.is_some());
        assert_ne!(forged, parse("CN=claims,OU=Apps,O=Corp"));
        assert_eq!(forged, parse("CN=claims\\,OU\\=Apps\\,O\\=Corp"));
        assert_eq!(forged, parse("CN=claims\\2cOU\\3dApps\\2cO\\3dCorp"));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_no_name() {
        const BMP_STRING: u8 = 0x1e;
        const TELETEX_STRING: u8 = 0x14;
        let cn = |tag, value: &[u8]| read(&name(&[("CN", tag, value)]));
        assert!(cn(UTF8_STRING, b"claims").is_some());

        for (tag, value) in [
            (UTF8_STRING, &b"claims\0.evil.example"[..]),
            (UTF8_STRING, b"claims\n"),
            (UTF8_STRING, b"claims\xff"),
            (UTF8_STRING, b""),
            (PRINTABLE_STRING, b"claims*"),
            (PRINTABLE_STRING, b"cl\xc3\xa4ims"),
            (IA5_STRING, b"cl\xe4ims"),
            (BMP_STRING, b"\0c\0l\0a\0i\0m\0s"),
            (TELETEX_STRING, b"claims"),
        ] {
            assert_eq!(cn(tag, value), None, "{tag:x} {value:?}");
        }
        let two = element(SET, &[attribute("CN", UTF8_STRING, b"a"), attribute("OU", UTF8_STRING, b"b")].concat());
        assert_eq!(read(&two), None, "an RDN of two attributes");
        let unknown =
            element(SET, &element(SEQUENCE, &[element(OBJECT_ID, &[0x55, 4, 5]), element(UTF8_STRING, b"7")].concat()));
        assert_eq!(
            read(&[unknown, name(&[("CN", UTF8_STRING, b"claims")])].concat()),
            None,
            "an attribute that is not known"
        );
        assert_eq!(read(&[]), None, "no subject");
    }

    #[test]
    fn a_subject_cut_or_changed_anywhere_is_another_or_none() {
        let whole = name(&[("O", UTF8_STRING, b"Corp"), ("CN", PRINTABLE_STRING, b"claims")]);
        let wanted = read(&whole);

        for at in 0..whole.len() {
            assert_ne!(read(&whole[..at]), wanted, "cut at {at}");
            let mut changed = whole.clone();
            changed[at] ^= 0x20;
            assert_ne!(read(&changed), wanted, "changed at {at}");
        }
        let mut longer = vec![0x31, 0x81, u8::try_from(whole.len()).expect("short")];
        longer.extend_from_slice(&whole);
        assert_eq!(read(&longer), None, "a length with a shorter way to be written");
    }

    #[test]
    fn what_is_written_in_another_way_is_read_or_refused_and_never_guessed() {
        let same = parse("CN=claims,O=Corp and Sons");
        assert!(same.is_some());
        for way in [" cn = claims , o = Corp and Sons ", "CN=cl\\61ims,O=Corp and Sons", "CN=claims,O=Corp\\20and Sons"]
        {
            assert_eq!(parse(way), same, "{way}");
        }
        assert_ne!(parse("CN=claims,O=Corp and Sons\\ "), same, "a space that is escaped belongs to the value");
        for wrong in [
            "",
            "claims",
            "CN",
            "CN=",
            "CN=claims,",
            ",CN=claims",
            "CN=claims+OU=Apps",
            "CN=#0c06",
            "CN=\"claims\"",
            "CN=claims;O=Corp",
            "CN=claims\\",
            "CN=claims\\6",
            "CN=claims\\x",
            "CN=a<b",
            "2.5.4.3=claims",
            "XX=claims",
            "CN=a\\00b",
            "CN=\\ff",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
