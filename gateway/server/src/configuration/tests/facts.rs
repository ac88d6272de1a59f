//! `[fact.ROW]` and the regions that it is about.

use super::super::Compiled;
use super::{changed, load_one, noted_of, said_of};

/// An endpoint of Bedrock in each region, with one model each, and these facts.
fn world(regions: &[&str], facts: &str) -> String {
    let endpoint = |region: &&str| {
        format!(
            "[endpoint.{region}]\nprovider = \"openai\"\nurl = \"http://{region}.corp.example:8000/v1\"\n\
             reach = {{ local = {{ within = [\"192.168.40.0/24\"] }} }}\nplace = {{ bedrock = {{ region = \"{region}\" }} }}\n\
             [model.at-{region}]\ntargets = [\"{region}/m\"]\n"
        )
    };
    let endpoints: String = regions.iter().map(endpoint).collect();
    changed("[data.claims]", &format!("{endpoints}\n{facts}\n[data.claims]"))
}

fn processed(compiled: &Compiled, region: &str) -> String {
    let target = compiled.targets.iter().find(|target| target.name == format!("{region}/m")).unwrap();
    format!("{}; {}", target.facts.processing, target.facts.provenance.statements.join("; "))
}

const GERMANY: &str = "[fact.bedrock-in-region]\nprocessing = [\"DE\"]\nbecause = \"AWS support, case 1234\"\n";

#[test]
fn a_fact_that_names_no_region_is_about_the_only_one_that_is_used() {
    let compiled = load_one(&world(&["eu-central-1"], GERMANY)).unwrap();

    assert_eq!(
        processed(&compiled, "eu-central-1"),
        "DE; row `bedrock-in-region` overridden for eu-central-1, because AWS support, case 1234"
    );
    // Whatever comes later, or is told by somebody else, finds the row as it stands in the pack.
    let adjustment = &compiled.policy.adjustments["bedrock-in-region"];
    assert!(adjustment.everywhere.is_nothing() && adjustment.regions.len() == 1, "{adjustment:?}");
}

#[test]
fn a_second_region_makes_a_fact_that_names_none_a_mistake() {
    let said = said_of(&world(&["eu-central-1", "eu-west-3"], GERMANY));

    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("targets of 2 use it: `eu-central-1` (`eu-central-1/m`), `eu-west-3`"), "{said:?}");
    assert!(said[0].ends_with("in `[fact.bedrock-in-region.regions.eu-central-1]`"), "{said:?}");
}

#[test]
fn each_region_may_have_its_own_and_what_is_said_above_is_for_the_others() {
    let regions = "[fact.bedrock-in-region.regions.eu-central-1]\nprocessing = [\"DE\"]\n\
                   [fact.bedrock-in-region.regions.eu-west-1]\nprocessing = [\"IE\", \"GB\"]\nbecause = \"another case, 99\"\n";
    let france = GERMANY.replace("DE", "FR");
    let compiled =
        load_one(&world(&["eu-central-1", "eu-west-1", "eu-west-3"], &format!("{france}{regions}"))).unwrap();

    let of = |region, countries: &str, because: &str| {
        let said = format!("{countries}; row `bedrock-in-region` overridden for {region}, because {because}");
        assert_eq!(processed(&compiled, region), said);
    };
    of("eu-central-1", "DE", "AWS support, case 1234");
    of("eu-west-1", "GB, IE", "another case, 99");
    of("eu-west-3", "FR", "AWS support, case 1234");
}

#[test]
fn a_fact_that_takes_no_country_away_may_be_about_several_regions() {
    let wide = GERMANY.replace("[\"DE\"]", "[\"EU\", \"GR\", \"TR\", \"MA\"]");
    let compiled = load_one(&world(&["eu-central-1", "eu-west-3"], &wide)).unwrap();

    for region in ["eu-central-1", "eu-west-3"] {
        assert!(processed(&compiled, region).contains("MA, MT"), "{}", processed(&compiled, region));
    }
}

#[test]
fn candidate_facts_are_held_to_the_same() {
    let facts = GERMANY.replace("[fact.", "[policy.candidate_facts.");

    let said = said_of(&world(&["eu-central-1", "eu-west-3"], &facts));
    let one = load_one(&world(&["eu-central-1"], &facts)).unwrap();

    assert!(said.len() == 1 && said[0].contains("`policy.candidate_facts.bedrock-in-region.processing`"), "{said:?}");
    let target = one.targets.iter().find(|target| target.name == "eu-central-1/m").unwrap();
    assert_eq!(target.facts.processing.to_string(), "DE, GR, PL, TR");
    assert_eq!(target.candidate_facts.as_ref().unwrap().processing.to_string(), "DE");
}

#[test]
fn what_is_said_of_a_region_that_nobody_calls_and_above_regions_that_all_have_their_own_is_announced() {
    let regions = "[fact.bedrock-in-region.regions.eu-central-1]\nprocessing = [\"DE\", \"PL\"]\n\
                   [fact.bedrock-in-region.regions.eu-west-3]\nprocessing = [\"FR\"]\n";

    let noted = noted_of(&world(&["eu-central-1"], &format!("{GERMANY}{regions}"))).join("\n");

    assert!(noted.contains("`fact.bedrock-in-region.processing` has no effect"), "{noted}");
    assert!(noted.contains("`[fact.bedrock-in-region.regions.eu-west-3]` is used by no target"), "{noted}");
}
