//! Baselines against the pipeline of their file: the same local training without what crosses, and all private rows in one
//! place with as many steps of the optimizer as all parties take.

use crate::federation::{finish, pipeline, write_for};
use crate::stored::Stored;
use fedstill_schemas::names;
use fedstill_schemas::task::{Report, Subject};
use std::collections::BTreeMap;
use std::path::Path;

/// Runs a pipeline beside its baselines. Four parties have 23 or 22 rows: two batches of 16 each, and six of all rows.
fn compared(name: &str, folder: &Path) -> [Stored; 3] {
    let baselines = "rounds = 2\nbaselines = [\"standalone\", \"centralised\"]";
    let out = folder.join("runs");
    finish(
        &write_for(&pipeline(name), folder, &[("rounds = 2", baselines)]),
        &out,
        &[],
    );
    [name, "standalone", "centralised"].map(|pipeline| Stored::new(&out, &names::run_id("tiny", pipeline, 0)))
}

/// The steps of the optimizer that each subject took in a step of a round, and the rows that it trained on.
fn taken(stored: &Stored, round: u32, step: &str) -> BTreeMap<Subject, (u64, u32)> {
    let made = stored.results_of(round, step).into_iter();
    made.map(|made| match made.result.report {
        Report::Fit { steps, rows, .. } => (made.subject, (steps, rows)),
        other => panic!("{other:?}"),
    })
    .collect()
}

fn weights(stored: &Stored, round: u32, step: &str, subject: Subject) -> String {
    let mut made = stored.results_of(round, step).into_iter();
    let made = made.find(|made| made.subject == subject).unwrap();
    made.result.parts["weights"].sha256.to_string()
}

/// Fails where parties alone do other work than in the pipeline, or one place another number of steps than all of them.
fn assert_equal_budget([own, alone, pooled]: &[Stored; 3], round: u32, step: &str) {
    let parties = taken(own, round, step);
    assert_eq!(parties.len(), 4, "{step} of round {round}");
    assert_eq!(taken(alone, round, step), parties, "{step} of round {round}");
    let together: u64 = parties.values().map(|(steps, _)| steps).sum();
    let rows: u32 = parties.values().map(|(_, rows)| rows).sum();
    assert_eq!((together, rows), (8, 90), "{step} of round {round}");
    let architectures = [0, 1].map(|index| (Subject::Architecture(index), (together, rows)));
    assert_eq!(
        taken(pooled, round, step),
        BTreeMap::from(architectures),
        "{step} of round {round}"
    );
}

#[test]
fn baselines_of_fedavg_need_no_public_rows_and_train_as_its_parties_do() {
    let folder = tempfile::tempdir().unwrap();
    let runs = compared("fedavg", folder.path());
    for round in [1, 2] {
        assert_equal_budget(&runs, round, "train");
    }
    let [own, alone, pooled] = &runs;
    for slot in 0..4 {
        let party = Subject::Party(slot);
        let initial = weights(own, 0, "initial", Subject::Architecture(slot % 2));
        assert_eq!(weights(alone, 0, "begin", party), initial, "{party}");
        assert_eq!(
            weights(alone, 1, "train", party),
            weights(own, 1, "train", party),
            "{party}: before anything has crossed nothing differs"
        );
        assert_ne!(
            weights(alone, 2, "train", party),
            weights(own, 2, "train", party),
            "{party}"
        );
    }
    for stored in [alone, pooled] {
        assert!(stored.resolved().public.is_none());
    }
}

#[test]
fn baselines_of_fedmd_train_as_its_parties_do() {
    let folder = tempfile::tempdir().unwrap();
    let runs = compared("fedmd", folder.path());
    for (round, step) in [(0, "transfer"), (1, "revisit"), (2, "revisit")] {
        assert_equal_budget(&runs, round, step);
    }
    let [own, alone, _] = &runs;
    for slot in 0..4 {
        let party = Subject::Party(slot);
        assert_eq!(weights(alone, 0, "transfer", party), weights(own, 0, "transfer", party));
    }
}
