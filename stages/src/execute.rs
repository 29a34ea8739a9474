//! One task, from what it names to what it made: the part of a worker that runs on a compute thread.
//!
//! In: a task. Out: its result, which exists from here on, and the messages to publish. The result is put last and
//! create-once; where it exists nothing is computed again, and the same messages follow from it.

use crate::context::Context;
use crate::error::StageError;
use crate::misfortune::{self, Fate};
use crate::rounds::{Planned, Round};
use crate::{aggregate, archive, average, crossing, evaluate, fit, join, predict, usage};
use bytes::Bytes;
use fedstill_log::Message;
use fedstill_schemas::events::Usage;
use fedstill_schemas::names;
use fedstill_schemas::pipeline::{Stage, Step};
use fedstill_schemas::resolved::VERSION;
use fedstill_schemas::task::{Part, Place, Reference, Report, Subject, Task, TaskResult};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A task with what it names, as a stage sees it.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// The task.
    pub task: &'a Task,
    /// What is fixed for its attempt.
    pub planned: Arc<Planned>,
    /// The results that it reads, of a task that reads them whole.
    pub results: BTreeMap<String, TaskResult>,
}

/// What a stage makes of its inputs.
#[derive(Debug)]
pub struct Output {
    /// Parts that are new, by name.
    pub parts: BTreeMap<String, (Place, Bytes)>,
    /// Parts of a result that it read, which go on unchanged.
    pub kept: BTreeMap<String, Part>,
    /// What it found out.
    pub report: Report,
}

/// A task that is done.
#[derive(Clone, Debug)]
pub struct Executed {
    /// Its result.
    pub result: Reference,
    /// What is published before the answer.
    pub messages: Vec<Message>,
    /// What it cost.
    pub usage: Usage,
}

impl<'a> Inputs<'a> {
    /// Reads what a task names.
    ///
    /// # Errors
    /// A result that is missing, damaged, or not the one that the task names.
    pub fn read(context: &Context, task: &'a Task) -> Result<Self, StageError> {
        let planned = context.planned(&task.at)?;
        if planned.resolved != task.resolved {
            let reason = format!("the task is of another resolved run than '{}'", task.at.run);
            return Err(StageError::Reject(reason));
        }
        if let Some(own) = &context.own {
            own.may(&planned.run, task.subject)?;
        }
        let mut results = BTreeMap::new();
        for (name, read) in &task.reads {
            results.insert(name.clone(), read_result(context, &task.at.run, read)?);
        }
        Ok(Self { task, planned, results })
    }

    /// The step.
    ///
    /// # Errors
    /// A step that the pipeline does not have.
    pub fn step(&self) -> Result<&Step, StageError> {
        let step = self.planned.step(&self.task.step);
        step.ok_or_else(|| StageError::Reject(format!("the pipeline has no step '{}'", self.task.step)))
    }

    /// A result that it reads.
    ///
    /// # Errors
    /// A name that the task does not have.
    pub fn result(&self, name: &str) -> Result<&TaskResult, StageError> {
        let result = self.results.get(name);
        result.ok_or_else(|| StageError::Reject(format!("the task names no '{name}'")))
    }

    /// The bytes of a part of a result that it reads.
    ///
    /// # Errors
    /// A part that the result does not have, or that cannot be read.
    pub fn part(&self, context: &Context, name: &str, part: &str) -> Result<Bytes, StageError> {
        let found = self.result(name)?.parts.get(part);
        let found = found.ok_or_else(|| StageError::Reject(format!("the result '{name}' has no part '{part}'")))?;
        Ok(context.store.get_part(&self.task.at.run, found)?)
    }

    /// The weights that a member made, and the result that names them.
    ///
    /// # Errors
    /// A result that is missing or made no weights, or a store that does not answer.
    pub fn weights_of(&self, context: &Context, member: &Reference) -> Result<(TaskResult, Bytes), StageError> {
        let run = &self.task.at.run;
        let result = read_result(context, run, member)?;
        let part = result.parts.get(fit::WEIGHTS);
        let part = part.ok_or_else(|| StageError::Reject(format!("{} made no weights", member.subject)))?;
        let weights = context.store.get_part(run, part)?;
        Ok((result, weights))
    }

    /// Where private parts of the task's subject lie.
    pub fn place(&self) -> Place {
        match self.task.subject {
            Subject::Party(slot) => Place::Party(slot),
            _ => Place::Shared,
        }
    }
}

/// A result object, checked against the reference that names it.
///
/// # Errors
/// A result that is missing or is not the one referenced.
pub fn read_result(context: &Context, run: &str, read: &Reference) -> Result<TaskResult, StageError> {
    let path = names::result_object(run, read.round, &read.step, read.subject, read.task);
    let (result, sha256) = context.store.need_json::<TaskResult>(&path)?;
    if sha256 != read.sha256 {
        return Err(StageError::Reject(format!(
            "{path} is not the result that the task names"
        )));
    }
    Ok(result)
}

/// Does a task: computes it unless its result exists, and returns what to publish.
///
/// # Errors
/// What the worker is to do about it.
pub fn execute(context: &Context, task: &Task, queued_ms: i64) -> Result<Executed, StageError> {
    let meter = usage::Meter::start(context.log.now_ms());
    context.faults.hit("task:taken");
    let inputs = Inputs::read(context, task)?;
    let fate = misfortune::fate(&inputs.planned.run, task.at.at(), task.subject);
    match fate {
        Fate::Offline => return Err(StageError::Offline),
        Fate::Fails => return Err(StageError::Reject("simulated failure".to_owned())),
        Fate::Fine | Fate::Slow(_) => {}
    }
    let path = names::result_of(task);
    let (result, sha256) = match context.store.get_json::<TaskResult>(&path)? {
        Some(exists) => exists,
        None => make(context, &inputs, &path, fate)?,
    };
    if result.task != task.digest() {
        return Err(StageError::Reject(format!("{path} is the result of another task")));
    }
    let messages = follow(context, &inputs, &result)?;
    let read = inputs.results.values().flat_map(|result| result.parts.values());
    let bytes_in = match task.stage {
        Stage::Aggregate => aggregate::bytes_in(context, &inputs, &result)?,
        Stage::Average => average::bytes_in(context, &inputs)?,
        Stage::Evaluate if task.subject == Subject::Server => average::bytes_in(context, &inputs)?,
        _ => read.map(|part| part.bytes).sum(),
    };
    let put: u64 = result.parts.values().map(|part| part.bytes).sum();
    let published: u64 = messages.iter().map(|message| message.value.len() as u64).sum();
    let (bytes_up, bytes_down) = crossing::of(task, &inputs.results, &result, published);
    Ok(Executed {
        result: Reference {
            round: task.at.round,
            step: task.step.clone(),
            subject: task.subject,
            task: result.task,
            sha256,
        },
        usage: Usage {
            bytes_in,
            bytes_out: put + published,
            bytes_up,
            bytes_down,
            numerics: context.learner.numerics(),
            release: env!("CARGO_PKG_VERSION").to_owned(),
            ..meter.stop(queued_ms, context.log.now_ms())
        },
        messages,
    })
}

fn make(
    context: &Context,
    inputs: &Inputs<'_>,
    path: &str,
    fate: Fate,
) -> Result<(TaskResult, fedstill_schemas::Digest), StageError> {
    let task = inputs.task;
    let began_ms = context.log.now_ms();
    let output = match task.stage {
        Stage::Pretrain | Stage::Train | Stage::Distill => fit::run(context, inputs),
        Stage::Predict => predict::run(context, inputs),
        Stage::Aggregate => aggregate::run(context, inputs),
        Stage::Join => join::run(inputs),
        Stage::Average => average::run(context, inputs),
        Stage::Evaluate => evaluate::run(context, inputs),
        Stage::Archive => archive::run(context, inputs),
    }?;
    context.faults.hit("task:computed");
    if let Fate::Slow(slowness) = fate {
        // Before the result exists: whoever is killed here is as slow once more.
        let took_ms = context.log.now_ms().saturating_sub(began_ms);
        misfortune::linger(context, task, misfortune::wait(slowness, took_ms))?;
    }
    let mut parts = output.kept;
    for (name, (place, bytes)) in output.parts {
        parts.insert(name, context.store.put_part(&task.at.run, place, bytes)?);
        context.faults.hit("task:after-part");
    }
    let result = TaskResult {
        version: VERSION,
        task: task.digest(),
        parts,
        report: output.report,
    };
    let put = context.store.create_json(path, result)?;
    context.faults.hit("task:after-result");
    Ok(put)
}

/// What is published once a result exists: the same messages, however often it is asked for.
fn follow(context: &Context, inputs: &Inputs<'_>, result: &TaskResult) -> Result<Vec<Message>, StageError> {
    match inputs.task.stage {
        Stage::Predict => predict::publish(context, inputs, result),
        Stage::Aggregate => aggregate::publish(context, inputs, result),
        Stage::Archive => archive::publish(context, inputs),
        Stage::Pretrain | Stage::Train | Stage::Join | Stage::Distill | Stage::Average | Stage::Evaluate => {
            Ok(Vec::new())
        }
    }
}

/// The round as the task's phase found it.
///
/// # Errors
/// A store that does not answer.
pub fn round_of(context: &Context, task: &Task) -> Result<Round, StageError> {
    context.round(&task.at, task.phase)
}
