//! Training: weights in, weights out.
//!
//! A job is a function of its arguments. Rows come in seeded orders, dropout masks and augmentations from seeded streams;
//! the batches of an epoch are those of the first term's rows, and terms on other rows, or on the same rows otherwise
//! augmented, take batches of their own beside them.

mod terms;

use self::terms::{Group, groups};
use crate::Model;
use crate::batches::Batches;
use crate::dataset::Dataset;
use crate::error::LearnError;
use crate::mode::Mode;
use crate::optimizer::Optimizer;
use crate::random::Stream;
use crate::registry::{Network, Registry};
use crate::stop::Watch;
use crate::tensors::{Tensors, values};
use burn::tensor::{Device, Tensor};
use fedstill_schemas::data::Augmentation;
use fedstill_schemas::fit::{Fit, Loss};

/// A model to train, on what, and how.
pub struct FitJob<'a> {
    /// What is trained.
    pub model: Model<'a>,
    /// Weights to start from, as [`Fitted::weights`]; `None` for new ones, the same for all subjects of an architecture.
    pub start: Option<&'a [u8]>,
    /// Optimizer state to go on from, as [`Fitted::optimizer`]; `None` for none.
    pub optimizer: Option<&'a [u8]>,
    /// The summands of the loss; the first one's rows drive the epochs.
    pub terms: Vec<TermData<'a>>,
    /// Epochs, batch, optimizer, early stopping.
    pub settings: &'a Fit,
    /// The run's seed.
    pub seed: u64,
    /// The round.
    pub round: u32,
    /// The step's name.
    pub step: &'a str,
    /// Whose model it is.
    pub subject: &'a str,
    /// Asked between batches: true ends the job with [`LearnError::Cancelled`].
    pub cancel: &'a dyn Fn() -> bool,
}

impl std::fmt::Debug for FitJob<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FitJob")
            .field("architecture", &self.model.architecture)
            .field("settings", &self.settings)
            .field("round", &self.round)
            .field("step", &self.step)
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

/// A summand of a job's loss.
#[derive(Clone, Copy, Debug)]
pub struct TermData<'a> {
    /// Where the rows are.
    pub data: &'a Dataset,
    /// The rows.
    pub rows: &'a [u32],
    /// What logits are compared with.
    pub target: TargetData<'a>,
    /// The comparison: cross entropy with labels, the others with logits.
    pub loss: Loss,
    /// Its weight in the sum.
    pub weight: f64,
    /// How the rows' images are changed in training batches; empty where they are compared with logits, which are of the
    /// images as they are.
    pub augment: &'a [Augmentation],
}

/// What the logits of a term's rows are compared with.
#[derive(Clone, Copy, Debug)]
pub enum TargetData<'a> {
    /// The rows' labels; label `l` is class `l + offset` of the head.
    Labels {
        /// What is added to a label.
        offset: u32,
    },
    /// `rows x classes` values, row-major, in the order of the term's rows.
    Logits(&'a [f32]),
    /// The logits of the start model, in evaluation mode, before the first update.
    Own,
}

/// A trained model.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// Its tensors: safetensors with PyTorch's names and layouts.
    pub weights: Vec<u8>,
    /// The optimizer's state: safetensors with the parameters' names.
    pub optimizer: Vec<u8>,
    /// Mean training loss of the last epoch run.
    pub loss: f64,
    /// Epochs run.
    pub epochs: u32,
    /// Optimizer steps run.
    pub steps: u64,
    /// Rows trained on: the first term's, without those held out for early stopping.
    pub rows: u32,
}

/// Trains as the job says.
///
/// # Errors
/// [`LearnError`]: a part does not fit another, the rows are too few, the loss is no longer finite, or `cancel` said so.
pub fn fit(registry: &Registry, job: &FitJob<'_>) -> Result<Fitted, LearnError> {
    let settings = job.settings;
    check_settings(settings)?;
    let device = registry.processor().device();
    let network = registry.build(job.model.architecture, job.model.shape, job.model.classes)?;
    let parameters = network.parameters();
    let optimizer = match job.optimizer {
        Some(state) => Optimizer::read(&settings.optimizer, state, &parameters, device)?,
        None => Optimizer::new(&settings.optimizer)?,
    };
    let start = if let Some(weights) = job.start {
        Tensors::read(parameters, weights, device)?
    } else {
        let stream = Stream::new(job.seed, 0, "init", &job.model.architecture.to_string());
        Tensors::initial(parameters, &stream, device)
    };

    let groups = groups(network.as_ref(), &start, device, job)?;
    let stream = Stream::new(job.seed, job.round, job.step, job.subject);
    let mut orders = Vec::new();
    let mut changes = Vec::new();
    let mut held_out = Vec::new();
    for (i, group) in groups.iter().enumerate() {
        let mut places: Vec<u32> = (0..group.rows.len() as u32).collect();
        if i == 0 && settings.stop.is_some() {
            held_out = hold_out(&mut places, &stream);
        }
        let least = if i == 0 && settings.stop.is_some() { 3 } else { 2 };
        if places.len() < 2 {
            return Err(LearnError::TooFewRows {
                rows: group.rows.len(),
                least,
            });
        }
        orders.push(Batches::new(places, settings.batch, stream.fork(&format!("order {i}"))));
        changes.push(stream.fork(&format!("augment {i}")));
    }
    let rows = groups.first().map_or(0, |group| group.rows.len() - held_out.len()) as u32;

    let mut training = Training {
        network: network.as_ref(),
        device,
        groups: &groups,
        tensors: start.tracked(),
        optimizer,
        mode: Mode::training(stream.fork("dropout")),
        changes,
        steps: 0,
    };
    let mut watch = settings.stop.as_ref().map(Watch::new);
    let (mut loss, mut epochs) = (f64::NAN, 0);
    while epochs < settings.epochs {
        loss = training.epoch(&mut orders, job.cancel)?;
        epochs += 1;
        if let Some(watch) = &mut watch {
            let seen = training.held_out_loss(&held_out)?;
            if watch.see(seen, || (training.tensors.clone(), training.optimizer.clone())) {
                break;
            }
        }
    }
    if let Some((tensors, optimizer)) = watch.and_then(Watch::best) {
        training.tensors = tensors;
        training.optimizer = optimizer;
    }
    if !training.tensors.finite() {
        return Err(LearnError::Diverged {
            what: "a weight",
            steps: training.steps,
        });
    }
    Ok(Fitted {
        weights: training.tensors.write(),
        optimizer: training.optimizer.write(),
        loss,
        epochs,
        steps: training.steps,
        rows,
    })
}

fn check_settings(settings: &Fit) -> Result<(), LearnError> {
    let refuse = |setting, must, value: u32| {
        Err(LearnError::Setting {
            setting,
            must,
            value: value.to_string(),
        })
    };
    if settings.epochs == 0 {
        return refuse("epochs", "at least 1", 0);
    }
    if settings.batch < 2 {
        return refuse("batch", "at least 2, which batch norm needs", settings.batch);
    }
    Ok(())
}

/// Takes a seeded fifth of the places out, one at least, in draw order.
fn hold_out(places: &mut Vec<u32>, stream: &Stream) -> Vec<u32> {
    let count = (places.len() / 5).max(1).min(places.len());
    stream.fork("held out").shuffle(places);
    let held_out = places.split_off(places.len() - count);
    places.sort_unstable();
    held_out
}

/// A job on its way.
struct Training<'a> {
    network: &'a dyn Network,
    device: &'a Device,
    groups: &'a [Group<'a>],
    tensors: Tensors,
    optimizer: Optimizer,
    mode: Mode,
    /// What augments each group's images.
    changes: Vec<Stream>,
    steps: u64,
}

impl Training<'_> {
    /// One pass over the first group's rows; the mean of the loss over them.
    fn epoch(&mut self, orders: &mut [Batches], cancel: &dyn Fn() -> bool) -> Result<f64, LearnError> {
        let Some((driver, others)) = orders.split_first_mut() else {
            return Err(LearnError::NoTerms);
        };
        let (mut sum, mut rows) = (0.0, 0.0);
        driver.shuffle();
        while let Some(places) = driver.next() {
            if cancel() {
                return Err(LearnError::Cancelled);
            }
            let mut loss = self.forward(0, places)?;
            for (i, order) in others.iter_mut().enumerate() {
                if let Some(places) = order.cycle() {
                    loss = loss + self.forward(i + 1, places)?;
                }
            }
            let value = f64::from(values(loss.clone().inner())[0]);
            if !value.is_finite() {
                return Err(LearnError::Diverged {
                    what: "the loss",
                    steps: self.steps,
                });
            }
            sum += value * places.len() as f64;
            rows += places.len() as f64;
            self.update(loss);
        }
        Ok(sum / rows)
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
    fn update(&mut self, loss: Tensor<1>) {
        let mut gradients = loss.backward();
        drop(loss);
        let nothing = Tensor::zeros([0], self.device);
        self.optimizer.begin_step();
        self.steps += 1;
        for (parameter, tensor) in self.tensors.trained() {
            // A parameter that this network does not use has none.
            if let Some(gradient) = tensor.grad_remove(&mut gradients) {
                // Taken out, so that the optimizer alone holds the value and may change it where it is.
                let value = std::mem::replace(tensor, nothing.clone()).inner();
                let value = self.optimizer.change(&parameter.name, value, gradient);
                *tensor = value.autodiff().require_grad();
            }
        }
    }

    /// The first group's loss on rows that are not trained on, in evaluation mode.
    fn held_out_loss(&self, places: &[u32]) -> Result<f64, LearnError> {
        let tensors = self.tensors.plain();
        let mut sum = 0.0;
        for batch in places.chunks(128) {
            let images = self.groups[0].images(batch, self.device);
            let logits = self.network.forward(&tensors, images, &mut Mode::evaluation());
            let loss = self.groups[0].loss(&logits, batch)?;
            sum += f64::from(values(loss)[0]) * batch.len() as f64;
        }
        Ok(sum / places.len() as f64)
    }
}

#[cfg(test)]
mod tests;
