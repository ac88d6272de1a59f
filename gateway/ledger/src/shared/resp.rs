//! The protocol of Redis and Valkey (RESP2), as far as the shared counters need it.
//!
//! A library was weighed and not taken: each dials by itself, and the gateway dials in one place only. See
//! `docs/src/decisions/0040-shared-counters.md`.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The longest reply that is read. What is kept of administrators' restrictions is the longest by far.
const LONGEST_REPLY: usize = 8 << 20;

/// How deep arrays may lie in each other; the replies of our scripts are flat.
const DEEPEST: u32 = 4;

/// A stream to the store.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Wire for S {}

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Nothing,
    Array(Vec<Reply>),
}

/// A connection to the store, with what is read of it and not used yet.
pub(super) struct Link {
    wire: Box<dyn Wire>,
    unread: Vec<u8>,
}

impl Link {
    pub(super) fn new(wire: Box<dyn Wire>) -> Self {
        Self { wire, unread: Vec::new() }
    }

    /// Sends commands in one go and reads as many replies.
    pub(super) async fn ask(&mut self, commands: &Commands) -> io::Result<Vec<Reply>> {
        self.wire.write_all(&commands.bytes).await?;
        self.wire.flush().await?;
        let mut replies = Vec::with_capacity(commands.count);
        while replies.len() < commands.count {
            match parse(&self.unread)? {
                Some((reply, length)) => {
                    self.unread.drain(..length);
                    replies.push(reply);
                }
                None if self.unread.len() > LONGEST_REPLY => return Err(malformed("a reply is too long")),
                None => {
                    if self.wire.read_buf(&mut self.unread).await? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
            }
        }
        Ok(replies)
    }
}

/// Commands that are sent together.
#[derive(Default)]
pub(super) struct Commands {
    bytes: Vec<u8>,
    pub(super) count: usize,
}

impl Commands {
    pub(super) fn add(&mut self, parts: &[&[u8]]) {
        self.count += 1;
        self.bytes.extend(format!("*{}\r\n", parts.len()).bytes());
        for part in parts {
            self.bytes.extend(format!("${}\r\n", part.len()).bytes());
            self.bytes.extend(*part);
            self.bytes.extend(b"\r\n");
        }
    }

    pub(super) fn of(parts: &[&[u8]]) -> Self {
        let mut commands = Self::default();
        commands.add(parts);
        commands
    }
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The first reply and its length; nothing while it is not whole.
fn parse(bytes: &[u8]) -> io::Result<Option<(Reply, usize)>> {
    let mut at = 0;
    let reply = read(bytes, &mut at, 0)?;
    Ok(reply.map(|reply| (reply, at)))
}

fn read(bytes: &[u8], at: &mut usize, depth: u32) -> io::Result<Option<Reply>> {
    let Some((kind, text)) = line(bytes, at)? else { return Ok(None) };
    Ok(Some(match kind {
        b'+' => Reply::Simple(text.to_owned()),
        b'-' => Reply::Error(text.to_owned()),
        b':' => Reply::Integer(text.parse().map_err(|_| malformed("a number of a reply is none"))?),
        b'$' => match length(text)? {
            None => Reply::Nothing,
            Some(length) => {
                let Some(body) = bytes.get(*at..*at + length + 2) else { return Ok(None) };
                let body = body.strip_suffix(b"\r\n").ok_or_else(|| malformed("a text of a reply has no end"))?;
                *at += length + 2;
                Reply::Bulk(body.to_vec())
            }
        },
        b'*' if depth < DEEPEST => match length(text)? {
            None => Reply::Nothing,
            Some(count) => {
                let mut items = Vec::new();
                for _ in 0..count {
                    let Some(item) = read(bytes, at, depth + 1)? else { return Ok(None) };
                    items.push(item);
                }
                Reply::Array(items)
            }
        },
        _ => return Err(malformed("a reply is of no known kind")),
    }))
}

fn line<'b>(bytes: &'b [u8], at: &mut usize) -> io::Result<Option<(u8, &'b str)>> {
    let rest = bytes.get(*at..).unwrap_or_default();
    let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
    let (kind, text) = rest.get(..end).and_then(<[u8]>::split_first).ok_or_else(|| malformed("a reply is empty"))?;
    *at += end + 2;
    let text = std::str::from_utf8(text).map_err(|_| malformed("a reply is no text"))?;
    Ok(Some((*kind, text)))
}

fn length(text: &str) -> io::Result<Option<usize>> {
    if text == "-1" {
        return Ok(None);
    }
    let length: usize = text.parse().map_err(|_| malformed("a length of a reply is none"))?;
    if length > LONGEST_REPLY { Err(malformed("a reply is too long")) } else { Ok(Some(length)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_read_whole_wherever_it_is_cut() {
        let bytes = b"*4\r\n:12\r\n$5\r\na\r\nbc\r\n$-1\r\n+OK\r\n-ERR no\r\n";
        let whole = Reply::Array(vec![
            Reply::Integer(12),
            Reply::Bulk(b"a\r\nbc".to_vec()),
            Reply::Nothing,
            Reply::Simple("OK".to_owned()),
        ]);

        for end in 0..bytes.len() - 9 {
            assert_eq!(parse(bytes.get(..end).unwrap()).unwrap(), None, "{end}");
        }
        assert_eq!(parse(bytes).unwrap(), Some((whole, bytes.len() - 9)));
        assert_eq!(parse(b"-ERR no\r\n").unwrap(), Some((Reply::Error("ERR no".to_owned()), 9)));
    }

    #[test]
    fn what_is_no_reply_is_an_error_and_no_wait_for_more() {
        for bytes in
            [&b"\r\n"[..], b"HTTP/1.1 400\r\n", b":x\r\n", b"$99999999999\r\n", b"$1\r\nabc", b"*-2\r\n", b"+\xff\r\n"]
        {
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
        let nested = b"*1\r\n".repeat(9);
        assert!(parse(&nested).is_err());
    }

    #[test]
    fn commands_are_written_with_lengths_so_that_no_text_is_taken_for_another() {
        let commands = Commands::of(&[b"GET", b"a\r\nb"]);

        assert_eq!(commands.bytes, b"*2\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n");
    }
}
