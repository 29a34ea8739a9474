//! `resnet[8]`, `resnet[20]` and `resnet[18]`, and with group norm in place of batch norm `resnetgn[8]`, `resnetgn[20]` and
//! `resnetgn[18]`: residual networks (He, Zhang, Ren and Sun 2015, arXiv:1512.03385), for images of any shape from 4x4
//! pixels on (8x8 for 18).
//!
//! 8 and 20 are those for CIFAR (section 4.2): 6n + 2 layers, in three stages of 16, 32 and 64 maps. 18 is that of table 1,
//! four stages of 64 to 512 maps, with a stem for small images: a 3x3 convolution of stride 1 and no pooling, where that
//! for ImageNet divides both sides by 4. A stage that begins with a stride has a 1x1 convolution as its shortcut (option
//! B), as in the code of FedDF (Lin et al. 2020, arXiv:2006.07242) and others that use these networks; with option A,
//! zeros, ResNet-20 would have 269,722 parameters on CIFAR-10 instead of 272,474.
//!
//! Group norm (Wu and He 2018, arXiv:1803.08494) has 16 groups, as in the public code of FedDF and FedGKD. It keeps no
//! statistics of rows, which differ from party to party and suffer where models are averaged.
//!
//! In PyTorch, by torchvision's names: `conv1 = Conv2d(c, w, 3, padding=1, bias=False)` and `bn1`; blocks `layer1.0`,
//! `layer1.1`, .., `layer2.0`, .. of `conv1`, `bn1`, `conv2`, `bn2` and, where there is a stride, `downsample.0` (the 1x1
//! convolution) and `downsample.1` (its norm); the mean of each map; `fc`. Group norm is `GroupNorm(16, w)` under the names
//! of batch norm. Convolutions begin as torchvision's: `kaiming_normal_(mode="fan_out")`.

use super::{large_enough, wrong_sizes};
use crate::error::LearnError;
use crate::layers::{BatchNorm, Conv, GroupNorm, Linear, mean_of_maps};
use crate::mode::Mode;
use crate::registry::{Init, Network, Parameter};
use crate::tensors::Tensors;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use fedstill_schemas::Architecture;
use fedstill_schemas::data::Shape;

/// Groups of a group norm.
const GROUPS: usize = 16;

struct ResNet {
    stem: Layer,
    /// Output pixels of the stem.
    pixels: usize,
    blocks: Vec<Block>,
    head: Linear,
}

/// What a block adds to its input, or to what its shortcut makes of it.
struct Block {
    first: Layer,
    second: Layer,
    shortcut: Option<Layer>,
    /// Output pixels of each of its convolutions.
    pixels: usize,
}

/// A convolution without bias, and its norm.
struct Layer {
    conv: Conv,
    norm: Norm,
}

enum Norm {
    Batch(BatchNorm),
    Group(GroupNorm),
}

pub(crate) fn resnet(architecture: &Architecture, shape: Shape, classes: u32) -> Result<Box<dyn Network>, LearnError> {
    let norm = |name, channels| Norm::Batch(BatchNorm { name, channels });
    build(architecture, shape, classes, norm)
}

pub(crate) fn resnetgn(
    architecture: &Architecture,
    shape: Shape,
    classes: u32,
) -> Result<Box<dyn Network>, LearnError> {
    let norm = |name, channels| {
        Norm::Group(GroupNorm {
            name,
            groups: GROUPS,
            channels,
        })
    };
    build(architecture, shape, classes, norm)
}

fn build(
    architecture: &Architecture,
    shape: Shape,
    classes: u32,
    norm: impl Fn(String, usize) -> Norm,
) -> Result<Box<dyn Network>, LearnError> {
    // Maps of each stage, and its blocks.
    let (stages, count): (&[usize], usize) = match architecture.sizes() {
        [8] => (&[16, 32, 64], 1),
        [20] => (&[16, 32, 64], 3),
        [18] => (&[64, 128, 256, 512], 2),
        _ => {
            let family = architecture.family();
            let wants = format!("write its depth: {family}[8], {family}[18] or {family}[20]");
            return Err(wrong_sizes(architecture, &wants));
        }
    };
    large_enough(architecture, shape, 1 << (stages.len() - 1))?;
    let layer = |[conv, name]: [String; 2], [inputs, outputs]: [usize; 2], kernel: usize, stride: usize| Layer {
        conv: Conv {
            name: conv,
            inputs,
            outputs,
            kernel,
            stride,
            padding: kernel / 2,
            bias: false,
        },
        norm: norm(name, outputs),
    };
    let (mut height, mut width) = (shape.height as usize, shape.width as usize);
    let mut inputs = stages[0];
    let stem = ["conv1", "bn1"].map(str::to_owned);
    let stem = layer(stem, [shape.channels as usize, inputs], 3, 1);
    let pixels = height * width;
    let mut blocks = Vec::new();
    for (stage, outputs) in stages.iter().copied().enumerate() {
        for block in 0..count {
            let names = |parts: [&str; 2]| parts.map(|part| format!("layer{}.{block}.{part}", stage + 1));
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let maps = [inputs, outputs];
            let first = layer(names(["conv1", "bn1"]), maps, 3, stride);
            (height, width) = (first.conv.output(height), first.conv.output(width));
            blocks.push(Block {
                first,
                second: layer(names(["conv2", "bn2"]), [outputs, outputs], 3, 1),
                shortcut: (stride > 1).then(|| layer(names(["downsample.0", "downsample.1"]), maps, 1, stride)),
                pixels: height * width,
            });
            inputs = outputs;
        }
    }
    let head = Linear {
        name: "fc".to_owned(),
        inputs,
        outputs: classes as usize,
        bias: true,
    };
    Ok(Box::new(ResNet {
        stem,
        pixels,
        blocks,
        head,
    }))
}

impl Layer {
    fn parameters(&self) -> Vec<Parameter> {
        // He et al. 2015 (arXiv:1502.01852), equation 14: gradients keep their variance through ReLU.
        let fan_out = self.conv.outputs * self.conv.kernel * self.conv.kernel;
        let init = Init::Normal {
            std: (2.0 / fan_out as f64).sqrt(),
        };
        let conv = self.conv.parameters().into_iter();
        let conv = conv.map(|parameter| Parameter { init, ..parameter });
        let norm = match &self.norm {
            Norm::Batch(norm) => norm.parameters(),
            Norm::Group(norm) => norm.parameters(),
        };
        conv.chain(norm).collect()
    }

    fn forward(&self, tensors: &Tensors, input: Tensor<4>, mode: &mut Mode) -> Tensor<4> {
        let maps = self.conv.forward(tensors, input);
        match &self.norm {
            Norm::Batch(norm) => norm.forward(tensors, maps, mode),
            Norm::Group(norm) => norm.forward(tensors, maps),
        }
    }
}

impl Block {
    fn layers(&self) -> impl Iterator<Item = &Layer> {
        [&self.first, &self.second].into_iter().chain(&self.shortcut)
    }

    fn forward(&self, tensors: &Tensors, input: Tensor<4>, mode: &mut Mode) -> Tensor<4> {
        let shortcut = match &self.shortcut {
            Some(layer) => layer.forward(tensors, input.clone(), mode),
            None => input.clone(),
        };
        let maps = relu(self.first.forward(tensors, input, mode));
        relu(self.second.forward(tensors, maps, mode) + shortcut)
    }
}

impl Network for ResNet {
    fn parameters(&self) -> Vec<Parameter> {
        let layers = [&self.stem]
            .into_iter()
            .chain(self.blocks.iter().flat_map(Block::layers));
        layers
            .flat_map(Layer::parameters)
            .chain(self.head.parameters())
            .collect()
    }

    fn forward(&self, tensors: &Tensors, images: Tensor<4>, mode: &mut Mode) -> Tensor<2> {
        let mut maps = relu(self.stem.forward(tensors, images, mode));
        for block in &self.blocks {
            maps = block.forward(tensors, maps, mode);
        }
        self.head.forward(tensors, mean_of_maps(maps))
    }

    fn head(&self) -> String {
        self.head.weight()
    }

    fn multiply_adds(&self) -> f64 {
        let of_block = |block: &Block| -> f64 {
            let layers = block.layers();
            layers.map(|layer| layer.conv.multiply_adds(block.pixels)).sum()
        };
        let blocks: f64 = self.blocks.iter().map(of_block).sum();
        self.stem.conv.multiply_adds(self.pixels) + blocks + self.head.multiply_adds()
    }
}
