//! The operations that training by distillation spends its time on, as functions of Burn tensors.
//!
//! Each loss takes logits of the model (`rows x classes`, the side that gets a gradient) and a target, and gives a
//! tensor of one value; the target is a constant. One file an operation. Bodies are compositions of Burn's own
//! operations; a body may be replaced by a kernel without its callers noticing, because shapes are checked here and
//! the reference values in `tests/golden` hold for values and gradients alike.

mod adam;
mod cross_entropy;
mod error;
mod kl;
mod max_pool;
mod regress;

pub use adam::{AdamState, AdamStep, adam};
pub use cross_entropy::cross_entropy;
pub use error::ShapeError;
pub use kl::{kl, kl_rows};
pub use max_pool::max_pool_2x2;
pub use regress::{mae, mse};

#[cfg(test)]
mod golden;
