//! What can be wrong with the operands of an operation.

/// The operands of an operation do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperandError {
    /// Student and teacher must agree in rows and classes.
    #[error(
        "{operation}: the student's logits are {student:?} and the teacher's {teacher:?}; give both as rows x classes"
    )]
    Teacher {
        /// The operation.
        operation: &'static str,
        /// Rows and classes of the student.
        student: [usize; 2],
        /// Rows and classes of the teacher.
        teacher: [usize; 2],
    },
    /// There must be one value a row.
    #[error("{operation}: there are {rows} rows and {found} {operand}; give one a row")]
    Rows {
        /// The operation.
        operation: &'static str,
        /// Which operand.
        operand: &'static str,
        /// Rows of the logits.
        rows: usize,
        /// Values of the operand.
        found: usize,
    },
    /// A mean over nothing has no value.
    #[error("{operation}: there are no values; give at least one row and one class")]
    Empty {
        /// The operation.
        operation: &'static str,
    },
    /// The kernels take some types, and a device may lack one of them.
    #[error("{operation}: {operand} in {found} cannot be used here; give {must}")]
    Type {
        /// The operation.
        operation: &'static str,
        /// Which operand.
        operand: &'static str,
        /// Its type.
        found: String,
        /// What it may be.
        must: &'static str,
    },
    /// A temperature must be positive and finite.
    #[error("{operation}: the temperature must be positive and finite, not {temperature}")]
    Temperature {
        /// The operation.
        operation: &'static str,
        /// The temperature, as written.
        temperature: String,
    },
    /// An average needs something to divide by.
    #[error("{operation}: the weights must be finite, not negative, and not all zero")]
    Weights {
        /// The operation.
        operation: &'static str,
    },
}
