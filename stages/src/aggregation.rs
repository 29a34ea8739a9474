//! Exact sums of predictions: 128-bit fixed point with a grid of 2^-64, so that the order of parties changes no bit.
//!
//! A finite float16 is an integer multiple of 2^-24, so sums of float16 are exact; a float32 is rounded to the grid
//! once. Float16 is summed in float64 first, as long as that is exact, which is the same number and much faster. Where members
//! have weights, these are multiples of 2^-40 of the largest: products with float16 are on the grid, those with float32 are
//! rounded to it once.
//!
//! Loops over values are compiled for the widest instructions that the machine has: the numbers are exact, and so the
//! same with any.

#![expect(
    clippy::inline_always,
    reason = "instructions are chosen for a whole loop, and only for what is compiled into it"
)]

use fedstill_schemas::predictions::Values;
use half::f16;

/// Why a member's values cannot be summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccumulateError {
    /// NaN or an infinity.
    #[error("it holds a value that is not finite")]
    NotFinite,
    /// Beyond the range in which any number of parties can be summed.
    #[error("it holds a value beyond 2^40, which no logit has")]
    TooLarge,
    /// Not as many values as there are sums.
    #[error("it has another number of values")]
    Length,
}

/// A member's values that can be summed, all of them.
#[derive(Clone, Debug)]
pub struct Summable(Values);

impl Summable {
    /// Checks a member's values, of which there must be `count`.
    ///
    /// # Errors
    /// Values that are not finite, too large, or of another number.
    pub fn check(values: Values, count: usize) -> Result<Self, AccumulateError> {
        const LARGEST: f32 = (1u64 << 40) as f32;
        if values.len() != count {
            return Err(AccumulateError::Length);
        }
        match &values {
            Values::Float16(values) if !pulp::Arch::new().dispatch(AllFinite(values)) => {
                Err(AccumulateError::NotFinite)
            }
            Values::Float32(values) if values.iter().any(|v| !v.is_finite()) => Err(AccumulateError::NotFinite),
            Values::Float32(values) if values.iter().any(|v| v.abs() > LARGEST) => Err(AccumulateError::TooLarge),
            _ => Ok(Self(values)),
        }
    }

    /// Values between 0 and 1, which need no check.
    pub(crate) fn of_probabilities(probabilities: Vec<f32>) -> Self {
        Self(Values::Float32(probabilities.into()))
    }

    /// The values.
    pub fn values(&self) -> &Values {
        &self.0
    }

    fn halves(&self) -> Option<&[f16]> {
        match &self.0 {
            Values::Float16(values) => Some(values),
            Values::Float32(_) => None,
        }
    }
}

/// The exact sum of any number of rows of predictions.
#[derive(Clone, Debug)]
pub struct Accumulator {
    /// Sums of float16, times 2^-112: before that multiples of 2^-24 below 2^29, and so exact.
    narrow: Vec<f64>,
    /// Members in `narrow`.
    narrow_members: u32,
    /// Everything else, grid 2^-64; empty until needed.
    wide: Vec<i128>,
    members: u32,
    /// Of the members with weights; `None` where none has one.
    weight: Option<u64>,
}

/// What a member with a weight counts by: a multiple of 2^-40 of the largest that there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight(u64);

/// Bits of the largest weight.
const WEIGHT: i32 = 40;

impl Weight {
    /// Weights over the largest of them, each rounded once; nothing where that is not above 0.
    pub(crate) fn of(weights: &[f64]) -> Vec<Self> {
        let largest = weights.iter().copied().fold(0.0, f64::max);
        // What is no number, or below 0, becomes 0.
        let share = |weight: &f64| (weight / largest * 2f64.powi(WEIGHT)).round_ties_even() as u64;
        weights.iter().map(|weight| Self(share(weight))).collect()
    }

    /// It over the largest, exactly: for sums in float64, which then count parties as the consensus does.
    pub(crate) fn share(self) -> f64 {
        self.0 as f64 * 2f64.powi(-WEIGHT)
    }
}

/// Members whose float16 values surely sum exactly in float64: 2^13 values below 2^16 on a grid of 2^-24 need 53 bits.
const NARROW: u32 = 1 << 13;
/// Sums that all members are added to before the next ones: they stay in the first cache.
const BLOCK: usize = 2048;

impl Accumulator {
    /// Sums of `values` values.
    pub fn new(values: usize) -> Self {
        Self {
            narrow: vec![0.0; values],
            narrow_members: 0,
            wide: Vec::new(),
            members: 0,
            weight: None,
        }
    }

    /// How many members were added.
    pub fn members(&self) -> u32 {
        self.members
    }

    /// Adds members, each with as many values as there are sums. Many at once are faster than one by one: the sums stay in
    /// the first cache.
    pub fn add(&mut self, members: &[Summable]) {
        let halves: Vec<&[f16]> = members.iter().filter_map(Summable::halves).collect();
        for members in halves.chunks(NARROW as usize) {
            if self.narrow_members + members.len() as u32 > NARROW {
                self.widen();
            }
            pulp::Arch::new().dispatch(Add {
                sums: &mut self.narrow,
                members,
            });
            self.narrow_members += members.len() as u32;
        }
        for member in members {
            if let Values::Float32(values) = &member.0 {
                self.add_f32(values);
            }
        }
        self.members += members.len() as u32;
    }

    /// Adds a member that counts by a weight. What has such a member has no other ones.
    pub(crate) fn add_weighted(&mut self, member: &Summable, weight: Weight) {
        self.make_wide();
        match &member.0 {
            Values::Float16(values) => {
                for (sum, value) in self.wide.iter_mut().zip(&values[..]) {
                    // 2^24 of the value and 2^40 of the weight make the grid: an integer, and exact.
                    let value = (exact(*value) * 2f64.powi(136)) as i64;
                    *sum += i128::from(value) * i128::from(weight.0);
                }
            }
            Values::Float32(values) => {
                for (sum, value) in self.wide.iter_mut().zip(&values[..]) {
                    *sum += product(*value, weight);
                }
            }
        }
        self.members += 1;
        self.weight = Some(self.weight.unwrap_or(0) + weight.0);
    }

    fn add_f32(&mut self, values: &[f32]) {
        self.make_wide();
        for (sum, value) in self.wide.iter_mut().zip(values) {
            // Scaling by a power of two is exact; 2^40 * 2^64 * 2^22 members stay far below 2^127.
            *sum += (f64::from(*value) * 2f64.powi(64)).round_ties_even() as i128;
        }
    }

    fn make_wide(&mut self) {
        if self.wide.is_empty() {
            self.wide = vec![0; self.narrow.len()];
        }
    }

    fn widen(&mut self) {
        self.make_wide();
        for (wide, narrow) in self.wide.iter_mut().zip(&mut self.narrow) {
            *wide += fixed(*narrow);
            *narrow = 0.0;
        }
        self.narrow_members = 0;
    }

    /// The mean over members, each value rounded once, to nearest, ties to even; `None` without members, or where none has
    /// a weight above 0.
    pub fn mean(mut self) -> Option<Vec<f32>> {
        if let Some(weight) = self.weight {
            let mean = self.wide.iter().map(|sum| quotient(*sum, weight, WEIGHT));
            return (weight > 0).then(|| mean.collect());
        }
        if self.members == 0 {
            return None;
        }
        let members = u64::from(self.members);
        if self.wide.is_empty() {
            let mean = self.narrow.iter().map(|sum| quotient(fixed(*sum), members, 0));
            return Some(mean.collect());
        }
        self.widen();
        Some(self.wide.iter().map(|sum| quotient(*sum, members, 0)).collect())
    }
}

/// Adds members of float16 to sums on their scale.
struct Add<'a> {
    sums: &'a mut [f64],
    members: &'a [&'a [f16]],
}

impl pulp::WithSimd for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        for (block, sums) in self.sums.chunks_mut(BLOCK).enumerate() {
            let range = block * BLOCK..block * BLOCK + sums.len();
            // Four at a time load and store each sum once; all sums are exact, in any order.
            let (fours, rest) = self.members.as_chunks::<4>();
            for four in fours {
                let [a, b, c, d] = four.map(|member| &member[range.clone()][..sums.len()]);
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum += (exact(a[i]) + exact(b[i])) + (exact(c[i]) + exact(d[i]));
                }
            }
            for member in rest {
                for (sum, value) in sums.iter_mut().zip(&member[range.clone()]) {
                    *sum += exact(*value);
                }
            }
        }
    }
}

/// A finite float16 times 2^-112, exactly and without a branch: with its bits in their places in a float32 it is that,
/// subnormals included.
#[inline(always)]
fn scaled(value: f16) -> f32 {
    // The sign fills the upper half, and all of it but the highest bit is cut off again.
    let bits = i32::from(value.to_bits().cast_signed()) << 13;
    f32::from_bits(bits.cast_unsigned() & 0x8fff_e000)
}

/// [`scaled`], as it is summed.
#[inline(always)]
fn exact(value: f16) -> f64 {
    f64::from(scaled(value))
}

/// A sum of [`scaled`] values on the grid of 2^-64.
fn fixed(sum: f64) -> i128 {
    // A multiple of 2^-24 before it was scaled: the product is an integer, and exact.
    i128::from((sum * 2f64.powi(136)) as i64) << 40
}

/// Whether no value is an infinity or NaN: an exponent of all ones. Looks at all of them, which vectorises.
struct AllFinite<'a>(&'a [f16]);

impl pulp::WithSimd for AllFinite<'_> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> bool {
        // A loop of its own: an iterator's `fold` is a function of its own, compiled without the wide instructions.
        let mut largest = 0;
        for value in self.0 {
            largest = largest.max(value.to_bits() & 0x7c00);
        }
        largest < 0x7c00
    }
}

/// A float32 times a weight on the grid of 2^-64, rounded once, to nearest, ties to even.
fn product(value: f32, weight: Weight) -> i128 {
    let bits = value.to_bits();
    let (power, fraction) = (((bits >> 23) & 0xff) as i32, bits & 0x007f_ffff);
    // value = mantissa * 2^exponent
    let (mantissa, exponent) = match power {
        0 => (fraction, -149),
        power => (fraction | 0x0080_0000, power - 150),
    };
    // At most 2^64; values are at most 2^40, so that shifting left stays below 2^105.
    let product = u128::from(mantissa) * u128::from(weight.0);
    let shift = exponent + 64 - WEIGHT;
    let magnitude = if shift >= 0 {
        product << shift
    } else {
        let cut = -shift;
        let (kept, tail, half) = (product >> cut, product & ((1 << cut) - 1), 1 << (cut - 1));
        kept + u128::from(tail > half || (tail == half && kept & 1 == 1))
    };
    let magnitude = magnitude as i128;
    if value.is_sign_negative() {
        -magnitude
    } else {
        magnitude
    }
}

/// `sum * 2^-64 / divisor * 2^scale` as float32, rounded once.
fn quotient(sum: i128, divisor: u64, scale: i32) -> f32 {
    let magnitude = sum.unsigned_abs();
    if magnitude == 0 {
        return 0.0;
    }
    // The dividend's highest bit goes to the top, so that the quotient has at least 64 significant bits.
    let shift = magnitude.leading_zeros();
    let dividend = magnitude << shift;
    let divisor = u128::from(divisor);
    let (quotient, rest) = (dividend / divisor, dividend % divisor);
    // 24 bits are kept; what is cut off decides the rounding.
    let cut = 128 - quotient.leading_zeros() - 24;
    let kept = (quotient >> cut) as u32;
    let tail = quotient & ((1 << cut) - 1);
    let half = 1 << (cut - 1);
    let above = tail > half || (tail == half && (rest != 0 || kept & 1 == 1));
    // At most 2^24: exact in float32, and so is scaling by a power of two, as no value is below 2^-96 or above 2^41.
    let rounded = (kept + u32::from(above)) as f32;
    let exponent = cut as i32 - 64 - shift as i32 + scale;
    let value = (f64::from(rounded) * 2f64.powi(exponent)) as f32;
    if sum < 0 { -value } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Rational arithmetic: the sum as an exact integer on the grid, compared as a fraction with float32 neighbours.
    fn is_nearest(value: f32, sum: i128, members: u32) -> bool {
        // |value * members * 2^64 - sum| must not exceed half the gap to either neighbour. All terms are exact in
        // wide integers after scaling by 2^64 more.
        let exact = |x: f32| -> Option<i128> {
            let scaled = f64::from(x) * 2f64.powi(90);
            (scaled.abs() < 2f64.powi(126) && scaled.fract() == 0.0).then_some(scaled as i128)
        };
        let target = sum << 26;
        let error = |x: f32| exact(x).map(|x| (x * i128::from(members) - target).unsigned_abs());
        let here = error(value);
        let up = error(f32::from_bits(value.to_bits() + 1));
        let down = if value == 0.0 {
            None
        } else {
            error(f32::from_bits(value.to_bits() - 1))
        };
        here.is_some_and(|here| up.is_none_or(|up| here <= up) && down.is_none_or(|down| here <= down))
    }

    fn finite() -> impl Strategy<Value = f16> {
        prop_oneof![
            4 => any::<u16>().prop_map(|bits| f16::from_bits(if bits & 0x7c00 == 0x7c00 { bits & 0x83ff } else { bits })),
            1 => Just(f16::MAX), 1 => Just(f16::MIN), 1 => Just(f16::MIN_POSITIVE_SUBNORMAL), 1 => Just(f16::NEG_ZERO),
            2 => (-8.0f32..8.0).prop_map(f16::from_f32),
        ]
    }

    fn sum_of(values: &[f16]) -> Accumulator {
        let mut sum = Accumulator::new(1);
        add(
            &mut sum,
            values.iter().map(|value| Values::Float16(vec![*value].into())),
        );
        sum
    }

    fn add(sum: &mut Accumulator, members: impl IntoIterator<Item = Values>) {
        let count = sum.narrow.len();
        let check = |values| Summable::check(values, count).unwrap();
        let members: Vec<_> = members.into_iter().map(check).collect();
        sum.add(&members);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_mean_of_float16_is_the_exact_mean_rounded_once(values in proptest::collection::vec(finite(), 1..40)) {
            let exact: i128 = values.iter().map(|v| (f64::from(v.to_f32()) * 2f64.powi(64)) as i128).sum();
            let mean = sum_of(&values).mean().unwrap()[0];
            prop_assert!(is_nearest(mean.abs(), exact.abs(), values.len() as u32), "{mean} of {exact}");
            prop_assert!(exact == 0 || (mean < 0.0) == (exact < 0));
        }

        #[test]
        fn order_changes_no_bit(values in proptest::collection::vec(finite(), 1..40), seed in any::<u64>(), single in any::<u64>()) {
            let of = |order: &[usize]| {
                // Some members send float32: the widths may mix.
                let value = |i: &usize| if single >> (i % 64) & 1 == 1 {
                    Values::Float32(vec![values[*i].to_f32() * 1.000_1].into())
                } else {
                    Values::Float16(vec![values[*i]].into())
                };
                let mut sum = Accumulator::new(1);
                // Some come together, some alone.
                let (together, alone) = order.split_at(order.len() / 2);
                add(&mut sum, together.iter().map(value));
                for i in alone {
                    add(&mut sum, [value(i)]);
                }
                sum.mean().unwrap()[0].to_bits()
            };
            let forward: Vec<usize> = (0..values.len()).collect();
            let mut shuffled = forward.clone();
            shuffled.sort_by_key(|i| (seed.rotate_left(*i as u32) ^ *i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            prop_assert_eq!(of(&forward), of(&shuffled));
        }

        #[test]
        fn the_mean_by_weights_is_the_exact_one_rounded_once_in_any_order(
            values in proptest::collection::vec((finite(), 0u64..9), 1..40), single in any::<u64>(),
        ) {
            // With an eighth as the unit, and one member of the largest weight, so that all of them are as they are given.
            let mut values = values;
            values.push((f16::ONE, 8));
            let eighths: Vec<f64> = values.iter().map(|(_, weight)| *weight as f64 / 8.0).collect();
            let weights = Weight::of(&eighths);
            let of = |order: &mut dyn Iterator<Item = usize>| {
                let mut sum = Accumulator::new(1);
                for i in order {
                    let value = if single >> (i % 64) & 1 == 1 {
                        Values::Float32(vec![values[i].0.to_f32()].into())
                    } else {
                        Values::Float16(vec![values[i].0].into())
                    };
                    sum.add_weighted(&Summable::check(value, 1).unwrap(), weights[i]);
                }
                sum.mean().unwrap()[0]
            };
            let mean = of(&mut (0..values.len()));
            prop_assert_eq!(mean.to_bits(), of(&mut (0..values.len()).rev()).to_bits());
            let on_the_grid = |value: f16| (value.to_f64() * 2f64.powi(64)) as i128;
            let exact: i128 = values.iter().map(|(value, weight)| on_the_grid(*value) * i128::from(*weight)).sum();
            let all: u64 = values.iter().map(|(_, weight)| weight).sum();
            prop_assert!(is_nearest(mean.abs(), exact.abs(), all as u32), "{mean} of {exact} by {all}");
            prop_assert!(exact == 0 || (mean < 0.0) == (exact < 0));
        }

        #[test]
        fn equal_weights_give_the_bits_of_no_weights(
            values in proptest::collection::vec(-1e6f32..1e6, 1..20), weight in 1e-9f64..1e9,
        ) {
            let weights = Weight::of(&vec![weight; values.len()]);
            let (mut plain, mut weighted) = (Accumulator::new(1), Accumulator::new(1));
            for (value, weight) in values.iter().zip(weights) {
                let member = Summable::check(Values::Float32(vec![*value].into()), 1).unwrap();
                plain.add(std::slice::from_ref(&member));
                weighted.add_weighted(&member, weight);
            }
            prop_assert_eq!(plain.mean().unwrap()[0].to_bits(), weighted.mean().unwrap()[0].to_bits());
        }

        #[test]
        fn a_product_with_a_weight_is_rounded_once(value in -1e12f32..1e12, weight in 0u64..=1 << 40) {
            let product = product(value, Weight(weight));
            // A float32 and a weight of 40 bits: 64 bits, exact as two halves of which each is in float64.
            let (high, low) = (weight >> 20, weight & 0xf_ffff);
            let halves = [high as f64 * 2f64.powi(20), low as f64].map(|half| f64::from(value) * half * 2f64.powi(24));
            let error = halves.iter().map(|half| *half as i128).sum::<i128>() - product;
            prop_assert!(error.abs() <= 2, "{error}");
            prop_assert_eq!(super::product(-value, Weight(weight)), -product);
        }

        #[test]
        fn float16_lies_on_the_grid(value in finite()) {
            prop_assert_eq!(fixed(f64::from(scaled(value))), (value.to_f64() * 2f64.powi(64)) as i128);
        }
    }

    #[test]
    fn a_member_with_a_bad_value_is_refused() {
        let mut sum = Accumulator::new(2);
        add(&mut sum, [Values::Float16(vec![f16::ONE, f16::ONE].into())]);
        let refused = |values: Values| Summable::check(values, 2).unwrap_err();
        let half = |values: &[f16]| Values::Float16(values.to_vec().into());
        let single = |values: &[f32]| Values::Float32(values.to_vec().into());
        assert_eq!(refused(half(&[f16::ONE, f16::NAN])), AccumulateError::NotFinite);
        assert_eq!(
            refused(half(&[f16::NEG_INFINITY, f16::ONE])),
            AccumulateError::NotFinite
        );
        assert_eq!(refused(single(&[1.0, f32::INFINITY])), AccumulateError::NotFinite);
        assert_eq!(refused(single(&[1.0, 1e30])), AccumulateError::TooLarge);
        assert_eq!(refused(half(&[f16::ONE])), AccumulateError::Length);
        assert_eq!(sum.mean().unwrap(), [1.0, 1.0]);
    }

    /// Reference values of `tests/golden` (`FEDSTILL_GOLDEN` names another folder), from PyTorch in float64.
    #[test]
    fn the_mean_is_the_reference_mean() {
        let folder = std::env::var_os("FEDSTILL_GOLDEN").map_or_else(
            || std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden")),
            std::path::PathBuf::from,
        );
        for case in 0..5 {
            let bytes = std::fs::read(folder.join(format!("ensemble_{case}.safetensors"))).unwrap();
            let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            let floats = |name: &str| -> Vec<f32> {
                let bytes = file.tensor(name).unwrap().data();
                bytes
                    .chunks_exact(4)
                    .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                    .collect()
            };
            let (logits, expected) = (floats("logits"), floats("mean"));
            let mut sum = Accumulator::new(expected.len());
            for (member, values) in logits.chunks_exact(expected.len()).enumerate() {
                // Inputs are exact in float16: both widths must give the same.
                let values = if member % 2 == 0 {
                    Values::Float16(values.iter().map(|v| f16::from_f32(*v)).collect::<Vec<_>>().into())
                } else {
                    Values::Float32(values.to_vec().into())
                };
                add(&mut sum, [values]);
            }
            let mean = sum.mean().unwrap();
            let largest = expected.iter().fold(0f32, |most, v| most.max(v.abs()));
            for (found, expected) in mean.iter().zip(&expected) {
                assert!(
                    (found - expected).abs() <= 1e-5 * (expected.abs() + largest),
                    "{found} {expected} in {case}"
                );
            }
        }
    }

    #[test]
    fn more_members_than_float64_holds_and_more_values_than_a_block_are_exact() {
        let mut sum = Accumulator::new(BLOCK + 3);
        let of = |value: f16| Summable::check(Values::Float16(vec![value; BLOCK + 3].into()), BLOCK + 3).unwrap();
        let (member, small) = (of(f16::MAX), of(f16::MIN_POSITIVE_SUBNORMAL));
        sum.add(&vec![member; NARROW as usize + 9]);
        sum.add(&[small]);
        let members = f64::from(NARROW + 10);
        let expected = (f64::from(NARROW + 9) * f16::MAX.to_f64() + 2f64.powi(-24)) / members;
        assert!(sum.mean().unwrap().iter().all(|mean| *mean == expected as f32));
    }

    #[test]
    fn the_mean_of_nobody_is_nothing_and_so_is_that_of_members_without_weight() {
        assert_eq!(Accumulator::new(3).mean(), None);
        let member = Summable::check(Values::Float16(vec![f16::ONE].into()), 1).unwrap();
        let mut sum = Accumulator::new(1);
        sum.add_weighted(&member, Weight::default());
        assert_eq!(sum.clone().mean(), None);
        sum.add_weighted(&member, Weight(1));
        assert_eq!(sum.mean(), Some(vec![1.0]));
    }

    #[test]
    fn weights_are_shares_of_the_largest() {
        let units = |weights: &[f64]| -> Vec<u64> { Weight::of(weights).iter().map(|weight| weight.0).collect() };
        assert_eq!(units(&[1.0, 0.5, 0.0]), [1 << 40, 1 << 39, 0]);
        assert_eq!(units(&[3e-300, 3e-301]), [1 << 40, 109_951_162_778]);
        assert_eq!(units(&[0.0, 0.0]), [0, 0]);
        assert_eq!(units(&[f64::NAN, -1.0, 2.0]), [0, 0, 1 << 40]);
        let shares: Vec<f64> = Weight::of(&[1e308, 5e307, 0.0])
            .into_iter()
            .map(Weight::share)
            .collect();
        assert_eq!(shares, [1.0, 0.5, 0.0]);
    }
}
