//! The rules that `causeway netplan` prints, loaded into the machine on which the gateway runs.

use std::net::SocketAddr;
use std::time::Duration;

use crate::lab::{self, Lab, Settings, Space};

/// Whether a TCP connection from here comes about.
fn reaches(from: &Space, to: &str) -> bool {
    let to: SocketAddr = to.parse().expect("an address and a port");
    from.block_on(async move {
        #[expect(clippy::disallowed_methods, reason = "a client of the test, in a network of its own")]
        let connection = tokio::net::TcpStream::connect(to);
        tokio::time::timeout(Duration::from_secs(1), connection).await.is_ok_and(|connected| connected.is_ok())
    })
}

/// Somebody else's service on the gateway's machine.
fn start_a_stranger(lab: &Lab) {
    let listener = lab.premises.block_on(async { tokio::net::TcpListener::bind("192.168.8.1:7000").await });
    let listener = listener.expect("the port is free");
    lab.premises.spawn(async move { while listener.accept().await.is_ok() {} });
}

/// What lies outside of the lab's configuration: from where, to where.
const ELSEWHERE: [(&str, &str); 5] = [
    ("premises", "203.0.113.10:443"),
    ("premises", "203.0.113.66:443"),
    ("premises", "203.0.113.53:53"),
    ("premises", "192.168.8.10:7001"),
    ("desk", "192.168.8.1:7000"),
];

#[test]
fn under_the_printed_rules_the_gateway_works_and_nothing_else_is_reachable() {
    let Some(lab) = crate::build() else { return };
    start_a_stranger(&lab);
    let listener = lab.desk.block_on(async { tokio::net::TcpListener::bind("192.168.8.10:7001").await });
    let listener = listener.expect("the port is free");
    lab.desk.spawn(async move { while listener.accept().await.is_ok() {} });
    let space = |name| if name == "desk" { &lab.desk } else { &lab.premises };
    for (from, to) in ELSEWHERE {
        assert!(reaches(space(from), to), "without the rules {from} reaches {to}");
    }
    let configuration = lab.configure(&Settings::default());
    let path = configuration.to_string_lossy();
    let plan = ["netplan", "--format", "nft", "--callers", "192.168.8.0/24", "--config", &path];
    let (code, rules, errors) = lab.causeway(&plan);
    assert_eq!((code, errors.as_str()), (0, ""));

    // Twice: a changed plan is loaded over the old one.
    lab.premises.nft(&rules);
    lab.premises.nft(&rules);
    lab.forget();
    let _gateway = lab.gateway(&Settings::default());

    assert!(lab.chat("private").body.contains("answered by the private endpoint"));
    lab.service.behave(lab::front::Manner::Says(503, "{}".to_owned()));
    assert!(lab.chat("either").body.contains("answered by the GPU"));
    lab.service.behave(lab::front::Manner::Serves);
    assert!(reaches(&lab.desk, "192.168.8.1:8080"), "load balancers reach the probes");
    for (from, to) in ELSEWHERE {
        assert!(!reaches(space(from), to), "under the rules {from} still reaches {to}");
    }
    assert_eq!(lab.strayed(None), (0, 0));
}
