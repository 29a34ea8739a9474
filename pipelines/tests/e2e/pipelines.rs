//! The promises, pipeline by pipeline, and with settings that change what its steps do: whatever can be said in a run file
//! keeps all of them.

use crate::cases::{Changes, cases};
use crate::deployment::{Deployment, good};
use crate::federation::{assert_same, bits, fedstill, finish, long, pipeline, said, write_for};
use crate::privacy::disclosed;
use crate::stored::{Stored, wholes};
use fedstill_schemas::pipeline::Disclosure;
use fedstill_schemas::plan::Manifest;
use fedstill_schemas::resolved::ResolvedRun;
use fedstill_schemas::task::{Report, Subject};
use fedstill_schemas::{names, results};
use fedstill_stages::faults::POINTS;
use fedstill_stages::selection::select;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

/// A party that is offline, which is no case: who is in follows from a deadline then, and not from the run file alone. With
/// this seed party 0 is offline, which costs round 1 its deadline, and sits out round 2, in which party 3 fails. Parties 1
/// and 2 are in both: the deadline is far longer than their training and three restarts take, on a busy machine too.
const ABSENT: Changes<'_> = &[
    ("name = \"tiny\"", "name = \"absent\""),
    ("rounds = 2", "rounds = 2\nseeds = [1]"),
    ("count = 4", "count = 4\nactive = 0.75\nselection = \"fedlesscan\""),
    (
        "[parties]",
        "[close]\nquorum = 0.25\ndeadline = \"15s\"\n[simulate]\nfail = { parties = 3, probability = 0.05 }\n\
         offline = { parties = 1 }\n[parties]",
    ),
];
const ABSENT_RUN: &str = "absent-feddf-1";

/// Writes a run file for it, with what `changes` replace.
fn write_absent(folder: &Path, changes: Changes<'_>) -> PathBuf {
    write_for(&pipeline("feddf"), folder, &[ABSENT, changes].concat())
}

#[test]
fn in_cases_that_select_parties_are_left_out_and_fail_and_lost_histories_would_select_others() {
    // What the other tests rest on: who trained in round 1 and in round 2.
    for (run, rounds) in [
        // Of 0, 1 and 2 party 1 fails, and of 0, 2 and 3 party 0.
        ("scanned-feddf-0", [[0, 2], [2, 3]]),
        ("drawn-fedavg-0", [[0, 2], [2, 3]]),
        // Party 0 is slow.
        ("in-turn-fedprox-0", [[2, 3], [0, 3]]),
    ] {
        let case = cases().iter().find(|case| case.run == run).unwrap();
        for (round, slots) in (1..).zip(rounds) {
            assert_eq!(case.trained(round), BTreeSet::from(slots), "{run}, round {round}");
        }
    }
    let scanned = cases().iter().find(|case| case.run == "scanned-feddf-0").unwrap();
    let resolved: ResolvedRun = scanned.object(&names::run_object(&scanned.run));
    let manifest: Manifest = scanned.object(&names::manifest_object(&scanned.run, 1));
    assert_eq!(select(&resolved, 2, &manifest.histories), Some(vec![0, 2, 3]));
    assert_eq!(select(&resolved, 2, &BTreeMap::new()), Some(vec![0, 1, 3]));
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

/// Runs to its end, through all of them.
fn die_a_dozen_times(file: &Path, out: &Path, run: &str) {
    for (point, count) in DEATHS {
        assert!(dies(file, out, point, count), "{run}: {point} never came");
    }
    finish(file, out, &[]);
}

#[test]
fn every_pipeline_ends_with_the_same_bits_after_a_dozen_deaths() {
    for case in cases() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("runs");
        die_a_dozen_times(&case.file(folder.path(), &[]), &out, &case.run);
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

/// Runs to its end, round by round, in a folder that is moved after every one; where that is at last. `file` writes a run
/// file with what is replaced in it.
fn move_after_every_round(folder: &Path, file: impl Fn(Changes<'_>) -> PathBuf) -> PathBuf {
    let place = |rounds: u32| folder.join(format!("after-{rounds}"));
    for rounds in 0..=2_u32 {
        let rounds_line = format!("rounds = {rounds}");
        let file = file(&[("rounds = 2", rounds_line.as_str())]);
        if let Some(before) = rounds.checked_sub(1) {
            std::fs::rename(place(before), place(rounds)).unwrap();
        }
        finish(&file, &place(rounds), &[]);
    }
    place(2)
}

#[test]
fn every_pipeline_goes_on_from_a_folder_that_was_moved_after_every_round_to_the_same_bits() {
    for case in cases() {
        let folder = tempfile::tempdir().unwrap();
        let out = move_after_every_round(folder.path(), |changes| case.file(folder.path(), changes));
        case.assert_same(&out, "moved after every round");
    }
}

/// Fails where a round of [`ABSENT`] selected others than follow from the manifest before it, where its plan says something
/// else, where a party counts that was missing, or one twice, or where the last manifest tells another story.
fn assert_absent(out: &Path, what: &str) {
    let stored = Stored::new(out, ABSENT_RUN);
    let resolved = stored.resolved();
    for (round, selected, missing) in [(1, [0, 1, 2], 0), (2, [1, 2, 3], 3)] {
        let case = format!("{what}, round {round}");
        let plan = stored.plan(round);
        assert_eq!(plan.selected.as_deref(), Some(&selected[..]), "{case}");
        let histories = stored.manifest(round - 1).histories;
        assert_eq!(select(&resolved, round, &histories), plan.selected, "{case}");

        // The phase of selected parties, which all others build on.
        let closed = stored.closed(round).remove(0);
        let members: Vec<Subject> = closed.members.into_keys().collect();
        assert_eq!(members, [1, 2].map(Subject::Party), "{case}");
        let absent: Vec<Subject> = closed.missing.into_keys().collect();
        assert_eq!(absent, [Subject::Party(missing)], "{case}");

        // Each member once: in a mean of weights, and in the consensus on the one chunk.
        let means = stored.results_of(round, "average");
        let entered = means.iter().map(|made| match &made.result.report {
            Report::Average { members, .. } => *members,
            other => panic!("{case}: {other:?}"),
        });
        assert_eq!(entered.sum::<u32>(), 2, "{case}");
        let consensus = stored.table(results::CONSENSUS, round);
        assert_eq!(wholes(&consensus, "members"), [2], "{case}");
    }
    let histories = stored.manifest(2).histories;
    let known = histories
        .values()
        .map(|known| (known.selected, known.missed, known.resumes));
    let known: Vec<_> = known.collect();
    assert_eq!(known, [(1, 1.0, 3), (2, 0.0, 0), (2, 0.0, 0), (1, 2.0, 4)], "{what}");
}

#[test]
fn a_run_with_a_party_offline_leaves_it_out_once_and_has_the_same_bits_after_deaths_and_after_moves() {
    let [dying, moving] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let file = write_absent(dying.path(), &[]);
    let died = dying.path().join("died");
    // Side by side, as most of their time is spent waiting for the deadline.
    let moved = std::thread::scope(|scope| {
        scope.spawn(|| die_a_dozen_times(&file, &died, ABSENT_RUN));
        move_after_every_round(moving.path(), |changes| write_absent(moving.path(), changes))
    });
    // The same members first: only then are the same bits promised.
    assert_absent(&died, "died a dozen times");
    assert_absent(&moved, "moved after every round");
    assert_same(&bits(&died, ABSENT_RUN), &bits(&moved, ABSENT_RUN), ABSENT_RUN);
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
    let submit = |file: &Path| good(&deployment.does(&["submit", file.to_str().unwrap()]));
    let watch = |run: &str| {
        let watched = good(&deployment.does(&["watch", run]));
        assert!(watched.contains("finished with round 2"), "{run}: {watched}");
    };
    let replays = folder.path().join("replays");
    let replay = |run: &str| {
        let replayed = good(&deployment.does(&["replay", run, "--out", replays.to_str().unwrap()]));
        let same = format!("3 rounds of {run} are the same");
        assert!(replayed.starts_with(&same), "{replayed}");
    };
    // The first, as it waits for a deadline while the others are done; a longer one, as it waits for them too.
    submit(&write_absent(folder.path(), &[("\"15s\"", "\"30s\"")]));
    // All at once: they wait for each other's tasks, and for nothing else.
    for case in cases() {
        submit(&case.deployed(folder.path()));
    }
    for case in cases() {
        let run = case.run.as_str();
        watch(run);
        assert_same(&case.expected, &deployment.bits(run), &format!("{run} on Kafka"));
        replay(run);
        case.assert_same(&replays, "its replay");
    }
    // Whoever else may have been late: with its plans' selections and its phases' members the bits are the same.
    watch(ABSENT_RUN);
    replay(ABSENT_RUN);
}
