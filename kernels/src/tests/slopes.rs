//! The gradients of the references in float64 are the slopes of their values: finite differences of random rows.

use super::cases::values;
use super::reference::{self, wide};
use crate::row_loss::{SoftmaxLoss, Teacher};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

/// A row of each side.
#[derive(Clone, Debug)]
struct Row {
    student: Vec<f64>,
    /// Logits, whatever form of them the teacher gives.
    teacher: Vec<f64>,
    form: Teacher,
    label: usize,
    temperature: f32,
    not_true: bool,
}

fn row() -> impl Strategy<Value = Row> {
    let form = prop_oneof![
        Just(Teacher::Logits),
        Just(Teacher::LogProbabilities),
        Just(Teacher::Probabilities)
    ];
    let constants = ((-1.6f32..3.0).prop_map(f32::exp), 0.1f32..3.0);
    (2usize..24, constants, form, any::<bool>(), any::<u64>()).prop_map(
        |(classes, (temperature, magnitude), form, not_true, seed)| Row {
            student: wide(&values(seed, classes, magnitude, false)),
            teacher: wide(&values(seed.rotate_left(9), classes, magnitude, false)),
            form,
            label: (seed >> 7) as usize % classes,
            temperature,
            not_true,
        },
    )
}

impl Row {
    /// What the teacher gives.
    fn given(&self) -> Vec<f64> {
        match self.form {
            Teacher::Logits => self.teacher.clone(),
            Teacher::LogProbabilities => reference::log_softmax(&self.teacher),
            Teacher::Probabilities => reference::softmax(&self.teacher),
        }
    }

    /// Steps by which the softest exponential changes little.
    fn step(&self) -> f64 {
        1e-4 * f64::from(self.temperature).min(1.0)
    }

    /// Whether the gradient at the student's values is what differences of `value` say, as near as differences come where
    /// slopes are of this size.
    fn check(
        &self,
        gradient: &[f64],
        size: f64,
        what: &str,
        value: impl Fn(&[f64]) -> f64,
    ) -> Result<(), TestCaseError> {
        for (class, expected) in gradient.iter().enumerate() {
            let at = |step: f64| {
                let mut moved = self.student.clone();
                moved[class] += step;
                value(&moved)
            };
            let slope = (at(self.step()) - at(-self.step())) / (2.0 * self.step());
            prop_assert!(
                (slope - expected).abs() <= 1e-7 * size,
                "{}, class {}: {} instead of {}",
                what,
                class,
                expected,
                slope
            );
        }
        Ok(())
    }
}

fn try_rows(check: fn(&Row) -> Result<(), TestCaseError>) {
    let config = ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    runner
        .run(&row(), |row| check(&row))
        .unwrap_or_else(|error| panic!("{error}"));
}

fn divergence_has_its_slope(row: &Row) -> Result<(), TestCaseError> {
    let given = row.given();
    for (cross_entropy, kl) in [(1.0, 0.0), (0.0, 1.0), (0.5, 2.0)] {
        let what = SoftmaxLoss {
            cross_entropy,
            kl,
            temperature: row.temperature,
            teacher: row.form,
            not_true: row.not_true,
        };
        let (_, gradient, _) = reference::row_loss(&row.student, &given, row.label, what);
        let size = f64::from(cross_entropy) + f64::from(kl) * (1.0 + 1.0 / f64::from(row.temperature));
        let text = format!("{cross_entropy} of the cross entropy and {kl} of the divergence");
        row.check(&gradient, size, &text, |student| {
            reference::row_loss(student, &given, row.label, what).0
        })?;
    }
    Ok(())
}

#[test]
fn the_gradient_of_cross_entropy_and_divergence_is_their_slope_for_every_form_of_teacher() {
    try_rows(divergence_has_its_slope);
}

fn distances_have_their_slopes(row: &Row) -> Result<(), TestCaseError> {
    // Nowhere at a kink: a step is shorter than what the target is moved by.
    let pairs = row.student.iter().zip(&row.teacher);
    let target: Vec<f64> = pairs
        .map(|(s, t)| if (s - t).abs() < 0.01 { s + 0.01 } else { *t })
        .collect();
    for squared in [false, true] {
        let (_, gradient) = reference::distance(&row.student, &target, squared);
        let text = if squared { "MSE" } else { "MAE" };
        row.check(&gradient, 10.0, text, |student| {
            reference::distance(student, &target, squared).0
        })?;
    }
    Ok(())
}

#[test]
fn the_gradients_of_distances_are_their_slopes() {
    try_rows(distances_have_their_slopes);
}

fn softmax_has_its_slope(row: &Row) -> Result<(), TestCaseError> {
    let temperature = f64::from(row.temperature);
    for logarithms in [false, true] {
        let form = if logarithms {
            reference::log_softmax
        } else {
            reference::softmax
        };
        // The sum of what comes out, each times a value of the other side.
        let gradient = reference::softmax_gradient(&row.student, temperature, &row.teacher, logarithms);
        let most = if logarithms { 100.0 } else { 5.0 };
        let size = most * (0.1 + 1.0 / temperature);
        row.check(&gradient, size, "softmax", |student| {
            let scaled: Vec<f64> = student.iter().map(|logit| logit / temperature).collect();
            let made = form(&scaled).into_iter().zip(&row.teacher);
            made.map(|(made, weight)| made * weight).sum()
        })?;
    }
    Ok(())
}

#[test]
fn the_gradients_of_softmax_and_its_logarithm_are_their_slopes() {
    try_rows(softmax_has_its_slope);
}
