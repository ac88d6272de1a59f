//! A range of addresses, as in `10.0.0.0/8`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A range of IP addresses, written as an address and the length of its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Net {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is not a range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// The part before the slash is not an IP address.
    #[error("`{0}` is not an address or a range such as 10.0.0.0/8 or fd00::/8")]
    NotAnAddress(String),
    /// The prefix is longer than the address.
    #[error("`{0}` has a prefix longer than its address")]
    PrefixTooLong(String),
    /// Bits beyond the prefix are set, so that the text may mean another range than it says.
    #[error("`{0}` has bits set beyond its prefix")]
    BitsBeyondPrefix(String),
}

impl Net {
    /// Whether `address` lies in the range. An IPv4 address mapped into IPv6 counts as IPv4, which
    /// is what a socket listening on `::` reports.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(address)) => {
                let differing = net.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V6(net), IpAddr::V6(address)) => {
                let differing = net.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= u32::from(self.prefix)
            }
            _ => false,
        }
    }
}

impl From<IpAddr> for Net {
    fn from(address: IpAddr) -> Self {
        let address = address.to_canonical();
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        Self { address, prefix }
    }
}

impl FromStr for Net {
    type Err = NetError;

    fn from_str(text: &str) -> Result<Self, NetError> {
        let not_an_address = || NetError::NotAnAddress(text.to_owned());
        let (address, prefix) = text.split_once('/').unzip();
        let address: IpAddr = address.unwrap_or(text).parse().map_err(|_| not_an_address())?;
        let Some(prefix) = prefix else {
            return Ok(Self::from(address));
        };
        let prefix: u8 = prefix.parse().map_err(|_| not_an_address())?;
        let (longest, host_bits) = match address {
            IpAddr::V4(v4) => (32, v4.to_bits().checked_shl(prefix.into()).unwrap_or(0) != 0),
            IpAddr::V6(v6) => (128, v6.to_bits().checked_shl(prefix.into()).unwrap_or(0) != 0),
        };
        if prefix > longest {
            return Err(NetError::PrefixTooLong(text.to_owned()));
        }
        if host_bits {
            return Err(NetError::BitsBeyondPrefix(text.to_owned()));
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::{Net, NetError};

    fn net(text: &str) -> Net {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_holds_its_first_and_last_address_and_no_more() {
        let range = net("10.20.0.0/16");

        assert!(range.contains("10.20.0.0".parse().unwrap()));
        assert!(range.contains("10.20.255.255".parse().unwrap()));
        assert!(!range.contains("10.19.255.255".parse().unwrap()));
        assert!(!range.contains("10.21.0.0".parse().unwrap()));
        assert!(!range.contains("fd00::1".parse().unwrap()));
        assert!(net("fd00::/8").contains("fdff::1".parse().unwrap()));
        assert!(!net("fd00::/8").contains("fe00::1".parse().unwrap()));
        assert!(net("0.0.0.0/0").contains("255.1.2.3".parse().unwrap()));
        assert!(net("::/0").contains("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn a_mapped_address_counts_as_the_address_it_maps() {
        assert!(net("10.0.0.0/8").contains("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!net("::/0").contains("::ffff:10.1.2.3".parse().unwrap()));
    }

    #[test]
    fn a_lone_address_is_a_range_of_one() {
        assert_eq!(net("192.0.2.1").to_string(), "192.0.2.1/32");
        assert_eq!(net("fd00::1").to_string(), "fd00::1/128");
    }

    #[test]
    fn what_is_not_exactly_a_range_is_refused() {
        let refused = |text: &str| text.parse::<Net>().unwrap_err();

        assert!(matches!(refused("10.0.0.1/8"), NetError::BitsBeyondPrefix(_)));
        assert!(matches!(refused("10.0.0.0/33"), NetError::PrefixTooLong(_)));
        assert!(matches!(refused("fd00::/129"), NetError::PrefixTooLong(_)));
        for text in ["", "/", "10.0.0.0/", "10.0.0/8", "host/8", "10.0.0.0/-1", "10.0.0.0/8/8"] {
            assert!(matches!(refused(text), NetError::NotAnAddress(_)), "{text}");
        }
    }
}
