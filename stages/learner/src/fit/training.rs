//! A job on its way: a step is a forward pass of each group, a backward pass, and a step of the optimizer.

use super::clip::Clip;
use super::head::HeadPenalty;
use super::proximal::Proximal;
use super::terms::Group;
use crate::batches::Batches;
use crate::error::LearnError;
use crate::mode::Mode;
use crate::optimizer::Optimizer;
use crate::random::Stream;
use crate::registry::{Network, Parameter};
use crate::tensors::{Tensors, values};
use burn::tensor::{Device, Tensor};

/// The model as it is now, and what the next step needs.
pub(super) struct Training<'a> {
    pub(super) network: &'a dyn Network,
    pub(super) device: &'a Device,
    pub(super) groups: &'a [Group<'a>],
    pub(super) tensors: Tensors,
    pub(super) optimizer: Optimizer,
    pub(super) proximal: Option<Proximal>,
    pub(super) penalty: Option<HeadPenalty>,
    pub(super) clip: Option<Clip>,
    pub(super) mode: Mode,
    /// What augments each group's images.
    pub(super) changes: Vec<Stream>,
    /// Steps taken.
    pub(super) steps: u64,
}

impl Training<'_> {
    /// A step on the next batch of each group, with that share of the learning rate: the loss before it, and the rows of
    /// the first group's batch.
    pub(super) fn step(&mut self, orders: &mut [Batches], share_of_rate: f64) -> Result<(f64, usize), LearnError> {
        let mut sum: Option<Tensor<1>> = None;
        let mut rows = 0;
        for (group, order) in orders.iter_mut().enumerate() {
            let Some(places) = order.cycle() else { continue };
            if group == 0 {
                rows = places.len();
            }
            let loss = self.forward(group, places)?;
            sum = Some(match sum {
                Some(sum) => sum + loss,
                None => loss,
            });
        }
        let loss = sum.ok_or(LearnError::NoTerms)?;
        let value = f64::from(values(loss.clone().inner())[0]);
        if !value.is_finite() {
            return Err(LearnError::Diverged {
                what: "the loss",
                steps: self.steps,
            });
        }
        self.update(loss, share_of_rate);
        Ok((value, rows))
    }

    /// The loss of a group's batch, in training mode.
    fn forward(&mut self, group: usize, places: &[u32]) -> Result<Tensor<1>, LearnError> {
        let changes = &mut self.changes[group];
        let group = &self.groups[group];
        let images = group.training_images(places, changes, self.device);
        let logits = self.network.forward(&self.tensors, images, &mut self.mode);
        self.mode.settle(&mut self.tensors);
        group.loss(&logits, places)
    }

    /// A step of the optimizer along the gradient of that loss.
    fn update(&mut self, loss: Tensor<1>, share_of_rate: f64) {
        let mut gradients = loss.backward();
        drop(loss);
        let nothing = Tensor::zeros([0], self.device);
        self.optimizer.begin_step(share_of_rate);
        self.steps += 1;
        // A parameter that this network does not use has none.
        let steps = self.tensors.trained().filter_map(|(parameter, tensor)| {
            let gradient = tensor.grad_remove(&mut gradients)?;
            let gradient = match &self.proximal {
                Some(proximal) => proximal.added(&parameter.name, &tensor.clone().inner(), gradient),
                None => gradient,
            };
            let gradient = match &self.penalty {
                Some(penalty) => penalty.added(&parameter.name, &tensor.clone().inner(), gradient),
                None => gradient,
            };
            Some((parameter, tensor, gradient))
        });
        // All of them before the first change: how far each goes may depend on all.
        let steps: Vec<(&Parameter, &mut Tensor<1>, Tensor<1>)> = steps.collect();
        let clip = self.clip.as_ref();
        let factor = clip.and_then(|clip| clip.factor(steps.iter().map(|(.., gradient)| gradient)));
        for (parameter, tensor, gradient) in steps {
            // Taken out, so that the optimizer alone holds the value and may change it where it is.
            let value = std::mem::replace(tensor, nothing.clone()).inner();
            let gradient = match factor {
                Some(factor) => gradient.mul_scalar(factor),
                None => gradient,
            };
            let value = self.optimizer.change(&parameter.name, value, gradient);
            *tensor = value.autodiff().require_grad();
        }
    }
}
