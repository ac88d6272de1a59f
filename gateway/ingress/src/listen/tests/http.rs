use ::http::{Request, StatusCode, Version};
use bytes::Bytes;
use http_body_util::Full;
use tokio::io::AsyncWriteExt as _;

use super::super::proxy::tests::{header, proxied};
use super::{Door, ListenSettings, ServeError, World, exchange, get, http2_over, read_to_end, read_until, text_of};

const HELLO: &str = "GET / HTTP/1.1\r\nhost: gateway.example\r\n\r\n";
const LAST_HELLO: &str = "GET / HTTP/1.1\r\nhost: gateway.example\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn http1_answers_one_request_after_the_other_on_one_connection() {
    let world = World::plain();
    let (mut io, served) = world.connect();

    io.write_all(HELLO.as_bytes()).await.unwrap();
    let first = read_until(&mut io, "hello").await;
    let second = exchange(&mut io, LAST_HELLO).await;

    assert!(first.starts_with("HTTP/1.1 200 OK\r\n"), "{first}");
    assert!(second.ends_with("hello"), "{second}");
    served.await.unwrap().unwrap();
}

#[tokio::test]
async fn http2_is_spoken_by_prior_knowledge_many_requests_at_once() {
    let world = World::plain();
    let (io, served) = world.connect();
    let (requests, connection) = http2_over(io).await;

    let mut answers = Vec::new();
    for number in 0..20 {
        let mut requests = requests.clone();
        let body = Bytes::from(format!("body {number}"));
        let request = Request::post("http://gateway.example/echo");
        let request = request.body(Full::new(body)).unwrap();
        answers.push(tokio::spawn(async move { requests.send_request(request).await }));
    }

    for (number, answer) in answers.into_iter().enumerate() {
        let answer = answer.await.unwrap().unwrap();
        assert_eq!(answer.version(), Version::HTTP_2);
        assert_eq!(text_of(answer).await, format!("body {number}"));
    }
    drop(requests);
    connection.await.unwrap().unwrap();
    served.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels_its_request() {
    let mut world = World::plain();
    let (mut io, served) = world.connect();
    io.write_all(b"POST /never HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    world.asked.recv().await.unwrap();
    let (io2, _served2) = world.connect();
    let (mut requests, _connection) = http2_over(io2).await;
    let request = get("/never");
    let second = tokio::spawn(async move { requests.send_request(request).await });
    world.asked.recv().await.unwrap();

    drop(io);
    world.gone.recv().await.unwrap();
    second.abort();
    world.gone.recv().await.unwrap();

    assert!(matches!(served.await.unwrap(), Err(ServeError::Http(_))));
}

#[tokio::test]
async fn a_caller_that_goes_away_within_a_stream_cancels_it() {
    let mut world = World::plain();
    let (mut io, _served) = world.connect();
    io.write_all(b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut events = world.streams.recv().await.unwrap();
    events.send_data(Bytes::from_static(b"one")).await.unwrap();
    read_until(&mut io, "one\r\n").await;

    drop(io);

    // The sender fails once the body of the answer has been dropped.
    while events.send_data(Bytes::from_static(b"more")).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_head_may_be_as_large_as_the_bound_and_not_much_larger() {
    let world = World::plain();
    let with_padding =
        |padding: usize| format!("GET / HTTP/1.1\r\nconnection: close\r\na: {}\r\n\r\n", "x".repeat(padding));
    let frame = with_padding(0).len();

    let (mut io, _served) = world.connect();
    let fits = exchange(&mut io, &with_padding(65_000 - frame)).await;
    let (mut io, _served) = world.connect();
    let (mut reading, mut writing) = tokio::io::split(&mut io);
    let text = with_padding(70_000);
    // The answer may come, and the connection end, before all of the head was written.
    let (_, too_large) = tokio::join!(writing.write_all(text.as_bytes()), read_to_end(&mut reading));

    assert!(fits.starts_with("HTTP/1.1 200"), "{fits}");
    assert!(too_large.starts_with("HTTP/1.1 431"), "{too_large}");
}

#[tokio::test]
async fn a_head_may_have_as_many_fields_as_the_bound_and_not_one_more() {
    let world = World::plain();
    let with_fields = |count: usize| {
        let fields: String = (1..count).map(|n| format!("field-{n}: x\r\n")).collect();
        format!("GET / HTTP/1.1\r\nconnection: close\r\n{fields}\r\n")
    };

    let (mut io, _served) = world.connect();
    let fits = exchange(&mut io, &with_fields(100)).await;
    let (mut io, _served) = world.connect();
    let too_many = exchange(&mut io, &with_fields(101)).await;

    assert!(fits.starts_with("HTTP/1.1 200"), "{fits}");
    assert!(too_many.starts_with("HTTP/1.1 431"), "{too_many}");
}

#[tokio::test]
async fn an_http2_head_over_the_bound_is_refused_and_the_connection_goes_on() {
    let world = World::plain();
    let (io, _served) = world.connect();
    let (mut requests, _connection) = http2_over(io).await;
    let mut large = get("/");
    let value = "x".repeat(70_000).parse().unwrap();
    large.headers_mut().insert("a", value);

    let refused = requests.send_request(large).await;
    let answer = requests.send_request(get("/")).await.unwrap();

    let status = refused.map(|answer| answer.status());
    assert!(matches!(status, Err(_) | Ok(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)));
    assert_eq!(text_of(answer).await, "hello");
}

#[tokio::test]
async fn smuggling_by_two_lengths_is_refused() {
    let world = World::plain();
    for fields in [
        "content-length: 3\r\ncontent-length: 4\r\n",
        "content-length: 3\r\ntransfer-encoding: gzip\r\n",
        "transfer-encoding: chunked, gzip\r\n",
        "content-length: -1\r\n",
        "content-length : 3\r\n",
    ] {
        let (mut io, _served) = world.connect();
        let request = format!("POST /echo HTTP/1.1\r\nhost: a\r\n{fields}\r\nabc");

        let answer = exchange(&mut io, &request).await;

        assert!(answer.starts_with("HTTP/1.1 400"), "{fields}: {answer}");
    }
}

fn behind_load_balancers() -> World {
    World::with(Door::new(
        ListenSettings { proxy_protocol_from: vec!["10.1.0.0/16".parse().unwrap()], ..ListenSettings::default() },
        None,
    ))
}

#[tokio::test]
async fn a_listed_load_balancer_names_the_caller() {
    let world = behind_load_balancers();
    for caller in ["198.51.100.7:2222", "[2001:db8::7]:2222"] {
        let (mut io, served) = world.connect_from("10.1.2.3:1111");

        io.write_all(&proxied(caller.parse().unwrap(), &[0xee, 0, 1, 7])).await.unwrap();
        let answer = exchange(&mut io, &LAST_HELLO.replace("GET /", "GET /who")).await;

        let expected = format!("Peer {{ address: {caller}, via: Some(10.1.2.3:1111), tls: None }}");
        assert!(answer.ends_with(&expected), "{answer}");
        served.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_load_balancer_of_a_listed_network_of_ipv6_names_the_caller() {
    let settings =
        ListenSettings { proxy_protocol_from: vec!["fd00:1::/32".parse().unwrap()], ..ListenSettings::default() };
    let world = World::with(Door::new(settings, None));
    let (mut io, _served) = world.connect_from("[fd00:1::9]:1111");
    let (mut other, served) = world.connect_from("[fd00:2::9]:1111");
    let header = proxied("[2001:db8::7]:2222".parse().unwrap(), &[]);

    io.write_all(&header).await.unwrap();
    let answer = exchange(&mut io, &LAST_HELLO.replace("GET /", "GET /who")).await;
    other.write_all(&header).await.unwrap();
    let forged = exchange(&mut other, LAST_HELLO).await;

    assert!(answer.ends_with("address: [2001:db8::7]:2222, via: Some([fd00:1::9]:1111), tls: None }"), "{answer}");
    assert!(!forged.contains("hello"), "{forged}");
    let _ = served.await.unwrap();
}

#[tokio::test]
async fn a_load_balancers_own_check_is_its_own() {
    let world = behind_load_balancers();
    let (mut io, _served) = world.connect_from("10.1.2.3:1111");

    io.write_all(&header(0x20, 0, &[])).await.unwrap();
    let answer = exchange(&mut io, &LAST_HELLO.replace("GET /", "GET /who")).await;

    assert!(answer.ends_with("address: 10.1.2.3:1111, via: None, tls: None }"), "{answer}");
}

#[tokio::test]
async fn a_listed_load_balancer_that_names_nobody_is_refused() {
    let world = behind_load_balancers();
    let (mut io, served) = world.connect_from("10.1.2.3:1111");

    let answer = exchange(&mut io, HELLO).await;

    assert_eq!(answer, "");
    let refused = served.await.unwrap().unwrap_err();
    assert!(matches!(refused, ServeError::Proxy { .. }));
    assert_eq!(refused.to_string(), "load balancer 10.1.2.3:1111 was refused");
}

#[tokio::test]
async fn nobody_else_can_name_a_caller() {
    let world = behind_load_balancers();
    let (mut io, _served) = world.connect_from("10.2.0.1:1111");
    let (mut honest, _served2) = world.connect_from("10.2.0.1:1112");
    let caller = "198.51.100.7:2222".parse().unwrap();

    io.write_all(&proxied(caller, &[])).await.unwrap();
    let refused = exchange(&mut io, LAST_HELLO).await;
    let answer = exchange(&mut honest, &LAST_HELLO.replace("GET /", "GET /who")).await;

    assert!(refused.starts_with("HTTP/1.1 400"), "{refused}");
    assert!(answer.ends_with("address: 10.2.0.1:1112, via: None, tls: None }"), "{answer}");
}
