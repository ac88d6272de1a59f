use super::*;

fn names() -> Names {
    Names::of_pack(["EEA".to_owned()])
}

fn read_with(strictness: Strictness, off: &BTreeMap<String, String>, text: &str) -> Result<Vec<String>, Vec<String>> {
    let names = names();
    let options = ReadOptions { strictness, off, names: &names };
    let shown = |faults: Vec<Fault>| faults.iter().map(ToString::to_string).collect();
    match Rules::read(&[PolicyFile { name: "mine.cedar", text }], &options) {
        Ok((_, remarks)) => Ok(shown(remarks)),
        Err(faults) => Err(shown(faults)),
    }
}

fn read(text: &str) -> Result<Vec<String>, Vec<String>> {
    read_with(Strictness::Enforce, &BTreeMap::new(), text)
}

fn faults(text: &str) -> Vec<String> {
    read(text).expect_err("the set has a fault")
}

/// A permit that has all it needs.
const GRANT: &str = r#"@id("grant") @owner("me") @basis("a rule") @grant("base") permit (principal, action, resource) when { resource.approved };
"#;

fn forbid(condition: &str) -> String {
    format!(
        "{GRANT}@id(\"mine\") @owner(\"me\") @basis(\"a rule\")\nforbid (principal, action, resource is Target) when {{ {condition} }};"
    )
}

#[test]
fn the_shipped_policies_are_valid_and_without_remark() {
    let zones = ["EU", "EEA", "EFTA", "EU_ADEQUATE", "US", "UK", "CH"].map(str::to_owned);
    let names = Names::of_pack(zones);
    let options = ReadOptions { strictness: Strictness::Enforce, off: &BTreeMap::new(), names: &names };

    let (rules, remarks) = Rules::read(SHIPPED, &options).unwrap();

    assert_eq!(remarks, []);
    assert!(rules.policies().count() >= 18, "{}", rules.policies().count());
    assert!(rules.policies().all(|about| !about.owner.is_empty() && !about.basis.is_empty()));
}

#[test]
fn no_shipped_policy_contains_a_date() {
    let rules = Rules::shipped(&Names::default()).unwrap();

    assert!(rules.reads().dates.is_empty() && !rules.reads().context_has("now"));
    assert!(rules.policies().all(|about| about.expires.is_none() && about.review_by.is_none()));
}

#[test]
fn every_shipped_goal_is_a_valid_set() {
    for goal in SHIPPED_GOALS {
        let options = ReadOptions { strictness: Strictness::Study, off: &BTreeMap::new(), names: &Names::default() };

        let read = Rules::read(std::slice::from_ref(goal), &options);

        assert!(read.is_ok(), "{}: {:?}", goal.name, read.unwrap_err());
    }
}

#[test]
fn a_syntax_error_has_its_line_and_column() {
    let found = faults("// a comment\npermit (principal, action resource);\n");

    assert!(found[0].starts_with("mine.cedar:2:27: "), "{found:?}");
}

#[test]
fn a_mistake_in_one_file_does_not_hide_one_in_another() {
    let files = [
        PolicyFile { name: "a.cedar", text: "permit (principal, action" },
        PolicyFile { name: "b.cedar", text: "forbid principal;" },
    ];
    let options = ReadOptions { strictness: Strictness::Enforce, off: &BTreeMap::new(), names: &Names::default() };

    let found = Rules::read(&files, &options).unwrap_err();

    let in_files: BTreeSet<&str> = found.iter().map(|fault| fault.file.as_str()).collect();
    assert_eq!(in_files.into_iter().collect::<Vec<_>>(), ["a.cedar", "b.cedar"]);
}

#[test]
fn an_attribute_that_does_not_exist_is_a_mistake_and_not_a_rule_that_never_fires() {
    let found = faults(&forbid("resource.procesing.isEmpty()"));

    assert!(found[0].starts_with("mine.cedar:3:55: "), "{found:?}");
    assert!(found[0].contains("procesing"), "{found:?}");
}

#[test]
fn a_comparison_of_two_types_is_a_mistake() {
    assert!(faults(&forbid("context.class >= \"secret\""))[0].contains("mine.cedar:3"));
}

#[test]
fn names_that_nobody_has_are_mistakes() {
    for (condition, said) in [
        (
            "!(Zone::\"EAA\".countries.containsAll(resource.processing))",
            "names `EAA`, which is not a group of countries",
        ),
        ("context.labels.contains(\"eu_persnal\")", "names `eu_persnal`, which is not a label"),
        ("context.findings.containsAny([\"iban\", \"ibam\"])", "names `ibam`, which is not a kind of finding"),
        ("resource.processing.contains(Country::\"UK\")", "names `Country::\"UK\"`, which is no country"),
    ] {
        let found = faults(&forbid(condition));

        assert!(found.len() == 1 && found[0].contains(said), "{found:?}");
    }
}

#[test]
fn words_numbers_and_patterns_that_no_list_has_are_mistakes_with_their_place() {
    for (condition, at, said) in [
        (r#"resource.reach == "publc""#, r#""publc"#, "names `publc`, which is not a reach; did you mean `public`?"),
        (r#"["local", "privat-link"].contains(resource.reach)"#, r#""privat-"#, "did you mean `private-link`?"),
        (r#"resource.reach == (if resource.preview then "lokal" else "public")"#, r#""lokal"#, "did you mean `local`?"),
        (r#"resource.reach like "priv_*""#, r#""priv_"#, "asks for \"priv_*\", which fits nothing that is a reach"),
        (r#"resource.grants.contains("keep_stat")"#, r#""keep"#, "did you mean `keep_state`?"),
        (r#"["helth"].containsAll(context.labels)"#, r#""helth"#, "which is not a label; did you mean `health`?"),
        (r#"context.redacted.contains("ibam")"#, r#""ibam"#, "which is not a kind of finding; did you mean `iban`?"),
        ("context.class == 7", "7", "names 7, which is not a class; the classes are 0 public, 1 internal"),
        ("context.class > 3", "3 }", "`class > 3`, which is the same for every request"),
        ("3 < context.class", "3 <", "`class > 3`, which is the same for every request"),
        ("context.class >= 0 && context.class < 0", "0 }", "`class < 0`, which is the same for every request"),
        ("[1, -1].contains(context.class)", "1].", "names -1, which is not a class"),
        ("resource.retention_days < 0", "0 }", "`retention_days < 0`, which is the same for every request"),
    ] {
        let text = forbid(condition);
        let column = text.lines().last().unwrap().rfind(at).unwrap() + 1;

        let found = faults(&text);

        assert!(found.len() == 1 && found[0].contains(said), "{condition}: {found:?}");
        assert!(found[0].starts_with(&format!("mine.cedar:3:{column}: ")), "{condition}: {found:?}");
    }
}

#[test]
fn what_a_list_has_and_what_no_list_bounds_is_no_mistake() {
    for condition in [
        r#"resource.reach like "*" && resource.reach like "pr*v*k" && resource.reach != "public""#,
        r#"["", "anything", "at all"].contains(context.purpose) && principal.purposes.contains("what I like")"#,
        r#"context.purpose like "support-*""#,
        r#"context.class >= 0 && context.class <= 3 && [0, 1, 2, 3].contains(context.class)"#,
        r#"resource.retention_days > 100000 || resource.retention_days == 0"#,
        r#"resource.certifications.contains("MY_OWN")"#,
        r#"context.findings.contains("hosted_tool:web_search") && context.redacted == ["card", "financial"]"#,
    ] {
        assert_eq!(read(&forbid(condition)).map_err(|faults| format!("{condition}: {faults:?}")), Ok(vec![]));
    }
}

#[test]
fn what_stands_twice_is_said_twice_and_an_annotation_or_a_comment_is_not_its_place() {
    let text = format!(
        "{GRANT}@id(\"publc\") @owner(\"publc\") @basis(\"publc\")\nforbid (principal, action, resource) // \"publc\"\nwhen {{ resource.reach == \"publc\" ||\n resource.reach != \"publc\" }};"
    );

    let found = faults(&text);

    assert!(found[0].starts_with("mine.cedar:4:26: ") && found[1].starts_with("mine.cedar:5:20: "), "{found:?}");
    assert_eq!(found.len(), 2);
}

#[test]
fn purposes_and_certificates_are_held_against_those_that_a_configuration_has() {
    let known = Names { purposes: Some(["support".to_owned()].into()), ..Names::default() };
    let known = known.with_certificates(["ISO27001".to_owned()]);
    let options = ReadOptions { strictness: Strictness::Enforce, off: &BTreeMap::new(), names: &known };
    let read = |condition: &str| {
        let text = forbid(condition);
        let read = Rules::read(&[PolicyFile { name: "mine.cedar", text: &text }], &options);
        read.map(|(_, remarks)| remarks).map_err(|faults| faults[0].to_string())
    };

    let purpose = read(r#"context.purpose == "suport""#).unwrap_err();
    let registered = read(r#"principal.purposes.contains("suport")"#).unwrap_err();
    let pattern = read(r#"context.purpose like "suport*""#).unwrap_err();
    let certificate = read(r#"!resource.certifications.contains("HSD")"#).unwrap();

    for said in [purpose, registered] {
        assert!(said.contains("`suport`, which is not a purpose of any app; did you mean `support`?"), "{said}");
    }
    assert!(
        pattern.contains("\"suport*\", which fits nothing that is a purpose of any app; there are support"),
        "{pattern}"
    );
    // It only denies more, so it is a remark.
    assert!(certificate[0].message.contains("`HSD`, which is not a certificate of any endpoint"), "{certificate:?}");
    assert!(certificate[0].remedy.contains("did you mean `HDS`?"), "{certificate:?}");
    for fine in
        [r#"["support", ""].contains(context.purpose)"#, r#"resource.certifications.containsAny(["HDS", "ISO27001"])"#]
    {
        assert_eq!(read(fine), Ok(vec![]));
    }
}

#[test]
fn a_slip_in_a_word_that_ships_is_worth_a_look_where_the_list_is_not_known_whole() {
    let names = Names::default();
    let options = ReadOptions { strictness: Strictness::Enforce, off: &BTreeMap::new(), names: &names };
    let remarks = |condition: &str| {
        let text = forbid(condition);
        Rules::read(&[PolicyFile { name: "mine.cedar", text: &text }], &options).unwrap().1
    };

    let certificate = remarks(r#"!resource.certifications.contains("HSD")"#);
    let label = remarks(r#"context.labels.contains("helth")"#);

    assert!(
        certificate[0]
            .to_string()
            .contains("which is not a certificate that ships with the gateway; did you mean `HDS`?")
    );
    assert!(label[0].to_string().contains("which is not a label that ships with the gateway; did you mean `health`?"));
    assert!(remarks(r#"context.labels.containsAny(["health", "of_our_own"])"#).is_empty());
}

#[test]
fn names_that_a_configuration_defines_are_held_against_it() {
    let known = Names {
        apps: Some(["claims".to_owned()].into()),
        teams: Some(["insurance".to_owned()].into()),
        endpoints: Some(["gpu-01".to_owned()].into()),
        ..Names::default()
    };
    let options = ReadOptions { strictness: Strictness::Enforce, off: &BTreeMap::new(), names: &known };
    let text = forbid("principal in Team::\"insurence\" && resource in Endpoint::\"gpu-01\"");

    let found = Rules::read(&[PolicyFile { name: "mine.cedar", text: &text }], &options).unwrap_err();

    assert!(found.len() == 1 && found[0].message.contains("`insurence`, which is not a team"), "{found:?}");
}

#[test]
fn contains_any_of_a_residency_set_is_a_mistake() {
    for condition in [
        "!(Zone::\"EEA\".countries.containsAny(resource.processing))",
        "!(resource.at_rest.containsAny([Country::\"DE\", Country::\"FR\"]))",
    ] {
        assert!(faults(&forbid(condition))[0].contains("asks `containsAny` of"), "{condition}");
    }
    assert!(read(&forbid("context.labels.containsAny([\"health\"])")).is_ok());
}

#[test]
fn a_policy_that_can_match_nothing_is_a_mistake() {
    let text = format!(
        "{GRANT}@id(\"never\") @owner(\"me\") @basis(\"a rule\") forbid (principal, action, resource) when {{ false }};"
    );

    assert!(
        faults(&text)[0].contains("impossible") || faults(&text)[0].contains("evaluates to false"),
        "{:?}",
        faults(&text)
    );
}

#[test]
fn a_set_that_permits_nothing_is_a_mistake() {
    let text = "@id(\"no\") @owner(\"me\") @basis(\"a rule\") forbid (principal, action, resource);";

    assert!(faults(text)[0].contains("no policy permits anything"));
    assert!(faults("")[0].contains("no policy permits anything"));
}

#[test]
fn an_id_stands_once_and_owner_and_basis_are_said() {
    let twice = faults(&format!("{GRANT}{GRANT}"));
    let bare = faults("permit (principal, action, resource);");
    let nobody = faults("@id(\"a\") @grant(\"base\") permit (principal, action, resource);");

    assert!(twice[0].contains("stands twice: also at mine.cedar:1"), "{twice:?}");
    assert!(bare[0].contains("no usable `@id`"), "{bare:?}");
    assert!(nobody.iter().any(|fault| fault.contains("no `@owner`")), "{nobody:?}");
    assert!(nobody.iter().any(|fault| fault.contains("no `@basis`")), "{nobody:?}");
}

#[test]
fn an_exception_needs_an_end_and_a_forbid_may_have_none() {
    let endless = faults("@id(\"a\") @owner(\"me\") @basis(\"b\") permit (principal, action, resource);");
    let ending = faults(&format!(
        "{GRANT}@id(\"b\") @owner(\"me\") @basis(\"b\") @expires(\"2027-01-01\") forbid (principal, action, resource) when {{ resource.preview }};"
    ));

    assert!(endless[0].contains("exception without an end"), "{endless:?}");
    assert!(ending[0].contains("more would be allowed"), "{ending:?}");
}

#[test]
fn an_obligation_of_which_one_name_is_none_is_refused_whole() {
    let is_refused = |kinds: &str| {
        let text = format!(
            "@id(\"a\") @owner(\"me\") @basis(\"b\") @grant(\"base\") @obligation(\"redact:{kinds}\") permit (principal, action, resource);"
        );
        let (Ok(said) | Err(said)) = read(&text);
        said.iter().any(|fault| fault.contains("is no obligation"))
    };

    for wrong in ["iban,c√ard", "iban,", ",iban", "custom:", "custom:a:b", "other:iban", ""] {
        assert!(is_refused(wrong), "{wrong}");
    }
    for right in ["iban", "iban, card", "custom:matter,iban"] {
        assert!(!is_refused(right), "{right}");
    }
}

#[test]
fn a_date_an_obligation_and_an_annotation_are_held_to_their_form() {
    let found = faults(
        "@id(\"a\") @owner(\"me\") @basis(\"b\") @expires(\"2027-13-01\") @obligation(\"remove:iban\") @expire(\"x\") permit (principal, action, resource);",
    );

    for said in ["is no date", "is no obligation", "`@expire` is no annotation"] {
        assert!(found.iter().any(|fault| fault.contains(said)), "{said}: {found:?}");
    }
}

#[test]
fn an_obligation_names_what_something_recognises() {
    let text = "@id(\"a\") @owner(\"me\") @basis(\"b\") @grant(\"base\") @obligation(\"redact:names\") permit (principal, action, resource);";

    assert!(faults(text)[0].contains("redact `names`, which nothing recognises"));
}

#[test]
fn a_template_is_refused() {
    assert!(faults("@id(\"a\") permit (principal == ?principal, action, resource);")[0].contains("is a template"));
}

#[test]
fn a_policy_is_switched_off_by_its_id_and_only_by_one_that_exists() {
    let off = |id: &str| BTreeMap::from([(id.to_owned(), "not ours to hold".to_owned())]);
    let text = forbid("resource.preview");

    assert!(read_with(Strictness::Enforce, &off("mine"), &text).is_ok());
    assert!(read_with(Strictness::Enforce, &off("yours"), &text).unwrap_err()[0].contains("there is no such policy"));
}

#[test]
fn a_set_can_be_studied_that_must_not_be_enforced() {
    let text = forbid("!(Zone::\"EEA\".countries.containsAny(resource.processing))");

    let remarks = read_with(Strictness::Study, &BTreeMap::new(), &text).unwrap();

    assert!(remarks[0].contains("containsAny"), "{remarks:?}");
}

#[test]
fn what_a_set_reads_is_known() {
    let text = forbid(
        "context.labels.contains(\"health\") && context.findings.contains(\"iban\") && context.now >= datetime(\"2030-01-01\") && resource.preview",
    );
    let options = ReadOptions { strictness: Strictness::Enforce, off: &BTreeMap::new(), names: &names() };

    let (rules, _) = Rules::read(&[PolicyFile { name: "mine.cedar", text: &text }], &options).unwrap();

    let reads = rules.reads();
    assert_eq!(reads.context.iter().collect::<Vec<_>>(), ["findings", "labels", "now"]);
    assert_eq!(reads.target.iter().collect::<Vec<_>>(), ["approved", "preview"]);
    assert!(reads.findings_by_name && reads.labels_by_name && reads.time_is_plain);
    assert_eq!(reads.dates.len(), 2);
}

#[test]
fn what_cannot_be_read_out_of_a_policy_counts_as_everything() {
    let options = ReadOptions { strictness: Strictness::Study, off: &BTreeMap::new(), names: &Names::default() };
    let of = |condition: &str| {
        let text = forbid(condition);
        Rules::read(&[PolicyFile { name: "mine.cedar", text: &text }], &options).unwrap().0
    };

    assert!(!of("context.findings.isEmpty()").reads().findings_by_name);
    for condition in ["context.labels.isEmpty()", "[\"a\"].containsAny(context.labels)", "context == context"] {
        assert!(!of(condition).reads().labels_by_name, "{condition}");
    }
    assert!(of("context.labels.containsAny([\"a\", \"b\"])").reads().labels_by_name);
    assert!(!of("context.now.toDate() >= datetime(\"2030-01-01\")").reads().time_is_plain);
    assert!(of("context == context").reads().context_has("purpose"));
}
