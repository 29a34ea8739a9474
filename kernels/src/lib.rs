//! The operations that training by distillation spends its time on, as functions of Burn tensors.
//!
//! Each loss takes logits of the model (`rows x classes` in float32, the side that gets a gradient) and a target in float32 or
//! float16, which is a constant. One file an operation; shapes and types are checked there, on the host, before anything runs.
//! Each operation has a body in plain Rust for the CPU (`cpu`) and, with the feature `gpu`, one in cubecl for any GPU (`cube`),
//! with gradients written by hand; the reference values in `tests/golden` hold for both. What needs all parties at once
//! (median, trimmed mean, KT-pFL's matrix) is on the CPU alone.

mod adam;
mod batch_norm;
mod conv;
mod cpu;
mod cross_entropy;
#[cfg(feature = "gpu")]
mod cube;
mod devices;
mod ensemble;
mod error;
mod flex;
mod gram;
mod kl;
mod max_pool;
mod mean;
mod operands;
mod regress;
mod robust;
mod row_loss;
mod softmax;

pub use adam::{AdamState, AdamStep, adam};
pub use batch_norm::{Normalized, batch_norm};
pub use conv::{Window, conv2d};
pub use cross_entropy::{cross_entropy, cross_entropy_kl};
pub use devices::{Found, devices};
pub use ensemble::{Averaged, Ensemble, Sharpening, Weights, ensemble};
pub use error::OperandError;
pub use gram::{add_gram, coefficient_gradient, coefficient_step};
pub use kl::{Kl, Reduction, softmax_kl};
pub use max_pool::max_pool_2x2;
pub use regress::{mae, mse};
pub use robust::{agreement, median, trimmed_mean};
pub use row_loss::Teacher;
pub use softmax::{entropy, log_softmax, softmax};

#[cfg(test)]
mod tests;
