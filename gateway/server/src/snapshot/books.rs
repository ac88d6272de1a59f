//! Where what was spent is kept, and how that is reached.

use std::sync::Arc;

use egress::{Fleet, StreamHost, TlsBegins};
use ledger::{Dial, Home, Postgres, Wire};

use super::streams::StreamTo;
use super::{Snapshot, SnapshotError, upstream};
use crate::configuration::{Compiled, LedgerConfig};

/// Which database it is is decided when the process begins; how it is reached, and as whom, is this snapshot's.
pub(super) fn build(
    compiled: &Compiled,
    fleet: &Fleet,
    before: Option<&Snapshot>,
) -> Result<Option<Postgres>, SnapshotError> {
    let next = compiled.ledger.as_ref().map(|config| postgres(config, compiled, fleet)).transpose()?;
    let place = |postgres: &Postgres| (postgres.database.clone(), postgres.schema.clone());
    match before {
        Some(before) if before.books.as_ref().map(place) != next.as_ref().map(place) => Err(SnapshotError::Ledger),
        Some(_) | None => Ok(next),
    }
}

/// The same for a command that reads what gateways have written, and has no endpoints.
///
/// # Errors
///
/// What the configuration names cannot be used.
pub fn home(compiled: &Compiled) -> Result<Home, SnapshotError> {
    let Some(config) = &compiled.ledger else { return Ok(Home::Folder) };
    let resolvers = compiled.resolvers.iter().map(upstream::resolver).collect::<Result<_, _>>()?;
    let fleet = Fleet::build(Vec::new(), resolvers, &[], None)?;
    Ok(Home::Postgres(postgres(config, compiled, &fleet)?))
}

fn postgres(config: &LedgerConfig, compiled: &Compiled, fleet: &Fleet) -> Result<Postgres, SnapshotError> {
    reached(config, compiled, fleet).map(|(_, postgres)| postgres)
}

/// How the database is reached, and what opens streams to it.
pub(super) fn reached(
    config: &LedgerConfig,
    compiled: &Compiled,
    fleet: &Fleet,
) -> Result<(Arc<StreamHost>, Postgres), SnapshotError> {
    let LedgerConfig { scheme, host, port, reach, tls, transport, user, password, database, schema } = config;
    let to = StreamTo { name: "ledger", scheme: *scheme, host, port: *port, reach, tls: tls.as_ref(), transport };
    let host = Arc::new(fleet.stream_host(to.spec(compiled)?, TlsBegins::OnceAskedOfPostgres)?);
    let postgres = Postgres {
        dial: dial(Arc::clone(&host)),
        user: user.clone(),
        password: password.as_ref().map(|password| password.expose().to_owned()),
        database: database.clone(),
        schema: schema.clone(),
    };
    Ok((host, postgres))
}

/// Opens streams to `host`.
pub(super) fn dial(host: Arc<StreamHost>) -> Dial {
    Arc::new(move || {
        let host = Arc::clone(&host);
        Box::pin(async move {
            let stream = host.dial().await.map_err(|error| said(&error))?;
            Ok(Box::new(stream) as Box<dyn Wire>)
        })
    })
}

/// What went wrong, and what caused it.
fn said(error: &egress::SendError) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}

impl Snapshot {
    /// Where what is spent is kept.
    #[must_use]
    pub fn home(&self) -> Home {
        self.books.clone().map_or(Home::Folder, Home::Postgres)
    }
}
