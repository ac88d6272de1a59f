//! Paths, usage and dialects take any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wire::fuzz::other_readers(bytes));
