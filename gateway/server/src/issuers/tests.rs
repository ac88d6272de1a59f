//! Keys at a reload. That they are fetched at all is shown from outside.

use telemetry::metrics::Metrics;

use super::*;
use crate::snapshot::Snapshot;

fn document(folder: &std::path::Path, skew: u32) -> String {
    format!(
        r#"
[listen]
address = "127.0.0.1:0"
[state]
folder = "{}"
[identity.login]
url = "http://127.0.0.1:9"
reach = {{ local = {{ within = ["127.0.0.0/8"] }} }}
[issuer.house]
issuer = "http://127.0.0.1:9"
keys = {{ jwks = {{ identity = "login", path = "/keys" }} }}
algorithms = ["ES256"]
clock_skew_s = {skew}
[site.here]
country = "DE"
operator = "DE"
[endpoint.gpu]
provider = "openai"
url = "http://127.0.0.1:9/v1"
reach = {{ local = {{ within = ["127.0.0.0/8"] }} }}
place = {{ site = "here" }}
[model.m]
targets = ["gpu/m"]
[app.a]
team = "t"
jwt = {{ issuer = "http://127.0.0.1:9", audience = "gateway", claims = {{ sub = "a" }} }}
models = ["m"]
[data.a]
labels = []
"#,
        folder.display()
    )
}

fn keys(count: usize) -> (KeySet, Vec<u8>) {
    // The point of RFC 7517, appendix A.1.
    let key = |id: usize| {
        format!(
            r#"{{"kty":"EC","crv":"P-256","use":"sig","alg":"ES256","kid":"{id}","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}}"#
        )
    };
    let text = format!(r#"{{"keys":[{}]}}"#, (0..count).map(key).collect::<Vec<_>>().join(","));
    (KeySet::read(text.as_bytes()).expect("it is a key set"), text.into_bytes())
}

fn build(folder: &std::path::Path, skew: u32, before: Option<&Snapshot>) -> Snapshot {
    let options = crate::load::options(SystemTime::now());
    let text = document(folder, skew);
    let compiled = crate::configuration::load_text([("causeway.toml".into(), text)], &options).expect("it is right");
    Snapshot::build(&compiled, before, &Metrics::new()).expect("it can be built")
}

#[tokio::test]
async fn keys_that_the_configuration_before_a_reload_fetches_reach_the_one_behind_it() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let before = build(folder.path(), 60, None);
    let (one, text) = keys(1);
    before.key_sources[0].keep(one, text).await;

    // A fetch that began under the configuration before ends when the next is built already.
    let next = build(folder.path(), 61, Some(&before));
    let (two, text) = keys(2);
    before.key_sources[0].keep(two, text).await;
    let (two, text) = keys(2);
    next.key_sources[0].keep(two, text).await;

    assert!(!Arc::ptr_eq(&before.key_sources[0], &next.key_sources[0]), "another skew is another source");
    assert_eq!(before.key_sources[0].issuer.keys().len(), 2);
    assert_eq!(next.key_sources[0].issuer.keys().len(), 2, "it would wait for the next change otherwise");
}

#[tokio::test]
async fn a_configuration_that_never_came_into_force_is_told_no_more() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let before = build(folder.path(), 60, None);
    drop(build(folder.path(), 61, Some(&before)));

    let (one, text) = keys(1);
    before.key_sources[0].keep(one, text).await;

    assert_eq!(before.key_sources[0].state.known.lock().holders.len(), 1);
}
