//! Random shapes, types, strides, temperatures and magnitudes, against float64.

use super::reference::{self, wide};
use super::{both, devices, half_matrix, labels, matrix, vector};
use crate::row_loss::{RowLoss, SoftmaxLoss, row_loss};
use crate::{
    Averaged, Ensemble, Kl, Reduction, Sharpening, Teacher, Weights, cross_entropy_kl, entropy, log_softmax, mae, mse,
    softmax, softmax_kl,
};
use burn::tensor::{Device, Tensor, TensorData};
use half::f16;
use proptest::prelude::*;

/// Values that follow from a seed: a spread, ties, and some classes masked.
fn values(seed: u64, count: usize, magnitude: f32, masked: bool) -> Vec<f32> {
    let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let unit = (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
            if masked && state.is_multiple_of(7) {
                f32::NEG_INFINITY
            } else {
                f16::from_f32(unit * magnitude).to_f32()
            }
        })
        .collect()
}

/// A case to try.
#[derive(Clone, Debug)]
struct Case {
    rows: usize,
    classes: usize,
    temperature: f64,
    magnitude: f32,
    teacher: Teacher,
    half: bool,
    turned: bool,
    masked: bool,
    not_true: bool,
    seed: u64,
}

fn case() -> impl Strategy<Value = Case> {
    let sizes = (1usize..40, prop_oneof![2usize..40, 90usize..140, 1000usize..1100]);
    let constants = (
        // As often below 1 as above it.
        prop_oneof![
            Just(1.0),
            Just(0.05),
            (-3.0f64..3.9).prop_map(|power| power.exp().clamp(0.05, 50.0))
        ],
        prop_oneof![Just(1.0f32), Just(30.0), Just(1000.0), Just(6e4)],
    );
    let teacher = prop_oneof![
        Just(Teacher::Logits),
        Just(Teacher::LogProbabilities),
        Just(Teacher::Probabilities)
    ];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (sizes, constants, teacher, flags, any::<u64>()).prop_map(
        |((rows, classes), (temperature, magnitude), teacher, (half, turned, masked, not_true), seed)| Case {
            rows,
            classes,
            temperature,
            magnitude,
            teacher,
            half,
            turned,
            masked,
            not_true,
            seed,
        },
    )
}

impl Case {
    /// The teacher's values, exact in float16 where that is its type.
    fn teachers(&self) -> Vec<f32> {
        let logits = values(
            self.seed.rotate_left(9),
            self.rows * self.classes,
            self.magnitude,
            self.masked,
        );
        let form = |row: &[f32]| -> Vec<f32> {
            let made = match self.teacher {
                Teacher::Logits => wide(row),
                Teacher::LogProbabilities => reference::log_softmax(&wide(row)),
                Teacher::Probabilities => reference::softmax(&wide(row)),
            };
            let narrow = |value: &f64| {
                if self.half {
                    f16::from_f64(*value).to_f32()
                } else {
                    *value as f32
                }
            };
            made.iter().map(narrow).collect()
        };
        logits.chunks_exact(self.classes).flat_map(form).collect()
    }

    /// Rows as a tensor; turned, it lies in memory by columns.
    fn tensor(&self, values: &[f32], half: bool, device: &Device) -> Tensor<2> {
        let make = if half { half_matrix } else { matrix };
        if !self.turned {
            return make(values, [self.rows, self.classes], device);
        }
        let by_column: Vec<f32> = (0..values.len())
            .map(|i| values[i % self.rows * self.classes + i / self.rows])
            .collect();
        make(&by_column, [self.classes, self.rows], device).swap_dims(0, 1)
    }
}

/// Whether a value is as near as float32 sums of so large terms come.
fn near(found: f32, expected: f64, size: f64, what: &str) -> Result<(), TestCaseError> {
    if expected.is_infinite() {
        prop_assert!(
            f64::from(found) == expected,
            "{}: {} instead of {}",
            what,
            found,
            expected
        );
        return Ok(());
    }
    let error = (f64::from(found) - expected).abs();
    prop_assert!(
        error <= 1e-5 * (expected.abs() + size),
        "{}: {} instead of {}, {:e} off",
        what,
        found,
        expected,
        error
    );
    Ok(())
}

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
        near(losses[row], loss, size.min(1e30), &text)?;
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

fn distances_agree_with_float64(case: &Case, device: &Device) -> Result<(), TestCaseError> {
    let count = case.rows * case.classes;
    let student = values(case.seed, count, case.magnitude, false);
    let teacher = values(case.seed.rotate_left(9), count, case.magnitude, false);
    let target = || case.tensor(&teacher, case.half, device);
    let (absolute, slopes) = both(case.tensor(&student, false, device), |student| {
        mae(student, target()).unwrap()
    });
    let (squared, square_slopes) = both(case.tensor(&student, false, device), |student| {
        mse(student, target()).unwrap()
    });
    let apart: Vec<f64> = wide(&student).iter().zip(wide(&teacher)).map(|(s, t)| s - t).collect();
    let mean = |of: &dyn Fn(f64) -> f64| apart.iter().map(|apart| of(*apart)).sum::<f64>() / count as f64;
    near(absolute[0], mean(&f64::abs), 0.0, "the absolute error")?;
    near(squared[0], mean(&|apart| apart * apart), 0.0, "the squared error")?;
    for (i, apart) in apart.iter().enumerate() {
        let sign = if *apart == 0.0 { 0.0 } else { apart.signum() };
        near(slopes[i], sign / count as f64, 0.0, "its gradient")?;
        near(square_slopes[i], 2.0 * apart / count as f64, 0.0, "its gradient")?;
    }
    Ok(())
}

fn ensembles_agree_with_float64(case: &Case, device: &Device) -> Result<(), TestCaseError> {
    let parties = 1 + case.seed as usize % 5;
    let (rows, classes) = (case.rows.min(9), case.classes);
    let predictions = values(case.seed, parties * rows * classes, case.magnitude.min(1000.0), false);
    let averaged = if case.masked {
        Averaged::Probabilities
    } else {
        Averaged::Values
    };
    let positive = |count: usize| -> Vec<f32> {
        values(case.seed, count, 1.0, false)
            .iter()
            .map(|w| w.abs() + 0.5)
            .collect()
    };
    let form = case.seed % 4;
    let counts = [1, 1, classes, rows][form as usize];
    let each = positive(parties * counts);
    let mut sum = Ensemble::new(rows, classes, averaged, device).unwrap();
    // In two halves, as they would stream.
    for range in [0..parties / 2, parties / 2..parties] {
        let part = &predictions[range.start * rows * classes..range.end * rows * classes];
        let dims = [range.len(), rows, classes];
        let tensor: Tensor<3> = if case.half {
            let part: Vec<f16> = part.iter().map(|value| f16::from_f32(*value)).collect();
            Tensor::from_data(TensorData::new(part, dims), (device, burn::tensor::DType::F16))
        } else {
            Tensor::from_data(TensorData::new(part.to_vec(), dims), device)
        };
        let own = each[range.start * counts..range.end * counts].to_vec();
        let flat = || Tensor::<1>::from_data(TensorData::new(own.clone(), [own.len()]), device);
        let weights = match form {
            0 => Weights::Equal,
            1 => Weights::Party(flat()),
            2 => Weights::PartyClass(flat().reshape([range.len(), classes])),
            _ => Weights::PartyRow(flat().reshape([range.len(), rows])),
        };
        sum.add(tensor, &weights).unwrap();
    }
    let found = vector(sum.finish(Sharpening::None).unwrap());
    for row in 0..rows {
        let rows_of: Vec<Vec<f64>> = (0..parties)
            .map(|party| {
                let row = wide(&predictions[(party * rows + row) * classes..][..classes]);
                if averaged == Averaged::Probabilities {
                    reference::softmax(&row)
                } else {
                    row
                }
            })
            .collect();
        for class in 0..classes {
            let weight = |party: usize| match form {
                0 => 1.0,
                1 => f64::from(each[party]),
                2 => f64::from(each[party * classes + class]),
                _ => f64::from(each[party * rows + row]),
            };
            let total: f64 = (0..parties).map(weight).sum();
            let mean = (0..parties)
                .map(|party| weight(party) * rows_of[party][class])
                .sum::<f64>()
                / total;
            let size = if averaged == Averaged::Probabilities {
                7.0
            } else {
                f64::from(case.magnitude.min(1000.0))
            };
            near(found[row * classes + class], mean, size, "an average")?;
        }
    }
    Ok(())
}

/// Tries cases on the CPU, and fewer on a GPU, which may be one in software.
fn try_all(cases: u32, check: fn(&Case, &Device) -> Result<(), TestCaseError>) {
    for (name, device) in devices() {
        let config = ProptestConfig {
            cases: if name == "cpu" { cases } else { cases / 8 },
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        let mut runner = proptest::test_runner::TestRunner::new_with_rng(
            config,
            proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
        );
        runner
            .run(&case(), |case| check(&case, &device))
            .unwrap_or_else(|error| panic!("on the {name}: {error}"));
    }
}

#[test]
fn losses_and_gradients_are_those_of_float64() {
    try_all(256, agrees_with_float64);
}

#[test]
fn softmax_its_logarithm_and_entropy_are_those_of_float64() {
    try_all(256, softmax_agrees_with_float64);
}

#[test]
fn distances_and_their_gradients_are_those_of_float64() {
    try_all(128, distances_agree_with_float64);
}

#[test]
fn averages_of_parties_are_those_of_float64() {
    try_all(128, ensembles_agree_with_float64);
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
fn what_is_no_number_is_not_hidden() {
    for (name, device) in devices() {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut student = values(1, 20, 3.0, false);
            student[13] = bad;
            let clean = values(2, 20, 3.0, false);
            let tensor = |values: &[f32]| matrix(values, [2, 10], &device);
            let kl = Kl {
                reduction: Reduction::None,
                ..Kl::default()
            };
            for (student, teacher) in [(&student, &clean), (&clean, &student)] {
                let losses = vector(softmax_kl(tensor(student), tensor(teacher), kl, None, None).unwrap());
                assert!(losses[0].is_finite() && losses[1].is_nan(), "{name}: {losses:?}");
            }
            let loss = vector(crate::cross_entropy(tensor(&student), labels(&[1, 2], &device)).unwrap());
            assert!(loss[0].is_nan(), "{name}: {loss:?}");
            let probabilities = vector(softmax(tensor(&student), 1.0).unwrap());
            assert!(
                probabilities[10..].iter().all(|p| p.is_nan()),
                "{name}: {probabilities:?}"
            );
            assert!(
                probabilities[..10].iter().all(|p| p.is_finite()),
                "{name}: {probabilities:?}"
            );
        }
    }
}

#[test]
fn the_references_gradient_is_its_slope() {
    let student = [0.3, -1.2, 2.0, 0.7];
    let teacher = [1.0, 0.5, -0.3, 0.1];
    for (cross_entropy, kl, not_true) in [(1.0, 0.0, false), (0.0, 1.0, false), (0.5, 2.0, true)] {
        let what = SoftmaxLoss {
            cross_entropy,
            kl,
            temperature: 2.5,
            teacher: Teacher::Logits,
            not_true,
        };
        let (_, gradient, _) = reference::row_loss(&student, &teacher, 2, what);
        for class in 0..4 {
            let at = |step: f64| {
                let mut moved = student;
                moved[class] += step;
                reference::row_loss(&moved, &teacher, 2, what).0
            };
            let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!(
                (slope - gradient[class]).abs() < 1e-9,
                "{class}: {slope} {}",
                gradient[class]
            );
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
fn masked_classes_count_as_the_definition_says() {
    const NONE: f32 = f32::NEG_INFINITY;
    for (name, device) in devices() {
        let student = [1.0, 2.0, NONE, 1.0, NONE, 3.0, NONE, NONE, NONE, 1.0, 2.0, 3.0];
        let teacher = [1.0, NONE, NONE, 1.0, 2.0, 3.0, 1.0, 2.0, 3.0, NONE, NONE, NONE];
        let kl = Kl {
            reduction: Reduction::None,
            ..Kl::default()
        };
        let (losses, gradient) = both(matrix(&student, [4, 3], &device), |student| {
            softmax_kl(student, matrix(&teacher, [4, 3], &device), kl, None, None).unwrap()
        });
        // Whatever the teacher rules out counts nothing; the student's masked class, which the teacher takes, is infinitely far;
        // rows in which one of them says nothing count nothing.
        assert!((losses[0] - (1.0 + 1f32.exp()).ln()).abs() < 1e-6, "{name}: {losses:?}");
        assert_eq!((losses[1], losses[2], losses[3]), (f32::INFINITY, 0.0, 0.0), "{name}");
        assert!(gradient.iter().all(|slope| slope.is_finite()), "{name}: {gradient:?}");
        assert_eq!(gradient[6..], [0.0; 6], "{name}");
    }
}
