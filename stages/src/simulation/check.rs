//! What must hold when a schedule is over.

use super::group::ProcessLog;
use super::learner::ON_PURPOSE;
use super::oracle::{Model, Oracle};
use super::scenario::{Algorithm, RUN, Scenario};
use super::world::World;
use crate::decisions::Decisions;
use crate::rounds::Planned;
use crate::{advance, plan, worker};
use fedstill_log::{Log, Polled, Record};
use fedstill_schemas::digest::Digest;
use fedstill_schemas::events::{Answer, Closed, Decision, Ending, Missing};
use fedstill_schemas::pipeline::Stage;
use fedstill_schemas::plan::{Manifest, Phase, phases};
use fedstill_schemas::predictions::{self, Predictions};
use fedstill_schemas::task::{Attempt, Reference, Report, Subject, TaskResult};
use fedstill_schemas::{names, results};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What a round left behind, bit for bit.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RoundBits {
    /// sha256 of the parts of each slot's model, by their names.
    pub(super) models: BTreeMap<Subject, BTreeMap<String, Digest>>,
    pub(super) consensus: Vec<u32>,
    /// The result tables that hold no times.
    pub(super) tables: Vec<bytes::Bytes>,
}

/// The algorithm, parties, rows of the alignment set.
pub(super) type Kind = (Algorithm, u32, u32);

/// What a schedule came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Outcome {
    pub(super) rounds: Vec<RoundBits>,
    /// Whether everyone was in every phase of the manifests.
    pub(super) whole: bool,
    /// Whether the last round was tried in vain.
    pub(super) exhausted: bool,
}

impl World {
    /// Everything that must hold; the first thing that does not.
    pub(super) fn check(&self) -> Result<Outcome, String> {
        if let Some(failure) = self.failure.lock().take() {
            return Err(failure);
        }
        self.end_all();
        let rounds = self.first_missing();
        let through = self.person.lock().through;
        self.check_decisions(rounds, through)?;
        self.check_lag()?;
        self.check_dead_letters()?;
        self.check_missing(rounds)?;
        let outcome = Outcome {
            exhausted: rounds <= through,
            ..self.outcome()?
        };
        if self.manifest(rounds + 1).is_some() {
            return Err(format!("round {} has a manifest, round {rounds} has none", rounds + 1));
        }
        Ok(outcome)
    }

    /// What the rounds left behind, which must be what the oracle says.
    pub(super) fn outcome(&self) -> Result<Outcome, String> {
        let run = self.scenario.resolved();
        let mut oracle = Oracle::default();
        let mut outcome = Outcome {
            whole: true,
            ..Outcome::default()
        };
        for round in 0..self.first_missing() {
            let manifest = self
                .manifest(round)
                .ok_or_else(|| format!("round {round} has no manifest"))?;
            let closed = self.closed_phases(&manifest.at)?;
            outcome.whole &= self.abstaining().is_empty() && closed.iter().all(|closed| closed.missing.is_empty());
            oracle.go_through(&run, round, &closed, &self.abstaining());
            let bits = self.check_round(&manifest, &closed, &oracle)?;
            outcome.rounds.push(bits);
        }
        Ok(outcome)
    }

    /// Every phase is closed or cut off, and the end is said.
    fn check_decisions(&self, rounds: u32, through: u32) -> Result<(), String> {
        let log = self
            .this
            .upgrade()
            .map(|world| ProcessLog::of_a_newcomer(&world))
            .unwrap();
        let decisions = Decisions::read(Arc::new(log)).map_err(|error| error.to_string())?;
        if !decisions.open().is_empty() {
            return Err(format!("phases are open: {:?}", decisions.open().keys()));
        }
        let Some((at, why)) = decisions.ended(RUN) else {
            return Err("nobody has said that the run has ended".to_owned());
        };
        let expected = if rounds > through { through } else { rounds };
        if at.0 != expected {
            return Err(format!("the run has ended at {at:?}, not in round {expected}"));
        }
        match why {
            Ending::Failed { step, missing } if missing.is_empty() => {
                Err(format!("step {step} failed, and nobody is named"))
            }
            _ => Ok(()),
        }
    }

    /// Every group has committed everything.
    fn check_lag(&self) -> Result<(), String> {
        let stages: Vec<&str> = Stage::ALL.iter().map(|stage| names::stage_topic(*stage)).collect();
        for (group, topics) in [
            (plan::GROUP, vec![names::ROUNDS]),
            (advance::GROUP, vec![names::ANSWERS]),
            (worker::GROUP, stages),
        ] {
            let mut consumer = self.log.subscribe(group, &topics).unwrap();
            while let Polled::Assigned(_) | Polled::Revoked(_) = consumer.poll(Duration::ZERO).unwrap() {}
            // What a poll has delivered is behind the position, so commits are read anew.
            drop(consumer);
            let mut consumer = self.log.subscribe(group, &topics).unwrap();
            let Polled::Assigned(partitions) = consumer.poll(Duration::ZERO).unwrap() else {
                return Err(format!("{group} is not empty"));
            };
            for partition in partitions {
                let end = self.log.offsets(&partition.topic, partition.partition).unwrap().end;
                let position = consumer.position(&partition).unwrap_or(0);
                if position != end {
                    return Err(format!("{group} lags in {partition}: {position} of {end}"));
                }
            }
        }
        Ok(())
    }

    /// Only what is bad on purpose is refused.
    fn check_dead_letters(&self) -> Result<(), String> {
        for letter in self.records(names::DEAD) {
            let reason = String::from_utf8_lossy(letter.header("fedstill_reason").unwrap_or_default()).into_owned();
            let origin = String::from_utf8_lossy(letter.header("fedstill_origin").unwrap_or_default()).into_owned();
            let lie = self.scenario.lying.is_some() && origin.starts_with(names::LOGITS);
            if !lie && !self.expects(&reason) {
                return Err(format!("{origin} was dead-lettered: {reason}"));
            }
        }
        Ok(())
    }

    /// Whether somebody may be missing for this reason.
    fn expects(&self, reason: &str) -> bool {
        let scenario = &self.scenario;
        let simulated = scenario.simulate.fail.is_some() && reason.contains("simulated failure");
        let bad = [ON_PURPOSE, "not finite", "NaN", "predicted"];
        // Below quorum without the party that lies.
        let lying = scenario
            .lying
            .is_some_and(|(liar, _)| reason.contains(&format!("party-{liar} (")));
        lying || simulated || (!scenario.bad.is_empty() && bad.iter().any(|bad| reason.contains(bad)))
    }

    fn abstaining(&self) -> Vec<Subject> {
        let liar = self.scenario.lying.map(|(liar, _)| Subject::Party(liar));
        liar.into_iter().collect()
    }

    /// Every record of a topic.
    pub(super) fn records(&self, topic: &str) -> Vec<Record> {
        (0..self.log.partitions(topic).unwrap())
            .flat_map(|partition| self.log.read(topic, partition, 0).unwrap().next(usize::MAX).unwrap())
            .collect()
    }

    /// What closed an attempt's phases before its archive.
    pub(super) fn closed_phases(&self, at: &Attempt) -> Result<Vec<Closed>, String> {
        let count = phases(&self.scenario.resolved().pipeline, at.round).len() as u32;
        (0..count - 1)
            .map(|phase| {
                let path = names::closed_object(at, phase);
                let found = self.store.need_json::<Closed>(&path);
                found.map(|(closed, _)| closed).map_err(|error| error.to_string())
            })
            .collect()
    }

    /// Whoever is missing in a closed phase of any attempt is missing for a reason.
    fn check_missing(&self, rounds: u32) -> Result<(), String> {
        let attempts = (0..=rounds).flat_map(|round| (0..3).map(move |attempt| (round, attempt)));
        for plan in attempts.filter_map(|(round, attempt)| self.plan_of(round, attempt)) {
            let phases = phases(&self.scenario.resolved().pipeline, plan.at.round).len() as u32;
            let path = |phase| names::closed_object(&plan.at, phase);
            let closed = (0..phases).filter_map(|phase| self.store.get_json::<Closed>(&path(phase)).unwrap());
            for (closed, _) in closed {
                for (subject, why) in &closed.missing {
                    let missing = format!("{} phase {}: {subject} is missing", plan.at, closed.phase);
                    let expected = match why {
                        Missing::Late => self.scenario.close.deadline_ms.is_some(),
                        Missing::Failed { reason } => self.expects(reason),
                    };
                    if !expected {
                        return Err(format!("{missing}: {why}"));
                    }
                    if *why == Missing::Late && self.was_in_time(&closed, *subject) {
                        return Err(format!("{missing}, and answered in time"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether an answer to the last step of a closed phase was on the log before the deadline.
    fn was_in_time(&self, closed: &Closed, subject: Subject) -> bool {
        let opened = self.records(names::DECISIONS).into_iter().find(|record| {
            serde_json::from_slice(&record.value).is_ok_and(|decision| match decision {
                Decision::Open { at, phase } => at == closed.at && phase == closed.phase,
                _ => false,
            })
        });
        let deadline = self.scenario.close.deadline_ms.unwrap_or(0) as i64;
        let until = opened.map_or(0, |record| record.timestamp_ms) + deadline;
        let run = self.scenario.resolved();
        let last = phases(&run.pipeline, closed.at.round)[closed.phase as usize]
            .steps
            .last()
            .cloned();
        let answers = self
            .records(names::ANSWERS)
            .into_iter()
            .filter(|record| record.timestamp_ms < until);
        answers
            .filter_map(|record| serde_json::from_slice::<Answer>(&record.value).ok())
            .any(|answer| {
                answer.at == closed.at
                    && answer.phase == closed.phase
                    && answer.subject == subject
                    && Some(&answer.step) == last.as_ref()
            })
    }

    pub(super) fn result(&self, reference: &Reference) -> Result<TaskResult, String> {
        let path = names::result_object(RUN, reference.round, &reference.step, reference.subject, reference.task);
        let found = self.store.need_json::<TaskResult>(&path);
        let (result, sha256) = found.map_err(|error| error.to_string())?;
        if sha256 == reference.sha256 {
            Ok(result)
        } else {
            Err(format!("{path} is not the result that is referenced"))
        }
    }

    fn check_round(&self, manifest: &Manifest, closed: &[Closed], oracle: &Oracle) -> Result<RoundBits, String> {
        let at = &manifest.at;
        let differs =
            |what: &str, subject: &Subject| Err(format!("{at}: {what} of {subject} differ from the oracle's"));
        if !manifest.slots.keys().eq(oracle.models.keys()) {
            return Err(format!("{at}: other slots: {:?}", manifest.slots.keys()));
        }
        let mut models = BTreeMap::new();
        for (subject, reference) in &manifest.slots {
            let parts = self.result(reference)?.parts;
            let parts: BTreeMap<String, Digest> = parts.into_iter().map(|(name, part)| (name, part.sha256)).collect();
            if parts != digests(&oracle.models[subject]) {
                return differs("weights or state", subject);
            }
            models.insert(*subject, parts);
        }
        if !manifest.scores.keys().eq(oracle.scores.keys()) {
            return Err(format!("{at}: other scores: {:?}", manifest.scores.keys()));
        }
        for (subject, reference) in &manifest.scores {
            if self.result(reference)?.report != Report::Scores(oracle.scores[subject].clone()) {
                return differs("scores", subject);
            }
        }
        let consensus = match &oracle.consensus {
            None => Vec::new(),
            Some(expected) => {
                let found = self.consensus(at, closed)?;
                if !same_bits(&found, expected) {
                    return Err(format!("{at}: the consensus differs from the oracle's"));
                }
                if !same_bits(&found, &self.counted_from_the_log(at, closed)?) {
                    return Err(format!("{at}: the consensus differs from what the log holds"));
                }
                found.iter().map(|value| value.to_bits()).collect()
            }
        };
        let table = |table: &str| {
            let file = names::result_file(table, RUN, at.round);
            self.objects.result_file(&file).ok_or(format!("{file} is missing"))
        };
        for name in results::TABLES {
            table(name)?;
        }
        Ok(RoundBits {
            models,
            consensus,
            tables: vec![table(results::METRICS)?, table(results::CONSENSUS)?],
        })
    }

    /// The consensus that the parties learned from.
    fn consensus(&self, at: &Attempt, closed: &[Closed]) -> Result<Vec<f32>, String> {
        let joined = closed.iter().find_map(|closed| {
            let done = closed.members.get(&Subject::Server)?;
            done.iter().find(|done| done.result.step == "join")
        });
        let joined = self.result(&joined.ok_or(format!("{at}: nobody joined"))?.result)?;
        let chunks = self.plan_of(at.round, at.attempt).map_or(0, |plan| plan.chunks.len());
        let mut values = Vec::new();
        for chunk in 0..chunks {
            let part = joined.parts.get(&format!("consensus.{chunk}"));
            let part = part.ok_or(format!("{at}: chunk {chunk} is missing"))?;
            let message = self.store.get_part(RUN, part).map_err(|error| error.to_string())?;
            let decoded = predictions::decode(&message).map_err(|error| error.to_string())?;
            values.extend(decoded.values.to_f32());
        }
        Ok(values)
    }

    /// The consensus once more, from the records: each member's first usable one of each chunk, added in float64.
    fn counted_from_the_log(&self, at: &Attempt, closed: &[Closed]) -> Result<Vec<f32>, String> {
        let plan = self.plan_of(at.round, at.attempt).ok_or(format!("{at} has no plan"))?;
        let planned = Planned::new(self.scenario.resolved(), plan, None);
        let predicts = |phase: &Phase| phase.stages.contains(&Stage::Predict);
        let predicting = planned.phases.iter().position(predicts);
        let closed = &closed[predicting.ok_or(format!("{at}: nobody predicts"))?];
        let (plan, classes) = (&planned.plan, planned.run.head());
        let rows = super::learner::draws(&planned.run, at.round).alignment;
        let mut mean = Vec::new();
        for (chunk, slice) in (0..).zip(&plan.chunks) {
            let key = names::chunk_key(at, "predict", chunk);
            // All places of the first row, then all of the second.
            let places = planned.run.private.labels_per_row() as usize;
            let samples: Vec<u32> = (0..slice.rows as usize * places)
                .map(|place| rows[slice.range()][place / places])
                .collect();
            let usable = |record: &Record| -> Option<Predictions> {
                if record.key != key {
                    return None;
                }
                let range = plan.logits_start[slice.partition as usize]..closed.logits_end[slice.partition as usize];
                let found = predictions::decode(&record.value).ok()?;
                let fits = range.contains(&record.offset)
                    && record.partition == slice.partition
                    && found.identity.at == *at
                    && found.identity.chunk == chunk
                    && record.header("ce_subject")
                        == found
                            .identity
                            .slot
                            .map(|slot| format!("party-{slot}"))
                            .as_ref()
                            .map(String::as_bytes)
                    && found.identity.step == "predict"
                    && found.check(&samples, classes).is_ok()
                    && found.values.to_f32().iter().all(|value| value.is_finite());
                fits.then_some(found)
            };
            let mut counted: BTreeSet<u32> = BTreeSet::new();
            let mut sums = vec![0f64; samples.len() * classes as usize];
            for record in self.records(names::LOGITS) {
                let Some(found) = usable(&record) else { continue };
                let slot = found.identity.slot.unwrap_or(u32::MAX);
                if closed.members.contains_key(&Subject::Party(slot)) && counted.insert(slot) {
                    for (sum, value) in sums.iter_mut().zip(found.values.to_f32()) {
                        *sum += f64::from(value);
                    }
                }
            }
            mean.extend(sums.iter().map(|sum| (sum / counted.len() as f64) as f32));
        }
        Ok(mean)
    }
}

impl Scenario {
    /// Federations that come to the same bits where everyone is in.
    pub(super) fn kind(&self) -> Kind {
        (self.algorithm, self.parties, self.alignment)
    }
}

fn digests(model: &Model) -> BTreeMap<String, Digest> {
    let states = model
        .kept
        .iter()
        .map(|(name, state)| (format!("optimizer.{name}"), state));
    states
        .chain([("weights".to_owned(), &model.weights)])
        .map(|(name, bytes)| (name, Digest::of(bytes)))
        .collect()
}

fn same_bits(one: &[f32], other: &[f32]) -> bool {
    one.iter()
        .map(|value| value.to_bits())
        .eq(other.iter().map(|value| value.to_bits()))
}
