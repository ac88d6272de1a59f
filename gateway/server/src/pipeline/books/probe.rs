//! The probe of a half-open target, between its taking and the attempt that it is taken for.

use std::sync::Arc;
use std::time::Instant;

use crate::snapshot::Target;

/// Given back where it is not kept: also when the caller leaves while a stand-in waits for the store.
#[must_use = "the probe is given back when this is dropped"]
pub(super) struct Probe {
    target: Option<Arc<Target>>,
    at: Instant,
}

impl Probe {
    /// The probe that was taken at this moment, if the target was half-open then; another's is left alone.
    pub(super) fn taken(target: &Arc<Target>, at: Instant) -> Self {
        Self { target: Some(Arc::clone(target)), at }
    }

    /// The attempt has it from here on.
    pub(super) fn keep(mut self) {
        self.target = None;
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if let Some(target) = self.target.take() {
            target.health.lock().give_probe_back(self.at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use policy::TargetId;
    use routing::Standing;

    use super::*;
    use crate::pipeline::tests::{World, openai};

    #[tokio::test]
    async fn a_probe_that_no_attempt_follows_is_there_for_the_next_request() {
        let world = World::new("openai", openai()).await;
        let target = Arc::clone(world.gateway.snapshot().target(TargetId(0)));
        let begun = Instant::now();
        while target.standing(begun) == Standing::Healthy {
            target.health.lock().on_failure(begun, begun);
        }
        let later = begun + Duration::from_secs(3_600);
        let takes = |at| target.health.lock().take_probe(at);

        assert!(takes(later));
        drop(Probe::taken(&target, later));
        assert!(takes(later), "its caller left while it waited, and it was given back");
        Probe::taken(&target, later).keep();
        assert!(!takes(later), "an attempt has it");
    }
}
