//! What can be found, and the names that policies, obligations and records use for it.

use std::fmt;
use std::hash::{Hash, Hasher};

/// The kinds of finding; [`fmt::Display`] gives the name that records and policies use.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FindingKind {
    /// A URL in the content that the upstream would fetch: `remote_url`.
    RemoteUrl,
    /// A tool that the provider would run, with its `type`: `hosted_tool:web_search`. An unknown type counts as hosted.
    HostedTool(String),
    /// State that the provider would keep or has kept (`store`, `previous_response_id`, …): `stored_state`.
    StoredState,
    /// What a recogniser found in text, by its own name: `iban`, or `custom:NAME` for one that a configuration brings along.
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
            Self::Text(kind) => match kind.group {
                Some(group) => Some(group.name()),
                None => None,
            },
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
            Self::Text(kind) => f.write_str(kind.name()),
            Self::UninspectedMedia => f.write_str("uninspected_media"),
            Self::Uninspected => f.write_str("uninspected"),
            Self::UserIdentifier => f.write_str("user_identifier"),
        }
    }
}

/// A kind of text that has a recogniser: what `redact:` in an obligation can name.
///
/// Two of the same name are the same kind, also where the group of one of them is not known.
#[derive(Clone, Copy, Debug)]
pub struct TextKind {
    // INVARIANT: private, so that every kind in use is one of `TextKind::all` or begins with `custom:`.
    name: Name,
    group: Option<Group>,
}

impl PartialEq for TextKind {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for TextKind {}

impl Hash for TextKind {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// The name of a kind. One of one's own is kept in place, so that a kind stays a plain value.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Name {
    Shipped(&'static str),
    Own([u8; OWN.len() + MOST_OWN_NAME], u8),
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Name {
    fn as_str(&self) -> &str {
        match self {
            Self::Shipped(name) => name,
            Self::Own(bytes, length) => {
                let written = bytes.get(..usize::from(*length)).unwrap_or_default();
                std::str::from_utf8(written).unwrap_or_default()
            }
        }
    }
}

/// What the name of a kind of one's own begins with, in findings and policies.
pub const OWN: &str = "custom:";

/// Longest name of a recogniser of one's own, in bytes, without [`OWN`].
pub const MOST_OWN_NAME: usize = 24;

impl TextKind {
    pub(crate) const fn new(name: &'static str, group: Group) -> Self {
        Self { name: Name::Shipped(name), group: Some(group) }
    }

    /// The kind that a recogniser of one's own with this name finds, `custom:NAME`; none where it can be no name.
    ///
    /// A name has 1 to 24 of `a-z`, `0-9` and `_`, and begins with a letter. Findings of the kind count as findings of `group`
    /// as well.
    ///
    /// ```
    /// # use inspection::TextKind;
    /// assert_eq!(TextKind::own("matter", None).unwrap().name(), "custom:matter");
    /// assert!(TextKind::own("Matter 7", None).is_none());
    /// ```
    #[must_use]
    pub fn own(name: &str, group: Option<Group>) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let begins_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        if !begins_well || name.len() > MOST_OWN_NAME || !name.bytes().all(is_plain) {
            return None;
        }
        let mut bytes = [0; OWN.len() + MOST_OWN_NAME];
        for (slot, byte) in bytes.iter_mut().zip(OWN.bytes().chain(name.bytes())) {
            *slot = byte;
        }
        let length = u8::try_from(OWN.len() + name.len()).ok()?;
        Some(Self { name: Name::Own(bytes, length), group })
    }

    /// The kind of the whole name `custom:NAME`, of which no group is known.
    #[must_use]
    pub fn own_named(name: &str) -> Option<Self> {
        Self::own(name.strip_prefix(OWN)?, None)
    }

    /// Every shipped kind, in the order of the reference page.
    pub fn all() -> impl Iterator<Item = Self> {
        crate::recognisers::LIST.iter().map(|recogniser| recogniser.kind)
    }

    /// The shipped kinds that a policy means by `name`: one kind, or all those of a group.
    ///
    /// Empty where nothing has this name.
    #[must_use]
    pub fn named(name: &str) -> Vec<Self> {
        Self::all().filter(|kind| kind.goes_by(name)).collect()
    }

    /// Whether a policy means this kind by `name`: its own name, or that of its group.
    #[must_use]
    pub fn goes_by(&self, name: &str) -> bool {
        self.name() == name || self.group.is_some_and(|group| group.name() == name)
    }

    /// The name, for example `iban`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// The name of a shipped kind; none where it is one's own.
    #[must_use]
    pub const fn shipped_name(&self) -> Option<&'static str> {
        match self.name {
            Name::Shipped(name) => Some(name),
            Name::Own(..) => None,
        }
    }

    /// Whether what lies within a find of it is a part of that: a piece of an IBAN is no telephone number.
    ///
    /// It is so of the numbers of accounts, people and machines. They are checked, or have one length and few separators; e-mail
    /// addresses, telephone numbers and secrets take in much of what is written beside them.
    pub(crate) const fn takes_in_its_parts(self) -> bool {
        matches!(self.group, Some(Group::Financial | Group::NationalId | Group::NetworkAddress))
    }

    /// The group that it belongs to. Only one of one's own may have none.
    #[must_use]
    pub const fn group(self) -> Option<Group> {
        self.group
    }
}

impl fmt::Display for TextKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
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

/// Every name that stands for findings of one kind or group, without the open family `hosted_tool:…` and without what
/// recognisers of one's own find.
///
/// A policy that names anything else (and neither of these) can never meet it.
pub fn names() -> impl Iterator<Item = &'static str> {
    ["remote_url", "stored_state", "uninspected_media", "uninspected", "user_identifier"]
        .into_iter()
        .chain(Group::ALL.into_iter().map(Group::name))
        .chain(TextKind::all().filter_map(|kind| kind.shipped_name()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn kinds_of_one_name_are_the_same_whatever_is_known_of_their_group() {
        let known = TextKind::own("token", Some(Group::Secret)).expect("it is a name");
        let read = TextKind::own_named("custom:token").expect("it is a name");
        let other = TextKind::own("tokens", Some(Group::Secret)).expect("it is a name");

        assert!(known == read && known != other);
        assert!(HashSet::from([known]).contains(&read));
    }
}
