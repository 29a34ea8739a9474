//! `charlstm[1]` and `charlstm[2]`: the character model of federated averaging on Shakespeare (McMahan, Moore, Ramage,
//! Hampson and Agüera y Arcas 2017, arXiv:1602.05629, section 3), with the vocabulary of LEAF (Caldas et al. 2018,
//! arXiv:1812.01097): one or two layers of LSTM (Hochreiter and Schmidhuber 1997) read a window of text, usually of 80
//! characters, and the last values of the last layer name what follows it; or its values at every position what follows there.
//!
//! In PyTorch: `embedding = Embedding(82, 8)`, `lstm = LSTM(8, 256, layers, batch_first=True)` and
//! `fc = Linear(256, classes)`: `fc(lstm(embedding(tokens))[0][:, -1])`, and at every position
//! `fc(lstm(embedding(tokens))[0]).flatten(0, 1)`. First values are PyTorch's.

use super::wrong_sizes;
use crate::dataset::Values;
use crate::error::LearnError;
use crate::layers::Linear;
use crate::mode::Mode;
use crate::registry::{Init, Network, Parameter};
use crate::tensors::Tensors;
use burn::tensor::activation::sigmoid;
use burn::tensor::{Int, Tensor};
use fedstill_schemas::Architecture;
use fedstill_schemas::data::Shape;

/// Different characters.
const VOCABULARY: usize = 82;
/// Values by which a character enters the first layer.
const EMBEDDING: usize = 8;
/// Values that a layer keeps.
const HIDDEN: usize = 256;

struct CharLstm {
    layers: usize,
    /// Characters of a window.
    length: usize,
    head: Linear,
    /// Whether the head is at every position, and not at the last one alone.
    every_position: bool,
}

pub(crate) fn charlstm(
    architecture: &Architecture,
    shape: Shape,
    classes: u32,
) -> Result<Box<dyn Network>, LearnError> {
    let [layers @ (1 | 2)] = architecture.sizes() else {
        let wants = "write its layers, charlstm[1] or charlstm[2]";
        return Err(wrong_sizes(architecture, wants));
    };
    let Shape {
        channels: 1,
        height: 1,
        width,
    } = shape
    else {
        let (channels, height, width) = (shape.channels, shape.height, shape.width);
        let wants =
            format!("it reads windows of text, 1x1x80 for 80 characters, not images of {channels}x{height}x{width}");
        return Err(wrong_sizes(architecture, &wants));
    };
    Ok(Box::new(CharLstm {
        layers: *layers as usize,
        length: width as usize,
        head: Linear {
            name: "fc".to_owned(),
            inputs: HIDDEN,
            outputs: classes as usize,
            bias: true,
        },
        every_position: false,
    }))
}

/// Values that enter a layer.
fn inputs(layer: usize) -> usize {
    if layer == 0 { EMBEDDING } else { HIDDEN }
}

/// A quarter of a layer: `rows x HIDDEN` values before their nonlinearity, from what enters and what the layer kept.
struct Gate {
    /// `inputs x HIDDEN`.
    input: Tensor<2>,
    /// `HIDDEN x HIDDEN`.
    hidden: Tensor<2>,
    /// `1 x HIDDEN`.
    bias: Tensor<2>,
}

impl Gate {
    /// The gate of that number, in PyTorch's order: input, forget, cell, output.
    ///
    /// Gates are cut from the weights here, once, and not from each character's values: the gradient of a slice is a tensor
    /// of zeros as large as what was cut.
    fn cut(tensors: &Tensors, layer: usize, number: usize) -> Self {
        let weight = |part: &str| -> Tensor<2> {
            let all: Tensor<2> = tensors.get(&format!("lstm.{part}_l{layer}"));
            all.narrow(0, number * HIDDEN, HIDDEN).transpose()
        };
        let bias = |part: &str| -> Tensor<1> {
            let all: Tensor<1> = tensors.get(&format!("lstm.{part}_l{layer}"));
            all.narrow(0, number * HIDDEN, HIDDEN)
        };
        Self {
            input: weight("weight_ih"),
            hidden: weight("weight_hh"),
            bias: (bias("bias_ih") + bias("bias_hh")).unsqueeze::<2>(),
        }
    }

    fn forward(&self, input: &Tensor<2>, hidden: &Tensor<2>) -> Tensor<2> {
        let input = input.clone().matmul(self.input.clone());
        let hidden = hidden.clone().matmul(self.hidden.clone());
        input + hidden + self.bias.clone()
    }
}

/// A layer on its way through a window.
struct Layer {
    gates: [Gate; 4],
    /// What it kept of the characters so far, and gives out: `rows x HIDDEN`.
    hidden: Tensor<2>,
    /// What it kept of them for itself: `rows x HIDDEN`.
    cell: Tensor<2>,
}

impl Layer {
    /// Takes what the next character of each row brings.
    fn take(&mut self, input: &Tensor<2>) {
        let [input, forget, cell, output] = self.gates.each_ref().map(|gate| gate.forward(input, &self.hidden));
        let kept = sigmoid(forget) * self.cell.clone();
        self.cell = kept + sigmoid(input) * cell.tanh();
        self.hidden = sigmoid(output) * self.cell.clone().tanh();
    }
}

impl Network for CharLstm {
    fn parameters(&self) -> Vec<Parameter> {
        let parameter = |name: String, shape, init| Parameter {
            name,
            shape,
            init,
            trainable: true,
        };
        let normal = Init::Normal { std: 1.0 };
        let uniform = Init::Uniform {
            bound: 1.0 / (HIDDEN as f64).sqrt(),
        };
        let mut parameters = vec![parameter(
            "embedding.weight".to_owned(),
            vec![VOCABULARY, EMBEDDING],
            normal,
        )];
        for layer in 0..self.layers {
            for (part, shape) in [
                ("weight_ih", vec![4 * HIDDEN, inputs(layer)]),
                ("weight_hh", vec![4 * HIDDEN, HIDDEN]),
                ("bias_ih", vec![4 * HIDDEN]),
                ("bias_hh", vec![4 * HIDDEN]),
            ] {
                parameters.push(parameter(format!("lstm.{part}_l{layer}"), shape, uniform));
            }
        }
        parameters.extend(self.head.parameters());
        parameters
    }

    fn reads(&self) -> Values {
        Values::Tokens {
            vocabulary: VOCABULARY as u32,
        }
    }

    fn forward(&self, tensors: &Tensors, windows: Tensor<4>, _: &mut Mode) -> Tensor<2> {
        let [rows, _, _, length] = windows.dims();
        let nothing: Tensor<2> = Tensor::zeros([rows, HIDDEN], &windows.device());
        let embedding: Tensor<2> = tensors.get("embedding.weight");
        let mut layers: Vec<Layer> = (0..self.layers)
            .map(|layer| Layer {
                gates: std::array::from_fn(|number| Gate::cut(tensors, layer, number)),
                hidden: nothing.clone(),
                cell: nothing.clone(),
            })
            .collect();
        let tokens: Tensor<2> = windows.reshape([rows, length]);
        let tokens: Tensor<2, Int> = tokens.int();
        let mut last = nothing;
        let mut all = Vec::new();
        for place in 0..length {
            let token: Tensor<1, Int> = tokens.clone().narrow(1, place, 1).reshape([rows]);
            last = embedding.clone().select(0, token);
            for layer in &mut layers {
                layer.take(&last);
                last = layer.hidden.clone();
            }
            if self.every_position {
                all.push(last.clone());
            }
        }
        if self.every_position {
            let hidden: Tensor<3> = Tensor::stack(all, 1);
            last = hidden.reshape([rows * length, HIDDEN]);
        }
        self.head.forward(tensors, last)
    }

    fn at_every_position(mut self: Box<Self>) -> Option<Box<dyn Network>> {
        self.every_position = true;
        Some(self)
    }

    fn head(&self) -> String {
        self.head.weight()
    }

    fn multiply_adds(&self) -> f64 {
        let of_layer = |layer: usize| 4 * HIDDEN * (inputs(layer) + HIDDEN);
        let layers: usize = (0..self.layers).map(of_layer).sum();
        let heads = if self.every_position { self.length } else { 1 };
        (self.length * layers) as f64 + heads as f64 * self.head.multiply_adds()
    }
}
