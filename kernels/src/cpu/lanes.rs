//! Reductions and exponentials over rows that are padded to whole lanes.

#![expect(
    clippy::inline_always,
    reason = "instructions are chosen for a whole loop, and only for what is compiled into it"
)]

/// Values that are treated at once.
pub(super) const LANES: usize = 8;

/// How long the buffer of a row of so many values is.
pub(super) fn padded(len: usize) -> usize {
    len.next_multiple_of(LANES)
}

/// The whole lanes of a padded row.
#[inline(always)]
pub(super) fn lanes(row: &[f32]) -> &[[f32; LANES]] {
    row.as_chunks().0
}

/// [`lanes`], to change.
#[inline(always)]
pub(super) fn lanes_mut(row: &mut [f32]) -> &mut [[f32; LANES]] {
    row.as_chunks_mut().0
}

/// The largest value; NaN is passed over.
#[inline(always)]
pub(super) fn most(row: &[f32]) -> f32 {
    let mut most = [f32::NEG_INFINITY; LANES];
    for eight in lanes(row) {
        for (most, value) in most.iter_mut().zip(eight) {
            *most = if *value > *most { *value } else { *most };
        }
    }
    most.iter().fold(
        f32::NEG_INFINITY,
        |most, value| if *value > most { *value } else { most },
    )
}

/// The sum of lanes, always in the same order.
#[inline(always)]
pub(super) fn sum(lanes: [f32; LANES]) -> f32 {
    let four: [f32; 4] = std::array::from_fn(|i| lanes[i] + lanes[i + 4]);
    (four[0] + four[2]) + (four[1] + four[3])
}

/// Replaces each value `x` by `exp((x - most) * scale)`, `most` being the largest and `scale` positive; their sum.
#[inline(always)]
pub(super) fn exponentials(row: &mut [f32], most: f32, scale: f32) -> f32 {
    let mut total = [0.0; LANES];
    for eight in lanes_mut(row) {
        for (total, value) in total.iter_mut().zip(eight) {
            *value = exp((*value - most) * scale);
            *total += *value;
        }
    }
    sum(total)
}

/// `e^x` of values up to 0, within two units in the last place; below -87, where float32 has no normal number, 0. NaN stays.
///
/// Cephes' polynomial: `x` is split into a multiple of ln 2, which is the exponent, and a rest of at most half of it.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
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
        5.000_000_1e-1,
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

/// The natural logarithm of a sum of exponentials, from the same implementation on every machine.
pub(super) fn ln(sum: f32) -> f32 {
    libm::log(f64::from(sum)) as f32
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
}
