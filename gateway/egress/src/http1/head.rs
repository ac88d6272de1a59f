//! The heads: that of a request as bytes, and that of a reply out of bytes (RFC 9112 sections 3 to 6).

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{Method, Request, StatusCode};

use super::chunked::Chunked;
use super::{Fault, Framing};
use crate::body::UpstreamBody;

/// Largest head of a reply, in bytes: 128 KiB. Servers and proxies send a few; some allow 64 KiB.
pub(super) const MOST_HEAD: usize = 128 << 10;

/// Most headers of a reply.
pub(super) const MOST_HEADERS: usize = 100;

/// Writes the head of a request whose body is `length` bytes long.
pub(super) fn write(request: &Request<UpstreamBody>, length: u64, into: &mut Vec<u8>) {
    into.clear();
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    for part in [request.method().as_str(), " ", path, " HTTP/1.1\r\n"] {
        into.extend_from_slice(part.as_bytes());
    }
    for (name, value) in request.headers() {
        // How long the body is, is said here and once: a second opinion is how requests are smuggled.
        if name == CONTENT_LENGTH || name == TRANSFER_ENCODING {
            continue;
        }
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            into.extend_from_slice(part);
        }
    }
    if length > 0 || !matches!(*request.method(), Method::GET | Method::HEAD) {
        into.extend_from_slice(b"content-length: ");
        into.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
        into.extend_from_slice(b"\r\n");
    }
    into.extend_from_slice(b"\r\n");
}

/// The head of a reply.
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) framing: Framing,
    /// The server takes another request on this connection.
    pub(super) keeps: bool,
}

/// How far a head was looked at whose end has not come.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Looked {
    /// Where its last line begins.
    line: usize,
    /// A line that is not empty has come.
    has_line: bool,
}

/// Takes a head out of `input` once it has come whole; `looked` is kept from one try to the next.
pub(super) fn take(input: &mut BytesMut, looked: &mut Looked, to_head: bool) -> Result<Option<Head>, Fault> {
    let Some(length) = end(input, looked) else {
        return if input.len() > MOST_HEAD { Err(Fault::HeadTooLarge) } else { Ok(None) };
    };
    if length > MOST_HEAD {
        return Err(Fault::HeadTooLarge);
    }
    *looked = Looked::default();
    read(&input.split_to(length).freeze(), to_head).map(Some)
}

/// The length of the head that `input` begins with: to the first empty line behind the first line that is not empty.
fn end(input: &[u8], looked: &mut Looked) -> Option<usize> {
    let from = looked.line;
    for end in memchr::memchr_iter(b'\n', input.get(from..).unwrap_or_default()).map(|at| from + at) {
        let is_empty = matches!(input.get(looked.line..end), Some(b"" | b"\r"));
        if is_empty && looked.has_line {
            return Some(end + 1);
        }
        looked.has_line |= !is_empty;
        looked.line = end + 1;
    }
    None
}

fn read(bytes: &Bytes, to_head: bool) -> Result<Head, Fault> {
    let mut room = [const { MaybeUninit::uninit() }; MOST_HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    let reader = httparse::ParserConfig::default();
    let whole = reader.parse_response_with_uninit_headers(&mut parsed, bytes, &mut room).map_err(Fault::Head)?;
    let (true, Some(version), Some(code)) = (whole.is_complete(), parsed.version, parsed.code) else {
        return Err(Fault::Head(httparse::Error::Status));
    };
    let status = StatusCode::from_u16(code).map_err(|_| Fault::Head(httparse::Error::Status))?;
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    for header in parsed.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes());
        let name = name.map_err(|_| Fault::Head(httparse::Error::HeaderName))?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(header.value));
        let value = value.map_err(|_| Fault::Head(httparse::Error::HeaderValue))?;
        headers.append(name, value);
    }
    let (framing, is_clear) = framing(status, version, &headers, to_head)?;
    Ok(Head { keeps: is_clear && keeps(version, &headers), status, headers, framing })
}

/// How the body ends, and whether that leaves no doubt (RFC 9112 section 6.3).
fn framing(status: StatusCode, version: u8, headers: &HeaderMap, to_head: bool) -> Result<(Framing, bool), Fault> {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        // Nothing was asked to be switched; what follows is no HTTP.
        return Err(Fault::Unasked);
    }
    let length = length(headers)?;
    let has_none = status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if to_head || has_none {
        // A server that announces a body where none can be may send it all the same, and later than this reply is done with.
        let may_tell = to_head || status == StatusCode::NOT_MODIFIED;
        let is_announced =
            headers.contains_key(TRANSFER_ENCODING) || (length.is_some_and(|length| length > 0) && !may_tell);
        return Ok((Framing::Length(0), !is_announced));
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
        let only = codings.next().filter(|_| codings.next().is_none());
        let is_chunked = only.is_some_and(|coding| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"));
        if version == 0 || !is_chunked {
            return Err(Fault::TransferEncoding);
        }
        // A length beside it is what a server and a proxy before it may disagree about: the connection ends with this reply.
        return Ok((Framing::Chunked(Chunked::Size), length.is_none()));
    }
    Ok(length.map_or((Framing::ToTheEnd, false), |length| (Framing::Length(length), true)))
}

/// What all `content-length` say, which must be the same.
fn length(headers: &HeaderMap) -> Result<Option<u64>, Fault> {
    let mut said = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        for part in value.as_bytes().split(|byte| *byte == b',') {
            let digits = part.trim_ascii();
            let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
            let number = std::str::from_utf8(digits).ok().filter(|_| is_number).and_then(|digits| digits.parse().ok());
            let number: u64 = number.ok_or(Fault::Length)?;
            if said.is_some_and(|said| said != number) {
                return Err(Fault::Length);
            }
            said = Some(number);
        }
    }
    Ok(said)
}

/// Whether the connection stays open: as the version has it, unless `connection` says otherwise; `close` is the last word.
fn keeps(version: u8, headers: &HeaderMap) -> bool {
    let mut keeps = version == 1;
    for value in headers.get_all(CONNECTION) {
        for option in value.as_bytes().split(|byte| *byte == b',') {
            let option = option.trim_ascii();
            if option.eq_ignore_ascii_case(b"close") {
                return false;
            }
            keeps |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
    keeps
}
