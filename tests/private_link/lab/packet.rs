//! Reading IPv4 and IPv6 packets, as far as a capture and a line need it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Who sends how much to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) is_tcp: bool,
    /// Bytes beyond the TCP or UDP header.
    pub(crate) payload: usize,
}

/// Reads a TCP or UDP packet; none for every other.
pub(crate) fn read(bytes: &[u8]) -> Option<Packet> {
    let (from, to, protocol, rest) = network(bytes)?;
    let port = |at: usize| Some(u16::from_be_bytes([*rest.get(at)?, *rest.get(at + 1)?]));
    let header = match protocol {
        TCP => usize::from(rest.get(12)? >> 4) * 4,
        UDP => 8,
        _ => return None,
    };
    let (from, to) = (SocketAddr::new(from, port(0)?), SocketAddr::new(to, port(2)?));
    Some(Packet { from, to, is_tcp: protocol == TCP, payload: rest.len().saturating_sub(header) })
}

/// The two ends of a packet's TCP connection, in order, and whether it opens one.
pub(crate) fn flow(bytes: &[u8]) -> Option<([SocketAddr; 2], bool)> {
    const SYN: u8 = 2;
    let Packet { from, to, is_tcp, .. } = read(bytes)?;
    let (_, _, _, rest) = network(bytes)?;
    let opens = rest.get(13)? & SYN != 0;
    is_tcp.then(|| ([from.min(to), from.max(to)], opens))
}

/// Whether the packet begins a TLS handshake with a record that goes on in the next packet.
pub(crate) fn is_split_hello(bytes: &[u8]) -> bool {
    let payload = |bytes| {
        let (_, _, protocol, rest) = network(bytes)?;
        let header = usize::from(rest.get(12)? >> 4) * 4;
        (protocol == TCP).then(|| rest.get(header..)).flatten()
    };
    match payload(bytes) {
        Some([0x16, 3, _, high, low, rest @ ..]) => usize::from(u16::from_be_bytes([*high, *low])) > rest.len(),
        _ => false,
    }
}

/// The ICMP error that tells a sender how long a packet may be (RFC 1191); none for IPv6, which the lab's line lacks.
pub(crate) fn fragmentation_needed(packet: &[u8], most: usize) -> Option<Vec<u8>> {
    let header = usize::from(packet.first()? & 0xf) * 4;
    if packet.first()? >> 4 != 4 {
        return None;
    }
    let most = u16::try_from(most).ok()?.to_be_bytes();
    let mut message = vec![3, 4, 0, 0, 0, 0, most[0], most[1]];
    message.extend(packet.get(..header + 8)?);
    let sum = checksum(&message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    let length = u16::try_from(20 + message.len()).ok()?.to_be_bytes();
    let mut error = vec![0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, 1, 0, 0];
    error.extend(packet.get(16..20)?);
    error.extend(packet.get(12..16)?);
    let sum = checksum(&error).to_be_bytes();
    error[10..12].copy_from_slice(&sum);
    error.extend(message);
    Some(error)
}

/// Addresses, protocol and what follows the network header.
fn network(bytes: &[u8]) -> Option<(IpAddr, IpAddr, u8, &[u8])> {
    match bytes.first()? >> 4 {
        4 => {
            let header = usize::from(bytes.first()? & 0xf) * 4;
            let length = usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]));
            let address = |at: usize| {
                let octets: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
                Some(IpAddr::V4(Ipv4Addr::from(octets)))
            };
            // Short frames are padded: the header says where the packet ends.
            Some((address(12)?, address(16)?, *bytes.get(9)?, bytes.get(header..length.min(bytes.len()))?))
        }
        6 => {
            let address = |at: usize| {
                let octets: [u8; 16] = bytes.get(at..at + 16)?.try_into().ok()?;
                Some(IpAddr::V6(Ipv6Addr::from(octets)))
            };
            Some((address(8)?, address(24)?, *bytes.get(6)?, bytes.get(40..)?))
        }
        _ => None,
    }
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}
