//! The operations in float64, one value after the other, as their definitions say.

use crate::row_loss::{SoftmaxLoss, Teacher};

/// How far below the largest of its row a class is told from others, as the operations document it.
const FURTHEST: f64 = 1e25;

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
            (x - maximum).max(-FURTHEST)
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

/// The mean over all elements of the absolute or squared distance, and its gradient. What both mask is no distance.
pub(super) fn distance(student: &[f64], target: &[f64], squared: bool) -> (f64, Vec<f64>) {
    let count = student.len() as f64;
    let mut mean = 0.0;
    let mut gradient = Vec::with_capacity(student.len());
    for (s, t) in student.iter().zip(target) {
        let difference = if s == t { 0.0 } else { s - t };
        if squared {
            mean += difference * difference / count;
            gradient.push(2.0 * difference / count);
        } else {
            mean += difference.abs() / count;
            let side = if difference == 0.0 { 0.0 } else { difference.signum() };
            gradient.push(side / count);
        }
    }
    (mean, gradient)
}

/// The gradient with respect to `x` of the softmax of `x / temperature`, or of its logarithm, from that with respect to what
/// comes out.
pub(super) fn softmax_gradient(x: &[f64], temperature: f64, slopes: &[f64], logarithms: bool) -> Vec<f64> {
    let p = softmax(&x.iter().map(|x| x / temperature).collect::<Vec<f64>>());
    let total: f64 = if logarithms {
        slopes.iter().sum()
    } else {
        p.iter().zip(slopes).map(|(p, slope)| p * slope).sum()
    };
    let each = p.iter().zip(slopes);
    each.map(|(p, slope)| {
        let above = if logarithms {
            slope - p * total
        } else {
            p * (slope - total)
        };
        above / temperature
    })
    .collect()
}
