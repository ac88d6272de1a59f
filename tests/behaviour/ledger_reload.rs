//! Another server for the ledger while gateways run, and names that must not be able to stop it.

use super::ledger_postgres::{COUNT, DEAR, KEY, World, ask};
use crate::testkit::{Config, Endpoint, Gateway, Postgres, until};

/// Connections of gateways.
const CONNECTED: &str = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'causeway'";

#[tokio::test]
async fn a_reload_with_another_server_leaves_the_one_before_and_posts_to_the_new_one_alone() {
    let Some(world) = World::of("a ledger that moves while a gateway runs").await else { return };
    let what = "the server that a ledger moves to";
    let Some(next) = Postgres::start(what, Some(&world.authority.issue())).await else { return };
    let gateway = Gateway::start(&world.config("usd_per_month = 100")).await;
    assert_eq!(ask(&gateway, 2).await, [200; 2]);
    world.has(2).await;
    assert_eq!(world.database.number(CONNECTED).await, 1);

    gateway.configure(&world.without_books("usd_per_month = 100").keeping_books(&next, &world.authority));
    gateway.signal("HUP");
    until("the server before to be left", async || (world.database.number(CONNECTED).await == 0).then_some(())).await;
    assert_eq!(ask(&gateway, 3).await, [200; 3]);
    until("the new server to have what came since", async || {
        // Until the first posting it has no tables.
        (next.try_tell(COUNT).await.ok()? == ["3"]).then_some(())
    })
    .await;

    assert_eq!(world.database.number(COUNT).await, 2, "the one before gets nothing more");
    assert_eq!((world.database.number(CONNECTED).await, next.number(CONNECTED).await), (0, 1));
}

#[tokio::test]
async fn names_that_are_as_long_and_as_odd_as_they_may_be_are_posted_whole() {
    let Some(world) = World::of("odd names in a ledger").await else { return };
    // 128 bytes: what SQL, JSON, CSV and arrays of PostgreSQL have a meaning for, and letters of several bytes.
    let odd = "'\"\\ {NULL},$$;--\u{202e}\u{1f4b8}%s\u{e9}";
    let team = format!("{odd}{}", "x".repeat(128 - odd.len()));
    let (model, app) = ("m".repeat(128), "a".repeat(64));
    let lines = format!("limits = {{ usd_per_month = 100 }}\n[data.{app}]\nlabels = []");
    let literal = team.replace('\\', "\\\\").replace('"', "\\\"");
    let digest = crate::testkit::digest_of(KEY);
    let config = Config::new()
        .endpoint("only", Endpoint::of(&world.upstream).with(DEAR))
        .model(&model, &["only/served-model"])
        .section(&format!(
            "[app.{app}]\nteam = \"{literal}\"\nkeys = [\"{digest}\"]\nmodels = [\"{model}\"]\n{lines}\n"
        ))
        .section("[budget.users]\neach_user = true\nusd = 100\n")
        .keeping_books(&world.database, &world.authority);
    let gateway = Gateway::start(&config).await;
    let mut body = crate::testkit::chat(&model);
    body["user"] = "\u{0}".repeat(40).into();

    let answer = gateway.send(crate::testkit::Request::post("/v1/chat/completions", &body).key(KEY)).await;
    answer.of_status(200, "a request of the odd team").await;
    world.has(1).await;

    let kept = "SELECT octet_length(team), length(model), length(app) FROM causeway.entry JOIN causeway.spent_slot \
                USING (team, model, app)";
    assert_eq!(world.database.tell(kept).await, ["128|128|64"]);
    let hexed: String = team.bytes().map(|byte| format!("{byte:02x}")).collect();
    let same = format!("SELECT count(*) FROM causeway.spent_slot WHERE team = convert_from('\\x{hexed}', 'UTF8')");
    assert_eq!(world.database.number(&same).await, 1);
}
