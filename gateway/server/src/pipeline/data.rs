//! What the data of a request is, from everybody who says so: the app's registration, the header `x-causeway-labels`, and
//! the member `metadata` of the body. A request can only add; a label that nobody defined is an error, because a label that
//! is not understood would be a restriction that is not kept.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use policy::{Class, Data};
use serde_json::Value;
use telemetry::audit::DataNote;
use wire::Call;

use super::refusal::Refusal;
use crate::snapshot::App;

const LABELS: HeaderName = HeaderName::from_static("x-causeway-labels");
const PURPOSE: HeaderName = HeaderName::from_static("x-causeway-purpose");

/// Most labels that one request may name, repeated ones included.
const MOST_LABELS: usize = 64;

/// What the data of one request is.
#[derive(Clone)]
pub(super) struct DataFacts {
    /// Sorted, each once.
    labels: Arc<[Arc<str>]>,
    class: Class,
    purpose: Option<Arc<str>>,
}

impl DataFacts {
    /// As policies are asked about it.
    pub(super) fn asked(&self) -> Data<'_> {
        // INVARIANT: every app has a `[data.X]`, so somebody has said what the data is; `labels = []` says so too.
        Data { labels: &self.labels, labelled: true, class: self.class, purpose: self.purpose.as_deref() }
    }

    /// As the record keeps it.
    pub(super) fn note(&self) -> DataNote<'_> {
        DataNote { labels: &self.labels, class: self.class.name(), purpose: self.purpose.as_deref() }
    }
}

/// Who says what, before anything was sent.
pub(super) fn read(
    app: &App,
    known: &BTreeSet<Arc<str>>,
    headers: &HeaderMap,
    call: &Call,
) -> Result<DataFacts, Refusal> {
    let mut added = Added { known, labels: Vec::new() };
    for value in headers.get_all(&LABELS) {
        let text = value.to_str().map_err(|_| wrong("`x-causeway-labels` holds more than ASCII", LABELS.as_str()))?;
        added.list(text, LABELS.as_str())?;
    }
    if let Some(metadata) = call.metadata() {
        added.metadata(metadata)?;
    }
    Ok(DataFacts { labels: added.with(&app.labels), class: app.class, purpose: purpose(app, headers)? })
}

/// The labels that a request adds.
struct Added<'a> {
    known: &'a BTreeSet<Arc<str>>,
    labels: Vec<Arc<str>>,
}

impl Added<'_> {
    /// Labels with commas between; an empty place between two commas names none.
    fn list(&mut self, text: &str, param: &str) -> Result<(), Refusal> {
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let Some(label) = self.known.get(name) else {
                let shown: String = name.chars().take(64).flat_map(char::escape_debug).collect();
                let all: Vec<&str> = self.known.iter().map(|label| &**label).collect();
                return Err(wrong(&format!("`{shown}` is no label; the labels are {}", all.join(", ")), param));
            };
            self.labels.push(Arc::clone(label));
            if self.labels.len() > MOST_LABELS {
                return Err(wrong(&format!("more than {MOST_LABELS} labels are named"), param));
            }
        }
        Ok(())
    }

    /// `metadata` of OpenAI's and Anthropic's APIs, where it names labels. Other members are the caller's own.
    fn metadata(&mut self, raw: &[u8]) -> Result<(), Refusal> {
        // Most metadata names none, and is not worth a tree.
        if !raw.windows(LABELS.as_str().len()).any(|window| window.eq_ignore_ascii_case(LABELS.as_str().as_bytes()))
            && !raw.contains(&b'\\')
        {
            return Ok(());
        }
        let Ok(Value::Object(members)) = serde_json::from_slice(raw) else {
            return Err(wrong("`metadata` is no object", "metadata"));
        };
        for (name, value) in members {
            if !name.eq_ignore_ascii_case(LABELS.as_str()) {
                continue;
            }
            let param = "metadata.x-causeway-labels";
            let Value::String(text) = value else {
                return Err(wrong("`metadata.x-causeway-labels` is no text of labels with commas between", param));
            };
            self.list(&text, param)?;
        }
        Ok(())
    }

    fn with(self, own: &Arc<[Arc<str>]>) -> Arc<[Arc<str>]> {
        if self.labels.iter().all(|label| own.contains(label)) {
            return Arc::clone(own);
        }
        let all: BTreeSet<Arc<str>> = own.iter().cloned().chain(self.labels).collect();
        all.into_iter().collect()
    }
}

/// The labels that the `metadata` of a call names, whether or not they exist, for tools that look at a request in a file.
pub(crate) fn labels_in_metadata(call: &Call) -> Vec<String> {
    let Some(Ok(Value::Object(members))) = call.metadata().map(serde_json::from_slice) else { return Vec::new() };
    members
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(LABELS.as_str()))
        .filter_map(|(_, value)| value.as_str())
        .flat_map(|text| text.split(','))
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

/// The purpose that the request names. It binds only apps that have registered some; for these it is required.
fn purpose(app: &App, headers: &HeaderMap) -> Result<Option<Arc<str>>, Refusal> {
    let mut named = headers.get_all(&PURPOSE).iter();
    let first = named.next();
    if app.purposes.is_empty() {
        return Ok(None);
    }
    let known = || app.purposes.join(", ");
    let found = first.filter(|_| named.next().is_none()).and_then(|value| value.to_str().ok());
    let registered = found.and_then(|found| app.purposes.iter().find(|purpose| &***purpose == found.trim()));
    match registered {
        Some(purpose) => Ok(Some(Arc::clone(purpose))),
        None => Err(wrong(&format!("`x-causeway-purpose` must name one of: {}", known()), PURPOSE.as_str())),
    }
}

fn wrong(message: &str, param: &str) -> Refusal {
    Refusal::InvalidRequest { message: message.to_owned(), param: Some(param.to_owned()) }
}
