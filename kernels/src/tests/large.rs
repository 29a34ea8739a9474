//! More values than one dimension of cubes holds: 65,535 cubes of 256 units.

use super::cases::values;
use super::{devices, matrix, vector};
use crate::row_loss::RowLossOps;
use crate::{AdamState, AdamStep, Averaged, Sharpening, Weights, adam, ensemble, max_pool_2x2};
use burn::backend::Dispatch;
use burn::tensor::{Device, Tensor, TensorData};

/// Rows of two classes: their values need more than one dimension, and two floats a value fit in 128 MiB, which is what a
/// software driver has for a buffer.
const ROWS: usize = 65_535 * 128 + 100;

/// Values that repeat, as many as are asked for, after so many that no size here is a multiple of it.
fn repeating(count: usize) -> Vec<f32> {
    let some = values(41, 1009, 4.0, false);
    some.iter().copied().cycle().take(count).collect()
}

/// Fails where two vectors differ, without printing them.
fn assert_equal(found: &[f32], expected: impl Iterator<Item = f32>, what: &str) {
    let mut count = 0;
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(*found == expected, "{what}: {found} instead of {expected}, value {at}");
        count += 1;
    }
    assert_eq!(count, found.len(), "{what}");
}

#[test]
fn all_rows_are_scaled_where_they_are_and_elsewhere() {
    let numbers = repeating(ROWS * 2);
    let by: Vec<f32> = (0..ROWS).map(|row| (row % 7) as f32).collect();
    for (name, device) in devices() {
        for elsewhere in [false, true] {
            let rows = matrix(&numbers, [ROWS, 2], &device);
            // Rows that somebody else holds are not changed.
            let held = elsewhere.then(|| rows.clone());
            let by_row = Tensor::<1>::from_data(TensorData::new(by.clone(), [ROWS]), &device);
            let scaled: Tensor<2> = Tensor::from_dispatch(<Dispatch as RowLossOps>::scale_rows(
                rows.into_dispatch(),
                by_row.into_dispatch(),
            ));
            let what = format!("on the {name}, elsewhere {elsewhere}");
            let expected = numbers.iter().enumerate().map(|(at, value)| value * by[at / 2]);
            assert_equal(&vector(scaled), expected, &what);
            if let Some(held) = held {
                assert_equal(&vector(held), numbers.iter().copied(), &what);
            }
        }
    }
}

#[test]
fn all_values_of_parties_are_averaged() {
    let numbers = repeating(ROWS * 2);
    for (name, device) in devices() {
        let party: Tensor<3> = matrix(&numbers, [ROWS, 2], &device).reshape([1, ROWS, 2]);
        let mean = ensemble(party, &Weights::Equal, Averaged::Values, Sharpening::None).unwrap();
        assert_equal(&vector(mean), numbers.iter().copied(), name);
    }
}

#[test]
fn all_rows_of_probabilities_are_averaged() {
    // One class a row: masked it has no probability, and otherwise all.
    let is_masked = |row: usize| row % 7 == 3;
    let numbers: Vec<f32> = (0..ROWS * 2)
        .map(|row| if is_masked(row) { f32::NEG_INFINITY } else { 0.5 })
        .collect();
    for (name, device) in devices() {
        let party: Tensor<3> = matrix(&numbers, [ROWS * 2, 1], &device).reshape([1, ROWS * 2, 1]);
        let mean = ensemble(party, &Weights::Equal, Averaged::Probabilities, Sharpening::None).unwrap();
        // As near as a shading language takes exponentials.
        let found: Vec<f32> = vector(mean).iter().map(|mean| (mean * 1e4).round()).collect();
        let expected = (0..ROWS * 2).map(|row| if is_masked(row) { 0.0 } else { 1e4 });
        assert_equal(&found, expected, name);
    }
}

#[test]
fn all_parameters_take_a_step_of_adam() {
    const STEP: AdamStep = AdamStep {
        lr: 0.1,
        beta_1: 0.9,
        beta_2: 0.99,
        epsilon: 1e-8,
        weight_decay: 0.0,
        step: 1,
    };
    let step = |gradient: Vec<f32>, device: &Device| {
        let count = gradient.len();
        let zeros = || Tensor::<1>::zeros([count], device);
        let state = AdamState {
            parameter: zeros(),
            first: zeros(),
            second: zeros(),
        };
        let gradient = Tensor::from_data(TensorData::new(gradient, [count]), device);
        let state = adam(state, gradient, STEP);
        [state.parameter, state.first, state.second].map(vector)
    };
    for (name, device) in devices() {
        // The same few gradients alone.
        let few = step(repeating(1009), &device);
        let many = step(repeating(ROWS * 2), &device);
        assert!(few[0].iter().any(|value| *value != 0.0), "{name}");
        for (many, few) in many.iter().zip(&few) {
            assert_equal(many, few.iter().copied().cycle(), name);
        }
    }
}

#[test]
fn all_values_get_their_gradient_where_squares_are_pooled() {
    for (name, device) in devices() {
        let dims = [2049, 1, 64, 128];
        let count: usize = dims.iter().product();
        let numbers = repeating(count);
        let images = Tensor::<4>::from_data(TensorData::new(numbers.clone(), dims), &device);
        let images = images.autodiff().require_grad();
        let gradients = max_pool_2x2(images.clone()).sum().backward();
        let found = vector(images.grad(&gradients).unwrap());
        // The first of the largest values of each square.
        let mut expected = vec![0.0; count];
        for first in (0..count).step_by(2).filter(|at| at / 128 % 2 == 0) {
            let square = [first, first + 1, first + 128, first + 129];
            let best = square
                .into_iter()
                .reduce(|best, at| if numbers[at] > numbers[best] { at } else { best });
            expected[best.unwrap()] = 1.0;
        }
        assert_equal(&found, expected.into_iter(), name);
    }
}
