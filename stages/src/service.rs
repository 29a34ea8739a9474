//! A long-running process of a deployment: `plan`, `advance` and a worker, those of them that it is asked to be, each on
//! a thread of its own over one context.
//!
//! In: a way to ask it to stop. Out: why it stopped. Asked to stop, it takes no more tasks, finishes those that it has
//! for a while, commits and leaves its groups; killed, it costs the others the time until they notice.

use crate::advance::Advance;
use crate::context::Context;
use crate::error::StageError;
use crate::plan::Planner;
use crate::pool::Threads;
use crate::worker::Worker;
use fedstill_log::Clock;
use fedstill_schemas::pipeline::Stage;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long a thread waits for something to do before it looks around.
const WAIT: Duration = Duration::from_millis(100);
/// First pause after an error that may pass, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Starts rounds.
    Plan,
    /// Counts answers and closes phases.
    Advance,
    /// Does tasks of a stage.
    Work(Stage),
}

impl Role {
    /// All that there are.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Plan, Self::Advance]
            .into_iter()
            .chain(Stage::ALL.into_iter().map(Self::Work))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Advance => "advance",
            Self::Work(stage) => stage.name(),
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::all().find(|role| role.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::all().map(Self::name).collect();
            format!("there is no stage '{text}': choose among {}", names.join(", "))
        })
    }
}

/// Whether a process is well, for whoever asks.
#[derive(Debug, Default)]
pub struct Health {
    /// When each thread was last at work, by a clock that never goes back, and what keeps it from working.
    seen: Mutex<BTreeMap<&'static str, (Duration, Option<String>)>>,
}

impl Health {
    /// A thread may be away for so long: an append may wait for brokers.
    const AWAY: Duration = Duration::from_mins(5);

    fn note(&self, thread: &'static str, now: Duration, trouble: Option<String>) {
        self.seen.lock().insert(thread, (now, trouble));
    }

    /// Whether every thread has been at work lately: otherwise the process should be started again.
    pub fn is_alive(&self, now: Duration) -> bool {
        let seen = self.seen.lock();
        seen.values().all(|(at, _)| now.saturating_sub(*at) < Self::AWAY)
    }

    /// What keeps it from working, if anything: it has not reached its log or store yet, or has lost them.
    pub fn trouble(&self) -> Option<String> {
        let seen = self.seen.lock();
        if seen.is_empty() {
            return Some("it is starting".to_owned());
        }
        seen.values().find_map(|(_, trouble)| trouble.clone())
    }
}

/// A process of a deployment.
#[derive(Debug)]
pub struct Service {
    /// What its threads share.
    pub context: Arc<Context>,
    /// What it does; nothing of it where the context is a party's own.
    pub roles: Vec<Role>,
    /// Compute threads.
    pub threads: usize,
    /// How long tasks may go on after it was asked to stop.
    pub grace: Duration,
    /// Whether it is well.
    pub health: Arc<Health>,
}

impl Service {
    /// Works until it is asked to stop.
    ///
    /// # Errors
    /// What a person must change before it can go on.
    pub fn run(&self, clock: &dyn Clock, asked: &(dyn Fn() -> bool + Sync)) -> Result<(), StageError> {
        let failed = AtomicBool::new(false);
        let ends = || asked() || failed.load(Ordering::Relaxed);
        let guarded = |work: &(dyn Fn() -> Result<(), StageError> + Sync)| {
            let ended = catch_unwind(AssertUnwindSafe(work))
                .unwrap_or_else(|_| Err(StageError::Stop("a thread panicked; its message is above".to_owned())));
            // One thread that cannot go on ends the process: whoever started it will see why.
            if ended.is_err() {
                failed.store(true, Ordering::Relaxed);
            }
            ended
        };
        for role in &self.roles {
            let thread = match role {
                Role::Work(_) => "worker",
                role => role.name(),
            };
            let starting = Some("it is starting".to_owned());
            self.health.note(thread, clock.monotonic(), starting);
        }
        std::thread::scope(|scope| {
            let mut others = Vec::new();
            if self.roles.contains(&Role::Plan) {
                let plan = || {
                    let mut planner =
                        self.patiently("plan", clock, &ends, || Planner::new(Arc::clone(&self.context)))?;
                    let Some(planner) = &mut planner else { return Ok(()) };
                    self.drive("plan", clock, &ends, |wait| planner.tick(wait))
                };
                others.push(scope.spawn(move || guarded(&plan)));
            }
            if self.roles.contains(&Role::Advance) {
                let advance = || {
                    let mut advance =
                        self.patiently("advance", clock, &ends, || Advance::new(Arc::clone(&self.context)))?;
                    let Some(advance) = &mut advance else { return Ok(()) };
                    self.drive("advance", clock, &ends, |wait| advance.tick(wait))
                };
                others.push(scope.spawn(move || guarded(&advance)));
            }
            let mut ended = guarded(&|| self.work(clock, &ends));
            for other in others {
                let other = other
                    .join()
                    .unwrap_or_else(|_| Err(StageError::Stop("a thread panicked".to_owned())));
                ended = ended.and(other);
            }
            ended
        })
    }

    /// The worker, on the calling thread.
    fn work(&self, clock: &dyn Clock, ends: &dyn Fn() -> bool) -> Result<(), StageError> {
        let stages: Vec<Stage> = self
            .roles
            .iter()
            .filter_map(|role| match role {
                Role::Work(stage) => Some(*stage),
                _ => None,
            })
            .collect();
        let is_party = self.context.own.is_some();
        if stages.is_empty() && !is_party {
            while !ends() {
                std::thread::sleep(WAIT);
            }
            return Ok(());
        }
        let make = || {
            let pool = Box::new(Threads::new(&self.context, self.threads)?);
            if is_party {
                Worker::of_party(Arc::clone(&self.context), pool)
            } else {
                Worker::new(Arc::clone(&self.context), &stages, pool)
            }
        };
        let Some(mut worker) = self.patiently("worker", clock, ends, make)? else {
            return Ok(());
        };
        let driven = self.drive("worker", clock, ends, |wait| worker.tick(clock.monotonic(), wait));
        if driven.is_err() {
            // It cannot go on: what is being computed would be for nothing.
            self.context.cancel();
            return driven;
        }
        worker.drain();
        let until = clock.monotonic() + self.grace;
        while !worker.is_idle() && clock.monotonic() < until {
            match worker.tick(clock.monotonic(), WAIT) {
                Ok(_) => {}
                Err(StageError::Retry(reason)) => {
                    tracing::warn!(reason, "while stopping");
                    std::thread::sleep(PAUSES.0);
                }
                Err(error) => return Err(error),
            }
        }
        self.context.cancel();
        Ok(())
    }

    /// Starts something that needs log and store, waiting for them; `None` if it was asked to stop first.
    fn patiently<T>(
        &self,
        thread: &'static str,
        clock: &dyn Clock,
        ends: &dyn Fn() -> bool,
        make: impl Fn() -> Result<T, StageError>,
    ) -> Result<Option<T>, StageError> {
        let mut made = None;
        let mut pause = PAUSES.0;
        while made.is_none() && !ends() {
            match make() {
                Ok(new) => made = Some(new),
                Err(StageError::Retry(reason)) => {
                    self.wait_out(thread, clock, ends, &mut pause, reason);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(made)
    }

    /// Ticks until it is asked to stop.
    fn drive(
        &self,
        thread: &'static str,
        clock: &dyn Clock,
        ends: &dyn Fn() -> bool,
        mut tick: impl FnMut(Duration) -> Result<bool, StageError>,
    ) -> Result<(), StageError> {
        let mut pause = PAUSES.0;
        while !ends() {
            match tick(WAIT) {
                Ok(_) => {
                    pause = PAUSES.0;
                    self.health.note(thread, clock.monotonic(), None);
                }
                Err(StageError::Retry(reason)) => self.wait_out(thread, clock, ends, &mut pause, reason),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says what went wrong and waits, longer each time.
    fn wait_out(
        &self,
        thread: &'static str,
        clock: &dyn Clock,
        ends: &dyn Fn() -> bool,
        pause: &mut Duration,
        reason: String,
    ) {
        tracing::warn!(thread, reason, ?pause, "will be tried again");
        self.health.note(thread, clock.monotonic(), Some(reason));
        let until = clock.monotonic() + *pause;
        while !ends() && clock.monotonic() < until {
            std::thread::sleep(WAIT.min(*pause));
        }
        *pause = (*pause * 2).min(PAUSES.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_named_as_stages_are() {
        for role in Role::all() {
            assert_eq!(role.name().parse(), Ok(role));
        }
        assert!("trian".parse::<Role>().unwrap_err().contains("train"));
    }

    #[test]
    fn a_process_is_well_while_its_threads_are() {
        let health = Health::default();
        assert!(health.trouble().is_some(), "it is starting");
        health.note("worker", Duration::from_secs(1), None);
        assert_eq!(health.trouble(), None);
        health.note("plan", Duration::from_secs(2), Some("no broker".to_owned()));
        assert_eq!(health.trouble().as_deref(), Some("no broker"));
        assert!(health.is_alive(Duration::from_secs(10)));
        assert!(!health.is_alive(Duration::from_hours(1)));
    }
}
