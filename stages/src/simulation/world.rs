//! The world of one schedule: a clock, a log, stores, and processes that work, die, stall and come back. One thread; all
//! that is left to chance comes from the seed.

use super::group::Member;
use super::objects::Objects;
use super::process::{Actor, Jobs, Process};
use super::random::Random;
use super::scenario::Scenario;
use crate::Store;
use crate::decisions::Decisions;
use crate::federation::make_topics;
use bytes::Bytes;
use fedstill_log::{Clock, Embedded, Faulty, Log, ManualClock, Offset};
use fedstill_schemas::names;
use fedstill_schemas::task::Attempt;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How deep stalled processes may lie on each other.
const DEPTH: usize = 3;

/// The instant before an object is put.
pub(super) const BEFORE_PUT: &str = "store:before-put";

/// What happens while a process stalls.
pub(super) type Meanwhile = Box<dyn FnOnce(&World, usize) + Send>;

/// What a dying process unwinds with.
pub(super) struct Crash;

/// Everything of one schedule.
pub(super) struct World {
    pub(super) scenario: Scenario,
    pub(super) clock: Arc<ManualClock>,
    /// The log without faults: what people and checks use.
    pub(super) log: Embedded,
    pub(super) faulty: Faulty,
    pub(super) objects: Objects,
    /// The stores without faults.
    pub(super) store: Store,
    pub(super) random: Mutex<Random>,
    pub(super) person: Mutex<Person>,
    /// Whether dangers are drawn.
    pub(super) chaos: AtomicBool,
    /// Rounds that were done when it ended.
    pub(super) rounds_in_chaos: AtomicU32,
    /// A death at the n-th time that an instant comes.
    pub(super) armed: Mutex<Option<(&'static str, usize)>>,
    /// Happens while the next process that puts an object stalls before it.
    pub(super) before_next_put: Mutex<Option<Meanwhile>>,
    /// Calls to the store until it goes away.
    pub(super) away_after: Mutex<Option<usize>>,
    /// Where processes died.
    pub(super) died_at: Mutex<BTreeSet<&'static str>>,
    pub(super) failure: Mutex<Option<String>>,
    pub(super) trace: Mutex<Trace>,
    pub(super) processes: Mutex<Vec<Process>>,
    store_back: Mutex<Duration>,
    /// Up to where each partition of the decisions is compacted.
    compacted: Mutex<BTreeMap<u32, Offset>>,
    depth: AtomicUsize,
    pub(super) this: Weak<World>,
}

/// What a person remembers, and wants.
pub(super) struct Person {
    pub(super) decisions: Decisions,
    pub(super) through: u32,
    pub(super) triggered: Option<Attempt>,
    pub(super) stops: u32,
}

/// What happened, as lines: compared between two runs of a seed, and shown for one.
#[derive(Debug, Default)]
pub(super) struct Trace {
    pub(super) lines: Option<Vec<String>>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}

impl World {
    pub(super) fn new(scenario: Scenario, random: Random) -> Arc<Self> {
        let clock = Arc::new(ManualClock::new(1_800_000_000_000));
        let log = Embedded::in_memory(Arc::clone(&clock) as Arc<dyn Clock>);
        make_topics(&log, scenario.partitions).unwrap();
        let mut random = random;
        let faulty = Faulty::new(Arc::new(log.clone()), random.next());
        let processes: Vec<Process> = scenario.roles.iter().map(Process::dead).collect();
        let objects = Objects::new(scenario.parties);
        Arc::new_cyclic(|this| Self {
            person: Mutex::new(Person {
                decisions: Decisions::read(Arc::new(log.clone())).unwrap(),
                through: scenario.through,
                triggered: None,
                stops: 0,
            }),
            processes: Mutex::new(processes),
            store: objects.plain(),
            objects,
            scenario,
            clock,
            log,
            faulty,
            random: Mutex::new(random),
            chaos: AtomicBool::new(false),
            rounds_in_chaos: AtomicU32::new(0),
            armed: Mutex::default(),
            away_after: Mutex::default(),
            before_next_put: Mutex::default(),
            died_at: Mutex::default(),
            failure: Mutex::default(),
            trace: Mutex::default(),
            store_back: Mutex::default(),
            compacted: Mutex::default(),
            depth: AtomicUsize::new(0),
            this: Weak::clone(this),
        })
    }

    pub(super) fn note(&self, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.trace.lock().lines {
            lines.push(format!("{:>9} {}", self.clock.monotonic().as_millis(), line()));
        }
    }

    pub(super) fn is_chaos(&self) -> bool {
        self.chaos.load(Ordering::Relaxed)
    }

    pub(super) fn chance(&self, in_1024: u16) -> bool {
        self.random.lock().happens(in_1024)
    }

    pub(super) fn below(&self, bound: usize) -> usize {
        self.random.lock().below(bound)
    }

    pub(super) fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// The store goes away for five seconds.
    pub(super) fn drop_store(&self) {
        *self.store_back.lock() = self.clock.monotonic() + Duration::from_secs(5);
        self.note(|| "the store goes away".to_owned());
    }

    /// Whether no worker has a task that it will try again.
    pub(super) fn no_task_waits(&self) -> bool {
        let waits = |process: &Process| matches!(&process.actor, Some(Actor::Worker(worker)) if !worker.is_idle());
        !self.processes.lock().iter().any(waits)
    }

    pub(super) fn store_is_there(&self) -> bool {
        self.clock.monotonic() >= *self.store_back.lock()
    }

    /// Compacts the decisions up to their present end, for those who read them from the beginning.
    pub(super) fn compact(&self) {
        for partition in 0..self.log.partitions(names::DECISIONS).unwrap() {
            let end = self.log.offsets(names::DECISIONS, partition).unwrap().end;
            self.compacted.lock().insert(partition, end);
        }
        self.note(|| "the decisions are compacted".to_owned());
    }

    /// Offsets of decisions that compaction has removed.
    pub(super) fn repeated(&self, partition: u32) -> BTreeSet<Offset> {
        let end = self.compacted.lock().get(&partition).copied().unwrap_or(0);
        let mut last: BTreeMap<Bytes, Offset> = BTreeMap::new();
        let mut reader = self.log.read(names::DECISIONS, partition, 0).unwrap();
        let records = reader.next(usize::MAX).unwrap();
        let older = records.into_iter().filter(|record| record.offset < end);
        older
            .filter_map(|record| last.insert(record.key, record.offset))
            .collect()
    }

    pub(super) fn processes(&self) -> usize {
        self.processes.lock().len()
    }

    /// A member of a group belongs to a process.
    pub(super) fn joined(&self, process: usize, member: &Arc<Mutex<Member>>) {
        self.processes.lock()[process].members.push(Arc::clone(member));
    }

    /// Throws a process out of its groups.
    pub(super) fn eject(&self, process: usize) {
        let members = self.processes.lock()[process].members.clone();
        for member in members {
            member.lock().eject();
        }
        self.note(|| format!("{process} is thrown out"));
    }

    fn kill(&self, process: usize) {
        self.eject(process);
        let dropped = {
            let found = &mut self.processes.lock()[process];
            found.life += 1;
            found.alive = false;
            found.members.clear();
            found.context = None;
            *found.pool.lock() = Jobs::default();
            found.actor.take()
        };
        drop(dropped);
        self.note(|| format!("{process} is dead"));
    }

    /// Ends every process, as at the end of a deployment.
    pub(super) fn end_all(&self) {
        for process in 0..self.processes() {
            self.kill(process);
        }
    }

    /// An instant of a process: it may die or stall here, and a process that died while it stalled goes no further.
    pub(super) fn point(&self, process: usize, life: u64, name: &'static str) {
        self.may_die(process, life, name);
        if name == BEFORE_PUT {
            let meanwhile = self.before_next_put.lock().take();
            if let Some(meanwhile) = meanwhile {
                meanwhile(self, process);
            }
        }
        if self.is_chaos() && self.depth.load(Ordering::Relaxed) < DEPTH && self.chance(self.scenario.dangers.stall) {
            self.note(|| format!("{process} stalls at {name}"));
            if self.below(2) == 0 {
                self.eject(process);
            }
            self.depth.fetch_add(1, Ordering::Relaxed);
            for _ in 0..self.below(40) {
                self.act();
            }
            self.depth.fetch_sub(1, Ordering::Relaxed);
            self.note(|| format!("{process} goes on at {name}"));
            self.go_no_further_if_dead(process, life);
        }
    }

    /// A call to the store: the process may die; whether the call fails.
    pub(super) fn store_call(&self, process: usize, life: u64) -> bool {
        self.may_die(process, life, "store");
        let left = *self.away_after.lock();
        *self.away_after.lock() = left.and_then(|left| left.checked_sub(1));
        if left == Some(0) {
            self.drop_store();
        }
        !self.store_is_there() || (self.is_chaos() && self.chance(self.scenario.dangers.store))
    }

    fn may_die(&self, process: usize, life: u64, name: &'static str) {
        self.go_no_further_if_dead(process, life);
        let armed = {
            let mut armed = self.armed.lock();
            let comes = armed.is_some_and(|(at, _)| at == name);
            let now = comes && armed.is_some_and(|(_, left)| left == 0);
            *armed = armed.filter(|_| !now).map(|(at, left)| (at, left - usize::from(comes)));
            now
        };
        if armed || (self.is_chaos() && self.chance(self.scenario.dangers.crash)) {
            self.note(|| format!("{process} dies at {name}"));
            self.died_at.lock().insert(name);
            self.kill(process);
            resume_unwind(Box::new(Crash));
        }
    }

    fn go_no_further_if_dead(&self, process: usize, life: u64) {
        let now = self.processes.lock()[process].life;
        if now != life {
            resume_unwind(Box::new(Crash));
        }
    }

    /// The first thing that must not happen ends the schedule.
    pub(super) fn fail(&self, what: String) {
        self.note(|| format!("FAILED: {what}"));
        self.failure.lock().get_or_insert(what);
    }
}
