//! Sums of many terms that do not drift, and whose bits do not depend on how many terms a launch adds.

use super::special::is_finite;
use cubecl::prelude::*;

/// What kernels are given as `nothing`, known to the host alone: see [`hidden`].
pub(super) const NOTHING: u32 = 0;

/// The sum of two numbers, and what rounding takes from it (Knuth, The Art of Computer Programming, volume 2, 4.2.2, theorem B; as
/// on the CPU). Where either is infinite or no number, or the sum leaves float32, neither result is one to rely on.
///
/// `nothing` is 0, which only the host knows: see [`hidden`].
#[cube]
pub(super) fn rounded_sum(sum: f32, term: f32, nothing: u32) -> (f32, f32) {
    let rounded = hidden(sum + term, nothing);
    let of_term = hidden(rounded - sum, nothing);
    let of_sum = hidden(rounded - of_term, nothing);
    let here = hidden(sum - of_sum, nothing) + hidden(term - of_term, nothing);
    (rounded, here)
}

/// A sum, and what rounding has taken from it so far, once another term is added. Infinities and NaN are told by their bits and add
/// up as on the CPU; what is lost stays finite.
#[cube]
pub(super) fn added(sum: f32, lost: f32, term: f32, nothing: u32) -> (f32, f32) {
    let (rounded, here) = rounded_sum(sum, term, nothing);
    let mut total = rounded;
    let mut left = lost;
    if !is_finite(sum) {
        total = sum;
        if !is_finite(term) && u32::reinterpret(sum) != u32::reinterpret(term) {
            total = f32::reinterpret(0x7fc0_0000u32 | nothing);
        }
    } else if !is_finite(term) {
        total = term;
    } else if is_finite(rounded) && is_finite(here) {
        left = lost + here;
    }
    (total, left)
}

/// A value as it is, but that no compiler knows it: shading languages allow to regroup sums and to multiply and add at once, by
/// which what rounding took would come out as 0.
#[cube]
pub(super) fn hidden(value: f32, nothing: u32) -> f32 {
    f32::reinterpret(u32::reinterpret(value) | nothing)
}
