//! Reductions and exponentials of rows.
//!
//! Written as loops: what an iterator's `fold` or `sum` is given, and a larger closure that is called more than once, may be compiled
//! as functions of their own, without the wide instructions of the loop around them.

#![expect(
    clippy::inline_always,
    reason = "instructions are chosen for a whole loop, and only for what is compiled into it"
)]

use std::ops::Range;

/// Values that are treated at once.
const LANES: usize = 8;

/// The largest value; NaN is passed over.
#[inline(always)]
pub(super) fn maximum(row: &[f32]) -> f32 {
    let larger = |maximum: f32, value: f32| if value > maximum { value } else { maximum };
    let (eights, rest) = row.as_chunks::<LANES>();
    let mut maximum = [f32::NEG_INFINITY; LANES];
    for eight in eights {
        for (maximum, value) in maximum.iter_mut().zip(eight) {
            *maximum = larger(*maximum, *value);
        }
    }
    let mut largest = f32::NEG_INFINITY;
    for maximum in maximum {
        largest = larger(largest, maximum);
    }
    for value in rest {
        largest = larger(largest, *value);
    }
    largest
}

/// Values that are summed in float32 before their sum is added to others'.
const BLOCK: usize = 1024;

/// The sum of values, always in the same order: by lanes, across them, and of long rows by blocks, whose sums are added in
/// float64, so that it does not drift.
#[inline(always)]
pub(super) fn sum(row: &[f32]) -> f32 {
    if row.len() <= BLOCK {
        return sum_of_block(row);
    }
    wide_sum(row) as f32
}

/// The same, not rounded to float32 at the end.
#[inline(always)]
pub(crate) fn wide_sum(row: &[f32]) -> f64 {
    let mut sum = 0.0;
    for block in row.chunks(BLOCK) {
        sum += f64::from(sum_of_block(block));
    }
    sum
}

/// [`sum`] of a row within a larger slice, to the bit. Where the slice goes on behind the row, its last few values are added at once
/// with what follows them in the place of 0: one by one they would take as long as all others of a short row.
#[inline(always)]
pub(super) fn sum_within(values: &[f32], row: Range<usize>) -> f32 {
    let rest = row.len() % LANES;
    let last = row.end - rest;
    if row.len() <= BLOCK
        && rest > 0
        && let Some(eight) = values.get(last..last + LANES)
    {
        let mut lanes = added(&values[row.start..last]).0;
        for (i, (sum, value)) in lanes.iter_mut().zip(eight).enumerate() {
            *sum += if i < rest { *value } else { 0.0 };
        }
        return across(lanes);
    }
    sum(&values[row])
}

#[inline(always)]
fn sum_of_block(row: &[f32]) -> f32 {
    let (mut lanes, rest) = added(row);
    for (sum, value) in lanes.iter_mut().zip(rest) {
        *sum += *value;
    }
    across(lanes)
}

/// Sums by lanes, and the values that are too few for all of them.
#[inline(always)]
fn added(row: &[f32]) -> ([f32; LANES], &[f32]) {
    let (eights, rest) = row.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for eight in eights {
        for (sum, value) in lanes.iter_mut().zip(eight) {
            *sum += *value;
        }
    }
    (lanes, rest)
}

/// The sum across lanes.
#[inline(always)]
fn across(lanes: [f32; LANES]) -> f32 {
    let four: [f32; 4] = std::array::from_fn(|i| lanes[i] + lanes[i + 4]);
    (four[0] + four[2]) + (four[1] + four[3])
}

/// Replaces each value by its exponential; none may be above 0.
#[inline(always)]
pub(super) fn exponentials(values: &mut [f32]) {
    // A loop of its own: nothing goes from one value to the next, so that it vectorises.
    for value in values {
        *value = exp(*value);
    }
}

/// The furthest that a class lies below the largest one of its row, after the temperature and before what a loss is multiplied by:
/// what lies further has no probability either way, and infinity would say that the class is masked. Sums of it over any number of
/// classes stay in float32, and times the least normal number, which a GPU may give for an exponential that should be 0, it is
/// nothing.
pub(crate) const FURTHEST: f32 = 1e25;

/// Writes `(x - maximum) * scale` of each value, `maximum` being the largest and `scale` positive, and returns the maximum. Of
/// finite values it is finite, down to minus [`FURTHEST`]. A row that has nothing but minus infinity is all minus infinity again.
#[inline(always)]
pub(super) fn below_maximum(row: &[f32], scale: f32, to: &mut [f32]) -> f32 {
    let maximum = maximum(row);
    // Of an empty row anything is as good; NaN stays.
    let shift = if maximum == f32::NEG_INFINITY { 0.0 } else { maximum };
    for (to, value) in to.iter_mut().zip(row) {
        let below = (*value - shift) * scale;
        // NaN stays.
        *to = if *value == f32::NEG_INFINITY {
            f32::NEG_INFINITY
        } else if below < -FURTHEST {
            -FURTHEST
        } else {
            below
        };
    }
    maximum
}

/// `e^x` of values up to 0, within two units in the last place; below -87, where float32 has no normal number, 0. NaN stays.
///
/// Cephes' polynomial: `x` is split into a multiple of ln 2, which is the exponent, and a rest of at most half of it.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const LEAST: f32 = -87.0;
    // Adding it rounds to an integer, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    const P: [f32; 6] = [
        1.987_569_1e-4,
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        0.5,
    ];
    let clamped = if x < LEAST { LEAST } else { x };
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let rest = clamped - whole * LN_2[0] - whole * LN_2[1];
    let polynomial = ((((P[0] * rest + P[1]) * rest + P[2]) * rest + P[3]) * rest + P[4]) * rest + P[5];
    let mantissa = polynomial * (rest * rest) + rest + 1.0;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    if x < LEAST { 0.0 } else { mantissa * power }
}

/// The natural logarithm, from the same implementation on every machine.
pub(super) fn ln(x: f32) -> f32 {
    libm::logf(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_those_of_float64() {
        for step in 0..=870_000 {
            let x = -(step as f32) * 1e-4;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 2.5e-7, "{x}: {error:e}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-0.0), 1.0);
        assert_eq!([exp(-87.1), exp(-1e30), exp(f32::NEG_INFINITY)], [0.0; 3]);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn what_lies_below_the_maximum_is_finite_unless_it_is_masked() {
        for (largest, scale) in [(3e38, 1.0), (1e37, 20.0), (1e31, 1.0), (1e-3, 1e9)] {
            let row = [largest, -largest, 0.0, f32::NEG_INFINITY, -3.4e38];
            let mut below = [0.0; 5];
            assert_eq!(below_maximum(&row, scale, &mut below), largest);
            assert_eq!((below[0], below[3]), (0.0, f32::NEG_INFINITY));
            assert!(below.iter().all(|below| *below <= 0.0), "{below:?}");
            assert!([1, 2, 4].iter().all(|i| below[*i] >= -FURTHEST), "{below:?}");
        }
        let mut below = [0.0; 2];
        below_maximum(&[1.0, f32::NAN], 1.0, &mut below);
        assert!(below[1].is_nan());
    }

    #[test]
    fn the_sum_of_a_row_is_the_same_alone_and_before_others() {
        let values: Vec<f32> = (0..3000)
            .map(|i| match i % 7 {
                0 => f32::NAN,
                1 => f32::INFINITY,
                _ => (i * 7919 % 104_729) as f32 * 1e-3,
            })
            .collect();
        for len in (0..70).chain([1000, 1023, 1024, 1025, 2000]) {
            // Sums of numbers: what follows the row has others among it.
            let mut row: Vec<f32> = (0..len).map(|i| (i * 7919 % 104_729) as f32 * 1e-3 - 3.0).collect();
            let alone = sum(&row);
            assert_eq!(sum_within(&row, 0..len).to_bits(), alone.to_bits(), "{len}");
            row.extend(&values);
            assert_eq!(sum_within(&row, 0..len).to_bits(), alone.to_bits(), "{len}");
            row.rotate_right(5);
            assert_eq!(sum_within(&row, 5..5 + len).to_bits(), alone.to_bits(), "{len}");
        }
    }

    #[test]
    fn reductions_look_at_every_value_of_rows_of_any_length() {
        for len in 0..40 {
            let row: Vec<f32> = (0..len).map(|i| i as f32).collect();
            assert_eq!(sum(&row), (0..len).sum::<i32>() as f32);
            assert_eq!(maximum(&row), row.last().copied().unwrap_or(f32::NEG_INFINITY));
            let turned: Vec<f32> = row.iter().rev().copied().collect();
            assert_eq!(maximum(&turned), maximum(&row));
        }
    }
}
