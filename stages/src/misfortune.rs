//! What goes wrong with simulated parties, by seeded draws: who is slow, who fails, who is offline.
//!
//! In: the resolved run and a task's round, attempt and subject. Out: what becomes of the task, the same on every
//! machine and however often it is asked; and the wait of a slow party. Real parties need no simulation, and in round 0
//! everybody is well, so that everybody has a model.

mod forecast;

pub use self::forecast::{Forecast, Outlook};

use crate::context::Context;
use crate::error::StageError;
use fedstill_learner::random::{Stream, draw};
use fedstill_schemas::names;
use fedstill_schemas::resolved::{Fail, ResolvedRun, Simulate};
use fedstill_schemas::task::{Subject, Task};
use std::time::Duration;

/// How long a slow party waits before it looks around.
const NAP: Duration = Duration::from_millis(100);

/// What becomes of a task.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fate {
    /// It is done.
    Fine,
    /// It takes so many times as long.
    Slow(f64),
    /// It fails.
    Fails,
    /// Nobody answers it.
    Offline,
}

/// What becomes of a subject's tasks in a round and an attempt at it, whatever their steps. Who is offline answers nothing;
/// who fails, which is drawn for each attempt, fails in all of them, so that a failure costs a party the same in every
/// pipeline, whichever step comes first there.
pub(crate) fn fate(run: &ResolvedRun, at: (u32, u32), subject: Subject) -> Fate {
    let Subject::Party(slot) = subject else {
        return Fate::Fine;
    };
    if at.0 == 0 || run.is_placed() {
        return Fate::Fine;
    }
    let Simulate { fail, offline, .. } = run.simulate;
    if offline.is_some_and(|offline| is_drawn(run, "offline", offline.parties, slot)) {
        return Fate::Offline;
    }
    if fail.is_some_and(|fail| is_drawn(run, "fail", fail.parties, slot) && fails(run, fail, at, slot)) {
        return Fate::Fails;
    }
    let slowness = slowness(run, slot);
    if slowness > 1.0 {
        Fate::Slow(slowness)
    } else {
        Fate::Fine
    }
}

/// How many times as long as they would a simulated party's tasks take.
pub(crate) fn slowness(run: &ResolvedRun, slot: u32) -> f64 {
    let slow = run
        .simulate
        .slow
        .filter(|slow| is_drawn(run, "slow", slow.parties, slot));
    slow.map_or(1.0, |slow| slow.factor)
}

/// So many slots, drawn once a run.
fn drawn(run: &ResolvedRun, purpose: &str, count: u32) -> Vec<u32> {
    draw(run.seed, purpose, 0, run.parties.len() as u32, count)
}

/// Whether a slot is among so many that are drawn once a run.
fn is_drawn(run: &ResolvedRun, purpose: &str, count: u32, slot: u32) -> bool {
    drawn(run, purpose, count).contains(&slot)
}

/// Whether a party that fails now and then does so in an attempt at a round: each attempt is a draw of its own, so that one
/// that is tried again need not fail again.
fn fails(run: &ResolvedRun, fail: Fail, (round, attempt): (u32, u32), slot: u32) -> bool {
    let party = Subject::Party(slot);
    let name = match attempt {
        0 => party.to_string(),
        again => format!("{party} attempt {again}"),
    };
    Stream::new(run.seed, round, "fail", &name).uniform() < fail.probability
}

/// How much longer a party that takes `slowness` times as long takes for what was done in `took_ms` milliseconds.
pub(crate) fn wait(slowness: f64, took_ms: i64) -> Duration {
    Duration::try_from_secs_f64((slowness - 1.0) * took_ms as f64 / 1000.0).unwrap_or_default()
}

/// Waits in the place of a slow party, until its phase has closed without it. A run that is done again waits for nobody:
/// who is in is known.
///
/// # Errors
/// [`StageError::Cancelled`], where the worker was asked to stop.
pub(crate) fn linger(context: &Context, task: &Task, wait: Duration) -> Result<(), StageError> {
    let closed = names::closed_object(&task.at, task.phase);
    // A store that does not answer does not end the wait.
    let is_closed = || matches!(context.store.get(&closed), Ok(Some(_)));
    let mut left = if context.repeats.is_some() {
        Duration::ZERO
    } else {
        wait
    };
    while !left.is_zero() && !is_closed() {
        if context.is_cancelled() {
            return Err(StageError::Cancelled);
        }
        let nap = left.min(NAP);
        std::thread::sleep(nap);
        left -= nap;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
