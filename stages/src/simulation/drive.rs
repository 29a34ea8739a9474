//! Drives a world: chaos by seed, then everyone undisturbed until nothing is left to do.

use super::scenario::RUN;
use super::world::World;
use crate::advance::stop;
use crate::archive::trigger_message;
use crate::context::Context;
use crate::learn::Learner;
use crate::simulation::learner::Synthetic;
use fedstill_log::{Log, Message};
use fedstill_schemas::events::{Ending, Trigger};
use fedstill_schemas::names;
use fedstill_schemas::plan::{Manifest, Plan};
use fedstill_schemas::task::Attempt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Stops of one schedule: a round is tried three times at most.
const STOPS: u32 = 2;
/// Rounds that a schedule reaches at most.
const LAST_ROUND: u32 = 3;
/// Idle times, each longer than the one before, after which a run that has not ended never will.
const IDLE: u32 = 60;

impl World {
    /// From the first trigger to the end.
    pub(super) fn run(&self) {
        for process in 0..self.processes() {
            self.revive(process);
        }
        self.persevere();
        if self.scenario.steps > 0 {
            self.chaos.store(true, Ordering::Relaxed);
            self.faulty.rates(self.scenario.dangers.log);
            self.faulty.reorder(true);
            for _ in 0..self.scenario.steps {
                self.act();
            }
            self.chaos.store(false, Ordering::Relaxed);
            self.rounds_in_chaos.store(self.first_missing(), Ordering::Relaxed);
            self.faulty.rates(fedstill_log::faults::Rates::default());
            self.faulty.reorder(false);
            self.note(|| "calm".to_owned());
        }
        self.calm();
    }

    /// One thing happens, drawn from the seed.
    pub(super) fn act(&self) {
        if self.failure.lock().is_some() {
            return;
        }
        let dangers = self.scenario.dangers;
        let process = self.below(self.processes());
        if self.chance(dangers.outage) {
            self.drop_store();
        }
        if self.chance(dangers.eject) {
            self.eject(process);
        }
        if self.chance(dangers.repeat) {
            self.repeat_a_record();
        }
        if self.chance(dangers.compact) {
            self.compact();
        }
        if self.chance(dangers.stop) {
            self.stop_the_run();
        }
        if self.chance(dangers.extend) {
            self.extend();
        }
        match self.below(16) {
            0..=7 => {
                self.tick(process);
            }
            8..=10 => {
                self.one_of_them(process, Self::compute);
            }
            11..=12 => {
                self.one_of_them(process, Self::hand_back);
            }
            13 => {
                self.one_of_them(process, Self::revive);
            }
            14 => {
                let most = if self.below(8) == 0 { 4_000 } else { 400 };
                self.pass(Duration::from_millis(self.below(most) as u64));
            }
            _ => {
                self.persevere();
            }
        }
    }

    /// The first process from one on that has something of the kind to do.
    fn one_of_them(&self, first: usize, act: impl Fn(&Self, usize) -> bool) -> bool {
        let count = self.processes();
        (first..first + count).any(|process| act(self, process % count))
    }

    /// Everyone works undisturbed until the run is over, which it must be some time.
    pub(super) fn calm(&self) {
        let mut idle = 0;
        while self.failure.lock().is_none() {
            if self.one_turn() {
                idle = 0;
                continue;
            }
            if self.is_over() {
                return;
            }
            idle += 1;
            if idle > IDLE {
                let open: Vec<_> = self.person.lock().decisions.open().keys().cloned().collect();
                self.fail(format!("the run does not end; open phases: {open:?}"));
            }
            self.pass(Duration::from_secs(1) * idle);
        }
    }

    /// One turn of everyone; whether anything happened.
    pub(super) fn one_turn(&self) -> bool {
        let mut progressed = false;
        for process in 0..self.processes() {
            progressed |= self.revive(process);
            progressed |= self.tick(process);
            while self.compute(process) || self.hand_back(process) {
                progressed = true;
            }
        }
        progressed | self.persevere()
    }

    /// A context of a person, without faults.
    pub(super) fn bystander(&self) -> Context {
        let learner: Arc<dyn Learner> = Arc::new(Synthetic::default());
        Context::new(Arc::new(self.log.clone()), self.store.clone(), learner)
    }

    pub(super) fn manifest(&self, round: u32) -> Option<Manifest> {
        let path = names::manifest_object(RUN, round);
        Some(self.store.get_json(&path).unwrap()?.0)
    }

    pub(super) fn plan_of(&self, round: u32, attempt: u32) -> Option<Plan> {
        let at = Attempt {
            run: RUN.to_owned(),
            round,
            attempt,
        };
        let plan = self.store.get_json(&names::plan_object(&at)).unwrap();
        plan.map(|(plan, _)| plan)
    }

    /// The first round without a manifest.
    pub(super) fn first_missing(&self) -> u32 {
        let mut rounds = 0..u32::MAX;
        let missing = |round: &u32| self.store.get(&names::manifest_object(RUN, *round)).unwrap().is_none();
        rounds.find(missing).unwrap_or(u32::MAX)
    }

    /// A person does what a run needs to go on; whether there was anything.
    pub(super) fn persevere(&self) -> bool {
        let round = self.first_missing();
        let mut person = self.person.lock();
        person.decisions.refresh().unwrap();
        if round > person.through {
            return false;
        }
        let ended = person.decisions.ended(RUN).cloned();
        let attempt = match &ended {
            Some(((at, attempt), _)) if *at == round => attempt + 1,
            _ if self.plan_of(round, 0).is_some() => return false,
            ended => {
                // The next round follows by itself, unless the run was to end or was stopped.
                let before = round.checked_sub(1).and_then(|before| self.manifest(before));
                let stopped = |at: &Attempt| matches!(ended, Some((through, Ending::Stopped)) if *through >= at.at());
                let plan = before
                    .filter(|manifest| !stopped(&manifest.at))
                    .and_then(|manifest| self.plan_of(round - 1, manifest.at.attempt));
                if plan.is_some_and(|plan| plan.through >= round) {
                    return false;
                }
                0
            }
        };
        let trigger = self.scenario.trigger(round, attempt, person.through);
        if attempt > 2 || person.triggered.as_ref() == Some(&trigger.at) {
            return false;
        }
        self.note(|| format!("a person triggers {} through {}", trigger.at, trigger.through));
        person.triggered = Some(trigger.at.clone());
        self.publish(&trigger);
        true
    }

    pub(super) fn publish(&self, trigger: &Trigger) {
        let message = trigger_message(&self.bystander(), trigger).unwrap();
        self.log.append(&[message]).unwrap();
    }

    fn extend(&self) {
        let mut person = self.person.lock();
        if person.through < LAST_ROUND {
            person.through += 1;
            self.note(|| "the run is to be longer".to_owned());
        }
    }

    fn stop_the_run(&self) {
        let mut person = self.person.lock();
        person.decisions.refresh().unwrap();
        let newest = person.decisions.open().values().map(|open| open.at.clone()).max();
        if let Some(at) = newest.filter(|_| person.stops < STOPS) {
            person.stops += 1;
            self.note(|| format!("a person stops {at}"));
            stop(&self.bystander(), at).unwrap();
        }
    }

    /// Adds a record that is there a second time.
    fn repeat_a_record(&self) {
        let topics = names::topics();
        let topic = topics[self.below(topics.len())];
        let partition = self.below(self.log.partitions(topic).unwrap() as usize) as u32;
        let end = self.log.offsets(topic, partition).unwrap().end;
        if end == 0 || topic == names::DEAD {
            return;
        }
        let offset = self.below(end as usize) as u64;
        let record = self
            .log
            .read(topic, partition, offset)
            .unwrap()
            .next(1)
            .unwrap()
            .swap_remove(0);
        self.note(|| format!("{topic}/{partition}/{offset} is added again"));
        let again = Message {
            topic: topic.to_owned(),
            partition,
            key: record.key,
            headers: record.headers,
            value: record.value,
        };
        self.log.append(&[again]).unwrap();
    }

    /// Whether all rounds are done, or the round that is missing has been tried as often as it may.
    fn is_over(&self) -> bool {
        let round = self.first_missing();
        let mut person = self.person.lock();
        person.decisions.refresh().unwrap();
        let ended = person.decisions.ended(RUN);
        let exhausted = ended.is_some_and(|((at, attempt), _)| (*at, *attempt) == (round, 2));
        self.no_task_waits()
            && self.store_is_there()
            && (round > person.through || exhausted)
            && person.decisions.open().is_empty()
    }
}
