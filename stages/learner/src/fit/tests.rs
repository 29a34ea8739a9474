//! Fitting as a whole: the same bits, what continues, what stops, what is refused.

mod bits;
mod clip;
mod continuing;
#[cfg(feature = "gpu")]
mod gpu;
mod head;
mod held_out;
mod learning;
mod proximal;
mod refusals;
mod steps;
mod validation;

use crate::Dataset;
use crate::testing::{SHAPE, patterns, windows};
use fedstill_schemas::fit::Optimizer;

/// Families whose layers take little time.
const ALL: [&str; 3] = ["lenet", "cnn[4,6]", "mlp[9,7]"];

/// Rows of five classes that an architecture can read.
fn rows_of_five(name: &str, rows: u32) -> Dataset {
    if name.starts_with("charlstm") {
        windows(6, rows, 5)
    } else {
        patterns(SHAPE, rows, 5)
    }
}

pub(super) fn rows(len: u32) -> Vec<u32> {
    (0..len).collect()
}

/// Descent along the gradient, and nothing else.
fn sgd(lr: f64) -> Optimizer {
    Optimizer::Sgd {
        lr,
        momentum: 0.0,
        weight_decay: 0.0,
    }
}

/// The values of a weight file, one tensor after the other.
fn floats(bytes: &[u8]) -> Vec<f32> {
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[8 + header..]
        .as_chunks::<4>()
        .0
        .iter()
        .map(|four| f32::from_le_bytes(*four))
        .collect()
}

/// The largest difference of two weight files of one model.
pub(super) fn distance(one: &[u8], other: &[u8]) -> f32 {
    let pairs = floats(one).into_iter().zip(floats(other));
    pairs.fold(0.0, |most, (one, other)| most.max((one - other).abs()))
}
