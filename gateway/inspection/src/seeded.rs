//! Property tests whose cases are the same in every run, unless `PROPTEST_CASES` or `PROPTEST_RNG_SEED` say otherwise.

use proptest::test_runner::{Config, RngSeed};

/// As many cases, or as many as proptest tries by itself, from this seed on. No failure is written to a file.
pub(crate) fn seeded(cases: Option<u32>, seed: u64) -> Config {
    let mut config = Config { failure_persistence: None, ..Config::default() };
    if let Some(cases) = cases.filter(|_| std::env::var_os("PROPTEST_CASES").is_none()) {
        config.cases = cases;
    }
    if std::env::var_os("PROPTEST_RNG_SEED").is_none() {
        config.rng_seed = RngSeed::Fixed(seed);
    }
    config
}
