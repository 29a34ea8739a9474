//! `average`: an architecture's prototype, from what its parties trained.
//!
//! In: the models that the round's members of the architecture made, of the closed phases. Out: one model in the shared
//! store, every tensor and buffer the mean of theirs, but for those that only guess, where the step drops the worst. Weights
//! are read one party after the other, in the order of slots, and summed in float64: memory is one sum and one model, and
//! the same members give the same bits. By samples a party counts by the private rows that its model was trained on in the
//! round, whatever rows it distilled on since; one that was trained on none does not count. An architecture that nobody
//! trained has no such task.

use crate::context::Context;
use crate::error::StageError;
use crate::execute::{Inputs, Output, read_result, round_of};
use crate::fit::WEIGHTS;
use crate::teachers;
use bytes::Bytes;
use fedstill_schemas::pipeline::{By, Rule, Stage};
use fedstill_schemas::task::{Report, TaskResult};
use std::collections::BTreeMap;

pub(crate) fn run(context: &Context, inputs: &Inputs<'_>) -> Result<Output, StageError> {
    let step = inputs.step()?;
    let by_samples = match &step.rule {
        Some(Rule::Weights(By::Samples)) => true,
        Some(Rule::Weights(By::Parties)) => false,
        Some(Rule::Weights(By::Slots(_)) | Rule::Mean | Rule::MeanProbability) | None => {
            let reason = format!("step '{}' has no rule by which weights are averaged", step.name);
            return Err(StageError::Reject(reason));
        }
    };
    let round = round_of(context, inputs.task)?;
    let members = round.averaged(&step.name, inputs.task.subject);
    let mut members = members.ok_or_else(|| StageError::Reject("no party of the architecture trained".to_owned()))?;
    if step.drop_worst {
        members = teachers::averaged(context, inputs, members)?;
    }
    let mut rows = 0;
    let mut models = members.iter().map(|(party, reference)| {
        let (result, weights) = inputs.weights_of(context, reference)?;
        let trained = match round.on_private_rows(*party) {
            Some(trained) if trained == reference => rows_of(&result)?,
            Some(trained) => rows_of(&read_result(context, &inputs.task.at.run, trained)?)?,
            None => 0,
        };
        rows += u64::from(trained);
        let weight = if by_samples { f64::from(trained) } else { 1.0 };
        Ok((weight, weights))
    });
    let mean = context.learner.average(&mut models)?;
    drop(models);
    Ok(Output {
        parts: BTreeMap::from([(WEIGHTS.to_owned(), (inputs.place(), Bytes::from(mean)))]),
        kept: BTreeMap::new(),
        report: Report::Average {
            members: members.len() as u32,
            rows,
        },
    })
}

/// Bytes of the weights that a task over the round's members reads: to average them, or to score their ensemble.
pub(crate) fn bytes_in(context: &Context, inputs: &Inputs<'_>) -> Result<u64, StageError> {
    let round = round_of(context, inputs.task)?;
    let members = match inputs.task.stage {
        Stage::Average => round.averaged(&inputs.task.step, inputs.task.subject),
        _ => round.trained(inputs.task.subject),
    };
    let members = members.unwrap_or_default();
    members.values().try_fold(0, |bytes, member| {
        let result = read_result(context, &inputs.task.at.run, member)?;
        Ok(bytes + result.parts.get(WEIGHTS).map_or(0, |part| part.bytes))
    })
}

fn rows_of(result: &TaskResult) -> Result<u32, StageError> {
    match result.report {
        Report::Fit { rows, .. } => Ok(rows),
        _ => Err(StageError::Reject("a member's model was not trained".to_owned())),
    }
}
