//! What is asked: who, for what, about which data, and which targets there are.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use inspection::{FindingKind, Findings};

use crate::facts::Facts;

/// A target: its index in the list of targets of the snapshot that the request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetId(pub u32);

impl fmt::Display for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// What the app asks a model to do; each is an action of the policies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Operation {
    /// An answer to a conversation or a text.
    #[default]
    Chat,
    /// The Responses API.
    Respond,
    /// Vectors of texts.
    Embed,
    /// The order of documents.
    Rerank,
    /// Pictures.
    Image,
    /// Sound.
    Audio,
    /// Many calls at once, later.
    Batch,
}

impl Operation {
    /// Every operation, in the order of the schema.
    pub const ALL: [Self; 7] =
        [Self::Chat, Self::Respond, Self::Embed, Self::Rerank, Self::Image, Self::Audio, Self::Batch];

    /// Its name in policies.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Respond => "respond",
            Self::Embed => "embed",
            Self::Rerank => "rerank",
            Self::Image => "image",
            Self::Audio => "audio",
            Self::Batch => "batch",
        }
    }

    /// The operation of this name, if there is one.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }
}

/// Something an upstream would do beyond answering; each is an action of the policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Keep the request or the answer, or use what was kept: `keep_state`.
    KeepState,
    /// Fetch a URL that stands in the content: `fetch_remote`.
    FetchRemote,
    /// Run a tool on the provider's side: `use_hosted_tool`.
    UseHostedTool,
}

impl Action {
    /// Every action, in the order of the reference page.
    pub const ALL: [Self; 3] = [Self::KeepState, Self::FetchRemote, Self::UseHostedTool];

    /// The action that a finding of this kind would set off; most kinds set off none.
    #[must_use]
    pub fn behind(kind: &FindingKind) -> Option<Self> {
        match kind {
            FindingKind::StoredState => Some(Self::KeepState),
            FindingKind::RemoteUrl => Some(Self::FetchRemote),
            FindingKind::HostedTool(_) => Some(Self::UseHostedTool),
            FindingKind::Text(_)
            | FindingKind::UninspectedMedia
            | FindingKind::Uninspected
            | FindingKind::UserIdentifier => None,
        }
    }

    /// The name used in the configuration, in policies and in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::KeepState => "keep_state",
            Self::FetchRemote => "fetch_remote",
            Self::UseHostedTool => "use_hosted_tool",
        }
    }

    /// The action of this name, if there is one.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The actions that `[policy] allow` grants to an endpoint; the default grants none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// The endpoint may keep state between requests.
    pub keep_state: bool,
    /// The endpoint may fetch URLs that stand in the content.
    pub fetch_remote: bool,
    /// The endpoint may run tools on its side.
    pub use_hosted_tool: bool,
}

/// Grants nothing: what an endpoint has that `[policy] allow` does not name.
pub const NO_GRANTS: Grants = Grants { keep_state: false, fetch_remote: false, use_hosted_tool: false };

impl Grants {
    /// Whether `action` is granted.
    #[must_use]
    pub const fn allow(self, action: Action) -> bool {
        match action {
            Action::KeepState => self.keep_state,
            Action::FetchRemote => self.fetch_remote,
            Action::UseHostedTool => self.use_hosted_tool,
        }
    }

    /// These grants and `action` as well.
    #[must_use]
    pub const fn with(mut self, action: Action) -> Self {
        match action {
            Action::KeepState => self.keep_state = true,
            Action::FetchRemote => self.fetch_remote = true,
            Action::UseHostedTool => self.use_hosted_tool = true,
        }
        self
    }
}

/// How confidential data is. The highest of all that is said counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// May be read by anybody.
    Public,
    /// May be read inside the company.
    #[default]
    Internal,
    /// May be read by those who need it.
    Confidential,
    /// May be read by named people.
    Secret,
}

impl Class {
    /// Every class, lowest first: the number of a class in policies is its place here.
    pub const ALL: [Self; 4] = [Self::Public, Self::Internal, Self::Confidential, Self::Secret];

    /// The name used in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Confidential => "confidential",
            Self::Secret => "secret",
        }
    }

    /// The class of this name, if there is one.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

    /// Its number in policies.
    #[must_use]
    pub const fn level(self) -> i64 {
        self as i64
    }
}

/// How a target is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reach {
    /// On one's own network.
    #[default]
    Local,
    /// Over a private endpoint.
    PrivateLink,
    /// Over the internet.
    Public,
}

impl Reach {
    /// Every reach.
    pub const ALL: [Self; 3] = [Self::Local, Self::PrivateLink, Self::Public];

    /// Its name in policies and in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::PrivateLink => "private-link",
            Self::Public => "public",
        }
    }
}

/// One of the model's targets, with what the configuration says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which target.
    pub target: TargetId,
    /// `endpoint/upstream-model`, as records and `explain` show it.
    pub name: Arc<str>,
    /// `reach = local`, or listed under `[policy] approve`.
    pub approved: bool,
    /// What `[policy] allow` grants to its endpoint.
    pub grants: Grants,
    /// How it is reached.
    pub reach: Reach,
    /// It stands on a site of one's own and is reached locally.
    pub own_site: bool,
    /// It is not generally available yet.
    pub preview: bool,
    /// Where it processes, keeps and shows data.
    pub facts: Arc<Facts>,
}

impl Candidate {
    /// A target that is approved, local, and of which no place is known.
    #[must_use]
    pub fn new(target: TargetId, name: impl Into<Arc<str>>) -> Self {
        Self {
            target,
            name: name.into(),
            approved: true,
            grants: NO_GRANTS,
            reach: Reach::Local,
            own_site: false,
            preview: false,
            facts: Arc::new(Facts::unknown()),
        }
    }

    /// The endpoint: what stands before the first `/` of the name.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        self.name.split_once('/').map_or(&self.name, |(endpoint, _)| endpoint)
    }
}

/// A registered app, as policies see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asker {
    /// Its name.
    pub name: Arc<str>,
    /// Its team.
    pub team: Arc<str>,
    /// Purposes that are registered for it; none binds nothing.
    pub purposes: Vec<String>,
}

/// What the data is, from all who said so.
#[derive(Clone, Copy, Debug)]
pub struct Data<'a> {
    /// Labels, sorted, each once.
    pub labels: &'a [Arc<str>],
    /// Whether anybody said what the data is.
    pub labelled: bool,
    /// The highest class that anybody named.
    pub class: Class,
    /// The purpose that the request chose.
    pub purpose: Option<&'a str>,
}

impl Data<'_> {
    /// Data to which no label applies, of the default class, for no purpose.
    pub const PLAIN: Data<'static> = Data { labels: &[], labelled: true, class: Class::Internal, purpose: None };
}

/// What is asked: may this app's request for this model go to any of these targets.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The app that asks.
    pub app: &'a str,
    /// The model that it names.
    pub model: &'a str,
    /// What it asks the model to do.
    pub operation: Operation,
    /// What the data is.
    pub data: Data<'a>,
    /// What inspection found in the request.
    pub findings: &'a Findings,
    /// The model's targets in declared order; the permit keeps that order.
    pub candidates: &'a [Candidate],
    /// Targets that administrators hold back for now, each with what is held back, in words. It only takes away.
    pub withheld: &'a [(TargetId, Arc<str>)],
    /// Targets that a grant which two people opened permits although policies do not, each with the id that records show.
    pub lifted: &'a [(TargetId, Arc<str>)],
    /// When it is asked.
    pub now: SystemTime,
}

impl<'a> Question<'a> {
    /// A chat about plain data in which nothing was found, at the start of time: what a test or a tool begins with.
    #[must_use]
    pub fn about(app: &'a str, model: &'a str, candidates: &'a [Candidate]) -> Self {
        const NOTHING: &Findings = &Findings::none();
        Self {
            app,
            model,
            operation: Operation::Chat,
            data: Data::PLAIN,
            findings: NOTHING,
            candidates,
            withheld: &[],
            lifted: &[],
            now: SystemTime::UNIX_EPOCH,
        }
    }

    /// The open grant that permits `target`, if there is one.
    pub(crate) fn lifted_by(&self, target: TargetId) -> Option<&'a Arc<str>> {
        self.lifted.iter().find(|(lifted, _)| *lifted == target).map(|(_, grant)| grant)
    }

    /// What holds `target` back, if anything does.
    pub(crate) fn withheld_because(&self, target: TargetId) -> Option<&'a Arc<str>> {
        self.withheld.iter().find(|(withheld, _)| *withheld == target).map(|(_, what)| what)
    }
}
