//! The operations in plain Rust: what runs on a CPU.
//!
//! Loops go over lanes of fixed number, without fused multiplication, so that a machine's instructions change how fast they
//! are and not one bit of what comes out (but for products of matrices, which are another crate's). Rows are independent:
//! threads change nothing either.

pub(crate) mod adam;
pub(crate) mod batch_norm;
pub(crate) mod conv;
pub(crate) mod ensemble;
mod lanes;
mod matmul;
pub(crate) mod max_pool;
pub(crate) mod row_loss;
mod rows;
pub(crate) mod softmax;

#[cfg(feature = "gpu")]
pub(crate) use lanes::FURTHEST;
pub(crate) use lanes::wide_sum;
pub(crate) use rows::Values;
