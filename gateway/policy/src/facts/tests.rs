use super::*;

fn pack() -> Pack {
    shipped(PackFiles::SHIPPED).unwrap()
}

/// The manifest's own hashes are compared by whoever has a hash function; here every file is taken as named.
fn shipped(files: PackFiles<'_>) -> Result<Pack, PackError> {
    let manifest: serde_json::Value = serde_json::from_str(files.manifest).unwrap();
    let known = [(files.regions, "regions.json"), (files.groups, "groups.json"), (files.places, "places.json")];
    let hash = |text: &str| {
        let (_, name) = known.iter().find(|(known, _)| *known == text).unwrap();
        manifest["files"][*name].as_str().unwrap().to_owned()
    };
    Pack::read(&files, hash)
}

fn facts(place: &Place, model: &str) -> Facts {
    pack().facts(place, model, &Adjustments::new()).unwrap()
}

fn azure(region: &str, sku: &str) -> Place {
    Place::Azure { region: region.into(), sku: sku.into() }
}

fn bedrock(region: &str, profile: Option<&str>) -> Place {
    Place::Bedrock { region: region.into(), profile: profile.map(str::to_owned) }
}

fn countries(codes: &[&str]) -> Countries {
    codes.iter().map(|code| code.parse().unwrap()).collect()
}

fn inside_eea(countries: &Countries) -> bool {
    !countries.is_unknown() && countries.0.iter().all(|country| pack().is_in(*country, "EEA"))
}

#[test]
fn azure_standard_in_sweden_stays_in_sweden_and_is_read_from_the_eea() {
    let facts = facts(&azure("swedencentral", "Standard"), "gpt-4o");

    assert_eq!(facts.processing.to_string(), "SE");
    assert_eq!(facts.at_rest.to_string(), "SE");
    assert!(inside_eea(&facts.access), "{}", facts.access);
    assert_eq!((facts.operator.code(), facts.retention_days, facts.training), ("US", 30, false));
}

#[test]
fn azure_standard_counts_the_whole_geography() {
    assert_eq!(facts(&azure("westeurope", "Standard"), "gpt-4o").processing.to_string(), "IE, NL");
}

#[test]
fn an_azure_global_deployment_in_sweden_processes_anywhere() {
    let facts = facts(&azure("swedencentral", "GlobalStandard"), "gpt-4o");

    assert!(facts.processing.is_unknown());
    assert_eq!(facts.at_rest.to_string(), "SE");
}

#[test]
fn an_azure_data_zone_of_europe_includes_norway_and_switzerland() {
    let facts = facts(&azure("swedencentral", "DataZoneStandard"), "gpt-4o");

    let has = |code: &str| facts.processing.0.contains(&code.parse().unwrap());
    assert!(has("NO") && has("CH") && has("PL"));
    assert!(!inside_eea(&facts.processing));
    assert!(!facts.provenance.doubts.is_empty());
}

#[test]
fn a_data_zone_of_no_known_zone_is_unknown() {
    assert!(facts(&azure("japaneast", "DataZoneStandard"), "gpt-4o").processing.is_unknown());
}

#[test]
fn what_calls_itself_claude_at_azure_is_held_to_the_rows_of_anthropic() {
    let facts = facts(&azure("swedencentral", "GlobalStandard"), "claude-sonnet-4-5");

    assert_eq!(facts.provenance.rows, ["foundry-claude"]);
    assert!(facts.at_rest.is_unknown());
}

#[test]
fn a_bedrock_profile_of_europe_includes_london_and_zurich() {
    let facts = facts(&bedrock("eu-central-1", Some("eu")), "anthropic.claude-sonnet-4-5");

    let has = |code: &str| facts.processing.0.contains(&code.parse().unwrap());
    assert!(has("GB") && has("CH") && has("DE"));
}

#[test]
fn a_bedrock_profile_is_told_from_the_models_id_where_the_place_names_none() {
    let told = facts(&bedrock("eu-central-1", None), "eu.anthropic.claude-sonnet-4-5");

    assert_eq!(told.provenance.rows, ["bedrock-eu"]);
    assert_eq!(facts(&bedrock("eu-central-1", None), "anthropic.claude-3").provenance.rows, ["bedrock-in-region"]);
}

#[test]
fn a_model_that_is_called_in_its_region_may_be_served_out_of_the_regions_local_zones() {
    for (region, countries, is_inside) in [
        ("eu-central-1", "DE, GR, PL, TR", false), // Istanbul
        ("eu-north-1", "DK, FI, SE", true),
        ("eu-west-1", "IE", true),
        ("us-east-1", "AR, CL, MX, PE, US", false),
        ("eusc-de-east-1", "BE, DE, NL, PT", true),
    ] {
        let facts = facts(&bedrock(region, None), "anthropic.claude-sonnet-4-5");

        assert_eq!((facts.processing.to_string(), facts.at_rest.to_string()), (countries.into(), countries.into()));
        assert_eq!(inside_eea(&facts.processing), is_inside, "{region}");
        assert!(facts.provenance.doubts[0].contains("Local Zone"), "{:?}", facts.provenance.doubts);
    }
}

#[test]
fn a_profile_may_be_served_out_of_the_local_zones_of_the_regions_that_it_sends_to() {
    for (profile, regions) in [
        ("eu", &["eu-central-1", "eu-north-1", "eu-west-3"][..]),
        ("us", &["us-east-1", "us-west-2"]),
        ("jp", &["ap-northeast-1", "ap-northeast-3"]),
        ("au", &["ap-southeast-2", "ap-southeast-4"]),
        ("apac", &["ap-northeast-1", "ap-southeast-1", "ap-southeast-2", "ap-south-1"]),
    ] {
        let whole = facts(&bedrock(regions[0], Some(profile)), "m").processing;

        for region in regions {
            let own = facts(&bedrock(region, None), "m").processing;
            assert!(own.0.is_subset(&whole.0), "{profile}: {own} of {region} is not in {whole}");
        }
    }
}

#[test]
fn a_geography_that_the_pack_does_not_know_and_a_prompt_router_are_nowhere() {
    for model in [
        "ca.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "kr.zai.glm-4.6",
        "arn:aws:bedrock:ca-central-1:123456789012:inference-profile/ca.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "arn:aws:bedrock:eu-central-1:123456789012:default-prompt-router/anthropic.claude:1",
        "arn:aws:bedrock:eu-central-1:123456789012:prompt-router/r1234567890",
    ] {
        assert!(facts(&bedrock("eu-north-1", None), model).processing.is_unknown(), "{model}");
    }
    for model in [
        "zai.glm-4.6",
        "qwen.qwen3.5-coder",
        "meta.llama3-1-8b-instruct-v1:0",
        "llama",
        "arn:aws:bedrock:eu-north-1:123456789012:provisioned-model/abc123",
        "arn:aws:bedrock:eu-north-1::foundation-model/amazon.nova-lite-v1:0",
    ] {
        assert_eq!(facts(&bedrock("eu-north-1", None), model).processing.to_string(), "DK, FI, SE", "{model}");
    }
}

#[test]
fn a_bedrock_profile_that_differs_from_the_models_id_takes_the_worst_of_both() {
    let facts = facts(&bedrock("eu-central-1", Some("eu")), "us.anthropic.claude-sonnet-4-5");

    let has = |code: &str| facts.processing.0.contains(&code.parse().unwrap());
    assert!(has("US") && has("DE"));
}

#[test]
fn an_application_profile_hides_where_it_goes() {
    let arn = "arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/abc123";

    assert!(facts(&bedrock("eu-central-1", Some(arn)), "x").processing.is_unknown());
}

#[test]
fn the_european_sovereign_cloud_has_a_german_operator_and_a_parent_in_the_united_states() {
    let facts = facts(&bedrock("eusc-de-east-1", None), "anthropic.claude-sonnet-4-5");

    assert_eq!((facts.operator.code(), facts.operator_parent.code()), ("DE", "US"));
    assert!(inside_eea(&facts.processing) && inside_eea(&facts.at_rest) && inside_eea(&facts.access));
}

#[test]
fn vertex_guarantees_a_place_for_models_in_its_table_only() {
    for location in ["global", "europe-west1", "europe-west3", "eu"] {
        let place = Place::Vertex { location: location.into(), model: None };

        assert!(facts(&place, "gemini-3-pro").processing.is_unknown(), "{location}");
    }
}

#[test]
fn vertex_guarantees_the_region_of_a_model_that_its_table_ticks_and_says_how_the_table_was_read() {
    let at = |location: &str, model: &str| facts(&Place::Vertex { location: location.into(), model: None }, model);

    assert_eq!(at("europe-west2", "gemini-3.5-flash").processing.to_string(), "GB");
    assert!(inside_eea(&at("eu", "gemini-2.5-pro").processing));
    let doubts = at("europe-west2", "gemini-3.5-flash").provenance.doubts;
    assert!(doubts.iter().any(|doubt| doubt.contains("public copy of the page")), "{doubts:?}");
    // Listed for short prompts alone, or not at all.
    for (location, model) in
        [("europe-west3", "gemini-2.5-flash"), ("europe-west4", "gemini-2.5-pro"), ("europe-west3", "gemini-3.5-flash")]
    {
        assert!(at(location, model).processing.is_unknown(), "{model} in {location}");
    }
    // People may read from anywhere, so the shipped policies keep personal data away from it all the same.
    assert!(at("eu", "gemini-2.5-pro").access.is_unknown());
}

#[test]
fn a_code_that_looks_european_may_lie_elsewhere() {
    for (region, country) in [("eu-west-2", "GB"), ("eu-central-2", "CH"), ("eu-west-1", "IE")] {
        assert_eq!(facts(&bedrock(region, None), "amazon.nova").processing.to_string(), country);
    }
}

#[test]
fn openai_in_europe_is_the_eea_and_switzerland() {
    let facts = facts(&Place::OpenAi { project_region: "eu".into() }, "gpt-5");

    assert!(facts.processing.0.contains(&"CH".parse().unwrap()));
    assert_eq!(facts.processing.0.len(), 31);
}

#[test]
fn an_unknown_region_sku_or_profile_names_what_there_is() {
    let none = Adjustments::new();

    let region = pack().facts(&azure("swedencentrl", "Standard"), "m", &none).unwrap_err();
    let sku = pack().facts(&azure("swedencentral", "standard"), "m", &none).unwrap_err();
    let profile = pack().facts(&bedrock("eu-central-1", Some("emea")), "m", &none).unwrap_err();

    assert!(matches!(region, PlaceError::Region { known, .. } if known.iter().any(|one| one == "swedencentral")));
    assert!(matches!(sku, PlaceError::Offer { what: "sku", known, .. } if known.contains(&"Standard".to_owned())));
    assert!(matches!(profile, PlaceError::Offer { what: "profile", .. }));
}

#[test]
fn facts_that_have_run_out_count_as_unknown() {
    let facts = facts(&azure("swedencentral", "Standard"), "gpt-4o");
    let end = facts.provenance.valid_until.unwrap();

    assert_eq!(facts.at(end - std::time::Duration::from_millis(1)).processing.to_string(), "SE");
    assert!(facts.at(end).processing.is_unknown() && facts.at(end).training);
}

#[test]
fn an_override_replaces_what_it_names_and_shows() {
    let mine = Change {
        processing: Some(countries(&["DE", "FR"])),
        because: "GetInferenceProfile lists Frankfurt and Paris alone".into(),
        ..Change::default()
    };
    let mine = Adjustment { everywhere: mine, ..Adjustment::default() };
    let adjustments = Adjustments::from([("bedrock-eu".to_owned(), mine)]);

    let facts = pack().facts(&bedrock("eu-central-1", Some("eu")), "m", &adjustments).unwrap();

    assert_eq!(facts.processing.to_string(), "DE, FR");
    assert!(facts.at_rest.0.contains(&"GB".parse().unwrap()), "what it does not name stays");
    assert_eq!(
        facts.provenance.statements,
        ["row `bedrock-eu` overridden, because GetInferenceProfile lists Frankfurt and Paris alone"]
    );
}

#[test]
fn whose_law_an_operator_answers_to_and_what_it_is_certified_for_can_be_said_otherwise() {
    let of = |change: Change| {
        let mine = Change { because: "audit report 2026-77, section 4".into(), ..change };
        let mine = Adjustment { regions: [("eusc-de-east-1".to_owned(), mine)].into(), ..Adjustment::default() };
        let adjustments = Adjustments::from([("bedrock-eusc".to_owned(), mine)]);
        let facts = pack().facts(&bedrock("eusc-de-east-1", None), "m", &adjustments).unwrap();
        let certificates: Vec<String> = facts.certifications.iter().cloned().collect();
        (
            facts.operator.to_string(),
            facts.operator_parent.to_string(),
            certificates.join(" "),
            facts.provenance.statements,
        )
    };
    let country = |code: &str| Some(code.parse::<Country>().unwrap());

    let (operator, parent, _, none) = of(Change::default());
    assert_eq!((operator.as_str(), parent.as_str()), ("DE", "US"), "as the pack says it");
    assert!(none[0].contains("overridden for eusc-de-east-1"), "{none:?}");
    let (operator, parent, _, _) = of(Change { operator: country("FR"), ..Change::default() });
    assert_eq!((operator.as_str(), parent.as_str()), ("FR", "US"), "another operator frees nobody of the parent");
    let (operator, parent, certificates, statements) = of(Change {
        operator_parent: country("DE"),
        certifications: Some(["C5".to_owned(), "HDS".to_owned()].into()),
        ..Change::default()
    });
    assert_eq!((operator.as_str(), parent.as_str(), certificates.as_str()), ("DE", "DE", "C5 HDS"));
    assert_eq!(
        statements,
        ["row `bedrock-eusc` overridden for eusc-de-east-1, because audit report 2026-77, section 4"]
    );
}

#[test]
fn what_is_said_of_one_region_is_used_for_no_other() {
    let mine = Change {
        processing: Some(countries(&["DE"])),
        because: "AWS support, case 1234: no Local Zone serves the account".into(),
        ..Change::default()
    };
    let everywhere = Change { training: Some(false), because: "the service terms".into(), ..Change::default() };
    let regions = [("eu-central-1".to_owned(), mine)].into();
    let adjustment = Adjustment { everywhere, regions, extension: None };
    let adjustments = Adjustments::from([("bedrock-in-region".to_owned(), adjustment)]);
    let of = |region| pack().facts(&bedrock(region, None), "m", &adjustments).unwrap();

    let (frankfurt, paris) = (of("eu-central-1"), of("eu-west-3"));

    assert_eq!((frankfurt.processing.to_string().as_str(), frankfurt.training), ("DE", false));
    assert_eq!((paris.processing.to_string().as_str(), paris.training), ("FR, MA", false));
    let of_all = "row `bedrock-in-region` overridden, because the service terms";
    let of_one = "row `bedrock-in-region` overridden for eu-central-1, because AWS support, case 1234: no Local Zone \
                  serves the account";
    assert_eq!(frankfurt.provenance.statements, [of_all, of_one]);
    assert_eq!(paris.provenance.statements, [of_all]);
}

#[test]
fn a_control_plane_that_tells_of_another_region_is_not_believed_what_was_said_of_the_first() {
    let mine = Change { at_rest: Some(countries(&["NL"])), because: "a letter".into(), ..Change::default() };
    let mine = Adjustment { regions: [("westeurope".to_owned(), mine)].into(), ..Adjustment::default() };
    let adjustments = Adjustments::from([("azure-standard".to_owned(), mine)]);
    let declared = pack().facts(&azure("westeurope", "Standard"), "gpt-4o", &adjustments).unwrap();
    let said = |location| {
        let echo = Echo::AzureDeployment { sku: "Standard", location, model: "gpt-4o", adjustments: &adjustments };
        pack().compare(&declared, echo)
    };

    assert_eq!(declared.at_rest.to_string(), "NL");
    assert_eq!(said("westeurope"), Ok(()));
    assert_eq!(said("northeurope").unwrap_err().said.to_string(), "IE, NL");
}

#[test]
fn a_column_depends_on_the_region_where_a_rule_stands_and_not_a_list() {
    let pack = pack();
    let row = |id: &str| pack.rows().iter().find(|row| row.id == id).unwrap();
    let depends = |id: &str| Column::ALL.map(|column| pack.is_by_region(row(id), column));

    assert_eq!(depends("bedrock-in-region"), [true, true, false]);
    assert_eq!(depends("azure-standard"), [true; 3]);
    assert_eq!(depends("azure-global-standard"), [false, true, true]);
    assert_eq!(depends("bedrock-eu"), [false; 3]);
    assert!(pack.regions_of(row("vertex-listed")).contains(&"europe-west4"));
    for without in ["openai-eu", "mistral-eu", "vertex-eu"] {
        assert!(pack.regions_of(row(without)).is_empty(), "{without}");
    }
    let narrower = |region, codes: &[&str]| {
        pack.is_narrower(row("bedrock-in-region"), Column::Processing, (region, &countries(codes)))
    };
    assert!(narrower("eu-central-1", &["DE"]) && !narrower("eu-west-1", &["IE", "GB"]));
}

#[test]
fn an_extension_moves_the_end_and_names_who_did_it() {
    let until = day_of("2099-01-01").unwrap();
    let extension = Extension { until, written: "2099-01-01".into(), by: "J. Doe".into() };
    let because = Change { because: "read again today".into(), ..Change::default() };
    let mine = Adjustment { extension: Some(extension), everywhere: because, ..Adjustment::default() };

    let facts = pack()
        .facts(&azure("swedencentral", "Standard"), "m", &Adjustments::from([("azure-standard".to_owned(), mine)]))
        .unwrap();

    assert_eq!(facts.provenance.valid_until, Some(until));
    assert!(facts.provenance.statements[0].contains("extended to 2099-01-01 by J. Doe"));
}

#[test]
fn a_pack_with_another_hash_is_refused() {
    let wrong = Pack::read(&PackFiles::SHIPPED, |_| "0".repeat(64)).unwrap_err();

    assert!(matches!(wrong, PackError::Hash { file, .. } if file == "regions.json"));
}

#[test]
fn a_pack_with_a_country_that_does_not_exist_is_refused() {
    let regions = PackFiles::SHIPPED.regions.replace("\"country\": \"SE\"", "\"country\": \"SW\"");
    let files = PackFiles { regions: &regions, ..PackFiles::SHIPPED };

    let wrong = shipped(files).unwrap_err();

    assert!(wrong.to_string().contains("`SW` is no country"), "{wrong}");
}

#[test]
fn a_pack_of_another_format_or_with_a_word_too_many_is_refused() {
    let places = PackFiles::SHIPPED.places.replacen("\"format\": 1", "\"format\": 2", 1);
    let newer = shipped(PackFiles { places: &places, ..PackFiles::SHIPPED }).unwrap_err();
    let groups = PackFiles::SHIPPED.groups.replacen("\"format\": 1", "\"format\": 1, \"more\": 1", 1);
    let more = shipped(PackFiles { groups: &groups, ..PackFiles::SHIPPED }).unwrap_err();

    assert!(matches!(newer, PackError::Format { found: 2, .. }), "{newer}");
    assert!(matches!(more, PackError::Form { file: "groups.json", .. }), "{more}");
}

#[test]
fn no_group_of_countries_holds_anywhere() {
    for (name, group) in pack().groups() {
        assert!(!group.is_unknown(), "{name}");
    }
}

#[test]
fn a_control_plane_that_tells_of_a_narrower_place_contradicts_nothing_and_of_a_wider_one_does() {
    let none = Adjustments::new();
    let zone = facts(&azure("swedencentral", "DataZoneStandard"), "gpt-4o");
    let said = |sku, location| {
        pack().compare(&zone, Echo::AzureDeployment { sku, location, model: "gpt-4o", adjustments: &none })
    };

    assert_eq!(said("DataZoneStandard", "Sweden Central"), Ok(()));
    let global = said("GlobalStandard", "swedencentral").unwrap_err().to_string();
    assert!(global.starts_with("it says `GlobalStandard in swedencentral`, which is anywhere"), "{global}");
    let american = said("DataZoneStandard", "eastus").unwrap_err();
    assert_eq!((american.said.to_string().as_str(), american.what), ("US", "process"));
}

#[test]
fn a_deployment_that_keeps_its_data_elsewhere_contradicts_though_it_processes_where_it_was_declared() {
    let none = Adjustments::new();
    let declared = facts(&azure("swedencentral", "DataZoneStandard"), "gpt-4o");
    let echo = Echo::AzureDeployment {
        sku: "DataZoneStandard",
        location: "germanywestcentral",
        model: "gpt-4o",
        adjustments: &none,
    };

    let drift = pack().compare(&declared, echo).unwrap_err();

    assert_eq!((drift.what, drift.said.to_string().as_str()), ("keep data", "DE"), "{drift}");
}

#[test]
fn an_answer_by_another_deployment_counts_as_what_is_declared_of_that_one_and_else_as_anywhere() {
    let declared = facts(&azure("swedencentral", "ProvisionedManaged"), "ptu");
    let said = |facts: Option<&Facts>| {
        pack()
            .compare(&declared, Echo::AzureServedBy { deployment: "overflow", facts })
            .map_err(|drift| drift.to_string())
    };

    assert_eq!(said(Some(&facts(&azure("swedencentral", "Standard"), "overflow"))), Ok(()));
    let global = said(Some(&facts(&azure("swedencentral", "GlobalStandard"), "overflow"))).unwrap_err();
    assert!(global.starts_with("it says `overflow`, which is anywhere"), "{global}");
    let unknown = said(None).unwrap_err();
    assert!(
        unknown.contains("`overflow, a deployment that no target at its URL names`, which is anywhere"),
        "{unknown}"
    );
}

#[test]
fn the_regions_of_a_profile_count_as_their_countries_and_none_or_an_unknown_one_as_anywhere() {
    let declared = facts(&bedrock("eu-central-1", Some("eu")), "m");
    let said = |regions: &[&str]| {
        let regions: Vec<String> = regions.iter().map(|region| (*region).to_owned()).collect();
        pack().compare(&declared, Echo::BedrockRegions(&regions))
    };

    assert_eq!(said(&["eu-central-1", "eu-west-2", "eu-central-2"]), Ok(()));
    for wrong in [&[][..], &[""], &["eu-central-1", "us-east-1"], &["eu-atlantis-1"]] {
        assert!(said(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_model_of_bedrock_is_a_profile_where_its_id_says_so() {
    for (model, is_profile) in [
        ("eu.anthropic.claude-sonnet-4-20250514-v1:0", true),
        ("arn:aws:bedrock:eu-central-1:1:application-inference-profile/abc", true),
        ("anthropic.claude-sonnet-4-20250514-v1:0", false),
        ("openai.gpt-oss-120b", false),
        ("ca.anthropic.claude-sonnet-4-5-20250929-v1:0", true),
        ("arn:aws:bedrock:eu-central-1:1:provisioned-model/abc", false),
        ("eu", false),
    ] {
        assert_eq!(pack().is_inference_profile(model), is_profile, "{model}");
    }
}
