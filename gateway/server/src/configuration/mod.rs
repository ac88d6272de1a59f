//! The configuration: a document of one file or a folder, read whole, checked whole, compiled to plain values.
//!
//! ```text
//! sources  the files, their hashes                    tree, read   one tree of values that know where they stand
//! shape    the schema of document's structs           walk         every mistake of form
//! authors  who may write what                         enforcement  what has an effect in this version
//! check    what the values mean, and fit together     compile      the plain values that come out
//! ```
//!
//! Every mistake of a document is reported in one run, with file, line and column, what was found and what would be
//! right. What comes out needs no further check. This module starts nothing: `server` turns its values into a
//! snapshot. Keys are read here, from the environment or a file, and are kept out of every message.
//!
//! It does not read certificates for the listener or the endpoints to use, it only sees that they are there and fit;
//! it does not resolve names; and it does not know what a provider's dialect is, only which names there are.

mod administration;
mod authors;
mod check;
mod compile;
mod data_pack;
mod document;
mod enforcement;
mod grant;
mod last_good;
mod limits;
mod mistakes;
mod network;
mod read;
mod reference;
mod report;
mod salvage;
mod schema;
mod shape;
mod sources;
mod stamps;
mod steering;
#[cfg(test)]
mod tests;
mod tree;
mod url;
mod walk;

use std::path::{Path, PathBuf};

pub use administration::{AdministrationConfig, AdministratorConfig};
pub(crate) use check::asked_about;
pub(crate) use check::budgets::signing_key;
pub use check::{PolicyConfig, due};
pub use compile::{
    AppConfig, ApplicationConfig, AuditConfig, AwsCredentialConfig, AwsKeysConfig, BlobCredentialConfig, BudgetConfig,
    CanaryConfig, CaptureConfig, CertificateConfig, ClaimConfig, ClientCertificate, Compiled, ControlConfig,
    ControlCredentialConfig, CostConfig, CredentialConfig, DataConfig, EndpointConfig, EndpointControlConfig,
    EndpointTlsConfig, FetchedKeysConfig, GrantConfig, GrantsConfig, IdentityConfig, IdentityHostConfig, IssuerConfig,
    IssuerKeysConfig, KeyConfig, KeysPathConfig, Known, LedgerConfig, ListenConfig, ListenTlsConfig, LoadOptions,
    ModelConfig, OtlpConfig, PoolConfig, PriceList, ProbeConfig, Provider, QuotaConfig, ReachConfig, ResolverConfig,
    ResolverServers, ResolverTls, ResolverTransport, RoutingConfig, Secret, Secrets, StoreConfig, StoreLoss,
    SuppressionConfig, TargetConfig, TimeoutsConfig, TokenAuthConfig, TokenConfig, TransportConfig, ViaConfig,
    WebhookConfig, WitnessConfig, WitnessKindConfig, load_sources,
};
pub use data_pack::{DataPack, pack};
pub use document::{Api, Class, Decimal, Document, Http2, OtlpProtocol, Place, Role};
pub use grant::{BreakGlassConfig, Grant, GrantFault, MOST_HOURS};
pub use last_good::{FORMAT_VERSION, LastGood, LastGoodError, read as read_last_good, save as save_last_good};
pub use limits::RequestLimits;
pub use mistakes::{Mistake, MistakeKind, Mistakes, Note, NoteKind, Position};
pub use network::Network;
pub use read::state_folder_of;
pub use reference::reference;
pub use schema::schema;
pub use sources::{MAX_FILE_BYTES, MAX_FILES, Source, Sources};
pub use stamps::Stamps;
pub use url::{Host, Scheme, Url};

/// The settings of the document themselves, for parts that read what has no effect yet.
pub mod settings {
    pub use super::document::*;
}

/// Reads and checks the file or folder at `path`.
///
/// # Errors
///
/// Every mistake there is, with its place.
pub fn load(path: &Path, options: &LoadOptions<'_>) -> Result<Compiled, Mistakes> {
    load_sources(&Sources::read(path)?, options)
}

/// Checks texts that are at hand; relative paths start at each file's folder.
///
/// # Errors
///
/// Every mistake there is, with its place.
pub fn load_text(
    texts: impl IntoIterator<Item = (PathBuf, String)>,
    options: &LoadOptions<'_>,
) -> Result<Compiled, Mistakes> {
    let texts: Vec<_> = texts.into_iter().collect();
    let is_folder = texts.len() > 1;
    let root = texts.first().map(|(path, _)| path.clone()).unwrap_or_default();
    load_sources(&Sources::from_texts(&root, is_folder, texts), options)
}
