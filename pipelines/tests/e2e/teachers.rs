//! A party that teaches nothing is dropped where a step drops the worst: from the consensus, from the ensemble and from the
//! average, and the results name it.

use crate::federation::{assert_same, bits, finish};
use crate::stored::{Stored, texts, wholes};
use arrow_array::{ArrayRef, BinaryArray, Int64Array, RecordBatch};
use fedstill_learner::{Dataset, Model, Registry, Tally, predict};
use fedstill_schemas::data::Columns;
use fedstill_schemas::predictions::decode;
use fedstill_schemas::results;
use fedstill_schemas::task::{Report, Subject};
use parquet::arrow::ArrowWriter;
use std::path::Path;
use std::sync::Arc;

/// Letters that are used.
const CLASSES: u32 = 4;
const PARTIES: u32 = 4;
/// The owner whose labels are all wrong.
const POISONED: u32 = 1;
const RUN: &str = "tiny-feddf-0";

/// Whose a private row is. The file has the letters in turn: four in a row are one of each.
fn owner(place: u32) -> u32 {
    place / CLASSES % PARTIES
}

/// Writes rows of the letters: image, label and owner.
fn write(path: &Path, letters: &Dataset, rows: &[(u32, u32, u32)]) {
    let images = rows.iter().map(|(row, ..)| letters.image(*row));
    let labels = rows.iter().map(|(_, label, _)| i64::from(*label));
    let owners = rows.iter().map(|(.., owner)| i64::from(*owner));
    let columns: [(&str, ArrayRef); 3] = [
        ("image", Arc::new(BinaryArray::from_iter_values(images))),
        ("label", Arc::new(Int64Array::from_iter_values(labels))),
        ("owner", Arc::new(Int64Array::from_iter_values(owners))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(std::fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// FedDF between four owners of rows, of whom one has learned that every letter is the next one; it drops the worst where it
/// is told to. All of them must answer.
fn run(folder: &Path, settings: &str, threads: &str) -> Stored {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data");
    let letters = Dataset::open(&data.join("letters.parquet"), &Columns::default()).unwrap();
    let few = (0..letters.rows()).filter(|row| letters.labels()[*row as usize] < CLASSES);
    let few: Vec<u32> = few.collect();
    let (clean, private) = few.split_at(100);
    let label = |row: &u32| letters.labels()[*row as usize];
    let clean: Vec<_> = clean.iter().map(|row| (*row, label(row), 0)).collect();
    write(&folder.join("clean.parquet"), &letters, &clean);
    let private = (0..).zip(private).map(|(place, row)| {
        let owner = owner(place);
        let label = if owner == POISONED {
            (label(row) + 1) % CLASSES
        } else {
            label(row)
        };
        (*row, label, owner)
    });
    let private: Vec<_> = private.take(800).collect();
    write(&folder.join("private.parquet"), &letters, &private);
    let text = format!(
        r#"name = "tiny"
pipeline = "feddf"
rounds = 1
[data]
private = {{ url = "private.parquet", owner = "owner" }}
public = {{ url = "{public}", rows = 60 }}
test = {{ url = "clean.parquet" }}
validation = {{ url = "clean.parquet" }}
labels = "private"
partition = {{ kind = "natural", min = 2 }}
[parties]
count = {PARTIES}
architectures = ["mlp[32]", "mlp[16]"]
[steps.train]
epochs = 10
batch = 16
[steps.distill]
steps = 20
batch = 16
stop = {{ patience = 2, watch = "validation", every = 5 }}
{settings}
[close]
quorum = 1.0
"#,
        public = data.join("mnist.parquet").display(),
    );
    let file = folder.join("run.toml");
    std::fs::write(&file, text).unwrap();
    let out = folder.join(threads);
    finish(&file, &out, &["--threads", threads]);
    Stored::new(&out, RUN)
}

/// The slot of the owner whose labels are wrong.
fn poisoned(stored: &Stored) -> u32 {
    let of_owner = |rows: &Vec<u32>| rows.iter().all(|row| owner(*row) == POISONED);
    let slot = stored.draws().private.iter().position(of_owner);
    slot.expect("a party has its rows") as u32
}

/// What the given parties' predictions say of the first chunk, on average; and the consensus.
fn consensus(stored: &Stored, parties: &[u32]) -> (Vec<f64>, Vec<f32>) {
    let values = |step: &str, subject: Subject, part: &str| {
        let made = stored.results_of(1, step);
        let made = made.into_iter().find(|made| made.subject == subject).unwrap();
        decode(&stored.part(&made.result.parts[part]).into())
            .unwrap()
            .values
            .to_f32()
    };
    let joined = values("join", Subject::Server, "consensus.0");
    let mut mean = vec![0.0; joined.len()];
    for party in parties {
        for (mean, value) in mean
            .iter_mut()
            .zip(values("predict", Subject::Party(*party), "predictions.0").iter())
        {
            *mean += f64::from(*value) / parties.len() as f64;
        }
    }
    (mean, joined)
}

#[test]
fn a_party_with_wrong_labels_is_dropped_by_name_and_teaches_nobody() {
    const DROPPING: &str = "[steps.aggregate]\ndrop_worst = true\n[steps.average]\ndrop_worst = true";
    let folder = tempfile::tempdir().unwrap();
    let stored = run(folder.path(), DROPPING, "1");
    let bad = poisoned(&stored);
    let good: Vec<u32> = (0..PARTIES).filter(|slot| *slot != bad).collect();

    // The results name it.
    let table = stored.table(results::CONSENSUS, 1);
    assert_eq!(wholes(&table, "members"), [PARTIES - 1]);
    assert_eq!(wholes(&table, "abstentions"), [1]);
    let why = texts(&table, "abstained").remove(0);
    assert!(why.starts_with(&format!("party-{bad}: dropped: ")), "{why}");
    assert!(
        why.ends_with("of 100 validation rows right, less than 1.2 times what guessing would have"),
        "{why}"
    );
    for made in stored.results_of(1, "aggregate") {
        let report = made.result.report;
        let Report::Consensus { chunks } = &report else {
            panic!("{report:?}");
        };
        assert!(chunks.iter().all(|chunk| chunk.members == good), "{chunks:?}");
    }

    // It is in no consensus.
    let (mean, joined) = consensus(&stored, &good);
    for (found, expected) in joined.iter().zip(&mean) {
        assert!((f64::from(*found) - expected).abs() < 1e-5, "{found} {expected}");
    }

    // Nor in the average of its architecture: parties have the two in turn.
    for made in stored.results_of(1, "average") {
        let alone = made.subject == Subject::Architecture(bad % 2);
        let expected = if alone { 1 } else { 2 };
        let report = made.result.report;
        assert!(
            matches!(report, Report::Average { members, .. } if members == expected),
            "{report:?}"
        );
    }

    // Nor in the ensemble, whose scores are those of the others' mean.
    let clean = Dataset::open(&folder.path().join("clean.parquet"), &Columns::default()).unwrap();
    let rows: Vec<u32> = (0..clean.rows()).collect();
    let (resolved, registry) = (stored.resolved(), Registry::default());
    let mut sums = vec![0.0; rows.len() * CLASSES as usize];
    for made in stored.results_of(1, "train") {
        let Subject::Party(slot) = made.subject else {
            panic!("{}", made.subject);
        };
        let model = Model {
            architecture: &resolved.parties[slot as usize],
            shape: clean.shape(),
            classes: CLASSES,
            labels_per: clean.labels_per(),
        };
        let weights = stored.part(&made.result.parts["weights"]);
        let logits = predict(&registry, &model, &weights, &clean, &rows).unwrap();
        if slot != bad {
            for (sum, logit) in sums.iter_mut().zip(&logits) {
                *sum += f64::from(*logit);
            }
        }
    }
    let mean: Vec<f32> = sums.iter().map(|sum| (sum / f64::from(PARTIES - 1)) as f32).collect();
    let expected = Tally::new(&mean, &clean, &rows, 0, CLASSES).unwrap().scores();
    let ensemble = stored.results_of(1, "evaluate_ensemble").remove(0).result.report;
    let Report::Scores(found) = &ensemble else {
        panic!("{ensemble:?}");
    };
    assert!((found.loss - expected.loss).abs() < 1e-4, "{found:?} {expected:?}");
    assert_eq!(found.accuracy, expected.accuracy);

    // On any number of threads.
    run(folder.path(), DROPPING, "8");
    let [one, eight] = ["1", "8"].map(|threads| bits(&folder.path().join(threads), RUN));
    assert_same(&one, &eight, "8 threads");
}

#[test]
fn everybody_teaches_where_no_step_drops_the_worst() {
    let folder = tempfile::tempdir().unwrap();
    let stored = run(folder.path(), "", "2");
    let table = stored.table(results::CONSENSUS, 1);
    assert_eq!(
        (wholes(&table, "members"), texts(&table, "abstained")),
        (vec![PARTIES], vec![String::new()])
    );
    let all: Vec<u32> = (0..PARTIES).collect();
    let (mean, joined) = consensus(&stored, &all);
    assert!(
        joined
            .iter()
            .zip(&mean)
            .all(|(found, expected)| (f64::from(*found) - expected).abs() < 1e-5)
    );
}
