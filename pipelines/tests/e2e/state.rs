//! What outlives a round, and whose it is: weights, statistics and counters of batch norm, states of optimizers.

use crate::federation::{finish, pipeline, write_for};
use crate::stored::{Made, Stored, tasks};
use fedstill_schemas::names;
use fedstill_schemas::pipeline::{On, Pipeline, Stage, Start};
use fedstill_schemas::task::{Report, Subject, TaskResult};
use fedstill_stages::rounds::MODEL;
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::path::Path;

/// A tensor of a file: its values, exactly.
#[derive(Debug)]
struct Tensor {
    shape: Vec<usize>,
    values: Vec<f64>,
    /// Whether it is a counter: a whole number.
    counts: bool,
}

type Tensors = BTreeMap<String, Tensor>;

/// The tensors of a part of a result.
fn tensors(stored: &Stored, result: &TaskResult, part: &str) -> Tensors {
    let bytes = stored.part(&result.parts[part]);
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors = Tensors::new();
    for (name, view) in file.iter() {
        let data = view.data();
        let (values, counts) = match view.dtype() {
            Dtype::F32 => {
                let values = data.as_chunks::<4>().0.iter();
                (values.map(|four| f64::from(f32::from_le_bytes(*four))).collect(), false)
            }
            Dtype::I64 => {
                let values = data.as_chunks::<8>().0.iter();
                (values.map(|eight| i64::from_le_bytes(*eight) as f64).collect(), true)
            }
            other => panic!("{name} is {other:?}"),
        };
        let shape = view.shape().to_vec();
        tensors.insert(name.to_owned(), Tensor { shape, values, counts });
    }
    tensors
}

fn weights(stored: &Stored, result: &TaskResult) -> Tensors {
    tensors(stored, result, "weights")
}

/// The only value of a counter.
fn count(tensors: &Tensors, name: &str) -> u64 {
    let counter = &tensors[name];
    assert!(counter.counts && counter.values.len() == 1, "{name}: {counter:?}");
    counter.values[0] as u64
}

/// Rows that a fit trained on, and steps that it took.
fn fitted(result: &TaskResult) -> (u32, u64) {
    match result.report {
        Report::Fit { rows, steps, .. } => (rows, steps),
        ref other => panic!("{other:?}"),
    }
}

/// FedAvg whose parties learn public labels after their own: on as many rows as everybody else.
fn digesting() -> Pipeline {
    let mut pipeline = pipeline("fedavg");
    "digesting".clone_into(&mut pipeline.name);
    let mut digest = pipeline.step(1, "train").unwrap().clone();
    (digest.name, digest.stage, digest.start) = ("digest".to_owned(), Stage::Distill, Start::Own);
    for term in &mut digest.terms {
        term.on = On::Public;
    }
    pipeline.round.insert(1, digest);
    assert!(pipeline.check().is_empty(), "{:?}", pipeline.check());
    pipeline
}

/// A run of two rounds at most, in a folder.
fn ran(name: &str, folder: &Path, changes: &[(&str, &str)]) -> Stored {
    let out = folder.join("runs");
    finish(&write_for(&pipeline(name), folder, changes), &out, &[]);
    Stored::new(&out, &names::run_id("tiny", name, 0))
}

/// What the parties of an architecture made by a step of a round, by slot.
fn made_by(stored: &Stored, round: u32, step: &str, architecture: u32) -> Vec<Made> {
    let resolved = stored.resolved();
    let architecture = resolved.architectures()[architecture as usize];
    let is_of_it = |subject: Subject| match subject {
        Subject::Party(slot) => resolved.parties[slot as usize] == *architecture,
        _ => false,
    };
    let mut made = stored.results_of(round, step);
    made.retain(|made| is_of_it(made.subject));
    made
}

/// The result of a step that an architecture's prototype comes from.
fn prototype(stored: &Stored, round: u32, step: &str, architecture: u32) -> TaskResult {
    let mut made = stored.results_of(round, step).into_iter();
    let made = made.find(|made| made.subject == Subject::Architecture(architecture));
    made.unwrap_or_else(|| panic!("{step} of round {round} has made no architecture-{architecture}"))
        .result
}

/// Fails where an architecture's average is not the mean of what its own parties made by a step, each counted by the rows
/// that it trained on in `train`: every weight and every buffer, in float64 in the order of slots, rounded once.
fn assert_mean_of_its_own(stored: &Stored, round: u32, step: &str, architecture: u32) {
    let trained = made_by(stored, round, "train", architecture).into_iter();
    let made = made_by(stored, round, step, architecture).into_iter();
    let models: Vec<(f64, Tensors)> = trained
        .zip(made)
        .map(|(trained, made)| {
            assert_eq!(trained.subject, made.subject);
            (f64::from(fitted(&trained.result).0), weights(stored, &made.result))
        })
        .collect();
    assert_eq!(models.len(), 2);
    assert_ne!(models[0].0, models[1].0, "parties count by their rows, and not alike");
    let all: f64 = models.iter().map(|(rows, _)| rows).sum();
    let average = prototype(stored, round, "average", architecture);
    for (name, tensor) in weights(stored, &average) {
        for (place, value) in tensor.values.iter().enumerate() {
            let sum: f64 = models
                .iter()
                .map(|(rows, model)| rows * model[&name].values[place])
                .sum();
            let mean = if tensor.counts {
                (sum / all).round()
            } else {
                f64::from((sum / all) as f32)
            };
            assert_eq!(
                *value, mean,
                "round {round}, architecture-{architecture}, {name}[{place}]"
            );
        }
    }
}

#[test]
fn a_prototype_is_the_mean_of_its_parties_with_batch_norm_and_they_go_on_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let stored = ran("fedavg", folder.path(), &[]);
    for round in [1, 2] {
        for architecture in [0, 1] {
            assert_mean_of_its_own(&stored, round, "train", architecture);
        }
    }
    let tracked = |result: &TaskResult| count(&weights(&stored, result), "bn1.num_batches_tracked");
    let before = prototype(&stored, 1, "average", 0);
    for made in made_by(&stored, 2, "train", 0) {
        let steps = fitted(&made.result).1;
        assert_eq!(tracked(&made.result), tracked(&before) + steps, "{}", made.subject);
        let model = weights(&stored, &made.result);
        assert!(model["bn1.running_mean"].values.iter().all(|mean| *mean != 0.0));
        assert!(model["bn1.running_var"].values.iter().all(|variance| *variance != 1.0));
    }
    assert!(tracked(&before) > 0);
}

#[test]
fn a_mean_by_samples_of_models_that_learned_public_rows_since_counts_the_private_ones() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = digesting();
    std::fs::write(folder.path().join("digesting.toml"), pipeline.to_toml()).unwrap();
    let changes = [("\"digesting\"", "\"digesting.toml\""), ("rounds = 2", "rounds = 1")];
    let out = folder.path().join("runs");
    finish(&write_for(&pipeline, folder.path(), &changes), &out, &[]);
    let stored = Stored::new(&out, &names::run_id("tiny", &pipeline.name, 0));
    for architecture in [0, 1] {
        assert_mean_of_its_own(&stored, 1, "digest", architecture);
        let digested = made_by(&stored, 1, "digest", architecture);
        assert!(digested.iter().all(|made| fitted(&made.result).0 == 120));
    }
    let Report::Average { members, rows } = prototype(&stored, 1, "average", 0).report else {
        panic!("an average says of how many");
    };
    let trained = made_by(&stored, 1, "train", 0);
    let trained: u32 = trained.iter().map(|made| fitted(&made.result).0).sum();
    assert_eq!((members, rows), (2, u64::from(trained)));
}

#[test]
fn counters_and_both_optimizers_of_a_party_go_on_from_round_to_round() {
    let folder = tempfile::tempdir().unwrap();
    let stored = ran("fedmd", folder.path(), &[]);
    let steps = |round: u32, step: &str, subject: Subject| -> u64 {
        let made = stored.results_of(round, step);
        made.iter()
            .filter(|made| made.subject == subject)
            .map(|made| fitted(&made.result).1)
            .sum()
    };
    let manifest = stored.manifest(2);
    // The parties with batch norm.
    for party in [0, 2].map(Subject::Party) {
        let result = stored.result(&manifest.slots[&party]);
        let private = steps(0, "transfer", party) + steps(1, "revisit", party) + steps(2, "revisit", party);
        let digest = steps(1, "digest", party) + steps(2, "digest", party);
        let pretrained = steps(0, "pretrain", Subject::Architecture(0));
        assert!(private > 0 && digest > 0 && pretrained > 0);
        let of = |part: &str| count(&tensors(&stored, &result, part), "step");
        assert_eq!(of("optimizer.private"), private, "{party}");
        assert_eq!(of("optimizer.digest"), digest, "{party}");
        let batches = count(&weights(&stored, &result), "bn1.num_batches_tracked");
        assert_eq!(batches, pretrained + private + digest, "{party}");
    }
}

#[test]
fn two_architectures_of_the_same_shapes_share_no_weights() {
    let folder = tempfile::tempdir().unwrap();
    let twins = ("\"cnn[4]\", \"mlp[32]\"", "\"2nn\", \"mlp[200,200]\"");
    let stored = ran("fedavg", folder.path(), &[("rounds = 2", "rounds = 1"), twins]);
    for (round, step) in [(0, "initial"), (1, "average")] {
        let [one, other] = [0, 1].map(|architecture| weights(&stored, &prototype(&stored, round, step, architecture)));
        assert_eq!(one.len(), 6, "{:?}", one.keys());
        for (name, tensor) in &one {
            assert_eq!(tensor.shape, other[name].shape, "{name}");
            assert_ne!(tensor.values, other[name].values, "{step}: {name}");
        }
    }
    for architecture in [0, 1] {
        assert_mean_of_its_own(&stored, 1, "train", architecture);
    }
    let mut tasks = tasks(&stored.records());
    tasks.retain(|task| task.step == "train");
    assert_eq!(tasks.len(), 4);
    for task in tasks {
        let Subject::Party(slot) = task.subject else {
            panic!("{task:?}");
        };
        assert_eq!(task.reads[MODEL].subject, Subject::Architecture(slot % 2), "{task:?}");
    }
}
