//! The mean distance of each row from a target, with its gradient.

use super::group::{self, Shape};
use super::special::{INFINITE, defect, is_masked, unless_infinite, with_defect, with_signed_defect};
use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_elem_type;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

/// Writes the mean over classes of the absolute or squared distance, and its gradient where that is asked for.
pub(super) fn run(
    [student, teacher]: [CubeTensor; 2],
    [losses, gradient]: [CubeTensor; 2],
    squared: bool,
    with_gradient: bool,
) {
    let [rows, classes] = student.shape().dims::<2>();
    let client = student.client.clone();
    let shape = Shape::of(&student, classes);
    let kind = dtype_to_elem_type(teacher.dtype);
    mean_distance::launch(
        &client,
        shape.cubes(rows),
        shape.cube_dim(),
        student.into_tensor_arg(),
        teacher.into_tensor_arg(),
        losses.into_tensor_arg(),
        gradient.into_tensor_arg(),
        rows as u32,
        classes as u32,
        squared,
        with_gradient,
        shape,
        kind,
    );
}

#[cube(launch)]
fn mean_distance<T: Float>(
    student: &Tensor<f32>,
    teacher: &Tensor<T>,
    losses: &mut Tensor<f32>,
    gradient: &mut Tensor<f32>,
    rows: u32,
    classes: u32,
    #[comptime] squared: bool,
    #[comptime] with_gradient: bool,
    #[comptime] shape: Shape,
    #[define(T)] _kind: ElemType,
) {
    let (row, lane, count) = group::place(rows, classes, shape);
    let step = comptime![shape.group as usize];
    let share = 1.0f32 / f32::cast_from(classes);
    let mut total = 0.0f32;
    let mut fault = 0.0f32;
    let mut class = lane;
    while class < count {
        let value = student[row * student.stride(0) + class * student.stride(1)];
        let target = f32::cast_from(teacher[row * teacher.stride(0) + class * teacher.stride(1)]);
        let mut here = max(defect(value), defect(target));
        // Where both mask a class they agree. Where one alone does they are infinitely far, and a number stands for the side.
        let mut difference = 0.0f32;
        if is_masked(value) {
            if !is_masked(target) {
                difference = f32::new(-1.0);
                here = max(here, f32::new(INFINITE));
            }
        } else if is_masked(target) {
            difference = 1.0f32;
            here = max(here, f32::new(INFINITE));
        } else {
            difference = value - target;
        }
        fault = max(fault, here);
        let mut slope = 0.0f32;
        if comptime![squared] {
            total += difference * difference;
            slope = with_signed_defect(2.0f32 * share * difference, here);
        } else {
            total += difference.abs();
            if difference > 0.0f32 {
                slope = share;
            } else if difference < 0.0f32 {
                slope = -share;
            }
            slope = with_defect(slope, unless_infinite(here));
        }
        if comptime![with_gradient] {
            gradient[row * classes as usize + class] = slope;
        }
        class += step;
    }
    total = group::sum(total, shape);
    fault = group::largest(fault, shape);
    if lane == 0 && count > 0 {
        losses[row] = with_defect(total * share, fault);
    }
}
