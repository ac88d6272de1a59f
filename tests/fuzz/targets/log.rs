//! Any bytes are read as a bundle, a checkpoint and a record with its proof, and none that nobody signed is believed.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| telemetry::audit::fuzz::log(bytes));
