//! Distances of logits against float64.

use super::both;
use super::cases::{Case, near, try_all, values};
use super::reference::wide;
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
    let pairs = wide(&student).into_iter().zip(wide(&teacher));
    let differences: Vec<f64> = pairs.map(|(s, t)| if s == t { 0.0 } else { s - t }).collect();
    let mean =
        |of: &dyn Fn(f64) -> f64| differences.iter().map(|difference| of(*difference)).sum::<f64>() / count as f64;
    near(absolute[0], mean(&f64::abs), 0.0, "the absolute error")?;
    near(
        squared[0],
        mean(&|difference| difference * difference),
        0.0,
        "the squared error",
    )?;
    for (i, difference) in differences.iter().enumerate() {
        let sign = if *difference == 0.0 { 0.0 } else { difference.signum() };
        near(slopes[i], sign / count as f64, 0.0, "its gradient")?;
        near(square_slopes[i], 2.0 * difference / count as f64, 0.0, "its gradient")?;
    }
    Ok(())
}

#[test]
fn distances_and_their_gradients_are_those_of_float64() {
    try_all(128, distances_agree_with_float64);
}
