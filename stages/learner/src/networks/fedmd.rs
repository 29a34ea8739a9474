//! `fedmd[k,l;dropout]` and `fedmd[k,l,m;dropout]`: the networks of FedMD (Li and Wang 2019, arXiv:1910.03581), as its
//! public code has them. Two or three convolutions of so many channels, each with batch norm, ReLU and dropout at that rate,
//! mean pooling between them, and a head without bias, for images of any shape from 3x3 pixels on (12x12 where there are
//! three convolutions).
//!
//! In PyTorch, with two: `conv1 = Conv2d(c, k, 3, padding=1)`, `bn1 = BatchNorm2d(k)`, ReLU, dropout, and
//! `AvgPool2d(2, stride=1)` after the last row and the last column are repeated once (TensorFlow's padding "same", whose
//! means leave the padding out); `conv2 = Conv2d(k, l, 3, stride=2)`, `bn2`, ReLU, dropout;
//! `fc = Linear(l * pixels, classes, bias=False)`. With three: `conv2 = Conv2d(k, l, 2, stride=2)`, after whose dropout
//! comes `AvgPool2d(2)`, and `conv3 = Conv2d(l, m, 3, stride=2)`, `bn3`, ReLU, dropout.
//!
//! First values and the constants of batch norm are PyTorch's, not Keras'. The public code's L2 penalty on the head is
//! `head_l2 = 0.001` of a step.

use super::{large_enough, wrong_sizes};
use crate::error::LearnError;
use crate::layers::{BatchNorm, Conv, Linear, flatten};
use crate::mode::Mode;
use crate::registry::{Network, Parameter};
use crate::tensors::Tensors;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::AvgPoolOptions;
use fedstill_schemas::Architecture;
use fedstill_schemas::data::Shape;

/// The networks of FedMD's ten parties, in their order (Li and Wang 2019, arXiv:1910.03581, by its public code).
pub const FEDMD_PARTIES: [&str; 10] = [
    "fedmd[128,256;0.2]",
    "fedmd[128,384;0.2]",
    "fedmd[128,512;0.2]",
    "fedmd[256,256;0.3]",
    "fedmd[256,512;0.4]",
    "fedmd[64,128,256;0.2]",
    "fedmd[64,128,192;0.2]",
    "fedmd[128,192,256;0.2]",
    "fedmd[128,128,128;0.3]",
    "fedmd[128,128,192;0.3]",
];

struct Fedmd {
    blocks: Vec<Block>,
    dropout: f64,
    head: Linear,
}

struct Block {
    conv: Conv,
    norm: BatchNorm,
    pool: Pool,
    /// Output pixels of the convolution.
    pixels: usize,
}

/// What follows a block's dropout.
#[derive(Clone, Copy)]
enum Pool {
    /// Means of overlapping squares: as many pixels as before.
    Same,
    /// Means of squares side by side: half of each side.
    Half,
    Nothing,
}

pub(crate) fn fedmd(architecture: &Architecture, shape: Shape, classes: u32) -> Result<Box<dyn Network>, LearnError> {
    let dropout = dropout_of(architecture).map_err(|wants| wrong_sizes(architecture, &wants))?;
    let channels = architecture.sizes();
    // Kernel, stride, padding, and what follows.
    let layers: &[(usize, usize, usize, Pool)] = if channels.len() == 2 {
        &[(3, 1, 1, Pool::Same), (3, 2, 0, Pool::Nothing)]
    } else {
        &[(3, 1, 1, Pool::Same), (2, 2, 0, Pool::Half), (3, 2, 0, Pool::Nothing)]
    };
    large_enough(architecture, shape, if channels.len() == 2 { 3 } else { 12 })?;
    let mut inputs = shape.channels as usize;
    let (mut height, mut width) = (shape.height as usize, shape.width as usize);
    let mut blocks = Vec::new();
    for (i, (outputs, (kernel, stride, padding, pool))) in channels.iter().zip(layers).enumerate() {
        let outputs = *outputs as usize;
        let conv = Conv {
            name: format!("conv{}", i + 1),
            inputs,
            outputs,
            kernel: *kernel,
            stride: *stride,
            padding: *padding,
            bias: true,
        };
        let norm = BatchNorm {
            name: format!("bn{}", i + 1),
            channels: outputs,
        };
        (height, width) = (conv.output(height), conv.output(width));
        blocks.push(Block {
            conv,
            norm,
            pool: *pool,
            pixels: height * width,
        });
        if matches!(pool, Pool::Half) {
            (height, width) = (height / 2, width / 2);
        }
        inputs = outputs;
    }
    let head = Linear {
        name: "fc".to_owned(),
        inputs: inputs * height * width,
        outputs: classes as usize,
        bias: false,
    };
    Ok(Box::new(Fedmd { blocks, dropout, head }))
}

/// The dropout rate of a name with two or three convolutions, or what to write in its place.
fn dropout_of(architecture: &Architecture) -> Result<f64, String> {
    let (sizes, dropout) = (architecture.sizes(), architecture.dropout());
    if let ([number], None) = (sizes, dropout)
        && let Some(written) = FEDMD_PARTIES.get(*number as usize)
    {
        return Err(format!(
            "networks have no numbers, write {written} for that of FedMD's party {number}"
        ));
    }
    if !matches!(sizes.len(), 2 | 3) || sizes.contains(&0) {
        return Err(format!(
            "write the channels of its two or three convolutions and the dropout rate, as in {} or {}",
            FEDMD_PARTIES[0], FEDMD_PARTIES[5]
        ));
    }
    dropout.ok_or_else(|| {
        let written = architecture.to_string();
        let sizes = written.trim_end_matches(']');
        format!("write its dropout rate too, as in {sizes};0.2] for the rate that the public code has by default")
    })
}

/// The mean of the square whose first corner is each pixel; what is outside does not count.
pub(super) fn mean_of_squares(maps: Tensor<4>) -> Tensor<4> {
    let options = AvgPoolOptions::new([2, 2])
        .with_stride([1, 1])
        .with_padding_pairs([(0, 1), (0, 1)])
        .with_count_include_pad(false);
    avg_pool2d(maps, options)
}

impl Network for Fedmd {
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
            maps = mode.dropout(relu(maps), self.dropout);
            maps = match block.pool {
                Pool::Same => mean_of_squares(maps),
                Pool::Half => avg_pool2d(maps, AvgPoolOptions::new([2, 2])),
                Pool::Nothing => maps,
            };
        }
        self.head.forward(tensors, flatten(maps))
    }

    fn head(&self) -> String {
        self.head.weight()
    }

    fn multiply_adds(&self) -> f64 {
        let blocks = self.blocks.iter();
        let blocks: f64 = blocks.map(|block| block.conv.multiply_adds(block.pixels)).sum();
        blocks + self.head.multiply_adds()
    }
}
