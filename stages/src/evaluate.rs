//! `evaluate`: a model slot's scores on the test set. In: its newest model. Out: scores; the model stays where it is.

use crate::context::Context;
use crate::error::StageError;
use crate::execute::{Inputs, Output};
use crate::fit::WEIGHTS;
use crate::rounds::MODEL;
use fedstill_schemas::task::Report;
use std::collections::BTreeMap;

pub(crate) fn run(context: &Context, inputs: &Inputs<'_>) -> Result<Output, StageError> {
    let weights = inputs.part(context, MODEL, WEIGHTS)?;
    let scores = context
        .learner
        .evaluate(&inputs.planned.run, inputs.task.subject, &weights)?;
    Ok(Output {
        parts: BTreeMap::new(),
        kept: BTreeMap::new(),
        report: Report::Scores(scores),
    })
}
