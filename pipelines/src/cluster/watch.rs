//! `fedstill watch` and `fedstill stop`: what was decided about a run, and the decision to end it.

use super::{Config, PAUSE, patiently};
use fedstill_learner::Registry;
use fedstill_log::{Clock, Log, Reader, Record, SystemClock};
use fedstill_schemas::events::{Closed, Decision, Ending};
use fedstill_schemas::names;
use fedstill_schemas::plan::{Plan, phases};
use fedstill_schemas::resolved::ResolvedRun;
use fedstill_schemas::task::Attempt;
use fedstill_stages::context::Context;
use fedstill_stages::decisions;
use fedstill_stages::tensors::Tensors;
use fedstill_stages::{StageError, Store};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

/// How what was watched ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Watched {
    /// Its last round is done.
    Finished,
    /// It failed, or somebody stopped it.
    Ended,
    /// Whoever watched has stopped.
    Interrupted,
}

/// How long a run that ended and was triggered again may take to open a phase; a trigger may have been refused.
const PLANNING: Duration = Duration::from_secs(20);

/// A run's decisions.
struct Follower {
    log: Arc<dyn Log>,
    readers: Vec<Box<dyn Reader>>,
    run: String,
    /// Read, and not handed out: a look that failed half way loses nothing.
    found: Vec<(Decision, i64)>,
}

impl Follower {
    fn new(config: &Config, run: &str) -> Result<Self, StageError> {
        let log = config.log(Arc::new(SystemClock::new()))?;
        Ok(Self {
            readers: decisions::readers(&*log)?,
            log,
            run: run.to_owned(),
            found: Vec::new(),
        })
    }

    /// Whether somebody has triggered the run since then, in Unix milliseconds of the log.
    fn is_triggered_since(&self, then_ms: i64) -> Result<bool, StageError> {
        let partition = names::partition(&self.run, self.log.partitions(names::ROUNDS)?);
        let start = self.log.offsets(names::ROUNDS, partition)?.start;
        let mut reader = self.log.read(names::ROUNDS, partition, start)?;
        loop {
            let records = reader.next(1 << 20)?;
            let newer = |record: &Record| record.timestamp_ms > then_ms && record.key == self.run.as_bytes();
            if records.is_empty() || records.iter().any(newer) {
                return Ok(!records.is_empty());
            }
        }
    }

    /// What has been decided since the last look, and when.
    fn next(&mut self) -> Result<Vec<(Decision, i64)>, StageError> {
        for reader in &mut self.readers {
            loop {
                let records = reader.next(1 << 20)?;
                if records.is_empty() {
                    break;
                }
                let decisions = records.iter().filter_map(|record| {
                    let decision = serde_json::from_slice::<Decision>(&record.value).ok()?;
                    Some((decision, record.timestamp_ms))
                });
                self.found
                    .extend(decisions.filter(|(decision, _)| decision.at().run == self.run));
            }
        }
        Ok(std::mem::take(&mut self.found))
    }
}

/// Says what happens to a run until it ends.
pub(crate) fn watch(
    config: &Config,
    run: &str,
    interrupted: &dyn Fn() -> bool,
    say: &dyn Fn(&str),
) -> Result<Watched, StageError> {
    let store = config.store()?;
    let mut follower = Follower::new(config, run)?;
    let mut seen = patiently(interrupted, || follower.next())?.unwrap_or_default();
    if seen.is_empty() {
        say(&format!("{run}: nothing has been decided yet"));
    }
    let clock = SystemClock::new();
    let mut last = None;
    // Until when an end that was there before is waited out: `submit` has triggered the run again.
    let mut until = None;
    loop {
        for (decision, at_ms) in seen {
            if let Some(Some(line)) = patiently(interrupted, || line(&store, &decision))? {
                say(&line);
            }
            // Only what comes last tells how it stands: a run that had ended may have been taken up again.
            last = match decision {
                Decision::Ended { why, .. } => Some((why, at_ms)),
                Decision::Open { .. } => None,
                Decision::Closed { .. } => last,
            };
            until = None;
        }
        if interrupted() {
            return Ok(Watched::Interrupted);
        }
        if let Some((why, at_ms)) = &last {
            let now = clock.monotonic();
            if until.is_none() {
                let again = patiently(interrupted, || follower.is_triggered_since(*at_ms))?;
                until = Some(if again == Some(true) { now + PLANNING } else { now });
            }
            if until.is_some_and(|until| now >= until) {
                let finished = *why == Ending::Finished;
                return Ok(if finished { Watched::Finished } else { Watched::Ended });
            }
        }
        std::thread::sleep(PAUSE);
        seen = patiently(interrupted, || follower.next())?.unwrap_or_default();
    }
}

/// A decision for people; `None` for one that says nothing by itself.
fn line(store: &Store, decision: &Decision) -> Result<Option<String>, StageError> {
    let at = decision.at();
    Ok(match decision {
        Decision::Open { .. } => None,
        Decision::Ended { why, .. } => Some(match why {
            Ending::Finished => format!("{}: finished with round {}", at.run, at.round),
            Ending::Stopped => format!("{}: stopped in round {}, attempt {}", at.run, at.round, at.attempt),
            Ending::Failed { step, missing } => {
                let who: Vec<String> = missing.iter().map(|(who, why)| format!("\n  {who}: {why}")).collect();
                format!(
                    "{}: round {} failed in its attempt {}, at {step}{}",
                    at.run,
                    at.round,
                    at.attempt,
                    who.concat()
                )
            }
        }),
        Decision::Closed { phase, .. } => {
            let Some((closed, _)) = store.get_json::<Closed>(&names::closed_object(at, *phase))? else {
                return Ok(None);
            };
            let mut line = format!(
                "{} round {}: {} by {} of {}",
                at.run,
                at.round,
                steps(store, at, *phase)?,
                closed.members.len(),
                closed.members.len() + closed.missing.len()
            );
            for (who, why) in &closed.missing {
                let _ = write!(line, "\n  without {who}: {why}");
            }
            Some(line)
        }
    })
}

/// The steps of a phase.
fn steps(store: &Store, at: &Attempt, phase: u32) -> Result<String, StageError> {
    let run = store.get_json::<ResolvedRun>(&names::run_object(&at.run))?;
    let phases = run.map(|(run, _)| phases(&run.pipeline, at.round));
    let steps = phases.and_then(|phases| Some(phases.get(phase as usize)?.steps.join(", ")));
    Ok(steps.unwrap_or_else(|| format!("phase {phase}")))
}

/// The attempt that a run is in, and whether it has ended there; `None` where nothing was decided.
pub(super) fn state(config: &Config, run: &str) -> Result<Option<(Attempt, bool)>, StageError> {
    let mut present: Option<(Attempt, bool)> = None;
    for (decision, _) in Follower::new(config, run)?.next()? {
        let at = decision.at();
        if present.as_ref().is_none_or(|(present, _)| present.at() <= at.at()) {
            present = Some((at.clone(), matches!(decision, Decision::Ended { .. })));
        }
    }
    Ok(present)
}

/// Ends a run in the attempt that it is in; says where.
pub(crate) fn stop(config: &Config, run: &str) -> Result<String, StageError> {
    let store = config.store()?;
    let Some((at, ended)) = state(config, run)? else {
        return Err(StageError::Stop(format!(
            "nothing is known of a run '{run}': `fedstill submit` names the runs that it starts"
        )));
    };
    if ended {
        return Ok(format!("{at} has ended already\n"));
    }
    // It may have a plan for the next round, whose first decision is under way: then that one is meant.
    let next = Attempt {
        round: at.round + 1,
        attempt: 0,
        ..at.clone()
    };
    let planned = store.get_json::<Plan>(&names::plan_object(&next))?.is_some();
    let at = if planned { next } else { at };
    let learner = Tensors::new(Registry::default(), []);
    let log = config.log(Arc::new(SystemClock::new()))?;
    let context = Context::new(log, store, Arc::new(learner));
    fedstill_stages::advance::stop(&context, at.clone())?;
    Ok(format!(
        "{at} is stopped; `fedstill submit` goes on with the next attempt\n"
    ))
}
