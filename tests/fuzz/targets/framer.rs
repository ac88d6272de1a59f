//! A stream means the same however it is cut, and loses no byte.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wire::fuzz::framer(bytes));
