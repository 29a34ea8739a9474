//! What differs between training and evaluation: dropout, batch norm.

use crate::random::Stream;
use crate::tensors::Tensors;
use burn::tensor::module::batch_norm;
use burn::tensor::{Tensor, TensorData};

/// Added to a variance before its root is taken, as PyTorch does by default.
pub(crate) const EPSILON: f64 = 1e-5;
/// The share of a batch in the running statistics, as PyTorch has it by default.
const MOMENTUM: f64 = 0.1;

/// Whether a forward pass trains, and what it leaves behind if so.
#[derive(Debug)]
pub struct Mode {
    training: Option<Training>,
}

#[derive(Debug)]
struct Training {
    masks: Stream,
    buffers: Vec<(String, Tensor<1>)>,
    counters: Vec<String>,
}

impl Mode {
    /// Running statistics, no dropout, no trace.
    pub fn evaluation() -> Self {
        Self { training: None }
    }

    /// Statistics of the batch, dropout with masks from that stream.
    pub fn training(masks: Stream) -> Self {
        let training = Training {
            masks,
            buffers: Vec::new(),
            counters: Vec::new(),
        };
        Self {
            training: Some(training),
        }
    }

    /// In training each value is set to 0 with probability `rate`, and the others grow so that the mean stays
    /// (Srivastava et al. 2014); in evaluation nothing happens.
    pub fn dropout<const D: usize>(&mut self, input: Tensor<D>, rate: f64) -> Tensor<D> {
        let Some(training) = &mut self.training else {
            return input;
        };
        let mask = training.masks.dropout_mask(input.shape().num_elements(), rate);
        let mask = Tensor::from_data(TensorData::new(mask, input.shape()), &input.device().inner());
        input * mask
    }

    /// Batch norm (Ioffe and Szegedy 2015, arXiv:1502.03167, algorithm 1) of images over the channels, with the tensors
    /// `<name>.weight`, `.bias`, `.running_mean`, `.running_var` and the counter `.num_batches_tracked`.
    ///
    /// As in PyTorch the batch is normalised by its biased variance, and the running variance takes the unbiased one.
    pub fn batch_norm(&mut self, tensors: &Tensors, name: &str, input: Tensor<4>) -> Tensor<4> {
        let part = |part: &str| format!("{name}.{part}");
        let (weight, bias) = (tensors.get(&part("weight")), tensors.get(&part("bias")));
        let mean: Tensor<1> = tensors.get(&part("running_mean"));
        let variance: Tensor<1> = tensors.get(&part("running_var"));
        let Some(training) = &mut self.training else {
            return batch_norm(input, weight, bias, mean, variance, EPSILON);
        };
        let [rows, _, height, width] = input.dims();
        let values = (rows * height * width) as f64;
        let batch = fedstill_kernels::batch_norm(input, weight, bias, EPSILON);
        let running = |old: Tensor<1>, new: Tensor<1>, correction: f64| {
            old.inner().mul_scalar(1.0 - MOMENTUM) + new.inner().mul_scalar(MOMENTUM * correction)
        };
        training
            .buffers
            .push((part("running_mean"), running(mean, batch.mean, 1.0)));
        let unbiased = values / (values - 1.0);
        training
            .buffers
            .push((part("running_var"), running(variance, batch.variance, unbiased)));
        training.counters.push(part("num_batches_tracked"));
        batch.images
    }

    /// Puts what a forward pass left behind in the model's buffers.
    pub(crate) fn settle(&mut self, tensors: &mut Tensors) {
        let Some(training) = &mut self.training else {
            return;
        };
        for (name, value) in training.buffers.drain(..) {
            tensors.set_buffer(&name, value);
        }
        for name in training.counters.drain(..) {
            tensors.count(&name);
        }
    }
}
