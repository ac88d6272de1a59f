//! Callers that prove who they are with a client certificate.
//!
//! The handshake has verified the chain against the listener's client CA; here its names are looked up. A certificate
//! whose names belong to no app says nothing: it may have been asked for by the listener alone, and the caller shows a
//! key or a token as well.

use std::collections::HashMap;

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use super::subject;
use super::{AppIndex, AuthError, Identified, KeyIndex, Marks};

/// A name that a client certificate may carry, as the configuration writes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CertificateName {
    /// A URI of the subject's alternative names, for example `spiffe://corp.example/claims`. Compared byte by byte.
    Uri(Box<str>),
    /// A DNS name of the subject's alternative names, written `dns:claims.corp.example`. Compared without case; a
    /// wildcard in a certificate stands for itself, and no app has it.
    Dns(Box<str>),
    /// The whole subject, written `subject:CN=claims,OU=apps,O=Corp` as RFC 4514 has it. Compared attribute by attribute and letter
    /// by letter, in order; the text here is the one way to write it.
    Subject(Box<str>),
}

/// What stands before a subject.
const SUBJECT: &str = "subject:";

impl CertificateName {
    /// The name that `text` writes: a URI with a scheme, `dns:` and a host name, or `subject:` and a whole subject. `None` for
    /// anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(subject) = text.strip_prefix(SUBJECT) {
            return subject::parse(subject).map(Self::Subject);
        }
        if text.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return None;
        }
        if let Some(host) = text.strip_prefix("dns:") {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            let named = !host.is_empty() && host.bytes().all(plain);
            return named.then(|| Self::Dns(host.to_ascii_lowercase().into()));
        }
        let (scheme, rest) = text.split_once("://")?;
        let lettered = scheme.starts_with(|first: char| first.is_ascii_alphabetic());
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        (lettered && scheme.bytes().all(plain) && !rest.is_empty()).then(|| Self::Uri(text.into()))
    }
}

/// A client certificate that the handshake verified, by its names. They are read once for a connection and not for each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownCertificate(Box<[CertificateName]>);

impl ShownCertificate {
    /// Reads the names of a certificate in DER; one that cannot be read names nobody.
    #[must_use]
    pub fn read(certificate: &[u8]) -> Self {
        let der = CertificateDer::from(certificate);
        let Ok(leaf) = EndEntityCert::try_from(&der) else { return Self(Box::default()) };
        let uris = leaf.valid_uri_names().map(|uri| CertificateName::Uri(uri.into()));
        let hosts = leaf.valid_dns_names().map(|host| CertificateName::Dns(host.to_ascii_lowercase().into()));
        let subject = subject::read(leaf.subject()).map(CertificateName::Subject);
        Self(uris.chain(hosts).chain(subject).collect())
    }

    /// A certificate with these names.
    pub(super) fn of(names: impl IntoIterator<Item = CertificateName>) -> Self {
        Self(names.into_iter().collect())
    }

    /// Its names, in the order of the certificate: URIs, then hosts, then the subject.
    #[must_use]
    pub fn names(&self) -> &[CertificateName] {
        &self.0
    }

    #[cfg(test)]
    pub(super) fn naming(names: &[&str]) -> Self {
        Self(names.iter().map(|name| CertificateName::parse(name).expect("a name")).collect())
    }

    /// Whether it bears any of `names`.
    pub(super) fn has_any(&self, names: &[CertificateName]) -> bool {
        self.0.iter().any(|name| names.contains(name))
    }
}

/// The apps that have a name in a client certificate.
#[derive(Debug, Default)]
pub struct Certificates {
    by_name: HashMap<CertificateName, Identified>,
}

impl Certificates {
    /// The look-up. A name that comes twice would not say which app it is; the configuration refuses it, and here the
    /// first one stays.
    #[must_use]
    pub fn new(entries: impl IntoIterator<Item = (CertificateName, AppIndex, KeyIndex)>) -> Self {
        let mut by_name = HashMap::new();
        for (name, app, key) in entries {
            by_name.entry(name).or_insert(Identified { app, key, marks: Marks::NONE, user: None });
        }
        Self { by_name }
    }

    /// Whose names these are, `None` where they are no app's.
    ///
    /// # Errors
    ///
    /// [`AuthError::Conflicting`] when they belong to two apps.
    pub(super) fn identify(&self, names: &[CertificateName]) -> Result<Option<Identified>, AuthError> {
        let mut found: Option<&Identified> = None;
        for name in names {
            let Some(owner) = self.by_name.get(name) else { continue };
            if found.is_some_and(|earlier| earlier != owner) {
                return Err(AuthError::Conflicting);
            }
            found = Some(owner);
        }
        Ok(found.cloned())
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    use super::*;

    fn certificate(names: &[SanType]) -> ShownCertificate {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.to_vec();
        ShownCertificate::read(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der())
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    fn dns(text: &str) -> SanType {
        SanType::DnsName(text.try_into().unwrap())
    }

    fn known() -> Certificates {
        let named = |text: &str, app| (CertificateName::parse(text).unwrap(), AppIndex(app), KeyIndex(app + 10));
        Certificates::new([
            named("spiffe://corp.example/claims", 0),
            named("dns:Search.corp.example", 1),
            named("spiffe://corp.example/search", 1),
        ])
    }

    const CLAIMS: Identified = Identified { app: AppIndex(0), key: KeyIndex(10), marks: Marks::NONE, user: None };
    const SEARCH: Identified = Identified { app: AppIndex(1), key: KeyIndex(11), marks: Marks::NONE, user: None };

    #[test]
    fn an_app_is_found_by_the_uri_or_the_host_name_of_its_certificate() {
        let known = known();

        let by_uri = known.identify(certificate(&[uri("spiffe://corp.example/claims")]).names());
        let by_host = known.identify(certificate(&[dns("SEARCH.corp.example")]).names());

        assert_eq!((by_uri, by_host), (Ok(Some(CLAIMS)), Ok(Some(SEARCH))));
    }

    #[test]
    fn a_name_is_compared_whole() {
        for name in [
            uri("spiffe://corp.example/claims/"),
            uri("spiffe://corp.example/Claims"),
            uri("spiffe://corp.example/claim"),
            dns("corp.example"),
            dns("a.search.corp.example"),
        ] {
            assert_eq!(known().identify(certificate(std::slice::from_ref(&name)).names()), Ok(None), "{name:?}");
        }
    }

    #[test]
    fn a_wildcard_in_a_certificate_is_no_name_of_an_app() {
        assert_eq!(known().identify(certificate(&[dns("*.corp.example")]).names()), Ok(None));
    }

    fn with_subject(attributes: &[(DnType, &str)], names: &[SanType]) -> ShownCertificate {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in attributes {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params.subject_alt_names = names.to_vec();
        ShownCertificate::read(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der())
    }

    #[test]
    fn an_app_is_found_by_the_whole_subject_of_its_certificate_and_by_no_part_of_it() {
        let name = CertificateName::parse("subject:CN=claims,O=Corp").unwrap();
        let known = Certificates::new([(name, AppIndex(0), KeyIndex(10))]);
        let of = |attributes: &[(DnType, &str)]| known.identify(with_subject(attributes, &[]).names());

        assert_eq!(of(&[(DnType::OrganizationName, "Corp"), (DnType::CommonName, "claims")]), Ok(Some(CLAIMS)));
        for other in [
            &[(DnType::CommonName, "claims")][..],
            &[(DnType::CommonName, "claims"), (DnType::OrganizationName, "Corp")],
            &[(DnType::OrganizationName, "Corp"), (DnType::CommonName, "claims2")],
            &[(DnType::CommonName, "claims,O=Corp")],
        ] {
            assert_eq!(of(other), Ok(None), "{other:?}");
        }
    }

    #[test]
    fn a_subject_of_one_app_and_a_uri_of_another_are_refused() {
        let named = |text: &str, app| (CertificateName::parse(text).unwrap(), AppIndex(app), KeyIndex(app + 10));
        let known = Certificates::new([named("subject:CN=claims", 0), named("spiffe://corp.example/search", 1)]);
        let both = with_subject(&[(DnType::CommonName, "claims")], &[uri("spiffe://corp.example/search")]);

        assert_eq!(known.identify(both.names()), Err(AuthError::Conflicting));
    }

    #[test]
    fn a_certificate_of_two_apps_is_refused() {
        let both = certificate(&[uri("spiffe://corp.example/claims"), dns("search.corp.example")]);

        assert_eq!(known().identify(both.names()), Err(AuthError::Conflicting));
    }

    #[test]
    fn what_is_no_certificate_names_nobody() {
        assert_eq!(known().identify(ShownCertificate::read(b"no certificate").names()), Ok(None));
    }

    #[test]
    fn only_a_uri_or_a_host_name_is_a_name() {
        for text in ["", "claims", "dns:", "dns:*.corp.example", "dns:a b", "://claims", "1a://x", "spiffe://", "cn=a"]
        {
            assert_eq!(CertificateName::parse(text), None, "{text}");
        }
    }
}
