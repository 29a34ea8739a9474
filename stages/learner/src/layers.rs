//! The layers that the built-in networks are made of: their parameters, in PyTorch's names, layouts and first values,
//! and what they compute.

use crate::mode::Mode;
use crate::registry::{Init, Parameter};
use crate::tensors::Tensors;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use fedstill_kernels::{Window, conv2d, max_pool_2x2};

/// A weight and a bias with PyTorch's default first values: He et al. 2015 (arXiv:1502.01852) with `a = sqrt(5)`, which
/// is uniform within `1 / sqrt(fan_in)` for both.
fn weight_and_bias(name: &str, weight: Vec<usize>) -> Vec<Parameter> {
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
    vec![parameter("weight", weight), parameter("bias", vec![outputs])]
}

/// A 2-d convolution of stride 1 with a bias: `torch.nn.Conv2d`.
#[derive(Debug)]
pub(crate) struct Conv {
    pub(crate) name: String,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) kernel: usize,
    pub(crate) padding: usize,
}

impl Conv {
    pub(crate) fn parameters(&self) -> Vec<Parameter> {
        weight_and_bias(&self.name, vec![self.outputs, self.inputs, self.kernel, self.kernel])
    }

    pub(crate) fn forward(&self, tensors: &Tensors, input: Tensor<4>) -> Tensor<4> {
        let window = Window {
            stride: 1,
            padding: self.padding,
        };
        let weight = tensors.get(&format!("{}.weight", self.name));
        let bias = tensors.get(&format!("{}.bias", self.name));
        conv2d(input, weight, Some(bias), window)
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

/// An affine map: `torch.nn.Linear`.
#[derive(Debug)]
pub(crate) struct Linear {
    pub(crate) name: String,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
}

impl Linear {
    pub(crate) fn parameters(&self) -> Vec<Parameter> {
        weight_and_bias(&self.name, vec![self.outputs, self.inputs])
    }

    pub(crate) fn forward(&self, tensors: &Tensors, input: Tensor<2>) -> Tensor<2> {
        let weight: Tensor<2> = tensors.get(&format!("{}.weight", self.name));
        let bias: Tensor<1> = tensors.get(&format!("{}.bias", self.name));
        input.matmul(weight.transpose()) + bias.unsqueeze()
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

/// Images as rows of values.
pub(crate) fn flatten(input: Tensor<4>) -> Tensor<2> {
    let [rows, channels, height, width] = input.dims();
    input.reshape([rows, channels * height * width])
}
