//! A relay ends any stream once, and never dresses a failed one as complete.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wire::fuzz::relay(bytes));
