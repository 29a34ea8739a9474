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
    if architecture.sizes().is_empty() || architecture.sizes().contains(&0) {
        return Err(wrong_sizes(
            architecture,
            "write the units of each hidden layer, as in mlp[200] or mlp[200,200]",
        ));
    }
    let mut inputs = shape.len();
    let mut layers: Vec<Linear> = Vec::new();
    for outputs in architecture.sizes().iter().chain([&classes]) {
        let outputs = *outputs as usize;
        layers.push(Linear {
            name: format!("fc{}", layers.len() + 1),
            inputs,
            outputs,
        });
        inputs = outputs;
    }
    let head = layers
        .pop()
        .ok_or_else(|| wrong_sizes(architecture, "it has no layers"))?;
    Ok(Box::new(Mlp { hidden: layers, head }))
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

    fn multiply_adds(&self) -> f64 {
        self.hidden.iter().chain([&self.head]).map(Linear::multiply_adds).sum()
    }
}
