//! The resolver asked over TLS and over HTTPS, with BIND 9 at the other end.

use crate::lab::Settings;

#[test]
fn the_resolver_is_asked_over_tls_and_over_https_where_port_53_is_closed() {
    let Some(lab) = crate::build() else { return };
    lab.hub.nft(
        "table inet closed {\n chain input {\n type filter hook input priority 0; policy accept;\n \
         iifname er0 meta l4proto { tcp, udp } th dport 53 drop\n }\n}\n",
    );

    for (transport, server) in [("tls", "10.10.0.4:853"), ("https", "10.10.0.4:443")] {
        let mut gateway = lab.gateway(&Settings::resolving_over(transport));

        let answer = lab.chat("private");
        let path = lab.folder().join("causeway.toml");
        let doctor = ["doctor", "--config", &path.to_string_lossy(), "aoai"];
        let (code, said, errors) = lab.causeway(&doctor);

        assert_eq!(answer.status, 200, "{transport}: {answer:?}");
        assert_eq!(code, 0, "{transport}: {said}{errors}");
        assert!(said.contains(&format!("10.20.1.5, says {server}")), "{transport}: {said}");
        gateway.kill(&lab.premises);
    }
    assert_eq!(lab.strayed(None), (0, 0));
}
