//! The largest of every 2x2 square, with a hand-written gradient.
//!
//! Burn's pooling takes any window, finds it with index arithmetic for each value, and keeps 64-bit indices; in small
//! networks it takes as long as the convolutions. This one knows its window, and finds the largest value again in the
//! backward pass instead of keeping where it was.

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
/// If height or width is below 2, or a GPU cannot count so many elements, or hold them in a buffer.
pub fn max_pool_2x2(input: Tensor<4>) -> Tensor<4> {
    let [_, _, height, width] = input.dims();
    assert!(
        height > 1 && width > 1,
        "pooling needs two rows and two columns, not {height}x{width}"
    );
    let (operation, dims, device) = (Operation("pooling"), input.dims(), input.device());
    let counted = operation.countable("the images", &dims, &device);
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

/// Sizes of the input, row-major, and of the output.
struct Sizes {
    height: usize,
    width: usize,
    pooled_height: usize,
    pooled_width: usize,
}

impl Sizes {
    fn of(dims: &[usize]) -> Self {
        let (height, width) = (dims[2], dims[3]);
        Self {
            height,
            width,
            pooled_height: height / 2,
            pooled_width: width / 2,
        }
    }

    /// Both rows of the squares of a row of the output, as far as the squares go.
    fn rows<'a>(&self, image: &'a [f32], row: usize) -> (&'a [[f32; 2]], &'a [[f32; 2]]) {
        let pairs = |row: usize| image[row * self.width..][..2 * self.pooled_width].as_chunks().0;
        (pairs(2 * row), pairs(2 * row + 1))
    }
}

/// Whether a value takes the place of the largest one before it: the first of equal ones stays, NaN always takes it.
fn supersedes(value: f32, best: f32) -> bool {
    (value > best) | value.is_nan()
}

/// The value that is left of two.
fn larger(best: f32, value: f32) -> f32 {
    if supersedes(value, best) { value } else { best }
}

impl PoolOps for Flex {
    fn max_pool_2x2(input: FloatTensor<Self>) -> FloatTensor<Self> {
        let dims = input.shape().to_vec();
        let sizes = Sizes::of(&dims);
        let input = input.to_contiguous();
        let images = floats(&input);
        let mut pooled = Vec::with_capacity(dims[0] * dims[1] * sizes.pooled_height * sizes.pooled_width);
        for image in images.chunks_exact(sizes.height * sizes.width) {
            for row in 0..sizes.pooled_height {
                let (upper, lower) = sizes.rows(image, row);
                let squares = upper.iter().zip(lower);
                pooled.extend(
                    squares.map(|(upper, lower)| larger(larger(larger(upper[0], upper[1]), lower[0]), lower[1])),
                );
            }
        }
        let dims = [dims[0], dims[1], sizes.pooled_height, sizes.pooled_width];
        tensor(pooled, &dims)
    }

    #[expect(
        clippy::needless_bitwise_bool,
        reason = "lazy operators are branches, which are slower here"
    )]
    fn max_pool_2x2_gradient(input: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        let dims = input.shape().to_vec();
        let sizes = Sizes::of(&dims);
        let (input, gradient) = (input.to_contiguous(), gradient.to_contiguous());
        let images = floats(&input);
        let gradients = floats(&gradient);
        let mut result = vec![0.0_f32; images.len()];
        let area = sizes.height * sizes.width;
        let planes = images.chunks_exact(area).zip(result.chunks_exact_mut(area));
        let gradients = gradients.chunks_exact(sizes.pooled_height * sizes.pooled_width);
        for ((image, result), gradient) in planes.zip(gradients) {
            for row in 0..sizes.pooled_height {
                let (upper, lower) = sizes.rows(image, row);
                let gradient = &gradient[row * sizes.pooled_width..][..sizes.pooled_width];
                let (above, below) = result[2 * row * sizes.width..][..2 * sizes.width].split_at_mut(sizes.width);
                let (above, below) = (above.as_chunks_mut::<2>().0, below.as_chunks_mut::<2>().0);
                for (i, gradient) in gradient.iter().enumerate() {
                    let ([a, b], [c, d]) = (upper[i], lower[i]);
                    let largest = larger(larger(larger(a, b), c), d);
                    // Selections without branches, so that several squares are done at once. NaN is equal to nothing,
                    // and leaves the gradient to the last value: not a number either way.
                    let first = a == largest;
                    let second = (b == largest) & !first;
                    let third = (c == largest) & !(first | second);
                    let share = |takes: bool| if takes { *gradient } else { 0.0 };
                    above[i] = [share(first), share(second)];
                    below[i] = [share(third), share(!(first | second | third))];
                }
            }
        }
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
        for dims in [[2, 3, 4, 6], [1, 2, 5, 7], [3, 1, 2, 2], [2, 2, 3, 8]] {
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
    fn views_are_read_in_their_order() {
        let values: Vec<f32> = (0..24).map(|value| value as f32).collect();
        let input = Tensor::<4>::from_data(TensorData::new(values, [1, 1, 4, 6]), &Device::flex());
        let turned = max_pool_2x2(input.clone().swap_dims(2, 3));
        assert_eq!(vector(turned), vector(max_pool_2x2(input).swap_dims(2, 3)));
    }
}
