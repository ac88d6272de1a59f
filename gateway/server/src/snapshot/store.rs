//! The counters that several gateways share, and how their store is reached.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use accounting::{Book, Flow, Limits, MINUTE, Money};
use egress::{Fleet, StreamHost, TlsBegins};
use ledger::{Known, OfGateway, OnLoss, Shared, SharedSettings, Spent};

use super::streams::StreamTo;
use super::{App, BookOf, KeyFacts, Model, Snapshot, SnapshotError, books};
use crate::configuration::{Compiled, StoreConfig, StoreLoss};

/// What a snapshot has of the store.
#[derive(Clone)]
pub(crate) struct Sharing {
    pub(crate) counters: Shared,
    host: Arc<StreamHost>,
}

/// The counters are those of the process and outlive every snapshot; how the store is reached is this one's.
///
/// Whether counters are shared at all is decided when the process begins.
pub(super) fn build(
    compiled: &Compiled,
    fleet: &Fleet,
    before: Option<&Snapshot>,
) -> Result<Option<Sharing>, SnapshotError> {
    let (config, counters) = match (&compiled.store, before.map(|before| &before.sharing)) {
        (None, None | Some(None)) => return Ok(None),
        (Some(config), None) => (config, open(&compiled.state_folder, config)?),
        (Some(config), Some(Some(sharing))) => (config, sharing.counters.clone()),
        (Some(_), Some(None)) | (None, Some(Some(_))) => return Err(SnapshotError::Replicas),
    };
    Ok(Some(Sharing { counters, host: host(config, compiled, fleet)? }))
}

/// How the store is reached.
pub(super) fn host(config: &StoreConfig, compiled: &Compiled, fleet: &Fleet) -> Result<Arc<StreamHost>, SnapshotError> {
    let StoreConfig { scheme, host, port, reach, tls, transport, .. } = config;
    let to = StreamTo { name: "store", scheme: *scheme, host, port: *port, reach, tls: tls.as_ref(), transport };
    Ok(Arc::new(fleet.stream_host(to.spec(compiled)?, TlsBegins::AtOnce)?))
}

/// How the store is used.
pub(super) fn settings(config: &StoreConfig) -> SharedSettings {
    SharedSettings {
        prefix: config.prefix.clone(),
        user: config.user.clone(),
        password: config.password.as_ref().map(|password| password.expose().to_owned()),
        on_loss: match config.on_loss {
            StoreLoss::Deny => OnLoss::Deny,
            StoreLoss::LocalShare { of } => OnLoss::LocalShare { of },
        },
    }
}

fn open(folder: &Path, config: &StoreConfig) -> Result<Shared, SnapshotError> {
    let (folder, books) = (folder.join("replica"), folder.join("ledger"));
    Shared::open(&folder, &books, settings(config)).map_err(|source| SnapshotError::File { path: folder, source })
}

/// The name of a key's book.
fn of_key(key: &str) -> String {
    format!("key {key}")
}

/// The name that the money of a book has in the store.
fn money_of(name: &str) -> String {
    format!("money {name}")
}

impl BookOf<'_> {
    /// The name under which its money is counted.
    pub(crate) fn account(&self) -> String {
        money_of(&self.key.map_or_else(|| self.app.to_owned(), of_key))
    }
}

impl Snapshot {
    /// What each gateway has spent of the books that are limited, for the store that they share, by what the ledger says that was
    /// spent in `month`.
    pub(crate) fn known(&self, month: u32, spent: &[OfGateway<Spent>]) -> Vec<Known> {
        let books: HashSet<_> = self.renewal.limited().map(Arc::as_ptr).collect();
        let limited = self.books().filter(|of| books.contains(&Arc::as_ptr(of.book)));
        let known = limited.map(|of| {
            let mut of_gateways: BTreeMap<Arc<str>, Money> = BTreeMap::new();
            for OfGateway { gateway, spent } in spent {
                if *spent.app == *of.app && of.key.is_none_or(|key| *spent.key == *key) {
                    let sum = of_gateways.entry(Arc::clone(gateway)).or_default();
                    *sum = *sum + spent.money;
                }
            }
            Known { account: of.account().into(), month, spent: of_gateways.into_iter().collect() }
        });
        known.filter(|known| !known.spent.is_empty()).collect()
    }

    /// Whether it limits what nothing before it did, so that the store was never told who has spent of it. Asked before it comes
    /// into force: then all its books have the limits that it gives them, and before that the new ones alone.
    pub(crate) fn has_new_limits(&self, month: u32) -> bool {
        self.budgets.has_new()
            || self.new_books().any(|of| of.book.budget(month).limit.is_some())
            || self.renewal.limited().any(|book| book.budget(month).limit.is_none())
    }
}

impl Sharing {
    /// From now on the store is reached so.
    pub(super) fn take_effect(&self) {
        self.counters.reach_by(books::dial(Arc::clone(&self.host)));
    }
}

/// From now on whoever keeps the counters keeps those of the books of these apps and keys, and the tokens of these models.
pub(super) fn enrol(counters: &Shared, (apps, keys): (&[Arc<App>], &[Arc<KeyFacts>]), models: &[Model]) {
    let enrol = |name: &str, book: &Arc<Book>| {
        counters.enrol(&money_of(name), book.purse());
        counters.enrol(&format!("tokens {name}"), book.flow());
    };
    for app in apps {
        enrol(&app.name, &app.book);
    }
    for key in keys {
        if let Some(book) = &key.book {
            enrol(&of_key(&key.name), book);
        }
    }
    for model in models {
        counters.enrol(&format!("tokens model {}", model.name), &model.tokens);
    }
}

/// Who keeps the counters where there is no store: this process alone, or with another one that has its state folder.
pub(super) fn beside(compiled: &Compiled, before: Option<&Snapshot>) -> Shared {
    before.map_or_else(|| Shared::beside(&compiled.state_folder), |before| before.beside.clone())
}

/// A new book under these limits.
pub(super) fn new_book(limits: Limits, is_shared: bool) -> Arc<Book> {
    let now = Instant::now();
    let book = if is_shared { Book::shared(now) } else { Book::new(now) };
    book.set_limits(limits);
    Arc::new(book)
}

/// The tokens of a new model under this limit.
pub(super) fn new_tokens(per_minute: Option<u64>, is_shared: bool) -> Arc<Flow> {
    let tokens = if is_shared { Flow::default() } else { Flow::own(Instant::now()) };
    tokens.set(per_minute, MINUTE);
    Arc::new(tokens)
}
