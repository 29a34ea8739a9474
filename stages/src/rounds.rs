//! Which tasks a round needs, as pure functions of what exists: resolved run, plan, manifest and closed phases.
//!
//! A task names every result that it reads. A subject whose inputs do not all exist has no task: it is not in the
//! phase's cohort.

use fedstill_schemas::digest::Digest;
use fedstill_schemas::events::{Closed, Done};
use fedstill_schemas::pipeline::{By, Rule, Stage, Start, Step, Target, Who};
use fedstill_schemas::plan::{Manifest, Phase, Plan, phases};
use fedstill_schemas::resolved::{ResolvedRun, VERSION};
use fedstill_schemas::task::{Attempt, Reference, Subject, Task};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Name under which a task reads the model that it starts from.
pub const MODEL: &str = "model";
/// Name under which a task reads the round's consensus.
pub const CONSENSUS: &str = "consensus";

/// What is fixed for one attempt at a round.
#[derive(Debug)]
pub struct Planned {
    /// The resolved run.
    pub run: ResolvedRun,
    /// Its sha256.
    pub resolved: Digest,
    /// The plan.
    pub plan: Plan,
    /// What the round before left behind; `None` in round 0.
    pub manifest: Option<Manifest>,
    /// The round's phases.
    pub phases: Vec<Phase>,
}

impl Planned {
    /// Puts together what the store holds of an attempt.
    pub fn new(run: ResolvedRun, plan: Plan, manifest: Option<Manifest>) -> Self {
        let phases = phases(&run.pipeline, plan.at.round);
        Self {
            resolved: plan.resolved,
            run,
            plan,
            manifest,
            phases,
        }
    }

    /// Run, round and attempt.
    pub fn at(&self) -> &Attempt {
        &self.plan.at
    }

    /// The step of that name in this round; `None` for the archive, which no pipeline names.
    pub fn step(&self, name: &str) -> Option<&Step> {
        self.run.pipeline.step(self.plan.at.round, name)
    }

    /// The phase that predicts before phase `before`, and the name of its predicting step.
    pub fn predicting(&self, before: u32) -> Option<(u32, &str)> {
        let earlier = self.phases.iter().enumerate().take(before as usize);
        earlier
            .filter_map(|(index, phase)| {
                let at = phase.stages.iter().position(|stage| *stage == Stage::Predict)?;
                Some((index as u32, phase.steps[at].as_str()))
            })
            .next_back()
    }

    /// How many members a phase needs.
    pub fn needed(&self, phase: u32, cohort: usize) -> usize {
        match self.phases[phase as usize].who {
            Who::Parties | Who::Selected => self.plan.close.needed(self.run.parties.len()),
            Who::Architectures | Who::Partitions | Who::Server => cohort.max(1),
        }
    }

    /// The architecture index of a subject that owns a model.
    pub fn architecture(&self, subject: Subject) -> Option<u32> {
        match subject {
            Subject::Architecture(index) => Some(index),
            Subject::Party(slot) => {
                let own = self.run.parties.get(slot as usize)?;
                let index = self.run.architectures().iter().position(|a| *a == own)?;
                Some(index as u32)
            }
            Subject::Partition(_) | Subject::Server => None,
        }
    }

    fn subjects(&self, who: Who) -> Vec<Subject> {
        match who {
            Who::Parties => (0..self.run.parties.len() as u32).map(Subject::Party).collect(),
            Who::Selected => match &self.plan.selected {
                Some(slots) => slots.iter().copied().map(Subject::Party).collect(),
                None => self.subjects(Who::Parties),
            },
            Who::Architectures => (0..self.run.architectures().len() as u32)
                .map(Subject::Architecture)
                .collect(),
            Who::Partitions => {
                let mut partitions: Vec<u32> = self.plan.chunks.iter().map(|chunk| chunk.partition).collect();
                partitions.sort_unstable();
                partitions.dedup();
                partitions.into_iter().map(Subject::Partition).collect()
            }
            Who::Server => vec![Subject::Server],
        }
    }
}

/// What exists of an attempt when one of its phases opens: the plan, and the phases that closed before.
#[derive(Clone, Debug)]
pub struct Round {
    /// What is fixed.
    pub planned: Arc<Planned>,
    /// What closed the phases before this one, in order.
    pub closed: Vec<Arc<Closed>>,
}

/// What stands for results by their names.
fn digest(results: BTreeMap<String, Reference>) -> Digest {
    let results = results.into_iter().map(|(name, result)| (name, result.sha256));
    Digest::of_json(&results.collect::<BTreeMap<String, Digest>>())
}

/// The same of results by their subjects.
fn named(results: BTreeMap<Subject, Reference>) -> Digest {
    let results = results
        .into_iter()
        .map(|(subject, result)| (subject.to_string(), result));
    digest(results.collect())
}

impl Round {
    /// When the first of its tasks that are done was written, in Unix milliseconds of the log; `None` before any is.
    pub fn began_ms(&self) -> Option<i64> {
        let members = self.closed.iter().flat_map(|closed| closed.members.values());
        members.flatten().map(|done| done.usage.queued_ms).min()
    }

    /// The phase that is open.
    pub fn phase(&self) -> u32 {
        self.closed.len() as u32
    }

    /// The first task of everyone in the phase's cohort.
    pub fn cohort(&self) -> BTreeMap<Subject, Task> {
        let phase = &self.planned.phases[self.closed.len()];
        self.planned
            .subjects(phase.who)
            .into_iter()
            .filter_map(|subject| Some((subject, self.task(subject, &[])?)))
            .collect()
    }

    /// The task that follows for a member that has `done` the first steps of the phase; `None` after the last step, or
    /// where an input is missing.
    pub fn task(&self, subject: Subject, done: &[Done]) -> Option<Task> {
        let phase = &self.planned.phases[self.closed.len()];
        let name = phase.steps.get(done.len())?;
        let stage = phase.stages[done.len()];
        // As many as there are parties: a record stays small, and the closed phases name them.
        let (reads, members) = match stage {
            Stage::Aggregate => (BTreeMap::new(), Some(digest(self.aggregated(name)?))),
            Stage::Archive => (BTreeMap::new(), Some(digest(self.everything()))),
            Stage::Average => (BTreeMap::new(), Some(named(self.averaged(name, subject)?))),
            Stage::Evaluate if subject == Subject::Server => (BTreeMap::new(), Some(named(self.trained(subject)?))),
            _ => (self.reads(name, stage, subject, done)?, None),
        };
        Some(Task {
            version: VERSION,
            at: self.planned.at().clone(),
            resolved: self.planned.resolved,
            phase: self.phase(),
            step: name.clone(),
            stage,
            subject,
            reads,
            members,
        })
    }

    fn reads(&self, name: &str, stage: Stage, subject: Subject, done: &[Done]) -> Option<BTreeMap<String, Reference>> {
        if stage == Stage::Join {
            return self.of_stage(Stage::Aggregate);
        }
        let step = self.planned.step(name)?;
        let mut reads = BTreeMap::new();
        match &step.start {
            Start::Fresh => {}
            Start::Own => {
                reads.insert(MODEL.to_owned(), self.newest_model(subject, done)?);
            }
            Start::Prototype => {
                let prototype = Subject::Architecture(self.planned.architecture(subject)?);
                let own: &[Done] = if subject == prototype { done } else { &[] };
                reads.insert(MODEL.to_owned(), self.newest_model(prototype, own)?);
            }
            Start::Step(made_by) => {
                let architecture = Subject::Architecture(self.planned.architecture(subject)?);
                let made = |done: &&Done| done.result.step == *made_by;
                // An architecture's own steps may be of this phase, and in no `closed` yet.
                let own = done.iter().rev().filter(|_| subject == architecture);
                let found = own.chain(self.done_by(architecture).rev()).find(made)?;
                reads.insert(MODEL.to_owned(), found.result.clone());
            }
        }
        if step.terms.iter().any(|term| term.target == Target::Consensus) {
            let joined = self.of_stage(Stage::Join)?;
            reads.insert(CONSENSUS.to_owned(), joined.into_values().next()?);
        }
        Some(reads)
    }

    /// The subject's newest model: of this phase, of the phases before, of the rounds before.
    fn newest_model(&self, subject: Subject, done: &[Done]) -> Option<Reference> {
        let made = |done: &&Done| self.makes_model(&done.result.step);
        let this_phase = done.iter().rev().find(made);
        let newest = this_phase.or_else(|| self.done_by(subject).rev().find(made));
        let before = || self.planned.manifest.as_ref()?.slots.get(&subject);
        newest.map(|done| &done.result).or_else(before).cloned()
    }

    fn makes_model(&self, step: &str) -> bool {
        self.planned.step(step).is_some_and(|step| step.stage.makes_model())
    }

    /// What a subject has done in the phases before, oldest first.
    fn done_by(&self, subject: Subject) -> impl DoubleEndedIterator<Item = &Done> {
        let of_phase = move |closed: &'_ Arc<Closed>| closed.members.get(&subject).map_or(0, Vec::len);
        self.closed
            .iter()
            .filter(move |closed| of_phase(closed) > 0)
            .flat_map(move |closed| &closed.members[&subject])
    }

    /// The results of the newest phase with a step of that stage, by subject; `None` where nobody did it.
    fn of_stage(&self, stage: Stage) -> Option<BTreeMap<String, Reference>> {
        let phases = &self.planned.phases;
        let (index, step) = (0..self.closed.len()).rev().find_map(|index| {
            let at = phases[index].stages.iter().position(|s| *s == stage)?;
            Some((index, &phases[index].steps[at]))
        })?;
        let members = self.closed[index].members.iter();
        let results: BTreeMap<_, _> = members
            .filter_map(|(subject, done)| {
                let done = done.iter().find(|done| done.result.step == *step)?;
                Some((subject.to_string(), done.result.clone()))
            })
            .collect();
        (!results.is_empty()).then_some(results)
    }

    /// What an `aggregate` step reads of its members: predictions, and where it drops the worst the models that it judges.
    fn aggregated(&self, step: &str) -> Option<BTreeMap<String, Reference>> {
        let mut read = self.of_stage(Stage::Predict)?;
        if self.planned.step(step).is_some_and(|step| step.drop_worst) {
            let models = self.trained(Subject::Server)?.into_iter();
            read.extend(models.map(|(party, model)| (format!("{MODEL}/{party}"), model)));
        }
        Some(read)
    }

    /// The models that the members of the newest phase of parties that trains made in it, by party: those of an
    /// architecture, or all of them for the server. `None` where there are none.
    pub fn trained(&self, of: Subject) -> Option<BTreeMap<Subject, Reference>> {
        let trains = |phase: &Phase| {
            matches!(phase.who, Who::Parties | Who::Selected) && phase.stages.iter().any(|stage| stage.makes_model())
        };
        let newest = (0..self.closed.len())
            .rev()
            .find(|index| trains(&self.planned.phases[*index]))?;
        let of_it = |party: Subject| match of {
            Subject::Architecture(index) => self.planned.architecture(party) == Some(index),
            _ => true,
        };
        let members = self.closed[newest].members.iter().filter(|(party, _)| of_it(**party));
        let models: BTreeMap<_, _> = members
            .filter_map(|(party, done)| {
                let made = done.iter().rev().find(|done| self.makes_model(&done.result.step))?;
                Some((*party, made.result.clone()))
            })
            .collect();
        (!models.is_empty()).then_some(models)
    }

    /// The models that a step combines to an architecture's mean, by party: all that its parties trained, and in a mean by
    /// samples those that were trained on private rows in the round. `None` where there are none: the architecture has no
    /// task, and its prototype stays as it was.
    pub fn averaged(&self, step: &str, of: Subject) -> Option<BTreeMap<Subject, Reference>> {
        let mut models = self.trained(of)?;
        if self.planned.step(step)?.rule == Some(Rule::Weights(By::Samples)) {
            models.retain(|party, _| self.on_private_rows(*party).is_some());
        }
        (!models.is_empty()).then_some(models)
    }

    /// The result that says on how many private rows a party's newest model was trained: that of the newest step of the
    /// round that trained on them, in the chain of steps that the model comes from. `None` where the chain has none in this
    /// round, as of a party that missed that step and learned from others all the same.
    pub fn on_private_rows(&self, party: Subject) -> Option<&Reference> {
        for done in self.done_by(party).rev() {
            let Some(step) = self.planned.step(&done.result.step) else {
                continue;
            };
            if step.counts_private_rows() {
                return Some(&done.result);
            }
            if step.stage.makes_model() && step.start != Start::Own {
                return None;
            }
        }
        None
    }

    /// Every result of the round, by step and subject.
    fn everything(&self) -> BTreeMap<String, Reference> {
        let done = self.closed.iter().flat_map(|closed| closed.members.values().flatten());
        done.map(|done| {
            (
                format!("{}/{}", done.result.step, done.result.subject),
                done.result.clone(),
            )
        })
        .collect()
    }

    /// The manifest that the round leaves behind: the newest model of each slot, and the round's scores.
    pub fn manifest(&self) -> Manifest {
        let mut slots = self
            .planned
            .manifest
            .as_ref()
            .map_or_else(BTreeMap::new, |before| before.slots.clone());
        let mut scores = BTreeMap::new();
        for closed in &self.closed {
            for (subject, done) in &closed.members {
                for done in done {
                    let step = self.planned.step(&done.result.step);
                    match step.map(|step| step.stage) {
                        Some(stage) if stage.makes_model() => slots.insert(*subject, done.result.clone()),
                        Some(Stage::Evaluate) => scores.insert(*subject, done.result.clone()),
                        _ => None,
                    };
                }
            }
        }
        Manifest {
            version: VERSION,
            at: self.planned.at().clone(),
            resolved: self.planned.resolved,
            slots,
            scores,
            histories: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests;
