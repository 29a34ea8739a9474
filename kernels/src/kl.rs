//! The divergence from softened targets: knowledge distillation.

use crate::ShapeError;
use crate::error::same_shape;
use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;
use fedstill_schemas::fit::Per;

/// `KL(softmax(target / t) || softmax(logits / t))`, summed over classes and rows and divided by what `per` names
/// (Hinton, Vinyals and Dean 2015, arXiv:1503.02531, section 2), in nats.
///
/// Both tensors are `rows x classes`. `times_t2` multiplies by t squared, which keeps the size of the gradient
/// `(softmax(logits / t) - softmax(target / t)) / t` while t varies (section 2.1 there). Computed from logarithms
/// shifted by each row's maximum: no temperature makes it overflow.
///
/// # Errors
/// [`ShapeError`] where the shapes differ, are empty, or `t` is not positive and finite.
pub fn kl(logits: Tensor<2>, target: Tensor<2>, t: f64, times_t2: bool, per: Per) -> Result<Tensor<1>, ShapeError> {
    let classes = logits.dims()[1];
    let rows = kl_rows(logits, target, t)?;
    let scale = if times_t2 { t * t } else { 1.0 };
    let divisor = match per {
        Per::Batch => 1.0,
        Per::Element => classes as f64,
    };
    Ok(rows.mean().mul_scalar(scale / divisor))
}

/// The divergence of each row: `rows` values.
///
/// # Errors
/// As [`kl`].
pub fn kl_rows(logits: Tensor<2>, target: Tensor<2>, t: f64) -> Result<Tensor<1>, ShapeError> {
    let operation = "KL divergence";
    same_shape(operation, logits.dims(), target.dims())?;
    if !(t.is_finite() && t > 0.0) {
        return Err(ShapeError::Temperature {
            operation,
            temperature: t.to_string(),
        });
    }
    let log_target = log_softmax(target.div_scalar(t), 1);
    let log_model = log_softmax(logits.div_scalar(t), 1);
    let rows = log_model.dims()[0];
    Ok((log_target.clone().exp() * (log_target - log_model))
        .sum_dim(1)
        .reshape([rows]))
}
