//! A federation in one process, with compute threads: what `fedstill run` drives.

use super::learner::{Bad, Synthetic};
use super::objects::Objects;
use super::random::Random;
use super::scenario::{Algorithm, RUN, Scenario};
use super::with_stack;
use super::world::World;
use crate::context::Context;
use crate::error::StageError;
use crate::faults::Faults;
use crate::federation::{Federation, Progress, make_topics};
use crate::plan::Planner;
use crate::replay::{Replayed, replay};
use crate::service::{Role, Service};
use fedstill_log::{Clock, Embedded, Log, ManualClock, SystemClock};
use fedstill_schemas::events::{Close, Ending, Trigger};
use fedstill_schemas::names;
use fedstill_schemas::pipeline::Selection;
use fedstill_schemas::plan::{Manifest, Plan};
use fedstill_schemas::resolved::Slow;
use fedstill_schemas::task::{Attempt, Subject};
use std::sync::Arc;

/// A run's folder, which survives its federations.
struct Local {
    clock: Arc<ManualClock>,
    log: Embedded,
    objects: Objects,
    scenario: Scenario,
}

impl Local {
    fn new(scenario: Scenario) -> Self {
        let clock = Arc::new(ManualClock::new(0));
        Self {
            log: Embedded::in_memory(Arc::clone(&clock) as Arc<dyn Clock>),
            clock,
            objects: Objects::new(scenario.parties),
            scenario,
        }
    }

    fn context(&self) -> Context {
        let learner = Synthetic {
            bad: self.scenario.bad.clone(),
        };
        let log = Arc::new(self.log.clone());
        Context::new(log, self.objects.plain(), Arc::new(learner))
    }

    fn run(&self, trigger: &Trigger) -> Result<Progress, StageError> {
        make_topics(&self.log, crate::federation::PARTITIONS)?;
        Federation::start(Arc::new(self.context()), 2)?.run(trigger, &*self.clock, &|| false)
    }

    /// Has a trigger planned, and no more.
    fn plan(&self, trigger: &Trigger) {
        let context = Arc::new(self.context());
        let message = crate::trigger_message(&context, trigger).unwrap();
        context.log.append(&[message]).unwrap();
        let mut planner = Planner::new(context).unwrap();
        while planner.tick(std::time::Duration::ZERO).unwrap() {}
    }

    fn has_manifest(&self, round: u32) -> bool {
        let path = names::manifest_object(RUN, round);
        self.objects.plain().get_json::<Manifest>(&path).unwrap().is_some()
    }

    /// Whom each round up to `last` has selected.
    fn selected(&self, last: u32) -> Vec<Option<Vec<u32>>> {
        let of = |round| {
            let at = Attempt {
                run: RUN.to_owned(),
                round,
                attempt: 0,
            };
            let plan = self.objects.plain().need_json::<Plan>(&names::plan_object(&at));
            plan.unwrap().0.selected
        };
        (0..=last).map(of).collect()
    }
}

#[test]
fn a_longer_run_goes_on_where_a_shorter_one_is_or_was() {
    let local = Local::new(Scenario::calm(Algorithm::FedMd));
    // Interrupted after its plan, which says that round 1 is the last.
    make_topics(&local.log, crate::federation::PARTITIONS).unwrap();
    assert_eq!(local.run(&local.scenario.trigger(0, 0, 0)).unwrap(), Progress::Finished);
    local.plan(&local.scenario.trigger(1, 0, 1));
    assert_eq!(local.run(&local.scenario.trigger(0, 0, 3)).unwrap(), Progress::Finished);
    assert!(local.has_manifest(3) && !local.has_manifest(4));
    assert_eq!(local.run(&local.scenario.trigger(0, 0, 3)).unwrap(), Progress::Finished);
}

#[test]
fn a_shorter_run_ends_where_it_is_asked_to_though_its_plan_goes_on() {
    let local = Local::new(Scenario::calm(Algorithm::FedMd));
    make_topics(&local.log, crate::federation::PARTITIONS).unwrap();
    // Interrupted after a plan that says that round 9 is the last.
    local.plan(&local.scenario.trigger(0, 0, 9));
    assert_eq!(local.run(&local.scenario.trigger(0, 0, 2)).unwrap(), Progress::Finished);
    assert!(local.has_manifest(2) && !local.has_manifest(4));
    assert_eq!(local.run(&local.scenario.trigger(0, 0, 5)).unwrap(), Progress::Finished);
    assert!(local.has_manifest(5) && !local.has_manifest(7));
}

#[test]
fn a_run_that_is_made_longer_selects_as_one_that_was_asked_for_whole() {
    for selection in [
        Selection::Random { active: 4 },
        Selection::RoundRobin { active: 4 },
        Selection::Fedlesscan { active: 4 },
    ] {
        let ran = |lasts: &[u32]| {
            let mut scenario = Scenario::calm(Algorithm::FedMd);
            (scenario.parties, scenario.alignment, scenario.close.quorum) = (8, 10, 0.5);
            scenario.selection = selection;
            // Clusters to choose from. Nobody waits: the clock stands still.
            scenario.simulate.slow = Some(Slow {
                parties: 4,
                factor: 9.0,
            });
            let local = Local::new(scenario);
            for last in lasts {
                let trigger = local.scenario.trigger(0, 0, *last);
                assert_eq!(local.run(&trigger).unwrap(), Progress::Finished, "{selection:?}");
            }
            local.selected(7)
        };
        assert_eq!(ran(&[5, 7]), ran(&[7]), "{selection:?}");
    }
}

#[test]
fn a_run_that_cannot_start_says_why() {
    let local = Local::new(Scenario::calm(Algorithm::FedMd));
    assert_eq!(local.run(&local.scenario.trigger(0, 0, 0)).unwrap(), Progress::Finished);
    let mut other = local.scenario.trigger(0, 0, 1);
    other.resolved.seed += 1;
    match local.run(&other) {
        Err(StageError::Reject(reason)) => assert!(reason.starts_with("run id taken"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_trigger_whose_pipeline_cannot_be_run_is_a_dead_letter_and_the_run_starts_with_the_next() {
    let local = Local::new(Scenario::calm(Algorithm::FedMd));
    let mut wrong = local.scenario.trigger(0, 0, 0);
    wrong.resolved.pipeline.discloses.clear();
    match local.run(&wrong) {
        Err(StageError::Reject(reason)) => assert!(reason.contains("resolved.pipeline.discloses"), "{reason}"),
        other => panic!("{other:?}"),
    }
    let dead = (0..local.log.partitions(names::DEAD).unwrap()).flat_map(|partition| {
        let mut reader = local.log.read(names::DEAD, partition, 0).unwrap();
        reader.next(usize::MAX).unwrap()
    });
    let dead: Vec<_> = dead.collect();
    assert_eq!(dead.len(), 1);
    let reason = String::from_utf8_lossy(dead[0].header("fedstill_reason").unwrap()).into_owned();
    assert!(reason.contains("step 'predict' shows"), "{reason}");
    // Its id is not taken: nothing of it was written.
    assert_eq!(local.run(&local.scenario.trigger(0, 0, 0)).unwrap(), Progress::Finished);
}

#[test]
fn a_task_that_panics_fails_its_round_by_name_and_three_times_are_enough() {
    let mut scenario = Scenario::calm(Algorithm::FedMd);
    scenario
        .bad
        .insert((0, "transfer".to_owned(), Subject::Party(2)), Bad::Panics);
    let local = Local::new(scenario);
    for attempt in 0..3 {
        let progress = local.run(&local.scenario.trigger(0, 0, 1)).unwrap();
        let Progress::Ended {
            at,
            why: Ending::Failed { missing, .. },
        } = progress
        else {
            panic!("{progress}");
        };
        assert_eq!(at, (0, attempt));
        assert!(
            missing[&Subject::Party(2)]
                .to_string()
                .contains("it panicked: it fails on purpose"),
            "{missing:?}"
        );
    }
    match local.run(&local.scenario.trigger(0, 0, 1)) {
        Err(StageError::Reject(reason)) => assert!(reason.contains("3 times at most"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

/// The run of a world, done again in a folder of its own.
pub(super) fn again(world: &World) -> Replayed {
    let mut scenario = world.scenario.clone();
    // What was bad then is not: who is in is what it was all the same.
    scenario.bad.clear();
    let copy = Local::new(scenario);
    let turns = std::cell::Cell::new(0);
    let hangs = || turns.replace(turns.get() + 1) > 1000;
    let replayed = replay(copy.context(), &world.store, RUN, 1, &*copy.clock, &hangs).unwrap();
    assert!(!replayed.interrupted, "it hangs");
    replayed
}

#[test]
fn a_run_whose_phases_closed_without_everyone_is_done_again_with_the_same_bits() {
    let (mut rounds, mut without) = (0, 0);
    with_stack(|| {
        for seed in 0..150 {
            let mut random = Random::new(seed);
            let mut scenario = Scenario::seeded(&mut random);
            if scenario.lying.is_some() || scenario.bad.values().any(|bad| matches!(bad, Bad::Nan | Bad::ShortRow)) {
                continue;
            }
            scenario.close = Close {
                quorum: 0.3,
                deadline_ms: Some(2_000),
            };
            let world = World::new(scenario, random);
            world.run();
            let Some(last) = (0..99).take_while(|round| world.manifest(*round).is_some()).last() else {
                continue;
            };
            let replayed = again(&world);
            assert_eq!(replayed.differences, Vec::<String>::new(), "seed {seed}");
            assert_eq!(replayed.rounds, last + 1, "seed {seed}");
            rounds += replayed.rounds;
            let ats = (0..=last).map(|round| world.manifest(round).unwrap().at);
            let closed = ats.flat_map(|at| world.closed_phases(&at).unwrap());
            without += closed.filter(|closed| !closed.missing.is_empty()).count();
        }
    });
    assert!(
        rounds > 100 && without > 20,
        "{rounds} rounds, {without} phases without everyone"
    );
}

#[test]
fn a_replay_names_what_differs() {
    let world = World::new(Scenario::calm(Algorithm::FedMd), Random::new(0));
    world.run();
    let replayed = again(&world);
    assert_eq!((replayed.differences.len(), replayed.rounds), (0, 3));
    // As if party 1 had had other private rows in round 1: its fit fails here.
    let mut scenario = world.scenario.clone();
    let bad = (1, "revisit".to_owned(), Subject::Party(1));
    scenario.bad.insert(bad, Bad::Fails);
    scenario.close.quorum = 0.5;
    let copy = Local::new(scenario);
    let replayed = replay(copy.context(), &world.store, RUN, 1, &*copy.clock, &|| false).unwrap();
    assert_eq!(replayed.rounds, 1);
    assert!(
        replayed.differences[0].contains("party-1"),
        "{:?}",
        replayed.differences
    );
}

#[test]
fn a_process_whose_planner_panics_ends_with_a_reason() {
    let local = Local::new(Scenario::calm(Algorithm::FedMd));
    make_topics(&local.log, crate::federation::PARTITIONS).unwrap();
    let mut context = local.context();
    let message = crate::trigger_message(&context, &local.scenario.trigger(0, 0, 0)).unwrap();
    context.log.append(&[message]).unwrap();
    context.faults = Faults::new(|point| assert_ne!(point, "plan:after-plan", "on purpose"));
    let service = Service {
        context: Arc::new(context),
        roles: Role::all().collect(),
        threads: 1,
        grace: std::time::Duration::from_secs(1),
        health: Arc::default(),
    };
    // Nobody asks it to stop.
    let ended = service.run(&SystemClock::new(), &|| false);
    assert!(ended.unwrap_err().to_string().contains("panicked"));
}
