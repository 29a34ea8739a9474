//! The loss of each row with its gradient.

use super::{distance, empty, softmax_loss, unused, within_reach};
use crate::row_loss::RowLoss;
use burn::backend::TensorMetadata;
use burn_cubecl::tensor::CubeTensor;

/// Losses, and where they are asked for the gradients of all rows.
pub(crate) fn run(
    student: CubeTensor,
    teacher: CubeTensor,
    labels: CubeTensor,
    what: RowLoss,
    with_gradient: bool,
) -> (CubeTensor, CubeTensor) {
    let [student, teacher, labels] = [student, teacher, labels].map(within_reach);
    let [rows, classes] = student.shape().dims::<2>();
    let losses = empty(&student, [rows]);
    let gradient = if with_gradient {
        empty(&student, [rows, classes])
    } else {
        unused(&student)
    };
    // A tensor that is not looked at may be the student's own: one buffer is bound once.
    let teacher = if what.reads_teacher() {
        teacher
    } else {
        unused(&student)
    };
    let outputs = [losses.clone(), gradient.clone()];
    match what {
        RowLoss::Softmax(what) => softmax_loss::run([student, teacher, labels], outputs, what, with_gradient),
        RowLoss::Absolute => distance::run([student, teacher], outputs, false, with_gradient),
        RowLoss::Squared => distance::run([student, teacher], outputs, true, with_gradient),
    }
    (losses, gradient)
}
