//! Probabilities of logits, their logarithms, and their entropy.

use crate::OperandError;
use crate::cpu;
use crate::cpu::softmax::Form;
#[cfg(feature = "gpu")]
use crate::cube;
use crate::operands::Operation;
use crate::row_loss::values;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{DType, Tensor, TensorData};

/// `softmax(logits / temperature)` of each row: `rows x classes` in float32, from float32 or float16. A class of minus
/// infinity has no probability; nor has any in a row of nothing else. Of no rows, no rows come out. The gradient has the logits'
/// type.
///
/// # Errors
/// [`OperandError`] where there are no classes, the type is another one, the temperature is not within 1e-9 and 1e9, or a GPU
/// cannot count so many elements or hold what comes out in a buffer.
pub fn softmax(logits: Tensor<2>, temperature: f64) -> Result<Tensor<2>, OperandError> {
    checked(Operation("softmax"), logits, temperature, Form::Probabilities).map(Tensor::from_dispatch)
}

/// The natural logarithm of [`softmax`], exact where that rounds to 0, but of finite logits not below -1e25.
///
/// # Errors
/// As [`softmax`].
pub fn log_softmax(logits: Tensor<2>, temperature: f64) -> Result<Tensor<2>, OperandError> {
    checked(Operation("log softmax"), logits, temperature, Form::Logarithms).map(Tensor::from_dispatch)
}

/// The entropy of each row of [`softmax`], in nats: `rows` values, 0 to `ln classes`. It has no gradient.
///
/// # Errors
/// As [`softmax`].
pub fn entropy(logits: Tensor<2>, temperature: f64) -> Result<Tensor<1>, OperandError> {
    let logits = if logits.is_autodiff() { logits.inner() } else { logits };
    checked(Operation("entropy"), logits, temperature, Form::Entropy).map(Tensor::from_dispatch)
}

fn checked(
    operation: Operation,
    logits: Tensor<2>,
    temperature: f64,
    form: Form,
) -> Result<FloatTensor<Dispatch>, OperandError> {
    operation.float("the logits", &logits)?;
    operation.countable("the logits", &logits.dims(), &logits.device())?;
    if form != Form::Entropy {
        operation.holdable("what comes out", &logits.dims(), &logits.device())?;
    }
    operation.has_classes("the logits", logits.dims())?;
    let temperature = operation.temperature(temperature)?;
    // The gradient of what comes out is in float32; the cast's own brings it into the type of what it is the gradient of.
    let logits = if logits.is_autodiff() && logits.dtype() == DType::F16 {
        logits.cast(DType::F32)
    } else {
        logits
    };
    Ok(<Dispatch as SoftmaxOps>::softmax_rows(
        logits.into_dispatch(),
        temperature,
        form,
    ))
}

#[backend_extension(Autodiff, Flex, Cube: cfg(feature = "gpu"), Fusion: cfg(feature = "fusion"))]
pub(crate) trait SoftmaxOps: Backend {
    /// What `form` says, of each row: in float32 from float16 too.
    #[fusion(dtype = burn::tensor::DType::F32, shape = if *form == Form::Entropy {
        burn::tensor::Shape::new([logits[0]])
    } else {
        logits.clone()
    })]
    fn softmax_rows(logits: FloatTensor<Self>, temperature: f32, form: Form) -> FloatTensor<Self>;
    /// The gradient with respect to the logits.
    #[fusion(dtype = output, shape = output)]
    fn softmax_rows_gradient(
        output: FloatTensor<Self>,
        output_gradient: FloatTensor<Self>,
        temperature: f32,
        form: Form,
    ) -> FloatTensor<Self>;
}

impl SoftmaxOps for Flex {
    fn softmax_rows(logits: FloatTensor<Self>, temperature: f32, form: Form) -> FloatTensor<Self> {
        let dims = logits.shape().to_vec();
        let logits = logits.to_contiguous();
        let shape = if form == Form::Entropy {
            vec![dims[0]]
        } else {
            dims.clone()
        };
        let mut out = vec![0.0; shape.iter().product()];
        cpu::softmax::run(values(&logits), dims[1], temperature, form, &mut out);
        FloatTensor::<Self>::from_data(TensorData::new(out, shape))
    }

    fn softmax_rows_gradient(
        output: FloatTensor<Self>,
        output_gradient: FloatTensor<Self>,
        temperature: f32,
        form: Form,
    ) -> FloatTensor<Self> {
        let dims = output.shape().to_vec();
        let (output, output_gradient) = (output.to_contiguous(), output_gradient.to_contiguous());
        let [output, output_gradient] =
            [&output, &output_gradient].map(|tensor| tensor.as_slice::<f32>().unwrap_or_default());
        let mut out = vec![0.0; output.len()];
        cpu::softmax::gradient(output, output_gradient, dims[1], temperature, form, &mut out);
        FloatTensor::<Self>::from_data(TensorData::new(out, dims))
    }
}

#[cfg(feature = "gpu")]
impl SoftmaxOps for burn_cubecl::CubeBackend {
    fn softmax_rows(logits: FloatTensor<Self>, temperature: f32, form: Form) -> FloatTensor<Self> {
        cube::softmax::run(logits, temperature, form)
    }

    fn softmax_rows_gradient(
        output: FloatTensor<Self>,
        output_gradient: FloatTensor<Self>,
        temperature: f32,
        form: Form,
    ) -> FloatTensor<Self> {
        cube::softmax::gradient(output, output_gradient, temperature, form)
    }
}

/// The backward pass; its state is what came out.
#[derive(Debug)]
struct SoftmaxBackward;

impl<B: SoftmaxOps> Backward<B, 1> for SoftmaxBackward {
    type State = (FloatTensor<B>, f32, Form);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [parent] = ops.parents;
        let output_gradient = gradients.consume::<B>(&ops.node);
        let (output, temperature, form) = ops.state;
        if let Some(parent) = parent {
            gradients.register::<B>(
                parent.id,
                B::softmax_rows_gradient(output, output_gradient, temperature, form),
            );
        }
    }
}

impl<B: SoftmaxOps, C: CheckpointStrategy> SoftmaxOps for Autodiff<B, C> {
    fn softmax_rows(logits: FloatTensor<Self>, temperature: f32, form: Form) -> FloatTensor<Self> {
        let node = logits.node();
        let output = B::softmax_rows(logits.into_primitive(), temperature, form);
        match SoftmaxBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish((output.clone(), temperature, form), output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }

    fn softmax_rows_gradient(
        output: FloatTensor<Self>,
        output_gradient: FloatTensor<Self>,
        temperature: f32,
        form: Form,
    ) -> FloatTensor<Self> {
        // First order only: what comes out is a constant.
        FloatTensor::<Self>::new(B::softmax_rows_gradient(
            output.into_primitive(),
            output_gradient.into_primitive(),
            temperature,
            form,
        ))
    }
}
