//! Rounds of selected parties, of which some fail, are slow, or never answer.

use super::local::again;
use super::poison::{ran, table, text};
use super::scenario::{Algorithm, RUN, Scenario};
use super::world::World;
use crate::error::StageError;
use crate::misfortune::{Fate, fate, linger, slowness};
use crate::selection::select;
use fedstill_log::{Clock, SystemClock};
use fedstill_schemas::digest::Digest;
use fedstill_schemas::events::Missing;
use fedstill_schemas::pipeline::{On, Selection, Stage, Who};
use fedstill_schemas::plan::phases;
use fedstill_schemas::resolved::{Fail, Offline, Simulate, Slow, VERSION};
use fedstill_schemas::results;
use fedstill_schemas::task::{Attempt, Subject, Task};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Four parties of two architectures, any one of which is enough.
fn scenario(selection: Selection, simulate: Simulate) -> Scenario {
    let mut scenario = Scenario::calm(Algorithm::FedMd);
    scenario.parties = 4;
    scenario.alignment = 10;
    scenario.close.quorum = 0.25;
    scenario.selection = selection;
    scenario.simulate = simulate;
    scenario
}

fn fail(parties: u32) -> Fail {
    Fail {
        parties,
        probability: 1.0,
    }
}

/// Whom that fate meets in an attempt at a round.
fn with(world: &World, at: (u32, u32), expected: Fate) -> BTreeSet<Subject> {
    let run = world.scenario.resolved();
    let parties = (0..world.scenario.parties).map(Subject::Party);
    parties.filter(|party| fate(&run, at, *party) == expected).collect()
}

fn selected_of(world: &World, round: u32) -> Vec<u32> {
    world.plan_of(round, 0).unwrap().selected.unwrap()
}

#[test]
fn a_round_ends_with_the_members_that_its_plan_selects_less_those_that_fail() {
    let simulate = Simulate {
        fail: Some(fail(1)),
        ..Simulate::default()
    };
    // Of three places an architecture has two in one round of two: everybody takes part once at least.
    let world = ran(scenario(Selection::RoundRobin { active: 3 }, simulate));
    let run = world.scenario.resolved();
    let mut failed = 0;
    for round in 1..=2 {
        let selected = selected_of(&world, round);
        assert_eq!(Some(&selected), select(&run, round, &BTreeMap::new()).as_ref());
        let selected: BTreeSet<Subject> = selected.into_iter().map(Subject::Party).collect();
        assert_eq!(selected.len(), 3);
        let failing = &with(&world, (round, 0), Fate::Fails) & &selected;
        let closed = world.closed_phases(&world.manifest(round).unwrap().at).unwrap();
        for (phase, closed) in phases(&run.pipeline, round).iter().zip(&closed) {
            if phase.who != Who::Selected {
                assert!(closed.missing.is_empty(), "{:?}", phase.steps);
                continue;
            }
            let cohort = closed.members.keys().chain(closed.missing.keys()).copied();
            assert_eq!(cohort.collect::<BTreeSet<_>>(), selected, "{:?}", phase.steps);
            assert!(closed.missing.keys().eq(&failing), "{:?}", phase.steps);
            for why in closed.missing.values() {
                let reason = format!("{}: simulated failure", phase.steps[0]);
                assert_eq!(*why, Missing::Failed { reason });
                failed += 1;
            }
        }
        let (before, after) = (world.manifest(round - 1).unwrap(), world.manifest(round).unwrap());
        for party in &failing {
            assert_eq!(
                after.slots[party], before.slots[party],
                "round {round}: it goes on from there"
            );
            assert!(
                !after.scores.contains_key(party),
                "round {round}: it has nothing new to score"
            );
        }
    }
    assert!(failed > 0, "nobody has failed");
    world.check().unwrap();
}

#[test]
fn who_is_offline_is_a_straggler_and_who_fails_is_refused_and_no_worker_lags() {
    let simulate = Simulate {
        fail: Some(fail(2)),
        offline: Some(Offline { parties: 1 }),
        ..Simulate::default()
    };
    let mut scenario = scenario(Selection::All, simulate);
    scenario.through = 1;
    scenario.close.deadline_ms = Some(2_000);
    let world = ran(scenario);
    let rounds = table(&world, results::ROUNDS);
    for (column, fate, why) in [
        ("stragglers", Fate::Offline, "it did not answer by the deadline"),
        ("refused", Fate::Fails, "predict: simulated failure"),
    ] {
        let listed = text(&rounds, column, 0);
        let whom = with(&world, (1, 0), fate);
        assert!(!whom.is_empty());
        for party in whom {
            assert!(listed.contains(&format!("{party}: {why}")), "{column}: {listed}");
        }
    }
    let replayed = again(&world);
    assert_eq!((replayed.differences, replayed.rounds), (Vec::new(), 2));
    // Everything is committed, what nobody answers too.
    world.check().unwrap();
}

#[test]
fn an_architecture_that_nobody_is_selected_of_keeps_its_prototype() {
    let mut scenario = scenario(Selection::Random { active: 1 }, Simulate::default());
    (scenario.algorithm, scenario.through) = (Algorithm::FedDf, 3);
    let world = ran(scenario);
    for round in 1..=3 {
        let [party] = selected_of(&world, round)[..] else {
            panic!("one is active");
        };
        let (before, after) = (world.manifest(round - 1).unwrap(), world.manifest(round).unwrap());
        // Parties have the two architectures in turn.
        let [trained, other] = [party % 2, 1 - party % 2].map(Subject::Architecture);
        assert_eq!(after.slots[&other], before.slots[&other], "round {round}");
        assert_eq!(
            (after.slots[&trained].round, &after.slots[&trained].step[..]),
            (round, "distill")
        );
        assert!(after.scores.contains_key(&trained) && !after.scores.contains_key(&other));
    }
    world.check().unwrap();
}

#[test]
fn a_round_that_too_many_failed_in_is_tried_again_with_other_failures_and_so_is_its_replay() {
    let mut scenario = Scenario::calm(Algorithm::FedMd);
    (scenario.alignment, scenario.close.quorum) = (10, 0.5);
    scenario.simulate.fail = Some(Fail {
        parties: 3,
        probability: 0.5,
    });
    let world = ran(scenario);
    for round in 1..=2 {
        // With this seed two of three fail in the first attempts, and one in the second.
        assert_eq!(with(&world, (round, 0), Fate::Fails).len(), 2, "round {round}");
        let at = world.manifest(round).unwrap().at;
        assert_eq!(at.attempt, 1, "round {round}");
        let failed = with(&world, at.at(), Fate::Fails);
        let predicted = world.closed_phases(&at).unwrap().remove(0);
        assert!(predicted.missing.keys().eq(&failed), "round {round}: {failed:?}");
        assert_eq!(predicted.members.len(), 2, "round {round}");
    }
    let replayed = again(&world);
    assert_eq!((replayed.differences, replayed.rounds), (Vec::new(), 3));
    world.check().unwrap();
}

/// Which parties trained on private rows in which rounds after round 0, with what fails at half of the attempts.
fn trained(algorithm: Algorithm) -> BTreeSet<(Subject, u32)> {
    let mut scenario = Scenario::calm(algorithm);
    (scenario.parties, scenario.alignment, scenario.through) = (6, 10, 6);
    scenario.close.quorum = 0.1;
    scenario.simulate.fail = Some(Fail {
        parties: 4,
        probability: 0.5,
    });
    let world = ran(scenario);
    world.check().unwrap();
    let run = world.scenario.resolved();
    let mut trained = BTreeSet::new();
    for round in 1..=6 {
        let closed = world.closed_phases(&world.manifest(round).unwrap().at).unwrap();
        for (subject, done) in closed.iter().flat_map(|closed| &closed.members) {
            let on_private_rows = |step: &str| {
                let step = run.pipeline.step(round, step);
                step.is_some_and(|step| step.terms.iter().any(|term| term.on == On::Private))
            };
            if done.iter().any(|done| on_private_rows(&done.result.step)) {
                trained.insert((*subject, round));
            }
        }
    }
    trained
}

#[test]
fn a_failure_costs_a_party_its_training_in_the_same_rounds_whichever_step_comes_first() {
    let alone = trained(Algorithm::Standalone);
    // Two of six never fail.
    assert!((12..36).contains(&alone.len()), "{alone:?}");
    assert_eq!(trained(Algorithm::FedMd), alone);
    assert_eq!(trained(Algorithm::FedDf), alone);
}

#[test]
fn a_run_that_selects_by_training_times_is_done_again_with_the_same_selections() {
    let simulate = Simulate {
        slow: Some(Slow {
            parties: 1,
            factor: 3.0,
        }),
        fail: Some(fail(1)),
        ..Simulate::default()
    };
    let mut scenario = scenario(Selection::Fedlesscan { active: 2 }, simulate);
    scenario.through = 5;
    let world = ran(scenario);
    let run = world.scenario.resolved();
    for round in 1..=5 {
        let before = world.manifest(round - 1).unwrap().histories;
        assert_eq!(
            world.plan_of(round, 0).unwrap().selected,
            select(&run, round, &before),
            "round {round}"
        );
    }
    let first: BTreeSet<u32> = (1..=2).flat_map(|round| selected_of(&world, round)).collect();
    assert_eq!(first.len(), 4, "everybody takes part once before anybody does twice");
    let histories = world.manifest(5).unwrap().histories;
    assert_eq!(histories.len(), 4);
    let failing = with(&world, (1, 0), Fate::Fails);
    for (slot, history) in &histories {
        let fails = failing.contains(&Subject::Party(*slot));
        // Two fits of one batch of two rows, and none of who always fails.
        let time = if fails { 0.0 } else { 4.0 * slowness(&run, *slot) };
        assert_eq!(history.time, time, "party {slot}");
        assert_eq!(history.missed > 0.0, fails, "party {slot}");
    }
    let replayed = again(&world);
    assert_eq!((replayed.differences, replayed.rounds), (Vec::new(), 6));
    world.check().unwrap();
}

#[test]
fn a_slow_party_waits_until_its_phase_has_closed_or_its_worker_stops() {
    let mut scenario = Scenario::calm(Algorithm::FedMd);
    scenario.through = 0;
    let world = ran(scenario);
    let of_phase = |phase| Task {
        version: VERSION,
        at: Attempt {
            run: RUN.to_owned(),
            round: 0,
            attempt: 0,
        },
        resolved: Digest::of(b"run"),
        phase,
        step: "transfer".to_owned(),
        stage: Stage::Train,
        subject: Subject::Party(0),
        reads: BTreeMap::new(),
        members: None,
    };
    let (closed, open) = (of_phase(1), of_phase(9));
    let long = Duration::from_hours(1);
    assert_eq!(linger(&world.bystander(), &closed, long), Ok(()));
    let stopped = world.bystander();
    stopped.cancel();
    assert_eq!(linger(&stopped, &open, long), Err(StageError::Cancelled));
    let mut repeated = world.bystander();
    repeated.repeats = Some(world.store.clone());
    assert_eq!(linger(&repeated, &open, long), Ok(()));
    let clock = SystemClock::new();
    let short = Duration::from_millis(30);
    assert_eq!(linger(&world.bystander(), &open, short), Ok(()));
    assert!(clock.monotonic() >= short);
}
