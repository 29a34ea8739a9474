//! Random shapes, types, strides, temperatures and magnitudes, to try operations on.

use super::reference::{self, wide};
use super::{devices, half_matrix, matrix};
use crate::Teacher;
use burn::tensor::{Device, Tensor};
use half::f16;
use proptest::prelude::*;

/// The largest magnitude that is tried in float16.
const MOST_OF_HALVES: f32 = 6e4;

/// Values that follow from a seed: a spread, ties, and some classes masked.
pub(super) fn values(seed: u64, count: usize, magnitude: f32, masked: bool) -> Vec<f32> {
    let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let unit = (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
            if masked && state.is_multiple_of(7) {
                f32::NEG_INFINITY
            } else if magnitude > MOST_OF_HALVES {
                f16::from_f32(unit).to_f32() * magnitude
            } else {
                f16::from_f32(unit * magnitude).to_f32()
            }
        })
        .collect()
}

/// A case to try.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) rows: usize,
    pub(super) classes: usize,
    pub(super) temperature: f64,
    pub(super) magnitude: f32,
    pub(super) teacher: Teacher,
    pub(super) half: bool,
    pub(super) turned: bool,
    pub(super) masked: bool,
    pub(super) not_true: bool,
    pub(super) seed: u64,
}

fn case() -> impl Strategy<Value = Case> {
    let sizes = (1usize..40, prop_oneof![2usize..40, 90usize..140, 1000usize..1100]);
    let constants = (
        // As often below 1 as above it.
        prop_oneof![
            Just(1.0),
            Just(0.05),
            (-3.0f64..3.9).prop_map(|power| power.exp().clamp(0.05, 50.0))
        ],
        // Up to differences that leave float32.
        prop_oneof![
            Just(1.0f32),
            Just(30.0),
            Just(1000.0),
            Just(MOST_OF_HALVES),
            Just(1e30),
            Just(3e38)
        ],
    );
    let teacher = prop_oneof![
        Just(Teacher::Logits),
        Just(Teacher::LogProbabilities),
        Just(Teacher::Probabilities)
    ];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (sizes, constants, teacher, flags, any::<u64>()).prop_map(
        |((rows, classes), (temperature, magnitude), teacher, (half, turned, masked, not_true), seed)| Case {
            rows,
            classes,
            temperature,
            magnitude,
            teacher,
            half: half && magnitude <= MOST_OF_HALVES,
            turned,
            masked,
            not_true,
            seed,
        },
    )
}

impl Case {
    /// The teacher's values, exact in float16 where that is its type.
    pub(super) fn teachers(&self) -> Vec<f32> {
        let logits = values(
            self.seed.rotate_left(9),
            self.rows * self.classes,
            self.magnitude,
            self.masked,
        );
        let form = |row: &[f32]| -> Vec<f32> {
            let made = match self.teacher {
                Teacher::Logits => wide(row),
                Teacher::LogProbabilities => reference::log_softmax(&wide(row)),
                Teacher::Probabilities => reference::softmax(&wide(row)),
            };
            let narrow = |value: &f64| {
                if self.half {
                    f16::from_f64(*value).to_f32()
                } else {
                    *value as f32
                }
            };
            made.iter().map(narrow).collect()
        };
        logits.chunks_exact(self.classes).flat_map(form).collect()
    }

    /// Rows as a tensor; turned, it lies in memory by columns.
    pub(super) fn tensor(&self, values: &[f32], half: bool, device: &Device) -> Tensor<2> {
        let make = if half { half_matrix } else { matrix };
        if !self.turned {
            return make(values, [self.rows, self.classes], device);
        }
        let by_column: Vec<f32> = (0..values.len())
            .map(|i| values[i % self.rows * self.classes + i / self.rows])
            .collect();
        make(&by_column, [self.classes, self.rows], device).swap_dims(0, 1)
    }
}

/// Whether a value is as near as float32 sums of so large terms come.
pub(super) fn near(found: f32, expected: f64, size: f64, what: &str) -> Result<(), TestCaseError> {
    if expected.is_infinite() {
        prop_assert!(
            f64::from(found) == expected,
            "{}: {} instead of {}",
            what,
            found,
            expected
        );
        return Ok(());
    }
    let error = (f64::from(found) - expected).abs();
    prop_assert!(
        error <= 1e-5 * (expected.abs() + size),
        "{}: {} instead of {}, {:e} off",
        what,
        found,
        expected,
        error
    );
    Ok(())
}

/// Tries cases on the CPU, and fewer on a GPU, which may be one in software.
pub(super) fn try_all(cases: u32, check: fn(&Case, &Device) -> Result<(), TestCaseError>) {
    for (name, device) in devices() {
        let config = ProptestConfig {
            cases: if name == "cpu" { cases } else { cases / 8 },
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        let mut runner = proptest::test_runner::TestRunner::new_with_rng(
            config,
            proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
        );
        runner
            .run(&case(), |case| check(&case, &device))
            .unwrap_or_else(|error| panic!("on the {name}: {error}"));
    }
}
