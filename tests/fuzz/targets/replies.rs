//! Whatever a server of HTTP/1.1 says, a reply is one reply.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| egress::fuzz::reply(bytes));
