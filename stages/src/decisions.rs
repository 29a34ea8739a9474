//! The decisions topic, read whole: which phases are open, which are closed, which runs have ended and up to where.
//!
//! In: every record of the topic, from the beginning. Out: answers to "does this task still matter?". After a crash it
//! is read again; nothing is kept.

use crate::error::StageError;
use fedstill_log::{Log, Reader};
use fedstill_schemas::events::{Decision, Ending};
use fedstill_schemas::names;
use fedstill_schemas::task::Attempt;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

/// What has been decided, as far as it was read.
pub struct Decisions {
    log: Arc<dyn Log>,
    readers: Vec<Box<dyn Reader>>,
    open: BTreeMap<String, Opened>,
    runs: HashMap<String, Run>,
}

/// A phase that was opened and is not closed.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Run, round and attempt.
    pub at: Attempt,
    /// Index of the phase.
    pub phase: u32,
    /// When it was opened first, in Unix milliseconds of the log.
    pub opened_ms: i64,
}

#[derive(Debug, Default)]
struct Run {
    ended: Option<((u32, u32), Ending)>,
    closed: std::collections::BTreeSet<(u32, u32, u32)>,
}

impl fmt::Debug for Decisions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decisions")
            .field("open", &self.open)
            .field("runs", &self.runs)
            .finish_non_exhaustive()
    }
}

/// A reader of each partition of the topic, from its beginning.
///
/// # Errors
/// A log that does not answer.
pub fn readers(log: &dyn Log) -> Result<Vec<Box<dyn Reader>>, StageError> {
    let reader = |partition| {
        let start = log.offsets(names::DECISIONS, partition)?.start;
        Ok(log.read(names::DECISIONS, partition, start)?)
    };
    (0..log.partitions(names::DECISIONS)?).map(reader).collect()
}

impl Decisions {
    /// Reads the topic from its beginning to its present end.
    ///
    /// # Errors
    /// A log that cannot be read.
    pub fn read(log: Arc<dyn Log>) -> Result<Self, StageError> {
        let readers = readers(&*log)?;
        let mut decisions = Self {
            log,
            readers,
            open: BTreeMap::new(),
            runs: HashMap::new(),
        };
        decisions.refresh()?;
        Ok(decisions)
    }

    /// Reads on to the present end.
    ///
    /// # Errors
    /// A log that cannot be read.
    pub fn refresh(&mut self) -> Result<(), StageError> {
        let mut readers = std::mem::take(&mut self.readers);
        let read = readers.iter_mut().try_for_each(|reader| self.read_on(&mut **reader));
        self.readers = readers;
        read
    }

    fn read_on(&mut self, reader: &mut dyn Reader) -> Result<(), StageError> {
        loop {
            let records = reader.next(1 << 20)?;
            if records.is_empty() {
                return Ok(());
            }
            for record in records {
                match serde_json::from_slice(&record.value) {
                    Ok(decision) => self.fold(decision, record.timestamp_ms),
                    Err(error) => {
                        tracing::warn!(offset = record.offset, partition = record.partition, %error, "not a decision, passed over");
                    }
                }
            }
        }
    }

    fn fold(&mut self, decision: Decision, at_ms: i64) {
        match decision {
            Decision::Open { at, phase } => {
                if !self.is_over(&at, phase) {
                    let key = names::phase_key(&at, phase);
                    // Published again after a crash: the deadline counts from the first time.
                    self.open.entry(key).or_insert(Opened {
                        at,
                        phase,
                        opened_ms: at_ms,
                    });
                }
            }
            Decision::Closed { at, phase } => {
                self.open.remove(&names::phase_key(&at, phase));
                let run = self.runs.entry(at.run.clone()).or_default();
                run.closed.insert((at.round, at.attempt, phase));
            }
            Decision::Ended { at, why } => {
                let run = self.runs.entry(at.run.clone()).or_default();
                if run.ended.as_ref().is_none_or(|(through, _)| *through <= at.at()) {
                    run.ended = Some((at.at(), why));
                    run.closed.retain(|(round, attempt, _)| (*round, *attempt) > at.at());
                    self.open
                        .retain(|_, phase| phase.at.run != at.run || phase.at.at() > at.at());
                }
            }
        }
    }

    /// Whether a run has ended at or past an attempt.
    pub fn is_cut(&self, at: &Attempt) -> bool {
        self.ended(&at.run).is_some_and(|(through, _)| *through >= at.at())
    }

    /// Whether a phase needs no more work.
    pub fn is_over(&self, at: &Attempt, phase: u32) -> bool {
        let closed = |run: &Run| run.closed.contains(&(at.round, at.attempt, phase));
        self.is_cut(at) || self.runs.get(&at.run).is_some_and(closed)
    }

    /// Round and attempt at which a run ended last, and why.
    pub fn ended(&self, run: &str) -> Option<&((u32, u32), Ending)> {
        self.runs.get(run)?.ended.as_ref()
    }

    /// Phases that are open, by key.
    pub fn open(&self) -> &BTreeMap<String, Opened> {
        &self.open
    }

    /// The log that they are read from.
    pub fn log(&self) -> &Arc<dyn Log> {
        &self.log
    }
}

#[cfg(test)]
mod tests;
