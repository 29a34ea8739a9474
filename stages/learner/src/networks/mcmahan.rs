//! `mcmahan`: the convolutional network of federated averaging (McMahan, Moore, Ramage, Hampson and Agüera y Arcas 2017,
//! arXiv:1602.05629, section 3): 1,663,370 parameters on MNIST, for images of any shape from 4x4 pixels on.
//!
//! In PyTorch: `conv1 = Conv2d(c, 32, 5, padding=2)` and `conv2 = Conv2d(32, 64, 5, padding=2)`, each followed by ReLU and
//! `MaxPool2d(2)`; `fc1` (512 units) with ReLU; `fc2`.

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

struct Mcmahan {
    convs: [Conv; 2],
    /// Output pixels of each convolution.
    pixels: [usize; 2],
    hidden: Linear,
    head: Linear,
}

pub(crate) fn mcmahan(architecture: &Architecture, shape: Shape, classes: u32) -> Result<Box<dyn Network>, LearnError> {
    if !architecture.sizes().is_empty() {
        return Err(wrong_sizes(architecture, "it takes no sizes, write mcmahan"));
    }
    large_enough(architecture, shape, 4)?;
    let conv = |name: &str, inputs, outputs| Conv {
        name: name.to_owned(),
        inputs,
        outputs,
        kernel: 5,
        stride: 1,
        padding: 2,
        bias: true,
    };
    let linear = |name: &str, inputs, outputs| Linear {
        name: name.to_owned(),
        inputs,
        outputs,
        bias: true,
    };
    let (height, width) = (shape.height as usize, shape.width as usize);
    Ok(Box::new(Mcmahan {
        convs: [conv("conv1", shape.channels as usize, 32), conv("conv2", 32, 64)],
        pixels: [height * width, (height / 2) * (width / 2)],
        hidden: linear("fc1", 64 * (height / 4) * (width / 4), 512),
        head: linear("fc2", 512, classes as usize),
    }))
}

impl Network for Mcmahan {
    fn parameters(&self) -> Vec<Parameter> {
        let convs = self.convs.iter().flat_map(Conv::parameters);
        let linears = [&self.hidden, &self.head].into_iter().flat_map(Linear::parameters);
        convs.chain(linears).collect()
    }

    fn forward(&self, tensors: &Tensors, images: Tensor<4>, _: &mut Mode) -> Tensor<2> {
        let maps = self
            .convs
            .iter()
            .fold(images, |x, conv| pool_relu(conv.forward(tensors, x)));
        let hidden = relu(self.hidden.forward(tensors, flatten(maps)));
        self.head.forward(tensors, hidden)
    }

    fn head(&self) -> String {
        self.head.weight()
    }

    fn multiply_adds(&self) -> f64 {
        let convs = self.convs.iter().zip(self.pixels);
        let convs: f64 = convs.map(|(conv, pixels)| conv.multiply_adds(pixels)).sum();
        convs + self.hidden.multiply_adds() + self.head.multiply_adds()
    }
}
