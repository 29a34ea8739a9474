//! `archive` ends a round.
//!
//! ```text
//! every result of the round ──> archive ──> manifest (store, create-once) ──> result tables (Parquet)
//!                                                 └──> the next round's trigger, or `ended`
//! ```
//!
//! In: the round's closed phases and results. Out: the manifest, the round's rows of the four result tables, and what
//! goes on. The first manifest of a round wins; the tables are written from that one, under names and with bytes that
//! follow from it (costs: and from the prices that this process has), so that writing them again changes nothing.

mod tables;

use crate::context::{Context, json};
use crate::error::StageError;
use crate::execute::{Inputs, Output, read_result, round_of};
use crate::selection;
use fedstill_log::Message;
use fedstill_schemas::envelope::{self, Kind};
use fedstill_schemas::events::{Decision, Ending, Trigger};
use fedstill_schemas::names;
use fedstill_schemas::plan::Manifest;
use fedstill_schemas::resolved::VERSION;
use fedstill_schemas::results;
use fedstill_schemas::task::{Attempt, Report};
use std::collections::BTreeMap;

pub(crate) fn run(context: &Context, inputs: &Inputs<'_>) -> Result<Output, StageError> {
    let task = inputs.task;
    let mut round = round_of(context, task)?;
    let path = names::manifest_object(&task.at.run, task.at.round);
    let histories = selection::after(
        &round,
        &|subject| context.learner.effort(&round.planned.run, subject),
        &mut |reference| read_result(context, &task.at.run, reference),
    )?;
    let manifest = Manifest {
        histories,
        ..round.manifest()
    };
    let (manifest, sha256) = context.store.create_json::<Manifest>(&path, manifest)?;
    context.faults.hit("archive:after-manifest");
    if manifest.at != task.at {
        // Another attempt was first: its round is the one that counts.
        round = context.round(&manifest.at, task.phase)?;
    }
    tables::write(context, &round, &manifest)?;
    context.faults.hit("archive:after-tables");
    Ok(Output {
        parts: BTreeMap::new(),
        kept: BTreeMap::new(),
        report: Report::Archived { manifest: sha256 },
    })
}

/// Writes the tables of a round that has its manifest and not all of them: its archive died in between, or somebody
/// deleted them. They follow from the store alone.
///
/// # Errors
/// A store that does not answer, or lacks what the manifest names.
pub(crate) fn complete(context: &Context, manifest: &Manifest) -> Result<(), StageError> {
    let at = &manifest.at;
    let mut files = results::TABLES
        .iter()
        .map(|table| names::result_file(table, &at.run, at.round));
    if files.try_fold(true, |all, file| {
        Ok::<_, StageError>(all && context.store.has_result_file(&file)?)
    })? {
        return Ok(());
    }
    let archive = context.planned(at)?.phases.len() as u32 - 1;
    tables::write(context, &context.round(at, archive)?, manifest)
}

/// What goes on: the next round's trigger, or the end of the run.
pub(crate) fn publish(context: &Context, inputs: &Inputs<'_>) -> Result<Vec<Message>, StageError> {
    let plan = &inputs.planned.plan;
    let at = &plan.at;
    if at.round >= plan.through {
        let ended = Decision::Ended {
            at: at.clone(),
            why: Ending::Finished,
        };
        return Ok(vec![context.decision(&ended)?]);
    }
    let next = Attempt {
        run: at.run.clone(),
        round: at.round + 1,
        attempt: 0,
    };
    let trigger = Trigger {
        version: VERSION,
        at: next,
        through: plan.through,
        resolved: inputs.planned.run.clone(),
        close: plan.close,
        after: Some(at.attempt),
    };
    Ok(vec![trigger_message(context, &trigger)?])
}

/// The record of a trigger. The resolved run of very many parties is put where `plan` would put it, and its URL said:
/// brokers take no large records.
///
/// # Errors
/// A log or a store that does not answer; a store that has another run of that id.
pub fn trigger_message(context: &Context, trigger: &Trigger) -> Result<Message, StageError> {
    const LARGE: usize = 512 << 10;
    let at = &trigger.at;
    let mut value = json(trigger);
    if value.len() > LARGE {
        let object = names::run_object(&at.run);
        let (there, _) = context.store.create_json(&object, trigger.resolved.clone())?;
        if there != trigger.resolved {
            let reason = format!(
                "run id taken: '{}' exists with other settings; choose another name",
                at.run
            );
            return Err(StageError::Stop(reason));
        }
        let mut small = serde_json::to_value(trigger).map_err(|error| StageError::Stop(error.to_string()))?;
        small["resolved"] = format!("{}{object}", context.store.url()).into();
        value = json(&small);
    }
    let id = format!("{}/{}/{}", at.run, at.round, at.attempt);
    Ok(Message {
        topic: names::ROUNDS.to_owned(),
        partition: names::partition(&at.run, context.partitions(names::ROUNDS)?),
        headers: envelope::headers(Kind::Trigger, at, &id, &at.run),
        key: at.run.clone().into(),
        value,
    })
}
