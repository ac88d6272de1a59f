//! Who was touched: which apps' requests may have reached an endpoint, or were asked with a key, in a span of time.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::Path;

use serde::Deserialize;

use super::scan::scan;

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// From this time on, in the log's own form; from the beginning where absent.
    pub since: Option<String>,
    /// Before this time.
    pub until: Option<String>,
    /// Requests that may have reached one of these endpoints; all where absent.
    pub endpoints: Option<BTreeSet<String>>,
    /// Requests that were asked with this key, by its name; all where absent.
    pub key: Option<String>,
}

/// What was touched, by app.
#[derive(Clone, Debug, Default)]
pub struct Exposure {
    /// By app.
    pub apps: BTreeMap<String, Touched>,
    /// Entries that were read.
    pub entries: u64,
}

/// One app's part.
#[derive(Clone, Debug, Default)]
pub struct Touched {
    /// Its team.
    pub team: String,
    /// Requests that reached it, or may have.
    pub requests: u64,
    /// Those among them that have no outcome: the process died, and they may have been sent.
    pub unknown: u64,
    /// The keys that were used, by name.
    pub keys: BTreeSet<String>,
    /// By label of the data, how many requests bore it.
    pub labels: BTreeMap<String, u64>,
    /// By pseudonym of the user, how many requests; empty where none was recorded.
    pub users: BTreeMap<String, u64>,
    /// The first such request.
    pub first: String,
    /// The last such request.
    pub last: String,
}

/// The fields of an intent or an outcome that matter here; other kinds have none of them.
#[derive(Deserialize)]
struct Entry<'a> {
    kind: &'a str,
    #[serde(borrow, default)]
    decision: Cow<'a, str>,
    #[serde(borrow, default)]
    at: Cow<'a, str>,
    #[serde(borrow, default)]
    app: Cow<'a, str>,
    #[serde(borrow, default)]
    team: Cow<'a, str>,
    #[serde(borrow, default)]
    key: Cow<'a, str>,
    #[serde(borrow, default)]
    user: Cow<'a, str>,
    #[serde(borrow, default)]
    data: Data<'a>,
    #[serde(borrow, default)]
    plan: Vec<Cow<'a, str>>,
    #[serde(borrow, default)]
    attempts: Vec<Attempt<'a>>,
}

#[derive(Default, Deserialize)]
struct Data<'a> {
    #[serde(borrow, default)]
    labels: Vec<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Attempt<'a> {
    #[serde(borrow)]
    endpoint: Cow<'a, str>,
    #[serde(default)]
    status: Option<u16>,
    #[serde(default)]
    may_have_executed: bool,
}

/// An intent whose outcome has not been read.
struct Waiting {
    app: String,
    team: String,
    key: String,
    user: String,
    labels: Vec<String>,
    at: String,
    /// Whether the endpoint that is asked for is in its plan.
    planned: bool,
}

/// Answers a question from the log. It reads what is there; [`super::verify`] says whether that is to be believed.
///
/// # Errors
/// When a folder or file cannot be read.
pub fn exposure(folder: &Path, question: &Question) -> io::Result<Exposure> {
    let mut exposure = Exposure::default();
    let mut waiting: HashMap<String, Waiting> = HashMap::new();
    scan(
        folder,
        |_| true,
        |_, bytes| {
            exposure.entries += 1;
            let Ok(entry) = serde_json::from_slice::<Entry<'_>>(bytes) else { return Ok(()) };
            match entry.kind {
                "intent" if question.holds(&entry) => {
                    waiting.insert(entry.decision.to_string(), Waiting::of(&entry, question));
                }
                "outcome" => {
                    if let Some(intent) = waiting.remove(&*entry.decision)
                        && question.reached(&entry.attempts)
                    {
                        exposure.count(intent, false);
                    }
                }
                _ => {}
            }
            Ok(())
        },
    )?;
    for intent in waiting.into_values().filter(|intent| intent.planned) {
        exposure.count(intent, true);
    }
    Ok(exposure)
}

impl Question {
    fn holds(&self, intent: &Entry<'_>) -> bool {
        self.since.as_deref().is_none_or(|since| *intent.at >= *since)
            && self.until.as_deref().is_none_or(|until| *intent.at < *until)
            && self.key.as_deref().is_none_or(|key| intent.key == key)
    }

    fn asks_about(&self, endpoint: &str) -> bool {
        self.endpoints.as_ref().is_none_or(|endpoints| endpoints.contains(endpoint))
    }

    /// Whether anything of the request may have reached the endpoint.
    fn reached(&self, attempts: &[Attempt<'_>]) -> bool {
        attempts.iter().any(|attempt| {
            let touched = attempt.may_have_executed || attempt.status.is_some();
            touched && self.asks_about(&attempt.endpoint)
        })
    }
}

impl Waiting {
    fn of(intent: &Entry<'_>, question: &Question) -> Self {
        let endpoint_of = |target: &str| target.split_once('/').map_or_else(String::new, |(of, _)| of.to_owned());
        Self {
            app: intent.app.to_string(),
            team: intent.team.to_string(),
            key: intent.key.to_string(),
            user: intent.user.to_string(),
            labels: intent.data.labels.iter().map(ToString::to_string).collect(),
            at: intent.at.to_string(),
            planned: intent.plan.iter().any(|target| question.asks_about(&endpoint_of(target))),
        }
    }
}

impl Exposure {
    fn count(&mut self, intent: Waiting, unknown: bool) {
        let touched = self.apps.entry(intent.app).or_default();
        touched.team = intent.team;
        touched.requests += 1;
        touched.unknown += u64::from(unknown);
        if !intent.key.is_empty() {
            touched.keys.insert(intent.key);
        }
        if !intent.user.is_empty() {
            *touched.users.entry(intent.user).or_default() += 1;
        }
        for label in intent.labels {
            *touched.labels.entry(label).or_default() += 1;
        }
        if touched.first.is_empty() || intent.at < touched.first {
            touched.first.clone_from(&intent.at);
        }
        touched.last = touched.last.as_str().max(&intent.at).to_owned();
    }

    /// Requests of all apps.
    pub fn requests(&self) -> u64 {
        self.apps.values().map(|touched| touched.requests).sum()
    }
}
