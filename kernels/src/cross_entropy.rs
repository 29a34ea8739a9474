//! Cross entropy with labels.

use crate::ShapeError;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};

/// The mean over rows of `-log softmax(logits)[label]`, in nats.
///
/// `logits` are `rows x classes`, `labels` hold one class a row; the caller has checked that they are below `classes`.
/// PyTorch's `cross_entropy` with its defaults.
///
/// # Errors
/// [`ShapeError`] where rows and labels differ in number, or there are none.
pub fn cross_entropy(logits: Tensor<2>, labels: Tensor<1, Int>) -> Result<Tensor<1>, ShapeError> {
    let operation = "cross entropy";
    let [rows, classes] = logits.dims();
    let [count] = labels.dims();
    if rows != count {
        return Err(ShapeError::Labels {
            operation,
            rows,
            labels: count,
        });
    }
    if rows == 0 || classes == 0 {
        return Err(ShapeError::Empty { operation });
    }
    let chosen = log_softmax(logits, 1).gather(1, labels.reshape([rows, 1]));
    Ok(chosen.mean().neg())
}
