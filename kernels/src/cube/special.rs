//! Values that are not numbers, told by their bits: a shading language may assume that there are none.

use cubecl::prelude::*;

/// A defect by which a result is infinite.
pub(super) const INFINITE: f32 = 1.0;
/// A defect by which a result is not a number.
pub(super) const NOT_A_NUMBER: f32 = 2.0;

/// Whether a value is minus infinity.
#[cube]
pub(super) fn is_masked(value: f32) -> bool {
    u32::reinterpret(value) == 0xff80_0000u32
}

/// Whether a value is not a number.
#[cube]
pub(super) fn is_nan(value: f32) -> bool {
    (u32::reinterpret(value) & 0x7fff_ffffu32) > 0x7f80_0000u32
}

/// Whether a value is a number, and no infinity.
#[cube]
pub(super) fn is_finite(value: f32) -> bool {
    (u32::reinterpret(value) & 0x7f80_0000u32) != 0x7f80_0000u32
}

/// The bits of a value's exponent: all of them, 0x7f80_0000, of what is no number or infinite, and fewer of anything else.
#[cube]
pub(super) fn exponent_bits(value: f32) -> u32 {
    u32::reinterpret(value) & 0x7f80_0000u32
}

/// How far from being a logit a value is: 0 for finite ones and minus infinity, [`NOT_A_NUMBER`] for the others.
#[cube]
pub(super) fn defect(value: f32) -> f32 {
    let bits = u32::reinterpret(value);
    let mut defect = 0.0f32;
    if (bits & 0x7f80_0000u32) == 0x7f80_0000u32 && bits != 0xff80_0000u32 {
        defect = f32::new(NOT_A_NUMBER);
    }
    defect
}

/// The same of what a class says of its probability, which a negative value cannot; minus zero can.
#[cube]
pub(super) fn defect_of_probability(value: f32) -> f32 {
    let mut found = defect(value);
    if u32::reinterpret(value) > 0x8000_0000u32 {
        found = f32::new(NOT_A_NUMBER);
    }
    found
}

/// What a loss's defect is to a gradient that is finite where the loss is infinite.
#[cube]
pub(super) fn unless_infinite(defect: f32) -> f32 {
    let mut left = 0.0f32;
    if defect >= f32::new(NOT_A_NUMBER) {
        left = defect;
    }
    left
}

/// The result of what has a defect: by its bits, which no compiler sees through.
#[cube]
pub(super) fn with_defect(value: f32, defect: f32) -> f32 {
    let mut result = value;
    if defect >= f32::new(NOT_A_NUMBER) {
        result = f32::reinterpret(0x7fbf_fffeu32 + u32::cast_from(defect));
    } else if defect >= f32::new(INFINITE) {
        result = f32::reinterpret(0x7f7f_ffffu32 + u32::cast_from(defect));
    }
    result
}

/// The same with the value's own sign, where infinity may be of either.
#[cube]
pub(super) fn with_signed_defect(value: f32, defect: f32) -> f32 {
    let sign = u32::reinterpret(value) & 0x8000_0000u32;
    f32::reinterpret(u32::reinterpret(with_defect(value, defect)) | sign)
}
