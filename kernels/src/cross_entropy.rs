//! Cross entropy with labels, alone and beside the divergence from a teacher.

use crate::OperandError;
use crate::kl::{Kl, Reduction};
use crate::operands::{self, Operation};
use crate::row_loss::{RowLoss, SoftmaxLoss, Teacher, row_loss};
use burn::tensor::{Int, Tensor};

/// The mean over rows of `-log softmax(logits)[label]`, in nats.
///
/// `logits` are `rows x classes` in float32, `labels` hold one class a row, on the same device. PyTorch's `cross_entropy` with its
/// defaults, but that of no rows it is 0. A row that has NaN or infinity is NaN, and so is its gradient; on a GPU, where labels
/// are not read back, so is one whose label is no class.
///
/// # Errors
/// [`OperandError`] where rows and labels differ in number or in device, there are no classes, the type is another one, a GPU
/// cannot count so many elements or hold their gradient in a buffer, or, on the CPU, a label is no class.
pub fn cross_entropy(logits: Tensor<2>, labels: Tensor<1, Int>) -> Result<Tensor<1>, OperandError> {
    let operation = Operation("cross entropy");
    operation.logits(&logits)?;
    let labels = operation.labels(labels, &logits)?;
    let what = RowLoss::Softmax(SoftmaxLoss {
        cross_entropy: 1.0,
        kl: 0.0,
        temperature: 1.0,
        teacher: Teacher::Logits,
        not_true: false,
    });
    let losses = row_loss(logits, None, Some(labels), what);
    Ok(operands::reduce(losses, Reduction::BatchMean, None))
}

/// `weights[0]` times [`cross_entropy`] plus `weights[1]` times [`crate::softmax_kl`], in one pass over the student's logits:
/// the loss of Hinton, Vinyals and Dean 2015 (arXiv:1503.02531, section 2). `not_true` leaves the label's class out of the
/// divergence, as FedNTD does (Lee et al. 2022, arXiv:2106.03097, equation 7).
///
/// # Errors
/// As theirs, and where a weight, that of the divergence times the temperature's square, or either over the temperature is not
/// finite in float32.
pub fn cross_entropy_kl(
    student: Tensor<2>,
    labels: Tensor<1, Int>,
    teacher: Tensor<2>,
    kl: Kl,
    weights: [f64; 2],
    not_true: bool,
) -> Result<Tensor<1>, OperandError> {
    let operation = Operation("cross entropy and KL divergence");
    let [_, classes] = operation.logits(&student)?;
    operation.teacher(&student, &teacher)?;
    let temperature = operation.temperature(kl.temperature)?;
    let labels = operation.labels(labels, &student)?;
    // The divergence's own reduction is in its scale: the cross entropy is a mean over rows.
    let what = RowLoss::Softmax(SoftmaxLoss {
        cross_entropy: operation.factor("the cross entropy", weights[0], 1.0)?,
        kl: operation.factor("the divergence", weights[1] * kl.scale(classes), temperature)?,
        temperature,
        teacher: kl.teacher,
        not_true,
    });
    let losses = row_loss(student, Some(teacher), Some(labels), what);
    let reduction = match kl.reduction {
        Reduction::BatchMean | Reduction::ElementMean => Reduction::BatchMean,
        Reduction::None => Reduction::None,
    };
    Ok(operands::reduce(losses, reduction, None))
}
