//! The proofs that an address may be dialled, and the judgement that makes them.
//!
//! Nothing else makes a [`PrivateAddr`], [`LocalAddr`] or [`PublicAddr`], and the connector takes nothing else. So a socket
//! to an address that no resolver gave, or that lies outside the declared ranges, does not compile:
//!
//! ```compile_fail,E0423
//! let forged = egress::PrivateAddr("10.20.1.5:443".parse().unwrap());
//! ```
//!
//! ```compile_fail,E0451
//! let forged = egress::LocalAddr { socket: "127.0.0.1:8000".parse().unwrap() };
//! ```
//!
//! ```compile_fail,E0277
//! let forged: egress::PublicAddr = std::net::SocketAddr::from(([203, 0, 113, 9], 443)).into();
//! ```
//!
//! Reading what was proved is open to everyone:
//!
//! ```
//! fn dialled(proof: &egress::Verified) -> std::net::SocketAddr {
//!     match proof {
//!         egress::Verified::Private(address) => address.socket(),
//!         egress::Verified::Local(address) => address.socket(),
//!         egress::Verified::Public(address) => address.socket(),
//!     }
//! }
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::spec::Reach;

macro_rules! proof {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name {
            // INVARIANT: set only in `judge`.
            socket: SocketAddr,
        }

        impl $name {
            /// The address and port that were proved.
            #[must_use]
            pub fn socket(&self) -> SocketAddr {
                self.socket
            }
        }
    };
}

proof! {
    /// An address of a private endpoint: inside the ranges declared for it, in an answer that held no other kind.
    PrivateAddr
}
proof! {
    /// An address on one's own network: inside the ranges declared for it, in an answer that held no other kind.
    LocalAddr
}
proof! {
    /// An address on the internet: neither private nor otherwise special.
    PublicAddr
}

/// An address that may be dialled, with the proof that its endpoint's reach demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    /// For `reach = { private-link = … }`.
    Private(PrivateAddr),
    /// For `reach = { local = … }`.
    Local(LocalAddr),
    /// For `reach = "public"`.
    Public(PublicAddr),
}

impl Verified {
    /// The address and port that were proved.
    #[must_use]
    pub fn socket(&self) -> SocketAddr {
        match self {
            Self::Private(address) => address.socket,
            Self::Local(address) => address.socket,
            Self::Public(address) => address.socket,
        }
    }
}

/// What is wrong with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressFault {
    /// It lies outside the declared ranges.
    Outside,
    /// It belongs to a cloud's metadata service.
    Metadata,
    /// A loopback or link-local address that no range names.
    NotNamed,
    /// An unspecified, multicast or broadcast address.
    Unusable,
    /// A special address for an endpoint that is said to be public.
    NotPublic,
}

impl AddressFault {
    /// Whether no answer in good faith holds such an address.
    pub(crate) fn is_special(self) -> bool {
        matches!(self, Self::Metadata | Self::NotNamed | Self::Unusable)
    }
}

/// The proofs of the good addresses, and the bad addresses with their faults.
pub(crate) type Judged = (Vec<Verified>, Vec<(IpAddr, AddressFault)>);

/// Judges each address of an answer. Whoever asks dials none of them unless all are good: dropping the bad ones would
/// hide that somebody else's answer, or a public one, is among them.
pub(crate) fn judge(reach: &Reach, answer: &[IpAddr], port: u16) -> Judged {
    let (mut verified, mut refused) = (Vec::new(), Vec::new());
    for address in answer {
        // A v4-mapped address reaches the v4 network, so it counts as the v4 address that it carries.
        let address = address.to_canonical();
        match fault_of(reach, address) {
            None => verified.push(prove(reach, SocketAddr::new(address, port))),
            Some(fault) => refused.push((address, fault)),
        }
    }
    (verified, refused)
}

fn prove(reach: &Reach, socket: SocketAddr) -> Verified {
    match reach {
        Reach::Local { .. } | Reach::Metadata => Verified::Local(LocalAddr { socket }),
        Reach::PrivateLink { .. } => Verified::Private(PrivateAddr { socket }),
        Reach::Public => Verified::Public(PublicAddr { socket }),
    }
}

fn fault_of(reach: &Reach, address: IpAddr) -> Option<AddressFault> {
    if *reach == Reach::Metadata {
        return (address != METADATA_HOST).then_some(AddressFault::Outside);
    }
    let carried = carried(address);
    if METADATA.contains(&address) || carried.is_some_and(|v4| METADATA.contains(&IpAddr::V4(v4))) {
        return Some(AddressFault::Metadata);
    }
    if is_unusable(address) {
        return Some(AddressFault::Unusable);
    }
    match reach {
        Reach::Public => {
            let public = is_public(address) && carried.is_none_or(|v4| is_public(IpAddr::V4(v4)));
            (!public).then_some(AddressFault::NotPublic)
        }
        Reach::Metadata => None,
        Reach::Local { within } | Reach::PrivateLink { within, .. } => {
            // What a translator is given for it is where it goes.
            let meant = carried.map_or(address, IpAddr::V4);
            if !within.iter().any(|net| net.contains(&meant)) {
                return Some(AddressFault::Outside);
            }
            let special = special_net(address).or_else(|| carried.and_then(|v4| special_net(IpAddr::V4(v4))));
            let named = |special: IpNet| within.iter().any(|net| special.contains(net) && net.contains(&address));
            special.is_some_and(|special| !named(special)).then_some(AddressFault::NotNamed)
        }
    }
}

/// The address of Azure's metadata service, and of most others'.
const METADATA_HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));

/// Addresses that give credentials to whoever asks from inside a cloud machine. No endpoint has one of them.
const METADATA: [IpAddr; 9] = [
    METADATA_HOST,                                                  // AWS, Azure, Google, Oracle and others
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),                    // AWS ECS task credentials
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),                   // AWS EKS pod identity
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),                    // Azure's host agent
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),                  // Alibaba Cloud
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),                      // Oracle Cloud, older
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)), // AWS
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),  // AWS EKS pod identity
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),  // Google
];

/// The v4 address that a v6 address leads to through a translator: NAT64 (RFC 6052), 6to4 (RFC 3056), and the
/// deprecated v4-compatible form.
fn carried(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else { return None };
    let segments = v6.segments();
    let pair = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match segments {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(pair(high, low)),
        [0x2002, high, low, ..] => Some(pair(high, low)),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => Some(pair(high, low)),
        _ => None,
    }
}

/// Addresses that no connection can sensibly go to: unspecified (which Linux takes for loopback), multicast, broadcast.
fn is_unusable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets()[0] == 0 || v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_multicast(),
    }
}

/// Loopback and link-local addresses count only where a declared range lies inside theirs: `0.0.0.0/0` does not name them.
fn special_net(address: IpAddr) -> Option<IpNet> {
    const LOOPBACK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
    const LINK_LOCAL: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16);
    const LOOPBACK_6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128);
    const LINK_LOCAL_6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10);
    [IpNet::V4(LOOPBACK), IpNet::V4(LINK_LOCAL), IpNet::V6(LOOPBACK_6), IpNet::V6(LINK_LOCAL_6)]
        .into_iter()
        .find(|net| net.contains(&address))
}

/// Whether the IANA special-purpose registries (RFC 6890 and its updates) leave the address to the public internet.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let special = v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_documentation()
                || a == 0
                || a >= 224
                || (a == 100 && (b & 0xc0) == 64) // shared address space, RFC 6598
                || (a == 192 && b == 0 && c == 0) // protocol assignments
                || (a == 192 && b == 88 && c == 99) // 6to4 relays, deprecated
                || (a == 198 && (b & 0xfe) == 18); // benchmarking, RFC 2544
            !special
        }
        IpAddr::V6(v6) => match v6.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, _, _] => true, // NAT64: what it carries is judged beside it
            [0x2001, second, ..] if second < 0x200 => false, // Teredo, ORCHID, benchmarking
            [0x2001, 0xdb8, ..] => false,
            [0x3fff, second, ..] if second < 0x1000 => false, // documentation, RFC 9637
            [first, ..] => first >> 13 == 1,                  // global unicast, 2000::/3
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(within: &[&str]) -> Reach {
        Reach::Local { within: within.iter().map(|net| net.parse().unwrap()).collect() }
    }

    fn addresses(text: &[&str]) -> Vec<IpAddr> {
        text.iter().map(|address| address.parse().unwrap()).collect()
    }

    fn verdict(reach: &Reach, answer: &[&str]) -> Option<AddressFault> {
        judge(reach, &addresses(answer), 443).1.first().map(|(_, fault)| *fault)
    }

    #[test]
    fn an_address_inside_the_ranges_is_proved_with_the_port() {
        let (verified, refused) = judge(&local(&["10.0.0.0/8"]), &addresses(&["10.1.2.3"]), 8000);

        assert!(refused.is_empty());
        assert_eq!(verified.len(), 1);
        assert_eq!(verified[0].socket(), "10.1.2.3:8000".parse().unwrap());
        assert!(matches!(verified[0], Verified::Local(_)));
    }

    #[test]
    fn an_address_outside_is_told_with_its_fault() {
        let (verified, refused) = judge(&local(&["10.0.0.0/8"]), &addresses(&["10.1.2.3", "203.0.113.9"]), 443);

        assert_eq!(verified.len(), 1);
        assert_eq!(refused, [("203.0.113.9".parse().unwrap(), AddressFault::Outside)]);
    }

    #[test]
    fn the_metadata_service_is_reached_at_its_address_alone() {
        assert_eq!(verdict(&Reach::Metadata, &["169.254.169.254"]), None);
        for address in ["127.0.0.1", "169.254.169.253", "10.0.0.1", "fd00:ec2::254", "203.0.113.9"] {
            assert_eq!(verdict(&Reach::Metadata, &[address]), Some(AddressFault::Outside), "{address}");
        }
    }

    #[test]
    fn an_empty_range_proves_nothing() {
        assert_eq!(verdict(&local(&[]), &["10.0.0.1"]), Some(AddressFault::Outside));
    }

    #[test]
    fn a_translated_address_counts_as_what_it_carries() {
        assert_eq!(verdict(&local(&["10.0.0.0/8"]), &["64:ff9b::10.0.0.1"]), None);
        assert_eq!(verdict(&local(&["64:ff9b::/96"]), &["64:ff9b::203.0.113.9"]), Some(AddressFault::Outside));
        assert_eq!(verdict(&local(&["10.0.0.0/8"]), &["2002:cb00:7109::1"]), Some(AddressFault::Outside));
    }

    #[test]
    fn a_mapped_address_counts_as_the_address_that_it_carries() {
        assert_eq!(verdict(&local(&["10.0.0.0/8"]), &["::ffff:10.0.0.1"]), None);
        assert_eq!(verdict(&local(&["::/0"]), &["::ffff:10.0.0.1"]), Some(AddressFault::Outside));
        assert_eq!(verdict(&Reach::Public, &["::ffff:10.0.0.1"]), Some(AddressFault::NotPublic));
    }

    #[test]
    fn metadata_addresses_are_never_dialled_in_any_disguise() {
        let everything = local(&["0.0.0.0/0", "::/0", "169.254.0.0/16", "fd00:ec2::/32", "64:ff9b::/96"]);

        for address in
            ["169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"]
        {
            assert_eq!(verdict(&everything, &[address]), Some(AddressFault::Metadata), "{address}");
            assert_eq!(verdict(&Reach::Public, &[address]), Some(AddressFault::Metadata), "{address}");
        }
    }

    #[test]
    fn loopback_and_link_local_count_only_where_a_range_names_them() {
        let everything = local(&["0.0.0.0/0", "::/0"]);

        for address in ["127.0.0.1", "169.254.7.7", "::1", "fe80::1"] {
            assert_eq!(verdict(&everything, &[address]), Some(AddressFault::NotNamed), "{address}");
        }
        assert_eq!(verdict(&local(&["127.0.0.0/8", "::1/128"]), &["127.0.0.1", "::1"]), None);
        assert_eq!(verdict(&local(&["0.0.0.0/0", "127.0.0.1/32"]), &["127.0.0.1"]), None);
        assert_eq!(verdict(&local(&["0.0.0.0/0", "127.0.0.2/32"]), &["127.0.0.1"]), Some(AddressFault::NotNamed));
    }

    #[test]
    fn addresses_that_lead_nowhere_are_refused() {
        for address in ["0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255", "::", "ff02::1"] {
            assert_eq!(verdict(&local(&["0.0.0.0/0", "::/0"]), &[address]), Some(AddressFault::Unusable), "{address}");
        }
    }

    #[test]
    fn a_public_endpoint_is_not_dialled_at_a_special_address() {
        for address in [
            "10.0.0.1",
            "172.16.0.1",
            "192.168.0.1",
            "127.0.0.1",
            "100.64.0.1",
            "198.18.0.1",
            "203.0.113.9",
            "240.0.0.1",
            "fd00::1",
            "fe80::1",
            "::1",
            "2001:db8::1",
            "2001::1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "3fff::1",
            "::10.0.0.1",
        ] {
            assert_eq!(verdict(&Reach::Public, &[address]), Some(AddressFault::NotPublic), "{address}");
        }
        for address in ["20.50.1.1", "100.128.0.1", "2606:4700::1", "64:ff9b::1432:101", "2620:1ec::1"] {
            assert_eq!(verdict(&Reach::Public, &[address]), None, "{address}");
        }
    }
}
