//! The operations in float64, one value after the other, as their definitions say.

use crate::cpu::FURTHEST;
use crate::row_loss::{SoftmaxLoss, Teacher};

/// Softmax of `x`; all 0 where nothing has any probability.
pub(super) fn softmax(x: &[f64]) -> Vec<f64> {
    let maximum = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if maximum == f64::NEG_INFINITY {
        return vec![0.0; x.len()];
    }
    let e: Vec<f64> = x.iter().map(|x| (x - maximum).exp()).collect();
    let total: f64 = e.iter().sum();
    e.iter().map(|e| e / total).collect()
}

/// The natural logarithms of [`softmax`]; of finite values none is infinite, nor further below the largest than is told apart.
pub(super) fn log_softmax(x: &[f64]) -> Vec<f64> {
    let maximum = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if maximum == f64::NEG_INFINITY {
        return vec![f64::NEG_INFINITY; x.len()];
    }
    let total: f64 = x.iter().map(|x| (x - maximum).exp()).sum();
    let below = |x: &f64| {
        if *x == f64::NEG_INFINITY {
            *x
        } else {
            (x - maximum).max(-f64::from(FURTHEST))
        }
    };
    x.iter().map(|x| below(x) - total.ln()).collect()
}

pub(super) fn wide(row: &[f32]) -> Vec<f64> {
    row.iter().map(|value| f64::from(*value)).collect()
}

/// The loss of a row, its gradient, and the size of the terms that the loss is the sum of.
pub(super) fn row_loss(student: &[f64], teacher: &[f64], label: usize, what: SoftmaxLoss) -> (f64, Vec<f64>, f64) {
    let mut loss = 0.0;
    let mut size = 0.0;
    let mut gradient = vec![0.0; student.len()];
    let says = |values: &[f64]| values.iter().any(|value| *value > f64::NEG_INFINITY);
    if what.cross_entropy != 0.0 && says(student) {
        let weight = f64::from(what.cross_entropy);
        let p = softmax(student);
        loss -= weight * log_softmax(student)[label];
        size += loss.abs() + weight;
        for (class, (gradient, p)) in gradient.iter_mut().zip(&p).enumerate() {
            *gradient += weight * (p - f64::from(u8::from(class == label)));
        }
    }
    if what.kl != 0.0 {
        let (weight, inverse_temperature) = (f64::from(what.kl), 1.0 / f64::from(what.temperature));
        let without = |values: &[f64], form: &dyn Fn(f64) -> f64| -> Vec<f64> {
            let form = |(class, value): (usize, &f64)| {
                if what.not_true && class == label {
                    f64::NEG_INFINITY
                } else {
                    form(*value)
                }
            };
            values.iter().enumerate().map(form).collect()
        };
        let s = without(student, &|x| x * inverse_temperature);
        let t = without(teacher, &|x| match what.teacher {
            Teacher::Logits => x * inverse_temperature,
            Teacher::LogProbabilities => x,
            Teacher::Probabilities => x.ln(),
        });
        let (p, q) = (softmax(&t), softmax(&s));
        if says(&s) && says(&t) {
            let (log_p, log_q) = (log_softmax(&t), log_softmax(&s));
            for class in 0..student.len() {
                if t[class] > f64::NEG_INFINITY && s[class] == f64::NEG_INFINITY {
                    loss += f64::INFINITY;
                } else if p[class] > 0.0 {
                    loss += weight * p[class] * (log_p[class] - log_q[class]);
                    size += weight * p[class] * (log_p[class].abs() + log_q[class].abs());
                }
                gradient[class] += weight * inverse_temperature * (q[class] - p[class]);
            }
        }
    }
    (loss, gradient, size)
}

#[test]
fn the_references_gradient_is_its_slope() {
    let student = [0.3, -1.2, 2.0, 0.7];
    let teacher = [1.0, 0.5, -0.3, 0.1];
    for (cross_entropy, kl, not_true) in [(1.0, 0.0, false), (0.0, 1.0, false), (0.5, 2.0, true)] {
        let what = SoftmaxLoss {
            cross_entropy,
            kl,
            temperature: 2.5,
            teacher: Teacher::Logits,
            not_true,
        };
        let (_, gradient, _) = row_loss(&student, &teacher, 2, what);
        for class in 0..4 {
            let at = |step: f64| {
                let mut moved = student;
                moved[class] += step;
                row_loss(&moved, &teacher, 2, what).0
            };
            let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!(
                (slope - gradient[class]).abs() < 1e-9,
                "{class}: {slope} {}",
                gradient[class]
            );
        }
    }
}
