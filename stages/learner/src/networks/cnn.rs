//! `cnn[a,b,..]`: blocks of a, b, .. channels and a linear head. A block is a 3x3 convolution, batch norm, ReLU, the
//! maximum of every 2x2 square and dropout of 0.2.
//!
//! In PyTorch: `conv1 = Conv2d(c, a, 3, padding=1)`, `bn1 = BatchNorm2d(a)`, `conv2`, `bn2`, ..; the head is
//! `fc = Linear(channels * pixels, classes)`.

use super::{large_enough, wrong_sizes};
use crate::error::LearnError;
use crate::layers::{BatchNorm, Conv, Linear, flatten, pool_relu};
use crate::mode::Mode;
use crate::registry::{Network, Parameter};
use crate::tensors::Tensors;
use burn::tensor::Tensor;
use fedstill_schemas::Architecture;
use fedstill_schemas::data::Shape;

/// The probability that a value is dropped.
const DROPOUT: f64 = 0.2;

struct Cnn {
    blocks: Vec<Block>,
    head: Linear,
}

struct Block {
    conv: Conv,
    norm: BatchNorm,
    /// Output pixels of the convolution.
    pixels: usize,
}

pub(crate) fn cnn(architecture: &Architecture, shape: Shape, classes: u32) -> Result<Box<dyn Network>, LearnError> {
    let sizes = architecture.sizes();
    if sizes.is_empty() || sizes.len() > 16 || sizes.contains(&0) {
        return Err(wrong_sizes(
            architecture,
            "write the channels of 1 to 16 blocks, as in cnn[16,32]",
        ));
    }
    large_enough(architecture, shape, 1 << sizes.len())?;
    let mut inputs = shape.channels as usize;
    let (mut height, mut width) = (shape.height as usize, shape.width as usize);
    let mut blocks = Vec::new();
    for (i, channels) in sizes.iter().enumerate() {
        let outputs = *channels as usize;
        blocks.push(Block {
            conv: Conv {
                name: format!("conv{}", i + 1),
                inputs,
                outputs,
                kernel: 3,
                stride: 1,
                padding: 1,
                bias: true,
            },
            norm: BatchNorm {
                name: format!("bn{}", i + 1),
                channels: outputs,
            },
            pixels: height * width,
        });
        inputs = outputs;
        height /= 2;
        width /= 2;
    }
    let head = Linear {
        name: "fc".to_owned(),
        inputs: inputs * height * width,
        outputs: classes as usize,
        bias: true,
    };
    Ok(Box::new(Cnn { blocks, head }))
}

impl Network for Cnn {
    fn parameters(&self) -> Vec<Parameter> {
        let block = |block: &Block| [block.conv.parameters(), block.norm.parameters()].concat();
        self.blocks
            .iter()
            .flat_map(block)
            .chain(self.head.parameters())
            .collect()
    }

    fn forward(&self, tensors: &Tensors, images: Tensor<4>, mode: &mut Mode) -> Tensor<2> {
        let mut maps = images;
        for block in &self.blocks {
            maps = block.norm.forward(tensors, block.conv.forward(tensors, maps), mode);
            maps = mode.dropout(pool_relu(maps), DROPOUT);
        }
        self.head.forward(tensors, flatten(maps))
    }

    fn head(&self) -> String {
        self.head.weight()
    }

    fn multiply_adds(&self) -> f64 {
        let blocks: f64 = self
            .blocks
            .iter()
            .map(|block| block.conv.multiply_adds(block.pixels))
            .sum();
        blocks + self.head.multiply_adds()
    }
}
