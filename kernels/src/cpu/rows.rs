//! Rows of tensors on the CPU, and the threads that share them.

use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;
use std::ops::Range;

/// Values from which sharing rows among threads pays.
const PARALLEL: usize = 1 << 15;

/// `rows x classes` values, row-major.
#[derive(Clone, Copy)]
pub(crate) enum Values<'a> {
    Float32(&'a [f32]),
    Float16(&'a [f16]),
}

impl<'a> Values<'a> {
    /// Values in float32: where they lie, or converted into `buffer`, which is as long.
    pub(super) fn range<'b>(&self, range: Range<usize>, buffer: &'b mut [f32]) -> &'b [f32]
    where
        'a: 'b,
    {
        match self {
            Self::Float32(values) => &values[range],
            Self::Float16(values) => {
                values[range].convert_to_f32_slice(buffer);
                buffer
            }
        }
    }
}

/// How many rows are taken at once: short ones so many that loops over all of their values are long, and that what is kept of
/// them stays in the first cache.
pub(super) fn at_once(classes: usize) -> usize {
    (1024 / classes).max(1)
}

/// So many buffers for the rows that are taken at once.
pub(super) fn buffers<const N: usize>(classes: usize) -> [Vec<f32>; N] {
    std::array::from_fn(|_| vec![0.0; at_once(classes) * classes])
}

/// Runs `job` on blocks of rows: it gets the index of the first one, their places in `one` (a value a row), and those in `many`
/// (`width` values a row, or none at all).
pub(super) fn in_blocks(
    one: &mut [f32],
    many: &mut [f32],
    width: usize,
    job: impl Fn(usize, &mut [f32], &mut [f32]) + Sync,
) {
    in_blocks_of(width, one, many, width, job);
}

/// The same where threads share rows by so many values of each, whatever number lies in `many`.
pub(super) fn in_blocks_of(
    classes: usize,
    one: &mut [f32],
    many: &mut [f32],
    width: usize,
    job: impl Fn(usize, &mut [f32], &mut [f32]) + Sync,
) {
    let rows = one.len();
    let threads = rayon::current_num_threads();
    if threads < 2 || rows * classes < PARALLEL || rows < 2 {
        return job(0, one, many);
    }
    let block = rows.div_ceil(threads * 4);
    let blocks = one.par_chunks_mut(block).enumerate();
    if many.is_empty() {
        blocks.for_each(|(i, one)| job(i * block, one, &mut []));
    } else {
        blocks
            .zip(many.par_chunks_mut(block * width))
            .for_each(|((i, one), many)| job(i * block, one, many));
    }
}
