//! What counts as an answer where one family is answered for and the other is not.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::*;
use crate::catalogue;

const HOST: &str = "contoso.openai.azure.com";
const LINK: &str = "contoso.privatelink.openai.azure.com";
const FRONT: &str = "eastus.prod.vnet.cog.trafficmanager.net";
const FOREIGN: &str = "gw.attacker.test";
const GONE: End = End::Nothing { exists: false, zone: None };
const NO_ADDRESS: End = End::Nothing { exists: true, zone: None };

fn silence() -> End {
    End::Unanswered { resolver: "hub".into(), failures: Vec::new().into() }
}

fn reach() -> Reach {
    Reach::PrivateLink {
        service: catalogue::service("azure-openai").unwrap().clone(),
        within: vec!["10.20.0.0/16".parse().unwrap()],
        resolver: None,
        expect: Vec::new(),
    }
}

/// A chain from the host over these names.
fn over(names: &[&str], end: End) -> Chain {
    let owners = std::iter::once(&HOST).chain(names);
    let hops = owners.zip(names).map(|(owner, name)| Hop {
        owner: (*owner).to_owned(),
        kind: "CNAME",
        data: (*name).to_owned(),
        ttl: 60,
        server: SocketAddr::from((Ipv4Addr::LOCALHOST, 53)),
        transport: "udp",
        resolver: "hub".into(),
    });
    let last = names.last().copied().unwrap_or(HOST).to_owned();
    Chain { hops: hops.collect(), last, end, until: None }
}

fn resolution(ipv4: Chain, ipv6: Chain) -> Resolution {
    let chains = vec![ipv4, ipv6];
    let addresses = chains.iter().filter_map(|chain| match &chain.end {
        End::Addresses(addresses) => Some(addresses.clone()),
        _ => None,
    });
    Resolution {
        name: HOST.to_owned(),
        by: "hub".into(),
        hops: chains.iter().flat_map(|chain| chain.hops.clone()).collect(),
        addresses: addresses.flatten().collect(),
        took: Duration::ZERO,
        until: None,
        chains,
        asked: true,
    }
}

fn code(ipv4: &Chain, ipv6: &Chain) -> Code {
    judge(&reach(), &resolution(ipv4.clone(), ipv6.clone()), 443).unwrap_err().code
}

#[test]
fn what_is_said_of_one_family_decides_though_nobody_answers_for_the_other() {
    let said = [
        (over(&[LINK], GONE), Code::Dns02),
        (over(&[], GONE), Code::Dns04),
        (over(&[FOREIGN], End::NoZone), Code::Dns10),
        (over(&[LINK], End::Broken("it comes back to a name that it has passed")), Code::Dns10),
        (over(&[LINK, FRONT], End::NoZone), Code::Dns01),
    ];
    let silent = over(&[], silence());

    for (said, expected) in said {
        assert_eq!(code(&said, &silent), expected, "{said:?}");
        assert_eq!(code(&silent, &said), expected, "{said:?}");
    }
}

#[test]
fn a_chain_that_leaves_the_service_is_judged_by_where_it_leads_though_nobody_answers_there() {
    for (names, expected) in [
        (&[FOREIGN][..], Code::Dns10),
        (&[LINK, FOREIGN], Code::Dns10),
        (&[LINK, FRONT], Code::Dns01),
        (&[FRONT], Code::Dns04),
    ] {
        let left = over(names, silence());

        assert_eq!(code(&left, &left), expected, "{names:?}");
    }
}

#[test]
fn silence_is_no_answer_and_neither_is_a_family_without_an_address_beside_it() {
    let silent = over(&[LINK], silence());
    let without = over(&[LINK], NO_ADDRESS);

    for (ipv4, ipv6) in [(&silent, &silent), (&silent, &without), (&without, &silent)] {
        let refused = judge(&reach(), &resolution(ipv4.clone(), ipv6.clone()), 443).unwrap_err();

        assert_eq!((refused.code, refused.is_unanswered()), (Code::Dns07, true));
    }
}

#[test]
fn without_an_ipv4_address_a_name_that_is_dialled_over_ipv4_alone_was_answered_for() {
    let silent = over(&[LINK], silence());
    let without = over(&[LINK], NO_ADDRESS);

    let said = without_ipv4(&reach(), &resolution(without.clone(), silent.clone()));

    assert_eq!(said.map(|refused| refused.code), Some(Code::Dns02));
    assert_eq!(without_ipv4(&reach(), &resolution(silent, without)), None);
}

#[test]
fn a_family_that_nobody_answers_for_is_left_out_where_the_other_has_addresses() {
    let good = over(&[LINK], End::Addresses(vec!["10.20.1.5".parse().unwrap()]));
    let silent = over(&[LINK], silence());

    let verified = judge(&reach(), &resolution(good, silent), 443).unwrap();

    assert_eq!(verified.iter().map(|one| one.socket().to_string()).collect::<Vec<_>>(), ["10.20.1.5:443"]);
}
