//! Operations on rows in forms beside those of `operations`: float16 where it is taken, the cross entropy alone, masked classes,
//! and rows that are weighted.

use crate::operations::{
    Bytes, FIT, KL, Operands, Operation, TEMPERATURE, absolute, both_losses, both_ways, burns_absolute,
    burns_both_losses, burns_cross_entropy, burns_entropy, burns_kl, burns_squared, forward, kl, on_rows, squared,
};
use burn::tensor::activation;
use burn::tensor::{DType, Device, Tensor};
use fedstill_kernels::{cross_entropy, entropy, log_softmax, softmax, softmax_kl};

/// Logits up to which a class is masked: a tenth of them.
const MASKED: f32 = -4.0;

/// What is measured of rows: `rows x classes`.
pub(crate) fn of_rows(device: &Device, shape: [usize; 2]) -> Vec<Operation> {
    let full = Operands::new(device, shape);
    let half = full.half();
    let masked = masked(&full);
    let operation = |name, bytes, own, burn| on_rows(name, shape, bytes, own, burn);
    vec![
        operation(
            "KL forward, float16",
            Bytes::once(6, 0),
            forward(&half, kl),
            forward(&half, burns_kl),
        ),
        operation(
            "KL both ways, masked",
            Bytes::and_gradient(12, 8),
            both_ways(&masked, kl),
            both_ways(&masked, burns_masked_kl),
        ),
        operation(
            "KL both ways, weighted",
            Bytes::and_gradient(12, 8),
            both_ways(&full, weighted_kl),
            both_ways(&full, burns_weighted_kl),
        ),
        operation(
            "CE both ways",
            Bytes::and_gradient(8, 4),
            both_ways(&full, |operands| {
                cross_entropy(operands.student, operands.labels).expect(FIT)
            }),
            both_ways(&full, burns_cross_entropy),
        ),
        operation(
            "CE and KL, float16",
            Bytes::and_gradient(10, 6),
            both_ways(&half, both_losses),
            both_ways(&half, burns_both_losses),
        ),
        operation(
            "MAE both ways, float16",
            Bytes::and_gradient(10, 0),
            both_ways(&half, absolute),
            both_ways(&half, burns_absolute),
        ),
        operation(
            "MSE both ways, float16",
            Bytes::and_gradient(10, 0),
            both_ways(&half, squared),
            both_ways(&half, burns_squared),
        ),
        // The teacher is what is in float16: a student never is.
        operation(
            "softmax, float16",
            Bytes::once(6, 2),
            forward(&half, |operands| softmax(operands.teacher, TEMPERATURE).expect(FIT)),
            forward(&half, |operands| {
                activation::softmax(operands.teacher.cast(DType::F32).div_scalar(TEMPERATURE), 1)
            }),
        ),
        operation(
            "log softmax, float16",
            Bytes::once(6, 2),
            forward(&half, |operands| log_softmax(operands.teacher, TEMPERATURE).expect(FIT)),
            forward(&half, |operands| {
                activation::log_softmax(operands.teacher.cast(DType::F32).div_scalar(TEMPERATURE), 1)
            }),
        ),
        operation(
            "entropy, float16",
            Bytes::once(2, 0),
            forward(&half, |operands| entropy(operands.teacher, TEMPERATURE).expect(FIT)),
            forward(&half, |operands| burns_entropy(operands.teacher.cast(DType::F32))),
        ),
    ]
}

/// The same classes masked in both.
fn masked(operands: &Operands) -> Operands {
    let none = operands.student.clone().lower_equal_elem(MASKED);
    let mask = |logits: &Tensor<2>| logits.clone().mask_fill(none.clone(), f32::NEG_INFINITY);
    Operands {
        student: mask(&operands.student),
        teacher: mask(&operands.teacher),
        labels: operands.labels.clone(),
    }
}

fn burns_masked_kl(operands: Operands) -> Tensor<1> {
    let none = operands.teacher.clone().lower_equal_elem(f32::MIN);
    let p = activation::log_softmax(operands.teacher.div_scalar(TEMPERATURE), 1);
    let q = activation::log_softmax(operands.student.div_scalar(TEMPERATURE), 1);
    // Without it the difference of two infinities would be counted.
    (p.clone().exp() * (p - q)).mask_fill(none, 0.0_f32).sum_dim(1).mean()
}

/// A weight a row; they are looked at, which waits for the device.
fn weights(operands: &Operands) -> Tensor<1> {
    Tensor::ones([operands.labels.dims()[0]], &operands.labels.device())
}

fn weighted_kl(operands: Operands) -> Tensor<1> {
    let weights = weights(&operands);
    softmax_kl(operands.student, operands.teacher, KL, Some(weights), None).expect(FIT)
}

fn burns_weighted_kl(operands: Operands) -> Tensor<1> {
    let weights = weights(&operands);
    let p = activation::log_softmax(operands.teacher.div_scalar(TEMPERATURE), 1);
    let q = activation::log_softmax(operands.student.div_scalar(TEMPERATURE), 1);
    let losses: Tensor<1> = (p.clone().exp() * (p - q)).sum_dim(1).reshape([weights.dims()[0]]);
    (losses * weights.clone()).sum() / weights.sum()
}
