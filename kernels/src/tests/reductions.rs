//! What losses are divided and multiplied by, in value and gradient, on every device.

use super::cases::values;
use super::reference::{self, wide};
use super::{both, devices, labels, matrix};
use crate::row_loss::SoftmaxLoss;
use crate::{Kl, Reduction, Teacher, cross_entropy_kl, softmax_kl};

const ROWS: usize = 5;
const CLASSES: usize = 7;
const TEMPERATURE: f64 = 2.5;
const CHOSEN: [usize; ROWS] = [0, 6, 3, 3, 1];

/// Values that are near.
fn assert_all_near(found: &[f32], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        let off = (f64::from(*found) - expected).abs();
        assert!(
            off <= 1e-5 * (expected.abs() + 0.1),
            "{what}: {found} instead of {expected}"
        );
    }
}

/// Losses of rows and their gradients, of the cross entropy, or of the divergence, alone.
fn of_rows(student: &[f32], teacher: &[f32], kl: bool) -> (Vec<f64>, Vec<f64>) {
    let what = SoftmaxLoss {
        cross_entropy: if kl { 0.0 } else { 1.0 },
        kl: if kl { 1.0 } else { 0.0 },
        temperature: TEMPERATURE as f32,
        teacher: Teacher::Logits,
        not_true: false,
    };
    let (mut losses, mut gradient) = (Vec::new(), Vec::new());
    for (row, label) in CHOSEN.into_iter().enumerate() {
        let range = row * CLASSES..(row + 1) * CLASSES;
        let (student, teacher) = (wide(&student[range.clone()]), wide(&teacher[range]));
        let (loss, slopes, _) = reference::row_loss(&student, &teacher, label, what);
        losses.push(loss);
        gradient.extend(slopes);
    }
    (losses, gradient)
}

#[test]
fn reductions_and_the_temperatures_square_scale_values_and_gradients_alike() {
    let student = values(21, ROWS * CLASSES, 3.0, false);
    let teacher = values(22, ROWS * CLASSES, 3.0, false);
    let divergence = of_rows(&student, &teacher, true);
    let entropy = of_rows(&student, &teacher, false);
    // A divergence alone, and beside the cross entropy, which no reduction but the mean over rows and no temperature touches.
    let weights = [0.25, 2.0];
    for (name, device) in devices() {
        for times_t2 in [false, true] {
            for reduction in [Reduction::BatchMean, Reduction::ElementMean, Reduction::None] {
                let kl = Kl {
                    temperature: TEMPERATURE,
                    times_t2,
                    teacher: Teacher::Logits,
                    reduction,
                };
                let what = format!("{reduction:?}, times T squared {times_t2}, on the {name}");
                let square = if times_t2 { TEMPERATURE * TEMPERATURE } else { 1.0 };
                let by_rows = match reduction {
                    Reduction::None => 1.0,
                    Reduction::BatchMean | Reduction::ElementMean => 1.0 / ROWS as f64,
                };
                let by_classes = match reduction {
                    Reduction::ElementMean => 1.0 / CLASSES as f64,
                    Reduction::BatchMean | Reduction::None => 1.0,
                };
                let scale = square * by_rows * by_classes;
                // Both sides with these weights, reduced where a mean is taken.
                let expected = |of_entropy: f64, of_divergence: f64| {
                    let sum = |entropy: &[f64], divergence: &[f64]| -> Vec<f64> {
                        let pairs = entropy.iter().zip(divergence);
                        pairs.map(|(e, d)| of_entropy * e + of_divergence * d).collect()
                    };
                    let losses = sum(&entropy.0, &divergence.0);
                    let losses = if reduction == Reduction::None {
                        losses
                    } else {
                        vec![losses.iter().sum()]
                    };
                    (losses, sum(&entropy.1, &divergence.1))
                };
                let teacher = || matrix(&teacher, [ROWS, CLASSES], &device);

                let (losses, gradient) = both(matrix(&student, [ROWS, CLASSES], &device), |student| {
                    softmax_kl(student, teacher(), kl, None, None).unwrap()
                });
                let (values, slopes) = expected(0.0, scale);
                assert_all_near(&losses, &values, &format!("KL, {what}"));
                assert_all_near(&gradient, &slopes, &format!("gradient of KL, {what}"));

                let (losses, gradient) = both(matrix(&student, [ROWS, CLASSES], &device), |student| {
                    cross_entropy_kl(student, labels(&CHOSEN, &device), teacher(), kl, weights, false).unwrap()
                });
                let (values, slopes) = expected(weights[0] * by_rows, weights[1] * scale);
                assert_all_near(&losses, &values, &format!("cross entropy and KL, {what}"));
                assert_all_near(&gradient, &slopes, &format!("gradient of cross entropy and KL, {what}"));
            }
        }
    }
}
