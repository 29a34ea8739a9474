//! `evaluate`: scores on the test sets. In: a model slot's newest model; for the server the models that the round's parties
//! trained, combined as the round combines predictions, and without those that it drops: the ensemble of teachers. Out:
//! scores; the models stay where they are.

use crate::context::Context;
use crate::error::StageError;
use crate::execute::{Inputs, Output, round_of};
use crate::fit::WEIGHTS;
use crate::learn::EvaluateInputs;
use crate::rounds::MODEL;
use crate::teachers;
use fedstill_schemas::pipeline::{Rule, Stage};
use fedstill_schemas::task::{Report, Subject};
use std::collections::BTreeMap;

pub(crate) fn run(context: &Context, inputs: &Inputs<'_>) -> Result<Output, StageError> {
    let task = inputs.task;
    let draws = context.draws(&inputs.planned)?;
    let mut steps = inputs.planned.run.pipeline.steps(task.at.round).iter();
    let aggregate = steps.find(|step| step.stage == Stage::Aggregate);
    let mean = Rule::Mean;
    let job = EvaluateInputs {
        rule: aggregate.and_then(|step| step.rule.as_ref()).unwrap_or(&mean),
        run: &inputs.planned.run,
        subject: task.subject,
        draws: &draws,
    };
    let scores = if task.subject == Subject::Server {
        let round = round_of(context, task)?;
        let members = round.trained(task.subject);
        let mut members = members.ok_or_else(|| StageError::Reject("no party trained".to_owned()))?;
        if aggregate.is_some_and(|step| step.drop_worst) {
            let dropped = teachers::dropped(context, inputs)?;
            members.retain(|party, _| !dropped.contains_key(party));
        }
        // One at a time: memory holds one model, however many parties there are.
        let mut models = members
            .iter()
            .map(|(party, model)| Ok((*party, inputs.weights_of(context, model)?.1)));
        context.learner.evaluate(&job, &mut models)?
    } else {
        let weights = inputs.part(context, MODEL, WEIGHTS)?;
        context
            .learner
            .evaluate(&job, &mut std::iter::once(Ok((task.subject, weights))))?
    };
    Ok(Output {
        parts: BTreeMap::new(),
        kept: BTreeMap::new(),
        report: Report::Scores(scores),
    })
}
