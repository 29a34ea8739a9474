//! `plan` starts rounds.
//!
//! ```text
//! fedstill.rounds ──> plan ──> run.json, draws, plan (store) ──> open (decisions) ──> the first phase's tasks
//! ```
//!
//! In: triggers. Out: the plan of an attempt, create-once, and what it opens. After a crash the trigger is read again:
//! the plan that exists is adopted and published once more. A trigger that cannot work goes to the dead-letter topic.

use crate::context::{Context, json};
use crate::decisions::Decisions;
use crate::error::StageError;
use crate::rewind::rewind;
use crate::rounds::{Planned, Round};
use crate::selection;
use crate::telemetry::Processing;
use crate::trigger::{self, Asked};
use fedstill_log::{Consumer, Polled, Record};
use fedstill_schemas::digest::Digest;
use fedstill_schemas::envelope::Trace;
use fedstill_schemas::events::{Decision, Ending, Missing, Trigger};
use fedstill_schemas::names;
use fedstill_schemas::pipeline::On;
use fedstill_schemas::plan::{Chunk, Manifest, Plan, chunk_rows, chunks};
use fedstill_schemas::resolved::{ResolvedRun, VERSION};
use fedstill_schemas::task::{Attempt, Place, Subject};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// Consumer group of planners.
pub const GROUP: &str = "fedstill.plan";
/// Times that a round may be tried.
pub const ATTEMPTS: u32 = 3;

/// What a person can do about a run with a round that was tried as often as it may be; `simulates` says whether anything
/// goes wrong in it on purpose.
pub fn remedy(simulates: bool) -> &'static str {
    if simulates {
        "change the seed, or the quorum or [simulate] together with the name: what goes wrong on purpose is drawn from the \
         seed, the round and the attempt, under any name"
    } else {
        "mend what failed and use another name"
    }
}

/// The stage `plan`.
pub struct Planner {
    context: Arc<Context>,
    consumer: Box<dyn Consumer>,
    decisions: Decisions,
    refused: Option<(Attempt, String)>,
}

impl std::fmt::Debug for Planner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Planner").finish_non_exhaustive()
    }
}

/// Whether a trigger may start its round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Start,
    /// It has been served, or its run was stopped: nothing to do.
    Ignore,
    /// It never can, for this reason.
    Refuse(String),
}

/// What decides whether a trigger may start its round.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// Round and attempt at which the run ended last, and why.
    pub ended: Option<&'a ((u32, u32), Ending)>,
    /// Whether the round has a manifest.
    pub done: bool,
    /// Whether the round before has one.
    pub before_done: bool,
    /// Whether the attempt has a plan: it was started, and perhaps not wholly.
    pub planned: bool,
    /// Whether others work on the run, who may never answer.
    pub deployed: bool,
    /// Whether the run is done again: who is in was decided.
    pub repeated: bool,
}

/// Whether a trigger may start its round.
pub fn admit(trigger: &Trigger, known: Known<'_>) -> Admission {
    let Attempt { round, attempt, .. } = trigger.at;
    if known.done {
        return Admission::Ignore;
    }
    if round > 0 && !known.before_done {
        return Admission::Refuse(format!("round {} has no manifest: trigger that one first", round - 1));
    }
    if attempt >= ATTEMPTS {
        return Admission::Refuse(format!(
            "a round is tried {ATTEMPTS} times at most: {}",
            remedy(!trigger.resolved.simulate.is_nothing())
        ));
    }
    let through = known.ended.map(|(through, _)| *through);
    if through >= Some((round, attempt)) {
        return Admission::Ignore;
    }
    // A stop that came after the plan is too late for this attempt: what was started is started whole.
    let stopped = known.ended.is_some_and(|(_, why)| *why == Ending::Stopped);
    let before = trigger.after.zip(round.checked_sub(1));
    if stopped && !known.planned && before.is_some_and(|(attempt, round)| through >= Some((round, attempt))) {
        return Admission::Ignore;
    }
    if !(trigger.close.quorum > 0.0 && trigger.close.quorum <= 1.0) {
        let quorum = trigger.close.quorum;
        return Admission::Refuse(format!(
            "close.quorum is a fraction above 0 and at most 1, not {quorum}"
        ));
    }
    if let Some(what) = trigger.resolved.too_large() {
        return Admission::Refuse(format!("the resolved run has {what}"));
    }
    // Who wrote the trigger by hand has asked nobody whether its rounds can be done.
    if let Some(fault) = trigger.resolved.pipeline.check().first() {
        return Admission::Refuse(format!("the run's pipeline cannot be run: resolved.pipeline.{fault}"));
    }
    if known.deployed && trigger.close.deadline_ms.is_none() {
        return Admission::Refuse(
            "a deployed run needs close.deadline_ms, or one party that is gone stops it for ever".to_owned(),
        );
    }
    let offline = trigger.resolved.simulate.offline.is_some() && !trigger.resolved.is_placed();
    if offline && !known.repeated && trigger.close.deadline_ms.is_none() {
        return Admission::Refuse(
            "simulate.offline needs close.deadline_ms, or the parties that never answer stop the run for ever"
                .to_owned(),
        );
    }
    if let Some(reason) = selection::refusal(&trigger.resolved, trigger.close) {
        return Admission::Refuse(reason);
    }
    if attempt > 0 && through != Some((round, attempt - 1)) {
        return Admission::Refuse(format!(
            "attempt {attempt} follows attempt {} when that has failed or was stopped, and it has not",
            attempt - 1
        ));
    }
    Admission::Start
}

impl Planner {
    /// Joins the planners.
    ///
    /// # Errors
    /// A log that does not answer.
    pub fn new(context: Arc<Context>) -> Result<Self, StageError> {
        let consumer = context.log.subscribe(GROUP, &[names::ROUNDS])?;
        let decisions = Decisions::read(Arc::clone(&context.log))?;
        Ok(Self {
            context,
            consumer,
            decisions,
            refused: None,
        })
    }

    /// Serves what has arrived, waiting for it as long as `wait`; whether there was anything.
    ///
    /// # Errors
    /// What this worker cannot go on with, and what may work later: then the trigger is read again.
    pub fn tick(&mut self, wait: Duration) -> Result<bool, StageError> {
        match self.consumer.poll(wait)? {
            Polled::Idle => Ok(false),
            Polled::Assigned(_) | Polled::Revoked(_) => Ok(true),
            Polled::Records(records) => {
                for (index, record) in records.iter().enumerate() {
                    let served = match self.serve(record) {
                        // A damaged object of that run: the others go on.
                        Err(StageError::Reject(reason)) => self.context.dead_letter(record, &reason),
                        served => served,
                    };
                    let served = served.and_then(|()| {
                        self.context.faults.hit("plan:before-commit");
                        Ok(self.consumer.commit(&[(record.topic_partition(), record.offset + 1)])?)
                    });
                    if let Err(error) = served {
                        rewind(&mut *self.consumer, &records[index..])?;
                        return Err(error);
                    }
                }
                Ok(true)
            }
        }
    }

    fn serve(&mut self, record: &Record) -> Result<(), StageError> {
        let began = self.context.telemetry.now();
        self.decisions.refresh()?;
        let trigger = match trigger::read(&self.context, &self.decisions, &record.value)? {
            Asked::Start(trigger) => *trigger,
            Asked::Nothing => return Ok(()),
            Asked::Refuse(reason) => return self.context.dead_letter(record, &reason),
        };
        match self.admission(&trigger)? {
            Admission::Ignore => Ok(()),
            Admission::Refuse(reason) => self.refuse(record, &trigger, reason),
            Admission::Start => match self.start(&trigger) {
                Err(StageError::Reject(reason)) => {
                    self.refuse(record, &trigger, reason.clone())?;
                    // A round always ends, one that cannot begin too.
                    let ended = Decision::Ended {
                        at: trigger.at,
                        why: Ending::Failed {
                            step: "plan".to_owned(),
                            missing: BTreeMap::from([(Subject::Server, Missing::Failed { reason })]),
                        },
                    };
                    self.context.log.append(&[self.context.decision(&ended)?])?;
                    Ok(())
                }
                started => {
                    started?;
                    let processing = Processing {
                        record,
                        at: &trigger.at,
                        group: GROUP,
                        tries: 0,
                        began,
                    };
                    self.context.telemetry.processed(&processing, Vec::new(), None);
                    Ok(())
                }
            },
        }
    }

    fn refuse(&mut self, record: &Record, trigger: &Trigger, reason: String) -> Result<(), StageError> {
        self.context.dead_letter(record, &reason)?;
        self.refused = Some((trigger.at.clone(), reason));
        Ok(())
    }

    /// The trigger that was refused last, and why, unless it was asked for before.
    pub fn refused(&mut self) -> Option<(Attempt, String)> {
        self.refused.take()
    }

    /// Whether the trigger may start its round; where it may, its resolved run is the run's.
    fn admission(&mut self, trigger: &Trigger) -> Result<Admission, StageError> {
        let at = &trigger.at;
        let store = &self.context.store;
        let exists = |path: &str| Ok::<_, StageError>(store.get(path)?.is_some());
        let before = at.round.checked_sub(1);
        let known = Known {
            ended: self.decisions.ended(&at.run),
            done: exists(&names::manifest_object(&at.run, at.round))?,
            before_done: match before {
                Some(round) => exists(&names::manifest_object(&at.run, round))?,
                None => false,
            },
            planned: exists(&names::plan_object(at))?,
            deployed: self.context.deployed,
            repeated: self.context.repeats.is_some(),
        };
        if exists(&names::pruned_object(&at.run))? {
            let reason = format!("'{}' was pruned: choose another name", at.run);
            return Ok(Admission::Refuse(reason));
        }
        let admission = admit(trigger, known);
        if admission != Admission::Start {
            return Ok(admission);
        }
        let (there, resolved) = store.create_json(&names::run_object(&at.run), trigger.resolved.clone())?;
        if there == trigger.resolved {
            return Ok(Admission::Start);
        }
        Ok(Admission::Refuse(format!(
            "run id taken: '{}' exists with other settings (run.json has sha256 {}); choose another name",
            at.run,
            resolved.short()
        )))
    }

    fn start(&self, trigger: &Trigger) -> Result<(), StageError> {
        let at = &trigger.at;
        let before = at.round.checked_sub(1);
        let before = before.map(|round| names::manifest_object(&at.run, round));
        let manifest = before
            .map(|path| self.context.store.need_json::<Manifest>(&path))
            .transpose()?;
        let plan = self.plan(trigger, manifest.as_ref())?;
        let manifest = manifest.map(|(manifest, _)| manifest);
        let round = Round {
            planned: Arc::new(Planned::new(trigger.resolved.clone(), plan, manifest)),
            closed: Vec::new(),
        };
        open(&self.context, &round, |point| match point {
            Opening::Opened => self.context.faults.hit("plan:after-open"),
            Opening::Tasks => self.context.faults.hit("plan:after-tasks"),
        })
    }

    /// The attempt's plan: a new one, or the one that exists.
    fn plan(&self, trigger: &Trigger, manifest: Option<&(Manifest, Digest)>) -> Result<Plan, StageError> {
        let at = &trigger.at;
        let path = names::plan_object(at);
        if let Some((plan, _)) = self.context.store.get_json(&path)? {
            return Ok(plan);
        }
        // A trigger of another tool may describe data that they are not.
        let draws = catch_unwind(AssertUnwindSafe(|| {
            self.context.learner.draws(&trigger.resolved, at.round)
        }));
        let draws = draws.unwrap_or_else(|_| {
            let reason = "its data are not as the resolved run says: take the run from `fedstill submit --print`";
            Err(StageError::Reject(reason.to_owned()))
        })?;
        let aligned = draws.alignment.len() as u32;
        let draws = self.context.store.put_part(&at.run, Place::Shared, json(&draws))?;
        self.context.faults.hit("plan:after-draws");
        let topics = names::topics();
        let partitions = topics
            .into_iter()
            .map(|topic| Ok((topic.to_owned(), self.context.log.partitions(topic)?)))
            .collect::<Result<BTreeMap<_, _>, StageError>>()?;
        let plan = Plan {
            version: VERSION,
            at: at.clone(),
            through: trigger.through,
            resolved: trigger.resolved.sha256(),
            close: trigger.close,
            manifest: manifest.map(|(_, sha256)| *sha256),
            draws,
            chunks: sliced(&trigger.resolved, at.round, aligned, partitions[names::LOGITS]),
            logits_start: log_ends(&self.context, names::LOGITS, partitions[names::LOGITS])?,
            partitions,
            selected: self.selected(trigger, manifest.map(|(manifest, _)| manifest))?,
        };
        let (plan, _) = self.context.store.create_json(&path, plan)?;
        self.context.faults.hit("plan:after-plan");
        Ok(plan)
    }

    /// Who takes part in the round; in a run that is done again who took part then: another release may have selected
    /// otherwise.
    fn selected(&self, trigger: &Trigger, manifest: Option<&Manifest>) -> Result<Option<Vec<u32>>, StageError> {
        let at = &trigger.at;
        if let Some(first) = &self.context.repeats {
            return Ok(first.need_json::<Plan>(&names::plan_object(at))?.0.selected);
        }
        let nothing = BTreeMap::new();
        let histories = manifest.map_or(&nothing, |manifest| &manifest.histories);
        Ok(selection::select(&trigger.resolved, at.round, histories))
    }
}

/// Slices of the alignment set; none in a round whose steps do not use it.
fn sliced(run: &ResolvedRun, round: u32, aligned: u32, partitions: u32) -> Vec<Chunk> {
    let steps = run.pipeline.steps(round);
    let uses = steps.iter().any(|step| {
        step.stage == fedstill_schemas::pipeline::Stage::Predict
            || step.terms.iter().any(|term| term.on == On::Alignment)
    });
    if uses {
        chunks(aligned, chunk_rows(run), partitions)
    } else {
        Vec::new()
    }
}

/// The present end of each partition of a topic.
///
/// # Errors
/// A log that does not answer.
pub(crate) fn log_ends(context: &Context, topic: &str, partitions: u32) -> Result<Vec<u64>, StageError> {
    (0..partitions)
        .map(|partition| Ok(context.log.offsets(topic, partition)?.end))
        .collect()
}

/// Some of those who are missing: all are in what closed the phase, and a record stays small.
pub(crate) fn some(missing: &BTreeMap<Subject, Missing>) -> BTreeMap<Subject, Missing> {
    const NAMED: usize = 100;
    let named = missing.iter().take(NAMED);
    named.map(|(subject, why)| (*subject, why.clone())).collect()
}

/// How far opening a phase has come.
pub(crate) enum Opening {
    /// `open` is acknowledged.
    Opened,
    /// The tasks are acknowledged.
    Tasks,
}

/// Opens the phase that follows a round's closed ones: first `open`, then its tasks. A phase that nobody can take part
/// in, or too few, ends the attempt at once.
pub(crate) fn open(context: &Context, round: &Round, at: impl Fn(Opening)) -> Result<(), StageError> {
    let cohort = round.cohort();
    let phase = round.phase();
    let planned = &round.planned;
    if cohort.len() < planned.needed(phase, cohort.len()) || cohort.is_empty() {
        let step = planned.phases[phase as usize].steps[0].clone();
        let missing = round
            .closed
            .last()
            .map(|closed| some(&closed.missing))
            .unwrap_or_default();
        let why = Ending::Failed { step, missing };
        let ended = Decision::Ended {
            at: planned.at().clone(),
            why,
        };
        context.log.append(&[context.decision(&ended)?])?;
        return Ok(());
    }
    let opened = Decision::Open {
        at: planned.at().clone(),
        phase,
    };
    let opened = [context.decision(&opened)?];
    let began = context.telemetry.now();
    context.log.append(&opened)?;
    at(Opening::Opened);
    let tasks: Vec<_> = cohort.into_values().collect();
    let messages = context.tasks(planned, &tasks)?;
    context.log.append(&messages)?;
    at(Opening::Tasks);
    let span = Trace::of_phase(planned.at(), phase);
    context.telemetry.sent(span, &opened, began);
    context.telemetry.sent(span, &messages, began);
    context.observer.opened(round, tasks.len());
    Ok(())
}

#[cfg(test)]
mod tests;
