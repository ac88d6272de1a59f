//! Who was touched: which apps' requests may have reached an endpoint, or were asked with a key, in a span of time.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::Path;

use serde::Deserialize;

use super::scan::{Place, entries_of, places};

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
    /// Requests of that time that left no record, because the log took no entries: any of them may belong to it.
    pub unrecorded: u64,
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
    /// By where they may have been processed, as their records say, how many requests: countries with spaces between, `ZZ` for
    /// anywhere. What has no outcome, or a record of an older version, stands in none.
    pub places: BTreeMap<String, u64>,
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
    /// Of requests that were let through: when the first and the last of them arrived, and how many left no record.
    #[serde(borrow, default)]
    from: Cow<'a, str>,
    #[serde(borrow, default)]
    until: Cow<'a, str>,
    #[serde(default)]
    unrecorded: u64,
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
    #[serde(borrow, default)]
    place: Option<Processed<'a>>,
}

/// Where an attempt may have been processed.
#[derive(Deserialize)]
struct Processed<'a> {
    #[serde(borrow)]
    processing: Vec<Cow<'a, str>>,
}

/// A request that may have reached what is asked for, and where it may have been processed there.
type Reached = Option<BTreeSet<String>>;

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

/// Most threads that read at once.
const MOST_THREADS: usize = 8;

/// Answers a question from the log. It reads what is there; [`super::verify`] says whether that is to be believed.
///
/// The log is read in parts, one for each core, because nearly all of the time goes into reading JSON.
///
/// # Errors
/// When a folder or file cannot be read.
pub fn exposure(folder: &Path, question: &Question) -> io::Result<Exposure> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(MOST_THREADS);
    in_parts(folder, question, threads)
}

fn in_parts(folder: &Path, question: &Question, parts: usize) -> io::Result<Exposure> {
    let places = places(folder)?;
    let share = places.len().div_ceil(parts.max(1)).max(1);
    let read: Vec<io::Result<Part>> = std::thread::scope(|scope| {
        let readers: Vec<_> =
            places.chunks(share).map(|places| scope.spawn(move || Part::read(places, question))).collect();
        let joined = |reader: std::thread::ScopedJoinHandle<'_, _>| {
            reader.join().unwrap_or_else(|_| Err(io::Error::other("a part of the log could not be read: a panic")))
        };
        readers.into_iter().map(joined).collect()
    });
    let mut whole = Part::default();
    for part in read {
        whole.append(part?);
    }
    let Part { mut exposure, waiting, .. } = whole;
    for intent in waiting.into_values().flatten().filter(|intent| intent.planned) {
        exposure.count(intent, None);
    }
    Ok(exposure)
}

/// What a part of the log says.
#[derive(Default)]
struct Part {
    exposure: Exposure,
    /// By decision, the intents whose outcome was not read; none for one that is not asked for.
    waiting: HashMap<String, Option<Waiting>>,
    /// Outcomes whose intent lies in an earlier part.
    belated: Vec<(String, Reached)>,
}

impl Part {
    fn read(places: &[Place], question: &Question) -> io::Result<Self> {
        let mut part = Self::default();
        for place in places {
            entries_of(place, |bytes| part.take(bytes, question))?;
        }
        Ok(part)
    }

    fn take(&mut self, bytes: &[u8], question: &Question) {
        self.exposure.entries += 1;
        // Most of a log may lie outside the span that is asked for, and an intent is a kilobyte of JSON.
        if let Some((decision, at)) = beginning_of_intent(bytes)
            && !question.spans(at)
        {
            self.waiting.insert(decision.to_owned(), None);
            return;
        }
        let Ok(entry) = serde_json::from_slice::<Entry<'_>>(bytes) else { return };
        match entry.kind {
            "intent" => {
                let held = question.holds(&entry).then(|| Waiting::of(&entry, question));
                self.waiting.insert(entry.decision.into_owned(), held);
            }
            "outcome" => {
                let reached = question.reached(&entry.attempts);
                match self.waiting.remove(&*entry.decision) {
                    Some(intent) => self.close(intent, reached),
                    None => self.belated.push((entry.decision.into_owned(), reached)),
                }
            }
            "passed" if question.overlaps(&entry.from, &entry.until) => self.exposure.unrecorded += entry.unrecorded,
            _ => {}
        }
    }

    fn close(&mut self, intent: Option<Waiting>, reached: Reached) {
        if let (Some(intent), Some(places)) = (intent, reached) {
            self.exposure.count(intent, Some(places));
        }
    }

    /// Adds the part that follows.
    fn append(&mut self, next: Self) {
        for (decision, reached) in next.belated {
            // An outcome without an intent is one whose intent was retired.
            if let Some(intent) = self.waiting.remove(&decision) {
                self.close(intent, reached);
            }
        }
        self.waiting.extend(next.waiting);
        self.exposure.add(next.exposure);
    }
}

/// Decision and time of an entry that begins as the gateway writes an intent; none where anything about it is different, and
/// then it is read as JSON.
fn beginning_of_intent(bytes: &[u8]) -> Option<(&str, &str)> {
    let rest = bytes.strip_prefix(br#"{"kind":"intent","decision":""#)?;
    let (decision, rest) = plain(rest)?;
    let (at, _) = plain(rest.strip_prefix(br#","at":""#)?)?;
    Some((decision, at))
}

/// What stands before the next quote, where that is text without an escape, and what is behind it.
fn plain(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = memchr::memchr2(b'"', b'\\', bytes)?;
    let (text, rest) = bytes.split_at(end);
    Some((std::str::from_utf8(text).ok()?, rest.strip_prefix(b"\"")?))
}

impl Question {
    fn holds(&self, intent: &Entry<'_>) -> bool {
        self.spans(&intent.at) && self.key.as_deref().is_none_or(|key| intent.key == key)
    }

    fn spans(&self, at: &str) -> bool {
        self.since.as_deref().is_none_or(|since| at >= since) && self.until.as_deref().is_none_or(|until| at < until)
    }

    fn overlaps(&self, from: &str, until: &str) -> bool {
        self.since.as_deref().is_none_or(|since| until >= since) && self.until.as_deref().is_none_or(|end| from < end)
    }

    fn asks_about(&self, endpoint: &str) -> bool {
        self.endpoints.as_ref().is_none_or(|endpoints| endpoints.contains(endpoint))
    }

    /// Whether anything of the request may have reached the endpoint, and where that processes.
    fn reached(&self, attempts: &[Attempt<'_>]) -> Reached {
        let reached = |attempt: &&Attempt<'_>| {
            let touched = attempt.may_have_executed || attempt.status.is_some();
            touched && self.asks_about(&attempt.endpoint)
        };
        let mut reached = attempts.iter().filter(reached).peekable();
        reached.peek()?;
        Some(reached.filter_map(|attempt| Some(attempt.place.as_ref()?.processing.join(" "))).collect())
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
    /// Counts a request; `None` for one that has no outcome.
    fn count(&mut self, intent: Waiting, reached: Reached) {
        let touched = self.apps.entry(intent.app).or_default();
        touched.team = intent.team;
        touched.requests += 1;
        touched.unknown += u64::from(reached.is_none());
        for place in reached.into_iter().flatten() {
            *touched.places.entry(place).or_default() += 1;
        }
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

    /// Adds what a later part of the log says.
    fn add(&mut self, other: Self) {
        self.entries += other.entries;
        self.unrecorded += other.unrecorded;
        for (app, theirs) in other.apps {
            let ours = self.apps.entry(app).or_default();
            ours.requests += theirs.requests;
            ours.unknown += theirs.unknown;
            ours.keys.extend(theirs.keys);
            theirs.labels.into_iter().for_each(|(label, count)| *ours.labels.entry(label).or_default() += count);
            theirs.places.into_iter().for_each(|(place, count)| *ours.places.entry(place).or_default() += count);
            theirs.users.into_iter().for_each(|(user, count)| *ours.users.entry(user).or_default() += count);
            if ours.first.is_empty() || theirs.first < ours.first {
                ours.first = theirs.first;
            }
            if theirs.last >= ours.last {
                (ours.last, ours.team) = (theirs.last, theirs.team);
            }
        }
    }

    /// Requests of all apps.
    pub fn requests(&self) -> u64 {
        self.apps.values().map(|touched| touched.requests).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::super::bundle::entries_path;
    use super::*;

    /// Intents, and outcomes that come 300 entries later, so that most pairs lie in two bundles; every seventh has none.
    fn log(folder: &Path) {
        let epoch = folder.join("gw-1/0000000001");
        let mut entries = Vec::new();
        for number in 0..1_000_u32 {
            let (minute, app) = (number / 60, ["claims", "search"][number as usize % 2]);
            entries.push((
                number,
                format!(
                    r#"{{"kind":"intent","decision":"cwd_{number}","at":"2026-11-26T08:{minute:02}:00.000000Z","app":"{app}","team":"t","key":"k{}","plan":["gpu/m","cloud/m"],"data":{{"labels":["health"]}}}}"#,
                    number % 3
                ),
            ));
            if number % 7 != 0 {
                let endpoint = ["gpu", "cloud"][number as usize % 5 / 4];
                let place = match endpoint {
                    // As an older version wrote it.
                    "gpu" if number < 100 => "",
                    "gpu" => r#""place":{"processing":["DE"],"access":["DE"]},"#,
                    _ => r#""place":{"processing":["DE","SE"],"access":["ZZ"]},"#,
                };
                let outcome = format!(
                    r#"{{"kind":"outcome","decision":"cwd_{number}","attempts":[{{"endpoint":"{endpoint}",{place}"status":200}}]}}"#
                );
                entries.push((number + 300, outcome));
            }
        }
        for (minutes, unrecorded) in [("08:01", 3), ("08:10", 4)] {
            let (from, until) = (format!("2026-11-26T{minutes}:00"), format!("2026-11-26T{minutes}:30"));
            let passed = format!(r#"{{"kind":"passed","from":"{from}","until":"{until}","unrecorded":{unrecorded}}}"#);
            entries.push((1_400, passed));
        }
        entries.sort_by_key(|(place, _)| *place);
        for (number, entries) in entries.chunks(256).enumerate() {
            let path = entries_path(&epoch, number as u64);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let framed = entries.iter().flat_map(|(_, entry)| {
                let length = u16::try_from(entry.len() + 1).unwrap().to_be_bytes();
                length.into_iter().chain(entry.bytes()).chain([b'\n'])
            });
            fs::write(path, framed.collect::<Vec<u8>>()).unwrap();
        }
    }

    fn question(since: Option<&str>, endpoint: Option<&str>) -> Question {
        let endpoints = endpoint.map(|name| BTreeSet::from([name.to_owned()]));
        Question { since: since.map(str::to_owned), until: None, endpoints, key: None }
    }

    #[test]
    fn a_log_says_the_same_in_one_part_and_in_many() {
        let folder = tempfile::tempdir().unwrap();
        log(folder.path());

        for question in [
            question(None, None),
            question(Some("2026-11-26T08:09"), None),
            question(Some("2026-11-26T08:02"), Some("cloud")),
        ] {
            let one = format!("{:?}", in_parts(folder.path(), &question, 1).unwrap());
            for parts in 2..=9 {
                assert_eq!(format!("{:?}", in_parts(folder.path(), &question, parts).unwrap()), one, "{parts} parts");
            }
        }
    }

    #[test]
    fn each_request_counts_once_and_one_without_an_outcome_as_unknown() {
        let folder = tempfile::tempdir().unwrap();
        log(folder.path());

        let all = in_parts(folder.path(), &question(None, None), 3).unwrap();
        let cloud = in_parts(folder.path(), &question(None, Some("cloud")), 3).unwrap();

        assert_eq!((all.requests(), all.entries, all.unrecorded), (1_000, 1_859, 7));
        let since = |time| in_parts(folder.path(), &question(Some(time), None), 3).unwrap().unrecorded;
        assert_eq!((since("2026-11-26T08:01:30"), since("2026-11-26T08:01:31")), (7, 4));
        assert_eq!(all.apps.values().map(|touched| touched.unknown).sum::<u64>(), 143);
        let sent = (0..1_000).filter(|number| number % 7 != 0 && number % 5 == 4).count() as u64;
        assert_eq!(cloud.requests(), sent + 143);
        let places = |exposure: &Exposure, place: &str| -> u64 {
            exposure.apps.values().filter_map(|touched| touched.places.get(place)).sum()
        };
        let with_place = (100..1_000).filter(|number| number % 7 != 0 && number % 5 != 4).count() as u64;
        assert_eq!((places(&cloud, "DE SE"), places(&cloud, "DE")), (sent, 0));
        assert_eq!((places(&all, "DE SE"), places(&all, "DE")), (sent, with_place));
        assert_eq!(all.apps["claims"].keys.len(), 3);
    }

    #[test]
    fn an_entry_that_begins_otherwise_is_read_as_json() {
        let begins = |text: &'static str| beginning_of_intent(text.as_bytes());

        assert_eq!(begins(r#"{"kind":"intent","decision":"cwd_1","at":"2026","app":"a"}"#), Some(("cwd_1", "2026")));
        for other in [
            r#"{"kind":"outcome","decision":"cwd_1","at":"2026"}"#,
            r#"{"kind": "intent","decision":"cwd_1","at":"2026"}"#,
            r#"{"kind":"intent","decision":"cwd\u005f1","at":"2026"}"#,
            r#"{"kind":"intent","decision":"cwd_1","team":"t","at":"2026"}"#,
            r#"{"kind":"intent","decision":"cwd_1","at":"2026"#,
        ] {
            assert_eq!(begins(other), None, "{other}");
        }
    }
}
