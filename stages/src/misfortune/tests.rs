use super::*;
use crate::selection::select;
use fedstill_schemas::events::Close;
use fedstill_schemas::pipeline::{Selection, Who};
use fedstill_schemas::resolved::{Offline, Slow};
use fedstill_schemas::signature::{PartyIdentity, PrivateKey};
use std::collections::BTreeMap;

/// A run of ten parties with these misfortunes.
fn run(simulate: Simulate) -> ResolvedRun {
    let mut run = crate::simulation::resolved();
    run.parties = vec!["mlp[1]".parse().unwrap(); 10];
    run.simulate = simulate;
    run
}

fn failing(parties: u32, probability: f64) -> ResolvedRun {
    run(Simulate {
        fail: Some(Fail { parties, probability }),
        ..Simulate::default()
    })
}

fn offline() -> Simulate {
    Simulate {
        offline: Some(Offline { parties: 3 }),
        ..Simulate::default()
    }
}

/// The slots with that fate in a round's first attempt.
fn with(run: &ResolvedRun, round: u32, expected: Fate) -> Vec<u32> {
    in_attempt(run, (round, 0), expected)
}

fn in_attempt(run: &ResolvedRun, at: (u32, u32), expected: Fate) -> Vec<u32> {
    let has = |slot: &u32| fate(run, at, Subject::Party(*slot)) == expected;
    (0..run.parties.len() as u32).filter(has).collect()
}

#[test]
fn who_is_slow_is_drawn_once_a_run() {
    let slow = run(Simulate {
        slow: Some(Slow {
            parties: 4,
            factor: 2.0,
        }),
        ..Simulate::default()
    });
    let drawn = with(&slow, 1, Fate::Slow(2.0));
    assert_eq!(drawn.len(), 4);
    for round in [2, 9] {
        assert_eq!(with(&slow, round, Fate::Slow(2.0)), drawn, "round {round}");
    }
    let factors: Vec<f64> = drawn.iter().map(|slot| slowness(&slow, *slot)).collect();
    assert_eq!(factors, [2.0; 4]);
    assert_eq!(with(&slow, 1, Fate::Fine).len(), 6);
}

#[test]
fn who_fails_is_drawn_once_a_run_and_fails_in_some_rounds() {
    let always = failing(2, 1.0);
    let drawn = with(&always, 1, Fate::Fails);
    assert_eq!(drawn.len(), 2);
    assert_eq!(with(&always, 7, Fate::Fails), drawn);
    assert!(with(&failing(2, 0.0), 1, Fate::Fails).is_empty());
    let half = failing(2, 0.5);
    let rounds = |slot: u32| -> Vec<u32> {
        let fails = |round: &u32| fate(&half, (*round, 0), Subject::Party(slot)) == Fate::Fails;
        (1..=200).filter(fails).collect()
    };
    let [one, other] = [drawn[0], drawn[1]].map(rounds);
    assert!((70..130).contains(&one.len()) && (70..130).contains(&other.len()));
    assert_ne!(one, other, "each has draws of its own");
}

#[test]
fn who_fails_is_drawn_anew_for_each_attempt_at_a_round() {
    let of = |run: &ResolvedRun| [0, 1, 2].map(|attempt| in_attempt(run, (1, attempt), Fate::Fails));
    let half = failing(10, 0.5);
    let attempts = of(&half);
    assert_eq!(attempts, of(&half), "the same whenever it is asked");
    assert!(attempts[0] != attempts[1] && attempts[1] != attempts[2], "{attempts:?}");
    assert!(attempts.iter().all(|failing| !failing.is_empty()), "{attempts:?}");
    let [first, second, third] = of(&failing(2, 1.0));
    assert!(first == second && second == third, "who always fails does");
}

#[test]
fn a_forecast_counts_what_becomes_of_the_tasks() {
    let close = Close {
        quorum: 0.4,
        deadline_ms: None,
    };
    let calm = run(Simulate::default());
    assert_eq!(Outlook::new(&calm, close).of(1, 0), None);
    let mut run = run(Simulate {
        slow: Some(Slow {
            parties: 4,
            factor: 2.0,
        }),
        fail: Some(Fail {
            parties: 5,
            probability: 0.5,
        }),
        ..offline()
    });
    let mut held = [0, 0];
    for selection in [
        Selection::All,
        Selection::Random { active: 6 },
        Selection::RoundRobin { active: 6 },
        Selection::Fedlesscan { active: 10 },
    ] {
        run.selection = selection;
        let outlook = Outlook::new(&run, close);
        assert_eq!(outlook.of(0, 0), None);
        for at in (1..=20).flat_map(|round| [0, 1, 2].map(|attempt| (round, attempt))) {
            let forecast = outlook.of(at.0, at.1).unwrap();
            let cohort = select(&run, at.0, &BTreeMap::new()).unwrap_or_else(|| (0..10).collect());
            let count = |expected: Fate| {
                let slots = in_attempt(&run, at, expected).into_iter();
                slots.filter(|slot| cohort.contains(slot)).count() as u32
            };
            let expected = Forecast {
                parties: cohort.len() as u32,
                failing: count(Fate::Fails),
                offline: count(Fate::Offline),
                slow: count(Fate::Slow(2.0)),
                needed: 4,
            };
            assert_eq!(forecast, expected, "{selection:?} in {at:?}");
            assert_eq!(forecast.answers(), count(Fate::Fine) + count(Fate::Slow(2.0)));
            let answering = outlook.answering(at.0, at.1).unwrap();
            let answers = |slot: u32| {
                let fate = fate(&run, at, Subject::Party(slot));
                cohort.contains(&slot) && matches!(fate, Fate::Fine | Fate::Slow(_))
            };
            let expected: Vec<u32> = (0..10).filter(|slot| answers(*slot)).collect();
            assert_eq!(answering, expected, "{selection:?} in {at:?}");
            held[usize::from(forecast.holds())] += 1;
        }
    }
    assert!(held[0] > 0 && held[1] > 0, "{held:?}");
    run.selection = Selection::Fedlesscan { active: 6 };
    let unknown = Outlook::new(&run, close);
    assert_eq!(unknown.of(1, 0), None, "it follows from training times");
    assert_eq!(unknown.answering(1, 0), None);
}

#[test]
fn a_forecast_is_of_the_phase_with_the_fewest_answers() {
    let mut run = failing(10, 1.0);
    run.selection = Selection::RoundRobin { active: 4 };
    // The first step of parties is of all of them, and the others are of four.
    run.pipeline.round[0].who = Who::Parties;
    let close = Close {
        quorum: 0.3,
        deadline_ms: None,
    };
    let all_fail = Outlook::new(&run, close).of(1, 0).unwrap();
    assert_eq!((all_fail.parties, all_fail.failing, all_fail.holds()), (10, 10, false));
    run.simulate.fail = Some(Fail {
        parties: 5,
        probability: 1.0,
    });
    // Five of all answer, and so the four have fewer answers, whether some of them fail too or not.
    let half = Outlook::new(&run, close).of(1, 0).unwrap();
    let selected = select(&run, 1, &BTreeMap::new()).unwrap();
    let failing = with(&run, 1, Fate::Fails).into_iter();
    let failing = failing.filter(|slot| selected.contains(slot)).count() as u32;
    assert_eq!((half.parties, half.failing), (4, failing));
}

#[test]
fn who_is_offline_does_nothing_after_round_0() {
    let mut everything = offline();
    everything.fail = Some(Fail {
        parties: 10,
        probability: 1.0,
    });
    let gone = with(&run(everything), 1, Fate::Offline);
    assert_eq!(gone.len(), 3);
    assert_eq!(with(&run(offline()), 5, Fate::Offline), gone);
}

#[test]
fn everyone_is_well_in_round_0_and_so_are_the_server_and_real_parties() {
    let mut run = run(offline());
    assert_eq!(with(&run, 0, Fate::Fine).len(), 10);
    for subject in [Subject::Server, Subject::Architecture(0), Subject::Partition(0)] {
        assert_eq!(fate(&run, (1, 0), subject), Fate::Fine);
    }
    let key = PrivateKey::from_bytes(&[7; 32]).public();
    let identity = |slot: u32| PartyIdentity {
        id: format!("p{slot}"),
        key,
    };
    run.identities = (0..10).map(identity).collect();
    assert_eq!(with(&run, 1, Fate::Fine).len(), 10);
}

#[test]
fn a_slow_party_waits_for_what_its_work_would_have_taken_longer() {
    assert_eq!(wait(3.0, 100), Duration::from_millis(200));
    for (slowness, took_ms) in [
        (1.0, 100),
        (0.5, 100),
        (3.0, 0),
        (3.0, -5),
        (f64::NAN, 100),
        (f64::INFINITY, 100),
    ] {
        assert_eq!(wait(slowness, took_ms), Duration::ZERO, "{slowness} times {took_ms} ms");
    }
}
