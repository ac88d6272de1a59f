//! Signed notes (C2SP signed-note) with Ed25519 keys: what a checkpoint is signed and checked with.
//!
//! Written here on aws-lc-rs because the crates for it bring a second provider of cryptography; both directions are
//! tested against the notes that the format's reference implementation publishes.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::tree::sha256;

/// The signature type of plain Ed25519 keys.
const ED25519_TYPE: u8 = 1;

/// Most signatures that are looked at in one note.
const MOST_SIGNATURES: usize = 100;

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not {0}")]
pub struct KeyError(&'static str);

/// A public key, written as `NAME+ID+KEY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    key: [u8; 32],
}

impl VerifierKey {
    /// Reads `NAME+ID+KEY`.
    ///
    /// # Errors
    /// [`KeyError`] where it is something else, or the id does not belong to the key.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let wrong = KeyError("a public key in the form NAME+ID+KEY with an Ed25519 key");
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else { return Err(wrong) };
        let key = decode::<33>(key).and_then(|key| key.strip_prefix(&[ED25519_TYPE])?.try_into().ok());
        let Some(key) = key.filter(|_| is_name(name)) else { return Err(wrong) };
        let key = Self::new(name, key);
        if super::tree::hex(&key.id) != id { Err(wrong) } else { Ok(key) }
    }

    fn new(name: &str, key: [u8; 32]) -> Self {
        let hash = sha256(&[name.as_bytes(), b"\n", &[ED25519_TYPE], &key].concat());
        let [a, b, c, d, ..] = hash;
        Self { name: name.to_owned(), id: [a, b, c, d], key }
    }

    /// Who signs with it: the origin of a log.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = STANDARD.encode([&[ED25519_TYPE], &self.key[..]].concat());
        write!(formatter, "{}+{}+{key}", self.name, super::tree::hex(&self.id))
    }
}

/// A private key, written as `PRIVATE+KEY+NAME+ID+SEED`.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: VerifierKey,
}

impl SigningKey {
    /// Makes a key from 32 random bytes; `None` where `name` cannot be the name of a key.
    pub fn new(name: &str, seed: &[u8; 32]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok().filter(|_| is_name(name))?;
        let key = pair.public_key().as_ref().try_into().ok()?;
        Some(Self { public: VerifierKey::new(name, key), pair })
    }

    /// Reads `PRIVATE+KEY+NAME+ID+SEED`. No part of the text is repeated in the error.
    ///
    /// # Errors
    /// [`KeyError`] where it is something else, or the id does not belong to the key.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let wrong = KeyError("a private key in the form PRIVATE+KEY+NAME+ID+SEED with an Ed25519 key");
        let parts: Vec<&str> = text.trim().splitn(5, '+').collect();
        let ["PRIVATE", "KEY", name, id, seed] = parts[..] else { return Err(wrong) };
        let seed = decode::<33>(seed).and_then(|seed| seed.strip_prefix(&[ED25519_TYPE])?.try_into().ok());
        let key = seed.and_then(|seed| Self::new(name, &seed)).ok_or(wrong)?;
        match super::tree::hex(&key.public.id) == id {
            true => Ok(key),
            false => Err(KeyError("a private key whose id belongs to it")),
        }
    }

    /// The text that [`Self::parse`] reads, from the seed that the key was made of.
    pub fn text(name: &str, seed: &[u8; 32]) -> Option<String> {
        let id = super::tree::hex(&Self::new(name, seed)?.public.id);
        Some(format!("PRIVATE+KEY+{name}+{id}+{}", STANDARD.encode([&[ED25519_TYPE], &seed[..]].concat())))
    }

    /// Its public half.
    pub fn public(&self) -> &VerifierKey {
        &self.public
    }

    fn signature_line(&self, text: &str) -> String {
        let signature = self.pair.sign(text.as_bytes());
        let blob = STANDARD.encode([&self.public.id[..], signature.as_ref()].concat());
        format!("— {} {blob}\n", self.public.name)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

/// The note of `text`, which ends with a line feed, signed by each of `keys`.
pub fn sign<'k>(text: &str, keys: impl IntoIterator<Item = &'k SigningKey>) -> String {
    let lines: String = keys.into_iter().map(|key| key.signature_line(text)).collect();
    format!("{text}\n{lines}")
}

/// Why a note does not hold.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum NoteError {
    /// It is no note at all.
    #[error("it is not a signed note")]
    Form,
    /// No key that is trusted has signed it.
    #[error("it is signed by none of the given keys")]
    Unknown,
    /// A key that is trusted is named, and its signature does not belong to the text.
    #[error("the signature of `{0}` does not belong to the text")]
    Signature(String),
}

/// The text of a note that one of `keys` has signed.
///
/// # Errors
/// [`NoteError`] says why it does not hold.
pub fn open<'a>(note: &'a str, keys: &[VerifierKey]) -> Result<&'a str, NoteError> {
    let (text, signatures) = split(note).ok_or(NoteError::Form)?;
    let lines: Vec<&str> = signatures.lines().collect();
    if lines.is_empty() || lines.len() > MOST_SIGNATURES || !signatures.ends_with('\n') {
        return Err(NoteError::Form);
    }
    let mut signed = false;
    for line in lines {
        let (name, blob) = line.strip_prefix("— ").and_then(|rest| rest.split_once(' ')).ok_or(NoteError::Form)?;
        let blob = STANDARD.decode(blob).map_err(|_| NoteError::Form)?;
        let (id, signature) = blob.split_first_chunk::<4>().ok_or(NoteError::Form)?;
        let Some(key) = keys.iter().find(|key| key.name == name && key.id == *id) else { continue };
        let sound = UnparsedPublicKey::new(&ED25519, key.key).verify(text.as_bytes(), signature).is_ok();
        if !sound {
            return Err(NoteError::Signature(name.to_owned()));
        }
        signed = true;
    }
    if signed { Ok(text) } else { Err(NoteError::Unknown) }
}

/// The text of a note, with its last line feed, and its signature lines.
fn split(note: &str) -> Option<(&str, &str)> {
    let at = note.rfind("\n\n")?;
    let (text, rest) = note.split_at_checked(at + 1)?;
    let clean = note.bytes().all(|byte| byte == b'\n' || byte >= 0x20);
    clean.then_some((text, rest.strip_prefix('\n')?))
}

/// The text of a note whoever signed it, to say what it claims.
pub(super) fn text_of(note: &str) -> Option<&str> {
    split(note).map(|(text, _)| text)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+' || c.is_control())
}

fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    // What the documentation of the format's reference implementation, golang.org/x/mod/sumdb/note, shows.
    const PRIVATE: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const PUBLIC: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const NOTE: &str = "If you think cryptography is the answer to your problem,\n\
                        then you don't know what your problem is.\n\n\
                        — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    fn text() -> &'static str {
        text_of(NOTE).unwrap()
    }

    #[test]
    fn the_published_key_signs_the_published_text_with_the_published_signature() {
        let key = SigningKey::parse(PRIVATE).unwrap();

        assert_eq!(sign(text(), [&key]), NOTE);
        assert_eq!(key.public().to_string(), PUBLIC);
    }

    #[test]
    fn the_published_note_opens_with_the_published_key() {
        // The example of the C2SP specification itself.
        let specified = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
        let note = "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

        assert_eq!(open(NOTE, &[VerifierKey::parse(PUBLIC).unwrap()]), Ok(text()));
        assert_eq!(open(note, &[VerifierKey::parse(specified).unwrap()]), Ok("This is an example message.\n"));
    }

    #[test]
    fn a_note_with_one_byte_changed_does_not_open() {
        let keys = [VerifierKey::parse(PUBLIC).unwrap()];

        for at in 0..NOTE.len() {
            let mut bytes = NOTE.as_bytes().to_vec();
            bytes[at] ^= 1;
            if let Ok(changed) = String::from_utf8(bytes) {
                assert!(open(&changed, &keys).is_err(), "byte {at}: {changed}");
            }
        }
        assert!(open(text(), &keys).is_err());
        assert_eq!(open(NOTE, &[]), Err(NoteError::Unknown));
    }

    #[test]
    fn a_key_is_read_back_as_it_was_written_and_a_wrong_id_is_refused() {
        let text = SigningKey::text("gw-1", &[7; 32]).unwrap();
        let key = SigningKey::parse(&text).unwrap();

        assert_eq!(&VerifierKey::parse(&key.public().to_string()).unwrap(), key.public());
        assert!(!format!("{key:?}").contains(text.rsplit('+').next().unwrap()));
        for wrong in ["", "gw-1", "gw 1+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"] {
            assert!(VerifierKey::parse(wrong).is_err(), "{wrong}");
        }
        assert!(VerifierKey::parse(&PUBLIC.replace("c74f20a3", "c74f20a4")).is_err());
        assert!(SigningKey::parse(&PRIVATE.replace("c74f20a3", "c74f20a4")).is_err());
        assert!(SigningKey::new("a b", &[7; 32]).is_none());
    }
}
