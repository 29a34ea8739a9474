//! Softmax of rows, its logarithm, its entropy, and the gradients of the first two.

#![expect(
    clippy::inline_always,
    reason = "instructions are chosen for a whole loop, and only for what is compiled into it"
)]

use super::lanes::{LANES, exponentials, lanes, ln, most, padded, sum};
use super::rows::{Values, for_each};

/// What is made of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Probabilities,
    Logarithms,
    /// One value a row, in nats.
    Entropy,
}

/// Softmax of each row of `logits / temperature`; a row of nothing but minus infinity has no probabilities: all are 0.
pub(crate) fn run(logits: Values<'_>, classes: usize, temperature: f32, form: Form, out: &mut [f32]) {
    let width = padded(classes);
    let arch = pulp::Arch::new();
    let rows = out.len() / if form == Form::Entropy { 1 } else { classes };
    let mut entropies = vec![0.0; rows];
    let many: &mut [f32] = if form == Form::Entropy { &mut [] } else { &mut *out };
    for_each(&mut entropies, many, classes, width, |row, entropy, out, scratch| {
        logits.row(row, classes, scratch);
        scratch[classes..].fill(f32::NEG_INFINITY);
        *entropy = arch.dispatch(Row {
            row: scratch,
            sharpness: 1.0 / temperature,
            form,
            logits,
            index: row,
            out,
        });
    });
    if form == Form::Entropy {
        out.copy_from_slice(&entropies);
    }
}

struct Row<'a> {
    row: &'a mut [f32],
    sharpness: f32,
    form: Form,
    logits: Values<'a>,
    index: usize,
    out: &'a mut [f32],
}

impl pulp::WithSimd for Row<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> f32 {
        let peak = most(self.row);
        if peak == f32::NEG_INFINITY {
            let nothing = if self.form == Form::Logarithms {
                f32::NEG_INFINITY
            } else {
                0.0
            };
            for (out, value) in self.out.iter_mut().zip(&*self.row) {
                *out = if value.is_nan() { f32::NAN } else { nothing };
            }
            return 0.0;
        }
        let total = exponentials(self.row, peak, self.sharpness);
        match self.form {
            Form::Probabilities => {
                for (out, e) in self.out.iter_mut().zip(&*self.row) {
                    *out = e / total;
                }
                0.0
            }
            Form::Logarithms => {
                // Once more from the logits: what exp takes to 0 has a logarithm.
                self.logits.row(self.index, self.out.len(), self.out);
                let shift = ln(total);
                for out in self.out {
                    *out = (*out - peak) * self.sharpness - shift;
                }
                0.0
            }
            Form::Entropy => {
                let total_lanes = lanes(self.row).iter().fold([0.0; LANES], |mut sums, eight| {
                    for (sum, e) in sums.iter_mut().zip(eight) {
                        let p = e / total;
                        *sum -= if p > 0.0 { p * libm::logf(p) } else { 0.0 * p };
                    }
                    sums
                });
                sum(total_lanes)
            }
        }
    }
}

/// The gradient with respect to the logits, from what [`run`] made and the gradient with respect to that.
pub(crate) fn gradient(made: &[f32], above: &[f32], classes: usize, temperature: f32, form: Form, out: &mut [f32]) {
    let sharpness = 1.0 / temperature;
    let rows = made.chunks_exact(classes).zip(above.chunks_exact(classes));
    for ((made, above), out) in rows.zip(out.chunks_exact_mut(classes)) {
        match form {
            Form::Logarithms => {
                let total: f32 = above.iter().sum();
                for ((out, made), above) in out.iter_mut().zip(made).zip(above) {
                    *out = (above - libm::expf(*made) * total) * sharpness;
                }
            }
            Form::Probabilities | Form::Entropy => {
                let total: f32 = made.iter().zip(above).map(|(made, above)| made * above).sum();
                for ((out, made), above) in out.iter_mut().zip(made).zip(above) {
                    *out = made * (above - total) * sharpness;
                }
            }
        }
    }
}
