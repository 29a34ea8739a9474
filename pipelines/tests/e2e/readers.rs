//! Who reads what a command says may go away before it ends, as `head` does: the work goes on.

use crate::federation::{bits, fedstill, said, write};
use std::path::Path;
use std::process::Stdio;

/// Does what is asked for with nobody at the other end of the standard error, from the first line on.
fn unread(asked: &str, file: &Path, out: &Path) {
    let mut child = fedstill()
        .arg(asked)
        .arg(file)
        .arg("--out")
        .arg(out)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}: {}", output.status, said(&output));
}

#[test]
fn a_run_whose_lines_nobody_reads_any_more_comes_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    // Lines about a party that is missing too.
    let file = write(
        folder.path(),
        &[(
            "[parties]",
            "[simulate]\nfail = { parties = 1, probability = 1 }\n[parties]",
        )],
    );
    let out = folder.path().join("runs");
    unread("run", &file, &out);
    assert!(bits(&out, "tiny-fedmd-0").contains_key("metrics/round=2/part-0.parquet"));
}

#[test]
fn a_sweep_whose_lines_nobody_reads_any_more_comes_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("rounds = 2", "rounds = 1")]);
    let file = folder.path().join("sweep.toml");
    std::fs::write(&file, "run = \"run.toml\"\nseeds = [0, 1]\n").unwrap();
    let out = folder.path().join("runs");
    unread("sweep", &file, &out);
    for run in ["tiny-fedmd-0", "tiny-fedmd-1"] {
        assert!(bits(&out, run).contains_key("metrics/round=1/part-0.parquet"), "{run}");
    }
}
