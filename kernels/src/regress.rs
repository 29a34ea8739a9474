//! Distances between logits: what FedMD and others match consensus by.

use crate::ShapeError;
use crate::error::same_shape;
use burn::tensor::Tensor;

/// The mean over all elements of `|logits - target|`: the loss of FedMD's digest step as its authors' code has it
/// (Li and Wang 2019, arXiv:1910.03581, section 3.2). The gradient where both are equal is 0.
///
/// Both tensors are `rows x classes`.
///
/// # Errors
/// [`ShapeError`] where the shapes differ or are empty.
pub fn mae(logits: Tensor<2>, target: Tensor<2>) -> Result<Tensor<1>, ShapeError> {
    same_shape("mean absolute error", logits.dims(), target.dims())?;
    Ok((logits - target).abs().mean())
}

/// The mean over all elements of `(logits - target)^2`: matching logits (Ba and Caruana 2014, arXiv:1312.6184,
/// equation 1).
///
/// Both tensors are `rows x classes`.
///
/// # Errors
/// [`ShapeError`] where the shapes differ or are empty.
pub fn mse(logits: Tensor<2>, target: Tensor<2>) -> Result<Tensor<1>, ShapeError> {
    same_shape("mean squared error", logits.dims(), target.dims())?;
    let difference = logits - target;
    Ok((difference.clone() * difference).mean())
}
