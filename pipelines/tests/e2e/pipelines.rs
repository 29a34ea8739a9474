//! The promises, pipeline by pipeline, and with settings that change what its steps do: whatever can be said in a run file
//! keeps all of them.

use crate::deployment::{DEADLINE, Deployment, good};
use crate::federation::{assert_same, bits, fedstill, finish, long, pipeline, said, write_for};
use crate::privacy::disclosed;
use crate::text;
use fedstill_schemas::names;
use fedstill_schemas::pipeline::{CENTRALISED, Disclosure, Pipeline, STANDALONE};
use fedstill_stages::faults::POINTS;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// What is replaced in a run file.
type Changes<'a> = &'a [(&'a str, &'a str)];

/// A pipeline with settings, and what an undisturbed run of it leaves behind.
struct Case {
    pipeline: Pipeline,
    write: fn(&Pipeline, &Path, Changes<'_>) -> PathBuf,
    settings: Changes<'static>,
    run: String,
    expected: BTreeMap<String, Vec<u8>>,
}

/// Parties count by weights of their own.
const WEIGHTED: Changes<'_> = &[
    ("name = \"tiny\"", "name = \"weighted\""),
    (
        "[parties]",
        "[steps.aggregate]\nrule = { weights = [1.0, 0.3, 2.0, 1.0] }\n[parties]",
    ),
];

/// Gradients are clipped, and who does worst on validation rows is left out.
const STRICT: Changes<'_> = &[
    ("name = \"tiny\"", "name = \"strict\""),
    (
        "[parties]",
        "[steps.aggregate]\ndrop_worst = true\n[steps.average]\ndrop_worst = true\n[parties]",
    ),
    ("[steps.train]\n", "[steps.train]\nclip = 0.5\n"),
];

/// Text with a label at every position.
const POSITIONS: Changes<'_> = &[
    ("name = \"text\"", "name = \"positions\""),
    ("rounds = 1", "rounds = 2"),
];

/// The same for a pipeline that has no name of its own, as a baseline that is made of another one: from its file.
fn write_file_for(pipeline: &Pipeline, folder: &Path, changes: Changes<'_>) -> PathBuf {
    std::fs::write(folder.join("own.toml"), pipeline.to_toml()).unwrap();
    let named = format!("pipeline = \"{}\"", pipeline.name);
    let from_file = [(named.as_str(), "pipeline = \"own.toml\"")];
    write_for(pipeline, folder, &[&from_file, changes].concat())
}

/// Every pipeline that there is as it comes, and some with settings; baselines that are made of FedDF's steps.
fn cases() -> &'static [Case] {
    static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
        let all = ::fedstill::algorithms::all().into_iter();
        let mut cases: Vec<Case> = all.map(|own| Case::new("tiny", own, write_for, &[])).collect();
        cases.push(Case::new("weighted", pipeline("fedmd"), write_for, WEIGHTED));
        cases.push(Case::new("strict", pipeline("feddf"), write_for, STRICT));
        for name in [STANDALONE, CENTRALISED] {
            let mut derived = pipeline("feddf").baseline(name).unwrap();
            derived.name = format!("feddf_{name}");
            cases.push(Case::new("tiny", derived, write_file_for, &[]));
        }
        cases.push(Case::new("positions", pipeline("feddf"), text::write_for, POSITIONS));
        cases
    });
    &CASES
}

impl Case {
    fn new(
        name: &str,
        pipeline: Pipeline,
        write: fn(&Pipeline, &Path, Changes<'_>) -> PathBuf,
        settings: Changes<'static>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut case = Self {
            run: names::run_id(name, &pipeline.name, 0),
            pipeline,
            write,
            settings,
            expected: BTreeMap::new(),
        };
        let out = folder.path().join("runs");
        finish(&case.file(folder.path(), &[]), &out, &["--threads", "2"]);
        case.expected = bits(&out, &case.run);
        case
    }

    /// Writes a run file for it, with its settings and then with what `changes` replace.
    fn file(&self, folder: &Path, changes: Changes<'_>) -> PathBuf {
        (self.write)(&self.pipeline, folder, &[self.settings, changes].concat())
    }

    fn assert_same(&self, out: &Path, what: &str) {
        assert_same(&self.expected, &bits(out, &self.run), &format!("{}: {what}", self.run));
    }
}

#[test]
fn every_pipeline_gives_the_same_bits_on_any_number_of_threads() {
    for case in cases() {
        let folder = tempfile::tempdir().unwrap();
        let file = case.file(folder.path(), &[]);
        for threads in ["1", "8"] {
            let out = folder.path().join(threads);
            finish(&file, &out, &["--threads", threads]);
            case.assert_same(&out, &format!("{threads} threads"));
        }
    }
}

/// Runs until it dies at a named point, for the n-th time that it comes there; whether it did.
fn dies(file: &Path, out: &Path, point: &str, count: u32) -> bool {
    let mut command = fedstill();
    command.env("FEDSTILL_CRASH", format!("{point}:{count}"));
    let output = command.arg("run").arg(file).arg("--out").arg(out).output().unwrap();
    // SIGABRT: by its own hand, and not for another reason.
    let died = output.status.signal() == Some(6);
    assert!(died || output.status.success(), "{point}: {}", said(&output));
    died
}

/// Deaths of one run of two rounds, each on the way on from the one before: while a round is planned, between a task's
/// effects, while a phase is closed, while a round is archived.
const DEATHS: [(&str, u32); 12] = [
    ("plan:after-plan", 1),
    ("task:after-part", 2),
    ("advance:after-close", 1),
    ("archive:after-manifest", 1),
    // Round 1.
    ("plan:after-tasks", 1),
    ("task:after-answer", 1),
    ("task:after-result", 1),
    ("advance:after-tasks", 1),
    ("archive:after-tables", 1),
    // Round 2.
    ("plan:after-open", 1),
    ("task:computed", 2),
    ("advance:after-closed", 1),
];

#[test]
fn every_pipeline_ends_with_the_same_bits_after_a_dozen_deaths() {
    for case in cases() {
        let folder = tempfile::tempdir().unwrap();
        let file = case.file(folder.path(), &[]);
        let out = folder.path().join("runs");
        for (point, count) in DEATHS {
            assert!(dies(&file, &out, point, count), "{}: {point} never came", case.run);
        }
        finish(&file, &out, &[]);
        case.assert_same(&out, "died a dozen times");
    }
}

#[test]
fn every_pipeline_that_dies_at_any_named_point_ends_with_the_same_bits() {
    if !long() {
        return;
    }
    // Each of the three rounds comes to every point at least once.
    let counts: &[u32] = if std::env::var_os("FEDSTILL_CHAOS").is_some() {
        &[1, 2, 3, 6]
    } else {
        &[3]
    };
    for case in cases() {
        let folder = tempfile::tempdir().unwrap();
        let file = case.file(folder.path(), &[]);
        for (point, count) in POINTS
            .into_iter()
            .flat_map(|point| counts.iter().map(move |n| (point, *n)))
        {
            let out = folder.path().join(format!("{}-{count}", point.replace(':', "-")));
            let died = dies(&file, &out, point, count);
            assert!(died || count > 3, "{}: {point} never came {count} times", case.run);
            finish(&file, &out, &[]);
            case.assert_same(&out, &format!("died at {point}, time {count}"));
            std::fs::remove_dir_all(&out).unwrap();
        }
    }
}

#[test]
fn every_pipeline_goes_on_from_a_folder_that_was_moved_after_every_round_to_the_same_bits() {
    for case in cases() {
        let folder = tempfile::tempdir().unwrap();
        let place = |rounds: u32| folder.path().join(format!("after-{rounds}"));
        for rounds in 0..=2_u32 {
            let rounds_line = format!("rounds = {rounds}");
            let file = case.file(folder.path(), &[("rounds = 2", &rounds_line)]);
            if let Some(before) = rounds.checked_sub(1) {
                std::fs::rename(place(before), place(rounds)).unwrap();
            }
            finish(&file, &place(rounds), &[]);
        }
        case.assert_same(&place(2), "moved after every round");
    }
}

#[test]
fn a_finished_run_that_gets_two_rounds_more_is_the_one_that_had_them_from_the_start() {
    let plain: Changes<'_> = &[];
    // Half of eight parties in each round, by their training times: from the third round on they decide.
    let selecting: Changes<'_> = &[
        ("count = 4", "count = 8\nactive = 0.5\nselection = \"fedlesscan\""),
        ("\"cnn[4]\", \"mlp[32]\"", "\"mlp[32]\""),
        (
            "[parties]",
            "[simulate]\nslow = { parties = 4, factor = 3.0 }\n[parties]",
        ),
    ];
    // What of these survives a round: parties' models with two optimizers, prototypes with their buffers, and what is known
    // of parties.
    for (name, rounds, changes) in [("fedmd", 1, plain), ("feddf", 1, plain), ("fedavg", 4, selecting)] {
        let pipeline = pipeline(name);
        let run = names::run_id("tiny", name, 0);
        let folder = tempfile::tempdir().unwrap();
        let [extended, at_once] = ["extended", "at-once"].map(|out| folder.path().join(out));
        let file = |rounds: u32| {
            let line = format!("rounds = {rounds}");
            let changes = [changes, &[("rounds = 2", line.as_str())][..]].concat();
            write_for(&pipeline, folder.path(), &changes)
        };
        finish(&file(rounds), &extended, &[]);
        let long = file(rounds + 2);
        finish(&long, &extended, &[]);
        finish(&long, &at_once, &[]);
        assert_same(&bits(&at_once, &run), &bits(&extended, &run), name);
    }
}

#[test]
fn what_crosses_in_every_pipeline_is_what_it_declares_no_more_and_no_less() {
    for case in cases() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("runs");
        finish(&case.file(folder.path(), &[]), &out, &[]);
        let declared: BTreeSet<Disclosure> = case.pipeline.discloses.iter().copied().collect();
        assert_eq!(disclosed(&out, &case.run), declared, "{}", case.run);
    }
}

#[test]
fn every_pipeline_on_kafka_gives_the_bits_of_one_machine_and_so_does_its_replay() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut deployment) = Deployment::start("every pipeline on Apache Kafka", folder.path(), 1) else {
        return;
    };
    good(&deployment.does(&["topics", "create"]));
    // Two of every stage.
    for _ in 0..2 {
        deployment.work(&["--jobs", "1"]);
    }
    // All at once: they wait for each other's tasks, and for nothing else.
    for case in cases() {
        let file = case.file(folder.path(), &[DEADLINE]);
        good(&deployment.does(&["submit", file.to_str().unwrap()]));
    }
    let replays = folder.path().join("replays");
    for case in cases() {
        let run = case.run.as_str();
        let watched = good(&deployment.does(&["watch", run]));
        assert!(watched.contains("finished with round 2"), "{run}: {watched}");
        assert_same(&case.expected, &deployment.bits(run), &format!("{run} on Kafka"));
        let replay = ["replay", run, "--out", replays.to_str().unwrap()];
        let replayed = good(&deployment.does(&replay));
        let same = format!("3 rounds of {run} are the same");
        assert!(replayed.starts_with(&same), "{replayed}");
        case.assert_same(&replays, "its replay");
    }
}
