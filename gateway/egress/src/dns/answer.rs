//! What one answer says, once its bytes have been read and found to belong to the question.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_resolver::proto::rr::{DNSClass, Name, RData, RecordType};
use tokio::time::Instant;

use super::exchange::Trouble;

/// Most records of one answer. A name with more addresses than this is refused rather than cut.
const MOST_RECORDS: usize = 256;
/// How long a positive answer counts. Private records often live for 10 s; an hour would hide a moved endpoint.
const POSITIVE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// How long a negative answer counts: a name that was just created must not stay dark.
const NEGATIVE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// What fits into one datagram on every path (DNS flag day 2020).
const PAYLOAD: u16 = 1232;

/// What is asked: a whole name, and A or AAAA.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    pub(crate) name: Name,
    pub(crate) kind: RecordType,
}

impl Question {
    /// A message that asks it, with a random id. No option of EDNS is set, so that nothing of a client is told.
    pub(crate) fn message(&self) -> Message {
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        message.queries.push(Query::query(self.name.clone(), self.kind));
        let mut edns = Edns::new();
        edns.set_max_payload(PAYLOAD);
        message.set_edns(edns);
        message
    }
}

/// One record that matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) owner: Name,
    pub(crate) ttl: u32,
    pub(crate) data: Data,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    Alias(Name),
    Address(IpAddr),
}

/// What one server said to one question.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) server: SocketAddr,
    pub(crate) transport: &'static str,
    /// The server says that the last name of the chain does not exist.
    pub(crate) no_such_name: bool,
    pub(crate) records: Vec<Record>,
    /// The zone that says so, where nothing was found.
    pub(crate) negative_zone: Option<Name>,
    pub(crate) until: Instant,
}

/// Whether the message answers what was asked: its id, its question, and (`exact`) the question's very letters.
pub(crate) fn belongs(message: &Message, sent: &Message, exact: bool) -> bool {
    let (Some(asked), [answered]) = (sent.queries.first(), message.queries.as_slice()) else { return false };
    let same_name = if exact { asked.name.eq_case(&answered.name) } else { asked.name == answered.name };
    message.id == sent.id
        && message.message_type == MessageType::Response
        && message.op_code == OpCode::Query
        && same_name
        && asked.query_type == answered.query_type
        && asked.query_class == answered.query_class
}

/// Keeps what matters of an answer.
///
/// # Errors
///
/// A response code that says nothing about the name, or more records than are kept.
pub(crate) fn distil(message: Message, question: &Question, by: (SocketAddr, &'static str)) -> Result<Told, Trouble> {
    let no_such_name = match message.response_code {
        ResponseCode::NoError => false,
        ResponseCode::NXDomain => true,
        code => return Err(Trouble::Answered(code.to_string())),
    };
    if message.answers.len() > MOST_RECORDS {
        return Err(Trouble::Malformed(format!("the answer holds {} records", message.answers.len())));
    }
    let soa = message.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some((record.name.clone(), record.ttl.min(soa.minimum))),
        _ => None,
    });
    let in_class = message.answers.into_iter().filter(|record| record.dns_class == DNSClass::IN);
    let records: Vec<Record> = in_class
        .filter_map(|record| {
            let data = match (question.kind, &record.data) {
                (_, RData::CNAME(target)) => Data::Alias(target.0.clone()),
                (RecordType::A, RData::A(address)) => Data::Address(IpAddr::V4(address.0)),
                (RecordType::AAAA, RData::AAAA(address)) => Data::Address(IpAddr::V6(address.0)),
                _ => return None,
            };
            Some(Record { owner: record.name, ttl: record.ttl, data })
        })
        .collect();
    let found = records.iter().any(|record| matches!(record.data, Data::Address(_)));
    let seconds = |ttl: u32| Duration::from_secs(u64::from(ttl));
    let lifetime = if found && !no_such_name {
        let shortest = records.iter().map(|record| record.ttl).min().unwrap_or_default();
        seconds(shortest).clamp(POSITIVE.0, POSITIVE.1)
    } else {
        seconds(soa.as_ref().map_or(0, |(_, ttl)| *ttl)).clamp(NEGATIVE.0, NEGATIVE.1)
    };
    Ok(Told {
        server: by.0,
        transport: by.1,
        no_such_name,
        records,
        negative_zone: soa.map(|(zone, _)| zone),
        until: Instant::now() + lifetime,
    })
}
