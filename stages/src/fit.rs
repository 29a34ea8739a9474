//! `pretrain`, `train` and `distill`: a model slot's next weights. One file, as they differ only in data.
//!
//! In: the model to start from, the optimizer state that the step continues, the consensus where a term wants it. Out:
//! weights and optimizer state, in the store of the party that owns them (the server's in the shared store, and weights of
//! parties too where the pipeline discloses them). State that the step does not touch goes on by reference, and so do
//! weights that a party takes as they are.

use crate::context::Context;
use crate::error::StageError;
use crate::execute::{Inputs, Output};
use crate::learn::FitInputs;
use crate::rounds::{CONSENSUS, MODEL};
use bytes::Bytes;
use fedstill_schemas::pipeline::Disclosure;
use fedstill_schemas::predictions;
use fedstill_schemas::task::{Place, Report};
use std::collections::BTreeMap;

/// Name of the part that holds weights and buffers.
pub(crate) const WEIGHTS: &str = "weights";

/// The part that holds a kept optimizer state.
fn optimizer_part(keep: &str) -> String {
    format!("optimizer.{keep}")
}

/// The part that holds a chunk of the consensus.
pub(crate) fn consensus_part(chunk: u32) -> String {
    format!("consensus.{chunk}")
}

pub(crate) fn run(context: &Context, inputs: &Inputs<'_>) -> Result<Output, StageError> {
    let step = inputs.step()?;
    if step.fit.is_none() {
        return untrained(context, inputs);
    }
    let draws = context.draws(&inputs.planned)?;
    let model = inputs.results.get(MODEL);
    let start = model.map(|_| inputs.part(context, MODEL, WEIGHTS)).transpose()?;
    let kept_state = step.keep.as_deref().map(optimizer_part);
    let optimizer = match (model, &kept_state) {
        (Some(model), Some(name)) if model.parts.contains_key(name) => Some(inputs.part(context, MODEL, name)?),
        _ => None,
    };
    let consensus = inputs
        .results
        .contains_key(CONSENSUS)
        .then(|| consensus(context, inputs))
        .transpose()?;
    let fitted = context.learner.fit(&FitInputs {
        run: &inputs.planned.run,
        round: inputs.task.at.round,
        step,
        subject: inputs.task.subject,
        start: start.as_deref(),
        optimizer: optimizer.as_deref(),
        draws: &draws,
        consensus: consensus.as_deref(),
        cancelled: &|| context.is_cancelled(),
    })?;
    let mut kept: BTreeMap<_, _> = model.map(|model| model.parts.clone()).unwrap_or_default();
    // A model that comes from another slot brings its weights only: pretraining's optimizer state is dropped.
    kept.retain(|name, part| name != WEIGHTS && part.place == inputs.place());
    let mut parts = BTreeMap::from([(WEIGHTS.to_owned(), (place(inputs), Bytes::from(fitted.weights)))]);
    if let Some(name) = kept_state {
        kept.remove(&name);
        parts.insert(name, (inputs.place(), Bytes::from(fitted.optimizer)));
    }
    Ok(Output {
        parts,
        kept,
        report: Report::Fit {
            loss: fitted.loss,
            epochs: fitted.epochs,
            steps: fitted.steps,
            rows: fitted.rows,
        },
    })
}

/// Where the subject's weights lie: in the open where the pipeline says so.
fn place(inputs: &Inputs<'_>) -> Place {
    if inputs.planned.run.pipeline.discloses.contains(&Disclosure::Weights) {
        Place::Shared
    } else {
        inputs.place()
    }
}

/// What a step without training makes: the weights of the model that it starts from, by reference, or else new ones.
fn untrained(context: &Context, inputs: &Inputs<'_>) -> Result<Output, StageError> {
    let (mut parts, mut kept) = (BTreeMap::new(), BTreeMap::new());
    if let Some(model) = inputs.results.get(MODEL) {
        let weights = model.parts.get(WEIGHTS);
        let weights =
            weights.ok_or_else(|| StageError::Reject("the model that it starts from has no weights".to_owned()))?;
        kept.insert(WEIGHTS.to_owned(), *weights);
    } else {
        let weights = context.learner.initial(&inputs.planned.run, inputs.task.subject)?;
        parts.insert(WEIGHTS.to_owned(), (place(inputs), Bytes::from(weights)));
    }
    Ok(Output {
        parts,
        kept,
        report: Report::Initial,
    })
}

/// The whole consensus, chunk by chunk, in the order of the alignment set.
fn consensus(context: &Context, inputs: &Inputs<'_>) -> Result<Vec<f32>, StageError> {
    let mut values = Vec::new();
    for chunk in 0..inputs.planned.plan.chunks.len() as u32 {
        let bytes = inputs.part(context, CONSENSUS, &consensus_part(chunk))?;
        let decoded = predictions::decode(&bytes)
            .map_err(|error| StageError::Reject(format!("consensus of chunk {chunk}: {error}")))?;
        values.extend(decoded.values.to_f32());
    }
    Ok(values)
}
