//! The URL of an endpoint, read strictly: what an ordinary client would ignore or mend is a mistake here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How an endpoint is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plaintext.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// As it stands before `://`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// The host of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name, in lower case, without a dot at its end.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => formatter.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(formatter, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(formatter, "[{address}]"),
        }
    }
}

/// A URL that can be dialled: scheme, host, port and path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Name or address.
    pub host: Host,
    /// Port; that of the scheme where the URL names none.
    pub port: u16,
    /// Path without a `/` at its end; empty for the root.
    pub path: String,
}

impl Url {
    /// Reads `text`; the error is what is wrong with it, to stand behind the setting's name.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Scheme::Http, rest),
            Some(("https", rest)) => (Scheme::Https, rest),
            Some((other, _)) => return Err(format!("has the scheme `{other}`; it takes `http` or `https`")),
            None => return Err("has no scheme; write `https://…` or `http://…`".to_owned()),
        };
        if !rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\\"<>^`{|}".contains(&byte)) {
            return Err("holds a character that no URL has; write a name outside ASCII in its `xn--` form".to_owned());
        }
        if rest.contains('?') {
            return Err("has a query; a caller's query is passed on, the endpoint has none of its own".to_owned());
        }
        if rest.contains('#') {
            return Err("has a fragment; leave it out".to_owned());
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.contains('@') {
            return Err("holds a credential; put it into `auth`".to_owned());
        }
        let (host, port) = split_port(authority, scheme)?;
        let path = path.trim_end_matches('/');
        if !path.is_empty() && path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err("has a path with `.`, `..` or an empty part; write it out".to_owned());
        }
        let path = if path.is_empty() { String::new() } else { format!("/{path}") };
        Ok(Self { scheme, host: parse_host(host)?, port, path })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}:{}{}", self.scheme.as_str(), self.host, self.port, self.path)
    }
}

fn split_port(authority: &str, scheme: Scheme) -> Result<(&str, u16), String> {
    let usual = match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    };
    // The colons of an IPv6 address stand in brackets.
    let after_host = authority.rfind(']').map_or(0, |end| end + 1);
    let Some(colon) = authority.get(after_host..).and_then(|tail| tail.find(':')) else {
        return Ok((authority, usual));
    };
    let (host, port) = authority.split_at(after_host + colon);
    let digits = port.trim_start_matches(':');
    match digits.parse::<u16>() {
        Ok(number) if number > 0 && port.len() == digits.len() + 1 && !digits.starts_with('+') => Ok((host, number)),
        _ => Err(format!("has the port `{digits}`; it takes a number from 1 to 65535")),
    }
}

fn parse_host(host: &str) -> Result<Host, String> {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let parsed = address.parse::<Ipv6Addr>();
        return parsed
            .map(|address| Host::Address(address.into()))
            .map_err(|_| format!("has the host `{host}`, which is no IPv6 address"));
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Ok(Host::Address(address.into()));
    }
    // `10.1` and `0x7f.1` are addresses to some resolvers and names to others.
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or("");
    if last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x") {
        return Err(format!("has the host `{host}`, which is neither a name nor an address"));
    }
    match dns_name(host) {
        Some(name) => Ok(Host::Name(name)),
        None => Err(format!("has the host `{host}`, which is no DNS name")),
    }
}

/// A DNS name in lower case without the dot at its end; `None` where `text` is none.
pub(super) fn dns_name(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(letter)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (name.len() <= 253 && name.split('.').all(label)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let url = Url::parse("https://Contoso-SWC.openai.azure.com/openai/v1/").unwrap();

        assert_eq!(url.to_string(), "https://contoso-swc.openai.azure.com:443/openai/v1");
        assert_eq!(Url::parse("http://[::1]:8000").unwrap().to_string(), "http://[::1]:8000");
        assert_eq!(Url::parse("http://10.0.0.1/v1").unwrap().host, Host::Address(Ipv4Addr::new(10, 0, 0, 1).into()));
    }

    #[test]
    fn what_a_client_would_mend_is_refused() {
        let bad = [
            "gpu-01:8000",
            "ftp://x",
            "https://",
            "https://a b",
            "https://u:p@host",
            "https://host?x=1",
            "https://host#f",
            "https://host:0",
            "https://host:",
            "https://host:70000",
            "https://host:+80",
            "https://host::80",
            "https://10.1",
            "https://0x7f.0.0.1",
            "https://host/a/../b",
            "https://host//a",
            "https://host\\@evil",
            "https://münchen.example",
            "https://[::1",
            "https://[1.2.3.4]",
            "https://-a.example",
            "https://a..b",
        ];

        for text in bad {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }
}
