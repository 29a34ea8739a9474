//! The only source of random numbers: streams named by what they are for.
//!
//! A stream depends on the run's seed, the round, the step and the subject, never on the run's name, its pipeline or
//! the machine. So two pipelines with the same step draw alike, and any worker draws what another would have drawn.
//! Logarithm and cosine come from the `libm` crate, and no value depends on the width of a pointer.

use fedstill_schemas::canonical_json;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};

/// A sequence of random numbers: ChaCha8 keyed by the sha256 of its name.
#[derive(Clone, Debug)]
pub struct Stream {
    key: [u8; 32],
    source: ChaCha8Rng,
}

impl Stream {
    /// The stream of a task: `step` and `subject` as in its name.
    pub fn new(run_seed: u64, round: u32, step: &str, subject: &str) -> Self {
        Self::keyed(canonical_json(&(run_seed, round, step, subject)).as_bytes())
    }

    /// An independent stream for one purpose within this one. How much was drawn from either changes nothing.
    #[must_use]
    pub fn fork(&self, purpose: &str) -> Self {
        let mut name = self.key.to_vec();
        name.extend(purpose.as_bytes());
        Self::keyed(&name)
    }

    fn keyed(name: &[u8]) -> Self {
        let key = Sha256::digest(name).into();
        Self {
            key,
            source: ChaCha8Rng::from_seed(key),
        }
    }

    /// Uniform in [0, 1), a multiple of 2^-53.
    pub fn uniform(&mut self) -> f64 {
        (self.source.next_u64() >> 11) as f64 * 2.0_f64.powi(-53)
    }

    /// Standard normal (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.uniform()));
        radius * libm::cos(std::f64::consts::TAU * self.uniform())
    }

    /// The logarithm of a gamma variable of that shape and scale 1 (Marsaglia and Tsang 2000; below shape 1 by their
    /// section 6, in logarithms: small shapes give values that no float holds).
    pub fn log_gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let boost = libm::log(1.0 - self.uniform()) / shape;
            return self.log_gamma(shape + 1.0) + boost;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / libm::sqrt(9.0 * d);
        loop {
            let x = self.normal();
            let cube = 1.0 + c * x;
            if cube <= 0.0 {
                continue;
            }
            let v = cube * cube * cube;
            let accept = 0.5 * x * x + d - d * v + d * libm::log(v);
            if libm::log(1.0 - self.uniform()) < accept {
                return libm::log(d * v);
            }
        }
    }

    /// Uniform in 0..`bound`, without bias (Lemire 2019, arXiv:1805.10941). 0 where `bound` is 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        let threshold = bound.wrapping_neg().checked_rem(bound).unwrap_or(0);
        loop {
            let product = u64::from(self.source.next_u32()) * u64::from(bound);
            if product as u32 >= threshold {
                return (product >> 32) as u32;
            }
        }
    }

    /// A permutation of `values` in place (Fisher and Yates).
    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for i in (1..values.len()).rev() {
            values.swap(i, self.below(i as u32 + 1) as usize);
        }
    }

    /// A permutation of 0..`len`.
    pub fn permutation(&mut self, len: u32) -> Vec<u32> {
        let mut values: Vec<u32> = (0..len).collect();
        self.shuffle(&mut values);
        values
    }

    /// A mask for dropout: `len` values, each 0 with probability `rate` and `1 / (1 - rate)` otherwise.
    pub fn dropout_mask(&mut self, len: usize, rate: f64) -> Vec<f32> {
        let threshold = (rate * 2.0_f64.powi(32)) as u32;
        let kept = (1.0 / (1.0 - rate)) as f32;
        let mut bytes = vec![0; len * 4];
        self.source.fill_bytes(&mut bytes);
        let draws = bytes.as_chunks::<4>().0.iter().map(|four| u32::from_le_bytes(*four));
        draws.map(|draw| if draw < threshold { 0.0 } else { kept }).collect()
    }
}

/// A seeded sample of `take` rows out of 0..`rows` without replacement, in draw order; all rows in file order where
/// `take` is not less than `rows`.
pub fn draw(seed: u64, purpose: &str, round: u32, rows: u32, take: u32) -> Vec<u32> {
    if take >= rows {
        return (0..rows).collect();
    }
    let mut sample = Stream::new(seed, round, "draw", purpose).permutation(rows);
    sample.truncate(take as usize);
    sample
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stream(subject: &str) -> Stream {
        Stream::new(7, 3, "revisit", subject)
    }

    #[test]
    fn a_stream_is_the_same_everywhere() {
        // Written down once: a change here changes every result of every run.
        let mut stream = stream("3");
        assert_eq!(stream.permutation(8), [5, 7, 0, 6, 1, 2, 4, 3]);
        let bits = [stream.uniform(), stream.normal(), stream.log_gamma(0.5)].map(f64::to_bits);
        assert_eq!(bits, [0x3fc4928efe5a0630, 0xbfef57efd970e33e, 0x3fd602b236c6eec0]);
    }

    #[test]
    fn every_part_of_the_name_counts() {
        let first = |mut stream: Stream| stream.uniform().to_bits();
        let names = [
            Stream::new(7, 3, "a", "b"),
            Stream::new(8, 3, "a", "b"),
            Stream::new(7, 4, "a", "b"),
            Stream::new(7, 3, "b", "a"),
            Stream::new(7, 3, "ab", ""),
            Stream::new(7, 3, "a", "b").fork("x"),
            Stream::new(7, 3, "a", "b").fork("y"),
        ];
        let draws: std::collections::BTreeSet<u64> = names.into_iter().map(first).collect();
        assert_eq!(draws.len(), 7);
    }

    #[test]
    fn a_fork_does_not_depend_on_what_was_drawn() {
        let mut used = stream("0");
        used.uniform();
        assert_eq!(used.fork("x").uniform(), stream("0").fork("x").uniform());
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut stream = stream("moments");
        let count = 40_000;
        let mut mean_and_variance = |mut next: Box<dyn FnMut(&mut Stream) -> f64>| {
            let values: Vec<f64> = (0..count).map(|_| next(&mut stream)).collect();
            let mean = values.iter().sum::<f64>() / count as f64;
            let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count as f64;
            (mean, variance)
        };
        let (mean, variance) = mean_and_variance(Box::new(Stream::normal));
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
        let (mean, variance) = mean_and_variance(Box::new(Stream::uniform));
        assert!(
            (mean - 0.5).abs() < 0.01 && (variance - 1.0 / 12.0).abs() < 0.003,
            "{mean} {variance}"
        );
        for shape in [0.3, 1.0, 4.5] {
            let (mean, variance) = mean_and_variance(Box::new(move |stream| libm::exp(stream.log_gamma(shape))));
            assert!(
                (mean / shape - 1.0).abs() < 0.06 && (variance / shape - 1.0).abs() < 0.12,
                "{shape}: {mean} {variance}"
            );
        }
    }

    #[test]
    fn a_mask_keeps_the_mean() {
        let mask = stream("mask").dropout_mask(100_000, 0.2);
        let zeros = mask.iter().filter(|value| **value == 0.0).count();
        assert!((19_500..20_500).contains(&zeros), "{zeros}");
        assert!(mask.iter().all(|value| *value == 0.0 || *value == 1.25));
    }

    proptest! {
        #[test]
        fn a_draw_has_no_row_twice(seed: u64, rows in 1_u32..200, take in 0_u32..250) {
            let sample = draw(seed, "alignment", 1, rows, take);
            prop_assert_eq!(sample.len() as u32, take.min(rows));
            let distinct: std::collections::BTreeSet<u32> = sample.iter().copied().collect();
            prop_assert_eq!(distinct.len(), sample.len());
            prop_assert!(sample.iter().all(|row| *row < rows));
        }

        #[test]
        fn below_stays_below(seed: u64, bound in 1_u32..) {
            let mut stream = Stream::new(seed, 0, "", "");
            for _ in 0..20 {
                prop_assert!(stream.below(bound) < bound);
            }
        }
    }

    #[test]
    fn all_rows_come_in_file_order_and_samples_differ_by_round() {
        assert_eq!(draw(1, "public", 0, 4, 4), [0, 1, 2, 3]);
        assert_ne!(draw(1, "public", 0, 100, 10), draw(1, "public", 1, 100, 10));
        assert_ne!(draw(1, "public", 0, 100, 10), draw(2, "public", 0, 100, 10));
        assert_ne!(draw(1, "public", 0, 100, 10), draw(1, "private", 0, 100, 10));
    }
}
