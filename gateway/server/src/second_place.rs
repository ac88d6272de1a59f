//! Puts checkpoints of the audit log at the server, bucket or container that the configuration names as its second place.
//!
//! **Promises.** A server that is down, slow or lying costs no request and a bounded memory: only the latest checkpoint waits,
//! and it says all that the ones before said. A copy counts when the server took it with 200, 201 or 204 and, unless
//! `read_back` is off, gives the same bytes again. No redirection is followed and no file is put in the place of another
//! (`if-none-match: *`, RFC 9110 section 13.1.2; S3 and Azure take it too).
//!
//! What S3 and Azure want beside that:
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html> and
//! <https://learn.microsoft.com/rest/api/storageservices/put-blob>.

use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use egress::{ControlHost, Fetched};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, IF_NONE_MATCH};
use telemetry::audit::Copy;
use tokio::time::{sleep, timeout};

use crate::configuration::Secret;
use crate::gateway::Gateway;

/// Time for one copy, both ways.
const LIMIT: Duration = Duration::from_secs(10);
/// After this time a copy that failed is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// Most bytes of an answer: a checkpoint has a few hundred.
const LONGEST_ANSWER: usize = 64 * 1024;
/// Time for the last copy when the process leaves.
const AT_LAST: Duration = Duration::from_secs(5);
/// The version of Azure's interface that requests are written for.
const AZURE: &str = "2023-11-03";
/// Most letters that are shown of the word by which a store says what is wrong.
const LONGEST_CODE: usize = 64;

/// A server that takes files by HTTP.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) host: ControlHost,
    pub(crate) base_path: String,
    pub(crate) kind: Kind,
    pub(crate) read_back: bool,
}

/// What the server is.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// It takes files by HTTP, as RFC 9110 has it.
    Plain,
    /// A bucket. Its requests are signed where they leave.
    S3,
    /// A container; with the shared access signature that stands in its URLs, where it is shown one.
    AzureBlob(Option<Secret>),
}

/// Runs until it is dropped.
pub(crate) async fn run(gateway: &Gateway) {
    loop {
        let copy = gateway.audit.next_copy().await;
        if !carry(gateway, &copy).await {
            sleep(RETRY).await;
        }
    }
}

/// The closing checkpoint, when the process leaves.
pub(crate) async fn last(gateway: &Gateway) {
    let Some(copy) = gateway.audit.waiting_copy() else { return };
    let carried = timeout(AT_LAST, carry(gateway, &copy)).await;
    if carried != Ok(true) {
        tracing::error!("the last checkpoint could not be copied to the second place");
    }
}

async fn carry(gateway: &Gateway, copy: &Copy) -> bool {
    // A reload may have taken the server out of the configuration; that such a change takes a restart was said then.
    let result = match gateway.snapshot().second_place.clone() {
        None => Err("the configuration names no server any more".to_owned()),
        Some(server) => match timeout(LIMIT, server.keep(copy)).await {
            Ok(result) => result,
            Err(_) => Err(format!("there was no answer within {} s", LIMIT.as_secs())),
        },
    };
    gateway.audit.copied(copy.size, &result);
    result.is_ok()
}

impl Server {
    async fn keep(&self, copy: &Copy) -> Result<(), String> {
        let path = self.path(&copy.name);
        let note = Bytes::copy_from_slice(copy.note.as_bytes());
        let headers = self.kind.headers(Some(&note), SystemTime::now())?;
        let put = self.host.put(&path, headers, note.clone(), LONGEST_ANSWER).await;
        let put = put.map_err(|error| error.to_string())?;
        let took = matches!(put.status.as_u16(), 200 | 201 | 204);
        // It is there already: an answer to an earlier try was lost, or somebody else put something there.
        let is_there = self.read_back && self.kind.is_there(put.status.as_u16());
        if !took && !is_there {
            return Err(format!("it answers {}", said(&put)));
        }
        if !self.read_back {
            return Ok(());
        }
        let headers = self.kind.headers(None, SystemTime::now())?;
        let fetched = self.host.get(&path, headers, LONGEST_ANSWER).await;
        let fetched = fetched.map_err(|error| error.to_string())?;
        match fetched.status.as_u16() {
            200 if fetched.body == note => Ok(()),
            200 => Err("it gives something else than what it took".to_owned()),
            _ if took => Err(format!("it took a checkpoint, and answers {} when asked for it", said(&fetched))),
            _ => Err(format!("it answers {}, and {} when asked for it", said(&put), said(&fetched))),
        }
    }

    fn path(&self, name: &str) -> String {
        let path = format!("{}/{name}", self.base_path);
        match &self.kind {
            Kind::AzureBlob(Some(shared)) => [&path, "?", shared.expose()].concat(),
            Kind::AzureBlob(None) | Kind::Plain | Kind::S3 => path,
        }
    }
}

impl Kind {
    /// Whether this status says that something of the name is there. Azure's is that of a conflict, and so is that of S3 while
    /// another request for the same name runs.
    fn is_there(&self, status: u16) -> bool {
        match self {
            Self::Plain => status == 412,
            Self::S3 | Self::AzureBlob(_) => matches!(status, 409 | 412),
        }
    }

    /// The headers of a request that puts `body` there, or fetches it.
    fn headers(&self, body: Option<&[u8]>, now: SystemTime) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        if let Some(body) = body {
            headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            match self {
                Self::Plain => {}
                // A bucket whose objects are locked, which is what evidence wants, takes none without a checksum.
                Self::S3 => {
                    headers.insert("x-amz-sdk-checksum-algorithm", HeaderValue::from_static("SHA256"));
                    let checksum = value(&STANDARD.encode(digest(&SHA256, body).as_ref()))?;
                    headers.insert("x-amz-checksum-sha256", checksum);
                }
                Self::AzureBlob(_) => {
                    headers.insert("x-ms-blob-type", HeaderValue::from_static("BlockBlob"));
                }
            }
        }
        if let Self::AzureBlob(_) = self {
            headers.insert("x-ms-version", HeaderValue::from_static(AZURE));
            headers.insert("x-ms-date", value(&httpdate::fmt_http_date(now))?);
        }
        Ok(headers)
    }
}

fn value(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(text).map_err(|_| "a header cannot be written".to_owned())
}

/// The status, and the word by which S3 (`<Code>` in the body) and Azure (a header) say what is wrong.
fn said(answer: &Fetched) -> String {
    let status = answer.status.as_u16();
    let header = answer.headers.get("x-ms-error-code").and_then(|code| code.to_str().ok());
    let body = || {
        let text = std::str::from_utf8(&answer.body).ok()?;
        let (_, rest) = text.split_once("<Code>")?;
        Some(rest.split_once("</Code>")?.0)
    };
    let plain =
        |code: &&str| (1..=LONGEST_CODE).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    header.or_else(body).filter(plain).map_or_else(|| status.to_string(), |code| format!("{status} ({code})"))
}
