//! Weighted sums of parties' probabilities: where a unit has few classes of its row they stay in registers until all parties of a
//! launch are added. Of longer rows each party's prediction is read twice, and the sums are read and written.

use super::ensemble::{By, weight_of};
use super::group::{self, Shape};
use super::online;
use super::special::{INFINITE, NOT_A_NUMBER, defect, is_finite, is_masked, is_nan, with_defect};
use super::sum::{NOTHING, added, hidden, rounded_sum};
use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_elem_type;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

/// Writes the sums and the weighted probabilities of each party.
pub(super) fn add([predictions, weights, sums]: [CubeTensor; 3], out: &CubeTensor, by: By) {
    let [parties, rows, classes] = predictions.shape().dims::<3>();
    let client = sums.client.clone();
    let kind = dtype_to_elem_type(predictions.dtype);
    let shape = Shape::of(&sums, classes);
    let held = classes.div_ceil(shape.group as usize);
    if held <= group::VALUES_A_UNIT {
        add_held_probabilities::launch(
            &client,
            shape.cubes(rows),
            shape.cube_dim(),
            predictions.into_tensor_arg(),
            weights.into_tensor_arg(),
            sums.into_tensor_arg(),
            out.clone().into_tensor_arg(),
            parties as u32,
            rows as u32,
            classes as u32,
            NOTHING,
            by,
            shape,
            held,
            kind,
        );
    } else {
        add_probabilities::launch(
            &client,
            shape.cubes(rows),
            shape.cube_dim(),
            predictions.into_tensor_arg(),
            weights.into_tensor_arg(),
            sums.into_tensor_arg(),
            out.clone().into_tensor_arg(),
            parties as u32,
            rows as u32,
            classes as u32,
            NOTHING,
            by,
            shape,
            kind,
        );
    }
}

/// What exponentials of a row are multiplied by to make probabilities, from their sum; of nothing but masked classes there are
/// none.
#[cube]
fn inverse(total: f32) -> f32 {
    let mut scale = 0.0f32;
    if total > 0.0f32 {
        scale = 1.0f32 / total;
    }
    scale
}

/// What is wrong with a sum of probabilities to begin with.
#[cube]
fn defect_of_sum(sum: f32) -> f32 {
    let mut found = 0.0f32;
    if is_nan(sum) {
        found = f32::new(NOT_A_NUMBER);
    } else if !is_finite(sum) {
        found = f32::new(INFINITE);
    }
    found
}

/// The probability of a class times its weight, from the row's largest logit and the weight over the row's sum of exponentials;
/// of a row with a defect, of every class what the defect makes of it.
#[cube]
fn weighted(value: f32, weight: f32, largest: f32, fault: f32, nothing: u32) -> f32 {
    let mut term = 0.0f32;
    if !is_masked(value) {
        let exponent = online::difference(value, largest);
        term = hidden(exponent.exp() * weight, nothing);
    }
    with_defect(term, fault)
}

/// Where a unit has so few classes of its row that registers hold them: each prediction is read once, each sum read and written
/// once, and each exponential taken once.
#[cube(launch)]
fn add_held_probabilities<T: Float>(
    predictions: &Tensor<T>,
    weights: &Tensor<f32>,
    sums: &Tensor<f32>,
    out: &mut Tensor<f32>,
    parties: u32,
    rows: u32,
    classes: u32,
    nothing: u32,
    #[comptime] by: By,
    #[comptime] shape: Shape,
    #[comptime] held: usize,
    #[define(T)] _kind: ElemType,
) {
    let (row, lane, count) = group::place(rows, classes, shape);
    // Of the classes of this unit: the sums, what rounding took from them, what is wrong with them, and what the party at hand
    // says. A probability times its weight is a number unless its row has a defect, which is kept apart: no sum needs to look
    // whether its terms are.
    let mut own = Array::<f32>::new(held);
    let mut lost = Array::<f32>::new(held);
    let mut wrong = Array::<f32>::new(held);
    let mut said = Array::<f32>::new(held);
    #[unroll]
    for i in 0..held {
        let class = lane + comptime![i * shape.group as usize];
        let mut before = 0.0f32;
        let mut lost_before = 0.0f32;
        if class < count {
            let at = row * sums.stride(0) + class * sums.stride(2);
            before = sums[at];
            lost_before = sums[at + sums.stride(1)];
        }
        own[i] = before;
        lost[i] = lost_before;
        wrong[i] = defect_of_sum(before);
        said[i] = 0.0f32;
    }
    for party in 0..parties as usize {
        let first = party * predictions.stride(0) + row * predictions.stride(1);
        let mut maximum = f32::new(f32::MIN);
        let mut fault = 0.0f32;
        #[unroll]
        for i in 0..held {
            let class = lane + comptime![i * shape.group as usize];
            if class < count {
                let value = f32::cast_from(predictions[first + class * predictions.stride(2)]);
                said[i] = value;
                fault = max(fault, defect(value));
                if !is_masked(value) {
                    maximum = max(maximum, value);
                }
            }
        }
        // Nobody may still read what the party before left, where units share anything.
        if comptime![shape.exchanging < shape.group] {
            sync_cube();
        }
        let largest = group::largest(maximum, shape);
        let mut total = 0.0f32;
        #[unroll]
        for i in 0..held {
            let class = lane + comptime![i * shape.group as usize];
            let mut e = 0.0f32;
            if class < count {
                let value = said[i];
                if !is_masked(value) {
                    let exponent = online::difference(value, largest);
                    e = exponent.exp();
                }
            }
            said[i] = e;
            total += e;
        }
        total = group::sum(total, shape);
        fault = group::largest(fault, shape);
        let scale = inverse(total);
        #[unroll]
        for i in 0..held {
            let class = lane + comptime![i * shape.group as usize];
            if class < count {
                let weight = weight_of(weights, party, row, class, by);
                if weight > 0.0f32 {
                    let term = hidden(said[i] * (weight * scale), nothing);
                    let before = own[i];
                    let lost_before = lost[i];
                    let wrong_before = wrong[i];
                    let (sum, here) = rounded_sum(before, term, nothing);
                    own[i] = sum;
                    lost[i] = lost_before + here;
                    wrong[i] = max(wrong_before, fault);
                }
            }
        }
    }
    #[unroll]
    for i in 0..held {
        let class = lane + comptime![i * shape.group as usize];
        if class < count {
            let after = row * (2 * classes as usize) + class;
            let sum = own[i];
            let lost_at_last = lost[i];
            // Of what is infinite, or no number, nothing.
            let mut left = 0.0f32;
            if is_finite(lost_at_last) {
                left = lost_at_last;
            }
            out[after] = with_defect(sum, wrong[i]);
            out[after + classes as usize] = left;
        }
    }
}

/// Where a unit has more classes of its row than registers should hold.
#[cube(launch)]
fn add_probabilities<T: Float>(
    predictions: &Tensor<T>,
    weights: &Tensor<f32>,
    sums: &Tensor<f32>,
    out: &mut Tensor<f32>,
    parties: u32,
    rows: u32,
    classes: u32,
    nothing: u32,
    #[comptime] by: By,
    #[comptime] shape: Shape,
    #[define(T)] _kind: ElemType,
) {
    let (row, lane, count) = group::place(rows, classes, shape);
    let step = comptime![shape.group as usize];
    for party in 0..parties as usize {
        let first = party * predictions.stride(0) + row * predictions.stride(1);
        let mut maximum = 0.0f32;
        let mut total = 0.0f32;
        let mut fault = 0.0f32;
        let mut class = lane;
        while class < count {
            let value = f32::cast_from(predictions[first + class * predictions.stride(2)]);
            fault = max(fault, defect(value));
            if !is_masked(value) {
                let (larger, sum) = online::with_logit(value, maximum, total);
                maximum = larger;
                total = sum;
            }
            class += step;
        }
        // Nobody may still read what the party before left, where units share anything.
        if comptime![shape.exchanging < shape.group] {
            sync_cube();
        }
        let (largest, shift) = online::of_group(maximum, total, 1.0f32, shape);
        total = group::sum(total * shift.exp(), shape);
        fault = group::largest(fault, shape);
        let scale = inverse(total);
        let mut class = lane;
        while class < count {
            let value = f32::cast_from(predictions[first + class * predictions.stride(2)]);
            // From the second party on its own earlier sum: no other unit writes there.
            let before = row * sums.stride(0) + class * sums.stride(2);
            let after = row * (2 * classes as usize) + class;
            let mut sum = if party == 0 { sums[before] } else { out[after] };
            let mut lost = if party == 0 {
                sums[before + sums.stride(1)]
            } else {
                out[after + classes as usize]
            };
            let weight = weight_of(weights, party, row, class, by);
            if weight > 0.0f32 {
                let term = weighted(value, weight * scale, largest, fault, nothing);
                let (added_up, left) = added(sum, lost, term, nothing);
                sum = added_up;
                lost = left;
            }
            out[after] = sum;
            out[after + classes as usize] = lost;
            class += step;
        }
    }
}
