//! The largest of every 2x2 square, with a hand-written gradient.
//!
//! Burn's pooling takes any window, finds it with index arithmetic for each value, and keeps 64-bit indices; in small
//! networks it takes as long as the convolutions. This one knows its window, and finds the largest value again in the
//! backward pass instead of keeping where it was.

use crate::cpu::max_pool::{self, Sizes};
use crate::flex::{floats, tensor};
use crate::operands::Operation;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;

/// The largest value of every 2x2 square of `rows x channels x height x width`; an odd last row or column is left out.
/// PyTorch's `max_pool2d(2)`: the first of equal values gets the gradient, and NaN stays NaN.
///
/// # Panics
/// If height or width is below 2, the images are not in float32, or a GPU cannot count so many elements, or hold them in a buffer.
pub fn max_pool_2x2(input: Tensor<4>) -> Tensor<4> {
    let [_, _, height, width] = input.dims();
    assert!(
        height > 1 && width > 1,
        "pooling needs two rows and two columns, not {height}x{width}"
    );
    let (operation, dims, device) = (Operation("pooling"), input.dims(), input.device());
    let typed = operation.single("the images", input.dtype());
    let counted = typed.and_then(|()| operation.countable("the images", &dims, &device));
    if let Err(error) = counted.and_then(|()| operation.holdable("the images", &dims, &device)) {
        panic!("{error}");
    }
    Tensor::from_dispatch(<Dispatch as PoolOps>::max_pool_2x2(input.into_dispatch()))
}

#[backend_extension(Autodiff, Flex, Cube: cfg(feature = "gpu"), Fusion: cfg(feature = "fusion"))]
trait PoolOps: Backend {
    /// The pooled values.
    #[fusion(dtype = input, shape = burn::tensor::Shape::new([input[0], input[1], input[2] / 2, input[3] / 2]))]
    fn max_pool_2x2(input: FloatTensor<Self>) -> FloatTensor<Self>;
    /// The gradient with respect to the input, from that with respect to the pooled values.
    #[fusion(dtype = input, shape = input)]
    fn max_pool_2x2_gradient(input: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self>;
}

fn sizes(dims: &[usize]) -> Sizes {
    Sizes {
        height: dims[2],
        width: dims[3],
    }
}

impl PoolOps for Flex {
    fn max_pool_2x2(input: FloatTensor<Self>) -> FloatTensor<Self> {
        let dims = input.shape().to_vec();
        let input = input.to_contiguous();
        let sizes = sizes(&dims);
        let [height, width] = sizes.pooled();
        tensor(max_pool::run(sizes, floats(&input)), &[dims[0], dims[1], height, width])
    }

    fn max_pool_2x2_gradient(input: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        let dims = input.shape().to_vec();
        let (input, gradient) = (input.to_contiguous(), gradient.to_contiguous());
        let result = max_pool::gradient(sizes(&dims), floats(&input), floats(&gradient));
        tensor(result, &dims)
    }
}

#[cfg(feature = "gpu")]
impl PoolOps for burn_cubecl::CubeBackend {
    fn max_pool_2x2(input: FloatTensor<Self>) -> FloatTensor<Self> {
        crate::cube::max_pool::run(input)
    }

    fn max_pool_2x2_gradient(input: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        crate::cube::max_pool::gradient(input, gradient)
    }
}

/// The backward pass of the pooling; its state is the input.
#[derive(Debug)]
struct PoolBackward;

impl<B: PoolOps> Backward<B, 1> for PoolBackward {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [parent] = ops.parents;
        let gradient = gradients.consume::<B>(&ops.node);
        if let Some(parent) = parent {
            gradients.register::<B>(parent.id, B::max_pool_2x2_gradient(ops.state, gradient));
        }
    }
}

impl<B: PoolOps, C: CheckpointStrategy> PoolOps for Autodiff<B, C> {
    fn max_pool_2x2(input: FloatTensor<Self>) -> FloatTensor<Self> {
        match PoolBackward.prepare::<C>([input.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let input = input.into_primitive();
                prepared.finish(input.clone(), B::max_pool_2x2(input))
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::max_pool_2x2(input.into_primitive())),
        }
    }

    fn max_pool_2x2_gradient(input: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        // First order only: what comes out is a constant.
        FloatTensor::<Self>::new(B::max_pool_2x2_gradient(
            input.into_primitive(),
            gradient.into_primitive(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::module::max_pool2d;
    use burn::tensor::ops::MaxPoolOptions;
    use burn::tensor::{Device, TensorData};

    fn vector<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.try_into_vec_as::<f32>().unwrap()
    }

    /// Pooled values, and the gradient of their sum weighted by 1, 2, 3, ...
    fn both(values: Vec<f32>, dims: [usize; 4], pool: impl Fn(Tensor<4>) -> Tensor<4>) -> (Vec<f32>, Vec<f32>) {
        both_on(&Device::flex(), values, dims, pool)
    }

    fn both_on(
        device: &Device,
        values: Vec<f32>,
        dims: [usize; 4],
        pool: impl Fn(Tensor<4>) -> Tensor<4>,
    ) -> (Vec<f32>, Vec<f32>) {
        let input = Tensor::<4>::from_data(TensorData::new(values, dims), device)
            .autodiff()
            .require_grad();
        let pooled = pool(input.clone());
        let shape = pooled.shape();
        let weights: Vec<f32> = (1..=shape.num_elements()).map(|weight| weight as f32).collect();
        let weights = Tensor::<4>::from_data(TensorData::new(weights, shape), device);
        let gradients = (pooled.clone() * weights).sum().backward();
        (vector(pooled.inner()), vector(input.grad(&gradients).unwrap()))
    }

    #[test]
    fn values_and_gradients_are_those_of_burns_own() {
        // One, four and eight squares are taken at a time, and the last ones of a row anew; an odd last row or column is left out.
        for dims in [
            [2, 3, 4, 6],
            [1, 2, 5, 7],
            [3, 1, 2, 2],
            [2, 2, 3, 8],
            [1, 2, 4, 10],
            [2, 1, 6, 16],
            [2, 1, 5, 17],
            [1, 3, 4, 29],
        ] {
            // Few distinct values, so that there are ties everywhere.
            for distinct in [3, 1000] {
                let len: usize = dims.iter().product();
                let values: Vec<f32> = (0..len).map(|i| (i * 7919 % 104_729 % distinct) as f32 - 1.0).collect();
                let own = |input| max_pool2d(input, MaxPoolOptions::new([2, 2]).with_stride([2, 2]));
                let expected = both(values.clone(), dims, own);
                for (name, device) in crate::tests::devices() {
                    let found = both_on(&device, values.clone(), dims, max_pool_2x2);
                    assert_eq!(found, expected, "{dims:?} {distinct} on the {name}");
                }
            }
        }
    }

    #[test]
    fn a_square_of_four_orders() {
        for largest in 0..4 {
            let mut values = vec![1.0, 1.0, 1.0, 1.0];
            values[largest] = 2.0;
            let mut gradient = vec![0.0; 4];
            gradient[largest] = 1.0;
            assert_eq!(both(values, [1, 1, 2, 2], max_pool_2x2), (vec![2.0], gradient));
        }
        assert_eq!(both(vec![1.0; 4], [1, 1, 2, 2], max_pool_2x2).1, [1.0, 0.0, 0.0, 0.0]);
        assert!(both(vec![1.0, f32::NAN, 3.0, 2.0], [1, 1, 2, 2], max_pool_2x2).0[0].is_nan());
    }

    #[test]
    fn squares_beside_each_other_are_pooled_as_each_alone() {
        let bits = |values: Vec<f32>| -> Vec<u32> { values.into_iter().map(f32::to_bits).collect() };
        for (name, device) in crate::tests::devices() {
            // Ties of both zeros, NaN in each place, and infinity.
            let odd = [0.0, -0.0, f32::NAN, 1.0, f32::NEG_INFINITY, -1.0, f32::INFINITY];
            let square =
                |i: usize| -> [f32; 4] { std::array::from_fn(|place| odd[(i * (place + 3) + place) % odd.len()]) };
            for squares in [2, 5, 8, 14] {
                let mut values: Vec<f32> = (0..squares).flat_map(|i| [square(i)[0], square(i)[1]]).collect();
                values.extend((0..squares).flat_map(|i| [square(i)[2], square(i)[3]]));
                let input = Tensor::<4>::from_data(TensorData::new(values, [1, 1, 2, 2 * squares]), &device);
                let together = vector(max_pool_2x2(input));
                for (i, found) in together.into_iter().enumerate() {
                    let [a, b, c, d] = square(i);
                    let alone = Tensor::<4>::from_data(TensorData::new(vec![a, b, c, d], [1, 1, 2, 2]), &device);
                    let alone = vector(max_pool_2x2(alone));
                    assert!(
                        bits(vec![found]) == bits(alone.clone()) || (found.is_nan() && alone[0].is_nan()),
                        "{name}: {found} of {a} {b} {c} {d}, alone {alone:?}"
                    );
                    if name == "cpu" {
                        let number = [a, b, c, d].iter().all(|value| !value.is_nan());
                        assert_eq!(number, !found.is_nan(), "{found} of {a} {b} {c} {d}");
                    }
                }
            }
        }
    }

    #[test]
    fn no_images_have_no_squares() {
        for (_, device) in crate::tests::devices() {
            let (pooled, gradient) = both_on(&device, Vec::new(), [0, 2, 4, 6], max_pool_2x2);
            assert!(pooled.is_empty() && gradient.is_empty());
        }
    }

    #[test]
    #[should_panic(expected = "pooling: the images in")]
    fn another_type_of_floats_is_refused_by_its_name() {
        let _ = max_pool_2x2(Tensor::<4>::zeros([1, 1, 2, 2], &Device::flex()).cast(burn::tensor::DType::F16));
    }

    #[test]
    fn views_are_read_in_their_order() {
        let values: Vec<f32> = (0..24).map(|value| value as f32).collect();
        let input = Tensor::<4>::from_data(TensorData::new(values, [1, 1, 4, 6]), &Device::flex());
        let turned = max_pool_2x2(input.clone().swap_dims(2, 3));
        assert_eq!(vector(turned), vector(max_pool_2x2(input).swap_dims(2, 3)));
    }
}
