//! Rows, each multiplied by a value: a unit a value of the rows.

use super::group::{elementwise, position};
use super::special::is_nan;
use super::{empty, within_reach};
use burn::backend::TensorMetadata;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

/// The products, where the rows are if nobody else holds them. A row that is multiplied by 0 is all 0, whatever it was.
pub(crate) fn run(rows: CubeTensor, by: CubeTensor) -> CubeTensor {
    let [count, classes] = rows.shape().dims::<2>();
    if count == 0 {
        return rows;
    }
    let (rows, by) = (into_contiguous(rows), within_reach(by));
    let client = rows.client.clone();
    let (cubes, units) = elementwise(&rows);
    if rows.can_mut() {
        let out = rows.clone();
        scale_in_place::launch(
            &client,
            cubes,
            units,
            rows.into_tensor_arg(),
            by.into_tensor_arg(),
            classes as u32,
        );
        return out;
    }
    let out = empty(&rows, rows.shape());
    scale::launch(
        &client,
        cubes,
        units,
        rows.into_tensor_arg(),
        by.into_tensor_arg(),
        out.clone().into_tensor_arg(),
        classes as u32,
    );
    out
}

/// NaN keeps its bits: a shading language may assume that there is none.
#[cube]
fn scaled(value: f32, by: f32) -> f32 {
    let mut result = value * by;
    if is_nan(value) {
        result = value;
    }
    // What does not count may be anything.
    if by == 0.0f32 {
        result = 0.0f32;
    }
    result
}

#[cube(launch)]
fn scale_in_place(rows: &mut Tensor<f32>, by: &Tensor<f32>, classes: u32) {
    let at = position();
    if at >= rows.len() {
        terminate!();
    }
    let row = at / classes as usize;
    rows[at] = scaled(rows[at], by[row * by.stride(0)]);
}

#[cube(launch)]
fn scale(rows: &Tensor<f32>, by: &Tensor<f32>, out: &mut Tensor<f32>, classes: u32) {
    let at = position();
    if at >= out.len() {
        terminate!();
    }
    let row = at / classes as usize;
    out[at] = scaled(rows[at], by[row * by.stride(0)]);
}
