//! Runs side by side, as `fedstill compare` shows those that `fedstill run` made.

use crate::federation::{fedstill, finish, pipeline, said, write, write_for};
use crate::stored::{Stored, reals, texts, whole64s};
use fedstill_schemas::results;
use fedstill_schemas::task::{Subject, TaskResult};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::path::Path;
use std::process::Output;

fn compare(run: &Path, out: &Path, more: &[&str]) -> Output {
    let mut command = fedstill();
    command.arg("compare").arg(run).arg("--out").arg(out).args(more);
    command.output().unwrap()
}

#[test]
fn finished_runs_are_set_side_by_side_by_their_file_and_by_their_name() {
    let folder = tempfile::tempdir().unwrap();
    let more = "rounds = 1\nseeds = [0, 1]\nbaselines = [\"standalone\"]";
    let file = write(folder.path(), &[("rounds = 2", more)]);
    let out = folder.path().join("runs");
    finish(&file, &out, &[]);

    let by_file = compare(&file, &out, &["--target", "0.01"]);
    let text = said(&by_file);
    assert!(by_file.status.success(), "{text}");
    for expected in [
        "tiny: accuracy on the test set 'global'",
        "minus standalone",
        "2 of 2",
        "revisit",
        "prices of aws-lambda",
    ] {
        assert!(text.contains(expected), "'{expected}' is not in: {text}");
    }
    for name in [
        "compare.parquet",
        "accuracy.svg",
        "accuracy.png",
        "cost.svg",
        "cost.png",
    ] {
        let length = std::fs::metadata(out.join("compare").join(name)).unwrap().len();
        assert!(length > 1000, "{name} has {length} bytes");
    }
    let by_name = compare("tiny".as_ref(), &out, &["--target", "0.01"]);
    assert_eq!(said(&by_name), text);

    let elsewhere = folder.path().join("elsewhere");
    let one = compare(
        "tiny-fedmd-1".as_ref(),
        &out,
        &["--to", elsewhere.to_str().unwrap(), "--last", "1"],
    );
    assert!(one.status.success(), "{}", said(&one));
    assert!(elsewhere.join("compare.parquet").is_file());
}

#[test]
fn by_its_name_an_unfinished_run_says_how_far_it_is_as_by_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), &[]);
    let out = folder.path().join("runs");
    let mut command = fedstill();
    command.env("FEDSTILL_CRASH", "archive:after-tables:2");
    let died = command.arg("run").arg(&file).arg("--out").arg(&out).output().unwrap();
    assert!(!died.status.success(), "{}", said(&died));
    let text = said(&compare("tiny".as_ref(), &out, &[]));
    for expected in [
        "fedmd: 1 of 2 rounds so far\n",
        "tiny: means of 1 evaluation; there are no more yet\n",
    ] {
        assert!(text.contains(expected), "'{expected}' is not in: {text}");
    }
    assert_eq!(said(&compare(&file, &out, &[])), text);
    finish(&file, &out, &[]);
    let text = said(&compare("tiny".as_ref(), &out, &[]));
    assert!(text.contains("tiny: means of 2 evaluations\n"), "{text}");
    assert!(!text.contains("so far") && !text.contains("no more yet"), "{text}");
}

#[test]
fn a_run_whose_scores_were_deleted_is_named_by_its_name_and_its_file_and_they_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let more = "rounds = 1\nbaselines = [\"standalone\"]";
    let file = write(folder.path(), &[("rounds = 2", more)]);
    let out = folder.path().join("runs");
    finish(&file, &out, &[]);
    std::fs::remove_dir_all(out.join("results/metrics/run=tiny-fedmd-0")).unwrap();
    let report = |run: &Path| {
        let mut command = fedstill();
        command.arg("report").arg(run).arg("--out").arg(&out).output().unwrap()
    };
    let missing = "fedmd: no table `metrics` of rounds 0, 1; it is in no mean\n";
    for run in [file.as_path(), Path::new("tiny")] {
        for output in [compare(run, &out, &[]), report(run)] {
            let text = said(&output);
            assert!(output.status.success(), "{text}");
            assert!(text.contains(missing) && text.contains("`fedstill run`"), "{text}");
            assert!(!text.contains("not started"), "{text}");
        }
    }
    finish(&file, &out, &[]);
    let text = said(&compare("tiny".as_ref(), &out, &[]));
    assert!(!text.contains("no table"), "{text}");
    assert!(text.contains("\nfedmd "), "{text}");
}

#[test]
fn a_run_file_with_other_settings_than_its_run_is_refused_and_its_name_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let short = ("rounds = 2", "rounds = 0");
    let out = folder.path().join("runs");
    finish(&write(folder.path(), &[short]), &out, &[]);
    let longer = ("epochs = 1\nbatch = 16", "epochs = 3\nbatch = 16");
    let refused = compare(&write(folder.path(), &[short, longer]), &out, &[]);
    let text = said(&refused);
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(
        text.contains("holds a run with other settings (pipeline or its steps)"),
        "{text}"
    );
    let by_name = compare("tiny".as_ref(), &out, &[]);
    assert!(by_name.status.success(), "{}", said(&by_name));
    // What changes no result is no other setting, and the data is not read.
    let more = write(
        folder.path(),
        &[("rounds = 2", "rounds = 3"), ("letters.parquet", "gone.parquet")],
    );
    let text = said(&compare(&more, &out, &[]));
    assert!(text.contains("fedmd: 0 of 3 rounds so far\n"), "{text}");
}

/// The bytes of a run in all rounds, as `compare` has them of its one method.
fn bytes(run: &str, out: &Path) -> u64 {
    let compared = compare(run.as_ref(), out, &[]);
    assert!(compared.status.success(), "{}", said(&compared));
    let file = std::fs::File::open(out.join("compare/compare.parquet")).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build();
    let rows = reader.unwrap().next().unwrap().unwrap();
    let at = texts(&rows, "measure")
        .iter()
        .position(|measure| measure == "bytes")
        .unwrap();
    reals(&rows, "value")[at] as u64
}

/// The bytes of a result's weights.
fn weights(result: &TaskResult) -> u64 {
    result.parts["weights"].bytes
}

#[test]
fn a_round_of_fedavg_is_the_weights_of_its_parties_up_and_those_of_their_prototypes_down() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("runs");
    finish(&write_for(&pipeline("fedavg"), folder.path(), &[]), &out, &[]);
    let run = "tiny-fedavg-0";
    let stored = Stored::new(&out, run);
    let mut expected = 0;
    for round in [1, 2] {
        // Where parties of a round begin.
        let made = if round == 1 { "initial" } else { "average" };
        let prototypes = stored.results_of(round - 1, made);
        let trained = stored.results_of(round, "train");
        assert_eq!((prototypes.len(), trained.len()), (2, 4));
        for party in &trained {
            let Subject::Party(slot) = party.subject else {
                panic!("{}", party.subject);
            };
            let own = Subject::Architecture(slot % 2);
            let down = prototypes.iter().find(|made| made.subject == own).unwrap();
            expected += weights(&party.result) + weights(&down.result);
        }
    }
    // Two of each: a convolution with batch norm, and a layer of 32 units, in float32.
    assert!(expected > 2 * 4 * 2 * 4 * 1000, "{expected}");
    assert_eq!(bytes(run, &out), expected);
}

#[test]
fn a_round_of_fedmd_is_predictions_up_and_as_many_times_the_consensus_down() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("runs");
    finish(&write_for(&pipeline("fedmd"), folder.path(), &[]), &out, &[]);
    let run = "tiny-fedmd-0";
    let stored = Stored::new(&out, run);
    let pretrained = stored.results_of(0, "pretrain");
    let mut expected: u64 = 2 * pretrained.iter().map(|made| weights(&made.result)).sum::<u64>();
    for round in [1, 2] {
        let table = stored.table(results::ROUNDS, round);
        let of = |column: &str| whole64s(&table, column)[0];
        assert!(of("bytes_logits") > 0 && of("bytes_consensus") > 0);
        expected += of("bytes_logits") + 4 * of("bytes_consensus");
    }
    assert_eq!(bytes(run, &out), expected);
}

#[test]
fn what_cannot_be_compared_is_answered_with_the_fix() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), &[("rounds = 2", "rounds = 0")]);
    let out = folder.path().join("runs");
    let refused = |output: Output, code: i32, expected: &str| {
        let text = said(&output);
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(expected), "'{expected}' is not in: {text}");
    };
    refused(compare(&file, &out, &[]), 1, "there are no results of tiny");
    finish(&file, &out, &[]);
    refused(compare("tinny".as_ref(), &out, &[]), 2, "did you mean 'tiny'?");
    let baseline = ["--baseline", "fedmt"];
    refused(compare(&file, &out, &baseline), 2, "did you mean 'fedmd'?");
    refused(compare(&file, &out, &["--target", "90"]), 2, "at most 1, as in 0.9");
    assert!(!out.join("compare").exists());
}
