//! Budgets and webhooks: what is taken, and what is said of those that could never hold.

use accounting::{Mode, Money, Period};

use super::{changed, load_one, noted_of, said_of};

const HOOK: &str = "[webhook.finance]\nurl = \"https://hooks.corp.example/causeway\"\n\
                    reach = { local = { within = [\"192.168.40.0/24\"] } }\nsecret = { env = \"HOOK\" }\n";

/// The document with this section at line 39.
fn with(section: &str) -> String {
    changed("[policy]", &format!("{section}\n[policy]"))
}

#[test]
fn a_budget_says_whose_how_much_and_when() {
    let compiled = load_one(&with("[budget.all]\nusd = 0.5\n")).expect("it is right");
    let plain = &compiled.budgets[0];
    assert_eq!((plain.terms.limit, plain.terms.mode), (Money(500_000_000), Mode::Hard));
    assert_eq!((plain.calendar.period(), plain.calendar.zone()), (Period::Month, "UTC"));
    assert_eq!((plain.thresholds.as_slice(), plain.each_user), (&[50, 80, 100][..], false));

    let full = "[budget.full]\napp = \"claims\"\nmodel = \"chat\"\neach_user = true\nusd = 3\nperiod = \"week\"\n\
                time_zone = \"Europe/Berlin\"\nmode = \"warning\"\nthresholds = [90, 150]\n";
    let compiled = load_one(&with(full)).expect("it is right");
    let full = &compiled.budgets[0];
    assert_eq!((full.app, full.model.as_deref(), full.each_user), (Some(0), Some("chat"), true));
    assert_eq!((full.calendar.period(), full.calendar.zone()), (Period::Week, "Europe/Berlin"));
    assert_eq!((full.terms.mode, full.thresholds.as_slice()), (Mode::Warning, &[90, 150][..]));
}

#[test]
fn a_budget_that_could_never_hold_is_a_mistake_with_its_place() {
    let cases = [
        ("usd = 0", "40:7: `budget.b.usd` is 0, which permits only what costs nothing"),
        (
            "app = \"claim\"\nusd = 1",
            "40:7: budget `b` names app `claim`, which is not defined; did you mean `claims`?",
        ),
        (
            "model = \"chta\"\nusd = 1",
            "40:9: budget `b` names model `chta`, which is not defined; did you mean `chat`?",
        ),
        ("team = \"nobody\"\nusd = 1", "40:8: budget `b` names team `nobody`, which no app has"),
        (
            "usd = 1\ntime_zone = \"europe/berlin\"",
            "41:13: `budget.b.time_zone` is `europe/berlin`, which is no time zone",
        ),
        ("usd = 1\nthresholds = [80, 50]", "41:14: `budget.b.thresholds` does not rise"),
        ("usd = 1\nthresholds = [0]", "41:15: `budget.b.thresholds`: 0 percent can never be reached"),
        ("usd = 1\nthresholds = [101]", "41:15: `budget.b.thresholds`: 101 percent can never be reached"),
        ("usd = 1\nthresholds = [1, 2, 3, 4, 5, 6, 7, 8, 9]", "41:14: `budget.b.thresholds` has 9 entries"),
        ("usd = 1\nwebhook = \"finance\"", "41:11: budget `b` names webhook `finance`, which is not defined"),
        ("usd = 1\nperiod = \"year\"", "41:10: "),
        ("team = \"x\"", "39:1: "),
    ];

    for (lines, says) in cases {
        let said = said_of(&with(&format!("[budget.b]\n{lines}\n")));
        assert!(said.iter().any(|line| line.starts_with(&format!("gateway.toml:{says}"))), "{lines}: {said:?}");
    }
}

#[test]
fn a_secret_of_a_webhook_that_is_none_is_not_shown_and_one_that_nobody_names_is_noted() {
    let said = said_of(&with(&HOOK.replace("HOOK", "CLOUD_KEY")));
    assert!(said.iter().any(|line| line.contains("`webhook.finance.secret` holds no secret of a webhook")), "{said:?}");
    assert!(!said.iter().any(|line| line.contains("k-123")), "{said:?}");

    let plain = said_of(&with(
        &HOOK.replace("https:", "http:").replace("local = { within = [\"192.168.40.0/24\"] }", "public = {}"),
    ));
    assert!(plain.iter().any(|line| line.contains("is plaintext")), "{plain:?}");

    let notes = noted_of(&with(HOOK));
    assert_eq!(
        notes,
        [
            "gateway.toml:39:10: no budget names webhook `finance`, so it is never called; name it in a budget, or leave it out"
        ]
    );
    let named = format!("[budget.b]\nusd = 1\nwebhook = \"finance\"\n{HOOK}");
    assert_eq!(noted_of(&with(&named)), [""; 0]);
}

#[test]
fn several_gateways_count_users_only_where_one_user_has_one_pseudonym_in_all() {
    let store =
        "[store]\nurl = \"valkeys://counters.corp.example\"\nreach = { local = { within = [\"192.168.40.0/24\"] } }\n";
    let text = format!("replicas = true\n{}", with(&format!("[budget.b]\nusd = 1\neach_user = true\n{store}")));

    let said = said_of(&text);

    assert!(said.iter().any(|line| line.contains("`budget.b.each_user` needs `audit.pseudonyms`")), "{said:?}");
}
