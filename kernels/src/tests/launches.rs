//! Launches of any size, again and again.

use super::cases::values;
use super::reference::{self, wide};
use super::{both, devices, half_matrix, labels, matrix, vector};
use crate::row_loss::{RowLoss, SoftmaxLoss, row_loss};
use crate::{
    Averaged, Kl, Reduction, Sharpening, Teacher, Weights, cross_entropy, cross_entropy_kl, ensemble, entropy,
    log_softmax, mae, mse, softmax, softmax_kl,
};
use burn::tensor::Tensor;

#[test]
fn every_launch_gives_the_same_bits() {
    for (name, device) in devices() {
        for classes in [10, 1000, 5000] {
            let (student, teacher) = (values(3, 7 * classes, 20.0, false), values(4, 7 * classes, 20.0, false));
            let run = || {
                both(matrix(&student, [7, classes], &device), |student| {
                    let teacher = half_matrix(&teacher, [7, classes], &device);
                    softmax_kl(student, teacher, Kl::default(), None, None).unwrap()
                })
            };
            let first = run();
            assert!((0..5).all(|_| run() == first), "{classes} classes on the {name}");
        }
    }
}

#[test]
fn every_launch_gives_the_same_probabilities_and_averages() {
    for (name, device) in devices() {
        for classes in [10, 1000, 5000] {
            let logits = values(5, 6 * classes, 20.0, true);
            let run = || {
                let probabilities = softmax(half_matrix(&logits, [6, classes], &device), 2.0);
                let entropies = entropy(matrix(&logits, [6, classes], &device), 2.0);
                let parties: Tensor<3> = matrix(&logits, [6, classes], &device).reshape([3, 2, classes]);
                let weights = Weights::Party(Tensor::from_data([0.3, 0.5, 0.2], &device));
                let means = ensemble(parties.clone(), &weights, Averaged::Values, Sharpening::None);
                let average = ensemble(parties, &weights, Averaged::Probabilities, Sharpening::Power(1.5));
                [
                    vector(probabilities.unwrap()),
                    vector(entropies.unwrap()),
                    vector(means.unwrap()),
                    vector(average.unwrap()),
                ]
            };
            let first = run();
            assert!((0..5).all(|_| run() == first), "{classes} classes on the {name}");
        }
    }
}

#[test]
fn every_launch_gives_the_same_bits_of_every_loss_and_gradient() {
    for (name, device) in devices() {
        for classes in [10, 1000, 5000] {
            let (student, other) = (values(3, 7 * classes, 20.0, false), values(4, 7 * classes, 20.0, false));
            let of = |loss: &dyn Fn(Tensor<2>) -> Tensor<1>| both(matrix(&student, [7, classes], &device), loss);
            let other = || matrix(&other, [7, classes], &device);
            let run = || {
                let losses = [
                    of(&|student| cross_entropy(student, labels(&[0, 1, 2, 3, 4, 5, 9], &device)).unwrap()),
                    of(&|student| mae(student, other()).unwrap()),
                    of(&|student| mse(student, other()).unwrap()),
                    of(&|student| {
                        let labels = labels(&[0, 1, 2, 3, 4, 5, 9], &device);
                        cross_entropy_kl(student, labels, other(), Kl::default(), [0.3, 0.7], true).unwrap()
                    }),
                ];
                // Burn's sum on a GPU adds by float atomics, in any order: the sum itself is left out.
                let gradients = [
                    of(&|student| (softmax(student, 2.0).unwrap() * other()).sum()).1,
                    of(&|student| (log_softmax(student, 2.0).unwrap() * other()).sum()).1,
                ];
                (losses, gradients)
            };
            let first = run();
            assert!((0..5).all(|_| run() == first), "{classes} classes on the {name}");
            let logarithms = || vector(log_softmax(matrix(&student, [7, classes], &device), 2.0).unwrap());
            let first = logarithms();
            assert!((0..5).all(|_| logarithms() == first), "{classes} classes on the {name}");
        }
    }
}

#[test]
fn more_rows_than_one_dimension_of_cubes_holds_are_all_there() {
    for (name, device) in devices() {
        // A long row takes a cube of its own. All are views of one, and each has a label of its own.
        let (rows, classes) = (70_001, 1025);
        let row = values(8, classes, 3.0, false);
        let student = matrix(&row, [1, classes], &device).expand([rows, classes]);
        let chosen: Vec<usize> = (0..rows).map(|row| row % 1009).collect();
        let what = RowLoss::Softmax(SoftmaxLoss {
            cross_entropy: 1.0,
            kl: 0.0,
            temperature: 1.0,
            teacher: Teacher::Logits,
            not_true: false,
        });
        let losses = vector(row_loss(student, None, Some(labels(&chosen, &device)), what));
        let expected = reference::log_softmax(&wide(&row));
        assert_eq!(losses.len(), rows);
        for (loss, label) in losses.iter().zip(chosen) {
            assert!(
                (f64::from(*loss) + expected[label]).abs() < 1e-4,
                "on the {name}: {loss}"
            );
        }
    }
}

#[test]
fn a_vocabulary_of_131072_classes_fits() {
    for (name, device) in devices() {
        let classes = 131_072;
        let (student, teacher) = (values(1, 2 * classes, 10.0, false), values(2, 2 * classes, 10.0, false));
        let what = SoftmaxLoss {
            cross_entropy: 0.0,
            kl: 1.0,
            temperature: 2.0,
            teacher: Teacher::Logits,
            not_true: false,
        };
        let kl = Kl {
            temperature: 2.0,
            reduction: Reduction::None,
            ..Kl::default()
        };
        let (losses, gradient) = both(matrix(&student, [2, classes], &device), |student| {
            softmax_kl(student, half_matrix(&teacher, [2, classes], &device), kl, None, None).unwrap()
        });
        for (row, found) in losses.iter().enumerate() {
            let range = row * classes..(row + 1) * classes;
            let (loss, slopes, _) =
                reference::row_loss(&wide(&student[range.clone()]), &wide(&teacher[range.clone()]), 0, what);
            assert!(
                (f64::from(*found) - loss).abs() < 1e-5 * loss,
                "{name}: {} {loss}",
                losses[row]
            );
            let largest = slopes.iter().fold(0.0f64, |most, slope| most.max(slope.abs()));
            for (found, slope) in gradient[range].iter().zip(&slopes) {
                assert!(
                    (f64::from(*found) - slope).abs() <= 1e-5 * (slope.abs() + largest),
                    "{name}: {found} {slope}"
                );
            }
        }
    }
}

#[test]
fn every_operation_takes_a_vocabulary_of_131072_classes() {
    let classes = 131_072;
    let (logits, others) = (values(1, 2 * classes, 10.0, false), values(2, 2 * classes, 10.0, false));
    let rows = |values: &[f32]| -> Vec<Vec<f64>> { values.chunks_exact(classes).map(wide).collect() };
    let (softmaxes, logarithms): (Vec<_>, Vec<_>) = rows(&logits)
        .iter()
        .map(|row| (reference::softmax(row), reference::log_softmax(row)))
        .unzip();
    let pairs = softmaxes.iter().zip(&logarithms);
    let entropies: Vec<f64> = pairs
        .map(|(p, log_p)| -p.iter().zip(log_p).map(|(p, log_p)| p * log_p).sum::<f64>())
        .collect();
    let mean: Vec<f64> = (0..classes)
        .map(|class| f64::midpoint(softmaxes[0][class], softmaxes[1][class]))
        .collect();
    let distance = |squared| {
        let (mean, gradient) = reference::distance(&wide(&logits), &wide(&others), squared);
        (vec![mean], gradient)
    };
    let chosen = [5, 131_071];
    let missed = -f64::midpoint(logarithms[0][chosen[0]], logarithms[1][chosen[1]]);
    let slopes = softmaxes.iter().zip(chosen).flat_map(|(p, label)| {
        let slope = move |(class, p): (usize, &f64)| (p - f64::from(u8::from(class == label))) / 2.0;
        p.iter().enumerate().map(slope)
    });
    let cross_entropies = (vec![missed], slopes.collect::<Vec<f64>>());
    for (name, device) in devices() {
        let matrix = |values: &[f32]| matrix(values, [2, classes], &device);
        let near = |what: &str, found: &[f32], expected: &[f64]| {
            assert_eq!(found.len(), expected.len(), "{what} on the {name}");
            let largest = expected.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
            for (found, expected) in found.iter().zip(expected) {
                let error = (f64::from(*found) - expected).abs();
                assert!(
                    error <= 1e-5 * (expected.abs() + 0.1 * largest),
                    "{what} on the {name}: {found} instead of {expected}"
                );
            }
        };
        let made = vector(softmax(matrix(&logits), 1.0).unwrap());
        near("softmax", &made, &softmaxes.concat());
        let made = vector(log_softmax(matrix(&logits), 1.0).unwrap());
        near("log softmax", &made, &logarithms.concat());
        near("entropy", &vector(entropy(matrix(&logits), 1.0).unwrap()), &entropies);
        let parties: Tensor<3> = matrix(&logits).reshape([2, 1, classes]);
        let made = ensemble(parties, &Weights::Equal, Averaged::Probabilities, Sharpening::None);
        near("the mean of probabilities", &vector(made.unwrap()), &mean);
        let losses = [
            (
                "MAE",
                both(matrix(&logits), |student| mae(student, matrix(&others)).unwrap()),
                distance(false),
            ),
            (
                "MSE",
                both(matrix(&logits), |student| mse(student, matrix(&others)).unwrap()),
                distance(true),
            ),
            (
                "cross entropy",
                both(matrix(&logits), |student| {
                    cross_entropy(student, labels(&chosen, &device)).unwrap()
                }),
                cross_entropies.clone(),
            ),
        ];
        for (what, (loss, gradient), (expected, slopes)) in losses {
            near(what, &loss, &expected);
            near(what, &gradient, &slopes);
        }
    }
}
