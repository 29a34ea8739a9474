//! Products of matrices that lie in slices, by the crate that Burn multiplies with: on the calling thread, and in the same
//! order every time.

/// A matrix in a slice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    /// From a value to the one below it, and to the one beside it.
    strides: (usize, usize),
}

impl<'a> Matrix<'a> {
    /// `rows x columns` values, row by row.
    pub(super) fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(values.len(), rows * columns, "values of a {rows}x{columns} matrix");
        Self {
            values,
            rows,
            columns,
            strides: (columns, 1),
        }
    }

    pub(super) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            strides: (self.strides.1, self.strides.0),
            ..self
        }
    }
}

/// Writes `left * right` to `out`, row by row, or adds it to what is there.
#[expect(unsafe_code, reason = "the crate takes pointers")]
pub(super) fn multiply(left: Matrix<'_>, right: Matrix<'_>, out: &mut [f32], adds: bool) {
    let (rows, columns, inner) = (left.rows, right.columns, left.columns);
    assert_eq!(
        inner, right.rows,
        "columns of the left matrix and rows of the right one"
    );
    assert_eq!(out.len(), rows * columns, "values of the product");
    let stride = |stride: usize| stride as isize;
    // SAFETY: each matrix' last value lies at `(rows - 1) * strides.0 + (columns - 1) * strides.1`, which is below
    // `rows * columns`, the length of its slice; `out` is borrowed exclusively, and its values are initialised.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            out.as_mut_ptr(),
            1,
            stride(columns),
            adds,
            left.values.as_ptr(),
            stride(left.strides.1),
            stride(left.strides.0),
            right.values.as_ptr(),
            stride(right.strides.1),
            stride(right.strides.0),
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_written_or_added_of_matrices_that_lie_either_way() {
        let left = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let right = [1.0, 0.0, -1.0, 2.0, 1.0, 1.0];
        let mut out = [9.0; 4];
        multiply(Matrix::new(&left, 2, 3), Matrix::new(&right, 3, 2), &mut out, false);
        assert_eq!(out, [2.0, 7.0, 5.0, 16.0]);
        let left = [1.0, 4.0, 2.0, 5.0, 3.0, 6.0];
        let right = [1.0, -1.0, 1.0, 0.0, 2.0, 1.0];
        let (left, right) = (Matrix::new(&left, 3, 2), Matrix::new(&right, 2, 3));
        multiply(left.transposed(), right.transposed(), &mut out, true);
        assert_eq!(out, [4.0, 14.0, 10.0, 32.0]);
    }
}
