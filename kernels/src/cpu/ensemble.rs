//! Weighted sums of parties' predictions, or of their probabilities.

#![expect(
    clippy::inline_always,
    reason = "instructions are chosen for a whole loop, and only for what is compiled into it"
)]

use super::lanes::{exponentials, most, padded};
use super::rows::{Values, for_each};

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

/// Adds them to `sums`, `rows x classes`, one party after the other: always in the same order.
pub(crate) fn add(input: &Input<'_>, sums: &mut [f32]) {
    let (classes, width) = (input.classes, padded(input.classes));
    let rows = sums.len() / classes;
    let arch = pulp::Arch::new();
    let mut unused = vec![0.0; rows];
    for_each(&mut unused, sums, classes, width, |row, _, sums, scratch| {
        for party in 0..input.parties {
            input.predictions.row(party * rows + row, classes, scratch);
            scratch[classes..].fill(f32::NEG_INFINITY);
            let weight_row = if input.weight_rows == 1 { 0 } else { row };
            let first = (party * input.weight_rows + weight_row) * input.weight_classes;
            arch.dispatch(Add {
                row: scratch,
                weights: &input.weights[first..first + input.weight_classes],
                probabilities: input.probabilities,
                sums,
            });
        }
    });
}

struct Add<'a> {
    row: &'a mut [f32],
    /// One, or one a class.
    weights: &'a [f32],
    probabilities: bool,
    sums: &'a mut [f32],
}

impl pulp::WithSimd for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let mut scale = 1.0;
        if self.probabilities {
            let peak = most(self.row);
            if peak == f32::NEG_INFINITY {
                // Nothing but masked classes: no probabilities, unless it is not numbers at all.
                let unknown = self.row.iter().any(|value| value.is_nan());
                self.row.fill(if unknown { f32::NAN } else { 0.0 });
            } else {
                scale = 1.0 / exponentials(self.row, peak, 1.0);
            }
        }
        if let [weight] = self.weights {
            let weight = weight * scale;
            for (sum, value) in self.sums.iter_mut().zip(&*self.row) {
                *sum += value * weight;
            }
        } else {
            for ((sum, value), weight) in self.sums.iter_mut().zip(&*self.row).zip(self.weights) {
                *sum += value * (weight * scale);
            }
        }
    }
}
