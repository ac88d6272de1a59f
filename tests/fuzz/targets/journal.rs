//! A journal of any bytes is read, what is read is written again, and no changed line is believed.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    ledger::fuzz::journal(bytes);
    ledger::fuzz::written(bytes);
});
