//! The JSON scanner judges any bytes as serde_json does, but for keys that come twice.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wire::fuzz::scanner(bytes));
