//! What the data of a request is, from everybody who says so, the most trusted first: the app's registration, the claims of
//! its verified token, the model that it asks for, the headers `x-causeway-labels` and `x-causeway-class`, and the member `metadata`
//! of the body. Each can only add labels and raise the class, and the record says who was the first to say it; a label that
//! nobody defined and a class that there is none of are errors, because what is not understood would be a restriction that is
//! not kept. The purpose is one: whoever names it names the same.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use policy::{Class, Data};
use serde_json::Value;
use telemetry::audit::DataNote;
use wire::Call;

use super::arrive::Caller;
use super::refusal::Refusal;
use crate::snapshot::{App, ClaimRule, RouteData};

const LABELS: HeaderName = HeaderName::from_static("x-causeway-labels");
const CLASS: HeaderName = HeaderName::from_static("x-causeway-class");
const PURPOSE: HeaderName = HeaderName::from_static("x-causeway-purpose");
/// What the names of all three begin with, in a header as in `metadata`.
const OURS: &str = "x-causeway-";

/// Most labels that one request may name, repeated ones included.
const MOST_LABELS: usize = 64;

/// What the data of one request is.
#[derive(Clone)]
pub(super) struct DataFacts {
    /// Sorted, each once.
    labels: Arc<[Arc<str>]>,
    /// Who says so, for each; nothing where all are of the registration.
    from: Arc<[&'static str]>,
    class: Class,
    /// Whether the registration or a claim says so; it is the default otherwise.
    is_class_stated: bool,
    class_from: Option<&'static str>,
    purpose: Option<(Arc<str>, &'static str)>,
}

/// What labels there are, and what the model that is asked for says of whatever is sent to it.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) labels: &'a BTreeSet<Arc<str>>,
    pub(super) route: &'a RouteData,
}

/// Who says what the data is, as records name it.
const REGISTRATION: &str = "registration";
const CLAIMS: &str = "claims";
const ROUTE: &str = "route";
const HEADER: &str = "header";
const METADATA: &str = "metadata";

impl DataFacts {
    /// As policies are asked about it.
    pub(super) fn asked(&self) -> Data<'_> {
        // INVARIANT: every app has a `[data.X]`, so somebody has said what the data is; `labels = []` says so too.
        Data { labels: &self.labels, labelled: true, class: self.class, purpose: self.purpose() }
    }

    /// What a route says that nobody has said yet: labels, and a higher class.
    pub(super) fn unsaid(&self, route: &RouteData) -> RouteData {
        let unnamed = route.labels.iter().filter(|label| !self.labels.contains(label)).map(Arc::clone);
        RouteData { labels: unnamed.collect(), class: route.class.filter(|class| *class > self.class) }
    }

    /// The same request on the route of a model that stands in, which says this beyond what is said of it.
    pub(super) fn on_route(&self, unsaid: &RouteData) -> Cow<'_, Self> {
        if unsaid.is_empty() {
            return Cow::Borrowed(self);
        }
        let mut all: BTreeMap<Arc<str>, &'static str> = BTreeMap::new();
        for (place, label) in self.labels.iter().enumerate() {
            all.insert(Arc::clone(label), self.from.get(place).copied().unwrap_or(REGISTRATION));
        }
        for label in &*unsaid.labels {
            all.entry(Arc::clone(label)).or_insert(ROUTE);
        }
        let (labels, from): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        let mut raised = Raised { class: self.class, from: self.class_from };
        raised.say(unsaid.class, ROUTE);
        let Raised { class, from: class_from } = raised;
        Cow::Owned(Self { labels: labels.into(), from: from.into(), class, class_from, ..self.clone() })
    }

    fn purpose(&self) -> Option<&str> {
        self.purpose.as_ref().map(|(purpose, _)| &**purpose)
    }

    /// How confidential it is where that decides what may be done without a record: what nobody states counts as the highest.
    pub(super) fn class_or_highest(&self) -> Class {
        if self.is_class_stated { self.class } else { Class::Secret }
    }

    /// As the record keeps it.
    pub(super) fn note(&self) -> DataNote<'_> {
        DataNote {
            labels: &self.labels,
            from: &self.from,
            class: self.class.name(),
            class_from: self.class_from,
            purpose: self.purpose(),
            purpose_from: self.purpose.as_ref().map(|(_, from)| *from),
        }
    }
}

/// Who says what, before anything was sent.
pub(super) fn read(caller: &Caller, known: Known<'_>, headers: &HeaderMap, call: &Call) -> Result<DataFacts, Refusal> {
    let app = &caller.app;
    let mut added = Added { known: known.labels, labels: Vec::new(), named: 0 };
    let claims = || said_by_claims(caller);
    let mut raised = Raised { class: app.class, from: None };
    for claim in claims() {
        added.say(&claim.labels, CLAIMS);
        raised.say(claim.class, CLAIMS);
    }
    added.say(&known.route.labels, ROUTE);
    raised.say(known.route.class, ROUTE);
    for value in headers.get_all(&CLASS) {
        let text = value.to_str().map_err(|_| wrong("`x-causeway-class` holds more than ASCII", CLASS.as_str()))?;
        raised.named(text, CLASS.as_str(), HEADER)?;
    }
    for value in headers.get_all(&LABELS) {
        let text = value.to_str().map_err(|_| wrong("`x-causeway-labels` holds more than ASCII", LABELS.as_str()))?;
        added.list(text, LABELS.as_str(), HEADER)?;
    }
    let mut purposes = Vec::new();
    if let Some(metadata) = call.metadata() {
        read_metadata(metadata, &mut added, &mut raised, &mut purposes)?;
    }
    let in_headers = headers.get_all(&PURPOSE).iter().map(|value| (value.to_str().ok(), HEADER));
    let in_metadata = purposes.iter().map(|value| (value.as_str(), METADATA));
    let (labels, from) = added.with(&app.labels);
    Ok(DataFacts {
        labels,
        from,
        // Not by header, metadata or the model that it asks for: what the caller chooses may raise the class, and must not
        // let the request through.
        is_class_stated: app.is_class_stated || said_by_claims(caller).any(|claim| claim.class.is_some()),
        class: raised.class,
        class_from: raised.from,
        purpose: purpose(app, claims().filter_map(|claim| claim.purpose.as_ref()), in_headers.chain(in_metadata))?,
    })
}

/// What the claims of the caller's token say.
fn said_by_claims(caller: &Caller) -> impl Iterator<Item = &ClaimRule> {
    let marked = |(place, _): &(usize, &ClaimRule)| caller.marks.has(*place);
    caller.app.data.claims.iter().enumerate().filter(marked).map(|(_, claim)| claim)
}

/// The labels that are added to those of the registration, and who added them.
struct Added<'a> {
    known: &'a BTreeSet<Arc<str>>,
    labels: Vec<(Arc<str>, &'static str)>,
    /// How many the request itself named.
    named: usize,
}

impl Added<'_> {
    fn say(&mut self, labels: &[Arc<str>], from: &'static str) {
        self.labels.extend(labels.iter().map(|label| (Arc::clone(label), from)));
    }

    /// Labels with commas between; an empty place between two commas names none.
    fn list(&mut self, text: &str, param: &str, from: &'static str) -> Result<(), Refusal> {
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let Some(label) = self.known.get(name) else {
                let shown: String = name.chars().take(64).flat_map(char::escape_debug).collect();
                let all: Vec<&str> = self.known.iter().map(|label| &**label).collect();
                return Err(wrong(&format!("`{shown}` is no label; the labels are {}", all.join(", ")), param));
            };
            self.labels.push((Arc::clone(label), from));
            self.named += 1;
            if self.named > MOST_LABELS {
                return Err(wrong(&format!("more than {MOST_LABELS} labels are named"), param));
            }
        }
        Ok(())
    }

    /// All labels, sorted, and who was the first to name each.
    fn with(self, own: &Arc<[Arc<str>]>) -> (Arc<[Arc<str>]>, Arc<[&'static str]>) {
        if self.labels.iter().all(|(label, _)| own.contains(label)) {
            return (Arc::clone(own), Arc::default());
        }
        let mut all: BTreeMap<Arc<str>, &'static str> =
            own.iter().map(|label| (Arc::clone(label), REGISTRATION)).collect();
        for (label, from) in self.labels {
            all.entry(label).or_insert(from);
        }
        let (labels, from): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        (labels.into(), from.into())
    }
}

/// The class of the registration, and who was the first to raise it to what it is.
struct Raised {
    class: Class,
    from: Option<&'static str>,
}

impl Raised {
    /// The higher one counts, whoever says it: nobody lowers it.
    fn say(&mut self, class: Option<Class>, from: &'static str) {
        if let Some(class) = class.filter(|class| *class > self.class) {
            *self = Self { class, from: Some(from) };
        }
    }

    /// A class by its name. Proxies join headers of one name with commas, so there may be several, and each must be one.
    fn named(&mut self, text: &str, param: &str, from: &'static str) -> Result<(), Refusal> {
        for name in text.split(',').map(str::trim) {
            let Some(class) = Class::named(name) else {
                let shown: String = name.chars().take(64).flat_map(char::escape_debug).collect();
                let all = Class::ALL.map(Class::name).join(", ");
                return Err(wrong(&format!("`{shown}` is no class; the classes are {all}"), param));
            };
            self.say(Some(class), from);
        }
        Ok(())
    }
}

/// `metadata` of OpenAI's and Anthropic's APIs, where it names labels, a class or a purpose. Other members are the caller's own.
fn read_metadata(
    raw: &[u8],
    added: &mut Added<'_>,
    raised: &mut Raised,
    purposes: &mut Vec<Value>,
) -> Result<(), Refusal> {
    // Most metadata names none, and is not worth a tree.
    let begins = |window: &[u8]| window.eq_ignore_ascii_case(OURS.as_bytes());
    if !raw.windows(OURS.len()).any(begins) && !raw.contains(&b'\\') {
        return Ok(());
    }
    let Ok(Value::Object(members)) = serde_json::from_slice(raw) else {
        return Err(wrong("`metadata` is no object", "metadata"));
    };
    for (name, value) in members {
        let (is_labels, is_class) = (is_named(&name, &LABELS), is_named(&name, &CLASS));
        match value {
            Value::String(text) if is_labels => added.list(&text, "metadata.x-causeway-labels", METADATA)?,
            Value::String(text) if is_class => raised.named(&text, "metadata.x-causeway-class", METADATA)?,
            _ if is_labels => {
                let param = "metadata.x-causeway-labels";
                return Err(wrong(&format!("`{param}` is no text of labels with commas between"), param));
            }
            _ if is_class => {
                let param = "metadata.x-causeway-class";
                return Err(wrong(&format!("`{param}` is no text that names a class"), param));
            }
            value if is_named(&name, &PURPOSE) => purposes.push(value),
            _ => {}
        }
    }
    Ok(())
}

/// Names of members count in any case, as those of headers do.
fn is_named(member: &str, header: &HeaderName) -> bool {
    member.eq_ignore_ascii_case(header.as_str())
}

/// What the `metadata` of a call says of its data, whether or not it exists, for tools that look at a request in a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct SaidInMetadata {
    /// Names of labels.
    pub(crate) labels: Vec<String>,
    /// Names of classes.
    pub(crate) classes: Vec<String>,
    /// Names of purposes.
    pub(crate) purposes: Vec<String>,
}

impl SaidInMetadata {
    pub(crate) fn of(call: &Call) -> Self {
        let Some(Ok(Value::Object(members))) = call.metadata().map(serde_json::from_slice) else {
            return Self::default();
        };
        let texts = |header: HeaderName| {
            members.iter().filter(move |(name, _)| is_named(name, &header)).filter_map(|(_, value)| value.as_str())
        };
        let listed = |header| texts(header).flat_map(|text| text.split(',')).map(|name| name.trim().to_owned());
        let labels = listed(LABELS).filter(|name| !name.is_empty()).collect();
        let purposes = texts(PURPOSE).map(|name| name.trim().to_owned()).collect();
        Self { labels, classes: listed(CLASS).collect(), purposes }
    }
}

/// The purpose that the token or the request names. It binds only apps that have registered some; for these it is required.
/// What the token says counts, and the request may say the same or nothing. `named` holds what the request says, as far as it is
/// text, and where it says so.
fn purpose<'a>(
    app: &App,
    mut claimed: impl Iterator<Item = &'a Arc<str>>,
    named: impl Iterator<Item = (Option<&'a str>, &'static str)>,
) -> Result<Option<(Arc<str>, &'static str)>, Refusal> {
    if app.purposes.is_empty() {
        return Ok(None);
    }
    let is = |text: Option<&str>, purpose: &str| text.is_some_and(|text| text.trim() == purpose);
    if let Some(purpose) = claimed.next() {
        if claimed.any(|other| other != purpose) {
            return Err(wrong("the token stands for two purposes; it must stand for one", PURPOSE.as_str()));
        }
        for (text, from) in named {
            if !is(text, purpose) {
                let param = purpose_in(from);
                return Err(wrong(
                    &format!("the token says that the purpose is `{purpose}`; leave `{param}` out"),
                    param,
                ));
            }
        }
        return Ok(Some((Arc::clone(purpose), CLAIMS)));
    }
    let unnamed = |param| wrong(&format!("`{param}` must name one of: {}", app.purposes.join(", ")), param);
    let mut first: Option<(&Arc<str>, &'static str)> = None;
    for (text, from) in named {
        let param = purpose_in(from);
        let purpose = app.purposes.iter().find(|purpose| is(text, purpose)).ok_or_else(|| unnamed(param))?;
        match first {
            Some((other, _)) if other != purpose => {
                let message = format!("the request names two purposes, `{other}` and `{purpose}`; name one");
                return Err(wrong(&message, param));
            }
            Some(_) => {}
            None => first = Some((purpose, from)),
        }
    }
    let (purpose, from) = first.ok_or_else(|| unnamed(purpose_in(HEADER)))?;
    Ok(Some((Arc::clone(purpose), from)))
}

/// Where the request names its purpose, as errors say it.
fn purpose_in(from: &str) -> &'static str {
    if from == METADATA { "metadata.x-causeway-purpose" } else { "x-causeway-purpose" }
}

fn wrong(message: &str, param: &str) -> Refusal {
    Refusal::InvalidRequest { message: message.to_owned(), param: Some(param.to_owned()) }
}
