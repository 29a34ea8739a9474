//! The checks of operands, and the reduction of rows.

use crate::OperandError;
use crate::kl::Reduction;
use burn::tensor::{DType, Int, Tensor};

/// An operation by its name for people; its methods check operands and say what is wrong with them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation(pub(crate) &'static str);

impl Operation {
    /// Rows and classes of a student's logits, in float32 and not empty.
    pub(crate) fn logits(self, logits: &Tensor<2>) -> Result<[usize; 2], OperandError> {
        if logits.dtype() != DType::F32 {
            return Err(self.bad_type("the student", logits.dtype(), "float32"));
        }
        self.not_empty(logits.dims())
    }

    /// The same, where anything is in them.
    pub(crate) fn not_empty(self, dims: [usize; 2]) -> Result<[usize; 2], OperandError> {
        if dims.contains(&0) {
            return Err(OperandError::Empty { operation: self.0 });
        }
        Ok(dims)
    }

    /// A teacher's values are as many as the student's, in float32 or float16.
    pub(crate) fn teacher(self, student: &Tensor<2>, teacher: &Tensor<2>) -> Result<(), OperandError> {
        if teacher.dims() != student.dims() {
            return Err(OperandError::Teacher {
                operation: self.0,
                student: student.dims(),
                teacher: teacher.dims(),
            });
        }
        self.float("the teacher", teacher.dtype())
    }

    /// A type that is read.
    pub(crate) fn float(self, operand: &'static str, found: DType) -> Result<(), OperandError> {
        if !matches!(found, DType::F32 | DType::F16) {
            return Err(self.bad_type(operand, found, "float32 or float16"));
        }
        Ok(())
    }

    /// A temperature as the kernels take it.
    pub(crate) fn temperature(self, temperature: f64) -> Result<f32, OperandError> {
        let narrow = temperature as f32;
        // Its reciprocal is what logits are multiplied by.
        if !(narrow.is_normal() && narrow > 0.0 && narrow.recip().is_normal()) {
            return Err(OperandError::Temperature {
                operation: self.0,
                temperature: temperature.to_string(),
            });
        }
        Ok(narrow)
    }

    /// A class a row.
    pub(crate) fn labels(self, labels: Tensor<1, Int>, rows: usize) -> Result<Tensor<1, Int>, OperandError> {
        self.one_a_row("labels", labels.dims()[0], rows)?;
        Ok(labels)
    }

    /// Weights of rows, divided by their mean: a mean over rows is then one over the weights.
    pub(crate) fn weights(self, weights: Tensor<1>, rows: usize) -> Result<Tensor<1>, OperandError> {
        self.one_a_row("weights", weights.dims()[0], rows)?;
        let values = weights.clone().try_into_vec_as::<f32>().unwrap_or_default();
        let mean = self.sum(&values)? / rows as f64;
        Ok(weights.div_scalar(mean))
    }

    /// The sum of weights that can be divided by.
    pub(crate) fn sum(self, weights: &[f32]) -> Result<f64, OperandError> {
        let sum: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        if weights.iter().any(|weight| !weight.is_finite() || *weight < 0.0) || sum <= 0.0 {
            return Err(self.bad_weights());
        }
        Ok(sum)
    }

    pub(crate) fn bad_weights(self) -> OperandError {
        OperandError::Weights { operation: self.0 }
    }

    fn one_a_row(self, operand: &'static str, found: usize, rows: usize) -> Result<(), OperandError> {
        if found != rows {
            return Err(OperandError::Rows {
                operation: self.0,
                operand,
                rows,
                found,
            });
        }
        Ok(())
    }

    fn bad_type(self, operand: &'static str, found: DType, must: &'static str) -> OperandError {
        OperandError::Type {
            operation: self.0,
            operand,
            found: found.name().to_owned(),
            must,
        }
    }
}

/// Reduces the losses of rows; weights have a mean of one.
pub(crate) fn reduce(losses: Tensor<1>, reduction: Reduction, weights: Option<Tensor<1>>) -> Tensor<1> {
    let losses = match weights {
        Some(weights) => losses * weights,
        None => losses,
    };
    match reduction {
        Reduction::BatchMean | Reduction::ElementMean => losses.mean(),
        Reduction::None => losses,
    }
}
