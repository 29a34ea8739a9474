//! `lenet`: LeNet-5 (LeCun, Bottou, Bengio and Haffner 1998, section II.B) in the form it has today: ReLU and maximum
//! pooling, all maps connected, for images of any shape from 12x12 pixels on.
//!
//! In PyTorch: `conv1 = Conv2d(c, 6, 5, padding=2)`, `conv2 = Conv2d(6, 16, 5)`, each followed by ReLU and
//! `MaxPool2d(2)`; `fc1` (120 units) and `fc2` (84) with ReLU; `fc3`.

use super::{large_enough, wrong_sizes};
use crate::error::LearnError;
use crate::layers::{Conv, Linear, flatten, pool_relu};
use crate::mode::Mode;
use crate::registry::{Network, Parameter};
use crate::tensors::Tensors;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use fedstill_schemas::Architecture;
use fedstill_schemas::data::Shape;

struct Lenet {
    convs: [Conv; 2],
    /// Output pixels of each convolution.
    pixels: [usize; 2],
    linears: [Linear; 3],
}

pub(crate) fn lenet(architecture: &Architecture, shape: Shape, classes: u32) -> Result<Box<dyn Network>, LearnError> {
    if !architecture.sizes().is_empty() {
        return Err(wrong_sizes(architecture, "it takes no sizes, write lenet"));
    }
    large_enough(architecture, shape, 12)?;
    let conv = |name: &str, inputs: u32, outputs, padding| Conv {
        name: name.to_owned(),
        inputs: inputs as usize,
        outputs,
        kernel: 5,
        stride: 1,
        padding,
        bias: true,
    };
    let linear = |name: &str, inputs, outputs| Linear {
        name: name.to_owned(),
        inputs,
        outputs,
        bias: true,
    };
    let second = |side: u32| (side / 2 - 4) as usize;
    let (height, width) = (second(shape.height), second(shape.width));
    Ok(Box::new(Lenet {
        convs: [conv("conv1", shape.channels, 6, 2), conv("conv2", 6, 16, 0)],
        pixels: [(shape.height * shape.width) as usize, height * width],
        linears: [
            linear("fc1", 16 * (height / 2) * (width / 2), 120),
            linear("fc2", 120, 84),
            linear("fc3", 84, classes as usize),
        ],
    }))
}

impl Network for Lenet {
    fn parameters(&self) -> Vec<Parameter> {
        let convs = self.convs.iter().flat_map(Conv::parameters);
        convs.chain(self.linears.iter().flat_map(Linear::parameters)).collect()
    }

    fn forward(&self, tensors: &Tensors, images: Tensor<4>, _: &mut Mode) -> Tensor<2> {
        let maps = self
            .convs
            .iter()
            .fold(images, |x, conv| pool_relu(conv.forward(tensors, x)));
        let [first, second, head] = &self.linears;
        let hidden = relu(first.forward(tensors, flatten(maps)));
        head.forward(tensors, relu(second.forward(tensors, hidden)))
    }

    fn head(&self) -> String {
        let [_, _, head] = &self.linears;
        head.weight()
    }

    fn multiply_adds(&self) -> f64 {
        let convs: f64 = self
            .convs
            .iter()
            .zip(self.pixels)
            .map(|(conv, pixels)| conv.multiply_adds(pixels))
            .sum();
        convs + self.linears.iter().map(Linear::multiply_adds).sum::<f64>()
    }
}
