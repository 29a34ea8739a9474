//! Combinations that need all parties' predictions of a row at once, on the CPU.

use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

/// Values that a thread takes at a time.
const BLOCK: usize = 1024;

/// The median over parties of each value: of an even number, the mean of the middle two. `predictions` are one slice a party,
/// all of one length; nothing without parties.
///
/// # Panics
/// If lengths differ.
pub fn median(predictions: &[&[f32]]) -> Vec<f32> {
    let middle = predictions.len() / 2;
    each(predictions, |sorted| {
        if sorted.len() % 2 == 1 {
            f64::from(sorted[middle])
        } else {
            f64::midpoint(f64::from(sorted[middle - 1]), f64::from(sorted[middle]))
        }
    })
}

/// The mean over parties of each value without the largest and the smallest `floor(share * parties)` of them (Yin et al. 2018,
/// arXiv:1803.01498, definition 2). A share of a half or more leaves the [`median`].
///
/// # Panics
/// If lengths differ.
pub fn trimmed_mean(predictions: &[&[f32]], share: f64) -> Vec<f32> {
    let cut = (share.max(0.0) * predictions.len() as f64).floor() as usize;
    if 2 * cut >= predictions.len() {
        return median(predictions);
    }
    each(predictions, |sorted| {
        let kept = &sorted[cut..sorted.len() - cut];
        kept.iter().map(|value| f64::from(*value)).sum::<f64>() / kept.len() as f64
    })
}

/// What `of` makes of the sorted values of each place.
fn each(predictions: &[&[f32]], of: impl Fn(&[f32]) -> f64 + Sync) -> Vec<f32> {
    let Some(first) = predictions.first() else {
        return Vec::new();
    };
    assert!(
        predictions.iter().all(|values| values.len() == first.len()),
        "all parties predict as many values"
    );
    let mut combined = vec![0.0; first.len()];
    combined
        .par_chunks_mut(BLOCK)
        .enumerate()
        .for_each(|(block, combined)| {
            let mut sorted = vec![0.0; predictions.len()];
            for (place, combined) in (block * BLOCK..).zip(combined) {
                for (value, values) in sorted.iter_mut().zip(predictions) {
                    *value = values[place];
                }
                sorted.sort_unstable_by(f32::total_cmp);
                *combined = of(&sorted) as f32;
            }
        });
    combined
}

/// The share of parties whose most probable class is the consensus's, over all rows. `predictions` are one slice a party,
/// `rows x classes`; `consensus` has the same form. Of equal values the first counts.
pub fn agreement(predictions: &[&[f32]], consensus: &[f32], classes: usize) -> f64 {
    let choices: Vec<usize> = consensus.chunks_exact(classes.max(1)).map(choice).collect();
    let agreeing = |values: &&[f32]| {
        let rows = values.chunks_exact(classes.max(1)).zip(&choices);
        rows.filter(|(row, chosen)| choice(row) == **chosen).count()
    };
    let agreeing: usize = predictions.iter().map(agreeing).sum();
    agreeing as f64 / (choices.len() * predictions.len()).max(1) as f64
}

fn choice(row: &[f32]) -> usize {
    let mut best = 0;
    for (class, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = class;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_is_the_share_of_parties_and_rows_that_choose_as_the_consensus_does() {
        let consensus = [0.1, 0.7, 0.2, 0.5, 0.5, 0.0];
        let alike = [0.0, 9.0, 1.0, 2.0, 1.0, 0.0];
        let half = [0.0, 9.0, 1.0, 1.0, 2.0, 0.0];
        // Of equal values the first counts: class 0, which the consensus chooses in its second row alone.
        let flat = [0.0; 6];
        assert_eq!(agreement(&[&alike], &consensus, 3), 1.0);
        assert_eq!(agreement(&[&half], &consensus, 3), 0.5);
        assert_eq!(agreement(&[&flat], &consensus, 3), 0.5);
        assert_eq!(agreement(&[&alike, &half, &half, &alike], &consensus, 3), 0.75);
        assert_eq!(agreement(&[], &consensus, 3), 0.0);
        assert_eq!(agreement(&[&[]], &[], 3), 0.0);
    }
}
