//! The format of `age` (age-encryption.org/v1) for X25519 recipients, the sealing half: what `age --decrypt` opens.
//!
//! A file key is wrapped for each recipient by X25519, HKDF-SHA256 and ChaCha20-Poly1305; the payload goes in pieces of 64 KiB
//! under a key of its own. The primitives are aws-lc-rs's.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// Bytes of plaintext in a piece.
const PIECE: usize = 64 * 1024;

/// Bytes that a piece grows by.
const TAG: usize = 16;

/// A public key that can open what is sealed for it: `age1…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipient([u8; 32]);

/// It is no public key of `age`.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("no public key of `age` for X25519, which begins with `age1` and has 62 characters")]
pub struct NoRecipient;

impl Recipient {
    /// Reads what `age-keygen` prints as the public key.
    ///
    /// # Errors
    /// [`NoRecipient`], also when a character was mistyped: the text has a checksum.
    pub fn parse(text: &str) -> Result<Self, NoRecipient> {
        bech32("age", text).and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(NoRecipient)
    }
}

/// `plain`, readable by each of `recipients` alone.
pub(super) fn seal(plain: &[u8], recipients: &[Recipient]) -> Result<Vec<u8>, Unspecified> {
    let random = SystemRandom::new();
    let fresh = || -> Result<[u8; 16], Unspecified> {
        let mut bytes = [0; 16];
        aws_lc_rs::rand::SecureRandom::fill(&random, &mut bytes)?;
        Ok(bytes)
    };
    let file_key = fresh()?;
    let mut sealed = b"age-encryption.org/v1\n".to_vec();
    for recipient in recipients {
        sealed.extend_from_slice(stanza(&file_key, recipient, &random)?.as_bytes());
    }
    sealed.extend_from_slice(b"---");
    let key = hmac::Key::new(hmac::HMAC_SHA256, &derived(&file_key, &[], b"header")?);
    let line = format!(" {}\n", STANDARD_NO_PAD.encode(hmac::sign(&key, &sealed)));
    sealed.extend_from_slice(line.as_bytes());

    let nonce = fresh()?;
    sealed.extend_from_slice(&nonce);
    let key = key_of(&derived(&file_key, &nonce, b"payload")?)?;
    sealed.reserve(plain.len() + (plain.len() / PIECE + 1) * TAG);
    let mut pieces = plain.chunks(PIECE).peekable();
    let mut number = 0_u64;
    loop {
        // An empty text is one empty piece; a whole last one is followed by none.
        let piece = pieces.next().unwrap_or_default();
        let is_last = pieces.peek().is_none();
        let from = sealed.len();
        sealed.extend_from_slice(piece);
        let tag = key.seal_in_place_separate_tag(
            nonce_of(number, is_last),
            Aad::empty(),
            sealed.get_mut(from..).unwrap_or_default(),
        )?;
        sealed.extend_from_slice(tag.as_ref());
        if is_last {
            return Ok(sealed);
        }
        number += 1;
    }
}

/// The lines by which one recipient finds the file key.
fn stanza(file_key: &[u8; 16], recipient: &Recipient, random: &SystemRandom) -> Result<String, Unspecified> {
    let own = EphemeralPrivateKey::generate(&X25519, random)?;
    let share = own.compute_public_key()?;
    let salt = [share.as_ref(), recipient.0.as_slice()].concat();
    let peer = UnparsedPublicKey::new(&X25519, recipient.0);
    // A share of zeros, which a key of low order leads to, is an error here.
    let wrapping =
        agree_ephemeral(own, peer, Unspecified, |shared| derived(shared, &salt, b"age-encryption.org/v1/X25519"))?;
    let mut body = file_key.to_vec();
    key_of(&wrapping)?.seal_in_place_append_tag(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut body)?;
    Ok(format!("-> X25519 {}\n{}\n", STANDARD_NO_PAD.encode(share), STANDARD_NO_PAD.encode(body)))
}

fn key_of(bytes: &[u8; 32]) -> Result<LessSafeKey, Unspecified> {
    Ok(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, bytes)?))
}

fn derived(secret: &[u8], salt: &[u8], info: &[u8]) -> Result<[u8; 32], Unspecified> {
    let mut key = [0; 32];
    Salt::new(HKDF_SHA256, salt).extract(secret).expand(&[info], HKDF_SHA256)?.fill(&mut key)?;
    Ok(key)
}

/// Eleven bytes that count, and one that says whether more comes.
fn nonce_of(number: u64, is_last: bool) -> Nonce {
    let mut nonce = [0; 12];
    if let Some(counter) = nonce.get_mut(3..11) {
        counter.copy_from_slice(&number.to_be_bytes());
    }
    if let Some(last) = nonce.last_mut() {
        *last = u8::from(is_last);
    }
    Nonce::assume_unique_for_key(nonce)
}

/// The bytes in a text of Bech32 (BIP 173) with this prefix, without its bound of 90 characters.
fn bech32(prefix: &str, text: &str) -> Option<Vec<u8>> {
    const LETTERS: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    let data = text.strip_prefix(prefix)?.strip_prefix('1')?;
    let value = |letter: u8| LETTERS.iter().position(|known| *known == letter).map(|at| at as u8);
    let values: Vec<u8> = data.bytes().map(value).collect::<Option<_>>()?;
    let high = prefix.bytes().map(|letter| letter >> 5);
    let low = prefix.bytes().map(|letter| letter & 31);
    let all = high.chain([0]).chain(low).chain(values.iter().copied());
    if all.fold(1, checked) != 1 {
        return None;
    }
    let (data, _checksum) = values.split_at_checked(values.len().checked_sub(6)?)?;
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0_u32, 0_u32);
    for value in data {
        held = ((held << 5) | u32::from(*value)) & 0xfff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(((held >> bits) & 0xff) as u8);
        }
    }
    // What is left over is less than a letter, and zero.
    (bits < 5 && held & ((1 << bits) - 1) == 0).then_some(bytes)
}

/// One step of the checksum of BIP 173.
fn checked(sum: u32, value: u8) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let top = sum >> 25;
    let next = ((sum & 0x01ff_ffff) << 5) ^ u32::from(value);
    (0..5).zip(GENERATOR).filter(|(bit, _)| (top >> bit) & 1 == 1).fold(next, |sum, (_, part)| sum ^ part)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification.
    const EXAMPLE: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";

    #[test]
    fn a_public_key_is_read_and_one_with_a_slip_is_not() {
        assert!(Recipient::parse(EXAMPLE).is_ok());
        for at in 0..EXAMPLE.len() {
            let mut text = EXAMPLE.as_bytes().to_vec();
            text[at] = if text[at] == b'q' { b'p' } else { b'q' };
            assert_eq!(Recipient::parse(&String::from_utf8(text).unwrap()), Err(NoRecipient), "at {at}");
        }
        let cut = EXAMPLE.get(..EXAMPLE.len() - 1).expect("it is ASCII");
        let secret = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
        for wrong in ["", "age1", cut, &EXAMPLE.to_uppercase(), secret] {
            assert_eq!(Recipient::parse(wrong), Err(NoRecipient), "{wrong}");
        }
    }

    #[test]
    fn what_is_sealed_holds_nothing_of_the_text_and_is_another_each_time() {
        let recipient = Recipient::parse(EXAMPLE).unwrap();
        let text = b"the text of a prompt that nobody may read".repeat(5_000);

        let (one, other) = (seal(&text, &[recipient]).unwrap(), seal(&text, &[recipient]).unwrap());

        assert!(one.starts_with(b"age-encryption.org/v1\n-> X25519 ") && one != other);
        assert!(!one.windows(16).any(|window| window == b"the text of a pr"));
        // 205,000 bytes are four pieces.
        assert_eq!(
            seal(&text, &[recipient]).unwrap().len() - seal(&[], &[recipient]).unwrap().len(),
            text.len() + 3 * TAG
        );
    }

    #[test]
    fn the_pieces_have_the_nonces_of_the_specification() {
        let bytes = |number, is_last| *nonce_of(number, is_last).as_ref();

        assert_eq!(bytes(0, false), [0; 12]);
        assert_eq!(bytes(258, true), [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 1]);
    }
}
