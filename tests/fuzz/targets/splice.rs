//! A body that decodes is encoded by every dialect to the same JSON but for the stated splices.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wire::fuzz::splice(bytes));
