//! Folders that cannot be used: a clear message, and nothing lost.

use crate::federation::{assert_same, bits, fedstill, finish, run, said, skipped, write};
use std::path::Path;
use std::process::Command;

fn refused(file: &Path, out: &Path, expected: &[&str]) {
    let output = run(file, out, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    for expected in expected {
        assert!(text.contains(expected), "'{expected}' is not in: {text}");
    }
    assert!(!text.contains("panicked"), "{text}");
}

/// A small file system of its own; `None` where this process may not mount one.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn new(at: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(at)
            .status();
        let mounted = mounted.is_ok_and(|status| status.success());
        if !mounted {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "this process may not mount a file system"
            );
            skipped("a full disk, a read-only folder: this process may not mount a file system");
        }
        mounted.then(|| Self(at.to_owned()))
    }

    fn remount(&self, options: &str) {
        let status = Command::new("mount")
            .args(["-o", &format!("remount,{options}")])
            .arg(&self.0)
            .status()
            .unwrap();
        assert!(status.success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_run_with_other_settings_under_the_same_name_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("runs");
    finish(&write(folder.path(), &[("rounds = 2", "rounds = 0")]), &out, &[]);
    let other = write(folder.path(), &[("rows = 90", "rows = 80")]);
    let named = format!("`fedstill compare tiny-fedmd-0 --out {}`", out.display());
    refused(
        &other,
        &out,
        &[
            "holds a run with other settings",
            "private data",
            "another name",
            named.as_str(),
        ],
    );
    assert!(!said(&run(&other, &out, &[])).contains("delete"));
}

#[test]
fn a_run_whose_log_is_gone_is_led_to_what_it_reached_and_not_to_its_deletion() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("runs");
    finish(&write(folder.path(), &[("rounds = 2", "rounds = 0")]), &out, &[]);
    std::fs::remove_dir_all(out.join("tiny-fedmd-0/log")).unwrap();
    let longer = write(folder.path(), &[]);
    let named = format!("`fedstill compare tiny-fedmd-0 --out {}`", out.display());
    refused(
        &longer,
        &out,
        &["log is gone", "restore it", "another name", named.as_str()],
    );
    assert!(!said(&run(&longer, &out, &[])).contains("delete"));
}

#[test]
fn a_report_does_not_show_the_results_of_a_run_with_other_settings_and_leads_to_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("runs");
    finish(&write(folder.path(), &[("rounds = 2", "rounds = 0")]), &out, &[]);
    let report = |file: &Path| {
        let mut command = fedstill();
        let output = command.arg("report").arg(file).arg("--out").arg(&out).output().unwrap();
        (output.status.code(), said(&output))
    };
    let other = write(
        folder.path(),
        &[("rounds = 2", "rounds = 0"), ("rows = 90", "rows = 80")],
    );
    let (code, text) = report(&other);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("other settings (private data)"), "{text}");
    let named = format!("`fedstill compare tiny-fedmd-0 --out {}`", out.display());
    assert!(text.contains(&named) && !text.contains("delete"), "{text}");
}

#[test]
fn what_can_be_read_is_shown_without_a_log_and_beside_a_run_of_other_settings() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("runs");
    let baseline = ("rounds = 2", "rounds = 0\nbaselines = [\"standalone\"]");
    finish(&write(folder.path(), &[baseline]), &out, &[]);
    let about = |command: &str, file: &Path| {
        let mut about = fedstill();
        let output = about.arg(command).arg(file).arg("--out").arg(&out).output().unwrap();
        (output.status.code(), said(&output))
    };
    // Longer than it was made: only going on needs the log.
    std::fs::remove_dir_all(out.join("tiny-fedmd-0/log")).unwrap();
    let longer = ("rounds = 2", "rounds = 1\nbaselines = [\"standalone\"]");
    let (code, text) = about("report", &write(folder.path(), &[longer]));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("fedmd: 0 of 1 round so far"), "{text}");
    assert!(!text.contains("cannot go on"), "{text}");

    let chart = std::fs::read(out.join("tiny.svg")).unwrap();
    let digest = ("[steps.revisit]", "[steps.digest]\nepochs = 3\n[steps.revisit]");
    let other = write(folder.path(), &[baseline, digest]);
    for command in ["report", "compare"] {
        let (code, text) = about(command, &other);
        assert_eq!(code, Some(1), "{command}: {text}");
        for expected in [
            "other settings (pipeline or its steps)",
            "tiny: accuracy on the test set",
            "standalone",
        ] {
            assert!(text.contains(expected), "{command}: '{expected}' is not in: {text}");
        }
    }
    assert_eq!(std::fs::read(out.join("tiny.svg")).unwrap(), chart);
}

#[test]
fn a_comparison_with_a_run_file_of_other_settings_leads_to_what_is_there_and_not_to_its_deletion() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("my runs");
    let short = ("rounds = 2", "rounds = 0");
    finish(&write(folder.path(), &[short]), &out, &[]);
    let other = write(folder.path(), &[short, ("epochs = 2", "epochs = 3")]);
    let compare = |run: &Path| {
        let mut command = fedstill();
        let output = command.arg("compare").arg(run).arg("--out").arg(&out).output().unwrap();
        (output.status.code(), said(&output))
    };
    let (code, text) = compare(&other);
    assert_eq!(code, Some(1), "{text}");
    let named = format!(
        "compare what is there by its name: `fedstill compare tiny-fedmd-0 --out \"{}\"`",
        out.display()
    );
    assert!(text.contains(&named) && !text.contains("delete"), "{text}");
    let (code, text) = compare("tiny-fedmd-0".as_ref());
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn a_file_where_a_folder_should_be_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), &[]);
    let out = folder.path().join("runs");
    std::fs::write(&out, "a file").unwrap();
    refused(&file, &out, &["a file is in the way", "--out"]);
    std::fs::remove_file(&out).unwrap();
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("results"), "a file").unwrap();
    refused(&file, &out, &["results", "a file is in the way"]);
    assert_eq!(std::fs::read_to_string(out.join("results")).unwrap(), "a file");
}

#[test]
fn a_run_folder_in_use_by_another_process_is_refused_and_the_other_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), &[("rounds = 2", "rounds = 6")]);
    let out = folder.path().join("runs");
    let mut first = fedstill()
        .args(["run".as_ref(), file.as_os_str(), "--out".as_ref(), out.as_os_str()])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while !out.join("tiny-fedmd-0/store/tiny-fedmd-0/run.json").exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    refused(&file, &out, &["another process"]);
    assert!(first.wait().unwrap().success());
}

#[test]
fn a_folder_of_another_version_is_refused_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("runs");
    finish(&write(folder.path(), &[("rounds = 2", "rounds = 0")]), &out, &[]);
    let log = out.join("tiny-fedmd-0/log");
    let version = log.join("FORMAT");
    assert!(version.is_file());
    std::fs::write(&version, "fedstill log 999\n").unwrap();
    let longer = write(folder.path(), &[]);
    refused(&longer, &out, &["version"]);
    assert_eq!(std::fs::read_to_string(&version).unwrap(), "fedstill log 999\n");
}

#[test]
fn a_full_disk_is_named_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), &[]);
    let Some(disk) = Mounted::new(&folder.path().join("disk"), "900k") else {
        return;
    };
    let out = disk.0.join("runs");
    refused(&file, &out, &["disk", "full", "nothing is lost"]);
    disk.remount("size=64m");
    finish(&file, &out, &[]);
    let elsewhere = folder.path().join("elsewhere");
    finish(&file, &elsewhere, &[]);
    assert_same(
        &bits(&elsewhere, "tiny-fedmd-0"),
        &bits(&out, "tiny-fedmd-0"),
        "after a full disk",
    );
}

#[test]
fn a_read_only_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), &[]);
    let Some(disk) = Mounted::new(&folder.path().join("disk"), "16m") else {
        return;
    };
    disk.remount("ro");
    refused(&file, &disk.0.join("runs"), &["read-only", "--out"]);
}
