//! Softmax of rows, its logarithm, its entropy, and the gradients of the first two.

use super::empty;
use super::group::{self, defect, is_masked, with_defect};
use crate::cpu::softmax::Form;
use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_elem_type;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct How {
    units: u32,
    group: u32,
    logarithms: bool,
    entropy: bool,
}

impl How {
    fn new(shape: group::Shape, form: Form) -> Self {
        Self {
            units: shape.units,
            group: shape.group,
            logarithms: form == Form::Logarithms,
            entropy: form == Form::Entropy,
        }
    }
}

/// What `form` says, of each row.
pub(crate) fn run(logits: CubeTensor, temperature: f32, form: Form) -> CubeTensor {
    let [rows, classes] = logits.shape().dims::<2>();
    let client = logits.client.clone();
    let shape = group::Shape::of(&logits, classes);
    let out = if form == Form::Entropy {
        empty(&logits, [rows])
    } else {
        empty(&logits, [rows, classes])
    };
    let kind = dtype_to_elem_type(logits.dtype);
    softmax_rows::launch(
        &client,
        shape.cubes(rows),
        shape.cube_dim(),
        logits.into_tensor_arg(),
        out.clone().into_tensor_arg(),
        rows as u32,
        classes as u32,
        temperature.recip(),
        How::new(shape, form),
        kind,
    );
    out
}

/// The gradient with respect to the logits.
pub(crate) fn gradient(made: CubeTensor, above: CubeTensor, temperature: f32, form: Form) -> CubeTensor {
    let [rows, classes] = made.shape().dims::<2>();
    let client = made.client.clone();
    let shape = group::Shape::of(&made, classes);
    let out = empty(&made, [rows, classes]);
    softmax_rows_gradient::launch(
        &client,
        shape.cubes(rows),
        shape.cube_dim(),
        made.into_tensor_arg(),
        above.into_tensor_arg(),
        out.clone().into_tensor_arg(),
        rows as u32,
        classes as u32,
        temperature.recip(),
        How::new(shape, form),
    );
    out
}

#[cube(launch)]
fn softmax_rows<T: Float>(
    logits: &Tensor<T>,
    out: &mut Tensor<f32>,
    rows: u32,
    classes: u32,
    sharpness: f32,
    #[comptime] how: How,
    #[define(T)] _kind: ElemType,
) {
    let group = comptime![how.group as usize];
    let units = comptime![how.units as usize];
    let unit = UNIT_POS as usize;
    let lane = unit % group;
    let row = CUBE_POS * (units / group) + unit / group;
    let classes = classes as usize;
    let real = row < rows as usize;
    let mut count = 0usize;
    if real {
        count = classes;
    }
    let mut peak = 0.0f32;
    let mut total = 0.0f32;
    let mut fault = 0.0f32;
    // The sum of exponentials, each times its distance from the largest value.
    let mut apart = 0.0f32;
    let mut class = lane;
    while class < count {
        let value = f32::cast_from(logits[row * logits.stride(0) + class * logits.stride(1)]);
        fault = max(fault, defect(value));
        if !is_masked(value) {
            // Divided by the temperature once the largest is taken off: large logits lose nothing then.
            let below = (value - peak) * sharpness;
            if total == 0.0f32 {
                total = 1.0f32;
                peak = value;
            } else if below > 0.0f32 {
                let shrink = (-below).exp();
                apart = shrink * (apart - total * below);
                total = total * shrink + 1.0f32;
                peak = value;
            } else {
                let e = below.exp();
                total += e;
                apart += e * below;
            }
        }
        class += group;
    }
    let mut peaks = Shared::<[f32]>::new_slice(units);
    let mut totals = Shared::<[f32]>::new_slice(units);
    let mut aparts = Shared::<[f32]>::new_slice(units);
    let mut faults = Shared::<[f32]>::new_slice(units);
    peaks[unit] = peak;
    totals[unit] = total;
    aparts[unit] = apart;
    faults[unit] = fault;
    let steps = comptime![how.group.trailing_zeros()];
    #[unroll]
    for step in 0..steps {
        let half = comptime![(how.group >> (step + 1)) as usize];
        sync_cube();
        if lane < half {
            let other = unit + half;
            let others_peak = peaks[other];
            let others_total = totals[other];
            if total == 0.0f32 {
                apart = aparts[other];
                total = others_total;
                peak = others_peak;
            } else if others_total > 0.0f32 {
                let most = max(peak, others_peak);
                let below = (peak - most) * sharpness;
                let others_below = (others_peak - most) * sharpness;
                let shrink = below.exp();
                let others_shrink = others_below.exp();
                apart =
                    shrink * (apart + total * below) + others_shrink * (aparts[other] + others_total * others_below);
                total = total * shrink + others_total * others_shrink;
                peak = most;
            }
            fault = max(fault, faults[other]);
            peaks[unit] = peak;
            totals[unit] = total;
            aparts[unit] = apart;
            faults[unit] = fault;
        }
    }
    sync_cube();
    let first = unit - lane;
    peak = peaks[first];
    total = totals[first];
    fault = faults[first];
    if comptime![how.entropy] {
        if lane == 0 && real {
            let mut entropy = 0.0f32;
            if total > 0.0f32 {
                entropy = total.ln() - aparts[first] / total;
            }
            out[row] = with_defect(entropy, fault);
        }
    } else {
        let mut class = lane;
        while class < count {
            let value = f32::cast_from(logits[row * logits.stride(0) + class * logits.stride(1)]);
            let masked = is_masked(value);
            let below = (value - peak) * sharpness;
            let mut made = 0.0f32;
            if comptime![how.logarithms] {
                made = below - total.ln();
                if masked {
                    // Itself: minus infinity.
                    made = value;
                }
            } else if !masked {
                made = below.exp() / total;
            }
            out[row * classes + class] = with_defect(made, fault);
            class += group;
        }
    }
}

#[cube(launch)]
fn softmax_rows_gradient(
    made: &Tensor<f32>,
    above: &Tensor<f32>,
    out: &mut Tensor<f32>,
    rows: u32,
    classes: u32,
    sharpness: f32,
    #[comptime] how: How,
) {
    let group = comptime![how.group as usize];
    let units = comptime![how.units as usize];
    let unit = UNIT_POS as usize;
    let lane = unit % group;
    let row = CUBE_POS * (units / group) + unit / group;
    let classes = classes as usize;
    let real = row < rows as usize;
    let mut count = 0usize;
    if real {
        count = classes;
    }
    let mut total = 0.0f32;
    let mut class = lane;
    while class < count {
        let slope = above[row * above.stride(0) + class * above.stride(1)];
        if comptime![how.logarithms] {
            total += slope;
        } else {
            total += slope * made[row * made.stride(0) + class * made.stride(1)];
        }
        class += group;
    }
    total = group::sum(total, how.units, how.group);
    let mut class = lane;
    while class < count {
        let slope = above[row * above.stride(0) + class * above.stride(1)];
        let value = made[row * made.stride(0) + class * made.stride(1)];
        let mut changed = value * (slope - total);
        if comptime![how.logarithms] {
            changed = slope;
            if !is_masked(value) {
                changed -= value.exp() * total;
            }
        }
        out[row * classes + class] = changed * sharpness;
        class += group;
    }
}
