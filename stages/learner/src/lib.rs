//! Models, data sets, partitions, losses and fitting: tensors, no messages.
//!
//! Everything here is a function of its arguments: the same job gives the same bits, whatever runs beside it. Random
//! numbers come from [`random::Stream`] only; Burn's own random state, which a whole process shares, is never used.
//!
//! ```text
//! Dataset ──partition──> rows of a party
//!    │                        │
//!    └─────── FitJob ─────────┴──fit──> Fitted { weights, optimizer }
//!                                           ├──predict──> logits
//!                                           └──evaluate─> Scores
//! ```
//!
//! A model is an ordered list of named tensors in PyTorch's names and layouts, and a function of them
//! ([`registry::Network`]). So initialisation is explicit, nothing is shared between two models, and weights on disk
//! are these tensors, which `torch.nn.Module.load_state_dict(strict=True)` reads.

mod augment;
mod average;
mod batches;
mod dataset;
mod ensemble;
mod error;
mod fit;
mod isolate;
mod layers;
mod mode;
mod networks;
mod numerics;
mod optimizer;
mod partition;
mod predict;
mod processor;
mod safetensors_file;
mod stop;
mod tensors;
#[cfg(test)]
mod testing;

pub mod random;
pub mod registry;

pub use average::Mean;
pub use dataset::{DataError, Dataset, Values};
pub use ensemble::combine;
pub use error::LearnError;
pub use fit::{FitJob, Fitted, TargetData, TermData, ValidationData, fit, steps_of};
pub use isolate::job;
pub use mode::Mode;
pub use networks::FEDMD_PARTIES;
pub use numerics::numerics;
pub use partition::{Division, Known, PartitionError, partition};
pub use predict::{Scores, Tally, evaluate, predict};
pub use processor::Processor;
pub use random::{Stream, draw};
pub use registry::Registry;
pub use tensors::Tensors;

use fedstill_schemas::Architecture;
use fedstill_schemas::data::{LabelsPer, Shape};

/// What a network is built from: its weights are elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Model<'a> {
    /// Family and size.
    pub architecture: &'a Architecture,
    /// Shape of a row.
    pub shape: Shape,
    /// Classes of the head.
    pub classes: u32,
    /// What of a row it predicts: what has a label in the data that it is for. Its weights are the same for both.
    pub labels_per: LabelsPer,
}

/// The number of trained values of a model.
///
/// # Errors
/// As [`Registry::network`].
pub fn parameters(registry: &Registry, model: &Model<'_>) -> Result<u64, LearnError> {
    let network = registry.network(model)?;
    let trained = network.parameters().into_iter().filter(|parameter| parameter.trainable);
    Ok(trained.map(|parameter| parameter.len() as u64).sum())
}

/// The weights that every subject of an architecture starts from in a run of that seed, as [`Fitted::weights`].
///
/// # Errors
/// As [`Registry::network`].
pub fn initial(registry: &Registry, model: &Model<'_>, seed: u64) -> Result<Vec<u8>, LearnError> {
    let network = registry.network(model)?;
    let stream = Stream::new(seed, 0, "init", &model.architecture.to_string());
    let device = registry.processor().device();
    Ok(Tensors::initial(network.parameters(), &stream, device).write())
}

/// Whether a model can read a data set.
///
/// # Errors
/// Why it cannot, and as [`Registry::network`].
pub fn reads(registry: &Registry, model: &Model<'_>, data: &Dataset) -> Result<(), LearnError> {
    let network = registry.network(model)?;
    predict::data_fits(&*network, model, data)
}

/// Multiply-adds of one row's forward pass, roughly: for estimates of time. A training step takes about three times
/// as many.
///
/// # Errors
/// As [`Registry::network`].
pub fn cost(registry: &Registry, model: &Model<'_>) -> Result<f64, LearnError> {
    let network = registry.network(model)?;
    Ok(network.multiply_adds())
}
