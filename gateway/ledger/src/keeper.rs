//! The one owner of a process's journal, and the thread that carries it over into the database.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::entry::{Closing, Entry, Opening};
use crate::home::{Books, DatabaseError, Home, Spent, SpentBy, Whose};
use crate::journal::{Left, MOST_READ, Old, ROTATED_AT, Read, Reader, Writer};
use crate::postgres::Postgres;

/// Most bytes of journal that are kept while the database takes nothing: about half a million requests.
///
/// Beyond it no request is let in, because nobody could say any more what was spent.
pub const MOST_JOURNAL: u64 = 256 << 20;

/// How often the database takes what is in the journal. Each time costs it a commit that is forced to the disk, however little
/// there is to take: twenty times a second that was 8 ms of processor time a second.
const CARRIED_EVERY: Duration = Duration::from_secs(1);

/// For so many entries room is kept from one time to the next, which is about a megabyte: what is given back each second is asked
/// for again each second.
const KEPT_ROOM: usize = 4_096;

/// After a failure the database is left alone for this long.
const PAUSE: Duration = Duration::from_secs(1);

/// Why the books take nothing.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The folder cannot be used.
    #[error("ledger folder `{}` cannot be used: {source}", path.display())]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The database cannot be used.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// What another process of the state folder has spent is not known.
    #[error("the limits that are shared with another process of the state folder cannot be read: {source}")]
    Shared {
        /// What the database said.
        #[source]
        source: std::io::Error,
    },
    /// A line could not be written; nothing of it is left in the file.
    #[error("the journal of the ledger takes no line: {0}")]
    Write(#[source] std::io::Error),
    /// The database has not taken what is settled, so what it says is too little.
    #[error("the ledger's database has not taken what its journal holds; the log says why")]
    Behind,
    /// The database has taken nothing for so long that the journal is full.
    #[error("the journal of the ledger holds {MOST_JOURNAL} bytes that its database has not taken")]
    Full,
}

/// How the books stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerStatus {
    /// Bytes of journal that the database has not taken, and those that wait in memory.
    pub behind_bytes: u64,
    /// Requests that are open.
    pub open: u64,
    /// Entries that this process brought into the database.
    pub entries: u64,
    /// Requests of processes that died, settled at what they held.
    pub recovered: u64,
    /// Lines of the journal that nobody could read. Their files are kept beside it as `….damaged`.
    pub damaged: u64,
    /// Settlements that found no room in memory while the disk took none; their requests pay what they held.
    pub lost: u64,
    /// Why the latest round failed; nothing where it did not.
    pub failing: Option<String>,
}

/// The books of this process. Cloning is cheap and gives the same books.
#[derive(Clone, Debug)]
pub struct Ledger {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    writer: Mutex<Writer>,
    status: Mutex<LedgerStatus>,
    keeper: Mutex<Option<(Sender<Ask>, JoinHandle<()>)>>,
}

impl Shared {
    /// Writes what waits into the journal.
    fn flush(&self) -> Result<(), LedgerError> {
        let flushed = self.writer.lock().flush();
        flushed.map_err(LedgerError::Write)
    }

    /// Says why the books take nothing, once, until the keeper has seen that they do again.
    fn failed(&self, error: &LedgerError) {
        let mut status = self.status.lock();
        if status.failing.is_none() {
            tracing::error!(%error, "ALARM ledger_behind: the ledger's database takes nothing; its journal keeps what it has not taken");
        }
        status.failing = Some(error.to_string());
    }
}

/// Where an answer goes.
pub(crate) type Answer<T> = Sender<Result<T, DatabaseError>>;

/// Asks the database and hands the answer over.
pub(crate) type Reading = Box<dyn FnOnce(&mut Books) + Send>;

pub(crate) enum Ask {
    /// Carry over all that is written by now, and say whether it was.
    Settle(Sender<bool>),
    /// Sum up what was spent on these days.
    Spent { days: (u64, u64), whose: Whose, answer: Answer<Vec<Spent>> },
    /// The same by app, team, model and user.
    SpentBy { seconds: (u64, u64), whose: Whose, answer: Answer<Vec<SpentBy>> },
    /// Ask the database something else.
    Read(Reading),
    /// Say whether a notice was delivered.
    WasTold { id: String, answer: Answer<bool> },
    /// Remember that it was.
    Tell { id: String, times: (u64, u64), answer: Answer<()> },
    /// Reach the database so from now on.
    ReachBy(Postgres),
    /// Carry over, and end.
    Leave,
}

/// The longest that anybody waits for the keeper. It waits for a database that is away for fifteen seconds at most.
const PATIENCE: Duration = Duration::from_secs(16);

impl Ledger {
    /// Opens the books in `folder` (`ledger` below `state.folder`), settles what processes that died have left, and begins a
    /// journal under the name `process`, which no process before has had.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] where folder or database cannot be used.
    pub fn open(folder: &Path, process: &str, home: Home) -> Result<Self, LedgerError> {
        let at = |source| LedgerError::Folder { path: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(at)?;
        let (sender, receiver) = channel();
        let (opened, opening) = channel();
        let (begin, begun) = channel::<Weak<Shared>>();
        let of_thread = folder.to_owned();
        // The database is asked on the keeper's thread alone, which belongs to no runtime.
        let thread = std::thread::Builder::new().name("ledger".to_owned()).spawn(move || {
            let books = Books::open(&of_thread, &home).map(Keeper::new);
            let mut keeper = match books.and_then(|mut keeper| Ok((keeper.recover(&of_thread)?, keeper))) {
                Ok((recovered, keeper)) => {
                    let _ = opened.send(Ok(recovered));
                    keeper
                }
                Err(error) => {
                    let _ = opened.send(Err(error));
                    return;
                }
            };
            let Ok(shared) = begun.recv() else { return };
            while let Some(asked) = wait(&receiver, keeper.rests(Instant::now())) {
                let Some(shared) = shared.upgrade() else { return };
                if keeper.serve(&shared, asked) {
                    return;
                }
            }
        });
        let thread = thread.map_err(at)?;
        let gone = |_| at(std::io::Error::other("the keeper of the ledger has panicked"));
        let recovered = opening.recv().map_err(gone)??;
        let shared = Arc::new(Shared {
            writer: Mutex::new(Writer::create(folder, process).map_err(at)?),
            status: Mutex::new(recovered),
            keeper: Mutex::new(Some((sender, thread))),
        });
        begin
            .send(Arc::downgrade(&shared))
            .map_err(|_| at(std::io::Error::other("the keeper of the ledger is gone")))?;
        Ok(Self { shared })
    }

    /// Notes what a request holds. It is in the file when this returns `Ok`, so that the request can be sent: whatever
    /// becomes of this process, it will be settled.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Write`] or [`LedgerError::Full`]: the request must be refused.
    pub fn begin(&self, opening: &Opening) -> Result<(), LedgerError> {
        let mut writer = self.shared.writer.lock();
        if writer.behind() >= MOST_JOURNAL {
            return Err(LedgerError::Full);
        }
        writer.open(opening).map_err(LedgerError::Write)
    }

    /// Notes what a request was settled at; the line is written with the next one, or by [`Ledger::flush`]. The database has it
    /// within a second, or when it is asked to.
    pub fn settle(&self, closing: &Closing) {
        self.shared.writer.lock().close(closing);
    }

    /// Writes the settlements that wait in memory into the journal. The server calls this every 50 ms, which is the longest that a
    /// process that dies loses of them; it costs one lock when nothing waits, and waits for no database. Where nobody calls it,
    /// the keeper writes them once a second, before the database takes what is written.
    ///
    /// What cannot be written waits on, and [`Ledger::status`] says why.
    pub fn flush(&self) {
        if let Err(error) = self.shared.flush() {
            self.shared.failed(&error);
        }
    }

    /// How the books stand.
    #[must_use]
    pub fn status(&self) -> LedgerStatus {
        let status = self.shared.status.lock().clone();
        let writer = self.shared.writer.lock();
        LedgerStatus { lost: writer.lost, behind_bytes: writer.behind(), ..status }
    }

    /// What each app and key was charged with for requests that began on the days (UTC) `[from, to)`, counted from 1970.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] where the database cannot be read.
    pub fn spent(&self, days: (u64, u64), whose: Whose) -> Result<Vec<Spent>, LedgerError> {
        self.answer(|answer| Ask::Spent { days, whose, answer })
    }

    /// From now on a PostgreSQL is reached so: by another dial, as another role, with another password. Which database and
    /// schema of it were opened stays.
    pub fn reach_by(&self, postgres: Postgres) {
        self.ask(Ask::ReachBy(postgres));
    }

    /// Whether there is a keeper to be asked.
    fn ask(&self, ask: Ask) -> bool {
        self.shared.keeper.lock().as_ref().is_some_and(|(sender, _)| sender.send(ask).is_ok())
    }

    /// What was charged for requests that began in the seconds `[from, to)` since 1970, whole quarters of an hour, by app, team,
    /// model and user.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] where the database cannot be read.
    pub fn spent_by(&self, seconds: (u64, u64), whose: Whose) -> Result<Vec<SpentBy>, LedgerError> {
        self.answer(|answer| Ask::SpentBy { seconds, whose, answer })
    }

    /// Whether a notice was delivered, by this process or another one of this folder.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] where the database cannot be read.
    pub fn was_told(&self, id: &str) -> Result<bool, LedgerError> {
        self.answer(|answer| Ask::WasTold { id: id.to_owned(), answer })
    }

    /// A notice was delivered, which is remembered from `now` until `until`, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] where the database takes nothing.
    pub fn tell(&self, id: &str, times: (u64, u64)) -> Result<(), LedgerError> {
        self.answer(|answer| Ask::Tell { id: id.to_owned(), times, answer })
    }

    /// What the keeper's database answers.
    pub(crate) fn answer<T>(&self, ask: impl FnOnce(Answer<T>) -> Ask) -> Result<T, LedgerError> {
        let (answer, answered) = channel();
        if !self.ask(ask(answer)) {
            return Err(LedgerError::Behind);
        }
        Ok(answered.recv_timeout(PATIENCE).map_err(|_| LedgerError::Behind)??)
    }

    /// Waits until the database has all that is settled by now, for whoever reads it next: a start, a reload with new apps
    /// or keys, a report.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Behind`] where it has not, after sixteen seconds at most.
    pub fn carry_over(&self) -> Result<(), LedgerError> {
        let (done, waited) = channel();
        let asked = self.ask(Ask::Settle(done));
        // A keeper that is gone drops the sender, which ends this as well.
        match asked.then(|| waited.recv_timeout(PATIENCE)) {
            Some(Ok(true)) => Ok(()),
            _ => Err(LedgerError::Behind),
        }
    }

    /// Carries over what is settled and ends the thread. What is still open stays in the journal, for the next process.
    pub fn leave(&self) {
        let Some((sender, thread)) = self.shared.keeper.lock().take() else { return };
        if sender.send(Ask::Leave).is_ok() && thread.join().is_err() {
            tracing::error!("the keeper of the ledger has panicked; its journal is read by the next process");
        }
    }
}

/// The next thing to do: what was asked, or a round because it is time. Nothing when nobody can ask any more.
fn wait(receiver: &Receiver<Ask>, rests: Duration) -> Option<Option<Ask>> {
    match receiver.recv_timeout(rests) {
        Ok(asked) => Some(Some(asked)),
        Err(RecvTimeoutError::Timeout) => Some(None),
        Err(RecvTimeoutError::Disconnected) => None,
    }
}

struct Keeper {
    books: Books,
    reader: Reader,
    /// Read, and not taken by the database yet.
    pending: Read,
    /// The file before, until the database has all of it.
    old: Option<Old>,
    /// Until when the database is left alone.
    pause: Option<Instant>,
    /// When it took the journal last.
    carried: Option<Instant>,
}

impl Keeper {
    fn new(books: Books) -> Self {
        let (reader, pending) = (Reader::default(), Read::default());
        Self { books, reader, pending, old: None, pause: None, carried: None }
    }

    /// Does what was asked, or a round where nothing was; true when it was the last thing to do.
    fn serve(&mut self, shared: &Shared, asked: Option<Ask>) -> bool {
        match asked {
            Some(Ask::Settle(done)) => {
                let _ = done.send(self.round(shared, true));
                return false;
            }
            Some(Ask::Leave) => {
                // A database that is away now is not waited for: the next process reads the journal.
                self.round(shared, self.pause.is_none());
                self.clear_away(shared);
                return true;
            }
            Some(asked) => self.answer(asked),
            None => {}
        }
        // Also after a question, however many come one behind the other.
        self.round(shared, false);
        false
    }

    /// Asks the database for somebody, or learns how it is reached.
    fn answer(&mut self, asked: Ask) {
        match asked {
            Ask::Spent { days, whose, answer } => drop(answer.send(self.books.spent(days, whose))),
            Ask::SpentBy { seconds, whose, answer } => drop(answer.send(self.books.spent_by(seconds, whose))),
            Ask::Read(reading) => reading(&mut self.books),
            Ask::WasTold { id, answer } => drop(answer.send(self.books.was_told(&id))),
            Ask::Tell { id, times, answer } => drop(answer.send(self.books.tell(&id, times))),
            Ask::ReachBy(postgres) => self.books.reach_by(postgres),
            Ask::Settle(_) | Ask::Leave => {}
        }
    }

    /// One round; whether the database has all that was settled when it began. One that is `due` does not wait for the end
    /// of a pause.
    fn round(&mut self, shared: &Shared, is_due: bool) -> bool {
        let now = Instant::now();
        let paused = !is_due && !self.rests(now).is_zero();
        let result = shared.flush().and_then(|()| {
            if paused {
                return Ok(());
            }
            self.carried = Some(now);
            self.carry(shared)
        });
        shared.status.lock().open = self.reader.open.len() as u64;
        match &result {
            Err(error) => {
                shared.failed(error);
                self.pause = Some(Instant::now() + PAUSE);
            }
            Ok(()) if !paused => {
                if shared.status.lock().failing.take().is_some() {
                    tracing::info!("the ledger comes along again");
                }
                self.pause = None;
            }
            Ok(()) => {}
        }
        result.is_ok() && !paused
    }

    /// For how long the database rests unless it is asked to take the journal.
    fn rests(&self, now: Instant) -> Duration {
        let next = self.carried.map(|last| last + CARRIED_EVERY).max(self.pause);
        next.map_or(Duration::ZERO, |next| next.saturating_duration_since(now))
    }

    /// Brings what the journal says into the database.
    fn carry(&mut self, shared: &Shared) -> Result<(), LedgerError> {
        let (path, length) = {
            let writer = shared.writer.lock();
            (writer.path().to_owned(), writer.length())
        };
        self.take(shared, &path, length)?;
        self.remove_old()?;
        // What has come meanwhile is read while requests wait, so it must be little.
        let is_little = shared.writer.lock().length().saturating_sub(length) <= MOST_READ;
        if length >= ROTATED_AT && is_little { self.rotate(shared) } else { Ok(()) }
    }

    /// Takes the journal up to `length`. What the database refuses is offered again, before anything else is read.
    fn take(&mut self, shared: &Shared, path: &Path, length: u64) -> Result<(), LedgerError> {
        loop {
            if self.pending.entries.is_empty() && self.reader.offset() < length {
                self.read(shared, path, length)?;
            }
            if !self.pending.entries.is_empty() {
                let added = self.books.append(&self.pending.entries)?;
                self.pending.entries.clear();
                self.pending.entries.shrink_to(KEPT_ROOM);
                shared.status.lock().entries += added;
            }
            let taken = self.reader.offset();
            shared.writer.lock().taken = taken;
            if taken >= length {
                return Ok(());
            }
        }
    }

    /// Reads some of what follows in the journal.
    fn read(&mut self, shared: &Shared, path: &Path, length: u64) -> Result<(), LedgerError> {
        let read = self.reader.read(path, length, &mut self.pending);
        read.map_err(|source| LedgerError::Folder { path: path.to_owned(), source })?;
        shared.status.lock().damaged += std::mem::take(&mut self.pending.damaged);
        Ok(())
    }

    /// Goes on in a new file. Under the writer's lock, for which requests wait, the little that came since the last round is
    /// read and the files are changed; the database is asked after it.
    fn rotate(&mut self, shared: &Shared) -> Result<(), LedgerError> {
        let (path, length) = {
            let mut writer = shared.writer.lock();
            writer.flush().map_err(LedgerError::Write)?;
            let (path, length) = (writer.path().to_owned(), writer.length());
            while self.reader.offset() < length {
                self.read(shared, &path, length)?;
            }
            self.old = Some(writer.rotate(self.reader.open.values()).map_err(LedgerError::Write)?);
            self.reader.follow(writer.length());
            (writer.path().to_owned(), writer.length())
        };
        self.take(shared, &path, length)?;
        self.remove_old()
    }

    /// Removes the file before, of which the database has all by now.
    fn remove_old(&mut self) -> Result<(), LedgerError> {
        let Some(old) = &self.old else { return Ok(()) };
        old.remove()?;
        self.old = None;
        Ok(())
    }

    /// Settles what processes that died have left, and takes their files away once the database has them.
    fn recover(&mut self, folder: &Path) -> Result<LedgerStatus, LedgerError> {
        let at = |source| LedgerError::Folder { path: folder.to_owned(), source };
        let left = Left::find(folder).map_err(at)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let mut status = LedgerStatus { damaged: left.damaged, ..LedgerStatus::default() };
        status.entries = self.books.append(&left.settled)?;
        let unsettled: Vec<Entry> = left.unsettled.into_iter().map(|opening| Entry::recovered(opening, now)).collect();
        status.recovered = self.books.append(&unsettled)?;
        for (path, _lock) in &left.files {
            let gone = if left.damaged > 0 {
                std::fs::rename(path, path.with_extension("damaged"))
            } else {
                std::fs::remove_file(path)
            };
            gone.map_err(at)?;
        }
        if status.recovered > 0 || status.damaged > 0 {
            tracing::warn!(
                recovered = status.recovered,
                damaged = status.damaged,
                "a process died with open requests; they are settled at what they held, and flagged"
            );
        }
        Ok(status)
    }

    /// Takes the journal away where nothing is open in it.
    fn clear_away(&self, shared: &Shared) {
        let writer = shared.writer.lock();
        if writer.behind() == 0 && self.reader.open.is_empty() {
            let _ = std::fs::remove_file(writer.path());
        }
    }
}

#[cfg(test)]
mod tests;
