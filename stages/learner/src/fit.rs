//! Training: weights in, weights out.
//!
//! A job is a function of its arguments. Rows come in seeded orders, dropout masks and augmentations from seeded streams;
//! the batches of an epoch are those of the first term's rows, and terms on other rows, or on the same rows otherwise
//! augmented, take batches of their own beside them.
//!
//! A job takes as many steps as its settings ask for, in epochs or one by one, unless a look at rows that are not trained on
//! stops it. Where there are looks, it ends with the model of the best one: weights, buffers and optimizer together.

mod clip;
mod head;
mod looks;
mod proximal;
mod steps;
mod terms;
mod training;

pub use self::steps::steps_of;

use self::clip::Clip;
use self::head::HeadPenalty;
use self::looks::{Looks, hold_out};
use self::proximal::Proximal;
use self::steps::Steps;
use self::terms::groups;
use self::training::Training;
use crate::Model;
use crate::batches::Batches;
use crate::dataset::Dataset;
use crate::error::LearnError;
use crate::mode::Mode;
use crate::optimizer::Optimizer;
use crate::random::Stream;
use crate::registry::Registry;
use crate::stop::Best;
use crate::tensors::Tensors;
use fedstill_schemas::data::Augmentation;
use fedstill_schemas::fit::{Fit, Loss, Watch};

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
    /// What early stopping by [`Watch::Validation`] looks at; nothing else reads it.
    pub validation: Option<ValidationData<'a>>,
    /// Epochs or steps, batch, optimizer, early stopping.
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
    /// `rows x classes` values, row-major, in the order of the term's rows; `rows x length x classes` of a model that
    /// predicts at every position.
    Logits(&'a [f32]),
    /// The logits of the start model, in evaluation mode, before the first update.
    Own,
}

/// Rows that a job is stopped by, and not trained on.
#[derive(Clone, Copy, Debug)]
pub struct ValidationData<'a> {
    /// Where the rows are.
    pub data: &'a Dataset,
    /// The rows, one at least.
    pub rows: &'a [u32],
    /// What is added to a label: label `l` is class `l + offset` of the head.
    pub offset: u32,
}

/// A trained model.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// Its tensors: safetensors with PyTorch's names and layouts.
    pub weights: Vec<u8>,
    /// The optimizer's state: safetensors with the parameters' names.
    pub optimizer: Vec<u8>,
    /// Mean training loss of the last epoch run, over the steps that were taken of it: that of the terms alone, without what
    /// holds weights near their start or near zero.
    pub loss: f64,
    /// Epochs run; of the last one perhaps a part.
    pub epochs: u32,
    /// Optimizer steps run.
    pub steps: u64,
    /// Rows trained on: the first term's, without those held out for early stopping.
    pub rows: u32,
}

/// Trains as the job says.
///
/// # Errors
/// [`LearnError`]: a part does not fit another, a setting has no meaning, the rows are too few, the validation rows that
/// early stopping watches are missing, the loss is no longer finite, or `cancel` said so.
pub fn fit(registry: &Registry, job: &FitJob<'_>) -> Result<Fitted, LearnError> {
    let settings = job.settings;
    check_settings(settings)?;
    let device = registry.processor().device();
    let network = registry.network(&job.model)?;
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
    let proximal = Proximal::new(settings.proximal, &start)?;
    let penalty = HeadPenalty::new(settings.head_l2, network.as_ref())?;
    let clip = Clip::new(settings.clip)?;

    let groups = groups(network.as_ref(), &start, device, job)?;
    let stream = Stream::new(job.seed, job.round, job.step, job.subject);
    let mut orders = Vec::new();
    let mut changes = Vec::new();
    let mut held_out = Vec::new();
    let holds_out = settings.stop.as_ref().is_some_and(|stop| stop.watch.is_held_out());
    for (i, group) in groups.iter().enumerate() {
        let mut places: Vec<u32> = (0..group.rows.len() as u32).collect();
        if i == 0 && holds_out {
            held_out = hold_out(&mut places, &stream);
        }
        let least = if i == 0 && holds_out { 3 } else { 2 };
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
    let steps = Steps::new(settings, orders.first().map_or(0, Batches::an_epoch));
    let mut watched = match &settings.stop {
        None => None,
        Some(stop) => {
            let looks = match stop.watch {
                Watch::HeldOut => Looks::HeldOut {
                    group: &groups[0],
                    places: held_out,
                },
                Watch::Validation => Looks::validation(job)?,
            };
            Some((looks, Best::new(stop)))
        }
    };

    let mut training = Training {
        network: network.as_ref(),
        device,
        groups: &groups,
        tensors: start.tracked(),
        optimizer,
        proximal,
        penalty,
        clip,
        mode: Mode::training(stream.fork("dropout")),
        changes,
        steps: 0,
    };
    if let Some((looks, best)) = &mut watched
        && looks.begin_before_the_first_step()
    {
        look(&training, looks, best)?;
    }
    let (mut sum, mut seen, mut epochs) = (0.0, 0.0, 0);
    while steps.remain(training.steps) {
        if steps.begin_an_epoch(training.steps) {
            (sum, seen) = (0.0, 0.0);
            epochs += 1;
        }
        if (job.cancel)() {
            return Err(LearnError::Cancelled);
        }
        let share = steps.share_of_rate(training.steps);
        let (loss, batch) = training.step(&mut orders, share)?;
        sum += loss * batch as f64;
        seen += batch as f64;
        if let Some((looks, best)) = &mut watched
            && steps.call_for_a_look(training.steps)
            && look(&training, looks, best)?
        {
            break;
        }
    }
    if let Some((tensors, optimizer)) = watched.and_then(|(_, best)| best.state()) {
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
        loss: sum / seen,
        epochs,
        steps: training.steps,
        rows,
    })
}

/// Looks at the model as it is, and keeps it where it is the best so far. True: stop.
fn look(
    training: &Training<'_>,
    looks: &Looks<'_>,
    best: &mut Best<'_, (Tensors, Optimizer)>,
) -> Result<bool, LearnError> {
    let seen = looks.take(training.network, &training.tensors.plain(), training.device)?;
    Ok(best.see(seen, || (training.tensors.clone(), training.optimizer.clone())))
}

fn check_settings(settings: &Fit) -> Result<(), LearnError> {
    let refuse = |setting, must, value: u32| {
        Err(LearnError::Setting {
            setting,
            must,
            value: value.to_string(),
        })
    };
    match settings.steps {
        Some(0) => return refuse("steps", "at least 1", 0),
        None if settings.epochs == 0 => return refuse("epochs", "at least 1", 0),
        _ => {}
    }
    if settings.batch < 2 {
        return refuse("batch", "at least 2, which batch norm needs", settings.batch);
    }
    if settings.stop.as_ref().is_some_and(|stop| stop.every == Some(0)) {
        return refuse("every", "at least 1", 0);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
