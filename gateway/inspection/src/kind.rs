//! What can be found, and the names that policies, obligations and records use for it.

use std::fmt;

/// The kinds of finding; [`fmt::Display`] gives the name that records and policies use.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FindingKind {
    /// A URL in the content that the upstream would fetch: `remote_url`.
    RemoteUrl,
    /// A tool that the provider would run, with its `type`: `hosted_tool:web_search`. An unknown type counts as hosted.
    HostedTool(String),
    /// State that the provider would keep or has kept (`store`, `previous_response_id`, …): `stored_state`.
    StoredState,
    /// What a recogniser found in text, by its own name: `iban`.
    Text(TextKind),
    /// Media that nothing here reads as text, such as an image: `uninspected_media`.
    UninspectedMedia,
    /// Text that was not read, because a bound was hit: `uninspected`. Never taken for "nothing found".
    Uninspected,
    /// An identifier of the caller's user in `user`, `safety_identifier` or `metadata.user_id`: `user_identifier`.
    UserIdentifier,
}

impl FindingKind {
    /// The wider name that policies may use as well, where there is one: `secret` for every kind of secret.
    #[must_use]
    pub const fn group(&self) -> Option<&'static str> {
        match self {
            Self::Text(kind) => Some(kind.group.name()),
            Self::RemoteUrl
            | Self::HostedTool(_)
            | Self::StoredState
            | Self::UninspectedMedia
            | Self::Uninspected
            | Self::UserIdentifier => None,
        }
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RemoteUrl => f.write_str("remote_url"),
            Self::HostedTool(tool) => write!(f, "hosted_tool:{tool}"),
            Self::StoredState => f.write_str("stored_state"),
            Self::Text(kind) => f.write_str(kind.name),
            Self::UninspectedMedia => f.write_str("uninspected_media"),
            Self::Uninspected => f.write_str("uninspected"),
            Self::UserIdentifier => f.write_str("user_identifier"),
        }
    }
}

/// A kind of text that has a recogniser: what `redact:` in an obligation can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TextKind {
    // INVARIANT: private, so that every kind in use is one of `TextKind::all`.
    name: &'static str,
    group: Group,
}

impl TextKind {
    pub(crate) const fn new(name: &'static str, group: Group) -> Self {
        Self { name, group }
    }

    /// Every kind, in the order of the reference page.
    pub fn all() -> impl Iterator<Item = Self> {
        crate::recognisers::LIST.iter().map(|recogniser| recogniser.kind)
    }

    /// The kinds that a policy means by `name`: one kind, or all those of a group.
    ///
    /// Empty where nothing has this name.
    #[must_use]
    pub fn named(name: &str) -> Vec<Self> {
        Self::all().filter(|kind| kind.name == name || kind.group.name() == name).collect()
    }

    /// The name, for example `iban`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// The group that it belongs to.
    #[must_use]
    pub const fn group(self) -> Group {
        self.group
    }
}

impl fmt::Display for TextKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Kinds that policies often mean together; the group's name may stand wherever a kind's name may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// Ways to reach a person: `contact`.
    Contact,
    /// Addresses of machines, which the law often takes for a person's: `network_address`.
    NetworkAddress,
    /// Accounts and payment cards: `financial`.
    Financial,
    /// Numbers that a state or its insurers give to a person: `national_id`.
    NationalId,
    /// What opens something: `secret`.
    Secret,
}

impl Group {
    /// Every group, in the order of the reference page.
    pub const ALL: [Self; 5] = [Self::Contact, Self::NetworkAddress, Self::Financial, Self::NationalId, Self::Secret];

    /// The name that policies and records use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::NetworkAddress => "network_address",
            Self::Financial => "financial",
            Self::NationalId => "national_id",
            Self::Secret => "secret",
        }
    }
}

/// Every name that stands for findings of one kind or group, without the open family `hosted_tool:…`.
///
/// A policy that names anything else (and no hosted tool) can never meet it.
pub fn names() -> impl Iterator<Item = &'static str> {
    ["remote_url", "stored_state", "uninspected_media", "uninspected", "user_identifier"]
        .into_iter()
        .chain(Group::ALL.into_iter().map(Group::name))
        .chain(TextKind::all().map(TextKind::name))
}
