//! The softmax of a row that is read once: the largest logit so far, and the sum of exponentials below it, which shrinks whenever
//! a larger one comes (Milakov and Gimelshein 2018, arXiv:1805.02867, algorithm 3).
//!
//! A sum of 0 has seen no logit yet, whatever the largest is: minus infinity in its place would not be told from a masked class.

use super::group::{self, Shape};
use crate::cpu::FURTHEST;
use cubecl::prelude::*;

/// Exact: halving changes no bit but the exponent.
const HALF_OF_FURTHEST: f32 = FURTHEST / 2.0;

/// How far a logit lies from another, divided by the temperature: at most [`FURTHEST`]. A row that is read once adds up how far its
/// largest logit moved each time: what is further than that from the last one counts as at least as far. Finite ones make nothing
/// infinite on the way, which a shading language may assume not to exist: their halves differ by a number, and that times the
/// inverse temperature is one after it is clamped. Halving and doubling change no bit of what is not near 0.
///
/// `most` is [`furthest_half`] of the inverse temperature.
#[cube]
pub(super) fn exponent(logit: f32, other: f32, inverse_temperature: f32, most: f32) -> f32 {
    let half = logit * 0.5f32 - other * 0.5f32;
    max(min(half, most), -most) * (inverse_temperature * 2.0f32)
}

/// The furthest that halves of logits lie apart before they are multiplied by twice the inverse temperature: a division, to be
/// done once in a kernel.
#[cube]
pub(super) fn furthest_half(inverse_temperature: f32) -> f32 {
    f32::new(FURTHEST) / (inverse_temperature * 2.0f32)
}

/// [`exponent`] at a temperature of 1.
#[cube]
pub(super) fn difference(logit: f32, other: f32) -> f32 {
    let most = f32::new(HALF_OF_FURTHEST);
    let half = logit * 0.5f32 - other * 0.5f32;
    max(min(half, most), -most) * 2.0f32
}

/// Maximum and sum of exponentials once another logit is seen.
#[cube]
pub(super) fn with_logit(logit: f32, maximum: f32, total: f32) -> (f32, f32) {
    let mut larger = maximum;
    let mut sum = total;
    if total == 0.0f32 {
        sum = 1.0f32;
        larger = logit;
    } else if logit > maximum {
        let below = difference(maximum, logit);
        sum = total * below.exp() + 1.0f32;
        larger = logit;
    } else {
        let below = difference(logit, maximum);
        sum += below.exp();
    }
    (larger, sum)
}

/// The maximum over a group, and how far that of this unit lies below it, times the inverse temperature: its sum of exponentials
/// is then to be multiplied by the exponential of this (which is not positive). A unit that has seen nothing has nothing to
/// correct: 0.
#[cube]
pub(super) fn of_group(maximum: f32, total: f32, inverse_temperature: f32, #[comptime] shape: Shape) -> (f32, f32) {
    let mut own = f32::new(f32::MIN);
    if total > 0.0f32 {
        own = maximum;
    }
    let largest = group::largest(own, shape);
    let mut shift = 0.0f32;
    if total > 0.0f32 {
        shift = exponent(
            maximum,
            largest,
            inverse_temperature,
            furthest_half(inverse_temperature),
        );
    }
    (largest, shift)
}
