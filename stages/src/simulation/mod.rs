//! A seeded simulation of whole federations: `plan`, `advance`, workers, log and store in one thread and virtual time,
//! with a synthetic learner whose every bit depends on everything before it.
//!
//! In: a seed, which draws a federation and its fate: processes that die at named instants and around appends and puts,
//! stall while others take over, are thrown out of their groups; records that come twice or in another order; a store
//! and a log that fail; deadlines, stops, extensions. Out: nothing, or what does not hold, with the command that runs
//! that schedule again. A schedule runs alone and with its trace under `FEDSTILL_SIM_SEED=<n>`; `FEDSTILL_SIM_SCHEDULES=<n>`
//! runs so many.

mod check;
mod crashes;
mod delivery;
mod drive;
mod group;
mod learner;
mod lies;
mod local;
mod memory;
mod objects;
mod oracle;
mod poison;
mod process;
mod random;
mod scenario;
mod selected;
mod takeover;
mod world;

use crate::faults::POINTS;
use crate::rounds::Planned;
use check::{Kind, Outcome};
use fedstill_schemas::events::Close;
use fedstill_schemas::resolved::ResolvedRun;
pub(crate) use memory::Handed;
use parking_lot::Mutex;
use random::Random;
use scenario::{Algorithm, Scenario};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use world::World;

/// Schedules of the default test.
const SCHEDULES: u64 = 2000;
/// Schedules that do not hold and are listed.
const FAILURES: usize = 8;
/// Processes lie on each other's stack while they stall.
const STACK: usize = 64 << 20;

/// Runs a scenario to its end and checks it.
fn outcome(scenario: Scenario) -> Outcome {
    let world = World::new(scenario, Random::new(0));
    world.run();
    world.check().unwrap()
}

/// What federations come to where nothing goes wrong, by kind.
fn undisturbed() -> BTreeMap<Kind, Outcome> {
    let mut outcomes = BTreeMap::new();
    for algorithm in Algorithm::ALL {
        for (parties, alignment) in [(3, 10), (4, 10), (3, 1030), (4, 1030)] {
            let mut scenario = Scenario::calm(algorithm);
            (scenario.parties, scenario.alignment, scenario.through) = (parties, alignment, 3);
            outcomes.insert(scenario.kind(), outcome(scenario));
        }
    }
    outcomes
}

/// A schedule's world, when it is over.
fn schedule(seed: u64, traced: bool) -> Arc<World> {
    let mut random = Random::new(seed);
    let scenario = Scenario::seeded(&mut random);
    let world = World::new(scenario, random);
    if traced {
        world.trace.lock().lines = Some(vec![format!("{:#?}", world.scenario)]);
    }
    world.run();
    world
}

/// Checks a schedule against the undisturbed run of its kind.
fn judge(world: &World, undisturbed: &BTreeMap<Kind, Outcome>) -> Result<Outcome, String> {
    let outcome = world.check()?;
    let expected = &undisturbed[&world.scenario.kind()].rounds;
    if outcome.whole {
        for (round, (found, expected)) in outcome.rounds.iter().zip(expected).enumerate() {
            if found != expected {
                return Err(format!("round {round} differs from the undisturbed run's"));
            }
        }
    }
    Ok(outcome)
}

/// On a thread with room for stalled processes.
fn with_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK);
        thread.spawn_scoped(scope, work).unwrap().join().unwrap()
    })
}

/// The resolved run of a calm federation.
pub(crate) fn resolved() -> ResolvedRun {
    Scenario::calm(Algorithm::FedMd).resolved()
}

/// An attempt of a calm federation, for tests of what is decided from it.
pub(crate) fn planned(round: u32, close: Close) -> Planned {
    let mut scenario = Scenario::calm(Algorithm::FedMd);
    (scenario.through, scenario.close) = (round, close);
    let world = World::new(scenario, Random::new(0));
    world.run();
    let manifest = round.checked_sub(1).and_then(|before| world.manifest(before));
    let plan = world.plan_of(round, 0).unwrap();
    Planned::new(world.scenario.resolved(), plan, manifest)
}

#[test]
fn a_seed_is_a_schedule() {
    with_stack(|| {
        for seed in 0..20 {
            let one = schedule(seed, true);
            let other = schedule(seed, true);
            assert_eq!(one.trace.lock().lines, other.trace.lock().lines, "seed {seed}");
        }
        let differ = schedule(1, true).trace.lock().lines != schedule(2, true).trace.lock().lines;
        assert!(differ, "the seed decides nothing");
    });
}

#[test]
fn every_schedule_ends_with_the_bits_that_its_members_decide() {
    let undisturbed = undisturbed();
    if let Ok(seed) = std::env::var("FEDSTILL_SIM_SEED") {
        let seed = seed.parse().expect("FEDSTILL_SIM_SEED is a number");
        let world = with_stack(|| schedule(seed, true));
        let judged = judge(&world, &undisturbed);
        for line in world.trace.lock().lines.iter().flatten() {
            println!("{line}");
        }
        judged.unwrap();
        return;
    }
    let asked = std::env::var("FEDSTILL_SIM_SCHEDULES").ok();
    let schedules = asked.and_then(|count| count.parse().ok()).unwrap_or(SCHEDULES);
    let next = AtomicU64::new(0);
    let whole = AtomicU64::new(0);
    let exhausted = AtomicU64::new(0);
    let rounds = AtomicU64::new(0);
    let failures = Mutex::new(Vec::new());
    let died_at = Mutex::new(BTreeSet::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= schedules || failures.lock().len() >= FAILURES {
                return;
            }
            let judged = std::panic::catch_unwind(AssertUnwindSafe(|| {
                let world = schedule(seed, false);
                rounds.fetch_add(
                    u64::from(world.rounds_in_chaos.load(Ordering::Relaxed)),
                    Ordering::Relaxed,
                );
                died_at.lock().extend(world.died_at.lock().iter().copied());
                judge(&world, &undisturbed)
            }));
            match judged {
                Ok(Ok(outcome)) => {
                    whole.fetch_add(u64::from(outcome.whole), Ordering::Relaxed);
                    exhausted.fetch_add(u64::from(outcome.exhausted), Ordering::Relaxed);
                }
                Ok(Err(reason)) => failures.lock().push((seed, reason)),
                Err(_) => failures.lock().push((seed, "it panicked, see above".to_owned())),
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..threads)
            .map(|_| {
                std::thread::Builder::new()
                    .stack_size(STACK)
                    .spawn_scoped(scope, work)
                    .unwrap()
            })
            .collect();
        for thread in threads {
            thread.join().expect("every schedule holds");
        }
    });
    for (seed, reason) in failures.lock().iter() {
        println!(
            "schedule {seed}: {reason}\n  FEDSTILL_SIM_SEED={seed} cargo test --release -p fedstill-stages every_schedule -- --nocapture"
        );
    }
    assert!(
        failures.lock().is_empty(),
        "schedules that do not hold are listed above, with the command that runs each"
    );
    let (whole, exhausted, rounds) = (whole.into_inner(), exhausted.into_inner(), rounds.into_inner());
    println!(
        "{schedules} schedules, {rounds} rounds done in chaos, {whole} with everyone in, {exhausted} with a round tried in vain"
    );
    assert!(rounds > schedules, "chaos must reach the end of rounds: {rounds}");
    for point in POINTS {
        assert!(died_at.lock().contains(point), "nobody has died at {point}");
    }
    assert!(whole > schedules / 3, "chaos must not hide behind failures: {whole}");
}
