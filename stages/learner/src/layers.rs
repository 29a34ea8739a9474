//! The layers that the built-in networks are made of: their parameters, in PyTorch's names, layouts and first values,
//! and what they compute.

use crate::mode::{EPSILON, Mode};
use crate::registry::{Init, Parameter};
use crate::tensors::Tensors;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use fedstill_kernels::{Window, conv2d, max_pool_2x2};

/// A weight and, where there is one, a bias with PyTorch's default first values: He et al. 2015 (arXiv:1502.01852) with
/// `a = sqrt(5)`, which is uniform within `1 / sqrt(fan_in)` for both.
fn weight_and_bias(name: &str, weight: Vec<usize>, bias: bool) -> Vec<Parameter> {
    let outputs = weight[0];
    let fan_in: usize = weight[1..].iter().product();
    let init = Init::Uniform {
        bound: 1.0 / (fan_in as f64).sqrt(),
    };
    let parameter = |part, shape| Parameter {
        name: format!("{name}.{part}"),
        shape,
        init,
        trainable: true,
    };
    let mut parameters = vec![parameter("weight", weight)];
    if bias {
        parameters.push(parameter("bias", vec![outputs]));
    }
    parameters
}

/// A 2-d convolution: `torch.nn.Conv2d`.
#[derive(Debug)]
pub(crate) struct Conv {
    pub(crate) name: String,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
    pub(crate) bias: bool,
}

impl Conv {
    pub(crate) fn parameters(&self) -> Vec<Parameter> {
        let weight = vec![self.outputs, self.inputs, self.kernel, self.kernel];
        weight_and_bias(&self.name, weight, self.bias)
    }

    pub(crate) fn forward(&self, tensors: &Tensors, input: Tensor<4>) -> Tensor<4> {
        let window = Window {
            stride: self.stride,
            padding: self.padding,
        };
        let weight = tensors.get(&format!("{}.weight", self.name));
        let bias = self.bias.then(|| tensors.get(&format!("{}.bias", self.name)));
        conv2d(input, weight, bias, window)
    }

    /// The side of the maps that come out, from that of those that go in, which the kernel must fit with its padding.
    pub(crate) fn output(&self, side: usize) -> usize {
        (side + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// Multiply-adds for an output of `pixels`.
    pub(crate) fn multiply_adds(&self, pixels: usize) -> f64 {
        (self.inputs * self.kernel * self.kernel * self.outputs * pixels) as f64
    }
}

/// Batch norm over the channels of images: `torch.nn.BatchNorm2d`.
#[derive(Debug)]
pub(crate) struct BatchNorm {
    pub(crate) name: String,
    pub(crate) channels: usize,
}

impl BatchNorm {
    pub(crate) fn parameters(&self) -> Vec<Parameter> {
        let parameter = |part, init, trainable| Parameter {
            name: format!("{}.{part}", self.name),
            shape: if init == Init::Counter {
                Vec::new()
            } else {
                vec![self.channels]
            },
            init,
            trainable,
        };
        vec![
            parameter("weight", Init::Constant(1.0), true),
            parameter("bias", Init::Constant(0.0), true),
            parameter("running_mean", Init::Constant(0.0), false),
            parameter("running_var", Init::Constant(1.0), false),
            parameter("num_batches_tracked", Init::Counter, false),
        ]
    }

    pub(crate) fn forward(&self, tensors: &Tensors, input: Tensor<4>, mode: &mut Mode) -> Tensor<4> {
        mode.batch_norm(tensors, &self.name, input)
    }
}

/// Group norm (Wu and He 2018, arXiv:1803.08494, equations 1 and 2) of images: `torch.nn.GroupNorm`. Every image is
/// normalised by itself, so that training and evaluation are alike.
#[derive(Debug)]
pub(crate) struct GroupNorm {
    pub(crate) name: String,
    /// Groups of consecutive channels; a divisor of their number.
    pub(crate) groups: usize,
    pub(crate) channels: usize,
}

impl GroupNorm {
    pub(crate) fn parameters(&self) -> Vec<Parameter> {
        let parameter = |part, constant| Parameter {
            name: format!("{}.{part}", self.name),
            shape: vec![self.channels],
            init: Init::Constant(constant),
            trainable: true,
        };
        vec![parameter("weight", 1.0), parameter("bias", 0.0)]
    }

    pub(crate) fn forward(&self, tensors: &Tensors, input: Tensor<4>) -> Tensor<4> {
        let [rows, channels, height, width] = input.dims();
        let part = |part: &str| -> Tensor<4> {
            let values: Tensor<1> = tensors.get(&format!("{}.{part}", self.name));
            values.reshape([1, channels, 1, 1])
        };
        let (weight, bias) = (part("weight"), part("bias"));
        let values: Tensor<3> = input.reshape([rows, self.groups, channels / self.groups * height * width]);
        let mean = values.clone().mean_dim(2);
        let centred = values - mean;
        // The biased variance, as PyTorch's.
        let variance = (centred.clone() * centred.clone()).mean_dim(2);
        let normalised = centred / variance.add_scalar(EPSILON).sqrt();
        let normalised: Tensor<4> = normalised.reshape([rows, channels, height, width]);
        normalised * weight + bias
    }
}

/// An affine map: `torch.nn.Linear`.
#[derive(Debug)]
pub(crate) struct Linear {
    pub(crate) name: String,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) bias: bool,
}

impl Linear {
    pub(crate) fn parameters(&self) -> Vec<Parameter> {
        weight_and_bias(&self.name, vec![self.outputs, self.inputs], self.bias)
    }

    /// The name of its weight.
    pub(crate) fn weight(&self) -> String {
        format!("{}.weight", self.name)
    }

    pub(crate) fn forward(&self, tensors: &Tensors, input: Tensor<2>) -> Tensor<2> {
        let weight: Tensor<2> = tensors.get(&self.weight());
        let product = input.matmul(weight.transpose());
        if !self.bias {
            return product;
        }
        let bias: Tensor<1> = tensors.get(&format!("{}.bias", self.name));
        product + bias.unsqueeze::<2>()
    }

    pub(crate) fn multiply_adds(&self) -> f64 {
        (self.inputs * self.outputs) as f64
    }
}

/// ReLU and the largest of every 2x2 square (`torch.nn.MaxPool2d(2)`). Both orders give the same values and gradients;
/// this one applies ReLU to a quarter of them.
pub(crate) fn pool_relu(input: Tensor<4>) -> Tensor<4> {
    relu(max_pool_2x2(input))
}

/// The mean over the pixels of every map, `rows x channels`: `torch.nn.AdaptiveAvgPool2d(1)`, flattened.
pub(crate) fn mean_of_maps(input: Tensor<4>) -> Tensor<2> {
    let [rows, channels, height, width] = input.dims();
    let pixels: Tensor<3> = input.reshape([rows, channels, height * width]);
    pixels.mean_dim(2).reshape([rows, channels])
}

/// Images as rows of values.
pub(crate) fn flatten(input: Tensor<4>) -> Tensor<2> {
    let [rows, channels, height, width] = input.dims();
    input.reshape([rows, channels * height * width])
}
