//! What the server makes of all that parties trained, averages and ensembles: what it reads for it, by which rule the ensemble
//! is scored, and on whose test sets.

use crate::federation::{finish, pipeline, write_for};
use crate::stored::{Made, Stored, reals, texts, whole64s, wholes};
use fedstill_learner::{Dataset, Model, Registry, predict};
use fedstill_schemas::data::Columns;
use fedstill_schemas::results;
use fedstill_schemas::task::Subject;
use std::path::Path;

/// A round of FedDF between four parties of two architectures, which train until they disagree.
fn feddf(folder: &Path, changes: &[(&str, &str)]) -> Stored {
    let more = [("rounds = 2", "rounds = 1"), ("epochs = 1", "epochs = 20")];
    let out = folder.join("runs");
    let file = write_for(&pipeline("feddf"), folder, &[&more[..], changes].concat());
    finish(&file, &out, &[]);
    Stored::new(&out, "tiny-feddf-0")
}

fn slot(made: &Made) -> u32 {
    match made.subject {
        Subject::Party(slot) => slot,
        other => panic!("{other} is no party"),
    }
}

#[test]
fn averages_and_ensembles_say_how_many_bytes_of_weights_they_read() {
    let folder = tempfile::tempdir().unwrap();
    let stored = feddf(folder.path(), &[]);
    let trained = stored.results_of(1, "train");
    assert_eq!(trained.len(), 4);
    let weights = |of: &dyn Fn(u32) -> bool| -> u64 {
        let some = trained.iter().filter(|made| of(slot(made)));
        some.map(|made| made.result.parts["weights"].bytes).sum()
    };
    let rows = stored.table(results::STEPS, 1);
    let read = texts(&rows, "step")
        .into_iter()
        .zip(texts(&rows, "subject"))
        .zip(whole64s(&rows, "bytes_in"));
    let read = |step: &str, subject: &str| {
        let mut found = read.clone().filter(|((of, whose), _)| of == step && whose == subject);
        found.next().unwrap_or_else(|| panic!("{step} of {subject}")).1
    };
    for index in 0..2 {
        let own = weights(&|slot| slot % 2 == index);
        assert!(own > 1000, "{own}");
        assert_eq!(read("average", &format!("architecture-{index}")), own);
    }
    assert_eq!(read("evaluate_ensemble", "server"), weights(&|_| true));
}

#[test]
fn every_model_has_one_score_on_the_whole_test_set_and_one_on_that_of_each_party_that_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("runs");
    let file = write_for(&pipeline("feddf"), folder.path(), &[("rounds = 2", "rounds = 1")]);
    finish(&file, &out, &[]);
    let stored = Stored::new(&out, "tiny-feddf-0");
    let rows = stored.table(results::METRICS, 1);
    let scored: Vec<((String, String), u32)> = texts(&rows, "step")
        .into_iter()
        .zip(texts(&rows, "test_set"))
        .zip(wholes(&rows, "slot"))
        .collect();
    let slots = |step: &str, set: &str| -> Vec<u32> {
        let rows = scored.iter().filter(|((of, on), _)| of == step && on == set);
        let mut slots: Vec<u32> = rows.map(|(_, slot)| *slot).collect();
        slots.sort_unstable();
        slots
    };
    for (step, models) in [
        ("evaluate", &[0, 1][..]),
        ("evaluate_ensemble", &[0][..]),
        ("evaluate_personal", &[0, 1, 2, 3][..]),
    ] {
        assert_eq!(slots(step, "global"), models, "{step}");
        // An architecture's model is scored for each of its parties, the ensemble for all.
        assert_eq!(slots(step, "local"), [0, 1, 2, 3], "{step}");
    }
    assert_eq!(scored.len(), 2 + 1 + 4 + 3 * 4, "nothing else is scored: {scored:?}");
    // Whose row it is, its architecture says too.
    let architectures = texts(&rows, "architecture");
    for (((_, set), slot), architecture) in scored.iter().zip(&architectures) {
        if set == "local" {
            assert_eq!(architecture, ["cnn[4]", "mlp[32]"][*slot as usize % 2], "{slot}");
        }
    }
}

/// The logits (rows x classes) of each party's model on the test set, and the labels.
fn predicted(stored: &Stored) -> (Vec<Vec<f32>>, Vec<u32>, usize) {
    let run = stored.resolved();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/letters-test.parquet");
    let data = Dataset::open(&file, &Columns::default()).unwrap();
    let rows: Vec<u32> = (0..data.rows()).collect();
    let logits = stored.results_of(1, "train").into_iter().map(|made| {
        let model = Model {
            architecture: &run.parties[slot(&made) as usize],
            shape: run.private.shape,
            classes: run.head(),
            labels_per: run.labels_per(),
        };
        let weights = stored.part(&made.result.parts["weights"]);
        predict(&Registry::default(), &model, &weights, &data, &rows).unwrap()
    });
    (logits.collect(), data.labels().to_vec(), run.head() as usize)
}

fn softmax(logits: impl Iterator<Item = f64>) -> Vec<f64> {
    let exps: Vec<f64> = logits.map(f64::exp).collect();
    let sum: f64 = exps.iter().sum();
    exps.into_iter().map(|exp| exp / sum).collect()
}

/// Accuracy and mean cross entropy of rows of probabilities.
fn scores(rows: &[Vec<f64>], labels: &[u32]) -> (f64, f64) {
    let (mut right, mut loss) = (0, 0.0);
    for (row, label) in rows.iter().zip(labels) {
        let own = row[*label as usize];
        right += usize::from(row.iter().all(|other| *other <= own));
        loss -= own.ln();
    }
    (right as f64 / rows.len() as f64, loss / rows.len() as f64)
}

/// The same of an ensemble, by hand: by the mean of probabilities, and by the mean of logits.
fn by_hand(stored: &Stored) -> [(f64, f64); 2] {
    let (members, labels, classes) = predicted(stored);
    let count = members.len() as f64;
    let of_row = |member: &Vec<f32>, row: usize| -> Vec<f64> {
        let logits = &member[row * classes..(row + 1) * classes];
        logits.iter().copied().map(f64::from).collect()
    };
    let mean = |rows: Vec<Vec<f64>>| -> Vec<f64> {
        (0..classes)
            .map(|class| rows.iter().map(|row| row[class]).sum::<f64>() / count)
            .collect()
    };
    let probabilities = (0..labels.len()).map(|row| {
        let rows = members.iter().map(|member| softmax(of_row(member, row).into_iter()));
        mean(rows.collect())
    });
    let logits = (0..labels.len()).map(|row| {
        let rows = members.iter().map(|member| of_row(member, row));
        softmax(mean(rows.collect()).into_iter())
    });
    [
        scores(&probabilities.collect::<Vec<_>>(), &labels),
        scores(&logits.collect::<Vec<_>>(), &labels),
    ]
}

/// The same as the results have it.
fn scored(stored: &Stored) -> (f64, f64) {
    let rows = stored.table(results::METRICS, 1);
    let (steps, sets) = (texts(&rows, "step"), texts(&rows, "test_set"));
    let mut at = (0..steps.len()).filter(|at| steps[*at] == "evaluate_ensemble" && sets[*at] == "global");
    let at = at.next().expect("scores of the ensemble");
    (reals(&rows, "accuracy")[at], reals(&rows, "loss")[at])
}

fn assert_near((accuracy, loss): (f64, f64), expected: (f64, f64), what: &str) {
    // Two classes may be as near as float32 can tell.
    assert!(
        (accuracy - expected.0).abs() < 0.005,
        "{what}: {accuracy}, not {}",
        expected.0
    );
    assert!((loss - expected.1).abs() < 1e-4, "{what}: {loss}, not {}", expected.1);
}

#[test]
fn an_ensemble_is_scored_by_the_rule_that_the_round_combines_predictions_by() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["mean", "mean_probability"].map(|rule| {
        let own = folder.path().join(rule);
        std::fs::create_dir(&own).unwrap();
        let rule = format!("[steps.aggregate]\nrule = \"{rule}\"\n[parties]");
        feddf(&own, &[("[parties]", &rule)])
    });
    let [by_probabilities, by_logits] = by_hand(&first);
    assert!(
        (by_probabilities.1 - by_logits.1).abs() > 1e-2,
        "the rules say the same: {by_probabilities:?}, {by_logits:?}"
    );
    assert_near(scored(&first), by_logits, "mean");
    // Parties train the same, whatever becomes of their predictions.
    assert_near(scored(&second), by_probabilities, "mean_probability");
}
