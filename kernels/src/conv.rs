//! Convolutions of images, with hand-written gradients.
//!
//! On a CPU Burn finds the gradient of a weight as a convolution of the whole batch turned round, which copies it twice; this
//! one unfolds a few images at a time. On a GPU it is Burn's own.

use crate::cpu::conv::{self, Sizes};
use crate::flex::{floats, tensor};
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;

/// How a kernel goes over images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Values from one place to the next, in both directions; not 0.
    pub stride: usize,
    /// Zeros on each side.
    pub padding: usize,
}

/// The convolution (cross-correlation, as PyTorch's `conv2d`) of `rows x channels x height x width` with a weight of
/// `outputs x channels x height x width` and a bias of `outputs`.
///
/// # Panics
/// If the channels differ, or the kernel is larger than the padded images.
pub fn conv2d(input: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, window: Window) -> Tensor<4> {
    let ([_, channels, height, width], [_, seen, kernel_height, kernel_width]) = (input.dims(), weight.dims());
    assert_eq!(channels, seen, "channels of the images and of the weight");
    let padded = |size: usize| size + 2 * window.padding;
    assert!(
        window.stride > 0 && kernel_height <= padded(height) && kernel_width <= padded(width),
        "a kernel of {kernel_height}x{kernel_width} does not fit {height}x{width} with {window:?}"
    );
    let how = How {
        window,
        is_biased: bias.is_some(),
    };
    // Burn's extensions take no optional tensors: something stands where there is no bias.
    let bias = bias.unwrap_or_else(|| Tensor::zeros([1], &weight.device().inner()));
    Tensor::from_dispatch(<Dispatch as ConvOps>::convolve(
        input.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        how,
    ))
}

#[derive(Clone, Copy, Debug)]
struct How {
    window: Window,
    is_biased: bool,
}

#[cfg(feature = "fusion")]
impl How {
    /// The shape of what comes out of images and a weight of these shapes, which is asked for before anything runs.
    fn out(self, input: &burn::tensor::Shape, weight: &burn::tensor::Shape) -> burn::tensor::Shape {
        let Window { stride, padding } = self.window;
        let places = |size: usize, kernel: usize| (size + 2 * padding - kernel) / stride + 1;
        let [height, width] = [2_usize, 3].map(|side| places(input[side], weight[side]));
        burn::tensor::Shape::new([input[0], weight[0], height, width])
    }
}

#[backend_extension(Autodiff, Flex, Cube: cfg(feature = "gpu"), Fusion: cfg(feature = "fusion"))]
trait ConvOps: Backend {
    /// What comes out.
    #[fusion(dtype = input, shape = how.out(input, weight))]
    fn convolve(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        how: How,
    ) -> FloatTensor<Self>;
    /// The gradient with respect to the input.
    #[fusion(dtype = input, shape = input)]
    fn convolve_input_gradient(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        how: How,
    ) -> FloatTensor<Self>;
    /// The gradient with respect to the weight.
    #[fusion(dtype = weight, shape = weight)]
    fn convolve_weight_gradient(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        how: How,
    ) -> FloatTensor<Self>;
    /// The gradient with respect to the bias.
    #[fusion(dtype = bias, shape = bias)]
    fn convolve_bias_gradient(
        input: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

fn sizes(input: &FloatTensor<Flex>, weight: &FloatTensor<Flex>, how: How) -> Sizes {
    let (input, weight) = (input.shape(), weight.shape());
    Sizes {
        images: input[0],
        channels: input[1],
        height: input[2],
        width: input[3],
        outputs: weight[0],
        kernel: [weight[2], weight[3]],
        stride: how.window.stride,
        padding: how.window.padding,
    }
}

impl ConvOps for Flex {
    fn convolve(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        how: How,
    ) -> FloatTensor<Self> {
        let sizes = sizes(&input, &weight, how);
        let (input, weight, bias) = (input.to_contiguous(), weight.to_contiguous(), bias.to_contiguous());
        let bias = if how.is_biased { floats(&bias) } else { &[] };
        let produced = conv::forward(&sizes, floats(&input), floats(&weight), bias);
        let [height, width] = sizes.out();
        tensor(produced, &[sizes.images, sizes.outputs, height, width])
    }

    fn convolve_input_gradient(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        how: How,
    ) -> FloatTensor<Self> {
        let sizes = sizes(&input, &weight, how);
        let (weight, gradient) = (weight.to_contiguous(), gradient.to_contiguous());
        let result = conv::input_gradient(&sizes, floats(&weight), floats(&gradient));
        tensor(result, &input.shape().to_vec())
    }

    fn convolve_weight_gradient(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        how: How,
    ) -> FloatTensor<Self> {
        let sizes = sizes(&input, &weight, how);
        let (input, gradient) = (input.to_contiguous(), gradient.to_contiguous());
        let result = conv::weight_gradient(&sizes, floats(&input), floats(&gradient));
        tensor(result, &weight.shape().to_vec())
    }

    fn convolve_bias_gradient(
        _input: FloatTensor<Self>,
        _bias: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let gradient = gradient.to_contiguous();
        let dims = gradient.shape();
        let result = conv::bias_gradient(dims[1], dims[2] * dims[3], floats(&gradient));
        tensor(result, &[dims[1]])
    }
}

#[cfg(feature = "gpu")]
mod on_gpu {
    use super::{ConvOps, How};
    use burn::backend::ops::ModuleOps;
    use burn::backend::tensor::FloatTensor;
    use burn::tensor::ops::ConvOptions;
    use burn_cubecl::CubeBackend;

    fn options(how: How) -> ConvOptions<2> {
        let How { window, .. } = how;
        ConvOptions::new([window.stride; 2], [window.padding; 2], [1, 1], 1)
    }

    impl ConvOps for CubeBackend {
        fn convolve(
            input: FloatTensor<Self>,
            weight: FloatTensor<Self>,
            bias: FloatTensor<Self>,
            how: How,
        ) -> FloatTensor<Self> {
            <Self as ModuleOps<Self>>::conv2d(input, weight, how.is_biased.then_some(bias), options(how))
        }

        fn convolve_input_gradient(
            input: FloatTensor<Self>,
            weight: FloatTensor<Self>,
            gradient: FloatTensor<Self>,
            how: How,
        ) -> FloatTensor<Self> {
            <Self as ModuleOps<Self>>::conv2d_x_backward(input, weight, gradient, options(how))
        }

        fn convolve_weight_gradient(
            input: FloatTensor<Self>,
            weight: FloatTensor<Self>,
            gradient: FloatTensor<Self>,
            how: How,
        ) -> FloatTensor<Self> {
            <Self as ModuleOps<Self>>::conv2d_weight_backward(input, weight, gradient, options(how))
        }

        fn convolve_bias_gradient(
            input: FloatTensor<Self>,
            bias: FloatTensor<Self>,
            gradient: FloatTensor<Self>,
        ) -> FloatTensor<Self> {
            <Self as ModuleOps<Self>>::conv2d_bias_backward(input, bias, gradient)
        }
    }
}

/// The backward pass; its state are input, weight and bias.
#[derive(Debug)]
struct ConvBackward;

impl<B: ConvOps> Backward<B, 3> for ConvBackward {
    type State = (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, How);

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [of_input, of_weight, of_bias] = ops.parents;
        let gradient = gradients.consume::<B>(&ops.node);
        let (input, weight, bias, how) = ops.state;
        if let Some(parent) = of_bias {
            let bias = B::convolve_bias_gradient(input.clone(), bias, gradient.clone());
            gradients.register::<B>(parent.id, bias);
        }
        if let Some(parent) = of_weight {
            let weight = B::convolve_weight_gradient(input.clone(), weight.clone(), gradient.clone(), how);
            gradients.register::<B>(parent.id, weight);
        }
        if let Some(parent) = of_input {
            let input = B::convolve_input_gradient(input, weight, gradient, how);
            gradients.register::<B>(parent.id, input);
        }
    }
}

impl<B: ConvOps, C: CheckpointStrategy> ConvOps for Autodiff<B, C> {
    fn convolve(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        how: How,
    ) -> FloatTensor<Self> {
        let nodes = [input.node(), weight.node(), bias.node()];
        let prepared = ConvBackward.prepare::<C>(nodes).compute_bound().stateful();
        let (input, weight, bias) = (input.into_primitive(), weight.into_primitive(), bias.into_primitive());
        match prepared {
            OpsKind::Tracked(prepared) => {
                let state = (input.clone(), weight.clone(), bias.clone(), how);
                prepared.finish(state, B::convolve(input, weight, bias, how))
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::convolve(input, weight, bias, how)),
        }
    }

    // First order only: gradients are constants.
    fn convolve_input_gradient(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        how: How,
    ) -> FloatTensor<Self> {
        let (input, weight) = (input.into_primitive(), weight.into_primitive());
        FloatTensor::<Self>::new(B::convolve_input_gradient(
            input,
            weight,
            gradient.into_primitive(),
            how,
        ))
    }

    fn convolve_weight_gradient(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        how: How,
    ) -> FloatTensor<Self> {
        let (input, weight) = (input.into_primitive(), weight.into_primitive());
        FloatTensor::<Self>::new(B::convolve_weight_gradient(
            input,
            weight,
            gradient.into_primitive(),
            how,
        ))
    }

    fn convolve_bias_gradient(
        input: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (input, bias) = (input.into_primitive(), bias.into_primitive());
        FloatTensor::<Self>::new(B::convolve_bias_gradient(input, bias, gradient.into_primitive()))
    }
}

#[cfg(test)]
mod tests;
