//! Tensors of the CPU's backend as slices, and back.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::TensorData;

/// The values of a contiguous tensor of float32.
pub(crate) fn floats(tensor: &FloatTensor<Flex>) -> &[f32] {
    tensor.as_slice::<f32>().unwrap_or_default()
}

/// A tensor of these values, row-major.
pub(crate) fn tensor(values: Vec<f32>, dims: &[usize]) -> FloatTensor<Flex> {
    FloatTensor::<Flex>::from_data(TensorData::new(values, dims.to_vec()))
}
