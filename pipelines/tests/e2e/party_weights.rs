//! Parties that run their own workers, in pipelines that have them send their weights.

use crate::deployment::{Deployment, good};
use crate::federation::{changed, files, finish, pipeline, write_for};
use crate::parties::{Party, assert_same_weights_of, divide_run, everything, kafka, tables};
use crate::stored::{Made, Stored, reals, texts, wholes};
use fedstill_schemas::digest::Digest;
use fedstill_schemas::names;
use fedstill_schemas::results::METRICS;
use fedstill_schemas::task::{Part, Place, Report, Subject};
use fedstill_stages::tensors::GLOBAL_TEST;
use std::collections::{BTreeMap, BTreeSet};

const FEDDF: &str = "tiny-feddf-0";
const FEDAVG: &str = "tiny-fedavg-0";
/// The last round.
const ROUNDS: u32 = 2;
/// What the two pipelines disclose.
const ALLOWED: &str = "[\"weights\", \"predictions\", \"prototypes\", \"validation_rows\", \"reports\"]";
/// The part that holds weights.
const WEIGHTS: &str = "weights";
/// The step by which parties' own models are scored.
const PERSONAL: &str = "evaluate_personal";

/// What tasks made and found out, by round, step and subject. The archive's results are left out: they stand for manifests,
/// which name the resolved run, and with it the parties' keys.
type Work = BTreeMap<(u32, String, Subject), (BTreeMap<String, Part>, Report)>;

fn work(stored: &Stored) -> Work {
    let made = stored.results().into_iter();
    let made = made.filter(|made| !matches!(made.result.report, Report::Archived { .. }));
    made.map(|made| {
        let key = (made.round, made.step, made.subject);
        (key, (made.result.parts, made.result.report))
    })
    .collect()
}

/// Takes away the scores of the server's models in parties' own proportions of classes; how many those were.
fn take_local_scores(work: &mut Work) -> usize {
    let mut taken = 0;
    for ((_, _, subject), (_, report)) in work {
        let of_party = matches!(subject, Subject::Party(_));
        if let (false, Report::Scores(scores)) = (of_party, report) {
            taken += std::mem::take(&mut scores.others).len();
        }
    }
    taken
}

/// The rows of the table of scores in a round, as step, slot, test set, accuracy and loss: but for those of the server's
/// models in parties' own proportions of classes.
fn scores(stored: &Stored, round: u32) -> Vec<(String, u32, String, f64, f64)> {
    let table = stored.table(METRICS, round);
    let (steps, slots, sets) = (texts(&table, "step"), wholes(&table, "slot"), texts(&table, "test_set"));
    let (accuracies, losses) = (reals(&table, "accuracy"), reals(&table, "loss"));
    let rows = (0..steps.len()).filter(|row| steps[*row] == PERSONAL || sets[*row] == GLOBAL_TEST);
    rows.map(|row| {
        (
            steps[row].clone(),
            slots[row],
            sets[row].clone(),
            accuracies[row],
            losses[row],
        )
    })
    .collect()
}

/// Fails where parties with workers of their own, and the server with them, made or scored anything else than in the run
/// where all of them are simulated.
fn assert_same_work(simulated: &Stored, deployed: &Stored, run: &str) {
    let (mut here, mut there) = (work(simulated), work(deployed));
    assert!(
        take_local_scores(&mut here) > 0,
        "{run}: a simulation knows whose rows are which"
    );
    assert_eq!(
        take_local_scores(&mut there),
        0,
        "{run}: nobody but a party knows its rows"
    );
    let keys: BTreeSet<_> = here.keys().chain(there.keys()).collect();
    let differing: Vec<_> = keys
        .into_iter()
        .filter(|key| here.get(*key) != there.get(*key))
        .collect();
    assert!(differing.is_empty(), "{run}: {differing:?} differ");
    // So that it is not nothing that is the same: prototypes of two architectures from three parties' weights.
    let has = |step: &str, subject: Subject| here.contains_key(&(ROUNDS, step.to_owned(), subject));
    assert!(
        (0..3).all(|slot| has("train", Subject::Party(slot))),
        "{:?}",
        here.keys()
    );
    assert!(
        (0..2).all(|index| has("average", Subject::Architecture(index))),
        "{:?}",
        here.keys()
    );
    for round in 0..=ROUNDS {
        let rows = scores(simulated, round);
        assert!(!rows.is_empty(), "{run}: round {round}");
        assert_eq!(rows, scores(deployed, round), "{run}: scores of round {round}");
    }
}

/// Fails where a party has put anything into the shared store but what docs/deploy.md gives it a right to: its results, and
/// of their parts the weights.
fn assert_only_weights_are_shared(deployed: &Stored, run: &str) {
    let mut named = BTreeSet::new();
    for Made { subject, result, .. } in deployed.results() {
        for (name, part) in &result.parts {
            if let Subject::Party(slot) = subject {
                let place = if *name == WEIGHTS {
                    Place::Shared
                } else {
                    Place::Party(slot)
                };
                assert_eq!(part.place, place, "{run}: {name} of {subject}");
            }
            if part.place == Place::Shared {
                assert_eq!(
                    Digest::of(&deployed.part(part)),
                    part.sha256,
                    "{run}: {name} of {subject}"
                );
                named.insert(names::part_object(run, part));
            }
        }
    }
    named.extend((0..=ROUNDS).map(|round| names::part_object(run, &deployed.plan(round).draws)));
    let parts = files(&deployed.shared()).into_keys();
    let parts: BTreeSet<String> = parts
        .filter(|name| name.starts_with(&format!("{run}/parts/")))
        .collect();
    assert_eq!(parts, named, "{run}: parts of the shared store");
}

#[test]
fn parties_that_send_their_weights_make_the_prototypes_that_simulated_ones_do() {
    let folder = tempfile::tempdir().unwrap();
    let data = format!("{}/examples/data", env!("CARGO_MANIFEST_DIR"));
    // Of parties with rows of their own no validation rows can be cut off.
    let validation = format!("validation = {{ url = \"{data}/letters-test.parquet\", rows = 20 }}");
    let both = [
        ("rounds = 2", "rounds = 2\nbaselines = [\"fedavg\"]"),
        ("validation = { rows = 20 }", validation.as_str()),
        ("count = 4", "count = 3"),
    ];
    let file = write_for(&pipeline("feddf"), folder.path(), &both);
    let out = folder.path().join("runs");
    finish(&file, &out, &[]);
    let rows = divide_run(FEDDF, &out, folder.path());
    let Some(mut deployment) = Deployment::start("parties that send weights on Apache Kafka", folder.path(), 1) else {
        return;
    };
    good(&deployment.does(&["topics", "create"]));
    deployment.work(&["--jobs", "1"]);
    let mut parties: Vec<Party> = (0..3)
        .map(|slot| Party::new(&deployment, folder.path(), slot, &rows[slot], ALLOWED))
        .collect();
    let placed = format!(
        "[close]\nquorum = 1.0\ndeadline = \"5m\"\n{}",
        tables(&parties, &["cnn[4]", "mlp[32]", "cnn[4]"])
    );
    let private = format!("private = {{ url = \"{data}/letters.parquet\", rows = 90 }}");
    let changes = [
        (
            "[parties]\ncount = 3\narchitectures = [\"cnn[4]\", \"mlp[32]\"]\n",
            placed.as_str(),
        ),
        (private.as_str(), "private = { classes = 26, shape = [1, 28, 28] }"),
    ];
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, changed(text, &changes)).unwrap();
    for party in &mut parties {
        party.start(&deployment);
    }
    good(&deployment.does(&["submit", file.to_str().unwrap()]));
    for (run, steps) in [
        (FEDDF, "train, predict, evaluate_personal"),
        (FEDAVG, "train, evaluate_personal"),
    ] {
        let watched = good(&deployment.does(&["watch", run]));
        assert!(watched.contains(&format!("round 2: {steps} by 3 of 3")), "{watched}");
        let deployed = Stored::deployed(deployment.path(), run);
        assert_same_work(&Stored::new(&out, run), &deployed, run);
        assert_only_weights_are_shared(&deployed, run);
    }
    // What FedDF leaves with a party is its predictions; FedAvg leaves nothing there.
    assert_same_weights_of(FEDDF, &out, &parties, "parties that send weights");
    assert!(everything(&kafka(&deployment), names::DEAD).is_empty());
}
