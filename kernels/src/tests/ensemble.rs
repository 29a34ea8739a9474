//! Averages of parties against float64.

use super::cases::{Case, near, try_all, values};
use super::reference::{self, wide};
use super::{devices, half_matrix, matrix, vector};
use crate::{Averaged, Ensemble, Sharpening, Weights, ensemble};
use burn::tensor::{Device, Tensor, TensorData};
use proptest::prelude::*;

/// Predictions, in float16 where the case says so; turned, they lie in memory by classes, and parties next to each other.
fn parties_of(case: &Case, values: &[f32], [parties, rows, classes]: [usize; 3], device: &Device) -> Tensor<3> {
    if values.is_empty() {
        return Tensor::zeros([parties, rows, classes], device);
    }
    let make = if case.half { half_matrix } else { matrix };
    if !case.turned {
        return make(values, [parties * rows, classes], device).reshape([parties, rows, classes]);
    }
    let place = |i: usize| (i % parties * rows + i / parties % rows) * classes + i / (parties * rows);
    let turned: Vec<f32> = (0..values.len()).map(|i| values[place(i)]).collect();
    let turned: Tensor<3> = make(&turned, [classes, rows * parties], device).reshape([classes, rows, parties]);
    turned.swap_dims(0, 2)
}

fn sharpened_ensembles_agree_with_float64(case: &Case, device: &Device) -> Result<(), TestCaseError> {
    let parties = 1 + case.seed as usize % 12;
    let (rows, classes) = (case.rows.min(5), case.classes);
    // Probabilities of masked logits are 0; means of logits are of finite ones, small enough for what sharpening makes of rounding.
    let (averaged, magnitude) = if case.not_true {
        (Averaged::Probabilities, case.magnitude.min(6e4))
    } else {
        (Averaged::Values, case.magnitude.min(10.0))
    };
    let masked = case.masked && averaged == Averaged::Probabilities;
    let predictions = values(case.seed, parties * rows * classes, magnitude, masked);
    let each: Vec<f32> = values(case.seed, parties, 1.0, false)
        .iter()
        .map(|w| w.abs() + 0.5)
        .collect();
    let weights = Weights::Party(Tensor::from_data(TensorData::new(each.clone(), [parties]), device));
    let tensor = parties_of(case, &predictions, [parties, rows, classes], device);
    let era = vector(ensemble(tensor.clone(), &weights, averaged, Sharpening::Era(0.5)).unwrap());
    let power = vector(ensemble(tensor, &weights, averaged, Sharpening::Power(1.5)).unwrap());
    let total: f64 = wide(&each).iter().sum();
    for row in 0..rows {
        let mut mean = vec![0.0; classes];
        for (party, weight) in wide(&each).into_iter().enumerate() {
            let said = wide(&predictions[(party * rows + row) * classes..][..classes]);
            let said = match averaged {
                Averaged::Probabilities => reference::softmax(&said),
                Averaged::Values => said,
            };
            for (mean, said) in mean.iter_mut().zip(said) {
                *mean += weight * said / total;
            }
        }
        let by_era: Vec<f64> = mean.iter().map(|mean| mean / 0.5).collect();
        let logits = mean.iter().map(|mean| match averaged {
            Averaged::Probabilities => mean.ln(),
            Averaged::Values => *mean,
        });
        let by_power: Vec<f64> = logits.map(|logit| 1.5 * logit).collect();
        let (by_era, by_power) = (reference::softmax(&by_era), reference::softmax(&by_power));
        for class in 0..classes {
            near(era[row * classes + class], by_era[class], 1.0, "a softened average")?;
            near(
                power[row * classes + class],
                by_power[class],
                1.0,
                "a power of an average",
            )?;
        }
    }
    Ok(())
}

#[test]
fn sharpened_averages_of_masked_and_turned_predictions_are_those_of_float64() {
    try_all(128, sharpened_ensembles_agree_with_float64);
}

#[test]
fn a_power_of_no_probability_is_none() {
    const NONE: f32 = f32::NEG_INFINITY;
    for (name, device) in devices() {
        // Of the first row one class has none, of the second every one.
        let parties = matrix(&[0.0, NONE, 0.0, NONE, NONE, NONE], [2, 3], &device).reshape([1, 2, 3]);
        let sharpening = Sharpening::Power(2.0);
        let found = vector(ensemble(parties, &Weights::Equal, Averaged::Probabilities, sharpening).unwrap());
        assert!((found[0] - 0.5).abs() < 1e-6, "{name}: {found:?}");
        assert!((found[2] - 0.5).abs() < 1e-6, "{name}: {found:?}");
        assert_eq!([found[1], found[3], found[4], found[5]], [0.0; 4], "{name}");
    }
}

#[test]
fn weights_of_one_and_equal_ones_are_the_same_in_any_order() {
    for (name, device) in devices() {
        let logits = values(3, 4 * 10, 3.0, false);
        let one: Tensor<3> = matrix(&logits[..20], [2, 10], &device).reshape([1, 2, 10]);
        let other: Tensor<3> = matrix(&logits[20..], [2, 10], &device).reshape([1, 2, 10]);
        let ones = Weights::Party(Tensor::ones([1], &device));
        let run = |weights: [&Weights; 2]| {
            let mut sum = Ensemble::new(2, 10, Averaged::Values, &device).unwrap();
            sum.add(one.clone(), weights[0]).unwrap();
            sum.add(other.clone(), weights[1]).unwrap();
            vector(sum.finish(Sharpening::None).unwrap())
        };
        let equal = run([&Weights::Equal, &Weights::Equal]);
        assert_eq!(run([&ones, &Weights::Equal]), equal, "{name}");
        assert_eq!(run([&Weights::Equal, &ones]), equal, "{name}");
    }
}

#[test]
fn what_many_parties_agree_on_is_their_average() {
    for (name, device) in devices() {
        // Probabilities where registers hold the row's sums, and of a longer row; logits where they need no exponential.
        for (averaged, classes, said, expected) in [
            (Averaged::Values, 3, 0.1_f32, f64::from(0.1_f32)),
            (Averaged::Probabilities, 10, 0.0, 0.1),
            (Averaged::Probabilities, 1100, 0.0, 1.0 / 1100.0),
        ] {
            for parties in [1000, 10_000] {
                if parties * classes > 2_000_000 {
                    continue;
                }
                let predictions = || Tensor::<3>::full([parties, 1, classes], said, &device);
                let weights = || Tensor::<1>::full([parties], 0.7, &device);
                let mut averages = Vec::new();
                for part in [parties, parties / 50] {
                    let mut equal = Ensemble::new(1, classes, averaged, &device).unwrap();
                    let mut weighted = equal.clone();
                    for first in (0..parties).step_by(part) {
                        let part_of = predictions().narrow(0, first, part);
                        equal.add(part_of.clone(), &Weights::Equal).unwrap();
                        let weights = Weights::Party(weights().narrow(0, first, part));
                        weighted.add(part_of, &weights).unwrap();
                    }
                    let finished = [equal, weighted].map(|sum| vector(sum.finish(Sharpening::None).unwrap()));
                    for found in finished.iter().flatten() {
                        let error = (f64::from(*found) - expected).abs() / expected;
                        assert!(
                            error < 1e-6,
                            "{averaged:?} of {parties} in parts of {part} on the {name}: {found}, {error:e} off"
                        );
                    }
                    averages.push(finished);
                }
                assert_eq!(averages[0], averages[1], "the same in parts, on the {name}");
            }
        }
    }
}

fn ensembles_agree_with_float64(case: &Case, device: &Device) -> Result<(), TestCaseError> {
    let parties = 1 + case.seed as usize % 5;
    let (rows, classes) = (case.rows.min(9), case.classes);
    // Sums of more may leave float32.
    let magnitude = case.magnitude.min(1e30);
    let predictions = values(case.seed, parties * rows * classes, magnitude, false);
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
        let tensor = parties_of(case, part, dims, device);
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
                f64::from(magnitude)
            };
            near(found[row * classes + class], mean, size, "an average")?;
        }
    }
    Ok(())
}

#[test]
fn averages_of_parties_are_those_of_float64() {
    try_all(128, ensembles_agree_with_float64);
}

#[test]
fn rows_that_registers_hold_and_longer_ones_are_averaged_alike() {
    let parties = 5;
    for (name, device) in devices() {
        // A cube of 256 units holds 1,024 classes; of 1,023 and 1,025 one unit has one less or more than the others.
        for classes in [1, 3, 5, 1023, 1024, 1025, 2049] {
            for half in [false, true] {
                let make = if half { half_matrix } else { matrix };
                let logits = values(9, parties * 3 * classes, 5.0, classes > 5);
                let tensor: Tensor<3> = make(&logits, [parties * 3, classes], &device).reshape([parties, 3, classes]);
                let mut sum = Ensemble::new(3, classes, Averaged::Probabilities, &device).unwrap();
                // The second launch goes on from the sums of the first.
                for part in [tensor.clone().narrow(0, 0, 2), tensor.narrow(0, 2, 3)] {
                    sum.add(part, &Weights::Equal).unwrap();
                }
                let found = vector(sum.finish(Sharpening::None).unwrap());
                for row in 0..3 {
                    let mut mean = vec![0.0; classes];
                    for party in 0..parties {
                        let said = reference::softmax(&wide(&logits[(party * 3 + row) * classes..][..classes]));
                        for (mean, said) in mean.iter_mut().zip(said) {
                            *mean += said / parties as f64;
                        }
                    }
                    for (class, expected) in mean.into_iter().enumerate() {
                        let found = f64::from(found[row * classes + class]);
                        assert!(
                            (found - expected).abs() <= 1e-6 + 1e-5 * expected,
                            "{name}: {found} instead of {expected}, class {class} of {classes}"
                        );
                    }
                }
            }
        }
    }
}
