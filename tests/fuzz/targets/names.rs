//! Whatever a DNS server says, the walk ends and nothing false passes as private.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| egress::fuzz::chain(bytes));
