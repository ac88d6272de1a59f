//! Keyed pseudonyms: a person's identifier becomes a name that whoever holds the key can find again, and nobody else.
//!
//! A plain hash of an identifier can be found by trying all identifiers there are; this is an HMAC, which takes the key.
//! Destroying the key makes every pseudonym of it a name without a person. A pseudonym holds the id of its key, so that one
//! made before a change of keys is told from one made after it.

use std::fmt::{self, Write as _};

use aws_lc_rs::digest;
use aws_lc_rs::hmac;

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// Bytes of a pseudonym: 128 bits do not meet by chance.
const PSEUDONYM_BYTES: usize = 16;

/// What stands before the digits of a key.
const PREFIX: &str = "PSEUDONYM+KEY+";

/// A text is no key of pseudonyms. It is not repeated here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key of pseudonyms: {PREFIX} and 64 lower-case hex digits; `causeway keys pseudonym` makes one")]
pub struct NoPseudonymKey;

/// Makes pseudonyms. It is shown by no `Debug`.
pub struct PseudonymKey {
    key: hmac::Key,
    id: [u8; 4],
}

/// What a pseudonym is for. The same identifier has another pseudonym in each, so that none can be joined with the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Realm {
    /// The audit log.
    Audit,
    /// What a provider is shown in place of the identifier.
    Provider,
}

impl Realm {
    const fn name(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Provider => "provider",
        }
    }
}

impl PseudonymKey {
    /// The text of a key, from 32 bytes of the system's randomness.
    #[must_use]
    pub fn text(random: &[u8; KEY_BYTES]) -> String {
        format!("{PREFIX}{}", hex(random))
    }

    /// Reads what [`Self::text`] wrote; spaces and line ends around it do not matter.
    ///
    /// # Errors
    /// [`NoPseudonymKey`].
    pub fn parse(text: &str) -> Result<Self, NoPseudonymKey> {
        let digits = text.trim().strip_prefix(PREFIX).ok_or(NoPseudonymKey)?;
        let bytes: [u8; KEY_BYTES] = unhex(digits).ok_or(NoPseudonymKey)?;
        let named = digest::digest(&digest::SHA256, &[b"causeway pseudonym key\n", &bytes[..]].concat());
        let id = named.as_ref().first_chunk().copied().ok_or(NoPseudonymKey)?;
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, &bytes), id })
    }

    /// The first eight hex digits of a hash of the key: names it and gives nothing of it away.
    #[must_use]
    pub fn id(&self) -> String {
        hex(&self.id)
    }

    /// The pseudonym of `identifier` among the users of `app`: `p1:`, the key's id, `:`, 32 hex digits.
    ///
    /// It depends on the app, because two apps may mean two people by one identifier.
    #[must_use]
    pub fn pseudonym(&self, realm: Realm, app: &str, identifier: &str) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        // Each part behind its length: no two triples have the same bytes.
        for part in [realm.name(), app, identifier] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let tag = context.sign();
        format!("p1:{}:{}", self.id(), hex(tag.as_ref().get(..PSEUDONYM_BYTES).unwrap_or_default()))
    }
}

impl fmt::Debug for PseudonymKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PseudonymKey").field("id", &self.id()).finish_non_exhaustive()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(digits: &str) -> Option<[u8; KEY_BYTES]> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let bytes: Option<Vec<u8>> = pairs.iter().map(|[high, low]| Some(value(*high)? << 4 | value(*low)?)).collect();
    bytes?.try_into().ok().filter(|_| rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> PseudonymKey {
        PseudonymKey::parse(&PseudonymKey::text(&[byte; KEY_BYTES])).unwrap()
    }

    #[test]
    fn the_same_person_has_one_pseudonym_and_another_in_each_realm_app_and_key() {
        let first = key(1).pseudonym(Realm::Audit, "claims", "erika@example.org");

        assert_eq!(first, key(1).pseudonym(Realm::Audit, "claims", "erika@example.org"));
        for other in [
            key(1).pseudonym(Realm::Provider, "claims", "erika@example.org"),
            key(1).pseudonym(Realm::Audit, "search", "erika@example.org"),
            key(1).pseudonym(Realm::Audit, "claimse", "rika@example.org"),
            key(1).pseudonym(Realm::Audit, "claims", "erika@example.com"),
            key(2).pseudonym(Realm::Audit, "claims", "erika@example.org"),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn a_pseudonym_names_its_key_and_holds_nothing_of_the_identifier() {
        let key = key(7);

        let pseudonym = key.pseudonym(Realm::Audit, "claims", "erika");

        assert!(pseudonym.starts_with(&format!("p1:{}:", key.id())), "{pseudonym}");
        assert_eq!(pseudonym.len(), "p1:".len() + 8 + 1 + 32);
        assert!(!pseudonym.contains("erika"));
        assert_eq!(format!("{key:?}"), format!("PseudonymKey {{ id: \"{}\", .. }}", key.id()));
    }

    #[test]
    fn a_key_has_one_writing() {
        let text = PseudonymKey::text(&[0xab; KEY_BYTES]);

        assert!(PseudonymKey::parse(&format!(" {text}\n")).is_ok());
        for wrong in [
            text.to_uppercase(),
            text.replace("PSEUDONYM", "PRIVATE"),
            format!("{text}0"),
            format!("{text}00"),
            text.strip_suffix("ab").unwrap_or_default().to_owned(),
            String::new(),
        ] {
            assert_eq!(PseudonymKey::parse(&wrong).err(), Some(NoPseudonymKey));
        }
    }
}
