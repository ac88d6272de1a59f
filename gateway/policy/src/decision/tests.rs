use inspection::{Findings, TextKind};

use super::*;
use crate::question::{Candidate, Grants, NO_GRANTS};

fn candidate(id: u32, approved: bool, grants: Grants) -> Candidate {
    Candidate { approved, grants, ..Candidate::new(TargetId(id), format!("endpoint-{id}/model")) }
}

fn finding(kind: FindingKind, path: &str) -> Finding {
    Finding { kind, path: path.into() }
}

fn ask_whole(findings: &[Finding], candidates: &[Candidate]) -> Result<Arc<Permit>, Denial> {
    let findings: Findings = findings.iter().cloned().collect();
    let question = Question { findings: &findings, ..Question::about("claims", "chat-large", candidates) };
    decide(&Judge::of_grants(candidates), &question)
}

fn ask(findings: &[Finding], candidates: &[Candidate]) -> Result<Vec<TargetId>, Denial> {
    ask_whole(findings, candidates).map(|permit| permit.targets().to_vec())
}

fn ids(names: &[&str]) -> PolicyIds {
    names.iter().map(|name| Arc::from(*name)).collect()
}

#[test]
fn approved_targets_are_permitted_in_declared_order() {
    let candidates = [candidate(5, true, NO_GRANTS), candidate(2, true, NO_GRANTS), candidate(9, true, NO_GRANTS)];

    assert_eq!(ask(&[], &candidates).unwrap(), [TargetId(5), TargetId(2), TargetId(9)]);
}

#[test]
fn a_target_that_is_not_approved_is_out() {
    let candidates = [candidate(0, false, NO_GRANTS), candidate(1, true, NO_GRANTS)];

    assert_eq!(ask(&[], &candidates).unwrap(), [TargetId(1)]);
}

#[test]
fn a_model_without_targets_is_denied() {
    assert_eq!(ask(&[], &[]).unwrap_err().cause(), &Cause::NoTarget);
}

#[test]
fn a_target_that_the_judge_does_not_know_is_denied_and_no_grant_lifts_that() {
    let known = [candidate(0, true, NO_GRANTS)];
    let asked = [candidate(1, true, NO_GRANTS)];
    let lifted = [(TargetId(1), Arc::from("break-glass:night"))];
    let question = Question { lifted: &lifted, ..Question::about("claims", "chat", &asked) };

    let denial = decide(&Judge::of_grants(&known), &question).unwrap_err();

    assert!(matches!(denial.verdicts()[0].ruling, Ruling::Failed(_)));
}

#[test]
fn a_model_without_an_approved_target_is_denied_even_when_features_would_be_granted() {
    let everything = Action::ALL.into_iter().fold(NO_GRANTS, Grants::with);
    let candidates = [candidate(0, false, everything)];

    let denial = ask(&[finding(FindingKind::RemoteUrl, "$.input")], &candidates).unwrap_err();

    assert_eq!(denial.cause(), &Cause::NotApproved);
}

#[test]
fn a_finding_leaves_only_the_targets_that_are_granted_its_action() {
    let candidates = [
        candidate(0, true, NO_GRANTS),
        candidate(1, true, NO_GRANTS.with(Action::FetchRemote)),
        candidate(2, false, NO_GRANTS.with(Action::FetchRemote)),
    ];

    assert_eq!(ask(&[finding(FindingKind::RemoteUrl, "$.input")], &candidates).unwrap(), [TargetId(1)]);
}

#[test]
fn a_finding_without_an_action_keeps_nothing_out_unless_a_policy_names_it() {
    let iban = finding(FindingKind::Text(TextKind::named("iban")[0]), "$.input");

    assert_eq!(ask(&[iban], &[candidate(0, true, NO_GRANTS)]).unwrap(), [TargetId(0)]);
}

#[test]
fn a_feature_that_no_target_is_granted_is_denied_with_its_kind_and_path() {
    let candidates = [candidate(0, true, NO_GRANTS), candidate(1, true, NO_GRANTS), candidate(2, false, NO_GRANTS)];

    let denial = ask(&[finding(FindingKind::HostedTool("web_search".into()), "$.tools[0]")], &candidates).unwrap_err();

    let cause = Cause::Feature { kind: FindingKind::HostedTool("web_search".into()), path: "$.tools[0]".into() };
    assert_eq!(denial.cause(), &cause);
    assert_eq!(
        denial.to_string(),
        "app `claims` may not use model `chat-large` for this request: `hosted_tool:web_search` at `$.tools[0]` needs \
         `use_hosted_tool`, which no target of the model is granted"
    );
}

#[test]
fn every_finding_needs_its_grant_and_the_first_one_missing_is_named() {
    let candidates = [candidate(0, true, NO_GRANTS.with(Action::KeepState))];
    let findings = [finding(FindingKind::StoredState, "$.store"), finding(FindingKind::RemoteUrl, "$.input[3]")];

    let denial = ask(&findings, &candidates).unwrap_err();

    assert_eq!(denial.cause(), &Cause::Feature { kind: FindingKind::RemoteUrl, path: "$.input[3]".into() });
}

#[test]
fn every_candidate_has_its_verdict_in_the_permit() {
    let candidates = [
        candidate(0, false, NO_GRANTS),
        candidate(1, true, NO_GRANTS),
        candidate(2, true, NO_GRANTS.with(Action::KeepState)),
        candidate(2, true, NO_GRANTS.with(Action::KeepState)),
    ];
    let stored = finding(FindingKind::StoredState, "$.store");

    let permit = ask_whole(std::slice::from_ref(&stored), &candidates).unwrap();

    let rulings: Vec<&Ruling> = permit.verdicts().iter().map(|verdict| &verdict.ruling).collect();
    let not_granted = Ruling::NotGranted { finding: stored, by: PolicyIds::default() };
    let permitted = Ruling::In { by: ids(&["approved-targets", "granted-state"]), obligations: Obligations::none() };
    assert_eq!(rulings, [&Ruling::NotApproved, &not_granted, &permitted, &Ruling::Repeated]);
    assert_eq!(permit.targets(), [TargetId(2)]);
    assert_eq!(
        permit.verdicts()[1].ruling.to_string(),
        "`stored_state` at `$.store` needs `keep_state`, which the endpoint is not granted"
    );
    assert_eq!(permit.verdicts()[2].ruling.to_string(), "permitted by `approved-targets`, `granted-state`");
}

#[test]
fn every_candidate_has_its_verdict_in_the_denial() {
    let denial = ask(&[], &[candidate(0, false, NO_GRANTS), candidate(1, false, NO_GRANTS)]).unwrap_err();

    let names: Vec<&str> = denial.verdicts().iter().map(|verdict| &*verdict.name).collect();
    assert_eq!(names, ["endpoint-0/model", "endpoint-1/model"]);
}

/// All 2 x 8 x 8 cases of one candidate: approval, grants, and which of the three kinds were found.
#[test]
fn a_target_is_in_exactly_when_it_is_approved_and_granted_every_action_that_was_found() {
    let kinds = [FindingKind::StoredState, FindingKind::RemoteUrl, FindingKind::HostedTool("mcp".into())];
    for bits in 0..128_u32 {
        let approved = bits & 64 != 0;
        let granted = |index: usize| bits & (1 << index) != 0;
        let found = |index: usize| bits & (8 << index) != 0;
        let grants = Action::ALL
            .into_iter()
            .enumerate()
            .filter(|(index, _)| granted(*index))
            .fold(NO_GRANTS, |grants, (_, action)| grants.with(action));
        let findings: Vec<Finding> = (0..3).filter(|i| found(*i)).map(|i| finding(kinds[i].clone(), "$.x")).collect();

        let answer = ask(&findings, &[candidate(0, approved, grants)]);

        let must_be_in = approved && (0..3).all(|index| granted(index) || !found(index));
        assert_eq!(answer.is_ok(), must_be_in, "case {bits:#b}");
    }
}

#[test]
fn an_action_is_found_by_the_name_it_has_in_the_configuration() {
    for action in Action::ALL {
        assert_eq!(Action::named(action.name()), Some(action));
    }
    assert_eq!(Action::named("fetch_everything"), None);
}

#[test]
fn what_is_withheld_is_out_and_the_rest_is_as_it_was() {
    let candidates = [candidate(0, true, NO_GRANTS), candidate(1, true, NO_GRANTS), candidate(2, false, NO_GRANTS)];
    let judge = Judge::of_grants(&candidates);
    let what: Arc<str> = "endpoint `endpoint-0`".into();
    let one = [(TargetId(0), Arc::clone(&what)), (TargetId(2), Arc::clone(&what))];
    let both = [(TargetId(0), Arc::clone(&what)), (TargetId(1), Arc::clone(&what))];
    let ask = |withheld| decide(&judge, &Question { withheld, ..Question::about("claims", "chat", &candidates) });

    let (permit, denial) = (ask(&one).unwrap(), ask(&both).unwrap_err());

    assert_eq!(permit.targets(), [TargetId(1)]);
    assert_eq!(permit.verdicts()[0].ruling, Ruling::Withheld(Arc::clone(&what)));
    assert_eq!(permit.verdicts()[2].ruling, Ruling::NotApproved, "what policy forbids is not said to be held back");
    assert_eq!(denial.cause(), &Cause::Withheld(what));
    assert_eq!(denial.cause().to_string(), "held back by an administrator: endpoint `endpoint-0`");
}

#[test]
fn an_open_grant_permits_what_policies_do_not_and_nothing_beyond_the_operation() {
    let candidates = [candidate(0, false, NO_GRANTS), candidate(1, true, NO_GRANTS), candidate(2, false, NO_GRANTS)];
    let judge = Judge::of_grants(&candidates);
    let grant: Arc<str> = "break-glass:sweden".into();
    let lifted = [(TargetId(0), Arc::clone(&grant)), (TargetId(1), Arc::clone(&grant))];
    let withheld = [(TargetId(0), Arc::from("endpoint `endpoint-0` is in quarantine"))];
    let findings: Findings = [finding(FindingKind::StoredState, "$.store")].into_iter().collect();
    let about = || Question { lifted: &lifted, ..Question::about("claims", "chat", &candidates) };

    let permit = decide(&judge, &about()).unwrap();
    let held = decide(&judge, &Question { withheld: &withheld, ..about() }).unwrap();
    let stored = decide(&judge, &Question { findings: &findings, ..about() }).unwrap_err();

    assert_eq!(permit.targets(), [TargetId(0), TargetId(1)]);
    assert_eq!(permit.verdicts()[0].ruling.to_string(), "permitted by `break-glass:sweden`");
    assert_eq!(permit.verdicts()[1].ruling.to_string(), "permitted by `approved-targets`", "policy comes first");
    assert_eq!(permit.verdicts()[2].ruling, Ruling::NotApproved);
    assert_eq!(held.targets(), [TargetId(1)], "what is withheld no grant brings back");
    assert!(matches!(stored.verdicts()[0].ruling, Ruling::NotGranted { .. }), "{stored}");
}
