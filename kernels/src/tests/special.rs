//! Masked classes, and values that are not numbers.

use super::cases::values;
use super::{both, devices, half_matrix, labels, matrix, vector};
use crate::row_loss::{RowLoss, SoftmaxLoss, row_loss};
use crate::{
    Averaged, Ensemble, Kl, Reduction, Sharpening, Teacher, Weights, cross_entropy, cross_entropy_kl, ensemble,
    entropy, log_softmax, mae, mse, softmax, softmax_kl,
};
use burn::tensor::{DType, Device, Int, Tensor};

const EACH: Kl = Kl {
    temperature: 1.0,
    times_t2: false,
    teacher: Teacher::Logits,
    reduction: Reduction::None,
};

/// Values of which NaN is as good as any other, and 0 of either sign.
fn assert_same(found: &[f32], expected: &[f32], what: &str) {
    let same = |(found, expected): (&f32, &f32)| {
        let is_near = (found - expected).abs() < 1e-6;
        found == expected || is_near || (found.is_nan() && expected.is_nan())
    };
    assert_eq!(found.len(), expected.len(), "{what}");
    assert!(found.iter().zip(expected).all(same), "{what}: {found:?} {expected:?}");
}

/// Of two rows as long, the first is finite, in loss and gradient, and the second is nowhere a number.
fn assert_second_is_none(losses: &[f32], gradient: &[f32], what: &str) {
    let classes = gradient.len() / 2;
    assert!(losses[0].is_finite() && losses[1].is_nan(), "{what}: {losses:?}");
    assert!(
        gradient[..classes].iter().all(|slope| slope.is_finite()),
        "{what}: {gradient:?}"
    );
    assert!(
        gradient[classes..].iter().all(|slope| slope.is_nan()),
        "{what}: {gradient:?}"
    );
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
            let loss = vector(cross_entropy(tensor(&student), labels(&[1, 2], &device)).unwrap());
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
fn finite_values_of_any_size_give_finite_losses_probabilities_and_entropies() {
    for (name, device) in devices() {
        let tensor = |values: [f32; 2]| matrix(&values, [1, 2], &device);
        // Student, teacher, temperature, and what the divergence is: of the first two the student's second class is where the
        // teacher has no probability, of the others where it has half of it.
        for (student, teacher, temperature, far) in [
            ([3e38, -3e38], [1000.0, 0.0], 1.0, 0.0),
            ([1e37, -1e37], [1e37, -1e37], 0.05, 0.0),
            ([3e38, -3e38], [0.0, 0.0], 1.0, 0.5e25),
            ([-1e37, 1e37], [7.0, 7.0], 0.05, 0.5e25),
            ([-3e38, 3e38], [0.0, 1e30], 1e-9, 0.0),
            ([3e38, -3e38], [3e38, -3e38], 1e9, 0.0),
        ] {
            let kl = Kl { temperature, ..EACH };
            let what = format!("{student:?} and {teacher:?} at {temperature} on the {name}");
            let (losses, gradient) = both(tensor(student), |student| {
                softmax_kl(student, tensor(teacher), kl, None, None).unwrap()
            });
            assert!((losses[0] - far).abs() <= 1e-5 * (1.0 + far), "{what}: {losses:?}");
            assert!(gradient.iter().all(|slope| slope.is_finite()), "{what}: {gradient:?}");
            let (losses, gradient) = both(tensor(student), |student| {
                cross_entropy_kl(student, labels(&[1], &device), tensor(teacher), kl, [1.0, 1.0], false).unwrap()
            });
            assert!(losses[0].is_finite() && losses[0] >= 0.99 * far, "{what}: {losses:?}");
            assert!(gradient.iter().all(|slope| slope.is_finite()), "{what}: {gradient:?}");
        }
        let large = || tensor([3e38, -3e38]);
        assert_same(&vector(softmax(large(), 1.0).unwrap()), &[1.0, 0.0], name);
        assert_same(&vector(entropy(large(), 0.05).unwrap()), &[0.0], name);
        let logarithms = vector(log_softmax(large(), 1.0).unwrap());
        assert!(
            logarithms[0].abs() < 1e-6 && (-1.1e25..-0.9e25).contains(&logarithms[1]),
            "{name}: {logarithms:?}"
        );
        for classes in [2, 2049] {
            let mut said = vec![-3e38; classes];
            said[1] = 3e38;
            let parties = matrix(&said, [1, classes], &device).reshape([1, 1, classes]);
            let mean = ensemble(parties, &Weights::Equal, Averaged::Probabilities, Sharpening::None);
            let mean = vector(mean.unwrap());
            assert!((mean[1] - 1.0).abs() < 1e-6, "{name}: {}", mean[1]);
            assert!((mean.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{name}");
        }
    }
}

#[test]
fn averages_of_masked_classes_and_of_what_is_no_number_are_as_documented() {
    const NONE: f32 = f32::NEG_INFINITY;
    const MANY: f32 = f32::INFINITY;
    const NAN: f32 = f32::NAN;
    // The third party counts nothing, whatever it holds.
    let said = [
        [NONE, MANY, MANY, NAN, 1.0, NONE, 2.0, NONE],
        [2.0, 2.0, NONE, 1.0, 3.0, NONE, MANY, NAN],
        [NAN, NONE, 1.0, MANY, NAN, MANY, NONE, 1.0],
    ];
    let expected = [NONE, MANY, NAN, NAN, 2.0, NONE, MANY, NAN];
    for (name, device) in devices() {
        for make in [matrix, half_matrix] {
            let parties: Tensor<3> = make(&said.concat(), [3, 8], &device).reshape([3, 1, 8]);
            let weights = Tensor::<1>::from_data([0.5, 0.5, 0.0], &device);
            let all = ensemble(
                parties.clone(),
                &Weights::Party(weights.clone()),
                Averaged::Values,
                Sharpening::None,
            );
            assert_same(&vector(all.unwrap()), &expected, name);
            let mut sum = Ensemble::new(1, 8, Averaged::Values, &device).unwrap();
            for party in 0..3 {
                let weight = Weights::Party(weights.clone().narrow(0, party, 1));
                sum.add(parties.clone().narrow(0, party, 1), &weight).unwrap();
            }
            let streamed = vector(sum.finish(Sharpening::None).unwrap());
            assert_same(&streamed, &expected, &format!("one by one on the {name}"));
        }
        // What all mask has no probability once it is sharpened.
        let parties: Tensor<3> = matrix(&[NONE, 1.0, 1.0, NONE, 3.0, 3.0], [2, 3], &device).reshape([2, 1, 3]);
        let sharpened = ensemble(parties, &Weights::Equal, Averaged::Values, Sharpening::Era(1.0));
        assert_same(&vector(sharpened.unwrap()), &[0.0, 0.5, 0.5], name);
    }
}

#[test]
fn gradients_of_what_is_no_number_are_not_hidden() {
    for (name, device) in devices() {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut spoilt = values(1, 20, 3.0, false);
            spoilt[13] = bad;
            let clean = values(2, 20, 3.0, false);
            let tensor = |values: &[f32]| matrix(values, [2, 10], &device);
            let chosen = || labels(&[1, 2], &device);
            for (student, teacher) in [(&spoilt, &clean), (&clean, &spoilt)] {
                let (losses, gradient) = both(tensor(student), |student| {
                    softmax_kl(student, tensor(teacher), EACH, None, None).unwrap()
                });
                assert_second_is_none(&losses, &gradient, &format!("KL on the {name}"));
                let (losses, gradient) = both(tensor(student), |student| {
                    cross_entropy_kl(student, chosen(), tensor(teacher), EACH, [0.5, 0.5], true).unwrap()
                });
                assert_second_is_none(&losses, &gradient, &format!("cross entropy and KL on the {name}"));
            }
            let (_, gradient) = both(tensor(&spoilt), |student| cross_entropy(student, chosen()).unwrap());
            assert_second_is_none(&[0.0, f32::NAN], &gradient, &format!("cross entropy on the {name}"));
        }
    }
}

#[test]
fn a_row_that_says_nothing_hides_no_other_that_is_no_number() {
    const NONE: f32 = f32::NEG_INFINITY;
    for (name, device) in devices() {
        let (spoilt, nothing) = ([0.0, 1.0, f32::NAN, 1.0], [0.0, 1.0, NONE, NONE]);
        for (student, teacher) in [(spoilt, nothing), (nothing, spoilt)] {
            let (losses, gradient) = both(matrix(&student, [2, 2], &device), |student| {
                softmax_kl(student, matrix(&teacher, [2, 2], &device), EACH, None, None).unwrap()
            });
            assert_second_is_none(&losses, &gradient, name);
        }
    }
}

#[test]
fn a_class_that_is_left_out_may_hold_anything() {
    for (name, device) in devices() {
        for bad in [f32::NAN, f32::INFINITY] {
            let row = [bad, 1.0, 3.0];
            let teacher = || matrix(&[bad, 2.0, 1.0], [1, 3], &device);
            let (losses, gradient) = both(matrix(&row, [1, 3], &device), |student| {
                softmax_kl(student, teacher(), EACH, None, Some(labels(&[0], &device))).unwrap()
            });
            assert!(losses[0].is_finite(), "{name}: {losses:?}");
            assert_eq!(gradient[0], 0.0, "{name}");
            assert!(gradient.iter().all(|slope| slope.is_finite()), "{name}: {gradient:?}");
        }
    }
}

#[test]
fn teachers_in_probabilities_hide_nothing_that_is_no_probability() {
    for (name, device) in devices() {
        let kl = Kl {
            teacher: Teacher::Probabilities,
            ..EACH
        };
        let student = || matrix(&[0.5, 1.0, -1.0, 0.5, 1.0, -1.0], [2, 3], &device);
        for make in [matrix, half_matrix] {
            let run = |of_second: f32| {
                let teacher = make(&[0.5, 0.5, 0.0, 0.5, 0.5, of_second], [2, 3], &device);
                both(student(), |student| {
                    softmax_kl(student, teacher.clone(), kl, None, None).unwrap()
                })
            };
            for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.5] {
                let (losses, gradient) = run(bad);
                assert_second_is_none(&losses, &gradient, &format!("{bad} on the {name}"));
            }
            for none in [0.0, -0.0] {
                let (losses, gradient) = run(none);
                assert_same(&losses[1..], &losses[..1], name);
                assert_same(&gradient[3..], &gradient[..3], name);
            }
        }
    }
}

#[test]
fn rows_of_weight_zero_count_nothing_whatever_they_hold() {
    const NONE: f32 = f32::NEG_INFINITY;
    for (name, device) in devices() {
        // The second row is infinitely far, the third no number.
        let student = [0.0, 1.0, NONE, 1.0, f32::NAN, 1.0];
        let teacher = || matrix(&[1.0, 0.0, 1.0, 1.0, 1.0, 1.0], [3, 2], &device);
        let alone = both(matrix(&student[..2], [1, 2], &device), |student| {
            softmax_kl(student, matrix(&[1.0, 0.0], [1, 2], &device), EACH, None, None).unwrap()
        });
        for reduction in [Reduction::BatchMean, Reduction::ElementMean, Reduction::None] {
            let kl = Kl { reduction, ..EACH };
            let weights = || Some(Tensor::from_data([2.0, 0.0, 0.0], &device));
            let (losses, gradient) = both(matrix(&student, [3, 2], &device), |student| {
                softmax_kl(student, teacher(), kl, weights(), None).unwrap()
            });
            let scale = match reduction {
                Reduction::BatchMean => 1.0,
                Reduction::ElementMean => 0.5,
                Reduction::None => 2.0,
            };
            let what = format!("{reduction:?} on the {name}");
            let mut expected = vec![scale * alone.0[0]];
            if reduction == Reduction::None {
                expected.extend([0.0; 2]);
            }
            assert_same(&losses, &expected, &what);
            let slopes = [scale * alone.1[0], scale * alone.1[1], 0.0, 0.0, 0.0, 0.0];
            assert_same(&gradient, &slopes, &what);
        }
    }
}

#[test]
fn distances_of_masked_classes_and_of_what_is_no_number_are_as_documented() {
    const NONE: f32 = f32::NEG_INFINITY;
    const MANY: f32 = f32::INFINITY;
    const NAN: f32 = f32::NAN;
    // A row of two classes, its target, both losses, and the gradients.
    let rows = [
        ([NONE, 1.0], [NONE, 3.0], [1.0, 2.0], [0.0, -0.5], [0.0, -2.0]),
        ([NONE, 1.0], [0.0, 1.0], [MANY, MANY], [-0.5, 0.0], [NONE, 0.0]),
        ([0.0, 1.0], [NONE, 1.0], [MANY, MANY], [0.5, 0.0], [MANY, 0.0]),
        ([MANY, 1.0], [MANY, 1.0], [NAN, NAN], [NAN, 0.0], [NAN, 0.0]),
        ([MANY, 1.0], [0.0, 1.0], [NAN, NAN], [NAN, 0.0], [NAN, 0.0]),
        ([0.0, 2.0], [MANY, 1.0], [NAN, NAN], [NAN, 0.5], [NAN, 1.0]),
        ([MANY, 1.0], [NONE, 1.0], [NAN, NAN], [NAN, 0.0], [NAN, 0.0]),
        ([NAN, 1.0], [0.0, 2.0], [NAN, NAN], [NAN, -0.5], [NAN, -1.0]),
        ([0.0, 2.0], [NAN, 1.0], [NAN, NAN], [NAN, 0.5], [NAN, 1.0]),
        ([NONE, 2.0], [NAN, 1.0], [NAN, NAN], [NAN, 0.5], [NAN, 1.0]),
    ];
    for (name, device) in devices() {
        for make in [matrix, half_matrix] {
            for (student, target, losses, absolute, squared) in &rows {
                let what = format!("{student:?} and {target:?} on the {name}");
                for (loss, gradient, how) in [
                    (losses[0], absolute, RowLoss::Absolute),
                    (losses[1], squared, RowLoss::Squared),
                ] {
                    let found = both(matrix(student, [1, 2], &device), |student| {
                        row_loss(student, Some(make(target, [1, 2], &device)), None, how)
                    });
                    assert_same(&found.0, &[loss], &what);
                    assert_same(&found.1, gradient, &what);
                }
            }
        }
        let means = |student: [f32; 4], target: [f32; 4]| {
            let tensor = |values: &[f32]| matrix(values, [2, 2], &device);
            let mean = mae(tensor(&student), tensor(&target)).unwrap();
            let square = mse(tensor(&student), tensor(&target)).unwrap();
            [vector(mean)[0], vector(square)[0]]
        };
        assert_eq!(
            means([NONE, 1.0, 2.0, 0.0], [NONE, 3.0, 2.0, 2.0]),
            [1.0, 2.0],
            "{name}"
        );
        assert!(
            means([NAN, 1.0, 2.0, 0.0], [NONE, 3.0, 2.0, 2.0])
                .iter()
                .all(|mean| mean.is_nan())
        );
    }
}

/// The losses and the gradient of two rows of three classes with these labels.
fn with_labels(given: Tensor<1, Int>, cross_entropy: f32, device: &Device) -> (Vec<f32>, Vec<f32>) {
    let what = RowLoss::Softmax(SoftmaxLoss {
        cross_entropy,
        kl: 1.0,
        temperature: 1.0,
        teacher: Teacher::Logits,
        not_true: true,
    });
    both(matrix(&[0.0, 1.0, 2.0, 0.0, 1.0, 2.0], [2, 3], device), |student| {
        let teacher = matrix(&[2.0, 1.0, 0.0, 2.0, 1.0, 0.0], [2, 3], device);
        row_loss(student, Some(teacher), Some(given.clone()), what)
    })
}

#[test]
fn a_label_that_is_no_class_makes_its_row_no_number() {
    for (name, device) in devices() {
        for cross_entropy in [0.0, 1.0] {
            for label in [3, 1000, -1, i32::MIN] {
                let given = Tensor::<1, Int>::from_data([2, label], &device);
                let (losses, gradient) = with_labels(given, cross_entropy, &device);
                assert_second_is_none(&losses, &gradient, &format!("label {label} on the {name}"));
            }
            if device.supports_dtype(DType::I64) {
                // Its lower half is a class.
                let given = Tensor::<1, Int>::from_data([2, (1_i64 << 32) + 1], (&device, DType::I64));
                let (losses, gradient) = with_labels(given, cross_entropy, &device);
                assert_second_is_none(&losses, &gradient, &format!("a wide label on the {name}"));
            }
        }
    }
}
