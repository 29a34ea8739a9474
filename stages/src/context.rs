//! What every worker of a process shares: log, store, learner, and what of recent rounds was read from the store.

use crate::error::StageError;
use crate::faults::Faults;
use crate::learn::{Learner, Validated};
use crate::rounds::{Planned, Round};
use crate::signed::{self, Said};
use crate::store::Store;
use crate::telemetry::{Observed, Telemetry};
use bytes::Bytes;
use fedstill_log::{Log, Message, Record, UNREADABLE};
use fedstill_schemas::digest::Digest;
use fedstill_schemas::envelope::{self, Kind};
use fedstill_schemas::events::{Answer, Closed, Decision};
use fedstill_schemas::names;
use fedstill_schemas::pipeline::Disclosure;
use fedstill_schemas::plan::{Draws, Manifest, Plan};
use fedstill_schemas::prices::Provider;
use fedstill_schemas::resolved::ResolvedRun;
use fedstill_schemas::signature::{PARTY, PrivateKey};
use fedstill_schemas::task::{Attempt, Reference, Subject, Task};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Told of what happens, for people.
pub trait Observer: Send + Sync + Debug {
    /// A phase opened with so many members.
    fn opened(&self, _round: &Round, _members: usize) {}
    /// A task ended: `None` if its result exists, otherwise what went wrong.
    fn finished(&self, _task: &Task, _error: Option<&StageError>) {}
    /// A phase closed.
    fn closed(&self, _closed: &Closed) {}
}

/// Tells nobody.
#[derive(Debug)]
pub struct Silent;

impl Observer for Silent {}

/// The party that a process works for, where it is that party's own.
#[derive(Clone, Debug)]
pub struct Own {
    /// Its id.
    pub id: String,
    /// What it signs with.
    pub key: PrivateKey,
    /// What it lets others see.
    pub allow: BTreeSet<Disclosure>,
}

impl Own {
    /// Whether it may do a task about a subject of a run: the subject is this party, and the run discloses no more than
    /// it allows, by what it says and by what its steps do.
    ///
    /// # Errors
    /// Why it may not.
    pub fn may(&self, run: &ResolvedRun, subject: Subject) -> Result<(), StageError> {
        let refuse = |reason: String| Err(StageError::Reject(reason));
        match run.identity(subject) {
            Some(party) if party.id == self.id && party.key == self.key.public() => {}
            Some(party) if party.id == self.id => {
                return refuse(format!(
                    "the run has another public key of {}: give the operator the [[party]] table again",
                    self.id
                ));
            }
            _ => return refuse(format!("{subject} of this run is not {}", self.id)),
        }
        let denied = run.pipeline.discloses.iter().find(|what| !self.allow.contains(what));
        if let Some(what) = denied {
            return refuse(format!(
                "{} does not allow what the pipeline discloses: {what}; it may add \"{}\" to allow in its party.toml",
                self.id,
                what.name()
            ));
        }
        // A party believes nobody else that the pipeline's steps show no more than it says.
        match run.pipeline.check().first() {
            None => Ok(()),
            Some(fault) => refuse(format!("the run's pipeline cannot be run: {fault}")),
        }
    }
}

/// What a process's workers share.
#[derive(Debug)]
pub struct Context {
    /// The log.
    pub log: Arc<dyn Log>,
    /// The store.
    pub store: Store,
    /// What trains and predicts.
    pub learner: Arc<dyn Learner>,
    /// Told of what happens.
    pub observer: Arc<dyn Observer>,
    /// Tells those who run the process.
    pub telemetry: Telemetry,
    /// The party that this process works for, where it is that party's own.
    pub own: Option<Own>,
    /// Whether others work on the same runs, who may never answer.
    pub deployed: bool,
    /// The store of the run that is done again here: who is in comes from there.
    pub repeats: Option<Store>,
    /// By whose prices the tasks of rounds that are archived here are billed.
    pub prices: Arc<Provider>,
    /// Named instants at which tests kill the process.
    pub faults: Faults,
    cancelled: AtomicBool,
    /// Recent attempts. A handful: a worker serves few rounds at a time.
    planned: Mutex<Vec<Arc<Planned>>>,
    closed: Mutex<Vec<Arc<Closed>>>,
    draws: Mutex<Vec<(Digest, Arc<Draws>)>>,
    partitions: Mutex<HashMap<String, u32>>,
    /// By the result that made the model.
    validated: Mutex<BTreeMap<Digest, Validated>>,
}

/// Attempts, and closed phases, that are kept in memory.
const RECENT: usize = 8;
/// Models of which it is kept in memory how they were validated.
const VALIDATED: usize = 1 << 14;

impl Context {
    /// A context over a log, a store and a learner.
    pub fn new(log: Arc<dyn Log>, store: Store, learner: Arc<dyn Learner>) -> Self {
        Self {
            log,
            store,
            learner,
            observer: Arc::new(Silent),
            telemetry: Telemetry::default(),
            own: None,
            deployed: false,
            repeats: None,
            prices: Arc::new(Provider::default()),
            faults: Faults::default(),
            cancelled: AtomicBool::new(false),
            planned: Mutex::new(Vec::new()),
            closed: Mutex::new(Vec::new()),
            draws: Mutex::new(Vec::new()),
            partitions: Mutex::new(HashMap::new()),
            validated: Mutex::new(BTreeMap::new()),
        }
    }

    /// Works on runs with others.
    #[must_use]
    pub fn deployed(mut self) -> Self {
        self.deployed = true;
        self
    }

    /// Tells what it does, and what its log is asked for.
    #[must_use]
    pub fn with_telemetry(mut self, telemetry: Telemetry) -> Self {
        if telemetry.is_on() {
            self.log = Arc::new(Observed {
                log: self.log,
                telemetry: telemetry.clone(),
            });
        }
        self.telemetry = telemetry;
        self
    }

    /// Asks running tasks to stop at their next batch.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether running tasks were asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// What is fixed for an attempt, if it is in memory.
    pub fn known(&self, at: &Attempt) -> Option<Arc<Planned>> {
        let planned = self.planned.lock();
        planned.iter().find(|planned| planned.at() == at).map(Arc::clone)
    }

    /// What is fixed for an attempt, from the store or from memory.
    ///
    /// # Errors
    /// A plan that is not there, or a store that does not answer.
    pub fn planned(&self, at: &Attempt) -> Result<Arc<Planned>, StageError> {
        if let Some(found) = self.known(at) {
            return Ok(found);
        }
        let (run, _) = self.store.need_json::<ResolvedRun>(&names::run_object(&at.run))?;
        let (plan, _) = self.store.need_json::<Plan>(&names::plan_object(at))?;
        let manifest = match at.round.checked_sub(1) {
            None => None,
            Some(before) => {
                let path = names::manifest_object(&at.run, before);
                Some(self.store.need_json::<Manifest>(&path)?.0)
            }
        };
        let planned = Arc::new(Planned::new(run, plan, manifest));
        keep(&mut self.planned.lock(), Arc::clone(&planned));
        Ok(planned)
    }

    /// The round as it was when a phase opened.
    ///
    /// # Errors
    /// A phase before that is not closed, or a store that does not answer.
    pub fn round(&self, at: &Attempt, phase: u32) -> Result<Round, StageError> {
        let planned = self.planned(at)?;
        if phase as usize >= planned.phases.len() {
            return Err(StageError::Reject(format!("{at} has no phase {phase}")));
        }
        let closed = (0..phase)
            .map(|before| self.closed(at, before))
            .collect::<Result<_, _>>()?;
        Ok(Round { planned, closed })
    }

    /// What closed a phase, from the store or from memory.
    ///
    /// # Errors
    /// A phase that is not closed, or a store that does not answer.
    pub fn closed(&self, at: &Attempt, phase: u32) -> Result<Arc<Closed>, StageError> {
        let is_it = |closed: &&Arc<Closed>| closed.at == *at && closed.phase == phase;
        if let Some(found) = self.closed.lock().iter().find(is_it) {
            return Ok(Arc::clone(found));
        }
        let (closed, _) = self.store.need_json::<Closed>(&names::closed_object(at, phase))?;
        let closed = Arc::new(closed);
        keep(&mut self.closed.lock(), Arc::clone(&closed));
        Ok(closed)
    }

    /// The rows that an attempt uses.
    ///
    /// # Errors
    /// A part that is missing or damaged, or a store that does not answer.
    pub fn draws(&self, planned: &Planned) -> Result<Arc<Draws>, StageError> {
        let part = &planned.plan.draws;
        if let Some((_, found)) = self.draws.lock().iter().find(|(sha256, _)| *sha256 == part.sha256) {
            return Ok(Arc::clone(found));
        }
        let bytes = self.store.get_part(&planned.at().run, part)?;
        let draws: Draws =
            serde_json::from_slice(&bytes).map_err(|error| StageError::Reject(format!("the plan's draws: {error}")))?;
        let draws = Arc::new(draws);
        keep(&mut self.draws.lock(), (part.sha256, Arc::clone(&draws)));
        Ok(draws)
    }

    /// What a model says of the validation rows, kept from when it was counted: a round's tasks ask for the same models.
    /// Those that ask while one counts do it too, for the same answer, and wait for nobody.
    ///
    /// # Errors
    /// What `count` says.
    pub(crate) fn validated(
        &self,
        model: &Reference,
        count: impl FnOnce() -> Result<Validated, StageError>,
    ) -> Result<Validated, StageError> {
        let known = self.validated.lock().get(&model.sha256).copied();
        if let Some(found) = known {
            return Ok(found);
        }
        let counted = count()?;
        let mut validated = self.validated.lock();
        if validated.len() >= VALIDATED {
            validated.clear();
        }
        validated.insert(model.sha256, counted);
        Ok(counted)
    }

    /// Partitions of a topic as they are now, for topics whose counts no plan pins.
    ///
    /// # Errors
    /// An unknown topic, or a log that does not answer.
    pub fn partitions(&self, topic: &str) -> Result<u32, StageError> {
        if let Some(count) = self.partitions.lock().get(topic) {
            return Ok(*count);
        }
        let count = self.log.partitions(topic)?;
        self.partitions.lock().insert(topic.to_owned(), count);
        Ok(count)
    }

    /// The record of a decision. Decisions of a run share a partition, so that everyone sees them in one order. Each has
    /// a key of its own: compaction drops repeats, and never one decision for another that is older and was repeated.
    ///
    /// # Errors
    /// A log that does not answer.
    pub fn decision(&self, decision: &Decision) -> Result<Message, StageError> {
        let key = names::decision_key(decision);
        let at = decision.at();
        Ok(Message {
            topic: names::DECISIONS.to_owned(),
            partition: names::partition(&at.run, self.partitions(names::DECISIONS)?),
            headers: envelope::headers(Kind::Decision, at, &key, &key),
            key: key.into(),
            value: json(decision),
        })
    }

    /// The record of an answer, in the partition of its phase; signed where this process is a party's own.
    ///
    /// # Errors
    /// A log that does not answer.
    pub fn answer(&self, answer: &Answer) -> Result<Message, StageError> {
        let key = names::phase_key(&answer.at, answer.phase);
        let id = format!("{key}/{}/{}", answer.step, answer.subject);
        let mut headers = envelope::headers(Kind::Answer, &answer.at, &id, &answer.subject.to_string());
        let value = json(answer);
        let mut topic = names::ANSWERS;
        if let (Some(own), Subject::Party(slot)) = (&self.own, answer.subject) {
            topic = names::PARTY_ANSWERS;
            let said = Said {
                at: &answer.at,
                step: &answer.step,
                chunk: None,
                slot,
            };
            signed::sign(own, &mut headers, said, &value);
        }
        Ok(Message {
            topic: topic.to_owned(),
            partition: names::partition(&key, self.partitions_of_answers(&answer.at, topic)?),
            headers,
            key: key.into(),
            value,
        })
    }

    /// By the plan, as `advance` looks for them: partitions may be added during a round. What has no plan answers nobody,
    /// and may go anywhere.
    fn partitions_of_answers(&self, at: &Attempt, topic: &str) -> Result<u32, StageError> {
        match self.planned(at).and_then(|planned| pinned(&planned.plan, topic)) {
            Err(StageError::Reject(_)) => self.partitions(topic),
            pinned => pinned,
        }
    }

    /// The dead letter of a record that cannot be used: the record with the reason, or a reference to it when large. It
    /// is small whatever the record was like: brokers must take it.
    ///
    /// # Errors
    /// A log that does not answer.
    pub fn dead_letter(&self, record: &Record, reason: &str) -> Result<(), StageError> {
        const INLINE: usize = 64 * 1024;
        let unreadable = record.header(UNREADABLE).map(String::from_utf8_lossy);
        let reason = shortened(unreadable.as_deref().unwrap_or(reason));
        let origin = format!("{}/{}/{}", record.topic, record.partition, record.offset);
        let of = |(name, value): &(String, Bytes)| name.len() + value.len();
        let size = record.key.len() + record.value.len() + record.headers.iter().map(of).sum::<usize>();
        let (mut headers, key, value) = if size <= INLINE {
            (record.headers.clone(), record.key.clone(), record.value.clone())
        } else {
            let reference = json(&BTreeMap::from([("record", origin.clone())]));
            (Vec::new(), Bytes::new(), reference)
        };
        tracing::warn!(record = origin, reason, "dead-lettered");
        self.telemetry.dead_lettered(&record.topic);
        headers.push((envelope::REASON.to_owned(), reason.to_owned().into()));
        headers.push(("fedstill_origin".to_owned(), origin.clone().into()));
        self.log.append(&[Message {
            topic: names::DEAD.to_owned(),
            partition: names::partition(&origin, self.partitions(names::DEAD)?),
            key,
            headers,
            value,
        }])?;
        Ok(())
    }

    /// The records of tasks, each in the partition of its subject, by the counts that the plan pins.
    ///
    /// # Errors
    /// A plan that pins no count for a topic.
    pub fn tasks(&self, planned: &Planned, tasks: &[Task]) -> Result<Vec<Message>, StageError> {
        tasks.iter().map(|task| task_message(planned, task)).collect()
    }
}

fn task_message(planned: &Planned, task: &Task) -> Result<Message, StageError> {
    let mut headers = envelope::headers(
        Kind::Task,
        &task.at,
        &task.digest().to_string(),
        &task.subject.to_string(),
    );
    // A party's own worker reads the partition of its id, and passes over others' tasks by this header.
    let placed = planned.run.identity(task.subject).zip(names::party_topic(task.stage));
    let (topic, key) = match placed {
        Some((party, topic)) => {
            headers.push((PARTY.to_owned(), party.id.clone().into()));
            (topic, party.id.clone())
        }
        None => (names::stage_topic(task.stage), names::task_key(&task.at, task.subject)),
    };
    Ok(Message {
        topic: topic.to_owned(),
        partition: names::partition(&key, pinned(&planned.plan, topic)?),
        headers,
        key: key.into(),
        value: json(task),
    })
}

/// Partitions of a topic by the plan.
///
/// # Errors
/// A plan that pins none.
pub fn pinned(plan: &Plan, topic: &str) -> Result<u32, StageError> {
    let count = plan.partitions.get(topic).filter(|count| **count > 0);
    count
        .copied()
        .ok_or_else(|| StageError::Reject(format!("the plan pins no partitions for {topic}")))
}

/// The beginning of a reason, which may quote what anybody wrote.
pub(crate) fn shortened(reason: &str) -> &str {
    const LONGEST: usize = 1024;
    let end = (0..=LONGEST.min(reason.len()))
        .rev()
        .find(|end| reason.is_char_boundary(*end));
    &reason[..end.unwrap_or(0)]
}

/// A body in canonical JSON.
pub fn json<T: serde::Serialize>(value: &T) -> bytes::Bytes {
    fedstill_schemas::canonical_json(value).into()
}

fn keep<T>(recent: &mut Vec<T>, value: T) {
    if recent.len() == RECENT {
        recent.remove(0);
    }
    recent.push(value);
}

#[cfg(test)]
mod tests;
