//! Weighted sums of parties' predictions, or of their probabilities.

#![expect(
    clippy::inline_always,
    reason = "instructions are chosen for a whole loop, and only for what is compiled into it"
)]

use super::lanes::{below_maximum, exponentials, sum_within};
use super::rows::{Values, at_once, buffers, in_blocks, in_blocks_of};

/// Predictions of several parties and their weights.
pub(crate) struct Input<'a> {
    /// `parties x rows x classes`.
    pub(crate) predictions: Values<'a>,
    pub(crate) parties: usize,
    pub(crate) classes: usize,
    /// `parties x (rows or 1) x (classes or 1)`, and the latter two.
    pub(crate) weights: &'a [f32],
    pub(crate) weight_rows: usize,
    pub(crate) weight_classes: usize,
    /// Whether the softmax of each row is summed in the place of the row.
    pub(crate) probabilities: bool,
}

/// Adds them to `sums`, one party after the other: always in the same order. Of each row `sums` has `classes` sums and then as many
/// values that rounding took from them, so that they do not drift, however many parties there are.
pub(crate) fn add(input: &Input<'_>, sums: &mut [f32]) {
    let rows = sums.len() / (2 * input.classes);
    let arch = pulp::Arch::new();
    let mut unused = vec![0.0; rows];
    in_blocks_of(input.classes, &mut unused, sums, 2 * input.classes, |first, _, sums| {
        arch.dispatch(Block {
            input,
            rows,
            first,
            sums,
        });
    });
}

/// Divides the sums that [`add`] leaves by `divisor`, which has a value for every row or one for all, and the same of classes.
pub(crate) fn mean(
    sums: &[f32],
    divisor: &[f32],
    [divisor_rows, divisor_classes]: [usize; 2],
    classes: usize,
    means: &mut [f32],
) {
    let mut unused = vec![0.0; means.len() / classes];
    in_blocks(&mut unused, means, classes, |first, _, means| {
        let rows = means
            .chunks_exact_mut(classes)
            .zip(sums[first * 2 * classes..].chunks_exact(2 * classes));
        for (i, (means, sums)) in rows.enumerate() {
            let (sums, lost) = sums.split_at(classes);
            let row = if divisor_rows == 1 { 0 } else { first + i };
            let divisor = &divisor[row * divisor_classes..][..divisor_classes];
            let wholes = means.iter_mut().zip(sums.iter().zip(lost));
            if let [divisor] = divisor {
                for (mean, (sum, lost)) in wholes {
                    *mean = (sum + lost) / divisor;
                }
            } else {
                for ((mean, (sum, lost)), divisor) in wholes.zip(divisor) {
                    *mean = (sum + lost) / divisor;
                }
            }
        }
    });
}

/// Some rows of all parties.
struct Block<'a> {
    input: &'a Input<'a>,
    /// Of a party.
    rows: usize,
    first: usize,
    sums: &'a mut [f32],
}

impl pulp::WithSimd for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let input = self.input;
        let classes = input.classes;
        let [mut converted, mut e] = buffers(classes);
        // All parties are added to some sums before the next ones: those stay in the first cache.
        for (block, sums) in self.sums.chunks_mut(at_once(classes) * 2 * classes).enumerate() {
            let count = sums.len() / 2;
            let first_row = self.first + block * at_once(classes);
            for party in 0..input.parties {
                let first = (party * self.rows + first_row) * classes;
                let mut values = input.predictions.range(first..first + count, &mut converted[..count]);
                if input.probabilities {
                    let e = &mut e[..count];
                    for (e, row) in e.chunks_exact_mut(classes).zip(values.chunks_exact(classes)) {
                        below_maximum(row, 1.0, e);
                    }
                    exponentials(e);
                    values = e;
                }
                for (i, (sums, row)) in sums
                    .chunks_exact_mut(2 * classes)
                    .zip(values.chunks_exact(classes))
                    .enumerate()
                {
                    let weight_row = if input.weight_rows == 1 { 0 } else { first_row + i };
                    let first = (party * input.weight_rows + weight_row) * input.weight_classes;
                    let weights = &input.weights[first..first + input.weight_classes];
                    let total = if input.probabilities {
                        sum_within(values, i * classes..(i + 1) * classes)
                    } else {
                        1.0
                    };
                    // Of nothing but masked classes there are no probabilities.
                    let scale = if total == 0.0 { 0.0 } else { 1.0 / total };
                    let (sums, lost) = sums.split_at_mut(classes);
                    add_row(sums, lost, row, weights, scale);
                }
            }
        }
    }
}

#[inline(always)]
fn add_row(sums: &mut [f32], lost: &mut [f32], row: &[f32], weights: &[f32], scale: f32) {
    let sums = sums.iter_mut().zip(lost);
    if let [weight] = weights {
        // What does not count may be anything.
        if *weight == 0.0 {
            return;
        }
        let weight = weight * scale;
        for ((sum, lost), value) in sums.zip(row) {
            add_term(sum, lost, value * weight);
        }
    } else {
        for (((sum, lost), value), weight) in sums.zip(row).zip(weights) {
            let term = if *weight == 0.0 { 0.0 } else { value * (weight * scale) };
            add_term(sum, lost, term);
        }
    }
}

/// Adds a term to a sum, and to `lost` what rounding takes from that (Knuth, The Art of Computer Programming, volume 2, 4.2.2,
/// theorem B); of infinity and NaN nothing.
#[inline(always)]
fn add_term(sum: &mut f32, lost: &mut f32, term: f32) {
    let rounded = *sum + term;
    let of_term = rounded - *sum;
    let of_sum = rounded - of_term;
    let here = (*sum - of_sum) + (term - of_term);
    *lost += if here.is_finite() { here } else { 0.0 };
    *sum = rounded;
}
