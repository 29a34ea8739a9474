//! `mlp[a,b,..]`: layers of a, b, .. units with ReLU, and a linear head.
//!
//! In PyTorch: `fc1`, `fc2`, .. and the head are `nn.Linear`; the head has the last number.

use super::wrong_sizes;
use crate::error::LearnError;
use crate::layers::{Linear, flatten};
use crate::mode::Mode;
use crate::registry::{Network, Parameter};
use crate::tensors::Tensors;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use fedstill_schemas::Architecture;
use fedstill_schemas::data::Shape;

struct Mlp {
    hidden: Vec<Linear>,
    head: Linear,
}

pub(crate) fn mlp(architecture: &Architecture, shape: Shape, classes: u32) -> Result<Box<dyn Network>, LearnError> {
    let sizes = architecture.sizes();
    if sizes.is_empty() || sizes.contains(&0) {
        return Err(wrong_sizes(
            architecture,
            "write the units of each hidden layer, as in mlp[200] or mlp[200,200]",
        ));
    }
    Ok(perceptron(sizes, shape, classes))
}

/// Hidden layers of so many units each, and a head.
pub(super) fn perceptron(units: &[u32], shape: Shape, classes: u32) -> Box<dyn Network> {
    let mut inputs = shape.len();
    let mut hidden = Vec::new();
    let linear = |number: usize, inputs, outputs| Linear {
        name: format!("fc{number}"),
        inputs,
        outputs,
        bias: true,
    };
    for outputs in units.iter().map(|units| *units as usize) {
        hidden.push(linear(hidden.len() + 1, inputs, outputs));
        inputs = outputs;
    }
    let head = linear(hidden.len() + 1, inputs, classes as usize);
    Box::new(Mlp { hidden, head })
}

impl Network for Mlp {
    fn parameters(&self) -> Vec<Parameter> {
        self.hidden
            .iter()
            .chain([&self.head])
            .flat_map(Linear::parameters)
            .collect()
    }

    fn forward(&self, tensors: &Tensors, images: Tensor<4>, _: &mut Mode) -> Tensor<2> {
        let hidden = self
            .hidden
            .iter()
            .fold(flatten(images), |x, layer| relu(layer.forward(tensors, x)));
        self.head.forward(tensors, hidden)
    }

    fn head(&self) -> String {
        self.head.weight()
    }

    fn multiply_adds(&self) -> f64 {
        self.hidden.iter().chain([&self.head]).map(Linear::multiply_adds).sum()
    }
}
