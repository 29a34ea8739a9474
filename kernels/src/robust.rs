//! Combinations that need all parties' predictions of a row at once, on the CPU.

use crate::OperandError;
use crate::operands::Operation;
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

/// Values that a thread takes at a time.
const BLOCK: usize = 1024;

/// The median over parties of each value: of an even number, the mean of the middle two. `predictions` are one slice a party,
/// all of one length; nothing without parties.
///
/// # Errors
/// [`OperandError::Shape`] where lengths differ.
pub fn median(predictions: &[&[f32]]) -> Result<Vec<f32>, OperandError> {
    middle(Operation("median"), predictions)
}

/// The median, as part of an operation that is asked for.
fn middle(operation: Operation, predictions: &[&[f32]]) -> Result<Vec<f32>, OperandError> {
    let middle = predictions.len() / 2;
    each(operation, predictions, |sorted| {
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
/// # Errors
/// [`OperandError`] where lengths differ, or the share is negative or no number.
pub fn trimmed_mean(predictions: &[&[f32]], share: f64) -> Result<Vec<f32>, OperandError> {
    let operation = Operation("trimmed mean");
    operation.constant("the share", "0 at least", share, share >= 0.0)?;
    let cut = (share.min(1.0) * predictions.len() as f64).floor() as usize;
    if 2 * cut >= predictions.len() {
        return middle(operation, predictions);
    }
    each(operation, predictions, |sorted| {
        let kept = &sorted[cut..sorted.len() - cut];
        kept.iter().map(|value| f64::from(*value)).sum::<f64>() / kept.len() as f64
    })
}

/// What `of` makes of the sorted values of each place.
fn each(
    operation: Operation,
    predictions: &[&[f32]],
    of: impl Fn(&[f32]) -> f64 + Sync,
) -> Result<Vec<f32>, OperandError> {
    operation.slices(predictions, 1)?;
    let Some(first) = predictions.first() else {
        return Ok(Vec::new());
    };
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
    Ok(combined)
}

/// The share of parties whose most probable class is the consensus's, over all rows. `predictions` are one slice a party,
/// `rows x classes`; `consensus` has the same form. Of equal values the first counts. Of nobody, or of no rows, it is 0.
///
/// # Errors
/// [`OperandError`] where lengths differ or are no whole rows, or there are no classes.
pub fn agreement(predictions: &[&[f32]], consensus: &[f32], classes: usize) -> Result<f64, OperandError> {
    let operation = Operation("agreement");
    operation.slices(&[consensus], classes)?;
    for values in predictions {
        operation.shape("a party's predictions", &[consensus.len()], &[values.len()])?;
    }
    let choices: Vec<usize> = consensus.chunks_exact(classes).map(choice).collect();
    let agreeing = |values: &&[f32]| {
        let rows = values.chunks_exact(classes).zip(&choices);
        rows.filter(|(row, chosen)| choice(row) == **chosen).count()
    };
    let agreeing: usize = predictions.iter().map(agreeing).sum();
    Ok(agreeing as f64 / (choices.len() * predictions.len()).max(1) as f64)
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

    fn share(predictions: &[&[f32]], consensus: &[f32]) -> f64 {
        agreement(predictions, consensus, 3).unwrap()
    }

    #[test]
    fn agreement_is_the_share_of_parties_and_rows_that_choose_as_the_consensus_does() {
        let consensus = [0.1, 0.7, 0.2, 0.5, 0.5, 0.0];
        let alike = [0.0, 9.0, 1.0, 2.0, 1.0, 0.0];
        let half = [0.0, 9.0, 1.0, 1.0, 2.0, 0.0];
        // Of equal values the first counts: class 0, which the consensus chooses in its second row alone.
        let flat = [0.0; 6];
        assert_eq!(share(&[&alike], &consensus), 1.0);
        assert_eq!(share(&[&half], &consensus), 0.5);
        assert_eq!(share(&[&flat], &consensus), 0.5);
        assert_eq!(share(&[&alike, &half, &half, &alike], &consensus), 0.75);
        assert_eq!(share(&[], &consensus), 0.0);
        assert_eq!(share(&[&[]], &[]), 0.0);
    }

    #[test]
    fn predictions_of_other_lengths_are_refused() {
        let (six, five) = ([0.0_f32; 6], [0.0_f32; 5]);
        let is_shape = |error: OperandError| matches!(error, OperandError::Shape { .. });
        assert!(is_shape(median(&[&six, &five]).unwrap_err()));
        assert!(is_shape(trimmed_mean(&[&six, &six, &five], 0.4).unwrap_err()));
        let of_half = trimmed_mean(&[&six, &five], 0.5).unwrap_err();
        assert!(of_half.to_string().starts_with("trimmed mean"), "{of_half}");
        assert!(is_shape(of_half));
        assert!(is_shape(agreement(&[&six, &five], &six, 3).unwrap_err()));
        assert!(is_shape(agreement(&[&five], &five, 3).unwrap_err()), "half a row");
        let classless = agreement(&[&six], &six, 0).unwrap_err();
        assert!(matches!(classless, OperandError::NoClasses { .. }), "{classless}");
        for share in [-0.1, f64::NAN] {
            let error = trimmed_mean(&[&six], share).unwrap_err();
            assert!(
                matches!(
                    error,
                    OperandError::Constant {
                        constant: "the share",
                        ..
                    }
                ),
                "{error}"
            );
        }
        assert!(median(&[]).unwrap().is_empty());
        assert!(median(&[&[], &[]]).unwrap().is_empty());
        assert_eq!(trimmed_mean(&[&[1.0], &[2.0], &[9.0]], f64::INFINITY).unwrap(), [2.0]);
    }
}
