//! Text with a label at every position: small federations that learn it, and run files that cannot.

use crate::federation::{assert_same, bits, changed, fedstill, finish, pipeline, said};
use crate::stored::{Stored, wholes};
use arrow_array::{ArrayRef, RecordBatch, StringArray};
use bytes::Bytes;
use fedstill_schemas::data::LabelsPer;
use fedstill_schemas::pipeline::Pipeline;
use fedstill_schemas::plan::Draws;
use fedstill_schemas::{names, predictions, results};
use parquet::arrow::ArrowWriter;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Windows of each file. Of public ones a chunk has twelve: 960 predictions.
const PRIVATE: usize = 12;
const PUBLIC: usize = 14;
const TEST: usize = 3;

/// A file of one text of so many windows: letters, and at last the end of its line.
fn text(folder: &Path, name: &str, windows: usize, step: usize) {
    let letters = (0..80 * windows).map(|place| char::from(b'a' + (place * place * step % 26) as u8));
    let column: ArrayRef = Arc::new(StringArray::from(vec![letters.collect::<String>()]));
    let batch = RecordBatch::try_from_iter([("text", column)]).unwrap();
    let file = std::fs::File::create(folder.join(name)).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// Writes a run file for two parties that read text, with its data and with what `changes` replace, into a folder: as little
/// as the pipeline's steps can do.
pub(crate) fn write_for(pipeline: &Pipeline, folder: &Path, changes: &[(&str, &str)]) -> PathBuf {
    for (name, windows, step) in [("private", PRIVATE, 3), ("public", PUBLIC, 5), ("test", TEST, 7)] {
        text(folder, &format!("{name}.parquet"), windows, step);
    }
    let mut steps = BTreeMap::new();
    for step in pipeline.all_steps() {
        let Some(fit) = &step.fit else { continue };
        let watches = fit.stop.as_ref().is_some_and(|stop| !stop.watch.is_held_out());
        let settings = if watches {
            "steps = 4\nbatch = 7\nstop = { patience = 2, watch = \"validation\", every = 2 }"
        } else {
            "epochs = 1\nbatch = 4\nstop = false"
        };
        steps.insert(step.name.as_str(), settings);
    }
    let steps = steps
        .into_iter()
        .map(|(step, settings)| format!("[steps.{step}]\n{settings}\n"));
    let validation = if pipeline.reads_validation() {
        "validation = { rows = 4 }\n"
    } else {
        ""
    };
    let run = format!(
        r#"name = "text"
pipeline = "{name}"
rounds = 1
[data]
private = {{ url = "private.parquet", text = "text", labels_per = "position" }}
public = {{ url = "public.parquet", text = "text", labels_per = "position" }}
test = {{ url = "test.parquet", text = "text", labels_per = "position" }}
{validation}labels = "shared"
partition = {{ kind = "iid" }}
[parties]
count = 2
architectures = ["charlstm[1]"]
{steps}"#,
        name = pipeline.name,
        steps = steps.collect::<String>(),
    );
    let path = folder.join("run.toml");
    std::fs::write(&path, changed(run, changes)).unwrap();
    path
}

#[test]
fn text_with_a_label_at_every_position_is_learned_and_distilled_with_the_same_bits_on_any_number_of_threads() {
    for name in ["fedmd", "feddf"] {
        let folder = tempfile::tempdir().unwrap();
        let file = write_for(&pipeline(name), folder.path(), &[]);
        let id = names::run_id("text", name, 0);
        let [one, two] = ["1", "2"].map(|threads| {
            let out = folder.path().join(threads);
            finish(&file, &out, &["--threads", threads]);
            out
        });
        assert_same(&bits(&one, &id), &bits(&two, &id), name);

        let stored = Stored::new(&one, &id);
        let run = stored.resolved();
        assert_eq!((run.labels_per(), run.labels_per_row()), (LabelsPer::Position, 80));
        assert_eq!((run.private.rows as usize, run.alignment as usize), (PRIVATE, PUBLIC));
        // The consensus has a prediction for every position of every window, a window in one chunk.
        let plan = stored.plan(1);
        let rows: Vec<u32> = plan.chunks.iter().map(|chunk| chunk.rows).collect();
        assert_eq!(rows, [12, 2], "{name}");
        let draws: Draws = serde_json::from_slice(&stored.part(&plan.draws)).unwrap();
        let joined = stored.results_of(1, "join").remove(0).result;
        for (index, chunk) in plan.chunks.iter().enumerate() {
            let part = stored.part(&joined.parts[&format!("consensus.{index}")]);
            let consensus = predictions::decode(&Bytes::from(part)).unwrap();
            let rows = &draws.alignment[chunk.range()];
            let expected = rows.iter().flat_map(|row| [*row; 80]).collect::<Vec<u32>>();
            assert_eq!(&consensus.samples[..], expected, "{name}");
            assert_eq!(consensus.classes, 82);
            assert_eq!(consensus.values.len(), expected.len() * 82);
        }
        // Scores are of every label of the test set.
        for round in 0..=1 {
            let samples = wholes(&stored.table(results::METRICS, round), "samples");
            assert!(
                !samples.is_empty() && samples.iter().all(|count| *count as usize == 80 * TEST),
                "{name}: {samples:?}"
            );
        }
    }
}

#[test]
fn check_counts_predictions_at_every_position_and_refuses_what_does_not_go_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = write_for(&pipeline("fedmd"), folder.path(), &[]);
    let check = || fedstill().arg("check").arg(&file).output().unwrap();
    let output = check();
    let told = said(&output);
    assert!(output.status.success(), "{told}");
    for part in [
        "head of 82 classes at each of 80 positions of a row",
        "12 private rows, 14 public, 14 in each alignment set, 3 to test on",
        "chunks of 12 rows",
    ] {
        assert!(told.contains(part), "'{part}' is not in: {told}");
    }

    let good = std::fs::read_to_string(&file).unwrap();
    for (from, to, expected) in [
        ("charlstm[1]", "mlp[8]", "'mlp[8]' predicts once a row"),
        (
            "kind = \"iid\"",
            "kind = \"shards\", per_party = 2",
            "the partition 'shards' goes by the label of each row",
        ),
        (
            "\"test.parquet\", text = \"text\", labels_per = \"position\"",
            "\"test.parquet\", text = \"text\"",
            "'data.test' has labels per window, and 'data.private' per position",
        ),
        (
            "\"test.parquet\", text = \"text\"",
            "\"test.parquet\"",
            "'data.test' has labels per position, and names no column of texts",
        ),
    ] {
        assert!(good.contains(from), "{from}");
        std::fs::write(&file, good.replacen(from, to, 1)).unwrap();
        let output = check();
        let told = said(&output);
        assert_eq!(output.status.code(), Some(2), "{told}");
        let errors = told.lines().filter(|line| line.starts_with("error:")).count();
        assert!(errors == 1 && told.contains(expected), "{expected}: {told}");
        assert!(told.contains("run.toml:") && told.contains("help:"), "{told}");
    }
}
