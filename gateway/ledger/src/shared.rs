//! Counters that several gateways share, in a Valkey or Redis that they all reach, or two processes of one state folder in a
//! database there, see [`Shared::beside`].
//!
//! **For.** [`Shared`] keeps the [`Counter`]s of one process: it asks the store for their parts, in rounds that carry many
//! questions, and tells the store what was used. A request that finds its part used up waits for [`Shared::round`].
//!
//! **Promises.** One script decides for one counter, alone and whole. What a gateway was granted ends here before it ends in
//! the store. A level (money, requests in flight) is told as a whole and never as a difference, so that it cannot count
//! twice however often it is told, and a store that lost its memory learns it again. The store's loss is an alarm, and then
//! what the configuration chose: nothing more is let in, or every gateway goes on with its share. It is over without a
//! restart.
//!
//! **Does not do.** It dials nobody: whoever makes it hands over a [`Dial`]. It speaks to one server and follows no cluster;
//! the name that it dials may lead to another one after a failover.

mod beside;
mod board;
mod keeper;
mod leases;
mod look;
mod marks;
mod opening;
mod resp;
mod scripts;
mod share;
mod stillness;
mod told;
mod untold;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::future::Future;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use accounting::{Counter, Money};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use beside::Beside;
pub use board::{Board, Notice, Undertaken};
use resp::Commands;
pub use resp::Wire;
use share::Share;
pub use told::{Reads, Told};
use untold::Untold;

use crate::turn::{at, turn};

/// Opens a stream to the store; `server` has `egress` do it.
pub type Dial = Arc<dyn Fn() -> Dialled + Send + Sync>;

/// A stream that is being opened, or why there is none.
pub type Dialled = Pin<Box<dyn Future<Output = Result<Box<dyn Wire>, String>> + Send>>;

/// The longest that a request waits for the store.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest that a process waits until another one has taken its place in the folder.
const TURN_IN: Duration = Duration::from_secs(10);

/// What becomes of requests while the store is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLoss {
    /// Whoever needs more than what was granted already is refused.
    Deny,
    /// This gateway goes on as one of so many, each with its share of every limit.
    LocalShare {
        /// How many there are.
        of: u32,
    },
}

/// How the store is used.
#[derive(Clone)]
pub struct Settings {
    /// Before every key, so that two fleets can use one store.
    pub prefix: String,
    /// The name to log in with; the store's own default where absent.
    pub user: Option<String>,
    /// The password; none is sent where absent.
    pub password: Option<String>,
    /// What becomes of requests while the store is away.
    pub on_loss: OnLoss,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { prefix, user, password, on_loss } = self;
        let password = password.as_ref().map(|_| "…");
        f.debug_struct("Settings")
            .field("prefix", prefix)
            .field("user", user)
            .field("password", &password)
            .field("on_loss", on_loss)
            .finish()
    }
}

impl Settings {
    /// What logs in; nothing where no password is shown.
    fn login(&self) -> Option<Commands> {
        let password = self.password.as_ref()?.as_bytes();
        Some(match &self.user {
            Some(user) => Commands::of(&[b"AUTH", user.as_bytes(), password]),
            None => Commands::of(&[b"AUTH", password]),
        })
    }
}

/// The store is away, and nothing may be let in without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the shared store does not answer")]
pub struct StoreLost;

/// How it stands with the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStatus {
    /// The store has answered since it was lost last.
    pub connected: bool,
    /// Why it is lost; nothing while it is not.
    pub lost: Option<String>,
    /// How often it was lost.
    pub losses: u64,
    /// Rounds that were asked of it.
    pub rounds: u64,
    /// Counters that are kept.
    pub counters: usize,
}

/// What the ledger says that gateways had spent of one account in a month, or in another stretch of a calendar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The name under which the account is [enrolled](Shared::enrol).
    pub account: Arc<str>,
    /// The number of the stretch.
    pub month: u32,
    /// Each by the name of its ledger's folder, as entries in the database have it.
    pub spent: Vec<(Arc<str>, Money)>,
}

/// The shared counters of this process. Cloning is cheap and gives the same.
#[derive(Clone, Debug)]
pub struct Shared {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    /// The name of the state folder, one of this process alone, and the name of the ledger's folder.
    owner: String,
    /// No other process had the state folder when this one took its place in it: what the folder's ledger says is this
    /// one's to tell.
    alone: bool,
    /// Shows those that come later that this process has it; none without a store.
    _place: Option<File>,
    /// In place of a store: where processes of one state folder meet.
    beside: Option<Beside>,
    dial: Mutex<Option<Dial>>,
    accounts: Mutex<BTreeMap<Arc<str>, Arc<Account>>>,
    queue: Mutex<Vec<Arc<Account>>>,
    /// What the store is told before it is asked for money.
    untold: Mutex<Untold>,
    rung: Notify,
    /// Connections that were begun.
    turns: AtomicU64,
    /// How often the store was found without its memory.
    forgotten: watch::Sender<u64>,
    /// Rounds that have begun.
    begun: AtomicU64,
    /// The latest round that is over, and whether the store answered it or somebody did in its place.
    over: watch::Sender<(u64, bool)>,
    status: Mutex<StoreStatus>,
    /// Counters that were there when the process began to serve may take over what died with the process before.
    serving: AtomicBool,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("owner", &self.owner)
            .field("status", &*self.status.lock())
            .finish_non_exhaustive()
    }
}

/// One counter, and what is needed to ask for it.
#[derive(Debug)]
struct Account {
    key: Arc<str>,
    counter: Weak<dyn Counter>,
    queued: AtomicBool,
    /// What becomes of the parts of earlier processes at the first question.
    adopt: Mutex<&'static str>,
    share: Mutex<Share>,
    /// The store has lost its memory and was not told again.
    untold: AtomicBool,
}

impl Shared {
    /// The counters of a process whose state is in `folder`, and whose ledger is in `books`; nobody is dialled yet.
    ///
    /// # Errors
    ///
    /// When a folder cannot be used.
    pub fn open(folder: &Path, books: &Path, settings: Settings) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        std::fs::create_dir_all(books)?;
        let (family, ledger) = (family_of(folder)?, family_of(books)?);
        let (place, alone) = take_place(folder, TURN_IN)?;
        let inner = Inner {
            owner: format!("{family}/{}/{ledger}", random()?),
            alone,
            _place: Some(place),
            ..Inner::new(settings)
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// How the store is reached from now on.
    pub fn reach_by(&self, dial: Dial) {
        *self.inner.dial.lock() = Some(dial);
    }

    /// Whether this process has its state folder for itself, and tells the store what the ledger there says. Beside another
    /// process, as during an upgrade, each tells its own.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.inner.alone
    }

    /// Every counter that is there is asked for now, and those that come later are new.
    pub fn serve(&self) {
        self.inner.serving.store(true, Ordering::Release);
        if self.inner.beside.is_some() {
            return;
        }
        let accounts: Vec<_> = self.inner.accounts.lock().values().cloned().collect();
        for account in &accounts {
            self.inner.ring(account);
        }
    }

    /// Keeps this counter from now on, until it is dropped, under a name that is the same in every gateway.
    pub fn enrol<C: Counter + 'static>(&self, key: &str, counter: &Arc<C>) {
        let mut accounts = self.inner.accounts.lock();
        let known = accounts.get(key).and_then(|known| known.counter.upgrade());
        if known.is_some_and(|known| std::ptr::addr_eq(Arc::as_ptr(&known), Arc::as_ptr(counter))) {
            return;
        }
        let weak: Weak<C> = Arc::downgrade(counter);
        let adopt = match (self.is_alone(), self.inner.serving.load(Ordering::Acquire)) {
            (false, _) => "",
            (true, false) => "live",
            (true, true) => "over",
        };
        let account = Arc::new(Account {
            key: key.into(),
            counter: weak,
            queued: AtomicBool::new(false),
            adopt: Mutex::new(adopt),
            share: Mutex::default(),
            untold: AtomicBool::new(false),
        });
        let (inner, rings) = (Arc::downgrade(&self.inner), Arc::clone(&account));
        counter.ring_by(Box::new(move || {
            if let Some(inner) = inner.upgrade() {
                inner.ring(&rings);
            }
        }));
        accounts.insert(Arc::clone(&account.key), Arc::clone(&account));
        if let Some(beside) = &self.inner.beside {
            beside.enrol(key, &**counter);
        }
        drop(accounts);
        if counter.is_busy() {
            self.inner.ring(&account);
        }
    }

    /// The latest round that has begun, for [`Shared::round`]: whoever is short now is asked for in a later one.
    #[must_use]
    pub fn latest(&self) -> u64 {
        self.inner.begun.load(Ordering::Acquire)
    }

    /// Waits until a round after this one is over.
    ///
    /// # Errors
    ///
    /// [`StoreLost`] while the store is away and nobody may go on without it.
    pub async fn round(&self, after: u64) -> Result<(), StoreLost> {
        let mut over = self.inner.over.subscribe();
        let waited = over.wait_for(|(round, _)| *round > after);
        match tokio::time::timeout(PATIENCE, waited).await {
            Ok(Ok(over)) if over.1 => Ok(()),
            _ => Err(StoreLost),
        }
    }

    /// Tells the store what the ledger knows, before it is asked for money again: what it has forgotten, or never heard, is
    /// counted as spent until whoever spent it tells so. What was said before and not told yet is forgotten.
    pub fn tell(&self, known: Vec<Known>) {
        self.inner.untold.lock().replace(known);
        self.inner.rung.notify_one();
    }

    /// Counts how often the store was found without its memory: each time somebody is to say what the ledger knows that gateways
    /// which are gone had spent.
    #[must_use]
    pub fn forgotten(&self) -> watch::Receiver<u64> {
        self.inner.forgotten.subscribe()
    }

    /// How it stands with the store.
    #[must_use]
    pub fn status(&self) -> StoreStatus {
        let counters = self.inner.accounts.lock().len();
        StoreStatus { counters, ..self.inner.status.lock().clone() }
    }

    /// Asks the store until it is dropped.
    pub async fn run(&self) {
        keeper::Keeper::new(Arc::clone(&self.inner)).run().await;
    }
}

impl Inner {
    fn new(settings: Settings) -> Self {
        Self {
            settings,
            owner: String::new(),
            alone: true,
            _place: None,
            beside: None,
            dial: Mutex::new(None),
            accounts: Mutex::default(),
            queue: Mutex::default(),
            untold: Mutex::default(),
            rung: Notify::new(),
            turns: AtomicU64::new(0),
            forgotten: watch::Sender::new(0),
            begun: AtomicU64::new(0),
            over: watch::Sender::new((0, true)),
            status: Mutex::default(),
            serving: AtomicBool::new(false),
        }
    }

    /// The counters that rang, and with `looks` all that hold a part.
    fn rang(&self, looks: bool) -> Vec<(Arc<Account>, Arc<dyn Counter>)> {
        let mut accounts = std::mem::take(&mut *self.queue.lock());
        let rang = accounts.len();
        if looks {
            let mut all = self.accounts.lock();
            all.retain(|_, account| account.counter.strong_count() > 0);
            // Each once: whoever rang is there already, or in the queue for the next round.
            let others = all.values().filter(|account| !account.queued.load(Ordering::Acquire));
            let busy = |account: &&Arc<Account>| account.counter.upgrade().is_some_and(|counter| counter.is_busy());
            accounts.extend(others.filter(busy).cloned());
        }
        accounts.iter().take(rang).for_each(|account| account.queued.store(false, Ordering::Release));
        accounts.into_iter().filter_map(|account| account.counter.upgrade().map(|counter| (account, counter))).collect()
    }

    fn ring(&self, account: &Arc<Account>) {
        if !account.queued.swap(true, Ordering::AcqRel) {
            self.queue.lock().push(Arc::clone(account));
        }
        match &self.beside {
            Some(beside) => beside.bell.ring(),
            None => self.rung.notify_one(),
        }
    }
}

/// Takes a place in the folder, beside whoever else has one, and says whether nobody has.
///
/// Every process holds its place while it runs, also one that was not the first: of two upgrades in a row the third process
/// must not take what the second has spent for its own to tell.
fn take_place(folder: &Path, within: Duration) -> io::Result<(File, bool)> {
    // INVARIANT: one process looks at a time. A lock that is changed from one kind to the other is let go in between.
    let _turn = turn(&folder.join("replica.turn"), within)?;
    // Over NFS it can be locked for oneself only where it may be written, and beside others only where it may be read.
    let path = folder.join("replica.lock");
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let place = open.map_err(at(&path))?;
    let alone = place.try_lock().is_ok();
    if alone {
        place.unlock()?;
    }
    // A release before this one holds it for itself alone, and what it holds says the same.
    let _ = place.try_lock_shared();
    Ok((place, alone))
}

/// The name of a folder, the same for every process that uses it. It is made at the first time.
pub(crate) fn family_of(folder: &Path) -> io::Result<String> {
    let path = folder.join("replica.id");
    match std::fs::read_to_string(&path) {
        Ok(known) if known.len() == 32 && known.bytes().all(|digit| digit.is_ascii_hexdigit()) => return Ok(known),
        Ok(_) => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{}: it is no name of a replica; remove it", path.display()),
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let name = random()?;
    let temporary = folder.join(format!(".replica.id.{}", std::process::id()));
    std::fs::write(&temporary, &name)?;
    // Two processes that begin together agree on one name.
    let linked = std::fs::hard_link(&temporary, &path);
    std::fs::remove_file(&temporary)?;
    match linked {
        Ok(()) => Ok(name),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => std::fs::read_to_string(&path),
        Err(error) => Err(error),
    }
}

fn random() -> io::Result<String> {
    use std::fmt::Write as _;
    let mut bytes = [0_u8; 16];
    io::Read::read_exact(&mut File::open("/dev/urandom")?, &mut bytes)?;
    let mut text = String::with_capacity(32);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

/// Time as the keeper's tests may pause it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
