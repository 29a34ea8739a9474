//! The loss of each row of logits against a teacher's and against labels, with its gradient found in the same pass.
//!
//! What reduces rows to one number, and weighs them, is left to Burn: it costs a value a row. The gradient of each row is
//! found with its loss, when somebody will ask for it: the exponentials are there then, and the backward pass only
//! multiplies by the gradient with respect to the losses. Forward reads logits and teacher and writes the gradient,
//! backward reads it and writes it: five passes over memory.

use crate::cpu;
#[cfg(feature = "gpu")]
use crate::cube;
use crate::flex::floats;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{DType, Int, Tensor, TensorData};
use half::f16;

/// What a teacher's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Teacher {
    /// Logits, softened like the student's.
    Logits,
    /// Logarithms of probabilities that are softened already.
    LogProbabilities,
    /// Probabilities that are softened already.
    ///
    /// Zero, of either sign, is no probability; a negative one is no number.
    Probabilities,
}

/// What a row's loss is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum RowLoss {
    /// Cross entropy with labels and divergence from a teacher.
    Softmax(SoftmaxLoss),
    /// The mean over classes of the absolute distance from the teacher's logits.
    Absolute,
    /// The mean over classes of the squared distance from the teacher's logits.
    Squared,
}

impl RowLoss {
    /// Whether it looks at a teacher.
    pub(crate) fn reads_teacher(self) -> bool {
        match self {
            Self::Softmax(what) => what.kl != 0.0,
            Self::Absolute | Self::Squared => true,
        }
    }

    /// Whether it looks at labels.
    pub(crate) fn reads_labels(self) -> bool {
        matches!(self, Self::Softmax(what) if what.cross_entropy != 0.0 || what.not_true)
    }
}

/// What a row's loss is the sum of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SoftmaxLoss {
    /// Weight of the cross entropy with the label; 0 leaves it out.
    pub(crate) cross_entropy: f32,
    /// Weight of the divergence from the teacher; 0 leaves it out.
    pub(crate) kl: f32,
    /// Of the divergence.
    pub(crate) temperature: f32,
    pub(crate) teacher: Teacher,
    /// Whether the divergence leaves out the label's class.
    pub(crate) not_true: bool,
}

/// The rows' losses. Shapes and types were checked. The loss and the gradient of a row are NaN where its label is no class, or where
/// one of the values that count in it is no number, +infinity included.
pub(crate) fn row_loss(
    student: Tensor<2>,
    teacher: Option<Tensor<2>>,
    labels: Option<Tensor<1, Int>>,
    what: RowLoss,
) -> Tensor<1> {
    // What a loss does not look at, something stands for: an operation takes all of its tensors.
    let teacher = teacher.unwrap_or_else(|| student.clone());
    let labels = labels.unwrap_or_else(|| Tensor::zeros([1], &student.device().inner()));
    Tensor::from_dispatch(<Dispatch as RowLossOps>::row_loss(
        student.into_dispatch(),
        teacher.into_dispatch(),
        labels.into_dispatch(),
        what,
    ))
}

#[backend_extension(Autodiff, Flex, Cube: cfg(feature = "gpu"), Fusion: cfg(feature = "fusion"))]
pub(crate) trait RowLossOps: Backend {
    /// A loss a row.
    #[fusion(dtype = student, shape = burn::tensor::Shape::new([student[0]]))]
    fn row_loss(
        student: FloatTensor<Self>,
        teacher: FloatTensor<Self>,
        labels: IntTensor<Self>,
        what: RowLoss,
    ) -> FloatTensor<Self>;
    /// A loss a row, and each row's gradient.
    #[fusion(meta = |student, _teacher, _labels, _what| {
        let rows = burn::tensor::Shape::new([student.shape[0]]);
        (burn::backend::fusion::custom::TensorSpec::new(rows, student.dtype), student.clone())
    })]
    fn row_loss_and_gradient(
        student: FloatTensor<Self>,
        teacher: FloatTensor<Self>,
        labels: IntTensor<Self>,
        what: RowLoss,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
    /// Rows, each multiplied by a value.
    #[fusion(dtype = rows, shape = rows)]
    fn scale_rows(rows: FloatTensor<Self>, by: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// Losses, and gradients where they are asked for, on the CPU.
fn on_cpu(
    student: FloatTensor<Flex>,
    teacher: FloatTensor<Flex>,
    labels: IntTensor<Flex>,
    what: RowLoss,
    with_gradient: bool,
) -> (FloatTensor<Flex>, Option<FloatTensor<Flex>>) {
    let dims = student.shape().to_vec();
    let (student, teacher) = (student.to_contiguous(), teacher.to_contiguous());
    // Of negative ones numbers that no class has.
    let labels: Option<Vec<usize>> = what
        .reads_labels()
        .then(|| integers(&labels).into_iter().map(|label| label as usize).collect());
    let mut losses = vec![0.0; dims[0]];
    let mut gradient = vec![0.0; if with_gradient { dims[0] * dims[1] } else { 0 }];
    let input = cpu::row_loss::Input {
        student: values(&student),
        teacher: what.reads_teacher().then(|| values(&teacher)),
        labels: labels.as_deref(),
        classes: dims[1],
        what,
    };
    cpu::row_loss::run(&input, &mut losses, &mut gradient);
    let losses = FloatTensor::<Flex>::from_data(TensorData::new(losses, [dims[0]]));
    let gradient = with_gradient.then(|| FloatTensor::<Flex>::from_data(TensorData::new(gradient, [dims[0], dims[1]])));
    (losses, gradient)
}

/// The values of a contiguous tensor of float32 or float16.
pub(crate) fn values(tensor: &FloatTensor<Flex>) -> cpu::Values<'_> {
    match tensor.dtype() {
        DType::F16 => cpu::Values::Float16(tensor.as_slice::<f16>().unwrap_or_default()),
        _ => cpu::Values::Float32(tensor.as_slice::<f32>().unwrap_or_default()),
    }
}

/// Values of any integer type.
pub(crate) fn integers(tensor: &IntTensor<Flex>) -> Vec<i64> {
    if let Some(values) = tensor.as_slice::<i64>() {
        return values.to_vec();
    }
    if let Some(values) = tensor.as_slice::<i32>() {
        return values.iter().map(|value| i64::from(*value)).collect();
    }
    tensor.to_contiguous().into_data().iter::<i64>().collect()
}

impl RowLossOps for Flex {
    fn row_loss(
        student: FloatTensor<Self>,
        teacher: FloatTensor<Self>,
        labels: IntTensor<Self>,
        what: RowLoss,
    ) -> FloatTensor<Self> {
        on_cpu(student, teacher, labels, what, false).0
    }

    fn row_loss_and_gradient(
        student: FloatTensor<Self>,
        teacher: FloatTensor<Self>,
        labels: IntTensor<Self>,
        what: RowLoss,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (losses, gradient) = on_cpu(student, teacher, labels, what, true);
        let gradient = gradient.unwrap_or_else(|| losses.clone());
        (losses, gradient)
    }

    fn scale_rows(rows: FloatTensor<Self>, by: FloatTensor<Self>) -> FloatTensor<Self> {
        let classes = rows.shape()[1].max(1);
        // Taken, so that nobody else holds the rows and they are changed where they are.
        let [mut rows, by] = [rows, by].map(|tensor| tensor.to_contiguous());
        cpu::row_loss::scale(rows.storage_mut::<f32>(), floats(&by), classes);
        rows
    }
}

#[cfg(feature = "gpu")]
impl RowLossOps for burn_cubecl::CubeBackend {
    fn row_loss(
        student: FloatTensor<Self>,
        teacher: FloatTensor<Self>,
        labels: IntTensor<Self>,
        what: RowLoss,
    ) -> FloatTensor<Self> {
        cube::row_loss::run(student, teacher, labels, what, false).0
    }

    fn row_loss_and_gradient(
        student: FloatTensor<Self>,
        teacher: FloatTensor<Self>,
        labels: IntTensor<Self>,
        what: RowLoss,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        cube::row_loss::run(student, teacher, labels, what, true)
    }

    fn scale_rows(rows: FloatTensor<Self>, by: FloatTensor<Self>) -> FloatTensor<Self> {
        cube::scale_rows(rows, by)
    }
}

/// The backward pass of the losses; its state is the gradient of each row.
#[derive(Debug)]
struct RowLossBackward;

impl<B: RowLossOps> Backward<B, 1> for RowLossBackward {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [parent] = ops.parents;
        let losses_gradient = gradients.consume::<B>(&ops.node);
        if let Some(parent) = parent {
            gradients.register::<B>(parent.id, B::scale_rows(ops.state, losses_gradient));
        }
    }
}

impl<B: RowLossOps, C: CheckpointStrategy> RowLossOps for Autodiff<B, C> {
    fn row_loss(
        student: FloatTensor<Self>,
        teacher: FloatTensor<Self>,
        labels: IntTensor<Self>,
        what: RowLoss,
    ) -> FloatTensor<Self> {
        // Teacher and labels are constants.
        let teacher = teacher.into_primitive();
        match RowLossBackward
            .prepare::<C>([student.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => {
                let (losses, gradient) = B::row_loss_and_gradient(student.into_primitive(), teacher, labels, what);
                prepared.finish(gradient, losses)
            }
            OpsKind::UnTracked(prepared) => {
                prepared.finish(B::row_loss(student.into_primitive(), teacher, labels, what))
            }
        }
    }

    fn row_loss_and_gradient(
        student: FloatTensor<Self>,
        teacher: FloatTensor<Self>,
        labels: IntTensor<Self>,
        what: RowLoss,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let teacher = teacher.into_primitive();
        let (losses, gradient) = B::row_loss_and_gradient(student.into_primitive(), teacher, labels, what);
        (FloatTensor::<Self>::new(losses), FloatTensor::<Self>::new(gradient))
    }

    fn scale_rows(rows: FloatTensor<Self>, by: FloatTensor<Self>) -> FloatTensor<Self> {
        FloatTensor::<Self>::new(B::scale_rows(rows.into_primitive(), by.into_primitive()))
    }
}
