//! Softmax, its logarithm and its entropy against float64.

use super::cases::{Case, near, try_all, values};
use super::reference::{self, wide};
use super::{both, devices, has_halves, matrix, vector};
use crate::{entropy, log_softmax, softmax};
use burn::tensor::{DType, Device};
use proptest::prelude::*;

fn softmax_agrees_with_float64(case: &Case, device: &Device) -> Result<(), TestCaseError> {
    let count = case.rows * case.classes;
    let logits = values(case.seed, count, case.magnitude, case.masked);
    let run = || case.tensor(&logits, case.half, device);
    let probabilities = vector(softmax(run(), case.temperature).unwrap());
    let logarithms = vector(log_softmax(run(), case.temperature).unwrap());
    let entropies = vector(entropy(run(), case.temperature).unwrap());
    for (row, found) in entropies.iter().enumerate() {
        let range = row * case.classes..(row + 1) * case.classes;
        let scaled: Vec<f64> = wide(&logits[range.clone()])
            .iter()
            .map(|logit| logit / f64::from(case.temperature as f32))
            .collect();
        let p = reference::softmax(&scaled);
        let log_p = reference::log_softmax(&scaled);
        for class in 0..case.classes {
            let at = range.start + class;
            near(probabilities[at], p[class], 1.0, "a probability")?;
            near(logarithms[at], log_p[class], 1.0, "a logarithm")?;
        }
        let terms = p.iter().zip(&log_p).filter(|(p, _)| **p > 0.0);
        near(
            *found,
            -terms.map(|(p, log_p)| p * log_p).sum::<f64>(),
            1.0,
            "an entropy",
        )?;
    }
    Ok(())
}

#[test]
fn softmax_its_logarithm_and_entropy_are_those_of_float64() {
    try_all(256, softmax_agrees_with_float64);
}

fn gradients_agree_with_float64(case: &Case, device: &Device) -> Result<(), TestCaseError> {
    let count = case.rows * case.classes;
    let logits = values(case.seed, count, case.magnitude.min(6e4), case.masked);
    let slopes = values(case.seed.rotate_left(9), count, 1.0, false);
    let temperature = f64::from(case.temperature as f32);
    for logarithms in [false, true] {
        let (_, gradient) = both(case.tensor(&logits, false, device), |logits| {
            let made = if logarithms {
                log_softmax(logits, case.temperature)
            } else {
                softmax(logits, case.temperature)
            };
            (made.unwrap() * case.tensor(&slopes, false, device)).sum()
        });
        for (row, found) in gradient.chunks_exact(case.classes).enumerate() {
            let range = row * case.classes..(row + 1) * case.classes;
            let slopes = wide(&slopes[range.clone()]);
            let expected = reference::softmax_gradient(&wide(&logits[range]), temperature, &slopes, logarithms);
            // A logarithm's is the difference of its own slope and a share of their sum.
            let sum: f64 = slopes.iter().map(|slope| slope.abs()).sum();
            let most = if logarithms { 1.0 + sum } else { 2.0 };
            for (found, expected) in found.iter().zip(expected) {
                near(*found, expected, most / temperature, "a gradient")?;
            }
        }
    }
    Ok(())
}

#[test]
fn gradients_of_softmax_and_its_logarithm_are_those_of_float64() {
    try_all(128, gradients_agree_with_float64);
}

#[test]
fn the_gradient_of_logits_in_float16_is_in_float16() {
    for (name, device) in devices() {
        if !has_halves(&device) {
            continue;
        }
        let logits = [0.5, -1.0, 2.0, 0.25, 3.0, -2.0];
        let weights = || matrix(&[1.0, -2.0, 0.5, 3.0, 1.0, 0.0], [2, 3], &device);
        for form in [softmax, log_softmax] {
            let gradient = |dtype: DType| {
                let leaf = matrix(&logits, [2, 3], &device).cast(dtype).autodiff().require_grad();
                let made = form(leaf.clone(), 1.5).unwrap();
                assert_eq!(made.dtype(), DType::F32, "{name}");
                let gradients = (made * weights()).sum().backward();
                leaf.grad(&gradients).unwrap()
            };
            let half = gradient(DType::F16);
            assert_eq!(half.dtype(), DType::F16, "{name}");
            let pairs = vector(half).into_iter().zip(vector(gradient(DType::F32)));
            for (half, single) in pairs {
                assert!(
                    (half - single).abs() <= 1e-3 * (single.abs() + 0.1),
                    "{name}: {half} {single}"
                );
            }
        }
    }
}

#[test]
fn gradients_of_softmax_are_its_slopes() {
    for (_, device) in devices() {
        for logarithms in [false, true] {
            let logits = values(5, 12, 2.0, false);
            let weights = values(6, 12, 1.0, false);
            let (_, gradient) = both(matrix(&logits, [3, 4], &device), |logits| {
                let made = if logarithms {
                    log_softmax(logits, 1.5)
                } else {
                    softmax(logits, 1.5)
                };
                (made.unwrap() * matrix(&weights, [3, 4], &device)).sum()
            });
            let value = |at: usize, step: f64| -> f64 {
                let mut moved = wide(&logits);
                moved[at] += step;
                let scaled: Vec<f64> = moved.iter().map(|logit| logit / 1.5).collect();
                let form = if logarithms {
                    reference::log_softmax
                } else {
                    reference::softmax
                };
                let made = scaled.chunks_exact(4).flat_map(form);
                made.zip(wide(&weights)).map(|(made, weight)| made * weight).sum()
            };
            for (at, found) in gradient.iter().enumerate() {
                let slope = (value(at, 1e-6) - value(at, -1e-6)) / 2e-6;
                assert!((f64::from(*found) - slope).abs() < 1e-5, "{at}: {found} {slope}");
            }
        }
    }
}
