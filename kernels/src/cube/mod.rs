//! The operations in cubecl: what runs on a GPU.
//!
//! A row is shared by a group of units of one cube, as many as its length pays for: short rows are packed several to a cube,
//! long ones take a cube each. Units of a group read neighbouring values, keep what they saw in registers, and put it together by
//! a tree of fixed shape, within a plane where the device has operations for that and in shared memory otherwise: the same bits
//! on every launch. A row is read once for its statistics and, where its gradient is written, once more, from the cache as far as
//! it fits.
//!
//! A class of minus infinity is found by its bits: a shading language may assume that there is no such number.

#![expect(
    clippy::used_underscore_binding,
    reason = "what defines a kernel's types is read by what the macro makes of it alone"
)]

mod adam;
mod distance;
pub(crate) mod ensemble;
mod group;
pub(crate) mod max_pool;
mod online;
mod probabilities;
pub(crate) mod row_loss;
mod scale;
pub(crate) mod softmax;
mod softmax_loss;
mod special;
mod sum;

pub(crate) use adam::run as adam;
pub(crate) use scale::run as scale_rows;

use crate::operands::MOST_ON_A_GPU;
use burn::tensor::{DType, Shape};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;

/// A tensor of float32 on the device of another, not written yet.
fn empty(like: &CubeTensor, shape: impl Into<Shape>) -> CubeTensor {
    empty_device_contiguous_dtype(like.client.clone(), like.device.clone(), shape.into(), DType::F32)
}

/// What stands for an operand that a kernel does not look at.
fn unused(like: &CubeTensor) -> CubeTensor {
    empty(like, [1])
}

/// A tensor whose places in memory a kernel can count. A view of a larger one, which may reach further than its own elements are
/// many, is copied where it does.
fn within_reach(tensor: CubeTensor) -> CubeTensor {
    if reach(tensor.meta.shape(), tensor.meta.strides()) <= MOST_ON_A_GPU {
        tensor
    } else {
        into_contiguous(tensor)
    }
}

/// Places in memory from the first element of a view to its last.
fn reach(shape: &[usize], strides: &[usize]) -> usize {
    let furthest = shape.iter().zip(strides).fold(0_usize, |furthest, (size, stride)| {
        furthest.saturating_add(size.saturating_sub(1).saturating_mul(*stride))
    });
    furthest.saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_reaches_as_far_as_its_strides_take_it() {
        assert_eq!(reach(&[3, 4], &[4, 1]), 12);
        assert_eq!(reach(&[70_001, 1025], &[0, 1]), 1025, "a row that stands for many");
        // Ten rows of a thousand parties' predictions of 65,536 rows.
        assert!(reach(&[10, 1000, 100], &[100, 6_553_600, 1]) > MOST_ON_A_GPU);
        assert_eq!(reach(&[2, 2], &[usize::MAX, 1]), usize::MAX);
    }
}
