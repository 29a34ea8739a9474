//! `2nn`: the multilayer perceptron of federated averaging (McMahan, Moore, Ramage, Hampson and Agüera y Arcas 2017,
//! arXiv:1602.05629, section 3), two hidden layers of 200 units with ReLU: 199,210 parameters on MNIST.
//!
//! In PyTorch: `fc1 = Linear(pixels, 200)`, `fc2 = Linear(200, 200)` and `fc3 = Linear(200, classes)`, as `mlp[200,200]`.

use super::mlp::perceptron;
use super::wrong_sizes;
use crate::error::LearnError;
use crate::registry::Network;
use fedstill_schemas::Architecture;
use fedstill_schemas::data::Shape;

pub(crate) fn two_nn(architecture: &Architecture, shape: Shape, classes: u32) -> Result<Box<dyn Network>, LearnError> {
    if !architecture.sizes().is_empty() {
        return Err(wrong_sizes(architecture, "it takes no sizes, write 2nn"));
    }
    Ok(perceptron(&[200, 200], shape, classes))
}
