//! What can be wrong with the operands of an operation.

/// The operands of an operation do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperandError {
    /// Operands must agree in rows and classes.
    #[error("{operation}: {operand} has the shape {found:?}; the other operands ask for {expected:?}")]
    Shape {
        /// The operation.
        operation: &'static str,
        /// Which operand.
        operand: &'static str,
        /// What it should be.
        expected: Vec<usize>,
        /// What it is.
        found: Vec<usize>,
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
    /// Kernels on a GPU count elements in 32 bits.
    #[error(
        "{operation}: {operand} in the shape {found:?} has more than the {most} elements that kernels on a GPU count; \
         give fewer rows at once"
    )]
    TooManyElements {
        /// The operation.
        operation: &'static str,
        /// Which operand.
        operand: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// How many elements there may be.
        most: usize,
    },
    /// A buffer of a device holds so much at most.
    #[error(
        "{operation}: {operand} in the shape {found:?} would take {bytes} bytes, and a buffer of this device holds {most}; \
         give fewer rows at once"
    )]
    TooManyBytes {
        /// The operation.
        operation: &'static str,
        /// What would be made.
        operand: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// Its bytes.
        bytes: u64,
        /// How many bytes there may be.
        most: u64,
    },
    /// A row without classes has no distribution.
    #[error("{operation}: there are no classes in {operand}; give at least one")]
    NoClasses {
        /// The operation.
        operation: &'static str,
        /// Which operand.
        operand: &'static str,
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
    /// A temperature must be positive, and neither it nor its square may leave float32.
    #[error("{operation}: the temperature must be between 1e-9 and 1e9, not {temperature}")]
    Temperature {
        /// The operation.
        operation: &'static str,
        /// The temperature, as written.
        temperature: String,
    },
    /// A power that sharpens must be positive, and its inverse is a temperature.
    #[error("{operation}: the power must be between 1e-9 and 1e9, not {power}")]
    Power {
        /// The operation.
        operation: &'static str,
        /// The power, as written.
        power: String,
    },
    /// A label must be one of the classes.
    #[error("{operation}: the label of row {row} is {label}; give one of the {classes} classes, from 0 on")]
    Label {
        /// The operation.
        operation: &'static str,
        /// The first row with such a label.
        row: usize,
        /// Its label.
        label: i64,
        /// Classes of the logits.
        classes: usize,
    },
    /// A party is named by its place among all of them.
    #[error("{operation}: there is no party {party}; give one of the {parties}, from 0 on")]
    Party {
        /// The operation.
        operation: &'static str,
        /// The one asked for.
        party: usize,
        /// How many there are.
        parties: usize,
    },
    /// A constant of an operation is out of its range.
    #[error("{operation}: {constant} must be {must}, not {found}")]
    Constant {
        /// The operation.
        operation: &'static str,
        /// Which constant.
        constant: &'static str,
        /// What it may be.
        must: &'static str,
        /// What it is, as written.
        found: String,
    },
    /// Nobody was added to an ensemble.
    #[error("{operation}: there are no parties; add one at least")]
    Nobody {
        /// The operation.
        operation: &'static str,
    },
    /// Operands lie on different devices.
    #[error("{operation}: {operand} is on another device than the other operands; move it there")]
    Device {
        /// The operation.
        operation: &'static str,
        /// Which operand.
        operand: &'static str,
    },
    /// What a loss is multiplied by is taken in float32.
    #[error(
        "{operation}: {operand} would be multiplied by {factor}; its weight, that times the temperature's square where it \
         counts, and either over the temperature, by which the gradient is multiplied, must be numbers of float32"
    )]
    Factor {
        /// The operation.
        operation: &'static str,
        /// Which part of the loss.
        operand: &'static str,
        /// The factor, as written.
        factor: String,
    },
    /// A device did not hand back what is looked at on the host.
    #[error("{operation}: {operand} cannot be read back from the device: {why}")]
    Unreadable {
        /// The operation.
        operation: &'static str,
        /// Which operand.
        operand: &'static str,
        /// What the device said.
        why: String,
    },
    /// An average needs something to divide by.
    #[error("{operation}: the weights must be finite, not negative, and not all zero")]
    Weights {
        /// The operation.
        operation: &'static str,
    },
}
