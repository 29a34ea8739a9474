//! Weighted sums of parties' predictions, or of their probabilities: one party after the other, always in the same order.

use super::empty;
use super::group::{self, defect, is_masked, position, with_defect};
use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_elem_type;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

/// `sums` and the weighted predictions of each party.
pub(crate) fn add(sums: CubeTensor, predictions: CubeTensor, weights: CubeTensor, probabilities: bool) -> CubeTensor {
    let [parties, rows, classes] = predictions.shape().dims::<3>();
    let [_, weight_rows, weight_classes] = weights.shape().dims::<3>();
    let client = sums.client.clone();
    let out = empty(&sums, [rows, classes]);
    let kind = dtype_to_elem_type(predictions.dtype);
    if probabilities {
        let shape = group::Shape::of(&sums, classes);
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
            weight_rows > 1,
            weight_classes > 1,
            shape.units,
            shape.group,
            kind,
        );
    } else {
        let (cubes, units) = group::elementwise(&out);
        add_values::launch(
            &client,
            cubes,
            units,
            predictions.into_tensor_arg(),
            weights.into_tensor_arg(),
            sums.into_tensor_arg(),
            out.clone().into_tensor_arg(),
            parties as u32,
            rows as u32,
            classes as u32,
            weight_rows > 1,
            weight_classes > 1,
            kind,
        );
    }
    out
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
    #[comptime] weight_rows: bool,
    #[comptime] weight_classes: bool,
    #[define(T)] _kind: ElemType,
) {
    let at = position();
    let row = at / classes as usize;
    let class = at % classes as usize;
    if row >= rows as usize {
        terminate!();
    }
    let mut weight_at = 0usize;
    if comptime![weight_rows] {
        weight_at += row * weights.stride(1);
    }
    if comptime![weight_classes] {
        weight_at += class * weights.stride(2);
    }
    let first = row * predictions.stride(1) + class * predictions.stride(2);
    let mut sum = sums[row * sums.stride(0) + class * sums.stride(1)];
    for party in 0..parties as usize {
        let value = f32::cast_from(predictions[party * predictions.stride(0) + first]);
        let weight = weights[party * weights.stride(0) + weight_at];
        // What does not count may be anything.
        if weight > 0.0f32 {
            sum += value * weight;
        }
    }
    out[at] = sum;
}

#[cube(launch)]
fn add_probabilities<T: Float>(
    predictions: &Tensor<T>,
    weights: &Tensor<f32>,
    sums: &Tensor<f32>,
    out: &mut Tensor<f32>,
    parties: u32,
    rows: u32,
    classes: u32,
    #[comptime] weight_rows: bool,
    #[comptime] weight_classes: bool,
    #[comptime] units: u32,
    #[comptime] group: u32,
    #[define(T)] _kind: ElemType,
) {
    let units_each = comptime![group as usize];
    let rows_each = comptime![(units / group) as usize];
    let unit = UNIT_POS as usize;
    let lane = unit % units_each;
    let row = CUBE_POS * rows_each + unit / units_each;
    let classes = classes as usize;
    let mut count = 0usize;
    if row < rows as usize {
        count = classes;
    }
    let mut peaks = Shared::<[f32]>::new_slice(comptime![units as usize]);
    let mut totals = Shared::<[f32]>::new_slice(comptime![units as usize]);
    let mut faults = Shared::<[f32]>::new_slice(comptime![units as usize]);
    for party in 0..parties as usize {
        let first = party * predictions.stride(0) + row * predictions.stride(1);
        let mut peak = 0.0f32;
        let mut total = 0.0f32;
        let mut fault = 0.0f32;
        let mut class = lane;
        while class < count {
            let value = f32::cast_from(predictions[first + class * predictions.stride(2)]);
            fault = max(fault, defect(value));
            if !is_masked(value) {
                if total == 0.0f32 {
                    total = 1.0f32;
                    peak = value;
                } else if value > peak {
                    total = total * (peak - value).exp() + 1.0f32;
                    peak = value;
                } else {
                    total += (value - peak).exp();
                }
            }
            class += units_each;
        }
        // Nobody may still read what the party before left.
        sync_cube();
        peaks[unit] = peak;
        totals[unit] = total;
        faults[unit] = fault;
        let steps = comptime![group.trailing_zeros()];
        #[unroll]
        for step in 0..steps {
            let half = comptime![(group >> (step + 1)) as usize];
            sync_cube();
            if lane < half {
                let others_peak = peaks[unit + half];
                let others_total = totals[unit + half];
                if total == 0.0f32 {
                    peak = others_peak;
                    total = others_total;
                } else if others_total > 0.0f32 {
                    let most = max(peak, others_peak);
                    total = total * (peak - most).exp() + others_total * (others_peak - most).exp();
                    peak = most;
                }
                fault = max(fault, faults[unit + half]);
                peaks[unit] = peak;
                totals[unit] = total;
                faults[unit] = fault;
            }
        }
        sync_cube();
        let shared_peak = peaks[unit - lane];
        let shared_total = totals[unit - lane];
        let shared_fault = faults[unit - lane];
        let mut class = lane;
        while class < count {
            let value = f32::cast_from(predictions[first + class * predictions.stride(2)]);
            let mut weight_at = party * weights.stride(0);
            if comptime![weight_rows] {
                weight_at += row * weights.stride(1);
            }
            if comptime![weight_classes] {
                weight_at += class * weights.stride(2);
            }
            // From the second party on its own earlier sum: no other unit writes there.
            let mut sum = if party == 0 {
                sums[row * sums.stride(0) + class * sums.stride(1)]
            } else {
                out[row * classes + class]
            };
            let weight = weights[weight_at];
            if weight > 0.0f32 && !is_masked(value) {
                let p = (value - shared_peak).exp() / shared_total;
                sum += with_defect(p, shared_fault) * weight;
            }
            out[row * classes + class] = sum;
            class += units_each;
        }
    }
}
