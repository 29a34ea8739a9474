//! The divergence from softened targets: knowledge distillation.

use crate::OperandError;
use crate::operands::{self, Operation};
use crate::row_loss::{RowLoss, SoftmaxLoss, Teacher, row_loss};
use burn::tensor::{Int, Tensor};

/// What a loss is divided by. The mean of no rows is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// The number of rows.
    BatchMean,
    /// The number of values.
    ElementMean,
    /// Nothing: a loss a row.
    None,
}

/// How a divergence is taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kl {
    /// What logits are divided by: 1e-9 to 1e9.
    pub temperature: f64,
    /// Whether the loss is multiplied by the temperature's square, which keeps the size of the gradient while the
    /// temperature varies (Hinton, Vinyals and Dean 2015, section 2.1).
    pub times_t2: bool,
    /// What the teacher's values are.
    pub teacher: Teacher,
    /// What the loss is divided by.
    pub reduction: Reduction,
}

impl Default for Kl {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            times_t2: false,
            teacher: Teacher::Logits,
            reduction: Reduction::BatchMean,
        }
    }
}

impl Kl {
    /// What a row's divergence is multiplied by.
    pub(crate) fn scale(&self, classes: usize) -> f64 {
        let scale = if self.times_t2 { self.temperature.powi(2) } else { 1.0 };
        match self.reduction {
            Reduction::ElementMean => scale / classes as f64,
            Reduction::BatchMean | Reduction::None => scale,
        }
    }
}

/// `KL(softmax(teacher / t) || softmax(student / t))` in nats, reduced as `kl` says (Hinton, Vinyals and Dean 2015,
/// arXiv:1503.02531, section 2): one value, or `rows` of them.
///
/// Both tensors are `rows x classes`, the student's in float32, the teacher's in float32 or float16; the gradient goes to
/// the student: `(softmax(student / t) - softmax(teacher / t)) / t` times the scale. `weights` are one a row, and a mean
/// is then over their sum; a row of weight 0 counts nothing, whatever it holds. `not_true` are the rows' classes that are left
/// out of both distributions, whatever they hold: the not-true divergence of FedNTD (Lee et al. 2022, arXiv:2106.03097,
/// equation 6). All lie on one device.
///
/// A class of minus infinity has no probability: of the teacher it counts nothing; of the student, where the teacher gives
/// it any, the divergence is infinite and the gradient is not. A row in which either gives no class any probability counts
/// nothing. Finite values give finite gradients, and finite divergences before they are multiplied by the scale or by weights, by
/// which those beyond 1e20 may leave float32: what lies more than 1e25 below the largest of its row, divided by the temperature,
/// counts as that far on the CPU, and on a GPU as at least as far, and finite. Teachers in probabilities are taken as proportions:
/// float16 rounds them. Loss and gradient of a row are NaN where one of its values is no number: NaN, infinity, a negative
/// probability, or, on a GPU, a label that is no class.
///
/// # Errors
/// [`OperandError`] where shapes, types or devices do not fit, a GPU cannot count so many elements or hold their gradient in a
/// buffer, the temperature is not within 1e-9 and 1e9, weights are negative or sum to zero or cannot be read (which waits for them
/// to be computed), or, on the CPU, a label is no class.
pub fn softmax_kl(
    student: Tensor<2>,
    teacher: Tensor<2>,
    kl: Kl,
    weights: Option<Tensor<1>>,
    not_true: Option<Tensor<1, Int>>,
) -> Result<Tensor<1>, OperandError> {
    let operation = Operation("KL divergence");
    let [_, classes] = operation.logits(&student)?;
    operation.teacher(&student, &teacher)?;
    let temperature = operation.temperature(kl.temperature)?;
    let labels = not_true.map(|labels| operation.labels(labels, &student)).transpose()?;
    let weights = weights
        .map(|weights| operation.weights(weights, &student, kl.reduction))
        .transpose()?;
    let what = RowLoss::Softmax(SoftmaxLoss {
        cross_entropy: 0.0,
        kl: operation.factor("the divergence", kl.scale(classes), temperature)?,
        temperature,
        teacher: kl.teacher,
        not_true: labels.is_some(),
    });
    let losses = row_loss(student, Some(teacher), labels, what);
    Ok(operands::reduce(losses, kl.reduction, weights))
}
