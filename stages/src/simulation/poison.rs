//! Predictions that cannot be used: refused, named in the results, and the round goes on without them, or fails by name.

use super::learner::Bad;
use super::lies::{Lie, lied};
use super::outcome;
use super::random::Random;
use super::scenario::{Algorithm, RUN, Scenario};
use super::world::World;
use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::UInt32Type;
use fedstill_log::{Log, Message};
use fedstill_schemas::envelope::{self, Kind};
use fedstill_schemas::events::{Closed, Decision, Ending, Missing};
use fedstill_schemas::predictions::{self, Identity};
use fedstill_schemas::resolved::Precision;
use fedstill_schemas::task::{Attempt, Report, Subject};
use fedstill_schemas::{names, results};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::BTreeMap;
use std::sync::Arc;

const PARTY: Subject = Subject::Party(1);

fn at(round: u32) -> Attempt {
    Attempt {
        run: RUN.to_owned(),
        round,
        attempt: 0,
    }
}

fn scenario(quorum: f64) -> Scenario {
    let mut scenario = Scenario::calm(Algorithm::FedMd);
    scenario.through = 1;
    scenario.close.quorum = quorum;
    scenario
}

pub(super) fn ran(scenario: Scenario) -> Arc<World> {
    let world = World::new(scenario, Random::new(0));
    world.run();
    world
}

/// A table of round 1, in one batch.
pub(super) fn table(world: &World, name: &str) -> RecordBatch {
    let file = world.objects.result_file(&names::result_file(name, RUN, 1)).unwrap();
    let mut reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    reader.next().unwrap().unwrap()
}

pub(super) fn text(table: &RecordBatch, column: &str, row: usize) -> String {
    table
        .column_by_name(column)
        .unwrap()
        .as_string::<i32>()
        .value(row)
        .to_owned()
}

fn whole(table: &RecordBatch, column: &str, row: usize) -> u32 {
    table
        .column_by_name(column)
        .unwrap()
        .as_primitive::<UInt32Type>()
        .value(row)
}

fn closed(world: &World, phase: u32) -> Closed {
    let path = names::closed_object(&at(1), phase);
    world.store.need_json(&path).unwrap().0
}

/// Why round 1 failed, in its last attempt.
fn failure(world: &World) -> (String, BTreeMap<Subject, Missing>) {
    let mut failures = world.records(names::DECISIONS).into_iter().filter_map(|record| {
        match serde_json::from_slice(&record.value).unwrap() {
            Decision::Ended {
                at,
                why: Ending::Failed { step, missing },
            } if at.attempt == 2 => Some((step, missing)),
            _ => None,
        }
    });
    failures.next().unwrap()
}

#[test]
fn a_model_that_predicts_nonsense_is_refused_at_predict_and_the_round_goes_on_without_it() {
    for (bad, reason) in [
        (Bad::Nan, "not finite"),
        (Bad::ShortRow, "the model predicted 2058 values"),
    ] {
        let mut scenario = scenario(0.5);
        scenario.bad.insert((1, "predict".to_owned(), PARTY), bad);
        let world = ran(scenario);
        let predicted = closed(&world, 0);
        assert_eq!(
            predicted.members.keys().collect::<Vec<_>>(),
            [&Subject::Party(0), &Subject::Party(2)]
        );
        assert!(
            predicted.missing[&PARTY].to_string().contains(reason),
            "{}",
            predicted.missing[&PARTY]
        );
        // It still learns from the others.
        assert!(closed(&world, 3).members.contains_key(&PARTY));
        let rounds = table(&world, results::ROUNDS);
        assert!(text(&rounds, "refused", 0).contains(reason));
        assert!(text(&rounds, "refused", 0).starts_with("party-1: predict"));
        assert_eq!(
            (text(&rounds, "stragglers", 0).as_str(), whole(&rounds, "members", 0)),
            ("", 2)
        );
        let letters = world.records(names::DEAD);
        assert_eq!(letters.len(), 1, "the task is dead-lettered");
        assert_eq!(whole(&table(&world, results::CONSENSUS), "members", 0), 2);
        world.check().unwrap();
    }
}

#[test]
fn below_quorum_the_round_fails_with_the_names_of_who_was_missing() {
    let mut scenario = scenario(1.0);
    scenario.bad.insert((1, "predict".to_owned(), PARTY), Bad::Nan);
    let world = ran(scenario.clone());
    let (step, missing) = failure(&world);
    assert_eq!(step, "predict");
    assert_eq!(missing.keys().collect::<Vec<_>>(), [&PARTY]);
    assert!(missing[&PARTY].to_string().contains("not finite"), "{missing:?}");
    assert!(world.check().unwrap().exhausted);

    scenario.bad.clear();
    scenario.lying = Some((1, Lie::Classes));
    let world = ran(scenario);
    let (step, missing) = failure(&world);
    assert_eq!(step, "aggregate");
    assert!(
        missing
            .values()
            .all(|reason| reason.to_string().contains("party-1 (it has")),
        "{missing:?}"
    );
    assert!(world.check().unwrap().exhausted);
}

#[test]
fn a_member_whose_only_records_are_unusable_abstains_by_name() {
    for lie in Lie::ALL {
        let mut scenario = scenario(0.5);
        scenario.lying = Some((1, lie));
        let world = ran(scenario);
        let aggregated = closed(&world, 1);
        let mut chunks = 0;
        for done in aggregated.members.values().flatten() {
            let Report::Consensus { chunks: reports } = world.result(&done.result).unwrap().report else {
                panic!("aggregate reports a consensus");
            };
            for report in reports {
                chunks += 1;
                assert_eq!(report.members, [0, 2]);
                assert!(
                    report.abstentions[&PARTY].contains(lie.reason()),
                    "{:?}",
                    report.abstentions
                );
            }
        }
        assert_eq!(chunks, 2);
        let consensus = table(&world, results::CONSENSUS);
        for row in 0..consensus.num_rows() {
            assert_eq!(
                (whole(&consensus, "members", row), whole(&consensus, "abstentions", row)),
                (2, 1)
            );
            let abstained = text(&consensus, "abstained", row);
            assert!(
                abstained.starts_with("party-1: ") && abstained.contains(lie.reason()),
                "{abstained}"
            );
        }
        let letters = world.records(names::DEAD);
        assert_eq!(letters.len(), 2, "one a chunk");
        for letter in letters {
            let reason = String::from_utf8_lossy(letter.header("fedstill_reason").unwrap()).into_owned();
            assert!(reason.contains(lie.reason()), "{reason}");
            assert!(
                letter
                    .header("fedstill_origin")
                    .unwrap()
                    .starts_with(names::LOGITS.as_bytes())
            );
        }
        // It is a member of the phase, and learns on; the oracle has counted the consensus without it.
        assert!(closed(&world, 0).missing.is_empty());
        world.check().unwrap();
    }
}

#[test]
fn predictions_at_every_place_of_a_row_stay_together_in_chunks_of_any_size_and_join_to_one_consensus() {
    // A chunk has 1024 predictions, and as many rows as have no more, one at least.
    for (places, rows, sizes) in [
        (7, 1030, &[146, 146, 146, 146, 146, 146, 146, 8][..]),
        (80, 50, &[12, 12, 12, 12, 2][..]),
        (1500, 3, &[1, 1, 1][..]),
    ] {
        let mut scenario = scenario(1.0);
        (scenario.places, scenario.alignment) = (Some(places), rows);
        let world = ran(scenario);
        let found: Vec<u32> = world
            .plan_of(1, 0)
            .unwrap()
            .chunks
            .iter()
            .map(|chunk| chunk.rows)
            .collect();
        assert_eq!(found, sizes);
        // The oracle knows of no chunks.
        let outcome = world.check().unwrap();
        assert_eq!(outcome.rounds[1].consensus.len() as u32, rows * places * 2);
        assert!(outcome.whole);
    }
}

#[test]
fn a_member_that_leaves_out_one_place_of_a_row_abstains() {
    let mut scenario = scenario(0.5);
    (scenario.places, scenario.alignment) = (Some(5), 300);
    scenario.lying = Some((1, Lie::Rows));
    let world = ran(scenario);
    let consensus = table(&world, results::CONSENSUS);
    assert_eq!(
        (whole(&consensus, "members", 0), whole(&consensus, "abstentions", 0)),
        (2, 1)
    );
    let abstained = text(&consensus, "abstained", 0);
    assert!(
        abstained.contains("it has 1019 rows of 2 classes, the plan says 1020"),
        "{abstained}"
    );
    world.check().unwrap();
}

#[test]
fn forged_records_before_a_members_own_do_not_keep_it_out() {
    let expected = outcome(scenario(1.0));
    let world = World::new(scenario(1.0), Random::new(0));
    // Round 1 is planned, and nobody has predicted.
    while world.plan_of(1, 0).is_none() {
        for process in 0..world.processes() {
            world.revive(process);
            world.tick(process);
            let planned = world.plan_of(1, 0).is_some();
            while !planned && (world.compute(process) || world.hand_back(process)) {}
            if planned {
                break;
            }
        }
        world.persevere();
    }
    let plan = world.plan_of(1, 0).unwrap();
    let rows = super::learner::draws(&world.scenario.resolved(), 1).alignment;
    for (chunk, slice) in (0..).zip(&plan.chunks) {
        let identity = Identity {
            at: at(1),
            step: "predict".to_owned(),
            chunk,
            slot: Some(1),
        };
        let values = vec![1.0; slice.rows as usize * 2];
        let honest = predictions::encode(&identity, &rows[slice.range()], 2, &values, Precision::Float16).unwrap();
        let key = names::chunk_key(&at(1), "predict", chunk);
        let messages = Lie::ALL.map(|lie| Message {
            topic: names::LOGITS.to_owned(),
            partition: slice.partition,
            key: key.clone().into(),
            headers: envelope::headers(Kind::Predictions, &at(1), &key, "party-1"),
            value: lied(&honest, lie),
        });
        world.log.append(&messages).unwrap();
    }
    world.run();
    let letters = world.records(names::DEAD);
    assert_eq!(letters.len(), Lie::ALL.len() * plan.chunks.len());
    let consensus = table(&world, results::CONSENSUS);
    assert_eq!(
        (whole(&consensus, "members", 0), whole(&consensus, "abstentions", 0)),
        (3, 0)
    );
    assert_eq!(world.outcome().unwrap().rounds, expected.rounds);
}

#[test]
fn records_that_are_nothing_go_to_the_dead_letters_and_hold_nobody_up() {
    let expected = outcome(scenario(1.0));
    let world = World::new(scenario(1.0), Random::new(0));
    let mut topics = names::topics();
    topics.retain(|topic| ![names::DEAD, names::CONSENSUS, names::LOGITS].contains(topic));
    // Nobody here is a party with a worker of its own.
    topics.retain(|topic| names::party_topics().all(|party| party != *topic));
    for _ in 0..4 {
        for topic in &topics {
            for value in ["", "no JSON", r#"{"version":1}"#] {
                world
                    .log
                    .append(&[Message {
                        topic: (*topic).to_owned(),
                        partition: 0,
                        key: "x".into(),
                        headers: Vec::new(),
                        value: value.into(),
                    }])
                    .unwrap();
            }
        }
        world.one_turn();
    }
    // A phase of a run that nobody knows.
    let open = Decision::Open {
        at: Attempt {
            run: "nobody-knows-0".to_owned(),
            round: 3,
            attempt: 0,
        },
        phase: 0,
    };
    let message = world.bystander().decision(&open).unwrap();
    world.log.append(&[message]).unwrap();
    world.run();
    // Everything but what stands among the decisions, which nobody owns.
    assert_eq!(world.records(names::DEAD).len(), 4 * 3 * (topics.len() - 1));
    assert_eq!(world.outcome().unwrap().rounds, expected.rounds);
}
