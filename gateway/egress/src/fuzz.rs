//! What must hold for any answers at all, as a plain function: the seeded property test calls it, and so can a fuzzer.
//!
//! The bytes decide what a server in this process says to each question of a walk: any chain of any names, with every lie
//! that a message can tell. Whatever it says, the walk ends, and an address comes out as private only if the answers
//! that may be believed really hold the chain that leads there.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use hickory_resolver::proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::{CNAME, SOA};
use hickory_resolver::proto::rr::{DNSClass, Name, RData, Record, RecordType};
use parking_lot::Mutex;
use tokio::runtime::Runtime;

pub use crate::http1::fuzz::reply;

use crate::address::Verified;
use crate::catalogue;
use crate::dns::{Asker, Freshness, Route, Script, Server, Via};
use crate::judge;
use crate::resolve::{Resolution, both};
use crate::spec::Reach;

const HOST: &str = "x.openai.azure.com";
const PRIVATE: &str = "privatelink.openai.azure.com";
const NAMES: [&str; 8] = [
    HOST,
    "x.privatelink.openai.azure.com",
    "y.privatelink.openai.azure.com",
    "weu.prod.vnet.cog.trafficmanager.net",
    "vnetproxyv1-weu.westeurope.cloudapp.azure.com",
    "gw.attacker.test",
    "x.privatelink.openai.azure.com.attacker.test",
    ".",
];
const ADDRESSES: [&str; 12] = [
    "10.20.1.5",
    "10.20.9.9",
    "20.50.1.1",
    "10.21.0.1",
    "169.254.169.254",
    "127.0.0.1",
    "0.0.0.0",
    "fd00:20::5",
    "2606:4700::1",
    "::ffff:10.20.1.5",
    "64:ff9b::10.20.1.5",
    "fd00:ec2::254",
];

/// Bytes as decisions; when they run out, every decision is the first.
struct Dice<'a>(&'a [u8]);

impl Dice<'_> {
    fn roll(&mut self, sides: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first) % sides
    }

    fn of<'b>(&mut self, items: &[&'b str]) -> &'b str {
        items.get(self.roll(items.len())).copied().unwrap_or_default()
    }
}

/// A server that says what the dice say, and remembers what of it may be believed.
struct Liar {
    dice: Mutex<Vec<u8>>,
    believable: Mutex<Vec<Message>>,
    said: Mutex<usize>,
}

impl Liar {
    /// The datagrams that come back for a question.
    fn answer(&self, question: &[u8], stream: bool) -> Vec<Vec<u8>> {
        let Ok(asked) = Message::from_vec(question) else { return Vec::new() };
        let mut dice = self.dice.lock();
        let bytes = std::mem::take(&mut *dice);
        let mut rolled = Dice(&bytes);
        let strays = rolled.roll(4).saturating_sub(1);
        let mut datagrams: Vec<Vec<u8>> = (0..=strays).map(|_| told(&asked, &mut rolled)).collect();
        if rolled.roll(16) == 15 {
            datagrams.clear();
        }
        *dice = rolled.0.to_vec();
        *self.said.lock() += 1;
        for datagram in &datagrams {
            if let Ok(message) = Message::from_vec(datagram)
                && belongs(&message, &asked, !stream)
            {
                self.believable.lock().push(message);
            }
        }
        datagrams
    }
}

/// What may be believed, told again without the code that is tested.
fn belongs(message: &Message, asked: &Message, exact: bool) -> bool {
    let ([question], [own]) = (message.queries.as_slice(), asked.queries.as_slice()) else { return false };
    let (theirs, ours) = (question.name.to_ascii(), own.name.to_ascii());
    let same = if exact { theirs == ours } else { theirs.eq_ignore_ascii_case(&ours) };
    same && message.id == asked.id
        && question.query_type == own.query_type
        && question.query_class == own.query_class
        && message.message_type == MessageType::Response
        && message.op_code == OpCode::Query
}

/// One message: an answer, and perhaps a lie about it.
fn told(asked: &Message, dice: &mut Dice<'_>) -> Vec<u8> {
    let mut message = Message::new(asked.id, MessageType::Response, OpCode::Query);
    message.queries.clone_from(&asked.queries);
    fill(&mut message, asked, dice);
    match dice.roll(20) {
        8 => message.metadata.id = asked.id.wrapping_add(1),
        9 => message.queries.clear(),
        10 => message.queries = vec![Query::query(name(dice.of(&NAMES)), RecordType::A)],
        11 => message.metadata.message_type = MessageType::Query,
        12 => message.metadata.truncation = true,
        13 => message.queries.iter_mut().for_each(|query| query.name = query.name.to_lowercase()),
        14 => message.metadata.response_code = [ResponseCode::ServFail, ResponseCode::Refused][dice.roll(2)],
        15 => message.metadata.op_code = OpCode::Update,
        _ => {}
    }
    let mut bytes = message.to_vec().unwrap_or_default();
    match dice.roll(20) {
        15 => bytes.truncate(dice.roll(bytes.len().max(1))),
        16 => bytes.extend((0..dice.roll(64)).map(|_| 0xC0)),
        // A pointer where a name begins: to itself, to the header, past the end.
        17 => {
            let (at, to) = (dice.roll(bytes.len().max(1)), dice.roll(256) as u8);
            bytes.splice(at..(at + 2).min(bytes.len()), [0xC0, to]);
        }
        18 => {
            for _ in 0..=dice.roll(6) {
                let (at, bit) = (dice.roll(bytes.len().max(1)), dice.roll(8));
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
        }
        19 => bytes = (0..dice.roll(256)).map(|_| dice.roll(256) as u8).collect(),
        _ => {}
    }
    bytes
}

/// A chain from the name that was asked for, or from anywhere.
fn fill(message: &mut Message, asked: &Message, dice: &mut Dice<'_>) {
    let Some(question) = asked.queries.first() else { return };
    let mut at = if dice.roll(8) == 7 { name(dice.of(&NAMES)) } else { question.name.clone() };
    for _ in 0..dice.roll(5) {
        let target = name(dice.of(&NAMES));
        message.answers.push(Record::from_rdata(at.clone(), ttl(dice), RData::CNAME(CNAME(target.clone()))));
        if dice.roll(8) != 7 {
            at = target;
        }
    }
    let many = if dice.roll(40) == 39 { 300 } else { dice.roll(4) };
    for _ in 0..many {
        let address: IpAddr = dice.of(&ADDRESSES).parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let data = match address {
            IpAddr::V4(v4) => RData::A(v4.into()),
            IpAddr::V6(v6) => RData::AAAA(v6.into()),
        };
        message.answers.push(Record::from_rdata(at.clone(), ttl(dice), data));
    }
    if dice.roll(6) == 5 {
        message.metadata.response_code = ResponseCode::NXDomain;
    }
    if dice.roll(3) == 2 {
        let soa = SOA::new(Name::root(), Name::root(), 1, 1, 1, 1, dice.roll(256) as u32);
        message.authorities.push(Record::from_rdata(name(PRIVATE), ttl(dice), RData::SOA(soa)));
    }
}

fn ttl(dice: &mut Dice<'_>) -> u32 {
    [10, 0, 1, 300, 86_400, u32::MAX][dice.roll(6)]
}

fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).unwrap_or_else(|_| Name::root());
    name.set_fqdn(true);
    name
}

/// Everything below the service's two zones is asked of the liar, and nothing else of anyone.
struct Zones(Arc<Asker>);

impl Route for Zones {
    fn to(&self, name: &Name, _: Option<&Arc<Asker>>) -> Option<Arc<Asker>> {
        let text = name.to_ascii().to_ascii_lowercase();
        text.ends_with(".openai.azure.com.").then(|| Arc::clone(&self.0))
    }
}

fn reach() -> Reach {
    Reach::PrivateLink {
        service: Arc::clone(catalogue::service("azure-openai").expect("it is shipped")),
        within: ["10.20.0.0/16", "fd00:20::/32"].iter().filter_map(|net| net.parse().ok()).collect(),
        resolver: None,
        expect: Vec::new(),
    }
}

thread_local! {
    static RUNTIME: Runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime without threads starts");
}

/// Walks through what the bytes make a server say, and holds the verdict to what may be believed of it.
///
/// # Panics
///
/// When an address passes as private that the answers do not show to be.
pub fn chain(bytes: &[u8]) {
    let liar =
        Arc::new(Liar { dice: Mutex::new(bytes.to_vec()), believable: Mutex::default(), said: Mutex::default() });
    let own = Arc::clone(&liar);
    let script: Script = Arc::new(move |question: &[u8], stream| own.answer(question, stream));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 53));
    let servers = vec![Server::new(address, Via::Scripted(script))];
    let asker = Arc::new(Asker::new("liar".into(), servers));
    let resolution: Resolution = RUNTIME
        .with(|runtime| runtime.block_on(both(&Zones(Arc::clone(&asker)), &name(HOST), &asker, Freshness::Asked)));

    let verdict = judge::judge(&reach(), &resolution, 443);

    assert!(*liar.said.lock() <= 32, "the walk asked {} times", liar.said.lock());
    if let Ok(verified) = verdict {
        let believable = liar.believable.lock();
        let addresses: Vec<IpAddr> = verified.iter().map(|address: &Verified| address.socket().ip()).collect();
        assert!(!addresses.is_empty(), "nothing was proved");
        let of = |v4: bool| addresses.iter().copied().filter(|address| address.is_ipv4() == v4).collect::<Vec<_>>();
        // A mapped address comes in an AAAA record and counts as what it carries.
        let shown = [RecordType::A, RecordType::AAAA]
            .iter()
            .any(|kind| leads(&believable, (HOST, *kind, 0), &of(true), &mut HashSet::new()));
        assert!(shown, "no chain leads to {addresses:?}: {:?}", resolution.hops);
        assert!(of(false).is_empty(), "the service has no IPv6: {addresses:?}");
        for address in &addresses {
            let IpAddr::V4(v4) = address else { continue };
            assert!(matches!(v4.octets(), [10, 20, ..]), "{address} is not inside");
        }
    }
}

/// Whether some believable answers lead from a name over names that are allowed to exactly these addresses, or to some of
/// them, the rest coming with the other family.
///
/// What was tried at a depth and led nowhere is in `tried`: answers that name one another would be walked for ever else.
fn leads(
    believable: &[Message],
    (at, kind, depth): (&str, RecordType, usize),
    addresses: &[IpAddr],
    tried: &mut HashSet<(String, usize)>,
) -> bool {
    let lower = |name: &Name| name.to_ascii().to_ascii_lowercase().trim_end_matches('.').to_owned();
    depth <= 12
        && tried.insert((at.to_owned(), depth))
        && believable.iter().filter(|message| message.queries.iter().all(|query| query.query_type == kind)).any(
            |message| {
                // A record of another class than IN says nothing, and is passed over.
                let answers = || message.answers.iter().filter(|record| record.dns_class == DNSClass::IN);
                let own = || answers().filter(|record| lower(&record.name) == at);
                let aliases: Vec<String> = own()
                    .filter_map(|record| match &record.data {
                        RData::CNAME(target) => Some(lower(&target.0)),
                        _ => None,
                    })
                    .collect();
                let found: Vec<IpAddr> = own()
                    // An address of the other family than was asked for is passed over.
                    .filter_map(|record| match &record.data {
                        RData::A(address) if kind == RecordType::A => Some(IpAddr::V4(address.0)),
                        RData::AAAA(address) if kind == RecordType::AAAA => Some(IpAddr::V6(address.0).to_canonical()),
                        _ => None,
                    })
                    .collect();
                let inside = at.ends_with(&format!(".{PRIVATE}")) && !found.is_empty();
                (inside
                    && aliases.is_empty()
                    && found.iter().all(|address| addresses.contains(address) || address.is_ipv6()))
                    || aliases.iter().any(|target| {
                        let allowed = target.ends_with(&format!(".{PRIVATE}"));
                        allowed && leads(believable, (target, kind, depth + 1), addresses, tried)
                    })
            },
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// splitmix64, so that a run can be told by its number.
    fn bytes_of(mut seed: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(160);
        for _ in 0..20 {
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut bits = seed;
            bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bytes.extend((bits ^ (bits >> 31)).to_be_bytes());
        }
        bytes
    }

    #[test]
    fn whatever_a_server_says_the_walk_ends_and_nothing_false_passes_as_private() {
        // `tests/run` makes a million; whoever works on something else waits for fewer.
        let runs = std::env::var("CAUSEWAY_WALKS").map_or(20_000, |runs| runs.parse::<u64>().expect("a number"));
        let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);

        std::thread::scope(|scope| {
            for first in 0..threads {
                scope.spawn(move || {
                    for seed in (first..runs).step_by(threads as usize) {
                        let run = std::panic::catch_unwind(|| chain(&bytes_of(seed)));
                        assert!(run.is_ok(), "run {seed} of {runs}");
                    }
                });
            }
        });
    }

    /// A fuzzer found these bytes. Without a memory of what led nowhere they are walked for longer than anybody waits.
    #[test]
    fn answers_that_name_one_another_are_walked_once() {
        let bytes = [&[0x0a][..], &[0x86; 29], &[0xc9; 12], &[0, 0, 0, 0x40], &[0xc9; 56], &[0x86; 24]].concat();
        chain(&bytes);
    }

    /// The liar must be able to tell the truth as well, or the property above would hold for a judge that always says no.
    #[test]
    fn some_runs_end_at_a_private_address() {
        let private = (0..20_000).filter(|seed| {
            let bytes = bytes_of(*seed);
            let liar = Arc::new(Liar { dice: Mutex::new(bytes), believable: Mutex::default(), said: Mutex::default() });
            let script: Script = Arc::new(move |question: &[u8], stream| liar.answer(question, stream));
            let server = Server::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 53)), Via::Scripted(script));
            let asker = Arc::new(Asker::new("liar".into(), vec![server]));
            let (zones, host) = (Zones(Arc::clone(&asker)), name(HOST));
            let resolution = RUNTIME.with(|runtime| runtime.block_on(both(&zones, &host, &asker, Freshness::Asked)));
            judge::judge(&reach(), &resolution, 443).is_ok()
        });

        assert!(private.count() >= 20);
    }
}
