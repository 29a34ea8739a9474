//! Killed at any instant: what was acknowledged is there, as it was written.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use super::{TOPIC, append, commit, committed, ensure, open, read_all};
use crate::log::Log;
use crate::record::Offset;

const ENV: &str = "FEDSTILL_LOG_KILLED";
const KILLS: u64 = 12;
const SEGMENT_BYTES: u64 = 200_000;

/// A value that says how long it is and what it holds.
fn value(number: u64) -> Vec<u8> {
    let length = if number.is_multiple_of(7) {
        100_000
    } else {
        number % 500
    };
    let body = (0..length).map(|i| (number * 31 + i) as u8);
    number.to_le_bytes().into_iter().chain(body).collect()
}

/// Appends from three threads until it is killed and prints what was acknowledged.
fn write_until_killed(folder: &Path) {
    let log = open(folder, SEGMENT_BYTES);
    ensure(&log, 3);
    let say = |line: String| {
        let mut out = std::io::stdout().lock();
        // The parent may have gone.
        let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    };
    std::thread::scope(|scope| {
        for partition in 0..3 {
            let (log, say) = (&log, &say);
            scope.spawn(move || {
                loop {
                    let number = log.offsets(TOPIC, partition).expect("offsets").end;
                    let offset = append(log, partition, value(number));
                    say(format!("@append {partition} {offset} {number}\n"));
                    if partition == 0 && number.is_multiple_of(10) {
                        commit(log, 0, number);
                        say(format!("@commit {number}\n"));
                    }
                }
            });
        }
    });
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    if let Some(folder) = std::env::var_os(ENV) {
        write_until_killed(Path::new(&folder));
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut acknowledged: BTreeMap<(u32, Offset), u64> = BTreeMap::new();
    let mut commits = 0;
    let mut seed = 1_u64;
    for _ in 0..KILLS {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let this = std::env::current_exe().expect("the test's own path");
        let mut child = Command::new(this)
            .args([
                "--exact",
                "embedded::tests::crash::what_was_acknowledged_survives_a_kill",
            ])
            .arg("--nocapture")
            .env(ENV, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child runs");
        let mut lines = BufReader::new(child.stdout.take().expect("its output"));
        let mut left = 1 + (seed >> 33) % 150;
        loop {
            let mut line = String::new();
            lines.read_line(&mut line).expect("a line");
            if line.is_empty() {
                break;
            }
            // A line that the kill cut short was not said.
            let words: Vec<&str> = match line.strip_suffix('\n').and_then(|l| l.split_once('@')) {
                Some((_, said)) => said.split(' ').collect(),
                None => continue,
            };
            let number = |i: usize| words[i].parse::<u64>().expect("a number");
            if words[0] == "commit" {
                commits = number(1);
            } else {
                acknowledged.insert((number(1) as u32, number(2)), number(3));
            }
            left = left.saturating_sub(1);
            if left == 0 {
                child.kill().expect("killed");
            }
        }
        child.wait().expect("it ended");

        let log = open(folder.path(), SEGMENT_BYTES);
        let partitions = [0, 1, 2].map(|partition| read_all(&log, partition));
        for ((partition, offset), number) in &acknowledged {
            let record = partitions[*partition as usize].get(*offset as usize);
            let record = record.expect("an acknowledged record is there");
            assert!(
                record.value == value(*number),
                "{partition} {offset} is as it was written"
            );
        }
        for record in partitions.iter().flatten() {
            let (number, _) = record.value.split_first_chunk().expect("a number");
            let whole = value(u64::from_le_bytes(*number));
            assert!(record.value == whole, "nothing is torn");
        }
        assert!(committed(&log, 0) >= commits, "an acknowledged commit is there");
    }
    assert!(acknowledged.len() as u64 > KILLS * 10, "the children did work");
}
