//! What can go wrong between a model, its weights and its data.

use crate::dataset::Values;
use fedstill_kernels::OperandError;
use fedstill_schemas::data::{LabelsPer, Shape};

/// A job cannot be done as asked. The text says what to change.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    /// No family of that name is registered.
    #[error("there is no architecture '{family}'; did you mean '{nearest}'? There are: {known}")]
    UnknownFamily {
        /// The name asked for.
        family: String,
        /// The registered name most like it.
        nearest: String,
        /// All registered names.
        known: String,
    },
    /// The family takes other sizes.
    #[error("architecture '{architecture}': {wants}")]
    WrongSizes {
        /// The architecture asked for.
        architecture: String,
        /// What the family takes.
        wants: String,
    },
    /// A model that no worker could train.
    #[error(
        "{architecture} has {values} parameters here, and {most} are the most: choose smaller sizes, or fewer classes"
    )]
    TooLarge {
        /// The architecture.
        architecture: String,
        /// Its parameters.
        values: usize,
        /// How many there may be.
        most: usize,
    },
    /// The image has too few pixels for the architecture.
    #[error(
        "architecture '{architecture}' needs images of at least {least}x{least} pixels, not {height}x{width}; \
         choose one with fewer poolings or larger images"
    )]
    ImageTooSmall {
        /// The architecture asked for.
        architecture: String,
        /// Least height and width.
        least: u32,
        /// Height of the images.
        height: u32,
        /// Width of the images.
        width: u32,
    },
    /// A data set's images are not what the model was built for.
    #[error(
        "the model takes images of {}x{}x{} (channels, height, width) and the data set has {}x{}x{}; \
         use data of one shape in a run",
        model.channels, model.height, model.width, data.channels, data.height, data.width
    )]
    OtherShape {
        /// The model's.
        model: Shape,
        /// The data set's.
        data: Shape,
    },
    /// What a data set holds is not what the model reads: text and no images, or the other way round.
    #[error("the model reads {reads} and the data set holds {holds}; choose an architecture for such data")]
    OtherValues {
        /// What the model reads.
        reads: Values,
        /// What the data set holds.
        holds: Values,
    },
    /// A model that predicts once a row is asked for predictions at every position.
    #[error(
        "architecture '{architecture}' predicts once a row, and rows have a label at every position; choose one that predicts \
         there, as charlstm[1], or data with one label a row"
    )]
    NoPositions {
        /// The architecture asked for.
        architecture: String,
    },
    /// A data set's rows have more or fewer labels than the model predicts.
    #[error(
        "the model predicts per {} and the data set has labels per {}; use data with the same labels_per in a run",
        model.name(), data.name()
    )]
    OtherLabels {
        /// What of a row the model predicts.
        model: LabelsPer,
        /// What of a row has a label.
        data: LabelsPer,
    },
    /// The bytes are not the state of this model.
    #[error("the {what} do not fit the model: {reason}; give those of the same architecture, shape and classes")]
    OtherWeights {
        /// Weights, or optimizer state.
        what: &'static str,
        /// What differs.
        reason: String,
    },
    /// A step must learn from something.
    #[error("there is nothing to learn from: give at least one term")]
    NoTerms,
    /// A setting has no meaning.
    #[error("{setting} must be {must}, not {value}")]
    Setting {
        /// Its name in a run file.
        setting: &'static str,
        /// What it must be.
        must: &'static str,
        /// What it is.
        value: String,
    },
    /// The rows are too few to make a batch of two, which batch norm needs.
    #[error("there are {rows} rows to train on and at least {least} are needed; give the party more rows")]
    TooFewRows {
        /// Rows there are.
        rows: usize,
        /// Rows needed.
        least: usize,
    },
    /// Early stopping watches validation rows that are not there.
    #[error(
        "early stopping watches the accuracy on validation rows and there are none: \
         give the run some, or stop by the loss on held out rows"
    )]
    NoValidation,
    /// A row is not in the data set.
    #[error("row {row} is not in the data set, which has {rows} rows; was the file changed after the plan?")]
    NoSuchRow {
        /// The row.
        row: u32,
        /// Rows of the data set.
        rows: u32,
    },
    /// Targets must be aligned with rows.
    #[error("there are {values} target values for {rows} rows of {classes} classes; give rows x classes of them")]
    OtherTargets {
        /// Values given.
        values: usize,
        /// Rows of the term; where a row has several predictions, predictions.
        rows: usize,
        /// Classes of the head.
        classes: u32,
    },
    /// A label has no place in the head.
    #[error(
        "label {label}, moved by {offset}, is not below the head's {classes} classes; \
         check the run's label map"
    )]
    LabelOutside {
        /// The label.
        label: u32,
        /// What is added to it.
        offset: u32,
        /// Classes of the head.
        classes: u32,
    },
    /// The loss takes another kind of target.
    #[error("{loss} does not go with {target}; use cross entropy with labels and the other losses with logits")]
    LossAndTarget {
        /// The loss.
        loss: &'static str,
        /// The target.
        target: &'static str,
    },
    /// Training left the finite numbers.
    #[error("{what} is not finite after {steps} steps: lower the learning rate, or look for corrupt targets")]
    Diverged {
        /// What is not finite.
        what: &'static str,
        /// Optimizer steps taken.
        steps: u64,
    },
    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// A processor that is not there.
    #[error("there is no device '{name}': {why}")]
    Processor {
        /// Its name.
        name: String,
        /// What to do.
        why: String,
    },
    /// Logits and target do not fit together.
    #[error(transparent)]
    Operand(#[from] OperandError),
}
