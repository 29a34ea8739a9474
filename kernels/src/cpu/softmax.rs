//! Softmax of rows, its logarithm, its entropy, and the gradients of the first two.

#![expect(
    clippy::inline_always,
    reason = "instructions are chosen for a whole loop, and only for what is compiled into it"
)]

use super::lanes::{below_maximum, exponentials, ln, sum, sum_within};
use super::rows::{Values, at_once, buffers, in_blocks};

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
    let arch = pulp::Arch::new();
    let block = |first: usize, entropies: &mut [f32], out: &mut [f32]| {
        arch.dispatch(Block {
            logits,
            classes,
            inverse_temperature: 1.0 / temperature,
            form,
            first,
            entropies,
            out,
        });
    };
    if form == Form::Entropy {
        in_blocks(out, &mut [], classes, block);
    } else {
        let mut unused = vec![0.0; out.len() / classes];
        in_blocks(&mut unused, out, classes, block);
    }
}

/// Some rows, one after the other.
struct Block<'a> {
    logits: Values<'a>,
    classes: usize,
    inverse_temperature: f32,
    form: Form,
    first: usize,
    entropies: &'a mut [f32],
    out: &'a mut [f32],
}

impl pulp::WithSimd for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let classes = self.classes;
        let [mut converted, mut exponents, mut e] = buffers(classes);
        let width = if self.form == Form::Entropy { 0 } else { classes };
        for (i, entropies) in self.entropies.chunks_mut(at_once(classes)).enumerate() {
            let done = i * at_once(classes);
            let count = entropies.len() * classes;
            let first = (self.first + done) * classes;
            let out = &mut self.out[done * width..][..entropies.len() * width];
            let (exponents, e) = (&mut exponents[..count], &mut e[..count]);
            let logits = self.logits.range(first..first + count, &mut converted[..count]);
            for (exponents, row) in exponents.chunks_exact_mut(classes).zip(logits.chunks_exact(classes)) {
                below_maximum(row, self.inverse_temperature, exponents);
            }
            e.copy_from_slice(exponents);
            exponentials(e);
            for (i, entropy) in entropies.iter_mut().enumerate() {
                let row = i * classes..(i + 1) * classes;
                let total = sum_within(e, row.clone());
                let (exponents, e) = (&exponents[row.clone()], &mut e[row.clone()]);
                // A row of nothing but masked classes: all values stay as they are, 0 and minus infinity.
                let (scale, shift) = if total == 0.0 {
                    (1.0, 0.0)
                } else {
                    (1.0 / total, ln(total))
                };
                match self.form {
                    Form::Probabilities => {
                        for (out, e) in out[row].iter_mut().zip(&*e) {
                            *out = e * scale;
                        }
                    }
                    Form::Logarithms => {
                        for (out, exponent) in out[row].iter_mut().zip(exponents) {
                            *out = exponent - shift;
                        }
                    }
                    Form::Entropy => {
                        for (e, exponent) in e.iter_mut().zip(exponents) {
                            // A class without probability counts nothing, though it is infinitely far.
                            *e = if *e == 0.0 { 0.0 } else { *e * exponent };
                        }
                        *entropy = shift - sum(e) * scale;
                    }
                }
            }
        }
    }
}

/// The gradient with respect to the logits, from what [`run`] wrote and the gradient with respect to that.
pub(crate) fn gradient(
    output: &[f32],
    output_gradient: &[f32],
    classes: usize,
    temperature: f32,
    form: Form,
    out: &mut [f32],
) {
    let arch = pulp::Arch::new();
    let mut unused = vec![0.0; out.len() / classes];
    in_blocks(&mut unused, out, classes, |first, _, out| {
        let range = first * classes..first * classes + out.len();
        arch.dispatch(Gradient {
            output: &output[range.clone()],
            received: &output_gradient[range],
            classes,
            scale: 1.0 / temperature,
            form,
            out,
        });
    });
}

struct Gradient<'a> {
    output: &'a [f32],
    received: &'a [f32],
    classes: usize,
    scale: f32,
    form: Form,
    out: &'a mut [f32],
}

impl pulp::WithSimd for Gradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let [mut buffer] = buffers(self.classes);
        let buffer = &mut buffer[..self.classes];
        let rows = self
            .output
            .chunks_exact(self.classes)
            .zip(self.received.chunks_exact(self.classes));
        for ((output, output_gradient), out) in rows.zip(self.out.chunks_exact_mut(self.classes)) {
            if self.form == Form::Logarithms {
                buffer.copy_from_slice(output);
                exponentials(buffer);
                let total = sum(output_gradient);
                for ((out, p), output_gradient) in out.iter_mut().zip(&*buffer).zip(output_gradient) {
                    *out = (output_gradient - p * total) * self.scale;
                }
            } else {
                for ((product, output), output_gradient) in buffer.iter_mut().zip(output).zip(output_gradient) {
                    *product = output * output_gradient;
                }
                let total = sum(buffer);
                for ((out, output), output_gradient) in out.iter_mut().zip(output).zip(output_gradient) {
                    *out = output * (output_gradient - total) * self.scale;
                }
            }
        }
    }
}
