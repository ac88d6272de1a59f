//! A resolver that lies, cuts its answers short, is late, or never answers: over real sockets, byte by byte.
//!
//! Every false answer names an address that the endpoint would be dialled at, so that one that is believed shows.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use egress::{Code, Fleet, ResolverSpec, SendError};
use hickory_resolver::proto::op::{Message, MessageType};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

use crate::world::{answering, fleet_with, named, ok, read, send};

const TRUE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const FALSE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// From where a datagram comes: the socket that was asked, or another one of the same machine.
#[derive(Clone, Copy)]
enum Way {
    Asked,
    Elsewhere,
}

/// A server of UDP whose datagrams are what `say` makes of each question.
struct Liar {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Liar {
    async fn start(say: impl Fn(&Message) -> Vec<(Way, Vec<u8>)> + Send + 'static) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        Self::at(socket, say).await
    }

    async fn at(socket: UdpSocket, say: impl Fn(&Message) -> Vec<(Way, Vec<u8>)> + Send + 'static) -> Self {
        let elsewhere = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let liar = Self { address: socket.local_addr().unwrap(), asked: Arc::default() };
        let asked = Arc::clone(&liar.asked);
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            loop {
                let (count, client) = socket.recv_from(&mut buffer).await.unwrap();
                asked.fetch_add(1, Ordering::SeqCst);
                for (way, datagram) in say(&Message::from_vec(&buffer[..count]).unwrap()) {
                    let sender = match way {
                        Way::Asked => &socket,
                        Way::Elsewhere => &elsewhere,
                    };
                    sender.send_to(&datagram, client).await.unwrap();
                }
            }
        });
        liar
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// What an honest server would say, with this address.
fn answer(question: &Message, address: Ipv4Addr) -> Message {
    let query = question.queries[0].clone();
    let mut reply = Message::new(question.id, MessageType::Response, question.op_code);
    if query.query_type == RecordType::A {
        reply.answers.push(Record::from_rdata(query.name.clone(), 10, RData::A(address.into())));
    }
    reply.queries.push(query);
    reply
}

fn falsely(question: &Message, how: impl Fn(&mut Message)) -> Vec<u8> {
    let mut reply = answer(question, FALSE);
    how(&mut reply);
    reply.to_vec().unwrap()
}

/// The same name in the other letters: right for a server that does not look, and wrong for a guess that cannot see them.
fn in_other_letters(name: &Name) -> Name {
    let turned = |letter: char| {
        if letter.is_ascii_lowercase() { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }
    };
    Name::from_ascii(name.to_ascii().chars().map(turned).collect::<String>()).unwrap()
}

/// A name that points to itself (RFC 1035 section 4.1.4).
fn pointing_to_itself(question: &Message) -> Vec<u8> {
    let mut bytes = question.id.to_be_bytes().to_vec();
    bytes.extend([0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 0x0c, 0, 1, 0, 1]);
    bytes
}

fn fleet_asking(port: u16, servers: &[SocketAddr]) -> Fleet {
    let resolver = ResolverSpec::new("corp", &["internal"], servers.to_vec());
    fleet_with(named("gpu.internal", port, &["127.0.0.0/8"]), resolver)
}

async fn refused(fleet: &Fleet) -> (Option<Code>, String) {
    match send(fleet).await.unwrap_err() {
        SendError::NoPrivatePath(verdict) => (Some(verdict.code), verdict.seen),
        other => (None, other.to_string()),
    }
}

#[tokio::test]
async fn an_answer_counts_only_with_its_id_its_question_its_letters_and_from_where_it_was_asked() {
    let upstream = answering(ok).await;
    let dns = Liar::start(|question| {
        vec![
            (Way::Asked, b"no dns at all".to_vec()),
            (Way::Asked, pointing_to_itself(question)),
            (Way::Asked, falsely(question, |reply| reply.metadata.id = reply.metadata.id.wrapping_add(1))),
            (Way::Asked, falsely(question, |reply| reply.metadata.message_type = MessageType::Query)),
            (Way::Asked, falsely(question, |reply| reply.queries.clear())),
            (Way::Asked, falsely(question, |reply| reply.queries[0].query_type = RecordType::TXT)),
            (Way::Asked, falsely(question, |reply| reply.queries[0].name = Name::from_ascii("x.internal.").unwrap())),
            (Way::Asked, falsely(question, |reply| reply.queries[0].name = in_other_letters(&reply.queries[0].name))),
            (Way::Elsewhere, falsely(question, |_| {})),
            (Way::Asked, answer(question, TRUE).to_vec().unwrap()),
        ]
    })
    .await;
    let fleet = fleet_asking(upstream.address.port(), &[dns.address]);

    let reply = send(&fleet).await.unwrap();

    assert_eq!(reply.connection.address.ip(), IpAddr::V4(TRUE));
    assert_eq!(read(reply).await, "ok");
}

#[tokio::test]
async fn who_says_nothing_that_belongs_to_the_question_has_not_answered() {
    let dns = Liar::start(|question| vec![(Way::Asked, pointing_to_itself(question))]).await;

    let (code, seen) = refused(&fleet_asking(443, &[dns.address])).await;

    assert_eq!(code, Some(Code::Dns07), "{seen}");
    assert!(seen.contains("does not answer"), "{seen}");
}

/// UDP and TCP at one port. Over TCP the answer holds this many addresses.
async fn cutting_short(addresses: u16) -> Liar {
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let udp = UdpSocket::bind(tcp.local_addr().unwrap()).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let length = stream.read_u16().await.unwrap();
            let mut question = vec![0; usize::from(length)];
            stream.read_exact(&mut question).await.unwrap();
            let question = Message::from_vec(&question).unwrap();
            let mut reply = answer(&question, TRUE);
            for _ in 1..addresses {
                reply.answers.extend(answer(&question, TRUE).answers);
            }
            let reply = reply.to_vec().unwrap();
            stream.write_u16(u16::try_from(reply.len()).unwrap()).await.unwrap();
            stream.write_all(&reply).await.unwrap();
        }
    });
    Liar::at(udp, |question| vec![(Way::Asked, falsely(question, |reply| reply.metadata.truncation = true))]).await
}

#[tokio::test]
async fn an_answer_that_is_cut_short_is_asked_for_over_tcp_and_nothing_of_it_is_taken() {
    let upstream = answering(ok).await;
    let dns = cutting_short(1).await;
    let fleet = fleet_asking(upstream.address.port(), &[dns.address]);

    let reply = send(&fleet).await.unwrap();

    assert_eq!(reply.connection.address.ip(), IpAddr::V4(TRUE));
    assert!(reply.connection.resolution.hops.iter().all(|hop| hop.transport == "tcp"));
}

#[tokio::test]
async fn an_answer_with_more_records_than_anybody_needs_is_refused_whole() {
    let dns = cutting_short(300).await;

    let (code, seen) = refused(&fleet_asking(443, &[dns.address])).await;

    assert_eq!(code, Some(Code::Dns07), "{seen}");
    assert!(seen.contains("holds 300 records"), "{seen}");
}

#[tokio::test]
async fn an_answer_that_is_cut_short_without_tcp_behind_it_has_a_code_of_its_own() {
    let cut = |question: &Message| vec![(Way::Asked, falsely(question, |reply| reply.metadata.truncation = true))];
    let dns = Liar::start(cut).await;

    let (code, seen) = refused(&fleet_asking(443, &[dns.address])).await;

    assert_eq!(code, Some(Code::Dns08), "{seen}");
}

#[tokio::test]
async fn a_silent_server_is_not_waited_for_and_its_late_answer_changes_nothing() {
    let upstream = answering(ok).await;
    let late = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let prompt = Liar::start(|question| vec![(Way::Asked, answer(question, TRUE).to_vec().unwrap())]).await;
    let fleet = fleet_asking(upstream.address.port(), &[late.local_addr().unwrap(), prompt.address]);

    let first = send(&fleet).await.unwrap();
    let mut buffer = [0; 1500];
    let (count, client) = late.recv_from(&mut buffer).await.unwrap();
    let question = Message::from_vec(&buffer[..count]).unwrap();
    late.send_to(&falsely(&question, |_| {}), client).await.unwrap();
    let second = send(&fleet).await.unwrap();

    assert_eq!(first.connection.resolution.servers(), [prompt.address], "the first in the list was asked first");
    // A and AAAA, and again where the machine was too busy to hand an answer over in time.
    assert!((2..=4).contains(&prompt.asked()), "{}", prompt.asked());
    for reply in [first, second] {
        assert_eq!(reply.connection.address.ip(), IpAddr::V4(TRUE));
        assert_eq!(read(reply).await, "ok");
    }
}
