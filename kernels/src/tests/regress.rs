//! Distances of logits against float64.

use super::both;
use super::cases::{Case, near, try_all, values};
use super::reference::{self, wide};
use crate::{mae, mse};
use burn::tensor::Device;
use proptest::prelude::*;

fn distances_agree_with_float64(case: &Case, device: &Device) -> Result<(), TestCaseError> {
    let count = case.rows * case.classes;
    // Squares of larger ones leave float32.
    let magnitude = case.magnitude.min(6e4);
    let student = values(case.seed, count, magnitude, case.masked);
    let mut teacher = values(case.seed.rotate_left(9), count, magnitude, false);
    // What one masks both do: `special` has the rest.
    for (target, value) in teacher.iter_mut().zip(&student) {
        if *value == f32::NEG_INFINITY {
            *target = f32::NEG_INFINITY;
        }
    }
    let target = || case.tensor(&teacher, case.half, device);
    let (absolute, slopes) = both(case.tensor(&student, false, device), |student| {
        mae(student, target()).unwrap()
    });
    let (squared, square_slopes) = both(case.tensor(&student, false, device), |student| {
        mse(student, target()).unwrap()
    });
    for (found, gradient, is_squared) in [(absolute, slopes, false), (squared, square_slopes, true)] {
        let (mean, expected) = reference::distance(&wide(&student), &wide(&teacher), is_squared);
        near(found[0], mean, 0.0, "the error")?;
        for (found, expected) in gradient.iter().zip(expected) {
            near(*found, expected, 0.0, "its gradient")?;
        }
    }
    Ok(())
}

#[test]
fn distances_and_their_gradients_are_those_of_float64() {
    try_all(128, distances_agree_with_float64);
}
