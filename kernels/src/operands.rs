//! The checks of operands, and the reduction of rows.

use crate::OperandError;
use crate::devices::largest_buffer;
use crate::kl::Reduction;
use crate::mean::mean;
use crate::row_loss::integers;
use burn::backend::Flex;
use burn::tensor::{DType, Device, Int, Tensor};
use std::fmt::Display;

/// Elements of an operand that kernels on a GPU count, 2^32 - 65,536: their indices have 32 bits, and those of a launch's last
/// units, which a launch of whole rows of 65,535 cubes has beyond what it needs, must not begin anew. So many elements fill whole
/// rows of cubes, whatever power of two a cube's units are, and no fewer elements take more cubes.
pub(crate) const MOST_ON_A_GPU: usize = 65_535 << 16;

/// How an operand is read.
#[derive(Clone, Copy, Debug)]
enum Read {
    /// By kernels, in its own type of floats.
    AsItIs,
    /// Cast to float32 first, from any type of floats.
    Cast,
    /// As classes, by kernels, in its own type of integers.
    Label,
}

/// An operation by its name for people; its methods check operands and say what is wrong with them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation(pub(crate) &'static str);

impl Operation {
    /// Rows and classes of a student's logits, in float32. There may be no rows.
    pub(crate) fn logits(self, logits: &Tensor<2>) -> Result<[usize; 2], OperandError> {
        self.single("the student", logits.dtype())?;
        self.countable("the student", &logits.dims(), &logits.device())?;
        if logits.is_autodiff() {
            self.holdable("the student's gradient", &logits.dims(), &logits.device())?;
        }
        self.has_classes("the student", logits.dims())
    }

    /// An operand in float32.
    pub(crate) fn single(self, operand: &'static str, found: DType) -> Result<(), OperandError> {
        if found != DType::F32 {
            return Err(self.bad_type(operand, found, "float32"));
        }
        Ok(())
    }

    /// An operand whose elements the kernels of its device can count. Every operation asks before it launches: what has no more
    /// elements than such an operand, as labels or a gradient, need not ask.
    pub(crate) fn countable(self, operand: &'static str, shape: &[usize], device: &Device) -> Result<(), OperandError> {
        if is_countable(shape) || device.clone().inner() == Device::flex() {
            return Ok(());
        }
        Err(OperandError::TooManyElements {
            operation: self.0,
            operand,
            found: shape.to_vec(),
            most: MOST_ON_A_GPU,
        })
    }

    /// What an operation makes in float32, of which a buffer of the device holds all. Operands lie in buffers already, but may be
    /// views of fewer values, or of half the width.
    pub(crate) fn holdable(self, operand: &'static str, shape: &[usize], device: &Device) -> Result<(), OperandError> {
        let bytes = shape
            .iter()
            .fold(4_u64, |bytes, size| bytes.saturating_mul(*size as u64));
        match largest_buffer(device) {
            Some(most) if bytes > most => Err(OperandError::TooManyBytes {
                operation: self.0,
                operand,
                found: shape.to_vec(),
                bytes,
                most,
            }),
            _ => Ok(()),
        }
    }

    /// Rows and classes, of which there is one at least.
    pub(crate) fn has_classes(
        self,
        operand: &'static str,
        [rows, classes]: [usize; 2],
    ) -> Result<[usize; 2], OperandError> {
        if classes == 0 {
            return Err(OperandError::NoClasses {
                operation: self.0,
                operand,
            });
        }
        Ok([rows, classes])
    }

    /// A teacher's values are as many as the student's, on the same device, in float32 or float16.
    pub(crate) fn teacher(self, student: &Tensor<2>, teacher: &Tensor<2>) -> Result<(), OperandError> {
        self.shape("the teacher", &student.dims(), &teacher.dims())?;
        self.device("the teacher", &student.device(), &teacher.device())?;
        self.float("the teacher", teacher)
    }

    /// An operand lies where the others do, whether they are recorded for a backward pass or not.
    pub(crate) fn device(self, operand: &'static str, expected: &Device, found: &Device) -> Result<(), OperandError> {
        if expected.clone().inner() != found.clone().inner() {
            return Err(OperandError::Device {
                operation: self.0,
                operand,
            });
        }
        Ok(())
    }

    /// A shape that follows from other operands.
    pub(crate) fn shape(self, operand: &'static str, expected: &[usize], found: &[usize]) -> Result<(), OperandError> {
        if expected != found {
            return Err(OperandError::Shape {
                operation: self.0,
                operand,
                expected: expected.to_vec(),
                found: found.to_vec(),
            });
        }
        Ok(())
    }

    /// Predictions or a target, in a type that is read.
    pub(crate) fn float<const D: usize>(self, operand: &'static str, tensor: &Tensor<D>) -> Result<(), OperandError> {
        let device = tensor.device();
        self.readable(operand, tensor.dtype(), Read::AsItIs, |dtype| {
            device.supports_dtype(dtype)
        })
    }

    /// Weights, in a type that is read: in another one nothing may be launched for them, not even a cast.
    pub(crate) fn weight<const D: usize>(self, operand: &'static str, tensor: &Tensor<D>) -> Result<(), OperandError> {
        let device = tensor.device();
        self.readable(operand, tensor.dtype(), Read::Cast, |dtype| {
            device.supports_dtype(dtype)
        })
    }

    /// A type that is read, by the kernels and by a device that has what `supports` says. Any type can be put on a device; a kernel
    /// for one that its compiler lacks ends the process.
    fn readable(
        self,
        operand: &'static str,
        found: DType,
        read: Read,
        supports: impl FnOnce(DType) -> bool,
    ) -> Result<(), OperandError> {
        let (is_taken, must) = match read {
            Read::AsItIs if found == DType::F16 => (true, "float32"),
            Read::AsItIs => (found == DType::F32, "float32 or float16"),
            Read::Cast => (found.is_float(), "float32"),
            Read::Label => (found.is_int() || found.is_uint(), "int32"),
        };
        if !is_taken || !supports(found) {
            return Err(self.bad_type(operand, found, must));
        }
        Ok(())
    }

    /// A temperature as the kernels take it.
    pub(crate) fn temperature(self, temperature: f64) -> Result<f32, OperandError> {
        // So that neither it nor its inverse nor its square leaves float32. How far logits lie apart, divided by it, may: what takes
        // exponentials of that clamps it.
        if !(1e-9..=1e9).contains(&temperature) {
            return Err(OperandError::Temperature {
                operation: self.0,
                temperature: temperature.to_string(),
            });
        }
        Ok(temperature as f32)
    }

    /// A class a row of the student. On the CPU they are looked at; on a GPU that would wait for them to come back, and rows whose
    /// label is no class become NaN.
    pub(crate) fn labels(self, labels: Tensor<1, Int>, student: &Tensor<2>) -> Result<Tensor<1, Int>, OperandError> {
        let [rows, classes] = student.dims();
        self.one_a_row("labels", labels.dims()[0], rows)?;
        self.device("labels", &student.device(), &labels.device())?;
        let device = labels.device();
        self.readable("labels", labels.dtype(), Read::Label, |dtype| {
            device.supports_dtype(dtype)
        })?;
        let labels = labels.inner();
        if let Ok(on_host) = labels.clone().try_into_primitive::<Flex>() {
            let is_none = |label: &i64| !usize::try_from(*label).is_ok_and(|label| label < classes);
            let given = integers(&on_host);
            if let Some(row) = given.iter().position(is_none) {
                return Err(OperandError::Label {
                    operation: self.0,
                    row,
                    label: given[row],
                    classes,
                });
            }
        }
        Ok(labels)
    }

    /// Weights of the student's rows in float32. Where a mean is taken they are divided by their own, so that it is one over the
    /// weights.
    pub(crate) fn weights(
        self,
        weights: Tensor<1>,
        student: &Tensor<2>,
        reduction: Reduction,
    ) -> Result<Tensor<1>, OperandError> {
        let [rows, _] = student.dims();
        self.one_a_row("weights", weights.dims()[0], rows)?;
        self.device("weights", &student.device(), &weights.device())?;
        self.weight("weights", &weights)?;
        let weights = weights.cast(DType::F32);
        if rows == 0 {
            return Ok(weights);
        }
        let mean = self
            .read("weights", &weights)?
            .iter()
            .map(|weight| f64::from(*weight))
            .sum::<f64>()
            / rows as f64;
        if mean <= 0.0 {
            return Err(self.bad_weights());
        }
        Ok(match reduction {
            Reduction::BatchMean | Reduction::ElementMean => weights.div_scalar(mean),
            Reduction::None => weights,
        })
    }

    /// Weights, which are finite and not negative. Waits for them to be computed.
    pub(crate) fn read<const D: usize>(
        self,
        operand: &'static str,
        weights: &Tensor<D>,
    ) -> Result<Vec<f32>, OperandError> {
        self.weighing(operand, weights.clone().try_into_vec_as::<f32>())
    }

    /// Weights as the device gave them, if it did.
    fn weighing(self, operand: &'static str, given: Result<Vec<f32>, impl Display>) -> Result<Vec<f32>, OperandError> {
        let values = given.map_err(|error| OperandError::Unreadable {
            operation: self.0,
            operand,
            why: error.to_string(),
        })?;
        if values.iter().any(|weight| !weight.is_finite() || *weight < 0.0) {
            return Err(self.bad_weights());
        }
        Ok(values)
    }

    /// What a part of a loss is multiplied by, as the kernels take it. Its gradient is multiplied by that over the temperature.
    pub(crate) fn factor(self, operand: &'static str, factor: f64, temperature: f32) -> Result<f32, OperandError> {
        let narrow = factor as f32;
        // As the kernels multiply: infinity times a probability of 0 would be no number.
        if !(narrow.is_finite() && (narrow * temperature.recip()).is_finite()) {
            return Err(OperandError::Factor {
                operation: self.0,
                operand,
                factor: factor.to_string(),
            });
        }
        Ok(narrow)
    }

    /// A constant of the operation for which this must hold.
    pub(crate) fn constant(
        self,
        constant: &'static str,
        must: &'static str,
        found: impl Display,
        holds: bool,
    ) -> Result<(), OperandError> {
        if !holds {
            return Err(OperandError::Constant {
                operation: self.0,
                constant,
                must,
                found: found.to_string(),
            });
        }
        Ok(())
    }

    /// Values of parties on the host, one slice a party: all of one length, whole rows of so many classes.
    pub(crate) fn slices(self, predictions: &[&[f32]], classes: usize) -> Result<(), OperandError> {
        self.has_classes("the predictions", [predictions.len(), classes])?;
        let Some(first) = predictions.first() else {
            return Ok(());
        };
        let whole_rows = first.len().next_multiple_of(classes);
        for values in predictions {
            self.shape("what a party predicts", &[whole_rows], &[values.len()])?;
        }
        Ok(())
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

/// Whether kernels on a GPU can count the elements of a shape.
fn is_countable(shape: &[usize]) -> bool {
    let elements = shape
        .iter()
        .try_fold(1_usize, |elements, size| elements.checked_mul(*size));
    // Of nothing there is nothing to count, whatever the other sizes multiply to.
    shape.contains(&0) || elements.is_some_and(|elements| elements <= MOST_ON_A_GPU)
}

/// Reduces the losses of rows; weights have a mean of one, and a row of weight 0 counts nothing, whatever its loss. The mean of
/// no rows is 0, with a gradient of no rows: a batch that says nothing moves nothing.
pub(crate) fn reduce(losses: Tensor<1>, reduction: Reduction, weights: Option<Tensor<1>>) -> Tensor<1> {
    let losses = match weights {
        // Infinity times 0 would be no number.
        Some(weights) if losses.dims()[0] > 0 => {
            losses.mask_fill(weights.clone().equal_elem(0.0_f32), 0.0_f32) * weights
        }
        _ => losses,
    };
    match reduction {
        // Divided by their number they would be 0 / 0.
        Reduction::BatchMean | Reduction::ElementMean if losses.dims()[0] == 0 => losses.sum(),
        Reduction::BatchMean | Reduction::ElementMean => mean(losses),
        Reduction::None => losses,
    }
}

#[cfg(test)]
mod tests;
