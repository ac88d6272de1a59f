//! Whatever the headers say of who asks, only a known key or a listed proxy is believed.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ingress::auth::fuzz::headers(bytes));
