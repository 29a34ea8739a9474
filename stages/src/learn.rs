//! The seam between stages and learning: bytes in, bytes out. [`crate::tensors`] is the real thing; a simulation of the
//! dataflow puts cheap arithmetic in its place.

use crate::error::StageError;
use bytes::Bytes;
use fedstill_learner::Processor;
use fedstill_schemas::pipeline::{Rule, Step};
use fedstill_schemas::plan::Draws;
use fedstill_schemas::resolved::ResolvedRun;
use fedstill_schemas::task::{Scores, Subject};
use std::fmt::Debug;

pub use fedstill_learner::Fitted;

/// What a fit needs.
pub struct FitInputs<'a> {
    /// The resolved run.
    pub run: &'a ResolvedRun,
    /// The round.
    pub round: u32,
    /// The step.
    pub step: &'a Step,
    /// Whose model it is.
    pub subject: Subject,
    /// Weights to start from; `None` starts fresh.
    pub start: Option<&'a [u8]>,
    /// Optimizer state to continue; `None` begins a new one.
    pub optimizer: Option<&'a [u8]>,
    /// The plan's rows.
    pub draws: &'a Draws,
    /// The consensus on the alignment set (rows x classes, row-major, or rows x positions x classes), where the step reads it.
    pub consensus: Option<&'a [f32]>,
    /// Asked between batches: whether to stop.
    pub cancelled: &'a dyn Fn() -> bool,
}

/// Trains, predicts, scores and draws rows. Every method is a pure function of its arguments and of the data sets that
/// the resolved run names by content.
pub trait Learner: Send + Sync + Debug {
    /// The rows that a round uses.
    ///
    /// # Errors
    /// Data that is not there, or cannot be divided as asked.
    fn draws(&self, run: &ResolvedRun, round: u32) -> Result<Draws, StageError>;

    /// Trains.
    ///
    /// # Errors
    /// Data or weights that do not fit the model.
    fn fit(&self, inputs: &FitInputs<'_>) -> Result<Fitted, StageError>;

    /// Raw logits (rows x classes, row-major) on rows of the public set; rows x positions x classes where every position of a
    /// row has a label.
    ///
    /// # Errors
    /// Data or weights that do not fit the model.
    fn predict(
        &self,
        run: &ResolvedRun,
        subject: Subject,
        weights: &[u8],
        rows: &[u32],
    ) -> Result<Vec<f32>, StageError>;

    /// How large a task about a subject is beside others, for their order: any unit, 0 where nobody knows.
    fn effort(&self, _run: &ResolvedRun, _subject: Subject) -> u64 {
        0
    }

    /// The numerics class of this machine: learners of one class give the same bits.
    fn numerics(&self) -> String {
        String::new()
    }

    /// What combines predictions of so many classes in float32, in the order of slots; `None`: they are summed exactly.
    fn combiner(&self, _classes: u32) -> Option<&Processor> {
        None
    }

    /// The weights that every subject of an architecture starts from.
    ///
    /// # Errors
    /// An architecture that does not exist.
    fn initial(&self, run: &ResolvedRun, subject: Subject) -> Result<Vec<u8>, StageError>;

    /// The weighted mean of weights of one architecture, buffers included.
    ///
    /// # Errors
    /// Weights of another architecture, none at all, or what `models` says.
    fn average(
        &self,
        models: &mut dyn Iterator<Item = Result<(f64, Bytes), StageError>>,
    ) -> Result<Vec<u8>, StageError>;

    /// How many of the validation rows a model has right.
    ///
    /// # Errors
    /// No validation rows, or data or weights that do not fit the model.
    fn validate(
        &self,
        _run: &ResolvedRun,
        subject: Subject,
        _weights: &[u8],
        _draws: &Draws,
    ) -> Result<Validated, StageError> {
        Err(StageError::Reject(format!("nobody here judges the model of {subject}")))
    }

    /// Scores on the test sets, of what several models' logits are combined to.
    ///
    /// # Errors
    /// Data or weights that do not fit the models, no model at all, or what `models` says.
    fn evaluate(
        &self,
        inputs: &EvaluateInputs<'_>,
        models: &mut dyn Iterator<Item = Result<ModelOf, StageError>>,
    ) -> Result<Scores, StageError>;
}

/// What a model says of the validation rows; of windows of text with a label at every position, of these labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validated {
    /// Those whose label has the largest logit.
    pub right: u32,
    /// All of them.
    pub rows: u32,
}

/// A model: whose it is, and its weights.
pub type ModelOf = (Subject, Bytes);

/// What scores are of.
#[derive(Debug)]
pub struct EvaluateInputs<'a> {
    /// The resolved run.
    pub run: &'a ResolvedRun,
    /// Whose scores they are: a party's, a prototype's, or those of an ensemble of all parties' models (the server's).
    pub subject: Subject,
    /// The plan's rows.
    pub draws: &'a Draws,
    /// How the logits of several models are combined.
    pub rule: &'a Rule,
}

impl Debug for FitInputs<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FitInputs")
            .field("round", &self.round)
            .field("step", &self.step.name)
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}
