//! Not one byte of a caller's content reaches an endpoint that its permit does not cover: checked on the sockets.
//!
//! The world has one endpoint of every kind of place. What each is allowed is written here by hand, row by row, and not
//! taken from the policies. A row passes when the endpoints that it forbids saw no byte: no request, and where none of the
//! earlier rows was allowed to go there either, no connection.

mod findings;
mod ways;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::testkit::{Config, Endpoint, Gateway, Request, Upstream, chat};

/// The places: name, and what its section says.
const PLACES: &[(&str, Option<&str>)] = &[
    ("site", Some("{ site = \"lab\" }")),
    ("aoai-standard", Some("{ azure = { region = \"swedencentral\", sku = \"Standard\" } }")),
    ("aoai-zone", Some("{ azure = { region = \"swedencentral\", sku = \"DataZoneStandard\" } }")),
    ("aoai-global", Some("{ azure = { region = \"swedencentral\", sku = \"GlobalStandard\" } }")),
    ("bedrock-eu", Some("{ bedrock = { region = \"eu-central-1\", profile = \"eu\" } }")),
    ("eusc", Some("{ bedrock = { region = \"eusc-de-east-1\" } }")),
    ("vertex-global", Some("{ vertex = { location = \"global\" } }")),
    ("vertex-region", Some("{ vertex = { location = \"europe-west1\" } }")),
    (
        "swiss",
        Some(
            "{ declared = { processing = [\"CH\"], at_rest = [\"CH\"], operator = \"CH\", because = \"contract 7\" } }",
        ),
    ),
    ("nowhere", None),
];

/// The apps: name, what its `[data]` says, and the places that it may reach, in the order of [`PLACES`].
const APPS: &[(&str, &str, &[&str])] = &[
    (
        "plain",
        "labels = []",
        &[
            "site",
            "aoai-standard",
            "aoai-zone",
            "aoai-global",
            "bedrock-eu",
            "eusc",
            "vertex-global",
            "vertex-region",
            "swiss",
            "nowhere",
        ],
    ),
    ("personal", "labels = [\"eu_personal\"]", &["site", "aoai-standard", "eusc"]),
    ("special", "labels = [\"eu_personal\", \"special_category\"]", &["site"]),
    ("health", "labels = [\"health\"]", &["site", "swiss"]),
    ("bank", "labels = [\"ch_bank\"]", &["swiss"]),
    // Not about a person: Switzerland, which the European data zone may include, is a known place.
    ("confidential", "labels = []\nclass = \"confidential\"", &["site", "aoai-standard", "aoai-zone", "eusc", "swiss"]),
    ("secret", "labels = []\nclass = \"secret\"", &["site"]),
    (
        "purposeful",
        "labels = [\"eu_personal\"]\npurposes = [\"claims\", \"fraud\"]",
        &["site", "aoai-standard", "eusc"],
    ),
];

/// Rows of the data pack are held to a far date: this suite is about enforcement, the dates have tests of their own.
const ROWS: &[&str] = &[
    "azure-standard",
    "azure-data-zone-standard-eu",
    "azure-global-standard",
    "bedrock-eu",
    "bedrock-eusc",
    "vertex-global",
    "vertex-unlisted",
];

struct World {
    upstreams: BTreeMap<&'static str, Upstream>,
    gateway: Gateway,
}

/// A table of what was checked, for the last line of the suite.
#[derive(Default)]
struct Tally {
    rows: usize,
    denied: usize,
    faults: Vec<String>,
}

impl World {
    async fn start() -> Self {
        let mut upstreams = BTreeMap::new();
        for (name, _) in PLACES {
            upstreams.insert(*name, Upstream::start(name).await);
        }
        let config = Self::config(&upstreams);
        let gateway = Gateway::start(&config).await;
        Self { upstreams, gateway }
    }

    fn config(upstreams: &BTreeMap<&'static str, Upstream>) -> Config {
        let mut config = Config::new();
        let mut models = Vec::new();
        for (name, place) in PLACES {
            let certified = *name == "swiss";
            config = config.endpoint(name, Endpoint::of(&upstreams[name]).place(*place));
            config = config.model(&format!("at-{name}"), &[&format!("{name}/m")]);
            models.push(format!("at-{name}"));
            if certified {
                config = config.section("[policy]\ncertified = { swiss = [\"HDS\"] }\n");
            }
        }
        for row in ROWS {
            config = config.section(&format!(
                "[fact.{row}]\nextended_until = 2099-01-01\nby = \"the tests\"\nbecause = \"dates have tests of their own\"\n"
            ));
        }
        let everywhere: Vec<String> = PLACES.iter().rev().map(|(name, _)| format!("{name}/m")).collect();
        let everywhere: Vec<&str> = everywhere.iter().map(String::as_str).collect();
        config = config.model("everywhere", &everywhere);
        models.push("everywhere".to_owned());
        let models: Vec<&str> = models.iter().map(String::as_str).collect();
        for (app, data, _) in APPS {
            config = config.app_with_data(app, &key(app), &models, data);
        }
        config
    }

    /// Sends a request that may reach `allowed` and nothing else, and says what went wrong, if anything.
    async fn row(&self, tally: &mut Tally, what: &str, request: Request, allowed: &[&str]) -> u16 {
        let before = self.seen();
        let answer = self.gateway.send(request).await;
        let status = answer.status;
        let body = answer.try_bytes().await.unwrap_or_default();
        let after = self.seen();
        tally.rows += 1;
        let reached: Vec<&str> =
            after.iter().filter(|(name, requests)| before[*name] != **requests).map(|(name, _)| *name).collect();
        if let Some(leak) = reached.iter().find(|name| !allowed.contains(name)) {
            tally.faults.push(format!("{what}: a request reached `{leak}`"));
        }
        if allowed.is_empty() {
            tally.denied += 1;
            if status < 400 || !reached.is_empty() {
                tally.faults.push(format!("{what}: answered {status}"));
            }
        } else if status != 200 || reached.is_empty() {
            let text = String::from_utf8_lossy(&body);
            tally.faults.push(format!("{what}: was to be answered and got {status}: {text}"));
        }
        status
    }

    fn seen(&self) -> BTreeMap<&'static str, usize> {
        self.upstreams.iter().map(|(name, upstream)| (*name, upstream.requests().len())).collect()
    }

    /// Endpoints that no row so far was allowed to reach must not even have been dialled.
    fn undialled(&self, tally: &mut Tally, names: &[&str]) {
        for name in names {
            let dialled = self.upstreams[name].connections();
            if dialled > 0 {
                tally.faults.push(format!("`{name}` was dialled {dialled} times"));
            }
        }
    }
}

impl Tally {
    #[expect(clippy::print_stderr, reason = "a suite that does not say how much it checked cannot be judged")]
    fn conclude(&self, ways: &str, captures: usize) {
        eprintln!(
            "residency, {ways}: {} cases, {} of them denied; {} faults; {captures} endpoints captured",
            self.rows,
            self.denied,
            self.faults.len()
        );
        assert!(self.faults.is_empty(), "{}", self.faults.join("\n"));
    }
}

fn key(app: &str) -> String {
    format!("cw_test_key_of_{app}")
}

fn ask(app: &str, body: &Value) -> Request {
    let request = Request::post("/v1/chat/completions", body).key(&key(app));
    if app == "purposeful" { request.header("x-causeway-purpose", "claims") } else { request }
}

fn allowed_for(app: &str) -> &'static [&'static str] {
    APPS.iter().find(|(name, _, _)| *name == app).map(|(_, _, allowed)| *allowed).expect("the table names the app")
}

/// Every app against every place: 80 rows. The strictest apps come first, so that what nobody may reach yet is not dialled.
#[tokio::test]
async fn an_app_reaches_the_places_that_its_data_may_go_to_and_no_other() {
    let world = World::start().await;
    let mut tally = Tally::default();

    let order = ["special", "secret", "personal", "purposeful", "confidential", "bank", "health", "plain"];
    for app in order {
        for (place, _) in PLACES {
            let allowed: &[&str] = if allowed_for(app).contains(place) { &[place] } else { &[] };
            let request = ask(app, &chat(&format!("at-{place}")));
            let status = world.row(&mut tally, &format!("{app} at {place}"), request, allowed).await;
            if allowed.is_empty() && status != 403 {
                tally.faults.push(format!("{app} at {place}: answered {status}, not 403"));
            }
        }
        if app == "purposeful" {
            world.undialled(
                &mut tally,
                &["aoai-zone", "aoai-global", "bedrock-eu", "vertex-global", "vertex-region", "nowhere"],
            );
        }
    }

    assert_eq!(tally.rows, APPS.len() * PLACES.len());
    tally.conclude("app by place", PLACES.len());
}

/// The same with a choice: the first target that is allowed answers, whatever stands before it.
#[tokio::test]
async fn where_a_model_has_many_targets_only_permitted_ones_are_tried_on_failure_too() {
    let world = World::start().await;
    let mut tally = Tally::default();

    for (app, _, allowed) in APPS {
        let what = format!("{app} with a choice");
        world.row(&mut tally, &what, ask(app, &chat("everywhere")), allowed).await;
        // Each permitted target fails once, and the caller is told; no other is tried for it.
        for place in *allowed {
            world.upstreams[place].script([crate::testkit::Act::error(500)]);
        }
        let before = world.seen();
        let answer = world.gateway.send(ask(app, &chat("everywhere"))).await;
        let status = answer.status;
        let after = world.seen();
        tally.rows += 1;
        for (name, requests) in &after {
            if before[name] != *requests && !allowed.contains(name) {
                tally.faults.push(format!("{app} after failures: a request reached `{name}`"));
            }
        }
        if status < 500 && allowed.len() < 2 {
            tally.faults.push(format!("{app} after failures: answered {status}"));
        }
        for place in *allowed {
            world.upstreams[place].forget_script();
        }
    }

    tally.conclude("failover", PLACES.len());
}

/// The refusal names the policies and not the data, and the record says why for each target.
#[tokio::test]
async fn a_refusal_names_the_policies_and_the_record_says_why_for_each_target() {
    let world = World::start().await;

    let answer = world.gateway.send(ask("personal", &chat("at-aoai-zone"))).await;

    let decision = answer.decision();
    let hash = answer.header("x-causeway-policy").map(str::to_owned);
    assert_eq!(answer.status, 403);
    let body: Value = answer.json().await;
    assert_eq!(body["error"]["code"], "residency_denied");
    assert!(body["error"]["message"].as_str().unwrap().contains("`personal-data-processed-in-the-eea`"), "{body}");
    let refusal = world.gateway.audit().refusal(&decision).await;
    assert_eq!(refusal["candidates"][0]["target"], "aoai-zone/m");
    assert_eq!(refusal["candidates"][0]["why"], "forbidden by `personal-data-processed-in-the-eea`");
    let extended =
        "row `azure-data-zone-standard-eu` extended to 2099-01-01 by the tests, because dates have tests of their own";
    assert_eq!(refusal["candidates"][0]["facts"], extended, "who holds a row beyond its date shows in the decision");
    let registered = json!({"labels": ["eu_personal"], "from": ["registration"], "class": "internal"});
    assert_eq!(refusal["data"], registered);
    assert_eq!(refusal["policy"].as_str().map(str::to_owned), hash);

    let answer = world.gateway.send(ask("personal", &chat("everywhere"))).await;
    let record = world.gateway.audit().record(&answer.decision()).await;
    let candidates = record.intent["candidates"].as_array().unwrap();
    let of = |target: &str| candidates.iter().find(|one| one["target"] == target).unwrap();
    assert_eq!(candidates.len(), PLACES.len());
    assert!(of("site/m")["why"].as_str().unwrap().starts_with("permitted by `approved-targets`; "), "{candidates:?}");
    assert_eq!(of("bedrock-eu/m")["verdict"], "out");
    assert!(of("swiss/m")["facts"].is_null() && of("aoai-standard/m")["facts"].is_string(), "{candidates:?}");
    assert!(of("nowhere/m")["why"].as_str().unwrap().contains("`unknown-place-is-no-place`"));
}
