//! A whole federation in one process: `plan`, `advance` and a worker of every stage, driven by one thread over the same
//! log, store and messages as on a cluster.

use crate::advance::Advance;
use crate::archive::{self, trigger_message};
use crate::context::Context;
use crate::decisions::Opened;
use crate::error::StageError;
use crate::plan::Planner;
use crate::pool::{Pool, Threads};
use crate::resume::next_trigger;
use crate::worker::Worker;
use fedstill_log::{Cleanup, Clock, ErrorKind, Log};
use fedstill_schemas::events::{Ending, Trigger};
use fedstill_schemas::names;
use fedstill_schemas::pipeline::Stage;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Partitions of each topic of a local run: enough that phases and chunks spread, few enough to be cheap.
pub const PARTITIONS: u32 = 4;
/// How long the driving thread waits for a task to finish before it looks around.
const WAIT: Duration = Duration::from_millis(20);
/// Pause after an error that may pass.
const PAUSE: Duration = Duration::from_millis(200);

/// Makes the topics of a log: with so many partitions each, but for the decisions, which everyone reads whole and which
/// have one.
///
/// # Errors
/// A log that does not answer.
pub fn make_topics(log: &dyn Log, partitions: u32) -> Result<(), StageError> {
    for topic in names::topics() {
        let (partitions, cleanup) = match topic {
            names::DECISIONS => (1, Cleanup::Compact),
            // Parties find their partition by its number: it never changes.
            topic if names::party_topics().any(|party| party == topic) => {
                let there = match log.partitions(topic) {
                    // Only what surely is not there gets the count that is asked for.
                    Err(error) if error.kind() == ErrorKind::Fatal => partitions,
                    there => there?,
                };
                (there, Cleanup::Delete)
            }
            _ => (partitions, Cleanup::Delete),
        };
        log.ensure_topic(topic, partitions, cleanup)?;
    }
    Ok(())
}

/// A federation in this process.
#[derive(Debug)]
pub struct Federation {
    context: Arc<Context>,
    planner: Planner,
    advance: Advance,
    worker: Worker,
}

/// How far a run has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It has been asked to stop here, and goes on where it was when it is run again.
    Interrupted,
    /// Its rounds are done.
    Finished,
    /// A round failed, or somebody stopped the run.
    Ended {
        /// The round and the attempt.
        at: (u32, u32),
        /// Why.
        why: Ending,
    },
}

impl Federation {
    /// Starts one over a context whose log has the topics, with so many compute threads.
    ///
    /// # Errors
    /// A log that does not answer, or threads that the system does not give.
    pub fn start(context: Arc<Context>, threads: usize) -> Result<Self, StageError> {
        let pool = Box::new(Threads::new(&context, threads)?);
        Self::with_pool(context, pool)
    }

    /// Starts one whose tasks run on a given pool.
    ///
    /// # Errors
    /// A log that does not answer.
    pub fn with_pool(context: Arc<Context>, pool: Box<dyn Pool>) -> Result<Self, StageError> {
        Ok(Self {
            planner: Planner::new(Arc::clone(&context))?,
            advance: Advance::new(Arc::clone(&context))?,
            worker: Worker::new(Arc::clone(&context), &Stage::ALL, pool)?,
            context,
        })
    }

    /// One turn of everyone; whether anything happened.
    ///
    /// # Errors
    /// What cannot go on, and what may work later.
    pub fn tick(&mut self, monotonic: Duration, wait: Duration) -> Result<bool, StageError> {
        let planned = self.planner.tick(Duration::ZERO)?;
        let advanced = self.advance.tick(Duration::ZERO)?;
        let wait = if planned || advanced { Duration::ZERO } else { wait };
        let worked = self.worker.tick(monotonic, wait)?;
        Ok(planned || advanced || worked)
    }

    /// Triggers what is missing of a run and works until it has ended, or until `interrupted` says so.
    ///
    /// # Errors
    /// What cannot go on.
    pub fn run(
        &mut self,
        first: &Trigger,
        clock: &dyn Clock,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Progress, StageError> {
        self.worker.decisions().refresh()?;
        let mut before = None;
        while let Some(trigger) = self.next(first)? {
            if before.as_ref() == Some(&trigger.at) {
                return Err(StageError::Stop(format!(
                    "{} has ended by its log, and its store has no manifest of that round: parts of its folder are gone; \
                     restore them, or begin anew under another name",
                    trigger.at
                )));
            }
            before = Some(trigger.at.clone());
            match self.attempt(&trigger, clock, interrupted)? {
                // A plan that existed already may name an earlier last round: then the rest is triggered as well.
                Progress::Finished => {}
                progress => return Ok(progress),
            }
        }
        Ok(Progress::Finished)
    }

    fn next(&mut self, first: &Trigger) -> Result<Option<Trigger>, StageError> {
        let complete = |manifest: &_| archive::complete(&self.context, manifest);
        next_trigger(&self.context, self.worker.decisions(), first, complete)
    }

    /// Works until the run has ended at a trigger's attempt, or past it.
    ///
    /// # Errors
    /// What cannot go on.
    pub fn attempt(
        &mut self,
        trigger: &Trigger,
        clock: &dyn Clock,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Progress, StageError> {
        self.context.log.append(&[trigger_message(&self.context, trigger)?])?;
        loop {
            if interrupted() {
                self.context.cancel();
                return Ok(Progress::Interrupted);
            }
            match self.tick(clock.monotonic(), WAIT) {
                Ok(_) => {}
                Err(StageError::Retry(reason)) => {
                    tracing::warn!(reason, "will be tried again");
                    std::thread::sleep(PAUSE);
                }
                Err(error) => return Err(error),
            }
            let decisions = self.worker.decisions();
            decisions.refresh()?;
            // A plan that was there before may name a later last round than is asked for now: the run goes on there when
            // it is asked for again.
            let beyond = |open: &Opened| open.at.run == trigger.at.run && open.at.round > trigger.through;
            if decisions.open().values().any(beyond) {
                self.context.cancel();
                return Ok(Progress::Finished);
            }
            if let Some((through, why)) = decisions.ended(&trigger.at.run)
                && *through >= trigger.at.at()
            {
                return Ok(match why {
                    Ending::Finished => Progress::Finished,
                    why => Progress::Ended {
                        at: *through,
                        why: why.clone(),
                    },
                });
            }
            if let Some((at, reason)) = self.planner.refused()
                && at == trigger.at
            {
                return Err(StageError::Reject(reason));
            }
        }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted => f.write_str("interrupted"),
            Self::Finished => f.write_str("finished"),
            Self::Ended {
                at: (round, attempt),
                why,
            } => match why {
                Ending::Finished => f.write_str("finished"),
                Ending::Stopped => write!(f, "stopped in round {round}, attempt {attempt}"),
                Ending::Failed { step, missing } => {
                    write!(f, "round {round} failed in its attempt {attempt}, at {step}")?;
                    missing.iter().try_for_each(|(who, why)| write!(f, "\n  {who}: {why}"))
                }
            },
        }
    }
}
