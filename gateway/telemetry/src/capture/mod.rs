//! Captures: prompts and answers of an app that two people asked for, kept so that only whoever holds a private key reads them.
//!
//! **For.** [`Vault::request`] seals what a caller sent before anything of it leaves, [`Vault::answer`] what the caller got.
//! Each is a file of its own, `<folder>/<app>/<date>.<days>d/<decision>.request.age` or `.answer.age`, in the format of `age`.
//!
//! **Promises.** No plaintext reaches a disk: what is written was sealed in memory. The gateway holds no key that opens it. What
//! waits for the disk is bounded by [`MOST_WAITING`], what an app keeps a day by its rules, an answer by [`MOST_ANSWER`], and all
//! that are running together by [`MOST_HELD`]: what is beyond is cut off, and the record says so.
//! What waits counts towards the day. Retention deletes whole files, by day, also those of apps that are gone.
//!
//! **Does not do.** A file is not waited for until the medium has it. An answer is handed over when the audit record is closed:
//! a digest there without a file says that the disk failed between the two, or that the writer found the day full by what an
//! earlier process kept.

mod age;
mod held;
mod tally;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use parking_lot::Mutex;
use time::{Date, Month, OffsetDateTime};
use tokio::sync::oneshot;

pub use age::{NoRecipient, Recipient};
pub use held::{Cut, Held, MOST_HELD};
use tally::{Days, Tally};

/// Most bytes of an answer that are kept; of a longer one the beginning.
pub const MOST_ANSWER: usize = 4 << 20;

/// Most sealed bytes that wait for the disk.
pub const MOST_WAITING: usize = 64 << 20;

/// Most files that wait for the disk.
const MOST_FILES: usize = 4_096;

/// How long a request waits for its file.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is kept of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Who can read it.
    pub recipients: Vec<Recipient>,
    /// Days for which it is kept.
    pub days: u32,
    /// Most sealed bytes of one day.
    pub bytes_a_day: u64,
}

/// What a capture is of.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The app that asked: a plain name, which becomes a folder's.
    pub app: &'a str,
    /// The decision's id.
    pub decision: &'a str,
    /// When the request arrived.
    pub at: SystemTime,
}

/// Why something is not kept.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// It could not be sealed.
    #[error("it could not be sealed")]
    Seal,
    /// There was no room in memory for any of it.
    #[error("other answers that are to be kept take all the memory that there is for them")]
    Memory,
    /// Too much waits for the disk.
    #[error("too much waits for the disk")]
    Waiting,
    /// The app has kept as much today as it may.
    #[error("the app has kept {0} bytes today, and may keep no more")]
    DayIsFull(u64),
    /// The disk does not take it.
    #[error("the disk does not take it: {0}")]
    Disk(String),
    /// The disk takes too long.
    #[error("the disk did not take it within {} s", PATIENCE.as_secs())]
    Slow,
}

impl CaptureError {
    /// The reason in one word, for records.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::Memory => "memory",
            Self::Waiting => "waiting",
            Self::DayIsFull(_) => "day_is_full",
            Self::Disk(_) => "disk",
            Self::Slow => "slow",
        }
    }
}

/// How captures stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureStatus {
    /// Files written since the start.
    pub kept: u64,
    /// What could not be kept since the start.
    pub failed: u64,
    /// Answers since the start of which only the beginning was held.
    pub cut: u64,
    /// Bytes that are held of running answers, and reserved for them.
    pub held_bytes: usize,
    /// Sealed bytes that wait for the disk.
    pub waiting_bytes: usize,
    /// Whether the latest file could not be written.
    pub failing: bool,
}

/// Where captures are kept; nowhere until it is opened. Cloning is cheap and gives the same place.
#[derive(Clone, Debug, Default)]
pub struct Vault(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    folder: OnceLock<PathBuf>,
    /// The writer's end; none before the first capture, so that a gateway without any has no thread for them.
    writer: Mutex<Option<SyncSender<Job>>>,
    /// By app: what is kept and waits of its days. It is held for no longer than it takes to find a tally.
    tallies: Mutex<BTreeMap<String, Days>>,
    figures: Arc<Figures>,
}

#[derive(Debug, Default)]
struct Figures {
    kept: AtomicU64,
    failed: AtomicU64,
    cut: AtomicU64,
    held: AtomicUsize,
    waiting: AtomicUsize,
    failing: AtomicBool,
}

/// A file that is to be written.
struct Job {
    path: PathBuf,
    sealed: Vec<u8>,
    /// The day to which it counts, and the most sealed bytes of it.
    tally: Arc<Tally>,
    most: u64,
    told: Option<oneshot::Sender<Result<(), CaptureError>>>,
}

impl Vault {
    /// Keeps captures below `folder` from now on, which is made with the first of them. Of two folders the first stays.
    pub fn open(&self, folder: PathBuf) {
        let _ = self.0.folder.set(folder);
    }

    /// Keeps what a caller sent; gives the SHA-256 of the file, in hex. It is in the system's hands when this returns.
    ///
    /// # Errors
    /// [`CaptureError`]: nothing is kept, or it may be and nobody knows.
    pub async fn request(&self, subject: Subject<'_>, rules: &Rules, text: &[u8]) -> Result<String, CaptureError> {
        let (tell, told) = oneshot::channel();
        let handed = self.hand((subject, "request"), rules, text, Some(tell));
        let kept = match handed {
            Err(error) => Err(error),
            Ok(digest) => match tokio::time::timeout(PATIENCE, told).await {
                Ok(Ok(Ok(()))) => Ok(digest),
                Ok(Ok(Err(error))) => Err(error),
                Ok(Err(_)) => Err(CaptureError::Disk("its writer is gone".to_owned())),
                Err(_) => Err(CaptureError::Slow),
            },
        };
        self.count(&kept);
        kept
    }

    /// Where an answer is held that is to be kept.
    #[must_use]
    pub fn hold(&self) -> Held {
        Held::new(Arc::clone(&self.0.figures))
    }

    /// Keeps what is held of what a caller got; gives the SHA-256 of the file, in hex. The file is handed to the writer and
    /// not waited for.
    ///
    /// # Errors
    /// [`CaptureError`]: nothing is kept.
    pub fn answer(&self, subject: Subject<'_>, rules: &Rules, held: &Held) -> Result<String, CaptureError> {
        let handed = match (held.text(), held.cut()) {
            ([], Some(_)) => Err(CaptureError::Memory),
            (text, _) => self.hand((subject, "answer"), rules, text, None),
        };
        self.count(&handed);
        handed
    }

    /// How captures stand.
    #[must_use]
    pub fn status(&self) -> CaptureStatus {
        let figures = &self.0.figures;
        CaptureStatus {
            kept: figures.kept.load(Ordering::Relaxed),
            failed: figures.failed.load(Ordering::Relaxed),
            cut: figures.cut.load(Ordering::Relaxed),
            held_bytes: figures.held.load(Ordering::Relaxed),
            waiting_bytes: figures.waiting.load(Ordering::Relaxed),
            failing: figures.failing.load(Ordering::Relaxed),
        }
    }

    fn count(&self, kept: &Result<String, CaptureError>) {
        if kept.is_err() {
            self.0.figures.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn hand(
        &self,
        (subject, what): (Subject<'_>, &str),
        rules: &Rules,
        text: &[u8],
        told: Option<oneshot::Sender<Result<(), CaptureError>>>,
    ) -> Result<String, CaptureError> {
        let sealed = age::seal(text, &rules.recipients).map_err(|_| CaptureError::Seal)?;
        let day = OffsetDateTime::from(subject.at).date();
        let folder = self.0.folder.get().ok_or_else(|| CaptureError::Disk("no folder is opened".to_owned()))?;
        let folder = folder.join(subject.app).join(day_name(day, rules.days));
        let (bytes, most) = (sealed.len() as u64, rules.bytes_a_day);
        let tally = self.0.tally(subject.app, day);
        tally.take(bytes, most)?;
        let hash = digest(&SHA256, &sealed).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let path = folder.join(format!("{}.{what}.age", subject.decision));
        let sent = self.0.send(Job { path, sealed, tally: Arc::clone(&tally), most, told });
        if sent.is_err() {
            tally.give_back(bytes);
        }
        sent.map(|()| hash)
    }

    /// Removes what is older than its days, by whole days: those that it was kept under, or those of `days_now` for its app
    /// where they are fewer. Gives the number of files.
    ///
    /// What cannot be listed or removed holds up nothing else.
    ///
    /// # Errors
    /// The first that could not be listed or removed, once everything else has been looked at.
    pub fn retire(&self, now: SystemTime, days_now: impl Fn(&str) -> Option<u32>) -> io::Result<u64> {
        let today = OffsetDateTime::from(now).date();
        self.0.tallies.lock().retain(|_, days| days.are_of_use(today));
        let Some(folder) = self.0.folder.get() else { return Ok(0) };
        let (mut removed, mut failed) = (0, None);
        for app in folders_in(folder, &mut failed) {
            let days_now = days_now(&app.file_name().to_string_lossy());
            for day in folders_in(&app.path(), &mut failed) {
                let Some((date, days)) = day_of(&day.file_name().to_string_lossy()) else { continue };
                let days = days_now.map_or(days, |now| now.min(days));
                // The day itself, then so many whole ones.
                if (today - date).whole_days() > i64::from(days) {
                    match remove(&day.path()) {
                        Ok(files) => removed += files,
                        Err(error) => note(&mut failed, &day.path(), &error),
                    }
                }
            }
        }
        failed.map_or(Ok(removed), Err)
    }
}

impl Shared {
    fn tally(&self, app: &str, day: Date) -> Arc<Tally> {
        self.tallies.lock().entry(app.to_owned()).or_default().tally(day)
    }

    fn send(&self, job: Job) -> Result<(), CaptureError> {
        let bytes = job.sealed.len();
        let waiting = self.figures.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let sent = if waiting <= MOST_WAITING {
            self.writer().and_then(|writer| writer.try_send(job).map_err(|_| CaptureError::Waiting))
        } else {
            Err(CaptureError::Waiting)
        };
        if sent.is_err() {
            self.figures.waiting.fetch_sub(bytes, Ordering::Relaxed);
        }
        sent
    }

    /// The writer's end; the thread begins with the first capture.
    fn writer(&self) -> Result<SyncSender<Job>, CaptureError> {
        let mut writer = self.writer.lock();
        if let Some(writer) = &*writer {
            return Ok(writer.clone());
        }
        let (sender, jobs) = sync_channel(MOST_FILES);
        let figures = Arc::clone(&self.figures);
        let thread = std::thread::Builder::new().name("captures".to_owned());
        thread.spawn(move || write_all(&jobs, &figures)).map_err(|error| CaptureError::Disk(error.to_string()))?;
        *writer = Some(sender.clone());
        Ok(sender)
    }
}

fn write_all(jobs: &Receiver<Job>, figures: &Figures) {
    while let Ok(job) = jobs.recv() {
        let written = keep(&job);
        let Job { path, sealed, tally, told, .. } = job;
        figures.waiting.fetch_sub(sealed.len(), Ordering::Relaxed);
        if written.is_err() {
            tally.give_back(sealed.len() as u64);
            // One that somebody waits for is counted by whoever waits.
            if told.is_none() {
                figures.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        match &written {
            Ok(()) => {
                figures.kept.fetch_add(1, Ordering::Relaxed);
                if figures.failing.swap(false, Ordering::Relaxed) {
                    tracing::warn!("captures are written again");
                }
            }
            Err(CaptureError::Disk(error)) => {
                if !figures.failing.swap(true, Ordering::Relaxed) {
                    tracing::error!(%error, "ALARM capture: what is to be kept of prompts and answers cannot be written");
                }
            }
            Err(error) if told.is_none() => {
                tracing::warn!(file = %path.display(), %error, "an answer that its record says is kept is not kept");
            }
            Err(_) => {}
        }
        if let Some(told) = told {
            let _ = told.send(written);
        }
    }
}

/// Writes a file, unless its day turns out to be full now that what an earlier process kept is known.
fn keep(job: &Job) -> Result<(), CaptureError> {
    let disk = |error: io::Error| CaptureError::Disk(format!("{}: {error}", job.path.display()));
    let bytes = job.sealed.len() as u64;
    let kept = job.tally.kept(job.path.parent().unwrap_or(&job.path)).map_err(disk)?;
    if kept.saturating_add(bytes) > job.most {
        return Err(CaptureError::DayIsFull(kept));
    }
    write(&job.path, &job.sealed).map_err(disk)?;
    job.tally.wrote(bytes);
    Ok(())
}

/// Whole or not at all: under its name a file is complete.
fn write(path: &Path, sealed: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let part = path.with_extension("part");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    file.write_all(sealed)?;
    fs::rename(&part, path)
}

/// The folder of a day, with the days for which it is kept.
fn day_name(day: Date, days: u32) -> String {
    format!("{:04}-{:02}-{:02}.{days}d", day.year(), u8::from(day.month()), day.day())
}

fn day_of(name: &str) -> Option<(Date, u32)> {
    let (date, days) = name.strip_suffix('d')?.split_once('.')?;
    let mut parts = date.splitn(3, '-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let month = Month::try_from(month.parse::<u8>().ok()?).ok()?;
    Some((Date::from_calendar_date(year.parse().ok()?, month, day.parse().ok()?).ok()?, days.parse().ok()?))
}

/// The folders in `folder`; what else lies there is none of ours. The first error is left in `failed`.
fn folders_in(folder: &Path, failed: &mut Option<io::Error>) -> Vec<fs::DirEntry> {
    let mut entries = match listed(folder) {
        Ok(entries) => entries,
        Err(error) => {
            note(failed, folder, &error);
            return Vec::new();
        }
    };
    entries.retain(|entry| match fs::metadata(entry.path()) {
        Ok(found) => found.is_dir(),
        // It went meanwhile, or is a link to nothing.
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => {
            note(failed, &entry.path(), &error);
            false
        }
    });
    entries
}

/// Removes the folder of a day; gives the number of its files.
fn remove(day: &Path) -> io::Result<u64> {
    let files = listed(day)?.len() as u64;
    fs::remove_dir_all(day)?;
    Ok(files)
}

/// Remembers what failed first.
fn note(failed: &mut Option<io::Error>, place: &Path, error: &io::Error) {
    failed.get_or_insert_with(|| io::Error::new(error.kind(), format!("{}: {error}", place.display())));
}

fn listed(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
