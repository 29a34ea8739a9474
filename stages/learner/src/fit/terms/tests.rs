//! What models are compared with: labels, logits, their own logits, and several at once.

use super::{Group, Summand, Target};
use crate::fit::tests::{distance, rows};
use crate::fit::{FitJob, TargetData, TermData};
use crate::testing::{SHAPE, adam, all_rows, architecture, job, labels, patterns, positions, run};
use crate::{LearnError, Model, Registry, evaluate, predict};
use burn::tensor::{Device, Tensor, TensorData};
use fedstill_schemas::data::Augmentation;
use fedstill_schemas::fit::{Fit, Loss, Optimizer as OptimizerSettings, Per};
use std::borrow::Cow;

#[test]
fn labels_are_moved_by_their_offset() {
    let data = patterns(SHAPE, 80, 3);
    let rows = rows(80);
    let architecture = architecture("mlp[8]");
    let settings = Fit {
        optimizer: OptimizerSettings::adam(0.01),
        ..adam(10, 16)
    };
    let term = TermData {
        target: TargetData::Labels { offset: 4 },
        ..labels(&data, &rows)
    };
    let base = job(&architecture, vec![term], &settings);
    let model = Model {
        classes: 7,
        ..base.model
    };
    let weights = run(&FitJob { model, ..base }).unwrap().weights;
    let registry = Registry::default();
    assert!(
        evaluate(&registry, &model, &weights, &data, &all_rows(&data), 4)
            .unwrap()
            .accuracy
            > 0.95
    );
    assert_eq!(
        evaluate(&registry, &model, &weights, &data, &all_rows(&data), 0)
            .unwrap()
            .accuracy,
        0.0
    );
    assert!(matches!(
        evaluate(&registry, &model, &weights, &data, &all_rows(&data), 5),
        Err(LearnError::LabelOutside {
            label: 2,
            offset: 5,
            classes: 7
        })
    ));
}

#[test]
fn logits_are_followed_row_by_row() {
    let data = patterns(SHAPE, 60, 3);
    let architecture = architecture("mlp[16]");
    let registry = Registry::default();
    let teaching = Fit {
        optimizer: OptimizerSettings::adam(0.01),
        ..adam(10, 16)
    };
    let all = rows(60);
    let base = job(&architecture, vec![labels(&data, &all)], &teaching);
    let teacher = run(&base).unwrap().weights;
    // A student that starts elsewhere, and sees the rows backwards.
    let backwards: Vec<u32> = (0..60).rev().collect();
    let target = predict(&registry, &base.model, &teacher, &data, &backwards).unwrap();
    let kl = Loss::Kl {
        t: 2.0,
        times_t2: true,
        per: Per::Batch,
    };
    for loss in [Loss::Mae, Loss::Mse, kl] {
        let term = TermData {
            target: TargetData::Logits(&target),
            loss,
            rows: &backwards,
            ..labels(&data, &all)
        };
        let settings = Fit {
            optimizer: OptimizerSettings::adam(0.01),
            ..adam(30, 16)
        };
        let student = run(&FitJob {
            seed: 9,
            ..job(&architecture, vec![term], &settings)
        })
        .unwrap();
        let scores = evaluate(&registry, &base.model, &student.weights, &data, &all_rows(&data), 0).unwrap();
        assert!(scores.accuracy > 0.95, "{loss:?}: {scores:?}");
    }
}

#[test]
fn own_logits_hold_a_model_where_it_started() {
    let data = patterns(SHAPE, 64, 4);
    let rows = rows(64);
    let architecture = architecture("mlp[8]");
    let registry = Registry::default();
    let settings = adam(3, 16);
    let base = job(&architecture, vec![labels(&data, &rows)], &settings);
    let start = run(&base).unwrap().weights;
    let before = predict(&registry, &base.model, &start, &data, &rows).unwrap();
    let moved = |weight| {
        let own = TermData {
            target: TargetData::Own,
            loss: Loss::Mse,
            weight,
            ..labels(&data, &rows)
        };
        let job = FitJob {
            start: Some(&start),
            ..job(&architecture, vec![labels(&data, &rows), own], &settings)
        };
        let weights = run(&job).unwrap().weights;
        let after = predict(&registry, &base.model, &weights, &data, &rows).unwrap();
        before
            .iter()
            .zip(&after)
            .map(|(one, other)| f64::from((one - other).powi(2)))
            .sum::<f64>()
    };
    assert!(moved(100.0) < 0.2 * moved(0.0), "{} {}", moved(100.0), moved(0.0));
}

#[test]
fn terms_on_other_rows_take_batches_of_their_own() {
    let data = patterns(SHAPE, 40, 4);
    let (driving, beside) = (rows(30), (30..40).collect::<Vec<u32>>());
    let architecture = architecture("cnn[3]");
    let settings = adam(2, 8);
    let fitted = |terms| run(&job(&architecture, terms, &settings)).unwrap();
    let both = fitted(vec![labels(&data, &driving), labels(&data, &beside)]);
    // The first term's rows set the steps: 8, 8, 8, 6 of 30.
    assert_eq!((both.steps, both.rows), (8, 30));
    let alone = fitted(vec![labels(&data, &driving)]);
    assert_ne!(both.weights, alone.weights);
    // Terms on the same rows are one forward pass: twice the half is the whole.
    let half = TermData {
        weight: 0.5,
        ..labels(&data, &driving)
    };
    let halves = fitted(vec![half, half]);
    assert!(distance(&halves.weights, &alone.weights) < 1e-5);
}

#[test]
fn a_cross_entropy_and_a_divergence_of_the_same_rows_are_the_weighted_sum_of_both() {
    let data = patterns(SHAPE, 6, 3);
    let rows = rows(6);
    let spread = |count: usize, factor: usize| -> Vec<f32> {
        (0..count).map(|i| (i * factor % 11) as f32 / 5.0 - 1.0).collect()
    };
    let target = spread(6 * 3, 7);
    let hard = |weight| Summand {
        target: Target::Labels { offset: 0 },
        loss: Loss::CrossEntropy,
        weight,
    };
    let soft = |loss, weight| Summand {
        target: Target::Logits(Cow::Borrowed(&target)),
        loss,
        weight,
    };
    // The loss of three of the rows, and its gradient.
    let found = |terms: Vec<Summand<'_>>| -> Vec<f32> {
        let group = Group {
            data: &data,
            rows: &rows,
            augment: &[],
            terms,
        };
        let logits = Tensor::<2>::from_data(TensorData::new(spread(3 * 3, 4), [3, 3]), &Device::flex())
            .autodiff()
            .require_grad();
        let loss = group.loss(&logits, &[4, 0, 5]).unwrap();
        let gradients = loss.backward();
        let values = |tensor: Tensor<2>| tensor.try_into_vec_as::<f32>().unwrap();
        let mut found = loss.inner().try_into_vec_as::<f32>().unwrap();
        found.extend(values(logits.grad(&gradients).unwrap()));
        found
    };
    for (times_t2, per) in [(false, Per::Batch), (true, Per::Batch), (true, Per::Element)] {
        let kl = Loss::Kl { t: 3.0, times_t2, per };
        let (labels, divergence) = (found(vec![hard(1.0)]), found(vec![soft(kl, 1.0)]));
        let weighted: Vec<f32> = labels
            .iter()
            .zip(&divergence)
            .map(|(labels, divergence)| 0.25 * labels + 2.0 * divergence)
            .collect();
        for together in [
            found(vec![hard(0.25), soft(kl, 2.0)]),
            found(vec![soft(kl, 2.0), hard(0.25)]),
        ] {
            assert_eq!(together.len(), weighted.len());
            for (one, other) in together.iter().zip(&weighted) {
                assert!((one - other).abs() < 1e-6, "{kl:?}: {together:?} {weighted:?}");
            }
        }
    }
}

#[test]
fn a_row_with_a_label_at_every_position_has_as_many_targets_in_their_order() {
    let data = positions(3, 5);
    // The places of the group are other rows of the data.
    let rows = [3, 0, 4, 1];
    let target: Vec<f32> = (0..4 * 3 * 3).map(|i| (i * 5 % 13) as f32).collect();
    let logits: Vec<f32> = (0..2 * 3 * 3).map(|i| (i * 3 % 7) as f32 - 2.0).collect();
    let found = |target: Target<'_>, loss| {
        let group = Group {
            data: &data,
            rows: &rows,
            augment: &[],
            terms: vec![Summand {
                target,
                loss,
                weight: 1.0,
            }],
        };
        let logits = Tensor::<2>::from_data(TensorData::new(logits.clone(), [6, 3]), &Device::flex())
            .autodiff()
            .require_grad();
        let loss = group.loss(&logits, &[2, 1]).unwrap();
        loss.inner().try_into_vec_as::<f32>().unwrap()[0]
    };
    // Of the rows at places 2 and 1, which are rows 4 and 0, all positions of one after those of the other.
    let compared = [&target[2 * 9..3 * 9], &target[9..2 * 9]].concat();
    let distances = logits
        .iter()
        .zip(&compared)
        .map(|(logit, target)| (logit - target).abs());
    let mae = distances.sum::<f32>() / 18.0;
    let by_logits = found(Target::Logits(Cow::Borrowed(&target)), Loss::Mae);
    assert!((by_logits - mae).abs() < 1e-5, "{by_logits} {mae}");

    let labels = [data.labels_of(4), data.labels_of(0)].concat();
    let losses = logits.chunks(3).zip(&labels).map(|(row, label)| {
        let sum: f32 = row.iter().map(|logit| logit.exp()).sum();
        sum.ln() - row[*label as usize]
    });
    let cross_entropy = losses.sum::<f32>() / 6.0;
    let by_labels = found(Target::Labels { offset: 0 }, Loss::CrossEntropy);
    assert!((by_labels - cross_entropy).abs() < 1e-5, "{by_labels} {cross_entropy}");
}

#[test]
fn augmentation_changes_what_is_trained_on_and_the_same_way_each_time() {
    let data = patterns(SHAPE, 40, 4);
    let rows = rows(40);
    let architecture = architecture("mlp[8]");
    let settings = adam(2, 8);
    let with = |augment: &'static [Augmentation]| TermData {
        augment,
        ..labels(&data, &rows)
    };
    let fitted = |terms| run(&job(&architecture, terms, &settings)).unwrap();
    let plain = fitted(vec![with(&[])]);
    let both = fitted(vec![with(&Augmentation::ALL)]);
    assert_eq!(both, fitted(vec![with(&Augmentation::ALL)]));
    assert_ne!(both.weights, plain.weights);
    assert_ne!(fitted(vec![with(&[Augmentation::Flip])]).weights, plain.weights);
    let other = FitJob {
        subject: "4",
        ..job(&architecture, vec![with(&Augmentation::ALL)], &settings)
    };
    assert_ne!(run(&other).unwrap().weights, both.weights);
    // Otherwise augmented rows take batches of their own; alike, they are one pass.
    let half = |augment| TermData {
        weight: 0.5,
        ..with(augment)
    };
    let halves = fitted(vec![half(&Augmentation::ALL), half(&Augmentation::ALL)]);
    assert!(distance(&halves.weights, &both.weights) < 1e-5);
    let mixed = fitted(vec![half(&Augmentation::ALL), half(&[])]);
    assert!(distance(&mixed.weights, &both.weights) > 1e-5);
}

#[test]
fn rows_that_are_compared_with_logits_are_not_augmented() {
    let data = patterns(SHAPE, 16, 4);
    let rows = rows(16);
    let (architecture, settings) = (architecture("mlp[4]"), adam(1, 8));
    let target = vec![0.0; 64];
    for target in [TargetData::Own, TargetData::Logits(&target)] {
        let term = TermData {
            target,
            loss: Loss::Mse,
            augment: &[Augmentation::Flip],
            ..labels(&data, &rows)
        };
        let refused = run(&job(&architecture, vec![term], &settings)).unwrap_err().to_string();
        assert!(refused.contains("augment") && refused.contains("flip"), "{refused}");
    }
}
