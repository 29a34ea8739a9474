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
mod tests;
