//! Not one byte of a caller's content reaches an endpoint that its permit does not cover: checked on the sockets.
//!
//! The world has one endpoint of every kind of place. What each is allowed is written here by hand, row by row, and not
//! taken from the policies. A row passes when the endpoints that it forbids saw no byte, and a part of the suite when the endpoints
//! that all of its rows forbid saw none from its beginning to its end.
//!
//! [`PARTS`] is the denominator: what each part looks at, which the part is held to, and the page on guarantees to the sum.

mod findings;
mod ways;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::testkit::{Act, Config, Endpoint, Gateway, Request, Upstream, chat};

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

/// What one part of the suite looks at.
struct Part {
    name: &'static str,
    /// Requests that are sent, each with the places that it may reach.
    cases: usize,
    /// Those of them that may reach none.
    denied: usize,
    /// Failures that are made to happen on the way: of an endpoint, of a stream, of the policies in force.
    faults: usize,
}

const fn part(name: &'static str, cases: usize, denied: usize, faults: usize) -> Part {
    Part { name, cases, denied, faults }
}

/// Every part, by its name.
const PARTS: &[Part] = &[
    part("app by place", 80, 54, 0),
    part("failover", 42, 0, 150),
    part("labels by header and metadata", 16, 8, 0),
    part("classes by header and metadata", 15, 6, 0),
    part("10,000 labels", 1, 1, 0),
    part("features", 16, 16, 0),
    part("duplicate keys", 4, 4, 0),
    part("bodies that cannot be read", 5, 5, 0),
    part("a body of findings", 2, 0, 0),
    part("streams that fail", 2, 0, 2),
    part("a reload in the middle", 4, 3, 1),
    part("a label by finding", 77, 63, 0),
    part("cards", 10, 7, 0),
];

/// What was checked in one part, for its last line.
struct Tally {
    part: &'static Part,
    rows: usize,
    denied: usize,
    faults: usize,
    leaks: Vec<String>,
    /// What each endpoint had seen when the part began.
    began: BTreeMap<&'static str, usize>,
    /// Endpoints that a row was permitted to reach.
    permitted: BTreeSet<&'static str>,
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

    /// Begins a part of the suite.
    fn begin(&self, name: &str) -> Tally {
        let part = PARTS.iter().find(|part| part.name == name).expect("the table names the part");
        let (began, permitted) = (self.bytes(), BTreeSet::new());
        Tally { part, rows: 0, denied: 0, faults: 0, leaks: Vec::new(), began, permitted }
    }

    /// Sends a request that may reach `allowed` and nothing else, and says what went wrong, if anything. Where it may reach nobody
    /// it is to be policy that says so.
    async fn row(&self, tally: &mut Tally, what: &str, request: Request, allowed: &[&'static str]) {
        if allowed.is_empty() {
            self.denied(tally, what, request, (403, &["feature_denied", "residency_denied"])).await;
            return;
        }
        let (status, reached, body) = self.case(tally, what, request, allowed).await;
        if status != 200 || reached.is_empty() {
            let text = String::from_utf8_lossy(&body);
            tally.leaks.push(format!("{what}: was to be answered and got {status}: {text}"));
        }
    }

    /// Sends a request that cannot be read, or says of itself what nobody knows.
    async fn unreadable(&self, tally: &mut Tally, what: &str, request: Request) {
        self.denied(tally, what, request, (400, &["invalid_request"])).await;
    }

    /// Sends a request that may reach nobody, for a reason that has this status and one of these codes. Another failure, of
    /// whatever kind, would show nothing of what is looked at.
    async fn denied(&self, tally: &mut Tally, what: &str, request: Request, (wanted, codes): (u16, &[&str])) {
        let (status, reached, body) = self.case(tally, what, request, &[]).await;
        tally.denied += 1;
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        let is_wanted = answer["error"]["code"].as_str().is_some_and(|code| codes.contains(&code));
        if status != wanted || !is_wanted || !reached.is_empty() {
            let text = String::from_utf8_lossy(&body);
            tally.leaks.push(format!("{what}: was to get {wanted} {} and got {status}: {text}", codes.join(" or ")));
        }
    }

    /// Sends a request: its status, the endpoints at which anything of it came, and its body.
    async fn case(
        &self,
        tally: &mut Tally,
        what: &str,
        request: Request,
        allowed: &[&'static str],
    ) -> (u16, Vec<&'static str>, Vec<u8>) {
        let before = self.bytes();
        let answer = self.gateway.send(request).await;
        let status = answer.status;
        let body = answer.try_bytes().await.unwrap_or_default();
        tally.rows += 1;
        tally.permitted.extend(allowed);
        let after = self.bytes().into_iter();
        let reached: Vec<&str> = after.filter(|(name, bytes)| before[name] != *bytes).map(|(name, _)| name).collect();
        for leak in reached.iter().filter(|name| !allowed.contains(name)) {
            tally.leaks.push(format!("{what}: bytes reached `{leak}`"));
        }
        (status, reached, body.to_vec())
    }

    /// Bytes that each endpoint has seen.
    fn bytes(&self) -> BTreeMap<&'static str, usize> {
        self.upstreams.iter().map(|(name, upstream)| (*name, upstream.bytes())).collect()
    }

    /// Endpoints that no row so far was allowed to reach must not even have been dialled.
    fn undialled(&self, tally: &mut Tally, names: &[&str]) {
        for name in names {
            let dialled = self.upstreams[name].connections();
            if dialled > 0 {
                tally.leaks.push(format!("`{name}` was dialled {dialled} times"));
            }
        }
    }

    /// Ends a part of the suite: what no row may reach has seen nothing, and as much was looked at as the table says.
    #[expect(clippy::print_stderr, reason = "a suite that does not say how much it checked cannot be judged")]
    fn conclude(&self, mut tally: Tally) {
        for (name, bytes) in self.bytes() {
            if !tally.permitted.contains(name) && bytes != tally.began[name] {
                tally.leaks.push(format!("bytes reached `{name}`, which no case was allowed to reach"));
            }
        }
        let Tally { part, rows, denied, faults, leaks, .. } = tally;
        eprintln!(
            "residency, {}: {rows} cases, {denied} of them denied; {faults} faults; {} endpoints captured; {} leaks",
            part.name,
            self.upstreams.len(),
            leaks.len()
        );
        assert!(leaks.is_empty(), "{}", leaks.join("\n"));
        let table = (part.cases, part.denied, part.faults);
        assert_eq!((rows, denied, faults), table, "cases, denied and faults of `{}`", part.name);
    }
}

fn key(app: &str) -> String {
    format!("cw_test_key_of_{app}")
}

fn ask(app: &str, body: &Value) -> Request {
    let request = Request::post("/v1/chat/completions", body).key(&key(app));
    if app == "purposeful" { request.header("x-causeway-purpose", "claims") } else { request }
}

/// The denominator of the whole suite, which the page on guarantees states, and each part of it is looked at by one test.
#[test]
fn the_suite_says_how_much_it_looks_at_and_so_does_the_page_on_guarantees() {
    let sum = |of: fn(&Part) -> usize| PARTS.iter().map(of).sum::<usize>();
    let said = format!(
        "{} cases in {} parts, {} of which may reach nobody; {} faults; {} endpoints captured in each part",
        sum(|part| part.cases),
        PARTS.len(),
        sum(|part| part.denied),
        sum(|part| part.faults),
        PLACES.len()
    );

    eprintln!("residency, in all: {said}");

    let page = include_str!("../../../docs/src/explanation/guarantees.md");
    assert!(page.contains(&said), "docs/src/explanation/guarantees.md is to say: {said}");
    let suite = [include_str!("mod.rs"), include_str!("ways.rs"), include_str!("findings.rs")].concat();
    for part in PARTS {
        let begun = suite.matches(&format!("world.begin(\"{}\")", part.name)).count();
        assert_eq!(begun, 1, "tests of `{}`", part.name);
    }
}

fn allowed_for(app: &str) -> &'static [&'static str] {
    APPS.iter().find(|(name, _, _)| *name == app).map(|(_, _, allowed)| *allowed).expect("the table names the app")
}

/// Every app against every place: 80 rows. The strictest apps come first, so that what nobody may reach yet is not dialled.
#[tokio::test]
async fn an_app_reaches_the_places_that_its_data_may_go_to_and_no_other() {
    let world = World::start().await;
    let mut tally = world.begin("app by place");

    let order = ["special", "secret", "personal", "purposeful", "confidential", "bank", "health", "plain"];
    for app in order {
        for (place, _) in PLACES {
            let allowed: &[&str] = if allowed_for(app).contains(place) { &[place] } else { &[] };
            let request = ask(app, &chat(&format!("at-{place}")));
            world.row(&mut tally, &format!("{app} at {place}"), request, allowed).await;
        }
        if app == "purposeful" {
            world.undialled(
                &mut tally,
                &["aoai-zone", "aoai-global", "bedrock-eu", "vertex-global", "vertex-region", "nowhere"],
            );
        }
    }

    assert_eq!(tally.rows, APPS.len() * PLACES.len());
    world.conclude(tally);
}

/// The same with a choice, for every app: whatever fails, what is tried next is permitted as well. A failure that cost nothing (503)
/// is followed until nothing is left, so that each permitted place is tried and no other.
#[tokio::test]
async fn where_a_model_has_many_targets_only_permitted_ones_are_tried_on_failure_too() {
    let world = World::start().await;
    let mut tally = world.begin("failover");
    let fail = |places: &[&'static str], tally: &mut Tally| {
        for place in places {
            world.upstreams[place].script([Act::error(503)]);
            tally.faults += 1;
        }
    };

    for (app, _, allowed) in APPS {
        let request = || ask(app, &chat("everywhere"));
        world.row(&mut tally, &format!("{app} with a choice"), request(), allowed).await;

        fail(allowed, &mut tally);
        let what = format!("{app} where every permitted place fails");
        let (status, reached, _) = world.case(&mut tally, &what, request(), allowed).await;
        let all: BTreeSet<&str> = allowed.iter().copied().collect();
        if status < 500 || reached.iter().copied().collect::<BTreeSet<_>>() != all {
            tally.leaks.push(format!("{what}: answered {status} after {reached:?}"));
        }

        for left in *allowed {
            let others: Vec<&str> = allowed.iter().copied().filter(|place| place != left).collect();
            fail(&others, &mut tally);
            let what = format!("{app} where all but `{left}` fail");
            let (status, reached, _) = world.case(&mut tally, &what, request(), allowed).await;
            if status != 200 || !reached.contains(left) {
                tally.leaks.push(format!("{what}: answered {status} after {reached:?}"));
            }
            for place in *allowed {
                world.upstreams[place].forget_script();
            }
        }
    }

    world.conclude(tally);
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
