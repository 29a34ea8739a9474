//! Cross entropy and divergence against float64.

use super::cases::{Case, near, try_all, values};
use super::reference::{self, wide};
use super::{both, devices, labels, matrix, vector};
use crate::row_loss::SoftmaxLoss;
use crate::{Kl, Reduction, cross_entropy_kl, softmax_kl};
use burn::tensor::{Device, Tensor};
use proptest::prelude::*;

/// A loss of which a GPU says only that it is at least as far; the CPU looks at a row's largest value first, and is exact.
const FAR: f64 = 1e20;

fn agrees_with_float64(case: &Case, device: &Device) -> Result<(), TestCaseError> {
    let count = case.rows * case.classes;
    let student = values(case.seed, count, case.magnitude, case.masked);
    let teacher = case.teachers();
    let chosen: Vec<usize> = (0..case.rows)
        .map(|row| (case.seed as usize ^ (row * 31)) % case.classes)
        .collect();
    let kl = Kl {
        temperature: case.temperature,
        times_t2: false,
        teacher: case.teacher,
        reduction: Reduction::None,
    };
    let weights = [0.25, 2.0];
    let (losses, gradient) = both(case.tensor(&student, false, device), |student| {
        cross_entropy_kl(
            student,
            labels(&chosen, device),
            case.tensor(&teacher, case.half, device),
            kl,
            weights,
            case.not_true,
        )
        .unwrap()
    });
    let what = SoftmaxLoss {
        cross_entropy: weights[0] as f32,
        kl: weights[1] as f32,
        temperature: case.temperature as f32,
        teacher: case.teacher,
        not_true: case.not_true,
    };
    for row in 0..case.rows {
        let range = row * case.classes..(row + 1) * case.classes;
        let (loss, slopes, size) = reference::row_loss(
            &wide(&student[range.clone()]),
            &wide(&teacher[range.clone()]),
            chosen[row],
            what,
        );
        let text = format!("loss of row {row}");
        if loss.is_finite() && loss > FAR && *device != Device::flex() {
            // Kernels that read a row once add up how much further the largest value moved away, and clamp each of these.
            let found = f64::from(losses[row]);
            prop_assert!(
                found.is_finite() && found > 0.99 * loss && found < 100.0 * loss,
                "{}: {} instead of {}",
                text,
                found,
                loss
            );
        } else {
            near(losses[row], loss, size.min(1e30), &text)?;
        }
        // A slope is a difference of probabilities, times this: three units in the last place of that are allowed.
        let scale = weights[0] + weights[1] / case.temperature;
        let largest = slopes.iter().fold(0.02 * scale, |most, slope| most.max(slope.abs()));
        let found = &gradient[range];
        for (class, (found, expected)) in found.iter().zip(&slopes).enumerate() {
            near(
                *found,
                *expected,
                largest,
                &format!("gradient of row {row}, class {class}"),
            )?;
        }
        let sum: f64 = found.iter().map(|slope| f64::from(*slope)).sum();
        // Both distributions sum to one but for rounding.
        let allowed = 1e-6 * scale;
        prop_assert!(sum.abs() <= allowed, "the gradient of row {row} sums to {sum}");
    }
    Ok(())
}

#[test]
fn losses_and_gradients_are_those_of_float64() {
    try_all(256, agrees_with_float64);
}

#[test]
fn a_divergence_from_oneself_is_zero_and_none_is_negative_beyond_rounding() {
    for (name, device) in devices() {
        for classes in [2, 10, 1000, 20_000] {
            for temperature in [0.05, 1.0, 50.0] {
                let kl = Kl {
                    temperature,
                    reduction: Reduction::None,
                    ..Kl::default()
                };
                let student = matrix(&values(11, 3 * classes, 30.0, false), [3, classes], &device);
                let near = student.clone() + matrix(&values(12, 3 * classes, 1e-3, false), [3, classes], &device);
                let run = |teacher: Tensor<2>| vector(softmax_kl(student.clone(), teacher, kl, None, None).unwrap());
                assert!(
                    run(student.clone()).iter().all(|kl| kl.abs() < 1e-6),
                    "{name} {classes} {temperature}"
                );
                assert!(run(near).iter().all(|kl| *kl > -1e-6), "{name} {classes} {temperature}");
            }
        }
    }
}

#[test]
fn weighted_rows_are_averaged_by_their_weights() {
    for (_, device) in devices() {
        let (student, teacher) = (values(1, 30, 3.0, false), values(2, 30, 3.0, false));
        let run = |reduction, weights: Option<[f32; 3]>| {
            let kl = Kl {
                reduction,
                ..Kl::default()
            };
            let weights = weights.map(|weights| Tensor::from_data(weights, &device));
            both(matrix(&student, [3, 10], &device), |student| {
                softmax_kl(student, matrix(&teacher, [3, 10], &device), kl, weights.clone(), None).unwrap()
            })
        };
        let (each, slopes) = run(Reduction::None, None);
        let (mean, weighted) = run(Reduction::BatchMean, Some([1.0, 0.0, 3.0]));
        assert!((mean[0] - (each[0] + 3.0 * each[2]) / 4.0).abs() < 1e-6);
        for (at, (found, slope)) in weighted.iter().zip(&slopes).enumerate() {
            let weight = [0.25, 0.0, 0.75][at / 10];
            assert!((found - weight * slope).abs() < 1e-6, "{at}: {found} {slope}");
        }
    }
}
