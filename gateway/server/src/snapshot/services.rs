//! What the gateway itself needs beside its endpoints, for whoever looks at it without serving.

use std::collections::BTreeMap;
use std::sync::Arc;

use egress::{ControlHost, Fleet, StreamHost};
use ledger::{Dial, Postgres, SharedSettings};

use super::{SnapshotError, books, control, store, upstream};
use crate::configuration::Compiled;
use crate::control_planes::Question;

/// The store, the ledger's database and the control planes of a configuration, reached as a gateway reaches them.
pub struct Services {
    /// Where several gateways share their counters.
    pub store: Option<StoreService>,
    /// Where they keep what they spent.
    pub ledger: Option<LedgerService>,
    /// Who is asked where deployments process.
    pub controls: Vec<ControlService>,
}

/// A Valkey or Redis.
pub struct StoreService {
    /// Scheme, host and port.
    pub url: String,
    /// How it is reached.
    pub host: Arc<StreamHost>,
    /// Opens a stream to it.
    pub dial: Dial,
    /// As whom, and below which prefix.
    pub settings: SharedSettings,
}

/// A PostgreSQL.
pub struct LedgerService {
    /// Scheme, host, port and database.
    pub url: String,
    /// How it is reached.
    pub host: Arc<StreamHost>,
    /// Opens a stream to it; as whom, and to which schema.
    pub postgres: Postgres,
}

/// A control plane.
pub struct ControlService {
    /// The name that it has in reports.
    pub name: String,
    /// How it is reached.
    pub host: ControlHost,
    /// What it is asked, each with the target that it is about.
    pub questions: Vec<(String, Question)>,
}

/// The services of a configuration; nobody is dialled yet.
///
/// # Errors
///
/// [`SnapshotError`] when a file that it names cannot be used.
pub fn services(compiled: &Compiled) -> Result<Services, SnapshotError> {
    let resolvers = compiled.resolvers.iter().map(upstream::resolver).collect::<Result<_, _>>()?;
    let fleet = Fleet::build(Vec::new(), resolvers, &[], None)?.with_control(control::specs(compiled)?, None)?;
    let store = compiled.store.as_ref().map(|config| {
        let host = store::host(config, compiled, &fleet)?;
        let scheme = if config.tls.is_some() { "rediss" } else { "redis" };
        let url = format!("{scheme}://{}:{}", config.host, config.port);
        let (dial, settings) = (books::dial(Arc::clone(&host)), store::settings(config));
        Ok::<_, SnapshotError>(StoreService { url, host, dial, settings })
    });
    let ledger = compiled.ledger.as_ref().map(|config| {
        let (host, postgres) = books::reached(config, compiled, &fleet)?;
        let at = format!("{}:{}", config.host, config.port);
        Ok::<_, SnapshotError>(LedgerService { url: format!("postgresql://{at}/{}", config.database), host, postgres })
    });
    Ok(Services { store: store.transpose()?, ledger: ledger.transpose()?, controls: controls(compiled, &fleet) })
}

fn controls(compiled: &Compiled, fleet: &Fleet) -> Vec<ControlService> {
    let mut about: BTreeMap<usize, Vec<(String, Question)>> = BTreeMap::new();
    for (index, target) in compiled.targets.iter().enumerate() {
        if let Some((plane, question)) = Question::about(compiled, index) {
            about.entry(plane).or_default().push((target.name.clone(), question));
        }
    }
    let service = |(index, config)| {
        let name = control::name(config);
        let host = fleet.control(&name)?.clone();
        Some(ControlService { name, host, questions: about.remove(&index).unwrap_or_default() })
    };
    compiled.controls.iter().enumerate().filter_map(service).collect()
}
