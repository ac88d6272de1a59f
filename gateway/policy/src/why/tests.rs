use super::*;
use crate::facts::{Provenance, day_of};
use crate::question::Asker;
use crate::rules::Names;

fn countries(codes: &[&str]) -> Countries {
    codes.iter().map(|code| if *code == "ZZ" { Country::ANYWHERE } else { code.parse().unwrap() }).collect()
}

fn good() -> Facts {
    let here = countries(&["SE"]);
    let us = "US".parse().unwrap();
    Facts {
        processing: here.clone(),
        at_rest: here.clone(),
        access: here,
        operator: us,
        operator_parent: us,
        retention_days: 30,
        training: false,
        certifications: std::collections::BTreeSet::new(),
        provenance: Provenance::default(),
    }
}

fn cloud(facts: Facts) -> Candidate {
    let facts = Arc::new(facts);
    Candidate { reach: Reach::PrivateLink, facts, ..Candidate::new(TargetId(0), "cloud/model") }
}

struct Case<'a> {
    labels: &'a [&'a str],
    class: Class,
    purposes: &'a [&'a str],
}

impl Case<'_> {
    /// Why the policy of this id matches.
    fn why(&self, id: &str, candidate: &Candidate) -> Why {
        let zones = Zones::from([("EEA".to_owned(), countries(&["DE", "FR", "NO", "SE"]).into())]);
        let labels: Vec<Arc<str>> = self.labels.iter().map(|label| Arc::from(*label)).collect();
        let asker = Asker {
            name: "app".into(),
            team: "team".into(),
            purposes: self.purposes.iter().map(|purpose| (*purpose).to_owned()).collect(),
        };
        let data = Data { labels: &labels, labelled: true, class: self.class, purpose: None };
        let now = day_of("2027-01-01").unwrap();
        let question = Question { data, now, ..Question::about("app", "model", std::slice::from_ref(candidate)) };
        let rules = Rules::shipped(&Names::default()).unwrap();
        let mut all = why(&rules, (&zones, &asker), &question, candidate, &[id]).unwrap();
        assert_eq!(all.len(), 1);
        all.remove(0)
    }
}

const PERSONAL: Case<'_> = Case { labels: &["eu_personal"], class: Class::Internal, purposes: &[] };

#[test]
fn of_a_set_of_countries_only_those_outside_are_objected_to() {
    let candidate = cloud(Facts { processing: countries(&["CH", "DE", "NO", "US"]), ..good() });

    let why = PERSONAL.why("personal-data-processed-in-the-eea", &candidate);

    assert_eq!(why.objections, [Objection::Processing(countries(&["CH", "US"]))]);
    assert_eq!(why.because, [Because::Labelled("eu_personal".into())]);
    assert!(why.remedies.is_empty());
}

#[test]
fn everything_that_a_policy_objects_to_is_named() {
    let unknown = countries(&["ZZ"]);
    let candidate = cloud(Facts { processing: unknown.clone(), at_rest: Countries::default(), ..good() });

    let why = PERSONAL.why("unknown-place-is-no-place", &candidate);

    assert_eq!(why.objections, [Objection::Processing(unknown), Objection::AtRest(Countries::default())]);
    assert_eq!(why.because, [Because::Labelled("eu_personal".into())]);
}

#[test]
fn an_operator_and_its_parent_are_two_objections() {
    let special = Case { labels: &["eu_personal", "special_category"], ..PERSONAL };
    let us: Country = "US".parse().unwrap();

    let why = special.why("special-categories-under-no-third-country-law", &cloud(good()));

    assert_eq!(why.objections, [Objection::Operator(us), Objection::OperatorParent(us)]);
    assert_eq!(why.because, [Because::Labelled("special_category".into())]);
}

#[test]
fn where_one_of_several_changes_would_be_enough_each_is_a_remedy() {
    let health = Case { labels: &["health"], ..PERSONAL };

    let why = health.why("health-data-needs-the-certificate", &cloud(good()));

    let certificates = ["C5", "HDS", "HIPAA_BAA"].map(str::to_owned).to_vec();
    assert!(why.objections.is_empty());
    assert_eq!(why.remedies, [Objection::Certifications(certificates), Objection::NotOwnSite]);
}

#[test]
fn a_class_and_a_purpose_are_reasons_too() {
    let confidential = Case { labels: &[], class: Class::Confidential, ..PERSONAL };
    let bound = Case { labels: &[], purposes: &["answering"], ..PERSONAL };
    let public = Candidate { reach: Reach::Public, ..cloud(good()) };

    let link = confidential.why("confidential-data-needs-a-private-link", &public);
    let purpose = bound.why("only-registered-purposes", &public);

    assert_eq!(
        (link.objections, link.because),
        (vec![Objection::Reach(Reach::Public)], vec![Because::Class(Class::Confidential)])
    );
    assert_eq!((purpose.objections, purpose.because), (Vec::new(), vec![Because::Purpose(None)]));
}

#[test]
fn a_label_and_a_class_that_are_each_enough_are_both_named() {
    let both = Case { labels: &["payment"], class: Class::Confidential, purposes: &[] };

    let why = both.why("no-training-on-our-data", &cloud(Facts { training: true, ..good() }));

    assert_eq!(why.objections, [Objection::Training]);
    assert_eq!(why.because, [Because::Labelled("payment".into()), Because::Class(Class::Confidential)]);
}
