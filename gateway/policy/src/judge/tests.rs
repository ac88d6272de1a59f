use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use inspection::{Finding, FindingKind, Findings, TextKind};

use super::*;
use crate::decision::{Denial, Ruling};
use crate::facts::{Countries, Facts, Zone, Zones, day_of};
use crate::question::{Class, Data, NO_GRANTS, Reach, TargetId};
use crate::rules::{Names, PolicyFile, ReadOptions, Strictness};
use crate::{Permit, decide};

fn countries(codes: &[&str]) -> Countries {
    codes.iter().map(|code| code.parse().unwrap()).collect()
}

fn zones() -> Zones {
    Zones::from([("EEA".to_owned(), countries(&["DE", "FR", "NO", "SE"]).into())])
}

/// Facts that every shipped policy is content with.
fn good_facts() -> Facts {
    Facts {
        processing: countries(&["SE"]),
        at_rest: countries(&["SE"]),
        access: countries(&["DE", "SE"]),
        operator: "DE".parse().unwrap(),
        operator_parent: "DE".parse().unwrap(),
        retention_days: 30,
        training: false,
        ..Facts::unknown()
    }
}

fn target(id: u32, facts: Facts) -> Candidate {
    let reach = Reach::PrivateLink;
    Candidate { reach, facts: Arc::new(facts), ..Candidate::new(TargetId(id), format!("endpoint-{id}/model")) }
}

fn own_site(id: u32) -> Candidate {
    Candidate { own_site: true, reach: Reach::Local, ..target(id, good_facts()) }
}

fn rules_of(text: &str) -> Arc<Rules> {
    let names = Names::default();
    let options = ReadOptions { strictness: Strictness::Study, off: &BTreeMap::new(), names: &names };
    Arc::new(Rules::read(&[PolicyFile { name: "mine.cedar", text }], &options).unwrap().0)
}

fn shipped(targets: &[Candidate]) -> Judge {
    let rules = Arc::new(Rules::shipped(&Names::default()).unwrap());
    let claims = Asker { name: "claims".into(), team: "insurance".into(), purposes: Vec::new() };
    let support = Asker { name: "support".into(), team: "service".into(), purposes: vec!["answering".into()] };
    Judge::new(rules, &zones(), &[claims, support], targets).unwrap()
}

fn judge_of(text: &str, targets: &[Candidate]) -> Judge {
    Judge::new(rules_of(text), &zones(), &[], targets).unwrap()
}

/// A request for which everything is as harmless as it can be, except for what a test changes.
struct Case<'a> {
    app: &'a str,
    labels: &'a [&'a str],
    class: Class,
    purpose: Option<&'a str>,
    findings: Vec<FindingKind>,
    now: SystemTime,
}

impl Default for Case<'_> {
    fn default() -> Self {
        let now = day_of("2027-01-01").unwrap();
        Self { app: "claims", labels: &[], class: Class::Internal, purpose: None, findings: Vec::new(), now }
    }
}

impl Case<'_> {
    fn ask(&self, judge: &Judge, candidates: &[Candidate]) -> Result<Arc<Permit>, Denial> {
        self.put(candidates, |question| decide(judge, question))
    }

    fn put<T>(&self, candidates: &[Candidate], to: impl FnOnce(&Question<'_>) -> T) -> T {
        let labels: Vec<Arc<str>> = self.labels.iter().map(|label| Arc::from(*label)).collect();
        let at = |kind: &FindingKind| Finding { kind: kind.clone(), path: "$.messages[0].content".into() };
        let findings: Findings = self.findings.iter().map(at).collect();
        let data = Data { labels: &labels, labelled: true, class: self.class, purpose: self.purpose };
        let question =
            Question { data, findings: &findings, now: self.now, ..Question::about(self.app, "chat", candidates) };
        to(&question)
    }

    /// The ids of the policies that keep the only candidate out; nothing when it is in.
    fn against(&self, candidate: Candidate) -> Vec<String> {
        let candidates = [candidate];
        match self.ask(&shipped(&candidates), &candidates) {
            Ok(_) => Vec::new(),
            Err(denial) => match &denial.verdicts()[0].ruling {
                Ruling::Forbidden(by) => by.iter().map(str::to_owned).collect(),
                other => vec![other.to_string()],
            },
        }
    }
}

fn card() -> FindingKind {
    FindingKind::Text(TextKind::named("card")[0])
}

#[test]
fn personal_data_is_permitted_where_every_country_is_inside_the_eea() {
    let case = Case { labels: &["eu_personal"], ..Case::default() };

    assert_eq!(case.against(target(0, good_facts())), [""; 0]);
}

#[test]
fn each_shipped_policy_forbids_what_it_is_for() {
    let personal = || Case { labels: &["eu_personal"], ..Case::default() };
    let special = || Case { labels: &["special_category"], ..Case::default() };
    let confidential = || Case { class: Class::Confidential, ..Case::default() };
    let us = || "US".parse().unwrap();
    let outside = countries(&["SE", "US"]);
    let cases: Vec<(&str, Case<'_>, Candidate)> = vec![
        (
            "personal-data-processed-in-the-eea",
            personal(),
            target(0, Facts { processing: outside.clone(), ..good_facts() }),
        ),
        ("personal-data-at-rest-in-the-eea", personal(), target(0, Facts { at_rest: outside.clone(), ..good_facts() })),
        ("personal-data-read-from-the-eea", personal(), target(0, Facts { access: outside, ..good_facts() })),
        (
            "unknown-place-is-no-place",
            personal(),
            target(0, Facts { processing: Countries::default(), ..good_facts() }),
        ),
        (
            "unknown-place-is-no-place",
            confidential(),
            target(0, Facts { at_rest: Countries::anywhere(), ..good_facts() }),
        ),
        (
            "special-categories-under-no-third-country-law",
            special(),
            target(0, Facts { operator_parent: us(), ..good_facts() }),
        ),
        (
            "special-categories-under-no-third-country-law",
            special(),
            target(0, Facts { operator: us(), ..good_facts() }),
        ),
        ("health-data-needs-the-certificate", Case { labels: &["health"], ..Case::default() }, target(0, good_facts())),
        ("swiss-bank-data-in-switzerland", Case { labels: &["ch_bank"], ..Case::default() }, target(0, good_facts())),
        ("secrets-stay-on-own-sites", Case { class: Class::Secret, ..Case::default() }, target(0, good_facts())),
        (
            "confidential-data-needs-a-private-link",
            confidential(),
            Candidate { reach: Reach::Public, ..target(0, good_facts()) },
        ),
        ("no-training-on-our-data", personal(), target(0, Facts { training: true, ..good_facts() })),
        ("no-long-retention", personal(), target(0, Facts { retention_days: 31, ..good_facts() })),
        ("preview-only-for-public-data", Case::default(), Candidate { preview: true, ..target(0, good_facts()) }),
        (
            "uninspected-stays-on-own-sites",
            Case { labels: &["eu_personal"], findings: vec![FindingKind::Uninspected], ..Case::default() },
            target(0, good_facts()),
        ),
        ("only-registered-purposes", Case { app: "support", ..Case::default() }, target(0, good_facts())),
    ];
    for (policy, case, candidate) in cases {
        assert_eq!(case.against(candidate), [policy]);
    }
}

#[test]
fn what_a_policy_asks_for_is_enough_for_it() {
    let certified = Facts { certifications: ["HDS".to_owned()].into(), ..good_facts() };
    let swiss = countries(&["CH"]);
    let in_switzerland = Facts { processing: swiss.clone(), at_rest: swiss.clone(), access: swiss, ..good_facts() };

    assert_eq!(Case { labels: &["health"], ..Case::default() }.against(target(0, certified)), [""; 0]);
    assert_eq!(Case { labels: &["ch_bank"], ..Case::default() }.against(target(0, in_switzerland)), [""; 0]);
    assert_eq!(Case { class: Class::Secret, ..Case::default() }.against(own_site(0)), [""; 0]);
    let support = Case { app: "support", purpose: Some("answering"), ..Case::default() };
    assert_eq!(support.against(target(0, good_facts())), [""; 0]);
    let public = Case { class: Class::Public, ..Case::default() };
    assert_eq!(public.against(Candidate { preview: true, ..target(0, good_facts()) }), [""; 0]);
}

/// A card number in the text must not open what nobody granted: the permit that redacts it is for answers alone.
#[test]
fn a_card_number_grants_no_feature() {
    for feature in [FindingKind::RemoteUrl, FindingKind::HostedTool("web_search".into()), FindingKind::StoredState] {
        let case = Case { findings: vec![card(), feature.clone()], ..Case::default() };

        let candidates = [target(0, good_facts())];

        assert!(case.ask(&shipped(&candidates), &candidates).is_err(), "{feature}");
    }
}

#[test]
fn a_card_number_goes_to_an_own_site_as_it_is_and_elsewhere_only_redacted() {
    let candidates = [own_site(0), target(1, good_facts())];
    let case = Case { findings: vec![card()], ..Case::default() };

    let permit = case.ask(&shipped(&candidates), &candidates).unwrap();

    let redacted = |id| {
        let warrant = permit.warrant(TargetId(id)).unwrap();
        warrant.obligations().redact().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(redacted(0), [""; 0]);
    assert_eq!(redacted(1), ["card"]);
    assert_eq!(
        permit.verdicts()[1].ruling.to_string(),
        "permitted by `approved-targets`, `cards-redacted` with `redact:card`"
    );
}

#[test]
fn a_permit_with_an_obligation_permits_nothing_as_it_is() {
    let text = "@id(\"only-redacted\") @obligation(\"redact:card\") permit (principal, action, resource);";
    let candidates = [target(0, good_facts())];

    let permit = Case::default().ask(&judge_of(text, &candidates), &candidates).unwrap();

    assert_eq!(permit.warrant(TargetId(0)).unwrap().obligations().redact().collect::<Vec<_>>(), ["card"]);
}

#[test]
fn an_obligation_that_is_not_enough_leaves_the_target_denied() {
    let case = Case { labels: &["eu_personal"], findings: vec![card()], ..Case::default() };

    let against = case.against(target(0, Facts { processing: countries(&["US"]), ..good_facts() }));

    assert_eq!(against, ["cards-only-redacted", "personal-data-processed-in-the-eea"]);
}

#[test]
fn a_policy_that_cannot_be_evaluated_denies_whatever_the_others_say() {
    let text = "@id(\"all\") permit (principal, action, resource);\n\
                @id(\"broken\") forbid (principal, action, resource) when { Zone::\"NOWHERE\".countries.isEmpty() };";
    let candidates = [target(0, good_facts())];

    let denial = Case::default().ask(&judge_of(text, &candidates), &candidates).unwrap_err();

    assert_eq!(denial.verdicts()[0].ruling.to_string(), "denied, because `broken` could not be evaluated");
}

#[test]
fn a_policy_of_an_action_that_a_finding_needs_can_forbid_it() {
    let text = "@id(\"all\") permit (principal, action, resource);\n\
                @id(\"no-fetching\") forbid (principal, action == Action::\"fetch_remote\", resource);";
    let candidates = [target(0, good_facts())];
    let case = Case { findings: vec![FindingKind::RemoteUrl], ..Case::default() };

    let denial = case.ask(&judge_of(text, &candidates), &candidates).unwrap_err();

    assert!(denial.verdicts()[0].ruling.to_string().ends_with("forbidden by `no-fetching`"));
    assert!(Case::default().ask(&judge_of(text, &candidates), &candidates).is_ok());
}

#[test]
fn a_forbid_that_matches_denies_and_whatever_else_matches_is_unclear() {
    let permit = "@id(\"all\") permit (principal, action, resource);";
    let confidential = "@id(\"no\") forbid (principal, action, resource) when { context.class >= 2 };";
    let fetching = "@id(\"no-fetching\") forbid (principal, action == Action::\"fetch_remote\", resource);";
    let broken = "@id(\"broken\") forbid (principal, action, resource) when { Zone::\"NOWHERE\".countries.isEmpty() };";
    let candidates = [target(0, good_facts())];
    let of = |text: &str, case: &Case<'_>| {
        let touch = case.put(&candidates, |question| judge_of(text, &candidates).touches(question))[0];
        let with_a_permit = judge_of(&format!("@id(\"any\") permit (principal, action, resource);{text}"), &candidates);
        (touch, case.ask(&with_a_permit, &candidates).is_err())
    };
    let plain = Case::default();
    let secret = Case { class: Class::Secret, ..Case::default() };
    let remote = Case { findings: vec![FindingKind::RemoteUrl], ..Case::default() };

    assert_eq!(of(confidential, &plain), (Touch::Nothing, false));
    assert_eq!(of(confidential, &secret), (Touch::Denies, true));
    assert_eq!(of(fetching, &plain), (Touch::Nothing, false));
    assert_eq!(of(fetching, &remote), (Touch::Denies, true));
    assert_eq!(of(broken, &plain), (Touch::Unclear, true));
    assert_eq!(of(&format!("{permit}{confidential}"), &plain).0, Touch::Unclear);
    assert_eq!(of(&format!("{permit}{confidential}"), &secret).0, Touch::Denies);
}

#[test]
fn the_finest_kind_and_its_family_can_both_be_named() {
    for name in ["hosted_tool", "hosted_tool:web_search"] {
        let text = format!(
            "@id(\"all\") permit (principal, action, resource);\n\
             @id(\"no\") forbid (principal, action, resource) when {{ context.findings.contains(\"{name}\") }};"
        );
        let candidates = [target(0, good_facts())];
        let case = Case { findings: vec![FindingKind::HostedTool("web_search".into())], ..Case::default() };

        assert!(case.ask(&judge_of(&text, &candidates), &candidates).is_err(), "{name}");
    }
}

#[test]
fn an_exception_ends_on_its_day_and_nothing_else_changes() {
    let text = "@id(\"exception\") @expires(\"2027-02-01\") permit (principal, action, resource);";
    let candidates = [target(0, good_facts())];
    let judge = judge_of(text, &candidates);
    let end = day_of("2027-02-01").unwrap();
    let at = |now| Case { now, ..Case::default() }.ask(&judge, &candidates);

    assert!(at(end - Duration::from_millis(1)).is_ok());
    assert!(at(end).is_err());
    assert!(at(end - Duration::from_millis(1)).is_ok(), "a clock that goes back finds the earlier answer");
}

#[test]
fn facts_that_run_out_take_their_target_with_them() {
    let end = day_of("2027-02-01").unwrap();
    let mut facts = good_facts();
    facts.provenance.valid_until = Some(end);
    let candidates = [target(0, facts)];
    let judge = shipped(&candidates);
    let at = |now| Case { labels: &["eu_personal"], now, ..Case::default() }.ask(&judge, &candidates).is_ok();

    assert_eq!([at(end - Duration::from_millis(1)), at(end)], [true, false]);
}

#[test]
fn a_date_in_a_policy_holds_to_the_millisecond() {
    let text = "@id(\"all\") permit (principal, action, resource);\n\
                @id(\"late\") forbid (principal, action, resource) when { context.now > datetime(\"2027-02-01\") };";
    let candidates = [target(0, good_facts())];
    let judge = judge_of(text, &candidates);
    let day = day_of("2027-02-01").unwrap();
    let at = |now| Case { now, ..Case::default() }.ask(&judge, &candidates).is_ok();

    let answers = [day - Duration::from_millis(1), day, day + Duration::from_millis(1), day].map(at);

    assert_eq!(answers, [true, true, false, true]);
}

#[test]
fn requests_that_no_policy_can_tell_apart_share_a_decision_and_others_do_not() {
    let candidates = [target(0, good_facts())];
    let judge = shipped(&candidates);
    let ask = |case: Case<'_>| case.ask(&judge, &candidates).is_ok();

    ask(Case::default());
    ask(Case { now: day_of("2027-06-01").unwrap(), ..Case::default() });
    ask(Case { findings: vec![FindingKind::UserIdentifier], ..Case::default() });
    assert_eq!(judge.kept(), 1);

    ask(Case { labels: &["health"], ..Case::default() });
    ask(Case { class: Class::Public, ..Case::default() });
    ask(Case { app: "support", ..Case::default() });
    ask(Case { findings: vec![FindingKind::Uninspected], ..Case::default() });
    assert_eq!(judge.kept(), 5);
}

#[test]
fn a_decision_from_memory_is_the_decision_that_was_made() {
    let candidates = [own_site(0), target(1, Facts { processing: countries(&["US"]), ..good_facts() })];
    let judge = shipped(&candidates);
    let case = Case { labels: &["eu_personal"], findings: vec![card()], ..Case::default() };

    let first = case.ask(&judge, &candidates).unwrap();
    let second = case.ask(&judge, &candidates).unwrap();

    assert_eq!(first.verdicts(), second.verdicts());
    assert_eq!(first.targets(), second.targets());
    assert_eq!(judge.kept(), 1);
}

#[test]
fn what_is_kept_is_bounded_however_many_classes_come() {
    let candidates = [Candidate { grants: NO_GRANTS, ..Candidate::new(TargetId(0), "gpu/llama") }];
    let cache = Cache::default();
    for class in 0..u32::try_from(3 * Judge::MOST_KEPT).unwrap() {
        cache.keep(class.to_le_bytes().to_vec(), Arc::from([Held::NotPermitted]));
        assert!(cache.len() <= Judge::MOST_KEPT);
    }
    let last = u32::try_from(3 * Judge::MOST_KEPT - 1).unwrap();
    assert!(cache.find(&last.to_le_bytes()).is_some() && cache.find(&0_u32.to_le_bytes()).is_none());

    let judge = Judge::of_grants(&candidates);
    let many: Vec<String> = (0..10_000).map(|label| format!("label-{label}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(Case { labels: &many, ..Case::default() }.ask(&judge, &candidates).is_ok());
}

/// Random sets over what guards read: an answer by the policies that are in question is that of all of them.
#[test]
fn leaving_out_policies_that_cannot_match_changes_no_answer() {
    let conditions = [
        r#"when { context.labels.contains("eu_personal") }"#,
        r#"when { context.labels.contains("health") && resource.training }"#,
        "when { context.class >= 2 || !context.labels.isEmpty() }",
        r#"unless { context.findings.contains("card") || resource.own_site }"#,
        r#"when { context.purpose == "fraud" } unless { resource.own_site }"#,
        r#"when { context.findings.contains("card") && !context.redacted.contains("card") } unless { resource.own_site }"#,
        r#"when { context.labels.contains("ch_bank") } when { resource.retention_days > 3 }"#,
        "when { !context.labelled }",
    ];
    let mut text = String::from(
        "@id(\"base\") @owner(\"o\") @basis(\"b\") @grant(\"base\")\npermit (principal, action, resource);\n",
    );
    text.push_str("@id(\"cards\") @owner(\"o\") @basis(\"b\") @grant(\"base\") @obligation(\"redact:card\")\n");
    text.push_str("permit (principal, action, resource) when { context.findings.contains(\"card\") };\n");
    for (number, condition) in conditions.iter().enumerate() {
        text.push_str(&format!(
            "@id(\"p{number}\") @owner(\"o\") @basis(\"b\")\nforbid (principal, action, resource) {condition};\n"
        ));
    }
    let other = Facts { training: true, ..good_facts() };
    let candidates = [target(0, good_facts()), own_site(1), target(2, other), target(3, good_facts()), own_site(4)];
    let judge = judge_of(&text, &candidates);
    let named = judge_of(
        &format!(
            "{text}@id(\"named\") @owner(\"o\") @basis(\"b\")\nforbid (principal, action, resource == Target::\"nowhere/m\");\n"
        ),
        &candidates,
    );
    // Each target and each condition alone: a judge over fewer policies than are worth a choice.
    let rules = rules_of(&text);
    let over = |candidate: &Candidate, number: usize| {
        let id = format!("p{number}");
        let mine = rules.only(|other| [id.as_str(), "base", "cards"].contains(&other));
        Judge::new(Arc::new(mine), &zones(), &[], std::slice::from_ref(candidate)).unwrap()
    };
    let alone: Vec<Vec<Judge>> = candidates
        .iter()
        .map(|candidate| (0..conditions.len()).map(|number| over(candidate, number)).collect())
        .collect();
    let mut answers = BTreeMap::new();

    for bits in 0..64_u32 {
        let has = |bit: u32| bits & 1 << bit != 0;
        let all = ["eu_personal", "health", "ch_bank"];
        let labels: Vec<&str> = (0..3).filter(|bit| has(*bit)).map(|bit| all[bit as usize]).collect();
        let case = Case {
            labels: &labels,
            class: if has(3) { Class::Confidential } else { Class::Internal },
            purpose: has(4).then_some("fraud"),
            findings: if has(5) { vec![card()] } else { Vec::new() },
            ..Case::default()
        };
        let said = |judge: &Judge| match case.ask(judge, &candidates) {
            Ok(permit) => format!("{:?}", permit.verdicts()),
            Err(denial) => format!("{:?}", denial.verdicts()),
        };
        assert_eq!(said(&judge), said(&named), "{bits:b}");
        let one_by_one = candidates.iter().zip(&alone).map(|(candidate, judges)| {
            let forbids = |judge: &Judge| case.ask(judge, std::slice::from_ref(candidate)).is_err();
            !judges.iter().any(forbids)
        });
        let together: Vec<bool> = match case.ask(&judge, &candidates) {
            Ok(permit) => permit.verdicts().iter().map(|verdict| verdict.ruling.is_in()).collect(),
            Err(denial) => denial.verdicts().iter().map(|verdict| verdict.ruling.is_in()).collect(),
        };
        assert_eq!(one_by_one.collect::<Vec<_>>(), together, "{bits:b}");
        answers.insert(said(&judge), bits);
    }
    assert!(answers.len() > 8, "the cases differ: {}", answers.len());
    assert!(judge.world.slices().len() > 4, "policies were left out");
}

/// A group that has run out is nobody's, in either direction: not that of those who have to be inside of it, and not that of
/// those who are kept out because they are.
#[test]
fn a_group_of_countries_that_has_run_out_denies_whatever_asks_about_it() {
    let end = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let targets = [target(1, good_facts())];
    let zone = Zone { countries: countries(&["DE", "SE"]), valid_until: Some(end) };
    let zones = Zones::from([("ours".to_owned(), zone)]);
    let grant = "@id(\"all\") @grant(\"base\") permit (principal, action, resource);\n";
    let rules =
        |condition: &str| rules_of(&format!("{grant}@id(\"mine\") forbid (principal, action, resource) {condition};"));
    let at = |condition: &str, now: SystemTime| {
        let judge = Judge::new(rules(condition), &zones, &[], &targets).unwrap();
        let question = Question { now, ..Question::about("claims", "chat", &targets) };
        judge.hold(&question).iter().next().cloned().unwrap()
    };
    let before = end - Duration::from_millis(1);

    for condition in [
        "unless { Zone::\"ours\".countries.containsAll(resource.processing) }",
        "when { Zone::\"ours\".countries.contains(Country::\"US\") }",
        "when { !(Zone::\"ours\".countries.containsAll(resource.processing)) }",
    ] {
        assert!(matches!(at(condition, before), Held::Permitted { .. }), "{condition}");
        assert!(matches!(at(condition, end), Held::Failed(_)), "{condition}: {:?}", at(condition, end));
    }
    // What does not ask about it goes on, and so does what has its answer before it would.
    for condition in ["when { resource.training }", "when { resource.training && Zone::\"ours\".countries.isEmpty() }"]
    {
        assert!(matches!(at(condition, end), Held::Permitted { .. }), "{condition}");
    }
}

#[test]
fn a_decision_of_before_a_group_ran_out_is_not_remembered_after_it() {
    let end = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let targets = [target(1, good_facts())];
    let zone = Zone { countries: countries(&["DE", "SE"]), valid_until: Some(end) };
    let text = "@id(\"all\") @grant(\"base\") permit (principal, action, resource)\n\
                when { Zone::\"ours\".countries.containsAll(resource.processing) };";
    let judge = Judge::new(rules_of(text), &Zones::from([("ours".to_owned(), zone)]), &[], &targets).unwrap();
    let is_permitted = |now: SystemTime| {
        let question = Question { now, ..Question::about("claims", "chat", &targets) };
        matches!(judge.hold(&question).first(), Some(Held::Permitted { .. }))
    };

    let before = is_permitted(end - Duration::from_secs(1));
    let again = is_permitted(end - Duration::from_millis(1));

    assert_eq!((before, again, is_permitted(end)), (true, true, false));
}
