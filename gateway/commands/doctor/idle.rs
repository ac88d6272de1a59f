//! How long a silent connection lives on the way to an endpoint, tried out.

use std::sync::Arc;
use std::time::Duration;

use egress::{BuildError, Code, Endpoint, EndpointSpec, Http2, ResolverSpec, Silence};

use super::examine::{Finding, only};

/// Longer than any silence that is tried, so that TCP's probes do not keep the connection alive.
const NO_PROBES: Duration = Duration::from_secs(8 * 3600);

/// What became of one connection.
#[derive(Clone, Debug)]
pub(super) struct Try {
    pub(super) silence: Duration,
    pub(super) outcome: Silence,
}

/// Tries four silences at once, up to the longest.
pub(super) async fn look(
    spec: &EndpointSpec,
    resolvers: &[ResolverSpec],
    (longest, step): (Duration, Duration),
) -> Result<Vec<Try>, BuildError> {
    let mut bare = spec.clone();
    bare.transport.keepalive_idle = NO_PROBES;
    if bare.http2 == Http2::Auto {
        bare.http2 = Http2::Off;
    }
    let endpoint = only(bare, resolvers)?;
    let looks: Vec<_> =
        silences(longest).map(|silence| tokio::spawn(one(Arc::clone(&endpoint), silence, step))).collect();
    let mut tries = Vec::with_capacity(looks.len());
    for look in looks {
        tries.push(look.await.expect("a look does not panic, and nobody aborts it"));
    }
    Ok(tries)
}

async fn one(endpoint: Arc<Endpoint>, silence: Duration, step: Duration) -> Try {
    Try { silence, outcome: endpoint.silent_for(silence, step).await }
}

/// An eighth, a quarter, a half and the whole, in whole seconds and each once.
fn silences(longest: Duration) -> impl Iterator<Item = Duration> {
    let mut all: Vec<u64> = [8, 4, 2, 1].map(|part| (longest.as_secs() / part).max(1)).to_vec();
    all.dedup();
    all.into_iter().map(Duration::from_secs)
}

/// What the tries show: between which silences connections are cut, and whether the endpoint's probes come before.
pub(super) fn found(tries: &[Try], probed_after: Duration) -> Option<Finding> {
    let cut = tries.iter().find(|one| matches!(one.outcome, Silence::Cut(_)))?;
    let Silence::Cut(how) = &cut.outcome else { return None };
    let lived = tries.iter().take_while(|one| one.silence < cut.silence);
    let lived = lived.filter(|one| one.outcome == Silence::Survived).last().map(|one| one.silence);
    // Between the two nobody has looked.
    let probes = match lived.is_some_and(|lived| probed_after <= lived) {
        true => "which keeps it",
        false => "which may be too late: set `transport.keepalive.idle_ms` lower",
    };
    let lived = lived
        .map_or_else(String::new, |silence| format!(", and one that was silent for {} s was not", silence.as_secs()));
    let seen = format!(
        "a connection that was silent for {} s was cut ({how}){lived}; the gateway probes silent connections after {} s, {probes}",
        cut.silence.as_secs(),
        probed_after.as_secs(),
    );
    Some(Finding { code: Code::Net08, seen })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tries(outcomes: &[(u64, Silence)]) -> Vec<Try> {
        let one = |(seconds, outcome): &(u64, Silence)| Try {
            silence: Duration::from_secs(*seconds),
            outcome: outcome.clone(),
        };
        outcomes.iter().map(one).collect()
    }

    #[test]
    fn silences_double_up_to_the_one_that_was_asked_for() {
        let seconds = |longest| silences(Duration::from_secs(longest)).map(|one| one.as_secs()).collect::<Vec<_>>();

        assert_eq!(seconds(240), [30, 60, 120, 240]);
        assert_eq!(seconds(3), [1, 3]);
        assert_eq!(seconds(1), [1]);
    }

    #[test]
    fn a_cut_is_told_with_the_silence_that_was_survived_and_whether_probes_come_in_time() {
        let cut = || Silence::Cut("no answer".to_owned());
        let some = tries(&[(60, Silence::Survived), (120, cut()), (240, cut())]);
        let all = tries(&[(60, cut())]);

        let [kept, late, at_once] = [(&some, 30), (&some, 120), (&all, 30)]
            .map(|(tries, probes)| found(tries, Duration::from_secs(probes)).unwrap().seen);

        assert!(
            kept.contains("silent for 120 s was cut (no answer), and one that was silent for 60 s was not"),
            "{kept}"
        );
        assert!(kept.ends_with("after 30 s, which keeps it"), "{kept}");
        assert!(late.contains("too late") && at_once.contains("too late"), "{late} {at_once}");
    }

    #[test]
    fn a_connection_that_the_endpoint_closes_is_no_cut() {
        assert_eq!(found(&tries(&[(60, Silence::Survived), (120, Silence::Closed)]), Duration::from_secs(30)), None);
    }
}
