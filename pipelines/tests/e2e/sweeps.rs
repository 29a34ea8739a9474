//! Sweeps: every point is what a run of its own would be, whatever is interrupted or fails beside it.

use crate::federation::{assert_same, bits, fedstill, finish, said, write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The four points of [`grid`].
const POINTS: [&str; 4] = [
    "tiny-alpha0p5-epochs1",
    "tiny-alpha0p5-epochs2",
    "tiny-alpha100-epochs1",
    "tiny-alpha100-epochs2",
];

/// What a run file needs for the grid, and how many rounds it has.
const DIRICHLET: (&str, &str) = ("{ kind = \"iid\" }", "{ kind = \"dirichlet\", alpha = 1.0, min = 5 }");

/// Writes a sweep file of those lines, and the run file that it names.
fn sweep_file(folder: &Path, rounds: &str, lines: &str) -> PathBuf {
    write(folder, &[("rounds = 2", rounds), DIRICHLET]);
    let file = folder.join("sweep.toml");
    std::fs::write(&file, format!("run = \"run.toml\"\n{lines}\n")).unwrap();
    file
}

fn grid(folder: &Path, rounds: &str) -> PathBuf {
    let lines = "[grid]\n\"data.partition.alpha\" = [0.5, 100]\n\"steps.revisit.epochs\" = [1, 2]";
    sweep_file(folder, rounds, lines)
}

fn command(file: &Path, out: &Path, more: &[&str]) -> Command {
    let mut command = fedstill();
    command.arg("sweep").arg(file).arg("--out").arg(out).args(more);
    command
}

fn sweep(file: &Path, out: &Path, more: &[&str]) -> Output {
    command(file, out, more).output().unwrap()
}

/// Fails where a sweep that did not come to its end has not drawn every division, or not said so.
fn assert_divided(output: &Output, out: &Path) {
    let told = format!("division {}\n", out.join("<point>-division.svg").display());
    assert!(said(output).contains(&told), "{}", said(output));
    for point in POINTS {
        assert!(out.join(format!("{point}-division.svg")).is_file(), "{point}");
    }
}

fn id(point: &str) -> String {
    format!("{point}-fedmd-0")
}

/// The run of a point, by a run file of its own.
fn alone(folder: &Path, rounds: &str, point: &str, alpha: &str, epochs: &str) -> PathBuf {
    let own = folder.join(format!("alone-{point}"));
    std::fs::create_dir(&own).unwrap();
    let name = format!("name = \"{point}\"");
    let partition = format!("{{ kind = \"dirichlet\", alpha = {alpha}, min = 5 }}");
    let revisit = format!("epochs = {epochs}\nbatch = 16");
    let changes = [
        ("name = \"tiny\"", name.as_str()),
        ("rounds = 2", rounds),
        ("{ kind = \"iid\" }", partition.as_str()),
        ("epochs = 1\nbatch = 16", revisit.as_str()),
    ];
    let file = write(&own, &changes);
    let out = own.join("runs");
    finish(&file, &out, &[]);
    out
}

#[test]
fn every_point_of_a_grid_has_the_bits_of_a_run_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let file = grid(folder.path(), "rounds = 1");
    let out = folder.path().join("runs");
    let output = sweep(&file, &out, &["--jobs", "2"]);
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("4 points, 4 runs; about"), "{text}");
    for (index, point) in POINTS.iter().enumerate() {
        assert!(text.contains(&format!("[{}/4] tiny-", index + 1)), "{text}");
        assert!(text.contains(&format!("] {}: 0.", id(point))), "{text}");
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // By the sweep file, however many points there are.
    let compare = format!("compare  fedstill compare {} --out {}\n", file.display(), out.display());
    assert!(text.contains(&compare), "{text}");
    for (point, alpha, epochs) in [(POINTS[0], "0.5", "1"), (POINTS[3], "100.0", "2")] {
        let alone = alone(folder.path(), "rounds = 1", point, alpha, epochs);
        assert_same(&bits(&alone, &id(point)), &bits(&out, &id(point)), point);
    }
    let metrics = |point: &str| bits(&out, &id(point))["metrics/round=1/part-0.parquet"].clone();
    assert_ne!(metrics(POINTS[0]), metrics(POINTS[3]));
}

/// A command about runs of a folder.
fn about(command: &str, asked: &Path, out: &Path) -> Output {
    let mut about = fedstill();
    about.arg(command).arg(asked).arg("--out").arg(out);
    about.output().unwrap()
}

#[test]
fn every_point_has_a_report_a_comparison_and_a_picture_of_its_division() {
    let folder = tempfile::tempdir().unwrap();
    let file = sweep_file(
        folder.path(),
        "rounds = 0",
        "[grid]\n\"data.partition.alpha\" = [0.5, 100]",
    );
    let out = folder.path().join("runs");
    let early = about("report", &file, &out);
    assert_eq!(early.status.code(), Some(1), "{}", said(&early));
    let command = format!("`fedstill sweep {} --out {}` makes them", file.display(), out.display());
    assert!(said(&early).contains(&command), "{}", said(&early));
    let run = folder.path().join("run.toml");
    let early = said(&about("report", &run, &out));
    let command = format!("`fedstill run {} --out {}` makes them", run.display(), out.display());
    assert!(early.contains(&command), "{early}");

    let output = sweep(&file, &out, &[]);
    assert!(output.status.success(), "{}", said(&output));
    let report = format!("report   fedstill report {} --out", file.display());
    assert!(said(&output).contains(&report), "{}", said(&output));
    let points = ["tiny-alpha0p5", "tiny-alpha100"];
    let division = |point: &str| std::fs::read(out.join(format!("{point}-division.svg"))).unwrap();
    let drawn = points.map(division);
    assert!(drawn[0] != drawn[1], "both points have one division");

    let reported = about("report", &file, &out);
    let text = said(&reported);
    assert!(reported.status.success(), "{text}");
    let at = points.map(|point| {
        let heading = format!("{point}: data.partition.alpha = ");
        let title = format!("{point}: accuracy on the test set");
        for part in [&heading, &title] {
            assert!(text.contains(part), "'{part}' is not in: {text}");
        }
        assert!(out.join(format!("{point}.svg")).is_file(), "{point}");
        text.find(&heading)
    });
    assert!(at[0] < at[1], "{text}");
    assert_eq!(points.map(division), drawn);

    // A point by its name, whose rows nobody knows: the picture that is there stays.
    let named = about("report", points[0].as_ref(), &out);
    let text = said(&named);
    assert!(named.status.success(), "{text}");
    assert!(
        text.contains("tiny-alpha0p5: accuracy on the test set") && !text.contains("tiny-alpha100"),
        "{text}"
    );
    assert_eq!(division(points[0]), drawn[0]);
    assert!(text.contains("tiny-alpha0p5-runs.svg"), "{text}");
    let wrong = about("report", "tiny-alpha0p6".as_ref(), &out);
    let text = said(&wrong);
    assert_eq!(wrong.status.code(), Some(2), "{text}");
    assert!(
        text.contains("did you mean 'tiny-alpha0p5'?") && text.contains("no file of that name either"),
        "{text}"
    );

    // A file is one by being there, whatever it is called.
    let bare = folder.path().join("sweepfile");
    std::fs::copy(&file, &bare).unwrap();
    for command in ["report", "compare"] {
        let shown = about(command, &bare, &out);
        assert!(shown.status.success(), "{command}: {}", said(&shown));
    }
    let compared = about("compare", &file, &out);
    let text = said(&compared);
    assert!(compared.status.success(), "{text}");
    for point in points {
        assert!(text.contains(&format!("{point}/fedmd")), "{text}");
    }
}

#[test]
fn what_scores_are_not_is_said_before_runs_and_sweeps_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = sweep_file(
        folder.path(),
        "rounds = 0",
        "[grid]\n\"data.partition.alpha\" = [0.5, 100]",
    );
    let test = ("letters-test.parquet\" }", "letters.parquet\" }");
    let run = write(folder.path(), &[("rounds = 2", "rounds = 0"), DIRICHLET, test]);
    let told = |output: Output| {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}");
        let lines = text
            .lines()
            .filter(|line| line.starts_with("warning: parties train on 90 of the "));
        lines.map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let out = folder.path().join("runs");
    let dry = told(sweep(&file, &out, &["--dry-run"]));
    assert_eq!(dry.len(), 1, "{dry:?}");
    assert!(dry[0].ends_with("(at tiny-alpha0p5 and 1 other point)"), "{dry:?}");
    assert_eq!(told(sweep(&file, &out, &[])), dry);
    let started = |out: &Path| {
        let mut command = fedstill();
        command.arg("run").arg(&run).arg("--out").arg(out).output().unwrap()
    };
    let once = told(started(&out));
    assert!(once.len() == 1 && !once[0].contains("(at "), "{once:?}");
    // What is finished does not start again.
    assert!(told(started(&out)).is_empty());
}

#[test]
fn a_sweep_file_of_other_settings_is_neither_reported_nor_compared_by_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = sweep_file(folder.path(), "rounds = 0", "[grid]\n\"steps.revisit.epochs\" = [1]");
    let out = folder.path().join("runs");
    assert!(sweep(&file, &out, &[]).status.success());
    write(
        folder.path(),
        &[("rounds = 2", "rounds = 0"), DIRICHLET, ("rows = 90", "rows = 80")],
    );
    for command in ["report", "compare"] {
        let refused = about(command, &file, &out);
        let text = said(&refused);
        assert_eq!(refused.status.code(), Some(1), "{command}: {text}");
        assert!(text.contains("other settings (private data)"), "{command}: {text}");
    }
}

#[test]
fn an_interrupted_sweep_goes_on_where_it_was_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let file = grid(folder.path(), "rounds = 4");
    let out = folder.path().join("runs");
    let child = command(&file, &out, &["--jobs", "2"])
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let first = id(POINTS[0]);
    while !out.join(&first).join("store").join(&first).join("run.json").exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupt.unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", said(&output));
    assert!(said(&output).contains("the same command goes on where it was"));
    assert_divided(&output, &out);

    let again = sweep(&file, &out, &["--jobs", "2"]);
    assert!(again.status.success(), "{}", said(&again));
    let alone = alone(folder.path(), "rounds = 4", POINTS[0], "0.5", "1");
    assert_same(&bits(&alone, &first), &bits(&out, &first), "interrupted");
    for point in POINTS {
        let last = format!("results/metrics/run={}/round=4/part-0.parquet", id(point));
        assert!(out.join(&last).is_file(), "{last}");
    }
    let output = sweep(&file, &out, &[]);
    assert!(output.status.success() && said(&output).contains("4 points, 4 runs, all finished"));
}

#[test]
fn a_run_that_fails_stops_no_other_and_is_named_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = grid(folder.path(), "rounds = 0");
    let out = folder.path().join("runs");
    let broken = out.join(id(POINTS[1]));
    std::fs::create_dir_all(&broken).unwrap();
    std::fs::write(broken.join("log"), "a file").unwrap();
    let output = sweep(&file, &out, &["--jobs", "2"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let text = said(&output);
    assert!(text.contains(&format!("error: {}: ", id(POINTS[1]))), "{text}");
    let last = format!("1 of 4 runs failed ({}); the same command", id(POINTS[1]));
    assert!(text.contains(&last) && text.contains("use another name"), "{text}");
    assert_divided(&output, &out);
    for point in [POINTS[0], POINTS[2], POINTS[3]] {
        assert!(bits(&out, &id(point)).contains_key("metrics/round=0/part-0.parquet"));
    }
    std::fs::remove_dir_all(&broken).unwrap();
    let output = sweep(&file, &out, &[]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("3 of them finished"), "{}", said(&output));
}

#[test]
fn seeds_without_a_grid_are_the_runs_of_the_file_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let file = sweep_file(folder.path(), "rounds = 0", "seeds = [3, 4]");
    let out = folder.path().join("runs");
    let output = sweep(&file, &out, &["--jobs", "2"]);
    assert!(output.status.success(), "{}", said(&output));
    for run in ["tiny-fedmd-3", "tiny-fedmd-4"] {
        bits(&out, run);
    }
}

#[test]
fn pipelines_of_a_grid_are_read_from_files_beside_the_sweep_file_with_their_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    // The run file lies elsewhere, and its folder has no such file.
    let runs = folder.path().join("files");
    std::fs::create_dir(&runs).unwrap();
    write(&runs, &[("rounds = 2", "rounds = 0")]);
    let printed = fedstill().args(["pipelines", "fedmd"]).output().unwrap();
    let mine = String::from_utf8(printed.stdout)
        .unwrap()
        .replace("\"fedmd\"", "\"mine\"");
    let file = folder.path().join("sweep.toml");
    let sweep_of = |value: &str| {
        std::fs::write(
            &file,
            format!("run = \"files/run.toml\"\n[grid]\npipeline = [\"fedmd\", {value}]"),
        )
        .unwrap();
    };
    sweep_of("\"mine.toml\"");
    refused(&file, &["sweep.toml:3:22", "cannot read 'mine.toml'"]);
    let broken = mine.replace("\"partitions\"", "\"partition\"");
    std::fs::write(folder.path().join("mine.toml"), broken).unwrap();
    refused(&file, &["mine.toml:", "'partitions'?"]);

    std::fs::write(folder.path().join("mine.toml"), &mine).unwrap();
    let out = folder.path().join("runs");
    let output = sweep(&file, &out, &["--jobs", "2"]);
    assert!(output.status.success(), "{}", said(&output));
    for run in ["tiny-pipeline-fedmd-fedmd-0", "tiny-pipeline-mine-toml-mine-0"] {
        assert!(out.join(run).is_dir(), "{run}");
    }
}

#[test]
fn a_dry_run_lists_the_points_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = grid(folder.path(), "rounds = 1");
    let out = folder.path().join("runs");
    let output = sweep(&file, &out, &["--dry-run"]);
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[1],
        "tiny-alpha0p5-epochs2  data.partition.alpha = 0.5, steps.revisit.epochs = 2"
    );
    assert!(lines[4].starts_with("4 points, 4 runs; about "), "{text}");
    assert!(!out.exists());
}

#[test]
fn a_baseline_that_has_nothing_of_what_the_grid_changes_is_named_before_it_runs_twice() {
    let folder = tempfile::tempdir().unwrap();
    let with_baseline = "rounds = 1\nbaselines = [\"standalone\"]";
    let out = folder.path().join("runs");
    for (grid, told) in [
        ("\"steps.digest.epochs\" = [1, 2]", true),
        ("\"steps.revisit.epochs\" = [1, 2]", false),
    ] {
        let file = sweep_file(folder.path(), with_baseline, &format!("[grid]\n{grid}"));
        let output = sweep(&file, &out, &["--dry-run"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("2 points, 4 runs; about "), "{text}");
        let line = "1 run would compute what a run of another point does, as the grid changes nothing there but the name: standalone (1)";
        assert_eq!(text.contains(line), told, "{text}");
    }
}

#[test]
fn a_bad_sweep_gets_one_message_with_its_place_and_fix_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [(&str, &[&str]); 5] = [
        ("seed = [0]", &["sweep.toml:2", "'seed'", "did you mean 'seeds'?"]),
        (
            "[grid]\n\"ronds\" = [1]",
            &["sweep.toml:3", "unknown key 'ronds'", "did you mean 'rounds'?"],
        ),
        (
            "[grid]\n\"steps.revisit.epoch\" = [1, 2]",
            &["sweep.toml:3", "unknown key 'epoch' in steps.revisit", "epochs"],
        ),
        (
            "[grid]\n\"data.partition.alpha\" = [1, -1]",
            &["sweep.toml:3:30", "is -1", "at the point data.partition.alpha = -1"],
        ),
        (
            "[grid]\n\"data.private.rows\" = [90, 9000]\nrounds = [1, 2]",
            &["sweep.toml:3:28", "9000 rows are asked for", "rounds = 1 and 1 other"],
        ),
    ];
    for (lines, expected) in cases {
        let file = sweep_file(folder.path(), "rounds = 1", lines);
        refused(&file, expected);
    }
    std::fs::write(folder.path().join("sweep.toml"), "run = \"rum.toml\"").unwrap();
    refused(
        &folder.path().join("sweep.toml"),
        &["sweep.toml:1:7", "rum.toml cannot be read"],
    );
    std::fs::write(folder.path().join("sweep.toml"), "run = \"sweep.toml\"").unwrap();
    refused(
        &folder.path().join("sweep.toml"),
        &["sweep.toml:1:7", "'sweep.toml' is a sweep file, and not a run file"],
    );
    refused(&folder.path().join("other.toml"), &["other.toml"]);
}

fn refused(file: &Path, expected: &[&str]) {
    let out = file.with_file_name("runs");
    let output = sweep(file, &out, &[]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(2), "{expected:?}: {text}");
    let errors = text.lines().filter(|line| line.starts_with("error:")).count();
    assert_eq!(errors, 1, "one message for {expected:?}: {text}");
    for part in expected {
        assert!(text.contains(part), "'{part}' is not in: {text}");
    }
    assert!(!out.exists(), "something was written");
}
