//! Random numbers from a seed: the same seed gives the same run, on every machine.

/// `SplitMix64`: 64 bits of state, one multiplication chain a number. Good enough for latencies and draws, and short
/// enough to read; nothing here is a secret.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // Seeds 1, 2, 3 must not begin alike.
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d);
        random.next();
        random
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly from all `u32`.
    pub(crate) fn draw(&mut self) -> u32 {
        (self.next() >> 32) as u32
    }

    /// Evenly from 0 (included) to 1 (not included).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Evenly from 0 to `below`, which is not included; 0 where it is 0.
    pub(crate) fn below(&mut self, below: usize) -> usize {
        (self.unit() * below as f64) as usize
    }

    /// From the standard normal distribution (Box and Muller).
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_another_seed_others() {
        let take = |seed| {
            let mut random = Random::new(seed);
            [random.next(), random.next(), random.next()]
        };

        assert_eq!(take(1), take(1));
        assert_ne!(take(1), take(2));
    }

    #[test]
    fn the_distributions_have_their_moments() {
        let mut random = Random::new(7);
        let count = 100_000;
        let (mut even, mut mean, mut square) = (0.0, 0.0, 0.0);
        for _ in 0..count {
            even += random.unit() / f64::from(count);
            let normal = random.normal();
            mean += normal / f64::from(count);
            square += normal * normal / f64::from(count);
        }

        assert!((even - 0.5).abs() < 0.01 && mean.abs() < 0.02 && (square - 1.0).abs() < 0.02);
    }
}
