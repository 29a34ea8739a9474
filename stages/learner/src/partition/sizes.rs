//! Rows at random, in equal sizes or not.

use super::{PartitionError, TRIES, ends, equal};
use crate::random::Stream;

/// A permutation cut into equal sizes.
pub(super) fn iid(rows: &[u32], parties: u32, stream: &mut Stream) -> Vec<Vec<u32>> {
    let mut rows = rows.to_vec();
    stream.shuffle(&mut rows);
    equal(&rows, parties as usize).map(<[u32]>::to_vec).collect()
}

/// A permutation cut into sizes in the proportions of log-normal variables, `exp(sigma z)` with `z` standard normal, drawn
/// anew until every party has `min` rows.
pub(super) fn log_normal(
    sigma: f64,
    min: u32,
    rows: &[u32],
    parties: u32,
    stream: &mut Stream,
) -> Result<Vec<Vec<u32>>, PartitionError> {
    if !(sigma.is_finite() && sigma >= 0.0) {
        return Err(PartitionError::Sigma(sigma.to_string()));
    }
    let mut rows = rows.to_vec();
    stream.shuffle(&mut rows);
    for _ in 0..TRIES {
        // In logarithms, relative to the largest: no proportion is beyond a float.
        let logs: Vec<f64> = (0..parties).map(|_| sigma * stream.normal()).collect();
        let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let parts: Vec<f64> = logs.iter().map(|log| libm::exp(log - largest)).collect();
        let mut start = 0;
        let mut held = Vec::new();
        for end in ends(&parts, rows.len()) {
            held.push(rows[start..end].to_vec());
            start = end;
        }
        if held.iter().all(|rows| rows.len() >= min as usize) {
            return Ok(held);
        }
    }
    Err(PartitionError::Unlucky {
        tries: TRIES,
        draw: format!("log_normal(sigma = {sigma})"),
        min,
        instead: "a smaller sigma",
    })
}
