//! Weighted sums of parties' predictions, or of their probabilities: one party after the other, always in the same order.
//!
//! Beside each sum goes what rounding took from it: ten thousand parties are averaged as exactly as ten. Sums of predictions stay
//! in registers until all parties of a launch are added; those of probabilities are in `probabilities`.

use super::group::{self, Shape, position};
use super::special::{exponent_bits, is_finite};
use super::sum::{NOTHING, added, hidden, rounded_sum};
use super::{empty, probabilities, within_reach};
use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_elem_type;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

/// Whether the weights differ by row and by class, beside by party.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct By {
    pub(super) row: bool,
    pub(super) class: bool,
}

/// `sums` (`rows x 2 x classes`: sums, and what rounding took from them) and the weighted predictions of each party.
pub(crate) fn add(
    sums: CubeTensor,
    predictions: CubeTensor,
    weights: CubeTensor,
    of_probabilities: bool,
) -> CubeTensor {
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
    if of_probabilities {
        probabilities::add([predictions, weights, sums], &out, by);
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
            NOTHING,
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
pub(super) fn weight_of(weights: &Tensor<f32>, party: usize, row: usize, class: usize, #[comptime] by: By) -> f32 {
    let mut at = party * weights.stride(0);
    if comptime![by.row] {
        at += row * weights.stride(1);
    }
    if comptime![by.class] {
        at += class * weights.stride(2);
    }
    weights[at]
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
    // Whether there was anything but numbers is looked at once, at the end.
    let mut worst = exponent_bits(sum);
    for party in 0..parties as usize {
        let value = f32::cast_from(predictions[party * predictions.stride(0) + first]);
        let weight = weight_of(weights, party, row, class, by);
        // What does not count may be anything.
        if weight > 0.0f32 {
            worst = max(worst, exponent_bits(value));
            let term = hidden(value * weight, nothing);
            let (total, here) = rounded_sum(sum, term, nothing);
            sum = total;
            lost += here;
        }
    }
    // A sum that once left float32 is still outside at the end. All anew then, and each term looked at.
    let are_numbers = worst != 0x7f80_0000u32 && is_finite(sum) && is_finite(lost);
    if !are_numbers {
        sum = sums[before];
        lost = sums[before + sums.stride(1)];
        for party in 0..parties as usize {
            let value = f32::cast_from(predictions[party * predictions.stride(0) + first]);
            let weight = weight_of(weights, party, row, class, by);
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
