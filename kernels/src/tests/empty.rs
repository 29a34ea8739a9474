//! Batches of no rows: no rows come out of them, their means are 0, and so is what they move.

use super::{devices, has_halves, vector};
use crate::{
    Averaged, Kl, Reduction, Sharpening, Weights, cross_entropy, cross_entropy_kl, ensemble, entropy, log_softmax, mae,
    mse, softmax, softmax_kl,
};
use burn::tensor::{DType, Device, Int, Tensor};

fn none(device: &Device) -> Tensor<2> {
    Tensor::zeros([0, 3], device)
}

fn no_labels(device: &Device) -> Tensor<1, Int> {
    Tensor::zeros([0], device)
}

/// What a loss of no rows sums to, after its backward pass, in which it must find a gradient of no rows.
fn loss_of_none(device: &Device, what: &str, loss: impl Fn(Tensor<2>) -> Tensor<1>) -> f32 {
    let student = none(device).autodiff().require_grad();
    let sum = loss(student.clone()).sum();
    let gradients = sum.clone().backward();
    assert_eq!(student.grad(&gradients).unwrap().dims(), [0, 3], "{what}");
    vector(sum.inner())[0]
}

#[test]
fn probabilities_their_logarithms_and_entropies_of_no_rows_are_none() {
    for (name, device) in devices() {
        let types = [Some(DType::F32), has_halves(&device).then_some(DType::F16)];
        for dtype in types.into_iter().flatten() {
            let logits = || none(&device).cast(dtype);
            assert_eq!(softmax(logits(), 2.0).unwrap().dims(), [0, 3], "{name}");
            assert_eq!(log_softmax(logits(), 2.0).unwrap().dims(), [0, 3], "{name}");
            assert_eq!(entropy(logits(), 2.0).unwrap().dims(), [0], "{name}");
        }
        let what = format!("softmax on the {name}");
        let sum = |logits| softmax(logits, 2.0).unwrap().sum();
        assert_eq!(loss_of_none(&device, &what, sum), 0.0, "{what}");
        let what = format!("log softmax on the {name}");
        let sum = |logits| log_softmax(logits, 2.0).unwrap().sum();
        assert_eq!(loss_of_none(&device, &what, sum), 0.0, "{what}");
    }
}

#[test]
fn every_loss_of_no_rows_is_zero_and_moves_nothing() {
    for (name, device) in devices() {
        let teacher = || none(&device);
        let is_zero = |what: &str, loss: &dyn Fn(Tensor<2>) -> Tensor<1>| {
            let what = format!("{what} on the {name}");
            assert_eq!(loss_of_none(&device, &what, loss), 0.0, "{what}");
        };
        for reduction in [Reduction::BatchMean, Reduction::ElementMean, Reduction::None] {
            let kl = Kl {
                temperature: 2.0,
                reduction,
                ..Kl::default()
            };
            is_zero("KL divergence", &|student| {
                softmax_kl(student, teacher(), kl, None, None).unwrap()
            });
            is_zero("KL divergence of weighted rows without their class", &|student| {
                let weights = Some(Tensor::zeros([0], &device));
                softmax_kl(student, teacher(), kl, weights, Some(no_labels(&device))).unwrap()
            });
            is_zero("cross entropy and KL divergence", &|student| {
                cross_entropy_kl(student, no_labels(&device), teacher(), kl, [0.5, 0.5], false).unwrap()
            });
        }
        let each = Kl {
            reduction: Reduction::None,
            ..Kl::default()
        };
        let losses = softmax_kl(none(&device), teacher(), each, None, None).unwrap();
        assert_eq!(losses.dims(), [0], "a loss a row on the {name}");
        is_zero("cross entropy", &|student| {
            cross_entropy(student, no_labels(&device)).unwrap()
        });
        is_zero("mean absolute error", &|student| mae(student, teacher()).unwrap());
        is_zero("mean squared error", &|student| mse(student, teacher()).unwrap());
    }
}

#[test]
fn averages_of_no_rows_are_none() {
    for (name, device) in devices() {
        let all = [
            Weights::Equal,
            Weights::Party(Tensor::ones([2], &device)),
            Weights::PartyClass(Tensor::ones([2, 3], &device)),
            Weights::PartyRow(Tensor::ones([2, 0], &device)),
        ];
        for weights in &all {
            for averaged in [Averaged::Values, Averaged::Probabilities] {
                for sharpening in [Sharpening::None, Sharpening::Era(0.1), Sharpening::Power(2.0)] {
                    let predictions = Tensor::<3>::zeros([2, 0, 3], &device);
                    let average = ensemble(predictions, weights, averaged, sharpening).unwrap();
                    assert_eq!(
                        average.dims(),
                        [0, 3],
                        "{weights:?}, {averaged:?}, {sharpening:?} on the {name}"
                    );
                }
            }
        }
    }
}
