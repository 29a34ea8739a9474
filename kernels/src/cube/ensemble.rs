//! Weighted sums of parties' predictions, or of their probabilities: one party after the other, always in the same order.
//!
//! Beside each sum goes what rounding took from it: ten thousand parties are averaged as exactly as ten. Sums of predictions stay
//! in registers until all parties of a launch are added, and so do those of probabilities where a unit has few classes of its
//! row. Of longer rows each party's prediction is read twice, and the sums are read and written.

use super::group::{self, Shape, position};
use super::online;
use super::special::{defect, is_finite, is_masked, with_defect};
use super::sum::{added, hidden};
use super::{empty, within_reach};
use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_elem_type;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

/// Whether the weights differ by row and by class, beside by party.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct By {
    row: bool,
    class: bool,
}

/// `sums` (`rows x 2 x classes`: sums, and what rounding took from them) and the weighted predictions of each party.
pub(crate) fn add(sums: CubeTensor, predictions: CubeTensor, weights: CubeTensor, probabilities: bool) -> CubeTensor {
    let [sums, predictions, weights] = [sums, predictions, weights].map(within_reach);
    let [parties, rows, classes] = predictions.shape().dims::<3>();
    let [_, weight_rows, weight_classes] = weights.shape().dims::<3>();
    let by = By {
        row: weight_rows > 1,
        class: weight_classes > 1,
    };
    let client = sums.client.clone();
    let out = empty(&sums, [rows, 2, classes]);
    let kind = dtype_to_elem_type(predictions.dtype);
    // Known to the host alone.
    let nothing = 0;
    let shape = Shape::of(&sums, classes);
    let held = classes.div_ceil(shape.group as usize);
    if probabilities && held <= group::VALUES_A_UNIT {
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
            nothing,
            by,
            shape,
            held,
            kind,
        );
    } else if probabilities {
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
            nothing,
            by,
            shape,
            kind,
        );
    } else {
        let one_a_unit = Shape::of(&out, 1);
        add_values::launch(
            &client,
            one_a_unit.cubes(rows * classes),
            one_a_unit.cube_dim(),
            predictions.into_tensor_arg(),
            weights.into_tensor_arg(),
            sums.into_tensor_arg(),
            out.clone().into_tensor_arg(),
            parties as u32,
            rows as u32,
            classes as u32,
            nothing,
            by,
            kind,
        );
    }
    out
}

/// The sums over `divisor` (`(rows or 1) x (classes or 1)`): `rows x classes`.
pub(crate) fn mean(sums: CubeTensor, divisor: CubeTensor) -> CubeTensor {
    let [sums, divisor] = [sums, divisor].map(within_reach);
    let [rows, _, classes] = sums.shape().dims::<3>();
    let [divisor_rows, divisor_classes] = divisor.shape().dims::<2>();
    let by = By {
        row: divisor_rows > 1,
        class: divisor_classes > 1,
    };
    let client = sums.client.clone();
    let out = empty(&sums, [rows, classes]);
    let (cubes, units) = group::elementwise(&out);
    mean_of_sums::launch(
        &client,
        cubes,
        units,
        sums.into_tensor_arg(),
        divisor.into_tensor_arg(),
        out.clone().into_tensor_arg(),
        rows as u32,
        classes as u32,
        by,
    );
    out
}

/// The weight of a party's prediction.
#[cube]
fn weight_of(weights: &Tensor<f32>, party: usize, row: usize, class: usize, #[comptime] by: By) -> f32 {
    let mut at = party * weights.stride(0);
    if comptime![by.row] {
        at += row * weights.stride(1);
    }
    if comptime![by.class] {
        at += class * weights.stride(2);
    }
    weights[at]
}

/// The probability of a class times its weight, from the row's largest logit and sum of exponentials; of a row with a defect, of
/// every class what the defect makes of it.
#[cube]
fn weighted(value: f32, weight: f32, largest: f32, total: f32, fault: f32, nothing: u32) -> f32 {
    let mut term = 0.0f32;
    if !is_masked(value) {
        let exponent = online::exponent(value, largest, 1.0f32);
        term = hidden(exponent.exp() / total * weight, nothing);
    }
    with_defect(term, fault)
}

#[cube(launch)]
fn add_values<T: Float>(
    predictions: &Tensor<T>,
    weights: &Tensor<f32>,
    sums: &Tensor<f32>,
    out: &mut Tensor<f32>,
    parties: u32,
    rows: u32,
    classes: u32,
    nothing: u32,
    #[comptime] by: By,
    #[define(T)] _kind: ElemType,
) {
    let at = position();
    let row = at / classes as usize;
    let class = at % classes as usize;
    if row >= rows as usize {
        terminate!();
    }
    let first = row * predictions.stride(1) + class * predictions.stride(2);
    let before = row * sums.stride(0) + class * sums.stride(2);
    let mut sum = sums[before];
    let mut lost = sums[before + sums.stride(1)];
    for party in 0..parties as usize {
        let value = f32::cast_from(predictions[party * predictions.stride(0) + first]);
        let weight = weight_of(weights, party, row, class, by);
        // What does not count may be anything.
        if weight > 0.0f32 {
            let mut term = hidden(value * weight, nothing);
            if !is_finite(value) {
                // Itself, whatever it is multiplied by.
                term = value;
            }
            let (total, left) = added(sum, lost, term, nothing);
            sum = total;
            lost = left;
        }
    }
    let after = row * (2 * classes as usize) + class;
    out[after] = sum;
    out[after + classes as usize] = lost;
}

#[cube(launch)]
fn mean_of_sums(
    sums: &Tensor<f32>,
    divisor: &Tensor<f32>,
    out: &mut Tensor<f32>,
    rows: u32,
    classes: u32,
    #[comptime] by: By,
) {
    let at = position();
    let row = at / classes as usize;
    let class = at % classes as usize;
    if row >= rows as usize {
        terminate!();
    }
    let first = row * sums.stride(0) + class * sums.stride(2);
    let sum = sums[first];
    let mut over = 0usize;
    if comptime![by.row] {
        over += row * divisor.stride(0);
    }
    if comptime![by.class] {
        over += class * divisor.stride(1);
    }
    let mut mean = (sum + sums[first + sums.stride(1)]) / divisor[over];
    if !is_finite(sum) {
        mean = sum;
    }
    out[at] = mean;
}

/// Where a unit has so few classes of its row that registers hold them: each prediction is read once, each sum read and written
/// once. The same sums in the same order as those of [`add_probabilities`].
// Cube code has no iterators to go over an array by.
#[allow(clippy::needless_range_loop)]
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
    // Of the classes of this unit: the sums, what rounding took from them, and what the party at hand says.
    let mut own = Array::<f32>::new(held);
    let mut lost = Array::<f32>::new(held);
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
        said[i] = 0.0f32;
    }
    for party in 0..parties as usize {
        let first = party * predictions.stride(0) + row * predictions.stride(1);
        let mut maximum = 0.0f32;
        let mut total = 0.0f32;
        let mut fault = 0.0f32;
        #[unroll]
        for i in 0..held {
            let class = lane + comptime![i * shape.group as usize];
            if class < count {
                let value = f32::cast_from(predictions[first + class * predictions.stride(2)]);
                said[i] = value;
                fault = max(fault, defect(value));
                if !is_masked(value) {
                    let (larger, sum) = online::with_logit(value, maximum, total);
                    maximum = larger;
                    total = sum;
                }
            }
        }
        // Nobody may still read what the party before left.
        sync_cube();
        let (largest, shift) = online::of_group(maximum, total, 1.0f32, shape);
        total = group::sum(total * shift.exp(), shape);
        fault = group::largest(fault, shape);
        #[unroll]
        for i in 0..held {
            let class = lane + comptime![i * shape.group as usize];
            if class < count {
                let value = said[i];
                let weight = weight_of(weights, party, row, class, by);
                if weight > 0.0f32 {
                    let term = weighted(value, weight, largest, total, fault, nothing);
                    let before = own[i];
                    let lost_before = lost[i];
                    let (sum, left) = added(before, lost_before, term, nothing);
                    own[i] = sum;
                    lost[i] = left;
                }
            }
        }
    }
    #[unroll]
    for i in 0..held {
        let class = lane + comptime![i * shape.group as usize];
        if class < count {
            let after = row * (2 * classes as usize) + class;
            out[after] = own[i];
            out[after + classes as usize] = lost[i];
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
        // Nobody may still read what the party before left.
        sync_cube();
        let (largest, shift) = online::of_group(maximum, total, 1.0f32, shape);
        total = group::sum(total * shift.exp(), shape);
        fault = group::largest(fault, shape);
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
                let term = weighted(value, weight, largest, total, fault, nothing);
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
