//! Batch norm over the channels of images, with a hand-written gradient.
//!
//! On a CPU Burn puts it together from a dozen operations, some of which turn the whole batch round; this one goes over the
//! values as they lie. On a GPU it is Burn's own.

use crate::cpu::batch_norm::{self, Sizes};
use crate::flex::{floats, tensor};
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;

/// Images that were normalised by their own statistics.
#[derive(Clone, Debug)]
pub struct Normalized {
    /// `rows x channels x height x width`.
    pub images: Tensor<4>,
    /// The mean of each channel; a constant.
    pub mean: Tensor<1>,
    /// The biased variance of each channel; a constant.
    pub variance: Tensor<1>,
}

/// Batch norm in training (Ioffe and Szegedy 2015, arXiv:1502.03167, algorithm 1) of `rows x channels x height x width`, with
/// a weight and a bias for each channel, and `epsilon` added to variances.
///
/// # Panics
/// If weight or bias have another number of values than there are channels.
pub fn batch_norm(input: Tensor<4>, weight: Tensor<1>, bias: Tensor<1>, epsilon: f64) -> Normalized {
    let [_, channels, _, _] = input.dims();
    assert_eq!(
        (weight.dims(), bias.dims()),
        ([channels], [channels]),
        "weight and bias of the channels"
    );
    let (images, mean, variance) = <Dispatch as NormOps>::normalize(
        input.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        epsilon,
    );
    Normalized {
        images: Tensor::from_dispatch(images),
        mean: Tensor::from_dispatch(mean),
        variance: Tensor::from_dispatch(variance),
    }
}

#[backend_extension(Autodiff, Flex, Cube: cfg(feature = "gpu"), Fusion: cfg(feature = "fusion"))]
trait NormOps: Backend {
    /// What comes out, with means and variances.
    #[fusion(meta = |input, weight, _bias, _epsilon| (input.clone(), weight.clone(), weight.clone()))]
    fn normalize(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
    /// The gradients with respect to input, weight and bias.
    #[fusion(meta = |input, weight, _mean, _variance, _gradient, _epsilon| {
        (input.clone(), weight.clone(), weight.clone())
    })]
    fn normalize_gradients(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

fn sizes(dims: &[usize]) -> Sizes {
    Sizes {
        channels: dims[1],
        area: dims[2] * dims[3],
    }
}

impl NormOps for Flex {
    fn normalize(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let dims = input.shape().to_vec();
        let [input, weight, bias] = [input, weight, bias].map(|tensor| tensor.to_contiguous());
        let found = batch_norm::forward(sizes(&dims), floats(&input), floats(&weight), floats(&bias), epsilon);
        let channels = [dims[1]];
        (
            tensor(found.values, &dims),
            tensor(found.mean, &channels),
            tensor(found.variance, &channels),
        )
    }

    fn normalize_gradients(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let dims = input.shape().to_vec();
        let [input, weight, mean, variance, gradient] =
            [input, weight, mean, variance, gradient].map(|tensor| tensor.to_contiguous());
        let found = batch_norm::backward(batch_norm::Backward {
            sizes: sizes(&dims),
            values: floats(&input),
            weight: floats(&weight),
            mean: floats(&mean),
            variance: floats(&variance),
            epsilon,
            gradient: floats(&gradient),
        });
        let channels = [dims[1]];
        (
            tensor(found.values, &dims),
            tensor(found.weight, &channels),
            tensor(found.bias, &channels),
        )
    }
}

#[cfg(feature = "gpu")]
impl NormOps for burn_cubecl::CubeBackend {
    fn normalize(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        use burn::backend::ops::ModuleOps;
        let found = <Self as ModuleOps<Self>>::batch_norm_train(input, weight, bias, epsilon);
        (found.output, found.mean, found.variance)
    }

    fn normalize_gradients(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        use burn::backend::ops::ModuleOps;
        let found =
            <Self as ModuleOps<Self>>::batch_norm_train_backward(input, weight, mean, variance, epsilon, gradient);
        (found.x_grad, found.gamma_grad, found.beta_grad)
    }
}

/// The backward pass; its state are input, weight, means and variances.
#[derive(Debug)]
struct NormBackward;

impl<B: NormOps> Backward<B, 3> for NormBackward {
    type State = (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, f64);

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let parents = ops.parents;
        let gradient = gradients.consume::<B>(&ops.node);
        let (input, weight, mean, variance, epsilon) = ops.state;
        let (input, weight, bias) = B::normalize_gradients(input, weight, mean, variance, gradient, epsilon);
        for (parent, gradient) in parents.into_iter().zip([input, weight, bias]) {
            if let Some(parent) = parent {
                gradients.register::<B>(parent.id, gradient);
            }
        }
    }
}

impl<B: NormOps, C: CheckpointStrategy> NormOps for Autodiff<B, C> {
    fn normalize(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let nodes = [input.node(), weight.node(), bias.node()];
        let prepared = NormBackward.prepare::<C>(nodes).compute_bound().stateful();
        let (input, weight, bias) = (input.into_primitive(), weight.into_primitive(), bias.into_primitive());
        let (output, mean, variance) = B::normalize(input.clone(), weight.clone(), bias, epsilon);
        let output = match prepared {
            OpsKind::Tracked(prepared) => {
                prepared.finish((input, weight, mean.clone(), variance.clone(), epsilon), output)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        };
        (
            output,
            FloatTensor::<Self>::new(mean),
            FloatTensor::<Self>::new(variance),
        )
    }

    fn normalize_gradients(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        // First order only: gradients are constants.
        let (input, weight, bias) = B::normalize_gradients(
            input.into_primitive(),
            weight.into_primitive(),
            mean.into_primitive(),
            variance.into_primitive(),
            gradient.into_primitive(),
            epsilon,
        );
        let constant = FloatTensor::<Self>::new;
        (constant(input), constant(weight), constant(bias))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{assert_near, devices, some, vector};
    use burn::tensor::Device;
    use burn::tensor::module::batch_norm_train;

    const EPSILON: f64 = 1e-5;

    /// What comes out with its statistics, and the gradients of its sum weighted by some values.
    fn all(
        dims: [usize; 4],
        device: &Device,
        norm: impl Fn(Tensor<4>, Tensor<1>, Tensor<1>) -> [Tensor<4>; 1],
    ) -> Vec<Vec<f32>> {
        let input = some(dims, 0, device)
            .mul_scalar(3.0)
            .add_scalar(1.0)
            .autodiff()
            .require_grad();
        let weight = some([dims[1]], 7, device).autodiff().require_grad();
        let bias = some([dims[1]], 9, device).autodiff().require_grad();
        let [out] = norm(input.clone(), weight.clone(), bias.clone());
        let gradients = (out.clone() * some(dims, 5, device).autodiff()).sum().backward();
        vec![
            vector(out.inner()),
            vector(input.grad(&gradients).unwrap()),
            vector(weight.grad(&gradients).unwrap()),
            vector(bias.grad(&gradients).unwrap()),
        ]
    }

    #[test]
    fn values_statistics_and_gradients_are_those_of_burns_own() {
        for (name, device) in devices() {
            for dims in [
                [4, 3, 5, 7],
                [1, 2, 3, 3],
                [16, 8, 28, 28],
                [6, 5, 1, 1],
                [2, 1, 40, 40],
            ] {
                let burns = all(dims, &device, |input, weight, bias| {
                    [batch_norm_train(input, weight, bias, EPSILON).output]
                });
                let found = all(dims, &device, |input, weight, bias| {
                    [batch_norm(input, weight, bias, EPSILON).images]
                });
                assert_near(&found, &burns, &format!("{dims:?} on the {name}"));
                let channel = || some([dims[1]], 7, &device);
                let burns = batch_norm_train(some(dims, 0, &device), channel(), channel(), EPSILON);
                let found = batch_norm(some(dims, 0, &device), channel(), channel(), EPSILON);
                let statistics = |mean, variance| [vector(mean), vector(variance)];
                assert_near(
                    &statistics(found.mean, found.variance),
                    &statistics(burns.mean, burns.variance),
                    "statistics",
                );
            }
        }
    }

    #[test]
    fn a_large_mean_does_not_drown_the_variance() {
        let device = Device::flex();
        let input = some([8, 1, 30, 30], 0, &device).mul_scalar(0.01).add_scalar(1000.0);
        let one = || Tensor::<1>::ones([1], &device);
        let found = batch_norm(input.clone(), one(), one(), EPSILON);
        let values: Vec<f64> = vector(input).into_iter().map(f64::from).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
        let off = (f64::from(vector(found.variance)[0]) - variance).abs() / variance;
        assert!(off < 0.01, "{off}");
    }
}
