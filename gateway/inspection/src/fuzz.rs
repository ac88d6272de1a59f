//! What must hold for any bytes at all, as plain functions: seeded property tests call them, and so can a fuzzer.

use serde_json::Value;

use crate::{StreamRestorer, inspect, redact};

/// Any bytes are inspected; what is redacted stays JSON, holds none of it any more, and is restored to what it was.
pub fn any_bytes(bytes: &[u8]) {
    let findings = inspect(bytes);
    let before = serde_json::from_slice::<Value>(bytes);
    let Ok(done) = redact(bytes, ["contact", "financial", "national_id", "secret", "network_address"]) else { return };
    if findings.counts().all(|(kind, _)| kind.group().is_none()) {
        assert_eq!(done.body, bytes, "what holds nothing is not changed");
    }
    if before.is_ok() {
        assert!(serde_json::from_slice::<Value>(&done.body).is_ok(), "what was JSON stays JSON");
    }
    let left = inspect(&done.body);
    assert!(left.counts().all(|(kind, _)| kind.group().is_none()), "{left:?}");
    let _ = done.restorer.whole(&done.body);
    let mut stream = StreamRestorer::new(done.restorer);
    let _ = stream.event(bytes, bytes);
    let _ = stream.flush();
}
