//! Distances between logits: what FedMD and others match consensus by.

use crate::OperandError;
use crate::kl::Reduction;
use crate::operands::{self, Operation};
use crate::row_loss::{RowLoss, row_loss};
use burn::tensor::Tensor;

/// The mean over all elements of `|logits - target|`: the loss of FedMD's digest step as its authors' code has it
/// (Li and Wang 2019, arXiv:1910.03581, section 3.2). The gradient where both are equal is 0.
///
/// Both tensors are `rows x classes`, the logits in float32, the target in float32 or float16. Of no rows it is 0.
///
/// A class of minus infinity in both is no distance; in one of them it is infinitely far, with the gradient of its side. NaN and
/// infinity make the mean and the gradient of their place NaN. Where the distance of finite values leaves float32 it is infinite.
///
/// # Errors
/// [`OperandError`] where shapes, types or devices do not fit, or a GPU cannot count so many elements or hold their gradient in
/// a buffer.
pub fn mae(logits: Tensor<2>, target: Tensor<2>) -> Result<Tensor<1>, OperandError> {
    distance(Operation("mean absolute error"), RowLoss::Absolute, logits, target)
}

/// The mean over all elements of `(logits - target)^2`: matching logits (Ba and Caruana 2014, arXiv:1312.6184,
/// equation 1).
///
/// As [`mae`], but that a class that is infinitely far has an infinite gradient.
///
/// # Errors
/// As [`mae`].
pub fn mse(logits: Tensor<2>, target: Tensor<2>) -> Result<Tensor<1>, OperandError> {
    distance(Operation("mean squared error"), RowLoss::Squared, logits, target)
}

fn distance(
    operation: Operation,
    what: RowLoss,
    logits: Tensor<2>,
    target: Tensor<2>,
) -> Result<Tensor<1>, OperandError> {
    operation.logits(&logits)?;
    operation.teacher(&logits, &target)?;
    let losses = row_loss(logits, Some(target), None, what);
    Ok(operands::reduce(losses, Reduction::BatchMean, None))
}
