//! What gateways that act as one have in common: a real store for what they may do, and a real PostgreSQL for what they spent.

use super::{Authority, Postgres, Store};

/// Both, for as long as this is held.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) database: Postgres,
    /// Of the database's certificate.
    pub(crate) authority: Authority,
}

impl Shared {
    /// Starts both; none, loudly, where the machine lacks one. The store is one that gateways have met before.
    pub(crate) async fn start(what: &str) -> Option<Self> {
        Self::with(Store::met_before(what).await?, what).await
    }

    /// The same with a store that nobody has met.
    pub(crate) async fn fresh(what: &str) -> Option<Self> {
        Self::with(Store::start(what).await?, what).await
    }

    /// A ledger beside this store.
    pub(crate) async fn with(store: Store, what: &str) -> Option<Self> {
        let authority = Authority::new();
        let database = Postgres::start(what, Some(&authority.issue())).await?;
        Some(Self { store, database, authority })
    }
}
