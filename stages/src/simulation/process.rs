//! The processes of a world: a planner, an advance or a worker each, which start, take turns, compute, and die.

use super::group::{Member, ProcessLog};
use super::learner::Synthetic;
use super::scenario::Role;
use super::world::{Crash, World};
use crate::advance::Advance;
use crate::context::Context;
use crate::error::StageError;
use crate::faults::Faults;
use crate::plan::Planner;
use crate::pool::{Finished, Job, Pool, run};
use crate::worker::Worker;
use fedstill_log::Clock;
use fedstill_schemas::task::Subject;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// What a process runs.
pub(super) enum Actor {
    Planner(Planner),
    Advance(Advance),
    Worker(Worker),
}

/// A process: alive or dead, at work or waiting for its turn.
pub(super) struct Process {
    pub(super) role: Role,
    /// Grows with each death: what belongs to an earlier life must not act.
    pub(super) life: u64,
    pub(super) alive: bool,
    /// `None` while it is at work, or dead.
    pub(super) actor: Option<Actor>,
    pub(super) context: Option<Arc<Context>>,
    pub(super) members: Vec<Arc<Mutex<Member>>>,
    pub(super) pool: Arc<Mutex<Jobs>>,
}

impl Process {
    /// One that has not started.
    pub(super) fn dead(role: &Role) -> Self {
        Self {
            role: role.clone(),
            life: 0,
            alive: false,
            actor: None,
            context: None,
            members: Vec::new(),
            pool: Arc::default(),
        }
    }
}

/// Jobs of a worker: being computed, and computed.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    pub(super) queued: Vec<Job>,
    pub(super) computed: Vec<Finished>,
    pub(super) finished: VecDeque<Finished>,
}

/// A pool whose jobs run when the schedule says so.
#[derive(Debug)]
struct Scheduled(Arc<Mutex<Jobs>>);

impl Pool for Scheduled {
    fn submit(&mut self, job: Job) {
        self.0.lock().queued.push(job);
    }

    fn finished(&mut self, _: Duration) -> Option<Finished> {
        self.0.lock().finished.pop_front()
    }
}

impl World {
    /// Starts a process that is dead; whether it was.
    pub(super) fn revive(&self, process: usize) -> bool {
        let (role, life, pool) = {
            let found = &mut self.processes.lock()[process];
            if found.alive {
                return false;
            }
            found.alive = true;
            (found.role.clone(), found.life, Arc::clone(&found.pool))
        };
        let log = ProcessLog {
            inner: Arc::new(self.faulty.clone()),
            world: Weak::clone(&self.this),
            process,
            life,
        };
        let store = self.objects.of_process(&self.this, process, life);
        let learner = Synthetic {
            bad: self.scenario.bad.clone(),
        };
        let mut context = Context::new(Arc::new(log), store, Arc::new(learner));
        let world = Weak::clone(&self.this);
        context.faults = Faults::new(move |name| {
            if let Some(world) = world.upgrade() {
                world.point(process, life, name);
            }
        });
        let context = Arc::new(context);
        let actor = match role {
            Role::Planner => Planner::new(Arc::clone(&context)).map(Actor::Planner),
            Role::Advance => Advance::new(Arc::clone(&context)).map(Actor::Advance),
            Role::Worker(stages) => Worker::new(Arc::clone(&context), &stages, Box::new(Scheduled(pool)))
                .map(|worker| Actor::Worker(worker.with_in_flight(self.scenario.in_flight))),
        };
        match actor {
            Ok(actor) => {
                let found = &mut self.processes.lock()[process];
                found.context = Some(context);
                found.actor = Some(actor);
            }
            Err(error) => self.fail(format!("process {process} does not start: {error}")),
        }
        self.note(|| format!("{process} starts"));
        true
    }

    /// One turn of a process that is not stalled; whether it did anything.
    pub(super) fn tick(&self, process: usize) -> bool {
        let taken = {
            let found = &mut self.processes.lock()[process];
            found.actor.take().map(|actor| (actor, found.life))
        };
        let Some((mut actor, life)) = taken else { return false };
        let now = self.clock.monotonic();
        let ticked = catch_unwind(AssertUnwindSafe(|| match &mut actor {
            Actor::Planner(planner) => planner.tick(std::time::Duration::ZERO),
            Actor::Advance(advance) => advance.tick(std::time::Duration::ZERO),
            Actor::Worker(worker) => worker.tick(now, Duration::ZERO),
        }));
        let progressed = match ticked {
            Err(panic) if panic.is::<Crash>() => return true,
            Err(panic) => resume_unwind(panic),
            Ok(Ok(progressed)) => progressed,
            Ok(Err(StageError::Retry(reason))) => {
                self.note(|| format!("{process} will try again: {reason}"));
                false
            }
            Ok(Err(error)) => {
                self.fail(format!("process {process} ends: {error}"));
                false
            }
        };
        let found = &mut self.processes.lock()[process];
        if found.life == life {
            found.actor = Some(actor);
        }
        progressed
    }

    /// Computes one of a worker's jobs; whether there was one.
    pub(super) fn compute(&self, process: usize) -> bool {
        self.compute_one(process, |jobs| (!jobs.is_empty()).then(|| self.below(jobs.len())))
    }

    /// Computes a worker's job for a subject; whether there was one.
    pub(super) fn compute_for(&self, process: usize, subject: Subject) -> bool {
        self.compute_one(process, |jobs| jobs.iter().position(|job| job.task.subject == subject))
    }

    /// Computes the job that a worker took last; whether there was one.
    pub(super) fn compute_newest(&self, process: usize) -> bool {
        self.compute_one(process, |jobs| jobs.len().checked_sub(1))
    }

    fn compute_one(&self, process: usize, which: impl FnOnce(&[Job]) -> Option<usize>) -> bool {
        let taken = {
            let found = &mut self.processes.lock()[process];
            let mut jobs = found.pool.lock();
            let context = found.context.clone();
            let which = which(&jobs.queued);
            context
                .zip(which)
                .map(|(context, which)| (jobs.queued.remove(which), context, found.life))
        };
        let Some((job, context, life)) = taken else {
            return false;
        };
        self.note(|| format!("{process} computes {} of {}", job.task.step, job.task.subject));
        match catch_unwind(AssertUnwindSafe(|| run(&context, &job))) {
            Err(panic) if panic.is::<Crash>() => {}
            Err(panic) => resume_unwind(panic),
            Ok(finished) => {
                let found = &mut self.processes.lock()[process];
                if found.life == life {
                    found.pool.lock().computed.push(finished);
                }
            }
        }
        true
    }

    /// Hands one of a worker's computed jobs back to it; whether there was one.
    pub(super) fn hand_back(&self, process: usize) -> bool {
        let processes = self.processes.lock();
        let mut jobs = processes[process].pool.lock();
        if jobs.computed.is_empty() {
            return false;
        }
        let which = self.below(jobs.computed.len());
        let finished = jobs.computed.remove(which);
        jobs.finished.push_back(finished);
        true
    }
}
