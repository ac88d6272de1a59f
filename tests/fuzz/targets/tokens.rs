//! Nobody is let in by a token that nobody signed, or by one that says something else.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ingress::auth::fuzz::token(bytes));
