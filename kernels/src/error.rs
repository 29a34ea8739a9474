//! What can be wrong with the operands of an operation.

/// The operands of an operation do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// Logits and target must agree in rows and classes.
    #[error("{operation}: logits are {logits:?} and the target is {target:?}; give both as rows x classes")]
    Target {
        /// The operation.
        operation: &'static str,
        /// Rows and classes of the logits.
        logits: [usize; 2],
        /// Rows and classes of the target.
        target: [usize; 2],
    },
    /// There must be one label a row.
    #[error("{operation}: logits have {rows} rows and there are {labels} labels; give one label a row")]
    Labels {
        /// The operation.
        operation: &'static str,
        /// Rows of the logits.
        rows: usize,
        /// Labels.
        labels: usize,
    },
    /// A mean over nothing has no value.
    #[error("{operation}: there are no values; give at least one row and one class")]
    Empty {
        /// The operation.
        operation: &'static str,
    },
    /// A temperature must be positive and finite.
    #[error("{operation}: the temperature must be positive and finite, not {temperature}")]
    Temperature {
        /// The operation.
        operation: &'static str,
        /// The temperature, as written.
        temperature: String,
    },
}

/// Checks that logits and target are both `rows x classes` and not empty.
pub(crate) fn same_shape(operation: &'static str, logits: [usize; 2], target: [usize; 2]) -> Result<(), ShapeError> {
    if logits != target {
        return Err(ShapeError::Target {
            operation,
            logits,
            target,
        });
    }
    if logits.contains(&0) {
        return Err(ShapeError::Empty { operation });
    }
    Ok(())
}
