//! Deadlines that a run is certain to wait for: what is said of them before, and how long it takes.

use crate::federation::{fedstill, finish, pipeline, run, said, write_for};
use fedstill_log::{Clock, SystemClock};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// A run file of FedMD with a party that is offline after round 0, so that predictions and what follows the consensus wait
/// for that deadline in each later round.
fn file(folder: &Path, rounds: u32, deadline: &str) -> PathBuf {
    let rounds = format!("rounds = {rounds}");
    let misfortune = format!(
        "[close]\nquorum = 0.25\ndeadline = \"{deadline}\"\n[simulate]\noffline = {{ parties = 1 }}\n[parties]"
    );
    let changes = [("rounds = 2", rounds.as_str()), ("[parties]", misfortune.as_str())];
    write_for(&pipeline("fedmd"), folder, &changes)
}

/// The seconds of the line that says before a run how long it takes, as in `.. about 2.0 h on 4 threads, .. on disk`.
fn announced<'a>(lines: impl IntoIterator<Item = &'a str>) -> f64 {
    let line = lines.into_iter().find(|line| line.ends_with(" on disk"));
    let (_, about) = line.and_then(|line| line.split_once("about ")).expect("a forecast");
    let mut words = about.split(' ');
    let number: f64 = words.next().and_then(|word| word.parse().ok()).expect("a number");
    number
        * match words.next() {
            Some("s") => 1.0,
            Some("min") => 60.0,
            Some("h") => 3600.0,
            other => panic!("{other:?}: {about}"),
        }
}

#[test]
fn a_run_takes_as_long_as_the_deadlines_that_are_announced_and_a_longer_one_is_announced_as_longer() {
    let folder = tempfile::tempdir().unwrap();
    let deadlines: u32 = 2;
    // What an hour would take is said, and not waited for.
    let long = file(folder.path(), 1, "1h");
    let elsewhere = folder.path().join("elsewhere");
    let mut child = fedstill()
        .arg("run")
        .arg(&long)
        .arg("--out")
        .arg(&elsewhere)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = lines.map_while(Result::ok).find(|line| line.ends_with(" on disk"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(announced(line.as_deref()), 3600.0 * f64::from(deadlines), "{line:?}");

    // Everyone is there in round 0, which waits for nobody.
    let out = folder.path().join("runs");
    finish(&file(folder.path(), 0, "1h"), &out, &["--threads", "4"]);
    let short = file(folder.path(), 1, "1s");
    let clock = SystemClock::new();
    let start = clock.monotonic();
    let output = run(&short, &out, &["--threads", "4"]);
    let took = clock.monotonic().saturating_sub(start);
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let seconds = announced(text.lines());
    assert!((f64::from(deadlines)..3600.0).contains(&seconds), "{seconds}: {text}");
    assert!(took >= Duration::from_secs(u64::from(deadlines)), "{took:?}: {text}");
}
