//! PROXY protocol, version 2: a load balancer says whom it speaks for.
//!
//! The format is HAProxy's `doc/proxy-protocol.txt`, section 2.2: twelve bytes of signature, one of
//! version and command, one of address family, two of length, then addresses and further fields
//! (TLVs), which are skipped. Version 1 (text) is not spoken.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const FIXED: usize = 16;

/// Most bytes after the fixed part. Addresses take 36; the rest is for fields such as a cloud's
/// private-link identifier or a client certificate's name.
const LONGEST: usize = 2048;

/// Why a PROXY protocol header was refused.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The connection does not begin with the signature.
    #[error("the connection does not begin with a PROXY protocol v2 header")]
    Missing,
    /// Another version, or a command other than LOCAL and PROXY.
    #[error("PROXY protocol version and command {0:#04x} are not known")]
    Command(u8),
    /// Neither TCP over IPv4 nor TCP over IPv6.
    #[error("PROXY protocol address family {0:#04x} is not served")]
    Family(u8),
    /// The header says it is longer than the bound.
    #[error("the PROXY protocol header has {0} bytes, more than {LONGEST}")]
    TooLong(usize),
    /// The header is too short for the addresses it announces.
    #[error("the PROXY protocol header is too short for its addresses")]
    TooShort,
    /// The connection ended or failed within the header.
    #[error("the connection ended within the PROXY protocol header")]
    Io(#[from] io::Error),
}

/// What the bytes so far amount to.
#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    /// So many bytes more are needed before anything can be said; never more than the header has.
    More(usize),
    /// A whole header, and the caller it names: none for a load balancer's own health check.
    Whole(Option<SocketAddr>),
}

/// Reads a header from `io`, and not a byte more. `None` means that the load balancer speaks for
/// itself, as in a health check.
pub(super) async fn read<I>(io: &mut I) -> Result<Option<SocketAddr>, ProxyError>
where
    I: AsyncRead + Unpin,
{
    let mut header = [0; FIXED + LONGEST];
    let mut filled = 0;
    loop {
        match parse(&header[..filled])? {
            Parsed::Whole(source) => return Ok(source),
            Parsed::More(missing) => {
                // Reading in pieces lets a wrong signature be refused without waiting for the rest.
                let read = io.read(&mut header[filled..filled + missing]).await?;
                if read == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
                filled += read;
            }
        }
    }
}

fn parse(input: &[u8]) -> Result<Parsed, ProxyError> {
    let signature = input.len().min(SIGNATURE.len());
    if input[..signature] != SIGNATURE[..signature] {
        return Err(ProxyError::Missing);
    }
    let Some((fixed, rest)) = input.split_first_chunk::<FIXED>() else {
        return Ok(Parsed::More(FIXED - input.len()));
    };
    let [.., command, family, high, low] = *fixed;
    if !matches!(command, 0x20 | 0x21) {
        return Err(ProxyError::Command(command));
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST {
        return Err(ProxyError::TooLong(length));
    }
    let local = command == 0x20;
    if !local && !matches!(family, 0x00 | 0x11 | 0x21) {
        return Err(ProxyError::Family(family));
    }
    if rest.len() < length {
        return Ok(Parsed::More(length - rest.len()));
    }
    // With LOCAL or an unspecified family, the addresses are to be skipped whatever they say.
    if local || family == 0x00 {
        return Ok(Parsed::Whole(None));
    }
    let addresses = &rest[..length];
    let source = match family {
        0x11 => source_v4(addresses),
        _ => source_v6(addresses),
    };
    source.map(|source| Parsed::Whole(Some(source))).ok_or(ProxyError::TooShort)
}

/// Source address, destination address, source port, destination port.
fn source_v4(addresses: &[u8]) -> Option<SocketAddr> {
    let (addresses, _) = addresses.split_first_chunk::<12>()?;
    let address: [u8; 4] = *addresses.first_chunk()?;
    let port = u16::from_be_bytes([addresses[8], addresses[9]]);
    Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::from(address)), port))
}

fn source_v6(addresses: &[u8]) -> Option<SocketAddr> {
    let (addresses, _) = addresses.split_first_chunk::<36>()?;
    let address: [u8; 16] = *addresses.first_chunk()?;
    let port = u16::from_be_bytes([addresses[32], addresses[33]]);
    Some(SocketAddr::new(IpAddr::V6(Ipv6Addr::from(address)), port))
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::SocketAddr;

    use proptest::prelude::*;
    use tokio::io::AsyncReadExt as _;

    use super::{FIXED, LONGEST, Parsed, ProxyError, SIGNATURE, parse, read};

    /// A header with a command, a family byte and what follows the length.
    pub(in crate::listen) fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE.to_vec();
        header.extend([command, family]);
        header.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        header.extend(rest);
        header
    }

    /// A PROXY header naming `source`, with `tlvs` after the addresses.
    pub(in crate::listen) fn proxied(source: SocketAddr, tlvs: &[u8]) -> Vec<u8> {
        let (family, mut rest) = match source {
            SocketAddr::V4(v4) => (0x11, [v4.ip().octets(), [192, 0, 2, 1]].concat()),
            SocketAddr::V6(v6) => (0x21, [v6.ip().octets(), [0xfd; 16]].concat()),
        };
        rest.extend(source.port().to_be_bytes());
        rest.extend(443_u16.to_be_bytes());
        rest.extend(tlvs);
        header(0x21, family, &rest)
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn the_caller_is_the_one_the_header_names_and_nothing_behind_it_is_taken() {
        for source in ["198.51.100.7:40000", "[2001:db8::7]:40001"] {
            let source = address(source);
            let mut stream = proxied(source, &[0x04, 0, 3, 1, 2, 3]);
            stream.extend(b"GET / HTTP/1.1");
            let mut stream = stream.as_slice();

            let named = read(&mut stream).await.unwrap();

            assert_eq!(named, Some(source));
            let mut rest = String::new();
            stream.read_to_string(&mut rest).await.unwrap();
            assert_eq!(rest, "GET / HTTP/1.1");
        }
    }

    #[test]
    fn a_load_balancer_may_speak_for_itself() {
        assert_eq!(parse(&header(0x20, 0x00, &[])).unwrap(), Parsed::Whole(None));
        assert_eq!(parse(&header(0x20, 0x31, &[7; 216])).unwrap(), Parsed::Whole(None));
        assert_eq!(parse(&header(0x21, 0x00, &[7; 5])).unwrap(), Parsed::Whole(None));
    }

    #[test]
    fn what_is_not_such_a_header_is_refused_as_early_as_it_shows() {
        let refused = |input: &[u8]| parse(input).unwrap_err();

        assert!(matches!(refused(b"G"), ProxyError::Missing));
        assert!(matches!(refused(b"PROXY TCP4 1.2.3.4"), ProxyError::Missing));
        assert!(matches!(refused(&header(0x11, 0x11, &[0; 12])), ProxyError::Command(0x11)));
        assert!(matches!(refused(&header(0x22, 0x11, &[0; 12])), ProxyError::Command(0x22)));
        assert!(matches!(refused(&header(0x21, 0x12, &[0; 12])), ProxyError::Family(0x12)));
        assert!(matches!(refused(&header(0x21, 0x31, &[0; 216])), ProxyError::Family(0x31)));
        assert!(matches!(refused(&header(0x21, 0x11, &[0; 11])), ProxyError::TooShort));
        assert!(matches!(refused(&header(0x21, 0x21, &[0; 35])), ProxyError::TooShort));
    }

    #[test]
    fn a_header_may_be_as_long_as_the_bound_and_not_longer() {
        let at = header(0x21, 0x11, &[0; LONGEST]);
        let over = header(0x21, 0x11, &[0; LONGEST + 1]);

        assert!(matches!(parse(&at), Ok(Parsed::Whole(Some(_)))));
        assert!(matches!(parse(&over[..FIXED]), Err(ProxyError::TooLong(_))));
    }

    #[tokio::test]
    async fn a_connection_that_ends_within_the_header_is_an_error() {
        let whole = proxied(address("198.51.100.7:1"), &[]);

        for cut in 0..whole.len() {
            let error = read(&mut &whole[..cut]).await.unwrap_err();
            assert!(matches!(error, ProxyError::Io(_)), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_fail_or_ask_for_too_much(
            tail in proptest::collection::vec(any::<u8>(), 0..128),
            signed in any::<bool>(),
        ) {
            let mut input = if signed { SIGNATURE.to_vec() } else { Vec::new() };
            input.extend(tail);

            if let Ok(Parsed::More(missing)) = parse(&input) {
                prop_assert!(missing > 0);
                prop_assert!(input.len() + missing <= FIXED + LONGEST);
            }
        }

        #[test]
        fn a_header_cut_anywhere_asks_for_no_byte_behind_it(
            ip in any::<std::net::IpAddr>(),
            port in any::<u16>(),
            tlvs in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let source = SocketAddr::new(ip, port);
            let whole = proxied(source, &tlvs);

            for cut in 0..whole.len() {
                let Parsed::More(missing) = parse(&whole[..cut]).unwrap() else {
                    panic!("whole at {cut}");
                };
                prop_assert!(missing > 0 && cut + missing <= whole.len());
            }
            prop_assert_eq!(parse(&whole).unwrap(), Parsed::Whole(Some(source)));
        }
    }
}
