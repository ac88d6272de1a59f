//! One fetch of an issuer's keys: the discovery document, where there is one, and the key set that it leads to.

use egress::{ControlError, ControlHost};
use http::header::{ACCEPT, HeaderMap, HeaderValue};
use http::{StatusCode, Uri};
use ingress::auth::{KeySet, KeySetError};
use serde::Deserialize;

use super::{Hosts, Way};

/// Longest discovery document that is read: 64 KiB. They have two to eight.
const LONGEST_DOCUMENT: usize = 64 * 1024;
/// Longest key set that is read: 256 KiB. Sets with whole certificate chains stay below 64.
pub(super) const LONGEST_KEYS: usize = 256 * 1024;
/// Most of what a document says that is shown.
const SHOWN: usize = 120;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchFault {
    #[error("identity host `{host}`: {source}")]
    Unreached { host: String, source: ControlError },
    #[error("identity host `{host}` answers {}", status.as_u16())]
    Status { host: String, status: StatusCode },
    #[error("the discovery document is none: {0}")]
    Document(String),
    #[error("the discovery document is that of issuer `{0}`")]
    OtherIssuer(String),
    #[error("the discovery document leads to `{0}`, which is not at the host of the keys")]
    Elsewhere(String),
    #[error("the key set cannot be used: {0}")]
    Keys(#[from] KeySetError),
}

/// What matters of a discovery document.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: String,
}

/// The keys of `issuer`, and the text that they were read from.
pub(super) async fn fetch(issuer: &str, hosts: &Hosts) -> Result<(KeySet, Vec<u8>), FetchFault> {
    let path = match &hosts.path {
        Way::Known(path) => path.clone(),
        Way::Discovered(host, path) => {
            let text = read(host, path, LONGEST_DOCUMENT).await?;
            keys_path(&text, issuer, &hosts.keys)?
        }
    };
    let text = read(&hosts.keys, &path, LONGEST_KEYS).await?;
    Ok((KeySet::read(&text)?, text))
}

async fn read(host: &ControlHost, path: &str, longest: usize) -> Result<Vec<u8>, FetchFault> {
    let name = || host.name().trim_start_matches("identity.").to_owned();
    let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
    let fetched = host.get(path, headers, longest).await;
    let fetched = fetched.map_err(|source| FetchFault::Unreached { host: name(), source })?;
    if fetched.status != StatusCode::OK {
        return Err(FetchFault::Status { host: name(), status: fetched.status });
    }
    Ok(fetched.body.to_vec())
}

/// Where the document says the keys lie, if it is the issuer's own and that is at the host that the configuration names.
fn keys_path(text: &[u8], issuer: &str, host: &ControlHost) -> Result<String, FetchFault> {
    let document: Document = serde_json::from_slice(text).map_err(|error| FetchFault::Document(error.to_string()))?;
    if document.issuer != issuer {
        return Err(FetchFault::OtherIssuer(shown(&document.issuer)));
    }
    let spec = host.spec();
    let place = (spec.scheme.as_str(), spec.host.to_string(), spec.port);
    path_at(&document.jwks_uri, (place.0, &place.1, place.2))
        .ok_or_else(|| FetchFault::Elsewhere(shown(&document.jwks_uri)))
}

/// The path of `uri`, if it is an absolute one at this scheme, host and port and names no user.
fn path_at(uri: &str, (scheme, host, port): (&str, &str, u16)) -> Option<String> {
    let uri: Uri = uri.parse().ok()?;
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
    let usual = if scheme == "https" { 443 } else { 80 };
    let same = uri.scheme_str() == Some(scheme)
        && authority.host().trim_matches(['[', ']']).eq_ignore_ascii_case(host)
        && authority.port_u16().unwrap_or(usual) == port;
    same.then(|| uri.path_and_query().map_or("/", |path| path.as_str()).to_owned())
}

fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lie_at_the_host_that_the_configuration_names_and_nowhere_else() {
        let at = |uri| path_at(uri, ("https", "login.example", 443));

        assert_eq!(at("https://login.example/keys?p=1").as_deref(), Some("/keys?p=1"));
        assert_eq!(at("https://LOGIN.example:443/keys").as_deref(), Some("/keys"));
        for elsewhere in [
            "http://login.example/keys",
            "https://login.example:8443/keys",
            "https://evil.example/keys",
            "https://login.example@evil.example/keys",
            "https://login.example.evil.example/keys",
            "https://user@login.example/keys",
            "//login.example/keys",
            "/keys",
            "file:///etc/passwd",
            "",
        ] {
            assert_eq!(at(elsewhere), None, "{elsewhere}");
        }
        assert_eq!(path_at("http://[::1]:8/k", ("http", "::1", 8)).as_deref(), Some("/k"));
    }
}
