//! Rows of tensors on the CPU, and the threads that share them.

use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

/// Values from which sharing rows among threads pays.
const SHARED: usize = 1 << 15;

/// `rows x classes` values, row-major.
#[derive(Clone, Copy)]
pub(crate) enum Values<'a> {
    Float32(&'a [f32]),
    Float16(&'a [f16]),
}

impl Values<'_> {
    /// Copies a row to the start of `to`.
    pub(super) fn row(&self, row: usize, classes: usize, to: &mut [f32]) {
        let range = row * classes..(row + 1) * classes;
        match self {
            Self::Float32(values) => to[..classes].copy_from_slice(&values[range]),
            Self::Float16(values) => values[range].convert_to_f32_slice(&mut to[..classes]),
        }
    }
}

/// Runs `job` on each row of `one` (a value a row) and `many` (`width` values a row, or none at all), with a buffer of
/// `scratch` values a thread.
pub(super) fn for_each(
    one: &mut [f32],
    many: &mut [f32],
    width: usize,
    scratch: usize,
    job: impl Fn(usize, &mut f32, &mut [f32], &mut [f32]) + Sync,
) {
    let rows = one.len();
    let each = if many.is_empty() { 0 } else { width };
    let run = |first: usize, one: &mut [f32], many: &mut [f32]| {
        let mut scratch = vec![0.0; scratch];
        for (i, one) in one.iter_mut().enumerate() {
            job(first + i, one, &mut many[i * each..(i + 1) * each], &mut scratch);
        }
    };
    let threads = rayon::current_num_threads();
    if threads < 2 || rows * width < SHARED || rows < 2 {
        return run(0, one, many);
    }
    let block = rows.div_ceil(threads * 4);
    if many.is_empty() {
        let blocks = one.par_chunks_mut(block).enumerate();
        blocks.for_each(|(i, one)| run(i * block, one, &mut []));
    } else {
        let blocks = one.par_chunks_mut(block).zip(many.par_chunks_mut(block * each));
        blocks
            .enumerate()
            .for_each(|(i, (one, many))| run(i * block, one, many));
    }
}
