//! Lines on their way to the file, and what happens when the disk does not take them.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::time::SystemTime;

use serde::Serialize;

use super::entry::{Entry, OutcomeLine, Seldom};
use super::{AuditStatus, BACKLOG_BYTES, FLUSH_BYTES, stamp};

/// Where lines go. The second implementation is the disk that fails on demand in the tests.
pub(super) trait Sink: Send {
    /// One `write(2)` at the end of the file; it may take less than it was given.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Cuts the file to `length` bytes.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
    /// Waits until the file is on the disk.
    fn sync(&mut self) -> io::Result<()>;
}

// The file is opened for appending, so a write after a cut goes to the new end.
impl Sink for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::Write::write(self, bytes)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// The file's end and the lines that wait for it.
pub(super) struct Lines {
    sink: Box<dyn Sink>,
    /// Length of the file up to the last whole line.
    good: u64,
    /// Whether bytes of half a line may lie behind `good`, because the cut failed too.
    torn: bool,
    /// Whole lines that wait, oldest first; the buffer is reused.
    waiting: Vec<u8>,
    backlog: usize,
    status: AuditStatus,
    unreported: u64,
    sealed: bool,
}

impl Lines {
    pub(super) fn new(sink: Box<dyn Sink>) -> Self {
        Self::with_backlog(sink, BACKLOG_BYTES)
    }

    pub(super) fn with_backlog(sink: Box<dyn Sink>, backlog: usize) -> Self {
        Self {
            sink,
            good: 0,
            torn: false,
            waiting: Vec::with_capacity(8 * 1024),
            backlog,
            status: AuditStatus::default(),
            unreported: 0,
            sealed: false,
        }
    }

    pub(super) fn is_sealed(&self) -> bool {
        self.sealed
    }

    pub(super) fn status(&self) -> AuditStatus {
        AuditStatus { waiting_bytes: self.waiting.len(), ..self.status }
    }

    pub(super) fn record_closed(&mut self) {
        self.status.open = self.status.open.saturating_sub(1);
    }

    /// Appends a line and writes it with all that wait; on failure the line is taken back.
    pub(super) fn append_now<T: Entry>(&mut self, kind: &str, body: &T) -> io::Result<()> {
        let length = self.push(kind, body);
        if let Err(error) = self.write() {
            self.take_back(length);
            return Err(error);
        }
        self.status.open += u64::from(kind == "intent");

        Ok(())
    }

    /// Appends a line that the next write takes along, unless the disk is failing: then now or not at all.
    pub(super) fn append_soon<T: Entry>(&mut self, kind: &str, body: &T) -> io::Result<()> {
        if self.status.failing {
            return self.append_now(kind, body);
        }
        self.push(kind, body);
        self.write_if_much();

        Ok(())
    }

    /// Appends an outcome, which is kept whatever the disk says, up to the backlog's bound.
    pub(super) fn append_outcome(&mut self, body: &OutcomeLine<'_>) {
        let length = self.push("outcome", body);
        if !self.status.failing {
            self.write_if_much();
        }

        if self.waiting.len() > self.backlog && self.write().is_err() && self.waiting.len() > self.backlog {
            self.take_back(length);
            self.status.lost += 1;
            self.unreported += 1;
            tracing::error!(decision = body.decision, end = ?body.outcome.end, "the audit backlog is full; an outcome is only counted");
        }
    }

    /// Writes the waiting lines, and how many were lost before them.
    pub(super) fn write(&mut self) -> io::Result<()> {
        self.write_waiting()?;
        if self.unreported == 0 {
            return Ok(());
        }
        let count = std::mem::take(&mut self.unreported);
        let length = self.push("lost", &Seldom(&Lost { count }));

        if let Err(error) = self.write_waiting() {
            self.take_back(length);
            self.unreported = count;
            return Err(error);
        }
        Ok(())
    }

    /// Writes the closing entry; the count includes the opening and the closing itself.
    pub(super) fn seal(&mut self, reason: &str, at: SystemTime) -> io::Result<()> {
        if self.sealed {
            return Ok(());
        }
        self.write()?;
        let seal = Seal { at, reason, count: self.status.entries + 1, open: self.status.open, lost: self.status.lost };
        self.append_now("seal", &Seldom(&seal))?;
        self.sealed = true;

        self.sink.sync()
    }

    fn write_if_much(&mut self) {
        if self.waiting.len() >= FLUSH_BYTES {
            // A failure is counted and announced by the write itself; the lines keep waiting.
            let _ = self.write();
        }
    }

    /// Writes all waiting lines in as few writes as the sink takes.
    ///
    /// After a failure the file ends with a whole line: lines that went out whole are kept, half a line is cut off.
    fn write_waiting(&mut self) -> io::Result<()> {
        if self.torn {
            self.sink.truncate(self.good).map_err(|error| self.failed(error))?;
            self.torn = false;
        }
        if self.waiting.is_empty() {
            return Ok(());
        }

        let (written, result) = write_all(&mut *self.sink, &self.waiting);
        let whole = match result {
            Ok(()) => written,
            Err(_) => whole_lines(self.waiting.get(..written).unwrap_or_default()),
        };
        self.good += whole as u64;
        self.waiting.drain(..whole);
        if written > whole {
            // INVARIANT: nothing is ever appended behind half a line.
            self.torn = self.sink.truncate(self.good).is_err();
        }

        match result {
            Ok(()) => {
                self.recovered();
                Ok(())
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Adds `{"kind":…,<body>}` and a newline to the waiting lines; returns how many bytes that is.
    fn push<T: Entry>(&mut self, kind: &str, body: &T) -> usize {
        let start = self.waiting.len();
        self.waiting.extend_from_slice(b"{\"kind\":\"");
        self.waiting.extend_from_slice(kind.as_bytes());
        self.waiting.push(b'"');
        body.write(&mut self.waiting);
        self.waiting.extend_from_slice(b"}\n");
        self.status.entries += 1;

        self.waiting.len() - start
    }

    /// Takes the newest line back.
    fn take_back(&mut self, length: usize) {
        self.waiting.truncate(self.waiting.len().saturating_sub(length));
        self.status.entries -= 1;
    }

    fn failed(&mut self, error: io::Error) -> io::Error {
        self.status.errors += 1;
        if !std::mem::replace(&mut self.status.failing, true) {
            tracing::error!(%error, "the audit log takes no lines; requests are refused until it does");
        }
        error
    }

    fn recovered(&mut self) {
        // A backlog is rare; what it needed is given back.
        self.waiting.shrink_to(2 * FLUSH_BYTES);
        if std::mem::replace(&mut self.status.failing, false) {
            tracing::warn!("the audit log takes lines again");
        }
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").field("good", &self.good).field("status", &self.status()).finish_non_exhaustive()
    }
}

/// How many bytes went out, and whether that was all.
fn write_all(sink: &mut dyn Sink, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match sink.write(rest) {
            Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }

    (written, Ok(()))
}

/// Length of the whole lines at the start of `bytes`.
fn whole_lines(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1)
}

/// Stands for outcomes that found the backlog full.
#[derive(Serialize)]
struct Lost {
    count: u64,
}

/// The closing entry of an epoch.
#[derive(Serialize)]
struct Seal<'a> {
    #[serde(serialize_with = "stamp::serialize")]
    at: SystemTime,
    reason: &'a str,
    count: u64,
    open: u64,
    lost: u64,
}
