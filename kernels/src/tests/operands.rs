//! Operands that do not fit are refused on the host, each with an error that names it.

use super::{devices, vector};
use crate::{
    Averaged, Ensemble, Kl, OperandError, Sharpening, Weights, cross_entropy, cross_entropy_kl, ensemble, entropy, mae,
    mse, softmax, softmax_kl,
};
use burn::tensor::{DType, Device, Int, Tensor};

#[test]
fn operands_that_do_not_fit_are_refused() {
    for (name, device) in devices() {
        let zeros = |rows, classes| Tensor::<2>::zeros([rows, classes], &device);
        let kl = |student, teacher| softmax_kl(student, teacher, Kl::default(), None, None);
        assert!(
            matches!(kl(zeros(2, 3), zeros(3, 2)), Err(OperandError::Shape { .. })),
            "{name}"
        );
        for rows in [0, 3] {
            let none = || zeros(rows, 0);
            for (result, named) in [
                (kl(none(), none()), "the student"),
                (mse(none(), none()), "the student"),
                (entropy(none(), 1.0), "the logits"),
            ] {
                let error = result.unwrap_err();
                let is_named = matches!(error, OperandError::NoClasses { operand, .. } if operand == named);
                assert!(is_named && error.to_string().contains(named), "{error}");
            }
            assert!(matches!(softmax(none(), 1.0), Err(OperandError::NoClasses { .. })));
        }
        assert!(matches!(mae(zeros(2, 3), zeros(2, 4)), Err(OperandError::Shape { .. })));
        for temperature in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-60, 1e60, 1e-10, 1e10] {
            let kl = Kl {
                temperature,
                ..Kl::default()
            };
            let error = softmax_kl(zeros(2, 3), zeros(2, 3), kl, None, None).unwrap_err();
            assert!(
                matches!(error, OperandError::Temperature { .. }),
                "{temperature}: {error}"
            );
            assert!(softmax(zeros(2, 3), temperature).is_err());
        }
        let labels = |rows: usize| Tensor::zeros([rows], &device);
        let error = cross_entropy(zeros(2, 3), labels(3)).unwrap_err();
        assert!(
            matches!(
                error,
                OperandError::Rows {
                    operand: "labels",
                    rows: 2,
                    found: 3,
                    ..
                }
            ),
            "{error}"
        );
        let both = cross_entropy_kl(
            zeros(2, 3),
            labels(2),
            zeros(2, 3),
            Kl::default(),
            [f64::NAN, 1.0],
            false,
        );
        let error = both.unwrap_err();
        let is_named = matches!(
            error,
            OperandError::Factor {
                operand: "the cross entropy",
                ..
            }
        );
        assert!(is_named, "{error}");
        // The weight alone is finite in float32, and so is the temperature's square.
        let large = Kl {
            temperature: 1e9,
            times_t2: true,
            ..Kl::default()
        };
        let error = cross_entropy_kl(zeros(2, 3), labels(2), zeros(2, 3), large, [1.0, 1e30], false).unwrap_err();
        let is_named = matches!(
            error,
            OperandError::Factor {
                operand: "the divergence",
                ..
            }
        );
        assert!(is_named && error.to_string().contains("temperature"), "{error}");
        // A number of float32, but not over the temperature, by which the gradient is multiplied.
        let cold = Kl {
            temperature: 1e-9,
            ..Kl::default()
        };
        let run = |weight: f64| {
            let student = zeros(2, 3).autodiff().require_grad();
            cross_entropy_kl(student.clone(), labels(2), zeros(2, 3), cold, [1.0, weight], false).map(|loss| {
                let gradients = loss.backward();
                vector(student.grad(&gradients).unwrap())
            })
        };
        let error = run(1e30).unwrap_err();
        let is_named = matches!(
            error,
            OperandError::Factor {
                operand: "the divergence",
                ..
            }
        );
        assert!(
            is_named && error.to_string().contains("over the temperature"),
            "{error}"
        );
        assert!(run(1e29).unwrap().iter().all(|slope| slope.is_finite()), "{name}");
        for weights in [[0.0, 0.0], [-1.0, 2.0], [f32::NAN, 1.0]] {
            let weights = Tensor::from_data(weights, &device);
            let error = softmax_kl(zeros(2, 3), zeros(2, 3), Kl::default(), Some(weights), None).unwrap_err();
            assert!(matches!(error, OperandError::Weights { .. }), "{error}");
        }
    }
}

#[test]
fn a_label_that_is_no_class_is_refused_on_the_cpu_and_no_number_on_a_gpu() {
    for (name, device) in devices() {
        for label in [3, -1] {
            let zeros = || Tensor::<2>::zeros([2, 3], &device);
            let labels = || Tensor::<1, Int>::from_data([0, label], &device);
            let losses = [
                cross_entropy(zeros(), labels()),
                cross_entropy_kl(zeros(), labels(), zeros(), Kl::default(), [0.5, 0.5], false),
                softmax_kl(zeros(), zeros(), Kl::default(), None, Some(labels())),
            ];
            for loss in losses {
                if name == "cpu" {
                    let error = loss.unwrap_err();
                    let is_named = matches!(error, OperandError::Label { row: 1, classes: 3, .. });
                    assert!(is_named && error.to_string().contains(&label.to_string()), "{error}");
                } else {
                    assert!(vector(loss.unwrap())[0].is_nan(), "{label} on the {name}");
                }
            }
        }
    }
}

#[test]
fn operands_on_another_device_are_refused() {
    let devices = devices();
    let [(_, here), (_, there)] = &devices[..] else {
        return;
    };
    for (here, there) in [(here, there), (there, here)] {
        let zeros = |device: &Device| Tensor::<2>::zeros([2, 3], device);
        let labels = |device: &Device| Tensor::<1, Int>::zeros([2], device);
        let kl = Kl::default();
        let ones = Some(Tensor::ones([2], there));
        let losses = [
            (softmax_kl(zeros(here), zeros(there), kl, None, None), "the teacher"),
            (mae(zeros(here), zeros(there)), "the teacher"),
            (softmax_kl(zeros(here), zeros(here), kl, ones, None), "weights"),
            (
                softmax_kl(zeros(here), zeros(here), kl, None, Some(labels(there))),
                "labels",
            ),
            (cross_entropy(zeros(here), labels(there)), "labels"),
            (
                cross_entropy_kl(zeros(here), labels(there), zeros(here), kl, [1.0, 1.0], false),
                "labels",
            ),
        ];
        for (loss, named) in losses {
            let error = loss.unwrap_err();
            assert!(
                matches!(error, OperandError::Device { operand, .. } if operand == named),
                "{error}"
            );
        }
        let mut sum = Ensemble::new(2, 3, Averaged::Values, here).unwrap();
        let parties = |device: &Device| Tensor::<3>::ones([2, 2, 3], device);
        let error = sum.add(parties(there), &Weights::Equal).unwrap_err();
        assert!(matches!(error, OperandError::Device { .. }), "{error}");
        for weights in [
            Weights::Party(Tensor::ones([2], there)),
            Weights::PartyClass(Tensor::ones([2, 3], there)),
            Weights::PartyRow(Tensor::ones([2, 2], there)),
        ] {
            let error = sum.add(parties(here), &weights).unwrap_err();
            assert!(matches!(error, OperandError::Device { .. }), "{error}");
        }
        // Nothing of what was refused is in it.
        sum.add(parties(here), &Weights::Equal).unwrap();
        assert_eq!(vector(sum.finish(Sharpening::None).unwrap()), [1.0; 6]);
        // Recorded for a backward pass or not, it is the same device.
        let student = zeros(here).autodiff();
        assert!(softmax_kl(student, zeros(here), kl, None, Some(labels(here))).is_ok());
    }
}

#[test]
fn a_type_that_the_kernels_do_not_take_is_refused_before_anything_runs() {
    // Of types that every device can hold and the CPU computes in; what a GPU lacks is below.
    let device = burn::tensor::Device::flex();
    let wide = Tensor::<2>::zeros([2, 3], (&device, DType::F64));
    let narrow = Tensor::<2>::zeros([2, 3], (&device, DType::F32));
    let half = Tensor::<2>::zeros([2, 3], (&device, DType::F16));
    let kl = |student: &Tensor<2>, teacher: &Tensor<2>| {
        softmax_kl(student.clone(), teacher.clone(), Kl::default(), None, None)
    };
    let error = kl(&wide, &narrow).unwrap_err();
    assert!(error.to_string().contains("the student in f64"), "{error}");
    let error = kl(&narrow, &wide).unwrap_err();
    assert!(error.to_string().contains("the teacher in f64"), "{error}");
    assert!(kl(&half, &half).is_err(), "a student in float16");
    assert!(kl(&narrow, &half).is_ok());
    let three = Tensor::<3>::zeros([2, 3, 4], (&device, DType::F64));
    assert!(ensemble(three, &Weights::Equal, Averaged::Values, Sharpening::None).is_err());
}

#[test]
fn a_type_that_a_device_cannot_read_is_refused_before_anything_is_launched() {
    for (name, device) in devices() {
        // Any type can be put on a device. A launch that reads one which its compiler lacks ends the process.
        let student = || Tensor::<2>::zeros([4, 3], &device);
        let in_bytes = || Tensor::<1, Int>::from_data([0, 2, 1, 0], (&device, DType::U8));
        let in_brain_floats = || Tensor::<1>::from_data([1.0, 0.0, 3.0, 1.0], (&device, DType::BF16));
        let kl = |weights, labels| softmax_kl(student(), student(), Kl::default(), weights, labels);
        let losses = [
            (cross_entropy(student(), in_bytes()), "labels", DType::U8),
            (kl(None, Some(in_bytes())), "labels", DType::U8),
            (
                cross_entropy_kl(student(), in_bytes(), student(), Kl::default(), [0.5, 0.5], false),
                "labels",
                DType::U8,
            ),
            (kl(Some(in_brain_floats()), None), "weights", DType::BF16),
        ];
        for (loss, named, dtype) in losses {
            let what = format!("{named} in {} on the {name}", dtype.name());
            if device.supports_dtype(dtype) {
                let loss = vector(loss.unwrap())[0];
                assert!(loss.is_finite(), "{what}: {loss}");
            } else {
                let error = loss.unwrap_err();
                let is_named = matches!(error, OperandError::Type { operand, .. } if operand == named);
                assert!(is_named && error.to_string().contains(dtype.name()), "{what}: {error}");
            }
        }
        let teacher = Tensor::<2>::from_data([[1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]], (&device, DType::BF16));
        for loss in [
            softmax_kl(
                Tensor::zeros([2, 4], &device),
                teacher.clone(),
                Kl::default(),
                None,
                None,
            ),
            mae(Tensor::zeros([2, 4], &device), teacher.clone()),
            mse(Tensor::zeros([2, 4], &device), teacher),
        ] {
            let error = loss.unwrap_err().to_string();
            assert!(error.contains("the teacher in bf16"), "{name}: {error}");
        }
        let parties = || Tensor::<3>::ones([4, 2, 4], &device);
        let turned = Tensor::<2>::from_data([[1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]], (&device, DType::BF16));
        for weights in [
            Weights::Party(in_brain_floats()),
            // A view, of which a launch would make a copy.
            Weights::PartyRow(turned.swap_dims(0, 1)),
        ] {
            let average = ensemble(parties(), &weights, Averaged::Values, Sharpening::None);
            if device.supports_dtype(DType::BF16) {
                assert_eq!(vector(average.unwrap()), [1.0; 8], "{name}");
            } else {
                let error = average.unwrap_err().to_string();
                assert!(
                    error.contains("a party's weight") && error.contains("in bf16"),
                    "{name}: {error}"
                );
            }
        }
    }
}

#[test]
fn an_average_of_more_elements_than_32_bits_count_is_refused_on_a_gpu_before_there_is_one() {
    for (_, device) in devices().into_iter().filter(|(name, _)| *name == "gpu") {
        let error = Ensemble::new(1 << 22, 1 << 10, Averaged::Values, &device).unwrap_err();
        let is_named = matches!(
            error,
            OperandError::TooManyElements {
                operand: "the average",
                ..
            }
        );
        let text = error.to_string();
        assert!(
            is_named && text.contains("[4194304, 1024]") && text.contains("fewer rows at once"),
            "{text}"
        );
    }
}

#[test]
fn what_a_buffer_does_not_hold_is_refused_on_a_gpu_before_anything_is_launched() {
    for (_, device) in devices().into_iter().filter(|(name, _)| *name == "gpu") {
        let most = crate::devices::largest_buffer(&device).unwrap();
        let classes = 1024;
        // The fewest rows of which float32 takes more than a buffer holds.
        let rows = (most / (4 * classes as u64)) as usize + 1;
        if rows.saturating_mul(classes) > crate::operands::MOST_ON_A_GPU {
            continue;
        }
        // A view of one row, which takes no memory.
        let view = || Tensor::<2>::zeros([1, classes], &device).expand([rows, classes]);
        let student = view().autodiff().require_grad();
        let refused = [
            (softmax(view(), 1.0).unwrap_err(), "what comes out", vec![rows, classes]),
            (
                softmax_kl(student.clone(), view(), Kl::default(), None, None).unwrap_err(),
                "the student's gradient",
                vec![rows, classes],
            ),
            (
                mse(student, view()).unwrap_err(),
                "the student's gradient",
                vec![rows, classes],
            ),
            // Half as many rows fit, but not with what rounding takes from each sum.
            (
                Ensemble::new(rows / 2 + 1, classes, Averaged::Values, &device).unwrap_err(),
                "sums with what rounding takes from them",
                vec![rows / 2 + 1, 2, classes],
            ),
        ];
        for (error, named, shape) in refused {
            let bytes = 4 * shape.iter().product::<usize>() as u64;
            let text = error.to_string();
            let is_named = matches!(error, OperandError::TooManyBytes { operand, .. } if operand == named);
            assert!(is_named && bytes > most, "{text}");
            for part in [format!("{shape:?}"), bytes.to_string(), most.to_string()] {
                assert!(text.contains(&part), "{part}: {text}");
            }
            assert!(text.contains("fewer rows at once"), "{text}");
        }
    }
}

#[test]
fn ensembles_of_nobody_and_weights_of_nothing_are_refused() {
    for (_, device) in devices() {
        let classless = Ensemble::new(2, 0, Averaged::Values, &device);
        assert!(matches!(classless, Err(OperandError::NoClasses { .. })));
        let nobody = Ensemble::new(2, 3, Averaged::Values, &device).unwrap();
        assert!(matches!(
            nobody.finish(Sharpening::None),
            Err(OperandError::Nobody { .. })
        ));
        let parties = Tensor::<3>::zeros([2, 2, 3], &device);
        let sum = |weights: &Weights| ensemble(parties.clone(), weights, Averaged::Values, Sharpening::None);
        let zero = Weights::Party(Tensor::zeros([2], &device));
        assert!(matches!(sum(&zero), Err(OperandError::Weights { .. })));
        let few = Weights::Party(Tensor::ones([3], &device));
        assert!(matches!(sum(&few), Err(OperandError::Shape { .. })));
        let turned = Weights::PartyClass(Tensor::ones([3, 2], &device));
        assert!(matches!(sum(&turned), Err(OperandError::Shape { .. })));
        let negative = Weights::Party(Tensor::from_data([2.0, -1.0], &device));
        assert!(matches!(sum(&negative), Err(OperandError::Weights { .. })));
        // Weights of another form are refused before anything is added.
        let mut two = Ensemble::new(2, 3, Averaged::Values, &device).unwrap();
        two.add(parties.clone(), &Weights::Equal).unwrap();
        let rows = Weights::PartyRow(Tensor::ones([2, 2], &device));
        assert!(matches!(
            two.add(parties.clone(), &rows),
            Err(OperandError::Shape { .. })
        ));
        assert!(two.finish(Sharpening::None).is_ok());
        let constant = ensemble(parties.clone(), &Weights::Equal, Averaged::Values, Sharpening::Era(0.0));
        assert!(matches!(constant, Err(OperandError::Temperature { .. })));
        for power in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let sharpening = Sharpening::Power(power);
            let constant = ensemble(parties.clone(), &Weights::Equal, Averaged::Values, sharpening);
            assert!(matches!(constant, Err(OperandError::Power { .. })), "{power}");
        }
        // A class whose weights are all zero has no average, whatever the others have.
        let empty = Weights::PartyClass(Tensor::from_data([[1.0, 0.0, 1.0], [1.0, 0.0, 1.0]], &device));
        assert!(matches!(sum(&empty), Err(OperandError::Weights { .. })));
        // Unless those who come later have some.
        let mut later = Ensemble::new(2, 3, Averaged::Values, &device).unwrap();
        later.add(parties.clone(), &empty).unwrap();
        let ones = Weights::PartyClass(Tensor::ones([2, 3], &device));
        later.add(parties, &ones).unwrap();
        assert!(later.finish(Sharpening::None).is_ok());
    }
}
