//! Softmax of rows, its logarithm, its entropy, and the gradients of the first two.

use super::group::{self, Shape};
use super::online;
use super::special::{defect, is_masked, with_defect};
use super::{empty, within_reach};
use crate::cpu::softmax::Form;
use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_elem_type;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

/// What a kernel is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Config {
    shape: Shape,
    logarithms: bool,
    entropy: bool,
}

impl Config {
    fn new(shape: Shape, form: Form) -> Self {
        Self {
            shape,
            logarithms: form == Form::Logarithms,
            entropy: form == Form::Entropy,
        }
    }
}

/// What `form` says, of each row.
pub(crate) fn run(logits: CubeTensor, temperature: f32, form: Form) -> CubeTensor {
    let logits = within_reach(logits);
    let [rows, classes] = logits.shape().dims::<2>();
    let client = logits.client.clone();
    let shape = Shape::of(&logits, classes);
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
        Config::new(shape, form),
        kind,
    );
    out
}

/// The gradient with respect to the logits, from what [`run`] gave and the gradient with respect to that.
pub(crate) fn gradient(output: CubeTensor, output_gradient: CubeTensor, temperature: f32, form: Form) -> CubeTensor {
    let [output, output_gradient] = [output, output_gradient].map(within_reach);
    let [rows, classes] = output.shape().dims::<2>();
    let client = output.client.clone();
    let shape = Shape::of(&output, classes);
    let gradient = empty(&output, [rows, classes]);
    softmax_rows_gradient::launch(
        &client,
        shape.cubes(rows),
        shape.cube_dim(),
        output.into_tensor_arg(),
        output_gradient.into_tensor_arg(),
        gradient.clone().into_tensor_arg(),
        rows as u32,
        classes as u32,
        temperature.recip(),
        Config::new(shape, form),
    );
    gradient
}

#[cube(launch)]
fn softmax_rows<T: Float>(
    logits: &Tensor<T>,
    out: &mut Tensor<f32>,
    rows: u32,
    classes: u32,
    inverse_temperature: f32,
    #[comptime] config: Config,
    #[define(T)] _kind: ElemType,
) {
    let (row, lane, count) = group::place(rows, classes, config.shape);
    let step = comptime![config.shape.group as usize];
    let most = online::furthest_half(inverse_temperature);
    let mut maximum = 0.0f32;
    let mut total = 0.0f32;
    let mut fault = 0.0f32;
    // The sum of exponentials, each times its own exponent.
    let mut weighted = 0.0f32;
    let mut class = lane;
    while class < count {
        let value = f32::cast_from(logits[row * logits.stride(0) + class * logits.stride(1)]);
        fault = max(fault, defect(value));
        if !is_masked(value) {
            // Divided by the temperature once the largest is taken off: large logits lose nothing then.
            let exponent = online::exponent(value, maximum, inverse_temperature, most);
            if total == 0.0f32 {
                total = 1.0f32;
                maximum = value;
            } else if exponent > 0.0f32 {
                let shrink = (-exponent).exp();
                weighted = shrink * (weighted - total * exponent);
                total = total * shrink + 1.0f32;
                maximum = value;
            } else {
                let e = exponent.exp();
                total += e;
                weighted += e * exponent;
            }
        }
        class += step;
    }
    let (largest, shift) = online::of_group(maximum, total, inverse_temperature, config.shape);
    let shrink = shift.exp();
    if comptime![config.entropy] {
        weighted = group::sum((weighted + total * shift) * shrink, config.shape);
    }
    total = group::sum(total * shrink, config.shape);
    fault = group::largest(fault, config.shape);
    if comptime![config.entropy] {
        if lane == 0 && count > 0 {
            let mut entropy = 0.0f32;
            if total > 0.0f32 {
                entropy = total.ln() - weighted / total;
            }
            out[row] = with_defect(entropy, fault);
        }
    } else {
        let mut class = lane;
        while class < count {
            let value = f32::cast_from(logits[row * logits.stride(0) + class * logits.stride(1)]);
            let masked = is_masked(value);
            let exponent = online::exponent(value, largest, inverse_temperature, most);
            let mut result = 0.0f32;
            if comptime![config.logarithms] {
                result = exponent - total.ln();
                if masked {
                    // Itself: minus infinity.
                    result = value;
                }
            } else if !masked {
                result = exponent.exp() / total;
            }
            out[row * classes as usize + class] = with_defect(result, fault);
            class += step;
        }
    }
}

#[cube(launch)]
fn softmax_rows_gradient(
    output: &Tensor<f32>,
    output_gradient: &Tensor<f32>,
    gradient: &mut Tensor<f32>,
    rows: u32,
    classes: u32,
    inverse_temperature: f32,
    #[comptime] config: Config,
) {
    let (row, lane, count) = group::place(rows, classes, config.shape);
    let step = comptime![config.shape.group as usize];
    let mut total = 0.0f32;
    let mut class = lane;
    while class < count {
        let slope = output_gradient[row * output_gradient.stride(0) + class * output_gradient.stride(1)];
        if comptime![config.logarithms] {
            total += slope;
        } else {
            total += slope * output[row * output.stride(0) + class * output.stride(1)];
        }
        class += step;
    }
    total = group::sum(total, config.shape);
    let mut class = lane;
    while class < count {
        let slope = output_gradient[row * output_gradient.stride(0) + class * output_gradient.stride(1)];
        let value = output[row * output.stride(0) + class * output.stride(1)];
        let mut result = value * (slope - total);
        if comptime![config.logarithms] {
            result = slope;
            if !is_masked(value) {
                result -= value.exp() * total;
            }
        }
        gradient[row * classes as usize + class] = result * inverse_temperature;
        class += step;
    }
}
