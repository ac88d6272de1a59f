//! The counters that several gateways share, and how their store is reached.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use accounting::{Book, Limits};
use egress::{EndpointSpec, Fleet, Http2, PoolSpec, StreamHost, Timeouts};
use ledger::{Dial, OnLoss, Shared, SharedSettings, Wire};

use super::{App, KeyFacts, Snapshot, SnapshotError, upstream};
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
    let host = fleet.stream_host(spec(config, compiled)?)?;
    Ok(Some(Sharing { counters, host: Arc::new(host) }))
}

fn open(folder: &Path, config: &StoreConfig) -> Result<Shared, SnapshotError> {
    let settings = SharedSettings {
        prefix: config.prefix.clone(),
        user: config.user.clone(),
        password: config.password.as_ref().map(|password| password.expose().to_owned()),
        on_loss: match config.on_loss {
            StoreLoss::Deny => OnLoss::Deny,
            StoreLoss::LocalShare { of } => OnLoss::LocalShare { of },
        },
    };
    let folder = folder.join("replica");
    Shared::open(&folder, settings).map_err(|source| SnapshotError::File { path: folder, source })
}

fn spec(config: &StoreConfig, compiled: &Compiled) -> Result<EndpointSpec, SnapshotError> {
    Ok(EndpointSpec {
        via: None,
        name: "store".into(),
        scheme: upstream::scheme(config.scheme),
        host: upstream::host(&config.host),
        port: config.port,
        authority: upstream::authority(config.scheme, &config.host, config.port),
        base_path: String::new(),
        reach: upstream::reach(&config.reach, &compiled.resolvers),
        tls: upstream::tls(config.tls.as_ref())?,
        credential: None,
        timeouts: Timeouts::default(),
        in_flight: None,
        pool: PoolSpec::default(),
        http2: Http2::Off,
        page: None,
        probe: None,
        transport: upstream::transport(&config.transport),
        canary: None,
    })
}

impl Sharing {
    /// From now on the store is reached so, and asked for the books of these apps and keys.
    pub(super) fn take_effect(&self, apps: &[Arc<App>], keys: &[Arc<KeyFacts>]) {
        let host = Arc::clone(&self.host);
        let dial: Dial = Arc::new(move || {
            let host = Arc::clone(&host);
            Box::pin(async move {
                let stream = host.dial().await.map_err(|error| error.to_string())?;
                Ok(Box::new(stream) as Box<dyn Wire>)
            })
        });
        self.counters.reach_by(dial);
        for app in apps {
            self.enrol(&app.name, &app.book);
        }
        for key in keys {
            if let Some(book) = &key.book {
                self.enrol(&format!("key {}", key.name), book);
            }
        }
    }

    fn enrol(&self, name: &str, book: &Arc<Book>) {
        self.counters.enrol(&format!("money {name}"), book);
        if let Some(flow) = book.flow() {
            self.counters.enrol(&format!("tokens {name}"), flow);
        }
    }
}

/// A new book under these limits.
pub(super) fn new_book(limits: Limits, is_shared: bool) -> Arc<Book> {
    let now = Instant::now();
    let book = if is_shared { Book::shared(now) } else { Book::new(now) };
    book.set_limits(limits);
    Arc::new(book)
}
