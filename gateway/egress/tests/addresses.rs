//! Where a name leads, and where it may not.

use std::net::Ipv4Addr;
use std::time::Duration;

use egress::{
    BuildProblem, CanarySpec, Code, EndpointSpec, Fleet, Reach, ResolverSpec, SendError, Servers, Transport,
    TransportSpec,
};
use hickory_resolver::proto::rr::RecordType;

use crate::tls::{Authority, secure, server, tls_upstream};
use crate::world::{Dns, TARGET, answering, endpoint, fleet, fleet_with, named, ok, pass, read, send, until};

fn fault(error: &SendError) -> Option<Code> {
    match error {
        SendError::NoPrivatePath(verdict) => Some(verdict.code),
        _ => None,
    }
}

#[tokio::test]
async fn a_name_is_resolved_by_its_zones_resolver_and_the_record_says_so() {
    let upstream = answering(ok).await;
    let dns = Dns::start(&["127.0.0.1"]).await;
    let fleet = fleet_with(named("gpu-1.internal", upstream.address.port(), &["127.0.0.0/8"]), dns.resolver());

    let reply = send(&fleet).await.unwrap();

    assert_eq!((reply.connection.peer, &*reply.connection.resolved_by), (upstream.address, "corp"));
    let report = fleet.status()[0].last_resolution.clone().unwrap();
    assert_eq!(report.addresses, [Ipv4Addr::LOCALHOST]);
    assert!(report.refused.is_none());
}

#[tokio::test]
async fn a_name_that_resolves_to_an_address_outside_the_ranges_is_not_dialled() {
    let upstream = answering(ok).await;
    let dns = Dns::start(&["127.0.0.1"]).await;
    let fleet = fleet_with(named("gpu-1.internal", upstream.address.port(), &["10.0.0.0/8"]), dns.resolver());

    let error = send(&fleet).await.unwrap_err();

    assert_eq!(fault(&error), Some(Code::Addr01));
    assert_eq!(
        error.to_string(),
        "endpoint `gpu-1`: `gpu-1.internal` resolved to 127.0.0.1, which is outside the declared ranges 10.0.0.0/8 (ADDR-01)"
    );
    assert_eq!(upstream.accepted(), 0);
    assert!(fleet.status()[0].last_resolution.clone().unwrap().refused.is_some());
}

#[tokio::test]
async fn one_bad_address_of_either_family_denies_the_good_ones_too() {
    for bad in ["203.0.113.9", "2001:db8::1", "169.254.169.254", "::ffff:203.0.113.9"] {
        let upstream = answering(ok).await;
        let dns = Dns::start(&["127.0.0.1", bad]).await;
        let fleet = fleet_with(named("gpu-1.internal", upstream.address.port(), &["127.0.0.0/8"]), dns.resolver());

        let error = send(&fleet).await.unwrap_err();

        assert!(fault(&error).is_some(), "{bad}: {error:?}");
        assert_eq!(upstream.accepted(), 0, "{bad}");
    }
}

#[tokio::test]
async fn a_literal_address_outside_the_ranges_is_not_dialled() {
    let upstream = answering(ok).await;
    let elsewhere = EndpointSpec {
        reach: Reach::Local { within: vec!["192.168.0.0/16".parse().unwrap()] },
        ..endpoint(upstream.address)
    };
    let public = EndpointSpec { reach: Reach::Public, ..endpoint(upstream.address) };

    for (spec, expected) in [(elsewhere, Code::Addr01), (public, Code::Addr02)] {
        let error = send(&fleet(spec)).await.unwrap_err();
        assert_eq!(fault(&error), Some(expected));
    }
    assert_eq!(upstream.accepted(), 0);
}

#[tokio::test]
async fn localhost_needs_no_resolver() {
    let upstream = answering(ok).await;
    let fleet = fleet(named("localhost", upstream.address.port(), &["127.0.0.0/8"]));

    let reply = send(&fleet).await.unwrap();

    assert_eq!(&*reply.connection.resolved_by, "localhost");
}

#[tokio::test]
async fn a_name_without_an_address_and_a_resolver_without_an_answer_are_told_apart() {
    let dns = Dns::start(&[]).await;
    let silent = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let mut dead = dns.resolver();
    dead.servers = Servers::Listed(vec![silent.local_addr().unwrap()]);

    let unknown = send(&fleet_with(named("gpu-1.internal", 80, &["127.0.0.0/8"]), dns.resolver())).await.unwrap_err();
    let unanswered = send(&fleet_with(named("gpu-1.internal", 80, &["127.0.0.0/8"]), dead)).await.unwrap_err();

    assert_eq!(fault(&unknown), Some(Code::Addr03), "{unknown}");
    assert_eq!(fault(&unanswered), Some(Code::Dns07), "{unanswered}");
}

#[tokio::test]
async fn a_kept_connection_is_dropped_when_its_address_is_no_longer_verified() {
    let upstream = answering(ok).await;
    let dns = Dns::start(&["127.0.0.1"]).await;
    let fleet = fleet_with(named("gpu-1.internal", upstream.address.port(), &["127.0.0.0/8"]), dns.resolver());
    read(send(&fleet).await.unwrap()).await;
    let in_flight = send(&fleet).await.unwrap();
    assert_eq!(upstream.accepted(), 1);

    // Nothing listens at the new address's port.
    dns.now_answers(&["127.0.0.2"]);
    fleet.endpoints()[0].look_again().await;
    read(in_flight).await;
    let error = send(&fleet).await.unwrap_err();

    assert!(matches!(error, SendError::Connect { refused: true, .. }), "{error:?}");
    let connections = fleet.status()[0].connections;
    assert_eq!((connections.open, connections.generation), (0, 1));
    assert_eq!(upstream.accepted(), 1);
}

#[tokio::test]
async fn a_name_that_is_taken_away_takes_its_kept_connections_with_it() {
    let upstream = answering(ok).await;
    let dns = Dns::start(&["127.0.0.1"]).await;
    let fleet = fleet_with(named("gpu-1.internal", upstream.address.port(), &["127.0.0.0/8"]), dns.resolver());
    read(send(&fleet).await.unwrap()).await;

    dns.now_answers(&[]);
    fleet.endpoints()[0].look_again().await;
    let error = send(&fleet).await.unwrap_err();

    assert_eq!(fault(&error), Some(Code::Addr03), "{error}");
    assert_eq!(error.to_string(), "endpoint `gpu-1`: resolver `corp` knows no address of `gpu-1.internal` (ADDR-03)");
    assert_eq!(fleet.status()[0].connections.open, 0);
}

#[tokio::test]
async fn what_was_verified_stands_in_for_a_silent_resolver_and_says_so() {
    let upstream = answering(ok).await;
    let dns = Dns::start(&["127.0.0.1"]).await;
    let fleet = fleet_with(named("gpu-1.internal", upstream.address.port(), &["127.0.0.0/8"]), dns.resolver());
    let endpoint = &fleet.endpoints()[0];
    let in_use = send(&fleet).await.unwrap();

    dns.fails_now();
    pass(Duration::from_secs(11)).await;
    endpoint.look_again().await;
    let another = send(&fleet).await.unwrap();

    assert!(!in_use.connection.stale && another.connection.stale);
    assert!(endpoint.status().stale_since.is_some() && endpoint.status().verdict.is_none());
    assert_eq!(upstream.accepted(), 2);
}

#[tokio::test]
async fn the_grace_of_a_silent_resolver_ends_with_its_connections() {
    for grace in [Duration::ZERO, Duration::from_secs(60)] {
        let upstream = answering(ok).await;
        let dns = Dns::start(&["127.0.0.1"]).await;
        let resolver = ResolverSpec { stale_grace: grace, ..dns.resolver() };
        let fleet = fleet_with(named("gpu-1.internal", upstream.address.port(), &["127.0.0.0/8"]), resolver);
        read(send(&fleet).await.unwrap()).await;

        dns.fails_now();
        fleet.endpoints()[0].look_again().await;
        pass(Duration::from_secs(10) + grace).await;
        let error = send(&fleet).await.unwrap_err();

        assert_eq!(fault(&error), Some(Code::Dns07), "{grace:?}: {error}");
        assert_eq!((upstream.accepted(), fleet.status()[0].connections.open), (1, 0), "{grace:?}");
    }
}

#[tokio::test]
async fn an_answer_that_contradicts_ends_the_grace_at_once() {
    let upstream = answering(ok).await;
    let dns = Dns::start(&["127.0.0.1"]).await;
    let fleet = fleet_with(named("gpu-1.internal", upstream.address.port(), &["127.0.0.0/8"]), dns.resolver());
    read(send(&fleet).await.unwrap()).await;
    dns.fails_now();
    fleet.endpoints()[0].look_again().await;

    dns.now_answers(&["203.0.113.9"]);
    fleet.endpoints()[0].look_again().await;
    let error = send(&fleet).await.unwrap_err();

    assert_eq!(fault(&error), Some(Code::Addr01), "{error}");
    assert_eq!(fleet.status()[0].connections.open, 0);
    assert!(fleet.status()[0].stale_since.is_none());
}

/// An IPv4 address that was verified and is connected to, though nobody ever answers for IPv6, which is not dialled.
async fn reached_by_ipv4_alone() -> (Dns, Fleet) {
    let upstream = answering(ok).await;
    let dns = Dns::start(&["127.0.0.1"]).await;
    dns.drops(RecordType::AAAA);
    let spec = named("gpu-1.internal", upstream.address.port(), &["127.0.0.0/8"]);
    let transport = TransportSpec { ipv6: false, ..spec.transport.clone() };
    let fleet = fleet_with(EndpointSpec { transport, ..spec }, dns.resolver());
    read(send(&fleet).await.unwrap()).await;
    (dns, fleet)
}

#[tokio::test]
async fn a_resolver_that_never_answers_for_ipv6_is_believed_about_ipv4() {
    let (_dns, fleet) = reached_by_ipv4_alone().await;

    fleet.endpoints()[0].look_again().await;
    let reply = send(&fleet).await.unwrap();

    assert!(!reply.connection.stale);
    let status = fleet.endpoints()[0].status();
    assert!(status.stale_since.is_none() && status.verdict.is_none());
}

#[tokio::test]
async fn what_is_said_of_one_family_ends_the_grace_though_nobody_answers_for_the_other() {
    type Answer = fn(&Dns);
    let answers: [(Answer, Code); 4] = [
        (|dns| dns.now_answers(&[]), Code::Addr03),
        (Dns::now_has_no_address, Code::Addr03),
        (|dns| dns.now_leads_to("gpu-1.attacker.test."), Code::Dns10),
        (|dns| dns.now_leads_to("gpu-1.internal."), Code::Dns10),
    ];

    for (number, (answer, expected)) in answers.into_iter().enumerate() {
        let (dns, fleet) = reached_by_ipv4_alone().await;
        answer(&dns);
        fleet.endpoints()[0].look_again().await;
        let error = send(&fleet).await.expect_err("the old addresses do not stand in");

        assert_eq!(fault(&error), Some(expected), "{number}: {error}");
        assert_eq!(fleet.status()[0].connections.open, 0, "{number}");
        assert!(fleet.status()[0].stale_since.is_none(), "{number}");
    }
}

#[tokio::test]
async fn a_name_without_an_ipv6_address_is_no_answer_about_its_ipv4_address() {
    let upstream = answering(ok).await;
    let dns = Dns::start(&["127.0.0.1"]).await;
    let fleet = fleet_with(named("gpu-1.internal", upstream.address.port(), &["127.0.0.0/8"]), dns.resolver());
    read(send(&fleet).await.unwrap()).await;

    dns.now_has_no_address();
    dns.drops(RecordType::A);
    fleet.endpoints()[0].look_again().await;

    assert_eq!(read(send(&fleet).await.unwrap()).await, "ok");
    assert!(fleet.status()[0].stale_since.is_some());
}

#[tokio::test]
async fn a_chain_that_leaves_for_servers_that_are_silent_is_judged_by_where_it_leads() {
    let upstream = answering(ok).await;
    let dns = Dns::start(&["127.0.0.1"]).await;
    let silent = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let elsewhere = ResolverSpec::new("elsewhere", &["attacker.test"], vec![silent.local_addr().unwrap()]);
    let reach = Reach::PrivateLink {
        service: egress::service("own").unwrap().clone(),
        within: vec!["127.0.0.0/8".parse().unwrap()],
        resolver: None,
        expect: Vec::new(),
    };
    let spec = EndpointSpec { reach, ..named("gpu-1.internal", upstream.address.port(), &[]) };
    let fleet = Fleet::build(vec![spec], vec![dns.resolver(), elsewhere], &[(TARGET, 0)], None).unwrap();
    read(send(&fleet).await.unwrap()).await;

    dns.now_leads_to("gw.attacker.test.");
    fleet.endpoints()[0].look_again().await;
    let error = send(&fleet).await.expect_err("the old addresses do not stand in");

    assert_eq!(fault(&error), Some(Code::Dns10), "{error}");
    assert_eq!(fleet.status()[0].connections.open, 0);
}

#[tokio::test]
async fn a_request_after_the_answers_lifetime_has_the_addresses_looked_at_again() {
    let upstream = answering(ok).await;
    let dns = Dns::start(&["127.0.0.1"]).await;
    let fleet = fleet_with(named("gpu-1.internal", upstream.address.port(), &["127.0.0.0/8"]), dns.resolver());
    read(send(&fleet).await.unwrap()).await;
    let before = fleet.status()[0].last_resolution.clone().unwrap().at;
    pass(Duration::from_secs(11)).await;

    read(send(&fleet).await.unwrap()).await;

    until(|| fleet.status()[0].last_resolution.clone().unwrap().at > before).await;
    assert_eq!(upstream.accepted(), 1);
}

fn problem(spec: EndpointSpec, resolvers: Vec<ResolverSpec>) -> BuildProblem {
    Fleet::build(vec![spec], resolvers, &[(TARGET, 0)], None).unwrap_err().0.remove(0)
}

#[tokio::test]
async fn a_name_in_no_zone_is_refused_with_the_remedy() {
    let dns = Dns::start(&["127.0.0.1"]).await;

    let problem = problem(named("gpu-1.elsewhere", 80, &["10.0.0.0/8"]), vec![dns.resolver()]);

    assert!(matches!(problem, BuildProblem::NoZone { .. }), "{problem:?}");
    assert!(problem.to_string().contains("add a zone that holds it"), "{problem}");
}

#[tokio::test]
async fn the_named_resolver_must_have_the_zone() {
    let dns = Dns::start(&["127.0.0.1"]).await;
    let reach = |resolver: &str| Reach::PrivateLink {
        service: egress::service("own").unwrap().clone(),
        within: vec!["10.0.0.0/8".parse().unwrap()],
        resolver: Some(resolver.to_owned()),
        expect: Vec::new(),
    };

    for (host, resolver) in [("x.internal", "hub"), ("x.elsewhere", "corp")] {
        let spec = EndpointSpec { reach: reach(resolver), ..named(host, 443, &[]) };
        let problem = problem(spec, vec![dns.resolver()]);
        assert!(matches!(problem, BuildProblem::WrongResolver { .. }), "{problem:?}");
    }
}

#[tokio::test]
async fn the_systems_name_servers_do_not_decide_for_private_endpoints() {
    let system = ResolverSpec { servers: Servers::System, ..ResolverSpec::new("system", &["."], Vec::new()) };

    let found = problem(named("gpu-1.internal", 80, &["10.0.0.0/8"]), vec![system]);

    // A machine without name servers refuses one step earlier.
    assert!(matches!(found, BuildProblem::SystemResolver { .. } | BuildProblem::Resolver { .. }), "{found:?}");
}

#[tokio::test]
async fn the_longest_zone_wins() {
    let upstream = answering(ok).await;
    let (wide, close) = (Dns::start(&["203.0.113.9"]).await, Dns::start(&["127.0.0.1"]).await);
    let close_spec = ResolverSpec { name: "close".into(), zones: vec!["eu.internal".into()], ..close.resolver() };
    let specs = vec![wide.resolver(), close_spec];

    let spec = named("gpu-1.eu.internal", upstream.address.port(), &["127.0.0.0/8"]);
    let fleet = Fleet::build(vec![spec], specs, &[(TARGET, 0)], None).unwrap();

    assert_eq!(&*send(&fleet).await.unwrap().connection.resolved_by, "close");
}

#[tokio::test]
async fn what_is_asked_without_content_is_what_the_canary_asks_for_and_else_what_costs_nothing() {
    let private = |service: &str| Reach::PrivateLink {
        service: egress::service(service).unwrap().clone(),
        within: vec!["10.0.0.0/8".parse().unwrap()],
        resolver: None,
        expect: Vec::new(),
    };
    let canary = CanarySpec {
        resolver: "internet".into(),
        within: Vec::new(),
        path: "/asked/by/the/canary".to_owned(),
        interval: Duration::from_secs(3600),
    };
    let azure = EndpointSpec { reach: private("azure-openai"), ..named("x.openai.azure.com", 443, &[]) };
    let watched = EndpointSpec { canary: Some(canary), ..azure.clone() };
    let own = EndpointSpec { reach: private("own"), ..named("x.internal", 443, &[]) };

    let paths = [watched, azure, own].map(|spec| spec.harmless_path());

    assert_eq!(paths, ["/asked/by/the/canary", "/openai/models?api-version=2024-10-21", "/v1/models"]);
}

#[tokio::test]
async fn a_resolver_that_cannot_show_who_it_is_is_told_apart_from_one_that_is_silent() {
    let (ours, theirs) = (Authority::new("Corp CA"), Authority::new("Another CA"));
    let dns = tls_upstream(server(&theirs.issue("dns.internal"), &["dot", "h2"])).await;
    let ca = secure(dns.address, &ours).tls.ca;
    let server_name = "dns.internal".to_owned();
    let ways =
        [Transport::Tls { server_name: server_name.clone(), ca: ca.clone() }, Transport::Https { server_name, ca }];

    for transport in ways {
        let resolver = ResolverSpec { transport, ..ResolverSpec::new("corp", &["internal"], vec![dns.address]) };
        let fleet = fleet_with(named("gpu-1.internal", 443, &["127.0.0.0/8"]), resolver);

        let error = send(&fleet).await.unwrap_err();

        assert_eq!(fault(&error), Some(Code::Dns16));
        let told =
            "could not be verified over TLS: the certificate was issued by `CN=Another CA`, which is not trusted";
        assert!(error.to_string().contains(told), "{error}");
    }
}
