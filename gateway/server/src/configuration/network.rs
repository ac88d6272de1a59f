//! Networks in CIDR form.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Serialize, Serializer};

/// A network: an address whose bits beyond `prefix` are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    /// The first address.
    pub address: IpAddr,
    /// How many bits are fixed.
    pub prefix: u8,
}

impl Network {
    /// Reads `"10.20.0.0/16"`; the error is what is wrong with it and what would be right.
    pub(super) fn parse(text: &str) -> Result<Self, (String, String)> {
        let no_network = || "is no network in CIDR form".to_owned();
        let Some((address, prefix)) = text.split_once('/') else {
            return Err(match text.parse::<IpAddr>() {
                Ok(address) => (no_network(), format!("write `{address}/{}` for this one address", width(address))),
                Err(_) => (no_network(), "write it as `10.20.0.0/16`".to_owned()),
            });
        };
        let parsed = address.parse::<IpAddr>().ok().zip(prefix.parse::<u8>().ok());
        let digits = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
        match parsed {
            Some((address, prefix)) if digits && prefix <= width(address) => {
                let network = Self { address: masked(address, prefix), prefix };
                if network.address == address {
                    return Ok(network);
                }
                Err(("has bits beyond its prefix".to_owned(), format!("did you mean `{network}`?")))
            }
            _ => Err((no_network(), "write it as `10.20.0.0/16`".to_owned())),
        }
    }

    /// Whether `address` lies inside. An IPv4 address in IPv6 writing counts as what it carries.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        width(address) == width(self.address) && masked(address, self.prefix) == self.address
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.prefix)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_addresses_and_no_other() {
        let network = Network::parse("10.20.0.0/16").unwrap();

        assert!(network.contains("10.20.255.1".parse().unwrap()));
        assert!(network.contains("::ffff:10.20.1.1".parse().unwrap()));
        assert!(!network.contains("10.21.0.1".parse().unwrap()));
        assert!(!network.contains("::1".parse().unwrap()));
        assert!(Network::parse("0.0.0.0/0").unwrap().contains("203.0.113.9".parse().unwrap()));
        assert!(Network::parse("fd00::/8").unwrap().contains("fd12::1".parse().unwrap()));
    }

    #[test]
    fn a_network_with_loose_bits_is_answered_with_the_right_one() {
        let (message, remedy) = Network::parse("10.20.1.5/16").unwrap_err();

        assert_eq!(message, "has bits beyond its prefix");
        assert_eq!(remedy, "did you mean `10.20.0.0/16`?");
        for text in ["", "/", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0.0/", "::/129", "x/8"] {
            assert!(Network::parse(text).is_err(), "{text}");
        }
    }
}
