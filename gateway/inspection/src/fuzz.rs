//! What must hold for any bytes at all, as plain functions: seeded property tests call them, and so can a fuzzer.

use serde_json::Value;

use crate::{StreamRestorer, inspect, redact};

/// Any bytes are inspected; what is redacted stays JSON, holds none of it any more, and is restored to what it was.
pub fn any_bytes(bytes: &[u8]) {
    let findings = inspect(bytes);
    let before = serde_json::from_slice::<Value>(bytes);
    let Ok(done) = redact(bytes, ["contact", "financial", "national_id", "secret", "network_address"]) else { return };
    let (after, restorer) = done.into_parts();
    if findings.counts().all(|(kind, _)| kind.group().is_none()) {
        assert_eq!(after, bytes, "what holds nothing is not changed");
    }
    if before.is_ok() {
        assert!(serde_json::from_slice::<Value>(&after).is_ok(), "what was JSON stays JSON");
    }
    let left = inspect(&after);
    assert!(left.counts().all(|(kind, _)| kind.group().is_none()), "{left:?}");
    let _ = restorer.whole(&after);
    let mut stream = StreamRestorer::new(restorer);
    let _ = stream.event(bytes, bytes);
    let _ = stream.flush();
}
