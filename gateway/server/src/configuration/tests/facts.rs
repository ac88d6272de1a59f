//! `[fact.ROW]` and the regions that it is about.

use super::super::{Compiled, LoadOptions, load_text};
use super::{changed, load_one, noted_of, options, said_of};

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

#[test]
fn countries_of_a_row_that_no_target_uses_are_announced_also_where_they_are_proposed() {
    let candidates = GERMANY.replace("[fact.", "[policy.candidate_facts.");

    for (facts, named) in [(GERMANY, "fact"), (&candidates, "policy.candidate_facts")] {
        let noted = noted_of(&world(&[], facts)).join("\n");

        let wanted = format!(
            "`{named}.bedrock-in-region.processing` is used by no target; name its region in `regions`, or leave it out"
        );
        assert!(noted.contains(&wanted), "{noted}");
    }
    let used = noted_of(&world(&["eu-central-1"], GERMANY)).join("\n");
    assert!(!used.contains("is used by no target"), "{used}");
}

/// It may tell that the deployment, or the one that it spills over to, is of a row that no target uses.
#[test]
fn a_region_about_which_a_control_plane_is_asked_is_not_called_unused() {
    let of = |region: &str, control: &str| {
        let row = format!(
            "[endpoint.azure]\nprovider = \"azure-openai\"\nurl = \"https://azure.corp.example\"\n\
             reach = {{ local = {{ within = [\"192.168.40.0/24\"] }} }}\nauth = {{ key = {{ env = \"CLOUD_KEY\" }} }}\n\
             place = {{ azure = {{ region = \"swedencentral\", sku = \"ProvisionedManaged\" }} }}\n{control}\
             [model.azure]\ntargets = [\"azure/m\"]\n\
             [fact.azure-standard]\nbecause = \"Microsoft, case 1234\"\n\
             regions = {{ {region} = {{ processing = [\"SE\", \"FI\"] }} }}\n[data.claims]"
        );
        let text = changed("[data.claims]", &row);
        let noted = noted_of(&text).into_iter().filter(|note| note.contains("is used by no target"));
        noted.collect::<Vec<String>>()
    };
    let account = "/subscriptions/8b1f0000-0000-4000-8000-000000000000/resourceGroups/ai/providers/\
                   Microsoft.CognitiveServices/accounts/contoso";
    let asked = format!("control = {{ azure = {{ host = \"arm\", account = \"{account}\" }} }}\n{CONTROL}");

    assert_eq!(of("swedencentral", &asked), Vec::<String>::new());
    let elsewhere = of("francecentral", &asked).join("\n");
    assert!(elsewhere.contains("`[fact.azure-standard.regions.francecentral]` is used by no target"), "{elsewhere}");
    let unasked = of("swedencentral", "").join("\n");
    assert!(unasked.contains("`[fact.azure-standard.regions.swedencentral]` is used by no target"), "{unasked}");
    assert!(unasked.contains("`[fact.azure-standard]` is used by no target"), "{unasked}");
}

const CONTROL: &str = "[identity.entra]\nurl = \"https://login.microsoftonline.com\"\nreach = { public = {} }\n\
                       [control.arm]\nurl = \"https://management.azure.com\"\nreach = { public = {} }\n\
                       auth = { workload-identity = { identity = \"entra\", tenant = \"contoso.example\", client = \
                       \"6a5b2c1d-3e4f-4a5b-8c7d-9e0f1a2b3c4d\", token_file = \"/var/run/token\" } }\n";

#[test]
fn a_region_that_takes_countries_over_shows_both_reasons_and_each_once() {
    let facts = "[fact.bedrock-in-region]\nprocessing = [\"DE\"]\nat_rest = [\"DE\"]\nbecause = \"letter A of AWS\"\n\
                 [fact.bedrock-in-region.regions.eu-central-1]\ntraining = false\nbecause = \"terms B of 2026\"\n";

    let compiled = load_one(&world(&["eu-central-1"], facts)).unwrap();

    assert_eq!(
        processed(&compiled, "eu-central-1"),
        "DE; row `bedrock-in-region` overridden for eu-central-1, because terms B of 2026; letter A of AWS"
    );
}

const SOVEREIGN: &str = "[fact.bedrock-eusc]\nbecause = \"audit report 2026-77, section 4\"\n\
    [fact.bedrock-eusc.regions.eusc-de-east-1]\noperator_parent = \"DE\"\ncertifications = [\"C5\"]\n";

#[test]
fn whose_law_an_operator_answers_to_is_said_of_one_region_with_a_reason() {
    let compiled = load_one(&world(&["eusc-de-east-1"], SOVEREIGN)).unwrap();

    let target = compiled.targets.iter().find(|target| target.name == "eusc-de-east-1/m").unwrap();
    let facts = &target.facts;
    assert_eq!((facts.operator.to_string(), facts.operator_parent.to_string()), ("DE".to_owned(), "DE".to_owned()));
    assert!(facts.certifications.contains("C5"), "{facts:?}");
    assert_eq!(
        facts.provenance.statements,
        ["row `bedrock-eusc` overridden for eusc-de-east-1, because audit report 2026-77, section 4"]
    );
}

#[test]
fn a_law_of_all_regions_a_country_that_there_is_none_of_and_a_short_reason_are_mistakes() {
    let of = |facts: &str| said_of(&world(&["eusc-de-east-1"], facts)).join("\n");

    let everywhere = of("[fact.bedrock-eusc]\noperator_parent = \"DE\"\nbecause = \"audit report 2026-77\"\n");
    let country = of(&SOVEREIGN.replace("operator_parent = \"DE\"", "operator = \"EU\""));
    let anywhere = of(&SOVEREIGN.replace("operator_parent = \"DE\"", "operator = \"ZZ\""));
    let twice = of(&SOVEREIGN.replace("[\"C5\"]", "[\"C5\", \"C5\", \" \"]"));
    let reason = of(&SOVEREIGN.replace("audit report 2026-77, section 4", "ask me"));

    assert!(
        everywhere.contains("`fact.bedrock-eusc.operator_parent`: the row says something else of each region"),
        "{everywhere}"
    );
    assert!(everywhere.contains("in `[fact.bedrock-eusc.regions.REGION]`"), "{everywhere}");
    for (said, code) in [(country, "`EU`"), (anywhere, "`ZZ`")] {
        assert!(said.contains(&format!("operator`: {code} is no country")), "{said}");
    }
    assert!(twice.contains("lists `C5` twice") && twice.contains("names no certificate"), "{twice}");
    assert!(reason.contains("which is no reason"), "{reason}");
}

/// A document at a day, with groups that are extended.
fn at(day: &str, groups: &str) -> (Result<Compiled, String>, Vec<String>) {
    let own = "[site.here]\ncountry = \"DE\"\n[endpoint.own]\nprovider = \"openai\"\nurl = \"http://own.corp.example:8000/v1\"\n\
        reach = { local = { within = [\"192.168.40.0/24\"] } }\nplace = { site = \"here\" }\n[model.own]\ntargets = [\"own/m\"]\n";
    let text = changed("[data.claims]", &format!("{own}{groups}\n[data.claims]"));
    let options = LoadOptions { now: policy::day_of(day).unwrap(), ..options() };
    match load_text([("/etc/causeway/gateway.toml".into(), text)], &options) {
        Ok(compiled) => {
            let notes = compiled.notes.iter().map(ToString::to_string).filter(|note| note.contains("group `"));
            let notes = notes.collect();
            (Ok(compiled), notes)
        }
        Err(mistakes) => (Err(mistakes.to_string()), Vec::new()),
    }
}

const EXTENDED: &str = "[group.EEA]\nextended_until = 2028-06-30\nby = \"J. Doe, data protection\"\n\
    because = \"the treaty was read again on 3 October\"\n";

#[test]
fn a_group_that_policies_ask_about_is_announced_before_it_runs_out_and_then_it_is_nobodys() {
    let is_known = |day: &str, groups: &str| {
        let compiled = at(day, groups).0.unwrap();
        let judge = crate::outlook::judge(&compiled).unwrap();
        let candidates: Vec<_> =
            (0..compiled.targets.len()).map(|index| crate::outlook::candidate(&compiled, index)).collect();
        let own = candidates.iter().find(|candidate| candidate.own_site).unwrap();
        let labels = ["eu_personal".into()];
        let data = policy::Data { labels: &labels, labelled: true, class: policy::Class::Internal, purpose: None };
        let about = policy::Question::about("claims", "chat-large", std::slice::from_ref(own));
        policy::decide(&judge, &policy::Question { data, now: policy::day_of(day).unwrap(), ..about }).is_ok()
    };

    let said = |day: &str| at(day, "").1.join("\n");
    assert!(!said("2027-10-01").contains("runs out"), "{}", said("2027-10-01"));
    assert!(said("2027-11-01").contains("group `EEA` of the data pack runs out in 22 days, and counts as unknown"));
    assert!(said("2027-11-13").contains("in 10 days, soon, and counts"), "{}", said("2027-11-13"));
    assert!(said("2027-11-21").contains("in 2 days, very soon, and counts"));
    assert!(said("2027-11-23").contains("has run out and counts as unknown; policies that ask about it deny then"));
    assert!(!said("2027-11-23").contains("`EFTA`"), "no policy asks about it");
    assert!(is_known("2027-11-22", "") && !is_known("2027-11-23", ""));
    assert!(is_known("2028-06-29", EXTENDED) && !is_known("2028-06-30", EXTENDED));
}

#[test]
fn a_group_that_is_extended_shows_beside_every_target() {
    let (compiled, notes) = at("2027-12-01", EXTENDED);
    let compiled = compiled.unwrap();

    let said =
        "group `EEA` extended to 2028-06-30 by J. Doe, data protection, because the treaty was read again on 3 October";
    for target in &compiled.targets {
        assert!(target.facts.provenance.statements.iter().any(|statement| statement == said), "{target:?}");
    }
    assert!(!notes.iter().any(|note| note.contains("`EEA`")), "{notes:?}");
    let endings = crate::endings::endings(&compiled);
    assert!(endings.iter().any(|ending| ending.to_string() == "group `EEA` of the data pack"), "{endings:?}");
}

#[test]
fn an_extension_of_a_group_takes_a_group_a_day_a_person_and_a_reason() {
    let of = |from: &str, to: &str| at("2027-12-01", &EXTENDED.replace(from, to)).0.unwrap_err();

    for (from, to, said) in [
        ("group.EEA", "group.EEE", "`EEE` is no group of countries of the data pack; did you mean `EEA`?"),
        ("2028-06-30", "\"soon\"", "`group.EEA.extended_until` is `soon`, which is no date"),
        ("J. Doe, data protection", " ", "`group.EEA.by` names nobody"),
        ("the treaty was read again on 3 October", "it is so", "which is no reason"),
    ] {
        assert!(of(from, to).contains(said), "{said}: {}", of(from, to));
    }
}
