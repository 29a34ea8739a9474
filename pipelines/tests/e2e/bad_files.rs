//! Bad run files: one clear message each, with place and fix, exit code 2, and nothing written.

use crate::federation::{fedstill, run_file, said};
use arrow_array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use std::path::Path;
use std::sync::Arc;

/// What is replaced by what, and what the message must say.
type Case = (&'static str, &'static str, &'static [&'static str]);

const CASES: &[Case] = &[
    ("rounds = 2", "ronds = 2", &["ronds", "rounds"]),
    ("rounds = 2", "rounds = \"two\"", &["rounds"]),
    ("rounds = 2", "rounds = -1", &["rounds"]),
    ("rounds = 2", "rounds = 2.5", &["rounds"]),
    ("rounds = 2", "rounds = 2\nseeds = []", &["seeds"]),
    ("rounds = 2", "rounds = 2\nseeds = [1, 1]", &["seeds"]),
    (
        "rounds = 2",
        "rounds = 2\nbaselines = [\"standalon\"]",
        &["standalon", "standalone"],
    ),
    ("rounds = 2", "rounds = 2\nbaselines = [\"fedmd\"]", &["fedmd"]),
    (
        "rounds = 2",
        "rounds = 2\npredictions = \"float8\"",
        &["float8", "float16"],
    ),
    ("rounds = 2\n", "", &["rounds"]),
    ("name = \"tiny\"", "name = \"Tiny Run\"", &["name"]),
    ("pipeline = \"fedmd\"", "pipeline = \"fedmb\"", &["fedmb", "fedmd"]),
    ("count = 3", "count = 0", &["count"]),
    ("count = 3", "count = 1", &["architectures"]),
    ("count = 3", "count = 3\nactive = 1.5", &["active"]),
    (
        "count = 3",
        "count = 3\nselection = \"random\"",
        &["selection", "all 3"],
    ),
    (
        "labels = \"union\"",
        "labels = \"union\"\nvalidation = { rows = 10 }",
        &["validation", "would change nothing"],
    ),
    (
        "stop = false",
        "stop = { patience = 1, watch = \"validation\" }",
        &["pretrain", "validation"],
    ),
    (
        "[steps.revisit]",
        "[steps.revisit]\nstop = { patience = 1, watch = \"validation\" }",
        &["revisit", "held_out"],
    ),
    (
        "[parties]",
        "[simulate]\noffline = { parties = 1 }\n[parties]",
        &["offline", "deadline"],
    ),
    ("\"cnn[4]\"", "\"cmn[4]\"", &["cmn", "cnn"]),
    ("\"cnn[4]\"", "\"cnn[4\"", &["cnn[4"]),
    ("\"cnn[4]\"", "\"cnn\"", &["cnn"]),
    ("\"cnn[4]\"", "\"cnn[4,4,4,4,4,4]\"", &["cnn[4,4,4,4,4,4]"]),
    ("labels = \"union\"", "labels = \"joined\"", &["joined", "union"]),
    ("labels = \"union\"", "labels = \"private\"", &["private"]),
    ("{ kind = \"iid\" }", "{ kind = \"idd\" }", &["idd", "iid"]),
    ("{ kind = \"iid\" }", "{ kind = \"dirichlet\" }", &["alpha"]),
    ("{ kind = \"iid\" }", "{ kind = \"dirichlet\", alpha = 0 }", &["alpha"]),
    (
        "{ kind = \"iid\" }",
        "{ kind = \"dirichlet\", alpha = 0.5, min = 40 }",
        &["min"],
    ),
    (
        "{ kind = \"iid\" }",
        "{ kind = \"classes\", per_party = 27 }",
        &["27", "26"],
    ),
    ("rows = 90", "rows = 9000", &["9000", "7800"]),
    ("rows = 90", "rows = 2", &["2"]),
    ("rows = 90", "rows = 90, classes = [0, 26]", &["label 26", "0 to 25"]),
    ("rows = 90", "rows = 90, classes = [[0, 1], 1]", &["label 1 twice"]),
    ("rows = 90", "rows = 601, classes = [0, 1]", &["601", "has 600"]),
    ("rows = 120 }", "rows = 120 }\nalignment = 500", &["alignment", "120"]),
    ("letters.parquet", "leters.parquet", &["leters.parquet"]),
    ("letters.parquet", "README.md", &["README.md", "Parquet"]),
    ("letters-test.parquet", "../../Cargo.toml", &["Parquet"]),
    ("[steps.pretrain]", "[steps.pretran]", &["pretran", "pretrain"]),
    ("[steps.pretrain]", "[steps.predict]", &["predict"]),
    ("batch = 16", "batch = 0", &["batch"]),
    (
        "batch = 16",
        "batch = 16\noptimizer = { kind = \"sgd\", lr = 0.1 }",
        &["transfer", "one optimizer state"],
    ),
    (
        "batch = 16",
        "batch = 16\noptimizer = { kind = \"adam\", lr = -1 }",
        &["lr"],
    ),
    (
        "batch = 16",
        "batch = 16\noptimizer = { kind = \"adem\", lr = 0.1 }",
        &["adem", "adam"],
    ),
    ("[steps.revisit]", "[close]\nquorum = 2\n[steps.revisit]", &["quorum"]),
    (
        "[steps.revisit]",
        "[close]\ndeadline = \"soon\"\n[steps.revisit]",
        &["deadline"],
    ),
    (
        "[steps.revisit]",
        "[cost]\nprovider = \"aws-lamda\"\n[steps.revisit]",
        &["aws-lamda", "aws-lambda"],
    ),
    (
        "[steps.revisit]",
        "[cost]\nprices = \"none.toml\"\n[steps.revisit]",
        &["cannot read", "none.toml"],
    ),
    ("[parties]", "[parties", &["]"]),
];

/// Runs a bad file: it must be refused with one message that says all of `expected`, and write nothing.
fn refuse(folder: &Path, text: &str, expected: &[&str]) {
    let file = folder.join("bad.toml");
    std::fs::write(&file, text).unwrap();
    let out = folder.join("runs");
    for command in ["check", "run"] {
        let mut asked = fedstill();
        asked.arg(command).arg(&file);
        if command == "run" {
            asked.arg("--out").arg(&out);
        }
        let output = asked.output().unwrap();
        let text = said(&output);
        assert_eq!(output.status.code(), Some(2), "{expected:?}: {text}");
        assert_eq!(
            text.lines().filter(|line| line.starts_with("error:")).count(),
            1,
            "one message for {expected:?}: {text}"
        );
        assert!(text.contains("bad.toml:"), "no place: {text}");
        assert!(text.contains("help:"), "no fix: {text}");
        for part in expected {
            assert!(text.contains(part), "'{part}' is not in: {text}");
        }
        assert!(!text.contains("panicked"), "{text}");
        assert!(!out.exists(), "something was written");
    }
}

#[test]
fn every_bad_run_file_gets_one_message_with_place_and_fix_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for (from, to, expected) in CASES {
        refuse(folder.path(), &run_file(&[(from, to)]), expected);
    }
}

#[test]
fn a_run_file_that_cannot_be_read_is_named() {
    let output = fedstill().args(["run", "no-such-file.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("no-such-file.toml"));
}

/// A sweep file, a pipeline's, a party's and a deployment's.
const SWEEP: &str = "run = \"run.toml\"\nseeds = [0, 1]\n[grid]\nrounds = [1, 2]\n";
const PIPELINE: &str = include_str!("../../examples/fedmd_kl.toml");
const PARTY: &str = include_str!("../../src/cluster/party.toml");
const DEPLOYMENT: &str = include_str!("../../../deploy/cluster.toml");

#[test]
fn a_file_of_another_kind_gets_one_message_that_says_what_it_is_and_what_it_is_for() {
    let folder = tempfile::tempdir().unwrap();
    let run = run_file(&[]);
    let runs: &[&str] = &["check", "run", "report", "compare", "submit"];
    let sweep: &[&str] = &["sweep"];
    // The others take a sweep file too.
    let run_alone: &[&str] = &["check", "run", "submit"];
    for (text, commands, expected) in [
        (SWEEP, run_alone, ["this is a sweep file", "`fedstill sweep bad.toml"]),
        (PIPELINE, runs, ["this is a pipeline's file", "pipeline = \"bad.toml\""]),
        (PARTY, runs, ["this is a party's file", "`fedstill party run bad.toml`"]),
        (
            DEPLOYMENT,
            runs,
            [
                "this is a deployment's file",
                "`fedstill submit --config bad.toml run.toml`",
            ],
        ),
        (run.as_str(), sweep, ["this is a run file", "`fedstill run bad.toml`"]),
        (
            PIPELINE,
            sweep,
            ["this is a pipeline's file", "pipeline = \"bad.toml\""],
        ),
    ] {
        std::fs::write(folder.path().join("bad.toml"), text).unwrap();
        for command in commands {
            let mut asked = fedstill();
            asked.args([*command, "bad.toml"]).current_dir(folder.path());
            let output = asked.output().unwrap();
            let text = said(&output);
            assert_eq!(output.status.code(), Some(2), "{command}: {text}");
            let errors = text.lines().filter(|line| line.starts_with("error:")).count();
            assert_eq!(errors, 1, "one message of {command}: {text}");
            assert!(
                text.contains("bad.toml:") && text.contains("help:"),
                "{command}: {text}"
            );
            for part in expected {
                assert!(text.contains(part), "{command}: '{part}' is not in: {text}");
            }
        }
    }
    let there: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(there.len(), 1, "nothing was written");
}

type Columns = Vec<(&'static str, ArrayRef)>;

fn parquet(path: &Path, columns: Columns) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(std::fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn data_sets_that_cannot_be_used_are_refused_at_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("bad.parquet");
    let image =
        |bytes: usize| -> ArrayRef { Arc::new(BinaryArray::from_iter_values((0..9).map(|_| vec![0u8; bytes]))) };
    let label = |values: Vec<i64>| -> ArrayRef { Arc::new(Int64Array::from(values)) };
    let text: ArrayRef = Arc::new(StringArray::from_iter_values((0..9).map(|_| "a")));
    let good = || label((0..9).collect());
    let cases: Vec<(Columns, &[&str])> = vec![
        (vec![("imaeg", image(784)), ("label", good())], &["imaeg", "image"]),
        (vec![("image", image(784)), ("lable", good())], &["lable", "label"]),
        (vec![("image", image(784)), ("label", text)], &["label"]),
        (vec![("image", good()), ("label", good())], &["image"]),
        (
            vec![("image", image(784)), ("label", label(vec![-1; 9]))],
            &["label", "-1"],
        ),
        (vec![("image", image(10)), ("label", good())], &["shape"]),
        (vec![("image", image(64)), ("label", good())], &["28"]),
        (vec![("image", image(784)), ("label", label(vec![99; 9]))], &["99"]),
    ];
    for (columns, expected) in cases {
        parquet(&data, columns);
        let mut run = run_file(&[]);
        let start = run.find("test = { url = \"").unwrap() + "test = { url = \"".len();
        let end = start + run[start..].find('"').unwrap();
        run.replace_range(start..end, &data.display().to_string());
        refuse(folder.path(), &run, expected);
    }
}

#[test]
fn check_says_what_would_run_and_what_leaves_whom_and_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.toml");
    std::fs::write(&file, run_file(&[])).unwrap();
    let output = fedstill()
        .arg("check")
        .arg(&file)
        .current_dir(folder.path())
        .output()
        .unwrap();
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    for part in [
        "3 parties, 2 rounds, seed 0",
        "fedmd (tiny-fedmd-0)",
        "digest     each of 3 parties",
        "what leaves whom",
        "predictions on public rows, from each party to the aggregator",
        "payload a round",
        "memory: about",
        "disk: about",
    ] {
        assert!(text.contains(part), "'{part}' is not in: {text}");
    }
    let there: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(there.len(), 1, "nothing but the run file");
}

#[test]
fn check_says_what_the_server_holds_to_stop_by_and_what_is_simulated() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.toml");
    let text = run_file(&[
        ("labels = \"union\"", "labels = \"union\"\nvalidation = { rows = 30 }"),
        ("stop = false", "stop = { patience = 2, watch = \"validation\" }"),
        ("[parties]", "[simulate]\nslow = { parties = 2, factor = 3 }\n[parties]"),
    ]);
    std::fs::write(&file, text).unwrap();
    let output = fedstill().arg("check").arg(&file).output().unwrap();
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    for part in [
        "stops after 2 epochs without better accuracy on validation rows",
        "labelled rows like the private ones, held by the server",
        "60 private rows",
        "validation: 30 of the private rows, with the server",
        "simulated: 2 parties 3 times as slow",
    ] {
        assert!(text.contains(part), "'{part}' is not in: {text}");
    }
}

#[test]
fn check_warns_of_classes_that_may_not_be_what_they_are_taken_for_and_of_other_training_and_refuses_neither() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.toml");
    let check = |changes: &[(&str, &str)]| {
        std::fs::write(&file, run_file(changes)).unwrap();
        let output = fedstill().arg("check").arg(&file).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    };
    assert!(!check(&[]).contains("warning:"));
    let text = check(&[
        ("labels = \"union\"", "labels = \"shared\""),
        ("letters-test.parquet", "mnist.parquet"),
        ("rounds = 2", "rounds = 2\nbaselines = [\"fedavg\"]"),
    ]);
    for part in [
        "warning: labels = \"shared\" takes class 0",
        "the public set has 10 classes, and the private one has 26",
        "warning: the test set has 10 classes, and the private rows have 26",
        "unlike in fedmd (revisit: 1 epoch in batches of 16, Adam 0.001) and fedavg (train: 5 epochs",
    ] {
        assert!(text.contains(part), "'{part}' is not in: {text}");
    }
}

#[test]
fn check_refuses_a_deadline_over_half_of_the_retention_that_the_environment_says() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.toml");
    std::fs::write(&file, run_file(&[]) + "[close]\ndeadline = \"1d\"\n").unwrap();
    let check = |retention: &str| {
        let mut command = fedstill();
        command.arg("check").arg(&file).env("FEDSTILL_LOG_RETENTION", retention);
        command.output().unwrap()
    };
    assert!(check("2d").status.success());
    let refused = check("1h");
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        said(&refused).contains("over half of the topics' retention"),
        "{}",
        said(&refused)
    );
}

#[test]
fn labels_that_are_left_out_have_no_place_in_the_head() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.toml");
    let text = run_file(&[
        ("letters.parquet\"", "letters.parquet\", classes = [3, [0, 25]]"),
        ("mnist.parquet\"", "mnist.parquet\", classes = [0, 2, 4]"),
        (
            "letters-test.parquet\"",
            "letters-test.parquet\", classes = [3, [0, 25]]",
        ),
    ]);
    std::fs::write(&file, text).unwrap();
    let output = fedstill().arg("check").arg(&file).output().unwrap();
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    // Of each letter the test set has 64 rows.
    assert!(
        text.contains("192 to test on; head of 5 classes"),
        "three letters are two classes, three digits three: {text}"
    );
}
