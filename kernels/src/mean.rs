//! The mean of rows' losses.
//!
//! Burn's own on the CPU adds up the parts of four million values and more as threads finish them: its bits would differ from run
//! to run. On a GPU Burn's is taken: unlike its sum it has no float atomics.

use crate::cpu;
use crate::flex::{floats, tensor};
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};

/// The mean of losses, of which there is one at least: on the CPU always the same bits, whatever threads there are.
pub(crate) fn mean(losses: Tensor<1>) -> Tensor<1> {
    Tensor::from_dispatch(<Dispatch as MeanOps>::mean_of_rows(losses.into_dispatch()))
}

#[backend_extension(Autodiff, Flex, Cube: cfg(feature = "gpu"), Fusion: cfg(feature = "fusion"))]
pub(crate) trait MeanOps: Backend {
    /// The mean of all values: one value.
    #[fusion(dtype = losses, shape = burn::tensor::Shape::new([1]))]
    fn mean_of_rows(losses: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl MeanOps for Flex {
    fn mean_of_rows(losses: FloatTensor<Self>) -> FloatTensor<Self> {
        let losses = losses.to_contiguous();
        let losses = floats(&losses);
        let mean = cpu::wide_sum(losses) / losses.len() as f64;
        tensor(vec![mean as f32], &[1])
    }
}

#[cfg(feature = "gpu")]
impl MeanOps for burn_cubecl::CubeBackend {
    fn mean_of_rows(losses: FloatTensor<Self>) -> FloatTensor<Self> {
        use burn::backend::ops::FloatTensorOps;

        <Self as FloatTensorOps<Self>>::float_mean(losses)
    }
}

/// The backward pass, as Burn's; its state is the losses' shape.
#[derive(Debug)]
struct MeanBackward;

impl<B: MeanOps> Backward<B, 1> for MeanBackward {
    type State = Shape;

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [parent] = ops.parents;
        let mean_gradient = gradients.consume::<B>(&ops.node);
        if let Some(parent) = parent {
            let share = 1.0 / ops.state.num_elements() as f64;
            let device = TensorMetadata::device(&mean_gradient);
            let dtype = TensorMetadata::dtype(&mean_gradient);
            let ones = B::float_ones(ops.state, &device, dtype.into());
            let shares = B::float_mul_scalar(ones, share.into());
            gradients.register::<B>(parent.id, B::float_mul(shares, mean_gradient));
        }
    }
}

impl<B: MeanOps, C: CheckpointStrategy> MeanOps for Autodiff<B, C> {
    fn mean_of_rows(losses: FloatTensor<Self>) -> FloatTensor<Self> {
        let node = losses.node();
        let losses = losses.into_primitive();
        let shape = TensorMetadata::shape(&losses);
        match MeanBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish(shape, B::mean_of_rows(losses)),
            OpsKind::UnTracked(prepared) => prepared.finish(B::mean_of_rows(losses)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    /// More values than Burn adds up one after the other.
    const MANY: usize = 5_000_001;

    #[test]
    fn a_mean_of_five_million_losses_has_the_same_bits_on_any_number_of_threads() {
        let values: Vec<f32> = (0..MANY).map(|i| (i * 7919 % 10_007) as f32 * 1.3e-4).collect();
        let exact = values.iter().map(|value| f64::from(*value)).sum::<f64>() / MANY as f64;
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let data = TensorData::new(values.clone(), [MANY]);
            pool.install(|| mean(Tensor::from_data(data, &Device::flex())).into_scalar::<f32>())
        };
        let alone = run(1);
        assert!(
            (f64::from(alone) - exact).abs() < 1e-6 * exact,
            "{alone} instead of {exact}"
        );
        for _ in 0..5 {
            assert_eq!(run(4).to_bits(), alone.to_bits());
        }
    }

    #[test]
    fn a_mean_of_many_losses_has_the_same_bits_every_time() {
        let values: Vec<f32> = (0..100_001).map(|i| (i * 7919 % 10_007) as f32 * 1.3e-4).collect();
        for (name, device) in crate::tests::devices() {
            let run =
                || mean(Tensor::from_data(TensorData::new(values.clone(), [100_001]), &device)).into_scalar::<f32>();
            let first = run();
            assert!((0..10).all(|_| run().to_bits() == first.to_bits()), "{name}");
        }
    }

    #[test]
    fn the_gradient_of_a_mean_is_an_equal_share_of_its_own() {
        for (name, device) in crate::tests::devices() {
            let losses = Tensor::<1>::from_data([1.0, 5.0, 3.0, 7.0, 4.0], &device)
                .autodiff()
                .require_grad();
            let result = mean(losses.clone());
            let gradients = (result.clone() * 3.0).backward();
            let values = |tensor: Tensor<1>| tensor.try_into_vec_as::<f32>().unwrap();
            assert_eq!(values(result.inner()), [4.0], "{name}");
            let shares = values(losses.grad(&gradients).unwrap());
            assert!(
                shares.iter().all(|share| (share - 0.6).abs() < 1e-6),
                "{name}: {shares:?}"
            );
        }
    }
}
