//! The files and variables that a document names: certificates, private keys and credentials.
//!
//! No message here holds what stands in them, nor the name of a variable or file for a credential: somebody may have
//! written the credential itself where its place belongs.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};

use super::super::compile::{Secret, Secrets};
use super::super::mistakes::MistakeKind;
use super::super::report::quote;
use super::super::tree::{Cursor, Mark};
use super::Check;

/// Largest file of certificates or keys that is read, in bytes.
const MAX_BYTES: u64 = 4 * 1024 * 1024;
/// Longest credential, in bytes: what fits into a header.
const MAX_SECRET_BYTES: usize = 8 * 1024;

/// A setting that names a file: where it stands, what it is called, what it says.
pub(super) type Named<'n> = (Cursor<'n>, &'n str, &'n str);

impl Check<'_> {
    /// A path of the document, absolute: relative ones start at the file that names them.
    pub(super) fn path(&self, mark: Mark, text: &str) -> PathBuf {
        let base = self.sources.files.get(mark.file).map(|file| file.base.as_path());
        base.unwrap_or(Path::new("")).join(text)
    }

    pub(super) fn material(&mut self, mark: Mark, message: impl Into<String>) {
        self.report.mistake(MistakeKind::Material, mark, message);
    }

    pub(super) fn read_file(&mut self, (at, setting, text): Named<'_>) -> Option<(PathBuf, Vec<u8>)> {
        let path = self.path(at.mark(), text);
        self.report.material.note(&path);
        match read_bounded(&path) {
            Ok(bytes) => Some((path, bytes)),
            Err(error) => {
                self.material(at.mark(), format!("`{setting}`: {} cannot be read: {error}", quote(text)));
                None
            }
        }
    }

    fn certificates(&mut self, named: Named<'_>) -> Option<(PathBuf, Vec<CertificateDer<'static>>)> {
        let (at, setting, text) = named;
        let (path, bytes) = self.read_file(named)?;
        match CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>() {
            Ok(certificates) if !certificates.is_empty() => Some((path, certificates)),
            _ => {
                self.material(at.mark(), format!("`{setting}`: {} holds no certificate in PEM form", quote(text)));
                None
            }
        }
    }

    /// Certificates of issuers: each must be usable as a trust root.
    pub(super) fn authorities(&mut self, at: Cursor<'_>, setting: &str, text: &str) -> Option<PathBuf> {
        let (path, certificates) = self.certificates((at, setting, text))?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            if roots.add(certificate).is_err() {
                let message = format!("`{setting}`: {} holds a certificate that cannot be a trust root", quote(text));
                self.material(at.mark(), message);
                return None;
            }
        }
        Some(path)
    }

    /// Revocation lists of issuers.
    pub(super) fn revocations(&mut self, at: Cursor<'_>, setting: &str, text: &str) -> Option<PathBuf> {
        let (path, bytes) = self.read_file((at, setting, text))?;
        match CertificateRevocationListDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>() {
            Ok(lists) if !lists.is_empty() => Some(path),
            _ => {
                self.material(at.mark(), format!("`{setting}`: {} holds no revocation list in PEM form", quote(text)));
                None
            }
        }
    }

    /// A certificate with its private key; they must fit together.
    pub(super) fn identity(&mut self, certificate: Named<'_>, key: Named<'_>) -> (Option<PathBuf>, Option<PathBuf>) {
        let chain = self.certificates(certificate);
        let (at, setting, text) = key;
        if self.secrets != Secrets::Read {
            return (chain.map(|(path, _)| path), Some(self.path(at.mark(), text)));
        }
        let Some((key_path, bytes)) = self.read_file(key) else {
            return (chain.map(|(path, _)| path), None);
        };
        self.readable_by_others(at.mark(), setting, &key_path);
        let Ok(private_key) = PrivateKeyDer::from_pem_slice(&bytes) else {
            self.material(at.mark(), format!("`{setting}`: {} holds no private key in PEM form", quote(text)));
            return (chain.map(|(path, _)| path), None);
        };
        let Some((chain_path, chain)) = chain else { return (None, Some(key_path)) };
        match CertifiedKey::from_der(chain, private_key, &default_provider()) {
            Ok(_) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                let message = format!("`{setting}`: {} is not the key of {}", quote(text), quote(certificate.2));
                self.material(at.mark(), message);
            }
            Err(error) => {
                self.material(at.mark(), format!("`{setting}`: {} cannot be used: {error}", quote(text)));
            }
        }
        (Some(chain_path), Some(key_path))
    }

    pub(super) fn readable_by_others(&mut self, mark: Mark, setting: &str, path: &Path) {
        let mode = std::fs::metadata(path).map(|metadata| metadata.permissions().mode());
        if mode.is_ok_and(|mode| mode & 0o004 != 0) {
            self.warn(
                mark,
                format!("`{setting}`: every user of this machine can read the file"),
                "run `chmod o-r` on it",
            );
        }
    }

    /// A credential goes into a header: what a header cannot carry is found here and not at the first request.
    pub(super) fn secret(&mut self, mark: Mark, setting: &str, text: &str) -> Option<Secret> {
        let fault = if text.is_empty() {
            "is empty"
        } else if text.len() > MAX_SECRET_BYTES {
            "is longer than any credential"
        } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            "holds a space, a line end or another character that no credential has"
        } else {
            return Some(Secret::new(text.to_owned()));
        };
        self.material(mark, format!("`{setting}`: the key {fault}"));
        None
    }
}

pub(super) fn read_bounded(path: &Path) -> Result<Vec<u8>, std::io::Error> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(std::io::Error::other("it is larger than 4 MiB"));
    }
    Ok(bytes)
}
