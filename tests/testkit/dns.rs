//! A DNS server that says what it is told to say, to every question.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;

/// What the server says to a question for an IPv4 address; it knows of no other kind. A question for a name of the chain
/// gets the rest of the chain.
#[derive(Clone, Debug)]
pub(crate) enum Says {
    /// The name leads over these names to these addresses, all with this lifetime in seconds.
    Chain(Vec<&'static str>, Vec<Ipv4Addr>, u32),
    /// The last of these names does not exist.
    NoSuchName(Vec<&'static str>),
    /// SERVFAIL.
    Failure,
    /// Nothing at all.
    Nothing,
}

/// Answers for as long as it is held.
pub(crate) struct Dns {
    pub(crate) address: SocketAddr,
    says: Arc<Mutex<Says>>,
    task: tokio::task::JoinHandle<()>,
}

impl Dns {
    /// Every name is this machine.
    pub(crate) async fn start() -> Self {
        Self::saying(Says::Chain(Vec::new(), vec![Ipv4Addr::LOCALHOST], 60)).await
    }

    pub(crate) async fn saying(says: Says) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("port 0 is always free");
        let address = socket.local_addr().expect("a bound socket has an address");
        let says = Arc::new(Mutex::new(says));
        let own = Arc::clone(&says);
        let task = tokio::spawn(async move {
            let mut query = [0; 512];
            while let Ok((length, peer)) = socket.recv_from(&mut query).await {
                let says = own.lock().expect("no test panics while it holds this").clone();
                if let Some(answer) = answer(&query[..length], &says) {
                    let _ = socket.try_send_to(&answer, peer);
                }
            }
        });
        Self { address, says, task }
    }

    /// From now on it says something else.
    pub(crate) fn now_says(&self, says: Says) {
        *self.says.lock().expect("no test panics while it holds this") = says;
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The answer to one question (RFC 1035, section 4).
fn answer(query: &[u8], says: &Says) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    const ALIAS: u8 = 5;
    const ADDRESS: u8 = 1;
    let name = query.get(HEADER..)?.iter().position(|byte| *byte == 0)?;
    let question = query.get(HEADER..HEADER + name + 5)?;
    let is_a = question.ends_with(&[0, 1, 0, 1]);
    let (names, addresses, ttl, code): (&[_], &[_], _, _) = match says {
        Says::Chain(names, addresses, ttl) => (names, addresses, *ttl, 0),
        Says::NoSuchName(names) => (names, &[], 60, 3),
        Says::Failure => (&[], &[], 0, 2),
        Says::Nothing => return None,
    };
    let asked = question[..name + 1].to_ascii_lowercase();
    let passed = names.iter().position(|name| encoded(name) == asked).map_or(0, |at| at + 1);
    let names = names.get(passed..).unwrap_or_default();
    let mut records = Vec::new();
    // The name of the question, where it stands in the message.
    let mut owner = vec![0xC0, 0x0C];
    for target in names {
        let target = encoded(target);
        records.push(record(&owner, ALIAS, ttl, &target));
        owner = target;
    }
    records.extend(addresses.iter().filter(|_| is_a).map(|address| record(&owner, ADDRESS, ttl, &address.octets())));
    let mut answer = query[..2].to_vec();
    // An answer, recursion wished and had; one question, and the records.
    answer.extend([0x81, 0x80 | code, 0, 1, 0, u8::try_from(records.len()).ok()?, 0, 0, 0, 0]);
    answer.extend(question);
    answer.extend(records.concat());
    Some(answer)
}

/// A record of class IN.
fn record(owner: &[u8], kind: u8, ttl: u32, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).expect("names and addresses are short");
    [owner, &[0, kind, 0, 1], &ttl.to_be_bytes(), &length.to_be_bytes(), data].concat()
}

fn encoded(name: &str) -> Vec<u8> {
    let labels = name.split('.').flat_map(|label| {
        let length = u8::try_from(label.len()).expect("a label has at most 63 bytes");
        std::iter::once(length).chain(label.bytes())
    });
    labels.chain([0]).collect()
}
