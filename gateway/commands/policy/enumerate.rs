//! Without a solver: a finite world, gone through whole. It answers a weaker question, and says so.
//!
//! Labels, kinds of finding and apps that no policy names are alike to it, so one of each stands for all of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::SystemTime;

use policy::{
    Adjustments, Asker, Candidate, Class, Countries, Data, Facts, Finding, FindingKind, Findings, Judge, Mention,
    Operation, Place, Question, Reach, Rules, Ruling, Site, TargetId, TextKind, Touch, Verdict, WorldError, Zones,
    decide,
};
use server::configuration::{self, Compiled, DataPack};
use server::outlook;

use super::table::kind;

/// Everything that is asked: each combination is one request.
pub(super) struct World {
    candidates: Vec<Candidate>,
    askers: Vec<Asker>,
    labels: Vec<Vec<Arc<str>>>,
    findings: Vec<Vec<FindingKind>>,
    times: Vec<SystemTime>,
    operations: Vec<Operation>,
    zones: Zones,
    /// What it is made of, for the report.
    pub(super) words: String,
}

/// A request that one set permits and another does not.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) request: String,
    pub(super) target: String,
    /// What the first set says.
    pub(super) permitted: String,
    /// What the other says.
    pub(super) otherwise: String,
}

/// What came of going through a world with two sets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Differences {
    /// The first request that the one permits and the other does not, or only with more redacted.
    pub(super) more: Option<Box<Found>>,
    /// The first request that the other permits and the one does not.
    pub(super) less: Option<Box<Found>>,
    /// How many decisions of each were looked at.
    pub(super) decisions: usize,
}

impl World {
    /// Places of each kind in the data pack, and places of which nothing is known, for any app.
    pub(super) fn of_pack(sets: &[&Rules], now: SystemTime) -> Self {
        let named = Named::of(sets);
        let nobody = Asker { name: "anybody".into(), team: "any-team".into(), purposes: Vec::new() };
        let purposes: Vec<String> = named.purposes.iter().cloned().collect();
        let app = |name: &String| Asker { name: name.as_str().into(), purposes: purposes.clone(), ..nobody.clone() };
        let member = |team: &String| Asker {
            name: format!("member-of-{team}").into(),
            team: team.as_str().into(),
            purposes: purposes.clone(),
        };
        let registered = purposes.iter().cloned().chain(["registered".to_owned()]).collect();
        let bound = Asker { name: "bound-to-a-purpose".into(), purposes: registered, ..nobody.clone() };
        let askers = named.apps.iter().map(app).chain(named.teams.iter().map(member)).collect::<Vec<_>>();
        Self {
            candidates: candidates(),
            askers: [nobody.clone(), bound].into_iter().chain(askers).collect(),
            labels: subsets(&named.labels_and_another()),
            findings: named.findings(&[]),
            times: named.times(now),
            operations: operations(sets),
            zones: DataPack::shipped().zones(&BTreeMap::new()),
            words: named.words("places of each kind in the data pack, and the purposes that either set names"),
        }
    }

    /// The apps, targets and purposes of a configuration.
    pub(super) fn of(compiled: &Compiled, sets: &[&Rules], now: SystemTime) -> Self {
        let named = Named::of(sets);
        let mut askers: Vec<Asker> = Vec::new();
        for asker in compiled.apps.iter().map(outlook::asker) {
            let known = |other: &Asker| named.is_alike(other, &asker);
            if !askers.iter().any(known) {
                askers.push(asker);
            }
        }
        Self {
            candidates: (0..compiled.targets.len()).map(|index| outlook::candidate(compiled, index)).collect(),
            askers,
            labels: subsets(&named.labels_and_another()),
            findings: named.findings(&compiled.recognisers.kinds().collect::<Vec<_>>()),
            times: named.times(now),
            operations: operations(sets),
            zones: compiled.policy.zones.clone(),
            words: named.words("the apps, targets and purposes of the configuration"),
        }
    }

    fn judge(&self, rules: &Rules) -> Result<Judge, WorldError> {
        Judge::new(Arc::new(rules.clone()), &self.zones, &self.askers, &self.candidates)
    }
}

/// Goes through the world until `one` and `other` were seen to differ both ways, or to its end.
///
/// They can differ only where a policy matches that not both of them have, and only where not both deny by such a policy, so
/// whole decisions are made only there.
pub(super) fn differences(world: &World, one: &Rules, other: &Rules) -> Result<Differences, WorldError> {
    Ok(Comparing::of(world, one, other)?.all(world))
}

/// For each goal the first request that breaks it, if one does.
type Firsts = Vec<Option<Box<Found>>>;

/// For each goal the first request that `rules` permit and the goal does not, and how many decisions were looked at.
///
/// What `rules` oblige to redact is not in the request any more when the goal is asked.
pub(super) fn outside(world: &World, rules: &Rules, goals: &[&Rules]) -> Result<(Firsts, usize), WorldError> {
    let judge = world.judge(rules)?;
    let goals = goals.iter().map(|goal| world.judge(goal)).collect::<Result<Vec<_>, _>>()?;
    let mut seen: Vec<Option<Box<Found>>> = goals.iter().map(|_| None).collect();
    let mut decisions = 0;
    let _ = world.ask(|question, kinds| {
        decisions += world.candidates.len();
        if let Ok(permit) = decide(&judge, question) {
            let open = goals.iter().zip(&mut seen).filter(|(_, seen)| seen.is_none());
            open.for_each(|(goal, seen)| *seen = broken(goal, question, kinds, permit.verdicts()));
        }
        enough(seen.iter().all(Option::is_some))
    });
    Ok((seen, decisions))
}

/// The first of the permitted targets that the goal excludes.
fn broken(goal: &Judge, question: &Question<'_>, kinds: &[FindingKind], verdicts: &[Verdict]) -> Option<Box<Found>> {
    for (verdict, candidate) in verdicts.iter().zip(question.candidates) {
        let Ruling::In { obligations, .. } = &verdict.ruling else { continue };
        let is_gone = |kind: &FindingKind| match kind {
            FindingKind::Text(text) => obligations.redact().any(|name| text.goes_by(name)),
            _ => false,
        };
        let left = found_of(kinds, is_gone);
        let one = Question { findings: &left, candidates: std::slice::from_ref(candidate), ..*question };
        if let Err(denial) = decide(goal, &one)
            && let Some(otherwise) = denial.verdicts().first()
        {
            return Some(Box::new(Found::of(&one, candidate, [verdict, otherwise])));
        }
    }
    None
}

fn found_of(kinds: &[FindingKind], is_gone: impl Fn(&FindingKind) -> bool) -> Findings {
    let at = |kind: &FindingKind| Finding { kind: kind.clone(), path: "$".to_owned() };
    kinds.iter().filter(|kind| !is_gone(kind)).map(at).collect()
}

fn enough(is_enough: bool) -> ControlFlow<()> {
    if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

type Request<'a> = (Operation, &'a [Arc<str>], Class, &'a [FindingKind], SystemTime);

impl World {
    /// Puts every question of this world, with the kinds of findings in it, until that is enough.
    fn ask(&self, mut look: impl FnMut(&Question<'_>, &[FindingKind]) -> ControlFlow<()>) -> ControlFlow<()> {
        for asker in &self.askers {
            let purposes = std::iter::once(None).chain(asker.purposes.iter().map(|purpose| Some(purpose.as_str())));
            for purpose in purposes {
                for (operation, labels, class, kinds, now) in self.requests() {
                    let findings = found_of(kinds, |_| false);
                    let data = Data { labels, labelled: true, class, purpose };
                    let about = Question::about(&asker.name, "any", &self.candidates);
                    look(&Question { operation, data, findings: &findings, now, ..about }, kinds)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// All of one moment before those of the next: what is known of the targets at a moment is put together once for them.
    fn requests(&self) -> impl Iterator<Item = Request<'_>> {
        let of_a_moment = move |now: &SystemTime| {
            let now = *now;
            let data = self.labels.iter().flat_map(|labels| Class::ALL.map(|class| (labels, class)));
            data.flat_map(move |(labels, class)| {
                self.findings.iter().flat_map(move |kinds| {
                    self.operations.iter().map(move |operation| (*operation, &**labels, class, &**kinds, now))
                })
            })
        };
        self.times.iter().flat_map(of_a_moment)
    }
}

/// Both sets, and what each has beyond the other.
struct Comparing {
    whole: [Judge; 2],
    changed: [Judge; 2],
    /// A changed policy reads what is redacted, so that a match cannot be told before the redaction.
    everywhere: bool,
    /// Whether a changed policy reads labels, class, purpose, findings, time.
    reads: [bool; 5],
    /// The labels that the changed policies name, where they read labels in no other way.
    labels: Option<BTreeSet<String>>,
    /// Where both sets can differ, as it was found before, by what the changed policies read.
    open: HashMap<String, Arc<[bool]>>,
}

/// The labels that sets of policies name; nothing where one of them reads labels otherwise.
fn by_name(sets: &[Rules]) -> Option<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for rules in sets.iter().filter(|rules| rules.reads().context_has("labels")) {
        let reads = rules.reads();
        if !reads.labels_by_name {
            return None;
        }
        names.extend(reads.mentions.iter().filter_map(|mention| match mention {
            Mention::Label(name) => Some(name.clone()),
            _ => None,
        }));
    }
    Some(names)
}

impl Comparing {
    fn of(world: &World, one: &Rules, other: &Rules) -> Result<Self, WorldError> {
        let changed = [one.beyond(other), other.beyond(one)];
        let reads = |attribute| changed.iter().any(|rules| rules.reads().context_has(attribute));
        Ok(Self {
            everywhere: reads("redacted"),
            reads: ["labels", "class", "purpose", "findings", "now"].map(reads),
            labels: by_name(&changed),
            open: HashMap::new(),
            changed: [world.judge(&changed[0])?, world.judge(&changed[1])?],
            whole: [world.judge(one)?, world.judge(other)?],
        })
    }

    /// Until the two were seen to differ both ways, or to the end of the world.
    fn all(mut self, world: &World) -> Differences {
        let mut found = Differences::default();
        let _ = world.ask(|question, _| {
            self.look(&mut found, question);
            enough(found.more.is_some() && found.less.is_some())
        });
        found
    }

    /// For each candidate, whether the two sets can differ.
    fn open(&mut self, question: &Question<'_>) -> Arc<[bool]> {
        if self.everywhere {
            return question.candidates.iter().map(|_| true).collect();
        }
        let Question { app, operation, data, findings, now, .. } = question;
        let [labels, class, purpose, found, time] = self.reads;
        let is_read = |label: &&Arc<str>| self.labels.as_ref().is_none_or(|names| names.contains(&***label));
        // Features are actions of their own, so what was found of them always matters.
        let features = findings.counts().filter(|(kind, _)| found || policy::Action::behind(kind).is_some());
        let key = format!(
            "{app} {operation:?} {:?} {:?} {:?} {:?} {:?}",
            labels.then(|| data.labels.iter().filter(is_read).collect::<Vec<_>>()),
            class.then_some(data.class),
            purpose.then_some(data.purpose),
            features.collect::<Vec<_>>(),
            time.then_some(now),
        );
        let changed = &self.changed;
        let open = self.open.entry(key).or_insert_with(|| {
            let [mine, theirs] = changed.each_ref().map(|judge| judge.touches(question));
            let differ = |both| !matches!(both, (Touch::Nothing, Touch::Nothing) | (Touch::Denies, Touch::Denies));
            mine.into_iter().zip(theirs).map(differ).collect()
        });
        Arc::clone(open)
    }

    fn look(&mut self, found: &mut Differences, question: &Question<'_>) {
        found.decisions += question.candidates.len();
        let open = self.open(question);
        let open = question.candidates.iter().zip(&*open).filter(|(_, open)| **open);
        let candidates: Vec<Candidate> = open.map(|(candidate, _)| candidate.clone()).collect();
        if candidates.is_empty() {
            return;
        }
        let question = Question { candidates: &candidates, ..*question };
        let [one, other] = self.whole.each_ref().map(|judge| match decide(judge, &question) {
            Ok(permit) => permit.verdicts().to_vec(),
            Err(denial) => denial.verdicts().to_vec(),
        });
        for ((one, other), candidate) in one.iter().zip(&other).zip(&candidates) {
            if found.more.is_none() && permits_more(&one.ruling, &other.ruling) {
                found.more = Some(Box::new(Found::of(&question, candidate, [one, other])));
            }
            if found.less.is_none() && permits_more(&other.ruling, &one.ruling) {
                found.less = Some(Box::new(Found::of(&question, candidate, [other, one])));
            }
        }
    }
}

impl Found {
    fn of(question: &Question<'_>, candidate: &Candidate, [permitted, otherwise]: [&Verdict; 2]) -> Self {
        let listed = |names: Vec<String>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let labels = question.data.labels.iter().map(ToString::to_string).collect();
        let findings = question.findings.counts().map(|(kind, _)| kind.to_string()).collect();
        let purpose = question.data.purpose.map(|purpose| format!(", purpose {purpose}")).unwrap_or_default();
        let class = question.data.class.name();
        let Candidate { name, facts, reach, .. } = candidate;
        Self {
            request: format!(
                "app {}, labels {}, class {class}, findings {}{purpose}",
                question.app,
                listed(labels),
                listed(findings)
            ),
            target: format!(
                "{name}: processed in {}, kept in {}, reached {}",
                facts.processing,
                facts.at_rest,
                reach.name()
            ),
            permitted: permitted.ruling.to_string(),
            otherwise: otherwise.ruling.to_string(),
        }
    }
}

/// Whether the first permits what the second does not, or permits it with less redacted.
fn permits_more(one: &Ruling, other: &Ruling) -> bool {
    match (one, other) {
        (Ruling::In { obligations: mine, .. }, Ruling::In { obligations: theirs, .. }) => {
            theirs.redact().any(|kind| !mine.redact().any(|one| one == kind))
        }
        (Ruling::In { .. }, _) => true,
        _ => false,
    }
}

/// What sets of policies name.
#[derive(Default)]
struct Named {
    labels: BTreeSet<String>,
    findings: BTreeSet<String>,
    apps: BTreeSet<String>,
    teams: BTreeSet<String>,
    purposes: BTreeSet<String>,
    dates: BTreeSet<SystemTime>,
}

impl Named {
    fn of(sets: &[&Rules]) -> Self {
        let mut named = Self::default();
        for rules in sets {
            let reads = rules.reads();
            named.dates.extend(&reads.dates);
            named.purposes.extend(reads.purposes.iter().cloned());
            named.dates.extend(rules.policies().filter_map(|about| about.expires));
            for mention in &reads.mentions {
                let (set, name) = match mention {
                    Mention::Label(name) => (&mut named.labels, name),
                    Mention::Finding(name) => (&mut named.findings, name),
                    Mention::App(name) => (&mut named.apps, name),
                    Mention::Team(name) => (&mut named.teams, name),
                    Mention::Zone(_) | Mention::Country(_) | Mention::Endpoint(_) | Mention::Target(_) => continue,
                };
                set.insert(name.clone());
            }
        }
        named
    }

    /// Whether no policy can tell the two apart.
    fn is_alike(&self, one: &Asker, other: &Asker) -> bool {
        let name = |asker: &Asker| Some(asker.name.to_string()).filter(|name| self.apps.contains(name));
        let team = |asker: &Asker| Some(asker.team.to_string()).filter(|team| self.teams.contains(team));
        one.purposes == other.purposes && name(one) == name(other) && team(one) == team(other)
    }

    /// What a world of these names is made of, beside `others`.
    fn words(&self, others: &str) -> String {
        let sets = if self.labels_and_another().len() > ALL_OF { "each one and each pair" } else { "all sets" };
        format!(
            "{others}, {sets} of the labels that either set names, all classes, and each kind of finding that either set names"
        )
    }

    /// The labels, and one that nobody names.
    fn labels_and_another(&self) -> Vec<Arc<str>> {
        self.labels.iter().map(|label| Arc::from(label.as_str())).chain([Arc::from("any-other")]).collect()
    }

    /// None, each that is named, and each feature.
    ///
    /// Of `own` kinds it is known what group they belong to.
    fn findings(&self, own: &[TextKind]) -> Vec<Vec<FindingKind>> {
        let features = ["stored_state", "remote_url", "hosted_tool:any"];
        let named = self.findings.iter().map(String::as_str).filter(|name| !features.contains(name));
        let kinds: Vec<FindingKind> = named.chain(features).filter_map(|name| kind(name, own).ok()).collect();
        std::iter::once(Vec::new()).chain(kinds.into_iter().map(|kind| vec![kind])).collect()
    }

    /// Now, and every instant from now on at which an answer may change.
    fn times(&self, now: SystemTime) -> Vec<SystemTime> {
        std::iter::once(now).chain(self.dates.iter().copied().filter(|date| *date > now)).collect()
    }
}

/// A chat, and each other operation that a policy names.
pub(super) fn operations(sets: &[&Rules]) -> Vec<Operation> {
    let texts: Vec<String> = sets
        .iter()
        .flat_map(|rules| rules.set().policies())
        .map(|policy| policy.to_json().map(|json| json.to_string()).unwrap_or_default())
        .collect();
    let is_named = |operation: &Operation| {
        let id = format!("\"{}\"", operation.name());
        *operation == Operation::Chat || texts.iter().any(|text| text.contains("\"Action\"") && text.contains(&id))
    };
    Operation::ALL.into_iter().filter(is_named).collect()
}

/// Of so many labels every set is tried.
const ALL_OF: usize = 8;

/// Every set of so many labels that the whole stays in the hundreds; beyond that each one and each pair.
fn subsets(labels: &[Arc<str>]) -> Vec<Vec<Arc<str>>> {
    let sorted = |chosen: Vec<&Arc<str>>| {
        let mut chosen: Vec<Arc<str>> = chosen.into_iter().cloned().collect();
        chosen.sort_unstable();
        chosen
    };
    if labels.len() <= ALL_OF {
        let chosen = |bits: u32| labels.iter().enumerate().filter(move |(index, _)| bits >> index & 1 == 1);
        return (0..1_u32 << labels.len()).map(|bits| sorted(chosen(bits).map(|(_, label)| label).collect())).collect();
    }
    let mut sets = vec![Vec::new()];
    for (index, first) in labels.iter().enumerate() {
        sets.push(vec![Arc::clone(first)]);
        sets.extend(labels.iter().take(index).map(|second| sorted(vec![first, second])));
    }
    sets
}

/// Places that differ in what is known of them, a good and a bad one over each reach.
fn candidates() -> Vec<Candidate> {
    let unknown = ("unknown".to_owned(), false, Facts::unknown());
    let mut places_known: Vec<(String, bool, Facts)> = vec![unknown];
    for (name, place) in places() {
        if let Ok(found) = configuration::pack().facts(&place, "", &Adjustments::new()) {
            places_known.push((name, matches!(place, Place::Site(_)), found));
        }
    }
    let german = places_known.last().map_or_else(Facts::unknown, |(_, _, facts)| facts.clone());
    for (name, facts) in [
        ("processed-nobody-knows-where", Facts { processing: Countries::default(), ..german.clone() }),
        ("kept-nobody-knows-where", Facts { at_rest: Countries::default(), ..german.clone() }),
        ("read-from-nobody-knows-where", Facts { access: Countries::default(), ..german.clone() }),
        ("trains-models", Facts { training: true, ..german.clone() }),
        ("keeps-for-long", Facts { retention_days: 365, ..german }),
    ] {
        places_known.push((name.to_owned(), false, facts));
    }
    let mut all = Vec::new();
    for (name, own, facts) in places_known {
        let facts = Arc::new(facts);
        let everywhere = [Reach::PrivateLink, Reach::Local, Reach::Public];
        let differs = ["unknown", "site-DE", "azure-swedencentral-Standard"].contains(&name.as_str());
        for reach in if differs { &everywhere[..] } else { &everywhere[..1] } {
            let target = TargetId(u32::try_from(all.len()).unwrap_or(u32::MAX));
            all.push(Candidate {
                reach: *reach,
                own_site: own && *reach == Reach::Local,
                facts: Arc::clone(&facts),
                ..Candidate::new(target, format!("{name}-{}/m", reach.name()))
            });
        }
    }
    let preview = all.last().cloned().map(|last| {
        let target = TargetId(u32::try_from(all.len()).unwrap_or(u32::MAX));
        Candidate { target, name: "preview/m".into(), preview: true, ..last }
    });
    all.extend(preview);
    all
}

/// One place of each kind; the last is the best.
fn places() -> Vec<(String, Place)> {
    let azure = |region: &str, sku: &str| {
        (format!("azure-{region}-{sku}"), Place::Azure { region: region.to_owned(), sku: sku.to_owned() })
    };
    let bedrock = |region: &str, profile: Option<&str>| {
        let name = format!("bedrock-{region}-{}", profile.unwrap_or("region"));
        (name, Place::Bedrock { region: region.to_owned(), profile: profile.map(str::to_owned) })
    };
    let site = |country: &str| {
        let code = country.parse().ok()?;
        Some((format!("site-{country}"), Place::Site(Site { name: country.to_owned(), country: code, operator: code })))
    };
    let clouds = [
        azure("swedencentral", "Standard"),
        azure("swedencentral", "DataZoneStandard"),
        azure("swedencentral", "GlobalStandard"),
        azure("switzerlandnorth", "Standard"),
        azure("eastus", "Standard"),
        bedrock("eu-central-1", None),
        bedrock("eu-central-1", Some("eu")),
        bedrock("eusc-de-east-1", None),
        ("openai-eu".to_owned(), Place::OpenAi { project_region: "eu".to_owned() }),
        ("anthropic-us".to_owned(), Place::Anthropic { inference_geo: "us".to_owned() }),
        ("mistral-eu".to_owned(), Place::Mistral { region: "eu".to_owned() }),
    ];
    clouds.into_iter().chain(["US", "CH", "DE"].into_iter().filter_map(site)).collect()
}

#[cfg(test)]
mod tests {
    use policy::Strictness;

    use super::*;
    use crate::commands::policy::files::{Files, names_without_configuration};

    /// The shipped policies, with this text in the place of that.
    fn shipped((from, to): (&str, &str)) -> Rules {
        let mut files = Files::policies(None).unwrap();
        let place = files.0.iter_mut().find(|(_, text)| text.contains(from));
        let (_, text) = place.unwrap_or_else(|| panic!("no policy holds `{from}`"));
        *text = text.replacen(from, to, 1);
        let rules = files.rules(Strictness::Study, &names_without_configuration());
        rules.unwrap_or_else(|faults| panic!("{faults:?}")).0
    }

    /// A part of the world that is small enough to decide everything in it.
    fn small(sets: &[&Rules]) -> World {
        let whole = World::of_pack(sets, SystemTime::now());
        let is_kept = |kind: &FindingKind| ["card", "remote_url"].contains(&&*kind.to_string());
        World {
            candidates: whole.candidates.iter().step_by(3).cloned().collect(),
            labels: subsets(&["eu_personal".into(), "health".into()]),
            findings: whole.findings.iter().filter(|kinds| kinds.iter().all(is_kept)).cloned().collect(),
            ..whole
        }
    }

    #[test]
    fn what_is_not_decided_changes_nothing_of_what_is_found() {
        let base = shipped(("", ""));
        let hole = "containsAll(resource.processing) || context.purpose == \"support\" };";
        let changes = [
            ("containsAll(resource.processing) };", hole),
            ("containsAll(resource.processing) };", "containsAny(resource.processing) };"),
            (" && context.labelled && resource.grants.contains(\"fetch_remote\")", ""),
            ("context.class >= 2 || !context.labels.isEmpty()", "context.class >= 3"),
        ];
        let without = base.policies().map(|about| base.without(&about.id));
        let others: Vec<Rules> = changes.into_iter().map(shipped).chain(without).collect();

        let mut differing = 0;
        for other in &others {
            let world = small(&[&base, other]);
            let found = differences(&world, &base, other).unwrap();
            let everywhere = Comparing { everywhere: true, ..Comparing::of(&world, &base, other).unwrap() };

            assert_eq!(found, everywhere.all(&world));
            differing += usize::from(found.more.is_some() || found.less.is_some());
        }
        assert!(differing > others.len() / 2, "{differing} of {}", others.len());
    }
}
