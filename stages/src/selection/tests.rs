use super::*;
use std::collections::BTreeSet;

/// A run of parties whose architectures have these sizes, which selects so.
fn run(sizes: &[u32], selection: Selection) -> ResolvedRun {
    let mut run = crate::simulation::resolved();
    let architecture = |size: &u32| format!("mlp[{size}]").parse().unwrap();
    run.parties = sizes.iter().map(architecture).collect();
    run.selection = selection;
    run
}

fn selected(run: &ResolvedRun, round: u32) -> Vec<u32> {
    select(run, round, &BTreeMap::new()).unwrap()
}

/// How many of the selected have each of so many architectures.
fn counts(run: &ResolvedRun, selected: &[u32], architectures: usize) -> Vec<usize> {
    let slots = by_architecture(run);
    assert_eq!(slots.len(), architectures);
    slots
        .iter()
        .map(|slots| selected.iter().filter(|slot| slots.contains(slot)).count())
        .collect()
}

#[test]
fn nobody_is_left_out_of_round_0_nor_where_no_step_is_of_selected_parties() {
    let none = |run: &ResolvedRun, round| select(run, round, &BTreeMap::new()).is_none();
    let random = Selection::Random { active: 2 };
    assert!(none(&run(&[1; 4], random), 0));
    assert!(!none(&run(&[1; 4], random), 1));
    assert!(none(&run(&[1; 4], Selection::All), 1));
    let mut of_all = run(&[1; 4], random);
    for step in &mut of_all.pipeline.round {
        step.who = Who::Parties;
    }
    assert!(none(&of_all, 1));
}

#[test]
fn a_random_selection_is_a_seeded_draw_of_its_own_in_each_round() {
    let drawn = run(&[1; 20], Selection::Random { active: 5 });
    let rounds: BTreeSet<Vec<u32>> = (1..=10).map(|round| selected(&drawn, round)).collect();
    assert!(rounds.len() > 5, "{rounds:?}");
    for slots in &rounds {
        assert!(
            slots.is_sorted_by(|one, next| one < next) && slots.len() == 5,
            "{slots:?}"
        );
        assert!(slots.iter().all(|slot| *slot < 20));
    }
    assert_eq!(selected(&drawn, 3), selected(&drawn, 3));
    let mut other = drawn.clone();
    other.seed += 1;
    assert_ne!(selected(&drawn, 3), selected(&other, 3));
}

#[test]
fn round_robin_gives_every_architecture_its_places_and_what_is_left_over_in_turn() {
    for active in 3..=9 {
        let turns = run(&[1, 2, 3, 1, 2, 3, 3, 2, 1], Selection::RoundRobin { active });
        let mut together = vec![0; 3];
        for round in 1..=3 {
            let slots = selected(&turns, round);
            assert!(slots.is_sorted_by(|one, next| one < next), "{slots:?}");
            assert_eq!(slots.len(), active as usize);
            let counts = counts(&turns, &slots, 3);
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(
                *least >= 1 && most - least <= 1,
                "{active} active, round {round}: {counts:?}"
            );
            together.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        assert_eq!(together, [active as usize; 3], "{active} active");
    }
    let turns = run(&[1, 1, 1, 2, 2, 2], Selection::RoundRobin { active: 2 });
    let rounds: BTreeSet<Vec<u32>> = (1..=20).map(|round| selected(&turns, round)).collect();
    assert!(
        rounds.len() > 3,
        "within an architecture others come in each round: {rounds:?}"
    );
}

#[test]
fn an_architecture_with_too_few_parties_passes_its_places_on() {
    let turns = run(&[1, 2, 2, 2, 2, 2], Selection::RoundRobin { active: 4 });
    for round in 1..=6 {
        assert_eq!(counts(&turns, &selected(&turns, round), 2), [1, 3], "round {round}");
    }
}

#[test]
fn fedlesscan_takes_who_is_new_first_and_the_architectures_in_turn() {
    let scan = run(&[1, 1, 1, 2, 2], Selection::Fedlesscan { active: 2 });
    let mut known = BTreeMap::new();
    let mut rounds = Vec::new();
    for round in 1..=4 {
        let slots = select(&scan, round, &known).unwrap();
        let times = slots.iter().map(|slot| (*slot, 1.0)).collect();
        known = histories(&known, &slots, &BTreeSet::new(), &times, round);
        rounds.push(slots);
    }
    // In the third round one is new, and in the fourth all are equally fast: who was selected least comes first.
    assert_eq!(rounds, [vec![0, 3], vec![1, 4], vec![0, 2], vec![1, 3]]);
}

#[test]
fn fedlesscan_takes_who_sits_out_only_where_places_are_left() {
    let scan = |active| run(&[1; 4], Selection::Fedlesscan { active });
    let missed = BTreeSet::from([1, 3]);
    let known = histories(&BTreeMap::new(), &[0, 1, 2, 3], &missed, &BTreeMap::new(), 1);
    assert_eq!(select(&scan(2), 2, &known), Some(vec![0, 2]));
    assert_eq!(select(&scan(3), 2, &known), Some(vec![0, 1, 2]));
}

#[test]
fn fedlesscan_comes_to_slower_parties_in_every_turn_however_long_the_run() {
    let scan = run(&[1; 8], Selection::Fedlesscan { active: 4 });
    let mut known = BTreeMap::new();
    for round in 1..=12 {
        let slots = select(&scan, round, &known).unwrap();
        // Half of them take nine times as long, and a turn is two rounds.
        let expected = if round % 2 == 1 { [0, 1, 2, 3] } else { [4, 5, 6, 7] };
        assert_eq!(slots, expected, "round {round}");
        let times = slots.iter().map(|slot| (*slot, if *slot < 4 { 1.0 } else { 9.0 }));
        known = histories(&known, &slots, &BTreeSet::new(), &times.collect(), round);
    }
}

#[test]
fn what_cannot_be_selected_is_refused_with_what_to_change() {
    let refused = |sizes: &[u32], selection, quorum| {
        let close = Close {
            quorum,
            deadline_ms: None,
        };
        refusal(&run(sizes, selection), close)
    };
    let four = [1, 2, 1, 2];
    for active in 2..=4 {
        for selection in [
            Selection::Random { active },
            Selection::RoundRobin { active },
            Selection::Fedlesscan { active },
        ] {
            assert_eq!(refused(&four, selection, 0.5), None, "{selection:?}");
        }
    }
    assert_eq!(refused(&four, Selection::Random { active: 1 }, 0.25), None);
    for (selection, quorum, reason) in [
        (Selection::Random { active: 0 }, 0.25, "one party at least"),
        (Selection::Random { active: 5 }, 0.25, "the run has 4 parties"),
        (Selection::RoundRobin { active: 1 }, 0.25, "2 architectures"),
        (Selection::Fedlesscan { active: 1 }, 0.25, "2 architectures"),
        (Selection::Random { active: 2 }, 0.75, "asks for 3 of 4 parties"),
    ] {
        let refused = refused(&four, selection, quorum).unwrap_or_default();
        assert!(refused.contains(reason), "{selection:?}: '{refused}'");
    }
    let mut of_all = run(&four, Selection::Random { active: 2 });
    for step in &mut of_all.pipeline.round {
        step.who = Who::Parties;
    }
    let everyone = Close {
        quorum: 1.0,
        deadline_ms: None,
    };
    assert_eq!(refusal(&of_all, everyone), None, "its steps are of all parties");
}
