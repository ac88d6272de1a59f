//! A DNS server for which every name is this machine.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::UdpSocket;

/// Answers for as long as it is held.
pub(crate) struct Dns {
    pub(crate) address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Dns {
    pub(crate) async fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("port 0 is always free");
        let address = socket.local_addr().expect("a bound socket has an address");
        let task = tokio::spawn(async move {
            let mut query = [0; 512];
            while let Ok((length, peer)) = socket.recv_from(&mut query).await {
                if let Some(answer) = answer(&query[..length]) {
                    let _ = socket.try_send_to(&answer, peer);
                }
            }
        });
        Self { address, task }
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The answer to one question (RFC 1035, section 4): 127.0.0.1 for type A, nothing for every other.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    let name = query.get(HEADER..)?.iter().position(|byte| *byte == 0)?;
    let question = query.get(HEADER..HEADER + name + 5)?;
    let is_a = question.ends_with(&[0, 1, 0, 1]);
    let mut answer = query[..2].to_vec();
    // An answer, recursion wished and had, no error; one question, and one record or none.
    answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
    answer.extend(question);
    if is_a {
        // The name of the question, type A, class IN, 60 seconds, four bytes.
        answer.extend([0xC0, 0x0C, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    Some(answer)
}
