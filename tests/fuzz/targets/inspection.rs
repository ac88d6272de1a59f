#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| inspection::fuzz::any_bytes(bytes));
