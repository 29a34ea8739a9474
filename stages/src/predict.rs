//! `predict`: a party's logits on the round's alignment set.
//!
//! In: the party's model. Out: one message a chunk on `fedstill.logits`, kept as parts in the party's store, so that
//! they are published again after a crash without predicting again. A value that the wire cannot hold is refused here.

use crate::context::{Context, pinned};
use crate::error::StageError;
use crate::execute::{Inputs, Output};
use crate::fit::WEIGHTS;
use crate::rounds::MODEL;
use crate::signed::{self, Said};
use fedstill_log::Message;
use fedstill_schemas::envelope::{self, Kind};
use fedstill_schemas::names;
use fedstill_schemas::predictions::{self, Identity};
use fedstill_schemas::task::{Report, Subject, TaskResult};
use std::collections::BTreeMap;

fn part_name(chunk: u32) -> String {
    format!("predictions.{chunk}")
}

pub(crate) fn run(context: &Context, inputs: &Inputs<'_>) -> Result<Output, StageError> {
    let Subject::Party(slot) = inputs.task.subject else {
        return Err(StageError::Reject(format!(
            "{} has no predictions",
            inputs.task.subject
        )));
    };
    let run = &inputs.planned.run;
    let draws = context.draws(&inputs.planned)?;
    let weights = inputs.part(context, MODEL, WEIGHTS)?;
    let logits = context
        .learner
        .predict(run, inputs.task.subject, &weights, &draws.alignment)?;
    let classes = run.head();
    // A row's predictions are one after the other, and all of them in its chunk.
    let row = run.labels_per_row() as usize * classes as usize;
    let expected = draws.alignment.len() * row;
    if logits.len() != expected {
        let reason = format!(
            "the model predicted {} values, and {} predictions of {classes} classes have {expected}",
            logits.len(),
            expected / classes.max(1) as usize
        );
        return Err(StageError::Reject(reason));
    }
    let mut parts = BTreeMap::new();
    let mut bytes = 0;
    for (chunk, slice) in (0..).zip(&inputs.planned.plan.chunks) {
        let identity = Identity {
            at: inputs.task.at.clone(),
            step: inputs.task.step.clone(),
            chunk,
            slot: Some(slot),
        };
        let rows = slice.range();
        let values = &logits[rows.start * row..rows.end * row];
        let samples = run.samples(&draws.alignment[rows]);
        let message = predictions::encode(&identity, &samples, classes, values, run.precision)
            .map_err(|error| StageError::Reject(format!("chunk {chunk}: {error}")))?;
        bytes += message.len() as u64;
        parts.insert(part_name(chunk), (inputs.place(), message));
    }
    Ok(Output {
        parts,
        kept: BTreeMap::new(),
        report: Report::Predictions {
            rows: draws.alignment.len() as u32,
            bytes,
        },
    })
}

pub(crate) fn publish(context: &Context, inputs: &Inputs<'_>, result: &TaskResult) -> Result<Vec<Message>, StageError> {
    let task = inputs.task;
    let partitions = pinned(&inputs.planned.plan, names::LOGITS)?;
    (0..)
        .zip(&inputs.planned.plan.chunks)
        .map(|(chunk, slice)| {
            let part = result.parts.get(&part_name(chunk));
            let part =
                part.ok_or_else(|| StageError::Reject(format!("its result has no predictions of chunk {chunk}")))?;
            let key = names::chunk_key(&task.at, &task.step, chunk);
            let id = format!("{key}/{}", task.subject);
            let mut headers = envelope::headers(Kind::Predictions, &task.at, &id, &task.subject.to_string());
            let value = context.store.get_part(&task.at.run, part)?;
            if let (Some(own), Subject::Party(slot)) = (&context.own, task.subject) {
                let said = Said {
                    at: &task.at,
                    step: &task.step,
                    chunk: Some(chunk),
                    slot,
                };
                signed::sign(own, &mut headers, said, &value);
            }
            Ok(Message {
                topic: names::LOGITS.to_owned(),
                partition: slice.partition % partitions,
                headers,
                key: key.into(),
                value,
            })
        })
        .collect()
}
