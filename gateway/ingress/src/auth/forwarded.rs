//! The client's certificate as a proxy in front saw it: `x-forwarded-client-cert`, in the form that Envoy gave it.
//!
//! Whoever can send the header can be anybody, so it counts only on a connection whose own client certificate, verified in
//! the handshake, bears the name of a listed proxy. From everybody else it is not looked at. The proxy has to set the header and
//! not to append to it (Envoy's `SANITIZE_SET`): one header with one element is an identity, anything else is refused.

use http::{HeaderMap, HeaderName};

use super::{AuthError, CertificateName};

const FORWARDED: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

/// Longest header that is looked at, in bytes.
const LONGEST: usize = 8_192;

/// The names in the forwarded certificate; none where the proxy's caller showed no certificate.
///
/// # Errors
///
/// [`AuthError::Conflicting`] for more than one certificate, [`AuthError::Malformed`] for what is none.
pub(super) fn names(headers: &HeaderMap) -> Result<Vec<CertificateName>, AuthError> {
    let mut values = headers.get_all(FORWARDED).iter();
    let Some(value) = values.next() else { return Ok(Vec::new()) };
    if values.next().is_some() {
        return Err(AuthError::Conflicting);
    }
    let text = value.to_str().ok().filter(|text| text.len() <= LONGEST).ok_or(AuthError::Malformed)?;
    let mut names = Vec::new();
    for Pair { key, value, written } in pairs(text)? {
        let name = match key.to_ascii_lowercase().as_str() {
            // A certificate may bear any URI, also one that looks like a name of another kind.
            "uri" if !value.is_empty() => {
                CertificateName::parse(&value).filter(|name| matches!(name, CertificateName::Uri(_)))
            }
            "dns" => CertificateName::parse(&format!("dns:{value}")),
            "subject" => CertificateName::parse(&format!("subject:{written}")),
            _ => None,
        };
        names.extend(name);
    }
    Ok(names)
}

struct Pair {
    key: String,
    value: String,
    /// The value as it stands there. Envoy puts a subject between quotes as RFC 4514 has escaped it, so that a backslash in it is
    /// one of the subject: whoever took it away would make two attributes of a comma in a common name.
    written: String,
}

/// The `key=value` pairs of the one element. A value may stand in double quotes, in which `\"` is a quote and `,`, `;` and `=`
/// are themselves.
fn pairs(text: &str) -> Result<Vec<Pair>, AuthError> {
    let mut pairs = Vec::new();
    let mut letters = text.chars().peekable();
    loop {
        let mut key = String::new();
        loop {
            match letters.next() {
                Some('=') if !key.is_empty() => break,
                Some(letter) if letter.is_ascii_alphanumeric() => key.push(letter),
                _ => return Err(AuthError::Malformed),
            }
        }
        let (mut value, mut written) = (String::new(), String::new());
        if letters.next_if_eq(&'"').is_some() {
            loop {
                match letters.next().ok_or(AuthError::Malformed)? {
                    '"' => break,
                    '\\' => {
                        let escaped = letters.next().ok_or(AuthError::Malformed)?;
                        value.push(escaped);
                        written.extend(['\\', escaped]);
                    }
                    letter => {
                        value.push(letter);
                        written.push(letter);
                    }
                }
            }
        } else {
            while let Some(letter) = letters.next_if(|letter| !matches!(letter, ';' | ',' | '"')) {
                value.push(letter);
            }
            written.clone_from(&value);
        }
        pairs.push(Pair { key, value, written });
        match letters.next() {
            None => return Ok(pairs),
            Some(';') => {}
            // A second certificate: whose is the request then?
            Some(',') => return Err(AuthError::Conflicting),
            Some(_) => return Err(AuthError::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(values: &[&str]) -> Result<Vec<CertificateName>, AuthError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(FORWARDED, HeaderValue::from_str(value).unwrap());
        }
        names(&headers)
    }

    fn name(text: &str) -> CertificateName {
        CertificateName::parse(text).unwrap()
    }

    #[test]
    fn the_names_are_read_as_envoy_writes_them() {
        let whole = "By=spiffe://corp.example/gateway;Hash=468ed33be74eee6556d90c0149c1309e9ba61d6425303443c0748a02dd8de688;\
                     Subject=\"CN=\\\"claims, team\\\";OU=apps\";URI=spiffe://corp.example/claims;DNS=claims.corp.example;DNS=b.corp.example";

        assert_eq!(
            of(&[whole]),
            Ok(vec![name("spiffe://corp.example/claims"), name("dns:claims.corp.example"), name("dns:b.corp.example")])
        );
        assert_eq!(of(&["Hash=ab;URI=;DNS="]), Ok(vec![]));
        assert_eq!(of(&[]), Ok(vec![]));
    }

    #[test]
    fn a_subject_is_read_as_rfc_4514_writes_it_and_a_comma_in_it_is_no_attribute() {
        assert_eq!(of(&["Hash=ab;Subject=\"CN=claims,O=Corp\""]), Ok(vec![name("subject:CN=claims,O=Corp")]));
        let forged = of(&[r#"Subject="CN=claims\,O=Corp""#]);
        assert_eq!(forged, Ok(vec![name("subject:CN=claims\\,O=Corp")]));
        assert_ne!(forged, Ok(vec![name("subject:CN=claims,O=Corp")]));
    }

    #[test]
    fn who_forwarded_it_is_not_who_asks() {
        assert_eq!(of(&["By=spiffe://corp.example/claims;Hash=ab"]), Ok(vec![]));
        assert_eq!(of(&["Subject=\"URI=spiffe://corp.example/claims;DNS=x\""]), Ok(vec![]));
    }

    #[test]
    fn a_uri_is_a_uri_and_never_a_subject_or_a_host_name() {
        for uri in ["subject:CN=claims,O=Corp", "dns:claims.corp.example"] {
            assert!(CertificateName::parse(uri).is_some(), "an app can have the name {uri}");
            assert_eq!(of(&[&format!("Hash=ab;URI=\"{uri}\"")]), Ok(vec![]), "{uri}");
        }
        assert_eq!(of(&["URI=\"subject:CN=claims,O=Corp\";DNS=b.corp.example"]), Ok(vec![name("dns:b.corp.example")]));
    }

    #[test]
    fn two_certificates_are_nobody_and_so_is_what_is_none() {
        for two in ["URI=spiffe://a/b,URI=spiffe://c/d", "Hash=a;URI=spiffe://a/b,By=x"] {
            assert_eq!(of(&[two]), Err(AuthError::Conflicting), "{two}");
        }
        assert_eq!(of(&["URI=spiffe://a/b", "URI=spiffe://a/b"]), Err(AuthError::Conflicting));
        for wrong in ["", "claims", "=x", "URI", "URI=\"spiffe://a/b", "URI=\"a\"b", "U RI=x", "URI=a;", "\u{1f}"] {
            let mut headers = HeaderMap::new();
            let Ok(value) = HeaderValue::from_str(wrong) else { continue };
            headers.append(FORWARDED, value);
            assert_eq!(names(&headers), Err(AuthError::Malformed), "{wrong}");
        }
    }
}
